//! The driver around a driver: it shows the link every frame, and carries those of the link's own.

use core::fmt;
use core::future::Future;
use core::pin::pin;
use core::task::Context;

use embassy_net_driver::{self as driver, Capabilities, Driver, HardwareAddress, LinkState};
use embassy_sync::blocking_mutex::raw::{CriticalSectionRawMutex, RawMutex};
use embassy_time::Timer;

use super::State;
use crate::Instant;
use crate::link::MAX_FRAME_LEN;

/// Longer than any answer to a frame of ours: Ethernet, IPv6, TCP with all its options.
const ANSWER_LEN: usize = 128;

/// What the next call of `receive` does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// Asks the driver for a frame.
    Receive,
    /// The driver has none: hands over what is for the stack, then sends what is due.
    Serve,
}

/// A driver through which keep-alive sees every frame, and sends its own.
///
/// [`new`](super::new) makes one.
pub struct Device<'d, D, const N: usize, M: RawMutex = CriticalSectionRawMutex, const W: usize = 4>
{
    inner: D,
    state: &'d State<N, M, W>,
    step: Step,
    /// A frame of ours.
    frame: [u8; MAX_FRAME_LEN],
}

impl<'d, D: Driver, const N: usize, M: RawMutex, const W: usize> Device<'d, D, N, M, W> {
    pub(super) const fn new(inner: D, state: &'d State<N, M, W>) -> Self {
        Self {
            inner,
            state,
            step: Step::Receive,
            frame: [0; MAX_FRAME_LEN],
        }
    }

    /// Sends what is due.
    #[inline(never)]
    fn serve(&mut self, now: Instant, cx: &mut Context<'_>) {
        loop {
            let frame = &mut self.frame;
            let len = self
                .state
                .with(|shared| shared.link.poll_transmit(now, frame));
            let Some(len) = len else {
                return;
            };
            let Some(token) = self.inner.transmit(cx) else {
                return self.state.with(|shared| shared.link.handle_blocked(now));
            };
            driver::TxToken::consume(token, len, |out| {
                if let (Some(to), Some(from)) = (out.get_mut(..len), self.frame.get(..len)) {
                    to.copy_from_slice(from);
                }
            });
            self.state
                .with(|shared| shared.link.handle_transmitted(now));
        }
    }

    /// Writes the next frame of ours for the stack, and returns its length. When there is none, sends
    /// what is due.
    fn hand_over(&mut self, now: Instant, cx: &mut Context<'_>) -> Option<usize> {
        let frame = &mut self.frame;
        let len = self.state.with(|shared| shared.link.poll_receive(frame));
        if len.is_none() {
            self.step = Step::Receive;
            self.serve(now, cx);
        }
        len
    }
}

/// Wakes the runner when there is something to do. A task has one wake-up in the queue, its earliest.
/// When that strikes, ours is gone too, so it is set at each poll.
fn set_timer<const N: usize, M: RawMutex, const W: usize>(
    state: &State<N, M, W>,
    cx: &mut Context<'_>,
) {
    if let Some(at) = state.with(|shared| shared.link.poll_timeout()) {
        // Polled once and dropped, a timer leaves its wake-up in the queue.
        let timer = pin!(Timer::at(at.into()));
        if timer.poll(cx).is_ready() {
            cx.waker().wake_by_ref();
        }
    }
}

impl<D, const N: usize, M: RawMutex, const W: usize> fmt::Debug for Device<'_, D, N, M, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Device").finish_non_exhaustive()
    }
}

impl<D: Driver, const N: usize, M: RawMutex, const W: usize> Driver for Device<'_, D, N, M, W> {
    type RxToken<'a>
        = RxToken<'a, D::RxToken<'a>, N, M, W>
    where
        Self: 'a;
    type TxToken<'a>
        = TxToken<'a, D::TxToken<'a>, N, M, W>
    where
        Self: 'a;

    fn receive(&mut self, cx: &mut Context<'_>) -> Option<(Self::RxToken<'_>, Self::TxToken<'_>)> {
        let now = clock();
        let mut tokens = (None, None);
        let mut len = 0;
        if self.step == Step::Receive {
            self.state.with(|shared| shared.meet(cx.waker()));
            if let Some((rx, tx)) = self.inner.receive(cx) {
                tokens = (Some(rx), Some(tx));
            } else if self.state.with(|shared| shared.judge(now)) {
                // An empty frame: the stack passes it over, and asks again.
                self.step = Step::Serve;
            } else {
                set_timer(self.state, cx);
                return None;
            }
        } else {
            let Some(written) = self.hand_over(now, cx) else {
                set_timer(self.state, cx);
                return None;
            };
            len = written;
        }
        let frame = self.frame.get_mut(..len).unwrap_or_default();
        let state = self.state;
        Some((
            RxToken {
                inner: tokens.0,
                frame,
                state,
                now,
            },
            TxToken {
                inner: tokens.1,
                state,
                now,
            },
        ))
    }

    fn transmit(&mut self, cx: &mut Context<'_>) -> Option<Self::TxToken<'_>> {
        Some(TxToken {
            inner: Some(self.inner.transmit(cx)?),
            state: self.state,
            now: clock(),
        })
    }

    fn link_state(&mut self, cx: &mut Context<'_>) -> LinkState {
        self.inner.link_state(cx)
    }

    fn capabilities(&self) -> Capabilities {
        self.inner.capabilities()
    }

    fn hardware_address(&self) -> HardwareAddress {
        self.inner.hardware_address()
    }
}

/// The one place where the stack's closure for a received frame is called: in a second one, the
/// compiler would repeat the whole of the stack's ingress.
#[inline(never)]
fn read<R>(frame: &mut [u8], f: impl FnOnce(&mut [u8]) -> R) -> R {
    f(frame)
}

/// A frame on its way in.
pub struct RxToken<'a, T, const N: usize, M: RawMutex, const W: usize> {
    /// `None` for a frame of ours.
    inner: Option<T>,
    frame: &'a mut [u8],
    state: &'a State<N, M, W>,
    now: Instant,
}

impl<T: driver::RxToken, const N: usize, M: RawMutex, const W: usize> driver::RxToken
    for RxToken<'_, T, N, M, W>
{
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, f: F) -> R {
        let Self {
            inner,
            frame,
            state,
            now,
        } = self;
        if let Some(inner) = inner {
            inner.consume(|frame| {
                state.with(|shared| shared.handle_received(now, frame));
                read(frame, f)
            })
        } else {
            read(frame, f)
        }
    }
}

impl<T, const N: usize, M: RawMutex, const W: usize> fmt::Debug for RxToken<'_, T, N, M, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RxToken").finish_non_exhaustive()
    }
}

/// Room for a frame on its way out.
pub struct TxToken<'a, T, const N: usize, M: RawMutex, const W: usize> {
    /// `None` for the answer to a frame of ours, which must not leave. Most drivers hand out no
    /// frame while they have no room to send, the very moment at which ours matter.
    inner: Option<T>,
    state: &'a State<N, M, W>,
    now: Instant,
}

impl<T: driver::TxToken, const N: usize, M: RawMutex, const W: usize> driver::TxToken
    for TxToken<'_, T, N, M, W>
{
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let Self { inner, state, now } = self;
        if let Some(inner) = inner {
            inner.consume(len, |frame| {
                let result = read(frame, f);
                state.with(|shared| shared.handle_sent(now, frame));
                result
            })
        } else {
            let mut answer = [0; ANSWER_LEN];
            let (frame, _) = answer.split_at_mut(len.min(ANSWER_LEN));
            let result = read(frame, f);
            state.with(|shared| shared.link.handle_answer(frame));
            result
        }
    }
}

impl<T, const N: usize, M: RawMutex, const W: usize> fmt::Debug for TxToken<'_, T, N, M, W> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TxToken").finish_non_exhaustive()
    }
}

/// Reads the clock of embassy-time, which is the stack's own.
#[expect(
    clippy::disallowed_methods,
    reason = "a driver of embassy-net is not told the time"
)]
fn clock() -> Instant {
    embassy_time::Instant::now().into()
}
