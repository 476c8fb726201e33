//! The device wrapper through which the table sees every frame.

use core::cell::Cell;

use ::smoltcp::phy::{self, Device, DeviceCapabilities, PacketMeta};
use ::smoltcp::time::Instant;

use super::table::Table;

/// The longest frame that smoltcp's own keep-alive can be: Ethernet, IPv6, TCP with timestamps,
/// an octet.
const KEEP_ALIVE_FRAME_LEN: usize = 14 + 40 + 20 + 12 + 1;

/// The table as the tap and its tokens share it: whoever looks at it takes it, and puts it back.
pub(super) type Shared<'t, const N: usize> = Cell<Option<&'t mut Table<N>>>;

/// A device that shows the table every frame on its way, and otherwise is the device it wraps.
pub(super) struct Tap<'a, 't, D: ?Sized, const N: usize> {
    inner: &'a mut D,
    table: &'a Shared<'t, N>,
}

impl<'a, 't, D: Device + ?Sized, const N: usize> Tap<'a, 't, D, N> {
    pub(super) fn new(inner: &'a mut D, table: &'a Shared<'t, N>) -> Self {
        Self { inner, table }
    }
}

/// Runs `look` on the table. No look happens within another, so the table is always there; were
/// it not, the frame would go unseen, and that is better than a panic.
#[inline]
fn with<R, const N: usize>(
    table: &Shared<'_, N>,
    look: impl FnOnce(&mut Table<N>) -> R,
) -> Option<R> {
    let there = table.take()?;
    let seen = look(there);
    table.set(Some(there));
    Some(seen)
}

impl<'t, D: Device + ?Sized, const N: usize> Device for Tap<'_, 't, D, N> {
    type RxToken<'a>
        = RxToken<'a, 't, D::RxToken<'a>, N>
    where
        Self: 'a;
    type TxToken<'a>
        = TxToken<'a, 't, D::TxToken<'a>, N>
    where
        Self: 'a;

    #[inline]
    fn receive(&mut self, timestamp: Instant) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        let (rx, tx) = self.inner.receive(timestamp)?;
        let table = self.table;
        Some((
            RxToken { inner: rx, table },
            TxToken {
                inner: tx,
                table,
                is_reply: true,
            },
        ))
    }

    #[inline]
    fn transmit(&mut self, timestamp: Instant) -> Option<Self::TxToken<'_>> {
        let token = self.inner.transmit(timestamp);
        let table = self.table;
        with(table, |table| table.handle_token(token.is_some()));
        token.map(|inner| TxToken {
            inner,
            table,
            is_reply: false,
        })
    }

    #[inline]
    fn capabilities(&self) -> DeviceCapabilities {
        self.inner.capabilities()
    }
}

/// A frame on its way in.
pub(super) struct RxToken<'a, 't, T, const N: usize> {
    inner: T,
    table: &'a Shared<'t, N>,
}

impl<T: phy::RxToken, const N: usize> phy::RxToken for RxToken<'_, '_, T, N> {
    #[inline]
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        let table = self.table;
        self.inner.consume(|frame| {
            with(table, |table| table.handle_received(frame));
            f(frame)
        })
    }

    fn meta(&self) -> PacketMeta {
        self.inner.meta()
    }
}

/// Room for a frame on its way out.
pub(super) struct TxToken<'a, 't, T, const N: usize> {
    inner: T,
    table: &'a Shared<'t, N>,
    /// It came with a received frame, and can only carry the stack's immediate answer to it.
    is_reply: bool,
}

impl<T: phy::TxToken, const N: usize> phy::TxToken for TxToken<'_, '_, T, N> {
    #[inline]
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let Self {
            inner,
            table,
            is_reply,
        } = self;
        if len <= KEEP_ALIVE_FRAME_LEN && with(table, |table| table.intercepts()) == Some(true) {
            return consume_inspected(inner, table, is_reply, len, f);
        }
        inner.consume(len, |frame| {
            let result = f(frame);
            with(table, |table| table.handle_sent(frame, is_reply));
            result
        })
    }

    fn set_meta(&mut self, meta: PacketMeta) {
        self.inner.set_meta(meta);
    }
}

/// Lets the stack write into a buffer of ours, and passes on what it wrote unless the table keeps
/// it back.
#[cold]
#[inline(never)]
fn consume_inspected<T: phy::TxToken, R, const N: usize>(
    inner: T,
    table: &Shared<'_, N>,
    is_reply: bool,
    len: usize,
    f: impl FnOnce(&mut [u8]) -> R,
) -> R {
    let mut buffer = [0; KEEP_ALIVE_FRAME_LEN];
    let (frame, _) = buffer.split_at_mut(len.min(KEEP_ALIVE_FRAME_LEN));
    let result = f(frame);
    if with(table, |table| table.intercept(frame)) != Some(true) {
        inner.consume(len, |out| {
            for (to, from) in out.iter_mut().zip(frame.iter()) {
                *to = *from;
            }
            with(table, |table| table.handle_sent(out, is_reply));
        });
    }
    result
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::vec;

    /// Tokens of a device that says how it was used.
    struct Wire<'a> {
        meta: &'a Cell<PacketMeta>,
        len: &'a Cell<usize>,
    }

    impl phy::RxToken for Wire<'_> {
        fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
            f(&[])
        }

        fn meta(&self) -> PacketMeta {
            self.meta.get()
        }
    }

    impl phy::TxToken for Wire<'_> {
        fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
            self.len.set(len);
            f(&mut vec![0; len])
        }

        fn set_meta(&mut self, meta: PacketMeta) {
            self.meta.set(meta);
        }
    }

    fn meta(id: u32) -> PacketMeta {
        let mut meta = PacketMeta::default();
        meta.id = id;
        meta
    }

    /// What marks a packet, for its time stamp say, reaches the device and comes from it.
    #[test]
    fn packets_keep_their_marks() {
        let mut there = Table::<1>::new();
        let table = &Cell::new(Some(&mut there));
        let (marked, len) = (Cell::new(meta(7)), Cell::new(0));
        let wire = || Wire {
            meta: &marked,
            len: &len,
        };
        let inner = wire();
        assert_eq!(phy::RxToken::meta(&RxToken { inner, table }), meta(7));
        let mut token = TxToken {
            inner: wire(),
            table,
            is_reply: false,
        };
        phy::TxToken::set_meta(&mut token, meta(8));
        assert_eq!(marked.get(), meta(8));
    }

    /// While smoltcp's keep-alive is awaited, frames of any length get the room they want.
    #[test]
    fn a_frame_of_any_length_has_room() {
        for wanted in [0, KEEP_ALIVE_FRAME_LEN, KEEP_ALIVE_FRAME_LEN + 1, 1514] {
            let mut there = Table::<1>::new();
            there.is_learning = true;
            let table = &Cell::new(Some(&mut there));
            let (marked, len) = (Cell::new(meta(0)), Cell::new(0));
            let token = TxToken {
                inner: Wire {
                    meta: &marked,
                    len: &len,
                },
                table,
                is_reply: false,
            };
            let had = phy::TxToken::consume(token, wanted, |frame| frame.len());
            assert_eq!((had, len.get()), (wanted, wanted));
        }
    }
}
