//! The host: an interface, its sockets, and one keep-alive set over all of them.

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet, SocketStorage};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpCidr};
use tcp_keepalive::smoltcp::KeepAliveSet;

use crate::client::Client;
use crate::nic::Nic;
use crate::report::{Name, Report};
use crate::server::Server;
use crate::settings::Settings;

/// How many clients can be served at the same time.
pub const SERVERS: usize = 4;
/// One more, for our own client.
const SOCKETS: usize = SERVERS + 1;
/// What a socket can hold in each direction.
const BUFFER_LEN: usize = 2048;

/// Memory for the sockets of a [`Host`].
#[derive(Debug)]
pub struct Sockets([SocketStorage<'static>; SOCKETS]);

/// Memory for what they receive and send. It is apart since it starts out as zeros, which need no
/// place in an image.
#[derive(Debug)]
pub struct Buffers([[[u8; BUFFER_LEN]; 2]; SOCKETS]);

impl Sockets {
    /// Memory that is not used yet.
    #[must_use]
    pub const fn new() -> Self {
        Self([SocketStorage::EMPTY; SOCKETS])
    }
}

impl Default for Sockets {
    fn default() -> Self {
        Self::new()
    }
}

impl Buffers {
    /// Memory that is not used yet.
    #[must_use]
    #[expect(
        clippy::large_stack_arrays,
        reason = "it is for a static, and made by the compiler"
    )]
    pub const fn new() -> Self {
        Self([[[0; BUFFER_LEN]; 2]; SOCKETS])
    }
}

impl Default for Buffers {
    fn default() -> Self {
        Self::new()
    }
}

/// A host with a client and a pool of servers.
pub struct Host {
    iface: Interface,
    sockets: SocketSet<'static>,
    keep_alive: KeepAliveSet<SOCKETS>,
    client: Client,
    servers: [Server; SERVERS],
    /// What was last reported.
    is_link_up: Option<bool>,
    receive_errors: u32,
}

impl Host {
    /// A host on `device`. `seed` should be another one each time the device starts: initial
    /// sequence numbers and ports come from it.
    ///
    /// # Panics
    ///
    /// If there is no room for an address or for the sockets; but there is.
    pub fn new(
        settings: &Settings,
        sockets: &'static mut Sockets,
        buffers: &'static mut Buffers,
        device: &mut impl Nic,
        seed: u64,
        now: Instant,
    ) -> Self {
        let address = HardwareAddress::Ethernet(settings.hardware_address());
        let mut config = Config::new(address);
        config.random_seed = seed;
        let mut iface = Interface::new(config, device, now);
        iface.update_ip_addrs(|addresses| {
            addresses
                .push(IpCidr::Ipv4(settings.address))
                .expect("an interface has room for one address");
        });

        let mut sockets = SocketSet::new(&mut sockets.0[..]);
        let handles = buffers.0.each_mut().map(|[receive, transmit]| {
            let [receive, transmit] =
                [receive, transmit].map(|it| tcp::SocketBuffer::new(&mut it[..]));
            sockets.add(tcp::Socket::new(receive, transmit))
        });
        // A handle stays enabled over all its connections.
        let mut keep_alive = KeepAliveSet::new();
        for handle in handles {
            keep_alive
                .enable(handle, settings.keep_alive)
                .expect("the set is as large as the pool");
        }

        let [client, servers @ ..] = handles;
        let mut number = 0;
        Self {
            iface,
            sockets,
            keep_alive,
            client: Client::new(client, settings.peer, settings.retry.into(), seed),
            servers: servers.map(|handle| {
                number += 1;
                Server::new(number, handle, settings.port)
            }),
            is_link_up: None,
            receive_errors: 0,
        }
    }

    /// One turn of the loop: what has arrived, what is due, and what follows from it.
    pub fn turn(&mut self, now: Instant, nic: &mut impl Nic, report: &mut impl FnMut(Report)) {
        self.look_at(nic, report);
        self.keep_alive
            .poll(now, &mut self.iface, nic, &mut self.sockets);
        while let Some((handle, event)) = self.keep_alive.poll_event() {
            report(Report::KeepAlive(self.name_of(handle), event));
        }
        let Self {
            iface,
            sockets,
            keep_alive,
            client,
            servers,
            ..
        } = self;
        let ended = keep_alive.close_reason(client.handle());
        client.serve(now, iface.context(), sockets, ended, report);
        for server in servers {
            let ended = keep_alive.close_reason(server.handle());
            server.serve(sockets, ended, report);
        }
    }

    /// When the next turn is due if the device does not interrupt before. A moment that is not
    /// after `now` means at once.
    #[must_use = "it says how long to sleep"]
    pub fn poll_at(&mut self, now: Instant) -> Option<Instant> {
        let polled = self.keep_alive.poll_at(now, &mut self.iface, &self.sockets);
        let client = self.client.poll_at();
        [polled, client].into_iter().flatten().min()
    }

    /// Says what is new about the device.
    fn look_at(&mut self, nic: &impl Nic, report: &mut impl FnMut(Report)) {
        let is_up = nic.is_link_up();
        if self.is_link_up.replace(is_up) != Some(is_up) {
            report(Report::Link { is_up });
        }
        let errors = nic.receive_errors();
        if errors != self.receive_errors {
            self.receive_errors = errors;
            report(Report::ReceiveErrors(errors));
        }
    }

    fn name_of(&self, handle: SocketHandle) -> Name {
        let mut servers = self.servers.iter();
        servers
            .find_map(|server| server.name_of(handle))
            .unwrap_or(Name::Client)
    }
}
