//! What lives in a world.

use core::any::Any;
use core::fmt;
use core::marker::PhantomData;

use ::smoltcp::iface::SocketHandle;
use ::smoltcp::wire::IpEndpoint;

use super::trace::{Happening, Lost};
use super::watch::Probe;
use super::{FrameId, Invariant, Numbers, Port, Rng};
use crate::Instant;

/// Something with network ports that acts when it is given a turn: a host, a switch, a NAT, or
/// whatever you write.
///
/// A node is switched on when it is put in place, and given a turn when a frame has arrived and when
/// its [`poll_at`](Self::poll_at) has come. Time is its own [clock](super::Clock)'s.
pub trait Node: Any {
    /// The ports it has before any link is made. A node without one left cannot be linked; one
    /// that has as many as are asked for makes them in [`new_port`](Self::new_port).
    fn new_port(&mut self, index: usize) -> Option<Port>;

    /// It is switched on at `turn.now`: for the first time, or after [`World::reboot`] without
    /// its memory, and none of that may be left then.
    ///
    /// [`World::reboot`]: super::World::reboot
    fn power_on(&mut self, turn: &mut Turn<'_>);

    /// A turn: takes what has arrived, sends what there is to send.
    fn poll(&mut self, turn: &mut Turn<'_>);

    /// When it wants its next turn, if no frame arrives before; a moment that is not after `now`
    /// means at once.
    fn poll_at(&mut self, now: Instant) -> Option<Instant>;

    /// What it holds for right of the connection between `local`, which is its own, and `remote`,
    /// if it keeps account of that. The world holds the probes of others against it.
    fn numbers(&self, _local: IpEndpoint, _remote: IpEndpoint) -> Option<Numbers> {
        None
    }

    /// How a connection between `src` and `dst` is called on the other side of it, if it lies between
    /// the two and changes the names of either. The world holds the probes that pass against what the
    /// receiver knows under that name.
    fn translate(&self, _src: IpEndpoint, _dst: IpEndpoint) -> Option<(IpEndpoint, IpEndpoint)> {
        None
    }

    /// Whether all it sends is in good order, so that the world may keep account of it in its
    /// stead. What does not shake hands itself, or forges, is not.
    fn is_honest(&self) -> bool {
        false
    }
}

/// What a node has at hand in its turn.
#[derive(Debug)]
pub struct Turn<'t> {
    /// What the node's clock shows.
    pub now: Instant,
    /// Its ports, in the order in which they were linked.
    pub ports: &'t mut [Port],
    /// Its own luck.
    pub rng: &'t mut Rng,
    pub(super) reports: Vec<Report>,
}

/// What a node says of its turn, for the trace.
#[derive(Debug)]
pub(super) enum Report {
    Happened(Happening),
    Refused(FrameId, Lost),
    Probe(Probe),
    Broken(SocketHandle, Invariant),
}

impl Turn<'_> {
    /// Writes something in the trace.
    pub fn note(&mut self, happening: Happening) {
        self.reports.push(Report::Happened(happening));
    }

    /// Writes into the trace that a received frame went no further, and why.
    pub fn refuse(&mut self, frame: FrameId, why: &'static str) {
        self.reports
            .push(Report::Refused(frame, Lost::Refused(why)));
    }
}

/// Which node of a world: its number there. Another world may have a node of that number too, which
/// is then taken for it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct NodeId(pub(super) usize);

/// Which node of a world, by its number there, and of what type it is. A node of another world is
/// told from one of this by its number and type, and so not if both are the same.
pub struct Id<N> {
    pub(super) node: NodeId,
    kind: PhantomData<fn() -> N>,
}

impl<N> Id<N> {
    pub(super) const fn new(node: NodeId) -> Self {
        Self {
            node,
            kind: PhantomData,
        }
    }
}

impl<N> Clone for Id<N> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<N> Copy for Id<N> {}

impl<N> fmt::Debug for Id<N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.node.fmt(f)
    }
}

impl<N> From<Id<N>> for NodeId {
    fn from(id: Id<N>) -> Self {
        id.node
    }
}
