//! Peers do what they are told, and otherwise what the standard says.

use smoltcp::socket::tcp;
use tcp_keepalive_sim::trace::{Fate, Lost};
use tcp_keepalive_sim::wire::Segment;
use tcp_keepalive_sim::{
    Conditions, Host, Id, Manner, NodeId, Peer, Room, Script, SimError, World,
};

use super::pair::{PORT, address, cidr, config, first_handle, server};
use super::post::{after, ms, s};

struct Told {
    world: World,
    host: Id<Host>,
    peer: Id<Peer>,
}

/// A client of a peer with that manner, 10 ms away.
fn told(manner: Manner, script: Script) -> Told {
    let mut world = World::new(1);
    let host = world.add("host", Host::ip(cidr(1)).app(script));
    let peer = world.add("peer", Peer::ip(address(2)));
    world[peer].manner = manner;
    let conditions = Conditions::ideal().latency(ms(10));
    world.link(host, peer, conditions).unwrap();
    Told { world, host, peer }
}

impl Told {
    /// The segments of the peer, and when after the beginning.
    fn said(&self) -> Vec<(u64, Segment)> {
        let start = after(s(0)).as_micros();
        let frames = self.world.trace().frames();
        let said = frames.filter(|sent| sent.from == NodeId::from(self.peer));
        said.filter_map(|sent| {
            Some((
                (sent.at.as_micros() - start) / 1000,
                sent.kind.tcp()?.clone(),
            ))
        })
        .collect()
    }
}

/// A peer that was reset knows the connection no more: what comes for it is answered with RST,
/// which ends it for the sender as well.
#[test]
fn reset_ends_the_account() {
    let mut world = World::new(1);
    let a = world.add("a", Peer::ip(address(1)));
    let b = world.add("b", Peer::ip(address(2)));
    world.link(a, b, Conditions::ideal()).unwrap();
    world[a].connect(address(2), PORT, false);
    world.run_for(s(1)).unwrap();
    let mut reset = world[a].next_segment(0).unwrap();
    reset.rst = true;
    world[a].forge(&reset);
    world.run_for(s(1)).unwrap();
    assert!(!world[a].connections[0].is_over && world[b].connections[0].is_over);
    world[a].acknowledge(0).unwrap();
    world.run_for(s(1)).unwrap();
    let last = world.trace().frames().last().unwrap();
    assert_eq!(last.from, b.into());
    assert!(last.kind.tcp().unwrap().rst);
    assert!(world[a].connections[0].is_over);
}

/// An RST that is in the window but not at its edge ends nothing, and is answered; the RST that
/// comes back for the answer has the right number.
#[test]
fn doubtful_reset_is_asked_back() {
    let mut told = told(Manner::Answers, Script::client(server()));
    told.world.run_for(s(1)).unwrap();
    told.world[told.peer].connections[0].rcv_nxt -= 1;
    let handle = first_handle(&told.world, told.host);
    told.world[told.host].tcp(handle).abort();
    let before = told.said().len();
    told.world.wake(told.host).unwrap();
    told.world.run_for(ms(15)).unwrap();
    assert!(!told.world[told.peer].connections[0].is_over);
    assert_eq!(told.said().len(), before + 1);
    told.world.run_for(ms(20)).unwrap();
    assert!(told.world[told.peer].connections[0].is_over);
    assert_eq!(told.said().len(), before + 1);
}

/// A late peer is late with the answer to the SYN, too.
#[test]
fn late_peer_accepts_late() {
    let mut told = told(Manner::Late(ms(300)), Script::client(server()));
    told.world.run_for(ms(900)).unwrap();
    let (at, first) = &told.said()[0];
    assert!(first.syn);
    assert_eq!(*at, 310);
    let handle = first_handle(&told.world, told.host);
    assert_eq!(
        told.world[told.host].tcp(handle).state(),
        tcp::State::Established
    );
}

/// A late answer has the numbers of when it leaves, not of when it was asked for.
#[test]
fn late_answer_has_the_numbers_of_when_it_leaves() {
    let script = Script::client(server()).send_at(s(1), 5);
    let mut told = told(Manner::Answers, script);
    told.world.run_for(ms(500)).unwrap();
    let peer = told.peer;
    told.world[peer].behave(Manner::Late(s(2)));
    told.world.run_for(s(1)).unwrap();
    told.world[peer].say(0, 7).unwrap();
    told.world.run_for(s(5)).unwrap();
    let right = told.world[peer].connections[0].snd_nxt;
    let said = told.said();
    let (_, last) = said.iter().rfind(|(_, it)| it.payload.is_empty()).unwrap();
    assert_eq!(last.seq, right);
}

/// A peer that answers so many times answers neither more nor fewer.
#[test]
fn peer_answers_so_many_times() {
    let script = Script::client(server()).keep_alive(config());
    let mut told = told(Manner::Answers, script);
    told.world.run_for(s(1)).unwrap();
    told.world[told.peer].behave(Manner::AnswersNext(2));
    let before = told.said().len();
    told.world.run_for(s(100)).unwrap();
    assert_eq!(told.said().len(), before + 2);
    let handle = first_handle(&told.world, told.host);
    assert_eq!(
        told.world[told.host].tcp(handle).state(),
        tcp::State::Closed
    );
}

/// A peer says no more at once than fits into a segment of its own.
#[test]
fn peer_says_no_more_than_a_segment() {
    let mut told = told(Manner::Answers, Script::client(server()));
    told.world.run_for(s(1)).unwrap();
    let peer = told.peer;
    let longest = Peer::LONGEST;
    let len = longest + 1;
    let refused = Err(SimError::TooLong { len, longest });
    assert_eq!(told.world[peer].say(0, len), refused);
    assert_eq!(told.world[peer].say(0, longest), Ok(()));
}

/// Of what no packet could carry, a forged segment carries the beginning.
#[test]
fn forged_segment_is_no_longer_than_a_packet() {
    let mut peer = Peer::ip(address(2));
    peer.connect(address(1), PORT, true);
    let mut segment = peer.next_segment(0).unwrap();
    segment.payload = vec![0; 100_000];
    assert!((60_000..65_536).contains(&peer.frame(&segment).len()));
}

/// A peer that is told to connect before it is linked does so when it is, and does not spin.
#[test]
fn peer_without_a_link_waits_for_one() {
    let mut world = World::new(1);
    let peer = world.add("peer", Peer::ip(address(2)));
    world[peer].connect(address(1), PORT, false);
    assert_eq!(world.run_for(s(1)), Ok(()));
    let host = world.add("host", Host::ip(cidr(1)).app(Script::server(PORT)));
    let slow = Conditions::ideal().latency(ms(10));
    world.link(host, peer, slow).unwrap();
    world.run_for(s(1)).unwrap();
    let handle = first_handle(&world, host);
    assert_eq!(world[host].tcp(handle).state(), tcp::State::Established);
}

/// What a peer's device has no room for is lost, and the trace says so.
#[test]
fn without_room_what_a_peer_says_is_lost() {
    let mut told = told(Manner::Answers, Script::client(server()));
    told.world.run_for(s(1)).unwrap();
    let peer = told.peer;
    told.world.set_room(peer, Room::None).unwrap();
    told.world[peer].say(0, 7).unwrap();
    told.world.run_for(s(1)).unwrap();
    let last = told.world.trace().frames().last().unwrap();
    let (at, how) = (after(s(1)), Lost::NoRoom);
    assert_eq!(last.fate, Fate::Lost { at, how });
}
