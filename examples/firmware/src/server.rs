//! A server: one socket of the pool. It sends back what it gets, and listens again when its
//! connection is over, whichever way.

use smoltcp::iface::{SocketHandle, SocketSet};
use smoltcp::socket::tcp;
use smoltcp::time::Duration;
use tcp_keepalive::smoltcp::CloseReason;

use crate::report::{Name, Report};

/// How long a handshake may take. Keep-alive watches over connections, not over what may become
/// one: without this, a peer that is lost in between would keep the socket.
const HANDSHAKE_LIMIT: Duration = Duration::from_secs(10);
/// How much is copied at once.
const CHUNK: usize = 256;

/// One socket of the pool.
#[derive(Debug)]
pub struct Server {
    handle: SocketHandle,
    name: Name,
    port: u16,
    phase: Phase,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    Idle,
    Listening,
    Connected,
}

impl Server {
    /// The server with this number, on a socket of its own.
    #[must_use]
    pub const fn new(number: u8, handle: SocketHandle, port: u16) -> Self {
        Self {
            handle,
            name: Name::Server(number),
            port,
            phase: Phase::Idle,
        }
    }

    /// Whose socket it is, if it is this server's.
    #[must_use]
    pub fn name_of(&self, handle: SocketHandle) -> Option<Name> {
        (self.handle == handle).then_some(self.name)
    }

    /// The socket.
    #[must_use]
    pub const fn handle(&self) -> SocketHandle {
        self.handle
    }

    /// Does what is due after a poll. `ended` is how the last connection ended, if it has.
    pub fn serve(
        &mut self,
        sockets: &mut SocketSet<'_>,
        ended: Option<CloseReason>,
        report: &mut impl FnMut(Report),
    ) {
        let socket = sockets.get_mut::<tcp::Socket<'_>>(self.handle);
        if self.phase == Phase::Listening && socket.may_send() {
            self.phase = Phase::Connected;
            socket.set_timeout(None);
            if let Some(remote) = socket.remote_endpoint() {
                report(Report::Connected(self.name, remote));
            }
        }
        if self.phase == Phase::Connected {
            echo(socket);
            if socket.state() == tcp::State::CloseWait && socket.send_queue() == 0 {
                socket.close();
            }
        }
        if !socket.is_open() {
            self.listen(socket, ended, report);
        }
    }

    fn listen(
        &mut self,
        socket: &mut tcp::Socket<'_>,
        ended: Option<CloseReason>,
        report: &mut impl FnMut(Report),
    ) {
        if self.phase == Phase::Connected {
            report(Report::Closed(
                self.name,
                ended.unwrap_or(CloseReason::Closed),
            ));
        }
        socket.set_timeout(Some(HANDSHAKE_LIMIT));
        self.phase = if socket.listen(self.port).is_ok() {
            report(Report::Listening(self.name));
            Phase::Listening
        } else {
            Phase::Idle
        };
    }
}

/// Sends back what has arrived, as far as there is room for it.
fn echo(socket: &mut tcp::Socket<'_>) {
    let mut chunk = [0; CHUNK];
    while socket.can_recv() && socket.can_send() {
        let room = socket.send_capacity() - socket.send_queue();
        let len = room.min(CHUNK);
        let Ok(len) = socket.recv_slice(&mut chunk[..len]) else {
            return;
        };
        if socket.send_slice(&chunk[..len]).is_err() {
            return;
        }
    }
}
