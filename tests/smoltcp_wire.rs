//! What a probe looks like on the wire, and what is made of what arrives there.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a helper of a test may fail as a test does"
)]

mod scenario;
mod settled;
mod twins;

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use scenario::setup::Opens;
use scenario::{End, Scenario, Sent, Setup, Time, config, established, ms, s};
use settled::settled;
use smoltcp::phy::{Checksum, ChecksumCapabilities, Medium};
use smoltcp::socket::tcp::State as Tcp;
use smoltcp::time::Instant;
use smoltcp::wire::Ipv4Packet;
use tcp_keepalive::smoltcp::CloseReason;
use tcp_keepalive::{Cause, ProbePayload};
use tcp_keepalive_sim::timestamp_clock;
use tcp_keepalive_sim::wire::{self, Kind, Macs, Segment};
use twins::{Station, station};

/// Every combination of medium, version, timestamps, who opens, and who the peer is.
fn every_setup() -> Vec<Setup> {
    let mut setups = Vec::new();
    for medium in [Medium::Ip, Medium::Ethernet] {
        for bits in 0..16 {
            let is_set = |bit: u32| bits & (1 << bit) != 0;
            setups.push(Setup {
                medium,
                ipv6: is_set(0),
                timestamps: is_set(1),
                opens: if is_set(2) {
                    Opens::Passively
                } else {
                    Opens::Actively
                },
                scripted: is_set(3),
                ..Setup::default()
            });
        }
    }
    setups
}

/// K12: over every medium, SEQ = SND.NXT - 1, ACK = RCV.NXT, flags ACK, no data, right
/// checksums, and the option if it was negotiated; and the peer answers it.
#[test]
fn k12_probe_is_answered_over_every_medium() {
    for setup in every_setup() {
        let mut t = setup.established(config(10, 2, 3));
        t.until(10).nothing();
        t.at(10).probe(1);
        t.at(11).alive();
        assert_eq!(t.stats().probes_answered, 1, "{}", t.story());
    }
}

/// On an Ethernet, each probe of a round but the first is followed by a question for the neighbour
/// (K17).
fn asks_for_neighbor(t: &mut Scenario) {
    if t.setup.medium == Medium::Ethernet {
        t.neighbor_query();
    }
}

/// The same with data sent and received before, and a peer that falls silent.
#[test]
fn k12_probes_and_rst_are_right_over_every_medium() {
    for setup in every_setup() {
        let mut t = setup.established(config(10, 2, 3));
        t.write(77);
        t.at(5);
        t.skip();
        t.silence_peer();
        let heard = t.last_heard().unwrap();
        t.at(heard + s(10)).probe(1);
        asks_for_neighbor(t.at(heard + s(12)).probe(2));
        asks_for_neighbor(t.at(heard + s(14)).probe(3));
        t.at(heard + s(16)).timed_out();
        t.at(heard + s(100)).nothing();
    }
}

/// Where smoltcp has forgotten the neighbour's address in the meantime, the probe needs it not: it goes
/// where the last segment went.
#[test]
fn k12_probe_waits_for_no_neighbour() {
    for setup in every_setup()
        .into_iter()
        .filter(|setup| setup.medium == Medium::Ethernet)
    {
        let mut t = setup.established(config(100, 2, 3));
        t.until(100);
        t.skip();
        t.at(100).probe(1);
        t.at(101).nothing().alive();
    }
}

/// SHLD-12 is the default, MAY-6 the option: one octet of garbage, in the place of the last
/// octet sent.
#[test]
fn garbage_octet_is_sent_if_asked_for() {
    for setup in every_setup() {
        let mut t = setup.clone().established(config(10, 2, 3));
        assert_eq!(t.at(10).segment().payload, []);
        let octet = config(10, 2, 3).with_payload(ProbePayload::GarbageOctet);
        let mut t = setup.established(octet);
        t.until(10).nothing();
        let before = t.trace().len();
        t.at(10).probe(1);
        let probe = t.trace().iter().rev().find_map(|sent| sent.tcp().cloned());
        assert_eq!(probe.unwrap().payload, [0]);
        assert_eq!(t.trace().len(), before + 1);
        t.at(11).alive();
    }
}

/// The whole frame, octet by octet.
#[test]
fn probe_frame_is_what_it_should_be() {
    for setup in every_setup().into_iter().filter(|setup| setup.scripted) {
        let mut t = setup.hop_limit(33).established(config(10, 2, 3));
        let frame = t.at(10).frame();
        let found = frame.tcp().unwrap().clone();
        let (snd_nxt, rcv_nxt) = t.numbers((found.src_port, found.dst_port), t.claimed());
        let expected = Segment {
            seq: snd_nxt.wrapping_sub(1),
            ack: Some(rcv_nxt),
            window: 1024,
            syn: false,
            fin: false,
            rst: false,
            psh: false,
            payload: Vec::new(),
            window_scale: None,
            hop_limit: 33,
            checksum_ok: true,
            ip_checksum_ok: true,
            ..found
        };
        let mut bytes = expected.emit(t.macs());
        if t.setup.timestamps {
            // RFC 7323 appendix A: two NOPs come first. smoltcp has two octets of padding at the end.
            let (_, options) = bytes.split_at_mut(frame.bytes.len() - 12);
            options.rotate_right(2);
            options[..2].copy_from_slice(&[1, 1]);
            let checksum_at = frame.bytes.len() - 32 + 16;
            let checksum = &frame.bytes[checksum_at..checksum_at + 2];
            bytes[checksum_at..checksum_at + 2].copy_from_slice(checksum);
        }
        assert!(found.checksum_ok);
        assert_eq!(*frame.bytes, bytes);
    }
}

/// The hop limit is the socket's.
#[test]
fn hop_limit_is_the_sockets() {
    for hop_limit in [1, 64, 255] {
        let mut t = Setup::default()
            .hop_limit(hop_limit)
            .established(config(10, 2, 3));
        t.at(10).probe(1);
    }
}

/// The window field is the one of our last segment, scaled, and not that of our SYN, which never
/// is. If that was the last segment, what it said is all that the peer knows: 65,535 octets.
#[test]
fn window_is_scaled_as_negotiated() {
    for late in [false, true] {
        for passive in [false, true] {
            let setup = Setup::default().smoltcp_peer().buffers(200_000, 1024);
            let setup = if passive { setup.passive() } else { setup };
            let mut t = setup.closed();
            if !late {
                t.enable(config(10, 2, 3));
            }
            t.open();
            if late {
                t.enable(config(10, 2, 3));
            }
            t.until(10).nothing();
            let probe = t.at(10).segment();
            let right = if passive { 65_535 >> 2 } else { 50_000 };
            assert_eq!(probe.window, right);
        }
    }
}

/// RFC 7323 3.2: the timestamps of a probe are no older than any we sent, and echo the latest
/// that we received.
#[test]
fn timestamps_are_current() {
    let mut t = Setup::default().timestamps().established(config(10, 2, 3));
    t.write(5);
    t.at(1);
    t.skip();
    for _ in 0..5 {
        let latest = |t: &Scenario, from| {
            let trace = t.trace();
            let mut sent = trace.iter().filter(|sent| sent.from == from).rev();
            sent.find_map(|sent| sent.tcp()?.timestamps).unwrap().0
        };
        let (ours, theirs) = (latest(&t, End::Us), latest(&t, End::Peer));
        let due = t.last_heard().unwrap() + s(10);
        let (tsval, tsecr) = t.at(due).segment().timestamps.unwrap();
        assert!(tsval >= ours && tsval <= timestamp_clock());
        assert_eq!(tsecr, theirs);
        t.at(due + s(1)).alive();
    }
}

/// Without timestamps at the peer, a probe carries none, though our socket would.
#[test]
fn timestamps_that_were_not_negotiated_are_not_sent() {
    for late in [false, true] {
        let mut t = Setup::default().passive().closed();
        t.socket().set_tsval_generator(Some(timestamp_clock));
        if !late {
            t.enable(config(10, 2, 3));
        }
        t.open();
        if late {
            t.enable(config(10, 2, 3));
        }
        t.at(10).probe(1);
        t.at(11).alive();
    }
}

/// Checksums that the device computes are left to it, as smoltcp leaves them.
#[test]
fn checksums_are_left_to_a_device_that_computes_them() {
    for checksum in [Checksum::None, Checksum::Rx] {
        for setup in every_setup().into_iter().filter(|setup| setup.scripted) {
            let mut t = setup
                .checksums(checksums(checksum))
                .established(config(10, 2, 3));
            t.at(10).probe(1);
            let field = |sent: &Sent| {
                let tcp_at = sent.bytes.len() - if t.setup.timestamps { 32 } else { 20 };
                [sent.bytes[tcp_at + 16], sent.bytes[tcp_at + 17]]
            };
            assert_eq!(field(t.trace().last().unwrap()), [0, 0]);
        }
    }
}

/// Where the device verifies checksums, what it passes on is believed, as smoltcp believes it.
#[test]
fn checksums_are_not_verified_twice() {
    let mut t = Setup::default()
        .checksums(checksums(Checksum::Tx))
        .established(config(10, 2, 3));
    t.silence_peer();
    t.at(5).nothing();
    t.forge(|segment| segment.checksum_ok = false);
    t.at(6).nothing();
    assert_eq!(t.last_heard(), Some(s(5) + ms(10)));
    t.forge(|segment| {
        segment.checksum_ok = false;
        segment.payload = vec![0; 300];
    });
    t.at(s(6) + ms(10));
    assert_eq!(t.last_heard(), Some(s(6) + ms(10)));
}

/// Ethernet pads short frames; what follows the datagram is not part of it.
#[test]
fn padded_frames_are_heard() {
    for setup in [
        Setup::default().ethernet(),
        Setup::default().ethernet().ipv6(),
    ] {
        let mut t = setup.established(config(10, 2, 3));
        t.silence_peer();
        t.at(5).nothing();
        let segment = t.peer_segment();
        let mut frame = t.script().frame(&segment);
        frame.resize(frame.len() + 18, 0xee);
        t.inject(frame);
        t.at(6).nothing();
        assert_eq!(t.last_heard(), Some(s(5) + ms(10)));
    }
}

/// A received frame may be empty, and is no trouble.
#[test]
fn empty_frames_are_no_trouble() {
    for setup in [Setup::default(), Setup::default().ethernet()] {
        let mut t = setup.established(config(10, 2, 3));
        t.silence_peer();
        t.inject(Vec::new());
        t.at(10).probe(1);
        asks_for_neighbor(t.at(12).probe(2));
        asks_for_neighbor(t.at(14).probe(3));
        t.at(16).timed_out();
    }
}

/// Segments longer and shorter than what is verified on arrival are heard at their arrival, with
/// an acknowledgement that is delayed and one that is not.
#[test]
fn segments_of_any_length_are_heard_on_arrival() {
    for len in [1, 87, 88, 107, 108, 109, 128, 129, 130, 500, 1000] {
        for delayed in [true, false] {
            for timestamps in [true, false] {
                let setup = Setup {
                    timestamps,
                    ..Setup::default()
                };
                let mut t = setup.established(config(10, 2, 3));
                if !delayed {
                    t.socket().set_ack_delay(None);
                }
                t.at(1).nothing();
                t.peer_says(len);
                let arrives = s(1) + ms(10);
                t.at(arrives + ms(50));
                assert_eq!(t.last_heard(), Some(arrives), "{len} octets");
                t.skip();
                t.silence_peer();
                t.until(arrives + s(10)).nothing();
                t.at(arrives + s(10)).probe(1);
            }
        }
    }
}

// What the stack takes is heard, and what it discards is nothing (K18).

/// What becomes of a frame that arrives at a silent connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// The stack takes it, and we do.
    Heard,
    /// Neither does.
    Nothing,
}

/// Lets the peer's next segment arrive, as `change` makes it: one without data, in answer to the first
/// probe, and then one with three octets.
#[track_caller]
fn arrives(setup: &Setup, what: &str, change: impl Fn(&mut Vec<u8>), fate: Fate) {
    for text in ["", "abc"] {
        let mut t = setup.clone().established(config(10, 2, 3));
        t.silence_peer();
        t.at(10).probe(1);
        let mut segment = t.peer_segment();
        segment.payload = text.as_bytes().to_vec();
        let mut frame = t.script().frame(&segment);
        change(&mut frame);
        t.inject(frame);
        t.until(s(10) + ms(20));
        let heard = if fate == Fate::Heard {
            s(10) + ms(10)
        } else {
            s(0)
        };
        assert_eq!(t.last_heard(), Some(heard), "{what}, {text:?}");
        let taken = if fate == Fate::Heard { text.len() } else { 0 };
        assert_eq!(t.socket().recv_queue(), taken, "{what}, {text:?}");
        t.until(12);
        t.skip();
        t.at(12);
        if fate == Fate::Heard {
            t.nothing().alive();
            t.until(s(20) + ms(10)).nothing();
        } else {
            asks_for_neighbor(t.probe(2));
            asks_for_neighbor(t.at(14).probe(3));
            t.until(16).nothing();
            let verdict = t.at(16).timed_out();
            assert_eq!((verdict.unanswered, verdict.unsent), (3, 0), "{what}");
        }
    }
}

/// A host whose frames go nowhere, and that is shown what a test makes up. (The simulated world has an
/// opinion of its own on what can be heard.)
struct Alone {
    setup: twins::Setup,
    host: Station,
    now: Instant,
    zero: Instant,
    /// A segment without data that the peer would send.
    segment: Segment,
    /// What was sent, by the milliseconds since the handshake.
    sent: Vec<(i64, Kind)>,
}

impl Alone {
    /// A connection that is kept alive: idle 10 s, interval 2 s, three probes.
    fn connected(medium: Medium, ipv6: bool) -> Self {
        let setup = twins::Setup {
            medium,
            ipv6,
            all_kinds: false,
            ..twins::Setup::of(0)
        };
        let mut host = Station::new(&setup, 1, 7, Some(config(10, 2, 3)));
        let mut peer = Station::new(&setup, 2, 9, None);
        host.open(&setup);
        peer.open(&setup);
        let mut last = None;
        // smoltcp asks for its neighbour once a second.
        for second in 0..5 {
            for station in [&mut host, &mut peer] {
                station.poll(Instant::from_secs(1000 + second));
            }
            for _ in 0..6 {
                let now = Instant::from_secs(1000 + second);
                for frame in std::mem::take(&mut host.wire.outbound) {
                    if let Kind::Tcp(segment) = wire::parse(medium, &frame)
                        && segment.src_port == station::FIRST_PORT
                    {
                        last = Some(segment);
                    }
                    peer.wire.inbound.push_back(frame);
                }
                peer.poll(now);
                host.wire.inbound.extend(peer.wire.outbound.drain(..));
                host.poll(now);
            }
        }
        assert_eq!(host.tcp(0).state(), Tcp::Established);
        let last = last.unwrap();
        let heard = host.last_heard().unwrap();
        Self {
            setup,
            host,
            now: Instant::from_secs(1004),
            zero: heard,
            segment: Segment {
                src_addr: last.dst_addr,
                dst_addr: last.src_addr,
                src_port: last.dst_port,
                dst_port: last.src_port,
                seq: last.ack.unwrap(),
                ack: Some(last.seq),
                ..last
            },
            sent: Vec::new(),
        }
    }

    /// Lets so many milliseconds pass since the handshake.
    fn at(&mut self, millis: u64) {
        let end = self.zero + smoltcp::time::Duration::from_millis(millis);
        loop {
            let next = self.host.poll_at(self.now).unwrap_or(end);
            self.now = next.max(self.now).min(end);
            self.host.poll(self.now);
            let at = (self.now - self.zero).total_millis().cast_signed();
            for frame in self.host.wire.outbound.drain(..) {
                self.sent.push((at, wire::parse(self.setup.medium, &frame)));
            }
            if self.now >= end && !self.host.wants_poll(self.now) {
                return;
            }
        }
    }

    /// Shows it that segment, as `change` makes it, at once.
    fn show(&mut self, segment: &Segment, change: impl Fn(&mut Vec<u8>)) {
        let macs = (self.setup.medium == Medium::Ethernet).then(|| Macs {
            src: station::mac(2),
            dst: station::mac(1),
        });
        let mut frame = segment.emit(macs);
        change(&mut frame);
        self.host.wire.inbound.push_back(frame);
        let now = (self.now - self.zero).total_millis();
        self.at(now);
    }

    /// When segments were sent since this was asked last, and the RSTs among them.
    fn take_segments(&mut self) -> (Vec<i64>, usize) {
        let sent = self.sent.drain(..);
        let segments: Vec<_> = sent
            .filter_map(|(at, kind)| Some((at, kind.tcp()?.rst)))
            .collect();
        let resets = segments.iter().filter(|(_, rst)| *rst).count();
        (segments.into_iter().map(|(at, _)| at).collect(), resets)
    }
}

/// Lets a segment arrive in answer to each probe, as `change` makes it, and one with three octets.
#[track_caller]
fn answers(medium: Medium, ipv6: bool, change: impl Fn(&mut Vec<u8>), fate: Fate) {
    let mut t = Alone::connected(medium, ipv6);
    let segment = t.segment.clone();
    t.take_segments();
    for second in [10, 12, 14] {
        t.at(second * 1000);
        if fate == Fate::Nothing || second == 10 {
            t.show(&segment, &change);
        }
    }
    if fate == Fate::Nothing {
        t.at(100_000);
        assert_eq!(t.take_segments(), (vec![10_000, 12_000, 14_000, 16_000], 1));
        assert_eq!(t.host.tcp(0).state(), Tcp::Closed);
    } else {
        t.at(20_000);
        t.show(&segment, &change);
        t.at(29_999);
        assert_eq!(t.take_segments(), (vec![10_000, 20_000], 0));
        assert_eq!(t.host.tcp(0).state(), Tcp::Established);
    }

    let mut t = Alone::connected(medium, ipv6);
    t.at(3_000);
    t.take_segments();
    let text = Segment {
        payload: b"abc".to_vec(),
        ..t.segment.clone()
    };
    t.show(&text, &change);
    t.at(12_999);
    let probe_at = if fate == Fate::Heard { 13_000 } else { 10_000 };
    let taken = if fate == Fate::Heard { 3 } else { 0 };
    assert_eq!(t.host.received[0].octets, taken);
    t.at(13_000);
    let (sent, _) = t.take_segments();
    // smoltcp acknowledges the octets after its delay.
    let probes: Vec<_> = sent.into_iter().filter(|at| *at > 3_010).collect();
    assert_eq!(probes[0], probe_at);
}

/// Puts hop-by-hop options behind an IPv6 header at `ip_at`: what they begin with, and `options`.
fn put_hop_by_hop(frame: &mut Vec<u8>, ip_at: usize, options: [u8; 6]) {
    let mut header = vec![frame[ip_at + 6], 0];
    header.extend(options);
    frame[ip_at + 6] = 0;
    frame[ip_at + 5] += 8;
    frame.splice(ip_at + 40..ip_at + 40, header);
}

/// K18, F1: routers of an RPL network put hop-by-hop options into every packet. smoltcp skips them, and
/// we do; options that it does not skip make the packet nothing.
#[test]
fn k18_hop_by_hop_options_are_skipped_as_the_stack_skips_them() {
    for (options, fate) in [
        // PadN of 4, and six Pad1.
        ([1, 4, 0, 0, 0, 0], Fate::Heard),
        ([0, 0, 0, 0, 0, 0], Fate::Heard),
        // Of an option that is not known, the upper two bits say whether it is skipped.
        ([0x1e, 4, 0, 0, 0, 0], Fate::Heard),
        ([0x5e, 4, 0, 0, 0, 0], Fate::Nothing),
        ([0x9e, 4, 0, 0, 0, 0], Fate::Nothing),
        // Longer than its header.
        ([1, 5, 0, 0, 0, 0], Fate::Nothing),
    ] {
        for (medium, ip_at) in [(Medium::Ip, 0), (Medium::Ethernet, 14)] {
            let change = |frame: &mut Vec<u8>| put_hop_by_hop(frame, ip_at, options);
            answers(medium, true, change, fate);
        }
    }
}

/// K18: other extension headers smoltcp does not take before TCP, and we do not.
#[test]
fn k18_other_extension_headers_are_nothing() {
    for next_header in [60, 43, 44] {
        let change = |frame: &mut Vec<u8>| {
            put_hop_by_hop(frame, 0, [1, 4, 0, 0, 0, 0]);
            frame[6] = next_header;
        };
        let mut t = Alone::connected(Medium::Ip, true);
        t.at(5_000);
        let before = t.host.last_heard();
        let segment = t.segment.clone();
        t.show(&segment, change);
        assert_eq!(t.host.last_heard(), before, "next header {next_header}");
    }
}

/// K18, F3: a promiscuous device hands over frames to other stations, which smoltcp drops. They are
/// nothing; frames to all, or to a group, are taken.
#[test]
fn k18_frames_to_another_station_are_nothing() {
    for ipv6 in [false, true] {
        for (to, fate) in [
            ([2, 0, 0, 0, 0, 9], Fate::Nothing),
            ([0xff; 6], Fate::Heard),
            ([1, 0, 0x5e, 0, 0, 1], Fate::Heard),
        ] {
            let change = |frame: &mut Vec<u8>| frame[..6].copy_from_slice(&to);
            answers(Medium::Ethernet, ipv6, change, fate);
        }
    }
}

/// K18, F3: a RST to another station is not the reason of an abort in the same poll, and does not
/// pass for the end of the connection.
#[test]
fn k18_a_reset_to_another_station_is_not_the_reason() {
    for aborts in [true, false] {
        let mut t = Alone::connected(Medium::Ethernet, false);
        t.at(5_000);
        let reset = Segment {
            rst: true,
            ..t.segment.clone()
        };
        if aborts {
            t.host.tcp(0).abort();
        }
        t.show(&reset, |frame| {
            frame[..6].copy_from_slice(&[2, 0, 0, 0, 0, 9]);
        });
        t.at(100_000);
        let reason = t.host.close_reason();
        if aborts {
            assert_eq!(reason, Some(CloseReason::LocalAbort));
        } else {
            assert!(matches!(reason, Some(CloseReason::KeepAlive(_))));
        }
    }
}

/// K18, F4: a datagram whose IPv4 header has a wrong checksum smoltcp drops. It is nothing; and
/// where the device verifies that checksum, it is heard.
#[test]
fn k18_a_wrong_ipv4_header_checksum_is_nothing() {
    for (at, by) in [(8, 3), (10, 0x80), (1, 4)] {
        let what = format!("octet {at}");
        for (setup, ip_at) in [(Setup::default(), 0), (Setup::default().ethernet(), 14)] {
            let change = |frame: &mut Vec<u8>| frame[ip_at + at] ^= by;
            arrives(&setup, &what, change, Fate::Nothing);
            let mut verified = ChecksumCapabilities::default();
            verified.ipv4 = Checksum::Tx;
            arrives(&setup.checksums(verified), &what, change, Fate::Heard);
        }
    }
}

/// K18, F4: a damaged header once a second keeps no dead peer.
#[test]
fn k18_wrong_ipv4_header_checksums_delay_no_verdict() {
    for (at, by) in [(8, 3), (10, 0x80), (1, 4)] {
        let mut t = established(config(10, 2, 3));
        t.silence_peer();
        let segment = t.peer_segment();
        let mut frame = t.script().frame(&segment);
        frame[at] ^= by;
        for second in 1..16 {
            t.at(second);
            t.inject(frame.clone());
        }
        t.skip();
        assert_eq!(t.at(16).timed_out().unanswered, 3);
    }
}

/// Makes the checksum of an IPv4 header right again.
fn mend_ipv4(frame: &mut [u8]) {
    Ipv4Packet::new_unchecked(frame).fill_checksum();
}

/// K18: a fragment is nothing, though it has all of a segment in it. That it must not be fragmented
/// makes a datagram none.
#[test]
fn k18_fragments_are_nothing() {
    for (flags, fate) in [
        ([0x20, 0], Fate::Nothing),
        ([0, 1], Fate::Nothing),
        ([0x1f, 0xff], Fate::Nothing),
        ([0x40, 0], Fate::Heard),
        ([0, 0], Fate::Heard),
    ] {
        let change = |frame: &mut Vec<u8>| {
            frame[6..8].copy_from_slice(&flags);
            mend_ipv4(frame);
        };
        arrives(&Setup::default(), &format!("{flags:02x?}"), change, fate);
    }
}

/// K18: a frame with a VLAN tag smoltcp does not take, and we do not.
#[test]
fn k18_frames_with_a_vlan_tag_are_nothing() {
    for setup in [
        Setup::default().ethernet(),
        Setup::default().ethernet().ipv6(),
    ] {
        let change = |frame: &mut Vec<u8>| {
            frame.splice(12..12, [0x81, 0, 0, 5]);
        };
        arrives(&setup, "tagged", change, Fate::Nothing);
    }
}

/// K18: options of an IPv4 header are skipped, as many as there are room for.
#[test]
fn k18_ipv4_options_are_skipped() {
    for words in [1_u8, 10] {
        let change = |frame: &mut Vec<u8>| {
            frame[0] += words;
            frame[3] += 4 * words;
            frame.splice(20..20, vec![1; usize::from(4 * words)]);
            mend_ipv4(frame);
        };
        arrives(&Setup::default(), "options", change, Fate::Heard);
    }
}

/// K18: zero is a checksum like any other: TCP has none that says "there is no checksum".
#[test]
fn k18_a_checksum_of_zero_is_verified() {
    for setup in [Setup::default(), Setup::default().ipv6()] {
        let tcp_at = if setup.ipv6 { 40 } else { 20 };
        let change = |frame: &mut Vec<u8>| frame[tcp_at + 16..tcp_at + 18].fill(0);
        arrives(&setup, "no checksum", change, Fate::Nothing);

        // Data that brings it to zero: the checksum that there would be without it.
        let mut t = setup.established(config(10, 2, 3));
        t.silence_peer();
        t.at(5).nothing();
        let mut segment = t.peer_segment();
        segment.payload = vec![0, 0];
        let frame = t.script().frame(&segment);
        segment.payload = frame[tcp_at + 16..tcp_at + 18].to_vec();
        let frame = t.script().frame(&segment);
        assert_eq!(frame[tcp_at + 16..tcp_at + 18], [0, 0]);
        t.inject(frame);
        t.at(6);
        assert_eq!(t.last_heard(), Some(s(5) + ms(10)));
        assert_eq!(t.socket().recv_queue(), 2);
    }
}

/// A bulk transfer from the peer, in large segments, keeps the connection quiet and alive.
#[test]
fn bulk_transfer_is_heard_throughout() {
    let setup = Setup::default().smoltcp_peer().buffers(4096, 1024);
    let mut t = setup.established(config(10, 2, 3));
    t.application().drains = true;
    for tenth in 1..1000 {
        let socket = t.peer_socket(0);
        if socket.can_send() {
            let _ = socket.send_slice(&[b'b'; 4096]);
        }
        t.at(ms(tenth * 100));
        let heard = t.last_heard().unwrap();
        assert!(
            heard + ms(200) > t.time(),
            "last heard {heard:?} at {:?}",
            t.time()
        );
    }
    t.alive();
    assert_eq!(t.stats().probes_sent, 0);
}

fn checksums(checksum: Checksum) -> ChecksumCapabilities {
    let mut capabilities = ChecksumCapabilities::default();
    capabilities.tcp = checksum;
    if matches!(checksum, Checksum::None | Checksum::Rx) {
        capabilities.ipv4 = checksum;
    }
    capabilities
}

/// What arrives instead of what the peer would send.
#[derive(Clone, Debug)]
enum Garbage {
    /// Octets that mean nothing.
    Octets(Vec<u8>),
    /// A good segment without its end.
    Truncated { payload: usize, keep: usize },
    /// A good segment with one octet of its TCP part wrong.
    Mutated { payload: usize, at: usize, by: u8 },
    /// A segment in good order with numbers that were guessed.
    Guessed {
        seq: u32,
        ack: u32,
        flags: u8,
        payload: usize,
    },
}

fn garbage() -> impl Strategy<Value = Garbage> {
    let payload = prop_oneof![Just(0_usize), 1..200_usize];
    // K18: 128 octets are verified; up to 32 of them are the header.
    let verified = prop_oneof![Just(0_usize), 1..=96_usize];
    prop_oneof![
        vec(any::<u8>(), 0..200).prop_map(Garbage::Octets),
        (payload.clone(), any::<usize>())
            .prop_map(|(payload, keep)| Garbage::Truncated { payload, keep }),
        (verified, any::<usize>(), 1..=u8::MAX).prop_map(|(payload, at, by)| Garbage::Mutated {
            payload,
            at,
            by
        }),
        // Within a megabyte of the right numbers a guess might hit.
        (
            1_u32 << 20..u32::MAX - (1 << 20),
            any::<u32>(),
            any::<u8>(),
            payload
        )
            .prop_map(|(seq, ack, flags, payload)| Garbage::Guessed {
                seq,
                ack,
                flags,
                payload
            }),
    ]
}

fn feed(t: &mut Scenario, garbage: Garbage) {
    let mut segment = t.peer_segment();
    let tcp_at = t.script().frame(&segment).len() - if t.setup.timestamps { 32 } else { 20 };
    let frame = match garbage {
        Garbage::Octets(octets) => octets,
        Garbage::Truncated { payload, keep } => {
            segment.payload = vec![b'g'; payload];
            let mut frame = t.script().frame(&segment);
            frame.truncate(keep % frame.len());
            frame
        }
        Garbage::Mutated { payload, at, by } => {
            segment.payload = vec![b'g'; payload];
            let mut frame = t.script().frame(&segment);
            let at = tcp_at + at % (frame.len() - tcp_at);
            frame[at] ^= by;
            frame
        }
        Garbage::Guessed {
            seq,
            ack,
            flags,
            payload,
        } => {
            segment.seq = segment.seq.wrapping_add(seq);
            segment.ack = (flags & 8 == 0).then_some(ack);
            segment.syn = flags & 1 != 0;
            segment.fin = flags & 6 == 2;
            segment.rst = flags & 6 == 4;
            segment.payload = vec![b'g'; payload];
            t.script().frame(&segment)
        }
    };
    t.inject(frame);
}

fn garbage_setup(bits: u8) -> Setup {
    Setup {
        medium: [Medium::Ip, Medium::Ethernet][usize::from(bits & 1)],
        ipv6: bits & 2 != 0,
        timestamps: bits & 4 != 0,
        ..Setup::default()
    }
}

proptest! {
    #![proptest_config(settled())]

    /// Whatever arrives that is not the peer's, a dead peer is given up on time, and nothing
    /// panics.
    #[test]
    fn garbage_does_not_delay_a_verdict(
        bits in 0..8_u8,
        garbage in vec((0..15_990_i64, garbage()), 0..60),
    ) {
        let mut t = garbage_setup(bits).established(config(10, 2, 3));
        t.silence_peer();
        feed_all(&mut t, garbage);
        t.at(16);
        let verdict = t.given_up(Cause::KeepAlive);
        assert_eq!((verdict.unanswered, verdict.silent_for), (3, Duration::from_secs(16)));
    }

    /// Whatever arrives besides what is the peer's, a live peer is not given up.
    #[test]
    fn garbage_does_not_kill_a_live_connection(
        bits in 0..8_u8,
        garbage in vec((0..60_000_i64, garbage()), 0..60),
    ) {
        let mut t = garbage_setup(bits).established(config(10, 2, 3));
        feed_all(&mut t, garbage);
        t.at(61).is(Tcp::Established);
        assert_eq!(t.events(), []);
        assert!(t.stats().probes_answered >= 5);
    }

    /// A connection that is only being opened, or closed, takes garbage as well.
    #[test]
    fn garbage_before_and_after_is_no_trouble(
        bits in 0..8_u8,
        garbage in vec((0..3_000_i64, garbage()), 0..60),
    ) {
        let mut t = garbage_setup(bits).established(config(1, 1, 2));
        t.peer_closes();
        t.at(ms(20));
        t.socket().close();
        feed_all(&mut t, garbage);
        t.at(20).is(Tcp::Closed);
    }
}

fn feed_all(t: &mut Scenario, mut garbage: Vec<(i64, Garbage)>) {
    garbage.sort_by_key(|(at, _)| *at);
    let start = t.time();
    for (at, garbage) in garbage {
        let at: Time = start.max(ms(at));
        t.until(at.max(t.time()));
        feed(t, garbage);
    }
}
