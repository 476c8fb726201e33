//! embassy-net's driver where time passes within a poll.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::disallowed_methods,
    clippy::indexing_slicing,
    reason = "a test that panics fails, and moves the clock of embassy-time itself"
)]

use embassy_net_driver::{
    Capabilities, Driver, HardwareAddress, LinkState, RxToken as _, TxToken as _,
};
use embassy_time::MockDriver;
use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{IpAddress, IpProtocol, IpRepr, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber};

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::task::{Context, Waker};
use std::time::Duration;
use tcp_keepalive::Config;
use tcp_keepalive::embassy_net::{self, CloseReason, Connection, State};
type Lane = Rc<RefCell<VecDeque<Vec<u8>>>>;
struct Port {
    rx: Lane,
    tx: Lane,
}
struct Frame(Vec<u8>);
struct Room(Lane);
impl embassy_net_driver::RxToken for Frame {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(mut self, f: F) -> R {
        f(&mut self.0)
    }
}
impl embassy_net_driver::TxToken for Room {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut v = vec![0; len];
        let r = f(&mut v);
        self.0.borrow_mut().push_back(v);
        r
    }
}
impl Driver for Port {
    type RxToken<'a> = Frame;
    type TxToken<'a> = Room;
    fn receive(&mut self, _: &mut Context<'_>) -> Option<(Frame, Room)> {
        let f = self.rx.borrow_mut().pop_front()?;
        Some((Frame(f), Room(self.tx.clone())))
    }
    fn transmit(&mut self, _: &mut Context<'_>) -> Option<Room> {
        Some(Room(self.tx.clone()))
    }
    fn link_state(&mut self, _: &mut Context<'_>) -> LinkState {
        LinkState::Up
    }
    fn capabilities(&self) -> Capabilities {
        let mut c = Capabilities::default();
        c.max_transmission_unit = 1500;
        c
    }
    fn hardware_address(&self) -> HardwareAddress {
        HardwareAddress::Ip
    }
}
fn tcp(out: bool, port: u16, control: TcpControl, seq: i32, ack: Option<i32>) -> Vec<u8> {
    let (us, peer) = (IpAddress::v4(192, 0, 2, 1), IpAddress::v4(192, 0, 2, 2));
    let (src, dst, ports) = if out {
        (us, peer, [port, 80])
    } else {
        (peer, us, [80, port])
    };
    let tcp = TcpRepr {
        src_port: ports[0],
        dst_port: ports[1],
        control,
        seq_number: TcpSeqNumber(seq),
        ack_number: ack.map(TcpSeqNumber),
        window_len: 1000,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload: b"",
    };
    let caps = ChecksumCapabilities::default();
    let ip = IpRepr::new(src, dst, IpProtocol::Tcp, tcp.buffer_len(), 64);
    let mut p = vec![0; ip.buffer_len()];
    ip.emit(&mut p[..], &caps);
    let n = ip.header_len();
    tcp.emit(
        &mut TcpPacket::new_unchecked(&mut p[n..]),
        &src,
        &dst,
        &caps,
    );
    p
}
fn to(us: u64) {
    let now = embassy_time::Instant::now().as_micros();
    MockDriver::get().advance(embassy_time::Duration::from_micros(us - now));
}

/// K9: an answer that arrived before its verdict was due is in time, also while the stack handles the RST of another verdict.
#[test]
fn an_answer_that_waits_in_the_driver_while_another_is_given_up() {
    MockDriver::get().reset();
    let (rx, tx) = (Lane::default(), Lane::default());
    let state: State<2> = State::new();
    let (mut device, control) = embassy_net::new(
        Port {
            rx: rx.clone(),
            tx: tx.clone(),
        },
        &state,
    )
    .unwrap();
    control.set_default(Some(
        Config::new(Duration::from_secs(10), Duration::from_secs(2), 2).unwrap(),
    ));
    let cx = &mut Context::from_waker(Waker::noop());
    let ends = |p: u16| Connection::new(([192, 0, 2, 1], p), ([192, 0, 2, 2], 80));
    // The stack's part of a poll: takes what there is.
    macro_rules! ingress {
        () => {
            while let Some((rx, _tx)) = device.receive(cx) {
                rx.consume(|_| ())
            }
        };
    }
    macro_rules! send {
        ($f:expr) => {{
            let f = $f;
            device
                .transmit(cx)
                .unwrap()
                .consume(f.len(), |b| b.copy_from_slice(&f));
        }};
    }
    for (port, at) in [(1000, 1_000_000), (1001, 1_000_050)] {
        to(at);
        send!(tcp(true, port, TcpControl::Syn, 99, None));
        rx.borrow_mut()
            .push_back(tcp(false, port, TcpControl::Syn, 499, Some(100)));
        ingress!();
        send!(tcp(true, port, TcpControl::None, 100, Some(500)));
        ingress!();
    }
    for at in [11_000_000, 11_000_050, 13_000_000, 13_000_050] {
        tx.borrow_mut().clear();
        to(at);
        ingress!();
        assert_eq!(tx.borrow().len(), 1, "a probe at {at}");
    }
    // The verdict on the first one falls.
    to(15_000_000);
    let mut calls = 0;
    while let Some((token, _tx)) = device.receive(cx) {
        calls += 1;
        let len = token.consume(|f| f.len());
        if len > 0 && embassy_time::Instant::now().as_micros() == 15_000_000 {
            // Its RST: the stack needs 100 us for it. Meanwhile the peer of the second one answers, 30 us before that falls due.
            to(15_000_020);
            rx.borrow_mut()
                .push_back(tcp(false, 1001, TcpControl::None, 500, Some(100)));
            to(15_000_100);
        }
    }
    for _ in 0..3 {
        ingress!();
    }
    assert!(matches!(
        control.close_reason(ends(1000)),
        Some(CloseReason::KeepAlive(_))
    ));
    assert_eq!(
        control.close_reason(ends(1001)),
        None,
        "given up though its answer was in the driver, calls {calls}"
    );
}
