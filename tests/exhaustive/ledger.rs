//! What an onlooker has seen of one connection, and what it holds against the machine.

use tcp_keepalive::{Cause, Verdict};

use super::world::{Options, TICK_MICROS};

#[derive(Debug)]
pub(crate) struct Ledger {
    /// Those in force.
    pub(crate) options: Options,
    silent_since: u64,
    /// Attempts in this round of silence.
    unanswered: u8,
    unsent: u8,
    waiting: Waiting,
    owed_since: Option<u64>,
    known_busy: bool,
    /// Something fell due while the host slept, and the peer was neither heard nor asked since.
    missed: bool,
    /// A verdict was put off because it was missed: once in a round of silence.
    spared: bool,
    pub(crate) verdict: Option<Verdict>,
}

/// What has to pass before the machine does anything.
#[derive(Clone, Copy, Debug)]
enum Waiting {
    /// The silence has to last, and it is not over before it was put off to, or switched on.
    Silence { not_before: u64 },
    /// A probe has to leave.
    Leaving { since: u64, offered: bool },
    /// The probe that left then has to be answered.
    Answer { left: u64 },
}

impl Ledger {
    pub(crate) fn new(options: Options, now: u64) -> Self {
        Self {
            options,
            silent_since: now,
            unanswered: 0,
            unsent: 0,
            waiting: Waiting::Silence { not_before: now },
            owed_since: None,
            known_busy: false,
            missed: false,
            spared: false,
            verdict: None,
        }
    }

    pub(crate) fn heard(&mut self, now: u64) {
        self.silent_since = self.silent_since.max(now);
        self.new_round();
        if !matches!(self.waiting, Waiting::Silence { .. }) {
            self.waiting = Waiting::Silence { not_before: 0 };
        }
    }

    pub(crate) fn switched(&mut self, now: u64) {
        self.known_busy = false;
        self.new_round();
        self.waiting = Waiting::Silence { not_before: now };
    }

    /// Data went out, or was to.
    pub(crate) fn sent(&mut self, now: u64, has_left: bool) {
        self.known_busy = true;
        let missed = self.debt_due().is_some_and(|due| self.is_gap(now, due));
        if has_left && missed && !self.spared {
            // K9: the host wakes up, and sends again before anyone could decide.
            self.spared = true;
            self.owed_since = None;
        }
        self.owed_since.get_or_insert(now);
    }

    /// K8: other options, set by a host that was `told` to look again then.
    pub(crate) fn reconfigured(&mut self, now: u64, options: Options, told: Option<u64>) {
        if options == self.options {
            return;
        }
        self.missed |= told.is_some_and(|told| self.is_gap(now, told));
        self.options = options;
        // What they make due in the past is due now.
        let earliest = now - options.interval;
        match &mut self.waiting {
            Waiting::Silence { not_before } => *not_before = now,
            Waiting::Leaving { since, .. } => *since = earliest.max(*since),
            Waiting::Answer { left } => *left = earliest.max(*left),
        }
        if let (Some(since), Some(timeout)) = (&mut self.owed_since, options.user_timeout) {
            *since = (now - timeout).max(*since);
        }
        if self.missed && !self.spared {
            self.spare(now);
        }
    }

    /// K9: what the new options would decide now, they would decide on a time in which nobody
    /// listened.
    fn spare(&mut self, now: u64) {
        if self.debt_due().is_some_and(|due| due <= now) {
            self.spared = true;
            self.owed_since = None;
        }
        let decides = match self.waiting {
            Waiting::Silence { .. } => false,
            Waiting::Leaving { .. } => true,
            Waiting::Answer { .. } => self.attempts() >= self.options.count,
        };
        if decides && self.attempt_due() <= now {
            self.spared = true;
            self.waiting = Waiting::Leaving {
                since: now,
                offered: false,
            };
        }
    }

    /// When the host has to look again, after new options, and when it had to before. A probe that
    /// waits to leave may be offered before that; but one that did not look too late before does not
    /// now.
    pub(crate) fn assert_told(&self, now: u64, before: Option<u64>, told: Option<u64>) {
        let told = told.expect("K8: nothing is due any more");
        let was_late = before.is_some_and(|before| before < now);
        assert!(told >= now || was_late, "K8: due at {told}, before {now}");
        let attempt_due = self.attempt_due();
        let due = self
            .debt_due()
            .map_or(attempt_due, |due| due.min(attempt_due));
        match self.waiting {
            Waiting::Leaving { .. } => assert!(told <= due, "K8: due at {told}, not {due}"),
            _ => assert_eq!(told, due, "K8: due"),
        }
    }

    /// The machine looks, and has to decide so.
    pub(crate) fn seen(&mut self, now: u64, outstanding: bool) -> Option<Cause> {
        if outstanding {
            self.seen_busy(now)
        } else {
            self.known_busy = false;
            self.seen_quiet(now)
        }
    }

    /// The machine is only asked for a probe, on a busy connection.
    pub(crate) fn asked(&mut self, now: u64) -> Option<Cause> {
        match self.waiting {
            Waiting::Leaving { .. } => self.seen(now, true),
            _ => None,
        }
    }

    fn seen_busy(&mut self, now: u64) -> Option<Cause> {
        if !self.known_busy {
            // K11: what nobody has reported to have left is owed from when it was seen.
            self.owed_since.get_or_insert(now);
            self.known_busy = true;
        }
        if let Some(due) = self.debt_due().filter(|due| now >= *due) {
            if self.spared || !self.is_gap(now, due) {
                return Some(Cause::UserTimeout);
            }
            self.spared = true;
            self.owed_since = None;
        }
        // K3: what is due is put off.
        if now >= self.attempt_due() || matches!(self.waiting, Waiting::Leaving { .. }) {
            let not_before = now + self.options.idle;
            self.waiting = Waiting::Silence { not_before };
        }
        None
    }

    fn seen_quiet(&mut self, now: u64) -> Option<Cause> {
        let due = self.attempt_due();
        let attempts = match self.waiting {
            // What was never offered is no attempt, however long ago it was wanted.
            Waiting::Silence { .. } | Waiting::Leaving { offered: false, .. } => return None,
            Waiting::Leaving { offered: true, .. } => self.attempts() + 1,
            Waiting::Answer { .. } => self.attempts(),
        };
        if now < due || attempts < self.options.count {
            return None;
        }
        if self.spared || !self.is_gap(now, due) {
            return Some(Cause::KeepAlive);
        }
        self.spared = true;
        None
    }

    pub(crate) fn unsent_attempt(&mut self, now: u64) {
        let Waiting::Leaving { since, offered } = self.waiting else {
            panic!("K4: unsent, but not wanted");
        };
        assert!(offered, "K4: unsent, but never offered");
        let due = since + self.options.interval;
        assert!(now >= due, "K4: unsent within an interval");
        self.unsent += 1;
        // As if it had left: what follows is due an interval later.
        self.waiting = Waiting::Answer { left: since };
    }

    pub(crate) fn offered(&mut self, now: u64) {
        assert!(self.verdict.is_none(), "K14: a probe after the verdict");
        let since = match self.waiting {
            Waiting::Leaving {
                since,
                offered: true,
            } => since,
            Waiting::Leaving { offered: false, .. } => now,
            Waiting::Silence { .. } => {
                let due = self.attempt_due();
                assert!(now >= due, "K2: a probe at {now}, before {due}");
                now
            }
            Waiting::Answer { .. } => {
                let due = self.attempt_due();
                assert!(now >= due, "K5: a probe at {now}, before {due}");
                now
            }
        };
        let offered = true;
        self.waiting = Waiting::Leaving { since, offered };
    }

    /// The machine has looked, and offers nothing.
    pub(crate) fn not_offered(&self, now: u64, outstanding: bool) {
        if outstanding || self.verdict.is_some() {
            return;
        }
        let due = self.attempt_due();
        assert!(now < due, "K2, K5: no probe at {now}, due at {due}");
        let wanted = matches!(self.waiting, Waiting::Leaving { .. });
        assert!(!wanted, "K4: the probe is not offered again");
    }

    pub(crate) fn left(&mut self, now: u64) {
        self.unanswered += 1;
        self.missed = false;
        self.waiting = Waiting::Answer { left: now };
    }

    pub(crate) fn given_up(&mut self, now: u64, verdict: Verdict) {
        assert!(self.verdict.is_none(), "K14: two verdicts");
        assert_eq!(verdict.unanswered, self.unanswered, "K5");
        assert_eq!(verdict.unsent, self.unsent, "K5");
        let silent_for = now.saturating_sub(self.silent_since) * TICK_MICROS;
        assert_eq!(
            verdict.silent_for.as_micros(),
            u128::from(silent_for),
            "K5: the silence"
        );
        self.verdict = Some(verdict);
    }

    fn attempts(&self) -> u8 {
        self.unanswered + self.unsent
    }

    fn attempt_due(&self) -> u64 {
        let Options { idle, interval, .. } = self.options;
        match self.waiting {
            Waiting::Silence { not_before } => not_before.max(self.silent_since + idle),
            Waiting::Leaving { since, .. } => since + interval,
            Waiting::Answer { left } => left + interval,
        }
    }

    /// When the user timeout strikes.
    fn debt_due(&self) -> Option<u64> {
        Some(self.owed_since? + self.options.user_timeout?)
    }

    /// K9: noticed more than an interval late.
    fn is_gap(&self, now: u64, due: u64) -> bool {
        now > due + self.options.interval
    }

    fn new_round(&mut self) {
        self.unanswered = 0;
        self.unsent = 0;
        self.owed_since = None;
        self.missed = false;
        self.spared = false;
    }

    /// All that decides what it will hold against the machine, but for the options in force, which
    /// are the machine's too.
    pub(crate) fn key(&self, oldest: u64) -> String {
        let Self {
            options: _,
            silent_since,
            unanswered,
            unsent,
            waiting,
            owed_since,
            known_busy,
            missed,
            spared,
            verdict,
        } = self;
        let age = |moment: u64| moment.saturating_sub(oldest);
        let waiting = match *waiting {
            Waiting::Silence { not_before } => Waiting::Silence {
                not_before: age(not_before),
            },
            Waiting::Leaving { since, offered } => Waiting::Leaving {
                since: age(since),
                offered,
            },
            Waiting::Answer { left } => Waiting::Answer { left: age(left) },
        };
        format!(
            "{} {unanswered} {unsent} {waiting:?} {:?} {known_busy} {missed} {spared} {}",
            age(*silent_since),
            owed_since.map(age),
            verdict.is_some(),
        )
    }
}
