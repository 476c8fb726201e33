//! The clock, for embassy: it counts microseconds, embassy's default.

use core::cell::RefCell;
use core::task::Waker;

use critical_section::Mutex;
use embassy_time_driver::{Driver, TICK_HZ};
use embassy_time_queue_utils::Queue;

use super::clock;

const _: () = assert!(TICK_HZ == 1_000_000, "a tick is a microsecond");

struct Timers(Mutex<RefCell<Queue>>);

embassy_time_driver::time_driver_impl!(
    static TIMERS: Timers = Timers(Mutex::new(RefCell::new(Queue::new())))
);

impl Driver for Timers {
    fn now(&self) -> u64 {
        clock::now()
    }

    fn schedule_wake(&self, at: u64, waker: &Waker) {
        critical_section::with(|cs| {
            let mut queue = self.0.borrow_ref_mut(cs);
            if queue.schedule_wake(at, waker) {
                wake_and_set_alarm(&mut queue);
            }
        });
    }
}

/// To be called by `DUALTIMER`.
pub fn on_interrupt() {
    clock::on_interrupt();
    critical_section::with(|cs| wake_and_set_alarm(&mut TIMERS.0.borrow_ref_mut(cs)));
}

/// Wakes those whose time has come. What is due between the two readings of the clock is served by
/// an alarm that goes off at once.
fn wake_and_set_alarm(queue: &mut Queue) {
    let next = queue.next_expiration(clock::now());
    let is_any = next != u64::MAX;
    clock::set_alarm(is_any.then(|| next.saturating_sub(clock::now())));
}
