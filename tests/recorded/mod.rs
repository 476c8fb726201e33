//! Conversations that smoltcp once had with a Linux kernel.
//!
//! The captures beside this file were made by `tests/kernel/recorder.rs`; `CONTRIBUTING.md` says how
//! to make them anew. What smoltcp was told to do is in [`scene`]; when it was polled is known as
//! well, since a [`Player`] is polled only when a frame arrives, when it has something to do, and
//! when it is told to do something. So a replay is exact.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each of its users needs its own part of it"
)]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    reason = "a replay that fails should do so at once, and loudly"
)]

pub mod census;
pub mod player;
pub mod recording;
pub mod replay;
pub mod scene;

pub use census::{Census, assert_is_eventful};
pub use player::Player;
pub use recording::{Direction, Recorded, Recording};
pub use replay::{assert_transparent, assert_unchanged};
pub use scene::{Ours, Scene, Theirs};
