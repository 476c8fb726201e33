#![expect(
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that goes wrong fails"
)]

use super::*;
use crate::sim::wire::Segment as Wire;
use ::smoltcp::iface::SocketSet;
use ::smoltcp::socket::tcp;
use ::smoltcp::wire::IpAddress;
use std::time::Duration;
use std::vec;
use std::vec::Vec;

const OURS: IpAddress = IpAddress::v4(192, 0, 2, 1);
const THEIRS: IpAddress = IpAddress::v4(192, 0, 2, 2);
const SND: u32 = 100;
const RCV: u32 = 900;

fn config() -> Config {
    Config::new(Duration::from_secs(10), Duration::from_secs(2), 3).unwrap()
}

/// A table with one connection that is open, and of which nothing is known if not `known`.
fn table(known: bool) -> Table<2> {
    let buffer = || tcp::SocketBuffer::new(vec![0; 512]);
    let handle = SocketSet::new(Vec::new()).add(tcp::Socket::new(buffer(), buffer()));
    let mut table = Table::new();
    table.link = Link::Ip;
    assert!(table.enable(handle, config()));
    let slot = &mut table.slots[0];
    let key = Key::new(OURS.into(), 7, THEIRS.into(), 80);
    slot.bind(key, Flow::new(512, 512));
    slot.marks.set(Marks::SYNCHRONISED);
    slot.machine.enable(Instant::ZERO);
    table.reindex();
    table.plan();
    if known {
        table.handle_sent(&sent(0, 0).emit(None), false);
    }
    table.begin_poll(Instant::from_millis(1000));
    table
}

/// What we send, so many octets beyond what we have sent, with an acknowledgement of so many more.
fn sent(ahead: u32, acknowledged: u32) -> Wire {
    Wire {
        src_addr: OURS,
        dst_addr: THEIRS,
        src_port: 7,
        dst_port: 80,
        seq: SND.wrapping_add(ahead),
        ack: Some(RCV.wrapping_add(acknowledged)),
        window: 512,
        syn: false,
        fin: false,
        rst: false,
        psh: false,
        payload: vec![],
        timestamps: None,
        window_scale: None,
        hop_limit: 64,
        checksum_ok: true,
        ip_checksum_ok: true,
    }
}

fn received(len: usize) -> Wire {
    Wire {
        src_addr: THEIRS,
        dst_addr: OURS,
        src_port: 80,
        dst_port: 7,
        seq: RCV,
        ack: Some(SND),
        payload: vec![7; len],
        ..sent(0, 0)
    }
}

fn is_held(table: &Table<2>) -> bool {
    table.slots[0].marks.has(Marks::UNPROVEN)
}

fn heard(table: &Table<2>) -> Option<Instant> {
    table.slots[0].machine.last_heard()
}

/// A header of twenty octets and 108 of data are verified on arrival, an octet more is held.
#[test]
fn a_long_segment_is_held() {
    for (len, held) in [(108, false), (109, true)] {
        let mut table = table(true);
        table.handle_received(&received(len).emit(None));
        assert_eq!(is_held(&table), held);
        assert_eq!(heard(&table).is_some(), !held);
    }
}

/// If something falls due within a second, nothing is held.
#[test]
fn nothing_is_held_when_something_is_due_soon() {
    for (millis, held) in [(8999, true), (9000, false), (9001, false)] {
        let mut table = table(true);
        table.begin_poll(Instant::from_millis(millis));
        table.handle_received(&received(200).emit(None));
        assert_eq!(is_held(&table), held, "{millis}");
    }
}

/// While one is held that has waited for more than a second, the next is verified.
#[test]
fn one_that_waits_for_long_holds_no_other() {
    for (millis, is_heard) in [(2000, false), (2001, true)] {
        let mut table = table(true);
        table.handle_received(&received(200).emit(None));
        table.begin_poll(Instant::from_millis(millis));
        table.handle_received(&received(300).emit(None));
        assert_eq!(heard(&table).is_some(), is_heard);
    }
}

/// What is held is believed once it is acknowledged, whatever else we send before.
#[test]
fn what_is_held_waits_for_its_acknowledgement() {
    let mut table = table(true);
    table.handle_received(&received(200).emit(None));
    let mut data = sent(0, 0);
    data.payload = vec![1; 5];
    table.begin_poll(Instant::from_millis(1005));
    table.handle_sent(&data.emit(None), false);
    assert_eq!(heard(&table), None);
    table.handle_sent(&sent(5, 200).emit(None), false);
    assert_eq!(heard(&table), Some(Instant::from_millis(1000)));
}

/// What is not acceptable is held for nobody; on a connection whose numbers are not known, what
/// could be is, but no SYN and no RST.
#[test]
fn who_may_be_held() {
    type Change = fn(&mut Wire);
    let far: Change = |segment| segment.seq = segment.seq.wrapping_add(1 << 20);
    let cases: [(bool, Change, bool); 5] = [
        (true, far, false),
        (false, far, true),
        (false, |segment| segment.rst = true, false),
        (false, |segment| segment.syn = true, false),
        (false, |segment| segment.checksum_ok = false, false),
    ];
    for (known, change, held) in cases {
        let mut table = table(known);
        let mut segment = received(200);
        change(&mut segment);
        table.handle_received(&segment.emit(None));
        assert_eq!(is_held(&table), held, "{segment:?}");
    }
}

/// A connection begins with nothing of the last one, but that it is to be dropped.
#[test]
fn a_connection_begins_with_no_marks() {
    let mut table = table(true);
    let slot = &mut table.slots[0];
    slot.marks.set(!0);
    slot.bind(slot.key, Flow::new(512, 512));
    for bit in 0..16 {
        let mark = 1 << bit;
        let stays = mark == Marks::BOUND || mark == Marks::DROPPED;
        assert_eq!(slot.marks.has(mark), stays, "{bit}");
    }
    assert!(stays_dropped(&mut table));
}

/// Disabled while smoltcp's keep-alive is awaited, it stays out of sight until that has been read;
/// enabled again it is as new.
fn stays_dropped(table: &mut Table<2>) -> bool {
    let handle = table.slots[0].handle;
    table.slots[0].marks.set(Marks::LEARNING | Marks::UNPROVEN);
    table.disable(handle);
    let is_hidden = table.slot(handle).is_none() && table.slots.len() == 1;
    table.slots[0].marks.set(Marks::UNPROVEN);
    assert!(table.enable(handle, config()));
    is_hidden && table.slot(handle).is_some() && !is_held(table)
}

/// Only what asks for a neighbour is a question; and after it the device is at nobody's disposal.
#[test]
fn only_a_question_is_a_question() {
    let mut table = table(true);
    table.link = Link::Ethernet;
    let mut frame = [0; 60];
    table.handle_token(true);
    table.handle_sent(&frame, false);
    table.settle_token();
    assert!(!table.is_stalled);
    frame[12..14].copy_from_slice(&[0x08, 0x06]);
    table.handle_sent(&frame, true);
    assert!(!table.is_stalled);
    table.handle_sent(&frame, false);
    assert!(table.is_stalled);
}

/// That an answer left says nothing of the room that the stack had asked for.
#[test]
fn an_answer_uses_no_room_that_was_asked_for() {
    let mut table = table(true);
    table.handle_token(true);
    table.handle_sent(&sent(0, 0).emit(None), true);
    table.settle_token();
    assert!(table.is_stalled);
}

/// What left before is not forgotten, and is not taken for what leaves now.
#[test]
fn what_left_before_still_has() {
    let mut table = table(true);
    table.handle_token(false);
    table.handle_sent(&sent(0, 0).emit(None), false);
    assert_eq!(table.while_sending(|_| ()), None);
    assert!(!table.is_device_stuck());
}

/// Of what smoltcp sends only its keep-alive is kept back, and only for who waits for it.
#[test]
fn only_the_keep_alive_is_intercepted() {
    type Change = fn(&mut Wire);
    let cases: [(Change, bool); 7] = [
        (|_| {}, true),
        (|segment| segment.syn = true, false),
        (|segment| segment.fin = true, false),
        (|segment| segment.rst = true, false),
        (|segment| segment.psh = true, false),
        (|segment| segment.payload.push(0), false),
        (|segment| segment.dst_port = 81, false),
    ];
    for (change, is_kept) in cases {
        let mut table = table(true);
        let mut segment = sent(u32::MAX, 0);
        segment.payload = vec![0];
        change(&mut segment);
        assert!(!table.intercept(&segment.emit(None)), "nobody waits");
        table.slots[0].marks.set(Marks::LEARNING);
        assert_eq!(table.intercept(&segment.emit(None)), is_kept, "{segment:?}");
    }
}

/// What leaves unasked, and is no keep-alive, is in place of the one that was asked for: nothing is
/// awaited any more. An answer is not.
#[test]
fn another_segment_is_in_place_of_the_keep_alive() {
    for (ahead, is_reply, awaited) in [
        (0, false, false),
        (0, true, true),
        (u32::MAX, false, true),
        (u32::MAX, true, true),
    ] {
        for asked in [true, false] {
            let mut table = table(true);
            if asked {
                table.slots[0].marks.set(Marks::LEARNING);
            }
            table.handle_sent(&sent(ahead, 0).emit(None), is_reply);
            let is_awaited = table.slots[0].marks.has(Marks::LEARNING);
            assert_eq!(is_awaited, asked && awaited, "{ahead} {is_reply}");
        }
    }
}

/// The keep-alive brings an acknowledgement forward: it proves what is held. On a connection that
/// was not known it proves nothing that does not fit, and nothing will.
#[test]
fn the_keep_alive_may_be_a_proof() {
    for (known, acknowledged, is_heard, stays) in [
        (true, 200, true, false),
        (true, 0, false, true),
        (false, 200, true, false),
        (false, 1 << 20, false, false),
    ] {
        let mut table = table(known);
        table.handle_received(&received(200).emit(None));
        assert!(is_held(&table));
        table.slots[0].marks.set(Marks::LEARNING);
        let mut segment = sent(u32::MAX, acknowledged);
        segment.payload = vec![0];
        assert!(table.intercept(&segment.emit(None)));
        assert_eq!(heard(&table).is_some(), is_heard, "{known} {acknowledged}");
        assert_eq!(is_held(&table), stays, "{known} {acknowledged}");
    }
}
