//! A deterministic simulated-time network.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "numbers of frames, turns and octets in one run; times saturate by type"
)]

mod app;
mod chart;
mod clock;
mod error;
mod host;
mod label;
mod link;
mod node;
mod pcap;
mod peer;
mod phrase;
mod port;
mod ratio;
mod rng;
mod text;
mod timestamps;
pub mod trace;
pub mod wire;
mod world;

pub use self::app::{App, Context};
pub use self::chart::Chart;
pub use self::clock::Clock;
pub use self::error::SimError;
pub use self::host::Host;
pub use self::label::{Label, Labels};
pub use self::link::{Conditions, LinkId, Loss, Rate};
pub use self::node::{Id, Node, NodeId, Turn};
pub use self::peer::{Account, Manner, Peer};
pub use self::port::{Arrived, Departing, Frame, Port, Room};
pub use self::ratio::Ratio;
pub use self::rng::Rng;
pub use self::text::Text;
pub use self::timestamps::timestamp_clock;
pub use self::trace::{FrameId, Trace};
pub use self::world::{Memory, World};

/// TODO
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Violation;

impl core::fmt::Display for Violation {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str("broken")
    }
}
