//! What Linux has to say about us.
//!
//! smoltcp with our keep-alive talks over a TAP device to peers that are the kernel's, in network
//! namespaces made for the purpose; packets are dropped by nftables and judged by Wireshark. These
//! tests need root, `/dev/net/tun`, `ip`, `nft`, `dumpcap` and `tshark` (Debian's packages
//! iproute2, nftables and tshark). Where something is missing they are skipped and say so, unless
//! `TCP_KEEPALIVE_KERNEL_TESTS=required` is set: then that is a failure.
//!
//! They run in real time, so what they claim of times has a tolerance. That verdicts are exact is
//! for the tests in simulated time to show.

#![cfg(target_os = "linux")]
#![expect(
    clippy::arithmetic_side_effects,
    clippy::unchecked_time_subtraction,
    reason = "times that are in another order than a test claims may panic"
)]

#[path = "kernel/capture.rs"]
mod capture;
#[path = "kernel/client.rs"]
mod client;
#[path = "kernel/lab.rs"]
mod lab;
#[path = "kernel/nat.rs"]
mod nat;
#[path = "kernel/peer.rs"]
mod peer;
mod recorded;
#[path = "kernel/recorder.rs"]
mod recorder;
mod twins;
#[path = "kernel/wire.rs"]
mod wire;

use std::env;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::panic;
use std::thread;
use std::time::Duration;

use rustix::net::sockopt;
use smoltcp::socket::tcp;
use tcp_keepalive::smoltcp::CloseReason;
use tcp_keepalive::{Cause, Config, Event, FailedAt, ProbePayload, Verdict};

use crate::capture::Capture;
use crate::client::{
    Client, Connection, HOST_V4, HOST_V6, TAP, configure_host, listen, wall_clock,
};
use crate::lab::{Namespace, is_ready};
use crate::nat::{Nat, SERVER};
use crate::recorded::{Scene, assert_is_eventful, assert_transparent, assert_unchanged};
use crate::recorder::{record, system};
use crate::wire::{TOLERANCE, Wire, assert_near, timeline};

const SECOND: Duration = Duration::from_secs(1);

/// One second of silence, then three probes a second apart.
fn quick() -> Config {
    Config::new(SECOND, SECOND, 3).expect("the configuration is valid")
}

/// A live peer answers every probe, over IPv4.
#[test]
fn live_peer_answers_every_probe_over_ipv4() {
    live_peer_answers_every_probe(&Live {
        address: HOST_V4,
        with_timestamps: false,
        payload: ProbePayload::Empty,
        probes: 9,
    });
}

/// A live peer answers every probe, over IPv6.
#[test]
fn live_peer_answers_every_probe_over_ipv6() {
    live_peer_answers_every_probe(&Live {
        address: HOST_V6,
        with_timestamps: false,
        payload: ProbePayload::Empty,
        probes: 9,
    });
}

/// RFC 7323 3.2: where timestamps were negotiated a probe carries them, and so does the answer.
#[test]
fn probes_carry_timestamps_over_ipv4_if_negotiated() {
    live_peer_answers_every_probe(&Live {
        address: HOST_V4,
        with_timestamps: true,
        payload: ProbePayload::Empty,
        probes: 3,
    });
}

/// The same over IPv6.
#[test]
fn probes_carry_timestamps_over_ipv6_if_negotiated() {
    live_peer_answers_every_probe(&Live {
        address: HOST_V6,
        with_timestamps: true,
        payload: ProbePayload::Empty,
        probes: 3,
    });
}

/// MAY-6: a probe with one garbage octet is answered as well, and the octet is not data: the
/// application never reads it.
#[test]
fn garbage_octet_is_answered_and_never_read() {
    live_peer_answers_every_probe(&Live {
        address: HOST_V4,
        with_timestamps: false,
        payload: ProbePayload::GarbageOctet,
        probes: 3,
    });
}

struct Live {
    address: IpAddr,
    with_timestamps: bool,
    payload: ProbePayload,
    probes: usize,
}

fn live_peer_answers_every_probe(live: &Live) {
    let &Live {
        address,
        with_timestamps,
        payload,
        probes,
    } = live;
    if !is_ready(&["dumpcap", "tshark"]) {
        return;
    }
    let host = Namespace::new();
    let (captured, our_port) = host.enter(|| {
        let mut client = Client::new(&host);
        let capture = Capture::start(&host, &[TAP]);
        let handle = client.add_socket(with_timestamps);
        client.enable(handle, quick().with_payload(payload));
        let mut connection = client.connect(handle, &listen(address), address);
        client.exchange(&mut connection);

        let periods = u32::try_from(probes).expect("the probes are few");
        client.run_until(
            "the probes are answered",
            SECOND * (periods + 1),
            |client| client.stats(handle).probes_answered == periods,
        );

        let stats = client.stats(handle);
        assert_eq!(stats.probes_sent, periods);
        assert!(stats.last_rtt.is_some_and(|rtt| rtt < TOLERANCE));
        assert_eq!(stats.verdicts, 0);
        assert!(client.events().is_empty(), "{:?}", client.events());
        assert_eq!(client.state(handle), tcp::State::Established);
        // Reads exactly what was written: no octet of a probe is among it.
        client.exchange(&mut connection);
        (capture.finish(), connection.our_port)
    });

    let wire = Wire::new(&captured, our_port);
    let sent: Vec<_> = wire.probes().collect();
    assert_eq!(sent.len(), probes, "{captured:#?}");
    for probe in sent {
        let before = wire.before(probe);
        assert_eq!(probe.seq, before.snd_nxt.wrapping_sub(1), "{probe:?}");
        assert_eq!(probe.ack, before.rcv_nxt, "{probe:?}");
        assert_eq!(probe.len, u32::from(payload == ProbePayload::GarbageOctet));
        assert_near(probe.at - before.last_heard, SECOND, "a probe");
        assert_eq!(probe.timestamps.is_some(), with_timestamps);
        if let Some((tsval, tsecr)) = probe.timestamps {
            assert!(tsval.wrapping_sub(before.our_tsval).cast_signed() >= 0);
            assert_eq!(tsecr, before.peers_tsval);
        }

        let answer = wire.after(probe);
        assert!(answer.is_keep_alive_ack, "{answer:?}");
        assert_eq!(answer.len, 0);
        assert_eq!(answer.ack, before.snd_nxt);
        assert_eq!(answer.timestamps.is_some(), with_timestamps);
        assert!(answer.at - probe.at < TOLERANCE, "{answer:?}");
    }
}

/// A peer that cannot be heard is sent exactly `count` probes at their times, then one RST, which
/// its application sees; over IPv4.
#[test]
fn unheard_peer_is_probed_count_times_then_reset_over_ipv4() {
    unheard_peer_is_probed_count_times_then_reset(HOST_V4);
}

/// The same over IPv6.
#[test]
fn unheard_peer_is_probed_count_times_then_reset_over_ipv6() {
    unheard_peer_is_probed_count_times_then_reset(HOST_V6);
}

fn unheard_peer_is_probed_count_times_then_reset(address: IpAddr) {
    if !is_ready(&["nft", "dumpcap", "tshark"]) {
        return;
    }
    let config = quick();
    let host = Namespace::new();
    let (captured, our_port) = host.enter(|| {
        let mut client = Client::new(&host);
        let capture = Capture::start(&host, &[TAP]);
        let handle = client.add_socket(false);
        client.enable(handle, config);
        let mut connection = client.connect(handle, &listen(address), address);
        client.exchange(&mut connection);
        host.silence();

        client.run_until("a verdict", config.detection_time() + SECOND, |client| {
            client.close_reason(handle).is_some()
        });
        let Some(CloseReason::KeepAlive(verdict)) = client.close_reason(handle) else {
            panic!("{:?}", client.close_reason(handle));
        };
        assert_eq!((verdict.unanswered, verdict.unsent), (3, 0));
        assert_near(verdict.silent_for, config.detection_time(), "the verdict");
        let events: Vec<_> = client.events().iter().map(|it| it.event).collect();
        assert_eq!(
            events,
            [Event::Suspect { unanswered: 1 }, Event::TimedOut(verdict)]
        );
        assert_eq!(client.state(handle), tcp::State::Closed);

        let seen = connection
            .stream
            .read(&mut [0])
            .map_err(|error| error.kind());
        assert_eq!(seen, Err(ErrorKind::ConnectionReset));
        // Nothing comes after the RST.
        client.run_for(SECOND);
        (capture.finish(), connection.our_port)
    });

    let wire = Wire::new(&captured, our_port);
    let last_heard = wire.last_heard();
    let after: Vec<_> = wire.ours().filter(|it| it.at > last_heard).collect();
    let [first, second, third, reset] = after[..] else {
        panic!("three probes and a RST, not {after:#?}");
    };
    for (number, probe) in (1..).zip([first, second, third]) {
        assert!(probe.is_keep_alive && probe.len == 0, "{probe:?}");
        assert_eq!(probe.seq, wire.before(probe).snd_nxt.wrapping_sub(1));
        assert_near(probe.at - last_heard, SECOND * number, "a probe");
    }
    assert!(reset.flags.rst, "{reset:?}");
    assert_eq!(reset.seq, wire.before(reset).snd_nxt);
    assert_near(reset.at - last_heard, config.detection_time(), "the RST");
}

/// K20: a host whose segments a packet filter drops still answers ARP: the probes got as far as the
/// peer.
#[test]
fn k20_a_silenced_host_fails_at_the_peer() {
    if !is_ready(&["nft"]) {
        return;
    }
    let host = Namespace::new();
    host.enter(|| {
        let mut client = Client::new(&host);
        let silence = |_: &mut Client| host.silence();
        let verdict = verdict_after(&mut client, &listen(HOST_V4), HOST_V4, silence);
        assert_eq!(verdict.failed_at, FailedAt::Peer);
        assert_eq!((verdict.unanswered, verdict.unsent), (3, 0));
    });
}

/// K20: a host that is gone from the link answers no ARP: the probes got as far as the next hop.
#[test]
fn k20_a_host_that_is_gone_fails_at_the_next_hop() {
    if !is_ready(&[]) {
        return;
    }
    let host = Namespace::new();
    host.enter(|| {
        let mut client = Client::new(&host);
        let verdict = verdict_after(&mut client, &listen(HOST_V4), HOST_V4, |_| {
            host.ip(&format!("addr del {HOST_V4}/24 dev {TAP}"));
        });
        assert_eq!(verdict.failed_at, FailedAt::NextHop);
        assert_eq!((verdict.unanswered, verdict.unsent), (3, 0));
    });
}

/// K20: a router without a route says so by ICMP: the probes got as far as the network. It says so at
/// each probe, and the verdict falls no sooner for that (MUST-56).
#[test]
fn k20_a_router_without_a_route_fails_in_the_network() {
    if !is_ready(&["nft"]) {
        return;
    }
    let nat = Nat::new();
    let listener = nat.server.enter(|| listen(SERVER));
    nat.router.enter(|| {
        let mut client = Client::new(&nat.router);
        let verdict = verdict_after(&mut client, &listener, SERVER, |_| {
            nat.router.ip(&format!("route add unreachable {SERVER}/32"));
        });
        assert_eq!(verdict.failed_at, FailedAt::Network);
        assert_eq!((verdict.unanswered, verdict.unsent), (3, 0));
        assert_near(verdict.silent_for, quick().detection_time(), "the verdict");
    });
}

/// K20: nothing reads at the other end of our own TAP: no probe left the device.
#[test]
fn k20_a_tap_without_a_reader_fails_at_the_device() {
    if !is_ready(&[]) {
        return;
    }
    let host = Namespace::new();
    host.enter(|| {
        let mut client = Client::new(&host);
        let take_down = |client: &mut Client| client.take_down(&host);
        let verdict = verdict_after(&mut client, &listen(HOST_V4), HOST_V4, take_down);
        assert_eq!(verdict.failed_at, FailedAt::Device);
        assert_eq!((verdict.unanswered, verdict.unsent), (0, 3));
        assert_near(verdict.silent_for, quick().detection_time(), "the verdict");
    });
}

/// The verdict on the peer of a connection after `cut`.
fn verdict_after(
    client: &mut Client,
    listener: &TcpListener,
    address: IpAddr,
    cut: impl FnOnce(&mut Client),
) -> Verdict {
    let handle = client.add_socket(false);
    client.enable(handle, quick());
    let mut connection = client.connect(handle, listener, address);
    client.exchange(&mut connection);
    cut(client);
    let limit = quick().detection_time() + SECOND;
    client.run_until("a verdict", limit, |client| {
        client.close_reason(handle).is_some()
    });
    match client.close_reason(handle) {
        Some(CloseReason::KeepAlive(verdict)) => verdict,
        reason => panic!("{reason:?}"),
    }
}

/// E9: a connection that only one side has closed is probed like any other, whichever side
/// that is.
#[test]
fn half_closed_connections_are_probed() {
    if !is_ready(&[]) {
        return;
    }
    let host = Namespace::new();
    host.enter(|| {
        let mut client = Client::new(&host);
        let listener = listen(HOST_V4);
        let [by_peer, by_us] = [(); 2].map(|()| {
            let handle = client.add_socket(false);
            client.enable(handle, quick());
            let mut connection = client.connect(handle, &listener, HOST_V4);
            client.exchange(&mut connection);
            connection
        });
        by_peer
            .stream
            .shutdown(Shutdown::Write)
            .expect("it is connected");
        client.socket(by_us.handle).close();

        client.run_until("three answers", 5 * SECOND, |client| {
            let answered = |it: &Connection| client.stats(it.handle).probes_answered;
            answered(&by_peer) >= 3 && answered(&by_us) >= 3
        });
        assert_eq!(client.state(by_peer.handle), tcp::State::CloseWait);
        assert_eq!(client.state(by_us.handle), tcp::State::FinWait2);
        assert!(client.events().is_empty(), "{:?}", client.events());
    });
}

/// K11: data that are not acknowledged are given up after the user timeout, and the RST reaches
/// the peer, which after all has only lost its voice.
#[test]
fn unacknowledged_data_are_given_up_after_user_timeout() {
    const USER_TIMEOUT: Duration = Duration::from_secs(2);
    if !is_ready(&["nft"]) {
        return;
    }
    let host = Namespace::new();
    host.enter(|| {
        let mut client = Client::new(&host);
        let handle = client.add_socket(false);
        let config = quick()
            .with_user_timeout(USER_TIMEOUT)
            .expect("two seconds are a valid timeout");
        client.enable(handle, config);
        let mut connection = client.connect(handle, &listen(HOST_V4), HOST_V4);
        client.exchange(&mut connection);
        host.silence();

        let written = wall_clock();
        assert_eq!(client.socket(handle).send_slice(b"anybody there?"), Ok(14));
        client.run_until("a verdict", 2 * USER_TIMEOUT, |client| {
            client.close_reason(handle).is_some()
        });
        let Some(CloseReason::UserTimeout(verdict)) = client.close_reason(handle) else {
            panic!("{:?}", client.close_reason(handle));
        };
        assert_eq!((verdict.unanswered, verdict.unsent), (0, 0));
        let waited = wall_clock().duration_since(written);
        assert_near(waited.unwrap_or_default(), USER_TIMEOUT, "the verdict");

        let stream = &mut connection.stream;
        let mut received = Vec::new();
        let seen = stream.read_to_end(&mut received).map_err(|it| it.kind());
        assert_eq!(seen, Err(ErrorKind::ConnectionReset));
    });
}

/// K11, RFC 9293 3.8.6.1: a peer whose window is zero is alive as long as it says so, however
/// short the user timeout.
#[test]
fn zero_window_is_no_reason_to_give_up() {
    if !is_ready(&["dumpcap", "tshark"]) {
        return;
    }
    let host = Namespace::new();
    let (captured, our_port) = host.enter(|| {
        let mut client = Client::new(&host);
        let capture = Capture::start(&host, &[TAP]);
        let handle = client.add_socket(false);
        let config = quick()
            .with_user_timeout(SECOND)
            .expect("a second is a valid timeout");
        client.enable(handle, config);
        let listener = listen(HOST_V4);
        sockopt::set_socket_recv_buffer_size(&listener, 8192).expect("the size is valid");
        let mut connection = client.connect(handle, &listener, HOST_V4);

        // The peer's application reads nothing, and we write until no more is taken.
        let mut written = 0;
        for _ in 0..20 {
            let taken = client.socket(handle).send_slice(&[0; 4096]);
            written += taken.expect("it is established");
            client.run_for(SECOND / 20);
        }
        let stuck = client.socket(handle).send_queue();
        assert!(stuck > 0, "the peer took all of {written} octets");
        client.run_for(8 * SECOND);
        assert_eq!(client.close_reason(handle), None);
        assert_eq!(client.socket(handle).send_queue(), stuck);

        // Now it reads, and all that was written is there.
        let mut stream = connection.stream;
        let reader = thread::spawn(move || {
            let result = stream.read_exact(&mut vec![0; written]);
            (stream, result.map_err(|error| error.kind()))
        });
        client.run_until("all of it arrives", 10 * SECOND, |client| {
            client.socket(handle).send_queue() == 0
        });
        let result;
        (connection.stream, result) = reader.join().expect("it only reads");
        assert_eq!(result, Ok(()));
        client.exchange(&mut connection);
        (capture.finish(), connection.our_port)
    });

    let wire = Wire::new(&captured, our_port);
    let closed = wire.theirs().filter(|it| it.window == 0).count();
    assert!(closed >= 3, "the window was closed: {captured:#?}");
}

/// A host that was rebuilt while we were idle knows nothing of the connection: it answers the
/// first probe with a RST, and that is what we report.
#[test]
fn rebuilt_host_resets_while_probing() {
    if !is_ready(&[]) {
        return;
    }
    let host = Namespace::new();
    let rebuilt = Namespace::new();
    host.enter(|| {
        let mut client = Client::new(&host);
        let handle = client.add_socket(false);
        client.enable(handle, quick());
        let mut connection = client.connect(handle, &listen(HOST_V4), HOST_V4);
        client.exchange(&mut connection);

        // The cable is put into another host, of the same addresses.
        host.ip(&format!("link set {TAP} netns {}", rebuilt.name()));
        configure_host(&rebuilt);

        client.run_until("a RST", 2 * SECOND, |client| {
            client.close_reason(handle).is_some()
        });
        assert_eq!(
            client.close_reason(handle),
            Some(CloseReason::PeerReset {
                while_probing: true
            })
        );
        let stats = client.stats(handle);
        assert_eq!((stats.probes_sent, stats.verdicts), (1, 0));
        assert_eq!(client.state(handle), tcp::State::Closed);
        let events: Vec<_> = client.events().iter().map(|it| it.event).collect();
        let ended = Event::PeerReset {
            while_probing: true,
        };
        assert_eq!(events, [ended]);
    });
}

/// A NAT forgets a connection that is idle for too long. Probes within that time keep it alive,
/// and it is the probes that do: a connection beside it without them is lost.
#[test]
fn probes_keep_a_nat_mapping_alive() {
    if !is_ready(&["nft"]) {
        return;
    }
    let nat = Nat::new();
    let listener = nat.server.enter(|| listen(SERVER));

    nat.router.enter(|| {
        let mut client = Client::new(&nat.router);
        let kept = client.add_socket(false);
        let left = client.add_socket(false);
        client.enable(kept, quick());
        let mut kept = client.connect(kept, &listener, SERVER);
        let mut left = client.connect(left, &listener, SERVER);
        client.exchange(&mut kept);
        client.exchange(&mut left);

        client.run_for(8 * SECOND);
        assert!(client.stats(kept.handle).probes_answered >= 6);
        client.exchange(&mut kept);

        let sent = client.socket(left.handle).send_slice(b"anybody there?");
        assert_eq!(sent, Ok(14));
        client.run_for(2 * SECOND);
        assert_eq!(client.socket(left.handle).send_queue(), 14);
        left.stream
            .set_nonblocking(true)
            .expect("it is a socket like any other");
        let seen = left.stream.read(&mut [0]).map_err(|error| error.kind());
        assert_eq!(seen, Err(ErrorKind::WouldBlock));
        client.exchange(&mut kept);
    });
}

/// Linux' own keep-alive is content with us, whether ours is on or off; and what it sends is a
/// sign of life that makes probes of ours unnecessary.
#[test]
fn probes_from_linux_are_answered() {
    if !is_ready(&["dumpcap", "tshark"]) {
        return;
    }
    let host = Namespace::new();
    let (captured, ports) = host.enter(|| {
        let mut client = Client::new(&host);
        let capture = Capture::start(&host, &[TAP]);
        let listener = listen(HOST_V4);
        let with_ours = client.add_socket(false);
        let without_ours = client.add_socket(false);
        let config = Config::new(2 * SECOND, SECOND, 3).expect("the configuration is valid");
        client.enable(with_ours, config);
        let mut connections =
            [with_ours, without_ours].map(|handle| client.connect(handle, &listener, HOST_V4));
        for connection in &mut connections {
            client.exchange(connection);
            enable_linux(&connection.stream, SECOND, SECOND, 3);
        }

        client.run_for(8 * SECOND);
        assert_eq!(client.stats(with_ours).probes_sent, 0);
        for connection in &mut connections {
            client.exchange(connection);
        }
        (capture.finish(), connections.map(|it| it.our_port))
    });

    for our_port in ports {
        let wire = Wire::new(&captured, our_port);
        let probes: Vec<_> = wire.theirs().filter(|it| it.is_keep_alive).collect();
        assert!(probes.len() >= 5, "{captured:#?}");
        for probe in probes {
            let answer = wire.answer(probe);
            assert!(answer.is_keep_alive_ack && answer.len == 0, "{answer:?}");
            assert!(answer.at - probe.at < TOLERANCE, "{probe:?} {answer:?}");
        }
    }
}

/// A host that slept for longer than it takes to detect a dead peer does not give up one that is
/// alive: it asks first (K9).
#[test]
fn live_peer_survives_our_sleep() {
    if !is_ready(&[]) {
        return;
    }
    let host = Namespace::new();
    host.enter(|| {
        let mut client = Client::new(&host);
        let handle = client.add_socket(false);
        client.enable(handle, quick());
        let mut connection = client.connect(handle, &listen(HOST_V4), HOST_V4);
        client.exchange(&mut connection);

        thread::sleep(quick().detection_time() + SECOND);
        client.run_for(SECOND / 2);

        let stats = client.stats(handle);
        assert_eq!((stats.probes_sent, stats.probes_answered), (1, 1));
        assert_eq!((stats.late_polls, stats.verdicts), (1, 0));
        client.exchange(&mut connection);
    });
}

/// Side by side with a socket of Linux', of the same configuration and struck by the same
/// silence, ours does the same at the same times.
#[test]
fn timeline_is_that_of_linux() {
    const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));
    const LINUX: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 2));
    const APART: Duration = Duration::from_millis(200);
    if !is_ready(&["nft", "dumpcap", "tshark"]) {
        return;
    }
    let config = Config::new(2 * SECOND, SECOND, 4).expect("the configuration is valid");
    let host = Namespace::new();
    let linux = Namespace::new();
    host.cable(&linux, "lan", [SERVER, LINUX]);

    let (captured, ports, told) = host.enter(|| {
        let mut client = Client::new(&host);
        let capture = Capture::start(&host, &[TAP, "lan"]);
        let listener = listen(SERVER);
        let address = listener.local_addr().expect("it is bound");

        let mut theirs = linux
            .enter(|| TcpStream::connect(address))
            .expect("the server listens");
        enable_linux(&theirs, config.idle(), config.interval(), config.count());
        let (mut accepted, _) = listener.accept().expect("the handshake is complete");

        let ours = client.add_socket(false);
        client.enable(ours, config);
        let mut ours = client.connect(ours, &listener, SERVER);

        // The last thing that both of them hear.
        client.exchange(&mut ours);
        theirs.write_all(b"from linux").expect("it is connected");
        accepted.read_exact(&mut [0; 10]).expect("it was sent");
        client.run_for(SECOND / 10);
        host.silence();

        let their_port = theirs.local_addr().expect("it is bound").port();
        let their_end = thread::spawn(move || {
            let error = theirs.read(&mut [0]).map_err(|error| error.kind());
            (wall_clock(), error)
        });
        client.run_until("a verdict", config.detection_time() + SECOND, |client| {
            client.close_reason(ours.handle).is_some()
        });
        let (they_were_told, error) = their_end.join().expect("it only reads");
        assert_eq!(error, Err(ErrorKind::TimedOut));
        let we_were_told = client
            .events()
            .iter()
            .find(|it| matches!(it.event, Event::TimedOut(v) if v.cause == Cause::KeepAlive))
            .expect("there was a verdict")
            .at;
        for stream in [&mut accepted, &mut ours.stream] {
            let seen = stream.read(&mut [0]).map_err(|error| error.kind());
            assert_eq!(seen, Err(ErrorKind::ConnectionReset));
        }
        (
            capture.finish(),
            [their_port, ours.our_port],
            [they_were_told, we_were_told],
        )
    });

    let [theirs, ours] = [0, 1].map(|side| {
        let wire = Wire::new(&captured, ports[side]);
        timeline(&wire, told[side])
    });
    println!("idle 2 s, interval 1 s, count 4; seconds since the last segment heard\n");
    println!(
        "{:<18} {:>9} {:>9} {:>11}",
        "", "Linux", "smoltcp", "difference"
    );
    assert_eq!(theirs.len(), ours.len(), "{theirs:#?} {ours:#?}");
    for (theirs, ours) in theirs.iter().zip(&ours) {
        println!(
            "{:<18} {:>9.3} {:>9.3} {:>+11.3}",
            theirs.what,
            theirs.at.as_secs_f64(),
            ours.at.as_secs_f64(),
            ours.at.as_secs_f64() - theirs.at.as_secs_f64(),
        );
    }
    for (theirs, ours) in theirs.iter().zip(&ours) {
        assert_eq!(theirs.what, ours.what);
        assert!(theirs.at.abs_diff(ours.at) < APART, "{theirs:?} {ours:?}");
    }
}

/// What smoltcp says to the kernel it says to a recording of the kernel, with keep-alive as
/// without. With `TCP_KEEPALIVE_RECORD` set, these recordings replace those of `tests/recorded`.
#[test]
fn conversations_can_be_replayed() {
    if !is_ready(&[]) {
        return;
    }
    let recordings = thread::scope(|scope| {
        let recorders = Scene::all().map(|scene| scope.spawn(|| (record(&scene), scene)));
        recorders.map(|it| {
            it.join()
                .unwrap_or_else(|failure| panic::resume_unwind(failure))
        })
    });
    for (recording, scene) in recordings {
        assert_unchanged(&scene, &recording);
        // What happens in a conversation, and when it is quiet, is not certain: these are kept if
        // it does.
        if env::var_os("TCP_KEEPALIVE_RECORD").is_some() {
            assert_transparent(&scene, &recording);
            assert_is_eventful(&scene, &recording);
            recording.save(scene.name, &system());
        }
    }
}

/// Switches Linux' own keep-alive on.
fn enable_linux(stream: &TcpStream, idle: Duration, interval: Duration, count: u8) {
    sockopt::set_tcp_keepidle(stream, idle)
        .and_then(|()| sockopt::set_tcp_keepintvl(stream, interval))
        .and_then(|()| sockopt::set_tcp_keepcnt(stream, u32::from(count)))
        .and_then(|()| sockopt::set_socket_keepalive(stream, true))
        .expect("the configuration is valid to Linux too");
}
