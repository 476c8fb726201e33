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
use tcp_keepalive::Cause;

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
