//! What a device does with its network, in a shape that real firmware can start from: a client
//! that stays connected to its server, and a small pool of servers, all of them kept alive.
//!
//! | module | what it is |
//! |---|---|
//! | [`settings`] | addresses and times, from the environment of the build |
//! | [`host`] | the interface, the sockets and the keep-alive set; one turn of the loop |
//! | [`client`], [`server`] | what runs on the sockets |
//! | [`report`] | what there is to say about it |
//! | [`nic`] | what a loop needs of a network device to sleep |
//! | [`task`] | the loop for embassy; the one without is `src/bin/polled.rs` |
//! | `net` | the same client and servers as tasks on embassy-net; with feature `board` |
//! | `board` | mps2-an385: clock, console, Ethernet; with feature `board` |

#![no_std]

#[cfg(feature = "board")]
pub mod board;
pub mod client;
pub mod host;
#[cfg(feature = "board")]
pub mod net;
pub mod nic;
pub mod report;
pub mod server;
pub mod settings;
pub mod task;
