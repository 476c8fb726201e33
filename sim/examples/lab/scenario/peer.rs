//! What becomes of the peer.

use tcp_keepalive::Config;
use tcp_keepalive::smoltcp::CloseReason;
use tcp_keepalive_sim::{Host, Label, Mappings, Memory, Script, SimError};

use super::stage::{DEVICE, PORT, SERVER, Stage, echo_server, on_lan, secs};
use super::{Scenario, nothing};

pub(super) const HALF_OPEN: Scenario = Scenario {
    name: "half-open",
    summary: "the peer's power is cut, and nothing says so",
    shows: "\
An idle connection whose peer is gone looks like any idle connection. The keep-alive asks, and
since no answer comes, gives up on time: Linux's time, if no other is given.",
    config: Config::LINUX,
    needs: nothing,
    play: half_open,
};

fn half_open(stage: &mut Stage) -> Result<(), SimError> {
    let client = stage.far_client();
    let far = stage.far(Mappings::RFC5382, client, echo_server())?;
    let heard = stage.last_heard(far.device);
    stage.world.crash(far.server)?;
    stage.run_past_verdict(heard)?;
    stage.claim_dead(heard, stage.config.count(), 0);
    Ok(())
}

pub(super) const PLAIN: Scenario = Scenario {
    name: "plain",
    summary: "the same without keep-alive: the device never notices",
    shows: "\
What smoltcp does by itself about a peer that is gone while the device has nothing to send: nothing. A
hundred times as long as a keep-alive would take, the connection still looks open.",
    config: Config::LINUX,
    needs: nothing,
    play: plain,
};

fn plain(stage: &mut Stage) -> Result<(), SimError> {
    let client = stage.client_of(SERVER);
    let device = Host::ethernet(on_lan(DEVICE)).app(client).plain();
    let lan = stage.lan_of(device, echo_server())?;
    let cut = stage.world.now();
    stage.world.crash(lan.server)?;
    let long = stage.config.detection_time().saturating_mul(100);
    stage.world.run_for(long)?;
    let since_cut = stage.sent(|_| true);
    let is_silent = since_cut.iter().all(|sent| sent.at < cut);
    stage.claim(format!("{long:?} later not one frame has left"), is_silent);
    let is_open = stage.is_open(lan.device);
    stage.claim("the device still believes that it is connected", is_open);
    Ok(())
}

pub(super) const LIVE_PEER: Scenario = Scenario {
    name: "live-peer",
    summary: "the peer is alive, and idle for a day",
    shows: "\
A peer that has nothing to say is not dead. It answers each probe, and after twelve idle times, a
day by Linux's, the connection is as good as ever.",
    config: Config::LINUX,
    needs: nothing,
    play: live_peer,
};

fn live_peer(stage: &mut Stage) -> Result<(), SimError> {
    let client = stage.client_of(SERVER);
    let lan = stage.lan(client, echo_server())?;
    stage.world.promise_alive(lan.device)?;
    stage
        .world
        .run_for(stage.config.idle().saturating_mul(12))?;
    // The last answer is given a moment to arrive.
    stage.world.run_for(secs(1))?;
    stage.claim_alive(lan.device);
    let device = &stage.world[lan.device];
    let stats = device
        .tcp_sockets()
        .find_map(|(handle, _)| device.keep_alive.stats(handle));
    let stats = stats.unwrap_or_default();
    let probes = stage.probes().len();
    stage.claim(
        format!("each of {probes} probes was answered"),
        probes > 10 && usize::try_from(stats.probes_answered) == Ok(probes),
    );
    Ok(())
}

pub(super) const REBOOT: Scenario = Scenario {
    name: "reboot",
    summary: "the peer restarts and has forgotten the connection",
    shows: "\
The peer lost its memory while the connection was idle. It answers a probe with RST: not the first
one, for it has to ask for our hardware address before it can answer, and smoltcp drops the RST
meanwhile, but the second. The device knows that it was a probe that did, and connects again.",
    config: super::keep_alive(120, 10, 5),
    needs: nothing,
    play: reboot,
};

fn reboot(stage: &mut Stage) -> Result<(), SimError> {
    let client = stage.client_of(SERVER).reconnect(secs(5));
    let lan = stage.lan(client, echo_server())?;
    let heard = stage.last_heard(lan.device);
    stage.world.crash(lan.server)?;
    stage.world.run_for(stage.config.idle() / 2)?;
    stage.world.reboot(lan.server, Memory::Lost)?;
    let due = heard.saturating_add(stage.config.idle());
    stage.world.run_until(
        due.saturating_add(stage.config.interval())
            .saturating_add(secs(1))
            .max(stage.world.now()),
    )?;
    let ends = stage.ends();
    let while_probing = CloseReason::PeerReset {
        while_probing: true,
    };
    stage.claim(
        "two probes are enough: the peer resets the connection, and the reason says so",
        ends.len() == 1 && ends.iter().all(|(_, reason)| *reason == while_probing),
    );
    let probes = stage.probes();
    stage.claim(
        "no probe was needed before, and none after",
        matches!(probes[..], [first, _] if first >= due),
    );
    stage.world.run_for(secs(7))?;
    let is_open = stage.is_open(lan.device);
    stage.claim("the device is connected again", is_open);
    Ok(())
}

/// The keep-alive must detect a death within a minute, whatever the connection is doing.
const WITHIN_A_MINUTE: Config = match Config::detect_within(secs(60)) {
    Ok(config) => config,
    Err(_) => Config::DEFAULT,
};

pub(super) const IN_FLIGHT: Scenario = Scenario {
    name: "in-flight",
    summary: "the peer dies while data is on its way to it",
    shows: "\
While data is unacknowledged no probe may be sent, and smoltcp by itself sends the data again for
ever. What decides here is the user timeout, which `Config::detect_within` sets too.",
    config: WITHIN_A_MINUTE,
    needs: nothing,
    play: in_flight,
};

fn in_flight(stage: &mut Stage) -> Result<(), SimError> {
    let client = stage.far_client().send_at(secs(10), 500);
    let far = stage.far(Mappings::RFC5382, client, echo_server())?;
    stage.world.crash(far.server)?;
    let death = stage.world.now();
    stage.world.run_for(secs(10))?;
    let data = stage.sent(|label| matches!(label, Label::Data { .. }));
    let asked = data.iter().map(|sent| sent.at).find(|at| *at >= death);
    let asked = asked.unwrap_or(death);
    let timeout = stage.config.user_timeout().unwrap_or_default();
    let by = asked.saturating_add(timeout);
    stage.world.run_until(
        by.saturating_add(stage.config.interval())
            .saturating_add(secs(1))
            .max(stage.world.now()),
    )?;
    // What was sent last is a question if it is no older than an interval; else it asks once more.
    let latest = by.saturating_add(stage.config.interval());
    let ends = stage.ends();
    let is_right = |(at, reason): &(_, CloseReason)| {
        (by..=latest).contains(at) && matches!(reason, CloseReason::UserTimeout(_))
    };
    stage.claim(
        format!(
            "the peer is given up {timeout:?} after the first data that it owes an answer to, or one \
             interval later"
        ),
        ends.len() == 1 && ends.iter().all(is_right),
    );
    let probes = stage.probes();
    let late = probes.iter().filter(|at| **at >= asked).count();
    stage.claim(
        "while data was outstanding one probe at the most was sent, when the time was up (MUST-26)",
        late <= 1 && probes.iter().all(|at| *at < asked || *at >= by),
    );
    Ok(())
}

pub(super) const ZERO_WINDOW: Scenario = Scenario {
    name: "zero-window",
    summary: "the peer reads nothing for six hours, and then dies",
    shows: "\
A peer whose window is shut and which answers window probes is alive, however long it takes, and
however small the user timeout is (RFC 9293 3.8.6.1). When it answers no more, it is given up.",
    config: match super::keep_alive(120, 10, 5).with_user_timeout(secs(90)) {
        Ok(config) => config,
        Err(_) => Config::DEFAULT,
    },
    needs: nothing,
    play: zero_window,
};

fn zero_window(stage: &mut Stage) -> Result<(), SimError> {
    let client = stage
        .far_client()
        .send_at(secs(2), 4000)
        .buffers(1024, 4096);
    let server = Script::server(PORT).without_reading();
    let far = stage.far(Mappings::RFC5382, client, server)?;
    stage.world.promise_alive(far.device)?;
    stage.world.run_for(secs(6 * 3600))?;
    stage.claim_alive(far.device);
    let asked = stage.sent(|label| label == Label::WindowProbe).len();
    stage.claim(
        format!("the peer answered {asked} window probes"),
        asked > 100,
    );
    stage.world.revoke_alive(far.device);
    let death = stage.world.now();
    stage.world.crash(far.server)?;
    let timeout = stage.config.user_timeout().unwrap_or_default();
    // smoltcp's window probes back off to a minute.
    let by = death.saturating_add(timeout).saturating_add(secs(61));
    stage.world.run_until(by)?;
    let ends = stage.ends();
    let is_timeout = |(_, reason): &(_, CloseReason)| matches!(reason, CloseReason::UserTimeout(_));
    stage.claim(
        "once it is dead, it is given up by the user timeout after the next window probe",
        ends.len() == 1 && ends.iter().all(is_timeout),
    );
    Ok(())
}
