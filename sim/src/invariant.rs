//! What has to hold, whatever happens.

use core::fmt;
use core::time::Duration;

use ::smoltcp::iface::SocketHandle;

use crate::Instant;

/// Something did not hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation {
    /// The host at which it did not.
    pub node: &'static str,
    /// When, by the world's clock.
    pub at: Instant,
    /// The socket's handle.
    pub handle: SocketHandle,
    /// What.
    pub invariant: Invariant,
}

/// What has to hold after every step. Times are the host's own.
///
/// The world keeps an account of each connection from the frames that pass, and holds what the
/// keep-alive does against that.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Invariant {
    /// No probe while data or a FIN is outstanding (K3).
    ProbeWhileBusy,
    /// No probe before `last_heard + idle` (K2).
    ProbeBeforeIdle {
        /// The earliest moment at which it may leave.
        due: Instant,
        /// When it left.
        at: Instant,
    },
    /// No probe before the previous one plus `interval` (K5).
    ProbeBeforeInterval {
        /// The earliest moment at which it may leave.
        due: Instant,
        /// When it left.
        at: Instant,
    },
    /// Nothing leaves for a connection that is disabled, or given up (K1, K14).
    ProbeUnbidden,
    /// A probe that was counted has left the device (K4).
    ProbeNotSent,
    /// A probe has SEQ = SND.NXT - 1 and ACK = RCV.NXT, in the peer's own account (K12).
    ProbeNumbers {
        /// What it has.
        found: (u32, u32),
        /// What the peer holds for right.
        right: (u32, u32),
    },
    /// A probe has the octet that was configured for it, and no other data (K12).
    ProbePayload {
        /// How many octets it has.
        found: usize,
        /// How many were asked for.
        right: usize,
    },
    /// A probe offers the current window, or what its host has told of it last (K12).
    ProbeWindow {
        /// What it offers.
        found: u16,
        /// What its host has told last.
        told: u16,
    },
    /// A probe has the timestamp option if, and only if, both SYNs had it (K12; RFC 7323 3.2).
    ProbeTimestamps {
        /// Both SYNs had it.
        negotiated: bool,
    },
    /// A probe has the socket's hop limit (K12).
    ProbeHopLimit {
        /// What it has.
        found: u8,
        /// The socket's.
        right: u8,
    },
    /// Only what could be the peer's counts: it is intact, and right in its numbers.
    HeardNobody {
        /// When the keep-alive believes that the peer was heard.
        believed: Instant,
    },
    /// A suspicion is told of when the first attempt has failed, and once (K7).
    SuspectUnfounded,
    /// It is told of then (K7).
    SuspectUnreported,
    /// Only a suspect recovers (K7).
    RecoveredUnfounded,
    /// A suspect that is heard has recovered (K7).
    RecoveredUnreported,
    /// What the peer said counts (K7).
    HeardForgotten {
        /// When it was heard last.
        heard: Instant,
        /// When the keep-alive believes that it was.
        believed: Option<Instant>,
    },
    /// No verdict before `count` attempts (K5).
    VerdictWithoutAttempts {
        /// How many there were.
        attempts: u16,
        /// How many there have to be.
        count: u8,
    },
    /// As many unanswered attempts as a verdict tells have left (K5).
    VerdictMiscounts {
        /// How many it tells.
        told: u8,
        /// How many have left.
        sent: u32,
    },
    /// No verdict before its time (K5, K11).
    VerdictTooEarly {
        /// For how long the peer has been silent.
        silent_for: Duration,
        /// For how long it has to be.
        least: Duration,
    },
    /// No verdict that fell due between two polls: one more probe first (K9).
    VerdictAfterGap {
        /// When it fell due.
        due: Instant,
        /// When it was given.
        at: Instant,
    },
    /// A verdict tells for how long the peer has been silent.
    VerdictMisjudges {
        /// What it tells.
        told: Duration,
        /// For how long it has been.
        silent_for: Duration,
    },
    /// Each verdict that is counted is told of (K14).
    VerdictUnreported {
        /// How many were counted.
        counted: u32,
        /// How many were told of.
        told: u32,
    },
    /// After a verdict the socket is closed, and the keep-alive is at its end.
    VerdictNotCarriedOut,
    /// Exactly one verdict (K14).
    SecondVerdict,
    /// After serving, no deadline of ours is past, or at least not twice in a row (K13).
    DeadlineInThePast {
        /// The deadline.
        deadline: Instant,
        /// The host's time.
        now: Instant,
    },
    /// A peer that was said to be alive is not given up.
    LivePeerGivenUp,
    /// A peer that was said to be dead is given up in time.
    DeadPeerKept {
        /// When it had to be given up at the latest, by the world's clock.
        by: Instant,
    },
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            node,
            at,
            handle,
            invariant,
        } = self;
        let at = at.as_micros();
        write!(f, "{node} {handle} at {at} µs: {invariant}")
    }
}

impl fmt::Display for Invariant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::ProbeWhileBusy => f.write_str("a probe left while something was outstanding"),
            Self::ProbeBeforeIdle { due, at } => write!(
                f,
                "a probe left at {} µs, before the idle time was over at {} µs",
                at.as_micros(),
                due.as_micros()
            ),
            Self::ProbeBeforeInterval { due, at } => write!(
                f,
                "a probe left at {} µs, before the interval was over at {} µs",
                at.as_micros(),
                due.as_micros()
            ),
            Self::ProbeUnbidden => {
                f.write_str("a probe left for a connection that is disabled or given up")
            }
            Self::ProbeNotSent => f.write_str("a probe was counted that never left"),
            Self::ProbeNumbers { found, right } => write!(
                f,
                "a probe has SEQ {} and ACK {}, and the peer wants {} and {}",
                found.0, found.1, right.0, right.1
            ),
            Self::ProbePayload { found, right } => {
                write!(f, "a probe has {found} octets, not {right}")
            }
            Self::ProbeWindow { found, told } => write!(
                f,
                "a probe offers a window of {found}, and {told} was told last"
            ),
            Self::ProbeTimestamps { negotiated: true } => {
                f.write_str("a probe lacks the timestamps that were negotiated")
            }
            Self::ProbeTimestamps { negotiated: false } => {
                f.write_str("a probe has timestamps that were not negotiated")
            }
            Self::ProbeHopLimit { found, right } => {
                write!(f, "a probe has a hop limit of {found}, not {right}")
            }
            Self::HeardNobody { believed } => write!(
                f,
                "the keep-alive believes that it heard the peer at {} µs, and the peer sent nothing",
                believed.as_micros()
            ),
            Self::SuspectUnfounded => f.write_str("a suspicion without a cause, or a second one"),
            Self::SuspectUnreported => f.write_str("an attempt failed, and no event told of it"),
            Self::RecoveredUnfounded => f.write_str("a peer recovered that was not suspect"),
            Self::RecoveredUnreported => {
                f.write_str("a suspect was heard, and no event told of it")
            }
            Self::HeardForgotten { heard, believed } => write!(
                f,
                "the peer was heard at {} µs, but the keep-alive believes {:?}",
                heard.as_micros(),
                believed.map(Instant::as_micros)
            ),
            Self::VerdictWithoutAttempts { attempts, count } => {
                write!(f, "a verdict after {attempts} attempts of {count}")
            }
            Self::VerdictMiscounts { told, sent } => {
                write!(
                    f,
                    "a verdict tells {told} unanswered probes, and {sent} left"
                )
            }
            Self::VerdictTooEarly { silent_for, least } => {
                write!(
                    f,
                    "a verdict after {silent_for:?} of silence, not {least:?}"
                )
            }
            Self::VerdictAfterGap { due, at } => write!(
                f,
                "a verdict that fell due at {} µs was given at {} µs, and no probe was sent between",
                due.as_micros(),
                at.as_micros()
            ),
            Self::VerdictMisjudges { told, silent_for } => write!(
                f,
                "a verdict tells of {told:?} of silence, and it was {silent_for:?}"
            ),
            Self::VerdictUnreported { counted, told } => {
                write!(f, "{counted} verdicts were counted, and {told} told of")
            }
            Self::VerdictNotCarriedOut => f.write_str("a verdict left the connection open"),
            Self::SecondVerdict => f.write_str("a second verdict"),
            Self::DeadlineInThePast { deadline, now } => write!(
                f,
                "after serving, at {} µs, a deadline is still past: {} µs",
                now.as_micros(),
                deadline.as_micros()
            ),
            Self::LivePeerGivenUp => f.write_str("a live peer was given up"),
            Self::DeadPeerKept { by } => {
                write!(f, "a dead peer was not given up by {} µs", by.as_micros())
            }
        }
    }
}
