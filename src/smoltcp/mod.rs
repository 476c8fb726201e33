//! Keep-alive inside smoltcp's poll loop.
//!
//! Make one [`KeepAliveSet`] for each interface, call its [`poll`](KeepAliveSet::poll),
//! [`poll_at`](KeepAliveSet::poll_at) and [`poll_delay`](KeepAliveSet::poll_delay) in place of
//! the interface's, and [`enable`](KeepAliveSet::enable) the handles whose peers matter:
//!
//! ```no_run
//! # use core::time::Duration;
//! # use smoltcp::iface::{Config, Interface, SocketSet};
//! # use smoltcp::phy::{Loopback, Medium};
//! # use smoltcp::socket::tcp;
//! # use smoltcp::time::Instant;
//! # use smoltcp::wire::{EthernetAddress, HardwareAddress};
//! use tcp_keepalive::{Event, smoltcp::KeepAliveSet};
//!
//! # fn main() -> Result<(), Box<dyn core::error::Error>> {
//! # let mut device = Loopback::new(Medium::Ethernet);
//! # let address = HardwareAddress::Ethernet(EthernetAddress([2, 0, 0, 0, 0, 1]));
//! # let mut iface = Interface::new(Config::new(address), &mut device, Instant::ZERO);
//! # let mut sockets = SocketSet::new(vec![]);
//! # let buffer = || tcp::SocketBuffer::new(vec![0; 1024]);
//! # let handle = sockets.add(tcp::Socket::new(buffer(), buffer()));
//! # let clock = || Instant::ZERO;
//! let mut keep_alive = KeepAliveSet::<8>::new();
//! keep_alive.enable(handle, tcp_keepalive::Config::detect_within(Duration::from_secs(60))?)?;
//! loop {
//!     let now = clock();
//!     keep_alive.poll(now, &mut iface, &mut device, &mut sockets);
//!     while let Some((handle, event)) = keep_alive.poll_event() {
//!         if let Event::TimedOut(verdict) = event {
//!             println!("{handle} is dead: {verdict}");
//!         }
//!     }
//!     // ... serve the sockets ...
//!     let delay = keep_alive.poll_delay(now, &mut iface, &sockets);
//!     // ... sleep for `delay`, or until the device has a frame ...
//! }
//! # }
//! ```
//!
//! # How it works
//!
//! For the length of a poll the device is wrapped, and every frame is seen on its way: nothing
//! is copied, delayed or changed. Probes leave through smoltcp itself, from a raw socket of ours,
//! so that routing, neighbour discovery and checksum offload are smoltcp's. A verdict aborts the
//! socket, and the RST is out before [`poll`](KeepAliveSet::poll) returns, however soon the
//! socket is reused, unless the device or the neighbour does not take it.
//!
//! # Caveats
//!
//! - All frames of the interface should pass through [`poll`](KeepAliveSet::poll), of one device:
//!   what `Interface::poll` handles in between is not seen. A peer heard only there is asked
//!   again, not given up unasked; but the user timeout may count an answer that was not seen as
//!   owed, and a connection that was opened unseen is not watched.
//! - A handle is smoltcp's: [`disable`](KeepAliveSet::disable) it before its socket is removed
//!   from the set, or the next socket in that place inherits the keep-alive.
//! - A connection counts from its handshake on. While it is being opened smoltcp's own
//!   retransmissions, and `set_timeout`, are what there is.
//! - smoltcp's `set_keep_alive` and `set_timeout` go on working beside ours. With both, the
//!   application gets both kinds of probes, and a connection that smoltcp's timeout kills is
//!   reported as [`CloseReason::LocalAbort`].
//! - Enabled on a connection that has long been silent and on which smoltcp's own keep-alive is
//!   set, or was until just now, the first probe waits for smoltcp's next one: only that tells the
//!   numbers. Switch that off before the connection is opened, or enable before. While it is set,
//!   frames that pass `Interface::poll` directly are not made up for either.
//! - A segment of more than 128 octets is believed once smoltcp has acknowledged it, and then counts
//!   from when it arrived; of several that one acknowledgement covers the last counts.
//! - If the device, or the neighbour, stops taking frames while something is in flight, smoltcp's
//!   next retransmission is up to a minute away, and the user timeout may be that much late; and by
//!   itself once more if the peer has to be asked in smoltcp's stead, twice if its neighbour's address
//!   has to be found first.
//! - While the device cannot transmit, smoltcp keeps an aborted socket's RST, asks to be polled
//!   at once, and [`poll_at`](KeepAliveSet::poll_at) here slows that down.

#[macro_use]
mod log;

mod asking;
pub(crate) mod convert;
mod frame;
mod index;
mod service;
mod table;
mod tap;
mod transmit;

use core::cell::Cell;
use core::fmt;

use ::smoltcp::iface::{Interface, PollResult, SocketHandle, SocketSet};
use ::smoltcp::phy::Device;
use ::smoltcp::time;

use self::convert::{Link, instant_in, instant_out};
use self::index::Index;
use self::table::{Ended, Slot, Table};
use self::tap::Tap;
use crate::{Cause, Config, Event, Instant, State, Stats, Verdict};

/// The least and the longest time for which a device that cannot transmit is left alone.
const BACKOFF_FIRST_MICROS: u64 = 10_000;
const BACKOFF_LAST_MICROS: u64 = 500_000;

/// Keep-alive for up to `N` sockets of one smoltcp interface.
///
/// See the [module](self) for how to use it. `N` is the number of handles that can be enabled at
/// the same time, 65534 at most; there is no allocation.
#[derive(Debug)]
pub struct KeepAliveSet<const N: usize> {
    table: Table<N>,
    backoff_micros: u64,
    backoff_until: Instant,
}

/// Why a handle could not be enabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum EnableError {
    /// All `N` places are taken. Disable a handle first, or make the set larger.
    Full,
    /// The interface's medium cannot carry probes: smoltcp sends no raw IP packets over IEEE
    /// 802.15.4. Known from the first poll on.
    UnsupportedMedium,
}

impl fmt::Display for EnableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "all places of the keep-alive set are taken",
            Self::UnsupportedMedium => "smoltcp cannot send probes over this medium",
        })
    }
}

impl core::error::Error for EnableError {}

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
    /// The application aborted it, or smoltcp's own timeout did.
    LocalAbort,
    /// The interface lost the address that the connection was using.
    AddressLost,
}

impl<const N: usize> KeepAliveSet<N> {
    /// A set in which nothing is enabled.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            table: Table::new(),
            backoff_micros: 0,
            backoff_until: Instant::ZERO,
        }
    }

    /// Keeps the connections of `handle` alive: the one it has, if any, and each it will have,
    /// by `connect` or by `listen`. If it is enabled already, this replaces its configuration,
    /// at once (K8); an equal one changes nothing.
    ///
    /// Enabling belongs to the handle and outlives its connections. Time counts, at the
    /// earliest, from the next [`poll`](Self::poll).
    ///
    /// A handle that turns out not to be that of a TCP socket is dropped at the next poll.
    ///
    /// # Errors
    ///
    /// [`EnableError::Full`], and [`EnableError::UnsupportedMedium`] once a poll has shown that.
    #[doc(alias = "SO_KEEPALIVE")]
    #[doc(alias = "set_keep_alive")]
    pub fn enable(&mut self, handle: SocketHandle, config: Config) -> Result<(), EnableError> {
        if self.table.link == Link::Unsupported {
            return Err(EnableError::UnsupportedMedium);
        }
        if self.table.enable(handle, config) {
            Ok(())
        } else {
            Err(EnableError::Full)
        }
    }

    /// Leaves `handle` to itself, at once: not one more probe. No effect if it is not enabled.
    ///
    /// Its place is free at once, or, if smoltcp still has to hand out a segment that it was asked
    /// for on behalf of the handle, when that has been swallowed.
    pub fn disable(&mut self, handle: SocketHandle) {
        self.table.disable(handle);
    }

    /// Polls the interface, and does what keep-alive has to do at `now`. Call it where
    /// `Interface::poll` would be called; the result means the same.
    ///
    /// The medium and the checksum capabilities of `device` are read at the first call, as smoltcp
    /// reads them when the interface is made.
    ///
    /// Afterwards see [`poll_event`](Self::poll_event), then [`poll_at`](Self::poll_at).
    pub fn poll<D: Device + ?Sized>(
        &mut self,
        now: time::Instant,
        iface: &mut Interface,
        device: &mut D,
        sockets: &mut SocketSet<'_>,
    ) -> PollResult {
        let at = instant_in(now);
        self.table.begin_poll(at);
        if self.table.link == Link::Unknown {
            self.table.meet(&device.capabilities());
        }
        if self.table.is_learning {
            self.table.forget_learning(sockets);
        }
        if self.table.asking.is_our_turn() {
            self.table.ask_first(now, iface, device, sockets);
        }
        let mut result = {
            let table = Cell::new(Some(&mut self.table));
            iface.poll(now, &mut Tap::new(device, &table), sockets)
        };
        self.table.settle_token();
        if self.table.wants_service() && self.table.serve(now, iface, device, sockets) {
            result = PollResult::SocketStateChanged;
        }
        if self.backoff_micros != 0 || self.table.is_device_stuck() {
            self.back_off(at);
        }
        result
    }

    /// When to call [`poll`](Self::poll) next, if no frame arrives before: the earlier of what
    /// the interface and what keep-alive wants. Call it where `Interface::poll_at` would be
    /// called. A moment that is not after `now` means at once.
    ///
    /// While the device takes no frame, what the interface wants is put off by 10 ms, then 20, up
    /// to 500: until the device has room again, polling achieves nothing. Wake the loop sooner if
    /// the device has an interrupt for that.
    #[must_use = "it says when to poll next"]
    pub fn poll_at(
        &mut self,
        now: time::Instant,
        iface: &mut Interface,
        sockets: &SocketSet<'_>,
    ) -> Option<time::Instant> {
        let ours = Some(self.table.wake_at)
            .filter(|wake_at| *wake_at != Instant::MAX)
            .map(instant_out);
        let stacks = iface.poll_at(now, sockets).map(|at| {
            if self.backoff_micros == 0 {
                at
            } else {
                // No longer than that from now, should the clock have stepped back.
                let longest = instant_in(now).plus_micros(self.backoff_micros);
                at.max(instant_out(self.backoff_until.min(longest)))
            }
        });
        match (ours, stacks) {
            (Some(ours), Some(stacks)) => Some(ours.min(stacks)),
            _ => ours.or(stacks),
        }
    }

    /// How long to wait before calling [`poll`](Self::poll) next, if no frame arrives before:
    /// [`poll_at`](Self::poll_at) relative to `now`.
    #[must_use = "it says when to poll next"]
    pub fn poll_delay(
        &mut self,
        now: time::Instant,
        iface: &mut Interface,
        sockets: &SocketSet<'_>,
    ) -> Option<time::Duration> {
        let at = instant_in(self.poll_at(now, iface, sockets)?);
        let micros = at.micros_since(instant_in(now));
        Some(time::Duration::from_micros(micros))
    }

    /// What there is to report, for each handle oldest first. Call it after
    /// [`poll`](Self::poll) until it is `None`; what is not read before the handle's next
    /// connection is lost.
    ///
    /// After [`Event::TimedOut`] the socket is closed and can be reused: the RST was sent, or, if
    /// the device or the neighbour would not take it, waits in the socket until that is reused.
    #[must_use = "an event is reported once"]
    pub fn poll_event(&mut self) -> Option<(SocketHandle, Event)> {
        self.table.poll_event()
    }

    /// Where the keep-alive of `handle` is; `None` if it is not enabled. While there is no
    /// connection it is [`State::Disabled`].
    #[must_use]
    pub fn state(&self, handle: SocketHandle) -> Option<State> {
        Some(self.slot(handle)?.machine.state())
    }

    /// The configuration of `handle`; `None` if it is not enabled.
    #[must_use]
    pub fn config(&self, handle: SocketHandle) -> Option<Config> {
        Some(self.slot(handle)?.machine.config())
    }

    /// What was counted since `handle` was enabled, over all its connections.
    #[must_use]
    pub fn stats(&self, handle: SocketHandle) -> Option<Stats> {
        Some(self.slot(handle)?.machine.stats())
    }

    /// When the peer of `handle` was last heard, in this connection or, until there is another,
    /// in the last one.
    #[must_use]
    pub fn last_heard(&self, handle: SocketHandle) -> Option<time::Instant> {
        self.slot(handle)?.machine.last_heard().map(instant_out)
    }

    /// How the last connection of `handle` ended; `None` while it has one or never had any.
    ///
    /// [`CloseReason::AddressLost`] leaves no trace on the wire, so it is noticed no sooner than
    /// the keep-alive would have been due.
    #[must_use]
    pub fn close_reason(&self, handle: SocketHandle) -> Option<CloseReason> {
        let Slot { ended, machine, .. } = self.slot(handle)?;
        let peer_reset = |while_probing| CloseReason::PeerReset { while_probing };
        match (*ended)? {
            Ended::PeerResetWhileProbing => Some(peer_reset(true)),
            Ended::PeerReset => Some(peer_reset(false)),
            Ended::Closed => Some(CloseReason::Closed),
            Ended::LocalAbort => Some(CloseReason::LocalAbort),
            Ended::AddressLost => Some(CloseReason::AddressLost),
            Ended::Verdict => machine.verdict().map(|verdict| match verdict.cause {
                Cause::KeepAlive => CloseReason::KeepAlive(verdict),
                Cause::UserTimeout => CloseReason::UserTimeout(verdict),
            }),
        }
    }

    /// The memory that one connection takes, in bytes, for those who plan theirs: the place in
    /// the table and its share of the index.
    pub const BYTES_PER_CONNECTION: usize = size_of::<Slot>() + Index::<N>::BYTES_PER_ENTRY;

    /// How much of that a received segment reads or writes, unless the peer is being probed. It
    /// lies together, at the beginning.
    pub const BYTES_TOUCHED_BY_SEGMENT: usize = Slot::BYTES_TOUCHED_BY_SEGMENT;

    fn slot(&self, handle: SocketHandle) -> Option<&Slot> {
        self.table.slot(handle)
    }

    /// smoltcp asks to be polled at once while anything waits for a device that takes nothing.
    #[cold]
    fn back_off(&mut self, now: Instant) {
        self.backoff_micros = if self.table.is_device_stuck() {
            self.backoff_micros
                .saturating_mul(2)
                .clamp(BACKOFF_FIRST_MICROS, BACKOFF_LAST_MICROS)
        } else {
            0
        };
        self.backoff_until = now.plus_micros(self.backoff_micros);
    }
}

impl<const N: usize> Default for KeepAliveSet<N> {
    fn default() -> Self {
        Self::new()
    }
}
