//! What lies between two ports. One effect, one file.

mod damage;
mod delay;
mod loss;
mod rate;

use core::fmt;
use core::time::Duration;
use std::rc::Rc;

use ::smoltcp::phy::Medium;

pub use self::loss::{Loss, Outages};
pub use self::rate::Rate;

use self::delay::{Delay, Order};
use self::loss::Luck;
use self::rate::Queue;
use super::trace::Lost;
use super::wire::Kind;
use super::{Frame, NodeId, Ratio, Rng};
use crate::Instant;

/// Which link of a world.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct LinkId(pub(super) usize);

/// What one direction of a link is like.
///
/// ```
/// # use core::time::Duration;
/// # use tcp_keepalive_sim::{Conditions, Loss, Ratio, SimError};
/// # fn main() -> Result<(), SimError> {
/// let radio = Conditions::ideal()
///     .latency(Duration::from_millis(40))
///     .jitter(Duration::from_millis(20))
///     .loss(Loss::random(Ratio::percent(5)?));
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conditions {
    delay: Delay,
    loss: Loss,
    damage: Ratio,
    duplication: Ratio,
    rate: Option<Rate>,
}

impl Conditions {
    /// Makes ideal conditions: everything arrives, in order, once, undamaged, and at the moment it
    /// is sent.
    #[must_use]
    pub fn ideal() -> Self {
        Self::default()
    }

    /// Sets the latency.
    #[must_use]
    pub const fn latency(mut self, latency: Duration) -> Self {
        self.delay.latency = latency;
        self
    }

    /// Lets frames take up to so much longer than the latency, and still arrive in order.
    #[must_use]
    pub const fn jitter(mut self, jitter: Duration) -> Self {
        self.delay.jitter = jitter;
        self
    }

    /// Delays a frame in so many by `by`, and overtaken by those sent meanwhile.
    #[must_use]
    pub const fn reordering(mut self, ratio: Ratio, by: Duration) -> Self {
        self.delay.reordering = ratio;
        self.delay.by = by;
        self
    }

    /// Sets how frames get lost.
    #[must_use]
    pub fn loss(mut self, loss: Loss) -> Self {
        self.loss = loss;
        self
    }

    /// Flips a bit of a packet in so many. ARP and the header of an Ethernet
    /// frame are spared: each hop guards them with a check sequence.
    #[must_use]
    pub const fn corruption(mut self, ratio: Ratio) -> Self {
        self.damage = ratio;
        self
    }

    /// Doubles a frame in so many.
    #[must_use]
    pub const fn duplication(mut self, ratio: Ratio) -> Self {
        self.duplication = ratio;
        self
    }

    /// Limits the rate.
    #[must_use]
    pub const fn rate(mut self, rate: Rate) -> Self {
        self.rate = Some(rate);
        self
    }
}

/// Chooses frames, by who sends them and what they are.
pub(super) type Chosen = Box<dyn FnMut(NodeId, &Kind) -> bool>;

/// An end of a link: a node, and which of its ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct End {
    pub(super) node: NodeId,
    pub(super) port: usize,
}

/// Two directions between two ends.
pub(super) struct Link {
    pub(super) medium: Medium,
    pub(super) ends: [End; 2],
    /// The one away from the first end, and the one away from the second.
    pub(super) directions: [Direction; 2],
    /// Each loses the first frame that it chooses, and all that it chooses.
    pub(super) lose_next: Vec<Chosen>,
    pub(super) lose_every: Option<Chosen>,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            medium,
            ends,
            directions,
            lose_next: _,
            lose_every: _,
        } = self;
        f.debug_struct("Link")
            .field("medium", medium)
            .field("ends", ends)
            .field("directions", directions)
            .finish_non_exhaustive()
    }
}

impl Link {
    /// Whether the scenario chose this frame to be lost.
    pub(super) fn is_chosen(&mut self, from: NodeId, kind: &Kind) -> bool {
        let next = self
            .lose_next
            .iter_mut()
            .position(|chosen| chosen(from, kind));
        if let Some(next) = next {
            drop(self.lose_next.remove(next));
        }
        let every = self
            .lose_every
            .as_mut()
            .is_some_and(|chosen| chosen(from, kind));
        every || next.is_some()
    }

    /// The direction away from `node`.
    pub(super) fn away_from(&self, node: NodeId) -> Option<usize> {
        self.ends.iter().position(|end| end.node == node)
    }
}

/// One direction of a link, and how its luck stands.
#[derive(Debug)]
pub(super) struct Direction {
    pub(super) conditions: Conditions,
    /// Nothing passes: how it is lost.
    pub(super) shut: Option<Lost>,
    /// Frames wait until they are let go.
    pub(super) is_holding: bool,
    pub(super) held: Vec<Frame>,
    luck: Luck,
    order: Order,
    queue: Queue,
    rng: Rng,
}

/// What becomes of a frame: it is lost, or arrives, maybe twice.
pub(super) enum Passage {
    Lost(Lost),
    Held,
    Arrives {
        first: Transit,
        again: Option<Transit>,
    },
}

/// When and how a frame arrives.
pub(super) struct Transit {
    pub(super) at: Instant,
    /// Its octets, if they are others than those that were sent.
    pub(super) damaged: Option<Rc<[u8]>>,
}

impl Direction {
    pub(super) const fn new(conditions: Conditions, rng: Rng) -> Self {
        Self {
            conditions,
            shut: None,
            is_holding: false,
            held: Vec::new(),
            luck: Luck::new(),
            order: Order::new(),
            queue: Queue::new(),
            rng,
        }
    }

    /// From now on it is like that.
    pub(super) fn change(&mut self, conditions: Conditions) {
        if conditions.rate != self.conditions.rate {
            // What waits has left by the old rate's reckoning, and keeps its place in the order.
            self.queue = Queue::new();
        }
        self.conditions = conditions;
    }

    /// Nothing is on its way any more that others would have to wait for.
    pub(super) const fn forget_traffic(&mut self) {
        self.order = Order::new();
        self.queue = Queue::new();
    }

    /// What becomes of a frame that is sent now.
    pub(super) fn pass(
        &mut self,
        now: Instant,
        medium: Medium,
        kind: &Kind,
        frame: &Frame,
    ) -> Passage {
        if let Some(why) = self.shut {
            return Passage::Lost(why);
        }
        if self.is_holding {
            self.held.push(frame.clone());
            return Passage::Held;
        }
        if let Some(why) = self.luck.strikes(&self.conditions.loss, now, &mut self.rng) {
            return Passage::Lost(why);
        }
        let departs = match &self.conditions.rate {
            None => now,
            Some(rate) => match self.queue.departure(rate, now, frame.bytes.len()) {
                Some(departs) => departs,
                None => return Passage::Lost(Lost::QueueFull),
            },
        };
        let is_doubled = self.rng.happens(self.conditions.duplication);
        let first = self.transit(departs, medium, kind, frame);
        let again = is_doubled.then(|| self.transit(departs, medium, kind, frame));
        Passage::Arrives { first, again }
    }

    fn transit(&mut self, departs: Instant, medium: Medium, kind: &Kind, frame: &Frame) -> Transit {
        let at = self
            .order
            .arrival(&self.conditions.delay, departs, &mut self.rng);
        let header = if medium == Medium::Ethernet { 14 } else { 0 };
        let is_guarded = matches!(kind, Kind::NeighborQuery(_) | Kind::NeighborReply);
        let damaged = (self.rng.happens(self.conditions.damage) && !is_guarded)
            .then(|| damage::flip_a_bit(&frame.bytes, header, &mut self.rng));
        Transit { at, damaged }
    }
}
