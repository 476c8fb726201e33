//! The registers that are reached through others: the MAC's, and through those the PHY's.

use super::StartError;
use super::registers::{Mac, Phy, Register, Registers, mac_csr, mii};

/// The device counts time at 25 MHz from when it comes out of its reset.
const TICKS_PER_MILLI: u32 = 25_000;
/// Nothing here takes longer than that unless the device is broken.
const LIMIT: u32 = 100 * TICKS_PER_MILLI;

impl Registers {
    /// Waits until `is_done`.
    pub(super) fn wait_until(&self, is_done: impl Fn(&Self) -> bool) -> Result<(), StartError> {
        let start = self.read(Register::FreeRun);
        while !is_done(self) {
            let elapsed = self.read(Register::FreeRun).wrapping_sub(start);
            if elapsed > LIMIT {
                return Err(StartError::Stuck);
            }
        }
        Ok(())
    }

    pub(super) fn mac_read(&self, register: Mac) -> Result<u32, StartError> {
        self.mac_command(mac_csr::READ | register as u32)?;
        Ok(self.read(Register::MacCsrData))
    }

    pub(super) fn mac_write(&self, register: Mac, value: u32) -> Result<(), StartError> {
        self.write(Register::MacCsrData, value);
        self.mac_command(register as u32)
    }

    pub(super) fn phy_read(&self, register: Phy) -> Result<u32, StartError> {
        self.mii_command(register, 0)?;
        self.mac_read(Mac::MiiData)
    }

    pub(super) fn phy_write(&self, register: Phy, value: u32) -> Result<(), StartError> {
        self.mac_write(Mac::MiiData, value)?;
        self.mii_command(register, mii::WRITE)
    }

    fn mac_command(&self, command: u32) -> Result<(), StartError> {
        self.write(Register::MacCsrCmd, mac_csr::BUSY | command);
        self.wait_until(|it| it.read(Register::MacCsrCmd) & mac_csr::BUSY == 0)
    }

    fn mii_command(&self, register: Phy, command: u32) -> Result<(), StartError> {
        let register = (register as u32) << mii::REGISTER_SHIFT;
        self.mac_write(
            Mac::MiiAccess,
            mii::INTERNAL_PHY | register | command | mii::BUSY,
        )?;
        self.wait_until(|it| {
            it.mac_read(Mac::MiiAccess)
                .is_ok_and(|access| access & mii::BUSY == 0)
        })
    }
}
