//! embassy-net on embassy's own executor: its tasks, their timers, its clock, in real time.
//!
//! `tests/embassy_net.rs` polls the tasks itself and sets the clock. Its wakers are not the
//! executor's, so its timers are kept in a queue beside the tasks. In firmware a task has its timer
//! in itself, and one only.

#![expect(
    clippy::default_trait_access,
    clippy::disallowed_methods,
    reason = "this test runs in real time"
)]

#[path = "../cable/mod.rs"]
mod cable;

use core::cell::Cell;
use core::future::{Future, poll_fn};
use core::pin::pin;
use std::rc::Rc;
use std::sync::mpsc;
use std::thread;

use embassy_executor::{Executor, Spawner};
use embassy_net::tcp::{self, TcpSocket};
use embassy_net::{Ipv4Address, Ipv4Cidr, Runner, Stack, StackResources, StaticConfigV4};
use embassy_net_driver::HardwareAddress;
use embassy_time::{Duration, Instant, Timer};
use tcp_keepalive::embassy_net::{self as keep_alive, CloseReason, Device, Notice};
use tcp_keepalive::{Config, Event, State, Stats};

use crate::cable::{Lane, Port};

const PORT: u16 = 7;
const OURS: Ipv4Address = Ipv4Address::new(10, 0, 0, 1);
const PEERS: Ipv4Address = Ipv4Address::new(10, 0, 0, 2);

/// How late a machine with other things to do may make us.
const TOLERANCE: Duration = Duration::from_millis(150);

type Control = keep_alive::Control<'static, 4>;

/// What the tasks have to tell.
#[derive(Debug)]
struct Report {
    /// While the peer lived.
    state: Option<State>,
    stats: Stats,
    /// How often the runner was polled meanwhile.
    polls: usize,
    /// What the waiting reader got, and after how long a silence.
    read: Result<usize, tcp::Error>,
    after: Duration,
    reason: Option<CloseReason>,
    /// What a waiting task was told.
    events: Vec<Event>,
    /// Whether the socket was connected again afterwards.
    next: Result<(), tcp::ConnectError>,
}

#[embassy_executor::task(pool_size = 2)]
async fn run(mut runner: Runner<'static, Device<'static, Port, 4>>, polls: Rc<Cell<usize>>) {
    let mut forever = pin!(runner.run());
    poll_fn(|cx| {
        polls.set(polls.get() + 1);
        forever.as_mut().poll(cx)
    })
    .await;
}

#[embassy_executor::task(pool_size = 2)]
async fn serve(stack: Stack<'static>) {
    loop {
        let mut socket = socket(stack);
        if socket.accept(PORT).await.is_ok() {
            while matches!(socket.read(&mut [0; 16]).await, Ok(1..)) {}
        }
    }
}

#[embassy_executor::task]
async fn watch(control: Control, report: mpsc::Sender<Event>) {
    loop {
        if let Notice::Connection(_, event) = control.next_event().await {
            report.send(event).unwrap();
        }
    }
}

#[embassy_executor::task]
async fn act(spawner: Spawner, report: mpsc::Sender<Report>) {
    let (out, back) = (Rc::<Lane>::default(), Rc::<Lane>::default());
    let polls = Rc::new(Cell::new(0));
    let (ours, control) = start(spawner, port(&back, &out, 1), OURS, polls.clone());
    let (peers, _) = start(spawner, port(&out, &back, 2), PEERS, Rc::default());
    let (sender, events) = mpsc::channel();
    spawner.spawn(serve(peers).unwrap());
    spawner.spawn(watch(control, sender).unwrap());
    let second = core::time::Duration::from_secs(1);
    control.set_default(Some(Config::new(second, second, 3).unwrap()));

    let mut socket = socket(ours);
    socket.connect((PEERS, PORT)).await.unwrap();
    let (local, remote) = (
        socket.local_endpoint().unwrap(),
        socket.remote_endpoint().unwrap(),
    );
    let ends = keep_alive::Connection::new((local.addr, local.port), (remote.addr, remote.port));
    let before = polls.get();
    Timer::after_millis(5500).await;
    let polls = polls.get() - before;
    let (while_alive, counted) = (control.state(ends), control.stats(ends).unwrap());

    for lane in [&out, &back] {
        lane.is_cut.set(true);
    }
    let heard = control.last_heard(ends).unwrap();
    let read = socket.read(&mut [0; 16]).await;
    let after = Instant::now().duration_since(heard);
    let reason = control.close_reason(ends);
    for lane in [&out, &back] {
        lane.is_cut.set(false);
    }
    // The peer of before has not noticed anything, and its only socket is taken.
    spawner.spawn(serve(peers).unwrap());
    let next = socket.connect((PEERS, PORT)).await;
    report
        .send(Report {
            state: while_alive,
            stats: counted,
            polls,
            read,
            after,
            reason,
            events: events.try_iter().collect(),
            next,
        })
        .unwrap();
}

/// On embassy's own executor a live peer is kept, with a runner that wakes for probes and their
/// answers only; a dead one is given up on time, which wakes the reader and the task that waits for an
/// event; and the socket connects again.
#[test]
fn executor_wakes_the_runner_in_time() {
    let (sender, receiver) = mpsc::channel();
    thread::spawn(move || {
        Box::leak(Box::new(Executor::new()))
            .run(|spawner| spawner.spawn(act(spawner, sender).unwrap()))
    });
    let limit = core::time::Duration::from_secs(30);
    let report = receiver.recv_timeout(limit).unwrap();
    println!("{report:#?}");

    assert_eq!(report.state, Some(State::Armed));
    assert_eq!(report.stats.probes_sent, 5);
    assert_eq!(report.stats.probes_answered, 5);
    // The deadline, a turn after what was sent, and the answer.
    assert!(report.polls <= 3 * 5 + 2, "{} polls", report.polls);
    assert_eq!(report.read, Err(tcp::Error::ConnectionReset));
    let detection_time = Duration::from_secs(4);
    assert!(report.after >= detection_time, "{:?}", report.after);
    assert!(report.after <= detection_time + TOLERANCE);
    let Some(CloseReason::KeepAlive(verdict)) = report.reason else {
        panic!("{:?}", report.reason);
    };
    assert_eq!((verdict.unanswered, verdict.unsent), (3, 0));
    assert_eq!(
        report.events,
        [Event::Suspect { unanswered: 1 }, Event::TimedOut(verdict)]
    );
    assert_eq!(report.next, Ok(()));
}

fn start(
    spawner: Spawner,
    port: Port,
    address: Ipv4Address,
    polls: Rc<Cell<usize>>,
) -> (Stack<'static>, Control) {
    let state = Box::leak(Box::new(keep_alive::State::new()));
    let (device, control) = keep_alive::new(port, &*state).unwrap();
    let config = embassy_net::Config::ipv4_static(StaticConfigV4 {
        address: Ipv4Cidr::new(address, 24),
        gateway: None,
        dns_servers: Default::default(),
    });
    let resources = Box::leak(Box::new(StackResources::<4>::new()));
    let (stack, runner) = embassy_net::new(device, config, resources, 1);
    spawner.spawn(run(runner, polls).unwrap());
    (stack, control)
}

fn port(from: &Rc<Lane>, to: &Rc<Lane>, number: u8) -> Port {
    Port {
        from: from.clone(),
        to: to.clone(),
        is_up: Rc::new(Cell::new(true)),
        waker: Rc::default(),
        address: HardwareAddress::Ethernet([2, 0, 0, 0, 0, number]),
    }
}

fn socket(stack: Stack<'static>) -> TcpSocket<'static> {
    let buffer = || Box::leak(vec![0; 1024].into_boxed_slice());
    TcpSocket::new(stack, buffer(), buffer())
}
