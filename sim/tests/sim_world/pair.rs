//! Two hosts with a script each.

use std::time::Duration;

use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp;
use smoltcp::wire::{IpAddress, IpCidr, IpEndpoint};
use tcp_keepalive::Config;
use tcp_keepalive_sim::trace::Happening;
use tcp_keepalive_sim::wire::Segment;
use tcp_keepalive_sim::{Conditions, Host, Id, LinkId, NodeId, Script, World};

use super::post::{after, ms};

pub(crate) const PORT: u16 = 7;

pub(crate) const fn address(number: u8) -> IpAddress {
    IpAddress::v4(192, 0, 2, number)
}

pub(crate) const fn cidr(number: u8) -> IpCidr {
    IpCidr::new(address(number), 24)
}

/// Where the server listens.
pub(crate) const fn server() -> IpEndpoint {
    IpEndpoint::new(address(2), PORT)
}

/// Idle 10 s, interval 2 s, three probes.
pub(crate) fn config() -> Config {
    Config::new(Duration::from_secs(10), Duration::from_secs(2), 3).unwrap()
}

pub(crate) struct Pair {
    pub(crate) world: World,
    pub(crate) client: Id<Host>,
    pub(crate) server: Id<Host>,
    pub(crate) link: LinkId,
}

/// 10 ms each way.
pub(crate) fn pair(client: Script, server: Script) -> Pair {
    let conditions = Conditions::ideal().latency(ms(10));
    pair_with(1, conditions, client, server)
}

pub(crate) fn pair_with(seed: u64, conditions: Conditions, client: Script, server: Script) -> Pair {
    let mut world = World::new(seed);
    let client = world.add("client", Host::ip(cidr(1)).app(client));
    let server = world.add("server", Host::ip(cidr(2)).app(server));
    let link = world.link(client, server, conditions).unwrap();
    Pair {
        world,
        client,
        server,
        link,
    }
}

/// A client that is kept alive, and a server that reads.
pub(crate) fn kept_alive() -> Pair {
    let client = Script::client(server()).keep_alive(config());
    pair(client, Script::server(PORT))
}

/// The handle of the first socket of a host with a script.
pub(crate) fn first_handle(world: &World, host: Id<Host>) -> SocketHandle {
    world[host].app_ref::<Script>().unwrap().handles()[0]
}

impl Pair {
    pub(crate) fn until(&mut self, duration: Duration) {
        self.world.run_until(after(duration)).unwrap();
    }

    pub(crate) fn client_socket(&mut self) -> &mut tcp::Socket<'static> {
        let handle = first_handle(&self.world, self.client);
        self.world[self.client].tcp(handle)
    }

    pub(crate) fn client_state(&mut self) -> tcp::State {
        self.client_socket().state()
    }

    pub(crate) fn server_state(&mut self) -> tcp::State {
        let handle = first_handle(&self.world, self.server);
        self.world[self.server].tcp(handle).state()
    }

    /// The segments of a host so far, and when after the beginning they were sent.
    pub(crate) fn segments_of(&self, host: Id<Host>) -> Vec<(Duration, Segment)> {
        let frames = self.world.trace().frames();
        let of_host = frames.filter(|sent| sent.from == NodeId::from(host));
        let timed = |at| after(Duration::ZERO).as_micros().abs_diff(at);
        of_host
            .filter_map(|sent| {
                let at = Duration::from_micros(timed(sent.at.as_micros()));
                Some((at, sent.kind.tcp()?.clone()))
            })
            .collect()
    }

    /// When a host sent data, and how much.
    pub(crate) fn data_of(&self, host: Id<Host>) -> Vec<(Duration, usize)> {
        let segments = self.segments_of(host).into_iter();
        segments
            .map(|(at, segment)| (at, segment.payload.len()))
            .filter(|(_, len)| *len > 0)
            .collect()
    }

    /// When a host sent a SYN.
    pub(crate) fn syns_of(&self, host: Id<Host>) -> Vec<Duration> {
        let segments = self.segments_of(host).into_iter();
        let syns = segments.filter(|(_, segment)| segment.syn);
        syns.map(|(at, _)| at).collect()
    }

    /// What happened besides frames, and that `is_it` picks.
    pub(crate) fn count(&self, is_it: impl Fn(&Happening) -> bool) -> usize {
        let notes = self.world.trace().notes();
        notes.filter(|note| is_it(&note.what)).count()
    }
}
