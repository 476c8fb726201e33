//! What loss does to a keep-alive: the table that `Config`'s `count` is chosen by.
//!
//! After a change that is meant, `UPDATE_EXPECT=1 cargo test --test sim_table` writes the table anew.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a helper of a test may fail as a test does"
)]

use std::fmt::Write;
use std::time::Duration;

use expect_test::expect_file;
use smoltcp::socket::tcp;
use smoltcp::wire::{IpAddress, IpCidr};
use tcp_keepalive::{Config, Event, Instant};
use tcp_keepalive_sim::{Conditions, Host, Id, Loss, Ratio, Script, World};

const IDLE: Duration = Duration::from_secs(600);
const INTERVAL: Duration = Duration::from_secs(10);
const CONNECTIONS: usize = 10;
const TIME: Duration = Duration::from_secs(2 * 24 * 3600);

/// What came of one cell.
struct Cell {
    /// Live peers given up in twenty days of connections.
    false_verdicts: usize,
    /// Seconds from the death of the peer to the verdicts, shortest first.
    delays: Vec<u64>,
}

fn host(last: u8, script: Script) -> Host {
    Host::ip(IpCidr::new(IpAddress::v4(192, 0, 2, last), 24)).app(script)
}

fn verdicts(world: &World, device: Id<Host>) -> Vec<Instant> {
    let events = world[device].events().iter();
    let verdicts = events.filter(|(_, _, event)| matches!(event, Event::TimedOut(_)));
    verdicts.map(|(at, _, _)| *at).collect()
}

/// Ten idle connections for two days, and then the peer's power is cut.
fn cell(loss_percent: u32, count: u8) -> Cell {
    let config = Config::new(IDLE, INTERVAL, count).unwrap();
    let server = (IpAddress::v4(192, 0, 2, 2), 7).into();
    let client = Script::client(server).keep_alive(config);
    let client = client.reconnect(Duration::from_secs(1));
    let mut world = World::new(u64::from(loss_percent) * 1000 + u64::from(count));
    let device = world.add("device", host(1, client.sockets(CONNECTIONS)));
    // More of them, for those that the device gives up and the server does not; and the server asks
    // so seldom that it answers instead.
    let seldom = Config::new(6 * IDLE, INTERVAL, 9).unwrap();
    let sockets = Script::server(7)
        .keep_alive(seldom)
        .sockets(4 * CONNECTIONS);
    let server = world.add("server", host(2, sockets));
    let loss = Loss::random(Ratio::percent(loss_percent).unwrap());
    let network = Conditions::ideal()
        .latency(Duration::from_millis(50))
        .loss(loss);
    world.link(device, server, network).unwrap();

    world.run_for(TIME).unwrap();
    let false_verdicts = verdicts(&world, device).len();
    let is_open = |socket: &tcp::Socket| socket.state() == tcp::State::Established;
    let open = world[device]
        .tcp_sockets()
        .filter(|(_, socket)| is_open(socket))
        .count();
    world.crash(server).unwrap();
    let death = world.now();
    world.run_for(config.detection_time()).unwrap();
    let mut delays: Vec<u64> = verdicts(&world, device)
        .split_off(false_verdicts)
        .into_iter()
        .map(|at| at.saturating_duration_since(death).as_secs())
        .collect();
    delays.sort_unstable();
    assert_eq!(
        delays.len(),
        open,
        "every dead peer is found within idle + count * interval"
    );
    Cell {
        false_verdicts,
        delays,
    }
}

fn table() -> String {
    let mut table = String::from(
        "Idle 600 s, interval 10 s, random loss in each direction. Live peers given up in 20 days of\n\
         connections; then, from the death of the peer to the verdict, the median and the longest of\n\
         10 delays in seconds, of at most idle + count * interval.\n\n",
    );
    let counts = [2, 3, 5, 9];
    write!(table, "loss").unwrap();
    for count in counts {
        write!(table, "  | count {count}: false  median  longest").unwrap();
    }
    table.push('\n');
    for loss in [0, 1, 2, 5, 10, 20, 40] {
        write!(table, "{loss:2} %").unwrap();
        for count in counts {
            let Cell {
                false_verdicts,
                delays,
            } = cell(loss, count);
            let median = delays.get(delays.len() / 2).unwrap();
            let longest = delays.last().unwrap();
            write!(table, "  | {false_verdicts:14}  {median:6}  {longest:7}").unwrap();
        }
        table.push('\n');
    }
    table
}

/// More probes make up for more loss; how soon a death is found does not depend on it.
#[test]
fn loss_and_count_give_this_table() {
    expect_file!["snapshots/loss_by_count.txt"].assert_eq(&table());
}
