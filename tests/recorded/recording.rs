//! What was sent and received at a device, kept as a capture that Wireshark opens.

use std::borrow::Cow;
use std::fs;
use std::path::PathBuf;
use std::time;

use pcap_file::pcapng::blocks::enhanced_packet::{EnhancedPacketBlock, EnhancedPacketOption};
use pcap_file::pcapng::blocks::interface_description::{
    InterfaceDescriptionBlock, InterfaceDescriptionOption,
};
use pcap_file::pcapng::blocks::section_header::{SectionHeaderBlock, SectionHeaderOption};
use pcap_file::pcapng::{Block, PcapNgReader, PcapNgWriter};
use pcap_file::{DataLink, Endianness, PcapError};
use smoltcp::time::Instant;

/// The resolution of a timestamp: a power of ten, negated. smoltcp's is a microsecond.
const MICROSECONDS: u8 = 6;

/// All that was sent and received, in order.
#[derive(Clone, Debug, Default)]
pub struct Recording {
    pub frames: Vec<Recorded>,
}

/// A frame, and when smoltcp was polled that sent or received it.
#[derive(Clone, Debug)]
pub struct Recorded {
    pub at: Instant,
    pub direction: Direction,
    pub octets: Vec<u8>,
    /// What there is to say about it.
    pub comment: Option<String>,
}

/// As seen from smoltcp. The values are those of pcapng's flags.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Direction {
    Inbound = 1,
    Outbound = 2,
}

impl Recording {
    /// The one of that name in the repository.
    pub fn load(name: &str) -> Self {
        let path = path(name);
        let capture = fs::read(&path).unwrap_or_else(|error| panic!("{name}: {error}"));
        Self::read(&capture).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    /// Puts it into the repository, in place of the one of that name.
    pub fn save(&self, name: &str, system: &str) {
        let mut capture = Vec::new();
        let written = self.write(&mut capture, system);
        written.unwrap_or_else(|error| panic!("{name}: {error}"));
        fs::write(path(name), capture).unwrap_or_else(|error| panic!("{name}: {error}"));
    }

    fn read(capture: &[u8]) -> Result<Self, PcapError> {
        let mut reader = PcapNgReader::new(capture)?;
        let mut frames = Vec::new();
        while let Some(block) = reader.next_block() {
            if let Block::EnhancedPacket(packet) = block? {
                frames.push(Recorded::of(&packet)?);
            }
        }
        Ok(Self { frames })
    }

    fn write(&self, out: &mut Vec<u8>, system: &str) -> Result<(), PcapError> {
        // Little, whatever the machine is.
        let section = SectionHeaderBlock {
            endianness: Endianness::Little,
            options: vec![
                SectionHeaderOption::OS(Cow::Owned(system.to_owned())),
                SectionHeaderOption::UserApplication(Cow::Borrowed("tests/kernel/recorder.rs")),
            ],
            ..SectionHeaderBlock::default()
        };
        let mut writer = PcapNgWriter::with_section_header(out, section)?;
        writer.write_pcapng_block(InterfaceDescriptionBlock {
            linktype: DataLink::ETHERNET,
            snaplen: 0,
            options: vec![InterfaceDescriptionOption::IfTsResol(MICROSECONDS)],
        })?;
        for frame in &self.frames {
            writer.write_pcapng_block(frame.packet())?;
        }
        Ok(())
    }
}

impl Recorded {
    fn of(packet: &EnhancedPacketBlock<'_>) -> Result<Self, PcapError> {
        let mut direction = None;
        let mut comment = None;
        for option in &packet.options {
            match option {
                EnhancedPacketOption::Flags(1) => direction = Some(Direction::Inbound),
                EnhancedPacketOption::Flags(2) => direction = Some(Direction::Outbound),
                EnhancedPacketOption::Comment(text) => comment = Some(text.to_string()),
                _ => {}
            }
        }
        // The reader takes units for nanoseconds, whatever the interface's resolution is.
        let micros = i64::try_from(packet.timestamp.as_nanos())
            .map_err(|_| PcapError::InvalidField("a time beyond all times"))?;
        Ok(Self {
            at: Instant::from_micros(micros),
            direction: direction.ok_or(PcapError::InvalidField("a frame without a direction"))?,
            octets: packet.data.to_vec(),
            comment,
        })
    }

    fn packet(&self) -> EnhancedPacketBlock<'_> {
        let mut options = vec![EnhancedPacketOption::Flags(self.direction as u32)];
        let comment = self.comment.as_deref().map(Cow::Borrowed);
        options.extend(comment.map(EnhancedPacketOption::Comment));
        EnhancedPacketBlock {
            interface_id: 0,
            timestamp: time::Duration::from_nanos(self.at.total_micros().unsigned_abs()),
            original_len: u32::try_from(self.octets.len()).unwrap(),
            data: Cow::Borrowed(&self.octets),
            options,
        }
    }
}

fn path(name: &str) -> PathBuf {
    let directory = PathBuf::from(env!("CARGO_MANIFEST_DIR"));
    directory.join(format!("tests/recorded/{name}.pcapng"))
}
