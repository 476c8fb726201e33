//! What has to be done for the connections when the stack has been polled: following their
//! sockets, sending what is due, giving up whom it is time to give up.

use core::cell::Cell;
use core::ops::Range;

use ::smoltcp::iface::{Interface, SocketSet};
use ::smoltcp::phy::Device;
use ::smoltcp::socket::{Socket, tcp};
use ::smoltcp::time;

use super::convert::Link;
use super::frame::{Addr, Key};
use super::table::{Ended, Marks, Slot, Table};
use super::tap::Tap;
use super::transmit::{Route, transmit};
use crate::{Flow, Instant, Probe, ProbePayload, SeqNumber, State, Tcb};

/// smoltcp's retransmissions and window probes are at most this far apart (`RTTE_MAX_RTO`).
const LONGEST_RETRANSMISSION_MICROS: u64 = 60_000_000;

/// With nothing else due, what could not leave is tried again after this long (K4).
const RETRY_MICROS: u64 = 500_000;

/// smoltcp's default (`tcp::Socket::set_hop_limit`).
const DEFAULT_HOP_LIMIT: u8 = 64;

/// What to give smoltcp's `set_keep_alive` when only the side effect is wanted.
const ANY_INTERVAL: time::Duration = time::Duration::from_secs(1);

impl<const N: usize> Table<N> {
    /// Whether [`Table::serve`] has anything to do at this poll.
    #[inline]
    pub(super) fn wants_service(&self) -> bool {
        self.now >= self.wake_at || self.is_urgent
    }

    /// The application may have written since smoltcp was asked for a keep-alive. Then what is
    /// written goes out in its place, and is not to be taken for it.
    #[cold]
    pub(super) fn forget_learning(&mut self, sockets: &mut SocketSet<'_>) {
        self.is_learning = false;
        let mut slots = self.slots.iter_mut().peekable();
        for (handle, socket) in sockets.iter_mut() {
            while slots.next_if(|slot| slot.handle < handle).is_some() {}
            let (Some(slot), Socket::Tcp(socket)) =
                (slots.next_if(|slot| slot.handle == handle), socket)
            else {
                continue;
            };
            if is_busy(socket) {
                slot.marks.clear(Marks::LEARNING);
            }
            self.is_learning |= slot.marks.has(Marks::LEARNING);
        }
    }

    /// Does what is due. Returns whether the state of a socket changed.
    #[cold]
    pub(super) fn serve<D: Device + ?Sized>(
        &mut self,
        now: time::Instant,
        iface: &mut Interface,
        device: &mut D,
        sockets: &mut SocketSet<'_>,
    ) -> bool {
        if self.link == Link::Unsupported {
            self.wake_at = Instant::MAX;
            return false;
        }
        // What smoltcp cannot send at once it goes on asking to send, so it is not asked for
        // anything while there is no room.
        let has_room = device.transmit(now).is_some();
        let mut is_learning = self.follow_sockets(iface, sockets);
        is_learning |= self.ask_numbers(has_room, now, iface, device, sockets);
        if is_learning {
            let table = Cell::new(Some(&mut *self));
            iface.poll_egress(now, &mut Tap::new(device, &table), sockets);
        }
        let changed = self.serve_timers(now, iface, device, sockets);
        if changed {
            // The RST has to be out before the application can reuse the socket. Its number is SND.NXT,
            // the only one at which the peer is sure to take it (RFC 5961 3.2).
            let table = Cell::new(Some(&mut *self));
            iface.poll_egress(now, &mut Tap::new(device, &table), sockets);
            self.follow_sockets(iface, sockets);
        }
        self.settle_token();
        self.plan();
        changed
    }

    /// Brings the slots up to date with their sockets. Returns whether there is a segment that
    /// smoltcp was asked for and that is still to be read.
    fn follow_sockets(&mut self, iface: &Interface, sockets: &mut SocketSet<'_>) -> bool {
        let mut is_learning = false;
        let mut moved = false;
        let now = self.now;
        let is_late = now > core::mem::replace(&mut self.missed_after, Instant::MAX);
        let mut sockets = sockets.iter_mut().peekable();
        let mut position = 0_usize;
        while let Some(slot) = self.slots.get_mut(position) {
            while sockets
                .next_if(|(handle, _)| *handle < slot.handle)
                .is_some()
            {}
            let found = sockets.next_if(|(handle, _)| *handle == slot.handle);
            // Otherwise it was removed from the set, or never a TCP socket.
            let mut stays = false;
            if let Some((_, Socket::Tcp(socket))) = found {
                if slot.marks.has(Marks::RECONFIGURED) {
                    slot.marks.clear(Marks::RECONFIGURED);
                    slot.machine.rebase(now, is_late);
                    if slot.machine.config().user_timeout().is_none() {
                        slot.marks.clear(Marks::DEBT_AHEAD | Marks::REMINDING);
                    }
                }
                moved |= follow(slot, socket, iface, now);
                let learns = slot.marks.has(Marks::LEARNING);
                is_learning |= learns;
                stays = learns || !slot.marks.has(Marks::DROPPED);
            }
            if stays {
                position = position.saturating_add(1);
            } else {
                self.remove(position);
                moved = true;
            }
        }
        if moved {
            self.reindex();
        }
        self.is_learning = is_learning;
        is_learning
    }

    /// Has smoltcp build a segment, to be read, when a round of probes begins: the numbers may not be
    /// known, if nothing of ours has passed since we watch, nor may they be right, if something has
    /// passed that was not seen because the interface was polled past us. Returns whether it was
    /// asked for any.
    ///
    /// smoltcp's own keep-alive does no harm, and the tap does not let it out. Set and cleared again
    /// at once, it is sent exactly once. But if it could not leave at once, smoltcp would go on
    /// asking for the neighbour, and keep everybody else from that: so whether it can is tried first.
    fn ask_numbers<D: Device + ?Sized>(
        &mut self,
        has_room: bool,
        now: time::Instant,
        iface: &mut Interface,
        device: &mut D,
        sockets: &mut SocketSet<'_>,
    ) -> bool {
        let asked = self.each_in_turn(sockets, |table, position, socket| {
            let at = table.now;
            let Some(slot) = table.slots.get_mut(position) else {
                return false;
            };
            let is_fresh = slot.marks.has(Marks::FRESH);
            let wants = wants_numbers(slot, socket, at);
            if has_room {
                slot.marks.clear(Marks::FRESH);
            }
            if !wants {
                slot.marks.clear(Marks::UNASKED);
                return false;
            }
            // Right after a handshake the neighbour is known, and without Ethernet there is none.
            let is_certain = is_fresh || table.link != Link::Ethernet;
            let could =
                has_room && (is_certain || table.could_send(position, now, iface, device, socket));
            let Some(slot) = table.slots.get_mut(position) else {
                return false;
            };
            if could {
                socket.set_keep_alive(Some(ANY_INTERVAL));
                socket.set_keep_alive(None);
                slot.marks.clear(Marks::UNASKED);
                slot.marks.set(Marks::LEARNING);
            } else {
                slot.marks.set(Marks::UNASKED);
            }
            could
        });
        self.is_learning |= asked;
        asked
    }

    /// Serves whoever is due, and whoever has a probe waiting, beginning with whose turn it is.
    /// Returns whether anyone was given up, and their sockets aborted.
    fn serve_timers<D: Device + ?Sized>(
        &mut self,
        now: time::Instant,
        iface: &mut Interface,
        device: &mut D,
        sockets: &mut SocketSet<'_>,
    ) -> bool {
        let is_stalled = self.is_stalled;
        self.each_in_turn(sockets, |table, position, socket| {
            table.serve_one(position, socket, is_stalled, now, iface, device)
        })
    }

    /// Asks for the neighbours for whose addresses probes wait, before the stack asks for another's.
    /// Nothing else leaves: what has been received has not been looked at yet, and may be an answer.
    #[cold]
    pub(super) fn ask_first<D: Device + ?Sized>(
        &mut self,
        now: time::Instant,
        iface: &mut Interface,
        device: &mut D,
        sockets: &mut SocketSet<'_>,
    ) {
        let is_anyone_waiting = self.each_in_turn(sockets, |table, position, socket| {
            let slot = table.slots.get(position);
            let waits = slot.is_some_and(|slot| slot.machine.is_wanting()) && !is_busy(socket);
            if waits {
                table.could_send(position, now, iface, device, socket);
            }
            waits
        });
        if !is_anyone_waiting {
            self.asking.pass();
        }
    }

    /// Does something with each socket that has a slot, beginning with whose turn it is to ask.
    /// Returns whether it was true of any.
    fn each_in_turn(
        &mut self,
        sockets: &mut SocketSet<'_>,
        mut act: impl FnMut(&mut Self, usize, &mut tcp::Socket<'_>) -> bool,
    ) -> bool {
        let turn = self.asking.turn();
        let mut any = false;
        for slots in [turn..usize::MAX, 0..turn] {
            any |= self.each_socket(&slots, sockets, &mut act);
        }
        any
    }

    /// Does something with each socket that has a slot, among those slots. Returns whether it was
    /// true of any.
    fn each_socket(
        &mut self,
        slots: &Range<usize>,
        sockets: &mut SocketSet<'_>,
        act: &mut dyn FnMut(&mut Self, usize, &mut tcp::Socket<'_>) -> bool,
    ) -> bool {
        if slots.is_empty() {
            return false;
        }
        let mut any = false;
        let mut position = 0_usize;
        for (handle, socket) in sockets.iter_mut() {
            while self
                .slots
                .get(position)
                .is_some_and(|slot| slot.handle < handle)
            {
                position = position.saturating_add(1);
            }
            let is_enabled = self
                .slots
                .get(position)
                .is_some_and(|slot| slot.handle == handle);
            if let Socket::Tcp(socket) = socket
                && is_enabled
                && slots.contains(&position)
            {
                any |= act(self, position, socket);
            }
        }
        any
    }

    /// Serves one slot. Returns whether its peer was given up.
    fn serve_one<D: Device + ?Sized>(
        &mut self,
        position: usize,
        socket: &mut tcp::Socket<'_>,
        is_stalled: bool,
        now: time::Instant,
        iface: &mut Interface,
        device: &mut D,
    ) -> bool {
        let at = self.now;
        let is_short = |slot: &mut Slot| is_short_of_numbers(slot, socket, at);
        if self.slots.get_mut(position).is_some_and(is_short)
            && self.could_send(position, now, iface, device, socket)
        {
            if let Some(slot) = self.slots.get_mut(position) {
                slot.machine.put_off(at);
            }
            return false;
        }
        let Some(slot) = self.slots.get_mut(position) else {
            return false;
        };
        let is_waiting = slot.machine.is_wanting() || slot.marks.has(Marks::REMINDING);
        let must_yield = is_waiting && self.asking.yields(at);
        if let Some((probe, route)) = serve_timer(slot, socket, at, is_stalled)
            && !must_yield
            && !slot.marks.has(Marks::UNASKED)
        {
            self.send_probe(position, probe, &route, now, iface, device);
        }
        if !must_yield && !is_stalled {
            self.remind_blindly(position, socket, now, iface, device);
        }
        let Some(slot) = self.slots.get_mut(position) else {
            return false;
        };
        let is_given_up = slot.machine.state() == State::TimedOut && slot.marks.has(Marks::BOUND);
        if is_given_up {
            debug!("keep-alive {}: {}", slot.handle, slot.machine.verdict());
            socket.abort();
        }
        is_given_up
    }

    /// The peer is to be asked in the stack's stead, and the numbers are not known. If a segment could
    /// leave, that is not held against it; if none can, the user timeout goes on.
    fn remind_blindly<D: Device + ?Sized>(
        &mut self,
        position: usize,
        socket: &tcp::Socket<'_>,
        now: time::Instant,
        iface: &mut Interface,
        device: &mut D,
    ) {
        let is_blind = |slot: &Slot| slot.marks.has(Marks::REMINDING) && !slot.flow.is_known();
        if self.slots.get(position).is_some_and(is_blind)
            && self.could_send(position, now, iface, device, socket)
            && let Some(slot) = self.slots.get_mut(position)
        {
            slot.marks.clear(Marks::REMINDING);
            slot.marks.set(Marks::DEBT_AHEAD);
            slot.machine.restart_debt(self.now);
        }
    }

    fn send_probe<D: Device + ?Sized>(
        &mut self,
        position: usize,
        probe: Probe,
        route: &Route,
        now: time::Instant,
        iface: &mut Interface,
        device: &mut D,
    ) {
        let left = self.while_sending(|table| {
            table.on_our_behalf(position, |table| {
                let table = Cell::new(Some(table));
                transmit(
                    now,
                    iface,
                    &mut Tap::new(&mut *device, &table),
                    &probe,
                    route,
                )
            })
        });
        let Some(slot) = self.slots.get_mut(position) else {
            return;
        };
        if left == Some(true) {
            debug!("keep-alive {}: probe sent", slot.handle);
            slot.machine.handle_transmitted(self.now, probe);
            if slot.marks.has(Marks::REMINDING) {
                // Now the peer was asked, and has the whole of the user timeout.
                slot.marks.clear(Marks::REMINDING);
                slot.machine.restart_debt(self.now);
            }
        } else {
            debug!("keep-alive {}: probe could not leave", slot.handle);
        }
    }

    /// Whether a segment to this socket's peer would leave now: it is sent, and kept back at the
    /// last moment. If it would not, that the numbers are not known makes no difference, and the
    /// attempt is one that could not leave (K4). If it would, their being unknown must not be held
    /// against the peer.
    fn could_send<D: Device + ?Sized>(
        &mut self,
        position: usize,
        now: time::Instant,
        iface: &mut Interface,
        device: &mut D,
        socket: &tcp::Socket<'_>,
    ) -> bool {
        let slot = self.slots.get(position);
        let was_refused = slot.is_some_and(|slot| slot.machine.is_wanting());
        let Some(route) = route(socket) else {
            return false;
        };
        if was_refused && self.asking.yields(self.now) {
            return false;
        }
        let probe = Probe::new(&unknown(false), ProbePayload::Empty);
        self.rehearsing = Some(position);
        let could = self.on_our_behalf(position, |table| {
            let table = Cell::new(Some(table));
            transmit(now, iface, &mut Tap::new(device, &table), &probe, &route)
        });
        self.rehearsing = None;
        could
    }

    /// Finds out when to serve next.
    pub(super) fn plan(&mut self) {
        self.wake_at = Instant::MAX;
        self.is_urgent = false;
        self.is_learning = false;
        self.has_user_timeout = false;
        for Slot { machine, marks, .. } in &self.slots {
            if let Some(due) = machine.poll_timeout() {
                self.wake_at = due.min(self.wake_at);
            }
            let is_reminding = marks.has(Marks::REMINDING);
            if is_reminding {
                self.wake_at = self.now.plus_micros(RETRY_MICROS).min(self.wake_at);
            }
            self.is_urgent |= machine.is_wanting() || is_reminding;
            self.is_learning |= marks.has(Marks::LEARNING);
            self.has_user_timeout |= machine.config().user_timeout().is_some();
        }
        self.has_events = true;
    }
}

/// Follows one socket. Returns whether the slot was bound or unbound.
fn follow(slot: &mut Slot, socket: &mut tcp::Socket<'_>, iface: &Interface, now: Instant) -> bool {
    let state = socket.state();
    let is_over = matches!(
        state,
        tcp::State::Closed | tcp::State::Listen | tcp::State::TimeWait
    );
    let is_opening = matches!(state, tcp::State::SynSent | tcp::State::SynReceived);
    let key = match (socket.local_endpoint(), socket.remote_endpoint()) {
        (Some(local), Some(remote)) if !is_over => Some(Key::new(
            local.addr.into(),
            local.port,
            remote.addr.into(),
            remote.port,
        )),
        _ => None,
    };

    let mut moved = false;
    if slot.marks.has(Marks::BOUND) {
        let is_another = is_opening && slot.marks.has(Marks::SYNCHRONISED);
        if key != Some(slot.key) || is_another {
            let ended = how_it_ended(slot, state, iface);
            debug!("keep-alive {}: connection ended, {}", slot.handle, ended);
            slot.unbind(ended);
            moved = true;
        }
    }
    let Some(key) = key else {
        return moved;
    };
    let was_opening = slot.marks.has(Marks::BOUND);
    if !slot.marks.has(Marks::BOUND) {
        let capacity = |octets| u32::try_from(octets).unwrap_or(u32::MAX);
        let flow = Flow::new(
            capacity(socket.recv_capacity()),
            capacity(socket.send_capacity()),
        );
        slot.bind(key, flow);
        moved = true;
    }
    // Had smoltcp believed the one or meant the other, the connection would be gone.
    slot.marks.clear(Marks::RESET_RECEIVED | Marks::RESET_SENT);
    if matches!(
        state,
        tcp::State::CloseWait | tcp::State::LastAck | tcp::State::Closing
    ) {
        slot.marks.set(Marks::FIN_RECEIVED);
    }
    if !is_opening && !slot.marks.has(Marks::SYNCHRONISED) && !slot.marks.has(Marks::DROPPED) {
        slot.marks.set(Marks::SYNCHRONISED);
        if is_busy(socket) {
            slot.machine.note_busy();
        }
        // Closed by the application in SYN-RECEIVED it is in FIN-WAIT-1, and nobody was heard.
        if was_opening && state != tcp::State::FinWait1 {
            // The segment that completed the handshake: smoltcp believed it.
            slot.machine.handle_segment(now);
            slot.marks.clear(Marks::UNPROVEN);
            slot.marks.set(Marks::FRESH);
        }
    }
    if slot.marks.has(Marks::SYNCHRONISED) && !slot.marks.has(Marks::DROPPED) {
        slot.machine.enable(now);
    }
    moved
}

/// Whether smoltcp has to be asked for the numbers of this connection now.
fn wants_numbers(slot: &Slot, socket: &tcp::Socket<'_>, now: Instant) -> bool {
    let is_due = slot.machine.poll_timeout().is_some_and(|due| due <= now);
    let is_late = slot.marks.has(Marks::UNASKED) && (is_due || slot.machine.is_wanting());
    let is_wanted = if slot.flow.is_known() {
        is_due && slot.machine.state() == State::Armed
    } else {
        // What came with the handshake is about to be acknowledged, and that tells as well.
        is_due || slot.marks.has(Marks::FRESH) && socket.recv_queue() == 0
    };
    (is_wanted || is_late) && !is_busy(socket) && socket.keep_alive().is_none()
}

fn how_it_ended(slot: &Slot, state: tcp::State, iface: &Interface) -> Ended {
    let is_ours = |address: Addr| {
        iface.any_ip()
            || iface
                .ip_addrs()
                .iter()
                .any(|cidr| Addr::from(cidr.address()) == address)
    };
    let has_closed = slot.marks.has(Marks::FIN_SENT) && slot.marks.has(Marks::FIN_RECEIVED);
    if slot.machine.verdict().is_some() {
        Ended::Verdict
    } else if slot.marks.has(Marks::RESET_SENT) {
        Ended::LocalAbort
    } else if slot.marks.has(Marks::RESET_RECEIVED) {
        match slot.machine.state() {
            State::Probing { .. } => Ended::PeerResetWhileProbing,
            _ => Ended::PeerReset,
        }
    } else if has_closed || state == tcp::State::TimeWait {
        Ended::Closed
    } else if is_ours(slot.key.local) {
        Ended::LocalAbort
    } else {
        Ended::AddressLost
    }
}

/// Something is due on a quiet connection whose numbers are not known, so that no probe can be
/// built.
fn is_short_of_numbers(slot: &Slot, socket: &tcp::Socket<'_>, now: Instant) -> bool {
    !slot.flow.is_known()
        && !is_busy(socket)
        && slot.machine.poll_timeout().is_some_and(|due| due <= now)
}

/// Gives one machine its due. Returns the probe it wants sent, and where to.
fn serve_timer(
    slot: &mut Slot,
    socket: &tcp::Socket<'_>,
    now: Instant,
    is_stalled: bool,
) -> Option<(Probe, Route)> {
    let is_due = slot.machine.poll_timeout().is_some_and(|due| due <= now);
    let is_waiting = slot.machine.is_wanting() || slot.marks.has(Marks::REMINDING);
    if !is_due && !is_stalled && !is_waiting {
        return None;
    }
    let is_busy = is_busy(socket);
    if !is_busy {
        slot.flow.handle_quiet();
        slot.marks.clear(Marks::DEBT_AHEAD | Marks::REMINDING);
    }
    let known = slot.flow.tcb(is_busy);
    let tcb = known.unwrap_or(unknown(is_busy));
    if is_busy {
        if is_stalled && slot.flow.is_known() && !slot.flow.is_in_flight() {
            note_blocked(slot, now);
        }
        note_unasked(slot, now);
        if is_reminder_due(slot, now)
            && let Some(tcb) = known
            && !is_stalled
        {
            slot.machine.handle_timeout(now, &tcb);
            let reminder = reminder(&tcb, slot.machine.config().payload());
            return Some((reminder, route(socket)?));
        }
    }
    slot.machine.handle_timeout(now, &tcb);
    let probe = slot.machine.poll_transmit(now, &tcb)?;
    // Without numbers there is nothing to send, and a probe that was offered did not leave.
    known?;
    Some((probe, route(socket)?))
}

fn route(socket: &tcp::Socket<'_>) -> Option<Route> {
    Some(Route {
        local: socket.local_endpoint()?,
        remote: socket.remote_endpoint()?,
        hop_limit: socket.hop_limit().unwrap_or(DEFAULT_HOP_LIMIT),
    })
}

/// Something has stalled during this poll. What this connection has queued, and may send, would have
/// gone out at once.
fn note_blocked(slot: &mut Slot, now: Instant) {
    if !slot.flow.is_window_closed() {
        slot.machine.handle_blocked(now);
    }
}

/// smoltcp sends again what is in flight, and probes a closed window, when its timer says so. That is
/// not known, but it is within a minute of when the peer was heard: then the peer owes, at the
/// latest. If something leaves before, it owes from then.
fn note_unasked(slot: &mut Slot, now: Instant) {
    if !slot.machine.is_owed() {
        let asked_by = slot
            .machine
            .silent_since()
            .plus_micros(LONGEST_RETRANSMISSION_MICROS);
        slot.marks.clear(Marks::REMINDING);
        slot.marks.set(Marks::DEBT_AHEAD);
        slot.machine.handle_blocked(asked_by.max(now));
    }
}

/// The user timeout strikes, and nothing has left that asks the peer for an answer: if smoltcp does
/// not ask, we have to. Then it starts again, twice if need be: while nothing can leave, for want of
/// the neighbour's address, and when the peer was asked.
///
/// smoltcp 0.14 forgets to probe a window that closes while something is in flight, or sends probes
/// without an octet, which nobody answers (RFC 9293 3.8.6.1 has them carry one).
fn is_reminder_due(slot: &mut Slot, now: Instant) -> bool {
    if slot.marks.has(Marks::DEBT_AHEAD) && slot.machine.is_debt_due(now) {
        slot.marks.clear(Marks::DEBT_AHEAD);
        slot.marks.set(Marks::REMINDING);
        slot.machine.restart_debt(now);
    }
    slot.marks.has(Marks::REMINDING) && !slot.machine.is_debt_due(now)
}

/// A window probe of ours: it lies below all that is outstanding, so that it is answered whatever
/// of that the peer has.
fn reminder(tcb: &Tcb, payload: ProbePayload) -> Probe {
    let acknowledged = Tcb {
        snd_nxt: tcb.snd_una,
        ..*tcb
    };
    Probe::new(&acknowledged, payload)
}

/// Data or a FIN is queued or not acknowledged. The socket knows best: it has seen every
/// acknowledgement, and believed none that it should not.
fn is_busy(socket: &tcp::Socket<'_>) -> bool {
    socket.send_queue() > 0
        || matches!(
            socket.state(),
            tcp::State::FinWait1 | tcp::State::Closing | tcp::State::LastAck
        )
}

/// A connection whose numbers are not known: good enough to wait on, not to send.
const fn unknown(is_busy: bool) -> Tcb {
    Tcb {
        snd_una: SeqNumber(0),
        snd_nxt: SeqNumber(0),
        rcv_nxt: SeqNumber(0),
        rcv_wnd: 0,
        timestamps: None,
        unsent: is_busy,
    }
}
