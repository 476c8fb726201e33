//! Two hosts, the network between them, and whatever can go wrong with either, from a string of
//! octets. After every turn of a host the world holds its keep-alive against an account of its own;
//! what does not hold ends the run. In the end all heals, and then the peer dies: it has to be
//! given up within a bound.
//!
//! `scripts/fuzz`, or `cargo fuzz run --no-cfg-fuzzing -s none worlds`

#![no_main]

use std::time::Duration;

use libfuzzer_sys::arbitrary::{self, Arbitrary};
use libfuzzer_sys::fuzz_target;
use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp;
use smoltcp::wire::{IpAddress, IpCidr};
use tcp_keepalive::{Config, Instant, ProbePayload};
use tcp_keepalive_sim::{
    Conditions, Host, Id, LinkId, Loss, Memory, NodeId, Ratio, Room, Script, SimError, World,
};

const PORT: u16 = 7;
const MAX_FAULTS: usize = 24;
/// More than it takes to ask for a neighbour, which may have to wait for a second, and to have
/// something acknowledged, on the slowest of the networks here.
const LONGEST_EXCHANGE: Duration = Duration::from_secs(3);
/// What ticks, drift and jitter may add to a bound.
const SLACK: Duration = Duration::from_secs(2);

#[derive(Arbitrary, Debug)]
struct Plan {
    seed: u16,
    ethernet: bool,
    ipv6: bool,
    timestamps: bool,
    connections: u8,
    idle: u8,
    interval: u8,
    count: u8,
    user_timeout: Option<u8>,
    garbage: bool,
    /// Octets, and how often, in seconds.
    client: Option<(u8, u8)>,
    server: Option<(u8, u8)>,
    latency: u8,
    jitter: u8,
    faults: Vec<(u8, Fault)>,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum End {
    Device,
    Server,
}

#[derive(Arbitrary, Clone, Copy, Debug)]
enum Fault {
    Partition,
    PartitionFrom(End),
    Unplug,
    Hold,
    Release,
    Repair,
    Crash(End),
    Reboot(End, bool),
    Sleep(End, u16),
    NoRoom(End),
    NoRoomToTransmit(End),
    RoomFor(End, u8),
    Room(End),
    Pace(End, u8),
    Jump(End, u16),
    StepBack(End, u16),
    Drift(End, i16),
    Tick(End, u8),
    Lossy(End, u8),
    Corrupting(End, u8),
    Reordering(End, u8),
    Calm,
    Options(End, u8, u8, u8),
    Disable(End),
    Wake(End),
    Abort(End),
    Close(End),
}

fuzz_target!(|plan: Plan| {
    let mut world = World::new(plan.seed.into());
    if let Err(error) = plan.run(&mut world) {
        let text = world.trace().text().last(80).to_string();
        panic!("{error}\n{text}");
    }
});

impl Plan {
    fn config(&self) -> Config {
        let secs = |count: u8| Duration::from_secs(u64::from(count) + 1);
        let config = Config::new(
            secs(self.idle),
            secs(self.interval % 20),
            2 + self.count % 8,
        )
        .and_then(|config| match self.user_timeout {
            Some(timeout) => config.with_user_timeout(secs(timeout)),
            None => Ok(config),
        })
        .expect("the config is sensible");
        if self.garbage {
            config.with_payload(ProbePayload::GarbageOctet)
        } else {
            config
        }
    }

    fn address(&self, last: u8) -> IpAddress {
        if self.ipv6 {
            IpAddress::v6(0x2001, 0xdb8, 0, 0, 0, 0, 0, last.into())
        } else {
            IpAddress::v4(192, 0, 2, last)
        }
    }

    fn host(&self, last: u8, script: Script, says: Option<(u8, u8)>) -> Host {
        let script = match says {
            Some((octets, every)) => {
                let every = Duration::from_secs(u64::from(every) + 1);
                script.send_every(every, usize::from(octets) + 1)
            }
            None => script,
        };
        let script = if self.timestamps {
            script.timestamps()
        } else {
            script
        };
        let address = IpCidr::new(self.address(last), 24);
        let host = if self.ethernet {
            Host::ethernet(address)
        } else {
            Host::ip(address)
        };
        host.app(script)
    }

    fn run(&self, world: &mut World) -> Result<(), SimError> {
        let config = self.config();
        let sockets = usize::from(self.connections % 3) + 1;
        let client = Script::client((self.address(2), PORT).into())
            .keep_alive(config)
            .reconnect(Duration::from_secs(5))
            .sockets(sockets);
        let server = Script::server(PORT).keep_alive(config).sockets(sockets + 2);
        let device = world.add("device", self.host(1, client, self.client));
        let server = world.add("server", self.host(2, server, self.server));
        let link = world.link(device, server, self.conditions())?;
        let trial = Trial {
            plan: self,
            device,
            server,
            link,
        };
        world.run_for(Duration::from_secs(3))?;
        for (pause, fault) in self.faults.iter().take(MAX_FAULTS) {
            trial.inflict(*fault, world)?;
            world.run_for(Duration::from_secs((*pause % 128).into()))?;
        }
        trial.heal(world)?;
        trial.die(world)
    }

    fn conditions(&self) -> Conditions {
        Conditions::ideal()
            .latency(Duration::from_millis(u64::from(self.latency)))
            .jitter(Duration::from_millis(u64::from(self.jitter % 32)))
    }
}

struct Trial<'p> {
    plan: &'p Plan,
    device: Id<Host>,
    server: Id<Host>,
    link: LinkId,
}

impl Trial<'_> {
    fn host(&self, end: End) -> Id<Host> {
        match end {
            End::Device => self.device,
            End::Server => self.server,
        }
    }

    fn each_socket(&self, world: &mut World, end: End, act: fn(&mut tcp::Socket<'static>)) {
        let host = &mut world[self.host(end)];
        for handle in handles(host) {
            act(host.tcp(handle));
        }
    }

    fn worsen(
        &self,
        world: &mut World,
        end: End,
        change: impl FnOnce(Conditions) -> Conditions,
    ) -> Result<(), SimError> {
        world.set_conditions(self.link, self.host(end), change(self.plan.conditions()))
    }

    fn inflict(&self, fault: Fault, world: &mut World) -> Result<(), SimError> {
        let link = self.link;
        let node = |end| NodeId::from(self.host(end));
        let millis = |count: u8| Duration::from_millis(count.into());
        let secs = |count: u16| Duration::from_secs(count.into());
        let percent = |percent: u8| Ratio::percent(u32::from(percent) % 100);
        match fault {
            Fault::Partition => world.partition(link),
            Fault::PartitionFrom(end) => world.partition_oneway(link, node(end)),
            Fault::Unplug => world.unplug(link),
            Fault::Hold => world.hold(link),
            Fault::Release => world.release(link),
            Fault::Repair => world.repair(link),
            Fault::Crash(end) => world.crash(node(end)),
            Fault::Reboot(end, true) => world.reboot(node(end), Memory::Kept),
            Fault::Reboot(end, false) => world.reboot(node(end), Memory::Lost),
            Fault::Sleep(end, time) => world.sleep(node(end), secs(time % 512)),
            Fault::NoRoom(end) => world.set_room(node(end), Room::None),
            Fault::NoRoomToTransmit(end) => world.set_room(node(end), Room::NoneToTransmit),
            Fault::RoomFor(end, frames) => world.set_room(node(end), Room::Frames(frames.into())),
            Fault::Room(end) => {
                world.set_room(node(end), Room::Plenty)?;
                world.wake(node(end))
            }
            Fault::Pace(end, pace) => world.set_pace(node(end), millis(pace)),
            Fault::Jump(end, by) => world.clock_jump(node(end), secs(by)),
            Fault::StepBack(end, by) => world.clock_step_back(node(end), secs(by % 600)),
            Fault::Drift(end, ppm) => world.clock_drift(node(end), i32::from(ppm) % 500),
            Fault::Tick(end, tick) => world.clock_tick(node(end), millis(tick % 20 + 1)),
            Fault::Lossy(end, part) => {
                let loss = Loss::random(percent(part)?);
                self.worsen(world, end, |conditions| conditions.loss(loss))
            }
            Fault::Corrupting(end, part) => {
                let part = percent(part % 10)?;
                self.worsen(world, end, |conditions| conditions.corruption(part))
            }
            Fault::Reordering(end, by) => {
                let part = percent(10)?;
                self.worsen(world, end, |conditions| {
                    conditions
                        .duplication(part)
                        .reordering(part, millis(by.max(1)))
                })
            }
            Fault::Calm => self.calm(world),
            Fault::Options(end, idle, interval, count) => {
                let config = Plan {
                    idle,
                    interval,
                    count,
                    faults: Vec::new(),
                    ..*self.plan
                };
                self.set_options(world, end, config.config());
                Ok(())
            }
            Fault::Disable(end) => {
                let host = &mut world[self.host(end)];
                for handle in handles(host) {
                    host.keep_alive.disable(handle);
                }
                Ok(())
            }
            Fault::Wake(end) => world.wake(node(end)),
            Fault::Abort(end) => {
                self.each_socket(world, end, tcp::Socket::abort);
                world.wake(node(end))
            }
            Fault::Close(end) => {
                self.each_socket(world, end, tcp::Socket::close);
                world.wake(node(end))
            }
        }
    }

    fn set_options(&self, world: &mut World, end: End, config: Config) {
        let host = &mut world[self.host(end)];
        for handle in handles(host) {
            // There was room for all of them before.
            let _ = host.keep_alive.enable(handle, config);
        }
    }

    fn calm(&self, world: &mut World) -> Result<(), SimError> {
        for end in [End::Device, End::Server] {
            self.worsen(world, end, |conditions| conditions)?;
        }
        Ok(())
    }

    /// All is well again; a node that was off is on, and remembers nothing.
    fn heal(&self, world: &mut World) -> Result<(), SimError> {
        world.remark("everything heals");
        world.repair(self.link)?;
        self.calm(world)?;
        for end in [End::Device, End::Server] {
            let host = self.host(end);
            world.set_room(host, Room::Plenty)?;
            world.set_pace(host, Duration::ZERO)?;
            world.clock_drift(host, 0)?;
            world.reboot(host, Memory::Lost)?;
        }
        world.run_for(Duration::from_secs(60))?;
        for handle in handles(&world[self.device]) {
            let state = world[self.device].tcp(handle).state();
            assert_eq!(state, tcp::State::Established, "{handle} is not back");
        }
        let config = self.plan.config();
        if config
            .user_timeout()
            .is_none_or(|timeout| timeout >= LONGEST_EXCHANGE)
        {
            world.promise_alive(self.device)?;
        }
        world.run_for(config.detection_time() * 2)?;
        world.revoke_alive(self.device);
        Ok(())
    }

    /// The cable is cut: every connection that has nothing to say is given up in time.
    fn die(&self, world: &mut World) -> Result<(), SimError> {
        let config = self.plan.config();
        world.partition(self.link)?;
        world.run_for(Duration::from_secs(1))?;
        let is_silent = self.plan.client.is_none() && self.plan.server.is_none();
        if !is_silent {
            return world.run_for(config.detection_time());
        }
        for handle in handles(&world[self.device]) {
            let heard = world[self.device].keep_alive.last_heard(handle);
            let heard = heard.expect("it was opened under the eyes of the keep-alive");
            let micros = u64::try_from(heard.total_micros()).unwrap_or(0);
            let clock = world.clock(self.device)?;
            let since = clock.world_time_of(Instant::from_micros(micros));
            let by = since.saturating_add(config.detection_time() + SLACK);
            world.promise_dead(self.device, handle, by.max(world.now()))?;
        }
        world.run_for(config.detection_time() + SLACK * 2)
    }
}

fn handles(host: &Host) -> Vec<SocketHandle> {
    host.tcp_sockets().map(|(handle, _)| handle).collect()
}
