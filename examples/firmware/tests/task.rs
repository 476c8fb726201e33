//! The loop for embassy, on this host: with embassy-time's mock driver hours take milliseconds, and
//! what is due comes at its tick.
//!
//! The peer is plain smoltcp at the other end of a cable that takes no time.

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
        world.run_for(Duration::from_secs(24 * 3600));
        assert!(world.has(|it| matches!(it, Report::Connected(Name::Client, _))));
        assert!(!world.has(|it| matches!(it, Report::KeepAlive(..) | Report::Closed(..))));
        // One each two hours; the first of them came two hours after the start.
        assert_eq!(world.peer.answered, 11);
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
            assert!(matches!(reason, Some(CloseReason::KeepAlive(_))), "{reason:?}");
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
        assert_eq!(world.reports.borrow().iter().filter(|it| connected(it)).count(), 2);
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
    let future = pin!(task::run(&mut host, &mut nic, &interrupted, report));
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
