//! The machine: when to probe, when to give up.

mod report;

use core::num::NonZeroU32;

pub use self::report::{Cause, Event, FailedAt, State, Stats, Verdict};
use crate::config::{Config, Millis, ProbePayload};
use crate::probe::Probe;
use crate::tcb::Tcb;
use crate::time::{Instant, duration_from_micros};

/// With nothing else due, a probe that could not leave is offered again after this long (K4).
pub(crate) const RETRY_MILLIS: u32 = 500;

/// The keep-alive of one connection.
///
/// The machine sends nothing and reads no clock. The caller reports what happened (`handle_*`),
/// with the current time, and then polls for what follows (`poll_*`) until there is nothing more:
///
/// | when | call |
/// |---|---|
/// | the connection is synchronised | [`enable`](Self::enable) |
/// | an acceptable segment arrived | [`handle_segment`](Self::handle_segment) |
/// | data, a FIN or a window probe went out | [`handle_sent`](Self::handle_sent) |
/// | data wants to go out, and cannot | [`handle_blocked`](Self::handle_blocked) |
/// | [`poll_timeout`](Self::poll_timeout) is reached, or the clock stepped back | [`handle_timeout`](Self::handle_timeout) |
/// | after each of these | [`poll_transmit`](Self::poll_transmit), then [`poll_event`](Self::poll_event) |
/// | the device took a probe | [`handle_transmitted`](Self::handle_transmitted) |
/// | the next hop was asked, or answered, or an ICMP error came | [`handle_hop_asked`](Self::handle_hop_asked), [`handle_hop_answered`](Self::handle_hop_answered), [`handle_unreachable`](Self::handle_unreachable) |
/// | the connection is over | [`reset`](Self::reset) |
///
/// # The rules
///
/// - The machine is off until you enable it. Enabling, disabling and configuring act at once (K1).
/// - The idle time counts from the last acceptable segment *received*. Sending does not move it (K2).
/// - A probe leaves only while nothing is outstanding or queued. If it falls due while the connection
///   is busy, it waits for another [`Config::idle`] (K3).
/// - A probe counts once it has left. The machine offers a refused one again. After a whole interval
///   without room, the attempt counts as *unsent* (K4).
/// - The verdict falls one interval after attempt number [`Config::count`]. If all goes to time,
///   that is after [`Config::detection_time`] of silence; it is never earlier (K5).
/// - Any acceptable segment before the verdict ends the probing (K7).
/// - Before any verdict, a question of ours has left and has waited out its whole interval, with a poll
///   at its end. After a late poll (the host slept, its clock was set) the machine asks once more, once
///   in a round. It does the same if a new configuration has a shorter interval or a lower count. If that
///   question cannot leave, [`Config::count`] attempts decide (K8, K9, K11).
/// - No remembered moment lies in the future: one that does becomes `now`. If the clock steps back, no
///   peer is given up. If one reading was too high, a verdict is late by one period (K10).
/// - While data is outstanding, the optional user timeout decides, not the count. Its clock starts with
///   the first segment that asks for an answer after the peer was last heard. When it strikes and no
///   such segment left within the last interval, the machine asks once (SEQ = SND.UNA - 1) and decides
///   an interval later (K11).
/// - A verdict is reported once, and stays until [`reset`](Self::reset) (K14).
/// - A verdict says how far the probes got: [`Verdict::failed_at`] (K20).
///
/// # Caveats
///
/// Without a user timeout, the machine never gives up a busy connection. It waits for the stack's
/// retransmissions to fail, and smoltcp's go on for ever. [`Config::detect_within`] sets both.
// Aligned to words, as a 32-bit processor loads moments: so a connection needs no padding.
#[derive(Debug)]
#[repr(C, packed(4))]
pub struct KeepAlive {
    // What a received segment touches comes first.
    last_heard: Instant,
    phase: Phase,
    /// Attempts since the peer was last heard: probes that left, and probes that could not.
    unanswered: u8,
    unsent: u8,
    flags: Flags,
    events: Events,
    hop: Hop,
    // The configuration, without the padding that `Config` has.
    count: u8,
    payload: ProbePayload,
    late_polls: u16,
    idle: Millis,
    interval: Millis,
    user_timeout: Option<NonZeroU32>,
    /// When the phase began; of [`Phase::Armed`] and [`Phase::Waiting`], the earliest moment at
    /// which a probe can fall due.
    since: Instant,
    /// When a segment that asks for an answer last left, or the waiting probe was last offered.
    asked: Instant,
    // The counters, without the padding that a struct of them would have.
    probes_sent: u32,
    probes_answered: u32,
    /// One more than the microseconds it took.
    last_rtt: Option<NonZeroU32>,
    unsent_attempts: u16,
    verdicts: u16,
}

#[cfg(feature = "defmt")]
impl defmt::Format for KeepAlive {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(
            f,
            "KeepAlive {{ state: {}, config: {}, stats: {} }}",
            self.state(),
            self.config(),
            self.stats()
        );
    }
}

/// What the machine is waiting for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum Phase {
    /// To be enabled.
    Off,
    /// To report the verdict that fell then.
    Over,
    /// For nothing: the verdict is reported.
    Reported,
    /// For silence to last [`Config::idle`]. A received segment is only stamped.
    Armed,
    /// The same, but a received segment has more to do: nothing was heard since enabling, or there is
    /// a round or evidence to forget.
    Waiting,
    /// For another `idle` since then: the probe fell due while the connection was busy (K3).
    PutOff,
    /// For the answer to what the stack sent since then, under a user timeout (K11).
    Owing,
    /// To offer the probe that has been wanted since then.
    Wanted,
    /// For the probe that was first offered then to leave.
    Offered,
    /// For the answer to the probe that left then.
    Sent,
}

/// Facts of one connection that do not exclude each other.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
struct Flags(u8);

impl Flags {
    /// A segment was received on this connection; until then `last_heard` is when we enabled.
    const HEARD: u8 = 1;
    /// The peer was reported as suspect.
    const SUSPECT: u8 = 1 << 1;
    /// This round has asked once more already (K8, K9).
    const SPARED: u8 = 1 << 2;
    /// The user timeout has struck: the present question, or the verdict, is its own.
    const STRUCK: u8 = 1 << 3;
    /// The next hop has answered from another address, and the last probe has yet to go there (K17).
    #[cfg(feature = "link")]
    const MOVED: u8 = 1 << 4;
    /// `asked` is when a question left that the peer has not answered, no matter whose it was.
    const ASKED: u8 = 1 << 5;
    /// A destination-unreachable message arrived since the peer was last heard.
    const UNREACHABLE: u8 = 1 << 6;
    /// The machine's owner has an end to report that is no verdict.
    #[cfg(feature = "link")]
    const ENDED: u8 = 1 << 7;

    /// What is forgotten when the peer is heard: everything but that it was heard.
    const OF_ROUND: u8 = !Self::HEARD;

    #[inline]
    const fn has(self, flag: u8) -> bool {
        self.0 & flag != 0
    }

    #[inline]
    const fn set(&mut self, flag: u8) {
        self.0 |= flag;
    }

    #[inline]
    const fn clear(&mut self, flags: u8) {
        self.0 &= !flags;
    }
}

/// What is known of the next hop since the peer was last heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
enum Hop {
    /// It was not asked.
    Unknown,
    /// It has answered none of our questions.
    Silent,
    /// It has answered the last one.
    Answers,
    /// It has answered one, and not yet the last one.
    AskedAgain,
}

/// One slot for each kind of event, and which of them came first.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
struct Events {
    pending: Pending,
    suspect_unanswered: u8,
    recovered_unanswered: u8,
}

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
        let (is_suspect, rest) = match self.pending {
            Pending::Nothing => return None,
            Pending::Suspect => (true, Pending::Nothing),
            Pending::Recovered => (false, Pending::Nothing),
            Pending::SuspectThenRecovered => (true, Pending::Recovered),
            Pending::RecoveredThenSuspect => (false, Pending::Suspect),
        };
        self.pending = rest;
        Some(if is_suspect {
            Event::Suspect {
                unanswered: self.suspect_unanswered,
            }
        } else {
            Event::Recovered {
                unanswered: self.recovered_unanswered,
            }
        })
    }
}

impl KeepAlive {
    /// How much of the machine [`handle_segment`](Self::handle_segment) reads or writes while it is
    /// armed.
    #[cfg(feature = "link")]
    pub(crate) const BYTES_TOUCHED_BY_SEGMENT: usize = core::mem::offset_of!(Self, unanswered);

    /// Makes a machine that is off (RFC 9293 3.8.4, MUST-25).
    #[must_use]
    pub const fn new(config: Config) -> Self {
        let mut machine = Self::WITHOUT_CONFIG;
        machine.store(config);
        machine
    }

    /// Nothing but zeros.
    pub(crate) const WITHOUT_CONFIG: Self = Self {
        last_heard: Instant::ZERO,
        phase: Phase::Off,
        unanswered: 0,
        unsent: 0,
        flags: Flags(0),
        events: Events::NONE,
        hop: Hop::Unknown,
        count: 0,
        payload: ProbePayload::Empty,
        late_polls: 0,
        idle: Millis::ZERO,
        interval: Millis::ZERO,
        user_timeout: None,
        since: Instant::ZERO,
        asked: Instant::ZERO,
        probes_sent: 0,
        probes_answered: 0,
        last_rtt: None,
        unsent_attempts: 0,
        verdicts: 0,
    };

    const fn store(&mut self, config: Config) {
        let Config {
            idle,
            interval,
            user_timeout,
            count,
            payload,
        } = config;
        self.idle = idle;
        self.interval = interval;
        self.user_timeout = user_timeout;
        self.count = count;
        self.payload = payload;
    }

    /// Switches on (MAY-5, MUST-24). Call it once the connection is synchronised; a listener
    /// has no peer to probe.
    ///
    /// The first probe falls due at `max(now, last_heard + idle)`; if nothing was heard yet,
    /// `now` stands in for `last_heard`. No effect if already on, or after a verdict.
    #[doc(alias = "SO_KEEPALIVE")]
    pub fn enable(&mut self, now: Instant) {
        if self.phase == Phase::Off {
            self.enter(Phase::Waiting, now);
            if !self.flags.has(Flags::HEARD) {
                self.last_heard = now;
            }
        }
    }

    /// Switches off, at once: [`poll_timeout`](Self::poll_timeout) is `None` and nothing more is
    /// offered. What happened before can still be read from [`poll_event`](Self::poll_event). No
    /// effect after a verdict.
    pub fn disable(&mut self) {
        if !self.is_over() {
            self.phase = Phase::Off;
            self.forget_round();
        }
    }

    /// Switches off, at an end that is no verdict.
    #[cfg(feature = "link")]
    pub(crate) fn end(&mut self) {
        self.phase = Phase::Off;
        self.forget_round();
        self.flags.set(Flags::ENDED);
    }

    /// Whether an end that is no verdict has to be reported; from now on it has not.
    #[cfg(feature = "link")]
    pub(crate) const fn take_end(&mut self) -> bool {
        let is_ended = self.flags.has(Flags::ENDED);
        self.flags.clear(Flags::ENDED);
        is_ended
    }

    /// Replaces the configuration, at once (K8): an armed machine waits until
    /// `max(now, last_heard + idle)`, a probing one keeps its count and waits until the last
    /// attempt is one new interval old. An equal configuration changes nothing, so it is harmless
    /// to set it over and over.
    ///
    /// A shorter interval or a lower count does not decide over what was asked before: if that makes the
    /// present attempt the last one, the machine asks once more first, once in a round of silence.
    pub fn set_config(&mut self, now: Instant, config: Config) {
        if config == self.config() {
            return;
        }
        let is_shorter = config.interval < self.interval || config.count < self.count;
        self.store(config);
        match self.phase {
            Phase::Off | Phase::Wanted | Phase::Over | Phase::Reported => {}
            Phase::Armed | Phase::Waiting | Phase::PutOff => self.enter(Phase::Waiting, now),
            // Nothing that has left yet is the question that decides.
            Phase::Owing => self.flags.clear(Flags::ASKED),
            Phase::Offered | Phase::Sent => {
                if is_shorter && self.spares() {
                    self.want(now);
                }
            }
        }
    }

    /// Gets ready for a new connection: off, nothing heard, nothing to report. The configuration
    /// and the counters stay.
    pub fn reset(&mut self) {
        self.last_heard = Instant::ZERO;
        self.phase = Phase::Off;
        self.forget_round();
        self.flags = Flags(0);
        self.events = Events::NONE;
    }

    /// Records an acceptable segment: one that only the peer could have sent (see
    /// [`Flow`](crate::Flow)). Call it for every one; it is a couple of stores (K15).
    ///
    /// It clears what the peer owed us, moves the idle time, and ends the probing. It may leave
    /// [`Event::Recovered`].
    #[inline]
    pub fn handle_segment(&mut self, now: Instant) {
        if self.is_armed() {
            self.last_heard = now;
        } else {
            self.recover(now);
        }
    }

    /// Records that a segment that asks for an answer left: data, a FIN, a retransmission of
    /// either, a window probe. Not a bare acknowledgement, and not a probe of ours.
    ///
    /// The first one since the peer was last heard starts the user timeout (K11).
    #[inline]
    pub fn handle_sent(&mut self, now: Instant) {
        if self.user_timeout.is_some() {
            self.owe(now, true);
        }
    }

    /// Records that something that asks for an answer could not leave: the device was busy, or
    /// the neighbour's address unknown. The user timeout runs from here too (K11); otherwise a
    /// broken cable would go unnoticed.
    ///
    /// Do not call it while the stack holds back on purpose (zero window, MUST-37; retransmission
    /// timer).
    pub fn handle_blocked(&mut self, now: Instant) {
        if self.user_timeout.is_some() {
            self.owe(now, false);
        }
    }

    /// Records that the next hop was asked for its address (K20). Call it when the question left.
    pub fn handle_hop_asked(&mut self) {
        match self.hop {
            Hop::Unknown => self.learn(Hop::Silent),
            Hop::Answers => self.learn(Hop::AskedAgain),
            Hop::Silent | Hop::AskedAgain => {}
        }
    }

    /// Records that the next hop answered a question for its address (K20).
    pub fn handle_hop_answered(&mut self) {
        if self.is_hop_asked() {
            self.learn(Hop::Answers);
        }
    }

    /// The next hop was asked for its address and has not answered.
    pub(crate) const fn is_hop_asked(&self) -> bool {
        matches!(self.hop, Hop::Silent | Hop::AskedAgain)
    }

    /// Records a destination-unreachable message for this connection: `ICMPv4` type 3, or `ICMPv6`
    /// type 1, with its four-tuple inside (K20).
    ///
    /// It explains a verdict and never brings one about (RFC 9293 3.9.2.2, MUST-56).
    pub fn handle_unreachable(&mut self) {
        if !self.is_over() {
            self.flags.set(Flags::UNREACHABLE);
            self.learn(self.hop);
        }
    }

    fn learn(&mut self, hop: Hop) {
        if !self.is_over() {
            self.hop = hop;
            if self.phase == Phase::Armed {
                // The next segment has to forget it.
                self.phase = Phase::Waiting;
            }
        }
    }

    /// Handles the passing of time. Call it when [`poll_timeout`](Self::poll_timeout) is reached,
    /// and when the clock has stepped back, with the connection as it is now. Early, late and
    /// repeated calls do no harm (K13).
    ///
    /// Afterwards there may be a probe in [`poll_transmit`](Self::poll_transmit) or an event in
    /// [`poll_event`](Self::poll_event).
    pub fn handle_timeout(&mut self, now: Instant, tcb: &Tcb) {
        self.handle_step_back(now);
        self.handle_time(now, !tcb.is_quiet());
    }

    /// [`handle_timeout`](Self::handle_timeout), of a connection that is busy or quiet. The clock has
    /// not stepped back.
    #[inline(never)]
    pub(crate) fn handle_time(&mut self, now: Instant, is_busy: bool) {
        if self.phase == Phase::Owing && (!is_busy || self.user_timeout.is_none()) {
            // What was outstanding is not any more, whatever we have seen of it; or nothing is owed any more.
            self.phase = Phase::Waiting;
        }
        self.give_way(now, is_busy);
        let due = self.due();
        if now < due {
            return;
        }
        // K9: what fell due was noticed more than an interval late.
        let is_late = now > due.plus_millis(self.interval.0);
        match self.phase {
            Phase::Off | Phase::Wanted | Phase::Over | Phase::Reported => {}
            Phase::Armed | Phase::Waiting | Phase::PutOff => {
                if is_busy {
                    self.step_aside(now, true);
                } else {
                    self.count_if(is_late);
                    self.want(now);
                }
            }
            Phase::Owing => {
                self.flags.set(Flags::STRUCK);
                if is_late {
                    // K9: what was asked before the host slept proves nothing.
                    self.flags.set(Flags::SPARED);
                } else if due > self.strikes_at() {
                    // Something that asks left within the last interval before that.
                    return self.fail_attempt(now, false);
                }
                self.count_if(is_late);
                self.want(now);
            }
            Phase::Sent if is_busy && !self.flags.has(Flags::STRUCK) => {
                // K3: data took the place of the next probe.
                self.suspect();
                self.step_aside(now, true);
            }
            Phase::Offered | Phase::Sent => self.fail_attempt(now, is_late),
        }
    }

    /// Moves remembered moments that lie in the future to `now` (K10).
    pub(crate) fn handle_step_back(&mut self, now: Instant) {
        if self.is_over() {
            // K14: what the verdict says does not change.
            return;
        }
        let (last_heard, since) = (self.last_heard, self.since);
        self.last_heard = earlier(last_heard, now);
        if since > now {
            self.since = now;
            if self.flags.has(Flags::STRUCK) {
                // It struck by a reading that was too high: its clock starts anew.
                self.flags.clear(Flags::STRUCK);
                self.phase = Phase::Owing;
            }
        }
        self.asked = earlier(self.asked, now);
    }

    /// Records that `probe` has left the device. From here it counts, and its answer is awaited
    /// (K4).
    ///
    /// Afterwards [`poll_timeout`](Self::poll_timeout) is one interval away.
    pub fn handle_transmitted(&mut self, now: Instant, probe: Probe) {
        // The token is spent: this probe cannot be handed back again.
        drop(probe);
        self.handle_probe_sent(now);
    }

    #[cfg_attr(feature = "link", inline(never))]
    pub(crate) fn handle_probe_sent(&mut self, now: Instant) {
        self.probes_sent = self.probes_sent.saturating_add(1);
        if self.is_wanting() {
            self.unanswered = self.unanswered.saturating_add(1);
            self.enter(Phase::Sent, now);
            self.flags.set(Flags::ASKED);
            self.asked = now;
            #[cfg(feature = "link")]
            self.flags.clear(Flags::MOVED);
        }
    }

    /// Returns the probe to send now, if one is due and the connection is quiet (K3), or its user
    /// timeout has struck (K11). Poll it after [`handle_timeout`](Self::handle_timeout), and at
    /// each poll of the stack.
    ///
    /// Call it even if there is no room to send: a probe that was never offered counts for nothing,
    /// not even as one that could not leave.
    ///
    /// Hand the probe back with [`handle_transmitted`](Self::handle_transmitted) once it has
    /// left. If it cannot leave, drop it; it is offered again at the next call, and
    /// [`poll_timeout`](Self::poll_timeout) asks for that call within 500 ms.
    #[must_use = "a probe that is not sent is offered again, until it counts as unsent"]
    pub fn poll_transmit(&mut self, now: Instant, tcb: &Tcb) -> Option<Probe> {
        let is_offered = self.offer(now, !tcb.is_quiet());
        is_offered.then(|| Probe::new(tcb, self.payload))
    }

    /// Offers the probe that is due, if there is one.
    pub(crate) fn offer(&mut self, now: Instant, is_busy: bool) -> bool {
        self.give_way(now, is_busy);
        if !self.is_wanting() {
            return false;
        }
        if self.phase == Phase::Wanted {
            self.enter(Phase::Offered, now);
        }
        self.flags.clear(Flags::ASKED);
        self.asked = now;
        true
    }

    /// Gives up a question that is not what this connection needs any more: one that became busy is
    /// not probed (K3), and one that became quiet owes nothing (K11).
    fn give_way(&mut self, now: Instant, is_busy: bool) {
        let has_struck = self.flags.has(Flags::STRUCK);
        let is_void = has_struck && self.user_timeout.is_none();
        let is_overtaken = match self.phase {
            Phase::Wanted | Phase::Offered => is_busy != has_struck || is_void,
            Phase::Sent => has_struck && !is_busy || is_void,
            _ => false,
        };
        if is_overtaken {
            self.step_aside(now, is_busy);
        }
    }

    /// Gives way to what is outstanding or queued. Nothing that asks has left since the peer was heard, or
    /// the clock of the user timeout would run: so it cannot leave, and the clock runs from here (K11).
    fn step_aside(&mut self, now: Instant, is_busy: bool) {
        self.flags.clear(Flags::STRUCK);
        let phase = if is_busy && self.user_timeout.is_some() {
            Phase::Owing
        } else {
            Phase::PutOff
        };
        self.enter(phase, now);
    }

    /// Returns the oldest event. Poll it after any other call until it is `None`.
    ///
    /// There is one slot for each kind of event: a suspicion that was not read is overwritten by
    /// the next one, a verdict is reported exactly once (K14).
    #[must_use = "an event is reported once"]
    #[inline(never)]
    pub fn poll_event(&mut self) -> Option<Event> {
        if let Some(event) = self.events.take() {
            return Some(event);
        }
        if self.phase != Phase::Over {
            return None;
        }
        self.phase = Phase::Reported;
        self.verdict().map(Event::TimedOut)
    }

    /// There is a suspicion or a recovery to report.
    #[cfg(feature = "link")]
    pub(crate) const fn has_event(&self) -> bool {
        !matches!(self.events.pending, Pending::Nothing)
    }

    /// Returns when to call [`handle_timeout`](Self::handle_timeout) at the latest, if at all. It
    /// may change with every other call.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Instant> {
        match self.phase {
            Phase::Off | Phase::Over | Phase::Reported => None,
            Phase::Offered => Some(earlier(self.due(), self.asked.plus_millis(RETRY_MILLIS))),
            _ => Some(self.due()),
        }
    }

    /// Returns where the machine is.
    #[must_use]
    pub const fn state(&self) -> State {
        match self.phase {
            Phase::Off => State::Disabled,
            Phase::Over | Phase::Reported => State::TimedOut,
            Phase::Wanted | Phase::Offered | Phase::Sent => State::Probing {
                unanswered: self.unanswered,
            },
            _ if self.unanswered != 0 || self.unsent != 0 => State::Probing {
                unanswered: self.unanswered,
            },
            _ => State::Armed,
        }
    }

    /// Returns the configuration in force.
    #[must_use]
    pub const fn config(&self) -> Config {
        Config {
            idle: self.idle,
            interval: self.interval,
            user_timeout: self.user_timeout,
            count: self.count,
            payload: self.payload,
        }
    }

    /// Returns what was counted so far.
    #[must_use]
    pub const fn stats(&self) -> Stats {
        Stats {
            probes_sent: self.probes_sent,
            probes_answered: self.probes_answered,
            unsent_attempts: self.unsent_attempts as u32,
            verdicts: self.verdicts as u32,
            late_polls: self.late_polls as u32,
            last_rtt: match self.last_rtt {
                Some(rtt) => Some(duration_from_micros(rtt.get().wrapping_sub(1) as u64)),
                None => None,
            },
        }
    }

    /// Returns when the last acceptable segment arrived, if any did on this connection.
    #[must_use]
    pub const fn last_heard(&self) -> Option<Instant> {
        if self.flags.has(Flags::HEARD) {
            Some(self.last_heard)
        } else {
            None
        }
    }

    /// Returns the verdict, once it has fallen and until [`reset`](Self::reset).
    #[must_use]
    pub const fn verdict(&self) -> Option<Verdict> {
        if !self.is_over() {
            return None;
        }
        Some(Verdict {
            cause: if self.flags.has(Flags::STRUCK) {
                Cause::UserTimeout
            } else {
                Cause::KeepAlive
            },
            silent_for: self.since.saturating_duration_since(self.last_heard),
            unanswered: self.unanswered,
            unsent: self.unsent,
            failed_at: if self.unanswered == 0 && self.unsent != 0 {
                FailedAt::Device
            } else if self.flags.has(Flags::UNREACHABLE) {
                FailedAt::Network
            } else if matches!(self.hop, Hop::Silent) {
                FailedAt::NextHop
            } else {
                FailedAt::Peer
            },
        })
    }

    #[cfg(feature = "link")]
    pub(crate) const fn payload(&self) -> ProbePayload {
        self.payload
    }

    /// A received segment changes nothing but the time.
    #[inline]
    pub(crate) const fn is_armed(&self) -> bool {
        matches!(self.phase, Phase::Armed)
    }

    /// Nothing may be sent for it (K1).
    #[cfg(feature = "link")]
    pub(crate) const fn is_off(&self) -> bool {
        matches!(self.phase, Phase::Off)
    }

    /// A probe waits to leave, or was not answered.
    #[cfg(feature = "link")]
    pub(crate) const fn is_probing(&self) -> bool {
        self.unanswered != 0 || self.is_wanting()
    }

    /// The user timeout asks, and what was sent before was not answered: the next hop may have moved (K17).
    #[cfg(feature = "link")]
    pub(crate) const fn doubts_hop(&self) -> bool {
        const BOTH: u8 = Flags::STRUCK | Flags::ASKED;
        self.flags.0 & BOTH == BOTH
    }

    #[cfg(feature = "link")]
    pub(crate) const fn unanswered(&self) -> u8 {
        self.unanswered
    }

    /// The next hop has answered from another address. Returns whether the last probe has to go there.
    #[cfg(feature = "link")]
    pub(crate) fn handle_hop_moved(&mut self) -> bool {
        let is_awaiting_answer = self.phase == Phase::Sent;
        if is_awaiting_answer {
            self.flags.set(Flags::MOVED);
        }
        is_awaiting_answer
    }

    /// A probe has to go out again, for another next hop, and it is still what the connection needs: one
    /// that became busy is not probed (K3).
    #[cfg(feature = "link")]
    pub(crate) fn has_moved(&self, is_busy: bool) -> bool {
        self.flags.has(Flags::MOVED)
            && self.phase == Phase::Sent
            && is_busy == self.flags.has(Flags::STRUCK)
    }

    /// The probe left once more, because it [has moved](Self::has_moved): before a verdict it has its
    /// interval, once in a round.
    #[cfg(feature = "link")]
    pub(crate) fn handle_probe_sent_again(&mut self, now: Instant) {
        self.flags.clear(Flags::MOVED);
        if self.phase == Phase::Sent && self.spares() {
            self.enter(Phase::Sent, now);
            self.asked = now;
        }
    }

    /// Waits for another [`Config::idle`], as if the connection were busy (K3).
    #[cfg(feature = "smoltcp")]
    pub(crate) fn put_off(&mut self, now: Instant) {
        self.flags.clear(Flags::STRUCK);
        self.enter(Phase::PutOff, now);
    }

    /// A deadline is reached, or a probe is waiting to leave.
    #[cfg(feature = "link")]
    #[inline(never)]
    pub(crate) fn is_due(&self, now: Instant) -> bool {
        self.is_wanting() || self.due() <= now
    }

    /// A probe is waiting to leave.
    pub(crate) const fn is_wanting(&self) -> bool {
        matches!(self.phase, Phase::Wanted | Phase::Offered)
    }

    pub(crate) const fn is_over(&self) -> bool {
        matches!(self.phase, Phase::Over | Phase::Reported)
    }

    #[cfg(feature = "link")]
    pub(crate) const fn interval_millis(&self) -> u32 {
        self.interval.0
    }

    /// If the present attempt fails, there is a verdict.
    fn is_deciding(&self) -> bool {
        let is_offered = self.phase == Phase::Offered;
        // The sum of three octets fits. A probe that is offered is not among the `unsent` yet.
        let attempts = u32::from(self.unanswered)
            .wrapping_add(u32::from(self.unsent))
            .wrapping_add(u32::from(is_offered));
        // K9: of what was asked once more, and could not leave, the count decides.
        self.phase == Phase::Owing
            || self.flags.has(Flags::STRUCK) && !(is_offered && self.flags.has(Flags::SPARED))
            || attempts >= u32::from(self.count)
    }

    /// When the present phase is over, if nothing happens before; [`Instant::MAX`] for never.
    pub(crate) const fn due(&self) -> Instant {
        let (since, millis) = match self.phase {
            Phase::Off | Phase::Over | Phase::Reported => return Instant::MAX,
            Phase::Armed | Phase::Waiting => (self.last_heard, self.idle),
            Phase::PutOff => (self.since, self.idle),
            Phase::Owing if self.flags.has(Flags::ASKED) => (self.asked, self.interval),
            Phase::Owing | Phase::Wanted => (self.since, Millis::ZERO),
            Phase::Offered | Phase::Sent => (self.since, self.interval),
        };
        let floor = match self.phase {
            Phase::Owing => self.strikes_at(),
            _ => self.since,
        };
        later(floor, since.plus_millis(millis.0))
    }

    /// When the user timeout strikes, in [`Phase::Owing`]: at once if there is none any more, for that ends
    /// the phase.
    const fn strikes_at(&self) -> Instant {
        match self.user_timeout {
            Some(timeout) => self.since.plus_millis(timeout.get()),
            None => Instant::ZERO,
        }
    }

    /// Starts the user timeout, unless it runs already (K11).
    #[expect(clippy::inline_always, reason = "measured: it is smaller")]
    #[inline(always)]
    fn owe(&mut self, now: Instant, has_left: bool) {
        match self.phase {
            Phase::Owing => {}
            Phase::Off | Phase::Over | Phase::Reported => return,
            _ if self.flags.has(Flags::STRUCK) => return,
            _ => self.enter(Phase::Owing, now),
        }
        // What leaves after the timeout has struck puts off nothing.
        if has_left && now < self.strikes_at() {
            self.flags.set(Flags::ASKED);
            self.asked = now;
        }
    }

    /// The present attempt failed, and that was noticed in time or late.
    fn fail_attempt(&mut self, now: Instant, is_late: bool) {
        // K9: while the host slept, it did not listen either.
        let is_verdict = self.is_deciding() && !(is_late && self.spares());
        if self.phase == Phase::Offered {
            // K4: an interval passed and the probe never left.
            self.unsent = self.unsent.saturating_add(1);
            self.unsent_attempts = self.unsent_attempts.saturating_add(1);
        }
        self.suspect();
        self.count_if(is_late);
        if is_verdict {
            self.enter(Phase::Over, now);
            self.verdicts = self.verdicts.saturating_add(1);
        } else {
            self.want(now);
        }
    }

    /// Whether the present attempt would decide, and did not so far in this round.
    #[inline(never)]
    fn spares(&mut self) -> bool {
        let spares = self.is_deciding() && !self.flags.has(Flags::SPARED);
        if spares {
            self.flags.set(Flags::SPARED);
        }
        spares
    }

    fn want(&mut self, now: Instant) {
        self.enter(Phase::Wanted, now);
    }

    fn enter(&mut self, phase: Phase, now: Instant) {
        self.phase = phase;
        self.since = now;
    }

    fn suspect(&mut self) {
        if !self.flags.has(Flags::SUSPECT) {
            self.flags.set(Flags::SUSPECT);
            self.events.suspect(self.unanswered);
        }
    }

    /// Handles a segment that arrived while the machine was not merely waiting for silence (K7).
    #[inline(never)]
    pub(crate) fn recover(&mut self, now: Instant) {
        if self.is_over() {
            return;
        }
        self.last_heard = now;
        self.flags.set(Flags::HEARD);
        if self.unanswered > 0 {
            self.probes_answered = self.probes_answered.saturating_add(1);
            if self.unanswered == 1 && self.phase == Phase::Sent {
                let micros = u32::try_from(now.micros_since(self.since)).unwrap_or(u32::MAX);
                self.last_rtt = NonZeroU32::new(micros.saturating_add(1));
            }
        }
        if self.flags.has(Flags::SUSPECT) {
            self.events.recovered(self.unanswered);
        }
        self.forget_round();
        if self.phase != Phase::Off {
            self.enter(Phase::Armed, now);
        }
    }

    fn forget_round(&mut self) {
        self.unanswered = 0;
        self.unsent = 0;
        self.hop = Hop::Unknown;
        self.flags.clear(Flags::OF_ROUND);
    }

    fn count_if(&mut self, is_late: bool) {
        self.late_polls = self.late_polls.saturating_add(u16::from(is_late));
    }
}

const fn earlier(a: Instant, b: Instant) -> Instant {
    if a.as_micros() <= b.as_micros() { a } else { b }
}

const fn later(a: Instant, b: Instant) -> Instant {
    if a.as_micros() >= b.as_micros() { a } else { b }
}

#[cfg(test)]
mod tests;
