//! A server with few sockets.

use smoltcp::socket::tcp;
use smoltcp::wire::IpAddress;
use tcp_keepalive_sim::{Host, Id, Script, SimError, Switch};

use super::stage::{DEVICE, PORT, SERVER, Stage, near, on_lan, secs};
use super::{Scenario, keep_alive, nothing};

const SOCKETS: usize = 4;
const NEXT_CLIENTS: IpAddress = IpAddress::v4(192, 0, 2, 3);

pub(super) const POOL: Scenario = Scenario {
    name: "pool",
    summary: "all four sockets of a server are taken by clients that are gone",
    shows: "\
A server has as many sockets as it has memory for. Clients that vanish without a word keep theirs
for ever, and in the end no client can connect. The keep-alive reaps them, each on time, and the next
clients are served.",
    config: keep_alive(300, 10, 5),
    needs: nothing,
    play: pool,
};

fn pool(stage: &mut Stage) -> Result<(), SimError> {
    let sockets = Script::server(PORT)
        .keep_alive(stage.config)
        .echo()
        .sockets(SOCKETS);
    let server = stage.add_host("server", Host::ethernet(on_lan(SERVER)).app(sockets));
    let clients = Script::client((SERVER, PORT).into()).send_at(secs(1), 10);
    // Four of them try again and again while the others still hold all sockets.
    let retry = (stage.config.detection_time() / 8).max(secs(1));
    let next = clients.clone().open_at(secs(5)).reconnect(retry);
    let world = &mut stage.world;
    let [gone, next] = [("first", DEVICE, clients), ("next", NEXT_CLIENTS, next)].map(
        |(name, address, script)| {
            let host = Host::ethernet(on_lan(address)).app(script.sockets(SOCKETS));
            world.add(name, host)
        },
    );
    let switch = world.add("switch", Switch::new());
    for host in [server, gone, next] {
        world.link(host, switch, near())?;
    }
    stage.open()?;
    let connected = open_sockets(stage, gone);
    stage.claim("four clients take all four sockets", connected == SOCKETS);
    let heard = stage.last_heard(server);
    stage.world.crash(gone)?;
    stage.world.run_for(secs(3))?;
    let turned_away = open_sockets(stage, next);
    stage.claim("the next four are turned away", turned_away == 0);
    stage.run_past_verdict(heard)?;
    let detection = stage.config.detection_time();
    let verdicts = stage.verdicts();
    let on_time = verdicts
        .iter()
        .filter(|(_, _, verdict)| verdict.silent_for == detection);
    stage.claim(
        format!("the four that are gone are given up after {detection:?} of silence each"),
        verdicts.len() == SOCKETS && on_time.count() == SOCKETS,
    );
    stage.world.run_for(retry + secs(5))?;
    let connected = open_sockets(stage, next);
    stage.claim("and the next four are served", connected == SOCKETS);
    Ok(())
}

fn open_sockets(stage: &Stage, host: Id<Host>) -> usize {
    let sockets = stage.world[host].tcp_sockets();
    sockets
        .filter(|(_, socket)| socket.state() == tcp::State::Established)
        .count()
}
