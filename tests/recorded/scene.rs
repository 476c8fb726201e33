//! What is done by either end of a conversation, and when.

use smoltcp::phy::Medium;
use smoltcp::time::{Duration, Instant};

use crate::twins::Setup;

/// When a scene begins: no wall clock is in a recording.
const BEGIN: Instant = Instant::from_micros_const(1_000_000_000);

/// In the scenes that bear probes, neither side sends for six seconds before.
pub const QUIET_UNTIL: u64 = 19_000;

/// What is done, at milliseconds since the beginning. Each end has two connections.
pub struct Scene {
    /// The recording's.
    pub name: &'static str,
    pub setup: Setup,
    pub ours: Vec<(u64, Ours)>,
    pub theirs: Vec<(u64, Theirs)>,
    pub end: u64,
}

/// What the applications of the smoltcp host do. They read whatever arrives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Ours {
    /// Open both connections, or wait for them.
    Open,
    Write {
        index: u8,
        len: u16,
    },
    /// Stop reading, or go on.
    Read(bool),
    /// Send a datagram to the echo service.
    Datagram(u16),
    /// Send an echo request, a question to a name server that is not there, and a packet of a
    /// protocol that does not exist.
    Chatter,
    Close(u8),
    Abort(u8),
    /// Connect again, from another port.
    Reopen(u8),
    /// Switch the keep-alive on or off, if there is any.
    KeepAlive(bool),
}

/// What the kernel and its applications do, and the wire. They read whatever arrives.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Theirs {
    Connect(u8),
    Write {
        index: u8,
        len: u16,
    },
    /// Stop reading, or go on.
    Read(bool),
    /// Switch the kernel's own keep-alive on or off: a second each.
    KeepAlive(bool),
    Ping,
    /// Send a datagram, which smoltcp's application takes.
    Datagram(u16),
    Close(u8),
    /// Close without waiting for anything, which the kernel does with a RST.
    Reset(u8),
    /// From now on so much is lost on its way to us, and to the kernel, in percent.
    Lose {
        inbound: u8,
        outbound: u8,
    },
}

impl Scene {
    /// The moment that is so many milliseconds after the beginning.
    pub fn at(millis: u64) -> Instant {
        BEGIN + Duration::from_millis(millis)
    }

    /// All of them.
    pub fn all() -> [Self; 3] {
        [Self::ipv4(), Self::ipv6(), Self::delayed()]
    }

    /// Whether [only probes differ](super::replay::assert_transparent), however many there are.
    pub const fn bears_probes(&self) -> bool {
        !self.setup.delays_acks
    }

    /// We connect, and close first.
    fn ipv4() -> Self {
        let mut scene = Self {
            name: "ipv4",
            setup: ethernet(0b0_0000),
            ours: vec![(0, Ours::Open)],
            theirs: vec![],
            end: 43_000,
        };
        scene.talk();
        scene.ours.extend([
            (34_000, Ours::Reopen(1)),
            (34_500, Ours::Write { index: 1, len: 100 }),
            (35_000, Ours::Abort(1)),
            (36_000, Ours::Close(0)),
        ]);
        scene.theirs.extend([
            (33_500, Theirs::Reset(1)),
            (40_000, Theirs::Write { index: 0, len: 200 }),
            (41_000, Theirs::Close(0)),
        ]);
        scene
    }

    /// The kernel connects, and closes first; there are timestamps.
    fn ipv6() -> Self {
        let mut scene = Self {
            name: "ipv6",
            setup: ethernet(0b0_1110),
            ours: vec![(0, Ours::Open)],
            theirs: vec![(100, Theirs::Connect(0)), (200, Theirs::Connect(1))],
            end: 43_000,
        };
        scene.talk();
        scene.ours.extend([
            (34_000, Ours::Abort(1)),
            (40_000, Ours::Write { index: 0, len: 200 }),
            (41_000, Ours::Close(0)),
        ]);
        scene.theirs.push((36_000, Theirs::Close(0)));
        scene
    }

    /// Everything that happens to an open connection.
    fn talk(&mut self) {
        // Both write at the same time, and some of it is lost.
        self.theirs.push((1000, lose(15, 15)));
        self.theirs.push((
            1000,
            Theirs::Write {
                index: 0,
                len: 5000,
            },
        ));
        for millis in (1000..2500).step_by(150) {
            self.ours.push((millis, Ours::Write { index: 0, len: 500 }));
        }
        self.answers_are_lost(4000);
        self.ours.push((4100, Ours::Write { index: 0, len: 100 }));
        // What is not TCP.
        self.ours.extend([
            (6500, Ours::Chatter),
            (6600, Ours::Datagram(64)),
            (6700, Ours::Write { index: 1, len: 64 }),
        ]);
        self.theirs.extend([
            (6800, Theirs::Ping),
            (6900, Theirs::Datagram(64)),
            (6900, Theirs::Write { index: 1, len: 64 }),
        ]);
        // The kernel asks whether we are there, and after that neither side sends.
        self.theirs.extend([
            (7000, Theirs::KeepAlive(true)),
            (12_500, Theirs::KeepAlive(false)),
        ]);
        // The kernel's window is closed, and opened.
        self.theirs.push((QUIET_UNTIL, Theirs::Read(false)));
        for millis in (QUIET_UNTIL..20_200).step_by(200) {
            self.ours.push((
                millis,
                Ours::Write {
                    index: 0,
                    len: 2048,
                },
            ));
        }
        self.theirs.push((25_000, Theirs::Read(true)));
        // And so is ours.
        self.ours.push((28_000, Ours::Read(false)));
        self.theirs.push((
            28_000,
            Theirs::Write {
                index: 0,
                len: 3000,
            },
        ));
        self.ours.push((31_000, Ours::Read(true)));
    }

    /// Acknowledgements are held back; the wire is cut for a while with data in flight, and in the
    /// end the kernel resets the connection that is kept alive.
    fn delayed() -> Self {
        let mut scene = Self {
            name: "delayed",
            setup: Setup {
                delays_acks: true,
                ..ethernet(0b1_0100)
            },
            ours: vec![(0, Ours::Open)],
            theirs: vec![],
            end: 20_000,
        };
        // One line there, one line back.
        for millis in (500..2000).step_by(250) {
            scene
                .theirs
                .push((millis, Theirs::Write { index: 0, len: 20 }));
            scene
                .ours
                .push((millis + 100, Ours::Write { index: 0, len: 20 }));
        }
        scene.ours.push((
            3000,
            Ours::Write {
                index: 0,
                len: 1000,
            },
        ));
        scene.theirs.extend([
            (
                2500,
                Theirs::Write {
                    index: 0,
                    len: 3000,
                },
            ),
            (3000, lose(100, 100)),
            (3100, Theirs::Write { index: 0, len: 500 }),
            (6000, lose(0, 0)),
            (18_000, Theirs::Write { index: 0, len: 100 }),
            (19_000, Theirs::Reset(0)),
        ]);
        scene.answers_are_lost(12_000);
        scene
    }

    /// The kernel has to send again what has arrived.
    fn answers_are_lost(&mut self, millis: u64) {
        self.theirs.extend([
            (millis, lose(0, 100)),
            (millis, Theirs::Write { index: 0, len: 300 }),
            (millis + 700, lose(0, 0)),
        ]);
    }
}

const fn lose(inbound: u8, outbound: u8) -> Theirs {
    Theirs::Lose { inbound, outbound }
}

fn ethernet(bits: u8) -> Setup {
    Setup {
        medium: Medium::Ethernet,
        delays_acks: false,
        ..Setup::of(bits)
    }
}
