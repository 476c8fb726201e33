//! The simulated network as its user sees it: what is done to time, to links and to nodes, and what
//! becomes of the frames.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a helper of a test may fail as a test does"
)]

#[path = "sim_world/errors.rs"]
mod errors;
#[path = "sim_world/faults.rs"]
mod faults;
#[path = "sim_world/links.rs"]
mod links;
#[path = "sim_world/own.rs"]
mod own;
#[path = "sim_world/pair.rs"]
mod pair;
#[path = "sim_world/peers.rs"]
mod peers;
#[path = "sim_world/post.rs"]
mod post;
#[path = "sim_world/power.rs"]
mod power;
#[path = "sim_world/promises.rs"]
mod promises;
#[path = "sim_world/running.rs"]
mod running;
#[path = "sim_world/scripts.rs"]
mod scripts;
#[path = "sim_world/time.rs"]
mod time;
#[path = "sim_world/watched.rs"]
mod watched;
