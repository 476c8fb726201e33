//! Many seeds.

use crate::failure::Failure;
use crate::options::SweepOptions;

pub(crate) fn run(_: &SweepOptions) -> Result<(), Failure> {
    Err(Failure::Usage("there is no sweep yet".to_owned()))
}
