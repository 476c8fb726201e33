//! What happens, in order.

use core::time::Duration;

use ::smoltcp::iface::SocketHandle;
use ::smoltcp::wire::IpEndpoint;

use super::super::link::{End, LinkId, Passage, Transit};
use super::super::node::{Node, NodeId, Report, Turn};
use super::super::trace::{Fate, Happening, Lost, Note, Sent, Trace};
use super::super::wire::{self, Kind};
use super::super::{Frame, Invariant, Numbers, Rng, SimError, Violation, timestamps};
use super::slot::{Power, Slot};
use super::{Due, World};
use crate::Instant;

/// What a node may do at one instant without a frame moving, before it is taken to be endless.
const PATIENCE: u32 = 1_000;
/// How many turns all nodes together may take at one instant.
const TURNS_AT_ONE_INSTANT: u32 = 100_000;
/// How many plans may be carried out between two turns.
const PLANS_IN_A_ROW: u32 = 100_000;

/// Running.
impl World {
    /// Returns the world's time. Each node's own [clock](Self::clock) may show another.
    #[must_use]
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// Returns the seed that all luck follows from.
    #[must_use]
    pub const fn seed(&self) -> u64 {
        self.seed
    }

    /// Returns a source of random numbers for the code that builds the world.
    pub const fn rng(&mut self) -> &mut Rng {
        &mut self.rng
    }

    /// Returns everything that happened so far.
    #[must_use]
    pub const fn trace(&self) -> &Trace {
        &self.trace
    }

    /// Keeps the last `entries` of the trace from now on, or, lest each has to make room, up to
    /// twice as many. Labels, texts, charts and captures are then of what there is.
    pub fn keep_last(&mut self, entries: usize) {
        self.trace.keep_last(entries);
    }

    /// Lets everything happen up to and at `moment`.
    ///
    /// # Errors
    ///
    /// [`SimError::Past`], [`SimError::Nested`] in a [plan](Self::at), [`SimError::Spins`] if a node
    /// does, [`SimError::EndlessPlans`] if plans do, and [`SimError::Broken`] if something that has
    /// to hold does not.
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

    /// Lets everything happen up to and at `limit`, but stops after the first instant at which
    /// `goes_on` says no; it is asked before anything happens, too. Whether it has said no.
    ///
    /// ```
    /// # use core::time::Duration;
    /// # use smoltcp::wire::{IpAddress, IpCidr};
    /// # use tcp_keepalive_sim::{Conditions, Host, Peer, SimError, World};
    /// # let mut world = World::new(1);
    /// # let device = world.add("device", Host::ip(IpCidr::new(IpAddress::v4(192, 0, 2, 1), 24)));
    /// let limit = world.now().saturating_add(Duration::from_secs(3600));
    /// let was_reported = world.run_while(limit, |world| world[device].events().is_empty())?;
    /// # assert!(!was_reported);
    /// # Ok::<(), SimError>(())
    /// ```
    ///
    /// # Errors
    ///
    /// As for [`run_until`](Self::run_until).
    pub fn run_while(
        &mut self,
        limit: Instant,
        mut goes_on: impl FnMut(&Self) -> bool,
    ) -> Result<bool, SimError> {
        self.require_future(limit)?;
        while goes_on(self) {
            if !self.step(limit)? {
                self.now = limit;
                return Ok(false);
            }
        }
        Ok(true)
    }

    /// Goes to the next instant at which anything happens, but not past `limit`, and lets it
    /// happen. Whether there was one.
    ///
    /// # Errors
    ///
    /// As for [`run_until`](Self::run_until), but for a limit that is past: nothing happens until then.
    pub fn step(&mut self, limit: Instant) -> Result<bool, SimError> {
        match self.next_wish() {
            Some(next) if next <= limit => {
                self.go_to(next)?;
                Ok(true)
            }
            _ => Ok(false),
        }
    }

    fn run(&mut self, end: Instant, inclusive: bool) -> Result<(), SimError> {
        self.require_future(end)?;
        self.require_standing()?;
        while let Some(next) = self.next_wish() {
            if next > end || next == end && !inclusive {
                break;
            }
            self.go_to(next)?;
        }
        self.now = end;
        Ok(())
    }

    /// Lets happen what does at that moment.
    fn go_to(&mut self, moment: Instant) -> Result<(), SimError> {
        self.require_standing()?;
        self.now = moment;
        self.is_running = true;
        let result = self.settle();
        self.is_running = false;
        result
    }

    /// A plan that is carried out cannot let time pass: it would come back to a moment that is
    /// past.
    const fn require_standing(&self) -> Result<(), SimError> {
        if self.is_running {
            Err(SimError::Nested { at: self.now })
        } else {
            Ok(())
        }
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
        let mut plans = 0;
        while let Some(entry) = self.agenda.first_entry() {
            if entry.key().0 > self.now {
                break;
            }
            match entry.remove() {
                Due::Arrival { to, frame, .. } => self.arrive(to, frame),
                Due::Plan(_) if plans == PLANS_IN_A_ROW => {
                    return Err(SimError::EndlessPlans { at: self.now });
                }
                Due::Plan(plan) => {
                    plans += 1;
                    plan(self)?;
                }
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

    fn arrive(&mut self, to: End, frame: Frame) {
        let at = self.now;
        let id = frame.id;
        let Some(slot) = self.slots.get_mut(to.node.0) else {
            return;
        };
        let how = if slot.power == Power::Off {
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
    pub(super) fn turn(&mut self, id: NodeId) -> Result<(), SimError> {
        let now = self.now;
        if self.slot(id)?.power != Power::On {
            self.slot_mut(id)?.power = Power::On;
            self.note(Some(id), None, Happening::Woke);
        }
        let moved = self.give_turn(id, Node::poll)?;
        let slot = self.slot_mut(id)?;
        slot.turns += 1;
        if slot.last_turn != Some(now) {
            // Time has passed: what it did before was not at this instant.
            slot.idle_turns = 0;
        }
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
    pub(super) fn give_turn(
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
            let (sent, lost) = (port.take_outbox(), port.take_lost());
            moved |= !sent.is_empty();
            outgoing.extend(sent.into_iter().map(|bytes| (*link, bytes, None)));
            let lost = lost.into_iter();
            outgoing.extend(lost.map(|bytes| (*link, bytes, Some(Lost::NoRoom))));
        }
        // What was sent is in the trace also if something in it is wrong.
        let mut result = Ok(moved);
        for report in reports {
            if let Err(error) = self.hear(id, report) {
                result = Err(error);
            }
        }
        for (link, bytes, lost) in outgoing {
            self.send(id, link, bytes, lost);
        }
        result
    }

    /// What a node has to say of its turn.
    pub(super) fn hear(&mut self, id: NodeId, report: Report) -> Result<(), SimError> {
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
                let receivers = self.receivers(probe.local, probe.remote);
                self.probes_checked += u64::from(!receivers.is_empty());
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

    /// What the receiver of what `src` sends to `dst` holds for right, by whatever name it knows them.
    fn receivers(&self, src: IpEndpoint, dst: IpEndpoint) -> Vec<Numbers> {
        let known = self.numbers(dst, src);
        if !known.is_empty() {
            return known;
        }
        let mut nodes = self.slots.iter().map(|slot| &slot.node);
        let translated = nodes.find_map(|node| node.translate(src, dst));
        translated.map_or_else(Vec::new, |(src, dst)| self.numbers(dst, src))
    }

    /// What a connection's end holds for right.
    pub(super) fn numbers(&self, of: IpEndpoint, other: IpEndpoint) -> Vec<Numbers> {
        let mut nodes = self.slots.iter().map(|slot| &slot.node);
        match nodes.find_map(|node| node.numbers(of, other)) {
            Some(own) => vec![own],
            None => self.ledger.numbers(of, other),
        }
    }

    pub(super) fn broken(
        &self,
        id: NodeId,
        handle: SocketHandle,
        invariant: Invariant,
    ) -> SimError {
        SimError::Broken(Violation {
            node: self.trace.name(id),
            at: self.now,
            handle,
            invariant,
        })
    }

    /// A frame leaves a node, or is lost before it does.
    fn send(&mut self, from: NodeId, id: LinkId, bytes: Vec<u8>, lost: Option<Lost>) {
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
        let lost = lost.or_else(|| link.is_chosen(from, &kind).then_some(Lost::Chosen));
        let medium = link.medium;
        let Some(direction) = link.directions.get_mut(away) else {
            return;
        };
        let passage = match lost {
            Some(how) => Passage::Lost(how),
            None => direction.pass(now, medium, &kind, &frame),
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
    pub(super) fn travel(&mut self, mut sent: Sent, frame: &Frame, to: End, passage: Passage) {
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
                    // Of one that was held, it is made now.
                    let copy = Sent {
                        id: self.trace.next_id(),
                        at,
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
