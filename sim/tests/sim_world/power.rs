//! Nodes that fall over, start again, sleep, and have no room.

use smoltcp::socket::tcp;
use tcp_keepalive_sim::trace::{Happening, Lost};
use tcp_keepalive_sim::{Conditions, Memory, Room, Script, World};

use super::pair::{PORT, kept_alive, pair, server};
use super::post::{Post, after, arrived, line, line_with, lost, ms, s};

/// What reaches a node that is off is lost, and so is what it had received and not looked at.
#[test]
fn crash_loses_what_arrives() {
    let mut line = line();
    let (a, b) = (line.a, line.b);
    line.world.sleep(b, s(100)).unwrap();
    line.send(a, b"1");
    line.until(s(1));
    line.world.crash(b).unwrap();
    line.send(a, b"2");
    line.until(s(200));
    let fates = [s(1), s(1) + ms(10)].map(|at| lost(at, Lost::NobodyThere));
    assert_eq!(line.fates(), fates);
    assert_eq!(line.world[b].turns, []);
}

/// A node that is off has no turns, not even if it is woken or sent to sleep.
#[test]
fn node_that_is_off_has_no_turns() {
    let mut line = line();
    let a = line.a;
    line.world[a].alarm = Some(after(s(1)));
    line.world.crash(a).unwrap();
    line.world.wake(a).unwrap();
    line.world.sleep(a, s(1)).unwrap();
    line.until(s(10));
    assert_eq!(line.world[a].turns, []);
}

/// With its memory, a node goes on where it was: its connection lives, its clock is right, and it
/// is not started again.
#[test]
fn reboot_with_memory_goes_on() {
    let mut pair = kept_alive();
    pair.until(s(1));
    let client = pair.client;
    pair.world.crash(client).unwrap();
    pair.until(s(5));
    pair.world.reboot(client, Memory::Kept).unwrap();
    pair.until(s(30));
    assert_eq!(pair.client_state(), tcp::State::Established);
    assert_eq!(pair.syns_of(client).len(), 1);
    let clock = pair.world.clock(client).unwrap();
    assert_eq!(clock.read(pair.world.now()), after(s(30)));
    assert_eq!(
        pair.count(|what| *what == Happening::Rebooted { with_memory: true }),
        1
    );
}

/// With its memory, a node does what fell due meanwhile.
#[test]
fn reboot_with_memory_serves_what_was_missed() {
    let mut line = line();
    let a = line.a;
    line.world[a].alarm = Some(after(s(1)));
    line.world.crash(a).unwrap();
    line.until(s(5));
    line.world.reboot(a, Memory::Kept).unwrap();
    line.until(s(6));
    assert_eq!(line.world[a].turns, [after(s(5))]);
    assert_eq!(line.world[a].starts, [after(s(0))]);
}

/// Without its memory, a node begins again: with its clock at zero, and switched on anew.
#[test]
fn reboot_without_memory_begins_at_zero() {
    let mut line = line();
    let a = line.a;
    line.until(s(5));
    line.world.reboot(a, Memory::Lost).unwrap();
    line.until(s(7));
    let zero = tcp_keepalive::Instant::ZERO;
    assert_eq!(line.world[a].starts, [after(s(0)), zero]);
    let clock = line.world.clock(a).unwrap();
    assert_eq!(clock.read(line.world.now()), zero.saturating_add(s(2)));
}

/// Without its memory, a host's connection is gone, and its application is started again: it has
/// new sockets and opens a connection of its own.
#[test]
fn reboot_without_memory_starts_the_application_again() {
    let mut pair = kept_alive();
    pair.until(s(1));
    let client = pair.client;
    pair.world.crash(client).unwrap();
    pair.until(s(5));
    pair.world.reboot(client, Memory::Lost).unwrap();
    assert_eq!(pair.client_state(), tcp::State::Closed);
    assert_eq!(pair.world[client].tcp_sockets().count(), 1);
    pair.until(s(6));
    assert_eq!(pair.syns_of(client)[..2], [s(0), s(5)]);
}

/// A server that restarted without its memory resets a connection that it does not know.
#[test]
fn reboot_without_memory_forgets_connections() {
    let mut pair = kept_alive();
    pair.until(s(1));
    let server = pair.server;
    pair.world.reboot(server, Memory::Lost).unwrap();
    pair.until(s(11));
    assert_eq!(pair.client_state(), tcp::State::Closed);
}

/// A node that was on when it is rebooted loses what it had received.
#[test]
fn reboot_switches_off_first() {
    let mut line = line();
    let (a, b) = (line.a, line.b);
    line.world.sleep(b, s(100)).unwrap();
    line.send(a, b"1");
    line.until(s(1));
    line.world.reboot(b, Memory::Kept).unwrap();
    assert_eq!(line.fates(), [lost(s(1), Lost::NobodyThere)]);
}

/// A node that sleeps has no turns; what arrives waits in its device, and it wakes when it said.
#[test]
fn sleeper_finds_its_frames_when_it_wakes() {
    let mut line = line();
    let (a, b) = (line.a, line.b);
    line.world[b].alarm = Some(after(s(1)));
    line.world.sleep(b, s(5)).unwrap();
    line.send(a, b"12");
    line.until(s(6));
    assert_eq!(line.world[b].turns, [after(s(5))]);
    assert_eq!(
        line.world[b].inbox,
        [b'1', b'2'].map(|letter| (after(s(5)), letter))
    );
    let notes: Vec<_> = line
        .world
        .trace()
        .notes()
        .map(|note| note.what.clone())
        .collect();
    let until = after(s(5));
    assert_eq!(notes, [Happening::Sleeps { until }, Happening::Woke]);
}

/// A node wakes when it said even if nothing waits for it.
#[test]
fn sleeper_wakes_on_time() {
    let mut line = line();
    let b = line.b;
    line.world.sleep(b, s(5)).unwrap();
    line.until(s(6));
    assert_eq!(line.world[b].turns, [after(s(5))]);
}

/// What finds no place in the ring of a node that sleeps is lost; the oldest are kept.
#[test]
fn full_ring_loses_the_newest() {
    let mut line = line_with(Post::with_ring(2));
    let (a, b) = (line.a, line.b);
    line.world.sleep(b, s(5)).unwrap();
    line.send(a, b"123");
    line.until(s(6));
    assert_eq!(
        line.fates()[1..],
        [arrived(ms(10)), lost(ms(10), Lost::RingFull)]
    );
    assert_eq!(line.world[b].letters(), b"12");
}

/// Woken, a node that sleeps has a turn at once, and sleeps no longer.
#[test]
fn woken_sleeper_stays_awake() {
    let mut line = line();
    let (a, b) = (line.a, line.b);
    line.world.sleep(b, s(100)).unwrap();
    line.send(a, b"1");
    line.until(s(1));
    line.world.wake(b).unwrap();
    assert_eq!(line.world[b].inbox, [(after(s(1)), b'1')]);
    line.send(a, b"2");
    line.until(s(200));
    assert_eq!(line.world[b].turns, [s(1), s(1) + ms(10)].map(after));
}

/// Woken, a node that is awake has a turn at once.
#[test]
fn wake_gives_a_turn_at_once() {
    let mut line = line();
    let a = line.a;
    line.until(s(1));
    line.world.wake(a).unwrap();
    assert_eq!(line.world[a].turns, [after(s(1))]);
    assert_eq!(line.world.turns(a), Ok(1));
}

/// Letters that `b` gets and sends with that room, and the room that is left then.
fn with_room(room: Room) -> (Vec<u8>, Vec<u8>) {
    let mut line = line();
    let (a, b) = (line.a, line.b);
    line.world.set_room(b, room).unwrap();
    line.send(b, b"123");
    line.send(a, b"4");
    line.until(s(1));
    (line.world[b].letters(), line.world[a].letters())
}

/// A device with plenty of room gives and takes everything.
#[test]
fn plenty_of_room() {
    assert_eq!(with_room(Room::Plenty), (b"4".to_vec(), b"123".to_vec()));
}

/// A device with room for some frames takes so many, and then neither takes nor gives any.
#[test]
fn room_for_some_frames() {
    assert_eq!(with_room(Room::Frames(2)), (b"".to_vec(), b"12".to_vec()));
    assert_eq!(with_room(Room::Frames(4)), (b"4".to_vec(), b"123".to_vec()));
}

/// A device with no room to transmit gives what is received.
#[test]
fn no_room_to_transmit() {
    assert_eq!(
        with_room(Room::NoneToTransmit),
        (b"4".to_vec(), b"".to_vec())
    );
}

/// A device with no room gives nothing and takes nothing.
#[test]
fn no_room() {
    assert_eq!(with_room(Room::None), (b"".to_vec(), b"".to_vec()));
}

/// What a device without room has received is had once it has room again, and the node is given a
/// turn for it.
#[test]
fn room_again_gives_what_waited() {
    let mut line = line();
    let (a, b) = (line.a, line.b);
    line.world.set_room(b, Room::None).unwrap();
    line.send(a, b"1");
    line.until(s(1));
    assert_eq!(line.world[b].turns, []);
    line.world.set_room(b, Room::Plenty).unwrap();
    line.until(s(2));
    assert_eq!(line.world[b].inbox, [(after(s(1)), b'1')]);
}

/// A host whose device gives and takes nothing sends nothing, and goes on when it has room again.
#[test]
fn host_goes_on_when_there_is_room() {
    let client = Script::client(server()).send_at(s(1), 10);
    let mut pair = pair(client, Script::server(PORT));
    let client = pair.client;
    pair.until(ms(500));
    pair.world.set_room(client, Room::None).unwrap();
    pair.until(s(5));
    assert_eq!(pair.data_of(client), []);
    pair.world.set_room(client, Room::Plenty).unwrap();
    pair.world.wake(client).unwrap();
    assert_eq!(pair.data_of(client), [(s(5), 10)]);
}

/// A node with a pace has its turns no closer together, whatever it wants or gets.
#[test]
fn pace_keeps_turns_apart() {
    let mut line = line();
    let (a, b) = (line.a, line.b);
    line.world.set_pace(b, ms(100)).unwrap();
    line.world[b].alarm = Some(after(ms(1)));
    line.world[b].snooze = Some(ms(1));
    line.send(a, b"1");
    line.until(ms(350));
    let turns = [1, 101, 201, 301].map(|at| after(ms(at)));
    assert_eq!(line.world[b].turns, turns);
    assert_eq!(line.world[b].inbox, [(after(ms(101)), b'1')]);
}

/// Room for no frame is no room: nothing is given either.
#[test]
fn room_for_no_frame_is_none() {
    let none = (b"".to_vec(), b"".to_vec());
    assert_eq!(with_room(Room::Frames(0)), none);
}

/// The room of a node is also that of ports which it gets later.
#[test]
fn room_is_also_of_links_to_come() {
    let mut world = World::new(1);
    let (a, b) = (world.add("a", Post::new()), world.add("b", Post::new()));
    world.set_room(a, Room::None).unwrap();
    world.link(a, b, Conditions::ideal()).unwrap();
    world[a].outbox.push(b'1');
    world.wake(a).unwrap();
    assert_eq!(world[a].taken, [false]);
}
