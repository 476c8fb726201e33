//! What is promised, besides what always holds.

use core::time::Duration;

use ::smoltcp::iface::SocketHandle;
use ::smoltcp::wire::IpEndpoint;

use super::super::node::{Id, NodeId};
use super::super::trace::Happening;
use super::super::{Host, Invariant, SimError};
use super::World;
use super::slot::Power;
use crate::{Event, Instant};

/// Which connection it is.
#[derive(Clone, Copy)]
struct Connection {
    /// The local end, and the remote one.
    ends: [IpEndpoint; 2],
    /// The initial sequence number, since a later connection may have the same ends; `None` if
    /// the trace does not show it.
    initial: Option<u32>,
}

/// What is promised, besides what [always](Invariant) holds.
impl World {
    /// Promises that a host which gives up a peer of `host` is wrong from now on: the network is
    /// good enough.
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

    /// Revokes that: from now on, a host that gives up a peer of `host` may be right.
    pub fn revoke_alive(&mut self, host: Id<Host>) {
        self.alive.retain(|node| *node != host.node);
    }

    /// Promises that the peer of the connection of `handle` is dead, or as good as: the connection
    /// has to have ended by `by`, or another one begun. A socket without a connection keeps the
    /// promise, and so does a host that is off or asleep at that moment: it gives no peer up.
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
        let dead = self.connection(host, handle)?;
        // What happens at that very moment is in time.
        self.at(by.saturating_add(Duration::from_micros(1)), move |world| {
            let is_same = |now: &Connection, then: &Connection| {
                now.ends == then.ends && (now.initial.is_none() || now.initial == then.initial)
            };
            let now = world.connection(host, handle)?;
            let is_kept = now
                .zip(dead)
                .is_some_and(|(now, then)| is_same(&now, &then));
            if is_kept && world.slot(host.node)?.power == Power::On {
                return Err(world.broken(host.node, handle, Invariant::DeadPeerKept { by }));
            }
            Ok(())
        })
    }

    /// The connection that a socket has, if it has one.
    fn connection(
        &self,
        host: Id<Host>,
        handle: SocketHandle,
    ) -> Result<Option<Connection>, SimError> {
        let own = self.get(host).ok_or(SimError::NoSuchNode)?;
        Ok(own.endpoints(handle).map(|ends| {
            let sent = self.trace.frames().rev();
            let mut segments = sent
                .filter(|sent| sent.from == host.node)
                .filter_map(|sent| sent.kind.tcp());
            let syn = segments.find(|segment| {
                let src = IpEndpoint::new(segment.src_addr, segment.src_port);
                let dst = IpEndpoint::new(segment.dst_addr, segment.dst_port);
                segment.syn && [src, dst] == ends
            });
            Connection {
                ends,
                initial: syn.map(|syn| syn.seq),
            }
        }))
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
