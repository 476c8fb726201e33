//! What has passed of one connection, as the wire has shown it.

use core::time::Duration;

use ::smoltcp::iface::SocketHandle;
use ::smoltcp::phy::ChecksumCapabilities;
use ::smoltcp::socket::tcp;
use ::smoltcp::wire::IpEndpoint;

use super::super::wire::Segment;
use super::is_after;
use crate::{Config, Instant, Stats};

/// How many arrivals are kept: more than come within the delay of an acknowledgement.
const ARRIVALS: usize = 16;
/// RFC 9293 3.8.6.3: "an ACK SHOULD NOT be excessively delayed; in particular, the delay MUST be
/// less than 0.5 seconds". Twice that, for hosts that are polled at a pace.
const PROOF_MICROS: u64 = 1_000_000;
/// An acknowledgement that has to wait for the neighbour's address may wait until the peer sends
/// again.
const LONG_PROOF_MICROS: u64 = 60_000_000;
/// The engine verifies the checksum of no segment with more data than that (K18).
const VERIFIED_DATA: usize = 64;

/// What has passed of one connection.
#[expect(clippy::struct_excessive_bools, reason = "each says something else")]
#[derive(Debug)]
pub(super) struct Account {
    pub(super) handle: SocketHandle,
    pub(super) local: IpEndpoint,
    pub(super) remote: IpEndpoint,
    /// Its initial sequence number.
    first: Option<u32>,
    /// The end of all that was sent.
    snd_nxt: Option<u32>,
    /// The latest acknowledgement that was received of it.
    snd_una: Option<u32>,
    /// The latest acknowledgement that was sent.
    acknowledged: Option<u32>,
    pub(super) offers: Offers,
    /// The window field of the last segment that was sent, but for SYNs.
    pub(super) told_window: Option<u16>,
    /// The most that can be outstanding, in either direction.
    reach: Reach,
    /// When a segment was received that leaves no doubt: in order, right in all numbers, and, if
    /// it is more than an acknowledgement, acknowledged.
    pub(super) heard: Option<Instant>,
    /// The ends of data that came in order and is not acknowledged yet, and when it came.
    awaiting: Vec<(u32, Instant)>,
    pub(super) arrivals: Arrivals,
    /// What the keep-alive believed last.
    pub(super) believed: Option<Instant>,
    pub(super) round: Round,
    pub(super) config: Option<Config>,
    /// It has been the same since the peer was last heard.
    pub(super) has_same_config: bool,
    /// The clock was set back since the peer was last heard.
    pub(super) is_timeless: bool,
    pub(super) stats: Option<Stats>,
    pub(super) has_verdict: bool,
    /// It got past its handshake. Before, smoltcp acknowledges with the number of its SYN.
    pub(super) was_open: bool,
    /// The watch has not looked at it yet, and the keep-alive may believe an earlier one.
    pub(super) is_new: bool,
    /// How many polls ago the socket lost its connection: in the first it may still have sent.
    pub(super) over_for: u32,
    /// Another socket has the same ends.
    pub(super) is_doubled: bool,
}

/// A round of silence: since the peer was last heard.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Round {
    /// Probes that left, and when the last of them did.
    pub(super) probes: u32,
    pub(super) last_probe: Option<Instant>,
    /// Attempts that could not leave.
    pub(super) unsent: u32,
    /// The question of a user timeout left.
    pub(super) has_asked: bool,
    /// The peer was reported as a suspect.
    pub(super) is_suspect: bool,
    /// After the last poll, the machine was probing.
    pub(super) was_probing: bool,
}

/// What the SYNs offered, if they were seen.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Offers {
    own: Option<Offer>,
    peers: Option<Offer>,
}

#[derive(Clone, Copy, Debug)]
struct Offer {
    timestamps: bool,
    window_scale: Option<u8>,
}

#[derive(Clone, Copy, Debug)]
struct Reach {
    receive: u32,
    send: u32,
}

/// When segments arrived that may have been believed to be the peer's.
#[derive(Debug, Default)]
pub(super) struct Arrivals {
    recent: Vec<Instant>,
    unproven: Option<Unproven>,
    /// In this poll, something was acknowledged for the first time.
    has_acknowledged: bool,
    /// In this poll, something came that takes room.
    pub(super) has_data: bool,
    /// In this poll, the handshake was over.
    pub(super) has_opened: bool,
}

/// Data that is not acknowledged yet, by which its sender may be believed later.
#[derive(Clone, Copy, Debug)]
struct Unproven {
    since: Instant,
    until: Instant,
    end: u32,
}

/// What was counted of a connection in one poll.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Counted {
    pub(super) probes: u32,
    pub(super) unsent: u32,
    pub(super) verdicts: u32,
}

impl Counted {
    fn between(before: Stats, after: Stats) -> Self {
        Self {
            probes: after.probes_sent.saturating_sub(before.probes_sent),
            unsent: after.unsent_attempts.saturating_sub(before.unsent_attempts),
            verdicts: after.verdicts.saturating_sub(before.verdicts),
        }
    }
}

impl Offers {
    /// Both SYNs had a timestamp option (RFC 7323 3.2).
    pub(super) fn timestamps(self) -> Option<bool> {
        Some(self.own?.timestamps && self.peers?.timestamps)
    }

    /// By how much our windows are scaled: if both SYNs had the option (RFC 7323 2.2).
    pub(super) fn scale(self) -> Option<u8> {
        match (self.own?.window_scale, self.peers?.window_scale) {
            (Some(own), Some(_)) => Some(own),
            _ => Some(0),
        }
    }
}

impl From<&Segment> for Offer {
    fn from(syn: &Segment) -> Self {
        Self {
            timestamps: syn.timestamps.is_some(),
            window_scale: syn.window_scale,
        }
    }
}

impl Arrivals {
    fn begin_poll(&mut self, acknowledged: Option<u32>) {
        let is_proven =
            |unproven: &Unproven| acknowledged.is_some_and(|ack| !is_after(unproven.end, ack));
        if self.has_acknowledged && self.unproven.as_ref().is_some_and(is_proven) {
            self.unproven = None;
        }
        self.has_acknowledged = false;
        self.has_data = false;
        self.has_opened = false;
    }

    fn note(&mut self, now: Instant) {
        if self.recent.last() != Some(&now) {
            if self.recent.len() == ARRIVALS {
                self.recent.remove(0);
            }
            self.recent.push(now);
        }
    }

    fn note_unproven(&mut self, segment: &Segment, now: Instant) {
        let end = segment.end();
        let is_long = segment.payload.len() > VERIFIED_DATA;
        let delay = if is_long {
            LONG_PROOF_MICROS
        } else {
            PROOF_MICROS
        };
        let until = now.saturating_add(Duration::from_micros(delay));
        let pending = self.unproven.filter(|earlier| now <= earlier.until);
        self.unproven = Some(match pending {
            None => Unproven {
                since: now,
                until,
                end,
            },
            Some(earlier) => Unproven {
                since: earlier.since,
                until: until.max(earlier.until),
                end: if is_after(end, earlier.end) {
                    end
                } else {
                    earlier.end
                },
            },
        });
    }

    /// Something that could be the peer's came at that moment.
    pub(super) fn has_come_at(&self, moment: Instant) -> bool {
        self.recent.contains(&moment)
    }

    /// Whether the peer may have been heard then. A long segment is believed when it is
    /// acknowledged, and when it came may have been forgotten by then.
    pub(super) fn may_have_been_heard_at(&self, moment: Instant, now: Instant) -> bool {
        let is_late = |unproven: Unproven| {
            let is_pending = self.has_acknowledged || now <= unproven.until;
            is_pending && unproven.since <= moment && moment <= now
        };
        self.has_opened && moment == now
            || self.has_come_at(moment)
            || self.unproven.is_some_and(is_late)
    }
}

impl Account {
    pub(super) fn new(handle: SocketHandle, local: IpEndpoint, remote: IpEndpoint) -> Self {
        Self {
            handle,
            local,
            remote,
            first: None,
            snd_nxt: None,
            snd_una: None,
            acknowledged: None,
            offers: Offers::default(),
            told_window: None,
            reach: Reach {
                receive: 0,
                send: 0,
            },
            heard: None,
            awaiting: Vec::new(),
            arrivals: Arrivals::default(),
            believed: None,
            round: Round::default(),
            config: None,
            has_same_config: false,
            is_timeless: false,
            stats: None,
            has_verdict: false,
            was_open: false,
            is_new: true,
            over_for: 0,
            is_doubled: false,
        }
    }

    pub(super) const fn ends(&self) -> (IpEndpoint, IpEndpoint) {
        (self.local, self.remote)
    }

    pub(super) fn is_of(&self, ends: (IpEndpoint, IpEndpoint)) -> bool {
        self.ends() == ends && !self.is_over()
    }

    pub(super) const fn is_over(&self) -> bool {
        self.over_for > 1
    }

    pub(super) fn is_quiet(&self) -> bool {
        self.snd_nxt == self.snd_una
    }

    /// One more poll, after which the socket is as it is now.
    pub(super) fn begin_poll(&mut self, socket: Option<&tcp::Socket<'_>>, is_open: bool) {
        let capacity = |octets| u32::try_from(octets).unwrap_or(u32::MAX);
        if let Some(socket) = socket {
            self.reach = Reach {
                receive: capacity(socket.recv_capacity()),
                send: capacity(socket.send_capacity()),
            };
        }
        self.arrivals.begin_poll(self.acknowledged);
        self.arrivals.has_opened = is_open && !self.was_open;
        self.was_open |= is_open;
    }

    pub(super) fn receive(
        &mut self,
        segment: &Segment,
        now: Instant,
        checksums: &ChecksumCapabilities,
    ) {
        let is_damaged = checksums.tcp.rx() && !segment.checksum_ok;
        let is_verified = segment.payload.len() <= VERIFIED_DATA;
        if segment.rst || is_damaged && is_verified {
            return;
        }
        // K18: a long segment is believed on its numbers, damaged or not.
        if self.is_plausible(segment) {
            let end = segment.end();
            self.arrivals.note(now);
            if self.acknowledged.is_none_or(|ack| is_after(end, ack)) {
                self.arrivals.note_unproven(segment, now);
            }
        }
        if is_damaged || checksums.ipv4.rx() && !segment.ip_checksum_ok {
            return;
        }
        if segment.syn {
            self.offers.peers = Some(segment.into());
        }
        self.arrivals.has_data |= !segment.payload.is_empty();
        let Some(ack) = segment.ack else { return };
        let (Some(una), Some(nxt)) = (self.snd_una.or(segment.syn.then_some(ack)), self.snd_nxt)
        else {
            return;
        };
        // RFC 5961 5.2, without the allowance for old acknowledgements.
        if ack.wrapping_sub(una) > nxt.wrapping_sub(una) {
            return;
        }
        // RFC 9293 3.10.7.4: of a segment that lies outside the window nothing is taken.
        let is_outside = |rcv_nxt: u32| {
            let end = rcv_nxt.wrapping_add(self.reach.receive);
            is_after(rcv_nxt, segment.end()) || is_after(segment.seq, end)
        };
        if self.acknowledged.is_some_and(is_outside) {
            return;
        }
        self.snd_una = Some(ack);
        if segment.syn {
            return;
        }
        let expected = self.awaiting.last().map(|(end, _)| *end);
        let is_next = self.acknowledged == Some(segment.seq);
        if segment.payload.is_empty() {
            if is_next {
                self.heard = Some(now);
            }
        } else if is_next || expected == Some(segment.seq) {
            // smoltcp has no place for more than its window, and drops what lies beyond.
            self.awaiting.push((segment.end(), now));
        }
    }

    /// Whether it could be the peer's: the adapter may be wrong by no more than a few windows about
    /// what that may say (RFC 5961 5.2). A SYN is not for the machine.
    fn is_plausible(&self, segment: &Segment) -> bool {
        let Some(ack) = segment.ack.filter(|_| !segment.syn) else {
            return false;
        };
        let (Some(acknowledged), Some(una), Some(nxt)) =
            (self.acknowledged, self.snd_una, self.snd_nxt)
        else {
            return true;
        };
        let reach = |octets: u32| octets.max(64).saturating_mul(3);
        let ahead = segment.seq.wrapping_sub(acknowledged).cast_signed();
        let oldest = una.wrapping_sub(reach(self.reach.send));
        let is_ack_in_reach = ack.wrapping_sub(oldest) <= nxt.wrapping_sub(oldest);
        ahead.unsigned_abs() <= reach(self.reach.receive) && is_ack_in_reach
    }

    pub(super) fn send(&mut self, segment: &Segment) {
        if segment.rst {
            return;
        }
        if segment.syn && self.first != Some(segment.seq) {
            self.begin(segment);
        }
        let end = segment.end();
        if self.snd_nxt.is_none_or(|nxt| is_after(end, nxt)) {
            self.snd_nxt = Some(end);
        }
        // What is sent again, and is no keep-alive, the stack does not hold for acknowledged.
        let is_unacknowledged = |una: &u32| {
            let is_more = segment.fin || segment.payload.len() > 1 || is_after(end, *una);
            is_more && una.wrapping_sub(segment.seq) <= self.reach.send
        };
        if !segment.syn && self.snd_una.as_ref().is_some_and(is_unacknowledged) {
            self.snd_una = Some(segment.seq);
        }
        if let Some(ack) = segment.ack
            && (segment.syn || self.acknowledged.is_none_or(|old| is_after(ack, old)))
        {
            self.acknowledged = Some(ack);
            self.arrivals.has_acknowledged = true;
            self.hear_acknowledged(ack);
        }
    }

    /// What was acknowledged had arrived.
    fn hear_acknowledged(&mut self, ack: u32) {
        for (_, at) in self
            .awaiting
            .extract_if(.., |(end, _)| !is_after(*end, ack))
        {
            self.heard = Some(self.heard.map_or(at, |heard| heard.max(at)));
        }
    }

    /// Another connection, perhaps with the same ends.
    fn begin(&mut self, syn: &Segment) {
        // The peer's SYN comes before, if it is the first.
        let is_answer = syn.ack.is_some();
        *self = Self {
            stats: self.stats,
            // It may be the other's.
            is_doubled: self.is_doubled,
            first: Some(syn.seq),
            snd_una: Some(syn.seq),
            reach: self.reach,
            offers: Offers {
                own: Some(syn.into()),
                peers: self.offers.peers.filter(|_| is_answer),
            },
            ..Self::new(self.handle, self.local, self.remote)
        };
    }

    /// Takes note of what a segment tells of the window, once it has been looked at.
    pub(super) const fn tell(&mut self, segment: &Segment) {
        if !segment.syn && !segment.rst {
            self.told_window = Some(segment.window);
        }
    }

    /// It looks like a keep-alive, a bare acknowledgement or one octet just below SND.NXT; or like a
    /// window probe of ours.
    pub(super) fn may_be_a_probe(&self, segment: &Segment) -> bool {
        let has_flags = segment.syn || segment.fin || segment.rst;
        let below = self.snd_nxt.map(|nxt| nxt.wrapping_sub(1));
        let is_below = segment.payload.len() <= 1 && below == Some(segment.seq);
        !has_flags && (is_below || self.is_reminder(segment))
    }

    /// A window probe of ours: just below all that is outstanding.
    pub(super) fn is_reminder(&self, segment: &Segment) -> bool {
        let below = self.snd_una.map(|una| una.wrapping_sub(1));
        segment.payload.len() <= 1 && below == Some(segment.seq)
    }

    /// What the keep-alive has counted in this poll; nothing in the first one.
    pub(super) fn count(&mut self, stats: Option<Stats>) -> Counted {
        match (core::mem::replace(&mut self.stats, stats), stats) {
            (Some(before), Some(after)) if is_less(after, before) => {
                // Disabled, and enabled anew: another machine, that knows nothing of the round.
                self.round = Round::default();
                Counted::between(Stats::default(), after)
            }
            (Some(before), Some(after)) => Counted::between(before, after),
            _ => Counted::default(),
        }
    }

    /// The keep-alive was disabled, and starts over when it is enabled again.
    pub(super) fn forget_keep_alive(&mut self) {
        self.stats = None;
        self.believed = None;
        self.config = None;
        self.round = Round::default();
    }

    /// What was received meanwhile the keep-alive has not seen.
    pub(super) fn forget_heard(&mut self) {
        self.heard = None;
        self.awaiting.clear();
    }

    /// After a step back of the clock, what was noted before it is not comparable, until the peer
    /// is heard anew: what was due then may leave at an earlier time.
    pub(super) fn forget_times(&mut self, now: Instant) {
        self.forget_heard();
        if let Some(unproven) = &mut self.arrivals.unproven {
            unproven.since = now;
        }
        self.round.last_probe = None;
        self.has_same_config = false;
        self.is_timeless = true;
    }
}

/// Counters do not go back.
const fn is_less(after: Stats, before: Stats) -> bool {
    after.probes_sent < before.probes_sent
        || after.probes_answered < before.probes_answered
        || after.unsent_attempts < before.unsent_attempts
        || after.verdicts < before.verdicts
        || after.late_polls < before.late_polls
}
