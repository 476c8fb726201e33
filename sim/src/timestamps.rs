//! A clock for the timestamp option.

use core::cell::Cell;

use crate::Instant;

thread_local! {
    static SHOWN: Cell<u32> = const { Cell::new(0) };
}

/// Returns milliseconds for `tcp::Socket::set_tsval_generator`, which takes a plain function, by the
/// clock of the node whose turn it is.
#[must_use]
pub fn timestamp_clock() -> u32 {
    SHOWN.get()
}

pub(super) fn set(now: Instant) {
    let millis = now.as_micros().wrapping_div(1000) & u64::from(u32::MAX);
    SHOWN.set(u32::try_from(millis).unwrap_or(0));
}
