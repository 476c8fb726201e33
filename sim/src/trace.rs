//! What happened.

use core::time::Duration;
use std::rc::Rc;

use ::smoltcp::iface::SocketHandle;
use ::smoltcp::phy::Medium;
use ::smoltcp::wire::IpEndpoint;

use super::wire::Kind;
use super::{LinkId, NodeId, Room};
use crate::smoltcp::CloseReason;
use crate::{Event, Instant};

/// Which frame of a trace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct FrameId(pub(super) usize);

/// Everything that happened in a world so far, in order, or [the last](super::World::keep_last) of
/// it.
///
/// It has the octets of every frame: about 2 kB for each segment that is answered. A simulation of
/// months had better keep the last of it only.
#[derive(Clone, Debug, Default)]
pub struct Trace {
    nodes: Vec<&'static str>,
    links: Vec<([NodeId; 2], Medium)>,
    entries: Vec<Entry>,
    /// How many came before the first of them.
    forgotten: usize,
    keep: Option<usize>,
}

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Entry {
    /// A frame was sent.
    Sent(Sent),
    /// Anything else.
    Note(Note),
}

impl Entry {
    /// Returns when it happened.
    #[must_use]
    pub const fn at(&self) -> Instant {
        match self {
            Self::Sent(sent) => sent.at,
            Self::Note(note) => note.at,
        }
    }
}

/// A frame that was sent.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Which.
    pub id: FrameId,
    /// When, by the world's clock.
    pub at: Instant,
    /// By which node. A switch or a NAT that passes a frame on sends one of its own.
    pub from: NodeId,
    /// To which node: the one at the other end of the link, whatever the address on the frame.
    pub to: NodeId,
    /// Over which link.
    pub link: LinkId,
    /// What it is.
    pub kind: Kind,
    /// Its octets, as they were sent.
    pub bytes: Rc<[u8]>,
    /// Its octets as they arrive, if a bit of them is the other way.
    pub damaged: Option<Rc<[u8]>>,
    /// The link made it of that other frame.
    pub copy_of: Option<FrameId>,
    /// What became of it.
    pub fate: Fate,
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It is held on the link.
    Held,
    /// It will arrive.
    OnItsWay {
        /// When.
        arrives: Instant,
    },
    /// It has arrived.
    Arrived {
        /// When.
        at: Instant,
    },
    /// It was lost.
    Lost {
        /// When.
        at: Instant,
        /// How.
        how: Lost,
    },
}

/// How a frame was lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Lost {
    /// The link is partitioned.
    Partition,
    /// The cable is out.
    CableOut,
    /// At random.
    ByChance,
    /// In a burst of losses.
    InBurst,
    /// In an outage.
    InOutage,
    /// The link's queue was full.
    QueueFull,
    /// The scenario had chosen it.
    Chosen,
    /// The sending device had no room for it, and its node does not send it again.
    NoRoom,
    /// The receiving node is off.
    NobodyThere,
    /// The receiving device had no place for it.
    RingFull,
    /// The node that received it passed it no further, and says why.
    Refused(&'static str),
}

/// Something that happened at a node, on a link, or to the world.
#[derive(Clone, Debug)]
pub struct Note {
    /// When, by the world's clock.
    pub at: Instant,
    /// At which node, if at one.
    pub node: Option<NodeId>,
    /// On which link, if on one.
    pub link: Option<LinkId>,
    /// What.
    pub what: Happening,
}

/// What may happen besides frames.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Happening {
    /// A keep-alive reported something.
    KeepAlive {
        /// The socket's handle.
        handle: SocketHandle,
        /// What.
        event: Event,
    },
    /// A connection ended.
    Ended {
        /// The socket's handle.
        handle: SocketHandle,
        /// How.
        reason: CloseReason,
    },
    /// The node was switched off, or fell over.
    Crashed,
    /// It was switched on again, with its memory or without.
    Rebooted {
        /// With it.
        with_memory: bool,
    },
    /// It sleeps.
    Sleeps {
        /// So long.
        until: Instant,
    },
    /// It woke.
    Woke,
    /// Its device has that much room now.
    Room(Room),
    /// Its clock was set forward.
    ClockJumped(Duration),
    /// Its clock was set back.
    ClockSteppedBack(Duration),
    /// Its clock runs fast or, if negative, slow by so many microseconds per second.
    ClockDrifts(i32),
    /// Its clock ticks only so often.
    ClockTicks(Duration),
    /// The link is partitioned: nothing sent from that node passes, or, if `None`, nothing.
    Partitioned {
        /// From which host.
        from: Option<NodeId>,
    },
    /// The cable is out.
    Unplugged,
    /// The link passes everything again that its conditions let pass.
    Repaired,
    /// Frames are held on the link: those from that node, or, if `None`, all.
    Held {
        /// From which host.
        from: Option<NodeId>,
    },
    /// And let go.
    Released,
    /// A direction's conditions changed.
    ConditionsChanged {
        /// Away from that node.
        from: NodeId,
    },
    /// A NAT or firewall has forgotten a connection that was idle for too long.
    MappingExpired {
        /// The inside end.
        inside: IpEndpoint,
        /// The outside end.
        outside: IpEndpoint,
    },
    /// It has forgotten one before its time, since it had no place for another.
    MappingEvicted {
        /// The inside end.
        inside: IpEndpoint,
        /// The outside end.
        outside: IpEndpoint,
    },
    /// Anything else.
    Text(String),
}

impl Trace {
    /// Returns all that happened, in order. A frame's place is that of its sending.
    #[must_use]
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Returns all frames that were sent, in order.
    #[must_use]
    pub fn frames(&self) -> impl DoubleEndedIterator<Item = &Sent> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Sent(sent) => Some(sent),
            Entry::Note(_) => None,
        })
    }

    /// Returns all else that happened, in order.
    #[must_use]
    pub fn notes(&self) -> impl DoubleEndedIterator<Item = &Note> {
        self.entries.iter().filter_map(|entry| match entry {
            Entry::Note(note) => Some(note),
            Entry::Sent(_) => None,
        })
    }

    /// Returns a frame by its number.
    #[must_use]
    pub fn frame(&self, id: FrameId) -> Option<&Sent> {
        match self.entries.get(self.index(id)?)? {
            Entry::Sent(sent) => Some(sent),
            Entry::Note(_) => None,
        }
    }

    /// Returns how many entries came before the first that there still is.
    #[must_use]
    pub const fn forgotten(&self) -> usize {
        self.forgotten
    }

    /// A frame's place among the entries, if it is not forgotten.
    pub(super) const fn index(&self, id: FrameId) -> Option<usize> {
        id.0.checked_sub(self.forgotten)
    }

    /// Returns the names of the nodes, in the order of their numbers.
    #[must_use]
    pub fn node_names(&self) -> &[&'static str] {
        &self.nodes
    }

    /// Returns the name of a node; empty if it is not of this world.
    #[must_use]
    pub fn name(&self, node: NodeId) -> &'static str {
        self.nodes.get(node.0).copied().unwrap_or_default()
    }

    /// Returns the nodes at the ends of a link.
    #[must_use]
    pub fn ends(&self, link: LinkId) -> Option<[NodeId; 2]> {
        let (ends, _) = self.links.get(link.0)?;
        Some(*ends)
    }

    pub(super) fn add_node(&mut self, name: &'static str) {
        self.nodes.push(name);
    }

    /// All links, in the order of their numbers.
    pub(super) fn links(&self) -> impl Iterator<Item = (LinkId, [NodeId; 2], Medium)> {
        let links = self.links.iter().enumerate();
        links.map(|(index, (ends, medium))| (LinkId(index), *ends, *medium))
    }

    pub(super) fn add_link(&mut self, ends: [NodeId; 2], medium: Medium) {
        self.links.push((ends, medium));
    }

    /// The number of the next frame.
    pub(super) fn next_id(&self) -> FrameId {
        FrameId(self.forgotten + self.entries.len())
    }

    /// Enters a frame, or what has become of one that was held.
    pub(super) fn sent(&mut self, sent: Sent) {
        let Some(index) = self.index(sent.id) else {
            return;
        };
        match self.entries.get_mut(index) {
            Some(entry) => *entry = Entry::Sent(sent),
            None => self.enter(Entry::Sent(sent)),
        }
    }

    pub(super) fn note(&mut self, note: Note) {
        self.enter(Entry::Note(note));
    }

    pub(super) fn keep_last(&mut self, entries: usize) {
        self.keep = Some(entries);
        self.forget(entries);
    }

    fn enter(&mut self, entry: Entry) {
        self.entries.push(entry);
        if let Some(keep) = self.keep
            && self.entries.len() > keep.saturating_mul(2)
        {
            self.forget(keep);
        }
    }

    /// Forgets all but the last `keep` entries.
    fn forget(&mut self, keep: usize) {
        let surplus = self.entries.len().saturating_sub(keep);
        drop(self.entries.drain(..surplus));
        self.forgotten += surplus;
    }

    pub(super) fn settle(&mut self, id: FrameId, fate: Fate) {
        let index = self.index(id);
        if let Some(Entry::Sent(sent)) = index.and_then(|index| self.entries.get_mut(index)) {
            sent.fate = fate;
        }
    }
}
