//! The network on one side of a NAT.

use std::collections::BTreeMap;

use ::smoltcp::phy::Medium;
use ::smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol,
    EthernetRepr, Ipv4Address, Ipv4Packet,
};

use super::super::wire::{self, Macs};

/// The network on one side, and who the NAT is there.
#[derive(Clone, Debug)]
pub(super) struct Network {
    pub(super) medium: Medium,
    pub(super) mac: EthernetAddress,
    /// In whose name it asks.
    address: Ipv4Address,
    /// It answers for every address that it has not heard, not only for its own.
    is_proxy: bool,
    neighbors: BTreeMap<Ipv4Address, EthernetAddress>,
}

/// What a frame holds for the NAT.
pub(super) enum Content<'f> {
    /// Something about neighbours, and the frame to answer it with.
    Arp(Option<Vec<u8>>),
    /// A packet to be passed on.
    Packet(&'f [u8]),
}

impl Network {
    pub(super) const fn new(medium: Medium, mac: EthernetAddress, address: Ipv4Address) -> Self {
        Self {
            medium,
            mac,
            address,
            is_proxy: false,
            neighbors: BTreeMap::new(),
        }
    }

    pub(super) const fn with_proxy(mut self) -> Self {
        self.is_proxy = true;
        self
    }

    pub(super) fn forget(&mut self) {
        self.neighbors.clear();
    }

    /// Takes off a frame what the network has put around it, and learns from that.
    pub(super) fn unwrap<'f>(&mut self, frame: &'f [u8]) -> Result<Content<'f>, &'static str> {
        if self.medium != Medium::Ethernet {
            return Ok(Content::Packet(frame));
        }
        let frame = EthernetFrame::new_checked(frame).map_err(|_| "not Ethernet")?;
        match frame.ethertype() {
            EthernetProtocol::Arp => {
                let arp = ArpPacket::new_checked(frame.payload()).map_err(|_| "not ARP")?;
                let arp = ArpRepr::parse(&arp).map_err(|_| "not ARP")?;
                Ok(Content::Arp(self.handle_arp(&arp)))
            }
            _ if frame.dst_addr() != self.mac => Err("for another hardware address"),
            EthernetProtocol::Ipv4 => {
                let packet = frame.payload();
                if let Ok(ip) = Ipv4Packet::new_checked(packet) {
                    self.learn(ip.src_addr(), frame.src_addr());
                }
                Ok(Content::Packet(packet))
            }
            _ => Err("not IPv4"),
        }
    }

    fn learn(&mut self, address: Ipv4Address, mac: EthernetAddress) {
        if is_host(address) && address != self.address && mac.is_unicast() {
            self.neighbors.insert(address, mac);
        }
    }

    fn handle_arp(&mut self, arp: &ArpRepr) -> Option<Vec<u8>> {
        let ArpRepr::EthernetIpv4 {
            operation,
            source_hardware_addr: asker_mac,
            source_protocol_addr: asker,
            target_protocol_addr: target,
            ..
        } = *arp
        else {
            return None;
        };
        self.learn(asker, asker_mac);
        // Who asks for the own address, or asks without one, wants to know whether it is in use.
        let wants_answer = operation == ArpOperation::Request && is_host(asker) && asker != target;
        if !wants_answer || !self.answers_for(target) {
            return None;
        }
        let macs = Macs {
            src: self.mac,
            dst: asker_mac,
        };
        Some(wire::neighbor_reply(target.into(), asker.into(), macs))
    }

    fn answers_for(&self, target: Ipv4Address) -> bool {
        target == self.address
            || self.is_proxy && is_host(target) && !self.neighbors.contains_key(&target)
    }

    /// Whether a packet for `address` can be sent now. If not, the frame that asks for it.
    pub(super) fn require_neighbor(&self, address: Ipv4Address) -> Result<(), Vec<u8>> {
        if self.medium != Medium::Ethernet || self.neighbors.contains_key(&address) {
            return Ok(());
        }
        let question = ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Request,
            source_hardware_addr: self.mac,
            source_protocol_addr: self.address,
            target_hardware_addr: EthernetAddress::default(),
            target_protocol_addr: address,
        };
        let dst = EthernetAddress::BROADCAST;
        let mut payload = vec![0; question.buffer_len()];
        question.emit(&mut ArpPacket::new_unchecked(&mut payload));
        Err(self.frame(dst, EthernetProtocol::Arp, &payload))
    }

    /// The frame that carries an IPv4 packet to a neighbour; nothing if it is not known.
    pub(super) fn wrap(&self, dst: Ipv4Address, packet: Vec<u8>) -> Option<Vec<u8>> {
        if self.medium != Medium::Ethernet {
            return Some(packet);
        }
        let mac = self.neighbors.get(&dst)?;
        Some(self.frame(*mac, EthernetProtocol::Ipv4, &packet))
    }

    fn frame(&self, dst: EthernetAddress, ethertype: EthernetProtocol, payload: &[u8]) -> Vec<u8> {
        let header = EthernetRepr {
            src_addr: self.mac,
            dst_addr: dst,
            ethertype,
        };
        let mut frame = vec![0; header.buffer_len()];
        header.emit(&mut EthernetFrame::new_unchecked(&mut frame));
        frame.extend(payload);
        frame
    }
}

/// Some host can have it.
const fn is_host(address: Ipv4Address) -> bool {
    !address.is_unspecified() && !address.is_multicast() && !address.is_broadcast()
}
