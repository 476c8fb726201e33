//! What a link knows of next hops, on an Ethernet whose stations move.

use std::vec::Vec;

use core::time::Duration;

use ::smoltcp::wire::{IpAddress, TcpControl, TcpRepr, TcpSeqNumber};

use super::super::connection::{CloseReason, Ending};
use super::super::engine::{Id, Link, Socket};
use super::super::frame::{MAX_FRAME_LEN, Medium, Tuple};
use super::{SOFTWARE, V4, V6, emit, repr, tuple};
use crate::{Config, Instant, State};

const OURS: [u8; 6] = [2, 0, 0, 0, 0, 1];
const M1: [u8; 6] = [2, 0, 0, 0, 1, 1];
const M2: [u8; 6] = [2, 0, 0, 0, 2, 2];
const MB: [u8; 6] = [2, 0, 0, 0, 3, 3];

fn at(secs: u64) -> Instant {
    Instant::from_millis(secs * 1000)
}

fn ethernet(to: [u8; 6], from: [u8; 6], kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut frame = Vec::new();
    frame.extend(to);
    frame.extend(from);
    frame.extend(kind.to_be_bytes());
    frame.extend(payload);
    frame
}

fn arp(operation: u8, to: [u8; 6], from: [u8; 6], sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let mut packet = Vec::from([0, 1, 8, 0, 6, 4, 0, operation]);
    packet.extend(from);
    packet.extend(sender);
    packet.extend(if operation == 1 { [0; 6] } else { to });
    packet.extend(target);
    ethernet(to, from, 0x0806, &packet)
}

const DEVICE: [u8; 4] = [192, 0, 2, 1];

struct Lan<const N: usize> {
    link: Link<N, 4>,
}

impl<const N: usize> Lan<N> {
    fn new() -> Self {
        let mut link = Link::new();
        link.set_capabilities(Medium::Ethernet, SOFTWARE);
        Self { link }
    }

    /// The stack asks for an address, and is answered.
    fn resolve(&mut self, secs: u64, target: [u8; 4], hardware: [u8; 6]) {
        self.link
            .handle_sent(at(secs), &arp(1, [0xff; 6], OURS, DEVICE, target));
        self.link
            .handle_received(at(secs), &arp(2, OURS, hardware, target, DEVICE));
    }

    fn open(&mut self, secs: u64, remote: [u8; 4], hardware: [u8; 6], port: u16) -> Id {
        let config = Config::new(Duration::from_secs(100), Duration::from_secs(5), 4).unwrap();
        let id = self.link.add(config).unwrap();
        let [a, b, c, d] = remote;
        let ends = [V4[0], IpAddress::v4(a, b, c, d)];
        let socket = Socket::Open(tuple(ends, [port, 80]));
        self.link.follow(at(secs), id, socket, 1024, false);
        let ack = TcpRepr {
            src_port: port,
            control: TcpControl::None,
            timestamp: None,
            ..repr(b"")
        };
        self.link.handle_sent(
            at(secs),
            &ethernet(hardware, OURS, 0x0800, &emit(ends, &ack)),
        );
        id
    }

    /// One second of a network in which `places` have those hardware addresses, and `peers` answer.
    fn run(
        &mut self,
        secs: u64,
        places: &[([u8; 4], [u8; 6])],
        peers: &[([u8; 4], [u8; 6])],
    ) -> Vec<Vec<u8>> {
        let mut sent = Vec::new();
        let mut out = [0; MAX_FRAME_LEN];
        self.link.take_change();
        self.link.handle_timeout(at(secs));
        while let Some(len) = self.link.poll_transmit(at(secs), &mut out) {
            self.link.handle_transmitted(at(secs));
            sent.push(out[..len].to_vec());
        }
        for frame in &sent {
            if frame[12..14] == [8, 6] {
                for (address, hardware) in places {
                    if frame[38..42] == *address {
                        self.link
                            .handle_received(at(secs), &arp(2, OURS, *hardware, *address, DEVICE));
                    }
                }
            } else {
                for (address, hardware) in peers {
                    if frame[..6] == *hardware && frame[30..34] == *address {
                        let [a, b, c, d] = *address;
                        let ends = [IpAddress::v4(a, b, c, d), V4[0]];
                        let ack = TcpRepr {
                            src_port: 80,
                            dst_port: u16::from_be_bytes([frame[34], frame[35]]),
                            control: TcpControl::None,
                            seq_number: TcpSeqNumber(77),
                            ack_number: Some(TcpSeqNumber(-2)),
                            timestamp: None,
                            ..repr(b"")
                        };
                        self.link.handle_received(
                            at(secs),
                            &ethernet(OURS, *hardware, 0x0800, &emit(ends, &ack)),
                        );
                    }
                }
            }
        }
        sent
    }
}

const NODE: [u8; 4] = [192, 0, 2, 2];
const VIP: [u8; 4] = [192, 0, 2, 3];
const GATEWAY: [u8; 4] = [192, 0, 2, 254];

/// K17: a machine with two addresses; the second one (a floating address) moves to another machine.
/// The connection to the first one, which stayed, is kept.
#[test]
fn k17_two_addresses_of_one_machine_one_moves() {
    let mut t = Lan::<2>::new();
    t.resolve(1, VIP, M1);
    let a = t.open(2, VIP, M1, 50_001);
    t.resolve(3, NODE, M1);
    let b = t.open(4, NODE, M1, 50_002);
    let both = [(VIP, M1), (NODE, M1)];
    for secs in 5..150 {
        t.run(secs, &both, &both);
    }
    assert_eq!(t.link.state(a), Some(State::Armed));
    assert_eq!(t.link.state(b), Some(State::Armed));
    t.link.remove(a);
    // The floating address moves. The application connects to it again: the stack asks for it.
    t.resolve(150, VIP, M2);
    let places = [(VIP, M2), (NODE, M1)];
    for secs in 151..300 {
        t.run(secs, &places, &[(NODE, M1)]);
        assert_ne!(t.link.state(b), Some(State::TimedOut), "at {secs}");
    }
}

/// The same without any traffic of the stack's own: only B's hop is asked for, by the wrong name.
#[test]
fn k17_two_addresses_of_one_machine_the_other_one_moves() {
    let mut t = Lan::<2>::new();
    t.resolve(1, VIP, M1);
    t.open(2, VIP, M1, 50_001);
    t.resolve(3, NODE, M1);
    let b = t.open(4, NODE, M1, 50_002);
    // NODE is replaced: it lives at M2 now, the floating address stays at M1.
    let places = [(VIP, M1), (NODE, M2)];
    for secs in 5..300 {
        t.run(secs, &places, &[(NODE, M2), (VIP, M1)]);
        assert_ne!(t.link.state(b), Some(State::TimedOut), "at {secs}");
    }
}

/// K17: a gateway that the stack asked for is remembered while three of four places are free, though
/// no connection is open yet when a neighbour is asked for.
#[test]
fn k17_a_gateway_is_remembered_while_there_are_places() {
    const CLOUD: [u8; 4] = [198, 51, 100, 7];
    let mut t = Lan::<2>::new();
    // NTP through the gateway, then a broker on the link, then the cloud.
    t.resolve(1, GATEWAY, M1);
    t.resolve(2, NODE, MB);
    t.open(3, NODE, MB, 50_001);
    let cloud = t.open(4, CLOUD, M1, 50_002);
    let peers = [(NODE, MB), (CLOUD, M2)];
    // The gateway fails over to M2.
    for secs in 5..300 {
        t.run(secs, &[(NODE, MB), (GATEWAY, M2)], &peers);
        assert_ne!(t.link.state(cloud), Some(State::TimedOut), "at {secs}");
    }
}

/// K17: with as many next hops known as there are places, a new one takes that of one which no connection
/// uses: the gateway of an open connection is asked for all the same.
#[test]
fn k17_a_gateway_in_use_keeps_its_place() {
    let mut t = Lan::<1>::new();
    let far = [198, 51, 100, 9];
    t.resolve(1, [192, 0, 2, 20], MB);
    t.resolve(1, GATEWAY, M1);
    t.open(1, far, M1, 4001);
    for last in 21..30 {
        t.resolve(2, [192, 0, 2, last], [2, 0, 0, 0, 9, last]);
    }
    let sent: Vec<_> = (3..130).flat_map(|secs| t.run(secs, &[], &[])).collect();
    let asked = sent.iter().filter(|frame| frame[12..14] == [8, 6]);
    let asked: Vec<_> = asked.map(|frame| &frame[38..42]).collect();
    assert_eq!(asked, [GATEWAY; 3]);
}

/// What an Ethernet calls IPv6 and is IPv4 is dropped by the stack.
#[test]
fn k18_the_ethertype_is_that_of_the_datagram() {
    let mut t = Lan::<1>::new();
    t.resolve(1, NODE, M1);
    let id = t.open(2, NODE, M1, 50_001);
    let ack = TcpRepr {
        src_port: 80,
        dst_port: 50_001,
        control: TcpControl::None,
        seq_number: TcpSeqNumber(77),
        ack_number: Some(TcpSeqNumber(-2)),
        timestamp: None,
        ..repr(b"")
    };
    let packet = emit([V4[1], V4[0]], &ack);
    t.link
        .handle_received(at(3), &ethernet(OURS, M1, 0x86dd, &packet));
    assert_eq!(t.link.last_heard(id), None);
}

/// What an Ethernet calls IPv4 and is IPv6 is dropped by the stack too.
#[test]
fn k18_ipv6_that_is_called_ipv4_is_not_heard() {
    for (ethertype, is_heard) in [(0x0800, false), (0x86dd, true)] {
        let mut link = Link::<1, 4>::new();
        link.set_capabilities(Medium::Ethernet, SOFTWARE);
        let config = Config::new(Duration::from_secs(10), Duration::from_secs(2), 2).unwrap();
        let id = link.add(config).unwrap();
        let ends: Tuple<4> = tuple(V6, [49152, 80]);
        link.follow(at(1), id, Socket::Open(ends), 1024, false);
        let ack = TcpRepr {
            control: TcpControl::None,
            timestamp: None,
            ..repr(b"")
        };
        link.handle_sent(at(1), &ethernet(M1, OURS, 0x86dd, &emit(V6, &ack)));
        let answer = TcpRepr {
            src_port: 80,
            dst_port: 49152,
            seq_number: ack.ack_number.unwrap(),
            ack_number: Some(ack.seq_number),
            ..ack
        };
        let packet = emit([V6[1], V6[0]], &answer);
        link.handle_received(at(3), &ethernet(OURS, M1, ethertype, &packet));
        assert_eq!(link.last_heard(id).is_some(), is_heard);
    }
}

/// K20: an `ICMPv6` destination-unreachable with hop limit 255 is one like any other.
#[test]
fn k20_icmpv6_unreachable_from_the_link_itself() {
    for hop_limit in [64, 255] {
        let mut link = Link::<1, 4>::new();
        link.set_capabilities(Medium::Ethernet, SOFTWARE);
        let config = Config::new(Duration::from_secs(10), Duration::from_secs(2), 2).unwrap();
        let id = link.add(config).unwrap();
        let ends: Tuple<4> = tuple(V6, [49152, 80]);
        link.follow(at(1), id, Socket::Open(ends), 1024, false);
        let ack = TcpRepr {
            control: TcpControl::None,
            timestamp: None,
            ..repr(b"")
        };
        let ours = emit(V6, &ack);
        link.handle_sent(at(1), &ethernet(M1, OURS, 0x86dd, &ours));
        let mut out = [0; MAX_FRAME_LEN];
        for secs in [11, 13, 15] {
            link.handle_timeout(at(secs));
            while link.poll_transmit(at(secs), &mut out).is_some() {
                link.handle_transmitted(at(secs));
            }
            if secs == 13 {
                use ::smoltcp::phy::ChecksumCapabilities;
                use ::smoltcp::wire::{
                    Icmpv6DstUnreachable, Icmpv6Packet, Icmpv6Repr, IpProtocol, Ipv6Packet,
                    Ipv6Repr,
                };
                let quoted = Ipv6Repr::parse(&Ipv6Packet::new_checked(&ours[..]).unwrap()).unwrap();
                let icmp = Icmpv6Repr::DstUnreachable {
                    reason: Icmpv6DstUnreachable::NoRoute,
                    header: quoted,
                    data: &ours[40..],
                };
                let (IpAddress::Ipv6(router), IpAddress::Ipv6(dst)) =
                    (IpAddress::v6(0xfe80, 0, 0, 0, 0, 0, 0, 9), V6[0])
                else {
                    panic!()
                };
                let ip = Ipv6Repr {
                    src_addr: router,
                    dst_addr: dst,
                    next_header: IpProtocol::Icmpv6,
                    payload_len: icmp.buffer_len(),
                    hop_limit,
                };
                let mut packet = std::vec![0; 40 + icmp.buffer_len()];
                ip.emit(&mut Ipv6Packet::new_unchecked(&mut packet[..]));
                icmp.emit(
                    &router,
                    &dst,
                    &mut Icmpv6Packet::new_unchecked(&mut packet[40..]),
                    &ChecksumCapabilities::default(),
                );
                link.handle_received(at(secs), &ethernet(OURS, M1, 0x86dd, &packet));
            }
        }
        let Some(CloseReason::KeepAlive(verdict)) = link.close_reason(id) else {
            panic!("{:?}", link.state(id))
        };
        assert_eq!(verdict.failed_at, crate::FailedAt::Network, "{hop_limit}");
    }
}

/// K4, K5: the next hop moved, the probe wants to go out again, and from then on the device has no
/// room. The attempts count as unsent, and the verdict falls; nothing is due at once for ever.
#[test]
fn k4_a_moved_probe_that_cannot_leave_counts_as_unsent() {
    let mut t = Lan::<1>::new();
    t.resolve(1, NODE, M1);
    let id = t.open(2, NODE, M1, 50_001);
    let mut out = [0; MAX_FRAME_LEN];
    // Two probes leave, and the question; the answer comes from elsewhere.
    for secs in 3..=107 {
        t.run(secs, &[(NODE, M2)], &[]);
        if secs == 106 {
            assert_eq!(t.link.state(id), Some(State::Probing { unanswered: 1 }));
            break;
        }
    }
    // The second one is due at 107: it leaves, the question too, and then there is no room.
    t.link.handle_timeout(at(107));
    while t.link.poll_transmit(at(107), &mut out).is_some() {
        t.link.handle_transmitted(at(107));
    }
    t.link
        .handle_received(at(107), &arp(2, OURS, M2, NODE, DEVICE));
    let mut polls = 0;
    let mut now = at(107);
    while t.link.state(id) != Some(State::TimedOut) && now < at(1000) {
        t.link.take_change();
        t.link.handle_timeout(now);
        if t.link.poll_transmit(now, &mut out).is_some() {
            t.link.handle_blocked(now);
        }
        let next = t.link.poll_timeout().unwrap();
        polls += 1;
        assert!(
            polls < 1000,
            "at once for ever: now {now}, next {next}, {:?}",
            t.link.state(id)
        );
        now = if next > now { next } else { now.max(next) };
    }
    assert_eq!(t.link.state(id), Some(State::TimedOut));
}

/// The same, polled each 100 ms, as a loop with other things to do does.
#[test]
fn k5_a_moved_probe_that_cannot_leave_is_no_pardon() {
    let mut t = Lan::<1>::new();
    t.resolve(1, NODE, M1);
    let id = t.open(2, NODE, M1, 50_001);
    let mut out = [0; MAX_FRAME_LEN];
    for secs in 3..=106 {
        t.run(secs, &[(NODE, M2)], &[]);
    }
    t.link.handle_timeout(at(107));
    while t.link.poll_transmit(at(107), &mut out).is_some() {
        t.link.handle_transmitted(at(107));
    }
    t.link
        .handle_received(at(107), &arp(2, OURS, M2, NODE, DEVICE));
    for tenth in 1070..20_000 {
        let now = Instant::from_millis(tenth * 100);
        t.link.take_change();
        t.link.handle_timeout(now);
        if t.link.poll_transmit(now, &mut out).is_some() {
            t.link.handle_blocked(now);
        }
    }
    assert_eq!(t.link.state(id), Some(State::TimedOut));
}

/// A gateway of both protocols has one hardware address. The question for the next hop of a connection
/// is one of its own protocol.
#[test]
fn k17_a_gateway_of_both_protocols_is_asked_in_the_right_one() {
    // IPv6 connection, IPv4 known.
    let mut link = Link::<1, 4>::new();
    link.set_capabilities(Medium::Ethernet, SOFTWARE);
    link.handle_sent(at(1), &arp(1, [0xff; 6], OURS, DEVICE, NODE));
    link.handle_received(at(1), &arp(2, OURS, M1, NODE, DEVICE));
    let config = Config::new(Duration::from_secs(10), Duration::from_secs(2), 2).unwrap();
    let id = link.add(config).unwrap();
    let ends: Tuple<4> = tuple(V6, [49152, 80]);
    link.follow(at(1), id, Socket::Open(ends), 1024, false);
    let ack = TcpRepr {
        control: TcpControl::None,
        timestamp: None,
        ..repr(b"")
    };
    link.handle_sent(at(1), &ethernet(M1, OURS, 0x86dd, &emit(V6, &ack)));
    let mut out = [0; MAX_FRAME_LEN];
    for secs in [11, 13, 15] {
        link.handle_timeout(at(secs));
        while let Some(len) = link.poll_transmit(at(secs), &mut out) {
            link.handle_transmitted(at(secs));
            assert_eq!(out[12..14], [0x86, 0xdd], "{secs}: {:02x?}", &out[..len]);
        }
    }
}

/// The other way round.
#[test]
fn k17_a_gateway_of_both_protocols_is_asked_in_the_right_one_too() {
    use ::smoltcp::phy::ChecksumCapabilities;
    use ::smoltcp::wire::{
        EthernetAddress, Icmpv6Packet, Icmpv6Repr, IpProtocol, Ipv6Packet, Ipv6Repr,
        NdiscNeighborFlags, NdiscRepr,
    };
    let mut t = Lan::<2>::new();
    let (IpAddress::Ipv6(own), IpAddress::Ipv6(router)) =
        (V6[0], IpAddress::v6(0xfe80, 0, 0, 0, 0, 0, 0, 9))
    else {
        panic!()
    };
    let ndp = |src, dst, nd: NdiscRepr<'_>| {
        let icmp = Icmpv6Repr::Ndisc(nd);
        let ip = Ipv6Repr {
            src_addr: src,
            dst_addr: dst,
            next_header: IpProtocol::Icmpv6,
            payload_len: icmp.buffer_len(),
            hop_limit: 255,
        };
        let mut packet = std::vec![0; 40 + icmp.buffer_len()];
        ip.emit(&mut Ipv6Packet::new_unchecked(&mut packet[..]));
        icmp.emit(
            &src,
            &dst,
            &mut Icmpv6Packet::new_unchecked(&mut packet[40..]),
            &ChecksumCapabilities::default(),
        );
        packet
    };
    let ask = ndp(
        own,
        router,
        NdiscRepr::NeighborSolicit {
            target_addr: router,
            lladdr: Some(EthernetAddress(OURS).into()),
        },
    );
    let answer = ndp(
        router,
        own,
        NdiscRepr::NeighborAdvert {
            flags: NdiscNeighborFlags::SOLICITED | NdiscNeighborFlags::OVERRIDE,
            target_addr: router,
            lladdr: Some(EthernetAddress(M1).into()),
        },
    );
    t.link.handle_sent(
        at(1),
        &ethernet([0x33, 0x33, 0xff, 0, 0, 9], OURS, 0x86dd, &ask),
    );
    t.link
        .handle_received(at(1), &ethernet(OURS, M1, 0x86dd, &answer));
    let config = Config::new(Duration::from_secs(1000), Duration::from_secs(5), 4).unwrap();
    let v6 = t.link.add(config).unwrap();
    t.link
        .follow(at(1), v6, Socket::Open(tuple(V6, [49152, 80])), 1024, false);
    let ack = TcpRepr {
        control: TcpControl::None,
        timestamp: None,
        ..repr(b"")
    };
    t.link
        .handle_sent(at(1), &ethernet(M1, OURS, 0x86dd, &emit(V6, &ack)));
    t.resolve(1, NODE, M1);
    let id = t.open(2, NODE, M1, 50_001);
    for secs in 3..300 {
        t.run(secs, &[(NODE, M2)], &[(NODE, M2)]);
        assert_ne!(t.link.state(id), Some(State::TimedOut), "at {secs}");
    }
}

/// K17: a question for one hop, a dead one's, does not keep an announcement of another hop's fail-over
/// from being asked about: "at most once an interval and hop".
#[test]
fn k17_a_dead_neighbour_does_not_hide_an_announcement() {
    const GATEWAY: [u8; 4] = [192, 0, 2, 254];
    const CLOUD: [u8; 4] = [198, 51, 100, 7];
    for with_dead in [false, true] {
        let mut t = Lan::<2>::new();
        let mut dead = None;
        if with_dead {
            t.resolve(1, NODE, MB);
            dead = Some(t.open(2, NODE, MB, 50_001));
        }
        t.resolve(11, GATEWAY, M1);
        let cloud = t.open(12, CLOUD, M1, 50_002);
        let (places, peers) = ([(GATEWAY, M2)], [(CLOUD, M2)]);
        let mut probes = Vec::new();
        for secs in 12..130 {
            let sent = t.run(secs, &places, &peers);
            probes.extend(
                sent.into_iter()
                    .filter(|f| f[12..14] == [8, 0] && f[30..34] == CLOUD)
                    .map(|f| f[..6].to_vec()),
            );
            if secs == 108 {
                if let Some(dead) = dead {
                    assert_eq!(t.link.state(dead), Some(State::Probing { unanswered: 2 }));
                }
                // Announced, a second after the question for the dead one left.
                t.link
                    .handle_received(at(108), &arp(2, [0xff; 6], M2, GATEWAY, GATEWAY));
            }
        }
        assert_ne!(t.link.state(cloud), Some(State::TimedOut));
        assert!(
            probes.iter().all(|to| *to == M2),
            "{with_dead} {probes:02x?}"
        );
    }
}

/// Off, the link asks for no next hop.
#[test]
fn k17_off_asks_for_no_hop() {
    let mut t = Lan::<1>::new();
    t.resolve(1, NODE, M1);
    let id = t.open(2, NODE, M1, 50_001);
    t.run(3, &[], &[]);
    t.link.switch(at(3), id, None);
    t.run(3, &[], &[]);
    assert_eq!(t.link.state(id), Some(State::Disabled));
    // A gratuitous ARP.
    t.link
        .handle_received(at(4), &arp(1, [0xff; 6], M2, NODE, NODE));
    assert_eq!(t.run(4, &[], &[]), Vec::<Vec<u8>>::new());
}

/// K17: a question that waits for the device does not leave once its connection needs it no more: given up,
/// switched off, or over.
#[test]
fn k17_a_question_that_is_not_needed_any_more_does_not_leave() {
    for ending in ["none", "verdict", "off", "over"] {
        let mut t = Lan::<1>::new();
        t.resolve(1, NODE, M1);
        let id = t.open(1, NODE, M1, 4001);
        let tuple = t.link.tuple(id).unwrap();
        let mut out = [0; MAX_FRAME_LEN];
        let mut asks = |link: &mut Link<1, 4>, secs| {
            let len = link.poll_transmit(at(secs), &mut out);
            len.is_some() && out[12..14] == [8, 6]
        };
        for secs in [101, 106] {
            t.link.handle_timeout(at(secs));
            assert!(!asks(&mut t.link, secs));
            t.link.handle_transmitted(at(secs));
        }
        assert!(asks(&mut t.link, 106));
        t.link.handle_blocked(at(106));
        match ending {
            "verdict" => {
                for secs in [111, 116, 121] {
                    t.link
                        .follow(at(secs), id, Socket::Open(tuple), 1024, false);
                    t.link.handle_timeout(at(secs));
                    t.link.handle_blocked(at(secs));
                }
                assert_eq!(t.link.state(id), Some(State::TimedOut));
            }
            "off" => t.link.switch(at(107), id, None),
            "over" => {
                let socket = Socket::Closed(Ending::Unknown);
                t.link.follow(at(107), id, socket, 1024, false);
            }
            _ => {}
        }
        assert_eq!(asks(&mut t.link, 122), ending == "none", "{ending}");
    }
}

/// Two connections, open since 1 s, to neighbours of their own. Both have sent data, and have such user timeouts.
fn two_that_owe(limits: [u16; 2]) -> (Lan<2>, [Id; 2]) {
    let config = Config::new(Duration::from_secs(100), Duration::from_secs(5), 4).unwrap();
    let mut t = Lan::<2>::new();
    let peers = [(NODE, M1, limits[0]), (VIP, M2, limits[1])];
    let ids = peers.map(|(peer, hardware, limit)| {
        t.resolve(1, peer, hardware);
        let port = 4000 + limit;
        let id = t.open(1, peer, hardware, port);
        let limit = Duration::from_secs(limit.into());
        t.link
            .set_config(id, config.with_user_timeout(limit).unwrap());
        let remote = IpAddress::v4(peer[0], peer[1], peer[2], peer[3]);
        let data = TcpRepr {
            src_port: port,
            control: TcpControl::Psh,
            timestamp: None,
            ..repr(b"data")
        };
        let data = emit([V4[0], remote], &data);
        t.link
            .handle_sent(at(1), &ethernet(hardware, OURS, 0x0800, &data));
        id
    });
    (t, ids)
}

fn asks_for(frame: &[u8], address: [u8; 4]) -> bool {
    frame[12..14] == [8, 6] && frame[38..42] == address
}

/// K17: before the question of a user timeout its next hop is asked for, also if another connection is given up
/// in that moment.
#[test]
fn k17_a_verdict_hides_no_user_timeout() {
    let (mut t, [owing, silent]) = two_that_owe([20, 15]);
    for secs in 2..21 {
        let sent = t.run(secs, &[], &[]);
        assert!(!sent.iter().any(|frame| asks_for(frame, NODE)), "at {secs}");
    }
    let sent = t.run(21, &[(NODE, MB)], &[]);
    assert_eq!(t.link.state(silent), Some(State::TimedOut));
    let to: Vec<_> = sent.iter().map(|frame| &frame[..6]).collect();
    // The question for the hop, and ours for the peer.
    assert_eq!(to, [&[0xff; 6], &M1]);
    // It has moved.
    let sent = t.run(21, &[], &[(NODE, MB)]);
    assert_eq!(sent[0][..6], MB);
    assert_eq!(t.link.state(owing), Some(State::Armed));
}

/// K17: a user timeout that strikes takes the place of no other question that wants to leave.
#[test]
fn k17_a_user_timeout_hides_no_announcement() {
    let (mut t, _) = two_that_owe([20, 90]);
    for secs in 2..21 {
        t.run(secs, &[], &[]);
    }
    // The other one's next hop announces that it has moved.
    t.link
        .handle_received(at(21), &arp(1, [0xff; 6], MB, VIP, VIP));
    let sent = t.run(21, &[], &[]);
    assert!(sent.iter().any(|frame| asks_for(frame, VIP)));
}

/// Off, a probe that wants to go out again does not.
#[test]
fn k17_off_sends_no_probe_to_a_moved_hop() {
    let mut t = Lan::<1>::new();
    t.resolve(1, NODE, M1);
    let id = t.open(2, NODE, M1, 50_001);
    for secs in 3..=106 {
        t.run(secs, &[], &[]);
    }
    t.run(107, &[], &[]);
    assert_eq!(t.link.state(id), Some(State::Probing { unanswered: 2 }));
    t.link
        .handle_received(at(107), &arp(2, OURS, M2, NODE, DEVICE));
    t.link.switch(at(107), id, None);
    let sent = t.run(107, &[], &[]);
    assert_eq!(sent, Vec::<Vec<u8>>::new(), "{:?}", t.link.state(id));
    assert_eq!(t.link.state(id), Some(State::Disabled));
}

/// The next hop answers from elsewhere just before the last attempt is due: the probe that goes there
/// has its interval.
#[test]
fn k17_a_moved_probe_has_its_interval() {
    let mut t = Lan::<1>::new();
    t.resolve(1, NODE, M1);
    let id = t.open(2, NODE, M1, 50_001);
    // Probes at 102, 107, 112, 117; each but the first with a question, the verdict at 122.
    for secs in 3..=117 {
        t.run(secs, &[], &[]);
    }
    assert_eq!(t.link.state(id), Some(State::Probing { unanswered: 4 }));
    let now = Instant::from_millis(121_990);
    t.link.handle_received(now, &arp(2, OURS, M2, NODE, DEVICE));
    let mut out = [0; MAX_FRAME_LEN];
    t.link.take_change();
    t.link.handle_timeout(now);
    let mut left = 0;
    while let Some(len) = t.link.poll_transmit(now, &mut out) {
        assert_eq!(out[..6], M2, "{len}");
        t.link.handle_transmitted(now);
        left += 1;
    }
    assert_eq!(left, 1);
    // The round trip takes 20 ms.
    t.run(122, &[], &[]);
    assert_ne!(t.link.state(id), Some(State::TimedOut));
}

/// Data that leaves while a probe waits to go out again, for want of room, starts the user timeout (K11);
/// and the probe does not follow it (K3).
#[test]
fn k11_data_takes_the_place_of_a_moved_probe() {
    let mut t = Lan::<1>::new();
    t.resolve(1, NODE, M1);
    let id = t.open(2, NODE, M1, 50_001);
    let config = t.link.config(id).unwrap();
    t.link.set_config(
        id,
        config.with_user_timeout(Duration::from_secs(30)).unwrap(),
    );
    for secs in 3..=107 {
        t.run(secs, &[], &[]);
    }
    assert_eq!(t.link.state(id), Some(State::Probing { unanswered: 2 }));
    t.link
        .handle_received(at(107), &arp(2, OURS, M2, NODE, DEVICE));
    // There is no room.
    let mut out = [0; MAX_FRAME_LEN];
    t.link.handle_timeout(at(107));
    assert!(t.link.poll_transmit(at(107), &mut out).is_some());
    t.link.handle_blocked(at(107));
    // Now there is, and the stack is first.
    let ends = [V4[0], IpAddress::v4(192, 0, 2, 2)];
    let data = TcpRepr {
        src_port: 50_001,
        control: TcpControl::None,
        timestamp: None,
        ..repr(b"ab")
    };
    t.link
        .handle_sent(at(108), &ethernet(M1, OURS, 0x0800, &emit(ends, &data)));
    let sent = t.run(108, &[], &[]);
    let mut asked = None;
    for secs in 109..=200 {
        for frame in t.run(secs, &[], &[]) {
            if frame[12..14] == [8, 0] && asked.is_none() {
                asked = Some(secs);
            }
        }
    }
    assert_eq!(
        (sent.len(), asked),
        (0, Some(138)),
        "the user timeout of data sent at 108"
    );
}
