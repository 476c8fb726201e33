//! All that the images differ in.

#[cfg(not(feature = "ours"))]
pub(crate) use stacks::Keeper;

#[cfg(feature = "ours")]
pub(crate) use ours::Keeper;

/// Longer than smoltcp remembers a neighbour: before a probe leaves, its address is asked for.
#[allow(dead_code, reason = "of interest to those who keep alive")]
const IDLE_SECS: u64 = 70;
#[allow(dead_code, reason = "of interest to those who give up")]
const TIMEOUT_SECS: u64 = 90;

/// How many of two dead peers are given up; one of them dies while data is in flight.
#[allow(dead_code, reason = "of interest where peers die")]
pub(crate) const VERDICTS: u32 = if cfg!(any(feature = "theirs", feature = "user-timeout")) {
    2
} else if cfg!(feature = "ours") {
    1
} else {
    0
};

/// Whatever smoltcp does by itself.
#[cfg(not(feature = "ours"))]
mod stacks {
    use smoltcp::iface::{Interface, SocketHandle, SocketSet};
    use smoltcp::phy::Device;
    use smoltcp::socket::tcp;
    use smoltcp::time::{Duration, Instant};

    use super::{IDLE_SECS, TIMEOUT_SECS};

    pub(crate) struct Keeper;

    impl Keeper {
        pub(crate) fn new(handles: &[SocketHandle], sockets: &mut SocketSet<'_>) -> Self {
            if cfg!(feature = "theirs") {
                for &handle in handles {
                    let socket = sockets.get_mut::<tcp::Socket>(handle);
                    socket.set_keep_alive(Some(Duration::from_secs(IDLE_SECS)));
                    socket.set_timeout(Some(Duration::from_secs(TIMEOUT_SECS)));
                }
            }
            Self
        }

        #[expect(clippy::unused_self, reason = "the other keeper has something to keep")]
        pub(crate) fn poll<D: Device>(
            &mut self,
            now: Instant,
            iface: &mut Interface,
            device: &mut D,
            sockets: &mut SocketSet<'_>,
        ) {
            iface.poll(now, device, sockets);
        }

        #[expect(clippy::unused_self, reason = "the other keeper has something to keep")]
        pub(crate) fn poll_delay(
            &mut self,
            now: Instant,
            iface: &mut Interface,
            sockets: &SocketSet<'_>,
        ) -> Option<Duration> {
            iface.poll_delay(now, sockets)
        }

        #[expect(
            clippy::unused_self,
            reason = "the other keeper has something to report"
        )]
        pub(crate) fn report(&mut self) {}
    }
}

#[cfg(feature = "ours")]
mod ours {
    use core::hint::black_box;
    use core::time::Duration as CoreDuration;

    use smoltcp::iface::{Interface, SocketHandle, SocketSet};
    use smoltcp::phy::Device;
    use smoltcp::time::{Duration, Instant};
    use tcp_keepalive::smoltcp::KeepAliveSet;
    use tcp_keepalive::{Config, ConfigError, Event};

    use super::{IDLE_SECS, TIMEOUT_SECS};
    use crate::app::CONNECTIONS;

    const CONFIG: Config = match config() {
        Ok(config) => config,
        Err(_) => panic!("no such keep-alive"),
    };

    const fn config() -> Result<Config, ConfigError> {
        match Config::new(
            CoreDuration::from_secs(IDLE_SECS),
            CoreDuration::from_secs(5),
            4,
        ) {
            Ok(config) if cfg!(feature = "user-timeout") => {
                config.with_user_timeout(CoreDuration::from_secs(TIMEOUT_SECS))
            }
            config => config,
        }
    }

    pub(crate) struct Keeper {
        set: KeepAliveSet<CONNECTIONS>,
    }

    impl Keeper {
        pub(crate) fn new(handles: &[SocketHandle], _: &mut SocketSet<'_>) -> Self {
            let mut set = KeepAliveSet::new();
            for &handle in handles {
                // There is room for all.
                let _ = set.enable(handle, CONFIG);
            }
            Self { set }
        }

        pub(crate) fn poll<D: Device>(
            &mut self,
            now: Instant,
            iface: &mut Interface,
            device: &mut D,
            sockets: &mut SocketSet<'_>,
        ) {
            self.set.poll(now, iface, device, sockets);
        }

        pub(crate) fn poll_delay(
            &mut self,
            now: Instant,
            iface: &mut Interface,
            sockets: &SocketSet<'_>,
        ) -> Option<Duration> {
            self.set.poll_delay(now, iface, sockets)
        }

        pub(crate) fn report(&mut self) {
            while let Some((handle, event)) = self.set.poll_event() {
                if let Event::TimedOut(verdict) = event {
                    black_box((handle, verdict));
                }
            }
        }
    }
}
