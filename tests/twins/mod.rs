//! Two smoltcp hosts that are alike, but that one of them has keep-alive. They are shown the same
//! frames at the same times, and asked the same by their applications. What they send is compared
//! octet for octet, and so is all that can be seen of their sockets.
//!
//! The frames are those of a third host, which talks with the one that has no keep-alive over a
//! link that may lose some, and whatever else a test makes up. So no probe is answered, and
//! nothing that they bring about can hide what they change.

#![allow(
    dead_code,
    unreachable_pub,
    unused_imports,
    reason = "each of its users needs its own part of it"
)]
#![allow(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    clippy::missing_panics_doc,
    clippy::struct_excessive_bools,
    clippy::trivially_copy_pass_by_ref,
    reason = "a comparison that fails should do so at once, and loudly"
)]

pub mod comparison;
pub mod station;
pub mod step;

use std::collections::VecDeque;

use smoltcp::phy::Medium;
use smoltcp::time::{Duration, Instant};
use tcp_keepalive::Config;
use tcp_keepalive_sim::wire::{self, Kind, Segment};

pub use comparison::Comparison;
pub use station::{Setup, Station};
pub use step::{Near, Step};

/// How long a frame takes to the peer, and back.
const DELAY: Duration = Duration::from_millis(5);
/// smoltcp forgets a neighbour after a minute: on an Ethernet the peer says something before.
const BEACON: Duration = Duration::from_secs(20);
/// More polls at one instant than that find nothing new to do.
const ROUNDS: u32 = 64;

/// The two, and the one that talks with them.
pub struct Twins {
    pub setup: Setup,
    pub plain: Station,
    pub kept: Station,
    pub peer: Station,
    pub now: Instant,
    /// How much of either direction is lost, in percent.
    pub loss: u8,
    /// What is on its way to the twins, and to the peer.
    to_us: VecDeque<(Instant, Vec<u8>)>,
    to_peer: VecDeque<(Instant, Vec<u8>)>,
    luck: u64,
    /// The frames that the twins were shown last.
    shown: VecDeque<Vec<u8>>,
    pub comparison: Comparison,
    pub octets_lost: u64,
    /// Whether what the two send is compared, rather than only kept.
    pub compares: bool,
    /// What they have sent, and which of them: the one with keep-alive is the second.
    pub sent: Vec<(usize, Vec<u8>)>,
}

impl Twins {
    /// Twins with a connection to the peer, watched by one of them from before it was opened.
    pub fn connected(setup: Setup, config: Config, seed: u64) -> Self {
        let mut twins = Self::new(setup, config, seed);
        for twin in [&mut twins.plain, &mut twins.kept, &mut twins.peer] {
            twin.open(&setup);
        }
        twins.settle();
        twins.wait(Duration::from_secs(3));
        twins
    }

    fn new(setup: Setup, config: Config, seed: u64) -> Self {
        Self {
            setup,
            plain: Station::new(&setup, 1, seed, None),
            kept: Station::new(&setup, 1, seed, Some(config)),
            peer: Station::new(&setup, 2, !seed, None),
            now: Instant::from_secs(1000),
            loss: 0,
            to_us: VecDeque::new(),
            to_peer: VecDeque::new(),
            luck: seed | 1,
            shown: VecDeque::new(),
            comparison: Comparison::new(setup),
            octets_lost: 0,
            compares: true,
            sent: Vec::new(),
        }
    }

    /// Both are shown this frame, now.
    pub fn show(&mut self, frame: Vec<u8>) {
        self.comparison.shown(&frame);
        self.plain.wire.inbound.push_back(frame.clone());
        self.kept.wire.inbound.push_back(frame.clone());
        self.shown.push_back(frame);
        if self.shown.len() > 8 {
            self.shown.pop_front();
        }
    }

    /// Both applications do the same.
    pub fn both(&mut self, mut act: impl FnMut(&mut Station)) {
        act(&mut self.plain);
        act(&mut self.kept);
    }

    /// Lets all three do what they have to do at this instant, and compares.
    pub fn settle(&mut self) {
        for _ in 0..ROUNDS {
            self.plain.poll(self.now);
            self.kept.poll(self.now);
            let busy = [&mut self.plain, &mut self.kept].map(|twin| twin.wants_poll(self.now));
            if busy == [false, false] {
                break;
            }
        }
        self.compare();
        for _ in 0..ROUNDS {
            self.peer.poll(self.now);
            if !self.peer.wants_poll(self.now) {
                break;
            }
        }
        for frame in std::mem::take(&mut self.peer.wire.outbound) {
            if !self.is_lost(frame.len()) {
                self.to_us.push_back((self.now + DELAY, frame));
            }
        }
    }

    fn is_lost(&mut self, len: usize) -> bool {
        self.luck = self
            .luck
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        let is_lost = (self.luck >> 33) % 100 < u64::from(self.loss);
        self.octets_lost += if is_lost { len as u64 } else { 0 };
        is_lost
    }

    /// Lets so much time pass, in which what is on its way arrives and what is due is done.
    pub fn wait(&mut self, duration: Duration) {
        let end = self.now + duration;
        while self.now < end {
            let rest = end - self.now;
            self.run_until(self.now + rest.min(BEACON));
            if self.setup.medium == Medium::Ethernet {
                self.peer.say_datagram(b"still here");
                self.settle();
            }
        }
    }

    fn run_until(&mut self, end: Instant) {
        loop {
            let deadlines = [
                self.plain.poll_at(self.now),
                self.kept.poll_at(self.now),
                self.peer.poll_at(self.now),
                self.to_us.front().map(|(at, _)| *at),
                self.to_peer.front().map(|(at, _)| *at),
            ];
            let next = deadlines.into_iter().flatten().min().unwrap_or(end);
            let next = next.max(self.now + Duration::from_micros(100)).min(end);
            self.now = next;
            while let Some(frame) = arrival(&mut self.to_us, next) {
                self.show(frame);
            }
            while let Some(frame) = arrival(&mut self.to_peer, next) {
                self.peer.wire.inbound.push_back(frame);
            }
            self.settle();
            if self.now >= end {
                return;
            }
        }
    }

    /// What the two have sent, and all that can be seen of them, but for probes.
    fn compare(&mut self) {
        let plain = std::mem::take(&mut self.plain.wire.outbound);
        let kept = std::mem::take(&mut self.kept.wire.outbound);
        let sent = [&plain, &kept].into_iter().enumerate();
        for (twin, frames) in sent {
            self.sent
                .extend(frames.iter().map(|frame| (twin, frame.clone())));
        }
        if self.compares {
            self.comparison.sent(self.now, &plain, &kept);
            let probes = self.kept.probes_sent();
            assert_eq!(self.comparison.probes(), probes, "at {}", self.now);
        }
        for frame in plain {
            if !self.is_lost(frame.len()) {
                self.to_peer.push_back((self.now + DELAY, frame));
            }
        }
        self.comparison.told(self.now, &mut self.kept);
        if self.compares {
            let twins = [&mut self.plain, &mut self.kept];
            self.comparison.observed(self.now, twins);
        }
    }

    /// Does one thing, and lets pass a millisecond.
    pub fn perform(&mut self, step: &Step) {
        step.perform(self);
        self.settle();
        self.run_until(self.now + Duration::from_millis(1));
    }

    /// The segments that either has sent since this was asked last.
    pub fn take_segments(&mut self) -> [Vec<Segment>; 2] {
        let mut segments = [Vec::new(), Vec::new()];
        for (twin, frame) in self.sent.drain(..) {
            if let Kind::Tcp(segment) = wire::parse(self.setup.medium, &frame) {
                segments[twin].push(segment);
            }
        }
        segments
    }

    /// The datagrams that they have sent to that port.
    pub fn sent_to(&self, port: u16) -> Vec<&Vec<u8>> {
        let link = if self.setup.medium == Medium::Ethernet {
            14
        } else {
            0
        };
        let sent = self.sent.iter().map(|(_, frame)| frame);
        sent.filter(|frame| {
            let (udp, protocol) = match frame.get(link).map(|octet| octet >> 4) {
                Some(4) => (link + 20, frame.get(link + 9)),
                _ => (link + 40, frame.get(link + 6)),
            };
            protocol == Some(&17) && frame.get(udp + 2..udp + 4) == Some(&port.to_be_bytes()[..])
        })
        .collect()
    }

    /// A frame that the twins were shown, the latest first.
    pub fn shown(&self, back: usize) -> Option<Vec<u8>> {
        let count = self.shown.len();
        let index = count.checked_sub(1 + back % count.max(1))?;
        self.shown.get(index).cloned()
    }
}

/// The next frame of those on their way that has arrived by `now`.
fn arrival(frames: &mut VecDeque<(Instant, Vec<u8>)>, now: Instant) -> Option<Vec<u8>> {
    let (at, _) = frames.front()?;
    if *at > now {
        return None;
    }
    frames.pop_front().map(|(_, frame)| frame)
}
