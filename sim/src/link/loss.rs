//! Frames that get lost.

use core::ops::RangeInclusive;
use core::time::Duration;

use super::super::trace::Lost;
use super::super::{Ratio, Rng, SimError};
use crate::Instant;

/// How frames get lost on one direction of a link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Loss {
    /// None does.
    #[default]
    None,
    /// Each by itself, with the same chance.
    Random {
        /// The chance.
        ratio: Ratio,
        /// After so many in a row the next one is spared. This is what makes a promise possible
        /// about a network that loses at random: see [`Loss::at_most_in_a_row`].
        longest_run: Option<u32>,
    },
    /// In bursts, counted in frames (Gilbert's model): a burst begins and ends with a chance each
    /// at each frame, and takes all frames in between.
    Bursts {
        /// The chance that a burst begins.
        begins: Ratio,
        /// The chance that it ends.
        ends: Ratio,
    },
    /// In [outages](Loss::outages), measured in time: nothing passes for some time, everything
    /// for some time.
    Outages(Outages),
}

/// How long outages last, and how far they are apart.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outages {
    up: RangeInclusive<Duration>,
    down: RangeInclusive<Duration>,
}

/// The shortest time between outages.
const SHORTEST_UP: Duration = Duration::from_millis(1);
/// How many outages, or times in between, one frame may find to be over. After more it does not
/// matter any more where they would stand.
const MOST_CHANGES: u32 = 100_000;

impl Loss {
    /// Loses each frame by itself, with the same chance.
    #[must_use]
    pub const fn random(ratio: Ratio) -> Self {
        Self::Random {
            ratio,
            longest_run: None,
        }
    }

    /// Does the same, but never loses more than `longest_run` in a row.
    ///
    /// If neither direction of a link loses more than `r` frames in a row, and nothing but probes
    /// and answers passes, then of `r * r + 2 * r + 1` probes at least one is answered.
    #[must_use]
    pub const fn at_most_in_a_row(ratio: Ratio, longest_run: u32) -> Self {
        Self::Random {
            ratio,
            longest_run: Some(longest_run),
        }
    }

    /// Loses frames in bursts of `1 / ends` frames on average.
    #[must_use]
    pub const fn bursts(begins: Ratio, ends: Ratio) -> Self {
        Self::Bursts { begins, ends }
    }

    /// Loses frames in outages whose length is drawn from `down`, between which the time drawn from
    /// `up` passes. It begins with a time that is up.
    ///
    /// # Errors
    ///
    /// [`SimError::EmptyRange`] if a range ends before it starts, or less than a millisecond could
    /// be up.
    pub fn outages(
        up: RangeInclusive<Duration>,
        down: RangeInclusive<Duration>,
    ) -> Result<Self, SimError> {
        if up.is_empty() || down.is_empty() || *up.start() < SHORTEST_UP {
            return Err(SimError::EmptyRange);
        }
        Ok(Self::Outages(Outages { up, down }))
    }
}

/// Where one direction's luck stands.
#[derive(Clone, Debug)]
pub(super) struct Luck {
    run: u32,
    in_burst: bool,
    is_up: bool,
    /// The outage begins, or ends.
    changes_at: Option<Instant>,
}

impl Luck {
    pub(super) const fn new() -> Self {
        Self {
            run: 0,
            in_burst: false,
            is_up: true,
            changes_at: None,
        }
    }

    /// What becomes of the frame that is sent now.
    pub(super) fn strikes(&mut self, loss: &Loss, now: Instant, rng: &mut Rng) -> Option<Lost> {
        match loss {
            Loss::None => None,
            Loss::Random { ratio, longest_run } => {
                let is_spared = longest_run.is_some_and(|longest| self.run >= longest);
                let is_lost = rng.happens(*ratio) && !is_spared;
                self.run = if is_lost {
                    self.run.saturating_add(1)
                } else {
                    0
                };
                is_lost.then_some(Lost::ByChance)
            }
            Loss::Bursts { begins, ends } => {
                let changes = rng.happens(if self.in_burst { *ends } else { *begins });
                self.in_burst ^= changes;
                self.in_burst.then_some(Lost::InBurst)
            }
            Loss::Outages(outages) => {
                self.go_on(outages, now, rng);
                (!self.is_up).then_some(Lost::InOutage)
            }
        }
    }

    /// Lets outages begin and end until now.
    fn go_on(&mut self, Outages { up, down }: &Outages, now: Instant, rng: &mut Rng) {
        let mut changes_at = match self.changes_at {
            Some(at) => at,
            None => now.saturating_add(rng.duration(up.clone())),
        };
        for _ in 0..MOST_CHANGES {
            if changes_at > now {
                break;
            }
            self.is_up = !self.is_up;
            let lasts = rng.duration(if self.is_up { up } else { down }.clone());
            changes_at = changes_at.saturating_add(lasts);
        }
        if changes_at <= now {
            self.is_up = true;
            changes_at = now.saturating_add(rng.duration(up.clone()));
        }
        self.changes_at = Some(changes_at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fates(loss: &Loss, count: u64) -> Vec<bool> {
        let (mut luck, mut rng) = (Luck::new(), Rng::new(1));
        let at = |number: u64| Instant::from_millis(number.saturating_mul(10));
        (0..count)
            .map(|number| luck.strikes(loss, at(number), &mut rng).is_some())
            .collect()
    }

    fn longest_run(fates: &[bool]) -> usize {
        let runs = fates.split(|is_lost| !is_lost).map(<[bool]>::len);
        runs.max().unwrap_or(0)
    }

    /// Random loss loses as many as it says, and may lose many in a row.
    #[test]
    fn random_loss_keeps_its_ratio() {
        let fates = fates(&Loss::random(Ratio::percent(30).unwrap()), 10_000);
        let lost = fates.iter().filter(|is_lost| **is_lost).count();
        assert!((2850..3150).contains(&lost), "{lost}");
        assert!(longest_run(&fates) > 4);
    }

    /// Loss with a longest run never exceeds it, and reaches it.
    #[test]
    fn longest_run_is_kept() {
        let loss = Loss::at_most_in_a_row(Ratio::percent(60).unwrap(), 2);
        assert_eq!(longest_run(&fates(&loss, 10_000)), 2);
    }

    /// Bursts last as long as they should on average.
    #[test]
    fn bursts_have_their_length() {
        let bursts = Loss::bursts(Ratio::percent(1).unwrap(), Ratio::percent(20).unwrap());
        let fates = fates(&bursts, 100_000);
        let lost = fates.iter().filter(|is_lost| **is_lost).count();
        // One burst in 100 frames up, of 5 frames: about one in 21.
        assert!((4000..5600).contains(&lost), "{lost}");
        assert!(longest_run(&fates) > 10);
    }

    /// An outage is over when its time is.
    #[test]
    fn outages_have_their_time() {
        let seconds = |count| Duration::from_secs(count);
        let loss = Loss::outages(seconds(2)..=seconds(2), seconds(1)..=seconds(1)).unwrap();
        let fates = fates(&loss, 3000);
        for (number, is_lost) in fates.iter().enumerate() {
            assert_eq!(*is_lost, number % 300 >= 200, "{number}");
        }
    }

    /// Outages with less than a millisecond in between cannot be had.
    #[test]
    fn outages_without_a_time_in_between_cannot_be_had() {
        let never = Duration::ZERO..=Duration::ZERO;
        let least = Duration::from_millis(1);
        for (up, is_refused) in [
            (Duration::ZERO, true),
            (Duration::from_nanos(1), true),
            (least.saturating_sub(Duration::from_nanos(1)), true),
            (least, false),
        ] {
            let loss = Loss::outages(up..=least, never.clone());
            assert_eq!(loss.is_err(), is_refused, "{up:?}");
        }
    }

    /// Outages that no frame met for an age, or until the end of time, take no time to find
    /// out about.
    #[test]
    fn outages_of_an_age_are_skipped() {
        let millisecond = Duration::from_millis(1)..=Duration::from_millis(1);
        let loss = Loss::outages(millisecond.clone(), millisecond).unwrap();
        let (mut luck, mut rng) = (Luck::new(), Rng::new(1));
        let century = Instant::from_millis(100 * 365 * 86_400_000);
        for now in [Instant::ZERO, century, Instant::from_micros(u64::MAX)] {
            luck.strikes(&loss, now, &mut rng);
        }
        assert!(luck.is_up);
    }
}
