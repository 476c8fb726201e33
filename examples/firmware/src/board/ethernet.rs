//! The network device of the board, and its interrupt.

use smoltcp::phy::{Device, DeviceCapabilities};
use smoltcp::time::Instant;
use smoltcp::wire::EthernetAddress;

use super::interrupt::Interrupt;
use super::lan9118::{Lan9118, RxToken, StartError, TxToken};
use super::mmio::Mmio;
use crate::nic::Nic;

/// The device. Its interrupt is off until it is [armed](Nic::arm), and to be switched off by the
/// handler, with [`on_interrupt`]: who handles an interrupt here is the loop, not the handler.
pub struct Ethernet(Lan9118);

impl Ethernet {
    pub(super) fn start(hardware_address: EthernetAddress) -> Result<Self, StartError> {
        // SAFETY: the device is there on this board, nothing else uses it since the board is
        // started once, and it cannot reach any memory by itself.
        let registers = unsafe { Mmio::new(0x4020_0000, 0x100) };
        Lan9118::start(registers, hardware_address).map(Self)
    }

    /// A number that is hardly the same at two starts.
    #[must_use]
    pub fn seed(&self) -> u64 {
        // How long the device took to come out of its reset. Real products have something better.
        self.0.ticks().into()
    }
}

/// To be called by `ETHERNET`.
pub fn on_interrupt() {
    Interrupt::ETHERNET.mask();
}

impl Nic for Ethernet {
    fn is_link_up(&self) -> bool {
        self.0.is_link_up()
    }

    fn receive_errors(&self) -> u32 {
        self.0.receive_errors()
    }

    fn arm(&mut self) -> bool {
        let is_link_new = self.0.acknowledge();
        Interrupt::ETHERNET.unmask();
        // In this order: what comes before is seen here, and what comes after interrupts.
        !is_link_new && !self.0.can_receive() && !self.0.has_room_again()
    }
}

impl Device for Ethernet {
    type RxToken<'a> = RxToken<'a>;
    type TxToken<'a> = TxToken<'a>;

    fn receive(&mut self, now: Instant) -> Option<(RxToken<'_>, TxToken<'_>)> {
        self.0.receive(now)
    }

    fn transmit(&mut self, now: Instant) -> Option<TxToken<'_>> {
        self.0.transmit(now)
    }

    fn capabilities(&self) -> DeviceCapabilities {
        self.0.capabilities()
    }
}
