//! What boxes on the way forget.

use std::time::Duration;

use tcp_keepalive::smoltcp::CloseReason;
use tcp_keepalive_sim::{Firewall, Host, Id, Mappings, SimError};

use super::stage::{DEVICE, SERVER, Stage, away, echo_server, near, on_lan, secs};
use super::{Scenario, keep_alive, nothing};

/// What a probe takes to get to a box, ARP included, and as much again.
const ON_THE_WAY: Duration = Duration::from_millis(100);

pub(super) const NAT_FORGETS: Scenario = Scenario {
    name: "nat-forgets",
    summary: "a NAT forgets after 350 s, as that of AWS does",
    shows: "\
Both ends live, but the way is gone: the NAT has forgotten a connection that was idle too long, and
resets the side that goes on. The first probe finds out. With --idle 300 the probes keep the NAT from
forgetting, and the connection lives.",
    config: keep_alive(600, 30, 4),
    needs: nothing,
    play: nat_forgets,
};

fn nat_forgets(stage: &mut Stage) -> Result<(), SimError> {
    let client = stage.far_client();
    let far = stage.far(Mappings::AWS, client, echo_server())?;
    let heard = stage.last_heard(far.device);
    if is_remembered(stage, Mappings::AWS) {
        return live_on(stage, far.device);
    }
    let due = heard.saturating_add(stage.config.idle());
    stage.world.run_until(due.saturating_add(secs(1)))?;
    let ends = stage.ends();
    let while_probing = CloseReason::PeerReset {
        while_probing: true,
    };
    stage.claim(
        "the first probe is reset, and the device knows at once",
        stage.probes().len() == 1 && matches!(ends[..], [(_, reason)] if reason == while_probing),
    );
    let is_open = stage.is_open(far.server);
    stage.claim(
        "the server, which has no keep-alive, still believes that it is connected",
        is_open,
    );
    Ok(())
}

pub(super) const FIREWALL_AZURE: Scenario = Scenario {
    name: "firewall-azure",
    summary: "a firewall forgets after 4 minutes, as that of Azure does, and says nothing",
    shows: "\
The firewall drops what it does not know any more, without a word. The peer is alive and the
connection is dead all the same: no probe is answered. With --idle 200 the firewall does not
forget, and the connection lives.",
    config: keep_alive(300, 10, 6),
    needs: nothing,
    play: firewall_azure,
};

fn firewall_azure(stage: &mut Stage) -> Result<(), SimError> {
    let client = stage.client_of(SERVER);
    let device = stage.add_host("device", Host::ethernet(on_lan(DEVICE)).app(client));
    let world = &mut stage.world;
    let firewall = world.add("firewall", Firewall::ethernet(Mappings::AZURE));
    let server = Host::ethernet(on_lan(SERVER)).app(echo_server());
    let server = world.add("server", server);
    world.link(device, firewall, near())?;
    world.link(firewall, server, away())?;
    stage.open()?;
    let heard = stage.last_heard(device);
    if is_remembered(stage, Mappings::AZURE) {
        return live_on(stage, device);
    }
    stage.run_past_verdict(heard)?;
    let verdicts = stage.verdicts();
    let count = stage.config.count();
    stage.claim(
        format!("{count} probes are sent, and the firewall drops them all"),
        matches!(verdicts[..], [(_, _, verdict)] if verdict.unanswered == count),
    );
    let is_open = stage.is_open(server);
    stage.claim("the server is alive, and knows of nothing", is_open);
    Ok(())
}

/// A probe passes the box before that forgets.
fn is_remembered(stage: &Stage, mappings: Mappings) -> bool {
    stage.config.idle() + ON_THE_WAY <= mappings.timeouts.established
}

fn live_on(stage: &mut Stage, device: Id<Host>) -> Result<(), SimError> {
    stage.world.promise_alive(device)?;
    stage
        .world
        .run_for(stage.config.idle().saturating_mul(20))?;
    stage.world.run_for(secs(1))?;
    stage.claim_alive(device);
    let probes = stage.probes().len();
    stage.claim(
        format!("{probes} probes kept the box from forgetting"),
        probes > 0,
    );
    Ok(())
}
