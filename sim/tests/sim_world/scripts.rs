//! Every word of a script.

use smoltcp::socket::tcp;
use smoltcp::wire::{IpAddress, IpEndpoint};
use tcp_keepalive_sim::trace::Happening;
use tcp_keepalive_sim::{Conditions, Host, Memory, NodeId, Peer, Script, World};

use super::pair::{PORT, address, cidr, config, first_handle, kept_alive, pair, server};
use super::post::{after, ms, s};

/// A client connects at once, a server accepts; without further words nothing more is said.
#[test]
fn client_connects_and_server_accepts() {
    let mut pair = pair(Script::client(server()), Script::server(PORT));
    pair.until(s(100));
    assert_eq!(pair.client_state(), tcp::State::Established);
    assert_eq!(pair.server_state(), tcp::State::Established);
    assert_eq!(pair.syns_of(pair.client), [s(0)]);
    assert_eq!(pair.segments_of(pair.client).len(), 2);
}

/// `keep_alive`: the connection is probed after its idle time.
#[test]
fn keep_alive_probes() {
    let mut pair = kept_alive();
    pair.until(s(15));
    let segments = pair.segments_of(pair.client);
    assert_eq!(segments.len(), 3);
    assert_eq!(segments[2].0, s(10) + ms(20));
}

/// `send_at`: so many octets, then.
#[test]
fn send_at_sends_then() {
    let client = Script::client(server()).send_at(s(2), 30).send_at(s(1), 20);
    let mut pair = pair(client, Script::server(PORT));
    pair.until(s(10));
    assert_eq!(pair.data_of(pair.client), [(s(1), 20), (s(2), 30)]);
}

/// `send_at`, before there is a connection: as soon as there is one.
#[test]
fn send_at_waits_for_the_connection() {
    let client = Script::client(server()).send_at(s(0), 20);
    let mut pair = pair(client, Script::server(PORT));
    pair.until(s(10));
    assert_eq!(pair.data_of(pair.client), [(ms(20), 20)]);
}

/// `send_at`, before an attempt that fails: as soon as a later one succeeds.
#[test]
fn send_at_waits_for_an_attempt_that_succeeds() {
    let client = Script::client(server()).send_at(s(0), 20).reconnect(s(5));
    let mut pair = pair(client, Script::server(PORT).open_at(s(3)));
    pair.until(s(10));
    assert_eq!(pair.data_of(pair.client), [(s(5) + ms(40), 20)]);
}

/// `send_at`, on a connection that ends before all was sent: the rest is not sent on the next one.
#[test]
fn rest_of_one_connection_is_not_for_the_next() {
    let client = Script::client(server())
        .buffers(64, 64)
        .send_at(s(1), 1000)
        .abort_at(s(1) + ms(30))
        .reconnect(s(1));
    let mut pair = pair(client, Script::server(PORT));
    pair.until(s(10));
    assert_eq!(pair.syns_of(pair.client).len(), 2);
    let data = pair.data_of(pair.client);
    assert!(data.iter().all(|(at, _)| *at < s(2)), "{data:?}");
}

/// `send_at`, of more than there is room for: the rest as there is room.
#[test]
fn send_at_waits_for_room() {
    let client = Script::client(server()).buffers(64, 64).send_at(s(1), 200);
    let mut pair = pair(client, Script::server(PORT));
    pair.until(s(10));
    let data = pair.data_of(pair.client);
    assert_eq!(data.iter().map(|(_, len)| len).sum::<usize>(), 200);
    assert!(data.len() >= 4, "{data:?}");
}

/// `send_every`: for the first time when the connection is open, and then once a period.
#[test]
fn send_every_sends_once_a_period() {
    let client = Script::client(server()).send_every(s(3), 5);
    let mut pair = pair(client, Script::server(PORT));
    pair.until(s(10));
    let times = [0, 3, 6, 9].map(|at| (s(at) + ms(20), 5));
    assert_eq!(pair.data_of(pair.client), times);
}

/// `close_at`: FIN then; a peer that reads closes as well.
#[test]
fn close_at_closes() {
    let client = Script::client(server()).close_at(s(2));
    let mut pair = pair(client, Script::server(PORT));
    pair.until(s(2));
    assert_eq!(pair.client_state(), tcp::State::FinWait1);
    pair.until(s(3));
    assert_eq!(pair.client_state(), tcp::State::TimeWait);
    let fins = |host| {
        let segments = pair.segments_of(host).into_iter();
        segments.filter(|(_, segment)| segment.fin).count()
    };
    assert_eq!((fins(pair.client), fins(pair.server)), (1, 1));
}

/// A server listens again after a connection has ended, and a client does not connect again.
#[test]
fn server_listens_again_and_client_does_not_connect_again() {
    let client = Script::client(server()).abort_at(s(2));
    let mut pair = pair(client, Script::server(PORT));
    pair.until(s(10));
    assert_eq!(pair.server_state(), tcp::State::Listen);
    assert_eq!(pair.client_state(), tcp::State::Closed);
    assert_eq!(pair.syns_of(pair.client).len(), 1);
}

/// `abort_at`: RST then.
#[test]
fn abort_at_resets() {
    let client = Script::client(server()).abort_at(s(2));
    let mut pair = pair(client, Script::server(PORT));
    pair.until(s(10));
    let segments = pair.segments_of(pair.client);
    let (at, last) = segments.last().unwrap();
    assert!(last.rst);
    assert_eq!(*at, s(2));
}

/// `echo`: what was sent comes back, all of it and nothing else.
#[test]
fn echo_sends_back() {
    let client = Script::client(server())
        .send_at(s(1), 700)
        .without_reading();
    let mut pair = pair(client, Script::server(PORT).echo());
    pair.until(s(10));
    let socket = pair.client_socket();
    let echoed = socket.recv(|data| (data.len(), data.to_vec())).unwrap();
    assert_eq!(echoed, vec![b's'; 700]);
}

/// Without `echo`, nothing comes back, and what was received is read.
#[test]
fn without_echo_nothing_comes_back() {
    let client = Script::client(server()).send_at(s(1), 700);
    let mut pair = pair(client, Script::server(PORT));
    pair.until(s(10));
    assert_eq!(pair.data_of(pair.server), []);
    let handle = first_handle(&pair.world, pair.server);
    let server = pair.server;
    assert_eq!(pair.world[server].tcp(handle).recv_queue(), 0);
}

/// `without_reading`: the window shuts when the buffer is full.
#[test]
fn without_reading_shuts_the_window() {
    let client = Script::client(server()).send_at(s(1), 1000);
    let server = Script::server(PORT).buffers(100, 100).without_reading();
    let mut pair = pair(client, server);
    pair.until(s(10));
    let handle = first_handle(&pair.world, pair.server);
    let server = pair.server;
    assert_eq!(pair.world[server].tcp(handle).recv_queue(), 100);
    let segments = pair.segments_of(server);
    assert_eq!(segments.last().unwrap().1.window, 0);
}

/// `reconnect`: again, so long after the connection has ended, from another port.
#[test]
fn reconnect_connects_again() {
    let client = Script::client(server()).abort_at(s(2)).reconnect(s(5));
    let mut pair = pair(client, Script::server(PORT));
    pair.until(s(20));
    let syns = pair.syns_of(pair.client);
    assert_eq!(syns, [s(0), s(7)]);
    let segments = pair.segments_of(pair.client);
    let syns = segments.iter().filter(|(_, segment)| segment.syn);
    let ports: Vec<_> = syns.map(|(_, segment)| segment.src_port).collect();
    assert_ne!(ports[0], ports[1]);
    assert_eq!(pair.client_state(), tcp::State::Established);
}

/// `reconnect`: also if the first attempt found no server.
#[test]
fn reconnect_tries_again_where_it_was_refused() {
    let client = Script::client(server()).reconnect(s(5));
    let server = Script::server(PORT).open_at(s(8));
    let mut pair = pair(client, server);
    pair.until(s(20));
    assert_eq!(
        pair.syns_of(pair.client),
        [s(0), s(5) + ms(20), s(10) + ms(40)]
    );
    assert_eq!(pair.client_state(), tcp::State::Established);
}

/// `open_at`: connects only then, counted from when the host was switched on.
#[test]
fn open_at_connects_then() {
    let client = Script::client(server()).open_at(s(5));
    let mut pair = pair(client, Script::server(PORT));
    pair.until(s(10));
    assert_eq!(pair.syns_of(pair.client), [s(5)]);
    let client = pair.client;
    pair.world.reboot(client, Memory::Lost).unwrap();
    pair.until(s(20));
    assert_eq!(pair.syns_of(pair.client), [s(5), s(15)]);
}

/// `sockets`: so many of each, every one with a port of its own.
#[test]
fn sockets_are_so_many() {
    let client = Script::client(server()).sockets(3).send_at(s(1), 5);
    let mut pair = pair(client, Script::server(PORT).sockets(3));
    pair.until(s(10));
    assert_eq!(pair.data_of(pair.client), [(s(1), 5); 3]);
    let handles = pair.world[pair.client]
        .app_ref::<Script>()
        .unwrap()
        .handles();
    assert_eq!(handles.len(), 3);
    let client = pair.client;
    let ports: std::collections::BTreeSet<_> = handles
        .iter()
        .map(|handle| pair.world[client].local_endpoint(*handle).unwrap().port)
        .collect();
    assert_eq!(ports.len(), 3);
}

/// `and`: the sockets of another script besides, to which what was said before does not apply.
#[test]
fn and_adds_those_of_another() {
    let other = IpEndpoint::new(address(2), 9);
    let client = Script::client(server())
        .send_at(s(1), 5)
        .and(Script::client(other));
    let server = Script::server(PORT).and(Script::server(9));
    let mut pair = pair(client, server);
    pair.until(s(10));
    let segments = pair.segments_of(pair.client);
    let to = |port| {
        let of_port = segments.iter().filter(move |(_, of)| of.dst_port == port);
        of_port.map(|(_, of)| of.payload.len()).collect::<Vec<_>>()
    };
    assert_eq!(to(PORT), [0, 0, 5]);
    assert_eq!(to(9), [0, 0]);
}

/// A word after `and` holds for all sockets so far.
#[test]
fn word_after_and_holds_for_all() {
    let other = IpEndpoint::new(address(2), 9);
    let client = Script::client(server())
        .and(Script::client(other))
        .send_at(s(1), 5);
    let mut pair = pair(client, Script::server(PORT).and(Script::server(9)));
    pair.until(s(10));
    assert_eq!(pair.data_of(pair.client), [(s(1), 5); 2]);
}

/// `timestamps`: the option is on every segment if both ends offer it, and tells the host's own
/// milliseconds.
#[test]
fn timestamps_are_the_hosts_milliseconds() {
    // By its clock, which is set forward just after it was switched on.
    let client = Script::client(server()).timestamps().send_at(s(52), 5);
    let mut pair = pair(client, Script::server(PORT).timestamps());
    let client = pair.client;
    pair.world.clock_jump(client, s(50)).unwrap();
    pair.until(s(10));
    let segments = pair.segments_of(client);
    let beginning = 1_000_000 + 50_000;
    let times: Vec<_> = segments
        .iter()
        .map(|(_, segment)| segment.timestamps.unwrap().0 - beginning)
        .collect();
    assert_eq!(times, [0, 20, 2000]);
}

/// Without it, none is.
#[test]
fn without_timestamps_there_are_none() {
    let mut pair = pair(Script::client(server()), Script::server(PORT).timestamps());
    pair.until(s(10));
    let segments = pair.segments_of(pair.client);
    assert!(segments.iter().all(|(_, of)| of.timestamps.is_none()));
}

/// A script runs on a host that was linked only later as it does on one that was linked at once.
#[test]
fn script_begins_when_its_host_is_linked() {
    let mut world = World::new(1);
    let host = world.add("host", Host::ip(cidr(1)).app(Script::client(server())));
    world.run_for(s(5)).unwrap();
    let peer = world.add("peer", Peer::ip(address(2)));
    world
        .link(host, peer, Conditions::ideal().latency(ms(10)))
        .unwrap();
    world.run_for(s(5)).unwrap();
    let first = world.trace().frames().next().expect("it connects");
    assert_eq!((first.at, first.from), (after(s(5)), NodeId::from(host)));
}

/// What a script cannot do is in the trace, in words, and once.
#[test]
fn refusals_are_in_the_trace() {
    let far = |port| IpEndpoint::new(IpAddress::v4(198, 51, 100, 1), port);
    let of_six = IpEndpoint::new(IpAddress::v6(0xfd00, 0, 0, 0, 0, 0, 0, 1), PORT);
    for (script, word) in [
        (
            Script::client(IpEndpoint::new(address(2), 0)),
            "cannot connect",
        ),
        (Script::client(of_six), "no route"),
        (Script::client(far(PORT)), "no route"),
        (Script::server(0), "cannot listen"),
        (
            Script::server(PORT).sockets(65).keep_alive(config()),
            "kept alive",
        ),
    ] {
        let pair = {
            let mut pair = pair(script, Script::server(PORT));
            pair.until(s(100));
            pair
        };
        let of_script = |happening: &Happening| matches!(happening, Happening::Text(text) if text.contains(word));
        assert_eq!(pair.count(of_script), 1, "{word}");
    }
}

/// An address that smoltcp has no place for is in the trace.
#[test]
fn address_without_a_place_is_in_the_trace() {
    let mut world = World::new(1);
    let mut host = Host::ip(cidr(1));
    for last in 2..100 {
        host = host.address(cidr(last));
    }
    let host = world.add("host", host);
    let used = world[host].iface.ip_addrs().len();
    assert!(used < 99);
    assert_eq!(world.trace().notes().count(), 99 - used);
}

/// A client that could not even try tries again.
#[test]
fn refused_client_tries_again() {
    let client = Script::client(server()).reconnect(s(5)).open_at(s(1));
    let mut pair = pair(client, Script::server(PORT));
    let client = pair.client;
    pair.world[client]
        .iface
        .update_ip_addrs(|addresses| addresses.truncate(0));
    pair.until(s(3));
    assert_eq!(pair.syns_of(client), []);
    pair.world[client]
        .iface
        .update_ip_addrs(|addresses| addresses.push(cidr(1)).unwrap());
    pair.until(s(10));
    assert_eq!(pair.syns_of(client), [s(6)]);
}

/// However much a script has to send, it takes no more than the room there is.
#[test]
fn much_to_send_is_sent_as_there_is_room() {
    let client = Script::client(server())
        .send_at(s(1), usize::MAX)
        .send_at(s(1), usize::MAX);
    let mut pair = pair(client, Script::server(PORT));
    pair.until(s(2));
    let data = pair.data_of(pair.client);
    assert!(data.iter().map(|(_, len)| len).sum::<usize>() > 10_000);
}

/// Times of a script count from when its host was switched on, also before the host's epoch. (When
/// the SYN leaves is smoltcp's affair: it says "at once" with a time of zero.)
#[test]
fn times_before_the_epoch_are_times() {
    let script = Script::client(server()).open_at(s(5));
    let mut world = World::new(1);
    let host = Host::ip(cidr(1)).epoch(after(s(4000))).app(script);
    let host = world.add("host", host);
    let peer = world.add("peer", Peer::ip(address(2)));
    world.link(host, peer, Conditions::ideal()).unwrap();
    let handle = first_handle(&world, host);
    for (time, state) in [(ms(4999), tcp::State::Closed), (s(5), tcp::State::SynSent)] {
        world.run_until(after(time)).unwrap();
        assert_eq!(world[host].tcp(handle).state(), state);
    }
}

/// A socket of a host that has lost its memory is none, and no panic.
#[test]
fn socket_is_none_after_a_restart() {
    let mut world = World::new(1);
    let host = world.add("host", Host::ip(cidr(1)));
    let handle = world[host].add_tcp_socket(64, 64);
    assert!(world[host].try_tcp(handle).is_some());
    world.reboot(host, Memory::Lost).unwrap();
    assert!(world[host].try_tcp(handle).is_none());
}

/// Buffers beyond what smoltcp has a window for are as large as can be.
#[test]
fn buffers_are_limited() {
    let mut world = World::new(1);
    let host = world.add("host", Host::ip(cidr(1)));
    let handle = world[host].add_tcp_socket(usize::MAX, 64);
    assert_eq!(world[host].tcp(handle).recv_capacity(), 1 << 30);
}
