//! The segment that asks a silent peer whether it is there.

use crate::config::ProbePayload;
use crate::tcb::{SeqNumber, Tcb};

/// One keep-alive segment to send.
///
/// Its flags are ACK alone, its payload is [`Probe::payload`] (K12). What the segment says is old news
/// to the peer, and so it must answer with where it stands (RFC 9293 3.10.7.4).
///
/// A probe is a token: the machine hands it out, and takes it back with
/// [`KeepAlive::handle_transmitted`](crate::KeepAlive::handle_transmitted) once it has left the
/// device. Hence neither `Clone` nor `Copy`: what was not sent cannot count. Drop one that could
/// not leave; it will be offered again.
#[derive(Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[must_use = "a probe counts only once it was sent and handed back"]
pub struct Probe {
    seq: SeqNumber,
    ack: SeqNumber,
    window: u16,
    timestamps: Option<(u32, u32)>,
    payload: ProbePayload,
}

impl Probe {
    pub(crate) const fn new(tcb: &Tcb, payload: ProbePayload) -> Self {
        let Tcb {
            snd_una,
            snd_nxt: _,
            rcv_nxt,
            rcv_wnd,
            timestamps,
            unsent: _,
        } = *tcb;
        Self {
            // RFC 9293 3.8.4: "SEG.SEQ = SND.NXT-1". On a quiet connection that is SND.UNA - 1; on a
            // busy one (K11), what lies below all that is outstanding is answered too.
            seq: snd_una.wrapping_sub(1),
            ack: rcv_nxt,
            window: rcv_wnd,
            timestamps,
            payload,
        }
    }

    /// Returns the sequence number: SND.UNA - 1, which on a quiet connection is SND.NXT - 1.
    #[must_use]
    pub const fn seq(&self) -> SeqNumber {
        self.seq
    }

    /// Returns the acknowledgement number: RCV.NXT.
    #[must_use]
    pub const fn ack(&self) -> SeqNumber {
        self.ack
    }

    /// Returns the window field, scaled already.
    #[must_use]
    pub const fn window(&self) -> u16 {
        self.window
    }

    /// Returns `TSval` and `TSecr` of the timestamp option, which is present if and only if the
    /// connection negotiated it (RFC 7323 3.2).
    #[must_use]
    pub const fn timestamps(&self) -> Option<(u32, u32)> {
        self.timestamps
    }

    /// Returns the data: none, or one octet of garbage if the configuration asks for it.
    #[must_use]
    pub const fn payload(&self) -> &'static [u8] {
        match self.payload {
            ProbePayload::Empty => &[],
            ProbePayload::GarbageOctet => &[0],
        }
    }
}
