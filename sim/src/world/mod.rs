//! Nodes, links, and one clock.

mod links;
mod nodes;
mod promises;
mod run;
mod slot;

use core::any::Any;
use core::fmt;
use core::ops::{Index, IndexMut};
use std::collections::BTreeMap;

pub use self::nodes::Memory;

use self::slot::Slot;
use super::ledger::Ledger;
use super::link::{Conditions, Direction, End, Link, LinkId};
use super::node::{Id, Node, NodeId};
use super::trace::Trace;
use super::{Frame, Port, Rng, SimError};
use crate::Instant;

/// The world's clock starts here: well after zero, so that a moment of zero is long past.
pub(super) const START: Instant = Instant::from_millis(1_000_000);

/// Something that was planned.
type Plan = Box<dyn FnOnce(&mut World) -> Result<(), SimError>>;

enum Due {
    Arrival { link: LinkId, to: End, frame: Frame },
    Plan(Plan),
}

/// A network in virtual time.
///
/// See the [module](super) for how to use it. A world is built from a seed, and everything that
/// happens in it follows from that and from what is done to it: the same program gives the same
/// octets at the same microseconds, on every machine.
pub struct World {
    now: Instant,
    /// It is at work on what happens now.
    is_running: bool,
    seed: u64,
    rng: Rng,
    slots: Vec<Slot>,
    links: Vec<Link>,
    /// What is to come, by time and then by the order in which it was decided.
    agenda: BTreeMap<(Instant, u64), Due>,
    decided: u64,
    trace: Trace,
    ledger: Ledger,
    /// Probes that were held against their receiver's account.
    probes_checked: u64,
    /// Nodes whose peers are said to be alive.
    alive: Vec<NodeId>,
}

impl fmt::Debug for World {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("World")
            .field("seed", &self.seed)
            .field("now", &self.now)
            .field("nodes", &self.trace.node_names())
            .field("links", &self.links)
            .finish_non_exhaustive()
    }
}

/// Building.
impl World {
    /// Makes an empty world. Its clock starts at 1000 s.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            now: START,
            is_running: false,
            seed,
            rng: Rng::new(seed),
            slots: Vec::new(),
            links: Vec::new(),
            agenda: BTreeMap::new(),
            decided: 0,
            trace: Trace::default(),
            ledger: Ledger::default(),
            probes_checked: 0,
            alive: Vec::new(),
        }
    }

    /// Puts a node into the world and switches it on.
    pub fn add<N: Node>(&mut self, name: &'static str, node: N) -> Id<N> {
        let id = NodeId(self.slots.len());
        self.trace.add_node(name);
        let rng = self.rng.fork();
        self.slots.push(Slot::new(name, Box::new(node), rng));
        // Switched on, it has nothing to break yet.
        let _ = self.give_turn(id, Node::power_on);
        Id::new(id)
    }

    /// Links the next free ports of two nodes, the same conditions in both directions.
    ///
    /// # Errors
    ///
    /// If a node is of another world, has no port left, is linked to itself, or speaks another
    /// medium than the other.
    pub fn link(
        &mut self,
        a: impl Into<NodeId>,
        b: impl Into<NodeId>,
        conditions: Conditions,
    ) -> Result<LinkId, SimError> {
        let nodes = [a.into(), b.into()];
        let names = [self.slot(nodes[0])?.name, self.slot(nodes[1])?.name];
        if nodes[0] == nodes[1] {
            return Err(SimError::LinkToItself { node: names[0] });
        }
        let [a, b] = nodes;
        let ports = (self.new_port(a)?, self.new_port(b)?);
        let medium = ports.0.medium();
        if medium != ports.1.medium() {
            return Err(SimError::MediumMismatch { nodes: names });
        }
        let id = LinkId(self.links.len());
        let ends = [self.plug(a, ports.0, id)?, self.plug(b, ports.1, id)?];
        let directions = [
            Direction::new(conditions.clone(), self.rng.fork()),
            Direction::new(conditions, self.rng.fork()),
        ];
        self.trace.add_link(nodes, medium);
        self.links.push(Link {
            medium,
            ends,
            directions,
            lose_next: Vec::new(),
            lose_every: None,
        });
        Ok(id)
    }

    fn new_port(&mut self, node: NodeId) -> Result<Port, SimError> {
        let slot = self.slot_mut(node)?;
        let port = slot.node.new_port(slot.ports.len());
        port.ok_or(SimError::NoPortLeft { node: slot.name })
    }

    fn plug(&mut self, node: NodeId, mut port: Port, link: LinkId) -> Result<End, SimError> {
        let slot = self.slot_mut(node)?;
        let end = End {
            node,
            port: slot.ports.len(),
        };
        port.set_room(slot.room);
        slot.ports.push(port);
        slot.links.push(link);
        slot.is_touched = true;
        Ok(end)
    }

    /// Does something at a moment to come, before any node has its turn then. What it does takes
    /// no time: it may plan, and [wake](Self::wake), but not run the world.
    ///
    /// # Errors
    ///
    /// [`SimError::Past`]. Later, whatever the plan returns.
    pub fn at(
        &mut self,
        moment: Instant,
        plan: impl FnOnce(&mut Self) -> Result<(), SimError> + 'static,
    ) -> Result<(), SimError> {
        self.require_future(moment)?;
        self.decide(moment, Due::Plan(Box::new(plan)));
        Ok(())
    }

    fn decide(&mut self, at: Instant, due: Due) {
        self.agenda.insert((at, self.decided), due);
        self.decided += 1;
    }

    fn require_future(&self, moment: Instant) -> Result<(), SimError> {
        let now = self.now;
        if moment < now {
            Err(SimError::Past { moment, now })
        } else {
            Ok(())
        }
    }
}

/// Looking at nodes.
impl World {
    /// Returns a node; `None` if this world has no node of that number and type.
    #[must_use]
    pub fn get<N: Node>(&self, id: Id<N>) -> Option<&N> {
        let node: &dyn Any = &*self.slots.get(id.node.0)?.node;
        node.downcast_ref()
    }

    /// Returns a node, mutable. What it wants next is asked of it again.
    pub fn get_mut<N: Node>(&mut self, id: Id<N>) -> Option<&mut N> {
        let slot = self.slots.get_mut(id.node.0)?;
        slot.is_touched = true;
        let node: &mut dyn Any = &mut *slot.node;
        node.downcast_mut()
    }

    /// Returns how many turns a node has had.
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchNode`].
    pub fn turns(&self, node: impl Into<NodeId>) -> Result<u64, SimError> {
        Ok(self.slot(node.into())?.turns)
    }

    /// Returns how many probes were held against what their receiver holds for right. Those to a
    /// receiver that keeps no account, or is not there, are not among them.
    #[must_use]
    pub const fn probes_checked(&self) -> u64 {
        self.probes_checked
    }

    /// Returns the most turns in a row, at one instant, in which a node moved no frame and yet
    /// asked for another at once.
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchNode`].
    pub fn worst_idle_turns(&self, node: impl Into<NodeId>) -> Result<u32, SimError> {
        Ok(self.slot(node.into())?.worst_idle_turns)
    }

    fn slot(&self, id: NodeId) -> Result<&Slot, SimError> {
        self.slots.get(id.0).ok_or(SimError::NoSuchNode)
    }

    fn slot_mut(&mut self, id: NodeId) -> Result<&mut Slot, SimError> {
        self.slots.get_mut(id.0).ok_or(SimError::NoSuchNode)
    }
}

/// `world[id]`, for those who know that the node is of this world.
///
/// # Panics
///
/// If there is no node of that number and type, as for the index of a slice. [`World::get`] does not.
impl<N: Node> Index<Id<N>> for World {
    type Output = N;

    fn index(&self, id: Id<N>) -> &N {
        match self.get(id) {
            Some(node) => node,
            None => panic!("the node is of another world"),
        }
    }
}

impl<N: Node> IndexMut<Id<N>> for World {
    fn index_mut(&mut self, id: Id<N>) -> &mut N {
        match self.get_mut(id) {
            Some(node) => node,
            None => panic!("the node is of another world"),
        }
    }
}
