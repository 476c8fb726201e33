//! ICMP errors about the segments of a connection.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "a helper of a test may fail as a test does"
)]

mod scenario;

use scenario::{End, Scenario, Setup, config, established, s};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{
    Icmpv4DstUnreachable, Icmpv4Packet, Icmpv4Repr, Icmpv4TimeExceeded, Icmpv6DstUnreachable,
    Icmpv6Packet, Icmpv6Repr, IpProtocol, Ipv4Packet, Ipv4Repr, Ipv6Packet, Ipv6Repr,
};
use tcp_keepalive::smoltcp::CloseReason;
use tcp_keepalive::{Cause, FailedAt};

/// What the standard calls soft errors (MUST-56): unreachable by net, host and source route.
const SOFT: [Icmpv4DstUnreachable; 3] = [
    Icmpv4DstUnreachable::NetUnreachable,
    Icmpv4DstUnreachable::HostUnreachable,
    Icmpv4DstUnreachable::SrcRouteFailed,
];

/// The last packet that the host under test has sent.
fn last_packet(t: &Scenario) -> Vec<u8> {
    let sent = t.trace().into_iter().rev();
    let mut ours = sent.filter(|sent| sent.from == End::Us);
    ours.next().expect("something was sent").bytes.to_vec()
}

/// An ICMP error about `packet`, from where that was going to, with an IPv4 header in front. It
/// quotes all of the packet: smoltcp refuses one that quotes less.
fn ipv4_error(packet: &[u8], error: impl FnOnce(Ipv4Repr, &[u8]) -> Icmpv4Repr<'_>) -> Vec<u8> {
    let checksums = ChecksumCapabilities::default();
    let about = Ipv4Packet::new_checked(packet).expect("it is a packet");
    let header = Ipv4Repr::parse(&about, &checksums).expect("it was sent");
    let icmp = error(header, about.payload());
    let ip = Ipv4Repr {
        src_addr: header.dst_addr,
        dst_addr: header.src_addr,
        next_header: IpProtocol::Icmp,
        payload_len: icmp.buffer_len(),
        hop_limit: 64,
    };
    let mut bytes = vec![0; ip.buffer_len() + icmp.buffer_len()];
    let mut packet = Ipv4Packet::new_unchecked(&mut bytes);
    ip.emit(&mut packet, &checksums);
    icmp.emit(
        &mut Icmpv4Packet::new_unchecked(packet.payload_mut()),
        &checksums,
    );
    let icmp = Icmpv4Packet::new_checked(&*packet.payload_mut()).expect("it is whole");
    Icmpv4Repr::parse(&icmp, &checksums).expect("smoltcp understands it");
    bytes
}

fn unreachable(packet: &[u8], reason: Icmpv4DstUnreachable) -> Vec<u8> {
    ipv4_error(packet, |header, data| Icmpv4Repr::DstUnreachable {
        reason,
        header,
        data,
    })
}

fn expired(packet: &[u8]) -> Vec<u8> {
    ipv4_error(packet, |header, data| Icmpv4Repr::TimeExceeded {
        reason: Icmpv4TimeExceeded::TtlExpired,
        header,
        data,
    })
}

/// The same over IPv6: no route to where `packet` was going.
fn no_route(packet: &[u8]) -> Vec<u8> {
    let checksums = ChecksumCapabilities::default();
    let about = Ipv6Packet::new_checked(packet).expect("it is a packet");
    let header = Ipv6Repr::parse(&about).expect("it was sent");
    let icmp = Icmpv6Repr::DstUnreachable {
        reason: Icmpv6DstUnreachable::NoRoute,
        header,
        data: about.payload(),
    };
    let ip = Ipv6Repr {
        src_addr: header.dst_addr,
        dst_addr: header.src_addr,
        next_header: IpProtocol::Icmpv6,
        payload_len: icmp.buffer_len(),
        hop_limit: 64,
    };
    let mut bytes = vec![0; ip.buffer_len() + icmp.buffer_len()];
    let mut packet = Ipv6Packet::new_unchecked(&mut bytes);
    ip.emit(&mut packet);
    icmp.emit(
        &ip.src_addr,
        &ip.dst_addr,
        &mut Icmpv6Packet::new_unchecked(packet.payload_mut()),
        &checksums,
    );
    let icmp = Icmpv6Packet::new_checked(&*packet.payload_mut()).expect("it is whole");
    Icmpv6Repr::parse(&ip.src_addr, &ip.dst_addr, &icmp, &checksums)
        .expect("smoltcp understands it");
    bytes
}

/// Has a router on the way complain of the probe that was just sent.
fn complain(t: &mut Scenario, is_ipv6: bool) {
    let packet = last_packet(t);
    if is_ipv6 {
        t.inject(no_route(&packet));
    } else {
        for reason in SOFT {
            t.inject(unreachable(&packet, reason));
        }
        t.inject(expired(&packet));
    }
}

fn setups() -> [(bool, Scenario); 2] {
    [
        (false, established(config(10, 2, 3))),
        (true, Setup::default().ipv6().established(config(10, 2, 3))),
    ]
}

/// MUST-56: soft errors about each of its probes abort no connection whose peer answers.
#[test]
fn soft_errors_abort_no_connection() {
    for (is_ipv6, mut t) in setups() {
        t.at(10).probe(1);
        complain(&mut t, is_ipv6);
        t.at(11).alive();
        assert_eq!(t.stats().probes_answered, 1);
    }
}

/// MUST-56: nor do they make a silent peer's verdict come sooner, or, since they are not the
/// peer's, later.
#[test]
fn soft_errors_neither_hasten_nor_delay_a_verdict() {
    for (is_ipv6, mut t) in setups() {
        t.silence_peer();
        for (number, seconds) in [(1, 10), (2, 12), (3, 14)] {
            t.at(seconds).probe(number);
            complain(&mut t, is_ipv6);
        }
        t.until(16).nothing();
        assert_eq!(t.last_heard(), Some(s(0)));
        assert_eq!(t.at(16).given_up(Cause::KeepAlive).unanswered, 3);
    }
}

// How far the probes of a dead connection got (K20).

/// K20: while our own device refuses, no probe gets anywhere.
#[test]
fn k20_failed_at_device_if_no_probe_left() {
    let mut t = established(config(10, 2, 3));
    t.silence_peer();
    t.at(5).nothing();
    t.block_transmitter();
    t.at(16);
    let verdict = t.given_up(Cause::KeepAlive);
    assert_eq!((verdict.unanswered, verdict.unsent), (0, 3));
    assert_eq!(verdict.failed_at, FailedAt::Device);
}

/// K20: one probe that left is evidence of more.
#[test]
fn k20_not_failed_at_device_if_one_probe_left() {
    let mut t = established(config(10, 2, 3));
    t.silence_peer();
    t.at(10).probe(1);
    t.block_transmitter();
    t.at(16);
    let verdict = t.given_up(Cause::KeepAlive);
    assert_eq!((verdict.unanswered, verdict.unsent), (1, 2));
    assert_eq!(verdict.failed_at, FailedAt::Peer);
}

/// K20: a neighbour that is silent to questions for its address, too, is off; one that answers them and
/// no probe is not. The verdict falls at the same moment.
#[test]
fn k20_failed_at_next_hop_if_that_answers_no_question() {
    for is_ipv6 in [false, true] {
        for answers in [false, true] {
            let setup = Setup::default().ethernet();
            let setup = if is_ipv6 { setup.ipv6() } else { setup };
            let mut t = setup.established(config(10, 2, 3));
            t.silence_peer();
            t.script().is_neighbor = answers;
            t.at(10).probe(1);
            t.at(12).probe(2).neighbor_query();
            t.at(14).probe(3).neighbor_query();
            t.until(16).nothing();
            let right = if answers {
                FailedAt::Peer
            } else {
                FailedAt::NextHop
            };
            assert_eq!(t.at(16).timed_out().failed_at, right);
        }
    }
}

/// K20: straight over IP there is no next hop to ask: what is silent is the peer.
#[test]
fn k20_failed_at_peer_if_there_is_nobody_else() {
    let mut t = established(config(10, 2, 3));
    t.silence_peer();
    t.at(16);
    assert_eq!(t.given_up(Cause::KeepAlive).failed_at, FailedAt::Peer);
}

/// Makes what a router says of a packet.
type Complaint = fn(&[u8]) -> Vec<u8>;

/// What a router may say of the probe, and whether that says that the peer cannot be reached.
fn complaints(is_ipv6: bool) -> Vec<(Complaint, bool)> {
    if is_ipv6 {
        vec![(no_route, true)]
    } else {
        vec![
            (|packet| unreachable(packet, SOFT[0]), true),
            (
                |packet| unreachable(packet, Icmpv4DstUnreachable::PortUnreachable),
                true,
            ),
            (expired, false),
        ]
    }
}

/// K20: a destination-unreachable about this connection says that the network failed; a time-exceeded
/// does not.
#[test]
fn k20_failed_at_network_if_a_router_says_so() {
    for is_ipv6 in [false, true] {
        for (complaint, is_unreachable) in complaints(is_ipv6) {
            let setup = Setup::default();
            let setup = if is_ipv6 { setup.ipv6() } else { setup };
            let mut t = setup.established(config(10, 2, 3));
            t.silence_peer();
            t.at(10).probe(1);
            let packet = complaint(&last_packet(&t));
            t.inject(packet);
            t.until(16);
            t.skip();
            let right = if is_unreachable {
                FailedAt::Network
            } else {
                FailedAt::Peer
            };
            assert_eq!(t.at(16).timed_out().failed_at, right);
        }
    }
}

/// K20: eight octets of the segment are enough to tell whose it was (RFC 792); less are not.
#[test]
fn k20_failed_at_network_by_the_first_octets_of_a_segment() {
    for (octets, right) in [
        (8, FailedAt::Network),
        (4, FailedAt::Network),
        (3, FailedAt::Peer),
    ] {
        let mut t = established(config(10, 2, 3));
        t.silence_peer();
        t.at(10).probe(1);
        let mut message = unreachable(&last_packet(&t), SOFT[0]);
        message.truncate(20 + 8 + 20 + octets);
        let len = u16::try_from(message.len()).expect("it is short");
        let mut ip = Ipv4Packet::new_unchecked(&mut message);
        ip.set_total_len(len);
        ip.fill_checksum();
        Icmpv4Packet::new_unchecked(ip.payload_mut()).fill_checksum();
        t.inject(message);
        t.until(16);
        t.skip();
        assert_eq!(t.at(16).timed_out().failed_at, right, "{octets} octets");
    }
}

/// K20: what is said of another connection is no evidence for this one, by a port or an address.
#[test]
fn k20_not_failed_at_network_of_another_connection() {
    // In the packet that is quoted: the last octet of either address, and of either port.
    for at in [15, 19, 21, 23] {
        let mut t = established(config(10, 2, 3));
        t.silence_peer();
        t.at(10).probe(1);
        let mut message = unreachable(&last_packet(&t), SOFT[0]);
        message[28 + at] ^= 1;
        let mut ip = Ipv4Packet::new_unchecked(&mut message);
        Icmpv4Packet::new_unchecked(ip.payload_mut()).fill_checksum();
        t.inject(message);
        t.until(16);
        t.skip();
        assert_eq!(t.at(16).timed_out().failed_at, FailedAt::Peer, "{at}");
    }
}

/// K20: what was said before the peer was heard is forgotten.
#[test]
fn k20_evidence_is_forgotten_when_the_peer_is_heard() {
    let mut t = established(config(10, 2, 3));
    t.at(10).probe(1);
    let message = unreachable(&last_packet(&t), SOFT[0]);
    t.inject(message);
    t.at(11).alive();
    let message = unreachable(&last_packet(&t), SOFT[0]);
    t.inject(message);
    t.at(12).nothing();
    t.peer_acks();
    t.at(13).alive();
    t.silence_peer();
    t.at(100);
    assert_eq!(t.events().len(), 2);
    let Some(CloseReason::KeepAlive(verdict)) = t.close_reason() else {
        panic!("not given up");
    };
    assert_eq!(verdict.failed_at, FailedAt::Peer);
}
