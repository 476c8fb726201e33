//! Counting, by Callgrind or QEMU.

use std::collections::VecDeque;
use std::process::{self, Command};
use std::sync::Mutex;
use std::{env, fs, thread};

use crate::fixture::{Mode, Operation};
use crate::{COUNTED, RUN, Result, STEPS};

/// Who counts.
#[derive(Clone, Copy)]
pub(crate) enum Counter<'a> {
    /// Callgrind, what this program does.
    Callgrind,
    /// QEMU, what a program for the Cortex-M3 does.
    Qemu { image: &'a str },
}

impl Counter<'_> {
    pub(crate) const fn name(self) -> &'static str {
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

/// What is counted: so much of it, in that mode, with so many connections.
type Job = (Operation, Mode, usize);

/// Tenths of instructions, and what they are of.
pub(crate) struct Counts(Vec<(Job, u64)>);

impl Counts {
    pub(crate) fn of(&self, operation: Operation, mode: Mode, size: usize) -> Result<u64> {
        let wanted = (operation, mode, size);
        let found = self.0.iter().find(|(job, _)| *job == wanted);
        Ok(found.ok_or("a count is missing")?.1)
    }
}

pub(crate) fn count_all(
    counter: Counter<'_>,
    operations: &[Operation],
    modes: &[Mode],
    sizes: &[usize],
) -> Result<Counts> {
    let mut jobs = VecDeque::new();
    for &size in sizes {
        for &operation in operations {
            for &mode in modes {
                jobs.push_back((operation, mode, size));
            }
        }
    }
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
    Ok(Counts(counts.into_inner()?))
}

fn count_by_qemu(image: &str, operation: Operation, mode: Mode, size: usize) -> Result<u64> {
    let words = [operation.name(), mode.name(), &size.to_string()];
    Ok(run_in_qemu(image, &words)?.trim().parse()?)
}

/// Runs a program for the Cortex-M3, and returns what it says.
pub(crate) fn run_in_qemu(image: &str, words: &[&str]) -> Result<String> {
    let mut semihosting = "enable=on,target=native".to_owned();
    for word in words {
        semihosting.push_str(",arg=");
        semihosting.push_str(word);
    }
    let output = Command::new("qemu-system-arm")
        .args(["-M", "mps2-an385", "-icount", "shift=6", "-kernel", image])
        .args(["-nographic", "-monitor", "none", "-serial", "none"])
        .args(["-semihosting-config", &semihosting])
        .output()
        .map_err(|error| format!("qemu-system-arm: {error}"))?;
    let text = String::from_utf8(output.stdout)?;
    if !output.status.success() {
        return Err(text.into());
    }
    Ok(text)
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

pub(crate) fn div_rounded(dividend: u64, divisor: u64) -> u64 {
    dividend
        .saturating_add(divisor / 2)
        .checked_div(divisor)
        .unwrap_or(0)
}
