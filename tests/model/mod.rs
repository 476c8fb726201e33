//! The machine, a second time and in the plainest way, and what holds the two against each other.
//!
//! Shared by `tests/model_random.rs` and by the fuzz target `machine`.

#![allow(
    clippy::arithmetic_side_effects,
    reason = "a model that goes wrong fails, and that is all it has to do"
)]

pub(crate) mod both;
pub(crate) mod operation;
pub(crate) mod pair;
mod rules;
