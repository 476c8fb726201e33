//! Whatever arrives on an established connection, keep-alive changes nothing the peer can see
//! before it is due, and gives a verdict once it is.
//!
//! Two hosts are shown the same frames at the same times, one with keep-alive and one without.
//! They have to answer alike, octet for octet. Then the peer falls silent, and within the
//! detection time the first host has to be rid of the connection.
//!
//! `cargo +nightly fuzz run flow_and_tap`

#![no_main]

use std::collections::VecDeque;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{ChecksumCapabilities, Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{
    HardwareAddress, IpAddress, IpCidr, IpProtocol, Ipv4Address, Ipv4Packet, Ipv4Repr, TcpControl,
    TcpPacket, TcpRepr, TcpSeqNumber,
};
use tcp_keepalive::smoltcp::KeepAliveSet;
use tcp_keepalive::{Config as KeepAliveConfig, State};

const OURS: Ipv4Address = Ipv4Address::new(192, 0, 2, 1);
const PEER: Ipv4Address = Ipv4Address::new(192, 0, 2, 2);
const OUR_PORT: u16 = 49152;
const PEER_PORT: u16 = 7;
const PEER_ISN: TcpSeqNumber = TcpSeqNumber(-2);

/// Longer than all the steps together can take, waits of 65 s included.
const IDLE: core::time::Duration = core::time::Duration::from_secs(2 * 3600);
const INTERVAL: core::time::Duration = core::time::Duration::from_secs(10);
const COUNT: u8 = 3;
const MAX_STEPS: usize = 64;

#[derive(Arbitrary, Debug)]
enum Step {
    /// Anything at all.
    Frame(Vec<u8>),
    /// A segment on the connection, near to what is acceptable.
    Segment(Near),
    /// The application writes.
    Write(u8),
    /// Nothing arrives, and time passes.
    Wait { millis: u16 },
}

#[derive(Arbitrary, Debug)]
struct Near {
    seq: i16,
    ack: i16,
    control: u8,
    has_ack: bool,
    window: u16,
    timestamp: Option<(u32, u32)>,
    len: u8,
    /// An octet to damage, and how.
    damage: Option<(u8, u8)>,
}

fuzz_target!(|steps: Vec<Step>| {
    let mut plain = Host::new(None);
    let mut kept = Host::new(Some(Box::default()));
    let mut now = Instant::from_secs(1);
    plain.open(now);
    kept.open(now);
    for step in steps.iter().take(MAX_STEPS) {
        now += Duration::from_millis(1);
        let frame = match step {
            Step::Frame(frame) => Some(frame.clone()),
            Step::Segment(near) => Some(near.frame(kept.iss)),
            Step::Write(len) => {
                let data = vec![0x5a; usize::from(*len)];
                assert_eq!(
                    plain.socket().send_slice(&data),
                    kept.socket().send_slice(&data)
                );
                None
            }
            Step::Wait { millis } => {
                now += Duration::from_millis(u64::from(*millis));
                None
            }
        };
        for host in [&mut plain, &mut kept] {
            host.wire.inbound.extend(frame.clone());
            host.poll(now);
        }
        assert_eq!(plain.wire.outbound, kept.wire.outbound);
        assert_eq!(plain.socket().state(), kept.socket().state());
        plain.wire.outbound.clear();
        kept.wire.outbound.clear();
    }
    kept.outlive_the_peer(now);
});

impl Near {
    fn frame(&self, iss: TcpSeqNumber) -> Vec<u8> {
        let payload = vec![0xa5; usize::from(self.len)];
        let tcp = TcpRepr {
            src_port: PEER_PORT,
            dst_port: OUR_PORT,
            control: match self.control % 5 {
                0 => TcpControl::None,
                1 => TcpControl::Psh,
                2 => TcpControl::Syn,
                3 => TcpControl::Fin,
                _ => TcpControl::Rst,
            },
            seq_number: moved(PEER_ISN + 1, self.seq),
            ack_number: self.has_ack.then(|| moved(iss + 1, self.ack)),
            window_len: self.window,
            window_scale: None,
            max_seg_size: None,
            sack_permitted: false,
            sack_ranges: [None; 3],
            timestamp: self
                .timestamp
                .map(|(tsval, tsecr)| smoltcp::wire::TcpTimestampRepr::new(tsval, tsecr)),
            payload: &payload,
        };
        let mut frame = emit(&tcp);
        if let Some((at, xor)) = self.damage {
            let at = usize::from(at) % frame.len();
            frame[at] ^= xor;
        }
        frame
    }
}

fn moved(from: TcpSeqNumber, by: i16) -> TcpSeqNumber {
    TcpSeqNumber(from.0.wrapping_add(i32::from(by)))
}

fn emit(tcp: &TcpRepr<'_>) -> Vec<u8> {
    let checksums = ChecksumCapabilities::default();
    let ip = Ipv4Repr {
        src_addr: PEER,
        dst_addr: OURS,
        next_header: IpProtocol::Tcp,
        payload_len: tcp.buffer_len(),
        hop_limit: 64,
    };
    let mut frame = vec![0; ip.buffer_len() + tcp.buffer_len()];
    ip.emit(&mut Ipv4Packet::new_unchecked(&mut frame[..]), &checksums);
    tcp.emit(
        &mut TcpPacket::new_unchecked(&mut frame[ip.buffer_len()..]),
        &IpAddress::Ipv4(PEER),
        &IpAddress::Ipv4(OURS),
        &checksums,
    );
    frame
}

struct Host {
    iface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    wire: Wire,
    keep_alive: Option<Box<KeepAliveSet<1>>>,
    iss: TcpSeqNumber,
}

impl Host {
    fn new(mut keep_alive: Option<Box<KeepAliveSet<1>>>) -> Self {
        let mut wire = Wire::default();
        let mut iface = Interface::new(Config::new(HardwareAddress::Ip), &mut wire, Instant::ZERO);
        iface.update_ip_addrs(|addresses| {
            let address = IpCidr::new(IpAddress::Ipv4(OURS), 24);
            addresses.push(address).expect("there is room for one");
        });
        let buffer = || tcp::SocketBuffer::new(vec![0; 2048]);
        let mut sockets = SocketSet::new(Vec::new());
        let handle = sockets.add(tcp::Socket::new(buffer(), buffer()));
        if let Some(keep_alive) = &mut keep_alive {
            let config = KeepAliveConfig::new(IDLE, INTERVAL, COUNT)
                .and_then(|config| config.with_user_timeout(IDLE))
                .expect("the config is sensible");
            keep_alive
                .enable(handle, config)
                .expect("there is room for one");
        }
        Self {
            iface,
            sockets,
            handle,
            wire,
            keep_alive,
            iss: TcpSeqNumber(0),
        }
    }

    fn socket(&mut self) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    fn poll(&mut self, now: Instant) {
        let Self {
            iface,
            sockets,
            wire,
            keep_alive,
            ..
        } = self;
        match keep_alive {
            Some(keep_alive) => keep_alive.poll(now, iface, wire, sockets),
            None => iface.poll(now, wire, sockets),
        };
    }

    fn open(&mut self, now: Instant) {
        self.sockets
            .get_mut::<tcp::Socket>(self.handle)
            .connect(self.iface.context(), (PEER, PEER_PORT), OUR_PORT)
            .expect("a fresh socket can connect");
        self.poll(now);
        let syn = self.wire.outbound.pop().expect("there is a SYN");
        let ip = Ipv4Packet::new_checked(&syn[..]).expect("smoltcp sends whole packets");
        let tcp = TcpPacket::new_checked(ip.payload()).expect("smoltcp sends whole segments");
        self.iss = tcp.seq_number();
        self.wire.inbound.push_back(emit(&TcpRepr {
            src_port: PEER_PORT,
            dst_port: OUR_PORT,
            control: TcpControl::Syn,
            seq_number: PEER_ISN,
            ack_number: Some(self.iss + 1),
            window_len: 2048,
            window_scale: None,
            max_seg_size: None,
            sack_permitted: false,
            sack_ranges: [None; 3],
            timestamp: None,
            payload: &[],
        }));
        self.poll(now);
        assert_eq!(self.socket().state(), tcp::State::Established);
        self.wire.outbound.clear();
    }

    /// No frame arrives any more: the connection has to end, and polling has to come to rest.
    fn outlive_the_peer(&mut self, mut now: Instant) {
        // Due while busy, a probe is put off by an idle time; the user timeout is as long.
        let limit = now + Duration::from(IDLE * 3 + INTERVAL * (u32::from(COUNT) + 1));
        for _ in 0..10_000 {
            self.poll(now);
            self.wire.outbound.clear();
            let keep_alive = self.keep_alive.as_deref_mut().expect("this host has it");
            while keep_alive.poll_event().is_some() {}
            let Some(next) = keep_alive.poll_at(now, &mut self.iface, &self.sockets) else {
                break;
            };
            now = next.max(now + Duration::from_micros(1));
            if now > limit {
                break;
            }
        }
        let state = self
            .keep_alive
            .as_deref()
            .and_then(|keep_alive| keep_alive.state(self.handle));
        assert_ne!(state, Some(State::Armed), "after {now}");
        assert!(!matches!(state, Some(State::Probing { .. })), "after {now}");
    }
}

/// A device that keeps what is sent.
#[derive(Default)]
struct Wire {
    inbound: VecDeque<Vec<u8>>,
    outbound: Vec<Vec<u8>>,
}

impl Device for Wire {
    type RxToken<'a> = Arrived;
    type TxToken<'a> = Departing<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Arrived, Departing<'_>)> {
        let frame = self.inbound.pop_front()?;
        Some((Arrived(frame), Departing(&mut self.outbound)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Departing<'_>> {
        Some(Departing(&mut self.outbound))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = 1500;
        capabilities
    }
}

struct Arrived(Vec<u8>);

impl RxToken for Arrived {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

struct Departing<'a>(&'a mut Vec<Vec<u8>>);

impl TxToken for Departing<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.push(frame);
        result
    }
}
