//! What there is to say.

use smoltcp::wire::IpEndpoint;
use tcp_keepalive::Event;
use tcp_keepalive::smoltcp::CloseReason;

/// Something that a log should have. The log is the caller's, and so are the words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Report {
    /// The cable was plugged in, or pulled.
    Link {
        /// Which of the two.
        is_up: bool,
    },
    /// Frames have arrived damaged; so many since the start.
    ReceiveErrors(u32),
    /// The client tries to connect.
    Connecting(IpEndpoint),
    /// The peer of the client wants no connection.
    Refused(IpEndpoint),
    /// The peer of the client does not answer.
    NoAnswer(IpEndpoint),
    /// A server waits for a client.
    Listening(Name),
    /// There is a connection.
    Connected(Name, IpEndpoint),
    /// The keep-alive of a connection has something to tell.
    KeepAlive(Name, Event),
    /// A connection has ended.
    Closed(Name, CloseReason),
}

/// Whose socket it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Name {
    /// The client's.
    Client,
    /// That of a server, which has a number.
    Server(u8),
}

#[cfg(feature = "board")]
impl defmt::Format for Name {
    fn format(&self, f: defmt::Formatter<'_>) {
        match self {
            Self::Client => defmt::write!(f, "client"),
            Self::Server(number) => defmt::write!(f, "server {}", number),
        }
    }
}
