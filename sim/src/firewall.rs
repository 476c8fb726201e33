//! A stateful firewall.

use core::time::Duration;

use ::smoltcp::phy::Medium;
use ::smoltcp::wire::EthernetFrame;

use super::mapping::{Connection, Mappings, Side, Table, is_opening, take_all};
use super::node::{Node, Turn};
use super::switch::Stations;
use super::wire::{self, Kind, Segment};
use super::{Frame, Port};
use crate::Instant;

/// A stateful firewall: transparent, between an inside, which is the first port that is linked,
/// and an outside, the second.
///
/// A connection can be opened from the inside, and its segments then pass both ways until they
/// have been away for [too long](Mappings). Whatever is not TCP passes.
///
/// What it does not do: look at sequence numbers, put fragments together, or stop what only looks
/// like TCP, such as a segment cut off in its header. A damaged segment of a known connection
/// passes as it is, and counts for nothing.
///
/// ```
/// # use smoltcp::wire::{IpAddress, IpCidr};
/// # use tcp_keepalive_sim::{Conditions, Firewall, Host, Mappings, Peer, SimError, World};
/// let mut world = World::new(1);
/// let device = world.add("device", Host::ethernet(IpCidr::new(IpAddress::v4(192, 0, 2, 1), 24)));
/// let firewall = world.add("firewall", Firewall::ethernet(Mappings::AZURE));
/// let peer = world.add("peer", Peer::ethernet(IpAddress::v4(192, 0, 2, 2)));
/// world.link(device, firewall, Conditions::ideal())?;
/// world.link(firewall, peer, Conditions::ideal())?;
/// # Ok::<(), SimError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Firewall {
    medium: Medium,
    allows_inbound: bool,
    table: Table,
    stations: Stations,
}

impl Firewall {
    /// Makes a firewall in an Ethernet.
    #[must_use]
    pub const fn ethernet(mappings: Mappings) -> Self {
        Self::new(Medium::Ethernet, mappings)
    }

    /// Makes a firewall in a link that carries bare IP packets.
    #[must_use]
    pub const fn ip(mappings: Mappings) -> Self {
        Self::new(Medium::Ip, mappings)
    }

    const fn new(medium: Medium, mappings: Mappings) -> Self {
        Self {
            medium,
            allows_inbound: false,
            table: Table::new(mappings),
            // It forgets no host, so it never passes what a switch floods.
            stations: Stations::new(Duration::MAX),
        }
    }

    /// Whether connections can be opened from the outside too.
    #[must_use]
    pub const fn allow_inbound(mut self, allows: bool) -> Self {
        self.allows_inbound = allows;
        self
    }

    /// Returns how many connections it knows.
    #[must_use]
    pub fn mappings(&self) -> usize {
        self.table.len()
    }

    /// Forgets all connections, as if its rules had been loaded anew.
    pub fn forget_all(&mut self) {
        self.table.clear();
    }

    fn take(&mut self, from: Side, frame: &Frame, turn: &mut Turn<'_>) -> Result<(), &'static str> {
        self.require_crossing(from, frame, turn.now)?;
        let kind = wire::parse(self.medium, &frame.bytes);
        let Kind::Tcp(segment) = kind else {
            return from.other().send(turn, frame.bytes.to_vec());
        };
        let connection = self.admit(from, &segment, frame, turn)?;
        from.other().send(turn, frame.bytes.to_vec())?;
        if self.table.public_port(&connection).is_none() {
            // Only what has left opens anything.
            let port = connection.inside.port;
            self.table.open(connection, port, from, turn);
        }
        self.table.passed(&connection, &segment, from, turn.now);
        Ok(())
    }

    /// What two on the same side say to each other is none of its business: it would reset
    /// connections that it merely overhears.
    fn require_crossing(
        &mut self,
        from: Side,
        frame: &Frame,
        now: Instant,
    ) -> Result<(), &'static str> {
        if self.medium != Medium::Ethernet {
            return Ok(());
        }
        let header = EthernetFrame::new_checked(&*frame.bytes).map_err(|_| "not Ethernet")?;
        self.stations.learn(header.src_addr(), from.index(), now);
        if self.stations.port_of(header.dst_addr(), now) == Some(from.index()) {
            return Err("its receiver is where it came from");
        }
        Ok(())
    }

    /// The connection of a segment that may pass: one that is known, or that it opens.
    fn admit(
        &self,
        from: Side,
        segment: &Segment,
        frame: &Frame,
        turn: &mut Turn<'_>,
    ) -> Result<Connection, &'static str> {
        let connection = Connection::of(segment, from);
        let is_known = self.table.public_port(&connection).is_some();
        let may_open = from == Side::Inside || self.allows_inbound;
        if is_known || may_open && is_opening(segment) {
            return Ok(connection);
        }
        self.table.answer_stranger(segment, frame, from, turn);
        Err("no mapping")
    }
}

impl Node for Firewall {
    fn new_port(&mut self, index: usize) -> Option<Port> {
        (index < 2).then(|| Port::new(self.medium))
    }

    fn power_on(&mut self, _: &mut Turn<'_>) {
        self.table.clear();
        self.stations.clear();
    }

    fn poll(&mut self, turn: &mut Turn<'_>) {
        self.table.expire(turn);
        take_all(turn, |from, frame, turn| self.take(from, frame, turn));
    }

    /// When the next mapping expires.
    fn poll_at(&mut self, _: Instant) -> Option<Instant> {
        self.table.next_expiry()
    }
}

#[cfg(test)]
mod tests {
    use ::smoltcp::socket::tcp::State;
    use ::smoltcp::wire::{IpAddress, IpCidr, IpEndpoint};

    use super::super::mapping::testing::{Path, around, connect, pour_noise};
    use super::super::{Conditions, Expiry, Host, Memory, Peer, Switch, Timeouts, World};
    use super::*;
    use crate::Config;

    /// A connection from the inside is open both ways, unchanged.
    #[test]
    fn the_inside_opens_connections() {
        let mut path = Path::through(Firewall::ip(Mappings::RFC5382), None);
        assert!(path.device_is_heard());
        assert!(path.peer_is_heard());
        assert_eq!(path.world[path.middle].mappings(), 1);
        assert_eq!(path.world[path.peer].connections[0].port, 50_001);
    }

    /// A connection from the outside opens only if that is allowed, and is reset only if that is
    /// the rule.
    #[test]
    fn the_outside_opens_connections_only_if_allowed() {
        for (rules, is_allowed, resets) in [
            (Mappings::AZURE, false, 0),
            (Mappings::AWS, false, 1),
            (Mappings::AWS, true, 0),
        ] {
            let firewall = Firewall::ip(rules).allow_inbound(is_allowed);
            let mut path = Path::through(firewall, None);
            let listener = path.world[path.device].add_tcp_socket(64, 64);
            path.world[path.device].tcp(listener).listen(80).unwrap();
            let device = IpAddress::v4(192, 168, 0, 2);
            path.world[path.peer].connect(device, 80, false);
            path.world.run_for(Duration::from_secs(1)).unwrap();
            let is_open = path.world[path.device].tcp(listener).state() != State::Listen;
            assert_eq!(is_open, is_allowed);
            assert_eq!(path.resets_to_peer(), resets);
        }
    }

    /// Of a connection that is not known, a damaged segment neither opens it nor is answered.
    #[test]
    fn damage_opens_nothing_and_is_not_answered() {
        for (is_damaged, opened) in [(true, 0), (false, 1)] {
            let firewall = Firewall::ip(Mappings::AWS).allow_inbound(true);
            let mut path = Path::through(firewall, None);
            path.world[path.middle].forget_all();
            let peer = &mut path.world[path.peer];
            let mut stray = peer.next_segment(0).unwrap();
            stray.checksum_ok = !is_damaged;
            peer.forge(&stray);
            stray.syn = true;
            stray.ack = None;
            peer.forge(&stray);
            path.world.run_for(Duration::from_millis(15)).unwrap();
            assert_eq!(path.world[path.middle].mappings(), opened);
            assert_eq!(path.resets_to_peer(), opened);
        }
    }

    /// The established timeout of RFC 5382, to the microsecond, for either side's next segment.
    #[test]
    fn rfc5382_forgets_after_2_h_4_min() {
        for (idle, lives) in around(Duration::from_secs(7440)) {
            let mut path = Path::through(Firewall::ip(Mappings::RFC5382), None);
            path.idle(idle);
            assert_eq!(path.device_is_heard(), lives, "{idle:?}");
            let mut path = Path::through(Firewall::ip(Mappings::RFC5382), None);
            path.idle(idle);
            assert_eq!(path.peer_is_heard(), lives, "{idle:?}");
            assert_eq!(path.device_socket().state(), State::Established);
        }
    }

    /// After expiry the side that sends first is reset, and the other is not.
    #[test]
    fn the_next_to_speak_is_reset() {
        for (idle, lives) in around(Duration::from_secs(350)) {
            let mut path = Path::through(Firewall::ip(Mappings::AWS), None);
            path.idle(idle);
            assert_eq!(path.resets_to_peer(), 0);
            assert_eq!(path.peer_is_heard(), lives);
            assert_eq!(path.resets_to_peer(), usize::from(!lives));
            assert_eq!(path.device_socket().state(), State::Established);

            let mut path = Path::through(Firewall::ip(Mappings::AWS), None);
            path.idle(idle);
            assert_eq!(path.device_is_heard(), lives);
            assert_eq!(path.resets_to_peer(), 0);
            let is_open = path.device_socket().state() == State::Established;
            assert_eq!(is_open, lives);
        }
    }

    /// A connection that never got an answer is forgotten after the opening timeout, and one that
    /// closes after the closing timeout.
    #[test]
    fn opening_and_closing_have_timeouts_of_their_own() {
        let rules = Mappings::new(
            Timeouts {
                opening: Duration::from_secs(5),
                established: Duration::from_secs(100),
                closing: Duration::from_secs(7),
            },
            Expiry::Silently,
        );
        let mut path = Path::through(Firewall::ip(rules), None);
        path.world[path.peer].half_close(0).unwrap();
        path.world.run_for(Duration::from_secs(1)).unwrap();
        let closing = path.last_passed();
        let end = closing.saturating_add(Duration::from_secs(7));
        path.world.run_before(end).unwrap();
        assert_eq!(path.expiries(), 0);
        path.world.run_until(end).unwrap();
        assert_eq!(path.expiries(), 1);

        path.world[path.peer].behave(super::super::Manner::Silent);
        path.connect(None);
        path.world.run_for(Duration::from_millis(100)).unwrap();
        path.world.crash(path.device).unwrap();
        let end = path.last_passed().saturating_add(Duration::from_secs(5));
        path.world.run_before(end).unwrap();
        assert_eq!(path.expiries(), 1);
        path.world.run_until(end).unwrap();
        assert_eq!(path.expiries(), 2);
    }

    /// A frame that has not left opens no mapping, and takes no other's place.
    #[test]
    fn what_has_not_left_opens_nothing() {
        let one = Mappings {
            limit: 1,
            ..Mappings::AWS
        };
        Path::through(Firewall::ip(one), None).try_without_room();
    }

    /// Probes within the timeout keep the mapping for a day.
    #[test]
    fn keep_alive_below_the_timeout_keeps_the_mapping() {
        let config = Config::new(Duration::from_secs(300), Duration::from_secs(10), 3).unwrap();
        let mut path = Path::through(Firewall::ip(Mappings::AWS), Some(config));
        path.world.run_for(Duration::from_secs(86_400)).unwrap();
        assert_eq!(path.expiries(), 0);
        assert!(path.peer_is_heard());
    }

    /// Switched off and on, it knows no connection.
    #[test]
    fn a_restart_forgets_all() {
        let mut path = Path::through(Firewall::ip(Mappings::AZURE), None);
        let middle = path.middle;
        path.world.reboot(middle, Memory::Lost).unwrap();
        assert!(!path.device_is_heard());
        assert_eq!(path.world[middle].mappings(), 0);
    }

    /// On an Ethernet the questions for hardware addresses pass, and a reset comes from the
    /// hardware address that the segment was for.
    #[test]
    fn an_ethernet_is_one_network_still() {
        let mut world = World::new(1);
        let [a, b] = [1, 2].map(|last| IpAddress::v4(192, 0, 2, last));
        let device = world.add("device", Host::ethernet(IpCidr::new(a, 24)));
        let firewall = world.add("firewall", Firewall::ethernet(Mappings::AWS));
        let server = world.add("server", Host::ethernet(IpCidr::new(b, 24)));
        world.link(device, firewall, Conditions::ideal()).unwrap();
        world.link(firewall, server, Conditions::ideal()).unwrap();
        let listener = world[server].add_tcp_socket(64, 64);
        world[server].tcp(listener).listen(7).unwrap();
        let client = connect(&mut world, device, None, IpEndpoint::new(b, 7));
        world.run_for(Duration::from_secs(5)).unwrap();
        assert_eq!(world[server].tcp(listener).state(), State::Established);
        world[firewall].forget_all();
        world[server].tcp(listener).send_slice(b"x").unwrap();
        world.run_for(Duration::from_secs(5)).unwrap();
        assert_eq!(world[server].tcp(listener).state(), State::Closed);
        assert_eq!(world[device].tcp(client).state(), State::Established);
    }

    /// What a switch floods between two hosts on one side neither passes nor is reset.
    #[test]
    fn what_is_overheard_is_left_alone() {
        let mut world = World::new(1);
        let [a, b] = [1, 2].map(|last| IpAddress::v4(192, 0, 2, last));
        let device = world.add("device", Host::ethernet(IpCidr::new(a, 24)));
        let server = world.add("server", Host::ethernet(IpCidr::new(b, 24)));
        // A switch that remembers nothing is a hub.
        let hub = world.add("hub", Switch::new().ageing(Duration::ZERO));
        let firewall = world.add("firewall", Firewall::ethernet(Mappings::AWS));
        let beyond = world.add("beyond", Peer::ethernet(IpAddress::v4(192, 0, 2, 3)));
        world.link(hub, device, Conditions::ideal()).unwrap();
        world.link(hub, server, Conditions::ideal()).unwrap();
        world.link(firewall, beyond, Conditions::ideal()).unwrap();
        world.link(hub, firewall, Conditions::ideal()).unwrap();
        let listener = world[server].add_tcp_socket(64, 64);
        world[server].tcp(listener).listen(7).unwrap();
        let client = connect(&mut world, device, None, IpEndpoint::new(b, 7));
        world.run_for(Duration::from_secs(5)).unwrap();
        assert_eq!(world[device].tcp(client).state(), State::Established);
        assert_eq!(world[firewall].mappings(), 0);
    }

    /// Any octets at all pass or are refused, on either medium.
    #[test]
    fn noise_does_no_harm() {
        let rules = Mappings::new(Timeouts::all(Duration::from_millis(5)), Expiry::WithReset);
        for medium in [Medium::Ip, Medium::Ethernet] {
            let mut world = World::new(1);
            let firewall = world.add("firewall", Firewall::new(medium, rules));
            let peers = [("inside", 1), ("outside", 2)].map(|(name, last)| {
                let address = IpAddress::v4(192, 0, 2, last);
                let peer = match medium {
                    Medium::Ip => Peer::ip(address),
                    _ => Peer::ethernet(address),
                };
                let peer = world.add(name, peer);
                world.link(firewall, peer, Conditions::ideal()).unwrap();
                peer
            });
            pour_noise(&mut world, &peers, medium);
        }
    }
}
