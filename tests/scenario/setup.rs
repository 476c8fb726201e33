//! What the link is like, and who is at its ends.

use std::cell::{Cell, RefCell};
use std::rc::Rc;

use smoltcp::phy::{ChecksumCapabilities, Medium};
use smoltcp::wire::{EthernetAddress, IpAddress};
use tcp_keepalive::Config;
use tcp_keepalive::smoltcp::KeepAliveSet;

use super::acts::{Peer, Scenario};
use super::host::Host;
use super::link::{End, Link, Port, Sent};
use super::script::Script;
use super::time::{Time, ms, s};
use super::wire::Path;

/// The world's clock starts here: well after zero, so that a deadline of zero is long past.
pub const START: Time = s(1000);

thread_local! {
    static TIMESTAMP_CLOCK: Cell<u32> = const { Cell::new(0) };
}

/// The timestamp clock of the host under test: milliseconds of the world's clock.
pub fn timestamp_clock() -> u32 {
    TIMESTAMP_CLOCK.get()
}

pub fn set_timestamp_clock(now: Time) {
    TIMESTAMP_CLOCK.set(u32::try_from(now.micros / 1000 % i64::from(u32::MAX)).unwrap());
}

/// Who opens the connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Opens {
    /// The host under test.
    Actively,
    /// The peer: the host under test listens.
    Passively,
}

/// A world before it begins. By default: IPv4 straight over the link, 10 ms from end to end, a
/// scripted peer, one connection that the host under test opens.
#[derive(Clone, Debug)]
pub struct Setup {
    pub medium: Medium,
    pub ipv6: bool,
    pub timestamps: bool,
    pub latency: Time,
    pub opens: Opens,
    pub scripted: bool,
    pub seed: u64,
    pub checksums: ChecksumCapabilities,
    pub connections: usize,
    pub rx_buffer: usize,
    pub tx_buffer: usize,
    pub hop_limit: Option<u8>,
    pub peer_isn: u32,
}

impl Default for Setup {
    fn default() -> Self {
        Self {
            medium: Medium::Ip,
            ipv6: false,
            timestamps: false,
            latency: ms(10),
            opens: Opens::Actively,
            scripted: true,
            seed: 1,
            checksums: ChecksumCapabilities::default(),
            connections: 1,
            rx_buffer: 1024,
            tx_buffer: 1024,
            hop_limit: None,
            peer_isn: 7_000_000,
        }
    }
}

/// A seed with which a host's first connection has the initial sequence number `isn`.
///
/// smoltcp draws its numbers from a linear congruential generator, which can be run backwards;
/// how many it has drawn before is found by trying.
pub fn seed_for_isn(isn: u32) -> u64 {
    const MULTIPLIER: u64 = 0xbb2e_fcec_3c39_611d;
    const INCREMENT: u64 = 0x7590_ef39;
    // Newton's iteration for the inverse modulo 2^64, from one that is right modulo 8.
    let inverse = (0..6).fold(MULTIPLIER, |inverse, _| {
        inverse.wrapping_mul(2_u64.wrapping_sub(MULTIPLIER.wrapping_mul(inverse)))
    });
    // Of a state whose upper three bits are zero, the next 32 are the number drawn.
    let mut seed = u64::from(isn) << 29;
    for _ in 0..16 {
        seed = seed.wrapping_sub(INCREMENT).wrapping_mul(inverse);
        let trace = Setup::default().seed(seed).plain().trace();
        if trace
            .iter()
            .filter_map(Sent::tcp)
            .any(|first| first.syn && first.seq == isn)
        {
            return seed;
        }
    }
    panic!("smoltcp draws its numbers in another way")
}

/// First probe after `idle` seconds, one every `interval` seconds, `count` of them.
pub fn config(idle: u64, interval: u64, count: u8) -> Config {
    let secs = std::time::Duration::from_secs;
    Config::new(secs(idle), secs(interval), count).unwrap()
}

/// The same, with a user timeout of so many seconds.
pub fn with_user_timeout(config: Config, timeout: u64) -> Config {
    config
        .with_user_timeout(std::time::Duration::from_secs(timeout))
        .unwrap()
}

/// The default world, with a connection that was kept alive from before it was opened.
pub fn established(config: Config) -> Scenario {
    Setup::default().established(config)
}

impl Setup {
    pub fn ethernet(mut self) -> Self {
        self.medium = Medium::Ethernet;
        self
    }

    pub fn ipv6(mut self) -> Self {
        self.ipv6 = true;
        self
    }

    pub fn timestamps(mut self) -> Self {
        self.timestamps = true;
        self
    }

    pub fn passive(mut self) -> Self {
        self.opens = Opens::Passively;
        self
    }

    /// The peer is a smoltcp host too.
    pub fn smoltcp_peer(mut self) -> Self {
        self.scripted = false;
        self
    }

    pub fn connections(mut self, connections: usize) -> Self {
        self.connections = connections;
        self
    }

    pub fn latency(mut self, latency: Time) -> Self {
        self.latency = latency;
        self
    }

    pub fn hop_limit(mut self, hop_limit: u8) -> Self {
        self.hop_limit = Some(hop_limit);
        self
    }

    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    pub fn checksums(mut self, checksums: ChecksumCapabilities) -> Self {
        self.checksums = checksums;
        self
    }

    pub fn buffers(mut self, rx: usize, tx: usize) -> Self {
        self.rx_buffer = rx;
        self.tx_buffer = tx;
        self
    }

    pub fn peer_isn(mut self, isn: u32) -> Self {
        self.peer_isn = isn;
        self
    }

    /// All connections kept alive from before they were opened, and open.
    pub fn established(self, config: Config) -> Scenario {
        let mut scenario = self.closed();
        for index in 0..scenario.host.handles.len() {
            scenario.enable_on(index, config);
        }
        scenario.open();
        scenario
    }

    /// All connections open, and none kept alive.
    pub fn connected(self) -> Scenario {
        let mut scenario = self.closed();
        scenario.open();
        scenario
    }

    /// The same with smoltcp alone: what happens without us.
    pub fn plain(self) -> Scenario {
        let mut scenario = self.closed();
        scenario.host.keep_alive = None;
        scenario.host.name = "plain host";
        scenario.open();
        scenario
    }

    /// Nothing open yet.
    pub fn closed(self) -> Scenario {
        let link = Rc::new(RefCell::new(Link::new(self.medium, self.latency, START)));
        set_timestamp_clock(START);
        let path = self.path();
        let port = |end, checksums: &ChecksumCapabilities| Port {
            link: Rc::clone(&link),
            end,
            checksums: checksums.clone(),
        };
        let ours = port(End::Us, &self.checksums);
        let mut host = Host::new("host under test", &path, ours, self.seed);
        host.keep_alive = Some(KeepAliveSet::new());
        for _ in 0..self.connections {
            host.add_socket(self.rx_buffer, self.tx_buffer);
        }
        for index in 0..self.connections {
            let socket = host.socket(index);
            socket.set_hop_limit(self.hop_limit);
            if self.timestamps {
                socket.set_tsval_generator(Some(timestamp_clock));
            }
        }
        let peer = if self.scripted {
            let mut script = Script::new(Rc::clone(&link), path.reversed());
            script.isn = self.peer_isn;
            Peer::Script(script)
        } else {
            let theirs = port(End::Peer, &ChecksumCapabilities::default());
            let mut peer = Host::new("peer", &path.reversed(), theirs, self.seed + 1);
            for _ in 0..self.connections {
                peer.add_socket(4096, 4096);
            }
            peer.drains = true;
            if self.timestamps {
                for index in 0..self.connections {
                    peer.socket(index)
                        .set_tsval_generator(Some(timestamp_clock));
                }
            }
            Peer::Smoltcp(Box::new(peer))
        };
        Scenario::new(self, path, link, host, peer)
    }

    /// From the host under test to the peer.
    fn path(&self) -> Path {
        let address = |last| {
            if self.ipv6 {
                IpAddress::v6(0x2001, 0xdb8, 0, 0, 0, 0, 0, last)
            } else {
                IpAddress::v4(192, 0, 2, u8::try_from(last).unwrap())
            }
        };
        Path {
            medium: self.medium,
            src: address(1),
            dst: address(2),
            src_mac: EthernetAddress([2, 0, 0, 0, 0, 1]),
            dst_mac: EthernetAddress([2, 0, 0, 0, 0, 2]),
        }
    }
}
