//! What holds whatever happens: random acts at both ends, random loss, handles that come and go.
//!
//! The number of cases is `PROPTEST_CASES`; a failing case is printed as the acts it consists of.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a helper of a test may fail as a test does"
)]

mod scenario;
mod settled;

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::{Strategy, any, prop_oneof, proptest};
use scenario::{End, Scenario, Setup, Time, config, ms, s, with_user_timeout};
use settled::settled;
use smoltcp::phy::Medium;
use smoltcp::socket::tcp;
use smoltcp::socket::tcp::State as Tcp;
use tcp_keepalive::smoltcp::CloseReason;
use tcp_keepalive::{Config, Event, State};
use tcp_keepalive_sim::Manner;
use tcp_keepalive_sim::wire::{Kind, Segment};

/// What may happen at either end, or between.
#[derive(Clone, Debug)]
enum Act {
    Write(usize),
    PeerSays(usize),
    PeerCloses,
    Close,
    PeerWindow(u16),
    Sleep(Time),
    StepClock(Time),
    BlockFor(Time),
    CutFor(Time),
    Read,
    Wait,
}

fn act() -> impl Strategy<Value = Act> {
    prop_oneof![
        (1..300_usize).prop_map(Act::Write),
        (1..300_usize).prop_map(Act::PeerSays),
        (0..3_u16).prop_map(|quarter| Act::PeerWindow(quarter * 1000)),
        (1..30_000_i64).prop_map(|millis| Act::Sleep(ms(millis))),
        (0..30_000_i64).prop_map(|millis| Act::StepClock(ms(millis))),
        (1..900_i64).prop_map(|millis| Act::BlockFor(ms(millis))),
        (1..900_i64).prop_map(|millis| Act::CutFor(ms(millis))),
        any::<bool>().prop_map(|reads| if reads { Act::Read } else { Act::Wait }),
    ]
}

fn ending_act() -> impl Strategy<Value = Act> {
    prop_oneof![
        8 => act(),
        1 => any::<bool>().prop_map(|ours| if ours { Act::Close } else { Act::PeerCloses }),
    ]
}

fn perform(t: &mut Scenario, act: &Act) {
    match *act {
        Act::Write(len) => {
            let _ = t.socket().send_slice(&vec![b'w'; len]);
        }
        Act::PeerSays(len) => {
            // Only what fits, or the peer would have to retransmit.
            let room = 1024_usize.saturating_sub(t.socket().recv_queue());
            if len <= room && t.socket().may_recv() {
                t.peer_says(len);
            }
        }
        Act::PeerCloses if t.socket().may_recv() => t.peer_closes(),
        Act::Close => t.socket().close(),
        Act::PeerWindow(window) => {
            t.peer().window = window;
            t.peer_acks();
        }
        Act::Sleep(time) => {
            let until = t.time() + time;
            t.sleep_until(until);
        }
        Act::StepClock(time) => t.step_clock(time),
        Act::BlockFor(time) => {
            t.block_device();
            let until = t.time() + time;
            t.at(until);
            t.unblock_device();
        }
        Act::CutFor(time) => {
            t.cut();
            let until = t.time() + time;
            t.at(until);
            t.repair();
        }
        Act::Read => {
            t.read();
        }
        Act::PeerCloses | Act::Wait => {}
    }
}

fn any_setup(bits: u8) -> Setup {
    let setup = Setup {
        medium: [Medium::Ip, Medium::Ethernet][usize::from(bits & 1)],
        ipv6: bits & 2 != 0,
        timestamps: bits & 4 != 0,
        ..Setup::default()
    };
    if bits & 8 == 0 {
        setup
    } else {
        setup.passive()
    }
}

/// The segment's SEQ lies one below all that its connection has sent.
fn is_below(t: &Scenario, segment: &Segment) -> bool {
    let trace = t.trace();
    let earlier = trace
        .iter()
        .filter(|sent| sent.from == End::Us)
        .filter_map(|sent| sent.tcp());
    let same = earlier.filter(|other| {
        other.src_port == segment.src_port && other.dst_port == segment.dst_port && !other.rst
    });
    let latest_syn = same.clone().rfind(|other| other.syn);
    latest_syn.is_some_and(|syn| segment.seq == syn.seq) && same.count() > 2
}

proptest! {
    #![proptest_config(settled())]

    /// Whatever the two do, however long the host sleeps, a peer that answers is never given up,
    /// and nothing spins.
    #[test]
    fn live_peer_is_never_given_up_whatever_happens(
        bits in 0..16_u8,
        acts in vec((0..15_000_i64, act()), 0..30),
    ) {
        let config = config(5, 2, 3);
        let loses = acts.iter().any(|(_, act)| matches!(act, Act::CutFor(_) | Act::BlockFor(_)));
        // What is lost may have been the only window probe within any user timeout.
        let config = if loses { config } else { with_user_timeout(config, 4) };
        let mut t = any_setup(bits).established(config);
        for (pause, act) in acts {
            let then = t.time() + ms(pause);
            t.at(then);
            perform(&mut t, &act);
        }
        let then = t.time() + s(100);
        t.at(then).is(Tcp::Established);
        assert_eq!(t.stats().verdicts, 0, "{}", t.story());
    }

    /// Whatever the two were doing when the peer died, its death is reported within the limit
    /// that `detect_within` was given, counted from when it was last heard.
    #[test]
    fn death_is_reported_within_the_limit_whatever_happens(
        bits in 0..16_u8,
        acts in vec((0..10_000_i64, ending_act()), 0..10),
        last_words in vec((0..10_000_i64, 1..300_usize), 0..5),
    ) {
        let limit = Duration::from_secs(30);
        let mut t = any_setup(bits).established(Config::detect_within(limit).unwrap());
        for (pause, act) in acts {
            if matches!(act, Act::Sleep(_) | Act::StepClock(_) | Act::PeerWindow(0)) {
                continue;
            }
            let then = t.time() + ms(pause);
            t.at(then);
            perform(&mut t, &act);
        }
        // Frames on their way arrive; a connection that is closed by now has no peer to die.
        let then = t.time() + ms(50);
        t.at(then);
        if t.state() == Some(State::Disabled) {
            return Ok(());
        }
        t.silence_peer();
        let then = t.time() + ms(50);
        t.at(then);
        let heard = t.last_heard().unwrap();
        for (pause, len) in last_words {
            let then = t.time() + ms(pause);
            t.at(then);
            perform(&mut t, &Act::Write(len));
        }
        let end = t.time().max(heard + s(31));
        t.at(end);
        let verdict = t.events().into_iter().find(|(_, event)| matches!(event, Event::TimedOut(_)));
        let Some((at, _)) = verdict else {
            panic!("never reported\n{}", t.story());
        };
        assert!(at <= heard + s(30), "reported at {at:?}, heard at {heard:?}\n{}", t.story());
        assert_eq!(t.stats().verdicts, 1);
        assert!(matches!(
            t.close_reason(),
            Some(CloseReason::KeepAlive(_) | CloseReason::UserTimeout(_))
        ));
    }

    /// Whatever is lost, a quiet peer is given up only after `count` unanswered probes in a row, and
    /// after all of the time; and what was heard is what arrived.
    #[test]
    fn verdict_is_never_early_whatever_is_lost(
        bits in 0..16_u8,
        count in 2..5_u8,
        percent in 10..80_u64,
        seed in any::<u64>(),
    ) {
        let mut t = any_setup(bits).established(config(10, 2, count));
        let mut state = seed;
        let is_lost = move |_, _: &Kind| {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
            (state >> 33) % 100 < percent
        };
        t.world.lose_every(t.link, is_lost).unwrap();
        t.at(2000);
        let verdicts = t.events().into_iter().filter_map(|(at, event)| match event {
            Event::TimedOut(verdict) => Some((at, verdict)),
            _ => None,
        });
        let trace = t.trace();
        for (at, verdict) in verdicts {
            let mut answers = trace.iter().filter(|sent| {
                let is_answer = sent.from == End::Peer && sent.tcp().is_some();
                is_answer && !sent.is_lost() && sent.at + ms(10) <= at
            });
            let heard = answers.next_back().unwrap().at + ms(10);
            let probes = trace.iter().filter(|sent| {
                let is_probe = sent.tcp().is_some_and(|segment| !segment.rst);
                sent.from == End::Us && is_probe && sent.at > heard
            });
            let heard = heard.max(s(0));
            assert_eq!(probes.count(), usize::from(verdict.unanswered), "{}", t.story());
            assert_eq!(verdict.unanswered + verdict.unsent, count, "{}", t.story());
            assert!(at >= heard + s(10) + s(2 * i64::from(count)), "{}", t.story());
            assert_eq!(verdict.silent_for, (at - heard).duration(), "{}", t.story());
        }
    }

    /// Handles that are enabled, disabled, connected, closed, aborted and removed in any order:
    /// nothing panics, nothing spins, and no probe leaves for a handle that is not enabled.
    #[test]
    fn handles_come_and_go(
        bits in 0..8_u8,
        steps in vec((0..5_000_i64, 0..4_usize, 0..8_u8), 0..80),
    ) {
        let mut t = any_setup(bits).connections(4).connected();
        let mut enabled = [false; 4];
        let mut is_there = [true; 4];
        for (pause, index, step) in steps {
            let then = t.time() + ms(pause);
            t.at(then);
            let handle = t.handles[index];
            if !is_there[index] {
                // It takes the first place that is free.
                let new = t.host().sockets.add(tcp::Socket::new(
                    tcp::SocketBuffer::new(vec![0; 512]),
                    tcp::SocketBuffer::new(vec![0; 512]),
                ));
                let index = t.handles.iter().position(|handle| *handle == new).unwrap();
                is_there[index] = true;
                continue;
            }
            match step {
                0 | 1 => {
                    t.enable_on(index, config(1 + u64::from(step) * 5, 1, 2));
                    enabled[index] = true;
                }
                2 => {
                    t.disable_on(index);
                    enabled[index] = false;
                }
                3 => t.socket_of(index).abort(),
                4 => t.socket_of(index).close(),
                5 if !t.socket_of(index).is_open() => t.start_opening_one(index),
                6 => {
                    let account = t.script().connections.get_mut(index);
                    if let Some(account) = account {
                        account.manner = Manner::Silent;
                    }
                }
                7 => {
                    t.disable_on(index);
                    t.host().sockets.remove(handle);
                    enabled[index] = false;
                    is_there[index] = false;
                }
                _ => {}
            }
            t.skip();
            let then = t.time() + ms(pause);
            t.at(then);
            let ports = enabled.iter().enumerate().filter(|(_, enabled)| !**enabled);
            let ports: Vec<u16> = ports.map(|(index, _)| 49_152 + u16::try_from(index).unwrap()).collect();
            for sent in t.take_sent() {
                let Some(segment) = sent.tcp() else { continue };
                let numbers = segment.is_pure_ack() && ports.contains(&segment.src_port);
                let is_probe = numbers && segment.ack.is_some() && is_below(&t, segment);
                assert!(!is_probe, "a probe of a disabled handle: {sent:?}\n{}", t.story());
            }
        }
        let then = t.time() + s(100);
        t.at(then);
        assert!(t.worst_idle_turns() <= 2);
    }

    /// Whatever the two were doing, a peer that restarts is found out by the first thing that is
    /// sent to it.
    #[test]
    fn restart_is_found_out_whatever_happens(
        bits in 0..16_u8,
        acts in vec((0..10_000_i64, act()), 0..10),
    ) {
        let mut t = any_setup(bits).established(config(5, 2, 3));
        for (pause, act) in acts {
            let then = t.time() + ms(pause);
            t.at(then);
            perform(&mut t, &act);
        }
        let then = t.time() + ms(50);
        t.at(then);
        // smoltcp may have stalled (`closed_with_data_in_flight_plain_smoltcp_stalls`): then nothing
        // is sent, and without a user timeout nothing can be found out.
        let is_stalled = t.peer().window == 0 && t.socket().send_queue() > 0;
        t.peer_does(Manner::Resets);
        // A window probe may be a minute away, and a clock that was set back may take its time.
        let then = t.time() + s(70);
        t.at(then);
        if is_stalled && t.socket().state() != Tcp::Closed {
            return Ok(());
        }
        t.is(Tcp::Closed);
        let reason = t.close_reason();
        assert!(matches!(reason, Some(CloseReason::PeerReset { .. })), "{reason:?} {}", t.story());
        assert_eq!(t.stats().verdicts, 0);
    }
}
