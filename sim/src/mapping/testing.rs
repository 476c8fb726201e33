//! What the tests of several middleboxes need.

use ::smoltcp::iface::SocketHandle;
use ::smoltcp::socket::tcp;
use ::smoltcp::wire::{EthernetAddress, IpAddress, IpCidr};

use super::super::wire::neighbor_reply;
use super::super::{Conditions, Host, Id, Node, Peer, Rng, Room, World};
use super::*;
use crate::Config;

/// Device, middlebox and peer in a row, 10 ms apart, bare IP, and a connection between them.
#[derive(Debug)]
pub(in super::super) struct Path<N> {
    pub(in super::super) world: World,
    pub(in super::super) device: Id<Host>,
    pub(in super::super) middle: Id<N>,
    pub(in super::super) peer: Id<Peer>,
    handle: SocketHandle,
}

const LATENCY: Duration = Duration::from_millis(10);

impl<N: Node> Path<N> {
    pub(in super::super) const PEER: IpAddress = IpAddress::v4(198, 51, 100, 7);

    pub(in super::super) fn through(middle: N, keep_alive: Option<Config>) -> Self {
        let mut world = World::new(1);
        let address = IpCidr::new(IpAddress::v4(192, 168, 0, 2), 24);
        let device = Host::ip(address).gateway(IpAddress::v4(192, 168, 0, 1));
        let device = world.add("device", device);
        let middle = world.add("middle", middle);
        let peer = world.add("peer", Peer::ip(Self::PEER));
        let conditions = Conditions::ideal().latency(LATENCY);
        world.link(device, middle, conditions.clone()).unwrap();
        world.link(middle, peer, conditions).unwrap();
        let server = IpEndpoint::new(Self::PEER, 7);
        let handle = connect(&mut world, device, keep_alive, server);
        world.run_for(Duration::from_secs(1)).unwrap();
        let mut path = Self {
            world,
            device,
            middle,
            peer,
            handle,
        };
        assert_eq!(path.device_socket().state(), tcp::State::Established);
        path
    }

    /// One more connection.
    pub(in super::super) fn connect(&mut self, keep_alive: Option<Config>) -> SocketHandle {
        let server = IpEndpoint::new(Self::PEER, 7);
        connect(&mut self.world, self.device, keep_alive, server)
    }

    pub(in super::super) fn device_socket(&mut self) -> &mut tcp::Socket<'static> {
        self.world[self.device].tcp(self.handle)
    }

    /// When the middlebox last passed something on.
    pub(in super::super) fn last_passed(&self) -> Instant {
        let middle = self.middle.into();
        let mut frames = self.world.trace().frames();
        frames.rfind(|sent| sent.from == middle).unwrap().at
    }

    /// Waits until what is sent then reaches the middlebox `idle` after the last segment that
    /// it passed.
    pub(in super::super) fn idle(&mut self, idle: Duration) {
        let arrival = self.last_passed().saturating_add(idle);
        let departure = Instant::from_micros(arrival.as_micros() - 10_000);
        assert_eq!(departure.saturating_add(LATENCY), arrival);
        self.world.run_until(departure).unwrap();
    }

    /// Whether the peer has what the device says now.
    pub(in super::super) fn device_is_heard(&mut self) -> bool {
        let before = self.world[self.peer].connections[0].received.len();
        self.device_socket().send_slice(b"x").unwrap();
        self.world.run_for(Duration::from_millis(100)).unwrap();
        self.world[self.peer].connections[0].received.len() > before
    }

    /// Whether the device has what the peer says now.
    pub(in super::super) fn peer_is_heard(&mut self) -> bool {
        let before = self.device_socket().recv_queue();
        self.world[self.peer].say(0, 1).unwrap();
        self.world.run_for(Duration::from_millis(100)).unwrap();
        self.device_socket().recv_queue() > before
    }

    /// How many mappings have expired.
    pub(in super::super) fn expiries(&self) -> usize {
        let notes = self.world.trace().notes();
        notes
            .filter(|note| matches!(note.what, Happening::MappingExpired { .. }))
            .count()
    }

    /// The inside ends of those that made room for others.
    pub(in super::super) fn evicted(&self) -> Vec<IpEndpoint> {
        let notes = self.world.trace().notes();
        notes
            .filter_map(|note| match note.what {
                Happening::MappingEvicted { inside, .. } => Some(inside),
                _ => None,
            })
            .collect()
    }

    /// A SYN that the middlebox has no room for opens no mapping, and takes no other's place.
    pub(in super::super) fn try_without_room(&mut self) {
        self.world
            .set_room(self.middle, Room::NoneToTransmit)
            .unwrap();
        self.connect(None);
        self.world.run_for(Duration::from_millis(500)).unwrap();
        assert_eq!(self.evicted(), []);
        // What is sent again opens.
        self.world.set_room(self.middle, Room::Plenty).unwrap();
        self.world.run_for(Duration::from_secs(2)).unwrap();
        assert_eq!(self.evicted().len(), 1);
    }

    /// How many RSTs were sent to the peer.
    pub(in super::super) fn resets_to_peer(&self) -> usize {
        let frames = self.world.trace().frames();
        let to_peer = frames.filter(|sent| sent.to == self.peer.into());
        to_peer
            .filter(|sent| sent.kind.tcp().is_some_and(|segment| segment.rst))
            .count()
    }
}

/// The last idle time that a mapping survives, and the first that it does not.
pub(in super::super) fn around(timeout: Duration) -> [(Duration, bool); 2] {
    let last = timeout.saturating_sub(Duration::from_micros(1));
    [(last, true), (timeout, false)]
}

/// Has a host open a connection, each from a port of its own.
pub(in super::super) fn connect(
    world: &mut World,
    device: Id<Host>,
    keep_alive: Option<Config>,
    remote: IpEndpoint,
) -> SocketHandle {
    let host = &mut world[device];
    let port = 50_001 + u16::try_from(host.tcp_sockets().count()).unwrap();
    let handle = host.add_tcp_socket(1024, 1024);
    if let Some(config) = keep_alive {
        host.keep_alive.enable(handle, config).unwrap();
    }
    let socket = host.sockets.get_mut::<tcp::Socket<'_>>(handle);
    socket.connect(host.iface.context(), remote, port).unwrap();
    handle
}

/// Has each peer send all sorts of octets, some close to being a frame.
pub(in super::super) fn pour_noise(world: &mut World, peers: &[Id<Peer>], medium: Medium) {
    let mut rng = Rng::new(7);
    for _ in 0..300 {
        for peer in peers {
            for _ in 0..20 {
                let frame = noise(&mut rng, medium);
                world[*peer].inject(frame);
            }
        }
        world.run_for(Duration::from_millis(1)).unwrap();
    }
    let frames = world.trace().frames();
    let passed = frames.filter(|sent| !peers.iter().any(|peer| sent.from == (*peer).into()));
    let passed = passed.count();
    // Or else nothing was tried.
    assert!(passed > 100, "{passed} on {medium:?}");
}

fn noise(rng: &mut Rng, medium: Medium) -> Vec<u8> {
    let mut frame = match rng.below(4) {
        0 => {
            let len = rng.below(100);
            (0..len).map(|_| rng.next_u64() as u8).collect()
        }
        1 if medium == Medium::Ethernet => neighbor_reply(
            address(rng),
            address(rng),
            Macs {
                src: mac(rng),
                dst: mac(rng),
            },
        ),
        _ => some_segment(rng, medium),
    };
    // Half of them stay whole, so that some get far.
    let changes = rng.below(8).saturating_sub(4);
    for _ in 0..changes {
        let at = rng.below(60) as usize;
        if let Some(octet) = frame.get_mut(at) {
            *octet = rng.next_u64() as u8;
        }
    }
    if rng.below(4) == 0 {
        frame.truncate(rng.below(80) as usize);
    }
    frame
}

fn some_segment(rng: &mut Rng, medium: Medium) -> Vec<u8> {
    let mut peer = Peer::ip(address(rng));
    let index = peer.connect(address(rng), rng.within(1024..=1030) as u16, false);
    let mut segment = peer.next_segment(index).unwrap();
    segment.src_port = rng.within(1..=3) as u16;
    segment.syn = rng.below(2) == 0;
    segment.fin = rng.below(4) == 0;
    segment.rst = rng.below(8) == 0;
    segment.ack = segment.ack.filter(|_| rng.below(2) == 0);
    segment.emit((medium == Medium::Ethernet).then(|| Macs {
        src: mac(rng),
        dst: mac(rng),
    }))
}

/// One of those that mean something in the tests, or close to them.
fn address(rng: &mut Rng) -> IpAddress {
    let known = [[192, 168, 0, 2], [198, 51, 100, 7], [203, 0, 113, 1]];
    let [a, b, c, d] = *rng.pick(&known).unwrap();
    IpAddress::v4(a, b, c, d)
}

fn mac(rng: &mut Rng) -> EthernetAddress {
    let known = [
        [2, 0, 192, 168, 0, 2],
        [2, 0, 198, 51, 100, 7],
        // Of the NAT: outside, and inside.
        [2, 0, 203, 0, 113, 1],
        [2, 1, 203, 0, 113, 1],
    ];
    EthernetAddress(*rng.pick(&known).unwrap())
}
