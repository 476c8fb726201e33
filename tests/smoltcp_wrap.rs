//! Polls of the device that `wrap` returns, between those of the set: two smoltcp stacks on one wire.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a helper of a test may fail as a test does"
)]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::time::Duration;

use smoltcp::iface::{Config as IfaceConfig, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{self, DeviceCapabilities, Medium};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};
use tcp_keepalive::smoltcp::KeepAliveSet;
use tcp_keepalive::{Config, Event, ProbePayload};

/// One direction of the wire.
type Lane = Rc<RefCell<VecDeque<Vec<u8>>>>;

struct Port {
    from: Lane,
    to: Lane,
    is_blocked: bool,
}

struct Frame(Vec<u8>);

struct Room<'a>(&'a Lane);

impl phy::RxToken for Frame {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}

impl phy::TxToken for Room<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.borrow_mut().push_back(frame);
        result
    }
}

impl phy::Device for Port {
    type RxToken<'a> = Frame;
    type TxToken<'a> = Room<'a>;

    fn receive(&mut self, _: Instant) -> Option<(Frame, Room<'_>)> {
        if self.is_blocked {
            return None;
        }
        let frame = self.from.borrow_mut().pop_front()?;
        Some((Frame(frame), Room(&self.to)))
    }

    fn transmit(&mut self, _: Instant) -> Option<Room<'_>> {
        (!self.is_blocked).then_some(Room(&self.to))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = 1500;
        capabilities
    }
}

struct Stack {
    iface: Interface,
    port: Port,
    sockets: SocketSet<'static>,
}

impl Stack {
    fn new(last: u8, from: &Lane, to: &Lane) -> Self {
        let mut port = Port {
            from: from.clone(),
            to: to.clone(),
            is_blocked: false,
        };
        let config = IfaceConfig::new(HardwareAddress::Ip);
        let mut iface = Interface::new(config, &mut port, Instant::ZERO);
        iface.update_ip_addrs(|addresses| {
            let _ = addresses.push(IpCidr::new(IpAddress::v4(10, 0, 0, last), 24));
        });
        let sockets = SocketSet::new(vec![]);
        Self {
            iface,
            port,
            sockets,
        }
    }

    fn add(&mut self) -> SocketHandle {
        let buffer = || tcp::SocketBuffer::new(vec![0; 64]);
        self.sockets.add(tcp::Socket::new(buffer(), buffer()))
    }

    fn tcp(&mut self, handle: SocketHandle) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(handle)
    }

    fn poll(&mut self, now: Instant) {
        self.iface.poll(now, &mut self.port, &mut self.sockets);
    }
}

/// Two stacks, and a connection between them that was opened past the set, or before its eyes.
fn pair(
    keep_alive: &mut KeepAliveSet<1>,
    is_seen: bool,
) -> (Stack, SocketHandle, Stack, SocketHandle) {
    let (there, back) = (Lane::default(), Lane::default());
    let mut us = Stack::new(1, &back, &there);
    let mut peer = Stack::new(2, &there, &back);
    let (ours, theirs) = (us.add(), peer.add());
    peer.tcp(theirs).listen(7).unwrap();
    let socket = us.sockets.get_mut::<tcp::Socket>(ours);
    socket
        .connect(us.iface.context(), (IpAddress::v4(10, 0, 0, 2), 7), 40_000)
        .unwrap();
    for millis in 0..50 {
        let now = Instant::from_millis(millis);
        if is_seen {
            keep_alive.poll(now, &mut us.iface, &mut us.port, &mut us.sockets);
        } else {
            us.poll(now);
        }
        peer.poll(now);
    }
    assert_eq!(us.tcp(ours).state(), tcp::State::Established);
    (us, ours, peer, theirs)
}

/// The interface is polled through `wrap` first, and then the set, at each moment that `poll_at` asks
/// for. The peer dies; nothing is in flight.
#[test]
fn wrapped_first_a_dead_peer_is_given_up_in_time() {
    let config = Config::new(Duration::from_secs(10), Duration::from_secs(2), 3).unwrap();
    let mut keep_alive = KeepAliveSet::<1>::new();
    let (mut us, ours, mut peer, _) = pair(&mut keep_alive, true);
    // Something is queued when the handle is enabled, and is acknowledged at once.
    us.tcp(ours).send_slice(b"hello").unwrap();
    keep_alive.enable(ours, config).unwrap();
    let mut now = Instant::from_millis(100);
    for _ in 0..50 {
        us.iface
            .poll(now, &mut keep_alive.wrap(&mut us.port), &mut us.sockets);
        keep_alive.poll(now, &mut us.iface, &mut us.port, &mut us.sockets);
        peer.poll(now);
        now += smoltcp::time::Duration::from_millis(1);
    }
    assert_eq!(us.tcp(ours).send_queue(), 0);
    let heard = keep_alive.last_heard(ours).unwrap();
    // The peer is dead from here on.
    while now < Instant::from_secs(1000) {
        us.iface
            .poll(now, &mut keep_alive.wrap(&mut us.port), &mut us.sockets);
        keep_alive.poll(now, &mut us.iface, &mut us.port, &mut us.sockets);
        if let Some((_, Event::TimedOut(_))) = keep_alive.poll_event() {
            assert_eq!(now, heard + smoltcp::time::Duration::from_secs(16));
            return;
        }
        now = keep_alive
            .poll_at(now, &mut us.iface, &us.sockets)
            .unwrap()
            .max(now);
    }
    panic!("never given up: {:?}", keep_alive.stats(ours));
}

/// While the stack has been asked for its numbers, and cannot tell them, the application writes one
/// octet: it arrives as it was written.
#[test]
fn an_octet_of_the_applications_is_not_replaced() {
    for payload in [ProbePayload::GarbageOctet, ProbePayload::Empty] {
        let config = Config::new(Duration::from_secs(10), Duration::from_secs(2), 3).unwrap();
        let mut keep_alive = KeepAliveSet::<1>::new();
        let (mut us, ours, mut peer, theirs) = pair(&mut keep_alive, false);
        keep_alive
            .enable(ours, config.with_payload(payload))
            .unwrap();
        keep_alive.poll(
            Instant::from_secs(1),
            &mut us.iface,
            &mut us.port,
            &mut us.sockets,
        );
        us.port.is_blocked = true;
        // A probe is due, and the device has no room.
        keep_alive.poll(
            Instant::from_secs(11),
            &mut us.iface,
            &mut us.port,
            &mut us.sockets,
        );
        us.port.is_blocked = false;
        us.tcp(ours).send_slice(b"x").unwrap();
        for millis in 11_100..11_200 {
            let now = Instant::from_millis(millis);
            us.iface
                .poll(now, &mut keep_alive.wrap(&mut us.port), &mut us.sockets);
            keep_alive.poll(now, &mut us.iface, &mut us.port, &mut us.sockets);
            peer.poll(now);
        }
        let mut octets = [0; 8];
        let len = peer.tcp(theirs).recv_slice(&mut octets).unwrap();
        assert_eq!(&octets[..len], b"x", "{payload:?}");
    }
}

/// A segment that arrives in a poll of the wrapped device is heard at the time of that poll.
#[test]
fn a_segment_is_heard_when_the_wrapped_device_is_polled() {
    let config = Config::new(Duration::from_secs(10), Duration::from_secs(2), 3).unwrap();
    let mut keep_alive = KeepAliveSet::<1>::new();
    let (mut us, ours, mut peer, theirs) = pair(&mut keep_alive, true);
    keep_alive.enable(ours, config).unwrap();
    let now = Instant::from_secs(1);
    keep_alive.poll(now, &mut us.iface, &mut us.port, &mut us.sockets);
    peer.tcp(theirs).send_slice(b"x").unwrap();
    peer.poll(now);
    let now = Instant::from_secs(2);
    let wrapped = &mut keep_alive.wrap(&mut us.port);
    us.iface.poll_ingress_single(now, wrapped, &mut us.sockets);
    assert_eq!(keep_alive.last_heard(ours), Some(now));
}
