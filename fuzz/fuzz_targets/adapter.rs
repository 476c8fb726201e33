//! Whatever arrives around a live connection, and whatever the application does meanwhile, the stack
//! under the adapter behaves as the stack without it: octet for octet, but for probes.
//!
//! On Ethernet and IP media, IPv4 and IPv6, with sockets of every other kind beside the connection.
//! Then the peer falls silent, and within the detection time the connection has to be gone.
//!
//! `scripts/fuzz`, or `cargo fuzz run --no-cfg-fuzzing -s none adapter`

#![no_main]

#[path = "../../tests/twins/mod.rs"]
mod twins;

use std::time::Duration;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use smoltcp::phy::Medium;
use smoltcp::time;
use tcp_keepalive::{Config, State};
use twins::{Near, Setup, Step, Twins};

/// Longer than all the steps together can take.
const IDLE: Duration = Duration::from_secs(900);
const INTERVAL: Duration = Duration::from_secs(10);
const COUNT: u8 = 3;
const MAX_STEPS: usize = 40;

#[derive(Arbitrary, Debug)]
struct Plan {
    setup: u8,
    /// Probes leave all the time. Not on an Ethernet: what arrives may tell lies about neighbours.
    is_restless: bool,
    seed: u16,
    moves: Vec<Move>,
}

#[derive(Arbitrary, Debug)]
enum Move {
    Frame(Vec<u8>),
    Segment {
        seq: i16,
        ack: i16,
        flags: u8,
        window: u16,
        timestamps: Option<(u32, u32)>,
        len: u16,
        damage: Option<(u16, u8)>,
    },
    /// A segment whose numbers are next to the right ones.
    Close {
        seq: i8,
        ack: i8,
        flags: u8,
        len: u8,
    },
    Again {
        back: u8,
        at: u16,
        xor: u8,
        cut: u16,
    },
    Write(u8, u16),
    PeerWrite(u8, u16),
    Read(bool),
    Datagram(u16),
    Chatter,
    End(u8),
    PeerEnd(u8),
    Abort(u8),
    Open(u8),
    Enable(bool),
    Lose(u8),
    Wait(u16),
}

impl Move {
    fn step(self, is_restless: bool) -> Step {
        match self {
            Self::Frame(frame) => Step::Frame(frame),
            Self::Segment {
                seq,
                ack,
                flags,
                window,
                timestamps,
                len,
                damage,
            } => Step::Segment(Near {
                seq,
                ack,
                flags,
                window,
                timestamps,
                len,
                damage,
            }),
            Self::Close {
                seq,
                ack,
                flags,
                len,
            } => Step::Segment(Near {
                seq: i16::from(seq / 32),
                ack: i16::from(ack / 32),
                flags,
                window: 2048,
                len: len.into(),
                ..Near::default()
            }),
            Self::Again { back, at, xor, cut } => Step::Again { back, at, xor, cut },
            Self::Write(index, len) => Step::Write { index, len },
            Self::PeerWrite(index, len) => Step::PeerWrite { index, len },
            Self::Read(reads) => Step::Read(reads),
            Self::Datagram(len) => Step::Datagram(len),
            Self::Chatter => Step::Chatter,
            Self::End(index) => Step::Close(index),
            Self::PeerEnd(index) => Step::PeerClose(index),
            Self::Abort(index) => Step::Abort(index),
            // Probes are told by the ports of the first connection that was opened.
            Self::Open(index) => Step::Open(if is_restless { 1 } else { index }),
            Self::Enable(on) => Step::Enable(on),
            Self::Lose(percent) => Step::Lose(percent),
            // All of them together have to be shorter than what 255 probes take.
            Self::Wait(millis) if is_restless => Step::Wait(millis % 4000),
            Self::Wait(millis) => Step::Wait(millis % 16_000),
        }
    }
}

fuzz_target!(|plan: Plan| {
    let setup = Setup::of(plan.setup);
    let is_restless = plan.is_restless && setup.medium == Medium::Ip;
    let setup = Setup {
        // Asking for the numbers ends a delay that smoltcp has left over; see `tests/transparency.rs`.
        delays_acks: !is_restless,
        ..setup
    };
    let seconds = Duration::from_secs;
    let config = if is_restless {
        Config::new(seconds(2), seconds(1), 255)
    } else {
        Config::new(IDLE, INTERVAL, COUNT).and_then(|config| config.with_user_timeout(IDLE))
    };
    let config = config.expect("the config is sensible");
    let mut twins = Twins::connected(setup, config, plan.seed.into());
    for next in plan.moves.into_iter().take(MAX_STEPS) {
        twins.perform(&next.step(is_restless));
    }
    assert!(is_restless || twins.comparison.extra.is_empty());
    if !is_restless {
        outlive_the_peer(&mut twins);
    }
});

/// No frame arrives any more: the connection has to end.
fn outlive_the_peer(twins: &mut Twins) {
    let mut now = twins.now;
    // Due while busy, a probe is put off by an idle time; the user timeout is as long.
    let limit = now + time::Duration::from(IDLE * 3 + INTERVAL * (u32::from(COUNT) + 1));
    let kept = &mut twins.kept;
    kept.wire.inbound.clear();
    while now <= limit {
        kept.poll(now);
        kept.wire.outbound.clear();
        while kept.poll_event().is_some() {}
        if matches!(
            kept.keep_alive_state(),
            None | Some(State::Disabled | State::TimedOut)
        ) {
            return;
        }
        let Some(next) = kept.poll_at(now) else {
            break;
        };
        now = next.max(now + time::Duration::from_micros(1));
    }
    panic!("{:?} at {now}", kept.keep_alive_state());
}
