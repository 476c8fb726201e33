//! Whatever frames the engine is shown, received, sent or swallowed, and in whichever order it is
//! asked what follows: it does not panic, each frame that it writes is whole and has right checksums,
//! and once it was served it has nothing more to do at that moment. There is no stack here.
//!
//! `scripts/fuzz`, or `cargo fuzz run --no-cfg-fuzzing -s none link`

#![no_main]

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol,
    EthernetRepr, Icmpv4DstUnreachable, Icmpv4Packet, Icmpv4Repr, Icmpv6DstUnreachable,
    Icmpv6Packet, Icmpv6Repr, IpAddress, IpProtocol, IpRepr, Ipv4Packet, Ipv4Repr, Ipv6Packet,
    Ipv6Repr, NdiscNeighborFlags, NdiscRepr, RawHardwareAddress, TcpControl, TcpPacket, TcpRepr,
    TcpSeqNumber, TcpTimestampRepr,
};
use tcp_keepalive::link::{
    Checksum, Checksums, Ending, Id, Link, MAX_FRAME_LEN, Medium, Socket, Tuple,
};
use tcp_keepalive::{Cause, Config, Event, Instant, ProbePayload};

const PLACES: usize = 4;
const MAX_STEPS: usize = 200;
/// More frames, or events, than can follow from one moment.
const MANY: usize = 64;

#[derive(Arbitrary, Debug)]
struct Plan {
    is_ip: bool,
    ipv6: bool,
    /// Words of an address.
    is_narrow: bool,
    checksums: (Sum, Sum),
    steps: Vec<Step>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Sum {
    Software,
    OnReceive,
    OnTransmit,
    Device,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Way {
    Received,
    Sent,
    Swallowed,
}

#[derive(Arbitrary, Debug)]
enum Step {
    Add(Options),
    Remove(u8),
    SetConfig(u8, Options),
    Switch(u8, Option<Options>),
    Settle,
    ForgetOpening,
    Follow {
        place: u8,
        peer: u8,
        state: Said,
        is_busy: bool,
    },
    /// Octets that need not be a frame.
    Raw(Way, Vec<u8>),
    Segment(Way, Numbers),
    /// The handshake, both ways, as the opening side sees it.
    Handshake {
        peer: u8,
        timestamps: bool,
        is_passive: bool,
    },
    Neighbor(Way, Says),
    Unreachable {
        peer: u8,
        cut: u8,
    },
    /// The frame that was seen last, once more, and damaged.
    Again(Way, u16, u8),
    /// The time passes: so many milliseconds, to the next deadline and a bit, or back.
    Pass(u32),
    ToDue(u16),
    Back(u32),
    Serve {
        /// How many frames the device takes.
        room: u8,
        /// What the stack answers to what it is handed.
        answers: Option<Numbers>,
    },
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Said {
    Closed(u8),
    Opening,
    Open,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Options {
    idle: u16,
    interval: u16,
    count: u8,
    user_timeout: Option<u16>,
    octet: bool,
}

/// A segment with numbers next to the right ones.
#[derive(Arbitrary, Clone, Copy, Debug)]
struct Numbers {
    peer: u8,
    seq: i8,
    ack: i8,
    flags: u8,
    window: u16,
    timestamps: Option<(u32, u32)>,
    len: u8,
    /// The hardware address of the other end.
    hardware: u8,
    is_wrong: bool,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
struct Says {
    is_question: bool,
    /// Whose address is asked for, or told.
    peer: u8,
    hardware: u8,
    /// To us alone.
    is_unicast: bool,
}

impl Options {
    fn config(self) -> Option<Config> {
        let millis = |millis: u16| Duration::from_millis(millis.into());
        let config = Config::new(millis(self.idle), millis(self.interval), self.count).ok()?;
        let config = match self.user_timeout {
            Some(timeout) => config.with_user_timeout(millis(timeout)).ok()?,
            None => config,
        };
        Some(config.with_payload(if self.octet {
            ProbePayload::GarbageOctet
        } else {
            ProbePayload::Empty
        }))
    }
}

impl Sum {
    fn of(self) -> Checksum {
        match self {
            Self::Software => Checksum::Software,
            Self::OnReceive => Checksum::SoftwareOnReceive,
            Self::OnTransmit => Checksum::SoftwareOnTransmit,
            Self::Device => Checksum::Device,
        }
    }

    fn is_written(self) -> bool {
        matches!(self, Self::Software | Self::OnTransmit)
    }
}

fuzz_target!(|plan: Plan| {
    if plan.is_narrow {
        Trial::<1>::new(&plan).run(plan.steps);
    } else {
        Trial::<4>::new(&plan).run(plan.steps);
    }
});

struct Trial<const W: usize> {
    link: Link<PLACES, W>,
    is_ip: bool,
    ipv6: bool,
    checksums: (Sum, Sum),
    places: Vec<Id>,
    now: Instant,
    last: Vec<u8>,
}

/// Where a frame comes from, and where it goes.
struct Ends {
    hardware: [EthernetAddress; 2],
    addresses: [IpAddress; 2],
    ports: [u16; 2],
}

impl<const W: usize> Trial<W> {
    fn new(plan: &Plan) -> Self {
        let mut link = Link::new();
        let medium = if plan.is_ip {
            Medium::Ip
        } else {
            Medium::Ethernet
        };
        let (ipv4, transport) = plan.checksums;
        link.set_capabilities(
            medium,
            Checksums {
                ipv4: ipv4.of(),
                transport: transport.of(),
            },
        );
        Self {
            link,
            is_ip: plan.is_ip,
            ipv6: plan.ipv6,
            checksums: plan.checksums,
            places: Vec::new(),
            now: Instant::from_millis(1_000),
            last: Vec::new(),
        }
    }

    fn run(mut self, steps: Vec<Step>) {
        for step in steps.into_iter().take(MAX_STEPS) {
            self.step(step);
            self.look();
        }
        self.serve(usize::MAX, None);
    }

    fn step(&mut self, step: Step) {
        match step {
            Step::Add(options) => {
                if let Some(id) = options.config().and_then(|config| self.link.add(config))
                    && !self.places.contains(&id)
                {
                    self.places.push(id);
                }
            }
            Step::Remove(place) => {
                if let Some(id) = self.id(place) {
                    self.link.remove(id);
                    // Another socket may have this place now.
                    self.places.retain(|other| *other != id);
                }
            }
            Step::SetConfig(place, options) => {
                if let (Some(id), Some(config)) = (self.id(place), options.config()) {
                    self.link.set_config(id, config);
                }
            }
            Step::Switch(place, options) => {
                if let Some(id) = self.id(place) {
                    let config = options.and_then(Options::config);
                    self.link.switch(self.now, id, config);
                }
            }
            Step::Settle => self.link.settle(),
            Step::ForgetOpening => self.link.forget_opening(),
            Step::Follow {
                place,
                peer,
                state,
                is_busy,
            } => self.follow(place, peer, state, is_busy),
            Step::Raw(way, frame) => self.show(way, frame),
            Step::Segment(way, numbers) => {
                let frame = self.segment(way, &numbers);
                self.show(way, frame);
            }
            Step::Handshake {
                peer,
                timestamps,
                is_passive,
            } => self.handshake(peer, timestamps, is_passive),
            Step::Neighbor(way, says) => {
                let frame = self.neighbor(way, says);
                self.show(way, frame);
            }
            Step::Unreachable { peer, cut } => {
                let frame = self.unreachable(peer, cut);
                self.show(Way::Received, frame);
            }
            Step::Again(way, at, xor) => {
                let mut frame = self.last.clone();
                if let Some(at) = usize::from(at).checked_rem(frame.len()) {
                    frame[at] ^= xor;
                }
                self.show(way, frame);
            }
            Step::Pass(millis) => self.pass(Duration::from_millis(millis.into())),
            Step::ToDue(millis) => {
                if let Some(due) = self.link.poll_timeout() {
                    self.now = self.now.max(due);
                }
                self.pass(Duration::from_millis(millis.into()));
            }
            Step::Back(millis) => {
                let micros = u64::from(millis) * 1_000;
                self.now = Instant::from_micros(self.now.as_micros().saturating_sub(micros));
            }
            Step::Serve { room, answers } => self.serve(room.into(), answers),
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now.saturating_add(time);
    }

    fn id(&self, place: u8) -> Option<Id> {
        self.places.get(usize::from(place) % PLACES).copied()
    }

    /// Whatever can be asked can be asked at any time.
    fn look(&mut self) {
        let Self { link, places, .. } = self;
        for id in places.iter().copied() {
            let _ = (link.state(id), link.config(id), link.last_heard(id));
            let _ = (link.stats(id), link.tuple(id));
            let has_ended = link.close_reason(id).is_some();
            assert!(!has_ended || link.tuple(id).is_none(), "both open and over");
        }
        let _ = (link.poll_opening(), link.take_change(), link.poll_timeout());
    }

    fn show(&mut self, way: Way, frame: Vec<u8>) {
        match way {
            Way::Received => self.link.handle_received(self.now, &frame),
            Way::Sent => self.link.handle_sent(self.now, &frame),
            Way::Swallowed => self.link.handle_answer(&frame),
        }
        self.last = frame;
    }

    fn follow(&mut self, place: u8, peer: u8, state: Said, is_busy: bool) {
        let Some(id) = self.id(place) else {
            return;
        };
        let [ours, theirs] = self.socket_addrs(peer);
        let Some(tuple) = Tuple::new(ours, theirs) else {
            return;
        };
        let socket = match state {
            Said::Closed(0) => Socket::Closed(Ending::AddressLost),
            Said::Closed(1) => Socket::Closed(Ending::Closed),
            Said::Closed(_) => Socket::Closed(Ending::Unknown),
            Said::Opening => Socket::Opening(tuple),
            Said::Open => Socket::Open(tuple),
        };
        self.link.follow(self.now, id, socket, 4096, is_busy);
    }

    /// Does all that an adapter does when the device has nothing more to receive.
    fn serve(&mut self, room: usize, answers: Option<Numbers>) {
        let mut room = room;
        for turn in 0.. {
            assert!(turn < 4, "never done at {:?}: {:?}", self.now, self.link);
            let mut buffer = [0; MAX_FRAME_LEN];
            // An adapter would say now what connections its sockets have.
            self.link.take_change();
            if self.link.is_due(self.now) {
                self.link.handle_timeout(self.now);
            }
            let mut frames = 0;
            while let Some(len) = self.link.poll_receive(&mut buffer) {
                self.check(&buffer[..len]);
                frames += 1;
                assert!(frames < MANY, "frame upon frame");
                if let Some(numbers) = &answers {
                    let frame = self.segment(Way::Sent, numbers);
                    self.link.handle_answer(&frame);
                }
            }
            while let Some(len) = self.link.poll_transmit(self.now, &mut buffer) {
                self.check(&buffer[..len]);
                frames += 1;
                assert!(frames < MANY, "frame upon frame");
                if room == 0 {
                    self.link.handle_blocked(self.now);
                    break;
                }
                room -= 1;
                self.link.handle_transmitted(self.now);
            }
            self.drain_events();
            let is_changed = self.link.take_change();
            let due = self.link.poll_timeout();
            if is_changed {
                continue;
            }
            if room == 0 || due.is_none_or(|due| due > self.now) {
                break;
            }
        }
    }

    fn drain_events(&mut self) {
        for count in 0.. {
            let Some((id, event)) = self.link.poll_event() else {
                break;
            };
            assert!(count < MANY, "event upon event");
            assert!(self.places.contains(&id));
            if let Event::TimedOut(verdict) = event
                && verdict.cause == Cause::KeepAlive
            {
                let attempts = u16::from(verdict.unanswered) + u16::from(verdict.unsent);
                assert!(attempts >= 2, "{verdict}");
            }
        }
    }

    /// A frame of the engine's own is whole, says what it may say, and has right checksums.
    fn check(&self, frame: &[u8]) {
        let mut packet = frame;
        if !self.is_ip {
            let ethernet = EthernetFrame::new_checked(frame).expect("an Ethernet frame");
            packet = ethernet.payload();
            let is_v6 = packet[0] >> 4 == 6;
            match ethernet.ethertype() {
                EthernetProtocol::Arp => {
                    let arp = ArpPacket::new_checked(packet).expect("an ARP packet");
                    ArpRepr::parse(&arp).expect("a question for a neighbour");
                    assert_eq!(arp.operation(), ArpOperation::Request);
                    return;
                }
                EthernetProtocol::Ipv4 => assert!(!is_v6),
                EthernetProtocol::Ipv6 => assert!(is_v6),
                other => panic!("{other} in {frame:02x?}"),
            }
        }
        let (ipv4, transport) = self.checksums;
        let (src, dst, protocol, payload): (IpAddress, IpAddress, _, _);
        if packet[0] >> 4 == 4 {
            let ip = Ipv4Packet::new_checked(packet).expect("an IPv4 packet");
            assert_eq!(usize::from(ip.total_len()), packet.len());
            assert!(!ipv4.is_written() || ip.verify_checksum(), "IPv4 checksum");
            let (from, to) = (ip.src_addr(), ip.dst_addr());
            (src, dst, protocol) = (from.into(), to.into(), ip.next_header());
            payload = &packet[usize::from(ip.header_len())..];
        } else {
            let ip = Ipv6Packet::new_checked(packet).expect("an IPv6 packet");
            assert_eq!(ip.total_len(), packet.len());
            (src, dst, protocol) = (ip.src_addr().into(), ip.dst_addr().into(), ip.next_header());
            payload = &packet[40..];
        }
        match protocol {
            IpProtocol::Tcp => {
                let tcp = TcpPacket::new_checked(payload).expect("a TCP segment");
                let is_right = tcp.verify_checksum(&src, &dst);
                assert!(!transport.is_written() || is_right, "TCP checksum");
                let caps = ChecksumCapabilities::ignored();
                // An address that stands for no host is the stack's business.
                if src.is_unicast()
                    && dst.is_unicast()
                    && tcp.src_port() != 0
                    && tcp.dst_port() != 0
                {
                    TcpRepr::parse(&tcp, &src, &dst, &caps).expect("a segment");
                }
                assert!(tcp.ack() && !tcp.syn() && !tcp.fin(), "{tcp}");
                assert!(tcp.payload().len() <= 1, "{tcp}");
            }
            IpProtocol::Icmpv6 => {
                let icmp = Icmpv6Packet::new_checked(payload).expect("an ICMPv6 message");
                if let (IpAddress::Ipv6(src), IpAddress::Ipv6(dst)) = (src, dst) {
                    let mut caps = ChecksumCapabilities::ignored();
                    if transport.is_written() {
                        caps = ChecksumCapabilities::default();
                    }
                    let said = Icmpv6Repr::parse(&src, &dst, &icmp, &caps);
                    let is_question = matches!(
                        said,
                        Ok(Icmpv6Repr::Ndisc(NdiscRepr::NeighborSolicit { .. }))
                    );
                    assert!(is_question, "{said:?}");
                }
            }
            other => panic!("{other} in {frame:02x?}"),
        }
    }

    fn address(&self, host: u8) -> IpAddress {
        if self.ipv6 {
            IpAddress::v6(0xfe80, 0, 0, 0, 0, 0, 0, host.into())
        } else {
            IpAddress::v4(192, 0, 2, host)
        }
    }

    fn socket_addrs(&self, peer: u8) -> [SocketAddr; 2] {
        let ends = self.ends(Way::Sent, peer, 0);
        let [ours, theirs] = [0, 1].map(|end| {
            let address = match ends.addresses[end] {
                IpAddress::Ipv4(address) => IpAddr::V4(Ipv4Addr::from(address.octets())),
                IpAddress::Ipv6(address) => IpAddr::V6(Ipv6Addr::from(address.octets())),
            };
            SocketAddr::new(address, ends.ports[end])
        });
        [ours, theirs]
    }

    fn ends(&self, way: Way, peer: u8, hardware: u8) -> Ends {
        let peer = peer % 4;
        let host = |last| EthernetAddress([2, 0, 0, 0, 0, last]);
        let mut ends = Ends {
            hardware: [host(1), host(2 + hardware % 4)],
            addresses: [self.address(1), self.address(2 + peer)],
            ports: [49_152 + u16::from(peer), 80],
        };
        if let Way::Received = way {
            ends.hardware.reverse();
            ends.addresses.reverse();
            ends.ports.reverse();
        }
        ends
    }

    fn segment(&self, way: Way, numbers: &Numbers) -> Vec<u8> {
        let Numbers {
            peer,
            seq,
            ack,
            flags,
            window,
            timestamps,
            len,
            hardware,
            is_wrong,
        } = *numbers;
        let (ours, theirs) = (1_000, 5_000);
        let (seq_base, ack_base) = match way {
            Way::Received => (theirs, ours),
            Way::Sent | Way::Swallowed => (ours, theirs),
        };
        let control = match flags & 7 {
            0 => TcpControl::Syn,
            1 => TcpControl::Fin,
            2 => TcpControl::Rst,
            3 => TcpControl::Psh,
            _ => TcpControl::None,
        };
        let ack_number = TcpSeqNumber(ack_base + i32::from(ack));
        let payload = [0; 255];
        let tcp = TcpRepr {
            src_port: 0,
            dst_port: 0,
            control,
            seq_number: TcpSeqNumber(seq_base + i32::from(seq)),
            ack_number: (flags & 8 == 0).then_some(ack_number),
            window_len: window,
            window_scale: (control == TcpControl::Syn).then_some(flags >> 4),
            max_seg_size: None,
            sack_permitted: false,
            sack_ranges: [None; 3],
            timestamp: timestamps.map(|(tsval, tsecr)| TcpTimestampRepr::new(tsval, tsecr)),
            payload: &payload[..usize::from(len)],
        };
        let mut frame = self.tcp_frame(&self.ends(way, peer, hardware), tcp);
        if is_wrong && let Some(last) = frame.last_mut() {
            *last ^= 1;
        }
        frame
    }

    fn handshake(&mut self, peer: u8, timestamps: bool, is_passive: bool) {
        let timestamps = timestamps.then_some((7, 7));
        let plain = Numbers {
            peer,
            seq: 0,
            ack: 0,
            flags: 4,
            window: 2048,
            timestamps,
            len: 0,
            hardware: peer,
            is_wrong: false,
        };
        let syn = |seq, has_ack: bool| Numbers {
            seq,
            flags: if has_ack { 0 } else { 8 },
            ..plain
        };
        let both = if is_passive {
            [
                (Way::Received, syn(-1, false)),
                (Way::Sent, syn(-1, true)),
                (Way::Received, plain),
            ]
        } else {
            [
                (Way::Sent, syn(-1, false)),
                (Way::Received, syn(-1, true)),
                (Way::Sent, plain),
            ]
        };
        for (way, numbers) in both {
            let frame = self.segment(way, &numbers);
            self.show(way, frame);
        }
    }

    fn tcp_frame(&self, ends: &Ends, tcp: TcpRepr<'_>) -> Vec<u8> {
        let tcp = TcpRepr {
            src_port: ends.ports[0],
            dst_port: ends.ports[1],
            ..tcp
        };
        let [src, dst] = ends.addresses;
        self.frame(ends, IpProtocol::Tcp, tcp.buffer_len(), |octets| {
            let caps = ChecksumCapabilities::default();
            tcp.emit(&mut TcpPacket::new_unchecked(octets), &src, &dst, &caps);
        })
    }

    /// A datagram, in an Ethernet frame if the link is one.
    fn frame(
        &self,
        ends: &Ends,
        protocol: IpProtocol,
        len: usize,
        emit: impl FnOnce(&mut [u8]),
    ) -> Vec<u8> {
        let [src, dst] = ends.addresses;
        let hop_limit = if protocol == IpProtocol::Icmpv6 {
            255
        } else {
            64
        };
        let ip = IpRepr::new(src, dst, protocol, len, hop_limit);
        let link_len = if self.is_ip { 0 } else { 14 };
        let mut octets = vec![0; link_len + ip.buffer_len()];
        if !self.is_ip {
            let ethertype = match src {
                IpAddress::Ipv4(_) => EthernetProtocol::Ipv4,
                IpAddress::Ipv6(_) => EthernetProtocol::Ipv6,
            };
            self.ethernet(&mut octets, ends, ethertype);
        }
        ip.emit(&mut octets[link_len..], &ChecksumCapabilities::default());
        emit(&mut octets[link_len + ip.header_len()..]);
        octets
    }

    fn ethernet(&self, octets: &mut [u8], ends: &Ends, ethertype: EthernetProtocol) {
        let [src_addr, dst_addr] = ends.hardware;
        let repr = EthernetRepr {
            src_addr,
            dst_addr,
            ethertype,
        };
        repr.emit(&mut EthernetFrame::new_unchecked(octets));
    }

    fn neighbor(&self, way: Way, says: Says) -> Vec<u8> {
        let Says {
            is_question,
            peer,
            hardware,
            is_unicast,
        } = says;
        let mut ends = self.ends(way, peer, hardware);
        let [src, dst] = ends.addresses;
        if !is_unicast {
            ends.hardware[1] = EthernetAddress::BROADCAST;
        }
        match (src, dst) {
            (IpAddress::Ipv4(src), IpAddress::Ipv4(dst)) => {
                let arp = ArpRepr::EthernetIpv4 {
                    operation: if is_question {
                        ArpOperation::Request
                    } else {
                        ArpOperation::Reply
                    },
                    source_hardware_addr: ends.hardware[0],
                    source_protocol_addr: src,
                    target_hardware_addr: ends.hardware[1],
                    target_protocol_addr: dst,
                };
                let mut octets = vec![0; 14 + arp.buffer_len()];
                self.ethernet(&mut octets, &ends, EthernetProtocol::Arp);
                arp.emit(&mut ArpPacket::new_unchecked(&mut octets[14..]));
                octets
            }
            (IpAddress::Ipv6(src), IpAddress::Ipv6(dst)) => {
                let lladdr = Some(RawHardwareAddress::from(ends.hardware[0]));
                let ndisc = if is_question {
                    NdiscRepr::NeighborSolicit {
                        target_addr: dst,
                        lladdr,
                    }
                } else {
                    NdiscRepr::NeighborAdvert {
                        flags: NdiscNeighborFlags::from_bits_truncate(hardware),
                        target_addr: src,
                        lladdr,
                    }
                };
                let icmp = Icmpv6Repr::Ndisc(ndisc);
                self.frame(&ends, IpProtocol::Icmpv6, icmp.buffer_len(), |octets| {
                    let caps = ChecksumCapabilities::default();
                    icmp.emit(&src, &dst, &mut Icmpv6Packet::new_unchecked(octets), &caps);
                })
            }
            _ => Vec::new(),
        }
    }

    /// A router on the way could not deliver a segment of ours, and quotes the beginning of it.
    fn unreachable(&self, peer: u8, cut: u8) -> Vec<u8> {
        let sent = self.ends(Way::Sent, peer, 0);
        let mut quoted = sent.ports.map(u16::to_be_bytes).concat();
        quoted.extend([0, 0, 3, 232, 0, 0, 0, 0]);
        quoted.truncate(cut.into());
        let ends = self.ends(Way::Received, peer, 0);
        let caps = ChecksumCapabilities::default();
        match (sent.addresses, ends.addresses) {
            ([IpAddress::Ipv4(ours), IpAddress::Ipv4(theirs)], _) => {
                let icmp = Icmpv4Repr::DstUnreachable {
                    reason: Icmpv4DstUnreachable::HostUnreachable,
                    header: Ipv4Repr {
                        src_addr: ours,
                        dst_addr: theirs,
                        next_header: IpProtocol::Tcp,
                        payload_len: quoted.len(),
                        hop_limit: 64,
                    },
                    data: &quoted,
                };
                self.frame(&ends, IpProtocol::Icmp, icmp.buffer_len(), |octets| {
                    icmp.emit(&mut Icmpv4Packet::new_unchecked(octets), &caps);
                })
            }
            ([IpAddress::Ipv6(ours), IpAddress::Ipv6(theirs)], _) => {
                let icmp = Icmpv6Repr::DstUnreachable {
                    reason: Icmpv6DstUnreachable::AddrUnreachable,
                    header: Ipv6Repr {
                        src_addr: ours,
                        dst_addr: theirs,
                        next_header: IpProtocol::Tcp,
                        payload_len: quoted.len(),
                        hop_limit: 64,
                    },
                    data: &quoted,
                };
                self.frame(&ends, IpProtocol::Icmpv6, icmp.buffer_len(), |octets| {
                    icmp.emit(
                        &theirs,
                        &ours,
                        &mut Icmpv6Packet::new_unchecked(octets),
                        &caps,
                    );
                })
            }
            _ => Vec::new(),
        }
    }
}
