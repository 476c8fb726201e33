//! The network device of the board, and its interrupt.

use core::task::Context;

use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState};
use embassy_sync::waitqueue::AtomicWaker;
use smoltcp::phy::{Device, DeviceCapabilities};
use smoltcp::time::Instant;
use smoltcp::wire::EthernetAddress;

use super::interrupt::Interrupt;
use super::lan9118::{Lan9118, RxToken, StartError, TxToken};
use super::mmio::Mmio;
use crate::nic::Nic;

/// The device. Its interrupt is off until it is [armed](Nic::arm), and to be switched off by the
/// handler, with [`on_interrupt`]: who handles an interrupt here is the loop, not the handler.
pub struct Ethernet {
    device: Lan9118,
    address: EthernetAddress,
}

/// The task that embassy-net runs in.
static RUNNER: AtomicWaker = AtomicWaker::new();

impl Ethernet {
    pub(super) fn start(hardware_address: EthernetAddress) -> Result<Self, StartError> {
        // SAFETY: the device is there on this board, nothing else uses it since the board is
        // started once, and it cannot reach any memory by itself.
        let registers = unsafe { Mmio::new(0x4020_0000, 0x100) };
        Ok(Self {
            device: Lan9118::start(registers, hardware_address)?,
            address: hardware_address,
        })
    }

    /// A number that is hardly the same at two starts.
    #[must_use]
    pub fn seed(&self) -> u64 {
        // How long the device took to come out of its reset. Real products have something better.
        self.device.ticks().into()
    }
}

/// To be called by `ETHERNET`.
pub fn on_interrupt() {
    Interrupt::ETHERNET.mask();
    RUNNER.wake();
}

/// Has the device interrupt, or wakes the runner if there is something already.
fn arm(device: &mut Lan9118, cx: &Context<'_>) {
    RUNNER.register(cx.waker());
    if !is_armed(device) {
        cx.waker().wake_by_ref();
    }
}

fn is_armed(device: &mut Lan9118) -> bool {
    let is_link_new = device.acknowledge();
    Interrupt::ETHERNET.unmask();
    // In this order: what comes before is seen here, and what comes after interrupts.
    !is_link_new && !device.can_receive() && !device.has_room_again()
}

impl Nic for Ethernet {
    fn is_link_up(&self) -> bool {
        self.device.is_link_up()
    }

    fn receive_errors(&self) -> u32 {
        self.device.receive_errors()
    }

    fn arm(&mut self) -> bool {
        is_armed(&mut self.device)
    }
}

impl Device for Ethernet {
    type RxToken<'a> = RxToken<'a>;
    type TxToken<'a> = TxToken<'a>;

    fn receive(&mut self, now: Instant) -> Option<(RxToken<'_>, TxToken<'_>)> {
        self.device.receive(now)
    }

    fn transmit(&mut self, now: Instant) -> Option<TxToken<'_>> {
        self.device.transmit(now)
    }

    fn capabilities(&self) -> DeviceCapabilities {
        self.device.capabilities()
    }
}

/// For embassy-net, whose runner the interrupt wakes.
impl Driver for Ethernet {
    type RxToken<'a> = RxToken<'a>;
    type TxToken<'a> = TxToken<'a>;

    fn receive(&mut self, cx: &mut Context<'_>) -> Option<(RxToken<'_>, TxToken<'_>)> {
        self.device.receive_or_else(|device| arm(device, cx))
    }

    fn transmit(&mut self, cx: &mut Context<'_>) -> Option<TxToken<'_>> {
        self.device.transmit_or_else(|device| arm(device, cx))
    }

    fn link_state(&mut self, _: &mut Context<'_>) -> LinkState {
        if self.device.is_link_up() {
            LinkState::Up
        } else {
            LinkState::Down
        }
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.max_transmission_unit = self.device.capabilities().max_transmission_unit;
        capabilities
    }

    fn hardware_address(&self) -> HardwareAddress {
        HardwareAddress::Ethernet(self.address.0)
    }
}
