//! What goes wrong.

use std::ops::RangeInclusive;
use std::time::Duration;

use smoltcp::iface::SocketHandle;
use tcp_keepalive::{Config, Instant};
use tcp_keepalive_sim::{Host, Id, LinkId, Memory, NodeId, Rng, Room, SimError, World};

use super::plan::{Plan, Road, coin, draw, secs};

/// What a host does to itself. It may hold none of that against its peers.
pub(super) fn calm_fault(
    world: &mut World,
    rng: &mut Rng,
    at: Instant,
    device: NodeId,
    config: &Config,
) -> Result<(), SimError> {
    // Blocked for longer, it could not send the attempts that it has (K4).
    let longest = config.interval() * u32::from(config.count() - 2);
    let longest = longest.min(config.user_timeout().unwrap_or(longest) / 3);
    let short = rng.duration(Duration::from_millis(1)..=longest);
    match rng.below(5) {
        0 => {
            let asleep = draw(rng, 1..=7200, secs);
            world.at(at, move |world| world.sleep(device, asleep))
        }
        1 => {
            let by = draw(rng, 1..=7200, secs);
            world.at(at, move |world| world.clock_jump(device, by))
        }
        2 => {
            let room = if coin(rng) {
                Room::None
            } else {
                Room::NoneToTransmit
            };
            world.at(at, move |world| world.set_room(device, room))?;
            world.at(at.saturating_add(short), move |world| {
                world.set_room(device, Room::Plenty)
            })
        }
        _ => clock_fault(world, rng, at, device),
    }
}

/// An application that changes its mind: other options for a while, or none.
pub(super) fn change_options(
    world: &mut World,
    rng: &mut Rng,
    time: RangeInclusive<Instant>,
    host: Id<Host>,
    config: Config,
) -> Result<(), SimError> {
    let (at, end) = time.into_inner();
    let over = at.saturating_add(draw(rng, 1..=1800, secs)).min(end);
    let other = match rng.below(3) {
        0 => None,
        1 => Config::new(config.idle() * 2, config.interval(), config.count()).ok(),
        _ => Config::new(config.idle(), config.interval() * 2, config.count()).ok(),
    };
    let set = move |world: &mut World, config: Option<Config>| {
        let host = &mut world[host];
        let handles: Vec<SocketHandle> = host.tcp_sockets().map(|(handle, _)| handle).collect();
        for handle in handles {
            match config {
                None => host.keep_alive.disable(handle),
                // There was room for all of them before.
                Some(config) => drop(host.keep_alive.enable(handle, config)),
            }
        }
        Ok(())
    };
    world.at(at, move |world| set(world, other))?;
    world.at(over, move |world| set(world, Some(config)))
}

/// Clocks that are not quite right.
pub(super) fn clock_fault(
    world: &mut World,
    rng: &mut Rng,
    at: Instant,
    node: NodeId,
) -> Result<(), SimError> {
    match rng.below(4) {
        0 => {
            let ppm = i32::try_from(rng.within(0..=400)).unwrap_or(0) - 200;
            world.at(at, move |world| world.clock_drift(node, ppm))
        }
        1 => {
            let tick = draw(rng, 1..=10, Duration::from_millis);
            world.at(at, move |world| world.clock_tick(node, tick))
        }
        2 => {
            let by = draw(rng, 1..=60_000, Duration::from_millis);
            world.at(at, move |world| world.clock_step_back(node, by))
        }
        _ => {
            let pace = draw(rng, 1..=200, Duration::from_millis);
            world.at(at, move |world| world.set_pace(node, pace))
        }
    }
}

/// Whatever can go wrong.
pub(super) fn wild_fault(
    world: &mut World,
    rng: &mut Rng,
    time: RangeInclusive<Instant>,
    hosts: [Id<Host>; 2],
    link: LinkId,
    plan: &Plan,
) -> Result<(), SimError> {
    let (config, road) = (&plan.config, plan.road);
    let (at, end) = time.into_inner();
    let nodes: [NodeId; 2] = hosts.map(Id::into);
    let node = *rng.pick(&nodes).unwrap_or(&nodes[0]);
    let [_, server] = hosts;
    let over = at.saturating_add(draw(rng, 1..=1800, secs)).min(end);
    match rng.below(14) {
        11 => {
            let is_announced = coin(rng);
            // A NAT of the simulation asks for its neighbours once.
            world.at(at, move |world| match road {
                Road::Nat(_) => Ok(()),
                _ => world.change_hardware_addr(server, is_announced),
            })
        }
        12 => {
            // All that arrives is for another station.
            world.at(at, move |world| world.hear_others(server, true))?;
            world.at(over, move |world| world.hear_others(server, false))
        }
        13 => {
            let by = draw(rng, 1..=7200, secs);
            world.at(at, move |world| world.clock_misread(node, by))
        }
        10 => {
            // Asleep while the peer is asked, and out of reach until then.
            let asks = config.interval() * u32::from(config.count());
            let falls_asleep = config.idle() + rng.duration(Duration::ZERO..=asks);
            let asleep = rng.duration(config.interval()..=asks * 2);
            let repaired = falls_asleep + asleep / 2;
            let after = |duration| at.saturating_add(duration).min(end);
            world.at(at, move |world| world.partition(link))?;
            world.at(after(falls_asleep), move |world| world.sleep(node, asleep))?;
            world.at(after(repaired), move |world| world.repair(link))
        }
        0 => {
            world.at(at, move |world| world.partition(link))?;
            world.at(over, move |world| world.repair(link))
        }
        1 => {
            let [device, _] = nodes;
            world.at(at, move |world| world.partition_oneway(link, device))?;
            world.at(over, move |world| world.repair(link))
        }
        2 => {
            world.at(at, move |world| world.unplug(link))?;
            world.at(over, move |world| world.repair(link))
        }
        3 => {
            world.at(at, move |world| world.hold(link))?;
            world.at(over, move |world| world.release(link))
        }
        4 => {
            world.at(at, move |world| world.crash(node))?;
            world.at(over, move |world| world.reboot(node, Memory::Lost))
        }
        5 => world.at(at, move |world| world.reboot(node, Memory::Lost)),
        6 => {
            world.at(at, move |world| world.crash(node))?;
            world.at(over, move |world| world.reboot(node, Memory::Kept))
        }
        7 => {
            let asleep = over.saturating_duration_since(at);
            world.at(at, move |world| world.sleep(node, asleep))
        }
        8 => {
            let room = if coin(rng) {
                Room::None
            } else {
                Room::Frames(3)
            };
            world.at(at, move |world| world.set_room(node, room))?;
            world.at(over, move |world| world.set_room(node, Room::Plenty))
        }
        _ => clock_fault(world, rng, at, node),
    }
}
