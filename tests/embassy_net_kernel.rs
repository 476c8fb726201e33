//! What Linux has to say about us, asked through embassy-net.
//!
//! As `tests/kernel.rs`, which says what these tests need and when they are skipped; but the stack
//! is embassy-net with our driver around a TAP device. Our application only uses embassy-net's
//! sockets: it is told of a dead peer by them.

#![cfg(target_os = "linux")]
#![expect(
    clippy::arithmetic_side_effects,
    clippy::default_trait_access,
    clippy::unchecked_time_subtraction,
    reason = "times that are in another order than a test claims may panic"
)]

#[expect(dead_code, reason = "no order is claimed here of what was captured")]
#[path = "kernel/capture.rs"]
mod capture;
#[expect(dead_code, reason = "the stack is another one")]
#[path = "kernel/client.rs"]
mod client;
#[path = "kernel/embassy.rs"]
mod embassy;
#[path = "kernel/lab.rs"]
mod lab;
#[path = "kernel/nat.rs"]
mod nat;
mod tasks;

use std::io::{ErrorKind, Read};
use std::net::{IpAddr, TcpStream};
use std::thread;
use std::time::Duration;

use embassy_net::tcp;
use tcp_keepalive::embassy_net::{CloseReason, Notice};
use tcp_keepalive::{Config, Event, FailedAt, State};

use crate::capture::{Capture, Captured};
use crate::client::{HOST_V4, HOST_V6, OUR_V4, PATIENCE, TAP, clock, configure_host, listen};
use crate::embassy::{Client, Connection};
use crate::lab::{Namespace, is_ready};
use crate::nat::{Nat, SERVER};

const SECOND: Duration = Duration::from_secs(1);

/// How late a machine with other things to do may make us.
const TOLERANCE: Duration = Duration::from_millis(150);

const RESET: Result<usize, tcp::Error> = Err(tcp::Error::ConnectionReset);

/// One second of silence, then three probes a second apart.
fn quick() -> Config {
    Config::new(SECOND, SECOND, 3).expect("the configuration is valid")
}

/// A live peer answers every probe, over IPv4.
#[test]
fn live_peer_answers_every_probe_over_ipv4() {
    live_peer_answers_every_probe(HOST_V4);
}

/// A live peer answers every probe, over IPv6.
#[test]
fn live_peer_answers_every_probe_over_ipv6() {
    live_peer_answers_every_probe(HOST_V6);
}

fn live_peer_answers_every_probe(address: IpAddr) {
    const PROBES: u32 = 6;
    if !is_ready(&["dumpcap", "tshark"]) {
        return;
    }
    let host = Namespace::new();
    let (captured, our_port) = host.enter(|| {
        let mut client = Client::new(&host);
        let capture = Capture::start(&host, &[TAP]);
        client.control.set_default(Some(quick()));
        let mut socket = client.socket();
        let mut connection = client.connect(&mut socket, &listen(address), address);
        client.exchange(&mut socket, &mut connection);

        client.run_until("the answers", SECOND * (PROBES + 1), |client| {
            client.stats(&connection).probes_answered == PROBES
        });
        let stats = client.stats(&connection);
        assert_eq!((stats.probes_sent, stats.verdicts), (PROBES, 0));
        assert!(stats.last_rtt.is_some_and(|rtt| rtt < TOLERANCE));
        assert_eq!(client.events(), []);
        assert_eq!(client.control.state(connection.ends), Some(State::Armed));
        client.exchange(&mut socket, &mut connection);
        (capture.finish(), connection.ends.local.port())
    });

    let mut heard = None;
    let mut probes = 0;
    for segment in of(&captured, our_port) {
        if segment.dst_port == our_port {
            heard = Some(segment);
        } else if segment.is_keep_alive {
            let heard = heard.expect("the peer was heard");
            assert_near(segment.at - heard.at, SECOND, "a probe");
            assert_eq!(segment.seq.wrapping_add(1), heard.ack, "{segment:?}");
            assert_eq!((segment.ack, segment.len), (heard.end(), 0), "{segment:?}");
            probes += 1;
        }
    }
    assert_eq!(probes, PROBES);
    let answers = of(&captured, our_port).filter(|it| it.is_keep_alive_ack);
    assert_eq!(u32::try_from(answers.count()), Ok(PROBES));
}

/// A peer that cannot be heard is given up on time, over IPv4: a later `read` returns
/// `ConnectionReset`, the reason is the keep-alive, and the peer's application sees a RST. The
/// socket connects again.
#[test]
fn unheard_peer_is_given_up_and_the_socket_connects_again_over_ipv4() {
    unheard_peer_is_given_up_and_the_socket_connects_again(HOST_V4);
}

/// The same over IPv6.
#[test]
fn unheard_peer_is_given_up_and_the_socket_connects_again_over_ipv6() {
    unheard_peer_is_given_up_and_the_socket_connects_again(HOST_V6);
}

fn unheard_peer_is_given_up_and_the_socket_connects_again(address: IpAddr) {
    if !is_ready(&["nft", "dumpcap", "tshark"]) {
        return;
    }
    let host = Namespace::new();
    let (captured, our_port) = host.enter(|| {
        let mut client = Client::new(&host);
        let capture = Capture::start(&host, &[TAP]);
        client.control.set_default(Some(quick()));
        let listener = listen(address);
        let mut socket = client.socket();
        let mut connection = client.connect(&mut socket, &listener, address);
        client.exchange(&mut socket, &mut connection);
        host.silence();

        client.run_until("a verdict", quick().detection_time() + SECOND, |client| {
            client.close_reason(&connection).is_some()
        });
        assert_given_up(&client, &connection);
        let read = client.complete("a read", SECOND, socket.read(&mut [0]));
        assert_eq!(read, RESET);
        assert_eq!(socket.state(), tcp::State::Closed);
        let seen = connection.stream.read(&mut [0]).map_err(|it| it.kind());
        assert_eq!(seen, Err(ErrorKind::ConnectionReset));
        // Nothing comes after the RST.
        client.run_for(SECOND);
        let captured = capture.finish();

        host.nft("delete table inet silence");
        let mut next = client.connect(&mut socket, &listener, address);
        assert_ne!(next.ends, connection.ends);
        client.exchange(&mut socket, &mut next);
        client.run_until("an answer", 2 * SECOND, |client| {
            client.stats(&next).probes_answered == 1
        });
        assert_eq!(client.close_reason(&next), None);
        (captured, connection.ends.local.port())
    });

    let theirs = of(&captured, our_port).filter(|it| it.dst_port == our_port);
    let last_heard = theirs.last().expect("the peer was heard").at;
    let after: Vec<_> = of(&captured, our_port)
        .filter(|it| it.at > last_heard)
        .collect();
    let [first, second, third, reset] = after[..] else {
        panic!("three probes and a RST, not {after:#?}");
    };
    for (number, probe) in (1..).zip([first, second, third]) {
        assert!(probe.is_keep_alive && probe.len == 0, "{probe:?}");
        assert_near(probe.at - last_heard, SECOND * number, "a probe");
    }
    assert!(reset.flags.rst, "{reset:?}");
    assert_eq!(reset.seq, third.seq.wrapping_add(1));
    assert_near(reset.at - last_heard, quick().detection_time(), "the RST");
}

/// A task that waits in `read` wakes when its peer is given up.
#[test]
fn waiting_reader_wakes_when_its_peer_is_given_up() {
    if !is_ready(&["nft"]) {
        return;
    }
    let host = Namespace::new();
    host.enter(|| {
        let mut client = Client::new(&host);
        client.control.set_default(Some(quick()));
        let mut socket = client.socket();
        let mut connection = client.connect(&mut socket, &listen(HOST_V4), HOST_V4);
        client.exchange(&mut socket, &mut connection);
        let heard = clock();
        host.silence();

        let read = client.complete(
            "a verdict",
            quick().detection_time() + SECOND,
            socket.read(&mut [0]),
        );
        assert_eq!(read, RESET);
        assert_near(
            clock().duration_since(heard),
            quick().detection_time(),
            "the end of `read`",
        );
        client.run_for(SECOND / 10);
        assert_given_up(&client, &connection);
    });
}

/// Data that are not acknowledged are given up after the user timeout (K11), and the RST reaches the
/// peer, which after all has only lost its voice.
#[test]
fn unacknowledged_data_are_given_up_after_the_user_timeout() {
    const USER_TIMEOUT: Duration = Duration::from_secs(2);
    if !is_ready(&["nft"]) {
        return;
    }
    let host = Namespace::new();
    host.enter(|| {
        let mut client = Client::new(&host);
        let config = quick().with_user_timeout(USER_TIMEOUT);
        let config = config.expect("two seconds are a valid timeout");
        client.control.set_default(Some(config));
        let mut socket = client.socket();
        let mut connection = client.connect(&mut socket, &listen(HOST_V4), HOST_V4);
        client.exchange(&mut socket, &mut connection);
        host.silence();

        let written = client.complete("a write", SECOND, socket.write(b"anybody there?"));
        assert_eq!(written, Ok(14));
        let since = clock();
        let read = client.complete("a verdict", 2 * USER_TIMEOUT, socket.read(&mut [0]));
        assert_eq!(read, RESET);
        assert_near(clock() - since, USER_TIMEOUT, "the end of `read`");
        assert!(matches!(
            client.close_reason(&connection),
            Some(CloseReason::UserTimeout(_))
        ));
        let mut received = Vec::new();
        let seen = connection.stream.read_to_end(&mut received);
        assert_eq!(
            seen.map_err(|it| it.kind()),
            Err(ErrorKind::ConnectionReset)
        );
    });
}

/// A connection that Linux opens is kept alive by the policy for the port that it comes to.
#[test]
fn accepted_connection_is_kept_alive_by_the_policy_of_its_port() {
    const PORT: u16 = 7;
    if !is_ready(&[]) {
        return;
    }
    let host = Namespace::new();
    host.enter(|| {
        let mut client = Client::new(&host);
        client
            .control
            .set_local_port(PORT, Some(quick()))
            .expect("there is room for a policy");
        let mut socket = client.socket();
        // A thread is where the one is that starts it: on this host.
        let connecting = thread::spawn(|| TcpStream::connect((OUR_V4, PORT)));
        client
            .complete("the handshake", PATIENCE, socket.accept(PORT))
            .expect("Linux connects");
        let stream = connecting.join().expect("it only connects");
        let stream = stream.expect("we listen");
        let mut connection = Connection::new(&socket, stream);
        client.exchange(&mut socket, &mut connection);
        client.run_until("three answers", 4 * SECOND, |client| {
            client.stats(&connection).probes_answered == 3
        });
        assert_eq!(client.stats(&connection).probes_sent, 3);
        client.exchange(&mut socket, &mut connection);
    });
}

/// A host that was rebuilt while we were idle knows nothing of the connection: it answers the first
/// probe with a RST. A task that waits in `read` wakes, and the reason tells this from a dead peer.
#[test]
fn rebuilt_host_resets_while_probing() {
    if !is_ready(&[]) {
        return;
    }
    let host = Namespace::new();
    let rebuilt = Namespace::new();
    host.enter(|| {
        let mut client = Client::new(&host);
        client.control.set_default(Some(quick()));
        let mut socket = client.socket();
        let mut connection = client.connect(&mut socket, &listen(HOST_V4), HOST_V4);
        client.exchange(&mut socket, &mut connection);

        // The cable is put into another host, of the same addresses.
        host.ip(&format!("link set {TAP} netns {}", rebuilt.name()));
        configure_host(&rebuilt);

        let read = client.complete("a RST", 2 * SECOND, socket.read(&mut [0]));
        assert_eq!(read, RESET);
        client.run_for(SECOND / 10);
        assert_eq!(
            client.close_reason(&connection),
            Some(CloseReason::PeerReset {
                while_probing: true
            })
        );
        let stats = client.stats(&connection);
        assert_eq!((stats.probes_sent, stats.verdicts), (1, 0));
        let ended = Event::PeerReset {
            while_probing: true,
        };
        assert_eq!(
            client.events(),
            [Notice::Connection(connection.ends, ended)]
        );

        // The host that came back is as good as any.
        let listener = rebuilt.enter(|| listen(HOST_V4));
        let mut next = client.connect(&mut socket, &listener, HOST_V4);
        client.exchange(&mut socket, &mut next);
    });
}

/// A NAT forgets a connection that is idle for three seconds. Probes within that time keep it, and
/// it is the probes that do: a connection beside it without them is lost.
#[test]
fn probes_keep_a_nat_mapping_alive() {
    if !is_ready(&["nft"]) {
        return;
    }
    let nat = Nat::new();
    let listener = nat.server.enter(|| listen(SERVER));
    nat.router.enter(|| {
        let mut client = Client::new(&nat.router);
        let (mut kept, mut left) = (client.socket(), client.socket());
        let mut kept_connection = client.connect(&mut kept, &listener, SERVER);
        let mut left_connection = client.connect(&mut left, &listener, SERVER);
        client
            .control
            .set(kept_connection.ends, Some(quick()))
            .expect("the connection has a place");
        client.exchange(&mut kept, &mut kept_connection);
        client.exchange(&mut left, &mut left_connection);

        client.run_for(8 * SECOND);
        assert!(client.stats(&kept_connection).probes_answered >= 6);
        assert_eq!(client.stats(&left_connection).probes_sent, 0);
        client.exchange(&mut kept, &mut kept_connection);

        let written = client.complete("a write", SECOND, left.write(b"anybody there?"));
        assert_eq!(written, Ok(14));
        client.run_for(2 * SECOND);
        assert_eq!(left.send_queue(), 14);
        left_connection
            .stream
            .set_nonblocking(true)
            .expect("it is a socket like any other");
        let seen = left_connection.stream.read(&mut [0]);
        assert_eq!(seen.map_err(|it| it.kind()), Err(ErrorKind::WouldBlock));
        client.exchange(&mut kept, &mut kept_connection);
    });
}

/// The peer of `connection` was given up by the keep-alive, on time, after one suspicion.
fn assert_given_up(client: &Client, connection: &Connection) {
    let Some(CloseReason::KeepAlive(verdict)) = client.close_reason(connection) else {
        panic!("{:?}", client.close_reason(connection));
    };
    assert_eq!((verdict.unanswered, verdict.unsent), (3, 0));
    // Only its TCP is silenced: the host itself answers when it is asked for its address.
    assert_eq!(verdict.failed_at, FailedAt::Peer);
    assert_near(verdict.silent_for, quick().detection_time(), "the verdict");
    assert_eq!(
        client.events(),
        [
            Notice::Connection(connection.ends, Event::Suspect { unanswered: 1 }),
            Notice::Connection(connection.ends, Event::TimedOut(verdict)),
        ]
    );
}

/// The segments of one connection.
fn of(captured: &[Captured], our_port: u16) -> impl Iterator<Item = &Captured> {
    let is_of = move |it: &&Captured| [it.src_port, it.dst_port].contains(&our_port);
    captured.iter().filter(is_of)
}

fn assert_near(actual: Duration, nominal: Duration, what: &str) {
    assert!(
        actual.abs_diff(nominal) <= TOLERANCE,
        "{what} at {actual:?}, not {nominal:?}"
    );
}
