//! The table of ratios: plain `Interface::poll`, ours, and smoltcp's own keep-alive.

use tcp_keepalive::smoltcp::KeepAliveSet;
use tcp_keepalive::{Flow, KeepAlive};

use crate::Result;
use crate::count::{Counter, Counts, count_all, div_rounded};
use crate::fixture::{Mode, Operation};

/// What is promised of an operation: at most so many per cent above [`Mode::Plain`].
const fn budget(operation: Operation, size: usize) -> Option<u64> {
    match (operation, size) {
        (Operation::Ack | Operation::SmallData | Operation::FullData, 8 | 64) => Some(12),
        (Operation::Idle | Operation::BulkIn | Operation::BulkOut, _) => Some(5),
        _ => None,
    }
}

/// Prints all there is to count.
pub(crate) fn report(counter: Counter<'_>, sizes: &[usize]) -> Result<()> {
    let counts = count_all(counter, &Operation::ALL, &Mode::ALL, sizes)?;

    println!("instructions per operation on {}", counter.name());
    println!("+% is ours over plain, x is ours over smoltcp's own");
    println!();
    println!("operation      n    plain     ours      +%  smoltcp      x  budget");
    for operation in Operation::ALL {
        for &size in sizes {
            print_row(operation, size, &counts)?;
        }
    }
    if let Counter::Callgrind = counter {
        println!();
        println!(
            "one connection on this host: {} bytes: the flow {}, the machine {}, and what a \
             received segment touches {}",
            KeepAliveSet::<1>::BYTES_PER_CONNECTION,
            size_of::<Flow>(),
            size_of::<KeepAlive>(),
            KeepAliveSet::<1>::BYTES_TOUCHED_BY_SEGMENT,
        );
    }
    Ok(())
}

fn print_row(operation: Operation, size: usize, counts: &Counts) -> Result<()> {
    let of = |mode| counts.of(operation, mode, size);
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
        "{:<11} {size:>4} {:>8} {:>8} {:>7} {:>8} {:>6}  {verdict}",
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
