//! smoltcp's terms in ours, and back.

use core::net::IpAddr;

use ::smoltcp::phy::{
    self, Device, DeviceCapabilities, PcapLinkType, PcapMode, PcapSink, PcapWriter,
};
use ::smoltcp::time;
use ::smoltcp::wire::IpAddress;

use super::WORDS;
use crate::Instant;
use crate::link::{Address, Checksum, Checksums, Medium};

/// smoltcp's moments are signed; one before the epoch is taken for the epoch.
pub(crate) fn instant_in(instant: time::Instant) -> Instant {
    Instant::from_micros(u64::try_from(instant.total_micros()).unwrap_or(0))
}

/// A moment later than smoltcp can say is taken for the last one it can.
pub(crate) fn instant_out(instant: Instant) -> time::Instant {
    time::Instant::from_micros(i64::try_from(instant.as_micros()).unwrap_or(i64::MAX))
}

impl From<time::Instant> for Instant {
    /// A moment before the epoch is taken for the epoch.
    fn from(instant: time::Instant) -> Self {
        instant_in(instant)
    }
}

impl From<Instant> for time::Instant {
    /// A moment later than smoltcp can say is taken for the last one it can.
    fn from(instant: Instant) -> Self {
        instant_out(instant)
    }
}

/// An address in as many words as smoltcp was built for.
pub(super) fn address_in(address: IpAddress) -> Address<WORDS> {
    Address::new(IpAddr::from(address)).unwrap_or(Address::NONE)
}

/// Which checksums the device leaves to software.
pub(super) fn checksums_in(capabilities: &DeviceCapabilities) -> Checksums {
    let of = |checksum: &phy::Checksum| match (checksum.rx(), checksum.tx()) {
        (true, true) => Checksum::Software,
        (true, false) => Checksum::SoftwareOnReceive,
        (false, true) => Checksum::SoftwareOnTransmit,
        (false, false) => Checksum::Device,
    };
    Checksums {
        ipv4: of(&capabilities.checksum.ipv4),
        transport: of(&capabilities.checksum.tcp),
    }
}

/// The medium of a device; `None` if a link can write no frames for it.
///
/// Which variants `smoltcp::phy::Medium` has depends on features of smoltcp that only the
/// application knows. The one place where smoltcp names a medium whatever they are is its
/// capture writer, which picks a link type by it.
pub(super) fn medium_in(capabilities: &DeviceCapabilities) -> Option<Medium> {
    let mut name = LinkName(None);
    let _ = PcapWriter::new(Described(capabilities), &mut name, PcapMode::Both);
    name.0
}

struct LinkName(Option<Medium>);

impl PcapSink for &mut LinkName {
    fn write(&mut self, _: &[u8]) {}

    fn global_header(&mut self, link_type: PcapLinkType) {
        self.0 = match link_type {
            PcapLinkType::Ethernet => Some(Medium::Ethernet),
            PcapLinkType::Ip => Some(Medium::Ip),
            _ => None,
        };
    }
}

/// A device that has capabilities and no frames.
struct Described<'c>(&'c DeviceCapabilities);

enum NoToken {}

impl Device for Described<'_> {
    type RxToken<'t>
        = NoToken
    where
        Self: 't;
    type TxToken<'t>
        = NoToken
    where
        Self: 't;

    fn receive(&mut self, _: time::Instant) -> Option<(NoToken, NoToken)> {
        None
    }

    fn transmit(&mut self, _: time::Instant) -> Option<NoToken> {
        None
    }

    fn capabilities(&self) -> DeviceCapabilities {
        self.0.clone()
    }
}

impl phy::RxToken for NoToken {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, _: F) -> R {
        match self {}
    }
}

impl phy::TxToken for NoToken {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, _: usize, _: F) -> R {
        match self {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use ::smoltcp::phy::Medium as Theirs;

    /// Each medium is told from the others by what smoltcp itself calls it.
    #[test]
    fn media_are_told_apart() {
        for (medium, link) in [
            (Theirs::Ethernet, Some(Medium::Ethernet)),
            (Theirs::Ip, Some(Medium::Ip)),
            (Theirs::Ieee802154, None),
        ] {
            let mut capabilities = DeviceCapabilities::default();
            capabilities.medium = medium;
            assert_eq!(medium_in(&capabilities), link);
        }
    }

    /// Times outside the other side's range saturate.
    #[test]
    fn instants_saturate() {
        assert_eq!(instant_in(time::Instant::from_micros(-1)), Instant::ZERO);
        assert_eq!(instant_out(Instant::MAX).total_micros(), i64::MAX);
        let moment = time::Instant::from_micros(1_234_567);
        assert_eq!(instant_out(instant_in(moment)), moment);
        assert_eq!(time::Instant::from(Instant::from(moment)), moment);
    }
}
