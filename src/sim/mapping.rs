//! What a middlebox knows of the connections that pass through it.

use core::time::Duration;

use ::smoltcp::phy::Medium;
use ::smoltcp::wire::{EthernetFrame, IpEndpoint};

use super::node::Turn;
use super::trace::Happening;
use super::wire::{Macs, Segment};
use super::{Frame, Port};
use crate::Instant;

/// How long a connection may be idle, by where it is in its life, before a middlebox forgets it.
///
/// Idle is the time since the last segment was passed on, in either direction; a keep-alive probe
/// is a segment as any other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// From the SYN until the handshake's third segment.
    pub opening: Duration,
    /// From then on.
    pub established: Duration,
    /// After a FIN or an RST of either side. A connection whose RST was not taken (RFC 5961 3.2)
    /// is established again with the next segment.
    pub closing: Duration,
}

impl Timeouts {
    /// The least that RFC 5382 (REQ-5) allows a NAT: "the 'established connection idle-timeout'
    /// MUST NOT be less than 2 hours 4 minutes", and the "transitory" one, of connections that are
    /// opening or closing, not less than 4 minutes. RFC 7857 2.2 has it wait 4 minutes after an
    /// RST too.
    pub const RFC5382: Self = Self {
        opening: Duration::from_secs(240),
        established: Duration::from_secs(7440),
        closing: Duration::from_secs(240),
    };

    /// 350 s: the fixed idle timeout of an AWS NAT gateway (*Amazon VPC User Guide*,
    /// "Troubleshoot NAT gateways"), and the default of a Network Load Balancer. One timeout is
    /// published, and stands here for all three.
    pub const AWS: Self = Self::all(Duration::from_secs(350));

    /// 4 minutes: the default of Azure's load balancer and NAT gateway (*Azure Load Balancer TCP
    /// Reset and Idle Timeout*). One timeout is published, and stands here for all three.
    pub const AZURE: Self = Self::all(Duration::from_secs(240));

    /// The same for the whole life of a connection.
    #[must_use]
    pub const fn all(idle: Duration) -> Self {
        Self {
            opening: idle,
            established: idle,
            closing: idle,
        }
    }
}

/// What becomes of a segment whose connection is not, or no longer, known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// It is dropped, and its sender left to find out.
    Silently,
    /// It is answered with RST, in the name of whom it was for (RFC 9293 3.10.7.1). Nothing is
    /// sent at the moment at which a mapping expires.
    WithReset,
}

/// What a middlebox remembers of connections, and for how long: its mappings.
///
/// ```
/// use core::time::Duration;
/// use tcp_keepalive::sim::{Expiry, Mappings, Timeouts};
///
/// let home_router = Mappings {
///     timeouts: Timeouts::all(Duration::from_secs(60)),
///     ..Mappings::RFC5382
/// };
/// assert_eq!(home_router.expiry, Expiry::Silently);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mappings {
    /// How long.
    pub timeouts: Timeouts,
    /// What comes after.
    pub expiry: Expiry,
    /// How many connections, at least one. If one more is opened, that which has been idle
    /// longest goes.
    pub limit: usize,
}

impl Mappings {
    /// How many connections the presets remember.
    pub const LIMIT: usize = 1024;

    /// As RFC 5382 wants it: [`Timeouts::RFC5382`], silently.
    pub const RFC5382: Self = Self::new(Timeouts::RFC5382, Expiry::Silently);

    /// [`Timeouts::AWS`]; then, as the same pages say, an RST to whoever goes on, and nothing
    /// before that.
    pub const AWS: Self = Self::new(Timeouts::AWS, Expiry::WithReset);

    /// [`Timeouts::AZURE`]; the load balancer's "default behavior is to silently drop flows when
    /// the idle timeout of a flow is reached". (It can be told to reset them, and the NAT gateway
    /// does: that is [`Expiry::WithReset`].)
    pub const AZURE: Self = Self::new(Timeouts::AZURE, Expiry::Silently);

    /// Up to [`LIMIT`](Self::LIMIT) connections, for so long.
    #[must_use]
    pub const fn new(timeouts: Timeouts, expiry: Expiry) -> Self {
        Self {
            timeouts,
            expiry,
            limit: Self::LIMIT,
        }
    }
}

/// A side of a middlebox: its first port, or its second.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    Inside,
    Outside,
}

impl Side {
    pub(super) const fn index(self) -> usize {
        match self {
            Self::Inside => 0,
            Self::Outside => 1,
        }
    }

    pub(super) const fn other(self) -> Self {
        match self {
            Self::Inside => Self::Outside,
            Self::Outside => Self::Inside,
        }
    }

    fn port<'t>(self, turn: &'t mut Turn<'_>) -> Option<&'t mut Port> {
        turn.ports.get_mut(self.index())
    }

    /// Sends a frame there.
    pub(super) fn send(self, turn: &mut Turn<'_>, bytes: Vec<u8>) -> Result<(), &'static str> {
        let port = self.port(turn).ok_or("nothing is linked there")?;
        let was_room = port.send_frame(bytes);
        was_room.then_some(()).ok_or("no room to send it")
    }
}

/// Hands over all that has arrived, the inside's first, and has the trace know why a frame goes no
/// further.
pub(super) fn take_all(
    turn: &mut Turn<'_>,
    mut take: impl FnMut(Side, &Frame, &mut Turn<'_>) -> Result<(), &'static str>,
) {
    for side in [Side::Inside, Side::Outside] {
        while let Some(frame) = side.port(turn).and_then(Port::receive_frame) {
            if let Err(why) = take(side, &frame, turn) {
                turn.refuse(frame.id, why);
            }
        }
    }
}

/// Which connection, by what its ends call themselves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Connection {
    pub(super) inside: IpEndpoint,
    pub(super) outside: IpEndpoint,
}

impl Connection {
    /// That of a segment which came from there.
    pub(super) fn of(segment: &Segment, from: Side) -> Self {
        let src = IpEndpoint::new(segment.src_addr, segment.src_port);
        let dst = IpEndpoint::new(segment.dst_addr, segment.dst_port);
        let (inside, outside) = match from {
            Side::Inside => (src, dst),
            Side::Outside => (dst, src),
        };
        Self { inside, outside }
    }
}

/// It opens a connection, and can be believed.
pub(super) const fn is_opening(segment: &Segment) -> bool {
    is_intact(segment) && segment.syn && segment.ack.is_none() && !segment.rst && !segment.fin
}

/// Of a damaged segment nothing can be believed.
const fn is_intact(segment: &Segment) -> bool {
    segment.checksum_ok && segment.ip_checksum_ok
}

/// The connections that are known, in the order in which they were opened.
#[derive(Clone, Debug)]
pub(super) struct Table {
    rules: Mappings,
    entries: Vec<Mapping>,
}

#[derive(Clone, Copy, Debug)]
struct Mapping {
    connection: Connection,
    /// The inside end's port, as the outside knows it.
    public_port: u16,
    phase: Phase,
    last_passed: Instant,
}

/// Where a connection is in its life, as far as can be seen in passing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Opening { by: Side, is_answered: bool },
    Established,
    Closing,
    Reset,
}

impl Phase {
    const fn begun(by: Side) -> Self {
        Self::Opening {
            by,
            is_answered: false,
        }
    }

    fn after(self, segment: &Segment, from: Side) -> Self {
        let has_ack = segment.ack.is_some();
        match self {
            _ if segment.rst => Self::Reset,
            Self::Closing | Self::Reset if is_opening(segment) => Self::begun(from),
            _ if segment.fin => Self::Closing,
            Self::Opening { by, .. } if segment.syn && has_ack && from != by => Self::Opening {
                by,
                is_answered: true,
            },
            Self::Opening {
                by,
                is_answered: true,
            } if !segment.syn && has_ack && from == by => Self::Established,
            // Somebody goes on: the RST was not taken, being a stranger's (RFC 5961 3.2).
            Self::Reset if !segment.syn => Self::Established,
            as_before => as_before,
        }
    }
}

impl Mapping {
    fn expires_at(&self, timeouts: &Timeouts) -> Instant {
        self.last_passed.saturating_add(match self.phase {
            Phase::Opening { .. } => timeouts.opening,
            Phase::Established => timeouts.established,
            Phase::Closing | Phase::Reset => timeouts.closing,
        })
    }
}

impl Table {
    pub(super) const fn new(rules: Mappings) -> Self {
        Self {
            rules,
            entries: Vec::new(),
        }
    }

    pub(super) fn len(&self) -> usize {
        self.entries.len()
    }

    pub(super) fn clear(&mut self) {
        self.entries.clear();
    }

    /// When the next mapping expires, if it stays idle.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        let timeouts = &self.rules.timeouts;
        let moments = self.entries.iter().map(|entry| entry.expires_at(timeouts));
        moments.min()
    }

    /// Forgets what has been idle too long.
    pub(super) fn expire(&mut self, turn: &mut Turn<'_>) {
        let timeouts = self.rules.timeouts;
        self.entries.retain(|entry| {
            let is_alive = entry.expires_at(&timeouts) > turn.now;
            if !is_alive {
                let Connection { inside, outside } = entry.connection;
                turn.note(Happening::MappingExpired { inside, outside });
            }
            is_alive
        });
    }

    /// The port under which the outside knows the inside end of a connection, if it is known.
    pub(super) fn public_port(&self, connection: &Connection) -> Option<u16> {
        let mut entries = self.entries.iter();
        let entry = entries.find(|entry| entry.connection == *connection)?;
        Some(entry.public_port)
    }

    /// The connection that the outside end knows by that port.
    pub(super) fn behind(&self, public_port: u16, outside: IpEndpoint) -> Option<Connection> {
        let mut entries = self.entries.iter();
        let entry = entries.find(|entry| {
            entry.public_port == public_port && entry.connection.outside == outside
        })?;
        Some(entry.connection)
    }

    /// Whether the outside knows any connection by that port.
    pub(super) fn uses(&self, public_port: u16) -> bool {
        let mut entries = self.entries.iter();
        entries.any(|entry| entry.public_port == public_port)
    }

    /// Remembers a new connection, which that side opens now.
    pub(super) fn open(
        &mut self,
        connection: Connection,
        public_port: u16,
        by: Side,
        turn: &mut Turn<'_>,
    ) {
        while self.entries.len() >= self.rules.limit.max(1) {
            let entries = self.entries.iter().enumerate();
            let Some((idlest, _)) = entries.min_by_key(|(_, entry)| entry.last_passed) else {
                break;
            };
            let Connection { inside, outside } = self.entries.remove(idlest).connection;
            turn.note(Happening::MappingEvicted { inside, outside });
        }
        self.entries.push(Mapping {
            connection,
            public_port,
            phase: Phase::begun(by),
            last_passed: turn.now,
        });
    }

    /// A segment of a connection has been passed on.
    pub(super) fn passed(
        &mut self,
        connection: &Connection,
        segment: &Segment,
        from: Side,
        now: Instant,
    ) {
        let mut entries = self.entries.iter_mut();
        let entry = entries.find(|entry| entry.connection == *connection);
        if let (Some(entry), true) = (entry, is_intact(segment)) {
            entry.phase = entry.phase.after(segment, from);
            entry.last_passed = now;
        }
    }

    /// Answers a segment of a connection that is not known, if that is the rule.
    pub(super) fn answer_stranger(
        &self,
        segment: &Segment,
        frame: &Frame,
        from: Side,
        turn: &mut Turn<'_>,
    ) {
        if self.rules.expiry == Expiry::Silently || !is_intact(segment) {
            return;
        }
        let medium = from.port(turn).map(|port| port.medium());
        let macs = if medium == Some(Medium::Ethernet) {
            let Ok(header) = EthernetFrame::new_checked(&*frame.bytes) else {
                return;
            };
            if !header.dst_addr().is_unicast() {
                // Nobody answers in the name of a group.
                return;
            }
            Some(Macs {
                src: header.dst_addr(),
                dst: header.src_addr(),
            })
        } else {
            None
        };
        if let Some(refusal) = segment.refusal() {
            // Without room it is as if the answer were lost.
            let _ = from.send(turn, refusal.emit(macs));
        }
    }
}

/// What the tests of several middleboxes need.
#[cfg(test)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "random numbers, of which any part will do"
)]
pub(super) mod testing {
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

        /// A SYN that the middlebox has no room for opens nothing, and takes nobody's place.
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
}

#[cfg(test)]
mod tests {
    use ::smoltcp::wire::IpAddress;

    use super::super::Peer;
    use super::*;

    /// A segment with only these flags.
    fn segment(flags: &str) -> Segment {
        let mut peer = Peer::ip(IpAddress::v4(192, 0, 2, 2));
        let index = peer.connect(IpAddress::v4(192, 0, 2, 1), 7, false);
        let mut segment = peer.next_segment(index).unwrap();
        segment.syn = flags.contains('S');
        segment.fin = flags.contains('F');
        segment.rst = flags.contains('R');
        segment.ack = segment.ack.filter(|_| flags.contains('A'));
        segment
    }

    /// What the inside ('>') and the outside ('<') say, one after the other.
    fn phase_after(history: &[&str]) -> Phase {
        history
            .iter()
            .fold(Phase::begun(Side::Inside), |phase, said| {
                let from = if said.starts_with('>') {
                    Side::Inside
                } else {
                    Side::Outside
                };
                phase.after(&segment(said), from)
            })
    }

    /// The third segment of the handshake establishes, and none before.
    #[test]
    fn established_with_the_third_segment() {
        assert_eq!(phase_after(&[">S"]), Phase::begun(Side::Inside));
        let answered = Phase::Opening {
            by: Side::Inside,
            is_answered: true,
        };
        assert_eq!(phase_after(&[">S", "<SA"]), answered);
        assert_eq!(phase_after(&[">S", "<SA", "<SA"]), answered);
        assert_eq!(phase_after(&[">S", "<SA", ">A"]), Phase::Established);
        // An acknowledgement of nothing is no third segment.
        assert_eq!(phase_after(&[">S", ">A"]), Phase::begun(Side::Inside));
    }

    /// A FIN of either side begins the end, and a new SYN a new life.
    #[test]
    fn closing_with_the_first_fin() {
        for fin in [">FA", "<FA"] {
            let history = [">S", "<SA", ">A", fin];
            assert_eq!(phase_after(&history), Phase::Closing);
            let history = [">S", "<SA", ">A", fin, "<A", ">A"];
            assert_eq!(phase_after(&history), Phase::Closing);
            let history = [">S", "<SA", ">A", fin, ">S"];
            assert_eq!(phase_after(&history), Phase::begun(Side::Inside));
        }
    }

    /// An RST ends a connection, unless somebody goes on: then it was a stranger's.
    #[test]
    fn an_rst_counts_until_somebody_goes_on() {
        let history = [">S", "<SA", ">A", "<R"];
        assert_eq!(phase_after(&history), Phase::Reset);
        let history = [">S", "<SA", ">A", "<R", ">A"];
        assert_eq!(phase_after(&history), Phase::Established);
        assert_eq!(
            phase_after(&[">S", "<RA", ">S"]),
            Phase::begun(Side::Inside)
        );
    }

    /// The presets are what their sources say.
    #[test]
    fn presets_are_as_published() {
        let secs = |timeouts: Timeouts| {
            [timeouts.opening, timeouts.established, timeouts.closing].map(|it| it.as_secs())
        };
        assert_eq!(secs(Mappings::RFC5382.timeouts), [240, 7440, 240]);
        assert_eq!(secs(Mappings::AWS.timeouts), [350; 3]);
        assert_eq!(secs(Mappings::AZURE.timeouts), [240; 3]);
        assert_eq!(Mappings::AWS.expiry, Expiry::WithReset);
        assert_eq!(Mappings::AZURE.expiry, Expiry::Silently);
    }
}
