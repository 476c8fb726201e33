//! What both directions of one connection have shown.

use crate::tcb::{SeqNumber, Tcb};

/// The facts of one TCP header, in either direction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
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
}

impl Segment {
    /// The sequence number after this segment: a SYN and a FIN take one each (RFC 9293 3.4).
    #[must_use]
    pub const fn end(&self) -> SeqNumber {
        self.seq
            .wrapping_add(self.len)
            .wrapping_add(self.syn as u32)
            .wrapping_add(self.fin as u32)
    }
}

/// What a received segment is to a [`Flow`].
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
/// what it takes to tell the peer's segments from anybody else's.
///
/// Show it every segment of the connection, in the order of the wire. What we send is the
/// stack's own truth and is believed. What arrives is *heard* only if it is acceptable (RFC 9293
/// 3.10.7.4, RFC 5961 5.2): no RST, no SYN, its sequence number within a window of RCV.NXT, its
/// acknowledgement number within `[SND.UNA - window, SND.NXT]`. The peer's own keep-alive, one
/// octet below RCV.NXT, is a sign of life too. A forged segment has to guess both numbers.
///
/// A segment with a bad checksum was not received; do not show it.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
pub struct Flow {
    snd_una: SeqNumber,
    snd_nxt: SeqNumber,
    rcv_nxt: SeqNumber,
    tsval: u32,
    tsecr: u32,
    rcv_wnd: u16,
    /// The windows within which numbers are believed, as powers of two.
    rcv_reach: Reach,
    snd_reach: Reach,
    /// The numbers above are known: we have seen the stack send a segment that is not a SYN.
    known: bool,
    has_timestamps: bool,
    window_closed: bool,
}

/// A window's size rounded up to a power of two, of which the exponent is kept.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
struct Reach {
    log2: u8,
}

impl Reach {
    /// RFC 7323 2.3: a window is less than 2^30.
    const MAX_LOG2: u32 = 30;

    const fn of(octets: u32) -> Self {
        let log2 = match octets.checked_next_power_of_two() {
            Some(power) => power.trailing_zeros(),
            None => Self::MAX_LOG2,
        };
        let log2 = if log2 < Self::MAX_LOG2 {
            log2
        } else {
            Self::MAX_LOG2
        };
        Self {
            log2: log2.to_le_bytes()[0],
        }
    }

    #[inline]
    const fn octets(self) -> u32 {
        1_u32.wrapping_shl(self.log2 as u32)
    }

    /// Whether a distance, to either side, is within reach.
    #[inline]
    const fn spans(self, distance: u32) -> bool {
        let octets = self.octets();
        distance.wrapping_add(octets) <= octets.wrapping_shl(1)
    }
}

impl Flow {
    /// A connection of which nothing is known yet.
    ///
    /// `recv_capacity` and `send_capacity`, in octets, are the sizes of our buffers. No window of
    /// ours exceeds the first, and no more than the second was ever in flight, so they bound how
    /// far off a segment of the peer's can be.
    #[must_use]
    pub const fn new(recv_capacity: u32, send_capacity: u32) -> Self {
        Self {
            snd_una: SeqNumber(0),
            snd_nxt: SeqNumber(0),
            rcv_nxt: SeqNumber(0),
            tsval: 0,
            tsecr: 0,
            rcv_wnd: 0,
            rcv_reach: Reach::of(recv_capacity),
            snd_reach: Reach::of(send_capacity),
            known: false,
            has_timestamps: false,
            window_closed: false,
        }
    }

    /// Whether `segment`, received, could only be the peer's. Changes nothing: for a segment
    /// that has yet to be verified.
    #[inline]
    #[must_use]
    pub const fn is_acceptable(&self, segment: &Segment) -> bool {
        let Some(ack) = segment.ack else {
            return false;
        };
        if segment.rst || segment.syn || !self.known {
            return false;
        }
        let ahead = segment.seq.wrapping_sub(self.rcv_nxt.0);
        // RFC 5961 5.2: "((SND.UNA - MAX.SND.WND) <= SEG.ACK <= SND.NXT)".
        let oldest_ack = self.snd_una.wrapping_sub(self.snd_reach.octets());
        self.rcv_reach.spans(ahead.0)
            && ack.0.wrapping_sub(oldest_ack.0) <= self.snd_nxt.0.wrapping_sub(oldest_ack.0)
    }

    /// A segment with a good checksum arrived.
    #[inline]
    pub const fn handle_received(&mut self, segment: &Segment) -> Received {
        if self.is_acceptable(segment) {
            self.accept(segment)
        } else {
            Received::Ignored
        }
    }

    /// Whether a received segment brings anything that our stack has not acknowledged yet. If not, its
    /// acknowledgement will not move, and need not even leave.
    #[cfg(feature = "smoltcp")]
    #[inline]
    pub(crate) const fn is_news(&self, segment: &Segment) -> bool {
        segment.end().distance_from(self.rcv_nxt) > 0
    }

    /// A segment arrived while the numbers are not known: whether it can be
    /// [believed](Self::has_proof), our stack's first acknowledgement tells.
    #[cfg(feature = "smoltcp")]
    pub(crate) const fn hold(&mut self, segment: &Segment, ack: SeqNumber) {
        if !self.known {
            self.rcv_nxt = segment.end();
            self.snd_una = ack;
        }
    }

    /// Whether what our stack has acknowledged since `before` proves what was received: it is more.
    /// If nothing was known before, what was [held](Self::hold) is measured by it as any other.
    #[cfg(feature = "smoltcp")]
    #[inline]
    pub(crate) const fn has_proof(&self, before: &Self) -> bool {
        if before.known {
            self.rcv_nxt.0 != before.rcv_nxt.0
        } else {
            self.accepts_held(before)
        }
    }

    #[cfg(feature = "smoltcp")]
    #[cold]
    #[inline(never)]
    const fn accepts_held(&self, before: &Self) -> bool {
        self.is_acceptable(&Segment {
            seq: before.rcv_nxt,
            ack: Some(before.snd_una),
            window: 0,
            len: 0,
            syn: false,
            fin: false,
            rst: false,
            timestamps: None,
        })
    }

    /// An acceptable segment arrived whose checksum is not known. That the peer's window is
    /// closed, or open, is taken from it: if it is not so, the next segment says so.
    #[cfg(feature = "smoltcp")]
    #[inline]
    pub(crate) const fn glance(&mut self, segment: &Segment) {
        self.window_closed = segment.window == 0;
    }

    /// A segment arrived that [`is_acceptable`](Self::is_acceptable) holds of.
    #[inline]
    pub(crate) const fn accept(&mut self, segment: &Segment) -> Received {
        if let Some((tsval, _)) = segment.timestamps {
            self.tsecr = tsval;
        }
        self.window_closed = segment.window == 0;
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

    /// Our stack sent a segment. Returns whether it asks for an answer: data, a FIN, a window probe,
    /// but neither a bare acknowledgement nor a keep-alive.
    #[inline]
    pub const fn handle_sent(&mut self, segment: &Segment) -> bool {
        if segment.rst {
            return false;
        }
        if segment.syn {
            // A SYN opens a connection, and what was known belongs to an older one. Its window
            // field is not scaled (RFC 7323 2.2), so it says nothing about probes to come.
            self.known = false;
            return false;
        }
        let Some(ack) = segment.ack else {
            return false;
        };
        let end = segment.end();
        if self.known {
            if end.distance_from(self.snd_nxt) > 0 {
                self.snd_nxt = end;
            }
        } else {
            self.known = true;
            self.snd_una = segment.seq;
            self.snd_nxt = end;
        }
        self.rcv_nxt = ack;
        self.rcv_wnd = segment.window;
        self.has_timestamps = segment.timestamps.is_some();
        if let Some((tsval, tsecr)) = segment.timestamps {
            self.tsval = tsval;
            self.tsecr = tsecr;
        }
        // A keep-alive with an octet is old news. What cannot be one is not: should the flow believe
        // an acknowledgement that the stack did not, the stack sends again, and it knows better.
        let is_no_keep_alive = segment.fin || segment.len > 1;
        is_no_keep_alive || segment.len == 1 && end.distance_from(self.snd_una) > 0
    }

    /// Whether `segment`, sent, is a keep-alive: it begins one octet below SND.NXT.
    #[cfg(feature = "smoltcp")]
    pub(crate) const fn is_keep_alive(&self, segment: &Segment) -> bool {
        self.known && segment.seq.distance_from(self.snd_nxt) == -1
    }

    /// Everything up to `snd_nxt` is acknowledged: the stack says so, whatever was seen here.
    pub const fn handle_quiet(&mut self) {
        if self.known {
            self.snd_una = self.snd_nxt;
        }
    }

    /// What a probe would be built from, once it is known. `unsent` says whether the stack has
    /// data or a FIN queued that it has not sent.
    #[must_use]
    pub const fn tcb(&self, unsent: bool) -> Option<Tcb> {
        if !self.known {
            return None;
        }
        Some(Tcb {
            snd_una: self.snd_una,
            snd_nxt: self.snd_nxt,
            rcv_nxt: self.rcv_nxt,
            rcv_wnd: self.rcv_wnd,
            timestamps: if self.has_timestamps {
                Some((self.tsval, self.tsecr))
            } else {
                None
            },
            unsent,
        })
    }

    /// The stack was seen to send a segment that tells the numbers.
    #[cfg(feature = "smoltcp")]
    #[inline]
    pub(crate) const fn is_known(&self) -> bool {
        self.known
    }

    /// What the stack acknowledged last, if it has acknowledged anything yet.
    #[inline]
    #[must_use]
    pub const fn rcv_nxt(&self) -> Option<SeqNumber> {
        if self.known { Some(self.rcv_nxt) } else { None }
    }

    /// The last segment heard closed the peer's window: the stack must not send.
    #[must_use]
    pub const fn is_window_closed(&self) -> bool {
        self.window_closed
    }

    /// Something is in flight, as far as was seen here.
    #[must_use]
    pub const fn is_in_flight(&self) -> bool {
        self.known && self.snd_una.0 != self.snd_nxt.0
    }
}

/// What only an adapter may use; the rest is tested from outside, in `tests/flow.rs`.
#[cfg(all(test, feature = "smoltcp"))]
mod tests {
    use super::*;

    const SND: SeqNumber = SeqNumber(100);
    const RCV: SeqNumber = SeqNumber(900);

    const fn segment(seq: SeqNumber, ack: SeqNumber, len: u32) -> Segment {
        Segment {
            seq,
            ack: Some(ack),
            window: 64,
            len,
            syn: false,
            fin: false,
            rst: false,
            timestamps: None,
        }
    }

    fn known() -> Flow {
        let mut flow = Flow::new(64, 64);
        flow.handle_sent(&segment(SND, RCV, 0));
        flow
    }

    /// What ends beyond the last acknowledgement is news.
    #[test]
    fn news_is_what_was_not_acknowledged() {
        let flow = known();
        for (seq, is_news) in [(889, false), (890, false), (891, true), (900, true)] {
            assert_eq!(flow.is_news(&segment(SeqNumber(seq), SND, 10)), is_news);
        }
    }

    /// A window that is closed is seen at a glance, and so is one that is open again.
    #[test]
    fn a_closed_window_is_seen_at_a_glance() {
        let mut flow = known();
        let open = segment(RCV, SND, 10);
        let closed = Segment { window: 0, ..open };
        flow.glance(&closed);
        assert!(flow.is_window_closed());
        flow.glance(&open);
        assert!(!flow.is_window_closed());
    }

    /// A keep-alive begins one octet below SND.NXT, if that is known.
    #[test]
    fn a_keep_alive_is_known_by_where_it_begins() {
        let flow = known();
        for (seq, is_keep_alive) in [(98, false), (99, true), (100, false), (101, false)] {
            let segment = segment(SeqNumber(seq), RCV, 1);
            assert_eq!(flow.is_keep_alive(&segment), is_keep_alive);
        }
        let below_zero = segment(SeqNumber(u32::MAX), RCV, 1);
        assert!(!Flow::new(64, 64).is_keep_alive(&below_zero));
    }
}
