//! Records what smoltcp and the kernel say to each other, so that it can be replayed exactly.

use std::fs;
use std::net::IpAddr;
use std::os::fd::AsRawFd;
use std::time;

use smoltcp::phy::{self, Device, Medium, RxToken, TunTapInterface, TxToken};
use smoltcp::time::{Duration, Instant};

use crate::client::{TAP, clock};
use crate::lab::Namespace;
use crate::peer::Peer;
use crate::recorded::{Direction, Player, Recorded, Recording, Scene};
use crate::twins::station::mac;

/// The least that a frame arrives after whatever happened before.
const TICK: Duration = Duration::from_micros(1);

/// Has the scene performed in real time.
pub(crate) fn record(scene: &Scene) -> Recording {
    let host = Namespace::new();
    host.enter(|| {
        let device = TunTapInterface::new(TAP, Medium::Ethernet).expect("a TAP device can be made");
        configure(&host, scene);
        let recorder = Recorder {
            player: Player::new(scene, None, &[]),
            peer: Peer::new(scene, &host),
            device,
            started: clock(),
            end: Scene::at(scene.end),
            luck: 9293,
            recording: Recording::default(),
        };
        recorder.run()
    })
}

/// The name of the system that these recordings are of, and nothing that tells the machine.
pub(crate) fn system() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let version: Vec<_> = release.split(['.', '-']).take(2).collect();
    format!("Linux {}", version.join("."))
}

fn configure(host: &Namespace, scene: &Scene) {
    let address = IpAddr::from(scene.setup.address(2));
    // Short packets, so that there are many of them: as short as either protocol allows.
    let (mtu, rest) = if scene.setup.ipv6 {
        (1280, "/64 dev tap0 nodad")
    } else {
        host.sysctl(&format!("ipv6/conf/{TAP}/disable_ipv6"), "1");
        (576, "/24 dev tap0")
    };
    let mac = mac(2).to_string().replace('-', ":");
    host.ip(&format!("link set {TAP} address {mac} mtu {mtu} up"));
    host.ip(&format!("addr add {address}{rest}"));
}

struct Recorder {
    player: Player,
    peer: Peer,
    device: TunTapInterface,
    started: time::Instant,
    end: Instant,
    luck: u64,
    recording: Recording,
}

impl Recorder {
    fn run(mut self) -> Recording {
        loop {
            let now = self.now();
            self.play(now);
            if now == self.end {
                return self.recording;
            }
            self.receive();
            self.peer.act(now);
            self.wait();
        }
    }

    fn now(&self) -> Instant {
        let micros = clock().duration_since(self.started).as_micros();
        let micros = u64::try_from(micros).expect("a scene is short");
        self.end.min(Scene::at(0) + Duration::from_micros(micros))
    }

    /// Lets smoltcp do what has become due, as if it had been polled just then.
    fn play(&mut self, now: Instant) {
        while let Some(due) = self.player.next()
            && due <= now
        {
            let sent = self.player.step(due, []);
            self.send(due, sent);
        }
    }

    /// Shows smoltcp what has arrived.
    fn receive(&mut self) {
        let mut frames = Vec::new();
        while let Some((rx, _)) = self.device.receive(Instant::ZERO) {
            let frame = rx.consume(<[u8]>::to_vec);
            if !self.is_lost(self.peer.inbound_loss) {
                frames.push(frame);
            }
        }
        if frames.is_empty() {
            return;
        }
        let now = self.now();
        self.play(now);
        // One instant, one poll: what is recorded of the same time belongs together.
        let now = now.max(self.player.now() + TICK);
        if now >= self.end {
            return;
        }
        for frame in &frames {
            self.note(now, Direction::Inbound, frame, None);
        }
        let sent = self.player.step(now, frames);
        self.send(now, sent);
    }

    fn send(&mut self, now: Instant, frames: Vec<Vec<u8>>) {
        for frame in frames {
            if self.is_lost(self.peer.outbound_loss) {
                let comment = Some("lost on the way, on purpose".to_owned());
                self.note(now, Direction::Outbound, &frame, comment);
                continue;
            }
            self.note(now, Direction::Outbound, &frame, None);
            let token = self.device.transmit(Instant::ZERO);
            let token = token.expect("a TAP device takes all");
            token.consume(frame.len(), |buffer| buffer.copy_from_slice(&frame));
        }
    }

    fn note(&mut self, at: Instant, direction: Direction, frame: &[u8], comment: Option<String>) {
        self.recording.frames.push(Recorded {
            at,
            direction,
            octets: frame.to_vec(),
            comment,
        });
    }

    fn is_lost(&mut self, percent: u8) -> bool {
        self.luck = self
            .luck
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.luck >> 33) % 100 < u64::from(percent)
    }

    /// Waits for a frame, and for what is due next at either end.
    fn wait(&mut self) {
        let now = self.now();
        let next = [self.player.next(), self.peer.next(), Some(self.end)];
        let next = next.into_iter().flatten().min().unwrap_or(now);
        // The kernel's applications are looked after now and then. `wait` cuts fractions of a
        // millisecond off, and would spin for the last of them.
        let delay = (next.max(now) - now).min(Duration::from_millis(5));
        let delay = Duration::from_millis(delay.total_micros().div_ceil(1000));
        phy::wait(self.device.as_raw_fd(), Some(delay)).expect("the device can be waited for");
    }
}
