//! Frames that take their time, and overtake each other.

use core::time::Duration;

use super::super::{Ratio, Rng};
use crate::Instant;

/// How long frames take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Delay {
    pub(super) latency: Duration,
    /// Up to so much more.
    pub(super) jitter: Duration,
    /// A frame in so many is overtaken by those sent within `by` after it.
    pub(super) reordering: Ratio,
    pub(super) by: Duration,
}

/// When the last frame in order arrives.
#[derive(Clone, Copy, Debug)]
pub(super) struct Order {
    last: Instant,
}

impl Order {
    pub(super) const fn new() -> Self {
        Self {
            last: Instant::ZERO,
        }
    }

    /// When the frame arrives that departs now. Jitter alone reorders nothing.
    pub(super) fn arrival(&mut self, delay: &Delay, departs: Instant, rng: &mut Rng) -> Instant {
        let mut arrives = departs.saturating_add(delay.latency);
        if !delay.jitter.is_zero() {
            arrives = arrives.saturating_add(rng.duration(Duration::ZERO..=delay.jitter));
        }
        if rng.happens(delay.reordering) {
            return arrives.saturating_add(delay.by);
        }
        arrives = arrives.max(self.last);
        self.last = arrives;
        arrives
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn arrivals(delay: &Delay) -> Vec<u64> {
        let (mut order, mut rng) = (Order::new(), Rng::new(5));
        let sent = (0..100).map(Instant::from_millis);
        sent.map(|at| order.arrival(delay, at, &mut rng).as_micros())
            .collect()
    }

    /// Jitter delays some frames, by no more than it says, and lets none overtake.
    #[test]
    fn jitter_keeps_the_order() {
        let delay = Delay {
            latency: Duration::from_millis(10),
            jitter: Duration::from_millis(5),
            ..Delay::default()
        };
        let arrivals = arrivals(&delay);
        assert!(arrivals.is_sorted());
        for (micros, sent) in arrivals.iter().zip(0_u64..) {
            let took = micros - sent * 1000;
            assert!((10_000..=15_000).contains(&took), "{took}");
        }
    }

    /// Reordering lets frames be overtaken.
    #[test]
    fn reordering_breaks_the_order() {
        let delay = Delay {
            latency: Duration::from_millis(10),
            reordering: Ratio::percent(20).unwrap(),
            by: Duration::from_millis(3),
            ..Delay::default()
        };
        assert!(!arrivals(&delay).is_sorted());
    }
}
