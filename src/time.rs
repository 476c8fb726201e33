//! The one notion of time the core has.

use core::fmt;
use core::time::Duration;

const MICROS_PER_SEC: u64 = 1_000_000;
const MICROS_PER_MILLI: u64 = 1_000;
const NANOS_PER_MICRO: u32 = 1_000;

/// A moment, in microseconds since an arbitrary epoch (system start, say).
///
/// The crate never reads a clock: every moment it works with was handed to it. Any monotonic clock
/// will do. If it steps back, no deadline is later than it would be from then on (K10).
/// All arithmetic saturates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Instant {
    micros: u64,
}

impl Instant {
    /// The epoch: no moment is earlier.
    pub const ZERO: Self = Self { micros: 0 };
    /// The last moment there is, some 584 thousand years after the epoch.
    pub const MAX: Self = Self { micros: u64::MAX };

    /// Returns the moment `micros` microseconds after the epoch.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self { micros }
    }

    /// Returns the moment `millis` milliseconds after the epoch, or [`Instant::MAX`] if that is
    /// past it.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self {
            micros: millis.saturating_mul(1_000),
        }
    }

    /// Returns the microseconds since the epoch.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.micros
    }

    /// Returns the moment `duration` later, or [`Instant::MAX`] if that is past it. A fraction of a
    /// microsecond counts as a whole one, so that nothing falls due early.
    #[must_use]
    pub const fn saturating_add(self, duration: Duration) -> Self {
        self.plus_micros(micros_rounded_up(duration))
    }

    /// Returns the time from `earlier` to `self`; zero if `earlier` is in fact later.
    #[must_use]
    pub const fn saturating_duration_since(self, earlier: Self) -> Duration {
        duration_from_micros(self.micros_since(earlier))
    }

    #[inline(never)]
    pub(crate) const fn plus_millis(self, millis: u32) -> Self {
        self.plus_micros((millis as u64).wrapping_mul(MICROS_PER_MILLI))
    }

    const fn plus_micros(self, micros: u64) -> Self {
        Self {
            micros: self.micros.saturating_add(micros),
        }
    }

    #[inline(never)]
    pub(crate) const fn micros_since(self, earlier: Self) -> u64 {
        self.micros.saturating_sub(earlier.micros)
    }
}

impl fmt::Display for Instant {
    /// Seconds since the epoch, to the microsecond: `7.250000 s`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let since = duration_from_micros(self.micros);
        write!(f, "{}.{:06} s", since.as_secs(), since.subsec_micros())
    }
}

#[cfg(feature = "defmt")]
impl defmt::Format for Instant {
    fn format(&self, f: defmt::Formatter<'_>) {
        defmt::write!(f, "{=u64:us}", self.as_micros());
    }
}

/// `micros` microseconds.
pub(crate) const fn duration_from_micros(micros: u64) -> Duration {
    if cfg!(feature = "smoltcp") {
        // smoltcp divides by 64 bits anyway.
        Duration::from_micros(micros)
    } else {
        duration_by_digits(micros)
    }
}

/// [`Duration::from_micros`] without its 64-bit division: that is 0.9 KiB of flash on a 32-bit
/// processor.
const fn duration_by_digits(micros: u64) -> Duration {
    // A second is 64 * 15 625 microseconds. Each digit of 16 bits, with the remainder before it,
    // fits into 32 bits.
    const DIVISOR: u32 = 15_625;
    let [d3, d2, d1, d0] = digits(micros >> 6);
    let (q3, rest) = (d3 / DIVISOR, d3 % DIVISOR);
    let (q2, rest) = divide(rest, d2, DIVISOR);
    let (q1, rest) = divide(rest, d1, DIVISOR);
    let (q0, rest) = divide(rest, d0, DIVISOR);
    let upper = (q3 << 16 | q2) as u64;
    let lower = (q1 << 16 | q0) as u64;
    let [low_bits, ..] = micros.to_le_bytes();
    let rest = rest << 6 | (low_bits & 0x3f) as u32;
    Duration::new(upper << 32 | lower, rest.wrapping_mul(NANOS_PER_MICRO))
}

/// The four digits of 16 bits, the highest first.
const fn digits(number: u64) -> [u32; 4] {
    let [b7, b6, b5, b4, b3, b2, b1, b0] = number.to_be_bytes();
    [
        u32::from_be_bytes([0, 0, b7, b6]),
        u32::from_be_bytes([0, 0, b5, b4]),
        u32::from_be_bytes([0, 0, b3, b2]),
        u32::from_be_bytes([0, 0, b1, b0]),
    ]
}

const fn divide(rest: u32, digit: u32, divisor: u32) -> (u32, u32) {
    let number = rest << 16 | digit;
    match (number.checked_div(divisor), number.checked_rem(divisor)) {
        (Some(quotient), Some(rest)) => (quotient, rest),
        _ => (0, 0),
    }
}

/// `duration` in microseconds, a fraction counting as a whole one; `u64::MAX` if it is longer
/// than that can say.
pub(crate) const fn micros_rounded_up(duration: Duration) -> u64 {
    duration
        .as_secs()
        .saturating_mul(MICROS_PER_SEC)
        .saturating_add(duration.subsec_nanos().div_ceil(NANOS_PER_MICRO) as u64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adding past the end of time stays at the end of time.
    #[test]
    fn addition_saturates() {
        let late = Instant::from_micros(u64::MAX - 1);
        assert_eq!(late.saturating_add(Duration::from_micros(1)), Instant::MAX);
        assert_eq!(late.saturating_add(Duration::MAX), Instant::MAX);
        assert_eq!(Instant::from_millis(u64::MAX), Instant::MAX);
    }

    /// Seconds and the rest come out as the standard library has them.
    #[test]
    fn durations_are_the_standard_librarys() {
        let around = |micros: u64| micros.saturating_sub(2)..=micros.saturating_add(2);
        for shift in 0..64 {
            for micros in around(1 << shift).chain(around(1_000_000_u64.saturating_mul(1 << shift)))
            {
                assert_eq!(duration_by_digits(micros), Duration::from_micros(micros));
            }
        }
    }

    /// A moment is shown in seconds, to the microsecond.
    #[test]
    fn a_moment_is_shown_in_seconds() {
        extern crate std;
        use std::string::ToString;

        assert_eq!(Instant::from_micros(7_250_001).to_string(), "7.250001 s");
        assert_eq!(Instant::ZERO.to_string(), "0.000000 s");
        assert_eq!(Instant::MAX.to_string(), "18446744073709.551615 s");
    }

    /// Time since a later moment is nothing, not an underflow.
    #[test]
    fn duration_since_the_future_is_zero() {
        let (early, late) = (Instant::from_millis(1), Instant::from_millis(3));
        assert_eq!(early.saturating_duration_since(late), Duration::ZERO);
        assert_eq!(
            late.saturating_duration_since(early),
            Duration::from_millis(2)
        );
    }

    /// A fraction of a microsecond never makes anything due early.
    #[test]
    fn fractions_round_up() {
        assert_eq!(micros_rounded_up(Duration::from_nanos(1)), 1);
        assert_eq!(micros_rounded_up(Duration::from_nanos(1_000)), 1);
        assert_eq!(micros_rounded_up(Duration::from_nanos(1_001)), 2);
        assert_eq!(micros_rounded_up(Duration::MAX), u64::MAX);
    }
}
