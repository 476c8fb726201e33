//! The words for what is reported.

use defmt::{info, warn};
use smoltcp::wire::IpEndpoint;
use tcp_keepalive::Event;
use tcp_keepalive::smoltcp::CloseReason;

use crate::report::Report;
use crate::settings::Settings;

/// The first line.
pub fn begin(settings: &Settings) {
    let config = settings.keep_alive;
    info!(
        "this is {}; idle {} s, interval {} s, count {}",
        settings.address,
        config.idle().as_secs(),
        config.interval().as_secs(),
        config.count(),
    );
}

/// One of those that follow.
pub fn write(report: Report) {
    match report {
        Report::Link { is_up: true } => info!("link: up"),
        Report::Link { is_up: false } => warn!("link: down, is the cable in?"),
        Report::ReceiveErrors(count) => warn!("{} frames were dropped, damaged", count),
        Report::Connecting(peer) => info!("client: connecting to {}", peer),
        Report::Refused(peer) => warn!("client: {} refuses, trying again", peer),
        Report::NoAnswer(peer) => warn!("client: no answer from {}, trying again", peer),
        Report::Listening(name) => info!("{}: listening", name),
        Report::Connected(name, IpEndpoint { addr, port }) => {
            info!("{}: connected to {}:{}", name, addr, port);
        }
        Report::KeepAlive(name, event @ Event::TimedOut(_)) => warn!("{}: {}", name, event),
        Report::KeepAlive(name, event) => info!("{}: {}", name, event),
        Report::Closed(name, reason @ (CloseReason::Closed | CloseReason::LocalAbort)) => {
            info!("{}: ended, {}", name, reason);
        }
        Report::Closed(name, reason) => warn!("{}: ended, {}", name, reason),
    }
}
