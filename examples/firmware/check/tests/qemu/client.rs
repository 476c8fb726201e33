//! The firmware's client: it connects, idles, is cut off, and connects again.

use std::net::TcpListener;
use std::path::Path;
use std::thread;

use crate::capture::Capture;
use crate::checks::{Checks, Stop, ensure};
use crate::lab::Namespace;
use crate::machine::{Cable, Line, Machine};
use crate::peer::{self, TAP};
use crate::wire::Wire;
use crate::{DETECTION, Files, IDLE, LATE, PATIENCE};

/// The port of the kernel's end.
const PORT: u16 = 7000;

pub(crate) fn lives_and_is_cut_off(image: &Path, files: &Files, checks: &mut Checks) {
    let host = peer::unaddressed();
    host.enter(|| {
        peer::give_address(&host);
        let capture = Capture::start(&host, &[TAP]);
        let listener = peer::listen();
        let mut machine = Machine::boot(&host, image, files, Cable::In);
        // What failed has been noted.
        let result = run(&host, &listener, &mut machine, checks);
        let captured = capture.finish();
        checks.add_log(machine.log());
        if let Ok((port, verdict)) = result {
            let wire = Wire::new(&captured, port, PORT);
            let _ = judge(&wire, &verdict, checks);
        }
    });
}

/// The firmware's port, and the verdict.
fn run(
    host: &Namespace,
    listener: &TcpListener,
    machine: &mut Machine,
    checks: &mut Checks,
) -> Result<(u16, Line), Stop> {
    let accepted = peer::accept(listener, PATIENCE);
    let (mut stream, port) = checks.require("it connects to its peer", accepted)?;

    thread::sleep(2 * IDLE + IDLE / 2);
    let verdicts = machine.count(0, &["client", "TimedOut"]);
    let is_alive = ensure(verdicts == 0, || format!("{verdicts} verdicts"));
    checks.require("it idles, and a live peer is not given up", is_alive)?;

    let mark = machine.mark();
    peer::cut(host);
    let limit = IDLE + DETECTION + LATE;
    let words = ["client: TimedOut", "unanswered: 3", "unsent: 0"];
    let verdict = machine.line(mark, &words, limit);
    let verdict = checks.require("the network is cut, and the log has a verdict", verdict)?;
    let ended = machine.line(mark, &["client: ended, KeepAlive"], LATE);
    checks.require("the log says how the connection ended", ended)?;

    let was_reset = peer::was_reset(&mut stream);
    checks.require("the kernel takes the RST", was_reset)?;
    peer::mend(host);
    let accepted = peer::accept(listener, PATIENCE);
    checks.require("its socket is free, and it connects again", accepted)?;
    Ok((port, verdict))
}

fn judge(wire: &Wire<'_>, verdict: &Line, checks: &mut Checks) -> Result<(), Stop> {
    checks.require(
        "probes are empty, at SND.NXT - 1, and the kernel answers them",
        wire.probes_were_answered(2),
    )?;
    checks.require(
        "cut off, it sends three probes, at 2 s, 3 s and 4 s",
        wire.probes_were_sent_on_time(),
    )?;
    checks.require(
        "the verdict is in the log at 5 s",
        wire.verdict_was_on_time(verdict.at),
    )?;
    checks.require(
        "the RST of the verdict is on the wire, at SND.NXT",
        wire.reset_was_sent(),
    )
}
