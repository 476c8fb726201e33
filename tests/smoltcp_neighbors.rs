//! Several neighbours on one Ethernet, of which some are dead. smoltcp lets one question for a
//! hardware address leave in a second; none of those who want to ask may starve another.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a helper of a test may fail as a test does"
)]

use std::time::Duration;

use smoltcp::iface::SocketHandle;
use smoltcp::phy::Medium;
use smoltcp::socket::tcp;
use smoltcp::wire::{IpAddress, IpCidr, Ipv4Address};
use tcp_keepalive::sim::wire::{Kind, Query, Segment};
use tcp_keepalive::sim::{Conditions, Host, Id, Mappings, Nat, Peer, Switch, World};
use tcp_keepalive::smoltcp::CloseReason;
use tcp_keepalive::{Config, Instant, State};

const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

const fn address(last: u8) -> IpAddress {
    IpAddress::v4(192, 0, 2, last)
}

/// A device and its neighbours, behind one switch.
struct Lan {
    world: World,
    device: Id<Host>,
    peers: Vec<Id<Peer>>,
    handles: Vec<SocketHandle>,
}

impl Lan {
    /// All connections open, and kept alive: idle two minutes, which is longer than smoltcp remembers
    /// a neighbour, five probes ten seconds apart.
    fn with_peers(count: u8) -> Self {
        Self::with_peers_and_strangers(count, 0)
    }

    /// The same, and some neighbours that nobody has talked to yet.
    fn with_peers_and_strangers(count: u8, strangers: u8) -> Self {
        let mut world = World::new(1);
        let wire = || Conditions::ideal().latency(Duration::from_millis(1));
        let switch = world.add("switch", Switch::new());
        let device = world.add("device", Host::ethernet(IpCidr::new(address(1), 24)));
        world.link(device, switch, wire()).unwrap();
        let mut peers = Vec::new();
        for last in 2..2 + count + strangers {
            let peer = world.add("peer", Peer::ethernet(address(last)));
            world.link(peer, switch, wire()).unwrap();
            peers.push(peer);
        }
        let mut lan = Self {
            world,
            device,
            peers,
            handles: Vec::new(),
        };
        for last in 2..2 + count {
            let handle = lan.connect(last);
            lan.handles.push(handle);
            let config = Config::new(secs(120), secs(10), 5).unwrap();
            lan.world[device].keep_alive.enable(handle, config).unwrap();
        }
        lan.world.run_for(secs(5)).unwrap();
        assert!((0..lan.handles.len()).all(|index| lan.is_open(index)));
        lan
    }

    fn connect(&mut self, last: u8) -> SocketHandle {
        let host = &mut self.world[self.device];
        let handle = host.add_tcp_socket(512, 512);
        let socket = host.sockets.get_mut::<tcp::Socket>(handle);
        let remote = (address(last), 7);
        socket
            .connect(host.iface.context(), remote, 49_152 + u16::from(last))
            .unwrap();
        handle
    }

    fn is_open(&mut self, index: usize) -> bool {
        let handle = self.handles[index];
        self.world[self.device].tcp(handle).state() == tcp::State::Established
    }

    fn state(&self, index: usize) -> Option<State> {
        self.world[self.device]
            .keep_alive
            .state(self.handles[index])
    }

    /// When the device asked for the address of that neighbour.
    fn questions_for(&self, last: u8) -> Vec<Instant> {
        let frames = self.world.trace().frames();
        let asked = frames.filter(|sent| {
            let is_for = |query: &Query| query.target == address(last);
            sent.from == self.device.into()
                && matches!(&sent.kind, Kind::NeighborQuery(query) if is_for(query))
        });
        asked.map(|sent| sent.at).collect()
    }

    /// When the device sent an empty segment to that neighbour.
    fn acks_to(&self, last: u8) -> Vec<Instant> {
        let frames = self.world.trace().frames();
        let sent = frames.filter(|sent| {
            let is_to = |segment: &Segment| segment.dst_addr == address(last);
            sent.from == self.device.into()
                && sent
                    .kind
                    .tcp()
                    .is_some_and(|segment| is_to(segment) && segment.is_pure_ack())
        });
        sent.map(|sent| sent.at).collect()
    }

    fn is_given_up(&self, index: usize) -> bool {
        let reason = self.world[self.device]
            .keep_alive
            .close_reason(self.handles[index]);
        matches!(reason, Some(CloseReason::KeepAlive(_)))
    }
}

/// Three of four neighbours are dead, and all four are due at the same moment: the fourth lives.
#[test]
fn dead_neighbors_do_not_starve_a_live_one() {
    let mut lan = Lan::with_peers(4);
    for index in 0..3 {
        lan.world.crash(lan.peers[index]).unwrap();
    }
    lan.world.run_for(secs(600)).unwrap();
    assert!((0..3).all(|index| lan.is_given_up(index)));
    assert!(
        lan.is_open(3) && lan.state(3) == Some(State::Armed),
        "{}",
        lan.world.trace().text()
    );
}

/// The order in which they were enabled makes no difference.
#[test]
fn a_live_neighbor_is_not_starved_whichever_it_is() {
    for live in 0..3 {
        let mut lan = Lan::with_peers(3);
        for index in (0..3).filter(|index| *index != live) {
            lan.world.crash(lan.peers[index]).unwrap();
        }
        lan.world.run_for(secs(600)).unwrap();
        assert!(
            lan.is_open(live) && lan.state(live) == Some(State::Armed),
            "{live}"
        );
    }
}

/// A RST that waits for a dead neighbour, for ever, does not starve the probes of others.
#[test]
fn waiting_rst_does_not_starve_probes() {
    let mut lan = Lan::with_peers(2);
    lan.world.crash(lan.peers[0]).unwrap();
    lan.world.run_for(secs(100)).unwrap();
    let device = lan.device;
    let handle = lan.handles[0];
    lan.world[device].tcp(handle).abort();
    lan.world.run_for(secs(3600)).unwrap();
    assert!(lan.is_open(1) && lan.state(1) == Some(State::Armed));
}

/// An application's connection to a host that is dead does not starve the probes of others: once the
/// neighbour has answered they leave, whoever may ask next.
#[test]
fn waiting_syn_does_not_starve_probes() {
    let mut lan = Lan::with_peers(1);
    lan.connect(77);
    lan.world.run_for(secs(3600)).unwrap();
    assert!(lan.is_open(0) && lan.state(0) == Some(State::Armed));
    let questions = lan.questions_for(2);
    let probes = lan.acks_to(2);
    // The first of each are of the handshake.
    let pairs = questions.iter().zip(&probes).skip(1);
    assert!(pairs.len() > 20 && questions.len() == probes.len());
    for (question, probe) in pairs {
        // Over two wires, and back.
        assert_eq!(
            probe.saturating_duration_since(*question),
            Duration::from_millis(4)
        );
    }
}

/// Nobody is asked for on behalf of a connection that has nothing to send.
#[test]
fn who_is_not_due_is_not_asked_for() {
    let mut lan = Lan::with_peers(2);
    let patient = Config::new(secs(7200), secs(75), 9).unwrap();
    let (device, handle) = (lan.device, lan.handles[1]);
    lan.world[device]
        .keep_alive
        .enable(handle, patient)
        .unwrap();
    lan.world.crash(lan.peers[0]).unwrap();
    lan.connect(77);
    let before = lan.questions_for(3).len();
    lan.world.run_for(secs(600)).unwrap();
    assert!(lan.is_given_up(0) && lan.questions_for(2).len() > 5);
    assert_eq!(lan.questions_for(3).len(), before);
}

/// While dead neighbours are being probed, the application reaches one that is alive.
#[test]
fn probes_do_not_starve_the_application() {
    for millis in [0, 100, 300, 500, 700, 999] {
        let mut lan = Lan::with_peers_and_strangers(2, 1);
        lan.world.crash(lan.peers[0]).unwrap();
        lan.world.crash(lan.peers[1]).unwrap();
        let probing = secs(130) + Duration::from_millis(millis);
        lan.world.run_for(probing).unwrap();
        assert!((0..2).all(|index| matches!(lan.state(index), Some(State::Probing { .. }))));
        let handle = lan.connect(4);
        lan.world.run_for(secs(5)).unwrap();
        let device = lan.device;
        let state = lan.world[device].tcp(handle).state();
        assert_eq!(
            state,
            tcp::State::Established,
            "{millis} ms\n{}",
            lan.world.trace().text().last(60)
        );
    }
}

/// A dead neighbour is still given up at the exact time, its attempts unsent.
#[test]
fn dead_neighbor_is_given_up_in_time() {
    let mut lan = Lan::with_peers(2);
    let handle = lan.handles[0];
    let heard = lan.world[lan.device].keep_alive.last_heard(handle).unwrap();
    lan.world.crash(lan.peers[0]).unwrap();
    lan.world.run_for(secs(600)).unwrap();
    let events = lan.world[lan.device].events();
    let (at, of, _) = events.last().unwrap();
    assert_eq!(*of, handle);
    let silent_for = i64::try_from(at.as_micros()).unwrap() - heard.total_micros();
    assert_eq!(silent_for, 170_000_000);
}

/// Behind a router whose hardware address is not known any more, a long segment that says nothing new
/// is heard when it arrives: the acknowledgement that would have told may get lost. It has to be
/// intact, as any other.
#[test]
fn k2_what_was_acknowledged_before_is_heard_without() {
    for is_intact in [true, false] {
        let mut world = World::new(1);
        let host = Host::ethernet(IpCidr::new(address(1), 24)).gateway(address(254));
        let device = world.add("device", host);
        let outside = Ipv4Address::new(198, 51, 100, 1);
        let router = Nat::new(Medium::Ethernet, Medium::Ip, outside, Mappings::RFC5382);
        let router = world.add("router", router);
        let far = IpAddress::v4(198, 51, 100, 2);
        let peer = world.add("peer", Peer::ip(far));
        let lan = world.link(device, router, Conditions::ideal()).unwrap();
        world.link(router, peer, Conditions::ideal()).unwrap();

        let host = &mut world[device];
        let handle = host.add_tcp_socket(1024, 1024);
        let config = Config::new(secs(300), secs(2), 3).unwrap();
        host.keep_alive.enable(handle, config).unwrap();
        let socket = host.sockets.get_mut::<tcp::Socket>(handle);
        socket
            .connect(host.iface.context(), (far, 7), 49_152)
            .unwrap();
        world.run_for(secs(10)).unwrap();
        world[peer].say(0, 400).unwrap();
        world.wake(peer).unwrap();
        world.run_for(secs(90)).unwrap();
        let heard = |world: &World| world[device].keep_alive.last_heard(handle).unwrap();
        let before = heard(&world);

        world.partition_oneway(lan, device).unwrap();
        let mut again = world[peer].next_segment(0).unwrap();
        again.seq = again.seq.wrapping_sub(400);
        // Not quite to its end.
        again.payload = vec![b'p'; 390];
        again.checksum_ok = is_intact;
        world[peer].forge(&again);
        world.wake(peer).unwrap();
        world.run_for(secs(2)).unwrap();
        let later = if is_intact { 90 } else { 0 };
        let right = before + smoltcp::time::Duration::from_secs(later);
        assert_eq!(heard(&world), right, "{}", world.trace().text());
    }
}
