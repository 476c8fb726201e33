//! The rules K1 to K16 of the machine, each by name.
//!
//! A [`Connection`] plays the stack: it polls when the machine asks for it, sends what it is
//! offered as long as its device works, and writes down what happened and when.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    reason = "a test that goes wrong fails, and that is all it has to do"
)]

use std::time::Duration;

use What::{Probe, Recovered, Suspect, TimedOut};
use tcp_keepalive::{
    Cause, Config, Event, FailedAt, Instant, KeepAlive, ProbePayload, SeqNumber, State, Tcb,
    Verdict,
};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum What {
    Probe,
    Suspect(u8),
    Recovered(u8),
    TimedOut(Verdict),
}

struct Connection {
    machine: KeepAlive,
    tcb: Tcb,
    can_send: bool,
}

const QUIET: Tcb = Tcb {
    snd_una: SeqNumber(1000),
    snd_nxt: SeqNumber(1000),
    rcv_nxt: SeqNumber(5000),
    rcv_wnd: 512,
    timestamps: None,
    unsent: false,
};
const IN_FLIGHT: Tcb = Tcb {
    snd_nxt: SeqNumber(1010),
    ..QUIET
};

const QUEUED: Tcb = Tcb {
    unsent: true,
    ..QUIET
};

const fn at(seconds: u64) -> Instant {
    Instant::from_millis(seconds * 1000)
}

const fn just_before(seconds: u64) -> Instant {
    Instant::from_micros(seconds * 1_000_000 - 1)
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn config(idle: u64, interval: u64, count: u8) -> Config {
    Config::new(secs(idle), secs(interval), count).unwrap()
}

fn with_user_timeout(config: Config, seconds: u64) -> Config {
    config.with_user_timeout(secs(seconds)).unwrap()
}

fn verdict(cause: Cause, silent_for: u64, unanswered: u8, unsent: u8) -> Verdict {
    let failed_at = if unanswered == 0 && unsent > 0 {
        FailedAt::Device
    } else {
        FailedAt::Peer
    };
    Verdict {
        failed_at,
        cause,
        silent_for: secs(silent_for),
        unanswered,
        unsent,
    }
}

impl Connection {
    /// A connection on which nothing was heard yet, and keep-alive is off.
    fn off(config: Config) -> Self {
        Self {
            machine: KeepAlive::new(config),
            tcb: QUIET,
            can_send: true,
        }
    }

    /// A quiet connection whose peer was last heard at 0 s.
    fn armed(config: Config) -> Self {
        let mut connection = Self::off(config);
        connection.machine.enable(at(0));
        connection.machine.handle_segment(at(0));
        connection
    }

    /// Polls whenever the machine asks for it, up to and including `until`.
    fn run_until(&mut self, until: Instant) -> Vec<(Instant, What)> {
        let mut log = Vec::new();
        while let Some(now) = self.machine.poll_timeout().filter(|due| *due <= until) {
            self.poll(now, &mut log);
            let next = self.machine.poll_timeout();
            assert!(
                next.is_none_or(|next| next > now),
                "K13: {next:?} at {now:?}"
            );
        }
        log
    }

    /// Polls once, at `now`, whenever the machine wanted that.
    fn poll_at(&mut self, now: Instant) -> Vec<(Instant, What)> {
        let mut log = Vec::new();
        self.poll(now, &mut log);
        log
    }

    fn poll(&mut self, now: Instant, log: &mut Vec<(Instant, What)>) {
        self.machine.handle_timeout(now, &self.tcb);
        while let Some(probe) = self.machine.poll_transmit(now, &self.tcb) {
            if !self.can_send {
                break;
            }
            self.machine.handle_transmitted(now, probe);
            log.push((now, Probe));
        }
        while let Some(event) = self.machine.poll_event() {
            let what = match event {
                Event::Suspect { unanswered } => Suspect(unanswered),
                Event::Recovered { unanswered } => Recovered(unanswered),
                Event::TimedOut(verdict) => TimedOut(verdict),
                other => panic!("an event this test does not know: {other:?}"),
            };
            log.push((now, what));
        }
    }
}

/// A machine that was not enabled asks for nothing and sends nothing, for ever.
#[test]
fn k1_off_until_enabled() {
    let mut t = Connection::off(config(10, 2, 3));
    t.machine.handle_segment(at(0));
    assert_eq!(t.machine.state(), State::Disabled);
    assert_eq!(t.machine.poll_timeout(), None);
    assert_eq!(t.poll_at(at(100_000)), []);
}

/// Disabling silences a machine at once, whatever it was about to do.
#[test]
fn k1_disable_acts_at_once() {
    let mut armed = Connection::armed(config(10, 2, 3));
    let mut probing = Connection::armed(config(10, 2, 3));
    probing.run_until(at(12));
    let mut wanting = Connection::armed(config(10, 2, 3));
    wanting.can_send = false;
    wanting.run_until(at(10));
    wanting.can_send = true;
    let mut owed = Connection::armed(with_user_timeout(config(10, 2, 3), 5));
    owed.machine.handle_sent(at(1));

    for t in [&mut armed, &mut probing, &mut wanting, &mut owed] {
        t.machine.disable();
        assert_eq!(t.machine.state(), State::Disabled);
        assert_eq!(t.machine.poll_timeout(), None);
        assert_eq!(t.poll_at(at(100_000)), []);
    }
}

/// Enabling anew starts a new round: the probes of the old one are not counted.
#[test]
fn k1_enabling_again_starts_from_nothing() {
    let mut t = Connection::armed(config(10, 2, 3));
    t.run_until(at(14));
    t.machine.disable();
    t.machine.enable(at(15));
    assert_eq!(t.machine.state(), State::Armed);
    assert_eq!(
        t.run_until(at(21)),
        [
            (at(15), Probe),
            (at(17), Probe),
            (at(17), Suspect(1)),
            (at(19), Probe),
            (at(21), TimedOut(verdict(Cause::KeepAlive, 21, 3, 0))),
        ]
    );
}

/// Enabling what is enabled, and setting an equal configuration, change nothing, however often.
#[test]
fn k1_repeating_oneself_changes_nothing() {
    let mut t = Connection::armed(config(10, 2, 3));
    for second in 0..10 {
        t.machine.enable(at(second));
        t.machine.set_config(at(second), config(10, 2, 3));
    }
    assert_eq!(t.machine.poll_timeout(), Some(at(10)));
    t.run_until(at(12));
    t.machine.set_config(at(13), config(10, 2, 3));
    assert_eq!(t.machine.poll_timeout(), Some(at(14)));
}

/// Nor does an equal configuration move a probe that was put off.
#[test]
fn k1_an_equal_configuration_keeps_what_was_put_off() {
    let mut t = Connection::armed(config(10, 2, 3));
    t.tcb = QUEUED;
    t.run_until(at(10));
    t.machine.set_config(at(11), config(10, 2, 3));
    assert_eq!(t.machine.poll_timeout(), Some(at(20)));
}

/// What the peer came to owe before a machine was switched on is no debt.
#[test]
fn k1_debts_of_before_do_not_count() {
    let mut t = Connection::armed(with_user_timeout(config(10, 2, 3), 5));
    t.machine.handle_sent(at(1));
    t.machine.disable();
    t.machine.handle_sent(at(2));
    t.machine.enable(at(3));
    assert_eq!(t.machine.poll_timeout(), Some(at(10)));
}

/// The first probe leaves exactly an idle time after the last segment, not a microsecond sooner.
#[test]
fn k2_first_probe_exactly_idle_after_the_last_segment() {
    let mut t = Connection::armed(config(10, 2, 3));
    t.machine.handle_segment(at(3));
    assert_eq!(t.run_until(just_before(13)), []);
    assert_eq!(t.run_until(at(13)), [(at(13), Probe)]);
}

/// What we send does not count as a sign of the peer's life.
#[test]
fn k2_our_own_transmissions_do_not_move_the_idle_clock() {
    let mut t = Connection::armed(config(10, 2, 3));
    t.machine.handle_sent(at(5));
    assert_eq!(t.machine.poll_timeout(), Some(at(10)));
    assert_eq!(t.machine.last_heard(), Some(at(0)));
}

/// Enabled before the idle time is over, a machine waits for the rest of it; enabled after, it
/// asks at once.
#[test]
fn k2_enabling_late_waits_for_the_rest_of_the_idle_time() {
    for (enabled, first_probe) in [(4, 10), (10, 10), (25, 25)] {
        let mut t = Connection::off(config(10, 2, 3));
        t.machine.handle_segment(at(0));
        t.machine.enable(at(enabled));
        assert_eq!(t.run_until(at(first_probe)), [(at(first_probe), Probe)]);
    }
}

/// On a connection that nothing was heard on, the idle time counts from enabling.
#[test]
fn k2_with_nothing_heard_idle_counts_from_enabling() {
    let mut t = Connection::off(config(10, 2, 3));
    t.machine.enable(at(7));
    assert_eq!(t.machine.last_heard(), None);
    assert_eq!(t.run_until(at(17)), [(at(17), Probe)]);
}

/// The first segment of a connection counts, though one of the last connection came later by a clock
/// that has stepped back since.
#[test]
fn k2_the_first_segment_counts_whatever_was_heard_before() {
    let mut t = Connection::armed(config(10, 2, 3));
    t.machine.handle_segment(at(3600));
    t.machine.reset();
    t.machine.handle_segment(at(5));
    t.machine.enable(at(6));
    assert_eq!(t.machine.last_heard(), Some(at(5)));
    assert_eq!(t.machine.poll_timeout(), Some(at(15)));
}

/// Due while something is outstanding, a probe is put off by an idle time, and nothing counts.
#[test]
fn k3_due_while_busy_looks_again_after_idle() {
    for busy in [IN_FLIGHT, QUEUED] {
        let mut t = Connection::armed(config(10, 2, 3));
        t.tcb = busy;
        assert_eq!(t.run_until(at(95)), []);
        assert_eq!(t.machine.poll_timeout(), Some(at(100)));
        assert_eq!(t.machine.state(), State::Armed);
        t.tcb = QUIET;
        assert_eq!(t.run_until(at(100)), [(at(100), Probe)]);
    }
}

/// Data written between two probes stops the probing, and the count stands still.
#[test]
fn k3_data_between_two_probes_stops_the_probing() {
    let mut t = Connection::armed(config(10, 2, 3));
    t.run_until(at(12));
    t.tcb = IN_FLIGHT;
    t.machine.handle_sent(at(13));
    assert_eq!(t.run_until(at(23)), []);
    assert_eq!(t.machine.poll_timeout(), Some(at(24)));
    assert_eq!(t.machine.state(), State::Probing { unanswered: 2 });
    t.machine.handle_segment(at(23));
    assert_eq!(t.machine.state(), State::Armed);
}

/// A probe that became due and then had to make way for data is not sent with it.
#[test]
fn k3_a_wanted_probe_makes_way_for_data() {
    let mut t = Connection::armed(config(10, 2, 3));
    t.can_send = false;
    t.run_until(at(10));
    t.tcb = IN_FLIGHT;
    t.can_send = true;
    assert!(t.machine.poll_transmit(at(11), &t.tcb).is_none());
    assert_eq!(t.machine.poll_timeout(), Some(at(21)));
}

/// A probe that was offered and did not leave has not been sent: it is offered at each poll.
#[test]
fn k4_a_probe_counts_when_it_has_left() {
    let mut t = Connection::armed(config(10, 2, 3));
    t.can_send = false;
    assert_eq!(t.run_until(at(10)), []);
    assert_eq!(t.machine.state(), State::Probing { unanswered: 0 });
    assert_eq!(t.machine.stats().probes_sent, 0);
    t.can_send = true;
    assert_eq!(
        t.poll_at(Instant::from_millis(10_300)),
        [(Instant::from_millis(10_300), Probe)]
    );
    assert_eq!(t.machine.state(), State::Probing { unanswered: 1 });
    assert_eq!(t.machine.stats().probes_sent, 1);
    assert_eq!(t.machine.poll_timeout(), Some(Instant::from_millis(12_300)));
}

/// With nothing else due, a probe that cannot leave is offered twice a second.
#[test]
fn k4_an_unsent_probe_is_offered_every_500_ms() {
    let mut t = Connection::armed(config(10, 2, 3));
    t.can_send = false;
    t.run_until(at(10));
    for millis in [10_500, 11_000, 11_500, 12_000] {
        let due = Instant::from_millis(millis);
        assert_eq!(t.machine.poll_timeout(), Some(due));
        t.run_until(due);
    }
}

/// An interval in which a probe never left is one unsent attempt; unsent attempts lead to a
/// verdict as unanswered ones do, and the verdict tells them apart.
#[test]
fn k4_an_interval_without_leaving_is_one_unsent_attempt() {
    let mut t = Connection::armed(config(10, 2, 3));
    t.can_send = false;
    assert_eq!(t.run_until(just_before(14)), [(at(12), Suspect(0))]);
    assert_eq!(t.machine.stats().unsent_attempts, 1);
    t.can_send = true;
    assert_eq!(
        t.run_until(at(16)),
        [
            (at(14), Probe),
            (at(16), TimedOut(verdict(Cause::KeepAlive, 16, 1, 2))),
        ]
    );
}

/// A peer that stops answering is given up after exactly `count` probes, not one sooner.
#[test]
fn k5_silent_peer_times_out_after_count_probes() {
    let mut t = Connection::armed(config(10, 2, 3));
    assert_eq!(t.run_until(just_before(10)), []);
    assert_eq!(
        t.run_until(just_before(16)),
        [
            (at(10), Probe),
            (at(12), Probe),
            (at(12), Suspect(1)),
            (at(14), Probe),
        ]
    );
    assert_eq!(
        t.run_until(at(16)),
        [(at(16), TimedOut(verdict(Cause::KeepAlive, 16, 3, 0)))]
    );
}

/// The verdict takes `idle + count * interval` for the smallest and for the largest count.
#[test]
fn k5_every_count_is_honoured() {
    for count in [2, 9, 254, 255] {
        let config = config(7200, 75, count);
        let mut t = Connection::armed(config);
        let log = t.run_until(Instant::MAX);
        let probes = log.iter().filter(|(_, what)| *what == Probe).count();
        assert_eq!(probes, usize::from(count));
        let (given_up, TimedOut(verdict)) = *log.last().unwrap() else {
            panic!("no verdict: {log:?}");
        };
        assert_eq!(given_up, at(0).saturating_add(config.detection_time()));
        assert_eq!(verdict.unanswered, count);
    }
}

/// However far the clock jumps, there is no verdict without the attempts.
#[test]
fn k5_a_jump_of_the_clock_is_no_verdict() {
    let mut t = Connection::armed(config(10, 2, 3));
    let far = Instant::from_micros(u64::MAX / 2);
    assert_eq!(t.poll_at(far), [(far, Probe)]);
    assert_eq!(t.machine.state(), State::Probing { unanswered: 1 });
}

/// Any segment before the verdict arms the machine anew, and a suspect is reported as recovered.
#[test]
fn k7_a_segment_before_the_verdict_recovers() {
    let mut t = Connection::armed(config(10, 2, 3));
    t.run_until(at(14));
    t.machine.handle_segment(just_before(16));
    assert_eq!(t.machine.state(), State::Armed);
    assert_eq!(
        t.run_until(just_before(26)),
        [(just_before(26), Probe), (just_before(26), Recovered(3)),]
    );
}

/// A peer that answers the first probe was never suspected, and so does not recover.
#[test]
fn k7_an_answer_to_the_first_probe_is_no_recovery() {
    let mut t = Connection::armed(config(10, 2, 3));
    t.run_until(at(10));
    t.machine.handle_segment(just_before(12));
    assert_eq!(t.poll_at(at(12)), []);
    assert_eq!(t.run_until(at(21)), []);
    assert_eq!(t.machine.stats().probes_answered, 1);
}

/// A recovered peer has to leave all probes unanswered again before it is given up.
#[test]
fn k7_recovery_clears_the_count() {
    let mut t = Connection::armed(config(10, 2, 3));
    t.run_until(at(14));
    t.machine.handle_segment(at(15));
    let log = t.run_until(at(31));
    assert_eq!(log.iter().filter(|(_, what)| *what == Probe).count(), 3);
    assert_eq!(
        log.last(),
        Some(&(at(31), TimedOut(verdict(Cause::KeepAlive, 16, 3, 0))))
    );
}

/// An attempt that fails while data are outstanding makes a suspect too.
#[test]
fn k7_an_attempt_that_fails_while_busy_is_suspicious() {
    let mut t = Connection::armed(config(10, 2, 3));
    t.run_until(at(10));
    t.tcb = IN_FLIGHT;
    t.machine.handle_sent(at(11));
    assert_eq!(t.run_until(at(12)), [(at(12), Suspect(1))]);
}

/// A new idle time takes effect at once: it counts from the last segment, but not into the past.
#[test]
fn k8_a_new_idle_time_re_arms_at_once() {
    for (idle, due) in [(20, 20), (6, 6), (2, 5)] {
        let mut t = Connection::armed(config(10, 2, 3));
        t.machine.set_config(at(5), config(idle, 2, 3));
        assert_eq!(t.machine.poll_timeout(), Some(at(due)));
    }
}

/// A machine that is probing keeps its count, and the new interval counts from the last probe.
#[test]
fn k8_a_new_interval_counts_from_the_last_attempt() {
    for (interval, due) in [(4, 16), (1, 13)] {
        let mut t = Connection::armed(config(10, 2, 4));
        t.run_until(at(12));
        t.machine
            .set_config(Instant::from_millis(12_500), config(10, interval, 4));
        assert_eq!(t.machine.state(), State::Probing { unanswered: 2 });
        assert_eq!(t.machine.poll_timeout(), Some(at(due)));
    }
}

/// An interval shortened into the past makes the next step due now; a verdict is put to one more
/// probe first.
#[test]
fn k8_an_interval_shortened_into_the_past_is_due_now() {
    let mut t = Connection::armed(config(10, 50, 2));
    t.run_until(at(60));
    t.machine.set_config(at(70), config(10, 1, 2));
    assert_eq!(
        t.run_until(at(71)),
        [
            (at(70), Probe),
            (at(71), TimedOut(verdict(Cause::KeepAlive, 71, 3, 0))),
        ]
    );
}

/// While a probe waits to leave, a new interval counts from when it was wanted; shortened into the
/// past, it makes an attempt of the time up to now, which was not missed.
#[test]
fn k8_a_new_interval_counts_from_when_the_probe_was_wanted() {
    let mut t = Connection::armed(config(10, 50, 3));
    t.can_send = false;
    t.run_until(at(15));
    t.machine.set_config(at(15), config(10, 8, 3));
    assert_eq!(t.run_until(just_before(18)), []);
    assert_eq!(t.run_until(at(18)), [(at(18), Suspect(0))]);
    assert_eq!(t.machine.stats().unsent_attempts, 1);

    let mut shortened = Connection::armed(config(10, 50, 3));
    shortened.can_send = false;
    shortened.run_until(at(15));
    shortened.machine.set_config(at(15), config(10, 2, 3));
    assert_eq!(shortened.poll_at(at(15)), [(at(15), Suspect(0))]);
    assert_eq!(shortened.machine.stats().unsent_attempts, 1);
}

/// A count lowered to what is already unanswered asks once more, and gives the verdict when that falls
/// due, not before; a raised one asks for more.
#[test]
fn k8_a_changed_count_decides_when_the_attempt_falls_due() {
    let mut lowered = Connection::armed(config(10, 2, 9));
    lowered.run_until(at(14));
    lowered.machine.set_config(at(15), config(10, 2, 3));
    assert_eq!(lowered.run_until(just_before(17)), [(at(15), Probe)]);
    assert_eq!(
        lowered.run_until(at(17)),
        [(at(17), TimedOut(verdict(Cause::KeepAlive, 17, 4, 0)))]
    );
    let mut raised = Connection::armed(config(10, 2, 3));
    raised.run_until(at(14));
    raised.machine.set_config(at(15), config(10, 2, 4));
    assert_eq!(raised.run_until(at(16)), [(at(16), Probe)]);
}

/// A caller that sets its options over and over still learns that its peer is dead.
#[test]
fn k8_setting_options_periodically_does_not_postpone_the_verdict() {
    let mut t = Connection::armed(config(10, 2, 3));
    let mut log = Vec::new();
    for second in 0..=16 {
        let payload =
            [ProbePayload::Empty, ProbePayload::GarbageOctet][usize::from(second % 2 == 1)];
        t.machine
            .set_config(at(second), config(10, 2, 3).with_payload(payload));
        log.extend(t.run_until(at(second)));
    }
    assert_eq!(
        log.last(),
        Some(&(at(16), TimedOut(verdict(Cause::KeepAlive, 16, 3, 0))))
    );
}

/// A user timeout shortened into the past asks now, and decides an interval later.
#[test]
fn k8_a_user_timeout_shortened_into_the_past_asks_now() {
    let mut t = Connection::armed(with_user_timeout(config(100, 2, 3), 50));
    t.tcb = IN_FLIGHT;
    t.machine.handle_sent(at(1));
    t.machine
        .set_config(at(40), with_user_timeout(config(100, 2, 3), 5));
    assert_eq!(t.poll_at(at(40)), [(at(40), Probe)]);
    assert_eq!(
        t.run_until(at(42)),
        [
            (at(42), Suspect(1)),
            (at(42), TimedOut(verdict(Cause::UserTimeout, 42, 1, 0))),
        ]
    );
}

/// Options that are shortened and lengthened over and over put a verdict off once.
#[test]
fn k8_alternating_options_put_a_verdict_off_once() {
    let mut t = Connection::armed(config(10, 2, 3));
    let mut log = t.run_until(at(14));
    for second in 15..100 {
        let interval = if second % 2 == 0 { 1 } else { 4 };
        t.machine.set_config(at(second), config(10, interval, 3));
        log.extend(t.poll_at(at(second)));
    }
    let probes = log.iter().filter(|(_, what)| *what == Probe).count();
    let Some((given_up, TimedOut(_))) = log.last() else {
        panic!("{log:?}");
    };
    assert!(*given_up <= at(20), "{log:?}");
    assert!(probes <= 4, "{log:?}");
}

/// An attempt that does not decide is over at once under a shorter interval, and the next one begins.
#[test]
fn k8_an_attempt_shortened_into_the_past_is_over() {
    let mut t = Connection::armed(config(10, 50, 3));
    t.run_until(at(10));
    t.machine.set_config(at(20), config(10, 5, 3));
    assert_eq!(t.machine.poll_timeout(), Some(at(15)));
    assert_eq!(t.poll_at(at(20)), [(at(20), Probe), (at(20), Suspect(1))]);
    assert_eq!(
        t.run_until(at(30)),
        [
            (at(25), Probe),
            (at(30), TimedOut(verdict(Cause::KeepAlive, 30, 3, 0))),
        ]
    );
}

/// Set at any other moment, equal times under another payload move nothing.
#[test]
fn k8_options_set_before_the_verdict_is_due_postpone_nothing() {
    let mut t = Connection::armed(config(10, 2, 3));
    let mut log = Vec::new();
    for second in 0..16 {
        let payload =
            [ProbePayload::Empty, ProbePayload::GarbageOctet][usize::from(second % 2 == 1)];
        let now = Instant::from_millis(second * 1000 + 300);
        log.extend(t.run_until(now));
        t.machine
            .set_config(now, config(10, 2, 3).with_payload(payload));
    }
    log.extend(t.run_until(at(16)));
    assert_eq!(
        log.last(),
        Some(&(at(16), TimedOut(verdict(Cause::KeepAlive, 16, 3, 0))))
    );
}

/// A verdict that fell due while the host slept is not given before one more probe was sent and
/// had its interval.
#[test]
fn k9_a_verdict_missed_in_a_gap_is_put_to_one_more_probe() {
    let mut t = Connection::armed(config(10, 2, 3));
    t.run_until(at(14));
    assert_eq!(t.poll_at(at(100)), [(at(100), Probe)]);
    assert_eq!(
        t.run_until(at(102)),
        [(at(102), TimedOut(verdict(Cause::KeepAlive, 102, 4, 0)))]
    );
}

/// Late by an interval is late; late by a microsecond more is a gap.
#[test]
fn k9_a_gap_begins_after_one_interval() {
    let mut late = Connection::armed(config(10, 2, 3));
    late.run_until(at(14));
    assert_eq!(
        late.poll_at(at(18)),
        [(at(18), TimedOut(verdict(Cause::KeepAlive, 18, 3, 0)))]
    );
    let mut gap = Connection::armed(config(10, 2, 3));
    gap.run_until(at(14));
    let noticed = Instant::from_micros(18_000_001);
    assert_eq!(gap.poll_at(noticed), [(noticed, Probe)]);
    assert_eq!(gap.machine.stats().late_polls, 1);
}

/// A host that sleeps all the time still comes to a verdict: one round of silence is spared once.
#[test]
fn k9_a_round_of_silence_is_spared_once() {
    let mut t = Connection::armed(config(10, 2, 3));
    t.run_until(at(14));
    assert_eq!(t.poll_at(at(100)), [(at(100), Probe)]);
    assert_eq!(
        t.poll_at(at(200)),
        [(at(200), TimedOut(verdict(Cause::KeepAlive, 200, 4, 0)))]
    );
}

/// The probe after a gap is answered: the peer was alive all along, and the next round of silence
/// is spared again.
#[test]
fn k9_the_probe_after_a_gap_saves_a_live_peer() {
    let mut t = Connection::armed(config(10, 2, 3));
    t.run_until(at(14));
    t.poll_at(at(100));
    t.machine.handle_segment(at(101));
    assert_eq!(t.machine.state(), State::Armed);
    t.run_until(at(115));
    assert_eq!(t.machine.state(), State::Probing { unanswered: 3 });
    assert_eq!(t.poll_at(at(200)), [(at(200), Probe)]);
}

/// Options that are set on waking, before anyone looked, do not make a verdict of what was missed.
#[test]
fn k9_what_was_missed_stays_missed_under_a_new_configuration() {
    for interval in [1, 3] {
        let mut t = Connection::armed(config(10, 2, 3));
        t.run_until(at(14));
        t.machine.set_config(at(100), config(10, interval, 3));
        assert_eq!(t.poll_at(at(100)), [(at(100), Probe)]);
        let due = at(100 + interval);
        assert_eq!(
            t.run_until(due),
            [(
                due,
                TimedOut(verdict(Cause::KeepAlive, 100 + interval, 4, 0))
            )]
        );
    }
}

/// If the new options leave time, it is taken.
#[test]
fn k9_a_missed_attempt_has_the_time_of_a_longer_interval() {
    let mut t = Connection::armed(config(10, 2, 3));
    t.run_until(at(14));
    t.machine.set_config(at(20), config(10, 8, 3));
    assert_eq!(t.poll_at(at(20)), []);
    assert_eq!(
        t.run_until(at(22)),
        [(at(22), TimedOut(verdict(Cause::KeepAlive, 22, 3, 0)))]
    );
}

/// A lower count does not decide over answers that the host slept through.
#[test]
fn k9_a_count_lowered_on_waking_does_not_decide() {
    let mut t = Connection::armed(config(10, 2, 5));
    t.run_until(at(14));
    t.machine.set_config(at(100), config(10, 2, 2));
    assert_eq!(t.poll_at(at(100)), [(at(100), Probe)]);
}

/// A user timeout that passed while the host slept, or that was set on waking, asks before it
/// decides, and what leaves meanwhile puts it off no further.
#[test]
fn k9_a_user_timeout_missed_in_a_gap_asks_first() {
    for new_timeout in [None, Some(7)] {
        let mut t = Connection::armed(with_user_timeout(config(100, 2, 3), 5));
        t.tcb = IN_FLIGHT;
        t.machine.handle_sent(at(1));
        if let Some(timeout) = new_timeout {
            t.machine
                .set_config(at(60), with_user_timeout(config(100, 2, 3), timeout));
        }
        assert_eq!(t.poll_at(at(60)), [(at(60), Probe)]);
        t.machine.handle_sent(at(61));
        assert_eq!(t.run_until(just_before(62)), []);
        assert_eq!(
            t.run_until(at(62)),
            [
                (at(62), Suspect(1)),
                (at(62), TimedOut(verdict(Cause::UserTimeout, 62, 1, 0))),
            ]
        );
    }
}

/// A retransmission within the last interval before a missed user timeout was question enough, but
/// the host did not listen: it asks once more, once in a round.
#[test]
fn k9_a_user_timeout_is_spared_once() {
    let mut t = Connection::armed(with_user_timeout(config(100, 2, 3), 5));
    t.tcb = IN_FLIGHT;
    t.machine.handle_sent(at(1));
    t.machine.handle_sent(at(5));
    assert_eq!(t.poll_at(at(60)), [(at(60), Probe)]);
    assert_eq!(
        t.poll_at(at(90)),
        [
            (at(90), Suspect(1)),
            (at(90), TimedOut(verdict(Cause::UserTimeout, 90, 1, 0))),
        ]
    );
    assert_eq!(t.machine.stats().late_polls, 2);
}

/// A clock that was set forward decides nothing while the device is busy for less than `count`
/// intervals, whether something had asked lately or not. The question leaves when there is room, and
/// it decides.
#[test]
fn k9_a_clock_set_forward_while_the_device_is_busy_decides_nothing() {
    for asked_lately in [false, true] {
        let mut t = Connection::armed(with_user_timeout(config(100, 2, 3), 30));
        t.tcb = IN_FLIGHT;
        t.machine.handle_sent(at(5));
        if asked_lately {
            t.machine.handle_sent(at(34));
        }
        t.can_send = false;
        assert_eq!(t.poll_at(at(1000)), []);
        assert_eq!(t.run_until(at(1005)), [(at(1002), Suspect(0))]);
        t.can_send = true;
        assert_eq!(t.poll_at(at(1005)), [(at(1005), Probe)]);
        assert_eq!(t.run_until(just_before(1007)), []);
        assert_eq!(
            t.run_until(at(1007)),
            [(at(1007), TimedOut(verdict(Cause::UserTimeout, 1007, 1, 2)))]
        );
    }
}

/// If the device takes nothing for `count` intervals after that, the verdict falls, and says so.
#[test]
fn k9_a_device_that_refuses_after_a_gap_decides_by_the_count() {
    let mut t = Connection::armed(with_user_timeout(config(100, 2, 3), 30));
    t.tcb = IN_FLIGHT;
    t.can_send = false;
    t.machine.handle_sent(at(5));
    assert_eq!(t.poll_at(at(1000)), []);
    assert_eq!(t.run_until(just_before(1006)), [(at(1002), Suspect(0))]);
    assert_eq!(
        t.run_until(at(1006)),
        [(at(1006), TimedOut(verdict(Cause::UserTimeout, 1006, 0, 3)))]
    );
}

/// A user timeout that is noticed an interval late decides by one attempt; a microsecond later it was
/// a gap.
#[test]
fn k9_a_gap_of_a_user_timeout_begins_after_one_interval() {
    for (struck, unsent) in [(at(37), 1), (Instant::from_micros(37_000_001), 3)] {
        let mut t = Connection::armed(with_user_timeout(config(100, 2, 3), 30));
        t.tcb = IN_FLIGHT;
        t.can_send = false;
        t.machine.handle_sent(at(5));
        assert_eq!(t.poll_at(struck), []);
        let log = t.run_until(at(100));
        let Some((_, TimedOut(verdict))) = log.last() else {
            panic!("{log:?}");
        };
        assert_eq!((verdict.unanswered, verdict.unsent), (0, unsent));
    }
}

/// An answer after it was spared ends the round: the next one is spared again.
#[test]
fn k9_an_answer_ends_the_round_that_was_spared() {
    let mut t = Connection::armed(with_user_timeout(config(100, 2, 3), 5));
    t.tcb = IN_FLIGHT;
    t.machine.handle_sent(at(1));
    t.poll_at(at(60));
    t.machine.handle_segment(at(61));
    t.machine.handle_sent(at(62));
    assert_eq!(t.poll_at(at(200)), [(at(200), Probe)]);
}

/// What was spared once under one configuration is not spared again under the next.
#[test]
fn k9_a_new_configuration_spares_nobody_twice() {
    let mut t = Connection::armed(config(10, 2, 3));
    t.run_until(at(14));
    t.poll_at(at(100));
    t.machine.set_config(at(200), config(10, 3, 3));
    assert_eq!(
        t.poll_at(at(200)),
        [(at(200), TimedOut(verdict(Cause::KeepAlive, 200, 4, 0)))]
    );
}

/// The probe that new options put a missed verdict to is offered before the verdict falls, also if
/// the host sleeps again before it polls.
#[test]
fn k9_the_probe_for_a_missed_verdict_is_offered_before_it_counts() {
    let mut t = Connection::armed(config(10, 2, 3));
    t.run_until(at(14));
    t.machine.set_config(at(100), config(10, 3, 3));
    assert_eq!(t.poll_at(at(200)), [(at(200), Probe)]);
    assert_eq!(t.machine.stats().unsent_attempts, 0);
}

/// A verdict that was missed stays missed until the next poll, however often the options change.
#[test]
fn k9_what_was_missed_stays_missed_under_the_configuration_after_the_next() {
    let mut t = Connection::armed(config(10, 2, 3));
    t.run_until(at(14));
    t.machine.set_config(at(100), config(10, 200, 3));
    t.machine.set_config(at(100), config(10, 2, 3));
    assert_eq!(t.poll_at(at(100)), [(at(100), Probe)]);
}

/// A mere look makes up for nothing: the peer was not asked.
#[test]
fn k9_what_was_missed_stays_missed_until_the_peer_is_asked() {
    let mut t = Connection::armed(config(10, 2, 3));
    t.run_until(at(14));
    t.machine.set_config(at(100), config(10, 200, 3));
    assert_eq!(t.poll_at(at(100)), []);
    t.machine.set_config(at(101), config(10, 2, 3));
    assert_eq!(t.poll_at(at(101)), [(at(101), Probe)]);
    assert_eq!(
        t.run_until(at(103)),
        [(at(103), TimedOut(verdict(Cause::KeepAlive, 103, 4, 0)))]
    );
}

/// Options set on waking use up nothing where no verdict was missed: the one that is missed later
/// is still put off.
#[test]
fn k9_an_attempt_missed_before_the_last_spares_nothing() {
    let mut t = Connection::armed(config(10, 2, 3));
    t.run_until(at(10));
    t.machine.set_config(at(100), config(10, 3, 3));
    assert_eq!(
        t.poll_at(at(100)),
        [(at(100), Probe), (at(100), Suspect(1))]
    );
    assert_eq!(t.run_until(at(103)), [(at(103), Probe)]);
    assert_eq!(t.poll_at(at(200)), [(at(200), Probe)]);
}

/// A probe that was offered and could not leave is an attempt after its interval, whether the host
/// slept or its options changed meanwhile; what decides is asked once more.
#[test]
fn k9_a_waiting_probe_that_was_missed_is_one_attempt() {
    for is_reconfigured in [false, true] {
        let mut t = Connection::armed(config(10, 2, 2));
        t.can_send = false;
        t.run_until(at(10));
        if is_reconfigured {
            t.machine.set_config(at(100), config(10, 3, 2));
        }
        assert_eq!(t.poll_at(at(100)), [(at(100), Suspect(0))]);
        assert_eq!(t.machine.stats().unsent_attempts, 1);
        assert_eq!(t.poll_at(at(200)), []);
        assert_eq!(t.machine.verdict(), None);
    }
}

/// Options that leave a missed verdict time take nothing from the once.
#[test]
fn k9_options_that_make_nothing_due_spare_nothing() {
    let mut t = Connection::armed(config(10, 2, 3));
    t.run_until(at(14));
    t.machine.set_config(at(100), config(10, 200, 3));
    assert_eq!(t.poll_at(at(100)), []);
    t.machine.set_config(at(101), config(10, 2, 3));
    assert_eq!(t.poll_at(at(101)), [(at(101), Probe)]);
    assert_eq!(
        t.run_until(at(103)),
        [(at(103), TimedOut(verdict(Cause::KeepAlive, 103, 4, 0)))]
    );
}

/// Retransmissions put a missed user timeout off not even once, however long the host sleeps in
/// between.
#[test]
fn k9_retransmissions_put_no_missed_user_timeout_off() {
    let mut t = Connection::armed(with_user_timeout(config(100, 2, 3), 5));
    t.tcb = IN_FLIGHT;
    t.machine.handle_sent(at(1));
    t.machine.handle_sent(at(60));
    t.machine.handle_sent(at(200));
    assert_eq!(
        t.run_until(at(8)),
        [
            (at(6), Probe),
            (at(8), Suspect(1)),
            (at(8), TimedOut(verdict(Cause::UserTimeout, 8, 1, 0))),
        ]
    );
}

/// The retransmission that the stack makes on waking, before anyone looks, is not that question: it
/// left after the strike. The answer to it saves a live peer all the same.
#[test]
fn k9_the_retransmission_on_waking_puts_nothing_off() {
    let mut t = Connection::armed(with_user_timeout(config(100, 2, 3), 5));
    t.tcb = IN_FLIGHT;
    t.machine.handle_sent(at(1));
    t.machine.handle_sent(at(60));
    assert_eq!(t.machine.poll_timeout(), Some(at(6)));
    assert_eq!(t.poll_at(at(60)), [(at(60), Probe)]);
    t.machine.handle_segment(at(61));
    assert_eq!(t.machine.state(), State::Armed);
}

/// What a new configuration asks once more is offered before it counts, and that was the once.
#[test]
fn k9_a_missed_user_timeout_that_a_new_configuration_spares_is_spared_once() {
    let mut t = Connection::armed(with_user_timeout(config(100, 2, 3), 5));
    t.tcb = IN_FLIGHT;
    t.machine.handle_sent(at(1));
    t.machine
        .set_config(at(60), with_user_timeout(config(100, 2, 3), 3));
    t.machine.handle_sent(at(61));
    assert_eq!(t.poll_at(at(90)), [(at(90), Probe)]);
    assert_eq!(
        t.poll_at(at(120)),
        [
            (at(120), Suspect(1)),
            (at(120), TimedOut(verdict(Cause::UserTimeout, 120, 1, 0))),
        ]
    );
}

/// After the clock has stepped back, everything that is waited for counts from the present.
#[test]
fn k10_what_lies_in_the_future_becomes_now() {
    let mut armed = Connection::armed(config(10, 2, 3));
    armed.machine.handle_segment(at(3600));
    assert_eq!(armed.poll_at(at(1)), []);
    assert_eq!(armed.machine.poll_timeout(), Some(at(11)));
    assert_eq!(armed.machine.last_heard(), Some(at(1)));

    let mut probing = Connection::armed(config(3610, 2, 3));
    probing.run_until(at(3612));
    assert_eq!(probing.poll_at(at(1)), []);
    assert_eq!(probing.machine.state(), State::Probing { unanswered: 2 });
    assert_eq!(
        probing.run_until(at(5)),
        [
            (at(3), Probe),
            (at(5), TimedOut(verdict(Cause::KeepAlive, 5, 3, 0))),
        ]
    );
}

/// A segment counts from when it is heard, by the clock as it is then.
#[test]
fn k10_a_segment_counts_by_the_clock_as_it_is() {
    let mut t = Connection::armed(config(10, 2, 3));
    t.machine.handle_segment(at(3600));
    t.machine.handle_segment(at(5));
    assert_eq!(t.machine.last_heard(), Some(at(5)));
    assert_eq!(t.run_until(just_before(15)), []);
}

/// One reading that was an hour too high delays the verdict by a period, not by an hour.
#[test]
fn k10_one_reading_an_hour_ahead_delays_by_one_period() {
    for wrong in 1..16 {
        let mut t = Connection::armed(config(10, 2, 3));
        let mut log = t.run_until(just_before(wrong));
        log.extend(t.poll_at(at(3600 + wrong)));
        for second in wrong..=32 {
            log.extend(t.poll_at(at(second)));
        }
        assert!(
            matches!(log.last(), Some((_, TimedOut(_)))),
            "{wrong}: {log:?}"
        );
        assert!(log.iter().filter(|(_, what)| *what == Probe).count() >= 3);
    }
}

/// Ten such readings give up no peer that answers.
#[test]
fn k10_ten_readings_an_hour_ahead_kill_no_live_peer() {
    let mut t = Connection::armed(config(10, 2, 3));
    for second in 1..=100 {
        let mut log = Vec::new();
        if second % 10 == 3 {
            log.extend(t.poll_at(at(3600 + second)));
        }
        log.extend(t.poll_at(at(second)));
        assert!(!log.iter().any(|(_, what)| matches!(what, TimedOut(_))));
        if log.iter().any(|(_, what)| *what == Probe) {
            t.machine.handle_segment(at(second));
        }
    }
}

/// A probe that waits to leave may leave while the clock is behind; it has its whole interval then,
/// by the clock as it is.
#[test]
fn k10_a_probe_that_leaves_while_the_clock_is_behind_has_its_interval() {
    let mut t = Connection::armed(config(1000, 2, 3));
    t.can_send = false;
    t.run_until(at(1000));
    t.can_send = true;
    assert_eq!(t.poll_at(at(5)), [(at(5), Probe)]);
    assert_eq!(t.run_until(just_before(7)), []);
    assert_eq!(t.run_until(at(7)), [(at(7), Probe), (at(7), Suspect(1))]);
}

/// However long a probe could not leave, the next offer is in the future.
#[test]
fn k13_an_offer_is_in_the_future_after_weeks() {
    let month = Duration::from_secs(30 * 86_400);
    let mut t = Connection::armed(Config::new(secs(10), month, 2).unwrap());
    t.can_send = false;
    t.poll_at(at(10));
    let now = at(10).saturating_add(month * 7 / 10);
    t.poll_at(now);
    assert!(t.machine.poll_timeout() > Some(now));
}

/// At both ends of time nothing overflows.
#[test]
fn k10_arithmetic_saturates_at_the_end_of_time() {
    let longest = Duration::from_millis(u32::MAX.into());
    let config = Config::new(longest, Duration::from_millis(1), 2)
        .and_then(|config| config.with_user_timeout(longest))
        .unwrap();
    for start in [
        Instant::ZERO,
        Instant::from_micros(u64::MAX - 5),
        Instant::MAX,
    ] {
        for tcb in [QUIET, IN_FLIGHT] {
            let mut t = Connection::off(config);
            t.tcb = tcb;
            t.machine.enable(start);
            t.machine.handle_segment(start);
            t.machine.handle_sent(start);
            t.poll_at(Instant::MAX);
            t.poll_at(Instant::ZERO);
            t.machine.set_config(Instant::MAX, Config::DEFAULT);
            t.poll_at(Instant::MAX);
            assert!(
                t.machine
                    .poll_timeout()
                    .is_none_or(|due| due == Instant::MAX),
                "{:?}",
                t.machine
            );
        }
    }
}

/// A clock that steps back kills no peer that answers, whatever the machine waits for.
#[test]
fn k10_a_clock_stepping_back_kills_nobody() {
    for before in [5, 10, 11, 12, 13, 14, 15] {
        let mut t = Connection::armed(config(10, 2, 3));
        t.run_until(at(before));
        for now in (0..before).rev() {
            assert!(
                t.poll_at(at(now)).iter().all(|(_, what)| *what == Probe),
                "at {now} s, back from {before} s"
            );
        }
        assert_eq!(t.machine.verdict(), None);
        t.machine.handle_segment(at(0));
        assert_eq!(t.machine.state(), State::Armed);
    }
}

/// The user timeout strikes when the peer has owed an answer for exactly that long, counted from
/// the first segment it left unanswered.
#[test]
fn k11_user_timeout_counts_from_the_first_unanswered_segment() {
    let mut t = Connection::armed(with_user_timeout(config(100, 2, 3), 30));
    t.tcb = IN_FLIGHT;
    t.machine.handle_sent(at(5));
    for retransmission in [6, 8, 12, 20] {
        t.machine.handle_sent(at(retransmission));
    }
    assert_eq!(t.run_until(just_before(35)), []);
    assert_eq!(t.run_until(just_before(37)), [(at(35), Probe)]);
    assert_eq!(
        t.run_until(at(37)),
        [
            (at(37), Suspect(1)),
            (at(37), TimedOut(verdict(Cause::UserTimeout, 37, 1, 0))),
        ]
    );
}

/// What the stack sent within the last interval before the user timeout strikes is question enough:
/// it has its interval, and then it decides.
#[test]
fn k11_a_retransmission_just_before_is_question_enough() {
    for (millis, decided) in [(34_000, 36_000), (33_001, 35_001), (34_999, 36_999)] {
        let mut t = Connection::armed(with_user_timeout(config(100, 2, 3), 30));
        t.tcb = IN_FLIGHT;
        t.machine.handle_sent(at(5));
        t.machine.handle_sent(Instant::from_millis(millis));
        // What leaves after it has struck puts off nothing.
        t.machine.handle_sent(Instant::from_millis(35_001));
        let decided = Instant::from_millis(decided);
        let log = t.run_until(decided);
        assert!(!log.iter().any(|(_, what)| *what == Probe), "{log:?}");
        assert!(matches!(log.last(), Some((now, TimedOut(_))) if *now == decided));
    }
    let mut t = Connection::armed(with_user_timeout(config(100, 2, 3), 30));
    t.tcb = IN_FLIGHT;
    t.machine.handle_sent(at(5));
    t.machine.handle_sent(at(33));
    assert_eq!(t.run_until(at(35)), [(at(35), Probe)]);
}

/// The question of a user timeout lies below all that is outstanding.
#[test]
fn k11_the_question_lies_below_what_is_outstanding() {
    let mut t = Connection::armed(with_user_timeout(config(100, 2, 3), 30));
    t.machine.handle_sent(at(5));
    t.machine.handle_timeout(at(35), &IN_FLIGHT);
    let probe = t.machine.poll_transmit(at(35), &IN_FLIGHT).unwrap();
    assert_eq!(probe.seq(), SeqNumber(999));
}

/// A question that cannot leave for an interval decides too, and the verdict says so.
#[test]
fn k11_a_question_that_cannot_leave_decides() {
    let mut t = Connection::armed(with_user_timeout(config(100, 2, 3), 30));
    t.tcb = IN_FLIGHT;
    t.can_send = false;
    t.machine.handle_sent(at(5));
    assert_eq!(
        t.run_until(at(37)),
        [
            (at(37), Suspect(0)),
            (at(37), TimedOut(verdict(Cause::UserTimeout, 37, 0, 1))),
        ]
    );
}

/// An answer settles the debt, even one that acknowledges nothing; the next retransmission
/// starts a new one.
#[test]
fn k11_an_answer_settles_the_debt() {
    let mut t = Connection::armed(with_user_timeout(config(100, 2, 3), 30));
    t.tcb = IN_FLIGHT;
    t.machine.handle_sent(at(5));
    t.machine.handle_segment(at(34));
    t.machine.handle_sent(at(36));
    assert_eq!(t.machine.poll_timeout(), Some(at(66)));
}

/// While our next window probe is not yet out the peer owes nothing: one that answers each of
/// them is alive, however small the timeout and however rare the probes.
#[test]
fn k11_waiting_for_a_window_does_not_count() {
    let mut t = Connection::armed(with_user_timeout(config(1000, 2, 3), 1));
    t.tcb = QUEUED;
    for minute in 1..10 {
        let window_probe = at(60 * minute);
        assert_eq!(t.run_until(window_probe), []);
        t.machine.handle_sent(window_probe);
        t.machine
            .handle_segment(window_probe.saturating_add(Duration::from_millis(900)));
    }
    t.machine.handle_sent(at(600));
    assert_eq!(
        t.run_until(at(602)),
        [
            (at(602), Suspect(0)),
            (
                at(602),
                TimedOut(Verdict {
                    silent_for: Duration::from_millis(61_100),
                    ..verdict(Cause::UserTimeout, 0, 0, 0)
                })
            )
        ]
    );
}

/// Data that cannot leave counts from the end of the idle time, or from when the owner says so, so
/// that a broken device is noticed.
#[test]
fn k11_data_that_cannot_leave_counts_from_the_end_of_the_idle_time() {
    let mut t = Connection::armed(with_user_timeout(config(100, 2, 3), 30));
    t.tcb = QUEUED;
    t.poll_at(at(7));
    assert_eq!(t.machine.poll_timeout(), Some(at(100)));
    t.poll_at(at(100));
    assert_eq!(t.machine.poll_timeout(), Some(at(130)));
    let mut told = Connection::armed(with_user_timeout(config(100, 2, 3), 30));
    told.tcb = IN_FLIGHT;
    told.machine.handle_sent(at(1));
    told.machine.handle_segment(at(2));
    told.machine.handle_blocked(at(8));
    assert_eq!(told.machine.poll_timeout(), Some(at(38)));
}

/// Without a user timeout, nothing decides while something is outstanding.
#[test]
fn k11_without_a_user_timeout_busy_is_never_over() {
    let mut t = Connection::armed(config(10, 2, 3));
    t.tcb = IN_FLIGHT;
    t.machine.handle_sent(at(1));
    assert_eq!(t.run_until(at(100_000)), []);
}

/// The count governs the quiet connection and the user timeout the busy one: data written after
/// the last probe hands the decision over.
#[test]
fn k11_each_rule_governs_its_own_state() {
    let mut t = Connection::armed(with_user_timeout(config(10, 2, 3), 30));
    t.run_until(at(14));
    t.tcb = IN_FLIGHT;
    t.machine.handle_sent(at(15));
    assert_eq!(
        t.run_until(at(47)),
        [
            (at(45), Probe),
            (at(47), TimedOut(verdict(Cause::UserTimeout, 47, 4, 0))),
        ]
    );
    let mut quiet = Connection::armed(with_user_timeout(config(10, 2, 3), 1));
    assert_eq!(quiet.run_until(just_before(16)).len(), 4);
}

/// What is blocked already and is found blocked again has been so since the first time.
#[test]
fn k11_blocked_again_is_blocked_since_the_first_time() {
    let mut t = Connection::armed(with_user_timeout(config(100, 2, 3), 30));
    t.machine.handle_blocked(at(8));
    t.machine.handle_blocked(at(20));
    assert_eq!(t.machine.poll_timeout(), Some(at(38)));
}

/// A connection found quiet owes nothing, though its answer was not seen.
#[test]
fn k11_a_quiet_connection_owes_nothing() {
    let mut t = Connection::armed(with_user_timeout(config(10, 2, 3), 5));
    t.machine.handle_sent(at(1));
    assert_eq!(
        t.run_until(at(16)).last(),
        Some(&(at(16), TimedOut(verdict(Cause::KeepAlive, 16, 3, 0))))
    );
}

/// A segment that asks within the last interval before the user timeout strikes is the question: it
/// has its interval, and nothing more is asked. One that is as old as an interval is not.
#[test]
fn k11_what_asked_lately_is_the_question() {
    for (retransmission, decided) in [
        (Instant::from_micros(33_000_001), 35_000_001),
        (just_before(35), 36_999_999),
    ] {
        let mut t = Connection::armed(with_user_timeout(config(100, 2, 3), 30));
        t.tcb = IN_FLIGHT;
        t.machine.handle_sent(at(5));
        t.machine.handle_sent(retransmission);
        let decided = Instant::from_micros(decided);
        let log = t.run_until(at(100));
        let [
            (suspected, Suspect(0)),
            (given_up, TimedOut(given @ Verdict { unanswered: 0, .. })),
        ] = *log
        else {
            panic!("{log:?}");
        };
        assert_eq!((suspected, given_up), (decided, decided));
        assert_eq!(given.cause, Cause::UserTimeout);
    }
    let mut old = Connection::armed(with_user_timeout(config(100, 2, 3), 30));
    old.tcb = IN_FLIGHT;
    old.machine.handle_sent(at(5));
    old.machine.handle_sent(at(33));
    assert_eq!(old.run_until(at(35)), [(at(35), Probe)]);
}

/// What leaves after the user timeout has struck puts its verdict off no further.
#[test]
fn k11_what_leaves_after_the_strike_puts_nothing_off() {
    let mut asked = Connection::armed(with_user_timeout(config(100, 2, 3), 30));
    let mut lately = Connection::armed(with_user_timeout(config(100, 2, 3), 30));
    let mut waiting = Connection::armed(with_user_timeout(config(100, 2, 3), 30));
    for t in [&mut asked, &mut lately, &mut waiting] {
        t.tcb = IN_FLIGHT;
        t.machine.handle_sent(at(5));
    }
    asked.run_until(at(35));
    asked.machine.handle_sent(at(36));
    assert_eq!(asked.machine.poll_timeout(), Some(at(37)));

    lately.machine.handle_sent(at(34));
    lately.machine.handle_sent(at(35));
    assert_eq!(lately.machine.poll_timeout(), Some(at(36)));

    // The machine wants to ask, and the stack sends before it can.
    waiting.machine.handle_timeout(at(35), &waiting.tcb);
    waiting.machine.handle_sent(at(35));
    assert_eq!(
        waiting.run_until(at(37)).last(),
        Some(&(at(37), TimedOut(verdict(Cause::UserTimeout, 37, 1, 0))))
    );
}

/// A question that was answered, or that never left, is none: with a user timeout shorter than the
/// interval too, the machine asks when it strikes.
#[test]
fn k11_only_a_question_that_is_owed_an_answer_is_one() {
    let config = with_user_timeout(config(10, 5, 3), 1);
    let mut at_boot = Connection::armed(config);
    let mut answered = Connection::armed(config);
    answered.run_until(at(10));
    answered.machine.handle_segment(at(10));
    let mut refused = Connection::armed(config);
    refused.can_send = false;
    refused.run_until(at(10));
    refused.can_send = true;
    for (t, blocked) in [(&mut at_boot, 1), (&mut answered, 11), (&mut refused, 11)] {
        t.tcb = QUEUED;
        t.machine.handle_blocked(at(blocked));
        assert_eq!(t.run_until(at(blocked + 1)), [(at(blocked + 1), Probe)]);
    }
    let mut owed = Connection::armed(config);
    owed.run_until(at(10));
    owed.tcb = QUEUED;
    owed.machine.handle_blocked(at(11));
    assert_eq!(owed.machine.poll_timeout(), Some(at(15)));
}

/// A connection that is found quiet owes no answer to the question of a user timeout either.
#[test]
fn k11_a_question_ends_when_the_connection_is_quiet() {
    let mut t = Connection::armed(with_user_timeout(config(100, 2, 3), 30));
    t.tcb = IN_FLIGHT;
    t.machine.handle_sent(at(5));
    t.run_until(at(35));
    t.tcb = QUIET;
    assert_eq!(t.poll_at(at(36)), []);
    assert_eq!(t.machine.poll_timeout(), Some(at(136)));
}

/// Nor once it was taken away, though it has struck and its question waits for an answer.
#[test]
fn k11_a_user_timeout_that_was_taken_away_decides_nothing() {
    for asked in [at(35), at(36)] {
        let mut t = Connection::armed(with_user_timeout(config(100, 2, 3), 30));
        t.tcb = IN_FLIGHT;
        t.machine.handle_sent(at(5));
        t.can_send = asked > at(35);
        t.run_until(asked);
        t.machine.set_config(at(36), config(100, 2, 3));
        t.can_send = true;
        assert_eq!(t.run_until(at(100_000)), []);
    }
}

/// A probe is one octet below SND.NXT, at RCV.NXT, and says what the connection would say.
#[test]
fn k12_a_probe_says_what_the_connection_would_say() {
    let tcb = Tcb {
        timestamps: Some((77, 88)),
        ..QUIET
    };
    for (payload, octets) in [
        (ProbePayload::Empty, &[][..]),
        (ProbePayload::GarbageOctet, &[0][..]),
    ] {
        let mut machine = KeepAlive::new(config(10, 2, 3).with_payload(payload));
        machine.enable(at(0));
        machine.handle_timeout(at(10), &tcb);
        let probe = machine.poll_transmit(at(10), &tcb).unwrap();
        assert_eq!(probe.seq(), SeqNumber(999));
        assert_eq!(probe.ack(), SeqNumber(5000));
        assert_eq!(probe.window(), 512);
        assert_eq!(probe.timestamps(), Some((77, 88)));
        assert_eq!(probe.payload(), octets);
    }
}

/// At the seam of the sequence numbers the octet below 0 is the last one there is.
#[test]
fn k12_sequence_wraps_below_zero() {
    let tcb = Tcb {
        snd_una: SeqNumber(0),
        snd_nxt: SeqNumber(0),
        rcv_nxt: SeqNumber(0),
        ..QUIET
    };
    let mut machine = KeepAlive::new(config(10, 2, 3));
    machine.enable(at(0));
    machine.handle_timeout(at(10), &tcb);
    let probe = machine.poll_transmit(at(10), &tcb).unwrap();
    assert_eq!(probe.seq(), SeqNumber(u32::MAX));
    assert_eq!(probe.ack(), SeqNumber(0));
}

/// Polling before anything is due changes nothing, in whichever state.
#[test]
fn k13_spurious_timeouts_change_nothing() {
    let mut armed = Connection::armed(config(10, 2, 3));
    let mut probing = Connection::armed(config(10, 2, 3));
    probing.run_until(at(12));
    for (t, now) in [(&mut armed, at(9)), (&mut probing, at(13))] {
        let (due, state, counts) = (
            t.machine.poll_timeout(),
            t.machine.state(),
            t.machine.stats(),
        );
        for _ in 0..3 {
            assert_eq!(t.poll_at(now), []);
        }
        assert_eq!(t.machine.poll_timeout(), due);
        assert_eq!(t.machine.state(), state);
        assert_eq!(t.machine.stats(), counts);
    }
}

/// Nor does it while a probe waits to leave: that is no attempt before its interval is over, however
/// often it is offered.
#[test]
fn k13_spurious_timeouts_make_no_attempt_of_a_waiting_probe() {
    let mut t = Connection::armed(config(10, 2, 3));
    t.can_send = false;
    t.run_until(at(10));
    for millis in (10_000..12_000).step_by(50) {
        assert_eq!(t.poll_at(Instant::from_millis(millis)), []);
    }
    assert_eq!(t.machine.state(), State::Probing { unanswered: 0 });
    assert_eq!(t.machine.stats().unsent_attempts, 0);
    assert_eq!(t.machine.poll_timeout(), Some(at(12)));
}

/// A verdict is reported once, and nothing but a reset goes on after it.
#[test]
fn k14_a_verdict_is_reported_once_and_final() {
    let mut t = Connection::armed(config(10, 2, 3));
    t.run_until(at(16));
    let given = t.machine.verdict();
    t.machine.handle_segment(at(17));
    t.machine.handle_sent(at(17));
    t.machine.set_config(at(17), config(1, 1, 2));
    t.machine.disable();
    t.machine.enable(at(18));
    assert_eq!(t.poll_at(at(1000)), []);
    assert_eq!(t.machine.state(), State::TimedOut);
    assert_eq!(t.machine.poll_timeout(), None);
    assert_eq!(t.machine.verdict(), given);
}

/// The configuration survives a reset, the state does not.
#[test]
fn k14_a_reset_keeps_the_configuration_only() {
    let mut t = Connection::armed(config(10, 2, 3));
    t.run_until(at(15));
    t.machine.reset();
    assert_eq!(t.machine.state(), State::Disabled);
    assert_eq!(t.machine.last_heard(), None);
    assert_eq!(t.machine.config(), config(10, 2, 3));
    assert_eq!(t.machine.poll_event(), None);
    t.machine.enable(at(20));
    assert_eq!(t.run_until(at(30)), [(at(30), Probe)]);
}

/// A segment that comes after the verdict does not change what it says.
#[test]
fn k14_a_segment_too_late_does_not_change_the_verdict() {
    let mut t = Connection::armed(with_user_timeout(config(10, 2, 3), 5));
    t.tcb = IN_FLIGHT;
    t.machine.handle_sent(at(1));
    t.run_until(at(8));
    t.machine.handle_segment(at(9));
    assert_eq!(
        t.machine.verdict(),
        Some(verdict(Cause::UserTimeout, 8, 1, 0))
    );
}

/// Neither attempts nor events of the last connection are the next one's.
#[test]
fn k14_a_reset_forgets_attempts_and_events() {
    for can_send in [true, false] {
        let mut t = Connection::armed(config(10, 2, 3));
        t.can_send = can_send;
        t.run_until(just_before(12));
        t.machine.handle_timeout(at(12), &t.tcb);
        t.machine.reset();
        assert_eq!(t.machine.poll_event(), None);
        t.can_send = true;
        t.machine.enable(at(20));
        assert_eq!(t.machine.state(), State::Armed);
        assert_eq!(
            t.run_until(at(36)).last(),
            Some(&(at(36), TimedOut(verdict(Cause::KeepAlive, 16, 3, 0))))
        );
    }
}

/// Each kind of event has one slot, and they are read in the order in which they happened.
#[test]
fn k14_events_come_in_order() {
    let mut machine = KeepAlive::new(config(10, 2, 9));
    machine.enable(at(0));
    let fail_first_attempt = |machine: &mut KeepAlive, from: u64| {
        for now in [at(from + 10), at(from + 12)] {
            machine.handle_timeout(now, &QUIET);
            let probe = machine.poll_transmit(now, &QUIET).unwrap();
            machine.handle_transmitted(now, probe);
        }
    };
    fail_first_attempt(&mut machine, 0);
    machine.handle_segment(at(13));
    fail_first_attempt(&mut machine, 13);
    assert_eq!(
        machine.poll_event(),
        Some(Event::Recovered { unanswered: 2 })
    );
    assert_eq!(machine.poll_event(), Some(Event::Suspect { unanswered: 1 }));
    assert_eq!(machine.poll_event(), None);
    machine.handle_segment(at(26));
    fail_first_attempt(&mut machine, 26);
    machine.handle_segment(at(39));
    assert_eq!(machine.poll_event(), Some(Event::Suspect { unanswered: 1 }));
    assert_eq!(
        machine.poll_event(),
        Some(Event::Recovered { unanswered: 2 })
    );
    assert_eq!(machine.poll_event(), None);
}

/// Nor does a clock that steps back after it.
#[test]
fn k14_a_clock_stepping_back_does_not_change_the_verdict() {
    let mut t = Connection::armed(config(10, 2, 3));
    t.run_until(at(16));
    let given = t.machine.verdict();
    assert_eq!(t.poll_at(at(1)), []);
    assert_eq!(t.machine.verdict(), given);
}

/// A received segment costs a machine that is not probing two stores and no more: nothing else
/// of it changes.
#[test]
fn k15_a_segment_is_a_stamp() {
    let mut t = Connection::armed(with_user_timeout(config(10, 2, 3), 5));
    let before = format!("{:?}", t.machine);
    t.machine.handle_segment(at(3));
    let after = format!("{:?}", t.machine);
    assert_eq!(after.replacen("3000000", "0", 1), before);
    assert!(!std::mem::needs_drop::<KeepAlive>());
}

/// What was counted is what happened, and it outlives a reset.
#[test]
fn k16_counters_count_what_happened() {
    let mut t = Connection::armed(config(10, 2, 3));
    t.run_until(at(10));
    t.machine.handle_segment(Instant::from_micros(10_012_345));
    t.machine.reset();
    t.machine.enable(at(20));
    t.can_send = false;
    t.run_until(at(36));
    let stats = t.machine.stats();
    assert_eq!(stats.probes_sent, 1);
    assert_eq!(stats.probes_answered, 1);
    assert_eq!(stats.unsent_attempts, 3);
    assert_eq!(stats.verdicts, 1);
    assert_eq!(stats.late_polls, 0);
    assert_eq!(stats.last_rtt, Some(Duration::from_micros(12_345)));
}

/// With two probes unanswered there is no telling which of them was answered, so no round-trip
/// time is taken from it.
#[test]
fn k16_an_ambiguous_answer_is_not_measured() {
    let mut t = Connection::armed(config(10, 2, 3));
    t.run_until(at(12));
    t.machine.handle_segment(at(13));
    assert_eq!(t.machine.stats().last_rtt, None);
    assert_eq!(t.machine.stats().probes_answered, 1);
}

/// Who is heard while no probe could leave has answered none.
#[test]
fn k16_nobody_answers_what_did_not_leave() {
    let mut t = Connection::armed(config(10, 2, 3));
    t.can_send = false;
    t.run_until(at(12));
    t.machine.handle_segment(at(13));
    assert_eq!(t.machine.stats().probes_answered, 0);
}

/// An answer is measured from when its probe left, whatever interval was set meanwhile.
#[test]
fn k16_a_new_interval_does_not_change_the_round_trip_time() {
    for interval in [29, 30] {
        let mut t = Connection::armed(config(10, 50, 2));
        t.run_until(at(10));
        t.machine.set_config(at(40), config(10, interval, 2));
        t.machine.handle_segment(at(41));
        assert_eq!(t.machine.stats().last_rtt, Some(secs(31)));
        assert_eq!(t.machine.stats().probes_answered, 1);
    }
}

/// K20: a verdict of a round in which no probe left names the device.
#[test]
fn k20_no_probe_left_the_device() {
    let mut t = Connection::armed(config(10, 2, 3));
    t.can_send = false;
    t.machine.handle_unreachable();
    let log = t.run_until(at(16));
    let Some((_, TimedOut(verdict))) = log.last() else {
        panic!("no verdict: {log:?}");
    };
    assert_eq!((verdict.unsent, verdict.failed_at), (3, FailedAt::Device));
}

/// K20: evidence is forgotten when the peer is heard, also if it was not being probed.
#[test]
fn k20_evidence_is_forgotten_when_the_peer_is_heard() {
    for second in [5, 13] {
        let mut t = Connection::armed(config(10, 2, 3));
        t.run_until(at(second));
        t.machine.handle_unreachable();
        t.machine.handle_segment(at(second));
        let log = t.run_until(at(second + 16));
        let Some((_, TimedOut(verdict))) = log.last() else {
            panic!("no verdict: {log:?}");
        };
        assert_eq!(verdict.failed_at, FailedAt::Peer);
    }
}

/// K20, MUST-56: no evidence moves a deadline or ends a connection.
#[test]
fn k20_evidence_decides_nothing() {
    let mut t = Connection::armed(config(10, 2, 3));
    for second in 1..10 {
        t.machine.handle_unreachable();
        t.machine.handle_hop_asked();
        assert_eq!(t.poll_at(at(second)), []);
        assert_eq!(t.machine.poll_timeout(), Some(at(10)));
        assert_eq!(t.machine.state(), State::Armed);
    }
}

/// What is learned of the way to a dead peer, in this order.
#[derive(Clone, Copy, Debug)]
enum Learned {
    HopAsked,
    HopAnswered,
    Unreachable,
    Heard,
}

fn learn(t: &mut Connection, now: Instant, learned: &[Learned]) {
    for learned in learned {
        match learned {
            Learned::HopAsked => t.machine.handle_hop_asked(),
            Learned::HopAnswered => t.machine.handle_hop_answered(),
            Learned::Unreachable => t.machine.handle_unreachable(),
            Learned::Heard => t.machine.handle_segment(now),
        }
    }
}

/// A verdict says how far the probes got, by what was learned since the peer was last heard.
#[test]
fn k20_a_verdict_says_how_far_the_probes_got() {
    use Learned::{Heard, HopAnswered, HopAsked, Unreachable};
    for (learned, failed_at) in [
        (&[][..], FailedAt::Peer),
        (&[HopAsked], FailedAt::NextHop),
        (&[HopAsked, HopAsked], FailedAt::NextHop),
        (&[HopAsked, HopAnswered], FailedAt::Peer),
        (&[HopAsked, HopAnswered, HopAsked], FailedAt::Peer),
        // No question was asked.
        (&[HopAnswered], FailedAt::Peer),
        (&[HopAnswered, HopAsked], FailedAt::NextHop),
        (&[Unreachable], FailedAt::Network),
        (&[HopAsked, HopAnswered, Unreachable], FailedAt::Network),
        (&[Unreachable, HopAsked, HopAnswered], FailedAt::Network),
        // Heard since, it was reached.
        (&[HopAsked, Heard], FailedAt::Peer),
        (&[Unreachable, Heard], FailedAt::Peer),
        (&[Unreachable, Heard, HopAsked], FailedAt::NextHop),
    ] {
        // While it waits for silence, with a probe out, and before it is switched on.
        let mut armed = Connection::armed(config(10, 2, 3));
        learn(&mut armed, at(0), learned);
        let mut probing = Connection::armed(config(10, 2, 3));
        probing.run_until(at(12));
        learn(&mut probing, at(12), learned);
        let mut off = Connection::off(config(10, 2, 3));
        off.machine.handle_segment(at(0));
        learn(&mut off, at(0), learned);
        off.machine.enable(at(0));
        for t in [&mut armed, &mut probing, &mut off] {
            t.run_until(at(100));
            let verdict = t.machine.verdict().unwrap();
            assert_eq!(verdict.failed_at, failed_at, "{learned:?}");
        }
    }
}

/// A segment heard while armed forgets what was learned before it, also what was learned while off.
#[test]
fn k20_a_segment_forgets_what_was_learned_while_off() {
    let mut t = Connection::off(config(10, 2, 3));
    t.machine.handle_segment(at(0));
    t.machine.handle_unreachable();
    t.machine.enable(at(0));
    t.machine.handle_segment(at(1));
    t.run_until(at(100));
    assert_eq!(t.machine.verdict().unwrap().failed_at, FailedAt::Peer);
}

/// MUST-56: what is learned moves no deadline and brings about no verdict, at whatever moment it
/// comes, and it changes no verdict that has fallen.
#[test]
fn k20_evidence_moves_no_deadline() {
    use Learned::{HopAnswered, HopAsked, Unreachable};
    let plain = Connection::armed(config(10, 2, 3)).run_until(at(100));
    for second in 0..16 {
        for learned in [HopAsked, HopAnswered, Unreachable] {
            let mut t = Connection::armed(config(10, 2, 3));
            let mut log = t.run_until(at(second));
            let (due, state) = (t.machine.poll_timeout(), t.machine.state());
            learn(&mut t, at(second), &[learned]);
            assert_eq!((t.machine.poll_timeout(), t.machine.state()), (due, state));
            log.extend(t.run_until(at(100)));
            let moments =
                |log: &[(Instant, What)]| log.iter().map(|(at, _)| *at).collect::<Vec<_>>();
            assert_eq!(moments(&log), moments(&plain));
        }
    }
    let mut over = Connection::armed(config(10, 2, 3));
    over.run_until(at(16));
    let given = over.machine.verdict();
    learn(&mut over, at(17), &[HopAsked, Unreachable]);
    assert_eq!(over.machine.verdict(), given);
}

/// What is learned of one connection says nothing of the next, nor of the time after keep-alive was
/// switched off.
#[test]
fn k20_a_reset_forgets_what_was_learned() {
    for forget in [KeepAlive::reset, KeepAlive::disable] {
        let mut t = Connection::armed(config(10, 2, 3));
        t.machine.handle_unreachable();
        forget(&mut t.machine);
        t.machine.enable(at(0));
        t.run_until(at(100));
        assert_eq!(t.machine.verdict().unwrap().failed_at, FailedAt::Peer);
    }
}

/// If no probe of the round left our own device, it failed there, whatever else was learned; if one
/// did, it did not.
#[test]
fn k20_a_device_that_sent_nothing_is_where_it_failed() {
    for (leaves_at, failed_at) in [(None, FailedAt::Device), (Some(at(14)), FailedAt::NextHop)] {
        let mut t = Connection::armed(config(10, 2, 3));
        t.can_send = false;
        t.run_until(at(12));
        t.machine.handle_hop_asked();
        if let Some(now) = leaves_at {
            t.run_until(just_before(14));
            t.can_send = true;
            assert_eq!(t.run_until(now), [(now, Probe)]);
        }
        t.run_until(at(16));
        let verdict = t.machine.verdict().unwrap();
        assert_eq!((verdict.unsent > 0, verdict.failed_at), (true, failed_at));
    }
}

/// A verdict can be told to a person.
#[test]
fn a_verdict_says_why() {
    assert_eq!(
        verdict(Cause::KeepAlive, 7875, 8, 1).to_string(),
        "keep-alive: silent for 7875s, 8 probes unanswered, 1 unsent, failed at the peer"
    );
    assert_eq!(
        verdict(Cause::UserTimeout, 5, 0, 0).to_string(),
        "user timeout: silent for 5s, 0 probes unanswered, 0 unsent, failed at the peer"
    );
}

/// Whatever the order of calls and whatever the clock does, there is no panic, no deadline left
/// in the past, no verdict without its attempts, and not two of them; nothing is probed while it is
/// busy before a user timeout has struck, and no user timeout decides unasked.
mod any_order {
    use super::*;
    use proptest::prelude::*;

    #[derive(Clone, Debug)]
    enum Call {
        Enable,
        Disable,
        Reset,
        Configure(u8, u8, u8, Option<u8>),
        Segment,
        Sent,
        Blocked,
        HopAsked,
        HopAnswered,
        Unreachable,
        Busy(bool),
        CanSend(bool),
        Poll,
        PollWhenDue,
        Pass(u64),
        Jump(u64),
    }

    fn call() -> impl Strategy<Value = Call> {
        prop_oneof![
            1 => Just(Call::Enable),
            1 => Just(Call::Disable),
            1 => Just(Call::Reset),
            1 => (1..=20_u8, 1..=5_u8, 2..=4_u8, proptest::option::of(1..=20_u8)).prop_map(
                |(idle, interval, count, timeout)| Call::Configure(idle, interval, count, timeout)
            ),
            1 => Just(Call::Segment),
            1 => Just(Call::Sent),
            1 => Just(Call::Blocked),
            1 => Just(Call::HopAsked),
            1 => Just(Call::HopAnswered),
            1 => Just(Call::Unreachable),
            1 => any::<bool>().prop_map(Call::Busy),
            1 => any::<bool>().prop_map(Call::CanSend),
            1 => Just(Call::Poll),
            9 => Just(Call::PollWhenDue),
            3 => (0..5_000_000_u64).prop_map(Call::Pass),
            1 => (0..u64::MAX).prop_map(Call::Jump),
        ]
    }

    proptest! {
        #[test]
        fn the_promises_hold(calls in proptest::collection::vec(call(), 1..200)) {
            let mut t = Connection::off(config(10, 2, 3));
            let mut now = at(0);
            let mut attempts = 0_u32;
            let mut silent_since = now;
            let mut has_sent = false;
            let mut may_ask = false;
            let mut given = None;
            for call in calls {
                let unsent_before = t.machine.stats().unsent_attempts;
                let mut log = Vec::new();
                match call {
                    Call::Enable => {
                        t.machine.enable(now);
                        if t.machine.last_heard().is_none() {
                            silent_since = silent_since.min(now);
                        }
                    }
                    Call::Disable => t.machine.disable(),
                    Call::Reset => t.machine.reset(),
                    Call::Configure(idle, interval, count, timeout) => {
                        let mut new = config(idle.into(), interval.into(), count);
                        if let Some(timeout) = timeout {
                            new = with_user_timeout(new, timeout.into());
                        }
                        t.machine.set_config(now, new);
                    }
                    Call::Segment => {
                        t.machine.handle_segment(now);
                        silent_since = now;
                        has_sent = false;
                        may_ask = false;
                    }
                    Call::Sent => {
                        t.machine.handle_sent(now);
                        has_sent = true;
                    }
                    Call::Blocked => t.machine.handle_blocked(now),
                    Call::HopAsked => t.machine.handle_hop_asked(),
                    Call::HopAnswered => t.machine.handle_hop_answered(),
                    Call::Unreachable => t.machine.handle_unreachable(),
                    Call::Busy(busy) => t.tcb = if busy { IN_FLIGHT } else { QUIET },
                    Call::CanSend(can_send) => t.can_send = can_send,
                    Call::Poll => t.poll(now, &mut log),
                    Call::PollWhenDue => {
                        now = t.machine.poll_timeout().unwrap_or(now).max(now);
                        t.poll(now, &mut log);
                        let next = t.machine.poll_timeout();
                        prop_assert!(next.is_none_or(|next| next > now || now == Instant::MAX));
                    }
                    Call::Pass(micros) => now = now.saturating_add(Duration::from_micros(micros)),
                    Call::Jump(micros) => now = Instant::from_micros(micros),
                }
                if let Some(timeout) = t.machine.config().user_timeout() {
                    may_ask |= now >= silent_since.saturating_add(timeout);
                } else {
                    may_ask = false;
                }
                // K10: no remembered moment lies in the future.
                silent_since = silent_since.min(now);
                attempts += t.machine.stats().unsent_attempts - unsent_before;
                for (_, what) in log {
                    match what {
                        Probe => {
                            prop_assert!(t.tcb.is_quiet() || may_ask, "a probe while busy");
                            attempts += 1;
                        }
                        TimedOut(verdict) => {
                            prop_assert_eq!(t.machine.state(), State::TimedOut);
                            prop_assert_eq!(given, None, "two verdicts");
                            given = Some(verdict);
                            match verdict.cause {
                                Cause::KeepAlive => {
                                    prop_assert!(t.tcb.is_quiet());
                                    prop_assert!(attempts >= u32::from(t.machine.config().count()));
                                }
                                _ => prop_assert!(attempts > 0 || has_sent, "no question was asked"),
                            }
                            prop_assert_eq!(
                                verdict.failed_at == FailedAt::Device,
                                verdict.unanswered == 0 && verdict.unsent > 0
                            );
                        }
                        Suspect(_) | Recovered(_) => {}
                    }
                }
                if t.machine.state() == State::TimedOut {
                    prop_assert!(given.is_none() || t.machine.verdict() == given);
                } else {
                    given = None;
                }
                if matches!(t.machine.state(), State::Armed | State::Disabled) {
                    attempts = 0;
                }
            }
        }
    }
}

/// A device that refuses all, and data that is queued at any moment: the limit of `detect_within` holds,
/// even if the caller does not call `handle_blocked`.
#[test]
fn k11_detect_within_with_a_device_that_takes_nothing() {
    let config = Config::detect_within(secs(90)).unwrap();
    for second in 0..60 {
        let mut t = Connection::armed(config);
        t.can_send = false;
        t.run_until(at(second));
        t.tcb = QUEUED;
        t.poll_at(at(second));
        let log = t.run_until(at(1000));
        let (when, _) = log.last().unwrap();
        assert!(*when <= at(90), "queued at {second}: {log:?}");
    }
}

/// Data is in flight under a user timeout of two minutes. One reading is an hour too high; the
/// question that it caused is lost. The user timeout has not run by any right reading.
#[test]
fn k10_one_high_reading_is_no_user_timeout() {
    let mut t = Connection::armed(with_user_timeout(config(10, 2, 3), 120));
    t.tcb = IN_FLIGHT;
    t.machine.handle_sent(at(1));
    let mut log = t.poll_at(at(3602));
    for second in 2..=100 {
        // The stack sends again, now and then.
        if second % 5 == 0 {
            t.machine.handle_sent(at(second));
        }
        log.extend(t.poll_at(at(second)));
    }
    assert_ne!(t.machine.state(), State::TimedOut, "{log:?}");
    // But it does decide, late by one period.
    log.extend(t.run_until(at(300)));
    assert_eq!(t.machine.state(), State::TimedOut, "{log:?}");
}
