//! What time a node believes it is.

use core::time::Duration;

use crate::Instant;

const MILLION: i128 = 1_000_000;

/// A node's clock against the world's: it may run fast or slow, tick coarsely, and be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Clock {
    /// It showed `shown` when the world's was at `at`, and goes on from there.
    at: Instant,
    shown: Instant,
    drift_ppm: i32,
    tick_micros: u64,
}

impl Clock {
    pub(super) const fn new() -> Self {
        Self {
            at: Instant::ZERO,
            shown: Instant::ZERO,
            drift_ppm: 0,
            tick_micros: 1,
        }
    }

    /// Returns what the clock shows when the world's is at `now`.
    #[must_use]
    pub fn read(&self, now: Instant) -> Instant {
        let exact = self.exact(now).as_micros();
        let into_tick = exact.checked_rem(self.tick_micros).unwrap_or(0);
        Instant::from_micros(exact.saturating_sub(into_tick))
    }

    fn exact(&self, now: Instant) -> Instant {
        let elapsed = now.saturating_duration_since(self.at).as_micros();
        let elapsed = i128::try_from(elapsed).unwrap_or(i128::MAX);
        let scaled = elapsed.saturating_mul(self.rate()).div_euclid(MILLION);
        let shown = i128::from(self.shown.as_micros()).saturating_add(scaled);
        Instant::from_micros(u64::try_from(shown).unwrap_or(u64::MAX))
    }

    /// Returns the first moment of the world's clock at which this one shows `shown` or more; the last
    /// there is if that is never.
    #[must_use]
    pub fn world_time_of(&self, shown: Instant) -> Instant {
        let ticks = shown.as_micros().div_ceil(self.tick_micros);
        let target = i128::from(ticks).saturating_mul(i128::from(self.tick_micros));
        let ahead = target
            .saturating_sub(i128::from(self.shown.as_micros()))
            .max(0);
        let rate = self.rate();
        let elapsed = ahead
            .saturating_mul(MILLION)
            .saturating_add(rate.saturating_sub(1));
        let elapsed = elapsed.div_euclid(rate);
        self.at.saturating_add(Duration::from_micros(
            u64::try_from(elapsed).unwrap_or(u64::MAX),
        ))
    }

    /// Microseconds that it advances in a second of the world's.
    fn rate(&self) -> i128 {
        MILLION.saturating_add(i128::from(self.drift_ppm)).max(1)
    }

    /// Runs so many microseconds per second fast, or, if negative, slow. -999 999 is the least:
    /// a clock does not run backwards.
    pub(super) fn drift(&mut self, now: Instant, ppm: i32) {
        self.rebase(now);
        self.drift_ppm = ppm.max(-999_999);
    }

    /// Shows multiples of `tick` only.
    pub(super) fn tick(&mut self, tick: Duration) {
        self.tick_micros = u64::try_from(tick.as_micros()).unwrap_or(u64::MAX).max(1);
    }

    /// Is set forward.
    pub(super) fn jump(&mut self, now: Instant, by: Duration) {
        self.rebase(now);
        self.shown = self.shown.saturating_add(by);
    }

    /// Is set back, to zero at most.
    pub(super) fn step_back(&mut self, now: Instant, by: Duration) {
        self.rebase(now);
        let micros = u64::try_from(by.as_micros()).unwrap_or(u64::MAX);
        self.shown = Instant::from_micros(self.shown.as_micros().saturating_sub(micros));
    }

    /// Begins at zero again, as the counter of a chip does when it restarts.
    pub(super) fn restart(&mut self, now: Instant) {
        self.at = now;
        self.shown = Instant::ZERO;
    }

    fn rebase(&mut self, now: Instant) {
        self.shown = self.exact(now);
        self.at = now;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn s(seconds: u64) -> Instant {
        Instant::from_millis(seconds.saturating_mul(1000))
    }

    /// A clock that was never set shows the world's time.
    #[test]
    fn untouched_clock_is_right() {
        let clock = Clock::new();
        assert_eq!(clock.read(s(7)), s(7));
        assert_eq!(clock.world_time_of(s(7)), s(7));
    }

    /// A clock that is 100 ppm fast is 1 s ahead after 10 000 s, and what it shows then is what
    /// the world has to wait for.
    #[test]
    fn drift_adds_up() {
        let mut clock = Clock::new();
        clock.drift(s(0), 100);
        assert_eq!(clock.read(s(10_000)), s(10_001));
        assert_eq!(clock.world_time_of(s(10_001)), s(10_000));
    }

    /// Whatever the clock, the moment found for a reading is the first that shows it.
    #[test]
    fn world_time_is_the_first_that_shows_it() {
        for (ppm, tick) in [
            (0, 1),
            (37, 1),
            (-37, 1),
            (0, 10_000),
            (250, 1000),
            (-999_999, 1),
        ] {
            let mut clock = Clock::new();
            clock.jump(s(3), Duration::from_secs(5));
            clock.drift(s(4), ppm);
            clock.tick(Duration::from_micros(tick));
            for micros in [9_000_001, 9_999_999, 12_345_678] {
                let wanted = Instant::from_micros(micros);
                let at = clock.world_time_of(wanted);
                assert!(clock.read(at) >= wanted, "{ppm} {tick} {micros}");
                let before = Instant::from_micros(at.as_micros().saturating_sub(1));
                assert!(clock.read(before) < wanted, "{ppm} {tick} {micros}");
            }
        }
    }

    /// A clock that is set back shows an earlier time, and never one before zero.
    #[test]
    fn step_back_shows_an_earlier_time() {
        let mut clock = Clock::new();
        clock.step_back(s(10), Duration::from_secs(3));
        assert_eq!(clock.read(s(11)), s(8));
        clock.step_back(s(11), Duration::from_secs(3600));
        assert_eq!(clock.read(s(12)), s(1));
    }
}
