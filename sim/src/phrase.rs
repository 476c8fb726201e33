//! What the text, the capture and the chart call what happened.

use core::fmt;
use core::time::Duration;

use ::smoltcp::iface::SocketHandle;

use super::trace::{Happening, Lost, Note};
use super::world::START;
use super::{Room, Trace};
use crate::smoltcp::CloseReason;
use crate::{Cause, Event, Instant, Verdict};

/// The time since the world began, in seconds.
pub(super) fn seconds(at: Instant, decimals: usize) -> String {
    in_seconds(at.saturating_duration_since(START), decimals)
}

pub(super) fn in_seconds(duration: Duration, decimals: usize) -> String {
    let micros = format!("{:06}", duration.subsec_micros());
    let fraction = micros.get(..decimals.min(6)).unwrap_or_default();
    format!("{}.{fraction}", duration.as_secs())
}

/// A length of time as a person says it: its two greatest units, rounded, and thousandths only of
/// what is short.
pub(super) fn length(duration: Duration) -> String {
    let micros = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
    match micros {
        0 => "0 s".to_owned(),
        1..1_000_000 => format!("{} ms", thousandths(micros)),
        1_000_000..10_000_000 => format!("{} s", thousandths(micros / 1_000)),
        _ => long_length(micros.saturating_add(500_000) / 1_000_000),
    }
}

fn long_length(seconds: u64) -> String {
    let minutes = seconds.saturating_add(30) / 60;
    let hours = seconds.saturating_add(1_800) / 3_600;
    match (seconds, minutes, hours) {
        (..60, _, _) => two_units(0, "min", seconds, "s"),
        (_, ..60, _) => two_units(seconds / 60, "min", seconds % 60, "s"),
        (_, _, ..24) => two_units(minutes / 60, "h", minutes % 60, "min"),
        _ => two_units(hours / 24, "d", hours % 24, "h"),
    }
}

fn two_units(great: u64, great_unit: &str, small: u64, small_unit: &str) -> String {
    match (great, small) {
        (0, _) => format!("{small} {small_unit}"),
        (_, 0) => format!("{great} {great_unit}"),
        _ => format!("{great} {great_unit} {small} {small_unit}"),
    }
}

/// A count of thousandths, as a number without the zeros that end it.
fn thousandths(count: u64) -> String {
    let text = format!("{}.{:03}", count / 1_000, count % 1_000);
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
            Self::NoRoom => "no room",
            Self::NobodyThere => "no receiver",
            Self::RingFull => "ring full",
            Self::Refused(why) => why,
        }
    }
}

impl Note {
    /// What happened and where, in words.
    pub(super) fn sentence(&self, trace: &Trace) -> String {
        let what = self.phrase(trace);
        match (self.node, self.link.and_then(|link| trace.ends(link))) {
            (Some(node), _) => format!("{}: {what}", trace.name(node)),
            (None, Some([a, b])) => format!("{}-{}: {what}", trace.name(a), trace.name(b)),
            (None, None) => what,
        }
    }

    /// What happened, in words.
    pub(super) fn phrase(&self, trace: &Trace) -> String {
        match &self.what {
            Happening::KeepAlive { handle, event } => of_socket(*handle, event_phrase(*event)),
            Happening::Ended { handle, reason } => {
                of_socket(*handle, format!("connection ended: {}", Why(*reason)))
            }
            Happening::Crashed => "crashed".to_owned(),
            Happening::Rebooted { with_memory: true } => "rebooted, memory kept".to_owned(),
            Happening::Rebooted { with_memory: false } => "rebooted, memory lost".to_owned(),
            Happening::Sleeps { until } => {
                let duration = until.saturating_duration_since(self.at);
                format!("sleeps for {}", length(duration))
            }
            Happening::Woke => "woke".to_owned(),
            Happening::Room(room) => room_phrase(*room),
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
            Happening::Held { from: None } => "holds what is sent".to_owned(),
            Happening::Held { from: Some(from) } => {
                format!("holds what is sent away from {}", trace.name(*from))
            }
            Happening::Released => "releases what it held".to_owned(),
            Happening::ConditionsChanged { from } => {
                format!("other conditions away from {}", trace.name(*from))
            }
            Happening::MappingExpired { inside, outside } => {
                format!("mapping {inside}-{outside} expired")
            }
            Happening::MappingEvicted { inside, outside } => {
                format!("mapping {inside}-{outside} evicted")
            }
            Happening::Text(text) => text.clone(),
        }
    }
}

/// Names the socket, unless it is the first one, which mostly is the only one.
fn of_socket(handle: SocketHandle, words: String) -> String {
    match handle.to_string().as_str() {
        "#0" => words,
        number => format!("socket {number} {words}"),
    }
}

fn event_phrase(event: Event) -> String {
    match event {
        Event::Suspect { unanswered: 0 } => "suspect: no probe has left".to_owned(),
        Event::Suspect { unanswered } => format!("suspect: {unanswered} unanswered"),
        Event::Recovered { unanswered } => format!("recovered after {unanswered} unanswered"),
        Event::TimedOut(verdict) => format!("given up: {}", Evidence(verdict)),
        _ => event.to_string(),
    }
}

fn room_phrase(room: Room) -> String {
    match room {
        Room::Plenty => "device has room".to_owned(),
        Room::Frames(1) => "device has room for 1 frame more".to_owned(),
        Room::Frames(frames) => format!("device has room for {frames} frames more"),
        Room::NoneToTransmit => "device takes nothing to send".to_owned(),
        Room::None => "device takes and gives nothing".to_owned(),
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
            failed_at,
        } = self.0;
        if cause == Cause::UserTimeout {
            f.write_str("user timeout, ")?;
        }
        write!(f, "{unanswered} unanswered, ")?;
        if unsent > 0 {
            write!(f, "{unsent} unsent, ")?;
        }
        // As the configuration says it: in seconds.
        let silent = thousandths(u64::try_from(silent_for.as_millis()).unwrap_or(u64::MAX));
        write!(f, "failed at the {failed_at}, silent for {silent} s")
    }
}

struct Why(CloseReason);

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let reason = self.0;
        f.write_str(match reason {
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
            _ => return reason.fmt(f),
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
            (12_400_000, "12 s"),
            (74_990_000, "1 min 15 s"),
            (3_599_900_000, "1 h"),
            (7_199_980_000, "2 h"),
            (7_875_000_000, "2 h 11 min"),
            (86_399_000_000, "1 d"),
            (90_000_000_000, "1 d 1 h"),
        ];
        for (micros, text) in cases {
            assert_eq!(length(Duration::from_micros(micros)), text);
        }
    }

    /// Seconds have as many decimals as are asked for.
    #[test]
    fn seconds_with_decimals() {
        let at = START.saturating_add(Duration::from_micros(1_020_300));
        assert_eq!(seconds(at, 6), "1.020300");
        assert_eq!(seconds(at, 3), "1.020");
        assert_eq!(seconds(Instant::ZERO, 3), "0.000");
    }
}
