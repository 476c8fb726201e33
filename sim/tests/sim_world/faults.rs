//! A changed hardware address, frames for another station, one wrong reading of a clock, and a device
//! that comes back from the same port: each changes what it should, and the keep-alive lives with it.

use smoltcp::socket::tcp;
use tcp_keepalive::Event;
use tcp_keepalive::smoltcp::CloseReason;
use tcp_keepalive_sim::wire::Kind;
use tcp_keepalive_sim::{Conditions, Host, Id, Memory, Room, Script, World};

use super::pair::{PORT, cidr, config, server};
use super::post::{ms, s};

struct Lan {
    world: World,
    client: Id<Host>,
    server: Id<Host>,
}

/// A client that is kept alive, and a server, on an Ethernet, connected for a second.
fn lan(client: Script) -> Lan {
    let mut world = World::new(1);
    let client = world.add("client", Host::ethernet(cidr(1)).app(client));
    let echo = Script::server(PORT).sockets(2).keep_alive(config());
    let server = world.add("server", Host::ethernet(cidr(2)).app(echo));
    let wire = Conditions::ideal().latency(ms(10));
    world.link(client, server, wire).unwrap();
    world.run_for(s(1)).unwrap();
    Lan {
        world,
        client,
        server,
    }
}

fn kept() -> Script {
    Script::client(server()).keep_alive(config())
}

impl Lan {
    /// How many peers the client has given up.
    fn verdicts(&self) -> usize {
        let events = self.world[self.client].events().iter();
        events
            .filter(|(_, _, event)| matches!(event, Event::TimedOut(_)))
            .count()
    }

    fn is_connected(&self) -> bool {
        let mut sockets = self.world[self.client].tcp_sockets();
        sockets.all(|(_, socket)| socket.state() == tcp::State::Established)
    }
}

/// A server at another hardware address answers there alone, announced or not, and is kept.
#[test]
fn a_host_at_another_hardware_address_is_kept() {
    for is_announced in [true, false] {
        let mut lan = lan(kept());
        let before = lan.world[lan.server].hardware_addr().unwrap();
        lan.world
            .change_hardware_addr(lan.server, is_announced)
            .unwrap();
        let after = lan.world[lan.server].hardware_addr().unwrap();
        assert_ne!(before, after);
        let changed = lan.world.now();
        lan.world.run_for(s(1000)).unwrap();
        assert_eq!(lan.verdicts(), 0, "{is_announced}");
        assert!(lan.is_connected(), "{is_announced}");
        let frames = lan.world.trace().frames();
        let sent = frames.filter(|sent| sent.from == lan.server.into() && sent.at >= changed);
        for frame in sent {
            assert_eq!(&frame.bytes[6..12], after.as_bytes());
        }
    }
}

/// A host that gets another hardware address while its device takes nothing knows it all the same: what
/// has come to the old address by the time that there is room is no sign of life, and breaks nothing.
#[test]
fn a_host_without_room_knows_its_new_hardware_address() {
    let mut lan = lan(kept());
    lan.world.set_room(lan.server, Room::None).unwrap();
    lan.world.change_hardware_addr(lan.server, true).unwrap();
    // The client's first probe waits.
    lan.world.run_for(config().idle() + s(1)).unwrap();
    lan.world.set_room(lan.server, Room::Plenty).unwrap();
    lan.world.run_for(s(1000)).unwrap();
    assert!(lan.is_connected());
}

/// Frames for another station are no sign of life: the peer whose frames come so is given up on time.
#[test]
fn frames_for_another_station_keep_no_peer() {
    let mut lan = lan(kept());
    let heard = lan.world.now();
    lan.world[lan.client].hears_others = true;
    lan.world.run_for(config().detection_time()).unwrap();
    assert_eq!(lan.verdicts(), 1);
    // The answers to its probes have arrived.
    let frames = lan.world.trace().frames();
    let answers = frames.filter(|sent| {
        sent.from == lan.server.into()
            && sent.at > heard
            && matches!(&sent.kind, Kind::Tcp(segment) if !segment.syn && !segment.rst)
    });
    assert!(answers.count() >= 3);
}

/// One reading of a clock that is hours too high gives up no live peer, and lets no dead one live for
/// hours.
#[test]
fn one_wrong_reading_of_a_clock_delays_a_verdict_by_one_period() {
    for ahead in [s(20), s(3600), s(100_000)] {
        let mut lan = lan(kept());
        for _ in 0..10 {
            lan.world.run_for(s(7)).unwrap();
            lan.world.clock_misread(lan.client, ahead).unwrap();
        }
        lan.world.run_for(s(100)).unwrap();
        assert_eq!(lan.verdicts(), 0, "{ahead:?}");
        lan.world.clock_misread(lan.client, ahead).unwrap();
        lan.world.crash(lan.server).unwrap();
        lan.world.run_for(config().detection_time() * 2).unwrap();
        assert_eq!(lan.verdicts(), 1, "{ahead:?}");
    }
}

/// A client that comes back from the same port meets its old connection, which ends within a round trip,
/// and not after an idle time (K19).
#[test]
fn a_client_from_the_same_port_ends_its_old_connection() {
    for from_same in [true, false] {
        let client = Script::client(server());
        let mut lan = lan(if from_same {
            client.same_ports()
        } else {
            client
        });
        lan.world.reboot(lan.client, Memory::Lost).unwrap();
        lan.world.run_for(s(1)).unwrap();
        let host = &lan.world[lan.server];
        let reasons: Vec<_> = host
            .tcp_sockets()
            .filter_map(|(handle, _)| host.keep_alive.close_reason(handle))
            .collect();
        let reset = CloseReason::PeerReset {
            while_probing: false,
        };
        let expected = if from_same { vec![reset] } else { vec![] };
        assert_eq!(reasons, expected, "{from_same}");
    }
}
