//! What the text, the capture and the chart call what happened.

use core::fmt;
use core::time::Duration;

use super::Trace;
use super::trace::{Happening, Lost, Note};
use crate::smoltcp::CloseReason;
use crate::{Cause, Event, Instant, Verdict};

/// When every world begins.
pub(super) const BEGINNING: Instant = Instant::from_millis(1_000_000);

/// The time since the world began, in seconds.
pub(super) fn seconds(at: Instant, decimals: usize) -> String {
    in_seconds(at.saturating_duration_since(BEGINNING), decimals)
}

pub(super) fn in_seconds(duration: Duration, decimals: usize) -> String {
    let micros = format!("{:06}", duration.subsec_micros());
    let fraction = micros.get(..decimals.min(6)).unwrap_or_default();
    format!("{}.{fraction}", duration.as_secs())
}

/// A length of time as a person says it: its two greatest units, and a fraction of a second.
pub(super) fn length(duration: Duration) -> String {
    let seconds = duration.as_secs();
    let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
    let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
    match (days, hours, minutes) {
        (0, 0, 0) if rest == 0 && duration.subsec_micros() > 0 => {
            format!("{} ms", trimmed(u64::from(duration.subsec_micros()), 3))
        }
        (0, 0, 0) => {
            let millis = rest
                .saturating_mul(1_000)
                .saturating_add(u64::from(duration.subsec_millis()));
            format!("{} s", trimmed(millis, 3))
        }
        (0, 0, _) if rest == 0 => format!("{minutes} min"),
        (0, 0, _) => format!("{minutes} min {rest} s"),
        (0, _, 0) => format!("{hours} h"),
        (0, _, _) => format!("{hours} h {minutes} min"),
        (_, 0, _) => format!("{days} d"),
        _ => format!("{days} d {hours} h"),
    }
}

/// A count of thousandths, without the zeros that end it.
fn trimmed(thousandths: u64, decimals: usize) -> String {
    let text = format!("{}.{:0decimals$}", thousandths / 1_000, thousandths % 1_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

impl Lost {
    /// How, in words.
    pub(super) const fn phrase(self) -> &'static str {
        match self {
            Self::Partition => "partition",
            Self::CableOut => "cable out",
            Self::ByChance => "by chance",
            Self::InBurst => "in a burst",
            Self::InOutage => "in an outage",
            Self::QueueFull => "queue full",
            Self::Chosen => "chosen",
            Self::NobodyThere => "nobody there",
            Self::RingFull => "ring full",
            Self::Refused(why) => why,
        }
    }
}

impl Note {
    /// What happened, in words, without where.
    pub(super) fn phrase(&self, trace: &Trace) -> String {
        match &self.what {
            Happening::KeepAlive { event, .. } => event_phrase(*event),
            Happening::Ended { reason, .. } => format!("connection ended: {}", Why(*reason)),
            Happening::Crashed => "crashed".to_owned(),
            Happening::Rebooted { with_memory: true } => "rebooted, memory kept".to_owned(),
            Happening::Rebooted { with_memory: false } => "rebooted, memory lost".to_owned(),
            Happening::Sleeps { until } => {
                let duration = until.saturating_duration_since(self.at);
                format!("sleeps for {}", length(duration))
            }
            Happening::Woke => "woke".to_owned(),
            Happening::Room(room) => format!("device has room: {room:?}"),
            Happening::ClockJumped(by) => format!("clock set forward {}", length(*by)),
            Happening::ClockSteppedBack(by) => format!("clock set back {}", length(*by)),
            Happening::ClockDrifts(ppm) => format!("clock drifts {ppm:+} ppm"),
            Happening::ClockTicks(tick) => format!("clock ticks every {}", length(*tick)),
            Happening::Partitioned { from: None } => "partitioned".to_owned(),
            Happening::Partitioned { from: Some(from) } => {
                format!("partitioned away from {}", trace.name(*from))
            }
            Happening::Unplugged => "unplugged".to_owned(),
            Happening::Repaired => "repaired".to_owned(),
            Happening::Held => "holds what is sent".to_owned(),
            Happening::Released => "releases what it held".to_owned(),
            Happening::ConditionsChanged { from } => {
                format!("other conditions away from {}", trace.name(*from))
            }
            Happening::MappingExpired => "mapping expired".to_owned(),
            Happening::Text(text) => text.clone(),
        }
    }
}

fn event_phrase(event: Event) -> String {
    match event {
        Event::Suspect { unanswered: 0 } => "suspect: no probe could leave".to_owned(),
        Event::Suspect { unanswered } => format!("suspect: {unanswered} unanswered"),
        Event::Recovered { unanswered } => format!("recovered after {unanswered} unanswered"),
        Event::TimedOut(verdict) => format!("given up: {}", Evidence(verdict)),
    }
}

/// What a verdict rests on.
struct Evidence(Verdict);

impl fmt::Display for Evidence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Verdict {
            cause,
            silent_for,
            unanswered,
            unsent,
        } = self.0;
        if cause == Cause::UserTimeout {
            f.write_str("user timeout, ")?;
        }
        write!(f, "{unanswered} unanswered, ")?;
        if unsent > 0 {
            write!(f, "{unsent} unsent, ")?;
        }
        // As the configuration says it: in seconds.
        let silent = trimmed(u64::try_from(silent_for.as_millis()).unwrap_or(u64::MAX), 3);
        write!(f, "silent for {silent} s")
    }
}

struct Why(CloseReason);

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self.0 {
            CloseReason::KeepAlive(_) => "keep-alive",
            CloseReason::UserTimeout(_) => "user timeout",
            CloseReason::PeerReset {
                while_probing: true,
            } => "reset by the peer, while probing",
            CloseReason::PeerReset {
                while_probing: false,
            } => "reset by the peer",
            CloseReason::Closed => "closed",
            CloseReason::LocalAbort => "aborted here",
            CloseReason::AddressLost => "address lost",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Lengths of time read as people say them.
    #[test]
    fn lengths() {
        let cases = [
            (0, "0 s"),
            (1_500, "1.5 ms"),
            (75_000_000, "1 min 15 s"),
            (9_025_000, "9.025 s"),
            (7_200_010_000, "2 h"),
            (7_875_000_000, "2 h 11 min"),
            (90_000_000_000, "1 d 1 h"),
        ];
        for (micros, text) in cases {
            assert_eq!(length(Duration::from_micros(micros)), text);
        }
    }

    /// Seconds have as many decimals as are asked for.
    #[test]
    fn seconds_with_decimals() {
        let at = BEGINNING.saturating_add(Duration::from_micros(1_020_300));
        assert_eq!(seconds(at, 6), "1.020300");
        assert_eq!(seconds(at, 3), "1.020");
        assert_eq!(seconds(Instant::ZERO, 3), "0.000");
    }
}
