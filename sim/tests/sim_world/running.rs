//! Time goes on, and what follows from what.

use std::cell::RefCell;
use std::rc::Rc;

use tcp_keepalive_sim::trace::{Entry, Fate};
use tcp_keepalive_sim::{Conditions, Loss, Ratio, Script, SimError, World};

use super::pair::{PORT, config, pair_with, server};
use super::post::{Line, Post, after, line, ms, s};

/// Everything that happens in a world with luck in it, to the last octet.
fn run(seed: u64) -> Vec<String> {
    let conditions = Conditions::ideal()
        .latency(ms(10))
        .jitter(ms(20))
        .loss(Loss::random(Ratio::percent(20).unwrap()))
        .duplication(Ratio::percent(10).unwrap())
        .corruption(Ratio::percent(10).unwrap());
    let client = Script::client(server())
        .keep_alive(config())
        .send_at(s(3), 20)
        .send_at(s(20), 20)
        .reconnect(s(1));
    let mut pair = pair_with(seed, conditions, client, Script::server(PORT).echo());
    pair.until(s(60));
    let link = pair.link;
    pair.world.partition(link).unwrap();
    pair.until(s(200));
    let entries = pair.world.trace().entries().iter();
    entries.map(|entry| format!("{entry:?}")).collect()
}

/// The same seed gives the same octets, times and notes.
#[test]
fn same_seed_gives_the_same_trace() {
    let (first, second) = (run(11), run(11));
    // It can prove something: there is a verdict in it, and loss.
    assert!(first.iter().any(|entry| entry.contains("TimedOut")));
    assert!(first.iter().any(|entry| entry.contains("ByChance")));
    assert_eq!(first, second);
}

/// Another seed gives another trace: other frames are lost, and other numbers are drawn.
#[test]
fn another_seed_gives_another_trace() {
    let (first, second) = (run(11), run(12));
    assert_ne!(first, second);
    assert_ne!(first[0], second[0], "the initial sequence numbers differ");
}

/// A node with an alarm one second after the beginning.
fn alarmed() -> Line {
    let mut line = line();
    let a = line.a;
    line.world[a].alarm = Some(after(s(1)));
    line
}

/// `run_until` lets happen what happens at its end.
#[test]
fn run_until_includes_its_end() {
    let mut line = alarmed();
    line.world.run_until(after(s(1))).unwrap();
    assert_eq!(line.world[line.a].turns, [after(s(1))]);
    assert_eq!(line.world.now(), after(s(1)));
}

/// `run_before` stops short of its end, at which the world then is.
#[test]
fn run_before_excludes_its_end() {
    let mut line = alarmed();
    line.world.run_before(after(s(1))).unwrap();
    assert_eq!(line.world[line.a].turns, []);
    assert_eq!(line.world.now(), after(s(1)));
    line.world.run_before(after(s(1) + ms(1))).unwrap();
    assert_eq!(line.world[line.a].turns, [after(s(1))]);
}

/// `run_for` goes on from where the world is, and lets happen what happens at its end.
#[test]
fn run_for_goes_on_from_now_and_includes_its_end() {
    let mut line = alarmed();
    line.world.run_for(ms(400)).unwrap();
    line.world.run_for(ms(599)).unwrap();
    assert_eq!(line.world[line.a].turns, []);
    line.world.run_for(ms(1)).unwrap();
    assert_eq!(line.world[line.a].turns, [after(s(1))]);
}

/// `step` goes to the next instant at which anything happens, and no further.
#[test]
fn step_goes_to_the_next_instant() {
    let mut line = alarmed();
    let b = line.b;
    line.world[b].alarm = Some(after(s(2)));
    assert_eq!(line.world.step(after(s(9))), Ok(true));
    assert_eq!(line.world.now(), after(s(1)));
    assert_eq!(line.world.step(after(s(2))), Ok(true));
    assert_eq!(line.world.now(), after(s(2)));
    assert_eq!(line.world[b].turns, [after(s(2))]);
}

/// `step` goes not past its limit, and stays where it is if nothing happens until then.
#[test]
fn step_stays_if_nothing_happens_within_its_limit() {
    let mut line = alarmed();
    assert_eq!(line.world.step(after(ms(999))), Ok(false));
    assert_eq!(line.world.now(), after(ms(0)));
    assert_eq!(line.world[line.a].turns, []);
}

/// `run_while` stops after the instant at which the condition holds no more, and says so.
#[test]
fn run_while_stops_when_it_may() {
    let mut line = alarmed();
    let a = line.a;
    let stopped = line
        .world
        .run_while(after(s(9)), |world| world[a].turns.is_empty());
    assert_eq!(stopped, Ok(true));
    assert_eq!(line.world.now(), after(s(1)));
    // Where it does not hold to begin with, nothing happens.
    assert_eq!(line.world.run_while(after(s(9)), |_| false), Ok(true));
    assert_eq!(line.world.now(), after(s(1)));
}

/// `run_while` is at its limit if the condition holds all the time.
#[test]
fn run_while_ends_at_its_limit() {
    let mut line = alarmed();
    assert_eq!(line.world.run_while(after(s(9)), |_| true), Ok(false));
    assert_eq!(line.world.now(), after(s(9)));
    assert_eq!(line.world[line.a].turns, [after(s(1))]);
    let past = line.world.run_while(after(s(8)), |_| true);
    assert!(matches!(past, Err(SimError::Past { .. })));
}

/// What is planned for an instant is done before any node has its turn then.
#[test]
fn plans_come_before_turns() {
    let mut line = alarmed();
    let a = line.a;
    line.world
        .at(after(s(1)), move |world| {
            assert_eq!(world.now(), after(s(1)));
            assert_eq!(world[a].turns, []);
            world[a].outbox.push(b'x');
            Ok(())
        })
        .unwrap();
    line.until(s(2));
    assert_eq!(line.world[line.b].inbox, [(after(s(1) + ms(10)), b'x')]);
}

/// Plans for one instant are done in the order in which they were made, and a plan made by one of
/// them for that same instant after them.
#[test]
fn plans_for_one_instant_keep_their_order() {
    let mut world = World::new(1);
    let done = Rc::new(RefCell::new(Vec::new()));
    for name in ["first", "second"] {
        let done = Rc::clone(&done);
        world
            .at(after(s(1)), move |world| {
                done.borrow_mut().push(name);
                let done = Rc::clone(&done);
                world.at(world.now(), move |_| {
                    done.borrow_mut().push("another");
                    Ok(())
                })
            })
            .unwrap();
    }
    world.run_until(after(s(1))).unwrap();
    assert_eq!(*done.borrow(), ["first", "second", "another", "another"]);
}

/// What a plan fails with, the run fails with.
#[test]
fn plan_that_fails_ends_the_run() {
    let mut world = World::new(1);
    world
        .at(after(s(1)), |_| Err(SimError::NoSuchConnection))
        .unwrap();
    assert_eq!(
        world.run_until(after(s(2))),
        Err(SimError::NoSuchConnection)
    );
    assert_eq!(world.now(), after(s(1)));
}

/// Of nodes that are due at one instant, the one that was added first comes first.
#[test]
fn nodes_take_turns_in_the_order_in_which_they_were_added() {
    let mut line = alarmed();
    let (a, b) = (line.a, line.b);
    line.world[b].alarm = Some(after(s(1)));
    for node in [b, a] {
        line.world[node].outbox.push(b'x');
    }
    line.until(s(2));
    let frames = line.world.trace().frames();
    let senders: Vec<_> = frames
        .map(|sent| line.world.trace().name(sent.from))
        .collect();
    assert_eq!(senders, ["a", "b"]);
}

/// What nodes draw when they are switched on, in a world of that seed with so many.
fn drawn(seed: u64, nodes: usize) -> Vec<u64> {
    let mut world = World::new(seed);
    let ids: Vec<_> = (0..nodes).map(|_| world.add("node", Dice(0))).collect();
    ids.into_iter().map(|id| world[id].0).collect()
}

/// A node's luck is its own: what is added after it changes nothing about that.
#[test]
fn more_nodes_are_no_other_luck() {
    assert_eq!(drawn(5, 1)[0], drawn(5, 6)[0]);
}

/// Each node has other luck, and in each world.
#[test]
fn luck_follows_from_the_seed_and_the_node() {
    let numbers = [drawn(5, 3), drawn(6, 3)].concat();
    let distinct: std::collections::BTreeSet<_> = numbers.iter().collect();
    assert_eq!(distinct.len(), numbers.len());
}

/// Draws a number when it is switched on.
struct Dice(u64);

impl tcp_keepalive_sim::Node for Dice {
    fn new_port(&mut self, _: usize) -> Option<tcp_keepalive_sim::Port> {
        None
    }

    fn power_on(&mut self, turn: &mut tcp_keepalive_sim::Turn<'_>) {
        self.0 = turn.rng.next_u64();
    }

    fn poll(&mut self, _: &mut tcp_keepalive_sim::Turn<'_>) {}

    fn poll_at(&mut self, _: tcp_keepalive::Instant) -> Option<tcp_keepalive::Instant> {
        None
    }
}

/// A remark stands in the trace where it was made.
#[test]
fn remarks_stand_where_they_were_made() {
    let mut line = line();
    let a = line.a;
    line.send(a, b"1");
    line.world.remark("between");
    line.send(a, b"2");
    let entries = line.world.trace().entries();
    let is_note: Vec<_> = entries
        .iter()
        .map(|entry| matches!(entry, Entry::Note(_)))
        .collect();
    assert_eq!(is_note, [false, true, false]);
}

/// A node is switched on when it is added, at the world's time.
#[test]
fn node_starts_when_it_is_added() {
    let mut world = World::new(1);
    world.run_for(s(5)).unwrap();
    let id = world.add("late", Post::new());
    assert_eq!(world[id].starts, [after(s(5))]);
}

/// A trace that keeps the last entries has those, of up to twice as many, and finds frames by their
/// numbers as before.
#[test]
fn trace_keeps_the_last() {
    let mut line = line();
    let a = line.a;
    line.world.keep_last(10);
    for number in 0..100 {
        line.send(a, &[number]);
        line.until(ms(100) * (u32::from(number) + 1));
        assert_eq!(line.world[line.b].letters().last(), Some(&number));
    }
    let trace = line.world.trace();
    assert!((10..=20).contains(&trace.entries().len()));
    assert_eq!(trace.forgotten() + trace.entries().len(), 100);
    let last = trace.frames().last().unwrap();
    assert_eq!(*last.bytes, [99]);
    for sent in trace.frames() {
        assert_eq!(trace.frame(sent.id).unwrap().at, sent.at);
        assert!(matches!(sent.fate, Fate::Arrived { .. }));
        assert!(trace.labels().of(sent.id).is_some());
    }
    let forgotten = format!("({} lines before are not shown)", trace.forgotten());
    assert!(trace.text().to_string().contains(&forgotten));
}

/// A frame that was held for so long that the trace has forgotten it arrives all the same, and has
/// a place in the trace again.
#[test]
fn held_frame_that_was_forgotten_arrives() {
    let mut line = line();
    let (a, b) = (line.a, line.b);
    line.world.keep_last(3);
    line.world.hold_oneway(line.link, a).unwrap();
    line.send(a, b"x");
    for number in 0..50 {
        line.send(b, &[number]);
    }
    line.world.release(line.link).unwrap();
    line.until(s(1));
    assert_eq!(line.world[b].letters(), b"x");
    let trace = line.world.trace();
    assert!(trace.frames().any(|sent| *sent.bytes == *b"x"));
}

/// What a world does is not changed by what is kept of it.
#[test]
fn what_is_kept_changes_nothing() {
    let run = |keeps: Option<usize>| {
        let conditions = Conditions::ideal()
            .latency(ms(10))
            .duplication(Ratio::percent(50).unwrap())
            .loss(Loss::random(Ratio::percent(20).unwrap()));
        let client = Script::client(server())
            .keep_alive(config())
            .reconnect(s(1));
        let mut pair = pair_with(5, conditions, client, Script::server(PORT));
        if let Some(keeps) = keeps {
            pair.world.keep_last(keeps);
        }
        pair.until(s(500));
        let last = pair.world.trace().entries().last();
        format!("{last:?}")
    };
    assert_eq!(run(Some(1)), run(None));
    assert_eq!(run(Some(0)).len(), "None".len());
}
