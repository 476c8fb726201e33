//! The log, on the board's first serial port (CMSDK APB UART, DDI0479).
//!
//! It waits for each octet to be taken, which at this speed takes 11 microseconds: fine for a line now
//! and then. `defmt-print` decodes what comes out.

use core::convert::Infallible;

use embedded_io::{ErrorType, Write};
use static_cell::ConstStaticCell;

use super::CLOCK_HZ;
use super::clock;
use super::mmio::Mmio;

const BAUD_RATE: u32 = 921_600;

mod register {
    pub(super) const DATA: usize = 0x00;
    pub(super) const STATE: usize = 0x04;
    pub(super) const CONTROL: usize = 0x08;
    pub(super) const BAUD_DIVIDER: usize = 0x10;
}

/// In `STATE`: no room for another octet.
const TRANSMIT_FULL: u32 = 1 << 0;
/// In `CONTROL`.
const TRANSMIT_ENABLE: u32 = 1 << 0;

defmt::timestamp!("{=u64:us}", clock::now());

/// A serial port that is only written to.
struct Uart(Mmio);

/// Sets the serial port up, and has the log use it.
pub(super) fn start() {
    // SAFETY: the port is there on this board, nothing else uses it, and it does nothing but send.
    static UART: ConstStaticCell<Uart> =
        ConstStaticCell::new(Uart(unsafe { Mmio::new(0x4000_4000, 0x1000) }));
    let uart = UART.take();
    uart.0.write(register::BAUD_DIVIDER, CLOCK_HZ / BAUD_RATE);
    uart.0.write(register::CONTROL, TRANSMIT_ENABLE);
    defmt_serial::defmt_serial(uart);
}

impl ErrorType for Uart {
    type Error = Infallible;
}

impl Write for Uart {
    fn write(&mut self, data: &[u8]) -> Result<usize, Infallible> {
        let Some(octet) = data.first() else {
            return Ok(0);
        };
        while self.0.read(register::STATE) & TRANSMIT_FULL != 0 {}
        self.0.write(register::DATA, u32::from(*octet));
        Ok(1)
    }

    fn flush(&mut self) -> Result<(), Infallible> {
        while self.0.read(register::STATE) & TRANSMIT_FULL != 0 {}
        Ok(())
    }
}
