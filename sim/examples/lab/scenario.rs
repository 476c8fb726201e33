//! The scenarios: small worlds in which something happens, and what has to come of it.

mod attacker;
mod device;
mod middlebox;
mod network;
mod peer;
mod pool;
mod stage;

use tcp_keepalive::Config;
use tcp_keepalive_sim::SimError;

pub(crate) use self::stage::{Claim, Stage};

/// Something to be shown.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// What happens, in a line.
    pub(crate) summary: &'static str,
    /// What that shows, in some lines.
    pub(crate) shows: &'static str,
    pub(crate) config: Config,
    /// Says what is missing for this keep-alive to show anything.
    pub(crate) needs: fn(&Config) -> Result<(), &'static str>,
    play: fn(&mut Stage) -> Result<(), SimError>,
}

impl std::fmt::Debug for Scenario {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_tuple("Scenario").field(&self.name).finish()
    }
}

/// All of them, in the order in which they are best read.
pub(crate) const ALL: &[&Scenario] = &[
    &peer::HALF_OPEN,
    &peer::PLAIN,
    &peer::LIVE_PEER,
    &peer::REBOOT,
    &peer::IN_FLIGHT,
    &peer::ZERO_WINDOW,
    &network::LOSSY,
    &network::BURST,
    &network::ARP_LOST,
    &network::CABLE_OUT,
    &network::SWITCH,
    &middlebox::NAT_FORGETS,
    &middlebox::FIREWALL_AZURE,
    &device::SLEEP,
    &device::CLOCK_JUMP,
    &device::BLOCKED,
    &attacker::BLIND,
    &pool::POOL,
];

/// The scenario of that name.
pub(crate) fn find(name: &str) -> Option<&'static Scenario> {
    ALL.iter().copied().find(|scenario| scenario.name == name)
}

/// The name that is most like it.
pub(crate) fn nearest(name: &str) -> &'static str {
    let distance = |known: &&str| strsim::damerau_levenshtein(known, name);
    let names = ALL.iter().map(|scenario| scenario.name);
    names.min_by_key(distance).unwrap_or_default()
}

/// A scenario that was played, to its end or not.
#[derive(Debug)]
pub(crate) struct Run {
    pub(crate) stage: Stage,
    pub(crate) result: Result<(), SimError>,
}

impl Scenario {
    pub(crate) fn play(&self, config: Config, seed: u64) -> Run {
        let mut stage = Stage::new(config, seed);
        let result = (self.play)(&mut stage);
        Run { stage, result }
    }
}

impl Run {
    /// What has to hold did.
    pub(crate) fn is_as_claimed(&self) -> bool {
        self.result.is_ok() && self.stage.claims.iter().all(|claim| claim.holds)
    }
}

/// A keep-alive, in seconds.
const fn keep_alive(idle: u64, interval: u64, count: u8) -> Config {
    use std::time::Duration;

    let config = Config::new(
        Duration::from_secs(idle),
        Duration::from_secs(interval),
        count,
    );
    match config {
        Ok(config) => config,
        Err(_) => panic!("no such keep-alive"),
    }
}

/// Needs nothing.
#[expect(
    clippy::unnecessary_wraps,
    reason = "it stands where others need something"
)]
const fn nothing(_: &Config) -> Result<(), &'static str> {
    Ok(())
}

/// smoltcp remembers a neighbour that it does not hear from for a minute.
fn forgotten_neighbor(config: &Config) -> Result<(), &'static str> {
    if config.idle().as_secs() > 60 {
        Ok(())
    } else {
        Err("an --idle above 60s: so long a neighbour's address is remembered")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Every scenario shows what it claims, with the luck of several seeds.
    #[test]
    fn claims_hold() {
        for scenario in ALL {
            for seed in [1, 2, 3] {
                let run = scenario.play(scenario.config, seed);
                let name = scenario.name;
                assert_eq!(run.result, Ok(()), "{name}, seed {seed}");
                assert!(!run.stage.claims.is_empty(), "{name} claims nothing");
                for claim in &run.stage.claims {
                    assert!(claim.holds, "{name}, seed {seed}: {}", claim.sentence);
                }
            }
        }
    }

    /// Below the middlebox's timeout, the connection lives.
    #[test]
    fn short_idle_keeps_mappings() {
        for (scenario, idle) in [
            (&middlebox::NAT_FORGETS, 300),
            (&middlebox::FIREWALL_AZURE, 200),
        ] {
            let run = scenario.play(keep_alive(idle, 30, 4), 1);
            assert!(run.is_as_claimed(), "{:?}", run.stage.claims);
            assert!(run.stage.verdicts().is_empty());
        }
    }

    /// A claim that does not hold is told: with two probes a live peer may be given up.
    #[test]
    fn too_small_a_count_is_caught() {
        let runs = (1..20).map(|seed| network::LOSSY.play(keep_alive(60, 10, 2), seed));
        let mut runs = runs.filter(|run| !run.is_as_claimed());
        assert!(runs.next().is_some());
    }

    /// Whatever times are given, no scenario panics or goes on for ever.
    #[test]
    fn odd_times_are_borne() {
        let odd = [
            keep_alive(1, 1, 2),
            keep_alive(1_000 * 3600, 75, 9),
            keep_alive(7200, 20, 255),
        ];
        for scenario in ALL {
            for config in odd.iter().filter(|config| (scenario.needs)(config).is_ok()) {
                let config = match scenario.config.user_timeout() {
                    Some(timeout) => config.with_user_timeout(timeout).unwrap(),
                    None => *config,
                };
                let run = scenario.play(config, 1);
                assert_eq!(run.result, Ok(()), "{}: {config:?}", scenario.name);
            }
        }
    }

    /// A neighbour that is dead does not starve one that is alive, though both are due for a probe at
    /// the same moment and each has to be asked for its hardware address first.
    #[test]
    fn dead_neighbor_does_not_starve_a_live_one() {
        let run = network::SWITCH.play(keep_alive(120, 10, 5), 1);
        assert!(run.is_as_claimed(), "{:?}", run.stage.claims);
    }

    /// Names are for the command line, and each is of one scenario.
    #[test]
    fn names_are_distinct() {
        for (index, scenario) in ALL.iter().enumerate() {
            let is_plain = |it: char| it.is_ascii_lowercase() || it == '-';
            assert!(scenario.name.chars().all(is_plain), "{}", scenario.name);
            let first = ALL.iter().position(|other| other.name == scenario.name);
            assert_eq!(first, Some(index), "{}", scenario.name);
            assert!(!["list", "sweep", "help"].contains(&scenario.name));
        }
    }
}
