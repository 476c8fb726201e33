//! Keep-alive in a network in simulated time.
//!
//! A scenario is a small network in which something happens: the peer's power is cut, a NAT
//! forgets, the device sleeps. The lab plays it, prints what the keep-alive does about it, and
//! checks that this is what was claimed. A sweep does the same with networks and faults drawn at
//! random, as many as there is time for.
//!
//! `cargo run --example lab -- list` tells what there is, and
//! `cargo run --example lab -- half-open --svg chart.svg --pcap capture.pcapng` draws a chart of a
//! run, and writes a capture of it that Wireshark opens.

#![expect(
    clippy::arithmetic_side_effects,
    reason = "simulated time is far from either end, and runs are short"
)]
#![expect(
    clippy::indexing_slicing,
    reason = "a node is of the world that it was added to"
)]

mod events;
mod failure;
mod options;
mod plot;
mod report;
mod scenario;
mod shard;
mod sweep;
mod trial;

use std::process::ExitCode;

use tcp_keepalive::Config;
use tcp_keepalive_sim::World;

use self::failure::Failure;
use self::options::{Command, HELP, Wanted};
use self::report::{Files, print};
use self::scenario::Scenario;
use self::trial::Plan;

fn main() -> ExitCode {
    let variable = |name: &str| std::env::var(name).ok();
    let command = Command::parse(lexopt::Parser::from_env(), variable);
    match command.and_then(execute) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            eprintln!("lab: {failure}");
            failure.exit_code()
        }
    }
}

fn execute(command: Command) -> Result<(), Failure> {
    match command {
        Command::Help => print(HELP),
        Command::List => print(&report::list()),
        Command::Play {
            scenario,
            config,
            seed,
            wanted,
        } => play(scenario, config, seed, &wanted),
        Command::Sweep(options) => sweep::run(&options),
        Command::Replay { seed, wanted } => replay(seed, &wanted),
    }
}

fn play(scenario: &Scenario, config: Config, seed: u64, wanted: &Wanted) -> Result<(), Failure> {
    let files = Files::create(wanted)?;
    let run = scenario.play(config, seed);
    print(&report::story(scenario, &run, wanted.trace))?;
    if let Some(host) = run.stage.host() {
        let title = format!("{}: {}", scenario.name, scenario.summary);
        files.write(run.stage.world.trace(), host, &title, wanted)?;
    }
    let is_as_claimed = run.is_as_claimed();
    run.result?;
    if is_as_claimed {
        Ok(())
    } else {
        let name = scenario.name;
        Err(Failure::Broken(format!("{name} is not as claimed")))
    }
}

/// How much of a trace is printed if not all of it is asked for.
const LAST_LINES: usize = 40;

/// One seed of a sweep.
fn replay(seed: u64, wanted: &Wanted) -> Result<(), Failure> {
    let plan = Plan::of(seed)?;
    let files = Files::create(wanted)?;
    let run = trial::run(&plan);
    let (world, result): (&World, _) = match &run {
        Ok((_, world)) => (world, Ok(())),
        Err(failure) => (&failure.world, Err(failure.error)),
    };
    let trace = world.trace();
    let text = if wanted.trace {
        trace.text()
    } else {
        trace.text().folded().last(LAST_LINES)
    };
    print(&format!("{plan}\n\n{text}\n"))?;
    if let Some(first) = trace
        .frames()
        .find(|sent| trace.name(sent.from) == "device")
    {
        files.write(trace, first.from, &plan.to_string(), wanted)?;
    }
    match result {
        Ok(()) => print("all that had to hold did\n"),
        Err(error) => Err(Failure::Sim(error)),
    }
}
