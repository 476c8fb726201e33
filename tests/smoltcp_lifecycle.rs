//! How a connection begins and ends, and what of the keep-alive outlives it.

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a helper of a test may fail as a test does"
)]

mod scenario;
mod twins;

use std::cell::Cell;
use std::rc::Rc;
use std::time::Duration;

use scenario::{End, Scenario, Setup, Time, config, established, ms, s};
use smoltcp::iface::{
    Config as InterfaceConfig, Interface, PollIngressSingleResult, SocketHandle, SocketSet,
};
use smoltcp::phy::{Loopback, Medium};
use smoltcp::socket::tcp::State as Tcp;
use smoltcp::socket::{tcp, udp};
use smoltcp::time::Instant;
use smoltcp::wire::{EthernetAddress, HardwareAddress, Ieee802154Address, IpAddress, IpCidr};
use tcp_keepalive::smoltcp::{CloseReason, EnableError, KeepAliveSet};
use tcp_keepalive::{Cause, Config, Event, State};
use tcp_keepalive_sim::Manner;
use tcp_keepalive_sim::wire::{self, Kind, Macs, neighbor_reply};
use twins::Station;
use twins::station::Way;

/// A whole round of silence from `heard` on, with `config(10, 2, 3)`.
fn dies_after(t: &mut Scenario, heard: Time) {
    t.until(heard + s(10)).nothing();
    t.at(heard + s(10)).probe(1);
    t.until(heard + s(12)).nothing();
    t.at(heard + s(12)).probe(2);
    t.at(heard + s(14)).probe(3);
    t.until(heard + s(16)).nothing();
    let verdict = t.at(heard + s(16)).timed_out();
    assert_eq!(verdict.unanswered, 3);
    t.at(heard + s(1000)).nothing();
}

// How it begins.

/// Enabled before `connect`: time counts from the handshake.
#[test]
fn enabled_before_connect() {
    let mut t = established(config(10, 2, 3));
    t.silence_peer();
    dies_after(&mut t, s(0));
}

/// Enabled between `connect` and the handshake's end.
#[test]
fn enabled_while_connecting() {
    let mut t = Setup::default().closed();
    t.start_opening();
    t.at(ms(5));
    t.enable(config(10, 2, 3));
    t.at(1);
    t.silence_peer();
    t.skip();
    dies_after(&mut t, ms(20));
}

/// Enabled after the handshake: time counts from then.
#[test]
fn enabled_after_connect() {
    let mut t = Setup::default().connected();
    t.silence_peer();
    t.at(3).nothing();
    t.enable(config(10, 2, 3));
    dies_after(&mut t, s(3));
}

/// Enabled before `listen`: the connection that is accepted is kept alive.
#[test]
fn listeners_option_is_the_accepted_connections() {
    let mut t = Setup::default().passive().established(config(10, 2, 3));
    t.silence_peer();
    dies_after(&mut t, s(0));
}

/// Enabled on an accepted connection.
#[test]
fn enabled_after_accept() {
    let mut t = Setup::default().passive().connected();
    t.silence_peer();
    t.at(3).nothing();
    t.enable(config(10, 2, 3));
    dies_after(&mut t, s(3));
}

/// A listener has no peer to probe.
#[test]
fn listener_never_probes() {
    let mut t = Setup::default().passive().closed();
    t.enable(config(10, 2, 3));
    t.socket().listen(80).unwrap();
    t.at(10_000).nothing().is(Tcp::Listen);
    assert_eq!(t.state(), Some(State::Disabled));
    assert_eq!(t.close_reason(), None);
    assert_eq!(t.last_heard(), None);
}

/// While a connection is being opened there are no probes and no verdicts: only SYNs.
#[test]
fn opening_is_smoltcps_affair() {
    let mut t = Setup::default().closed();
    t.cut();
    t.enable(config(10, 2, 3));
    t.start_opening();
    t.at(100).is(Tcp::SynSent);
    assert!(t.take_sent().iter().all(|sent| sent.tcp().unwrap().syn));
    assert_eq!(t.state(), Some(State::Disabled));
    assert_eq!(t.events(), []);
}

/// A handshake that the peer does not complete leaves a listener's socket as it was.
#[test]
fn half_open_handshake_is_not_probed() {
    let mut t = Setup::default().passive().closed();
    t.enable(config(10, 2, 3));
    t.socket().listen(80).unwrap();
    t.peer_connects(false);
    t.at(ms(10)).syn();
    t.silence_peer();
    t.at(100).is(Tcp::SynReceived);
    assert!(t.take_sent().iter().all(|sent| sent.tcp().unwrap().syn));
    assert_eq!(t.state(), Some(State::Disabled));
}

/// Closed by the application before that, it is in FIN-WAIT-1, and still the peer was not heard.
#[test]
fn half_open_handshake_that_is_closed_was_not_heard() {
    let mut t = Setup::default().passive().closed();
    t.enable(config(10, 2, 3));
    t.socket().listen(80).unwrap();
    t.peer_connects(false);
    t.at(ms(10)).syn();
    t.silence_peer();
    t.at(5).is(Tcp::SynReceived);
    t.socket().close();
    t.at(9).is(Tcp::FinWait1);
    assert_eq!(t.last_heard(), None);
}

// Enabled late, on a connection that is silent ever since.

/// The numbers of a probe are had without a frame: none leaves between enabling and the first
/// probe, and that is right.
#[test]
fn enabling_late_sends_nothing_before_the_first_probe() {
    for setup in [
        Setup::default(),
        Setup::default().passive(),
        Setup::default().ipv6(),
        Setup::default().timestamps(),
        Setup::default().passive().timestamps().ipv6(),
        Setup::default().ethernet(),
        Setup::default().smoltcp_peer(),
        Setup::default()
            .ethernet()
            .ipv6()
            .smoltcp_peer()
            .timestamps(),
    ] {
        let mut t = setup.connected();
        t.at(20);
        t.skip();
        t.enable(config(10, 2, 3));
        t.until(30).nothing();
        t.at(30).probe(1);
        t.at(31).alive();
    }
}

/// The same after data has gone both ways unseen.
#[test]
fn enabling_late_after_data_went_both_ways() {
    let mut t = Setup::default().connected();
    t.write(100);
    t.peer_says(33);
    t.at(5);
    t.skip();
    t.enable(config(10, 2, 3));
    t.until(15).nothing();
    t.at(15).probe(1);
    t.at(16).alive();
}

/// The same in `CLOSE_WAIT`, where the peer's FIN was not seen.
#[test]
fn enabling_late_in_close_wait() {
    let mut t = Setup::default().connected();
    t.peer_closes();
    t.at(5).is(Tcp::CloseWait);
    t.skip();
    t.silence_peer();
    t.enable(config(10, 2, 3));
    dies_after(&mut t, s(5));
}

/// The same in `FIN_WAIT_2`, where neither our FIN nor its acknowledgement was seen.
#[test]
fn enabling_late_in_fin_wait_2() {
    let mut t = Setup::default().connected();
    t.socket().close();
    t.at(5).is(Tcp::FinWait2);
    t.skip();
    t.silence_peer();
    t.enable(config(10, 2, 3));
    dies_after(&mut t, s(5));
}

/// The same while data that was not seen is on its way.
#[test]
fn enabling_late_with_data_in_flight() {
    let mut t = Setup::default().connected();
    t.write(10);
    t.at(0).data(10);
    t.at(ms(15)).nothing();
    t.enable(config(10, 2, 3));
    t.at(1).nothing();
    t.until(s(10) + ms(15)).nothing();
    t.at(s(10) + ms(20));
    let sent = t.take_sent();
    assert_eq!(sent.len(), 1);
    assert!(sent[0].tcp().unwrap().is_pure_ack());
    t.at(11).alive();
}

/// Enabled late, where the neighbour's address has been forgotten: it is asked for, and no
/// segment leaves before the first probe.
#[test]
fn enabling_late_with_a_forgotten_neighbour() {
    let mut t = Setup::default().ethernet().connected();
    t.at(100);
    t.skip();
    t.enable(config(10, 2, 3));
    t.until(110);
    let sent = t.take_sent();
    assert!(sent.iter().all(|sent| sent.kind.is_neighbor_query()));
    t.at(111);
    let segments: Vec<_> = t
        .take_sent()
        .into_iter()
        .filter(|sent| sent.tcp().is_some())
        .collect();
    assert_eq!(segments.len(), 1);
    assert!(segments[0].at <= s(110) + ms(20));
    assert_eq!(segments[0].tcp().unwrap().payload, []);
    t.alive();
    assert_eq!(t.stats().probes_answered, 1);
}

/// The application's own setting of smoltcp's keep-alive survives.
#[test]
fn learning_leaves_smoltcps_setting_alone() {
    let mut t = Setup::default().connected();
    let own = Some(s(7).smoltcp());
    t.socket().set_keep_alive(own);
    t.at(0).smoltcp_probe();
    t.enable(config(10, 2, 3));
    t.at(1);
    assert_eq!(t.socket().keep_alive(), own);

    let mut t = Setup::default().connected();
    t.at(1);
    t.skip();
    t.enable(config(10, 2, 3));
    t.at(2).nothing();
    assert_eq!(t.socket().keep_alive(), None);
    t.at(11).probe(1);
}

/// The application's own setting of smoltcp's timeout survives, and is not set off by learning.
#[test]
fn learning_does_not_set_off_smoltcps_timeout() {
    let mut t = Setup::default().connected();
    t.silence_peer();
    t.socket().set_timeout(Some(s(60).smoltcp()));
    t.at(20).nothing();
    t.enable(config(30, 20, 3));
    t.until(50).nothing();
    t.at(50).probe(1);
    t.until(60).nothing();
    t.at(60).rst();
}

// Disabled.

/// Disabled while it is being probed: silence at once.
#[test]
fn disabled_while_probing() {
    let mut t = established(config(10, 2, 3));
    t.silence_peer();
    t.at(10).probe(1).at(11).nothing();
    t.disable();
    assert_eq!(t.state(), None);
    t.at(1000).nothing().is(Tcp::Established);
}

/// Disabled while our question for the neighbour is open: its answer has nothing leave.
#[test]
fn disabled_while_the_neighbour_is_being_asked_for() {
    let mut t = Setup::default().ethernet().established(config(10, 2, 3));
    t.silence_peer();
    t.script().is_neighbor = false;
    t.at(10).probe(1).at(12).probe(2).neighbor_query();
    t.disable();
    let moved = Macs {
        src: EthernetAddress([2, 0, 0, 0, 0, 9]),
        dst: t.macs().unwrap().src,
    };
    let (peer, ours) = (t.setup.peer_address(), t.setup.address());
    t.inject(neighbor_reply(peer, ours, moved));
    t.at(1000).nothing().is(Tcp::Established);
}

/// Disabled and enabled again: time counts from then.
#[test]
fn disabled_and_enabled_again() {
    let mut t = established(config(10, 2, 3));
    t.silence_peer();
    t.at(10).probe(1).at(11).nothing();
    t.disable();
    t.at(50).nothing();
    t.enable(config(10, 2, 3));
    dies_after(&mut t, s(50));
}

/// To disable what is not enabled is no trouble.
#[test]
fn disabling_what_is_not_enabled() {
    let mut t = Setup::default().connected();
    t.disable();
    t.disable();
    t.at(100).nothing().is(Tcp::Established);
}

// What ends it, and what comes after.

/// After a verdict the handle is kept alive in its next connection, active or passive.
#[test]
fn reuse_after_a_verdict() {
    let mut t = established(config(10, 2, 3));
    t.silence_peer();
    dies_after(&mut t, s(0));
    t.script().connections.clear();
    t.start_opening();
    t.at(s(1000) + ms(30)).is(Tcp::Established);
    assert_eq!(t.close_reason(), None);
    t.silence_peer();
    t.skip();
    dies_after(&mut t, s(1000) + ms(20));
    assert_eq!(t.stats().verdicts, 2);
}

/// A verdict on an accepted connection, and the same socket listens again.
#[test]
fn reuse_by_listening_after_a_verdict() {
    let mut t = Setup::default().passive().established(config(10, 2, 3));
    t.silence_peer();
    dies_after(&mut t, s(0));
    t.start_opening();
    t.at(s(1000) + ms(50)).is(Tcp::Established);
    t.silence_peer();
    t.skip();
    dies_after(&mut t, s(1000) + ms(30));
}

/// After both sides have closed.
#[test]
fn reuse_after_close() {
    let mut t = established(config(10, 2, 3));
    t.peer_closes();
    t.at(1).is(Tcp::CloseWait);
    t.socket().close();
    t.at(2).is(Tcp::Closed);
    assert_eq!(t.close_reason(), Some(CloseReason::Closed));
    t.script().connections.clear();
    t.start_opening();
    t.at(3).is(Tcp::Established);
    t.silence_peer();
    t.skip();
    dies_after(&mut t, s(2) + ms(20));
}

/// After an abort.
#[test]
fn reuse_after_abort() {
    let mut t = established(config(10, 2, 3));
    t.socket().abort();
    t.at(0).rst();
    t.at(1);
    assert_eq!(t.close_reason(), Some(CloseReason::LocalAbort));
    t.script().connections.clear();
    t.start_opening();
    t.at(2).is(Tcp::Established);
    t.silence_peer();
    t.skip();
    dies_after(&mut t, s(1) + ms(20));
}

/// Aborted and connected again without a poll in between: the old connection's time is not the
/// new one's, and neither are its numbers.
#[test]
fn reuse_with_no_poll_between() {
    let mut t = established(config(10, 2, 3));
    t.at(9).nothing();
    t.silence_peer();
    t.socket().abort();
    t.script().connections.clear();
    t.start_opening();
    t.at(s(9) + ms(30)).is(Tcp::Established);
    t.silence_peer();
    t.skip();
    dies_after(&mut t, s(9) + ms(20));
}

/// A reset by the peer of an idle connection is told from one of a connection being probed.
#[test]
fn reset_while_idle() {
    let mut t = established(config(10, 2, 3));
    t.at(5).nothing();
    t.forge(|segment| segment.rst = true);
    t.at(6).nothing().is(Tcp::Closed);
    let reason = CloseReason::PeerReset {
        while_probing: false,
    };
    assert_eq!(t.close_reason(), Some(reason));
    assert_eq!(t.events(), []);
}

/// A reset by the peer in answer to the second probe.
#[test]
fn reset_while_suspect() {
    let mut t = established(config(10, 2, 3));
    t.silence_peer();
    t.at(10).probe(1).at(11).nothing();
    t.peer_does(Manner::Resets);
    t.at(12).probe(2).at(13).nothing().is(Tcp::Closed);
    let reason = CloseReason::PeerReset {
        while_probing: true,
    };
    assert_eq!(t.close_reason(), Some(reason));
    assert_eq!(t.stats().verdicts, 0);
}

/// A restarted peer answers data with a RST: it was not being probed.
#[test]
fn reset_in_answer_to_data() {
    let mut t = established(config(10, 2, 3));
    t.at(5).nothing();
    t.peer_does(Manner::Resets);
    t.write(3);
    t.at(5).data(3);
    t.at(6).nothing().is(Tcp::Closed);
    let reason = CloseReason::PeerReset {
        while_probing: false,
    };
    assert_eq!(t.close_reason(), Some(reason));
}

/// Closed by us first.
#[test]
fn closed_by_us_first() {
    let mut t = established(config(10, 2, 3));
    t.at(1).nothing();
    t.socket().close();
    t.at(1).fin();
    t.at(2).is(Tcp::FinWait2);
    assert_eq!(t.close_reason(), None);
    t.peer_closes();
    t.at(3).is(Tcp::TimeWait);
    assert_eq!(t.close_reason(), Some(CloseReason::Closed));
    t.skip();
    t.at(100).nothing().is(Tcp::Closed);
    assert_eq!(t.close_reason(), Some(CloseReason::Closed));
}

/// Closed by the peer first.
#[test]
fn closed_by_the_peer_first() {
    let mut t = established(config(10, 2, 3));
    t.peer_closes();
    t.at(1).is(Tcp::CloseWait);
    t.socket().close();
    t.at(2).is(Tcp::Closed);
    assert_eq!(t.close_reason(), Some(CloseReason::Closed));
}

/// Closed by both at once.
#[test]
fn closed_by_both_at_once() {
    let mut t = established(config(10, 2, 3));
    t.at(1).nothing();
    t.socket().close();
    t.peer_closes();
    t.at(2).is(Tcp::TimeWait);
    assert_eq!(t.close_reason(), Some(CloseReason::Closed));
}

/// The peer dies with our FIN unacknowledged: the user timeout decides.
#[test]
fn unacknowledged_fin_runs_into_the_user_timeout() {
    for closes_first in [true, false] {
        let config = config(10, 2, 3).with_user_timeout(Duration::from_secs(6));
        let mut t = established(config.unwrap());
        if !closes_first {
            t.peer_closes();
        }
        t.at(1);
        t.skip();
        t.silence_peer();
        t.socket().close();
        t.at(1).fin();
        t.until(7);
        t.skip();
        // FIN's last retransmission left at 4 s, more than an interval before.
        t.at(7).question(1);
        t.at(8).fin();
        t.until(9).nothing();
        t.at(9).timed_out_by_user_timeout();
    }
}

/// Aborted by the application, idle or while the peer is being probed.
#[test]
fn aborted_by_the_application() {
    let mut idle = established(config(10, 2, 3));
    idle.at(5).nothing();
    let mut probing = established(config(10, 2, 3));
    probing.silence_peer();
    probing.at(10).probe(1).at(11).nothing();
    for t in [&mut idle, &mut probing] {
        t.socket().abort();
        t.now().rst();
        t.at(1000).nothing();
        assert_eq!(t.close_reason(), Some(CloseReason::LocalAbort));
    }
}

/// Aborted by the application after the peer has closed its side: both sides did not.
#[test]
fn aborted_in_close_wait() {
    let mut t = established(config(10, 2, 3));
    t.peer_closes();
    t.at(1).is(Tcp::CloseWait);
    t.socket().abort();
    t.at(2).is(Tcp::Closed);
    assert_eq!(t.close_reason(), Some(CloseReason::LocalAbort));
}

/// Aborted by the application after it has closed its own side, and the peer has not.
#[test]
fn aborted_in_fin_wait_2() {
    let mut t = established(config(10, 2, 3));
    t.socket().close();
    t.at(1).is(Tcp::FinWait2);
    t.socket().abort();
    t.at(2).is(Tcp::Closed);
    assert_eq!(t.close_reason(), Some(CloseReason::LocalAbort));
}

/// The same if no RST could leave: one FIN is no close.
#[test]
fn aborted_after_one_fin_without_a_word() {
    for peer_closes in [true, false] {
        let mut t = established(config(10, 2, 3));
        if peer_closes {
            t.peer_closes();
        } else {
            t.socket().close();
        }
        t.at(1);
        t.block_device();
        t.socket().abort();
        t.at(100).is(Tcp::Closed);
        assert_eq!(t.close_reason(), Some(CloseReason::LocalAbort));
    }
}

/// A FIN with a bad checksum closed nothing, and does not pass for a close afterwards.
#[test]
fn corrupted_fin_is_no_close() {
    let mut t = established(config(10, 2, 3));
    t.forge(|segment| {
        segment.fin = true;
        segment.checksum_ok = false;
    });
    t.at(1).is(Tcp::Established);
    t.socket().abort();
    t.at(2).is(Tcp::Closed);
    assert_eq!(t.close_reason(), Some(CloseReason::LocalAbort));
}

/// A forged RST that smoltcp does not believe, in the very poll in which the application's abort
/// takes effect, does not pass for the reason.
#[test]
fn forged_rst_is_not_the_reason_of_an_abort() {
    let mut t = established(config(10, 2, 3));
    t.forge(|segment| {
        segment.rst = true;
        segment.seq = segment.seq.wrapping_add(1_000_000);
    });
    t.until(ms(10)).nothing();
    t.socket().abort();
    t.at(1).is(Tcp::Closed);
    assert_eq!(t.close_reason(), Some(CloseReason::LocalAbort));
}

/// A RST that we sent while the connection was being opened, to an attacker who guessed wrong, is not
/// the reason of its end.
#[test]
fn rst_sent_while_opening_is_not_the_reason_of_the_end() {
    let mut t = Setup::default().passive().closed();
    t.enable(config(10, 2, 3));
    t.socket().listen(80).unwrap();
    t.peer_connects(false);
    t.at(ms(10)).syn();
    t.forge(|segment| segment.ack = Some(1));
    t.at(1).is(Tcp::Established);
    let rsts = t.take_sent();
    assert!(rsts.iter().any(|sent| sent.tcp().unwrap().rst));
    t.forge(|segment| segment.rst = true);
    t.at(2).is(Tcp::Closed);
    let reason = CloseReason::PeerReset {
        while_probing: false,
    };
    assert_eq!(t.close_reason(), Some(reason));
}

/// Of two sockets with the same four-tuple, the one is followed to which smoltcp hands what arrives:
/// no octet of smoltcp's own keep-alive leaves after the handshake, and the first probe is right.
#[test]
fn of_two_with_one_four_tuple_the_one_that_smoltcp_finds_is_followed() {
    let mut t = Setup::default().passive().connections(2).closed();
    for index in 0..2 {
        t.enable_on(index, config(10, 2, 3));
        t.socket_of(index).listen(80).unwrap();
    }
    t.peer_connects(false);
    t.at(1);
    assert_eq!(t.socket_of(0).state(), Tcp::Established);
    // The second connection is the other socket's, whose SYN-ACK is lost whenever it sends it.
    let mut its_number = None;
    let link = t.link;
    let is_its_syn = move |_, kind: &Kind| {
        let mut syn = kind
            .tcp()
            .filter(|segment| segment.syn && segment.src_port == 80);
        syn.take_if(|syn| *its_number.get_or_insert(syn.seq) == syn.seq)
            .is_some()
    };
    t.world.lose_every(link, is_its_syn).unwrap();
    t.peer_connects(false);
    t.at(2);
    assert_eq!(t.socket_of(1).state(), Tcp::SynReceived);
    // The first one listens again, and takes the same SYN when it is sent again.
    t.socket_of(0).abort();
    t.at(s(2) + ms(1));
    t.socket_of(0).listen(80).unwrap();
    t.tell(|peer| {
        let mut syn = peer.next_segment(1)?;
        syn.syn = true;
        syn.seq = syn.seq.wrapping_sub(1);
        syn.ack = None;
        peer.forge(&syn);
        Ok(())
    });
    t.skip();
    t.at(s(2) + ms(41));
    assert_eq!(t.socket_of(0).state(), Tcp::Established, "{}", t.story());
    assert_eq!(t.socket_of(1).state(), Tcp::SynReceived);
    t.until(s(12) + ms(31));
    let sent = t.take_sent();
    let is_syn = |sent: &scenario::Sent| sent.tcp().is_some_and(|segment| segment.syn);
    assert!(sent.iter().all(is_syn), "{}", t.story());
    t.at(s(12) + ms(31));
    let probe = t.segment();
    let peer = &t.script().connections[1];
    assert_eq!(probe.seq, peer.rcv_nxt.wrapping_sub(1));
    assert_eq!(probe.ack, Some(peer.snd_nxt));
    assert_eq!(probe.payload, []);
}

/// A SYN from the peer's port: it has lost its power, and opens the same connection anew.
fn stranger(t: &mut Scenario) {
    t.forge(|segment| {
        segment.syn = true;
        segment.ack = None;
        segment.seq = segment.seq.wrapping_add(123_456);
    });
}

/// K19: a peer that has restarted opens the same connection anew, which smoltcp does not answer. We ask
/// in the same poll, and its RST ends the connection a round trip later, without any probe.
#[test]
fn k19_a_restarted_peer_heals_in_a_round_trip() {
    for setup in [
        Setup::default(),
        Setup::default().passive(),
        Setup::default().ethernet().ipv6().timestamps(),
    ] {
        let mut t = setup.established(config(10, 2, 3));
        t.at(3).nothing();
        t.peer_does(Manner::Resets);
        stranger(&mut t);
        // SEQ = SND.NXT, ACK = RCV.NXT.
        t.at(s(3) + ms(10)).ack();
        assert_eq!(t.last_heard(), Some(s(0)));
        t.until(s(3) + ms(30)).nothing().is(Tcp::Established);
        t.at(s(3) + ms(30)).nothing().is(Tcp::Closed);
        let reason = CloseReason::PeerReset {
            while_probing: false,
        };
        assert_eq!(t.close_reason(), Some(reason));
        t.at(1000).nothing();
        assert_eq!(t.stats().probes_sent, 0);
    }
}

/// K19: the question is outside the count. A peer that answers nothing and sends SYNs is asked at each,
/// the first probe is still due at 10 s, and the verdict at 16 s with 3 unanswered.
#[test]
fn k19_questions_for_strangers_are_outside_the_count() {
    let mut t = established(config(10, 2, 3));
    t.silence_peer();
    for second in [1, 2, 4, 8] {
        t.until(second).nothing();
        stranger(&mut t);
        t.at(s(second.into()) + ms(10)).ack();
        assert_eq!(t.state(), Some(State::Armed));
    }
    t.until(10).nothing();
    t.at(10).probe(1);
    t.until(12).nothing();
    t.at(12).probe(2).at(14).probe(3);
    t.until(16).nothing();
    let verdict = t.at(16).timed_out();
    assert_eq!(verdict.unanswered, 3);
    assert_eq!(t.stats().probes_sent, 3);
}

/// K19: SYNs are answered once a second at most: ten of them within 100 ms draw one question, and one
/// that comes a second after that draws the next.
#[test]
fn k19_ten_syns_within_100_ms_are_one_question() {
    let mut t = established(config(100, 2, 3));
    t.silence_peer();
    t.at(3).nothing();
    for number in 0..10 {
        t.at(s(3) + ms(10 * number));
        stranger(&mut t);
    }
    t.at(s(3) + ms(500));
    let asked: Vec<_> = t.take_sent();
    assert_eq!(asked.len(), 1, "{asked:?}");
    assert_eq!(asked[0].at, s(3) + ms(10));
    t.at(s(4) - ms(1)).nothing();
    stranger(&mut t);
    t.at(s(4) + ms(9)).nothing();
    stranger(&mut t);
    t.at(s(4) + ms(19)).ack();
    t.at(99).nothing();
}

/// K19: where a listener of the application's takes the SYN, the stack answers by itself, and we say
/// nothing.
#[test]
fn k19_a_listener_that_takes_the_syn_answers_itself() {
    let mut t = Setup::default().passive().connections(2).closed();
    t.enable_on(1, config(10, 2, 3));
    t.socket_of(1).listen(80).unwrap();
    t.peer_connects(false);
    t.at(1).skip();
    assert_eq!(t.state_of(1), Some(State::Armed));
    // smoltcp looks at the listener first.
    t.socket_of(0).listen(80).unwrap();
    t.silence_peer();
    stranger(&mut t);
    t.at(s(1) + ms(10)).syn();
    t.at(s(1) + ms(900)).nothing();
    assert_eq!(t.socket_of(0).state(), Tcp::SynReceived);
}

/// K19: a SYN with a RST or a FIN in it is nothing that the stack would take, and is not answered.
#[test]
fn k19_malformed_syns_are_not_answered() {
    for is_rst in [true, false] {
        let mut t = established(config(10, 2, 3));
        t.silence_peer();
        t.at(5).nothing();
        t.forge(|segment| {
            segment.syn = true;
            segment.rst = is_rst;
            segment.fin = !is_rst;
            segment.ack = None;
            segment.seq = segment.seq.wrapping_add(123_456);
        });
        t.until(10).nothing();
        t.at(10).probe(1);
    }
}

/// K19: without numbers there is nothing to ask with. A SYN on a connection that was opened past
/// us, and whose numbers are not known, changes nothing, and costs no polls.
#[test]
fn k19_a_stranger_on_a_connection_of_unknown_numbers_costs_nothing() {
    let mut t = Setup::default().closed();
    t.host().bypasses_keep_alive = true;
    t.open();
    t.silence_peer();
    t.at(1);
    t.host().bypasses_keep_alive = false;
    t.enable(config(10, 2, 3));
    t.wake();
    t.at(2).nothing();
    let turns = t.turns();
    stranger(&mut t);
    t.until(11).nothing();
    assert!(t.turns() - turns <= 3, "{}", t.turns() - turns);
    t.at(11).probe(1);
}

/// K19: a question for which the device has no room leaves when there is room.
#[test]
fn k19_a_question_waits_for_the_device() {
    let mut t = established(config(10, 2, 3));
    t.at(3).nothing();
    t.block_transmitter();
    t.peer_does(Manner::Resets);
    stranger(&mut t);
    let turns = t.turns();
    t.at(4).nothing();
    // One for the SYN, and a few to try again.
    assert!(t.turns() - turns <= 6, "{}", t.turns() - turns);
    t.unblock_device();
    t.at(5).is(Tcp::Closed);
    let sent = t.take_sent();
    assert_eq!(sent.len(), 1, "{sent:?}");
    assert_eq!(t.stats().unsent_attempts, 0);
}

/// The last segment of the handshake is lost, and the peer repeats its own: the connection is
/// kept alive all the same.
#[test]
fn lost_end_of_the_handshake() {
    let mut t = Setup::default().smoltcp_peer().closed();
    t.enable(config(10, 2, 3));
    t.drop_next(|from, kind| {
        from == End::Us && matches!(kind, Kind::Tcp(segment) if segment.is_pure_ack())
    });
    t.open();
    t.at(5);
    t.skip();
    t.at(100).alive();
    assert!(t.stats().probes_answered > 5);
}

/// The interface's address is taken away.
#[test]
fn address_lost() {
    let mut t = established(config(10, 2, 3));
    t.at(5).nothing();
    t.host()
        .iface
        .update_ip_addrs(|addresses| while addresses.pop().is_some() {});
    t.at(1000).nothing().is(Tcp::Closed);
    assert_eq!(t.close_reason(), Some(CloseReason::AddressLost));
}

/// The interface's address is taken away while probes are being sent.
#[test]
fn address_lost_while_probing() {
    let mut t = established(config(10, 2, 3));
    t.silence_peer();
    t.at(10).probe(1).at(11).nothing();
    t.host()
        .iface
        .update_ip_addrs(|addresses| while addresses.pop().is_some() {});
    t.at(1000).nothing().is(Tcp::Closed);
    assert_eq!(t.close_reason(), Some(CloseReason::AddressLost));
}

/// K14, F2: how a connection ended is known when it ends. An address that was taken away and comes back
/// a moment later changes nothing of it.
#[test]
fn k14_address_lost_stays_address_lost() {
    for is_probing in [false, true] {
        let mut t = established(config(10, 2, 3));
        if is_probing {
            t.silence_peer();
            t.at(10).probe(1);
        } else {
            t.at(5).nothing();
        }
        let kept = t.host().iface.ip_addrs().to_vec();
        t.host()
            .iface
            .update_ip_addrs(|addresses| addresses.truncate(0));
        t.wake();
        let now = t.time();
        t.at(now + s(1)).nothing().is(Tcp::Closed);
        assert_eq!(t.close_reason(), Some(CloseReason::AddressLost));
        assert_eq!(t.state(), Some(State::Disabled));
        t.host().iface.update_ip_addrs(|addresses| {
            for address in kept {
                addresses.push(address).unwrap();
            }
        });
        t.wake();
        t.at(1000).nothing();
        assert_eq!(t.close_reason(), Some(CloseReason::AddressLost));
    }
}

/// K14, F2: an address that is gone and back between two polls costs no connection.
#[test]
fn k14_an_address_gone_between_two_polls_is_not_lost() {
    let mut t = established(config(10, 2, 3));
    t.at(5).nothing();
    let kept = t.host().iface.ip_addrs().to_vec();
    t.host()
        .iface
        .update_ip_addrs(|addresses| addresses.truncate(0));
    t.host().iface.update_ip_addrs(|addresses| {
        for address in kept {
            addresses.push(address).unwrap();
        }
    });
    t.wake();
    t.at(10).probe(1);
    t.at(11).alive();
}

/// There is no reason while there is a connection, and none before there ever was one.
#[test]
fn no_reason_before_the_end() {
    let mut t = Setup::default().closed();
    t.enable(config(10, 2, 3));
    assert_eq!(t.close_reason(), None);
    t.open();
    assert_eq!(t.close_reason(), None);
    t.silence_peer();
    t.at(15);
    assert_eq!(t.close_reason(), None);
}

// Beside smoltcp's own.

/// smoltcp's keep-alive goes on beside ours; its answers count for both.
#[test]
fn smoltcps_keep_alive_beside_ours() {
    let mut t = established(config(10, 2, 3));
    t.socket().set_keep_alive(Some(s(4).smoltcp()));
    t.at(0).smoltcp_probe();
    t.at(s(4) + ms(20)).smoltcp_probe();
    t.at(s(8) + ms(40)).smoltcp_probe();
    t.at(100).alive();
    let sent = t.take_sent();
    assert!(sent.iter().all(|sent| sent.tcp().unwrap().payload == [0]));
    assert_eq!(t.stats().probes_sent, 0);
    t.silence_peer();
    t.at(200).is(Tcp::Closed);
    assert!(matches!(t.close_reason(), Some(CloseReason::KeepAlive(_))));
}

/// smoltcp's keep-alive does not pass for a sign of life: with it, the verdict is in time.
#[test]
fn smoltcps_keep_alive_does_not_delay_the_verdict() {
    let mut t = established(config(10, 2, 3));
    t.silence_peer();
    t.socket().set_keep_alive(Some(s(3).smoltcp()));
    t.until(16);
    t.skip();
    let verdict = t.at(16).timed_out();
    assert_eq!(verdict.unanswered, 3);
}

/// smoltcp's timeout strikes when it would have without us.
#[test]
fn smoltcps_timeout_beside_ours() {
    let mut t = established(config(10, 2, 3));
    t.silence_peer();
    t.socket().set_timeout(Some(s(11).smoltcp()));
    t.at(10).probe(1);
    t.until(11).nothing();
    t.at(11).rst().is(Tcp::Closed);
    assert_eq!(t.close_reason(), Some(CloseReason::LocalAbort));
    t.at(1000).nothing();
}

/// Our probes keep smoltcp's timeout from killing a peer that answers them.
#[test]
fn our_probes_satisfy_smoltcps_timeout() {
    let mut t = established(config(10, 2, 3));
    t.socket().set_timeout(Some(s(12).smoltcp()));
    t.at(1000).alive();
}

// The RST that closes our end after a verdict.

/// How a connection comes to be in a state, silent from then on.
fn silent_in(state: Tcp, config: Config) -> Scenario {
    let mut t = established(config);
    t.at(1).nothing();
    match state {
        Tcp::Established => t.silence_peer(),
        Tcp::CloseWait | Tcp::LastAck => {
            t.peer_closes();
            t.at(2);
            t.silence_peer();
        }
        Tcp::FinWait1 => {
            t.silence_peer();
            t.socket().close();
        }
        Tcp::FinWait2 => {
            t.socket().close();
            t.at(2);
            t.silence_peer();
        }
        Tcp::Closing => {
            let before = t.peer_segment().ack;
            t.silence_peer();
            t.socket().close();
            t.at(1).fin();
            t.forge(|segment| {
                segment.fin = true;
                segment.ack = before;
            });
            t.at(2);
        }
        _ => panic!("{state:?}"),
    }
    if state == Tcp::LastAck {
        t.socket().close();
    }
    t.at(3).is(state);
    t
}

/// In each state of a synchronised connection the socket is closed in the poll of the verdict, and the
/// peer's RST is the last that is sent.
#[test]
fn verdict_closes_the_socket_in_each_state() {
    for (state, cause) in [
        (Tcp::Established, Cause::KeepAlive),
        (Tcp::FinWait1, Cause::UserTimeout),
        (Tcp::FinWait2, Cause::KeepAlive),
        (Tcp::CloseWait, Cause::KeepAlive),
        (Tcp::Closing, Cause::UserTimeout),
        (Tcp::LastAck, Cause::UserTimeout),
    ] {
        let config = config(10, 2, 3).with_user_timeout(Duration::from_secs(6));
        let mut t = silent_in(state, config.unwrap());
        let heard = t.last_heard().unwrap();
        // A FIN of ours left at 1 s, or after the peer was heard at 2 s, and asks: the user timeout
        // of 6 s runs from there.
        let verdict_at = match (state, cause) {
            (_, Cause::KeepAlive) => heard + s(16),
            (Tcp::LastAck | Tcp::Closing, _) => s(2) + s(8),
            _ => s(1) + s(8),
        };
        t.until(verdict_at);
        t.skip().is(state);
        assert!(t.at(verdict_at).segment().rst);
        t.given_up(cause);
        t.is(Tcp::Closed);
        t.at(1000).nothing();
    }
}

fn is_verdict(event: &Event) -> bool {
    matches!(event, Event::TimedOut(_))
}

/// The same while our window is closed, and with octets that the application has not read: those can be
/// read afterwards.
#[test]
fn verdict_leaves_what_was_received_to_be_read() {
    for (len, window) in [(100, 0), (60, 40)] {
        let mut t = Setup::default()
            .buffers(100, 100)
            .established(config(10, 2, 3));
        t.at(1).nothing();
        t.peer_says(len);
        t.at(2).skip();
        t.silence_peer();
        let heard = t.last_heard().unwrap();
        assert_eq!(t.at(heard + s(10)).segment().window, window);
        t.at(heard + s(12)).probe(2).at(heard + s(14)).probe(3);
        t.at(heard + s(16)).timed_out();
        assert_eq!(t.socket().state(), Tcp::Closed);
        assert_eq!(t.read(), len);
        t.at(1000).nothing();
    }
}

/// The same with data of ours that the peer never acknowledged.
#[test]
fn verdict_with_data_outstanding_sends_no_more_of_it() {
    let config = config(10, 2, 3).with_user_timeout(Duration::from_secs(6));
    let mut t = established(config.unwrap());
    t.silence_peer();
    t.write(1000);
    t.until(8);
    t.skip();
    t.at(8).timed_out_by_user_timeout();
    t.at(1000).nothing();
}

/// The same if an acknowledgement is held back, so that the socket's window begins past what it has
/// acknowledged: it is closed in that poll all the same, and one RST leaves.
#[test]
fn verdict_closes_a_socket_that_holds_back_an_acknowledgement() {
    let mut t = established(config(10, 2, 3));
    t.socket().set_ack_delay(Some(s(100).smoltcp()));
    t.at(1).nothing();
    t.peer_says(3);
    t.silence_peer();
    let heard = s(1) + ms(10);
    t.until(heard + s(16));
    t.skip();
    t.at(heard + s(16)).is(Tcp::Closed);
    assert!(matches!(t.close_reason(), Some(CloseReason::KeepAlive(_))));
    let sent = t.take_sent();
    let [reset] = &sent[..] else {
        panic!("{sent:?}");
    };
    assert!(reset.tcp().unwrap().rst);
    t.given_up_on_all(1);
    t.at(1000).nothing_sent();
}

// Polled past the set.

/// Two hosts that talk by turns of the one with keep-alive that are polled by `ways`, one after the
/// other, until so many seconds have passed, or it has given up the peer. Returns when that was.
fn polled_by(ways: &[Way], peer_lives: bool, seconds: i64) -> Option<Instant> {
    let setup = twins::Setup {
        all_kinds: false,
        ..twins::Setup::of(1)
    };
    let mut host = Station::new(&setup, 1, 7, Some(config(10, 2, 3)));
    let mut peer = Station::new(&setup, 2, 9, None);
    let mut now = Instant::from_secs(1000);
    let end = now + smoltcp::time::Duration::from_secs(seconds.cast_unsigned());
    let mut ways = ways.iter().cycle();
    host.open(&setup);
    peer.open(&setup);
    let is_over = |host: &mut Station| {
        while let Some((_, event)) = host.poll_event() {
            if is_verdict(&event) {
                return true;
            }
        }
        false
    };
    while now < end {
        for _ in 0..8 {
            host.poll_by(*ways.next().unwrap(), now);
            if is_over(&mut host) {
                return Some(now);
            }
            let has_opened = now > Instant::from_secs(1003);
            let frames = std::mem::take(&mut host.wire.outbound);
            if peer_lives || !has_opened {
                peer.wire.inbound.extend(frames);
                peer.poll(now);
                host.wire.inbound.extend(peer.wire.outbound.drain(..));
            }
        }
        let next = now + smoltcp::time::Duration::from_millis(500);
        let due = host.poll_at(now).into_iter().chain(peer.poll_at(now)).min();
        now = due
            .unwrap_or(next)
            .clamp(now + smoltcp::time::Duration::from_millis(1), next);
    }
    assert_eq!(host.tcp(0).state(), Tcp::Established);
    None
}

/// A poll of the interface with the device wrapped is as good as one of the set: by whatever ways a
/// host is polled in turns, a live peer is kept, and a dead one is given up in time.
#[test]
fn polls_through_the_wrapped_device_are_as_good() {
    use Way::{Interface, Set, Single};
    for ways in [
        &[Set][..],
        &[Set, Interface],
        &[Set, Single],
        &[Set, Interface, Single],
        &[Interface, Interface, Interface, Set],
        &[Single, Single, Single, Single, Set],
    ] {
        assert_eq!(polled_by(ways, true, 600), None, "{ways:?}");
        let given_up = polled_by(ways, false, 600).unwrap();
        let latest = Instant::from_secs(1003 + 16 + 1);
        assert!(given_up <= latest, "{ways:?}: {given_up}");
    }
}

// The set.

/// A set takes as many handles as it has places, and one more after one was disabled.
#[test]
fn a_full_set_refuses() {
    let (_, _, mut sockets, first) = loopback();
    let second = sockets.add(tcp::Socket::new(buffer(), buffer()));
    let mut keep_alive = KeepAliveSet::<1>::new();
    assert_eq!(keep_alive.enable(first, Config::DEFAULT), Ok(()));
    assert_eq!(keep_alive.enable(first, config(10, 2, 3)), Ok(()));
    assert_eq!(
        keep_alive.enable(second, Config::DEFAULT),
        Err(EnableError::Full)
    );
    assert_eq!(keep_alive.state(second), None);
    keep_alive.disable(first);
    assert_eq!(keep_alive.enable(second, Config::DEFAULT), Ok(()));
    let refused = keep_alive.enable(first, Config::DEFAULT);
    assert_eq!(refused, Err(EnableError::Full));
    let said = refused.unwrap_err().to_string();
    assert_eq!(said, "all places of the keep-alive set are taken");
}

/// A set tells which handles are enabled, in what state, and how many there is room for.
#[test]
fn a_set_tells_its_handles() {
    let (_, _, mut sockets, first) = loopback();
    let second = sockets.add(tcp::Socket::new(buffer(), buffer()));
    let mut keep_alive = KeepAliveSet::<3>::new();
    assert!(keep_alive.is_empty());
    for handle in [first, second] {
        keep_alive.enable(handle, Config::DEFAULT).unwrap();
    }
    keep_alive.disable(first);
    let handles: Vec<_> = keep_alive.iter().collect();
    assert_eq!(handles, [(second, State::Disabled)]);
    assert_eq!((keep_alive.len(), keep_alive.capacity()), (1, 3));
    assert!(!keep_alive.is_empty() && keep_alive.is_enabled(second));
    assert!(!keep_alive.is_enabled(first));
    assert_eq!(format!("{keep_alive:?}"), "{SocketHandle(1): Disabled}");
}

/// A set without places refuses everything, and polls the interface all the same.
#[test]
fn an_empty_set_polls() {
    let (mut iface, mut device, mut sockets, handle) = loopback();
    let mut keep_alive = KeepAliveSet::<0>::new();
    assert_eq!(
        keep_alive.enable(handle, Config::DEFAULT),
        Err(EnableError::Full)
    );
    keep_alive.poll(Instant::ZERO, &mut iface, &mut device, &mut sockets);
    assert_eq!(
        keep_alive.poll_at(Instant::ZERO, &mut iface, &sockets),
        None
    );
    assert_eq!(keep_alive.poll_event(), None);
}

/// A handle that is not a TCP socket's is dropped, and an event says so.
#[test]
fn handle_that_is_not_tcp_is_dropped() {
    let (mut iface, mut device, mut sockets, handle) = loopback();
    let packets = || udp::PacketBuffer::new(vec![udp::PacketMetadata::EMPTY], vec![0; 64]);
    let other = sockets.add(udp::Socket::new(packets(), packets()));
    let mut keep_alive = KeepAliveSet::<2>::new();
    keep_alive.enable(other, Config::DEFAULT).unwrap();
    keep_alive.enable(handle, Config::DEFAULT).unwrap();
    keep_alive.poll(Instant::ZERO, &mut iface, &mut device, &mut sockets);
    assert_eq!(keep_alive.state(other), None);
    assert_eq!(keep_alive.state(handle), Some(State::Disabled));
    assert_eq!(keep_alive.poll_event(), Some((other, Event::NoSocket)));
    assert_eq!(keep_alive.poll_event(), None);

    // Its place can be taken again.
    let more = sockets.add(tcp::Socket::new(buffer(), buffer()));
    keep_alive.enable(more, Config::DEFAULT).unwrap();
    keep_alive.poll(Instant::ZERO, &mut iface, &mut device, &mut sockets);
    assert_eq!(keep_alive.state(more), Some(State::Disabled));
    assert_eq!(keep_alive.poll_event(), None);
}

/// A handle whose socket was removed is dropped, while it is being probed too.
#[test]
fn handle_that_was_removed_is_dropped() {
    let mut t = Setup::default()
        .connections(2)
        .established(config(10, 2, 3));
    t.silence_peer();
    t.at(10).probe_on(0, 1).probe_on(1, 1);
    let removed = t.handles[0];
    t.host().sockets.remove(removed);
    t.at(12);
    let keep_alive = &t.host().keep_alive;
    assert_eq!(keep_alive.state(removed), None);
    assert_eq!(keep_alive.close_reason(removed), None);
    let mut events = t.host().events().iter();
    assert!(events.any(|&(_, of, event)| (of, event) == (removed, Event::NoSocket)));
    t.probe_on(1, 2).at(14).probe_on(1, 3).at(16).rst();
    t.at(1000);
    assert!(t.take_sent().is_empty());
}

/// Over IEEE 802.15.4, smoltcp cannot send probes: enabling is refused from the first poll on,
/// and nothing panics.
#[test]
fn ieee_802_15_4_is_refused() {
    let mut device = Loopback::new(Medium::Ieee802154);
    let address = Ieee802154Address::Extended([2, 0, 0, 0, 0, 0, 0, 1]);
    let mut config = InterfaceConfig::new(HardwareAddress::Ieee802154(address));
    config.pan_id = Some(smoltcp::wire::Ieee802154Pan(1));
    let mut iface = Interface::new(config, &mut device, Instant::ZERO);
    let mut sockets = SocketSet::new(Vec::new());
    let handle = sockets.add(tcp::Socket::new(buffer(), buffer()));
    let mut keep_alive = KeepAliveSet::<2>::new();
    keep_alive.enable(handle, Config::WINDOWS).unwrap();
    for second in 0..10_000 {
        let now = Instant::from_secs(second);
        keep_alive.poll(now, &mut iface, &mut device, &mut sockets);
        assert_eq!(keep_alive.poll_at(now, &mut iface, &sockets), None);
    }
    let other = sockets.add(tcp::Socket::new(buffer(), buffer()));
    let refused = keep_alive.enable(other, Config::WINDOWS);
    assert_eq!(refused, Err(EnableError::UnsupportedMedium));
}

/// Many connections one after the other leave nothing behind.
#[test]
fn a_thousand_connections_one_after_the_other() {
    let mut t = established(config(10, 2, 3));
    for _ in 0..1000 {
        t.socket().abort();
        let now = t.time();
        t.at(now + ms(5));
        t.script().connections.clear();
        t.start_opening();
        t.at(now + ms(50)).alive();
        t.skip();
    }
    assert_eq!(t.stats().verdicts, 0);
    assert_eq!(t.events(), []);
}

/// All events that were not read for a while are still there, one per kind.
#[test]
fn events_wait_to_be_read() {
    let mut t = established(config(10, 2, 3));
    t.silence_peer();
    t.at(16);
    let events: Vec<_> = t.events().into_iter().map(|(_, event)| event).collect();
    assert!(matches!(
        events[..],
        [Event::Suspect { unanswered: 1 }, Event::TimedOut(_)]
    ));
    let from_us = t.trace().iter().filter(|sent| sent.from == End::Us).count();
    assert_eq!(from_us, 3 + 3);
}

fn buffer() -> tcp::SocketBuffer<'static> {
    tcp::SocketBuffer::new(vec![0; 64])
}

fn loopback() -> (Interface, Loopback, SocketSet<'static>, SocketHandle) {
    let mut device = Loopback::new(Medium::Ethernet);
    let address = HardwareAddress::Ethernet(EthernetAddress([2, 0, 0, 0, 0, 1]));
    let iface = Interface::new(InterfaceConfig::new(address), &mut device, Instant::ZERO);
    let mut sockets = SocketSet::new(Vec::new());
    let handle = sockets.add(tcp::Socket::new(buffer(), buffer()));
    (iface, device, sockets, handle)
}

/// `poll_ingress_single` until there is nothing more, with the device wrapped at each call, comes to an
/// end; and what was due has left.
#[test]
fn ingress_one_frame_at_a_time_comes_to_an_end() {
    let mut device = Loopback::new(Medium::Ip);
    let mut iface = Interface::new(
        InterfaceConfig::new(HardwareAddress::Ip),
        &mut device,
        Instant::ZERO,
    );
    let own = IpAddress::v4(127, 0, 0, 1);
    iface.update_ip_addrs(|addresses| addresses.push(IpCidr::new(own, 8)).unwrap());
    let buffer = || tcp::SocketBuffer::new(vec![0; 64]);
    let mut sockets = SocketSet::new(Vec::new());
    let client = sockets.add(tcp::Socket::new(buffer(), buffer()));
    let server = sockets.add(tcp::Socket::new(buffer(), buffer()));
    let mut keep_alive = KeepAliveSet::<1>::new();
    let config = Config::new(Duration::from_secs(10), Duration::from_secs(2), 3).unwrap();
    keep_alive.enable(client, config).unwrap();
    sockets.get_mut::<tcp::Socket>(server).listen(80).unwrap();
    let socket = sockets.get_mut::<tcp::Socket>(client);
    socket.connect(iface.context(), (own, 80), 49_152).unwrap();
    for millis in 0..100 {
        let now = Instant::from_millis(millis);
        keep_alive.poll(now, &mut iface, &mut device, &mut sockets);
    }
    // The probe is due at 10 s.
    let now = Instant::from_millis(10_100);
    let mut calls = 0;
    while iface.poll_ingress_single(now, &mut keep_alive.wrap(&mut device), &mut sockets)
        != PollIngressSingleResult::None
    {
        calls += 1;
        assert!(calls < 100_000, "it goes on for ever");
    }
    keep_alive.poll(now, &mut iface, &mut device, &mut sockets);
    let stats = keep_alive.stats(client).unwrap();
    assert_eq!(stats.probes_sent, 1);
}

/// Of two connections with the same ends, the one that is left is kept alive once the other is
/// gone, by `disable` and removal, or by an abort.
#[test]
fn of_two_with_the_same_ends_the_one_that_is_left_is_followed() {
    const NEW: usize = 0;
    const OLD: usize = 1;
    for removes in [true, false] {
        let mut t = Setup::default().passive().connections(2).closed();
        t.enable_on(OLD, config(7200, 2, 3));
        t.start_opening_one(OLD);
        t.at(1);
        t.script().connections.clear();
        t.enable_on(NEW, config(10, 2, 3));
        t.socket_of(NEW).listen(80).unwrap();
        t.peer_connects(false);
        t.at(2);
        assert_eq!(t.socket_of(OLD).state(), Tcp::Established);
        assert_eq!(t.socket_of(NEW).state(), Tcp::Established);
        if removes {
            t.disable_on(OLD);
            let handle = t.handles[OLD];
            t.host().sockets.remove(handle);
        } else {
            t.socket_of(OLD).abort();
        }
        t.wake();
        t.at(3);
        t.silence_peer();
        t.at(100);
        let state = t.socket_of(NEW).state();
        assert_eq!(state, Tcp::Closed, "removes {removes}: {}", t.story());
    }
}

/// The peer's RST stays the reason, whatever comes in the same poll after it.
#[test]
fn reset_followed_by_a_syn_in_the_same_poll() {
    for answers in [false, true] {
        let mut t = established(config(10, 2, 3));
        t.at(5);
        let segment = t.peer_segment();
        t.sleep_until(6);
        t.forge(|rst| {
            rst.rst = true;
        });
        let other = segment.clone();
        t.forge(|syn| {
            *syn = other;
            if answers {
                syn.payload = b"data".to_vec();
            } else {
                syn.syn = true;
                syn.ack = None;
                syn.seq = 77;
            }
        });
        t.one_turn_at(7).is(Tcp::Closed);
        let reset = CloseReason::PeerReset {
            while_probing: false,
        };
        assert_eq!(t.close_reason(), Some(reset), "{answers}: {}", t.story());
    }
}

/// An address that goes before the handle is followed for the first time.
#[test]
fn address_lost_just_after_enabling() {
    let mut t = Setup::default().connected();
    t.at(5);
    t.enable(config(10, 2, 3));
    t.host().iface.update_ip_addrs(|addresses| {
        addresses.pop();
    });
    t.wake();
    t.at(6).is(Tcp::Closed);
    let (state, reason) = (t.state(), t.close_reason());
    t.at(1000);
    assert_eq!(
        (state, reason, t.close_reason()),
        (Some(State::Disabled), None, None),
        "{}",
        t.story()
    );
}

/// A listener that is closed before its SYN,ACK could leave.
#[test]
fn closed_before_the_syn_ack_left() {
    let mut t = Setup::default().passive().closed();
    t.enable(Config::detect_within(Duration::from_secs(30)).unwrap());
    t.block_transmitter();
    t.start_opening();
    t.at(1).is(Tcp::SynReceived);
    t.socket().close();
    t.silence_peer();
    t.unblock_device();
    t.at(300);
    assert_eq!(t.socket().state(), Tcp::Closed, "{}", t.story());
}

/// The peer fills our window and resets, before our acknowledgement has left.
#[test]
fn reset_at_the_end_of_the_window_is_the_peers() {
    for len in [1023, 1024] {
        let mut t = established(config(100, 2, 3));
        t.at(1);
        t.peer_says(len);
        t.forge(|segment| segment.rst = true);
        t.at(2).is(Tcp::Closed);
        let reset = CloseReason::PeerReset {
            while_probing: false,
        };
        assert_eq!(t.close_reason(), Some(reset), "{len}: {}", t.story());
    }
}

/// A RST that the stack drops arrives in the poll of the verdict.
#[test]
fn a_stray_rst_at_the_verdict_leaves_no_socket_open() {
    let setup = Setup::default().buffers(200_000, 1024);
    let mut t = setup.established(config(10, 2, 3));
    t.silence_peer();
    let seen = Rc::new(Cell::new(None));
    let put = Rc::clone(&seen);
    t.application().on_verdict = Some(Box::new(move |socket| put.set(Some(socket.state()))));
    t.at(ms(15_990));
    t.forge(|segment| {
        segment.rst = true;
        segment.seq = segment.seq.wrapping_add(210_000);
    });
    t.at(17);
    assert_eq!(seen.get(), Some(Tcp::Closed));
}

/// The next hop answers from another address while data is in flight (K3, K17).
#[test]
fn a_moved_probe_waits_while_data_is_in_flight() {
    let mut t = Setup::default().ethernet().established(config(10, 5, 3));
    t.silence_peer();
    t.script().is_neighbor = false;
    t.at(16);
    t.write(3);
    t.at(ms(16_100));
    t.skip();
    let src = EthernetAddress([2, 0, 0, 0, 0, 99]);
    let dst = t.macs().unwrap().src;
    let (peer, ours) = (t.setup.peer_address(), t.setup.address());
    t.inject(wire::neighbor_reply(peer, ours, Macs { src, dst }));
    t.at(ms(16_500));
    let sent = t.take_sent();
    let is_probe = |it: &&scenario::Sent| it.tcp().is_some_and(wire::Segment::is_pure_ack);
    assert_eq!(sent.iter().filter(is_probe).count(), 0, "{}", t.story());
}
