//! What becomes of the device itself.

use tcp_keepalive::Instant;
use tcp_keepalive_sim::{Host, Id, Room, SimError};

use super::stage::{SERVER, Stage, echo_server, secs};
use super::{Scenario, keep_alive, nothing};

pub(super) const SLEEP: Scenario = Scenario {
    name: "sleep",
    summary: "the device sleeps far longer than a dead peer would be borne with",
    shows: "\
On waking, all deadlines are long past, but that the device heard nothing is its own doing. Before
anybody is given up a real probe is sent, and the peer, which is alive, answers.",
    config: keep_alive(120, 10, 5),
    needs: nothing,
    play: sleep,
};

fn sleep(stage: &mut Stage) -> Result<(), SimError> {
    let client = stage.client_of(SERVER);
    let lan = stage.lan(client, echo_server())?;
    stage.world.promise_alive(lan.device)?;
    let asleep = stage.config.detection_time().saturating_mul(10);
    stage.world.sleep(lan.device, asleep)?;
    stage.world.run_for(asleep)?;
    let woken = stage.world.now();
    stage.world.run_for(secs(1))?;
    claim_probe_at_once(stage, woken, "on waking");
    stage.world.run_for(stage.config.detection_time())?;
    stage.claim_alive(lan.device);
    Ok(())
}

pub(super) const CLOCK_JUMP: Scenario = Scenario {
    name: "clock-jump",
    summary: "the device's clock is set forward, and back",
    shows: "\
Set forward, the clock says that the peer has been silent for long: the device asks, and the peer
answers. Set back, it says that the peer was last heard in the future. The device takes that for the
present: no deadline fires early, no peer is given up, and the probes go on.",
    config: keep_alive(120, 10, 5),
    needs: nothing,
    play: clock_jump,
};

fn clock_jump(stage: &mut Stage) -> Result<(), SimError> {
    let client = stage.client_of(SERVER);
    let lan = stage.lan(client, echo_server())?;
    stage.world.promise_alive(lan.device)?;
    let config = stage.config;
    let by = config.detection_time().saturating_mul(4);
    let jumped = stage.world.now();
    stage.world.clock_jump(lan.device, by)?;
    stage.world.run_for(secs(1))?;
    claim_probe_at_once(stage, jumped, "after the clock was set forward");
    stage.world.run_for(config.idle() / 2)?;
    let stepped = stage.world.now();
    stage.world.clock_step_back(lan.device, by)?;
    stage.world.run_for(by)?;
    let since = |probes: &[Instant]| probes.iter().filter(|at| **at >= stepped).count();
    stage.world.run_for(config.idle() + secs(1))?;
    let probes = since(&stage.probes());
    stage.claim(
        format!("after it was set back by {by:?}, the probes go on: there were {probes}"),
        probes > 0,
    );
    stage.claim_alive(lan.device);
    Ok(())
}

/// What a device does first that has missed something.
fn claim_probe_at_once(stage: &mut Stage, since: Instant, when: &str) {
    let probed = stage.probes().iter().any(|at| *at >= since);
    let is_open = stage.ends().is_empty();
    stage.claim(
        format!("{when}, a probe is sent within a second, before anything is decided"),
        probed && is_open,
    );
}

pub(super) const BLOCKED: Scenario = Scenario {
    name: "blocked",
    summary: "the device's transmitter is stuck",
    shows: "\
A driver whose buffers never come free takes no frame. The attempts that could not leave are
counted as such, the verdict comes on time, and meanwhile the loop does not spin: it looks again
every half a second at most.",
    config: keep_alive(120, 10, 5),
    needs: nothing,
    play: blocked,
};

fn blocked(stage: &mut Stage) -> Result<(), SimError> {
    let client = stage.client_of(SERVER);
    let lan = stage.lan(client, echo_server())?;
    let heard = stage.last_heard(lan.device);
    let turns_before = stage.world.turns(lan.device)?;
    stage.world.set_room(lan.device, Room::None)?;
    stage.run_past_verdict(heard)?;
    stage.claim_dead(heard, 0, stage.config.count());
    claim_no_spinning(stage, lan.device, turns_before)?;
    stage.world.set_room(lan.device, Room::Plenty)?;
    stage.world.run_for(secs(1))
}

fn claim_no_spinning(stage: &mut Stage, device: Id<Host>, before: u64) -> Result<(), SimError> {
    let turns = stage.world.turns(device)?.saturating_sub(before);
    let probing = stage.config.interval() * u32::from(stage.config.count());
    // Two a second, some more while the wait grows, and one or two for each attempt.
    let limit = probing.as_secs() * 2 + 50 + u64::from(stage.config.count()) * 2;
    stage.claim(
        format!("the device looked only {turns} times"),
        turns <= limit,
    );
    Ok(())
}
