//! What frames mean.
//!
//! A keep-alive probe has no flag of its own. It is known by what its sender has sent before and
//! by what was acknowledged, so that a trace has to be read from its beginning.

use core::fmt;
use std::collections::{BTreeMap, BTreeSet};

use ::smoltcp::wire::IpAddress;

use super::trace::{Entry, Fate, Sent};
use super::wire::{Kind, Segment};
use super::{FrameId, LinkId, Trace};

/// What a frame is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Label {
    /// The question who has an address.
    NeighborQuery,
    /// "I have."
    NeighborReply,
    /// The wish to open a connection.
    Syn,
    /// The consent.
    SynAck,
    /// Data that was not sent before.
    Data {
        /// So much.
        octets: usize,
    },
    /// Data that was.
    Retransmission {
        /// So much.
        octets: usize,
    },
    /// The end of the sender's data.
    Fin,
    /// The end of the connection.
    Rst,
    /// An acknowledgement.
    Ack,
    /// A keep-alive (RFC 9293 3.8.4): SEG.SEQ = SND.NXT-1, at most one octet, while nothing of the
    /// sender is unacknowledged.
    Probe {
        /// The how manieth in a row, since anything of the other side arrived: from 1.
        number: u32,
    },
    /// An octet for a window that is closed (RFC 9293 3.8.6.1).
    WindowProbe,
    /// An acknowledgement that says nothing new, after a keep-alive that it can be the answer to.
    Answer,
    /// Anything else, or garbage.
    Other,
}

impl fmt::Display for Label {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NeighborQuery => f.write_str("who has?"),
            Self::NeighborReply => f.write_str("I have"),
            Self::Syn => f.write_str("SYN"),
            Self::SynAck => f.write_str("SYN-ACK"),
            Self::Data { octets } => write!(f, "data {octets}"),
            Self::Retransmission { octets } => write!(f, "again data {octets}"),
            Self::Fin => f.write_str("FIN"),
            Self::Rst => f.write_str("RST"),
            Self::Ack => f.write_str("ack"),
            Self::Probe { number } => write!(f, "probe {number}"),
            Self::WindowProbe => f.write_str("window probe"),
            Self::Answer => f.write_str("answer"),
            Self::Other => f.write_str("other"),
        }
    }
}

/// What the frames of a trace mean: [`Trace::labels`].
#[derive(Clone, Debug)]
pub struct Labels {
    /// In the order of the trace's entries; `None` for notes.
    readings: Vec<Option<Reading>>,
    conversations: usize,
    /// How many entries came before the first.
    forgotten: usize,
}

impl Labels {
    /// Returns what a frame means; `None` if it is not of that trace.
    #[must_use]
    pub fn of(&self, frame: FrameId) -> Option<Label> {
        Some(self.reading(frame)?.label)
    }

    pub(super) fn reading(&self, frame: FrameId) -> Option<Reading> {
        *self.readings.get(frame.0.checked_sub(self.forgotten)?)?
    }

    /// How many pairs of addresses and ports there are, whatever links they are seen on.
    pub(super) const fn conversations(&self) -> usize {
        self.conversations
    }
}

/// A label, and a segment's numbers as a person reads them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Reading {
    pub(super) label: Label,
    /// Counted from the sender's initial sequence number.
    pub(super) seq: u32,
    /// Counted from that of the other side.
    pub(super) ack: Option<u32>,
}

impl Reading {
    const fn without_numbers(label: Label) -> Self {
        Self {
            label,
            seq: 0,
            ack: None,
        }
    }
}

impl Trace {
    /// Returns what each frame means.
    #[must_use]
    pub fn labels(&self) -> Labels {
        let mut reader = Reader {
            trace: self,
            conversations: BTreeMap::new(),
            on_their_way: BTreeSet::new(),
            readings: Vec::with_capacity(self.entries().len()),
        };
        for entry in self.entries() {
            reader.arrive_until(entry);
            let reading = match entry {
                Entry::Sent(sent) => Some(reader.read(sent)),
                Entry::Note(_) => None,
            };
            reader.readings.push(reading);
        }
        let pairs = reader.conversations.keys();
        let pairs: BTreeSet<_> = pairs.map(|(_, low, high)| (low, high)).collect();
        let conversations = pairs.len();
        Labels {
            readings: reader.readings,
            forgotten: self.forgotten(),
            conversations,
        }
    }
}

/// Goes through a trace once.
struct Reader<'t> {
    trace: &'t Trace,
    conversations: BTreeMap<Pair, Conversation>,
    /// The frames that will have arrived, by when they do.
    on_their_way: BTreeSet<(crate::Instant, FrameId)>,
    readings: Vec<Option<Reading>>,
}

impl Reader<'_> {
    fn read(&mut self, sent: &Sent) -> Reading {
        // What arrives with a bit the other way is not heard: a checksum is wrong.
        if let (Fate::Arrived { at }, None) = (sent.fate, &sent.damaged) {
            self.on_their_way.insert((at, sent.id));
        }
        if let Some(reading) = sent.copy_of.and_then(|original| self.reading(original)) {
            return reading;
        }
        match &sent.kind {
            Kind::NeighborQuery(_) => Reading::without_numbers(Label::NeighborQuery),
            Kind::NeighborReply => Reading::without_numbers(Label::NeighborReply),
            Kind::Tcp(segment) => {
                let (mine, theirs) = self.sides(sent.link, segment);
                let label = mine.send(theirs, segment);
                Reading {
                    label,
                    seq: mine.relative(segment.seq),
                    ack: segment.ack.map(|ack| theirs.relative(ack)),
                }
            }
            Kind::Other => Reading::without_numbers(Label::Other),
        }
    }

    fn reading(&self, frame: FrameId) -> Option<Reading> {
        *self.readings.get(self.trace.index(frame)?)?
    }

    /// Everything that has arrived by the time of `entry`, which may be why that happened.
    fn arrive_until(&mut self, entry: &Entry) {
        while let Some((at, frame)) = self.on_their_way.first().copied() {
            if at > entry.at() {
                return;
            }
            self.on_their_way.pop_first();
            let Some(sent) = self.trace.frame(frame) else {
                continue;
            };
            let label = self.reading(frame).map(|reading| reading.label);
            if let (Some(segment), Some(label)) = (sent.kind.tcp(), label) {
                let (_, receiver) = self.sides(sent.link, segment);
                receiver.hear(segment, label);
            }
        }
    }

    /// The side that sends `segment`, and the one it is for.
    fn sides(&mut self, link: LinkId, segment: &Segment) -> (&mut Side, &mut Side) {
        let source = (segment.src_addr, segment.src_port);
        let destination = (segment.dst_addr, segment.dst_port);
        let pair = (link, source.min(destination), source.max(destination));
        let Conversation { low, high } = self.conversations.entry(pair).or_default();
        if source <= destination {
            (low, high)
        } else {
            (high, low)
        }
    }
}

/// The ends of a conversation on a link, the lower one first.
type Pair = (LinkId, (IpAddress, u16), (IpAddress, u16));

#[derive(Debug, Default)]
struct Conversation {
    low: Side,
    high: Side,
}

/// One side, as what it sent and what has reached it show it.
#[derive(Debug, Default)]
struct Side {
    numbers: Option<Numbers>,
    /// The acknowledgement number that it sent last.
    acknowledged: Option<u32>,
    /// The window that it was offered last.
    window: Option<u16>,
    /// Its probes since it heard anything.
    probes: u32,
    /// Probes that have reached it and that it has not answered.
    owed: u32,
}

/// A side's sequence numbers.
#[derive(Clone, Copy, Debug)]
struct Numbers {
    initial: u32,
    /// The oldest one that is not acknowledged, and the one after all that was sent.
    una: u32,
    nxt: u32,
    /// The one after all that was sent into a closed window, where it may be taken or not.
    tried: u32,
}

impl Side {
    /// What it sends, and what that makes of it.
    fn send(&mut self, other: &mut Self, segment: &Segment) -> Label {
        let label = if segment.syn {
            self.open(other, segment);
            match segment.ack {
                None => Label::Syn,
                Some(_) => Label::SynAck,
            }
        } else {
            self.label(segment)
        };
        self.account(segment, label);
        label
    }

    /// A SYN is the beginning, unless it is the same one again.
    fn open(&mut self, other: &mut Self, segment: &Segment) {
        let is_repeated = self.numbers.is_some_and(|numbers| {
            numbers.initial == segment.seq && numbers.nxt == segment.seq.wrapping_add(1)
        });
        if is_repeated {
            return;
        }
        if self.numbers.is_some() && segment.ack.is_none() {
            *other = Self::default();
        }
        *self = Self::default();
    }

    fn label(&self, segment: &Segment) -> Label {
        let octets = segment.payload.len();
        if segment.rst {
            return Label::Rst;
        }
        if segment.fin {
            return Label::Fin;
        }
        if let Some(Numbers { una, nxt, .. }) = self.numbers {
            let is_ack_only = segment.ack.is_some() && !segment.psh;
            if is_ack_only && octets <= 1 && segment.seq == nxt.wrapping_sub(1) && una == nxt {
                return Label::Probe {
                    number: self.probes.saturating_add(1),
                };
            }
            if octets == 1 && segment.seq == una && self.window == Some(0) {
                return Label::WindowProbe;
            }
            if octets > 0 && !is_after(segment.end(), nxt) {
                return Label::Retransmission { octets };
            }
        }
        match segment.ack {
            _ if octets > 0 => Label::Data { octets },
            None => Label::Other,
            Some(_) if self.owed > 0 && self.acknowledged == segment.ack => Label::Answer,
            Some(_) => Label::Ack,
        }
    }

    fn account(&mut self, segment: &Segment, label: Label) {
        let (seq, end) = (segment.seq, segment.end());
        let numbers = self.numbers.get_or_insert(Numbers {
            initial: seq,
            una: seq,
            nxt: seq,
            tried: seq,
        });
        match label {
            Label::Probe { number } => self.probes = number,
            Label::Answer => self.owed = self.owed.saturating_sub(1),
            Label::WindowProbe => numbers.tried = later(numbers.tried, end),
            // A sender leaves no gap; a segment beyond one is forged.
            _ if !is_after(seq, numbers.nxt) => {
                numbers.nxt = later(numbers.nxt, end);
                numbers.tried = later(numbers.tried, end);
            }
            _ => {}
        }
        if segment.ack.is_some() {
            self.acknowledged = segment.ack;
        }
    }

    /// A segment of the other side has reached it.
    fn hear(&mut self, segment: &Segment, label: Label) {
        self.probes = 0;
        if matches!(label, Label::Probe { .. }) {
            self.owed = self.owed.saturating_add(1);
        }
        let Some(ack) = segment.ack else { return };
        self.window = Some(segment.window);
        if let Some(numbers) = &mut self.numbers {
            // RFC 9293 3.10.7.4: acceptable is SND.UNA < SEG.ACK =< SND.NXT.
            if is_after(ack, numbers.una) && !is_after(ack, numbers.tried) {
                numbers.una = ack;
                numbers.nxt = later(numbers.nxt, ack);
            }
        }
    }

    /// `number` as a distance from the initial one, or as it is if that was never seen.
    fn relative(&self, number: u32) -> u32 {
        let initial = self.numbers.map_or(0, |numbers| numbers.initial);
        number.wrapping_sub(initial)
    }
}

/// RFC 9293 3.4: "all arithmetic dealing with sequence numbers must be performed modulo 2^32".
const fn is_after(number: u32, other: u32) -> bool {
    number.wrapping_sub(other).cast_signed() > 0
}

const fn later(number: u32, other: u32) -> u32 {
    if is_after(other, number) {
        other
    } else {
        number
    }
}

#[cfg(test)]
pub(super) mod tests {
    use core::time::Duration;

    use ::smoltcp::iface::SocketHandle;
    use ::smoltcp::wire::{IpAddress, IpCidr};

    use super::super::{Conditions, Host, Id, LinkId, Manner, Peer, Ratio, World};
    use super::*;
    use crate::Config;

    /// A device that keeps a connection to a peer alive, 10 ms away.
    pub(crate) struct Scene {
        pub(crate) world: World,
        pub(crate) device: Id<Host>,
        pub(crate) peer: Id<Peer>,
        pub(crate) link: LinkId,
        pub(crate) socket: SocketHandle,
    }

    /// One second after the connection was asked for.
    pub(crate) fn connected(config: Config, is_ethernet: bool) -> Scene {
        let mut world = World::new(1);
        let near = IpCidr::new(IpAddress::v4(192, 0, 2, 1), 24);
        let far = IpAddress::v4(192, 0, 2, 2);
        let (host, peer) = if is_ethernet {
            (Host::ethernet(near), Peer::ethernet(far))
        } else {
            (Host::ip(near), Peer::ip(far))
        };
        let device = world.add("device", host);
        let peer = world.add("peer", peer);
        let conditions = Conditions::ideal().latency(Duration::from_millis(10));
        let link = world.link(device, peer, conditions).unwrap();
        let socket = world[device].add_tcp_socket(1024, 1024);
        let host = &mut world[device];
        host.keep_alive.enable(socket, config).unwrap();
        let context = host.iface.context();
        let tcp: &mut ::smoltcp::socket::tcp::Socket<'_> = host.sockets.get_mut(socket);
        tcp.connect(context, (far, 7), 49152).unwrap();
        world.run_for(Duration::from_secs(1)).unwrap();
        Scene {
            world,
            device,
            peer,
            link,
            socket,
        }
    }

    /// Every 10 s; given up after 3 probes 2 s apart.
    pub(crate) fn brisk() -> Config {
        let seconds = Duration::from_secs;
        Config::new(seconds(10), seconds(2), 3).unwrap()
    }

    fn labels(world: &World) -> Vec<String> {
        let labels = world.trace().labels();
        let frames = world.trace().frames();
        let of = |sent: &Sent| labels.of(sent.id).map(|label| label.to_string());
        frames.filter_map(of).collect()
    }

    /// A connection begins with a question for the neighbour and a handshake; a quiet one is
    /// probed and answered, each time anew.
    #[test]
    fn handshake_and_answered_probes() {
        let mut scene = connected(brisk(), true);
        scene.world.run_for(Duration::from_secs(20)).unwrap();
        let expected = [
            "who has?", "I have", "SYN", "SYN-ACK", "ack", "probe 1", "answer", "probe 1", "answer",
        ];
        assert_eq!(labels(&scene.world), expected);
    }

    /// Probes without an answer are numbered.
    #[test]
    fn unanswered_probes_are_numbered() {
        let mut scene = connected(brisk(), false);
        scene.world[scene.peer].behave(Manner::Silent);
        scene.world.run_for(Duration::from_secs(20)).unwrap();
        let expected = ["SYN", "SYN-ACK", "ack", "probe 1", "probe 2", "probe 3"];
        assert_eq!(labels(&scene.world)[..6], expected);
    }

    /// Data is data, acknowledged and not answered; without an acknowledgement it is sent again.
    #[test]
    fn data_and_retransmission() {
        let mut scene = connected(brisk(), false);
        let Scene {
            world,
            device,
            peer,
            socket,
            ..
        } = &mut scene;
        world[*peer].say(0, 5).unwrap();
        world.run_for(Duration::from_secs(1)).unwrap();
        world[*peer].behave(Manner::Silent);
        world[*device].tcp(*socket).send_slice(b"hello").unwrap();
        world.run_for(Duration::from_millis(2500)).unwrap();
        let labels = labels(world);
        assert_eq!(labels[3..6], ["data 5", "ack", "data 5"]);
        assert_eq!(labels[6], "again data 5");
    }

    /// An octet sent into a closed window is a window probe, and its acknowledgement no answer.
    #[test]
    fn closed_window_is_probed() {
        let mut scene = connected(brisk(), false);
        let Scene {
            world,
            device,
            peer,
            socket,
            ..
        } = &mut scene;
        world[*peer].offer_window(0, 0).unwrap();
        world.run_for(Duration::from_secs(1)).unwrap();
        world[*device].tcp(*socket).send_slice(b"hello").unwrap();
        world.run_for(Duration::from_secs(3)).unwrap();
        assert_eq!(labels(world)[3..6], ["ack", "window probe", "ack"]);
    }

    /// A copy means what its original does, and its answer is an answer too.
    #[test]
    fn copies_are_labelled_like_their_originals() {
        let mut scene = connected(brisk(), false);
        let always = Conditions::ideal().duplication(Ratio::percent(100).unwrap());
        let (link, device) = (scene.link, scene.device);
        scene.world.set_conditions(link, device, always).unwrap();
        scene.world.run_for(Duration::from_secs(10)).unwrap();
        let expected = ["probe 1", "probe 1", "answer", "answer"];
        assert_eq!(labels(&scene.world)[3..], expected);
    }

    /// A peer that has restarted resets the connection.
    #[test]
    fn restarted_peer_resets() {
        let mut scene = connected(brisk(), false);
        let peer = scene.peer;
        scene
            .world
            .reboot(peer, super::super::Memory::Lost)
            .unwrap();
        scene.world.run_for(Duration::from_secs(10)).unwrap();
        assert_eq!(labels(&scene.world)[3..], ["probe 1", "RST"]);
    }

    /// Sequence numbers are compared across their wrap.
    #[test]
    fn sequence_numbers_wrap() {
        assert!(is_after(3, u32::MAX));
        assert!(!is_after(u32::MAX, 3));
        assert_eq!(later(u32::MAX, 3), 3);
    }
}
