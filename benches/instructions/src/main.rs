//! Counts, with callgrind, the instructions of what `fixture` measures, and prints them as a
//! table of ratios. A report: a missed budget is said to be missed, and fails nothing.
//!
//! Without arguments it makes the table for 1, 8, 64 and 512 connections, running itself under
//! valgrind for each number in it. With arguments these are the sizes wanted. After
//! `--cortex-m3 <image>` the numbers are those of the package `cortex-m3`, run by QEMU.

extern crate alloc;

#[path = "../../fixture/mod.rs"]
#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a benchmark that is out of bounds had better stop"
)]
mod fixture;

use std::collections::VecDeque;
use std::error::Error;
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::{env, fs, process, thread};

use fixture::{Meter, Mode, Operation, SIZES, World};
use tcp_keepalive::smoltcp::KeepAliveSet;
use tcp_keepalive::{Flow, KeepAlive};

/// The first argument of the runs under valgrind.
const RUN: &str = "run";
const CORTEX_M3: &str = "--cortex-m3";
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
        [CORTEX_M3, image, ref sizes @ ..] => report(Counter::Qemu { image }, sizes),
        ref sizes => report(Counter::Callgrind, sizes),
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

/// What is promised of an operation: at most so many per cent above [`Mode::Plain`].
const fn budget(operation: Operation, size: usize) -> Option<u64> {
    match (operation, size) {
        (Operation::Ack | Operation::SmallData | Operation::FullData, 8 | 64) => Some(12),
        (Operation::Idle | Operation::BulkIn | Operation::BulkOut, _) => Some(5),
        _ => None,
    }
}

/// Who counts.
#[derive(Clone, Copy)]
enum Counter<'a> {
    /// Callgrind, what this program does.
    Callgrind,
    /// QEMU, what a program for the Cortex-M3 does.
    Qemu { image: &'a str },
}

impl Counter<'_> {
    const fn name(self) -> &'static str {
        match self {
            Self::Callgrind => "this host, by callgrind",
            Self::Qemu { .. } => "Cortex-M3, by QEMU",
        }
    }

    /// Tenths of instructions for each unit of `operation`.
    fn count(self, operation: Operation, mode: Mode, size: usize) -> Result<u64> {
        match self {
            Self::Callgrind => count_by_callgrind(operation, mode, size),
            Self::Qemu { image } => count_by_qemu(image, operation, mode, size),
        }
    }
}

fn report(counter: Counter<'_>, sizes: &[&str]) -> Result<()> {
    let sizes = if sizes.is_empty() {
        SIZES.to_vec()
    } else {
        let parsed: std::result::Result<Vec<usize>, _> =
            sizes.iter().map(|size| size.parse()).collect();
        parsed?
    };
    let mut jobs = VecDeque::new();
    for &size in &sizes {
        for operation in Operation::ALL {
            for mode in Mode::ALL {
                jobs.push_back((operation, mode, size));
            }
        }
    }
    let counts = count_all(counter, jobs)?;

    println!("instructions per operation on {}", counter.name());
    println!("+% is ours over plain, x is ours over smoltcp's own");
    println!();
    println!("operation     n    plain     ours      +%  smoltcp      x  budget");
    for operation in Operation::ALL {
        for &size in &sizes {
            print_row(operation, size, &counts)?;
        }
    }
    if let Counter::Callgrind = counter {
        println!();
        println!(
            "one connection on this host: {} bytes, of which the flow {}, the machine {}, and what a \
             received segment touches {}",
            KeepAliveSet::<1>::BYTES_PER_CONNECTION,
            size_of::<Flow>(),
            size_of::<KeepAlive>(),
            KeepAliveSet::<1>::BYTES_TOUCHED_BY_SEGMENT,
        );
    }
    Ok(())
}

/// Tenths of instructions, and what they are of.
type Count = ((Operation, Mode, usize), u64);

fn count_all(counter: Counter<'_>, jobs: VecDeque<(Operation, Mode, usize)>) -> Result<Vec<Count>> {
    let jobs = Mutex::new(jobs);
    let counts = Mutex::new(Vec::new());
    let work = || -> Result<()> {
        loop {
            let Some(job) = jobs.lock().map_err(|_| "a worker panicked")?.pop_front() else {
                return Ok(());
            };
            let (operation, mode, size) = job;
            let count = counter
                .count(operation, mode, size)
                .map_err(|error| format!("{operation:?}, {mode:?}, {size}: {error}"))?;
            counts
                .lock()
                .map_err(|_| "a worker panicked")?
                .push((job, count));
        }
    };
    let workers = thread::available_parallelism()?.get();
    thread::scope(|scope| {
        let workers: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        for worker in workers {
            worker.join().map_err(|_| "a worker panicked")??;
        }
        Result::Ok(())
    })?;
    Ok(counts.into_inner()?)
}

fn count_by_qemu(image: &str, operation: Operation, mode: Mode, size: usize) -> Result<u64> {
    let output = Command::new("qemu-system-arm")
        .args(["-M", "mps2-an385", "-icount", "shift=6", "-kernel", image])
        .args(["-nographic", "-monitor", "none", "-serial", "none"])
        .arg("-semihosting-config")
        .arg(format!(
            "enable=on,target=native,arg={},arg={},arg={size}",
            operation.name(),
            mode.name()
        ))
        .output()
        .map_err(|error| format!("qemu-system-arm: {error}"))?;
    let text = String::from_utf8(output.stdout)?;
    if !output.status.success() {
        return Err(text.into());
    }
    Ok(text.trim().parse()?)
}

fn count_by_callgrind(operation: Operation, mode: Mode, size: usize) -> Result<u64> {
    let file = env::temp_dir().join(format!(
        "callgrind.{}.{}.{}.{size}",
        process::id(),
        operation.name(),
        mode.name(),
    ));
    let output = Command::new("valgrind")
        .arg("--tool=callgrind")
        .arg(format!("--toggle-collect={COUNTED}"))
        .arg(format!("--callgrind-out-file={}", file.display()))
        .arg(env::current_exe()?)
        .args([RUN, operation.name(), mode.name(), &size.to_string()])
        .output()
        .map_err(|error| format!("valgrind: {error}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into());
    }
    let profile = fs::read_to_string(&file)?;
    fs::remove_file(&file)?;
    let instructions: u64 = profile
        .lines()
        .find_map(|line| line.strip_prefix("totals: "))
        .ok_or("callgrind gave no total")?
        .parse()?;
    let units = u64::try_from(size.max(STEPS))?.saturating_mul(operation.units().into());
    if instructions < units {
        return Err("callgrind did not see the measured function".into());
    }
    Ok(div_rounded(instructions.saturating_mul(10), units))
}

fn print_row(operation: Operation, size: usize, counts: &[Count]) -> Result<()> {
    let of = |mode| -> Result<u64> {
        let wanted = (operation, mode, size);
        let found = counts.iter().find(|(job, _)| *job == wanted);
        Ok(found.ok_or("a count is missing")?.1)
    };
    let (plain, ours, smoltcp) = (of(Mode::Plain)?, of(Mode::Ours)?, of(Mode::Smoltcp)?);
    let over = i64::try_from(div_rounded(ours.saturating_mul(1000), plain))?.saturating_sub(1000);
    let against = div_rounded(ours.saturating_mul(100), smoltcp);
    let verdict = match budget(operation, size) {
        Some(budget) if over <= i64::try_from(budget.saturating_mul(10))? => {
            format!("+{budget}% ok")
        }
        Some(budget) => format!("+{budget}% MISS"),
        None => String::new(),
    };
    println!(
        "{:<10} {size:>4} {:>8} {:>8} {:>7} {:>8} {:>6}  {verdict}",
        operation.name(),
        div_rounded(plain, 10),
        div_rounded(ours, 10),
        format!(
            "{}{}.{}",
            if over < 0 { '-' } else { '+' },
            over.unsigned_abs() / 10,
            over.unsigned_abs() % 10
        ),
        div_rounded(smoltcp, 10),
        format!("{}.{:02}", against / 100, against % 100),
    );
    Ok(())
}

fn div_rounded(dividend: u64, divisor: u64) -> u64 {
    dividend
        .saturating_add(divisor / 2)
        .checked_div(divisor)
        .unwrap_or(0)
}
