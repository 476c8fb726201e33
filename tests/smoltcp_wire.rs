//! What a probe looks like on the wire, and what is made of what arrives there.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a helper of a test may fail as a test does"
)]

mod scenario;
mod settled;

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use scenario::setup::Opens;
use scenario::{End, Scenario, Sent, Setup, Time, config, ms, s};
use settled::settled;
use smoltcp::phy::{Checksum, ChecksumCapabilities, Medium};
use smoltcp::socket::tcp::State as Tcp;
use tcp_keepalive::sim::timestamp_clock;
use tcp_keepalive::sim::wire::Segment;
use tcp_keepalive::{Cause, ProbePayload};

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
        t.at(heard + s(12)).probe(2);
        t.at(heard + s(14)).probe(3);
        t.at(heard + s(16)).timed_out();
        t.at(heard + s(100)).nothing();
    }
}

/// Where the neighbour's address has been forgotten in the meantime, it is asked for; the probe
/// follows the answer.
#[test]
fn k12_probe_waits_for_the_neighbour() {
    for setup in every_setup()
        .into_iter()
        .filter(|setup| setup.medium == Medium::Ethernet)
    {
        let mut t = setup.established(config(100, 2, 3));
        t.until(100);
        t.skip();
        t.at(100).neighbor_query();
        t.at(s(100) + ms(20)).probe(1);
        t.at(101).alive();
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
        assert_eq!(*frame.bytes, expected.emit(t.macs()));
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
/// is.
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
            assert_eq!(probe.window, 50_000);
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
        t.at(10).probe(1).at(12).probe(2).at(14).probe(3);
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
    /// A good segment, of which the end is missing.
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
    prop_oneof![
        vec(any::<u8>(), 0..200).prop_map(Garbage::Octets),
        (payload.clone(), any::<usize>())
            .prop_map(|(payload, keep)| Garbage::Truncated { payload, keep }),
        (payload.clone(), any::<usize>(), 1..=u8::MAX)
            .prop_map(|(payload, at, by)| Garbage::Mutated { payload, at, by }),
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
