//! The keep-alive that embedded TCP should have had.
//!
//! [`KeepAlive`] is a machine driven by time that is handed to it: it says when to probe a
//! silent peer, builds the probe, and gives a typed [`Verdict`] once the peer has left
//! [`Config::count`] attempts unanswered. It knows no stack, reads no clock, allocates nothing
//! and cannot panic. [`Flow`] turns the segments of one connection into what the machine needs.
//!
#![cfg_attr(
    feature = "smoltcp",
    doc = "The [`smoltcp`] module puts both into smoltcp's poll loop; that is where most users start."
)]
#![cfg_attr(
    not(feature = "smoltcp"),
    doc = "The `smoltcp` module (feature `smoltcp`) puts both into smoltcp's poll loop; that is where most users start."
)]
//!
//! # Driving the machine by hand
//!
//! A stack of your own calls `handle_*` when something happened, then drains the `poll_*`:
//!
//! ```
//! use core::time::Duration;
//! use tcp_keepalive::{Config, Event, Instant, KeepAlive, SeqNumber, Tcb};
//!
//! // A nonsensical configuration does not compile.
//! const CONFIG: Config = match Config::new(Duration::from_secs(10), Duration::from_secs(2), 3) {
//!     Ok(config) => config,
//!     Err(_) => panic!("no such keep-alive"),
//! };
//! let quiet = Tcb {
//!     snd_una: SeqNumber(1000),
//!     snd_nxt: SeqNumber(1000),
//!     rcv_nxt: SeqNumber(5000),
//!     rcv_wnd: 1024,
//!     timestamps: None,
//!     unsent: false,
//! };
//!
//! let mut keep_alive = KeepAlive::new(CONFIG);
//! keep_alive.enable(Instant::from_millis(0));
//! let mut probes = 0;
//! while let Some(now) = keep_alive.poll_timeout() {
//!     keep_alive.handle_timeout(now, &quiet);
//!     if let Some(probe) = keep_alive.poll_transmit(now, &quiet) {
//!         assert_eq!(probe.seq(), SeqNumber(999));
//!         keep_alive.handle_transmitted(now, probe);
//!         probes += 1;
//!     }
//! }
//! assert_eq!(probes, 3);
//! assert_eq!(keep_alive.poll_event(), Some(Event::Suspect { unanswered: 1 }));
//! let Some(Event::TimedOut(verdict)) = keep_alive.poll_event() else { panic!() };
//! assert_eq!(verdict.silent_for, CONFIG.detection_time());
//! ```
//!
//! # Features
//!
//! | feature | what it adds |
//! |---|---|
//! | `smoltcp` | `smoltcp::KeepAliveSet`: keep-alive for the sockets of a smoltcp interface |
//! | `embassy-net` | `embassy_net::{Device, Control}`: keep-alive for every connection of an embassy-net stack |
//! | `embassy` | only the conversions to and from `embassy-time`, for a stack of your own |
//! | `serde` | `Serialize` and `Deserialize` of [`Config`]: durations in milliseconds, checked when read |
//! | `defmt` | `defmt::Format` on the public types, log lines from the adapter |

#![cfg_attr(not(test), no_std)]
#![cfg_attr(docsrs, feature(doc_cfg))]

#[cfg(feature = "link")]
#[macro_use]
mod log;

mod config;
#[cfg(feature = "embassy")]
pub mod embassy;
#[cfg(feature = "embassy-net")]
pub mod embassy_net;
mod flow;
mod keep_alive;
#[cfg(feature = "link")]
pub mod link;
mod probe;
#[cfg(feature = "smoltcp")]
pub mod smoltcp;
#[cfg(feature = "serde")]
mod stored;
mod tcb;
mod time;

pub use config::{Config, ConfigError, ProbePayload};
pub use flow::{Flow, Received, Segment};
pub use keep_alive::{Cause, Event, FailedAt, KeepAlive, State, Stats, Verdict};
pub use probe::Probe;
pub use tcb::{SeqNumber, Tcb};
pub use time::Instant;
