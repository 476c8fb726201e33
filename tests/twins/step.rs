//! What may happen to the twins.

use smoltcp::phy::Medium;
use smoltcp::time::Duration;
use tcp_keepalive_sim::wire::{Macs, Segment};

use super::Twins;
use super::station::{self, mac};

/// Something that happens to both.
#[derive(Clone, Debug)]
pub enum Step {
    /// Any octets arrive.
    Frame(Vec<u8>),
    /// A segment of the first connection arrives, near to what is acceptable.
    Segment(Near),
    /// A frame that arrived before arrives again, changed.
    Again {
        back: u8,
        at: u16,
        xor: u8,
        cut: u16,
    },
    /// The application writes to a connection.
    Write {
        index: u8,
        len: u16,
    },
    /// The peer's does.
    PeerWrite {
        index: u8,
        len: u16,
    },
    /// The application stops reading, or goes on.
    Read(bool),
    /// The application sends a datagram to the peer, which comes back.
    Datagram(u16),
    /// It sends an echo request, asks for a name, and sends a packet of no known protocol, and so
    /// does the peer's.
    Chatter,
    Close(u8),
    PeerClose(u8),
    Abort(u8),
    /// A connection that is over is opened again, from another port.
    Open(u8),
    /// The keep-alive is switched on, or off.
    Enable(bool),
    /// From now on so much is lost, in percent.
    Lose(u8),
    /// Nothing happens for so many milliseconds.
    Wait(u16),
}

/// A segment, by what sets it apart from the one that is right.
#[derive(Clone, Debug, Default)]
pub struct Near {
    pub seq: i16,
    pub ack: i16,
    pub flags: u8,
    pub window: u16,
    pub timestamps: Option<(u32, u32)>,
    pub len: u16,
    /// An octet to damage, and how.
    pub damage: Option<(u16, u8)>,
}

impl Near {
    fn frame(&self, twins: &Twins) -> Option<Vec<u8>> {
        let (nxt, ack) = twins.comparison.numbers?;
        let setup = &twins.setup;
        let (src_port, dst_port) = if setup.passive {
            (station::FIRST_PORT, station::SERVICE)
        } else {
            (station::SERVICE, station::FIRST_PORT)
        };
        let moved = |from: u32, by: i16| from.wrapping_add_signed(i32::from(by));
        let segment = Segment {
            src_addr: setup.address(2),
            dst_addr: setup.address(1),
            src_port,
            dst_port,
            seq: moved(ack, self.seq),
            ack: (self.flags & 0x10 == 0).then(|| moved(nxt, self.ack)),
            window: self.window,
            syn: self.flags & 0x03 == 0x01,
            fin: self.flags & 0x0c == 0x04,
            rst: self.flags & 0xe0 == 0x20,
            psh: self.flags & 0x08 != 0,
            payload: vec![0xa5; usize::from(self.len % 1400)],
            timestamps: self.timestamps,
            window_scale: None,
            hop_limit: 64,
            checksum_ok: true,
            ip_checksum_ok: true,
        };
        let macs = (setup.medium == Medium::Ethernet).then(|| Macs {
            src: mac(2),
            dst: mac(1),
        });
        let mut frame = segment.emit(macs);
        if let Some((at, xor)) = self.damage {
            let at = usize::from(at) % frame.len();
            frame[at] ^= xor;
        }
        Some(frame)
    }
}

impl Step {
    pub(super) fn perform(&self, twins: &mut Twins) {
        match self {
            Self::Frame(frame) => twins.show(frame.clone()),
            Self::Segment(near) => {
                if let Some(frame) = near.frame(twins) {
                    twins.show(frame);
                }
            }
            Self::Again { back, at, xor, cut } => {
                let Some(mut frame) = twins.shown(usize::from(*back)) else {
                    return;
                };
                if !frame.is_empty() {
                    let len = frame.len();
                    frame[usize::from(*at) % len] ^= xor;
                    frame.truncate(len - usize::from(*cut) % len);
                }
                twins.show(frame);
            }
            Self::Write { index, len } => twins.both(|twin| twin.write(*index, (*len).into())),
            Self::PeerWrite { index, len } => twins.peer.write(*index, (*len).into()),
            Self::Read(reads) => twins.both(|twin| twin.reads = *reads),
            Self::Datagram(len) => {
                let datagram = vec![0x77; usize::from(*len % 3000)];
                twins.both(|twin| twin.say_datagram(&datagram));
            }
            Self::Chatter => {
                twins.both(station::Station::chatter);
                twins.peer.chatter();
            }
            Self::Close(index) => twins.both(|twin| twin.tcp(*index).close()),
            Self::PeerClose(index) => twins.peer.tcp(*index).close(),
            Self::Abort(index) => twins.both(|twin| twin.tcp(*index).abort()),
            Self::Open(index) => {
                twins.peer.listen_again(*index);
                twins.both(|twin| twin.connect_again(*index));
            }
            Self::Enable(on) => {
                twins.comparison.switched();
                twins.kept.switch(*on);
            }
            Self::Lose(percent) => twins.loss = percent % 40,
            Self::Wait(millis) => twins.wait(Duration::from_millis(u64::from(*millis))),
        }
    }
}
