//! A smoltcp host: with our keep-alive (the host under test), or plain.

use std::cell::RefCell;
use std::rc::Rc;

use smoltcp::iface::{Config, Interface, PollResult, SocketHandle, SocketSet};
use smoltcp::phy::Medium;
use smoltcp::socket::{Socket, tcp};
use smoltcp::time::Instant;
use smoltcp::wire::{HardwareAddress, IpCidr};
use tcp_keepalive::Event;
use tcp_keepalive::smoltcp::KeepAliveSet;

use super::link::{Link, Port};
use super::time::Time;
use super::wire::Path;

/// What a loop may do at one instant without a frame moving, before it is taken to be endless.
const PATIENCE: u32 = 1000;

/// Something that the application does the moment it reads of a verdict.
pub type OnVerdict = Box<dyn FnMut(&mut tcp::Socket<'static>)>;

pub struct Host {
    pub name: &'static str,
    pub iface: Interface,
    pub device: Port,
    pub sockets: SocketSet<'static>,
    pub handles: Vec<SocketHandle>,
    /// None in a plain host.
    pub keep_alive: Option<KeepAliveSet<8>>,
    pub events: Vec<(Time, SocketHandle, Event)>,
    pub on_verdict: Option<OnVerdict>,
    /// Reads, and forgets, all that arrives.
    pub drains: bool,
    pub is_asleep: bool,
    /// The application polls the interface itself, past us.
    pub bypasses: bool,
    /// The host polls no more often than that.
    pub slowness: Time,
    last_turn: Time,
    /// How far the host's clock is ahead of the world's.
    pub clock_offset: Time,
    /// When the host wants to be polled, by the world's clock.
    wake: Option<Time>,
    link: Rc<RefCell<Link>>,
    /// Polls in a row that ended with a wish for another one at once, and moved no frame.
    idle_polls: u32,
    pub worst_idle_polls: u32,
    pub polls: usize,
    pub last_result: PollResult,
}

impl Host {
    /// A host at the sending end of `path`.
    pub fn new(name: &'static str, path: &Path, mut device: Port, seed: u64) -> Self {
        let link = Rc::clone(&device.link);
        let mut config = Config::new(if path.medium == Medium::Ethernet {
            HardwareAddress::Ethernet(path.src_mac)
        } else {
            HardwareAddress::Ip
        });
        config.random_seed = seed;
        let now = link.borrow().now;
        let mut iface = Interface::new(config, &mut device, now.instant());
        iface.update_ip_addrs(|addresses| addresses.push(IpCidr::new(path.src, 24)).unwrap());
        Self {
            name,
            iface,
            device,
            sockets: SocketSet::new(Vec::new()),
            handles: Vec::new(),
            keep_alive: None,
            events: Vec::new(),
            on_verdict: None,
            drains: false,
            is_asleep: false,
            bypasses: false,
            slowness: Time::ZERO,
            last_turn: Time::ZERO,
            clock_offset: Time::ZERO,
            wake: Some(now),
            link,
            idle_polls: 0,
            worst_idle_polls: 0,
            polls: 0,
            last_result: PollResult::None,
        }
    }

    pub fn add_socket(&mut self, rx: usize, tx: usize) -> SocketHandle {
        let socket = tcp::Socket::new(
            tcp::SocketBuffer::new(vec![0; rx]),
            tcp::SocketBuffer::new(vec![0; tx]),
        );
        let handle = self.sockets.add(socket);
        self.handles.push(handle);
        handle
    }

    pub fn socket(&mut self, index: usize) -> &mut tcp::Socket<'static> {
        self.sockets.get_mut(self.handles[index])
    }

    pub fn clock(&self) -> Instant {
        (self.link.borrow().now + self.clock_offset).instant()
    }

    /// The application did something: what the loop waits for may have changed.
    pub fn touch(&mut self) {
        let now = self.clock();
        self.wake = self
            .poll_at(now)
            .map(|at| Time::from(at) - self.clock_offset);
    }

    /// What the loop is told to wait for.
    pub fn poll_at(&mut self, now: Instant) -> Option<Instant> {
        match &mut self.keep_alive {
            Some(keep_alive) if !self.bypasses => {
                keep_alive.poll_at(now, &mut self.iface, &self.sockets)
            }
            _ => self.iface.poll_at(now, &self.sockets),
        }
    }

    /// When it is to be polled next, by the world's clock.
    pub fn wants(&self) -> Option<Time> {
        if self.is_asleep {
            return None;
        }
        let arrival = self.link.borrow().next_arrival(self.device.end);
        let wish = self.wake.into_iter().chain(arrival).min()?;
        Some(wish.max(self.last_turn + self.slowness))
    }

    /// One turn of the application's loop.
    pub fn turn(&mut self) {
        let (world_now, before) = {
            let link = self.link.borrow();
            (link.now, link.progress())
        };
        let now = self.clock();
        self.polls += 1;
        self.last_turn = world_now;
        self.poll(now);
        if self.drains {
            self.drain();
        }
        self.touch();
        let progressed = self.link.borrow().progress() != before;
        if !progressed && self.wake.is_some_and(|wake| wake <= world_now) {
            self.idle_polls += 1;
        } else {
            self.idle_polls = 0;
        }
        self.worst_idle_polls = self.worst_idle_polls.max(self.idle_polls);
        assert!(
            self.idle_polls < PATIENCE,
            "{} spins at {world_now:?}: polled {PATIENCE} times, it wants to be polled at once, \
             and no frame moves",
            self.name
        );
    }

    fn poll(&mut self, now: Instant) {
        let keep_alive = self.keep_alive.as_mut().filter(|_| !self.bypasses);
        let Some(keep_alive) = keep_alive else {
            self.last_result = self.iface.poll(now, &mut self.device, &mut self.sockets);
            return;
        };
        self.last_result =
            keep_alive.poll(now, &mut self.iface, &mut self.device, &mut self.sockets);
        let world_now = self.link.borrow().now;
        while let Some((handle, event)) = keep_alive.poll_event() {
            self.events.push((world_now, handle, event));
            if let (Event::TimedOut(_), Some(react)) = (event, &mut self.on_verdict) {
                react(self.sockets.get_mut(handle));
            }
        }
    }

    fn drain(&mut self) {
        for (_, socket) in self.sockets.iter_mut() {
            if let Socket::Tcp(socket) = socket
                && socket.can_recv()
            {
                let _ = socket.recv(|data| (data.len(), ()));
            }
        }
    }
}
