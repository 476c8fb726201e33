//! Hosts are watched: what an application or a peer does that breaks an invariant ends the run.

use smoltcp::iface::SocketHandle;
use smoltcp::socket::raw;
use smoltcp::time;
use smoltcp::wire::{IpProtocol, IpVersion};
use tcp_keepalive_sim::wire::Segment;
use tcp_keepalive_sim::{
    App, Conditions, Context, Host, Id, Invariant, Peer, Script, SimError, World,
};

use super::pair::{address, cidr, config, first_handle, server};
use super::post::{after, ms, s};

/// Runs a script and, once, sends a keep-alive of its own making.
struct Forger {
    script: Script,
    raw: Option<SocketHandle>,
    /// What it sends, and when.
    forgery: Option<(time::Instant, Segment)>,
}

impl App for Forger {
    fn start(&mut self, cx: &mut Context<'_>) {
        self.script.start(cx);
        let buffer = || raw::PacketBuffer::new(vec![raw::PacketMetadata::EMPTY], vec![0; 100]);
        let (version, protocol) = (IpVersion::Ipv4, IpProtocol::Tcp);
        let socket = raw::Socket::new(Some(version), Some(protocol), buffer(), buffer());
        self.raw = Some(cx.sockets.add(socket));
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Option<time::Instant> {
        let wish = self.script.poll(cx);
        if let Some((_, segment)) = self.forgery.take_if(|(at, _)| *at <= cx.now) {
            let socket = cx.sockets.get_mut::<raw::Socket>(self.raw.unwrap());
            socket.send_slice(&segment.emit(None)).unwrap();
        }
        let forgery = self.forgery.as_ref().map(|(at, _)| *at);
        wish.into_iter().chain(forgery).min()
    }
}

/// A host, whose connection to a peer has been open for a second.
fn forger(change: impl FnOnce(Host) -> Host) -> (World, Id<Host>, Id<Peer>) {
    let mut world = World::new(1);
    let app = Forger {
        script: Script::client(server()).keep_alive(config()),
        raw: None,
        forgery: None,
    };
    let host = world.add("host", change(Host::ip(cidr(1)).app(app)));
    let peer = world.add("peer", Peer::ip(address(2)));
    let slow = Conditions::ideal().latency(ms(10));
    world.link(host, peer, slow).unwrap();
    world.run_for(s(1)).unwrap();
    (world, host, peer)
}

/// Two seconds after the beginning, the application sends a segment, `below` SND.NXT.
fn forge(world: &mut World, host: Id<Host>, peer: Id<Peer>, below: u32) -> Result<(), SimError> {
    let mut segment = world[peer].next_segment(0).unwrap();
    let numbers = (segment.ack.unwrap().wrapping_sub(below), Some(segment.seq));
    (segment.seq, segment.ack) = numbers;
    (segment.src_addr, segment.dst_addr) = (segment.dst_addr, segment.src_addr);
    (segment.src_port, segment.dst_port) = (segment.dst_port, segment.src_port);
    let at = time::Instant::from_micros(i64::try_from(after(s(2)).as_micros()).unwrap());
    let forger = world[host].app_mut::<Forger>().unwrap();
    forger.forgery = Some((at, segment));
    world.wake(host).unwrap();
    let result = world.run_for(s(2));
    // It left, whatever became of it.
    let frames = world.trace().frames();
    assert_eq!(frames.filter(|sent| sent.from == host.into()).count(), 3);
    result
}

/// The watch finds a probe that the application makes itself, and names its time and socket.
#[test]
fn probe_of_the_applications_own_is_found_out() {
    let (mut world, host, peer) = forger(|host| host);
    let Err(SimError::Broken(violation)) = forge(&mut world, host, peer, 1) else {
        panic!("nothing was found");
    };
    assert_eq!(violation.invariant, Invariant::ProbeUnbidden);
    assert_eq!(violation.node, "host");
    assert_eq!(violation.at, after(s(2)));
    let (handle, _) = world[host].tcp_sockets().next().unwrap();
    assert_eq!(violation.handle, handle);
}

/// An acknowledgement of its own making is none.
#[test]
fn acknowledgement_of_the_applications_own_is_let_pass() {
    let (mut world, host, peer) = forger(|host| host);
    assert_eq!(forge(&mut world, host, peer, 0), Ok(()));
}

/// The watch ignores a host that is not watched.
#[test]
fn unwatched_host_does_as_it_likes() {
    let (mut world, host, peer) = forger(Host::unwatched);
    assert_eq!(forge(&mut world, host, peer, 1), Ok(()));
}

/// A host without keep-alive answers for nothing.
#[test]
fn plain_host_does_as_it_likes() {
    let (mut world, host, peer) = forger(Host::plain);
    assert_eq!(forge(&mut world, host, peer, 1), Ok(()));
}

/// A probe is held against what its peer holds for right, of either number.
#[test]
fn probe_is_held_against_the_peers_account() {
    type Change = fn(&mut tcp_keepalive_sim::Account);
    let changes: [(Change, bool); 3] = [
        (|_| (), true),
        (|account| account.rcv_nxt += 1, false),
        (|account| account.snd_nxt -= 1, false),
    ];
    for (change, is_right) in changes {
        let mut world = World::new(1);
        let script = Script::client(server()).keep_alive(config());
        let host = world.add("host", Host::ip(cidr(1)).app(script));
        let peer = world.add("peer", Peer::ip(address(2)));
        world.link(host, peer, Conditions::ideal()).unwrap();
        world.run_for(s(1)).unwrap();
        change(&mut world[peer].connections[0]);
        let result = world.run_for(s(10));
        let handle = first_handle(&world, host);
        match result {
            Ok(()) => assert!(is_right),
            Err(SimError::Broken(violation)) => {
                assert!(!is_right, "{violation}");
                assert_eq!((violation.at, violation.handle), (after(s(10)), handle));
                let is_numbers = matches!(violation.invariant, Invariant::ProbeNumbers { .. });
                assert!(is_numbers, "{violation}");
            }
            Err(error) => panic!("{error}"),
        }
    }
}

/// Each of these says in one line what does not hold, for which node, and when.
#[test]
fn violations_are_one_line_each() {
    let (due, at) = (after(s(2)), after(s(1)));
    for invariant in [
        Invariant::ProbeWhileBusy,
        Invariant::ProbeBeforeIdle { due, at },
        Invariant::ProbeBeforeInterval { due, at },
        Invariant::ProbeUnbidden,
        Invariant::ProbeNotSent,
        Invariant::ProbeNumbers {
            found: (1, 2),
            right: (3, 4),
        },
        Invariant::HeardForgotten {
            heard: due,
            believed: Some(at),
        },
        Invariant::VerdictWithoutAttempts {
            attempts: 2,
            count: 3,
        },
        Invariant::VerdictMiscounts { told: 4, sent: 3 },
        Invariant::VerdictAfterGap { due: at, at },
        Invariant::VerdictTooEarly {
            silent_for: s(15),
            least: s(16),
        },
        Invariant::SecondVerdict,
        Invariant::ProbePayload { found: 1, right: 0 },
        Invariant::ProbeWindow { found: 0, told: 9 },
        Invariant::ProbeTimestamps { negotiated: true },
        Invariant::ProbeTimestamps { negotiated: false },
        Invariant::ProbeHopLimit {
            found: 1,
            right: 64,
        },
        Invariant::HeardNobody { believed: due },
        Invariant::SuspectUnfounded,
        Invariant::SuspectUnreported,
        Invariant::RecoveredUnfounded,
        Invariant::RecoveredUnreported,
        Invariant::VerdictMisjudges {
            told: s(2),
            silent_for: s(1),
        },
        Invariant::VerdictUnreported {
            counted: 1,
            told: 0,
        },
        Invariant::VerdictNotCarriedOut,
        Invariant::DeadlineInThePast {
            deadline: at,
            now: due,
        },
        Invariant::LivePeerGivenUp,
        Invariant::DeadPeerKept { by: due },
    ] {
        let violation = tcp_keepalive_sim::Violation {
            node: "host",
            at,
            handle: SocketHandle::default(),
            invariant,
        };
        let text = SimError::Broken(violation).to_string();
        let start = "host #0 at 1001000000 µs: ";
        let what = text.strip_prefix(start).unwrap_or_default();
        assert_eq!(what, invariant.to_string());
        assert!(what.len() > 10 && !what.contains('\n'), "{text}");
    }
}
