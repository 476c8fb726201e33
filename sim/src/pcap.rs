//! A trace as a capture that Wireshark opens.

use core::time::Duration;
use std::borrow::Cow;
use std::io;

use ::smoltcp::phy::Medium;
use pcap_file::pcapng::PcapNgWriter;
use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::section_header::SectionHeaderBlock;
use pcap_file::{DataLink, Endianness, PcapError};

use super::label::Labels;
use super::trace::{Entry, Fate, Lost, Note, Sent};
use super::world::START;
use super::{LinkId, NodeId, Trace, phrase};
use crate::Instant;

/// The resolution of a timestamp: a power of ten, negated. The virtual clock's is a microsecond.
const MICROSECONDS: u8 = 6;
/// What an option has room for, less what its padding may take.
const LONGEST_COMMENT: usize = 60_000;
/// No reader wants more of them at one packet.
const MOST_COMMENTS: usize = 50;

impl Trace {
    /// Writes what a capture at the devices of `vantage` would have shown, as pcapng: what it sent,
    /// when it sent it, and what arrived there, when it arrived, each with the time since
    /// the world began. There is an interface for each of its links.
    ///
    /// The comments of a packet say what it is, and what a capture could not have known: that it
    /// was lost later, that a bit of it was turned over, and what else happened in the world until
    /// the next one.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn write_pcapng(&self, vantage: impl Into<NodeId>, out: impl io::Write) -> io::Result<()> {
        let capture = Capture::new(self, vantage.into());
        capture.write(out).map_err(io_error)
    }
}

fn io_error(error: PcapError) -> io::Error {
    match error {
        PcapError::IoError(error) => error,
        other => io::Error::other(other),
    }
}

/// What is seen at a node.
struct Capture<'t> {
    trace: &'t Trace,
    labels: Labels,
    vantage: NodeId,
    /// The links that are the capture's interfaces, in order.
    links: Vec<(LinkId, [NodeId; 2], Medium)>,
}

/// Something seen.
struct Seen<'t> {
    at: Instant,
    what: What<'t>,
}

enum What<'t> {
    Departure(&'t Sent),
    Arrival(&'t Sent),
    Note(&'t Note),
}

impl<'t> Capture<'t> {
    fn new(trace: &'t Trace, vantage: NodeId) -> Self {
        let links = trace.links();
        Self {
            trace,
            labels: trace.labels(),
            vantage,
            links: links
                .filter(|(_, ends, _)| ends.contains(&vantage))
                .collect(),
        }
    }

    fn write(&self, out: impl io::Write) -> Result<(), PcapError> {
        // Little, whatever the machine is: the same run gives the same octets everywhere.
        let section = SectionHeaderBlock {
            endianness: Endianness::Little,
            ..SectionHeaderBlock::default()
        };
        let mut writer = PcapNgWriter::with_section_header(out, section)?;
        for interface in self.interfaces() {
            writer.write_pcapng_block(interface)?;
        }
        let mut packet: Option<EnhancedPacketBlock<'_>> = None;
        let mut remarks = Vec::new();
        for Seen { at, what } in self.seen() {
            let (sent, bytes) = match what {
                What::Note(note) => {
                    match &mut packet {
                        Some(packet) => remark(packet, self.remark(note, "after")),
                        None => remarks.push(self.remark(note, "before")),
                    }
                    continue;
                }
                What::Departure(sent) => (sent, &sent.bytes),
                What::Arrival(sent) => (sent, sent.damaged.as_ref().unwrap_or(&sent.bytes)),
            };
            let next = self.packet(at, sent, bytes);
            if let Some(packet) = core::mem::replace(&mut packet, next) {
                writer.write_pcapng_block(packet)?;
            }
            if let Some(packet) = &mut packet {
                remarks.drain(..).for_each(|text| remark(packet, text));
            }
        }
        if let Some(packet) = packet {
            writer.write_pcapng_block(packet)?;
        }
        Ok(())
    }

    fn interfaces(&self) -> impl Iterator<Item = InterfaceDescriptionBlock<'static>> {
        self.links.iter().map(|(_, [a, b], medium)| {
            let name = format!("{}-{}", self.trace.name(*a), self.trace.name(*b));
            let linktype = if *medium == Medium::Ethernet {
                DataLink::ETHERNET
            } else {
                DataLink::RAW
            };
            InterfaceDescriptionBlock {
                linktype,
                snaplen: 0,
                options: vec![
                    InterfaceDescriptionOption::IfName(Cow::Owned(name)),
                    InterfaceDescriptionOption::IfTsResol(MICROSECONDS),
                ],
            }
        })
    }

    /// Everything that is seen, in the order of time, and of its beginning where that is the same.
    fn seen(&self) -> Vec<Seen<'t>> {
        let mut seen = Vec::new();
        for entry in self.trace.entries() {
            match entry {
                Entry::Note(note) => seen.push(Seen {
                    at: note.at,
                    what: What::Note(note),
                }),
                Entry::Sent(sent) => {
                    // The link makes copies; what left the device was one frame.
                    if sent.from == self.vantage && sent.copy_of.is_none() {
                        let what = What::Departure(sent);
                        seen.push(Seen { at: sent.at, what });
                    }
                    if let (true, Some(at)) = (sent.to == self.vantage, arrival(sent)) {
                        let what = What::Arrival(sent);
                        seen.push(Seen { at, what });
                    }
                }
            }
        }
        seen.sort_by_key(|seen| seen.at);
        seen
    }

    fn remark(&self, note: &Note, order: &str) -> String {
        let since = phrase::seconds(note.at, 6);
        let what = note.sentence(self.trace);
        format!("{order} this, {since} s since the world began: {what}")
    }

    fn packet<'p>(
        &self,
        at: Instant,
        sent: &Sent,
        bytes: &'p [u8],
    ) -> Option<EnhancedPacketBlock<'p>> {
        let interface = self
            .links
            .iter()
            .position(|(link, ..)| *link == sent.link)?;
        let micros = at.saturating_duration_since(START).as_micros();
        Some(EnhancedPacketBlock {
            interface_id: u32::try_from(interface).ok()?,
            // The writer takes nanoseconds for units, whatever the interface's resolution is.
            timestamp: Duration::from_nanos(micros.try_into().ok()?),
            original_len: u32::try_from(bytes.len()).ok()?,
            data: Cow::Borrowed(bytes),
            options: vec![comment(self.describe(sent))],
        })
    }

    /// What a packet is and what became of it.
    fn describe(&self, sent: &Sent) -> String {
        let label = self.labels.of(sent.id);
        let mut text = label.map_or_else(String::new, |label| label.to_string());
        if let Fate::Lost { how, .. } = sent.fate {
            text.push_str("; lost: ");
            text.push_str(how.phrase());
        }
        if sent.fate == Fate::Held {
            text.push_str("; held on the link");
        }
        if sent.copy_of.is_some() {
            text.push_str("; a copy made by the link");
        }
        if sent.damaged.is_some() {
            text.push_str("; damaged on the way");
        }
        text
    }
}

/// Adds a comment to a packet that has not too many already.
fn remark(packet: &mut EnhancedPacketBlock<'_>, text: String) {
    if packet.options.len() < MOST_COMMENTS {
        packet.options.push(comment(text));
    }
}

fn comment(mut text: String) -> EnhancedPacketOption<'static> {
    let end = text.floor_char_boundary(LONGEST_COMMENT);
    text.truncate(end);
    EnhancedPacketOption::Comment(Cow::Owned(text))
}

/// When a frame was at the other end, if it came so far.
fn arrival(sent: &Sent) -> Option<Instant> {
    match sent.fate {
        // What was refused was in the device; what is behind that did not take it.
        Fate::Arrived { at }
        | Fate::Lost {
            at,
            how: Lost::Refused(_),
        } => Some(at),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use pcap_file::pcapng::{Block, PcapNgReader};

    use super::super::label::tests::{Scene, brisk, connected};
    use super::super::{Conditions, Manner};
    use super::*;

    fn capture(scene: &Scene, vantage: impl Into<NodeId>) -> Vec<u8> {
        let mut out = Vec::new();
        scene.world.trace().write_pcapng(vantage, &mut out).unwrap();
        out
    }

    /// Each packet: microseconds, length, comments.
    fn packets(capture: &[u8]) -> Vec<(u64, usize, Vec<String>)> {
        let mut reader = PcapNgReader::new(capture).unwrap();
        let mut packets = Vec::new();
        while let Some(block) = reader.next_block() {
            if let Block::EnhancedPacket(packet) = block.unwrap() {
                let comments = packet.options.iter().filter_map(|option| match option {
                    EnhancedPacketOption::Comment(text) => Some(text.to_string()),
                    _ => None,
                });
                let units = u64::try_from(packet.timestamp.as_nanos()).unwrap();
                packets.push((units, packet.data.len(), comments.collect()));
            }
        }
        packets
    }

    /// A frame has the time of its sending where it was sent, and that of its arrival where it
    /// arrived.
    #[test]
    fn time_is_that_of_the_vantage() {
        let scene = connected(brisk(), false);
        let times = |capture: &[u8]| {
            packets(capture)
                .iter()
                .map(|seen| seen.0)
                .collect::<Vec<_>>()
        };
        let near = times(&capture(&scene, scene.device));
        let far = times(&capture(&scene, scene.peer));
        assert_eq!(near, [0, 20_000, 20_000]);
        assert_eq!(far, [10_000, 10_000, 30_000]);
    }

    /// What is lost is in the capture of the sender, which says so, and not in the other one.
    #[test]
    fn lost_frames_are_seen_by_their_sender() {
        let mut scene = connected(brisk(), false);
        scene.world.partition(scene.link).unwrap();
        scene.world.run_for(Duration::from_secs(10)).unwrap();
        let near = packets(&capture(&scene, scene.device));
        assert_eq!(packets(&capture(&scene, scene.peer)).len(), 3);
        let [.., (_, _, before), (at, _, comments)] = &near[..] else {
            panic!("too few packets");
        };
        assert_eq!(*at, 10_020_000);
        assert_eq!(comments[..], ["probe 1; lost: partition"]);
        let remark = "after this, 1.000000 s since the world began: device-peer: partitioned";
        assert_eq!(before[..], ["ack", remark]);
    }

    /// A copy is seen where it arrives, and not where its original was sent.
    #[test]
    fn copies_are_seen_where_they_arrive() {
        let mut scene = connected(brisk(), false);
        let always = Conditions::ideal().duplication(super::super::Ratio::percent(100).unwrap());
        let (link, device) = (scene.link, scene.device);
        scene.world[scene.peer].behave(Manner::Silent);
        scene.world.set_conditions(link, device, always).unwrap();
        scene.world.run_for(Duration::from_secs(10)).unwrap();
        let far = packets(&capture(&scene, scene.peer));
        assert_eq!(packets(&capture(&scene, scene.device)).len(), 4);
        assert_eq!(far.len(), 5);
        assert_eq!(far[4].2, ["probe 1; a copy made by the link"]);
    }

    /// The same run gives the same octets.
    #[test]
    fn same_run_same_octets() {
        let [one, other] = [(); 2].map(|()| connected(brisk(), true));
        assert_eq!(capture(&one, one.device), capture(&other, other.device));
    }
}
