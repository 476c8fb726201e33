//! What happens: the clock, the application, the peer and the link.

use std::cell::RefCell;
use std::rc::Rc;

use smoltcp::iface::SocketHandle;
use smoltcp::socket::tcp;
use tcp_keepalive::smoltcp::{CloseReason, EnableError};
use tcp_keepalive::{Cause, Config, Event, State, Stats, Verdict};

use super::host::Host;
use super::link::{End, Link, Room, Sent};
use super::script::{Connection, Mode, Script};
use super::setup::{Opens, Setup, set_timestamp_clock};
use super::time::{Time, s};
use super::wire::{Kind, Path, Segment};

/// How many turns all nodes together may take at one instant.
const TURNS_AT_ONE_INSTANT: u32 = 10_000;

/// Who is at the other end.
pub enum Peer {
    Script(Script),
    Smoltcp(Box<Host>),
}

pub struct Scenario {
    pub setup: Setup,
    pub path: Path,
    pub link: Rc<RefCell<Link>>,
    pub host: Host,
    pub peer: Peer,
    /// When the connections were established, by the world's clock: zero of the scenario's.
    pub(super) epoch: Time,
    /// How much of the trace, and of the events, has been claimed.
    pub(super) claimed: usize,
    pub(super) claimed_events: usize,
}

// Moving the clock.
impl Scenario {
    pub fn new(setup: Setup, path: Path, link: Rc<RefCell<Link>>, host: Host, peer: Peer) -> Self {
        let epoch = link.borrow().now;
        Self {
            setup,
            path,
            link,
            host,
            peer,
            epoch,
            claimed: 0,
            claimed_events: 0,
        }
    }

    /// Lets everything happen that happens before `moment`.
    pub fn until(&mut self, moment: impl Into<Time>) -> &mut Self {
        self.run(self.epoch + moment.into(), false);
        self
    }

    /// Lets everything happen up to and at `moment`.
    pub fn at(&mut self, moment: impl Into<Time>) -> &mut Self {
        self.run(self.epoch + moment.into(), true);
        self
    }

    /// Lets everything happen that is to happen at this very moment.
    pub fn now(&mut self) -> &mut Self {
        self.run(self.world_now(), true);
        self
    }

    /// The scenario's clock.
    pub fn time(&self) -> Time {
        self.world_now() - self.epoch
    }

    fn world_now(&self) -> Time {
        self.link.borrow().now
    }

    fn run(&mut self, end: Time, inclusive: bool) {
        assert!(end >= self.world_now(), "the scenario runs backwards");
        self.touch();
        while let Some(next) = self.next_wish() {
            if next > end || next == end && !inclusive {
                break;
            }
            self.move_clock(next);
            self.settle();
        }
        self.move_clock(end);
    }

    /// The application of either host may have done something since the last turn.
    fn touch(&mut self) {
        self.host.touch();
        if let Peer::Smoltcp(peer) = &mut self.peer {
            peer.touch();
        }
    }

    fn move_clock(&mut self, to: Time) {
        self.link.borrow_mut().now = to;
        set_timestamp_clock(to);
    }

    /// The earliest moment that anyone waits for, and no earlier than now.
    fn next_wish(&self) -> Option<Time> {
        let peer = match &self.peer {
            Peer::Script(script) => script.wants(),
            Peer::Smoltcp(peer) => peer.wants(),
        };
        let next = self.host.wants().into_iter().chain(peer).min()?;
        Some(next.max(self.world_now()))
    }

    /// All turns that are due now.
    fn settle(&mut self) {
        let now = self.world_now();
        let is_due = |wish: Option<Time>| wish.is_some_and(|wish| wish <= now);
        for _ in 0..TURNS_AT_ONE_INSTANT {
            match &mut self.peer {
                Peer::Script(script) if is_due(script.wants()) => script.turn(),
                Peer::Smoltcp(peer) if is_due(peer.wants()) => peer.turn(),
                _ if is_due(self.host.wants()) => self.host.turn(),
                _ => return,
            }
        }
        panic!("too much happens at {:?}\n{}", self.time(), self.story());
    }

    /// Opens all connections, and makes the moment at which the last one is established zero.
    pub fn open(&mut self) {
        self.start_opening();
        let deadline = self.world_now() + s(10);
        loop {
            let count = self.host.handles.len();
            let is_open =
                (0..count).all(|index| self.host.socket(index).state() == tcp::State::Established);
            if is_open {
                break;
            }
            self.touch();
            let next = self.next_wish().filter(|next| *next < deadline);
            let Some(next) = next else {
                panic!("the connection is not opened\n{}", self.story());
            };
            self.move_clock(next);
            self.settle();
        }
        self.epoch = self.world_now();
        self.skip();
    }

    /// Begins to open all connections.
    pub fn start_opening(&mut self) {
        for index in 0..self.host.handles.len() {
            self.start_opening_one(index);
        }
    }

    pub fn start_opening_one(&mut self, index: usize) {
        let number = u16::try_from(index).unwrap();
        match self.setup.opens {
            Opens::Actively => {
                if let Peer::Smoltcp(peer) = &mut self.peer {
                    peer.socket(index).listen(Script::PORT).unwrap();
                }
                let remote = (self.path.dst, Script::PORT);
                let socket = self
                    .host
                    .sockets
                    .get_mut::<tcp::Socket>(self.host.handles[index]);
                socket
                    .connect(self.host.iface.context(), remote, 49_152 + number)
                    .unwrap();
            }
            Opens::Passively => {
                self.host.socket(index).listen(80).unwrap();
                self.touch();
                match &mut self.peer {
                    Peer::Script(script) => {
                        script.connect(80, self.setup.timestamps);
                    }
                    Peer::Smoltcp(peer) => {
                        let handle = peer.handles[index];
                        let socket = peer.sockets.get_mut::<tcp::Socket>(handle);
                        let remote = (self.path.src, 80);
                        socket
                            .connect(peer.iface.context(), remote, Script::FIRST_PORT + number)
                            .unwrap();
                    }
                }
            }
        }
    }
}

// What the application does.
impl Scenario {
    pub fn handle(&self) -> SocketHandle {
        self.host.handles[0]
    }

    pub fn socket(&mut self) -> &mut tcp::Socket<'static> {
        self.host.socket(0)
    }

    pub fn enable(&mut self, config: Config) {
        self.enable_on(0, config);
    }

    pub fn enable_on(&mut self, index: usize, config: Config) {
        self.try_enable_on(index, config).unwrap();
    }

    pub fn try_enable_on(&mut self, index: usize, config: Config) -> Result<(), EnableError> {
        let handle = self.host.handles[index];
        let keep_alive = self.host.keep_alive.as_mut().unwrap();
        keep_alive.enable(handle, config)
    }

    pub fn disable(&mut self) {
        let handle = self.handle();
        self.host.keep_alive.as_mut().unwrap().disable(handle);
    }

    /// Writes that many octets.
    pub fn write(&mut self, len: usize) {
        assert_eq!(self.socket().send_slice(&vec![b'w'; len]), Ok(len));
    }

    /// Reads all there is.
    pub fn read(&mut self) -> usize {
        self.socket()
            .recv(|data| (data.len(), data.len()))
            .unwrap_or(0)
    }

    pub fn state(&self) -> Option<State> {
        self.state_of(0)
    }

    pub fn state_of(&self, index: usize) -> Option<State> {
        let keep_alive = self.host.keep_alive.as_ref()?;
        keep_alive.state(self.host.handles[index])
    }

    pub fn stats(&self) -> Stats {
        let keep_alive = self.host.keep_alive.as_ref().unwrap();
        keep_alive.stats(self.handle()).unwrap()
    }

    pub fn close_reason(&self) -> Option<CloseReason> {
        let keep_alive = self.host.keep_alive.as_ref()?;
        keep_alive.close_reason(self.handle())
    }

    /// When the peer was last heard, by the scenario's clock.
    pub fn last_heard(&self) -> Option<Time> {
        let keep_alive = self.host.keep_alive.as_ref()?;
        let heard = Time::from(keep_alive.last_heard(self.handle())?);
        Some(heard - self.host.clock_offset - self.epoch)
    }

    /// All that was reported, by the scenario's clock.
    pub fn events(&self) -> Vec<(Time, Event)> {
        let events = self.host.events.iter();
        events
            .map(|(at, _, event)| (*at - self.epoch, *event))
            .collect()
    }

    /// The host is not polled until `moment`, when it wakes.
    pub fn sleep_until(&mut self, moment: impl Into<Time>) -> &mut Self {
        self.host.is_asleep = true;
        self.run(self.epoch + moment.into(), true);
        self.host.is_asleep = false;
        self
    }

    /// The clock of the host under test steps; the world's goes on.
    pub fn step_clock(&mut self, by: Time) {
        self.host.clock_offset = self.host.clock_offset + by;
    }

    /// Lets nothing happen until `moment`, and then polls the host under test once.
    pub fn one_turn_at(&mut self, moment: impl Into<Time>) -> &mut Self {
        self.move_clock(self.epoch + moment.into());
        self.host.turn();
        self
    }

    /// The answer of `poll_at`, by the scenario's clock.
    pub fn poll_at(&mut self) -> Option<Time> {
        let now = self.host.clock();
        let at = Time::from(self.host.poll_at(now)?);
        Some(at - self.host.clock_offset - self.epoch)
    }
}

// What the peer and the link do.
impl Scenario {
    pub fn script(&mut self) -> &mut Script {
        match &mut self.peer {
            Peer::Script(script) => script,
            Peer::Smoltcp(_) => panic!("the peer of this scenario is a smoltcp host"),
        }
    }

    pub fn smoltcp_peer(&mut self) -> &mut Host {
        match &mut self.peer {
            Peer::Smoltcp(peer) => peer,
            Peer::Script(_) => panic!("the peer of this scenario is scripted"),
        }
    }

    /// The peer's side of the connection.
    pub fn peer(&mut self) -> &mut Connection {
        &mut self.script().connections[0]
    }

    /// The peer of every connection answers nothing more, though its neighbour address can
    /// still be had.
    pub fn silence_peer(&mut self) {
        match &mut self.peer {
            Peer::Script(script) => {
                for connection in &mut script.connections {
                    connection.mode = Mode::Silent;
                }
            }
            Peer::Smoltcp(peer) => peer.is_asleep = true,
        }
    }

    pub fn peer_does(&mut self, mode: Mode) {
        self.peer().mode = mode;
    }

    /// The segment that the peer would send now, were it to acknowledge.
    pub fn peer_segment(&mut self) -> Segment {
        self.script().next_segment(0)
    }

    /// The peer acknowledges what it has.
    pub fn peer_acks(&mut self) {
        let segment = self.peer_segment();
        self.script().send(0, &segment);
    }

    /// The peer says that many octets.
    pub fn peer_says(&mut self, len: usize) {
        let mut segment = self.peer_segment();
        segment.payload = vec![b'p'; len];
        segment.psh = true;
        self.script().send(0, &segment);
    }

    /// The peer has said all it had to say.
    pub fn peer_closes(&mut self) {
        let mut segment = self.peer_segment();
        segment.fin = true;
        self.script().send(0, &segment);
    }

    /// A segment that may be anybody's.
    pub fn forge(&mut self, change: impl FnOnce(&mut Segment)) {
        let mut segment = self.peer_segment();
        change(&mut segment);
        self.script().forge(&segment);
    }

    pub fn cut(&mut self) {
        self.cut_from_us();
        self.cut_from_peer();
    }

    pub fn cut_from_us(&mut self) {
        self.link.borrow_mut().cut_from_us = true;
    }

    pub fn cut_from_peer(&mut self) {
        self.link.borrow_mut().cut_from_peer = true;
    }

    pub fn repair(&mut self) {
        let mut link = self.link.borrow_mut();
        link.cut_from_us = false;
        link.cut_from_peer = false;
    }

    /// Loses the next frame which `chosen` chooses.
    pub fn drop_next(&mut self, chosen: impl FnMut(End, &Kind) -> bool + 'static) {
        self.link.borrow_mut().drop_next(chosen);
    }

    pub fn block_device(&mut self) {
        self.link.borrow_mut().room = Room::None;
    }

    pub fn block_transmitter(&mut self) {
        self.link.borrow_mut().room = Room::NoneToTransmit;
    }

    /// The device has room for so many frames, and then none.
    pub fn leave_room_for(&mut self, frames: usize) {
        self.link.borrow_mut().room = Room::Frames(frames);
    }

    /// The device has room again, and its interrupt wakes the loop.
    pub fn unblock_device(&mut self) {
        self.link.borrow_mut().room = Room::Plenty;
        self.host.turn();
    }
}
