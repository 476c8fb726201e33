//! What a seed stands for.

use std::fmt;
use std::ops::RangeInclusive;
use std::time::Duration;

use smoltcp::wire::{IpAddress, IpCidr};
use tcp_keepalive::{Config, ProbePayload};
use tcp_keepalive_sim::{Conditions, Host, Loss, Mappings, Ratio, Rng, Script, SimError};

const PORT: u16 = 7;
/// What the ticks of a clock may add to any bound.
const SLACK: Duration = Duration::from_millis(500);
/// The longest time between two retransmissions or window probes of smoltcp's.
const RETRANSMISSION: Duration = Duration::from_secs(60);

/// Frames a device keeps that is never to lose one: all that comes within hours of sleep.
const ROOMY_RING: usize = 4096;

/// How long a scripted server waits for the end of a handshake.
const HANDSHAKE: Duration = Duration::from_secs(30);

pub(super) const fn secs(count: u64) -> Duration {
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
pub(super) enum Traffic {
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
pub(super) enum Road {
    Direct,
    Switch,
    Firewall(Mappings),
    Nat(Mappings),
}

/// How the peer dies.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Death {
    PowerCut,
    Partition,
    CableOut,
}

/// What a seed stands for.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(super) seed: u64,
    pub(crate) weather: Weather,
    pub(super) ethernet: bool,
    pub(super) ipv6: bool,
    pub(super) road: Road,
    pub(crate) config: Config,
    pub(super) connections: usize,
    pub(super) timestamps: bool,
    pub(super) traffic: Traffic,
    pub(super) loss: Loss,
    /// The loss in the end, in percent.
    pub(crate) final_loss: u32,
    /// What the network is like when all is well, and before.
    pub(super) conditions: Conditions,
    pub(super) storm: Conditions,
    pub(super) safety: Duration,
    pub(super) death: Death,
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
    pub(super) fn recovery(&self) -> Duration {
        self.detection() * 2 + RETRANSMISSION * 2 + HANDSHAKE + secs(10)
    }

    /// The longest time in which the rules let a dead peer go unnoticed (K3, K5, K11).
    pub(super) fn detection(&self) -> Duration {
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
            (_, Some(timeout)) => detection + drift + SLACK + timeout * 3 + RETRANSMISSION,
        }
    }

    pub(super) fn client(&self) -> Script {
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
        // A device that draws its ports at random does not come back from the same ones.
        let script = if self.seed.is_multiple_of(2) {
            script.same_ports()
        } else {
            script
        };
        script.sockets(self.connections)
    }

    pub(super) fn server(&self) -> Script {
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

    pub(super) fn address(&self, last: u8) -> IpAddress {
        if self.ipv6 {
            IpAddress::v6(0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into())
        } else {
            IpAddress::v4(192, 0, 2, last)
        }
    }

    pub(super) fn server_address(&self) -> IpAddress {
        match self.road {
            Road::Nat(_) => IpAddress::v4(198, 51, 100, 2),
            _ => self.address(2),
        }
    }

    pub(super) fn host(&self, address: IpAddress) -> Host {
        let address = IpCidr::new(address, 24);
        let host = if self.ethernet {
            Host::ethernet(address)
        } else {
            Host::ip(address)
        };
        if self.weather == Weather::Wild {
            host
        } else {
            // A host that wakes up answers in one go all who looked for it meanwhile.
            host.ring(ROOMY_RING)
        }
    }
}

pub(super) fn coin(rng: &mut Rng) -> bool {
    rng.below(2) == 0
}

pub(super) fn draw(
    rng: &mut Rng,
    range: RangeInclusive<u64>,
    unit: fn(u64) -> Duration,
) -> Duration {
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
    // Without a user timeout a busy connection is never given up.
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
