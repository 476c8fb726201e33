//! An application made of a few words.

use core::time::Duration;

use ::smoltcp::iface::SocketHandle;
use ::smoltcp::socket::tcp;
use ::smoltcp::time::Instant;
use ::smoltcp::wire::IpEndpoint;

use super::app::{App, Context};
use super::host::tcp_socket;
use super::timestamps::timestamp_clock;
use crate::Config;

/// The first port of a client.
const FIRST_PORT: u16 = 49_152;
const PORTS: u16 = 16_384;
/// How long a server waits for the end of a handshake.
const HANDSHAKE: ::smoltcp::time::Duration = ::smoltcp::time::Duration::from_secs(30);

/// A small application: clients that connect, servers that listen, and both can send, read, echo,
/// close, or stay silent.
///
/// Times are counted from when the host was switched on, by its clock. What a word says holds for
/// the sockets of the script so far; [`and`](Self::and) adds those of another.
///
/// ```
/// # use core::time::Duration;
/// # use smoltcp::wire::IpAddress;
/// # use tcp_keepalive::Config;
/// # use tcp_keepalive_sim::Script;
/// let server = (IpAddress::v4(192, 0, 2, 2), 7).into();
/// let script = Script::client(server)
///     .keep_alive(Config::LINUX)
///     .send_at(Duration::from_secs(1), 100)
///     .reconnect(Duration::from_secs(10))
///     .and(Script::server(23).sockets(4).echo());
/// # let _ = script;
/// ```
#[derive(Clone, Debug)]
pub struct Script {
    roles: Vec<Role>,
    next_port: u16,
    forgets_ports: bool,
}

/// Whether a socket connects or listens.
#[derive(Clone, Copy, Debug)]
enum Opens {
    To(IpEndpoint),
    At(u16),
}

/// Something done once.
#[derive(Clone, Copy, Debug)]
enum Deed {
    Send(usize),
    Close,
    Abort,
}

/// One socket.
#[derive(Clone, Debug)]
struct Role {
    opens: Opens,
    opens_at: Duration,
    reopens_after: Option<Duration>,
    keep_alive: Option<Config>,
    rx: usize,
    tx: usize,
    deeds: Vec<(Duration, Deed)>,
    sends_every: Option<(Duration, usize)>,
    echoes: bool,
    reads: bool,
    has_timestamps: bool,
    life: Life,
}

/// What a socket has done since the host was switched on.
#[derive(Clone, Debug)]
struct Life {
    handle: Option<SocketHandle>,
    started: Instant,
    done: usize,
    /// Octets that found no room yet.
    unsent: usize,
    next_send: Option<Instant>,
    opens_at: Option<Instant>,
    was_open: bool,
    /// There was a connection, not only an attempt at one.
    was_connected: bool,
    /// Why it could not even try is in the trace already.
    was_refused: bool,
}

impl Life {
    const fn new() -> Self {
        Self {
            handle: None,
            started: Instant::ZERO,
            done: 0,
            unsent: 0,
            next_send: None,
            opens_at: None,
            was_open: false,
            was_connected: false,
            was_refused: false,
        }
    }

    /// So many octets more will be sent.
    const fn owe(&mut self, octets: usize) {
        self.unsent = self.unsent.saturating_add(octets);
    }
}

impl Script {
    /// Makes a socket that connects to `server`, at once.
    #[must_use]
    pub fn client(server: IpEndpoint) -> Self {
        Self::one(Opens::To(server))
    }

    /// Makes a socket that listens at `port`, and listens again when a connection has ended. A
    /// handshake that is not over in half a minute has ended too: smoltcp alone would wait for
    /// ever.
    #[must_use]
    pub fn server(port: u16) -> Self {
        Self::one(Opens::At(port))
    }

    fn one(opens: Opens) -> Self {
        Self {
            roles: vec![Role {
                opens,
                opens_at: Duration::ZERO,
                reopens_after: matches!(opens, Opens::At(_)).then_some(Duration::ZERO),
                keep_alive: None,
                rx: 1024,
                tx: 1024,
                deeds: Vec::new(),
                sends_every: None,
                echoes: false,
                reads: true,
                has_timestamps: false,
                life: Life::new(),
            }],
            next_port: 0,
            forgets_ports: false,
        }
    }

    /// Makes it connect after a loss of power from the same ports again, as a device does that
    /// draws none at random.
    #[must_use]
    pub const fn same_ports(mut self) -> Self {
        self.forgets_ports = true;
        self
    }

    /// Adds the sockets of another script.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.roles.extend(other.roles);
        self
    }

    /// Sets how many of each.
    #[must_use]
    pub fn sockets(mut self, count: usize) -> Self {
        let roles = self.roles.clone();
        self.roles = roles
            .into_iter()
            .flat_map(|role| core::iter::repeat_n(role, count))
            .collect();
        self
    }

    fn each(mut self, change: impl Fn(&mut Role)) -> Self {
        self.roles.iter_mut().for_each(change);
        self
    }

    /// Keeps their connections alive.
    #[must_use]
    pub fn keep_alive(self, config: Config) -> Self {
        self.each(|role| role.keep_alive = Some(config))
    }

    /// Sets buffers of so many octets, up to a GiB each, which is smoltcp's limit; 1024 otherwise.
    #[must_use]
    pub fn buffers(self, rx: usize, tx: usize) -> Self {
        self.each(|role| (role.rx, role.tx) = (rx, tx))
    }

    /// Offers the timestamp option (RFC 7323).
    #[must_use]
    pub fn timestamps(self) -> Self {
        self.each(|role| role.has_timestamps = true)
    }

    /// Sets when it connects or listens.
    #[must_use]
    pub fn open_at(self, after: Duration) -> Self {
        self.each(|role| role.opens_at = after)
    }

    /// Makes it connect again, so long after a connection has ended.
    #[must_use]
    pub fn reconnect(self, after: Duration) -> Self {
        self.each(|role| role.reopens_after = Some(after))
    }

    /// Sends so many octets at that time, or as soon as there is a connection and room.
    #[must_use]
    pub fn send_at(self, after: Duration, octets: usize) -> Self {
        self.plan(after, Deed::Send(octets))
    }

    /// Sends so many octets again and again, for the first time when a connection is open. Below a
    /// millisecond counts as one.
    #[must_use]
    pub fn send_every(self, period: Duration, octets: usize) -> Self {
        let period = period.max(Duration::from_millis(1));
        self.each(|role| role.sends_every = Some((period, octets)))
    }

    /// Sends no more from then on, and says so with FIN.
    #[must_use]
    pub fn close_at(self, after: Duration) -> Self {
        self.plan(after, Deed::Close)
    }

    /// Resets the connection then.
    #[must_use]
    pub fn abort_at(self, after: Duration) -> Self {
        self.plan(after, Deed::Abort)
    }

    fn plan(self, after: Duration, deed: Deed) -> Self {
        self.each(|role| {
            role.deeds.push((after, deed));
            role.deeds.sort_by_key(|(after, _)| *after);
        })
    }

    /// Sends back what it receives.
    #[must_use]
    pub fn echo(self) -> Self {
        self.each(|role| role.echoes = true)
    }

    /// Leaves what it receives in the buffer, until that is full and the window shut.
    #[must_use]
    pub fn without_reading(self) -> Self {
        self.each(|role| role.reads = false)
    }

    /// Returns the handles of its sockets, in the order in which they were named, once the host is on.
    #[must_use]
    pub fn handles(&self) -> Vec<SocketHandle> {
        let roles = self.roles.iter();
        roles.filter_map(|role| role.life.handle).collect()
    }

    fn draw_port(next_port: &mut u16) -> u16 {
        let port = FIRST_PORT.saturating_add(*next_port);
        *next_port = next_port.wrapping_add(1) % PORTS;
        port
    }
}

impl App for Script {
    fn start(&mut self, cx: &mut Context<'_>) {
        if self.forgets_ports {
            self.next_port = 0;
        }
        for role in &mut self.roles {
            let mut socket = tcp_socket(role.rx, role.tx);
            if role.has_timestamps {
                socket.set_tsval_generator(Some(timestamp_clock));
            }
            let handle = cx.sockets.add(socket);
            if let Some(config) = role.keep_alive {
                // The set has 64 places; a script with more sockets leaves the rest to themselves.
                if let Err(why) = cx.keep_alive.enable(handle, config) {
                    cx.remark(format!("socket {handle} is not kept alive: {why}"));
                }
            }
            role.life = Life {
                handle: Some(handle),
                started: cx.now,
                opens_at: Some(later(cx.now, role.opens_at)),
                ..Life::new()
            };
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Option<Instant> {
        let mut wishes = Vec::new();
        for role in &mut self.roles {
            let Some(handle) = role.life.handle else {
                continue;
            };
            let port = &mut self.next_port;
            role.open_if_due(handle, cx, || Self::draw_port(port));
            let socket = cx.sockets.get_mut(handle);
            limit_handshake(socket);
            role.act(socket, cx.now);
            wishes.extend(role.wish(cx.now));
        }
        wishes.into_iter().min()
    }
}

impl Role {
    /// The moment so long after the start.
    fn moment(&self, after: Duration) -> Instant {
        later(self.life.started, after)
    }

    fn open_if_due(
        &mut self,
        handle: SocketHandle,
        cx: &mut Context<'_>,
        port: impl FnOnce() -> u16,
    ) {
        let socket = cx.sockets.get_mut::<tcp::Socket>(handle);
        let is_over = !socket.is_open();
        if is_over && self.life.was_open {
            self.life.was_open = false;
            self.life.next_send = None;
            // What is left over of one connection is not for the next.
            if core::mem::take(&mut self.life.was_connected) {
                self.life.unsent = 0;
            }
            self.life.opens_at = self.reopens_after.map(|pause| later(cx.now, pause));
        }
        if !is_over || self.life.opens_at.is_none_or(|at| at > cx.now) {
            return;
        }
        self.life.opens_at = None;
        let refusal = match self.opens {
            Opens::At(at) => {
                let result = socket.listen(at);
                result
                    .err()
                    .map(|why| format!("cannot listen at {at}: {why}"))
            }
            Opens::To(server) => {
                let result = socket.connect(cx.iface.context(), server, port());
                match result {
                    Err(why) => Some(format!("cannot connect to {server}: {why}")),
                    Ok(()) => (!has_route(cx, server)).then(|| format!("no route to {server}")),
                }
            }
        };
        let socket = cx.sockets.get_mut::<tcp::Socket>(handle);
        self.life.was_open = socket.is_open();
        if !socket.is_open() {
            // What is wrong with it may be put right.
            self.life.opens_at = self.reopens_after.map(|pause| later(cx.now, pause));
        }
        if let (Some(why), false) = (refusal, self.life.was_refused) {
            self.life.was_refused = true;
            cx.remark(why);
        }
    }

    /// Does what is due now.
    fn act(&mut self, socket: &mut tcp::Socket<'static>, now: Instant) {
        if self.echoes {
            echo(socket);
        } else if self.reads {
            let _ = socket.recv(|data| (data.len(), ()));
        }
        self.life.was_connected |= socket.may_send();
        // A socket that reads sees the peer's FIN, and has nothing more to send either.
        let is_over = socket.state() == tcp::State::CloseWait && !socket.can_recv();
        if is_over && (self.echoes || self.reads) {
            socket.close();
        }
        while let Some((after, deed)) = self.deeds.get(self.life.done).copied() {
            if self.moment(after) > now {
                break;
            }
            self.life.done += 1;
            match deed {
                Deed::Send(octets) => self.life.owe(octets),
                Deed::Close => socket.close(),
                Deed::Abort => socket.abort(),
            }
        }
        if let Some((period, octets)) = self.sends_every
            && socket.may_send()
            && self.life.next_send.is_none_or(|at| at <= now)
        {
            self.life.owe(octets);
            self.life.next_send = Some(later(now, period));
        }
        while socket.can_send() && self.life.unsent > 0 {
            // The buffer is a ring; this is the room up to its end.
            let unsent = self.life.unsent;
            let sent = socket.send(|room| {
                let len = room.len().min(unsent);
                let (part, _) = room.split_at_mut(len);
                part.fill(b's');
                (len, len)
            });
            match sent {
                Ok(len @ 1..) => self.life.unsent -= len,
                _ => break,
            }
        }
    }

    /// When there is something to do next, other than with what arrives.
    fn wish(&self, now: Instant) -> Option<Instant> {
        let deed = self.deeds.get(self.life.done);
        let deed = deed.map(|(after, _)| self.moment(*after));
        let wishes = [deed, self.life.next_send, self.life.opens_at];
        wishes.into_iter().flatten().filter(|at| *at > now).min()
    }
}

/// smoltcp's timeout would also end a connection that is merely idle, and so goes when there is one.
fn limit_handshake(socket: &mut tcp::Socket<'static>) {
    let is_opening = socket.state() == tcp::State::SynReceived;
    if is_opening != socket.timeout().is_some() {
        socket.set_timeout(is_opening.then_some(HANDSHAKE));
    }
}

fn echo(socket: &mut tcp::Socket<'static>) {
    let mut buffer = [0; 256];
    while socket.can_recv() && socket.can_send() {
        let room = socket.send_capacity().saturating_sub(socket.send_queue());
        let (part, _) = buffer.split_at_mut(room.min(256));
        let Ok(len) = socket.recv_slice(part) else {
            return;
        };
        let (part, _) = part.split_at(len);
        if socket.send_slice(part).is_err() {
            return;
        }
    }
}

/// Whether there is a way to it at all: smoltcp would only be silent.
fn has_route(cx: &mut Context<'_>, server: IpEndpoint) -> bool {
    let mut networks = cx.iface.ip_addrs().iter();
    let is_near = networks.any(|network| network.contains_addr(&server.addr));
    let mut is_routed = false;
    cx.iface.routes_mut().update(|routes| {
        is_routed = routes.iter().any(|it| it.cidr.contains_addr(&server.addr));
    });
    is_near || is_routed
}

/// By smoltcp's time, which may be negative.
fn later(instant: Instant, duration: Duration) -> Instant {
    let micros = i64::try_from(duration.as_micros()).unwrap_or(i64::MAX);
    Instant::from_micros(instant.total_micros().saturating_add(micros))
}
