//! The rules K1 to K20, each written down as it is worded: nothing is put off, packed or shared.
//!
//! Times are microseconds, and what happened is kept as it happened: when the peer was heard, what
//! was asked and when, what is known of the way. Where the wording leaves a choice, the model takes
//! the one that the documentation of `KeepAlive` names, and a comment starting with "Choice" says so.

use std::time::Duration;

use tcp_keepalive::{Cause, Config, Event, FailedAt, Instant, ProbePayload, State, Tcb, Verdict};

const RETRY: u64 = 500_000;

/// What the machine should be.
#[derive(Clone, Debug)]
pub(crate) struct Model {
    pub(crate) config: Config,
    pub(crate) counts: Counts,
    /// When the last acceptable segment arrived on this connection.
    pub(crate) heard: Option<u64>,
    /// Since when there has been silence: since `heard`, or since enabling.
    silent_since: u64,
    round: Round,
    waiting: Waiting,
    /// What was not reported yet, oldest first.
    events: Vec<Event>,
}

/// What happened since the peer was last heard.
#[derive(Clone, Debug, Default)]
struct Round {
    attempts: Vec<Attempt>,
    /// When a question last left that a user timeout may take for its own.
    asked: Option<u64>,
    /// `Suspect` was reported.
    suspected: bool,
    /// A verdict was put to one more question already.
    spared: bool,
    way: Vec<Learned>,
}

#[derive(Clone, Copy, Debug)]
enum Waiting {
    Disabled,
    /// For the silence to last for `idle`, and until then at least.
    Silence {
        not_before: u64,
        /// The peer was heard, and nothing happened since.
        is_settled: bool,
    },
    /// K3: for `idle` to pass once more.
    PutOff {
        since: u64,
    },
    /// K11: for the answer to what was sent, or could not be, since then.
    Owing {
        since: u64,
    },
    /// For a poll that offers the question, which was wanted since then.
    Wanted {
        since: u64,
        whose: Cause,
    },
    /// For a question to leave: first offered and last offered.
    Leaving {
        since: u64,
        last: u64,
        whose: Cause,
    },
    /// For the answer to the question that left then.
    Answer {
        left: u64,
        whose: Cause,
    },
    Over(Verdict),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Attempt {
    Unanswered,
    Unsent,
}

/// K20: what can be learned of the way to the peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Learned {
    HopAsked,
    HopAnswered,
    Unreachable,
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
            round: Round::default(),
            waiting: Waiting::Disabled,
            events: Vec::new(),
        }
    }

    /// "The first probe falls due at `max(now, last_heard + idle)`; if nothing was heard yet, `now`
    /// stands in for `last_heard`."
    pub(crate) fn enable(&mut self, now: u64) {
        if matches!(self.waiting, Waiting::Disabled) {
            self.silent_since = self.heard.unwrap_or(now);
            self.waiting = Waiting::Silence {
                not_before: now,
                is_settled: false,
            };
        }
    }

    /// K1: "disabling acts at once". "What happened before can still be read."
    pub(crate) fn disable(&mut self) {
        if !self.is_over() {
            self.waiting = Waiting::Disabled;
            self.round = Round::default();
        }
    }

    /// "Off, nothing heard, nothing to report. The configuration and the counters stay."
    pub(crate) fn reset(&mut self) {
        let counts = self.counts;
        *self = Self::new(self.config);
        self.counts = counts;
    }

    /// K8: "an armed machine waits until `max(now, last_heard + idle)`, a probing one keeps its count
    /// and waits until the last attempt is one new interval old."
    pub(crate) fn set_config(&mut self, now: u64, config: Config) {
        // "An equal configuration changes nothing."
        if config == self.config {
            return;
        }
        let before = std::mem::replace(&mut self.config, config);
        let is_shorter = config.interval() < before.interval() || config.count() < before.count();
        match self.waiting {
            Waiting::Silence { .. } | Waiting::PutOff { .. } => {
                self.waiting = Waiting::Silence {
                    not_before: now,
                    is_settled: false,
                };
            }
            // "Nothing that left before is the question that decides."
            Waiting::Owing { .. } => self.round.asked = None,
            Waiting::Leaving { whose, .. } | Waiting::Answer { whose, .. } => {
                if is_shorter && self.decides() && !self.round.spared {
                    self.round.spared = true;
                    self.want(now, whose);
                }
            }
            Waiting::Disabled | Waiting::Wanted { .. } | Waiting::Over(_) => {}
        }
    }

    /// K2, K7: an acceptable segment arrived.
    pub(crate) fn segment(&mut self, now: u64) {
        if self.is_over() {
            return;
        }
        self.heard = Some(now);
        self.silent_since = now;
        let unanswered = self.unanswered();
        if unanswered > 0 {
            self.counts.probes_answered += 1;
        }
        // "Measured when one probe alone was unanswered", "to the microsecond, up to 71 minutes".
        // Choice: and nothing came between that probe and the answer.
        if let Waiting::Answer { left, .. } = self.waiting
            && unanswered == 1
        {
            let longest = u64::from(u32::MAX - 1);
            self.counts.last_rtt = Some(now.saturating_sub(left).min(longest));
        }
        if self.round.suspected {
            self.report(Event::Recovered { unanswered });
        }
        self.round = Round::default();
        match &mut self.waiting {
            // K15: where there is nothing else to do, a segment is a stamp.
            Waiting::Disabled
            | Waiting::Silence {
                is_settled: true, ..
            } => {}
            waiting => {
                *waiting = Waiting::Silence {
                    not_before: now,
                    is_settled: true,
                }
            }
        }
    }

    /// K11: "its clock starts with the first segment that asks for an answer after the peer was last
    /// heard."
    pub(crate) fn sent(&mut self, now: u64) {
        if self.owes(now)
            && let Some(strikes) = self.strikes()
            && now < strikes
        {
            self.round.asked = Some(now);
        }
    }

    /// "The user timeout runs from here too."
    pub(crate) fn blocked(&mut self, now: u64) {
        self.owes(now);
    }

    /// K20.
    pub(crate) fn learn(&mut self, learned: Learned) {
        let way = &self.round.way;
        // An answer is to a question of ours.
        let is_news = learned != Learned::HopAnswered || way.contains(&Learned::HopAsked);
        if is_news && !self.is_over() {
            self.round.way.push(learned);
            if let Waiting::Silence { is_settled, .. } = &mut self.waiting {
                *is_settled = false;
            }
        }
    }

    /// Time has passed.
    pub(crate) fn timeout(&mut self, now: u64, tcb: &Tcb) {
        if self.is_over() {
            return;
        }
        self.forget_the_future(now);
        let is_busy = !is_quiet(tcb);
        if let Waiting::Owing { since } = self.waiting
            && (!is_busy || self.config.user_timeout().is_none())
        {
            // Choice: it is a look that ends what is owed without an answer, not the passing of time nor a
            // new configuration.
            self.waiting = Waiting::Silence {
                not_before: since,
                is_settled: false,
            };
        }
        self.give_way(now, is_busy);
        let Some(due) = self.due().filter(|due| *due <= now) else {
            return;
        };
        match self.waiting {
            Waiting::Disabled | Waiting::Wanted { .. } | Waiting::Over(_) => {}
            Waiting::Silence { .. } | Waiting::PutOff { .. } => {
                if !is_busy {
                    self.count_if_late(now, due);
                    self.want(now, Cause::KeepAlive);
                } else if self.config.user_timeout().is_some() {
                    // K11. Choice: nothing that asks was seen to leave, so it could not.
                    self.waiting = Waiting::Owing { since: now };
                } else {
                    // K3: "due while busy, it is put off by `idle`".
                    self.waiting = Waiting::PutOff { since: now };
                }
            }
            Waiting::Owing { .. } => {
                if self.is_late(now, due) {
                    // K9: "asks once more", whatever was asked before.
                    self.count_if_late(now, due);
                    self.round.spared = true;
                    self.want(now, Cause::UserTimeout);
                } else if self.has_asked_lately() {
                    self.fail(now, due, Cause::UserTimeout);
                } else {
                    self.want(now, Cause::UserTimeout);
                }
            }
            Waiting::Answer {
                whose: Cause::KeepAlive,
                ..
            } if is_busy => {
                // K3: the next probe is due while busy. K11. Choice: as above, nothing that asks left.
                self.suspect();
                self.waiting = if self.config.user_timeout().is_some() {
                    Waiting::Owing { since: now }
                } else {
                    Waiting::PutOff { since: now }
                };
            }
            Waiting::Leaving { whose, .. } | Waiting::Answer { whose, .. } => {
                self.fail(now, due, whose);
            }
        }
    }

    /// K3, K4, K11: the probe to send now.
    pub(crate) fn transmit(&mut self, now: u64, tcb: &Tcb) -> Option<Segment> {
        self.give_way(now, !is_quiet(tcb));
        let (since, whose) = match self.waiting {
            Waiting::Wanted { whose, .. } => (now, whose),
            Waiting::Leaving { since, whose, .. } => (since, whose),
            _ => return None,
        };
        self.waiting = Waiting::Leaving {
            since,
            last: now,
            whose,
        };
        // Choice: the question before this one is over.
        self.round.asked = None;
        Some(Segment {
            seq: tcb.snd_una.0.wrapping_sub(1),
            ack: tcb.rcv_nxt.0,
            window: tcb.rcv_wnd,
            timestamps: tcb.timestamps,
            payload: match self.config.payload() {
                ProbePayload::GarbageOctet => vec![0],
                _ => vec![],
            },
        })
    }

    /// K4: "a probe counts once it has left".
    pub(crate) fn transmitted(&mut self, now: u64) {
        self.counts.probes_sent += 1;
        // Choice: one that is no longer wanted was sent, and counts for nothing else.
        if let Waiting::Wanted { whose, .. } | Waiting::Leaving { whose, .. } = self.waiting {
            self.round.attempts.push(Attempt::Unanswered);
            self.round.asked = Some(now);
            self.waiting = Waiting::Answer { left: now, whose };
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
        let due = self.due()?;
        Some(match self.waiting {
            // K4: "within 500 ms".
            Waiting::Leaving { last, .. } => due.min(last.saturating_add(RETRY)),
            _ => due,
        })
    }

    pub(crate) fn state(&self) -> State {
        let probing = State::Probing {
            unanswered: self.unanswered(),
        };
        match self.waiting {
            Waiting::Disabled => State::Disabled,
            Waiting::Over(_) => State::TimedOut,
            Waiting::Wanted { .. } | Waiting::Leaving { .. } | Waiting::Answer { .. } => probing,
            Waiting::Silence { .. } | Waiting::PutOff { .. } | Waiting::Owing { .. } => {
                if self.round.attempts.is_empty() {
                    State::Armed
                } else {
                    // Choice: probing that made way for data is still probing, its count stands.
                    probing
                }
            }
        }
    }

    pub(crate) fn verdict(&self) -> Option<Verdict> {
        match self.waiting {
            Waiting::Over(verdict) => Some(verdict),
            _ => None,
        }
    }

    /// K10: "no remembered moment lies in the future: one that does becomes `now`."
    fn forget_the_future(&mut self, now: u64) {
        let has_struck = match self.waiting {
            Waiting::Wanted { since, whose, .. } | Waiting::Leaving { since, whose, .. } => {
                whose == Cause::UserTimeout && since > now
            }
            Waiting::Answer { left, whose, .. } => whose == Cause::UserTimeout && left > now,
            _ => false,
        };
        if has_struck {
            // Choice: a timeout that struck by a reading that was too high begins anew.
            self.waiting = Waiting::Owing { since: now };
        }
        self.silent_since = self.silent_since.min(now);
        self.heard = self.heard.map(|heard| heard.min(now));
        self.round.asked = self.round.asked.map(|asked| asked.min(now));
        match &mut self.waiting {
            Waiting::Disabled | Waiting::Over(_) => {}
            Waiting::Silence { not_before, .. } => *not_before = now.min(*not_before),
            Waiting::PutOff { since }
            | Waiting::Owing { since }
            | Waiting::Wanted { since, .. } => {
                *since = now.min(*since);
            }
            Waiting::Leaving { since, last, .. } => {
                *since = now.min(*since);
                *last = now.min(*last);
            }
            Waiting::Answer { left, .. } => *left = now.min(*left),
        }
    }

    /// K3: "a probe is offered only while nothing is outstanding or queued". K11: the question of a
    /// user timeout is asked only while something is. What is not asked is put off by `idle`.
    fn give_way(&mut self, now: u64, is_busy: bool) {
        let is_in_the_way = match self.waiting {
            Waiting::Wanted { whose, .. } | Waiting::Leaving { whose, .. } => {
                is_busy != (whose == Cause::UserTimeout) || self.is_void(whose)
            }
            Waiting::Answer { whose, .. } => {
                whose == Cause::UserTimeout && !is_busy || self.is_void(whose)
            }
            _ => false,
        };
        if is_in_the_way {
            // K11. Choice: under a user timeout, what took its place could not leave either.
            self.waiting = if is_busy && self.config.user_timeout().is_some() {
                Waiting::Owing { since: now }
            } else {
                Waiting::PutOff { since: now }
            };
        }
    }

    /// K11: the peer owes an answer from now on, unless it does already. Whether its clock runs,
    /// and has not struck yet.
    fn owes(&mut self, now: u64) -> bool {
        if self.config.user_timeout().is_none() {
            return false;
        }
        match self.waiting {
            Waiting::Disabled | Waiting::Over(_) => false,
            // "What leaves after the strike puts nothing off."
            Waiting::Wanted { whose, .. }
            | Waiting::Leaving { whose, .. }
            | Waiting::Answer { whose, .. }
                if whose == Cause::UserTimeout =>
            {
                false
            }
            Waiting::Owing { .. } => true,
            _ => {
                self.waiting = Waiting::Owing { since: now };
                true
            }
        }
    }

    /// When the user timeout strikes.
    fn strikes(&self) -> Option<u64> {
        match self.waiting {
            Waiting::Owing { since } => {
                Some(since.saturating_add(micros(self.config.user_timeout()?)))
            }
            _ => None,
        }
    }

    /// K11: something that asks has left within the last interval before the user timeout strikes.
    fn has_asked_lately(&self) -> bool {
        match (self.round.asked, self.strikes()) {
            (Some(asked), Some(strikes)) => asked.saturating_add(self.interval()) > strikes,
            _ => false,
        }
    }

    /// When what is waited for is over, if nothing happens before.
    fn due(&self) -> Option<u64> {
        let interval = self.interval();
        let idle = micros(self.config.idle());
        Some(match self.waiting {
            Waiting::Disabled | Waiting::Over(_) => return None,
            // K2.
            Waiting::Silence { not_before, .. } => {
                not_before.max(self.silent_since.saturating_add(idle))
            }
            // K3.
            Waiting::PutOff { since } => since.saturating_add(idle),
            Waiting::Owing { since } if self.config.user_timeout().is_none() => {
                // At once, but for the answer to what has left.
                let asked = self.round.asked;
                asked.map_or(since, |asked| asked.saturating_add(interval))
            }
            Waiting::Owing { .. } => match self.round.asked {
                Some(asked) if self.has_asked_lately() => asked.saturating_add(interval),
                _ => self.strikes()?,
            },
            Waiting::Wanted { since, .. } => since,
            Waiting::Leaving { since, .. } => since.saturating_add(interval),
            Waiting::Answer { left, .. } => left.saturating_add(interval),
        })
    }

    /// If what is waited for does not come, there is a verdict.
    fn decides(&self) -> bool {
        let attempts = self.round.attempts.len();
        let count = usize::from(self.config.count());
        match self.waiting {
            // K9: "what is asked once more and cannot leave decides by the count".
            Waiting::Leaving { whose, .. } if whose == Cause::KeepAlive || self.round.spared => {
                attempts + 1 >= count
            }
            Waiting::Answer {
                whose: Cause::KeepAlive,
                ..
            } => attempts >= count,
            Waiting::Owing { .. } | Waiting::Leaving { .. } | Waiting::Answer { .. } => true,
            _ => false,
        }
    }

    /// K5, K9, K11: what should have led to an answer by `due` did not.
    fn fail(&mut self, now: u64, due: u64, whose: Cause) {
        let decides = self.decides();
        self.count_if_late(now, due);
        self.suspect();
        if let Waiting::Leaving { .. } = self.waiting {
            // K4: "an interval that passes without it leaving is an unsent attempt".
            self.round.attempts.push(Attempt::Unsent);
            self.counts.unsent_attempts += 1;
        }
        if !decides {
            self.want(now, whose);
        } else if self.is_late(now, due) && !self.round.spared {
            // K9: "asks once more, once in a round of silence".
            self.round.spared = true;
            self.want(now, whose);
        } else {
            self.give_up(now, whose);
        }
    }

    fn want(&mut self, now: u64, whose: Cause) {
        self.waiting = Waiting::Wanted { since: now, whose };
    }

    /// "The first attempt has failed."
    fn suspect(&mut self) {
        if !self.round.suspected {
            self.round.suspected = true;
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
            failed_at: self.failed_at(),
        };
        self.counts.verdicts += 1;
        self.waiting = Waiting::Over(verdict);
        self.report(Event::TimedOut(verdict));
    }

    /// K20.
    fn failed_at(&self) -> FailedAt {
        let Round { attempts, way, .. } = &self.round;
        if attempts.contains(&Attempt::Unsent) && !attempts.contains(&Attempt::Unanswered) {
            // "No probe of the round left our own device."
            return FailedAt::Device;
        }
        if way.contains(&Learned::Unreachable) {
            // Choice: the sender of that message was reached, so this goes before a silent next hop.
            return FailedAt::Network;
        }
        let mut since_asked = way
            .iter()
            .skip_while(|learned| **learned != Learned::HopAsked);
        let is_asked = since_asked.next().is_some();
        if is_asked && !since_asked.any(|learned| *learned == Learned::HopAnswered) {
            return FailedAt::NextHop;
        }
        FailedAt::Peer
    }

    /// "There is one slot for each kind of event."
    fn report(&mut self, event: Event) {
        let kind = std::mem::discriminant(&event);
        self.events
            .retain(|other| std::mem::discriminant(other) != kind);
        self.events.push(event);
    }

    /// K9: "a poll that comes more than an interval late".
    fn is_late(&self, now: u64, due: u64) -> bool {
        now.saturating_sub(due) > self.interval()
    }

    /// "Attempts and verdicts that fell due more than an interval before the machine was polled."
    /// Choice: due by the present configuration; and what merely puts a probe off is none of them.
    fn count_if_late(&mut self, now: u64, due: u64) {
        if self.is_late(now, due) {
            self.counts.late_polls += 1;
        }
    }

    fn is_over(&self) -> bool {
        matches!(self.waiting, Waiting::Over(_))
    }

    /// The question of a user timeout that was taken away.
    fn is_void(&self, whose: Cause) -> bool {
        whose == Cause::UserTimeout && self.config.user_timeout().is_none()
    }

    fn unanswered(&self) -> u8 {
        self.number_of(Attempt::Unanswered)
    }

    fn number_of(&self, kind: Attempt) -> u8 {
        let of_kind = |attempt: &&Attempt| **attempt == kind;
        let number = self.round.attempts.iter().filter(of_kind).count();
        u8::try_from(number).unwrap_or(u8::MAX)
    }

    fn interval(&self) -> u64 {
        micros(self.config.interval())
    }
}

/// MUST-26: "no sent data is outstanding", and nothing waits to be sent.
fn is_quiet(tcb: &Tcb) -> bool {
    tcb.snd_una == tcb.snd_nxt && !tcb.unsent
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).expect("a configuration is at most 49 days")
}

impl Counts {
    /// "They saturate."
    pub(crate) fn saturated(self) -> [u32; 5] {
        let Self {
            probes_sent,
            probes_answered,
            unsent_attempts,
            verdicts,
            late_polls,
            last_rtt: _,
        } = self;
        let long = |count: u64| u32::try_from(count).unwrap_or(u32::MAX);
        let short = |count: u64| u16::try_from(count).unwrap_or(u16::MAX).into();
        [
            long(probes_sent),
            long(probes_answered),
            short(unsent_attempts),
            short(verdicts),
            short(late_polls),
        ]
    }
}

/// The machine's notion of a moment.
pub(crate) fn instant(micros: u64) -> Instant {
    Instant::from_micros(micros)
}
