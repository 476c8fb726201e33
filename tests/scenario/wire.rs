//! Frames, taken apart and put together by means of smoltcp's wire formats: an opinion
//! independent of the parser under test.

use std::fmt;

use smoltcp::phy::{ChecksumCapabilities, Medium};
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol,
    EthernetRepr, Icmpv6Packet, Icmpv6Repr, IpAddress, IpProtocol, IpRepr, Ipv4Packet, Ipv6Packet,
    NdiscNeighborFlags, NdiscRepr, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber, TcpTimestampRepr,
};

/// What a frame is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// "Who has that address?", by ARP or NDISC.
    NeighborQuery,
    /// "I have."
    NeighborReply,
    Tcp(Segment),
    Other,
}

/// A TCP segment, and as much of its wrapping as matters.
#[expect(
    clippy::struct_excessive_bools,
    reason = "that is what a TCP header is made of"
)]
#[derive(Clone, PartialEq, Eq)]
pub struct Segment {
    pub src_port: u16,
    pub dst_port: u16,
    pub seq: u32,
    pub ack: Option<u32>,
    pub window: u16,
    pub syn: bool,
    pub fin: bool,
    pub rst: bool,
    pub psh: bool,
    pub payload: Vec<u8>,
    pub timestamps: Option<(u32, u32)>,
    pub window_scale: Option<u8>,
    pub hop_limit: u8,
    /// The checksums are right, or are to be made right.
    pub checksum_ok: bool,
    pub ip_checksum_ok: bool,
}

impl Segment {
    /// The sequence number after this segment.
    pub fn end(&self) -> u32 {
        let len = u32::try_from(self.payload.len()).unwrap();
        self.seq
            .wrapping_add(len)
            .wrapping_add(u32::from(self.syn))
            .wrapping_add(u32::from(self.fin))
    }

    /// Nothing but an acknowledgement.
    pub fn is_pure_ack(&self) -> bool {
        self.ack.is_some() && self.payload.is_empty() && !self.syn && !self.fin && !self.rst
    }
}

impl fmt::Debug for Segment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}>{} ", self.src_port, self.dst_port)?;
        let flags = [
            (self.syn, "SYN "),
            (self.fin, "FIN "),
            (self.rst, "RST "),
            (self.psh, "PSH "),
        ];
        for (is_set, name) in flags {
            f.write_str(if is_set { name } else { "" })?;
        }
        write!(f, "seq {}", self.seq)?;
        if let Some(ack) = self.ack {
            write!(f, " ack {ack}")?;
        }
        write!(f, " win {} len {}", self.window, self.payload.len())?;
        if let Some((tsval, tsecr)) = self.timestamps {
            write!(f, " ts {tsval}/{tsecr}")?;
        }
        f.write_str(if self.checksum_ok {
            ""
        } else {
            " BAD CHECKSUM"
        })
    }
}

pub fn parse(medium: Medium, frame: &[u8]) -> Kind {
    parse_link(medium, frame).unwrap_or(Kind::Other)
}

fn parse_link(medium: Medium, frame: &[u8]) -> Option<Kind> {
    if medium != Medium::Ethernet {
        return parse_ip(frame);
    }
    let ethernet = EthernetFrame::new_checked(frame).ok()?;
    match ethernet.ethertype() {
        EthernetProtocol::Arp => {
            let arp = ArpPacket::new_checked(ethernet.payload()).ok()?;
            Some(match arp.operation() {
                ArpOperation::Request => Kind::NeighborQuery,
                _ => Kind::NeighborReply,
            })
        }
        EthernetProtocol::Ipv4 | EthernetProtocol::Ipv6 => parse_ip(ethernet.payload()),
        EthernetProtocol::Unknown(_) => None,
    }
}

fn parse_ip(packet: &[u8]) -> Option<Kind> {
    match packet.first()? >> 4 {
        4 => {
            let ip = Ipv4Packet::new_checked(packet).ok()?;
            if ip.next_header() != IpProtocol::Tcp {
                return None;
            }
            let (src, dst) = (ip.src_addr().into(), ip.dst_addr().into());
            parse_tcp(ip.payload(), src, dst, ip.hop_limit(), ip.verify_checksum())
        }
        6 => {
            let ip = Ipv6Packet::new_checked(packet).ok()?;
            match ip.next_header() {
                IpProtocol::Tcp => {
                    let (src, dst) = (ip.src_addr().into(), ip.dst_addr().into());
                    parse_tcp(ip.payload(), src, dst, ip.hop_limit(), true)
                }
                IpProtocol::Icmpv6 => match ip.payload().first()? {
                    135 => Some(Kind::NeighborQuery),
                    136 => Some(Kind::NeighborReply),
                    _ => None,
                },
                _ => None,
            }
        }
        _ => None,
    }
}

fn parse_tcp(
    bytes: &[u8],
    src: IpAddress,
    dst: IpAddress,
    hop_limit: u8,
    ip_checksum_ok: bool,
) -> Option<Kind> {
    let tcp = TcpPacket::new_checked(bytes).ok()?;
    let repr = TcpRepr::parse(&tcp, &src, &dst, &ChecksumCapabilities::ignored()).ok()?;
    Some(Kind::Tcp(Segment {
        src_port: repr.src_port,
        dst_port: repr.dst_port,
        seq: repr.seq_number.0.cast_unsigned(),
        ack: repr.ack_number.map(|ack| ack.0.cast_unsigned()),
        window: repr.window_len,
        syn: tcp.syn(),
        fin: tcp.fin(),
        rst: tcp.rst(),
        psh: tcp.psh(),
        payload: repr.payload.to_vec(),
        timestamps: repr.timestamp.map(|ts| (ts.tsval, ts.tsecr)),
        window_scale: repr.window_scale,
        hop_limit,
        checksum_ok: tcp.verify_checksum(&src, &dst),
        ip_checksum_ok,
    }))
}

/// Who sends a frame to whom, and over what.
#[derive(Clone, Copy, Debug)]
pub struct Path {
    pub medium: Medium,
    pub src: IpAddress,
    pub dst: IpAddress,
    pub src_mac: EthernetAddress,
    pub dst_mac: EthernetAddress,
}

impl Path {
    pub fn reversed(self) -> Self {
        Self {
            medium: self.medium,
            src: self.dst,
            dst: self.src,
            src_mac: self.dst_mac,
            dst_mac: self.src_mac,
        }
    }

    /// The frame that carries `segment`.
    pub fn segment(&self, segment: &Segment) -> Vec<u8> {
        let tcp = TcpRepr {
            src_port: segment.src_port,
            dst_port: segment.dst_port,
            control: TcpControl::None,
            seq_number: TcpSeqNumber(segment.seq.cast_signed()),
            ack_number: segment.ack.map(|ack| TcpSeqNumber(ack.cast_signed())),
            window_len: segment.window,
            window_scale: segment.window_scale,
            max_seg_size: segment.syn.then_some(1400),
            sack_permitted: false,
            sack_ranges: [None; 3],
            timestamp: segment
                .timestamps
                .map(|(tsval, tsecr)| TcpTimestampRepr::new(tsval, tsecr)),
            payload: &segment.payload,
        };
        let checksums = ChecksumCapabilities::default();
        let len = tcp.buffer_len();
        let mut frame = self.ip(IpProtocol::Tcp, segment.hop_limit, len, |bytes| {
            let mut packet = TcpPacket::new_unchecked(bytes);
            tcp.emit(&mut packet, &self.src, &self.dst, &checksums);
            packet.set_syn(segment.syn);
            packet.set_fin(segment.fin);
            packet.set_rst(segment.rst);
            packet.set_psh(segment.psh);
            packet.fill_checksum(&self.src, &self.dst);
        });
        let tcp_at = frame.len() - len;
        if !segment.checksum_ok {
            frame[tcp_at + 16] ^= 0x55;
        }
        if !segment.ip_checksum_ok {
            frame[self.header_len() + 10] ^= 0x55;
        }
        frame
    }

    pub fn arp_reply(&self) -> Vec<u8> {
        let (IpAddress::Ipv4(src), IpAddress::Ipv4(dst)) = (self.src, self.dst) else {
            return self.neighbor_advert();
        };
        let arp = ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Reply,
            source_hardware_addr: self.src_mac,
            source_protocol_addr: src,
            target_hardware_addr: self.dst_mac,
            target_protocol_addr: dst,
        };
        self.ethernet(EthernetProtocol::Arp, arp.buffer_len(), |bytes| {
            arp.emit(&mut ArpPacket::new_unchecked(bytes));
        })
    }

    fn neighbor_advert(&self) -> Vec<u8> {
        let (IpAddress::Ipv6(src), IpAddress::Ipv6(dst)) = (self.src, self.dst) else {
            unreachable!("both ends speak the same version");
        };
        let advert = Icmpv6Repr::Ndisc(NdiscRepr::NeighborAdvert {
            flags: NdiscNeighborFlags::SOLICITED | NdiscNeighborFlags::OVERRIDE,
            target_addr: src,
            lladdr: Some(self.src_mac.into()),
        });
        self.ip(IpProtocol::Icmpv6, 255, advert.buffer_len(), |bytes| {
            let mut packet = Icmpv6Packet::new_unchecked(bytes);
            advert.emit(&src, &dst, &mut packet, &ChecksumCapabilities::default());
        })
    }

    fn header_len(&self) -> usize {
        if self.medium == Medium::Ethernet {
            14
        } else {
            0
        }
    }

    fn ip(
        &self,
        protocol: IpProtocol,
        hop_limit: u8,
        len: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Vec<u8> {
        let ip = IpRepr::new(self.src, self.dst, protocol, len, hop_limit);
        let ethertype = match self.src {
            IpAddress::Ipv4(_) => EthernetProtocol::Ipv4,
            IpAddress::Ipv6(_) => EthernetProtocol::Ipv6,
        };
        self.ethernet(ethertype, ip.buffer_len(), |bytes| {
            let (header, payload) = bytes.split_at_mut(ip.header_len());
            ip.emit(header, &ChecksumCapabilities::default());
            fill(payload);
        })
    }

    fn ethernet(
        &self,
        ethertype: EthernetProtocol,
        len: usize,
        fill: impl FnOnce(&mut [u8]),
    ) -> Vec<u8> {
        let header_len = self.header_len();
        let mut frame = vec![0; header_len + len];
        if header_len > 0 {
            EthernetRepr {
                src_addr: self.src_mac,
                dst_addr: self.dst_mac,
                ethertype,
            }
            .emit(&mut EthernetFrame::new_unchecked(&mut frame));
        }
        fill(&mut frame[header_len..]);
        frame
    }
}
