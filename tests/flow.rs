//! What a flow learns from the segments of a connection, and which of them it believes.

use tcp_keepalive::{Flow, Received, Segment, SeqNumber, Tcb};

/// Our numbers start at 100, the peer's at 900; both buffers hold 64 octets.
const SND: SeqNumber = SeqNumber(100);
const RCV: SeqNumber = SeqNumber(900);
const BUFFER: u32 = 64;

fn ours(seq: SeqNumber, len: u32) -> Segment {
    Segment {
        seq,
        ack: Some(RCV),
        window: 64,
        len,
        syn: false,
        fin: false,
        rst: false,
        timestamps: None,
        window_scale: None,
    }
}

fn theirs(seq: SeqNumber, ack: SeqNumber) -> Segment {
    Segment {
        seq,
        ack: Some(ack),
        ..ours(seq, 0)
    }
}

/// A connection on which we have acknowledged everything, and nothing is in flight.
fn quiet() -> Flow {
    let mut flow = Flow::new(BUFFER, BUFFER);
    assert!(!flow.handle_sent(&ours(SND, 0)));
    flow
}

/// A connection on which ten octets of ours are in flight.
fn in_flight() -> Flow {
    let mut flow = quiet();
    assert!(flow.handle_sent(&ours(SND, 10)));
    flow
}

/// Before the stack has sent a segment no numbers are known, and no segment is believed.
#[test]
fn nothing_is_known_before_the_stack_has_spoken() {
    let mut flow = Flow::new(BUFFER, BUFFER);
    assert_eq!(flow.tcb(false), None);
    assert_eq!(flow.handle_received(&theirs(RCV, SND)), Received::Ignored);
    assert_eq!(flow.rcv_nxt(), None);
}

/// Our own SYN tells nothing of what we expect.
#[test]
fn a_syn_of_ours_is_not_enough() {
    let mut flow = quiet();
    let syn = Segment {
        syn: true,
        ack: None,
        ..ours(SeqNumber(7), 0)
    };
    assert!(!flow.handle_sent(&syn));
    assert_eq!(flow.tcb(false), None);
}

/// The answer to the peer's SYN tells all. Its window is not scaled (RFC 7323 2.2), a probe's is; a
/// shift of more than 14 counts as 14 (2.3).
#[test]
fn our_answer_to_a_syn_tells_the_numbers() {
    for (window_scale, rcv_wnd) in [
        (None, 40_000),
        (Some(3), 5_000),
        (Some(14), 2),
        (Some(15), 2),
    ] {
        let mut flow = quiet();
        let answer = Segment {
            syn: true,
            window: 40_000,
            window_scale,
            timestamps: Some((5, 6)),
            ..ours(SeqNumber(7), 0)
        };
        assert!(!flow.handle_sent(&answer));
        assert_eq!(
            flow.tcb(false),
            Some(Tcb {
                snd_una: SeqNumber(7),
                snd_nxt: SeqNumber(8),
                rcv_nxt: RCV,
                rcv_wnd,
                timestamps: Some((5, 6)),
                unsent: false,
            })
        );
    }
}

/// What the stack sends is believed: its sequence number, acknowledgement, window, timestamps.
#[test]
fn the_stack_is_believed() {
    let mut flow = quiet();
    let segment = Segment {
        ack: Some(SeqNumber(950)),
        window: 33,
        timestamps: Some((5, 6)),
        ..ours(SND, 10)
    };
    assert!(flow.handle_sent(&segment));
    assert_eq!(
        flow.tcb(true),
        Some(Tcb {
            snd_una: SND,
            snd_nxt: SeqNumber(110),
            rcv_nxt: SeqNumber(950),
            rcv_wnd: 33,
            timestamps: Some((5, 6)),
            unsent: true,
        })
    );
}

/// Only what takes up sequence space that is not acknowledged asks for an answer: data, a FIN,
/// and both again, but not an acknowledgement and not a keep-alive.
#[test]
fn k11_what_asks_for_an_answer() {
    let mut flow = quiet();
    assert!(!flow.handle_sent(&ours(SND, 0)), "an acknowledgement");
    assert!(!flow.handle_sent(&ours(SND.wrapping_sub(1), 0)), "a probe");
    assert!(
        !flow.handle_sent(&ours(SND.wrapping_sub(1), 1)),
        "a probe with an octet"
    );
    assert!(flow.handle_sent(&ours(SND, 1)), "an octet");
    assert!(flow.handle_sent(&ours(SND, 10)), "data");
    assert!(flow.handle_sent(&ours(SND, 5)), "a retransmission");
    assert!(
        !flow.handle_sent(&ours(SeqNumber(110), 0)),
        "an acknowledgement behind data"
    );
    let fin = Segment {
        fin: true,
        ..ours(SeqNumber(110), 0)
    };
    assert!(flow.handle_sent(&fin), "a FIN");
    let rst = Segment {
        rst: true,
        ..ours(SeqNumber(111), 0)
    };
    assert!(!flow.handle_sent(&rst), "a RST");
}

/// What we expect next is what the stack acknowledged last.
#[test]
fn what_was_acknowledged_last_is_expected_next() {
    let mut flow = quiet();
    assert_eq!(flow.rcv_nxt(), Some(RCV));
    let later = Segment {
        ack: Some(SeqNumber(950)),
        ..ours(SND, 0)
    };
    flow.handle_sent(&later);
    assert_eq!(flow.rcv_nxt(), Some(SeqNumber(950)));
}

/// A retransmission does not move SND.NXT back, and a probe does not move it at all.
#[test]
fn snd_nxt_only_advances() {
    let mut flow = in_flight();
    flow.handle_sent(&ours(SND, 5));
    flow.handle_sent(&ours(SND.wrapping_sub(1), 1));
    assert_eq!(flow.tcb(false).unwrap().snd_nxt, SeqNumber(110));
}

/// An acknowledgement within the window is heard, and one that is new is told from one that is
/// not.
#[test]
fn acknowledgements_are_heard() {
    let mut flow = in_flight();
    assert_eq!(flow.handle_received(&theirs(RCV, SND)), Received::Heard);
    assert_eq!(
        flow.handle_received(&theirs(RCV, SeqNumber(104))),
        Received::HeardNewAck
    );
    assert!(flow.is_in_flight());
    assert_eq!(
        flow.handle_received(&theirs(RCV, SeqNumber(110))),
        Received::HeardNewAck
    );
    assert!(!flow.is_in_flight());
    assert_eq!(
        flow.handle_received(&theirs(RCV, SeqNumber(104))),
        Received::Heard
    );
    assert_eq!(flow.tcb(false).unwrap().snd_una, SeqNumber(110));
}

/// What a segment below the window acknowledges is not taken from it: the stack drops it (RFC 9293
/// 3.10.7.4). Its sender was heard all the same.
#[test]
fn acknowledgements_below_the_window_are_not_taken() {
    let mut flow = in_flight();
    let old = theirs(SeqNumber(890), SeqNumber(110));
    assert_eq!(flow.handle_received(&old), Received::Heard);
    let overlapping = Segment { len: 20, ..old };
    assert_eq!(flow.handle_received(&overlapping), Received::HeardNewAck);
}

/// Should the flow believe an acknowledgement that the stack did not, a retransmission still asks
/// for an answer.
#[test]
fn k11_what_the_stack_sends_again_asks_for_an_answer() {
    let mut flow = in_flight();
    flow.handle_received(&theirs(RCV, SeqNumber(110)));
    assert!(flow.handle_sent(&ours(SND, 10)));
    assert!(flow.is_in_flight());
}

/// A flow that begins with an acknowledgement behind data in flight takes that for acknowledged. What
/// the stack sends again it has not: a question has to lie below that, or its octet would be taken for
/// data.
#[test]
fn k11_what_the_stack_sends_again_is_not_acknowledged() {
    let mut flow = Flow::new(BUFFER, BUFFER);
    let una = |flow: &Flow| flow.tcb(true).unwrap().snd_una;
    assert!(!flow.handle_sent(&ours(SeqNumber(110), 0)));
    assert_eq!(una(&flow), SeqNumber(110));
    assert!(!flow.handle_sent(&ours(SeqNumber(109), 1)), "a probe");
    assert_eq!(una(&flow), SeqNumber(110));
    assert!(flow.handle_sent(&ours(SeqNumber(105), 5)));
    assert_eq!(una(&flow), SeqNumber(105));
    assert!(flow.handle_sent(&ours(SND, 5)));
    assert_eq!(una(&flow), SND);
    assert!(flow.handle_sent(&ours(SeqNumber(105), 5)));
    assert_eq!(una(&flow), SND);
    flow.handle_received(&theirs(RCV, SeqNumber(104)));
    assert_eq!(una(&flow), SeqNumber(104));
    assert_eq!(flow.tcb(true).unwrap().snd_nxt, SeqNumber(110));
}

/// What lies more than a window below what is acknowledged is another socket's, which has the same
/// ends.
#[test]
fn what_is_sent_far_below_the_window_is_anothers() {
    for (below, una) in [(64, 36), (65, 100), (1 << 30, 100)] {
        let mut flow = quiet();
        flow.handle_sent(&ours(SND.wrapping_sub(below), 5));
        assert_eq!(flow.tcb(true).unwrap().snd_una, SeqNumber(una), "{below}");
    }
}

/// The acknowledgement number is believed from a window below SND.UNA up to SND.NXT, and not one
/// octet beyond either end (RFC 5961 5.2).
#[test]
fn acknowledgement_numbers_are_believed_within_a_window() {
    let flow = in_flight();
    for (ack, believed) in [
        (111, false),
        (110, true),
        (100, true),
        (36, true),
        (35, false),
    ] {
        assert_eq!(
            flow.is_acceptable(&theirs(RCV, SeqNumber(ack))),
            believed,
            "acknowledgement {ack}"
        );
    }
}

/// The sequence number is believed within a window of RCV.NXT on either side: the peer's own
/// keep-alive, an old retransmission, and data that overtook other data.
#[test]
fn sequence_numbers_are_believed_within_a_window() {
    let flow = in_flight();
    for (seq, believed) in [
        (835, false),
        (836, true),
        (899, true),
        (964, true),
        (965, false),
    ] {
        assert_eq!(
            flow.is_acceptable(&theirs(SeqNumber(seq), SND)),
            believed,
            "sequence number {seq}"
        );
    }
}

/// A RST, a SYN and a segment without ACK are no sign of life, whatever their numbers.
#[test]
fn resets_and_syns_are_not_heard() {
    let mut flow = in_flight();
    let good = theirs(RCV, SND);
    for segment in [
        Segment { rst: true, ..good },
        Segment { syn: true, ..good },
        Segment { ack: None, ..good },
    ] {
        assert_eq!(flow.handle_received(&segment), Received::Ignored);
    }
}

/// At the seam of the sequence numbers the window has no gap.
#[test]
fn k12_windows_span_the_seam() {
    let mut flow = Flow::new(BUFFER, BUFFER);
    flow.handle_sent(&Segment {
        ack: Some(SeqNumber(3)),
        ..ours(SeqNumber(u32::MAX), 4)
    });
    assert_eq!(flow.tcb(false).unwrap().snd_nxt, SeqNumber(3));
    let before = theirs(SeqNumber(u32::MAX), SeqNumber(2));
    assert_eq!(flow.handle_received(&before), Received::Heard);
    let next = theirs(SeqNumber(3), SeqNumber(2));
    assert_eq!(flow.handle_received(&next), Received::HeardNewAck);
    assert!(!flow.is_acceptable(&theirs(SeqNumber(3), SeqNumber(4))));
}

/// The timestamp echoed is the latest the peer sent, its SYN's included; a segment that is not
/// heard leaves no trace.
#[test]
fn k12_timestamps_echo_the_peers_latest() {
    let mut flow = Flow::new(BUFFER, BUFFER);
    let syn = Segment {
        syn: true,
        timestamps: Some((40, 0)),
        ..theirs(RCV.wrapping_sub(1), SND)
    };
    flow.handle_received(&syn);
    flow.handle_sent(&Segment {
        timestamps: Some((1, 40)),
        ..ours(SND, 0)
    });
    assert_eq!(flow.tcb(false).unwrap().timestamps, Some((1, 40)));
    flow.handle_received(&Segment {
        timestamps: Some((41, 1)),
        ..theirs(RCV, SND)
    });
    assert_eq!(flow.tcb(false).unwrap().timestamps, Some((1, 41)));
    flow.handle_received(&Segment {
        timestamps: Some((99, 1)),
        ..theirs(RCV, SeqNumber(5000))
    });
    assert_eq!(flow.tcb(false).unwrap().timestamps, Some((1, 41)));
}

/// A closed window is remembered until it opens.
#[test]
fn a_closed_window_is_remembered() {
    let mut flow = in_flight();
    assert!(!flow.is_window_closed());
    flow.handle_received(&Segment {
        window: 0,
        ..theirs(RCV, SND)
    });
    assert!(flow.is_window_closed());
    flow.handle_received(&theirs(RCV, SND));
    assert!(!flow.is_window_closed());
}

/// Told that everything is acknowledged, a flow takes the stack's word for it.
#[test]
fn quiet_is_the_stacks_word() {
    let mut flow = in_flight();
    flow.handle_quiet();
    assert!(flow.tcb(false).unwrap().is_quiet());
}

/// A buffer of any size, zero and beyond any window included, makes a flow that can be used.
#[test]
fn buffers_of_any_size() {
    for capacity in [0, 1, 3, 1 << 30, 1 << 31, u32::MAX] {
        let mut flow = Flow::new(capacity, capacity);
        flow.handle_sent(&ours(SND, 0));
        assert!(flow.is_acceptable(&theirs(RCV.wrapping_sub(1), SND)));
        assert!(!flow.is_acceptable(&theirs(RCV.wrapping_sub(1 << 31), SND)));
    }
}

/// Buffers of zero are not known: the window that our SYN announces stands for them. Buffers that are
/// known stay as they are.
#[test]
fn our_syn_tells_the_buffers_that_are_not_known() {
    for (buffer, scale, reach) in [(0, None, 64), (0, Some(4), 1024), (128, Some(4), 128)] {
        let mut flow = Flow::new(buffer, buffer);
        let syn = Segment {
            syn: true,
            window_scale: scale,
            ..ours(SeqNumber(99), 0)
        };
        assert!(!flow.handle_sent(&syn));
        let farthest = theirs(RCV.wrapping_add(reach), SND);
        assert_ne!(flow.handle_received(&farthest), Received::Ignored);
        let too_far = theirs(RCV.wrapping_add(reach + 1), SND);
        assert_eq!(flow.handle_received(&too_far), Received::Ignored);
    }
}
