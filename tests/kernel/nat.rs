//! A NAT that forgets soon.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use crate::lab::Namespace;

/// How long a connection may be idle.
pub(crate) const FORGETS_AFTER: Duration = Duration::from_secs(3);
/// The host behind the NAT, as seen from the TAP device of the router.
pub(crate) const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 2));
const ROUTER: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 1));

/// A router that hides what is at its TAP device from the server at its uplink.
pub(crate) struct Nat {
    pub(crate) router: Namespace,
    pub(crate) server: Namespace,
}

impl Nat {
    pub(crate) fn new() -> Self {
        let router = Namespace::new();
        let server = Namespace::new();
        router.cable(&server, "uplink", [ROUTER, SERVER]);
        router.sysctl("ipv4/ip_forward", "1");
        // What it has forgotten it drops, in either direction.
        router.nft(
            "table ip nat {
                chain postrouting {
                    type nat hook postrouting priority srcnat
                    oifname uplink masquerade
                }
            }
            table ip filter {
                chain forward {
                    type filter hook forward priority filter
                    ct state invalid drop
                }
                chain input {
                    type filter hook input priority filter
                    ct state invalid drop
                }
            }",
        );
        let seconds = FORGETS_AFTER.as_secs().to_string();
        router.sysctl("netfilter/nf_conntrack_tcp_timeout_established", &seconds);
        // It does not guess its way back.
        router.sysctl("netfilter/nf_conntrack_tcp_loose", "0");
        Self { router, server }
    }
}
