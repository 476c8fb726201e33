//! What runs on either host.

use smoltcp::socket::{AnySocket, tcp};
use smoltcp::time::Instant;
use tcp_keepalive::Event;
use tcp_keepalive_sim::{App, Context};

/// Something that the application does the moment it reads of a verdict.
pub type OnVerdict = Box<dyn FnMut(&mut tcp::Socket<'static>)>;

#[derive(Default)]
pub struct Application {
    /// Reads, and forgets, all that arrives.
    pub drains: bool,
    pub on_verdict: Option<OnVerdict>,
}

impl App for Application {
    fn poll(&mut self, cx: &mut Context<'_>) -> Option<Instant> {
        for (handle, event) in cx.events {
            if let (Event::TimedOut(_), Some(react)) = (event, &mut self.on_verdict) {
                react(cx.sockets.get_mut(*handle));
            }
        }
        if self.drains {
            drain(cx);
        }
        None
    }
}

fn drain(cx: &mut Context<'_>) {
    let sockets = cx.sockets.iter_mut();
    for socket in sockets.filter_map(|(_, socket)| tcp::Socket::downcast_mut(socket)) {
        if socket.can_recv() {
            let _ = socket.recv(|data| (data.len(), ()));
        }
    }
}
