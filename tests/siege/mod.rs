//! A device and its server behind a switch, and an attacker beside them.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::cast_possible_truncation,
    unreachable_pub,
    reason = "a siege that fails should do so at once, and loudly"
)]

use std::rc::Rc;
use std::time::Duration;

use smoltcp::iface::SocketHandle;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::socket::tcp;
use smoltcp::wire::{
    EthernetAddress, EthernetFrame, EthernetProtocol, EthernetRepr, Icmpv4DstUnreachable,
    Icmpv4Packet, Icmpv4Repr, IpAddress, IpCidr, IpProtocol, Ipv4Packet, Ipv4Repr,
};
use tcp_keepalive::smoltcp::CloseReason;
use tcp_keepalive::{Config, Event, FailedAt, Instant, State};
use tcp_keepalive_sim::wire::{Macs, Segment, neighbor_reply};
use tcp_keepalive_sim::{Conditions, Host, Id, LinkId, Peer, Rng, Switch, World};

/// The device's buffers.
pub const BUFFER: usize = 1024;
const DEVICE: u8 = 1;
const SERVER: u8 = 2;
const ATTACKER: u8 = 66;
const PORT: u16 = 49_152;

pub const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

pub const fn ms(count: u64) -> Duration {
    Duration::from_millis(count)
}

pub const fn address(last: u8) -> IpAddress {
    IpAddress::v4(192, 0, 2, last)
}

pub fn config(idle: u64, interval: u64, count: u8) -> Config {
    Config::new(secs(idle), secs(interval), count).unwrap()
}

/// What the connections here have, if nothing else is said. smoltcp remembers a neighbour for longer
/// than that takes: no probe has to wait for an address.
pub fn patient() -> Config {
    config(30, 5, 5)
}

/// How long its verdict takes.
pub const DETECTION: Duration = secs(55);

/// What is sent in the server's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attack {
    /// Acknowledgements with any numbers.
    BlindAcks,
    /// The right sequence number, and any acknowledgement.
    HalfBlindAck,
    /// The right acknowledgement, and any sequence number.
    HalfBlindSeq,
    /// The numbers of long ago.
    Stale,
    /// Data with any numbers.
    BlindData,
    /// A keep-alive of the server's, but for its acknowledgement.
    KeepAlives,
    BlindResets,
    BlindSyns,
    BlindFins,
    /// No acknowledgement at all, at the right sequence number.
    NoAck,
    /// All is right but the checksum.
    Damaged,
    /// The same with more octets than are verified: it counts for its numbers (K18).
    LongDamaged,
    /// The peer, or its port, cannot be reached (MUST-56).
    Unreachable,
    /// No frame at all.
    Garbage,
    /// A reset somewhere in the window: smoltcp believes it.
    ResetsInWindow,
    /// The reset at RCV.NXT: everybody believes it.
    RightReset,
    /// A sender who knows both numbers cannot be told from the peer.
    RightNumbers,
}

/// Those that are to have no effect.
pub const ATTACKS: [Attack; 13] = [
    Attack::BlindAcks,
    Attack::HalfBlindAck,
    Attack::HalfBlindSeq,
    Attack::Stale,
    Attack::BlindData,
    Attack::KeepAlives,
    Attack::BlindResets,
    Attack::BlindSyns,
    Attack::BlindFins,
    Attack::NoAck,
    Attack::Damaged,
    Attack::Unreachable,
    Attack::Garbage,
];

pub struct Lan {
    pub world: World,
    pub device: Id<Host>,
    pub server: Id<Peer>,
    pub attacker: Id<Peer>,
    /// The device's.
    pub link: LinkId,
    pub handle: SocketHandle,
}

impl Lan {
    /// A connection that was kept alive from before it was opened.
    pub fn new(config: Config) -> Self {
        Self::build(false, Some(config))
    }

    /// The same with smoltcp alone.
    pub fn plain(config: Config) -> Self {
        Self::build(true, Some(config))
    }

    /// A connection that is not kept alive yet, and has been silent since its handshake.
    pub fn connected_only() -> Self {
        Self::build(false, None)
    }

    fn build(plain: bool, config: Option<Config>) -> Self {
        let mut world = World::new(1);
        let switch = world.add("switch", Switch::new());
        let device = Host::ethernet(IpCidr::new(address(DEVICE), 24)).random_seed(5);
        let device = if plain { device.plain() } else { device };
        let device = world.add("device", device);
        let server = world.add("server", Peer::ethernet(address(SERVER)));
        let attacker = world.add("attacker", Peer::ethernet(address(ATTACKER)));
        let wire = || Conditions::ideal().latency(ms(1));
        let link = world.link(device, switch, wire()).unwrap();
        world.link(server, switch, wire()).unwrap();
        world.link(attacker, switch, wire()).unwrap();
        let host = &mut world[device];
        let handle = host.add_tcp_socket(BUFFER, BUFFER);
        if let Some(config) = config {
            host.keep_alive.enable(handle, config).unwrap();
        }
        let socket = host.sockets.get_mut::<tcp::Socket>(handle);
        let context = host.iface.context();
        socket.connect(context, (address(SERVER), 7), PORT).unwrap();
        world.run_for(secs(2)).unwrap();
        let mut lan = Self {
            world,
            device,
            server,
            attacker,
            link,
            handle,
        };
        assert_eq!(lan.tcp_state(), tcp::State::Established);
        lan
    }

    /// The segment that the server would send now.
    pub fn genuine(&self) -> Segment {
        self.world[self.server].next_segment(0).unwrap()
    }

    pub fn forge(&mut self, segment: &Segment) {
        self.world[self.attacker].forge(segment);
    }

    pub fn forge_at(&mut self, at: Instant, segment: &Segment) {
        let frame = self.world[self.attacker].frame(segment);
        self.inject_at(at, frame);
    }

    fn inject_at(&mut self, at: Instant, frame: Vec<u8>) {
        let attacker = self.attacker;
        let at = at.max(self.world.now());
        let plan = move |world: &mut World| {
            world[attacker].inject(frame);
            Ok(())
        };
        self.world.at(at, plan).unwrap();
    }

    /// So many frames, evenly over that time from now on.
    pub fn besiege(&mut self, attack: Attack, count: u32, over: Duration) {
        let genuine = self.genuine();
        let mut rng = Rng::new(0x5eed);
        for number in 0..count {
            let frame = self.frame_of(attack, &genuine, &mut rng);
            let at = self.world.now().saturating_add(over / count * number);
            self.inject_at(at, frame);
        }
    }

    fn frame_of(&self, attack: Attack, genuine: &Segment, rng: &mut Rng) -> Vec<u8> {
        let mut segment = genuine.clone();
        // Far from the right one, whatever is drawn.
        let mut off = || (rng.next_u64() as u32 % 0xffff_0000) + 0x8000;
        let (seq, ack) = (off(), off());
        let right = (genuine.seq, genuine.ack.unwrap());
        let any = (right.0.wrapping_add(seq), right.1.wrapping_add(ack));
        let set = |segment: &mut Segment, (seq, ack): (u32, u32)| {
            segment.seq = seq;
            segment.ack = Some(ack);
        };
        match attack {
            Attack::BlindAcks => set(&mut segment, any),
            Attack::HalfBlindAck => set(&mut segment, (right.0, any.1)),
            Attack::HalfBlindSeq => set(&mut segment, (any.0, right.1)),
            Attack::Stale => {
                let age = 100_000 + seq % 10_000_000;
                let old = |number: u32| number.wrapping_sub(age);
                set(&mut segment, (old(right.0), old(right.1)));
            }
            Attack::BlindData => {
                set(&mut segment, any);
                segment.payload = vec![b'x'; (seq % 300) as usize];
            }
            Attack::KeepAlives => set(&mut segment, (right.0.wrapping_sub(1), any.1)),
            Attack::BlindResets => {
                set(&mut segment, any);
                segment.rst = true;
            }
            Attack::BlindSyns => {
                segment.seq = any.0;
                segment.ack = None;
                segment.syn = true;
            }
            Attack::BlindFins => {
                set(&mut segment, any);
                segment.fin = true;
            }
            Attack::NoAck => segment.ack = None,
            Attack::Damaged => segment.checksum_ok = false,
            Attack::LongDamaged => {
                segment.payload = vec![b'x'; 400];
                segment.checksum_ok = false;
            }
            Attack::Unreachable => return self.unreachable(genuine),
            Attack::Garbage => {
                let octets = (0..60).map(|_| rng.next_u64() as u8);
                let mut frame: Vec<u8> = octets.collect();
                frame[..12].copy_from_slice(&self.macs_in_a_row());
                return frame;
            }
            Attack::ResetsInWindow => {
                segment.rst = true;
                segment.seq = right.0.wrapping_add(seq % BUFFER as u32);
            }
            Attack::RightReset => segment.rst = true,
            Attack::RightNumbers => {}
        }
        self.world[self.attacker].frame(&segment)
    }

    fn macs(&self) -> Macs {
        Macs {
            src: self.world[self.attacker].mac(),
            dst: mac(DEVICE),
        }
    }

    fn macs_in_a_row(&self) -> [u8; 12] {
        let Macs { src, dst } = self.macs();
        let mut both = [0; 12];
        both[..6].copy_from_slice(&dst.0);
        both[6..].copy_from_slice(&src.0);
        both
    }

    /// A router's word that the server cannot be reached, about the device's last segment.
    fn unreachable(&self, genuine: &Segment) -> Vec<u8> {
        let (IpAddress::Ipv4(device), IpAddress::Ipv4(server)) = (address(DEVICE), address(SERVER))
        else {
            unreachable!("they are IPv4 addresses");
        };
        let mut quoted = [0; 8];
        quoted[..2].copy_from_slice(&PORT.to_be_bytes());
        quoted[2..4].copy_from_slice(&7_u16.to_be_bytes());
        quoted[4..].copy_from_slice(&genuine.ack.unwrap().to_be_bytes());
        let header = Ipv4Repr {
            src_addr: device,
            dst_addr: server,
            next_header: IpProtocol::Tcp,
            payload_len: 20,
            hop_limit: 64,
        };
        let icmp = Icmpv4Repr::DstUnreachable {
            reason: Icmpv4DstUnreachable::HostUnreachable,
            header,
            data: &quoted,
        };
        let ip = Ipv4Repr {
            src_addr: server,
            dst_addr: device,
            next_header: IpProtocol::Icmp,
            payload_len: icmp.buffer_len(),
            hop_limit: 64,
        };
        let checksums = ChecksumCapabilities::default();
        let Macs { src, dst } = self.macs();
        let ethernet = EthernetRepr {
            src_addr: src,
            dst_addr: dst,
            ethertype: EthernetProtocol::Ipv4,
        };
        let mut frame = vec![0; 14 + ip.buffer_len() + icmp.buffer_len()];
        ethernet.emit(&mut EthernetFrame::new_unchecked(&mut frame));
        ip.emit(&mut Ipv4Packet::new_unchecked(&mut frame[14..]), &checksums);
        let payload = &mut frame[14 + ip.buffer_len()..];
        icmp.emit(&mut Icmpv4Packet::new_unchecked(payload), &checksums);
        frame
    }

    /// An attacker says that the server has his hardware address.
    pub fn poison_at(&mut self, at: Instant) {
        let reply = neighbor_reply(address(SERVER), address(DEVICE), self.macs());
        self.inject_at(at, reply);
    }

    /// When the device asked for the server's address, and when it sent segments to that address and to
    /// the attacker's.
    pub fn asked(&self) -> [Vec<Instant>; 3] {
        let frames = self.world.trace().frames();
        let ours = frames.filter(|sent| sent.from == self.device.into());
        let mut all = [Vec::new(), Vec::new(), Vec::new()];
        for sent in ours {
            let is_segment = sent.kind.tcp().is_some();
            if sent.kind.is_neighbor_query() {
                all[0].push(sent.at);
            } else if is_segment && sent.bytes[..6] == mac(SERVER).0 {
                all[1].push(sent.at);
            } else if is_segment && sent.bytes[..6] == mac(ATTACKER).0 {
                all[2].push(sent.at);
            }
        }
        all
    }

    /// Where the verdict says that the probes failed.
    pub fn failed_at(&self) -> Option<FailedAt> {
        match self.close_reason()? {
            CloseReason::KeepAlive(verdict) => Some(verdict.failed_at),
            _ => None,
        }
    }

    /// When the server was given up.
    pub fn verdict(&self) -> Option<Instant> {
        let events = self.world[self.device].events();
        let mut verdicts = events
            .iter()
            .filter(|(_, _, event)| matches!(event, Event::TimedOut(_)));
        verdicts.next().map(|(at, _, _)| *at)
    }

    pub fn last_heard(&self) -> Instant {
        let keep_alive = &self.world[self.device].keep_alive;
        let heard = keep_alive.last_heard(self.handle).unwrap();
        Instant::from_micros(u64::try_from(heard.total_micros()).unwrap())
    }

    pub fn state(&self) -> Option<State> {
        self.world[self.device].keep_alive.state(self.handle)
    }

    pub fn close_reason(&self) -> Option<CloseReason> {
        self.world[self.device].keep_alive.close_reason(self.handle)
    }

    pub fn probes_sent(&self) -> u32 {
        let keep_alive = &self.world[self.device].keep_alive;
        keep_alive.stats(self.handle).unwrap().probes_sent
    }

    pub fn tcp_state(&mut self) -> tcp::State {
        let (device, handle) = (self.device, self.handle);
        self.world[device].tcp(handle).state()
    }

    /// How many frames the attacker has sent.
    pub fn forged(&self) -> usize {
        let frames = self.world.trace().frames();
        frames
            .filter(|sent| sent.from == self.attacker.into())
            .count()
    }

    /// What the device has sent, and when.
    pub fn sent(&self) -> Vec<(Instant, Rc<[u8]>)> {
        let frames = self.world.trace().frames();
        let ours = frames.filter(|sent| sent.from == self.device.into());
        ours.map(|sent| (sent.at, Rc::clone(&sent.bytes))).collect()
    }
}

/// The hardware address of a node with an address of its own.
fn mac(last: u8) -> EthernetAddress {
    Peer::ethernet(address(last)).mac()
}
