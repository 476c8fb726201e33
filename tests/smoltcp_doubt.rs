//! What is not known must not be held against the peer, and must not keep a dead one alive.
//!
//! The numbers of a connection may not be known when a probe is due, a segment may not be verified
//! when a verdict is, and a stall may have been anybody's.

mod scenario;

use std::time::Duration;

use scenario::{End, Scenario, Sent, Setup, config, established, ms, s, with_user_timeout};
use smoltcp::phy::Medium;
use smoltcp::socket::tcp::State as Tcp;
use tcp_keepalive::sim::Manner;
use tcp_keepalive::sim::wire::Segment;
use tcp_keepalive::smoltcp::CloseReason;
use tcp_keepalive::{Cause, Config, Event, ProbePayload, State};

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
        assert_eq!(t.stats().unsent_attempts, 3);
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

/// Disabled while smoltcp's keep-alive waits for the neighbour, and enabled again much later, a
/// connection is given its idle time from then.
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
    t.at(211);
    assert_eq!(t.stats().probes_sent, 1);
}

/// K11: enabled while it waits for a window, a connection owes nobody an answer to what was asked
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

/// K11: a peer that dies then is asked when smoltcp should have asked it and the user timeout is
/// over, and found when that is over once more.
#[test]
fn k11_closed_with_data_in_flight_a_dead_peer_is_found() {
    for setup in [Setup::default(), Setup::default().ethernet()] {
        let mut t = closed_with_data_in_flight(setup);
        t.silence_peer();
        t.at(s(80) + ms(100));
        let events = t.events();
        let (_, event) = *events.last().expect("there is a verdict");
        assert!(
            matches!(event, Event::TimedOut(verdict) if verdict.cause == Cause::UserTimeout),
            "{}",
            t.story()
        );
        t.is(Tcp::Closed);
    }
}

/// K11: if its neighbour is gone too, nothing can ask; that lasts for another user timeout.
#[test]
fn k11_closed_with_data_in_flight_a_dead_neighbour_is_found() {
    let mut t = closed_with_data_in_flight(Setup::default().ethernet());
    t.cut();
    t.at(s(80) + ms(100));
    let events = t.events();
    let (at, event) = *events.last().expect("there is a verdict");
    assert!(matches!(event, Event::TimedOut(_)), "{}", t.story());
    assert!(at > s(75), "{}", t.story());
    t.is(Tcp::Closed);
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

/// K11: nor is it given up if the first questions for its address are lost.
#[test]
fn k11_closed_with_data_in_flight_a_lost_question_decides_nothing() {
    let mut t = closed_with_data_in_flight(Setup::default().ethernet());
    for _ in 0..3 {
        t.drop_next(|from, kind| from == End::Us && kind.is_neighbor_query());
    }
    t.at(1000).is(Tcp::Established);
    assert_eq!(t.stats().verdicts, 0, "{}", t.story());
}

/// K11: nor if something else stalls at the very moment at which it is to be asked.
#[test]
fn k11_closed_with_data_in_flight_another_stall_decides_nothing() {
    let mut t = closed_with_data_in_flight(Setup::default().connections(2));
    t.at(s(70) + ms(19));
    t.block_transmitter();
    assert_eq!(t.socket_of(1).send_slice(b"x"), Ok(1));
    t.wake();
    t.at(s(70) + ms(25));
    t.unblock_device();
    t.at(1000).is(Tcp::Established);
    assert_eq!(t.stats().verdicts, 0, "{}", t.story());
}

/// K11: nor on a connection that was enabled late, whose numbers are not known; but if nothing can
/// reach it, it is.
#[test]
fn k11_closed_with_data_in_flight_unknown_numbers_decide_nothing() {
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
            let is_found = is_cut && setup.medium == Medium::Ethernet;
            assert_eq!(t.stats().verdicts, u32::from(is_found), "{}", t.story());
        }
    }
}

/// K11: without its user timeout, a connection whose neighbour is gone is asked no more.
#[test]
fn k11_a_user_timeout_that_is_taken_away_asks_nothing() {
    let mut t = closed_with_data_in_flight(Setup::default().ethernet());
    t.cut();
    t.at(72);
    t.enable(config(10, 2, 3));
    t.at(75);
    let turns = t.turns();
    t.at(400);
    assert!(t.turns() - turns < 50, "{}", t.story());
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
        let asks = |sent: &&Sent| sent.from == End::Us && sent.at > s(60) && sent.tcp().is_some();
        let asked = trace.iter().find(asks).and_then(Sent::tcp);
        let asked = asked.expect("it was asked");
        assert_eq!(asked.payload.len(), payload as usize, "{}", t.story());
        assert_eq!(t.stats().verdicts, 0, "{}", t.story());
    }
}

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

/// On a connection whose numbers are not known, a segment counts when it arrived, once the stack
/// has answered it.
#[test]
fn k2_what_the_stack_answers_was_heard() {
    let mut t = Setup::default().connected();
    t.at(1);
    t.enable(config(10, 2, 3));
    t.at(8);
    t.peer_says(10);
    t.at(s(17) + ms(900));
    assert_eq!(t.last_heard(), Some(s(8) + ms(10)));
    assert_eq!(t.stats().probes_sent, 0);
    t.at(19);
    assert_eq!(t.stats().probes_sent, 1);
}

/// A segment that is believed once it is acknowledged counts when it arrived, however long the
/// acknowledgement has to wait, and whatever arrives elsewhere meanwhile.
#[test]
fn k2_a_late_acknowledgement_tells_when_its_segment_arrived() {
    let mut t = Setup::default()
        .connections(2)
        .established(config(100, 2, 3));
    t.at(10);
    t.block_transmitter();
    t.peer_says(400);
    t.at(11);
    t.tell(|peer| peer.say(1, 400));
    t.at(80);
    t.unblock_device();
    t.at(81);
    assert_eq!(t.last_heard(), Some(s(10) + ms(10)), "{}", t.story());
}

/// A damaged segment that arrives while an acknowledgement waits is not proved by it.
#[test]
fn k2_a_late_acknowledgement_proves_nothing_damaged() {
    for comes_again in [false, true] {
        let mut t = established(config(100, 2, 3));
        t.at(10);
        t.block_transmitter();
        let again = t.peer_segment();
        t.peer_says(400);
        let resend = |is_intact: bool| {
            let again = again.clone();
            move |segment: &mut Segment| {
                *segment = again;
                segment.payload = vec![0; 400];
                segment.checksum_ok = is_intact;
            }
        };
        t.at(12);
        if comes_again {
            t.forge(resend(true));
        }
        t.at(40);
        t.forge(resend(false));
        t.at(50);
        t.unblock_device();
        t.at(51);
        let heard = if comes_again { s(12) } else { s(10) };
        assert_eq!(t.last_heard(), Some(heard + ms(10)), "{}", t.story());
    }
}

/// On a connection whose numbers are not known, a segment that the stack refuses was nobody's, though
/// it is answered (RFC 5961 5.2).
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

/// Of all that comes until the numbers are known the last counts.
#[test]
fn k2_the_last_before_the_numbers_are_known_was_heard() {
    let options = config(100, 2, 3);
    for options in [options, with_user_timeout(options, 50)] {
        let mut t = Setup::default().connected();
        t.at(1);
        t.enable(options);
        t.at(8);
        t.block_transmitter();
        t.peer_says(10);
        t.at(12);
        t.peer_says(10);
        t.at(13);
        t.unblock_device();
        t.at(14);
        assert_eq!(t.last_heard(), Some(s(12) + ms(10)), "{}", t.story());
    }
}

/// Nor is it lost if it comes hours after enabling; then it counts from its acknowledgement.
#[test]
fn what_comes_hours_after_enabling_was_heard() {
    for (hours, delay) in [(1, ms(0)), (3, ms(10))] {
        let mut t = Setup::default().connected();
        t.at(1);
        t.enable(config(50_000, 75, 9));
        let said = s(hours * 3600);
        t.at(said);
        t.peer_says(10);
        t.at(said + s(1));
        assert_eq!(t.last_heard(), Some(said + ms(10) + delay), "{}", t.story());
    }
}

/// Nor was it if the first that is seen of the numbers is data that was written meanwhile.
#[test]
fn what_is_written_proves_nothing_of_what_was_received() {
    for off in [0, 5000] {
        let mut t = Setup::default().connected();
        t.at(1);
        t.enable(config(100, 2, 3));
        t.at(8);
        t.block_transmitter();
        t.forge(|segment| {
            segment.seq = segment.seq.wrapping_add(off);
            segment.payload = vec![0; 10];
        });
        t.write(20);
        t.at(s(8) + ms(20));
        t.peer_does(Manner::Silent);
        t.unblock_device();
        t.at(9);
        let heard = (off == 0).then_some(s(8) + ms(10));
        assert_eq!(t.last_heard(), heard, "{}", t.story());
    }
}

/// K11: another connection's stall, between two retransmissions of ours, neither starts the user
/// timeout nor puts it off beyond the second of them.
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
    t.at(60);
    let events = t.events();
    let (at, _) = *events.last().expect("there is a verdict");
    assert!(s(12) < at && at < s(14), "{at:?}: {}", t.story());
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
    assert_eq!(events.last().map(|(at, _)| *at), Some(s(6)));
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

/// K4: a question for the neighbour is not a probe that left.
#[test]
fn k4_a_question_for_the_neighbour_is_no_probe() {
    let mut t = Setup::default().ethernet().established(config(100, 2, 3));
    // While this is set the probe is the first to need the neighbour.
    t.socket().set_keep_alive(Some(s(3600).smoltcp()));
    t.at(20);
    t.cut();
    t.at(200);
    assert_eq!(t.stats().probes_sent, 0);
    assert_eq!(t.stats().unsent_attempts, 3);
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
