//! How to test firmware of your own through the power cut of its peer.
//!
//! `Reporter` stands for your application: it keeps a connection to a server, and says a few octets
//! every ten minutes. The test below it is what you would write. It takes a few milliseconds, and
//! is the same on every machine; `cargo test` runs it, and so does
//! `cargo run --example test_your_firmware`, which also prints what happened.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    reason = "simulated time is far from either end, and a node is of the world it was added to"
)]

use std::time::Duration;

use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp;
use smoltcp::time::Instant;
use smoltcp::wire::{IpAddress, IpCidr, IpEndpoint};
use tcp_keepalive::smoltcp::CloseReason;
use tcp_keepalive::{Config, Event};
use tcp_keepalive_sim::{App, Conditions, Context, Host, Memory, Script, SimError, World};

const SERVER: IpAddress = IpAddress::v4(192, 0, 2, 2);
const PORT: u16 = 7;
const EVERY: smoltcp::time::Duration = smoltcp::time::Duration::from_secs(600);
const RETRY: smoltcp::time::Duration = smoltcp::time::Duration::from_secs(5);

/// The firmware's application, as it would run on the device: sockets in, sockets out.
#[derive(Default)]
struct Reporter {
    socket: Option<SocketHandle>,
    connections: u16,
    next_report: Option<Instant>,
    next_attempt: Option<Instant>,
}

impl App for Reporter {
    fn start(&mut self, cx: &mut Context<'_>) {
        let buffer = || tcp::SocketBuffer::new(vec![0; 512]);
        let handle = cx.sockets.add(tcp::Socket::new(buffer(), buffer()));
        let config = Config::detect_within(Duration::from_secs(60)).expect("a minute is enough");
        cx.keep_alive.enable(handle, config).expect("there is room");
        *self = Self {
            socket: Some(handle),
            ..Self::default()
        };
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Option<Instant> {
        let socket = cx.sockets.get_mut::<tcp::Socket>(self.socket?);
        let is_due = |at: Option<Instant>| at.is_none_or(|at| at <= cx.now);
        if !socket.is_open() && is_due(self.next_attempt) {
            self.next_attempt = Some(cx.now + RETRY);
            self.connections += 1;
            let (server, port) = (IpEndpoint::new(SERVER, PORT), 49_152 + self.connections);
            socket.connect(cx.iface.context(), server, port).ok()?;
        }
        if socket.can_send() && is_due(self.next_report) {
            self.next_report = Some(cx.now + EVERY);
            socket.send_slice(b"21.5 C").ok()?;
        }
        // While a connection is being opened there is nothing to wait for but frames. A moment that
        // is past would be an error: "device spins".
        match socket.state() {
            tcp::State::Closed => self.next_attempt,
            _ if socket.can_send() => self.next_report,
            _ => None,
        }
    }
}

/// A power cut at the server is noticed within a minute, and when it is back, so are we.
fn survives_a_power_cut() -> Result<World, SimError> {
    let seconds = Duration::from_secs;
    let network = |last| IpCidr::new(IpAddress::v4(192, 0, 2, last), 24);
    let mut world = World::new(1);
    let device = world.add(
        "device",
        Host::ethernet(network(1)).app(Reporter::default()),
    );
    let server = world.add(
        "server",
        Host::ethernet(network(2)).app(Script::server(PORT)),
    );
    let wan = Conditions::ideal().latency(Duration::from_millis(30));
    world.link(device, server, wan)?;

    world.run_for(seconds(3600))?;
    let handle = world[device]
        .app_ref::<Reporter>()
        .and_then(|app| app.socket)
        .expect("started");
    assert_eq!(world[device].tcp(handle).state(), tcp::State::Established);

    world.crash(server)?;
    let cut = world.now();
    world.run_for(seconds(60))?;
    let (at, _, event) = *world[device].events().last().expect("it was noticed");
    assert!(matches!(event, Event::TimedOut(_)));
    assert!(at.saturating_duration_since(cut) <= seconds(60));
    let reason = world[device].keep_alive.close_reason(handle);
    assert!(matches!(reason, Some(CloseReason::KeepAlive(_))) || reason.is_none());

    world.run_for(seconds(3 * 3600))?;
    world.reboot(server, Memory::Lost)?;
    world.run_for(seconds(90))?;
    assert_eq!(world[device].tcp(handle).state(), tcp::State::Established);
    Ok(world)
}

#[test]
fn reporter_survives_a_power_cut() {
    survives_a_power_cut().expect("nothing spins, and no promise is broken");
}

fn main() {
    match survives_a_power_cut() {
        Ok(world) => print!("{}", world.trace().text().folded().last(40)),
        Err(error) => {
            eprintln!("{error}");
            std::process::exit(1);
        }
    }
}
