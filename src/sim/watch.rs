//! Whether a host's keep-alive keeps its promises, seen from the wire.

#[cfg(test)]
mod tests;

use ::smoltcp::iface::{Interface, SocketHandle, SocketSet};
use ::smoltcp::phy::Medium;
use ::smoltcp::socket::{AnySocket, tcp};
use ::smoltcp::wire::IpEndpoint;

use super::Host;
use super::invariant::Invariant;
use super::wire::{self, Kind, Segment};
use crate::smoltcp::KeepAliveSet;
use crate::smoltcp::convert::{instant_in, instant_out};
use crate::{Cause, Config, Event, Instant, State, Stats, Verdict};

/// What the watch looks at, between the poll of the stack and the turn of the application.
pub(super) struct View<'h> {
    pub(super) now: Instant,
    pub(super) medium: Medium,
    pub(super) iface: &'h mut Interface,
    pub(super) sockets: &'h SocketSet<'static>,
    pub(super) keep_alive: &'h mut KeepAliveSet<{ Host::CONNECTIONS }>,
    pub(super) events: &'h [(SocketHandle, Event)],
}

/// A probe that left, for whoever knows what the peer holds for right.
#[derive(Clone, Copy, Debug)]
pub(super) struct Probe {
    pub(super) handle: SocketHandle,
    pub(super) local: IpEndpoint,
    pub(super) remote: IpEndpoint,
    pub(super) seq: u32,
    pub(super) ack: u32,
}

/// A handle, and what does not hold for it.
pub(super) type Finding = (SocketHandle, Invariant);

/// The accounts of all connections of a host.
#[derive(Debug, Default)]
pub(super) struct Watch {
    accounts: Vec<Account>,
    last_now: Option<Instant>,
    /// After the last poll, a deadline of ours was past.
    was_past: bool,
}

/// What has passed of one connection.
#[expect(clippy::struct_excessive_bools, reason = "each says something else")]
#[derive(Debug)]
struct Account {
    handle: SocketHandle,
    local: IpEndpoint,
    remote: IpEndpoint,
    /// Its initial sequence number.
    first: Option<u32>,
    /// The end of all that was sent.
    snd_nxt: Option<u32>,
    /// The latest acknowledgement that was received of it.
    snd_una: Option<u32>,
    /// The latest acknowledgement that was sent.
    acknowledged: Option<u32>,
    /// When something was received that nobody can doubt: in order, right in all numbers.
    heard: Option<Instant>,
    /// What the keep-alive believed last.
    believed: Option<Instant>,
    /// Probes since then, and when the last of them left.
    probes: u32,
    last_probe: Option<Instant>,
    config: Option<Config>,
    /// It has been the same since the peer was last heard.
    has_same_config: bool,
    /// The clock was set back since the peer was last heard.
    is_timeless: bool,
    stats: Option<Stats>,
    has_verdict: bool,
    /// It got past its handshake. Before, smoltcp acknowledges with the number of its SYN.
    was_open: bool,
    /// How many polls ago the socket lost its connection: in the first it may still have sent.
    over_for: u32,
    /// Another socket has the same ends.
    is_doubled: bool,
}

impl Account {
    fn new(handle: SocketHandle, local: IpEndpoint, remote: IpEndpoint) -> Self {
        Self {
            handle,
            local,
            remote,
            first: None,
            snd_nxt: None,
            snd_una: None,
            acknowledged: None,
            heard: None,
            believed: None,
            probes: 0,
            last_probe: None,
            config: None,
            has_same_config: false,
            is_timeless: false,
            stats: None,
            has_verdict: false,
            was_open: false,
            over_for: 0,
            is_doubled: false,
        }
    }

    const fn ends(&self) -> (IpEndpoint, IpEndpoint) {
        (self.local, self.remote)
    }

    fn is_of(&self, ends: (IpEndpoint, IpEndpoint)) -> bool {
        self.ends() == ends && !self.is_over()
    }

    const fn is_over(&self) -> bool {
        self.over_for > 1
    }

    fn is_quiet(&self) -> bool {
        self.snd_nxt == self.snd_una
    }

    fn receive(&mut self, segment: &Segment, now: Instant) {
        if segment.rst || !segment.checksum_ok || !segment.ip_checksum_ok {
            return;
        }
        let Some(ack) = segment.ack else { return };
        let (Some(una), Some(nxt)) = (self.snd_una.or(segment.syn.then_some(ack)), self.snd_nxt)
        else {
            return;
        };
        // RFC 5961 5, without the allowance for old acknowledgements.
        if is_after(una, ack) || is_after(ack, nxt) {
            return;
        }
        self.snd_una = Some(ack);
        let is_next = !segment.syn && self.acknowledged == Some(segment.seq);
        // smoltcp has no place for more than its window, and drops what lies beyond.
        if is_next && segment.payload.is_empty() {
            self.heard = Some(now);
        }
    }

    fn send(&mut self, segment: &Segment) {
        if segment.rst {
            return;
        }
        if segment.syn && self.first != Some(segment.seq) {
            // Another connection, with the same ends.
            *self = Self {
                stats: self.stats,
                // It may be the other's.
                is_doubled: self.is_doubled,
                first: Some(segment.seq),
                snd_una: Some(segment.seq),
                ..Self::new(self.handle, self.local, self.remote)
            };
        }
        let end = segment.end();
        if self.snd_nxt.is_none_or(|nxt| is_after(end, nxt)) {
            self.snd_nxt = Some(end);
        }
        if let Some(ack) = segment.ack
            && (segment.syn || self.acknowledged.is_none_or(|old| is_after(ack, old)))
        {
            self.acknowledged = Some(ack);
        }
    }

    /// It looks like a keep-alive, a bare acknowledgement or one octet just below SND.NXT; or like a
    /// window probe of ours.
    fn may_be_a_probe(&self, segment: &Segment) -> bool {
        let has_flags = segment.syn || segment.fin || segment.rst;
        let below = self.snd_nxt.map(|nxt| nxt.wrapping_sub(1));
        let is_below = segment.payload.len() <= 1 && below == Some(segment.seq);
        !has_flags && (is_below || self.is_reminder(segment))
    }

    /// A window probe of ours: just below all that is outstanding.
    fn is_reminder(&self, segment: &Segment) -> bool {
        let below = self.snd_una.map(|una| una.wrapping_sub(1));
        segment.payload.is_empty() && below == Some(segment.seq)
    }

    /// After a step back of the clock, what was noted before it is not comparable, until the peer
    /// is heard anew: what was due then may leave at an earlier time.
    fn forget_times(&mut self) {
        self.heard = None;
        self.last_probe = None;
        self.has_same_config = false;
        self.is_timeless = true;
    }
}

impl Watch {
    /// Takes into account what one poll of the stack has received and sent. What may be probes, and
    /// of which socket.
    fn record(
        &mut self,
        view: &View<'_>,
        received: impl Iterator<Item: AsRef<[u8]>>,
        sent: impl Iterator<Item: AsRef<[u8]>>,
    ) -> Vec<(SocketHandle, Segment)> {
        if self.last_now.is_some_and(|last| view.now < last) {
            self.accounts.iter_mut().for_each(Account::forget_times);
        }
        self.last_now = Some(view.now);
        self.open_accounts(view.sockets);
        for segment in segments(view.medium, received) {
            let ends = (endpoint_dst(&segment), endpoint_src(&segment));
            if let Some(account) = self.account_mut(ends) {
                account.receive(&segment, view.now);
            }
        }
        let mut candidates = Vec::new();
        for segment in segments(view.medium, sent) {
            let ends = (endpoint_src(&segment), endpoint_dst(&segment));
            if let Some(account) = self.account_mut(ends) {
                account.send(&segment);
                if account.may_be_a_probe(&segment) {
                    candidates.push((account.handle, segment));
                }
            }
        }
        candidates
    }

    /// Looks at what one poll of the stack, through the keep-alive, has received and sent. What
    /// does not hold, or else the probes that left.
    pub(super) fn look(
        &mut self,
        view: &mut View<'_>,
        received: impl Iterator<Item: AsRef<[u8]>>,
        sent: impl Iterator<Item: AsRef<[u8]>>,
    ) -> Result<Vec<Probe>, Finding> {
        let candidates = self.record(view, received, sent);
        let mut probes = Vec::new();
        for account in self
            .accounts
            .iter_mut()
            .filter(|account| !account.is_doubled)
        {
            let handle = account.handle;
            let candidates = candidates.iter().filter(|(of, _)| *of == handle);
            let candidates: Vec<&Segment> = candidates.map(|(_, segment)| segment).collect();
            let of = check(account, view, &candidates).map_err(|found| (handle, found))?;
            probes.extend(of);
        }
        self.check_deadline(view)?;
        Ok(probes)
    }

    /// The same for a poll past the keep-alive, which answers for nothing in it.
    pub(super) fn overhear(
        &mut self,
        view: &View<'_>,
        received: impl Iterator<Item: AsRef<[u8]>>,
        sent: impl Iterator<Item: AsRef<[u8]>>,
    ) {
        self.record(view, received, sent);
        for account in &mut self.accounts {
            account.heard = None;
        }
    }

    /// Once a poll may ask for another at once: what it has learned may have made something due.
    /// Twice in a row it has nothing new to say.
    fn check_deadline(&mut self, view: &mut View<'_>) -> Result<(), Finding> {
        let deadline = past_deadline(view);
        let is_again = core::mem::replace(&mut self.was_past, deadline.is_some());
        let first = view.sockets.iter().next().map(|(handle, _)| handle);
        match (deadline, first) {
            (Some(deadline), Some(handle)) if is_again => {
                let now = view.now;
                Err((handle, Invariant::DeadlineInThePast { deadline, now }))
            }
            _ => Ok(()),
        }
    }

    /// One account for each socket that has, or just had, a connection, in the order of the sockets.
    fn open_accounts(&mut self, sockets: &SocketSet<'static>) {
        let old = core::mem::take(&mut self.accounts);
        let mut old = old.into_iter().peekable();
        let mut is_new = false;
        for (handle, socket) in sockets.iter() {
            while old.next_if(|account| account.handle < handle).is_some() {}
            let known = old.next_if(|account| account.handle == handle);
            let socket = tcp::Socket::downcast(socket);
            let is_open = socket.is_some_and(is_synchronised);
            let ends =
                socket.and_then(|socket| socket.local_endpoint().zip(socket.remote_endpoint()));
            let account = match (known, ends) {
                (Some(mut account), None) => {
                    account.over_for = account.over_for.saturating_add(1);
                    Some(account)
                }
                (Some(account), Some(ends)) if account.is_of(ends) => Some(account),
                (_, Some((local, remote))) => {
                    is_new = true;
                    Some(Account::new(handle, local, remote))
                }
                (None, None) => None,
            };
            self.accounts.extend(account.map(|account| Account {
                was_open: account.was_open || is_open,
                ..account
            }));
        }
        if is_new {
            self.mark_doubles();
        }
    }

    /// smoltcp lets a listener take a SYN that is another socket's already. Then two have the same
    /// ends, and what passes between those is nobody's for certain.
    fn mark_doubles(&mut self) {
        let current = self.accounts.iter().filter(|account| !account.is_over());
        let ends: Vec<_> = current.map(Account::ends).collect();
        let current = self.accounts.iter_mut();
        for account in current.filter(|account| !account.is_over()) {
            let same = ends.iter().filter(|ends| **ends == account.ends());
            account.is_doubled |= same.count() > 1;
        }
    }

    /// The connection between these ends, or the one that was: what leaves for that is unbidden.
    fn account_mut(&mut self, ends: (IpEndpoint, IpEndpoint)) -> Option<&mut Account> {
        let mut accounts = self.accounts.iter();
        let current = accounts.position(|account| account.is_of(ends));
        let mut accounts = self.accounts.iter();
        let index = current.or_else(|| accounts.rposition(|account| account.ends() == ends));
        self.accounts.get_mut(index?)
    }
}

/// What is checked of one connection.
fn check(
    account: &mut Account,
    view: &mut View<'_>,
    candidates: &[&Segment],
) -> Result<Vec<Probe>, Invariant> {
    let handle = account.handle;
    let Some(config) = view.keep_alive.config(handle) else {
        account.stats = None;
        return check_unbidden(account, view, candidates);
    };
    note_config(account, config);
    let stats = view.keep_alive.stats(handle);
    let sent = probes_between(account.stats, stats);
    account.stats = stats;
    note_heard(account, view)?;
    let counted = usize::try_from(sent).unwrap_or(usize::MAX);
    let uncounted = candidates.get(counted..).unwrap_or_default();
    check_unbidden(account, view, uncounted)?;
    let mut probes = Vec::new();
    let is_busy = sent > 0 && is_busy(view.sockets, handle);
    for number in 0..sent {
        let index = usize::try_from(number).unwrap_or(usize::MAX);
        let segment = candidates.get(index).ok_or(Invariant::ProbeNotSent)?;
        if account.has_verdict {
            return Err(Invariant::ProbeUnbidden);
        }
        if is_busy && config.user_timeout().is_some() && account.is_reminder(segment) {
            continue;
        }
        check_probe(account, &config, is_busy, view.now)?;
        probes.push(Probe {
            handle,
            local: account.local,
            remote: account.remote,
            seq: segment.seq,
            ack: segment.ack.unwrap_or(0),
        });
    }
    for (_, event) in view.events.iter().filter(|(of, _)| *of == handle) {
        if let Event::TimedOut(verdict) = event {
            check_verdict(account, &config, verdict, view.now)?;
        }
    }
    Ok(probes)
}

fn note_config(account: &mut Account, config: Config) {
    if account.config != Some(config) {
        account.config = Some(config);
        account.has_same_config = false;
    }
}

/// What the keep-alive believes of the peer's last word is no older than what the wire knows.
fn note_heard(account: &mut Account, view: &View<'_>) -> Result<(), Invariant> {
    let believed = view.keep_alive.last_heard(account.handle).map(instant_in);
    if believed != account.believed {
        account.believed = believed;
        account.probes = 0;
        account.last_probe = None;
        account.has_same_config = true;
        account.is_timeless = false;
    }
    let is_followed = matches!(
        view.keep_alive.state(account.handle),
        Some(State::Armed | State::Probing { .. })
    );
    match account.heard {
        Some(heard) if is_followed && believed.is_some_and(|believed| believed < heard) => {
            Err(Invariant::HeardForgotten { heard, believed })
        }
        _ => Ok(()),
    }
}

/// Nothing that looks like a probe leaves without having been counted; unless it is smoltcp's own,
/// or something outstanding that is sent again.
fn check_unbidden(
    account: &Account,
    view: &View<'_>,
    candidates: &[&Segment],
) -> Result<Vec<Probe>, Invariant> {
    if candidates.is_empty() || !account.was_open || !account.is_quiet() {
        return Ok(Vec::new());
    }
    let socket = socket_of(view.sockets, account.handle);
    let is_smoltcps = socket.is_some_and(|socket| socket.keep_alive().is_some());
    // A sender that has just gone back to retransmit has forgotten that it sent.
    if !is_smoltcps && !is_busy(view.sockets, account.handle) {
        return Err(Invariant::ProbeUnbidden);
    }
    Ok(Vec::new())
}

fn check_probe(
    account: &mut Account,
    config: &Config,
    is_busy: bool,
    now: Instant,
) -> Result<(), Invariant> {
    if is_busy || !account.is_quiet() {
        return Err(Invariant::ProbeWhileBusy);
    }
    if let Some(believed) = account.believed.filter(|_| !account.is_timeless) {
        let due = believed.saturating_add(config.idle());
        if now < due {
            return Err(Invariant::ProbeBeforeIdle { due, at: now });
        }
    }
    if let Some(last) = account.last_probe {
        let due = last.saturating_add(config.interval());
        if now < due {
            return Err(Invariant::ProbeBeforeInterval { due, at: now });
        }
    }
    account.probes = account.probes.saturating_add(1);
    account.last_probe = Some(now);
    Ok(())
}

fn check_verdict(
    account: &mut Account,
    config: &Config,
    verdict: &Verdict,
    now: Instant,
) -> Result<(), Invariant> {
    if account.has_verdict {
        return Err(Invariant::SecondVerdict);
    }
    account.has_verdict = true;
    let silent_for = verdict.silent_for;
    let least = match (verdict.cause, config.user_timeout()) {
        (Cause::UserTimeout, Some(timeout)) => timeout,
        _ => config.detection_time(),
    };
    if account.has_same_config && silent_for < least {
        return Err(Invariant::VerdictTooEarly { silent_for, least });
    }
    if let Some(heard) = account.heard {
        let silent_for = now.saturating_duration_since(heard);
        if account.has_same_config && silent_for < least {
            return Err(Invariant::VerdictTooEarly { silent_for, least });
        }
    }
    if verdict.cause == Cause::KeepAlive {
        check_attempts(account, config, verdict)?;
        check_gap(account, config, verdict, now)?;
    }
    Ok(())
}

/// A verdict that fell due more than an interval ago fell due in a gap: then one more probe is sent
/// first. When an attempt that never left fell due is not known here.
fn check_gap(
    account: &Account,
    config: &Config,
    verdict: &Verdict,
    now: Instant,
) -> Result<(), Invariant> {
    let is_spared = verdict.unanswered > config.count();
    let last = account.last_probe.filter(|_| account.has_same_config);
    if let Some(last) = last.filter(|_| verdict.unsent == 0 && !is_spared) {
        let due = last.saturating_add(config.interval());
        if now > due.saturating_add(config.interval()) {
            return Err(Invariant::VerdictAfterGap { due, at: now });
        }
    }
    Ok(())
}

fn check_attempts(account: &Account, config: &Config, verdict: &Verdict) -> Result<(), Invariant> {
    let attempts = u16::from(verdict.unanswered).saturating_add(u16::from(verdict.unsent));
    let count = config.count();
    if attempts < u16::from(count) {
        return Err(Invariant::VerdictWithoutAttempts { attempts, count });
    }
    let (told, sent) = (verdict.unanswered, account.probes);
    if u32::from(told) > sent {
        return Err(Invariant::VerdictMiscounts { told, sent });
    }
    Ok(())
}

/// The earlier of ours and smoltcp's, if it is past, and smoltcp's is not.
fn past_deadline(view: &mut View<'_>) -> Option<Instant> {
    let now = instant_out(view.now);
    let deadline = view.keep_alive.poll_at(now, view.iface, view.sockets)?;
    let smoltcps = view.iface.poll_at(now, view.sockets);
    let is_ours = deadline <= now && smoltcps.is_none_or(|at| at > now);
    is_ours.then(|| instant_in(deadline))
}

/// How many probes were counted since `before`; none if nobody looked then.
fn probes_between(before: Option<Stats>, after: Option<Stats>) -> u32 {
    match (before, after) {
        (Some(before), Some(after)) => after.probes_sent.saturating_sub(before.probes_sent),
        _ => 0,
    }
}

fn socket_of<'s>(
    sockets: &'s SocketSet<'static>,
    handle: SocketHandle,
) -> Option<&'s tcp::Socket<'static>> {
    let (_, socket) = sockets.iter().find(|(of, _)| *of == handle)?;
    tcp::Socket::downcast(socket)
}

fn is_synchronised(socket: &tcp::Socket<'_>) -> bool {
    !matches!(
        socket.state(),
        tcp::State::Closed | tcp::State::Listen | tcp::State::SynSent | tcp::State::SynReceived
    )
}

/// Data or a FIN is queued, or not acknowledged.
fn is_busy(sockets: &SocketSet<'static>, handle: SocketHandle) -> bool {
    socket_of(sockets, handle).is_some_and(|socket| {
        let has_fin = matches!(
            socket.state(),
            tcp::State::FinWait1 | tcp::State::Closing | tcp::State::LastAck
        );
        has_fin || socket.send_queue() > 0
    })
}

fn segments(
    medium: Medium,
    frames: impl Iterator<Item: AsRef<[u8]>>,
) -> impl Iterator<Item = Segment> {
    frames.filter_map(move |bytes| match wire::parse(medium, bytes.as_ref()) {
        Kind::Tcp(segment) => Some(segment),
        _ => None,
    })
}

const fn endpoint_src(segment: &Segment) -> IpEndpoint {
    IpEndpoint::new(segment.src_addr, segment.src_port)
}

const fn endpoint_dst(segment: &Segment) -> IpEndpoint {
    IpEndpoint::new(segment.dst_addr, segment.dst_port)
}

/// `a` is a sequence number after `b`.
pub(super) const fn is_after(a: u32, b: u32) -> bool {
    a.wrapping_sub(b).cast_signed() > 0
}
