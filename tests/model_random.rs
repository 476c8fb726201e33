//! The machine follows its rules, as they are written down a second time in `tests/model`, whatever
//! is done to it and in whichever order.
//!
//! Without `PROPTEST_RNG_SEED` the cases are always the same ones, `PROPTEST_CASES` of them; a
//! failing case is printed as the operations it consists of. The fuzz target `machine` makes the
//! same comparison.

mod model;
mod settled;

use model::operation::{Connection, Flight, Leaves, Move, Operation, Settings, Span};
use model::pair::Pair;
use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, any, prop_oneof, proptest};
use proptest::sample::select;
use settled::settled;

fn leaves() -> impl Strategy<Value = Leaves> {
    prop_oneof![
        6 => Just(Leaves::Now),
        2 => Just(Leaves::Never),
        1 => Just(Leaves::Later),
    ]
}

/// A length of time that is likely to meet another one.
fn span() -> impl Strategy<Value = Span> {
    prop_oneof![
        3 => (1..4_u16).prop_map(Span::Micros),
        6 => select(&[500, 1000, 1500, 2000, 3500][..]).prop_map(Span::Millis),
        1 => any::<u16>().prop_map(Span::Millis),
        1 => any::<u16>().prop_map(Span::Hours),
        1 => (0..12_u8).prop_map(Span::Halved),
    ]
}

fn settings() -> impl Strategy<Value = Settings> {
    let count = prop_oneof![9 => 2..=4_u8, 1 => any::<u8>()];
    let user_timeout = proptest::option::of(span());
    (span(), span(), count, any::<bool>(), user_timeout).prop_map(
        |(idle, interval, count, octet, user_timeout)| Settings {
            idle,
            interval,
            count,
            octet,
            user_timeout,
        },
    )
}

fn connection() -> impl Strategy<Value = Connection> {
    let near_zero = || prop_oneof![0..3_u32, (u32::MAX - 2)..=u32::MAX, any::<u32>()];
    let flight = prop_oneof![
        4 => Just(Flight::Quiet),
        1 => (1..4_u8).prop_map(Flight::Outstanding),
        1 => Just(Flight::Queued),
    ];
    let timestamps = any::<Option<(u32, u32)>>();
    (near_zero(), near_zero(), any::<u16>(), timestamps, flight).prop_map(
        |(snd_nxt, rcv_nxt, rcv_wnd, timestamps, flight)| Connection {
            snd_nxt,
            rcv_nxt,
            rcv_wnd,
            timestamps,
            flight,
        },
    )
}

fn clock() -> impl Strategy<Value = Move> {
    prop_oneof![
        16 => Just(Move::ToDue(0)),
        2 => (-1..=1_i8).prop_map(Move::ToDue),
        8 => (1..3_u8, -1..=1_i8).prop_map(|(intervals, micros)| Move::PastDue(intervals, micros)),
        4 => span().prop_map(Move::Forward),
        2 => span().prop_map(Move::Back),
        1 => any::<u64>().prop_map(Move::To),
        1 => any::<u16>().prop_map(Move::NearTheEnd),
    ]
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => Just(Operation::Enable),
        1 => Just(Operation::Disable),
        1 => Just(Operation::Reset),
        2 => settings().prop_map(Operation::Configure),
        1 => Just(Operation::ConfigureAgain),
        1 => (0..5_u8).prop_map(Operation::ConfigureCount),
        4 => Just(Operation::Segment),
        3 => Just(Operation::Sent),
        1 => Just(Operation::Blocked),
        1 => Just(Operation::HopAsked),
        1 => Just(Operation::HopAnswered),
        1 => Just(Operation::Unreachable),
        6 => connection().prop_map(Operation::Connection),
        4 => Just(Operation::Timeout),
        3 => leaves().prop_map(Operation::Transmit),
        1 => Just(Operation::LeavesLate),
        2 => Just(Operation::Event),
        20 => leaves().prop_map(Operation::Poll),
        20 => clock().prop_map(Operation::Clock),
    ]
}

proptest! {
    #![proptest_config(settled())]

    /// After each of any operations, the machine says what its rules say.
    #[test]
    fn the_machine_does_what_its_rules_say(operations in vec(operation(), 1..120)) {
        let mut pair = Pair::new();
        for operation in &operations {
            pair.apply(operation);
        }
    }
}
