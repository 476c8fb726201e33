//! The smoltcp host of a scene.

use std::collections::VecDeque;

use smoltcp::time::{Duration, Instant};
use tcp_keepalive::Config;

use super::scene::{Ours, Scene};
use crate::twins::{Setup, Station};

/// What smoltcp draws all its random numbers from.
const SEED: u64 = 9293;
/// More polls at one instant than that find nothing new to do.
const ROUNDS: u32 = 64;
/// If there is still something to do, it is done so much later.
const PAUSE: Duration = Duration::from_micros(100);

/// Does what the scene says, and what smoltcp has to do besides, exactly when it is due. So the
/// times of the frames that arrive decide all that it does.
pub struct Player {
    pub station: Station,
    setup: Setup,
    /// What is left to do, the next first.
    ours: VecDeque<(Instant, Ours)>,
    now: Instant,
}

impl Player {
    /// One with keep-alive, if there is a config. It is switched at those times, on first.
    pub fn new(scene: &Scene, config: Option<Config>, switched: &[u64]) -> Self {
        let mut station = Station::new(&scene.setup, 1, SEED, config);
        if !switched.is_empty() {
            station.switch(false);
        }
        let mut ours: Vec<_> = switched
            .iter()
            .zip([true, false].into_iter().cycle())
            .map(|(millis, on)| (*millis, Ours::KeepAlive(on)))
            .chain(scene.ours.iter().copied())
            .map(|(millis, act)| (Scene::at(millis), act))
            .collect();
        ours.sort_by_key(|(at, _)| *at);
        Self {
            station,
            setup: scene.setup,
            ours: ours.into(),
            now: Scene::at(0),
        }
    }

    /// When it did something last.
    pub const fn now(&self) -> Instant {
        self.now
    }

    /// When it has something to do next, if nothing arrives before.
    pub fn next(&mut self) -> Option<Instant> {
        let act = self.ours.front().map(|(at, _)| *at);
        let poll = self.station.poll_at(self.now);
        let poll = poll.map(|at| at.max(self.now + PAUSE));
        [act, poll].into_iter().flatten().min()
    }

    /// Does what is due now, after these frames have arrived. Returns what is sent.
    pub fn step(
        &mut self,
        now: Instant,
        frames: impl IntoIterator<Item = Vec<u8>>,
    ) -> Vec<Vec<u8>> {
        self.now = now;
        while let Some((at, act)) = self.ours.front().copied()
            && at <= now
        {
            self.ours.pop_front();
            self.perform(act);
        }
        self.station.wire.inbound.extend(frames);
        for _ in 0..ROUNDS {
            self.station.poll(now);
            if !self.station.wants_poll(now) {
                break;
            }
        }
        std::mem::take(&mut self.station.wire.outbound)
    }

    fn perform(&mut self, act: Ours) {
        let station = &mut self.station;
        match act {
            Ours::Open => station.open(&self.setup),
            Ours::Write { index, len } => station.write(index, len.into()),
            Ours::Read(reads) => station.reads = reads,
            Ours::Datagram(len) => station.say_datagram(&vec![0x77; len.into()]),
            Ours::Chatter => station.chatter(),
            Ours::Close(index) => station.tcp(index).close(),
            Ours::Abort(index) => station.tcp(index).abort(),
            Ours::Reopen(index) => station.connect_again(index),
            Ours::KeepAlive(on) => station.switch(on),
        }
    }
}
