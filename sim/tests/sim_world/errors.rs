//! What cannot be had, and runs that cannot go on.

use smoltcp::phy::Medium;
use tcp_keepalive::Instant;
use tcp_keepalive_sim::{
    Conditions, Host, Loss, Memory, Node, Peer, Port, Rate, Ratio, Room, SimError, Turn, World,
};

use super::pair::{address, cidr};
use super::post::{Line, Post, after, line, ms, s};

/// Each of these says what is wrong in one line.
#[test]
fn errors_are_one_line_each() {
    let (moment, now) = (after(s(1)), after(s(2)));
    for error in [
        SimError::NoSuchNode,
        SimError::NoSuchLink,
        SimError::NotOnLink { node: "a" },
        SimError::NoPortLeft { node: "a" },
        SimError::LinkToItself { node: "a" },
        SimError::MediumMismatch { nodes: ["a", "b"] },
        SimError::ImpossibleRatio { part: 2, whole: 1 },
        SimError::EmptyRange,
        SimError::ZeroRate,
        SimError::NoSuchConnection,
        SimError::TooLong { len: 2, longest: 1 },
        SimError::Past { moment, now },
        SimError::Spins { node: "a", at: now },
        SimError::EndlessPlans { at: now },
        SimError::Nested { at: now },
    ] {
        let text = error.to_string();
        assert!(text.len() > 10 && !text.contains('\n'), "{text}");
        let names_its_node = !format!("{error:?}").contains("\"a\"") || text.contains('a');
        assert!(names_its_node, "{text}");
    }
}

/// A line, and a node and a link that are not of its world.
fn strangers() -> (Line, tcp_keepalive_sim::Id<Post>, tcp_keepalive_sim::LinkId) {
    let mut other = World::new(1);
    let mut last = other.add("node", Post::new());
    let mut links = Vec::new();
    for _ in 0..2 {
        let near = other.add("node", Post::new());
        last = other.add("node", Post::new());
        links.push(other.link(near, last, Conditions::ideal()).unwrap());
    }
    (line(), last, links[1])
}

/// A node of another world is refused by every call.
#[test]
fn node_of_another_world_is_refused() {
    let (mut own, node, _) = strangers();
    let (world, a, link) = (&mut own.world, own.a, own.link);
    let refused = Err(SimError::NoSuchNode);
    let ideal = Conditions::ideal;
    assert_eq!(world.link(a, node, ideal()), Err(SimError::NoSuchNode));
    assert_eq!(world.partition_oneway(link, node), refused);
    assert_eq!(world.set_conditions(link, node, ideal()), refused);
    assert_eq!(world.crash(node), refused);
    assert_eq!(world.reboot(node, Memory::Kept), refused);
    assert_eq!(world.sleep(node, s(1)), refused);
    assert_eq!(world.wake(node), refused);
    assert_eq!(world.set_room(node, Room::None), refused);
    assert_eq!(world.set_pace(node, s(1)), refused);
    assert_eq!(world.clock_jump(node, s(1)), refused);
    assert_eq!(world.clock_step_back(node, s(1)), refused);
    assert_eq!(world.clock_drift(node, 1), refused);
    assert_eq!(world.clock_tick(node, s(1)), refused);
    assert_eq!(world.clock(node), Err(SimError::NoSuchNode));
    assert_eq!(world.turns(node), Err(SimError::NoSuchNode));
    assert_eq!(world.worst_idle_turns(node), Err(SimError::NoSuchNode));
    assert!(world.get(node).is_none());
    assert!(world.get_mut(node).is_none());
}

/// So is a link of another world.
#[test]
fn link_of_another_world_is_refused() {
    let (mut own, _, link) = strangers();
    let (world, a) = (&mut own.world, own.a);
    let refused = Err(SimError::NoSuchLink);
    assert_eq!(world.partition(link), refused);
    assert_eq!(world.partition_oneway(link, a), refused);
    assert_eq!(world.unplug(link), refused);
    assert_eq!(world.repair(link), refused);
    assert_eq!(world.hold(link), refused);
    assert_eq!(world.hold_oneway(link, a), refused);
    assert_eq!(world.release(link), refused);
    assert_eq!(world.set_conditions(link, a, Conditions::ideal()), refused);
    assert_eq!(world.lose_next(link, |_, _| true), refused);
    assert_eq!(world.lose_every(link, |_, _| true), refused);
    assert_eq!(own.world.trace().notes().count(), 0);
}

/// A direction away from a node that is not at the link is none.
#[test]
fn direction_needs_a_node_on_the_link() {
    let mut line = line();
    let far = line.world.add("far", Post::new());
    let refused = Err(SimError::NotOnLink { node: "far" });
    assert_eq!(line.world.partition_oneway(line.link, far), refused);
    assert_eq!(line.world.hold_oneway(line.link, far), refused);
    let changed = line
        .world
        .set_conditions(line.link, far, Conditions::ideal());
    assert_eq!(changed, refused);
}

/// A node without a port left is not linked again.
#[test]
fn node_without_a_port_left_is_not_linked() {
    let mut line = line();
    let far = line.world.add("far", Post::new());
    let result = line.world.link(far, line.a, Conditions::ideal());
    assert_eq!(result, Err(SimError::NoPortLeft { node: "a" }));
    // What was refused has taken nothing: the other end's port is still free.
    let near = line.world.add("near", Post::new());
    assert!(line.world.link(far, near, Conditions::ideal()).is_ok());
}

/// A node is not linked to itself.
#[test]
fn node_is_not_linked_to_itself() {
    let mut world = World::new(1);
    let a = world.add("a", Post::new());
    let result = world.link(a, a, Conditions::ideal());
    assert_eq!(result, Err(SimError::LinkToItself { node: "a" }));
}

/// Ethernet and bare IP are not linked.
#[test]
fn other_media_are_not_linked() {
    let mut world = World::new(1);
    let host = world.add("host", Host::ethernet(cidr(1)));
    let peer = world.add("peer", Peer::ip(address(2)));
    let nodes = ["host", "peer"];
    let result = world.link(host, peer, Conditions::ideal());
    assert_eq!(result, Err(SimError::MediumMismatch { nodes }));
}

/// What is no chance, no range and no rate cannot be had.
#[test]
fn impossible_conditions_cannot_be_had() {
    let (part, whole) = (2, 1);
    let impossible = Err(SimError::ImpossibleRatio { part, whole });
    assert_eq!(Ratio::new(part, whole), impossible);
    let (part, whole) = (0, 0);
    let impossible = Err(SimError::ImpossibleRatio { part, whole });
    assert_eq!(Ratio::new(part, whole), impossible);
    assert!(Ratio::percent(101).is_err() && Ratio::percent(100).is_ok());
    assert_eq!(
        Loss::outages(s(2)..=s(1), s(1)..=s(1)),
        Err(SimError::EmptyRange)
    );
    assert_eq!(Rate::new(0, 1), Err(SimError::ZeroRate));
}

/// A peer is told nothing of a connection that it does not have.
#[test]
fn peer_has_no_such_connection() {
    let mut peer = Peer::ip(address(1));
    let refused = Err(SimError::NoSuchConnection);
    assert_eq!(peer.say(0, 1), refused);
    assert_eq!(peer.acknowledge(0), refused);
    assert_eq!(peer.half_close(0), refused);
    assert_eq!(peer.offer_window(0, 1), refused);
    assert_eq!(peer.send_blind(0, 1), refused);
    assert_eq!(peer.send_stale(0, 1), refused);
    assert!(peer.next_segment(0).is_err());
    peer.connect(address(2), 7, false);
    assert_eq!(peer.say(0, 1), Ok(()));
}

/// Nothing is planned for the past, and time does not run backwards; now is not past.
#[test]
fn past_is_past() {
    let mut line = line();
    line.until(s(2));
    let (moment, now) = (after(s(1)), after(s(2)));
    let past = Err(SimError::Past { moment, now });
    assert_eq!(line.world.at(moment, |_| Ok(())), past);
    assert_eq!(line.world.run_until(moment), past);
    assert_eq!(line.world.run_before(moment), past);
    assert_eq!(line.world.now(), now);
    assert_eq!(line.world.at(now, |_| Ok(())), Ok(()));
    assert_eq!(line.world.run_until(now), Ok(()));
}

/// Asks for a turn at once, so many times.
struct Greedy {
    left: u32,
}

impl Node for Greedy {
    fn new_port(&mut self, _: usize) -> Option<Port> {
        None
    }

    fn power_on(&mut self, _: &mut Turn<'_>) {}

    fn poll(&mut self, _: &mut Turn<'_>) {
        self.left = self.left.saturating_sub(1);
    }

    fn poll_at(&mut self, now: Instant) -> Option<Instant> {
        (self.left > 0).then_some(now)
    }
}

/// A node that asks for a turn at once for ever is named, and when.
#[test]
fn node_that_spins_is_named() {
    let mut line = line();
    line.until(s(1));
    let greedy = line.world.add("greedy", Greedy { left: u32::MAX });
    let (node, at) = ("greedy", after(s(1)));
    assert_eq!(line.world.run_for(s(1)), Err(SimError::Spins { node, at }));
    assert_eq!(line.world.turns(greedy), Ok(1001));
}

/// A node with a pace asks for turns that take time, however many they are, and does not spin.
#[test]
fn node_with_a_pace_does_not_spin() {
    let mut world = World::new(1);
    let greedy = world.add("greedy", Greedy { left: u32::MAX });
    world.set_pace(greedy, ms(10)).unwrap();
    assert_eq!(world.run_for(s(60)), Ok(()));
    assert_eq!(world.worst_idle_turns(greedy), Ok(1));
}

/// One that does so now and then is not, and how often is counted.
#[test]
fn node_that_stops_does_not_spin() {
    let mut world = World::new(1);
    let greedy = world.add("greedy", Greedy { left: 100 });
    assert_eq!(world.run_for(s(1)), Ok(()));
    assert_eq!(world.turns(greedy), Ok(100));
    assert_eq!(world.worst_idle_turns(greedy), Ok(99));
}

/// Answers each frame with one.
struct Echo {
    begins: bool,
}

impl Node for Echo {
    fn new_port(&mut self, index: usize) -> Option<Port> {
        (index == 0).then(|| Port::new(Medium::Ip))
    }

    fn power_on(&mut self, _: &mut Turn<'_>) {}

    fn poll(&mut self, turn: &mut Turn<'_>) {
        let port = &mut turn.ports[0];
        let mut answers = usize::from(core::mem::take(&mut self.begins));
        while port.receive_frame().is_some() {
            answers += 1;
        }
        for _ in 0..answers {
            port.send_frame(vec![0]);
        }
    }

    fn poll_at(&mut self, now: Instant) -> Option<Instant> {
        self.begins.then_some(now)
    }
}

fn two_echoes(conditions: Conditions) -> Result<(), SimError> {
    let mut world = World::new(1);
    let a = world.add("ping", Echo { begins: true });
    let b = world.add("pong", Echo { begins: false });
    world.link(a, b, conditions)?;
    world.run_for(ms(10))
}

/// Two nodes that answer each other for ever in no time end the run, and one of them is named.
#[test]
fn endless_exchange_in_no_time_spins() {
    let result = two_echoes(Conditions::ideal());
    let Err(SimError::Spins { node, at }) = result else {
        panic!("{result:?}");
    };
    assert!(["ping", "pong"].contains(&node));
    assert_eq!(at, after(s(0)));
}

/// If it takes any time at all, it is an exchange like any other.
#[test]
fn endless_exchange_in_time_does_not_spin() {
    let slow = Conditions::ideal().latency(std::time::Duration::from_micros(1));
    assert_eq!(two_echoes(slow), Ok(()));
}

/// A plan that plans itself again for the same moment, for ever, ends the run.
#[test]
fn plan_that_plans_itself_ends_the_run() {
    fn again(world: &mut World) -> Result<(), SimError> {
        world.at(world.now(), again)
    }
    let mut world = World::new(1);
    world.at(after(s(1)), again).unwrap();
    let result = world.run_until(after(s(2)));
    assert_eq!(result, Err(SimError::EndlessPlans { at: after(s(1)) }));
}

/// A plan does not run the world that carries it out: time would go backwards.
#[test]
fn plan_does_not_run_the_world() {
    type Run = fn(&mut World) -> Result<(), SimError>;
    let runs: [Run; 4] = [
        |world| world.run_for(s(100)),
        |world| world.run_before(after(s(100))),
        |world| world.step(after(s(100))).map(drop),
        |world| world.run_while(after(s(100)), |_| true).map(drop),
    ];
    for run in runs {
        let mut line = line();
        let a = line.a;
        line.world[a].alarm = Some(after(s(50)));
        line.world.at(after(s(1)), run).unwrap();
        let refused = Err(SimError::Nested { at: after(s(1)) });
        assert_eq!(line.world.run_for(s(10)), refused);
        // The world goes on.
        assert_eq!(line.world.run_until(after(s(60))), Ok(()));
        assert_eq!(line.world[a].turns, [after(s(50))]);
    }
}
