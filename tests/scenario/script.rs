//! A peer that does what it is told: it shakes hands by itself, and then answers, keeps silent,
//! answers late, or resets, and can be made to send any segment at all.

use std::cell::RefCell;
use std::rc::Rc;

use super::link::{End, Link};
use super::time::Time;
use super::wire::{self, Kind, Path, Segment};

/// How the peer takes what arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// As the standard says.
    Answers,
    /// Not at all.
    Silent,
    /// As the standard says, after that long.
    Late(Time),
    /// It has restarted and knows nothing of any connection.
    Rebooted,
}

/// The peer's side of one connection.
#[derive(Clone, Debug)]
pub struct Connection {
    pub our_port: u16,
    pub peer_port: u16,
    pub snd_nxt: u32,
    pub rcv_nxt: u32,
    pub window: u16,
    pub mode: Mode,
    /// The timestamp that was received last, if the option is in use.
    pub timestamp: Option<u32>,
    /// The peer's own timestamps, one more for each segment.
    pub clock: u32,
    pub is_synchronised: bool,
    /// Payload received so far.
    pub received: Vec<u8>,
}

pub struct Script {
    link: Rc<RefCell<Link>>,
    pub path: Path,
    /// Whether it answers the question for its address.
    pub is_neighbor: bool,
    pub connections: Vec<Connection>,
    /// Answers that are late.
    late: Vec<(Time, Vec<u8>)>,
    /// The initial sequence number of the next connection.
    pub isn: u32,
    /// The hop limit of its segments.
    pub hop_limit: u8,
}

impl Script {
    /// The port at which it accepts connections.
    pub const PORT: u16 = 7;
    /// Its first port for connections of its own.
    pub const FIRST_PORT: u16 = 50_000;

    pub fn new(link: Rc<RefCell<Link>>, path: Path) -> Self {
        Self {
            link,
            path,
            is_neighbor: true,
            connections: Vec::new(),
            late: Vec::new(),
            isn: 7_000_000,
            hop_limit: 64,
        }
    }

    pub fn wants(&self) -> Option<Time> {
        let arrival = self.link.borrow().next_arrival(End::Peer);
        self.late.iter().map(|(at, _)| *at).chain(arrival).min()
    }

    pub fn turn(&mut self) {
        let (now, medium) = {
            let link = self.link.borrow();
            (link.now, link.medium)
        };
        let due: Vec<_> = self.late.extract_if(.., |(at, _)| *at <= now).collect();
        for (_, frame) in due {
            self.link.borrow_mut().send(End::Peer, frame);
        }
        loop {
            let frame = self.link.borrow_mut().receive(End::Peer);
            let Some(frame) = frame else { break };
            match wire::parse(medium, &frame) {
                Kind::NeighborQuery if self.is_neighbor => {
                    let reply = self.path.arp_reply();
                    self.link.borrow_mut().send(End::Peer, reply);
                }
                Kind::Tcp(segment) => self.handle(&segment, now),
                _ => {}
            }
        }
    }

    /// Opens a connection to a listener of ours.
    pub fn connect(&mut self, our_port: u16, wants_timestamps: bool) -> usize {
        let index = self.connections.len();
        let peer_port = Self::FIRST_PORT + u16::try_from(index).unwrap();
        let connection = Connection {
            our_port,
            peer_port,
            snd_nxt: self.isn,
            rcv_nxt: 0,
            window: 4096,
            mode: Mode::Answers,
            timestamp: wants_timestamps.then_some(0),
            clock: 1000,
            is_synchronised: false,
            received: Vec::new(),
        };
        self.connections.push(connection);
        let mut syn = self.next_segment(index);
        syn.syn = true;
        syn.ack = None;
        self.send(index, &syn);
        index
    }

    /// The next segment of a connection in good order: an acknowledgement.
    pub fn next_segment(&self, index: usize) -> Segment {
        let connection = &self.connections[index];
        Segment {
            src_port: connection.peer_port,
            dst_port: connection.our_port,
            seq: connection.snd_nxt,
            ack: Some(connection.rcv_nxt),
            window: connection.window,
            syn: false,
            fin: false,
            rst: false,
            psh: false,
            payload: Vec::new(),
            timestamps: connection.timestamp.map(|echo| (connection.clock, echo)),
            window_scale: None,
            hop_limit: self.hop_limit,
            checksum_ok: true,
            ip_checksum_ok: true,
        }
    }

    /// Sends a segment that is part of the connection, and keeps account of it.
    pub fn send(&mut self, index: usize, segment: &Segment) {
        let connection = &mut self.connections[index];
        connection.snd_nxt = segment.end();
        connection.clock += 1;
        self.forge(segment);
    }

    /// Sends any segment, and keeps no account of it.
    pub fn forge(&self, segment: &Segment) {
        self.inject(self.path.segment(segment));
    }

    /// Sends any octets.
    pub fn inject(&self, frame: Vec<u8>) {
        self.link.borrow_mut().send(End::Peer, frame);
    }

    fn handle(&mut self, segment: &Segment, now: Time) {
        let found = self.connections.iter().position(|connection| {
            connection.our_port == segment.src_port && connection.peer_port == segment.dst_port
        });
        let is_opening = segment.syn && segment.ack.is_none();
        let index = match found {
            Some(index) if !(is_opening && self.connections[index].mode != Mode::Silent) => index,
            None | Some(_) if is_opening => {
                self.accept(segment, found);
                return;
            }
            Some(_) | None => return,
        };
        let mode = self.connections[index].mode;
        let answer = match mode {
            Mode::Silent => return,
            Mode::Rebooted => reset(segment),
            Mode::Answers | Mode::Late(_) => self.answer(index, segment),
        };
        let Some(mut answer) = answer else { return };
        answer.src_port = segment.dst_port;
        answer.dst_port = segment.src_port;
        if let Mode::Late(delay) = mode {
            self.late.push((now + delay, self.path.segment(&answer)));
        } else {
            self.forge(&answer);
        }
    }

    fn accept(&mut self, syn: &Segment, replaces: Option<usize>) {
        let connection = Connection {
            our_port: syn.src_port,
            peer_port: syn.dst_port,
            snd_nxt: self.isn,
            rcv_nxt: syn.end(),
            window: 4096,
            mode: Mode::Answers,
            timestamp: syn.timestamps.map(|(tsval, _)| tsval),
            clock: 1000,
            is_synchronised: true,
            received: Vec::new(),
        };
        let index = replaces.unwrap_or(self.connections.len());
        if replaces.is_some() {
            self.connections[index] = connection;
        } else {
            self.connections.push(connection);
        }
        let mut answer = self.next_segment(index);
        answer.syn = true;
        self.send(index, &answer);
    }

    /// RFC 9293 3.10.7.4, as far as it matters here.
    fn answer(&mut self, index: usize, segment: &Segment) -> Option<Segment> {
        let connection = &mut self.connections[index];
        if segment.rst {
            return None;
        }
        if let (Some(_), Some((tsval, _))) = (connection.timestamp, segment.timestamps) {
            connection.timestamp = Some(tsval);
        } else if connection.timestamp.is_some() && connection.is_synchronised {
            // RFC 7323 3.2: a segment without the option is dropped.
            return None;
        }
        if segment.syn {
            connection.rcv_nxt = segment.end();
            connection.is_synchronised = true;
            if segment.timestamps.is_none() {
                connection.timestamp = None;
            }
            return Some(self.next_segment(index));
        }
        if segment.seq == connection.rcv_nxt {
            if segment.end() == segment.seq {
                return None;
            }
            if connection.window > 0 || segment.payload.is_empty() {
                connection.rcv_nxt = segment.end();
                connection.received.extend(&segment.payload);
            }
        }
        connection.clock += 1;
        Some(self.next_segment(index))
    }
}

/// RFC 9293 3.10.7.1: the answer of a host that has no such connection.
fn reset(segment: &Segment) -> Option<Segment> {
    if segment.rst {
        return None;
    }
    Some(Segment {
        seq: segment.ack.unwrap_or(0),
        ack: if segment.ack.is_some() {
            None
        } else {
            Some(segment.end())
        },
        window: 0,
        syn: false,
        fin: false,
        rst: true,
        psh: false,
        payload: Vec::new(),
        timestamps: None,
        window_scale: None,
        hop_limit: 64,
        checksum_ok: true,
        ip_checksum_ok: true,
        ..segment.clone()
    })
}
