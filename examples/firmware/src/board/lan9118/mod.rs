//! SMSC's LAN9118 and its relatives (LAN9115 to LAN9221), an Ethernet controller on the memory bus
//! with FIFOs in it, and no DMA.
//!
//! Frames are copied between the FIFOs and a buffer for each direction. What arrives damaged, or
//! too long, is dropped and counted. Without a link, or without room for a whole frame, nothing is taken
//! for transmission, nor from reception, whose answer could not leave: the stack keeps what it has.

#![expect(
    clippy::cast_possible_truncation,
    reason = "lengths of frames fit into any type"
)]

mod embassy;
mod mac;
mod registers;

use core::fmt;

use smoltcp::phy::{self, Device, DeviceCapabilities, Medium};
use smoltcp::time::Instant;
use smoltcp::wire::EthernetAddress;

use self::registers::{
    BYTE_ORDER, Mac, Phy, Register, Registers, hw_cfg, int, irq_cfg, mac_control, rx_status,
    tx_cfg, tx_command,
};
use super::mmio::Mmio;

/// An Ethernet header and 1500 octets.
const MAX_FRAME_LEN: usize = 1514;
/// The checksum behind each frame that is received.
const FCS_LEN: usize = 4;
const WORD_LEN: usize = 4;
/// Of a frame with its checksum, in whole words.
const BUFFER_LEN: usize = (MAX_FRAME_LEN + FCS_LEN).next_multiple_of(WORD_LEN);
/// Half of the device's memory, less what its MAC has of it, holds three frames.
const TX_FIFO_KILOBYTES: u32 = 5;
/// The FIFO's level is compared in units of this.
const TX_LEVEL_UNIT: usize = 64;
/// Room for a frame and its two command words, in these units.
const TX_LEVEL: usize = (BUFFER_LEN + 2 * WORD_LEN).div_ceil(TX_LEVEL_UNIT);

/// The device.
#[derive(Debug)]
pub struct Lan9118 {
    registers: Registers,
    received: [u8; BUFFER_LEN],
    to_send: [u8; BUFFER_LEN],
    is_link_up: bool,
    /// The stack wanted to send when there was no room.
    is_short_of_room: bool,
    receive_errors: u32,
}

/// Why the device could not be started.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum StartError {
    /// What is at this address is not a LAN9118.
    NotFound,
    /// It does not finish what it was told to do.
    Stuck,
}

impl fmt::Display for StartError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotFound => "there is no LAN9118 at this address",
            Self::Stuck => "the LAN9118 does not finish what it was told to do",
        })
    }
}

impl core::error::Error for StartError {}

impl Lan9118 {
    /// Resets the device, gives it its address, and has it look for a link. That takes a moment
    /// longer than this: a link, and the end of one, are announced by an interrupt.
    ///
    /// # Errors
    ///
    /// [`StartError`] if it is another device, or a broken one.
    pub fn start(registers: Mmio, address: EthernetAddress) -> Result<Self, StartError> {
        let registers = Registers(registers);
        if registers.read(Register::ByteTest) != BYTE_ORDER {
            return Err(StartError::NotFound);
        }
        registers.write(Register::HwCfg, hw_cfg::SOFT_RESET);
        registers.wait_until(|it| it.read(Register::HwCfg) & hw_cfg::SOFT_RESET == 0)?;
        registers.write(
            Register::HwCfg,
            hw_cfg::STORE_AND_FORWARD | TX_FIFO_KILOBYTES << hw_cfg::TX_FIFO_SIZE_SHIFT,
        );

        let [a, b, c, d, last @ ..] = address.0;
        registers.mac_write(Mac::AddressLow, u32::from_le_bytes([a, b, c, d]))?;
        registers.mac_write(Mac::AddressHigh, u16::from_le_bytes(last).into())?;
        start_phy(&registers)?;

        // An interrupt as soon as there is a single frame, or room for one.
        registers.write(Register::FifoInt, (TX_LEVEL as u32) << 24);
        registers.write(Register::IntSts, u32::MAX);
        registers.write(
            Register::IrqCfg,
            irq_cfg::ENABLE | irq_cfg::ACTIVE_HIGH | irq_cfg::PUSH_PULL,
        );
        registers.write(Register::TxCfg, tx_cfg::ON);

        let mut device = Self {
            registers,
            received: [0; BUFFER_LEN],
            to_send: [0; BUFFER_LEN],
            is_link_up: false,
            is_short_of_room: false,
            receive_errors: 0,
        };
        device.look_for_link()?;
        Ok(device)
    }

    /// Whether there is a link, as far as was known when interrupts were last
    /// [acknowledged](Self::acknowledge).
    #[must_use]
    pub const fn is_link_up(&self) -> bool {
        self.is_link_up
    }

    /// How many frames were dropped.
    #[must_use]
    pub const fn receive_errors(&self) -> u32 {
        self.receive_errors
    }

    /// The 25 MHz clock of the device.
    #[must_use]
    pub fn ticks(&self) -> u32 {
        self.registers.read(Register::FreeRun)
    }

    /// Takes note of what the device has interrupted for, so that it can interrupt again. `true` if
    /// the link is another one than before.
    pub fn acknowledge(&mut self) -> bool {
        let was_link_up = self.is_link_up;
        let status = self.registers.read(Register::IntSts);
        if status & int::PHY != 0 {
            // What the PHY has to say is read first: reading it is what ends its interrupt.
            let said = self.registers.phy_read(Phy::InterruptSource);
            if said.and_then(|_| self.look_for_link()).is_err() {
                self.is_link_up = false;
            }
        }
        self.registers.write(Register::IntSts, status);
        let mut wanted = int::PHY;
        if self.is_link_up {
            wanted |= int::RX_STATUS_LEVEL;
        }
        if self.is_short_of_room {
            wanted |= int::TX_DATA_AVAILABLE;
        }
        self.registers.write(Register::IntEn, wanted);
        self.is_link_up != was_link_up
    }

    /// Whether there is a frame that could be received at once.
    #[must_use]
    pub fn can_receive(&self) -> bool {
        self.has_received() && self.can_transmit()
    }

    /// Whether a frame could be sent now that could not be before.
    #[must_use]
    pub fn has_room_again(&self) -> bool {
        self.is_short_of_room && self.can_transmit()
    }

    /// Sets the MAC to what the PHY has negotiated.
    fn look_for_link(&mut self) -> Result<(), StartError> {
        use registers::phy::{HUNDRED_FULL, HUNDRED_HALF, LINK, TEN_FULL};

        // Once down, it reads as down until it has been read.
        let _ = self.registers.phy_read(Phy::BasicStatus)?;
        self.is_link_up = self.registers.phy_read(Phy::BasicStatus)? & LINK != 0;
        let common = self.registers.phy_read(Phy::Advertisement)?
            & self.registers.phy_read(Phy::LinkPartner)?;
        // The best that both can do, in the order of IEEE 802.3, annex 28B.3.
        let is_full_duplex =
            common & HUNDRED_FULL != 0 || common & (HUNDRED_HALF | TEN_FULL) == TEN_FULL;
        let mut control = mac_control::RECEIVE | mac_control::TRANSMIT;
        if is_full_duplex {
            control |= mac_control::FULL_DUPLEX;
        }
        self.registers.mac_write(Mac::Control, control)
    }

    fn has_received(&self) -> bool {
        let waiting = self.registers.read(Register::RxFifoInf) >> 16 & 0xff;
        waiting != 0
    }

    fn can_transmit(&self) -> bool {
        let room = self.registers.read(Register::TxFifoInf) & 0xffff;
        self.is_link_up && room as usize >= TX_LEVEL * TX_LEVEL_UNIT
    }

    /// The same, and what follows from it.
    fn make_ready_to_transmit(&mut self) -> bool {
        // What became of earlier frames is not asked for: TCP will know. But it takes room.
        while self.registers.read(Register::TxFifoInf) >> 16 & 0xff != 0 {
            let _ = self.registers.read(Register::TxStatusFifo);
        }
        let is_ready = self.can_transmit();
        self.is_short_of_room = self.is_link_up && !is_ready;
        is_ready
    }

    /// Takes the next good frame if its answer could leave, and tells how long it is.
    fn take_answerable(&mut self) -> Option<usize> {
        if self.make_ready_to_transmit() {
            self.take_frame()
        } else {
            None
        }
    }

    /// The frame of this length that was taken, and room for its answer.
    fn tokens(&mut self, len: usize) -> (RxToken<'_>, TxToken<'_>) {
        let (frame, _) = self.received.split_at_mut(len);
        let answer = TxToken {
            registers: &self.registers,
            buffer: &mut self.to_send,
        };
        (RxToken { frame }, answer)
    }

    /// Room for a frame, which there is.
    fn room(&mut self) -> TxToken<'_> {
        TxToken {
            registers: &self.registers,
            buffer: &mut self.to_send,
        }
    }

    /// Copies the next good frame into the buffer, and tells how long it is.
    fn take_frame(&mut self) -> Option<usize> {
        while self.has_received() {
            let status = self.registers.read(Register::RxStatusFifo);
            let len = (status >> rx_status::LEN_SHIFT & rx_status::LEN_MASK) as usize;
            let words = len.div_ceil(WORD_LEN);
            let is_good = status & rx_status::ERROR == 0 && (FCS_LEN..=BUFFER_LEN).contains(&len);
            if is_good {
                let (buffer, _) = self.received.as_chunks_mut::<WORD_LEN>();
                for word in &mut buffer[..words] {
                    *word = self.registers.read(Register::RxDataFifo).to_le_bytes();
                }
                return Some(len - FCS_LEN);
            }
            for _ in 0..words {
                let _ = self.registers.read(Register::RxDataFifo);
            }
            self.receive_errors = self.receive_errors.saturating_add(1);
        }
        None
    }
}

fn start_phy(registers: &Registers) -> Result<(), StartError> {
    use registers::phy::{ENERGY_ON, LINK_DOWN, NEGOTIATE, NEGOTIATED, RESET, RESTART_NEGOTIATION};

    registers.phy_write(Phy::BasicControl, RESET)?;
    registers.wait_until(|it| {
        it.phy_read(Phy::BasicControl)
            .is_ok_and(|control| control & RESET == 0)
    })?;
    registers.phy_write(Phy::InterruptMask, LINK_DOWN | NEGOTIATED | ENERGY_ON)?;
    registers.phy_write(Phy::BasicControl, NEGOTIATE | RESTART_NEGOTIATION)
}

impl Device for Lan9118 {
    type RxToken<'a> = RxToken<'a>;
    type TxToken<'a> = TxToken<'a>;

    fn receive(&mut self, _: Instant) -> Option<(RxToken<'_>, TxToken<'_>)> {
        let len = self.take_answerable()?;
        Some(self.tokens(len))
    }

    fn transmit(&mut self, _: Instant) -> Option<TxToken<'_>> {
        self.make_ready_to_transmit().then(|| self.room())
    }

    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ethernet;
        capabilities.max_transmission_unit = MAX_FRAME_LEN;
        capabilities
    }
}

/// A frame that was received.
#[derive(Debug)]
pub struct RxToken<'a> {
    frame: &'a mut [u8],
}

impl phy::RxToken for RxToken<'_> {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, read: F) -> R {
        read(self.frame)
    }
}

/// Room for a frame.
#[derive(Debug)]
pub struct TxToken<'a> {
    registers: &'a Registers,
    buffer: &'a mut [u8; BUFFER_LEN],
}

impl phy::TxToken for TxToken<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, write: F) -> R {
        let Self { registers, buffer } = self;
        // smoltcp asks for no more than the capabilities allow.
        let result = write(&mut buffer[..len]);
        let len_bits = len as u32;
        registers.write(
            Register::TxDataFifo,
            tx_command::FIRST_SEGMENT | tx_command::LAST_SEGMENT | len_bits,
        );
        registers.write(Register::TxDataFifo, len_bits);
        let (words, _) = buffer.as_chunks::<WORD_LEN>();
        for word in &words[..len.div_ceil(WORD_LEN)] {
            registers.write(Register::TxDataFifo, u32::from_le_bytes(*word));
        }
        result
    }
}
