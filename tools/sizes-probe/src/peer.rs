//! A device with a peer behind it, who answers what it is sent.

use smoltcp::phy::{ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;
use smoltcp::wire::{
    ArpOperation, ArpPacket, ArpRepr, EthernetAddress, EthernetFrame, EthernetProtocol,
    EthernetRepr, IpAddress, IpProtocol, Ipv4Address, Ipv4Packet, Ipv4Repr, TcpControl, TcpPacket,
    TcpRepr, TcpSeqNumber,
};

use crate::app::{OUR_ADDR, OUR_MAC, PORT};

const MAX_FRAME: usize = 1514;
const HEADERS: usize = 14 + 20 + 20;
pub(crate) const MAX_SEGMENT: usize = MAX_FRAME - HEADERS;
const FRAMES: usize = 8;
const MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 2]);
const ADDR: Ipv4Address = Ipv4Address::new(192, 0, 2, 2);
static PAYLOAD: [u8; MAX_SEGMENT] = [0xa5; MAX_SEGMENT];

pub(crate) struct Peer {
    /// One that is not there does not even tell its address.
    pub(crate) is_there: bool,
    /// A dead one says nothing else.
    pub(crate) is_alive: bool,
    /// How often it was reset, or would have been had it been alive.
    pub(crate) resets: u32,
    port: u16,
    snd_nxt: TcpSeqNumber,
    rcv_nxt: TcpSeqNumber,
    to_us: Frames,
    from_us: Frames,
}

impl Peer {
    pub(crate) fn new() -> Self {
        Self {
            is_there: true,
            is_alive: true,
            resets: 0,
            port: 49152,
            snd_nxt: TcpSeqNumber(0x1234_5678),
            rcv_nxt: TcpSeqNumber(0),
            to_us: Frames::new(),
            from_us: Frames::new(),
        }
    }

    pub(crate) fn connect(&mut self) {
        self.port += 1;
        self.send(TcpControl::Syn, 0);
    }

    pub(crate) fn write(&mut self, len: usize) {
        self.send(TcpControl::Psh, len);
    }

    pub(crate) fn has_frames(&self) -> bool {
        self.to_us.count > 0
    }

    /// Answers what has left since.
    pub(crate) fn react(&mut self) {
        let mut buffer = [0; MAX_FRAME];
        while let Some(frame) = self.from_us.pop() {
            let copy = &mut buffer[..frame.len()];
            copy.copy_from_slice(frame);
            let frame = EthernetFrame::new_checked(copy).expect("it is whole");
            match frame.ethertype() {
                EthernetProtocol::Arp if self.is_there => self.send_address(),
                EthernetProtocol::Ipv4 => self.take(frame.into_inner()),
                _ => {}
            }
        }
    }

    fn take(&mut self, frame: &[u8]) {
        let ip = Ipv4Packet::new_checked(&frame[14..]).expect("it is whole");
        let tcp = TcpPacket::new_checked(ip.payload()).expect("it is whole");
        self.resets += u32::from(tcp.rst());
        if !self.is_alive || tcp.dst_port() != self.port || tcp.rst() {
            return;
        }
        let end = tcp.seq_number() + tcp.segment_len();
        let is_probe = !tcp.syn() && tcp.seq_number() < self.rcv_nxt;
        if tcp.syn() || end > self.rcv_nxt {
            self.rcv_nxt = end;
        }
        if is_probe || tcp.segment_len() > 0 {
            self.send(TcpControl::None, 0);
        }
    }

    fn send_address(&mut self) {
        let IpAddress::Ipv4(target_protocol_addr) = OUR_ADDR;
        let arp = ArpRepr::EthernetIpv4 {
            operation: ArpOperation::Reply,
            source_hardware_addr: MAC,
            source_protocol_addr: ADDR,
            target_hardware_addr: OUR_MAC,
            target_protocol_addr,
        };
        let frame = self.to_us.push(14 + arp.buffer_len());
        let payload = ethernet(EthernetProtocol::Arp, frame);
        arp.emit(&mut ArpPacket::new_unchecked(payload));
    }

    fn send(&mut self, control: TcpControl, len: usize) {
        let is_syn = control == TcpControl::Syn;
        let tcp = TcpRepr {
            src_port: self.port,
            dst_port: PORT,
            control,
            seq_number: self.snd_nxt,
            ack_number: (!is_syn).then_some(self.rcv_nxt),
            window_len: u16::MAX,
            window_scale: None,
            max_seg_size: is_syn.then_some(1460),
            sack_permitted: false,
            sack_ranges: [None; 3],
            timestamp: None,
            payload: &PAYLOAD[..len],
        };
        self.snd_nxt += tcp.segment_len();
        let IpAddress::Ipv4(dst_addr) = OUR_ADDR;
        let ip = Ipv4Repr {
            src_addr: ADDR,
            dst_addr,
            next_header: IpProtocol::Tcp,
            payload_len: tcp.buffer_len(),
            hop_limit: 64,
        };
        let checksums = ChecksumCapabilities::default();
        let frame = self.to_us.push(14 + ip.buffer_len() + tcp.buffer_len());
        let packet = ethernet(EthernetProtocol::Ipv4, frame);
        ip.emit(&mut Ipv4Packet::new_unchecked(&mut *packet), &checksums);
        tcp.emit(
            &mut TcpPacket::new_unchecked(&mut packet[ip.buffer_len()..]),
            &ADDR.into(),
            &OUR_ADDR,
            &checksums,
        );
    }
}

fn ethernet(ethertype: EthernetProtocol, frame: &mut [u8]) -> &mut [u8] {
    EthernetRepr {
        src_addr: MAC,
        dst_addr: OUR_MAC,
        ethertype,
    }
    .emit(&mut EthernetFrame::new_unchecked(&mut *frame));
    &mut frame[14..]
}

/// Frames on their way, in order.
struct Frames {
    ring: [(usize, [u8; MAX_FRAME]); FRAMES],
    first: usize,
    count: usize,
}

impl Frames {
    const fn new() -> Self {
        Self {
            ring: [(0, [0; MAX_FRAME]); FRAMES],
            first: 0,
            count: 0,
        }
    }

    fn push(&mut self, len: usize) -> &mut [u8] {
        assert!(self.count < FRAMES, "there is room");
        let (of, frame) = &mut self.ring[(self.first + self.count) % FRAMES];
        self.count += 1;
        *of = len;
        &mut frame[..len]
    }

    #[inline]
    fn pop(&mut self) -> Option<&[u8]> {
        self.count = self.count.checked_sub(1)?;
        let (len, frame) = &self.ring[self.first];
        self.first = (self.first + 1) % FRAMES;
        Some(&frame[..*len])
    }
}

pub(crate) struct Arrived<'a>(&'a [u8]);
pub(crate) struct Departing<'a>(&'a mut Frames);

impl Device for Peer {
    type RxToken<'a> = Arrived<'a>;
    type TxToken<'a> = Departing<'a>;

    #[inline]
    fn receive(&mut self, _: Instant) -> Option<(Arrived<'_>, Departing<'_>)> {
        if self.from_us.count == FRAMES {
            return None;
        }
        Some((Arrived(self.to_us.pop()?), Departing(&mut self.from_us)))
    }

    #[inline]
    fn transmit(&mut self, _: Instant) -> Option<Departing<'_>> {
        (self.from_us.count < FRAMES).then_some(Departing(&mut self.from_us))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = MAX_FRAME;
        capabilities
    }
}

impl RxToken for Arrived<'_> {
    #[inline]
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(self.0)
    }
}

impl TxToken for Departing<'_> {
    #[inline]
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        f(self.0.push(len))
    }
}
