//! Shows recorded frames, at the times at which they arrived, to smoltcp with and without
//! keep-alive.

use std::collections::VecDeque;
use std::time::Duration;

use smoltcp::time::Instant;
use tcp_keepalive::Config;

use super::player::Player;
use super::recording::{Direction, Recorded, Recording};
use super::scene::{QUIET_UNTIL, Scene};
use crate::twins::Comparison;

/// The keep-alive of the one that has it.
struct Watch<'a> {
    config: Config,
    /// When it is switched on and off, in milliseconds; from the beginning, if that is empty.
    switched: &'a [u64],
    /// It may give up its connection, and the replay ends before that is used again.
    gives_up: bool,
}

/// A keep-alive that does not fall due changes nothing.
pub fn assert_unchanged(scene: &Scene, recording: &Recording) {
    let patient = watch(scene, recording, &[], false, [7 * 24 * 3600, 10], 3);
    assert!(
        patient.extra.is_empty() && patient.compared > 20,
        "{}",
        scene.name
    );
}

/// The same; and if probes leave all the time, they are all that is different, and a verdict adds its
/// RST; but not where acknowledgements are held back, which end earlier then, or later (see
/// `held_back_acknowledgement_is_brought_forward_not_lost` and `left_over_delay_is_begun_anew`).
pub fn assert_transparent(scene: &Scene, recording: &Recording) {
    let name = scene.name;
    let watch = |switched: &[u64], gives_up, times, count| {
        watch(scene, recording, switched, gives_up, times, count)
    };
    assert_unchanged(scene, recording);
    if scene.bears_probes() {
        let restless = watch(&[], false, [2, 1], 255);
        assert!(restless.extra.len() >= 8, "{name}: {:?}", restless.extra);
        // It begins to watch what has begun before, and leaves off and begins again.
        let switched: Vec<_> = (2700..scene.end).step_by(1900).collect();
        let fickle = watch(&switched, false, [1, 1], 255);
        assert!(fickle.extra.len() >= 3, "{name}: {:?}", fickle.extra);
        let hasty = watch(&[], true, [2, 1], 3);
        let [.., probe, reset] = &hasty.extra[..] else {
            panic!("{name}: {:?}", hasty.extra);
        };
        assert!(reset.rst && !probe.rst, "{name}: {:?}", hasty.extra);
    }
}

fn watch(
    scene: &Scene,
    recording: &Recording,
    switched: &[u64],
    gives_up: bool,
    times: [u64; 2],
    count: u8,
) -> Comparison {
    let [idle, interval] = times.map(Duration::from_secs);
    let watch = Watch {
        config: Config::new(idle, interval, count).unwrap(),
        switched,
        gives_up,
    };
    replay(scene, recording, &watch)
}

/// Holds what smoltcp sends against what it has sent then, and what it sends with keep-alive against
/// that.
fn replay(scene: &Scene, recording: &Recording, watch: &Watch<'_>) -> Comparison {
    println!("{}, with {:?}", scene.name, watch.config);
    let mut plain = Player::new(scene, None, &[]);
    let mut kept = Player::new(scene, Some(watch.config), watch.switched);
    let mut comparison = Comparison::new(scene.setup);
    comparison.allows_reset = watch.gives_up;
    let mut script = Script::new(recording);
    let end = Scene::at(if watch.gives_up {
        QUIET_UNTIL - 1
    } else {
        scene.end
    });
    loop {
        let deadline = plain.next();
        let deadlines = [deadline, kept.next(), script.next_arrival()];
        let next = deadlines.into_iter().flatten().min();
        let Some(now) = next.filter(|now| *now <= end) else {
            break;
        };
        let frames = script.arrivals(now);
        // Only at the times at which it was polled then.
        let is_recorded = deadline == Some(now) || !frames.is_empty();
        let sent = if is_recorded {
            plain.step(now, frames.clone())
        } else {
            Vec::new()
        };
        script.assert_was_sent(now, &sent);
        let kept_sent = kept.step(now, frames);
        comparison.sent(now, &sent, &kept_sent);
        assert_eq!(comparison.probes(), kept.station.probes_sent(), "at {now}");
        comparison.told(now, &mut kept.station);
        // A poll between finds out sooner what any poll finds out, such as that a name is unknown.
        if is_recorded {
            comparison.observed(now, [&mut plain.station, &mut kept.station]);
        }
    }
    script.assert_is_over(end);
    comparison
}

/// What is left of a recording.
struct Script<'a> {
    inbound: VecDeque<&'a Recorded>,
    outbound: VecDeque<&'a Recorded>,
}

impl<'a> Script<'a> {
    fn new(recording: &'a Recording) -> Self {
        let (inbound, outbound) = recording
            .frames
            .iter()
            .partition(|frame| frame.direction == Direction::Inbound);
        Self { inbound, outbound }
    }

    fn next_arrival(&self) -> Option<Instant> {
        self.inbound.front().map(|frame| frame.at)
    }

    fn arrivals(&mut self, now: Instant) -> Vec<Vec<u8>> {
        let mut frames = Vec::new();
        while let Some(frame) = self.inbound.front().copied()
            && frame.at <= now
        {
            self.inbound.pop_front();
            frames.push(frame.octets.clone());
        }
        frames
    }

    fn assert_was_sent(&mut self, now: Instant, frames: &[Vec<u8>]) {
        for frame in frames {
            let then = self.outbound.pop_front();
            let then = then.map(|then| (then.at, &then.octets));
            assert_eq!(Some((now, frame)), then, "not what was recorded");
        }
    }

    /// All that was sent and received by then.
    fn assert_is_over(&self, end: Instant) {
        let [arrived, sent] = [&self.inbound, &self.outbound].map(VecDeque::front);
        assert!(arrived.is_none_or(|frame| frame.at > end), "{arrived:?}");
        let is_over = sent.is_none_or(|frame| frame.at > end);
        assert!(is_over, "not what was recorded: {sent:?} was not sent");
    }
}
