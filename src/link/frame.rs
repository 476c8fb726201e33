//! Frames: finding the TCP header in one, and writing those of our own.
//!
//! Wire bytes can be anything. What is not a whole TCP segment in a whole IP datagram is no
//! [`TcpFrame`], and no sign of life (K18).

use core::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use crate::{Segment, SeqNumber};

pub(super) const ETHERNET_HEADER_LEN: usize = 14;
const IPV4_HEADER_LEN: usize = 20;
const IPV6_HEADER_LEN: usize = 40;
pub(super) const TCP_HEADER_LEN: usize = 20;
pub(super) const TIMESTAMPS_LEN: usize = 12;

pub(super) const ETHERTYPE_IPV4: u16 = 0x0800;
pub(super) const ETHERTYPE_ARP: u16 = 0x0806;
pub(super) const ETHERTYPE_IPV6: u16 = 0x86dd;
const PROTOCOL_HOP_BY_HOP: u8 = 0;
pub(super) const PROTOCOL_ICMPV4: u8 = 1;
pub(super) const PROTOCOL_TCP: u8 = 6;
pub(super) const PROTOCOL_ICMPV6: u8 = 58;

pub(super) const FLAG_RST: u8 = 0x04;
pub(super) const FLAG_ACK: u8 = 0x10;

/// The longest segment whose checksum is verified. That of a longer one would be a second pass
/// over its payload, and proves nothing: who can forge the numbers can forge the checksum (K18).
const VERIFIED_LEN: usize = 128;

/// The longest frame that [`Link`](super::Link) writes: Ethernet, IPv6, TCP with timestamps, an
/// octet of payload, and one to make it even.
pub const MAX_FRAME_LEN: usize =
    ETHERNET_HEADER_LEN + IPV6_HEADER_LEN + TCP_HEADER_LEN + TIMESTAMPS_LEN + 2;

/// Room for one frame of ours.
pub(super) type Buffer = [u8; MAX_FRAME_LEN];

/// A hardware address of an Ethernet.
pub(super) type HardwareAddr = [u8; 6];

/// An IP address in `W` words, as they lie in the header: one word holds IPv4 only, four hold both,
/// an IPv4 address then as RFC 4291 2.5.5.2 maps it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Address<const W: usize>([u32; W]);

impl<const W: usize> Address<W> {
    pub(crate) const NONE: Self = Self([0; W]);
    const MAPPED: u32 = u32::from_ne_bytes([0, 0, 0xff, 0xff]);

    pub(super) fn v4(octets: [u8; 4]) -> Self {
        let mut words = [0; W];
        if let Some(word) = words.last_mut() {
            *word = u32::from_ne_bytes(octets);
        }
        if let Some(mapped) = words.get_mut(2)
            && W > 1
        {
            *mapped = Self::MAPPED;
        }
        Self(words)
    }

    pub(super) fn v6(octets: &[u8; 16]) -> Self {
        let mut words = [0; W];
        for (word, chunk) in words.iter_mut().zip(octets.as_chunks::<4>().0) {
            *word = u32::from_ne_bytes(*chunk);
        }
        Self(words)
    }

    /// `None` if the address does not fit into `W` words.
    pub(crate) fn new(address: IpAddr) -> Option<Self> {
        match address {
            IpAddr::V4(address) => Some(Self::v4(address.octets())),
            IpAddr::V6(address) if W == 4 => Some(Self::v6(&address.octets())),
            IpAddr::V6(_) => None,
        }
    }

    /// All of it in one word, to notice a change.
    #[cfg(feature = "smoltcp")]
    pub(crate) fn fold(&self) -> u32 {
        self.0.iter().fold(0, |sum, word| sum.rotate_left(9) ^ word)
    }

    pub(super) fn is_v4(&self) -> bool {
        W == 1 || matches!(self.0.as_slice(), [0, 0, mapped, _] if *mapped == Self::MAPPED)
    }

    /// The four octets of an IPv4 address, the last four of any other.
    pub(super) fn v4_octets(&self) -> [u8; 4] {
        self.0.last().copied().unwrap_or(0).to_ne_bytes()
    }

    pub(super) fn v6_octets(&self) -> [u8; 16] {
        let mut octets = [0; 16];
        for (chunk, word) in octets.as_chunks_mut::<4>().0.iter_mut().zip(self.0) {
            *chunk = word.to_ne_bytes();
        }
        octets
    }

    /// An IPv4 address adds the same in either form: the 0xffff of the longer one is a zero of one's
    /// complement arithmetic.
    fn sum(&self) -> u32 {
        self.0.iter().fold(0, |sum, word| add(sum, *word))
    }
}

impl<const W: usize> From<Address<W>> for IpAddr {
    fn from(address: Address<W>) -> Self {
        if address.is_v4() {
            Self::V4(Ipv4Addr::from(address.v4_octets()))
        } else {
            Self::V6(Ipv6Addr::from(address.v6_octets()))
        }
    }
}

/// The four-tuple of a connection, seen from this end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tuple<const W: usize> {
    /// The local port, then the remote one, as they lie in the header of what we send.
    pub(super) ports: u32,
    pub(super) remote: Address<W>,
    pub(super) local: Address<W>,
}

impl<const W: usize> Tuple<W> {
    /// The four-tuple of no connection.
    pub(super) const NONE: Self = Self {
        ports: 0,
        remote: Address::NONE,
        local: Address::NONE,
    };

    /// Makes the four-tuple of a connection between two endpoints. Returns `None` if `W` is one and
    /// an address is not IPv4.
    #[must_use]
    pub fn new(local: SocketAddr, remote: SocketAddr) -> Option<Self> {
        Some(Self {
            ports: (u32::from(local.port()) << 16 | u32::from(remote.port())).to_be(),
            remote: Address::new(remote.ip())?,
            local: Address::new(local.ip())?,
        })
    }

    #[cfg(feature = "smoltcp")]
    pub(crate) fn from_parts(
        local: Address<W>,
        local_port: u16,
        remote: Address<W>,
        remote_port: u16,
    ) -> Self {
        Self {
            ports: (u32::from(local_port) << 16 | u32::from(remote_port)).to_be(),
            remote,
            local,
        }
    }

    #[cfg(feature = "smoltcp")]
    pub(crate) const fn local_addr(&self) -> Address<W> {
        self.local
    }

    /// Returns our endpoint.
    #[must_use]
    pub fn local(&self) -> SocketAddr {
        let [high, low, ..] = self.ports.to_ne_bytes();
        SocketAddr::new(self.local.into(), u16::from_be_bytes([high, low]))
    }

    /// Returns the peer's endpoint.
    #[must_use]
    pub fn remote(&self) -> SocketAddr {
        let [.., high, low] = self.ports.to_ne_bytes();
        SocketAddr::new(self.remote.into(), u16::from_be_bytes([high, low]))
    }

    /// The same connection as the peer sees it.
    pub(super) const fn reversed(&self) -> Self {
        Self {
            ports: self.ports.rotate_left(16),
            remote: self.local,
            local: self.remote,
        }
    }
}

/// An IP datagram where it was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct Datagram<'f, const W: usize> {
    pub(super) src: Address<W>,
    pub(super) dst: Address<W>,
    pub(super) protocol: u8,
    pub(super) hop_limit: u8,
    /// The IPv4 header, which has a checksum; nothing of IPv6.
    header: &'f [u8],
    pub(super) payload: &'f [u8],
}

impl<'f, const W: usize> Datagram<'f, W> {
    /// `None` if it is not a whole datagram. One that is quoted may lack its end.
    pub(super) fn find(packet: &'f [u8], is_quoted: bool) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => Self::in_ipv4(packet, is_quoted),
            6 if W > 1 => Self::in_ipv6(packet, is_quoted),
            _ => None,
        }
    }

    fn in_ipv4(packet: &'f [u8], is_quoted: bool) -> Option<Self> {
        let fixed = packet.first_chunk::<IPV4_HEADER_LEN>()?;
        let (words, _) = fixed.as_chunks::<4>();
        let [
            [version_ihl, _, len @ ..],
            [_, _, fragment @ ..],
            [hop_limit, protocol, ..],
            src,
            dst,
        ] = words
        else {
            return None;
        };
        // More fragments to come, or an offset: not a whole datagram.
        if u16::from_be_bytes(*fragment) & 0x3fff != 0 {
            return None;
        }
        let header_len = usize::from(version_ihl & 0x0f).wrapping_mul(4);
        if header_len < IPV4_HEADER_LEN {
            return None;
        }
        // Ethernet pads short frames; the datagram ends where its header says.
        let mut len = usize::from(u16::from_be_bytes(*len));
        if is_quoted {
            len = len.min(packet.len());
        }
        let (header, payload) = packet.get(..len)?.split_at_checked(header_len)?;
        Some(Self {
            src: Address::v4(*src),
            dst: Address::v4(*dst),
            protocol: *protocol,
            hop_limit: *hop_limit,
            header,
            payload,
        })
    }

    fn in_ipv6(packet: &'f [u8], is_quoted: bool) -> Option<Self> {
        let (header, rest) = packet.split_first_chunk::<IPV6_HEADER_LEN>()?;
        let mut len = usize::from(u16::from_be_bytes([header[4], header[5]]));
        if is_quoted {
            len = len.min(rest.len());
        }
        let mut protocol = header[6];
        let mut payload = rest.get(..len)?;
        if protocol == PROTOCOL_HOP_BY_HOP {
            // RFC 8200 4.3. Routers of an RPL network put one into every packet (RFC 9008).
            let [next, words, ..] = *payload else {
                return None;
            };
            let ext_len = usize::from(words).wrapping_add(1).wrapping_mul(8);
            let (header, rest) = payload.split_at_checked(ext_len)?;
            if !are_options_passed_over(header.get(2..)?) {
                return None;
            }
            (protocol, payload) = (next, rest);
        }
        let addresses = header.last_chunk::<32>()?;
        Some(Self {
            src: Address::v6(addresses.first_chunk()?),
            dst: Address::v6(addresses.last_chunk()?),
            protocol,
            hop_limit: header[7],
            header: &[],
            payload,
        })
    }

    /// The connection it belongs to if it was received.
    pub(super) fn received_tuple(&self, ports: u32) -> Tuple<W> {
        Tuple {
            ports: ports.rotate_left(16),
            remote: self.src,
            local: self.dst,
        }
    }

    /// The connection it belongs to if we sent it.
    pub(super) fn sent_tuple(&self, ports: u32) -> Tuple<W> {
        Tuple {
            ports,
            remote: self.dst,
            local: self.src,
        }
    }

    /// The source and the destination port, as they lie in the header, if it is TCP.
    pub(super) fn ports(&self) -> Option<u32> {
        if self.protocol != PROTOCOL_TCP {
            return None;
        }
        Some(u32::from_ne_bytes(*self.payload.first_chunk::<4>()?))
    }

    /// The segment's checksum, and that of an IPv4 header, are right, as far as software has to
    /// verify them (RFC 9293 3.1, RFC 4443 2.3). Of a long segment that is only the header's.
    pub(super) fn is_intact(&self, framing: Framing) -> bool {
        // IPv6 has no checksum of its own.
        let is_v4 = W == 1 || !self.header.is_empty();
        if is_v4 && framing.leaves(Framing::IPV4_VERIFIED) && sum(0, self.header) != ZERO {
            return false;
        }
        let len = self.payload.len();
        if !framing.leaves(Framing::TRANSPORT_VERIFIED) || len > VERIFIED_LEN {
            return true;
        }
        let pseudo = pseudo_header(self.protocol, len, &self.src, &self.dst);
        sum(pseudo, self.payload) == ZERO
    }

    /// The facts of its TCP header, unless that is malformed.
    pub(super) fn segment(&self) -> Option<Segment> {
        let header = self.payload.first_chunk::<TCP_HEADER_LEN>()?;
        let (words, _) = header.as_chunks::<4>();
        let [_, seq, ack, [offset, flags, window @ ..], _] = words else {
            return None;
        };
        // Of SYN, FIN and RST, the stack takes a segment with one at most.
        let control = flags & 0x07;
        if control & control.wrapping_sub(1) != 0 {
            return None;
        }
        let header_len = usize::from(offset >> 4).wrapping_mul(4);
        let Options {
            timestamps,
            window_scale,
        } = if header_len == TCP_HEADER_LEN {
            Options::NONE
        } else {
            Options::find(self.payload.get(TCP_HEADER_LEN..header_len)?)?
        };
        let ack = SeqNumber(u32::from_be_bytes(*ack));
        Some(Segment {
            seq: SeqNumber(u32::from_be_bytes(*seq)),
            ack: if flags & FLAG_ACK == 0 {
                None
            } else {
                Some(ack)
            },
            window: u16::from_be_bytes(*window),
            len: u32::try_from(self.payload.len().wrapping_sub(header_len)).ok()?,
            syn: flags & 0x02 != 0,
            fin: flags & 0x01 != 0,
            rst: flags & FLAG_RST != 0,
            timestamps,
            window_scale,
        })
    }
}

fn pseudo_header<const W: usize>(
    protocol: u8,
    len: usize,
    src: &Address<W>,
    dst: &Address<W>,
) -> u32 {
    let [l0, l1, ..] = len.to_le_bytes();
    // The length is at most 65535, so both fit into one word.
    let fixed = u32::from_ne_bytes([0, protocol, l1, l0]);
    add(add(fixed, src.sum()), dst.sum())
}

/// Whether the stack passes over all of these hop-by-hop options (RFC 8200 4.2).
fn are_options_passed_over(mut options: &[u8]) -> bool {
    const PAD1: u8 = 0;
    /// The RPL option (RFC 6553 6.1). smoltcp takes it if it was built for RPL.
    const RPL: u8 = 0x63;
    loop {
        options = match *options {
            [] => return true,
            [PAD1, ref rest @ ..] => rest,
            // The upper two bits say what to do with an option that is not known: zero is to skip.
            [kind, len, ref rest @ ..] if kind >> 6 == 0 || kind == RPL => {
                match rest.get(usize::from(len)..) {
                    Some(rest) => rest,
                    None => return false,
                }
            }
            _ => return false,
        };
    }
}

/// The options of a TCP header that matter here.
#[derive(Clone, Copy, Debug)]
struct Options {
    timestamps: Option<(u32, u32)>,
    window_scale: Option<u8>,
}

impl Options {
    const NONE: Self = Self {
        timestamps: None,
        window_scale: None,
    };

    /// `None` if they are malformed: the stack drops the segment.
    #[inline]
    fn find(mut octets: &[u8]) -> Option<Self> {
        const END: u8 = 0;
        const NO_OPERATION: u8 = 1;
        const MAX_SEGMENT_SIZE: u8 = 2;
        const WINDOW_SCALE: u8 = 3;
        const SACK_PERMITTED: u8 = 4;
        const SACK: u8 = 5;
        const TIMESTAMPS: u8 = 8;
        let mut found = Self::NONE;
        loop {
            octets = match *octets {
                [] | [END, ..] => return Some(found),
                [NO_OPERATION, ref rest @ ..] => rest,
                [kind, len, ..] => {
                    let (option, rest) = octets.split_at_checked(usize::from(len))?;
                    // The stack drops a segment with one of these if its length is wrong.
                    let is_right = match kind {
                        MAX_SEGMENT_SIZE => len == 4,
                        WINDOW_SCALE => len == 3,
                        SACK_PERMITTED => len == 2,
                        SACK => len % 8 == 2 && len > 2,
                        _ => len >= 2,
                    };
                    if !is_right {
                        return None;
                    }
                    if kind == WINDOW_SCALE {
                        found.window_scale = option.get(2).copied();
                    }
                    if kind == TIMESTAMPS
                        && let [_, _, v0, v1, v2, v3, e0, e1, e2, e3] = *option
                    {
                        found.timestamps = Some((
                            u32::from_be_bytes([v0, v1, v2, v3]),
                            u32::from_be_bytes([e0, e1, e2, e3]),
                        ));
                    }
                    rest
                }
                [_] => return None,
            };
        }
    }
}

/// What a link carries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Medium {
    /// Ethernet frames.
    #[default]
    Ethernet,
    /// IP datagrams, without a header of the link.
    Ip,
}

/// The commonest datagram there is: TCP in IPv4, neither of them with options, and of the flags only
/// ACK and PSH. Its fields are where they always are.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plain<'f> {
    words: &'f [[u8; 4]; 10],
    datagram: &'f [u8],
    len: u16,
}

impl<'f> Plain<'f> {
    #[expect(clippy::inline_always, reason = "measured: on the path of every frame")]
    #[inline(always)]
    pub(super) fn find(packet: &'f [u8]) -> Option<Self> {
        let [0x45, _, l1, l0, ..] = *packet else {
            return None;
        };
        let len = u16::from_be_bytes([l1, l0]);
        // Ethernet pads short frames; the datagram ends where its header says.
        let datagram = packet.get(..usize::from(len))?;
        let header = datagram.first_chunk::<40>()?;
        let words: &[[u8; 4]; 10] = header.as_chunks::<4>().0.try_into().ok()?;
        let [_, _, fragment @ ..] = words[1];
        let [offset, flags, ..] = words[8];
        let is_plain = u16::from_ne_bytes(fragment) & 0x3fff_u16.to_be() == 0
            && words[2][1] == PROTOCOL_TCP
            && u16::from_ne_bytes([offset, flags]) & 0xff17_u16.to_be() == 0x5010_u16.to_be();
        is_plain.then_some(Self {
            words,
            datagram,
            len,
        })
    }

    pub(super) fn received_tuple<const W: usize>(&self) -> Tuple<W> {
        Tuple {
            ports: u32::from_ne_bytes(self.words[5]).rotate_left(16),
            remote: Address::v4(self.words[3]),
            local: Address::v4(self.words[4]),
        }
    }

    /// Its checksums are right. `None` if it is not software that verifies both or neither.
    #[expect(clippy::inline_always, reason = "measured: on the path of every frame")]
    #[inline(always)]
    pub(super) fn is_intact(&self, framing: Framing) -> Option<bool> {
        match framing.0 & Framing::VERIFIED {
            0 => {}
            Framing::VERIFIED => return Some(true),
            _ => return None,
        }
        let [ip @ .., _, _, _, _, _] = self.words;
        let [_, _, _, src, dst, tcp @ ..] = self.words;
        let add = |sum: u32, word: &[u8; 4]| add(sum, u32::from_ne_bytes(*word));
        if fold(ip.iter().fold(0, add)) != ZERO {
            return Some(false);
        }
        let len = self.len.wrapping_sub(20);
        if usize::from(len) > VERIFIED_LEN {
            return Some(true);
        }
        let [l1, l0] = len.to_be_bytes();
        let pseudo = add(add(add(0, &[0, PROTOCOL_TCP, l1, l0]), src), dst);
        let total = tcp.iter().fold(pseudo, add);
        // Most acknowledgements end here, and need no loop.
        Some(match self.datagram.get(40..) {
            Some(payload @ [_, ..]) => sum(total, payload) == ZERO,
            _ => fold(total) == ZERO,
        })
    }

    pub(super) fn segment(&self) -> Segment {
        let [_, _, w1, w0] = self.words[8];
        Segment {
            seq: SeqNumber(u32::from_be_bytes(self.words[6])),
            ack: Some(SeqNumber(u32::from_be_bytes(self.words[7]))),
            window: u16::from_be_bytes([w1, w0]),
            len: u32::from(self.len).wrapping_sub(40),
            syn: false,
            fin: false,
            rst: false,
            timestamps: None,
            window_scale: None,
        }
    }
}

/// Who computes the checksums of a protocol: where the device does not, software does, which is the
/// stack and this crate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub enum Checksum {
    /// Software writes and verifies them.
    #[default]
    Software = 0,
    /// Software verifies them; the device writes them.
    SoftwareOnReceive = 2,
    /// Software writes them; the device verifies them.
    SoftwareOnTransmit = 1,
    /// The device writes and verifies them.
    Device = 3,
}

/// Which checksums the link leaves to software.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Checksums {
    /// That of the IPv4 header.
    pub ipv4: Checksum,
    /// Those of TCP, and of what arrives of `ICMPv6`. What the link sends of `ICMPv6` always has one.
    pub transport: Checksum,
}

/// Adds words of 32 bits in one's complement.
const fn add(a: u32, b: u32) -> u32 {
    let (sum, has_carry) = a.overflowing_add(b);
    sum.wrapping_add(has_carry as u32)
}

/// Adds octets to a sum, the last word filled up with zeros. The Internet checksum cares neither how its
/// sum is grouped nor for the order of octets (RFC 1071 2).
#[inline(never)]
fn sum(mut sum: u32, octets: &[u8]) -> u16 {
    let (words, rest) = octets.as_chunks::<4>();
    for word in words {
        sum = add(sum, u32::from_ne_bytes(*word));
    }
    let last = match *rest {
        [a, b, c] => [a, b, c, 0],
        [a, b] => [a, b, 0, 0],
        [a] => [a, 0, 0, 0],
        _ => [0; 4],
    };
    fold(add(sum, u32::from_ne_bytes(last)))
}

/// A zero of one's complement: what octets and their checksum add up to.
const ZERO: u16 = 0xffff;

/// Both halves of a sum, added in one's complement.
fn fold(sum: u32) -> u16 {
    // The upper half of this is the sum of both halves, with what that carries.
    let [w0, w1, ..] = sum.wrapping_add(sum.rotate_left(16)).to_be_bytes();
    u16::from_be_bytes([w0, w1])
}

/// What frames look like on a link, in one octet. Zero is an Ethernet on which software computes every
/// checksum.
#[derive(Clone, Copy, Debug)]
pub(super) struct Framing(u8);

impl Framing {
    pub(super) const ETHERNET: Self = Self(0);
    /// There is no header of the link.
    const BARE: u8 = 1;
    /// The device verifies the checksum of an IPv4 header, and writes it.
    const IPV4_VERIFIED: u8 = 1 << 1;
    const IPV4_WRITTEN: u8 = 1 << 2;
    /// The same for what IP carries.
    const TRANSPORT_VERIFIED: u8 = 1 << 3;
    const TRANSPORT_WRITTEN: u8 = 1 << 4;
    /// The device verifies both.
    const VERIFIED: u8 = Self::IPV4_VERIFIED | Self::TRANSPORT_VERIFIED;

    pub(super) const fn new(medium: Medium, checksums: Checksums) -> Self {
        let Checksums { ipv4, transport } = checksums;
        Self(medium as u8 | (ipv4 as u8) << 1 | (transport as u8) << 3)
    }

    /// The same link for a frame that software writes whole.
    pub(super) const fn in_software(self) -> Self {
        Self(self.0 & Self::BARE)
    }

    pub(super) const fn is_ethernet(self) -> bool {
        self.0 & Self::BARE == 0
    }

    const fn leaves(self, what: u8) -> bool {
        self.0 & what == 0
    }
}

/// What goes around the payload of a frame of ours.
#[derive(Clone, Copy, Debug)]
pub(super) struct Envelope<const W: usize> {
    pub(super) to: HardwareAddr,
    pub(super) from: HardwareAddr,
    pub(super) tuple: Tuple<W>,
    pub(super) protocol: u8,
    pub(super) hop_limit: u8,
    pub(super) payload_len: u16,
    /// Where in the payload its checksum is.
    pub(super) checksum_at: usize,
}

/// Room for a frame without the header of an Ethernet.
const DATAGRAM_LEN: usize = MAX_FRAME_LEN - ETHERNET_HEADER_LEN;
/// Room for what IP carries.
pub(super) const PAYLOAD_LEN: usize = DATAGRAM_LEN - IPV6_HEADER_LEN;

impl Framing {
    /// Writes a frame and returns its length. `write` writes the payload, but for its checksum.
    #[inline]
    pub(super) fn write<const W: usize>(
        self,
        out: &mut Buffer,
        envelope: &Envelope<W>,
        write: impl FnOnce(&mut [u8; PAYLOAD_LEN]),
    ) -> Option<usize> {
        let Envelope {
            to,
            from,
            tuple: Tuple { remote, local, .. },
            protocol,
            hop_limit,
            payload_len,
            checksum_at,
        } = *envelope;
        let is_v4 = local.is_v4();
        let mut len = usize::from(payload_len);
        let datagram: &mut [u8; DATAGRAM_LEN] = if self.is_ethernet() {
            len = len.wrapping_add(ETHERNET_HEADER_LEN);
            let ethertype = if is_v4 {
                ETHERTYPE_IPV4
            } else {
                ETHERTYPE_IPV6
            };
            let (header, datagram) = out.split_first_chunk_mut::<ETHERNET_HEADER_LEN>()?;
            write_ethernet(header, [to, from], ethertype)?;
            datagram.first_chunk_mut()?
        } else {
            out.first_chunk_mut()?
        };
        let payload = if is_v4 {
            let (header, payload) = datagram.split_first_chunk_mut::<IPV4_HEADER_LEN>()?;
            let [w0, w1, w2, src, dst] = header.as_chunks_mut::<4>().0 else {
                return None;
            };
            let [l1, l0] = payload_len.wrapping_add(20).to_be_bytes();
            len = len.wrapping_add(IPV4_HEADER_LEN);
            *w0 = [0x45, 0, l1, l0];
            *w1 = [0, 0, 0x40, 0];
            *w2 = [hop_limit, protocol, 0, 0];
            *src = local.v4_octets();
            *dst = remote.v4_octets();
            if self.leaves(Self::IPV4_WRITTEN) {
                put_checksum(header, 10, 0);
            }
            payload
        } else {
            let (header, payload) = datagram.split_first_chunk_mut::<IPV6_HEADER_LEN>()?;
            let (fixed, addresses) = header.split_first_chunk_mut::<8>()?;
            let [l1, l0] = payload_len.to_be_bytes();
            len = len.wrapping_add(IPV6_HEADER_LEN);
            *fixed = [0x60, 0, 0, 0, l1, l0, protocol, hop_limit];
            *addresses.first_chunk_mut()? = local.v6_octets();
            *addresses.last_chunk_mut()? = remote.v6_octets();
            payload
        };
        write(payload.first_chunk_mut()?);
        if self.leaves(Self::TRANSPORT_WRITTEN) {
            let payload = payload.get_mut(..usize::from(payload_len))?;
            let pseudo = pseudo_header(protocol, payload.len(), &local, &remote);
            put_checksum(payload, checksum_at, pseudo);
        }
        Some(len)
    }
}

/// Writes the header of an Ethernet frame.
pub(super) fn write_ethernet(
    out: &mut [u8; ETHERNET_HEADER_LEN],
    [to, from]: [HardwareAddr; 2],
    ethertype: u16,
) -> Option<()> {
    *out.first_chunk_mut()? = to;
    let (_, tail) = out.split_first_chunk_mut::<6>()?;
    *tail.first_chunk_mut()? = from;
    *tail.last_chunk_mut()? = ethertype.to_be_bytes();
    Some(())
}

/// Writes the checksum of `octets` to its place in them.
fn put_checksum(octets: &mut [u8], at: usize, pseudo: u32) {
    let checksum = !sum(pseudo, octets);
    if let Some(place) = octets.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<2>) {
        *place = checksum.to_ne_bytes();
    }
}
