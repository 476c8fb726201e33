//! The least there is to do: `cargo run --example minimal`. Two hosts share a cable, and after 100 s
//! one of them loses its power.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "two minutes do not overflow"
)]

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};
use tcp_keepalive::smoltcp::KeepAliveSet;
use tcp_keepalive::{Config as KeepAlive, Event};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [there, back] = [(); 2].map(|()| Wire::default());
    let (mut device, mut peers_device) = (End(back.clone(), there.clone()), End(there, back));
    let (mut peer, mut peers_sockets, server) = host(&mut peers_device, 2);
    peers_sockets.get_mut::<tcp::Socket>(server).listen(7)?;
    let (mut iface, mut sockets, client) = host(&mut device, 1);
    let remote = (IpAddress::v4(192, 0, 2, 2), 7);
    let socket = sockets.get_mut::<tcp::Socket>(client);
    socket.connect(iface.context(), remote, 50_000)?;

    // What keep-alive adds: a set, what to do with each handle, and a poll in place of smoltcp's.
    let mut keep_alive = KeepAliveSet::<1>::new();
    keep_alive.enable(
        client,
        KeepAlive::detect_within(Duration::from_secs(60).into())?,
    )?;
    let mut now = Instant::ZERO;
    loop {
        keep_alive.poll(now, &mut iface, &mut device, &mut sockets);
        while let Some((_, event)) = keep_alive.poll_event() {
            println!("{now}: {event}");
            if let Event::TimedOut(_) = event {
                return Ok(());
            }
        }
        if now < Instant::from_secs(100) {
            peer.poll(now, &mut peers_device, &mut peers_sockets);
        }
        now += Duration::from_millis(1);
    }
}

fn host(device: &mut End, last: u8) -> (Interface, SocketSet<'static>, SocketHandle) {
    let mut iface = Interface::new(Config::new(HardwareAddress::Ip), device, Instant::ZERO);
    iface.update_ip_addrs(|addresses| {
        let address = IpCidr::new(IpAddress::v4(192, 0, 2, last), 24);
        addresses.push(address).expect("there is room for one");
    });
    let buffer = || tcp::SocketBuffer::new(vec![0; 512]);
    let mut sockets = SocketSet::new(vec![]);
    let handle = sockets.add(tcp::Socket::new(buffer(), buffer()));
    (iface, sockets, handle)
}

/// Packets on their way in one direction.
type Wire = Rc<RefCell<VecDeque<Vec<u8>>>>;

/// One end of the cable: what arrives, and where packets leave.
struct End(Wire, Wire);
struct Received(Vec<u8>);
struct Room(Wire);

impl Device for End {
    type RxToken<'a> = Received;
    type TxToken<'a> = Room;

    fn receive(&mut self, _: Instant) -> Option<(Received, Room)> {
        let packet = self.0.borrow_mut().pop_front()?;
        Some((Received(packet), Room(self.1.clone())))
    }

    fn transmit(&mut self, _: Instant) -> Option<Room> {
        Some(Room(self.1.clone()))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = 1500;
        capabilities
    }
}

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(&self.0)
    }
}

impl TxToken for Room {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let mut packet = vec![0; len];
        let result = write(&mut packet);
        self.0.borrow_mut().push_back(packet);
        result
    }
}
