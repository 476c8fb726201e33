//! An attacker sends. Nothing of it keeps a dead connection alive, nothing kills a live one that
//! smoltcp alone would have kept, and nothing makes the host work more than what arrives.
//!
//! Who can do what is said in `ARCHITECTURE.md`, "Threat model".

#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a helper of a test may fail as a test does"
)]

mod siege;

use std::time::Duration;

use siege::{ATTACKS, Attack, BUFFER, DETECTION, Lan, address, config, ms, patient, secs};
use smoltcp::socket::tcp;
use smoltcp::wire::IpCidr;
use tcp_keepalive::smoltcp::CloseReason;
use tcp_keepalive::{FailedAt, Instant, State};
use tcp_keepalive_sim::wire::Segment;
use tcp_keepalive_sim::{Conditions, Host, Manner, NodeId, Peer, Rng, Script, Switch, World};

/// Whatever is sent in a dead peer's name by an attacker who does not know both of its numbers, it is
/// given up at the very microsecond at which it would have been.
#[test]
fn nothing_forged_keeps_a_dead_connection_alive() {
    for attack in ATTACKS {
        let mut lan = Lan::new(patient());
        lan.world[lan.server].behave(Manner::Silent);
        let heard = lan.last_heard();
        lan.besiege(attack, 500, DETECTION);
        lan.world.run_for(secs(200)).unwrap();
        let verdict = lan.verdict().unwrap();
        assert_eq!(
            verdict.saturating_duration_since(heard),
            DETECTION,
            "{attack:?}"
        );
        assert!(
            matches!(lan.close_reason(), Some(CloseReason::KeepAlive(_))),
            "{attack:?}"
        );
        assert!(lan.forged() >= 500, "{attack:?}");
    }
}

/// The right segment at the same moments does keep it: the attacks are not refused for another
/// reason than their numbers.
#[test]
fn right_segment_at_the_same_moments_counts() {
    let mut lan = Lan::new(patient());
    lan.world[lan.server].behave(Manner::Silent);
    lan.besiege(Attack::RightNumbers, 500, DETECTION);
    lan.world.run_for(secs(60)).unwrap();
    assert_eq!(lan.verdict(), None);
    assert!(lan.last_heard() > Instant::from_millis(1_050_000));
}

/// A forger has to guess a sequence number within a receive buffer of RCV.NXT, to either side, and
/// an acknowledgement within a send buffer below SND.NXT: with 1024 octets each, 2049 times 1025
/// pairs of 2^64. No pair beyond counts.
#[test]
fn forger_has_to_guess_both_numbers() {
    let reach = i64::from(u16::try_from(BUFFER).unwrap());
    let pairs = [
        (reach, 0, true),
        (reach + 1, 0, false),
        (-reach, 0, true),
        (-reach - 1, 0, false),
        (0, -reach, true),
        (0, -reach - 1, false),
        (0, 1, false),
        (reach, -reach, true),
        (reach + 1, -reach - 1, false),
        ((1 << 31) - 1, 0, false),
        (0, (1 << 31) - 1, false),
        (-(1 << 31) + 1, 0, false),
        (0, -(1 << 31) + 1, false),
    ];
    for (seq, ack, counts) in pairs {
        let mut lan = Lan::new(patient());
        let before = lan.last_heard();
        lan.world.run_for(secs(10)).unwrap();
        let moved =
            |number: u32, by: i64| number.wrapping_add(u32::try_from(by & 0xffff_ffff).unwrap());
        let mut segment = lan.genuine();
        segment.seq = moved(segment.seq, seq);
        segment.ack = segment.ack.map(|number| moved(number, ack));
        lan.forge(&segment);
        lan.world.run_for(secs(1)).unwrap();
        assert_eq!(lan.last_heard() > before, counts, "{seq} {ack}");
    }
}

/// A long segment counts for its numbers, damaged or not: who can forge those can forge its checksum
/// (K18). With the wrong numbers it counts as little as a short one.
#[test]
fn long_damaged_segment_counts_for_its_numbers() {
    let mut lan = Lan::new(patient());
    lan.world[lan.server].behave(Manner::Silent);
    lan.besiege(Attack::LongDamaged, 500, DETECTION);
    lan.world.run_for(secs(60)).unwrap();
    assert_eq!(lan.verdict(), None);

    let mut lan = Lan::new(patient());
    lan.world[lan.server].behave(Manner::Silent);
    let heard = lan.last_heard();
    lan.besiege(Attack::BlindData, 500, DETECTION);
    lan.world.run_for(secs(200)).unwrap();
    let verdict = lan.verdict().unwrap();
    assert_eq!(verdict.saturating_duration_since(heard), DETECTION);
}

/// What the attacks do to a live connection they do to smoltcp alone as well, octet for octet: the
/// answers are the same, and so is the end, if it is one. SYNs draw an answer besides, once a second at
/// most (K19).
#[test]
fn nothing_forged_does_more_than_it_does_to_smoltcp_alone() {
    let lethal = [Attack::ResetsInWindow, Attack::RightReset];
    let harmless = ATTACKS
        .into_iter()
        .chain([Attack::LongDamaged, Attack::RightNumbers]);
    for attack in harmless.chain(lethal) {
        let mut twins = [
            Lan::new(config(100_000, 10, 5)),
            Lan::plain(config(100_000, 10, 5)),
        ];
        for lan in &mut twins {
            lan.besiege(attack, 200, DETECTION);
            lan.world.run_for(secs(110)).unwrap();
        }
        let [kept, plain] = &mut twins;
        let plain_sent = plain.sent();
        let mut expected = plain_sent.iter().peekable();
        let kept_sent = kept.sent().into_iter();
        let extra: Vec<_> = kept_sent
            .filter(|sent| expected.next_if_eq(&sent).is_none())
            .map(|(at, _)| at)
            .collect();
        assert_eq!(expected.next(), None, "{attack:?}");
        assert_eq!(!extra.is_empty(), attack == Attack::BlindSyns, "{attack:?}");
        for pair in extra.windows(2) {
            assert!(pair[1].saturating_duration_since(pair[0]) >= secs(1));
        }
        assert_eq!(kept.tcp_state(), plain.tcp_state(), "{attack:?}");
        let survives = kept.tcp_state() == tcp::State::Established;
        assert_eq!(survives, !lethal.contains(&attack), "{attack:?}");
    }
}

/// A peer that lives and is probed while it is attacked is not given up.
#[test]
fn nothing_forged_has_a_live_peer_given_up() {
    for attack in ATTACKS {
        let mut lan = Lan::new(config(10, 2, 3));
        lan.besiege(attack, 500, secs(300));
        lan.world.run_for(secs(310)).unwrap();
        assert_eq!(lan.verdict(), None, "{attack:?}");
        assert_eq!(lan.state(), Some(State::Armed), "{attack:?}");
        assert!(lan.probes_sent() >= 20, "{attack:?}");
    }
}

/// A RST that smoltcp does not believe leaves no trace: the reason of the verdict is not its.
#[test]
fn forged_reset_is_not_the_reason_of_a_verdict() {
    let mut lan = Lan::new(patient());
    lan.world[lan.server].behave(Manner::Silent);
    lan.besiege(Attack::BlindResets, 50, secs(54));
    lan.world.run_for(secs(200)).unwrap();
    assert!(matches!(
        lan.close_reason(),
        Some(CloseReason::KeepAlive(_))
    ));
    // The right one is.
    let mut lan = Lan::new(patient());
    lan.besiege(Attack::RightReset, 1, secs(10));
    lan.world.run_for(secs(20)).unwrap();
    assert!(matches!(
        lan.close_reason(),
        Some(CloseReason::PeerReset { .. })
    ));
}

/// An attacker who answers the probes himself, from an address or a port of his own and with all
/// the right numbers, is not the peer.
#[test]
fn answers_from_elsewhere_do_not_count() {
    for (src_addr, src_port) in [(address(66), 7), (address(2), 8), (address(3), 7)] {
        let mut lan = Lan::new(patient());
        lan.world[lan.server].behave(Manner::Silent);
        let heard = lan.last_heard();
        for second in 0..55 {
            let mut answer = lan.genuine();
            answer.src_addr = src_addr;
            answer.src_port = src_port;
            lan.forge_at(heard.saturating_add(secs(second) + ms(500)), &answer);
        }
        lan.world.run_for(secs(200)).unwrap();
        let verdict = lan.verdict().unwrap();
        assert_eq!(verdict.saturating_duration_since(heard), DETECTION);
    }
}

/// The last segment that a node has sent.
fn last_segment(world: &World, from: NodeId) -> Segment {
    let sent = world.trace().frames().rev();
    let mut segments = sent
        .filter(|sent| sent.from == from)
        .filter_map(|sent| sent.kind.tcp());
    segments.next().unwrap().clone()
}

/// A probe that is sent back is no answer, neither as it is nor with its ends swapped.
#[test]
fn probes_that_come_back_do_not_count() {
    for swaps in [false, true] {
        let mut lan = Lan::new(patient());
        lan.world[lan.server].behave(Manner::Silent);
        let heard = lan.last_heard();
        for number in 0..5 {
            let left = heard.saturating_add(secs(30 + 5 * number) + ms(5));
            let (device, attacker) = (lan.device, lan.attacker);
            lan.world
                .at(left, move |world| {
                    let mut probe = last_segment(world, device.into());
                    if swaps {
                        std::mem::swap(&mut probe.src_addr, &mut probe.dst_addr);
                        std::mem::swap(&mut probe.src_port, &mut probe.dst_port);
                    }
                    world[attacker].forge(&probe);
                    Ok(())
                })
                .unwrap();
        }
        lan.world.run_for(secs(200)).unwrap();
        assert_eq!(lan.forged(), 5);
        let verdict = lan.verdict().unwrap();
        assert_eq!(verdict.saturating_duration_since(heard), DETECTION);
    }
}

/// A connection that was enabled late, and whose numbers are not known yet, is no easier prey.
#[test]
fn unknown_numbers_are_not_taken_from_a_forger() {
    // Of these the sequence number is right.
    let half_blind = [Attack::HalfBlindAck, Attack::KeepAlives, Attack::NoAck];
    let blind = ATTACKS.into_iter();
    for attack in blind.filter(|attack| !half_blind.contains(attack)) {
        let mut lan = Lan::connected_only();
        lan.world[lan.server].behave(Manner::Silent);
        let (device, handle) = (lan.device, lan.handle);
        let host = &mut lan.world[device];
        host.keep_alive.enable(handle, patient()).unwrap();
        lan.world.wake(device).unwrap();
        let enabled = lan.world.now();
        lan.besiege(attack, 500, DETECTION);
        lan.world.run_for(secs(200)).unwrap();
        let verdict = lan.verdict().unwrap();
        assert_eq!(
            verdict.saturating_duration_since(enabled),
            DETECTION,
            "{attack:?}"
        );
    }
}

/// The peer's own word does count there.
#[test]
fn unknown_numbers_are_taken_from_the_peer() {
    let mut lan = Lan::connected_only();
    let (device, handle) = (lan.device, lan.handle);
    let host = &mut lan.world[device];
    host.keep_alive.enable(handle, patient()).unwrap();
    lan.world.wake(device).unwrap();
    let enabled = lan.world.now();
    lan.world.run_for(secs(50)).unwrap();
    lan.world[lan.server].say(0, 5).unwrap();
    lan.world.run_for(secs(1)).unwrap();
    assert!(lan.last_heard() >= enabled.saturating_add(secs(50)));
}

/// Who lies about the neighbour's address while the peer is being probed does not put off the
/// verdict on a dead one.
#[test]
fn spoofed_neighbor_does_not_keep_a_dead_peer() {
    let mut lan = Lan::new(patient());
    let heard = lan.last_heard();
    lan.world.crash(lan.server).unwrap();
    for second in 1..55 {
        lan.poison_at(heard.saturating_add(secs(second)));
    }
    lan.world.run_for(secs(200)).unwrap();
    let verdict = lan.verdict().unwrap();
    assert_eq!(verdict.saturating_duration_since(heard), DETECTION);
}

/// To a live peer that answers our questions he does nothing: what he says unasked is a reason to ask,
/// once an interval at most, and the probes go on to where they went (K17).
#[test]
fn spoofed_neighbor_that_was_not_asked_for_does_no_harm() {
    for every in [100, 1000, 7000] {
        let mut lan = Lan::new(patient());
        let heard = lan.last_heard();
        for number in 1..200_000 / every {
            lan.poison_at(heard.saturating_add(ms(every * number)));
        }
        let before = lan.asked();
        lan.world.run_for(secs(200)).unwrap();
        assert_eq!(lan.verdict(), None, "{every}");
        assert_eq!(lan.state(), Some(State::Armed), "{every}");
        let [questions, to_server, to_attacker] = lan.asked();
        assert!(to_server.len() >= before[1].len() + 6, "{every}");
        assert_eq!(to_attacker, [], "{every}");
        let asked = &questions[before[0].len()..];
        assert!(!asked.is_empty());
        for pair in asked.windows(2) {
            let between = pair[1].saturating_duration_since(pair[0]);
            assert!(between >= secs(5), "{every}: {asked:?}");
        }
    }
}

/// He has to answer each of our questions, before the peer does: those after an announcement of
/// his, and one with each unanswered probe after the first. So to a live peer he does what a cut
/// cable does, and no more: it is given up at the same moment.
#[test]
fn forged_answers_are_as_bad_as_a_cut_cable() {
    let mut lan = Lan::new(patient());
    let heard = lan.last_heard();
    // He is 2 ms away, and so is the peer, whose answer takes 4.
    lan.poison_at(heard.saturating_add(secs(20)));
    lan.poison_at(heard.saturating_add(secs(20) + ms(1)));
    for second in [35, 40, 45, 50] {
        lan.poison_at(heard.saturating_add(secs(second)));
    }
    lan.world.run_for(secs(200)).unwrap();
    let verdict = lan.verdict().unwrap();
    assert_eq!(verdict.saturating_duration_since(heard), DETECTION);
    assert_eq!(lan.failed_at(), Some(FailedAt::Peer));

    let mut lan = Lan::new(patient());
    let heard = lan.last_heard();
    lan.world.partition_oneway(lan.link, lan.device).unwrap();
    lan.world.run_for(secs(200)).unwrap();
    let verdict = lan.verdict().unwrap();
    assert_eq!(verdict.saturating_duration_since(heard), DETECTION);
}

/// One question that he does not win saves the peer: the probe goes out again at once, to the right
/// address.
#[test]
fn one_true_answer_saves_a_live_peer() {
    for lost in [35, 40, 45, 50] {
        let mut lan = Lan::new(patient());
        let heard = lan.last_heard();
        lan.poison_at(heard.saturating_add(secs(20)));
        lan.poison_at(heard.saturating_add(secs(20) + ms(1)));
        for second in [35, 40, 45, 50] {
            if second < lost {
                lan.poison_at(heard.saturating_add(secs(second)));
            }
        }
        lan.world.run_for(secs(200)).unwrap();
        assert_eq!(lan.verdict(), None, "{lost}");
        assert_eq!(lan.state(), Some(State::Armed), "{lost}");
        let to_attacker = &lan.asked()[2];
        let probes: Vec<_> = to_attacker
            .iter()
            .map(|at| at.saturating_duration_since(heard).as_secs())
            .collect();
        let right: Vec<_> = [30, 35, 40, 45, 50]
            .into_iter()
            .filter(|second| *second <= lost)
            .collect();
        assert_eq!(probes, right, "{lost}");
    }
}

/// An attacker cannot answer a question of ours an interval after it, even if it was never answered.
#[test]
fn forged_answer_to_an_old_question_changes_nothing() {
    for (second, is_believed) in [(6, true), (11, false), (25, false)] {
        let mut lan = Lan::new(patient());
        let heard = lan.last_heard();
        // It passes segments, and never tells its address.
        lan.world[lan.server].is_neighbor = false;
        lan.poison_at(heard.saturating_add(secs(5)));
        lan.poison_at(heard.saturating_add(secs(second)));
        lan.world.run_until(heard.saturating_add(secs(31))).unwrap();
        let to_attacker = lan.asked()[2].len();
        assert_eq!(to_attacker, usize::from(is_believed), "{second}");
    }
}

/// smoltcp alone believes him unasked: then what the application writes goes to him.
#[test]
fn spoofed_neighbor_is_believed_by_smoltcp_alone() {
    let mut plain = Lan::plain(patient());
    let now = plain.world.now();
    for tenth in 0..1200 {
        plain.poison_at(now.saturating_add(ms(tenth * 100)));
    }
    plain.world.run_for(secs(1)).unwrap();
    let (device, handle) = (plain.device, plain.handle);
    plain.world[device].tcp(handle).send_slice(b"lost").unwrap();
    plain.world.run_for(DETECTION).unwrap();
    assert_eq!(plain.world[device].tcp(handle).send_queue(), 4);
}

/// An attacker who has the peer use up its challenge acknowledgements (RFC 5961 7) on segments in
/// our name has it tell us that it lives: its answers to the forger's come to us.
#[test]
fn exhausted_challenge_limit_does_not_silence_a_live_peer() {
    let client = Script::client((address(2), 7).into()).keep_alive(config(10, 2, 3));
    let mut world = World::new(1);
    let switch = world.add("switch", Switch::new());
    let device = world.add(
        "device",
        Host::ethernet(IpCidr::new(address(1), 24)).app(client),
    );
    let server = Host::ethernet(IpCidr::new(address(2), 24)).app(Script::server(7));
    let server = world.add("server", server);
    let attacker = world.add("attacker", Peer::ethernet(address(66)));
    for node in [device.into(), server.into(), attacker.into()] {
        let node: NodeId = node;
        world
            .link(node, switch, Conditions::ideal().latency(ms(1)))
            .unwrap();
    }
    world.run_for(secs(5)).unwrap();
    let last = world
        .trace()
        .frames()
        .rev()
        .find_map(|sent| sent.kind.tcp());
    let port = [last.unwrap().src_port, last.unwrap().dst_port];
    let mut forged = last.unwrap().clone();
    forged.src_addr = address(1);
    forged.dst_addr = address(2);
    forged.src_port = port.into_iter().max().unwrap();
    forged.dst_port = 7;
    let mut rng = Rng::new(5);
    let any = |rng: &mut Rng| u32::try_from(rng.below(1 << 32)).unwrap();
    for tenth in 1..3000 {
        let mut segment = forged.clone();
        segment.seq = any(&mut rng);
        segment.ack = Some(any(&mut rng));
        let at = world.now().saturating_add(ms(tenth * 100));
        world
            .at(at, move |world| {
                world[attacker].forge(&segment);
                Ok(())
            })
            .unwrap();
    }
    world.run_for(secs(301)).unwrap();
    assert!(world[device].events().is_empty());
    let handle = world[device].tcp_sockets().next().unwrap().0;
    assert_eq!(world[device].keep_alive.state(handle), Some(State::Armed));
    let challenged = world.trace().frames().filter(|sent| {
        sent.from == server.into() && sent.kind.tcp().is_some_and(Segment::is_pure_ack)
    });
    assert!(challenged.count() > 100, "the forger was answered");
}

/// At line rate, 84 octets of an Ethernet of 100 Mbit/s each, the host has as many turns as it has
/// without keep-alive, none of them for nothing, and the verdict falls when it would have.
#[test]
fn floods_cost_no_turn_and_no_time() {
    let kinds = [
        Attack::BlindAcks,
        Attack::BlindResets,
        Attack::BlindSyns,
        Attack::LongDamaged,
        Attack::Garbage,
    ];
    for attack in kinds {
        let mut turns = Vec::new();
        for mut lan in [Lan::new(patient()), Lan::plain(patient())] {
            lan.world[lan.server].behave(Manner::Silent);
            lan.world.run_for(secs(10)).unwrap();
            let before = lan.world.turns(lan.device).unwrap();
            let frames = 2000;
            lan.besiege(attack, frames, Duration::from_nanos(6720) * frames);
            lan.world.run_for(secs(1)).unwrap();
            turns.push(lan.world.turns(lan.device).unwrap() - before);
            assert!(lan.forged() >= 2000);
            assert!(
                lan.world.worst_idle_turns(lan.device).unwrap() <= 1,
                "{attack:?}"
            );
        }
        let [kept, plain] = turns[..] else { panic!() };
        assert_eq!(kept, plain, "{attack:?}");
    }
}

/// The verdict falls on time in the middle of a flood.
#[test]
fn verdict_falls_on_time_in_a_flood() {
    let mut lan = Lan::new(config(5, 1, 2));
    lan.world[lan.server].behave(Manner::Silent);
    let heard = lan.last_heard();
    lan.world.run_until(heard.saturating_add(ms(6990))).unwrap();
    lan.besiege(Attack::BlindAcks, 5000, ms(34));
    lan.world.run_for(secs(1)).unwrap();
    let verdict = lan.verdict().unwrap();
    assert_eq!(verdict.saturating_duration_since(heard), secs(7));
}

/// What a set takes is a matter of its type: no attack makes it larger.
#[test]
fn memory_is_fixed_by_type() {
    use tcp_keepalive::smoltcp::KeepAliveSet;
    let per_connection = KeepAliveSet::<64>::BYTES_PER_CONNECTION;
    let difference = size_of::<KeepAliveSet<64>>() - size_of::<KeepAliveSet<32>>();
    assert_eq!(difference.div_ceil(32), per_connection);
    // The key, at the least: two addresses and two ports.
    let touched = KeepAliveSet::<64>::BYTES_TOUCHED_BY_SEGMENT;
    assert!((36..per_connection).contains(&touched), "{touched}");
}

/// A segment that has only its sequence number right is not taken for the peer's on a connection whose
/// numbers are not known yet.
#[test]
fn unknown_numbers_are_not_taken_from_who_knows_half_of_them() {
    for attack in [Attack::HalfBlindAck, Attack::KeepAlives, Attack::NoAck] {
        let mut lan = Lan::connected_only();
        lan.world[lan.server].behave(Manner::Silent);
        let (device, handle) = (lan.device, lan.handle);
        let host = &mut lan.world[device];
        host.keep_alive.enable(handle, patient()).unwrap();
        lan.world.wake(device).unwrap();
        let enabled = lan.world.now();
        lan.besiege(attack, 500, DETECTION);
        lan.world.run_for(secs(200)).unwrap();
        let verdict = lan.verdict().unwrap();
        assert_eq!(
            verdict.saturating_duration_since(enabled),
            DETECTION,
            "{attack:?}"
        );
    }
}

/// A number half way round from the right one is no more the peer's than any other.
#[test]
fn number_half_way_round_is_as_wrong_as_any() {
    let mut lan = Lan::new(patient());
    lan.world[lan.server].behave(Manner::Silent);
    let heard = lan.last_heard();
    lan.world.run_for(secs(20)).unwrap();
    let mut segment = lan.genuine();
    segment.ack = segment.ack.map(|ack| ack.wrapping_add(1 << 31));
    lan.forge(&segment);
    lan.world.run_for(secs(200)).unwrap();
    let verdict = lan.verdict().unwrap();
    assert_eq!(verdict.saturating_duration_since(heard), DETECTION);
}
