//! Frames against smoltcp's own reading and writing of them.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that computes wrongly fails"
)]

mod follow;
mod hops;
mod twins;

use std::vec;
use std::vec::Vec;

use ::smoltcp::phy::{self, ChecksumCapabilities};
use ::smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr, IpAddress, IpProtocol, IpRepr,
    Ipv4Packet, Ipv4Repr, Ipv6Packet, Ipv6Repr, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber,
    TcpTimestampRepr,
};
use core::net::SocketAddr;
use core::time::Duration;
use proptest::prelude::*;

use super::connection::{CloseReason, Connection, Kind, Phase, Seen};
use super::engine::{Link, Socket};
use super::frame::{
    Buffer, Checksum, Checksums, Datagram, Framing, MAX_FRAME_LEN, Medium, Plain, Tuple,
};
use super::neighbor::{Announcement, Arp};
use crate::{Config, Event, Instant, ProbePayload, Segment, SeqNumber, State};

const V4: [IpAddress; 2] = [IpAddress::v4(192, 0, 2, 1), IpAddress::v4(192, 0, 2, 2)];
const V6: [IpAddress; 2] = [
    IpAddress::v6(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1),
    IpAddress::v6(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2),
];
const SOFTWARE: Checksums = Checksums {
    ipv4: Checksum::Software,
    transport: Checksum::Software,
};

const IN_SOFTWARE: Framing = Framing::new(Medium::Ip, SOFTWARE);
const BY_DEVICE: Framing = Framing::new(
    Medium::Ip,
    Checksums {
        ipv4: Checksum::Device,
        transport: Checksum::Device,
    },
);

fn repr(payload: &[u8]) -> TcpRepr<'_> {
    TcpRepr {
        src_port: 49152,
        dst_port: 80,
        control: TcpControl::Psh,
        seq_number: TcpSeqNumber(-2),
        ack_number: Some(TcpSeqNumber(77)),
        window_len: 1000,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: Some(TcpTimestampRepr::new(5, 6)),
        payload,
    }
}

/// A packet as smoltcp writes it.
fn emit([src, dst]: [IpAddress; 2], tcp: &TcpRepr<'_>) -> Vec<u8> {
    let caps = ChecksumCapabilities::default();
    let ip = IpRepr::new(src, dst, IpProtocol::Tcp, tcp.buffer_len(), 64);
    let mut packet = vec![0; ip.buffer_len()];
    ip.emit(&mut packet[..], &caps);
    let payload = &mut packet[ip.header_len()..];
    tcp.emit(&mut TcpPacket::new_unchecked(payload), &src, &dst, &caps);
    packet
}

fn find(packet: &[u8]) -> Datagram<'_, 4> {
    Datagram::find(packet, false).unwrap()
}

fn segment(packet: &[u8]) -> Option<Segment> {
    let datagram = Datagram::<4>::find(packet, false)?;
    (datagram.protocol == 6).then_some(())?;
    datagram.segment()
}

fn tuple([local, remote]: [IpAddress; 2], [here, there]: [u16; 2]) -> Tuple<4> {
    let endpoint = |address: IpAddress, port| SocketAddr::new(address.into(), port);
    Tuple::new(endpoint(local, here), endpoint(remote, there)).unwrap()
}

/// Both protocols: what smoltcp writes is read back, padding left out.
#[test]
fn what_smoltcp_writes_is_read_back() {
    for addresses in [V4, V6] {
        let mut packet = emit(addresses, &repr(b"abc"));
        packet.extend([0; 9]);
        let datagram = find(&packet);
        let ports = datagram.ports().unwrap();
        let [src, dst] = addresses;
        assert_eq!(datagram.sent_tuple(ports), tuple([src, dst], [49152, 80]));
        assert_eq!(
            datagram.received_tuple(ports),
            tuple([dst, src], [80, 49152])
        );
        assert!(datagram.is_intact(IN_SOFTWARE));
        assert_eq!(
            datagram.segment().unwrap(),
            Segment {
                seq: SeqNumber(u32::MAX - 1),
                ack: Some(SeqNumber(77)),
                window: 1000,
                len: 3,
                timestamps: Some((5, 6)),
                ..Segment::default()
            }
        );
    }
}

/// A four-tuple tells its endpoints, as they were given.
#[test]
fn a_tuple_tells_its_endpoints() {
    for addresses in [V4, V6] {
        let tuple = tuple(addresses, [1, 65535]);
        let [local, remote] = addresses.map(core::net::IpAddr::from);
        assert_eq!(tuple.local(), SocketAddr::new(local, 1));
        assert_eq!(tuple.remote(), SocketAddr::new(remote, 65535));
    }
    let v6: SocketAddr = "[fd00::1]:7".parse().unwrap();
    assert_eq!(Tuple::<1>::new(v6, v6), None);
}

/// A packet cut off anywhere is not a segment.
#[test]
fn a_truncated_packet_is_no_segment() {
    for addresses in [V4, V6] {
        let packet = emit(addresses, &repr(&[7; 30]));
        for len in 0..packet.len() {
            assert_eq!(segment(&packet[..len]), None);
        }
    }
}

/// One flipped bit anywhere in the addresses, the segment or the IPv4 header is noticed.
#[test]
fn a_flipped_bit_is_noticed() {
    for (addresses, from) in [(V4, 0), (V6, 8)] {
        let packet = emit(addresses, &repr(b"abcd"));
        for octet in from..packet.len() {
            for bit in 0..8 {
                let mut packet = packet.clone();
                packet[octet] ^= 1 << bit;
                let is_taken = Datagram::<4>::find(&packet, false)
                    .is_some_and(|datagram| datagram.is_intact(IN_SOFTWARE));
                assert!(!is_taken, "{octet}, {bit}");
            }
        }
    }
}

/// Fragments, other protocols and other versions are left alone.
#[test]
fn what_is_not_a_whole_tcp_datagram_is_left_alone() {
    let packet = emit(V4, &repr(b""));
    for (octet, value) in [(6, 0x20), (7, 0x01), (9, 17), (0, 0x55), (0, 0x44)] {
        let mut packet = packet.clone();
        packet[octet] = value;
        assert_eq!(segment(&packet), None);
    }
    assert_eq!(segment(&[]), None);
}

/// IPv4 options are passed over.
#[test]
fn a_longer_ipv4_header_is_passed_over() {
    let packet = emit(V4, &repr(b"abc"));
    let mut longer = packet.clone();
    longer.splice(20..20, [1, 1, 1, 0]);
    longer[0] = 0x46;
    longer[3] += 4;
    assert_eq!(segment(&longer), segment(&packet));
    let transport = Checksums {
        ipv4: Checksum::Device,
        ..SOFTWARE
    };
    assert!(find(&longer).is_intact(Framing::new(Medium::Ip, transport)));
    assert!(!find(&longer).is_intact(IN_SOFTWARE));
}

/// K18: hop-by-hop options before the TCP header are skipped as smoltcp skips them; one that asks for
/// the packet to be discarded is not.
#[test]
fn k18_hop_by_hop_options_are_skipped() {
    let packet = emit(V6, &repr(b"abc"));
    for (options, is_skipped) in [
        ([1, 4, 0, 0, 0, 0], true),
        ([0, 0, 0, 0, 0, 0], true),
        ([5, 2, 0, 0, 1, 0], true),
        ([0x63, 4, 0, 0, 0, 0], true),
        ([0xc2, 4, 0, 0, 0, 0], false),
        ([1, 9, 0, 0, 0, 0], false),
    ] {
        let mut longer = packet.clone();
        longer.splice(40..40, [6, 0].into_iter().chain(options));
        longer[6] = 0;
        longer[5] += 8;
        let expected = if is_skipped { segment(&packet) } else { None };
        assert_eq!(segment(&longer), expected, "{options:?}");
    }
}

/// A plain segment is one that has its fields in their usual places, and they are read alike.
#[test]
fn a_plain_segment_is_read_alike() {
    for payload in [&b""[..], b"abc", &[9; 200]] {
        let plain = TcpRepr {
            timestamp: None,
            ..repr(payload)
        };
        let mut packet = emit(V4, &plain);
        packet.extend([0; 6]);
        let found = Plain::find(&packet).unwrap();
        let datagram = find(&packet);
        let ports = datagram.ports().unwrap();
        assert_eq!(found.received_tuple(), datagram.received_tuple(ports));
        assert_eq!(Some(found.segment()), datagram.segment());
        assert_eq!(found.is_intact(IN_SOFTWARE), Some(true));
        assert_eq!(found.is_intact(BY_DEVICE), Some(true));
        let mut damaged = packet.clone();
        damaged[5] ^= 1;
        let found = Plain::find(&damaged).unwrap();
        assert_eq!(found.is_intact(IN_SOFTWARE), Some(false));
        assert_eq!(found.is_intact(BY_DEVICE), Some(true));
        for control in [TcpControl::Fin, TcpControl::Rst, TcpControl::Syn] {
            let packet = emit(V4, &TcpRepr { control, ..plain });
            assert!(Plain::find(&packet).is_none());
        }
    }
    assert!(Plain::find(&emit(V4, &repr(b""))).is_none());
    assert!(Plain::find(&emit(V6, &repr(b""))).is_none());
}

/// The IPv4 header and the segment are both wrong, by opposite amounts: the stack drops it for its
/// header.
#[test]
fn k18_two_errors_do_not_make_up_for_each_other() {
    let plain = TcpRepr {
        timestamp: None,
        control: TcpControl::None,
        ..repr(b"ab")
    };
    let mut packet = emit(V4, &plain);
    packet[1] ^= 4; // TOS: the header's sum is 4 higher
    packet[41] -= 4; // the payload's is 4 lower
    assert_eq!(packet[40], b'a');
    let datagram = Datagram::<4>::find(&packet, false).unwrap();
    let found = Plain::find(&packet).unwrap();
    assert!(!datagram.is_intact(IN_SOFTWARE), "the long way");
    assert_eq!(found.is_intact(IN_SOFTWARE), Some(false), "the short way");
}

/// K18: a timestamp option of another length is an unknown option to smoltcp, which takes the segment.
#[test]
fn k18_a_timestamp_option_of_another_length_is_skipped() {
    for options in [
        [8, 8, 0, 0, 0, 0, 0, 0, 1, 1, 1, 1],
        [8, 2, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1],
    ] {
        let mut packet = emit(V4, &repr(b""));
        packet[40..52].copy_from_slice(&options);
        let mut tcp = TcpPacket::new_checked(&mut packet[20..]).unwrap();
        tcp.fill_checksum(&V4[0], &V4[1]);
        let tcp = TcpPacket::new_checked(&packet[20..]).unwrap();
        assert!(TcpRepr::parse(&tcp, &V4[0], &V4[1], &ChecksumCapabilities::default()).is_ok());
        let datagram = Datagram::<4>::find(&packet, false).unwrap();
        assert!(datagram.segment().is_some(), "{options:?}");
    }
}

/// Packets as smoltcp writes them, with bits flipped, lengths changed, an end cut off or put on; half of
/// them with right checksums all the same: the short way and the long one read them alike, and both take
/// what smoltcp takes.
#[test]
fn k18_damaged_packets_are_read_as_smoltcp_reads_them() {
    let mut state = 0x1234_5678_9abc_def0_u64;
    let mut random = move |below: usize| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        usize::try_from(state % u64::try_from(below).unwrap()).unwrap()
    };
    let (mut taken, mut plains) = (0, 0);
    for round in 0..40_000 {
        let len = random(2) * random(130);
        let payload: Vec<u8> = (0..len).map(|_| random(256).to_le_bytes()[0]).collect();
        let tcp = TcpRepr {
            timestamp: repr(b"").timestamp.filter(|_| random(4) == 0),
            control: [TcpControl::None, TcpControl::Psh, TcpControl::Fin][random(3)],
            ..repr(&payload)
        };
        let mut packet = emit(V4, &tcp);
        for _ in 0..random(4) {
            let within = if random(3) == 0 {
                packet.len()
            } else {
                44.min(packet.len())
            };
            packet[random(within)] ^= 1 << random(8);
        }
        if random(3) == 0 {
            packet[3] = random(80).to_le_bytes()[0];
        }
        if random(2) == 0
            && let Ok(mut ip) = Ipv4Packet::new_checked(&mut packet[..])
        {
            ip.fill_checksum();
            let (src, dst) = (ip.src_addr().into(), ip.dst_addr().into());
            if let Ok(mut tcp) = TcpPacket::new_checked(ip.payload_mut()) {
                tcp.fill_checksum(&src, &dst);
            }
        }
        packet.resize(packet.len() + random(2) * random(8), 0);
        if random(10) == 0 {
            packet.truncate(random(packet.len() + 1));
        }
        for is_v4 in [true, false] {
            for is_tcp in [true, false] {
                let of = |is_software| {
                    if is_software {
                        Checksum::Software
                    } else {
                        Checksum::Device
                    }
                };
                let software = Checksums {
                    ipv4: of(is_v4),
                    transport: of(is_tcp),
                };
                let framing = Framing::new(Medium::Ip, software);
                let theirs = smoltcp_reads(&packet, software);
                let long = Datagram::<4>::find(&packet, false)
                    .and_then(|found| Some((found.segment()?, found, found.ports()?)));
                if let Some(plain) = Plain::find(&packet) {
                    plains += 1;
                    let (segment, found, ports) = long.unwrap();
                    assert_eq!(plain.segment(), segment);
                    assert_eq!(plain.received_tuple(), found.received_tuple(ports));
                    if let Some(is_intact) = plain.is_intact(framing) {
                        assert_eq!(is_intact, found.is_intact(framing), "{round}");
                    }
                }
                let long = long.filter(|(_, found, _)| found.is_intact(framing));
                // The checksum of a long one is not verified, and there is no port zero.
                let is_other = long.is_some_and(|(_, found, ports)| {
                    let [a, b, c, d] = ports.to_ne_bytes();
                    found.payload.len() > 128 || [a, b] == [0, 0] || [c, d] == [0, 0]
                });
                if !is_other {
                    let ours = long.map(|(segment, ..)| (segment.seq.0, segment.len));
                    assert_eq!(ours, theirs, "{round}: {packet:02x?}");
                    taken += u32::from(ours.is_some());
                }
            }
        }
    }
    assert!(taken > 10_000 && plains > 10_000, "{taken}, {plains}");
}

/// What smoltcp makes of a packet: a segment's number, and how many octets it has.
fn smoltcp_reads(packet: &[u8], software: Checksums) -> Option<(u32, u32)> {
    let theirs = |checksum: Checksum| {
        if matches!(checksum, Checksum::Software | Checksum::SoftwareOnReceive) {
            phy::Checksum::Both
        } else {
            phy::Checksum::None
        }
    };
    let mut capabilities = ChecksumCapabilities::ignored();
    capabilities.ipv4 = theirs(software.ipv4);
    capabilities.tcp = theirs(software.transport);
    let packet = Ipv4Packet::new_checked(packet).ok()?;
    let ip = Ipv4Repr::parse(&packet, &capabilities).ok()?;
    if packet.more_frags() || packet.frag_offset() != 0 || ip.next_header != IpProtocol::Tcp {
        return None;
    }
    let tcp = TcpPacket::new_checked(packet.payload()).ok()?;
    let [src, dst] = [ip.src_addr.into(), ip.dst_addr.into()];
    let tcp = TcpRepr::parse(&tcp, &src, &dst, &capabilities).ok()?;
    let len = u32::try_from(tcp.payload.len()).unwrap();
    Some((tcp.seq_number.0.cast_unsigned(), len))
}

/// Malformed TCP options make a segment that the stack drops.
#[test]
fn malformed_options_are_refused() {
    let with = |options: [u8; 12]| {
        let mut packet = emit(V4, &repr(b""));
        packet[40..52].copy_from_slice(&options);
        segment(&packet)
    };
    assert!(with([2, 4, 5, 180, 1, 1, 0, 9, 0, 0, 0, 0]).is_some());
    let scaled = with([3, 3, 7, 1, 1, 1, 1, 1, 1, 1, 1, 1]).unwrap();
    assert_eq!(scaled.window_scale, Some(7));
    for options in [
        [2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 2],
        [3, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [3, 4, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [2, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [4, 3, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [5, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [5, 9, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
        [5, 40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0],
    ] {
        assert_eq!(with(options), None, "{options:?}");
    }
}

/// Every kind of segment, over both media and protocols, with timestamps and without: smoltcp reads
/// what we write, and finds both checksums right.
#[test]
fn smoltcp_reads_what_we_write() {
    let caps = ChecksumCapabilities::default();
    for (addresses, is_ethernet, has_timestamps, octet) in [
        (V4, true, false, false),
        (V4, false, true, true),
        (V6, true, true, true),
        (V6, false, false, false),
    ] {
        let mut connection = Connection::<4>::FREE;
        connection.seen.tuple = tuple(addresses, [49152, 80]);
        connection.seen.hop_limit = 63;
        connection.seen.hardware = [2, 0, 0, 0, 0, 2];
        connection.seen.phase = Phase::Open;
        connection.seen.flow.handle_sent(&Segment {
            seq: SeqNumber(1000),
            ack: Some(SeqNumber(5000)),
            window: 512,
            timestamps: has_timestamps.then_some((7, 8)),
            ..Segment::default()
        });
        let medium = if is_ethernet {
            Medium::Ethernet
        } else {
            Medium::Ip
        };
        let framing = Framing::new(medium, SOFTWARE);
        let payload = if octet {
            ProbePayload::GarbageOctet
        } else {
            ProbePayload::Empty
        };
        for (kind, seq, ack, is_reset, is_ours) in [
            (Kind::Probe, 999, 5000, false, true),
            (Kind::Challenge, 1000, 5000, false, true),
            (Kind::Reset, 1000, 5000, true, true),
            (Kind::ResetOfPeer, 5511, 1000, true, false),
        ] {
            let mut out: Buffer = [0xaa; MAX_FRAME_LEN];
            let ours = &[2, 0, 0, 0, 0, 1];
            let seen = &connection.seen;
            let len = if is_ours {
                seen.write(&mut out, framing, ours, kind, payload)
            } else {
                // Whatever the device computes.
                let checksums = Checksums {
                    ipv4: Checksum::Device,
                    transport: Checksum::SoftwareOnReceive,
                };
                let framing = Framing::new(medium, checksums);
                seen.write(&mut out, framing, ours, kind, payload)
            };
            let len = len.unwrap();
            let mut packet = &out[..len];
            let ends = if is_ours {
                addresses
            } else {
                [addresses[1], addresses[0]]
            };
            if is_ethernet {
                let frame = EthernetFrame::new_checked(packet).unwrap();
                let header = EthernetRepr::parse(&frame).unwrap();
                let [from, to] = [1, 2].map(|last| EthernetAddress([2, 0, 0, 0, 0, last]));
                let expected = if is_ours { (from, to) } else { (to, from) };
                assert_eq!((header.src_addr, header.dst_addr), expected);
                assert_eq!(header.ethertype == EthernetProtocol::Ipv4, addresses == V4);
                packet = &out[14..len];
            }
            let ip = if addresses == V4 {
                let ipv4 = Ipv4Packet::new_checked(packet).unwrap();
                IpRepr::Ipv4(Ipv4Repr::parse(&ipv4, &caps).unwrap())
            } else {
                let ipv6 = Ipv6Packet::new_checked(packet).unwrap();
                IpRepr::Ipv6(Ipv6Repr::parse(&ipv6).unwrap())
            };
            assert_eq!([ip.src_addr(), ip.dst_addr()], ends);
            assert_eq!(ip.hop_limit(), 63);
            let segment = TcpPacket::new_checked(&packet[ip.header_len()..]).unwrap();
            let tcp = TcpRepr::parse(&segment, &ends[0], &ends[1], &caps).unwrap();
            assert_eq!(tcp.seq_number.0.cast_unsigned(), seq);
            assert_eq!(tcp.ack_number.unwrap().0.cast_unsigned(), ack);
            assert_eq!(tcp.control == TcpControl::Rst, is_reset);
            assert_eq!(tcp.payload.len(), usize::from(kind == Kind::Probe && octet));
            let is_stamped = match kind {
                Kind::Reset | Kind::ResetOfPeer => false,
                Kind::Probe | Kind::Challenge => has_timestamps,
            };
            assert_eq!(tcp.timestamp.is_some(), is_stamped);
        }
    }
}

/// Checksums that the device computes are left to it: the fields are zero.
#[test]
fn checksums_of_the_device_are_left_to_it() {
    let mut connection = Connection::<1>::FREE;
    connection.seen.flow.handle_sent(&Segment {
        ack: Some(SeqNumber(0)),
        ..Segment::default()
    });
    let checksums = Checksums {
        ipv4: Checksum::SoftwareOnReceive,
        transport: Checksum::Device,
    };
    let framing = Framing::new(Medium::Ip, checksums);
    let mut out: Buffer = [0; MAX_FRAME_LEN];
    let written =
        connection
            .seen
            .write(&mut out, framing, &[0; 6], Kind::Probe, ProbePayload::Empty);
    assert_eq!(written, Some(40));
    assert_eq!([&out[10..12], &out[36..38]], [&[0, 0], &[0, 0]]);
}

/// Whatever the octets, parsing ends and does not panic.
#[test]
fn any_octets_at_all() {
    proptest!(|(octets in proptest::collection::vec(any::<u8>(), 0..200))| {
        let _ = Datagram::<4>::find(&octets, true).and_then(|datagram| datagram.ports());
        let _ = Arp::find(&octets).and_then(|arp| arp.announcement::<4>(true));
        if let Some(plain) = Plain::find(&octets) {
            let _ = plain.is_intact(IN_SOFTWARE);
        }
        if let Some(datagram) = Datagram::<4>::find(&octets, false) {
            let _ = (datagram.is_intact(IN_SOFTWARE), datagram.segment());
            let _ = Announcement::in_icmpv6(&datagram, true);
            prop_assert!(datagram.payload.len() <= octets.len());
        }
    });
}

/// The sum is smoltcp's, over any octets of any length.
#[test]
fn the_sum_is_smoltcps() {
    // Words that carry into each other need long runs of ones.
    let octet = prop_oneof![4 => Just(0xff), 1 => any::<u8>()];
    proptest!(|(payload in proptest::collection::vec(octet, 0..100))| {
        for addresses in [V4, V6] {
            prop_assert!(find(&emit(addresses, &repr(&payload))).is_intact(IN_SOFTWARE));
        }
    });
}

/// A reason is a sentence.
#[test]
fn reasons_are_shown_in_words() {
    use std::string::ToString;

    let reset = |while_probing| CloseReason::PeerReset { while_probing };
    for (reason, words) in [
        (reset(false), "reset by the peer"),
        (reset(true), "reset by the peer while it was being probed"),
        (CloseReason::Closed, "closed by both sides"),
        (CloseReason::LocalAbort, "aborted at this end"),
        (CloseReason::AddressLost, "the interface lost its address"),
    ] {
        assert_eq!(reason.to_string(), words);
    }
}

/// A RST in the handshake that the stack does not believe leaves the connection as it was: kept alive,
/// once it is open.
#[test]
fn a_refused_reset_of_a_handshake_leaves_it_kept_alive() {
    let now = Instant::from_millis(1000);
    let config = Config::new(Duration::from_secs(10), Duration::from_secs(2), 3).unwrap();
    let mut link = Link::<1, 4>::new();
    link.set_capabilities(Medium::Ip, SOFTWARE);
    let id = link.add(config).unwrap();
    let syn = TcpRepr {
        control: TcpControl::Syn,
        ack_number: None,
        ..repr(b"")
    };
    let ends = tuple(V4, [syn.src_port, syn.dst_port]);
    link.follow(now, id, Socket::Opening(ends), 1024, false);
    link.handle_sent(now, &emit(V4, &syn));
    let reset = TcpRepr {
        src_port: syn.dst_port,
        dst_port: syn.src_port,
        control: TcpControl::Rst,
        ..repr(b"")
    };
    link.handle_received(now, &emit([V4[1], V4[0]], &reset));
    assert_eq!(link.state(id), Some(State::Disabled));
    link.follow(now, id, Socket::Open(ends), 1024, false);
    assert_eq!(link.state(id), Some(State::Armed));
}

/// The answer to a SYN that leaves late, after the sockets were looked at, ends no handshake; it may be
/// of another socket, which has taken the peer's next SYN. Its numbers are kept for the socket that
/// has the connection in the end.
#[test]
fn an_answer_to_a_syn_ends_no_handshake() {
    for is_anothers in [false, true] {
        let now = Instant::from_millis(1000);
        let config = Config::new(Duration::from_secs(10), Duration::from_secs(2), 3).unwrap();
        let mut link = Link::<2, 4>::new();
        link.set_capabilities(Medium::Ip, SOFTWARE);
        let [first, second] = [(); 2].map(|()| link.add(config).unwrap());
        let answer = TcpRepr {
            control: TcpControl::Syn,
            ..repr(b"")
        };
        let ends = tuple(V4, [answer.src_port, answer.dst_port]);
        let others = tuple(V4, [answer.src_port, answer.dst_port + 1]);
        link.follow(now, first, Socket::Opening(ends), 1024, false);
        link.handle_sent(now, &emit(V4, &answer));
        assert_eq!(link.state(first), Some(State::Disabled));
        let of = if is_anothers {
            link.follow(now, second, Socket::Opening(ends), 1024, false);
            link.follow(now, first, Socket::Opening(others), 1024, false);
            second
        } else {
            first
        };
        link.follow(now, of, Socket::Opening(ends), 1024, false);
        assert_eq!(link.state(of), Some(State::Disabled));
        link.follow(now, of, Socket::Open(ends), 1024, false);
        assert_eq!(link.state(of), Some(State::Armed));
        assert!(!link.needs_numbers(Instant::from_millis(11_000), of));
    }
}

/// A keep-alive of the stack's that only has to tell numbers does not leave as it is, however late it
/// is: a probe leaves in its place while one is due, and else a bare acknowledgement.
#[test]
fn a_keep_alive_that_tells_numbers_is_replaced() {
    #[derive(Clone, Copy, PartialEq)]
    enum Meanwhile {
        Nothing,
        PeerIsHeard,
        Verdict,
        SwitchedOff,
        PlaceIsTaken,
    }
    for meanwhile in [
        Meanwhile::Nothing,
        Meanwhile::PeerIsHeard,
        Meanwhile::Verdict,
        Meanwhile::SwitchedOff,
        Meanwhile::PlaceIsTaken,
    ] {
        let at = |secs: u64| Instant::from_millis(secs * 1000);
        let config = Config::new(Duration::from_secs(10), Duration::from_secs(2), 3).unwrap();
        let mut link = Link::<1, 4>::new();
        link.set_capabilities(Medium::Ip, SOFTWARE);
        let id = link.add(config).unwrap();
        let ack = TcpRepr {
            control: TcpControl::None,
            ..repr(b"")
        };
        let ends = tuple(V4, [ack.src_port, ack.dst_port]);
        link.follow(at(1), id, Socket::Open(ends), 1024, false);
        let mut out = [0; MAX_FRAME_LEN];
        link.handle_timeout(at(11));
        assert_eq!(link.poll_transmit(at(11), &mut out), None);
        assert!(link.needs_numbers(at(11), id));
        match meanwhile {
            Meanwhile::Nothing => {}
            Meanwhile::PeerIsHeard => {
                link.handle_sent(at(11), &emit(V4, &ack));
                let answer = TcpRepr {
                    src_port: ack.dst_port,
                    dst_port: ack.src_port,
                    seq_number: ack.ack_number.unwrap(),
                    ack_number: Some(ack.seq_number),
                    ..ack
                };
                link.handle_received(at(11), &emit([V4[1], V4[0]], &answer));
                assert_eq!(link.state(id), Some(State::Armed));
            }
            Meanwhile::Verdict => {
                for secs in [13, 15, 17] {
                    link.handle_timeout(at(secs));
                    assert_eq!(link.poll_transmit(at(secs), &mut out), None);
                }
                assert_eq!(link.state(id), Some(State::TimedOut));
            }
            Meanwhile::SwitchedOff => link.remove(id),
            Meanwhile::PlaceIsTaken => {
                link.remove(id);
                assert_eq!(link.add(config), Some(id));
            }
        }
        let asks = TcpRepr {
            seq_number: ack.seq_number - 1,
            payload: b"\0",
            ..ack
        };
        // An octet of another connection is not the keep-alive.
        let other = TcpRepr {
            src_port: asks.src_port + 1,
            ..asks
        };
        let mut frame = emit(V4, &other);
        let before = frame.clone();
        link.handle_written(at(17), &mut frame);
        assert_eq!(frame, before);

        let mut frame = emit(V4, &asks);
        link.handle_written(at(17), &mut frame);
        let is_probe = meanwhile == Meanwhile::Nothing;
        let (seq, sent) = if is_probe {
            (asks.seq_number, 1)
        } else {
            (ack.seq_number, 0)
        };
        let left = segment(&frame).unwrap();
        assert_eq!((left.len, left.rst), (0, false));
        assert_eq!(left.seq, SeqNumber(seq.0.cast_unsigned()));
        assert_eq!(link.stats(id).map_or(0, |stats| stats.probes_sent), sent);

        // What the stack sends of its own accord is left alone.
        let mut frame = emit(V4, &asks);
        let before = frame.clone();
        link.handle_written(at(17), &mut frame);
        assert_eq!(frame, before);
    }
}

/// A connection that the stack has reset has no deadline, even if its end was not confirmed yet.
#[test]
fn a_connection_that_was_reset_has_no_deadline() {
    let at = |secs: u64| Instant::from_millis(secs * 1000);
    let config = Config::new(Duration::from_secs(10), Duration::from_secs(2), 3).unwrap();
    let mut link = Link::<1, 4>::new();
    link.set_capabilities(Medium::Ip, SOFTWARE);
    let id = link.add(config).unwrap();
    let reset = TcpRepr {
        control: TcpControl::Rst,
        ..repr(b"")
    };
    let ends = tuple(V4, [reset.src_port, reset.dst_port]);
    link.follow(at(1), id, Socket::Open(ends), 1024, false);
    link.take_change();
    link.handle_timeout(at(1));
    let mut out = [0; MAX_FRAME_LEN];
    assert_eq!(link.poll_transmit(at(1), &mut out), None);
    assert_eq!(link.poll_timeout(), Some(at(11)));

    link.handle_sent(at(2), &emit(V4, &reset));
    link.take_change();
    link.handle_timeout(at(20));
    assert_eq!(link.poll_transmit(at(20), &mut out), None);
    assert_eq!(link.poll_timeout(), None);
    assert_eq!(link.state(id), Some(State::Armed));
}

/// A change is told of once. A link is due at its deadline, or if the clock has stepped back.
#[test]
fn a_link_is_due_only_if_there_is_something_to_do() {
    let at = |secs: u64| Instant::from_millis(secs * 1000);
    let config = Config::new(Duration::from_secs(10), Duration::from_secs(2), 3).unwrap();
    let mut link = Link::<1, 4>::new();
    link.set_capabilities(Medium::Ip, SOFTWARE);
    let id = link.add(config).unwrap();
    assert!(link.is_due(at(5)));
    assert!(link.take_change());
    let ack = TcpRepr {
        control: TcpControl::None,
        ..repr(b"")
    };
    let ends = tuple(V4, [ack.src_port, ack.dst_port]);
    link.follow(at(5), id, Socket::Open(ends), 1024, false);
    link.handle_sent(at(5), &emit(V4, &ack));
    link.handle_timeout(at(5));
    assert_eq!(link.poll_transmit(at(5), &mut [0; MAX_FRAME_LEN]), None);
    assert!(!link.take_change());
    for (secs, is_due) in [(4, true), (5, false), (14, false), (15, true)] {
        assert_eq!(link.is_due(at(secs)), is_due, "{secs}");
    }
}

/// An octet of data, or a probe of a closed window, is no keep-alive that tells numbers: it leaves
/// as it is, and is outstanding.
#[test]
fn an_octet_of_the_stacks_is_not_replaced() {
    let at = |secs: u64| Instant::from_millis(secs * 1000);
    let config = Config::new(Duration::from_secs(10), Duration::from_secs(2), 3).unwrap();
    let config = config.with_user_timeout(Duration::from_secs(20)).unwrap();
    let mut link = Link::<1, 4>::new();
    link.set_capabilities(Medium::Ip, SOFTWARE);
    let id = link.add(config).unwrap();
    let octet = TcpRepr {
        control: TcpControl::None,
        ..repr(b"\0")
    };
    let ends = tuple(V4, [octet.src_port, octet.dst_port]);
    link.follow(at(1), id, Socket::Open(ends), 1024, false);
    let mut out = [0; MAX_FRAME_LEN];
    link.handle_timeout(at(11));
    assert_eq!(link.poll_transmit(at(11), &mut out), None);
    assert!(link.needs_numbers(at(11), id));
    // The stack cannot send yet, so the adapter has to look again at each poll.
    assert!(link.is_due(at(11)));

    link.follow(at(12), id, Socket::Open(ends), 1024, true);
    let mut frame = emit(V4, &octet);
    let before = frame.clone();
    link.handle_written(at(12), &mut frame);
    assert_eq!(frame, before);

    // The question of the user timeout lies below the octet.
    link.follow(at(32), id, Socket::Open(ends), 1024, true);
    link.handle_timeout(at(32));
    let len = link.poll_transmit(at(32), &mut out).unwrap();
    let question = segment(&out[..len]).unwrap();
    assert_eq!(question.seq.0, octet.seq_number.0.cast_unsigned() - 1);
}

/// Connections whose keep-alive is switched off and on again keep their numbers, each of them.
#[test]
fn numbers_outlive_a_pause() {
    let at = |secs: u64| Instant::from_millis(secs * 1000);
    let config = Config::new(Duration::from_secs(10), Duration::from_secs(2), 3).unwrap();
    let mut link = Link::<3, 4>::new();
    link.set_capabilities(Medium::Ip, SOFTWARE);
    let mut ends = Vec::new();
    let ids = [1, 2, 3].map(|port| {
        let ack = TcpRepr {
            src_port: port,
            ..repr(b"")
        };
        ends.push(tuple(V4, [port, ack.dst_port]));
        let id = link.add(config).unwrap();
        link.follow(at(1), id, Socket::Open(*ends.last().unwrap()), 1024, false);
        link.handle_sent(at(1), &emit(V4, &ack));
        id
    });
    for id in ids {
        link.remove(id);
    }
    assert_eq!(link.poll_opening(), None);
    for ends in ends {
        let id = link.add(config).unwrap();
        link.follow(at(2), id, Socket::Open(ends), 1024, false);
        assert!(!link.needs_numbers(at(13), id));
    }
}

/// The end of a connection is an event while its keep-alive is off, too; and a RST of ours after both
/// FINs is an abort.
#[test]
fn an_end_is_reported_with_the_keep_alive_off() {
    let at = |secs: u64| Instant::from_millis(secs * 1000);
    let config = Config::new(Duration::from_secs(10), Duration::from_secs(2), 3).unwrap();
    let mut link = Link::<1, 4>::new();
    link.set_capabilities(Medium::Ip, SOFTWARE);
    let id = link.add(config).unwrap();
    let fin = TcpRepr {
        control: TcpControl::Fin,
        ..repr(b"")
    };
    let ends = tuple(V4, [fin.src_port, fin.dst_port]);
    link.follow(at(1), id, Socket::Open(ends), 1024, false);
    link.switch(at(1), id, None);
    link.handle_sent(at(2), &emit(V4, &fin));
    let answer = TcpRepr {
        src_port: fin.dst_port,
        dst_port: fin.src_port,
        seq_number: fin.ack_number.unwrap(),
        ack_number: Some(fin.seq_number),
        ..fin
    };
    link.handle_received(at(2), &emit([V4[1], V4[0]], &answer));
    link.settle();
    assert_eq!(link.close_reason(id), None, "our FIN is outstanding");
    let reset = TcpRepr {
        control: TcpControl::Rst,
        ..fin
    };
    link.handle_sent(at(3), &emit(V4, &reset));
    link.settle();
    link.switch(at(3), id, None);
    assert_eq!(link.close_reason(id), Some(CloseReason::LocalAbort));
    assert_eq!(link.poll_event(), Some((id, Event::LocalAbort)));
    assert_eq!(link.poll_event(), None);
}

/// What a segment touches is the beginning of a connection: what frames have shown, and less than
/// all of the machine.
#[test]
fn a_segment_touches_the_beginning_of_a_connection() {
    let touched = Link::<1, 1>::BYTES_TOUCHED_BY_SEGMENT;
    assert!(touched > size_of::<Seen<1>>());
    assert!(touched < size_of::<Seen<1>>() + 16);
    assert!(touched < Link::<1, 1>::BYTES_PER_CONNECTION);
}

/// The stack drops a segment with an option whose length is wrong, so it is no segment.
#[test]
fn options_have_the_lengths_that_the_stack_wants() {
    for (kind, lens) in [
        (2, &[4][..]),
        (3, &[3]),
        (4, &[2]),
        (5, &[10, 18, 26, 34]),
        (8, &[2, 3, 4, 8, 10, 16, 20]),
        (77, &[2, 3, 4, 8, 10, 16, 20]),
    ] {
        for len in 0..=36 {
            let octets = emit(V4, &repr(b""));
            let (ip, tcp) = octets.split_at(20);
            let mut header: Vec<u8> = tcp[..20].to_vec();
            header.extend([kind, len]);
            header.resize(20 + 36, 0);
            header[12] = 56 << 2;
            let mut packet = ip.to_vec();
            packet[2..4].copy_from_slice(&76_u16.to_be_bytes());
            packet.extend(header);
            let datagram = Datagram::<4>::find(&packet, false).unwrap();
            let is_right =
                lens.contains(&len) || [8, 77].contains(&kind) && (2..=36).contains(&len);
            assert_eq!(datagram.segment().is_some(), is_right, "{kind}, {len}");
        }
    }
}
