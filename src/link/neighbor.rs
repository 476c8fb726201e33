//! Next hops: what ARP and neighbour discovery say of them, and our own questions (K17).

use super::connection::{Connection, Seen};
use super::frame::{
    Address, Buffer, Datagram, ETHERNET_HEADER_LEN, ETHERTYPE_ARP, Envelope, Framing, HardwareAddr,
    PROTOCOL_ICMPV6, Tuple, write_ethernet,
};
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
/// The hop limit of a packet that comes from the link itself (RFC 4861 7.1).
const NDP_HOP_LIMIT: u8 = 255;

/// The place of a connection, or none: one more than its index, and zero. So a link is nothing but zeros
/// at first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place(usize);

impl Place {
    pub(super) const NONE: Self = Self(0);

    pub(super) const fn new(index: usize) -> Self {
        Self(index.wrapping_add(1))
    }

    /// The first place is the next one of none.
    const fn next(self) -> Self {
        Self(self.0.wrapping_add(1))
    }

    /// An index that no connection has, if there is none.
    pub(super) const fn index(self) -> usize {
        self.0.wrapping_sub(1)
    }

    /// The same, and there is none from now on.
    pub(super) const fn take(&mut self) -> usize {
        let index = self.index();
        *self = Self::NONE;
        index
    }
}

/// What an ARP packet, or one of neighbour discovery, says.
#[derive(Clone, Copy, Debug)]
pub(super) struct Announcement<const W: usize> {
    pub(super) address: Address<W>,
    pub(super) hardware: HardwareAddr,
    /// It was sent to us alone, as an answer is.
    pub(super) is_answer: bool,
}

impl<const W: usize> Announcement<W> {
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

/// The address that the stack asks for in a neighbour solicitation of its own.
pub(super) fn asked_in_icmpv6<const W: usize>(datagram: &Datagram<'_, W>) -> Option<Address<W>> {
    let icmp = datagram.payload;
    if *icmp.first()? != NEIGHBOR_SOLICITATION {
        return None;
    }
    Some(Address::v6(icmp.get(8..)?.first_chunk()?))
}

/// Whether a datagram may carry neighbour discovery.
pub(super) fn is_ndp<const W: usize>(datagram: &Datagram<'_, W>) -> bool {
    datagram.protocol == PROTOCOL_ICMPV6
        && datagram.hop_limit == NDP_HOP_LIMIT
        && datagram.payload.first().is_some_and(|kind| *kind >= 133)
}

/// The fields of an ARP packet for IPv4 over Ethernet.
pub(super) struct Arp {
    is_reply: bool,
    sender_hardware: HardwareAddr,
    sender: [u8; 4],
    target: [u8; 4],
}

impl Arp {
    /// `None` if it is neither a request nor a reply.
    pub(super) fn find(packet: &[u8]) -> Option<Self> {
        let packet = packet.first_chunk::<ARP_LEN>()?;
        let (fixed, rest) = packet.split_first_chunk::<6>()?;
        let (operation, rest) = rest.split_first_chunk::<2>()?;
        let (sender_hardware, rest) = rest.split_first_chunk()?;
        let (sender, rest) = rest.split_first_chunk()?;
        let (_, rest) = rest.split_first_chunk::<6>()?;
        let target = *rest.first_chunk()?;
        if *fixed != [0, 1, 8, 0, 6, 4] {
            return None;
        }
        let operation = u16::from_be_bytes(*operation);
        if operation != ARP_REQUEST && operation != ARP_REPLY {
            return None;
        }
        Some(Self {
            is_reply: operation == ARP_REPLY,
            sender_hardware: *sender_hardware,
            sender: *sender,
            target,
        })
    }

    /// The address that is asked for.
    pub(super) fn asked<const W: usize>(&self) -> Option<Address<W>> {
        (!self.is_reply).then_some(Address::v4(self.target))
    }

    /// What it says, which is nothing if the stack would not take it (RFC 826).
    pub(super) fn announcement<const W: usize>(&self, is_unicast: bool) -> Option<Announcement<W>> {
        Announcement {
            address: Address::v4(self.sender),
            hardware: self.sender_hardware,
            is_answer: is_unicast && self.is_reply,
        }
        .checked()
    }
}

/// A next hop that the stack asked for, and where it answered from.
#[derive(Clone, Copy, Debug)]
struct Hop<const W: usize> {
    address: Address<W>,
    hardware: HardwareAddr,
}

/// The next hops of a link.
#[derive(Debug)]
pub(super) struct Hops<const W: usize> {
    known: [Hop<W>; HOPS],
    /// The address that the stack asked for last.
    stack_asks: Address<W>,
    /// A question wants to leave, for the next hop of this connection.
    wanted: Place,
    /// The address that we asked for last, when the question left, and until when it is asked.
    asked_for: Address<W>,
    asked: Instant,
    asked_until: Instant,
}

impl<const W: usize> Hops<W> {
    pub(super) const fn new() -> Self {
        Self {
            known: [Hop {
                address: Address::NONE,
                hardware: [0; 6],
            }; HOPS],
            stack_asks: Address::NONE,
            wanted: Place::NONE,
            asked_for: Address::NONE,
            asked: Instant::ZERO,
            asked_until: Instant::ZERO,
        }
    }

    /// The next hop of a connection: never learned, it is the peer itself.
    #[inline(never)]
    fn address_of(&self, seen: &Seen<W>) -> Address<W> {
        let remote = seen.tuple.remote;
        let mut address = remote;
        for hop in self.known.iter().rev() {
            // A machine may have several addresses; and the question is of the peer's protocol.
            if hop.hardware == seen.hardware && hop.address.is_v4() == remote.is_v4() {
                if hop.address == remote {
                    return remote;
                }
                address = hop.address;
            }
        }
        address
    }

    #[inline(never)]
    fn is_next_hop(&self, address: Address<W>, connection: &Connection<W>) -> bool {
        connection.is_open() && self.address_of(&connection.seen) == address
    }

    /// Wants a question to leave for the next hop of `connections[index]` (K17).
    pub(super) const fn ask_for(&mut self, index: usize) {
        self.wanted = Place::new(index);
    }

    /// The same, unless another question wants to leave.
    pub(super) fn ask_too(&mut self, index: usize) {
        if self.wanted == Place::NONE {
            self.ask_for(index);
        }
    }

    /// The stack has asked for a neighbour, which has not answered.
    #[cfg(feature = "smoltcp")]
    pub(super) fn is_stack_asking(&self) -> bool {
        self.stack_asks != Address::NONE
    }

    /// Records that the stack asks for a neighbour: what that answers is learned.
    pub(super) fn handle_stack_asks(&mut self, address: Address<W>) {
        self.stack_asks = address;
    }

    /// Handles what a neighbour says of itself. Only the answer to a question, the stack's or ours,
    /// changes where probes go; anything else that contradicts what we know is a reason to ask (K17).
    ///
    /// Returns whether there is something to send now.
    pub(super) fn handle_announcement(
        &mut self,
        now: Instant,
        heard: &Announcement<W>,
        connections: &mut [Connection<W>],
    ) -> bool {
        let Announcement {
            address,
            hardware,
            is_answer,
        } = *heard;
        let is_stacks = is_answer && address == self.stack_asks;
        // An answer to a question of long ago is none: it may be anybody's.
        let is_recent = now < self.asked_until;
        let is_asked = is_recent && address == self.asked_for;
        let mut is_believed = is_stacks;
        let mut is_urgent = false;
        let mut doubted = Place::NONE;
        let mut next = Place::NONE;
        for connection in connections.iter_mut() {
            next = next.next();
            if !self.is_next_hop(address, connection) {
                continue;
            }
            if is_stacks || is_answer && is_recent && connection.machine.is_hop_asked() {
                is_believed = true;
                is_urgent |= connection.handle_hop_answered(hardware);
            } else if connection.seen.hardware != hardware && !connection.machine.is_off() {
                doubted = next;
            }
        }
        if is_stacks {
            self.stack_asks = Address::NONE;
        }
        if is_believed {
            self.learn(Hop { address, hardware }, connections);
        } else if !is_asked && doubted != Place::NONE {
            self.wanted = doubted;
            is_urgent = true;
        }
        is_urgent
    }

    /// Takes note of a next hop: in the place that it has, or else in an empty one, or else in one that no
    /// connection uses.
    fn learn(&mut self, learned: Hop<W>, connections: &[Connection<W>]) {
        let is_used = |hop: &Hop<W>| connections.iter().any(|c| c.goes_through(hop.hardware));
        let mut unused = None;
        for hop in &mut self.known {
            // The empty places are the last ones.
            if hop.address == learned.address || hop.address == Address::NONE {
                *hop = learned;
                return;
            }
            if !is_used(hop) {
                unused = Some(hop);
            }
        }
        if let Some(hop) = unused {
            *hop = learned;
        }
    }

    /// Writes the next question and returns the length of the frame.
    pub(super) fn poll_transmit(
        &mut self,
        now: Instant,
        out: &mut Buffer,
        framing: Framing,
        from: HardwareAddr,
        connections: &[Connection<W>],
    ) -> Option<usize> {
        let asking = connections.get(self.wanted.index())?;
        let target = self.address_of(&asking.seen);
        // One that left at this moment for the same hop is enough.
        let has_asked = self.asked == now && self.asked_for == target;
        if has_asked || !asking.is_open() || asking.machine.is_off() || !framing.is_ethernet() {
            self.wanted = Place::NONE;
            return None;
        }
        let local = asking.seen.tuple.local;
        if target.is_v4() {
            write_arp(out, from, target, local)
        } else {
            write_solicitation(out, framing, from, [target, local])
        }
    }

    /// Records that the question that [`poll_transmit`](Self::poll_transmit) wrote has left.
    pub(super) fn handle_transmitted(&mut self, now: Instant, connections: &mut [Connection<W>]) {
        let asking = connections.get(self.wanted.take());
        if let Some(asking) = asking {
            let hardware = asking.seen.hardware;
            self.asked_for = self.address_of(&asking.seen);
            self.asked = now;
            self.asked_until = now.plus_millis(asking.machine.interval_millis());
            for connection in connections {
                if connection.goes_through(hardware) {
                    connection.machine.handle_hop_asked();
                }
            }
        }
    }

    /// Forgets when it asked: the clock has stepped back (K10).
    pub(super) fn handle_step_back(&mut self) {
        self.asked = Instant::ZERO;
        self.asked_until = Instant::ZERO;
    }
}

#[inline(never)]
fn write_arp<const W: usize>(
    out: &mut Buffer,
    from: HardwareAddr,
    target: Address<W>,
    local: Address<W>,
) -> Option<usize> {
    let (header, packet) = out.split_first_chunk_mut::<ETHERNET_HEADER_LEN>()?;
    write_ethernet(header, [BROADCAST, from], ETHERTYPE_ARP)?;
    let (fixed, rest) = packet.split_first_chunk_mut::<8>()?;
    *fixed = [0, 1, 8, 0, 6, 4, 0, 1];
    let (sender, rest) = rest.split_first_chunk_mut::<6>()?;
    *sender = from;
    let (sender, rest) = rest.split_first_chunk_mut::<4>()?;
    *sender = local.v4_octets();
    let (unknown, rest) = rest.split_first_chunk_mut::<6>()?;
    *unknown = [0; 6];
    *rest.first_chunk_mut()? = target.v4_octets();
    Some(ETHERNET_HEADER_LEN + ARP_LEN)
}

/// Writes a neighbour solicitation to the solicited-node multicast address (RFC 4861 4.3, RFC 4291
/// 2.7.1).
fn write_solicitation<const W: usize>(
    out: &mut Buffer,
    framing: Framing,
    from: HardwareAddr,
    [target, local]: [Address<W>; 2],
) -> Option<usize> {
    // A device that computes TCP's need not compute this one's.
    let framing = framing.in_software();
    let target = target.v6_octets();
    let [.., a, b, c] = target;
    let group = [0xff, 2, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 0xff, a, b, c];
    let envelope = Envelope {
        to: [0x33, 0x33, 0xff, a, b, c],
        from,
        tuple: Tuple {
            remote: Address::v6(&group),
            local,
            ..Tuple::NONE
        },
        protocol: PROTOCOL_ICMPV6,
        hop_limit: NDP_HOP_LIMIT,
        payload_len: 32,
        checksum_at: 2,
    };
    framing.write(out, &envelope, |payload| {
        let (fixed, rest) = payload.split_at_mut(8);
        let (address, rest) = rest.split_at_mut(16);
        let (option, rest) = rest.split_at_mut(2);
        let fields = [
            (fixed, &[NEIGHBOR_SOLICITATION, 0, 0, 0, 0, 0, 0, 0][..]),
            (address, &target),
            (option, &[SOURCE_LINK_ADDR, 1]),
            (rest, &from),
        ];
        for (to, from) in fields {
            for (to, from) in to.iter_mut().zip(from) {
                *to = *from;
            }
        }
    })
}
