//! The firmware, in QEMU, against this machine's kernel.
//!
//! Each scenario has a network namespace with a TAP device, a machine with the firmware at the other
//! end of it, and a capture in between. They run side by side, in real time, and print a line for
//! each thing that was checked. `scripts/firmware` builds what this needs, and runs it with
//!
//! qemu <image that polls> <image with embassy> <image on embassy-net> <defmt-print>

#![expect(clippy::disallowed_methods, reason = "this runs in real time")]

mod cable;
mod checks;
mod client;
mod machine;
mod peer;
mod servers;
mod wire;

#[path = "../../../../../tests/kernel/capture.rs"]
#[allow(dead_code, reason = "it says more of a segment than is asked here")]
mod capture;
#[path = "../../../../../tests/kernel/lab.rs"]
#[allow(dead_code, reason = "it can do more than is needed here")]
mod lab;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;
use std::thread;
use std::time::Duration;

use crate::checks::Checks;

/// What the images are built with, as `scripts/firmware` has it.
const IDLE: Duration = Duration::from_secs(2);
const INTERVAL: Duration = Duration::from_secs(1);
const COUNT: u32 = 3;
const DETECTION: Duration = Duration::from_secs(5);

/// How late a machine with other things to do may make us: less than an interval, so that one probe
/// more or less is told. Early is what nothing may be, but for the way through the log and the capture.
const LATE: Duration = Duration::from_millis(900);
const EARLY: Duration = Duration::from_millis(100);
/// What is at once, on such a machine: less than it takes until the firmware wakes anyway.
const AT_ONCE: Duration = Duration::from_millis(500);
/// The longest that anything may take for which no time is claimed.
const PATIENCE: Duration = Duration::from_secs(10);

/// What is run.
struct Files {
    polled: PathBuf,
    embassy: PathBuf,
    embassy_net: PathBuf,
    defmt_print: PathBuf,
}

type Scenario = fn(&Files, &mut Checks);

const SCENARIOS: [(&str, Scenario); 7] = [
    ("client", |files, checks| {
        client::lives_and_is_cut_off(&files.polled, files, checks);
    }),
    ("servers", |files, checks| {
        servers::all_are_lost_at_once(&files.polled, files, checks);
    }),
    ("cable", |files, checks| {
        cable::is_out_at_first_and_pulled_later(&files.polled, files, checks);
    }),
    ("embassy", |files, checks| {
        client::lives_and_is_cut_off(&files.embassy, files, checks);
    }),
    ("embassy-net client", |files, checks| {
        client::lives_and_is_cut_off(&files.embassy_net, files, checks);
    }),
    ("embassy-net servers", |files, checks| {
        servers::all_are_lost_at_once(&files.embassy_net, files, checks);
    }),
    ("embassy-net cable", |files, checks| {
        cable::is_out_at_first_and_pulled_later(&files.embassy_net, files, checks);
    }),
];

fn main() -> ExitCode {
    let arguments: Vec<_> = env::args_os().skip(1).map(PathBuf::from).collect();
    let Ok([polled, embassy, embassy_net, defmt_print]) = <[_; 4]>::try_from(arguments) else {
        eprintln!("expected three images and defmt-print: see scripts/firmware");
        return ExitCode::FAILURE;
    };
    let files = Files {
        polled,
        embassy,
        embassy_net,
        defmt_print,
    };
    if !lab::is_ready(&["nft", "dumpcap", "tshark", "qemu-system-arm"]) {
        return ExitCode::SUCCESS;
    }
    let all_passed = thread::scope(|scope| {
        let running = SCENARIOS.map(|(name, scenario)| {
            let files = &files;
            let run = move || {
                let mut checks = Checks::new(name);
                scenario(files, &mut checks);
                checks
            };
            (name, scope.spawn(run))
        });
        let passed = running.map(|(name, scenario)| {
            if let Ok(checks) = scenario.join() {
                return checks.print();
            }
            // Why has been printed by then.
            println!("FAIL: {name}: it did not get to its end");
            false
        });
        passed.into_iter().all(|it| it)
    });
    if all_passed {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
