//! Next hops: what ARP and neighbour discovery say of them, and our own questions (K17).

use super::connection::{Connection, Seen};
use super::frame::{
    Address, Buffer, Datagram, Framing, HardwareAddr, PROTOCOL_ICMPV6, Tuple, Writer,
};
use core::time::Duration;

use crate::Instant;

/// How many next hops are remembered. A device has one or two gateways; a neighbour that is not in
/// the table is its own next hop.
const HOPS: usize = 4;

const BROADCAST: HardwareAddr = [0xff; 6];

const ARP_LEN: usize = 28;
const ARP_REQUEST: u16 = 1;
const ARP_REPLY: u16 = 2;

const ROUTER_ADVERTISEMENT: u8 = 134;
const NEIGHBOR_SOLICITATION: u8 = 135;
const NEIGHBOR_ADVERTISEMENT: u8 = 136;
const SOURCE_LINK_ADDR: u8 = 1;
const TARGET_LINK_ADDR: u8 = 2;
/// RFC 4861 7.1: a packet from beyond the link has a lower one.
const NDP_HOP_LIMIT: u8 = 255;

/// What an ARP packet, or one of neighbour discovery, says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Announcement<const W: usize> {
    pub(super) address: Address<W>,
    pub(super) hardware: HardwareAddr,
    /// It was sent to us alone, as an answer is.
    pub(super) is_answer: bool,
}

/// A question for a neighbour, as the stack asks it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Question<const W: usize> {
    pub(super) target: Address<W>,
    pub(super) local: Address<W>,
}

impl<const W: usize> Announcement<W> {
    /// `None` if it says nothing that the stack would take (RFC 826).
    pub(super) fn in_arp(packet: &[u8], is_unicast: bool) -> Option<Self> {
        let arp = Arp::find(packet)?;
        if arp.operation != ARP_REQUEST && arp.operation != ARP_REPLY {
            return None;
        }
        Self {
            address: Address::v4(arp.sender),
            hardware: arp.sender_hardware,
            is_answer: is_unicast && arp.operation == ARP_REPLY,
        }
        .checked()
    }

    /// `None` if it says nothing of a link address.
    pub(super) fn in_icmpv6(datagram: &Datagram<'_, W>, is_unicast: bool) -> Option<Self> {
        let icmp = datagram.payload;
        let (&[kind, _, _, _, flags, ..], target) = (icmp.first_chunk::<8>()?, icmp.get(8..)?);
        let (address, options_at, wanted) = match kind {
            NEIGHBOR_ADVERTISEMENT => (
                Address::v6(target.first_chunk()?),
                24_usize,
                TARGET_LINK_ADDR,
            ),
            NEIGHBOR_SOLICITATION => (datagram.src, 24, SOURCE_LINK_ADDR),
            ROUTER_ADVERTISEMENT => (datagram.src, 16, SOURCE_LINK_ADDR),
            _ => return None,
        };
        let mut options = icmp.get(options_at..)?;
        let hardware = loop {
            let (&[kind, words], rest) = options.split_first_chunk::<2>()?;
            if kind == wanted && words == 1 {
                break *rest.first_chunk::<6>()?;
            }
            // RFC 4861 4.6: "Nodes MUST silently discard an ND packet that contains an option with
            // length zero."
            let len = usize::from(words).wrapping_mul(8);
            if len == 0 {
                return None;
            }
            options = options.get(len..)?;
        };
        Self {
            address,
            hardware,
            // The S flag: it answers a solicitation.
            is_answer: is_unicast && kind == NEIGHBOR_ADVERTISEMENT && flags & 0x40 != 0,
        }
        .checked()
    }

    /// No station has a multicast address, or none.
    fn checked(self) -> Option<Self> {
        let is_station = self.hardware[0] & 1 == 0 && self.hardware != [0; 6];
        is_station.then_some(self)
    }
}

impl<const W: usize> Question<W> {
    pub(super) fn in_arp(packet: &[u8]) -> Option<Self> {
        let arp = Arp::find(packet)?;
        (arp.operation == ARP_REQUEST).then_some(Self {
            target: Address::v4(arp.target),
            local: Address::v4(arp.sender),
        })
    }

    pub(super) fn in_icmpv6(datagram: &Datagram<'_, W>) -> Option<Self> {
        let icmp = datagram.payload;
        if *icmp.first()? != NEIGHBOR_SOLICITATION {
            return None;
        }
        Some(Self {
            target: Address::v6(icmp.get(8..)?.first_chunk()?),
            local: datagram.src,
        })
    }
}

/// Whether a datagram may carry neighbour discovery.
pub(super) fn is_ndp<const W: usize>(datagram: &Datagram<'_, W>) -> bool {
    datagram.protocol == PROTOCOL_ICMPV6 && datagram.hop_limit == NDP_HOP_LIMIT
}

/// The fields of an ARP packet for IPv4 over Ethernet.
struct Arp {
    operation: u16,
    sender_hardware: HardwareAddr,
    sender: [u8; 4],
    target: [u8; 4],
}

impl Arp {
    fn find(packet: &[u8]) -> Option<Self> {
        let arp = packet.first_chunk::<ARP_LEN>()?;
        let (fixed, rest) = arp.split_first_chunk::<8>()?;
        let [0, 1, 8, 0, 6, 4, o1, o0] = *fixed else {
            return None;
        };
        let (sender_hardware, rest) = rest.split_first_chunk()?;
        let (sender, rest) = rest.split_first_chunk()?;
        Some(Self {
            operation: u16::from_be_bytes([o1, o0]),
            sender_hardware: *sender_hardware,
            sender: *sender,
            target: *rest.last_chunk()?,
        })
    }
}

/// A next hop that was learned from what passed, or was asked for.
#[derive(Clone, Copy, Debug)]
pub(super) struct Hop<const W: usize> {
    address: Address<W>,
    hardware: HardwareAddr,
    /// Whose question it is.
    local: Address<W>,
    question: Asked,
    /// When our last question left, if any did.
    asked: Option<Instant>,
}

/// Where our question for a next hop is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    /// There is none.
    No,
    /// It should leave.
    Wanted,
    /// It has left and is not answered.
    Open,
}

/// The next hops of a link.
#[derive(Debug)]
pub(super) struct Hops<const W: usize>([Hop<W>; HOPS]);

impl<const W: usize> Hops<W> {
    pub(super) const fn new() -> Self {
        Self([Hop::EMPTY; HOPS])
    }

    /// Wants a question to leave for the next hop of `connections[index]`, at most once an interval
    /// (K17).
    pub(super) fn ask_for(
        &mut self,
        now: Instant,
        index: usize,
        connections: &mut [Connection<W>],
    ) {
        let Some(Connection { seen, machine }) = connections.get(index) else {
            return;
        };
        let Seen {
            tuple, hardware, ..
        } = *seen;
        let interval = machine.config().interval();
        let is_its = |hop: &Hop<W>| hop.hardware == hardware;
        let place = match self.0.iter().position(is_its) {
            Some(place) => place,
            None => self.insert(tuple.remote, hardware, connections),
        };
        let Some(hop) = self.0.get_mut(place) else {
            return;
        };
        if hop.may_ask(now, interval) {
            hop.want(tuple.local);
        } else if hop.question == Asked::Open
            && let Some(connection) = connections.get_mut(index)
        {
            // It was asked on behalf of another connection.
            connection.machine.handle_hop_asked();
        }
    }

    /// Wants a question to leave that the stack asked where nothing can leave.
    pub(super) fn pass_on(&mut self, question: &Question<W>, connections: &[Connection<W>]) {
        let place = self.insert(question.target, [0; 6], connections);
        if let Some(hop) = self.0.get_mut(place) {
            hop.want(question.local);
        }
    }

    /// Makes room for a next hop and returns its place. If none is empty, one goes that no connection
    /// uses; then a neighbour, which its connection names, and last a gateway. Of two, the one goes
    /// that was asked for longest ago.
    fn insert(
        &mut self,
        address: Address<W>,
        hardware: HardwareAddr,
        connections: &[Connection<W>],
    ) -> usize {
        let worth = |hop: &Hop<W>| {
            let is_user = |connection: &&Connection<W>| connection.goes_through(hop.hardware);
            let rank: u8 = match connections.iter().find(is_user) {
                _ if hop.address == Address::NONE => 0,
                None => 1,
                Some(user) if user.seen.tuple.remote == hop.address => 2,
                Some(_) => 3,
            };
            (rank, hop.asked)
        };
        let mut best = (u8::MAX, None);
        let mut place = 0;
        for (index, hop) in self.0.iter().enumerate() {
            let worth = worth(hop);
            if worth < best {
                best = worth;
                place = index;
            }
        }
        if let Some(hop) = self.0.get_mut(place) {
            *hop = Hop {
                address,
                hardware,
                ..Hop::EMPTY
            };
        }
        place
    }

    /// Handles what a neighbour says of itself. Only the answer to a question of ours changes where
    /// probes go; anything else that contradicts what we know is a reason to ask (K17).
    ///
    /// Returns whether there is something to send now.
    pub(super) fn handle_announcement(
        &mut self,
        now: Instant,
        heard: &Announcement<W>,
        connections: &mut [Connection<W>],
    ) -> bool {
        let is_known = |hop: &Hop<W>| hop.address == heard.address;
        let place = if let Some(place) = self.0.iter().position(is_known) {
            place
        } else {
            let is_neighbor = |connection: &&Connection<W>| {
                connection.is_open() && connection.seen.tuple.remote == heard.address
            };
            let (hardware, is_asked) = match connections.iter().find(is_neighbor) {
                Some(Connection { seen, machine })
                    if heard.is_answer || seen.hardware != heard.hardware =>
                {
                    // The question left with the second probe, but may have lost its place here.
                    let is_asked = machine.is_awaiting_answer() && machine.unanswered() > 1;
                    (seen.hardware, is_asked)
                }
                None if heard.is_answer => (heard.hardware, false),
                _ => return false,
            };
            let place = self.insert(heard.address, hardware, connections);
            if let Some(hop) = self.0.get_mut(place)
                && is_asked
            {
                hop.question = Asked::Open;
                hop.asked = Some(now);
            }
            place
        };
        let Some(hop) = self.0.get_mut(place) else {
            return false;
        };
        let old = hop.hardware;
        // An answer to a question of long ago is none: it may be anybody's.
        let is_awaited = |connection: &Connection<W>| {
            let interval = connection.machine.interval_micros();
            let is_late = |asked: Instant| now > asked.plus_micros(interval);
            connection.goes_through(old) && !hop.asked.is_some_and(is_late)
        };
        let is_answer =
            heard.is_answer && hop.question == Asked::Open && connections.iter().any(is_awaited);
        let mut is_urgent = false;
        let mut is_used = false;
        for connection in connections {
            if !connection.goes_through(old) {
                continue;
            }
            is_used = true;
            let interval = connection.machine.config().interval();
            if is_answer {
                is_urgent |= connection.handle_hop_answered(heard.hardware);
            } else if old != heard.hardware && hop.may_ask(now, interval) {
                hop.want(connection.seen.tuple.local);
                is_urgent = true;
            }
        }
        if is_answer || !is_used {
            hop.hardware = heard.hardware;
            hop.question = Asked::No;
        }
        is_urgent
    }

    /// Writes the next question and returns the length of the frame.
    pub(super) fn poll_transmit(
        &self,
        out: &mut Buffer,
        framing: Framing,
        from: HardwareAddr,
    ) -> Option<usize> {
        let hop = self.0.iter().find(|hop| hop.question == Asked::Wanted)?;
        Some(if hop.address.is_v4() {
            hop.write_arp(out, from)
        } else {
            hop.write_solicitation(out, framing, from)
        })
    }

    /// Whether a question waits to leave.
    pub(super) fn is_asking(&self) -> bool {
        self.0.iter().any(|hop| hop.question == Asked::Wanted)
    }

    /// Records that the question that [`poll_transmit`](Self::poll_transmit) wrote has left.
    pub(super) fn handle_transmitted(&mut self, now: Instant, connections: &mut [Connection<W>]) {
        let is_next = |hop: &&mut Hop<W>| hop.question == Asked::Wanted;
        if let Some(hop) = self.0.iter_mut().find(is_next) {
            hop.question = Asked::Open;
            hop.asked = Some(now);
            for connection in connections {
                if connection.goes_through(hop.hardware) {
                    connection.machine.handle_hop_asked();
                }
            }
        }
    }

    /// K10: no remembered moment lies in the future.
    pub(super) fn handle_step_back(&mut self, now: Instant) {
        for hop in &mut self.0 {
            hop.asked = hop.asked.map(|asked| asked.min(now));
        }
    }
}

impl<const W: usize> Hop<W> {
    const EMPTY: Self = Self {
        address: Address::NONE,
        hardware: [0; 6],
        local: Address::NONE,
        question: Asked::No,
        asked: None,
    };

    /// A question is not on its way already, and the last one left an interval ago.
    fn may_ask(&self, now: Instant, interval: Duration) -> bool {
        let is_early = |asked: Instant| now < asked.saturating_add(interval);
        self.question != Asked::Wanted && !self.asked.is_some_and(is_early)
    }

    fn want(&mut self, local: Address<W>) {
        self.local = local;
        self.question = Asked::Wanted;
    }

    fn write_arp(&self, out: &mut Buffer, from: HardwareAddr) -> usize {
        let mut writer = Writer { out, len: 0 };
        writer.put(&BROADCAST);
        writer.put(&from);
        writer.put(&[8, 6, 0, 1, 8, 0, 6, 4, 0, 1]);
        writer.put(&from);
        writer.put(&self.local.v4_octets());
        writer.put(&[0; 6]);
        writer.put(&self.address.v4_octets());
        writer.len
    }

    /// RFC 4861 4.3, to the solicited-node multicast address (RFC 4291 2.7.1).
    #[inline(never)]
    fn write_solicitation(&self, out: &mut Buffer, framing: Framing, from: HardwareAddr) -> usize {
        let target = self.address.v6_octets();
        let [.., a, b, c] = target;
        let group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c];
        let tuple = Tuple {
            remote: Address::v6(&group),
            local: self.local,
            ..Tuple::NONE
        };
        let mut icmp = [0; 32];
        let (header, rest) = icmp.split_at_mut(8);
        let (address, option) = rest.split_at_mut(16);
        let fields = [
            (header, &[NEIGHBOR_SOLICITATION][..]),
            (address, &target),
            (
                option,
                &[
                    SOURCE_LINK_ADDR,
                    1,
                    from[0],
                    from[1],
                    from[2],
                    from[3],
                    from[4],
                    from[5],
                ],
            ),
        ];
        for (to, from) in fields {
            for (to, from) in to.iter_mut().zip(from) {
                *to = *from;
            }
        }
        framing.write(
            out,
            [[0x33, 0x33, 0xff, a, b, c], from],
            &tuple,
            [PROTOCOL_ICMPV6, NDP_HOP_LIMIT],
            (&mut icmp, 2),
        )
    }
}
