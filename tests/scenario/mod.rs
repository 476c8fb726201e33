//! Two ends of a link in virtual time, and a small language to say what happens there.
//!
//! A [`Setup`] says what the link is like and ends in a [`Scenario`], which is a
//! [`World`](tcp_keepalive_sim::World) of two nodes. The scenario moves the clock with
//! [`Scenario::until`] (up to that moment, not including it) and [`Scenario::at`] (up to that
//! moment, including all that happens then), and claims what the host under test has sent since
//! the last claim. Moments are seconds since the peer was first heard, unless they say otherwise:
//!
//! ```text
//! let mut t = established(config(10, 2, 3));
//! t.silence_peer();
//! t.until(10).nothing();
//! t.at(10).probe(1);
//! ```
//!
//! Every frame of the host under test has to be claimed, in order: one that is not is what the
//! next claim trips over.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each test binary uses its own part of the language"
)]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    clippy::must_use_candidate,
    clippy::return_self_not_must_use,
    reason = "a scenario that fails should do so at once, and loudly"
)]

pub mod acts;
pub mod application;
pub mod claims;
pub mod record;
pub mod setup;
pub mod time;

pub use acts::Scenario;
pub use record::{End, Sent};
pub use setup::{Setup, config, established, seed_for_isn, with_user_timeout};
pub use time::{Time, ms, s, us};
