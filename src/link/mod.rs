//! The frame engine: keep-alive for the connections of one link, whatever the stack.
//!
//! [`Link`] sees every frame of a link, both ways. It knows the connections by their frames, and
//! writes whole frames of its own: probes, the RST of a verdict, questions for a neighbour. It
//! knows no stack: an adapter shows it the frames and carries those that it writes.
//!
//! Most users want an adapter: `tcp_keepalive::smoltcp` is one. Use [`Link`] for another stack, or one
//! of your own:
//!
//! ```
//! use core::net::SocketAddr;
//! use core::time::Duration;
//! use tcp_keepalive::link::{
//!     Checksum, Checksums, CloseReason, Link, MAX_FRAME_LEN, Medium, Socket, Tuple,
//! };
//! use tcp_keepalive::{Config, Instant};
//!
//! /// An acknowledgement from 192.0.2.1:4096 to 192.0.2.2:80, as the stack writes it. On this link
//! /// the device computes the checksums.
//! fn ack(seq: u8, ack: u8) -> [u8; 40] {
//!     [
//!         0x45, 0, 0, 40, 0, 0, 0, 0, 64, 6, 0, 0, 192, 0, 2, 1, 192, 0, 2, 2, // IPv4
//!         16, 0, 0, 80, 0, 0, 0, seq, 0, 0, 0, ack, 0x50, 0x10, 4, 0, 0, 0, 0, 0, // TCP
//!     ]
//! }
//!
//! # fn main() -> Result<(), Box<dyn core::error::Error>> {
//! let at = |seconds: u64| Instant::from_millis(seconds * 1000);
//! let config = Config::new(Duration::from_secs(10), Duration::from_secs(2), 3)?;
//! let device = Checksums { ipv4: Checksum::Device, transport: Checksum::Device };
//! let mut link = Link::<8, 1>::new();
//! link.set_capabilities(Medium::Ip, device);
//!
//! // The application opens a connection, and the stack completes the handshake.
//! let local: SocketAddr = "192.0.2.1:4096".parse()?;
//! let remote: SocketAddr = "192.0.2.2:80".parse()?;
//! let tuple = Tuple::new(local, remote).ok_or("not IPv4")?;
//! let id = link.add(config).ok_or("the link is full")?;
//! link.follow(at(0), id, Socket::Opening(tuple), 1024, false);
//! link.handle_sent(at(0), &ack(101, 201));
//! link.take_change();
//!
//! // The peer is silent from then on.
//! let mut out = [0; MAX_FRAME_LEN];
//! let mut frames = Vec::new();
//! while let Some(now) = link.poll_timeout() {
//!     link.follow(now, id, Socket::Open(tuple), 1024, false);
//!     link.handle_timeout(now);
//!     while let Some(len) = link.poll_receive(&mut out) {
//!         assert_eq!(out[len - 7], 0x14); // to the stack: a RST, which closes the socket
//!     }
//!     while let Some(len) = link.poll_transmit(now, &mut out) {
//!         frames.push(out[..len].to_vec()); // to the device, which takes it
//!         link.handle_transmitted(now);
//!     }
//!     while let Some((_, event)) = link.poll_event() {
//!         println!("{event:?}");
//!     }
//!     if link.take_change() {
//!         break;
//!     }
//! }
//! // Three probes at SND.NXT - 1, and a RST at SND.NXT.
//! assert_eq!(frames.iter().map(|frame| frame[27]).collect::<Vec<_>>(), [100, 100, 100, 101]);
//! assert!(matches!(link.close_reason(id), Some(CloseReason::KeepAlive(_))));
//! # Ok(())
//! # }
//! ```

mod connection;
mod engine;
mod frame;
mod neighbor;
mod opening;

pub use connection::{CloseReason, Ending};
pub use engine::{Id, Link, Socket};
#[cfg(feature = "smoltcp")]
pub(crate) use frame::Address;
pub use frame::{Checksum, Checksums, MAX_FRAME_LEN, Medium, Tuple};

#[cfg(all(test, feature = "smoltcp"))]
mod tests;
