//! The device.

use std::fs;
use std::os::fd::{AsRawFd, RawFd};
use std::path::{Path, PathBuf};

use smoltcp::phy::{Device, DeviceCapabilities, Medium, TunTapInterface};
use smoltcp::time::Instant;

use super::failure::Failure;

/// A TAP device that can be taken down, and up again, under way.
///
/// smoltcp's own panics when the kernel refuses a frame. Told that there is no room for one, the
/// stack keeps it, and a keep-alive knows that its probe has not left.
pub(crate) struct Tap {
    inner: TunTapInterface,
    /// Where the kernel says whether the device is up.
    flags: PathBuf,
}

impl Tap {
    const IFF_UP: u32 = 1;
    const IFF_TAP: u32 = 2;

    pub(crate) fn open(name: &str) -> Result<Self, Failure> {
        let directory = PathBuf::from("/sys/class/net").join(name);
        if !directory.exists() {
            // Opening it would make one, if root did it.
            return Err(Failure::NoDevice(name.into()));
        }
        if !has_flag(&directory.join("tun_flags"), Self::IFF_TAP) {
            return Err(Failure::NotTap(name.into()));
        }
        let inner = TunTapInterface::new(name, Medium::Ethernet)
            .map_err(|error| Failure::Device(name.into(), error))?;
        let device = Self {
            inner,
            flags: directory.join("flags"),
        };
        if device.is_up() {
            Ok(device)
        } else {
            Err(Failure::DeviceDown(name.into()))
        }
    }

    fn is_up(&self) -> bool {
        has_flag(&self.flags, Self::IFF_UP)
    }

    pub(crate) fn is_gone(&self) -> bool {
        !self.flags.exists()
    }
}

impl Device for Tap {
    type RxToken<'a> = <TunTapInterface as Device>::RxToken<'a>;
    type TxToken<'a> = <TunTapInterface as Device>::TxToken<'a>;

    fn receive(&mut self, now: Instant) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        if self.is_up() {
            self.inner.receive(now)
        } else {
            None
        }
    }

    fn transmit(&mut self, now: Instant) -> Option<Self::TxToken<'_>> {
        if self.is_up() {
            self.inner.transmit(now)
        } else {
            None
        }
    }

    fn capabilities(&self) -> DeviceCapabilities {
        self.inner.capabilities()
    }
}

impl AsRawFd for Tap {
    fn as_raw_fd(&self) -> RawFd {
        self.inner.as_raw_fd()
    }
}

/// Whether a file of the kernel's holds a hexadecimal number with `flag` in it.
fn has_flag(file: &Path, flag: u32) -> bool {
    let Ok(text) = fs::read_to_string(file) else {
        return false;
    };
    let digits = text.trim().trim_start_matches("0x");
    u32::from_str_radix(digits, 16).is_ok_and(|flags| flags & flag != 0)
}
