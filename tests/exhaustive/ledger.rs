//! What an onlooker has seen of one connection, and what it holds against the machine.
//!
//! It knows nothing of what the machine waits for. When exactly the machine acts is what the model
//! says; the ledger asserts that whatever the two agree upon keeps what was promised.

use tcp_keepalive::{Cause, FailedAt, Verdict};

use super::rules::Learned;
use super::world::{Options, TICK_MICROS};

#[derive(Debug)]
pub(crate) struct Ledger {
    /// Those in force.
    pub(crate) options: Options,
    silent_since: u64,
    /// Attempts in this round of silence.
    unanswered: u8,
    unsent: u8,
    /// When questions of this round left, ours or the stack's, or were first offered if they could not:
    /// the last one that has had its interval, and all after that.
    asked: Vec<u64>,
    /// When the probe that waits to leave was first offered.
    offered: Option<u64>,
    /// Since when something was sent, or found unable to leave, that the peer has not answered.
    owed_since: Option<u64>,
    /// A user timeout has struck and asked in this round.
    has_struck: bool,
    /// A verdict was put to one more question in this round, or may have been.
    spared: bool,
    /// When options were set last in this round.
    reconfigured: Option<u64>,
    /// When a shorter interval was set last in this round.
    shortened: Option<u64>,
    learned: Option<Learned>,
    pub(crate) verdict: Option<Verdict>,
}

impl Ledger {
    pub(crate) fn new(options: Options, now: u64) -> Self {
        Self {
            options,
            silent_since: now,
            unanswered: 0,
            unsent: 0,
            asked: Vec::new(),
            offered: None,
            owed_since: None,
            has_struck: false,
            spared: false,
            reconfigured: None,
            shortened: None,
            learned: None,
            verdict: None,
        }
    }

    pub(crate) fn heard(&mut self, now: u64) {
        self.silent_since = now;
        self.new_round();
    }

    pub(crate) fn switched_off(&mut self) {
        self.new_round();
    }

    pub(crate) fn learned(&mut self, learned: Learned) {
        self.learned = match (self.learned, learned) {
            (Some(Learned::Unreachable), _) | (_, Learned::Unreachable) => {
                Some(Learned::Unreachable)
            }
            (None, Learned::HopAnswered) => None,
            (Some(Learned::HopAnswered), _) => Some(Learned::HopAnswered),
            _ => Some(learned),
        };
    }

    /// Data went out, or was to.
    pub(crate) fn sent(&mut self, now: u64, has_left: bool) {
        self.owed_since.get_or_insert(now);
        if has_left {
            self.asked(now);
        }
    }

    /// K8.
    pub(crate) fn reconfigured(&mut self, now: u64, options: Options) {
        if options != self.options {
            let is_shorter = options.interval < self.options.interval;
            if is_shorter {
                self.shortened = Some(now);
            }
            self.options = options;
            self.reconfigured = Some(now);
            let is_over = |begun: &u64| begun + options.interval <= now;
            if self.asked.last().is_some_and(is_over) {
                self.spared = true;
            }
            let decides = self.attempts() + 1 >= options.count || self.owed_since.is_some();
            if decides && is_shorter && self.offered.is_some() {
                self.spared = true;
            }
        }
    }

    /// The machine looks, and no moment that it remembers lies in the future any more (K10).
    pub(crate) fn seen(&mut self, now: u64, outstanding: bool) {
        self.silent_since = self.silent_since.min(now);
        for asked in &mut self.asked {
            *asked = now.min(*asked);
        }
        self.asked.dedup();
        for moment in [
            &mut self.offered,
            &mut self.owed_since,
            &mut self.reconfigured,
            &mut self.shortened,
        ] {
            *moment = moment.map(|moment| moment.min(now));
        }
        if outstanding && now >= self.silent_since + self.options.idle {
            // K11: what was not seen to leave could not.
            self.owed_since.get_or_insert(now);
        }
    }

    pub(crate) fn unsent_attempt(&mut self, now: u64) {
        let offered = self.offered.take().expect("K4: unsent, but never offered");
        let due = offered + self.options.interval;
        assert!(now >= due, "K4: unsent within an interval");
        self.unsent += 1;
        self.asked(offered);
    }

    pub(crate) fn offered(&mut self, now: u64, outstanding: bool) {
        assert!(self.verdict.is_none(), "K14: a probe after the verdict");
        if self.offered.is_some() {
            return;
        }
        self.offered = Some(now);
        if outstanding {
            let timeout = self.options.user_timeout.expect("K3: a probe while busy");
            let due = self.owed_since.unwrap_or(self.silent_since) + timeout;
            let is_again = self.has_struck || self.reconfigured.is_some();
            assert!(now >= due || is_again, "K11: asked at {now}, before {due}");
            self.has_struck = true;
            // A question that may have been put instead of a verdict.
            let interval = self.options.interval;
            let has_asked_lately = self.asked.iter().any(|asked| asked + interval > due);
            let is_late = now > due + interval;
            self.spared |=
                has_asked_lately || is_late || self.attempts() > 0 || self.reconfigured.is_some();
        } else {
            let due = self.silent_since + self.options.idle;
            assert!(
                now >= due || self.attempts() > 0,
                "K2: a probe at {now}, before {due}"
            );
            self.spared |= self.attempts() >= self.options.count;
        }
        if let Some(asked) = self.asked.last()
            && self.owed_since.is_none()
            && self.reconfigured.is_none()
        {
            let due = asked + self.options.interval;
            assert!(now >= due, "K5: a probe at {now}, before {due}");
        }
    }

    /// The machine has looked, and offers nothing.
    pub(crate) fn not_offered(&mut self) {
        self.offered = None;
    }

    pub(crate) fn left(&mut self, now: u64) {
        self.unanswered += 1;
        self.offered = None;
        self.asked(now);
    }

    fn asked(&mut self, now: u64) {
        let interval = self.options.interval;
        let has_had_it = |asked: &u64| asked + interval <= now;
        if let Some(last) = self.asked.iter().rposition(has_had_it) {
            self.asked.drain(..last);
        }
        if self.asked.last() != Some(&now) {
            self.asked.push(now);
        }
    }

    pub(crate) fn given_up(&mut self, now: u64, outstanding: bool, verdict: Verdict) {
        let Options {
            idle,
            interval,
            count,
            user_timeout,
        } = self.options;
        let Verdict {
            cause,
            silent_for,
            unanswered,
            unsent,
            failed_at,
        } = verdict;
        assert!(self.verdict.is_none(), "K14: two verdicts");
        assert_eq!(unanswered, self.unanswered, "K5");
        assert_eq!(unsent, self.unsent, "K5");
        let silence = (now - self.silent_since) * TICK_MICROS;
        assert_eq!(silent_for.as_micros(), u128::from(silence), "K5");
        assert_eq!(failed_at, self.failed_at(), "K20");

        // K8, K9, K11: a question of ours has left, and waited out its whole interval under the present
        // configuration, with a poll at its end.
        let dues = || self.asked.iter().map(|asked| asked + interval);
        assert!(dues().next().is_some(), "no question was asked");
        let due = dues().rfind(|due| *due <= now);
        let due = due.unwrap_or_else(|| panic!("decided at {now}, asked at {:?}", self.asked));
        let is_late = now > due + interval;
        assert!(!is_late || self.spared, "decided at {now}, after {due}");
        if self.shortened.is_some_and(|set| due <= set) {
            assert!(self.spared, "decided by a shorter interval, unasked");
        }
        if cause == Cause::KeepAlive {
            assert!(!outstanding, "K3: given up by the count while busy");
            assert!(self.attempts() >= count, "K5: too few attempts");
            assert!(
                now >= self.silent_since + idle || self.reconfigured.is_some(),
                "K2"
            );
        } else {
            assert!(outstanding, "K11: given up by the user timeout while quiet");
            let timeout = user_timeout.expect("K11: there is no user timeout");
            let due = self.owed_since.unwrap_or(self.silent_since) + timeout;
            let is_due = now >= due || self.has_struck || self.reconfigured.is_some();
            assert!(is_due, "K11: given up at {now}, before {due}");
        }
        self.verdict = Some(verdict);
    }

    fn failed_at(&self) -> FailedAt {
        match self.learned {
            _ if self.unanswered == 0 && self.unsent > 0 => FailedAt::Device,
            Some(Learned::Unreachable) => FailedAt::Network,
            Some(Learned::HopAsked) => FailedAt::NextHop,
            Some(Learned::HopAnswered) | None => FailedAt::Peer,
        }
    }

    fn attempts(&self) -> u8 {
        self.unanswered + self.unsent
    }

    fn new_round(&mut self) {
        self.unanswered = 0;
        self.unsent = 0;
        self.asked.clear();
        self.offered = None;
        self.owed_since = None;
        self.has_struck = false;
        self.spared = false;
        self.reconfigured = None;
        self.shortened = None;
        self.learned = None;
    }

    /// All that decides what it will hold against the machine, but for the options in force, which
    /// are the machine's too.
    pub(crate) fn key(&self, oldest: u64) -> String {
        let Self {
            options: _,
            silent_since,
            unanswered,
            unsent,
            asked,
            offered,
            owed_since,
            has_struck,
            spared,
            reconfigured,
            shortened,
            learned,
            verdict,
        } = self;
        let age = |moment: &u64| moment.saturating_sub(oldest);
        format!(
            "{} {unanswered} {unsent} {:?} {:?} {:?} {has_struck} {spared} {:?} {:?} {learned:?} {}",
            age(silent_since),
            asked.iter().map(age).collect::<Vec<_>>(),
            offered.as_ref().map(age),
            owed_since.as_ref().map(age),
            reconfigured.as_ref().map(age),
            shortened.as_ref().map(age),
            verdict.is_some(),
        )
    }
}
