//! A station on an Ethernet that may change its hardware address: a neighbour, or a gateway and all
//! that lies behind it.

#![allow(
    dead_code,
    unreachable_pub,
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    reason = "a helper of a test may fail as a test does"
)]

use std::collections::BTreeMap;

use smoltcp::phy::Medium;
use smoltcp::wire::{EthernetAddress, EthernetFrame, IpAddress};
use tcp_keepalive::Instant;
use tcp_keepalive_sim::wire::{self, Kind, Macs, Segment};
use tcp_keepalive_sim::{Node, Port, Turn};

/// Answers questions for its address, and every segment that reaches its hardware address, wherever
/// that is for.
pub struct Station {
    pub address: IpAddress,
    pub mac: EthernetAddress,
    /// It answers nothing, and drops all that it is sent.
    pub is_dead: bool,
    /// It answers no questions for its address.
    pub is_shy: bool,
    /// SND.NXT and RCV.NXT of each connection, by port.
    connections: BTreeMap<(u16, u16), (u32, u32)>,
    leaving: Vec<Vec<u8>>,
}

impl Station {
    pub fn new(address: IpAddress, mac: EthernetAddress) -> Self {
        Self {
            address,
            mac,
            is_dead: false,
            is_shy: false,
            connections: BTreeMap::new(),
            leaving: Vec::new(),
        }
    }

    /// Tells everybody its address, by gratuitous ARP or an unsolicited advertisement. It leaves at the
    /// station's next turn.
    pub fn announce(&mut self) {
        self.leaving
            .push(wire::announcement(self.address, self.mac));
    }

    pub fn send(&mut self, frame: Vec<u8>) {
        self.leaving.push(frame);
    }

    fn answer(&mut self, segment: &Segment) -> Option<Segment> {
        let ports = (segment.src_port, segment.dst_port);
        if segment.rst {
            self.connections.remove(&ports);
            return None;
        }
        let is_new = segment.syn;
        if is_new {
            self.connections.insert(ports, (9_000_000, segment.seq));
        }
        let Some((snd_nxt, rcv_nxt)) = self.connections.get_mut(&ports) else {
            return segment.refusal();
        };
        let is_next = segment.seq == *rcv_nxt;
        if is_next && segment.end() == segment.seq {
            return None;
        }
        if is_next {
            *rcv_nxt = segment.end();
        }
        let mut answer = Segment {
            src_addr: segment.dst_addr,
            dst_addr: segment.src_addr,
            src_port: segment.dst_port,
            dst_port: segment.src_port,
            seq: *snd_nxt,
            ack: Some(*rcv_nxt),
            window: 4096,
            syn: false,
            fin: false,
            rst: false,
            psh: false,
            payload: Vec::new(),
            timestamps: None,
            window_scale: None,
            hop_limit: 64,
            checksum_ok: true,
            ip_checksum_ok: true,
        };
        if is_new {
            answer.syn = true;
            *snd_nxt = answer.end();
        }
        Some(answer)
    }
}

impl Node for Station {
    fn new_port(&mut self, index: usize) -> Option<Port> {
        (index == 0).then(|| Port::new(Medium::Ethernet))
    }

    fn power_on(&mut self, _: &mut Turn<'_>) {}

    fn poll(&mut self, turn: &mut Turn<'_>) {
        let port = &mut turn.ports[0];
        while let Some(frame) = port.receive_frame() {
            let header = EthernetFrame::new_checked(&*frame.bytes).unwrap();
            let (src, dst) = (header.src_addr(), header.dst_addr());
            if self.is_dead || dst.is_unicast() && dst != self.mac {
                continue;
            }
            let macs = Macs {
                src: self.mac,
                dst: src,
            };
            match wire::parse(Medium::Ethernet, &frame.bytes) {
                Kind::NeighborQuery(query) if query.target == self.address && !self.is_shy => {
                    let reply = wire::neighbor_reply(self.address, query.asker, macs);
                    self.leaving.push(reply);
                }
                Kind::Tcp(segment) => {
                    let answer = self.answer(&segment);
                    self.leaving.extend(answer.map(|it| it.emit(Some(macs))));
                }
                _ => {}
            }
        }
        for frame in self.leaving.drain(..) {
            port.send_frame(frame);
        }
    }

    fn poll_at(&mut self, now: Instant) -> Option<Instant> {
        (!self.leaving.is_empty()).then_some(now)
    }
}
