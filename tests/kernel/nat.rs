//! A router with a NAT that forgets soon, and a server behind it.

use std::net::{IpAddr, Ipv4Addr, TcpListener};

use crate::client::listen;
use crate::lab::Namespace;

/// Where the server is.
pub(crate) const SERVER: IpAddr = IpAddr::V4(Ipv4Addr::new(198, 51, 100, 2));

/// A router, to whose other side a TAP device can be attached, and a server.
pub(crate) struct Nat {
    pub(crate) router: Namespace,
    pub(crate) server: Namespace,
    pub(crate) listener: TcpListener,
}

impl Nat {
    /// A NAT that forgets a connection that is idle for three seconds, and does not guess its way
    /// back into what it has forgotten.
    pub(crate) fn new() -> Self {
        let router = Namespace::new();
        let server = Namespace::new();
        router.ip(&format!(
            "link add uplink type veth peer name uplink netns {}",
            server.name()
        ));
        router.ip("addr add 198.51.100.1/24 dev uplink");
        router.ip("link set uplink up");
        server.ip(&format!("addr add {SERVER}/24 dev uplink"));
        server.ip("link set uplink up");
        router.sysctl("ipv4/ip_forward", "1");
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
            }",
        );
        router.sysctl("netfilter/nf_conntrack_tcp_timeout_established", "3");
        router.sysctl("netfilter/nf_conntrack_tcp_loose", "0");
        let listener = server.enter(|| listen(SERVER));
        Self {
            router,
            server,
            listener,
        }
    }
}
