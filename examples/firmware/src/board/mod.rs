//! The board: Arm's MPS2 with the AN385 image, a Cortex-M3 with a LAN9118 (in truth its successor
//! LAN9220) beside it; QEMU's `mps2-an385`.
//!
//! | module | what it is |
//! |---|---|
//! | [`clock`] | microseconds since the start, and an alarm |
//! | [`console`] | the serial port that the log goes to |
//! | [`ethernet`] | the network device and its interrupt |
//! | [`interrupt`] | the names of the interrupts |
//! | [`journal`] | the words for what is reported |
//! | [`lan9118`] | the driver of the network device; it knows no board |
//! | [`mmio`] | access to registers |
//! | `time_driver` | the clock, for embassy |

pub mod clock;
pub mod console;
pub mod ethernet;
pub mod interrupt;
pub mod journal;
pub mod lan9118;
pub mod mmio;
pub mod time_driver;

use core::panic::PanicInfo;

use cortex_m::peripheral::{Peripherals, SCB};
use smoltcp::wire::EthernetAddress;

use self::ethernet::Ethernet;

/// Of the processor and everything around it.
pub const CLOCK_HZ: u32 = 25_000_000;

/// Starts the clock, the log and the network device.
///
/// # Panics
///
/// If it was started before, or the network device does not work; then there is nothing to do.
#[must_use]
pub fn start(hardware_address: EthernetAddress) -> Ethernet {
    // There is one of each. Who has these has the others too.
    assert!(Peripherals::take().is_some(), "the board is started once");
    console::start();
    clock::start();
    match Ethernet::start(hardware_address) {
        Ok(ethernet) => ethernet,
        Err(error) => panic!("no network: {error}"),
    }
}

/// A device in the field has no operator: it says what was wrong, and starts again.
#[panic_handler]
fn panic(info: &PanicInfo<'_>) -> ! {
    defmt::error!("{}", defmt::Display2Format(info));
    SCB::sys_reset()
}
