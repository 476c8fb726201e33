//! Two sockets of smoltcp's with the same ends.

use std::collections::VecDeque;
use std::vec::Vec;

use core::time::Duration;

use ::smoltcp::iface::{Config as InterfaceConfig, Interface, SocketSet};
use ::smoltcp::phy::{Device, DeviceCapabilities, Medium, RxToken, TxToken};
use ::smoltcp::socket::tcp;
use ::smoltcp::time;
use ::smoltcp::wire::{HardwareAddress, IpCidr, TcpControl, TcpRepr, TcpSeqNumber};

use super::{V4, emit, repr, segment};
use crate::smoltcp::KeepAliveSet;
use crate::{Config, Event};

#[derive(Default)]
struct Wire {
    inbound: VecDeque<Vec<u8>>,
    outbound: Vec<Vec<u8>>,
}
struct Rx(Vec<u8>);
struct Tx<'a>(&'a mut Vec<Vec<u8>>);
impl RxToken for Rx {
    fn consume<R, F: FnOnce(&[u8]) -> R>(self, f: F) -> R {
        f(&self.0)
    }
}
impl TxToken for Tx<'_> {
    fn consume<R, F: FnOnce(&mut [u8]) -> R>(self, len: usize, f: F) -> R {
        let mut frame = std::vec![0; len];
        let result = f(&mut frame);
        self.0.push(frame);
        result
    }
}
impl Device for Wire {
    type RxToken<'a> = Rx;
    type TxToken<'a> = Tx<'a>;
    fn receive(&mut self, _: time::Instant) -> Option<(Rx, Tx<'_>)> {
        Some((Rx(self.inbound.pop_front()?), Tx(&mut self.outbound)))
    }
    fn transmit(&mut self, _: time::Instant) -> Option<Tx<'_>> {
        Some(Tx(&mut self.outbound))
    }
    fn capabilities(&self) -> DeviceCapabilities {
        let mut capabilities = DeviceCapabilities::default();
        capabilities.medium = Medium::Ip;
        capabilities.max_transmission_unit = 1500;
        capabilities
    }
}

fn from_peer(control: TcpControl, seq: i32, ack: Option<i32>, payload: &[u8]) -> Vec<u8> {
    let tcp = TcpRepr {
        src_port: 7000,
        dst_port: 80,
        control,
        seq_number: TcpSeqNumber(seq),
        ack_number: ack.map(TcpSeqNumber),
        timestamp: None,
        ..repr(payload)
    };
    emit([V4[1], V4[0]], &tcp)
}

/// The peer lost its power and opens the same four-tuple anew; a listener that comes before the
/// old socket takes its SYN. The new connection is alive and stays open. The old one is over.
#[test]
fn of_an_old_and_a_new_connection_the_live_one_is_kept() {
    let mut failures = Vec::new();
    for (second_iss, enables_new, talks) in [
        (1_000_000, true, false),
        (-2_000_000_000, true, false),
        (1_000_000, false, false),
        (500, true, false),
        (1_000_000, true, true),
        (1_000_000, false, true),
    ] {
        let mut told = false;
        let mut wire = Wire::default();
        let mut iface = Interface::new(
            InterfaceConfig::new(HardwareAddress::Ip),
            &mut wire,
            time::Instant::ZERO,
        );
        iface.update_ip_addrs(|addresses| addresses.push(IpCidr::new(V4[0], 24)).unwrap());
        let buffer = || tcp::SocketBuffer::new(std::vec![0; 1024]);
        let mut sockets = SocketSet::new(Vec::new());
        let handles = [(); 2].map(|()| sockets.add(tcp::Socket::new(buffer(), buffer())));
        let mut keep_alive = KeepAliveSet::<2>::new();
        let config = Config::new(Duration::from_secs(10), Duration::from_secs(2), 3).unwrap();
        keep_alive.enable(handles[1], config).unwrap();
        if enables_new {
            keep_alive.enable(handles[0], config).unwrap();
        }
        sockets
            .get_mut::<tcp::Socket>(handles[1])
            .listen(80)
            .unwrap();
        // (peer's next seq, peer's rcv.nxt)
        let mut peer: (i32, i32) = (100, 0);
        let mut killed = false;
        for tenth in 0..2000_i64 {
            let now = time::Instant::from_millis(tenth * 100);
            if tenth == 10 || tenth == 30 {
                if tenth == 30 {
                    peer = (second_iss, 0);
                    sockets
                        .get_mut::<tcp::Socket>(handles[0])
                        .listen(80)
                        .unwrap();
                }
                let syn = from_peer(TcpControl::Syn, peer.0, None, b"");
                wire.inbound.push_back(syn);
                peer.0 += 1;
            }
            if talks && (tenth == 40 || tenth == 45) {
                let data = from_peer(TcpControl::Psh, peer.0, Some(peer.1), b"abc");
                wire.inbound.push_back(data);
                peer.0 += 3;
            }
            keep_alive.poll(now, &mut iface, &mut wire, &mut sockets);
            for frame in core::mem::take(&mut wire.outbound) {
                let segment = segment(&frame).unwrap();
                let seq = segment.seq.0.cast_signed();
                if segment.rst {
                    killed |= seq == peer.1;
                    continue;
                }
                if segment.syn {
                    peer.1 = seq.wrapping_add(1);
                } else if seq == peer.1 && segment.len == 0 {
                    continue;
                }
                let ack = from_peer(TcpControl::None, peer.0, Some(peer.1), b"");
                wire.inbound.push_back(ack);
            }
            while let Some(event) = keep_alive.poll_event() {
                told |= event.0 == handles[1] && matches!(event.1, Event::TimedOut(_));
            }
            if tenth > 40 {
                let state = sockets.get_mut::<tcp::Socket>(handles[0]).state();
                if state != tcp::State::Established || killed {
                    failures.push(std::format!("{second_iss} {enables_new} {talks}: the live one is {state:?} at {now}, killed {killed}"));
                    break;
                }
            }
        }
        let old = sockets.get_mut::<tcp::Socket>(handles[1]).state();
        if old != tcp::State::Closed || !told {
            failures.push(std::format!(
                "{second_iss} {enables_new} {talks}: the old one is {old:?}, told {told}"
            ));
        }
    }
    assert!(failures.is_empty(), "{failures:#?}");
}
