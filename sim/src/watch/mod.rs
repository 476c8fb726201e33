//! Whether a host's keep-alive keeps its promises, seen from the wire.

mod account;
mod rules;
#[cfg(test)]
mod tests;

use ::smoltcp::iface::{Interface, SocketHandle, SocketSet};
use ::smoltcp::phy::{ChecksumCapabilities, Medium};
use ::smoltcp::socket::{AnySocket, tcp};
use ::smoltcp::wire::{EthernetAddress, HardwareAddress, IpEndpoint};

use self::account::Account;
use super::Host;
use super::invariant::Invariant;
use super::wire::{self, Kind, Segment};
use crate::smoltcp::KeepAliveSet;
use crate::{Event, Instant};
use ::smoltcp::time;

/// What the watch looks at, between the poll of the stack and the turn of the application.
pub(super) struct View<'h> {
    pub(super) now: Instant,
    pub(super) medium: Medium,
    /// Which checksums the stack makes and checks: what it does not check, it believes.
    pub(super) checksums: ChecksumCapabilities,
    pub(super) iface: &'h mut Interface,
    pub(super) sockets: &'h SocketSet<'static>,
    pub(super) keep_alive: &'h mut KeepAliveSet<{ Host::CONNECTIONS }>,
    pub(super) events: &'h [(SocketHandle, Event)],
}

/// A probe that left, for the ledger, which knows what the peer expects.
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

/// What may be a probe, and what its host had told of its window before.
#[derive(Debug)]
struct Candidate {
    of: SocketHandle,
    segment: Segment,
    told_window: Option<u16>,
}

/// The accounts of all connections of a host.
#[derive(Debug, Default)]
pub(super) struct Watch {
    accounts: Vec<Account>,
    last_now: Option<Instant>,
    /// After the last poll, a deadline of ours was past.
    was_past: bool,
}

impl Watch {
    /// Takes into account what one poll of the stack has received and sent. Returns what may be
    /// probes, with their sockets.
    fn record(
        &mut self,
        view: &View<'_>,
        received: impl Iterator<Item: AsRef<[u8]>>,
        sent: impl Iterator<Item: AsRef<[u8]>>,
    ) -> Vec<Candidate> {
        if self.last_now.is_some_and(|last| view.now < last) {
            for account in &mut self.accounts {
                account.forget_times(view.now);
            }
        }
        self.last_now = Some(view.now);
        self.open_accounts(view.sockets);
        // What is for another station the stack does not see.
        let ours = (view.medium == Medium::Ethernet).then(|| view.iface.hardware_addr());
        let is_ours = |bytes: &[u8]| {
            let Some(HardwareAddress::Ethernet(ours)) = ours else {
                return true;
            };
            let dst = bytes.get(..6).map(EthernetAddress::from_bytes);
            dst.is_some_and(|dst| dst == ours || !dst.is_unicast())
        };
        let received = received.filter(|bytes| is_ours(bytes.as_ref()));
        for segment in segments(view.medium, received) {
            let ends = (endpoint_dst(&segment), endpoint_src(&segment));
            if let Some(account) = self.account_mut(ends) {
                account.receive(&segment, view.now, &view.checksums);
            }
        }
        let mut candidates = Vec::new();
        for segment in segments(view.medium, sent) {
            let ends = (endpoint_src(&segment), endpoint_dst(&segment));
            if let Some(account) = self.account_mut(ends) {
                account.send(&segment);
                let told_window = account.told_window;
                account.tell(&segment);
                if account.may_be_a_probe(&segment) {
                    candidates.push(Candidate {
                        of: account.handle,
                        segment,
                        told_window,
                    });
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
            let candidates = candidates.iter().filter(|it| it.of == handle);
            let candidates: Vec<&Candidate> = candidates.collect();
            let of = rules::check(account, view, &candidates).map_err(|found| (handle, found))?;
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
            account.forget_heard();
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
            let is_accepting =
                socket.is_some_and(|socket| socket.state() == tcp::State::SynReceived);
            let ends =
                socket.and_then(|socket| socket.local_endpoint().zip(socket.remote_endpoint()));
            let account = match (known, ends) {
                (Some(mut account), None) => {
                    account.over_for = account.over_for.saturating_add(1);
                    Some(account)
                }
                // What was open is not accepted again: that is another connection with the same ends.
                (Some(account), Some(ends))
                    if account.is_of(ends) && !(account.was_open && is_accepting) =>
                {
                    Some(account)
                }
                (_, Some((local, remote))) => {
                    is_new = true;
                    Some(Account::new(handle, local, remote))
                }
                (None, None) => None,
            };
            self.accounts.extend(account.map(|mut account| {
                account.begin_poll(socket, is_open);
                account
            }));
        }
        if is_new {
            self.mark_doubles();
        }
    }

    /// smoltcp lets a listener take a SYN that is another socket's already. Then two have the same
    /// ends, and no frame between those belongs to one of them for certain.
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

/// The earlier of ours and smoltcp's, if it is past, and smoltcp's is not.
fn past_deadline(view: &mut View<'_>) -> Option<Instant> {
    let now = time::Instant::from(view.now);
    let deadline = view.keep_alive.poll_at(now, view.iface, view.sockets)?;
    let smoltcps = view.iface.poll_at(now, view.sockets);
    let is_ours = deadline <= now && smoltcps.is_none_or(|at| at > now);
    is_ours.then(|| Instant::from(deadline))
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
