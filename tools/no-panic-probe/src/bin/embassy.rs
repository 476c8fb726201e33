//! Every entry point of the adapter for embassy-net, over a driver that the compiler knows nothing of.
//!
//! embassy's crates can panic, so this links: which calls lead to `it_panics`, and in whose code they
//! are, is then read from the image.

#![no_std]
#![no_main]

#[path = "../handler.rs"]
mod handler;

use core::future::Future;
use core::hint::black_box;
use core::net::SocketAddr;
use core::pin::pin;
use core::task::{Context, Waker};

use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState, RxToken, TxToken};
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use tcp_keepalive::Config;
use tcp_keepalive::embassy_net::{Connection, State, new};

static NONE: State<0> = State::new();
static ONE: State<1> = State::new();
static EIGHT: State<8> = State::new();
static IPV4: State<8, CriticalSectionRawMutex, 1> = State::new();

#[unsafe(no_mangle)]
extern "C" fn _start() -> ! {
    loop {
        all(&NONE);
        all(&ONE);
        all(&EIGHT);
        all(&IPV4);
    }
}

fn all<const N: usize, const W: usize>(state: &'static State<N, CriticalSectionRawMutex, W>) {
    let Ok((device, control)) = black_box(new(Unknown, state)) else {
        return;
    };
    let (mut device, control) = black_box((device, control));
    let mut cx = Context::from_waker(Waker::noop());
    let endpoint = || black_box(SocketAddr::from(([0; 4], 0)));
    let connection = black_box(Connection::new(endpoint(), endpoint()));
    let config = || black_box(Some(Config::DEFAULT));
    control.set_default(config());
    let _ = black_box(control.set_local_port(black_box(0), config()));
    let _ = black_box(control.set_remote_port(black_box(0), config()));
    let _ = black_box(control.set_remote(endpoint(), config()));
    let _ = black_box(control.set(connection, config()));
    control.clear_policies();
    let _ = black_box(pin!(control.next_event()).poll(&mut cx));
    black_box(control.try_next_event());
    black_box(control.close_reason(connection));
    black_box(control.last_heard(connection));
    black_box(control.state(connection));
    black_box(control.stats(connection));
    black_box(control.untracked());
    if let Some((rx, tx)) = device.receive(&mut cx) {
        rx.consume(|frame| {
            black_box(frame);
        });
        tx.consume(black_box(64), |frame| {
            black_box(frame);
        });
    }
    if let Some(tx) = device.transmit(&mut cx) {
        tx.consume(black_box(64), |frame| {
            black_box(frame);
        });
    }
    black_box(device.link_state(&mut cx));
    black_box(device.capabilities());
    black_box(device.hardware_address());
}

/// Any driver: the compiler knows no more than its trait.
struct Unknown;

struct Token([u8; 128]);

impl Driver for Unknown {
    type RxToken<'a> = Token;
    type TxToken<'a> = Token;

    fn receive(&mut self, cx: &mut Context<'_>) -> Option<(Token, Token)> {
        black_box(cx);
        black_box(false).then(|| (Token(black_box([0; 128])), Token([0; 128])))
    }

    fn transmit(&mut self, cx: &mut Context<'_>) -> Option<Token> {
        black_box(cx);
        black_box(false).then_some(Token([0; 128]))
    }

    fn link_state(&mut self, _: &mut Context<'_>) -> LinkState {
        black_box(LinkState::Up)
    }

    fn capabilities(&self) -> Capabilities {
        black_box(Capabilities::default())
    }

    fn hardware_address(&self) -> HardwareAddress {
        black_box(HardwareAddress::Ip)
    }
}

impl RxToken for Token {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(mut self, f: F) -> R {
        f(self.0.get_mut(..black_box(128)).unwrap_or_default())
    }
}

impl TxToken for Token {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(mut self, len: usize, f: F) -> R {
        let result = f(self.0.get_mut(..len).unwrap_or_default());
        black_box(&self.0);
        result
    }
}

struct Clock;

embassy_time_driver::time_driver_impl!(static CLOCK: Clock = Clock);

impl embassy_time_driver::Driver for Clock {
    fn now(&self) -> u64 {
        black_box(0)
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        black_box((at, waker));
    }
}

struct Alone;

critical_section::set_impl!(Alone);

// SAFETY: nothing interrupts, for nothing runs this.
unsafe impl critical_section::Impl for Alone {
    unsafe fn acquire() -> critical_section::RawRestoreState {}

    unsafe fn release(_: critical_section::RawRestoreState) {}
}
