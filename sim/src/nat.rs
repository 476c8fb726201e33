//! A NAT.

mod network;
mod rewrite;

use core::ops::RangeInclusive;

use ::smoltcp::phy::Medium;
use ::smoltcp::wire::{EthernetAddress, IpAddress, IpEndpoint, Ipv4Address, Ipv4Packet};

use self::network::{Content, Network};
use self::rewrite::{End, rewrite};
use super::host::mac_for;
use super::mapping::{Connection, Mappings, Side, Table, is_opening, take_all};
use super::node::{Node, Turn};
use super::wire::{self, Kind, Segment};
use super::{Frame, Port};
use crate::Instant;

const LAST_HOP: &str = "at its last hop";

/// A NAT for TCP over IPv4, between an inside, which is the first port that is linked, and an
/// outside, the second, where it has one address.
///
/// A connection that the inside opens gets a port of that address, and keeps it until it has been
/// idle for [too long](Mappings). Afterwards what comes from the outside is dropped, and what comes
/// from the inside is dropped or reset, as [`Mappings::expiry`] says. A damaged segment of a known
/// connection passes, as damaged as it was, and counts for nothing; a packet whose IPv4 header is
/// damaged is dropped, as every router drops it (RFC 1812 5.2.2).
///
/// On an Ethernet inside it is the gateway, whatever the gateway's address: it answers the question
/// for any address that it has not heard on that side. Let it hear hosts which talk to each other
/// before they do, or two will answer. On an Ethernet outside it answers for its own address, and
/// takes every destination for a neighbour: it asks for those that it has not heard, and drops the
/// segment meanwhile, which its sender will send again.
///
/// What it does not do: UDP, ICMP, IPv6 and fragments, which are dropped; connections from the
/// inside to its own address ("hairpinning"); connections opened from the outside. A mapping is for
/// one connection and no other, where RFC 5382 (REQ-1) wants one for all of an inside port.
///
/// ```
/// # use smoltcp::phy::Medium;
/// # use smoltcp::wire::{IpAddress, IpCidr, Ipv4Address};
/// # use tcp_keepalive_sim::{Conditions, Host, Mappings, Nat, Peer, SimError, World};
/// let mut world = World::new(1);
/// let device = Host::ethernet(IpCidr::new(IpAddress::v4(192, 168, 0, 2), 24))
///     .gateway(IpAddress::v4(192, 168, 0, 1));
/// let device = world.add("device", device);
/// let nat = Nat::new(Medium::Ethernet, Medium::Ip, Ipv4Address::new(203, 0, 113, 1), Mappings::AWS);
/// let nat = world.add("nat", nat);
/// let peer = world.add("peer", Peer::ip(IpAddress::v4(198, 51, 100, 7)));
/// world.link(device, nat, Conditions::ideal())?;
/// world.link(nat, peer, Conditions::ideal())?;
/// # Ok::<(), SimError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Nat {
    address: Ipv4Address,
    inside: Network,
    outside: Network,
    ports: RangeInclusive<u16>,
    next_port: u16,
    table: Table,
}

/// Building.
impl Nat {
    /// Makes a NAT with such links, that is `address` on its outside.
    #[must_use]
    pub fn new(inside: Medium, outside: Medium, address: Ipv4Address, mappings: Mappings) -> Self {
        let outside_mac = mac_for(IpAddress::Ipv4(address));
        let EthernetAddress([first, _, a, b, c, d]) = outside_mac;
        let inside_mac = EthernetAddress([first, 1, a, b, c, d]);
        Self {
            address,
            inside: Network::new(inside, inside_mac, address).with_proxy(),
            outside: Network::new(outside, outside_mac, address),
            ports: 1024..=u16::MAX,
            next_port: 1024,
            table: Table::new(mappings),
        }
    }

    /// Sets the range of ports that connections get, one after the other; 1024 to 65535 otherwise.
    #[must_use]
    pub const fn ports(mut self, range: RangeInclusive<u16>) -> Self {
        self.next_port = *range.start();
        self.ports = range;
        self
    }
}

/// Using.
impl Nat {
    /// Returns its hardware address on the inside, if that is an Ethernet.
    #[must_use]
    pub const fn inside_mac(&self) -> EthernetAddress {
        self.inside.mac
    }

    /// Returns its hardware address on the outside, if that is an Ethernet.
    #[must_use]
    pub const fn outside_mac(&self) -> EthernetAddress {
        self.outside.mac
    }

    /// Returns how many connections it knows.
    #[must_use]
    pub fn mappings(&self) -> usize {
        self.table.len()
    }

    /// Forgets all connections, as a NAT does whose software restarts. The ports that they had are
    /// the last to be given again.
    pub fn forget_all(&mut self) {
        self.table.clear();
    }
}

/// Passing on.
impl Nat {
    fn take(&mut self, from: Side, frame: &Frame, turn: &mut Turn<'_>) -> Result<(), &'static str> {
        let network = match from {
            Side::Inside => &mut self.inside,
            Side::Outside => &mut self.outside,
        };
        let packet = match network.unwrap(&frame.bytes)? {
            Content::Packet(packet) => packet,
            Content::Arp(Some(answer)) => return from.send(turn, answer),
            Content::Arp(None) => return Ok(()),
        };
        let passing = Passing::parse(packet, frame)?;
        match from {
            Side::Inside => self.pass_out(&passing, turn),
            Side::Outside => self.pass_in(&passing, turn),
        }
    }

    fn pass_out(&mut self, passing: &Passing<'_>, turn: &mut Turn<'_>) -> Result<(), &'static str> {
        let segment = &passing.segment;
        if passing.dst == self.address {
            return Err("for the NAT itself");
        }
        let connection = Connection::of(segment, Side::Inside);
        let known = self.table.public_port(&connection);
        if known.is_none() && !is_opening(segment) {
            let from = Side::Inside;
            self.table
                .answer_stranger(segment, passing.frame, from, turn);
            return Err("no mapping");
        }
        if let Err(question) = self.outside.require_neighbor(passing.dst) {
            Side::Outside.send(turn, question)?;
            return Err("the receiver's hardware address is not known yet");
        }
        let port = match known {
            Some(port) => port,
            None => self.free_port().ok_or("no port is left")?,
        };
        let packet = passing.renamed(End::Source, self.address, port)?;
        let frame = self.outside.wrap(passing.dst, packet);
        Side::Outside.send(turn, frame.ok_or("no such neighbour")?)?;
        if known.is_none() {
            // Only what has left opens anything.
            self.table.open(connection, port, Side::Inside, turn);
        }
        let now = turn.now;
        self.table.passed(&connection, segment, Side::Inside, now);
        Ok(())
    }

    fn pass_in(&mut self, passing: &Passing<'_>, turn: &mut Turn<'_>) -> Result<(), &'static str> {
        let segment = &passing.segment;
        if passing.dst != self.address {
            return Err("for another address");
        }
        let outside = IpEndpoint::new(segment.src_addr, segment.src_port);
        let connection = self.table.behind(segment.dst_port, outside);
        let connection = connection.ok_or("no mapping")?;
        let IpEndpoint {
            addr: IpAddress::Ipv4(dst),
            port,
        } = connection.inside
        else {
            return Err("not IPv4");
        };
        let packet = passing.renamed(End::Destination, dst, port)?;
        // Who has a mapping has been heard.
        let frame = self.inside.wrap(dst, packet).ok_or("no such neighbour")?;
        Side::Inside.send(turn, frame)?;
        let now = turn.now;
        self.table.passed(&connection, segment, Side::Outside, now);
        Ok(())
    }

    fn free_port(&mut self) -> Option<u16> {
        for _ in self.ports.clone() {
            let port = self.next_port;
            self.next_port = if port >= *self.ports.end() {
                *self.ports.start()
            } else {
                port + 1
            };
            if !self.table.uses(port) {
                return Some(port);
            }
        }
        None
    }
}

/// A segment that wants to pass.
struct Passing<'f> {
    frame: &'f Frame,
    packet: &'f [u8],
    dst: Ipv4Address,
    segment: Segment,
}

impl<'f> Passing<'f> {
    fn parse(packet: &'f [u8], frame: &'f Frame) -> Result<Self, &'static str> {
        let ip = Ipv4Packet::new_checked(packet).map_err(|_| "not IPv4")?;
        if ip.version() != 4 {
            return Err("not IPv4");
        }
        if !ip.verify_checksum() {
            return Err("a damaged IPv4 header");
        }
        if ip.hop_limit() <= 1 {
            return Err(LAST_HOP);
        }
        if ip.more_frags() || ip.frag_offset() != 0 {
            return Err("a fragment");
        }
        let Kind::Tcp(segment) = wire::parse(Medium::Ip, packet) else {
            return Err("not TCP");
        };
        // What an Ethernet frame has behind it was padding.
        let packet = packet.get(..usize::from(ip.total_len()));
        Ok(Self {
            frame,
            packet: packet.ok_or("not IPv4")?,
            dst: ip.dst_addr(),
            segment,
        })
    }

    fn renamed(&self, end: End, to: Ipv4Address, port: u16) -> Result<Vec<u8>, &'static str> {
        let mut packet = self.packet.to_vec();
        rewrite(&mut packet, end, to, port).ok_or(LAST_HOP)?;
        Ok(packet)
    }
}

impl Node for Nat {
    fn new_port(&mut self, index: usize) -> Option<Port> {
        match index {
            0 => Some(Port::new(self.inside.medium)),
            1 => Some(Port::new(self.outside.medium)),
            _ => None,
        }
    }

    fn power_on(&mut self, _: &mut Turn<'_>) {
        self.table.clear();
        self.inside.forget();
        self.outside.forget();
        self.next_port = *self.ports.start();
    }

    fn poll(&mut self, turn: &mut Turn<'_>) {
        self.table.expire(turn);
        take_all(turn, |from, frame, turn| self.take(from, frame, turn));
    }

    /// When the next mapping expires.
    fn poll_at(&mut self, _: Instant) -> Option<Instant> {
        self.table.next_expiry()
    }

    fn translate(&self, src: IpEndpoint, dst: IpEndpoint) -> Option<(IpEndpoint, IpEndpoint)> {
        let address = IpAddress::Ipv4(self.address);
        if dst.addr == address {
            let behind = self.table.behind(dst.port, src)?;
            return Some((src, behind.inside));
        }
        let connection = Connection {
            inside: src,
            outside: dst,
        };
        let port = self.table.public_port(&connection)?;
        Some((IpEndpoint::new(address, port), dst))
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use ::smoltcp::socket::tcp::State;
    use ::smoltcp::wire::{IpCidr, IpProtocol};

    use super::super::mapping::testing::{Path, around, connect, pour_noise};
    use super::super::trace::{Fate, Lost, Sent};
    use super::super::{Conditions, Expiry, Host, Memory, Peer, Timeouts, World};
    use super::*;
    use crate::Config;

    const PUBLIC: Ipv4Address = Ipv4Address::new(203, 0, 113, 1);
    const DEVICE: IpAddress = IpAddress::v4(192, 168, 0, 2);
    const GATEWAY: IpAddress = IpAddress::v4(192, 168, 0, 1);

    fn nat(mappings: Mappings) -> Nat {
        Nat::new(Medium::Ip, Medium::Ip, PUBLIC, mappings)
    }

    fn is_refused(sent: &Sent, why: &str) -> bool {
        matches!(sent.fate, Fate::Lost { how: Lost::Refused(it), .. } if it == why)
    }

    /// The peer sees the NAT's address and a port of its range, the device the peer's own, and
    /// what either says reaches the other.
    #[test]
    fn a_connection_opens_under_the_outside_address() {
        let mut path = Path::through(nat(Mappings::RFC5382), None);
        let account = &path.world[path.peer].connections[0];
        assert_eq!((account.address, account.port), (PUBLIC.into(), 1024));
        let remote = path.device_socket().remote_endpoint().unwrap();
        assert_eq!(remote, IpEndpoint::new(Path::<Nat>::PEER, 7));
        assert!(path.device_is_heard());
        assert!(path.peer_is_heard());
        assert_eq!(path.world[path.middle].mappings(), 1);
    }

    /// A probe that passes is held against what its receiver knows of the NAT's connection.
    #[test]
    fn probes_are_checked_through_it() {
        for is_right in [true, false] {
            let config = Config::new(Duration::from_secs(10), Duration::from_secs(2), 3).unwrap();
            let mut path = Path::through(nat(Mappings::RFC5382), Some(config));
            let account = &mut path.world[path.peer].connections[0];
            account.rcv_nxt = account.rcv_nxt.wrapping_add(u32::from(!is_right));
            let result = path.world.run_for(Duration::from_secs(11));
            assert_eq!(result.is_ok(), is_right, "{result:?}");
            assert_eq!(path.world.probes_checked(), 1);
        }
    }

    /// Both ends' probes are, and none of an unknown connection.
    #[test]
    fn names_are_translated_both_ways() {
        let path = Path::through(nat(Mappings::RFC5382), None);
        let mut sockets = path.world[path.device].tcp_sockets();
        let private = sockets.find_map(|(_, socket)| socket.local_endpoint());
        let private = private.unwrap();
        let server = IpEndpoint::new(Path::<Nat>::PEER, 7);
        let public = IpEndpoint::new(PUBLIC.into(), 1024);
        let nat = &path.world[path.middle];
        assert_eq!(nat.translate(private, server), Some((public, server)));
        assert_eq!(nat.translate(server, public), Some((server, private)));
        let stranger = IpEndpoint::new(Path::<Nat>::PEER, 8);
        assert_eq!(nat.translate(private, stranger), None);
        assert_eq!(nat.translate(stranger, public), None);
    }

    /// A segment passes a hop at the NAT.
    #[test]
    fn the_hop_limit_goes_down_by_one() {
        let path = Path::through(nat(Mappings::RFC5382), None);
        let limits: Vec<u8> = path
            .world
            .trace()
            .frames()
            .filter_map(|sent| Some(sent.kind.tcp()?.hop_limit))
            .collect();
        assert_eq!(limits, [64, 63, 64, 63, 64, 63]);
    }

    /// 349 s and 351 s around the timeout of an AWS NAT gateway, and the last and first
    /// microsecond at it.
    #[test]
    fn aws_forgets_after_350_s() {
        let seconds = [349, 351].map(|secs| (Duration::from_secs(secs), secs < 350));
        let exactly = around(Duration::from_secs(350));
        for (idle, lives) in seconds.into_iter().chain(exactly) {
            let mut path = Path::through(nat(Mappings::AWS), None);
            path.idle(idle);
            assert_eq!(path.device_is_heard(), lives, "{idle:?}");
            // It is told, and at once.
            let state = path.device_socket().state();
            assert_eq!(state == State::Established, lives, "{idle:?}");
            assert_eq!(path.expiries(), usize::from(!lives), "{idle:?}");
        }
    }

    /// Without an answer the device goes on believing in its connection.
    #[test]
    fn azure_forgets_silently_after_4_min() {
        for (idle, lives) in around(Duration::from_secs(240)) {
            let mut path = Path::through(nat(Mappings::AZURE), None);
            path.idle(idle);
            assert_eq!(path.device_is_heard(), lives, "{idle:?}");
            assert_eq!(path.device_socket().state(), State::Established);
        }
    }

    /// What the outside says after the timeout is dropped, whatever the rule: a NAT does not know
    /// which host it was for.
    #[test]
    fn the_outside_is_never_answered() {
        for (idle, lives) in around(Duration::from_secs(350)) {
            let mut path = Path::through(nat(Mappings::AWS), None);
            path.idle(idle);
            assert_eq!(path.peer_is_heard(), lives, "{idle:?}");
            assert_eq!(path.resets_to_peer(), 0);
        }
    }

    /// A mapping is noted as expired when it expires, though no frame passes.
    #[test]
    fn expiry_is_noted_at_its_moment() {
        let mut path = Path::through(nat(Mappings::AZURE), None);
        let last = path.last_passed();
        path.world.run_for(Duration::from_secs(3600)).unwrap();
        let expiry = path.world.trace().notes().last().unwrap();
        assert_eq!(expiry.at, last.saturating_add(Duration::from_secs(240)));
        assert_eq!(path.world[path.middle].mappings(), 0);
    }

    /// Keep-alive with an idle time below the timeout keeps the mapping for a day, and Linux's
    /// default of two hours does not.
    #[test]
    fn keep_alive_below_the_timeout_keeps_the_mapping() {
        let short = Config::new(Duration::from_secs(200), Duration::from_secs(10), 3).unwrap();
        for (config, lives) in [(short, true), (Config::LINUX, false)] {
            let mut path = Path::through(nat(Mappings::AZURE), Some(config));
            path.world.run_for(Duration::from_secs(86_400)).unwrap();
            assert_eq!(path.expiries() == 0, lives);
            let state = path.device_socket().state();
            assert_eq!(state == State::Established, lives);
            assert_eq!(path.peer_is_heard(), lives);
        }
    }

    /// A NAT that restarts breaks the connections that go through it.
    #[test]
    fn a_restart_forgets_all() {
        for is_soft in [true, false] {
            let mut path = Path::through(nat(Mappings::AWS), None);
            let middle = path.middle;
            if is_soft {
                path.world[middle].forget_all();
            } else {
                path.world.reboot(middle, Memory::Lost).unwrap();
            }
            assert_eq!(path.world[middle].mappings(), 0);
            assert!(!path.device_is_heard());
            assert_eq!(path.device_socket().state(), State::Closed);
        }
    }

    /// A damaged segment arrives damaged and does not prolong the mapping.
    #[test]
    fn damage_is_not_repaired_and_keeps_nothing_alive() {
        let mut path = Path::through(nat(Mappings::AZURE), None);
        let last = path.last_passed();
        path.idle(Duration::from_secs(200));
        let peer = &mut path.world[path.peer];
        let mut segment = peer.next_segment(0).unwrap();
        segment.checksum_ok = false;
        peer.forge(&segment);
        path.world.run_for(Duration::from_secs(3)).unwrap();
        let frame = path.world.trace().frames().last().unwrap();
        assert_eq!(frame.from, path.middle.into());
        assert!(!frame.kind.tcp().unwrap().checksum_ok);
        let expiry = last.saturating_add(Duration::from_secs(240));
        path.world.run_before(expiry).unwrap();
        assert_eq!(path.expiries(), 0);
        path.world.run_until(expiry).unwrap();
        assert_eq!(path.expiries(), 1);
    }

    /// With two ports, a third connection is refused, and opens once one of the others is gone.
    #[test]
    fn a_range_that_is_used_up_takes_no_more() {
        let small = nat(Mappings::AZURE).ports(5000..=5001);
        let mut path = Path::through(small, None);
        let second = path.connect(None);
        let third = path.connect(None);
        path.world.run_for(Duration::from_millis(500)).unwrap();
        let ports: Vec<u16> = path.world[path.peer]
            .connections
            .iter()
            .map(|account| account.port)
            .collect();
        assert_eq!(ports, [5000, 5001]);
        let host = &mut path.world[path.device];
        assert_eq!(host.tcp(second).state(), State::Established);
        assert_eq!(host.tcp(third).state(), State::SynSent);
        path.world.run_for(Duration::from_secs(600)).unwrap();
        let host = &mut path.world[path.device];
        assert_eq!(host.tcp(third).state(), State::Established);
    }

    /// At the limit, the mapping that has been idle longest makes room.
    #[test]
    fn the_idlest_mapping_makes_room() {
        let two = Mappings {
            limit: 2,
            ..Mappings::AWS
        };
        let mut path = Path::through(nat(two), None);
        let second = path.connect(None);
        path.world.run_for(Duration::from_secs(1)).unwrap();
        assert!(path.device_is_heard());
        path.connect(None);
        path.world.run_for(Duration::from_secs(1)).unwrap();
        // The trace tells which, and that it was before its time.
        let idlest = path.world[path.device].local_endpoint(second);
        assert_eq!(path.evicted(), [idlest.unwrap()]);
        assert_eq!(path.expiries(), 0);
        assert!(path.device_is_heard());
        let host = &mut path.world[path.device];
        host.tcp(second).send_slice(b"x").unwrap();
        path.world.run_for(Duration::from_secs(1)).unwrap();
        assert_eq!(path.world[path.device].tcp(second).state(), State::Closed);
    }

    /// A frame that has not left opens no mapping, and takes no other's place.
    #[test]
    fn what_has_not_left_opens_nothing() {
        let one = Mappings {
            limit: 1,
            ..Mappings::AWS
        };
        Path::through(nat(one), None).try_without_room();
    }

    /// From the inside there is no way to the NAT's own address.
    #[test]
    fn it_does_no_hairpinning() {
        let mut path = Path::through(nat(Mappings::AWS), None);
        let own = IpEndpoint::new(PUBLIC.into(), 1024);
        let socket = connect(&mut path.world, path.device, None, own);
        path.world.run_for(Duration::from_millis(100)).unwrap();
        let frame = path.world.trace().frames().last().unwrap();
        assert!(is_refused(frame, "for the NAT itself"));
        let host = &mut path.world[path.device];
        assert_eq!(host.tcp(socket).state(), State::SynSent);
    }

    /// Two smoltcp hosts, each on an Ethernet of its own, find each other by the NAT's answers and
    /// questions.
    #[test]
    fn it_is_the_gateway_of_an_ethernet() {
        let mut world = World::new(1);
        let device = Host::ethernet(IpCidr::new(DEVICE, 24)).gateway(GATEWAY);
        let device = world.add("device", device);
        let (inside, outside) = (Medium::Ethernet, Medium::Ethernet);
        let nat = Nat::new(inside, outside, PUBLIC, Mappings::AWS);
        let nat = world.add("nat", nat);
        let server_address = IpAddress::v4(203, 0, 113, 9);
        let server = Host::ethernet(IpCidr::new(server_address, 24));
        let server = world.add("server", server);
        let conditions = Conditions::ideal().latency(Duration::from_millis(10));
        world.link(device, nat, conditions.clone()).unwrap();
        world.link(nat, server, conditions).unwrap();
        let listener = world[server].add_tcp_socket(64, 64);
        world[server].tcp(listener).listen(7).unwrap();
        let client = connect(&mut world, device, None, IpEndpoint::new(server_address, 7));
        world.run_for(Duration::from_secs(5)).unwrap();
        let why = "the receiver's hardware address is not known yet";
        assert!(world.trace().frames().any(|sent| is_refused(sent, why)));
        let host = &mut world[device];
        assert_eq!(host.tcp(client).state(), State::Established);
        host.tcp(client).send_slice(b"hello").unwrap();
        // Long enough for smoltcp to forget hardware addresses and ask again.
        world.run_for(Duration::from_secs(300)).unwrap();
        let socket = world[server].tcp(listener);
        assert_eq!(socket.remote_endpoint().unwrap().addr, PUBLIC.into());
        let mut heard = [0; 8];
        assert_eq!(socket.recv_slice(&mut heard).unwrap(), 5);
        socket.send_slice(b"world").unwrap();
        world.run_for(Duration::from_secs(5)).unwrap();
        assert_eq!(world[device].tcp(client).recv_slice(&mut heard).unwrap(), 5);
    }

    /// On the inside it answers for addresses that it has not heard there, but not if a host asks
    /// whether an address is in use; on the outside it answers for its own address only.
    #[test]
    fn it_answers_for_the_hosts_that_it_stands_for() {
        let mac = EthernetAddress([2, 0, 0, 0, 0, 9]);
        let a = Ipv4Address::new(192, 168, 0, 2);
        let b = Ipv4Address::new(192, 168, 0, 3);
        let ask = |asker: Ipv4Address, target: Ipv4Address| {
            Network::new(Medium::Ethernet, mac, asker)
                .require_neighbor(target)
                .unwrap_err()
        };
        let is_answered = |network: &mut Network, question: &[u8]| {
            matches!(network.unwrap(question), Ok(Content::Arp(Some(_))))
        };
        let nat = Nat::new(Medium::Ethernet, Medium::Ethernet, PUBLIC, Mappings::AWS);
        let (mut inside, mut outside) = (nat.inside, nat.outside);
        assert!(is_answered(&mut inside, &ask(a, b)));
        assert!(!is_answered(&mut inside, &ask(b, b)));
        assert!(!is_answered(&mut inside, &ask(a, b)));
        let c = Ipv4Address::new(192, 168, 0, 4);
        assert!(!is_answered(&mut inside, &ask(Ipv4Address::UNSPECIFIED, c)));
        assert!(is_answered(&mut outside, &ask(a, PUBLIC)));
        assert!(!is_answered(&mut outside, &ask(a, b)));
    }

    /// What the peer sends otherwise than as its connection goes no further, and the trace says
    /// why.
    #[test]
    fn what_does_not_pass_is_refused_with_a_reason() {
        let mut path = Path::through(nat(Mappings::AWS), None);
        let peer = path.peer;
        let segment = path.world[peer].next_segment(0).unwrap();
        let changed = |change: fn(&mut Segment)| {
            let mut segment = segment.clone();
            change(&mut segment);
            segment.emit(None)
        };
        let wrapped = |change: fn(&mut Ipv4Packet<&mut Vec<u8>>)| {
            let mut packet = segment.emit(None);
            let mut ip = Ipv4Packet::new_unchecked(&mut packet);
            change(&mut ip);
            ip.fill_checksum();
            packet
        };
        let ipv6 = |segment: &mut Segment| {
            segment.src_addr = IpAddress::v6(0xfd00, 0, 0, 0, 0, 0, 0, 1);
            segment.dst_addr = IpAddress::v6(0xfd00, 0, 0, 0, 0, 0, 0, 2);
        };
        for (packet, why) in [
            (changed(ipv6), "not IPv4"),
            (wrapped(|ip| ip.set_next_header(IpProtocol::Udp)), "not TCP"),
            (wrapped(|ip| ip.set_more_frags(true)), "a fragment"),
            (wrapped(|ip| ip.set_frag_offset(8)), "a fragment"),
            (
                changed(|it| it.ip_checksum_ok = false),
                "a damaged IPv4 header",
            ),
            (changed(|it| it.hop_limit = 1), LAST_HOP),
            (changed(|it| it.dst_addr = DEVICE), "for another address"),
            (changed(|it| it.dst_port += 1), "no mapping"),
            (changed(|it| it.src_port += 1), "no mapping"),
            (changed(|it| it.src_addr = GATEWAY), "no mapping"),
        ] {
            path.world[peer].inject(packet);
            path.world.run_for(Duration::from_secs(1)).unwrap();
            let frame = path.world.trace().frames().last().unwrap();
            assert_eq!(frame.from, peer.into(), "{why}");
            assert!(is_refused(frame, why), "{why}: {:?}", frame.fate);
        }
        // The same without a change does pass.
        path.world[peer].inject(segment.emit(None));
        path.world.run_for(Duration::from_secs(1)).unwrap();
        let frame = path.world.trace().frames().last().unwrap();
        assert_eq!(frame.to, path.device.into());
    }

    /// What a switch floods for another station is not the NAT's.
    #[test]
    fn a_frame_for_another_station_is_left_alone() {
        let nat = Nat::new(Medium::Ethernet, Medium::Ethernet, PUBLIC, Mappings::AWS);
        let mut host = Peer::ethernet(DEVICE);
        for (dst, is_taken) in [(nat.inside_mac(), true), (nat.outside_mac(), false)] {
            host.meet(Path::<Nat>::PEER, dst);
            host.connections.clear();
            let index = host.connect(Path::<Nat>::PEER, 7, false);
            let frame = host.frame(&host.next_segment(index).unwrap());
            let taken = nat.inside.clone().unwrap(&frame).is_ok();
            assert_eq!(taken, is_taken);
        }
    }

    /// Any octets at all pass or are refused, on either medium.
    #[test]
    fn noise_does_no_harm() {
        for medium in [Medium::Ip, Medium::Ethernet] {
            let mut world = World::new(1);
            let rules = Mappings::new(Timeouts::all(Duration::from_millis(5)), Expiry::WithReset);
            let nat = world.add("nat", Nat::new(medium, medium, PUBLIC, rules));
            let peer = |address| match medium {
                Medium::Ip => Peer::ip(address),
                _ => Peer::ethernet(address),
            };
            let peers = [
                world.add("inside", peer(DEVICE)),
                world.add("outside", peer(Path::<Nat>::PEER)),
            ];
            for peer in peers {
                world.link(nat, peer, Conditions::ideal()).unwrap();
            }
            pour_noise(&mut world, &peers, medium);
        }
    }
}
