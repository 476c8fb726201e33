//! What is done to links, and what becomes of the frames.

use tcp_keepalive_sim::trace::{Entry, Fate, Lost};
use tcp_keepalive_sim::wire::Kind;
use tcp_keepalive_sim::{
    Conditions, Host, LinkId, Loss, NodeId, Peer, Rate, Ratio, Script, SimError, World,
};

use super::pair::{address, cidr, config, first_handle, server};
use super::post::{after, arrived, line, lost, ms, s};

/// What is on its way when a link is partitioned arrives; what is sent from then on does not.
#[test]
fn partition_loses_what_is_sent_from_then_on() {
    let mut line = line();
    let (a, b) = (line.a, line.b);
    line.send(a, b"1");
    line.until(ms(5));
    line.world.partition(line.link).unwrap();
    line.send(a, b"2");
    line.send(b, b"3");
    line.until(s(1));
    let cut = lost(ms(5), Lost::Partition);
    assert_eq!(line.fates(), [arrived(ms(10)), cut, cut]);
}

/// A partition in one direction lets everything pass in the other.
#[test]
fn oneway_partition_lets_the_other_direction_pass() {
    let mut line = line();
    let (a, b) = (line.a, line.b);
    line.world.partition_oneway(line.link, b).unwrap();
    line.send(a, b"1");
    line.send(b, b"2");
    line.until(s(1));
    let cut = lost(ms(0), Lost::Partition);
    assert_eq!(line.fates(), [arrived(ms(10)), cut]);
}

/// After a repair everything passes again, in both directions.
#[test]
fn repair_undoes_a_partition() {
    let mut line = line();
    let (a, b) = (line.a, line.b);
    line.world.partition(line.link).unwrap();
    line.until(s(1));
    line.world.repair(line.link).unwrap();
    line.send(a, b"1");
    line.send(b, b"2");
    line.until(s(2));
    assert_eq!(line.fates(), [arrived(s(1) + ms(10)); 2]);
}

/// When the cable is pulled, what is on its way is lost, and so is what is sent from then on, until
/// it is put in again.
#[test]
fn unplug_loses_what_is_on_its_way() {
    let mut line = line();
    let (a, b) = (line.a, line.b);
    line.send(a, b"1");
    line.until(ms(5));
    line.world.unplug(line.link).unwrap();
    line.send(b, b"2");
    line.until(s(1));
    let out = lost(ms(5), Lost::CableOut);
    assert_eq!(line.fates(), [out, out]);
    line.world.repair(line.link).unwrap();
    line.send(a, b"3");
    line.until(s(2));
    assert_eq!(line.world[b].letters(), b"3");
}

/// What is held on a link is lost when the cable is pulled: it is on its way.
#[test]
fn unplug_loses_what_is_held() {
    let mut line = line();
    let (a, b) = (line.a, line.b);
    line.world.hold(line.link).unwrap();
    line.send(a, b"1");
    line.until(ms(5));
    line.world.unplug(line.link).unwrap();
    assert_eq!(line.fates(), [lost(ms(5), Lost::CableOut)]);
    line.world.repair(line.link).unwrap();
    line.until(s(1));
    assert_eq!(line.world[b].letters(), b"");
}

/// The cable of one link is not that of another.
#[test]
fn unplug_leaves_other_links_alone() {
    let mut world = World::new(1);
    let slow = Conditions::ideal().latency(ms(10));
    let ids: Vec<_> = (0..4)
        .map(|_| world.add("post", super::post::Post::new()))
        .collect();
    let first = world.link(ids[0], ids[1], slow.clone()).unwrap();
    world.link(ids[2], ids[3], slow).unwrap();
    for from in [ids[0], ids[2]] {
        world[from].outbox.push(b'x');
        world.wake(from).unwrap();
    }
    world.unplug(first).unwrap();
    world.run_for(s(1)).unwrap();
    assert_eq!(world[ids[1]].letters(), b"");
    assert_eq!(world[ids[3]].letters(), b"x");
}

/// What is held waits, and arrives in order as if it had been sent when it was let go.
#[test]
fn held_frames_arrive_in_order_after_the_release() {
    let mut line = line();
    let (a, b) = (line.a, line.b);
    line.send(a, b"0");
    line.world.hold(line.link).unwrap();
    line.send(a, b"1");
    line.until(ms(500));
    line.send(a, b"2");
    line.send(b, b"3");
    line.until(s(1));
    assert_eq!(line.fates()[1..], [Fate::Held; 3]);
    line.world.release(line.link).unwrap();
    line.until(s(2));
    let late = after(s(1) + ms(10));
    let inbox = [(after(ms(10)), b'0'), (late, b'1'), (late, b'2')];
    assert_eq!(line.world[b].inbox, inbox);
    assert_eq!(line.world[a].inbox, [(late, b'3')]);
}

/// A repair lets go what is held.
#[test]
fn repair_lets_go_what_is_held() {
    let mut line = line();
    let (a, b) = (line.a, line.b);
    line.world.hold(line.link).unwrap();
    line.send(a, b"1");
    line.until(s(1));
    line.world.repair(line.link).unwrap();
    line.until(s(2));
    assert_eq!(line.world[b].letters(), b"1");
}

/// The link's conditions apply to what is let go, as they are then.
#[test]
fn conditions_apply_to_what_is_let_go() {
    let mut line = line();
    let a = line.a;
    line.world.hold(line.link).unwrap();
    line.send(a, b"1");
    line.until(s(1));
    let bad = Conditions::ideal().loss(Loss::random(Ratio::ALWAYS));
    line.world.set_conditions(line.link, a, bad).unwrap();
    line.world.release(line.link).unwrap();
    line.until(s(2));
    assert_eq!(line.fates(), [lost(s(1), Lost::ByChance)]);
}

/// A change of conditions is of one direction, and of what is sent from then on.
#[test]
fn conditions_change_for_one_direction_and_what_comes() {
    let mut line = line();
    let (a, b) = (line.a, line.b);
    line.send(a, b"1");
    let slow = Conditions::ideal().latency(ms(100));
    line.world.set_conditions(line.link, a, slow).unwrap();
    line.send(a, b"2");
    line.send(b, b"3");
    line.until(s(1));
    let arrivals = [ms(10), ms(100), ms(10)].map(arrived);
    assert_eq!(line.fates(), arrivals);
}

/// A link that became faster reorders nothing.
#[test]
fn faster_link_keeps_the_order() {
    let mut line = line();
    let (a, b) = (line.a, line.b);
    line.send(a, b"1");
    line.world
        .set_conditions(line.link, a, Conditions::ideal())
        .unwrap();
    line.send(a, b"2");
    line.until(s(1));
    assert_eq!(line.world[b].letters(), b"12");
}

/// What is doubled arrives twice, and the trace tells which is the copy.
#[test]
fn doubled_frames_arrive_twice() {
    let mut line = line();
    let (a, b) = (line.a, line.b);
    let twice = Conditions::ideal().duplication(Ratio::ALWAYS);
    line.world.set_conditions(line.link, a, twice).unwrap();
    line.send(a, b"1");
    line.until(s(1));
    assert_eq!(line.world[b].letters(), b"11");
    let frames: Vec<_> = line.world.trace().frames().collect();
    assert_eq!(frames[0].copy_of, None);
    assert_eq!(frames[1].copy_of, Some(frames[0].id));
}

/// What is damaged arrives with one bit the other way, and the trace has both.
#[test]
fn damaged_frames_arrive_with_a_bit_the_other_way() {
    let mut line = line();
    let (a, b) = (line.a, line.b);
    let noisy = Conditions::ideal().corruption(Ratio::ALWAYS);
    line.world.set_conditions(line.link, a, noisy).unwrap();
    line.send(a, b"1");
    line.until(s(1));
    let sent = line.world.trace().frames().next().unwrap();
    assert_eq!(*sent.bytes, *b"1");
    assert_eq!(sent.damaged.as_deref(), Some(&*line.world[b].letters()));
    assert_eq!((line.world[b].letters()[0] ^ b'1').count_ones(), 1);
}

/// Each way to be lost by the link's own conditions has its name in the trace.
#[test]
fn losses_have_their_names() {
    let (up, down) = (ms(1)..=ms(1), s(1)..=s(1));
    let full = Rate::new(8, 0).unwrap();
    for (conditions, how) in [
        (
            Conditions::ideal().loss(Loss::bursts(Ratio::ALWAYS, Ratio::NEVER)),
            Lost::InBurst,
        ),
        (
            Conditions::ideal().loss(Loss::outages(up, down).unwrap()),
            Lost::InOutage,
        ),
        (Conditions::ideal().rate(full), Lost::QueueFull),
    ] {
        let mut line = line();
        let a = line.a;
        line.world.set_conditions(line.link, a, conditions).unwrap();
        line.send(a, b"1");
        line.until(ms(5));
        line.send(a, b"23");
        assert_eq!(line.fates()[2], lost(ms(5), how), "{how:?}");
    }
}

/// The first frame that is chosen is lost, and no other: here a reply for a hardware address, after
/// which the host asks again.
#[test]
fn lose_next_loses_one() {
    let mut world = World::new(1);
    let script = Script::client(server()).keep_alive(config());
    let host = world.add("host", Host::ethernet(cidr(1)).app(script));
    let peer = world.add("peer", Peer::ethernet(address(2)));
    let link = world.link(host, peer, Conditions::ideal().latency(ms(10)));
    let link = link.unwrap();
    let from_peer = NodeId::from(peer);
    world
        .lose_next(link, move |from, kind| {
            from == from_peer && *kind == Kind::NeighborReply
        })
        .unwrap();
    world.run_for(s(5)).unwrap();
    let frames = world.trace().frames();
    let replies: Vec<_> = frames
        .filter(|sent| sent.kind == Kind::NeighborReply)
        .map(|sent| sent.fate)
        .collect();
    assert_eq!(replies.len(), 2);
    assert_eq!(replies[0], lost(ms(10), Lost::Chosen));
    assert!(matches!(replies[1], Fate::Arrived { .. }));
    let handle = first_handle(&world, host);
    assert!(world[host].tcp(handle).may_send());
}

/// Two choices of the next frame lose one frame each.
#[test]
fn each_lose_next_loses_its_own() {
    let mut line = line();
    let a = line.a;
    for _ in 0..2 {
        line.world.lose_next(line.link, |_, _| true).unwrap();
    }
    line.send(a, b"123");
    line.until(s(1));
    let chosen = lost(ms(0), Lost::Chosen);
    assert_eq!(line.fates(), [chosen, chosen, arrived(ms(10))]);
}

/// All frames that are chosen are lost, until another choice replaces this one.
#[test]
fn lose_every_loses_all_until_it_is_replaced() {
    let mut line = line();
    let (a, b) = (line.a, line.b);
    let from_a = NodeId::from(a);
    line.world
        .lose_every(line.link, move |from, _| from == from_a)
        .unwrap();
    line.send(a, b"12");
    line.send(b, b"3");
    line.world.lose_every(line.link, |_, _| false).unwrap();
    line.send(a, b"4");
    line.until(s(1));
    assert_eq!(line.world[a].letters(), b"3");
    assert_eq!(line.world[b].letters(), b"4");
}

/// To let go what is held does not end a partition, nor put a cable in again.
#[test]
fn release_ends_no_partition_and_plugs_nothing_in() {
    type Cut = fn(&mut World, LinkId) -> Result<(), SimError>;
    let cuts: [(Cut, Lost); 2] = [
        (World::partition, Lost::Partition),
        (World::unplug, Lost::CableOut),
    ];
    for (cut, how) in cuts {
        let mut line = line();
        let a = line.a;
        cut(&mut line.world, line.link).unwrap();
        line.world.hold(line.link).unwrap();
        line.world.release(line.link).unwrap();
        line.send(a, b"1");
        assert_eq!(line.fates(), [lost(ms(0), how)]);
    }
}

/// A partition loses what is sent also while the link holds, and what the link lets go while there
/// is one.
#[test]
fn partition_comes_before_holding() {
    let mut line = line();
    let a = line.a;
    line.world.hold(line.link).unwrap();
    line.send(a, b"1");
    line.world.partition(line.link).unwrap();
    line.send(a, b"2");
    line.until(s(1));
    let cut = lost(ms(0), Lost::Partition);
    assert_eq!(line.fates(), [Fate::Held, cut]);
    line.world.release(line.link).unwrap();
    assert_eq!(line.fates(), [lost(s(1), Lost::Partition), cut]);
}

/// A direction that holds does not hold the other.
#[test]
fn oneway_hold_lets_the_other_direction_pass() {
    let mut line = line();
    let (a, b) = (line.a, line.b);
    line.world.hold_oneway(line.link, b).unwrap();
    line.send(a, b"1");
    line.send(b, b"2");
    line.until(s(1));
    assert_eq!(line.fates(), [arrived(ms(10)), Fate::Held]);
    line.world.release(line.link).unwrap();
    line.until(s(2));
    assert_eq!(line.fates()[1], arrived(s(1) + ms(10)));
}

/// Frames that a pulled cable has lost hold no later frame up.
#[test]
fn unplug_forgets_the_order() {
    let mut line = line();
    let a = line.a;
    let slow = Conditions::ideal().latency(s(3600));
    line.world.set_conditions(line.link, a, slow).unwrap();
    line.send(a, b"1");
    line.world.unplug(line.link).unwrap();
    line.world.repair(line.link).unwrap();
    let fast = Conditions::ideal().latency(ms(10));
    line.world.set_conditions(line.link, a, fast).unwrap();
    line.send(a, b"2");
    line.until(s(1));
    assert_eq!(line.fates()[1], arrived(ms(10)));
}

/// Nor in the queue.
#[test]
fn unplug_forgets_the_queue() {
    let mut line = line();
    let a = line.a;
    let slow = Conditions::ideal().rate(Rate::new(8, 1000).unwrap());
    line.world.set_conditions(line.link, a, slow).unwrap();
    line.send(a, b"123456789");
    line.world.unplug(line.link).unwrap();
    line.world.repair(line.link).unwrap();
    line.send(a, b"x");
    line.until(s(5));
    assert_eq!(line.fates()[9], arrived(s(1)));
}

/// A link that was given another rate does not lose frames for the queue of the old one.
#[test]
fn another_rate_has_another_queue() {
    let mut line = line();
    let a = line.a;
    let rate = |bits| Conditions::ideal().rate(Rate::new(bits, 100).unwrap());
    line.world.set_conditions(line.link, a, rate(8)).unwrap();
    line.send(a, b"123456789");
    line.world
        .set_conditions(line.link, a, rate(8_000_000))
        .unwrap();
    line.send(a, b"x");
    // After those that are on their way.
    let arrives = after(s(9));
    assert_eq!(line.fates()[9], Fate::OnItsWay { arrives });
}

/// What a link doubles of what it held is made when it lets that go, and the trace is in order.
#[test]
fn copy_of_a_held_frame_is_made_when_it_is_let_go() {
    let mut line = line();
    let a = line.a;
    let twice = Conditions::ideal().duplication(Ratio::ALWAYS);
    line.world.set_conditions(line.link, a, twice).unwrap();
    line.world.hold(line.link).unwrap();
    line.send(a, b"1");
    line.until(s(1));
    line.world.release(line.link).unwrap();
    line.until(s(2));
    let entries = line.world.trace().entries();
    assert!(entries.is_sorted_by_key(Entry::at));
    let times: Vec<_> = line.world.trace().frames().map(|sent| sent.at).collect();
    assert_eq!(times, [after(s(0)), after(s(1))]);
}
