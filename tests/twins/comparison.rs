//! What one of two hosts, that with keep-alive, may do otherwise than the other one.

use smoltcp::time::Instant;
use tcp_keepalive::Event;
use tcp_keepalive::sim::wire::{self, Kind, Segment};

use super::station::{self, Setup, Station};

/// Takes what both of them send, and fails at what is different, but for probes.
pub struct Comparison {
    setup: Setup,
    /// What the connection has shown: SND.NXT, and the last acknowledgement that was sent.
    pub numbers: Option<(u32, u32)>,
    /// What only the host with keep-alive has sent.
    pub extra: Vec<Segment>,
    /// Frames that both have sent.
    pub compared: u64,
    /// What may be extra besides probes.
    pub allows_query: bool,
    pub allows_reset: bool,
    pub queries: u32,
}

impl Comparison {
    pub fn new(setup: Setup) -> Self {
        Self {
            setup,
            numbers: None,
            extra: Vec::new(),
            compared: 0,
            allows_query: false,
            allows_reset: false,
            queries: 0,
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
        assert_eq!(expected.next(), None, "was not sent at {now}");
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
        let ours = if self.setup.passive {
            (station::SERVICE, station::FIRST_PORT)
        } else {
            (station::FIRST_PORT, station::SERVICE)
        };
        ports == ours && segment.src_addr == self.setup.address(1)
    }

    /// A frame that only the host with keep-alive has sent: a probe, and nothing else (K12).
    fn allow(&mut self, now: Instant, frame: &[u8], instead_of: Option<&Vec<u8>>) {
        let kind = wire::parse(self.setup.medium, frame);
        if self.allows_query && kind.is_neighbor_query() {
            self.queries += 1;
            return;
        }
        let context = format!("{kind:?} at {now}, not {instead_of:02x?}");
        let Kind::Tcp(segment) = kind else {
            panic!("sent only with keep-alive: {context}");
        };
        let (nxt, ack) = self.numbers.expect("there was a connection");
        assert!(self.is_first_connection(&segment), "{context}");
        assert!(segment.checksum_ok && segment.ip_checksum_ok, "{context}");
        if self.allows_reset && segment.rst {
            assert_eq!(segment.seq, nxt, "{context}");
        } else {
            assert!(segment.is_pure_ack(), "{context}");
            assert_eq!(segment.seq, nxt.wrapping_sub(1), "{context}");
        }
        // What the stack has not acknowledged yet the probe may.
        let ahead = segment.ack.unwrap().wrapping_sub(ack);
        assert!(ahead <= 1 << 16, "{context}");
        self.extra.push(segment);
    }
}
