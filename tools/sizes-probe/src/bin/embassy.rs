//! An echo server on embassy-net, with and without the adapter around its driver. The device is nothing
//! but registers: what is there, only they know.

#![no_std]
#![no_main]

#[path = "../halt.rs"]
mod halt;

use core::cell::RefCell;
use core::ptr;
use core::task::{Context, Waker};

use critical_section::Mutex;
use embassy_executor::Spawner;
use embassy_net::tcp::TcpSocket;
use embassy_net::{Config, Ipv4Address, Ipv4Cidr, Runner, Stack, StackResources, StaticConfigV4};
use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState, RxToken, TxToken};
use embassy_sync::waitqueue::AtomicWaker;
use embassy_time_queue_utils::Queue;

const CONNECTIONS: usize = 4;
const PORT: u16 = 7;
const BUFFER: usize = 2048;
const MAX_FRAME: usize = 1514;
const MICROS: *const u32 = 0x4000_0000 as *const u32;
const ALARM: *mut u32 = 0x4000_0004 as *mut u32;
const RECEIVED: *const u32 = 0x4000_0008 as *const u32;
const ROOM: *const u32 = 0x4000_000c as *const u32;
const SEND: *mut u32 = 0x4000_0010 as *mut u32;
const RX_FRAME: *mut [u8; MAX_FRAME] = 0x4001_0000 as *mut [u8; MAX_FRAME];
const TX_FRAME: *mut [u8; MAX_FRAME] = 0x4002_0000 as *mut [u8; MAX_FRAME];

#[cfg(not(feature = "embassy-net-ours"))]
use plain::{Device, wrap};

#[cfg(feature = "embassy-net-ours")]
use ours::{Device, wrap};

#[cfg(not(feature = "embassy-net-ours"))]
mod plain {
    pub(crate) type Device = super::Registers;

    pub(crate) fn wrap(device: super::Registers) -> Device {
        device
    }
}

#[cfg(feature = "embassy-net-ours")]
mod ours {
    use core::time::Duration;

    use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
    use tcp_keepalive::Config;
    use tcp_keepalive::embassy_net::{self as keep_alive, State};

    const N: usize = super::CONNECTIONS;
    /// The words of an address.
    const W: usize = if cfg!(feature = "embassy-net-ours-ipv6") {
        4
    } else {
        1
    };

    pub(crate) type Device =
        keep_alive::Device<'static, super::Registers, N, CriticalSectionRawMutex, W>;

    static STATE: State<N, CriticalSectionRawMutex, W> = State::new();

    pub(crate) fn wrap(device: super::Registers) -> Device {
        let Ok((device, control)) = keep_alive::new(device, &STATE) else {
            panic!("it is an Ethernet");
        };
        control.set_default(Config::detect_within(Duration::from_secs(60)).ok());
        device
    }
}

#[embassy_executor::main]
async fn main(spawner: Spawner) {
    static mut RESOURCES: StackResources<CONNECTIONS> = StackResources::new();
    let config = Config::ipv4_static(StaticConfigV4 {
        address: Ipv4Cidr::new(Ipv4Address::new(192, 0, 2, 1), 24),
        gateway: None,
        dns_servers: Default::default(),
    });
    // SAFETY: `main` runs once.
    let resources = unsafe { &mut *(&raw mut RESOURCES) };
    let (stack, runner) = embassy_net::new(wrap(Registers), config, resources, 1);
    if let Ok(task) = network(runner) {
        spawner.spawn(task);
    }
    for _ in 0..CONNECTIONS {
        if let Ok(task) = serve(stack) {
            spawner.spawn(task);
        }
    }
}

#[embassy_executor::task]
async fn network(mut runner: Runner<'static, Device>) -> ! {
    runner.run().await
}

#[embassy_executor::task(pool_size = CONNECTIONS)]
async fn serve(stack: Stack<'static>) -> ! {
    let (mut rx, mut tx) = ([0; BUFFER], [0; BUFFER]);
    let mut octets = [0; 64];
    loop {
        let mut socket = TcpSocket::new(stack, &mut rx, &mut tx);
        if socket.accept(PORT).await.is_ok() {
            while let Ok(len @ 1..) = socket.read(&mut octets).await {
                if socket.write(&octets[..len]).await.is_err() {
                    break;
                }
            }
        }
        socket.close();
        let _ = socket.flush().await;
    }
}

static RUNNER: AtomicWaker = AtomicWaker::new();

struct Timers(Mutex<RefCell<Queue>>);

embassy_time_driver::time_driver_impl!(
    static TIMERS: Timers = Timers(Mutex::new(RefCell::new(Queue::new())))
);

impl embassy_time_driver::Driver for Timers {
    fn now(&self) -> u64 {
        // SAFETY: a register.
        u64::from(unsafe { MICROS.read_volatile() })
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        critical_section::with(|cs| {
            let mut queue = self.0.borrow_ref_mut(cs);
            if queue.schedule_wake(at, waker) {
                set_alarm(&mut queue);
            }
        });
    }
}

fn set_alarm(queue: &mut Queue) {
    let next = queue.next_expiration(embassy_time_driver::now());
    // SAFETY: a register.
    unsafe { ALARM.write_volatile(u32::try_from(next).unwrap_or(u32::MAX)) }
}

/// The one interrupt: of the clock and of the device.
#[cortex_m_rt::exception]
fn SysTick() {
    critical_section::with(|cs| set_alarm(&mut TIMERS.0.borrow_ref_mut(cs)));
    RUNNER.wake();
}

struct Registers;
struct Received(usize);
struct Room;

impl Driver for Registers {
    type RxToken<'a> = Received;
    type TxToken<'a> = Room;

    fn receive(&mut self, cx: &mut Context<'_>) -> Option<(Received, Room)> {
        RUNNER.register(cx.waker());
        // SAFETY: a register.
        let len = unsafe { RECEIVED.read_volatile() } as usize;
        (len > 0).then(|| (Received(len.min(MAX_FRAME)), Room))
    }

    fn transmit(&mut self, cx: &mut Context<'_>) -> Option<Room> {
        RUNNER.register(cx.waker());
        // SAFETY: a register.
        let has_room = unsafe { ROOM.read_volatile() } != 0;
        has_room.then_some(Room)
    }

    fn link_state(&mut self, _: &mut Context<'_>) -> LinkState {
        LinkState::Up
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.max_transmission_unit = MAX_FRAME;
        capabilities
    }

    fn hardware_address(&self) -> HardwareAddress {
        HardwareAddress::Ethernet([2, 0, 0, 0, 0, 1])
    }
}

impl RxToken for Received {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, f: F) -> R {
        // SAFETY: the memory of a device that does not touch it meanwhile.
        let frame = unsafe { &mut *ptr::slice_from_raw_parts_mut(RX_FRAME.cast(), self.0) };
        f(frame)
    }
}

impl TxToken for Room {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let len = len.min(MAX_FRAME);
        // SAFETY: the memory of a device that does not touch it meanwhile.
        let frame = unsafe { &mut *ptr::slice_from_raw_parts_mut(TX_FRAME.cast(), len) };
        let result = f(frame);
        // SAFETY: a register.
        unsafe { SEND.write_volatile(1) }
        result
    }
}
