//! No cable, no peer, a cable that is pulled: the firmware goes on, and says so.

use std::net::TcpListener;
use std::path::Path;
use std::thread;
use std::time::Duration;

use crate::checks::{Checks, Stop};
use crate::lab::Namespace;
use crate::machine::{Cable, Machine};
use crate::peer;
use crate::{AT_ONCE, DETECTION, Files, IDLE, LATE, PATIENCE};

pub(crate) fn is_out_at_first_and_pulled_later(image: &Path, files: &Files, checks: &mut Checks) {
    let host = peer::unaddressed();
    host.enter(|| {
        let mut machine = Machine::boot(&host, image, files, Cable::Out);
        // What failed has been noted.
        let _ = run(&host, &mut machine, checks);
        checks.add_log(machine.log());
    });
}

fn run(host: &Namespace, machine: &mut Machine, checks: &mut Checks) -> Result<(), Stop> {
    let down = machine.line(0, &["link: down"], PATIENCE);
    checks.require("it starts without a cable, and says so", down)?;
    let unanswered = machine.line(0, &["client: no answer"], PATIENCE);
    checks.require("it goes on without a cable", unanswered)?;

    let mark = machine.mark();
    machine.set_cable(Cable::In);
    let up = machine.line(mark, &["link: up"], AT_ONCE);
    checks.require("the cable is plugged in, and that is said at once", up)?;
    let unanswered = machine.line(mark, &["client: no answer"], PATIENCE);
    checks.require("there is no peer, and that is said", unanswered)?;

    peer::give_address(host);
    let listener = peer::listen();
    let accepted = peer::accept(&listener, PATIENCE);
    let (stream, _) = checks.require("there is a peer, and it connects", accepted)?;
    is_pulled(machine, &listener, checks)?;
    drop(stream);
    Ok(())
}

fn is_pulled(
    machine: &mut Machine,
    listener: &TcpListener,
    checks: &mut Checks,
) -> Result<(), Stop> {
    // Nothing is under way once it has been probed, and has answered.
    let probed = machine.line(0, &["keep-alive", "probe sent"], PATIENCE);
    checks.require("it idles, and probes", probed)?;
    thread::sleep(IDLE / 4);
    let mark = machine.mark();
    machine.set_cable(Cable::Out);
    let down = machine.line(mark, &["link: down"], AT_ONCE);
    checks.require("the cable is pulled, and that is said at once", down)?;
    let words = ["client: TimedOut", "unanswered: 0", "unsent: 3"];
    let verdict = machine.line(mark, &words, DETECTION + LATE);
    let claim = "the verdict tells probes that could not leave from unanswered ones";
    checks.require(claim, verdict)?;
    // By then it has tried without a cable.
    thread::sleep(Duration::from_secs(2));
    machine.set_cable(Cable::In);
    let accepted = peer::accept(listener, PATIENCE);
    checks.require("the cable is plugged in, and it connects again", accepted)?;
    Ok(())
}
