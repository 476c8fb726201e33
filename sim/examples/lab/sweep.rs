//! Many seeds.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs::File;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc::{self, Sender};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use tcp_keepalive::Cause;
use tcp_keepalive_sim::{Invariant, SimError, Violation};

use crate::failure::Failure as Ending;
use crate::options::SweepOptions;
use crate::plot;
use crate::report::note_written;
use crate::report::print;
use crate::trial::{self, Delay, Failure, Outcome, Plan, Weather};

/// How many failures are printed in full.
const SHOWN: usize = 50;

/// What came of one seed.
type Answer = (u64, Result<(Weather, Outcome), String>, Kind);

/// What kind of end a seed came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    Good,
    FalseVerdict,
    MissedVerdict,
    Broken,
}

/// What came of all of them.
#[derive(Debug, Default)]
struct Summary {
    seeds: u64,
    by_weather: BTreeMap<&'static str, u64>,
    connection_micros: u128,
    probes: u64,
    probes_checked: u64,
    frames: u64,
    network_verdicts: u64,
    false_verdicts: u64,
    missed_verdicts: u64,
    delays: Vec<Delay>,
    failures: BTreeMap<u64, String>,
}

/// Runs all seeds of this shard, and prints what came of them.
pub(crate) fn run(options: &SweepOptions) -> Result<(), Ending> {
    // A file that cannot be written is found out before an hour's work, not after.
    let plot = options
        .plot
        .as_ref()
        .map(|path| File::create(path).map(|file| (path, file)));
    let plot = plot
        .transpose()
        .map_err(|error| unwritable(options, error))?;
    let seeds = own_seeds(options);
    let bar = progress_bar(u64::try_from(seeds.len()).unwrap_or(u64::MAX));
    #[expect(
        clippy::disallowed_methods,
        reason = "how fast this machine is, for people"
    )]
    let began = Instant::now();
    let summary = sweep(&seeds, options.jobs.get(), &bar);
    let took = began.elapsed();
    bar.finish_and_clear();
    print(&summary.text(took))?;
    if let Some((path, file)) = plot {
        plot::delay_against_loss(file, &summary.delays)
            .map_err(|error| unwritable(options, error))?;
        note_written(path);
    }
    if summary.failures.is_empty() {
        Ok(())
    } else {
        let count = summary.failures.len();
        Err(Ending::Broken(format!(
            "{count} of {} seeds broke something",
            summary.seeds
        )))
    }
}

fn unwritable(options: &SweepOptions, error: std::io::Error) -> Ending {
    let path = options.plot.clone().unwrap_or_default();
    Ending::Write { path, error }
}

/// The seeds of this shard: every so many-th.
fn own_seeds(options: &SweepOptions) -> Vec<u64> {
    let (index, of) = options.shard;
    let step = usize::try_from(of).unwrap_or(usize::MAX).max(1);
    let first = options.seeds.start.saturating_add(index);
    (first..options.seeds.end).step_by(step).collect()
}

/// One thread takes the results, the others take seeds. Which thread has which seed is chance, and
/// nothing depends on it.
fn sweep(seeds: &[u64], jobs: usize, bar: &ProgressBar) -> Summary {
    let next = AtomicUsize::new(0);
    let (sender, receiver) = mpsc::channel();
    let mut summary = Summary::default();
    thread::scope(|scope| {
        for _ in 0..jobs {
            let (sender, next) = (sender.clone(), &next);
            scope.spawn(move || work(seeds, next, &sender));
        }
        drop(sender);
        for answer in receiver {
            summary.add(answer);
            bar.inc(1);
        }
    });
    summary
        .delays
        .sort_by_key(|delay| (delay.loss_percent, delay.after_death));
    summary
}

fn work(seeds: &[u64], next: &AtomicUsize, answers: &Sender<Answer>) {
    while let Some(seed) = seeds.get(next.fetch_add(1, Ordering::Relaxed)) {
        // The receiver is gone only if everything is over.
        if answers.send(answer(*seed)).is_err() {
            return;
        }
    }
}

fn answer(seed: u64) -> Answer {
    let failed = |error: SimError, plan: &dyn std::fmt::Display| {
        let text = format!("{plan}\n  {error}\n  replay: {}", replay(seed));
        (seed, Err(text), kind(&error))
    };
    match Plan::of(seed) {
        Err(error) => failed(error, &format!("seed {seed}")),
        Ok(plan) => match trial::run(&plan) {
            Ok((outcome, _)) => (seed, Ok((plan.weather, outcome)), Kind::Good),
            Err(failure) => {
                let Failure { plan, error, .. } = *failure;
                failed(error, &plan)
            }
        },
    }
}

/// The one command that shows what happened in a seed.
fn replay(seed: u64) -> String {
    format!("cargo run --release --example lab -- sweep --seed {seed}")
}

fn kind(error: &SimError) -> Kind {
    match error {
        SimError::Broken(Violation { invariant, .. }) => match invariant {
            Invariant::LivePeerGivenUp => Kind::FalseVerdict,
            Invariant::DeadPeerKept { .. } => Kind::MissedVerdict,
            _ => Kind::Broken,
        },
        _ => Kind::Broken,
    }
}

fn progress_bar(total: u64) -> ProgressBar {
    let bar = ProgressBar::new(total);
    let template = "{bar:40} {pos}/{len} seeds, {per_sec}, {eta} left";
    if let Ok(style) = ProgressStyle::with_template(template) {
        bar.set_style(style);
    }
    bar
}

impl Summary {
    fn add(&mut self, (seed, answer, kind): Answer) {
        self.seeds += 1;
        match kind {
            Kind::FalseVerdict => self.false_verdicts += 1,
            Kind::MissedVerdict => self.missed_verdicts += 1,
            Kind::Good | Kind::Broken => {}
        }
        let (weather, outcome) = match answer {
            Ok(good) => good,
            Err(text) => {
                self.failures.insert(seed, text);
                return;
            }
        };
        *self.by_weather.entry(weather.name()).or_default() += 1;
        self.connection_micros += u128::from(outcome.connection_micros);
        self.probes += outcome.probes;
        self.probes_checked += outcome.probes_checked;
        self.frames += outcome.frames;
        self.network_verdicts += outcome.network_verdicts;
        self.delays.extend(outcome.delays);
    }

    fn text(&self, took: Duration) -> String {
        let mut text = String::new();
        let hours =
            Duration::from_micros(u64::try_from(self.connection_micros).unwrap_or(u64::MAX))
                .as_secs_f64()
                / 3600.0;
        let per_hour = |count: u64| {
            let count = f64::from(u32::try_from(count).unwrap_or(u32::MAX));
            if hours > 0.0 { count / hours } else { 0.0 }
        };
        let weathers: Vec<String> = self
            .by_weather
            .iter()
            .map(|(name, count)| format!("{count} {name}"))
            .collect();
        let failures = self.failures.len();
        let lines = [
            ("seeds", format!("{} ({})", self.seeds, weathers.join(", "))),
            ("broken invariants", failures.to_string()),
            ("false verdicts", self.false_verdicts.to_string()),
            ("missed verdicts", self.missed_verdicts.to_string()),
            (
                "network was down",
                format!(
                    "{} given up while their network was down for longer than the detection time",
                    self.network_verdicts
                ),
            ),
            ("dead peers found", self.delays.len().to_string()),
            (
                "  quiet, after",
                self.distribution(Cause::KeepAlive, "idle + count * interval"),
            ),
            (
                "  busy, after",
                self.distribution(Cause::UserTimeout, "the bound that the rules give"),
            ),
            (
                "simulated",
                format!("{hours:.0} connection hours, {} frames", self.frames),
            ),
            (
                "probes",
                format!(
                    "{} of the clients ({:.2} per connection and hour)",
                    self.probes,
                    per_hour(self.probes)
                ),
            ),
            (
                "  checked",
                format!(
                    "{} of both ends, against the other's account",
                    self.probes_checked
                ),
            ),
            (
                "speed",
                format!(
                    "{:.0} connection hours per second",
                    hours / took.as_secs_f64().max(1e-9)
                ),
            ),
        ];
        for (name, value) in lines {
            let _ = writeln!(text, "{name:19} {value}");
        }
        for failure in self.failures.values().take(SHOWN) {
            let _ = writeln!(text, "\nFAILED {failure}");
        }
        if failures > SHOWN {
            let _ = writeln!(text, "\nand {} more", failures - SHOWN);
        }
        text
    }

    /// How long verdicts took after the death, in parts of what they are to take.
    fn distribution(&self, cause: Cause, limit: &str) -> String {
        let delays = self.delays.iter().filter(|delay| delay.cause == cause);
        let mut parts: Vec<f64> = delays.map(Delay::part).collect();
        parts.sort_by(f64::total_cmp);
        let at = |percent: usize| {
            let index = (parts.len().saturating_sub(1)) * percent / 100;
            parts.get(index).map_or(0.0, |part| part * 100.0)
        };
        format!(
            "{:.1} % of {limit} at least, {:.1} median, {:.1} for 90 of 100, {:.1} for 99, \
             {:.1} at most",
            at(0),
            at(50),
            at(90),
            at(99),
            at(100)
        )
    }
}
