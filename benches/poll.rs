//! How long what `fixture` measures takes: plain `Interface::poll`, ours, and smoltcp's own
//! keep-alive, at 1, 8, 64 and 512 connections. `cargo bench`, or one operation by name:
//! `cargo bench --bench poll -- idle-poll`.
//!
//! Times are for a feeling, on the machine at hand and with every feature of smoltcp that the
//! tests turn on. The budgets are in instructions: see `scripts/instructions`.

extern crate alloc;

#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "a benchmark that is out of bounds had better stop"
)]
#[path = "../tools/fixture/mod.rs"]
mod fixture;

use std::time::{Duration, Instant};

use criterion::{Bencher, BenchmarkId, Criterion, criterion_group, criterion_main};
use tcp_keepalive::smoltcp::KeepAliveSet;
use tcp_keepalive::{Flow, KeepAlive};

use self::fixture::{Meter, Mode, Operation, SIZES, World};

/// Adds up the time that is measured.
#[derive(Default)]
struct Stopwatch {
    elapsed: Duration,
}

impl Meter for Stopwatch {
    #[expect(
        clippy::disallowed_methods,
        reason = "the time that passes is what is asked for"
    )]
    fn measure<R>(&mut self, work: impl FnOnce() -> R) -> R {
        let start = Instant::now();
        let result = work();
        self.elapsed = self.elapsed.saturating_add(start.elapsed());
        result
    }
}

fn run<const N: usize>(bencher: &mut Bencher<'_>, operation: Operation, mode: Mode) {
    let mut world = World::<N>::new(operation, mode);
    bencher.iter_custom(|steps| {
        let mut stopwatch = Stopwatch::default();
        for _ in 0..steps {
            world.step(&mut stopwatch);
        }
        stopwatch
            .elapsed
            .checked_div(operation.units())
            .unwrap_or_default()
    });
}

fn operations(criterion: &mut Criterion) {
    for operation in Operation::ALL {
        let mut group = criterion.benchmark_group(operation.name());
        for size in SIZES {
            for mode in Mode::ALL {
                let id = BenchmarkId::new(mode.name(), size);
                group.bench_function(id, |bencher| match size {
                    1 => run::<1>(bencher, operation, mode),
                    8 => run::<8>(bencher, operation, mode),
                    64 => run::<64>(bencher, operation, mode),
                    _ => run::<512>(bencher, operation, mode),
                });
            }
        }
        group.finish();
    }
}

/// Not a time, but this is where one looks for it. The numbers that have a budget are those of
/// a 32-bit target: see `scripts/sizes`.
fn sizes(_: &mut Criterion) {
    println!(
        "one connection on this host: {} bytes: the flow {}, the machine {}, and what a \
         received segment touches {}",
        KeepAliveSet::<1>::BYTES_PER_CONNECTION,
        size_of::<Flow>(),
        size_of::<KeepAlive>(),
        KeepAliveSet::<1>::BYTES_TOUCHED_BY_SEGMENT,
    );
}

criterion_group! {
    name = benches;
    config = Criterion::default()
        .sample_size(20)
        .warm_up_time(Duration::from_millis(200))
        .measurement_time(Duration::from_millis(500));
    targets = sizes, operations
}
criterion_main!(benches);
