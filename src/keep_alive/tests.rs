use core::time::Duration;

use super::*;
use crate::tcb::SeqNumber;

const QUIET: Tcb = Tcb {
    snd_una: SeqNumber(1),
    snd_nxt: SeqNumber(1),
    rcv_nxt: SeqNumber(1),
    rcv_wnd: 1,
    timestamps: None,
    unsent: false,
};

const fn at(seconds: u64) -> Instant {
    Instant::from_millis(seconds.saturating_mul(1000))
}

fn config() -> Config {
    Config::new(Duration::from_secs(10), Duration::from_secs(2), 2).unwrap()
}

/// A machine that has counted as far as it can.
fn full() -> KeepAlive {
    let mut machine = KeepAlive::new(config());
    machine.probes_sent = u32::MAX;
    machine.probes_answered = u32::MAX;
    machine.unsent_attempts = u16::MAX;
    machine.verdicts = u16::MAX;
    machine.late_polls = u16::MAX;
    machine.enable(at(0));
    machine
}

/// Counters stop at the last number there is: they neither wrap nor panic.
#[test]
fn k16_counters_stop_at_the_last_number() {
    let mut machine = full();
    machine.handle_timeout(at(100), &QUIET);
    let probe = machine.poll_transmit(at(100), &QUIET).unwrap();
    machine.handle_transmitted(at(100), probe);
    machine.handle_segment(at(101));
    for seconds in [111, 113, 115] {
        machine.handle_timeout(at(seconds), &QUIET);
        // What is offered cannot leave.
        drop(machine.poll_transmit(at(seconds), &QUIET));
    }
    assert_eq!(machine.state(), State::TimedOut);
    let stats = machine.stats();
    assert_eq!(stats.last_rtt, Some(Duration::from_secs(1)));
    assert_eq!(
        stats,
        Stats {
            probes_sent: u32::MAX,
            probes_answered: u32::MAX,
            unsent_attempts: u16::MAX.into(),
            verdicts: u16::MAX.into(),
            late_polls: u16::MAX.into(),
            last_rtt: stats.last_rtt,
        }
    );
}

/// An answer that took longer than can be told is told as the longest that can.
#[test]
fn k16_a_round_trip_of_hours_is_told_as_71_minutes() {
    let mut machine = KeepAlive::new(
        Config::new(Duration::from_secs(10), Duration::from_secs(86_400), 2).unwrap(),
    );
    machine.enable(at(0));
    machine.handle_timeout(at(10), &QUIET);
    let probe = machine.poll_transmit(at(10), &QUIET).unwrap();
    machine.handle_transmitted(at(10), probe);
    machine.handle_segment(at(80_000));
    let longest = Duration::from_micros(u64::from(u32::MAX) - 1);
    assert_eq!(machine.stats().last_rtt, Some(longest));
}

/// A machine that waits for silence has nothing to settle when the peer is heard; one that probes has.
#[test]
fn k15_only_probing_is_unsettled() {
    let mut machine = KeepAlive::new(config());
    machine.enable(at(0));
    machine.handle_segment(at(1));
    assert!(machine.is_armed());
    machine.handle_timeout(at(11), &QUIET);
    assert!(!machine.is_armed());
    machine.handle_segment(at(12));
    assert!(machine.is_armed());
}

/// The question of a user timeout is taken back if there is no user timeout any more at the next look.
#[test]
fn k8_a_user_timeout_that_is_taken_away_asks_nothing() {
    let timeout = Duration::from_secs(5);
    let with_timeout = config().with_user_timeout(timeout).unwrap();
    for has_asked in [false, true] {
        let mut machine = KeepAlive::new(with_timeout);
        machine.enable(at(0));
        machine.handle_sent(at(1));
        assert_eq!(machine.due(), at(6));
        if has_asked {
            machine.handle_time(at(6), true);
            assert!(machine.offer(at(6), true));
        }
        machine.set_config(at(6), config());
        machine.handle_time(at(6), true);
        assert!(!machine.offer(at(6), true));
        assert!(machine.due() > at(6));
    }
}

/// A probe that goes out again, for another next hop, puts off what decides, once, and nothing else.
#[cfg(feature = "link")]
#[test]
fn k17_a_repeat_puts_off_what_decides() {
    let mut machine = KeepAlive::new(config());
    let interval = config().interval();
    machine.enable(at(0));
    let mut now = at(0).saturating_add(config().idle());
    for attempt in 1..=config().count() {
        machine.handle_time(now, false);
        assert!(machine.offer(now, false));
        machine.handle_probe_sent(now);
        assert!(machine.handle_hop_moved());
        assert!(machine.has_moved(false));
        let later = now.saturating_add(interval / 2);
        machine.handle_probe_sent_again(later);
        assert!(!machine.has_moved(false));
        let is_last = attempt == config().count();
        let begun = if is_last { later } else { now };
        now = begun.saturating_add(interval);
        assert_eq!(machine.due(), now, "attempt {attempt}");
    }
    // Once: and not while another question is under way, or none.
    let later = now.saturating_add(interval / 2);
    machine.handle_probe_sent_again(later);
    assert_eq!(machine.due(), now);
    machine.handle_time(now, false);
    assert!(machine.is_over());
}

/// States and events are sentences.
#[test]
fn states_and_events_are_shown_in_words() {
    extern crate std;
    use std::string::ToString;

    assert_eq!(State::Disabled.to_string(), "disabled");
    assert_eq!(State::Armed.to_string(), "armed");
    assert_eq!(State::TimedOut.to_string(), "timed out");
    let probing = State::Probing { unanswered: 2 };
    assert_eq!(probing.to_string(), "probing, 2 unanswered");
    let suspect = Event::Suspect { unanswered: 1 };
    assert_eq!(suspect.to_string(), "suspect: 1 probes unanswered");
    let recovered = Event::Recovered { unanswered: 3 };
    assert_eq!(recovered.to_string(), "recovered: 3 probes unanswered");
    let verdict = Verdict {
        cause: Cause::KeepAlive,
        silent_for: Duration::from_secs(16),
        unanswered: 3,
        unsent: 0,
        failed_at: FailedAt::NextHop,
    };
    assert_eq!(
        Event::TimedOut(verdict).to_string(),
        "timed out: keep-alive: silent for 16s, 3 probes unanswered, 0 unsent, failed at the next hop"
    );
}
