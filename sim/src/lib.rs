//! A deterministic network in simulated time, to test firmware in.
//!
//! What goes wrong in the field, a peer that loses its power, a NAT that forgets, a cable, a device
//! that sleeps for an hour, takes hours to happen and cannot be repeated. In a [`World`] it takes
//! milliseconds, and happens at the same microsecond each time: the world is a function of its seed
//! and of what is done to it. It reads no clock, starts no threads, and computes with integers.
//!
//! ```
//! use core::time::Duration;
//! use smoltcp::wire::{IpAddress, IpCidr};
//! use tcp_keepalive_sim::{Conditions, Host, Script, World};
//! use tcp_keepalive::{Config, Event};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let seconds = Duration::from_secs;
//! let address = |last| IpAddress::v4(192, 0, 2, last);
//! let config = Config::detect_within(seconds(60))?;
//! let client = Script::client((address(2), 7).into()).keep_alive(config);
//!
//! let mut world = World::new(1); let device = world.add("device",
//! Host::ethernet(IpCidr::new(address(1), 24)).app(client)); let server = world.add("server",
//! Host::ethernet(IpCidr::new(address(2), 24)).app(Script::server(7))); let link =
//! world.link(device, server, Conditions::ideal().latency(Duration::from_millis(10)))?;
//!
//! world.run_for(seconds(3600))?;
//! assert!(world[device].events().is_empty());
//!
//! world.partition(link)?;
//! world.run_for(seconds(60))?;
//! let (_, _, event) = world[device].events().last().ok_or("no event")?;
//! assert!(matches!(event, Event::TimedOut(_)));
//! # Ok(())
//! # }
//! ```
//!
//! # What there is
//!
//! | | |
//! |---|---|
//! | [`World`] | nodes, links, the clock, and everything that is done to them: [`partition`](World::partition), [`hold`](World::hold), [`crash`](World::crash), [`sleep`](World::sleep), [`clock_step_back`](World::clock_step_back) ... |
//! | [`Host`] | a smoltcp interface with its sockets, their keep-alive, and an [`App`]: yours, a closure, or a [`Script`] |
//! | [`Peer`] | an end of connections that does what it is told: answers, is silent, late, resets, shuts its window, forges |
//! | [`Switch`], [`Nat`], [`Firewall`] | what lies in between, and forgets connections, after the [published times](Mappings) |
//! | [`Node`] | whatever you write yourself: your own loop around your own interface, with a [`Port`] for its device |
//! | [`Conditions`] | what a direction of a link is like: latency, jitter, [loss](Loss), duplication, reordering, corruption, [rate](Rate) |
//! | [`Trace`] | what happened: as [text](Trace::text), as a [capture](Trace::write_pcapng) for Wireshark, as a [chart](Trace::chart) |
//! | [`Invariant`] | what the world checks after every step of a host |
//!
//! # Time
//!
//! The world's clock starts at 1000 s and jumps from one event to the next. Each node has a
//! [`Clock`] of its own, which shows the same until it is made to drift, tick coarsely, or step; what
//! a node sees is always its own clock. At one instant, what was decided to happen then, arrivals and
//! [plans](World::at), comes first, in the order in which it was decided; then the turns of the
//! nodes, in the order in which they were added, until none wants another. A node
//! that asks for turn after turn at one instant, though no frame moves, is an
//! [error](SimError::Spins) that names it: on a device it would be a loop that never sleeps.
//!
//! # When not to use it
//!
//! It shows what a stack and an application do, not how fast: turns take no time. The nodes share
//! one thread. And it is as right about your network as the conditions are that you give it.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "numbers of frames, turns and octets in one run; times saturate by type"
)]

use tcp_keepalive::{Cause, Config, Event, Instant, ProbePayload, State, Stats, Verdict, smoltcp};

mod app;
mod chart;
mod clock;
mod error;
mod firewall;
mod fold;
mod host;
mod invariant;
mod label;
mod ledger;
mod link;
mod mapping;
mod nat;
mod node;
mod pcap;
mod peer;
mod phrase;
mod port;
mod ratio;
mod rng;
mod script;
mod switch;
mod text;
mod timestamps;
pub mod trace;
mod watch;
pub mod wire;
mod world;

pub use self::app::{App, Context};
pub use self::chart::Chart;
pub use self::clock::Clock;
pub use self::error::SimError;
pub use self::firewall::Firewall;
pub use self::host::Host;
pub use self::invariant::{Invariant, Violation};
pub use self::label::{Label, Labels};
pub use self::ledger::Numbers;
pub use self::link::{Conditions, LinkId, Loss, Outages, Rate};
pub use self::mapping::{Expiry, Mappings, Timeouts};
pub use self::nat::Nat;
pub use self::node::{Id, Node, NodeId, Turn};
pub use self::peer::{Account, Manner, Peer};
pub use self::port::{Arrived, Departing, Frame, Port, Room};
pub use self::ratio::Ratio;
pub use self::rng::Rng;
pub use self::script::Script;
pub use self::switch::Switch;
pub use self::text::Text;
pub use self::timestamps::timestamp_clock;
pub use self::trace::{FrameId, Trace};
pub use self::world::{Memory, World};
