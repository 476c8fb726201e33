//! Counts the instructions of what `fixture` measures on a Cortex-M3.
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

use board::Timer;
use cortex_m_rt::entry;
use cortex_m_semihosting::{debug, hprintln};

use fixture::{Meter, Mode, Operation, SIZES, World};

/// Steps of each run, at least: a step for each connection.
const STEPS: usize = 64;

impl Meter for Timer {
    #[inline]
    fn measure<R>(&mut self, work: impl FnOnce() -> R) -> R {
        Timer::measure(self, work)
    }
}

#[entry]
fn main() -> ! {
    let mut timer = Timer::new();
    let mut buffer = [0; 64];
    let mut words = board::command_line(&mut buffer).split(' ');
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
    board::exit(debug::EXIT_SUCCESS)
}

fn count<const N: usize>(operation: Operation, mode: Mode, timer: &mut Timer) {
    let steps = u32::try_from(N.max(STEPS)).expect("N is small");
    let mut world = World::<N>::new(operation, mode);
    for _ in 0..steps {
        world.step(timer);
    }
    let units = u64::from(steps * operation.units());
    hprintln!("{}", timer.take_tenths() / units);
}
