//! A deterministic simulated-time network.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "numbers of frames, turns and octets in one run; times saturate by type"
)]

mod app;
mod chart;
mod clock;
mod error;
mod firewall;
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
pub use self::link::{Conditions, LinkId, Loss, Rate};
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
