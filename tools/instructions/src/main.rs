//! Counts, with callgrind, the instructions of what `fixture` measures, and prints them as a
//! table of ratios. A report: a missed budget is said to be missed, and fails nothing.
//!
//! Without arguments it makes the table for 1, 8, 64 and 512 connections, running itself under
//! valgrind for each number in it. With arguments these are the sizes wanted. After
//! `--cortex-m3 <image>` the numbers are those of the package `cortex-m3`, run by QEMU.
//! `--hours <image> <image>` runs that package's two hosts through hours, and counts what they
//! consist of.

extern crate alloc;

#[path = "../../fixture/mod.rs"]
#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a benchmark that is out of bounds had better stop"
)]
mod fixture;

mod count;
mod hours;
mod ratios;

use std::env;
use std::error::Error;
use std::process::ExitCode;

use count::Counter;
use fixture::{Meter, Mode, Operation, SIZES, World};

/// The first argument of the runs under valgrind.
const RUN: &str = "run";
const CORTEX_M3: &str = "--cortex-m3";
const HOURS: &str = "--hours";
/// What callgrind counts, and whatever it calls.
const COUNTED: &str = "*counted_by_callgrind*";
/// Steps of each run, at least: a step for each connection, so that the cost of finding a socket
/// among the others is the mean one.
const STEPS: usize = 64;

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

struct Callgrind;

impl Meter for Callgrind {
    fn measure<R>(&mut self, work: impl FnOnce() -> R) -> R {
        counted_by_callgrind(work)
    }
}

#[inline(never)]
fn counted_by_callgrind<R>(work: impl FnOnce() -> R) -> R {
    work()
}

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match words[..] {
        [RUN, operation, mode, size] => run(operation, mode, size),
        [HOURS, hours, count] => hours::report(hours, count),
        [CORTEX_M3, image, ref sizes @ ..] => table(Counter::Qemu { image }, sizes),
        ref sizes => table(Counter::Callgrind, sizes),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("cannot count instructions: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(operation: &str, mode: &str, size: &str) -> Result<()> {
    let operation = Operation::ALL
        .into_iter()
        .find(|known| known.name() == operation)
        .ok_or("no such operation")?;
    let mode = Mode::ALL
        .into_iter()
        .find(|known| known.name() == mode)
        .ok_or("no such mode")?;
    match size.parse()? {
        1 => steps::<1>(operation, mode),
        8 => steps::<8>(operation, mode),
        64 => steps::<64>(operation, mode),
        512 => steps::<512>(operation, mode),
        _ => return Err("no such size".into()),
    }
    Ok(())
}

fn steps<const N: usize>(operation: Operation, mode: Mode) {
    let mut world = World::<N>::new(operation, mode);
    for _ in 0..N.max(STEPS) {
        world.step(&mut Callgrind);
    }
}

fn table(counter: Counter<'_>, sizes: &[&str]) -> Result<()> {
    if sizes.is_empty() {
        return ratios::report(counter, &SIZES);
    }
    let sizes: std::result::Result<Vec<usize>, _> = sizes.iter().map(|size| size.parse()).collect();
    ratios::report(counter, &sizes?)
}
