//! Where a node's frames come in and go out.

use std::collections::VecDeque;
use std::rc::Rc;

use ::smoltcp::phy::{ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use ::smoltcp::time;

use super::trace::FrameId;

/// How many received frames a device keeps until it is polled.
const RING: usize = 64;

/// A frame on its way.
#[derive(Clone, Debug)]
pub struct Frame {
    /// Which one it is in the [trace](super::Trace).
    pub id: FrameId,
    /// Its octets.
    pub bytes: Rc<[u8]>,
}

/// Whether a device takes and gives frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Room {
    /// It does.
    #[default]
    Plenty,
    /// It takes so many frames more, and then behaves as with [`Room::None`]; of zero, at once.
    Frames(u32),
    /// It takes none; what is received is handed over all the same, with room for one answer.
    NoneToTransmit,
    /// It takes none and gives none: smoltcp's tokens come in pairs.
    None,
}

/// One end of a link: a network device, as smoltcp understands it.
///
/// A node of your own hands it to `Interface::poll`, or uses [`receive_frame`](Self::receive_frame)
/// and [`send_frame`](Self::send_frame).
#[derive(Debug)]
pub struct Port {
    medium: Medium,
    checksums: ChecksumCapabilities,
    room: Room,
    ring: usize,
    inbox: VecDeque<Frame>,
    outbox: Vec<Vec<u8>>,
    /// Frames that found no room, and that will not be sent again.
    lost: Vec<Vec<u8>>,
    /// What was taken from the inbox since the world last asked.
    taken: Vec<Frame>,
}

impl Port {
    /// Makes a port that has plenty of room.
    #[must_use]
    pub fn new(medium: Medium) -> Self {
        Self {
            medium,
            checksums: ChecksumCapabilities::default(),
            room: Room::Plenty,
            ring: RING,
            inbox: VecDeque::new(),
            outbox: Vec::new(),
            lost: Vec::new(),
            taken: Vec::new(),
        }
    }

    /// Makes the device compute or check some checksums itself. The wire is then trusted with them:
    /// what such a device sends is made right, and what it receives wrong is dropped, only if you
    /// say so in a node of your own.
    #[must_use]
    pub fn with_checksums(mut self, checksums: ChecksumCapabilities) -> Self {
        self.checksums = checksums;
        self
    }

    /// Keeps up to `frames` received frames until they are looked at; 64 otherwise. What finds no
    /// place is lost.
    #[must_use]
    pub fn with_ring(mut self, frames: usize) -> Self {
        self.ring = frames;
        self
    }

    /// Returns the medium: Ethernet or IP.
    #[must_use]
    pub const fn medium(&self) -> Medium {
        self.medium
    }

    /// Whether it takes frames now.
    #[must_use]
    pub const fn room(&self) -> Room {
        self.room
    }

    /// Returns the next frame that has arrived.
    pub fn receive_frame(&mut self) -> Option<Frame> {
        if self.room == Room::None {
            return None;
        }
        let frame = self.inbox.pop_front()?;
        self.taken.push(frame.clone());
        Some(frame)
    }

    /// Sends a frame, if there is room. Whether there was.
    pub fn send_frame(&mut self, bytes: Vec<u8>) -> bool {
        let has_room = self.has_room();
        if has_room {
            self.push(bytes);
        }
        has_room
    }

    /// Sends a frame, which is lost if there is no room.
    pub(super) fn send_or_lose(&mut self, bytes: Vec<u8>) {
        if self.has_room() {
            self.push(bytes);
        } else {
            self.lost.push(bytes);
        }
    }

    pub(super) const fn has_room(&self) -> bool {
        matches!(self.room, Room::Plenty | Room::Frames(1..))
    }

    fn push(&mut self, bytes: Vec<u8>) {
        if let Room::Frames(left) = self.room {
            self.room = match left.saturating_sub(1) {
                0 => Room::None,
                left => Room::Frames(left),
            };
        }
        self.outbox.push(bytes);
    }

    pub(super) const fn set_room(&mut self, room: Room) {
        self.room = match room {
            Room::Frames(0) => Room::None,
            room => room,
        };
    }

    /// Whether a frame waits that can be had.
    pub(super) fn has_arrival(&self) -> bool {
        self.room != Room::None && !self.inbox.is_empty()
    }

    /// Takes in a frame that has arrived; whether there was a place for it.
    pub(super) fn accept(&mut self, frame: Frame) -> bool {
        let has_place = self.inbox.len() < self.ring;
        if has_place {
            self.inbox.push_back(frame);
        }
        has_place
    }

    /// What has arrived for this station is for another one.
    pub(super) fn misaddress(&mut self) {
        for frame in &mut self.inbox {
            let mut bytes = frame.bytes.to_vec();
            // The octet of a hardware address that says least.
            if let [first, ..] = bytes[..]
                && first & 1 == 0
                && let Some(octet) = bytes.get_mut(5)
            {
                *octet ^= 0x80;
            }
            frame.bytes = bytes.into();
        }
    }

    /// Forgets what was received, as a device does that loses its power.
    pub(super) fn drain_inbox(&mut self) -> impl Iterator<Item = Frame> + use<'_> {
        self.inbox.drain(..)
    }

    /// What was received and sent in this turn so far.
    pub(super) fn moved(&self) -> (&[Frame], &[Vec<u8>]) {
        (&self.taken, &self.outbox)
    }

    pub(super) fn take_outbox(&mut self) -> Vec<Vec<u8>> {
        core::mem::take(&mut self.outbox)
    }

    pub(super) fn take_lost(&mut self) -> Vec<Vec<u8>> {
        core::mem::take(&mut self.lost)
    }

    pub(super) fn take_taken(&mut self) -> Vec<Frame> {
        core::mem::take(&mut self.taken)
    }
}

impl Device for Port {
    type RxToken<'a> = Arrived;
    type TxToken<'a> = Departing<'a>;

    fn receive(&mut self, _: time::Instant) -> Option<(Arrived, Departing<'_>)> {
        let frame = self.receive_frame()?;
        Some((Arrived(frame), Departing(self)))
    }

    fn transmit(&mut self, _: time::Instant) -> Option<Departing<'_>> {
        self.has_room().then_some(Departing(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = self.medium;
        capabilities.max_transmission_unit = 1514;
        capabilities.checksum = self.checksums.clone();
        capabilities
    }
}

/// A frame that has arrived.
#[derive(Debug)]
pub struct Arrived(Frame);

impl RxToken for Arrived {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0.bytes)
    }
}

/// Room for a frame.
#[derive(Debug)]
pub struct Departing<'p>(&'p mut Port);

impl TxToken for Departing<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut bytes = vec![0; len];
        let result = f(&mut bytes);
        self.0.push(bytes);
        result
    }
}
