//! A cable with a driver of embassy-net's at each end.

use core::cell::{Cell, RefCell};
use core::task::{Context, Waker};
use std::collections::VecDeque;
use std::rc::Rc;

use embassy_net_driver::{Capabilities, Driver, HardwareAddress, LinkState};

/// One direction of a cable.
#[derive(Default)]
pub(crate) struct Lane {
    pub(crate) frames: RefCell<VecDeque<Vec<u8>>>,
    reader: RefCell<Option<Waker>>,
    /// Frames vanish.
    pub(crate) is_cut: Cell<bool>,
    /// The sender's driver has no room.
    pub(crate) is_full: Cell<bool>,
    /// It hands out what it receives all the same.
    pub(crate) is_greedy: Cell<bool>,
    /// Frames that entered.
    pub(crate) sent: RefCell<Vec<Vec<u8>>>,
}

impl Lane {
    /// Puts a frame on the cable, and wakes the reader.
    pub(crate) fn send(&self, frame: Vec<u8>) {
        self.frames.borrow_mut().push_back(frame);
        if let Some(reader) = self.reader.take() {
            reader.wake();
        }
    }
}

pub(crate) struct Port {
    pub(crate) from: Rc<Lane>,
    pub(crate) to: Rc<Lane>,
    pub(crate) is_up: Rc<Cell<bool>>,
    pub(crate) waker: Rc<RefCell<Option<Waker>>>,
    pub(crate) address: HardwareAddress,
}

pub(crate) struct Frame(pub(crate) Vec<u8>);
pub(crate) struct Room<'a>(pub(crate) &'a Lane);

impl embassy_net_driver::RxToken for Frame {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(mut self, f: F) -> R {
        f(&mut self.0)
    }
}

impl embassy_net_driver::TxToken for Room<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = vec![0; len];
        let result = f(&mut frame);
        self.0.sent.borrow_mut().push(frame.clone());
        if !self.0.is_cut.get() {
            self.0.send(frame);
        }
        result
    }
}

impl Driver for Port {
    type RxToken<'a> = Frame;
    type TxToken<'a> = Room<'a>;

    fn receive(&mut self, cx: &mut Context<'_>) -> Option<(Frame, Room<'_>)> {
        *self.from.reader.borrow_mut() = Some(cx.waker().clone());
        // As most drivers do: no frame while there is no room for an answer.
        if self.to.is_full.get() && !self.to.is_greedy.get() {
            return None;
        }
        let frame = self.from.frames.borrow_mut().pop_front()?;
        Some((Frame(frame), Room(&self.to)))
    }

    fn transmit(&mut self, _: &mut Context<'_>) -> Option<Room<'_>> {
        (!self.to.is_full.get()).then_some(Room(&self.to))
    }

    fn link_state(&mut self, cx: &mut Context<'_>) -> LinkState {
        *self.waker.borrow_mut() = Some(cx.waker().clone());
        if self.is_up.get() {
            LinkState::Up
        } else {
            LinkState::Down
        }
    }

    fn capabilities(&self) -> Capabilities {
        let mut capabilities = Capabilities::default();
        capabilities.max_transmission_unit = 1514;
        capabilities
    }

    fn hardware_address(&self) -> HardwareAddress {
        self.address
    }
}
