//! A scripted peer.

use core::time::Duration;

use ::smoltcp::phy::Medium;
use ::smoltcp::wire::{EthernetAddress, IpAddress, IpEndpoint};

use super::host::mac_for;
use super::node::{Node, Turn};
use super::wire::{self, Kind, Macs, Query, Segment};
use super::{Numbers, Port, SimError};
use crate::Instant;

/// How the peer takes what arrives.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Manner {
    /// As the standard says.
    #[default]
    Answers,
    /// Not at all, though the question for its hardware address is answered.
    Silent,
    /// As the standard says, after so long, with the numbers of when the answer leaves.
    Late(Duration),
    /// As the standard says, so many times; then not at all.
    AnswersNext(u32),
    /// With RST: it has restarted and knows nothing of any connection (RFC 9293 3.10.7.1).
    Resets,
}

/// A peer that does what it is told: it shakes hands by itself, and then answers, keeps silent,
/// answers late, or resets, and can be made to send any segment at all. It retransmits nothing, and
/// minds no window but its own.
///
/// What it is told to send leaves when the world next runs, at the moment at which it was told, or,
/// if it has no link yet, when it has one. What its device has no room for is lost.
#[derive(Debug)]
pub struct Peer {
    medium: Medium,
    address: IpAddress,
    mac: EthernetAddress,
    /// Whether it answers the question for its hardware address.
    pub is_neighbor: bool,
    /// Whether it drops a segment with a wrong checksum. It has to take them where the other end
    /// leaves checksums to its device, since no device computes any here.
    pub verifies_checksums: bool,
    /// How it takes what arrives for connections to come.
    pub manner: Manner,
    /// The initial sequence number of the next connection.
    pub initial_seq: u32,
    /// The hop limit of its segments.
    pub hop_limit: u8,
    /// Its connections, in the order in which they were opened.
    pub connections: Vec<Account>,
    /// Hardware addresses that have asked for its own, or sent something.
    neighbors: Vec<(IpAddress, EthernetAddress)>,
    leaving: Vec<Vec<u8>>,
    /// Answers that are late.
    late: Vec<Answer>,
    is_linked: bool,
}

/// An answer that leaves then.
#[derive(Clone, Debug)]
struct Answer {
    at: Instant,
    segment: Segment,
    /// The connection, if it is about one.
    connection: Option<usize>,
}

/// The peer's side of one connection.
#[derive(Clone, Debug)]
pub struct Account {
    /// The other end's address.
    pub address: IpAddress,
    /// The other end's port.
    pub port: u16,
    /// The peer's own port.
    pub local_port: u16,
    /// The sequence number after all that it has sent.
    pub snd_nxt: u32,
    /// The sequence number that it expects.
    pub rcv_nxt: u32,
    /// The window that it offers.
    pub window: u16,
    /// How it takes what arrives.
    pub manner: Manner,
    /// The timestamp that was received last, if the option is in use.
    pub timestamp: Option<u32>,
    /// The peer's own timestamps, one more for each segment.
    pub clock: u32,
    /// It has seen the other end's SYN.
    pub is_synchronised: bool,
    /// The other end has reset it: the peer knows nothing of it any more.
    pub is_over: bool,
    /// What it has received.
    pub received: Vec<u8>,
}

/// Building, and opening connections.
impl Peer {
    /// The most octets that it says at once: the segment size that it offers itself.
    pub const LONGEST: usize = 1400;
    /// Its first port for connections of its own.
    pub const FIRST_PORT: u16 = 50_000;
    /// The window that it offers at first.
    const WINDOW: u16 = 4096;

    /// Makes a peer on an Ethernet. It accepts connections at any port.
    #[must_use]
    pub fn ethernet(address: IpAddress) -> Self {
        Self::new(Medium::Ethernet, address)
    }

    /// Makes a peer on a link that carries bare IP packets.
    #[must_use]
    pub fn ip(address: IpAddress) -> Self {
        Self::new(Medium::Ip, address)
    }

    fn new(medium: Medium, address: IpAddress) -> Self {
        Self {
            medium,
            address,
            mac: mac_for(address),
            is_neighbor: true,
            verifies_checksums: true,
            manner: Manner::Answers,
            initial_seq: 7_000_000,
            hop_limit: 64,
            connections: Vec::new(),
            neighbors: Vec::new(),
            leaving: Vec::new(),
            late: Vec::new(),
            is_linked: false,
        }
    }

    /// Returns its hardware address.
    #[must_use]
    pub const fn mac(&self) -> EthernetAddress {
        self.mac
    }

    /// Shows it the hardware address of a neighbour, which it learns otherwise from what that
    /// sends. It sends no question.
    pub fn meet(&mut self, address: IpAddress, mac: EthernetAddress) {
        self.neighbors.retain(|(of, _)| *of != address);
        self.neighbors.push((address, mac));
    }

    /// Opens a connection to `port` of `address`, and tells which of its connections it is.
    pub fn connect(&mut self, address: IpAddress, port: u16, wants_timestamps: bool) -> usize {
        let index = self.connections.len();
        let offset = u16::try_from(index).unwrap_or(u16::MAX);
        self.connections.push(Account {
            address,
            port,
            local_port: Self::FIRST_PORT.saturating_add(offset),
            snd_nxt: self.initial_seq,
            rcv_nxt: 0,
            window: Self::WINDOW,
            manner: self.manner,
            timestamp: wants_timestamps.then_some(0),
            clock: 1000,
            is_synchronised: false,
            is_over: false,
            received: Vec::new(),
        });
        if let Ok(mut syn) = self.next_segment(index) {
            syn.syn = true;
            syn.ack = None;
            let _ = self.send(index, &syn);
        }
        index
    }
}

/// Being told what to do.
impl Peer {
    /// Sets the manner in which all connections, and those to come, are taken.
    pub fn behave(&mut self, manner: Manner) {
        self.manner = manner;
        for connection in &mut self.connections {
            connection.manner = manner;
        }
    }

    /// Sends that many octets, up to [`LONGEST`](Self::LONGEST).
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchConnection`], [`SimError::TooLong`].
    pub fn say(&mut self, index: usize, len: usize) -> Result<(), SimError> {
        if len > Self::LONGEST {
            let longest = Self::LONGEST;
            return Err(SimError::TooLong { len, longest });
        }
        let mut segment = self.next_segment(index)?;
        segment.payload = vec![b'p'; len];
        segment.psh = true;
        self.send(index, &segment)
    }

    /// Acknowledges what it has.
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchConnection`].
    pub fn acknowledge(&mut self, index: usize) -> Result<(), SimError> {
        let segment = self.next_segment(index)?;
        self.send(index, &segment)
    }

    /// Closes its half: sends FIN, and goes on receiving.
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchConnection`].
    pub fn half_close(&mut self, index: usize) -> Result<(), SimError> {
        let mut segment = self.next_segment(index)?;
        segment.fin = true;
        self.send(index, &segment)
    }

    /// Offers that window from now on, and says so. A window of zero takes no data.
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchConnection`].
    pub fn offer_window(&mut self, index: usize, window: u16) -> Result<(), SimError> {
        self.account_mut(index)?.window = window;
        self.acknowledge(index)
    }

    /// Sends an acknowledgement that a blind attacker may have made: the right addresses and
    /// ports, and sequence numbers that are `off` by so much.
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchConnection`].
    pub fn send_blind(&mut self, index: usize, off: u32) -> Result<(), SimError> {
        let mut segment = self.next_segment(index)?;
        segment.seq = segment.seq.wrapping_add(off);
        segment.ack = segment.ack.map(|ack| ack.wrapping_add(off));
        self.forge(&segment);
        Ok(())
    }

    /// Sends an acknowledgement from long ago: all its numbers `age` below those of now.
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchConnection`].
    pub fn send_stale(&mut self, index: usize, age: u32) -> Result<(), SimError> {
        self.send_blind(index, age.wrapping_neg())
    }

    /// Returns the next segment of a connection in good order: an acknowledgement.
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchConnection`].
    pub fn next_segment(&self, index: usize) -> Result<Segment, SimError> {
        let connection = self.connections.get(index);
        let connection = connection.ok_or(SimError::NoSuchConnection)?;
        Ok(Segment {
            src_addr: self.address,
            dst_addr: connection.address,
            src_port: connection.local_port,
            dst_port: connection.port,
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
        })
    }

    /// Sends a segment that is part of the connection, and keeps account of it.
    ///
    /// # Errors
    ///
    /// [`SimError::NoSuchConnection`].
    pub fn send(&mut self, index: usize, segment: &Segment) -> Result<(), SimError> {
        let connection = self.account_mut(index)?;
        connection.snd_nxt = segment.end();
        connection.clock = connection.clock.wrapping_add(1);
        self.forge(segment);
        Ok(())
    }

    /// Sends any segment, and keeps no account of it.
    pub fn forge(&mut self, segment: &Segment) {
        let frame = self.frame(segment);
        self.inject(frame);
    }

    /// Sends any octets.
    pub fn inject(&mut self, frame: Vec<u8>) {
        self.leaving.push(frame);
    }

    /// Returns the frame that carries `segment` from here.
    #[must_use]
    pub fn frame(&self, segment: &Segment) -> Vec<u8> {
        let macs = (self.medium == Medium::Ethernet).then(|| {
            let mut known = self.neighbors.iter();
            let known = known.find(|(address, _)| *address == segment.dst_addr);
            Macs {
                src: self.mac,
                // Without a neighbour that is known, the address such a host would have here.
                dst: known.map_or_else(|| mac_for(segment.dst_addr), |(_, mac)| *mac),
            }
        });
        segment.emit(macs)
    }

    fn account(&self, index: usize) -> Option<&Account> {
        self.connections.get(index)
    }

    fn account_mut(&mut self, index: usize) -> Result<&mut Account, SimError> {
        let account = self.connections.get_mut(index);
        account.ok_or(SimError::NoSuchConnection)
    }
}

/// Taking what arrives.
impl Peer {
    const fn believes(&self, segment: &Segment) -> bool {
        !self.verifies_checksums || segment.checksum_ok && segment.ip_checksum_ok
    }

    fn answer_query(&mut self, query: &Query) {
        if query.target != self.address {
            return;
        }
        self.meet(query.asker, query.asker_mac);
        if self.is_neighbor {
            let macs = Macs {
                src: self.mac,
                dst: query.asker_mac,
            };
            self.inject(wire::neighbor_reply(self.address, query.asker, macs));
        }
    }

    fn handle(&mut self, segment: &Segment, now: Instant) {
        if segment.dst_addr != self.address {
            return;
        }
        let place = self.connections.iter().position(|connection| {
            (connection.address, connection.port, connection.local_port)
                == (segment.src_addr, segment.src_port, segment.dst_port)
        });
        let found = place.filter(|index| self.account(*index).is_some_and(|it| !it.is_over));
        let manner = found
            .and_then(|index| self.account(index))
            .map_or(self.manner, |connection| connection.manner);
        let is_opening = segment.syn && segment.ack.is_none();
        let (answer, connection) = match (manner, found) {
            (Manner::Silent | Manner::AnswersNext(0), _) => return,
            (Manner::Resets, _) => (segment.refusal(), None),
            _ if is_opening => {
                let index = place.unwrap_or(self.connections.len());
                (self.accept(segment, index), Some(index))
            }
            (_, Some(index)) => (self.answer(index, segment), found),
            (_, None) => (segment.refusal(), None),
        };
        let Some(answer) = answer else { return };
        if let (Manner::AnswersNext(left), Some(index)) = (manner, connection)
            && let Ok(account) = self.account_mut(index)
        {
            account.manner = Manner::AnswersNext(left.saturating_sub(1));
        }
        if let Manner::Late(delay) = manner {
            self.late.push(Answer {
                at: now.saturating_add(delay),
                segment: answer,
                connection,
            });
        } else {
            self.forge(&answer);
        }
    }

    /// Sends what was late and is due.
    fn answer_late(&mut self, now: Instant) {
        while let Some(due) = self.late.iter().position(|answer| answer.at <= now) {
            let Answer {
                at: _,
                segment,
                connection,
            } = self.late.remove(due);
            let is_numbered = !segment.syn && !segment.rst;
            match connection.filter(|_| is_numbered) {
                None => self.forge(&segment),
                Some(index) => {
                    let is_over = self.account(index).is_none_or(|account| account.is_over);
                    if let (Ok(segment), false) = (self.next_segment(index), is_over) {
                        self.forge(&segment);
                    }
                }
            }
        }
    }

    /// Accepts a connection, and answers.
    fn accept(&mut self, syn: &Segment, index: usize) -> Option<Segment> {
        let connection = Account {
            address: syn.src_addr,
            port: syn.src_port,
            local_port: syn.dst_port,
            snd_nxt: self.initial_seq,
            rcv_nxt: syn.end(),
            window: Self::WINDOW,
            manner: self.manner,
            timestamp: syn.timestamps.map(|(tsval, _)| tsval),
            clock: 1000,
            is_synchronised: true,
            is_over: false,
            received: Vec::new(),
        };
        // Data that was queued for the connection before is not for this one.
        self.late.retain(|answer| answer.connection != Some(index));
        match self.connections.get_mut(index) {
            Some(place) => *place = connection,
            None => self.connections.push(connection),
        }
        let mut answer = self.next_segment(index).ok()?;
        answer.syn = true;
        let account = self.account_mut(index).ok()?;
        account.snd_nxt = answer.end();
        account.clock = account.clock.wrapping_add(1);
        Some(answer)
    }

    /// RFC 9293 3.10.7.4, as far as it matters here.
    fn answer(&mut self, index: usize, segment: &Segment) -> Option<Segment> {
        let connection = self.connections.get_mut(index)?;
        if segment.rst {
            // RFC 9293 3.10.7.3, and 3.10.7.4 with the check of RFC 5961 3.2: another number in
            // the window is answered, and takes no effect.
            let ahead = segment.seq.wrapping_sub(connection.rcv_nxt);
            let is_meant = if connection.is_synchronised {
                ahead == 0
            } else {
                segment.ack == Some(connection.snd_nxt)
            };
            connection.is_over = is_meant;
            let is_doubtful =
                connection.is_synchronised && !is_meant && ahead < connection.window.into();
            return is_doubtful.then(|| self.next_segment(index).ok()).flatten();
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
            return self.next_segment(index).ok();
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
        connection.clock = connection.clock.wrapping_add(1);
        self.next_segment(index).ok()
    }
}

impl Node for Peer {
    fn new_port(&mut self, index: usize) -> Option<Port> {
        (index == 0).then(|| {
            self.is_linked = true;
            Port::new(self.medium)
        })
    }

    fn power_on(&mut self, _: &mut Turn<'_>) {
        self.neighbors.clear();
        self.connections.clear();
        self.leaving.clear();
        self.late.clear();
    }

    fn poll(&mut self, turn: &mut Turn<'_>) {
        let Some(port) = turn.ports.first_mut() else {
            return;
        };
        let now = turn.now;
        // What it was told comes before its answers.
        self.answer_late(now);
        while let Some(frame) = port.receive_frame() {
            match wire::parse(self.medium, &frame.bytes) {
                Kind::NeighborQuery(query) => self.answer_query(&query),
                Kind::Tcp(segment) if self.believes(&segment) => self.handle(&segment, now),
                _ => {}
            }
        }
        for frame in self.leaving.drain(..) {
            port.send_or_lose(frame);
        }
    }

    fn numbers(&self, local: IpEndpoint, remote: IpEndpoint) -> Option<Numbers> {
        let mut accounts = self.connections.iter();
        let account = accounts.find(|account| {
            let its_own = IpEndpoint::new(self.address, account.local_port);
            let others = IpEndpoint::new(account.address, account.port);
            (its_own, others) == (local, remote) && !account.is_over
        })?;
        Some(Numbers {
            snd_nxt: account.snd_nxt,
            rcv_nxt: account.rcv_nxt,
        })
    }

    fn poll_at(&mut self, now: Instant) -> Option<Instant> {
        if !self.is_linked {
            return None;
        }
        let told = (!self.leaving.is_empty()).then_some(now);
        let late = self.late.iter().map(|answer| answer.at).min();
        told.into_iter().chain(late).min()
    }
}
