//! What scenarios are made of: two networks that most take place in, and what can be asked
//! afterwards.

use std::fmt::Write;
use std::time::Duration;

use smoltcp::iface::SocketHandle;
use smoltcp::phy::Medium;
use smoltcp::socket::tcp;
use smoltcp::wire::{IpAddress, IpCidr, Ipv4Address};
use tcp_keepalive::smoltcp::CloseReason;
use tcp_keepalive::{Config, Event, Instant, Verdict};
use tcp_keepalive_sim::trace::{Fate, Happening, Sent};
use tcp_keepalive_sim::{
    Conditions, Host, Id, Label, LinkId, Mappings, Nat, NodeId, Script, SimError, World,
};

pub(super) const PORT: u16 = 7;
/// On the LAN.
pub(super) const DEVICE: IpAddress = IpAddress::v4(192, 0, 2, 1);
pub(super) const SERVER: IpAddress = IpAddress::v4(192, 0, 2, 2);
/// Behind the router, where the device is at another address.
const FAR_SERVER: IpAddress = IpAddress::v4(198, 51, 100, 7);
/// In this time connections are opened, and the first data is sent.
pub(super) const OPENING: Duration = Duration::from_secs(3);

const LAN_LATENCY: Duration = Duration::from_millis(1);

pub(super) const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// Something that has to hold, and whether it does.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    pub(crate) sentence: String,
    pub(crate) holds: bool,
}

/// A world, and what is claimed of it.
#[derive(Debug)]
pub(crate) struct Stage {
    pub(crate) world: World,
    pub(crate) config: Config,
    pub(crate) beginning: Instant,
    pub(crate) claims: Vec<Claim>,
    /// The host whose keep-alive it is about.
    host: Option<Id<Host>>,
}

/// A device and its server, on an Ethernet with nothing between them.
pub(super) struct Lan {
    pub(super) device: Id<Host>,
    pub(super) server: Id<Host>,
    pub(super) link: LinkId,
}

/// A device on an Ethernet, with a router that does NAT, and its server behind that.
pub(super) struct Far {
    pub(super) device: Id<Host>,
    pub(super) router: Id<Nat>,
    pub(super) server: Id<Host>,
    /// Between the router and the server.
    pub(super) uplink: LinkId,
}

/// Building.
impl Stage {
    pub(super) fn new(config: Config, seed: u64) -> Self {
        let world = World::new(seed);
        Self {
            config,
            beginning: world.now(),
            claims: Vec::new(),
            host: None,
            world,
        }
    }

    /// Adds the host that it is about.
    pub(super) fn add_host(&mut self, name: &'static str, host: Host) -> Id<Host> {
        let id = self.world.add(name, host);
        self.host = Some(id);
        id
    }

    /// A client of that server, which says something at first, and then nothing more.
    pub(super) fn client_of(&self, server: IpAddress) -> Script {
        Script::client((server, PORT).into())
            .keep_alive(self.config)
            .send_at(secs(1), 100)
    }

    /// The same of the server [far](Self::far) away.
    pub(super) fn far_client(&self) -> Script {
        self.client_of(FAR_SERVER)
    }

    /// Builds a LAN, opens its connection, and waits until that is quiet.
    pub(super) fn lan(&mut self, client: Script, server: Script) -> Result<Lan, SimError> {
        self.lan_of(Host::ethernet(on_lan(DEVICE)).app(client), server)
    }

    pub(super) fn lan_of(&mut self, device: Host, server: Script) -> Result<Lan, SimError> {
        let device = self.add_host("device", device);
        let server = Host::ethernet(on_lan(SERVER)).app(server);
        let server = self.world.add("server", server);
        let link = self.world.link(device, server, near())?;
        self.open()?;
        Ok(Lan {
            device,
            server,
            link,
        })
    }

    /// Builds a network with a router, opens its connection, and waits until that is quiet.
    pub(super) fn far(
        &mut self,
        mappings: Mappings,
        client: Script,
        server: Script,
    ) -> Result<Far, SimError> {
        let address = |last| IpAddress::v4(192, 168, 0, last);
        let device = Host::ethernet(on_lan(address(2))).gateway(address(1));
        let device = self.add_host("device", device.app(client));
        let outside = Ipv4Address::new(203, 0, 113, 1);
        let router = Nat::new(Medium::Ethernet, Medium::Ip, outside, mappings);
        let router = self.world.add("router", router);
        let server = Host::ip(on_lan(FAR_SERVER))
            .gateway(outside.into())
            .app(server);
        let server = self.world.add("server", server);
        self.world.link(device, router, near())?;
        let uplink = self.world.link(router, server, away())?;
        self.open()?;
        Ok(Far {
            device,
            router,
            server,
            uplink,
        })
    }

    pub(super) fn open(&mut self) -> Result<(), SimError> {
        self.world.run_until(self.beginning.saturating_add(OPENING))
    }

    pub(super) fn claim(&mut self, sentence: impl Into<String>, holds: bool) {
        let sentence = sentence.into();
        self.claims.push(Claim { sentence, holds });
    }
}

/// That address, in a network of 256.
pub(super) fn on_lan(address: IpAddress) -> IpCidr {
    IpCidr::new(address, 24)
}

/// Along a wire.
pub(super) fn near() -> Conditions {
    Conditions::ideal().latency(LAN_LATENCY)
}

/// Along many.
pub(super) fn away() -> Conditions {
    Conditions::ideal().latency(Duration::from_millis(20))
}

/// A server that echoes, and has no keep-alive of its own.
pub(super) fn echo_server() -> Script {
    Script::server(PORT).echo()
}

/// Asking, of the host that it is about if no other is named.
impl Stage {
    pub(crate) fn host(&self) -> Option<NodeId> {
        self.host.map(NodeId::from)
    }

    /// When the last segment arrived at `node`.
    pub(super) fn last_heard(&self, node: impl Into<NodeId>) -> Instant {
        let node = node.into();
        let arrivals = self.world.trace().frames().filter_map(|sent| {
            sent.kind.tcp().filter(|_| sent.to == node)?;
            match sent.fate {
                Fate::Arrived { at } => Some(at),
                _ => None,
            }
        });
        arrivals.max().unwrap_or(self.beginning)
    }

    fn happenings(&self) -> impl Iterator<Item = (Instant, &Happening)> {
        let notes = self.world.trace().notes();
        notes
            .filter(|note| note.node == self.host())
            .map(|note| (note.at, &note.what))
    }

    /// All verdicts.
    pub(crate) fn verdicts(&self) -> Vec<(Instant, SocketHandle, Verdict)> {
        let verdicts = self.happenings().filter_map(|(at, what)| match what {
            Happening::KeepAlive {
                handle,
                event: Event::TimedOut(verdict),
            } => Some((at, *handle, *verdict)),
            _ => None,
        });
        verdicts.collect()
    }

    /// How often a suspect spoke again.
    pub(super) fn recoveries(&self) -> usize {
        let is_recovery = |what: &Happening| {
            matches!(
                what,
                Happening::KeepAlive {
                    event: Event::Recovered { .. },
                    ..
                }
            )
        };
        self.happenings()
            .filter(|(_, what)| is_recovery(what))
            .count()
    }

    /// How connections ended.
    pub(super) fn ends(&self) -> Vec<(Instant, CloseReason)> {
        let ends = self.happenings().filter_map(|(at, what)| match what {
            Happening::Ended { reason, .. } => Some((at, *reason)),
            _ => None,
        });
        ends.collect()
    }

    /// All frames that the host has sent, with such a label.
    pub(super) fn sent(&self, is_such: impl Fn(Label) -> bool) -> Vec<&Sent> {
        let labels = self.world.trace().labels();
        let frames = self.world.trace().frames();
        let own = frames.filter(|sent| Some(sent.from) == self.host());
        own.filter(|sent| labels.of(sent.id).is_some_and(&is_such))
            .collect()
    }

    /// When each probe left.
    pub(super) fn probes(&self) -> Vec<Instant> {
        let probes = self.sent(|label| matches!(label, Label::Probe { .. }));
        probes.iter().map(|sent| sent.at).collect()
    }

    /// Whether all of a node's connections are open.
    pub(super) fn is_open(&self, node: Id<Host>) -> bool {
        let mut sockets = self.world[node].tcp_sockets();
        sockets.all(|(_, socket)| socket.state() == tcp::State::Established)
    }

    /// What a verdict of the keep-alive's has to be, if the last segment arrived at `heard`: the
    /// only one, on time, and resting on so many attempts.
    ///
    /// A probe that waits for ARP moves what comes after it by a round trip on the LAN.
    pub(super) fn claim_dead(&mut self, heard: Instant, unanswered: u8, unsent: u8) {
        let detection = self.config.detection_time();
        let only = match self.verdicts()[..] {
            [(at, _, verdict)] => Some((at.saturating_duration_since(heard), verdict)),
            _ => None,
        };
        let is_on_time = |(silence, verdict): (Duration, Verdict)| {
            silence == verdict.silent_for
                && silence >= detection
                && silence <= detection + self.longest_wait_for_arp()
        };
        let after = only.map_or(detection, |(silence, _)| silence);
        let mut sentence = format!("the peer is given up {after:?} after it was last heard");
        if after > detection {
            let late = after.saturating_sub(detection);
            let _ = write!(sentence, ", {late:?} of them while probes waited for ARP");
        }
        let holds = only.is_some_and(is_on_time);
        self.claim(sentence, holds);
        self.claim(
            format!("it left {unanswered} probes unanswered, and {unsent} could not leave"),
            only.is_some_and(|(_, verdict)| {
                (verdict.unanswered, verdict.unsent) == (unanswered, unsent)
            }),
        );
    }

    /// A round trip for each probe.
    fn longest_wait_for_arp(&self) -> Duration {
        LAN_LATENCY * 2 * u32::from(self.config.count())
    }

    /// No peer is given up, and all connections of `node` are open in the end.
    pub(super) fn claim_alive(&mut self, node: Id<Host>) {
        let holds = self.ends().is_empty() && self.is_open(node);
        self.claim("the connection lives on, and no peer is given up", holds);
    }

    /// Runs until a peer that was last heard at `heard` must be given up, and some more.
    pub(super) fn run_past_verdict(&mut self, heard: Instant) -> Result<(), SimError> {
        let detection = self.config.detection_time();
        let by = heard.saturating_add(detection).saturating_add(secs(2));
        self.world.run_until(by.max(self.world.now()))
    }
}
