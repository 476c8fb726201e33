//! smoltcp's terms in ours, and back.

use ::smoltcp::phy::{
    self, Device, DeviceCapabilities, PcapLinkType, PcapMode, PcapSink, PcapWriter,
};
use ::smoltcp::time;

use crate::Instant;

/// smoltcp's moments are signed; one before the epoch is taken for the epoch.
pub(crate) fn instant_in(instant: time::Instant) -> Instant {
    Instant::from_micros(u64::try_from(instant.total_micros()).unwrap_or(0))
}

/// A moment later than smoltcp can say is taken for the last one it can.
pub(crate) fn instant_out(instant: Instant) -> time::Instant {
    time::Instant::from_micros(i64::try_from(instant.as_micros()).unwrap_or(i64::MAX))
}

/// What a frame starts with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Link {
    /// No device was seen yet.
    Unknown,
    Ethernet,
    Ip,
    /// smoltcp panics on a raw socket's packet on this medium (IEEE 802.15.4).
    Unsupported,
}

/// The medium of a device.
///
/// Which variants `smoltcp::phy::Medium` has depends on features of smoltcp that only the
/// application knows. The one place where smoltcp names a medium whatever they are is its
/// capture writer, which picks a link type by it.
pub(super) fn link_of(capabilities: &DeviceCapabilities) -> Link {
    let mut name = LinkName(Link::Unsupported);
    let _ = PcapWriter::new(Described(capabilities), &mut name, PcapMode::Both);
    name.0
}

struct LinkName(Link);

impl PcapSink for &mut LinkName {
    fn write(&mut self, _: &[u8]) {}

    fn global_header(&mut self, link_type: PcapLinkType) {
        self.0 = match link_type {
            PcapLinkType::Ethernet => Link::Ethernet,
            PcapLinkType::Ip => Link::Ip,
            _ => Link::Unsupported,
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
    use ::smoltcp::phy::Medium;

    /// Each medium is told from the others by what smoltcp itself calls it.
    #[test]
    fn media_are_told_apart() {
        for (medium, link) in [
            (Medium::Ethernet, Link::Ethernet),
            (Medium::Ip, Link::Ip),
            (Medium::Ieee802154, Link::Unsupported),
        ] {
            let mut capabilities = DeviceCapabilities::default();
            capabilities.medium = medium;
            assert_eq!(link_of(&capabilities), link);
        }
    }

    /// Times outside the other side's range saturate.
    #[test]
    fn instants_saturate() {
        assert_eq!(instant_in(time::Instant::from_micros(-1)), Instant::ZERO);
        assert_eq!(instant_out(Instant::MAX).total_micros(), i64::MAX);
        let moment = time::Instant::from_micros(1_234_567);
        assert_eq!(instant_out(instant_in(moment)), moment);
    }
}
