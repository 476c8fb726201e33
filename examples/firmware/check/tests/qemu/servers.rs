//! The firmware's pool of servers: all of its clients are lost at the same time, and it serves four
//! others. Meanwhile its own client finds no listener.

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::path::Path;
use std::thread;
use std::time::SystemTime;

use crate::capture::Capture;
use crate::checks::{Checks, Stop};
use crate::lab::Namespace;
use crate::machine::{Cable, Machine};
use crate::peer::{self, TAP};
use crate::wire::Wire;
use crate::{DETECTION, Files, IDLE, LATE, PATIENCE};

const SERVERS: usize = 4;
/// The port of the firmware's end.
const PORT: u16 = 7;

pub(crate) fn all_are_lost_at_once(image: &Path, files: &Files, checks: &mut Checks) {
    let host = peer::unaddressed();
    host.enter(|| {
        peer::give_address(&host);
        let capture = Capture::start(&host, &[TAP]);
        let mut machine = Machine::boot(&host, image, files, Cable::In);
        let result = run(&host, &mut machine, checks);
        let captured = capture.finish();
        checks.add_log(machine.log());
        // What failed has been noted.
        if let Ok((ports, verdicts)) = result {
            let wires = ports.map(|port| Wire::new(&captured, PORT, port));
            let _ = judge(&wires, verdicts, checks);
        }
    });
}

/// The ports of the clients that were lost, and when each of them was given up.
fn run(
    host: &Namespace,
    machine: &mut Machine,
    checks: &mut Checks,
) -> Result<([u16; SERVERS], [SystemTime; SERVERS]), Stop> {
    let refused = ["client", "refuses"];
    let again = machine.line(0, &refused, PATIENCE).and_then(|_| {
        let mark = machine.mark();
        machine.line(mark, &refused, PATIENCE)
    });
    checks.require("a peer that refuses is tried again, and said", again)?;

    let clients = four_clients();
    let mut clients = checks.require("four clients are served", clients)?;
    checks.require("a fifth is refused", peer::is_refused())?;

    let probed = each_is_probed(machine);
    checks.require("all four are idle, and probed", probed)?;
    thread::sleep(IDLE / 4);
    let mark = machine.mark();
    peer::cut(host);
    let verdicts = each_server(machine, mark, &["TimedOut", "unanswered: 3", "unsent: 0"]);
    let verdicts = checks.require("the network is cut, and all four are given up", verdicts)?;
    let listening = each_server(machine, mark, &["listening"]);
    checks.require("all four listen again", listening)?;

    peer::mend(host);
    let served = four_clients();
    checks.require("four new clients are served", served)?;
    let ports = clients
        .each_ref()
        .map(|it| it.local_addr().map_or(0, |it| it.port()));
    let reset = clients.iter_mut().try_for_each(peer::was_reset);
    checks.require("the kernel takes all four RSTs", reset)?;
    Ok((ports, verdicts))
}

fn four_clients() -> Result<[TcpStream; SERVERS], String> {
    let mut clients = Vec::new();
    for _ in 0..SERVERS {
        let mut client = peer::connect()?;
        peer::exchange(&mut client)?;
        clients.push(client);
    }
    clients
        .try_into()
        .map_err(|clients: Vec<_>| format!("there are {}", clients.len()))
}

/// Once each of the servers has probed its client, nothing is under way. A line has the number of the
/// connection; that of the client is not connected.
fn each_is_probed(machine: &mut Machine) -> Result<(), String> {
    let mut mark = 0;
    let mut probed = BTreeSet::new();
    while probed.len() < SERVERS {
        let (next, line) = machine.line_and_mark(mark, &["keep-alive", "probe sent"], PATIENCE)?;
        mark = next;
        let (_, number) = line.text.rsplit_once("keep-alive ").unwrap_or_default();
        probed.insert(number.to_owned());
    }
    Ok(())
}

/// When each of the servers, by number, had a line with `words`.
fn each_server(
    machine: &mut Machine,
    mark: usize,
    words: &[&str],
) -> Result<[SystemTime; SERVERS], String> {
    let mut times = [SystemTime::UNIX_EPOCH; SERVERS];
    for (number, time) in (1..).zip(&mut times) {
        let name = format!("server {number}: ");
        let words = [&[name.as_str()], words].concat();
        *time = machine.line(mark, &words, IDLE + DETECTION + LATE)?.at;
    }
    Ok(times)
}

fn judge(
    wires: &[Wire<'_>; SERVERS],
    verdicts: [SystemTime; SERVERS],
    checks: &mut Checks,
) -> Result<(), Stop> {
    let probes = wires.iter().try_for_each(Wire::probes_were_sent_on_time);
    checks.require("each was sent three probes, at 2 s, 3 s and 4 s", probes)?;
    // Who came first was served by the first server.
    let mut pairs = wires.iter().zip(verdicts);
    let on_time = pairs.try_for_each(|(wire, at)| wire.verdict_was_on_time(at));
    checks.require("their verdicts are in the log at 5 s", on_time)?;
    let resets = wires.iter().try_for_each(Wire::reset_was_sent);
    checks.require("each was sent a RST at SND.NXT, at 5 s", resets)
}
