//! Access to registers. All that is unsafe about the peripherals is here, and where the addresses
//! are given.

use core::ptr;

/// The registers of one peripheral, 32 bits each.
#[derive(Debug)]
pub struct Mmio {
    base: usize,
    len: usize,
}

impl Mmio {
    /// The registers from `base` on, `len` octets of them.
    ///
    /// # Safety
    ///
    /// They are there, nothing else uses them, and whatever is written to them leaves alone the
    /// memory that Rust knows of.
    #[must_use]
    pub const unsafe fn new(base: usize, len: usize) -> Self {
        Self { base, len }
    }

    /// Reads the register at `offset`. Some change by being read.
    #[must_use = "to read is enough for some registers: then say so"]
    pub fn read(&self, offset: usize) -> u32 {
        // SAFETY: it is a register, as was promised to `new`.
        unsafe { ptr::read_volatile(self.address(offset)) }
    }

    /// Writes the register at `offset`.
    pub fn write(&self, offset: usize, value: u32) {
        // SAFETY: it is a register, and writing it does no harm, as the caller of `new` promised.
        unsafe { ptr::write_volatile(self.address(offset), value) }
    }

    fn address(&self, offset: usize) -> *mut u32 {
        assert!(
            offset < self.len && offset.is_multiple_of(size_of::<u32>()),
            "the peripheral has such a register"
        );
        ptr::with_exposed_provenance_mut(self.base + offset)
    }
}
