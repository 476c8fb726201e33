//! Keep-alive for every connection of an `embassy-net` stack.
//!
//! Wrap the driver before it goes to `embassy_net::new`, and say which connections to keep alive.
//! In a typical application that is this much:
//!
//! ```diff
//! +static KEEP_ALIVE: State<8> = State::new();
//!
//!  let device = cyw43_or_any_other_driver;
//! +let (device, keep_alive) = tcp_keepalive::embassy_net::new(device, &KEEP_ALIVE)?;
//! +keep_alive.set_default(Some(Config::detect_within(Duration::from_secs(60))?));
//!  let (stack, runner) = embassy_net::new(device, config, resources, seed);
//! ```
//!
//! Once the peer is dead, `read` and `write` of its socket return `ConnectionReset`, at once,
//! whichever task waits in them. [`Control::close_reason`] tells that from a reset by the peer.
//!
//! # How it works
//!
//! [`Device`] wraps the driver and shows a [`Link`] every frame. It copies, delays and changes nothing.
//! The link finds each connection by its SYN. When the driver has no more frames, the device sends what
//! is due. After a verdict it sends one RST to the peer, and hands another one, as if from the peer, to
//! our own stack. All times are `embassy-time`'s. A sleeping runner wakes for a probe, and for nothing
//! else.
//!
//! # Policies
//!
//! The wrapper sees frames, not sockets, so you set policies instead of enabling sockets. Keep-alive is
//! off until a policy covers the connection (RFC 9293 3.8.4, MUST-25). The most specific policy
//! decides. From the most specific on, there is one for the connection itself ([`Control::set`]), its
//! remote endpoint, its remote port, its local port, and the default. `None` means off. A new policy
//! acts at once, also on open connections.
//!
//! # Caveats
//!
//! - Each connection takes one of `N` places from its SYN on, kept alive or not. It keeps the place
//!   after its end, until another connection needs it. Make `N` a few more than the sockets. A
//!   connection without a place is not kept alive, and [`Notice::Full`] says so.
//! - Wrap the driver before the stack runs: the link learns a connection's numbers from its SYN.
//! - The link does not watch a handshake. embassy-net's retransmissions and `set_timeout` do.
//! - embassy-net's `set_keep_alive` and `set_timeout` still work. If its timeout ends a connection, the
//!   reason is [`CloseReason::LocalAbort`].
//! - Close or abort a socket, and flush it, before you drop it. A dropped socket sends no frame, so its
//!   place stays taken until the peer's next segment, which the stack answers with a RST. Without a
//!   policy there are no probes that would draw one. Then the place goes to the next connection that
//!   has a policy and finds no other.

mod control;
mod driver;

use core::cell::RefCell;
use core::fmt;
use core::net::SocketAddr;

use embassy_net_driver::{Checksum, ChecksumCapabilities, Driver, HardwareAddress};
use embassy_sync::blocking_mutex::Mutex;
use embassy_sync::blocking_mutex::raw::{CriticalSectionRawMutex, RawMutex};

use self::control::Shared;
pub use self::control::{Control, PolicyError};
pub use self::driver::{Device, RxToken, TxToken};
use crate::Event;
pub use crate::link::CloseReason;
use crate::link::{self, Checksums, Medium, Tuple};

#[cfg(doc)]
use crate::link::Link;

/// What a [`Device`] and its [`Control`]s share: put it into a `static`.
///
/// A state serves one driver, for good: a firmware with two stacks has two.
///
/// `N` is the number of connections, and the number of policies besides the default. `M` is the
/// mutex: the default works from any task and any interrupt; `NoopRawMutex` does for an executor of
/// one thread, if the state is not in a `static`.
///
/// `W` is the number of words of an address: 4 for IPv4 and IPv6. If your embassy-net has no IPv6,
/// make it 1, which is 3.7 KiB of flash less: `State<8, CriticalSectionRawMutex, 1>`. IPv6 connections
/// are not seen then.
pub struct State<const N: usize, M: RawMutex = CriticalSectionRawMutex, const W: usize = 4> {
    shared: Mutex<M, RefCell<Shared<N, W>>>,
}

impl<const N: usize, M: RawMutex, const W: usize> State<N, M, W> {
    /// Makes a state in which no connection is kept alive.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            shared: Mutex::new(RefCell::new(Shared::new())),
        }
    }

    /// Runs `look` on what is shared. No look happens within another, so it always runs; were it
    /// not so, a frame would go unseen, and that is better than a panic.
    fn with<R: Default>(&self, look: impl FnOnce(&mut Shared<N, W>) -> R) -> R {
        self.shared.lock(|shared| match shared.try_borrow_mut() {
            Ok(mut shared) => look(&mut shared),
            Err(_) => R::default(),
        })
    }
}

impl<const N: usize, M: RawMutex, const W: usize> Default for State<N, M, W> {
    fn default() -> Self {
        Self::new()
    }
}

impl<const N: usize, M: RawMutex, const W: usize> fmt::Debug for State<N, M, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("State").finish_non_exhaustive()
    }
}

/// The two ends of a connection, seen from here.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Connection {
    /// Our endpoint.
    pub local: SocketAddr,
    /// The peer's endpoint.
    pub remote: SocketAddr,
}

impl Connection {
    /// Makes a connection of what embassy-net's `TcpSocket::local_endpoint` and `remote_endpoint`
    /// return, or of two [`SocketAddr`]s.
    pub fn new(local: impl Into<SocketAddr>, remote: impl Into<SocketAddr>) -> Self {
        Self {
            local: local.into(),
            remote: remote.into(),
        }
    }

    fn tuple<const W: usize>(&self) -> Option<Tuple<W>> {
        Tuple::new(self.local, self.remote)
    }
}

impl<const W: usize> From<Tuple<W>> for Connection {
    fn from(tuple: Tuple<W>) -> Self {
        Self::new(tuple.local(), tuple.remote())
    }
}

impl fmt::Display for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} to {}", self.local, self.remote)
    }
}

/// What there is to report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Notice {
    /// Something happened to a connection that is kept alive.
    Connection(Connection, Event),
    /// All `N` places are taken, so this connection is not kept alive. Reported once until a
    /// connection finds a place again; [`Control::untracked`] counts them all.
    Full(Connection),
}

/// Why a driver could not be wrapped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(feature = "defmt", derive(defmt::Format))]
#[non_exhaustive]
pub enum Error {
    /// The medium of the driver is neither Ethernet nor IP.
    UnsupportedMedium,
    /// The state was given to another driver, even if that is gone by now. Make one for each.
    InUse,
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::UnsupportedMedium => {
                "keep-alive works over Ethernet and IP, and this medium is neither"
            }
            Self::InUse => "the state belongs to another driver: make one for each",
        })
    }
}

impl core::error::Error for Error {}

/// Wraps `driver`. Give the [`Device`] to `embassy_net::new`, and the [`Control`] to the tasks.
///
/// The medium and the checksums of the driver are read here, once.
///
/// # Errors
///
/// [`Error::UnsupportedMedium`] for IEEE 802.15.4, and [`Error::InUse`] if `state` was given to
/// another driver.
pub fn new<D: Driver, const N: usize, M: RawMutex, const W: usize>(
    driver: D,
    state: &State<N, M, W>,
) -> Result<(Device<'_, D, N, M, W>, Control<'_, N, M, W>), Error> {
    let medium = match driver.hardware_address() {
        HardwareAddress::Ethernet(_) => Medium::Ethernet,
        HardwareAddress::Ip => Medium::Ip,
        _ => return Err(Error::UnsupportedMedium),
    };
    let checksums = checksums_in(&driver.capabilities().checksum);
    if !state.with(|shared| shared.begin(medium, checksums)) {
        return Err(Error::InUse);
    }
    Ok((Device::new(driver, state), Control::new(state)))
}

/// Which checksums the driver leaves to software.
fn checksums_in(theirs: &ChecksumCapabilities) -> Checksums {
    let of = |checksum: Checksum| match checksum {
        Checksum::Both => link::Checksum::Software,
        Checksum::Rx => link::Checksum::SoftwareOnReceive,
        Checksum::Tx => link::Checksum::SoftwareOnTransmit,
        Checksum::None => link::Checksum::Device,
    };
    Checksums {
        ipv4: of(theirs.ipv4),
        transport: of(theirs.tcp),
    }
}
