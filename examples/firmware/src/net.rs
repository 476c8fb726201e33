//! The client and the servers on embassy-net: each is a task with a socket of its own.

use core::cell::Cell;
use core::net::SocketAddr;

use embassy_futures::yield_now;
use embassy_net::tcp::{ConnectError, TcpSocket};
use embassy_net::{Config, IpAddress, IpEndpoint, Ipv4Cidr, Stack, StaticConfigV4};
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::blocking_mutex::{CriticalSectionMutex, Mutex};
use embassy_time::{Duration, Timer, with_timeout};
use smoltcp::wire;
use tcp_keepalive::embassy_net::{self as keep_alive, CloseReason, Connection, Notice};

use crate::host::SERVERS;
use crate::report::{Name, Report};
use crate::settings::Settings;

/// The client has one, and each server.
pub const SOCKETS: usize = SERVERS + 1;
/// Places for connections: a few more, for those that have ended stay to be asked about.
pub const PLACES: usize = SOCKETS + 3;
/// What a socket can hold in each direction.
const BUFFER_LEN: usize = 2048;
/// How much is copied at once.
const CHUNK: usize = 256;

/// The longest that connecting may take. Keep-alive watches over connections, not over this.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// How long a handshake with a server may take.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// How long a FIN or a RST may take to leave.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);
const HELLO: &[u8] = b"hello from the firmware\n";

/// What the driver and [`Control`] share. The stack has no IPv6, so an address is one word.
pub type State = keep_alive::State<PLACES, CriticalSectionRawMutex, 1>;
/// The keep-alive of all connections.
pub type Control = keep_alive::Control<'static, PLACES, CriticalSectionRawMutex, 1>;
/// The driver that the stack gets.
pub type Device<D> = keep_alive::Device<'static, D, PLACES, CriticalSectionRawMutex, 1>;

/// The configuration of the stack.
#[must_use]
#[expect(
    clippy::default_trait_access,
    reason = "its type is of the heapless that embassy-net has"
)]
pub fn config(settings: &Settings) -> Config {
    Config::ipv4_static(StaticConfigV4 {
        address: Ipv4Cidr::new(settings.address.address(), settings.address.prefix_len()),
        gateway: None,
        dns_servers: Default::default(),
    })
}

/// Whose connection is which.
#[derive(Debug)]
pub struct Names(CriticalSectionMutex<Cell<[Option<Connection>; SOCKETS]>>);

impl Names {
    /// No connection has a name yet.
    #[must_use]
    pub const fn new() -> Self {
        Self(Mutex::new(Cell::new([None; SOCKETS])))
    }

    fn set(&self, name: Name, connection: Connection) {
        self.0.lock(|names| {
            let mut all = names.get();
            all[index(name)] = Some(connection);
            names.set(all);
        });
    }

    fn of(&self, connection: Connection) -> Option<Name> {
        let all = self.0.lock(Cell::get);
        let is_it = |name: &Name| all[index(*name)] == Some(connection);
        (1..)
            .map(Name::Server)
            .take(SERVERS)
            .chain([Name::Client])
            .find(is_it)
    }
}

impl Default for Names {
    fn default() -> Self {
        Self::new()
    }
}

fn index(name: Name) -> usize {
    match name {
        Name::Client => 0,
        Name::Server(number) => number.into(),
    }
}

/// What each task is given.
#[derive(Clone, Copy)]
pub struct Context {
    /// The stack.
    pub stack: Stack<'static>,
    /// Its keep-alive.
    pub keep_alive: Control,
    /// The names of the connections.
    pub names: &'static Names,
    /// Where to write what happens.
    pub report: fn(Report),
}

impl Context {
    /// Stays connected to the peer.
    pub async fn run_client(self, settings: Settings) -> ! {
        let (mut receive, mut transmit) = ([0; BUFFER_LEN], [0; BUFFER_LEN]);
        loop {
            let mut socket = TcpSocket::new(self.stack, &mut receive, &mut transmit);
            (self.report)(self.connect_once(&mut socket, settings.peer).await);
            finish(&mut socket).await;
            Timer::after_secs(settings.retry.as_secs()).await;
        }
    }

    /// Connects, and stays until the connection ends. Returns why it did.
    async fn connect_once(self, socket: &mut TcpSocket<'_>, peer: wire::IpEndpoint) -> Report {
        (self.report)(Report::Connecting(peer));
        let wire::IpAddress::Ipv4(address) = peer.addr;
        match with_timeout(CONNECT_LIMIT, socket.connect((address, peer.port))).await {
            Ok(Ok(())) => {}
            Ok(Err(ConnectError::ConnectionReset)) => return Report::Refused(peer),
            Ok(Err(_)) | Err(_) => return Report::NoAnswer(peer),
        }
        let connection = self.begin(Name::Client, socket);
        // The buffer of a new connection has room for it. An error shows in the next read.
        let _ = socket.write(HELLO).await;
        // What the peer says does not matter here, but would fill the buffer.
        let mut chunk = [0; CHUNK];
        while matches!(socket.read(&mut chunk).await, Ok(1..)) {}
        self.ended(Name::Client, connection)
    }

    /// Serves one client after the other, and sends back what they say.
    pub async fn run_server(self, number: u8, port: u16) -> ! {
        let name = Name::Server(number);
        let (mut receive, mut transmit) = ([0; BUFFER_LEN], [0; BUFFER_LEN]);
        loop {
            let mut socket = TcpSocket::new(self.stack, &mut receive, &mut transmit);
            socket.set_timeout(Some(HANDSHAKE_LIMIT));
            (self.report)(Report::Listening(name));
            // The handshake may have failed.
            if socket.accept(port).await.is_ok() && socket.may_send() {
                socket.set_timeout(None);
                let connection = self.begin(name, &socket);
                echo(&mut socket).await;
                (self.report)(self.ended(name, connection));
            }
            finish(&mut socket).await;
        }
    }

    /// Notes who has this connection now.
    fn begin(self, name: Name, socket: &TcpSocket<'_>) -> Option<Connection> {
        let (local, remote) = (socket.local_endpoint()?, socket.remote_endpoint()?);
        let connection = Connection::new(socket_addr(local), socket_addr(remote));
        self.names.set(name, connection);
        let IpAddress::Ipv4(address) = remote.addr;
        let peer = wire::IpEndpoint::new(address.into(), remote.port);
        (self.report)(Report::Connected(name, peer));
        Some(connection)
    }

    fn ended(self, name: Name, connection: Option<Connection>) -> Report {
        let reason = connection.and_then(|it| self.keep_alive.close_reason(it));
        Report::Closed(name, reason.unwrap_or(CloseReason::Closed))
    }

    /// Says what the keep-alive has to tell.
    pub async fn watch_connections(self) -> ! {
        loop {
            if let Notice::Connection(connection, event) = self.keep_alive.next_event().await
                && let Some(name) = self.names.of(connection)
            {
                (self.report)(Report::KeepAlive(name, event));
            }
        }
    }

    /// Says when the cable is plugged in, or pulled.
    pub async fn watch_link(self) -> ! {
        // Whether there is a link is known once the runner has run.
        yield_now().await;
        loop {
            let is_up = self.stack.is_link_up();
            (self.report)(Report::Link { is_up });
            if is_up {
                self.stack.wait_link_down().await;
            } else {
                self.stack.wait_link_up().await;
            }
        }
    }
}

fn socket_addr(endpoint: IpEndpoint) -> SocketAddr {
    SocketAddr::new(endpoint.addr.into(), endpoint.port)
}

/// Sends back what arrives, until the peer closes or the connection ends.
async fn echo(socket: &mut TcpSocket<'_>) {
    let mut chunk = [0; CHUNK];
    while let Ok(len @ 1..) = socket.read(&mut chunk).await {
        let mut rest = &chunk[..len];
        while !rest.is_empty() {
            let Ok(len) = socket.write(rest).await else {
                return;
            };
            rest = &rest[len..];
        }
    }
}

/// Lets the peer know that it is over. A socket that is dropped before says nothing.
async fn finish(socket: &mut TcpSocket<'_>) {
    socket.close();
    if with_timeout(FLUSH_LIMIT, socket.flush()).await.is_err() {
        socket.abort();
        let _ = with_timeout(FLUSH_LIMIT, socket.flush()).await;
    }
}
