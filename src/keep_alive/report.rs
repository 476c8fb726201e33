//! What a machine reports.

use core::fmt;
use core::time::Duration;

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
    /// The verdict has fallen. Final until [`KeepAlive::reset`](crate::KeepAlive::reset).
    TimedOut,
}

/// An event for the application.
///
/// [`KeepAlive`](crate::KeepAlive) reports the first three. `Link` and the adapters, which see how a
/// connection ends, report the others: each connection ends with one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Event {
    /// The first attempt has failed: a warning, `count - 1` intervals before the verdict.
    Suspect {
        /// Probes left unanswered: 1, or 0 if none has left. Then the device refused it, or data of
        /// ours asked in its place (K11).
        unanswered: u8,
    },
    /// A suspect has been heard from again.
    Recovered {
        /// Probes it had left unanswered until then.
        unanswered: u8,
    },
    /// The peer is dead. An adapter of this crate has closed the socket already; in a stack of
    /// your own, abort the connection now.
    TimedOut(Verdict),
    /// The peer reset the connection.
    PeerReset {
        /// It was being probed: most likely it has restarted and knows nothing of us.
        while_probing: bool,
    },
    /// Both sides closed the connection.
    Closed,
    /// The application aborted the connection, or the stack's own timeout did.
    LocalAbort,
    /// The interface lost the address that the connection was using.
    AddressLost,
    /// The handle that was enabled has no TCP socket. `KeepAliveSet` has disabled it.
    NoSocket,
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
    /// How far the probes got.
    pub failed_at: FailedAt,
}

/// Which rule gave a verdict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Cause {
    /// [`Config::count`](crate::Config::count) attempts failed on a quiet connection (K5).
    KeepAlive,
    /// Something was outstanding and unanswered for
    /// [`Config::user_timeout`](crate::Config::user_timeout) (K11).
    UserTimeout,
}

/// How far the probes of a dead connection got (K20).
///
/// This is evidence for a person, not proof: it moves no deadline and aborts nothing (RFC 9293
/// 3.9.2.2, MUST-56), and a forged ICMP error or ARP reply can change this one word.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum FailedAt {
    /// No probe of the round left our own device.
    Device,
    /// Probes left; the next hop answered none of our questions for its address.
    NextHop,
    /// A destination-unreachable message for this connection arrived since the peer was last
    /// heard.
    Network,
    /// None of these: the next hop answers, or there is none to ask, and the peer is silent.
    Peer,
}

/// Counts since the machine was made, over all its connections. They saturate (K16).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub struct Stats {
    /// Probes that left the device, questions of the user timeout included; at most [`u32::MAX`].
    pub probes_sent: u32,
    /// Times the peer was heard from while probes were unanswered; at most [`u32::MAX`].
    pub probes_answered: u32,
    /// Attempts for which no probe could leave the device; at most [`u16::MAX`].
    pub unsent_attempts: u32,
    /// Verdicts; at most [`u16::MAX`].
    pub verdicts: u32,
    /// Attempts and verdicts that fell due more than an interval before the machine was polled; at most
    /// [`u16::MAX`]. One that a new configuration puts off before that poll is not counted; one that it
    /// moves into the past is.
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

impl fmt::Display for FailedAt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Device => "device",
            Self::NextHop => "next hop",
            Self::Network => "network",
            Self::Peer => "peer",
        })
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Disabled => f.write_str("disabled"),
            Self::Armed => f.write_str("armed"),
            Self::Probing { unanswered } => write!(f, "probing, {unanswered} unanswered"),
            Self::TimedOut => f.write_str("timed out"),
        }
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Suspect { unanswered } => write!(f, "suspect: {unanswered} probes unanswered"),
            Self::Recovered { unanswered } => {
                write!(f, "recovered: {unanswered} probes unanswered")
            }
            Self::TimedOut(verdict) => write!(f, "timed out: {verdict}"),
            Self::PeerReset {
                while_probing: true,
            } => f.write_str("reset by the peer while it was being probed"),
            Self::PeerReset { .. } => f.write_str("reset by the peer"),
            Self::Closed => f.write_str("closed by both sides"),
            Self::LocalAbort => f.write_str("aborted at this end"),
            Self::AddressLost => f.write_str("the interface lost its address"),
            Self::NoSocket => f.write_str("disabled: the handle has no TCP socket"),
        }
    }
}

impl fmt::Display for Verdict {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            cause,
            silent_for,
            unanswered,
            unsent,
            failed_at,
        } = self;
        write!(
            f,
            "{cause}: silent for {silent_for:?}, {unanswered} probes unanswered, {unsent} unsent, \
             failed at the {failed_at}"
        )
    }
}
