//! Chance that repeats.

use core::ops::RangeInclusive;
use core::time::Duration;

use rand_core::Rng as _;
use rand_pcg::Pcg64;

use super::Ratio;

/// Two odd constants of no significance, to make seeds and streams of small numbers.
const STREAM: u128 = 0x9e37_79b9_7f4a_7c15_f39c_c060_5ced_c835;
const SPREAD: u128 = 0x2360_ed05_1fc6_5da4_4385_df64_9fcc_f645;

/// A source of random numbers: PCG, the same numbers for the same seed on every machine.
///
/// Each node and each direction of each link has its own, [forked](Rng::fork) from the world's in
/// the order in which they were added, so that more traffic here is no other luck there.
#[derive(Clone, Debug)]
pub struct Rng(Pcg64);

impl Rng {
    /// Makes a source whose numbers all follow from `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        let state = u128::from(seed).wrapping_mul(SPREAD);
        let mut rng = Self(Pcg64::new(state, STREAM));
        // Of neighbouring seeds the first numbers are alike.
        rng.next_u64();
        rng.next_u64();
        rng
    }

    /// Returns another source, which goes its own way.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self::new(self.next_u64())
    }

    /// Returns any number.
    pub fn next_u64(&mut self) -> u64 {
        self.0.next_u64()
    }

    /// Returns a number below `end`; 0 if that is 0. The bias is at most `end / 2^64`.
    pub fn below(&mut self, end: u64) -> u64 {
        let product = u128::from(self.next_u64()).wrapping_mul(u128::from(end));
        u64::try_from(product >> 64).unwrap_or(0)
    }

    /// Returns a number from `range`; its start if it is empty.
    pub fn within(&mut self, range: RangeInclusive<u64>) -> u64 {
        let (start, end) = range.into_inner();
        let width = end.saturating_sub(start).saturating_add(1);
        start.saturating_add(self.below(width))
    }

    /// Returns a duration from `range`, in whole microseconds; its start if it is empty.
    pub fn duration(&mut self, range: RangeInclusive<Duration>) -> Duration {
        let micros = |duration: &Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        Duration::from_micros(self.within(micros(range.start())..=micros(range.end())))
    }

    /// Whether something happens that happens so often. What never happens draws no number.
    pub fn happens(&mut self, ratio: Ratio) -> bool {
        ratio != Ratio::NEVER && self.below(u64::from(ratio.whole())) < u64::from(ratio.part())
    }

    /// Returns one of `choices`, each as likely; `None` if there are none.
    pub fn pick<'c, T>(&mut self, choices: &'c [T]) -> Option<&'c T> {
        let index = self.below(u64::try_from(choices.len()).unwrap_or(u64::MAX));
        choices.get(usize::try_from(index).ok()?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The numbers of a seed are these, on every machine and for good: a seed in a user's notes
    /// is worth nothing otherwise.
    #[test]
    fn numbers_of_a_seed_are_fixed() {
        let mut rng = Rng::new(1);
        let numbers: Vec<u64> = (0..4).map(|_| rng.below(1000)).collect();
        assert_eq!(numbers, [965, 205, 613, 473]);
    }

    /// Neighbouring seeds have nothing in common.
    #[test]
    fn neighbouring_seeds_differ() {
        let firsts: std::collections::BTreeSet<u64> = (0..1000)
            .map(|seed| Rng::new(seed).below(1 << 40))
            .collect();
        assert_eq!(firsts.len(), 1000);
    }

    /// What happens one time in four happens about one time in four.
    #[test]
    fn ratios_hold() {
        let mut rng = Rng::new(7);
        let quarter = Ratio::new(1, 4).unwrap();
        let count = (0..10_000).filter(|_| rng.happens(quarter)).count();
        assert!((2400..2600).contains(&count), "{count}");
        assert!((0..1000).all(|_| !rng.happens(Ratio::NEVER) && rng.happens(Ratio::ALWAYS)));
    }

    /// Ranges include both ends, and an empty one is its start.
    #[test]
    fn ranges_include_both_ends() {
        let mut rng = Rng::new(3);
        let drawn: std::collections::BTreeSet<u64> = (0..200).map(|_| rng.within(5..=8)).collect();
        assert_eq!(drawn.into_iter().collect::<Vec<_>>(), [5, 6, 7, 8]);
        #[expect(clippy::reversed_empty_ranges, reason = "that is the claim")]
        let empty = rng.within(9..=2);
        assert_eq!(empty, 9);
        assert_eq!(rng.pick::<u8>(&[]), None);
    }
}
