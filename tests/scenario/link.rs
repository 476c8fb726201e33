//! The link between the two ends, and the record of all that was sent over it.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::fmt;
use std::rc::Rc;

use smoltcp::phy::{ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

use super::time::Time;
use super::wire::{self, Kind, Segment};

/// One end of the link.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The host under test.
    Us,
    Peer,
}

impl End {
    pub const fn other(self) -> Self {
        match self {
            Self::Us => Self::Peer,
            Self::Peer => Self::Us,
        }
    }
}

/// What became of a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    OnItsWay,
    Lost,
}

/// A frame that was sent.
#[derive(Clone)]
pub struct Sent {
    pub at: Time,
    pub from: End,
    pub kind: Kind,
    pub fate: Fate,
    pub bytes: Vec<u8>,
}

impl Sent {
    /// The segment, if it is one.
    pub fn tcp(&self) -> Option<&Segment> {
        match &self.kind {
            Kind::Tcp(segment) => Some(segment),
            _ => None,
        }
    }
}

impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            at,
            from,
            kind,
            fate,
            bytes,
        } = self;
        let from = match from {
            End::Us => "us  >",
            End::Peer => "    < peer",
        };
        write!(f, "{at:?}  {from:10} {kind:?} [{} octets]", bytes.len())?;
        f.write_str(if *fate == Fate::Lost { " LOST" } else { "" })
    }
}

/// Whether a device takes and gives frames.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Room {
    Plenty,
    /// No room to transmit; what is received is handed over with room for the answer.
    NoneToTransmit,
    /// No room at all, and so nothing is received either: tokens come in pairs.
    None,
    /// Room for so many frames more.
    Frames(usize),
}

/// Chooses frames.
pub type Chosen = Box<dyn FnMut(End, &Kind) -> bool>;

pub struct Link {
    pub now: Time,
    pub latency: Time,
    pub medium: Medium,
    /// Frames on their way to the host under test and to the peer.
    to_us: VecDeque<(Time, Vec<u8>)>,
    to_peer: VecDeque<(Time, Vec<u8>)>,
    pub cut_from_us: bool,
    pub cut_from_peer: bool,
    /// Each drops the first frame it chooses.
    drops: Vec<Chosen>,
    /// Drops every frame it chooses.
    pub loss: Option<Chosen>,
    pub room: Room,
    pub trace: Vec<Sent>,
    /// Frames received by the host under test.
    pub received: usize,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(&self.trace).finish()
    }
}

impl Link {
    pub fn new(medium: Medium, latency: Time, now: Time) -> Self {
        Self {
            now,
            latency,
            medium,
            to_us: VecDeque::new(),
            to_peer: VecDeque::new(),
            cut_from_us: false,
            cut_from_peer: false,
            drops: Vec::new(),
            loss: None,
            room: Room::Plenty,
            trace: Vec::new(),
            received: 0,
        }
    }

    pub fn drop_next(&mut self, chosen: impl FnMut(End, &Kind) -> bool + 'static) {
        self.drops.push(Box::new(chosen));
    }

    pub fn send(&mut self, from: End, bytes: Vec<u8>) {
        let kind = wire::parse(self.medium, &bytes);
        if let (End::Us, Room::Frames(left)) = (from, self.room) {
            self.room = if left > 1 {
                Room::Frames(left - 1)
            } else {
                Room::None
            };
        }
        let is_cut = match from {
            End::Us => self.cut_from_us,
            End::Peer => self.cut_from_peer,
        };
        let drop_by = self.drops.iter_mut().position(|drop| drop(from, &kind));
        if let Some(drop_by) = drop_by {
            drop(self.drops.remove(drop_by));
        }
        let is_lost = self.loss.as_mut().is_some_and(|loss| loss(from, &kind));
        let fate = if is_cut || is_lost || drop_by.is_some() {
            Fate::Lost
        } else {
            Fate::OnItsWay
        };
        if fate == Fate::OnItsWay {
            let arrives_at = self.now + self.latency;
            let bytes = bytes.clone();
            self.queue(from.other()).push_back((arrives_at, bytes));
        }
        self.trace.push(Sent {
            at: self.now,
            from,
            kind,
            fate,
            bytes,
        });
    }

    fn queue(&mut self, to: End) -> &mut VecDeque<(Time, Vec<u8>)> {
        match to {
            End::Us => &mut self.to_us,
            End::Peer => &mut self.to_peer,
        }
    }

    pub fn receive(&mut self, end: End) -> Option<Vec<u8>> {
        let now = self.now;
        let queue = self.queue(end);
        queue.front().filter(|(at, _)| *at <= now)?;
        let (_, frame) = queue.pop_front()?;
        if end == End::Us {
            self.received += 1;
        }
        Some(frame)
    }

    pub fn next_arrival(&self, end: End) -> Option<Time> {
        let queue = match end {
            End::Us if self.room == Room::None => return None,
            End::Us => &self.to_us,
            End::Peer => &self.to_peer,
        };
        queue.front().map(|(at, _)| *at)
    }

    /// A number that grows whenever anything was sent or received.
    pub fn progress(&self) -> usize {
        self.trace.len() + self.received
    }
}

/// The device at one end.
pub struct Port {
    pub link: Rc<RefCell<Link>>,
    pub end: End,
    pub checksums: ChecksumCapabilities,
}

impl Port {
    fn room(&self) -> Room {
        match self.end {
            End::Us => self.link.borrow().room,
            End::Peer => Room::Plenty,
        }
    }

    fn departing(&self) -> Departing {
        Departing {
            link: Rc::clone(&self.link),
            end: self.end,
        }
    }
}

impl Device for Port {
    type RxToken<'a> = Arrived;
    type TxToken<'a> = Departing;

    fn receive(&mut self, _: Instant) -> Option<(Arrived, Departing)> {
        if self.room() == Room::None {
            return None;
        }
        let frame = self.link.borrow_mut().receive(self.end)?;
        Some((Arrived(frame), self.departing()))
    }

    fn transmit(&mut self, _: Instant) -> Option<Departing> {
        matches!(self.room(), Room::Plenty | Room::Frames(_)).then(|| self.departing())
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = self.link.borrow().medium;
        capabilities.max_transmission_unit = 1514;
        capabilities.checksum = self.checksums.clone();
        capabilities
    }
}

pub struct Arrived(Vec<u8>);

impl RxToken for Arrived {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

pub struct Departing {
    link: Rc<RefCell<Link>>,
    end: End,
}

impl TxToken for Departing {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.link.borrow_mut().send(self.end, frame);
        result
    }
}
