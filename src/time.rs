//! The one notion of time the core has.

use core::time::Duration;

const MICROS_PER_SEC: u64 = 1_000_000;
const NANOS_PER_MICRO: u32 = 1_000;

/// A moment, in microseconds since an arbitrary epoch (system start, say).
///
/// The crate never reads a clock: every moment it works with was handed to it. Any monotonic clock
/// will do. One that steps back kills nobody, but everything falls due as much later as it stepped.
/// All arithmetic saturates.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Instant {
    micros: u64,
}

impl Instant {
    /// The epoch: no moment is earlier.
    pub const ZERO: Self = Self { micros: 0 };
    /// The last moment there is, some 584 thousand years after the epoch.
    pub const MAX: Self = Self { micros: u64::MAX };

    /// The moment `micros` microseconds after the epoch.
    #[must_use]
    pub const fn from_micros(micros: u64) -> Self {
        Self { micros }
    }

    /// The moment `millis` milliseconds after the epoch, or [`Instant::MAX`] if that is past it.
    #[must_use]
    pub const fn from_millis(millis: u64) -> Self {
        Self {
            micros: millis.saturating_mul(1_000),
        }
    }

    /// Microseconds since the epoch.
    #[must_use]
    pub const fn as_micros(self) -> u64 {
        self.micros
    }

    /// The moment `duration` later, or [`Instant::MAX`] if that is past it. A fraction of a
    /// microsecond counts as a whole one, so that nothing falls due early.
    #[must_use]
    pub const fn saturating_add(self, duration: Duration) -> Self {
        self.plus_micros(micros_rounded_up(duration))
    }

    /// The time from `earlier` to `self`; zero if `earlier` is in fact later.
    #[must_use]
    pub const fn saturating_duration_since(self, earlier: Self) -> Duration {
        Duration::from_micros(self.micros_since(earlier))
    }

    pub(crate) const fn plus_micros(self, micros: u64) -> Self {
        Self {
            micros: self.micros.saturating_add(micros),
        }
    }

    pub(crate) const fn minus_micros(self, micros: u64) -> Self {
        Self {
            micros: self.micros.saturating_sub(micros),
        }
    }

    pub(crate) const fn micros_since(self, earlier: Self) -> u64 {
        self.micros.saturating_sub(earlier.micros)
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
