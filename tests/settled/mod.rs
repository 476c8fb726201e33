//! Random cases that are the same each time.

use proptest::prelude::ProptestConfig;
use proptest::test_runner::RngSeed;

pub(crate) fn settled() -> ProptestConfig {
    let given = ProptestConfig::default();
    ProptestConfig {
        failure_persistence: None,
        rng_seed: match given.rng_seed {
            RngSeed::Random => RngSeed::Fixed(9293),
            seed @ RngSeed::Fixed(_) => seed,
        },
        ..given
    }
}
