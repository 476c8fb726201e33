//! The registers of the LAN9118, by the names of its data sheet.

use crate::board::mmio::Mmio;

/// Registers on the bus, and the ports of the FIFOs.
#[derive(Clone, Copy, Debug)]
#[repr(usize)]
pub(super) enum Register {
    RxDataFifo = 0x00,
    TxDataFifo = 0x20,
    RxStatusFifo = 0x40,
    TxStatusFifo = 0x48,
    IrqCfg = 0x54,
    IntSts = 0x58,
    IntEn = 0x5c,
    ByteTest = 0x64,
    FifoInt = 0x68,
    TxCfg = 0x70,
    HwCfg = 0x74,
    RxFifoInf = 0x7c,
    TxFifoInf = 0x80,
    FreeRun = 0x9c,
    MacCsrCmd = 0xa4,
    MacCsrData = 0xa8,
}

/// Registers of the MAC, behind `MacCsrCmd`.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(super) enum Mac {
    Control = 1,
    AddressHigh = 2,
    AddressLow = 3,
    MiiAccess = 6,
    MiiData = 7,
}

/// Registers of the PHY, behind `Mac::MiiAccess`.
#[derive(Clone, Copy, Debug)]
#[repr(u32)]
pub(super) enum Phy {
    BasicControl = 0,
    BasicStatus = 1,
    Advertisement = 4,
    LinkPartner = 5,
    InterruptSource = 29,
    InterruptMask = 30,
}

/// What `ByteTest` reads if we understand each other.
pub(super) const BYTE_ORDER: u32 = 0x8765_4321;

pub(super) mod irq_cfg {
    /// Push-pull, active high, and on.
    pub(in super::super) const PUSH_PULL: u32 = 1 << 0;
    pub(in super::super) const ACTIVE_HIGH: u32 = 1 << 4;
    pub(in super::super) const ENABLE: u32 = 1 << 8;
}

/// In `IntSts` and `IntEn`.
pub(super) mod int {
    /// There are frames.
    pub(in super::super) const RX_STATUS_LEVEL: u32 = 1 << 3;
    /// There is room.
    pub(in super::super) const TX_DATA_AVAILABLE: u32 = 1 << 9;
    pub(in super::super) const PHY: u32 = 1 << 18;
}

pub(super) mod hw_cfg {
    pub(in super::super) const SOFT_RESET: u32 = 1 << 0;
    /// The transmitter waits for the whole frame. It has to be set.
    pub(in super::super) const STORE_AND_FORWARD: u32 = 1 << 20;
    /// Kilobytes of the device's memory that are for transmission.
    pub(in super::super) const TX_FIFO_SIZE_SHIFT: u32 = 16;
}

pub(super) mod tx_cfg {
    pub(in super::super) const ON: u32 = 1 << 1;
}

/// Command words, before each frame.
pub(super) mod tx_command {
    pub(in super::super) const LAST_SEGMENT: u32 = 1 << 12;
    pub(in super::super) const FIRST_SEGMENT: u32 = 1 << 13;
}

/// Status words, one for each frame that was received.
pub(super) mod rx_status {
    pub(in super::super) const ERROR: u32 = 1 << 15;
    pub(in super::super) const LEN_SHIFT: u32 = 16;
    pub(in super::super) const LEN_MASK: u32 = 0x3fff;
}

pub(super) mod mac_csr {
    pub(in super::super) const READ: u32 = 1 << 30;
    pub(in super::super) const BUSY: u32 = 1 << 31;
}

pub(super) mod mac_control {
    pub(in super::super) const RECEIVE: u32 = 1 << 2;
    pub(in super::super) const TRANSMIT: u32 = 1 << 3;
    pub(in super::super) const FULL_DUPLEX: u32 = 1 << 20;
}

pub(super) mod mii {
    pub(in super::super) const BUSY: u32 = 1 << 0;
    pub(in super::super) const WRITE: u32 = 1 << 1;
    pub(in super::super) const REGISTER_SHIFT: u32 = 6;
    /// The PHY in the chip has address 1.
    pub(in super::super) const INTERNAL_PHY: u32 = 1 << 11;
}

pub(super) mod phy {
    /// In the basic control register.
    pub(in super::super) const RESTART_NEGOTIATION: u32 = 1 << 9;
    pub(in super::super) const NEGOTIATE: u32 = 1 << 12;
    pub(in super::super) const RESET: u32 = 1 << 15;
    /// In the basic status register.
    pub(in super::super) const LINK: u32 = 1 << 2;
    /// In both of the registers about who can do what.
    pub(in super::super) const TEN_FULL: u32 = 1 << 6;
    pub(in super::super) const HUNDRED_HALF: u32 = 1 << 7;
    pub(in super::super) const HUNDRED_FULL: u32 = 1 << 8;
    /// Of the interrupts.
    pub(in super::super) const LINK_DOWN: u32 = 1 << 4;
    pub(in super::super) const NEGOTIATED: u32 = 1 << 6;
    pub(in super::super) const ENERGY_ON: u32 = 1 << 7;
}

/// Access to all of them.
#[derive(Debug)]
pub(super) struct Registers(pub(super) Mmio);

impl Registers {
    pub(super) fn read(&self, register: Register) -> u32 {
        self.0.read(register as usize)
    }

    pub(super) fn write(&self, register: Register, value: u32) {
        self.0.write(register as usize, value);
    }
}
