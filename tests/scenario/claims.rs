//! What is claimed to have happened.

use smoltcp::socket::tcp;
use tcp_keepalive::smoltcp::CloseReason;
use tcp_keepalive::{Cause, Event, State, Verdict};
use tcp_keepalive_sim::trace::Entry;
use tcp_keepalive_sim::wire::Segment;

use super::acts::{PeerId, Scenario};
use super::record::{End, Sent};
use super::time::Time;

impl Scenario {
    /// Everything sent so far is not looked at.
    pub fn skip(&mut self) -> &mut Self {
        self.claimed = self.world.trace().entries().len();
        self
    }

    /// How much of the world's trace has been claimed, or passed over.
    pub fn claimed(&self) -> usize {
        self.claimed
    }

    /// Claims and returns what the host under test has sent since the last claim.
    pub fn take_sent(&mut self) -> Vec<Sent> {
        let sent = self.unclaimed().map(|(_, sent)| sent).collect();
        self.skip();
        sent
    }

    /// The same, and where each frame stands in the trace.
    fn unclaimed(&self) -> impl Iterator<Item = (usize, Sent)> {
        let entries = self.world.trace().entries().iter().enumerate();
        entries
            .skip(self.claimed)
            .filter_map(|(index, entry)| match entry {
                Entry::Sent(sent) => Some((index, self.sent(sent))),
                Entry::Note(_) => None,
            })
            .filter(|(_, sent)| sent.from == End::Us)
    }

    /// The host under test has sent nothing and given up no peer since the last claim.
    #[track_caller]
    pub fn nothing(&mut self) -> &mut Self {
        let sent = self.take_sent();
        assert!(
            sent.is_empty(),
            "expected no frame until {:?}, found: {sent:#?}\n{}",
            self.time(),
            self.story()
        );
        let verdict = self.unclaimed_verdict();
        assert!(
            verdict.is_none(),
            "expected no verdict until {:?}, found: {verdict:?}\n{}",
            self.time(),
            self.story()
        );
        self
    }

    /// The host under test sent nothing since the last claim.
    #[track_caller]
    pub fn nothing_sent(&mut self) -> &mut Self {
        let sent = self.take_sent();
        assert!(sent.is_empty(), "sent: {sent:#?}\n{}", self.story());
        self
    }

    /// So many connections have been given up by now.
    #[track_caller]
    pub fn given_up_on_all(&mut self, count: usize) -> &mut Self {
        let events = self.events();
        let verdicts = events
            .iter()
            .filter(|(_, event)| matches!(event, Event::TimedOut(_)));
        assert_eq!(verdicts.count(), count, "{}", self.story());
        self
    }

    /// The next frame that the host under test sent, at this very moment. Claims it.
    #[track_caller]
    pub fn frame(&mut self) -> Sent {
        let now = self.time();
        let Some((index, sent)) = self.unclaimed().next() else {
            panic!("nothing was sent at {now:?}\n{}", self.story());
        };
        assert_eq!(
            sent.at,
            now,
            "something was sent at another time: {sent:?}\n{}",
            self.story()
        );
        self.claimed = index + 1;
        sent
    }

    /// The next frame is a TCP segment, sent now.
    #[track_caller]
    pub fn segment(&mut self) -> Segment {
        let sent = self.frame();
        match sent.tcp() {
            Some(segment) => segment.clone(),
            None => panic!("not a segment: {sent:?}\n{}", self.story()),
        }
    }

    /// A probe leaves now, and it is the `number`-th since the peer was heard.
    #[track_caller]
    pub fn probe(&mut self, number: u8) -> &mut Self {
        self.probe_on(0, number)
    }

    /// The same for one of several connections.
    #[track_caller]
    pub fn probe_on(&mut self, index: usize, number: u8) -> &mut Self {
        let before = self.claimed;
        let segment = self.segment();
        self.assert_is_probe(index, &segment, before);
        assert_eq!(
            self.state_of(index),
            Some(State::Probing { unanswered: number }),
            "at {:?}\n{}",
            self.time(),
            self.story()
        );
        self
    }

    /// K12, against the peer's own account of the connection.
    #[track_caller]
    fn assert_is_probe(&mut self, index: usize, segment: &Segment, before: usize) {
        let socket = self.socket_of(index);
        let endpoints = socket.local_endpoint().zip(socket.remote_endpoint());
        let ports = endpoints.map(|(local, remote)| (local.port, remote.port));
        let found = (segment.src_port, segment.dst_port);
        assert_eq!(
            ports,
            Some(found),
            "of another connection\n{}",
            self.story()
        );
        let (snd_nxt, rcv_nxt) = self.numbers(found, before);
        let has_flags = segment.syn || segment.fin || segment.rst || segment.psh;
        let setup = &self.setup;
        let wrong = if has_flags {
            "it has flags other than ACK"
        } else if segment.seq != snd_nxt.wrapping_sub(1) {
            "its SEQ is not SND.NXT - 1"
        } else if segment.ack != Some(rcv_nxt) {
            "its ACK is not RCV.NXT"
        } else if segment.payload.len() > 1 {
            "it carries too much"
        } else if segment.timestamps.is_some() != setup.timestamps {
            "the timestamp option is missing, or there without having been negotiated"
        } else if segment.hop_limit != setup.hop_limit.unwrap_or(64) {
            "its hop limit is not the socket's"
        } else if !segment.checksum_ok && setup.checksums.tcp.tx() {
            "its TCP checksum is wrong"
        } else if !segment.ip_checksum_ok && setup.checksums.ipv4.tx() {
            "its IPv4 checksum is wrong"
        } else {
            return;
        };
        panic!(
            "a bad probe, {wrong} (SND.NXT {snd_nxt}, RCV.NXT {rcv_nxt}): {segment:?}\n{}",
            self.story()
        );
    }

    /// SND.NXT and RCV.NXT of the connection with those ports of ours and the peer's, from what
    /// others know of them: the first `before` entries of the trace, and the peer's own account.
    pub fn numbers(&self, ports: (u16, u16), before: usize) -> (u32, u32) {
        let (our_port, peer_port) = ports;
        let entries = &self.world.trace().entries()[..before];
        let segments = entries.iter().filter_map(|entry| {
            let Entry::Sent(sent) = entry else {
                return None;
            };
            let (from, segment) = (self.end(sent.from), sent.kind.tcp()?);
            let is_ours =
                from == End::Us && (segment.src_port, segment.dst_port) == (our_port, peer_port);
            let is_theirs =
                from == End::Peer && (segment.dst_port, segment.src_port) == (our_port, peer_port);
            (is_ours || is_theirs).then_some((from, segment))
        });
        let (mut snd_nxt, mut rcv_nxt) = (None, None);
        for (from, segment) in segments.filter(|(_, segment)| !segment.rst) {
            let furthest = match from {
                End::Us => &mut snd_nxt,
                End::Peer => &mut rcv_nxt,
            };
            // A SYN begins a connection; what was before it belongs to an older one.
            let is_further =
                |end: u32| segment.end().wrapping_sub(end).cast_signed() > 0 || segment.syn;
            if furthest.is_none_or(is_further) {
                *furthest = Some(segment.end());
            }
        }
        let rcv_nxt = match self.peer {
            PeerId::Script(peer) => {
                let mut connections = self.world[peer].connections.iter().rev();
                let account = connections
                    .find(|account| (account.port, account.local_port) == ports)
                    .map(|account| account.snd_nxt);
                account.unwrap()
            }
            PeerId::Smoltcp(_) => rcv_nxt.unwrap(),
        };
        (snd_nxt.unwrap(), rcv_nxt)
    }

    /// The question of the user timeout leaves now, with so many octets outstanding: its SEQ is
    /// SND.UNA - 1 (K11).
    #[track_caller]
    pub fn question(&mut self, outstanding: u32) -> &mut Self {
        let before = self.claimed;
        let segment = self.segment();
        let (snd_nxt, rcv_nxt) = self.numbers((segment.src_port, segment.dst_port), before);
        let right = (snd_nxt.wrapping_sub(outstanding + 1), Some(rcv_nxt));
        let is_question = segment.is_pure_ack() && (segment.seq, segment.ack) == right;
        assert!(is_question, "not a question: {segment:?}\n{}", self.story());
        self
    }

    /// A keep-alive of smoltcp's own leaves now: one octet below SND.NXT.
    #[track_caller]
    pub fn smoltcp_probe(&mut self) -> &mut Self {
        let before = self.claimed;
        let segment = self.segment();
        let (snd_nxt, _) = self.numbers((segment.src_port, segment.dst_port), before);
        let is_keep_alive = segment.seq == snd_nxt.wrapping_sub(1) && segment.payload == [0];
        assert!(
            is_keep_alive,
            "not smoltcp's keep-alive: {segment:?}\n{}",
            self.story()
        );
        self
    }

    /// Data of that length leaves now.
    #[track_caller]
    pub fn data(&mut self, len: usize) -> &mut Self {
        let segment = self.segment();
        let is_data = segment.payload.len() == len && !segment.rst && !segment.syn;
        assert!(is_data, "not {len} octets: {segment:?}\n{}", self.story());
        self
    }

    /// A bare acknowledgement leaves now, which is not a probe.
    #[track_caller]
    pub fn ack(&mut self) -> &mut Self {
        let before = self.claimed;
        let segment = self.segment();
        let (snd_nxt, _) = self.numbers((segment.src_port, segment.dst_port), before);
        let is_ack = segment.is_pure_ack() && segment.seq == snd_nxt;
        assert!(
            is_ack,
            "not an acknowledgement: {segment:?}\n{}",
            self.story()
        );
        self
    }

    #[track_caller]
    pub fn fin(&mut self) -> &mut Self {
        let segment = self.segment();
        assert!(segment.fin, "not a FIN: {segment:?}\n{}", self.story());
        self
    }

    #[track_caller]
    pub fn syn(&mut self) -> &mut Self {
        let segment = self.segment();
        assert!(segment.syn, "not a SYN: {segment:?}\n{}", self.story());
        self
    }

    /// A RST leaves now, which the peer will believe: its SEQ is SND.NXT (RFC 5961 3.2).
    #[track_caller]
    pub fn rst(&mut self) -> &mut Self {
        let before = self.claimed;
        let segment = self.segment();
        let ports = (segment.src_port, segment.dst_port);
        let (snd_nxt, rcv_nxt) = self.numbers(ports, before);
        let numbers = (segment.seq, segment.ack);
        let is_rst = segment.rst && numbers == (snd_nxt, Some(rcv_nxt));
        assert!(
            is_rst,
            "not a RST at SND.NXT {snd_nxt} and RCV.NXT {rcv_nxt}: {segment:?}\n{}",
            self.story()
        );
        self
    }

    /// The host asks for its neighbour's address now.
    #[track_caller]
    pub fn neighbor_query(&mut self) -> &mut Self {
        let sent = self.frame();
        let is_query = sent.kind.is_neighbor_query();
        assert!(is_query, "not a question: {sent:?}\n{}", self.story());
        self
    }

    fn unclaimed_verdict(&self) -> Option<(Time, Verdict)> {
        let entries = &self.world.trace().entries()[self.claimed_events..];
        self.events_in(entries).find_map(|(at, event)| match event {
            Event::TimedOut(verdict) => Some((at, verdict)),
            _ => None,
        })
    }

    /// The peer is given up now for having left the probes unanswered, and a RST says so.
    #[track_caller]
    pub fn timed_out(&mut self) -> Verdict {
        self.rst();
        self.given_up(Cause::KeepAlive)
    }

    /// The peer is given up now for having left something unacknowledged, and a RST says so.
    #[track_caller]
    pub fn timed_out_by_user_timeout(&mut self) -> Verdict {
        self.rst();
        self.given_up(Cause::UserTimeout)
    }

    /// The peer is given up now, whatever could be sent.
    #[track_caller]
    pub fn given_up(&mut self, cause: Cause) -> Verdict {
        let Some((at, verdict)) = self.unclaimed_verdict() else {
            panic!(
                "expected a verdict at {:?}, found none\n{}",
                self.time(),
                self.story()
            );
        };
        self.claimed_events = self.world.trace().entries().len();
        assert_eq!(
            at,
            self.time(),
            "given up at another time\n{}",
            self.story()
        );
        assert_eq!(verdict.cause, cause, "{}", self.story());
        assert_eq!(self.state(), Some(State::TimedOut));
        let reason = match cause {
            Cause::UserTimeout => CloseReason::UserTimeout(verdict),
            _ => CloseReason::KeepAlive(verdict),
        };
        assert_eq!(self.close_reason(), Some(reason));
        assert_eq!(self.socket().state(), tcp::State::Closed);
        verdict
    }

    /// The connection is open, and its peer is not suspected.
    #[track_caller]
    pub fn alive(&mut self) -> &mut Self {
        let verdict = self.unclaimed_verdict();
        let states = (self.socket().state(), self.state());
        assert!(
            verdict.is_none() && states == (tcp::State::Established, Some(State::Armed)),
            "not alive, but {states:?}, {verdict:?}\n{}",
            self.story()
        );
        self
    }

    /// The state of the socket, whatever the keep-alive says.
    #[track_caller]
    pub fn is(&mut self, state: tcp::State) -> &mut Self {
        let found = self.socket().state();
        assert_eq!(found, state, "at {:?}\n{}", self.time(), self.story());
        self
    }
}
