//! What an onlooker has seen of one connection, and what it holds against the machine.

use tcp_keepalive::{Cause, Verdict};

use super::world::Options;

#[derive(Debug)]
pub(crate) struct Ledger {
    options: Options,
    silent_since: u64,
    /// Attempts in this round of silence.
    unanswered: u8,
    unsent: u8,
    /// When the first attempt of this round began.
    first: Option<u64>,
    /// When the attempt under way began: the probe left, or was first offered.
    latest: Option<u64>,
    /// Since when a probe has been offered that could not leave.
    offered_since: Option<u64>,
    owed_since: Option<u64>,
    known_busy: bool,
    /// The clock has stepped back in this round.
    stepped_back: bool,
    pub(crate) verdict: Option<Verdict>,
}

impl Ledger {
    pub(crate) fn new(options: Options, now: u64) -> Self {
        Self {
            options,
            silent_since: now,
            unanswered: 0,
            unsent: 0,
            first: None,
            latest: None,
            offered_since: None,
            owed_since: None,
            known_busy: false,
            stepped_back: false,
            verdict: None,
        }
    }

    pub(crate) fn heard(&mut self, now: u64) {
        self.silent_since = self.silent_since.max(now);
        self.stepped_back = false;
        self.new_round();
    }

    pub(crate) fn switched(&mut self) {
        self.known_busy = false;
        self.new_round();
    }

    pub(crate) fn stepped_back(&mut self) {
        self.stepped_back = true;
    }

    pub(crate) fn sent(&mut self, now: u64) {
        self.owed_since.get_or_insert(now);
        self.known_busy = true;
    }

    /// K11: what nobody has reported to have left is owed from when it was seen.
    pub(crate) fn seen(&mut self, now: u64, outstanding: bool) {
        if outstanding && !self.known_busy {
            self.owed_since.get_or_insert(now);
        }
        self.known_busy = outstanding;
    }

    pub(crate) fn offered(&mut self, now: u64) {
        assert!(self.verdict.is_none(), "K14: a probe after the verdict");
        if self.first.is_none() {
            assert!(
                now >= self.silent_since + self.options.idle,
                "K2: a probe {} ticks after the last segment",
                now.saturating_sub(self.silent_since)
            );
            self.first = Some(now);
        }
        self.offered_since.get_or_insert(now);
    }

    pub(crate) fn not_offered(&mut self) {
        self.offered_since = None;
    }

    pub(crate) fn left(&mut self, now: u64) {
        if let Some(latest) = self.latest
            && !self.stepped_back
        {
            let interval = self.options.interval;
            assert!(
                now >= latest + interval,
                "K5: two probes within an interval"
            );
        }
        self.unanswered += 1;
        self.latest = Some(now);
        self.offered_since = None;
    }

    pub(crate) fn unsent_attempt(&mut self, now: u64) {
        let since = self.offered_since.expect("K4: unsent, but never offered");
        let interval = self.options.interval;
        assert!(now >= since + interval, "K4: unsent within an interval");
        self.unsent += 1;
        self.latest = Some(since);
        self.offered_since = None;
    }

    pub(crate) fn given_up(&mut self, now: u64, verdict: Verdict, outstanding: bool) {
        assert!(self.verdict.is_none(), "K14: two verdicts");
        self.verdict = Some(verdict);
        assert_eq!(verdict.unanswered, self.unanswered, "K5");
        assert_eq!(verdict.unsent, self.unsent, "K5");
        match verdict.cause {
            Cause::KeepAlive => {
                assert!(!outstanding, "K11: the count has decided while busy");
                self.count_may_decide(now);
            }
            Cause::UserTimeout => {
                assert!(outstanding, "K11: the user timeout has decided while quiet");
                self.user_timeout_may_decide(now);
            }
            other => panic!("a cause this test does not know: {other:?}"),
        }
    }

    fn count_may_decide(&self, now: u64) {
        let Options {
            interval, count, ..
        } = self.options;
        let attempts = self.unanswered + self.unsent;
        assert!(attempts >= count, "K5: {attempts} attempts");
        let due = self.latest.expect("K5: no attempt") + interval;
        assert!(now >= due, "K5: within an interval of the last attempt");
        if !self.stepped_back {
            let first = self.first.expect("K5: no attempt");
            assert!(now >= first + self.options.probing(), "K5: too early");
        }
        if now > due + interval {
            assert!(attempts > count, "K9: fell due in a gap");
        }
    }

    fn user_timeout_may_decide(&self, now: u64) {
        let timeout = self.options.user_timeout.expect("K11: no user timeout");
        let owed_since = self.owed_since.expect("K11: nothing was owed");
        assert!(now >= owed_since + timeout, "K11: too early");
    }

    fn new_round(&mut self) {
        self.unanswered = 0;
        self.unsent = 0;
        self.first = None;
        self.latest = None;
        self.offered_since = None;
        self.owed_since = None;
    }

    /// All that decides what it will hold against the machine.
    pub(crate) fn key(&self, oldest: u64) -> String {
        let Self {
            options: _,
            silent_since,
            unanswered,
            unsent,
            first,
            latest,
            offered_since,
            owed_since,
            known_busy,
            stepped_back,
            verdict,
        } = self;
        let age = |moment: u64| moment.saturating_sub(oldest);
        let ages = [first, latest, offered_since, owed_since].map(|moment| moment.map(age));
        format!(
            "{} {unanswered} {unsent} {ages:?} {known_busy} {stepped_back} {}",
            age(*silent_since),
            verdict.is_some(),
        )
    }
}
