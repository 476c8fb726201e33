//! What is done to nodes.

use core::time::Duration;

use ::smoltcp::wire::EthernetAddress;

use super::super::clock::Clock;
use super::super::node::{Node, NodeId};
use super::super::trace::{Fate, Happening, Lost};
use super::super::{Frame, Host, Id, Port, Room, SimError};
use super::World;
use super::slot::Power;
use crate::Instant;

/// Whether a restart leaves a node its memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Memory {
    /// It goes on where it was, having missed what happened meanwhile: a virtual machine that was
    /// moved, a device whose RAM was kept powered.
    Kept,
    /// It begins from nothing, its clock at zero.
    Lost,
}

impl World {
    /// Switches the node off, or lets it fall over: it has no turns, and what reaches it is lost.
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

    /// Switches the node on, after having been switched off if it was not yet.
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
        slot.wake = None;
        slot.last_turn = None;
        slot.idle_turns = 0;
        let with_memory = memory == Memory::Kept;
        self.note(Some(id), None, Happening::Rebooted { with_memory });
        if !with_memory {
            self.slot_mut(id)?.clock.restart(now);
            self.give_turn(id, Node::power_on)?;
        }
        Ok(())
    }

    /// Puts the node to sleep for so long. What reaches it waits in its device, up to the
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

    /// Sets the room of all devices of the node, of those that later links make too. The node is not
    /// told: a device that has an interrupt for that [wakes](Self::wake) it.
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchNode`].
    pub fn set_room(&mut self, node: impl Into<NodeId>, room: Room) -> Result<(), SimError> {
        let id = node.into();
        let slot = self.slot_mut(id)?;
        slot.room = room;
        for port in &mut slot.ports {
            port.set_room(room);
        }
        self.note(Some(id), None, Happening::Room(room));
        Ok(())
    }

    /// Limits how often the node looks: its loop has other things to do.
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchNode`].
    pub fn set_pace(&mut self, node: impl Into<NodeId>, pace: Duration) -> Result<(), SimError> {
        self.slot_mut(node.into())?.pace = pace;
        Ok(())
    }

    /// Returns the node's clock.
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchNode`].
    pub fn clock(&self, node: impl Into<NodeId>) -> Result<Clock, SimError> {
        Ok(self.slot(node.into())?.clock)
    }

    /// Sets the node's clock forward.
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchNode`].
    pub fn clock_jump(&mut self, node: impl Into<NodeId>, by: Duration) -> Result<(), SimError> {
        let what = Happening::ClockJumped(by);
        self.set_clock(node.into(), what, |clock, now| clock.jump(now, by))
    }

    /// Sets the node's clock back, to zero at most.
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

    /// Makes the node's clock run fast by so many microseconds per second, or, if that is negative,
    /// slow.
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchNode`].
    pub fn clock_drift(&mut self, node: impl Into<NodeId>, ppm: i32) -> Result<(), SimError> {
        let what = Happening::ClockDrifts(ppm);
        self.set_clock(node.into(), what, |clock, now| clock.drift(now, ppm))
    }

    /// Makes the node's clock show multiples of `tick` only.
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

    /// Makes one reading of the node's clock too high by so much: it has a turn at that time, and
    /// at once another one at the right time. No effect on a node that is switched off or sleeps.
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchNode`], and as for [`run_until`](Self::run_until).
    pub fn clock_misread(&mut self, node: impl Into<NodeId>, by: Duration) -> Result<(), SimError> {
        let id = node.into();
        if self.slot(id)?.power != Power::On {
            return Ok(());
        }
        let clock = self.clock(id)?;
        let what = Happening::ClockJumped(by);
        self.set_clock(id, what, |clock, now| clock.jump(now, by))?;
        self.turn(id)?;
        let what = Happening::ClockSteppedBack(by);
        self.set_clock(id, what, |shown, _| *shown = clock)?;
        self.turn(id)
    }

    /// Changes the host's hardware address to one that no other host has: see
    /// [`Host::change_hardware_addr`].
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchNode`].
    pub fn change_hardware_addr(
        &mut self,
        host: Id<Host>,
        is_announced: bool,
    ) -> Result<(), SimError> {
        let id = host.into();
        self.slot_mut(id)?.is_touched = true;
        let host = self.get_mut(host).ok_or(SimError::NoSuchNode)?;
        let Some(EthernetAddress([first, count, rest @ ..])) = host.hardware_addr() else {
            return Ok(());
        };
        let [a, b, c, d] = rest;
        let mac = EthernetAddress([first, count.wrapping_add(1), a, b, c, d]);
        host.change_hardware_addr(mac, is_announced);
        let how = if is_announced {
            "announced"
        } else {
            "not announced"
        };
        self.note(
            Some(id),
            None,
            Happening::Text(format!("is at {mac} now, {how}")),
        );
        Ok(())
    }

    /// Sets whether all that reaches the host is for another station: see
    /// [`Host::hears_others`].
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchNode`].
    pub fn hear_others(&mut self, host: Id<Host>, hears: bool) -> Result<(), SimError> {
        self.get_mut(host).ok_or(SimError::NoSuchNode)?.hears_others = hears;
        let what = if hears {
            "hears only frames for another station"
        } else {
            "hears its own frames again"
        };
        self.note(Some(host.into()), None, Happening::Text(what.to_owned()));
        Ok(())
    }

    /// Writes a line of your own into the trace.
    pub fn remark(&mut self, text: impl Into<String>) {
        self.note(None, None, Happening::Text(text.into()));
    }
}
