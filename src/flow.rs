//! What both directions of one connection have shown.

use crate::tcb::{SeqNumber, Tcb};

/// The facts of one TCP header, in either direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Segment {
    /// The sequence number.
    pub seq: SeqNumber,
    /// The acknowledgement number, if the ACK flag is set.
    pub ack: Option<SeqNumber>,
    /// The window field as it stands in the header.
    pub window: u16,
    /// Octets of payload; SYN and FIN not counted.
    pub len: u32,
    /// The SYN flag.
    pub syn: bool,
    /// The FIN flag.
    pub fin: bool,
    /// The RST flag.
    pub rst: bool,
    /// `TSval` and `TSecr` of the timestamp option, if there is one (RFC 7323 3.2).
    pub timestamps: Option<(u32, u32)>,
    /// The shift of the window scale option, if there is one (RFC 7323 2.2). Only a SYN carries
    /// it.
    pub window_scale: Option<u8>,
}

impl Segment {
    /// Returns the sequence number after this segment: a SYN and a FIN take one each (RFC 9293
    /// 3.4).
    #[must_use]
    pub const fn end(&self) -> SeqNumber {
        self.seq
            .wrapping_add(self.len)
            .wrapping_add(self.syn as u32)
            .wrapping_add(self.fin as u32)
    }
}

/// What a received segment means to a [`Flow`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Received {
    /// It need not be the peer's: out of place, a RST, a SYN, or the numbers are not known yet.
    Ignored,
    /// Only the peer could have sent it: a sign of life.
    Heard,
    /// The same, and it acknowledges something for the first time.
    HeardNewAck,
}

/// What both directions of one connection have shown: the few words a probe is built from, and
/// what it takes to tell the peer's segments from forged ones.
///
/// Show it every segment of the connection, in the order of the wire. What we send is the
/// stack's own truth and is believed. What arrives is *heard* only if it is acceptable (RFC 9293
/// 3.10.7.4, RFC 5961 5.2): no RST, no SYN, its sequence number within a window of RCV.NXT, its
/// acknowledgement number within `[SND.UNA - window, SND.NXT]`. The peer's own keep-alive, one
/// octet below RCV.NXT, is a sign of life too. A forged segment has to guess both numbers (K18).
///
/// A segment with a bad checksum was not received; do not show it.
///
/// With a [`KeepAlive`](crate::KeepAlive), this is all that a stack of your own needs:
///
/// ```
/// # use core::time::Duration;
/// use tcp_keepalive::{Config, Flow, Instant, KeepAlive, Received, Segment, SeqNumber};
///
/// # fn main() -> Result<(), Box<dyn core::error::Error>> {
/// let config = Config::new(Duration::from_secs(10), Duration::from_secs(2), 3)?;
/// let mut keep_alive = KeepAlive::new(config);
/// let mut flow = Flow::new(2048, 2048);
///
/// // We send an octet, and the peer acknowledges it.
/// let (ours, peers) = (SeqNumber(100), SeqNumber(500));
/// let sent = Segment { seq: ours, ack: Some(peers), window: 2048, len: 1, ..Segment::default() };
/// let ack = Segment { seq: peers, ack: Some(sent.end()), window: 1024, ..Segment::default() };
/// keep_alive.enable(Instant::ZERO);
/// if flow.handle_sent(&sent) {
///     keep_alive.handle_sent(Instant::ZERO);
/// }
/// if flow.handle_received(&ack) != Received::Ignored {
///     keep_alive.handle_segment(Instant::ZERO);
/// }
///
/// // Ten seconds of silence later there is a probe to send.
/// let now = Instant::from_millis(10_000);
/// assert_eq!(keep_alive.poll_timeout(), Some(now));
/// let tcb = flow.tcb(false).ok_or("nothing was sent")?;
/// keep_alive.handle_timeout(now, &tcb);
/// let probe = keep_alive.poll_transmit(now, &tcb).ok_or("nothing is due")?;
/// assert_eq!((probe.seq(), probe.ack()), (SeqNumber(100), SeqNumber(500)));
/// keep_alive.handle_transmitted(now, probe); // once the device has taken it
/// # Ok(())
/// # }
/// ```
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Flow {
    snd_una: SeqNumber,
    snd_nxt: SeqNumber,
    rcv_nxt: SeqNumber,
    tsval: u32,
    tsecr: u32,
    rcv_wnd: u16,
    /// The window within which numbers are believed, as the exponent of a power of two.
    reach_log2: u8,
    facts: Facts,
}

/// Facts of a connection that do not exclude each other, one bit each: they keep it small.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
struct Facts(u8);

impl Facts {
    /// The numbers are known: we have seen the stack send a segment that carries them.
    const KNOWN: u8 = 1;
    /// Timestamps were negotiated.
    const TIMESTAMPS: u8 = 1 << 1;
    /// The last segment heard closed the peer's window.
    const WINDOW_CLOSED: u8 = 1 << 2;
    /// We sent a FIN.
    const FIN_SENT: u8 = 1 << 3;
    /// An acceptable segment carried a FIN.
    const FIN_RECEIVED: u8 = 1 << 4;
    /// The stack has something queued that it has not sent, as its owner says.
    #[cfg(feature = "link")]
    const UNSENT: u8 = 1 << 5;
    /// A SYN without an acknowledgement arrived, and the stack has sent nothing since (K19).
    const STRANGER: u8 = 1 << 6;
    /// The stack was asked for its numbers, by a keep-alive of its own.
    #[cfg(feature = "link")]
    const NUMBERS_ASKED: u8 = 1 << 7;

    #[inline]
    const fn has(self, fact: u8) -> bool {
        self.0 & fact != 0
    }

    #[inline]
    const fn put(&mut self, fact: u8, holds: bool) {
        if holds {
            self.0 |= fact;
        } else {
            self.0 &= !fact;
        }
    }
}

/// A window is less than 2^30 (RFC 7323 2.3).
const MAX_REACH_LOG2: u32 = 30;
/// A larger shift counts as this one (RFC 7323 2.3).
const MAX_WINDOW_SCALE: u8 = 14;

#[inline(never)]
const fn reach_log2(capacity: u32) -> u8 {
    let log2 = match capacity.checked_next_power_of_two() {
        Some(power) if power.trailing_zeros() < MAX_REACH_LOG2 => power.trailing_zeros(),
        _ => MAX_REACH_LOG2,
    };
    log2.to_le_bytes()[0]
}

impl Flow {
    /// Makes a flow that knows no numbers yet.
    ///
    /// `recv_capacity` and `send_capacity`, in octets, are the sizes of our buffers. No window of
    /// ours exceeds the first, and no more than the second was ever in flight. The larger of them,
    /// rounded up to a power of two, bounds how far off a segment of the peer's can be.
    #[must_use]
    pub const fn new(recv_capacity: u32, send_capacity: u32) -> Self {
        Self {
            snd_una: SeqNumber(0),
            snd_nxt: SeqNumber(0),
            rcv_nxt: SeqNumber(0),
            tsval: 0,
            tsecr: 0,
            rcv_wnd: 0,
            reach_log2: reach_log2(if recv_capacity > send_capacity {
                recv_capacity
            } else {
                send_capacity
            }),
            facts: Facts(0),
        }
    }

    /// Whether `segment`, received, could only be the peer's. Changes nothing: for a segment
    /// that has yet to be verified.
    #[expect(clippy::inline_always, reason = "measured: on the path of every frame")]
    #[inline(always)]
    #[must_use]
    pub const fn is_acceptable(&self, segment: &Segment) -> bool {
        let Some(ack) = segment.ack else {
            return false;
        };
        if segment.rst || segment.syn || !self.is_known() {
            return false;
        }
        let reach = self.reach();
        let ahead = segment.seq.wrapping_sub(self.rcv_nxt.0).0;
        // RFC 5961 5.2: "((SND.UNA - MAX.SND.WND) <= SEG.ACK <= SND.NXT)".
        let oldest_ack = self.snd_una.wrapping_sub(reach).0;
        ahead.wrapping_add(reach) <= reach.wrapping_mul(2)
            && ack.0.wrapping_sub(oldest_ack) <= self.snd_nxt.0.wrapping_sub(oldest_ack)
    }

    /// Records a segment that arrived with a good checksum.
    pub const fn handle_received(&mut self, segment: &Segment) -> Received {
        if self.is_acceptable(segment) {
            self.accept(segment)
        } else {
            Received::Ignored
        }
    }

    /// Records a plain segment of the peer's while we have not sent a FIN. `None` if it is not
    /// acceptable, or there is more to do.
    #[cfg(feature = "link")]
    #[expect(clippy::inline_always, reason = "measured: on the path of every frame")]
    #[inline(always)]
    pub(crate) const fn predict(&mut self, segment: &Segment) -> Option<()> {
        if self.facts.has(Facts::FIN_SENT) || !self.is_acceptable(segment) {
            return None;
        }
        self.accept(segment);
        Some(())
    }

    /// Records a segment that passed [`is_acceptable`](Self::is_acceptable).
    #[expect(clippy::inline_always, reason = "measured: on the path of every frame")]
    #[inline(always)]
    pub(crate) const fn accept(&mut self, segment: &Segment) -> Received {
        if let Some((tsval, _)) = segment.timestamps {
            self.tsecr = tsval;
        }
        self.facts.put(Facts::WINDOW_CLOSED, segment.window == 0);
        if segment.fin {
            self.facts.put(Facts::FIN_RECEIVED, true);
        }
        match segment.ack {
            // RFC 9293 3.10.7.4: of a segment that lies below the window only the sender is of
            // interest; it is answered and dropped, and with it what it acknowledges.
            Some(ack)
                if ack.distance_from(self.snd_una) > 0
                    && segment.end().distance_from(self.rcv_nxt) >= 0 =>
            {
                self.snd_una = ack;
                Received::HeardNewAck
            }
            _ => Received::Heard,
        }
    }

    /// Records a segment that our stack sent. Returns whether it asks for an answer: data, a FIN, a
    /// window probe, but neither a bare acknowledgement nor a keep-alive.
    #[inline(never)]
    pub const fn handle_sent(&mut self, segment: &Segment) -> bool {
        if segment.rst {
            return false;
        }
        self.facts.put(Facts::STRANGER, false);
        // RFC 7323 2.2: the window field of a SYN "MUST NOT be scaled"; that of a probe is.
        let shift = match segment.window_scale {
            Some(shift) if shift < MAX_WINDOW_SCALE => shift,
            Some(_) => MAX_WINDOW_SCALE,
            None => 0,
        };
        if segment.syn {
            // It opens a connection, and what was known belongs to an older one.
            self.facts = Facts(0);
            if self.reach_log2 == 0 {
                // The buffers are not known: the window is that of the larger one, or of the other.
                self.set_buffers((segment.window as u32).wrapping_shl(shift as u32));
            }
        }
        let end = segment.end();
        if !self.is_known() {
            self.snd_una = segment.seq;
            self.snd_nxt = end;
        } else if end.distance_from(self.snd_nxt).is_positive() {
            self.snd_nxt = end;
        }
        let Some(ack) = segment.ack else {
            return false;
        };
        self.facts.put(Facts::KNOWN, true);
        self.rcv_nxt = ack;
        self.rcv_wnd = segment.window.wrapping_shr(shift as u32);
        self.facts
            .put(Facts::TIMESTAMPS, segment.timestamps.is_some());
        if let Some((tsval, tsecr)) = segment.timestamps {
            self.tsval = tsval;
            self.tsecr = tsecr;
        }
        if segment.fin {
            self.facts.put(Facts::FIN_SENT, true);
        }
        // A keep-alive with an octet is old news. What cannot be one is not: should the flow believe
        // an acknowledgement that the stack did not, the stack sends again, and it knows better.
        let asks = segment.fin
            || segment.len > 1
            || segment.len == 1 && end.distance_from(self.snd_una) > 0;
        // No more than a window: another socket of the stack's may have the same ends.
        let again = self.snd_una.wrapping_sub(segment.seq.0).0;
        if asks && again <= self.reach() {
            self.snd_una = segment.seq;
        }
        asks
    }

    /// Records that everything up to `snd_nxt` is acknowledged: the stack says so, whatever was
    /// seen here.
    pub const fn handle_quiet(&mut self) {
        if self.is_known() {
            self.snd_una = self.snd_nxt;
        }
    }

    /// Returns what a probe would be built from, once it is known. `unsent` says whether the stack
    /// has data or a FIN queued that it has not sent.
    #[must_use]
    pub const fn tcb(&self, unsent: bool) -> Option<Tcb> {
        if !self.is_known() {
            return None;
        }
        Some(Tcb {
            snd_una: self.snd_una,
            snd_nxt: self.snd_nxt,
            rcv_nxt: self.rcv_nxt,
            rcv_wnd: self.rcv_wnd,
            timestamps: if self.facts.has(Facts::TIMESTAMPS) {
                Some((self.tsval, self.tsecr))
            } else {
                None
            },
            unsent,
        })
    }

    /// SND.UNA, SND.NXT and RCV.NXT, which mean something once they are known.
    #[cfg(feature = "link")]
    pub(crate) const fn numbers(&self) -> (SeqNumber, SeqNumber, SeqNumber) {
        (self.snd_una, self.snd_nxt, self.rcv_nxt)
    }

    /// The last sequence number in our window.
    #[cfg(feature = "link")]
    pub(crate) const fn last_in_window(&self) -> SeqNumber {
        self.rcv_nxt
            .wrapping_add((self.rcv_wnd as u32).saturating_sub(1))
    }

    #[cfg(feature = "link")]
    pub(crate) const fn has_timestamps(&self) -> bool {
        self.facts.has(Facts::TIMESTAMPS)
    }

    /// `TSval` and `TSecr`, which mean something if there are timestamps.
    #[cfg(feature = "link")]
    pub(crate) const fn stamps(&self) -> (u32, u32) {
        (self.tsval, self.tsecr)
    }

    #[cfg(feature = "link")]
    pub(crate) const fn rcv_wnd(&self) -> u16 {
        self.rcv_wnd
    }

    #[cfg(feature = "link")]
    pub(crate) const fn set_numbers_asked(&mut self) {
        self.facts.put(Facts::NUMBERS_ASKED, true);
    }

    #[cfg(feature = "link")]
    pub(crate) const fn is_numbers_asked(&self) -> bool {
        self.facts.has(Facts::NUMBERS_ASKED)
    }

    /// Whether the stack was asked for its numbers; from now on it was not.
    #[cfg(feature = "link")]
    pub(crate) const fn take_numbers_asked(&mut self) -> bool {
        let is_asked = self.is_numbers_asked();
        self.facts.put(Facts::NUMBERS_ASKED, false);
        is_asked
    }

    /// Records what the stack answered to a RST that is not where it wants it (RFC 5961 3.2). Returns
    /// whether another one may be: right at RCV.NXT, where it wants it.
    #[cfg(feature = "link")]
    pub(crate) const fn handle_refusal(&mut self, segment: &Segment) -> bool {
        let Some(ack) = segment.ack else {
            return false;
        };
        let is_new = self.rcv_wnd != 0 || ack.0 != self.rcv_nxt.0;
        self.rcv_nxt = ack;
        self.rcv_wnd = 0;
        is_new && !segment.rst && !segment.syn
    }

    /// Whether the numbers are known: the stack was seen to send a segment that carries them.
    #[inline]
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.facts.has(Facts::KNOWN)
    }

    /// Returns what the stack acknowledged last, if it has acknowledged anything yet.
    #[inline]
    #[must_use]
    pub const fn rcv_nxt(&self) -> Option<SeqNumber> {
        if self.is_known() {
            Some(self.rcv_nxt)
        } else {
            None
        }
    }

    /// Whether the last segment heard closed the peer's window: the stack must not send.
    #[must_use]
    pub const fn is_window_closed(&self) -> bool {
        self.facts.has(Facts::WINDOW_CLOSED)
    }

    /// Whether something is in flight, as far as was seen here.
    #[must_use]
    pub const fn is_in_flight(&self) -> bool {
        self.is_known() && self.snd_una.0 != self.snd_nxt.0
    }

    /// Whether both sides have sent a FIN, and ours is acknowledged.
    #[must_use]
    pub const fn is_closed(&self) -> bool {
        self.facts.has(Facts::FIN_SENT)
            && self.facts.has(Facts::FIN_RECEIVED)
            && !self.is_in_flight()
    }

    /// Sets the size of the larger of our buffers, which was not known yet.
    pub(crate) const fn set_buffers(&mut self, octets: u32) {
        self.reach_log2 = reach_log2(octets);
    }

    #[cfg(feature = "link")]
    pub(crate) const fn set_unsent(&mut self, unsent: bool) {
        self.facts.put(Facts::UNSENT, unsent);
    }

    #[cfg(feature = "link")]
    pub(crate) const fn is_unsent(&self) -> bool {
        self.facts.has(Facts::UNSENT)
    }

    /// Something is outstanding or queued (K3).
    #[cfg(feature = "link")]
    #[inline(never)]
    pub(crate) const fn is_busy(&self) -> bool {
        self.is_in_flight() || self.is_unsent()
    }

    /// Records whether a SYN on the established connection wants to be answered (K19).
    #[cfg(feature = "link")]
    pub(crate) const fn set_stranger(&mut self, wants: bool) {
        self.facts.put(Facts::STRANGER, wants);
    }

    #[cfg(feature = "link")]
    pub(crate) const fn has_stranger(&self) -> bool {
        self.facts.has(Facts::STRANGER)
    }

    /// Whether both sides have sent a FIN.
    #[cfg(feature = "link")]
    pub(crate) const fn is_closing(&self) -> bool {
        self.facts.has(Facts::FIN_SENT) && self.facts.has(Facts::FIN_RECEIVED)
    }

    /// Whether a received RST is one that our stack takes: in the window (RFC 5961 3.2).
    #[cfg(feature = "link")]
    #[inline]
    pub(crate) const fn is_reset(&self, segment: &Segment) -> bool {
        if self.is_known() {
            let ahead = segment.seq.wrapping_sub(self.rcv_nxt.0).0;
            let shift = (self.reach_log2 as u32).saturating_sub(16);
            // The stack may have received a whole window that it has not acknowledged.
            let window = (self.rcv_wnd as u32).wrapping_add(1);
            return ahead < window.wrapping_shl(shift);
        }
        // RFC 9293 3.10.7.3: in SYN-SENT it has to acknowledge our SYN, if we have seen that.
        match segment.ack {
            Some(ack) => self.snd_nxt.0 == 0 || ack.0 == self.snd_nxt.0,
            None => self.snd_nxt.0 == 0,
        }
    }

    /// Whether a RST of ours, while a connection is being opened, ends that: it has the numbers of our
    /// SYN, or we have not seen one.
    #[cfg(feature = "link")]
    pub(crate) const fn is_of_handshake(&self, segment: &Segment) -> bool {
        self.snd_nxt.0 == 0 || segment.seq.0 == self.snd_una.0 || segment.seq.0 == self.snd_nxt.0
    }

    #[inline]
    const fn reach(&self) -> u32 {
        1_u32.wrapping_shl(self.reach_log2 as u32)
    }
}
