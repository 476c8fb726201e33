//! What one of two hosts, that with keep-alive, may do otherwise than the other one.

use smoltcp::phy::Medium;
use smoltcp::time::{Duration, Instant};
use tcp_keepalive::Event;
use tcp_keepalive_sim::wire::{self, Kind, Segment};

use super::station::{self, Setup, Station};

/// Takes what both of them send, and fails at what is different, but for probes, answers to strangers
/// (K19) and questions for a neighbour (K17).
pub struct Comparison {
    setup: Setup,
    /// What the connection has shown: SND.NXT, and the last acknowledgement that was sent.
    pub numbers: Option<(u32, u32)>,
    /// What only the host with keep-alive has sent.
    pub extra: Vec<Segment>,
    /// Frames that both have sent.
    pub compared: u64,
    /// The RST of a verdict may be extra too.
    pub allows_reset: bool,
    /// Questions for a neighbour that only it has asked.
    pub queries: u32,
    /// There is a reason for one: an unanswered probe, or an announcement of a neighbour.
    has_query: bool,
    /// Answers to strangers that only it has given, and when it gave the last one.
    pub answers: u32,
    last_answer: Option<Instant>,
    /// A SYN has arrived that belongs to no connection that is being opened.
    has_stranger: bool,
    /// Acknowledgements that it has not sent, because it was asked for its numbers within the second
    /// before that: the answer to that counts among those that smoltcp limits to one a second.
    pub missing: u32,
    last_probe: Option<Instant>,
}

impl Comparison {
    pub fn new(setup: Setup) -> Self {
        Self {
            setup,
            numbers: None,
            extra: Vec::new(),
            compared: 0,
            allows_reset: false,
            queries: 0,
            has_query: false,
            answers: 0,
            last_answer: None,
            has_stranger: false,
            missing: 0,
            last_probe: None,
        }
    }

    /// Both are shown this frame.
    pub fn shown(&mut self, frame: &[u8]) {
        match wire::parse(self.setup.medium, frame) {
            Kind::Tcp(segment) => {
                let ports = (segment.dst_port, segment.src_port);
                let is_stranger = segment.syn && segment.ack.is_none() && !segment.rst;
                self.has_stranger |= is_stranger && ports == self.first_ports();
            }
            _ => self.has_query |= is_of_neighbor(self.setup.medium, frame),
        }
    }

    /// What the two have sent at this time.
    pub fn sent(&mut self, now: Instant, plain: &[Vec<u8>], kept: &[Vec<u8>]) {
        let mut expected = plain.iter().peekable();
        for frame in kept {
            if expected.next_if_eq(&frame).is_some() {
                self.compared += 1;
                self.note(frame);
            } else {
                self.allow(now, frame, expected.peek().copied());
            }
        }
        for frame in expected {
            self.allow_missing(now, frame);
        }
    }

    /// Keep-alive is switched off and on: it does not know any more which strangers it has answered.
    pub const fn switched(&mut self) {
        self.last_answer = None;
    }

    /// What the one with keep-alive is told of its connection.
    pub fn told(&self, now: Instant, kept: &mut Station) {
        while let Some((_, event)) = kept.poll_event() {
            let is_verdict = matches!(event, Event::TimedOut(_));
            assert!(self.allows_reset || !is_verdict, "{event:?} at {now}");
        }
    }

    /// All that can be seen of the two, that with keep-alive last.
    pub fn observed(&self, now: Instant, twins: [&mut Station; 2]) {
        if !self.allows_reset {
            let [plain, kept] = twins.map(|twin| twin.observe(now));
            assert_eq!(plain, kept, "at {now}");
        }
    }

    /// How many probes were seen.
    pub fn probes(&self) -> u32 {
        let probes = self.extra.iter().filter(|segment| !segment.rst);
        u32::try_from(probes.count()).unwrap()
    }

    /// A frame that both have sent tells the numbers.
    fn note(&mut self, frame: &[u8]) {
        if let Kind::Tcp(segment) = wire::parse(self.setup.medium, frame)
            && self.is_first_connection(&segment)
            && let (Some(ack), false) = (segment.ack, segment.rst)
        {
            let end = segment.end();
            let nxt = match self.numbers {
                Some((nxt, _)) if !segment.syn && end.wrapping_sub(nxt) > u32::MAX / 2 => nxt,
                _ => end,
            };
            self.numbers = Some((nxt, ack));
        }
    }

    fn is_first_connection(&self, segment: &Segment) -> bool {
        let ports = (segment.src_port, segment.dst_port);
        ports == self.first_ports() && segment.src_addr == self.setup.address(1)
    }

    /// Our port of the first connection, and the peer's.
    const fn first_ports(&self) -> (u16, u16) {
        if self.setup.passive {
            (station::SERVICE, station::FIRST_PORT)
        } else {
            (station::FIRST_PORT, station::SERVICE)
        }
    }

    /// A frame that only the host without keep-alive has sent.
    fn allow_missing(&mut self, now: Instant, frame: &[u8]) {
        let kind = wire::parse(self.setup.medium, frame);
        let is_soon = |last| now < last + Duration::from_secs(1);
        let is_answer = kind.tcp().is_some_and(|segment| {
            let numbers = segment.ack.map(|ack| (segment.seq, ack));
            self.is_first_connection(segment) && segment.is_pure_ack() && numbers == self.numbers
        });
        let is_limited = is_answer && self.last_probe.is_some_and(is_soon);
        assert!(is_limited, "was not sent at {now}: {kind:?}");
        self.missing += 1;
    }

    /// A frame that only the host with keep-alive has sent: a probe (K12), or what comes with it.
    fn allow(&mut self, now: Instant, frame: &[u8], instead_of: Option<&Vec<u8>>) {
        let kind = wire::parse(self.setup.medium, frame);
        let context = format!("{kind:?} at {now}, not {instead_of:02x?}");
        if kind.is_neighbor_query() {
            assert!(self.has_query, "asked without a reason: {context}");
            self.has_query = false;
            self.queries += 1;
            return;
        }
        let Kind::Tcp(segment) = kind else {
            panic!("sent only with keep-alive: {context}");
        };
        let (nxt, ack) = self.numbers.expect("there was a connection");
        assert!(self.is_first_connection(&segment), "{context}");
        assert!(segment.checksum_ok && segment.ip_checksum_ok, "{context}");
        if self.has_stranger && segment.seq == nxt && !segment.rst {
            assert!(segment.is_pure_ack(), "{context}");
            assert_eq!(segment.ack, Some(ack), "{context}");
            let is_rare = |last| now >= last + Duration::from_secs(1);
            assert!(self.last_answer.is_none_or(is_rare), "{context}");
            self.has_stranger = false;
            self.last_answer = Some(now);
            self.answers += 1;
            return;
        }
        if self.allows_reset && segment.rst {
            assert_eq!(segment.seq, nxt, "{context}");
        } else {
            assert!(segment.is_pure_ack(), "{context}");
            assert_eq!(segment.seq, nxt.wrapping_sub(1), "{context}");
        }
        // What the stack has not acknowledged yet the probe may.
        let ahead = segment.ack.unwrap().wrapping_sub(ack);
        assert!(ahead <= 1 << 16, "{context}");
        self.has_query |= self.setup.medium == Medium::Ethernet && !segment.rst;
        self.last_probe = Some(now);
        self.extra.push(segment);
    }
}

/// ARP, or `ICMPv6`, which neighbour discovery is part of.
fn is_of_neighbor(medium: Medium, frame: &[u8]) -> bool {
    let is_ethernet = medium == Medium::Ethernet;
    is_ethernet
        && (frame.get(12..14) == Some(&[0x08, 0x06])
            || frame.get(12..14) == Some(&[0x86, 0xdd]) && frame.get(20) == Some(&58))
}
