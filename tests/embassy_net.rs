//! embassy-net in virtual time: two stacks of the registry's newest release, one cable, and the
//! clock of embassy-time's mock driver.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::default_trait_access,
    clippy::unchecked_time_subtraction,
    clippy::unwrap_used,
    reason = "a test may panic"
)]

mod cable;
mod tasks;

use core::cell::{Cell, RefCell};
use core::future::{Future, pending};
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use core::task::{Context, Waker};
use core::time::Duration;
use std::rc::Rc;
use std::sync::{Mutex, MutexGuard, PoisonError};

use embassy_net::tcp::{self, TcpSocket};
use embassy_net::{ConfigV6, Ipv4Cidr, Ipv6Cidr, Stack, StackResources};
use embassy_net::{StaticConfigV4, StaticConfigV6};
use embassy_net_driver::{
    Capabilities, Checksum, Driver, HardwareAddress, LinkState, RxToken as _, TxToken as _,
};
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_time::{MockDriver, Timer};
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{IpProtocol, IpRepr, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber};
use tcp_keepalive::embassy_net::{self as keep_alive, CloseReason, Connection, Error, Notice};
use tcp_keepalive::{Config, Event, State};

use crate::cable::{Frame, Lane, Port, Room};
use crate::tasks::{Flag, Task, settle, spawn};

const PORT: u16 = 7;

/// The addresses of both ends.
#[derive(Clone, Copy)]
struct Addresses {
    ours: IpAddr,
    peers: IpAddr,
}

const V4: Addresses = Addresses {
    ours: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 1)),
    peers: IpAddr::V4(Ipv4Addr::new(10, 0, 0, 2)),
};
const V6: Addresses = Addresses {
    ours: IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 1)),
    peers: IpAddr::V6(Ipv6Addr::new(0xfd00, 0, 0, 0, 0, 0, 0, 2)),
};

type Control<const W: usize = 4> = keep_alive::Control<'static, 16, CriticalSectionRawMutex, W>;
type Outcome = Rc<Cell<Option<Result<usize, tcp::Error>>>>;

/// The clock is one for the whole process: one test at a time.
static CLOCK: Mutex<()> = Mutex::new(());

struct Lab {
    tasks: Vec<Task>,
    /// From us to the peer, and back.
    out: Rc<Lane>,
    back: Rc<Lane>,
    is_up: Rc<Cell<bool>>,
    link_waker: Rc<RefCell<Option<Waker>>>,
    ours: Stack<'static>,
    peers: Stack<'static>,
    control: Control,
    peers_control: Control,
    medium: HardwareAddress,
    addresses: Addresses,
    _clock: MutexGuard<'static, ()>,
}

const ETHERNET: HardwareAddress = HardwareAddress::Ethernet([2, 0, 0, 0, 0, 1]);

impl Lab {
    fn new(medium: HardwareAddress) -> Self {
        Self::prepared(medium, V4, |_| ())
    }

    /// Makes a lab, and has `prepare` look at the control before either runner runs.
    fn prepared(
        medium: HardwareAddress,
        addresses: Addresses,
        prepare: impl FnOnce(Control),
    ) -> Self {
        let clock = CLOCK.lock().unwrap_or_else(PoisonError::into_inner);
        MockDriver::get().reset();
        let out = Rc::new(Lane::default());
        let back = Rc::new(Lane::default());
        let is_up = Rc::new(Cell::new(true));
        let link_waker = Rc::new(RefCell::new(None));
        let mut tasks = Vec::new();
        let port = Port {
            from: back.clone(),
            to: out.clone(),
            is_up: is_up.clone(),
            waker: link_waker.clone(),
            address: medium,
        };
        let (ours, control) = start(&mut tasks, port, addresses.ours);
        prepare(control);
        let peers_end = peers_port(&out, &back, medium);
        let (peers, peers_control) = start(&mut tasks, peers_end, addresses.peers);
        let mut lab = Self {
            tasks,
            out,
            back,
            is_up,
            link_waker,
            ours,
            peers,
            control,
            peers_control,
            medium,
            addresses,
            _clock: clock,
        };
        lab.settle();
        lab
    }

    /// The peer loses its power, and comes back with the same addresses.
    fn reboot_peer(&mut self) {
        self.tasks.truncate(1);
        self.back.frames.borrow_mut().clear();
        let port = peers_port(&self.out, &self.back, self.medium);
        (self.peers, self.peers_control) = start(&mut self.tasks, port, self.addresses.peers);
        self.settle();
    }

    /// Has a stack of our own whose addresses have `W` words, and its control.
    fn replace_ours<const W: usize>(&mut self) -> Control<W> {
        let port = Port {
            from: self.back.clone(),
            to: self.out.clone(),
            is_up: self.is_up.clone(),
            waker: self.link_waker.clone(),
            address: self.medium,
        };
        let peers = self.tasks.pop();
        self.tasks.clear();
        let (stack, control) = start(&mut self.tasks, port, self.addresses.ours);
        self.tasks.extend(peers);
        self.ours = stack;
        self.settle();
        control
    }

    fn spawn(&mut self, future: impl Future<Output = ()> + 'static) {
        spawn(&mut self.tasks, future);
        self.settle();
    }

    /// Polls the tasks that were woken, until none is.
    fn settle(&mut self) {
        settle(&mut self.tasks);
    }

    /// Advances the clock to a moment, in steps of at most `step`.
    fn run_until(&mut self, end: Duration, step: Duration) {
        while now() < end {
            let step = step.min(end - now());
            let micros = u64::try_from(step.as_micros()).unwrap();
            MockDriver::get().advance(embassy_time::Duration::from_micros(micros));
            self.settle();
        }
    }

    fn run(&mut self, seconds: u64) {
        self.run_until(
            now() + Duration::from_secs(seconds),
            Duration::from_millis(100),
        );
    }

    fn cut(&self, is_cut: bool) {
        self.out.is_cut.set(is_cut);
        self.back.is_cut.set(is_cut);
    }

    /// The peer accepts one connection after the other.
    fn listen(&mut self, port: u16) {
        let stack = self.peers;
        self.spawn(async move {
            loop {
                let mut socket = socket(stack);
                if socket.accept(port).await.is_ok() {
                    let mut octets = [0; 16];
                    while matches!(socket.read(&mut octets).await, Ok(1..)) {}
                }
            }
        });
    }

    /// Connects to the peer, and waits in `read`.
    fn connect(&mut self, port: u16) -> (Connection, Outcome) {
        let connection = Rc::new(Cell::new(None));
        let outcome = Outcome::default();
        let (theirs, read) = (connection.clone(), outcome.clone());
        let (stack, peers) = (self.ours, self.addresses.peers);
        self.spawn(async move {
            let mut socket = socket(stack);
            socket.connect((peers, port)).await.unwrap();
            theirs.set(Some(ends(&socket)));
            read.set(Some(socket.read(&mut [0; 16]).await));
        });
        self.settle();
        (connection.get().expect("connected"), outcome)
    }

    /// Connects to the peer, which writes once, after `delay`, and waits for more. The connection is
    /// there once the last words have been read.
    fn hear_last_words(&mut self, delay: Duration) -> (Rc<Cell<Option<Connection>>>, Outcome) {
        let connection = Rc::new(Cell::new(None));
        let outcome = Outcome::default();
        let (theirs, read) = (connection.clone(), outcome.clone());
        let (stack, peer, address) = (self.ours, self.peers, self.addresses.peers);
        self.spawn(async move {
            let mut socket = socket(peer);
            socket.accept(PORT).await.unwrap();
            after(delay).await;
            assert_eq!(socket.write(b"last words").await, Ok(10));
            let _ = socket.read(&mut [0; 16]).await;
        });
        self.spawn(async move {
            let mut socket = socket(stack);
            socket.connect((address, PORT)).await.unwrap();
            assert_eq!(socket.read(&mut [0; 16]).await, Ok(10));
            theirs.set(Some(ends(&socket)));
            read.set(Some(socket.read(&mut [0; 16]).await));
        });
        (connection, outcome)
    }

    /// Connects to the peer, writes so many `octets` after `delay`, and waits in `read`.
    fn connect_and_write(
        &mut self,
        delay: Duration,
        octets: usize,
    ) -> (Rc<Cell<Option<Connection>>>, Outcome) {
        let connection = Rc::new(Cell::new(None));
        let outcome = Outcome::default();
        let (theirs, read) = (connection.clone(), outcome.clone());
        let (stack, address) = (self.ours, self.addresses.peers);
        self.spawn(async move {
            let mut socket = socket(stack);
            socket.connect((address, PORT)).await.unwrap();
            theirs.set(Some(ends(&socket)));
            after(delay).await;
            let data = vec![0; octets];
            let mut rest = &data[..];
            while !rest.is_empty() {
                let taken = socket.write(rest).await.unwrap();
                rest = rest.split_at(taken).1;
            }
            read.set(Some(socket.read(&mut [0; 16]).await));
        });
        (connection, outcome)
    }

    /// Connects to the peer, and drops the socket at once.
    fn connect_and_drop(&mut self, port: u16) -> Connection {
        let connection = Rc::new(Cell::new(None));
        let theirs = connection.clone();
        let (stack, peers) = (self.ours, self.addresses.peers);
        self.spawn(async move {
            let mut socket = socket(stack);
            socket.connect((peers, port)).await.unwrap();
            theirs.set(Some(ends(&socket)));
        });
        connection.get().expect("connected")
    }

    /// Frames we have sent since this was called last.
    fn take_sent(&self) -> usize {
        self.out.sent.take().len()
    }
}

fn peers_port(out: &Rc<Lane>, back: &Rc<Lane>, medium: HardwareAddress) -> Port {
    Port {
        from: out.clone(),
        to: back.clone(),
        is_up: Rc::new(Cell::new(true)),
        waker: Rc::default(),
        address: match medium {
            HardwareAddress::Ethernet(_) => HardwareAddress::Ethernet([2, 0, 0, 0, 0, 2]),
            other => other,
        },
    }
}

fn start<const W: usize>(
    tasks: &mut Vec<Task>,
    port: impl Driver + 'static,
    address: IpAddr,
) -> (Stack<'static>, Control<W>) {
    let state = Box::leak(Box::new(keep_alive::State::new()));
    let (device, control) = keep_alive::new(port, &*state).unwrap();
    let mut config = embassy_net::Config::default();
    match address {
        IpAddr::V4(address) => {
            config = embassy_net::Config::ipv4_static(StaticConfigV4 {
                address: Ipv4Cidr::new(address, 24),
                gateway: Some(gateway_of(address)),
                dns_servers: Default::default(),
            });
        }
        IpAddr::V6(address) => {
            config.ipv6 = ConfigV6::Static(StaticConfigV6 {
                address: Ipv6Cidr::new(address, 64),
                gateway: None,
                dns_servers: Default::default(),
            });
        }
    }
    let resources = Box::leak(Box::new(StackResources::<20>::new()));
    let (stack, mut runner) = embassy_net::new(device, config, resources, 1);
    spawn(tasks, async move {
        runner.run().await;
    });
    (stack, control)
}

/// Where the gateway is. There is none, unless a test answers for it.
const fn gateway_of(address: Ipv4Addr) -> Ipv4Addr {
    let [a, b, c, _] = address.octets();
    Ipv4Addr::new(a, b, c, 9)
}

fn socket(stack: Stack<'static>) -> TcpSocket<'static> {
    let buffer = || Box::leak(vec![0; 1024].into_boxed_slice());
    TcpSocket::new(stack, buffer(), buffer())
}

fn ends(socket: &TcpSocket<'_>) -> Connection {
    let (local, remote) = (
        socket.local_endpoint().unwrap(),
        socket.remote_endpoint().unwrap(),
    );
    Connection::new((local.addr, local.port), (remote.addr, remote.port))
}

fn after(delay: Duration) -> Timer {
    Timer::after_micros(u64::try_from(delay.as_micros()).unwrap())
}

fn now() -> Duration {
    #[expect(clippy::disallowed_methods, reason = "the clock is the test's own")]
    Duration::from_micros(embassy_time::Instant::now().as_micros())
}

const fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const RESET: Option<Result<usize, tcp::Error>> = Some(Err(tcp::Error::ConnectionReset));
const TICK: Duration = Duration::from_micros(1);

fn short() -> Config {
    Config::new(secs(10), secs(2), 3).unwrap()
}

/// Each medium with each protocol.
const LINKS: [(HardwareAddress, Addresses); 4] = [
    (ETHERNET, V4),
    (ETHERNET, V6),
    (HardwareAddress::Ip, V4),
    (HardwareAddress::Ip, V6),
];

/// With Linux's defaults a dead peer is given up after 7875 s, to the tick, on either medium and
/// over either protocol; the reader wakes with `ConnectionReset`, and the reason tells that from a
/// reset by the peer.
#[test]
fn verdict_falls_to_the_tick() {
    for (medium, addresses) in LINKS {
        let mut lab = Lab::prepared(medium, addresses, |_| ());
        lab.control.set_default(Some(Config::LINUX));
        lab.listen(PORT);
        lab.run(1);
        let (connection, read) = lab.connect(PORT);
        let heard = now();
        lab.cut(true);
        lab.run_until(heard + secs(7875) - TICK, Duration::from_millis(100));
        assert_eq!(read.get(), None);
        assert_eq!(
            lab.control.state(connection),
            Some(State::Probing { unanswered: 9 })
        );
        lab.run_until(heard + secs(7875), TICK);
        assert_eq!(read.get(), RESET);
        let Some(CloseReason::KeepAlive(verdict)) = lab.control.close_reason(connection) else {
            panic!("{:?}", lab.control.close_reason(connection));
        };
        assert_eq!((verdict.unanswered, verdict.unsent), (9, 0));
        assert_eq!(verdict.silent_for, secs(7875));
        assert_eq!(lab.control.stats(connection).unwrap().probes_sent, 9);
        let last = lab.control.last_heard(connection).unwrap();
        assert_eq!(u128::from(last.as_micros()), heard.as_micros());
        let suspect = lab.control.try_next_event();
        assert!(matches!(
            suspect,
            Some(Notice::Connection(of, Event::Suspect { unanswered: 1 })) if of == connection
        ));
        let dead = lab.control.try_next_event();
        assert_eq!(
            dead,
            Some(Notice::Connection(connection, Event::TimedOut(verdict)))
        );
        assert_eq!(lab.control.try_next_event(), None);
    }
}

/// A state for IPv4 alone keeps what it promises, and does not see IPv6.
#[test]
fn state_for_ipv4_alone_sees_no_ipv6() {
    for (medium, addresses) in LINKS {
        let mut lab = Lab::prepared(medium, addresses, |_| ());
        let control = lab.replace_ours::<1>();
        control.set_default(Some(short()));
        lab.listen(PORT);
        lab.run(1);
        let (connection, read) = lab.connect(PORT);
        let heard = now();
        lab.cut(true);
        lab.run_until(
            heard + short().detection_time() - TICK,
            Duration::from_millis(100),
        );
        assert_eq!(read.get(), None);
        lab.run(1);
        let reason = control.close_reason(connection);
        if addresses.ours.is_ipv4() {
            assert_eq!(read.get(), RESET);
            assert!(matches!(reason, Some(CloseReason::KeepAlive(_))));
        } else {
            assert_eq!(
                (read.get(), reason, control.state(connection)),
                (None, None, None)
            );
            assert_eq!(control.untracked(), 0);
        }
    }
}

/// With Linux's defaults a live peer is kept for two days, on either medium and over either protocol,
/// and answers each probe.
#[test]
fn live_peer_is_kept() {
    for (medium, addresses) in LINKS {
        let mut lab = Lab::prepared(medium, addresses, |_| ());
        lab.control.set_default(Some(Config::LINUX));
        lab.listen(PORT);
        lab.run(1);
        let (connection, read) = lab.connect(PORT);
        lab.run_until(now() + secs(48 * 3600), secs(1));
        assert_eq!(read.get(), None);
        assert_eq!(lab.control.state(connection), Some(State::Armed));
        let stats = lab.control.stats(connection).unwrap();
        assert_eq!((stats.probes_sent, stats.probes_answered), (24, 24));
        assert_eq!(lab.control.try_next_event(), None);
    }
}

/// The socket that was given up connects again, and both ends of the half-open connection were
/// closed by their own keep-alive.
#[test]
fn both_ends_are_closed_and_the_socket_connects_again() {
    let mut lab = Lab::new(ETHERNET);
    lab.control.set_default(Some(short()));
    lab.peers_control
        .set_local_port(PORT, Some(short()))
        .unwrap();
    lab.listen(PORT);
    let stack = lab.ours;
    let ends_of = Rc::new(RefCell::new(Vec::new()));
    let theirs = ends_of.clone();
    lab.spawn(async move {
        let mut socket = socket(stack);
        loop {
            if socket.connect((V4.peers, PORT)).await.is_ok() {
                theirs.borrow_mut().push(ends(&socket));
                assert_eq!(
                    socket.read(&mut [0; 16]).await,
                    Err(tcp::Error::ConnectionReset)
                );
            }
        }
    });
    lab.settle();
    lab.cut(true);
    lab.run(17);
    let first = ends_of.borrow()[0];
    assert!(matches!(
        lab.control.close_reason(first),
        Some(CloseReason::KeepAlive(_))
    ));
    let seen_by_peer = Connection::new(first.remote, first.local);
    assert!(matches!(
        lab.peers_control.close_reason(seen_by_peer),
        Some(CloseReason::KeepAlive(_))
    ));
    lab.cut(false);
    lab.run(20);
    assert_eq!(ends_of.borrow().len(), 2);
    let second = ends_of.borrow()[1];
    lab.run(60);
    assert_eq!(lab.control.state(second), Some(State::Armed));
    assert_eq!(lab.control.close_reason(second), None);
}

/// A peer that lost its power answers by a RST, and the reason says so. Its answer to the first
/// probe is lost, for it has yet to ask for our hardware address.
#[test]
fn rebooted_peer_is_told_from_a_dead_one() {
    let mut lab = Lab::new(ETHERNET);
    lab.control.set_default(Some(short()));
    lab.listen(PORT);
    let (connection, read) = lab.connect(PORT);
    let tasks = lab.tasks.split_off(3);
    lab.reboot_peer();
    lab.tasks.extend(tasks);
    lab.run(11);
    assert_eq!(read.get(), None);
    lab.run(1);
    assert_eq!(read.get(), RESET);
    assert_eq!(
        lab.control.close_reason(connection),
        Some(CloseReason::PeerReset {
            while_probing: true
        })
    );
}

/// Nothing is kept alive until a policy covers it, the most specific policy wins, and one that is
/// changed acts at once.
#[test]
fn most_specific_policy_wins_at_once() {
    let mut lab = Lab::new(ETHERNET);
    lab.listen(PORT);
    let (connection, _) = lab.connect(PORT);
    lab.take_sent();
    lab.run(30);
    assert_eq!(lab.control.state(connection), Some(State::Disabled));
    assert_eq!(lab.take_sent(), 0);

    // The peer has been silent for longer than the idle time: a probe leaves at once.
    lab.control.set_default(Some(short()));
    lab.settle();
    assert_eq!(lab.take_sent(), 1);
    lab.run(9);
    assert_eq!(lab.take_sent(), 0);
    lab.run(1);
    assert_eq!(lab.take_sent(), 1);

    lab.control
        .set_local_port(connection.local.port(), None)
        .unwrap();
    lab.settle();
    assert_eq!(lab.control.state(connection), Some(State::Disabled));
    lab.control.set_remote_port(PORT, Some(short())).unwrap();
    lab.settle();
    assert_eq!(lab.control.state(connection), Some(State::Armed));
    lab.control.set_remote(connection.remote, None).unwrap();
    lab.settle();
    assert_eq!(lab.control.state(connection), Some(State::Disabled));
    lab.control.set(connection, Some(short())).unwrap();
    lab.settle();
    assert_eq!(lab.control.state(connection), Some(State::Armed));
    lab.control.set(connection, None).unwrap();
    lab.run(30);
    assert_eq!(lab.control.state(connection), Some(State::Disabled));
}

/// While the driver has no room, not one probe leaves, and the verdict falls in time all the same.
#[test]
fn driver_without_room_delays_no_verdict() {
    let mut lab = Lab::new(ETHERNET);
    lab.control.set_default(Some(Config::LINUX));
    lab.listen(PORT);
    let (connection, read) = lab.connect(PORT);
    let heard = now();
    lab.out.is_full.set(true);
    lab.run_until(heard + secs(7875) - TICK, Duration::from_millis(100));
    assert_eq!(read.get(), None);
    lab.run_until(heard + secs(7875), TICK);
    assert_eq!(read.get(), RESET);
    let Some(CloseReason::KeepAlive(verdict)) = lab.control.close_reason(connection) else {
        panic!("{:?}", lab.control.close_reason(connection));
    };
    assert_eq!((verdict.unanswered, verdict.unsent), (0, 9));

    // The RST for the peer waits for room, and is not lost.
    lab.take_sent();
    lab.out.is_full.set(false);
    lab.run(1);
    assert_eq!(lab.take_sent(), 1);
}

/// A link that is down for less than the detection time costs nothing, whether frames vanish
/// meanwhile or not.
#[test]
fn link_that_comes_back_in_time_is_survived() {
    let mut lab = Lab::new(ETHERNET);
    lab.control.set_default(Some(short()));
    lab.listen(PORT);
    let (connection, read) = lab.connect(PORT);
    lab.cut(true);
    lab.is_up.set(false);
    lab.run(13);
    lab.cut(false);
    lab.is_up.set(true);
    lab.run(600);
    assert_eq!(read.get(), None);
    assert_eq!(lab.control.state(connection), Some(State::Armed));
    let recovered = [
        lab.control.try_next_event(),
        lab.control.try_next_event(),
        lab.control.try_next_event(),
    ];
    assert!(matches!(
        recovered,
        [
            Some(Notice::Connection(_, Event::Suspect { .. })),
            Some(Notice::Connection(_, Event::Recovered { .. })),
            None
        ]
    ));
}

/// A link that flaps each second, with a live peer behind it, gives no peer up.
#[test]
fn flapping_link_gives_no_live_peer_up() {
    let mut lab = Lab::new(ETHERNET);
    lab.control.set_default(Some(short()));
    lab.listen(PORT);
    let (connection, read) = lab.connect(PORT);
    for second in 0..600 {
        lab.is_up.set(second % 2 == 0);
        if let Some(waker) = lab.link_waker.take() {
            waker.wake();
        }
        lab.run(1);
    }
    assert_eq!(read.get(), None);
    assert_eq!(lab.control.close_reason(connection), None);
}

/// The same if each frame vanishes while the link is down, as long as one probe of the round finds
/// it up.
#[test]
fn flapping_link_that_loses_frames_gives_no_live_peer_up() {
    let mut lab = Lab::new(ETHERNET);
    let config = Config::new(secs(10), secs(3), 3).unwrap();
    lab.control.set_default(Some(config));
    lab.listen(PORT);
    let (connection, read) = lab.connect(PORT);
    for second in 0..600 {
        let is_up = second % 2 == 0;
        lab.is_up.set(is_up);
        lab.cut(!is_up);
        if let Some(waker) = lab.link_waker.take() {
            waker.wake();
        }
        lab.run(1);
    }
    assert_eq!(read.get(), None);
    assert_eq!(lab.control.close_reason(connection), None);
    let stats = lab.control.stats(connection).unwrap();
    assert!(stats.probes_answered >= 40, "{stats:?}");
    assert!(stats.probes_sent > stats.probes_answered, "{stats:?}");
}

/// Sixteen sockets are given up in the same poll, each for its own reason.
#[test]
fn sixteen_sockets_are_given_up_together() {
    let mut lab = Lab::new(ETHERNET);
    lab.control.set_default(Some(short()));
    let mut sockets = Vec::new();
    for port in 1..=16 {
        lab.listen(port);
        sockets.push(lab.connect(port));
    }
    lab.cut(true);
    lab.run_until(now() + secs(16) - TICK, Duration::from_millis(100));
    assert!(sockets.iter().all(|(_, read)| read.get().is_none()));
    lab.run_until(now() + TICK, TICK);
    for (connection, read) in &sockets {
        assert_eq!(read.get(), RESET);
        assert!(matches!(
            lab.control.close_reason(*connection),
            Some(CloseReason::KeepAlive(_))
        ));
    }
    assert_eq!(lab.control.untracked(), 0);
}

/// A connection that finds no place is counted, reported once, and left alone; and it finds one
/// when another has ended.
#[test]
fn connection_beyond_the_table_is_counted() {
    let mut lab = Lab::new(ETHERNET);
    lab.control.set_default(Some(short()));
    let mut sockets = Vec::new();
    for port in 1..=18 {
        lab.listen(port);
        sockets.push(lab.connect(port));
    }
    assert_eq!(lab.control.untracked(), 2);
    assert_eq!(
        lab.control.try_next_event(),
        Some(Notice::Full(sockets[16].0))
    );
    assert_eq!(lab.control.try_next_event(), None);
    assert_eq!(lab.control.state(sockets[17].0), None);
    lab.cut(true);
    lab.run(60);
    assert_eq!(sockets[15].1.get(), RESET);
    assert_eq!(sockets[16].1.get(), None);
    lab.cut(false);
    lab.listen(100);
    let (connection, _) = lab.connect(100);
    assert_eq!(lab.control.state(connection), Some(State::Armed));
    // The one that ended first made room; the others are still known.
    assert_eq!(lab.control.close_reason(sockets[0].0), None);
    assert!(lab.control.close_reason(sockets[1].0).is_some());
}

/// A sleeping runner wakes for the probes and their answers, and for nothing else.
#[test]
fn sleeping_runner_wakes_only_for_probes() {
    let mut lab = Lab::new(ETHERNET);
    let config = Config::new(secs(1800), secs(75), 9).unwrap();
    lab.control.set_default(Some(config));
    lab.listen(PORT);
    let (connection, _) = lab.connect(PORT);
    lab.run(5);
    let before = lab.tasks[0].polls;
    lab.take_sent();
    lab.run(4 * 3600);
    let polls = lab.tasks[0].polls - before;
    let probes = lab.control.stats(connection).unwrap().probes_sent;
    println!("{polls} polls for {probes} probes in four hours");
    assert_eq!(probes, 8);
    // The deadline, a turn after what was sent, and the answer.
    assert!(polls <= 3 * 8, "{polls} polls");
}

/// A task that waits for an event wakes for it, and reads the reason.
#[test]
fn waiting_task_is_told_of_the_verdict() {
    let mut lab = Lab::new(ETHERNET);
    lab.control.set_default(Some(short()));
    lab.listen(PORT);
    let (connection, _) = lab.connect(PORT);
    let told = Rc::new(Cell::new(None));
    let (theirs, control) = (told.clone(), lab.control);
    lab.spawn(async move {
        loop {
            if let Notice::Connection(of, Event::TimedOut(verdict)) = control.next_event().await {
                theirs.set(Some((of, verdict.unanswered, now())));
            }
        }
    });
    let heard = now();
    lab.cut(true);
    lab.run(60);
    assert_eq!(told.get(), Some((connection, 3, heard + secs(16))));
    assert!(lab.tasks.last().unwrap().polls <= 8);
}

/// A socket that is dropped while its connection is open leaves no trace in any frame, so its place
/// stays taken. The peer's answer to the next probe frees it: our stack resets what it does not
/// know, and the peer learns that the connection is gone.
#[test]
fn place_of_a_dropped_socket_is_free_after_the_next_probe() {
    let mut lab = Lab::new(ETHERNET);
    lab.control.set_default(Some(short()));
    let mut dropped = Vec::new();
    for port in 1..=16 {
        lab.listen(port);
        dropped.push(lab.connect_and_drop(port));
    }
    lab.listen(100);
    let (without, _) = lab.connect(100);
    assert_eq!(lab.control.state(dropped[0]), Some(State::Armed));
    assert_eq!(lab.control.state(without), None);
    assert_eq!(lab.control.try_next_event(), Some(Notice::Full(without)));

    lab.run(11);
    for connection in &dropped {
        assert_eq!(
            lab.control.close_reason(*connection),
            Some(CloseReason::LocalAbort)
        );
    }
    for connection in dropped {
        let ended = Notice::Connection(connection, Event::LocalAbort);
        assert_eq!(lab.control.try_next_event(), Some(ended));
    }
    lab.listen(101);
    let (connection, _) = lab.connect(101);
    assert_eq!(lab.control.state(connection), Some(State::Armed));
    assert_eq!(lab.control.try_next_event(), None);
}

/// The place of a dropped socket that is not kept alive is never probed, and stays taken until a
/// connection that is kept alive needs it.
#[test]
fn place_of_a_dropped_socket_that_is_not_kept_alive_is_given_away() {
    let mut lab = Lab::new(ETHERNET);
    lab.control.set_remote_port(100, Some(short())).unwrap();
    let mut dropped = Vec::new();
    for port in 1..=16 {
        lab.listen(port);
        dropped.push(lab.connect_and_drop(port));
    }
    lab.take_sent();
    lab.run(3600);
    assert_eq!(lab.take_sent(), 0);
    assert_eq!(lab.control.state(dropped[0]), Some(State::Disabled));
    assert_eq!(lab.control.close_reason(dropped[0]), None);

    lab.listen(100);
    let (connection, read) = lab.connect(100);
    assert_eq!(lab.control.state(connection), Some(State::Armed));
    assert_eq!(lab.control.state(dropped[0]), None);
    assert_eq!(lab.control.state(dropped[1]), Some(State::Disabled));
    assert_eq!(lab.control.untracked(), 0);
    lab.cut(true);
    lab.run(16);
    assert_eq!(read.get(), RESET);
}

/// A dropped socket whose peer is dead is given up like any other, and its place is free.
#[test]
fn dropped_socket_of_a_dead_peer_is_given_up() {
    let mut lab = Lab::new(ETHERNET);
    lab.control.set_default(Some(short()));
    lab.listen(PORT);
    let connection = lab.connect_and_drop(PORT);
    lab.cut(true);
    lab.run(60);
    assert!(matches!(
        lab.control.close_reason(connection),
        Some(CloseReason::KeepAlive(_))
    ));
    assert_eq!(lab.control.stats(connection).unwrap().verdicts, 1);
}

/// Our stack has received more than it could acknowledge. The RST that we hand it at the verdict
/// closes the socket all the same, and the reader wakes.
#[test]
fn stack_that_could_not_acknowledge_is_closed_too() {
    let mut lab = Lab::new(ETHERNET);
    lab.control.set_default(Some(short()));
    let (connection, read) = lab.hear_last_words(secs(5));
    lab.run(1);
    lab.out.is_full.set(true);
    lab.out.is_greedy.set(true);
    lab.run_until(secs(5), Duration::from_millis(1));
    // Before they are sent again: that would be answered at once.
    lab.cut(true);
    lab.run(16);
    assert!(matches!(
        lab.control.close_reason(connection.get().unwrap()),
        Some(CloseReason::KeepAlive(_))
    ));
    assert_eq!(read.get(), RESET);
}

/// The same behind a gateway. The peer says its last words and the link fails, a minute after our
/// stack has asked for its gateway: it has to ask again before it can acknowledge them, and before it
/// can say what it does not take.
#[test]
fn stack_that_forgot_its_gateway_is_closed_too() {
    let ours = Ipv4Addr::new(10, 0, 0, 1);
    let peers = Ipv4Addr::new(10, 0, 9, 2);
    let addresses = Addresses {
        ours: ours.into(),
        peers: peers.into(),
    };
    let mut lab = Lab::prepared(ETHERNET, addresses, |_| ());
    let config = Config::new(secs(200), secs(2), 3).unwrap();
    lab.control.set_default(Some(config));
    lab.back.send(arp_reply([1, 2], gateway_of(ours), ours));
    lab.out.send(arp_reply([2, 1], gateway_of(peers), peers));
    let (connection, read) = lab.hear_last_words(secs(100));
    lab.run(99);
    // The peer has asked for its gateway again.
    lab.out.send(arp_reply([2, 1], gateway_of(peers), peers));
    lab.settle();
    lab.out.is_cut.set(true);
    lab.run_until(secs(101), Duration::from_millis(1));
    lab.cut(true);
    lab.run(206);
    assert!(matches!(
        lab.control.close_reason(connection.get().unwrap()),
        Some(CloseReason::KeepAlive(_))
    ));
    assert_eq!(read.get(), RESET);
}

/// An ARP reply `to` the one, `from` the other end, as if `sender` were there.
fn arp_reply([to, from]: [u8; 2], sender: Ipv4Addr, target: Ipv4Addr) -> Vec<u8> {
    let (to, from) = ([2, 0, 0, 0, 0, to], [2, 0, 0, 0, 0, from]);
    let kind = [8, 6, 0, 1, 8, 0, 6, 4, 0, 2];
    [
        &to[..],
        &from,
        &kind,
        &from,
        &sender.octets(),
        &to,
        &target.octets(),
    ]
    .concat()
}

/// An orderly close is not taken for anything else.
#[test]
fn orderly_close_is_reported_as_closed() {
    let mut lab = Lab::new(ETHERNET);
    lab.control.set_default(Some(short()));
    let stack = lab.peers;
    lab.spawn(async move {
        let mut socket = socket(stack);
        socket.accept(PORT).await.unwrap();
        assert_eq!(socket.read(&mut [0; 16]).await, Ok(0));
        socket.close();
        socket.flush().await.unwrap();
    });
    let connection = Rc::new(Cell::new(None));
    let (theirs, stack) = (connection.clone(), lab.ours);
    lab.spawn(async move {
        let mut socket = socket(stack);
        socket.connect((V4.peers, PORT)).await.unwrap();
        theirs.set(Some(ends(&socket)));
        socket.close();
        assert_eq!(socket.read(&mut [0; 16]).await, Ok(0));
    });
    lab.run(5);
    let connection = connection.get().unwrap();
    assert_eq!(
        lab.control.close_reason(connection),
        Some(CloseReason::Closed)
    );
}

/// A policy that is set before the runner runs covers the first connection, and a task that waits
/// for an event by then is told of it.
#[test]
fn policy_set_before_the_runner_covers_the_first_connection() {
    let mut lab = Lab::prepared(ETHERNET, V4, |control| {
        control.set_remote_port(PORT, Some(short())).unwrap();
    });
    let told = Rc::new(Cell::new(None));
    let (theirs, control) = (told.clone(), lab.control);
    lab.tasks.insert(0, {
        let mut tasks = Vec::new();
        spawn(&mut tasks, async move {
            theirs.set(Some(control.next_event().await));
        });
        tasks.remove(0)
    });
    lab.listen(PORT);
    let (connection, read) = lab.connect(PORT);
    assert_eq!(lab.control.state(connection), Some(State::Armed));
    lab.cut(true);
    lab.run(16);
    assert_eq!(read.get(), RESET);
    assert_eq!(
        told.get(),
        Some(Notice::Connection(
            connection,
            Event::Suspect { unanswered: 1 }
        ))
    );
}

/// A policy for a port that no connection uses does nothing: not one frame, not one wake-up.
#[test]
fn policy_for_an_unused_port_does_nothing() {
    let mut lab = Lab::new(ETHERNET);
    lab.control.set_local_port(1, Some(short())).unwrap();
    lab.control
        .set_remote_port(PORT + 1, Some(short()))
        .unwrap();
    let stranger = (Ipv4Addr::new(10, 0, 0, 3), PORT);
    lab.control.set_remote(stranger, Some(short())).unwrap();
    lab.listen(PORT);
    let (connection, read) = lab.connect(PORT);
    lab.run(1);
    let polls = lab.tasks[0].polls;
    lab.take_sent();
    lab.cut(true);
    lab.run(3600);
    assert_eq!((lab.tasks[0].polls - polls, lab.take_sent()), (0, 0));
    assert_eq!(lab.control.state(connection), Some(State::Disabled));
    assert_eq!(read.get(), None);
    assert_eq!(lab.control.untracked(), 0);
}

/// `detect_within` holds for a peer that dies with data in flight: the reader wakes, and the reason is
/// the user timeout.
#[test]
fn peer_that_dies_with_data_in_flight_is_found_within_the_limit() {
    let mut lab = Lab::new(ETHERNET);
    let limit = secs(30);
    let config = Config::detect_within(limit).unwrap();
    lab.control.set_default(Some(config));
    lab.listen(PORT);
    let (connection, read) = lab.connect_and_write(secs(5), 1);
    lab.run_until(secs(5) - TICK, secs(1));
    lab.cut(true);
    lab.run_until(secs(5) + limit, Duration::from_millis(1));
    assert_eq!(read.get(), RESET);
    let reason = lab.control.close_reason(connection.get().unwrap());
    assert!(
        matches!(reason, Some(CloseReason::UserTimeout(_))),
        "{reason:?}"
    );
}

/// A peer that reads nothing closes its window, and lives as long as it says so. When it dies, it is
/// found within the limit.
#[test]
fn peer_that_closes_its_window_lives_until_it_dies() {
    let mut lab = Lab::new(ETHERNET);
    let limit = secs(30);
    let config = Config::detect_within(limit).unwrap();
    lab.control.set_default(Some(config));
    let peer = lab.peers;
    lab.spawn(async move {
        let mut socket = socket(peer);
        socket.accept(PORT).await.unwrap();
        pending::<()>().await;
    });
    let (connection, read) = lab.connect_and_write(secs(0), 1500);
    lab.run(3600);
    assert_eq!(read.get(), None);
    let connection = connection.get().unwrap();
    assert_eq!(lab.control.close_reason(connection), None);
    // The stack asks once a minute whether the window is open. That is too seldom for the limit, so
    // we ask in between.
    let stats = lab.control.stats(connection).unwrap();
    assert_eq!(stats.probes_sent, stats.probes_answered);
    let asked = lab.take_sent() - usize::try_from(stats.probes_sent).unwrap();
    assert!((60..120).contains(&asked), "{asked} frames of the stack's");
    lab.cut(true);
    let died = now();
    lab.run_until(died + limit, Duration::from_millis(1));
    assert_eq!(read.get(), RESET);
    let reason = lab.control.close_reason(connection);
    assert!(
        matches!(reason, Some(CloseReason::UserTimeout(_))),
        "{reason:?}"
    );
}

/// A control is of use before the runner runs, and there is room for `N` policies.
#[test]
fn control_works_before_the_runner() {
    let state: keep_alive::State<2> = keep_alive::State::new();
    let port = peers_port(&Rc::default(), &Rc::default(), ETHERNET);
    let (_device, control) = keep_alive::new(port, &state).unwrap();
    let unknown = Connection::new((V4.peers, 1), (V4.ours, 2));
    assert_eq!(control.set_local_port(1, None), Ok(()));
    assert_eq!(control.set_remote_port(1, Some(short())), Ok(()));
    assert_eq!(control.set_remote_port(1, None), Ok(()));
    assert_eq!(
        control.set_remote_port(2, None),
        Err(keep_alive::PolicyError::Full)
    );
    control.clear_policies();
    assert_eq!(control.set_remote_port(2, None), Ok(()));
    assert_eq!(
        control.set(unknown, None),
        Err(keep_alive::PolicyError::Unknown)
    );
    assert_eq!(control.try_next_event(), None);
    assert_eq!(control.state(unknown), None);
    assert_eq!(control.close_reason(unknown), None);
}

/// A medium that is neither Ethernet nor IP is refused, and so is a second driver for one state.
#[test]
fn unsupported_medium_and_second_driver_are_refused() {
    let state: keep_alive::State<2> = keep_alive::State::new();
    let port = |address| peers_port(&Rc::default(), &Rc::default(), address);
    let radio = HardwareAddress::Ieee802154([0; 8]);
    assert_eq!(
        keep_alive::new(port(radio), &state).err(),
        Some(Error::UnsupportedMedium)
    );
    assert!(keep_alive::new(port(ETHERNET), &state).is_ok());
    assert_eq!(
        keep_alive::new(port(ETHERNET), &state).err(),
        Some(Error::InUse)
    );
}

/// A state serves its first driver for good: when that is gone another one is still refused, and
/// the control still answers.
#[test]
fn state_serves_one_driver_for_good() {
    let state: keep_alive::State<2> = keep_alive::State::new();
    let port = || peers_port(&Rc::default(), &Rc::default(), ETHERNET);
    let (device, control) = keep_alive::new(port(), &state).unwrap();
    drop(device);
    assert_eq!(keep_alive::new(port(), &state).err(), Some(Error::InUse));
    control.set_default(Some(short()));
    assert_eq!(control.try_next_event(), None);
}

/// Two stacks in one firmware, each with a driver and a state of its own, know nothing of each
/// other: a peer that is dead to one is given up there alone.
#[test]
fn two_stacks_keep_to_themselves() {
    let mut lab = Lab::new(ETHERNET);
    let (out, back) = (Rc::<Lane>::default(), Rc::<Lane>::default());
    let ours = peers_port(&back, &out, HardwareAddress::Ip);
    let peers = peers_port(&out, &back, HardwareAddress::Ip);
    let (stack, control) = start::<4>(&mut lab.tasks, ours, V4.ours);
    let (peer, _) = start::<4>(&mut lab.tasks, peers, V4.peers);
    lab.control.set_default(Some(short()));
    control.set_default(Some(short()));
    lab.listen(PORT);
    let (dead, dead_read) = lab.connect(PORT);
    // The same four-tuple, on another link.
    let first = (lab.ours, lab.peers);
    (lab.ours, lab.peers) = (stack, peer);
    lab.listen(PORT);
    let (live, live_read) = lab.connect(PORT);
    (lab.ours, lab.peers) = first;
    assert_eq!(dead, live);
    lab.cut(true);
    lab.run(60);

    assert_eq!((dead_read.get(), live_read.get()), (RESET, None));
    assert!(matches!(
        lab.control.close_reason(dead),
        Some(CloseReason::KeepAlive(_))
    ));
    assert_eq!(control.state(live), Some(State::Armed));
    assert_eq!(control.close_reason(live), None);
    assert_eq!(control.try_next_event(), None);
    assert!(control.stats(live).unwrap().probes_answered >= 5);
}

/// What a driver was asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Asked {
    Receive,
    Transmit,
    LinkState,
    Capabilities,
    HardwareAddress,
}

/// A question, and the waker that came with it.
type Question = (Asked, Option<Waker>);

/// A driver that notes each question and its waker, and has answers of its own.
struct Witness {
    asked: Rc<RefCell<Vec<Question>>>,
    lane: Rc<Lane>,
}

impl Witness {
    fn note(&self, asked: Asked, cx: Option<&Context<'_>>) {
        let waker = cx.map(|cx| cx.waker().clone());
        self.asked.borrow_mut().push((asked, waker));
    }
}

impl Driver for Witness {
    type RxToken<'a> = Frame;
    type TxToken<'a> = Room<'a>;

    fn receive(&mut self, cx: &mut Context<'_>) -> Option<(Frame, Room<'_>)> {
        self.note(Asked::Receive, Some(cx));
        Some((Frame(vec![1, 2, 3]), Room(&self.lane)))
    }

    fn transmit(&mut self, cx: &mut Context<'_>) -> Option<Room<'_>> {
        self.note(Asked::Transmit, Some(cx));
        (!self.lane.is_full.get()).then_some(Room(&self.lane))
    }

    fn link_state(&mut self, cx: &mut Context<'_>) -> LinkState {
        self.note(Asked::LinkState, Some(cx));
        LinkState::Down
    }

    fn capabilities(&self) -> Capabilities {
        self.note(Asked::Capabilities, None);
        let mut capabilities = Capabilities::default();
        capabilities.max_transmission_unit = 1280;
        capabilities.max_burst_size = Some(3);
        capabilities.checksum.ipv4 = Checksum::Rx;
        capabilities.checksum.udp = Checksum::Tx;
        capabilities.checksum.tcp = Checksum::None;
        capabilities.checksum.icmpv4 = Checksum::Tx;
        capabilities.checksum.icmpv6 = Checksum::Rx;
        capabilities
    }

    fn hardware_address(&self) -> HardwareAddress {
        self.note(Asked::HardwareAddress, None);
        HardwareAddress::Ethernet([2, 9, 2, 9, 3, 0])
    }
}

/// Each question of the stack reaches the inner driver, with the stack's own waker, and each answer
/// comes back as it is. `embassy_net_driver::Driver` has these five methods, and none with a body
/// of its own.
#[test]
fn every_method_of_the_inner_driver_is_forwarded() {
    let asked = Rc::new(RefCell::new(Vec::new()));
    let lane = Rc::new(Lane::default());
    let state: keep_alive::State<2> = keep_alive::State::new();
    let witness = Witness {
        asked: asked.clone(),
        lane: lane.clone(),
    };
    let (mut device, _) = keep_alive::new(witness, &state).unwrap();
    asked.borrow_mut().clear();
    let waker = Waker::from(Flag::new());
    let mut cx = Context::from_waker(&waker);
    let was_asked = |what: Asked, by: Option<&Waker>| {
        let asked = asked.take();
        let [(it, whose)] = &asked[..] else {
            panic!("{what:?} once, not {asked:?}");
        };
        assert_eq!(*it, what);
        assert!(whose.as_ref().is_some_and(|it| it.will_wake(&waker)) == by.is_some());
    };

    let (frame, room) = device.receive(&mut cx).unwrap();
    frame.consume(|frame| assert_eq!(frame, [1, 2, 3]));
    room.consume(2, |frame| frame.copy_from_slice(&[4, 5]));
    was_asked(Asked::Receive, Some(&waker));
    let room = device.transmit(&mut cx).unwrap();
    room.consume(1, |frame| frame.copy_from_slice(&[6]));
    was_asked(Asked::Transmit, Some(&waker));
    assert_eq!(lane.sent.take(), [vec![4, 5], vec![6]]);
    lane.is_full.set(true);
    assert!(device.transmit(&mut cx).is_none());
    was_asked(Asked::Transmit, Some(&waker));
    assert!(device.link_state(&mut cx) == LinkState::Down);
    was_asked(Asked::LinkState, Some(&waker));
    let address = HardwareAddress::Ethernet([2, 9, 2, 9, 3, 0]);
    assert_eq!(device.hardware_address(), address);
    was_asked(Asked::HardwareAddress, None);
    let capabilities = device.capabilities();
    was_asked(Asked::Capabilities, None);
    assert_eq!(capabilities.max_transmission_unit, 1280);
    assert_eq!(capabilities.max_burst_size, Some(3));
    let checksum = capabilities.checksum;
    assert!(matches!(
        [
            checksum.ipv4,
            checksum.udp,
            checksum.tcp,
            checksum.icmpv4,
            checksum.icmpv6
        ],
        [
            Checksum::Rx,
            Checksum::Tx,
            Checksum::None,
            Checksum::Tx,
            Checksum::Rx
        ]
    ));
}

/// A segment of the peer's to us, without payload, over IP alone.
fn segment_of_peers(ports: [u16; 2], control: TcpControl, seq: u32, ack: Option<i32>) -> Vec<u8> {
    let (src, dst) = (V4.peers.into(), V4.ours.into());
    let tcp = TcpRepr {
        src_port: ports[0],
        dst_port: ports[1],
        control,
        seq_number: TcpSeqNumber(seq.cast_signed()),
        ack_number: ack.map(TcpSeqNumber),
        window_len: 1024,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: &[],
    };
    let capabilities = ChecksumCapabilities::default();
    let ip = IpRepr::new(src, dst, IpProtocol::Tcp, tcp.buffer_len(), 64);
    let mut packet = vec![0; ip.buffer_len()];
    ip.emit(&mut packet, &capabilities);
    let (_, payload) = packet.split_at_mut(ip.header_len());
    let mut segment = TcpPacket::new_unchecked(payload);
    tcp.emit(&mut segment, &src, &dst, &capabilities);
    packet
}

/// A RST beyond our window, twice within a second: the stack answers the first, and drops the second
/// without a word. The connection lives on, and is kept alive.
#[test]
fn reset_beyond_the_window_changes_nothing() {
    for count in [1, 2] {
        let mut lab = Lab::new(HardwareAddress::Ip);
        lab.control.set_default(Some(short()));
        lab.listen(PORT);
        let (connection, read) = lab.connect(PORT);
        lab.run(11);
        assert_eq!(lab.control.state(connection), Some(State::Armed));
        // A probe of ours: its numbers.
        let last = lab.out.sent.borrow().last().unwrap().clone();
        let rcv_nxt = u32::from_be_bytes(last[28..32].try_into().unwrap());
        let window = u16::from_be_bytes(last[34..36].try_into().unwrap());
        let ports = [PORT, connection.local.port()];
        let beyond = rcv_nxt.wrapping_add(u32::from(window) + 1);
        let reset = segment_of_peers(ports, TcpControl::Rst, beyond, None);
        for _ in 0..count {
            lab.back.send(reset.clone());
            lab.run_until(
                now() + Duration::from_millis(100),
                Duration::from_millis(10),
            );
        }
        assert_eq!(read.get(), None);
        assert_eq!(lab.control.close_reason(connection), None, "{count}");
        lab.cut(true);
        lab.run(20);
        assert_eq!(read.get(), RESET, "{count}");
    }
}

/// While our SYN is under way, a segment arrives that the stack does not take for its answer: a RST with
/// a wrong acknowledgement number, which it drops, or an ACK with one, of a peer that remembers an older
/// connection, which it answers with a RST (RFC 9293 3.10.7.3). It goes on opening, and so do we.
#[test]
fn segment_that_answers_no_syn_of_ours_ends_nothing() {
    for control in [TcpControl::Rst, TcpControl::None] {
        for is_slow in [false, true] {
            let mut lab = Lab::new(HardwareAddress::Ip);
            lab.control.set_default(Some(short()));
            lab.listen(PORT);
            lab.out.is_cut.set(true);
            let (connection, read) = lab.connect_and_write(Duration::ZERO, 0);
            lab.run_until(Duration::from_millis(100), Duration::from_millis(10));
            let syn = lab.out.sent.borrow().last().unwrap().clone();
            let port = u16::from_be_bytes([syn[20], syn[21]]);
            let old = segment_of_peers([PORT, port], control, 1000, Some(2000));
            lab.back.send(old);
            lab.run_until(Duration::from_millis(200), Duration::from_millis(10));
            assert_eq!(lab.control.try_next_event(), None);
            lab.out.is_cut.set(false);
            if is_slow {
                lab.out.send(syn);
            }
            lab.run(5);
            let connection = connection.get().expect("the stack connects");
            assert_eq!(lab.control.close_reason(connection), None);
            assert_eq!(lab.control.state(connection), Some(State::Armed));
            lab.cut(true);
            lab.run(20);
            assert_eq!(read.get(), RESET);
        }
    }
}

/// The end of a connection that the application aborts is reported at once.
#[test]
fn abort_is_reported_at_once() {
    for flushes in [true, false] {
        let mut lab = Lab::new(ETHERNET);
        lab.control.set_default(Some(Config::DEFAULT));
        lab.listen(PORT);
        let stack = lab.ours;
        let peers = lab.addresses.peers;
        let ends_of = Rc::new(Cell::new(None));
        let theirs = ends_of.clone();
        lab.spawn(async move {
            let mut socket = socket(stack);
            socket.connect((peers, PORT)).await.unwrap();
            theirs.set(Some(ends(&socket)));
            after(secs(5)).await;
            socket.abort();
            if flushes {
                let _ = socket.flush().await;
            }
            pending::<()>().await;
        });
        let connection = ends_of.get().unwrap();
        let control = lab.control;
        let heard = Rc::new(Cell::new(None));
        let at = heard.clone();
        lab.spawn(async move {
            loop {
                if let Notice::Connection(_, Event::LocalAbort) = control.next_event().await {
                    at.set(Some(now()));
                }
            }
        });
        lab.run(100);
        assert_eq!(
            (lab.control.close_reason(connection), heard.get().is_some()),
            (Some(CloseReason::LocalAbort), true),
            "flushes {flushes}: 95 s after the abort"
        );
    }
}

/// A driver that leaves other checksums to software, and may get another hardware address.
struct Offloading {
    port: Port,
    tcp: Checksum,
    icmpv6: Checksum,
    address: Rc<Cell<[u8; 6]>>,
}

impl Driver for Offloading {
    type RxToken<'a> = Frame;
    type TxToken<'a> = Room<'a>;

    fn receive(&mut self, cx: &mut Context<'_>) -> Option<(Frame, Room<'_>)> {
        self.port.receive(cx)
    }

    fn transmit(&mut self, cx: &mut Context<'_>) -> Option<Room<'_>> {
        self.port.transmit(cx)
    }

    fn link_state(&mut self, cx: &mut Context<'_>) -> LinkState {
        self.port.link_state(cx)
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = self.port.capabilities();
        capabilities.checksum.ipv4 = self.tcp;
        capabilities.checksum.tcp = self.tcp;
        capabilities.checksum.icmpv6 = self.icmpv6;
        capabilities
    }

    fn hardware_address(&self) -> HardwareAddress {
        match self.port.hardware_address() {
            HardwareAddress::Ethernet(_) => HardwareAddress::Ethernet(self.address.get()),
            other => other,
        }
    }
}

impl Lab {
    /// Both ends begin anew, with drivers that leave other checksums of TCP to software. Returns the
    /// peer's hardware address.
    fn offload(&mut self, ours: Checksum, peers: Checksum) -> Rc<Cell<[u8; 6]>> {
        let port = Port {
            from: self.back.clone(),
            to: self.out.clone(),
            is_up: self.is_up.clone(),
            waker: self.link_waker.clone(),
            address: self.medium,
        };
        self.tasks.clear();
        let device = Offloading {
            port,
            tcp: ours,
            icmpv6: Checksum::Both,
            address: Rc::new(Cell::new([2, 0, 0, 0, 0, 1])),
        };
        (self.ours, self.control) = start(&mut self.tasks, device, self.addresses.ours);
        let address = Rc::new(Cell::new([2, 0, 0, 0, 0, 2]));
        let device = Offloading {
            port: peers_port(&self.out, &self.back, self.medium),
            tcp: peers,
            icmpv6: Checksum::Both,
            address: address.clone(),
        };
        (self.peers, self.peers_control) = start(&mut self.tasks, device, self.addresses.peers);
        self.settle();
        address
    }

    /// A segment of a peer that is none of the lab's, from port 7000 to our port 80, over IP alone.
    fn say(&mut self, control: TcpControl, seq: u32, ack: Option<i32>) {
        self.out.is_cut.set(true);
        let segment = segment_of_peers([7000, 80], control, seq, ack);
        self.back.send(segment);
        self.settle();
    }

    /// The number of our SYN, which was sent last, and one.
    fn after_our_syn(&self) -> i32 {
        let sent = self.out.sent.borrow();
        let seq = sent.last().unwrap().get(24..).unwrap();
        i32::from_be_bytes(*seq.first_chunk().unwrap()).wrapping_add(1)
    }
}

/// The device writes checksums, and software verifies those that arrive: so it verifies that of our
/// RST for our own stack.
#[test]
fn stack_that_verifies_checksums_takes_its_reset() {
    for (medium, addresses) in LINKS {
        let mut lab = Lab::prepared(medium, addresses, |_| ());
        // The peer does not verify: nobody writes ours.
        lab.offload(Checksum::Rx, Checksum::Tx);
        lab.control.set_default(Some(short()));
        lab.listen(PORT);
        lab.run(1);
        let (connection, read) = lab.connect(PORT);
        lab.run(30);
        assert_eq!(lab.control.state(connection), Some(State::Armed));
        lab.cut(true);
        lab.run(60);
        assert!(matches!(
            lab.control.close_reason(connection),
            Some(CloseReason::KeepAlive(_))
        ));
        assert_eq!(read.get(), RESET);
    }
}

/// The device writes and verifies the checksums of TCP, and not those of `ICMPv6`. A live peer gets
/// another hardware address (K17).
#[test]
fn peer_that_moves_is_kept_if_the_device_leaves_icmpv6_to_software() {
    for tcp in [Checksum::Both, Checksum::None] {
        let mut lab = Lab::prepared(ETHERNET, V6, |_| ());
        let address = lab.offload(tcp, tcp);
        lab.control.set_default(Some(short()));
        lab.listen(PORT);
        lab.run(1);
        let (connection, read) = lab.connect(PORT);
        lab.run(5);
        address.set([2, 0, 0, 0, 0, 9]);
        lab.run(60);
        assert_eq!(lab.control.close_reason(connection), None);
        assert_eq!(read.get(), None);
    }
}

/// A listener is dropped while its handshake is under way, and another takes the SYN when it comes
/// again. Then the peer dies.
#[test]
fn handshake_that_another_socket_takes_over_is_followed() {
    let mut lab = Lab::new(HardwareAddress::Ip);
    lab.control.set_default(Some(short()));
    let stack = lab.ours;
    let outcome = Outcome::default();
    let read = outcome.clone();
    lab.spawn(async move {
        let mut early = socket(stack);
        let patience = embassy_time::Duration::from_millis(500);
        let accepted = embassy_time::with_timeout(patience, early.accept(80)).await;
        assert!(accepted.is_err());
        drop(early);
        let mut socket = socket(stack);
        socket.accept(80).await.unwrap();
        read.set(Some(socket.read(&mut [0; 16]).await));
        pending::<()>().await;
    });
    lab.say(TcpControl::Syn, 100, None);
    lab.run(1);
    lab.say(TcpControl::Syn, 100, None);
    let ack = lab.after_our_syn();
    lab.say(TcpControl::None, 101, Some(ack));
    let connection = Connection::new((V4.ours, 80), (V4.peers, 7000));
    assert_eq!(lab.control.state(connection), Some(State::Armed));
    lab.run(16);
    assert_eq!(outcome.get(), RESET);
}

/// The interface gets another address, as by DHCP: the stack closes the socket without a word.
#[test]
fn connection_whose_address_is_lost_is_over() {
    let mut lab = Lab::new(ETHERNET);
    lab.control.set_default(Some(short()));
    lab.listen(PORT);
    let (connection, read) = lab.connect(PORT);
    lab.run(1);
    let address = Ipv4Cidr::new(Ipv4Addr::new(10, 0, 0, 7), 24);
    lab.ours
        .set_config_v4(embassy_net::ConfigV4::Static(StaticConfigV4 {
            address,
            gateway: None,
            dns_servers: Default::default(),
        }));
    // The application connects again, from the new address.
    lab.listen(PORT);
    let (again, _) = lab.connect_and_write(Duration::ZERO, 0);
    lab.run(5);
    assert_eq!(read.get(), RESET);
    let again = again.get().expect("connected").local.ip();
    assert_eq!(again, IpAddr::from(address.address()));
    lab.take_sent();
    lab.run(3600);
    let of_old = |frame: &&Vec<u8>| frame[12..14] == [8, 0] && frame[26..30] == [10, 0, 0, 1];
    assert_eq!(lab.out.sent.borrow().iter().filter(of_old).count(), 0);
    assert_eq!(
        lab.control.close_reason(connection),
        Some(CloseReason::AddressLost)
    );
}

/// A RST beyond our window, twice within a second: the stack drops the second without a word. The
/// buffers are larger than 32 KiB.
#[test]
fn reset_beyond_a_large_window_changes_nothing() {
    for size in [32_768, 40_000, 65_535, 65_536, 100_000] {
        let mut lab = Lab::new(HardwareAddress::Ip);
        lab.control.set_default(Some(short()));
        lab.listen(PORT);
        let stack = lab.ours;
        let connection = Rc::new(Cell::new(None));
        let outcome = Outcome::default();
        let (theirs, read) = (connection.clone(), outcome.clone());
        lab.spawn(async move {
            let buffer = || Box::leak(vec![0; size].into_boxed_slice());
            let mut socket = TcpSocket::new(stack, buffer(), buffer());
            socket.connect((V4.peers, PORT)).await.unwrap();
            theirs.set(Some(ends(&socket)));
            read.set(Some(socket.read(&mut [0; 16]).await));
            pending::<()>().await;
        });
        lab.run(11);
        let connection = connection.get().unwrap();
        let last = lab.out.sent.borrow().last().unwrap().clone();
        let rcv_nxt = u32::from_be_bytes(last[28..32].try_into().unwrap());
        let beyond = rcv_nxt.wrapping_add(u32::try_from(size).unwrap() + 5_000);
        let ports = [PORT, connection.local.port()];
        for _ in 0..2 {
            let reset = segment_of_peers(ports, TcpControl::Rst, beyond, None);
            lab.back.send(reset);
            lab.run_until(
                now() + Duration::from_millis(100),
                Duration::from_millis(10),
            );
        }
        assert_eq!(outcome.get(), None);
        assert_eq!(lab.control.close_reason(connection), None, "{size}");
        lab.cut(true);
        lab.run(20);
        assert_eq!(outcome.get(), RESET, "{size}");
    }
}

/// The places of connections that never opened are free again.
#[test]
fn places_of_dropped_handshakes_are_free_again() {
    let mut lab = Lab::new(HardwareAddress::Ip);
    lab.control.set_default(Some(short()));
    lab.cut(true);
    let stack = lab.ours;
    lab.spawn(async move {
        for _ in 0..16 {
            let mut socket = socket(stack);
            let connect = socket.connect((V4.peers, PORT));
            let _ = embassy_time::with_timeout(embassy_time::Duration::from_secs(5), connect).await;
        }
    });
    lab.run(3600);
    lab.cut(false);
    lab.listen(PORT);
    let (connection, _) = lab.connect(PORT);
    assert_eq!(lab.control.untracked(), 0);
    assert_eq!(lab.control.state(connection), Some(State::Armed));
}

/// The reader that wakes because the stack's own timeout has struck finds the reason.
#[test]
fn reason_is_there_when_the_reader_wakes() {
    let mut lab = Lab::new(ETHERNET);
    lab.control.set_default(Some(Config::LINUX));
    lab.listen(PORT);
    let (stack, control) = (lab.ours, lab.control);
    let reason = Rc::new(Cell::new(None));
    let theirs = reason.clone();
    lab.spawn(async move {
        let mut socket = socket(stack);
        socket.set_timeout(Some(embassy_time::Duration::from_secs(5)));
        socket.connect((V4.peers, PORT)).await.unwrap();
        let connection = ends(&socket);
        let read = socket.read(&mut [0; 16]).await;
        assert_eq!(read, Err(tcp::Error::ConnectionReset));
        theirs.set(control.close_reason(connection));
    });
    lab.cut(true);
    lab.run(10);
    assert_eq!(reason.get(), Some(CloseReason::LocalAbort));
}
