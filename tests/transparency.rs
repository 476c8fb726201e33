//! With keep-alive smoltcp sends what it sends without. Besides that there are probes, the RST of a
//! verdict, answers to SYNs on open connections (K19), and questions for a neighbour whose probe went
//! unanswered or who is said to have moved (K17). Nothing else that can be seen of its sockets differs.
//!
//! The number of random cases is `PROPTEST_CASES`; a case that fails is printed as the steps it
//! consists of.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a helper of a test may fail as a test does"
)]

mod recorded;
mod settled;
mod twins;

use proptest::collection::vec;
use proptest::option;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use recorded::{Direction, Recording, Scene, assert_is_eventful, assert_transparent};
use settled::settled;
use smoltcp::phy::Medium;
use smoltcp::socket::tcp;
use smoltcp::time::Duration;
use smoltcp::wire::EthernetAddress;
use tcp_keepalive::{Config, State};
use tcp_keepalive_sim::wire::{Macs, Segment, neighbor_reply};
use twins::{Near, Setup, Step, Twins, station};

/// Nothing falls due.
fn patient() -> Config {
    config(7 * 24 * 3600, 10, 3)
}

/// Probes leave all the time without an answer, and the verdict is minutes away.
fn restless() -> Config {
    config(2, 1, 255)
}

fn config(idle: u64, interval: u64, count: u8) -> Config {
    let secs = std::time::Duration::from_secs;
    Config::new(secs(idle), secs(interval), count).unwrap()
}

fn near() -> impl Strategy<Value = Near> {
    let close = || prop_oneof![4 => -2..3_i16, 1 => any::<i16>()];
    let numbers = (close(), close(), any::<u8>());
    let rest = (
        prop_oneof![Just(0), any::<u16>()],
        option::of(any::<(u32, u32)>()),
        prop_oneof![Just(0), 0..200_u16, any::<u16>()],
        option::weighted(0.2, any::<(u16, u8)>()),
    );
    (numbers, rest).prop_map(
        |((seq, ack, flags), (window, timestamps, len, damage))| Near {
            seq,
            ack,
            flags,
            window,
            timestamps,
            len,
            damage,
        },
    )
}

/// What does not end or open connections.
fn peaceful_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => (0..2_u8, 0..3000_u16).prop_map(|(index, len)| Step::Write { index, len }),
        2 => (0..2_u8, 0..3000_u16).prop_map(|(index, len)| Step::PeerWrite { index, len }),
        1 => any::<bool>().prop_map(Step::Read),
        1 => any::<u16>().prop_map(Step::Datagram),
        1 => Just(Step::Chatter),
        1 => any::<u8>().prop_map(Step::Lose),
        2 => (0..4000_u16).prop_map(Step::Wait),
    ]
}

fn hostile_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        2 => vec(any::<u8>(), 0..120).prop_map(Step::Frame),
        6 => near().prop_map(Step::Segment),
        4 => (0..8_u8, any::<u16>(), any::<u8>(), prop_oneof![Just(0), any::<u16>()])
            .prop_map(|(back, at, xor, cut)| Step::Again { back, at, xor, cut }),
    ]
}

fn ending_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (0..2_u8).prop_map(Step::Close),
        (0..2_u8).prop_map(Step::PeerClose),
        (0..2_u8).prop_map(Step::Abort),
    ]
}

proptest! {
    #![proptest_config(settled())]

    /// Whatever arrives and whatever the application does, as long as nothing is due not one octet
    /// is different.
    #[test]
    fn nothing_differs_while_nothing_is_due(
        bits in 0..32_u8,
        seed in any::<u64>(),
        steps in vec(prop_oneof![
            3 => peaceful_step(),
            4 => hostile_step(),
            1 => any::<bool>().prop_map(Step::Enable),
            1 => ending_step(),
            1 => (0..2_u8).prop_map(Step::Open),
        ], 0..40),
    ) {
        let mut twins = Twins::connected(Setup::of(bits), patient(), seed);
        for step in &steps {
            twins.perform(step);
        }
        assert_eq!(twins.comparison.extra.len(), 0);
        assert_eq!(twins.comparison.missing, 0);
        assert!(twins.comparison.compared > 0);
    }

    /// Whatever arrives while probes leave all the time, the probes are all that is different.
    #[test]
    fn only_probes_differ_while_probing(
        bits in 0..16_u8,
        seed in any::<u64>(),
        steps in vec(prop_oneof![
            5 => peaceful_step(),
            4 => hostile_step(),
            1 => ending_step(),
        ], 0..40),
    ) {
        // Without an Ethernet, on which what arrives may tell lies about neighbours.
        let mut twins = Twins::connected(Setup::of(bits << 1), restless(), seed);
        assert!(!twins.comparison.extra.is_empty());
        for step in &steps {
            twins.perform(step);
        }
        assert_eq!(twins.comparison.missing, 0);
        assert!(twins.comparison.compared > 0);
    }

    /// The same if keep-alive is switched off and on, and the stack is asked for the numbers. (Its
    /// answer counts among those that it limits to one a second, and as an acknowledgement: see
    /// [`held_back_acknowledgement_is_brought_forward_not_lost`].)
    #[test]
    fn only_probes_differ_while_numbers_are_asked_for(
        bits in 0..16_u8,
        seed in any::<u64>(),
        steps in vec(prop_oneof![
            4 => peaceful_step(),
            2 => any::<bool>().prop_map(Step::Enable),
        ], 0..40),
    ) {
        let setup = Setup { delays_acks: false, ..Setup::of(bits << 1) };
        let mut twins = Twins::connected(setup, restless(), seed);
        for step in &steps {
            twins.perform(step);
        }
        assert!(twins.comparison.compared > 0);
    }
}

/// Moves so many octets in both directions at the same time.
fn transfer(twins: &mut Twins, octets: usize) {
    let mut left = [octets; 2];
    for _ in 0..100_000 {
        let room = twins.plain.room(0).min(left[0]);
        twins.both(|twin| twin.write(0, room));
        left[0] -= room;
        let room = twins.peer.room(0).min(left[1]);
        twins.peer.write(0, room);
        left[1] -= room;
        twins.settle();
        twins.wait(Duration::from_millis(10));
        if left == [0, 0] && twins.plain.tcp(0).send_queue() == 0 {
            return;
        }
    }
    panic!("the transfer does not end: {left:?} are left");
}

/// Bulk transfers in both directions over a link that loses frames: between them, and while they
/// stall, probes leave, and nothing else differs.
#[test]
fn bulk_transfers_with_loss_are_the_same() {
    for bits in 0..16 {
        for loss in [0, 5, 20] {
            let setup = Setup::of(bits);
            let mut twins = Twins::connected(setup, restless(), u64::from(bits) + 1);
            twins.loss = loss;
            transfer(&mut twins, 30_000);
            assert_eq!(twins.octets_lost > 0, loss > 0, "{setup:?}");
            twins.loss = 0;
            twins.wait(Duration::from_secs(10));
            let probes = twins.comparison.extra.len();
            transfer(&mut twins, 3000);
            twins.wait(Duration::from_secs(10));
            assert!(
                probes > 0 && twins.comparison.extra.len() > probes,
                "{setup:?}"
            );
            assert_eq!(twins.plain.tcp(0).state(), tcp::State::Established);
            assert_eq!(twins.comparison.missing, 0, "{setup:?}");
        }
    }
}

/// Sockets of every kind that smoltcp has send and receive the same, while a connection beside
/// them is probed.
#[test]
fn every_kind_of_socket_is_the_same() {
    for bits in 0..16 {
        let setup = Setup::of(bits);
        let mut twins = Twins::connected(setup, restless(), 7);
        for len in [10, 2900, 1400] {
            twins.perform(&Step::Datagram(len));
            twins.perform(&Step::Chatter);
            twins.perform(&Step::Write { index: 1, len });
            twins.perform(&Step::PeerWrite { index: 1, len });
            twins.perform(&Step::Wait(5000));
        }
        let [_, tcp, udp, icmp, raw, _, _] = &twins.plain.received;
        let all = [tcp, udp, icmp, raw];
        assert!(all.iter().all(|it| it.octets > 0), "{setup:?}");
        let peer = &twins.peer.received;
        assert!(peer[1].octets > 0 && peer[4].octets > 0, "{setup:?}");
        assert!(twins.comparison.extra.len() > 10, "{setup:?}");
        // DNS, and DHCP where there is any, are known from what they ask.
        let questions = twins.sent_to(53).len();
        assert!(questions > 0, "{setup:?}");
        let has_dhcp = setup.medium == Medium::Ethernet && !setup.ipv6;
        assert_eq!(!twins.sent_to(67).is_empty(), has_dhcp, "{setup:?}");
    }
}

/// Initial sequence numbers, and all else that smoltcp draws, are the same after any number of
/// probes: they are drawn from one generator, and keep-alive draws nothing.
#[test]
fn what_is_drawn_is_the_same_after_probes() {
    let mut twins = Twins::connected(Setup::of(0), restless(), 3);
    twins.perform(&Step::Wait(20_000));
    assert!(twins.comparison.extra.len() > 10);
    twins.perform(&Step::Abort(1));
    twins.perform(&Step::Wait(100));
    twins.perform(&Step::Open(1));
    let before = twins.comparison.compared;
    twins.perform(&Step::Chatter);
    twins.perform(&Step::Wait(1000));
    assert!(twins.comparison.compared > before);
    assert_eq!(twins.kept.tcp(1).state(), tcp::State::Established);
}

/// What each has sent by the first probe, while smoltcp holds back an acknowledgement of 100
/// octets, and the numbers before those.
fn probed_while_holding_back(twins: &mut Twins) -> ((u32, u32), [Vec<Segment>; 2]) {
    let delay = Duration::from_secs(15);
    twins.both(|twin| twin.tcp(0).set_ack_delay(Some(delay)));
    let before = twins.comparison.numbers.unwrap();
    twins.peer.write(0, 100);
    twins.settle();
    twins.sent.clear();
    // What the peer would send again, and so have acknowledged at once, does not arrive.
    twins.loss = 100;
    twins.compares = false;
    twins.wait(Duration::from_millis(9_900));
    let neither: [Vec<Segment>; 2] = Default::default();
    assert_eq!(twins.take_segments(), neither);
    twins.wait(Duration::from_millis(200));
    (before, twins.take_segments())
}

/// An acknowledgement that smoltcp holds back stays held back: a probe acknowledges what was
/// acknowledged last.
#[test]
fn held_back_acknowledgement_stays_held_back() {
    let mut twins = Twins::connected(Setup::of(0), config(10, 5, 255), 3);
    let (before, [plain, kept]) = probed_while_holding_back(&mut twins);
    assert!(plain.is_empty());
    let [probe] = &kept[..] else {
        panic!("not a probe: {kept:?}");
    };
    assert_eq!(
        (probe.seq, probe.ack),
        (before.0.wrapping_sub(1), Some(before.1))
    );
    // Both send it when the delay is over.
    twins.wait(Duration::from_secs(6));
    let [plain, kept] = twins.take_segments();
    let [ack] = &plain[..] else {
        panic!("not an acknowledgement: {plain:?}");
    };
    assert_eq!(
        (ack.seq, ack.ack),
        (before.0, Some(before.1.wrapping_add(100)))
    );
    let acks: Vec<_> = kept.iter().filter(|it| it.seq != probe.seq).collect();
    assert_eq!(acks, [ack]);
}

/// The first probe of a round asks for no neighbour, though smoltcp has forgotten it: it goes where the
/// last segment went. Each one after it asks once (K17). Nothing else differs.
#[test]
fn only_unanswered_probes_ask_for_a_neighbour() {
    for bits in [0b1_0001, 0b1_0011] {
        // No datagrams, so nothing keeps the neighbour known.
        let mut twins = Twins::connected(Setup::of(bits), config(90, 30, 255), 3);
        let asked = |twins: &Twins| (twins.comparison.extra.len(), twins.comparison.queries);
        twins.perform(&Step::Wait(60_000));
        assert_eq!(asked(&twins), (0, 0));
        twins.perform(&Step::Wait(40_000));
        assert_eq!(asked(&twins), (1, 0));
        twins.perform(&Step::Wait(30_000));
        assert_eq!(asked(&twins), (2, 1));
        twins.perform(&Step::Wait(30_000));
        assert_eq!(asked(&twins), (3, 2));
    }
}

/// An announcement that contradicts what is known is a reason to ask; one that does not is none (K17).
/// smoltcp sends nothing more, and nothing else.
#[test]
fn only_a_contradicting_announcement_asks_for_a_neighbour() {
    for last in [2, 9] {
        let setup = Setup::of(0b1_0001);
        let mut twins = Twins::connected(setup, patient(), 3);
        let address = setup.address(2);
        let macs = Macs {
            src: station::mac(last),
            dst: EthernetAddress::BROADCAST,
        };
        twins.show(neighbor_reply(address, address, macs));
        twins.perform(&Step::Wait(100));
        assert_eq!(twins.comparison.queries, u32::from(last == 9));
        assert_eq!(twins.comparison.extra.len(), 0);
    }
}

/// A SYN on an open connection is answered, which smoltcp alone does not do (K19), and nothing else
/// differs.
#[test]
fn a_stranger_adds_one_answer() {
    for bits in 0..16 {
        let mut twins = Twins::connected(Setup::of(bits), patient(), 3);
        let syn = Step::Segment(Near {
            flags: 0x11,
            seq: 1000,
            ..Near::default()
        });
        for answers in [1, 1, 2] {
            twins.perform(&syn);
            assert_eq!(twins.comparison.answers, answers);
            twins.perform(&Step::Wait(600));
        }
        twins.perform(&Step::Write { index: 0, len: 100 });
        twins.perform(&Step::Wait(1000));
        assert_eq!(twins.comparison.extra.len(), 0);
    }
}

/// A verdict adds its RST. What the other sockets do afterwards is as if nothing had happened.
#[test]
fn verdict_adds_a_reset_and_disturbs_no_other_socket() {
    for bits in 0..16 {
        let setup = Setup::of(bits);
        let mut twins = Twins::connected(setup, config(10, 2, 3), 5);
        twins.comparison.allows_reset = true;
        twins.perform(&Step::Wait(20_000));
        assert_eq!(
            twins.kept.keep_alive_state(),
            Some(State::TimedOut),
            "{setup:?}"
        );
        let [probes @ .., reset] = &twins.comparison.extra[..] else {
            panic!("nothing was sent");
        };
        assert!(reset.rst && probes.len() == 3, "{setup:?}");
        assert_eq!(twins.kept.tcp(0).state(), tcp::State::Closed);
        for len in [10, 2900] {
            twins.perform(&Step::Datagram(len));
            twins.perform(&Step::Chatter);
            twins.perform(&Step::Write { index: 1, len });
            twins.perform(&Step::PeerWrite { index: 1, len });
            twins.perform(&Step::Wait(5000));
        }
        assert_eq!(twins.plain.received[1..], twins.kept.received[1..]);
        assert_eq!(twins.comparison.extra.len(), 4, "{setup:?}");
        assert_eq!(twins.comparison.missing, 0, "{setup:?}");
    }
}

/// The comparison notices one octet that only one of them writes.
#[test]
#[should_panic(expected = "len 1) at 1003.000s, not None")]
fn one_octet_more_is_noticed() {
    let mut twins = Twins::connected(Setup::of(0), patient(), 3);
    twins.kept.write(1, 1);
    twins.settle();
}

/// It notices a frame that only one of them is shown, though that is not answered.
#[test]
#[should_panic(expected = "left == right")]
fn one_frame_more_is_noticed() {
    let mut twins = Twins::connected(Setup::of(0), patient(), 3);
    twins.peer.write(1, 5);
    twins.both(|twin| twin.tcp(1).set_ack_delay(Some(Duration::from_secs(10))));
    twins.peer.poll(twins.now);
    let frame = twins.peer.wire.outbound[0].clone();
    twins.kept.wire.inbound.push_back(frame);
    twins.settle();
}

/// What a Linux kernel once said to smoltcp, said to it again, has it send the octets that it sent
/// then, at the same times; with keep-alive those and probes.
#[test]
fn recorded_traffic_is_the_same() {
    for scene in Scene::all() {
        let recording = Recording::load(scene.name);
        assert_is_eventful(&scene, &recording);
        assert_transparent(&scene, &recording);
    }
}

/// The replay notices one octet that smoltcp has not sent.
#[test]
#[should_panic(expected = "not what was recorded")]
fn one_recorded_octet_changed_is_noticed() {
    let scene = Scene::all().into_iter().next().unwrap();
    let mut recording = Recording::load(scene.name);
    let mut sent = recording.frames.iter_mut();
    let last = sent
        .rfind(|frame| frame.direction == Direction::Outbound)
        .unwrap();
    *last.octets.last_mut().unwrap() ^= 1;
    assert_transparent(&scene, &recording);
}
