//! What may happen to a connection while it is kept alive.

#![allow(
    clippy::unwrap_used,
    reason = "a helper of a test may fail as a test does"
)]

mod scenario;
mod twins;

use std::time::Duration;

use scenario::{End, Setup, config, established, ms, s, seed_for_isn, us, with_user_timeout};
use smoltcp::socket::tcp::State as Tcp;
use smoltcp::time::Instant;
use tcp_keepalive::smoltcp::CloseReason;
use tcp_keepalive::{Cause, Config, Event, ProbePayload, State};
use tcp_keepalive_sim::Manner;
use twins::Station;

// The time-table of a verdict.

/// A peer that stops answering is given up after exactly `count` probes, not one sooner.
#[test]
fn silent_peer_times_out_after_count_probes() {
    let mut t = established(config(10, 2, 3));
    t.silence_peer();
    t.until(10).nothing();
    t.at(10).probe(1);
    t.until(12).nothing();
    t.at(12).probe(2);
    t.until(14).nothing();
    t.at(14).probe(3);
    t.until(16).nothing();
    let verdict = t.at(16).timed_out();
    assert_eq!((verdict.unanswered, verdict.unsent), (3, 0));
    assert_eq!(verdict.silent_for, Duration::from_secs(16));
    t.at(1000).nothing();
}

/// Deadlines are exact to the microsecond: a microsecond before, nothing has happened.
#[test]
fn deadlines_are_exact_to_the_microsecond() {
    let millis = Duration::from_millis;
    let config = Config::new(millis(10_003), millis(2_007), 2).unwrap();
    let mut t = established(config);
    t.silence_peer();
    t.at(us(10_002_999)).nothing().at(us(10_003_000)).probe(1);
    t.at(us(12_009_999)).nothing().at(us(12_010_000)).probe(2);
    t.at(us(14_016_999)).nothing();
    let verdict = t.at(us(14_017_000)).timed_out();
    assert_eq!(verdict.silent_for, config.detection_time());
}

/// A peer that answers is probed once per idle time, counted from its answer, for ever.
#[test]
fn live_peer_is_never_given_up() {
    let mut t = established(config(10, 2, 3));
    let mut heard = s(0);
    for _ in 0..1000 {
        t.until(heard + s(10)).nothing();
        t.at(heard + s(10)).probe(1);
        heard = heard + s(10) + ms(20);
        t.at(heard).alive();
    }
    assert_eq!(t.events(), []);
    assert_eq!(
        (t.stats().probes_sent, t.stats().probes_answered),
        (1000, 1000)
    );
}

/// The answer to the last probe, in the last microsecond, saves the connection.
#[test]
fn answer_in_the_last_microsecond_is_in_time() {
    let mut t = established(config(10, 2, 3));
    t.silence_peer();
    t.at(10).probe(1).at(12).probe(2).at(13).nothing();
    t.peer_does(Manner::Late((ms(1980) - us(1)).duration()));
    t.at(14).probe(3);
    t.at(s(16) - us(1)).alive();
    t.until(s(26) - us(1)).nothing();
}

/// An answer that comes at the very deadline is in time: it lies in the device when we look.
#[test]
fn answer_at_the_deadline_is_in_time() {
    let mut t = established(config(10, 2, 3));
    t.silence_peer();
    t.at(10).probe(1).at(12).probe(2).at(13).nothing();
    t.peer_does(Manner::Late(ms(1980).duration()));
    t.at(14).probe(3);
    t.at(16).nothing().alive();
}

/// An answer that comes a microsecond after the verdict changes nothing.
#[test]
fn answer_a_microsecond_late_is_too_late() {
    let mut t = established(config(10, 2, 3));
    t.silence_peer();
    t.at(10).probe(1).at(12).probe(2).at(13).nothing();
    t.peer_does(Manner::Late((ms(1980) + us(1)).duration()));
    t.at(14).probe(3);
    t.at(16).timed_out();
    // The answer meets a socket that is closed, and smoltcp resets it.
    t.at(17).is(Tcp::Closed);
    assert_eq!(t.state(), Some(State::TimedOut));
}

/// A peer that is heard again starts a new round, with all its probes.
#[test]
fn recovered_peer_gets_all_its_probes_again() {
    let mut t = established(config(10, 2, 3));
    t.silence_peer();
    t.at(10).probe(1).at(12).probe(2).at(14).probe(3);
    t.at(15).nothing();
    t.peer_says(5);
    t.at(s(15) + ms(20)).ack();
    let heard = s(15) + ms(10);
    t.at(heard + s(10)).probe(1);
    t.at(heard + s(12)).probe(2);
    t.at(heard + s(14)).probe(3);
    let verdict = t.at(heard + s(16)).timed_out();
    assert_eq!(verdict.silent_for, Duration::from_secs(16));
}

/// Events come in order, each once, and at the time of what they tell.
#[test]
fn events_are_suspect_recovered_suspect_timed_out() {
    let mut t = established(config(10, 2, 3));
    t.silence_peer();
    t.at(10).probe(1).at(12).probe(2).at(13).nothing();
    t.peer_does(Manner::Answers);
    t.at(14).probe(3);
    t.at(15).alive();
    t.silence_peer();
    let heard = s(14) + ms(20);
    t.at(heard + s(10)).probe(1);
    t.at(heard + s(12)).probe(2);
    t.at(heard + s(14)).probe(3);
    let verdict = t.at(heard + s(16)).timed_out();
    t.at(1000).nothing();
    assert_eq!(
        t.events(),
        [
            (s(12), Event::Suspect { unanswered: 1 }),
            (heard, Event::Recovered { unanswered: 3 }),
            (heard + s(12), Event::Suspect { unanswered: 1 }),
            (heard + s(16), Event::TimedOut(verdict)),
        ]
    );
}

/// A probe that is answered before the next one would be due is no reason for suspicion.
#[test]
fn prompt_answers_cause_no_events() {
    let mut t = established(config(10, 2, 3));
    t.at(100);
    assert_eq!(t.events(), []);
}

/// The round-trip time of a probe is measured, to the microsecond.
#[test]
fn round_trip_time_is_measured() {
    let mut t = Setup::default()
        .latency(us(12_345))
        .established(config(10, 2, 3));
    t.at(11);
    assert_eq!(t.stats().probes_answered, 1);
    assert_eq!(t.stats().last_rtt, Some(Duration::from_micros(24_690)));
}

/// `poll_at` is never in the past twice in a row, through a whole life.
#[test]
fn poll_at_is_never_in_the_past_twice_in_a_row() {
    let mut t = Setup::default().ethernet().established(config(70, 2, 3));
    t.at(500);
    t.silence_peer();
    t.at(1000).is(Tcp::Closed);
    assert!(t.worst_idle_turns() <= 1, "{}", t.worst_idle_turns());
}

/// An idle loop sleeps: between two probes that are answered there are no other polls than the
/// frames require.
#[test]
fn idle_connection_costs_no_polls() {
    let mut t = established(config(1000, 2, 3));
    t.at(1).nothing();
    let polls = t.turns();
    t.until(1000).nothing();
    assert_eq!(t.turns(), polls);
}

// What we send does not count, and what the peer sends does.

/// K2: each segment of the peer moves the first probe away.
#[test]
fn whatever_the_peer_sends_moves_the_first_probe() {
    let mut t = established(config(10, 2, 3));
    t.at(4).nothing();
    t.peer_says(5);
    t.at(s(4) + ms(20)).ack();
    t.at(9).nothing();
    t.peer_acks();
    t.until(s(19) + ms(10)).nothing();
    t.at(s(19) + ms(10)).probe(1);
}

/// K2: a peer that probes us is alive.
#[test]
fn the_peers_own_keep_alive_counts() {
    let mut t = established(config(10, 2, 3));
    for second in [5, 10, 15, 20] {
        t.at(second).nothing();
        t.forge(|segment| segment.seq = segment.seq.wrapping_sub(1));
        t.at(s(second.into()) + ms(10)).ack();
        assert_eq!(t.last_heard(), Some(s(second.into()) + ms(10)));
    }
    t.until(s(30) + ms(10)).nothing();
    t.at(s(30) + ms(10)).probe(1);
}

/// K2, K11: what we send and the peer never acknowledges does not move the deadline: the user timeout
/// strikes at 15 s, asks, and decides an interval later.
#[test]
fn our_own_data_does_not_keep_the_connection_alive() {
    let mut t = established(with_user_timeout(config(10, 2, 3), 6));
    t.silence_peer();
    t.at(9).nothing();
    t.write(3);
    t.at(9).data(3);
    t.until(15);
    t.skip();
    t.at(15).question(3);
    t.at(16).data(3);
    t.until(17).nothing();
    t.at(17).timed_out_by_user_timeout();
}

// Options changed while probing.

/// K8: a longer interval, set between two probes, moves the next one to that long after the
/// last, and the probes sent so far count.
#[test]
fn interval_raised_while_probing() {
    let mut t = established(config(10, 2, 3));
    t.silence_peer();
    t.at(10).probe(1).at(11).nothing();
    t.enable(config(10, 7, 3));
    t.until(17).nothing();
    t.at(17).probe(2).at(24).probe(3);
    t.at(31).timed_out();
}

/// K8: a shorter interval, too; what has elapsed of it counts.
#[test]
fn interval_lowered_while_probing() {
    let mut t = established(config(10, 20, 3));
    t.silence_peer();
    t.at(10).probe(1).at(11).nothing();
    t.enable(config(10, 3, 3));
    t.until(13).nothing();
    t.at(13).probe(2).at(16).probe(3).at(19).timed_out();
}

/// K8: an interval lowered below what has elapsed sends the next probe at once.
#[test]
fn interval_lowered_below_the_elapsed() {
    let mut t = established(config(10, 20, 3));
    t.silence_peer();
    t.at(10).probe(1).at(15).nothing();
    t.enable(config(10, 3, 3));
    t.at(15).probe(2).at(18).probe(3).at(21).timed_out();
}

/// K8: an interval lowered, with the last probe out, to what has elapsed already makes the verdict due
/// at once: one more probe is sent first. Nothing was missed (K9).
#[test]
fn interval_lowered_below_the_elapsed_after_the_last_probe() {
    let mut t = established(config(10, 100, 2));
    t.silence_peer();
    t.at(10).probe(1).at(110).probe(2).at(150).nothing();
    t.enable(config(10, 3, 2));
    t.at(150).probe(3);
    t.until(153).nothing();
    t.at(153).timed_out();
    assert_eq!(t.stats().late_polls, 0);
}

/// K8: an idle time lowered below what has elapsed sends a probe at once. It lies in the past, so the
/// poll counts as late, if there was none for an interval.
#[test]
fn idle_lowered_below_the_elapsed() {
    let mut t = established(config(1000, 2, 3));
    t.at(500).nothing();
    t.silence_peer();
    t.enable(config(10, 2, 3));
    t.at(500).probe(1).at(502).probe(2).at(504).probe(3);
    t.at(506).timed_out();
    assert_eq!(t.stats().late_polls, 1);
}

/// K8, K11: a user timeout lowered below what has elapsed strikes at once: it asks, and decides an
/// interval later.
#[test]
fn user_timeout_lowered_below_the_elapsed() {
    let mut t = established(with_user_timeout(config(10, 2, 3), 1000));
    t.silence_peer();
    t.at(1).nothing();
    t.write(5);
    t.at(1).data(5);
    t.at(40);
    t.skip();
    t.enable(with_user_timeout(config(10, 2, 3), 20));
    t.at(40).question(5);
    t.until(42).nothing();
    t.at(42).timed_out_by_user_timeout();
    assert_eq!(t.stats().late_polls, 1);
}

/// K8: a count raised while probing is a longer life, lowered a shorter one, after one more question; the
/// probes sent so far count.
#[test]
fn count_changed_while_probing() {
    let mut t = established(config(10, 2, 5));
    t.silence_peer();
    t.at(10).probe(1).at(12).probe(2).at(13).nothing();
    t.enable(config(10, 2, 2));
    t.at(13).probe(3);
    t.until(15).nothing();
    assert_eq!(t.at(15).timed_out().unanswered, 3);

    let mut t = established(config(10, 2, 2));
    t.silence_peer();
    t.at(10).probe(1).at(12).probe(2).at(13).nothing();
    t.enable(config(10, 2, 4));
    t.at(14).probe(3).at(16).probe(4).at(18).timed_out();
}

/// K8: an application that sets the same options over and over changes nothing.
#[test]
fn options_set_periodically_change_nothing() {
    let mut t = established(config(10, 2, 3));
    t.silence_peer();
    for tenth in 0..160 {
        t.enable(config(10, 2, 3));
        t.until(ms(tenth * 100));
        t.enable(config(10, 2, 3));
    }
    assert_eq!(t.stats().probes_sent, 3);
    t.skip();
    t.at(16).timed_out();
}

/// The payload can be changed from one probe to the next.
#[test]
fn payload_changed_while_probing() {
    let mut t = established(config(10, 2, 3));
    t.silence_peer();
    assert_eq!(t.at(10).segment().payload, []);
    t.enable(config(10, 2, 3).with_payload(ProbePayload::GarbageOctet));
    assert_eq!(t.at(12).segment().payload, [0]);
}

// Data and probes.

/// K3: data written between two probes takes their place; its acknowledgement ends the probing.
#[test]
fn data_written_between_two_probes_is_answered() {
    let mut t = established(config(10, 2, 3));
    t.silence_peer();
    t.at(10).probe(1).at(11).nothing();
    t.peer_does(Manner::Answers);
    t.write(5);
    t.at(11).data(5);
    let heard = s(11) + ms(20);
    t.at(heard).alive();
    t.until(heard + s(10)).nothing();
    t.at(heard + s(10)).probe(1);
}

/// K3, MUST-26: while data is unacknowledged there are no probes, and without a user timeout no
/// verdict either.
#[test]
fn no_probe_while_data_is_outstanding() {
    let mut t = established(config(10, 2, 3));
    t.silence_peer();
    t.at(10).probe(1).at(11).nothing();
    t.write(5);
    t.at(600).is(Tcp::Established);
    let sent = t.take_sent();
    assert!(sent.len() > 5);
    assert!(
        sent.iter()
            .all(|sent| sent.tcp().unwrap().payload.len() == 5)
    );
}

/// K11: data written in the last moment before the verdict is given the user timeout, and a question
/// at its end.
#[test]
fn data_written_at_the_last_moment_gets_the_user_timeout() {
    let mut t = established(with_user_timeout(config(10, 2, 3), 30));
    t.silence_peer();
    t.at(10).probe(1).at(12).probe(2).at(14).probe(3);
    t.at(s(16) - us(1)).nothing();
    t.write(5);
    t.at(s(16) - us(1)).data(5);
    t.until(s(46) - us(1));
    t.skip();
    t.at(s(46) - us(1)).question(5);
    t.at(s(47) - us(1)).data(5);
    t.until(s(48) - us(1)).nothing();
    t.at(s(48) - us(1)).timed_out_by_user_timeout();
}

/// Once the peer has acknowledged all, probes are as they were before.
#[test]
fn probes_resume_after_data_was_acknowledged() {
    let mut t = established(with_user_timeout(config(10, 2, 3), 5));
    t.at(3).nothing();
    t.write(100);
    t.at(3).data(100);
    let heard = s(3) + ms(20);
    t.at(heard).alive();
    t.silence_peer();
    t.until(heard + s(10)).nothing();
    t.at(heard + s(10)).probe(1);
    t.at(heard + s(12)).probe(2);
    t.at(heard + s(14)).probe(3);
    t.at(heard + s(16)).timed_out();
}

/// K11: a peer that acknowledges every retransmission's worth is alive, however slow it is.
#[test]
fn each_acknowledgement_restarts_the_user_timeout() {
    let mut t = established(with_user_timeout(config(100, 2, 3), 5));
    for second in 0..50 {
        t.write(1);
        t.at(s(second) + ms(900));
    }
    t.is(Tcp::Established);
    assert_eq!(t.events(), []);
}

/// The peer's window is zero and it answers each window probe, and each question of the user timeout
/// between them: it is alive, however small that is.
#[test]
fn answered_window_probes_outlive_any_user_timeout() {
    let mut t = established(with_user_timeout(config(10, 2, 3), 1));
    t.peer().window = 0;
    t.peer_acks();
    t.at(1).nothing();
    t.write(10);
    t.at(3600).is(Tcp::Established);
    assert_eq!(t.events(), []);
    let sent = t.take_sent();
    let (window_probes, questions): (Vec<_>, Vec<_>) = sent
        .iter()
        .map(|sent| sent.tcp().unwrap())
        .partition(|segment| segment.payload.len() == 1);
    assert!(questions.iter().all(|segment| segment.is_pure_ack()));
    assert!(window_probes.len() > 50 && questions.len() > 50);
}

/// The peer's window is zero and it has died. Window probes are a minute apart, so nothing asks
/// while it is silent for the idle time: the user timeout runs from there, asks, and decides an
/// interval later.
#[test]
fn unanswered_window_probes_run_into_the_user_timeout() {
    let mut t = established(with_user_timeout(config(10, 2, 3), 5));
    t.peer().window = 0;
    t.peer_acks();
    t.at(1).nothing();
    t.write(10);
    t.at(16).is(Tcp::Established);
    t.silence_peer();
    let heard = t.last_heard().unwrap();
    t.skip();
    t.until(heard + s(15)).nothing();
    // One octet of a window probe is outstanding.
    t.at(heard + s(15)).question(1);
    t.until(heard + s(17));
    t.skip();
    t.at(heard + s(17)).timed_out_by_user_timeout();
}

/// A peer that closes its window while it is being probed and has nothing to receive is probed
/// as any other.
#[test]
fn zero_window_of_a_quiet_peer_changes_nothing() {
    let mut t = established(config(10, 2, 3));
    t.peer().window = 0;
    t.at(10).probe(1);
    let heard = s(10) + ms(20);
    t.at(heard).alive();
    t.silence_peer();
    t.at(heard + s(10)).probe(1);
    t.at(heard + s(12)).probe(2);
    t.at(heard + s(14)).probe(3);
    t.at(heard + s(16)).timed_out();
}

/// Our own window is zero, because the application does not read: the probe says so.
#[test]
fn probe_carries_our_own_zero_window() {
    let mut t = Setup::default()
        .buffers(100, 100)
        .established(config(10, 2, 3));
    t.at(1).nothing();
    t.peer_says(100);
    let heard = s(1) + ms(10);
    t.until(heard + s(10));
    t.skip();
    let probe = t.at(heard + s(10)).segment();
    assert_eq!(probe.window, 0);
    t.at(heard + s(11)).alive();
}

/// A delayed acknowledgement that is pending when the probe falls due leaves by itself, and the
/// probe afterwards acknowledges no less.
#[test]
fn delayed_ack_pending_when_the_probe_falls_due() {
    // The peer's octets arrive 5 ms before the probe would be due; with the idle time shorter
    // than the delay of the acknowledgement, both are pending.
    let idle = Duration::from_millis(5);
    let config = Config::new(idle, Duration::from_secs(2), 3).unwrap();
    let mut t = Setup::default().connected();
    t.at(1).nothing();
    t.peer_says(3);
    t.enable(config);
    let heard = s(1) + ms(10);
    t.at(heard + ms(10));
    let sent = t.take_sent();
    let acks: Vec<_> = sent.iter().map(|sent| sent.tcp().unwrap().ack).collect();
    let last = t.peer().snd_nxt;
    assert_eq!(acks.last(), Some(&Some(last)));
    t.at(heard + ms(200)).is(Tcp::Established);
}

/// A large segment counts as heard when it arrived, once it is acknowledged.
#[test]
fn large_segments_are_heard_when_they_arrived() {
    let mut t = established(config(10, 2, 3));
    t.at(4).nothing();
    t.peer_says(500);
    t.at(5);
    let arrived = s(4) + ms(10);
    assert_eq!(t.last_heard(), Some(arrived));
    t.skip();
    t.until(arrived + s(10)).nothing();
    t.at(arrived + s(10)).probe(1);
}

/// K18: the checksum of a segment is verified up to 128 octets, header included; a longer one is
/// believed on its numbers.
#[test]
fn k18_checksums_are_verified_up_to_128_octets() {
    for (len, is_heard) in [(1, false), (108, false), (109, true), (500, true)] {
        let mut t = established(config(10, 2, 3));
        t.silence_peer();
        t.at(5).nothing();
        t.forge(|segment| {
            segment.payload = vec![0; len];
            segment.checksum_ok = false;
        });
        t.at(6).nothing();
        let heard = if is_heard { s(5) + ms(10) } else { s(0) };
        assert_eq!(t.last_heard(), Some(heard), "{len} octets");
    }
}

/// A large segment ends the probing, too.
#[test]
fn large_segments_end_the_probing() {
    let mut t = established(config(10, 2, 3));
    t.silence_peer();
    t.at(10).probe(1).at(12).probe(2).at(13).nothing();
    t.peer_says(500);
    t.at(s(13) + ms(50)).alive();
    assert_eq!(t.last_heard(), Some(s(13) + ms(10)));
    assert_eq!(
        t.events().last(),
        Some(&(s(13) + ms(10), Event::Recovered { unanswered: 2 }))
    );
}

/// A stream of large segments out of order, none of them acknowledged anew, is heard.
#[test]
fn large_segments_behind_a_gap_are_heard() {
    let mut t = established(config(10, 2, 3));
    t.silence_peer();
    t.at(4).nothing();
    t.forge(|segment| {
        segment.seq = segment.seq.wrapping_add(100);
        segment.payload = vec![0; 300];
    });
    t.at(5);
    assert_eq!(t.last_heard(), Some(s(4) + ms(10)));
}

// What is not the peer's.

/// Segments that hit neither the window nor the acknowledgements do not keep a dead connection
/// alive.
#[test]
fn blind_segments_do_not_keep_a_dead_connection_alive() {
    let mut t = established(config(10, 2, 3));
    t.silence_peer();
    for tenth in 1..160 {
        t.until(ms(100 * tenth));
        t.forge(|segment| segment.seq = segment.seq.wrapping_add(1_000_000));
        t.forge(|segment| segment.ack = segment.ack.map(|ack| ack.wrapping_add(1_000_000)));
        t.forge(|segment| segment.ack = segment.ack.map(|ack| ack.wrapping_sub(1_000_000)));
        t.forge(|segment| segment.ack = None);
        t.forge(|segment| {
            segment.seq = segment.seq.wrapping_sub(1_000_000);
            segment.payload = vec![0; 200];
        });
    }
    let probes = t.stats().probes_sent;
    t.at(16);
    assert_eq!(probes, 3);
    assert_eq!(t.given_up(Cause::KeepAlive).unanswered, 3);
}

/// An acknowledgement of an octet that was never sent is not the peer's.
#[test]
fn acknowledging_the_future_is_no_sign_of_life() {
    let mut t = established(config(10, 2, 3));
    t.silence_peer();
    t.at(5).nothing();
    t.forge(|segment| segment.ack = segment.ack.map(|ack| ack.wrapping_add(1)));
    t.until(10);
    t.skip();
    t.at(10).probe(1);
}

/// Segments with a bad checksum do not keep a dead connection alive.
#[test]
fn corrupted_segments_do_not_keep_a_dead_connection_alive() {
    let mut t = established(config(10, 2, 3));
    t.silence_peer();
    for tenth in 1..160 {
        t.until(ms(100 * tenth));
        t.forge(|segment| segment.checksum_ok = false);
    }
    assert_eq!(t.stats().probes_sent, 3);
    t.skip();
    t.at(16).timed_out();
}

/// RSTs and SYNs that smoltcp does not believe do not keep a dead connection alive, and do not
/// pass for its end. The SYNs draw a question a second, which is not in the count (K19).
#[test]
fn forged_rst_and_syn_change_nothing() {
    let mut t = established(config(10, 2, 3));
    t.silence_peer();
    for tenth in 1..160 {
        t.until(ms(100 * tenth));
        t.forge(|segment| {
            segment.rst = true;
            segment.seq = segment.seq.wrapping_add(1_000_000);
        });
        t.forge(|segment| {
            segment.syn = true;
            segment.ack = None;
            segment.seq = segment.seq.wrapping_add(1_000_000);
        });
    }
    assert_eq!(t.stats().probes_sent, 3);
    t.at(16);
    t.given_up(Cause::KeepAlive);
    assert!(matches!(t.close_reason(), Some(CloseReason::KeepAlive(_))));
}

/// A SYN with the right numbers is no sign of life either: smoltcp does not accept it.
#[test]
fn syn_with_the_right_numbers_is_no_sign_of_life() {
    let mut t = established(config(10, 2, 3));
    t.silence_peer();
    t.at(5).nothing();
    t.forge(|segment| segment.syn = true);
    t.until(10);
    t.skip();
    t.at(10).probe(1);
}

/// The host's own frames, reflected, are no sign of life.
#[test]
fn reflected_frames_are_no_sign_of_life() {
    let mut t = established(config(10, 2, 3));
    t.silence_peer();
    for second in 1..16 {
        t.until(second);
        let frames: Vec<_> = t
            .trace()
            .into_iter()
            .filter(|sent| sent.from == End::Us)
            .collect();
        for frame in frames {
            t.inject(frame.bytes.to_vec());
        }
    }
    assert_eq!(t.stats().probes_sent, 3);
    t.at(16);
    t.given_up(Cause::KeepAlive);
}

// The clock.

/// A clock that jumps ahead finds a probe due, and no verdict.
#[test]
fn clock_jumping_ahead_kills_nobody() {
    let mut t = established(config(10, 2, 3));
    t.at(5).nothing();
    t.step_clock(s(1_000_000));
    t.at(5).probe(1);
    t.at(6).alive();
}

/// A clock that jumps ahead while probing does not decide either: one more probe is sent first.
#[test]
fn clock_jumping_ahead_while_probing_asks_once_more() {
    let mut t = established(config(10, 2, 3));
    t.cut();
    t.at(10).probe(1).at(12).probe(2).at(14).probe(3);
    t.at(15).nothing();
    t.step_clock(s(1_000_000));
    t.repair();
    t.at(15).probe(4);
    t.at(16).alive();
}

/// K10: after the clock has stepped back the silence counts anew, from what is heard then.
#[test]
fn heard_after_the_clock_stepped_back() {
    let mut t = established(config(10, 2, 3));
    t.at(5).nothing();
    t.step_clock(s(-600));
    t.at(6).nothing();
    t.peer_acks();
    t.until(s(16) + ms(10)).nothing();
    t.at(s(16) + ms(10)).probe(1);
    t.at(17).alive();
}

/// A clock that jumps back and forth never shortens the silence.
#[test]
fn clock_jumping_back_and_forth() {
    let mut t = established(config(10, 2, 3));
    t.silence_peer();
    for second in 1..10 {
        t.at(second).nothing();
        let back = if second % 2 == 0 { s(100) } else { s(-100) };
        t.step_clock(back);
    }
    t.step_clock(s(100));
    t.until(10).nothing();
    t.at(10).probe(1).at(12).probe(2).at(14).probe(3);
    t.at(16).timed_out();
}

/// A clock that steps back to before its epoch is no trouble: when it has caught up, everything
/// goes to time.
#[test]
fn negative_moments_are_no_trouble() {
    let mut t = Setup::default()
        .smoltcp_epoch(s(10_000))
        .established(config(10, 2, 3));
    t.silence_peer();
    t.at(1).nothing();
    t.step_clock(s(-5_000));
    t.until(5010).nothing();
    t.at(5010).probe(1).at(5012).probe(2).at(5014).probe(3);
    t.at(5016).timed_out();
}

/// K10: a single reading that is an hour ahead sends a probe, and delays the verdict on a peer that
/// dies then by one period at most.
#[test]
fn k10_one_reading_an_hour_ahead_delays_a_verdict_by_one_period() {
    for second in [1, 9, 11, 13, 15] {
        let mut t = established(config(10, 2, 3));
        t.silence_peer();
        t.at(second);
        t.step_clock(s(3600));
        t.wake();
        t.at(s(second.into()) + ms(1));
        t.step_clock(s(-3600));
        t.wake();
        t.at(s(second.into()) + s(32));
        t.given_up_on_all(1);
        assert_eq!(t.socket().state(), Tcp::Closed);
    }
}

/// K10: ten such readings, one after the other, have no live peer given up.
#[test]
fn k10_readings_an_hour_ahead_have_no_live_peer_given_up() {
    for pause in [100, 1000, 2500, 7000, 11_000] {
        let mut t = established(config(10, 2, 3));
        for _ in 0..10 {
            t.step_clock(s(3600));
            t.wake();
            let now = t.time();
            t.at(now + ms(1));
            t.step_clock(s(-3600));
            t.wake();
            t.at(now + ms(pause));
        }
        let now = t.time();
        t.at(now + s(100)).alive();
        t.given_up_on_all(0);
    }
}

/// K13: the clock at the last moment that smoltcp can say: an open connection that is idle is no reason
/// for a panic, in a build that checks its arithmetic.
#[test]
fn k13_the_last_moment_of_all_is_no_trouble() {
    for before in [0, 1, 1_999_999, 10_000_000, i64::MAX / 2] {
        for ipv6 in [false, true] {
            let setup = twins::Setup {
                ipv6,
                all_kinds: false,
                ..twins::Setup::of(0)
            };
            let mut host = Station::new(&setup, 1, 7, Some(config(10, 2, 3)));
            let mut peer = Station::new(&setup, 2, 9, None);
            let now = Instant::from_secs(1000);
            host.open(&setup);
            peer.open(&setup);
            for _ in 0..8 {
                host.poll(now);
                peer.wire
                    .inbound
                    .append(&mut host.wire.outbound.drain(..).collect());
                peer.poll(now);
                host.wire.inbound.extend(peer.wire.outbound.drain(..));
            }
            assert_eq!(host.tcp(0).state(), Tcp::Established);
            let last = Instant::from_micros(i64::MAX);
            for now in [Instant::from_micros(i64::MAX - before), last, last] {
                host.poll(now);
                let _ = host.poll_at(now);
                let _ = host.poll_delay(now);
            }
            assert!(host.probes_sent() > 0);
        }
    }
}

// Several connections.

/// Of two connections the silent one is given up, and the other lives.
#[test]
fn of_two_connections_only_the_silent_one_is_given_up() {
    let mut t = Setup::default()
        .connections(2)
        .established(config(10, 2, 3));
    t.peer_does(Manner::Silent);
    t.at(10).probe_on(0, 1).probe_on(1, 1);
    t.at(12).probe_on(0, 2);
    t.at(14).probe_on(0, 3);
    t.at(16).timed_out();
    t.at(s(20) + ms(20)).probe_on(1, 1);
    t.at(21);
    assert_eq!(t.state_of(1), Some(State::Armed));
    assert_eq!(t.socket_of(1).state(), Tcp::Established);
    assert_eq!(t.events().len(), 2);
}

/// Four half-open connections are given up at once, each with its own RST.
#[test]
fn four_half_open_connections_at_once() {
    let mut t = Setup::default()
        .connections(4)
        .established(config(10, 2, 3));
    t.silence_peer();
    for (second, number) in [(10, 1), (12, 2), (14, 3)] {
        t.at(second);
        for index in 0..4 {
            t.probe_on(index, number);
        }
    }
    t.until(16).nothing();
    t.at(16).rst().rst().rst().rst();
    for index in 0..4 {
        assert_eq!(t.state_of(index), Some(State::TimedOut));
        assert_eq!(t.socket_of(index).state(), Tcp::Closed);
    }
    let verdicts = t.events();
    let verdicts = verdicts
        .iter()
        .filter(|(_, event)| matches!(event, Event::TimedOut(_)));
    assert_eq!(verdicts.count(), 4);
}

/// Each connection has its own time-table.
#[test]
fn connections_have_their_own_time_tables() {
    let mut t = Setup::default().connections(3).connected();
    t.silence_peer();
    t.enable_on(2, config(5, 1, 2));
    t.enable_on(0, config(6, 1, 2));
    t.enable_on(1, config(7, 1, 2));
    t.at(5).probe_on(2, 1);
    // At one moment, in the order in which they were enabled.
    t.at(6).probe_on(2, 2).probe_on(0, 1);
    t.at(7).rst().probe_on(0, 2).probe_on(1, 1);
    t.at(8).rst().probe_on(1, 2);
    t.at(9).rst();
    t.at(100);
    assert!(t.take_sent().is_empty());
}

// The numbers of a probe.

/// SND.NXT - 1 wraps: with SND.NXT zero, the probe's SEQ is the last number of all.
#[test]
fn sequence_number_wraps_below_zero() {
    let setup = Setup::default().seed(seed_for_isn(u32::MAX));
    let mut t = setup.established(config(10, 2, 3));
    let probe = t.at(10).segment();
    assert_eq!(probe.seq, u32::MAX);
    t.at(11).alive();
}

/// SND.NXT one: the probe's SEQ is zero.
#[test]
fn sequence_number_zero() {
    let setup = Setup::default().seed(seed_for_isn(0));
    let mut t = setup.established(config(10, 2, 3));
    let probe = t.at(10).segment();
    assert_eq!(probe.seq, 0);
    t.at(11).alive();
}

/// SND.NXT passes zero in the middle of data, and the peer's answers are understood.
#[test]
fn sequence_number_wraps_within_data() {
    let setup = Setup::default().seed(seed_for_isn(u32::MAX - 5));
    let mut t = setup.established(config(10, 2, 3));
    t.write(20);
    t.at(0).data(20);
    t.at(s(10) + ms(20)).probe(1);
    t.at(11).alive();
    t.silence_peer();
    t.at(s(20) + ms(40)).probe(1);
}

/// RCV.NXT wraps as well.
#[test]
fn acknowledgement_number_wraps() {
    let mut t = Setup::default()
        .peer_isn(u32::MAX - 2)
        .established(config(10, 2, 3));
    t.peer_says(2);
    t.at(1);
    t.skip();
    assert_eq!(t.peer().snd_nxt, 0);
    t.at(s(10) + ms(10)).probe(1);
    t.at(11).alive();
    t.peer_says(2);
    t.at(12);
    t.skip();
    t.at(s(21) + ms(10)).probe(1);
}

/// Everything that the peer has said is acknowledged by the probe.
#[test]
fn probe_acknowledges_all_that_was_received() {
    let mut t = established(config(10, 2, 3));
    for len in [1, 2, 3] {
        t.peer_says(len);
        t.at(len_as_second(len));
    }
    t.skip();
    t.until(s(12) + ms(10)).nothing();
    t.at(s(12) + ms(10)).probe(1);
}

fn len_as_second(len: usize) -> i32 {
    i32::try_from(len).unwrap()
}

// The language of the scenarios.

/// A scenario is the same each time it is run, octet by octet.
#[test]
fn scenarios_are_deterministic() {
    let run = || {
        let mut t = Setup::default()
            .ethernet()
            .timestamps()
            .established(config(70, 2, 3));
        t.write(100);
        t.at(200);
        t.silence_peer();
        t.at(400);
        (format!("{:?}", t.trace()), t.events())
    };
    assert_eq!(run(), run());
}

/// An unclaimed frame fails the next claim.
#[test]
#[should_panic(expected = "expected no frame")]
fn unclaimed_frames_fail_a_scenario() {
    established(config(10, 2, 3)).at(10).nothing();
}

/// A frame that is claimed for another moment is not found.
#[test]
#[should_panic(expected = "sent at another time")]
fn frames_at_another_time_fail_a_scenario() {
    established(config(10, 2, 3)).at(11).probe(1);
}

/// A probe that does not come is missed.
#[test]
#[should_panic(expected = "nothing was sent")]
fn missing_frames_fail_a_scenario() {
    Setup::default().connected().at(10).probe(1);
}

/// A segment that is no probe does not pass for one.
#[test]
#[should_panic(expected = "a bad probe")]
fn other_segments_fail_a_scenario() {
    let mut t = established(config(10, 2, 3));
    t.write(1);
    t.at(0).probe(1);
}
