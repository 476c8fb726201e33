//! The device, for embassy-net: the same tokens, and a look that borrows nothing if there is none.

use embassy_net_driver as driver;
use smoltcp::phy;

use super::{Lan9118, RxToken, TxToken};

impl Lan9118 {
    /// Takes the next frame, or else does `or_else` on the device.
    pub fn receive_or_else(
        &mut self,
        or_else: impl FnOnce(&mut Self),
    ) -> Option<(RxToken<'_>, TxToken<'_>)> {
        let Some(len) = self.take_answerable() else {
            or_else(self);
            return None;
        };
        Some(self.tokens(len))
    }

    /// Finds room for a frame, or else does `or_else` on the device.
    pub fn transmit_or_else(&mut self, or_else: impl FnOnce(&mut Self)) -> Option<TxToken<'_>> {
        if !self.make_ready_to_transmit() {
            or_else(self);
            return None;
        }
        Some(self.room())
    }
}

impl driver::RxToken for RxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, read: F) -> R {
        read(self.frame)
    }
}

impl driver::TxToken for TxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        phy::TxToken::consume(self, len, write)
    }
}
