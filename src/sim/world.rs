//! Nodes, links, and one clock.

use core::any::Any;
use core::fmt;
use core::ops::{Index, IndexMut};
use core::time::Duration;
use std::collections::BTreeMap;

use ::smoltcp::iface::SocketHandle;
use ::smoltcp::wire::IpEndpoint;

use super::clock::Clock;
use super::ledger::Ledger;
use super::link::{Conditions, Direction, End, Gate, Link, LinkId, Passage, Transit};
use super::node::{Id, Node, NodeId, Report, Turn};
use super::trace::{Fate, Happening, Lost, Note, Sent, Trace};
use super::wire::{self, Kind};
use super::{Frame, Host, Invariant, Numbers, Port, Rng, Room, SimError, Violation, timestamps};
use crate::{Event, Instant};

/// What a node may do at one instant without a frame moving, before it is taken to be endless.
const PATIENCE: u32 = 1_000;
/// How many turns all nodes together may take at one instant.
const TURNS_AT_ONE_INSTANT: u32 = 100_000;
/// The world's clock starts here: well after zero, so that a moment of zero is long past.
const START: Instant = Instant::from_millis(1_000_000);

/// Whether a restart leaves a node its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// It goes on where it was, having missed what happened meanwhile: a virtual machine that was
    /// moved, a device whose RAM was kept powered.
    Kept,
    /// It begins from nothing, its clock at zero.
    Lost,
}

/// Whether a node has turns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Power {
    On,
    Off,
    Asleep { until: Instant },
}

/// Something that was planned.
type Plan = Box<dyn FnOnce(&mut World) -> Result<(), SimError>>;

enum Due {
    Arrival { link: LinkId, to: End, frame: Frame },
    Plan(Plan),
}

struct Slot {
    name: &'static str,
    node: Box<dyn Node>,
    ports: Vec<Port>,
    /// The link of each port.
    links: Vec<LinkId>,
    clock: Clock,
    rng: Rng,
    power: Power,
    /// When it wants its next turn, by the world's clock.
    wake: Option<Instant>,
    /// What it wants may have changed.
    is_touched: bool,
    /// It looks no more often than that.
    pace: Duration,
    last_turn: Option<Instant>,
    turns: u64,
    /// Turns in a row that ended with a wish for another one at once, and moved no frame.
    idle_turns: u32,
    worst_idle_turns: u32,
}

impl Slot {
    /// When it is to have its next turn.
    fn wish(&self, now: Instant) -> Option<Instant> {
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
    fn ask(&mut self, now: Instant) {
        let wish = self.node.poll_at(self.clock.read(now));
        self.wake = wish.map(|at| self.clock.world_time_of(at));
        self.is_touched = false;
    }
}

/// A network in virtual time.
///
/// See the [module](super) for how to use it. A world is built from a seed, and everything that
/// happens in it follows from that and from what is done to it: the same program gives the same
/// octets at the same microseconds, on every machine.
pub struct World {
    now: Instant,
    seed: u64,
    rng: Rng,
    slots: Vec<Slot>,
    links: Vec<Link>,
    /// What is to come, by time and then by the order in which it was decided.
    agenda: BTreeMap<(Instant, u64), Due>,
    decided: u64,
    trace: Trace,
    ledger: Ledger,
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
    /// An empty world. Its clock starts at 1000 s.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self {
            now: START,
            seed,
            rng: Rng::new(seed),
            slots: Vec::new(),
            links: Vec::new(),
            agenda: BTreeMap::new(),
            decided: 0,
            trace: Trace::default(),
            ledger: Ledger::default(),
            alive: Vec::new(),
        }
    }

    /// Puts a node into the world and switches it on.
    pub fn add<N: Node>(&mut self, name: &'static str, node: N) -> Id<N> {
        let id = NodeId(self.slots.len());
        self.trace.add_node(name);
        self.slots.push(Slot {
            name,
            node: Box::new(node),
            ports: Vec::new(),
            links: Vec::new(),
            clock: Clock::new(),
            rng: self.rng.fork(),
            power: Power::On,
            wake: None,
            is_touched: true,
            pace: Duration::ZERO,
            last_turn: None,
            turns: 0,
            idle_turns: 0,
            worst_idle_turns: 0,
        });
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
        let mut ports = Vec::new();
        for node in nodes {
            let slot = self.slot_mut(node)?;
            let port = slot.node.new_port(slot.ports.len());
            ports.push(port.ok_or(SimError::NoPortLeft { node: slot.name })?);
        }
        let media: Vec<_> = ports.iter().map(Port::medium).collect();
        let [medium, other] = media[..] else {
            return Err(SimError::NoSuchNode);
        };
        if medium != other {
            return Err(SimError::MediumMismatch { nodes: names });
        }
        let id = LinkId(self.links.len());
        let mut ends = Vec::new();
        for (node, port) in nodes.into_iter().zip(ports) {
            let slot = self.slot_mut(node)?;
            ends.push(End {
                node,
                port: slot.ports.len(),
            });
            slot.ports.push(port);
            slot.links.push(id);
        }
        let [first, second] = ends[..] else {
            return Err(SimError::NoSuchNode);
        };
        let directions = [
            Direction::new(conditions.clone(), self.rng.fork()),
            Direction::new(conditions, self.rng.fork()),
        ];
        self.trace.add_link(nodes, medium);
        self.links.push(Link {
            medium,
            ends: [first, second],
            directions,
            lose_next: Vec::new(),
            lose_every: None,
        });
        Ok(id)
    }

    /// Does something at a moment to come, before any node has its turn then.
    ///
    /// # Errors
    ///
    /// [`SimError::Past`].
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

/// Running.
impl World {
    /// The world's time. Each node's own [clock](Self::clock) may show another.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// The seed that all luck follows from.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// A source of random numbers for whoever builds the world.
    pub const fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    /// Everything that happened so far.
    #[must_use]
    pub const fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Lets everything happen up to and at `moment`.
    ///
    /// # Errors
    ///
    /// [`SimError::Past`], [`SimError::Spins`] if a node does, and [`SimError::Broken`] if
    /// something that has to hold does not.
    pub fn run_until(&mut self, moment: Instant) -> Result<(), SimError> {
        self.run(moment, true)
    }

    /// Lets everything happen before `moment`, at which the world then is.
    ///
    /// # Errors
    ///
    /// As for [`run_until`](Self::run_until).
    pub fn run_before(&mut self, moment: Instant) -> Result<(), SimError> {
        self.run(moment, false)
    }

    /// Lets everything happen for so long, the last instant included.
    ///
    /// # Errors
    ///
    /// As for [`run_until`](Self::run_until).
    pub fn run_for(&mut self, duration: Duration) -> Result<(), SimError> {
        self.run(self.now.saturating_add(duration), true)
    }

    /// Goes to the next instant at which anything happens, but not past `limit`, and lets it
    /// happen. Whether there was one.
    ///
    /// # Errors
    ///
    /// As for [`run_until`](Self::run_until).
    pub fn step(&mut self, limit: Instant) -> Result<bool, SimError> {
        match self.next_wish() {
            Some(next) if next <= limit => {
                self.now = next;
                self.settle()?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn run(&mut self, end: Instant, inclusive: bool) -> Result<(), SimError> {
        self.require_future(end)?;
        while let Some(next) = self.next_wish() {
            if next > end || next == end && !inclusive {
                break;
            }
            self.now = next;
            self.settle()?;
        }
        self.now = end;
        Ok(())
    }

    /// The earliest moment that anything is to happen.
    fn next_wish(&mut self) -> Option<Instant> {
        let now = self.now;
        for slot in &mut self.slots {
            if slot.is_touched {
                slot.ask(now);
            }
        }
        let decided = self.agenda.keys().next().map(|(at, _)| *at);
        let wishes = self.slots.iter().filter_map(|slot| slot.wish(now));
        wishes.chain(decided).min().map(|next| next.max(now))
    }

    /// Everything that is due now.
    fn settle(&mut self) -> Result<(), SimError> {
        let mut last = None;
        for _ in 0..TURNS_AT_ONE_INSTANT {
            self.deliver()?;
            let now = self.now;
            let is_due = |slot: &Slot| slot.wish(now).is_some_and(|wish| wish <= now);
            let Some(index) = self.slots.iter().position(is_due) else {
                return Ok(());
            };
            self.turn(NodeId(index))?;
            last = Some(index);
        }
        let name = last
            .and_then(|index| self.slots.get(index))
            .map(|slot| slot.name);
        Err(SimError::Spins {
            node: name.unwrap_or_default(),
            at: self.now,
        })
    }

    /// All that was decided to happen by now.
    fn deliver(&mut self) -> Result<(), SimError> {
        while let Some(entry) = self.agenda.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            match entry.remove() {
                Due::Arrival { link, to, frame } => self.arrive(link, to, frame),
                Due::Plan(plan) => plan(self)?,
            }
            self.ask_touched();
        }
        Ok(())
    }

    fn ask_touched(&mut self) {
        let now = self.now;
        for slot in self.slots.iter_mut().filter(|slot| slot.is_touched) {
            slot.ask(now);
        }
    }

    fn arrive(&mut self, link: LinkId, to: End, frame: Frame) {
        let at = self.now;
        let id = frame.id;
        let is_unplugged = self.links.get(link.0).is_some_and(|link| {
            let gates = link.directions.iter().map(|direction| direction.gate);
            gates.eq([Gate::Shut(Lost::CableOut); 2])
        });
        let Some(slot) = self.slots.get_mut(to.node.0) else {
            return;
        };
        let how = if is_unplugged {
            Some(Lost::CableOut)
        } else if slot.power == Power::Off {
            Some(Lost::NobodyThere)
        } else {
            let port = slot.ports.get_mut(to.port);
            let is_in = port.is_some_and(|port| port.accept(frame));
            (!is_in).then_some(Lost::RingFull)
        };
        self.trace.settle(
            id,
            match how {
                None => Fate::Arrived { at },
                Some(how) => Fate::Lost { at, how },
            },
        );
    }

    /// One turn of a node.
    fn turn(&mut self, id: NodeId) -> Result<(), SimError> {
        let now = self.now;
        if self.slot(id)?.power != Power::On {
            self.slot_mut(id)?.power = Power::On;
            self.note(Some(id), None, Happening::Woke);
        }
        let moved = self.give_turn(id, Node::poll)?;
        let slot = self.slot_mut(id)?;
        slot.turns += 1;
        slot.last_turn = Some(now);
        slot.ask(now);
        if !moved && slot.wake.is_some_and(|wake| wake <= now) {
            slot.idle_turns += 1;
        } else {
            slot.idle_turns = 0;
        }
        slot.worst_idle_turns = slot.worst_idle_turns.max(slot.idle_turns);
        if slot.idle_turns > PATIENCE {
            let node = slot.name;
            return Err(SimError::Spins { node, at: now });
        }
        Ok(())
    }

    /// Has a node do something, and takes from it what it sends. Whether a frame moved.
    fn give_turn(
        &mut self,
        id: NodeId,
        act: impl FnOnce(&mut dyn Node, &mut Turn<'_>),
    ) -> Result<bool, SimError> {
        let Some(slot) = self.slots.get_mut(id.0) else {
            return Err(SimError::NoSuchNode);
        };
        let shown = slot.clock.read(self.now);
        timestamps::set(shown);
        let mut turn = Turn {
            now: shown,
            ports: &mut slot.ports,
            rng: &mut slot.rng,
            reports: Vec::new(),
        };
        act(&mut *slot.node, &mut turn);
        let reports = turn.reports;
        let mut outgoing = Vec::new();
        let mut moved = false;
        for (port, link) in slot.ports.iter_mut().zip(&slot.links) {
            moved |= !port.take_taken().is_empty();
            for bytes in port.take_outbox() {
                outgoing.push((*link, bytes));
            }
        }
        moved |= !outgoing.is_empty();
        // What was sent is in the trace also if something in it is wrong.
        let mut result = Ok(moved);
        for report in reports {
            if let Err(error) = self.hear(id, report) {
                result = Err(error);
            }
        }
        for (link, bytes) in outgoing {
            self.send(id, link, bytes);
        }
        result
    }

    /// What a node has to say of its turn.
    fn hear(&mut self, id: NodeId, report: Report) -> Result<(), SimError> {
        let at = self.now;
        match report {
            Report::Happened(what) => {
                self.note(Some(id), None, what.clone());
                self.check_promise(id, &what)
            }
            Report::Refused(frame, how) => {
                self.trace.settle(frame, Fate::Lost { at, how });
                Ok(())
            }
            Report::Probe(probe) => {
                let receivers = self.numbers(probe.remote, probe.local);
                let checks = receivers
                    .iter()
                    .map(|numbers| self.ledger.check(&probe, *numbers));
                // Of no receiver, or one of them.
                let verdict = checks.reduce(Result::or).unwrap_or(Ok(()));
                verdict.map_err(|invariant| self.broken(id, probe.handle, invariant))
            }
            Report::Broken(handle, invariant) => Err(self.broken(id, handle, invariant)),
        }
    }

    /// What a connection's end holds for right.
    fn numbers(&self, of: IpEndpoint, other: IpEndpoint) -> Vec<Numbers> {
        let mut nodes = self.slots.iter().map(|slot| &slot.node);
        match nodes.find_map(|node| node.numbers(of, other)) {
            Some(own) => vec![own],
            None => self.ledger.numbers(of, other),
        }
    }

    fn broken(&self, id: NodeId, handle: SocketHandle, invariant: Invariant) -> SimError {
        SimError::Broken(Violation {
            node: self.trace.name(id),
            at: self.now,
            handle,
            invariant,
        })
    }

    /// A frame leaves a node.
    fn send(&mut self, from: NodeId, id: LinkId, bytes: Vec<u8>) {
        let now = self.now;
        let Some(link) = self.links.get_mut(id.0) else {
            return;
        };
        let kind = wire::parse(link.medium, &bytes);
        let is_honest = self
            .slots
            .get(from.0)
            .is_some_and(|slot| slot.node.is_honest());
        if let (Kind::Tcp(segment), true) = (&kind, is_honest) {
            self.ledger.note(segment);
        }
        let Some(away) = link.away_from(from) else {
            return;
        };
        let [first, second] = link.ends;
        let to = if away == 0 { second } else { first };
        let frame = Frame {
            id: self.trace.next_id(),
            bytes: bytes.into(),
        };
        let is_chosen = link.is_chosen(from, &kind);
        let medium = link.medium;
        let Some(direction) = link.directions.get_mut(away) else {
            return;
        };
        let passage = if is_chosen {
            Passage::Lost(Lost::Chosen)
        } else {
            direction.pass(now, medium, &kind, &frame)
        };
        let sent = Sent {
            id: frame.id,
            at: now,
            from,
            to: to.node,
            link: id,
            kind,
            bytes: frame.bytes.clone(),
            damaged: None,
            copy_of: None,
            fate: Fate::Held,
        };
        self.travel(sent, &frame, to, passage);
    }

    /// Enters a frame into the trace, and what becomes of it into the agenda.
    fn travel(&mut self, mut sent: Sent, frame: &Frame, to: End, passage: Passage) {
        let at = self.now;
        match passage {
            Passage::Held => self.trace.sent(sent),
            Passage::Lost(how) => {
                sent.fate = Fate::Lost { at, how };
                self.trace.sent(sent);
            }
            Passage::Arrives { first, again } => {
                let original = sent.clone();
                self.depart(sent, frame, to, first);
                if let Some(again) = again {
                    let copy = Sent {
                        id: self.trace.next_id(),
                        copy_of: Some(original.id),
                        ..original
                    };
                    self.depart(copy, frame, to, again);
                }
            }
        }
    }

    fn depart(&mut self, mut sent: Sent, frame: &Frame, to: End, transit: Transit) {
        let Transit { at, damaged } = transit;
        let (id, link) = (sent.id, sent.link);
        sent.damaged.clone_from(&damaged);
        sent.fate = Fate::OnItsWay { arrives: at };
        let bytes = damaged.unwrap_or_else(|| frame.bytes.clone());
        self.trace.sent(sent);
        let frame = Frame { id, bytes };
        self.decide(at, Due::Arrival { link, to, frame });
    }

    pub(super) fn note(&mut self, node: Option<NodeId>, link: Option<LinkId>, what: Happening) {
        self.trace.note(Note {
            at: self.now,
            node,
            link,
            what,
        });
    }
}

/// What is done to links.
impl World {
    /// Nothing that is sent from now on passes the link. What is on its way arrives.
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchLink`].
    pub fn partition(&mut self, link: LinkId) -> Result<(), SimError> {
        self.link_mut(link)?.set_gates(Gate::Shut(Lost::Partition));
        self.note(None, Some(link), Happening::Partitioned { from: None });
        Ok(())
    }

    /// Nothing passes in the direction away from `from`; everything does in the other.
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchLink`], [`SimError::NotOnLink`].
    pub fn partition_oneway(
        &mut self,
        link: LinkId,
        from: impl Into<NodeId>,
    ) -> Result<(), SimError> {
        let from = from.into();
        self.direction_mut(link, from)?.gate = Gate::Shut(Lost::Partition);
        let from = Some(from);
        self.note(None, Some(link), Happening::Partitioned { from });
        Ok(())
    }

    /// The cable is out: nothing passes, and what is on its way is lost.
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchLink`].
    pub fn unplug(&mut self, link: LinkId) -> Result<(), SimError> {
        self.link_mut(link)?.set_gates(Gate::Shut(Lost::CableOut));
        self.note(None, Some(link), Happening::Unplugged);
        Ok(())
    }

    /// Undoes [`partition`](Self::partition), [`partition_oneway`](Self::partition_oneway) and
    /// [`unplug`](Self::unplug), and lets go what is held.
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchLink`].
    pub fn repair(&mut self, link: LinkId) -> Result<(), SimError> {
        self.let_go(link)?;
        self.note(None, Some(link), Happening::Repaired);
        Ok(())
    }

    /// Frames sent from now on wait on the link, in both directions, until
    /// [`release`](Self::release).
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchLink`].
    pub fn hold(&mut self, link: LinkId) -> Result<(), SimError> {
        self.link_mut(link)?.set_gates(Gate::Held);
        self.note(None, Some(link), Happening::Held);
        Ok(())
    }

    /// Lets go what is held, in order, as if it were sent now.
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchLink`].
    pub fn release(&mut self, link: LinkId) -> Result<(), SimError> {
        self.let_go(link)?;
        self.note(None, Some(link), Happening::Released);
        Ok(())
    }

    fn let_go(&mut self, id: LinkId) -> Result<(), SimError> {
        let now = self.now;
        let link = self.link_mut(id)?;
        let (medium, [first, second]) = (link.medium, link.ends);
        let mut leaving = Vec::new();
        for (direction, to) in link.directions.iter_mut().zip([second, first]) {
            direction.gate = Gate::Open;
            for frame in core::mem::take(&mut direction.held) {
                let kind = wire::parse(medium, &frame.bytes);
                let passage = direction.pass(now, medium, &kind, &frame);
                leaving.push((to, frame, passage));
            }
        }
        for (to, frame, passage) in leaving {
            let at = now;
            match passage {
                Passage::Held => {}
                Passage::Lost(how) => self.trace.settle(frame.id, Fate::Lost { at, how }),
                Passage::Arrives { first, again: _ } => {
                    let arrives = first.at;
                    self.trace.settle(frame.id, Fate::OnItsWay { arrives });
                    let link = id;
                    self.decide(arrives, Due::Arrival { link, to, frame });
                }
            }
        }
        Ok(())
    }

    /// Changes what the direction away from `from` is like.
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchLink`], [`SimError::NotOnLink`].
    pub fn set_conditions(
        &mut self,
        link: LinkId,
        from: impl Into<NodeId>,
        conditions: Conditions,
    ) -> Result<(), SimError> {
        let from = from.into();
        self.direction_mut(link, from)?.conditions = conditions;
        self.note(None, Some(link), Happening::ConditionsChanged { from });
        Ok(())
    }

    /// Loses the first frame for which `chosen` says so, given who sends it and what it is.
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchLink`].
    pub fn lose_next(
        &mut self,
        link: LinkId,
        chosen: impl FnMut(NodeId, &Kind) -> bool + 'static,
    ) -> Result<(), SimError> {
        self.link_mut(link)?.lose_next.push(Box::new(chosen));
        Ok(())
    }

    /// Loses every frame for which `chosen` says so. A later call replaces it.
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchLink`].
    pub fn lose_every(
        &mut self,
        link: LinkId,
        chosen: impl FnMut(NodeId, &Kind) -> bool + 'static,
    ) -> Result<(), SimError> {
        self.link_mut(link)?.lose_every = Some(Box::new(chosen));
        Ok(())
    }

    fn link_mut(&mut self, link: LinkId) -> Result<&mut Link, SimError> {
        self.links.get_mut(link.0).ok_or(SimError::NoSuchLink)
    }

    fn direction_mut(&mut self, link: LinkId, from: NodeId) -> Result<&mut Direction, SimError> {
        let node = self.slot(from)?.name;
        let link = self.link_mut(link)?;
        let away = link.away_from(from).ok_or(SimError::NotOnLink { node })?;
        let direction = link.directions.get_mut(away);
        direction.ok_or(SimError::NotOnLink { node })
    }
}

/// What is done to nodes.
impl World {
    /// The node is switched off, or falls over: it has no turns, and what reaches it is lost.
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchNode`].
    pub fn crash(&mut self, node: impl Into<NodeId>) -> Result<(), SimError> {
        let id = node.into();
        let slot = self.slot_mut(id)?;
        slot.power = Power::Off;
        let lost: Vec<Frame> = slot.ports.iter_mut().flat_map(Port::drain_inbox).collect();
        let (at, how) = (self.now, Lost::NobodyThere);
        for frame in lost {
            self.trace.settle(frame.id, Fate::Lost { at, how });
        }
        self.note(Some(id), None, Happening::Crashed);
        Ok(())
    }

    /// The node is switched on, after having been switched off if it was not yet.
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchNode`].
    pub fn reboot(&mut self, node: impl Into<NodeId>, memory: Memory) -> Result<(), SimError> {
        let id = node.into();
        let now = self.now;
        if self.slot(id)?.power != Power::Off {
            self.crash(id)?;
        }
        let slot = self.slot_mut(id)?;
        slot.power = Power::On;
        slot.is_touched = true;
        let with_memory = memory == Memory::Kept;
        self.note(Some(id), None, Happening::Rebooted { with_memory });
        if !with_memory {
            self.slot_mut(id)?.clock.restart(now);
            self.give_turn(id, Node::power_on)?;
        }
        Ok(())
    }

    /// The node has no turns for so long. What reaches it waits in its device, up to the
    /// [ring](Port::with_ring)'s length.
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchNode`].
    pub fn sleep(&mut self, node: impl Into<NodeId>, duration: Duration) -> Result<(), SimError> {
        let id = node.into();
        let until = self.now.saturating_add(duration);
        let slot = self.slot_mut(id)?;
        if slot.power != Power::Off {
            slot.power = Power::Asleep { until };
            self.note(Some(id), None, Happening::Sleeps { until });
        }
        Ok(())
    }

    /// Wakes a node that sleeps, and gives any node that is on a turn at once: its device has an
    /// interrupt, or its application something to say.
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchNode`], and as for [`run_until`](Self::run_until).
    pub fn wake(&mut self, node: impl Into<NodeId>) -> Result<(), SimError> {
        let id = node.into();
        if self.slot(id)?.power == Power::Off {
            return Ok(());
        }
        self.turn(id)
    }

    /// All devices of the node have that much room from now on.
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchNode`].
    pub fn set_room(&mut self, node: impl Into<NodeId>, room: Room) -> Result<(), SimError> {
        let id = node.into();
        let slot = self.slot_mut(id)?;
        for port in &mut slot.ports {
            port.set_room(room);
        }
        self.note(Some(id), None, Happening::Room(room));
        Ok(())
    }

    /// The node looks no more often than that: its loop has other things to do.
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchNode`].
    pub fn set_pace(&mut self, node: impl Into<NodeId>, pace: Duration) -> Result<(), SimError> {
        self.slot_mut(node.into())?.pace = pace;
        Ok(())
    }

    /// The node's clock.
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchNode`].
    pub fn clock(&self, node: impl Into<NodeId>) -> Result<Clock, SimError> {
        Ok(self.slot(node.into())?.clock)
    }

    /// The node's clock is set forward.
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchNode`].
    pub fn clock_jump(&mut self, node: impl Into<NodeId>, by: Duration) -> Result<(), SimError> {
        let what = Happening::ClockJumped(by);
        self.set_clock(node.into(), what, |clock, now| clock.jump(now, by))
    }

    /// The node's clock is set back, to zero at most.
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchNode`].
    pub fn clock_step_back(
        &mut self,
        node: impl Into<NodeId>,
        by: Duration,
    ) -> Result<(), SimError> {
        let what = Happening::ClockSteppedBack(by);
        self.set_clock(node.into(), what, |clock, now| clock.step_back(now, by))
    }

    /// The node's clock runs fast by so many microseconds per second, or, if that is negative,
    /// slow.
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchNode`].
    pub fn clock_drift(&mut self, node: impl Into<NodeId>, ppm: i32) -> Result<(), SimError> {
        let what = Happening::ClockDrifts(ppm);
        self.set_clock(node.into(), what, |clock, now| clock.drift(now, ppm))
    }

    /// The node's clock shows multiples of `tick` only.
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchNode`].
    pub fn clock_tick(&mut self, node: impl Into<NodeId>, tick: Duration) -> Result<(), SimError> {
        let what = Happening::ClockTicks(tick);
        self.set_clock(node.into(), what, |clock, _| clock.tick(tick))
    }

    fn set_clock(
        &mut self,
        id: NodeId,
        what: Happening,
        set: impl FnOnce(&mut Clock, Instant),
    ) -> Result<(), SimError> {
        let now = self.now;
        let slot = self.slot_mut(id)?;
        set(&mut slot.clock, now);
        slot.is_touched = true;
        self.note(Some(id), None, what);
        Ok(())
    }

    /// Writes a line of your own into the trace.
    pub fn remark(&mut self, text: impl Into<String>) {
        self.note(None, None, Happening::Text(text.into()));
    }
}

/// What is promised, besides what [always](Invariant) holds.
impl World {
    /// From now on, whoever gives up a peer of `host` is wrong: the network is good enough.
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchNode`]. Later, [`SimError::Broken`] with [`Invariant::LivePeerGivenUp`].
    pub fn promise_alive(&mut self, host: Id<Host>) -> Result<(), SimError> {
        self.slot(host.node)?;
        if !self.alive.contains(&host.node) {
            self.alive.push(host.node);
        }
        Ok(())
    }

    /// From now on, whoever gives up a peer of `host` may be right.
    pub fn revoke_alive(&mut self, host: Id<Host>) {
        self.alive.retain(|node| *node != host.node);
    }

    /// The peer of the connection that `handle` has is dead, or as good as: the connection has to
    /// have ended by `by`, or another one begun.
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchNode`], [`SimError::Past`]. Later, [`SimError::Broken`] with
    /// [`Invariant::DeadPeerKept`].
    pub fn promise_dead(
        &mut self,
        host: Id<Host>,
        handle: SocketHandle,
        by: Instant,
    ) -> Result<(), SimError> {
        self.slot(host.node)?;
        let local = self[host].local_endpoint(handle);
        // What happens at that very moment is in time.
        self.at(by.plus_micros(1), move |world| {
            let kept = world[host].local_endpoint(handle);
            if kept.is_some() && kept == local {
                return Err(world.broken(host.node, handle, Invariant::DeadPeerKept { by }));
            }
            Ok(())
        })
    }

    fn check_promise(&self, id: NodeId, what: &Happening) -> Result<(), SimError> {
        match what {
            Happening::KeepAlive {
                handle,
                event: Event::TimedOut(_),
            } if self.alive.contains(&id) => {
                Err(self.broken(id, *handle, Invariant::LivePeerGivenUp))
            }
            _ => Ok(()),
        }
    }
}

/// Looking at nodes.
impl World {
    /// A node; `None` if it is of another world.
    #[must_use]
    pub fn get<N: Node>(&self, id: Id<N>) -> Option<&N> {
        let node: &dyn Any = &*self.slots.get(id.node.0)?.node;
        node.downcast_ref()
    }

    /// A node, to be changed. What it wants next is asked of it again.
    pub fn get_mut<N: Node>(&mut self, id: Id<N>) -> Option<&mut N> {
        let slot = self.slots.get_mut(id.node.0)?;
        slot.is_touched = true;
        let node: &mut dyn Any = &mut *slot.node;
        node.downcast_mut()
    }

    /// How many turns a node has had.
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchNode`].
    pub fn turns(&self, node: impl Into<NodeId>) -> Result<u64, SimError> {
        Ok(self.slot(node.into())?.turns)
    }

    /// The most turns in a row in which a node moved no frame and yet asked for another at once.
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
/// If it is of another one, as a slice would. [`World::get`] does not.
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

impl Link {
    fn set_gates(&mut self, gate: Gate) {
        for direction in &mut self.directions {
            direction.gate = gate;
        }
    }
}
