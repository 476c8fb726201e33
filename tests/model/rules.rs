//! The rules K1 to K16, each written down as it is worded: nothing is put off, packed or shared.
//!
//! Times are microseconds, what happened is kept in lists, and the moment at which something falls
//! due is worked out where it is decided and then stored. Where the wording leaves a choice, the
//! model takes the one that the documentation of `KeepAlive` names, and a comment starting with
//! "Choice" says so.

use std::time::Duration;

use tcp_keepalive::{Cause, Config, Event, Instant, ProbePayload, State, Tcb, Verdict};

const RETRY: u64 = 500_000;

/// What the machine should be.
#[expect(clippy::struct_excessive_bools, reason = "each says something else")]
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) config: Config,
    pub(crate) counts: Counts,
    /// When the last acceptable segment arrived on this connection.
    pub(crate) heard: Option<u64>,
    /// Since when there has been silence: since `heard`, or since enabling.
    silent_since: u64,
    waiting: Waiting,
    /// All attempts since the peer was last heard.
    attempts: Vec<Attempt>,
    /// `Suspect` was reported in this round of silence.
    suspected: bool,
    /// A verdict was put off in this round of silence, because it fell due in a gap.
    spared: bool,
    /// Something fell due in a gap, under options that are not in force any more, and the peer was
    /// neither heard nor asked since.
    missed: bool,
    /// Since when the peer has owed us an answer.
    owes_since: Option<u64>,
    /// We know already that something is outstanding or queued.
    known_busy: bool,
    /// What was not reported yet, oldest first.
    events: Vec<Event>,
}

#[derive(Clone, Copy, Debug)]
enum Waiting {
    Disabled,
    /// For the silence to last until then.
    Silence {
        until: u64,
    },
    /// For a probe to leave: wanted since, given up then, and to be offered again then.
    Leaving {
        since: u64,
        until: u64,
        again: u64,
        offered: bool,
    },
    /// For the answer to the probe that left then.
    Answer {
        left: u64,
        until: u64,
        measured: bool,
    },
    Over(Verdict),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    Unanswered,
    Unsent,
}

/// K16, without an end to counting: it is the comparison that saturates.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) probes_sent: u64,
    pub(crate) probes_answered: u64,
    pub(crate) unsent_attempts: u64,
    pub(crate) verdicts: u64,
    pub(crate) late_polls: u64,
    pub(crate) last_rtt: Option<u64>,
}

/// K12: what a probe has to say.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Segment {
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) window: u16,
    pub(crate) timestamps: Option<(u32, u32)>,
    pub(crate) payload: Vec<u8>,
}

impl Model {
    /// K1: off until enabled.
    pub(crate) fn new(config: Config) -> Self {
        Self {
            config,
            counts: Counts::default(),
            heard: None,
            silent_since: 0,
            waiting: Waiting::Disabled,
            attempts: Vec::new(),
            suspected: false,
            spared: false,
            missed: false,
            owes_since: None,
            known_busy: false,
            events: Vec::new(),
        }
    }

    /// K2: "enabling late gives `max(now, last_heard + idle)`".
    pub(crate) fn enable(&mut self, now: u64) {
        if !matches!(self.waiting, Waiting::Disabled) {
            return;
        }
        // Choice: if nothing was heard, enabling stands in for it.
        self.silent_since = self.heard.unwrap_or(now);
        let until = now.max(self.end_of_idle());
        self.waiting = Waiting::Silence { until };
    }

    /// K1: "disable acts at once".
    pub(crate) fn disable(&mut self) {
        if matches!(self.waiting, Waiting::Over(_)) {
            // K14: final.
            return;
        }
        self.waiting = Waiting::Disabled;
        self.end_round();
        self.missed = false;
        self.owes_since = None;
        self.known_busy = false;
    }

    /// K14: "the config survives the reset, the state does not".
    pub(crate) fn reset(&mut self) {
        // Choice: the counters survive too.
        let counts = self.counts;
        *self = Self::new(self.config);
        self.counts = counts;
    }

    /// K8.
    pub(crate) fn set_config(&mut self, now: u64, config: Config) {
        if config == self.config {
            return;
        }
        // K9: what was missed under the old options stays missed, whatever options are set after
        // these, until the peer is heard or asked.
        self.missed |= self.poll_timeout().is_some_and(|due| self.is_gap(now, due));
        self.config = config;
        let interval = self.interval();
        match &mut self.waiting {
            Waiting::Disabled | Waiting::Over(_) => {}
            // Choice: probing that made way for data waits for silence as if it were armed.
            Waiting::Silence { until } => {
                let end_of_idle = self.silent_since.saturating_add(micros(config.idle()));
                *until = now.max(end_of_idle);
            }
            // Choice: what the new options make due in the past is due now. The attempt is taken
            // to be just one interval old, whatever options are set after these.
            Waiting::Leaving {
                since,
                until,
                again,
                ..
            } => {
                let earliest = now.saturating_sub(interval);
                if earliest > *since {
                    *again = again.saturating_add(earliest - *since);
                    *since = earliest;
                }
                *until = since.saturating_add(interval);
            }
            Waiting::Answer {
                left,
                until,
                measured,
            } => {
                let earliest = now.saturating_sub(interval);
                if earliest > *left {
                    *left = earliest;
                    *measured = false;
                }
                *until = left.saturating_add(interval);
            }
        }
        if let (Some(owes_since), Some(timeout)) = (&mut self.owes_since, config.user_timeout()) {
            *owes_since = (*owes_since).max(now.saturating_sub(micros(timeout)));
        }
        if self.missed && !self.spared {
            self.spare(now);
        }
    }

    /// K9: what would decide now, or what it is to be decided by, was missed. "One more probe is sent
    /// first, once per round of silence".
    fn spare(&mut self, now: u64) {
        let has_struck = self.struck().is_some_and(|struck| struck <= now);
        let is_attempt_over = match self.waiting {
            Waiting::Disabled | Waiting::Over(_) | Waiting::Silence { .. } => false,
            // Choice: a probe that waits to leave has its whole interval again.
            Waiting::Leaving { until, .. } => until <= now,
            Waiting::Answer { until, .. } => {
                until <= now && self.attempts.len() >= usize::from(self.config.count())
            }
        };
        if !has_struck && !is_attempt_over {
            return;
        }
        self.spared = true;
        self.counts.late_polls += 1;
        if has_struck {
            self.owes_since = None;
        }
        if is_attempt_over {
            self.want(now);
        }
    }

    /// K2, K7: an acceptable segment arrived.
    pub(crate) fn segment(&mut self, now: u64) {
        if matches!(self.waiting, Waiting::Over(_)) {
            return;
        }
        // K10: a clock that stepped back does not make the last segment an older one. Choice: nor one
        // from before the silence began.
        let heard = now.max(self.silent_since);
        self.heard = Some(heard);
        self.silent_since = heard;
        self.missed = false;
        self.owes_since = None;
        let unanswered = self.unanswered();
        if unanswered > 0 {
            self.counts.probes_answered += 1;
        }
        let end_of_idle = self.end_of_idle();
        match &mut self.waiting {
            Waiting::Disabled | Waiting::Over(_) => {}
            Waiting::Silence { until } => *until = (*until).max(end_of_idle),
            Waiting::Leaving { .. } => self.waiting = Waiting::Silence { until: end_of_idle },
            Waiting::Answer { left, measured, .. } => {
                // Choice: measured when one probe alone was unanswered, and up to 71 minutes.
                if *measured && unanswered == 1 {
                    let longest = u64::from(u32::MAX - 1);
                    self.counts.last_rtt = Some(now.saturating_sub(*left).min(longest));
                }
                self.waiting = Waiting::Silence { until: end_of_idle };
            }
        }
        if self.suspected {
            self.report(Event::Recovered { unanswered });
        }
        self.end_round();
    }

    /// K11: "the peer owes an answer from the first segment we sent after last hearing from it".
    pub(crate) fn sent(&mut self, now: u64) {
        if self.is_idle() {
            return;
        }
        match self.struck() {
            None if self.owes_since.is_some() => {}
            None => self.owes_since = Some(now),
            // K9, and a choice: the stack asks again on waking, before anyone has decided.
            Some(struck) if self.is_gap(now, struck) && !self.spared => {
                self.counts.late_polls += 1;
                self.spared = true;
                self.owes_since = Some(now);
            }
            Some(_) => {}
        }
        self.known_busy = true;
    }

    /// K11: "or, if nothing could leave, from the moment we became busy".
    pub(crate) fn blocked(&mut self, now: u64) {
        if self.is_idle() {
            return;
        }
        self.owes_since = Some(self.owes_since.unwrap_or(now));
        self.known_busy = true;
    }

    /// Time has passed.
    pub(crate) fn timeout(&mut self, now: u64, tcb: &Tcb) {
        if self.is_idle() {
            return;
        }
        if is_busy(tcb) {
            self.look_while_busy(now);
            return;
        }
        self.known_busy = false;
        self.owes_since = None;
        match self.waiting {
            Waiting::Disabled | Waiting::Over(_) => {}
            // Choice: a probe that was never offered could not leave, and is wanted from now on.
            Waiting::Silence { until }
            | Waiting::Leaving {
                until,
                offered: false,
                ..
            } => {
                if now >= until {
                    self.count_if_late(now, until);
                    self.want(now);
                }
            }
            Waiting::Leaving { until, .. } => {
                if now >= until {
                    // K4: "an interval that passes entirely without it leaving is one unsent
                    // attempt".
                    self.attempts.push(Attempt::Unsent);
                    self.counts.unsent_attempts += 1;
                    self.fail(now, until);
                }
            }
            Waiting::Answer { until, .. } => {
                if now >= until {
                    self.fail(now, until);
                }
            }
        }
    }

    /// K3, K4: the probe to send now.
    pub(crate) fn transmit(&mut self, now: u64, tcb: &Tcb) -> Option<Segment> {
        let Waiting::Leaving { since, until, .. } = self.waiting else {
            return None;
        };
        if is_busy(tcb) {
            self.look_while_busy(now);
            return None;
        }
        // K4: "every 500 ms". Choice: counted from when it was wanted, and for 68 years
        // only.
        let periods = now.saturating_sub(since) / RETRY + 1;
        let again = if periods < u64::from(u32::MAX) {
            since.saturating_add(periods.saturating_mul(RETRY))
        } else {
            u64::MAX
        };
        self.waiting = Waiting::Leaving {
            since,
            until,
            again,
            offered: true,
        };
        Some(Segment {
            seq: tcb.snd_nxt.0.wrapping_sub(1),
            ack: tcb.rcv_nxt.0,
            window: tcb.rcv_wnd,
            timestamps: tcb.timestamps,
            payload: match self.config.payload() {
                ProbePayload::GarbageOctet => vec![0],
                _ => vec![],
            },
        })
    }

    /// K4: "a probe counts when it has left the device".
    pub(crate) fn transmitted(&mut self, now: u64) {
        self.counts.probes_sent += 1;
        // Choice: one that is no longer wanted was sent, and counts for nothing else.
        if let Waiting::Leaving { .. } = self.waiting {
            self.attempts.push(Attempt::Unanswered);
            self.missed = false;
            self.waiting = Waiting::Answer {
                left: now,
                until: now.saturating_add(self.interval()),
                measured: true,
            };
        }
    }

    pub(crate) fn event(&mut self) -> Option<Event> {
        if self.events.is_empty() {
            None
        } else {
            Some(self.events.remove(0))
        }
    }

    pub(crate) fn poll_timeout(&self) -> Option<u64> {
        let due = match self.waiting {
            Waiting::Disabled | Waiting::Over(_) => return None,
            Waiting::Silence { until } | Waiting::Answer { until, .. } => until,
            Waiting::Leaving { until, again, .. } => until.min(again),
        };
        Some(self.struck().map_or(due, |struck| struck.min(due)))
    }

    pub(crate) fn state(&self) -> State {
        match self.waiting {
            Waiting::Disabled => State::Disabled,
            Waiting::Over(_) => State::TimedOut,
            Waiting::Silence { .. } if self.attempts.is_empty() => State::Armed,
            // Choice: probing that made way for data is still probing, its count stands.
            _ => State::Probing {
                unanswered: self.unanswered(),
            },
        }
    }

    pub(crate) fn verdict(&self) -> Option<Verdict> {
        match self.waiting {
            Waiting::Over(verdict) => Some(verdict),
            _ => None,
        }
    }

    /// K3: "due while busy: look again after `idle`, count nothing"; K11.
    fn look_while_busy(&mut self, now: u64) {
        if !self.known_busy {
            // Choice: had anything left, we would know. So it could not.
            self.blocked(now);
        }
        if let Some(struck) = self.struck()
            && now >= struck
        {
            self.count_if_late(now, struck);
            if self.is_gap(now, struck) && !self.spared {
                // K9. Choice: nothing of ours may leave, so the next segment of the stack's is
                // the one more probe.
                self.spared = true;
                self.owes_since = None;
            } else {
                self.give_up(now, Cause::UserTimeout);
                return;
            }
        }
        let put_off = match self.waiting {
            Waiting::Disabled | Waiting::Over(_) => false,
            Waiting::Leaving { .. } => true,
            Waiting::Silence { until } => now >= until,
            Waiting::Answer { until, .. } => {
                if now >= until {
                    self.suspect();
                }
                now >= until
            }
        };
        if put_off {
            // K2 holds too, for a clock that is behind the last segment.
            let until = now.max(self.silent_since).saturating_add(self.idle());
            self.waiting = Waiting::Silence { until };
        }
    }

    /// K5: an attempt that should have led to an answer by `due` did not.
    fn fail(&mut self, now: u64, due: u64) {
        self.count_if_late(now, due);
        self.suspect();
        if self.attempts.len() < usize::from(self.config.count()) {
            self.want(now);
        } else if self.is_gap(now, due) && !self.spared {
            // K9: "one more probe is sent first, once per round of silence".
            self.spared = true;
            self.want(now);
        } else {
            self.give_up(now, Cause::KeepAlive);
        }
    }

    fn want(&mut self, now: u64) {
        self.waiting = Waiting::Leaving {
            since: now,
            until: now.saturating_add(self.interval()),
            again: now,
            offered: false,
        };
    }

    /// K7: "`Suspect` is reported when the first attempt has gone unanswered".
    fn suspect(&mut self) {
        if !self.suspected {
            self.suspected = true;
            let unanswered = self.unanswered();
            self.report(Event::Suspect { unanswered });
        }
    }

    fn give_up(&mut self, now: u64, cause: Cause) {
        let verdict = Verdict {
            cause,
            silent_for: Duration::from_micros(now.saturating_sub(self.silent_since)),
            unanswered: self.unanswered(),
            unsent: self.number_of(Attempt::Unsent),
        };
        self.counts.verdicts += 1;
        self.waiting = Waiting::Over(verdict);
        self.report(Event::TimedOut(verdict));
    }

    /// K14: "one `Event` slot per kind".
    fn report(&mut self, event: Event) {
        let kind = std::mem::discriminant(&event);
        self.events
            .retain(|other| std::mem::discriminant(other) != kind);
        self.events.push(event);
    }

    /// K7: "returns to Armed with nothing unanswered".
    fn end_round(&mut self) {
        self.attempts.clear();
        self.suspected = false;
        self.spared = false;
    }

    /// K9: "the poll came more than one `interval` late".
    fn is_gap(&self, now: u64, due: u64) -> bool {
        now.saturating_sub(due) > self.interval()
    }

    /// K16. Choice: late is a poll that finds an attempt failed, a first probe due, or the user
    /// timeout over; one that merely puts a probe off is not counted.
    fn count_if_late(&mut self, now: u64, due: u64) {
        if self.is_gap(now, due) {
            self.counts.late_polls += 1;
        }
    }

    /// When the user timeout strikes, or struck.
    fn struck(&self) -> Option<u64> {
        let timeout = micros(self.config.user_timeout()?);
        Some(self.owes_since?.saturating_add(timeout))
    }

    fn is_idle(&self) -> bool {
        matches!(self.waiting, Waiting::Disabled | Waiting::Over(_))
    }

    fn unanswered(&self) -> u8 {
        self.number_of(Attempt::Unanswered)
    }

    fn number_of(&self, kind: Attempt) -> u8 {
        let number = self
            .attempts
            .iter()
            .filter(|attempt| **attempt == kind)
            .count();
        u8::try_from(number).unwrap_or(u8::MAX)
    }

    fn end_of_idle(&self) -> u64 {
        self.silent_since.saturating_add(self.idle())
    }

    fn idle(&self) -> u64 {
        micros(self.config.idle())
    }

    fn interval(&self) -> u64 {
        micros(self.config.interval())
    }
}

/// MUST-26: "no sent data is outstanding", and nothing waits to be sent.
fn is_busy(tcb: &Tcb) -> bool {
    tcb.snd_una != tcb.snd_nxt || tcb.unsent
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).expect("a configuration is at most i64::MAX microseconds")
}

impl Counts {
    pub(crate) fn saturated(self) -> [u32; 5] {
        let Self {
            probes_sent,
            probes_answered,
            unsent_attempts,
            verdicts,
            late_polls,
            last_rtt: _,
        } = self;
        [
            probes_sent,
            probes_answered,
            unsent_attempts,
            verdicts,
            late_polls,
        ]
        .map(|count| u32::try_from(count).unwrap_or(u32::MAX))
    }
}

/// The machine's notion of a moment.
pub(crate) fn instant(micros: u64) -> Instant {
    Instant::from_micros(micros)
}
