//! Links that carry so much and no more.

use core::time::Duration;

use super::super::SimError;
use crate::Instant;

const MICROS_PER_SECOND: u64 = 1_000_000;

/// How fast a link is, and how much may wait for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Rate {
    bits_per_second: u64,
    queue: usize,
}

impl Rate {
    /// Makes a rate of so many bits per second; frames wait while up to `queue` octets do, and are
    /// lost beyond.
    ///
    /// # Errors
    ///
    /// [`SimError::ZeroRate`] for a rate of zero.
    pub const fn new(bits_per_second: u64, queue: usize) -> Result<Self, SimError> {
        if bits_per_second == 0 {
            Err(SimError::ZeroRate)
        } else {
            Ok(Self {
                bits_per_second,
                queue,
            })
        }
    }

    fn micros_for(&self, octets: u64) -> u64 {
        octets
            .saturating_mul(8)
            .saturating_mul(MICROS_PER_SECOND)
            .div_ceil(self.bits_per_second)
    }
}

/// What waits for the link.
#[derive(Clone, Copy, Debug)]
pub(super) struct Queue {
    free_at: Instant,
}

impl Queue {
    pub(super) const fn new() -> Self {
        Self {
            free_at: Instant::ZERO,
        }
    }

    /// When a frame that is sent now has left; `None` if there is no place for it to wait.
    pub(super) fn departure(&mut self, rate: &Rate, now: Instant, len: usize) -> Option<Instant> {
        let longest_wait = rate.micros_for(u64::try_from(rate.queue).unwrap_or(u64::MAX));
        let wait = self.free_at.saturating_duration_since(now);
        if wait > Duration::from_micros(longest_wait) {
            return None;
        }
        let takes = rate.micros_for(u64::try_from(len).unwrap_or(u64::MAX));
        self.free_at = now
            .saturating_add(wait)
            .saturating_add(Duration::from_micros(takes));
        Some(self.free_at)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// At a megabit per second an octet takes 8 µs; frames queue behind each other, and beyond
    /// the queue's length they are lost.
    #[test]
    fn frames_queue_and_overflow() {
        let rate = Rate::new(1_000_000, 200).unwrap();
        let mut queue = Queue::new();
        let at = Instant::from_micros;
        assert_eq!(queue.departure(&rate, at(0), 100), Some(at(800)));
        assert_eq!(queue.departure(&rate, at(0), 100), Some(at(1600)));
        assert_eq!(queue.departure(&rate, at(0), 100), Some(at(2400)));
        assert_eq!(queue.departure(&rate, at(0), 100), None);
        assert_eq!(queue.departure(&rate, at(10_000), 1), Some(at(10_008)));
        assert_eq!(Rate::new(0, 1), Err(SimError::ZeroRate));
    }
}
