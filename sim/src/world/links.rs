//! What is done to links.

use super::super::SimError;
use super::super::link::{Conditions, Direction, Link, LinkId};
use super::super::node::NodeId;
use super::super::trace::{Fate, Happening, Lost, Sent};
use super::super::wire::{self, Kind};
use super::{Due, World};

impl World {
    /// Cuts the link: nothing that is sent from now on passes it. What is on its way arrives; what is
    /// [held](Self::hold) stays so, and is lost if it is let go before the [repair](Self::repair).
    ///
    /// Partitions do not nest: one repair ends them all.
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchLink`].
    pub fn partition(&mut self, link: LinkId) -> Result<(), SimError> {
        for direction in &mut self.link_mut(link)?.directions {
            direction.shut = Some(Lost::Partition);
        }
        self.note(None, Some(link), Happening::Partitioned { from: None });
        Ok(())
    }

    /// Cuts the direction away from `from`; everything passes in the other.
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
        self.direction_mut(link, from)?.shut = Some(Lost::Partition);
        let from = Some(from);
        self.note(None, Some(link), Happening::Partitioned { from });
        Ok(())
    }

    /// Pulls the cable: nothing passes either way, and what is on its way, or
    /// [held](Self::hold), is lost.
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchLink`].
    pub fn unplug(&mut self, link: LinkId) -> Result<(), SimError> {
        let (at, how) = (self.now, Lost::CableOut);
        let its = self.links.get_mut(link.0).ok_or(SimError::NoSuchLink)?;
        let trace = &mut self.trace;
        for direction in &mut its.directions {
            direction.shut = Some(how);
            direction.forget_traffic();
            for frame in direction.held.drain(..) {
                trace.settle(frame.id, Fate::Lost { at, how });
            }
        }
        self.agenda.retain(|_, due| match due {
            Due::Arrival {
                link: on, frame, ..
            } if *on == link => {
                trace.settle(frame.id, Fate::Lost { at, how });
                false
            }
            _ => true,
        });
        self.note(None, Some(link), Happening::Unplugged);
        Ok(())
    }

    /// Undoes [`partition`](Self::partition), [`partition_oneway`](Self::partition_oneway) and
    /// [`unplug`](Self::unplug), in both directions, and lets go what is held.
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchLink`].
    pub fn repair(&mut self, link: LinkId) -> Result<(), SimError> {
        for direction in &mut self.link_mut(link)?.directions {
            direction.shut = None;
        }
        self.let_go(link)?;
        self.note(None, Some(link), Happening::Repaired);
        Ok(())
    }

    /// Makes frames that are sent from now on wait on the link, in both directions, until
    /// [`release`](Self::release). Those that a partition or a pulled cable would lose are lost.
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchLink`].
    pub fn hold(&mut self, link: LinkId) -> Result<(), SimError> {
        for direction in &mut self.link_mut(link)?.directions {
            direction.is_holding = true;
        }
        self.note(None, Some(link), Happening::Held { from: None });
        Ok(())
    }

    /// Makes frames that are sent from now on in the direction away from `from` wait until
    /// [`release`](Self::release); those of the other direction pass.
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchLink`], [`SimError::NotOnLink`].
    pub fn hold_oneway(&mut self, link: LinkId, from: impl Into<NodeId>) -> Result<(), SimError> {
        let from = from.into();
        self.direction_mut(link, from)?.is_holding = true;
        let from = Some(from);
        self.note(None, Some(link), Happening::Held { from });
        Ok(())
    }

    /// Releases what is held, in both directions and in order, as if it were sent now. A partition
    /// or a pulled cable it leaves as it is.
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
        let ways = [(first, second), (second, first)];
        for (direction, (from, to)) in link.directions.iter_mut().zip(ways) {
            direction.is_holding = false;
            for frame in core::mem::take(&mut direction.held) {
                let kind = wire::parse(medium, &frame.bytes);
                let passage = direction.pass(now, medium, &kind, &frame);
                leaving.push((from, to, frame, passage));
            }
        }
        for (from, to, frame, passage) in leaving {
            let sent = self.trace.frame(frame.id).cloned();
            // What the trace has forgotten meanwhile is entered anew.
            let sent = sent.unwrap_or_else(|| Sent {
                id: self.trace.next_id(),
                at: now,
                from: from.node,
                to: to.node,
                link: id,
                kind: wire::parse(medium, &frame.bytes),
                bytes: frame.bytes.clone(),
                damaged: None,
                copy_of: None,
                fate: Fate::Held,
            });
            self.travel(sent, &frame, to, passage);
        }
        Ok(())
    }

    /// Changes what the direction away from `from` is like, for frames sent from now on.
    ///
    /// They do not overtake what is on its way already, though that may take its time: from a
    /// link that was slow for a moment nothing arrives before what it was slow with. Only
    /// [`unplug`](Self::unplug) gets rid of that.
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
        self.direction_mut(link, from)?.change(conditions);
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
