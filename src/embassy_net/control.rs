//! The application's half, and what it shares with the driver's.

use core::fmt;
use core::future::poll_fn;
use core::net::{IpAddr, SocketAddr};
use core::task::{Poll, Waker};

use embassy_sync::blocking_mutex::raw::{CriticalSectionRawMutex, RawMutex};
use embassy_sync::waitqueue::{MultiWakerRegistration, WakerRegistration};

use super::{Connection, Notice, State};
use crate::link::{Checksums, CloseReason, Ending, Id, Link, Medium, Socket, Tuple};
use crate::{Config, Instant, Stats};

/// How many tasks can wait for a notice without waking each other.
const WAITERS: usize = 2;

/// What a policy is for, the most specific first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Remote(SocketAddr),
    RemotePort(u16),
    LocalPort(u16),
}

impl Scope {
    fn covers(&self, connection: &Connection) -> bool {
        match self {
            Self::Remote(remote) => connection.remote == *remote,
            Self::RemotePort(port) => connection.remote.port() == *port,
            Self::LocalPort(port) => connection.local.port() == *port,
        }
    }

    const fn rank(&self) -> u8 {
        match self {
            Self::Remote(_) => 0,
            Self::RemotePort(_) => 1,
            Self::LocalPort(_) => 2,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Policy {
    scope: Scope,
    config: Option<Config>,
}

/// A connection that has a place in the link.
#[derive(Clone, Copy, Debug)]
struct Entry<const W: usize> {
    id: Id,
    tuple: Tuple<W>,
    /// Its own policy.
    own: Own,
    /// The higher, the later it was noticed.
    order: u32,
}

/// The policy of one connection.
#[derive(Clone, Copy, Debug)]
enum Own {
    None,
    Policy(Option<Config>),
}

/// What both halves share.
pub(super) struct Shared<const N: usize, const W: usize> {
    pub(super) link: Link<N, W>,
    entries: [Option<Entry<W>>; N],
    policies: [Option<Policy>; N],
    default: Option<Config>,
    /// Connections noticed so far.
    noticed: u32,
    untracked: u32,
    /// Its SYN may come again.
    last_untracked: Option<Tuple<W>>,
    full: Full<W>,
    runner: WakerRegistration,
    waiters: MultiWakerRegistration<WAITERS>,
    is_in_use: bool,
    /// A policy has changed since the link was served.
    is_changed: bool,
}

/// Whether a connection found no place.
enum Full<const W: usize> {
    No,
    /// This one did not.
    Unreported(Tuple<W>),
    Reported,
}

impl<const N: usize, const W: usize> Shared<N, W> {
    pub(super) const fn new() -> Self {
        Self {
            link: Link::new(),
            entries: [None; N],
            policies: [None; N],
            default: None,
            noticed: 0,
            untracked: 0,
            last_untracked: None,
            full: Full::No,
            runner: WakerRegistration::new(),
            waiters: MultiWakerRegistration::new(),
            is_in_use: false,
            is_changed: false,
        }
    }

    /// Begins to serve a driver. Returns whether no other one is served.
    pub(super) fn begin(&mut self, medium: Medium, checksums: Checksums) -> bool {
        if self.is_in_use {
            return false;
        }
        self.is_in_use = true;
        self.link.set_capabilities(medium, checksums);
        true
    }

    /// Remembers the task to wake when a policy changes.
    pub(super) fn meet(&mut self, runner: &Waker) {
        self.runner.register(runner);
    }

    /// Handles what was seen, and the passing of time, if there is anything to do. Returns whether there
    /// is. Call it when the driver has nothing more at this moment, and with no other time: what arrives
    /// afterwards is not heard yet (K9).
    pub(super) fn judge(&mut self, now: Instant) -> bool {
        let is_due = self.is_changed || self.link.is_due(now);
        if is_due {
            self.handle_timeout(now);
        }
        is_due
    }

    pub(super) fn handle_received(&mut self, now: Instant, frame: &[u8]) {
        self.link.handle_received(now, frame);
        self.wake_waiters();
    }

    pub(super) fn handle_sent(&mut self, now: Instant, frame: &[u8]) {
        self.link.handle_sent(now, frame);
        if let Some(tuple) = self.link.poll_opening() {
            self.notice(now, tuple);
        }
        if self.link.is_due(now) {
            // A reader that is woken finds the reason.
            self.link.settle();
            // It may have been the last frame of this poll.
            self.runner.wake();
        }
    }

    fn handle_timeout(&mut self, now: Instant) {
        self.is_changed = false;
        self.link.take_change();
        self.link.settle();
        if let Some(tuple) = self.link.poll_opening() {
            self.notice(now, tuple);
        }
        for entry in self.entries.iter().flatten() {
            let config = self.config_of(entry);
            self.link.switch(now, entry.id, config);
        }
        self.link.handle_timeout(now);
        self.wake_waiters();
    }

    fn wake_waiters(&mut self) {
        if self.link.has_events() {
            self.waiters.wake();
        }
    }

    /// Finds a place for a connection that is being opened.
    #[cold]
    fn notice(&mut self, now: Instant, tuple: Tuple<W>) {
        self.link.settle();
        self.end_those_without_address(now, tuple.local().ip());
        let known = self.entry(tuple).map(|entry| entry.id);
        let Some(id) = known.or_else(|| self.place(tuple)) else {
            if self.last_untracked != Some(tuple) {
                self.untracked = self.untracked.saturating_add(1);
                self.last_untracked = Some(tuple);
            }
            if let Full::No = self.full {
                self.full = Full::Unreported(tuple);
                self.waiters.wake();
            }
            self.link.forget_opening();
            return;
        };
        if let Full::Reported = self.full {
            self.full = Full::No;
        }
        self.bind(now, id, tuple);
    }

    /// The stack has one IPv4 address, and closes without a word what has another.
    fn end_those_without_address(&mut self, now: Instant, ours: IpAddr) {
        for entry in self.entries.iter().flatten() {
            let local = entry.tuple.local().ip();
            if ours.is_ipv4() && local.is_ipv4() && local != ours {
                let lost = Socket::Closed(Ending::AddressLost);
                self.link.follow(now, entry.id, lost, 0, false);
            }
        }
    }

    fn bind(&mut self, now: Instant, id: Id, tuple: Tuple<W>) {
        // A handshake that another socket has taken over has other numbers.
        let over = Socket::Closed(Ending::Unknown);
        self.link.follow(now, id, over, 0, false);
        self.link.follow(now, id, Socket::Opening(tuple), 0, false);
        self.noticed = self.noticed.wrapping_add(1);
        let entry = Entry {
            id,
            tuple,
            own: Own::None,
            order: self.noticed,
        };
        if let Some(place) = self.entries.get_mut(id.0) {
            *place = Some(entry);
        }
    }

    /// Takes a free place, or that of the connection that ended first, or that of one that is not
    /// kept alive: its policy says so, or its handshake is not over.
    fn place(&mut self, tuple: Tuple<W>) -> Option<Id> {
        let config = self.policy_of(&tuple.into());
        let first = config.or(self.default).unwrap_or(Config::DEFAULT);
        if let Some(id) = self.link.add(first) {
            return Some(id);
        }
        // One loop over all: iterators that compare by key are much larger.
        let mut best = None;
        for entry in self.entries.iter().flatten() {
            let is_over = self.link.is_over(entry.id);
            let is_off = self.link.state(entry.id) == Some(crate::State::Disabled);
            if is_over || config.is_some() && is_off {
                let rank = (is_over, self.noticed.wrapping_sub(entry.order));
                if best.is_none_or(|(other, _)| rank > other) {
                    best = Some((rank, entry.id));
                }
            }
        }
        let (_, id) = best?;
        self.link.remove(id);
        self.link.add(first)
    }

    fn entry(&self, tuple: Tuple<W>) -> Option<&Entry<W>> {
        self.entries
            .iter()
            .flatten()
            .find(|entry| entry.tuple == tuple)
    }

    fn config_of(&self, entry: &Entry<W>) -> Option<Config> {
        match entry.own {
            Own::Policy(config) => config,
            Own::None => self.policy_of(&entry.tuple.into()),
        }
    }

    /// The most specific policy wins.
    fn policy_of(&self, connection: &Connection) -> Option<Config> {
        self.policies
            .iter()
            .flatten()
            .filter(|policy| policy.scope.covers(connection))
            .min_by_key(|policy| policy.scope.rank())
            .map_or(self.default, |policy| policy.config)
    }

    fn set_policy(&mut self, scope: Scope, config: Option<Config>) -> Result<(), PolicyError> {
        let is_it =
            |place: &&mut Option<Policy>| matches!(place, Some(policy) if policy.scope == scope);
        let mut place = self.policies.iter_mut().find(is_it);
        if place.is_none() {
            place = self.policies.iter_mut().find(|place| place.is_none());
        }
        *place.ok_or(PolicyError::Full)? = Some(Policy { scope, config });
        self.note_change();
        Ok(())
    }

    fn note_change(&mut self) {
        self.is_changed = true;
        self.runner.wake();
    }

    fn poll_notice(&mut self) -> Option<Notice> {
        while let Some((id, event)) = self.link.poll_event() {
            if let Some(Some(entry)) = self.entries.get(id.0) {
                return Some(Notice::Connection(entry.tuple.into(), event));
            }
        }
        if let Full::Unreported(tuple) = self.full {
            self.full = Full::Reported;
            return Some(Notice::Full(tuple.into()));
        }
        None
    }
}

/// Why a policy could not be set.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum PolicyError {
    /// There are `N` policies already.
    Full,
    /// There is no such connection, or it found no place.
    Unknown,
}

impl fmt::Display for PolicyError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "there is no room for another policy: make the state larger",
            Self::Unknown => "there is no such connection, or it found no place",
        })
    }
}

impl core::error::Error for PolicyError {}

/// Sets policies, and tells how the connections are. Copy it to every task that wants one.
///
/// It can be used before the runner runs: a policy that is set then covers the first connection.
pub struct Control<'d, const N: usize, M: RawMutex = CriticalSectionRawMutex, const W: usize = 4> {
    state: &'d State<N, M, W>,
}

impl<const N: usize, M: RawMutex, const W: usize> Clone for Control<'_, N, M, W> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<const N: usize, M: RawMutex, const W: usize> Copy for Control<'_, N, M, W> {}

impl<const N: usize, M: RawMutex, const W: usize> fmt::Debug for Control<'_, N, M, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Control").finish_non_exhaustive()
    }
}

impl<'d, const N: usize, M: RawMutex, const W: usize> Control<'d, N, M, W> {
    pub(super) const fn new(state: &'d State<N, M, W>) -> Self {
        Self { state }
    }

    /// Sets the policy for connections that no other one covers. `None` means off.
    #[doc(alias = "SO_KEEPALIVE")]
    #[doc(alias = "set_keep_alive")]
    pub fn set_default(&self, config: Option<Config>) {
        self.state.with(|shared| {
            shared.default = config;
            shared.note_change();
        });
    }

    /// Sets the policy for connections of a local port, as those that a listener accepts. `None`
    /// means off, whatever the default says.
    ///
    /// # Errors
    ///
    /// [`PolicyError::Full`] if there are `N` policies already.
    pub fn set_local_port(&self, port: u16, config: Option<Config>) -> Result<(), PolicyError> {
        self.set_policy(Scope::LocalPort(port), config)
    }

    /// Sets the policy for connections to a remote port, at any address. `None` means off,
    /// whatever the local port or the default says.
    ///
    /// # Errors
    ///
    /// [`PolicyError::Full`] if there are `N` policies already.
    pub fn set_remote_port(&self, port: u16, config: Option<Config>) -> Result<(), PolicyError> {
        self.set_policy(Scope::RemotePort(port), config)
    }

    /// Sets the policy for connections to a remote endpoint. `None` means off, whatever the ports
    /// or the default say.
    ///
    /// # Errors
    ///
    /// [`PolicyError::Full`] if there are `N` policies already.
    pub fn set_remote(
        &self,
        remote: impl Into<SocketAddr>,
        config: Option<Config>,
    ) -> Result<(), PolicyError> {
        self.set_policy(Scope::Remote(remote.into()), config)
    }

    /// Forgets the policies for ports and endpoints. The default, and those of single connections,
    /// stay.
    pub fn clear_policies(&self) {
        self.state.with(|shared| {
            shared.policies = [None; N];
            shared.note_change();
        });
    }

    /// Sets the policy for one connection, for as long as it lasts. `None` means off, whatever
    /// another policy says.
    ///
    /// # Errors
    ///
    /// [`PolicyError::Unknown`] if there is no such connection. It is known as soon as `connect` or
    /// `accept` has returned.
    pub fn set(&self, connection: Connection, config: Option<Config>) -> Result<(), PolicyError> {
        self.state
            .with(|shared| {
                let tuple = connection.tuple()?;
                let id = shared.entry(tuple)?.id;
                shared.link.tuple(id)?;
                shared.entries.get_mut(id.0)?.as_mut()?.own = Own::Policy(config);
                shared.note_change();
                Some(())
            })
            .ok_or(PolicyError::Unknown)
    }

    /// Waits for something to report. Two tasks may wait; each notice goes to one of them. A third
    /// would have all of them wake one another for ever.
    ///
    /// What is not read before another connection takes the place is lost;
    /// [`close_reason`](Self::close_reason) does not depend on it.
    pub async fn next_event(&self) -> Notice {
        poll_fn(|cx| {
            let notice = self.state.with(|shared| {
                let notice = shared.poll_notice();
                if notice.is_none() {
                    shared.waiters.register(cx.waker());
                }
                notice
            });
            notice.map_or(Poll::Pending, Poll::Ready)
        })
        .await
    }

    /// Returns what there is to report, if anything.
    #[must_use = "an event is reported once"]
    pub fn try_next_event(&self) -> Option<Notice> {
        self.state.with(Shared::poll_notice)
    }

    /// Returns how a connection ended; `None` while it is open, or if it is not known any more.
    #[must_use]
    pub fn close_reason(&self, connection: Connection) -> Option<CloseReason> {
        self.look(connection, Link::close_reason)
    }

    /// Returns when the peer of a connection was last heard.
    #[must_use]
    pub fn last_heard(&self, connection: Connection) -> Option<embassy_time::Instant> {
        self.look(connection, Link::last_heard).map(Into::into)
    }

    /// Returns where the keep-alive of a connection is. [`State::Disabled`](crate::State::Disabled)
    /// if no policy covers it.
    #[must_use]
    pub fn state(&self, connection: Connection) -> Option<crate::State> {
        self.look(connection, Link::state)
    }

    /// Returns what was counted for a connection.
    #[must_use]
    pub fn stats(&self, connection: Connection) -> Option<Stats> {
        self.look(connection, Link::stats)
    }

    /// Returns how many connections found no place, and were not kept alive.
    #[must_use]
    pub fn untracked(&self) -> u32 {
        self.state.with(|shared| shared.untracked)
    }

    fn look<R>(
        self,
        connection: Connection,
        look: impl FnOnce(&Link<N, W>, Id) -> Option<R>,
    ) -> Option<R> {
        self.state.with(|shared| {
            let id = shared.entry(connection.tuple()?)?.id;
            look(&shared.link, id)
        })
    }

    fn set_policy(self, scope: Scope, config: Option<Config>) -> Result<(), PolicyError> {
        self.state
            .with(|shared| Some(shared.set_policy(scope, config)))
            .unwrap_or(Err(PolicyError::Full))
    }
}
