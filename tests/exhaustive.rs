//! Everything that can happen to one small connection: machine, host, clock, network and peer. The
//! model of `tests/model` says what the machine has to do; a ledger holds the promises against
//! both.
//!
//! `cargo test --test exhaustive -- --nocapture` tells how many states there were;
//! `EXHAUSTIVE_DEPTH` is the number of steps up to which they are explored.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::unwrap_used,
    reason = "a helper of a test may fail as a test does"
)]

#[path = "model/both.rs"]
mod both;
#[path = "exhaustive/explore.rs"]
mod explore;
#[path = "exhaustive/ledger.rs"]
mod ledger;
#[path = "model/rules.rs"]
mod rules;
#[path = "exhaustive/world.rs"]
mod world;

use explore::{Explored, explore, ways};
use world::Step::{Serve, Tick, Write};
use world::{Budget, Options, START, Setting, Step, World};

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
const SHORT: Options = Options {
    idle: 1,
    interval: 1,
    count: 2,
    user_timeout: Some(1),
};
const LONG: Options = Options {
    idle: 5,
    interval: 4,
    count: 3,
    user_timeout: None,
};
const MIXED: Options = Options {
    idle: 4,
    interval: 1,
    count: 4,
    user_timeout: Some(6),
};
/// What the application may set besides.
const OTHERS: [Options; 3] = [SHORT, LONG, MIXED];
const ALL: [Options; 3] = [QUIET_ONLY, THREE, WITH_USER_TIMEOUT];

/// What leads to where a verdict is near.
const NEAR: [(Options, &[Step]); 3] = [
    (QUIET_ONLY, &[Tick, Tick, Tick, Serve, Tick, Tick]),
    (THREE, &[Tick, Tick, Serve, Tick, Serve, Tick]),
    (WITH_USER_TIMEOUT, &[Write, Tick, Tick, Tick]),
];

const NOTHING: Budget = Budget {
    losses: Some(0),
    sleeps: 0,
    steps_back: 0,
    writes: 0,
    device_failures: 0,
    switches: 0,
    reconfigurations: 0,
    evidence: 0,
};

const ANY_LOSS: Budget = Budget {
    losses: None,
    ..NOTHING
};

fn troubled(options: Options, budget: Budget) -> Setting {
    Setting {
        options,
        others: &OTHERS,
        budget,
        lead: &[],
        live: false,
    }
}

fn depth(unless_given: usize) -> usize {
    std::env::var("EXHAUSTIVE_DEPTH").map_or(unless_given, |depth| depth.parse().unwrap())
}

/// As far as `depth`, or all there is; what is promised does not hold for want of looking.
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
        "{name:<27} idle {idle} interval {interval} count {count} user timeout {user_timeout:<4} {explored}"
    );
    assert!(explored.complete || explored.depth == depth);
    if depth >= setting.options.steps_to_verdict() {
        let by_count = explored.verdicts - explored.by_user_timeout;
        let can_be_given_up = !setting.live;
        assert!(by_count > 0 || !can_be_given_up, "no verdict was reached");
    }
    explored
}

/// Each trouble alone, as often as a round of silence needs to show what comes of it.
const TROUBLES: [(&str, Budget); 8] = [
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
    (
        "reconfigured",
        Budget {
            reconfigurations: 1,
            ..ANY_LOSS
        },
    ),
    (
        "evidence",
        Budget {
            evidence: 1,
            ..ANY_LOSS
        },
    ),
];

/// Whatever the peer and the network do, with one kind of trouble besides, no promise is broken on
/// the way; and wherever that leads, a dead peer is given up in time and a live one is not.
#[test]
fn with_one_trouble_the_promises_hold() {
    for options in ALL {
        let depth = depth(10);
        for (name, budget) in TROUBLES {
            let explored = explored(name, troubled(options, budget), depth);
            let may_owe = options.user_timeout.is_some() && budget.writes > 0;
            let may_strike = options.user_timeout.filter(|_| may_owe && depth >= 10);
            assert!(may_strike.is_none() || explored.by_user_timeout > 0);
        }
    }
}

/// Nothing shows a verdict that comes too early as well as one that could not come earlier: without
/// any trouble there is none before the last step, and then there is.
#[test]
fn without_trouble_a_verdict_takes_every_tick_and_every_probe() {
    for options in ALL {
        let setting = troubled(options, ANY_LOSS);
        let steps = options.steps_to_verdict();
        assert_eq!(explored("quiet", setting, steps - 1).verdicts, 0);
        assert!(explored("quiet", setting, steps).verdicts > 0);
    }
}

/// The same with new options before, amid or after one trouble of another kind, from the beginning and
/// from where a verdict is near.
#[test]
fn with_new_options_besides_the_promises_hold() {
    for (options, lead) in NEAR {
        let others = TROUBLES.iter().filter(|(_, budget)| *budget != ANY_LOSS);
        for (name, budget) in others.filter(|(_, budget)| budget.reconfigurations == 0) {
            let budget = Budget {
                reconfigurations: 1,
                ..*budget
            };
            let name = format!("{name}, reconfigured");
            let setting = troubled(options, budget);
            explored(&name, setting, depth(5));
            explored(&name, Setting { lead, ..setting }, depth(4));
        }
    }
}

/// The same while a probe waits to leave for longer than an interval, on a host that may sleep.
#[test]
fn with_new_options_while_a_probe_waits_the_promises_hold() {
    for options in ALL {
        let budget = Budget {
            sleeps: 1,
            device_failures: 1,
            reconfigurations: 1,
            ..ANY_LOSS
        };
        let setting = Setting {
            others: &OTHERS[..1],
            ..troubled(options, budget)
        };
        explored("waiting, reconfigured", setting, depth(7));
    }
}

/// The same on a host that sleeps twice while the peer owes it an answer: the user timeout asks once
/// more, and then it decides.
#[test]
fn with_two_sleeps_while_busy_the_promises_hold() {
    let budget = Budget {
        sleeps: 2,
        writes: 1,
        ..ANY_LOSS
    };
    let steps = depth(6);
    let setting = troubled(WITH_USER_TIMEOUT, budget);
    let explored = explored("sleeps while busy", setting, steps);
    assert!(steps < 6 || explored.by_user_timeout > 0);
}

/// The same with all troubles together, from the beginning, and from where a verdict is near.
#[test]
fn with_every_trouble_the_promises_hold() {
    for (options, near) in NEAR {
        let budget = Budget {
            losses: None,
            sleeps: 1,
            steps_back: 1,
            writes: 1,
            device_failures: 1,
            switches: 1,
            reconfigurations: 1,
            evidence: 1,
        };
        // One other choice of options will do where there is so much else to choose.
        let setting = Setting {
            others: &OTHERS[..1],
            ..troubled(options, budget)
        };
        explored("everything", setting, depth(4));
        let near_the_end = Setting {
            lead: near,
            ..setting
        };
        let depth = depth(4);
        let explored = explored("everything near the end", near_the_end, depth);
        assert!(depth < 4 || explored.verdicts > 0);
        let is_by_user_timeout = options.user_timeout.is_some();
        assert!(depth < 4 || !is_by_user_timeout || explored.by_user_timeout > 0);
    }
}

/// A host that sleeps twice and changes its options twice gives no peer up unasked.
#[test]
fn with_two_sleeps_and_new_options_twice_the_promises_hold() {
    let budget = Budget {
        sleeps: 2,
        reconfigurations: 2,
        ..ANY_LOSS
    };
    let setting = Setting {
        others: &OTHERS[..2],
        ..troubled(THREE, budget)
    };
    explored("slept twice", setting, depth(7));
}

/// Two states that differ in nothing but the time at which it all began are found to be the same.
#[test]
fn the_same_at_another_time_is_the_same() {
    let budget = Budget {
        losses: None,
        sleeps: 1,
        steps_back: 1,
        writes: 1,
        device_failures: 1,
        switches: 1,
        reconfigurations: 1,
        evidence: 1,
    };
    for options in ALL {
        let setting = troubled(options, budget);
        for way in ways(setting, 3) {
            let later = World::starting_at(START + 12_345, setting).then(&way);
            assert_eq!(World::after(setting, &way).key(), later.key(), "{way:?}");
        }
    }
}

/// New options do not make a live peer a dead one, not even if an answer is lost: whatever
/// they make due at once asks once more. If more answers are lost, they can.
#[test]
fn a_live_peer_survives_new_options() {
    for options in ALL {
        for (losses, survives) in [(0, true), (1, true), (options.count, false)] {
            let budget = Budget {
                losses: Some(losses),
                reconfigurations: 1,
                ..NOTHING
            };
            let setting = Setting {
                live: true,
                ..troubled(options, budget)
            };
            let explored = explored("losses, reconfigured", setting, 100);
            assert!(explored.complete);
            assert_eq!(explored.verdicts == 0, survives);
        }
    }
}

/// A live peer that loses one answer less than `count` is never given up, and one that loses
/// `count` can be.
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
                others: &OTHERS,
                budget,
                lead: &[],
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
                others: &OTHERS,
                budget,
                lead: &[],
                live: true,
            };
            let explored = explored("sleeps", setting, 100);
            assert!(explored.complete);
            assert_eq!(explored.verdicts == 0, survives);
        }
    }
}
