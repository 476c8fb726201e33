//! Our side: smoltcp with a keep-alive set, on a TAP device, driven in real time.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::time::{Duration, Instant, SystemTime};

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{self, Device, DeviceCapabilities, Medium, TunTapInterface};
use smoltcp::socket::tcp;
use smoltcp::time;
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpCidr};
use tcp_keepalive::smoltcp::{CloseReason, KeepAliveSet};
use tcp_keepalive::{Event, Stats};

use crate::lab::Namespace;

/// The name of the TAP device on the host at its other end.
pub(crate) const TAP: &str = "tap0";
/// The host at the other end of the TAP device, and its hardware address.
pub(crate) const HOST_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 1));
pub(crate) const HOST_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1));
const HOST_MAC: &str = "02:00:00:00:00:01";
/// Ourselves, at this end.
pub(crate) const OUR_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(192, 0, 2, 2));
pub(crate) const OUR_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 2));
pub(crate) const OUR_MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 2]);

/// The longest that anything may take for which no time is claimed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(5);

/// A smoltcp host.
pub(crate) struct Client {
    started: Instant,
    device: Tap,
    iface: Interface,
    sockets: SocketSet<'static>,
    keep_alive: KeepAliveSet<4>,
    events: Vec<Reported>,
}

/// An event of the set, and when it was reported.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reported {
    pub(crate) at: SystemTime,
    pub(crate) event: Event,
}

/// One connection, seen from both of its ends.
pub(crate) struct Connection {
    pub(crate) handle: SocketHandle,
    pub(crate) our_port: u16,
    pub(crate) stream: TcpStream,
}

/// A TAP that refuses what the kernel would refuse: smoltcp's own panics at `EIO`.
struct Tap {
    inner: TunTapInterface,
    /// Nothing reads at the other end.
    is_down: bool,
}

impl Device for Tap {
    type RxToken<'a> = <TunTapInterface as Device>::RxToken<'a>;
    type TxToken<'a> = <TunTapInterface as Device>::TxToken<'a>;

    fn receive(&mut self, now: time::Instant) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        if self.is_down {
            return None;
        }
        self.inner.receive(now)
    }

    fn transmit(&mut self, now: time::Instant) -> Option<Self::TxToken<'_>> {
        if self.is_down {
            return None;
        }
        self.inner.transmit(now)
    }

    fn capabilities(&self) -> DeviceCapabilities {
        self.inner.capabilities()
    }
}

impl Client {
    /// A smoltcp host at one end of a TAP device; `host` gets the other. Call it
    /// from within `host`, where the device is made.
    pub(crate) fn new(host: &Namespace) -> Self {
        let inner = TunTapInterface::new(TAP, Medium::Ethernet).expect("a TAP device can be made");
        let mut device = Tap {
            inner,
            is_down: false,
        };
        configure_host(host);
        let config = Config::new(HardwareAddress::Ethernet(OUR_MAC));
        let mut iface = Interface::new(config, &mut device, time::Instant::ZERO);
        iface.update_ip_addrs(|addresses| {
            for (address, prefix_len) in [(OUR_V4, 24), (OUR_V6, 64)] {
                addresses
                    .push(IpCidr::new(address.into(), prefix_len))
                    .expect("there is room for two");
            }
        });
        if let IpAddr::V4(gateway) = HOST_V4 {
            iface
                .routes_mut()
                .add_default_ipv4_route(gateway)
                .expect("there is room for one");
        }
        Self {
            started: clock(),
            device,
            iface,
            sockets: SocketSet::new(Vec::new()),
            keep_alive: KeepAliveSet::new(),
            events: Vec::new(),
        }
    }

    /// A socket that is not connected yet; with the timestamp option, if wanted.
    pub(crate) fn add_socket(&mut self, with_timestamps: bool) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; 4096]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        if with_timestamps {
            socket.set_tsval_generator(Some(tsval));
        }
        self.sockets.add(socket)
    }

    pub(crate) fn enable(&mut self, handle: SocketHandle, config: tcp_keepalive::Config) {
        self.keep_alive
            .enable(handle, config)
            .expect("the set has room");
    }

    /// Connects `handle` to `listener`, which is at `address` as we see it.
    pub(crate) fn connect(
        &mut self,
        handle: SocketHandle,
        listener: &TcpListener,
        address: IpAddr,
    ) -> Connection {
        let port = listener.local_addr().expect("it is bound").port();
        let our_port = self.dial(handle, SocketAddr::new(address, port));
        let (stream, _) = listener.accept().expect("the handshake is complete");
        stream
            .set_read_timeout(Some(PATIENCE))
            .expect("five seconds are a valid timeout");
        Connection {
            handle,
            our_port,
            stream,
        }
    }

    /// Connects `handle` to the server at `remote`, and returns our port.
    pub(crate) fn dial(&mut self, handle: SocketHandle, remote: SocketAddr) -> u16 {
        // A port per handle, so that captures can be told apart.
        let our_port = 50_000
            + u16::try_from(
                self.sockets
                    .iter()
                    .take_while(|(h, _)| *h != handle)
                    .count(),
            )
            .expect("the sockets are few");
        let socket = self.sockets.get_mut::<tcp::Socket>(handle);
        socket
            .connect(self.iface.context(), remote, our_port)
            .expect("the socket is fresh");
        self.run_until("the connection is established", PATIENCE, |client| {
            client.state(handle) == tcp::State::Established
        });
        our_port
    }

    /// Lets both sides of a connection say something. What is heard last is the peer's
    /// acknowledgement.
    pub(crate) fn exchange(&mut self, connection: &mut Connection) {
        let handle = connection.handle;
        connection
            .stream
            .write_all(b"from the kernel")
            .expect("the peer can send");
        let mut received = [0; 15];
        self.run_until("the peer's data arrive", PATIENCE, |client| {
            client.socket(handle).recv_queue() == received.len()
        });
        let length = self.socket(handle).recv_slice(&mut received);
        assert_eq!((length, &received), (Ok(15), b"from the kernel"));

        let sent = self.socket(handle).send_slice(b"from smoltcp");
        assert_eq!(sent, Ok(12));
        self.run_until("our data are acknowledged", PATIENCE, |client| {
            client.socket(handle).send_queue() == 0
        });
        let mut received = [0; 12];
        connection
            .stream
            .read_exact(&mut received)
            .expect("what was acknowledged can be read");
        assert_eq!(&received, b"from smoltcp");
    }

    /// Drives the host until `is_done`, for `limit` at most.
    pub(crate) fn run_until(
        &mut self,
        claim: &str,
        limit: Duration,
        is_done: impl FnMut(&mut Self) -> bool,
    ) {
        assert!(
            self.try_until(limit, is_done),
            "{claim}: not within {limit:?}"
        );
    }

    /// Drives the host until `is_done` or until `limit` has passed, and says whether it was done.
    pub(crate) fn try_until(
        &mut self,
        limit: Duration,
        mut is_done: impl FnMut(&mut Self) -> bool,
    ) -> bool {
        let deadline = self.now() + time::Duration::from(limit);
        loop {
            self.poll();
            if is_done(self) {
                return true;
            }
            if self.now() >= deadline {
                return false;
            }
            self.wait(deadline);
        }
    }

    /// Drives the host for as long as `duration`.
    pub(crate) fn run_for(&mut self, duration: Duration) {
        let deadline = self.now() + time::Duration::from(duration);
        while self.now() < deadline {
            self.poll();
            self.wait(deadline);
        }
        self.poll();
    }

    pub(crate) fn socket(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    pub(crate) fn state(&self, handle: SocketHandle) -> tcp::State {
        self.sockets.get::<tcp::Socket>(handle).state()
    }

    pub(crate) fn stats(&self, handle: SocketHandle) -> Stats {
        self.keep_alive.stats(handle).expect("it is enabled")
    }

    pub(crate) fn close_reason(&self, handle: SocketHandle) -> Option<CloseReason> {
        self.keep_alive.close_reason(handle)
    }

    /// Takes the interface at the host's end of the TAP down: the kernel refuses every frame from now
    /// on, and so does our device.
    pub(crate) fn take_down(&mut self, host: &Namespace) {
        host.ip(&format!("link set {TAP} down"));
        self.device.is_down = true;
    }

    /// What was reported so far.
    pub(crate) fn events(&self) -> &[Reported] {
        &self.events
    }

    fn now(&self) -> time::Instant {
        let micros = clock().duration_since(self.started).as_micros();
        time::Instant::from_micros(i64::try_from(micros).expect("a test is short"))
    }

    fn poll(&mut self) {
        let now = self.now();
        self.keep_alive
            .poll(now, &mut self.iface, &mut self.device, &mut self.sockets);
        while let Some((_, event)) = self.keep_alive.poll_event() {
            self.events.push(Reported {
                at: wall_clock(),
                event,
            });
        }
    }

    fn wait(&mut self, deadline: time::Instant) {
        let now = self.now();
        let until_deadline = (deadline.max(now)) - now;
        let delay = self
            .keep_alive
            .poll_delay(now, &mut self.iface, &self.sockets)
            .map_or(until_deadline, |delay| delay.min(until_deadline));
        // `wait` cuts fractions of a millisecond off, and would spin for the last of them.
        let millis = delay.total_micros().div_ceil(1_000);
        let delay = time::Duration::from_millis(millis);
        phy::wait(self.device.inner.as_raw_fd(), Some(delay))
            .expect("the device can be waited for");
    }
}

/// Gives `host` its end of the TAP device: always the same, so that a host can stand in for
/// another.
pub(crate) fn configure_host(host: &Namespace) {
    host.ip(&format!("link set {TAP} address {HOST_MAC} up"));
    host.ip(&format!("addr add {HOST_V4}/24 dev {TAP}"));
    host.ip(&format!("addr add {HOST_V6}/64 dev {TAP} nodad"));
}

/// A server of the kernel's, at a port of its choice. To be called from within the host.
pub(crate) fn listen(address: IpAddr) -> TcpListener {
    TcpListener::bind((address, 0)).expect("the address is the host's")
}

/// Milliseconds, as most systems have them (RFC 7323 5.4: between 1 ms and 1 s per tick).
fn tsval() -> u32 {
    let millis = wall_clock()
        .duration_since(SystemTime::UNIX_EPOCH)
        .map_or(0, |since| since.as_millis());
    u32::try_from(millis & 0xffff_ffff).unwrap_or(0)
}

#[expect(clippy::disallowed_methods, reason = "these tests run in real time")]
pub(crate) fn clock() -> Instant {
    Instant::now()
}

/// The clock by which captures are stamped.
#[expect(clippy::disallowed_methods, reason = "these tests run in real time")]
pub(crate) fn wall_clock() -> SystemTime {
    SystemTime::now()
}
