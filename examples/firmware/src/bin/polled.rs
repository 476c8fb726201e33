//! The firmware, with a loop of its own: it gives the host a turn, and sleeps until the network
//! device or the clock interrupts.

#![no_std]
#![no_main]

use cortex_m::{asm, interrupt as interrupts};
use cortex_m_rt::entry;
use firmware::board::interrupt::Interrupt as interrupt;
use firmware::board::{self, clock, ethernet, journal};
use firmware::host::{Buffers, Host, Sockets};
use firmware::nic::Nic;
use firmware::settings::Settings;
use smoltcp::time::Instant;
use static_cell::ConstStaticCell;

static SOCKETS: ConstStaticCell<Sockets> = ConstStaticCell::new(Sockets::new());
static BUFFERS: ConstStaticCell<Buffers> = ConstStaticCell::new(Buffers::new());

#[entry]
fn main() -> ! {
    let settings = Settings::BUILT;
    let mut nic = board::start(settings.hardware_address());
    journal::begin(&settings);

    let (sockets, buffers) = (SOCKETS.take(), BUFFERS.take());
    let seed = nic.seed();
    let mut host = Host::new(&settings, sockets, buffers, &mut nic, seed, now());
    loop {
        let now = now();
        host.turn(now, &mut nic, &mut journal::write);
        sleep_until(host.poll_at(now), &mut nic);
    }
}

/// Sleeps until then, or until the device interrupts.
fn sleep_until(at: Option<Instant>, nic: &mut impl Nic) {
    // With interrupts off, none can slip in between the last look and the sleep, which any of them
    // ends. Its handler runs afterwards.
    interrupts::free(|_| {
        let delay = at.map(|at| at.total_micros() - now().total_micros());
        let is_due = delay.is_some_and(|delay| delay <= 0);
        if nic.arm() && !is_due {
            clock::set_alarm(delay.map(i64::unsigned_abs));
            asm::wfi();
        }
    });
}

fn now() -> Instant {
    Instant::from_micros(i64::try_from(clock::now()).unwrap_or(i64::MAX))
}

#[cortex_m_rt::interrupt]
fn DUALTIMER() {
    clock::on_interrupt();
}

#[cortex_m_rt::interrupt]
fn ETHERNET() {
    ethernet::on_interrupt();
}
