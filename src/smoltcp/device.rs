//! The device wrapper: it shows the link every frame, and carries those of the link's own.

use core::cell::Cell;
use core::fmt;

use ::smoltcp::phy::{self, DeviceCapabilities, PacketMeta};
use ::smoltcp::time;

use super::KeepAliveSet;
use super::convert::instant_in;

/// Longer than any segment without data: Ethernet, IPv6, TCP with all its options.
const ANSWER_LEN: usize = 128;

/// What the device did with the frames it was given since the poll began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Progress {
    /// Nothing was given to it.
    None,
    /// It refused to take one, and took none.
    Refused,
    /// It took one.
    Sent,
}

/// What a call of `receive` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// Receive. Serve nothing: the sockets were not looked at.
    Watch,
    /// Receive. Nothing was due when this poll began.
    Idle,
    /// Receive. Serve what is due when there is nothing more.
    Receive,
    /// Serve what is due, and hand over the frames of ours for the stack.
    Serve,
}

/// What the device and its tokens share.
struct Shared<'s, const N: usize> {
    /// A look at the set takes it, and puts it back.
    set: Cell<Option<&'s mut KeepAliveSet<N>>>,
    step: Step,
    /// The length of a frame of ours on its way to the stack.
    len: usize,
}

/// A device through which a [`KeepAliveSet`] sees every frame, and sends its own.
///
/// [`KeepAliveSet::wrap`] makes one.
pub struct Device<'a, D: ?Sized, const N: usize> {
    inner: &'a mut D,
    shared: Shared<'a, N>,
}

impl<'a, D: phy::Device + ?Sized, const N: usize> Device<'a, D, N> {
    pub(super) const fn new(set: &'a mut KeepAliveSet<N>, inner: &'a mut D, step: Step) -> Self {
        Self {
            inner,
            shared: Shared {
                set: Cell::new(Some(set)),
                step,
                len: 0,
            },
        }
    }

    /// Sends what is due.
    #[cold]
    #[inline(never)]
    pub(super) fn serve(&mut self, timestamp: time::Instant) {
        let Some(set) = self.shared.set.get_mut() else {
            return;
        };
        while let Some(len) = set.link.write_next(&mut set.frame) {
            let Some(token) = self.inner.transmit(timestamp) else {
                set.note_refused();
                set.link.note_blocked();
                break;
            };
            phy::TxToken::consume(token, len, |out| {
                if let (Some(to), Some(from)) = (out.get_mut(..len), set.frame.get(..len)) {
                    to.copy_from_slice(from);
                }
            });
            set.progress = Progress::Sent;
            set.link.note_transmitted();
        }
    }

    /// Sends what is due, and writes the next frame of ours for the stack. Returns whether there is
    /// one.
    fn hand_over(&mut self, timestamp: time::Instant) -> bool {
        let Shared { set, step, len } = &mut self.shared;
        let Some(set) = set.get_mut() else {
            return false;
        };
        set.link.judge();
        if let Some(written) = set.link.poll_receive(&mut set.frame) {
            *len = written;
            return true;
        }
        *step = Step::Receive;
        self.serve(timestamp);
        false
    }
}

impl<const N: usize> Shared<'_, N> {
    /// Runs `look` on the set. No look happens within another, so the set is always there; were it
    /// not, the frame would go unseen, and that is better than a panic.
    fn with(&self, look: impl FnOnce(&mut KeepAliveSet<N>)) {
        if let Some(set) = self.set.take() {
            look(set);
            self.set.set(Some(set));
        }
    }

    /// Shows the link a frame that the stack has written, and that the device takes.
    #[inline(never)]
    fn handle_written(&self, frame: &mut [u8]) {
        self.with(|set| {
            set.progress = Progress::Sent;
            set.link.write_over(frame);
        });
    }
}

impl<D: ?Sized, const N: usize> fmt::Debug for Device<'_, D, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device").finish_non_exhaustive()
    }
}

impl<T, const N: usize> fmt::Debug for RxToken<'_, '_, T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RxToken").finish_non_exhaustive()
    }
}

impl<T, const N: usize> fmt::Debug for TxToken<'_, '_, T, N> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TxToken").finish_non_exhaustive()
    }
}

/// The one place where the stack's closure for a received frame is called: in a second one, the
/// compiler would repeat the whole of the stack's ingress.
#[inline(never)]
fn read<R>(frame: &[u8], f: impl FnOnce(&[u8]) -> R) -> R {
    f(frame)
}

/// The same for a frame that the stack writes.
#[inline(never)]
fn write<R>(frame: &mut [u8], f: impl FnOnce(&mut [u8]) -> R) -> R {
    f(frame)
}

impl<'s, D: phy::Device + ?Sized, const N: usize> phy::Device for Device<'s, D, N> {
    type RxToken<'a>
        = RxToken<'a, 's, D::RxToken<'a>, N>
    where
        Self: 'a;
    type TxToken<'a>
        = TxToken<'a, 's, D::TxToken<'a>, N>
    where
        Self: 'a;

    #[inline]
    fn receive(
        &mut self,
        timestamp: time::Instant,
    ) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        let mut inner = (None, None);
        if self.shared.step == Step::Serve {
            if !self.hand_over(timestamp) {
                return None;
            }
        } else {
            let set = self.shared.set.get_mut().as_mut()?;
            if self.shared.step == Step::Watch {
                set.link.handle_now(instant_in(timestamp));
            }
            if let Some((rx, tx)) = self.inner.receive(timestamp) {
                inner = (Some(rx), Some(tx));
            } else {
                let is_due = match self.shared.step {
                    Step::Watch => false,
                    // What has arrived may be a reason to serve, whatever the time.
                    Step::Idle => set.link.has_work(),
                    _ => set.link.is_due_now(),
                };
                if !is_due {
                    return None;
                }
                // An empty frame: the stack passes it over, and asks again.
                self.shared.step = Step::Serve;
                self.shared.len = 0;
            }
        }
        let shared = &self.shared;
        Some((
            RxToken {
                inner: inner.0,
                shared,
            },
            TxToken {
                inner: inner.1,
                shared,
            },
        ))
    }

    #[inline]
    fn transmit(&mut self, timestamp: time::Instant) -> Option<Self::TxToken<'_>> {
        let set = self.shared.set.get_mut().as_mut()?;
        if self.shared.step == Step::Watch {
            set.link.handle_now(instant_in(timestamp));
        }
        let inner = self.inner.transmit(timestamp);
        if inner.is_none() {
            set.note_refused();
        }
        Some(TxToken {
            inner: Some(inner?),
            shared: &self.shared,
        })
    }

    #[inline]
    fn capabilities(&self) -> DeviceCapabilities {
        self.inner.capabilities()
    }
}

/// A frame on its way in.
pub struct RxToken<'a, 's, T, const N: usize> {
    /// `None` for a frame of ours.
    inner: Option<T>,
    shared: &'a Shared<'s, N>,
}

impl<T: phy::RxToken, const N: usize> phy::RxToken for RxToken<'_, '_, T, N> {
    #[inline]
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        let Self { inner, shared } = self;
        if let Some(inner) = inner {
            return inner.consume(|frame| {
                shared.with(|set| set.link.receive(frame));
                read(frame, f)
            });
        }
        // The link is not shown the answer to a frame of ours, so it can be away until then.
        let set = shared.set.take();
        let frame = set.as_ref().and_then(|set| set.frame.get(..shared.len));
        let result = read(frame.unwrap_or_default(), f);
        shared.set.set(set);
        result
    }

    fn meta(&self) -> PacketMeta {
        self.inner
            .as_ref()
            .map_or_else(PacketMeta::default, T::meta)
    }
}

/// Room for a frame on its way out.
pub struct TxToken<'a, 's, T, const N: usize> {
    /// `None` for the answer to a frame of ours, which must not leave.
    inner: Option<T>,
    shared: &'a Shared<'s, N>,
}

impl<T: phy::TxToken, const N: usize> phy::TxToken for TxToken<'_, '_, T, N> {
    #[inline]
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let Self { inner, shared } = self;
        let Some(inner) = inner else {
            let mut answer = [0; ANSWER_LEN];
            let (frame, _) = answer.split_at_mut(len.min(ANSWER_LEN));
            return write(frame, f);
        };
        inner.consume(len, |frame| {
            let result = write(frame, f);
            shared.handle_written(frame);
            result
        })
    }

    fn set_meta(&mut self, meta: PacketMeta) {
        if let Some(inner) = &mut self.inner {
            inner.set_meta(meta);
        }
    }
}
