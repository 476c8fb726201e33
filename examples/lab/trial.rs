//! One seed: a network drawn at random, faults at random, and then an end to them.
//!
//! First a phase in which only safety counts: whatever happens, no invariant may break, and on a
//! network good enough no live peer may be given up. Then everything heals, and every connection
//! has to come back within a bound, and stay. Then the peer dies, and has to be given up within a
//! bound. All of it is a function of the seed.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use smoltcp::iface::SocketHandle;
use smoltcp::phy::Medium;
use smoltcp::socket::tcp;
use smoltcp::wire::{IpAddress, IpCidr, Ipv4Address};
use tcp_keepalive::sim::trace::Happening;
use tcp_keepalive::sim::{
    Conditions, Firewall, Host, Id, LinkId, Loss, Mappings, Memory, Nat, NodeId, Ratio, Rng, Room,
    Script, SimError, Switch, World,
};
use tcp_keepalive::{Cause, Config, Event, Instant, ProbePayload, Verdict};

const PORT: u16 = 7;
/// What the ticks of a clock may add to any bound.
const SLACK: Duration = Duration::from_millis(500);
/// The longest time between two retransmissions or window probes of smoltcp's.
const RETRANSMISSION: Duration = Duration::from_secs(60);

/// How long a scripted server waits for the end of a handshake.
const HANDSHAKE: Duration = Duration::from_secs(30);

const fn secs(count: u64) -> Duration {
    Duration::from_secs(count)
}

/// How good the network is before it heals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Weather {
    /// It loses nothing; the host itself sleeps, stalls, and has its clock set.
    Calm,
    /// It loses never more frames in a row, or for never longer, than the configuration can bear.
    Bounded,
    /// Anything.
    Wild,
}

impl Weather {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Calm => "calm",
            Self::Bounded => "bounded",
            Self::Wild => "wild",
        }
    }
}

/// Who has what to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Traffic {
    Silent,
    Client {
        every: Duration,
        octets: usize,
    },
    Server {
        every: Duration,
        octets: usize,
    },
    /// The client sends, and the server reads none of it.
    Stuffed {
        every: Duration,
    },
}

/// What lies between the two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Road {
    Direct,
    Switch,
    Firewall(Mappings),
    Nat(Mappings),
}

/// How the peer dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Death {
    PowerCut,
    Partition,
    CableOut,
}

/// What a seed stands for.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    seed: u64,
    pub(crate) weather: Weather,
    ethernet: bool,
    ipv6: bool,
    road: Road,
    pub(crate) config: Config,
    connections: usize,
    timestamps: bool,
    traffic: Traffic,
    loss: Loss,
    /// The loss in the end, in percent.
    pub(crate) final_loss: u32,
    /// What the network is like when all is well, and before.
    conditions: Conditions,
    storm: Conditions,
    safety: Duration,
    death: Death,
}

impl fmt::Display for Road {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Direct => f.write_str("no hop"),
            Self::Switch => f.write_str("a switch"),
            Self::Firewall(mappings) => {
                write!(f, "a firewall of {:?}", mappings.timeouts.established)
            }
            Self::Nat(mappings) => write!(f, "a NAT of {:?}", mappings.timeouts.established),
        }
    }
}

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            seed,
            weather,
            ethernet,
            ipv6,
            road,
            config,
            connections,
            timestamps,
            traffic,
            loss,
            final_loss,
            conditions: _,
            storm: _,
            safety,
            death,
        } = self;
        let medium = if *ethernet { "Ethernet" } else { "IP" };
        let version = if *ipv6 { 6 } else { 4 };
        write!(
            f,
            "seed {seed}: {weather:?}, IPv{version} over {medium}, {road}, {connections} connections\
             {}, \
             idle {:?}, interval {:?}, count {}, user timeout {:?}, {traffic:?}, {loss:?}, \
             {safety:?} of faults, then {death:?} at {final_loss} % loss",
            if *timestamps { " with timestamps" } else { "" },
            config.idle(),
            config.interval(),
            config.count(),
            config.user_timeout(),
        )
    }
}

/// What came of a seed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Outcome {
    /// How long each peer that died had been dead when it was given up, and in how long it was to
    /// be, the loss in percent.
    pub(crate) delays: Vec<Delay>,
    /// Live peers given up because nothing of theirs had arrived.
    pub(crate) network_verdicts: u64,
    pub(crate) probes: u64,
    /// Of both ends, held against what the other end holds for right.
    pub(crate) probes_checked: u64,
    pub(crate) frames: u64,
    /// Connections times microseconds.
    pub(crate) connection_micros: u64,
}

/// How long a verdict took.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Delay {
    pub(crate) after_death: Duration,
    pub(crate) cause: Cause,
    /// In how long it was to be, by its cause.
    pub(crate) limit: Duration,
    pub(crate) loss_percent: u32,
}

impl Delay {
    /// In parts of the limit.
    pub(crate) fn part(&self) -> f64 {
        self.after_death.as_secs_f64() / self.limit.as_secs_f64()
    }
}

/// What broke.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) plan: Plan,
    pub(crate) error: SimError,
    pub(crate) world: World,
}

impl Plan {
    /// What `seed` stands for.
    pub(crate) fn of(seed: u64) -> Result<Self, SimError> {
        let rng = &mut Rng::new(seed);
        let weather = *rng
            .pick(&[Weather::Calm, Weather::Bounded, Weather::Wild])
            .unwrap_or(&Weather::Wild);
        let ethernet = coin(rng);
        let traffic = draw_traffic(rng);
        let config = draw_config(rng, weather, ethernet, traffic);
        let road = draw_road(rng, weather, ethernet, config.idle());
        let ipv6 = coin(rng) && !matches!(road, Road::Nat(_));
        let loss = draw_loss(rng, weather, &config, ethernet)?;
        let mut conditions = Conditions::ideal()
            .latency(draw(rng, 0..=80, Duration::from_millis))
            .jitter(draw(rng, 0..=20, Duration::from_millis));
        if coin(rng) {
            conditions = conditions.duplication(Ratio::percent(5)?).reordering(
                Ratio::percent(5)?,
                draw(rng, 1..=100, Duration::from_millis),
            );
        }
        let mut storm = conditions.clone().loss(loss.clone());
        if weather == Weather::Wild && coin(rng) {
            storm = storm.corruption(Ratio::percent(3)?);
        }
        Ok(Self {
            seed,
            weather,
            ethernet,
            ipv6,
            road,
            config,
            connections: match loss {
                // What one connection gets through, another one would not get lost.
                Loss::Random {
                    longest_run: Some(_),
                    ..
                } => 1,
                _ => usize::try_from(rng.within(1..=4)).unwrap_or(1),
            },
            timestamps: coin(rng),
            traffic,
            loss,
            // None at all in half of them: then the verdict is exact.
            final_loss: u32::try_from(rng.within(0..=80))
                .unwrap_or(0)
                .saturating_sub(40),
            conditions,
            storm,
            safety: draw(rng, 600..=4 * 3600, secs),
            death: *rng
                .pick(&[Death::PowerCut, Death::Partition, Death::CableOut])
                .unwrap_or(&Death::PowerCut),
        })
    }

    /// From the moment at which all is well, every connection has to be open after that long:
    /// both ends have given up what is not, and a handshake that backs off tries again.
    fn recovery(&self) -> Duration {
        self.detection() * 2 + RETRANSMISSION * 2 + HANDSHAKE + secs(10)
    }

    /// The longest time in which the rules let a dead peer go unnoticed (K3, K5, K11).
    fn detection(&self) -> Duration {
        let config = &self.config;
        let detection = config.detection_time();
        // A clock may be slow by a thousandth. Where the neighbour lives on though the peer is dead, or
        // was lost before that, each attempt may have had to wait for its address, for an interval at
        // most (K4).
        let drift = detection / 1000;
        let is_neighbor_slow = matches!(self.road, Road::Nat(_)) || self.final_loss > 0;
        let detection = if self.ethernet && is_neighbor_slow {
            detection + config.interval() * u32::from(config.count())
        } else {
            detection
        };
        match (self.traffic, config.user_timeout()) {
            (Traffic::Silent, _) | (_, None) => detection + drift + SLACK,
            // The user timeout runs from when smoltcp asks again, at the latest; and once more if
            // it is we who have to ask.
            (_, Some(timeout)) => detection + drift + SLACK + timeout * 2 + RETRANSMISSION,
        }
    }

    fn client(&self) -> Script {
        let server = (self.server_address(), PORT).into();
        let script = Script::client(server)
            .keep_alive(self.config)
            .reconnect(secs(5));
        let script = match self.traffic {
            Traffic::Client { every, octets } => script.send_every(every, octets),
            Traffic::Stuffed { every } => script.send_every(every, 100),
            Traffic::Silent | Traffic::Server { .. } => script,
        };
        let script = if self.timestamps {
            script.timestamps()
        } else {
            script
        };
        script.sockets(self.connections)
    }

    fn server(&self) -> Script {
        let script = Script::server(PORT).keep_alive(self.config);
        let script = match self.traffic {
            Traffic::Server { every, octets } => script.send_every(every, octets),
            Traffic::Stuffed { .. } => script.without_reading(),
            Traffic::Silent | Traffic::Client { .. } => script,
        };
        let script = if self.timestamps {
            script.timestamps()
        } else {
            script
        };
        script.sockets(self.connections + 2)
    }

    fn address(&self, last: u8) -> IpAddress {
        if self.ipv6 {
            IpAddress::v6(0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into())
        } else {
            IpAddress::v4(192, 0, 2, last)
        }
    }

    fn server_address(&self) -> IpAddress {
        match self.road {
            Road::Nat(_) => IpAddress::v4(198, 51, 100, 2),
            _ => self.address(2),
        }
    }

    fn host(&self, address: IpAddress) -> Host {
        let address = IpCidr::new(address, 24);
        if self.ethernet {
            Host::ethernet(address)
        } else {
            Host::ip(address)
        }
    }
}

impl Plan {
    /// Builds what lies between the two. The first link has all the faults, the other is short.
    fn pave(
        &self,
        world: &mut World,
        device: Id<Host>,
        server: Id<Host>,
    ) -> Result<(LinkId, NodeId), SimError> {
        let medium = if self.ethernet {
            Medium::Ethernet
        } else {
            Medium::Ip
        };
        let hop: NodeId = match self.road {
            Road::Direct => {
                let link = world.link(device, server, self.conditions.clone())?;
                return Ok((link, server.into()));
            }
            Road::Switch => world.add("switch", Switch::new()).into(),
            Road::Firewall(mappings) if self.ethernet => {
                world.add("firewall", Firewall::ethernet(mappings)).into()
            }
            Road::Firewall(mappings) => world.add("firewall", Firewall::ip(mappings)).into(),
            Road::Nat(mappings) => {
                let outside = Ipv4Address::new(198, 51, 100, 1);
                world
                    .add("NAT", Nat::new(medium, medium, outside, mappings))
                    .into()
            }
        };
        let link = world.link(device, hop, self.conditions.clone())?;
        let short = Conditions::ideal().latency(Duration::from_millis(1));
        world.link(hop, server, short)?;
        Ok((link, hop))
    }
}

/// Runs `seed` to its end.
pub(crate) fn run(plan: &Plan) -> Result<(Outcome, World), Box<Failure>> {
    let mut world = World::new(plan.seed);
    let mut trial = match Trial::build(&mut world, plan) {
        Ok(trial) => trial,
        Err(error) => return Err(fail(plan, error, world)),
    };
    match trial.run(&mut world) {
        Ok(()) => Ok((trial.outcome, world)),
        Err(error) => Err(fail(plan, error, world)),
    }
}

fn fail(plan: &Plan, error: SimError, world: World) -> Box<Failure> {
    let plan = plan.clone();
    Box::new(Failure { plan, error, world })
}

struct Trial<'p> {
    plan: &'p Plan,
    device: Id<Host>,
    server: Id<Host>,
    /// The device's link, and who is at its other end.
    link: LinkId,
    next_hop: NodeId,
    outcome: Outcome,
}

impl<'p> Trial<'p> {
    fn build(world: &mut World, plan: &'p Plan) -> Result<Self, SimError> {
        let device = plan.host(plan.address(1)).app(plan.client());
        let device = world.add("device", device.gateway(plan.address(254)));
        let server = plan.host(plan.server_address()).app(plan.server());
        let server = world.add("server", server.gateway(IpAddress::v4(198, 51, 100, 254)));
        let (link, next_hop) = plan.pave(world, device, server)?;
        Ok(Self {
            plan,
            device,
            server,
            link,
            next_hop,
            outcome: Outcome::default(),
        })
    }

    fn run(&mut self, world: &mut World) -> Result<(), SimError> {
        self.endure(world)?;
        self.recover(world)?;
        self.die(world)?;
        self.count(world);
        Ok(())
    }

    /// The safety phase.
    fn endure(&mut self, world: &mut World) -> Result<(), SimError> {
        let plan = self.plan;
        // The connections are opened in peace.
        world.run_for(secs(5))?;
        let mut stormy = self.ends().to_vec();
        if matches!(plan.loss, Loss::Outages { .. }) && plan.weather == Weather::Bounded {
            // Outages of both directions could follow each other without end.
            stormy.truncate(1 + usize::from(plan.seed.is_multiple_of(2)));
            stormy = stormy.split_off(stormy.len() - 1);
        }
        for from in stormy {
            world.set_conditions(self.link, from, plan.storm.clone())?;
        }
        if plan.weather != Weather::Wild {
            world.promise_alive(self.device)?;
        }
        let end = world.now().saturating_add(plan.safety);
        let mut rng = world.rng().fork();
        for _ in 0..rng.within(0..=10) {
            let at = Instant::from_micros(rng.within(world.now().as_micros()..=end.as_micros()));
            self.plan_fault(world, &mut rng, at..=end)?;
        }
        world.run_until(end)
    }

    fn plan_fault(
        &self,
        world: &mut World,
        rng: &mut Rng,
        time: RangeInclusive<Instant>,
    ) -> Result<(), SimError> {
        let at = *time.start();
        let (device, server, link) = (self.device.into(), self.server.into(), self.link);
        match self.plan.weather {
            _ if rng.below(8) == 0 => {
                let host = if coin(rng) { self.device } else { self.server };
                change_options(world, rng, time, host, self.plan.config)
            }
            Weather::Calm => calm_fault(world, rng, at, device, &self.plan.config),
            Weather::Bounded => clock_fault(world, rng, at, device),
            Weather::Wild => {
                wild_fault(world, rng, time, [device, server], link, &self.plan.config)
            }
        }
    }

    /// Everything heals: every connection comes back, and stays.
    fn recover(&mut self, world: &mut World) -> Result<(), SimError> {
        let plan = self.plan;
        world.revoke_alive(self.device);
        let nodes: [NodeId; 2] = [self.device.into(), self.server.into()];
        for end in self.ends() {
            world.set_conditions(self.link, end, plan.conditions.clone())?;
        }
        for node in nodes {
            world.set_room(node, Room::Plenty)?;
            world.set_pace(node, Duration::ZERO)?;
        }
        world.repair(self.link)?;
        for node in nodes {
            world.wake(node)?;
        }
        self.outcome.network_verdicts = verdicts(world, Instant::ZERO);
        world.remark("everything heals");
        world.run_for(plan.recovery() + stepped_back(world))?;
        for handle in self.clients(world) {
            let socket = world[self.device].tcp(handle);
            if socket.state() != tcp::State::Established {
                world.remark(format!("{handle} has not come back"));
                return Err(SimError::NoSuchConnection);
            }
        }
        world.promise_alive(self.device)?;
        world.promise_alive(self.server)?;
        world.run_for(plan.config.detection_time() * 3)
    }

    /// The peer dies.
    fn die(&mut self, world: &mut World) -> Result<(), SimError> {
        let plan = self.plan;
        world.revoke_alive(self.device);
        world.revoke_alive(self.server);
        let loss = Loss::random(Ratio::percent(plan.final_loss)?);
        for end in self.ends() {
            world.set_conditions(self.link, end, plan.conditions.clone().loss(loss.clone()))?;
        }
        let pause = plan.config.idle() * 2;
        let pause = world.rng().duration(Duration::ZERO..=pause);
        world.run_for(pause)?;
        let death = world.now();
        match plan.death {
            Death::PowerCut => world.crash(self.server)?,
            Death::Partition => world.partition(self.link)?,
            Death::CableOut => world.unplug(self.link)?,
        }
        // What is on its way is still heard.
        world.run_for(secs(1))?;
        for handle in self.clients(world) {
            if world[self.device].tcp(handle).state() == tcp::State::Established {
                let since = self.silent_since(world, handle)?.unwrap_or(death);
                world.promise_dead(self.device, handle, since.saturating_add(plan.detection()))?;
            }
        }
        world.run_until(death.saturating_add(plan.detection() + secs(1)))?;
        for (at, verdict) in verdicts_since(world, self.device, death) {
            let detection_time = plan.config.detection_time();
            let limit = match verdict.cause {
                Cause::UserTimeout => plan.detection(),
                _ => detection_time,
            };
            self.outcome.delays.push(Delay {
                after_death: at.saturating_duration_since(death),
                cause: verdict.cause,
                limit,
                loss_percent: plan.final_loss,
            });
        }
        Ok(())
    }

    /// When the peer of a quiet connection was last heard, by the world's clock: from then on, to the
    /// tick of a clock, the verdict is due. One that is busy has the user timeout too.
    fn silent_since(
        &self,
        world: &World,
        handle: SocketHandle,
    ) -> Result<Option<Instant>, SimError> {
        if self.plan.traffic != Traffic::Silent {
            return Ok(None);
        }
        let heard = world[self.device].keep_alive.last_heard(handle);
        let heard = heard.and_then(|heard| u64::try_from(heard.total_micros()).ok());
        let clock = world.clock(self.device)?;
        Ok(heard.map(|micros| clock.world_time_of(Instant::from_micros(micros))))
    }

    /// The ends of the link with the faults.
    fn ends(&self) -> [NodeId; 2] {
        [self.device.into(), self.next_hop]
    }

    fn clients(&self, world: &World) -> Vec<SocketHandle> {
        let script = world[self.device].app_ref::<Script>();
        script.map(Script::handles).unwrap_or_default()
    }

    fn count(&mut self, world: &World) {
        let host = &world[self.device];
        let stats = |handle| host.keep_alive.stats(handle);
        let handles = self.clients(world);
        let connections = u64::try_from(handles.len()).unwrap_or(0);
        let probes = handles.into_iter().filter_map(stats);
        self.outcome.probes = probes.map(|stats| u64::from(stats.probes_sent)).sum();
        self.outcome.probes_checked = world.probes_checked();
        self.outcome.frames = u64::try_from(world.trace().entries().len()).unwrap_or(0);
        self.outcome.connection_micros = connections * (world.now().as_micros() - 1_000_000_000);
    }
}

fn verdicts_since(
    world: &World,
    host: Id<Host>,
    since: Instant,
) -> impl Iterator<Item = (Instant, Verdict)> {
    let notes = world.trace().notes().filter(move |note| note.at >= since);
    notes.filter_map(move |note| match note.what {
        Happening::KeepAlive {
            event: Event::TimedOut(verdict),
            ..
        } if note.node == Some(host.into()) => Some((note.at, verdict)),
        _ => None,
    })
}

fn verdicts(world: &World, since: Instant) -> u64 {
    let notes = world.trace().notes().filter(|note| note.at >= since);
    let is_verdict = |what: &Happening| {
        matches!(
            what,
            Happening::KeepAlive {
                event: Event::TimedOut(_),
                ..
            }
        )
    };
    u64::try_from(notes.filter(|note| is_verdict(&note.what)).count()).unwrap_or(0)
}

/// By how much all clocks together were set back: what was due is due as much later (K10).
fn stepped_back(world: &World) -> Duration {
    let notes = world.trace().notes();
    notes
        .filter_map(|note| match note.what {
            Happening::ClockSteppedBack(by) => Some(by),
            _ => None,
        })
        .sum()
}

// What is drawn.

fn coin(rng: &mut Rng) -> bool {
    rng.below(2) == 0
}

fn draw(rng: &mut Rng, range: RangeInclusive<u64>, unit: fn(u64) -> Duration) -> Duration {
    unit(rng.within(range))
}

/// A box that forgets a connection later than its keep-alive speaks, in fair weather also if
/// that has to speak through an outage. A host that sleeps is forgotten by all of them.
fn draw_road(rng: &mut Rng, weather: Weather, ethernet: bool, idle: Duration) -> Road {
    let choices: &[Mappings] = match idle.as_secs() {
        0..200 if weather == Weather::Wild => &[Mappings::AZURE, Mappings::AWS, Mappings::RFC5382],
        0..300 if weather == Weather::Wild => &[Mappings::AWS, Mappings::RFC5382],
        _ => &[Mappings::RFC5382],
    };
    let mappings = *rng.pick(choices).unwrap_or(&Mappings::RFC5382);
    match rng.below(4) {
        0 if ethernet => Road::Switch,
        1 if weather != Weather::Calm => Road::Firewall(mappings),
        2 if weather != Weather::Calm => Road::Nat(mappings),
        _ => Road::Direct,
    }
}

fn draw_traffic(rng: &mut Rng) -> Traffic {
    let every = draw(rng, 1..=600, secs);
    let octets = usize::try_from(rng.within(1..=300)).unwrap_or(1);
    match rng.below(6) {
        0..=2 => Traffic::Silent,
        3 => Traffic::Client { every, octets },
        4 => Traffic::Server { every, octets },
        _ => Traffic::Stuffed { every },
    }
}

/// A configuration that the weather can be borne with.
///
/// If neither direction loses more than one frame in a row, 4 probes are enough
/// ([`Loss::at_most_in_a_row`]). Two probes within a second are too few for any peer: smoltcp answers
/// only one of them, and that only if it knows where to.
fn draw_config(rng: &mut Rng, weather: Weather, ethernet: bool, traffic: Traffic) -> Config {
    let (interval, count, timeout) = match weather {
        Weather::Calm => (2..=20, 3..=9, 20..=600),
        Weather::Bounded if ethernet => (5..=20, 5..=20, 400..=900),
        Weather::Bounded => (2..=20, 5..=10, 400..=900),
        Weather::Wild => (2..=20, 2..=9, 5..=300),
    };
    let idle = draw(rng, 1..=600, secs);
    let interval = draw(rng, interval, secs);
    let count = u8::try_from(rng.within(count)).unwrap_or(u8::MAX);
    let timeout = draw(rng, timeout, secs);
    // Without a user timeout whoever is busy is never given up.
    let has_timeout = traffic != Traffic::Silent || coin(rng);
    let payload = if coin(rng) {
        ProbePayload::Empty
    } else {
        ProbePayload::GarbageOctet
    };
    Config::new(idle, interval, count)
        .and_then(|config| {
            if has_timeout {
                config.with_user_timeout(timeout)
            } else {
                Ok(config)
            }
        })
        .unwrap_or(Config::DEFAULT)
        .with_payload(payload)
}

fn draw_loss(
    rng: &mut Rng,
    weather: Weather,
    config: &Config,
    ethernet: bool,
) -> Result<Loss, SimError> {
    let percent =
        |rng: &mut Rng, range| Ratio::percent(u32::try_from(rng.within(range)).unwrap_or(0));
    Ok(match (weather, rng.below(4)) {
        (Weather::Calm, _) | (Weather::Wild, 0) => Loss::None,
        // On an Ethernet questions for addresses come between, and the luck begins anew.
        (Weather::Bounded, 0 | 1) if !ethernet => Loss::at_most_in_a_row(percent(rng, 1..=60)?, 1),
        (Weather::Bounded, _) => {
            // A probe falls between any two outages, and before the verdict.
            let interval = config.interval();
            let longest = interval * (u32::from(config.count()) - 3);
            let shortest_up = (interval * 3 + secs(5)).max(RETRANSMISSION + secs(10));
            Loss::outages(shortest_up..=secs(900).max(shortest_up), secs(1)..=longest)?
        }
        (Weather::Wild, 1) => Loss::random(percent(rng, 1..=60)?),
        (Weather::Wild, 2) => Loss::bursts(percent(rng, 1..=10)?, percent(rng, 1..=50)?),
        (Weather::Wild, _) => Loss::outages(secs(10)..=secs(1200), secs(1)..=secs(1200))?,
    })
}

// What goes wrong.

/// What a host does to itself, none of which may be held against its peers.
fn calm_fault(
    world: &mut World,
    rng: &mut Rng,
    at: Instant,
    device: NodeId,
    config: &Config,
) -> Result<(), SimError> {
    // Blocked for longer, it could not send the attempts that it has (K4).
    let longest = config.interval() * u32::from(config.count() - 2);
    let longest = longest.min(config.user_timeout().unwrap_or(longest) / 3);
    let short = rng.duration(Duration::from_millis(1)..=longest);
    match rng.below(5) {
        0 => {
            let asleep = draw(rng, 1..=7200, secs);
            world.at(at, move |world| world.sleep(device, asleep))
        }
        1 => {
            let by = draw(rng, 1..=7200, secs);
            world.at(at, move |world| world.clock_jump(device, by))
        }
        2 => {
            let room = if coin(rng) {
                Room::None
            } else {
                Room::NoneToTransmit
            };
            world.at(at, move |world| world.set_room(device, room))?;
            world.at(at.saturating_add(short), move |world| {
                world.set_room(device, Room::Plenty)
            })
        }
        _ => clock_fault(world, rng, at, device),
    }
}

/// An application that changes its mind: other options for a while, or none.
fn change_options(
    world: &mut World,
    rng: &mut Rng,
    time: RangeInclusive<Instant>,
    host: Id<Host>,
    config: Config,
) -> Result<(), SimError> {
    let (at, end) = time.into_inner();
    let over = at.saturating_add(draw(rng, 1..=1800, secs)).min(end);
    let other = match rng.below(3) {
        0 => None,
        1 => Config::new(config.idle() * 2, config.interval(), config.count()).ok(),
        _ => Config::new(config.idle(), config.interval() * 2, config.count()).ok(),
    };
    let set = move |world: &mut World, config: Option<Config>| {
        let host = &mut world[host];
        let handles: Vec<SocketHandle> = host.tcp_sockets().map(|(handle, _)| handle).collect();
        for handle in handles {
            match config {
                None => host.keep_alive.disable(handle),
                // There was room for all of them before.
                Some(config) => drop(host.keep_alive.enable(handle, config)),
            }
        }
        Ok(())
    };
    world.at(at, move |world| set(world, other))?;
    world.at(over, move |world| set(world, Some(config)))
}

/// Clocks that are not quite right.
fn clock_fault(
    world: &mut World,
    rng: &mut Rng,
    at: Instant,
    node: NodeId,
) -> Result<(), SimError> {
    match rng.below(4) {
        0 => {
            let ppm = i32::try_from(rng.within(0..=400)).unwrap_or(0) - 200;
            world.at(at, move |world| world.clock_drift(node, ppm))
        }
        1 => {
            let tick = draw(rng, 1..=10, Duration::from_millis);
            world.at(at, move |world| world.clock_tick(node, tick))
        }
        2 => {
            let by = draw(rng, 1..=60_000, Duration::from_millis);
            world.at(at, move |world| world.clock_step_back(node, by))
        }
        _ => {
            let pace = draw(rng, 1..=200, Duration::from_millis);
            world.at(at, move |world| world.set_pace(node, pace))
        }
    }
}

/// Whatever can go wrong.
fn wild_fault(
    world: &mut World,
    rng: &mut Rng,
    time: RangeInclusive<Instant>,
    nodes: [NodeId; 2],
    link: LinkId,
    config: &Config,
) -> Result<(), SimError> {
    let (at, end) = time.into_inner();
    let node = *rng.pick(&nodes).unwrap_or(&nodes[0]);
    let over = at.saturating_add(draw(rng, 1..=1800, secs)).min(end);
    match rng.below(11) {
        10 => {
            // Asleep while the peer is asked, and out of reach until then.
            let asks = config.interval() * u32::from(config.count());
            let falls_asleep = config.idle() + rng.duration(Duration::ZERO..=asks);
            let asleep = rng.duration(config.interval()..=asks * 2);
            let repaired = falls_asleep + asleep / 2;
            let after = |duration| at.saturating_add(duration).min(end);
            world.at(at, move |world| world.partition(link))?;
            world.at(after(falls_asleep), move |world| world.sleep(node, asleep))?;
            world.at(after(repaired), move |world| world.repair(link))
        }
        0 => {
            world.at(at, move |world| world.partition(link))?;
            world.at(over, move |world| world.repair(link))
        }
        1 => {
            let [device, _] = nodes;
            world.at(at, move |world| world.partition_oneway(link, device))?;
            world.at(over, move |world| world.repair(link))
        }
        2 => {
            world.at(at, move |world| world.unplug(link))?;
            world.at(over, move |world| world.repair(link))
        }
        3 => {
            world.at(at, move |world| world.hold(link))?;
            world.at(over, move |world| world.release(link))
        }
        4 => {
            world.at(at, move |world| world.crash(node))?;
            world.at(over, move |world| world.reboot(node, Memory::Lost))
        }
        5 => world.at(at, move |world| world.reboot(node, Memory::Lost)),
        6 => {
            world.at(at, move |world| world.crash(node))?;
            world.at(over, move |world| world.reboot(node, Memory::Kept))
        }
        7 => {
            let asleep = over.saturating_duration_since(at);
            world.at(at, move |world| world.sleep(node, asleep))
        }
        8 => {
            let room = if coin(rng) {
                Room::None
            } else {
                Room::Frames(3)
            };
            world.at(at, move |world| world.set_room(node, room))?;
            world.at(over, move |world| world.set_room(node, Room::Plenty))
        }
        _ => clock_fault(world, rng, at, node),
    }
}
