//! Where time and chance come from.

use std::time::{self, SystemTime};

use smoltcp::time::Instant;

/// Monotonic time since the start. While the machine sleeps it stands still on Linux; while the
/// process is stopped it does not.
pub(crate) struct Clock(time::Instant);

impl Clock {
    #[expect(clippy::disallowed_methods, reason = "this is where time comes from")]
    pub(crate) fn start() -> Self {
        Self(time::Instant::now())
    }

    pub(crate) fn now(&self) -> Instant {
        let micros = self.0.elapsed().as_micros();
        Instant::from_micros(i64::try_from(micros).unwrap_or(i64::MAX))
    }
}

/// The timestamp clock: a tick is a millisecond (RFC 7323 5.4).
pub(crate) fn tsval() -> u32 {
    let [.., a, b, c, d] = (nanos_since_epoch() / 1_000_000).to_be_bytes();
    u32::from_be_bytes([a, b, c, d])
}

/// One of the ports that are for clients, not likely that of the last run.
pub(crate) fn any_port() -> u16 {
    let [.., a, b] = (nanos_since_epoch() / 1_000).to_be_bytes();
    u16::from_be_bytes([a, b]) | 0xc000
}

#[expect(
    clippy::disallowed_methods,
    reason = "a seed has to come from somewhere"
)]
pub(crate) fn nanos_since_epoch() -> u64 {
    let since_epoch = SystemTime::now()
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since_epoch.as_nanos()).unwrap_or(0)
}
