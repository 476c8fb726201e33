//! The hours that Linux' default takes, on a Cortex-M3, and what each of its parts costs there.

use crate::Result;
use crate::count::{Counter, count_all, div_rounded, run_in_qemu};
use crate::fixture::{Mode, Operation};

const SIZES: [usize; 3] = [1, 8, 64];
/// What breaks in the end.
const BREAKS: [&str; 2] = ["path", "cable"];
const OPERATIONS: [Operation; 5] = [
    Operation::ProbeCycle,
    Operation::Ack,
    Operation::SmallData,
    Operation::FullData,
    Operation::Idle,
];

/// What is promised of an operation: at most so many instructions more than [`Mode::Plain`],
/// however many connections there are.
const fn budget(operation: Operation) -> Option<i64> {
    match operation {
        Operation::Ack | Operation::SmallData | Operation::FullData => Some(110),
        Operation::Idle => Some(20),
        _ => None,
    }
}

/// Runs the hours, of the image `hours`, and counts with the image `count`.
pub(crate) fn report(hours: &str, count: &str) -> Result<()> {
    for size in SIZES {
        for breaks in BREAKS {
            println!("{}", run_in_qemu(hours, &[breaks, &size.to_string()])?);
        }
    }
    let counter = Counter::Qemu { image: count };
    let counts = count_all(counter, &OPERATIONS, &[Mode::Plain, Mode::Ours], &SIZES)?;
    println!("instructions per operation on {}", counter.name());
    println!();
    println!("operation      n    plain     ours    more  budget");
    for operation in OPERATIONS {
        for size in SIZES {
            let of = |mode| -> Result<i64> {
                let tenths = counts.of(operation, mode, size)?;
                Ok(i64::try_from(div_rounded(tenths, 10))?)
            };
            let (plain, ours) = (of(Mode::Plain)?, of(Mode::Ours)?);
            let more = ours.saturating_sub(plain);
            let verdict = match budget(operation) {
                Some(budget) if more <= budget => format!("+{budget} ok"),
                Some(budget) => format!("+{budget} MISS"),
                None => String::new(),
            };
            println!(
                "{:<11} {size:>4} {plain:>8} {ours:>8} {more:>+7}  {verdict}",
                operation.name()
            );
        }
    }
    Ok(())
}
