//! Chances, as integers.

use core::fmt;

use super::SimError;

/// How many of how many: `Ratio::new(1, 20)` is one in twenty.
///
/// Integers, so that a run is the same on every machine.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Ratio {
    part: u32,
    whole: u32,
}

impl Ratio {
    /// Never.
    pub const NEVER: Self = Self { part: 0, whole: 1 };
    /// Always.
    pub const ALWAYS: Self = Self { part: 1, whole: 1 };

    /// Makes a ratio: `part` of `whole`.
    ///
    /// # Errors
    ///
    /// [`SimError::ImpossibleRatio`] if `whole` is zero or less than `part`.
    pub const fn new(part: u32, whole: u32) -> Result<Self, SimError> {
        if whole == 0 || part > whole {
            Err(SimError::ImpossibleRatio { part, whole })
        } else {
            Ok(Self { part, whole })
        }
    }

    /// Makes a ratio of so many in a hundred.
    ///
    /// # Errors
    ///
    /// [`SimError::ImpossibleRatio`] if that is more than a hundred.
    pub const fn percent(part: u32) -> Result<Self, SimError> {
        Self::new(part, 100)
    }

    /// Returns the numerator.
    #[must_use]
    pub const fn part(self) -> u32 {
        self.part
    }

    /// Returns the denominator.
    #[must_use]
    pub const fn whole(self) -> u32 {
        self.whole
    }
}

impl Default for Ratio {
    fn default() -> Self {
        Self::NEVER
    }
}

impl fmt::Display for Ratio {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.part, self.whole)
    }
}
