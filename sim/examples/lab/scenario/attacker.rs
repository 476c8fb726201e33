//! What an attacker sends.

use tcp_keepalive_sim::wire::Segment;
use tcp_keepalive_sim::{Host, Manner, Peer, SimError, Switch};

use super::stage::{DEVICE, SERVER, Stage, near, on_lan};
use super::{Scenario, keep_alive, nothing};
use smoltcp::wire::IpAddress;

const ATTACKER: IpAddress = IpAddress::v4(192, 0, 2, 66);
/// How many segments the attacker sends.
const FORGED: u32 = 24;

pub(super) const BLIND: Scenario = Scenario {
    name: "blind",
    summary: "an attacker's guesses do not keep a dead peer alive",
    shows: "\
An attacker who knows the addresses and ports of a connection can send segments in the peer's name, but not
with the right numbers. Stacks that count any segment as a sign of life never give such a peer up.
Here forged and stale segments change nothing, be it to the better or, with RST, to the worse.",
    config: keep_alive(120, 10, 5),
    needs: nothing,
    play: blind,
};

fn blind(stage: &mut Stage) -> Result<(), SimError> {
    let client = stage.client_of(SERVER);
    let device = stage.add_host("device", Host::ethernet(on_lan(DEVICE)).app(client));
    let world = &mut stage.world;
    let switch = world.add("switch", Switch::new());
    let server = world.add("server", Peer::ethernet(SERVER));
    let attacker = world.add("attacker", Peer::ethernet(ATTACKER));
    world.link(device, switch, near())?;
    world.link(server, switch, near())?;
    world.link(attacker, switch, near())?;
    stage.open()?;
    let heard = stage.last_heard(device);
    let genuine = stage.world[server].next_segment(0)?;
    stage
        .world
        .remark("the server hangs and answers nothing but ARP; an attacker sends in its name");
    stage.world[server].behave(Manner::Silent);
    let detection = stage.config.detection_time();
    for number in 1..=FORGED {
        let share = detection / (FORGED + 1) * number;
        let segment = guess(&genuine, number);
        stage.world.at(
            heard.saturating_add(share).max(stage.world.now()),
            move |world| {
                world[attacker].forge(&segment);
                Ok(())
            },
        )?;
    }
    stage.run_past_verdict(heard)?;
    let trace = stage.world.trace();
    let forged = trace.frames().filter(|sent| sent.from == attacker.into());
    let forged = forged.filter(|sent| sent.kind.tcp().is_some()).count();
    stage.claim(
        format!("{forged} segments were sent in the server's name"),
        u32::try_from(forged) == Ok(FORGED),
    );
    stage.claim_dead(heard, stage.config.count(), 0);
    Ok(())
}

/// What an attacker might send who does not see the connection, or sees it no more.
fn guess(genuine: &Segment, number: u32) -> Segment {
    let mut segment = genuine.clone();
    let off = number.wrapping_mul(0x1234_5679) | 0x1000_0000;
    match number % 3 {
        // Blind: any numbers.
        0 => {
            segment.seq = segment.seq.wrapping_add(off);
            segment.ack = segment.ack.map(|ack| ack.wrapping_add(off));
        }
        // Stale: the numbers of long ago.
        1 => {
            segment.seq = segment.seq.wrapping_sub(100_000 * number);
            segment.ack = segment.ack.map(|ack| ack.wrapping_sub(100_000 * number));
        }
        // Blind, and hostile.
        _ => {
            segment.seq = segment.seq.wrapping_add(off);
            segment.rst = true;
        }
    }
    segment
}
