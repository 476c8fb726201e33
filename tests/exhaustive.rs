//! Everything that can happen to one small connection: machine, host, clock, network and peer.
//!
//! `cargo test --test exhaustive -- --nocapture` tells how many states there were;
//! `EXHAUSTIVE_DEPTH` is the number of steps up to which they are explored.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    reason = "a helper of a test may fail as a test does"
)]

#[path = "exhaustive/explore.rs"]
mod explore;
#[path = "exhaustive/ledger.rs"]
mod ledger;
#[path = "exhaustive/world.rs"]
mod world;

use explore::{Explored, explore};
use world::{Budget, Options, Setting};

const QUIET_ONLY: Options = Options {
    idle: 3,
    interval: 2,
    count: 2,
    user_timeout: None,
};
const THREE: Options = Options {
    idle: 2,
    interval: 1,
    count: 3,
    user_timeout: None,
};
const WITH_USER_TIMEOUT: Options = Options {
    idle: 2,
    interval: 2,
    count: 2,
    user_timeout: Some(3),
};
const ALL: [Options; 3] = [QUIET_ONLY, THREE, WITH_USER_TIMEOUT];

const NOTHING: Budget = Budget {
    losses: Some(0),
    sleeps: 0,
    steps_back: 0,
    writes: 0,
    device_failures: 0,
    switches: 0,
};

const ANY_LOSS: Budget = Budget {
    losses: None,
    ..NOTHING
};

fn depth(unless_given: usize) -> usize {
    std::env::var("EXHAUSTIVE_DEPTH").map_or(unless_given, |depth| depth.parse().unwrap())
}

fn explored(name: &str, setting: Setting, depth: usize) -> Explored {
    let explored = explore(setting, depth);
    let Options {
        idle,
        interval,
        count,
        user_timeout,
    } = setting.options;
    let user_timeout = user_timeout.map_or("none".into(), |ticks| ticks.to_string());
    println!(
        "{name:<16} idle {idle} interval {interval} count {count} user timeout {user_timeout:<4} {explored}"
    );
    explored
}

/// Each trouble alone, as often as a round of silence needs to show what comes of it.
const TROUBLES: [(&str, Budget); 6] = [
    ("quiet", ANY_LOSS),
    (
        "sleeps",
        Budget {
            sleeps: 1,
            ..ANY_LOSS
        },
    ),
    (
        "clock back",
        Budget {
            steps_back: 1,
            ..ANY_LOSS
        },
    ),
    (
        "writes",
        Budget {
            writes: 1,
            ..ANY_LOSS
        },
    ),
    (
        "device fails",
        Budget {
            device_failures: 1,
            ..ANY_LOSS
        },
    ),
    (
        "switched off",
        Budget {
            switches: 1,
            ..ANY_LOSS
        },
    ),
];

/// Whatever the peer and the network do, with one kind of trouble besides, no promise is broken on
/// the way; and wherever that leads, a dead peer is given up in time and a live one is not.
#[test]
fn with_one_trouble_the_promises_hold() {
    for options in ALL {
        for (name, budget) in TROUBLES {
            let setting = Setting {
                options,
                budget,
                live: false,
            };
            let explored = explored(name, setting, depth(10));
            assert!(!explored.complete || explored.verdicts > 0);
        }
    }
}

/// The same with all troubles together.
#[test]
fn with_every_trouble_the_promises_hold() {
    for options in ALL {
        let setting = Setting {
            options,
            budget: Budget {
                losses: None,
                sleeps: 1,
                steps_back: 1,
                writes: 1,
                device_failures: 1,
                switches: 1,
            },
            live: false,
        };
        explored("everything", setting, depth(5));
    }
}

/// A live peer of which one answer less than `count` is lost is never given up, and one of which
/// `count` are lost can be.
#[test]
fn a_live_peer_survives_one_loss_less_than_count() {
    for options in ALL {
        for (losses, survives) in [(options.count - 1, true), (options.count, false)] {
            let budget = Budget {
                losses: Some(losses),
                ..NOTHING
            };
            let setting = Setting {
                options,
                budget,
                live: true,
            };
            let explored = explored("losses", setting, 100);
            assert!(explored.complete);
            assert_eq!(explored.verdicts == 0, survives);
        }
    }
}

/// A live peer is not given up by a host that sleeps through up to `count` of its answers, and by
/// one that sleeps through more it can be.
#[test]
fn a_live_peer_survives_as_many_sleeps_as_count() {
    for options in ALL {
        for (sleeps, survives) in [(options.count, true), (options.count + 1, false)] {
            let budget = Budget { sleeps, ..NOTHING };
            let setting = Setting {
                options,
                budget,
                live: true,
            };
            let explored = explored("sleeps", setting, 100);
            assert!(explored.complete);
            assert_eq!(explored.verdicts == 0, survives);
        }
    }
}
