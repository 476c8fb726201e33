//! What is in a recording.

use std::collections::BTreeMap;

use tcp_keepalive_sim::wire::{self, Kind, Segment};

use super::recording::{Direction, Recorded, Recording};
use super::scene::{Scene, Theirs};
use crate::twins::Setup;

/// What both ends send in every scene.
const BOTH: [&str; 5] = ["SYN", "data", "data again", "ACK", "neighbour"];

/// How many frames there are of each kind, by direction. A frame may be of several.
#[derive(Debug, Default)]
pub struct Census(BTreeMap<(&'static str, Direction), usize>);

/// A recording proves something only if something happens in it.
pub fn assert_is_eventful(scene: &Scene, recording: &Recording) {
    let census = Census::of(scene, recording);
    let mut expected: Vec<_> = BOTH
        .iter()
        .flat_map(|kind| [(*kind, Direction::Inbound), (*kind, Direction::Outbound)])
        .collect();
    let is_reset = |(_, act): &(u64, Theirs)| matches!(act, Theirs::Reset(_));
    if scene.theirs.iter().any(is_reset) {
        expected.push(("RST", Direction::Inbound));
    }
    if scene.setup.all_kinds {
        expected.extend([
            ("RST", Direction::Outbound),
            ("FIN", Direction::Inbound),
            ("FIN", Direction::Outbound),
            ("closed window", Direction::Inbound),
            ("closed window", Direction::Outbound),
            ("window probe", Direction::Inbound),
            ("window probe", Direction::Outbound),
            ("keep-alive", Direction::Inbound),
            ("ICMP", Direction::Inbound),
            ("ICMP", Direction::Outbound),
            ("UDP", Direction::Inbound),
            ("UDP", Direction::Outbound),
        ]);
    }
    for (kind, direction) in expected {
        let count = census.count(kind, direction);
        assert!(
            count > 0,
            "{}: {direction:?} {kind}: {census:?}",
            scene.name
        );
    }
}

impl Census {
    pub fn of(scene: &Scene, recording: &Recording) -> Self {
        let mut census = Self::default();
        let mut seen = Seen::default();
        for frame in &recording.frames {
            for kind in seen.kinds(scene.setup, frame) {
                *census.0.entry((kind, frame.direction)).or_default() += 1;
            }
        }
        census
    }

    pub fn count(&self, kind: &'static str, direction: Direction) -> usize {
        self.0.get(&(kind, direction)).copied().unwrap_or(0)
    }
}

/// The end of what each has sent, and its last window, by its direction and both ports.
#[derive(Default)]
struct Seen(BTreeMap<(Direction, u16, u16), (u32, u16)>);

impl Seen {
    fn kinds(&mut self, setup: Setup, frame: &Recorded) -> Vec<&'static str> {
        match wire::parse(setup.medium, &frame.octets) {
            Kind::NeighborQuery(_) | Kind::NeighborReply => vec!["neighbour"],
            Kind::Tcp(segment) => self.segment(frame.direction, &segment),
            Kind::Other => other(setup, &frame.octets).into_iter().collect(),
        }
    }

    fn segment(&mut self, from: Direction, segment: &Segment) -> Vec<&'static str> {
        let back = match from {
            Direction::Inbound => Direction::Outbound,
            Direction::Outbound => Direction::Inbound,
        };
        let theirs = self.0.get(&(back, segment.dst_port, segment.src_port));
        let is_closed = theirs.is_some_and(|(_, window)| *window == 0);
        let key = (from, segment.src_port, segment.dst_port);
        let before = self.0.get(&key).map(|(end, _)| *end);
        let ahead = before.map_or(1, |end| segment.end().wrapping_sub(end).cast_signed());
        let end = before.filter(|_| ahead <= 0).unwrap_or(segment.end());
        if !segment.rst {
            self.0.insert(key, (end, segment.window));
        }

        let has_data = !segment.payload.is_empty();
        let is_probe = segment.is_pure_ack() && ahead == -1;
        let kinds = [
            ("SYN", segment.syn),
            ("FIN", segment.fin),
            ("RST", segment.rst),
            ("data", has_data && ahead > 0),
            ("data again", has_data && ahead <= 0 && !is_closed),
            ("ACK", segment.is_pure_ack() && ahead == 0),
            ("keep-alive", is_probe && !is_closed),
            ("window probe", is_closed && (is_probe || has_data)),
            ("closed window", segment.window == 0 && !segment.rst),
        ];
        let kinds = kinds.into_iter().filter(|(_, is_it)| *is_it);
        kinds.map(|(kind, _)| kind).collect()
    }
}

/// By the protocol that the IP header names.
fn other(setup: Setup, frame: &[u8]) -> Option<&'static str> {
    let protocol = if setup.ipv6 { 14 + 6 } else { 14 + 9 };
    match frame.get(protocol)? {
        1 | 58 => Some("ICMP"),
        17 => Some("UDP"),
        _ => None,
    }
}
