//! The least there is to do: two hosts share a cable, and after 100 s one of them loses its power.

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::{Device, DeviceCapabilities, Loopback, Medium};
use smoltcp::socket::tcp;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{HardwareAddress, IpAddress, IpCidr};
use tcp_keepalive::{Config as KeepAlive, Event, smoltcp::KeepAliveSet};

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let [mut there, mut back] = [(); 2].map(|()| Loopback::new(Medium::Ip));
    let (mut peer, mut peers_sockets, server) = host(&mut there, 2);
    peers_sockets.get_mut::<tcp::Socket>(server).listen(7)?;
    let (mut iface, mut sockets, client) = host(&mut back, 1);
    let socket = sockets.get_mut::<tcp::Socket>(client);
    socket.connect(iface.context(), (IpAddress::v4(192, 0, 2, 2), 7), 50_000)?;

    // What keep-alive adds: a set, what to do with each handle, and a poll in place of smoltcp's.
    let mut keep_alive = KeepAliveSet::<1>::new();
    let within = Duration::from_secs(60).into();
    keep_alive.enable(client, KeepAlive::detect_within(within)?)?;
    for now in (0..).map(Instant::from_millis) {
        let mut device = End(&mut back, &mut there);
        keep_alive.poll(now, &mut iface, &mut device, &mut sockets);
        while let Some((_, event)) = keep_alive.poll_event() {
            println!("{now}: {event}");
            if let Event::TimedOut(_) = event {
                return Ok(());
            }
        }
        if now < Instant::from_secs(100) {
            peer.poll(now, &mut End(&mut there, &mut back), &mut peers_sockets);
        }
    }
    Ok(())
}

fn host(device: &mut Loopback, last: u8) -> (Interface, SocketSet<'static>, SocketHandle) {
    let mut iface = Interface::new(Config::new(HardwareAddress::Ip), device, Instant::ZERO);
    let address = IpCidr::new(IpAddress::v4(192, 0, 2, last), 24);
    iface.update_ip_addrs(|all| all.push(address).expect("there is room for one"));
    let buffer = || tcp::SocketBuffer::new(vec![0; 512]);
    let mut sockets = SocketSet::new(vec![]);
    let handle = sockets.add(tcp::Socket::new(buffer(), buffer()));
    (iface, sockets, handle)
}

/// One end of the cable: where frames arrive, and where they leave.
struct End<'d>(&'d mut Loopback, &'d mut Loopback);

#[rustfmt::skip] // One line for each.
impl Device for End<'_> {
    type RxToken<'a> = <Loopback as Device>::RxToken<'a> where Self: 'a;
    type TxToken<'a> = <Loopback as Device>::TxToken<'a> where Self: 'a;
    fn receive(&mut self, now: Instant) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        Some((self.0.receive(now)?.0, self.1.transmit(now)?))
    }
    fn transmit(&mut self, now: Instant) -> Option<Self::TxToken<'_>> { self.1.transmit(now) }
    fn capabilities(&self) -> DeviceCapabilities { self.0.capabilities() }
}
