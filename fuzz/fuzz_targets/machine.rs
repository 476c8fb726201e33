//! Whatever is done to the machine and in whichever order, it does what its rules say: the
//! comparison that `tests/model_random.rs` makes, with operations that a fuzzer has thought up.
//!
//! `scripts/fuzz`, or `cargo fuzz run --no-cfg-fuzzing -s none machine`

#![no_main]

use libfuzzer_sys::fuzz_target;

#[path = "../../tests/model/mod.rs"]
mod model;

use model::operation::Operation;
use model::pair::Pair;

const MAX_OPERATIONS: usize = 256;

fuzz_target!(|operations: Vec<Operation>| {
    let mut pair = Pair::new();
    for operation in operations.iter().take(MAX_OPERATIONS) {
        pair.apply(operation);
    }
});
