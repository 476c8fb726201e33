//! The engine: frames in, frames out.

use super::connection::{CloseReason, Connection, Ending, Kind, Phase, Seen};
use super::frame::{
    Address, Buffer, Checksums, Datagram, ETHERNET_HEADER_LEN, ETHERTYPE_ARP, ETHERTYPE_IPV4,
    ETHERTYPE_IPV6, Framing, HardwareAddr, MAX_FRAME_LEN, Medium, PROTOCOL_ICMPV4, PROTOCOL_ICMPV6,
    Plain, Tuple,
};
use super::neighbor::{Announcement, Arp, Hops, Place, asked_in_icmpv6, is_ndp};
use super::opening::Openings;
use crate::keep_alive::RETRY_MILLIS;
use crate::{Config, Event, Instant, KeepAlive, ProbePayload, Received, Segment, State, Stats};

/// A SYN on an established connection is answered at most this often (K19; RFC 5961 7).
const STRANGER_MILLIS: u32 = 1_000;

/// A connection's place in a [`Link`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Id(pub(crate) usize);

/// What there is to do, whatever the time, one bit each.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Work(u8);

impl Work {
    const NOTHING: Self = Self(0);
    /// Serve at the next poll: a frame of ours could not leave. The device does not say when it has
    /// room, and the stack does not say when it tells numbers.
    const RETRY: Self = Self(1);
    /// Serve at once: the clock has stepped back, a configuration was replaced, a SYN wants an answer.
    const SERVE: Self = Self(1 << 1);
    /// A connection may have begun or ended: follow the sockets, and serve.
    const FOLLOW: Self = Self(1 << 2);

    const fn add(&mut self, work: Self) {
        self.0 |= work.0;
    }
}

/// A frame of the link.
enum Frame<'f> {
    Received(&'f [u8]),
    Sent(&'f [u8]),
    /// The stack has written it, and it has yet to leave.
    Written(&'f mut [u8]),
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
/// | the stack has written a frame | [`handle_sent`](Self::handle_sent), or [`handle_written`](Self::handle_written) |
/// | the device has nothing more to receive, and [`poll_timeout`](Self::poll_timeout) is reached | [`handle_timeout`](Self::handle_timeout), then [`poll_receive`](Self::poll_receive), then [`poll_transmit`](Self::poll_transmit), each until it is `None` |
/// | the device took what `poll_transmit` wrote | [`handle_transmitted`](Self::handle_transmitted) |
/// | the stack answered what `poll_receive` wrote | [`handle_answer`](Self::handle_answer) |
/// | after all of that | [`poll_event`](Self::poll_event) |
///
/// Connections are known by an [`Id`]: [`add`](Self::add) one for each socket, and say with
/// [`follow`](Self::follow) what connection the socket has. [`poll_opening`](Self::poll_opening)
/// says when a connection is being opened.
// The small fields first: the short instructions of a Cortex-M reach those.
#[derive(Debug)]
#[repr(C)]
pub struct Link<const N: usize, const W: usize = 4> {
    work: Work,
    strangers: Strangers,
    has_events: bool,
    /// What was handed out last.
    kind: Kind,
    framing: Framing,
    /// Where frames of ours come from; zero until the stack has sent one.
    hardware: HardwareAddr,
    /// The connection whose frame was handed out last; none if that asks for a next hop.
    sending: Place,
    /// When there is something to do, [`Instant::MAX`] for never: not later than the earliest moment
    /// at which a connection falls due. A received segment only ever makes it earlier than need be;
    /// then serving finds nothing due and repairs it.
    wake_at: Instant,
    now: Instant,
    stranger_after: Instant,
    hops: Hops<W>,
    connections: [Connection<W>; N],
    /// What was seen of connections that were opened lately and have no place yet.
    openings: Openings<W>,
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
            assert!(W == 1 || W == 4, "an address has 1 word, or 4");
            Self {
                connections: [const { Connection::FREE }; N],
                hops: Hops::new(),
                openings: Openings::new(),
                hardware: [0; 6],
                framing: Framing::ETHERNET,
                work: Work::NOTHING,
                wake_at: Instant::ZERO,
                now: Instant::ZERO,
                sending: Place::NONE,
                kind: Kind::Probe,
                strangers: Strangers::None,
                stranger_after: Instant::ZERO,
                has_events: false,
            }
        }
    }

    /// Sets what the link carries, and which checksums it leaves to software. Call it once, before
    /// the first frame.
    pub const fn set_capabilities(&mut self, medium: Medium, checksums: Checksums) {
        self.framing = Framing::new(medium, checksums);
    }

    /// Takes a place for the connections of one socket, one after the other. Returns `None` if all
    /// `N` are taken.
    pub fn add(&mut self, config: Config) -> Option<Id> {
        for (index, Connection { seen, machine }) in self.connections.iter_mut().enumerate() {
            if seen.phase == Phase::Free {
                seen.phase = Phase::Unbound;
                // It has none, and may have an end to report of the one before.
                machine.take_end();
                machine.set_config(Instant::ZERO, config);
                self.note_change();
                return Some(Id(index));
            }
        }
        None
    }

    /// Frees the place of `id`, at once: not one more probe.
    pub fn remove(&mut self, id: Id) {
        let Some(Connection { seen, machine }) = self.connections.get_mut(id.0) else {
            return;
        };
        if seen.phase == Phase::Open {
            if self.openings.find(&seen.tuple).is_some() {
                // That is another connection, which waits for the four-tuple.
                self.work = Work::FOLLOW;
            } else {
                // It may be given a place again.
                self.openings.note(seen);
            }
        }
        seen.phase = Phase::Free;
        *machine = KeepAlive::WITHOUT_CONFIG;
        self.plan();
    }

    /// Frees the place of `id`, and reports [`Event::NoSocket`]. For an adapter that finds no socket to
    /// [`follow`](Self::follow).
    #[cold]
    #[inline(never)]
    pub fn reject(&mut self, id: Id) {
        if let Some(Connection { seen, machine }) = self.connections.get_mut(id.0) {
            seen.phase = Phase::Free;
            *machine = KeepAlive::WITHOUT_CONFIG;
            machine.end();
            self.has_events = true;
            self.note_change();
        }
    }

    /// Replaces the configuration of `id`, at once (K8). An equal one changes nothing.
    pub fn set_config(&mut self, id: Id, config: Config) {
        if let Some(connection) = self.connections.get_mut(id.0) {
            connection.machine.set_config(self.now, config);
            self.work.add(Work::SERVE);
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
        let before = connection.machine.due();
        match config {
            Some(config) => connection.machine.set_config(now, config),
            None if connection.is_live() => connection.machine.disable(),
            None => {}
        }
        if config.is_some() && connection.is_open() {
            connection.machine.enable(now);
        }
        if connection.machine.due() != before {
            self.work.add(Work::SERVE);
        }
    }

    /// Ends the connections whose end was seen: a RST that the stack did not answer, or both FINs
    /// acknowledged. For an adapter that knows no sockets: call it after the stack has seen every
    /// frame, and before [`handle_timeout`](Self::handle_timeout).
    pub fn settle(&mut self) {
        for connection in &mut self.connections {
            let has_ended = match connection.seen.phase {
                Phase::ResetReceived | Phase::ResetSent => true,
                Phase::Open => connection.seen.flow.is_closed(),
                _ => false,
            };
            if has_ended {
                connection.end(Ending::Unknown);
                self.has_events = true;
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
    /// the RST, because its window is full, or its numbers are not known.
    pub fn follow(
        &mut self,
        now: Instant,
        id: Id,
        socket: Socket<W>,
        buffers: u32,
        is_busy: bool,
    ) -> bool {
        let (tuple, is_open) = match &socket {
            Socket::Closed(ending) => {
                self.end(id, *ending);
                return false;
            }
            Socket::Opening(tuple) => (tuple, false),
            Socket::Open(tuple) => (tuple, true),
        };
        let Some(Connection { seen, .. }) = self.connections.get_mut(id.0) else {
            return false;
        };
        let phase = seen.phase;
        let is_same = seen.tuple == *tuple && {
            let is_noted = self.openings.find(tuple).is_some();
            match phase {
                // Of another connection, the SYN would have been noted; but that may be another socket's.
                Phase::Opening => !is_open || !is_noted,
                Phase::Open => is_open || !is_noted,
                // The SYN may have been that of a stranger: see `poll_receive`.
                _ => is_open && (!is_noted || seen.flow.has_stranger()),
            }
        };
        let was_opening = is_same && phase == Phase::Opening;
        match seen.phase {
            Phase::StackTold | Phase::Dead if is_same => {
                seen.flow.set_stranger(false);
                return true;
            }
            // The RST for the old peer goes first.
            Phase::Free | Phase::GivenUp | Phase::StackTold => return false,
            // Had the stack believed the one or meant the other, the connection would be gone.
            // It may have been opening then.
            Phase::ResetReceived | Phase::ResetSent if is_same => seen.phase = Phase::Opening,
            Phase::Opening | Phase::Open if is_same => {}
            _ => {
                self.end(id, Ending::Unknown);
                if !self.bind(id, tuple, is_open, buffers) {
                    return false;
                }
            }
        }
        if !is_same {
            self.openings.forget(tuple);
        }
        let Some(Connection { seen, machine }) = self.connections.get_mut(id.0) else {
            return false;
        };
        if is_open && seen.phase == Phase::Opening {
            // Its handshake went unseen, or it was enabled late. Closed by the application before the
            // handshake was over, the socket is busy with its FIN, and the peer was not heard.
            seen.open(machine, now, was_opening && !is_busy);
        }
        // While the stack has not heard the end of the handshake, its SYN is outstanding.
        let is_busy = is_busy || !is_open;
        seen.flow.set_unsent(is_busy);
        if !is_busy {
            seen.flow.handle_quiet();
        }
        false
    }

    /// Records that the connection of `id` is over.
    fn end(&mut self, id: Id, ending: Ending) {
        if let Some(connection) = self.connections.get_mut(id.0)
            && connection.is_live()
        {
            connection.end(ending);
            self.has_events = true;
            if self.openings.find(&connection.seen.tuple).is_some() {
                // That is another connection, which waits for the four-tuple.
                self.work = Work::FOLLOW;
            }
        }
    }

    /// Begins a connection, with the numbers that were seen of it. Returns whether it did: it does not
    /// while the segments are those of another socket.
    #[cold]
    #[expect(clippy::inline_always, reason = "measured: it is smaller")]
    #[inline(always)]
    fn bind(&mut self, id: Id, tuple: &Tuple<W>, is_open: bool, buffers: u32) -> bool {
        // smoltcp lets a listener take a SYN that another socket has taken already. The handshake
        // shows whose the segments are; until then they are the first one's.
        let other = self.search(tuple);
        if let Some(Connection { seen, .. }) = other.and_then(|at| self.connections.get_mut(at)) {
            if seen.phase != Phase::Opening || !is_open {
                return false;
            }
            seen.phase = Phase::Unbound;
            if self.openings.find(tuple).is_none() {
                self.openings.note(seen);
            }
        }
        let Some(Connection { seen, machine }) = self.connections.get_mut(id.0) else {
            return false;
        };
        machine.reset();
        *seen = match self.openings.find(tuple) {
            Some(noted) => *noted,
            None => Seen::new(*tuple),
        };
        seen.phase = Phase::Opening;
        if buffers != 0 {
            seen.flow.set_buffers(buffers);
        }
        true
    }

    /// Returns whether a probe of `id` is due whose numbers are not known: the link has seen no segment
    /// of ours since the connection was opened, and more than four others were opened since. Have the
    /// stack write a keep-alive of its own then, which tells the numbers. It is the probe; or, shown to
    /// [`handle_written`](Self::handle_written), gives way to it.
    #[must_use]
    pub fn needs_numbers(&mut self, now: Instant, id: Id) -> bool {
        let Some(Connection { seen, machine }) = self.connections.get_mut(id.0) else {
            return false;
        };
        let needs = seen.phase == Phase::Open && !seen.flow.is_known() && machine.is_due(now);
        if needs {
            seen.flow.set_numbers_asked();
        }
        needs
    }

    /// Puts off a probe that [needs numbers](Self::needs_numbers) which the stack will tell in its own
    /// time, unless what would tell them waits for a neighbour.
    #[cfg(feature = "smoltcp")]
    pub(crate) fn put_off(&mut self, now: Instant, id: Id) {
        if let Some(Connection { seen, machine }) = self.connections.get_mut(id.0)
            && !self.hops.is_stack_asking()
        {
            seen.flow.take_numbers_asked();
            machine.put_off(now);
        }
    }

    /// Returns the four-tuple of a connection that the stack is opening and that no [`Id`] has. Poll
    /// it after [`handle_sent`](Self::handle_sent). Of several, it is the last one.
    #[must_use]
    pub fn poll_opening(&self) -> Option<Tuple<W>> {
        self.openings.last()
    }

    /// Leaves the connection that [`poll_opening`](Self::poll_opening) tells of to itself.
    pub fn forget_opening(&mut self) {
        self.openings.forget_last();
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
            self.handle_frame(Frame::Received(frame));
        }
    }

    /// Shows a frame that the stack has written. Call it before the device sends the frame. A frame
    /// of ours must not be shown.
    pub fn handle_sent(&mut self, now: Instant, frame: &[u8]) {
        self.handle_now(now);
        self.handle_frame(Frame::Sent(frame));
    }

    /// Shows a frame that the stack has written, as [`handle_sent`](Self::handle_sent) does. If it is the
    /// keep-alive by which the stack tells its numbers (see [`needs_numbers`](Self::needs_numbers)), a
    /// probe as the configuration has it is written over it; or, if none is due any more, a bare
    /// acknowledgement. Either is no longer than that keep-alive. The frame has to leave.
    pub fn handle_written(&mut self, now: Instant, frame: &mut [u8]) {
        self.handle_now(now);
        self.write_over(frame);
    }

    pub(crate) fn write_over(&mut self, frame: &mut [u8]) {
        self.handle_frame(Frame::Written(frame));
    }

    /// Handles the commonest frame of the commonest connection: one that is open, is not being probed,
    /// and hears a plain segment of its peer. `None` if it is anything else.
    fn predict(&mut self, frame: &[u8]) -> Option<()> {
        let mut packet = frame;
        if self.framing.is_ethernet() {
            let (header, rest) = frame.split_first_chunk::<ETHERNET_HEADER_LEN>()?;
            let (to, kind) = (header.first_chunk::<6>()?, header.last_chunk::<2>()?);
            if u16::from_ne_bytes(*kind) != ETHERTYPE_IPV4.to_be() || self.hardware != *to {
                return None;
            }
            packet = rest;
        }
        let plain = Plain::find(packet)?;
        let tuple = plain.received_tuple();
        let is_its = |c: &&mut Connection<W>| c.seen.tuple == tuple;
        let Connection { seen, machine } = self.connections.iter_mut().find(is_its)?;
        let is_expected = seen.phase == Phase::Open && machine.is_armed();
        if !is_expected || !plain.is_intact(self.framing)? {
            return None;
        }
        seen.flow.predict(&plain.segment())?;
        machine.handle_segment(self.now);
        Some(())
    }

    /// Takes note of the present.
    #[inline]
    pub(crate) fn handle_now(&mut self, now: Instant) {
        if now < self.now {
            self.handle_step_back(now);
        }
        self.now = now;
    }

    /// Moves remembered moments that lie in the future to `now` (K10).
    #[cold]
    #[inline(never)]
    fn handle_step_back(&mut self, now: Instant) {
        self.stranger_after = Instant::ZERO;
        self.hops.handle_step_back();
        for connection in &mut self.connections {
            connection.machine.handle_step_back(now);
        }
        self.work.add(Work::SERVE);
    }

    // In line it would want the registers that the stack's own loop has.
    #[inline(never)]
    fn handle_frame(&mut self, frame: Frame<'_>) {
        let is_received = matches!(frame, Frame::Received(_));
        let mut packet: &[u8] = match &frame {
            Frame::Received(octets) | Frame::Sent(octets) => octets,
            Frame::Written(octets) => octets,
        };
        let mut hop = [0; 6];
        if self.framing.is_ethernet() {
            let Some((header, rest)) = packet.split_first_chunk::<ETHERNET_HEADER_LEN>() else {
                return;
            };
            let Some((to, tail)) = header.split_first_chunk::<6>() else {
                return;
            };
            let Some((from, kind)) = tail.split_first_chunk::<6>() else {
                return;
            };
            packet = rest;
            hop = *to;
            if !is_received {
                self.hardware = *from;
            } else if is_unicast(to) && self.hardware != *to {
                // K18: the stack drops what is for another station. Before it has sent anything, there
                // is no connection.
                return;
            }
            let ([t1, t0] | [t1, t0, ..]) = *kind else {
                return;
            };
            let is_v6 = W > 1 && packet.first().is_some_and(|octet| octet >> 4 == 6);
            match u16::from_be_bytes([t1, t0]) {
                ETHERTYPE_IPV4 if !is_v6 => {}
                ETHERTYPE_IPV6 if is_v6 => {}
                ETHERTYPE_ARP => return self.handle_arp(packet, is_received, is_unicast(to)),
                _ => return,
            }
        }
        let Some(datagram) = Datagram::<W>::find(packet, false) else {
            return;
        };
        let Some(ports) = datagram.ports() else {
            return self.handle_icmp(&datagram, is_received, is_unicast(&hop));
        };
        let Some(segment) = datagram.segment() else {
            return;
        };
        if !is_received {
            let tuple = datagram.sent_tuple(ports);
            let hop_limit = datagram.hop_limit;
            // PSH or FIN: the application wrote it. The stack's keep-alive has neither.
            let flags = datagram.payload.get(13).copied().unwrap_or_default();
            let is_data = flags & 0x09 != 0;
            let written = match frame {
                Frame::Written(octets) => octets,
                _ => &mut [],
            };
            self.handle_sent_segment(&tuple, &segment, hop, hop_limit, is_data, written);
        } else if datagram.is_intact(self.framing) {
            self.handle_received_segment(&datagram.received_tuple(ports), &segment);
        }
    }

    /// Looks for a connection. A place whose connection has ended may have the four-tuple of another
    /// one's.
    fn search(&self, tuple: &Tuple<W>) -> Option<usize> {
        search(&self.connections, tuple)
    }

    fn handle_received_segment(&mut self, tuple: &Tuple<W>, segment: &Segment) {
        let located = locate(&mut self.connections, &mut self.openings, tuple);
        let Some((seen, machine)) = located else {
            return;
        };
        let is_heard = seen.flow.handle_received(segment) != Received::Ignored;
        let Some(machine) = machine else {
            // It may be given a place later.
            if segment.rst {
                seen.tuple = Tuple::NONE;
                self.note_change();
            }
            return;
        };
        match seen.phase {
            Phase::Open if is_heard => {
                machine.recover(self.now);
                self.has_events |= machine.has_event();
                self.wake_at = machine.due().min(self.wake_at);
            }
            Phase::Opening if is_heard => {
                seen.open(machine, self.now, true);
                return self.note_change();
            }
            _ if segment.rst && seen.flow.is_reset(segment) => {
                seen.phase = Phase::ResetReceived;
                return self.note_change();
            }
            // It may be the end of a handshake whose beginning was not seen.
            Phase::Opening => return self.note_change(),
            // K19: a peer that lost its power and comes back from the same port sends a SYN. Without
            // numbers there is nothing to ask with.
            Phase::Open
                if segment.syn
                    && segment.ack.is_none()
                    && seen.flow.is_known()
                    && !machine.is_off()
                    && self.now >= self.stranger_after =>
            {
                seen.flow.set_stranger(true);
                self.strangers = Strangers::Heard;
                self.work.add(Work::SERVE);
                return;
            }
            _ => return,
        }
        if segment.fin || seen.flow.is_closing() {
            self.note_change();
        }
    }

    /// Handles a segment of ours.
    #[inline(never)]
    fn handle_sent_segment(
        &mut self,
        tuple: &Tuple<W>,
        segment: &Segment,
        hop: HardwareAddr,
        hop_limit: u8,
        is_data: bool,
        written: &mut [u8],
    ) {
        if segment.fin {
            // Closed by the application, perhaps before its SYN could leave.
            self.work = Work::FOLLOW;
        }
        let mut located = locate(&mut self.connections, &mut self.openings, tuple);
        if segment.syn
            && let Some((seen, place)) = &mut located
        {
            let (iss, ..) = seen.flow.numbers();
            // A SYN that is sent again is that of the same connection. One that answers the peer's
            // may be another socket's.
            let is_again = iss == segment.seq || seen.hop_limit == 0 && segment.ack.is_none();
            if place.is_none() || seen.phase != Phase::Opening || !is_again {
                // Another connection with the same ends: a listener may have taken a stranger's SYN
                // (K19).
                seen.flow.set_stranger(false);
                located = None;
            }
        }
        if segment.syn && located.is_none() {
            // It may be given a place later.
            self.work = Work::FOLLOW;
            let noted = self.openings.note(&Seen::new(*tuple));
            located = noted.map(|seen| (seen, None));
        }
        let Some((seen, machine)) = located else {
            return;
        };
        let was_known = seen.flow.is_known();
        let mut asks = seen.flow.handle_sent(segment);
        // The stack's keep-alive: see `needs_numbers`. Until it could leave, the numbers may have
        // become known otherwise, and the stack may have an octet to send.
        let is_told = segment.len == 1
            && !is_data
            && !(asks && (was_known || seen.flow.is_unsent()))
            && seen.flow.take_numbers_asked();
        if is_told {
            seen.flow.handle_quiet();
            asks = false;
        }
        if is_unicast(&hop) {
            seen.hardware = hop;
        }
        if asks || segment.syn || seen.hop_limit == 0 {
            // The stack's answers have the default hop limit, its data the socket's.
            seen.hop_limit = hop_limit;
        }
        if is_told {
            let probing = machine.as_ref().filter(|machine| machine.is_wanting());
            let kind = probing.map_or(Kind::Challenge, |_| Kind::Probe);
            // The stack's keep-alive has an octet of garbage.
            if probing.is_none_or(|machine| machine.payload() == ProbePayload::Empty) {
                seen.write_over(written, self.framing, &self.hardware, kind);
            }
        }
        let is_usual = seen.phase == Phase::Open && was_known && !segment.rst;
        let Some(machine) = machine else {
            if segment.rst {
                seen.tuple = Tuple::NONE;
                // It may be that of a socket with the same ends.
                self.work = Work::FOLLOW;
            }
            return;
        };
        if is_told && machine.is_wanting() {
            debug!("keep-alive: probe sent");
            machine.handle_probe_sent(self.now);
        }
        if is_usual && !asks {
            return;
        }
        match seen.phase {
            Phase::ResetReceived if !segment.rst => seen.open(machine, self.now, false),
            // RFC 9293 3.10.7.3: the answer to a segment that is none to our SYN.
            Phase::Opening if segment.rst && !seen.flow.is_of_handshake(segment) => return,
            // The stack has taken the peer's RST, and answers what came after it.
            Phase::ResetReceived
                if segment.ack.is_none() || segment.seq != seen.flow.numbers().1 =>
            {
                return;
            }
            _ if segment.rst => seen.phase = Phase::ResetSent,
            // The stack has taken the peer's SYN and ACK. One that was opened by the peer had its
            // numbers before.
            Phase::Opening if !was_known && seen.flow.is_known() => {
                seen.open(machine, self.now, true);
            }
            Phase::Open if asks => machine.handle_sent(self.now),
            _ => {}
        }
        self.wake_at = machine.due().min(self.wake_at);
        if !is_usual {
            self.work.add(Work::SERVE);
            if segment.syn || segment.rst {
                self.work = Work::FOLLOW;
            }
        }
    }

    /// A connection may have begun or ended: the sockets have to be looked at.
    pub(crate) fn note_change(&mut self) {
        self.work = Work::FOLLOW;
    }

    #[cold]
    fn handle_arp(&mut self, packet: &[u8], is_received: bool, is_unicast: bool) {
        let Some(arp) = Arp::find(packet) else {
            return;
        };
        if is_received {
            self.handle_announcement(arp.announcement(is_unicast));
        } else {
            self.handle_stack_asks(arp.asked());
        }
    }

    #[cold]
    fn handle_icmp(&mut self, datagram: &Datagram<'_, W>, is_received: bool, is_unicast: bool) {
        if W > 1 && is_ndp(datagram) && self.framing.is_ethernet() {
            if !is_received {
                self.handle_stack_asks(asked_in_icmpv6(datagram));
            } else if datagram.is_intact(self.framing) {
                self.handle_announcement(Announcement::in_icmpv6(datagram, is_unicast));
            }
        } else if is_received {
            self.handle_unreachable(datagram);
        }
    }

    fn handle_announcement(&mut self, heard: Option<Announcement<W>>) {
        if let Some(heard) = heard {
            let connections = &mut self.connections;
            if self.hops.handle_announcement(self.now, &heard, connections) {
                self.work.add(Work::SERVE);
            }
        }
    }

    /// The stack asks for a neighbour.
    fn handle_stack_asks(&mut self, address: Option<Address<W>>) {
        if let Some(address) = address {
            self.hops.handle_stack_asks(address);
        }
    }

    /// Handles an ICMP message, which quotes the datagram that could not be delivered (K20; RFC 792,
    /// RFC 4443 3.1).
    fn handle_unreachable(&mut self, datagram: &Datagram<'_, W>) {
        let is_unreachable = match datagram.protocol {
            PROTOCOL_ICMPV4 => datagram.payload.first() == Some(&3),
            PROTOCOL_ICMPV6 => W > 1 && datagram.payload.first() == Some(&1),
            _ => false,
        };
        if !is_unreachable {
            return;
        }
        let quoted = datagram.payload.get(8..);
        if let Some(quoted) = quoted.and_then(|quoted| Datagram::<W>::find(quoted, true))
            && let Some(ports) = quoted.ports()
            && let Some(index) = self.search(&quoted.sent_tuple(ports))
            && let Some(connection) = self.connections.get_mut(index)
        {
            connection.machine.handle_unreachable();
        }
    }

    /// Whether there is anything to do at `now`: a deadline is reached, a connection may have begun or
    /// ended, the clock has stepped back, or the device had no room the last time.
    #[must_use]
    pub fn is_due(&self, now: Instant) -> bool {
        self.work != Work::NOTHING || now >= self.wake_at || now < self.now
    }

    /// [`is_due`](Self::is_due), now.
    #[cfg(feature = "smoltcp")]
    pub(crate) fn is_due_now(&self) -> bool {
        self.work != Work::NOTHING || self.now >= self.wake_at
    }

    /// Whether more than time has made something due.
    #[cfg(feature = "smoltcp")]
    pub(crate) fn has_work(&self) -> bool {
        self.work.0 > Work::RETRY.0
    }

    /// Handles the passing of time. Call it when [`is_due`](Self::is_due), and after the frames that
    /// have arrived by then were shown: an answer among them is in time (K9). Then poll what follows:
    /// first [`poll_receive`](Self::poll_receive), then [`poll_transmit`](Self::poll_transmit).
    pub fn handle_timeout(&mut self, now: Instant) {
        self.handle_now(now);
        self.judge();
    }

    /// [`handle_timeout`](Self::handle_timeout), now.
    pub(crate) fn judge(&mut self) {
        let now = self.now;
        for (index, Connection { seen, machine }) in self.connections.iter_mut().enumerate() {
            if seen.phase != Phase::Open || machine.due() > now {
                continue;
            }
            machine.handle_time(now, seen.flow.is_busy());
            self.has_events = true;
            if machine.is_over() {
                debug!("keep-alive {}: {}", index, machine.verdict());
                self.work = Work::FOLLOW;
                if seen.flow.is_known() {
                    seen.phase = Phase::GivenUp;
                } else {
                    // What the stack was asked for may leave before its socket is aborted.
                    self.openings.note(seen);
                    seen.flow.set_stranger(true);
                    seen.phase = Phase::Dead;
                }
            } else if machine.doubts_hop() {
                self.hops.ask_too(index);
            }
        }
    }

    /// Writes the next frame for the wire into `out` and returns its length: the RST of a verdict, a
    /// probe, a question for a neighbour. Call [`handle_transmitted`](Self::handle_transmitted) if
    /// the device took it, and [`handle_blocked`](Self::handle_blocked) if not.
    ///
    /// Poll it until it is `None`, or blocked: only then does [`poll_timeout`](Self::poll_timeout)
    /// know what is next.
    pub fn poll_transmit(&mut self, now: Instant, out: &mut [u8; MAX_FRAME_LEN]) -> Option<usize> {
        self.handle_now(now);
        self.write_next(out)
    }

    /// [`poll_transmit`](Self::poll_transmit), now.
    pub(crate) fn write_next(&mut self, out: &mut Buffer) -> Option<usize> {
        // First, because the next probe may need its place.
        let ours = self.hardware;
        let len = self
            .hops
            .poll_transmit(self.now, out, self.framing, ours, &self.connections);
        if len.is_some() {
            self.sending = Place::NONE;
            return len;
        }
        let len = self.offer(Some(out));
        if len.is_none() && self.strangers == Strangers::Heard {
            self.strangers = Strangers::Unanswered;
            self.work.add(Work::SERVE);
        }
        len
    }

    /// Offers what is due, and finds out when something else is. Without `out` there is no room.
    fn offer(&mut self, mut out: Option<&mut Buffer>) -> Option<usize> {
        self.work.0 &= Work::FOLLOW.0;
        let challenges = self.strangers == Strangers::Unanswered;
        for (index, Connection { seen, machine }) in self.connections.iter_mut().enumerate() {
            let kind = match seen.phase {
                Phase::Open if machine.is_wanting() => {
                    let is_offered = machine.offer(self.now, seen.flow.is_busy());
                    is_offered.then_some(Kind::Probe)
                }
                Phase::Open if machine.has_moved(seen.flow.is_busy()) => Some(Kind::Probe),
                Phase::Open => (challenges && seen.flow.has_stranger()).then_some(Kind::Challenge),
                Phase::StackTold => Some(Kind::Reset),
                _ => None,
            };
            let Some(kind) = kind else {
                continue;
            };
            if let Some(out) = out.as_deref_mut()
                && let Some(len) =
                    seen.write(out, self.framing, &self.hardware, kind, machine.payload())
            {
                self.sending = Place::new(index);
                self.kind = kind;
                return Some(len);
            }
            // Without numbers there is nothing to send, and a probe that was offered did not leave.
            // Whether the stack has an octet to send is known only when its socket was just
            // followed: so look again at the next poll.
            self.work.add(Work::RETRY);
        }
        self.plan();
        None
    }

    /// Finds out when something is due, among the connections that time can do something to: 500 ms from
    /// now at the latest, if a frame of ours could not leave (K4).
    fn plan(&mut self) {
        let retries = self.work.0 & Work::RETRY.0 != 0;
        let retry_at = if retries {
            self.now.plus_millis(RETRY_MILLIS)
        } else {
            Instant::MAX
        };
        let open = self.connections.iter().filter(|c| c.is_open());
        self.wake_at = open.fold(retry_at, |at, c| at.min(c.machine.due()));
    }

    /// Records that the device took the frame that [`poll_transmit`](Self::poll_transmit) wrote last
    /// (K4).
    pub fn handle_transmitted(&mut self, now: Instant) {
        self.handle_now(now);
        self.note_transmitted();
    }

    /// [`handle_transmitted`](Self::handle_transmitted), now.
    pub(crate) fn note_transmitted(&mut self) {
        let now = self.now;
        let index = self.sending.take();
        let Some(Connection { seen, machine }) = self.connections.get_mut(index) else {
            return self.hops.handle_transmitted(now, &mut self.connections);
        };
        match self.kind {
            Kind::Probe if machine.is_wanting() => {
                debug!("keep-alive {}: probe sent", index);
                machine.handle_probe_sent(now);
                // K17: the first probe of the round went unanswered.
                if machine.unanswered() > 1 {
                    self.hops.ask_for(index);
                }
            }
            Kind::Probe => machine.handle_probe_sent_again(now),
            Kind::Challenge => {
                seen.flow.set_stranger(false);
                self.stranger_after = now.plus_millis(STRANGER_MILLIS);
            }
            Kind::Reset | Kind::ResetOfPeer => {
                if seen.phase == Phase::StackTold {
                    seen.phase = Phase::Dead;
                    // Another connection may be waiting for its place.
                    self.note_change();
                }
            }
        }
    }

    /// Records that the device has no room: what waits has been offered, and did not leave (K4).
    pub fn handle_blocked(&mut self, now: Instant) {
        self.handle_now(now);
        self.note_blocked();
    }

    /// [`handle_blocked`](Self::handle_blocked), now.
    pub(crate) fn note_blocked(&mut self) {
        self.offer(None);
        self.work.add(Work::RETRY);
        self.plan();
    }

    /// Writes the next frame for the stack into `out` and returns its length: the RST that closes
    /// our end after a verdict. The peer gets its own afterwards. Hand the frame to the stack as if it had
    /// arrived, and what the stack answers to [`handle_answer`](Self::handle_answer).
    pub fn poll_receive(&mut self, out: &mut [u8; MAX_FRAME_LEN]) -> Option<usize> {
        for Connection { seen, .. } in &mut self.connections {
            if seen.phase != Phase::GivenUp {
                continue;
            }
            seen.phase = Phase::StackTold;
            if self.openings.find(&seen.tuple).is_some() {
                // Another socket has the same ends, and the stack would take the RST for its.
                seen.flow.set_stranger(true);
                self.work = Work::FOLLOW;
                continue;
            }
            let (ours, kind) = (&self.hardware, Kind::ResetOfPeer);
            return seen.write(out, self.framing, ours, kind, ProbePayload::Empty);
        }
        None
    }

    /// Shows what the stack answered to a frame that [`poll_receive`](Self::poll_receive) wrote. That
    /// answer must not leave. If the stack did not take the RST, it says where it stands, and gets
    /// another one.
    pub fn handle_answer(&mut self, frame: &[u8]) {
        let mut packet = frame;
        if self.framing.is_ethernet() {
            packet = frame.get(ETHERNET_HEADER_LEN..).unwrap_or_default();
        }
        let Some(datagram) = Datagram::<W>::find(packet, false) else {
            return;
        };
        let (Some(ports), Some(segment)) = (datagram.ports(), datagram.segment()) else {
            return;
        };
        let tuple = datagram.sent_tuple(ports);
        for Connection { seen, .. } in &mut self.connections {
            let is_told = matches!(seen.phase, Phase::StackTold | Phase::Dead);
            if is_told && seen.tuple == tuple && seen.flow.handle_refusal(&segment) {
                seen.phase = Phase::GivenUp;
                return;
            }
        }
    }

    /// Returns when to serve the link at the latest, if at all: see
    /// [`handle_timeout`](Self::handle_timeout). A moment that is not after the present means at
    /// once.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<Instant> {
        let at = self.serve_at();
        (at != Instant::MAX).then_some(at)
    }

    /// [`poll_timeout`](Self::poll_timeout), and [`Instant::MAX`] for never.
    pub(crate) fn serve_at(&self) -> Instant {
        if self.work.0 > Work::RETRY.0 {
            Instant::ZERO
        } else {
            self.wake_at
        }
    }

    /// Returns the oldest event of a connection that has any. Poll it after the other calls until
    /// it is `None`.
    #[must_use = "an event is reported once"]
    pub fn poll_event(&mut self) -> Option<(Id, Event)> {
        if !self.has_events {
            return None;
        }
        for (index, Connection { seen, machine }) in self.connections.iter_mut().enumerate() {
            let mut event = machine.poll_event();
            if event.is_none() && machine.take_end() {
                event = Some(seen.phase.end());
            }
            if let Some(event) = event {
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
        let waits = |phase| matches!(phase, Phase::GivenUp | Phase::StackTold);
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
    pub fn take_change(&mut self) -> bool {
        let is_changed = self.work.0 & Work::FOLLOW.0 != 0;
        if is_changed {
            self.work = Work::SERVE;
        }
        is_changed
    }

    /// Returns whether to [`follow`](Self::follow) the place of `id` at `now`: it is taken, and either
    /// each has to be followed or something is due there.
    #[cfg(feature = "smoltcp")]
    pub(crate) fn is_to_follow(&self, id: Id, now: Instant, each: bool) -> bool {
        self.connection(id)
            .is_some_and(|Connection { machine, .. }| each || machine.is_due(now))
    }

    /// Returns whether the place of `id` is taken.
    #[cfg(feature = "smoltcp")]
    pub(crate) fn is_taken(&self, id: Id) -> bool {
        self.connection(id).is_some()
    }

    fn connection(&self, id: Id) -> Option<&Connection<W>> {
        self.connections
            .get(id.0)
            .filter(|connection| connection.seen.phase != Phase::Free)
    }
}

/// The address is that of one station.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "it lies in a frame")]
fn is_unicast(address: &HardwareAddr) -> bool {
    // In one piece with the octets that are copied: that is smaller.
    let [a, b, c, d, ..] = *address;
    u32::from_le_bytes([a, b, c, d]) & 1 == 0
}

/// Looks for a connection. A place whose connection has ended may have the four-tuple of another one's.
fn search<const W: usize>(connections: &[Connection<W>], tuple: &Tuple<W>) -> Option<usize> {
    let is_its = |c: &Connection<W>| c.seen.tuple == *tuple && c.is_live();
    connections.iter().position(is_its)
}

/// Looks for the connection of a segment, which may have a place or only be noted. A stranger that opens
/// one with the same ends knows nothing of the one that is open: the segments are those of the new one
/// (K19).
fn locate<'l, const W: usize>(
    connections: &'l mut [Connection<W>],
    openings: &'l mut Openings<W>,
    tuple: &Tuple<W>,
) -> Option<(&'l mut Seen<W>, Option<&'l mut KeepAlive>)> {
    let place = search(connections, tuple);
    let noted = openings.find(tuple);
    if let Some(Connection { seen, machine }) = place.and_then(|at| connections.get_mut(at)) {
        let is_open = seen.phase == Phase::Open;
        let is_newer = |noted: &Seen<W>| is_open && noted.phase == Phase::Opening;
        if !noted.as_deref().is_some_and(is_newer) {
            return Some((seen, Some(machine)));
        }
    }
    Some((noted?, None))
}

impl<const N: usize, const W: usize> Default for Link<N, W> {
    fn default() -> Self {
        Self::new()
    }
}
