//! Everything that can happen, in order of the number of steps it takes.

use std::collections::HashSet;
use std::fmt;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};

use tcp_keepalive::Cause;

use super::world::{Setting, Step, World};

/// What was explored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Explored {
    pub(crate) states: usize,
    pub(crate) transitions: usize,
    pub(crate) verdicts: usize,
    /// Those of them that the user timeout gave.
    pub(crate) by_user_timeout: usize,
    pub(crate) depth: usize,
    /// Nothing new is further away.
    pub(crate) complete: bool,
}

/// All states that can be reached in at most `depth` steps after the lead, each of them once.
///
/// A machine cannot be copied, so a state is kept as the steps that lead to it, and they are taken
/// again where it is needed. Two ways lead to the same state if what they lead to reads the same
/// (`World::key`). Of what it reads 64 bits are kept.
pub(crate) fn explore(setting: Setting, depth: usize) -> Explored {
    let hasher = BuildHasherDefault::<DefaultHasher>::new();
    let lead = setting.lead.to_vec();
    let first = World::after(setting, &lead);
    let mut known = HashSet::from([hasher.hash_one(first.key())]);
    let mut frontier = vec![lead];
    let mut explored = Explored {
        states: 1,
        transitions: 0,
        verdicts: 0,
        by_user_timeout: 0,
        depth: 0,
        complete: false,
    };
    while !frontier.is_empty() && explored.depth < depth {
        let mut next = Vec::new();
        for path in &frontier {
            for step in World::after(setting, path).steps() {
                let mut longer = path.clone();
                longer.push(step);
                let _told = Told(&longer);
                let world = World::after(setting, &longer);
                explored.transitions += 1;
                if known.insert(hasher.hash_one(world.key())) {
                    if let Some(verdict) = world.verdict() {
                        explored.verdicts += 1;
                        let by_user_timeout = verdict.cause == Cause::UserTimeout;
                        explored.by_user_timeout += usize::from(by_user_timeout);
                    }
                    comes_to_a_good_end(setting, &longer);
                    next.push(longer.clone());
                }
            }
        }
        explored.states += next.len();
        explored.depth += 1;
        frontier = next;
    }
    explored.complete = frontier.is_empty();
    explored
}

/// All ways of exactly `length` steps, the same states over and over.
pub(crate) fn ways(setting: Setting, length: usize) -> Vec<Vec<Step>> {
    let mut ways = vec![Vec::new()];
    for _ in 0..length {
        let longer = ways.iter().flat_map(|way| {
            let steps = World::after(setting, way).steps();
            steps
                .into_iter()
                .map(|step| [way.as_slice(), &[step]].concat())
        });
        ways = longer.collect();
    }
    ways
}

fn comes_to_a_good_end(setting: Setting, path: &[Step]) {
    World::after(setting, path).gives_up_a_dead_peer(true);
    World::after(setting, path).gives_up_a_dead_peer(false);
    World::after(setting, path).gives_up_whatever_is_set(0);
    World::after(setting, path).gives_up_whatever_is_set(1);
    World::after(setting, path).gives_up_by_the_user_timeout_alone();
    World::after(setting, path).keeps_a_live_peer();
}

impl World {
    pub(crate) fn after(setting: Setting, path: &[Step]) -> Self {
        Self::new(setting).then(path)
    }

    pub(crate) fn then(mut self, path: &[Step]) -> Self {
        for step in path {
            self.step(*step);
        }
        self
    }
}

/// Tells the way to a failure.
struct Told<'a>(&'a [Step]);

impl Drop for Told<'_> {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("on the way {:?}", self.0);
        }
    }
}

impl fmt::Display for Explored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            states,
            transitions,
            verdicts,
            by_user_timeout,
            depth,
            complete,
        } = self;
        let end = if *complete {
            "all there are"
        } else {
            "more beyond"
        };
        write!(
            f,
            "{states:>8} states {transitions:>9} transitions {verdicts:>6} verdicts \
             ({by_user_timeout:>4} by user timeout), depth {depth:>3}, {end}"
        )
    }
}
