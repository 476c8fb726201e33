//! Finding the TCP header in a frame.
//!
//! Wire bytes can be anything. What is not a whole TCP segment in a whole IP datagram is no
//! [`TcpFrame`], and nobody's sign of life. An ICMP error is none, nor a reason to abort (MUST-56).
//!
//! Every frame of the interface comes through here, and most are not ours: so finding the
//! four-tuple comes first and is inlined into the tap, and the rest of the header is read only
//! once it is known whose it is.

use core::net::IpAddr;

use ::smoltcp::wire::IpAddress;

use super::convert::Link;
use crate::{Segment, SeqNumber};

const ETHERNET_HEADER_LEN: usize = 14;
const IPV4_HEADER_LEN: usize = 20;
const IPV6_HEADER_LEN: usize = 40;
const TCP_HEADER_LEN: usize = 20;

const ETHERTYPE_IPV4: u16 = 0x0800;
const ETHERTYPE_ARP: u16 = 0x0806;
const ETHERTYPE_IPV6: u16 = 0x86dd;
const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_ICMPV6: u8 = 58;
const ICMPV6_NEIGHBOR_SOLICITATION: u8 = 135;

/// Whether smoltcp was built with addresses longer than IPv4's.
const WIDE: bool = size_of::<IpAddress>() > 4;
const ADDR_WORDS: usize = if WIDE { 4 } else { 1 };

/// An IP address in as many words as this build of smoltcp needs, as they lie in the header.
/// Where there is IPv6, an IPv4 address is written as IPv6 would (RFC 4291 2.5.5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Addr([u32; ADDR_WORDS]);

impl Addr {
    #[inline]
    fn v4(octets: [u8; 4]) -> Self {
        let mut words = [0; ADDR_WORDS];
        if let [_, _, mapped, word] = words.as_mut_slice() {
            *mapped = u32::from_ne_bytes([0, 0, 0xff, 0xff]);
            *word = u32::from_ne_bytes(octets);
        } else if let [word] = words.as_mut_slice() {
            *word = u32::from_ne_bytes(octets);
        }
        Self(words)
    }

    #[inline]
    fn v6(octets: &[u8; 16]) -> Self {
        let mut words = [0; ADDR_WORDS];
        for (word, chunk) in words.iter_mut().zip(octets.as_chunks::<4>().0) {
            *word = u32::from_ne_bytes(*chunk);
        }
        Self(words)
    }

    #[inline]
    fn fold(self) -> u32 {
        self.0.iter().fold(0, |sum, word| sum.rotate_left(9) ^ word)
    }

    /// An IPv4 address adds the same in either form: the 0xffff of the longer one is a zero of one's
    /// complement arithmetic.
    #[inline]
    fn add_to(self, sum: &mut Sum) {
        for word in self.0 {
            sum.add(word);
        }
    }
}

impl From<IpAddress> for Addr {
    fn from(address: IpAddress) -> Self {
        match IpAddr::from(address) {
            IpAddr::V4(address) => Self::v4(address.octets()),
            IpAddr::V6(address) => Self::v6(&address.octets()),
        }
    }
}

/// The four-tuple of a connection, seen from this end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) local: Addr,
    pub(super) remote: Addr,
    /// The local port, then the remote one, as they lie in the header of what we send.
    ports: u32,
}

impl Key {
    /// The four-tuple of no connection.
    pub(super) const NONE: Self = Self {
        local: Addr([0; ADDR_WORDS]),
        remote: Addr([0; ADDR_WORDS]),
        ports: 0,
    };

    pub(super) fn new(local: Addr, local_port: u16, remote: Addr, remote_port: u16) -> Self {
        Self {
            local,
            remote,
            ports: (u32::from(local_port) << 16 | u32::from(remote_port)).to_be(),
        }
    }

    /// Spreads keys over 32 bits, the upper ones best.
    #[inline]
    pub(super) fn hash(&self) -> u32 {
        let addresses = self.local.fold().rotate_left(13) ^ self.remote.fold();
        (addresses ^ self.ports.wrapping_mul(0x85eb_ca6b)).wrapping_mul(0x9e37_79b1)
    }
}

/// A TCP segment where it was found.
#[derive(Clone, Copy, Debug)]
pub(super) struct TcpFrame<'f> {
    src: Addr,
    dst: Addr,
    /// Source and destination port, as they lie in the header.
    ports: u32,
    /// Header, options and payload.
    tcp: &'f [u8],
}

impl<'f> TcpFrame<'f> {
    /// The segment in `frame`, if there is one.
    #[expect(clippy::inline_always, reason = "measured: half of what a frame costs")]
    #[inline(always)]
    pub(super) fn find(link: Link, frame: &'f [u8]) -> Option<Self> {
        match link {
            Link::Ethernet => {
                let (header, packet) = frame.split_first_chunk::<ETHERNET_HEADER_LEN>()?;
                match u16::from_be_bytes([header[12], header[13]]) {
                    ETHERTYPE_IPV4 => Self::in_ipv4(packet),
                    ETHERTYPE_IPV6 if WIDE => Self::in_ipv6(packet),
                    _ => None,
                }
            }
            Link::Ip => match frame.first()? >> 4 {
                4 => Self::in_ipv4(frame),
                6 if WIDE => Self::in_ipv6(frame),
                _ => None,
            },
            Link::Unknown | Link::Unsupported => None,
        }
    }

    #[expect(clippy::inline_always, reason = "measured: half of what a frame costs")]
    #[inline(always)]
    fn in_ipv4(packet: &'f [u8]) -> Option<Self> {
        let header = packet.first_chunk::<IPV4_HEADER_LEN>()?;
        let (words, _) = header.as_chunks::<4>();
        let [
            [version_ihl, _, len @ ..],
            [_, _, fragment @ ..],
            [_, protocol, ..],
            src,
            dst,
        ] = words
        else {
            return None;
        };
        // More fragments to come, or an offset: not a whole datagram.
        let is_fragment = u16::from_be_bytes(*fragment) & 0x3fff != 0;
        if version_ihl >> 4 != 4 || *protocol != PROTOCOL_TCP || is_fragment {
            return None;
        }
        let header_len = usize::from(version_ihl & 0x0f).wrapping_mul(4);
        if header_len < IPV4_HEADER_LEN {
            return None;
        }
        // Ethernet pads short frames; the datagram ends where its header says.
        let tcp = packet.get(header_len..usize::from(u16::from_be_bytes(*len)))?;
        Some(Self {
            src: Addr::v4(*src),
            dst: Addr::v4(*dst),
            ports: u32::from_ne_bytes(*tcp.first_chunk::<4>()?),
            tcp,
        })
    }

    fn in_ipv6(packet: &'f [u8]) -> Option<Self> {
        // A segment behind extension headers is not looked for: neither smoltcp nor any peer we
        // know of sends TCP that way.
        let (header, tcp) = ipv6_payload(packet, PROTOCOL_TCP)?;
        let addresses = header.last_chunk::<32>()?;
        Some(Self {
            src: Addr::v6(addresses.first_chunk()?),
            dst: Addr::v6(addresses.last_chunk()?),
            ports: u32::from_ne_bytes(*tcp.first_chunk::<4>()?),
            tcp,
        })
    }

    /// The connection it belongs to if it was received.
    #[inline]
    pub(super) fn received_key(&self) -> Key {
        Key {
            local: self.dst,
            remote: self.src,
            ports: self.ports.rotate_left(16),
        }
    }

    /// The connection it belongs to if we sent it.
    #[inline]
    pub(super) fn sent_key(&self) -> Key {
        Key {
            local: self.src,
            remote: self.dst,
            ports: self.ports,
        }
    }

    /// Octets from the TCP header to the end of the payload.
    #[inline]
    pub(super) const fn tcp_len(&self) -> usize {
        self.tcp.len()
    }

    /// The facts of its header, unless that is malformed.
    #[inline]
    pub(super) fn segment(&self) -> Option<Segment> {
        let header = self.tcp.first_chunk::<TCP_HEADER_LEN>()?;
        let (words, _) = header.as_chunks::<4>();
        let [_, seq, ack, [offset, flags, window @ ..], _] = words else {
            return None;
        };
        let header_len = usize::from(offset >> 4).wrapping_mul(4);
        let timestamps = if header_len == TCP_HEADER_LEN {
            None
        } else {
            timestamps(self.tcp.get(TCP_HEADER_LEN..header_len)?).ok()?
        };
        let ack = SeqNumber(u32::from_be_bytes(*ack));
        let len = self.tcp.len().wrapping_sub(header_len);
        Some(Segment {
            seq: SeqNumber(u32::from_be_bytes(*seq)),
            ack: if flags & 0x10 == 0 { None } else { Some(ack) },
            window: u16::from_be_bytes(*window),
            len: u32::try_from(len).ok()?,
            syn: flags & 0x02 != 0,
            fin: flags & 0x01 != 0,
            rst: flags & 0x04 != 0,
            timestamps,
        })
    }

    /// The PSH flag: smoltcp sets it where a segment ends what there is to send.
    pub(super) fn is_push(&self) -> bool {
        self.tcp.get(13).is_some_and(|flags| flags & 0x08 != 0)
    }

    /// The TCP checksum is right (RFC 9293 3.1), over all of the segment.
    ///
    /// It covers the addresses, the protocol and the length too. What the checksum of an IPv4
    /// header covers besides says nothing about who sent the segment, so that is left to smoltcp.
    #[inline]
    pub(super) fn is_segment_intact(&self) -> bool {
        let Ok(len) = u16::try_from(self.tcp.len()) else {
            return false;
        };
        let protocol_and_len = (u32::from(PROTOCOL_TCP) << 16 | u32::from(len)).to_be();
        let mut sum = Sum::ZERO;
        sum.add(protocol_and_len);
        self.src.add_to(&mut sum);
        self.dst.add_to(&mut sum);
        sum.add_octets(self.tcp);
        sum.is_zero()
    }
}

/// Whether `frame` asks for the address of a neighbour: somebody cannot send yet.
pub(super) fn is_neighbor_query(link: Link, frame: &[u8]) -> bool {
    let is_solicitation = |packet| {
        ipv6_payload(packet, PROTOCOL_ICMPV6)
            .is_some_and(|(_, icmp)| icmp.first() == Some(&ICMPV6_NEIGHBOR_SOLICITATION))
    };
    let Link::Ethernet = link else {
        return false;
    };
    let Some((header, packet)) = frame.split_first_chunk::<ETHERNET_HEADER_LEN>() else {
        return false;
    };
    match u16::from_be_bytes([header[12], header[13]]) {
        ETHERTYPE_ARP => true,
        ETHERTYPE_IPV6 => WIDE && is_solicitation(packet),
        _ => false,
    }
}

/// The header of an IPv6 packet and its payload, if that is of the protocol asked for.
fn ipv6_payload(packet: &[u8], protocol: u8) -> Option<(&[u8; IPV6_HEADER_LEN], &[u8])> {
    let (header, rest) = packet.split_first_chunk::<IPV6_HEADER_LEN>()?;
    if header[0] >> 4 != 6 || header[6] != protocol {
        return None;
    }
    let len = usize::from(u16::from_be_bytes([header[4], header[5]]));
    Some((header, rest.get(..len)?))
}

/// The Internet checksum in words of 32 bits. It cares neither how its sum is grouped nor for the
/// order of octets (RFC 1071 2).
///
/// smoltcp's `wire::checksum` takes octet pairs and wants its parts folded one by one; on a
/// header that is three times the work, and this is done for every short segment.
#[derive(Clone, Copy)]
struct Sum {
    sum: u32,
    /// What the last addition carried out, which the next one takes in: an instruction a word.
    carry: bool,
}

impl Sum {
    const ZERO: Self = Self {
        sum: 0,
        carry: false,
    };

    #[inline]
    fn add(&mut self, word: u32) {
        (self.sum, self.carry) = self.sum.carrying_add(word, self.carry);
    }

    #[inline]
    fn add_octets(&mut self, octets: &[u8]) {
        // Most of what is summed is a header without options.
        if let Ok(header) = <&[u8; 20]>::try_from(octets) {
            self.add_words(header.as_chunks::<4>().0);
        } else {
            *self = self.with_any_octets(octets);
        }
    }

    /// The last word is filled up with zeros.
    #[inline(never)]
    fn with_any_octets(mut self, octets: &[u8]) -> Self {
        let (words, rest) = octets.as_chunks::<4>();
        self.add_words(words);
        self.add(u32::from_ne_bytes(match *rest {
            [] => return self,
            [a] => [a, 0, 0, 0],
            [a, b] => [a, b, 0, 0],
            [a, b, c, ..] => [a, b, c, 0],
        }));
        self
    }

    #[inline]
    fn add_words(&mut self, words: &[[u8; 4]]) {
        for word in words {
            self.add(u32::from_ne_bytes(*word));
        }
    }

    /// Whether a sum that includes the checksum comes to the zero of one's complement.
    #[inline]
    fn is_zero(mut self) -> bool {
        // What is still to be taken in may carry once more, and no more than that.
        self.add(0);
        let sum = self.sum.wrapping_add(u32::from(self.carry));
        // The upper half of this is the sum of both halves, with what that carries.
        sum.wrapping_add(sum.rotate_left(16)) >> 16 == 0xffff
    }
}

/// The options are malformed: smoltcp drops the segment.
struct Malformed;

/// The timestamp option (RFC 7323 3.2), if there is one.
#[inline]
fn timestamps(mut options: &[u8]) -> Result<Option<(u32, u32)>, Malformed> {
    const END: u8 = 0;
    const NO_OPERATION: u8 = 1;
    const TIMESTAMPS: u8 = 8;
    let mut found = None;
    loop {
        options = match *options {
            [] | [END, ..] => return Ok(found),
            [NO_OPERATION, ref rest @ ..] => rest,
            [
                TIMESTAMPS,
                10,
                v0,
                v1,
                v2,
                v3,
                e0,
                e1,
                e2,
                e3,
                ref rest @ ..,
            ] => {
                found = Some((
                    u32::from_be_bytes([v0, v1, v2, v3]),
                    u32::from_be_bytes([e0, e1, e2, e3]),
                ));
                rest
            }
            [kind, len, ..] if kind != TIMESTAMPS && len >= 2 => {
                options.get(usize::from(len)..).ok_or(Malformed)?
            }
            _ => return Err(Malformed),
        };
    }
}

#[cfg(test)]
#[expect(
    clippy::arithmetic_side_effects,
    reason = "a test that computes wrongly fails"
)]
mod tests {
    use super::*;
    use ::smoltcp::phy::ChecksumCapabilities;
    use ::smoltcp::wire::{
        EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr, IpProtocol, IpRepr,
        TcpControl, TcpPacket, TcpRepr, TcpSeqNumber, TcpTimestampRepr,
    };
    use std::vec;
    use std::vec::Vec;

    const V4: [IpAddress; 2] = [IpAddress::v4(192, 0, 2, 1), IpAddress::v4(192, 0, 2, 2)];
    const V6: [IpAddress; 2] = [
        IpAddress::v6(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1),
        IpAddress::v6(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2),
    ];

    fn repr(payload: &[u8]) -> TcpRepr<'_> {
        TcpRepr {
            src_port: 49152,
            dst_port: 80,
            control: TcpControl::Psh,
            seq_number: TcpSeqNumber(-2),
            ack_number: Some(TcpSeqNumber(77)),
            window_len: 1000,
            window_scale: None,
            max_seg_size: None,
            sack_permitted: false,
            sack_ranges: [None; 3],
            timestamp: Some(TcpTimestampRepr::new(5, 6)),
            payload,
        }
    }

    /// A packet, and the same in an Ethernet frame padded to its least size.
    fn emit([src, dst]: [IpAddress; 2], tcp: &TcpRepr<'_>) -> [(Link, Vec<u8>); 2] {
        let caps = ChecksumCapabilities::default();
        let ip = IpRepr::new(src, dst, IpProtocol::Tcp, tcp.buffer_len(), 64);
        let mut packet = vec![0; ip.buffer_len()];
        ip.emit(&mut packet[..], &caps);
        let payload = &mut packet[ip.header_len()..];
        tcp.emit(&mut TcpPacket::new_unchecked(payload), &src, &dst, &caps);

        let mut frame = vec![0; (14 + packet.len()).max(60)];
        let ethertype = match src {
            IpAddress::Ipv4(_) => EthernetProtocol::Ipv4,
            IpAddress::Ipv6(_) => EthernetProtocol::Ipv6,
        };
        EthernetRepr {
            src_addr: EthernetAddress([2, 0, 0, 0, 0, 1]),
            dst_addr: EthernetAddress([2, 0, 0, 0, 0, 2]),
            ethertype,
        }
        .emit(&mut EthernetFrame::new_unchecked(&mut frame[..]));
        frame[14..14 + packet.len()].copy_from_slice(&packet);
        [(Link::Ip, packet), (Link::Ethernet, frame)]
    }

    fn tcp(link: Link, frame: &[u8]) -> TcpFrame<'_> {
        TcpFrame::find(link, frame).unwrap()
    }

    fn segment(link: Link, frame: &[u8]) -> Option<Segment> {
        TcpFrame::find(link, frame)?.segment()
    }

    /// Both protocols on both media: what smoltcp writes is read back, padding left out.
    #[test]
    fn what_smoltcp_writes_is_read_back() {
        for addresses in [V4, V6] {
            for (link, frame) in emit(addresses, &repr(b"abc")) {
                let tcp = tcp(link, &frame);
                let [src, dst] = addresses.map(Addr::from);
                assert_eq!(tcp.sent_key(), Key::new(src, 49152, dst, 80));
                assert_eq!(tcp.received_key(), Key::new(dst, 80, src, 49152));
                assert!(tcp.is_segment_intact() && tcp.is_push());
                assert_eq!(
                    tcp.segment().unwrap(),
                    Segment {
                        seq: SeqNumber(u32::MAX - 1),
                        ack: Some(SeqNumber(77)),
                        window: 1000,
                        len: 3,
                        syn: false,
                        fin: false,
                        rst: false,
                        timestamps: Some((5, 6)),
                    }
                );
            }
        }
    }

    /// A frame cut off anywhere is nobody's segment.
    #[test]
    fn a_truncated_frame_is_no_segment() {
        for addresses in [V4, V6] {
            for (link, frame) in emit(addresses, &repr(&[7; 30])) {
                for len in 0..frame.len() {
                    assert_eq!(segment(link, &frame[..len]), None);
                }
            }
        }
    }

    /// One flipped bit anywhere in the addresses or the segment is noticed.
    #[test]
    fn a_flipped_bit_is_noticed() {
        for addresses in [V4, V6] {
            let [(link, packet), _] = emit(addresses, &repr(b"abcd"));
            let pseudo_header = if addresses == V4 { 12 } else { 8 };
            for octet in pseudo_header..packet.len() {
                for bit in 0..8 {
                    let mut packet = packet.clone();
                    packet[octet] ^= 1 << bit;
                    assert!(!tcp(link, &packet).is_segment_intact(), "{octet}, {bit}");
                }
            }
        }
    }

    /// Fragments, other protocols and other versions are none of our business.
    #[test]
    fn what_is_not_a_whole_tcp_datagram_is_left_alone() {
        let [(link, packet), _] = emit(V4, &repr(b""));
        for (octet, value) in [(6, 0x20), (7, 0x01), (9, 17), (0, 0x55), (0, 0x44)] {
            let mut packet = packet.clone();
            packet[octet] = value;
            assert_eq!(segment(link, &packet), None);
        }
        assert_eq!(segment(Link::Ethernet, &[0; 60]), None);
        assert_eq!(segment(Link::Ip, &[]), None);
        assert_eq!(segment(Link::Unsupported, &packet), None);
    }

    /// IPv4 options are passed over.
    #[test]
    fn a_longer_ipv4_header_is_passed_over() {
        let [(link, packet), _] = emit(V4, &repr(b"abc"));
        let mut longer = packet.clone();
        longer.splice(20..20, [1, 1, 1, 0]);
        longer[0] = 0x46;
        longer[3] += 4;
        assert_eq!(segment(link, &longer), segment(link, &packet));
        assert!(tcp(link, &longer).is_segment_intact());
    }

    /// A segment whose flags say neither ACK nor PSH has neither.
    #[test]
    fn flags_that_are_not_set_are_not_read() {
        let [(link, mut packet), _] = emit(V4, &repr(b""));
        packet[33] = 0x02;
        assert!(!tcp(link, &packet).is_push());
        let segment = segment(link, &packet).unwrap();
        assert_eq!((segment.ack, segment.syn), (None, true));
    }

    /// Of an IPv6 packet both the version and the next header have to be right.
    #[test]
    fn another_ipv6_packet_is_left_alone() {
        let [_, (link, frame)] = emit(V6, &repr(b""));
        for (octet, value) in [(14, 0x45), (20, 17)] {
            let mut frame = frame.clone();
            frame[octet] = value;
            assert_eq!(segment(link, &frame), None);
        }
    }

    /// Connections that differ in one thing only are spread over the table, whichever it is.
    #[test]
    fn alike_connections_are_spread() {
        const BUCKETS: u64 = 64;
        let local = V4[0].into();
        let key = |last: u8, local_port, port| {
            Key::new(
                local,
                local_port,
                IpAddress::v4(192, 0, 2, last).into(),
                port,
            )
        };
        let v6 = |last: u16| {
            let remote = IpAddress::v6(0x2001, 0xdb8, 0, 0, 0, 0, 0, last);
            Key::new(V6[0].into(), 7, remote.into(), 80)
        };
        let families: [Vec<Key>; 4] = [
            (0..64).map(|number| key(number, 7, 80)).collect(),
            (0..64).map(|number| key(2, 49152 + number, 80)).collect(),
            (0..64).map(|number| key(2, 7, 49152 + number)).collect(),
            (0..64).map(v6).collect(),
        ];
        for keys in families {
            let mut buckets = [0; 64];
            for key in keys {
                let bucket = (u64::from(key.hash()) * BUCKETS) >> 32;
                buckets[usize::try_from(bucket).unwrap()] += 1;
            }
            let fullest = buckets.iter().max().unwrap();
            assert!(*fullest <= 4, "{buckets:?}");
        }
    }

    /// Who asks for a neighbour's address cannot send yet, over either protocol.
    #[test]
    fn neighbour_queries_are_recognised() {
        let mut frame = [0; 78];
        frame[12..14].copy_from_slice(&[0x08, 0x06]);
        assert!(is_neighbor_query(Link::Ethernet, &frame));
        frame[12..22].copy_from_slice(&[0x86, 0xdd, 0x60, 0, 0, 0, 0, 24, 58, 255]);
        frame[54] = 135;
        assert!(is_neighbor_query(Link::Ethernet, &frame));
        frame[54] = 136;
        assert!(!is_neighbor_query(Link::Ethernet, &frame));
        assert!(!is_neighbor_query(Link::Ethernet, &frame[..13]));
        assert!(!is_neighbor_query(Link::Ip, &frame));
    }

    /// Malformed options make a segment that smoltcp drops, and so nobody's.
    #[test]
    fn malformed_options_are_refused() {
        assert!(matches!(timestamps(&[2, 4, 5, 180, 1, 1, 0, 9]), Ok(None)));
        assert!(matches!(
            timestamps(&[1, 1, 8, 10, 0, 0, 0, 1, 0, 0, 0, 2]),
            Ok(Some((1, 2)))
        ));
        for options in [
            &[2, 0][..],
            &[2],
            &[3, 1, 0],
            &[8, 9, 0, 0, 0, 0, 0, 0, 0],
            &[5, 40],
        ] {
            assert!(timestamps(options).is_err(), "{options:?}");
        }
    }

    /// The sum is smoltcp's, over any octets of any length.
    #[test]
    fn the_sum_is_smoltcps() {
        use ::smoltcp::wire::checksum;
        use proptest::prelude::*;
        let is_zero = |octets: &[u8]| {
            let mut sum = Sum::ZERO;
            sum.add_octets(octets);
            sum.is_zero()
        };
        // Words that carry into each other need long runs of ones.
        let octet = prop_oneof![4 => Just(0xff), 1 => any::<u8>()];
        proptest!(|(octets in proptest::collection::vec(octet, 1..200))| {
            prop_assert_eq!(is_zero(&octets), checksum::data(&octets) == !0);
            let mut intact = octets;
            intact.truncate(intact.len() & !1);
            let missing = !checksum::data(&intact);
            intact.extend(missing.to_be_bytes());
            prop_assert!(is_zero(&intact));
        });
    }

    /// Whatever the bytes, parsing ends and does not panic.
    #[test]
    fn any_bytes_at_all() {
        use proptest::prelude::*;
        proptest!(|(bytes in proptest::collection::vec(any::<u8>(), 0..200))| {
            for link in [Link::Ethernet, Link::Ip, Link::Unknown, Link::Unsupported] {
                let _ = is_neighbor_query(link, &bytes);
                if let Some(tcp) = TcpFrame::find(link, &bytes) {
                    let _ = (tcp.is_segment_intact(), tcp.segment());
                    prop_assert!(tcp.tcp_len() <= bytes.len());
                }
            }
        });
    }
}
