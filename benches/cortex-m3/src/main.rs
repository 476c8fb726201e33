//! Counts the instructions of what `fixture` measures on a Cortex-M3, which QEMU's `-icount`
//! makes exact: each instruction takes 2^6 ns there, and the timer ticks every 40 ns.
//!
//! On the command line are an operation, a mode and the number of connections. Prints tenths of
//! instructions.

#![no_std]
#![no_main]

extern crate alloc;

#[path = "../../fixture/mod.rs"]
#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a benchmark that is out of bounds had better stop"
)]
mod fixture;

use core::cell::Cell;
use core::mem;
use core::panic::PanicInfo;

use cortex_m::asm;
use cortex_m::peripheral::{Peripherals, SYST, syst::SystClkSource};
use cortex_m_rt::entry;
use cortex_m_semihosting::{debug, hprintln, nr, syscall};
use embedded_alloc::LlffHeap as Heap;

use fixture::{Meter, Mode, Operation, SIZES, World};

/// The external memory of the board: room for the buffers of 512 connections.
const HEAP_START: usize = 0x2100_0000;
const HEAP_LEN: usize = 16 << 20;
/// Steps of each run, at least: a step for each connection.
const STEPS: usize = 64;
const NANOS_PER_TICK: u64 = 40;
const NANOS_PER_INSTRUCTION: u64 = 1 << 6;
const LAST_TICK: u32 = 0x00ff_ffff;

#[global_allocator]
static HEAP: Heap = Heap::empty();

/// Adds up the ticks that pass.
struct Timer {
    timer: SYST,
    ticks: u64,
}

impl Meter for Timer {
    #[inline(never)]
    fn measure<R>(&mut self, work: impl FnOnce() -> R) -> R {
        self.timer.clear_current();
        let start = SYST::get_current();
        let result = work();
        let end = SYST::get_current();
        assert!(!self.timer.has_wrapped(), "it takes less than a second");
        // It counts down.
        self.ticks += u64::from(start.wrapping_sub(end) & LAST_TICK);
        result
    }
}

#[entry]
fn main() -> ! {
    // SAFETY: the memory is there, nothing else uses it, and nothing was allocated yet.
    unsafe { HEAP.init(HEAP_START, HEAP_LEN) }

    let mut timer = Peripherals::take().expect("it is the first").SYST;
    timer.set_clock_source(SystClkSource::Core);
    timer.set_reload(LAST_TICK);
    timer.clear_current();
    timer.enable_counter();
    let mut timer = Timer { timer, ticks: 0 };

    let mut buffer = [0; 64];
    let mut words = command_line(&mut buffer).split(' ');
    let mut next = || words.next().expect("operation, mode and size are given");
    let operation = next();
    let operation = Operation::ALL
        .into_iter()
        .find(|known| known.name() == operation)
        .expect("there is such an operation");
    let mode = next();
    let mode = Mode::ALL
        .into_iter()
        .find(|known| known.name() == mode)
        .expect("there is such a mode");
    let size: usize = next().parse().expect("the size is a number");
    assert!(SIZES.contains(&size), "there is such a size");
    match size {
        1 => count::<1>(operation, mode, &mut timer),
        8 => count::<8>(operation, mode, &mut timer),
        64 => count::<64>(operation, mode, &mut timer),
        _ => count::<512>(operation, mode, &mut timer),
    }
    exit(debug::EXIT_SUCCESS)
}

fn command_line(buffer: &mut [u8; 64]) -> &str {
    // The answer changes it: hence the cells.
    let block = [buffer.as_mut_ptr() as usize, buffer.len()].map(Cell::new);
    // SAFETY: the block says where the buffer is and how long.
    let failed = unsafe { syscall(nr::GET_CMDLINE, &block) };
    assert_eq!(failed, 0, "it is short");
    let [_, len] = block.map(Cell::into_inner);
    let text = buffer.get(..len).expect("it is in the buffer");
    core::str::from_utf8(text).expect("it is text")
}

fn count<const N: usize>(operation: Operation, mode: Mode, timer: &mut Timer) {
    let steps = u32::try_from(N.max(STEPS)).expect("N is small");
    // Reading the timer twice takes a few instructions.
    for _ in 0..steps {
        timer.measure(|| ());
    }
    let nothing = mem::take(&mut timer.ticks) * u64::from(operation.calls());
    let mut world = World::<N>::new(operation, mode);
    for _ in 0..steps {
        world.step(timer);
    }
    let nanos = (timer.ticks - nothing) * NANOS_PER_TICK;
    let units = u64::from(steps * operation.units());
    hprintln!("{}", nanos * 10 / NANOS_PER_INSTRUCTION / units);
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    hprintln!("{}", info);
    exit(debug::EXIT_FAILURE)
}

/// Ends QEMU.
fn exit(status: debug::ExitStatus) -> ! {
    debug::exit(status);
    loop {
        asm::wfi();
    }
}
