//! Moments and stretches of virtual time.

use std::fmt;
use std::ops::{Add, Sub};

use tcp_keepalive::Instant;

/// A moment, or a stretch of time, to the microsecond. A bare number is seconds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub struct Time {
    pub micros: i64,
}

/// Seconds.
pub const fn s(seconds: i64) -> Time {
    us(seconds * 1_000_000)
}

/// Milliseconds.
pub const fn ms(millis: i64) -> Time {
    us(millis * 1_000)
}

/// Microseconds.
pub const fn us(micros: i64) -> Time {
    Time { micros }
}

impl Time {
    pub const ZERO: Self = us(0);

    /// That moment of a world's clock.
    pub fn instant(self) -> Instant {
        Instant::from_micros(u64::try_from(self.micros).unwrap())
    }

    pub fn duration(self) -> std::time::Duration {
        std::time::Duration::from_micros(u64::try_from(self.micros).unwrap())
    }

    pub fn smoltcp(self) -> smoltcp::time::Duration {
        smoltcp::time::Duration::from_micros(u64::try_from(self.micros).unwrap())
    }
}

impl From<Instant> for Time {
    fn from(instant: Instant) -> Self {
        us(i64::try_from(instant.as_micros()).unwrap_or(i64::MAX))
    }
}

impl From<smoltcp::time::Instant> for Time {
    fn from(instant: smoltcp::time::Instant) -> Self {
        us(instant.total_micros())
    }
}

impl From<i32> for Time {
    fn from(seconds: i32) -> Self {
        s(i64::from(seconds))
    }
}

impl Add for Time {
    type Output = Self;

    fn add(self, other: Self) -> Self {
        us(self.micros + other.micros)
    }
}

impl Sub for Time {
    type Output = Self;

    fn sub(self, other: Self) -> Self {
        us(self.micros - other.micros)
    }
}

impl fmt::Debug for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.micros < 0 { "-" } else { "" };
        let micros = self.micros.unsigned_abs();
        write!(
            f,
            "{sign}{}.{:06} s",
            micros / 1_000_000,
            micros % 1_000_000
        )
    }
}
