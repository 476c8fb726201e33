//! Our side: embassy-net with our driver around a TAP device, driven in real time.
//!
//! embassy-time has one clock for the whole process, here the one that tests set. Each turn sets it
//! to the time that has really passed. The runner is polled when its own timer, a frame or a socket
//! wakes it, and only then.

use core::cell::RefCell;
use core::future::Future;
use core::pin::pin;
use core::task::{Context, Poll, Waker};
use std::collections::VecDeque;
use std::io::{Read, Write};
use std::net::{IpAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::rc::Rc;
use std::sync::{LazyLock, Mutex, PoisonError};
use std::time::{Duration, Instant};

use embassy_net::tcp::TcpSocket;
use embassy_net::{ConfigV4, ConfigV6, Ipv4Cidr, Ipv6Cidr, Stack, StackResources};
use embassy_net::{StaticConfigV4, StaticConfigV6};
use embassy_net_driver::{self as driver, Capabilities, Driver, HardwareAddress, LinkState};
use embassy_time::MockDriver;
use smoltcp::phy::{self, Device as _, Medium, RxToken as _, TunTapInterface, TxToken as _};
use smoltcp::time;
use tcp_keepalive::Stats;
use tcp_keepalive::embassy_net::{self as keep_alive, CloseReason, Notice};

use crate::client::{HOST_V4, OUR_MAC, OUR_V4, OUR_V6, PATIENCE, TAP, clock, configure_host};
use crate::lab::Namespace;
use crate::tasks::{Flag, Task, settle, spawn};

pub(crate) type Control = keep_alive::Control<'static, 4>;

/// The longest pause between two looks at the clock.
const TURN: time::Duration = time::Duration::from_millis(1);

/// What the TAP device and its driver share.
struct Tap {
    interface: RefCell<TunTapInterface>,
    frames: RefCell<VecDeque<Vec<u8>>>,
    reader: RefCell<Option<Waker>>,
}

impl Tap {
    /// Waits for a frame, for as long as a turn lasts, and wakes the driver if there is one.
    fn wait(&self) {
        let mut interface = self.interface.borrow_mut();
        phy::wait(interface.as_raw_fd(), Some(TURN)).expect("the device can be waited for");
        while let Some((rx, _)) = interface.receive(time::Instant::ZERO) {
            let frame = rx.consume(<[u8]>::to_vec);
            self.frames.borrow_mut().push_back(frame);
            if let Some(reader) = self.reader.take() {
                reader.wake();
            }
        }
    }
}

/// A driver of embassy-net's.
struct Port(Rc<Tap>);
struct Frame(Vec<u8>);
struct Room<'a>(&'a Tap);

impl driver::RxToken for Frame {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(mut self, f: F) -> R {
        f(&mut self.0)
    }
}

impl driver::TxToken for Room<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut interface = self.0.interface.borrow_mut();
        let token = interface.transmit(time::Instant::ZERO);
        token.expect("a TAP device takes all").consume(len, f)
    }
}

impl Driver for Port {
    type RxToken<'a> = Frame;
    type TxToken<'a> = Room<'a>;

    fn receive(&mut self, cx: &mut Context<'_>) -> Option<(Frame, Room<'_>)> {
        *self.0.reader.borrow_mut() = Some(cx.waker().clone());
        let frame = self.0.frames.borrow_mut().pop_front()?;
        Some((Frame(frame), Room(&self.0)))
    }

    fn transmit(&mut self, _: &mut Context<'_>) -> Option<Room<'_>> {
        Some(Room(&self.0))
    }

    fn link_state(&mut self, _: &mut Context<'_>) -> LinkState {
        LinkState::Up
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        let interface = self.0.interface.borrow();
        capabilities.max_transmission_unit = interface.capabilities().max_transmission_unit;
        capabilities
    }

    fn hardware_address(&self) -> HardwareAddress {
        HardwareAddress::Ethernet(OUR_MAC.0)
    }
}

/// An embassy-net host.
pub(crate) struct Client {
    tap: Rc<Tap>,
    /// The runner.
    tasks: Vec<Task>,
    stack: Stack<'static>,
    pub(crate) control: Control,
    events: Vec<Notice>,
}

/// One connection, seen from both of its ends.
pub(crate) struct Connection {
    pub(crate) ends: keep_alive::Connection,
    pub(crate) stream: TcpStream,
}

impl Connection {
    /// The connection of `socket` and of `stream`, which are its two ends.
    pub(crate) fn new(socket: &TcpSocket<'_>, stream: TcpStream) -> Self {
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("five seconds are a valid timeout");
        let local = socket.local_endpoint().expect("it is connected");
        let remote = socket.remote_endpoint().expect("it is connected");
        let ends =
            keep_alive::Connection::new((local.addr, local.port), (remote.addr, remote.port));
        Self { ends, stream }
    }
}

impl Client {
    /// An embassy-net host at one end of a TAP device; `host` gets the other. Call it
    /// from within `host`, where the device is made.
    pub(crate) fn new(host: &Namespace) -> Self {
        let interface =
            TunTapInterface::new(TAP, Medium::Ethernet).expect("a TAP device can be made");
        configure_host(host);
        let tap = Rc::new(Tap {
            interface: RefCell::new(interface),
            frames: RefCell::default(),
            reader: RefCell::default(),
        });
        advance_clock();
        let state = Box::leak(Box::new(keep_alive::State::new()));
        let (device, control) =
            keep_alive::new(Port(tap.clone()), &*state).expect("the state is new");
        let resources = Box::leak(Box::new(StackResources::<4>::new()));
        let (stack, mut runner) = embassy_net::new(device, addresses(), resources, 9293);
        let mut tasks = Vec::new();
        spawn(&mut tasks, async move {
            runner.run().await;
        });
        Self {
            tap,
            tasks,
            stack,
            control,
            events: Vec::new(),
        }
    }

    /// A socket that is not connected yet.
    pub(crate) fn socket(&self) -> TcpSocket<'static> {
        let buffer = || Box::leak(vec![0; 4096].into_boxed_slice());
        TcpSocket::new(self.stack, buffer(), buffer())
    }

    /// Connects `socket` to `listener`, which is at `address` as we see it.
    pub(crate) fn connect(
        &mut self,
        socket: &mut TcpSocket<'_>,
        listener: &TcpListener,
        address: IpAddr,
    ) -> Connection {
        let port = listener.local_addr().expect("it is bound").port();
        self.complete("the handshake", PATIENCE, socket.connect((address, port)))
            .expect("the peer listens");
        let (stream, _) = listener.accept().expect("the handshake is complete");
        Connection::new(socket, stream)
    }

    /// Lets both sides of a connection say something. What is heard last is the peer's
    /// acknowledgement.
    pub(crate) fn exchange(&mut self, socket: &mut TcpSocket<'_>, connection: &mut Connection) {
        let stream = &mut connection.stream;
        stream
            .write_all(b"from the kernel")
            .expect("the peer can send");
        let mut received = [0; 15];
        let read = self.complete("a read", PATIENCE, socket.read(&mut received));
        assert_eq!((read, &received), (Ok(15), b"from the kernel"));

        let written = self.complete("a write", PATIENCE, socket.write(b"from embassy"));
        assert_eq!(written, Ok(12));
        let flushed = self.complete("an acknowledgement", PATIENCE, socket.flush());
        assert_eq!(flushed, Ok(()));
        let mut received = [0; 12];
        stream
            .read_exact(&mut received)
            .expect("what was acknowledged can be read");
        assert_eq!(&received, b"from embassy");
    }

    /// Polls `future` when it is woken, until it completes, which must be before `limit` has passed.
    pub(crate) fn complete<T>(
        &mut self,
        claim: &str,
        limit: Duration,
        future: impl Future<Output = T>,
    ) -> T {
        let mut future = pin!(future);
        let flag = Flag::new();
        let waker = Waker::from(flag.clone());
        let deadline = clock() + limit;
        loop {
            if flag.take()
                && let Poll::Ready(result) = future.as_mut().poll(&mut Context::from_waker(&waker))
            {
                return result;
            }
            assert!(clock() < deadline, "{claim}: not within {limit:?}");
            self.turn();
        }
    }

    /// Drives the host until `is_done`, which must be before `limit` has passed.
    pub(crate) fn run_until(
        &mut self,
        claim: &str,
        limit: Duration,
        is_done: impl Fn(&Self) -> bool,
    ) {
        let deadline = clock() + limit;
        while !is_done(self) {
            assert!(clock() < deadline, "{claim}: not within {limit:?}");
            self.turn();
        }
    }

    /// Drives the host for as long as `duration`.
    pub(crate) fn run_for(&mut self, duration: Duration) {
        let deadline = clock() + duration;
        while clock() < deadline {
            self.turn();
        }
    }

    pub(crate) fn stats(&self, connection: &Connection) -> Stats {
        let stats = self.control.stats(connection.ends);
        stats.expect("the connection has a place")
    }

    pub(crate) fn close_reason(&self, connection: &Connection) -> Option<CloseReason> {
        self.control.close_reason(connection.ends)
    }

    /// What was reported so far.
    pub(crate) fn events(&self) -> &[Notice] {
        &self.events
    }

    fn turn(&mut self) {
        advance_clock();
        settle(&mut self.tasks);
        while let Some(notice) = self.control.try_next_event() {
            self.events.push(notice);
        }
        self.tap.wait();
    }
}

/// Both of our addresses, and a gateway.
fn addresses() -> embassy_net::Config {
    let (IpAddr::V4(ours), IpAddr::V6(ours_too), IpAddr::V4(gateway)) = (OUR_V4, OUR_V6, HOST_V4)
    else {
        panic!("these are constants");
    };
    let mut config = embassy_net::Config::default();
    config.ipv4 = ConfigV4::Static(StaticConfigV4 {
        address: Ipv4Cidr::new(ours, 24),
        gateway: Some(gateway),
        dns_servers: Default::default(),
    });
    config.ipv6 = ConfigV6::Static(StaticConfigV6 {
        address: Ipv6Cidr::new(ours_too, 64),
        gateway: None,
        dns_servers: Default::default(),
    });
    config
}

/// Sets the clock of embassy-time to the time that has really passed. The tests of a process share
/// it, so each moves it by what the others have left.
fn advance_clock() {
    static SHOWN: LazyLock<Mutex<Instant>> = LazyLock::new(|| Mutex::new(clock()));
    let mut shown = SHOWN.lock().unwrap_or_else(PoisonError::into_inner);
    let micros = clock().saturating_duration_since(*shown).as_micros();
    let micros = u64::try_from(micros).expect("a test is short");
    *shown += Duration::from_micros(micros);
    MockDriver::get().advance(embassy_time::Duration::from_micros(micros));
}
