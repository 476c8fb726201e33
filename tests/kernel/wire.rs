//! One connection in a capture, and when its end did what.

use std::time::{Duration, SystemTime};

use crate::capture::Captured;

/// How late a machine with other things to do may make us.
pub(crate) const TOLERANCE: Duration = Duration::from_millis(150);

/// One connection in a capture, seen from the end that has `our_port`.
pub(crate) struct Wire<'c> {
    segments: Vec<&'c Captured>,
    our_port: u16,
}

/// What was known at some moment.
pub(crate) struct Known {
    pub(crate) snd_nxt: u32,
    pub(crate) rcv_nxt: u32,
    pub(crate) last_heard: Duration,
    pub(crate) our_tsval: u32,
    pub(crate) peers_tsval: u32,
}

impl<'c> Wire<'c> {
    pub(crate) fn new(captured: &'c [Captured], our_port: u16) -> Self {
        let segments = captured
            .iter()
            .filter(|it| [it.src_port, it.dst_port].contains(&our_port))
            .collect();
        Self { segments, our_port }
    }

    pub(crate) fn ours(&self) -> impl Iterator<Item = &'c Captured> {
        let all = self.segments.iter().copied();
        all.filter(|it| it.src_port == self.our_port)
    }

    pub(crate) fn theirs(&self) -> impl Iterator<Item = &'c Captured> {
        let all = self.segments.iter().copied();
        all.filter(|it| it.dst_port == self.our_port)
    }

    /// Whatever of ours Wireshark takes for a keep-alive.
    pub(crate) fn probes(&self) -> impl Iterator<Item = &'c Captured> {
        self.ours().filter(|it| it.is_keep_alive)
    }

    pub(crate) fn last_heard(&self) -> Duration {
        self.theirs().last().expect("the peer was heard").at
    }

    /// The next segment from the other end.
    pub(crate) fn after(&self, segment: &Captured) -> &'c Captured {
        let mut later = self.theirs().filter(|it| it.at > segment.at);
        later.next().expect("something came after it")
    }

    /// Our next segment.
    pub(crate) fn answer(&self, segment: &Captured) -> &'c Captured {
        let mut later = self.ours().filter(|it| it.at > segment.at);
        later.next().expect("something came after it")
    }

    /// What was known when `segment` was sent. No segment was lost, so the last data, SYN or FIN
    /// tells the number that is next.
    pub(crate) fn before(&self, segment: &Captured) -> Known {
        let next = |it: &&Captured| it.at < segment.at && !it.is_keep_alive;
        let ours = self.ours().filter(next).last().expect("there was a SYN");
        let theirs = self.theirs().filter(next).last().expect("it was answered");
        Known {
            snd_nxt: ours.end(),
            rcv_nxt: theirs.end(),
            last_heard: theirs.at,
            our_tsval: ours.timestamps.map_or(0, |(tsval, _)| tsval),
            peers_tsval: theirs.timestamps.map_or(0, |(tsval, _)| tsval),
        }
    }
}

/// What one end did, since it last heard the other.
#[derive(Debug)]
pub(crate) struct Moment {
    pub(crate) at: Duration,
    pub(crate) what: String,
}

pub(crate) fn timeline(wire: &Wire<'_>, told: SystemTime) -> Vec<Moment> {
    let last_heard = wire.last_heard();
    let mut probes = 0;
    let mut moments: Vec<_> = wire
        .ours()
        .filter(|it| it.at > last_heard)
        .map(|segment| Moment {
            at: segment.at - last_heard,
            what: if segment.is_keep_alive && segment.len == 0 {
                probes += 1;
                format!("probe {probes}")
            } else if segment.flags.rst {
                "RST".into()
            } else {
                format!("{segment:?}")
            },
        })
        .collect();
    let told = told
        .duration_since(SystemTime::UNIX_EPOCH)
        .expect("it is after 1970");
    moments.push(Moment {
        at: told - last_heard,
        what: "application told".into(),
    });
    moments
}

pub(crate) fn assert_near(actual: Duration, nominal: Duration, what: &str) {
    assert!(
        actual.abs_diff(nominal) <= TOLERANCE,
        "{what} at {actual:?}, not {nominal:?}"
    );
}
