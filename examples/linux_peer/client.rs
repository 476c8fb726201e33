//! The client: the loop to start from, and what the application does in it.

use std::io;
use std::net::IpAddr;
use std::os::fd::AsRawFd;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy;
use smoltcp::socket::tcp;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::HardwareAddress;
use tcp_keepalive::smoltcp::{CloseReason, KeepAliveSet};

use super::clock::{Clock, nanos_since_epoch, tsval};
use super::failure::Failure;
use super::log::{Log, say};
use super::options::Options;
use super::tap::Tap;

/// The longest that connecting may take, and that the peer may take to close after us.
const CONNECT_LIMIT: Duration = Duration::from_secs(10);
const CLOSE_LIMIT: Duration = Duration::from_secs(1);

/// How much of what the peer says is shown.
const SHOWN_CHARS: usize = 60;

/// A smoltcp host with one socket.
pub(crate) struct Client {
    clock: Clock,
    device: Tap,
    iface: Interface,
    sockets: SocketSet<'static>,
    handle: SocketHandle,
    keep_alive: KeepAliveSet<1>,
    phase: Phase,
    /// When the phase has to be over, if it has to.
    deadline: Option<Instant>,
}

/// How far the connection is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Phase {
    Connecting,
    Open,
    Closing,
}

impl Client {
    pub(crate) fn new(options: &Options) -> Result<Self, Failure> {
        let mut device = Tap::open(&options.tap)?;

        let mut config = Config::new(HardwareAddress::Ethernet(options.hardware_address()));
        // Else every run would use the same initial sequence numbers, and a server that still
        // remembers the last run would be confused.
        config.random_seed = nanos_since_epoch();
        let clock = Clock::start();
        let mut iface = Interface::new(config, &mut device, clock.now());
        iface.update_ip_addrs(|addresses| {
            let no_room = "an interface has room for one address";
            addresses.push(options.local).expect(no_room);
        });
        let routes = iface.routes_mut();
        let no_room = "an interface has room for one route";
        match options.gateway {
            Some(IpAddr::V4(gateway)) => {
                routes.add_default_ipv4_route(gateway).expect(no_room);
            }
            Some(IpAddr::V6(gateway)) => {
                routes.add_default_ipv6_route(gateway).expect(no_room);
            }
            None => {}
        }

        let buffer = || tcp::SocketBuffer::new(vec![0; 4096]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        if options.has_timestamps {
            socket.set_tsval_generator(Some(tsval));
        }
        let mut sockets = SocketSet::new(Vec::new());
        let handle = sockets.add(socket);

        // Enabled once, the handle stays so over all its connections.
        let mut keep_alive = KeepAliveSet::new();
        keep_alive
            .enable(handle, options.keep_alive)
            .expect("the set has room for one");
        Ok(Self {
            clock,
            device,
            iface,
            sockets,
            handle,
            keep_alive,
            phase: Phase::Connecting,
            deadline: None,
        })
    }

    /// Connects, and stays until the connection ends in one way or another.
    pub(crate) fn run(&mut self, options: &Options) -> Result<CloseReason, Failure> {
        let mut log = Log::new(options.keep_alive);
        let mut unsent = options.send.as_slice();
        self.connect(options)?;
        loop {
            let now = self.clock.now();
            if self.device.is_gone() {
                return Err(Failure::DeviceGone(options.tap.clone()));
            }

            // Keep-alive takes this call in place of the interface's, and its `poll_delay` in
            // `wait`. The rest of what is asked of it here is for the log.
            self.keep_alive
                .poll(now, &mut self.iface, &mut self.device, &mut self.sockets);
            let stats = self.keep_alive.stats(self.handle).unwrap_or_default();
            log.unsent(now, stats);
            while let Some((_, event)) = self.keep_alive.poll_event() {
                log.event(now, event);
            }
            log.probes(now, stats);
            if let Some(reason) = self.keep_alive.close_reason(self.handle) {
                if self.phase == Phase::Connecting {
                    return Err(Failure::Refused(options.peer));
                }
                log.end(now, reason);
                return Ok(reason);
            }

            self.serve(now, options, &mut unsent)?;
            if self.socket().state() == tcp::State::TimeWait {
                // Nothing but time keeps the socket from being closed.
                log.end(now, CloseReason::Closed);
                return Ok(CloseReason::Closed);
            }
            self.wait(now)?;
        }
    }

    fn connect(&mut self, options: &Options) -> Result<(), Failure> {
        let &Options {
            peer,
            local,
            source_port,
            ..
        } = options;
        let now = self.clock.now();
        say(now, &format!("connecting from {local} to {peer}"));
        self.deadline = Some(now + CONNECT_LIMIT);
        self.sockets
            .get_mut::<tcp::Socket>(self.handle)
            .connect(self.iface.context(), peer, source_port)
            .map_err(|_| Failure::Unreachable(peer))
    }

    /// What the application does with its socket after each poll.
    fn serve(
        &mut self,
        now: Instant,
        options: &Options,
        unsent: &mut &[u8],
    ) -> Result<(), Failure> {
        let socket = self.socket();
        let is_connected = socket.may_send();
        let is_half_closed = socket.state() == tcp::State::CloseWait;
        let is_late = self.deadline.is_some_and(|deadline| now >= deadline);
        match self.phase {
            Phase::Connecting if is_connected => {
                say(now, "connected");
                self.phase = Phase::Open;
                self.deadline = options.run_for.map(|run_for| now + run_for);
            }
            Phase::Connecting if is_late => return Err(Failure::NoAnswer(options.peer)),
            Phase::Open if is_late => {
                say(now, "the time is over: closing");
                self.close(now);
            }
            Phase::Open if is_half_closed => {
                say(now, "the peer has closed its side: closing ours");
                self.close(now);
            }
            Phase::Closing if is_late => {
                say(now, "the peer does not close its side: aborting");
                self.socket().abort();
                self.deadline = None;
            }
            _ => {}
        }
        read(now, self.socket());
        if self.phase == Phase::Open {
            // As much as there is room for.
            let sent = self.socket().send_slice(unsent).unwrap_or(0);
            *unsent = unsent.get(sent..).unwrap_or_default();
        }
        Ok(())
    }

    fn close(&mut self, now: Instant) {
        self.socket().close();
        self.phase = Phase::Closing;
        self.deadline = Some(now + CLOSE_LIMIT);
    }

    fn socket(&mut self) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(self.handle)
    }

    /// Waits until the device has a frame, or something is due.
    fn wait(&mut self, now: Instant) -> Result<(), Failure> {
        let until_deadline = self.deadline.map(|deadline| deadline.max(now) - now);
        let delay = self
            .keep_alive
            .poll_delay(now, &mut self.iface, &self.sockets);
        let delay = [delay, until_deadline].into_iter().flatten().min();
        // `phy::wait` cuts off fractions of a millisecond, and would be called over and over
        // during the last one. A millisecond late does no harm; early is what must not be.
        let delay = delay.map(|it| Duration::from_millis(it.total_micros().div_ceil(1_000)));
        match phy::wait(self.device.as_raw_fd(), delay) {
            // A signal, as when the process goes on after it was stopped.
            Err(error) if error.kind() == io::ErrorKind::Interrupted => Ok(()),
            Err(error) => Err(Failure::Wait(error)),
            Ok(()) => Ok(()),
        }
    }
}

/// Reads what has arrived, and says so.
fn read(now: Instant, socket: &mut tcp::Socket<'_>) {
    while socket.can_recv() {
        let Ok(Shown { len, text }) = socket.recv(|data| (data.len(), Shown::new(data))) else {
            return;
        };
        say(now, &format!("received {len} octets: \"{text}\""));
    }
}

/// The beginning of some data, fit to be printed.
struct Shown {
    len: usize,
    text: String,
}

impl Shown {
    fn new(data: &[u8]) -> Self {
        let text = String::from_utf8_lossy(data);
        Self {
            len: data.len(),
            text: text.escape_debug().take(SHOWN_CHARS).collect(),
        }
    }
}
