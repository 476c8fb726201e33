//! The interrupts of the board, as far as they are used: what a peripheral access crate, which
//! there is none of for this board, would bring.

use cortex_m::interrupt::InterruptNumber;
use cortex_m::peripheral::NVIC;

/// How many the board has.
const COUNT: usize = 32;

/// The interrupts by name. `#[interrupt]` looks for them under the name of `interrupt`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u16)]
pub enum Interrupt {
    /// Of the two timers that [`clock`](super::clock) uses.
    DUALTIMER = 10,
    /// Of the network device.
    ETHERNET = 13,
}

// SAFETY: these are their numbers (application note DAI0385), and they do not change.
unsafe impl InterruptNumber for Interrupt {
    fn number(self) -> u16 {
        self as u16
    }
}

impl Interrupt {
    /// Lets it happen. What was pending is forgotten; what is still asked for comes again.
    pub fn unmask(self) {
        NVIC::unpend(self);
        // SAFETY: nothing here relies on an interrupt being masked to be sound.
        unsafe { NVIC::unmask(self) }
    }

    /// Keeps it from happening.
    pub fn mask(self) {
        NVIC::mask(self);
    }
}

/// An entry of the vector table.
type Handler = unsafe extern "C" fn();

unsafe extern "C" {
    // Where there is no function of that name, `device.x` says which it is instead.
    fn DUALTIMER();
    fn ETHERNET();
    fn DefaultHandler();
}

// SAFETY: this is where the linker script of `cortex-m-rt` wants it, under the name it wants.
#[unsafe(link_section = ".vector_table.interrupts")]
#[unsafe(no_mangle)]
#[used]
static __INTERRUPTS: [Handler; COUNT] = {
    let mut handlers: [Handler; COUNT] = [DefaultHandler; COUNT];
    handlers[Interrupt::DUALTIMER as usize] = DUALTIMER;
    handlers[Interrupt::ETHERNET as usize] = ETHERNET;
    handlers
};
