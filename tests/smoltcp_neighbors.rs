//! Neighbours on one Ethernet: dead ones, ones whose hardware address changes, gateways, and what ARP
//! and neighbour discovery say of them, true or not.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a helper of a test may fail as a test does"
)]

mod station;

use std::time::Duration;

use smoltcp::iface::SocketHandle;
use smoltcp::phy::Medium;
use smoltcp::socket::tcp;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr, Ipv4Address};
use station::Station;
use tcp_keepalive::smoltcp::CloseReason;
use tcp_keepalive::{Config, Event, FailedAt, Instant, State, Verdict};
use tcp_keepalive_sim::wire::{self, Kind, Macs, Query, Segment};
use tcp_keepalive_sim::{
    Conditions, Host, Id, Manner, Mappings, Nat, Node, Peer, Room, Switch, World,
};

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

    /// The same, and some neighbours without a connection yet.
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
        // smoltcp asks for one neighbour a second.
        lan.world.run_for(secs(5.max(count.into()) + 1)).unwrap();
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

    /// The sequence numbers of the RSTs that the device sent to that neighbour.
    fn resets_to(&self, last: u8) -> Vec<u32> {
        let frames = self.world.trace().frames();
        let sent = frames.filter(|sent| sent.from == self.device.into());
        let segments = sent.filter_map(|sent| sent.kind.tcp().cloned());
        let resets = segments.filter(|it| it.rst && it.dst_addr == address(last));
        resets.map(|segment| segment.seq).collect()
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

/// A RST of the application's that waits for a dead neighbour, for ever, does not starve the probes of
/// others.
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

/// While the stack asks for a host that is dead, every second, the probes of others leave on time: they
/// need no neighbour's address.
#[test]
fn waiting_syn_does_not_starve_probes() {
    let mut lan = Lan::with_peers(1);
    lan.connect(77);
    lan.world.run_for(secs(3600)).unwrap();
    assert!(lan.is_open(0) && lan.state(0) == Some(State::Armed));
    // One of the handshake.
    assert_eq!(lan.questions_for(2).len(), 1);
    let probes = lan.acks_to(2);
    assert!(probes.len() > 20);
    for pair in probes[1..].windows(2) {
        // An answer takes two wires, twice.
        let between = pair[1].saturating_duration_since(pair[0]);
        assert_eq!(between, secs(120) + Duration::from_millis(4));
    }
}

/// A dead neighbour is asked for once with each probe after the first, and no other is.
#[test]
fn a_dead_neighbour_is_asked_for_once_a_probe_and_no_other_is() {
    let mut lan = Lan::with_peers(2);
    let patient = Config::new(secs(7200), secs(75), 9).unwrap();
    let (device, handle) = (lan.device, lan.handles[1]);
    lan.world[device]
        .keep_alive
        .enable(handle, patient)
        .unwrap();
    lan.world.crash(lan.peers[0]).unwrap();
    lan.connect(77);
    let before = [lan.questions_for(2).len(), lan.questions_for(3).len()];
    lan.world.run_for(secs(600)).unwrap();
    assert!(lan.is_given_up(0));
    assert_eq!(lan.questions_for(2).len() - before[0], 4);
    assert_eq!(lan.questions_for(3).len(), before[1]);
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

/// A dead neighbour is given up at the exact time, its probes unanswered.
#[test]
fn dead_neighbor_is_given_up_in_time() {
    let mut lan = Lan::with_peers(2);
    let handle = lan.handles[0];
    let heard = lan.world[lan.device].keep_alive.last_heard(handle).unwrap();
    lan.world.crash(lan.peers[0]).unwrap();
    lan.world.run_for(secs(600)).unwrap();
    let events = lan.world[lan.device].events();
    let (at, of, event) = events.last().unwrap();
    assert_eq!(*of, handle);
    let silent_for = i64::try_from(at.as_micros()).unwrap() - heard.total_micros();
    assert_eq!(silent_for, 170_000_000);
    assert!(matches!(event, Event::TimedOut(it) if (it.unanswered, it.unsent) == (5, 0)));
}

/// Behind a router whose hardware address the stack has forgotten, a long segment that says nothing new
/// is heard when it arrives, on its numbers: the stack's acknowledgement may get lost (K18).
#[test]
fn k18_a_long_segment_is_heard_without_an_acknowledgement() {
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
        let right = before + smoltcp::time::Duration::from_secs(90);
        assert_eq!(heard(&world), right, "{}", world.trace().text());
    }
}

const OLD: EthernetAddress = EthernetAddress([2, 0xaa, 0, 0, 0, 1]);
const NEW: EthernetAddress = EthernetAddress([2, 0xaa, 0, 0, 0, 2]);

/// Where the peer of a [`Moving`] network is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Where {
    Neighbor,
    BehindGateway,
}

/// A device, and a station whose hardware address may change.
struct Moving {
    world: World,
    device: Id<Host>,
    station: Id<Station>,
    switch: Id<Switch>,
    handle: SocketHandle,
    /// When the peer was heard first.
    zero: Instant,
}

impl Moving {
    /// An open connection, kept alive.
    fn open(place: Where, is_v6: bool, config: Config) -> Self {
        let ip = |last: u8| {
            if is_v6 {
                IpAddress::v6(0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into())
            } else {
                address(last)
            }
        };
        let far = if is_v6 {
            IpAddress::v6(0x2001, 0xdb8, 0xffff, 0, 0, 0, 0, 2)
        } else {
            IpAddress::v4(198, 51, 100, 2)
        };
        let (hop, remote) = match place {
            Where::Neighbor => (ip(2), ip(2)),
            Where::BehindGateway => (ip(254), far),
        };
        let mut world = World::new(1);
        let wire = || Conditions::ideal().latency(Duration::from_millis(1));
        let switch = world.add("switch", Switch::new());
        let station = world.add("station", Station::new(hop, OLD));
        let prefix = if is_v6 { 64 } else { 24 };
        let host = Host::ethernet(IpCidr::new(ip(1), prefix)).gateway(ip(254));
        let device = world.add("device", host);
        world.link(device, switch, wire()).unwrap();
        world.link(station, switch, wire()).unwrap();
        let host = &mut world[device];
        let handle = host.add_tcp_socket(512, 512);
        host.keep_alive.enable(handle, config).unwrap();
        let socket = host.sockets.get_mut::<tcp::Socket>(handle);
        socket
            .connect(host.iface.context(), (remote, 7), 49_152)
            .unwrap();
        world.run_for(Duration::from_millis(100)).unwrap();
        assert_eq!(world[device].tcp(handle).state(), tcp::State::Established);
        let heard = world[device].keep_alive.last_heard(handle).unwrap();
        let zero = Instant::from_micros(u64::try_from(heard.total_micros()).unwrap());
        Self {
            world,
            device,
            station,
            switch,
            handle,
            zero,
        }
    }

    fn at(&mut self, seconds: u64) {
        let moment = self.zero.saturating_add(secs(seconds));
        self.world.run_until(moment).unwrap();
    }

    fn add<N: Node>(&mut self, name: &'static str, node: N) -> Id<N> {
        let node = self.world.add(name, node);
        self.world
            .link(node, self.switch, Conditions::ideal())
            .unwrap();
        node
    }

    /// The station announces the address that it has.
    fn announce(&mut self, station: Id<Station>) {
        self.world[station].announce();
        self.world.wake(station).unwrap();
    }

    /// What the device has sent since then: when, to which address, and what.
    fn sent_since(&self, seconds: u64) -> Vec<(Instant, EthernetAddress, Kind)> {
        let from = self.zero.saturating_add(secs(seconds));
        let frames = self.world.trace().frames();
        let sent = frames.filter(|sent| sent.from == self.device.into() && sent.at >= from);
        sent.map(|sent| {
            let dst = EthernetAddress::from_bytes(&sent.bytes[..6]);
            (sent.at, dst, sent.kind.clone())
        })
        .collect()
    }

    /// When the device sent segments to that hardware address.
    fn segments_to(&self, mac: EthernetAddress, seconds: u64) -> Vec<Instant> {
        let sent = self.sent_since(seconds).into_iter();
        let to = sent.filter(|(_, dst, kind)| *dst == mac && kind.tcp().is_some());
        to.map(|(at, _, _)| at).collect()
    }

    /// When it asked for a neighbour.
    fn questions(&self, seconds: u64) -> Vec<Instant> {
        let sent = self.sent_since(seconds).into_iter();
        let asked = sent.filter(|(_, _, kind)| kind.is_neighbor_query());
        asked.map(|(at, _, _)| at).collect()
    }

    /// A liar sends the device alone an answer that it did not ask for.
    fn lie(&mut self, liar: Id<Station>, of: IpAddress, src: EthernetAddress) {
        let iface = &self.world[self.device].iface;
        let (ours, mac) = (iface.ip_addrs()[0].address(), iface.hardware_addr());
        let HardwareAddress::Ethernet(dst) = mac else {
            panic!("the device is on an Ethernet");
        };
        let reply = wire::neighbor_reply(of, ours, Macs { src, dst });
        self.world[liar].send(reply);
        self.world.wake(liar).unwrap();
        self.world.run_for(Duration::from_millis(100)).unwrap();
    }

    #[track_caller]
    fn is_kept(&mut self) {
        let keep_alive = &self.world[self.device].keep_alive;
        let state = keep_alive.state(self.handle);
        let verdicts = keep_alive.stats(self.handle).unwrap().verdicts;
        assert!(
            state == Some(State::Armed) && verdicts == 0,
            "{state:?}, {verdicts} verdicts\n{}",
            self.world.trace().text().last(60)
        );
    }

    fn verdict(&self) -> Option<(Duration, Verdict)> {
        let events = self.world[self.device].events().iter();
        let mut verdicts = events.filter_map(|(at, _, event)| match event {
            Event::TimedOut(verdict) => Some((at.saturating_duration_since(self.zero), *verdict)),
            _ => None,
        });
        verdicts.next()
    }
}

fn config(idle: u64, interval: u64, count: u8) -> Config {
    Config::new(secs(idle), secs(interval), count).unwrap()
}

const EVERYWHERE: [(Where, bool); 4] = [
    (Where::Neighbor, false),
    (Where::Neighbor, true),
    (Where::BehindGateway, false),
    (Where::BehindGateway, true),
];

/// An answered probe costs one frame of ours, near or far, however long the stack has forgotten its
/// neighbour.
#[test]
fn an_answered_probe_is_one_frame() {
    for (place, is_v6) in EVERYWHERE {
        let mut t = Moving::open(place, is_v6, config(100, 10, 5));
        t.at(10_050);
        t.is_kept();
        let sent = t.sent_since(1);
        let probes = t.world[t.device].keep_alive.stats(t.handle).unwrap();
        assert_eq!(sent.len(), 100, "{place:?}");
        assert_eq!((probes.probes_sent, probes.probes_answered), (100, 100));
    }
}

/// A next hop that has another hardware address, unannounced, is found at the second probe
/// at the latest, and the peer answers that.
#[test]
fn k17_a_changed_address_is_found_at_the_second_probe() {
    for (place, is_v6) in EVERYWHERE {
        let mut t = Moving::open(place, is_v6, config(30, 5, 4));
        t.at(1);
        let station = t.station;
        t.world[station].mac = NEW;
        t.at(36);
        t.is_kept();
        let stats = t.world[t.device].keep_alive.stats(t.handle).unwrap();
        assert_eq!((stats.probes_sent, stats.probes_answered), (2, 1));
        // The second probe goes out again, at once, and counts once.
        assert_eq!(t.segments_to(OLD, 1).len(), 2);
        assert_eq!(t.segments_to(NEW, 1).len(), 1);
        assert_eq!(t.questions(1).len(), 1);
        t.at(1000);
        t.is_kept();
        assert_eq!(t.segments_to(OLD, 36), []);
        assert_eq!(t.questions(36), []);
    }
}

/// A next hop moves, unannounced, while data waits for its answer under a user timeout. It is asked for with
/// the question that precedes the verdict. There is none if the stack has sent its data again just before.
#[test]
fn k17_a_user_timeout_does_not_give_up_a_next_hop_that_moved() {
    let mut kept = 0;
    for (place, is_v6) in EVERYWHERE {
        for seconds in 15..30 {
            let timeout = secs(seconds);
            let config = config(100, 5, 4).with_user_timeout(timeout).unwrap();
            let mut t = Moving::open(place, is_v6, config);
            t.at(1);
            let (device, station) = (t.device, t.station);
            t.world[station].mac = NEW;
            let host = &mut t.world[device];
            let socket = host.sockets.get_mut::<tcp::Socket>(t.handle);
            socket.send_slice(b"data").unwrap();
            t.world.wake(device).unwrap();
            t.at(seconds);
            assert_eq!(t.questions(1), [], "{place:?}, {timeout:?}");
            let strikes = t.zero.saturating_add(secs(1 + seconds));
            let last = t.segments_to(OLD, 1).pop().unwrap();
            if last.saturating_add(secs(5)) > strikes {
                continue;
            }
            kept += 1;
            t.at(58);
            t.is_kept();
            assert_eq!(t.questions(1).len(), 1, "{place:?}, {timeout:?}");
            assert_eq!(t.world[device].tcp(t.handle).send_queue(), 0);
        }
    }
    assert_eq!(kept, 44);
}

/// The stack asks for its next hop on behalf of another socket, and hears that it has moved: the stack
/// believes the answer, and so do the probes of all connections through that hop.
#[test]
fn k17_an_answer_to_the_stacks_own_question_moves_the_probes_too() {
    for (place, is_v6) in EVERYWHERE {
        let mut t = Moving::open(place, is_v6, config(100, 5, 4));
        t.at(70);
        let (device, station) = (t.device, t.station);
        t.world[station].mac = NEW;
        // smoltcp has forgotten it by now.
        let remote = t.world[device].tcp(t.handle).remote_endpoint().unwrap();
        let host = &mut t.world[device];
        let other = host.add_tcp_socket(512, 512);
        let socket = host.sockets.get_mut::<tcp::Socket>(other);
        socket
            .connect(host.iface.context(), remote, 49_153)
            .unwrap();
        t.world.wake(device).unwrap();
        t.at(71);
        assert_eq!(t.questions(70).len(), 1, "{place:?}, {is_v6}");
        t.at(150);
        t.is_kept();
        assert_eq!(t.segments_to(OLD, 71), [], "{place:?}, {is_v6}");
        let stats = t.world[device].keep_alive.stats(t.handle).unwrap();
        assert_eq!((stats.probes_sent, stats.probes_answered), (1, 1));
    }
}

/// The same of a gateway, if connections to neighbours were opened after the one through it.
#[test]
fn k17_a_gateway_is_not_forgotten_for_neighbours() {
    for neighbours in [1, 3, 4, 6] {
        let mut t = Moving::open(Where::BehindGateway, false, config(30, 5, 4));
        let device = t.device;
        for last in 10..10 + neighbours {
            t.add("peer", Peer::ethernet(address(last)));
            let host = &mut t.world[device];
            let handle = host.add_tcp_socket(512, 512);
            let socket = host.sockets.get_mut::<tcp::Socket>(handle);
            let context = host.iface.context();
            socket
                .connect(context, (address(last), 7), 50_000 + u16::from(last))
                .unwrap();
            host.keep_alive.enable(handle, config(50, 5, 4)).unwrap();
            t.world.run_for(secs(2)).unwrap();
        }
        t.at(29);
        let station = t.station;
        t.world[station].mac = NEW;
        t.at(36);
        t.is_kept();
        assert_eq!(t.segments_to(NEW, 29).len(), 1, "{neighbours}");
        t.at(300);
        t.is_kept();
    }
}

/// A neighbour that lives at another hardware address is found though eight others, which are due at
/// the same moment, are dead.
#[test]
fn k17_eight_dead_neighbours_do_not_hide_one_that_moved() {
    for place in 0..9 {
        let mut world = World::new(1);
        let switch = world.add("switch", Switch::new());
        let wire = || Conditions::ideal().latency(Duration::from_millis(1));
        let host = Host::ethernet(IpCidr::new(address(1), 24));
        let device = world.add("device", host);
        world.link(device, switch, wire()).unwrap();
        let mut handles = Vec::new();
        let mut stations = Vec::new();
        for number in 0..9 {
            let mac = EthernetAddress([2, 0xaa, 0, 0, 0, 10 + number]);
            let station = world.add("station", Station::new(address(10 + number), mac));
            world.link(station, switch, wire()).unwrap();
            stations.push(station);
            let host = &mut world[device];
            let handle = host.add_tcp_socket(512, 512);
            let socket = host.sockets.get_mut::<tcp::Socket>(handle);
            let remote = (address(10 + number), 7);
            socket
                .connect(host.iface.context(), remote, 50_000)
                .unwrap();
            world.run_for(secs(2)).unwrap();
            handles.push(handle);
        }
        for handle in &handles {
            let keep_alive = &mut world[device].keep_alive;
            keep_alive.enable(*handle, config(10, 1, 3)).unwrap();
        }
        world.run_for(secs(15)).unwrap();
        // They answer at one moment, and fall due at one moment.
        for (number, station) in stations.iter().enumerate() {
            if number == place {
                world[*station].mac = NEW;
            } else {
                world[*station].is_dead = true;
            }
        }
        world.run_for(secs(100)).unwrap();
        for (number, handle) in handles.iter().enumerate() {
            let state = world[device].keep_alive.state(*handle);
            let right = if number == place {
                State::Armed
            } else {
                State::TimedOut
            };
            assert_eq!(
                state,
                Some(right),
                "{place}: {}",
                world.trace().text().last(100)
            );
        }
    }
}

/// Of many neighbours that fall silent at one moment each is asked for, and each verdict says
/// whether it answered that.
#[test]
fn k20_each_of_many_silent_neighbours_is_asked_for() {
    for (is_dead, right) in [(true, FailedAt::NextHop), (false, FailedAt::Peer)] {
        let mut lan = Lan::with_peers(8);
        let device = lan.device;
        for index in 0..8 {
            let (handle, peer) = (lan.handles[index], lan.peers[index]);
            let keep_alive = &mut lan.world[device].keep_alive;
            keep_alive.enable(handle, config(100, 1, 3)).unwrap();
            lan.world[peer].behave(Manner::Silent);
            if is_dead {
                lan.world.crash(peer).unwrap();
            }
        }
        // All fall due at one moment.
        lan.world.sleep(device, secs(150)).unwrap();
        lan.world.run_for(secs(300)).unwrap();
        for handle in &lan.handles {
            let reason = lan.world[device].keep_alive.close_reason(*handle);
            let Some(CloseReason::KeepAlive(verdict)) = reason else {
                panic!("{handle}: {reason:?}");
            };
            assert_eq!(verdict.failed_at, right, "{handle}");
        }
    }
}

/// A changed address that is announced before the probe is asked for at once, and not one probe goes to
/// the old one.
#[test]
fn k17_an_announced_address_is_followed_without_a_probe_to_the_old_one() {
    for (place, is_v6) in EVERYWHERE {
        for last in [18, 77] {
            let mut t = Moving::open(place, is_v6, config(30, 5, 4));
            t.at(1);
            let station = t.station;
            t.world[station].mac = NEW;
            for second in 18..=last {
                t.at(second);
                t.announce(station);
            }
            t.at(300);
            t.is_kept();
            assert_eq!(t.segments_to(OLD, 1), [], "{place:?} {is_v6}");
            assert!(t.segments_to(NEW, 1).len() >= 8);
            assert_eq!(t.questions(1).len(), 1);
        }
    }
}

/// A backup that announces itself, drops everything and steps down without a word does no harm: the old
/// one goes on, and answers what we ask.
#[test]
fn k17_a_backup_that_steps_down_again_harms_nobody() {
    for (place, is_v6) in EVERYWHERE {
        for announced in [3, 23, 29, 39] {
            let mut t = Moving::open(place, is_v6, config(30, 5, 4));
            let address = t.world[t.station].address;
            let backup = t.add("backup", Station::new(address, NEW));
            t.world[backup].is_dead = true;
            t.at(announced);
            t.announce(backup);
            t.at(300);
            t.is_kept();
            assert_eq!(t.segments_to(NEW, 1), [], "{place:?} {is_v6} {announced}");
            let stats = t.world[t.device].keep_alive.stats(t.handle).unwrap();
            assert_eq!(stats.probes_sent, stats.probes_answered);
        }
    }
}

/// The same if the old one answers no question: an undisputed lie changes nothing either.
#[test]
fn k17_an_announcement_alone_changes_nothing() {
    for (place, is_v6) in EVERYWHERE {
        let mut t = Moving::open(place, is_v6, config(30, 5, 4));
        let (address, station) = (t.world[t.station].address, t.station);
        let liar = t.add("liar", Station::new(address, NEW));
        t.world[liar].is_dead = true;
        t.world[station].is_shy = true;
        for second in 3..200 {
            t.at(second);
            t.announce(liar);
        }
        t.at(300);
        t.is_kept();
        assert_eq!(t.segments_to(NEW, 1), []);
        // At most one question an interval.
        for pair in t.questions(1).windows(2) {
            assert!(pair[1].saturating_duration_since(pair[0]) >= secs(5));
        }
    }
}

/// A next hop that is dead is given up on time, to the microsecond: its probes left, and no answer
/// came. In the hour after that nothing is sent for the connection.
#[test]
fn k20_a_dead_next_hop_is_given_up_on_time_and_then_left_alone() {
    for (place, is_v6) in EVERYWHERE {
        let mut t = Moving::open(place, is_v6, config(100, 10, 4));
        t.at(1);
        let station = t.station;
        t.world[station].is_dead = true;
        t.at(200);
        let (at, verdict) = t.verdict().unwrap();
        assert_eq!(at, secs(140), "{place:?} {is_v6}");
        assert_eq!((verdict.unanswered, verdict.unsent), (4, 0));
        assert_eq!(verdict.failed_at, FailedAt::NextHop);
        assert_eq!(verdict.silent_for, secs(140));
        // Four probes and a RST, and a question with each probe after the first.
        assert_eq!(t.segments_to(OLD, 1).len(), 5);
        assert_eq!(t.questions(1).len(), 3);
        t.at(3800);
        assert_eq!(t.sent_since(141).len(), 0);
    }
}

/// Behind a next hop that answers, a peer that is silent is what failed.
#[test]
fn k20_a_next_hop_that_answers_did_not_fail() {
    let mut lan = Lan::with_peers(1);
    let peer = lan.peers[0];
    lan.world[peer].behave(Manner::Silent);
    lan.world.run_for(secs(600)).unwrap();
    let reason = lan.world[lan.device]
        .keep_alive
        .close_reason(lan.handles[0]);
    assert!(
        matches!(reason, Some(CloseReason::KeepAlive(it)) if it.failed_at == FailedAt::Peer),
        "{reason:?}"
    );
}

/// Of nine neighbours, eight die, and the ninth is kept, whichever it is.
#[test]
fn eight_dead_neighbours_do_not_starve_the_ninth() {
    for live in [0, 4, 8] {
        let mut lan = Lan::with_peers(9);
        for index in 0..9 {
            let handle = lan.handles[index];
            let device = lan.device;
            lan.world[device]
                .keep_alive
                .enable(handle, config(100, 1, 3))
                .unwrap();
        }
        for index in (0..9).filter(|index| *index != live) {
            lan.world.crash(lan.peers[index]).unwrap();
        }
        lan.world.run_for(secs(1000)).unwrap();
        for index in 0..9 {
            assert_eq!(lan.is_given_up(index), index != live);
        }
        assert!(lan.is_open(live) && lan.state(live) == Some(State::Armed));
    }
}

/// Eight connections to one neighbour, which answers, ask for no address in an hour.
#[test]
fn eight_connections_to_one_neighbour_ask_for_nobody() {
    let mut lan = Lan::with_peers(1);
    let device = lan.device;
    for number in 0..8 {
        let host = &mut lan.world[device];
        let handle = host.add_tcp_socket(512, 512);
        let socket = host.sockets.get_mut::<tcp::Socket>(handle);
        let context = host.iface.context();
        socket
            .connect(context, (address(2), 7), 50_000 + number)
            .unwrap();
        host.keep_alive.enable(handle, config(10, 2, 3)).unwrap();
        lan.handles.push(handle);
    }
    lan.world.run_for(secs(5)).unwrap();
    let before = lan.questions_for(2).len();
    lan.world.run_for(secs(3600)).unwrap();
    assert_eq!(lan.questions_for(2).len(), before);
    for index in 1..9 {
        assert_eq!(lan.state(index), Some(State::Armed));
        let stats = lan.world[device].keep_alive.stats(lan.handles[index]);
        assert!(stats.unwrap().probes_answered > 300);
    }
}

/// The peer gets the RST of a verdict though the device had no room for it, and the socket was used for
/// another connection meanwhile.
#[test]
fn rst_of_a_verdict_survives_a_full_device_and_a_reused_socket() {
    let mut lan = Lan::with_peers_and_strangers(1, 1);
    let (device, peer, handle) = (lan.device, lan.peers[0], lan.handles[0]);
    lan.world[device]
        .keep_alive
        .enable(handle, config(100, 10, 3))
        .unwrap();
    lan.world[peer].behave(Manner::Silent);
    lan.world.run_for(secs(120 - 6)).unwrap();
    lan.world.run_for(secs(4)).unwrap();
    lan.world.set_room(device, Room::NoneToTransmit).unwrap();
    lan.world.run_for(secs(5)).unwrap();
    assert!(!lan.is_given_up(0));
    lan.world.run_for(secs(3)).unwrap();
    assert!(lan.is_given_up(0));
    let host = &mut lan.world[device];
    let socket = host.sockets.get_mut::<tcp::Socket>(handle);
    assert_eq!(socket.state(), tcp::State::Closed);
    let remote = (address(3), 7);
    socket
        .connect(host.iface.context(), remote, 60_000)
        .unwrap();
    lan.world.wake(device).unwrap();
    lan.world.run_for(secs(3)).unwrap();
    assert_eq!(lan.resets_to(2), []);
    lan.world.set_room(device, Room::Plenty).unwrap();
    lan.world.wake(device).unwrap();
    lan.world.run_for(secs(2)).unwrap();
    let resets = lan.resets_to(2);
    let numbers = lan.world[peer].connections[0].rcv_nxt;
    assert_eq!(resets, [numbers], "{}", lan.world.trace().text().last(60));
    assert!(lan.is_open(0) && lan.state(0) == Some(State::Armed));
    // And the new connection is kept alive, and given up, like any other.
    let stranger = lan.peers[1];
    lan.world.run_for(secs(500)).unwrap();
    assert!(lan.is_open(0) && lan.state(0) == Some(State::Armed));
    lan.world[stranger].behave(Manner::Silent);
    lan.world.run_for(secs(200)).unwrap();
    assert!(lan.is_given_up(0));
}

/// A reply with a hardware address that no station has, or for an address that is no connection's
/// next hop, changes nothing and asks nothing, whether a round is under way or not.
#[test]
fn bad_replies_change_nothing() {
    let group = EthernetAddress([1, 0, 0x5e, 0, 0, 1]);
    let zero = EthernetAddress([0; 6]);
    let other = |is_v6| {
        if is_v6 {
            IpAddress::v6(0x2001, 0xdb8, 0, 0, 0, 0, 0, 99)
        } else {
            address(99)
        }
    };
    for (place, is_v6) in EVERYWHERE {
        for (mac, is_its) in [
            (EthernetAddress::BROADCAST, true),
            (group, true),
            (zero, true),
            (NEW, false),
        ] {
            // At 36 s a question has left and is not answered.
            for moment in [10, 36] {
                let mut t = Moving::open(place, is_v6, config(30, 5, 4));
                let (station, other) = (t.station, other(is_v6));
                let of = if is_its {
                    t.world[station].address
                } else {
                    other
                };
                let liar = t.add("liar", Station::new(other, NEW));
                t.world[liar].is_dead = true;
                t.at(moment.min(29));
                t.world[station].is_dead = true;
                t.at(moment);
                let questions = t.questions(1).len();
                t.lie(liar, of, mac);
                assert_eq!(t.questions(1).len(), questions);
                t.world[station].is_dead = false;
                t.at(300);
                t.is_kept();
                let mut sent = t.sent_since(1).into_iter();
                let is_elsewhere =
                    |(_, dst, kind): (_, _, Kind)| dst != OLD && kind.tcp().is_some();
                assert!(!sent.any(is_elsewhere), "{mac} {is_its} {moment}");
            }
        }
    }
}

/// A reply that we did not ask for, with another address for the next hop, is a reason to ask, and no
/// more: the probes go on to where they went.
#[test]
fn an_unsolicited_reply_moves_no_probe() {
    for (place, is_v6) in EVERYWHERE {
        let mut t = Moving::open(place, is_v6, config(30, 5, 4));
        let hop = t.world[t.station].address;
        let liar = t.add("liar", Station::new(hop, NEW));
        t.world[liar].is_dead = true;
        t.at(10);
        t.lie(liar, hop, NEW);
        t.at(300);
        t.is_kept();
        assert_eq!(t.segments_to(NEW, 1), []);
        assert_eq!(t.questions(1).len(), 1);
    }
}
