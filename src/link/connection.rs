//! One connection of a link.

use super::frame::{Buffer, FLAG_ACK, FLAG_RST, Framing, HardwareAddr, Header, Tuple};
use crate::{Cause, Flow, Instant, KeepAlive, ProbePayload, SeqNumber, State, Verdict};

/// The stack is asked for numbers at most this often: smoltcp answers one such segment a second.
pub(super) const ASK_STACK_MICROS: u64 = 1_100_000;

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
    /// The same, and the probe goes out again: the next hop has another address (K17).
    Moved,
    /// A RST arrived that the stack takes.
    ResetReceived,
    /// The stack sent a RST.
    ResetSent,
    /// The verdict fell; neither end has its RST yet.
    GivenUp,
    /// The peer has its RST; the stack does not.
    PeerTold,
    /// The stack has its RST; the peer does not.
    StackTold,
    /// The connection ended by a verdict, which the machine keeps.
    Dead,
    /// It ended otherwise.
    ResetWhileProbing,
    Reset,
    Closed,
    Aborted,
    AddressLost,
}

impl Phase {
    /// The connection has not ended, as far as we know.
    pub(super) const fn is_live(self) -> bool {
        matches!(
            self,
            Self::Opening | Self::Open | Self::Moved | Self::ResetReceived | Self::ResetSent
        )
    }
}

/// What frames have shown of a connection.
#[derive(Clone, Copy, Debug)]
pub(super) struct Seen<const W: usize> {
    pub(super) tuple: Tuple<W>,
    pub(super) flow: Flow,
    /// Where the stack sends its frames.
    pub(super) hardware: HardwareAddr,
    /// As the stack has it; zero until it has sent anything.
    pub(super) hop_limit: u8,
    pub(super) phase: Phase,
}

/// A segment that the engine writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// SEQ = SND.UNA - 1 (K12).
    Probe,
    /// RFC 5961 4.2: a SYN in a synchronised state is answered by "<SEQ=SND.NXT><ACK=RCV.NXT>
    /// <CTL=ACK>" (K19).
    Challenge,
    /// For the peer: SEQ = SND.NXT, ACK = RCV.NXT (RFC 5961 3.2).
    Reset,
    /// The same, for our own stack: the numbers exchanged.
    ResetOfPeer,
    /// As if from the peer, with numbers of the lower or the upper half of the circle: the stack
    /// answers with where it stands (RFC 9293 3.10.7.4).
    Question { half: u32 },
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

impl<const W: usize> Seen<W> {
    pub(super) const fn new(tuple: Tuple<W>) -> Self {
        Self {
            tuple,
            flow: Flow::new(0, 0),
            hardware: [0; 6],
            hop_limit: 0,
            phase: Phase::Opening,
        }
    }

    /// Writes a segment into `out` and returns the length of the frame; `None` if the numbers are not
    /// known. `ours` is our hardware address.
    pub(super) fn write(
        &self,
        out: &mut Buffer,
        framing: Framing,
        ours: HardwareAddr,
        kind: Kind,
        payload: ProbePayload,
    ) -> Option<usize> {
        let (snd_una, snd_nxt, rcv_nxt) = self.flow.numbers();
        let mut header = Header {
            seq: snd_nxt,
            ack: rcv_nxt,
            flags: FLAG_ACK,
            window: self.flow.rcv_wnd(),
            timestamps: self.flow.timestamps(),
            has_octet: false,
        };
        let mut hardware = [self.hardware, ours];
        let mut tuple = self.tuple;
        match kind {
            Kind::Probe => {
                header.seq = snd_una.wrapping_sub(1);
                header.has_octet = payload != ProbePayload::Empty;
            }
            Kind::Challenge => {}
            Kind::Reset | Kind::ResetOfPeer => {
                header.flags = FLAG_ACK | FLAG_RST;
                header.timestamps = None;
            }
            Kind::Question { half } => {
                header.seq = SeqNumber(half);
                header.ack = SeqNumber(half);
                header.timestamps = Some((0, 0));
            }
        }
        if let Kind::ResetOfPeer = kind {
            header.seq = rcv_nxt;
            header.ack = snd_nxt;
        }
        if let Kind::ResetOfPeer | Kind::Question { .. } = kind {
            hardware = [ours, self.hardware];
            tuple = tuple.reversed();
        } else if !self.flow.is_known() {
            return None;
        }
        Some(framing.write_segment(out, hardware, &tuple, self.hop_limit, &header))
    }
}

impl<const W: usize> Connection<W> {
    pub(super) const FREE: Self = Self {
        seen: Seen {
            phase: Phase::Free,
            ..Seen::new(Tuple::NONE)
        },
        machine: KeepAlive::WITHOUT_CONFIG,
    };

    pub(super) const BYTES_TOUCHED_BY_SEGMENT: usize =
        core::mem::offset_of!(Self, machine) + KeepAlive::BYTES_TOUCHED_BY_SEGMENT;

    /// The connection is synchronised, and kept alive.
    #[inline]
    pub(super) const fn is_open(&self) -> bool {
        matches!(self.seen.phase, Phase::Open | Phase::Moved)
    }

    /// The connection has not ended, as far as we know.
    pub(super) const fn is_live(&self) -> bool {
        self.seen.phase.is_live()
    }

    /// Until when a probe waits for numbers without being offered (K4): the stack may have to find
    /// its neighbour before it can tell them, and is asked twice.
    pub(super) fn waits_for_numbers(&self) -> Option<Instant> {
        let since = self.machine.wanted_since()?;
        (!self.seen.flow.is_known()).then(|| since.plus_micros(ASK_STACK_MICROS.saturating_mul(2)))
    }

    /// Something is outstanding or queued (K3).
    pub(super) const fn is_busy(&self) -> bool {
        self.seen.flow.is_in_flight() || self.seen.flow.is_unsent()
    }

    /// Frames of this connection go to `hardware`.
    pub(super) fn goes_through(&self, hardware: HardwareAddr) -> bool {
        self.is_open() && self.seen.hardware == hardware
    }

    /// Records that the handshake is over.
    pub(super) fn open(&mut self, now: Instant, is_heard: bool) {
        self.seen.phase = Phase::Open;
        self.machine.enable(now);
        if is_heard {
            self.machine.handle_segment(now);
        }
    }

    /// Records where the next hop answered from. Returns whether the probe has to go out again.
    pub(super) fn handle_hop_answered(&mut self, hardware: HardwareAddr) -> bool {
        self.machine.handle_hop_answered();
        let has_moved = self.seen.hardware != hardware && self.machine.is_awaiting_answer();
        self.seen.hardware = hardware;
        if has_moved {
            self.seen.phase = Phase::Moved;
        }
        has_moved
    }

    /// Records that the connection is over.
    pub(super) fn end(&mut self, ending: Ending) {
        let is_probing = matches!(self.machine.state(), State::Probing { .. });
        self.seen.phase = match self.seen.phase {
            Phase::ResetSent => Phase::Aborted,
            Phase::ResetReceived if is_probing => Phase::ResetWhileProbing,
            Phase::ResetReceived => Phase::Reset,
            _ if ending == Ending::Closed || self.seen.flow.is_closing() => Phase::Closed,
            _ if ending == Ending::AddressLost => Phase::AddressLost,
            _ => Phase::Aborted,
        };
        self.machine.disable();
    }

    pub(super) fn close_reason(&self) -> Option<CloseReason> {
        let reset = |while_probing| CloseReason::PeerReset { while_probing };
        Some(match self.seen.phase {
            Phase::GivenUp | Phase::PeerTold | Phase::StackTold | Phase::Dead => {
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
            | Phase::Moved
            | Phase::ResetReceived
            | Phase::ResetSent => return None,
        })
    }
}
