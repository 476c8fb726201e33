//! Nodes whose clocks are not the world's.

use tcp_keepalive::Instant;

use super::post::{Line, after, line, ms, s};

/// A node with an alarm for 100 s after the beginning, by its own clock, and what is done to that.
fn alarmed(set: impl FnOnce(&mut Line)) -> Line {
    let mut line = line();
    let a = line.a;
    line.until(s(10));
    line.world[a].alarm = Some(after(s(100)));
    // The world knows of it, by the clock as it is.
    line.until(s(10));
    set(&mut line);
    line
}

/// When, by the world's clock, the alarm goes off, and what its node's clock then shows.
fn goes_off(mut line: Line) -> (Instant, Instant) {
    let a = line.a;
    assert_eq!(line.world.step(after(s(1000))), Ok(true));
    assert_eq!(line.world[a].turns.len(), 1);
    (line.world.now(), line.world[a].turns[0])
}

/// The clock of a node that was never set is the world's.
#[test]
fn untouched_clock_is_the_worlds() {
    let line = alarmed(|_| ());
    assert_eq!(goes_off(line), (after(s(100)), after(s(100))));
}

/// A clock set forward reaches a moment so much earlier.
#[test]
fn clock_set_forward_is_early() {
    let line = alarmed(|line| line.world.clock_jump(line.a, s(30)).unwrap());
    assert_eq!(goes_off(line), (after(s(70)), after(s(100))));
}

/// A clock set forward past a moment reaches it at once, and shows what it was set to.
#[test]
fn clock_set_past_a_moment_reaches_it_at_once() {
    let line = alarmed(|line| line.world.clock_jump(line.a, s(500)).unwrap());
    assert_eq!(goes_off(line), (after(s(10)), after(s(510))));
}

/// A clock set back reaches a moment so much later.
#[test]
fn clock_set_back_is_late() {
    let line = alarmed(|line| line.world.clock_step_back(line.a, s(30)).unwrap());
    assert_eq!(goes_off(line), (after(s(130)), after(s(100))));
}

/// A clock is set back to zero at most.
#[test]
fn clock_is_set_back_to_zero_at_most() {
    let mut line = line();
    let a = line.a;
    line.world.clock_step_back(a, s(1_000_000)).unwrap();
    line.world.wake(a).unwrap();
    assert_eq!(line.world[a].turns, [Instant::ZERO]);
}

/// A clock that runs twice as fast reaches a moment in half the time.
#[test]
fn fast_clock_is_early() {
    let line = alarmed(|line| line.world.clock_drift(line.a, 1_000_000).unwrap());
    assert_eq!(goes_off(line), (after(s(55)), after(s(100))));
}

/// A clock that runs at half the speed reaches it in twice the time.
#[test]
fn slow_clock_is_late() {
    let line = alarmed(|line| line.world.clock_drift(line.a, -500_000).unwrap());
    assert_eq!(goes_off(line), (after(s(190)), after(s(100))));
}

/// A clock that ticks shows multiples of its tick, and reaches a moment with the tick after it.
#[test]
fn ticking_clock_shows_multiples() {
    let mut line = alarmed(|line| line.world.clock_tick(line.a, s(30)).unwrap());
    let a = line.a;
    let clock = line.world.clock(a).unwrap();
    // The world begins at 1000 s, which is no multiple.
    assert_eq!(
        clock.read(after(s(19))),
        Instant::ZERO.saturating_add(s(990))
    );
    assert_eq!(
        clock.read(after(s(20))),
        Instant::ZERO.saturating_add(s(1020))
    );
    line.world[a].alarm = Some(after(s(91)));
    assert_eq!(goes_off(line), (after(s(110)), after(s(110))));
}

/// The clock of one node is not that of another, nor the world's.
#[test]
fn clocks_are_their_nodes_own() {
    let mut line = alarmed(|line| line.world.clock_jump(line.b, s(30)).unwrap());
    line.until(s(10) + ms(1));
    let now = line.world.now();
    assert_eq!(now, after(s(10) + ms(1)));
    assert_eq!(line.world.clock(line.a).unwrap().read(now), now);
}
