//! Two smoltcp hosts back to back on one emulated Cortex-M3 go through the hours that Linux'
//! default takes. The processor does not sleep: time goes on to the next moment that either host wants.
//!
//! One host keeps its connections alive with this crate, the other is plain smoltcp and only
//! answers. They connect, exchange data and idle; the peer answers a few rounds of probes; then
//! nothing comes through any more, and each verdict has to fall exactly when it should, or this
//! fails.
//!
//! On the command line are what breaks and the number of connections.

#![no_std]
#![no_main]

extern crate alloc;

#[path = "../../fixture/wire.rs"]
#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a benchmark that is out of bounds had better stop"
)]
mod wire;

use alloc::boxed::Box;
use alloc::vec;
use alloc::vec::Vec;
use core::fmt;

use board::Timer;
use cortex_m_rt::entry;
use cortex_m_semihosting::{debug, hprintln};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet, SocketStorage};
use smoltcp::socket::tcp;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, EthernetFrame, EthernetProtocol};
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr, Ipv4Address};
use tcp_keepalive::smoltcp::KeepAliveSet;
use tcp_keepalive::{Config as KeepAliveConfig, Event, FailedAt, Verdict};

use wire::{Ring, Wire};

const LINUX: KeepAliveConfig = KeepAliveConfig::LINUX;
const PEER_PORT: u16 = 1883;
const FIRST_PORT: u16 = 49152;
/// Rounds of probes that the peer answers.
const ANSWERED: u32 = 3;
/// From one connection's data to that of the next, so that each falls due at a time of its own.
const SPACING: Duration = Duration::from_secs(1);
const DATA: [u8; 4] = *b"data";
const BUFFER: usize = 64;
/// If time does not go on after so many turns, it never will.
const PATIENCE: u32 = 100;

/// What happens to the network in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Break {
    /// The cable: not even a question for the neighbour's address is answered.
    Cable,
    /// The path behind the next hop: that still answers for its address.
    Path,
}

impl Break {
    fn name(self) -> &'static str {
        match self {
            Self::Cable => "cable",
            Self::Path => "path",
        }
    }

    /// How far the probes get: all of them leave.
    fn failed_at(self) -> FailedAt {
        match self {
            Self::Cable => FailedAt::NextHop,
            Self::Path => FailedAt::Peer,
        }
    }
}

#[entry]
fn main() -> ! {
    let mut timer = Timer::new();
    let mut buffer = [0; 64];
    let mut words = board::command_line(&mut buffer).split(' ');
    let mut next = || words.next().expect("what breaks and the size are given");
    let breaks = next();
    let breaks = [Break::Cable, Break::Path]
        .into_iter()
        .find(|known| known.name() == breaks)
        .expect("there is such a thing to break");
    match next() {
        "1" => tell::<1>(breaks, &mut timer),
        "8" => tell::<8>(breaks, &mut timer),
        "64" => tell::<64>(breaks, &mut timer),
        size => panic!("there are 1, 8 or 64 connections, not {size}"),
    }
    board::exit(debug::EXIT_SUCCESS)
}

/// Goes through the whole of it.
fn tell<const N: usize>(breaks: Break, timer: &mut Timer) {
    hprintln!(
        "{} connection{}: {} s idle, {} probes {} s apart; in the end the {} breaks",
        N,
        if N == 1 { "" } else { "s" },
        LINUX.idle().as_secs(),
        LINUX.count(),
        LINUX.interval().as_secs(),
        breaks.name()
    );
    let mut world = World::<N>::new(timer);
    for turn in 0..N {
        world.connect(turn);
        world.exchange(turn);
        world.pass(SPACING);
    }
    world.say(format_args!("connected, and data exchanged"));
    let before = world.spent;
    for round in 1..=ANSWERED {
        world.run(|world| world.answered() == round);
        world.say(format_args!("probe {round} is answered"));
    }
    let rounds = world.spent.since(before);
    world.broken = Some(breaks);
    world.say(format_args!("the {} breaks", breaks.name()));
    world.run(|world| world.given_up == N);
    if N > 1 {
        world.say(format_args!("the last is given up"));
    }
    world.summarise(breaks, rounds);
}

/// A host and what it is attached to.
struct Host {
    address: Ipv4Address,
    iface: Interface,
    sockets: SocketSet<'static>,
    handles: Vec<SocketHandle>,
    wire: Wire,
}

impl Host {
    fn new(number: u8, connections: usize) -> Self {
        let mut wire = Wire::new();
        let mac = EthernetAddress([2, 0, 0, 0, 0, number]);
        let config = Config::new(HardwareAddress::Ethernet(mac));
        let mut iface = Interface::new(config, &mut wire, Instant::ZERO);
        let address = Ipv4Address::new(192, 0, 2, number);
        iface.update_ip_addrs(|addresses| {
            let address = IpCidr::new(IpAddress::Ipv4(address), 24);
            addresses.push(address).expect("there is room for one");
        });
        let storage: Vec<_> = (0..connections).map(|_| SocketStorage::EMPTY).collect();
        let mut sockets = SocketSet::new(storage.leak());
        let handles = (0..connections)
            .map(|_| {
                let buffer = || tcp::SocketBuffer::new(vec![0; BUFFER].leak());
                sockets.add(tcp::Socket::new(buffer(), buffer()))
            })
            .collect();
        Self {
            address,
            iface,
            sockets,
            handles,
            wire,
        }
    }

    fn socket(&mut self, turn: usize) -> &mut tcp::Socket<'static> {
        let handle = self.handles.get(turn).expect("there are enough");
        self.sockets.get_mut(*handle)
    }
}

/// Tenths of instructions that the two hosts have spent.
#[derive(Clone, Copy, Default)]
struct Spent {
    ours: u64,
    peers: u64,
}

impl Spent {
    fn since(self, before: Self) -> Self {
        Self {
            ours: self.ours - before.ours,
            peers: self.peers - before.peers,
        }
    }
}

struct World<'t, const N: usize> {
    now: Instant,
    ours: Host,
    keep_alive: Box<KeepAliveSet<N>>,
    peer: Host,
    broken: Option<Break>,
    given_up: usize,
    spent: Spent,
    timer: &'t mut Timer,
}

impl<'t, const N: usize> World<'t, N> {
    fn new(timer: &'t mut Timer) -> Self {
        let ours = Host::new(1, N);
        let mut keep_alive = Box::<KeepAliveSet<N>>::default();
        for handle in &ours.handles {
            keep_alive.enable(*handle, LINUX).expect("there is room");
        }
        Self {
            now: Instant::ZERO,
            ours,
            keep_alive,
            peer: Host::new(2, N),
            broken: None,
            given_up: 0,
            spent: Spent::default(),
            timer,
        }
    }

    fn connect(&mut self, turn: usize) {
        let listening = self.peer.socket(turn).listen(PEER_PORT);
        listening.expect("a fresh socket can listen");
        let port = u16::try_from(turn).expect("there are few") + FIRST_PORT;
        let remote = (self.peer.address, PEER_PORT);
        let Host {
            iface,
            sockets,
            handles,
            ..
        } = &mut self.ours;
        sockets
            .get_mut::<tcp::Socket>(*handles.get(turn).expect("there are enough"))
            .connect(iface.context(), remote, port)
            .expect("a fresh socket can connect");
        self.run(|world| {
            let is_open = |host: &mut Host| host.socket(turn).state() == tcp::State::Established;
            is_open(&mut world.ours) && is_open(&mut world.peer)
        });
    }

    /// Both ends send something, and the other reads it.
    fn exchange(&mut self, turn: usize) {
        send(&mut self.ours, turn);
        self.run(|world| receive(&mut world.peer, turn));
        send(&mut self.peer, turn);
        self.run(|world| receive(&mut world.ours, turn));
    }

    /// Goes on until `is_done`.
    fn run(&mut self, mut is_done: impl FnMut(&mut Self) -> bool) {
        let mut turns = 0;
        self.settle();
        while !is_done(self) {
            let next = self.poll_at().expect("something is still to come");
            turns = if next > self.now { 0 } else { turns + 1 };
            assert!(turns < PATIENCE, "time stands still at {}", self.now);
            self.now = next.max(self.now);
            self.settle();
        }
    }

    fn pass(&mut self, time: Duration) {
        let end = self.now + time;
        self.run(|world| world.poll_at().is_none_or(|next| next > end));
        self.now = end;
    }

    /// Lets everything come to rest that can without waiting.
    fn settle(&mut self) {
        loop {
            self.poll();
            while let Some((handle, event)) = self.keep_alive.poll_event() {
                if let Event::TimedOut(verdict) = event {
                    self.judge(handle, verdict);
                }
            }
            let Self { ours, peer, .. } = self;
            let sent = carry(self.broken, &mut ours.wire.outbound, &mut peer.wire.inbound);
            let answered = carry(self.broken, &mut peer.wire.outbound, &mut ours.wire.inbound);
            if !sent && !answered {
                return;
            }
        }
    }

    fn poll(&mut self) {
        let (now, ours, peer) = (self.now, &mut self.ours, &mut self.peer);
        let set = &mut self.keep_alive;
        let our_poll = || set.poll(now, &mut ours.iface, &mut ours.wire, &mut ours.sockets);
        self.timer.measure(our_poll);
        self.spent.ours += self.timer.take_tenths();
        let peers_poll = || peer.iface.poll(now, &mut peer.wire, &mut peer.sockets);
        self.timer.measure(peers_poll);
        self.spent.peers += self.timer.take_tenths();
    }

    fn poll_at(&mut self) -> Option<Instant> {
        let (now, ours, peer) = (self.now, &mut self.ours, &mut self.peer);
        let set = &mut self.keep_alive;
        let our_poll_at = || set.poll_at(now, &mut ours.iface, &ours.sockets);
        let our_next = self.timer.measure(our_poll_at);
        self.spent.ours += self.timer.take_tenths();
        let peers_poll_at = || peer.iface.poll_at(now, &peer.sockets);
        let peers_next = self.timer.measure(peers_poll_at);
        self.spent.peers += self.timer.take_tenths();
        [our_next, peers_next].into_iter().flatten().min()
    }

    /// Rounds of probes that every connection has seen answered.
    fn answered(&self) -> u32 {
        let answered = |handle: &SocketHandle| {
            let stats = self.keep_alive.stats(*handle);
            stats.expect("all are enabled").probes_answered
        };
        self.ours.handles.iter().map(answered).min().unwrap_or(0)
    }

    /// A verdict falls neither a microsecond too soon nor one too late, and says what happened.
    fn judge(&mut self, handle: SocketHandle, verdict: Verdict) {
        let breaks = self.broken.expect("no peer is given up while all is well");
        let heard = self.keep_alive.last_heard(handle);
        let heard = heard.expect("each has been heard");
        let silent_for = LINUX.idle() + LINUX.interval() * u32::from(LINUX.count());
        let due = heard + Duration::from_micros(micros(silent_for));
        assert_eq!(self.now, due, "when {handle} is given up");
        assert_eq!(verdict.silent_for, silent_for);
        assert_eq!((verdict.unanswered, verdict.unsent), (LINUX.count(), 0));
        assert_eq!(verdict.failed_at, breaks.failed_at());
        if self.given_up == 0 {
            self.say(format_args!("given up, {verdict}"));
        }
        self.given_up += 1;
    }

    fn say(&self, what: fmt::Arguments<'_>) {
        let micros = self.now.total_micros();
        hprintln!(
            "{:>7}.{:06} s  {}",
            micros / 1_000_000,
            micros % 1_000_000,
            what
        );
    }

    fn summarise(&self, breaks: Break, rounds: Spent) {
        hprintln!(
            "verdicts: {} of {} exactly {} s after the peer was last heard, {} unanswered, failed at the {}",
            self.given_up,
            N,
            LINUX.detection_time().as_secs(),
            LINUX.count(),
            breaks.failed_at()
        );
        let cycles = u64::try_from(N).expect("there are few") * u64::from(ANSWERED);
        let whole = |tenths: u64| tenths / 10;
        hprintln!(
            "instructions: {}, the peer {}; for each answered probe {}, the peer {}",
            whole(self.spent.ours),
            whole(self.spent.peers),
            whole(rounds.ours / cycles),
            whole(rounds.peers / cycles)
        );
    }
}

fn micros(duration: core::time::Duration) -> u64 {
    u64::try_from(duration.as_micros()).expect("it is short")
}

fn send(host: &mut Host, turn: usize) {
    assert_eq!(host.socket(turn).send_slice(&DATA), Ok(DATA.len()));
}

/// Returns whether the data has come.
fn receive(host: &mut Host, turn: usize) -> bool {
    let socket = host.socket(turn);
    let has_come = socket.recv_queue() == DATA.len();
    if has_come {
        let mut data = [0; DATA.len()];
        assert_eq!(socket.recv_slice(&mut data), Ok(DATA.len()));
        assert_eq!(data, DATA);
    }
    has_come
}

/// Carries what was sent to the other host. Returns whether anything was.
fn carry(broken: Option<Break>, from: &mut Ring, to: &mut Ring) -> bool {
    let mut any = false;
    while let Some(frame) = from.pop() {
        any = true;
        if comes_through(broken, frame) {
            to.push(|buffer| {
                let (start, _) = buffer.split_at_mut(frame.len());
                start.copy_from_slice(frame);
                frame.len()
            });
        }
    }
    any
}

fn comes_through(broken: Option<Break>, frame: &[u8]) -> bool {
    match broken {
        None => true,
        Some(Break::Cable) => false,
        Some(Break::Path) => {
            let frame = EthernetFrame::new_checked(frame).expect("smoltcp sends whole frames");
            frame.ethertype() == EthernetProtocol::Arp
        }
    }
}
