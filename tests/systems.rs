//! Against the systems of the field: Redis, OpenSSH, HAProxy and nginx, as Debian ships them.
//!
//! smoltcp with our keep-alive talks to them over a TAP device, as in `tests/kernel.rs`, whose
//! means these tests share. Each server is started by its test, in a network namespace made for the
//! purpose, with files of its own. Where one is missing the test is skipped and says so, unless
//! `TCP_KEEPALIVE_KERNEL_TESTS=required` is set: then that is a failure. `docs/systems.md` says what
//! each of them showed.

#![cfg(target_os = "linux")]
#![expect(
    clippy::arithmetic_side_effects,
    clippy::unchecked_time_subtraction,
    reason = "times that are in another order than a test claims may panic"
)]

#[path = "kernel/capture.rs"]
#[expect(dead_code, reason = "tests/kernel.rs asks more of a segment")]
mod capture;
#[path = "kernel/client.rs"]
#[expect(dead_code, reason = "tests/kernel.rs has peers of its own")]
mod client;
#[path = "systems/http.rs"]
mod http;
#[path = "kernel/lab.rs"]
mod lab;
#[path = "kernel/nat.rs"]
mod nat;
#[path = "systems/program.rs"]
mod program;
#[path = "systems/proxy.rs"]
mod proxy;
#[path = "systems/redis.rs"]
mod redis;
#[path = "systems/ssh.rs"]
mod ssh;
#[path = "kernel/wire.rs"]
#[expect(dead_code, reason = "tests/kernel.rs asks more of a capture")]
mod wire;

use std::time::Duration;

use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp;
use tcp_keepalive::Config;

use crate::client::{Client, TAP};
use crate::lab::Namespace;

const SECOND: Duration = Duration::from_secs(1);

/// The longest that a healthy server takes to answer.
const PATIENCE: Duration = Duration::from_secs(5);
/// As long as an application waits for an answer that may never come.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(2);

/// `docs/systems.md` has a row for each test, and for no other.
#[test]
fn every_test_has_its_row() {
    let sources = [
        include_str!("systems/http.rs"),
        include_str!("systems/proxy.rs"),
        include_str!("systems/redis.rs"),
        include_str!("systems/ssh.rs"),
    ];
    let mut tests: Vec<_> = sources
        .iter()
        .flat_map(|source| source.split("#[test]\nfn ").skip(1))
        .filter_map(|text| text.split('(').next())
        .collect();
    let page = include_str!("../docs/systems.md");
    let mut rows: Vec<_> = page
        .lines()
        .filter_map(|line| line.strip_suffix("` |")?.rsplit('`').next())
        .collect();
    tests.sort_unstable();
    rows.sort_unstable();
    assert_eq!(tests, rows);
}

/// One second of silence, then three probes a second apart.
fn quick() -> Config {
    Config::new(SECOND, SECOND, 3).expect("the configuration is valid")
}

/// Sends `request`, and returns what arrives up to and including `end`, or `None` if that does not
/// arrive within `limit`.
fn ask(
    (client, handle): (&mut Client, SocketHandle),
    request: &str,
    end: &str,
    limit: Duration,
) -> Option<String> {
    let sent = client.socket(handle).send_slice(request.as_bytes());
    assert_eq!(sent, Ok(request.len()));
    hear((client, handle), end, limit)
}

/// The same without a request.
fn hear(
    (client, handle): (&mut Client, SocketHandle),
    end: &str,
    limit: Duration,
) -> Option<String> {
    let mut heard = String::new();
    let is_heard = client.try_until(limit, |client| {
        let socket = client.socket(handle);
        while socket.can_recv() {
            let taken = socket.recv(|data| (data.len(), String::from_utf8_lossy(data).into()));
            let text: String = taken.expect("it can receive");
            heard.push_str(&text);
        }
        heard.contains(end)
    });
    is_heard.then_some(heard)
}

/// Asserts that the keep-alive holds the connection for alive: it is open, `probes` were answered,
/// and nothing was reported.
fn assert_alive(client: &Client, handle: SocketHandle, probes: u32) {
    let stats = client.stats(handle);
    assert!(stats.probes_answered >= probes, "{stats:?}");
    assert_eq!(stats.verdicts, 0);
    assert_eq!(client.state(handle), tcp::State::Established);
    assert!(client.events().is_empty(), "{:?}", client.events());
}

/// From now on no segment passes the TAP device, in either direction.
fn cut_off(host: &Namespace) {
    host.nft(&format!(
        "table inet cut {{
            chain input {{
                type filter hook input priority filter
                iifname {TAP} meta l4proto tcp drop
            }}
            chain output {{
                type filter hook output priority filter
                oifname {TAP} meta l4proto tcp drop
            }}
        }}"
    ));
}

fn repair(host: &Namespace) {
    host.nft("delete table inet cut");
}
