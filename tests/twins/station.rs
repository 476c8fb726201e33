//! A smoltcp host with a socket of every kind that its medium allows.

use std::cell::Cell;
use std::collections::VecDeque;

use smoltcp::iface::{Config as IfaceConfig, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::{dhcpv4, dns, icmp, raw, tcp, udp};
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{
    DnsQueryType, EthernetAddress, HardwareAddress, Icmpv4Packet, Icmpv4Repr, Icmpv6Packet,
    Icmpv6Repr, IpAddress, IpCidr, IpProtocol, IpRepr, IpVersion,
};
use tcp_keepalive::smoltcp::{CloseReason, KeepAliveSet};
use tcp_keepalive::{Config, Event};

/// The port at which a connection is accepted.
pub const SERVICE: u16 = 7;
/// The port from which the first connection is opened.
pub const FIRST_PORT: u16 = 49_152;
/// The port from which datagrams are sent, and to which.
pub const DATAGRAMS: u16 = 5353;
const IDENT: u16 = 0x4242;
/// A protocol that smoltcp does not know.
const PROTOCOL: IpProtocol = IpProtocol::Unknown(200);
const BUFFER: usize = 2048;

/// How many connections each has. Only the first is kept alive.
pub const CONNECTIONS: usize = 2;

/// What the twins are like.
#[derive(Clone, Copy, Debug)]
pub struct Setup {
    pub medium: Medium,
    pub ipv6: bool,
    pub timestamps: bool,
    /// The peer opens the connections.
    pub passive: bool,
    /// They have sockets of all kinds.
    pub all_kinds: bool,
    /// smoltcp holds back acknowledgements, as it does unless told otherwise.
    pub delays_acks: bool,
}

impl Setup {
    /// One of all, by its bits.
    pub const fn of(bits: u8) -> Self {
        Self {
            medium: if bits & 1 == 0 {
                Medium::Ip
            } else {
                Medium::Ethernet
            },
            ipv6: bits & 2 != 0,
            timestamps: bits & 4 != 0,
            passive: bits & 8 != 0,
            all_kinds: bits & 16 == 0,
            delays_acks: true,
        }
    }

    pub const fn address(&self, last: u8) -> IpAddress {
        if self.ipv6 {
            IpAddress::v6(0x2001, 0xdb8, 0, 0, 0, 0, 0, last as u16)
        } else {
            IpAddress::v4(192, 0, 2, last)
        }
    }
}

pub const fn mac(last: u8) -> EthernetAddress {
    EthernetAddress([2, 0, 0, 0, 0, last])
}

thread_local! {
    /// The time of the station that is polled.
    static SHOWN: Cell<Instant> = const { Cell::new(Instant::ZERO) };
}

/// Milliseconds, for the timestamp option.
fn timestamp_clock() -> u32 {
    let millis = SHOWN.get().total_millis() & i64::from(u32::MAX);
    u32::try_from(millis).unwrap()
}

/// Sockets other than TCP.
struct Others {
    udp: SocketHandle,
    icmp: SocketHandle,
    raw: SocketHandle,
    dns: SocketHandle,
    /// smoltcp has DHCP on an Ethernet only.
    dhcp: Option<SocketHandle>,
}

/// A host.
pub struct Station {
    iface: Interface,
    sockets: SocketSet<'static>,
    connections: Vec<SocketHandle>,
    others: Option<Others>,
    pub wire: Wire,
    keep_alive: Option<Box<KeepAliveSet<1>>>,
    config: Option<Config>,
    /// Probes that were sent before the keep-alive was switched off.
    probes_before: u32,
    own: IpAddress,
    other: IpAddress,
    /// It echoes datagrams: the peer does.
    echoes: bool,
    pub reads: bool,
    /// What the applications have received, by socket.
    pub received: [Received; 7],
    query: Option<dns::QueryHandle>,
    reopened: u16,
}

/// How a host is polled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// `KeepAliveSet::poll`.
    Set,
    /// `Interface::poll`.
    Interface,
    /// `Interface::poll_ingress_single` for each frame, then `poll_egress`.
    Single,
}

/// All that can be seen of a host.
#[derive(Debug, PartialEq)]
pub struct Observation {
    connections: Vec<(tcp::State, usize, usize, bool, bool)>,
    received: [Received; 7],
    poll_at: Option<Instant>,
}

impl Station {
    pub fn new(setup: &Setup, last: u8, seed: u64, config: Option<Config>) -> Self {
        let mut wire = Wire::new(setup.medium);
        let hardware = match setup.medium {
            Medium::Ethernet => HardwareAddress::Ethernet(mac(last)),
            _ => HardwareAddress::Ip,
        };
        let mut iface_config = IfaceConfig::new(hardware);
        iface_config.random_seed = seed;
        let mut iface = Interface::new(iface_config, &mut wire, Instant::from_secs(1000));
        let own = setup.address(last);
        iface.update_ip_addrs(|addresses| addresses.push(IpCidr::new(own, 24)).unwrap());
        let mut sockets = SocketSet::new(Vec::new());
        let connections = (0..CONNECTIONS).map(|_| {
            let buffer = || tcp::SocketBuffer::new(vec![0; BUFFER]);
            let mut socket = tcp::Socket::new(buffer(), buffer());
            if setup.timestamps {
                socket.set_tsval_generator(Some(timestamp_clock));
            }
            if !setup.delays_acks {
                socket.set_ack_delay(None);
            }
            sockets.add(socket)
        });
        let connections = connections.collect();
        let is_peer = last != 1;
        let others = setup
            .all_kinds
            .then(|| Others::new(&mut sockets, setup, is_peer));
        let mut station = Self {
            iface,
            sockets,
            connections,
            others,
            wire,
            keep_alive: config.map(|_| Box::default()),
            config,
            probes_before: 0,
            own,
            other: setup.address(3 - last),
            echoes: is_peer,
            reads: true,
            received: Default::default(),
            query: None,
            reopened: 0,
        };
        station.switch(true);
        station
    }

    /// Opens all connections, or waits for them.
    pub fn open(&mut self, setup: &Setup) {
        for index in 0..CONNECTIONS {
            if setup.passive == self.echoes {
                let port = FIRST_PORT + u16::try_from(index).unwrap();
                self.connect(index, port);
            } else {
                self.tcp(u8::try_from(index).unwrap())
                    .listen(SERVICE)
                    .unwrap();
            }
        }
    }

    fn connect(&mut self, index: usize, port: u16) {
        let socket: &mut tcp::Socket<'_> = self.sockets.get_mut(self.connections[index]);
        let _ = socket.connect(self.iface.context(), (self.other, SERVICE), port);
    }

    pub fn connect_again(&mut self, index: u8) {
        self.reopened += 1;
        let port = FIRST_PORT + 100 + self.reopened;
        self.connect(usize::from(index) % CONNECTIONS, port);
    }

    pub fn listen_again(&mut self, index: u8) {
        let _ = self.tcp(index).listen(SERVICE);
    }

    /// Switches the keep-alive on, or off, if it has any.
    pub fn switch(&mut self, on: bool) {
        let handle = self.connections[0];
        if !on {
            self.probes_before = self.probes_sent();
        }
        if let (Some(keep_alive), Some(config)) = (&mut self.keep_alive, self.config) {
            if on {
                keep_alive.enable(handle, config).unwrap();
            } else {
                keep_alive.disable(handle);
            }
        }
    }

    pub fn tcp(&mut self, index: u8) -> &mut tcp::Socket<'static> {
        let handle = self.connections[usize::from(index) % CONNECTIONS];
        self.sockets.get_mut(handle)
    }

    pub fn write(&mut self, index: u8, len: usize) {
        let socket = self.tcp(index);
        let data: Vec<u8> = (0..len).map(|at| at.to_le_bytes()[0]).collect();
        // What does not fit is not sent.
        let _ = socket.send_slice(&data);
    }

    /// How much more can be written.
    pub fn room(&mut self, index: u8) -> usize {
        let socket = self.tcp(index);
        socket.send_capacity() - socket.send_queue()
    }

    pub fn say_datagram(&mut self, data: &[u8]) {
        let other = self.other;
        if let Some(others) = &self.others {
            let socket: &mut udp::Socket<'_> = self.sockets.get_mut(others.udp);
            let _ = socket.send_slice(data, (other, DATAGRAMS));
        }
    }

    /// Sends an echo request, asks for a name, and sends a packet of no known protocol.
    pub fn chatter(&mut self) {
        let Some(others) = &self.others else { return };
        let ping: &mut icmp::Socket<'_> = self.sockets.get_mut(others.icmp);
        send_echo_request(ping, self.own, self.other);
        let bare: &mut raw::Socket<'_> = self.sockets.get_mut(others.raw);
        send_bare(bare, self.own, self.other);
        if self.query.is_none() {
            let resolver: &mut dns::Socket<'_> = self.sockets.get_mut(others.dns);
            let context = self.iface.context();
            self.query = resolver
                .start_query(context, "example.org", DnsQueryType::A)
                .ok();
        }
    }

    pub fn poll(&mut self, now: Instant) {
        SHOWN.set(now);
        let (iface, sockets, wire) = (&mut self.iface, &mut self.sockets, &mut self.wire);
        match &mut self.keep_alive {
            Some(keep_alive) => keep_alive.poll(now, iface, wire, sockets),
            None => iface.poll(now, wire, sockets),
        };
        self.receive();
    }

    /// Polls by one of the ways that smoltcp has, with the device wrapped.
    pub fn poll_by(&mut self, way: Way, now: Instant) {
        SHOWN.set(now);
        let (iface, sockets, wire) = (&mut self.iface, &mut self.sockets, &mut self.wire);
        let keep_alive = self.keep_alive.as_mut().unwrap();
        match way {
            Way::Set => {
                keep_alive.poll(now, iface, wire, sockets);
            }
            Way::Interface => {
                iface.poll(now, &mut keep_alive.wrap(wire), sockets);
            }
            Way::Single => {
                while !wire.inbound.is_empty() {
                    iface.poll_ingress_single(now, &mut keep_alive.wrap(wire), sockets);
                }
                iface.poll_egress(now, &mut keep_alive.wrap(wire), sockets);
            }
        }
        self.receive();
    }

    pub fn poll_at(&mut self, now: Instant) -> Option<Instant> {
        match &mut self.keep_alive {
            Some(keep_alive) => keep_alive.poll_at(now, &mut self.iface, &self.sockets),
            None => self.iface.poll_at(now, &self.sockets),
        }
    }

    pub fn poll_delay(&mut self, now: Instant) -> Option<Duration> {
        match &mut self.keep_alive {
            Some(keep_alive) => keep_alive.poll_delay(now, &mut self.iface, &self.sockets),
            None => self.iface.poll_delay(now, &self.sockets),
        }
    }

    pub fn wants_poll(&mut self, now: Instant) -> bool {
        !self.wire.inbound.is_empty() || self.poll_at(now).is_some_and(|at| at <= now)
    }

    pub fn poll_event(&mut self) -> Option<(SocketHandle, Event)> {
        self.keep_alive.as_mut()?.poll_event()
    }

    pub fn probes_sent(&self) -> u32 {
        let keep_alive = self.keep_alive.as_ref();
        let stats = keep_alive.and_then(|keep_alive| keep_alive.stats(self.connections[0]));
        self.probes_before + stats.map_or(0, |stats| stats.probes_sent)
    }

    pub fn keep_alive_state(&self) -> Option<tcp_keepalive::State> {
        self.keep_alive.as_ref()?.state(self.connections[0])
    }

    pub fn last_heard(&self) -> Option<Instant> {
        self.keep_alive.as_ref()?.last_heard(self.connections[0])
    }

    pub fn close_reason(&self) -> Option<CloseReason> {
        self.keep_alive.as_ref()?.close_reason(self.connections[0])
    }

    pub fn observe(&mut self, now: Instant) -> Observation {
        let connections = self.connections.iter().map(|handle| {
            let socket: &tcp::Socket<'_> = self.sockets.get(*handle);
            (
                socket.state(),
                socket.send_queue(),
                socket.recv_queue(),
                socket.can_send(),
                socket.keep_alive().is_some(),
            )
        });
        Observation {
            connections: connections.collect(),
            received: self.received,
            poll_at: self.iface.poll_at(now, &self.sockets),
        }
    }

    /// The applications take what there is.
    fn receive(&mut self) {
        if self.reads {
            for (handle, received) in self.connections.iter().zip(&mut self.received) {
                let socket: &mut tcp::Socket<'_> = self.sockets.get_mut(*handle);
                while socket.can_recv() {
                    let taken = socket.recv(|data| (data.len(), data.to_vec()));
                    received.note(&taken.unwrap());
                }
            }
        }
        let Some(others) = &self.others else { return };
        let [_, _, udp_log, icmp_log, raw_log, dns_log, dhcp_log] = &mut self.received;
        let datagrams: &mut udp::Socket<'_> = self.sockets.get_mut(others.udp);
        while let Ok((data, meta)) = datagrams.recv().map(|(data, meta)| (data.to_vec(), meta)) {
            udp_log.note(&data);
            if self.echoes {
                let _ = datagrams.send_slice(&data, meta.endpoint);
            }
        }
        let ping: &mut icmp::Socket<'_> = self.sockets.get_mut(others.icmp);
        while let Ok((data, _)) = ping.recv() {
            icmp_log.note(data);
        }
        let bare: &mut raw::Socket<'_> = self.sockets.get_mut(others.raw);
        while let Ok(data) = bare.recv() {
            raw_log.note(data);
        }
        if let Some(query) = self.query {
            let resolver: &mut dns::Socket<'_> = self.sockets.get_mut(others.dns);
            match resolver.get_query_result(query) {
                Err(dns::GetQueryResultError::Pending) => {}
                result => {
                    dns_log.note(format!("{result:?}").as_bytes());
                    self.query = None;
                }
            }
        }
        if let Some(handle) = others.dhcp {
            let dhcp: &mut dhcpv4::Socket<'_> = self.sockets.get_mut(handle);
            while let Some(event) = dhcp.poll() {
                dhcp_log.note(format!("{event:?}").as_bytes());
            }
        }
    }
}

/// How much was received, and what.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Received {
    pub octets: usize,
    hash: u64,
}

impl Received {
    /// FNV-1a.
    fn note(&mut self, data: &[u8]) {
        self.octets += data.len();
        for octet in data {
            self.hash = (self.hash ^ u64::from(*octet)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

impl Others {
    fn new(sockets: &mut SocketSet<'static>, setup: &Setup, is_peer: bool) -> Self {
        let mut datagrams = udp::Socket::new(
            udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 4], vec![0; 8192]),
            udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY; 4], vec![0; 8192]),
        );
        datagrams.bind(DATAGRAMS).unwrap();
        let mut ping = icmp::Socket::new(
            icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 4], vec![0; 2048]),
            icmp::PacketBuffer::new(vec![icmp::PacketMetadata::EMPTY; 4], vec![0; 2048]),
        );
        ping.bind(icmp::Endpoint::Ident(IDENT)).unwrap();
        let version = if setup.ipv6 {
            IpVersion::Ipv6
        } else {
            IpVersion::Ipv4
        };
        let bare = raw::Socket::new(
            Some(version),
            Some(PROTOCOL),
            raw::PacketBuffer::new(vec![raw::PacketMetadata::EMPTY; 4], vec![0; 2048]),
            raw::PacketBuffer::new(vec![raw::PacketMetadata::EMPTY; 4], vec![0; 2048]),
        );
        let server = setup.address(2);
        let has_dhcp = setup.medium == Medium::Ethernet && !setup.ipv6 && !is_peer;
        Self {
            udp: sockets.add(datagrams),
            icmp: sockets.add(ping),
            raw: sockets.add(bare),
            dns: sockets.add(dns::Socket::new(&[server], vec![])),
            dhcp: has_dhcp.then(|| sockets.add(dhcpv4::Socket::new())),
        }
    }
}

fn send_echo_request(socket: &mut icmp::Socket<'_>, own: IpAddress, other: IpAddress) {
    match (own, other) {
        (IpAddress::Ipv4(_), IpAddress::Ipv4(_)) => {
            let echo = Icmpv4Repr::EchoRequest {
                ident: IDENT,
                seq_no: 1,
                data: b"ping",
            };
            if let Ok(buffer) = socket.send(echo.buffer_len(), other) {
                let mut packet = Icmpv4Packet::new_unchecked(buffer);
                echo.emit(&mut packet, &smoltcp::phy::ChecksumCapabilities::default());
            }
        }
        (IpAddress::Ipv6(src), IpAddress::Ipv6(dst)) => {
            let echo = Icmpv6Repr::EchoRequest {
                ident: IDENT,
                seq_no: 1,
                data: b"ping",
            };
            if let Ok(buffer) = socket.send(echo.buffer_len(), other) {
                let mut packet = Icmpv6Packet::new_unchecked(buffer);
                let checksums = smoltcp::phy::ChecksumCapabilities::default();
                echo.emit(&src, &dst, &mut packet, &checksums);
            }
        }
        _ => {}
    }
}

fn send_bare(socket: &mut raw::Socket<'_>, own: IpAddress, other: IpAddress) {
    const PAYLOAD: &[u8] = b"bare";
    let ip = IpRepr::new(own, other, PROTOCOL, PAYLOAD.len(), 64);
    if let Ok(buffer) = socket.send(ip.buffer_len()) {
        let (header, payload) = buffer.split_at_mut(ip.header_len());
        ip.emit(header, &smoltcp::phy::ChecksumCapabilities::default());
        payload.copy_from_slice(PAYLOAD);
    }
}

/// A device that keeps what is sent.
#[derive(Debug)]
pub struct Wire {
    medium: Medium,
    pub inbound: VecDeque<Vec<u8>>,
    pub outbound: Vec<Vec<u8>>,
}

impl Wire {
    fn new(medium: Medium) -> Self {
        Self {
            medium,
            inbound: VecDeque::new(),
            outbound: Vec::new(),
        }
    }
}

impl Device for Wire {
    type RxToken<'a> = Arrived;
    type TxToken<'a> = Departing<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Arrived, Departing<'_>)> {
        let frame = self.inbound.pop_front()?;
        Some((Arrived(frame), Departing(&mut self.outbound)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Departing<'_>> {
        Some(Departing(&mut self.outbound))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = self.medium;
        capabilities.max_transmission_unit = 1514;
        capabilities
    }
}

#[derive(Debug)]
pub struct Arrived(Vec<u8>);

impl RxToken for Arrived {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

#[derive(Debug)]
pub struct Departing<'a>(&'a mut Vec<Vec<u8>>);

impl TxToken for Departing<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.push(frame);
        result
    }
}
