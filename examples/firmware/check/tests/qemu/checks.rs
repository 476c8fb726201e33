//! What was checked, and how it went.

use std::fmt::Write;

/// The lines of one scenario.
pub(crate) struct Checks {
    scenario: &'static str,
    lines: String,
    /// The log of the machine, for those who have to find out.
    log: String,
    all_passed: bool,
}

/// A check that failed, after which there is no point in going on. It has been noted.
pub(crate) struct Stop;

impl Checks {
    pub(crate) fn new(scenario: &'static str) -> Self {
        Self {
            scenario,
            lines: String::new(),
            log: String::new(),
            all_passed: true,
        }
    }

    /// Notes whether `claim` holds, and goes on if it does.
    pub(crate) fn require<T>(&mut self, claim: &str, result: Result<T, String>) -> Result<T, Stop> {
        let scenario = self.scenario;
        match result {
            Ok(value) => {
                let _ = writeln!(self.lines, "pass: {scenario}: {claim}");
                Ok(value)
            }
            Err(reason) => {
                let _ = writeln!(self.lines, "FAIL: {scenario}: {claim}: {reason}");
                self.all_passed = false;
                Err(Stop)
            }
        }
    }

    /// What to print besides, should anything have failed.
    pub(crate) fn add_log(&mut self, log: String) {
        self.log = log;
    }

    /// Whether everything passed.
    pub(crate) fn print(&self) -> bool {
        print!("{}", self.lines);
        if !self.all_passed {
            println!("the log of {}:\n{}", self.scenario, self.log);
        }
        self.all_passed
    }
}

/// `Ok` if `holds`, or else the reason.
pub(crate) fn ensure(holds: bool, reason: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(reason()) }
}
