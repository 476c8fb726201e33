//! What the link is like, and who is at its ends.

use smoltcp::iface::SocketHandle;
use smoltcp::phy::{ChecksumCapabilities, Medium};
use smoltcp::wire::{IpAddress, IpCidr};
use tcp_keepalive::Config;
use tcp_keepalive_sim::{Conditions, Host, Peer, SimError, World, timestamp_clock};

use super::acts::{PeerId, Scenario};
use super::application::Application;
use super::record::Sent;
use super::time::{Time, ms};

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
    /// What the clock of the host under test shows when smoltcp's time is zero.
    pub smoltcp_epoch: Time,
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
            smoltcp_epoch: Time::ZERO,
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

    pub fn smoltcp_epoch(mut self, epoch: Time) -> Self {
        self.smoltcp_epoch = epoch;
        self
    }

    /// All connections kept alive from before they were opened, and open.
    pub fn established(self, config: Config) -> Scenario {
        let mut scenario = self.closed();
        for index in 0..scenario.handles.len() {
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
        let host = self.host().plain();
        let mut scenario = self.build("plain host", host).unwrap();
        scenario.open();
        scenario
    }

    /// Nothing open yet.
    pub fn closed(self) -> Scenario {
        let host = self.host();
        self.build("host under test", host).unwrap()
    }

    /// The peer comes first, so that of what is due at one instant its part is done first.
    fn build(self, name: &'static str, host: Host) -> Result<Scenario, SimError> {
        let mut world = World::new(self.seed);
        let (peer, peer_handles) = self.add_peer(&mut world);
        let host = world.add(name, host);
        world.clock_jump(host, self.smoltcp_epoch.duration())?;
        let conditions = Conditions::ideal().latency(self.latency.duration());
        let link = world.link(peer.node(), host, conditions)?;
        let handles = self.add_sockets(&mut world[host], self.rx_buffer, self.tx_buffer);
        for handle in &handles {
            world[host].tcp(*handle).set_hop_limit(self.hop_limit);
        }
        Ok(Scenario {
            epoch: world.now().into(),
            world,
            setup: self,
            host,
            peer,
            link,
            handles,
            peer_handles,
            claimed: 0,
            claimed_events: 0,
        })
    }

    fn host(&self) -> Host {
        self.host_at(self.address(), self.seed)
            .checksums(self.checksums.clone())
            .epoch(self.smoltcp_epoch.instant())
    }

    fn host_at(&self, address: IpAddress, seed: u64) -> Host {
        let address = IpCidr::new(address, 24);
        let host = match self.medium {
            Medium::Ethernet => Host::ethernet(address),
            _ => Host::ip(address),
        };
        host.random_seed(seed).app(Application::default())
    }

    fn add_peer(&self, world: &mut World) -> (PeerId, Vec<SocketHandle>) {
        let address = self.peer_address();
        if self.scripted {
            let peer = match self.medium {
                Medium::Ethernet => Peer::ethernet(address),
                _ => Peer::ip(address),
            };
            let id = world.add("peer", peer);
            let peer = &mut world[id];
            peer.initial_seq = self.peer_isn;
            peer.verifies_checksums = self.checksums.tcp.tx() && self.checksums.ipv4.tx();
            return (PeerId::Script(id), Vec::new());
        }
        let peer = self.host_at(address, self.seed + 1).plain();
        let id = world.add("peer", peer);
        let peer = &mut world[id];
        peer.app_mut::<Application>().unwrap().drains = true;
        let handles = self.add_sockets(peer, 4096, 4096);
        (PeerId::Smoltcp(id), handles)
    }

    fn add_sockets(&self, host: &mut Host, rx: usize, tx: usize) -> Vec<SocketHandle> {
        let mut handles = Vec::new();
        for _ in 0..self.connections {
            let handle = host.add_tcp_socket(rx, tx);
            if self.timestamps {
                host.tcp(handle).set_tsval_generator(Some(timestamp_clock));
            }
            handles.push(handle);
        }
        handles
    }

    /// The address of the host under test.
    pub fn address(&self) -> IpAddress {
        self.address_of(1)
    }

    pub fn peer_address(&self) -> IpAddress {
        self.address_of(2)
    }

    fn address_of(&self, number: u8) -> IpAddress {
        if self.ipv6 {
            IpAddress::v6(0x2001, 0xdb8, 0, 0, 0, 0, 0, number.into())
        } else {
            IpAddress::v4(192, 0, 2, number)
        }
    }
}
