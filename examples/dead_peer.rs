//! A peer whose power is cut, with Linux' defaults, in simulated time.
//!
//! Two smoltcp hosts share a serial line (no Ethernet, no ARP) with a latency of 10 ms. One
//! connects, says something, is answered, and then both are idle. After an hour the peer loses its
//! power. Nothing is sent that could tell; only the keep-alive finds out, 7875 s after the last
//! segment, to the microsecond.
//!
//! Run it with `cargo run --example dead_peer`: no privileges, no flags, well under a second.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "simulated time is far from either end"
)]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};
use tcp_keepalive::smoltcp::{CloseReason, KeepAliveSet};
use tcp_keepalive::{Config as KeepAliveConfig, Event, State, Verdict};

const LATENCY: Duration = Duration::from_millis(10);
const POWER_CUT: Instant = Instant::from_micros_const(3_600_000_000);
const PORT: u16 = 7;

fn main() {
    let line = Rc::new(RefCell::new(Line::default()));
    let mut client = Host::new(&line, End::Client, 1);
    let mut server = Some(Host::new(&line, End::Server, 2));
    let mut keep_alive = KeepAliveSet::<1>::new();
    keep_alive
        .enable(client.handle, KeepAliveConfig::LINUX)
        .expect("the set has room for one");

    if let Some(server) = &mut server {
        server.socket().listen(PORT).expect("the port is free");
    }
    client.connect(IpAddress::v4(192, 0, 2, 2));

    let mut log = Log::default();
    let mut greeting = Greeting::Due;
    let mut now = Instant::ZERO;
    loop {
        if now >= POWER_CUT && server.take().is_some() {
            Log::line(now, "the peer's power is cut");
        }
        if let Some(server) = &mut server {
            server
                .iface
                .poll(now, &mut server.device, &mut server.sockets);
            server.echo();
        }

        keep_alive.poll(
            now,
            &mut client.iface,
            &mut client.device,
            &mut client.sockets,
        );
        greeting = client.greet(greeting);
        log.probes(now, keep_alive.state(client.handle));
        while let Some((_, event)) = keep_alive.poll_event() {
            match event {
                Event::Suspect { .. } => Log::line(now, "the peer is suspected"),
                Event::Recovered { .. } => Log::line(now, "the peer is back"),
                Event::TimedOut(verdict) => Log::line(now, &format!("given up: {verdict}")),
                _ => {}
            }
        }
        if let Some(CloseReason::KeepAlive(verdict)) = keep_alive.close_reason(client.handle) {
            Log::summary(&verdict);
            return;
        }

        let wishes = [
            keep_alive.poll_at(now, &mut client.iface, &client.sockets),
            server
                .as_mut()
                .and_then(|server| server.iface.poll_at(now, &server.sockets)),
            line.borrow().next_arrival(server.is_some()),
            server.is_some().then_some(POWER_CUT),
        ];
        let Some(next) = wishes.into_iter().flatten().min() else {
            println!(
                "nothing is left to happen, and the device has not noticed that the peer is gone"
            );
            std::process::exit(1);
        };
        now = next.max(now);
    }
}

/// What the client has said so far.
#[derive(Clone, Copy)]
enum Greeting {
    Due,
    Sent,
    Answered,
}

struct Host {
    iface: Interface,
    device: Port,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
}

impl Host {
    fn new(line: &Rc<RefCell<Line>>, end: End, last_octet: u8) -> Self {
        let mut device = Port {
            line: Rc::clone(line),
            end,
        };
        let config = Config::new(HardwareAddress::Ip);
        let mut iface = Interface::new(config, &mut device, Instant::ZERO);
        iface.update_ip_addrs(|addresses| {
            let address = IpCidr::new(IpAddress::v4(192, 0, 2, last_octet), 24);
            addresses.push(address).expect("there is room for one");
        });
        let mut sockets = SocketSet::new(Vec::new());
        let buffer = || tcp::SocketBuffer::new(vec![0; 1024]);
        let handle = sockets.add(tcp::Socket::new(buffer(), buffer()));
        Self {
            iface,
            device,
            sockets,
            handle,
        }
    }

    fn socket(&mut self) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    fn connect(&mut self, peer: IpAddress) {
        let socket = self.sockets.get_mut::<tcp::Socket>(self.handle);
        socket
            .connect(self.iface.context(), (peer, PORT), 49152)
            .expect("a fresh socket can connect");
    }

    /// Sends a greeting, and reads the answer.
    fn greet(&mut self, greeting: Greeting) -> Greeting {
        let socket = self.socket();
        match greeting {
            Greeting::Due if socket.send_slice(b"are you there?") == Ok(14) => Greeting::Sent,
            Greeting::Sent
                if socket
                    .recv(|data| (data.len(), data.len()))
                    .is_ok_and(|n| n > 0) =>
            {
                Greeting::Answered
            }
            _ => greeting,
        }
    }

    /// Sends back whatever arrives.
    fn echo(&mut self) {
        let socket = self.socket();
        let mut data = [0; 64];
        let heard = socket.recv_slice(&mut data).unwrap_or(0);
        if let Some(echo @ [_, ..]) = data.get(..heard) {
            socket
                .send_slice(echo)
                .expect("an established socket can send");
        }
    }
}

/// Which of the two a frame is for.
#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Client,
    Server,
}

/// Frames on their way, each with the time at which it arrives.
#[derive(Default)]
struct Line {
    to_client: VecDeque<(Instant, Vec<u8>)>,
    to_server: VecDeque<(Instant, Vec<u8>)>,
}

impl Line {
    fn next_arrival(&self, is_server_up: bool) -> Option<Instant> {
        let first = |queue: &VecDeque<(Instant, Vec<u8>)>| queue.front().map(|(at, _)| *at);
        let to_server = first(&self.to_server).filter(|_| is_server_up);
        first(&self.to_client).into_iter().chain(to_server).min()
    }
}

/// One end of the line.
struct Port {
    line: Rc<RefCell<Line>>,
    end: End,
}

impl Device for Port {
    type RxToken<'a> = Arrived;
    type TxToken<'a> = Departing;

    fn receive(&mut self, now: Instant) -> Option<(Arrived, Departing)> {
        let frame = {
            let mut line = self.line.borrow_mut();
            let queue = match self.end {
                End::Client => &mut line.to_client,
                End::Server => &mut line.to_server,
            };
            queue.front().filter(|(at, _)| *at <= now)?;
            queue.pop_front()?.1
        };
        Some((Arrived(frame), self.transmit(now)?))
    }

    fn transmit(&mut self, now: Instant) -> Option<Departing> {
        Some(Departing {
            line: Rc::clone(&self.line),
            from: self.end,
            arrives_at: now + LATENCY,
        })
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = 1500;
        capabilities
    }
}

struct Arrived(Vec<u8>);

impl RxToken for Arrived {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

struct Departing {
    line: Rc<RefCell<Line>>,
    from: End,
    arrives_at: Instant,
}

impl TxToken for Departing {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        let mut line = self.line.borrow_mut();
        let queue = match self.from {
            End::Client => &mut line.to_server,
            End::Server => &mut line.to_client,
        };
        queue.push_back((self.arrives_at, frame));
        result
    }
}

/// Prints what happens, with the time at which it does.
#[derive(Default)]
struct Log {
    unanswered: u8,
}

impl Log {
    fn line(now: Instant, text: &str) {
        let micros = now.total_micros();
        println!(
            "{:>5}.{:06} s  {text}",
            micros / 1_000_000,
            micros % 1_000_000
        );
    }

    /// Tells of a probe when it has left, and of an answer when it has come.
    fn probes(&mut self, now: Instant, state: Option<State>) {
        let unanswered = match state {
            Some(State::Probing { unanswered }) => unanswered,
            _ => 0,
        };
        if unanswered > self.unanswered {
            Self::line(now, &format!("probe {unanswered}"));
        } else if unanswered < self.unanswered && state == Some(State::Armed) {
            Self::line(now, "answered");
        }
        self.unanswered = unanswered;
    }

    fn summary(verdict: &Verdict) {
        let limit = KeepAliveConfig::LINUX.detection_time();
        println!();
        println!(
            "silent for {:?}; Linux would say {limit:?}",
            verdict.silent_for
        );
        assert_eq!(verdict.silent_for, limit, "the verdict is exact");
    }
}
