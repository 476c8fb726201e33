//! A switch.

use core::time::Duration;
use std::collections::BTreeMap;

use ::smoltcp::phy::Medium;
use ::smoltcp::wire::{EthernetAddress, EthernetFrame};

use super::node::{Node, Turn};
use super::{Frame, Port};
use crate::Instant;

/// An Ethernet switch with as many ports as are linked.
///
/// It learns behind which port a hardware address is from what that sends, and sends what is for
/// it there only. What is for everybody, for a group, or for an address that it does not know goes
/// out of every port but the one it came in by.
///
/// It is no spanning tree: two ways between the same two switches are a storm, as on a table. It
/// does not notice a cable that is pulled; what it learned of that port stays until the host is
/// heard elsewhere or the entry is too old.
///
/// ```
/// # use smoltcp::wire::{IpAddress, IpCidr};
/// # use tcp_keepalive_sim::{Conditions, Host, SimError, Switch, World};
/// let mut world = World::new(1);
/// let switch = world.add("switch", Switch::new());
/// let device = world.add("device", Host::ethernet(IpCidr::new(IpAddress::v4(192, 0, 2, 1), 24)));
/// let server = world.add("server", Host::ethernet(IpCidr::new(IpAddress::v4(192, 0, 2, 2), 24)));
/// world.link(device, switch, Conditions::ideal())?;
/// world.link(server, switch, Conditions::ideal())?;
/// # Ok::<(), SimError>(())
/// ```
#[derive(Clone, Debug)]
pub struct Switch {
    stations: Stations,
}

impl Switch {
    /// How long it remembers an address that is not heard: 300 s, as IEEE 802.1D recommends.
    pub const AGEING: Duration = Duration::from_secs(300);

    /// Makes a switch that knows no address.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            stations: Stations::new(Self::AGEING),
        }
    }

    /// Forgets an address that has sent nothing for so long.
    #[must_use]
    pub const fn ageing(mut self, after: Duration) -> Self {
        self.stations.ageing = after;
        self
    }

    fn forward(
        &mut self,
        from: usize,
        frame: &Frame,
        turn: &mut Turn<'_>,
    ) -> Result<(), &'static str> {
        let header = EthernetFrame::new_checked(&*frame.bytes).map_err(|_| "not Ethernet")?;
        self.stations.learn(header.src_addr(), from, turn.now);
        let to = self.stations.port_of(header.dst_addr(), turn.now);
        if to == Some(from) {
            return Err("its receiver is where it came from");
        }
        let mut sent = false;
        for (index, port) in turn.ports.iter_mut().enumerate() {
            if index != from && to.is_none_or(|to| to == index) {
                sent |= port.send_frame(frame.bytes.to_vec());
            }
        }
        if sent {
            Ok(())
        } else {
            Err("no port has room")
        }
    }
}

impl Default for Switch {
    fn default() -> Self {
        Self::new()
    }
}

impl Node for Switch {
    fn new_port(&mut self, _: usize) -> Option<Port> {
        Some(Port::new(Medium::Ethernet))
    }

    fn power_on(&mut self, _: &mut Turn<'_>) {
        self.stations.clear();
    }

    fn poll(&mut self, turn: &mut Turn<'_>) {
        for index in 0..turn.ports.len() {
            while let Some(frame) = turn.ports.get_mut(index).and_then(Port::receive_frame) {
                if let Err(why) = self.forward(index, &frame, turn) {
                    turn.refuse(frame.id, why);
                }
            }
        }
    }

    /// Never: that an address is too old is noticed when it is looked for.
    fn poll_at(&mut self, _: Instant) -> Option<Instant> {
        None
    }
}

/// Which hardware address is behind which port.
#[derive(Clone, Debug)]
pub(super) struct Stations {
    ageing: Duration,
    /// The port of each, and when it was last heard there.
    heard: BTreeMap<EthernetAddress, (usize, Instant)>,
}

impl Stations {
    pub(super) const fn new(ageing: Duration) -> Self {
        Self {
            ageing,
            heard: BTreeMap::new(),
        }
    }

    pub(super) fn clear(&mut self) {
        self.heard.clear();
    }

    /// `station` was heard at `port`.
    pub(super) fn learn(&mut self, station: EthernetAddress, port: usize, now: Instant) {
        // No station has a group's address; a frame that says so is damaged or forged.
        if station.is_unicast() {
            self.heard.insert(station, (port, now));
        }
    }

    /// The port behind which `station` is, if it was heard of late.
    pub(super) fn port_of(&self, station: EthernetAddress, now: Instant) -> Option<usize> {
        let (port, heard) = self.heard.get(&station)?;
        (heard.saturating_add(self.ageing) > now).then_some(*port)
    }
}

#[cfg(test)]
mod tests {
    use ::smoltcp::wire::IpAddress;

    use super::super::mapping::testing::{around, pour_noise};
    use super::super::trace::{Fate, Lost};
    use super::super::wire::Macs;
    use super::super::{Conditions, Id, Peer, World};
    use super::*;

    const GROUP: EthernetAddress = EthernetAddress([1, 0, 0x5e, 0, 0, 1]);

    struct Lan {
        world: World,
        switch: Id<Switch>,
        peers: [Id<Peer>; 3],
    }

    fn address(last: u8) -> IpAddress {
        IpAddress::v4(192, 0, 2, last)
    }

    fn mac(last: u8) -> EthernetAddress {
        Peer::ethernet(address(last)).mac()
    }

    fn lan(switch: Switch) -> Lan {
        let mut world = World::new(1);
        let switch = world.add("switch", switch);
        let peers = [("a", 1), ("b", 2), ("c", 3)].map(|(name, last)| {
            let peer = world.add(name, Peer::ethernet(address(last)));
            world.link(switch, peer, Conditions::ideal()).unwrap();
            peer
        });
        Lan {
            world,
            switch,
            peers,
        }
    }

    impl Lan {
        /// Has a peer send a frame from `src` to `dst`; the names of the nodes that it reaches.
        fn send(
            &mut self,
            peer: usize,
            src: EthernetAddress,
            dst: EthernetAddress,
        ) -> Vec<&'static str> {
            let before = self.world.trace().frames().count();
            let reply =
                super::super::wire::neighbor_reply(address(9), address(9), Macs { src, dst });
            self.world[self.peers[peer]].inject(reply);
            self.world.run_for(Duration::ZERO).unwrap();
            let trace = self.world.trace();
            let new = trace.frames().skip(before);
            new.filter(|sent| sent.from == self.switch.into())
                .map(|sent| trace.name(sent.to))
                .collect()
        }
    }

    /// A frame for a station that was not heard yet goes to all others, and once they have been
    /// heard, to them only.
    #[test]
    fn unicast_is_flooded_only_until_its_receiver_is_known() {
        let mut lan = lan(Switch::new());
        assert_eq!(lan.send(0, mac(1), mac(2)), ["b", "c"]);
        assert_eq!(lan.send(1, mac(2), mac(1)), ["a"]);
        assert_eq!(lan.send(0, mac(1), mac(2)), ["b"]);
    }

    /// What is for everybody or for a group goes to all but its sender, always.
    #[test]
    fn broadcast_and_multicast_are_flooded() {
        let mut lan = lan(Switch::new());
        lan.send(1, mac(2), mac(1));
        assert_eq!(lan.send(0, mac(1), EthernetAddress::BROADCAST), ["b", "c"]);
        assert_eq!(lan.send(1, mac(2), GROUP), ["a", "c"]);
        // No station has a group's address, even if a frame claims so.
        lan.send(0, GROUP, mac(2));
        assert_eq!(lan.send(1, mac(2), GROUP), ["a", "c"]);
    }

    /// A frame for a station behind the port that it came in by goes nowhere.
    #[test]
    fn nothing_goes_back_where_it_came_from() {
        let mut lan = lan(Switch::new());
        lan.send(0, mac(1), mac(2));
        lan.send(0, mac(8), mac(2));
        assert_eq!(lan.send(0, mac(1), mac(8)), [""; 0]);
        let last = lan.world.trace().frames().last().unwrap();
        let why = "its receiver is where it came from";
        assert!(
            matches!(last.fate, Fate::Lost { how: Lost::Refused(it), .. } if it == why),
            "{last:?}"
        );
    }

    /// A station that was moved is found again with its first word from there.
    #[test]
    fn a_station_that_moved_is_learned_anew() {
        let mut lan = lan(Switch::new());
        lan.send(1, mac(2), mac(1));
        assert_eq!(lan.send(0, mac(1), mac(2)), ["b"]);
        lan.send(2, mac(2), mac(1));
        assert_eq!(lan.send(0, mac(1), mac(2)), ["c"]);
    }

    /// An address is known until it has been silent for the ageing time, and not at it.
    #[test]
    fn an_address_is_forgotten_after_the_ageing_time() {
        let ageing = Duration::from_secs(10);
        for (silent, is_known) in around(ageing) {
            let mut lan = lan(Switch::new().ageing(ageing));
            lan.send(1, mac(2), mac(1));
            lan.world.run_for(silent).unwrap();
            let reached = lan.send(0, mac(1), mac(2)).len();
            assert_eq!(reached == 1, is_known, "{silent:?}");
        }
    }

    /// Switched off and on, it knows no address.
    #[test]
    fn a_restart_forgets_all() {
        let mut lan = lan(Switch::new());
        lan.send(1, mac(2), mac(1));
        let switch = lan.switch;
        lan.world
            .reboot(switch, super::super::Memory::Lost)
            .unwrap();
        assert_eq!(lan.send(0, mac(1), mac(2)), ["b", "c"]);
    }

    /// Any octets at all pass or are refused.
    #[test]
    fn noise_does_no_harm() {
        let Lan {
            mut world, peers, ..
        } = lan(Switch::new());
        pour_noise(&mut world, &peers, Medium::Ethernet);
    }
}
