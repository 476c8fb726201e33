//! Conversions to and from `embassy-time`.
//!
//! embassy counts ticks, [`TICK_HZ`] of them a second, a rate chosen when the firmware is built.
//! Moments convert with [`From`]; [`Duration`]s, foreign on both sides, with the two functions
//! here. What lies beyond the other side's range saturates, and where the clocks do not divide
//! evenly nothing comes out early: a clock reading is rounded down, a deadline and a duration up.
//!
//! ```
//! use tcp_keepalive::Instant;
//!
//! // The clock, on its way in; the deadline, on its way out to `Timer::at`.
//! let now = Instant::from(embassy_time::Instant::from_secs(7));
//! let deadline = embassy_time::Instant::from(now);
//! assert_eq!(deadline.as_secs(), 7);
//! ```

use core::time::Duration;

use embassy_time::TICK_HZ;

use crate::time::{Instant, micros_rounded_up};

const MICROS_PER_SEC: u64 = 1_000_000;

impl From<embassy_time::Instant> for Instant {
    /// The clock's reading, rounded down to a microsecond.
    fn from(instant: embassy_time::Instant) -> Self {
        Self::from_micros(rescale_down(instant.as_ticks(), TICK_HZ, MICROS_PER_SEC))
    }
}

impl From<Instant> for embassy_time::Instant {
    /// The first tick that is not before the moment.
    fn from(instant: Instant) -> Self {
        Self::from_ticks(rescale_up(instant.as_micros(), MICROS_PER_SEC, TICK_HZ))
    }
}

/// Converts an embassy duration to one for a [`Config`](crate::Config), rounded up to a microsecond.
#[must_use]
pub fn duration_from_embassy(duration: embassy_time::Duration) -> Duration {
    Duration::from_micros(rescale_up(duration.as_ticks(), TICK_HZ, MICROS_PER_SEC))
}

/// Converts a duration to embassy's ticks, rounded up to a whole one.
#[must_use]
pub fn duration_to_embassy(duration: Duration) -> embassy_time::Duration {
    let micros = micros_rounded_up(duration);
    embassy_time::Duration::from_ticks(rescale_up(micros, MICROS_PER_SEC, TICK_HZ))
}

/// `count` units of a `from`-th of a second in whole units of a `to`-th, rounded down. Whole
/// seconds are kept apart so that nothing overflows before the result does.
const fn rescale_down(count: u64, from: u64, to: u64) -> u64 {
    let (Some(seconds), Some(rest)) = (count.checked_div(from), count.checked_rem(from)) else {
        return u64::MAX;
    };
    let Some(fraction) = rest.saturating_mul(to).checked_div(from) else {
        return u64::MAX;
    };
    seconds.saturating_mul(to).saturating_add(fraction)
}

/// As [`rescale_down`], rounded up.
const fn rescale_up(count: u64, from: u64, to: u64) -> u64 {
    let down = rescale_down(count, from, to);
    if rescale_down(down, to, from) < count {
        down.saturating_add(1)
    } else {
        down
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A kilohertz clock is woken at the tick after a deadline that falls between two.
    #[test]
    fn deadlines_round_up_to_a_tick() {
        assert_eq!(rescale_up(10_000_500, MICROS_PER_SEC, 1_000), 10_001);
        assert_eq!(rescale_up(10_000_000, MICROS_PER_SEC, 1_000), 10_000);
    }

    /// A 32768 Hz reading is never ahead of the time it stands for.
    #[test]
    fn readings_round_down_to_a_microsecond() {
        assert_eq!(rescale_down(1, 32_768, MICROS_PER_SEC), 30);
        assert_eq!(rescale_down(32_768, 32_768, MICROS_PER_SEC), MICROS_PER_SEC);
    }

    /// Both ends of both scales survive.
    #[test]
    fn conversions_saturate() {
        assert_eq!(rescale_up(u64::MAX, 1_000, MICROS_PER_SEC), u64::MAX);
        assert_eq!(
            rescale_up(u64::MAX, MICROS_PER_SEC, 1_000_000_000),
            u64::MAX
        );
        let end = embassy_time::Instant::from(Instant::MAX);
        assert!(Instant::from(end) >= Instant::from_micros(u64::MAX / 2));
        assert!(
            duration_to_embassy(Duration::MAX)
                >= embassy_time::Duration::from_secs(u64::MAX / TICK_HZ / 2)
        );
        assert!(duration_from_embassy(embassy_time::Duration::MAX) > Duration::from_secs(1 << 40));
    }

    /// What embassy says survives the round trip at this build's tick rate.
    #[test]
    fn ticks_survive_the_round_trip() {
        for ticks in [0, 1, 2, 999, 1_000_000, 123_456_789_012] {
            let instant = embassy_time::Instant::from_ticks(ticks);
            assert_eq!(embassy_time::Instant::from(Instant::from(instant)), instant);
            let duration = embassy_time::Duration::from_ticks(ticks);
            assert_eq!(
                duration_to_embassy(duration_from_embassy(duration)),
                duration
            );
        }
    }
}
