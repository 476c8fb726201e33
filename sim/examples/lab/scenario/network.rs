//! What becomes of the network.

use std::time::Duration;

use smoltcp::wire::IpAddress;
use tcp_keepalive_sim::wire::Kind;
use tcp_keepalive_sim::{Conditions, Host, Loss, Mappings, NodeId, Ratio, SimError, Switch};

use super::stage::{DEVICE, SERVER, Stage, away, echo_server, near, on_lan};
use super::{Scenario, forgotten_neighbor, keep_alive, nothing};

pub(super) const LOSSY: Scenario = Scenario {
    name: "lossy",
    summary: "20 % of all frames get lost, and no peer dies",
    shows: "\
A fifth of the probes gets lost, and a fifth of the answers: a third of the time the peer does not
seem to answer. It is suspected, and is back. Here never more than two frames in a row are lost,
so that of nine probes one is answered for certain. Try --count 2.",
    config: keep_alive(60, 10, 9),
    needs: nothing,
    play: lossy,
};

fn lossy(stage: &mut Stage) -> Result<(), SimError> {
    let loss = Loss::at_most_in_a_row(Ratio::percent(20)?, 2);
    let conditions = away().loss(loss);
    endure(stage, &[conditions.clone(), conditions])
}

pub(super) const BURST: Scenario = Scenario {
    name: "burst",
    summary: "the link falls silent again and again, but never for too long",
    shows: "\
A radio link in a bad place: nothing passes for a while, and then all does. No outage is as long
as the probing goes on, and so no peer is given up, however many there are.",
    config: keep_alive(60, 10, 6),
    needs: nothing,
    play: burst,
};

fn burst(stage: &mut Stage) -> Result<(), SimError> {
    let config = stage.config;
    // A probe falls before any outage's end, and before the verdict.
    let longest = config.interval() * u32::from(config.count() - 2);
    let shortest = Duration::from_millis(1);
    let up = config.idle() / 4..=config.idle();
    let up = (*up.start()).max(config.interval() * 2)..=(*up.end()).max(config.interval() * 2);
    let outages = Loss::outages(up, shortest..=longest.max(shortest))?;
    endure(stage, &[away().loss(outages), away()])
}

/// Bears with an uplink, in either direction, for forty idle times.
fn endure(stage: &mut Stage, [up, down]: &[Conditions; 2]) -> Result<(), SimError> {
    let client = stage.far_client();
    let far = stage.far(Mappings::RFC5382, client, echo_server())?;
    let (router, server) = (NodeId::from(far.router), NodeId::from(far.server));
    for (from, conditions) in [(router, up), (server, down)] {
        stage
            .world
            .set_conditions(far.uplink, from, conditions.clone())?;
    }
    stage
        .world
        .run_for(stage.config.idle().saturating_mul(40))?;
    stage.claim_alive(far.device);
    let recoveries = stage.recoveries();
    stage.claim(
        format!("the peer was suspected and back {recoveries} times"),
        recoveries > 0,
    );
    Ok(())
}

pub(super) const ARP_LOST: Scenario = Scenario {
    name: "arp-lost",
    summary: "the peer's hardware address is forgotten, and ARP gets no answer",
    shows: "\
After a minute smoltcp asks again for a neighbour's hardware address, and sends nothing until it has
one. A probe goes where the segments went before, and is answered, whether ARP is or not. smoltcp's own
keep-alive and timeout would have killed the connection.",
    config: keep_alive(120, 10, 5),
    needs: forgotten_neighbor,
    play: arp_lost,
};

fn arp_lost(stage: &mut Stage) -> Result<(), SimError> {
    let client = stage.client_of(SERVER);
    let lan = stage.lan(client, echo_server())?;
    let heard = stage.last_heard(lan.device);
    let lost_from = stage.world.now();
    let is_answer = |_, kind: &Kind| *kind == Kind::NeighborReply;
    stage.world.lose_every(lan.link, is_answer)?;
    let config = stage.config;
    let lasts = config.detection_time().saturating_mul(2);
    stage.world.run_until(heard.saturating_add(lasts))?;
    let asked = stage.world.trace().frames();
    let asked = asked.filter(|sent| sent.at >= lost_from && sent.kind.is_neighbor_query());
    let asked = asked.count();
    let probes = stage.probes().len();
    stage.claim(
        format!("asked {asked} times for the address, the device has sent {probes} probes"),
        asked == 0 && probes > 1,
    );
    stage.world.lose_every(lan.link, |_, _| false)?;
    stage.claim_alive(lan.device);
    Ok(())
}

pub(super) const CABLE_OUT: Scenario = Scenario {
    name: "cable-out",
    summary: "the device's own cable is pulled",
    shows: "\
Without a cable there is no ARP, and without ARP no probe. The verdict comes on time all the same,
and says that nothing ever left: look at the cable before you blame the peer.",
    config: keep_alive(120, 10, 5),
    needs: forgotten_neighbor,
    play: cable_out,
};

fn cable_out(stage: &mut Stage) -> Result<(), SimError> {
    let client = stage.client_of(SERVER);
    let lan = stage.lan(client, echo_server())?;
    let heard = stage.last_heard(lan.device);
    stage.world.unplug(lan.link)?;
    stage.run_past_verdict(heard)?;
    stage.claim_dead(heard, stage.config.count(), 0);
    Ok(())
}

const OTHER_SERVER: IpAddress = IpAddress::v4(192, 0, 2, 3);

pub(super) const SWITCH: Scenario = Scenario {
    name: "switch",
    summary: "of two servers on a switch one dies",
    shows: "\
Two connections of one device, and one keep-alive for each. The one whose peer is silent is given
up, and the other one, probed all the while, is not.",
    config: keep_alive(120, 10, 5),
    needs: nothing,
    play: switch,
};

fn switch(stage: &mut Stage) -> Result<(), SimError> {
    let clients = stage.client_of(SERVER).and(stage.client_of(OTHER_SERVER));
    let device = stage.add_host("device", Host::ethernet(on_lan(DEVICE)).app(clients));
    let world = &mut stage.world;
    let switch = world.add("switch", Switch::new());
    let [doomed, other] = [("one", SERVER), ("other", OTHER_SERVER)].map(|(name, address)| {
        let server = Host::ethernet(on_lan(address)).app(echo_server());
        world.add(name, server)
    });
    for host in [device, doomed, other] {
        world.link(host, switch, near())?;
    }
    stage.open()?;
    let heard = stage.last_heard(device);
    stage.world.crash(doomed)?;
    stage.run_past_verdict(heard)?;
    let detection = stage.config.detection_time();
    let device = &stage.world[device];
    let first = device.tcp_sockets().map(|(handle, _)| handle).next();
    let verdicts = stage.verdicts();
    stage.claim(
        format!("the dead server is given up after {detection:?} of silence, and only that"),
        matches!(
            verdicts[..],
            [(_, handle, verdict)] if Some(handle) == first && verdict.silent_for == detection
        ),
    );
    let probes = stage.probes().len();
    let is_open = stage.is_open(other);
    stage.claim(
        format!("the other one was probed {probes} times, and is still connected"),
        probes > 0 && is_open,
    );
    Ok(())
}
