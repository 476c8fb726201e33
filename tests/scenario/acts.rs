//! What happens: the clock, the application, the peer and the link.

use std::time::Duration;

use smoltcp::iface::SocketHandle;
use smoltcp::phy::Medium;
use smoltcp::socket::tcp;
use smoltcp::wire::{HardwareAddress, IpAddress};
use tcp_keepalive::smoltcp::{CloseReason, EnableError};
use tcp_keepalive::{Config, Event, Instant, State, Stats};
use tcp_keepalive_sim::wire::{Kind, Macs, Segment};
use tcp_keepalive_sim::{Account, Host, Id, LinkId, Manner, Node, NodeId, Peer, Room};
use tcp_keepalive_sim::{SimError, World};

use super::application::Application;
use super::record::End;
use super::setup::{Opens, Setup};
use super::time::{Time, s};

/// The port at which a peer accepts connections.
const PEER_PORT: u16 = 7;
/// The port at which the host under test does.
const OUR_PORT: u16 = 80;
/// The host's first port for connections of its own.
const OUR_FIRST_PORT: u16 = 49_152;

/// Who is at the other end.
#[derive(Clone, Copy, Debug)]
pub enum PeerId {
    Script(Id<Peer>),
    Smoltcp(Id<Host>),
}

/// The event that tells of an end.
fn event_of(reason: CloseReason) -> Event {
    match reason {
        CloseReason::KeepAlive(verdict) | CloseReason::UserTimeout(verdict) => {
            Event::TimedOut(verdict)
        }
        CloseReason::PeerReset { while_probing } => Event::PeerReset { while_probing },
        CloseReason::Closed => Event::Closed,
        CloseReason::LocalAbort => Event::LocalAbort,
        CloseReason::AddressLost => Event::AddressLost,
        _ => panic!("no event for {reason:?}"),
    }
}

impl PeerId {
    pub fn node(self) -> NodeId {
        match self {
            Self::Script(peer) => peer.into(),
            Self::Smoltcp(peer) => peer.into(),
        }
    }
}

pub struct Scenario {
    pub world: World,
    pub setup: Setup,
    /// The host under test.
    pub host: Id<Host>,
    pub peer: PeerId,
    pub link: LinkId,
    /// The sockets of the host under test, and of a peer that is a host too.
    pub handles: Vec<SocketHandle>,
    pub(super) peer_handles: Vec<SocketHandle>,
    /// When the connections were established, by the world's clock: zero of the scenario's.
    pub(super) epoch: Time,
    /// How many entries of the trace have been claimed, and in how many the verdicts have been.
    pub(super) claimed: usize,
    pub(super) claimed_events: usize,
}

// Moving the clock.
impl Scenario {
    /// Lets everything happen that happens before `moment`.
    #[track_caller]
    pub fn until(&mut self, moment: impl Into<Time>) -> &mut Self {
        let end = self.world_time(moment);
        let result = self.world.run_before(end);
        self.allowed(result);
        self
    }

    /// Lets everything happen up to and at `moment`.
    #[track_caller]
    pub fn at(&mut self, moment: impl Into<Time>) -> &mut Self {
        let end = self.world_time(moment);
        let result = self.world.run_until(end);
        self.allowed(result);
        self
    }

    /// Lets everything happen that is to happen at this very moment.
    #[track_caller]
    pub fn now(&mut self) -> &mut Self {
        self.at(self.time())
    }

    /// The scenario's clock.
    pub fn time(&self) -> Time {
        self.moment(self.world.now())
    }

    /// A moment of the world's clock, by the scenario's.
    pub(super) fn moment(&self, instant: Instant) -> Time {
        Time::from(instant) - self.epoch
    }

    fn world_time(&self, moment: impl Into<Time>) -> Instant {
        (self.epoch + moment.into()).instant()
    }

    /// What the world must not refuse.
    #[track_caller]
    fn allowed<T>(&self, result: Result<T, SimError>) -> T {
        match result {
            Ok(value) => value,
            Err(error) => panic!("{error}\n{}", self.story()),
        }
    }

    /// Opens all connections, and makes the moment at which the last one is established zero.
    #[track_caller]
    pub fn open(&mut self) {
        self.start_opening();
        let deadline = (Time::from(self.world.now()) + s(10)).instant();
        while !self.is_open() {
            let result = self.world.step(deadline);
            let goes_on = self.allowed(result);
            assert!(goes_on, "the connection is not opened\n{}", self.story());
        }
        self.epoch = self.world.now().into();
        self.skip();
    }

    fn is_open(&self) -> bool {
        let mut sockets = self.world[self.host].tcp_sockets();
        sockets.all(|(_, socket)| socket.state() == tcp::State::Established)
    }

    /// Begins to open all connections.
    #[track_caller]
    pub fn start_opening(&mut self) {
        for index in 0..self.handles.len() {
            self.start_opening_one(index);
        }
    }

    #[track_caller]
    pub fn start_opening_one(&mut self, index: usize) {
        let number = u16::try_from(index).unwrap();
        match self.setup.opens {
            Opens::Actively => {
                if let PeerId::Smoltcp(_) = self.peer {
                    self.peer_socket(index).listen(PEER_PORT).unwrap();
                }
                let remote = (self.setup.peer_address(), PEER_PORT);
                let handle = self.handles[index];
                connect(self.host(), handle, remote, OUR_FIRST_PORT + number);
            }
            Opens::Passively => {
                self.socket_of(index).listen(OUR_PORT).unwrap();
                let remote = (self.setup.address(), OUR_PORT);
                match self.peer {
                    PeerId::Script(_) => self.peer_connects(self.setup.timestamps),
                    PeerId::Smoltcp(peer) => {
                        let handle = self.peer_handles[index];
                        let port = Peer::FIRST_PORT + number;
                        connect(&mut self.world[peer], handle, remote, port);
                    }
                }
            }
        }
    }
}

fn connect(host: &mut Host, handle: SocketHandle, remote: (IpAddress, u16), local_port: u16) {
    let socket = host.sockets.get_mut::<tcp::Socket>(handle);
    let context = host.iface.context();
    socket.connect(context, remote, local_port).unwrap();
}

// What the application does.
impl Scenario {
    /// The host under test.
    pub fn host(&mut self) -> &mut Host {
        &mut self.world[self.host]
    }

    pub fn application(&mut self) -> &mut Application {
        self.host().app_mut().unwrap()
    }

    pub fn handle(&self) -> SocketHandle {
        self.handles[0]
    }

    pub fn socket(&mut self) -> &mut tcp::Socket<'static> {
        self.socket_of(0)
    }

    pub fn socket_of(&mut self, index: usize) -> &mut tcp::Socket<'static> {
        let handle = self.handles[index];
        self.host().tcp(handle)
    }

    pub fn enable(&mut self, config: Config) {
        self.enable_on(0, config);
    }

    pub fn enable_on(&mut self, index: usize, config: Config) {
        self.try_enable_on(index, config).unwrap();
    }

    pub fn try_enable_on(&mut self, index: usize, config: Config) -> Result<(), EnableError> {
        let handle = self.handles[index];
        self.host().keep_alive.enable(handle, config)
    }

    pub fn disable(&mut self) {
        self.disable_on(0);
    }

    pub fn disable_on(&mut self, index: usize) {
        let handle = self.handles[index];
        self.host().keep_alive.disable(handle);
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
        self.world[self.host].keep_alive.state(self.handles[index])
    }

    pub fn stats(&self) -> Stats {
        let keep_alive = &self.world[self.host].keep_alive;
        keep_alive.stats(self.handle()).unwrap()
    }

    /// How the connection ended, if it did. The last event says the same.
    #[track_caller]
    pub fn close_reason(&self) -> Option<CloseReason> {
        let (host, handle) = (&self.world[self.host], self.handle());
        let reason = host.keep_alive.close_reason(handle);
        if let Some(reason) = reason {
            let of_it = host.events().iter().rfind(|(_, of, _)| *of == handle);
            assert_eq!(of_it.map(|(.., event)| *event), Some(event_of(reason)));
        }
        reason
    }

    /// When the peer was last heard, by the scenario's clock.
    pub fn last_heard(&self) -> Option<Time> {
        let keep_alive = &self.world[self.host].keep_alive;
        let heard = Time::from(keep_alive.last_heard(self.handle())?) + self.setup.smoltcp_epoch;
        Some(heard - self.clock_offset() - self.epoch)
    }

    /// How many turns the host under test has had.
    pub fn turns(&self) -> u64 {
        self.allowed(self.world.turns(self.host))
    }

    /// How many of them in a row were for nothing, at worst.
    pub fn worst_idle_turns(&self) -> u32 {
        self.allowed(self.world.worst_idle_turns(self.host))
    }

    /// The host is not polled until `moment`, when it wakes.
    #[track_caller]
    pub fn sleep_until(&mut self, moment: impl Into<Time>) -> &mut Self {
        let moment = moment.into();
        let result = self
            .world
            .sleep(self.host, (moment - self.time()).duration());
        self.allowed(result);
        self.until(moment)
    }

    /// The host polls no more often than that.
    #[track_caller]
    pub fn slow_down(&mut self, pace: Time) {
        let result = self.world.set_pace(self.host, pace.duration());
        self.allowed(result);
    }

    /// The host gets a turn at once.
    #[track_caller]
    pub fn wake(&mut self) {
        let result = self.world.wake(self.host);
        self.allowed(result);
    }

    /// What the clock of the host under test shows.
    fn clock(&self) -> Instant {
        let clock = self.allowed(self.world.clock(self.host));
        clock.read(self.world.now())
    }

    /// How far it is ahead of the world's.
    fn clock_offset(&self) -> Time {
        Time::from(self.clock()) - Time::from(self.world.now())
    }

    /// The clock of the host under test steps; the world's goes on.
    #[track_caller]
    pub fn step_clock(&mut self, by: Time) {
        let result = if by < Time::ZERO {
            let back = (Time::ZERO - by).duration();
            self.world.clock_step_back(self.host, back)
        } else {
            self.world.clock_jump(self.host, by.duration())
        };
        self.allowed(result);
    }

    /// Lets nothing happen at the host under test until `moment`, and then gives it one turn.
    #[track_caller]
    pub fn one_turn_at(&mut self, moment: impl Into<Time>) -> &mut Self {
        let result = self.world.sleep(self.host, Duration::MAX);
        self.allowed(result);
        self.at(moment);
        self.wake();
        self
    }

    /// The answer of `poll_at`, by the scenario's clock.
    pub fn poll_at(&mut self) -> Option<Time> {
        let now = self.clock();
        let at = self.host().poll_at(now)?;
        Some(Time::from(at) - self.clock_offset() - self.epoch)
    }
}

// What the peer and the link do.
impl Scenario {
    /// The scripted peer. What it is told to send leaves when the clock is next moved, or at once
    /// if it was [told](Self::tell).
    pub fn script(&mut self) -> &mut Peer {
        match self.peer {
            PeerId::Script(peer) => &mut self.world[peer],
            PeerId::Smoltcp(_) => panic!("the peer of this scenario is a smoltcp host"),
        }
    }

    /// Tells the scripted peer something that it does at once.
    #[track_caller]
    pub fn tell<R>(&mut self, what: impl FnOnce(&mut Peer) -> Result<R, SimError>) -> R {
        let result = what(self.script());
        let result = result.and_then(|value| self.world.wake(self.peer.node()).map(|()| value));
        self.allowed(result)
    }

    /// A socket of the peer, which is a smoltcp host.
    pub fn peer_socket(&mut self, index: usize) -> &mut tcp::Socket<'static> {
        match self.peer {
            PeerId::Smoltcp(peer) => self.world[peer].tcp(self.peer_handles[index]),
            PeerId::Script(_) => panic!("the peer of this scenario is scripted"),
        }
    }

    /// The peer's side of the connection.
    pub fn peer(&mut self) -> &mut Account {
        &mut self.script().connections[0]
    }

    /// The peer of every connection answers nothing more, though its neighbour address can
    /// still be had.
    #[track_caller]
    pub fn silence_peer(&mut self) {
        match self.peer {
            PeerId::Script(peer) => {
                for connection in &mut self.world[peer].connections {
                    connection.manner = Manner::Silent;
                }
            }
            PeerId::Smoltcp(peer) => {
                let result = self.world.sleep(peer, Duration::MAX);
                self.allowed(result);
            }
        }
    }

    pub fn peer_does(&mut self, manner: Manner) {
        self.peer().manner = manner;
    }

    /// The peer opens a connection to where the host under test listens.
    #[track_caller]
    pub fn peer_connects(&mut self, wants_timestamps: bool) {
        let address = self.setup.address();
        self.tell(|peer| Ok(peer.connect(address, OUR_PORT, wants_timestamps)));
    }

    /// The segment that the peer would send now, were it to acknowledge.
    pub fn peer_segment(&mut self) -> Segment {
        self.script().next_segment(0).unwrap()
    }

    /// The peer acknowledges what it has.
    #[track_caller]
    pub fn peer_acks(&mut self) {
        self.tell(|peer| peer.acknowledge(0));
    }

    /// The peer says that many octets.
    #[track_caller]
    pub fn peer_says(&mut self, len: usize) {
        self.tell(|peer| peer.say(0, len));
    }

    /// The peer has said all it had to say.
    #[track_caller]
    pub fn peer_closes(&mut self) {
        self.tell(|peer| peer.half_close(0));
    }

    /// A segment that may be anybody's.
    #[track_caller]
    pub fn forge(&mut self, change: impl FnOnce(&mut Segment)) {
        let mut segment = self.peer_segment();
        change(&mut segment);
        self.tell(|peer| {
            peer.forge(&segment);
            Ok(())
        });
    }

    /// Octets that may mean anything.
    #[track_caller]
    pub fn inject(&mut self, frame: Vec<u8>) {
        self.tell(|peer| {
            peer.inject(frame);
            Ok(())
        });
    }

    /// The hardware addresses of a frame of the host under test, on an Ethernet.
    pub fn macs(&mut self) -> Option<Macs> {
        if self.setup.medium != Medium::Ethernet {
            return None;
        }
        let HardwareAddress::Ethernet(src) = self.host().iface.hardware_addr() else {
            return None;
        };
        let dst = self.script().mac();
        Some(Macs { src, dst })
    }

    #[track_caller]
    pub fn cut(&mut self) {
        let result = self.world.partition(self.link);
        self.allowed(result);
    }

    #[track_caller]
    pub fn cut_from_us(&mut self) {
        let result = self.world.partition_oneway(self.link, self.host);
        self.allowed(result);
    }

    #[track_caller]
    pub fn cut_from_peer(&mut self) {
        let result = self.world.partition_oneway(self.link, self.peer.node());
        self.allowed(result);
    }

    #[track_caller]
    pub fn repair(&mut self) {
        let result = self.world.repair(self.link);
        self.allowed(result);
    }

    /// Loses the next frame which `chosen` chooses.
    #[track_caller]
    pub fn drop_next(&mut self, mut chosen: impl FnMut(End, &Kind) -> bool + 'static) {
        let host = NodeId::from(self.host);
        let end = move |node| if node == host { End::Us } else { End::Peer };
        let result = self
            .world
            .lose_next(self.link, move |from, kind| chosen(end(from), kind));
        self.allowed(result);
    }

    #[track_caller]
    pub fn block_device(&mut self) {
        self.set_room(Room::None);
    }

    #[track_caller]
    pub fn block_transmitter(&mut self) {
        self.set_room(Room::NoneToTransmit);
    }

    /// The device has room for so many frames, and then none.
    #[track_caller]
    pub fn leave_room_for(&mut self, frames: u32) {
        self.set_room(Room::Frames(frames));
    }

    /// The device has room again, and its interrupt wakes the loop.
    #[track_caller]
    pub fn unblock_device(&mut self) {
        self.set_room(Room::Plenty);
        self.wake();
    }

    #[track_caller]
    fn set_room(&mut self, room: Room) {
        let result = self.world.set_room(self.host, room);
        self.allowed(result);
    }
}
