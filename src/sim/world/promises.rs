//! What is promised, besides what always holds.

use ::smoltcp::iface::SocketHandle;

use super::super::node::{Id, NodeId};
use super::super::trace::Happening;
use super::super::{Host, Invariant, SimError};
use super::World;
use crate::{Event, Instant};

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

    pub(super) fn check_promise(&self, id: NodeId, what: &Happening) -> Result<(), SimError> {
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
