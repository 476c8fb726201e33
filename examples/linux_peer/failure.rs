//! What can go wrong before there is a connection, or with the device.

use std::fmt;
use std::io;
use std::net::SocketAddr;

/// Why there is no connection, and what can be done about it.
pub(crate) enum Failure {
    NoDevice(String),
    NotTap(String),
    Device(String, io::Error),
    DeviceDown(String),
    DeviceGone(String),
    Wait(io::Error),
    Unreachable(SocketAddr),
    Refused(SocketAddr),
    NoAnswer(SocketAddr),
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoDevice(tap) => write!(
                f,
                "there is no device `{tap}`; make one with \
                 `sudo ip tuntap add {tap} mode tap user $USER` (see --help for the rest)"
            ),
            Self::NotTap(tap) => write!(
                f,
                "`{tap}` is not a TAP device; make one under another name (see --help)"
            ),
            Self::Device(tap, error) => match error.kind() {
                io::ErrorKind::PermissionDenied => write!(
                    f,
                    "you may not open `{tap}`; be root, or have it made anew with `user $USER`, \
                     and see that /dev/net/tun is open to you"
                ),
                io::ErrorKind::ResourceBusy => {
                    write!(f, "`{tap}` is in use by another program; stop that first")
                }
                io::ErrorKind::NotFound => {
                    f.write_str("there is no /dev/net/tun; load the kernel's module `tun`")
                }
                _ => write!(f, "`{tap}` cannot be opened: {error}"),
            },
            Self::DeviceDown(tap) => write!(f, "`{tap}` is down; `sudo ip link set {tap} up`"),
            Self::DeviceGone(tap) => write!(f, "`{tap}` was removed while in use; make it anew"),
            Self::Wait(error) => write!(f, "the device cannot be waited for: {error}"),
            Self::Unreachable(peer) => write!(f, "{peer} cannot be connected to; see --local"),
            Self::Refused(peer) => write!(
                f,
                "{peer} refused the connection; start a server there, such as `nc -l -p {}`",
                peer.port()
            ),
            Self::NoAnswer(peer) => write!(
                f,
                "{peer} did not answer within 10 s; check that the address is the \
                 device's (`ip addr`) or behind --gateway, and the host's firewall"
            ),
        }
    }
}
