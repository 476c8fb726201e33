//! The application on a device that is nothing but registers: what is there, only they know.

#![no_std]
#![no_main]

#[path = "../app.rs"]
mod app;
#[path = "../halt.rs"]
mod halt;
#[path = "../keeper.rs"]
mod keeper;

use core::ptr;

use cortex_m_rt::entry;
use smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use smoltcp::time::Instant;

use app::{App, Memory};

const MAX_FRAME: usize = 1514;
const MILLIS: *const u32 = 0x4000_0000 as *const u32;
const ALARM: *mut u32 = 0x4000_0004 as *mut u32;
const RECEIVED: *const u32 = 0x4000_0008 as *const u32;
const ROOM: *const u32 = 0x4000_000c as *const u32;
const SEND: *mut u32 = 0x4000_0010 as *mut u32;
const RX_FRAME: *const [u8; MAX_FRAME] = 0x4001_0000 as *const [u8; MAX_FRAME];
const TX_FRAME: *mut [u8; MAX_FRAME] = 0x4002_0000 as *mut [u8; MAX_FRAME];

#[entry]
fn main() -> ! {
    let mut device = Registers;
    let mut memory = Memory::new();
    let mut app = App::new(&mut memory, &mut device, clock());
    loop {
        let now = clock();
        app.poll(now, &mut device);
        app.serve();
        let millis = match app.poll_delay(now) {
            Some(delay) => u32::try_from(delay.total_millis()).unwrap_or(u32::MAX),
            None => u32::MAX,
        };
        // SAFETY: a register.
        unsafe { ALARM.write_volatile(millis) }
        cortex_m::asm::wfi();
    }
}

fn clock() -> Instant {
    // SAFETY: a register.
    Instant::from_millis(unsafe { MILLIS.read_volatile() })
}

struct Registers;
struct Received(usize);
struct Room;

impl Device for Registers {
    type RxToken<'a> = Received;
    type TxToken<'a> = Room;

    fn receive(&mut self, _: Instant) -> Option<(Received, Room)> {
        // SAFETY: a register.
        let len = unsafe { RECEIVED.read_volatile() } as usize;
        (len > 0).then(|| (Received(len.min(MAX_FRAME)), Room))
    }

    fn transmit(&mut self, _: Instant) -> Option<Room> {
        // SAFETY: a register.
        let has_room = unsafe { ROOM.read_volatile() } != 0;
        has_room.then_some(Room)
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = MAX_FRAME;
        capabilities
    }
}

impl RxToken for Received {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        // SAFETY: the memory of a device that does not touch it meanwhile.
        let frame = unsafe { &*ptr::slice_from_raw_parts(RX_FRAME.cast(), self.0) };
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
