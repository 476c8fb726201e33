//! The connections, and what the frames that pass the tap do to them.

use core::mem::offset_of;

use ::smoltcp::iface::SocketHandle;
use ::smoltcp::phy::DeviceCapabilities;
use heapless::Vec;

use super::asking::Asking;
use super::convert::{Link, link_of};
use super::frame::{Key, TcpFrame, is_neighbor_query};
use super::index::Index;
use crate::{Config, Event, Flow, Instant, KeepAlive, Received, Segment};

/// The longest segment whose checksum is always verified on arrival. That of a longer one would be
/// a second pass over its payload; it is believed once our stack, which has made the first pass,
/// has acknowledged it.
const VERIFIED_LEN: usize = 128;

/// If anything falls due within this time, a longer segment is verified too: the acknowledgement
/// might come too late to save its sender. RFC 9293 3.8.6.3 allows it half a second.
const PROOF_MICROS: u64 = 1_000_000;

/// In place of how long after the peer was last heard a segment came, if that cannot be kept: then it
/// counts from its acknowledgement.
const TIME_LOST: u32 = u32::MAX;

/// Everything that is known about one enabled handle.
///
/// On a 32-bit, IPv4-only build what a received segment touches is the first 64 bytes: up to the
/// machine's flags and counts.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Slot {
    pub(super) key: Key,
    pub(super) flow: Flow,
    pub(super) marks: Marks,
    pub(super) ended: Option<Ended>,
    /// When the last segment that is [unproven](Marks::UNPROVEN) arrived: so many microseconds after
    /// the peer was last heard; or zero, if it was heard since.
    unproven_after: u32,
    pub(super) machine: KeepAlive,
    pub(super) handle: SocketHandle,
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
pub(super) struct Marks(u16);

impl Marks {
    /// The handle has a connection, and `key` and `flow` are its.
    pub(super) const BOUND: u16 = 1;
    /// The connection is synchronised, and the machine was switched on.
    pub(super) const SYNCHRONISED: u16 = 1 << 1;
    /// smoltcp was asked for a keep-alive of its own, which is to be read and swallowed.
    pub(super) const LEARNING: u16 = 1 << 2;
    /// Disabled, and kept only until that keep-alive has been swallowed.
    pub(super) const DROPPED: u16 = 1 << 3;
    /// A segment too long to be verified has arrived; the stack's acknowledgement will tell.
    pub(super) const UNPROVEN: u16 = 1 << 4;
    /// We sent a FIN.
    pub(super) const FIN_SENT: u16 = 1 << 5;
    /// A RST arrived that smoltcp may believe.
    pub(super) const RESET_RECEIVED: u16 = 1 << 6;
    /// We sent a RST.
    pub(super) const RESET_SENT: u16 = 1 << 7;
    /// smoltcp has accepted a FIN of the peer's.
    pub(super) const FIN_RECEIVED: u16 = 1 << 8;
    /// The handshake is just over: smoltcp can be asked for the numbers while the neighbour's
    /// address is certainly known.
    pub(super) const FRESH: u16 = 1 << 11;
    /// smoltcp is to be asked for the numbers before the next probe leaves, and could not have told
    /// yet: the neighbour's address was not known, or there was no room.
    pub(super) const UNASKED: u16 = 1 << 12;
    /// The configuration was replaced since the last poll, at a time that is not known.
    pub(super) const RECONFIGURED: u16 = 1 << 10;
    /// The user timeout runs from a moment to come, at which a blocked retransmission is certain.
    pub(super) const DEBT_AHEAD: u16 = 1 << 9;
    /// The user timeout has struck, and the peer is to be asked in the stack's stead before it decides.
    /// What asks has not left yet.
    pub(super) const REMINDING: u16 = 1 << 13;

    #[inline]
    pub(super) const fn has(self, mark: u16) -> bool {
        self.0 & mark != 0
    }

    #[inline]
    pub(super) const fn set(&mut self, marks: u16) {
        self.0 |= marks;
    }

    #[inline]
    pub(super) const fn clear(&mut self, marks: u16) {
        self.0 &= !marks;
    }
}

impl Slot {
    pub(super) const BYTES_TOUCHED_BY_SEGMENT: usize =
        offset_of!(Self, machine) + KeepAlive::BYTES_TOUCHED_BY_SEGMENT;

    fn new(handle: SocketHandle, config: Config) -> Self {
        Self {
            key: Key::NONE,
            flow: Flow::new(0, 0),
            marks: Marks(0),
            ended: None,
            unproven_after: 0,
            machine: KeepAlive::new(config),
            handle,
        }
    }

    /// An earlier segment has waited for longer than an acknowledgement is delayed: its proof would
    /// pass for that of one that comes now.
    fn awaits_proof(&self, now: Instant) -> bool {
        self.marks.has(Marks::UNPROVEN) && now.micros_since(self.unproven_since()) > PROOF_MICROS
    }

    /// How long after the peer was last heard a segment comes now, in microseconds, if that is less
    /// than 71 minutes.
    fn time_to_hold(&self, now: Instant) -> Option<u32> {
        let after = now.micros_since(self.machine.silent_since());
        u32::try_from(after)
            .ok()
            .filter(|after| *after != TIME_LOST)
    }

    /// Takes note of a segment that is believed once the stack has acknowledged it, however long
    /// that takes: to answer, it may have to find the neighbour first.
    fn hold_unproven(&mut self, after: u32) {
        self.unproven_after = after;
        self.marks.set(Marks::UNPROVEN);
    }

    fn unproven_since(&self) -> Instant {
        self.machine
            .silent_since()
            .plus_micros(u64::from(self.unproven_after))
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
    /// The slots have to be served at this poll, whatever the time: a probe is waiting to leave,
    /// which is offered at each poll (K4), or the user timeout has to learn of a stall.
    pub(super) is_urgent: bool,
    /// Some machine may have an event to report.
    pub(super) has_events: bool,
    /// Some slot is learning.
    pub(super) is_learning: bool,
    /// What is sent for this slot must not leave: it is only tried whether it could.
    pub(super) rehearsing: Option<usize>,
    /// Whose turn it is to ask for a neighbour's address.
    pub(super) asking: Asking,
    /// Some slot has a user timeout.
    pub(super) has_user_timeout: bool,
    /// Something was to be sent during this poll and could not leave.
    pub(super) is_stalled: bool,
    /// If the next poll comes later than this, something was missed that was to be decided by a
    /// configuration that has been replaced since the last one (K9).
    pub(super) missed_after: Instant,
    pub(super) now: Instant,
    pub(super) link: Link,
    verifies_segment: bool,
    /// The last segment of ours that was received is held: what the stack answers at once is of that.
    holds_last: bool,
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
            is_urgent: false,
            has_events: false,
            is_learning: false,
            rehearsing: None,
            asking: Asking::new(),
            has_user_timeout: false,
            is_stalled: false,
            missed_after: Instant::MAX,
            now: Instant::ZERO,
            link: Link::Unknown,
            verifies_segment: true,
            holds_last: false,
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
                    if slot.machine.config() != config {
                        if !slot.marks.has(Marks::RECONFIGURED) {
                            self.missed_after = slot.machine.missed_after().min(self.missed_after);
                        }
                        slot.machine.replace_config(config);
                        slot.marks.set(Marks::RECONFIGURED);
                    }
                    if slot.marks.has(Marks::DROPPED) {
                        // What came meanwhile came before the silence that begins now.
                        slot.marks.clear(Marks::DROPPED | Marks::UNPROVEN);
                    }
                }
                true
            }
            Err(position) => {
                // So the compiler sees that there is room, and that the place is one; it would keep a
                // panic otherwise.
                let len = self.slots.len();
                let slot = Slot::new(handle, config);
                let is_new = len < N && self.slots.insert(position.min(len), slot).is_ok();
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
            slot.marks.clear(Marks::UNPROVEN);
            slot.marks.set(Marks::DROPPED);
            slot.machine.reset();
        } else {
            self.remove(position);
            self.reindex();
        }
        if self.wake_at != Instant::ZERO {
            self.plan();
        }
    }

    /// Gives up the slot at `position`. The table has to be [reindexed](Self::reindex) then.
    pub(super) fn remove(&mut self, position: usize) {
        // So the compiler sees that there is one; it would keep a panic otherwise.
        if position < self.slots.len() {
            self.slots.remove(position);
        }
    }

    /// Takes note of which connection is where, after that has changed.
    pub(super) fn reindex(&mut self) {
        self.index.clear();
        // Two sockets may have the same four-tuple: smoltcp lets a listener take a SYN that is
        // another one's already. It hands what arrives to the first of them, and what is entered
        // last is found first.
        for (position, slot) in self.slots.iter().enumerate().rev() {
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
    #[cold]
    pub(super) fn meet(&mut self, capabilities: &DeviceCapabilities) {
        self.link = link_of(capabilities);
        self.verifies_segment = capabilities.checksum.tcp.rx();
    }

    /// Runs `send`, and returns its result if a frame left meanwhile.
    pub(super) fn while_sending<R>(&mut self, send: impl FnOnce(&mut Self) -> R) -> Option<R> {
        let sent_before = core::mem::take(&mut self.device.sent);
        let result = send(self);
        let sent_meanwhile = self.device.sent;
        self.device.sent |= sent_before;
        sent_meanwhile.then_some(result)
    }

    /// Runs `send`, which sends something of ours for the slot at `position`.
    pub(super) fn on_our_behalf<R>(
        &mut self,
        position: usize,
        send: impl FnOnce(&mut Self) -> R,
    ) -> R {
        // What the stack was refused before is not ours.
        self.settle_token();
        let is_stalled = self.is_stalled;
        self.asking.set_on_behalf_of(Some(position));
        let result = send(self);
        self.settle_token();
        self.asking.set_on_behalf_of(None);
        // That we could not send to one neighbour says nothing of what the stack has for another.
        self.is_stalled = is_stalled;
        result
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
            self.note_stall();
        }
    }

    /// The stack has had what room it asked for. If it sent nothing, it does not know where to.
    #[inline]
    pub(super) fn settle_token(&mut self) {
        if self.device.offered {
            self.device.offered = false;
            self.asking.handle_refusal(self.now);
            self.note_stall();
        }
    }

    fn note_stall(&mut self) {
        self.is_stalled = true;
        self.is_urgent |= self.has_user_timeout;
    }

    /// A frame is about to reach the stack.
    // In line it would want the registers that the stack's own loop has.
    #[inline(never)]
    pub(super) fn handle_received(&mut self, frame: &[u8]) {
        let Some(tcp) = TcpFrame::find(self.link, frame) else {
            return;
        };
        if let Some(position) = self.find(&tcp.received_key()) {
            self.handle_received_segment(position, &tcp);
        }
    }

    #[inline]
    fn handle_received_segment(&mut self, position: usize, tcp: &TcpFrame<'_>) {
        self.holds_last = false;
        let (Some(slot), Some(segment)) = (self.slots.get_mut(position), tcp.segment()) else {
            return;
        };
        if segment.rst || segment.syn || segment.fin || !slot.marks.has(Marks::SYNCHRONISED) {
            // The connection's state may be another, once the stack has seen the segment.
            self.wake_at = Instant::ZERO;
            if segment.rst && (!self.verifies_segment || tcp.is_segment_intact()) {
                slot.marks.set(Marks::RESET_RECEIVED);
            }
        }
        if !slot.flow.is_acceptable(&segment) {
            if !slot.flow.is_known() && !segment.rst && !segment.syn {
                self.handle_received_unknown(position, tcp, &segment);
            }
            return;
        }
        if self.verifies_segment {
            if tcp.tcp_len() > VERIFIED_LEN
                && self.now.plus_micros(PROOF_MICROS) < self.wake_at
                && slot.flow.is_news(&segment)
                && !slot.awaits_proof(self.now)
                && let Some(after) = slot.time_to_hold(self.now)
            {
                slot.hold_unproven(after);
                slot.flow.glance(&segment);
                self.holds_last = true;
                return;
            }
            if !tcp.is_segment_intact() {
                return;
            }
        }
        // Whatever waits to be acknowledged came before this.
        slot.unproven_after = 0;
        let received = slot.flow.accept(&segment);
        if received == Received::HeardNewAck && slot.marks.has(Marks::FIN_SENT) {
            self.wake_at = Instant::ZERO;
        }
        if slot.machine.is_unsettled() {
            self.heard_unsettled(position, self.now);
        } else {
            slot.machine.handle_segment(self.now);
        }
    }

    /// A segment arrived on a connection whose numbers are not known. Whether it is the peer's, the
    /// stack knows: by answering, it tells.
    #[cold]
    fn handle_received_unknown(&mut self, position: usize, tcp: &TcpFrame<'_>, segment: &Segment) {
        if self.verifies_segment && !tcp.is_segment_intact() {
            return;
        }
        if let Some(ack) = segment.ack
            && let Some(slot) = self.slots.get_mut(position)
        {
            let after = slot.time_to_hold(self.now).unwrap_or(TIME_LOST);
            slot.hold_unproven(after);
            slot.flow.hold(segment, ack);
        }
    }

    /// The peer was heard while it was being probed: its deadline may be nearer now.
    #[cold]
    fn heard_unsettled(&mut self, position: usize, at: Instant) {
        if let Some(Slot { machine, .. }) = self.slots.get_mut(position) {
            machine.handle_segment(at);
            self.has_events = true;
            if let Some(due) = machine.poll_timeout() {
                self.wake_at = due.min(self.wake_at);
            }
        }
    }

    /// The stack has written a frame, in answer to the one just received if `is_reply`.
    #[inline]
    pub(super) fn handle_sent(&mut self, frame: &[u8], is_reply: bool) {
        self.device.sent = true;
        if !is_reply {
            self.device.offered = false;
        }
        let Some(tcp) = TcpFrame::find(self.link, frame) else {
            if !is_reply && is_neighbor_query(self.link, frame) {
                self.asking.handle_question(self.now);
                self.note_stall();
            }
            return;
        };
        let Some(segment) = tcp.segment() else {
            return;
        };
        if let Some(position) = self.find(&tcp.sent_key()) {
            self.handle_sent_segment(position, &segment, is_reply);
        } else if segment.syn {
            // A connection is being opened that is not known here.
            self.wake_at = Instant::ZERO;
        }
    }

    #[inline]
    fn handle_sent_segment(&mut self, position: usize, segment: &Segment, is_reply: bool) {
        let now = self.now;
        let Some(slot) = self.slots.get_mut(position) else {
            return;
        };
        if segment.rst || segment.syn || segment.fin {
            self.wake_at = Instant::ZERO;
            if segment.fin {
                slot.marks.set(Marks::FIN_SENT);
            }
            if segment.rst {
                slot.marks.set(Marks::RESET_SENT);
            }
        }
        if slot.marks.has(Marks::LEARNING) && !is_reply && !slot.flow.is_keep_alive(segment) {
            // Had smoltcp still meant to send the keep-alive it was asked for, this was in place
            // of it.
            slot.marks.clear(Marks::LEARNING);
        }
        let before = slot.flow;
        let asks = slot.flow.handle_sent(segment);
        if slot.marks.has(Marks::UNPROVEN) {
            let is_answer = is_reply && self.holds_last;
            if is_answer || slot.flow.has_proof(&before) {
                self.handle_proof(position);
            } else if !before.is_known() {
                // Nothing will tell any more.
                slot.marks.clear(Marks::UNPROVEN);
            }
        }
        // The debt comes after the proof: an acknowledgement may carry data that starts one.
        if asks
            && let Some(Slot { machine, marks, .. }) = self.slots.get_mut(position)
            && (machine.changes_debt(now) || marks.has(Marks::DEBT_AHEAD | Marks::REMINDING))
        {
            machine.handle_sent(now);
            if marks.has(Marks::DEBT_AHEAD) {
                marks.clear(Marks::DEBT_AHEAD);
                machine.handle_unblocked(now);
            }
            if marks.has(Marks::REMINDING) {
                // The stack has asked after all.
                marks.clear(Marks::REMINDING);
                machine.restart_debt(now);
            }
            if let Some(due) = machine.poll_timeout() {
                self.wake_at = due.min(self.wake_at);
            }
        }
    }

    /// The stack has acknowledged a segment that was too long to be verified.
    fn handle_proof(&mut self, position: usize) {
        let Some(slot) = self.slots.get_mut(position) else {
            return;
        };
        slot.marks.clear(Marks::UNPROVEN);
        let arrived = if slot.unproven_after == TIME_LOST {
            self.now
        } else {
            slot.unproven_since().min(self.now)
        };
        if slot.machine.is_unsettled() {
            self.heard_unsettled(position, arrived);
        } else {
            slot.machine.handle_segment(arrived);
        }
    }

    /// Looks at a short frame before it leaves. Returns whether it must not: because it is the
    /// segment that smoltcp was asked for only to be read, or was sent only to be tried.
    pub(super) fn intercept(&mut self, frame: &[u8]) -> bool {
        let Some(tcp) = TcpFrame::find(self.link, frame) else {
            return false;
        };
        let key = tcp.sent_key();
        let is_intercepted = self.is_rehearsal(&key)
            || self
                .find_learning(&key)
                .is_some_and(|position| self.learn(position, &tcp));
        if is_intercepted {
            self.device.offered = false;
        }
        is_intercepted
    }

    fn is_rehearsal(&self, key: &Key) -> bool {
        let slot = self
            .rehearsing
            .and_then(|position| self.slots.get(position));
        slot.is_some_and(|slot| slot.key == *key)
    }

    /// The connection with that four-tuple that waits for a keep-alive of smoltcp's. There may be
    /// another one with the same.
    fn find_learning(&self, key: &Key) -> Option<usize> {
        let is_it = |slot: &Slot| slot.marks.has(Marks::LEARNING) && slot.key == *key;
        self.slots.iter().position(is_it)
    }

    /// Reads the numbers from smoltcp's own keep-alive. Returns whether it is one.
    fn learn(&mut self, position: usize, tcp: &TcpFrame<'_>) -> bool {
        let (Some(slot), Some(segment)) = (self.slots.get_mut(position), tcp.segment()) else {
            return false;
        };
        let is_keep_alive =
            segment.len == 1 && !segment.syn && !segment.fin && !segment.rst && !tcp.is_push();
        if !slot.marks.has(Marks::LEARNING) || !is_keep_alive {
            return false;
        }
        let before = slot.flow;
        slot.flow.handle_sent(&segment);
        // The octet lies below SND.NXT: nothing is in flight.
        slot.flow.handle_quiet();
        slot.marks.clear(Marks::LEARNING);
        // It also carries an acknowledgement that smoltcp was holding back; the one that leaves
        // later will be no news.
        if slot.marks.has(Marks::UNPROVEN) {
            if slot.flow.has_proof(&before) {
                self.handle_proof(position);
            } else if !before.is_known() {
                slot.marks.clear(Marks::UNPROVEN);
            }
        }
        true
    }

    /// Whether short frames have to be looked at before they leave.
    #[inline]
    pub(super) const fn intercepts(&self) -> bool {
        self.is_learning || self.rehearsing.is_some()
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

#[cfg(all(test, feature = "sim"))]
mod tests;
