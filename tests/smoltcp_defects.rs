//! What smoltcp's own keep-alive and timeout do in some set-ups, and what this crate does
//! there instead.
//!
//! A test that begins with `plain_` pins down smoltcp's behaviour, for which ours was written:
//! should one of them fail after an update, smoltcp has changed, and there is nothing to repair
//! here.

mod scenario;

use std::time::Duration;

use scenario::{End, Setup, config, established, ms, s, us};
use smoltcp::socket::tcp::State as Tcp;
use tcp_keepalive::smoltcp::CloseReason;
use tcp_keepalive::{Cause, Config, ConfigError, FailedAt, State};
use tcp_keepalive_sim::Manner;

/// E1, without us: enabling on an idle connection sends a probe at once.
#[test]
fn e1_plain_probes_when_enabled() {
    let mut t = Setup::default().plain();
    t.at(3).nothing();
    t.socket().set_keep_alive(Some(s(10).smoltcp()));
    t.at(3).smoltcp_probe();
}

/// E1: the first probe comes after `idle`, whenever it was enabled.
#[test]
fn e1_first_probe_after_idle() {
    let mut t = Setup::default().connected();
    t.at(3).nothing();
    t.enable(config(10, 2, 3));
    t.until(13).nothing();
    t.at(13).probe(1);
}

/// E1b, without us: a lowered interval has no effect until the old deadline.
#[test]
fn e1b_plain_keeps_the_old_deadline() {
    let mut t = Setup::default().plain();
    t.socket().set_keep_alive(Some(s(100).smoltcp()));
    t.at(0).smoltcp_probe();
    t.at(50).nothing();
    t.socket().set_keep_alive(Some(s(10).smoltcp()));
    t.until(s(100) + ms(20)).nothing();
    t.at(s(100) + ms(20)).smoltcp_probe();
}

/// E1b, K8: a lowered idle time counts from the last segment, at once.
#[test]
fn e1b_lowered_idle_takes_effect_at_once() {
    let mut t = established(config(100, 2, 3));
    t.at(50).nothing();
    t.enable(config(60, 2, 3));
    t.until(60).nothing();
    t.at(60).probe(1);
}

/// E1b, K8: an idle time lowered to what has passed already is over now.
#[test]
fn e1b_lowered_below_the_elapsed_probes_now() {
    let mut t = established(config(100, 2, 3));
    t.at(50).nothing();
    t.enable(config(10, 2, 3));
    t.at(50).probe(1);
}

/// E2, without us: after switching off, one more probe is sent.
#[test]
fn e2_plain_probes_once_more_when_switched_off() {
    let mut t = Setup::default().plain();
    t.socket().set_keep_alive(Some(s(10).smoltcp()));
    t.at(0).smoltcp_probe();
    t.at(5).nothing();
    t.socket().set_keep_alive(None);
    t.at(s(10) + ms(20)).smoltcp_probe();
    t.at(1000).nothing();
}

/// E2, K1: after disabling there is silence.
#[test]
fn e2_disabled_is_silent_at_once() {
    let mut t = established(config(10, 2, 3));
    t.at(5).nothing();
    t.disable();
    t.at(1000).nothing().is(Tcp::Established);
}

/// E2, K1: a connection that was disabled wants no more polls.
#[test]
fn e2_disabled_wants_no_polls() {
    let mut t = established(config(10, 2, 3));
    t.at(5).nothing();
    t.disable();
    assert_eq!(t.poll_at(), None);
}

/// E3, without us: the timeout kills a healthy peer for being idle.
#[test]
fn e3_plain_timeout_kills_a_healthy_peer() {
    let mut t = Setup::default().plain();
    t.socket().set_timeout(Some(s(5).smoltcp()));
    t.at(5).rst();
}

/// E3: being idle kills no connection, with a user timeout or without.
#[test]
fn e3_idle_alone_never_kills() {
    let five = Duration::from_secs(5);
    let mut t = established(config(100, 2, 3).with_user_timeout(five).unwrap());
    t.until(100).nothing();
    t.at(100).probe(1);
    t.at(101).alive().at(10_000).alive();
}

/// E4, without us: a host that slept gives up a healthy peer, and asked nothing.
#[test]
fn e4_plain_kills_on_waking() {
    let mut t = Setup::default().plain();
    t.socket().set_keep_alive(Some(s(10).smoltcp()));
    t.socket().set_timeout(Some(s(30).smoltcp()));
    t.at(0).smoltcp_probe();
    t.at(1).nothing();
    t.sleep_until(61).at(61).rst();
}

/// E4: a host that slept past everything asks first.
#[test]
fn e4_sleeper_asks_before_it_judges() {
    let mut t = established(config(10, 5, 4));
    t.at(1).nothing();
    t.sleep_until(61).at(61).probe(1);
    t.at(62).alive();
}

/// E4, K9: what fell due while the host slept is not held against a peer whose answers it
/// could not hear.
#[test]
fn e4_verdict_due_while_asleep_is_put_off_for_one_more_probe() {
    let mut t = established(config(10, 5, 3));
    t.cut();
    t.at(10).probe(1).at(15).probe(2).at(20).probe(3);
    t.at(21).nothing();
    t.sleep_until(81);
    t.repair();
    t.at(81).probe(4);
    t.at(82).alive();
}

/// E4, K9: once per round of silence, so that a host that keeps oversleeping still decides.
#[test]
fn e4_a_verdict_is_put_off_only_once() {
    let mut t = established(config(10, 5, 3));
    t.silence_peer();
    t.at(10).probe(1).at(15).probe(2).at(20).probe(3);
    t.sleep_until(81).at(81).probe(4);
    t.sleep_until(140);
    let verdict = t.at(140).timed_out();
    assert_eq!(verdict.unanswered, 4);
}

/// E5, without us: with equal keep-alive and timeout, the timeout strikes first.
#[test]
fn e5_plain_kills_before_it_probes() {
    let mut t = Setup::default().plain();
    t.socket().set_keep_alive(Some(s(60).smoltcp()));
    t.socket().set_timeout(Some(s(60).smoltcp()));
    t.at(0).smoltcp_probe();
    t.until(s(60) + ms(20)).nothing();
    t.at(s(60) + ms(20)).rst();
}

/// E5: there is no configuration in which the verdict does not come after all the probes.
#[test]
fn e5_no_configuration_decides_before_the_probes() {
    let millis = [1, 2, 1_000, 60_000, 7_200_000].map(Duration::from_millis);
    for idle in millis {
        for interval in millis {
            for count in 2..=u8::MAX {
                let config = Config::new(idle, interval, count).unwrap();
                let last_probe = idle + interval * (u32::from(count) - 1);
                assert_eq!(config.detection_time(), last_probe + interval);
            }
        }
    }
    let sixty = Duration::from_secs(60);
    let count = Config::new(sixty, sixty, 1);
    assert_eq!(count, Err(ConfigError::CountTooSmall));
}

/// E6, without us: while the device cannot transmit, a probe that is due keeps the loop
/// spinning, and another socket's timeout never strikes.
#[test]
fn e6_plain_spins_and_forgets_the_others() {
    let mut t = Setup::default().connections(2).plain();
    t.socket_of(0).set_keep_alive(Some(s(10).smoltcp()));
    t.socket_of(1).set_timeout(Some(s(15).smoltcp()));
    t.at(0).smoltcp_probe();
    t.at(5).nothing();
    t.block_device();
    for second in 11..100 {
        t.one_turn_at(second);
        assert!(t.poll_at() < Some(t.time()));
    }
    assert_eq!(t.socket_of(1).state(), Tcp::Established);
}

/// E6, without us: the loop that does as it is told never comes to rest.
#[test]
#[should_panic(expected = "plain host spins")]
fn e6_plain_loop_never_rests() {
    let mut t = Setup::default().plain();
    t.socket().set_keep_alive(Some(s(10).smoltcp()));
    t.at(5);
    t.block_device();
    t.at(20);
}

/// E6: while the device cannot transmit, the loop sleeps, attempts count as unsent, and the
/// verdict falls in time.
#[test]
fn e6_blocked_device_neither_spins_nor_delays_the_verdict() {
    let mut t = established(config(10, 2, 3));
    t.at(5).nothing();
    t.block_device();
    t.until(10).nothing();
    let polls = t.turns();
    t.until(16).nothing();
    // Each 500 ms for us, and as often for smoltcp once its back-off has grown to that.
    let polls = t.turns() - polls;
    assert!((12..=32).contains(&polls), "{polls} polls");
    let verdict = t.at(16).given_up(Cause::KeepAlive);
    assert_eq!((verdict.unanswered, verdict.unsent), (0, 3));
    assert!(t.worst_idle_turns() <= 1);
}

/// E6: what the stack wants is put off by 10 ms at first, by twice as much each time up to 500, and by
/// 10 again once the device has taken something.
#[test]
fn e6_loop_is_slowed_down_by_degrees_and_anew() {
    let mut t = established(config(100, 2, 3));
    t.at(5).nothing();
    for start in [6, 16] {
        t.block_device();
        t.write(1);
        let mut now = s(start);
        for wait in [10, 20, 40, 80, 160, 320, 500, 500] {
            t.one_turn_at(now);
            assert_eq!(t.poll_at(), Some(now + ms(wait)));
            now = now + ms(wait);
        }
        t.unblock_device();
        t.now().data(1);
        t.at(s(start + 8)).nothing();
    }
}

/// E6: a probe that is waiting for the device holds up no other verdict.
#[test]
fn e6_blocked_device_stops_nobody_elses_timer() {
    let mut t = Setup::default().connections(2).connected();
    t.enable_on(0, config(10, 20, 3));
    t.enable_on(1, config(12, 1, 2));
    t.at(5).nothing();
    t.block_device();
    t.at(14).is(Tcp::Established);
    assert_eq!(t.state_of(1), Some(State::TimedOut));
    assert!(matches!(t.state_of(0), Some(State::Probing { .. })));
}

/// E7, without us: an abort that cannot leave asks to be polled at once, for ever.
#[test]
fn e7_plain_spins_on_an_abort_that_cannot_leave() {
    let mut t = Setup::default().plain();
    t.at(5).nothing();
    t.block_device();
    t.socket().abort();
    for second in 6..100 {
        t.one_turn_at(second);
        assert!(t.poll_at() < Some(t.time()));
    }
}

/// E7: an abort that cannot leave is tried again at growing intervals, and leaves when it can.
#[test]
fn e7_abort_on_a_blocked_device_does_not_spin() {
    let mut t = established(config(10, 2, 3));
    t.at(5).nothing();
    t.block_device();
    t.socket().abort();
    let polls = t.turns();
    t.at(65).nothing();
    assert!(t.turns() - polls < 150);
    assert!(t.worst_idle_turns() <= 1);
    t.unblock_device();
    t.rst();
    assert_eq!(t.close_reason(), Some(CloseReason::LocalAbort));
}

/// E8, without us: the RST of a socket that is reused at once never leaves.
#[test]
fn e8_plain_reuse_swallows_the_rst() {
    let mut t = Setup::default().plain();
    t.at(5).nothing();
    t.socket().abort();
    t.socket().listen(80).unwrap();
    t.at(1000).nothing();
}

/// E8: the RST of a verdict has left when the application hears of it, so that reusing the
/// socket at once does not swallow it.
#[test]
fn e8_rst_of_a_verdict_precedes_any_reuse() {
    let mut t = established(config(10, 2, 3));
    t.silence_peer();
    t.application().on_verdict = Some(Box::new(|socket| {
        socket.abort();
        socket.listen(80).unwrap();
    }));
    t.at(10).probe(1).at(12).probe(2).at(14).probe(3);
    t.at(16).rst().is(Tcp::Listen);
    assert!(matches!(t.close_reason(), Some(CloseReason::KeepAlive(_))));
    t.at(1000);
    assert!(t.take_sent().is_empty());
}

/// E9: a connection that the peer has closed is probed, with the FIN counted into RCV.NXT.
#[test]
fn e9_close_wait_is_probed() {
    let mut t = established(config(10, 2, 3));
    t.peer_closes();
    t.at(ms(10)).ack().is(Tcp::CloseWait);
    t.silence_peer();
    let heard = ms(10);
    t.until(s(10) + heard).nothing();
    t.at(s(10) + heard).probe(1);
    t.at(s(12) + heard).probe(2).at(s(14) + heard).probe(3);
    t.at(s(16) + heard).timed_out();
}

/// E9: a connection that we have closed is probed, with our FIN counted into SND.NXT.
#[test]
fn e9_fin_wait_2_is_probed() {
    let mut t = established(config(10, 2, 3));
    t.socket().close();
    t.at(0).fin();
    t.at(ms(20)).nothing().is(Tcp::FinWait2);
    t.silence_peer();
    let heard = ms(20);
    t.until(s(10) + heard).nothing();
    t.at(s(10) + heard).probe(1);
    t.at(s(12) + heard).probe(2).at(s(14) + heard).probe(3);
    t.at(s(16) + heard).timed_out();
}

/// E11, without us: with a keep-alive alone, a dead peer stays established for ever.
#[test]
fn e11_plain_never_gives_up() {
    let mut t = Setup::default().plain();
    t.silence_peer();
    t.socket().set_keep_alive(Some(s(10).smoltcp()));
    t.at(86_400).is(Tcp::Established);
}

/// E11: there is always an end, if only after 255 probes.
#[test]
fn e11_the_count_is_finite() {
    let mut t = established(config(10, 1, u8::MAX));
    t.silence_peer();
    for probe in 1..=u8::MAX {
        t.at(9 + i32::from(probe)).probe(probe);
    }
    t.until(265).nothing();
    assert_eq!(t.at(265).timed_out().unanswered, u8::MAX);
}

/// E13b, without us: one question for the neighbour's address that gets lost kills a healthy
/// peer, to which no probe was sent.
#[test]
fn e13b_plain_kills_for_a_lost_arp_request() {
    let mut t = Setup::default().ethernet().plain();
    t.socket().set_keep_alive(Some(s(100).smoltcp()));
    t.socket().set_timeout(Some(s(101).smoltcp()));
    t.at(0).smoltcp_probe();
    t.drop_next(|from, kind| from == End::Us && kind.is_neighbor_query());
    t.until(s(100) + ms(20)).nothing();
    t.at(s(100) + ms(20)).neighbor_query();
    t.at(102);
    let mut segments = t.take_sent();
    segments.retain(|sent| !sent.kind.is_neighbor_query());
    assert!(segments.iter().all(|sent| sent.tcp().unwrap().rst));
    t.is(Tcp::Closed);
}

/// E13b: no question for the neighbour's address precedes a probe, so none can get lost.
#[test]
fn e13b_a_probe_asks_for_no_neighbour() {
    let mut t = Setup::default().ethernet().established(config(100, 3, 2));
    t.until(100).nothing();
    t.at(100).probe(1);
    t.at(101).alive();
    t.at(200).nothing();
    assert_eq!((t.stats().unsent_attempts, t.stats().probes_sent), (0, 1));
}

/// E13b, K20: a neighbour that is gone is given up in time, like any dead peer, and the verdict says
/// that not even its address could be had.
#[test]
fn e13b_missing_neighbour_is_given_up_in_time() {
    let mut t = Setup::default().ethernet().established(config(100, 3, 2));
    t.cut();
    t.until(100).nothing();
    t.at(100).probe(1);
    t.at(103).probe(2).neighbor_query();
    t.until(106).nothing();
    let verdict = t.at(106).timed_out();
    assert_eq!((verdict.unanswered, verdict.unsent), (2, 0));
    assert_eq!(verdict.silent_for, Duration::from_secs(106));
    assert_eq!(verdict.failed_at, FailedAt::NextHop);
    t.at(3600).nothing_sent();
}

/// E14, without us: a dead peer that owes an acknowledgement is sent the data for ever.
#[test]
fn e14_plain_retransmits_for_ever() {
    let mut t = Setup::default().plain();
    t.silence_peer();
    t.socket().set_keep_alive(Some(s(10).smoltcp()));
    t.at(0).smoltcp_probe();
    t.at(1).nothing();
    t.write(2);
    t.at(3601).is(Tcp::Established);
    let sent = t.take_sent();
    assert!(
        sent.iter()
            .all(|sent| sent.tcp().unwrap().payload.len() == 2)
    );
    assert!(sent.len() > 60);
}

/// E14, K11: with a user timeout, data that is left unacknowledged ends the connection in time.
#[test]
fn e14_unacknowledged_data_runs_into_the_user_timeout() {
    let mut t = established(
        config(10, 2, 3)
            .with_user_timeout(Duration::from_secs(20))
            .unwrap(),
    );
    t.silence_peer();
    t.at(5).nothing();
    t.write(2);
    t.at(5).data(2);
    t.until(25);
    let sent = t.take_sent();
    assert!(
        sent.iter()
            .all(|sent| sent.tcp().unwrap().payload.len() == 2)
    );
    // The last retransmission is more than an interval old: so the peer is asked first.
    t.at(25).question(2);
    t.until(27).nothing();
    let verdict = t.at(27).timed_out_by_user_timeout();
    assert_eq!(verdict.silent_for, Duration::from_secs(27));
    assert_eq!((verdict.unanswered, verdict.unsent), (1, 0));
}

/// E15, without us: after the clock steps back, there is no probe until it has caught up.
#[test]
fn e15_plain_waits_for_the_clock() {
    let mut t = Setup::default().plain();
    t.socket().set_keep_alive(Some(s(10).smoltcp()));
    t.at(0).smoltcp_probe();
    t.at(5).nothing();
    t.step_clock(s(-600));
    t.until(610).nothing();
}

/// E15, K10: a clock that steps back kills no connection and brings nothing forward; when it has caught
/// up, everything goes to time again.
#[test]
fn e15_clock_stepping_back_brings_nothing_forward() {
    let mut t = established(config(10, 2, 3));
    t.at(5).nothing();
    t.step_clock(s(-600));
    t.until(610).nothing();
    t.at(610).probe(1);
    t.at(611).alive();
}

/// E15, K10: the same while the peer is being probed; and the probes are still all there.
#[test]
fn e15_clock_stepping_back_while_probing() {
    let mut t = established(config(10, 2, 3));
    t.silence_peer();
    t.at(10).probe(1);
    t.at(11).nothing();
    t.step_clock(s(-600));
    t.until(612).nothing();
    t.at(612).probe(2).at(614).probe(3);
    let verdict = t.at(616).timed_out();
    assert_eq!(verdict.unanswered, 3);
}

/// E16, without us: the longest timeout closes at once.
#[test]
fn e16_plain_longest_timeout_closes_at_once() {
    let mut t = Setup::default().plain();
    let longest = smoltcp::time::Duration::from_micros(u64::MAX);
    t.socket().set_timeout(Some(longest));
    t.at(1);
    t.is(Tcp::Closed);
}

/// 49 days.
const LONGEST: Duration = Duration::from_millis(u32::MAX as u64);

/// E16: what cannot be represented is refused where it is built.
#[test]
fn e16_impossible_durations_are_refused() {
    let second = Duration::from_secs(1);
    let too_long = Err(ConfigError::TooLong);
    let just_too_long = LONGEST + Duration::from_nanos(1);
    for duration in [
        just_too_long,
        Duration::from_micros(u64::MAX),
        Duration::MAX,
    ] {
        assert_eq!(Config::new(duration, second, 2), too_long);
        assert_eq!(Config::new(second, duration, 2), too_long);
        assert_eq!(config(10, 2, 3).with_user_timeout(duration), too_long);
    }
    assert_eq!(Config::detect_within(Duration::MAX), too_long);
}

/// E16: the longest durations that are accepted neither overflow nor strike.
#[test]
fn e16_longest_durations_never_fall_due() {
    let config = Config::new(LONGEST, LONGEST, u8::MAX).unwrap();
    let config = config.with_user_timeout(LONGEST).unwrap();
    let mut t = established(config);
    t.silence_peer();
    t.at(1).nothing();
    t.write(1);
    t.at(1).data(1);
    t.at(49 * 86_400).is(Tcp::Established);
    assert_eq!(t.stats().late_polls, 0);
    assert!(t.poll_at() > Some(us(0)));
}

/// E17, without us: a restarted peer leaves a closed socket, and no reason.
#[test]
fn e17_plain_gives_no_reason() {
    let mut t = Setup::default().plain();
    t.at(1).nothing();
    t.peer_does(Manner::Resets);
    t.socket().set_keep_alive(Some(s(10).smoltcp()));
    t.at(1).smoltcp_probe();
    t.at(2).nothing().is(Tcp::Closed);
}

/// E17: a restarted peer answers the first probe with a RST, and that is the reason given.
#[test]
fn e17_restarted_peer_is_reported_as_reset_while_probing() {
    let mut t = established(config(10, 2, 3));
    t.at(1).nothing();
    t.peer_does(Manner::Resets);
    t.at(10).probe(1);
    t.at(11).nothing().is(Tcp::Closed);
    let reason = CloseReason::PeerReset {
        while_probing: true,
    };
    assert_eq!(t.close_reason(), Some(reason));
    assert_eq!(t.state(), Some(State::Disabled));
}

/// E5: with the idle time as long as the interval, the probes still come first, one after the
/// other.
#[test]
fn e5_equal_times_are_waited_for_one_after_the_other() {
    let mut t = established(config(60, 60, 2));
    t.silence_peer();
    t.until(60).nothing();
    t.at(60).probe(1);
    t.until(120).nothing();
    t.at(120).probe(2);
    t.until(180).nothing();
    t.at(180).timed_out();
}
