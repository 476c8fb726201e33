//! QEMU's mps2-an385, as its programs here need it: a heap, a timer that counts instructions, and a
//! way to hear and to speak.

#![no_std]

use core::cell::Cell;
use core::panic::PanicInfo;

use cortex_m::asm;
use cortex_m::peripheral::{Peripherals, SYST, syst::SystClkSource};
use cortex_m_semihosting::{debug, hprintln, nr, syscall};
use embedded_alloc::LlffHeap as Heap;

/// The external memory of the board: room for the buffers of 512 connections.
const HEAP_START: usize = 0x2100_0000;
const HEAP_LEN: usize = 16 << 20;
const NANOS_PER_TICK: u64 = 40;
/// `-icount shift=6`
const NANOS_PER_INSTRUCTION: u64 = 1 << 6;
const LAST_TICK: u32 = 0x00ff_ffff;
/// How often nothing is measured, to know what measuring takes.
const CALIBRATIONS: u64 = 64;

#[global_allocator]
static HEAP: Heap = Heap::empty();

/// Adds up the instructions of what is measured. QEMU's `-icount` makes that exact: each takes
/// 2^6 ns there, and the timer ticks every 40 ns.
pub struct Timer {
    timer: SYST,
    ticks: u64,
    calls: u64,
    /// Of [`CALIBRATIONS`] measurements of nothing.
    nothing: u64,
}

impl Timer {
    /// The first thing to call: it makes the heap, too.
    pub fn new() -> Self {
        let mut timer = Peripherals::take().expect("it is the first").SYST;
        // SAFETY: the memory is there, nothing else uses it, and nothing was allocated yet: the
        // peripherals can be taken only once.
        unsafe { HEAP.init(HEAP_START, HEAP_LEN) }
        timer.set_clock_source(SystClkSource::Core);
        timer.set_reload(LAST_TICK);
        timer.clear_current();
        timer.enable_counter();
        let mut timer = Self {
            timer,
            ticks: 0,
            calls: 0,
            nothing: 0,
        };
        for _ in 0..CALIBRATIONS {
            timer.measure(|| ());
        }
        timer.nothing = timer.ticks;
        timer.ticks = 0;
        timer.calls = 0;
        timer
    }

    #[inline(never)]
    pub fn measure<R>(&mut self, work: impl FnOnce() -> R) -> R {
        self.timer.clear_current();
        let start = SYST::get_current();
        let result = work();
        let end = SYST::get_current();
        assert!(!self.timer.has_wrapped(), "it takes less than a second");
        // It counts down.
        self.ticks += u64::from(start.wrapping_sub(end) & LAST_TICK);
        self.calls += 1;
        result
    }

    /// What was measured since this was last asked, in tenths of instructions.
    pub fn take_tenths(&mut self) -> u64 {
        let nothing = self.nothing * self.calls / CALIBRATIONS;
        let ticks = self.ticks.saturating_sub(nothing);
        self.ticks = 0;
        self.calls = 0;
        ticks * NANOS_PER_TICK * 10 / NANOS_PER_INSTRUCTION
    }
}

impl Default for Timer {
    fn default() -> Self {
        Self::new()
    }
}

pub fn command_line(buffer: &mut [u8; 64]) -> &str {
    // The answer changes it: hence the cells.
    let block = [buffer.as_mut_ptr() as usize, buffer.len()].map(Cell::new);
    // SAFETY: the block says where the buffer is and how long.
    let failed = unsafe { syscall(nr::GET_CMDLINE, &block) };
    assert_eq!(failed, 0, "it is short");
    let [_, len] = block.map(Cell::into_inner);
    let text = buffer.get(..len).expect("it is in the buffer");
    core::str::from_utf8(text).expect("it is text")
}

#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    hprintln!("{}", info);
    exit(debug::EXIT_FAILURE)
}

/// Ends QEMU.
pub fn exit(status: debug::ExitStatus) -> ! {
    debug::exit(status);
    loop {
        asm::wfi();
    }
}
