//! The simplest node: it sends what it is told, and keeps what it gets.

use std::time::Duration;

use smoltcp::phy::Medium;
use tcp_keepalive::Instant;
use tcp_keepalive_sim::trace::{Fate, Lost};
use tcp_keepalive_sim::{Conditions, Id, LinkId, Node, Port, Turn, World};

/// Frames of one octet, and times by its own clock. Its notes survive a restart.
pub(crate) struct Post {
    ring: usize,
    pub(crate) outbox: Vec<u8>,
    pub(crate) inbox: Vec<(Instant, u8)>,
    /// Wants a turn then, and after each turn one so much later.
    pub(crate) alarm: Option<Instant>,
    pub(crate) snooze: Option<Duration>,
    pub(crate) turns: Vec<Instant>,
    pub(crate) starts: Vec<Instant>,
    /// Whether each of its frames was taken.
    pub(crate) taken: Vec<bool>,
}

impl Post {
    pub(crate) const fn new() -> Self {
        Self::with_ring(64)
    }

    pub(crate) const fn with_ring(ring: usize) -> Self {
        Self {
            ring,
            outbox: Vec::new(),
            inbox: Vec::new(),
            alarm: None,
            snooze: None,
            turns: Vec::new(),
            starts: Vec::new(),
            taken: Vec::new(),
        }
    }

    /// What it got, whenever.
    pub(crate) fn letters(&self) -> Vec<u8> {
        self.inbox.iter().map(|(_, letter)| *letter).collect()
    }
}

impl Node for Post {
    fn new_port(&mut self, index: usize) -> Option<Port> {
        (index == 0).then(|| Port::new(Medium::Ip).with_ring(self.ring))
    }

    fn power_on(&mut self, turn: &mut Turn<'_>) {
        self.starts.push(turn.now);
    }

    fn poll(&mut self, turn: &mut Turn<'_>) {
        self.turns.push(turn.now);
        if self.alarm.is_some_and(|at| at <= turn.now) {
            self.alarm = self.snooze.map(|pause| turn.now.saturating_add(pause));
        }
        for port in &mut *turn.ports {
            while let Some(frame) = port.receive_frame() {
                self.inbox.push((turn.now, frame.bytes[0]));
            }
            for letter in self.outbox.drain(..) {
                self.taken.push(port.send_frame(vec![letter]));
            }
        }
    }

    fn poll_at(&mut self, _: Instant) -> Option<Instant> {
        self.alarm
    }
}

pub(crate) const fn ms(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

pub(crate) const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

/// So long after the beginning of a world.
pub(crate) fn after(duration: Duration) -> Instant {
    World::new(0).now().saturating_add(duration)
}

/// Two of them, and what is between: 10 ms each way.
pub(crate) struct Line {
    pub(crate) world: World,
    pub(crate) a: Id<Post>,
    pub(crate) b: Id<Post>,
    pub(crate) link: LinkId,
}

pub(crate) fn line() -> Line {
    line_with(Post::new())
}

pub(crate) fn line_with(receiver: Post) -> Line {
    let mut world = World::new(1);
    let a = world.add("a", Post::new());
    let b = world.add("b", receiver);
    let link = world.link(a, b, Conditions::ideal().latency(ms(10)));
    Line {
        world,
        a,
        b,
        link: link.unwrap(),
    }
}

impl Line {
    /// A node sends that now.
    pub(crate) fn send(&mut self, from: Id<Post>, letters: &[u8]) {
        self.world[from].outbox.extend(letters);
        self.world.wake(from).unwrap();
    }

    /// Lets everything happen until so long after the beginning.
    pub(crate) fn until(&mut self, duration: Duration) {
        self.world.run_until(after(duration)).unwrap();
    }

    /// What has become of all frames so far.
    pub(crate) fn fates(&self) -> Vec<Fate> {
        self.world.trace().frames().map(|sent| sent.fate).collect()
    }
}

pub(crate) fn arrived(at: Duration) -> Fate {
    Fate::Arrived { at: after(at) }
}

pub(crate) fn lost(at: Duration, how: Lost) -> Fate {
    let at = after(at);
    Fate::Lost { at, how }
}
