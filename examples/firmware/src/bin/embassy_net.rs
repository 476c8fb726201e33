//! The firmware, on embassy-net.

#![no_std]
#![no_main]

use embassy_executor::Spawner;
use embassy_net::{Runner, StackResources};
use firmware::board::ethernet::{self, Ethernet};
use firmware::board::interrupt::Interrupt as interrupt;
use firmware::board::{self, journal, time_driver};
use firmware::host::SERVERS;
use firmware::net::{self, Context, Names, SOCKETS};
use firmware::settings::Settings;
use static_cell::ConstStaticCell;
use tcp_keepalive::embassy_net as keep_alive;

type Device = net::Device<Ethernet>;

static KEEP_ALIVE: net::State = net::State::new();
static NAMES: Names = Names::new();
static RESOURCES: ConstStaticCell<StackResources<SOCKETS>> =
    ConstStaticCell::new(StackResources::new());

#[embassy_executor::main]
async fn main(spawner: Spawner) {
    let settings = Settings::BUILT;
    let nic = board::start(settings.hardware_address());
    journal::begin(&settings);

    let (config, seed) = (net::config(&settings), nic.seed());
    let (device, control) = keep_alive::new(nic, &KEEP_ALIVE).expect("it is an Ethernet");
    control.set_default(Some(settings.keep_alive));
    let (stack, runner) = embassy_net::new(device, config, RESOURCES.take(), seed);

    let context = Context {
        stack,
        keep_alive: control,
        names: &NAMES,
        report: journal::write,
    };
    spawner.spawn(network(runner).expect("it is spawned once"));
    spawner.spawn(link(context).expect("it is spawned once"));
    spawner.spawn(connections(context).expect("it is spawned once"));
    spawner.spawn(client(context, settings).expect("it is spawned once"));
    for number in (1..).take(SERVERS) {
        let server = server(context, number, settings.port);
        spawner.spawn(server.expect("the pool has a place for each"));
    }
}

#[embassy_executor::task]
async fn network(mut runner: Runner<'static, Device>) -> ! {
    runner.run().await
}

#[embassy_executor::task]
async fn link(context: Context) -> ! {
    context.watch_link().await
}

#[embassy_executor::task]
async fn connections(context: Context) -> ! {
    context.watch_connections().await
}

#[embassy_executor::task]
async fn client(context: Context, settings: Settings) -> ! {
    context.run_client(settings).await
}

#[embassy_executor::task(pool_size = SERVERS)]
async fn server(context: Context, number: u8, port: u16) -> ! {
    context.run_server(number, port).await
}

#[cortex_m_rt::interrupt]
fn DUALTIMER() {
    time_driver::on_interrupt();
}

#[cortex_m_rt::interrupt]
fn ETHERNET() {
    ethernet::on_interrupt();
}
