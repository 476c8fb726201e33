//! Addresses and times.
//!
//! Those of an image are chosen when it is built, by environment variables:
//!
//! | variable | default | |
//! |---|---|---|
//! | `FIRMWARE_ADDRESS` | 192.0.2.2/24 | our own address and network |
//! | `FIRMWARE_PEER` | 192.0.2.1:7000 | the server that the client connects to |
//! | `FIRMWARE_PORT` | 7 | where the servers listen |
//! | `FIRMWARE_IDLE` | 60 | seconds of silence before the first probe |
//! | `FIRMWARE_INTERVAL` | 10 | seconds between probes, and from the last one to the verdict |
//! | `FIRMWARE_COUNT` | 3 | unanswered probes that decide |
//! | `FIRMWARE_USER_TIMEOUT` | 120 | seconds for which data may stay unacknowledged |
//! | `FIRMWARE_RETRY` | 5 | seconds until the client connects again |

use core::time::Duration;

use smoltcp::wire::{EthernetAddress, IpAddress, IpEndpoint, Ipv4Address, Ipv4Cidr};
use tcp_keepalive::{Config, ConfigError};

include!(concat!(env!("OUT_DIR"), "/settings.rs"));

/// What the firmware has to be told.
#[derive(Clone, Copy, Debug)]
pub struct Settings {
    /// Our own address and network.
    pub address: Ipv4Cidr,
    /// The server that the client connects to.
    pub peer: IpEndpoint,
    /// Where the servers listen.
    pub port: u16,
    /// When a peer is given up.
    pub keep_alive: Config,
    /// How long the client waits before it connects again.
    pub retry: Duration,
}

impl Settings {
    /// As the image was built. A keep-alive that makes no sense does not compile.
    pub const BUILT: Self = Self {
        address: {
            let ([a, b, c, d], prefix_len) = ADDRESS;
            Ipv4Cidr::new(Ipv4Address::new(a, b, c, d), prefix_len)
        },
        peer: {
            let ([a, b, c, d], port) = PEER;
            IpEndpoint::new(IpAddress::v4(a, b, c, d), port)
        },
        port: {
            assert!(PORT != 0, "FIRMWARE_PORT is a port");
            PORT
        },
        keep_alive: match keep_alive() {
            Ok(config) => config,
            Err(_) => panic!("FIRMWARE_IDLE, _INTERVAL, _COUNT and _USER_TIMEOUT do not fit"),
        },
        retry: Duration::from_secs(RETRY as u64),
    };

    /// One of the addresses that anybody may use on a network of their own, made from the IP
    /// address so that several devices on one network differ.
    #[must_use]
    pub const fn hardware_address(&self) -> EthernetAddress {
        let [a, b, c, d] = self.address.address().octets();
        EthernetAddress([2, 0, a, b, c, d])
    }
}

/// Servers echo, so data may be under way when a peer dies: hence the user timeout.
const fn keep_alive() -> Result<Config, ConfigError> {
    let idle = Duration::from_secs(IDLE as u64);
    let interval = Duration::from_secs(INTERVAL as u64);
    match Config::new(idle, interval, COUNT) {
        Ok(config) => config.with_user_timeout(Duration::from_secs(USER_TIMEOUT as u64)),
        Err(error) => Err(error),
    }
}
