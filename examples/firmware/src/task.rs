//! The loop for embassy.

use embassy_futures::select::select;
use embassy_sync::blocking_mutex::raw::CriticalSectionRawMutex;
use embassy_sync::signal::Signal;
use embassy_time::Timer;
use smoltcp::time::Instant;

use crate::host::Host;
use crate::nic::Nic;
use crate::report::Report;

/// Set by the interrupt of the device.
pub type Interrupted = Signal<CriticalSectionRawMutex, ()>;

/// Gives the host a turn whenever the device interrupts or something is due, for ever.
pub async fn run(
    host: &mut Host,
    nic: &mut impl Nic,
    interrupted: &Interrupted,
    mut report: impl FnMut(Report),
) -> ! {
    loop {
        let now = now();
        host.turn(now, nic, &mut report);
        let deadline = host.poll_at(now).map(deadline);
        // From here on an interrupt is not missed: the signal stays set until it is waited for.
        if !nic.arm() {
            interrupted.signal(());
        }
        match deadline {
            Some(deadline) => {
                select(interrupted.wait(), Timer::at(deadline)).await;
            }
            None => interrupted.wait().await,
        }
    }
}

/// embassy's clock, in smoltcp's terms.
#[expect(
    clippy::disallowed_methods,
    reason = "it is here that the clock is read"
)]
#[must_use]
pub fn now() -> Instant {
    let now = tcp_keepalive::Instant::from(embassy_time::Instant::now());
    Instant::from_micros(i64::try_from(now.as_micros()).unwrap_or(i64::MAX))
}

/// Never early: between two ticks, it is the later one.
fn deadline(at: Instant) -> embassy_time::Instant {
    let micros = u64::try_from(at.total_micros()).unwrap_or(0);
    tcp_keepalive::Instant::from_micros(micros).into()
}
