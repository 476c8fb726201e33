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

use scenario::{End, Setup, config, established, ms, s, with_user_timeout};
use smoltcp::iface::{Config as InterfaceConfig, Interface, PollResult, SocketSet};
use smoltcp::phy::{Loopback, Medium};
use smoltcp::socket::tcp;
use smoltcp::socket::tcp::State as Tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};
use tcp_keepalive::smoltcp::KeepAliveSet;
use tcp_keepalive::{Cause, Config, Event, FailedAt, State};
use tcp_keepalive_sim::wire::Kind;

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

/// K4: a probe that finds no room is offered again within 500 ms, also if no interrupt says when there
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

/// A device that receives though it cannot transmit: the peer is heard, and not given up.
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

/// K11: data that cannot leave for want of room runs into the user timeout, from when the idle time is
/// over; then there is an interval for a question, which cannot leave either.
#[test]
fn queued_data_on_a_blocked_device_runs_into_the_user_timeout() {
    let mut t = established(with_user_timeout(config(10, 2, 3), 20));
    t.at(5).nothing();
    t.block_device();
    t.write(10);
    t.until(32).nothing();
    let verdict = t.at(32).given_up(Cause::UserTimeout);
    assert_eq!((verdict.unanswered, verdict.unsent), (0, 1));
    assert_eq!(verdict.failed_at, FailedAt::Device);
    assert!(t.worst_idle_turns() <= 1);
}

/// K11: data in flight when the device stops runs into the user timeout, counted from when it left;
/// then there is an interval for a question.
#[test]
fn data_in_flight_on_a_blocked_device_runs_into_the_user_timeout() {
    let mut t = established(with_user_timeout(config(10, 2, 3), 20));
    t.silence_peer();
    t.at(5).nothing();
    t.write(10);
    t.at(5).data(10);
    t.block_device();
    t.until(27).nothing();
    let verdict = t.at(27).given_up(Cause::UserTimeout);
    assert_eq!((verdict.unanswered, verdict.unsent), (0, 1));
}

/// K11: data for which the window opens while nothing can be transmitted runs into the user timeout,
/// from when the idle time is over.
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
    let heard = s(10) + ms(10);
    t.until(heard + s(32)).nothing();
    let verdict = t.at(heard + s(32)).given_up(Cause::UserTimeout);
    assert_eq!((verdict.unanswered, verdict.unsent), (0, 1));
}

/// K11: so does a FIN that cannot leave.
#[test]
fn fin_on_a_blocked_device_runs_into_the_user_timeout() {
    let mut t = established(with_user_timeout(config(10, 2, 3), 20));
    t.at(5).nothing();
    t.block_device();
    t.socket().close();
    t.until(32).nothing();
    t.at(32).given_up(Cause::UserTimeout);
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

/// Data that is written just before the stack is asked for its numbers is not swallowed with its
/// answer.
#[test]
fn data_written_before_the_stack_is_asked_is_not_swallowed() {
    for (window, len) in [(0, 1), (1, 1), (1, 10), (100, 10)] {
        let mut t = Setup::default().ethernet().connected();
        t.peer().window = window;
        t.peer_acks();
        t.at(50);
        t.enable(config(10, 2, 3));
        t.until(60);
        t.write(len);
        t.at(70);
        t.peer().window = 100;
        t.peer_acks();
        t.at(200);
        let received = t.peer().received.clone();
        assert_eq!(received, vec![b'w'; len], "{}", t.story());
        assert_eq!(t.stats().verdicts, 0);
    }
}

/// K11: data that cannot leave because the neighbour is gone runs into the user timeout, from when the
/// idle time is over. The peer is asked before the verdict: that needs no neighbour.
#[test]
fn queued_data_for_a_missing_neighbour_runs_into_the_user_timeout() {
    for setup in [
        Setup::default().ethernet(),
        Setup::default().ethernet().ipv6(),
    ] {
        let mut t = setup.established(with_user_timeout(config(1000, 2, 3), 20));
        t.at(100);
        t.skip();
        t.cut();
        t.write(10);
        t.until(1020);
        assert!(
            t.take_sent()
                .iter()
                .all(|sent| sent.kind.is_neighbor_query())
        );
        t.at(1022);
        let verdict = t.given_up(Cause::UserTimeout);
        assert_eq!((verdict.unanswered, verdict.unsent), (1, 0));
        // The stack has nothing left to ask for.
        t.skip();
        t.at(5000).nothing_sent();
    }
}

/// The RST of a verdict needs no answer of the neighbour: it leaves with the verdict, and nothing
/// afterwards.
#[test]
fn rst_waits_for_no_neighbour() {
    let mut t = Setup::default().ethernet().established(config(100, 2, 3));
    t.silence_peer();
    t.script().is_neighbor = false;
    t.at(100).probe(1);
    t.at(102).probe(2).neighbor_query();
    t.at(104).probe(3).neighbor_query();
    t.until(106).nothing();
    let verdict = t.at(106).timed_out();
    assert_eq!(verdict.failed_at, FailedAt::NextHop);
    t.at(4000).nothing_sent();
    assert!(t.worst_idle_turns() <= 1);
}

/// A lost answer to a question for the neighbour's address is no trouble: the peer answers the probe.
#[test]
fn lost_arp_reply_is_no_trouble() {
    for setup in [
        Setup::default().ethernet(),
        Setup::default().ethernet().ipv6(),
    ] {
        let mut t = setup.established(config(100, 3, 3));
        t.drop_next(|from, kind| from == End::Us && kind.tcp().is_some());
        t.drop_next(|from, kind| from == End::Peer && *kind == Kind::NeighborReply);
        t.at(200).alive();
        assert_eq!((t.stats().unsent_attempts, t.stats().probes_sent), (0, 2));
    }
}

/// K5: no question for the neighbour's address delays a verdict, though smoltcp forgets a neighbour
/// after 60 s.
#[test]
fn k5_no_question_for_the_neighbour_delays_the_verdict() {
    for interval in [75, 10] {
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
        assert_eq!(verdict.silent_for, in_time);
        // The neighbour answers, its TCP does not.
        assert_eq!(verdict.failed_at, FailedAt::Peer);
    }
}

/// K5: while a neighbour is missing, every connection's verdict is in time, to the microsecond.
#[test]
fn missing_neighbour_holds_up_nobody_elses_verdict() {
    let mut t = Setup::default()
        .ethernet()
        .connections(2)
        .established(config(100, 4, 3));
    t.enable_on(1, config(101, 1, 2));
    t.cut();
    t.until(103);
    assert_ne!(t.state_of(1), Some(State::TimedOut));
    t.at(103);
    assert_eq!(t.state_of(1), Some(State::TimedOut));
    t.until(112).given_up_on_all(1);
    t.at(112).given_up_on_all(2);
    assert_eq!(t.stats().unsent_attempts, 0);
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

/// K9: and if that is not answered either, there is a verdict an interval later.
#[test]
fn sleeper_with_data_in_flight_decides_after_that() {
    let mut t = established(with_user_timeout(config(10, 2, 3), 20));
    t.at(5).nothing();
    t.silence_peer();
    t.write(5);
    t.at(5).data(5);
    t.sleep_until(100);
    t.at(100).question(5).data(5);
    t.until(102).nothing();
    t.at(102).timed_out_by_user_timeout();
}

/// K9: a clock that is set forward past the user timeout, while the device is busy for a moment with
/// data in flight, gives no live peer up.
#[test]
fn clock_set_forward_on_a_busy_device_kills_nobody() {
    let mut t = established(with_user_timeout(config(100, 2, 9), 20));
    t.at(5).nothing();
    t.write(5);
    t.at(5).data(5);
    t.block_device();
    t.at(6).nothing();
    t.step_clock(s(1000));
    t.until(14).nothing();
    t.unblock_device();
    t.at(15).alive();
    assert_eq!(t.peer().received.len(), 5);
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

/// K8: two changes between two polls miss nothing: the peer is asked once more, and decided on an
/// interval later.
#[test]
fn new_options_twice_between_polls_miss_nothing() {
    let mut t = established(config(10, 20, 2));
    t.silence_peer();
    t.at(10).probe(1).at(30).probe(2).at(35).nothing();
    t.enable(config(10, 1, 2));
    t.enable(config(10, 2, 2));
    t.at(35).probe(3);
    t.until(37).nothing();
    t.at(37).timed_out();
}

/// K8: options that make the verdict due at once ask once more first, and once in a round.
#[test]
fn new_options_that_shorten_the_interval_ask_once_more() {
    let mut t = established(config(10, 20, 2));
    t.silence_peer();
    t.at(10).probe(1).at(30).probe(2).at(35).nothing();
    t.enable(config(10, 4, 2));
    t.at(35).probe(3).at(38).nothing();
    t.enable(config(10, 2, 2));
    t.at(38).timed_out();
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

/// What is sent and received in polls of the wrapped device is seen: the next probe has the numbers of
/// after them, and leaves an idle time after the last.
#[test]
fn polls_of_the_wrapped_device_are_seen() {
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
    let mut keep_alive = KeepAliveSet::<1>::new();
    keep_alive.enable(client, config(10, 2, 3)).unwrap();
    sockets.get_mut::<tcp::Socket>(server).listen(80).unwrap();
    let socket = sockets.get_mut::<tcp::Socket>(client);
    socket.connect(iface.context(), (own, 80), 49_152).unwrap();
    for millis in 0..100 {
        let now = Instant::from_millis(millis);
        keep_alive.poll(now, &mut iface, &mut device, &mut sockets);
    }
    for millis in 5000..5100 {
        let now = Instant::from_millis(millis);
        for handle in [client, server] {
            let socket = sockets.get_mut::<tcp::Socket>(handle);
            let _ = socket.recv(|data| (data.len(), ()));
            let _ = socket.send_slice(b"x");
        }
        iface.poll(now, &mut keep_alive.wrap(&mut device), &mut sockets);
    }
    let heard = keep_alive.last_heard(client).unwrap();
    assert!(heard > Instant::from_millis(5000), "{heard}");
    for second in 6..100 {
        for millis in 0..20 {
            let now = Instant::from_millis(second * 1000 + millis);
            for handle in [client, server] {
                let socket = sockets.get_mut::<tcp::Socket>(handle);
                let _ = socket.recv(|data| (data.len(), ()));
            }
            keep_alive.poll(now, &mut iface, &mut device, &mut sockets);
        }
    }
    let stats = keep_alive.stats(client).unwrap();
    assert!(stats.probes_sent >= 8 && stats.probes_answered == stats.probes_sent);
    assert_eq!(keep_alive.state(client), Some(State::Armed));
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

/// The shortest configuration there is: three milliseconds of silence.
#[test]
fn shortest_configuration() {
    let milli = Duration::from_millis(1);
    let mut t = Setup::default().closed();
    t.open();
    t.enable(Config::new(milli, milli, 2).unwrap());
    t.at(ms(1))
        .probe(1)
        .at(ms(2))
        .probe(2)
        .at(ms(3))
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

/// `detect_within` holds too if the device refuses everything and data is written while a probe waits
/// to leave.
#[test]
fn k11_detect_within_with_a_device_without_room() {
    let limit = 90;
    let mut late = vec![];
    for written_at in [5, 29, 31, 35, 45, 55, 59] {
        let mut t = established(Config::detect_within(Duration::from_secs(limit)).unwrap());
        t.silence_peer();
        t.block_device();
        t.at(written_at);
        t.write(10);
        t.at(200);
        let heard = t.last_heard().unwrap();
        let (at, event) = *t.events().last().unwrap();
        if at > heard + s(90) {
            late.push(format!(
                "written at {written_at} s: heard {heard:?} verdict {at:?} {event:?}"
            ));
        }
    }
    assert!(late.is_empty(), "{late:#?}");
}
