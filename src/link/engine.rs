//! The engine: frames in, frames out.

use super::connection::{ASK_STACK_MICROS, CloseReason, Connection, Ending, Kind, Phase, Seen};
use super::frame::{
    Checksum, Checksums, Datagram, ETHERNET_HEADER_LEN, ETHERTYPE_ARP, ETHERTYPE_IPV4,
    ETHERTYPE_IPV6, Framing, HardwareAddr, MAX_FRAME_LEN, Medium, PROTOCOL_ICMPV4, PROTOCOL_ICMPV6,
    PROTOCOL_TCP, Plain, Tuple,
};
use super::neighbor::{Announcement, Hops, Question, is_ndp};
use crate::keep_alive::RETRY_MICROS;
use crate::{Config, Event, Instant, KeepAlive, ProbePayload, Received, Segment, State, Stats};

/// A SYN on an established connection is answered at most this often (K19; RFC 5961 7).
const STRANGER_MICROS: u64 = 1_000_000;

/// As many connections can be opened between two calls of [`Link::follow`]; of any more, the stack is
/// asked for the numbers.
const OPENINGS: usize = 4;

/// A connection's place in a [`Link`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Id(pub(crate) usize);

/// Which way a frame went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Direction {
    Received,
    Sent,
    /// The stack sent it in answer to a frame of ours that did not come from the wire.
    Swallowed,
}

/// SYNs on established connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Strangers {
    None,
    /// The stack may still answer by itself.
    Heard,
    /// It did not.
    Unanswered,
}

/// The connections of one link, and the frames that keep them alive.
///
/// `N` is the number of connections. `W` is the number of words of an address: 1 for IPv4 alone, 4
/// for IPv6 too.
///
/// The link reads no clock and sends nothing. Show it each frame, with the time, and ask what
/// follows:
///
/// | when | call |
/// |---|---|
/// | a frame arrived, before the stack sees it | [`handle_received`](Self::handle_received) |
/// | the stack has written a frame | [`handle_sent`](Self::handle_sent) |
/// | the device has nothing more to receive, and [`poll_timeout`](Self::poll_timeout) is reached | [`handle_timeout`](Self::handle_timeout), then [`poll_transmit`](Self::poll_transmit) and [`poll_receive`](Self::poll_receive) until they are `None` |
/// | the device took what `poll_transmit` wrote | [`handle_transmitted`](Self::handle_transmitted) |
/// | the stack answered what `poll_receive` wrote | [`handle_answer`](Self::handle_answer) |
/// | after all of that | [`poll_event`](Self::poll_event) |
///
/// Connections are known by an [`Id`]: [`add`](Self::add) one for each socket, and say with
/// [`follow`](Self::follow) what connection the socket has. [`poll_opening`](Self::poll_opening)
/// says when a connection is being opened.
#[derive(Debug)]
pub struct Link<const N: usize, const W: usize = 4> {
    connections: [Connection<W>; N],
    hops: Hops<W>,
    /// What was seen of connections that were opened lately and have no place yet.
    openings: [Seen<W>; OPENINGS],
    /// Which of them is the last one.
    last_opening: usize,
    /// Where frames of ours come from, once the stack has sent one.
    hardware: Option<HardwareAddr>,
    framing: Framing,
    /// When there is something to do, if ever: never later than the earliest moment at which a
    /// connection falls due. A received segment only ever makes it earlier than need be; then
    /// serving finds nothing due and repairs it.
    wake_at: Option<Instant>,
    now: Instant,
    /// Where the connection of the last frame is.
    last_found: usize,
    /// Whose frame was handed out last.
    sending: Sending,
    strangers: Strangers,
    stranger_after: Instant,
    ask_stack_after: Instant,
    /// What to ask the stack next: for each connection there are two questions.
    ask_stack_at: usize,
    /// The device had no room for a frame of ours. Nobody says when it has some, so each poll tries.
    is_blocked: bool,
    /// A connection may have begun or ended.
    is_changed: bool,
    has_events: bool,
}

/// Whose frame was handed out last.
#[derive(Clone, Copy, Debug)]
enum Sending {
    Nothing,
    Of(usize),
    OfHop,
}

/// What the stack says of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Socket<const W: usize> {
    /// It has no connection.
    Closed(Ending),
    /// A connection is being opened.
    Opening(Tuple<W>),
    /// It has a synchronised connection.
    Open(Tuple<W>),
}

impl<const N: usize, const W: usize> Link<N, W> {
    /// The memory that one connection takes, in bytes.
    pub const BYTES_PER_CONNECTION: usize = size_of::<Connection<W>>();

    /// How much of that a received segment reads or writes, unless the peer is being probed. It
    /// lies together, at the beginning.
    pub const BYTES_TOUCHED_BY_SEGMENT: usize = Connection::<W>::BYTES_TOUCHED_BY_SEGMENT;

    /// Makes a link without connections, an Ethernet on which software computes all checksums.
    #[must_use]
    pub const fn new() -> Self {
        const {
            Self {
                connections: [const { Connection::FREE }; N],
                hops: Hops::new(),
                openings: [Seen {
                    phase: Phase::Free,
                    ..Seen::new(Tuple::NONE)
                }; OPENINGS],
                last_opening: 0,
                hardware: None,
                framing: Framing {
                    medium: Medium::Ethernet,
                    checksums: Checksums {
                        ipv4: Checksum::Software,
                        transport: Checksum::Software,
                    },
                },
                wake_at: None,
                now: Instant::ZERO,
                last_found: 0,
                sending: Sending::Nothing,
                strangers: Strangers::None,
                stranger_after: Instant::ZERO,
                ask_stack_after: Instant::ZERO,
                ask_stack_at: 0,
                is_blocked: false,
                is_changed: false,
                has_events: false,
            }
        }
    }

    /// Sets what the link carries, and which checksums it leaves to software. Call it once, before
    /// the first frame.
    pub const fn set_capabilities(&mut self, medium: Medium, checksums: Checksums) {
        self.framing = Framing { medium, checksums };
    }

    /// Takes a place for the connections of one socket, one after the other. Returns `None` if all
    /// `N` are taken.
    pub fn add(&mut self, config: Config) -> Option<Id> {
        for (index, connection) in self.connections.iter_mut().enumerate() {
            if connection.seen.phase == Phase::Free {
                connection.seen.phase = Phase::Unbound;
                connection.machine = KeepAlive::new(config);
                self.wake_at = Some(Instant::ZERO);
                return Some(Id(index));
            }
        }
        None
    }

    /// Frees the place of `id`, at once: not one more probe.
    pub fn remove(&mut self, id: Id) {
        if let Some(connection) = self.connections.get_mut(id.0) {
            *connection = Connection::FREE;
            // What is to be done at once stays to be done.
            if self.wake_at != Some(Instant::ZERO) {
                self.plan();
            }
        }
    }

    /// Replaces the configuration of `id`, at once (K8). An equal one changes nothing.
    pub fn set_config(&mut self, id: Id, config: Config) {
        if let Some(connection) = self.connections.get_mut(id.0) {
            connection.machine.replace_config(config);
            self.wake_at = Some(Instant::ZERO);
        }
    }

    /// Switches the keep-alive of `id` on or off, at once (K8). Off, the link goes on watching the
    /// connection and sends nothing for it. For an adapter that knows no sockets: call it for each
    /// place before [`handle_timeout`](Self::handle_timeout), because a connection that opens is
    /// kept alive.
    pub fn switch(&mut self, now: Instant, id: Id, config: Option<Config>) {
        let Some(connection) = self.connections.get_mut(id.0) else {
            return;
        };
        let before = connection.machine.wake_at();
        match config {
            Some(config) if connection.machine.config() != config => {
                connection.machine.replace_config(config);
                self.wake_at = Some(Instant::ZERO);
            }
            None if connection.is_live() => connection.machine.disable(),
            _ => {}
        }
        if config.is_some() && connection.is_open() {
            connection.machine.enable(now);
        }
        if connection.machine.wake_at() != before {
            self.wake_at = Some(Instant::ZERO);
        }
    }

    /// Ends the connections whose end was seen: a RST that the stack did not answer, or both FINs
    /// acknowledged. For an adapter that knows no sockets: call it after the stack has seen every
    /// frame, and before [`handle_timeout`](Self::handle_timeout).
    pub fn settle(&mut self) {
        for connection in &mut self.connections {
            let has_ended = match connection.seen.phase {
                Phase::ResetReceived | Phase::ResetSent => true,
                Phase::Open | Phase::Moved => connection.seen.flow.is_closed(),
                _ => false,
            };
            if has_ended {
                connection.end(Ending::Unknown);
            }
        }
    }

    /// Says what connection the socket of `id` has, and whether it has something queued or
    /// outstanding (K3). Call it when a connection may have begun or ended, and before
    /// [`handle_timeout`](Self::handle_timeout).
    ///
    /// `buffers`, in octets, is the size of the larger of the socket's buffers: see
    /// [`Flow::new`](crate::Flow::new). Zero means what the stack's SYN announced.
    ///
    /// Returns whether the socket has to be aborted: its peer is dead, and the stack did not take
    /// the RST, because it has received more than it has acknowledged, or its numbers are not
    /// known.
    pub fn follow(
        &mut self,
        now: Instant,
        id: Id,
        socket: Socket<W>,
        buffers: u32,
        is_busy: bool,
    ) -> bool {
        // smoltcp lets a listener take a SYN that another socket has taken already. What passes is
        // the first one's.
        let is_doubled = self.is_doubled(id, socket);
        let Some(connection) = self.connections.get_mut(id.0) else {
            return false;
        };
        let phase = connection.seen.phase;
        let (tuple, is_open) = match socket {
            Socket::Closed(ending) => {
                if connection.is_live() {
                    connection.end(ending);
                }
                return false;
            }
            Socket::Opening(tuple) => (tuple, false),
            Socket::Open(tuple) => (tuple, true),
        };
        let opening = self.openings.iter_mut().find(|seen| seen.tuple == tuple);
        let is_new = if connection.is_open() || phase == Phase::Opening {
            !is_open && phase != Phase::Opening
        } else {
            opening.is_some() || !is_open
        };
        let is_same = connection.seen.tuple == tuple && !is_new;
        match phase {
            Phase::GivenUp | Phase::PeerTold if is_same => return false,
            Phase::StackTold | Phase::Dead if is_same => return true,
            // The RST for the old peer goes first.
            Phase::GivenUp | Phase::StackTold => return false,
            // Had the stack believed the one or meant the other, the connection would be gone.
            Phase::ResetReceived | Phase::ResetSent if is_same => {
                connection.seen.phase = Phase::Open;
            }
            _ if is_same && connection.is_live() => {
                // What was noted for it, or for another socket's SYN, is not of a next connection.
                if let Some(opening) = opening {
                    opening.tuple = Tuple::NONE;
                }
            }
            _ => {
                if connection.is_live() {
                    connection.end(Ending::Unknown);
                }
                if is_doubled {
                    return false;
                }
                connection.machine.reset();
                connection.seen = Seen::new(tuple);
                if let Some(opening) = opening {
                    connection.seen = *opening;
                    opening.tuple = Tuple::NONE;
                }
                if buffers != 0 {
                    connection.seen.flow.set_buffers(buffers);
                }
                if is_open {
                    connection.open(now, false);
                }
            }
        }
        if is_open && connection.seen.phase == Phase::Opening {
            // Its handshake went unseen. Closed by the application before it was over, the socket is
            // busy with its FIN, and the peer was not heard.
            connection.open(now, !is_busy);
        }
        connection.seen.flow.set_unsent(is_busy);
        if !is_busy {
            connection.seen.flow.handle_quiet();
        }
        false
    }

    /// Another socket has a connection with the same four-tuple. One that is being opened yields to
    /// one that is open: the handshake shows whose the segments are.
    fn is_doubled(&mut self, id: Id, socket: Socket<W>) -> bool {
        let (Socket::Opening(tuple) | Socket::Open(tuple)) = socket else {
            return false;
        };
        let mut is_doubled = false;
        let mut next = 0_usize;
        for other in &mut self.connections {
            let index = next;
            next = next.wrapping_add(1);
            if index == id.0 || !other.is_live() || other.seen.tuple != tuple {
                continue;
            }
            if other.seen.phase == Phase::Opening && matches!(socket, Socket::Open(_)) {
                other.seen.phase = Phase::Unbound;
            } else {
                is_doubled = true;
            }
        }
        is_doubled
    }

    /// Returns the four-tuple of a connection that the stack is opening and that no [`Id`] has. Poll
    /// it after [`handle_sent`](Self::handle_sent). Of several, it is the last one.
    #[must_use]
    pub fn poll_opening(&self) -> Option<Tuple<W>> {
        let tuple = self.openings.get(self.last_opening)?.tuple;
        (tuple != Tuple::NONE).then_some(tuple)
    }

    /// Leaves the connection that [`poll_opening`](Self::poll_opening) tells of to itself.
    pub fn forget_opening(&mut self) {
        if let Some(opening) = self.openings.get_mut(self.last_opening) {
            opening.tuple = Tuple::NONE;
        }
    }

    /// Shows a frame that arrived. Call it before the stack sees the frame.
    #[inline]
    pub fn handle_received(&mut self, now: Instant, frame: &[u8]) {
        self.handle_now(now);
        self.receive(frame);
    }

    #[inline]
    pub(crate) fn receive(&mut self, frame: &[u8]) {
        if self.predict(frame).is_none() {
            self.handle_frame(frame, Direction::Received);
        }
    }

    /// Takes note of the present.
    #[inline]
    pub(crate) fn handle_now(&mut self, now: Instant) {
        if now != self.now {
            self.handle_another(now);
        }
    }

    #[cold]
    #[inline(never)]
    fn handle_another(&mut self, now: Instant) {
        if now < self.now {
            self.handle_step_back(now);
        }
        self.now = now;
    }

    /// K10: no remembered moment lies in the future.
    #[cold]
    #[inline(never)]
    fn handle_step_back(&mut self, now: Instant) {
        self.stranger_after = self.stranger_after.min(now);
        self.ask_stack_after = self.ask_stack_after.min(now);
        self.hops.handle_step_back(now);
        for connection in &mut self.connections {
            connection.machine.handle_step_back(now);
        }
        self.wake_at = Some(Instant::ZERO);
    }

    /// Handles the commonest frame of the commonest connection: one that is open, is not being probed,
    /// and hears a plain segment of its peer. `None` if it is anything else.
    #[inline(never)]
    fn predict(&mut self, frame: &[u8]) -> Option<()> {
        let mut packet = frame;
        if self.framing.is_ethernet() {
            let (header, rest) = frame.split_first_chunk::<ETHERNET_HEADER_LEN>()?;
            let (to, [.., 8, 0]) = header.split_first_chunk::<6>()? else {
                return None;
            };
            if self.hardware? != *to {
                return None;
            }
            packet = rest;
        }
        let plain = Plain::find(packet)?;
        let index = self.find(&plain.received_tuple())?;
        let connection = self.connections.get_mut(index)?;
        let is_expected = connection.seen.phase == Phase::Open && connection.machine.is_armed();
        if !is_expected || !plain.is_intact(self.framing.checksums) {
            return None;
        }
        connection.seen.flow.predict(&plain.segment())?;
        connection.machine.handle_segment(self.now);
        Some(())
    }

    /// Shows a frame that the stack has written. Call it before the device sends the frame. A frame
    /// of ours must not be shown.
    #[inline]
    pub fn handle_sent(&mut self, now: Instant, frame: &[u8]) {
        self.handle_now(now);
        self.send(frame);
    }

    #[inline]
    pub(crate) fn send(&mut self, frame: &[u8]) {
        self.handle_frame(frame, Direction::Sent);
    }

    /// Shows what the stack answered to a frame that [`poll_receive`](Self::poll_receive) wrote. That
    /// answer must not leave.
    pub fn handle_answer(&mut self, now: Instant, frame: &[u8]) {
        self.handle_now(now);
        self.answer(frame);
    }

    pub(crate) fn answer(&mut self, frame: &[u8]) {
        self.handle_frame(frame, Direction::Swallowed);
    }

    // In line it would want the registers that the stack's own loop has.
    #[inline(never)]
    fn handle_frame(&mut self, frame: &[u8], direction: Direction) {
        let is_received = direction == Direction::Received;
        let mut packet = frame;
        let mut next_hop = [0; 6];
        let mut is_unicast = true;
        if self.framing.is_ethernet() {
            let Some((header, rest)) = frame.split_first_chunk::<ETHERNET_HEADER_LEN>() else {
                return;
            };
            packet = rest;
            let [d0, d1, d2, d3, d4, d5, s0, s1, s2, s3, s4, s5, t1, t0] = *header;
            next_hop = [d0, d1, d2, d3, d4, d5];
            is_unicast = d0 & 1 == 0;
            if !is_received {
                self.hardware = Some([s0, s1, s2, s3, s4, s5]);
            } else if is_unicast && self.hardware.is_some_and(|ours| ours != next_hop) {
                // K18: the stack drops what is for another station.
                return;
            }
            match u16::from_be_bytes([t1, t0]) {
                ETHERTYPE_IPV4 | ETHERTYPE_IPV6 => {}
                ETHERTYPE_ARP => return self.handle_arp(packet, direction, is_unicast),
                _ => return,
            }
        }
        let Some(datagram) = Datagram::<W>::find(packet) else {
            return;
        };
        if datagram.protocol != PROTOCOL_TCP {
            return self.handle_icmp(&datagram, direction, is_unicast);
        }
        let Some(ports) = datagram.ports() else {
            return;
        };
        let tuple = if is_received {
            datagram.received_tuple(ports)
        } else {
            datagram.sent_tuple(ports)
        };
        let Some(segment) = datagram.segment() else {
            return;
        };
        let Some(index) = self.find(&tuple) else {
            if segment.syn && !is_received {
                self.note_opening(tuple, &segment, next_hop, datagram.hop_limit);
            } else if !is_received || datagram.is_intact(self.framing.checksums) {
                self.keep_opening(&tuple, &segment, is_received);
            }
            return;
        };
        if !is_received {
            self.handle_sent_segment(index, &segment, next_hop, datagram.hop_limit, direction);
        } else if datagram.is_intact(self.framing.checksums) {
            self.handle_received_segment(index, &segment);
        }
    }

    /// Looks for a connection, first where the last one was found.
    #[inline]
    fn find(&mut self, tuple: &Tuple<W>) -> Option<usize> {
        let mut index = self.last_found;
        for _ in 0..N {
            let connection = self.connections.get(index)?;
            // A place whose connection has ended may have the four-tuple of another one's.
            if connection.seen.tuple == *tuple && connection.is_live() {
                self.last_found = index;
                return Some(index);
            }
            index = if index.wrapping_add(1) >= N {
                0
            } else {
                index.wrapping_add(1)
            };
        }
        None
    }

    fn handle_received_segment(&mut self, index: usize, segment: &Segment) {
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        let flow = &mut connection.seen.flow;
        if !flow.is_acceptable(segment) {
            return self.handle_unacceptable(index, segment);
        }
        let is_new = flow.accept(segment) == Received::HeardNewAck;
        if segment.fin || is_new && flow.is_closing() {
            self.is_changed = true;
            self.wake_at = Some(Instant::ZERO);
        }
        if connection.seen.phase == Phase::Open && connection.machine.is_armed() {
            connection.machine.handle_segment(self.now);
        } else {
            self.heard_unsettled(index);
        }
    }

    /// Handles a sign of life while there is more to do than to take note of the time.
    #[cold]
    #[inline(never)]
    fn heard_unsettled(&mut self, index: usize) {
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        match connection.seen.phase {
            Phase::Opening => {
                connection.open(self.now, true);
                self.is_changed = true;
            }
            Phase::Open | Phase::Moved => {
                connection.seen.phase = Phase::Open;
                connection.machine.handle_segment(self.now);
                if connection.machine.state() == State::Disabled {
                    return;
                }
            }
            _ => return,
        }
        self.has_events = true;
        let due = connection.machine.wake_at();
        self.wake(due);
        if self.is_changed {
            self.wake_at = Some(Instant::ZERO);
        }
    }

    /// Handles a segment that is no sign of life.
    #[cold]
    #[inline(never)]
    fn handle_unacceptable(&mut self, index: usize, segment: &Segment) {
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        if segment.rst && connection.is_live() && connection.seen.flow.is_reset(segment) {
            connection.seen.phase = Phase::ResetReceived;
            self.note_change();
        } else if connection.seen.phase == Phase::Opening {
            // It may be the end of a handshake whose beginning was not seen.
            self.note_change();
        } else if segment.syn
            && segment.ack.is_none()
            && connection.is_open()
            && connection.seen.flow.is_known()
        {
            // Without numbers there is nothing to ask with.
            self.handle_stranger(index);
        }
    }

    /// K19: a peer that lost its power and comes back from the same port sends a SYN.
    fn handle_stranger(&mut self, index: usize) {
        if self.now >= self.stranger_after {
            for connection in &mut self.connections {
                connection.seen.flow.forget_stranger();
            }
        }
        // Without numbers there is nothing to ask with.
        if let Some(connection) = self.connections.get_mut(index)
            && connection.seen.flow.is_known()
            && connection.seen.flow.handle_stranger()
        {
            self.strangers = Strangers::Heard;
            self.wake_at = Some(Instant::ZERO);
        }
    }

    #[inline]
    fn handle_sent_segment(
        &mut self,
        index: usize,
        segment: &Segment,
        next_hop: HardwareAddr,
        hop_limit: u8,
        direction: Direction,
    ) {
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        let seen = &mut connection.seen;
        let (iss, ..) = seen.flow.numbers();
        let is_first = seen.hop_limit == 0;
        if segment.syn && (seen.phase != Phase::Opening || iss != segment.seq && !is_first) {
            // Another connection with the same ends: a listener may have taken a stranger's SYN (K19).
            seen.flow.handle_stranger_answered();
            let tuple = seen.tuple;
            return self.note_opening(tuple, segment, next_hop, hop_limit);
        }
        let was_known = seen.flow.is_known();
        let asks = seen.flow.handle_sent(segment);
        if next_hop[0] & 1 == 0 {
            seen.hardware = next_hop;
        }
        if asks || seen.hop_limit == 0 {
            // The stack's answers have the default hop limit, its data the socket's.
            seen.hop_limit = hop_limit;
        }
        if seen.phase != Phase::Open || segment.syn || segment.fin || segment.rst {
            self.handle_sent_unusual(index, segment, was_known, hop_limit);
        } else if asks && direction == Direction::Sent {
            connection.machine.handle_sent(self.now);
            let due = connection.machine.wake_at();
            self.wake(due);
        }
    }

    /// Handles a segment of ours that may begin or end a connection.
    #[cold]
    #[inline(never)]
    fn handle_sent_unusual(
        &mut self,
        index: usize,
        segment: &Segment,
        was_known: bool,
        hop_limit: u8,
    ) {
        let Some(connection) = self.connections.get_mut(index) else {
            return;
        };
        self.is_changed |= segment.syn || segment.fin || segment.rst;
        self.wake_at = Some(Instant::ZERO);
        let Connection { seen, machine } = connection;
        match seen.phase {
            Phase::Opening if segment.syn => seen.hop_limit = hop_limit,
            Phase::ResetReceived if !segment.rst => seen.phase = Phase::Open,
            phase if segment.rst && phase.is_live() => seen.phase = Phase::ResetSent,
            // The stack has taken the peer's SYN and ACK. One that was opened by the peer had its
            // numbers before.
            Phase::Opening if !was_known && seen.flow.is_known() => {
                connection.open(self.now, true);
            }
            Phase::Open if segment.fin => machine.handle_sent(self.now),
            _ => {}
        }
    }

    /// Keeps the numbers of a connection without a place: it may be given one later.
    #[cold]
    #[inline(never)]
    fn keep_opening(&mut self, tuple: &Tuple<W>, segment: &Segment, is_received: bool) {
        let Some(seen) = self.openings.iter_mut().find(|seen| seen.tuple == *tuple) else {
            return;
        };
        if segment.rst {
            // Whoever believes it has no connection any more. Who does not will be asked.
            seen.tuple = Tuple::NONE;
        } else if is_received {
            seen.flow.handle_received(segment);
        } else {
            seen.flow.handle_sent(segment);
        }
    }

    /// Takes note of a connection that is being opened and has no place yet.
    #[cold]
    #[inline(never)]
    fn note_opening(
        &mut self,
        tuple: Tuple<W>,
        segment: &Segment,
        hardware: HardwareAddr,
        hop_limit: u8,
    ) {
        // A SYN that is sent again is that of the same connection.
        let is_same = |seen: &Seen<W>| seen.tuple == tuple;
        let next = self.last_opening.wrapping_add(1) % OPENINGS;
        self.last_opening = self.openings.iter().position(is_same).unwrap_or(next);
        if let Some(opening) = self.openings.get_mut(self.last_opening) {
            *opening = Seen::new(tuple);
            opening.flow.handle_sent(segment);
            let shift = u32::from(segment.window_scale.unwrap_or(0));
            let window = u32::from(segment.window);
            let buffers = window.checked_shl(shift).unwrap_or(u32::MAX);
            opening.flow.set_buffers(buffers);
            opening.hardware = hardware;
            opening.hop_limit = hop_limit;
        }
        self.note_change();
    }

    /// A connection may have begun or ended: the sockets have to be looked at.
    fn note_change(&mut self) {
        self.is_changed = true;
        self.wake_at = Some(Instant::ZERO);
    }

    #[cold]
    #[inline(never)]
    fn handle_arp(&mut self, packet: &[u8], direction: Direction, is_unicast: bool) {
        match direction {
            Direction::Received => {
                self.handle_announcement(Announcement::in_arp(packet, is_unicast));
            }
            Direction::Sent => {}
            Direction::Swallowed => self.pass_on(Question::in_arp(packet)),
        }
    }

    #[cold]
    #[inline(never)]
    fn handle_icmp(&mut self, datagram: &Datagram<'_, W>, direction: Direction, is_unicast: bool) {
        let is_intact = || datagram.is_intact(self.framing.checksums);
        match direction {
            Direction::Received if W > 1 && is_ndp(datagram) => {
                if self.framing.is_ethernet() && is_intact() {
                    self.handle_announcement(Announcement::in_icmpv6(datagram, is_unicast));
                }
            }
            Direction::Received => self.handle_unreachable(datagram),
            Direction::Swallowed if W > 1 && is_ndp(datagram) => {
                self.pass_on(Question::in_icmpv6(datagram));
            }
            Direction::Sent | Direction::Swallowed => {}
        }
    }

    fn handle_announcement(&mut self, heard: Option<Announcement<W>>) {
        if let Some(heard) = heard
            && self
                .hops
                .handle_announcement(self.now, &heard, &mut self.connections)
        {
            self.wake_at = Some(Instant::ZERO);
        }
    }

    fn pass_on(&mut self, question: Option<Question<W>>) {
        if let Some(question) = question {
            self.hops.pass_on(&question, &self.connections);
        }
    }

    /// K20: the message quotes the datagram that could not be delivered (RFC 792, RFC 4443 3.1).
    fn handle_unreachable(&mut self, datagram: &Datagram<'_, W>) {
        let is_unreachable = match datagram.protocol {
            PROTOCOL_ICMPV4 => datagram.payload.first() == Some(&3),
            PROTOCOL_ICMPV6 => W > 1 && datagram.payload.first() == Some(&1),
            _ => false,
        };
        if !is_unreachable {
            return;
        }
        let Some(quoted) = datagram.payload.get(8..).and_then(Datagram::<W>::quoted) else {
            return;
        };
        for connection in &mut self.connections {
            if connection.seen.tuple == quoted && connection.is_open() {
                connection.machine.handle_unreachable();
            }
        }
    }

    /// Whether there is anything to do at `now`: a deadline is reached, a connection may have begun or
    /// ended, the clock has stepped back, or the device had no room the last time.
    #[inline]
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        self.wake_at.is_some_and(|at| now >= at) || now < self.now || self.is_blocked
    }

    /// Handles the passing of time. Call it when [`is_due`](Self::is_due), and after the frames that
    /// have arrived by then were shown: an answer among them is in time (K9).
    #[inline(never)]
    pub fn handle_timeout(&mut self, now: Instant) {
        self.handle_now(now);
        for (index, connection) in self.connections.iter_mut().enumerate() {
            if connection.is_open() && connection.machine.wake_at() <= now {
                let is_busy = connection.is_busy();
                connection.machine.handle_time(now, is_busy);
                self.has_events = true;
                if connection.machine.state() == State::TimedOut {
                    debug!("keep-alive {}: {}", index, connection.machine.verdict());
                    self.is_changed = true;
                    connection.seen.phase = if connection.seen.flow.is_known() {
                        Phase::GivenUp
                    } else {
                        Phase::Dead
                    };
                }
            }
        }
    }

    /// Writes the next frame for the wire into `out` and returns its length: the RST of a verdict, a
    /// probe, a question for a neighbour. Call [`handle_transmitted`](Self::handle_transmitted) if
    /// the device took it, and [`handle_blocked`](Self::handle_blocked) if not.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut [u8; MAX_FRAME_LEN]) -> Option<usize> {
        let ours = self.hardware.unwrap_or_default();
        // First, because the next probe may need its place.
        let len = self.hops.poll_transmit(out, self.framing, ours);
        if len.is_some() {
            self.sending = Sending::OfHop;
            return len;
        }
        for (index, connection) in self.connections.iter_mut().enumerate() {
            let kind = match connection.seen.phase {
                Phase::GivenUp | Phase::StackTold => Kind::Reset,
                Phase::Moved => Kind::Probe,
                Phase::Open if connection.waits_for_numbers().is_some_and(|end| now < end) => {
                    continue;
                }
                Phase::Open if connection.machine.offer(now, connection.is_busy()) => Kind::Probe,
                Phase::Open
                    if connection.seen.flow.has_stranger()
                        && self.strangers == Strangers::Unanswered =>
                {
                    Kind::Challenge
                }
                _ => continue,
            };
            let payload = connection.machine.payload();
            // Without numbers there is nothing to send, and a probe that was offered did not leave.
            let len = connection
                .seen
                .write(out, self.framing, ours, kind, payload);
            if len.is_some() {
                self.sending = Sending::Of(index);
                return len;
            }
        }
        if self.strangers == Strangers::Heard {
            self.strangers = Strangers::Unanswered;
        }
        self.is_blocked = false;
        self.plan();
        None
    }

    /// Records that the device took the frame that [`poll_transmit`](Self::poll_transmit) wrote last
    /// (K4).
    pub fn handle_transmitted(&mut self, now: Instant) {
        let index = match core::mem::replace(&mut self.sending, Sending::Nothing) {
            Sending::Nothing => return,
            Sending::OfHop => return self.hops.handle_transmitted(now, &mut self.connections),
            Sending::Of(index) => index,
        };
        let Some(Connection { seen, machine }) = self.connections.get_mut(index) else {
            return;
        };
        match seen.phase {
            Phase::GivenUp => seen.phase = Phase::PeerTold,
            Phase::StackTold => {
                seen.phase = Phase::Dead;
                // Another connection may be waiting for its place.
                self.is_changed = true;
            }
            Phase::Moved => seen.phase = Phase::Open,
            _ if machine.is_wanting() => {
                debug!("keep-alive {}: probe sent", index);
                machine.handle_probe_sent(now);
                // K17: the first probe of the round went unanswered.
                if machine.unanswered() > 1 && self.framing.is_ethernet() {
                    self.hops.ask_for(now, index, &mut self.connections);
                }
            }
            _ => {
                seen.flow.handle_stranger_answered();
                self.stranger_after = now.plus_micros(STRANGER_MICROS);
            }
        }
    }

    /// Records that the device has no room: what waits has been offered, and did not leave (K4).
    pub fn handle_blocked(&mut self, now: Instant) {
        self.is_blocked = true;
        for connection in &mut self.connections {
            let waits = connection.waits_for_numbers().is_some_and(|end| now < end);
            if connection.seen.phase == Phase::Open && !waits {
                let is_busy = connection.is_busy();
                connection.machine.offer(now, is_busy);
            }
        }
        self.plan();
    }

    /// Writes the next frame for the stack into `out` and returns its length: the RST that closes
    /// our end after a verdict, or a question for numbers that were not seen. Hand it to the stack
    /// as if it had arrived, and what the stack answers to [`handle_answer`](Self::handle_answer).
    pub fn poll_receive(&mut self, now: Instant, out: &mut [u8; MAX_FRAME_LEN]) -> Option<usize> {
        let ours = self.hardware.unwrap_or_default();
        if now >= self.ask_stack_after {
            self.ask_stack_after = now.plus_micros(ASK_STACK_MICROS);
            self.ask_stack_at = 0;
        }
        let mut place = 0_usize;
        for connection in &mut self.connections {
            let Connection { seen, machine } = connection;
            let mut kind = Kind::ResetOfPeer;
            match seen.phase {
                Phase::GivenUp => seen.phase = Phase::StackTold,
                Phase::PeerTold => seen.phase = Phase::Dead,
                // The segment lies out of the window. One whose acknowledgement lies below what is
                // in flight may be dropped unanswered, so two are tried, half of the circle apart.
                Phase::Open if !seen.flow.is_known() && machine.is_wanting() => {
                    let tried = self.ask_stack_at.saturating_sub(place);
                    if tried > 1 {
                        place = place.wrapping_add(2);
                        continue;
                    }
                    self.ask_stack_at = place.wrapping_add(tried).wrapping_add(1);
                    kind = Kind::Question {
                        half: if tried == 0 { 0 } else { 1 << 31 },
                    };
                }
                _ => {
                    place = place.wrapping_add(2);
                    continue;
                }
            }
            return seen.write(out, self.framing, ours, kind, ProbePayload::Empty);
        }
        self.plan();
        None
    }

    /// Finds out when to serve next.
    #[inline(never)]
    fn plan(&mut self) {
        let retry_at = self.now.plus_micros(RETRY_MICROS);
        let mut wake_at = Instant::MAX;
        if self.hops.is_asking() {
            wake_at = retry_at;
        }
        for connection in &self.connections {
            let due = match connection.seen.phase {
                Phase::Open if connection.seen.flow.has_stranger() => {
                    if self.is_blocked {
                        retry_at
                    } else {
                        self.now
                    }
                }
                Phase::Open => match connection.waits_for_numbers() {
                    Some(end) => self.ask_stack_after.min(end),
                    None => connection.machine.wake_at(),
                },
                Phase::Moved | Phase::GivenUp | Phase::PeerTold | Phase::StackTold => retry_at,
                _ => continue,
            };
            wake_at = due.min(wake_at);
        }
        if self.is_changed {
            wake_at = Instant::ZERO;
        }
        self.wake_at = (wake_at != Instant::MAX).then_some(wake_at);
    }

    /// Has the link served at `due`, if not before.
    fn wake(&mut self, due: Instant) {
        let at = self.wake_at.unwrap_or(due);
        self.wake_at = Some(at.min(due));
    }

    /// Returns when to serve the link at the latest, if at all: see
    /// [`handle_timeout`](Self::handle_timeout). A moment that is not after the present means at
    /// once.
    #[must_use]
    pub const fn poll_timeout(&self) -> Option<Instant> {
        self.wake_at
    }

    /// Returns the oldest event of a connection that has any. Poll it after the other calls until
    /// it is `None`.
    #[must_use = "an event is reported once"]
    pub fn poll_event(&mut self) -> Option<(Id, Event)> {
        if !self.has_events {
            return None;
        }
        for (index, connection) in self.connections.iter_mut().enumerate() {
            if let Some(event) = connection.machine.poll_event() {
                return Some((Id(index), event));
            }
        }
        self.has_events = false;
        None
    }

    /// Returns whether [`poll_event`](Self::poll_event) may have something to report.
    #[must_use]
    pub const fn has_events(&self) -> bool {
        self.has_events
    }

    /// Returns where the keep-alive of `id` is.
    #[must_use]
    pub fn state(&self, id: Id) -> Option<State> {
        Some(self.connection(id)?.machine.state())
    }

    /// Returns the configuration of `id`.
    #[must_use]
    pub fn config(&self, id: Id) -> Option<Config> {
        Some(self.connection(id)?.machine.config())
    }

    /// Returns what was counted since `id` was added, over all its connections.
    #[must_use]
    pub fn stats(&self, id: Id) -> Option<Stats> {
        Some(self.connection(id)?.machine.stats())
    }

    /// Returns when the peer of `id` was last heard, in this connection or, until there is another,
    /// in the last one.
    #[must_use]
    pub fn last_heard(&self, id: Id) -> Option<Instant> {
        self.connection(id)?.machine.last_heard()
    }

    /// Returns how the last connection of `id` ended; `None` while it has one or never had any.
    #[must_use]
    pub fn close_reason(&self, id: Id) -> Option<CloseReason> {
        self.connection(id)?.close_reason()
    }

    /// Returns whether the last connection of `id` has ended, and no RST waits for either end.
    #[must_use]
    pub fn is_over(&self, id: Id) -> bool {
        let waits = |phase| matches!(phase, Phase::GivenUp | Phase::PeerTold | Phase::StackTold);
        self.close_reason(id).is_some()
            && self
                .connection(id)
                .is_some_and(|connection| !waits(connection.seen.phase))
    }

    /// Returns the four-tuple of the connection that `id` has.
    #[must_use]
    pub fn tuple(&self, id: Id) -> Option<Tuple<W>> {
        let seen = &self.connection(id)?.seen;
        seen.phase.is_live().then_some(seen.tuple)
    }

    /// Returns whether a connection may have begun or ended since this was called last. Then
    /// [`follow`](Self::follow) each.
    pub const fn take_change(&mut self) -> bool {
        core::mem::replace(&mut self.is_changed, false)
    }

    /// Returns how many places are taken.
    #[cfg(feature = "smoltcp")]
    pub(crate) fn len(&self) -> usize {
        let taken = |connection: &&Connection<W>| connection.seen.phase != Phase::Free;
        let places = self.connections.iter().filter(taken);
        places.fold(0, |places: usize, _| places.saturating_add(1))
    }

    /// Returns whether the place of `id` is taken.
    #[cfg(feature = "smoltcp")]
    #[inline]
    pub(crate) fn is_taken(&self, id: Id) -> bool {
        self.connection(id).is_some()
    }

    fn connection(&self, id: Id) -> Option<&Connection<W>> {
        self.connections
            .get(id.0)
            .filter(|connection| connection.seen.phase != Phase::Free)
    }
}

impl<const N: usize, const W: usize> Default for Link<N, W> {
    fn default() -> Self {
        Self::new()
    }
}
