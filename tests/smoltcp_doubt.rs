//! What is not known must not be held against the peer, and must not keep a dead one alive.
//!
//! The numbers of a connection may not be known when a probe is due, a segment may not be verified
//! when a verdict is, and a stall may have been anybody's.

mod scenario;

use std::time::Duration;

use scenario::{
    End, Scenario, Sent, Setup, Time, config, established, ms, s, us, with_user_timeout,
};
use smoltcp::socket::tcp::State as Tcp;
use tcp_keepalive::smoltcp::CloseReason;
use tcp_keepalive::{Config, ProbePayload, State};
use tcp_keepalive_sim::Manner;
use tcp_keepalive_sim::wire::Segment;

/// A connection on which smoltcp's own keep-alive was set, of `seconds`, before ours is enabled.
fn with_own_keep_alive(seconds: i64) -> Scenario {
    let mut t = Setup::default().connected();
    t.socket().set_keep_alive(Some(s(seconds).smoltcp()));
    t.at(1);
    t.skip();
    t
}

/// A segment of any length saves its sender from a verdict that falls before it is acknowledged.
#[test]
fn k7_long_segment_just_before_the_verdict_saves_the_peer() {
    for len in [100, 400] {
        let mut t = established(config(10, 2, 3));
        t.peer_does(Manner::Silent);
        t.at(s(15) + ms(985));
        t.peer_says(len);
        t.at(20);
        assert_eq!(t.stats().verdicts, 0, "{len} octets: {}", t.story());
        assert_eq!(t.last_heard(), Some(s(15) + ms(995)));
    }
}

/// Numbers that only smoltcp's next keep-alive can tell, because the application's own is set, are
/// waited for.
#[test]
fn live_peer_behind_smoltcps_own_keep_alive_is_kept() {
    let mut t = with_own_keep_alive(60);
    t.enable(config(10, 2, 3));
    t.at(100).alive();
}

/// So are they if that was switched off, and its last keep-alive is still to come.
#[test]
fn live_peer_behind_a_keep_alive_just_switched_off_is_kept() {
    let mut t = with_own_keep_alive(60);
    t.socket().set_keep_alive(None);
    t.enable(config(10, 2, 3));
    t.at(100).alive();
}

/// So are they if its interval was lowered, which smoltcp heeds no sooner than the old one is over.
#[test]
fn live_peer_behind_a_lowered_keep_alive_is_kept() {
    let mut t = with_own_keep_alive(3600);
    t.socket().set_keep_alive(Some(s(10).smoltcp()));
    t.enable(config(15, 2, 3));
    t.at(100);
    assert_eq!(t.stats().verdicts, 0, "{}", t.story());
}

/// A device without room at the very moment at which they are wanted changes nothing about that.
#[test]
fn momentary_block_is_not_held_against_the_peer() {
    let mut t = with_own_keep_alive(60);
    t.socket().set_keep_alive(None);
    t.enable(config(10, 2, 3));
    t.at(s(10) + ms(900));
    t.block_transmitter();
    t.at(s(11) + ms(100));
    t.unblock_device();
    t.at(100).alive();
}

/// Enabled late with the neighbour gone, a dead peer is found when it should be, whether or not
/// its idle time keeps step with smoltcp's questions for the neighbour.
#[test]
fn neighbour_gone_before_enabling_is_found() {
    for idle in [10_000, 10_300, 10_371] {
        let config = Config::new(Duration::from_millis(idle), Duration::from_secs(2), 3);
        let mut t = Setup::default().ethernet().connected();
        t.at(100);
        t.skip();
        t.cut();
        t.enable(config.expect("the configuration is valid"));
        t.at(117);
        assert_eq!(t.stats().verdicts, 1, "idle {idle} ms: {}", t.story());
        assert_eq!(t.stats().unsent_attempts, 0);
        assert_eq!(t.stats().probes_sent, 3);
        assert!(t.worst_idle_turns() <= 1);
    }
}

/// The same with the device gone.
#[test]
fn device_gone_before_enabling_is_found() {
    let mut t = Setup::default().connected();
    t.at(5);
    t.skip();
    t.block_transmitter();
    t.enable(config(10, 2, 3));
    t.at(21);
    assert_eq!(t.stats().unsent_attempts, 3, "{}", t.story());
    assert_eq!(t.stats().verdicts, 1);
    assert!(t.worst_idle_turns() <= 1);
}

/// Enabled late, nothing is asked of the neighbour before a probe is due.
#[test]
fn late_enabling_asks_nothing_of_the_neighbour() {
    let mut t = Setup::default().ethernet().connected();
    t.at(100);
    t.skip();
    t.cut();
    t.enable(config(1000, 2, 3));
    t.until(1100).nothing_sent();
}

/// Disabled while it is being probed, and enabled again much later, a connection is given its idle time
/// from then.
#[test]
fn k2_enabled_again_it_has_its_idle_time() {
    let mut t = Setup::default().ethernet().connected();
    t.at(70);
    t.cut();
    t.enable(config(10, 2, 3));
    t.at(s(80) + ms(100));
    t.disable();
    t.repair();
    t.sleep_until(200);
    t.skip();
    t.enable(config(10, 2, 3));
    t.at(209);
    assert_eq!(t.state(), Some(State::Armed), "{}", t.story());
    assert_eq!(t.stats().probes_sent, 0);
    // The stack has to find its neighbour before it can tell its numbers, and is then asked again.
    t.at(212).alive();
    assert_eq!(t.stats().probes_sent, 1);
    assert_eq!(t.stats().unsent_attempts, 0);
}

/// K11: enabled while it waits for a window, a connection is owed no answer to what was asked
/// before.
#[test]
fn k11_enabled_behind_a_closed_window_nothing_is_owed() {
    let mut t = Setup::default().connected();
    t.at(1);
    t.peer().window = 0;
    t.peer_acks();
    t.at(2);
    t.write(50);
    t.at(33);
    t.enable(with_user_timeout(config(10, 2, 3), 3));
    t.at(200);
    assert_eq!(t.stats().verdicts, 0, "{}", t.story());
}

/// K11: what keeps another connection from sending is no debt of one that waits for a window.
#[test]
fn k11_another_connections_stall_is_no_debt() {
    let mut t = Setup::default().connections(2).connected();
    t.peer().window = 0;
    t.peer_acks();
    t.at(1);
    t.write(100);
    t.at(40);
    t.enable(with_user_timeout(config(10, 2, 3), 3));
    t.at(41);
    t.block_transmitter();
    let sent = t.socket_of(1).send_slice(&[b'w'; 10]);
    assert_eq!(sent, Ok(10));
    t.at(s(41) + ms(100));
    t.unblock_device();
    t.at(200);
    assert_eq!(t.stats().verdicts, 0, "{}", t.story());
}

/// K11: window probes that can no longer leave are owed an answer from when they should have.
#[test]
fn k11_device_gone_behind_a_closed_window_is_found() {
    let mut t = established(with_user_timeout(config(10, 2, 3), 10));
    t.peer().window = 0;
    t.peer_acks();
    t.at(1);
    t.write(100);
    t.at(100);
    t.block_device();
    t.skip();
    t.at(171);
    assert_eq!(t.stats().verdicts, 1, "{}", t.story());
}

/// A segment in flight when the window closes makes smoltcp neither send it again nor probe the
/// window.
#[test]
fn closed_with_data_in_flight_plain_smoltcp_stalls() {
    let mut t = Setup::default().plain();
    t.write(1);
    t.at(0);
    t.peer().window = 0;
    t.peer_acks();
    t.at(4000);
    assert_eq!(t.poll_at(), None, "{}", t.story());
    assert_eq!(t.socket_of(0).send_queue(), 1);
}

/// K11: a peer that dies then is asked once the user timeout is over, and found an interval later.
#[test]
fn k11_closed_with_data_in_flight_a_dead_peer_is_found() {
    for setup in [Setup::default(), Setup::default().ethernet()] {
        let mut t = closed_with_data_in_flight(setup);
        t.silence_peer();
        let (asked, decided) = STRIKES;
        t.skip();
        t.until(asked).nothing();
        t.at(asked).question(1);
        t.until(decided).nothing();
        let verdict = t.at(decided).timed_out_by_user_timeout();
        assert_eq!((verdict.unanswered, verdict.unsent), (1, 0));
    }
}

/// K11: if its neighbour is gone too, that makes no difference.
#[test]
fn k11_closed_with_data_in_flight_a_dead_neighbour_is_found() {
    let mut t = closed_with_data_in_flight(Setup::default().ethernet());
    t.cut();
    t.skip();
    let (asked, decided) = STRIKES;
    t.until(asked).nothing();
    t.at(asked).question(1);
    t.until(decided).nothing();
    t.at(decided).timed_out_by_user_timeout();
    t.at(1000).nothing_sent();
}

/// K11: a peer that lives is kept, and gets its data when it opens its window; also if its neighbour
/// address has to be found before it can be asked.
#[test]
fn k11_closed_with_data_in_flight_a_live_peer_is_kept() {
    for setup in [Setup::default(), Setup::default().ethernet()] {
        let mut t = closed_with_data_in_flight(setup);
        t.at(1000).is(Tcp::Established);
        assert_eq!(t.stats().verdicts, 0, "{}", t.story());
        t.peer().window = 100;
        t.at(1100);
        assert_eq!(t.socket().send_queue(), 0, "{}", t.story());
    }
}

/// K11: the stack's own questions for its address decide nothing, lost or not.
#[test]
fn k11_closed_with_data_in_flight_a_lost_neighbour_query_decides_nothing() {
    let mut t = closed_with_data_in_flight(Setup::default().ethernet());
    for _ in 0..3 {
        t.drop_next(|from, kind| from == End::Us && kind.is_neighbor_query());
    }
    t.at(1000).is(Tcp::Established);
    assert_eq!(t.stats().verdicts, 0, "{}", t.story());
}

/// K11: nor if something else stalls at the very moment of its question.
#[test]
fn k11_closed_with_data_in_flight_another_stall_decides_nothing() {
    let mut t = closed_with_data_in_flight(Setup::default().connections(2));
    let (asked, _) = STRIKES;
    t.until(asked);
    t.block_transmitter();
    assert_eq!(t.socket_of(1).send_slice(b"x"), Ok(1));
    t.wake();
    t.at(asked + ms(5));
    t.unblock_device();
    t.at(1000).is(Tcp::Established);
    assert_eq!(t.stats().verdicts, 0, "{}", t.story());
}

/// K11: the same on a connection that was enabled late, whose numbers are not known.
#[test]
fn k11_closed_with_data_in_flight_unknown_numbers_are_no_trouble() {
    for setup in [Setup::default(), Setup::default().ethernet()] {
        for is_cut in [false, true] {
            let mut t = setup.clone().connected();
            t.write(1);
            t.at(0);
            t.peer().window = 0;
            t.peer_acks();
            t.at(1);
            let limit = Duration::from_secs(30);
            t.enable(Config::detect_within(limit).expect("the limit is valid"));
            t.at(2);
            if is_cut {
                t.cut();
            }
            t.at(1000);
            assert_eq!(t.stats().verdicts, u32::from(is_cut), "{}", t.story());
        }
    }
}

/// K11, K8: without its user timeout, a connection that is busy is given up by nothing, not even if
/// the question has left already.
#[test]
fn k11_a_user_timeout_that_is_taken_away_decides_nothing() {
    let (asked, decided) = STRIKES;
    for moment in [asked - ms(1), asked + ms(1), decided - ms(1)] {
        let mut t = closed_with_data_in_flight(Setup::default().ethernet());
        t.cut();
        t.at(moment);
        t.enable(config(10, 2, 3));
        t.at(75);
        let turns = t.turns();
        t.at(400).is(Tcp::Established);
        assert_eq!(t.stats().verdicts, 0, "{moment:?}: {}", t.story());
        assert!(t.turns() - turns < 50, "{}", t.story());
    }
}

/// K11: what asks carries the octet, if probes do.
#[test]
fn k11_what_asks_carries_the_octet_of_a_probe() {
    for payload in [ProbePayload::Empty, ProbePayload::GarbageOctet] {
        let limit = Config::detect_within(Duration::from_secs(30)).expect("the limit is valid");
        let mut t = established(limit.with_payload(payload));
        t.write(1);
        t.at(0);
        t.peer().window = 0;
        t.peer_acks();
        t.at(100);
        let trace = t.trace();
        let (asked_at, _) = STRIKES;
        let asks = |sent: &&Sent| sent.from == End::Us && sent.at == asked_at;
        let asked = trace.iter().find(asks).and_then(Sent::tcp);
        let asked = asked.expect("it was asked");
        assert_eq!(asked.payload.len(), payload as usize, "{}", t.story());
        assert_eq!(t.stats().verdicts, 0, "{}", t.story());
    }
}

/// When the user timeout of the following has struck, since the peer was heard at 20 ms; and when it
/// decides.
const STRIKES: (Time, Time) = (us(16_687_000), us(20_020_000));

/// One octet is in flight when the peer closes its window, within a limit of 30 s.
fn closed_with_data_in_flight(setup: Setup) -> Scenario {
    let limit = Config::detect_within(Duration::from_secs(30)).expect("the limit is valid");
    let mut t = setup.established(limit);
    t.write(1);
    t.at(0);
    t.peer().window = 0;
    t.peer_acks();
    t.at(ms(50));
    t
}

/// A round of ours does not touch the application's own keep-alive.
#[test]
fn smoltcps_own_keep_alive_stays_as_it_was_set() {
    let own = Some(s(60).smoltcp());
    let mut t = Setup::default().closed();
    t.enable(config(10, 2, 3));
    t.open();
    t.socket().set_keep_alive(own);
    t.at(40);
    assert_eq!(t.socket().keep_alive(), own);
    assert!(t.stats().probes_answered >= 2, "{}", t.story());
}

/// Nothing is held to be proved later (K18): on a connection whose numbers are not known, a segment is
/// not the peer's, and the probe leaves when it would have without.
#[test]
fn k18_what_comes_before_the_numbers_are_known_is_nobodys() {
    for len in [0, 10, 400] {
        let mut t = Setup::default().closed();
        t.host().bypasses_keep_alive = true;
        t.open();
        t.at(1);
        t.host().bypasses_keep_alive = false;
        t.enable(config(10, 2, 3));
        t.at(8);
        t.peer_says(len);
        t.at(9);
        assert_eq!(t.last_heard(), None);
        t.skip();
        t.until(11).nothing();
        t.at(11).probe(1);
        t.at(12).alive();
    }
}

/// A segment is believed on its numbers when it arrives (K18), however long the stack's acknowledgement
/// has to wait; a long one also if it is damaged, a short one not.
#[test]
fn k18_a_segment_is_believed_on_its_numbers_when_it_arrives() {
    for (len, is_intact) in [(400, true), (400, false), (20, true), (20, false)] {
        let mut t = established(config(100, 2, 3));
        t.at(10);
        t.block_transmitter();
        t.forge(|segment: &mut Segment| {
            segment.payload = vec![0; len];
            segment.checksum_ok = is_intact;
        });
        t.at(50);
        t.unblock_device();
        t.at(51);
        let is_heard = is_intact || len > 128;
        let heard = if is_heard { s(10) + ms(10) } else { ms(0) };
        assert_eq!(t.last_heard(), Some(heard), "{}", t.story());
    }
}

/// On a connection whose numbers are not known, a segment that the stack refuses is not the peer's,
/// though it is answered (RFC 5961 5.2).
#[test]
fn what_the_stack_refuses_was_not_heard() {
    for (len, off) in [(0, 5000), (10, 5000), (400, 100_000)] {
        let mut t = Setup::default().connected();
        t.at(1);
        t.enable(config(10, 2, 3));
        t.at(8);
        t.forge(|segment| {
            segment.seq = segment.seq.wrapping_add(off);
            segment.payload = vec![0; len];
        });
        t.at(9);
        assert_eq!(t.last_heard(), None, "{}", t.story());
        t.at(s(11) + ms(500));
        assert_eq!(t.stats().probes_sent, 1);
    }
}

/// K11: another connection's stall, between two retransmissions of ours, neither starts the user
/// timeout nor puts it off: it strikes 10 s after the first of them, and decides an interval later.
#[test]
fn k11_the_debt_starts_with_the_retransmission() {
    let mut t = Setup::default()
        .connections(2)
        .established(with_user_timeout(config(100, 2, 3), 10));
    t.socket().set_nagle_enabled(false);
    t.peer_does(Manner::Silent);
    t.at(1);
    t.write(50);
    t.at(s(1) + ms(20));
    t.write(50);
    t.at(s(1) + ms(100));
    // The first half is acknowledged, and nothing is owed until the second is sent again.
    t.peer().rcv_nxt += 50;
    t.peer_acks();
    t.at(s(1) + ms(200));
    t.block_transmitter();
    assert_eq!(t.socket_of(1).send_slice(b"x"), Ok(1));
    t.at(s(1) + ms(300));
    t.unblock_device();
    let sent_again = s(2) + ms(110);
    t.at(sent_again);
    t.until(sent_again + s(10));
    t.skip();
    t.at(sent_again + s(10)).question(50);
    t.until(sent_again + s(12)).nothing();
    t.at(sent_again + s(12)).timed_out_by_user_timeout();
}

/// K11: the loop is woken for a user timeout though nothing else falls due before.
#[test]
fn k11_the_user_timeout_wakes_the_loop() {
    let mut t = established(with_user_timeout(config(1000, 2, 3), 5));
    t.peer_does(Manner::Silent);
    t.at(1);
    t.write(10);
    t.at(10);
    let events = t.events();
    // Five seconds after the data, and an interval after the question.
    assert_eq!(events.last().map(|(at, _)| *at), Some(s(1 + 5 + 2)));
}

/// Disabling one handle does not put off another that was enabled since the last poll.
#[test]
fn disabling_one_does_not_put_off_another() {
    let mut t = Setup::default().connections(2).connected();
    t.enable_on(1, config(10, 2, 3));
    t.at(1);
    t.enable_on(0, config(10, 2, 3));
    t.disable_on(1);
    t.silence_peer();
    t.at(18).is(Tcp::Closed);
}

/// A connection that was disabled and is enabled again in another place is heard there.
#[test]
fn enabled_again_in_another_place_it_is_heard() {
    for closes_other in [false, true] {
        let mut t = Setup::default()
            .connections(2)
            .established(config(10, 2, 3));
        t.at(5);
        t.socket_of(1).send_slice(b"x").unwrap();
        t.at(6);
        t.disable_on(0);
        t.disable_on(1);
        t.at(7);
        t.enable_on(1, config(10, 2, 3));
        if !closes_other {
            t.enable_on(0, config(10, 2, 3));
        }
        t.at(200);
        assert_eq!(t.state_of(1), Some(State::Armed), "{}", t.story());
        t.given_up_on_all(0);
    }
}

/// A connection with the same four-tuple as an older one of another handle is heard.
#[test]
fn the_same_four_tuple_under_another_handle_is_heard() {
    let mut t = Setup::default().passive().connections(2).closed();
    t.enable_on(0, config(10, 2, 3));
    t.enable_on(1, config(10, 2, 3));
    t.start_opening_one(0);
    t.at(5);
    t.socket_of(0).abort();
    t.at(6);
    t.script().connections.clear();
    t.socket_of(1).listen(80).unwrap();
    t.peer_connects(false);
    t.at(200);
    let state = t.socket_of(1).state();
    assert_eq!(state, Tcp::Established, "{}", t.story());
    assert_eq!(t.state_of(1), Some(State::Armed), "{}", t.story());
    t.given_up_on_all(0);
    t.silence_peer();
    t.at(230).given_up_on_all(1);
}

/// An interval below the second and a half that it may take to learn the numbers from a stack which has
/// forgotten its neighbour gives up no live peer.
#[test]
fn short_intervals_wait_for_numbers() {
    let millis = Duration::from_millis;
    for interval in [100, 300, 500, 1000, 2000] {
        let config = Config::new(millis(10_000), millis(interval), 2).unwrap();
        let mut t = Setup::default().ethernet().established(config);
        t.disable();
        t.at(200);
        t.enable(config);
        t.at(400);
        assert_eq!(
            t.state_of(0),
            Some(State::Armed),
            "{interval} ms: {}",
            t.story()
        );
        t.given_up_on_all(0);
    }
}

/// K11: an acknowledgement that smoltcp drops, because its segment is old, settles no debt for good.
#[test]
fn k11_an_acknowledgement_in_an_old_segment_settles_nothing() {
    let mut t = established(with_user_timeout(config(100, 2, 3), 10));
    t.silence_peer();
    t.at(1);
    t.write(200);
    t.at(s(1) + ms(500));
    t.forge(|segment| {
        segment.seq = segment.seq.wrapping_sub(100);
        segment.ack = segment.ack.map(|ack| ack.wrapping_add(200));
    });
    t.at(20);
    assert_eq!(t.stats().verdicts, 1, "{}", t.story());
}

/// A RST that smoltcp did not believe, or that was corrupted, is not why the connection ended.
#[test]
fn a_rst_that_was_not_believed_is_no_reason() {
    for is_corrupted in [false, true] {
        let mut t = established(config(10, 2, 3));
        t.at(1);
        t.forge(|segment| {
            segment.rst = true;
            segment.checksum_ok = !is_corrupted;
            if !is_corrupted {
                segment.seq = segment.seq.wrapping_add(1_000_000);
            }
        });
        t.at(s(1) + ms(if is_corrupted { 5 } else { 500 }));
        t.host().iface.update_ip_addrs(|addresses| {
            addresses.clear();
        });
        t.at(100);
        assert_eq!(t.close_reason(), Some(CloseReason::AddressLost));
    }
}

/// No octet of garbage leaves for a handle after `disable`, nor before the idle time after
/// enabling it again.
#[test]
fn no_keep_alive_leaves_after_disable() {
    for which in [None, Some(0), Some(1)] {
        let mut t = Setup::default().connections(7).connected();
        t.enable_on(0, config(10, 2, 3));
        t.until(9);
        t.block_device();
        t.at(11);
        t.disable_on(0);
        if let Some(which) = which {
            t.enable_on(which, config(100, 2, 3));
        }
        t.skip();
        t.at(12);
        t.unblock_device();
        t.at(50);
        let is_octet = |sent: &&Sent| !sent.tcp().unwrap().payload.is_empty();
        assert_eq!(
            t.take_sent().iter().filter(is_octet).count(),
            0,
            "{which:?}"
        );
        assert_eq!(t.script().connections[0].received.len(), 0, "{which:?}");
    }
}

/// Numbers not known, and smoltcp's own keep-alive set: its timer cannot be hurried.
#[test]
fn unknown_numbers_and_smoltcps_own_keep_alive() {
    let mut t = Setup::default().connections(6).connected();
    t.at(1);
    t.socket().set_keep_alive(Some(s(60).smoltcp()));
    t.at(2);
    t.enable(config(10, 2, 3));
    t.at(40);
    assert_eq!(t.stats().verdicts, 0, "{}", t.story());
}

/// The same, and the peer is dead: smoltcp's keep-alive tells the numbers within its own interval, and
/// the round begins within another idle time.
#[test]
fn unknown_numbers_and_smoltcps_own_keep_alive_to_a_dead_peer() {
    let mut t = Setup::default().connections(6).connected();
    t.at(1);
    t.socket().set_keep_alive(Some(s(60).smoltcp()));
    t.silence_peer();
    t.at(2);
    t.enable(config(10, 2, 3));
    t.at(60);
    assert_eq!(t.stats().verdicts, 0, "{}", t.story());
    t.at(60 + 2 + 10 + 6);
    assert_eq!(t.stats().verdicts, 1, "{}", t.story());
}

/// Numbers not known, and a window that the peer keeps closed: smoltcp probes it once a minute.
#[test]
fn unknown_numbers_and_a_closed_window() {
    let mut t = Setup::default().connections(6).connected();
    t.at(1);
    t.peer().window = 0;
    t.peer_acks();
    t.at(2);
    t.write(1);
    t.at(100);
    t.enable(Config::detect_within(Duration::from_secs(15)).unwrap());
    t.at(300);
    assert_eq!(t.stats().verdicts, 0, "{}", t.story());
}

/// Switched off while the neighbour is asked for: the application's octet is not swallowed.
#[test]
fn octet_of_the_application_after_disable() {
    let mut t = Setup::default().ethernet().connections(6).connected();
    t.at(100);
    t.script().is_neighbor = false;
    t.enable(config(10, 2, 3));
    t.at(ms(110_500));
    t.disable();
    t.script().is_neighbor = true;
    t.write(1);
    t.at(ms(111_500));
    assert_eq!(t.peer().received.len(), 1, "{}", t.story());
}

/// A configuration was replaced while the numbers were not known.
#[test]
fn octet_of_the_application_after_a_new_configuration() {
    for own in [Some(s(60).smoltcp()), None] {
        let mut t = Setup::default().connections(6).connected();
        t.at(1);
        t.socket().set_keep_alive(own);
        t.at(2);
        t.enable(config(100, 2, 3));
        t.at(3);
        if own.is_none() {
            t.block_device();
        }
        t.enable(config(200, 2, 3));
        t.at(4);
        t.write(1);
        t.unblock_device();
        t.at(ms(4_500));
        assert_eq!(t.peer().received.len(), 1, "{}", t.story());
    }
}
