//! What is promised of peers, and kept or not.

use std::time::Duration;

use smoltcp::socket::tcp;
use tcp_keepalive_sim::{Conditions, Host, Invariant, Memory, Peer, Script, SimError, World};

use super::pair::{PORT, Pair, address, cidr, config, first_handle, kept_alive, pair, server};
use super::post::{after, ms, s};

fn invariant(result: Result<(), SimError>) -> Option<(&'static str, Invariant)> {
    match result {
        Err(SimError::Broken(violation)) => Some((violation.node, violation.invariant)),
        _ => None,
    }
}

/// A client that is cut off from its server one second after the beginning. It heard that
/// last when they shook hands, 20 ms after the beginning.
fn cut_off() -> Pair {
    let mut pair = kept_alive();
    pair.until(s(1));
    pair.world.partition(pair.link).unwrap();
    pair
}

/// When a client that is cut off gives up.
const GIVEN_UP: Duration = ms(16_020);

/// To give up a peer that was said to be alive breaks the promise, at that moment.
#[test]
fn giving_up_a_live_peer_breaks_the_promise() {
    let mut pair = cut_off();
    pair.world.promise_alive(pair.client).unwrap();
    pair.until(GIVEN_UP.saturating_sub(ms(1)));
    let result = pair.world.run_for(s(10));
    let broken = Some(("client", Invariant::LivePeerGivenUp));
    assert_eq!(invariant(result), broken);
    assert_eq!(pair.world.now(), after(GIVEN_UP));
    assert_eq!(pair.client_state(), tcp::State::Closed);
}

/// A promise of another host's peers, or one that was taken back, is none.
#[test]
fn promise_revoked_or_of_another_is_none() {
    let mut pair = cut_off();
    pair.world.promise_alive(pair.server).unwrap();
    pair.world.promise_alive(pair.client).unwrap();
    pair.world.promise_alive(pair.client).unwrap();
    pair.world.revoke_alive(pair.client);
    pair.until(s(100));
    assert_eq!(pair.client_state(), tcp::State::Closed);
}

/// A peer that lives breaks no promise that it does.
#[test]
fn live_peer_keeps_the_promise() {
    let mut pair = kept_alive();
    pair.world.promise_alive(pair.client).unwrap();
    pair.until(s(1000));
    assert_eq!(pair.client_state(), tcp::State::Established);
}

/// A dead peer that is given up at the very moment of the promise is given up in time.
#[test]
fn dead_peer_given_up_in_time_keeps_the_promise() {
    let mut pair = cut_off();
    let handle = first_handle(&pair.world, pair.client);
    let by = after(GIVEN_UP);
    pair.world.promise_dead(pair.client, handle, by).unwrap();
    pair.until(s(100));
}

/// One that is given up a microsecond later is not.
#[test]
fn dead_peer_kept_a_moment_too_long_breaks_the_promise() {
    let mut pair = cut_off();
    let handle = first_handle(&pair.world, pair.client);
    let by = after(GIVEN_UP.saturating_sub(Duration::from_micros(1)));
    pair.world.promise_dead(pair.client, handle, by).unwrap();
    // What happens at the moment itself is in time, so that it is broken just after it.
    let result = pair.world.run_for(s(100));
    assert_eq!(
        invariant(result),
        Some(("client", Invariant::DeadPeerKept { by }))
    );
    assert_eq!(pair.world.now(), after(GIVEN_UP));
}

/// Another connection of the same socket is not the one that was said to be dead.
#[test]
fn promise_is_of_the_connection_not_of_the_socket() {
    let client = Script::client(server())
        .keep_alive(config())
        .abort_at(s(2))
        .reconnect(s(1));
    let mut pair = pair(client, Script::server(PORT));
    pair.until(s(1));
    let handle = first_handle(&pair.world, pair.client);
    pair.world
        .promise_dead(pair.client, handle, after(s(5)))
        .unwrap();
    pair.until(s(6));
    assert_eq!(pair.client_state(), tcp::State::Established);
}

/// A connection with the very same ends is another one if it began later: a server promises
/// nothing of the next client at the same port of the same address.
#[test]
fn promise_is_not_of_a_later_connection_with_the_same_ends() {
    for comes_back in [true, false] {
        let mut world = World::new(1);
        let script = Script::server(PORT).keep_alive(config());
        let server = world.add("server", Host::ip(cidr(2)).app(script));
        let peer = world.add("peer", Peer::ip(address(1)));
        world.link(server, peer, Conditions::ideal()).unwrap();
        world[peer].connect(address(2), PORT, false);
        world.run_for(s(1)).unwrap();
        let handle = first_handle(&world, server);
        let before = world[server].local_endpoint(handle);
        let by = after(s(20));
        world.promise_dead(server, handle, by).unwrap();
        if comes_back {
            world[server].tcp(handle).abort();
            world.wake(server).unwrap();
            world.run_for(s(1)).unwrap();
            world.reboot(peer, Memory::Lost).unwrap();
            world[peer].connect(address(2), PORT, false);
        }
        let result = world.run_until(after(s(30)));
        assert_eq!(world[server].local_endpoint(handle), before);
        let broken = Some(("server", Invariant::DeadPeerKept { by }));
        assert_eq!(invariant(result), broken.filter(|_| !comes_back));
    }
}

/// A host that is off or asleep at the moment of the promise is not held to it.
#[test]
fn promise_is_not_of_a_host_without_turns() {
    let mut pair = kept_alive();
    pair.until(s(1));
    let handle = first_handle(&pair.world, pair.client);
    let (client, server) = (pair.client, pair.server);
    pair.world
        .promise_dead(client, handle, after(s(5)))
        .unwrap();
    pair.world
        .promise_dead(server, handle, after(s(5)))
        .unwrap();
    pair.world.sleep(client, s(10)).unwrap();
    pair.world.crash(server).unwrap();
    assert_eq!(pair.world.run_for(s(6)), Ok(()));
}

/// Nothing is promised of a host of another world.
#[test]
fn promise_needs_a_host_of_this_world() {
    let pair = kept_alive();
    let mut empty = World::new(1);
    let handle = first_handle(&pair.world, pair.client);
    let result = empty.promise_dead(pair.client, handle, after(s(5)));
    assert_eq!(result, Err(SimError::NoSuchNode));
    assert_eq!(empty.promise_alive(pair.client), Err(SimError::NoSuchNode));
    // A node of that number is there, but it is no host.
    let mut other = World::new(1);
    other.add("peer", Peer::ip(address(1)));
    let result = other.promise_dead(pair.client, handle, after(s(5)));
    assert_eq!(result, Err(SimError::NoSuchNode));
}
