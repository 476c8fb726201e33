//! The loop for embassy, on this host: with embassy-time's mock driver hours take milliseconds, and
//! what is due comes at its tick.
//!
//! The peer is plain smoltcp at the other end of a cable that takes no time.

#![expect(
    clippy::unchecked_time_subtraction,
    reason = "times that are in another order than a test claims may panic"
)]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

use embassy_time::MockDriver;
use firmware::host::{Buffers, Host, Sockets};
use firmware::nic::Nic;
use firmware::report::{Name, Report};
use firmware::settings::Settings;
use firmware::task::{self, Interrupted};
use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{self, Device, DeviceCapabilities, Medium};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr, IpEndpoint};
use tcp_keepalive::smoltcp::CloseReason;
use tcp_keepalive::{Cause, Event, Verdict};

const IDLE: Duration = Duration::from_secs(7200);
const INTERVAL: Duration = Duration::from_secs(75);
/// Linux' default: 7200 s + 9 * 75 s.
const DETECTION: Duration = Duration::from_secs(7875);
const TICK: Duration = Duration::from_micros(1);
/// At least so often the peer has a look at its side.
const STEP: Duration = Duration::from_millis(250);
/// Three headers without options.
const EMPTY_LEN: usize = 14 + 20 + 20;

/// A silent peer is given up at the tick at which Linux' default says so, and not one before.
#[test]
fn verdict_falls_at_the_exact_tick() {
    let client = |event| Report::KeepAlive(Name::Client, event);
    run(|world| {
        world.run_for(STEP);
        assert!(world.has(|it| matches!(it, Report::Connected(Name::Client, _))));

        world.peer.is_silent = true;
        let last_heard = world.last_heard;
        world.run_until(last_heard + IDLE + INTERVAL - TICK);
        assert!(!world.has(|it| matches!(it, Report::KeepAlive(..))));
        world.run_until(last_heard + IDLE + INTERVAL);
        assert!(world.has(|it| it == client(Event::Suspect { unanswered: 1 })));

        world.run_until(last_heard + DETECTION - TICK);
        assert!(!world.has(|it| matches!(it, Report::Closed(..))));
        world.run_until(last_heard + DETECTION);
        let reason = world.closed(Name::Client);
        let Some(CloseReason::KeepAlive(verdict)) = reason else {
            panic!("{reason:?}");
        };
        let Verdict {
            cause,
            silent_for,
            unanswered,
            unsent,
            ..
        } = verdict;
        assert_eq!(
            (cause, silent_for, unanswered, unsent),
            (Cause::KeepAlive, DETECTION, 9, 0)
        );
        assert!(world.has(|it| it == client(Event::TimedOut(verdict))));
    });
}

/// A peer that answers is not given up, however long nothing else happens.
#[test]
fn live_peer_is_kept_for_a_day() {
    run(|world| {
        world.run_for(STEP);
        let before = world.peer.empty_segments;
        world.run_for(Duration::from_secs(24 * 3600) - STEP);
        assert!(world.has(|it| matches!(it, Report::Connected(Name::Client, _))));
        assert!(!world.has(|it| matches!(it, Report::KeepAlive(..) | Report::Closed(..))));
        // One each two hours; the first of them came two hours after the start.
        assert_eq!(world.peer.empty_segments - before, 11);
    });
}

/// With all four clients of the pool lost, it takes four others after the verdicts.
#[test]
fn pool_is_whole_again_after_all_its_clients_were_lost() {
    run(|world| {
        world.run_for(STEP);
        let lost: Vec<_> = (0..4).map(|_| world.connect()).collect();
        world.run_for(STEP);
        assert!(lost.iter().all(|it| world.peer.is_established(*it)));
        assert_eq!(world.listening(), 4);

        world.peer.is_silent = true;
        world.run_for(DETECTION + STEP);
        for number in 1..=4 {
            let reason = world.closed(Name::Server(number));
            assert!(
                matches!(reason, Some(CloseReason::KeepAlive(_))),
                "{reason:?}"
            );
        }
        assert_eq!(world.listening(), 8);

        world.peer.restart();
        let new: Vec<_> = (0..4).map(|_| world.connect()).collect();
        world.run_for(STEP);
        assert!(new.iter().all(|it| world.peer.is_established(*it)));
    });
}

/// A cable that is pulled is said at once; what could not leave is told from what was not answered;
/// and when it is in again, the client is back.
#[test]
fn pulled_cable_is_survived() {
    run(|world| {
        world.run_for(STEP);
        world.pull();
        world.settle();
        assert!(world.has(|it| it == Report::Link { is_up: false }));

        let last_heard = world.last_heard;
        world.run_until(last_heard + DETECTION - TICK);
        assert_eq!(world.closed(Name::Client), None);
        world.run_until(last_heard + DETECTION);
        let reason = world.closed(Name::Client);
        let Some(CloseReason::KeepAlive(verdict)) = reason else {
            panic!("{reason:?}");
        };
        assert_eq!((verdict.unanswered, verdict.unsent), (0, 9));

        world.peer.restart();
        world.plug_in();
        world.run_for(Duration::from_secs(30));
        let connected = |it: &Report| matches!(it, Report::Connected(Name::Client, _));
        assert_eq!(
            world
                .reports
                .borrow()
                .iter()
                .filter(|it| connected(it))
                .count(),
            2
        );
    });
}

/// A peer that refuses is tried again after each `retry`.
#[test]
fn refusing_peer_is_tried_again() {
    run(|world| {
        world.peer.is_closed = true;
        world.peer.restart();
        world.run_for(Duration::from_secs(51));
        let refused = |it: &&Report| matches!(it, Report::Refused(_));
        let count = world.reports.borrow().iter().filter(refused).count();
        assert_eq!(count, 11);
    });
}

fn settings() -> Settings {
    Settings {
        keep_alive: tcp_keepalive::Config::LINUX,
        retry: Duration::from_secs(5),
        ..Settings::BUILT
    }
}

/// Runs `scenario` against the firmware's task.
fn run(scenario: impl FnOnce(&mut World<'_>)) {
    // There is one mock driver.
    static SERIAL: Mutex<()> = Mutex::new(());
    let _guard = SERIAL.lock().unwrap_or_else(PoisonError::into_inner);
    MockDriver::get().reset();

    let settings = settings();
    let interrupted = Interrupted::new();
    let reports = Rc::new(RefCell::new(Vec::new()));
    let cable = Rc::new(RefCell::new(Cable {
        is_in: true,
        ..Cable::default()
    }));
    let mut nic = End {
        cable: Rc::clone(&cable),
        is_peer: false,
    };
    // Leaked, as they are static in firmware.
    let (sockets, buffers) = (Box::new(Sockets::new()), Box::new(Buffers::new()));
    let mut host = Host::new(
        &settings,
        Box::leak(sockets),
        Box::leak(buffers),
        &mut nic,
        1,
        task::now(),
    );
    let report = |report| reports.borrow_mut().push(report);
    let future = pin!(async {
        task::run(&mut host, &mut nic, &interrupted, report).await;
    });
    scenario(&mut World {
        future,
        woken: Arc::new(Woken(AtomicBool::new(true))),
        interrupted: &interrupted,
        reports: Rc::clone(&reports),
        peer: Peer::new(&cable, settings),
        cable,
        settings,
        now: Duration::ZERO,
        last_heard: Duration::ZERO,
    });
}

/// The firmware's task, its peer, and the time.
struct World<'w> {
    future: Pin<&'w mut dyn Future<Output = ()>>,
    woken: Arc<Woken>,
    interrupted: &'w Interrupted,
    reports: Rc<RefCell<Vec<Report>>>,
    peer: Peer,
    cable: Rc<RefCell<Cable>>,
    settings: Settings,
    now: Duration,
    /// When the firmware last had a frame.
    last_heard: Duration,
}

impl World<'_> {
    fn has(&self, is_it: impl Fn(Report) -> bool) -> bool {
        self.reports.borrow().iter().any(|it| is_it(*it))
    }

    /// How the last connection of `name` ended.
    fn closed(&self, name: Name) -> Option<CloseReason> {
        let reports = self.reports.borrow();
        reports.iter().rev().find_map(|it| match it {
            Report::Closed(whose, reason) if *whose == name => Some(*reason),
            _ => None,
        })
    }

    /// How often a server has begun to listen.
    fn listening(&self) -> usize {
        let reports = self.reports.borrow();
        let is_listening = |it: &&Report| matches!(it, Report::Listening(_));
        reports.iter().filter(is_listening).count()
    }

    /// A client of the peer's for one of the servers.
    fn connect(&mut self) -> SocketHandle {
        let server = IpEndpoint::new(self.settings.address.address().into(), self.settings.port);
        self.peer.connect(server)
    }

    fn pull(&mut self) {
        let mut cable = self.cable.borrow_mut();
        cable.is_in = false;
        cable.to_firmware.clear();
        cable.to_peer.clear();
        self.interrupted.signal(());
    }

    fn plug_in(&mut self) {
        self.cable.borrow_mut().is_in = true;
        self.interrupted.signal(());
    }

    fn run_for(&mut self, duration: Duration) {
        self.run_until(self.now + duration);
    }

    fn run_until(&mut self, end: Duration) {
        self.settle();
        while self.now < end {
            let step = STEP.min(end - self.now);
            self.now += step;
            let micros = u64::try_from(step.as_micros()).expect("it is short");
            MockDriver::get().advance(embassy_time::Duration::from_micros(micros));
            self.settle();
        }
    }

    /// Lets both sides do what they have to do at this moment.
    fn settle(&mut self) {
        loop {
            let now =
                Instant::from_micros(i64::try_from(self.now.as_micros()).expect("it is short"));
            self.peer.poll(now);
            if !self.cable.borrow().to_firmware.is_empty() {
                self.last_heard = self.now;
                self.interrupted.signal(());
            }
            if !self.woken.0.swap(false, Ordering::Relaxed) && !self.interrupted.signaled() {
                return;
            }
            let waker = Waker::from(Arc::clone(&self.woken));
            let poll = self.future.as_mut().poll(&mut Context::from_waker(&waker));
            assert_eq!(poll, Poll::Pending, "the task has no end");
        }
    }
}

struct Woken(AtomicBool);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Relaxed);
    }
}

/// What is on its way.
#[derive(Default)]
struct Cable {
    is_in: bool,
    to_firmware: VecDeque<Vec<u8>>,
    to_peer: VecDeque<Vec<u8>>,
}

/// One end of the cable.
struct End {
    cable: Rc<RefCell<Cable>>,
    is_peer: bool,
}

impl Nic for End {
    fn is_link_up(&self) -> bool {
        self.cable.borrow().is_in
    }

    fn receive_errors(&self) -> u32 {
        0
    }

    fn arm(&mut self) -> bool {
        self.cable.borrow().to_firmware.is_empty()
    }
}

impl Device for End {
    type RxToken<'a> = RxToken;
    type TxToken<'a> = TxToken<'a>;

    fn receive(&mut self, _: Instant) -> Option<(RxToken, TxToken<'_>)> {
        let mut cable = self.cable.borrow_mut();
        let queue = if self.is_peer {
            &mut cable.to_peer
        } else {
            &mut cable.to_firmware
        };
        let frame = queue.pop_front()?;
        Some((RxToken(frame), TxToken(self)))
    }

    fn transmit(&mut self, _: Instant) -> Option<TxToken<'_>> {
        let is_in = self.cable.borrow().is_in;
        is_in.then_some(TxToken(self))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

struct RxToken(Vec<u8>);

impl phy::RxToken for RxToken {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

struct TxToken<'a>(&'a End);

impl phy::TxToken for TxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let mut frame = vec![0; len];
        let result = write(&mut frame);
        let mut cable = self.0.cable.borrow_mut();
        if self.0.is_peer {
            cable.to_firmware.push_back(frame);
        } else {
            cable.to_peer.push_back(frame);
        }
        result
    }
}

/// A host with a server, and clients of the firmware.
struct Peer {
    end: End,
    iface: Interface,
    sockets: SocketSet<'static>,
    settings: Settings,
    next_port: u16,
    /// It answers questions for its address, and nothing else.
    is_silent: bool,
    /// It has no server.
    is_closed: bool,
    /// How many segments it had that have no data, and are no SYN: that has options.
    empty_segments: usize,
}

impl Peer {
    fn new(cable: &Rc<RefCell<Cable>>, settings: Settings) -> Self {
        let mut end = End {
            cable: Rc::clone(cable),
            is_peer: true,
        };
        let iface = Self::interface(&mut end, settings);
        let mut peer = Self {
            end,
            iface,
            sockets: SocketSet::new(Vec::new()),
            settings,
            next_port: 50_000,
            is_silent: false,
            is_closed: false,
            empty_segments: 0,
        };
        peer.restart();
        peer
    }

    fn interface(end: &mut End, settings: Settings) -> Interface {
        let address = EthernetAddress([2, 0, 0, 0, 0, 1]);
        let config = Config::new(HardwareAddress::Ethernet(address));
        let mut iface = Interface::new(config, end, task::now());
        iface.update_ip_addrs(|addresses| {
            let cidr = IpCidr::new(settings.peer.addr, settings.address.prefix_len());
            addresses.push(cidr).expect("there is room for one");
        });
        iface
    }

    /// It knows nothing any more, and speaks.
    fn restart(&mut self) {
        self.is_silent = false;
        self.sockets = SocketSet::new(Vec::new());
        if !self.is_closed {
            for _ in 0..2 {
                let socket = self.sockets.add(socket());
                let socket = self.sockets.get_mut::<tcp::Socket<'_>>(socket);
                socket.listen(self.settings.peer.port).expect("it is new");
            }
        }
    }

    fn connect(&mut self, server: IpEndpoint) -> SocketHandle {
        self.next_port += 1;
        let handle = self.sockets.add(socket());
        let socket = self.sockets.get_mut::<tcp::Socket<'_>>(handle);
        socket
            .connect(self.iface.context(), server, self.next_port)
            .expect("it is new");
        handle
    }

    fn is_established(&self, handle: SocketHandle) -> bool {
        self.sockets.get::<tcp::Socket<'_>>(handle).state() == tcp::State::Established
    }

    fn poll(&mut self, now: Instant) {
        if self.is_silent {
            let mut cable = self.end.cable.borrow_mut();
            cable.to_peer.retain(|frame| !is_tcp(frame));
        }
        let empty = |frame: &&Vec<u8>| is_tcp(frame) && frame.len() <= EMPTY_LEN;
        self.empty_segments += self.end.cable.borrow().to_peer.iter().filter(empty).count();
        self.iface.poll(now, &mut self.end, &mut self.sockets);
        if self.is_silent {
            let mut cable = self.end.cable.borrow_mut();
            cable.to_firmware.retain(|frame| !is_tcp(frame));
        }
    }
}

/// TCP over IPv4, in an Ethernet frame.
fn is_tcp(frame: &[u8]) -> bool {
    frame.get(12..14) == Some(&[8, 0]) && frame.get(23) == Some(&6)
}

fn socket() -> tcp::Socket<'static> {
    let buffer = || tcp::SocketBuffer::new(vec![0; 1024]);
    tcp::Socket::new(buffer(), buffer())
}
