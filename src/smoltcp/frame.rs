//! Finding the TCP header in a frame.
//!
//! Wire bytes can be anything. What is not a whole TCP segment in a whole IP datagram is
//! [`Frame::Other`], and nobody's sign of life.

use core::net::IpAddr;

use ::smoltcp::wire::{IpAddress, checksum};

use super::convert::Link;
use crate::{Segment, SeqNumber};

const ETHERNET_HEADER_LEN: usize = 14;
const IPV4_HEADER_LEN: usize = 20;
const IPV6_HEADER_LEN: usize = 40;
const TCP_HEADER_LEN: usize = 20;

const PROTOCOL_TCP: u8 = 6;
const PROTOCOL_ICMPV6: u8 = 58;
const ICMPV6_NEIGHBOR_SOLICITATION: u8 = 135;

/// Whether smoltcp was built with addresses longer than IPv4's.
const WIDE: bool = size_of::<IpAddress>() > 4;
const ADDR_WORDS: usize = if WIDE { 4 } else { 1 };

/// An IP address in as many words as this build of smoltcp needs. Where there is IPv6, an IPv4
/// address is written as IPv6 would (RFC 4291 2.5.5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Addr([u32; ADDR_WORDS]);

impl Addr {
    #[inline]
    fn v4(bits: u32) -> Self {
        let mut words = [0; ADDR_WORDS];
        if let [_, _, mapped, word] = words.as_mut_slice() {
            *mapped = 0xffff;
            *word = bits;
        } else if let [word] = words.as_mut_slice() {
            *word = bits;
        }
        Self(words)
    }

    #[inline]
    fn v6(octets: &[u8; 16]) -> Self {
        let mut words = [0; ADDR_WORDS];
        for (word, chunk) in words.iter_mut().zip(octets.as_chunks::<4>().0) {
            *word = u32::from_be_bytes(*chunk);
        }
        Self(words)
    }

    #[inline]
    fn fold(self) -> u32 {
        self.0.iter().fold(0, |sum, word| sum.rotate_left(9) ^ word)
    }
}

impl From<IpAddress> for Addr {
    fn from(address: IpAddress) -> Self {
        match IpAddr::from(address) {
            IpAddr::V4(address) => Self::v4(address.to_bits()),
            IpAddr::V6(address) => Self::v6(&address.octets()),
        }
    }
}

/// The four-tuple of a connection, seen from this end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Key {
    pub(super) local: Addr,
    pub(super) remote: Addr,
    ports: u32,
}

impl Key {
    /// The four-tuple of no connection.
    pub(super) const NONE: Self = Self {
        local: Addr([0; ADDR_WORDS]),
        remote: Addr([0; ADDR_WORDS]),
        ports: 0,
    };

    #[inline]
    pub(super) fn new(local: Addr, local_port: u16, remote: Addr, remote_port: u16) -> Self {
        Self {
            local,
            remote,
            ports: u32::from(local_port) << 16 | u32::from(remote_port),
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
#[derive(Debug)]
pub(super) struct TcpFrame<'f> {
    pub(super) src: Addr,
    pub(super) dst: Addr,
    pub(super) src_port: u16,
    pub(super) dst_port: u16,
    pub(super) segment: Segment,
    /// Header, options and payload.
    tcp: &'f [u8],
    /// Source and destination address as they stand in the IP header.
    addresses: &'f [u8],
    /// The IPv4 header, with its checksum.
    ipv4_header: &'f [u8],
}

/// What a frame holds.
#[derive(Debug)]
pub(super) enum Frame<'f> {
    Tcp(TcpFrame<'f>),
    /// A question for the address of a neighbour: somebody cannot send yet.
    NeighborQuery,
    Other,
}

impl<'f> Frame<'f> {
    #[inline]
    pub(super) fn parse(link: Link, frame: &'f [u8]) -> Self {
        let parsed = match link {
            Link::Ethernet => ethernet(frame),
            Link::Ip => ip(frame),
            Link::Unknown | Link::Unsupported => None,
        };
        parsed.unwrap_or(Self::Other)
    }
}

impl TcpFrame<'_> {
    /// Octets from the TCP header to the end of the payload.
    #[inline]
    pub(super) const fn tcp_len(&self) -> usize {
        self.tcp.len()
    }

    /// The PSH flag: smoltcp sets it where a segment ends what there is to send.
    pub(super) fn is_push(&self) -> bool {
        self.tcp.get(13).is_some_and(|flags| flags & 0x08 != 0)
    }

    /// The IPv4 header's checksum is right (RFC 791 3.1); IPv6 has none.
    #[inline]
    pub(super) fn is_header_intact(&self) -> bool {
        self.ipv4_header.is_empty() || checksum::data(self.ipv4_header) == !0
    }

    /// The TCP checksum is right (RFC 9293 3.1), over all of the segment.
    #[inline]
    pub(super) fn is_segment_intact(&self) -> bool {
        let Ok(len) = u16::try_from(self.tcp.len()) else {
            return false;
        };
        checksum::combine(&[
            checksum::data(self.addresses),
            u16::from(PROTOCOL_TCP),
            len,
            checksum::data(self.tcp),
        ]) == !0
    }
}

#[inline]
fn ethernet(frame: &[u8]) -> Option<Frame<'_>> {
    let (header, payload) = frame.split_first_chunk::<ETHERNET_HEADER_LEN>()?;
    let [.., type_high, type_low] = *header;
    match [type_high, type_low] {
        [0x08, 0x00] => ipv4(payload),
        [0x86, 0xdd] => ipv6(payload),
        [0x08, 0x06] => Some(Frame::NeighborQuery),
        _ => None,
    }
}

#[inline]
fn ip(packet: &[u8]) -> Option<Frame<'_>> {
    match packet.first()? >> 4 {
        4 => ipv4(packet),
        6 => ipv6(packet),
        _ => None,
    }
}

#[inline]
fn ipv4(packet: &[u8]) -> Option<Frame<'_>> {
    let header = packet.first_chunk::<IPV4_HEADER_LEN>()?;
    let [
        version_ihl,
        _,
        len0,
        len1,
        _,
        _,
        frag0,
        frag1,
        _,
        protocol,
        _,
        _,
        src0,
        src1,
        src2,
        src3,
        dst0,
        dst1,
        dst2,
        dst3,
    ] = *header;
    let header_len = usize::from(version_ihl & 0x0f).wrapping_mul(4);
    // More fragments to come, or an offset: not a whole datagram.
    let is_fragment = u16::from_be_bytes([frag0, frag1]) & 0x3fff != 0;
    if version_ihl >> 4 != 4
        || header_len < IPV4_HEADER_LEN
        || protocol != PROTOCOL_TCP
        || is_fragment
    {
        return None;
    }
    // Ethernet pads short frames; the datagram ends where its header says.
    let datagram = packet.get(..usize::from(u16::from_be_bytes([len0, len1])))?;
    let (ipv4_header, tcp) = datagram.split_at_checked(header_len)?;
    let src = Addr::v4(u32::from_be_bytes([src0, src1, src2, src3]));
    let dst = Addr::v4(u32::from_be_bytes([dst0, dst1, dst2, dst3]));
    let addresses = header.get(12..)?;
    segment(src, dst, addresses, ipv4_header, tcp)
}

#[inline]
fn ipv6(packet: &[u8]) -> Option<Frame<'_>> {
    if !WIDE {
        return None;
    }
    let (header, rest) = packet.split_first_chunk::<IPV6_HEADER_LEN>()?;
    let [version, _, _, _, len0, len1, next_header, _, addresses @ ..] = header;
    if version >> 4 != 6 {
        return None;
    }
    let payload = rest.get(..usize::from(u16::from_be_bytes([*len0, *len1])))?;
    if *next_header == PROTOCOL_ICMPV6 {
        return match payload.first() {
            Some(&ICMPV6_NEIGHBOR_SOLICITATION) => Some(Frame::NeighborQuery),
            _ => None,
        };
    }
    // A segment behind extension headers is not looked for: neither smoltcp nor any peer we
    // know of sends TCP that way.
    if *next_header != PROTOCOL_TCP {
        return None;
    }
    let ([src, dst], _) = addresses.as_chunks::<16>() else {
        return None;
    };
    segment(Addr::v6(src), Addr::v6(dst), addresses, &[], payload)
}

#[inline]
fn segment<'f>(
    src: Addr,
    dst: Addr,
    addresses: &'f [u8],
    ipv4_header: &'f [u8],
    tcp: &'f [u8],
) -> Option<Frame<'f>> {
    let header = tcp.first_chunk::<TCP_HEADER_LEN>()?;
    let [
        sport0,
        sport1,
        dport0,
        dport1,
        seq0,
        seq1,
        seq2,
        seq3,
        ack0,
        ack1,
        ack2,
        ack3,
        offset,
        flags,
        wnd0,
        wnd1,
        ..,
    ] = *header;
    let header_len = usize::from(offset >> 4).wrapping_mul(4);
    let options = tcp.get(TCP_HEADER_LEN..header_len)?;
    let len = tcp.len().wrapping_sub(header_len);
    let ack = SeqNumber(u32::from_be_bytes([ack0, ack1, ack2, ack3]));
    Some(Frame::Tcp(TcpFrame {
        src,
        dst,
        src_port: u16::from_be_bytes([sport0, sport1]),
        dst_port: u16::from_be_bytes([dport0, dport1]),
        segment: Segment {
            seq: SeqNumber(u32::from_be_bytes([seq0, seq1, seq2, seq3])),
            ack: if flags & 0x10 == 0 { None } else { Some(ack) },
            window: u16::from_be_bytes([wnd0, wnd1]),
            len: u32::try_from(len).ok()?,
            syn: flags & 0x02 != 0,
            fin: flags & 0x01 != 0,
            rst: flags & 0x04 != 0,
            timestamps: timestamps(options).ok()?,
        },
        tcp,
        addresses,
        ipv4_header,
    }))
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
        match Frame::parse(link, frame) {
            Frame::Tcp(tcp) => tcp,
            other => panic!("{other:?}"),
        }
    }

    /// Both protocols on both media: what smoltcp writes is read back, padding left out.
    #[test]
    fn what_smoltcp_writes_is_read_back() {
        for addresses in [V4, V6] {
            for (link, frame) in emit(addresses, &repr(b"abc")) {
                let tcp = tcp(link, &frame);
                assert_eq!([tcp.src, tcp.dst], addresses.map(Addr::from));
                assert_eq!((tcp.src_port, tcp.dst_port), (49152, 80));
                assert!(tcp.is_header_intact() && tcp.is_segment_intact() && tcp.is_push());
                assert_eq!(
                    tcp.segment,
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
                    assert!(matches!(Frame::parse(link, &frame[..len]), Frame::Other));
                }
            }
        }
    }

    /// One flipped bit anywhere in the datagram is noticed, or moves it out of the connection.
    #[test]
    fn a_flipped_bit_is_noticed() {
        for addresses in [V4, V6] {
            let [(link, packet), _] = emit(addresses, &repr(b"abcd"));
            let intact = tcp(link, &packet);
            let from = intact.src;
            // Of an IPv6 header, traffic class, flow label and hop limit are protected by nothing.
            let header = if addresses == V4 { 0..20 } else { 4..7 };
            for octet in header.chain(40..packet.len()) {
                for bit in 0..8 {
                    let mut packet = packet.clone();
                    packet[octet] ^= 1 << bit;
                    if let Frame::Tcp(tcp) = Frame::parse(link, &packet) {
                        let believed = tcp.is_header_intact() && tcp.is_segment_intact();
                        assert!(!believed || tcp.src != from, "octet {octet}, bit {bit}");
                    }
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
            assert!(matches!(Frame::parse(link, &packet), Frame::Other));
        }
        assert!(matches!(
            Frame::parse(Link::Ethernet, &[0; 60]),
            Frame::Other
        ));
        assert!(matches!(Frame::parse(Link::Ip, &[]), Frame::Other));
        assert!(matches!(
            Frame::parse(Link::Unsupported, &packet),
            Frame::Other
        ));
    }

    /// Who asks for a neighbour's address cannot send yet, over either protocol.
    #[test]
    fn neighbour_queries_are_recognised() {
        let mut arp = [0; 42];
        arp[12..14].copy_from_slice(&[0x08, 0x06]);
        assert!(matches!(
            Frame::parse(Link::Ethernet, &arp),
            Frame::NeighborQuery
        ));
        let mut solicitation = [0; 64];
        solicitation[..8].copy_from_slice(&[0x60, 0, 0, 0, 0, 24, 58, 255]);
        solicitation[40] = 135;
        assert!(matches!(
            Frame::parse(Link::Ip, &solicitation),
            Frame::NeighborQuery
        ));
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

    /// Whatever the bytes, parsing ends and does not panic.
    #[test]
    fn any_bytes_at_all() {
        use proptest::prelude::*;
        proptest!(|(bytes in proptest::collection::vec(any::<u8>(), 0..200))| {
            for link in [Link::Ethernet, Link::Ip, Link::Unknown, Link::Unsupported] {
                if let Frame::Tcp(tcp) = Frame::parse(link, &bytes) {
                    let _ = tcp.is_header_intact();
                    let _ = tcp.is_segment_intact();
                    prop_assert!(tcp.tcp_len() <= bytes.len());
                }
            }
        });
    }
}
