//! Frames, taken apart and put together by means of smoltcp's wire formats: an opinion
//! independent of the adapter's own parser.

use std::fmt;

use ::smoltcp::phy::{ChecksumCapabilities, Medium};
use ::smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol,
    EthernetRepr, Icmpv6Packet, Icmpv6Repr, IpAddress, IpProtocol, IpRepr, Ipv4Packet, Ipv6Address,
    Ipv6Packet, NdiscNeighborFlags, NdiscRepr, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber,
    TcpTimestampRepr,
};

/// What a frame is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// "Who has that address?", by ARP or NDISC.
    NeighborQuery(Query),
    /// "I have."
    NeighborReply,
    /// A segment.
    Tcp(Segment),
    /// Anything else, or garbage.
    Other,
}

impl Kind {
    /// Returns the segment, if it is one.
    #[must_use]
    pub const fn tcp(&self) -> Option<&Segment> {
        match self {
            Self::Tcp(segment) => Some(segment),
            _ => None,
        }
    }

    /// It is ARP, or neighbour discovery.
    pub(crate) const fn is_about_neighbors(&self) -> bool {
        matches!(self, Self::NeighborQuery(_) | Self::NeighborReply)
    }

    /// Returns whether it asks for a neighbour's address.
    #[must_use]
    pub const fn is_neighbor_query(&self) -> bool {
        matches!(self, Self::NeighborQuery(_))
    }
}

/// A question for a neighbour's address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Query {
    /// Who asks.
    pub asker: IpAddress,
    /// The asker's own hardware address.
    pub asker_mac: EthernetAddress,
    /// Whose hardware address is asked for.
    pub target: IpAddress,
}

/// A TCP segment, and as much of its wrapping as matters.
#[expect(
    clippy::struct_excessive_bools,
    reason = "that is what a TCP header is made of"
)]
#[derive(Clone, PartialEq, Eq)]
pub struct Segment {
    /// The sender's address.
    pub src_addr: IpAddress,
    /// The receiver's address.
    pub dst_addr: IpAddress,
    /// The sender's port.
    pub src_port: u16,
    /// The receiver's port.
    pub dst_port: u16,
    /// The sequence number.
    pub seq: u32,
    /// The acknowledgement number, if the ACK flag is set.
    pub ack: Option<u32>,
    /// The window, as it stands in the header.
    pub window: u16,
    /// The SYN flag.
    pub syn: bool,
    /// The FIN flag.
    pub fin: bool,
    /// The RST flag.
    pub rst: bool,
    /// The PSH flag.
    pub psh: bool,
    /// The data.
    pub payload: Vec<u8>,
    /// The timestamp option (RFC 7323): value and echo.
    pub timestamps: Option<(u32, u32)>,
    /// The window scale option of a SYN (RFC 7323).
    pub window_scale: Option<u8>,
    /// The hop limit, or time to live.
    pub hop_limit: u8,
    /// The TCP checksum is right, or will be made right.
    pub checksum_ok: bool,
    /// The same of the IPv4 header's.
    pub ip_checksum_ok: bool,
}

impl Segment {
    /// Returns the sequence number after this segment.
    #[must_use]
    pub fn end(&self) -> u32 {
        let len = u32::try_from(self.payload.len()).unwrap_or(u32::MAX);
        self.seq
            .wrapping_add(len)
            .wrapping_add(u32::from(self.syn))
            .wrapping_add(u32::from(self.fin))
    }

    /// Returns the RST of a host that knows of no such connection (RFC 9293 3.10.7.1); `None` if it is
    /// an RST itself, which is never answered.
    #[must_use]
    pub fn refusal(&self) -> Option<Self> {
        // "If the ACK bit is off, sequence number zero is used, <SEQ=0><ACK=SEG.SEQ+SEG.LEN>
        // <CTL=RST,ACK>. If the ACK bit is on, <SEQ=SEG.ACK><CTL=RST>."
        let (seq, ack) = match self.ack {
            None => (0, Some(self.end())),
            Some(ack) => (ack, None),
        };
        (!self.rst).then_some(Self {
            src_addr: self.dst_addr,
            dst_addr: self.src_addr,
            src_port: self.dst_port,
            dst_port: self.src_port,
            seq,
            ack,
            window: 0,
            syn: false,
            fin: false,
            rst: true,
            psh: false,
            payload: Vec::new(),
            timestamps: None,
            window_scale: None,
            hop_limit: 64,
            checksum_ok: true,
            ip_checksum_ok: true,
        })
    }

    /// Returns whether it is nothing but an acknowledgement.
    #[must_use]
    pub fn is_pure_ack(&self) -> bool {
        self.ack.is_some() && self.payload.is_empty() && !self.syn && !self.fin && !self.rst
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}>{} ", self.src_port, self.dst_port)?;
        let flags = [
            (self.syn, "SYN "),
            (self.fin, "FIN "),
            (self.rst, "RST "),
            (self.psh, "PSH "),
        ];
        for (is_set, name) in flags {
            f.write_str(if is_set { name } else { "" })?;
        }
        write!(f, "seq {}", self.seq)?;
        if let Some(ack) = self.ack {
            write!(f, " ack {ack}")?;
        }
        write!(f, " win {} len {}", self.window, self.payload.len())?;
        if let Some((tsval, tsecr)) = self.timestamps {
            write!(f, " ts {tsval}/{tsecr}")?;
        }
        f.write_str(if self.checksum_ok {
            ""
        } else {
            " BAD CHECKSUM"
        })
    }
}

/// Returns what `frame` is. Checksums are reported, not required.
#[must_use]
pub fn parse(medium: Medium, frame: &[u8]) -> Kind {
    parse_link(medium, frame).unwrap_or(Kind::Other)
}

fn parse_link(medium: Medium, frame: &[u8]) -> Option<Kind> {
    if medium != Medium::Ethernet {
        return parse_ip(EthernetAddress::default(), frame);
    }
    let ethernet = EthernetFrame::new_checked(frame).ok()?;
    match ethernet.ethertype() {
        EthernetProtocol::Arp => {
            let arp = ArpPacket::new_checked(ethernet.payload()).ok()?;
            let ArpRepr::EthernetIpv4 {
                operation: ArpOperation::Request,
                source_hardware_addr,
                source_protocol_addr,
                target_protocol_addr,
                ..
            } = ArpRepr::parse(&arp).ok()?
            else {
                return Some(Kind::NeighborReply);
            };
            Some(Kind::NeighborQuery(Query {
                asker: source_protocol_addr.into(),
                asker_mac: source_hardware_addr,
                target: target_protocol_addr.into(),
            }))
        }
        EthernetProtocol::Ipv4 | EthernetProtocol::Ipv6 => {
            parse_ip(ethernet.src_addr(), ethernet.payload())
        }
        EthernetProtocol::Unknown(_) => None,
    }
}

fn parse_ip(src_mac: EthernetAddress, packet: &[u8]) -> Option<Kind> {
    match packet.first()? >> 4 {
        4 => {
            let ip = Ipv4Packet::new_checked(packet).ok()?;
            // Of a datagram in fragments, only the first would have the header, and not the rest.
            let is_fragment = ip.more_frags() || ip.frag_offset() != 0;
            if ip.next_header() != IpProtocol::Tcp || is_fragment {
                return None;
            }
            let (src, dst) = (ip.src_addr().into(), ip.dst_addr().into());
            parse_tcp(ip.payload(), src, dst, ip.hop_limit(), ip.verify_checksum())
        }
        6 => {
            let ip = Ipv6Packet::new_checked(packet).ok()?;
            match ip.next_header() {
                IpProtocol::Tcp => {
                    let (src, dst) = (ip.src_addr().into(), ip.dst_addr().into());
                    parse_tcp(ip.payload(), src, dst, ip.hop_limit(), true)
                }
                IpProtocol::Icmpv6 => {
                    parse_icmpv6(ip.payload(), ip.src_addr(), ip.dst_addr(), src_mac)
                }
                _ => None,
            }
        }
        _ => None,
    }
}

fn parse_icmpv6(
    bytes: &[u8],
    src: Ipv6Address,
    dst: Ipv6Address,
    src_mac: EthernetAddress,
) -> Option<Kind> {
    let packet = Icmpv6Packet::new_checked(bytes).ok()?;
    match Icmpv6Repr::parse(&src, &dst, &packet, &ChecksumCapabilities::ignored()).ok()? {
        Icmpv6Repr::Ndisc(NdiscRepr::NeighborSolicit { target_addr, .. }) => {
            Some(Kind::NeighborQuery(Query {
                asker: src.into(),
                asker_mac: src_mac,
                target: target_addr.into(),
            }))
        }
        Icmpv6Repr::Ndisc(NdiscRepr::NeighborAdvert { .. }) => Some(Kind::NeighborReply),
        _ => None,
    }
}

fn parse_tcp(
    bytes: &[u8],
    src: IpAddress,
    dst: IpAddress,
    hop_limit: u8,
    ip_checksum_ok: bool,
) -> Option<Kind> {
    let tcp = TcpPacket::new_checked(bytes).ok()?;
    let repr = TcpRepr::parse(&tcp, &src, &dst, &ChecksumCapabilities::ignored()).ok()?;
    Some(Kind::Tcp(Segment {
        src_addr: src,
        dst_addr: dst,
        src_port: repr.src_port,
        dst_port: repr.dst_port,
        seq: repr.seq_number.0.cast_unsigned(),
        ack: repr.ack_number.map(|ack| ack.0.cast_unsigned()),
        window: repr.window_len,
        syn: tcp.syn(),
        fin: tcp.fin(),
        rst: tcp.rst(),
        psh: tcp.psh(),
        payload: repr.payload.to_vec(),
        timestamps: repr.timestamp.map(|ts| (ts.tsval, ts.tsecr)),
        window_scale: repr.window_scale,
        hop_limit,
        checksum_ok: tcp.verify_checksum(&src, &dst),
        ip_checksum_ok,
    }))
}

/// The source and the destination of an Ethernet frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Macs {
    /// The sender.
    pub src: EthernetAddress,
    /// The receiver.
    pub dst: EthernetAddress,
}

impl Segment {
    /// Returns the frame that carries the segment: an Ethernet frame between `macs`, or, without
    /// them, a bare packet. A segment whose addresses are of different versions has no frame: it is
    /// empty. Of a payload that no packet could carry, the beginning is sent.
    #[must_use]
    pub fn emit(&self, macs: Option<Macs>) -> Vec<u8> {
        // What 16 bits can say, without the longest headers.
        const LONGEST: usize = 65_535 - 40 - 60;
        let tcp = TcpRepr {
            src_port: self.src_port,
            dst_port: self.dst_port,
            control: TcpControl::None,
            seq_number: TcpSeqNumber(self.seq.cast_signed()),
            ack_number: self.ack.map(|ack| TcpSeqNumber(ack.cast_signed())),
            window_len: self.window,
            window_scale: self.window_scale,
            max_seg_size: self.syn.then_some(1400),
            sack_permitted: false,
            sack_ranges: [None; 3],
            timestamp: self
                .timestamps
                .map(|(tsval, tsecr)| TcpTimestampRepr::new(tsval, tsecr)),
            payload: self.payload.get(..LONGEST).unwrap_or(&self.payload),
        };
        let (src, dst) = (self.src_addr, self.dst_addr);
        let carrier = Carrier { src, dst, macs };
        let mut frame = carrier.ip(IpProtocol::Tcp, self.hop_limit, tcp.buffer_len(), |bytes| {
            let mut packet = TcpPacket::new_unchecked(&mut *bytes);
            tcp.emit(&mut packet, &src, &dst, &ChecksumCapabilities::default());
            packet.set_syn(self.syn);
            packet.set_fin(self.fin);
            packet.set_rst(self.rst);
            packet.set_psh(self.psh);
            packet.fill_checksum(&src, &dst);
            if !self.checksum_ok {
                spoil(bytes, 16);
            }
        });
        if !self.ip_checksum_ok {
            spoil(&mut frame, carrier.header_len() + 10);
        }
        frame
    }
}

fn spoil(bytes: &mut [u8], at: usize) {
    if let Some(byte) = bytes.get_mut(at) {
        *byte ^= 0x55;
    }
}

/// Returns "I have that address": the answer of `src`, whose it is, to `dst`, by ARP or NDISC.
#[must_use]
pub fn neighbor_reply(src: IpAddress, dst: IpAddress, macs: Macs) -> Vec<u8> {
    let carrier = Carrier {
        src,
        dst,
        macs: Some(macs),
    };
    match (src, dst) {
        (IpAddress::Ipv4(from), IpAddress::Ipv4(to)) => {
            let arp = ArpRepr::EthernetIpv4 {
                operation: ArpOperation::Reply,
                source_hardware_addr: macs.src,
                source_protocol_addr: from,
                target_hardware_addr: macs.dst,
                target_protocol_addr: to,
            };
            carrier.ethernet(EthernetProtocol::Arp, arp.buffer_len(), |bytes| {
                arp.emit(&mut ArpPacket::new_unchecked(bytes));
            })
        }
        (IpAddress::Ipv6(from), IpAddress::Ipv6(to)) => {
            let advert = Icmpv6Repr::Ndisc(NdiscRepr::NeighborAdvert {
                flags: NdiscNeighborFlags::SOLICITED | NdiscNeighborFlags::OVERRIDE,
                target_addr: from,
                lladdr: Some(macs.src.into()),
            });
            carrier.ip(IpProtocol::Icmpv6, 255, advert.buffer_len(), |bytes| {
                let mut packet = Icmpv6Packet::new_unchecked(bytes);
                advert.emit(&from, &to, &mut packet, &ChecksumCapabilities::default());
            })
        }
        _ => Vec::new(),
    }
}

/// Returns a frame by which `address` tells all its neighbours, unasked, that it is at `src`:
/// gratuitous ARP, or an unsolicited advertisement (RFC 4861 7.2.6).
#[must_use]
pub fn announcement(address: IpAddress, src: EthernetAddress) -> Vec<u8> {
    let all_nodes = Ipv6Address::new(0xff02, 0, 0, 0, 0, 0, 0, 1);
    match address {
        IpAddress::Ipv4(_) => {
            let dst = EthernetAddress::BROADCAST;
            neighbor_reply(address, address, Macs { src, dst })
        }
        IpAddress::Ipv6(from) => {
            let advert = Icmpv6Repr::Ndisc(NdiscRepr::NeighborAdvert {
                flags: NdiscNeighborFlags::OVERRIDE,
                target_addr: from,
                lladdr: Some(src.into()),
            });
            let dst = EthernetAddress([0x33, 0x33, 0, 0, 0, 1]);
            let carrier = Carrier {
                src: address,
                dst: all_nodes.into(),
                macs: Some(Macs { src, dst }),
            };
            carrier.ip(IpProtocol::Icmpv6, 255, advert.buffer_len(), |bytes| {
                let mut packet = Icmpv6Packet::new_unchecked(bytes);
                advert.emit(
                    &from,
                    &all_nodes,
                    &mut packet,
                    &ChecksumCapabilities::default(),
                );
            })
        }
    }
}

/// What goes around a payload.
struct Carrier {
    src: IpAddress,
    dst: IpAddress,
    macs: Option<Macs>,
}

impl Carrier {
    fn header_len(&self) -> usize {
        if self.macs.is_some() { 14 } else { 0 }
    }

    fn ip(
        &self,
        protocol: IpProtocol,
        hop_limit: u8,
        len: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Vec<u8> {
        if self.src.version() != self.dst.version() {
            return Vec::new();
        }
        let ip = IpRepr::new(self.src, self.dst, protocol, len, hop_limit);
        let ethertype = match self.src {
            IpAddress::Ipv4(_) => EthernetProtocol::Ipv4,
            IpAddress::Ipv6(_) => EthernetProtocol::Ipv6,
        };
        self.ethernet(ethertype, ip.buffer_len(), |bytes| {
            let (header, payload) = bytes.split_at_mut(ip.header_len());
            ip.emit(header, &ChecksumCapabilities::default());
            fill(payload);
        })
    }

    fn ethernet(
        &self,
        ethertype: EthernetProtocol,
        len: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Vec<u8> {
        let mut frame = vec![0; self.header_len() + len];
        if let Some(Macs { src, dst }) = self.macs {
            EthernetRepr {
                src_addr: src,
                dst_addr: dst,
                ethertype,
            }
            .emit(&mut EthernetFrame::new_unchecked(&mut frame));
        }
        let (_, payload) = frame.split_at_mut(self.header_len());
        fill(payload);
        frame
    }
}
