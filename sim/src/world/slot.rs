//! What the world knows of one node.

use core::time::Duration;

use super::super::clock::Clock;
use super::super::link::LinkId;
use super::super::node::Node;
use super::super::{Port, Rng, Room};
use crate::Instant;

/// Whether a node has turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Power {
    On,
    Off,
    Asleep { until: Instant },
}

pub(super) struct Slot {
    pub(super) name: &'static str,
    pub(super) node: Box<dyn Node>,
    pub(super) ports: Vec<Port>,
    /// The link of each port.
    pub(super) links: Vec<LinkId>,
    /// What its ports have, those to come included.
    pub(super) room: Room,
    pub(super) clock: Clock,
    pub(super) rng: Rng,
    pub(super) power: Power,
    /// When it wants its next turn, by the world's clock.
    pub(super) wake: Option<Instant>,
    /// What it wants may have changed.
    pub(super) is_touched: bool,
    /// It looks no more often than that.
    pub(super) pace: Duration,
    pub(super) last_turn: Option<Instant>,
    pub(super) turns: u64,
    /// Turns in a row that ended with a wish for another one at once, and moved no frame.
    pub(super) idle_turns: u32,
    pub(super) worst_idle_turns: u32,
}

impl Slot {
    /// A node that is on and has no ports yet.
    pub(super) fn new(name: &'static str, node: Box<dyn Node>, rng: Rng) -> Self {
        Self {
            name,
            node,
            ports: Vec::new(),
            links: Vec::new(),
            room: Room::Plenty,
            clock: Clock::new(),
            rng,
            power: Power::On,
            wake: None,
            is_touched: true,
            pace: Duration::ZERO,
            last_turn: None,
            turns: 0,
            idle_turns: 0,
            worst_idle_turns: 0,
        }
    }

    /// When it is to have its next turn.
    pub(super) fn wish(&self, now: Instant) -> Option<Instant> {
        match self.power {
            Power::Off => return None,
            Power::Asleep { until } => return Some(until.max(now)),
            Power::On => {}
        }
        let arrival = self.ports.iter().any(Port::has_arrival).then_some(now);
        let wish = self.wake.into_iter().chain(arrival).min()?;
        let earliest = match self.last_turn {
            Some(last) if !self.pace.is_zero() => last.saturating_add(self.pace),
            _ => now,
        };
        Some(wish.max(earliest).max(now))
    }

    /// Asks the node what it wants.
    pub(super) fn ask(&mut self, now: Instant) {
        let wish = self.node.poll_at(self.clock.read(now));
        self.wake = wish.map(|at| self.clock.world_time_of(at));
        self.is_touched = false;
    }
}
