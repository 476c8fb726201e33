//! The connections, and what the frames that pass the tap do to them.

use ::smoltcp::iface::SocketHandle;
use ::smoltcp::phy::DeviceCapabilities;
use heapless::Vec;

use super::convert::{Link, link_of};
use super::frame::{Frame, Key, TcpFrame};
use super::index::Index;
use crate::{Config, Event, Flow, Instant, KeepAlive, Received, State};

/// The longest segment whose checksum is verified on arrival. That of a longer one would be a
/// second pass over its payload; it is believed once our stack, which has made the first pass,
/// has acknowledged it.
const VERIFIED_LEN: usize = 128;

/// Everything that is known about one enabled handle.
///
/// On a 32-bit, IPv4-only build what a received segment touches is the first 64 bytes: up to the
/// machine's flags and counts.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Slot {
    pub(super) key: Key,
    pub(super) flow: Flow,
    pub(super) handle: SocketHandle,
    pub(super) marks: Marks,
    pub(super) ended: Option<Ended>,
    pub(super) machine: KeepAlive,
}

/// How the handle's last connection ended, if not by a verdict: of that the machine tells.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(super) enum Ended {
    PeerResetWhileProbing,
    PeerReset,
    Closed,
    LocalAbort,
    AddressLost,
    Verdict,
}

/// Independent facts about a slot, one bit each.
#[derive(Clone, Copy, Debug)]
pub(super) struct Marks(u8);

impl Marks {
    /// The handle has a connection, and `key` and `flow` are its.
    pub(super) const BOUND: u8 = 1;
    /// The connection is synchronised, and the machine was switched on.
    pub(super) const SYNCHRONISED: u8 = 1 << 1;
    /// smoltcp was asked for a keep-alive of its own, which is to be read and swallowed.
    pub(super) const LEARNING: u8 = 1 << 2;
    /// Disabled, and kept only until that keep-alive has been swallowed.
    pub(super) const DROPPED: u8 = 1 << 3;
    /// A segment too long to be verified has arrived; the stack's acknowledgement will tell.
    pub(super) const UNPROVEN: u8 = 1 << 4;
    /// We sent a FIN.
    pub(super) const FIN_SENT: u8 = 1 << 5;
    /// A RST arrived that smoltcp may have believed.
    pub(super) const RESET_RECEIVED: u8 = 1 << 6;
    /// A FIN passed, in either direction.
    pub(super) const CLOSING: u8 = 1 << 7;

    #[inline]
    pub(super) const fn has(self, mark: u8) -> bool {
        self.0 & mark != 0
    }

    #[inline]
    pub(super) const fn set(&mut self, marks: u8) {
        self.0 |= marks;
    }

    #[inline]
    pub(super) const fn clear(&mut self, marks: u8) {
        self.0 &= !marks;
    }
}

impl Slot {
    fn new(handle: SocketHandle, config: Config) -> Self {
        Self {
            key: Key::NONE,
            flow: Flow::new(0, 0),
            handle,
            marks: Marks(0),
            ended: None,
            machine: KeepAlive::new(config),
        }
    }

    /// Starts over with the connection `key`, of which `flow` knows nothing yet.
    pub(super) fn bind(&mut self, key: Key, flow: Flow) {
        self.key = key;
        self.flow = flow;
        self.marks.clear(!Marks::DROPPED);
        self.marks.set(Marks::BOUND);
        self.ended = None;
        self.machine.reset();
    }

    /// The connection is over. The machine keeps what there is to tell until the next one.
    pub(super) fn unbind(&mut self, ended: Ended) {
        self.marks.clear(!Marks::DROPPED);
        self.ended = Some(ended);
        self.machine.disable();
    }
}

/// The connections of one interface.
#[derive(Debug)]
#[expect(
    clippy::struct_excessive_bools,
    reason = "independent facts, each read at one place"
)]
pub(super) struct Table<const N: usize> {
    /// In the order of their handles, as smoltcp's socket set has them.
    pub(super) slots: Vec<Slot, N>,
    index: Index<N>,
    /// When [`Table::slots`] have to be served: never later than the earliest moment at which
    /// one of them is due, and [`Instant::ZERO`] for "at once". A received segment only ever
    /// makes it earlier than need be; then serving finds nothing due and repairs it.
    pub(super) wake_at: Instant,
    /// A probe is waiting to leave: it is offered at each poll (K4).
    pub(super) is_wanting: bool,
    /// Some machine may have an event to report.
    pub(super) has_events: bool,
    /// Some slot is learning.
    pub(super) is_learning: bool,
    /// Some slot has a user timeout.
    pub(super) has_user_timeout: bool,
    /// Something was to be sent during this poll and could not leave.
    pub(super) is_stalled: bool,
    pub(super) now: Instant,
    pub(super) link: Link,
    verifies_header: bool,
    verifies_segment: bool,
    /// The slot of the last segment that is unproven, and when it arrived.
    unproven: Option<(usize, Instant)>,
    device: DeviceProgress,
}

/// Whether the device took what it was given during this poll.
#[derive(Clone, Copy, Debug, Default)]
struct DeviceProgress {
    /// It refused to take a frame.
    refused: bool,
    /// It took one.
    sent: bool,
    /// It offered to take one, and nothing was given to it yet.
    offered: bool,
}

impl<const N: usize> Table<N> {
    pub(super) const fn new() -> Self {
        Self {
            slots: Vec::new(),
            index: Index::new(),
            wake_at: Instant::MAX,
            is_wanting: false,
            has_events: false,
            is_learning: false,
            has_user_timeout: false,
            is_stalled: false,
            now: Instant::ZERO,
            link: Link::Unknown,
            verifies_header: true,
            verifies_segment: true,
            unproven: None,
            device: DeviceProgress {
                refused: false,
                sent: false,
                offered: false,
            },
        }
    }

    /// The slot of an enabled handle.
    pub(super) fn slot(&self, handle: SocketHandle) -> Option<&Slot> {
        let position = self.position(handle).ok()?;
        self.slots
            .get(position)
            .filter(|slot| !slot.marks.has(Marks::DROPPED))
    }

    /// Enables `handle`, or gives it another configuration. Returns whether there was room.
    pub(super) fn enable(&mut self, handle: SocketHandle, config: Config) -> bool {
        self.wake_at = Instant::ZERO;
        match self.position(handle) {
            Ok(position) => {
                if let Some(slot) = self.slots.get_mut(position) {
                    slot.machine.set_config(self.now, config);
                    if slot.marks.has(Marks::DROPPED) {
                        slot.marks.clear(Marks::DROPPED);
                        slot.machine.enable(self.now);
                    }
                }
                true
            }
            Err(position) => {
                let is_new = self
                    .slots
                    .insert(position, Slot::new(handle, config))
                    .is_ok();
                self.reindex();
                is_new
            }
        }
    }

    pub(super) fn disable(&mut self, handle: SocketHandle) {
        let Ok(position) = self.position(handle) else {
            return;
        };
        let Some(slot) = self.slots.get_mut(position) else {
            return;
        };
        if slot.marks.has(Marks::LEARNING) {
            slot.marks.set(Marks::DROPPED);
            slot.machine.disable();
        } else {
            self.slots.remove(position);
            self.reindex();
        }
        if self.wake_at != Instant::ZERO {
            self.plan();
        }
    }

    /// Takes note of which connection is where, after that has changed.
    pub(super) fn reindex(&mut self) {
        self.unproven = None;
        self.index.clear();
        for (position, slot) in self.slots.iter().enumerate() {
            if slot.marks.has(Marks::BOUND) {
                self.index.insert(slot.key.hash(), position);
            }
        }
    }

    pub(super) fn poll_event(&mut self) -> Option<(SocketHandle, Event)> {
        if !self.has_events {
            return None;
        }
        for slot in &mut self.slots {
            if let Some(event) = slot.machine.poll_event() {
                return Some((slot.handle, event));
            }
        }
        self.has_events = false;
        None
    }

    /// A poll begins.
    #[inline]
    pub(super) fn begin_poll(&mut self, now: Instant) {
        self.now = now;
        self.is_stalled = false;
        self.device = DeviceProgress::default();
    }

    /// What the device can do, when it is seen for the first time.
    pub(super) fn meet(&mut self, capabilities: &DeviceCapabilities) {
        self.link = link_of(capabilities);
        self.verifies_header = capabilities.checksum.ipv4.rx();
        self.verifies_segment = capabilities.checksum.tcp.rx();
    }

    /// The device refused a frame and took none: it cannot transmit at present.
    #[inline]
    pub(super) const fn is_device_stuck(&self) -> bool {
        self.device.refused && !self.device.sent
    }

    /// The stack asked the device for room.
    #[inline]
    pub(super) fn handle_token(&mut self, granted: bool) {
        self.settle_token();
        if granted {
            self.device.offered = true;
        } else {
            self.device.refused = true;
            self.is_stalled = true;
        }
    }

    /// The stack has had what room it asked for. If it sent nothing, it does not know where to.
    #[inline]
    pub(super) fn settle_token(&mut self) {
        if self.device.offered {
            self.device.offered = false;
            self.is_stalled = true;
        }
    }

    /// A frame is about to reach the stack.
    #[inline]
    pub(super) fn handle_received(&mut self, frame: &[u8]) {
        let Frame::Tcp(tcp) = Frame::parse(self.link, frame) else {
            return;
        };
        let key = Key::new(tcp.dst, tcp.dst_port, tcp.src, tcp.src_port);
        if let Some(position) = self.find(&key) {
            self.handle_received_segment(position, &tcp);
        }
    }

    #[inline]
    fn handle_received_segment(&mut self, position: usize, tcp: &TcpFrame<'_>) {
        let Self {
            slots,
            wake_at,
            has_events,
            now,
            ..
        } = self;
        let Some(slot) = slots.get_mut(position) else {
            return;
        };
        let segment = &tcp.segment;
        let is_acceptable = slot.flow.is_acceptable(segment);
        if segment.rst || segment.syn || segment.fin || !slot.marks.has(Marks::SYNCHRONISED) {
            // The connection may change its state: look at the socket when the stack has.
            *wake_at = Instant::ZERO;
            if segment.rst {
                slot.marks.set(Marks::RESET_RECEIVED);
            }
            if segment.fin && is_acceptable {
                slot.marks.set(Marks::CLOSING);
            }
        } else if !is_acceptable {
            return;
        }
        if self.verifies_header && !tcp.is_header_intact() {
            return;
        }
        if self.verifies_segment {
            if tcp.tcp_len() > VERIFIED_LEN && is_acceptable {
                slot.marks.set(Marks::UNPROVEN);
                self.unproven = Some((position, *now));
                return;
            }
            if !tcp.is_segment_intact() {
                return;
            }
        }
        match slot.flow.handle_received(segment) {
            Received::Ignored => return,
            Received::HeardNewAck if slot.marks.has(Marks::FIN_SENT) => *wake_at = Instant::ZERO,
            Received::Heard | Received::HeardNewAck => {}
        }
        heard(slot, *now, wake_at, has_events);
    }

    /// The stack has written a frame, in answer to the one just received if `is_reply`.
    #[inline]
    pub(super) fn handle_sent(&mut self, frame: &[u8], is_reply: bool) {
        self.device.sent = true;
        if !is_reply {
            self.device.offered = false;
        }
        match Frame::parse(self.link, frame) {
            Frame::Tcp(tcp) => {
                let key = Key::new(tcp.src, tcp.src_port, tcp.dst, tcp.dst_port);
                match self.find(&key) {
                    Some(position) => self.handle_sent_segment(position, &tcp, is_reply),
                    // A connection is being opened that is not known here.
                    None if tcp.segment.syn => self.wake_at = Instant::ZERO,
                    None => {}
                }
            }
            Frame::NeighborQuery => self.is_stalled |= !is_reply,
            Frame::Other => {}
        }
    }

    #[inline]
    fn handle_sent_segment(&mut self, position: usize, tcp: &TcpFrame<'_>, is_reply: bool) {
        let Self {
            slots,
            wake_at,
            has_events,
            now,
            unproven,
            ..
        } = self;
        let Some(slot) = slots.get_mut(position) else {
            return;
        };
        let segment = &tcp.segment;
        if segment.rst || segment.syn || segment.fin {
            *wake_at = Instant::ZERO;
            if segment.fin {
                slot.marks.set(Marks::FIN_SENT | Marks::CLOSING);
            }
        }
        if !is_reply {
            // Had smoltcp still meant to send the keep-alive it was asked for, this was in place
            // of it.
            slot.marks.clear(Marks::LEARNING);
        }
        let acknowledged = slot.flow.rcv_nxt();
        let asks = slot.flow.handle_sent(segment);
        if slot.marks.has(Marks::UNPROVEN) {
            let arrived = match *unproven {
                Some((of, arrived)) if of == position => Some(arrived),
                _ => None,
            };
            let proves = is_reply && arrived == Some(*now) || slot.flow.rcv_nxt() != acknowledged;
            if proves {
                slot.marks.clear(Marks::UNPROVEN);
                // Should others have arrived in between, the time is lost; then it is at most
                // the stack's delay of an acknowledgement ago.
                heard(slot, arrived.unwrap_or(*now), wake_at, has_events);
            }
        }
        if asks && !slot.machine.is_owed() {
            slot.machine.handle_sent(*now);
            if let Some(due) = slot.machine.poll_timeout() {
                *wake_at = due.min(*wake_at);
            }
        }
    }

    /// Reads a segment that smoltcp was asked for only to be read. Returns whether `frame` is
    /// one, and so must not leave.
    pub(super) fn learn(&mut self, frame: &[u8]) -> bool {
        let Frame::Tcp(tcp) = Frame::parse(self.link, frame) else {
            return false;
        };
        let key = Key::new(tcp.src, tcp.src_port, tcp.dst, tcp.dst_port);
        let Some(slot) = self.find(&key).and_then(|found| self.slots.get_mut(found)) else {
            return false;
        };
        let segment = &tcp.segment;
        let is_keep_alive =
            segment.len == 1 && !segment.syn && !segment.fin && !segment.rst && !tcp.is_push();
        if !slot.marks.has(Marks::LEARNING) || !is_keep_alive {
            return false;
        }
        slot.flow.handle_sent(segment);
        // The octet lies below SND.NXT: nothing is in flight.
        slot.flow.handle_quiet();
        slot.marks.clear(Marks::LEARNING);
        self.device.offered = false;
        true
    }

    #[inline]
    pub(super) const fn is_learning(&self) -> bool {
        self.is_learning
    }

    #[inline]
    fn find(&self, key: &Key) -> Option<usize> {
        let slots = &self.slots;
        self.index.find(key.hash(), |position| {
            slots.get(position).is_some_and(|slot| slot.key == *key)
        })
    }

    fn position(&self, handle: SocketHandle) -> Result<usize, usize> {
        self.slots.binary_search_by_key(&handle, |slot| slot.handle)
    }
}

/// The peer was heard. Unless it was being probed, that only moves its deadline away.
#[inline]
fn heard(slot: &mut Slot, at: Instant, wake_at: &mut Instant, has_events: &mut bool) {
    let was_probing = matches!(slot.machine.state(), State::Probing { .. });
    slot.machine.handle_segment(at);
    if was_probing {
        *has_events = true;
        if let Some(due) = slot.machine.poll_timeout() {
            *wake_at = due.min(*wake_at);
        }
    }
}
