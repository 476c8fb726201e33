//! The client: it says hello, stays connected to its peer, and connects again when that has ended.

use smoltcp::iface::{Context, SocketHandle, SocketSet};
use smoltcp::socket::tcp;
use smoltcp::time::{Duration, Instant};
use smoltcp::wire::IpEndpoint;
use tcp_keepalive::smoltcp::CloseReason;

use crate::report::{Name, Report};

/// The longest that connecting may take. Keep-alive watches over connections, not over this.
const CONNECT_LIMIT: Duration = Duration::from_secs(5);
/// The dynamic ports: none of them is registered.
const FIRST_PORT: u16 = 49_152;
const HELLO: &[u8] = b"hello from the firmware\n";

/// A client of one peer.
#[derive(Debug)]
pub struct Client {
    handle: SocketHandle,
    peer: IpEndpoint,
    /// Each connection has another one, so that the peer does not confuse them.
    port: u16,
    retry: Duration,
    phase: Phase,
}

#[derive(Clone, Copy, Debug)]
enum Phase {
    Waiting { until: Instant },
    Connecting { until: Instant },
    Connected,
}

impl Client {
    /// A client that connects to `peer`, and waits for as long as `retry` before it does so again.
    /// It begins with a port that `seed` decides: a device that has restarted should not use the
    /// one it used before.
    #[must_use]
    pub const fn new(handle: SocketHandle, peer: IpEndpoint, retry: Duration, seed: u64) -> Self {
        let [low, high, ..] = seed.to_le_bytes();
        Self {
            handle,
            peer,
            port: FIRST_PORT | u16::from_le_bytes([low, high]),
            retry,
            phase: Phase::Waiting {
                until: Instant::ZERO,
            },
        }
    }

    /// The socket.
    #[must_use]
    pub const fn handle(&self) -> SocketHandle {
        self.handle
    }

    /// When there is something to be done even if nothing happens.
    #[must_use]
    pub const fn poll_at(&self) -> Option<Instant> {
        match self.phase {
            Phase::Waiting { until } | Phase::Connecting { until } => Some(until),
            Phase::Connected => None,
        }
    }

    /// Does what is due after a poll. `ended` is how the last connection ended, if it has.
    pub fn serve(
        &mut self,
        now: Instant,
        context: &mut Context,
        sockets: &mut SocketSet<'_>,
        ended: Option<CloseReason>,
        report: &mut impl FnMut(Report),
    ) {
        let socket = sockets.get_mut::<tcp::Socket<'_>>(self.handle);
        match self.phase {
            Phase::Waiting { until } if now >= until => {
                self.connect(now, context, socket, report);
            }
            Phase::Waiting { .. } => {}
            Phase::Connecting { until } => {
                if socket.may_send() {
                    report(Report::Connected(Name::Client, self.peer));
                    self.phase = Phase::Connected;
                    greet(socket);
                } else if !socket.is_open() {
                    self.wait(now, Report::Refused(self.peer), report);
                } else if now >= until {
                    socket.abort();
                    self.wait(now, Report::NoAnswer(self.peer), report);
                }
            }
            Phase::Connected => {
                read(socket);
                if socket.state() == tcp::State::CloseWait {
                    socket.close();
                }
                if !socket.is_open() {
                    let reason = ended.unwrap_or(CloseReason::Closed);
                    self.wait(now, Report::Closed(Name::Client, reason), report);
                }
            }
        }
    }

    fn connect(
        &mut self,
        now: Instant,
        context: &mut Context,
        socket: &mut tcp::Socket<'_>,
        report: &mut impl FnMut(Report),
    ) {
        report(Report::Connecting(self.peer));
        self.port = self.port.checked_add(1).unwrap_or(FIRST_PORT);
        match socket.connect(context, self.peer, self.port) {
            Ok(()) => {
                let until = now + CONNECT_LIMIT;
                self.phase = Phase::Connecting { until };
            }
            // There is no way to it from the address we have.
            Err(_) => self.wait(now, Report::NoAnswer(self.peer), report),
        }
    }

    fn wait(&mut self, now: Instant, because: Report, report: &mut impl FnMut(Report)) {
        report(because);
        let until = now + self.retry;
        self.phase = Phase::Waiting { until };
    }
}

fn greet(socket: &mut tcp::Socket<'_>) {
    // A connection that is new has room for it, and one that has just ended is seen to next time.
    let _ = socket.send_slice(HELLO);
}

/// What the peer says does not matter here, but would fill the buffer.
fn read(socket: &mut tcp::Socket<'_>) {
    while socket.can_recv() {
        if socket.recv(|data| (data.len(), ())).is_err() {
            return;
        }
    }
}
