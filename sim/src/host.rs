//! A smoltcp host.

use core::any::Any;
use core::fmt;

use ::smoltcp::iface::{self, Interface, PollResult, SocketHandle, SocketSet};
use ::smoltcp::phy::{self, ChecksumCapabilities, Medium};
use ::smoltcp::socket::{AnySocket, tcp};
use ::smoltcp::time;
use ::smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr, IpEndpoint};

use super::app::{App, Context, Nothing};
use super::node::{Node, Report, Turn};
use super::trace::Happening;
use super::watch::{View, Watch};
use super::wire::announcement;
use super::{Port, Rng};
use crate::smoltcp::{CloseReason, KeepAliveSet};
use crate::{Event, Instant};

/// A smoltcp interface, its sockets, their keep-alive, and an application.
///
/// ```
/// # use smoltcp::wire::{IpAddress, IpCidr};
/// # use tcp_keepalive_sim::{Host, World};
/// let mut world = World::new(1);
/// let device = world.add("device", Host::ethernet(IpCidr::new(IpAddress::v4(192, 0, 2, 1), 24)));
/// # let _ = device;
/// ```
#[expect(
    clippy::struct_excessive_bools,
    reason = "each is a setting or a fact of its own"
)]
pub struct Host {
    settings: Settings,
    /// The interface.
    pub iface: Interface,
    /// The sockets.
    pub sockets: SocketSet<'static>,
    /// The keep-alive of the interface.
    pub keep_alive: KeepAliveSet<{ Self::CONNECTIONS }>,
    /// Poll the interface past the keep-alive: what an application must not do, or does that has
    /// none.
    pub bypasses_keep_alive: bool,
    /// What arrives is for another station: the device is promiscuous, and a switch has it wrong.
    pub hears_others: bool,
    is_linked: bool,
    /// Frames that say its new hardware address to its keep-alive, and whether they leave: that learns
    /// it from what is sent.
    leaving: Vec<(Vec<u8>, bool)>,
    app: Box<dyn App>,
    app_wake: Option<time::Instant>,
    events: Vec<(Instant, SocketHandle, Event)>,
    ends: Vec<(SocketHandle, CloseReason)>,
    last_result: PollResult,
    is_watched: bool,
    watch: Watch,
}

/// The last moment that smoltcp is told of: it adds to what it is told, and does not look whether
/// there is room.
const END_OF_TIME: time::Instant = time::Instant::from_micros_const(i64::MAX / 4);

struct Settings {
    hardware: HardwareAddress,
    addresses: Vec<IpCidr>,
    gateway: Option<IpAddress>,
    random_seed: Option<u64>,
    checksums: ChecksumCapabilities,
    ring: Option<usize>,
    epoch: Instant,
}

impl Settings {
    /// What smoltcp is told when the host's clock shows `now`.
    fn moment_out(&self, now: Instant) -> time::Instant {
        let micros = |instant| time::Instant::from(instant).total_micros();
        let since = micros(now).saturating_sub(micros(self.epoch));
        time::Instant::from_micros(since).min(END_OF_TIME)
    }

    /// And back.
    fn moment_in(&self, moment: time::Instant) -> Instant {
        let epoch = time::Instant::from(self.epoch).total_micros();
        let micros = moment.total_micros().saturating_add(epoch);
        Instant::from(time::Instant::from_micros(micros))
    }

    fn port(&self) -> Port {
        let medium = if matches!(self.hardware, HardwareAddress::Ethernet(_)) {
            Medium::Ethernet
        } else {
            Medium::Ip
        };
        let port = Port::new(medium).with_checksums(self.checksums.clone());
        match self.ring {
            None => port,
            Some(frames) => port.with_ring(frames),
        }
    }

    fn interface(&self, now: time::Instant, rng: &mut Rng) -> Interface {
        let mut config = iface::Config::new(self.hardware);
        let drawn = rng.next_u64();
        config.random_seed = self.random_seed.unwrap_or(drawn);
        let mut iface = Interface::new(config, &mut self.port(), now);
        iface.update_ip_addrs(|addresses| {
            // smoltcp has room for some, and what it has no room for the host does without.
            let _ = self
                .addresses
                .iter()
                .try_for_each(|address| addresses.push(*address));
        });
        let routes = iface.routes_mut();
        let _ = match self.gateway {
            Some(IpAddress::Ipv4(gateway)) => routes.add_default_ipv4_route(gateway).map(drop),
            Some(IpAddress::Ipv6(gateway)) => routes.add_default_ipv6_route(gateway).map(drop),
            None => Ok(()),
        };
        iface
    }
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Host")
            .field("addresses", &self.settings.addresses)
            .field("events", &self.events)
            .finish_non_exhaustive()
    }
}

/// Building.
impl Host {
    /// How many sockets of a host can be kept alive.
    pub const CONNECTIONS: usize = 64;

    /// Makes a host on an Ethernet, with a hardware address made from its first address.
    ///
    /// # Panics
    ///
    /// As smoltcp does, if that is not a unicast address.
    #[must_use]
    pub fn ethernet(address: IpCidr) -> Self {
        Self::new(
            HardwareAddress::Ethernet(mac_for(address.address())),
            address,
        )
    }

    /// Makes a host on a link that carries bare IP packets: a serial line, a tunnel.
    ///
    /// # Panics
    ///
    /// As smoltcp does, if the address is not unicast.
    #[must_use]
    pub fn ip(address: IpCidr) -> Self {
        Self::new(HardwareAddress::Ip, address)
    }

    fn new(hardware: HardwareAddress, address: IpCidr) -> Self {
        let settings = Settings {
            hardware,
            addresses: vec![address],
            gateway: None,
            random_seed: None,
            checksums: ChecksumCapabilities::default(),
            ring: None,
            epoch: Instant::ZERO,
        };
        // Switched on by the world, with luck of its own.
        let iface = settings.interface(time::Instant::ZERO, &mut Rng::new(0));
        Self {
            settings,
            iface,
            sockets: SocketSet::new(Vec::new()),
            keep_alive: KeepAliveSet::new(),
            bypasses_keep_alive: false,
            hears_others: false,
            is_linked: false,
            leaving: Vec::new(),
            app: Box::new(Nothing),
            app_wake: None,
            events: Vec::new(),
            ends: Vec::new(),
            last_result: PollResult::None,
            is_watched: true,
            watch: Watch::default(),
        }
    }

    /// Runs that application.
    #[must_use]
    pub fn app(mut self, app: impl App) -> Self {
        self.app = Box::new(app);
        self
    }

    /// Adds an address. smoltcp has room for a few, by its own configuration; what it has
    /// no room for the host does without, and the trace says so.
    #[must_use]
    pub fn address(mut self, address: IpCidr) -> Self {
        self.settings.addresses.push(address);
        self
    }

    /// Sets the gateway for other networks; the last call counts.
    #[must_use]
    pub const fn gateway(mut self, gateway: IpAddress) -> Self {
        self.settings.gateway = Some(gateway);
        self
    }

    /// Sets smoltcp's seed, instead of one that follows from the world's.
    #[must_use]
    pub const fn random_seed(mut self, seed: u64) -> Self {
        self.settings.random_seed = Some(seed);
        self
    }

    /// Makes its device compute or check some checksums itself; see [`Port::with_checksums`].
    #[must_use]
    pub fn checksums(mut self, checksums: ChecksumCapabilities) -> Self {
        self.settings.checksums = checksums;
        self
    }

    /// Makes its device keep up to so many received frames; see [`Port::with_ring`].
    #[must_use]
    pub const fn ring(mut self, frames: usize) -> Self {
        self.settings.ring = Some(frames);
        self
    }

    /// Switches the [invariants](super::Invariant) off here: for an application that itself breaks
    /// one on purpose, by sending probes of its own, say.
    #[must_use]
    pub const fn unwatched(mut self) -> Self {
        self.is_watched = false;
        self
    }

    /// Sets what the host's clock shows when smoltcp's time, which is also the application's, is zero;
    /// otherwise that is zero too. A moment before `epoch` is negative, as smoltcp's time may be and
    /// the host's clock may not.
    #[must_use]
    pub const fn epoch(mut self, epoch: Instant) -> Self {
        self.settings.epoch = epoch;
        self
    }

    /// Leaves keep-alive out: what plain smoltcp does.
    #[must_use]
    pub const fn plain(mut self) -> Self {
        self.bypasses_keep_alive = true;
        self
    }
}

/// Using.
impl Host {
    /// Adds a TCP socket with buffers of so many octets, up to a GiB each.
    pub fn add_tcp_socket(&mut self, rx: usize, tx: usize) -> SocketHandle {
        self.sockets.add(tcp_socket(rx, tx))
    }

    /// Returns a TCP socket of the host.
    ///
    /// # Panics
    ///
    /// As `SocketSet::get_mut` does, if there is no such socket or it is of another kind: after a
    /// restart, say, which leaves no socket. [`try_tcp`](Self::try_tcp) does not.
    pub fn tcp(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    /// Returns a TCP socket of the host; `None` if there is no such socket or it is of another kind.
    pub fn try_tcp(&mut self, handle: SocketHandle) -> Option<&mut tcp::Socket<'static>> {
        let mut sockets = self.sockets.iter_mut();
        let (_, socket) = sockets.find(|(of, _)| *of == handle)?;
        tcp::Socket::downcast_mut(socket)
    }

    /// Returns the local end of the connection that a socket has, if it is a TCP socket and has one. A
    /// connection that was reset has none, though its RST may still wait to be sent.
    #[must_use]
    pub fn local_endpoint(&self, handle: SocketHandle) -> Option<IpEndpoint> {
        let [local, _] = self.endpoints(handle)?;
        Some(local)
    }

    /// Both ends of it, the local one first.
    pub(super) fn endpoints(&self, handle: SocketHandle) -> Option<[IpEndpoint; 2]> {
        let mut sockets = self.tcp_sockets();
        let (_, socket) = sockets.find(|(of, _)| *of == handle)?;
        let ends = [socket.local_endpoint()?, socket.remote_endpoint()?];
        socket.is_open().then_some(ends)
    }

    /// Returns all TCP sockets of the host.
    pub fn tcp_sockets(&self) -> impl Iterator<Item = (SocketHandle, &tcp::Socket<'static>)> {
        let sockets = self.sockets.iter();
        sockets.filter_map(|(handle, socket)| Some((handle, tcp::Socket::downcast(socket)?)))
    }

    /// Returns the application, if it is of that type.
    #[must_use]
    pub fn app_ref<A: App>(&self) -> Option<&A> {
        let app: &dyn Any = &*self.app;
        app.downcast_ref()
    }

    /// Returns the same, mutable.
    pub fn app_mut<A: App>(&mut self) -> Option<&mut A> {
        let app: &mut dyn Any = &mut *self.app;
        app.downcast_mut()
    }

    /// Returns all that the keep-alive has reported since the host was switched on, by the host's
    /// clock. A restart that loses its memory empties it and sets that clock to zero. What the
    /// keep-alive reported by the world's clock, and before a restart too, is in the
    /// [`Trace`](super::Trace).
    #[must_use]
    pub fn events(&self) -> &[(Instant, SocketHandle, Event)] {
        &self.events
    }

    /// Changes the host's hardware address, as of one that stands in for another, or whose
    /// network card was replaced, and announces it or not. Without an Ethernet nothing happens.
    pub fn change_hardware_addr(&mut self, mac: EthernetAddress, is_announced: bool) {
        if !matches!(self.settings.hardware, HardwareAddress::Ethernet(_)) {
            return;
        }
        self.settings.hardware = HardwareAddress::Ethernet(mac);
        self.iface.set_hardware_addr(self.settings.hardware);
        let addresses = self.iface.ip_addrs().iter();
        let frames = addresses.map(|cidr| announcement(cidr.address(), mac));
        self.leaving
            .extend(frames.map(|frame| (frame, is_announced)));
    }

    /// Returns its hardware address; `None` without an Ethernet.
    #[must_use]
    pub const fn hardware_addr(&self) -> Option<EthernetAddress> {
        if let HardwareAddress::Ethernet(mac) = self.settings.hardware {
            Some(mac)
        } else {
            None
        }
    }

    /// Returns what the last poll of the interface returned.
    #[must_use]
    pub const fn last_result(&self) -> PollResult {
        self.last_result
    }

    fn run_app<R>(
        &mut self,
        turn: &mut Turn<'_>,
        events: &[(SocketHandle, Event)],
        run: impl FnOnce(&mut dyn App, &mut Context<'_>) -> R,
    ) -> R {
        let mut remarks = Vec::new();
        let mut cx = Context {
            now: self.settings.moment_out(turn.now),
            iface: &mut self.iface,
            sockets: &mut self.sockets,
            keep_alive: &mut self.keep_alive,
            events,
            rng: turn.rng,
            remarks: &mut remarks,
        };
        let result = run(&mut *self.app, &mut cx);
        for remark in remarks {
            turn.note(Happening::Text(remark));
        }
        result
    }

    /// What the keep-alive has to say, noted.
    fn report(&mut self, turn: &mut Turn<'_>) -> Vec<(SocketHandle, Event)> {
        let mut events = Vec::new();
        while let Some((handle, event)) = self.keep_alive.poll_event() {
            // `Happening::Ended` says more of the others.
            if let Event::Suspect { .. } | Event::Recovered { .. } | Event::TimedOut(_) = event {
                turn.note(Happening::KeepAlive { handle, event });
            }
            self.events.push((turn.now, handle, event));
            events.push((handle, event));
        }
        if self.last_result == PollResult::SocketStateChanged || !events.is_empty() {
            self.report_ends(turn);
        }
        events
    }

    /// What the poll of the stack has done is looked at before the application does anything.
    fn check(&mut self, turn: &mut Turn<'_>, events: &[(SocketHandle, Event)]) {
        let Some(port) = turn.ports.first().filter(|_| self.is_watched) else {
            return;
        };
        let (received, sent) = port.moved();
        let mut view = View {
            now: Instant::from(self.settings.moment_out(turn.now)),
            medium: port.medium(),
            checksums: self.settings.checksums.clone(),
            iface: &mut self.iface,
            sockets: &self.sockets,
            keep_alive: &mut self.keep_alive,
            events,
        };
        let received = received.iter().map(|frame| &*frame.bytes);
        if self.bypasses_keep_alive {
            self.watch.overhear(&view, received, sent.iter());
            return;
        }
        let findings = self.watch.look(&mut view, received, sent.iter());
        turn.reports.extend(match findings {
            Ok(probes) => probes.into_iter().map(Report::Probe).collect(),
            Err((handle, invariant)) => vec![Report::Broken(handle, invariant)],
        });
    }

    fn report_ends(&mut self, turn: &mut Turn<'_>) {
        for (handle, _) in self.sockets.iter() {
            let reason = self.keep_alive.close_reason(handle);
            let known = self.ends.iter().position(|(of, _)| *of == handle);
            match (known, reason) {
                (None, Some(reason)) => {
                    self.ends.push((handle, reason));
                    turn.note(Happening::Ended { handle, reason });
                }
                (Some(known), None) => {
                    self.ends.swap_remove(known);
                }
                _ => {}
            }
        }
    }
}

impl Node for Host {
    fn new_port(&mut self, index: usize) -> Option<Port> {
        (index == 0).then(|| {
            // Without a port, the application had no turn that it was due.
            let at_once = time::Instant::from_micros(i64::MIN);
            self.app_wake = self.app_wake.or(Some(at_once));
            self.settings.port()
        })
    }

    fn power_on(&mut self, turn: &mut Turn<'_>) {
        let now = self.settings.moment_out(turn.now);
        self.iface = self.settings.interface(now, turn.rng);
        self.sockets = SocketSet::new(Vec::new());
        self.keep_alive = KeepAliveSet::new();
        self.events.clear();
        self.ends.clear();
        self.watch = Watch::default();
        self.app_wake = Some(now);
        let used = self.iface.ip_addrs().len();
        for address in self.settings.addresses.iter().skip(used) {
            turn.note(Happening::Text(format!("no place for address {address}")));
        }
        self.run_app(turn, &[], App::start);
    }

    fn poll(&mut self, turn: &mut Turn<'_>) {
        let now = self.settings.moment_out(turn.now);
        self.is_linked = !turn.ports.is_empty();
        let Some(port) = turn.ports.first_mut() else {
            self.app_wake = None;
            return;
        };
        if self.hears_others {
            port.misaddress();
        }
        for (frame, leaves) in self.leaving.drain(..) {
            let mut nowhere = self.settings.port();
            // Without room it is lost, and said all the same.
            let leaves = leaves && port.has_room();
            let port = if leaves { &mut *port } else { &mut nowhere };
            if let Some(room) = phy::Device::transmit(&mut self.keep_alive.wrap(port), now) {
                phy::TxToken::consume(room, frame.len(), |out| out.copy_from_slice(&frame));
            }
        }
        let (iface, sockets) = (&mut self.iface, &mut self.sockets);
        let mut events = Vec::new();
        if self.bypasses_keep_alive {
            self.last_result = iface.poll(now, port, sockets);
        } else {
            self.last_result = self.keep_alive.poll(now, iface, port, sockets);
            events = self.report(turn);
        }
        self.check(turn, &events);
        self.app_wake = self.run_app(turn, &events, App::poll);
    }

    fn poll_at(&mut self, now: Instant) -> Option<Instant> {
        let now = self.settings.moment_out(now);
        let stack = if !self.is_linked {
            // There is nothing to poll.
            None
        } else if self.bypasses_keep_alive {
            self.iface.poll_at(now, &self.sockets)
        } else {
            self.keep_alive.poll_at(now, &mut self.iface, &self.sockets)
        };
        let leaving = (!self.leaving.is_empty()).then_some(now);
        let wish = stack.into_iter().chain(self.app_wake).chain(leaving).min();
        // What lies behind the end of time does not come.
        let wish = wish.filter(|at| *at <= END_OF_TIME);
        wish.map(|at| self.settings.moment_in(at))
    }

    fn is_honest(&self) -> bool {
        true
    }
}

pub(super) fn tcp_socket(rx: usize, tx: usize) -> tcp::Socket<'static> {
    // Of more smoltcp could not tell the window (RFC 7323 2.3).
    let buffer = |len: usize| tcp::SocketBuffer::new(vec![0; len.min(1 << 30)]);
    tcp::Socket::new(buffer(rx), buffer(tx))
}

/// A locally administered hardware address, that of an IPv4 address with all of its octets, that of
/// an IPv6 address with a hash of them.
pub(super) fn mac_for(address: IpAddress) -> EthernetAddress {
    match address {
        IpAddress::Ipv4(address) => {
            let [a, b, c, d] = address.octets();
            EthernetAddress([2, 0, a, b, c, d])
        }
        IpAddress::Ipv6(address) => {
            // FNV-1a; the low octets are the best mixed.
            let octets = address.octets();
            let hash = octets
                .iter()
                .fold(0xcbf2_9ce4_8422_2325_u64, |hash, octet| {
                    (hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3)
                });
            // Not 02, which those of IPv4 addresses start with.
            let mut mac = [6; 6];
            let [_, own @ ..] = &mut mac;
            own.iter_mut()
                .zip(hash.to_le_bytes())
                .for_each(|(to, from)| *to = from);
            EthernetAddress(mac)
        }
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::super::World;
    use super::*;

    /// Addresses have hardware addresses of their own, though they differ in a prefix only, or in
    /// the version.
    #[test]
    fn hardware_addresses_differ() {
        let addresses = [
            IpAddress::v6(0xfd00, 0, 0, 0, 0, 0, 0xc000, 0x0201),
            IpAddress::v6(0xfd00, 0, 0, 1, 0, 0, 0xc000, 0x0201),
            IpAddress::v6(0xfe80, 0, 0, 0, 0, 0, 0xc000, 0x0201),
            IpAddress::v4(192, 0, 2, 1),
            IpAddress::v4(10, 0, 2, 1),
        ];
        let macs: std::collections::BTreeSet<_> =
            addresses.map(|address| mac_for(address).0).into();
        assert_eq!(macs.len(), addresses.len());
        assert!(macs.iter().all(|mac| EthernetAddress(*mac).is_unicast()));
    }

    /// Whatever a host's clock shows, smoltcp can add to it: connecting at the end of time is no
    /// overflow, and waiting for what comes after it no loop.
    #[test]
    fn clock_at_the_end_of_time_overflows_nothing() {
        let address = |last| IpAddress::v4(192, 0, 2, last);
        let connect = |world: &mut World, id| {
            let host: &mut Host = &mut world[id];
            let handle = host.add_tcp_socket(64, 64);
            let Host { iface, sockets, .. } = host;
            let socket = sockets.get_mut::<tcp::Socket>(handle);
            socket
                .connect(iface.context(), (address(2), 7), 50_000)
                .unwrap();
            world.run_for(Duration::from_secs(100)).unwrap();
        };
        for jumps in [true, false] {
            let mut world = World::new(1);
            let host = world.add("host", Host::ip(IpCidr::new(address(1), 24)));
            let peer = world.add("peer", Host::ip(IpCidr::new(address(2), 24)));
            world
                .link(host, peer, super::super::Conditions::ideal())
                .unwrap();
            if jumps {
                world.clock_jump(host, Duration::MAX).unwrap();
            } else {
                world.run_for(Duration::MAX).unwrap();
            }
            connect(&mut world, host);
            assert!(world.trace().frames().count() > 0);
        }
    }
}
