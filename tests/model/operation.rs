//! What can be done to a machine.

use std::time::Duration;

#[cfg(fuzzing)]
use libfuzzer_sys::arbitrary::{self, Arbitrary};
use tcp_keepalive::{Config, ProbePayload, SeqNumber, Tcb};

#[cfg_attr(fuzzing, derive(Arbitrary))]
#[derive(Clone, Debug)]
pub(crate) enum Operation {
    Enable,
    Disable,
    Reset,
    Configure(Settings),
    /// The options that are in force already.
    ConfigureAgain,
    /// The options that are in force, but for the count.
    ConfigureCount(u8),
    Segment,
    Sent,
    Blocked,
    HopAsked,
    HopAnswered,
    Unreachable,
    Connection(Connection),
    Timeout,
    Transmit(Leaves),
    /// A probe that was kept leaves after all.
    LeavesLate,
    Event,
    /// All that an owner does when it polls; the probe leaves, or does not.
    Poll(Leaves),
    Clock(Move),
}

/// What becomes of a probe that is offered.
#[cfg_attr(fuzzing, derive(Arbitrary))]
#[derive(Clone, Copy, Debug)]
pub(crate) enum Leaves {
    Now,
    Never,
    /// Perhaps, with [`Operation::LeavesLate`].
    Later,
}

#[cfg_attr(fuzzing, derive(Arbitrary))]
#[derive(Clone, Debug)]
pub(crate) enum Move {
    /// To the moment that the machine asks for, or so many microseconds off.
    ToDue(i8),
    /// So many whole intervals past that moment, and microseconds off.
    PastDue(u8, i8),
    Forward(Span),
    Back(Span),
    /// To any moment.
    To(u64),
    /// So close to the end of time.
    NearTheEnd(u16),
}

/// A length of time, from the shortest to the longest.
#[cfg_attr(fuzzing, derive(Arbitrary))]
#[derive(Clone, Copy, Debug)]
pub(crate) enum Span {
    Micros(u16),
    Millis(u16),
    Hours(u16),
    /// What is left of `u32::MAX` milliseconds, the longest that a configuration takes, after so many
    /// halvings.
    Halved(u8),
}

#[cfg_attr(fuzzing, derive(Arbitrary))]
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) idle: Span,
    pub(crate) interval: Span,
    pub(crate) count: u8,
    pub(crate) octet: bool,
    pub(crate) user_timeout: Option<Span>,
}

#[cfg_attr(fuzzing, derive(Arbitrary))]
#[derive(Clone, Debug)]
pub(crate) struct Connection {
    pub(crate) snd_nxt: u32,
    pub(crate) rcv_nxt: u32,
    pub(crate) rcv_wnd: u16,
    pub(crate) timestamps: Option<(u32, u32)>,
    pub(crate) flight: Flight,
}

#[cfg_attr(fuzzing, derive(Arbitrary))]
#[derive(Clone, Copy, Debug)]
pub(crate) enum Flight {
    Quiet,
    Outstanding(u8),
    Queued,
}

impl Span {
    pub(crate) fn micros(self) -> u64 {
        match self {
            Self::Micros(micros) => u64::from(micros),
            Self::Millis(millis) => u64::from(millis) * 1_000,
            Self::Hours(hours) => u64::from(hours) * 3_600_000_000,
            Self::Halved(times) => (u64::from(u32::MAX) * 1_000) >> (times % 64),
        }
    }

    fn duration(self) -> Duration {
        Duration::from_micros(self.micros())
    }
}

impl Settings {
    /// `None` if there is no such configuration.
    pub(crate) fn config(&self) -> Option<Config> {
        let Self {
            idle,
            interval,
            count,
            octet,
            user_timeout,
        } = self;
        let payload = if *octet {
            ProbePayload::GarbageOctet
        } else {
            ProbePayload::Empty
        };
        let config = Config::new(idle.duration(), interval.duration(), *count).ok()?;
        let config = config.with_payload(payload);
        match user_timeout {
            Some(timeout) => config.with_user_timeout(timeout.duration()).ok(),
            None => Some(config),
        }
    }
}

/// `config` with another count, if there can be one.
pub(crate) fn with_count(config: Config, count: u8) -> Option<Config> {
    let other = Config::new(config.idle(), config.interval(), count).ok()?;
    let other = other.with_payload(config.payload());
    match config.user_timeout() {
        Some(timeout) => other.with_user_timeout(timeout).ok(),
        None => Some(other),
    }
}

impl Connection {
    pub(crate) fn tcb(&self) -> Tcb {
        let Self {
            snd_nxt,
            rcv_nxt,
            rcv_wnd,
            timestamps,
            flight,
        } = *self;
        let (outstanding, unsent) = match flight {
            Flight::Quiet => (0, false),
            Flight::Outstanding(octets) => (octets, false),
            Flight::Queued => (0, true),
        };
        Tcb {
            snd_una: SeqNumber(snd_nxt.wrapping_sub(u32::from(outstanding))),
            snd_nxt: SeqNumber(snd_nxt),
            rcv_nxt: SeqNumber(rcv_nxt),
            rcv_wnd,
            timestamps,
            unsent,
        }
    }
}
