//! Time, from the board's dual timer (CMSDK APB dual timer, DDI0479): its first half counts for
//! ever, its second half is the alarm.

use core::cell::Cell;

use critical_section::Mutex;

use super::CLOCK_HZ;
use super::interrupt::Interrupt;
use super::mmio::Mmio;

const TICKS_PER_MICRO: u32 = CLOCK_HZ / 1_000_000;

// SAFETY: the timers are there on this board, this module alone uses them, and they do nothing
// but count.
const TIMERS: Mmio = unsafe { Mmio::new(0x4000_2000, 0x1000) };
/// Runs for ever.
const COUNTER: usize = 0x00;
/// Runs down once.
const ALARM: usize = 0x20;

/// The registers of each half.
mod register {
    pub(super) const LOAD: usize = 0x00;
    pub(super) const VALUE: usize = 0x04;
    pub(super) const CONTROL: usize = 0x08;
    pub(super) const INTERRUPT_CLEAR: usize = 0x0c;
    pub(super) const RAW_INTERRUPT_STATUS: usize = 0x10;
}

/// The bits of `CONTROL`.
mod control {
    pub(super) const ONE_SHOT: u32 = 1 << 0;
    pub(super) const SIZE_32: u32 = 1 << 1;
    pub(super) const INTERRUPT_ENABLE: u32 = 1 << 5;
    pub(super) const PERIODIC: u32 = 1 << 6;
    pub(super) const ENABLE: u32 = 1 << 7;
}

/// How often the counter has run through its 32 bits, which takes it 172 s.
static ROUNDS: Mutex<Cell<u32>> = Mutex::new(Cell::new(0));

/// Starts to count.
pub(super) fn start() {
    let mode = control::PERIODIC | control::SIZE_32;
    for half in [COUNTER, ALARM] {
        TIMERS.write(half + register::CONTROL, mode);
        TIMERS.write(half + register::INTERRUPT_CLEAR, 0);
    }
    TIMERS.write(COUNTER + register::LOAD, u32::MAX);
    TIMERS.write(
        COUNTER + register::CONTROL,
        mode | control::INTERRUPT_ENABLE | control::ENABLE,
    );
    Interrupt::DUALTIMER.unmask();
}

/// Microseconds since the start.
#[must_use]
pub fn now() -> u64 {
    let ticks = critical_section::with(|cs| {
        let rounds = ROUNDS.borrow(cs).get();
        let elapsed = elapsed();
        // A round that has just ended, and whose interrupt has not been served yet.
        let is_over = has_round_ended() && elapsed < u32::MAX / 2;
        let rounds = rounds.wrapping_add(u32::from(is_over));
        u64::from(rounds) << 32 | u64::from(elapsed)
    });
    ticks / u64::from(TICKS_PER_MICRO)
}

/// Has `DUALTIMER` interrupt in `micros`, or as soon as possible after that; sooner if that is very
/// long. An alarm that was set before is forgotten.
pub fn set_alarm(micros: Option<u64>) {
    let mode = control::PERIODIC | control::SIZE_32;
    TIMERS.write(ALARM + register::CONTROL, mode);
    TIMERS.write(ALARM + register::INTERRUPT_CLEAR, 0);
    let Some(micros) = micros else { return };
    // The timer does not run down from 0. A tick more, since the current one has begun.
    let ticks = micros
        .saturating_mul(u64::from(TICKS_PER_MICRO))
        .saturating_add(1);
    let ticks = u32::try_from(ticks).unwrap_or(u32::MAX);
    TIMERS.write(ALARM + register::LOAD, ticks);
    TIMERS.write(
        ALARM + register::CONTROL,
        mode | control::ONE_SHOT | control::INTERRUPT_ENABLE | control::ENABLE,
    );
}

/// To be called by `DUALTIMER`.
pub fn on_interrupt() {
    TIMERS.write(ALARM + register::INTERRUPT_CLEAR, 0);
    if !has_round_ended() {
        return;
    }
    // The interrupt comes one tick before the counter starts again.
    while elapsed() == u32::MAX {}
    critical_section::with(|cs| {
        let rounds = ROUNDS.borrow(cs);
        rounds.set(rounds.get().wrapping_add(1));
        TIMERS.write(COUNTER + register::INTERRUPT_CLEAR, 0);
    });
}

/// Ticks of this round. The timer counts down.
fn elapsed() -> u32 {
    u32::MAX - TIMERS.read(COUNTER + register::VALUE)
}

fn has_round_ended() -> bool {
    TIMERS.read(COUNTER + register::RAW_INTERRUPT_STATUS) != 0
}
