//! What a link makes of a socket's state, after what the frames have shown.

use std::vec::Vec;

use core::time::Duration;

use ::smoltcp::wire::{TcpControl, TcpRepr, TcpSeqNumber};

use super::super::connection::{CloseReason, Ending};
use super::super::engine::{Id, Link, Socket};
use super::super::frame::{MAX_FRAME_LEN, Medium, Tuple};
use super::{SOFTWARE, V4, emit, repr, segment, tuple};
use crate::{Config, Event, Instant, State};

/// A link with one connection, and the moves of a test.
struct Case {
    link: Link<1, 4>,
    id: Id,
    ends: Tuple<4>,
}

const AT: Instant = Instant::from_millis(1000);

impl Case {
    fn new() -> Self {
        let config = Config::new(Duration::from_secs(10), Duration::from_secs(2), 2).unwrap();
        let mut link = Link::new();
        link.set_capabilities(Medium::Ip, SOFTWARE);
        let id = link.add(config).unwrap();
        let ends = tuple(V4, [49152, 80]);
        Self { link, id, ends }
    }

    fn opening() -> Self {
        let mut case = Self::new();
        case.sends(TcpControl::Syn, 76);
        assert!(!case.follow(Socket::Opening(case.ends)));
        case
    }

    fn open() -> Self {
        let mut case = Self::new();
        assert!(!case.follow(Socket::Open(case.ends)));
        case.sends(TcpControl::None, 77);
        assert!(case.knows_numbers());
        case
    }

    /// The verdict has fallen, and no end has its RST.
    fn given_up() -> Self {
        Self::given_up_with(1000)
    }

    /// The same with such a window of ours.
    fn given_up_with(window: u16) -> Self {
        let mut case = Self::open();
        case.link.handle_sent(AT, &answer(window, 500));
        for secs in [11, 13, 15] {
            case.link.handle_timeout(Instant::from_millis(secs * 1000));
            if secs < 15 {
                assert!(case.transmits(secs));
            }
        }
        assert_eq!(case.link.state(case.id), Some(State::TimedOut));
        case
    }

    fn transmits(&mut self, secs: u64) -> bool {
        let at = Instant::from_millis(secs * 1000);
        let mut out = [0; MAX_FRAME_LEN];
        let is_there = self.link.poll_transmit(at, &mut out).is_some();
        self.link.handle_transmitted(at);
        is_there
    }

    fn receives(&mut self) -> bool {
        self.link.poll_receive(&mut [0; MAX_FRAME_LEN]).is_some()
    }

    fn follow(&mut self, socket: Socket<4>) -> bool {
        self.link.follow(AT, self.id, socket, 1024, false)
    }

    fn opens(&mut self) -> bool {
        self.follow(Socket::Open(self.ends))
    }

    fn begins(&mut self) -> bool {
        self.follow(Socket::Opening(self.ends))
    }

    /// Our stack sends a segment at such a number.
    fn sends(&mut self, control: TcpControl, seq: i32) {
        let tcp = TcpRepr {
            control,
            seq_number: TcpSeqNumber(seq),
            ack_number: (control != TcpControl::Syn).then_some(TcpSeqNumber(500)),
            ..repr(b"")
        };
        self.link.handle_sent(AT, &emit(V4, &tcp));
    }

    /// The peer sends a segment.
    fn hears(&mut self, control: TcpControl, seq: i32) {
        let tcp = TcpRepr {
            src_port: 80,
            dst_port: 49152,
            control,
            seq_number: TcpSeqNumber(seq),
            ack_number: Some(TcpSeqNumber(77)),
            ..repr(b"")
        };
        self.link.handle_received(AT, &emit([V4[1], V4[0]], &tcp));
    }

    /// Another socket of the stack's sends a SYN with the same ends.
    fn another_begins(&mut self) {
        self.sends(TcpControl::Syn, 9000);
    }

    fn knows_numbers(&mut self) -> bool {
        let due = Instant::from_millis(3_600_000);
        !self.link.needs_numbers(due, self.id)
    }

    fn state(&self) -> State {
        self.link.state(self.id).unwrap()
    }
}

/// A socket that has the connection of its place has the same one, unless a SYN with its ends was seen
/// since: then it has another.
#[test]
fn a_socket_has_another_connection_only_after_a_syn() {
    // Open, and open.
    let mut case = Case::open();
    case.another_begins();
    case.opens();
    assert_eq!(case.state(), State::Armed);
    assert!(case.knows_numbers());
    // Open as far as was seen, and the stack still waits for the handshake's end.
    let mut case = Case::open();
    case.begins();
    assert_eq!(case.state(), State::Armed);
    assert!(case.knows_numbers());
    // Open, and the socket was opened anew.
    let mut case = Case::open();
    case.another_begins();
    case.begins();
    assert_eq!(case.state(), State::Disabled);
    assert_eq!(case.link.close_reason(case.id), None);
    // Being opened, and opened.
    let mut case = Case::opening();
    case.opens();
    assert_eq!(case.state(), State::Armed);
    assert!(case.link.last_heard(case.id).is_some());
    // Another socket's handshake goes on while this one's does.
    let mut case = Case::opening();
    case.sends(TcpControl::None, 77);
    case.another_begins();
    case.begins();
    case.opens();
    assert_eq!(case.state(), State::Armed);
    // The socket has a connection with other ends.
    let mut case = Case::open();
    let other = tuple(V4, [49153, 80]);
    assert!(!case.follow(Socket::Open(other)));
    assert_eq!(case.link.tuple(case.id), Some(other));
    assert!(!case.knows_numbers());
    // The socket has closed it, and opens another one with the same ends.
    let mut case = Case::open();
    case.follow(Socket::Closed(Ending::Unknown));
    assert_eq!(
        case.link.close_reason(case.id),
        Some(CloseReason::LocalAbort)
    );
    case.begins();
    assert_eq!(case.link.close_reason(case.id), None);
    assert_eq!(case.state(), State::Disabled);
}

/// A SYN that is sent again is of the connection that its place has. One with another number, one that
/// answers the peer's, or one on a connection that is open, is of another one.
#[test]
fn a_syn_that_is_sent_again_begins_nothing() {
    let is_noted = |case: &Case| case.link.poll_opening() == Some(case.ends);
    let mut case = Case::opening();
    assert!(!is_noted(&case));
    case.sends(TcpControl::Syn, 76);
    assert!(!is_noted(&case));
    case.sends(TcpControl::Syn, 77);
    assert!(is_noted(&case));

    // Its first SYN was not seen.
    for is_answer in [false, true] {
        let mut case = Case::new();
        assert!(!case.begins());
        let syn = TcpRepr {
            control: TcpControl::Syn,
            seq_number: TcpSeqNumber(76),
            ack_number: is_answer.then_some(TcpSeqNumber(500)),
            ..repr(b"")
        };
        case.link.handle_sent(AT, &emit(V4, &syn));
        assert_eq!(is_noted(&case), is_answer);
        // It was seen now, and has another number.
        case.sends(TcpControl::Syn, 9000);
        assert!(is_noted(&case));
    }

    let mut case = Case::open();
    case.sends(TcpControl::Syn, 77);
    assert!(is_noted(&case));
}

/// A RST, the peer's or ours, that the stack did not mean or believe leaves the connection as it was.
#[test]
fn a_reset_that_did_not_count_changes_nothing() {
    for is_ours in [true, false] {
        let mut case = Case::open();
        if is_ours {
            case.sends(TcpControl::Rst, 77);
        } else {
            case.hears(TcpControl::Rst, 500);
        }
        assert_eq!(case.link.poll_timeout(), Some(Instant::ZERO));
        assert!(!case.opens());
        assert_eq!(case.state(), State::Armed);
        assert!(case.knows_numbers(), "ours: {is_ours}");

        // A socket that has other ends by then has another connection.
        let other = tuple(V4, [49153, 80]);
        if is_ours {
            case.sends(TcpControl::Rst, 77);
        } else {
            case.hears(TcpControl::Rst, 500);
        }
        assert!(!case.follow(Socket::Open(other)));
        assert_eq!(case.link.tuple(case.id), Some(other));
        assert!(!case.knows_numbers());
    }
}

/// For an adapter that knows no sockets, the peer's RST is one if it lies within the window, which is
/// 1000 octets here, or right after one that the peer has filled; or if the numbers are not known.
#[test]
fn a_reset_outside_the_window_is_none() {
    for (seq, is_reset) in [
        (499, false),
        (500, true),
        (500 + 1000, true),
        (500 + 1001, false),
    ] {
        let mut case = Case::open();
        case.hears(TcpControl::Rst, seq);
        case.link.settle();
        let reset = Some(CloseReason::PeerReset {
            while_probing: false,
        });
        let expected = if is_reset { reset } else { None };
        assert_eq!(case.link.close_reason(case.id), expected, "{seq}");
    }
    // Before they are known, it has to acknowledge our SYN, if that was seen.
    for (was_seen, ack, is_reset) in [(true, 77, true), (true, 78, false), (false, 78, true)] {
        let mut case = Case::new();
        if was_seen {
            case.sends(TcpControl::Syn, 76);
        }
        assert!(!case.begins());
        let reset = TcpRepr {
            src_port: 80,
            dst_port: 49152,
            control: TcpControl::Rst,
            ack_number: Some(TcpSeqNumber(ack)),
            ..repr(b"")
        };
        case.link.handle_received(AT, &emit([V4[1], V4[0]], &reset));
        case.link.settle();
        assert_eq!(case.link.close_reason(case.id).is_some(), is_reset);
    }
}

/// After a verdict the socket is aborted only if it did not take its RST; and another connection takes
/// the place no sooner than the peer has its RST.
#[test]
fn a_verdict_closes_both_ends_before_the_place_is_reused() {
    let other = tuple(V4, [49153, 80]);
    // Neither end has its RST.
    let mut case = Case::given_up();
    assert!(!case.opens());
    assert!(!case.follow(Socket::Open(other)));
    assert_eq!(case.state(), State::TimedOut);
    // The stack has its RST, and did not take it; the peer's still waits.
    assert!(case.receives());
    assert!(case.opens());
    assert!(!case.follow(Socket::Open(other)));
    assert_eq!(case.state(), State::TimedOut);
    assert!(case.transmits(15));
    assert!(case.opens());
    assert!(!case.follow(Socket::Open(other)));
    assert_eq!(case.state(), State::Armed);
    // The stack gets its RST first, then the peer.
    let mut case = Case::given_up();
    assert!(!case.transmits(15));
    assert!(case.receives());
    assert!(!case.receives());
    assert!(case.transmits(15));
    assert!(!case.transmits(15));
    assert!(case.opens());
    assert_eq!(case.state(), State::TimedOut);
    assert!(!case.begins());
    assert_eq!(case.state(), State::Disabled);
}

/// How far from the expected numbers a segment may be is the size of the buffers, as the adapter says
/// it.
#[test]
fn the_buffers_bound_what_is_believed() {
    for (buffers, is_believed) in [(4096, true), (1024, false)] {
        let mut case = Case::new();
        let socket = Socket::Open(case.ends);
        case.link.follow(AT, case.id, socket, buffers, false);
        case.sends(TcpControl::None, 77);
        case.hears(TcpControl::None, 500 + 3000);
        assert_eq!(case.link.last_heard(case.id).is_some(), is_believed);
    }
}

/// Switching the keep-alive on or off asks to be served; the same again does not.
#[test]
fn a_switch_asks_to_be_served() {
    let mut case = Case::open();
    let config = case.link.config(case.id).unwrap();
    let serve = |case: &mut Case| {
        case.link.take_change();
        case.link.handle_timeout(AT);
        while case.transmits(1) {}
    };
    serve(&mut case);
    for (config, is_change) in [
        (Some(config), false),
        (None, true),
        (None, false),
        (Some(config), true),
    ] {
        case.link.switch(AT, case.id, config);
        assert_eq!(case.link.is_due(AT), is_change, "{config:?}");
        serve(&mut case);
    }
}

/// A RST that the stack refuses is sent again where the stack says that it stands, right at RCV.NXT. A
/// stack that goes on refusing it there gets no third one.
#[test]
fn a_refused_reset_is_sent_again_once() {
    for (window, standing, has_second) in [
        (1000, 500, true),
        (1000, 700, true),
        (0, 700, true),
        (0, 500, false),
    ] {
        let mut case = Case::given_up_with(window);
        assert!(case.receives());
        case.link.handle_answer(&answer(1000, standing));
        assert_eq!(case.receives(), has_second, "{window}, {standing}");
        case.link.handle_answer(&answer(1000, standing));
        assert!(!case.receives(), "{window}, {standing}");
        // It is written where the stack stands.
        case.link.handle_answer(&answer(1000, 800));
        let mut out = [0; MAX_FRAME_LEN];
        let len = case.link.poll_receive(&mut out).unwrap();
        let reset = segment(&out[..len]).unwrap();
        assert!(reset.rst);
        assert_eq!((reset.seq.0, reset.ack.map(|ack| ack.0)), (800, Some(77)));
    }
    // A RST or a SYN says nothing of where it stands.
    for control in [TcpControl::Rst, TcpControl::Syn] {
        let mut case = Case::given_up();
        assert!(case.receives());
        let tcp = TcpRepr {
            control,
            seq_number: TcpSeqNumber(77),
            ack_number: Some(TcpSeqNumber(700)),
            ..repr(b"")
        };
        case.link.handle_answer(&emit(V4, &tcp));
        assert!(!case.receives(), "{control:?}");
    }
}

/// An acknowledgement of our stack's.
fn answer(window: u16, ack: i32) -> Vec<u8> {
    let tcp = TcpRepr {
        control: TcpControl::None,
        seq_number: TcpSeqNumber(77),
        ack_number: Some(TcpSeqNumber(ack)),
        window_len: window,
        ..repr(b"")
    };
    emit(V4, &tcp)
}

/// Off, the link sends nothing for a connection: no answer to a stranger either.
#[test]
fn k19_off_answers_no_stranger() {
    let mut case = Case::open();
    case.link.take_change();
    case.link.handle_timeout(AT);
    while case.transmits(1) {}
    case.link.switch(AT, case.id, None);
    case.link.handle_timeout(AT);
    while case.transmits(1) {}
    assert_eq!(case.state(), State::Disabled);
    let syn = TcpRepr {
        src_port: 80,
        dst_port: 49152,
        control: TcpControl::Syn,
        seq_number: TcpSeqNumber(1234),
        ack_number: None,
        ..repr(b"")
    };
    case.link.handle_received(AT, &emit([V4[1], V4[0]], &syn));
    for secs in [1, 2, 3] {
        let now = Instant::from_millis(secs * 1000);
        case.link.take_change();
        case.link.handle_timeout(now);
        assert!(!case.transmits(secs), "at {secs}");
    }
}

/// A segment that is heard leaves something to report only if the peer was a suspect.
#[test]
fn a_segment_that_is_heard_wakes_only_who_has_something_to_read() {
    for failed in [0, 1] {
        let mut case = Case::open();
        case.link.handle_timeout(Instant::from_millis(11_000));
        assert!(case.transmits(11));
        if failed == 1 {
            case.link.handle_timeout(Instant::from_millis(13_000));
            assert!(case.transmits(13));
        }
        while case.link.poll_event().is_some() {}
        case.hears(TcpControl::None, 500);
        assert_eq!(case.link.state(case.id), Some(State::Armed));
        assert_eq!(case.link.has_events(), failed == 1);
    }
}

/// For an adapter that knows no sockets, our RST after the peer's is an answer to what came after that;
/// at the number that is next, it is the application's.
#[test]
fn our_reset_after_the_peers_is_the_applications_if_it_is_next() {
    for (seq, expected) in [
        (
            76,
            CloseReason::PeerReset {
                while_probing: false,
            },
        ),
        (77, CloseReason::LocalAbort),
    ] {
        let mut case = Case::open();
        case.hears(TcpControl::Rst, 500);
        case.sends(TcpControl::Rst, seq);
        case.link.settle();
        assert_eq!(case.link.close_reason(case.id), Some(expected));
    }
}

/// A RST of ours ends a handshake if it has the numbers of our SYN, and any other does not.
#[test]
fn our_reset_ends_a_handshake_that_is_its_own() {
    for (seq, ends) in [(76, true), (77, true), (9000, false)] {
        let mut case = Case::opening();
        case.sends(TcpControl::Rst, seq);
        case.link.settle();
        let reason = case.link.close_reason(case.id);
        assert_eq!(reason.is_some(), ends, "{seq}: {reason:?}");
    }
}

/// The first segment of ours that is seen tells the numbers; if it asks for nothing, it starts no user
/// timeout.
#[test]
fn a_first_acknowledgement_asks_for_nothing() {
    let mut case = Case::new();
    let config = Config::new(Duration::from_secs(10), Duration::from_secs(2), 2).unwrap();
    let config = config.with_user_timeout(Duration::from_secs(3)).unwrap();
    case.link.set_config(case.id, config);
    assert!(!case.opens());
    case.sends(TcpControl::None, 77);
    case.link.take_change();
    case.link.handle_timeout(AT);
    let mut out = [0; MAX_FRAME_LEN];
    assert_eq!(case.link.poll_transmit(AT, &mut out), None);
    assert_eq!(case.link.poll_timeout(), Some(Instant::from_millis(11_000)));
}

/// A place whose socket is not found counts from zero for the next one, and leaves its ends to a connection
/// that waits for them.
#[test]
fn a_rejected_place_leaves_nothing() {
    let config = Config::new(Duration::from_secs(10), Duration::from_secs(2), 2).unwrap();
    let mut link = Link::<2, 4>::new();
    link.set_capabilities(Medium::Ip, SOFTWARE);
    let ends = tuple(V4, [49152, 80]);
    let [old, new] = [(); 2].map(|()| link.add(config).unwrap());
    link.follow(AT, old, Socket::Open(ends), 1024, false);
    link.handle_sent(AT, &answer(1000, 500));
    let due = Instant::from_millis(11_000);
    link.handle_timeout(due);
    assert!(link.poll_transmit(due, &mut [0; MAX_FRAME_LEN]).is_some());
    link.handle_transmitted(due);
    assert_eq!(link.stats(old).unwrap().probes_sent, 1);
    // Another socket has the same ends, and has to wait.
    link.follow(due, new, Socket::Opening(ends), 1024, false);
    assert_eq!(link.tuple(new), None);
    while link.take_change() {}

    link.reject(old);
    assert_eq!(link.poll_event(), Some((old, Event::NoSocket)));
    assert_eq!(link.poll_event(), None);
    assert_eq!(link.state(old), None);
    assert!(link.take_change());
    link.follow(due, new, Socket::Opening(ends), 1024, false);
    assert_eq!(link.tuple(new), Some(ends));
    assert_eq!(link.add(config), Some(old));
    assert_eq!(link.stats(old).unwrap(), crate::Stats::default());
}
