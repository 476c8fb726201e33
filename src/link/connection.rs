//! One connection of a link.

use core::fmt;
use core::mem::swap;

use super::frame::{
    Buffer, Envelope, FLAG_ACK, FLAG_RST, Framing, HardwareAddr, MAX_FRAME_LEN, PROTOCOL_TCP, Tuple,
};
use crate::{Cause, Event, Flow, Instant, KeepAlive, ProbePayload, Verdict};

/// How a connection ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum CloseReason {
    /// The peer left our probes unanswered.
    KeepAlive(Verdict),
    /// The peer left something we sent unanswered for the user timeout.
    UserTimeout(Verdict),
    /// The peer reset the connection.
    PeerReset {
        /// It was being probed: most likely it has restarted and knows nothing of us.
        while_probing: bool,
    },
    /// Both sides closed it.
    Closed,
    /// The application aborted it, or the stack's own timeout did.
    LocalAbort,
    /// The interface lost the address that the connection was using.
    AddressLost,
}

impl fmt::Display for CloseReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::KeepAlive(verdict) | Self::UserTimeout(verdict) => verdict.fmt(f),
            Self::PeerReset {
                while_probing: true,
            } => f.write_str("reset by the peer while it was being probed"),
            Self::PeerReset { .. } => f.write_str("reset by the peer"),
            Self::Closed => f.write_str("closed by both sides"),
            Self::LocalAbort => f.write_str("aborted at this end"),
            Self::AddressLost => f.write_str("the interface lost its address"),
        }
    }
}

/// What a stack knows of the end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Ending {
    /// Only that it is over.
    Unknown,
    /// Both sides closed it.
    Closed,
    /// The interface does not have its address any more.
    AddressLost,
}

/// Where a connection is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub(super) enum Phase {
    /// The place is free.
    Free,
    /// There is no connection, and never was.
    Unbound,
    /// The handshake is under way.
    Opening,
    /// The connection is synchronised and kept alive.
    Open,
    /// A RST arrived that the stack takes.
    ResetReceived,
    /// The stack sent a RST.
    ResetSent,
    /// The verdict fell; neither end has its RST yet.
    GivenUp,
    /// The stack has its RST; the peer does not.
    StackTold,
    /// The connection ended by a verdict, which the machine keeps.
    Dead,
    /// It ended otherwise.
    ResetWhileProbing,
    Reset,
    Aborted,
    Closed,
    AddressLost,
}

impl Phase {
    /// The connection has not ended, as far as we know.
    pub(super) const fn is_live(self) -> bool {
        matches!(
            self,
            Self::Opening | Self::Open | Self::ResetReceived | Self::ResetSent
        )
    }
}

/// What frames have shown of a connection.
// In this order it is smallest: measured.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub(super) struct Seen<const W: usize> {
    pub(super) flow: Flow,
    /// Where the stack sends its frames.
    pub(super) hardware: HardwareAddr,
    /// As the stack has it; zero until it has sent anything.
    pub(super) hop_limit: u8,
    pub(super) phase: Phase,
    pub(super) tuple: Tuple<W>,
}

/// A segment that the engine writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// SEQ = SND.UNA - 1 (K12).
    Probe,
    /// The answer to a SYN in a synchronised state: "<SEQ=SND.NXT><ACK=RCV.NXT><CTL=ACK>" (K19;
    /// RFC 5961 4.2).
    Challenge,
    /// For the peer: SEQ = SND.NXT, ACK = RCV.NXT (RFC 5961 3.2).
    Reset,
    /// For our own stack, as if from the peer: the ends and the numbers exchanged, at the end of the
    /// window. The stack may have received more than it has acknowledged, and the RST lies within what
    /// is left of it.
    ResetOfPeer,
}

/// Everything that is known about one connection.
///
/// Over IPv4, on a 32-bit processor, it takes 108 bytes.
#[derive(Debug)]
#[repr(C)]
pub(super) struct Connection<const W: usize> {
    pub(super) seen: Seen<W>,
    pub(super) machine: KeepAlive,
}

impl Phase {
    /// How a connection ended without a verdict.
    #[inline(never)]
    pub(super) const fn end(self) -> Event {
        match self {
            Self::ResetWhileProbing | Self::Reset => Event::PeerReset {
                while_probing: matches!(self, Self::ResetWhileProbing),
            },
            Self::Closed => Event::Closed,
            Self::Aborted => Event::LocalAbort,
            Self::AddressLost => Event::AddressLost,
            _ => Event::NoSocket,
        }
    }
}

impl<const W: usize> Seen<W> {
    /// Nothing but zeros.
    pub(super) const NONE: Self = Self {
        tuple: Tuple::NONE,
        flow: Flow::new(0, 0),
        hardware: [0; 6],
        hop_limit: 0,
        phase: Phase::Free,
    };

    #[inline(never)]
    pub(super) const fn new(tuple: Tuple<W>) -> Self {
        Self {
            tuple,
            phase: Phase::Opening,
            ..Self::NONE
        }
    }

    /// Records that the handshake is over.
    #[inline(never)]
    pub(super) fn open(&mut self, machine: &mut KeepAlive, now: Instant, is_heard: bool) {
        self.phase = Phase::Open;
        self.flow.set_unsent(false);
        machine.enable(now);
        if is_heard {
            machine.recover(now);
        }
    }

    /// Writes a segment into `out` and returns the length of the frame; `None` if the numbers are not
    /// known. `ours` is our hardware address.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "measured: it is smaller")]
    pub(super) fn write(
        &self,
        out: &mut Buffer,
        mut framing: Framing,
        ours: &HardwareAddr,
        kind: Kind,
        payload: ProbePayload,
    ) -> Option<usize> {
        if !self.flow.is_known() {
            return None;
        }
        let (snd_una, snd_nxt, rcv_nxt) = self.flow.numbers();
        let (mut seq, mut ack) = (snd_nxt, rcv_nxt);
        let mut has_octet = false;
        let (mut to, mut from) = (&self.hardware, ours);
        let mut tuple = self.tuple;
        match kind {
            Kind::Probe => {
                seq = snd_una.wrapping_sub(1);
                has_octet = payload != ProbePayload::Empty;
            }
            Kind::ResetOfPeer => {
                seq = self.flow.last_in_window();
                ack = snd_nxt;
                tuple = tuple.reversed();
                swap(&mut to, &mut from);
                // It never meets the device, and the stack may verify it.
                framing = framing.in_software();
            }
            Kind::Challenge | Kind::Reset => {}
        }
        let is_reset = matches!(kind, Kind::Reset | Kind::ResetOfPeer);
        let has_timestamps = !is_reset && self.flow.has_timestamps();
        let flags = FLAG_ACK | if is_reset { FLAG_RST } else { 0 };
        let header_len: u8 = if has_timestamps { 32 } else { 20 };
        let envelope = Envelope {
            to: *to,
            from: *from,
            tuple,
            protocol: PROTOCOL_TCP,
            hop_limit: self.hop_limit,
            payload_len: u16::from(header_len | u8::from(has_octet)),
            checksum_at: 16,
        };
        framing.write(out, &envelope, |payload| {
            let [w0, w1, w2, w3, w4, w5, w6, w7, ..] = payload.as_chunks_mut::<4>().0 else {
                return;
            };
            // The offset is in words, in the upper half of its octet.
            let fixed = u32::from_be_bytes([header_len << 2, flags, 0, 0]);
            *w0 = tuple.ports.to_ne_bytes();
            *w1 = seq.0.to_be_bytes();
            *w2 = ack.0.to_be_bytes();
            *w3 = (fixed | u32::from(self.flow.rcv_wnd())).to_be_bytes();
            *w4 = [0; 4];
            // The octet of garbage is a zero, and lies here or after the options.
            *w5 = [0; 4];
            if has_timestamps {
                let (tsval, tsecr) = self.flow.stamps();
                // RFC 7323 appendix A: two NOPs align the option.
                *w5 = [1, 1, 8, 10];
                *w6 = tsval.to_be_bytes();
                *w7 = tsecr.to_be_bytes();
            }
            if let Some(octet) = payload.get_mut(32) {
                *octet = 0;
            }
        })
    }

    /// Writes a segment without data over a frame of the stack's, which is longer.
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "measured: it is smaller")]
    pub(super) fn write_over(
        &self,
        frame: &mut [u8],
        framing: Framing,
        ours: &HardwareAddr,
        kind: Kind,
    ) {
        let mut out = [0; MAX_FRAME_LEN];
        let written = self.write(&mut out, framing, ours, kind, ProbePayload::Empty);
        if let Some(len) = written
            && let (Some(to), Some(from)) = (frame.get_mut(..len), out.get(..len))
        {
            to.copy_from_slice(from);
        }
    }
}

impl<const W: usize> Connection<W> {
    pub(super) const FREE: Self = Self {
        seen: Seen::NONE,
        machine: KeepAlive::WITHOUT_CONFIG,
    };

    pub(super) const BYTES_TOUCHED_BY_SEGMENT: usize =
        core::mem::offset_of!(Self, machine) + KeepAlive::BYTES_TOUCHED_BY_SEGMENT;

    /// The connection is synchronised, and kept alive.
    pub(super) const fn is_open(&self) -> bool {
        matches!(self.seen.phase, Phase::Open)
    }

    /// The connection has not ended, as far as we know.
    pub(super) const fn is_live(&self) -> bool {
        self.seen.phase.is_live()
    }

    /// Frames of this connection go to `hardware`.
    pub(super) fn goes_through(&self, hardware: HardwareAddr) -> bool {
        self.is_open() && self.seen.hardware == hardware
    }

    /// Records where the next hop answered from. Returns whether the probe has to go out again.
    pub(super) fn handle_hop_answered(&mut self, hardware: HardwareAddr) -> bool {
        let has_moved = self.seen.hardware != hardware;
        self.seen.hardware = hardware;
        self.machine.handle_hop_answered();
        has_moved && self.machine.handle_hop_moved()
    }

    /// Records that the connection is over.
    pub(super) fn end(&mut self, ending: Ending) {
        let is_probing = self.machine.is_probing();
        self.seen.phase = match self.seen.phase {
            Phase::ResetSent => Phase::Aborted,
            Phase::ResetReceived if is_probing => Phase::ResetWhileProbing,
            Phase::ResetReceived => Phase::Reset,
            _ if self.seen.flow.is_closing() => Phase::Closed,
            _ => match ending {
                Ending::Unknown => Phase::Aborted,
                Ending::Closed => Phase::Closed,
                Ending::AddressLost => Phase::AddressLost,
            },
        };
        self.machine.end();
    }

    pub(super) fn close_reason(&self) -> Option<CloseReason> {
        let reset = |while_probing| CloseReason::PeerReset { while_probing };
        Some(match self.seen.phase {
            Phase::GivenUp | Phase::StackTold | Phase::Dead => {
                let verdict = self.machine.verdict()?;
                match verdict.cause {
                    Cause::KeepAlive => CloseReason::KeepAlive(verdict),
                    Cause::UserTimeout => CloseReason::UserTimeout(verdict),
                }
            }
            Phase::ResetWhileProbing => reset(true),
            Phase::Reset => reset(false),
            Phase::Closed => CloseReason::Closed,
            Phase::Aborted => CloseReason::LocalAbort,
            Phase::AddressLost => CloseReason::AddressLost,
            Phase::Free
            | Phase::Unbound
            | Phase::Opening
            | Phase::Open
            | Phase::ResetReceived
            | Phase::ResetSent => return None,
        })
    }
}
