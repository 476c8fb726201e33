//! Every entry point of the adapter, over a device that the compiler knows nothing of.
//!
//! smoltcp can panic, so this links: which calls lead to `it_panics`, and in whose code they are,
//! is then read from the image.

#![no_std]
#![no_main]

#[path = "../handler.rs"]
mod handler;

use core::hint::black_box;

use smoltcp::iface::{
    Config as InterfaceConfig, Interface, SocketHandle, SocketSet, SocketStorage,
};
use smoltcp::phy::{Device, DeviceCapabilities, Medium, PacketMeta, RxToken, TxToken};
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress};
use tcp_keepalive::Config;
use tcp_keepalive::smoltcp::KeepAliveSet;

#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    loop {
        all::<0>();
        all::<1>();
        all::<8>();
    }
}

fn now() -> Instant {
    Instant::from_micros(black_box(0_i64))
}

fn all<const N: usize>() {
    let mut device = Unknown;
    let address = HardwareAddress::Ethernet(EthernetAddress([2, 0, 0, 0, 0, 1]));
    let mut iface = Interface::new(InterfaceConfig::new(address), &mut device, now());
    let mut storage = [const { SocketStorage::EMPTY }; 4];
    let mut sockets = SocketSet::new(&mut storage[..]);
    let mut rx = [0; 64];
    let mut tx = [0; 64];
    let handle = sockets.add(tcp::Socket::new(
        tcp::SocketBuffer::new(&mut rx[..]),
        tcp::SocketBuffer::new(&mut tx[..]),
    ));

    let mut set = KeepAliveSet::<N>::new();
    // Whatever state it is in.
    let set = black_box(&mut set);
    let sockets = black_box(&mut sockets);
    let iface = black_box(&mut iface);
    let handle: SocketHandle = black_box(handle);
    let config: Config = black_box(Config::DEFAULT);
    let _ = black_box(set.enable(handle, config));
    black_box(black_box(&mut *set).poll(now(), iface, &mut device, sockets));
    black_box(iface.poll(now(), &mut black_box(&mut *set).wrap(&mut device), sockets));
    black_box(black_box(&mut *set).poll_at(now(), iface, sockets));
    black_box(black_box(&mut *set).poll_delay(now(), iface, sockets));
    black_box(black_box(&mut *set).poll_event());
    black_box(set.state(handle));
    black_box(set.config(handle));
    black_box(set.stats(handle));
    black_box(set.last_heard(handle));
    black_box(set.close_reason(handle));
    black_box(set.is_enabled(handle));
    black_box((set.len(), set.is_empty(), set.capacity()));
    for enabled in set.iter() {
        black_box(enabled);
    }
    black_box(&mut *set).disable(handle);
    black_box(set);
}

/// Any device: the compiler knows no more than its trait.
struct Unknown;

struct Token([u8; 128]);

impl Device for Unknown {
    type RxToken<'a> = Token;
    type TxToken<'a> = Token;

    fn receive(&mut self, _: Instant) -> Option<(Token, Token)> {
        black_box(false).then(|| (Token(black_box([0; 128])), Token([0; 128])))
    }

    fn transmit(&mut self, _: Instant) -> Option<Token> {
        black_box(false).then_some(Token([0; 128]))
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = black_box(Medium::Ethernet);
        capabilities.max_transmission_unit = black_box(1514);
        capabilities
    }
}

impl RxToken for Token {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        let Self(buffer) = self;
        f(buffer.get(..black_box(128)).unwrap_or_default())
    }

    fn meta(&self) -> PacketMeta {
        PacketMeta::default()
    }
}

impl TxToken for Token {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(mut self, len: usize, f: F) -> R {
        let result = f(self.0.get_mut(..len).unwrap_or_default());
        black_box(&self.0);
        result
    }
}
