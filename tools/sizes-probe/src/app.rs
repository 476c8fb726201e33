//! What all images have in common: an echo server with a pool of sockets.

use smoltcp::iface::{Config, Interface, SocketHandle, SocketSet, SocketStorage};
use smoltcp::phy::Device;
use smoltcp::socket::tcp;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::{EthernetAddress, HardwareAddress, IpAddress, IpCidr};

use crate::keeper::Keeper;

pub(crate) const CONNECTIONS: usize = 4;
pub(crate) const PORT: u16 = 7;
pub(crate) const OUR_MAC: EthernetAddress = EthernetAddress([2, 0, 0, 0, 0, 1]);
pub(crate) const OUR_ADDR: IpAddress = IpAddress::v4(192, 0, 2, 1);

const BUFFER: usize = 2048;

/// What the application lends to smoltcp.
pub(crate) struct Memory<'a> {
    storage: [SocketStorage<'a>; CONNECTIONS],
    buffers: [[[u8; BUFFER]; 2]; CONNECTIONS],
}

impl Memory<'_> {
    pub(crate) const fn new() -> Self {
        Self {
            storage: [const { SocketStorage::EMPTY }; CONNECTIONS],
            buffers: [[[0; BUFFER]; 2]; CONNECTIONS],
        }
    }
}

pub(crate) struct App<'a> {
    iface: Interface,
    sockets: SocketSet<'a>,
    handles: [SocketHandle; CONNECTIONS],
    keeper: Keeper,
}

impl<'a> App<'a> {
    pub(crate) fn new<D: Device>(memory: &'a mut Memory<'a>, device: &mut D, now: Instant) -> Self {
        #[cfg(feature = "defmt")]
        defmt::info!("up");
        let config = Config::new(HardwareAddress::Ethernet(OUR_MAC));
        let mut iface = Interface::new(config, device, now);
        iface.update_ip_addrs(|addresses| {
            // There is room for one.
            let _ = addresses.push(IpCidr::new(OUR_ADDR, 24));
        });
        let Memory { storage, buffers } = memory;
        let mut sockets = SocketSet::new(&mut storage[..]);
        let handles = buffers.each_mut().map(|[rx, tx]| {
            sockets.add(tcp::Socket::new(
                tcp::SocketBuffer::new(&mut rx[..]),
                tcp::SocketBuffer::new(&mut tx[..]),
            ))
        });
        let keeper = Keeper::new(&handles, &mut sockets);
        Self {
            iface,
            sockets,
            handles,
            keeper,
        }
    }

    /// By itself, so that its stack can be told from the rest.
    #[inline(never)]
    pub(crate) fn poll<D: Device>(&mut self, now: Instant, device: &mut D) {
        self.keeper
            .poll(now, &mut self.iface, device, &mut self.sockets);
    }

    pub(crate) fn poll_delay(&mut self, now: Instant) -> Option<Duration> {
        self.keeper.poll_delay(now, &mut self.iface, &self.sockets)
    }

    pub(crate) fn serve(&mut self) {
        self.keeper.report();
        for handle in self.handles {
            let socket = self.sockets.get_mut::<tcp::Socket>(handle);
            if !socket.is_open() {
                // Only port 0 is refused.
                let _ = socket.listen(PORT);
            }
            if socket.can_recv() && socket.can_send() {
                let mut octets = [0; 64];
                let room = (socket.send_capacity() - socket.send_queue()).min(octets.len());
                if let Ok(len) = socket.recv_slice(&mut octets[..room]) {
                    let _ = socket.send_slice(&octets[..len]);
                }
            }
            if socket.may_send() && !socket.may_recv() {
                socket.close();
            }
        }
    }
}
