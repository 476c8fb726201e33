//! Devices without room, neighbours without an address, hosts that oversleep, and whatever else
//! there is at this end that must not be held against the peer.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a helper of a test may fail as a test does"
)]

mod scenario;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Wake, Waker};
use std::time::Duration;

use scenario::{End, Setup, config, established, ms, s, us, with_user_timeout};
use smoltcp::iface::{Config as InterfaceConfig, Interface, PollResult, SocketSet};
use smoltcp::phy::{Loopback, Medium};
use smoltcp::socket::tcp;
use smoltcp::socket::tcp::State as Tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};
use tcp_keepalive::sim::wire::Kind;
use tcp_keepalive::smoltcp::KeepAliveSet;
use tcp_keepalive::{Cause, Config, Event, State};

// The device.

/// K4: a probe that finds no room leaves when there is some, and its interval counts from then.
#[test]
fn probe_leaves_when_the_device_has_room() {
    let mut t = established(config(10, 2, 3));
    t.silence_peer();
    t.at(5).nothing();
    t.block_device();
    t.at(s(11) + ms(100)).nothing();
    t.unblock_device();
    t.probe(1);
    let left = s(11) + ms(100);
    t.until(left + s(2)).nothing();
    t.at(left + s(2)).probe(2).at(left + s(4)).probe(3);
    let verdict = t.at(left + s(6)).timed_out();
    assert_eq!((verdict.unanswered, verdict.unsent), (3, 0));
}

/// K4: a probe that finds no room is offered again within 500 ms, also if nobody says when there
/// is some.
#[test]
fn probe_is_offered_again_within_half_a_second() {
    let mut t = established(config(10, 2, 3));
    t.at(5).nothing();
    t.block_device();
    t.at(s(11) + ms(100)).nothing();
    t.leave_room_for(1);
    t.at(s(11) + ms(500));
    assert_eq!(t.take_sent().len(), 1);
    assert_eq!(t.stats().probes_sent, 1);
}

/// K4, K5: attempts that left and attempts that could not are both counted, and told apart.
#[test]
fn verdict_tells_unsent_from_unanswered() {
    let mut t = established(config(10, 2, 3));
    t.silence_peer();
    t.at(10).probe(1).at(11).nothing();
    t.block_device();
    t.until(16).nothing();
    let verdict = t.at(16).given_up(Cause::KeepAlive);
    assert_eq!((verdict.unanswered, verdict.unsent), (1, 2));
    t.at(20).nothing();
    t.unblock_device();
    t.rst();
}

/// A device that receives though it cannot transmit: the peer is heard, and nobody given up.
#[test]
fn deaf_transmitter_hears() {
    let mut t = established(config(10, 2, 3));
    t.at(5).nothing();
    t.block_transmitter();
    for second in [7, 9, 11, 13, 15, 17, 19, 21] {
        t.at(second).nothing();
        t.peer_acks();
    }
    t.until(s(31) + ms(10)).nothing().alive();
    assert_eq!(t.stats().unsent_attempts, 0);
    t.at(s(31) + ms(10));
    assert_eq!(t.state(), Some(State::Probing { unanswered: 0 }));
}

/// With room for one frame, two connections' probes leave one after the other, as room comes.
#[test]
fn probes_share_a_narrow_device() {
    let mut t = Setup::default()
        .connections(2)
        .established(config(10, 2, 3));
    t.at(5).nothing();
    t.leave_room_for(1);
    t.at(10).probe_on(0, 1);
    assert_eq!(t.state_of(1), Some(State::Probing { unanswered: 0 }));
    t.until(s(10) + ms(400)).nothing();
    t.at(s(10) + ms(400));
    t.unblock_device();
    t.probe_on(1, 1);
    t.at(11).alive();
    assert_eq!(t.state_of(1), Some(State::Armed));
}

/// Four verdicts with room for two RSTs: the others leave when there is room again.
#[test]
fn rsts_of_verdicts_share_a_narrow_device() {
    let mut t = Setup::default()
        .connections(4)
        .established(config(10, 2, 2));
    t.silence_peer();
    t.at(13);
    t.skip();
    t.leave_room_for(2);
    t.at(14).rst().rst();
    assert_eq!(t.events().len(), 8);
    t.at(15).nothing_sent();
    t.unblock_device();
    t.rst().rst();
    t.at(100).nothing_sent();
    assert!(t.worst_idle_turns() <= 1);
}

/// K11: data that cannot leave for want of room runs into the user timeout.
#[test]
fn queued_data_on_a_blocked_device_runs_into_the_user_timeout() {
    let mut t = established(with_user_timeout(config(10, 2, 3), 20));
    t.at(5).nothing();
    t.block_device();
    t.write(10);
    t.until(25).nothing();
    let verdict = t.at(25).given_up(Cause::UserTimeout);
    assert_eq!((verdict.unanswered, verdict.unsent), (0, 0));
    assert!(t.worst_idle_turns() <= 1);
}

/// Data in flight when the device stops runs into the user timeout, counted from when it left.
#[test]
fn data_in_flight_on_a_blocked_device_runs_into_the_user_timeout() {
    let mut t = established(with_user_timeout(config(10, 2, 3), 20));
    t.silence_peer();
    t.at(5).nothing();
    t.write(10);
    t.at(5).data(10);
    t.block_device();
    t.until(25).nothing();
    t.at(25).given_up(Cause::UserTimeout);
}

/// Data for which the window opens while nothing can be transmitted runs into the user timeout, a
/// retransmission interval of smoltcp's later at the most, and once more for want of being asked.
#[test]
fn data_released_on_a_blocked_device_runs_into_the_user_timeout() {
    let mut t = established(with_user_timeout(config(10, 2, 3), 20));
    t.peer().window = 0;
    t.peer_acks();
    t.at(1).nothing();
    t.write(10);
    t.at(10);
    t.skip();
    t.block_transmitter();
    t.peer().window = 100;
    t.peer_acks();
    t.until(s(30) + ms(10)).nothing();
    t.at(111);
    let (at, event) = *t.events().last().unwrap();
    assert!(matches!(event, Event::TimedOut(verdict) if verdict.cause == Cause::UserTimeout));
    assert!(at <= s(110) + ms(10), "{at:?}");
}

/// A FIN that cannot leave runs into the user timeout.
#[test]
fn fin_on_a_blocked_device_runs_into_the_user_timeout() {
    let mut t = established(with_user_timeout(config(10, 2, 3), 20));
    t.at(5).nothing();
    t.block_device();
    t.socket().close();
    t.until(25).nothing();
    t.at(25).given_up(Cause::UserTimeout);
}

/// A clock that steps back while the device is stuck does not hold up what the stack has to send:
/// it goes out half a second after there is room, at the latest, as it would by that clock.
#[test]
fn clock_stepping_back_does_not_hold_up_the_stack() {
    let mut t = established(config(10_000, 2, 3));
    t.at(5).nothing();
    t.block_device();
    t.write(10);
    t.at(6).nothing();
    t.step_clock(s(-600));
    t.leave_room_for(10);
    t.at(s(6) + ms(600));
    assert_eq!(t.take_sent().len(), 1);
}

// The neighbour.

/// Data of one octet that is not all there is, written while the numbers wait for the neighbour's
/// address, is not taken for the segment that was asked for.
#[test]
fn data_written_while_learning_is_not_swallowed() {
    let mut t = Setup::default().ethernet().connected();
    t.peer().window = 1;
    t.peer_acks();
    t.at(100);
    t.script().is_neighbor = false;
    t.enable(config(10, 2, 3));
    t.at(s(110) + ms(500));
    t.write(10);
    t.script().is_neighbor = true;
    t.until(s(111) + ms(520));
    t.skip();
    t.at(s(111) + ms(520)).data(1);
    t.peer().window = 100;
    t.at(113);
    assert_eq!(t.peer().received, [b'w'; 10]);
}

/// The same for a window probe.
#[test]
fn window_probe_sent_while_learning_is_not_swallowed() {
    let mut t = Setup::default().ethernet().connected();
    t.peer().window = 0;
    t.peer_acks();
    t.at(100);
    t.script().is_neighbor = false;
    t.enable(config(10, 2, 3));
    t.at(s(110) + ms(500));
    t.write(10);
    t.at(113);
    t.skip();
    t.script().is_neighbor = true;
    t.at(120);
    let sent = t.take_sent();
    let probes = sent
        .iter()
        .filter(|sent| sent.tcp().is_some_and(|tcp| tcp.payload.len() == 1));
    let found: Vec<_> = probes.map(|sent| sent.at).collect();
    t.peer().window = 100;
    t.peer_acks();
    t.at(121);
    t.skip();
    t.silence_peer();
    let heard = t.last_heard().unwrap();
    t.at(heard + s(10)).probe(1);
    assert!(found[0] < s(114), "{found:?} {}", t.story());
}

/// K11: data that cannot leave because the neighbour is gone runs into the user timeout.
#[test]
fn queued_data_for_a_missing_neighbour_runs_into_the_user_timeout() {
    for setup in [
        Setup::default().ethernet(),
        Setup::default().ethernet().ipv6(),
    ] {
        let mut t = setup.established(with_user_timeout(config(1000, 2, 3), 20));
        t.at(100);
        t.skip();
        t.script().is_neighbor = false;
        t.write(10);
        t.until(120);
        assert!(
            t.take_sent()
                .iter()
                .all(|sent| sent.kind.is_neighbor_query())
        );
        t.at(120).given_up(Cause::UserTimeout);
    }
}

/// The RST of a verdict waits for the neighbour's address, without a spin.
#[test]
fn rst_waits_for_the_neighbour() {
    let mut t = Setup::default().ethernet().established(config(100, 2, 3));
    t.script().is_neighbor = false;
    t.at(106).given_up(Cause::KeepAlive);
    t.at(200);
    assert!(
        t.take_sent()
            .iter()
            .all(|sent| sent.kind.is_neighbor_query())
    );
    t.script().is_neighbor = true;
    t.at(210);
    let segments: Vec<_> = t
        .take_sent()
        .iter()
        .filter_map(|sent| sent.tcp().cloned())
        .collect();
    assert!(matches!(&segments[..], [rst] if rst.rst));
    assert!(t.worst_idle_turns() <= 1);
}

/// A lost answer to the question for the neighbour's address is no trouble either.
#[test]
fn lost_arp_reply_delays_the_probe() {
    for setup in [
        Setup::default().ethernet(),
        Setup::default().ethernet().ipv6(),
    ] {
        let mut t = setup.established(config(100, 3, 2));
        t.drop_next(|from, kind| from == End::Peer && *kind == Kind::NeighborReply);
        t.at(200).alive();
        assert_eq!((t.stats().unsent_attempts, t.stats().probes_sent), (0, 1));
    }
}

/// An interval counts from when its probe has left: each probe for which the neighbour has to be
/// asked delays the verdict by what the answer takes, and by no more.
#[test]
fn k5_questions_for_the_neighbour_delay_the_verdict_by_their_answers() {
    const ROUND_TRIP: Duration = Duration::from_millis(20);
    // smoltcp forgets a neighbour after 60 s.
    for (interval, asked) in [(75, 9), (10, 2)] {
        let mut t = Setup::default()
            .ethernet()
            .established(config(100, interval, 9));
        t.silence_peer();
        t.at(1000);
        let events = t.events();
        let Some((_, Event::TimedOut(verdict))) = events.last() else {
            panic!("no verdict: {}", t.story());
        };
        assert_eq!((verdict.unanswered, verdict.unsent), (9, 0));
        let in_time = Duration::from_secs(100 + 9 * interval);
        assert_eq!(verdict.silent_for, in_time + asked * ROUND_TRIP);
    }
}

/// K5: while one neighbour is missing, another connection's verdict is in time. (smoltcp limits
/// the rate of its questions for all neighbours together.)
#[test]
fn missing_neighbour_holds_up_nobody_elses_verdict() {
    let mut t = Setup::default().ethernet().connections(2).connected();
    t.enable_on(0, config(100, 4, 3));
    t.enable_on(1, config(101, 1, 2));
    t.script().is_neighbor = false;
    t.until(103);
    assert_ne!(t.state_of(1), Some(State::TimedOut));
    t.at(103);
    assert_eq!(t.state_of(1), Some(State::TimedOut));
    t.at(112).given_up_on_all(2);
}

// The link.

/// MUST-29: one lost probe, or one lost answer, decides nothing.
#[test]
fn one_lost_probe_or_answer_decides_nothing() {
    for lost in [End::Us, End::Peer] {
        let mut t = established(config(10, 2, 2));
        t.at(5).nothing();
        t.drop_next(move |from, _| from == lost);
        t.at(10).probe(1).at(12).probe(2);
        t.at(13).alive();
    }
}

/// A user timeout below the time between two window probes lets a single lost one decide, as
/// documented; two minutes do not, since the next one follows after one.
#[test]
fn lost_window_probe_decides_if_the_user_timeout_is_shorter_than_their_spacing() {
    for (user_timeout, survives) in [(4, false), (120, true)] {
        let mut t = established(with_user_timeout(config(10, 2, 3), user_timeout));
        t.peer().window = 0;
        t.peer_acks();
        t.at(1).nothing();
        t.write(10);
        t.at(100).is(Tcp::Established);
        t.drop_next(|from, _| from == End::Us);
        t.at(500);
        let is_alive = t.socket().state() == Tcp::Established;
        assert_eq!(is_alive, survives, "{}", t.story());
    }
}

/// With the window closed, a death is reported within the longer of the limit and a minute more
/// than a third of it, as `detect_within` says.
#[test]
fn death_behind_a_closed_window_is_reported_within_the_documented_bound() {
    for (limit, bound) in [(30, 60 + 10), (60, 60 + 20), (90, 90), (300, 300)] {
        for died_at in [5, 20, 62, 64, 100, 180, 184] {
            let limit = Duration::from_secs(limit);
            let mut t = established(Config::detect_within(limit).unwrap());
            t.peer().window = 0;
            t.peer_acks();
            t.at(1).nothing();
            t.write(10);
            t.at(died_at).is(Tcp::Established);
            t.silence_peer();
            let heard = t.last_heard().unwrap();
            t.at(died_at + 400);
            let (at, _) = *t.events().last().unwrap();
            assert!(
                at <= heard + s(bound),
                "heard at {heard:?}, reported at {at:?}"
            );
            assert_eq!(t.stats().verdicts, 1);
        }
    }
}

/// MUST-29: one lost segment of data decides nothing either, however short the limit.
#[test]
fn one_lost_data_segment_decides_nothing() {
    let mut t = established(Config::detect_within(Config::SHORTEST_LIMIT).unwrap());
    t.drop_next(|from, kind| {
        let Kind::Tcp(segment) = kind else {
            return false;
        };
        from == End::Us && segment.payload.len() == 10
    });
    t.at(ms(500));
    t.write(10);
    t.at(10).is(Tcp::Established);
    assert_eq!(t.stats().verdicts, 0);
}

/// A link that is cut in one direction is as dead as one that is cut in both.
#[test]
fn one_way_cuts_are_found() {
    for from_us in [true, false] {
        let mut t = established(config(10, 2, 3));
        t.at(1).nothing();
        if from_us {
            t.cut_from_us();
        } else {
            t.cut_from_peer();
        }
        t.at(10).probe(1).at(12).probe(2).at(14).probe(3);
        t.at(16).timed_out();
    }
}

/// A link that is repaired before the last probe costs nothing.
#[test]
fn repaired_in_time() {
    let mut t = established(config(10, 2, 3));
    t.cut();
    t.at(10).probe(1).at(12).probe(2).at(13).nothing();
    t.repair();
    t.at(14).probe(3).at(15).alive();
    let last = t.events().last().copied();
    assert_eq!(
        last,
        Some((s(14) + ms(20), Event::Recovered { unanswered: 3 }))
    );
}

/// A round trip longer than the interval is no death: the answer to the first probe arrives when
/// the second is out.
#[test]
fn slow_link_is_no_dead_link() {
    let mut t = Setup::default()
        .latency(ms(2500))
        .established(config(10, 2, 4));
    t.at(10_000).is(Tcp::Established);
    assert!(t.stats().probes_answered > 500);
    assert_eq!(t.stats().verdicts, 0);
}

/// smoltcp limits its answers to one per second: a peer of that kind, probed faster, lives.
#[test]
fn rate_limited_peer_lives() {
    let millis = Duration::from_millis;
    let config = Config::new(millis(300), millis(300), 5).unwrap();
    let mut t = Setup::default().smoltcp_peer().established(config);
    t.at(1000).is(Tcp::Established);
    assert_eq!(t.stats().verdicts, 0);
    let answered = t.stats().probes_answered;
    assert!(answered > 600, "{answered}");
}

// The host.

/// A host that polls late, each time, still sends all its probes before it decides, and never
/// decides early.
#[test]
fn slow_host_decides_no_sooner() {
    let mut t = established(config(10, 2, 3));
    t.slow_down(ms(1500));
    t.silence_peer();
    t.at(100).is(Tcp::Closed);
    let probes = t
        .trace()
        .iter()
        .filter(|sent| sent.from == End::Us && sent.at >= s(10))
        .count();
    assert_eq!(probes, 3 + 1);
    let (at, _) = *t.events().last().unwrap();
    assert!(at >= s(16), "{at:?}");
}

/// K9: a host that slept with data in flight lets smoltcp send it once more before it decides.
#[test]
fn sleeper_with_data_in_flight_sends_it_again_first() {
    let mut t = established(with_user_timeout(config(10, 2, 3), 20));
    t.at(5).nothing();
    t.cut();
    t.write(5);
    t.at(5).data(5);
    t.sleep_until(100);
    t.repair();
    t.at(101).alive();
    assert_eq!(t.peer().received.len(), 5);
}

/// K9: and if that is not answered either, the user timeout counts from it.
#[test]
fn sleeper_with_data_in_flight_decides_after_that() {
    let mut t = established(with_user_timeout(config(10, 2, 3), 20));
    t.at(5).nothing();
    t.silence_peer();
    t.write(5);
    t.at(5).data(5);
    t.sleep_until(100);
    t.at(100).data(5);
    t.until(120);
    t.skip();
    t.at(120).timed_out_by_user_timeout();
}

/// K9: nor do the options after those, before anybody was asked.
#[test]
fn sleeper_with_new_options_twice_asks_before_it_judges() {
    let mut t = established(config(10, 2, 3));
    t.cut();
    t.at(10).probe(1).at(12).probe(2).at(14).probe(3);
    t.at(15).nothing();
    t.sleep_until(81);
    t.repair();
    t.enable(config(10, 200, 3));
    t.at(82).nothing();
    t.enable(config(10, 2, 3));
    t.now().probe(4);
    t.at(83).alive();
}

/// K9: options that are set on waking, before the first poll, make no verdict of what was missed.
#[test]
fn sleeper_with_new_options_asks_before_it_judges() {
    for interval in [1, 3] {
        let mut t = established(config(10, 2, 3));
        t.cut();
        t.at(10).probe(1).at(12).probe(2).at(14).probe(3);
        t.at(15).nothing();
        t.sleep_until(81);
        t.repair();
        t.enable(config(10, interval, 3));
        t.at(81).probe(4);
        t.at(82).alive();
    }
}

/// K8: two changes between two polls miss no more than one.
#[test]
fn new_options_twice_between_polls_miss_nothing() {
    let mut t = established(config(10, 20, 2));
    t.silence_peer();
    t.at(10).probe(1).at(30).probe(2).at(35).nothing();
    t.enable(config(10, 1, 2));
    t.enable(config(10, 2, 2));
    t.at(35).timed_out();
}

/// K8: without a gap they act at once.
#[test]
fn new_options_that_shorten_the_interval_decide_at_once() {
    let mut t = established(config(10, 20, 2));
    t.silence_peer();
    t.at(10).probe(1).at(30).probe(2).at(35).nothing();
    t.enable(config(10, 2, 2));
    t.at(35).timed_out();
}

/// Frames that came in while the host slept are heard when it wakes, before it decides.
#[test]
fn frames_received_during_sleep_count_on_waking() {
    let mut t = established(config(10, 2, 3));
    t.silence_peer();
    t.at(10)
        .probe(1)
        .at(12)
        .probe(2)
        .at(14)
        .probe(3)
        .at(15)
        .nothing();
    t.peer_says(3);
    t.sleep_until(17);
    t.at(17).alive();
    assert!(matches!(
        t.events().last(),
        Some((_, Event::Recovered { unanswered: 3 }))
    ));
}

/// What was sent and received past us does not spoil the numbers of the next probe.
#[test]
fn polls_past_us_do_not_spoil_the_numbers() {
    let mut t = established(config(10, 2, 3));
    t.at(1).nothing();
    t.host().bypasses_keep_alive = true;
    t.peer_says(100);
    t.write(50);
    t.at(2);
    t.skip();
    t.host().bypasses_keep_alive = false;
    t.until(10).nothing();
    t.at(10).probe(1);
    t.at(11).alive();
}

/// A connection opened past us is kept alive from the first poll on.
#[test]
fn connection_opened_past_us() {
    let mut t = Setup::default().closed();
    t.enable(config(10, 2, 3));
    t.host().bypasses_keep_alive = true;
    t.open();
    t.peer_says(7);
    t.at(3);
    t.skip();
    t.host().bypasses_keep_alive = false;
    t.wake();
    t.until(13).nothing();
    t.at(13).probe(1);
    t.at(14).alive();
}

// What others see of a verdict.

/// A reader that waits is woken by the verdict, and `poll` says that a socket's state changed.
#[test]
fn verdict_wakes_who_waits() {
    let mut t = established(config(10, 2, 2));
    t.silence_peer();
    let woken = [Arc::new(Woken::default()), Arc::new(Woken::default())];
    t.socket()
        .register_recv_waker(&Waker::from(Arc::clone(&woken[0])));
    t.socket()
        .register_send_waker(&Waker::from(Arc::clone(&woken[1])));
    t.until(14);
    assert!(woken.iter().all(|woken| !woken.0.load(Ordering::Relaxed)));
    t.skip();
    t.at(14).timed_out();
    assert!(woken.iter().all(|woken| woken.0.load(Ordering::Relaxed)));
    assert_eq!(t.host().last_result(), PollResult::SocketStateChanged);
    assert!(!t.socket().may_recv() && !t.socket().may_send());
}

#[derive(Default)]
struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// Eight connections, accepted at one port, are all kept alive, and all given up.
#[test]
fn eight_accepted_connections() {
    let mut t = Setup::default()
        .passive()
        .connections(8)
        .established(config(10, 2, 3));
    t.at(1000);
    for index in 0..8 {
        assert_eq!(t.state_of(index), Some(State::Armed));
    }
    assert!(t.stats().probes_answered > 90);
    t.silence_peer();
    t.at(1050).given_up_on_all(8);
}

// Extremes.

/// The shortest configuration there is: three microseconds of silence.
#[test]
fn shortest_configuration() {
    let micro = Duration::from_micros(1);
    let mut t = Setup::default().closed();
    t.open();
    t.enable(Config::new(micro, micro, 2).unwrap());
    t.at(us(1))
        .probe(1)
        .at(us(2))
        .probe(2)
        .at(us(3))
        .timed_out();
}

/// The defaults of Linux, to the microsecond.
#[test]
fn linux_defaults() {
    let mut t = established(Config::LINUX);
    t.silence_peer();
    t.until(7200).nothing();
    for probe in 1..=9 {
        t.at(7200 + 75 * (i32::from(probe) - 1)).probe(probe);
    }
    t.until(7875).nothing();
    t.at(7875).timed_out();
}

/// Two sockets of one host, connected to one another over its loopback device, keep each other
/// alive.
#[test]
fn loopback_connection_keeps_itself_alive() {
    let mut device = Loopback::new(Medium::Ip);
    let mut iface = Interface::new(
        InterfaceConfig::new(HardwareAddress::Ip),
        &mut device,
        Instant::ZERO,
    );
    let own = IpAddress::v4(127, 0, 0, 1);
    iface.update_ip_addrs(|addresses| addresses.push(IpCidr::new(own, 8)).unwrap());
    let buffer = || tcp::SocketBuffer::new(vec![0; 64]);
    let mut sockets = SocketSet::new(Vec::new());
    let (client, server) = (
        sockets.add(tcp::Socket::new(buffer(), buffer())),
        sockets.add(tcp::Socket::new(buffer(), buffer())),
    );
    let mut keep_alive = KeepAliveSet::<2>::new();
    keep_alive.enable(client, config(10, 2, 3)).unwrap();
    keep_alive.enable(server, config(7, 2, 3)).unwrap();
    sockets.get_mut::<tcp::Socket>(server).listen(80).unwrap();
    let socket = sockets.get_mut::<tcp::Socket>(client);
    socket.connect(iface.context(), (own, 80), 49_152).unwrap();
    let mut now = Instant::ZERO;
    let mut polls = 0;
    while now < Instant::from_secs(1000) {
        keep_alive.poll(now, &mut iface, &mut device, &mut sockets);
        assert_eq!(keep_alive.poll_event(), None);
        let delay = keep_alive.poll_delay(now, &mut iface, &sockets).unwrap();
        now += delay;
        polls += 1;
        assert!(polls < 1000, "it spins at {now}");
    }
    for handle in [client, server] {
        assert_eq!(sockets.get::<tcp::Socket>(handle).state(), Tcp::Established);
        assert_eq!(keep_alive.state(handle), Some(State::Armed));
    }
    // Each hears the other's probes, so that only the more eager one has to ask.
    assert!(keep_alive.stats(server).unwrap().probes_sent > 100);
    assert_eq!(keep_alive.stats(client).unwrap().probes_sent, 0);
}
