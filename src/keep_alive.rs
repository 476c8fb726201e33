//! The machine: when to probe, when to give up.

use core::fmt;
use core::num::{NonZeroU32, NonZeroU64};
use core::time::Duration;

use crate::config::{Config, ProbePayload};
use crate::probe::Probe;
use crate::tcb::Tcb;
use crate::time::Instant;

/// With nothing else due, a probe that could not leave is offered again after this long (K4).
const RETRY_MICROS: u64 = 500_000;

/// The keep-alive of one connection.
///
/// The machine sends nothing and reads no clock. Its owner tells it what happened (`handle_*`),
/// always with the time at which it happened, and then asks what follows (`poll_*`) until there
/// is nothing more:
///
/// | when | call |
/// |---|---|
/// | the connection is synchronised | [`enable`](Self::enable) |
/// | an acceptable segment arrived | [`handle_segment`](Self::handle_segment) |
/// | data, a FIN or a window probe went out | [`handle_sent`](Self::handle_sent) |
/// | something is to go out, and cannot | [`handle_blocked`](Self::handle_blocked) |
/// | [`poll_timeout`](Self::poll_timeout) is reached | [`handle_timeout`](Self::handle_timeout) |
/// | after each of these | [`poll_transmit`](Self::poll_transmit), then [`poll_event`](Self::poll_event) |
/// | a probe has left the device | [`handle_transmitted`](Self::handle_transmitted) |
/// | the connection is over | [`reset`](Self::reset) |
///
/// # The rules
///
/// - **K1** Off until enabled; enabling, disabling and configuring act at once.
/// - **K2** The idle time counts from the last acceptable segment *received*; what we send does
///   not move it.
/// - **K3** A probe is offered only while nothing is outstanding or queued. Due while busy, it is
///   put off by [`Config::idle`].
/// - **K4** A probe counts once it has left. One that could not leave is offered again, and an
///   interval that passes without it leaving is an *unsent* attempt; one that was never offered
///   is none.
/// - **K5** The verdict falls one interval after the [`Config::count`]-th attempt: after
///   [`Config::detection_time`] of silence if all goes to time, never earlier, and never without
///   the attempts.
/// - **K7** Any acceptable segment before the verdict ends the probing.
/// - **K9** A verdict that fell due while nobody polled (the host slept) is not given: one more
///   probe is sent first.
/// - **K10** A clock that steps back brings no deadline forward: what is waited for falls due when
///   the clock has caught up.
/// - **K11** While something is outstanding the optional user timeout decides, not the count.
/// - **K14** A verdict is reported once, and is final until [`reset`](Self::reset).
///
/// # Caveats
///
/// Without a user timeout, a connection on which something is outstanding is never given up: the
/// retransmissions of the stack are then the only sign, and smoltcp's go on for ever. See
/// [`Config::detect_within`].
#[derive(Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[repr(C)]
pub struct KeepAlive {
    // What a received segment touches comes first, in one line of a cache.
    last_heard: Instant,
    flags: Flags,
    /// Attempts since the peer was last heard: probes that left, and probes that could not.
    unanswered: u8,
    unsent: u8,
    events: Events,
    // The configuration, without the padding that `Config` has.
    count: u8,
    payload: ProbePayload,
    /// Since when the peer has owed us an answer; means something while `Flags::OWED`.
    owed_since: Instant,
    phase: Phase,
    idle_micros: u64,
    interval_micros: u64,
    user_timeout_micros: Option<NonZeroU64>,
    counters: Counters,
}

/// What the machine is waiting for.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum Phase {
    /// To be enabled.
    Off,
    /// For silence to last `idle`, and for `not_before`.
    Idle { not_before: Instant },
    /// For a probe to leave; it was wanted `since` then, and has been offered for `retries`
    /// periods of [`RETRY_MICROS`]. After 68 years it is offered only when somebody polls.
    Wanted { since: Instant, retries: u32 },
    /// For the answer to the probe that left `at` that moment.
    Sent { at: Instant },
    /// For nothing: the verdict fell `at` that moment.
    Over {
        at: Instant,
        cause: Cause,
        is_reported: bool,
    },
}

/// Independent facts, one bit each: they are what keeps the state of a connection small.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
struct Flags(u8);

impl Flags {
    const NONE: Self = Self(0);
    /// A segment was received on this connection; until then `last_heard` is when we enabled.
    const HEARD: u8 = 1;
    /// The peer owes us an answer.
    const OWED: u8 = 1 << 1;
    /// Something was outstanding or queued when last we looked.
    const BUSY: u8 = 1 << 2;
    /// The peer was reported as suspect.
    const SUSPECT: u8 = 1 << 3;
    /// A verdict was put off because it fell due in a gap (K9): once per round of silence.
    const SPARED: u8 = 1 << 4;
    /// The probe in flight is the only one, and left when `Phase::Sent` says.
    const TIMED: u8 = 1 << 5;
    /// A received segment changes more than the time: we are probing, or it is over.
    const UNSETTLED: u8 = 1 << 6;
    /// What fell due in a gap (K9) is to be decided under options that were set since, and the peer was
    /// neither heard nor asked again yet.
    const MISSED: u8 = 1 << 7;

    #[inline]
    const fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    #[inline]
    const fn set(&mut self, flags: u8) {
        self.0 |= flags;
    }

    #[inline]
    const fn clear(&mut self, flags: u8) {
        self.0 &= !flags;
    }
}

/// One slot for each kind of event.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
struct Events {
    pending: Pending,
    suspect_unanswered: u8,
    recovered_unanswered: u8,
}

/// Which slots are taken, and in which order they were.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum Pending {
    Nothing,
    Suspect,
    Recovered,
    SuspectThenRecovered,
    RecoveredThenSuspect,
}

impl Events {
    const NONE: Self = Self {
        pending: Pending::Nothing,
        suspect_unanswered: 0,
        recovered_unanswered: 0,
    };

    fn suspect(&mut self, unanswered: u8) {
        self.suspect_unanswered = unanswered;
        self.pending = match self.pending {
            Pending::Nothing | Pending::Suspect => Pending::Suspect,
            _ => Pending::RecoveredThenSuspect,
        };
    }

    fn recovered(&mut self, unanswered: u8) {
        self.recovered_unanswered = unanswered;
        self.pending = match self.pending {
            Pending::Nothing | Pending::Recovered => Pending::Recovered,
            _ => Pending::SuspectThenRecovered,
        };
    }

    fn take(&mut self) -> Option<Event> {
        let suspect = Event::Suspect {
            unanswered: self.suspect_unanswered,
        };
        let recovered = Event::Recovered {
            unanswered: self.recovered_unanswered,
        };
        let (event, rest) = match self.pending {
            Pending::Nothing => return None,
            Pending::Suspect => (suspect, Pending::Nothing),
            Pending::Recovered => (recovered, Pending::Nothing),
            Pending::SuspectThenRecovered => (suspect, Pending::Recovered),
            Pending::RecoveredThenSuspect => (recovered, Pending::Suspect),
        };
        self.pending = rest;
        Some(event)
    }
}

#[derive(Clone, Copy, Debug, Default)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
struct Counters {
    probes_sent: u32,
    probes_answered: u32,
    unsent_attempts: u32,
    verdicts: u32,
    late_polls: u32,
    /// One more than the microseconds it took.
    last_rtt: Option<NonZeroU32>,
}

/// Where the machine is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum State {
    /// Not enabled: nothing is sent, nothing falls due.
    Disabled,
    /// Waiting for the connection to have been silent for long enough.
    Armed,
    /// The peer has been silent for too long and is being asked.
    Probing {
        /// Probes that have left since the peer was last heard. It has answered none.
        unanswered: u8,
    },
    /// The verdict has fallen. Final until [`KeepAlive::reset`].
    TimedOut,
}

/// What there is to report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Event {
    /// The first attempt has failed: a warning, `count - 1` intervals before the verdict.
    Suspect {
        /// Probes left unanswered: 1, or 0 if the attempt could not even leave.
        unanswered: u8,
    },
    /// A suspect has been heard from again.
    Recovered {
        /// Probes it had left unanswered until then.
        unanswered: u8,
    },
    /// The peer is given up. Abort the connection.
    TimedOut(Verdict),
}

/// Why, and on what evidence, a peer was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Verdict {
    /// Which of the two rules decided.
    pub cause: Cause,
    /// The time since the last acceptable segment, or since enabling if there was none.
    pub silent_for: Duration,
    /// Probes that left the device and were not answered.
    pub unanswered: u8,
    /// Attempts for which no probe could leave the device. If these are many, suspect the cable
    /// at this end.
    pub unsent: u8,
}

/// Which rule gave a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Cause {
    /// [`Config::count`] attempts failed on a quiet connection (K5).
    KeepAlive,
    /// Something was outstanding and unanswered for [`Config::user_timeout`] (K11).
    UserTimeout,
}

/// Counts since the machine was made, over all its connections. They stop at [`u32::MAX`] (K16).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Stats {
    /// Probes that left the device, reminders of a closed window included.
    pub probes_sent: u32,
    /// Times the peer was heard from while probes were unanswered.
    pub probes_answered: u32,
    /// Attempts for which no probe could leave the device.
    pub unsent_attempts: u32,
    /// Verdicts.
    pub verdicts: u32,
    /// Attempts and verdicts that fell due more than an interval before anyone looked.
    pub late_polls: u32,
    /// How long the last answer took, to the microsecond, up to 71 minutes. Measured when one
    /// probe alone was unanswered; with more, there is no telling which of them was answered
    /// (Karn's rule).
    pub last_rtt: Option<Duration>,
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::KeepAlive => "keep-alive",
            Self::UserTimeout => "user timeout",
        })
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cause,
            silent_for,
            unanswered,
            unsent,
        } = self;
        write!(
            f,
            "{cause}: silent for {silent_for:?}, {unanswered} probes unanswered, {unsent} unsent"
        )
    }
}

impl KeepAlive {
    /// How much of the machine [`handle_segment`](Self::handle_segment) reads or writes, unless it
    /// is probing.
    #[cfg(feature = "smoltcp")]
    pub(crate) const BYTES_TOUCHED_BY_SEGMENT: usize = core::mem::offset_of!(Self, unanswered);

    /// A machine that is off (RFC 9293 3.8.4, MUST-25).
    #[must_use]
    pub const fn new(config: Config) -> Self {
        let mut machine = Self {
            last_heard: Instant::ZERO,
            flags: Flags::NONE,
            unanswered: 0,
            unsent: 0,
            events: Events::NONE,
            count: 0,
            payload: ProbePayload::Empty,
            owed_since: Instant::ZERO,
            phase: Phase::Off,
            idle_micros: 0,
            interval_micros: 0,
            user_timeout_micros: None,
            counters: Counters::ZERO,
        };
        machine.store(config);
        machine
    }

    const fn store(&mut self, config: Config) {
        let Config {
            idle_micros,
            interval_micros,
            user_timeout_micros,
            count,
            payload,
        } = config;
        self.idle_micros = idle_micros;
        self.interval_micros = interval_micros;
        self.user_timeout_micros = user_timeout_micros;
        self.count = count;
        self.payload = payload;
    }

    /// Switches on (MAY-5, MUST-24). Call it once the connection is synchronised; a listener
    /// has nobody to probe.
    ///
    /// The first probe falls due at `max(now, last_heard + idle)`; if nothing was heard yet,
    /// `now` stands in for `last_heard`. No effect if already on, or after a verdict.
    #[doc(alias = "SO_KEEPALIVE")]
    pub fn enable(&mut self, now: Instant) {
        if let Phase::Off = self.phase {
            if !self.flags.has(Flags::HEARD) {
                self.last_heard = now;
            }
            self.phase = Phase::Idle { not_before: now };
        }
    }

    /// Switches off, at once: [`poll_timeout`](Self::poll_timeout) is `None` and nothing more is
    /// offered. What happened before can still be read from [`poll_event`](Self::poll_event). No
    /// effect after a verdict.
    pub fn disable(&mut self) {
        if !matches!(self.phase, Phase::Over { .. }) {
            self.phase = Phase::Off;
            self.forget_round();
            self.flags.clear(Flags::OWED | Flags::BUSY | Flags::MISSED);
        }
    }

    /// Replaces the configuration, at once (K8): an armed machine waits until
    /// `max(now, last_heard + idle)`, a probing one keeps its count and waits until
    /// `max(now, last attempt + interval)`. An equal configuration changes nothing, so it is
    /// harmless to set it over and over.
    ///
    /// A verdict that was missed under the old configuration stays missed, whatever configurations
    /// follow, until the peer was heard or asked again: another probe is sent first (K9).
    pub fn set_config(&mut self, now: Instant, config: Config) {
        if config == self.config() {
            return;
        }
        let is_missed = now > self.missed_after();
        self.replace_config(config);
        self.rebase(now, is_missed);
    }

    /// Replaces the configuration and moves nothing yet: [`rebase`](Self::rebase) has to follow, at
    /// a time that is not known yet.
    pub(crate) const fn replace_config(&mut self, config: Config) {
        self.store(config);
    }

    /// After when it is too late for what falls due next: the host slept (K9).
    pub(crate) const fn missed_after(&self) -> Instant {
        match self.poll_timeout() {
            Some(due) => due.plus_micros(self.interval_micros),
            None => Instant::MAX,
        }
    }

    /// What a new configuration makes due before `now` is due now, and has not been missed, unless
    /// it was `is_missed` before (K9).
    pub(crate) fn rebase(&mut self, now: Instant, is_missed: bool) {
        let earliest = now.minus_micros(self.interval_micros);
        match &mut self.phase {
            Phase::Off | Phase::Over { .. } => {}
            Phase::Idle { not_before } => *not_before = now,
            Phase::Wanted { since, .. } => *since = earliest.max(*since),
            Phase::Sent { at } => {
                if earliest > *at {
                    // The time at which the probe left is lost.
                    self.flags.clear(Flags::TIMED);
                    *at = earliest;
                }
            }
        }
        if let Some(timeout) = self.user_timeout_micros {
            let earliest = now.minus_micros(timeout.get());
            self.owed_since = earliest.max(self.owed_since);
        }
        if is_missed && !matches!(self.phase, Phase::Off | Phase::Over { .. }) {
            self.flags.set(Flags::MISSED);
        }
        if self.flags.has(Flags::MISSED) && !self.flags.has(Flags::SPARED) {
            self.spare_missed(now);
        }
    }

    /// K9: what the configuration decides now, it would decide on a time in which nobody listened.
    fn spare_missed(&mut self, now: Instant) {
        let is_debt_due = self.debt_due().is_some_and(|due| due <= now);
        let is_decided = match self.phase {
            Phase::Off | Phase::Idle { .. } | Phase::Over { .. } => false,
            Phase::Wanted { .. } => true,
            Phase::Sent { .. } => self.attempts() >= u16::from(self.count),
        };
        let is_attempt_due = is_decided && self.attempt_due() <= now;
        if !is_debt_due && !is_attempt_due {
            return;
        }
        self.flags.set(Flags::SPARED | Flags::UNSETTLED);
        let counters = &mut self.counters;
        counters.late_polls = counters.late_polls.saturating_add(1);
        if is_debt_due {
            // The stack sends again: from then on the peer owes.
            self.flags.clear(Flags::OWED);
        }
        if is_attempt_due {
            self.want(now);
        }
    }

    /// Gets ready for a new connection: off, nothing heard, nothing to report. The configuration
    /// and the counters stay.
    pub fn reset(&mut self) {
        self.last_heard = Instant::ZERO;
        self.phase = Phase::Off;
        self.unanswered = 0;
        self.unsent = 0;
        self.flags = Flags::NONE;
        self.events = Events::NONE;
    }

    /// An acceptable segment arrived: one that could only be the peer's (see
    /// [`Flow`](crate::Flow)). Call it for every one; it is a couple of stores (K15).
    ///
    /// It clears what the peer owed us, moves the idle time, and ends the probing. It may leave
    /// [`Event::Recovered`].
    #[inline]
    pub fn handle_segment(&mut self, now: Instant) {
        if self.flags.has(Flags::UNSETTLED) {
            self.recover(now);
        } else {
            self.stamp(now);
        }
    }

    /// A segment that asks for an answer was put in flight: data, a FIN, a retransmission of
    /// either, a window probe. Not a bare acknowledgement, and not a probe of ours.
    ///
    /// The first one since the peer was last heard starts the user timeout (K11).
    #[inline]
    pub fn handle_sent(&mut self, now: Instant) {
        if self.changes_debt(now) {
            self.start_owing(now);
        }
    }

    /// Something that asks for an answer was to be put in flight, and could not leave: the
    /// device was busy, or the neighbour's address unknown. The user timeout runs from here too
    /// (K11); otherwise a broken cable would go unnoticed.
    ///
    /// Do not call it while the stack holds back on purpose (zero window, MUST-37; retransmission
    /// timer).
    pub fn handle_blocked(&mut self, now: Instant) {
        if !self.flags.has(Flags::OWED) {
            self.start_owing(now);
        }
    }

    /// Time has passed. Call it when [`poll_timeout`](Self::poll_timeout) is reached, with the
    /// connection as it is now. Early, late and repeated calls do no harm (K13).
    ///
    /// Afterwards there may be a probe in [`poll_transmit`](Self::poll_transmit) or an event in
    /// [`poll_event`](Self::poll_event).
    pub fn handle_timeout(&mut self, now: Instant, tcb: &Tcb) {
        if let Phase::Off | Phase::Over { .. } = self.phase {
            return;
        }
        if !tcb.is_quiet() {
            self.look_busy(now);
            return;
        }
        self.flags.clear(Flags::BUSY | Flags::OWED);
        let due = self.attempt_due();
        if now < due {
            return;
        }
        self.count_if_late(now, due);
        match self.phase {
            Phase::Off | Phase::Over { .. } => {}
            // A probe that was never offered could not leave, and is no attempt.
            Phase::Idle { .. } | Phase::Wanted { retries: 0, .. } => self.want(now),
            Phase::Wanted { .. } => {
                // K4: an interval passed and the probe never left.
                self.unsent = self.unsent.saturating_add(1);
                let counters = &mut self.counters;
                counters.unsent_attempts = counters.unsent_attempts.saturating_add(1);
                self.fail_attempt(now, due);
            }
            Phase::Sent { .. } => self.fail_attempt(now, due),
        }
    }

    /// `probe` has left the device. From here it counts, and its answer is awaited (K4).
    ///
    /// Afterwards [`poll_timeout`](Self::poll_timeout) is one interval away.
    pub fn handle_transmitted(&mut self, now: Instant, probe: Probe) {
        // The token is spent: this probe cannot be handed back again.
        drop(probe);
        self.counters.probes_sent = self.counters.probes_sent.saturating_add(1);
        if let Phase::Wanted { .. } = self.phase {
            self.unanswered = self.unanswered.saturating_add(1);
            if self.unanswered == 1 {
                self.flags.set(Flags::TIMED);
            } else {
                self.flags.clear(Flags::TIMED);
            }
            self.flags.clear(Flags::MISSED);
            self.phase = Phase::Sent { at: now };
        }
    }

    /// The probe to send now, if one is due and the connection is quiet (K3). Poll it after
    /// [`handle_timeout`](Self::handle_timeout), and at each poll of the stack.
    ///
    /// Call it even if there is no room to send: a probe that was never offered counts for nothing,
    /// not even as one that could not leave.
    ///
    /// Hand the probe back with [`handle_transmitted`](Self::handle_transmitted) once it has
    /// left. If it cannot leave, drop it; it is offered again at the next call, and
    /// [`poll_timeout`](Self::poll_timeout) asks for that call within 500 ms.
    #[must_use = "a probe that is not sent is offered again, until it counts as unsent"]
    pub fn poll_transmit(&mut self, now: Instant, tcb: &Tcb) -> Option<Probe> {
        let Phase::Wanted { since, .. } = self.phase else {
            return None;
        };
        if !tcb.is_quiet() {
            self.look_busy(now);
            return None;
        }
        let periods = now.micros_since(since) / RETRY_MICROS;
        let retries = u32::try_from(periods).unwrap_or(u32::MAX).saturating_add(1);
        self.phase = Phase::Wanted { since, retries };
        Some(Probe::new(tcb, self.payload))
    }

    /// What there is to report, oldest first. Poll it after any other call until it is `None`.
    ///
    /// There is one slot for each kind of event: a suspicion that nobody read is overwritten by
    /// the next one, a verdict is reported exactly once (K14).
    #[must_use = "an event is reported once"]
    pub fn poll_event(&mut self) -> Option<Event> {
        if let Some(event) = self.events.take() {
            return Some(event);
        }
        match &mut self.phase {
            Phase::Over { is_reported, .. } if !*is_reported => {
                *is_reported = true;
                self.verdict().map(Event::TimedOut)
            }
            _ => None,
        }
    }

    /// When to call [`handle_timeout`](Self::handle_timeout) at the latest, if at all. It may
    /// change with every other call.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Instant> {
        if let Phase::Off | Phase::Over { .. } = self.phase {
            return None;
        }
        let due = match self.phase {
            Phase::Wanted { since, retries } if retries < u32::MAX => earlier(
                self.attempt_due(),
                since.plus_micros(RETRY_MICROS.saturating_mul(retries as u64)),
            ),
            _ => self.attempt_due(),
        };
        match self.debt_due() {
            Some(debt_due) => Some(earlier(due, debt_due)),
            None => Some(due),
        }
    }

    /// Where the machine is.
    #[must_use]
    pub const fn state(&self) -> State {
        match self.phase {
            Phase::Off => State::Disabled,
            Phase::Over { .. } => State::TimedOut,
            _ if self.is_probing() => State::Probing {
                unanswered: self.unanswered,
            },
            _ => State::Armed,
        }
    }

    /// The configuration in force.
    #[must_use]
    pub const fn config(&self) -> Config {
        Config {
            idle_micros: self.idle_micros,
            interval_micros: self.interval_micros,
            user_timeout_micros: self.user_timeout_micros,
            count: self.count,
            payload: self.payload,
        }
    }

    /// What was counted so far.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        let Counters {
            probes_sent,
            probes_answered,
            unsent_attempts,
            verdicts,
            late_polls,
            last_rtt,
        } = self.counters;
        Stats {
            probes_sent,
            probes_answered,
            unsent_attempts,
            verdicts,
            late_polls,
            last_rtt: match last_rtt {
                Some(rtt) => Some(Duration::from_micros((rtt.get() as u64).saturating_sub(1))),
                None => None,
            },
        }
    }

    /// When the last acceptable segment arrived, if any did on this connection.
    #[must_use]
    pub const fn last_heard(&self) -> Option<Instant> {
        if self.flags.has(Flags::HEARD) {
            Some(self.last_heard)
        } else {
            None
        }
    }

    /// The verdict, once it has fallen and until [`reset`](Self::reset).
    #[must_use]
    pub const fn verdict(&self) -> Option<Verdict> {
        match self.phase {
            Phase::Over { at, cause, .. } => Some(Verdict {
                cause,
                silent_for: at.saturating_duration_since(self.last_heard),
                unanswered: self.unanswered,
                unsent: self.unsent,
            }),
            _ => None,
        }
    }

    /// Whether [`handle_sent`](Self::handle_sent) would change anything: the peer owes us nothing
    /// yet, or what it owes fell due in a gap (K9).
    #[inline]
    pub(crate) const fn changes_debt(&self, now: Instant) -> bool {
        if !self.flags.has(Flags::OWED) {
            return true;
        }
        match self.debt_due() {
            Some(due) => self.is_gap(now, due) && !self.flags.has(Flags::SPARED),
            None => false,
        }
    }

    /// A received segment changes more than the time.
    #[cfg(feature = "smoltcp")]
    #[inline]
    pub(crate) const fn is_unsettled(&self) -> bool {
        self.flags.has(Flags::UNSETTLED)
    }

    /// A probe is waiting to leave.
    #[cfg(feature = "smoltcp")]
    pub(crate) const fn is_wanting(&self) -> bool {
        matches!(self.phase, Phase::Wanted { .. })
    }

    /// The connection is busy already: that was not seen to begin, and says nothing about what
    /// could or could not leave.
    #[cfg(feature = "smoltcp")]
    pub(crate) fn note_busy(&mut self) {
        self.flags.set(Flags::BUSY);
    }

    /// What was reported to [`handle_blocked`](Self::handle_blocked) for a moment to come has left
    /// after all.
    #[cfg(feature = "smoltcp")]
    pub(crate) fn handle_unblocked(&mut self, now: Instant) {
        self.owed_since = earlier(self.owed_since, now);
    }

    /// The peer owes us an answer, now or from a moment to come.
    #[cfg(feature = "smoltcp")]
    pub(crate) const fn is_owed(&self) -> bool {
        self.flags.has(Flags::OWED)
    }

    /// The user timeout has struck, or strikes now.
    #[cfg(feature = "smoltcp")]
    pub(crate) fn is_debt_due(&self, now: Instant) -> bool {
        self.debt_due().is_some_and(|due| due <= now)
    }

    /// The peer was asked only now: what it owes, it owes from here.
    #[cfg(feature = "smoltcp")]
    pub(crate) fn restart_debt(&mut self, now: Instant) {
        self.owed_since = now;
    }

    /// When the peer was last heard, or the machine switched on.
    #[cfg(feature = "smoltcp")]
    pub(crate) const fn silent_since(&self) -> Instant {
        self.last_heard
    }

    /// No probe can be built: as if it had fallen due while busy (K3).
    #[cfg(feature = "smoltcp")]
    pub(crate) fn put_off(&mut self, now: Instant) {
        if let Phase::Idle { .. } | Phase::Wanted { .. } | Phase::Sent { .. } = self.phase {
            self.phase = Phase::Idle {
                not_before: now.plus_micros(self.idle_micros),
            };
        }
    }

    #[inline]
    const fn is_probing(&self) -> bool {
        matches!(self.phase, Phase::Wanted { .. } | Phase::Sent { .. })
            || self.unanswered != 0
            || self.unsent != 0
    }

    /// When the attempt under way, or the wait for one, is over.
    #[inline(never)]
    const fn attempt_due(&self) -> Instant {
        let interval = self.interval_micros;
        match self.phase {
            Phase::Off | Phase::Over { .. } => Instant::MAX,
            Phase::Idle { not_before } => {
                later(not_before, self.last_heard.plus_micros(self.idle_micros))
            }
            Phase::Wanted { since, .. } => since.plus_micros(interval),
            Phase::Sent { at } => at.plus_micros(interval),
        }
    }

    /// When the user timeout strikes, if the peer owes us anything and there is one.
    #[inline(never)]
    const fn debt_due(&self) -> Option<Instant> {
        match self.user_timeout_micros {
            Some(timeout) if self.flags.has(Flags::OWED) => {
                Some(self.owed_since.plus_micros(timeout.get()))
            }
            _ => None,
        }
    }

    fn start_owing(&mut self, now: Instant) {
        if let Phase::Off | Phase::Over { .. } = self.phase {
            return;
        }
        if let Some(due) = self.debt_due() {
            // K9: the host wakes up, and the stack asks again before anyone could decide.
            self.spare(now, due);
        }
        self.flags.set(Flags::OWED | Flags::BUSY);
        self.owed_since = now;
    }

    /// K3 and K11: the user timeout governs while something is outstanding; a probe that falls
    /// due is put off, and counts for nothing.
    fn look_busy(&mut self, now: Instant) {
        if !self.flags.has(Flags::BUSY) {
            // Nothing has left since the connection was last seen quiet, or `handle_sent` would
            // have said so: what is queued cannot leave.
            self.flags.set(Flags::BUSY);
            self.handle_blocked(now);
        }
        if let Some(due) = self.debt_due()
            && now >= due
        {
            if self.is_gap(now, due) && !self.flags.has(Flags::SPARED) {
                // K9. Nothing of ours can be sent while busy, but the stack retransmits: the
                // peer owes from the next segment on.
                self.spare(now, due);
                self.flags.clear(Flags::OWED);
            } else {
                self.count_if_late(now, due);
                self.give_up(now, Cause::UserTimeout);
                return;
            }
        }
        let put_off = match self.phase {
            Phase::Off | Phase::Over { .. } => false,
            Phase::Wanted { .. } => true,
            Phase::Idle { .. } | Phase::Sent { .. } => now >= self.attempt_due(),
        };
        if put_off {
            if let Phase::Sent { .. } = self.phase {
                self.suspect();
            }
            self.phase = Phase::Idle {
                not_before: now.plus_micros(self.idle_micros),
            };
        }
    }

    /// The attempt that was to succeed by `due` did not.
    fn fail_attempt(&mut self, now: Instant, due: Instant) {
        self.suspect();
        if self.attempts() < u16::from(self.count) {
            self.want(now);
        } else if self.is_gap(now, due) && !self.flags.has(Flags::SPARED) {
            // K9: while nobody polled, nobody listened either.
            self.flags.set(Flags::SPARED);
            self.want(now);
        } else {
            self.give_up(now, Cause::KeepAlive);
        }
    }

    /// Since the peer was last heard.
    fn attempts(&self) -> u16 {
        u16::from(self.unanswered).saturating_add(u16::from(self.unsent))
    }

    fn want(&mut self, now: Instant) {
        self.flags.set(Flags::UNSETTLED);
        self.phase = Phase::Wanted {
            since: now,
            retries: 0,
        };
    }

    fn suspect(&mut self) {
        if !self.flags.has(Flags::SUSPECT) {
            self.flags.set(Flags::SUSPECT);
            self.events.suspect(self.unanswered);
        }
    }

    #[inline]
    fn stamp(&mut self, now: Instant) {
        // A clock that stepped back must not bring the deadline forward (K10).
        if now > self.last_heard {
            self.last_heard = now;
        }
        self.flags.set(Flags::HEARD);
        self.flags.clear(Flags::OWED | Flags::MISSED);
    }

    /// K7: a segment arrived while the machine was not merely waiting for silence.
    fn recover(&mut self, now: Instant) {
        if let Phase::Over { .. } = self.phase {
            return;
        }
        self.stamp(now);
        if self.unanswered > 0 {
            let counters = &mut self.counters;
            counters.probes_answered = counters.probes_answered.saturating_add(1);
            if let Phase::Sent { at } = self.phase
                && self.flags.has(Flags::TIMED)
            {
                let micros = u32::try_from(now.micros_since(at)).unwrap_or(u32::MAX);
                counters.last_rtt = NonZeroU32::new(micros.saturating_add(1));
            }
        }
        if self.flags.has(Flags::SUSPECT) {
            self.events.recovered(self.unanswered);
        }
        self.forget_round();
        // Due an `idle` after this segment; and not before what was already put off (K10).
        let not_before = match self.phase {
            Phase::Idle { not_before } => not_before,
            _ => Instant::ZERO,
        };
        self.phase = Phase::Idle { not_before };
    }

    fn forget_round(&mut self) {
        self.unanswered = 0;
        self.unsent = 0;
        self.flags
            .clear(Flags::SUSPECT | Flags::SPARED | Flags::TIMED | Flags::UNSETTLED);
    }

    fn give_up(&mut self, now: Instant, cause: Cause) {
        self.phase = Phase::Over {
            at: now,
            cause,
            is_reported: false,
        };
        self.flags.set(Flags::UNSETTLED);
        self.counters.verdicts = self.counters.verdicts.saturating_add(1);
    }

    /// K9: a user timeout that struck in a gap is put off, once per round of silence.
    fn spare(&mut self, now: Instant, due: Instant) {
        self.count_if_late(now, due);
        self.flags.set(Flags::SPARED | Flags::UNSETTLED);
    }

    fn count_if_late(&mut self, now: Instant, due: Instant) {
        if self.is_gap(now, due) {
            self.counters.late_polls = self.counters.late_polls.saturating_add(1);
        }
    }

    /// What fell `due` was noticed more than an interval late.
    #[inline(never)]
    const fn is_gap(&self, now: Instant, due: Instant) -> bool {
        now.micros_since(due) > self.interval_micros
    }
}

impl Counters {
    const ZERO: Self = Self {
        probes_sent: 0,
        probes_answered: 0,
        unsent_attempts: 0,
        verdicts: 0,
        late_polls: 0,
        last_rtt: None,
    };
}

const fn earlier(a: Instant, b: Instant) -> Instant {
    if a.as_micros() <= b.as_micros() { a } else { b }
}

const fn later(a: Instant, b: Instant) -> Instant {
    if a.as_micros() >= b.as_micros() { a } else { b }
}

#[cfg(test)]
mod tests;
