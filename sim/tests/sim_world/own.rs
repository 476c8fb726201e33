//! A node of the user's own, around an interface and a loop of its own.

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet};
use smoltcp::phy::Medium;
use smoltcp::socket::tcp;
use smoltcp::time;
use smoltcp::wire::HardwareAddress;
use tcp_keepalive::Instant;
use tcp_keepalive_sim::{Conditions, Host, Id, Node, Port, Room, Script, Turn, World};

use super::pair::{PORT, address, cidr, first_handle, server};
use super::post::{ms, s};

/// Firmware that listens, and answers every message with as many octets. It has its own idea of
/// everything: no keep-alive, and no application.
struct Firmware {
    iface: Option<Interface>,
    sockets: SocketSet<'static>,
    handle: Option<SocketHandle>,
}

impl Firmware {
    fn new() -> Self {
        Self {
            iface: None,
            sockets: SocketSet::new(Vec::new()),
            handle: None,
        }
    }
}

fn moment(instant: Instant) -> time::Instant {
    time::Instant::from_micros(i64::try_from(instant.as_micros()).unwrap())
}

impl Node for Firmware {
    fn new_port(&mut self, index: usize) -> Option<Port> {
        (index == 0).then(|| Port::new(Medium::Ip))
    }

    fn power_on(&mut self, turn: &mut Turn<'_>) {
        let config = Config::new(HardwareAddress::Ip);
        let mut port = Port::new(Medium::Ip);
        let mut iface = Interface::new(config, &mut port, moment(turn.now));
        iface.update_ip_addrs(|addresses| addresses.push(cidr(2)).unwrap());
        self.sockets = SocketSet::new(Vec::new());
        let buffer = || tcp::SocketBuffer::new(vec![0; 512]);
        let mut socket = tcp::Socket::new(buffer(), buffer());
        socket.listen(PORT).unwrap();
        self.handle = Some(self.sockets.add(socket));
        self.iface = Some(iface);
    }

    fn poll(&mut self, turn: &mut Turn<'_>) {
        let iface = self.iface.as_mut().unwrap();
        iface.poll(moment(turn.now), &mut turn.ports[0], &mut self.sockets);
        let socket = self.sockets.get_mut::<tcp::Socket>(self.handle.unwrap());
        if let Ok(len @ 1..) = socket.recv(|data| (data.len(), data.len())) {
            socket.send_slice(&vec![b'f'; len]).unwrap();
        }
    }

    fn poll_at(&mut self, now: Instant) -> Option<Instant> {
        let at = self.iface.as_mut()?.poll_at(moment(now), &self.sockets)?;
        Some(Instant::from_micros(u64::try_from(at.total_micros()).ok()?))
    }
}

fn world() -> (World, Id<Host>, Id<Firmware>) {
    let mut world = World::new(1);
    let client = Script::client(server()).send_at(s(1), 20).without_reading();
    let host = world.add("host", Host::ip(cidr(1)).app(client));
    let firmware = world.add("firmware", Firmware::new());
    let slow = Conditions::ideal().latency(ms(10));
    world.link(host, firmware, slow).unwrap();
    (world, host, firmware)
}

/// A node of one's own talks to a host through its port, which is a smoltcp device.
#[test]
fn own_loop_talks_through_its_port() {
    let (mut world, host, _) = world();
    world.run_for(s(2)).unwrap();
    let handle = first_handle(&world, host);
    let socket = world[host].tcp(handle);
    let answer = socket.recv(|data| (data.len(), data.to_vec())).unwrap();
    assert_eq!(answer, vec![b'f'; 20]);
    assert_eq!(socket.remote_endpoint().unwrap().addr, address(2));
}

/// With no room to transmit, what is received is handed over all the same, with room for one
/// answer; what the loop itself wants to send waits.
#[test]
fn own_loop_receives_without_room_to_transmit() {
    let (mut world, host, firmware) = world();
    world.run_for(ms(500)).unwrap();
    world.set_room(firmware, Room::NoneToTransmit).unwrap();
    // smoltcp asks again and again while it has something to send.
    world.set_pace(firmware, ms(1)).unwrap();
    world.run_for(ms(700)).unwrap();
    let handle = first_handle(&world, host);
    assert_eq!(world[host].tcp(handle).recv_queue(), 0);
    let handle = world[firmware].handle.unwrap();
    let socket = world[firmware].sockets.get::<tcp::Socket>(handle);
    assert_eq!(socket.send_queue(), 20);
    world.set_room(firmware, Room::Plenty).unwrap();
    world.run_for(ms(100)).unwrap();
    let handle = first_handle(&world, host);
    assert_eq!(world[host].tcp(handle).recv_queue(), 20);
}

/// With no room at all, its loop spins, as it would on a chip, and is named.
#[test]
fn own_loop_that_spins_is_named() {
    let (mut world, _, firmware) = world();
    world.run_for(ms(500)).unwrap();
    world.set_room(firmware, Room::NoneToTransmit).unwrap();
    let result = world.run_for(s(1));
    let error = result.expect_err("smoltcp asks for a turn at once");
    assert!(error.to_string().starts_with("firmware spins"), "{error}");
}
