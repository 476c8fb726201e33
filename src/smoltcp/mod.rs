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
//! During a poll the set wraps the device and shows a [`Link`] every frame. It copies, delays and
//! changes nothing. When the device has no more frames, the wrapper sends what is due: whole
//! frames, to the address that smoltcp used last. After a verdict it sends one RST to the peer, and
//! hands another one, as if from the peer, to smoltcp. So the socket is closed when
//! [`poll`](KeepAliveSet::poll) returns, and you can reuse it at once.
//!
//! # Caveats
//!
//! - The set does not see frames that pass [`Interface::poll`] directly. Where you call that, give it
//!   the device that [`wrap`](KeepAliveSet::wrap) returns.
//! - smoltcp reuses handles. [`disable`](KeepAliveSet::disable) a handle before you remove its socket
//!   from the socket set, or the next socket in that place inherits the keep-alive.
//! - The set does not watch a handshake. smoltcp's retransmissions and `set_timeout` do.
//! - If you abort a socket and have it listen again between two polls, no frame passes. The set notices
//!   at the next connection, or when a probe falls due.
//! - smoltcp's `set_keep_alive` and `set_timeout` still work. With both keep-alives on, the peer gets
//!   both kinds of probes. If smoltcp's timeout ends a connection, the reason is
//!   [`CloseReason::LocalAbort`].
//! - While the device cannot transmit, smoltcp asks for a poll at once, for ever.
//!   [`poll_at`](KeepAliveSet::poll_at) here slows that down.

pub(crate) mod convert;
mod device;

use core::fmt;

use ::smoltcp::iface::{Interface, PollResult, SocketHandle, SocketSet};
use ::smoltcp::phy;
use ::smoltcp::socket::{AnySocket, tcp};
use ::smoltcp::time;
use ::smoltcp::wire::{IpAddress, IpCidr};
use heapless::Vec;

use self::convert::{address_in, checksums_in, instant_in, instant_out, medium_in};
pub use self::device::{Device, RxToken, TxToken};
use self::device::{Progress, Step};
pub use crate::link::CloseReason;
use crate::link::{self, Ending, Id, Link, MAX_FRAME_LEN, Tuple};
use crate::{Config, Event, Instant, State, Stats};

/// The least and the longest time for which a device that cannot transmit is left alone.
const BACKOFF_FIRST_MILLIS: u32 = 10;
const BACKOFF_LAST_MILLIS: u32 = 500;

/// The words of an address, as smoltcp was built: with IPv6 or without.
const WORDS: usize = if size_of::<IpAddress>() > 4 { 4 } else { 1 };

/// Keep-alive for up to `N` sockets of one smoltcp interface.
///
/// See the [module](self) for how to use it. `N` is the number of handles that can be enabled at
/// the same time; there is no allocation.
pub struct KeepAliveSet<const N: usize> {
    link: Link<N, WORDS>,
    /// Whose connections they are.
    handles: Vec<SocketHandle, N>,
    /// A frame of ours, on its way out or to the stack.
    frame: [u8; MAX_FRAME_LEN],
    progress: Progress,
    device: Known,
    /// The interface's addresses as they were at the last poll, folded into a word.
    addresses: u32,
    backoff_millis: u32,
}

/// What is known of the device.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Known {
    Nothing,
    Supported,
    /// IEEE 802.15.4: the link can write no frames for it.
    Unsupported,
}

/// Why a handle could not be enabled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum EnableError {
    /// All `N` places are taken. Disable a handle first, or make the set larger.
    Full,
    /// The interface's medium is neither Ethernet nor IP. Known from the first poll on.
    UnsupportedMedium,
}

impl fmt::Display for EnableError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "all places of the keep-alive set are taken",
            Self::UnsupportedMedium => {
                "keep-alive works over Ethernet and IP, and this medium is neither"
            }
        })
    }
}

impl core::error::Error for EnableError {}

impl<const N: usize> KeepAliveSet<N> {
    /// Makes a set in which nothing is enabled.
    #[must_use]
    pub const fn new() -> Self {
        const {
            Self {
                link: Link::new(),
                handles: Vec::new(),
                frame: [0; MAX_FRAME_LEN],
                progress: Progress::None,
                device: Known::Nothing,
                addresses: 0,
                backoff_millis: 0,
            }
        }
    }

    /// Keeps the connections of `handle` alive: the one it has, if any, and each it will have,
    /// by `connect` or by `listen`. If it is enabled already, this replaces its configuration,
    /// at once (K8); an equal one changes nothing.
    ///
    /// Enabling belongs to the handle and outlives its connections. Time counts, at the
    /// earliest, from the next [`poll`](Self::poll).
    ///
    /// If the handle is not that of a TCP socket, the next poll disables it and reports
    /// [`Event::NoSocket`].
    ///
    /// # Errors
    ///
    /// [`EnableError::Full`], and [`EnableError::UnsupportedMedium`] once a poll has shown that.
    #[doc(alias = "SO_KEEPALIVE")]
    #[doc(alias = "set_keep_alive")]
    #[inline(never)]
    pub fn enable(&mut self, handle: SocketHandle, config: Config) -> Result<(), EnableError> {
        if self.device == Known::Unsupported {
            return Err(EnableError::UnsupportedMedium);
        }
        if let Some(id) = self.id(handle) {
            self.link.set_config(id, config);
            return Ok(());
        }
        let id = self.link.add(config).ok_or(EnableError::Full)?;
        // The link hands out the lowest place that is free.
        match self.handles.get_mut(id.0) {
            Some(place) => *place = handle,
            None => self.handles.push(handle).map_err(|_| EnableError::Full)?,
        }
        Ok(())
    }

    /// Leaves `handle` to itself, at once: not one more probe. No effect if it is not enabled.
    pub fn disable(&mut self, handle: SocketHandle) {
        if let Some(id) = self.id(handle) {
            self.link.remove(id);
        }
    }

    /// Polls the interface, and does what keep-alive has to do at `now`. Call it where
    /// `Interface::poll` would be called; the result means the same.
    ///
    /// The medium and the checksum capabilities of `device` are read at the first call, as smoltcp
    /// reads them when the interface is made.
    ///
    /// Afterwards see [`poll_event`](Self::poll_event), then [`poll_at`](Self::poll_at).
    pub fn poll<D: phy::Device + ?Sized>(
        &mut self,
        now: time::Instant,
        iface: &mut Interface,
        device: &mut D,
        sockets: &mut SocketSet<'_>,
    ) -> PollResult {
        let at = instant_in(now);
        self.link.handle_now(at);
        let mut step = Step::Idle;
        let addresses = fold(iface);
        if addresses != self.addresses {
            self.addresses = addresses;
            self.link.note_change();
        }
        if self.link.is_due_now() {
            self.follow(at, iface, sockets);
            step = Step::Receive;
        }
        self.meet(device);
        let mut result = iface.poll(now, &mut Device::new(self, device, step), sockets);
        if self.link.has_work() {
            if self.follow(at, iface, sockets) {
                result = PollResult::SocketStateChanged;
            }
            Device::new(self, device, step).serve(now);
        }
        if self.progress != Progress::None || self.backoff_millis != 0 {
            self.back_off();
        }
        result
    }

    /// Returns `device` so wrapped that the set sees every frame. Give it to `Interface::poll`,
    /// `poll_ingress_single` or `poll_egress` wherever they are called directly; and go on calling
    /// [`poll`](Self::poll), which alone sees the sockets and sends frames of ours.
    #[inline]
    pub fn wrap<'a, D: phy::Device + ?Sized>(&'a mut self, device: &'a mut D) -> Device<'a, D, N> {
        self.meet(device);
        Device::new(self, device, Step::Watch)
    }

    /// Returns when to call [`poll`](Self::poll) next, if no frame arrives before: the earlier of what
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
        let at = self.poll_again(now, iface, sockets);
        (at != Instant::MAX).then(|| instant_out(at))
    }

    /// [`poll_at`](Self::poll_at), and [`Instant::MAX`] for never.
    #[inline(never)]
    fn poll_again(
        &self,
        now: time::Instant,
        iface: &mut Interface,
        sockets: &SocketSet<'_>,
    ) -> Instant {
        let mut at = self.link.serve_at();
        if let Some(stacks) = iface.poll_at(now, sockets) {
            let mut stacks = instant_in(stacks);
            if self.backoff_millis != 0 {
                let until = instant_in(now).plus_millis(self.backoff_millis);
                stacks = stacks.max(until);
            }
            at = at.min(stacks);
        }
        at
    }

    /// Returns how long to wait before calling [`poll`](Self::poll) next, if no frame arrives before:
    /// [`poll_at`](Self::poll_at) relative to `now`.
    #[must_use = "it says when to poll next"]
    pub fn poll_delay(
        &mut self,
        now: time::Instant,
        iface: &mut Interface,
        sockets: &SocketSet<'_>,
    ) -> Option<time::Duration> {
        let at = self.poll_again(now, iface, sockets);
        let micros = at.micros_since(instant_in(now));
        (at != Instant::MAX).then_some(time::Duration::from_micros(micros))
    }

    /// Returns the next event, for each handle oldest first. Call it after
    /// [`poll`](Self::poll) until it is `None`; what is not read before the handle's next
    /// connection is lost.
    ///
    /// Each end of a connection is an event: [`Event::TimedOut`], or else [`Event::Closed`].
    ///
    /// After [`Event::TimedOut`] the socket is closed and can be reused. The peer's RST was sent, or,
    /// if the device had no room, waits here.
    #[must_use = "an event is reported once"]
    pub fn poll_event(&mut self) -> Option<(SocketHandle, Event)> {
        let (id, event) = self.link.poll_event()?;
        Some((*self.handles.get(id.0)?, event))
    }

    /// Returns where the keep-alive of `handle` is; `None` if it is not enabled. While there is no
    /// connection it is [`State::Disabled`].
    #[must_use]
    pub fn state(&self, handle: SocketHandle) -> Option<State> {
        self.link.state(self.id(handle)?)
    }

    /// Returns the configuration of `handle`; `None` if it is not enabled.
    #[must_use]
    pub fn config(&self, handle: SocketHandle) -> Option<Config> {
        self.link.config(self.id(handle)?)
    }

    /// Returns what was counted since `handle` was enabled, over all its connections.
    #[must_use]
    pub fn stats(&self, handle: SocketHandle) -> Option<Stats> {
        self.link.stats(self.id(handle)?)
    }

    /// Returns when the peer of `handle` was last heard, in this connection or, until there is
    /// another, in the last one.
    #[must_use]
    pub fn last_heard(&self, handle: SocketHandle) -> Option<time::Instant> {
        self.link.last_heard(self.id(handle)?).map(instant_out)
    }

    /// Returns how the last connection of `handle` ended; `None` while it has one or never had any.
    #[must_use]
    pub fn close_reason(&self, handle: SocketHandle) -> Option<CloseReason> {
        self.link.close_reason(self.id(handle)?)
    }

    /// Returns whether `handle` is enabled.
    #[must_use]
    pub fn is_enabled(&self, handle: SocketHandle) -> bool {
        self.id(handle).is_some()
    }

    /// Returns the handles that are enabled, and where their keep-alive is.
    pub fn iter(&self) -> impl Iterator<Item = (SocketHandle, State)> + '_ {
        (0..N).filter_map(|index| {
            let handle = *self.handles.get(index)?;
            Some((handle, self.link.state(Id(index))?))
        })
    }

    /// Returns how many handles are enabled.
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter()
            .fold(0, |count: usize, _| count.saturating_add(1))
    }

    /// Returns whether no handle is enabled.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.iter().next().is_none()
    }

    /// Returns how many handles can be enabled at the same time: `N`.
    #[must_use]
    pub const fn capacity(&self) -> usize {
        N
    }

    /// The memory that one connection takes, in bytes, for those who plan theirs.
    pub const BYTES_PER_CONNECTION: usize =
        Link::<N, WORDS>::BYTES_PER_CONNECTION + size_of::<SocketHandle>();

    /// How much of that a received segment reads or writes, unless the peer is being probed. It
    /// lies together, at the beginning.
    pub const BYTES_TOUCHED_BY_SEGMENT: usize = Link::<N, WORDS>::BYTES_TOUCHED_BY_SEGMENT;

    fn id(&self, handle: SocketHandle) -> Option<Id> {
        let is_its = |id: &Id| self.handles.get(id.0) == Some(&handle) && self.link.is_taken(*id);
        (0..N).map(Id).find(is_its)
    }

    /// Learns what the device can do, when it is seen for the first time.
    fn meet<D: phy::Device + ?Sized>(&mut self, device: &D) {
        if self.device == Known::Nothing {
            self.learn(&device.capabilities());
        }
    }

    fn learn(&mut self, capabilities: &phy::DeviceCapabilities) {
        self.device = match medium_in(capabilities) {
            Some(medium) => {
                self.link
                    .set_capabilities(medium, checksums_in(capabilities));
                Known::Supported
            }
            None => Known::Unsupported,
        };
    }

    /// Brings the connections up to date with their sockets. Returns whether it closed one.
    fn follow(&mut self, now: Instant, iface: &Interface, sockets: &mut SocketSet<'_>) -> bool {
        let is_changed = self.link.take_change();
        let is_ours = |address| {
            let mut addresses = iface.ip_addrs().iter();
            iface.any_ip() || addresses.any(|cidr| address_in(cidr.address()) == address)
        };
        let mut has_closed = false;
        for id in (0..N).map(Id) {
            let Some(handle) = self.handles.get(id.0) else {
                break;
            };
            if !self.link.is_to_follow(id, now, is_changed) {
                continue;
            }
            let socket = sockets.iter_mut().find(|(other, _)| other == handle);
            let Some(socket) =
                socket.and_then(|(_, socket)| <tcp::Socket<'_>>::downcast_mut(socket))
            else {
                // It is not in the socket set any more, or is not a TCP socket.
                self.link.reject(id);
                continue;
            };
            let mut facts = socket_in(socket);
            let octets = socket.recv_capacity().max(socket.send_capacity());
            let buffers = u32::try_from(octets).unwrap_or(u32::MAX);
            let tuple = match facts {
                link::Socket::Closed(_) => self.link.tuple(id),
                link::Socket::Opening(tuple) | link::Socket::Open(tuple) => Some(tuple),
            };
            if is_changed
                && let Some(tuple) = tuple
                && !is_ours(tuple.local_addr())
            {
                // smoltcp has closed it, or will in this poll, without a word.
                facts = link::Socket::Closed(Ending::AddressLost);
            }
            if self.link.follow(now, id, facts, buffers, is_busy(socket)) {
                socket.abort();
                has_closed = true;
            } else if self.link.needs_numbers(now, id) {
                if socket.keep_alive().is_none() && !is_busy(socket) {
                    // It writes one keep-alive, in whose place our probe leaves, and goes on as it was.
                    socket.set_keep_alive(Some(time::Duration::ZERO));
                    socket.set_keep_alive(None);
                } else if self.backoff_millis == 0 {
                    // Its timer runs for something else, and the numbers come with that.
                    self.link.put_off(now, id);
                }
            }
        }
        has_closed
    }

    /// Takes note that the device refused a frame.
    fn note_refused(&mut self) {
        if self.progress != Progress::Sent {
            self.progress = Progress::Refused;
        }
    }

    /// smoltcp asks to be polled at once while anything waits for a device that takes nothing.
    #[cold]
    fn back_off(&mut self) {
        self.backoff_millis = if self.progress == Progress::Refused {
            self.backoff_millis
                .wrapping_mul(2)
                .clamp(BACKOFF_FIRST_MILLIS, BACKOFF_LAST_MILLIS)
        } else {
            0
        };
        self.progress = Progress::None;
    }
}

impl<const N: usize> fmt::Debug for KeepAliveSet<N> {
    /// The handles that are enabled, each with its state.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.iter()).finish()
    }
}

impl<const N: usize> Default for KeepAliveSet<N> {
    fn default() -> Self {
        Self::new()
    }
}

/// The interface's addresses, folded into a word: a change is noticed without a copy of them.
fn fold(iface: &Interface) -> u32 {
    let add = |sum: u32, cidr: &IpCidr| sum.rotate_left(5) ^ address_in(cidr.address()).fold();
    match iface.ip_addrs() {
        // Most have one: no loop.
        [cidr] => add(0, cidr),
        addresses => addresses.iter().fold(0, add),
    }
}

/// What the link has to know of a socket.
#[inline(never)]
fn socket_in(socket: &tcp::Socket<'_>) -> link::Socket<WORDS> {
    let (Some(local), Some(remote)) = (socket.local_endpoint(), socket.remote_endpoint()) else {
        return link::Socket::Closed(Ending::Unknown);
    };
    let tuple = Tuple::from_parts(
        address_in(local.addr),
        local.port,
        address_in(remote.addr),
        remote.port,
    );
    match socket.state() {
        tcp::State::Closed | tcp::State::Listen => link::Socket::Closed(Ending::Unknown),
        tcp::State::TimeWait => link::Socket::Closed(Ending::Closed),
        tcp::State::SynSent | tcp::State::SynReceived => link::Socket::Opening(tuple),
        _ => link::Socket::Open(tuple),
    }
}

/// Whether data or a FIN is queued or not acknowledged. The socket knows best: it has seen every
/// acknowledgement, and believed none that it should not.
fn is_busy(socket: &tcp::Socket<'_>) -> bool {
    socket.send_queue() > 0
        || matches!(
            socket.state(),
            tcp::State::FinWait1 | tcp::State::Closing | tcp::State::LastAck
        )
}
