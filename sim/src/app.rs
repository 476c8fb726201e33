//! What runs on a host.

use core::any::Any;
use core::fmt;

use ::smoltcp::iface::{Interface, SocketHandle, SocketSet};
use ::smoltcp::time::Instant;

use super::{Host, Rng};
use crate::Event;
use crate::smoltcp::KeepAliveSet;

/// The application of a [`Host`]: a type of yours, a closure that does what
/// [`poll`](Self::poll) says, or a [`Script`](super::Script).
///
/// ```
/// # use smoltcp::socket::tcp;
/// # use smoltcp::time::Instant;
/// # use tcp_keepalive_sim::{App, Context};
/// /// Sends back what it receives, on all sockets there are.
/// fn echo(cx: &mut Context<'_>) -> Option<Instant> {
///     for (_, socket) in cx.sockets.iter_mut() {
///         let smoltcp::socket::Socket::Tcp(socket) = socket else { continue };
///         let mut buffer = [0; 64];
///         while socket.can_recv() && socket.can_send() {
///             let room = 64.min(socket.send_capacity() - socket.send_queue());
///             let len = socket.recv_slice(&mut buffer[..room]).unwrap_or(0);
///             let _ = socket.send_slice(&buffer[..len]);
///         }
///     }
///     None
/// }
/// # let _: Box<dyn App> = Box::new(echo);
/// ```
pub trait App: Any {
    /// The host was switched on: makes the sockets. Here an application
    /// forgets what an earlier life left in `self`, if it has to.
    fn start(&mut self, _cx: &mut Context<'_>) {}

    /// Called after each poll of the interface. Returns when to be called again at the latest, by
    /// the host's clock since its [epoch](Host::epoch), or `None` if there is nothing to wait for
    /// but frames.
    fn poll(&mut self, cx: &mut Context<'_>) -> Option<Instant>;
}

impl<F: FnMut(&mut Context<'_>) -> Option<Instant> + 'static> App for F {
    fn poll(&mut self, cx: &mut Context<'_>) -> Option<Instant> {
        self(cx)
    }
}

/// What an application has at hand.
pub struct Context<'h> {
    /// What the host's clock shows, since its [epoch](Host::epoch).
    pub now: Instant,
    /// The interface.
    pub iface: &'h mut Interface,
    /// The sockets.
    pub sockets: &'h mut SocketSet<'static>,
    /// The keep-alive of the interface. It does nothing on a [plain](Host::plain) host.
    pub keep_alive: &'h mut KeepAliveSet<{ Host::CONNECTIONS }>,
    /// What the keep-alive has reported since the last call.
    pub events: &'h [(SocketHandle, Event)],
    /// The host's own luck.
    pub rng: &'h mut Rng,
    pub(super) remarks: &'h mut Vec<String>,
}

impl Context<'_> {
    /// Writes a line of your own into the trace.
    pub fn remark(&mut self, text: impl Into<String>) {
        self.remarks.push(text.into());
    }
}

impl fmt::Debug for Context<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            now,
            iface: _,
            sockets: _,
            keep_alive: _,
            events,
            rng: _,
            remarks: _,
        } = self;
        f.debug_struct("Context")
            .field("now", now)
            .field("events", events)
            .finish_non_exhaustive()
    }
}

/// An application that does nothing.
pub(super) struct Nothing;

impl App for Nothing {
    fn poll(&mut self, _: &mut Context<'_>) -> Option<Instant> {
        None
    }
}
