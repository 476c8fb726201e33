//! What a loop needs of a network device besides frames: to be woken by it, and to know of the
//! cable.

use smoltcp::phy::Device;

/// A network device that interrupts.
pub trait Nic: Device {
    /// Whether there is anybody at the other end of the cable.
    fn is_link_up(&self) -> bool;

    /// How many frames arrived damaged, or too long, and were dropped.
    fn receive_errors(&self) -> u32;

    /// Has the device interrupt when there is something to be done, and tells whether it is fine to
    /// wait for that: not if there is something already, which will cause no interrupt any more.
    #[must_use = "what has arrived already does not interrupt"]
    fn arm(&mut self) -> bool;
}
