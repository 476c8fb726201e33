//! The firmware, as a task of embassy's executor.

#![no_std]
#![no_main]

use embassy_executor::Spawner;
use firmware::board::ethernet::{self, Ethernet};
use firmware::board::interrupt::Interrupt as interrupt;
use firmware::board::{self, journal, time_driver};
use firmware::host::{Buffers, Host, Sockets};
use firmware::settings::Settings;
use firmware::task::{self, Interrupted};
use static_cell::ConstStaticCell;

static SOCKETS: ConstStaticCell<Sockets> = ConstStaticCell::new(Sockets::new());
static BUFFERS: ConstStaticCell<Buffers> = ConstStaticCell::new(Buffers::new());
static INTERRUPTED: Interrupted = Interrupted::new();

#[embassy_executor::main]
async fn main(spawner: Spawner) {
    let settings = Settings::BUILT;
    let nic = board::start(settings.hardware_address());
    journal::begin(&settings);
    spawner.spawn(network(settings, nic).expect("it is spawned once"));
}

#[embassy_executor::task]
async fn network(settings: Settings, mut nic: Ethernet) -> ! {
    let (sockets, buffers) = (SOCKETS.take(), BUFFERS.take());
    let (seed, now) = (nic.seed(), task::now());
    let mut host = Host::new(&settings, sockets, buffers, &mut nic, seed, now);
    task::run(&mut host, &mut nic, &INTERRUPTED, journal::write).await
}

#[cortex_m_rt::interrupt]
fn DUALTIMER() {
    time_driver::on_interrupt();
}

#[cortex_m_rt::interrupt]
fn ETHERNET() {
    ethernet::on_interrupt();
    INTERRUPTED.signal(());
}
