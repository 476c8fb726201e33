//! One seed: a network drawn at random, faults at random, and then an end to them.
//!
//! First a phase in which only safety counts: whatever happens, no invariant may break, and on a
//! network good enough no live peer may be given up. Then everything heals, and every connection
//! has to come back within a bound, and stay. Then the peer dies, and has to be given up within a
//! bound. All of it is a function of the seed.

mod faults;
mod plan;

use std::ops::RangeInclusive;
use std::time::Duration;

use smoltcp::iface::SocketHandle;
use smoltcp::phy::Medium;
use smoltcp::socket::tcp;
use smoltcp::wire::{IpAddress, Ipv4Address};
use tcp_keepalive::{Cause, Event, Instant, Verdict};
use tcp_keepalive_sim::trace::Happening;
use tcp_keepalive_sim::{
    Conditions, Firewall, Host, Id, LinkId, Loss, Nat, NodeId, Ratio, Rng, Room, Script, SimError,
    Switch, World,
};

use self::faults::{calm_fault, change_options, clock_fault, wild_fault};
use self::plan::{Death, Road, Traffic, coin, secs};
pub(crate) use self::plan::{Plan, Weather};

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
    /// The time that it may take, by its cause.
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
        let (device, link) = (self.device.into(), self.link);
        match self.plan.weather {
            _ if rng.below(8) == 0 => {
                let host = if coin(rng) { self.device } else { self.server };
                change_options(world, rng, time, host, self.plan.config)
            }
            Weather::Calm => calm_fault(world, rng, at, device, &self.plan.config),
            Weather::Bounded => clock_fault(world, rng, at, device),
            Weather::Wild => {
                let hosts = [self.device, self.server];
                wild_fault(world, rng, time, hosts, link, self.plan)
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
