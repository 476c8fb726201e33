//! The engine alone, where rules meet: a next hop that moves beside data and strangers, options that change
//! twice between two polls.

#![expect(
    clippy::arithmetic_side_effects,
    clippy::indexing_slicing,
    clippy::unwrap_used,
    reason = "a test that panics fails"
)]

use std::time::Duration;

use smoltcp::phy::ChecksumCapabilities;
use smoltcp::wire::{IpAddress, IpProtocol, IpRepr, TcpControl, TcpPacket, TcpRepr, TcpSeqNumber};
use tcp_keepalive::link::{Checksums, CloseReason, Id, Link, MAX_FRAME_LEN, Medium, Socket, Tuple};
use tcp_keepalive::{Config, Event, Instant, State};

const OURS: [u8; 6] = [2, 0, 0, 0, 0, 1];
const M1: [u8; 6] = [2, 0, 0, 0, 1, 1];
const M2: [u8; 6] = [2, 0, 0, 0, 2, 2];
const M3: [u8; 6] = [2, 0, 0, 0, 3, 3];
const US: [u8; 4] = [192, 0, 2, 1];
const PEER: [u8; 4] = [192, 0, 2, 2];
fn at(ms: u64) -> Instant {
    Instant::from_millis(ms)
}
fn s(n: u64) -> Duration {
    Duration::from_secs(n)
}
fn ethernet(to: [u8; 6], from: [u8; 6], kind: u16, payload: &[u8]) -> Vec<u8> {
    let mut f = Vec::new();
    f.extend(to);
    f.extend(from);
    f.extend(kind.to_be_bytes());
    f.extend(payload);
    f
}
fn arp(op: u8, to: [u8; 6], from: [u8; 6], sender: [u8; 4], target: [u8; 4]) -> Vec<u8> {
    let mut p = Vec::from([0, 1, 8, 0, 6, 4, 0, op]);
    p.extend(from);
    p.extend(sender);
    p.extend(if op == 1 { [0; 6] } else { to });
    p.extend(target);
    ethernet(to, from, 0x0806, &p)
}
#[expect(clippy::too_many_arguments, reason = "they are the fields of a header")]
fn tcp(
    to: [u8; 6],
    from: [u8; 6],
    src: [u8; 4],
    dst: [u8; 4],
    ports: [u16; 2],
    control: TcpControl,
    seq: i32,
    ack: Option<i32>,
    payload: &[u8],
) -> Vec<u8> {
    let a = |o: [u8; 4]| IpAddress::v4(o[0], o[1], o[2], o[3]);
    let (src, dst) = (a(src), a(dst));
    let tcp = TcpRepr {
        src_port: ports[0],
        dst_port: ports[1],
        control,
        seq_number: TcpSeqNumber(seq),
        ack_number: ack.map(TcpSeqNumber),
        window_len: 1000,
        window_scale: None,
        max_seg_size: None,
        sack_permitted: false,
        sack_ranges: [None; 3],
        timestamp: None,
        payload,
    };
    let caps = ChecksumCapabilities::default();
    let ip = IpRepr::new(src, dst, IpProtocol::Tcp, tcp.buffer_len(), 64);
    let mut packet = vec![0; ip.buffer_len()];
    ip.emit(&mut packet[..], &caps);
    let n = ip.header_len();
    tcp.emit(
        &mut TcpPacket::new_unchecked(&mut packet[n..]),
        &src,
        &dst,
        &caps,
    );
    ethernet(to, from, 0x0800, &packet)
}
struct Lan {
    link: Link<2, 4>,
}
impl Lan {
    fn new() -> Self {
        let mut link = Link::new();
        link.set_capabilities(Medium::Ethernet, Checksums::default());
        Self { link }
    }
    fn tuple(port: u16) -> Tuple<4> {
        Tuple::new((US, port).into(), (PEER, 80).into()).unwrap()
    }
    /// An open connection, quiet, SND.NXT 100, RCV.NXT 500, through M1.
    fn open(&mut self, config: Config, port: u16) -> Id {
        let id = self.link.add(config).unwrap();
        self.link
            .handle_sent(at(1000), &arp(1, [0xff; 6], OURS, US, PEER));
        self.link
            .handle_received(at(1000), &arp(2, OURS, M1, PEER, US));
        self.link
            .follow(at(1000), id, Socket::Open(Self::tuple(port)), 1024, false);
        self.link.handle_sent(
            at(1000),
            &tcp(
                M1,
                OURS,
                US,
                PEER,
                [port, 80],
                TcpControl::None,
                100,
                Some(500),
                b"",
            ),
        );
        self.link.handle_received(
            at(1000),
            &tcp(
                OURS,
                M1,
                PEER,
                US,
                [80, port],
                TcpControl::None,
                500,
                Some(100),
                b"",
            ),
        );
        id
    }
    fn serve(&mut self, ms: u64) -> Vec<Vec<u8>> {
        let mut sent = vec![];
        let mut out = [0; MAX_FRAME_LEN];
        self.link.take_change();
        self.link.handle_timeout(at(ms));
        while self.link.poll_receive(&mut out).is_some() {}
        while let Some(len) = self.link.poll_transmit(at(ms), &mut out) {
            self.link.handle_transmitted(at(ms));
            sent.push(out[..len].to_vec());
        }
        sent
    }
    /// As an adapter: serves, and serves again while there is something to do at once.
    fn poll(&mut self, ms: u64) -> Vec<Vec<u8>> {
        let mut sent = vec![];
        for _ in 0..5 {
            if self.link.poll_timeout().is_none_or(|t| t > at(ms)) {
                break;
            }
            sent.extend(self.serve(ms));
        }
        sent
    }
    fn run_to(&mut self, from: u64, to: u64) -> Vec<(u64, Vec<u8>)> {
        let mut all = vec![];
        let mut t = from;
        while t <= to {
            all.extend(self.poll(t).into_iter().map(|f| (t, f)));
            t += 100;
        }
        all
    }
    fn data(&mut self, ms: u64, to: [u8; 6], port: u16) {
        self.link.handle_sent(
            at(ms),
            &tcp(
                to,
                OURS,
                US,
                PEER,
                [port, 80],
                TcpControl::Psh,
                100,
                Some(500),
                b"hello",
            ),
        );
    }
}
fn show(f: &[u8]) -> String {
    if f[12..14] == [8, 6] {
        return format!("arp for {}", f[41]);
    }
    format!(
        "to {:x} seq {} flags {:x}",
        f[5],
        u32::from_be_bytes(f[38..42].try_into().unwrap()),
        f[47]
    )
}
fn shown(v: &[Vec<u8>]) -> Vec<String> {
    v.iter().map(|f| show(f)).collect()
}
fn config(idle: u64, interval: u64, count: u8) -> Config {
    Config::new(s(idle), s(interval), count).unwrap()
}

/// K19: "at most once a second". A challenge that leaves while the repeat of a probe waits (K17) for data in flight.
#[test]
fn k19_a_challenge_beside_a_moved_hop_leaves_once() {
    let mut t = Lan::new();
    t.open(config(100, 5, 4), 1000);
    t.poll(101_000);
    t.poll(106_000); // 2nd probe and ARP
    t.data(107_000, M1, 1000);
    t.link
        .handle_received(at(107_000), &arp(2, OURS, M2, PEER, US));
    t.poll(107_000);
    t.link.handle_received(
        at(108_000),
        &tcp(
            OURS,
            M2,
            PEER,
            US,
            [80, 1000],
            TcpControl::Syn,
            9000,
            None,
            b"",
        ),
    );
    let sent = t.poll(108_000);
    assert_eq!(sent.len(), 1, "{:?}", shown(&sent));
}

/// K11: the same with a user timeout: the repeat found no room, then data left. Its clock does not start anew.
#[test]
fn k11_a_challenge_does_not_restart_the_user_timeout() {
    for syn in [false, true] {
        let mut t = Lan::new();
        t.open(config(100, 5, 9).with_user_timeout(s(150)).unwrap(), 1000);
        t.poll(101_000);
        t.poll(106_000);
        t.link
            .handle_received(at(107_000), &arp(2, OURS, M2, PEER, US));
        let mut out = [0; MAX_FRAME_LEN];
        t.link.take_change();
        t.link.handle_timeout(at(107_000));
        assert!(t.link.poll_transmit(at(107_000), &mut out).is_some());
        t.link.handle_blocked(at(107_000));
        t.data(107_000, M2, 1000); // the clock of the user timeout: from 107 s
        if syn {
            t.link.handle_received(
                at(200_000),
                &tcp(
                    OURS,
                    M2,
                    PEER,
                    US,
                    [80, 1000],
                    TcpControl::Syn,
                    9000,
                    None,
                    b"",
                ),
            );
            t.poll(200_000);
        }
        let mut given_up = None;
        let mut ms = 200_100;
        while given_up.is_none() && ms < 2_000_000 {
            t.poll(ms);
            while let Some((_, e)) = t.link.poll_event() {
                if let Event::TimedOut(_) = e {
                    given_up = Some(ms);
                }
            }
            ms += 100;
        }
        assert_eq!(given_up, Some(262_000), "syn {syn}");
    }
}

/// K17: an answer "corrects it for all connections through that hop", also one whose repeat waits.
#[test]
fn k17_a_second_move_corrects_the_connection_that_waits() {
    let mut t = Lan::new();
    let id = t.open(config(100, 5, 9), 1000);
    t.poll(101_000);
    t.poll(106_000);
    t.data(107_000, M1, 1000);
    t.link
        .handle_received(at(107_000), &arp(2, OURS, M2, PEER, US)); // moves; the repeat waits for the data
    t.poll(107_000);
    // The hop moves again, and the second connection finds that out.
    let id2 = t.link.add(config(10, 5, 9)).unwrap();
    t.link.follow(
        at(108_000),
        id2,
        Socket::Open(Lan::tuple(1001)),
        1024,
        false,
    );
    t.link.handle_sent(
        at(108_000),
        &tcp(
            M2,
            OURS,
            US,
            PEER,
            [1001, 80],
            TcpControl::None,
            100,
            Some(500),
            b"",
        ),
    );
    t.run_to(108_100, 109_000);
    let mut log = vec![];
    for ms in (109_100..125_000).step_by(100) {
        for f in t.poll(ms) {
            log.push(format!("{ms} {}", show(&f)));
            if f[12..14] == [8, 6] {
                t.link.handle_received(at(ms), &arp(2, OURS, M3, PEER, US));
            }
        }
    }
    // The data is acknowledged by nobody; the app's question: where does connection 1's next probe go?
    // Now the stack says that nothing is queued and nothing outstanding.
    t.link
        .follow(at(125_000), id, Socket::Open(Lan::tuple(1000)), 1024, false);
    for ms in (125_000..225_000).step_by(100) {
        for f in t.poll(ms) {
            if f[12..14] == [8, 0] && f[34..36] == 1000u16.to_be_bytes() {
                log.push(format!("{ms} {}", show(&f)));
            }
        }
    }
    let of1: Vec<_> = log
        .iter()
        .filter(|l| l[..3].parse::<u64>().is_ok() && l[..6].parse::<u64>().unwrap() >= 125_000)
        .collect();
    assert!(of1[0].contains("to 3"), "{of1:?}");
}

/// K8: setting options again and again postpones nothing: the user timeout off and on between two polls.
#[test]
fn k8_the_user_timeout_off_and_on_between_polls() {
    let with = config(10, 2, 3).with_user_timeout(s(20)).unwrap();
    let mut t = Lan::new();
    let id = t.open(with, 1000);
    t.poll(1000);
    t.data(2000, M1, 1000);
    let mut given_up = None;
    for ms in (2000..1_000_000).step_by(1000) {
        t.link.set_config(id, config(10, 2, 3));
        t.link.set_config(id, with);
        t.poll(ms);
        while let Some((_, e)) = t.link.poll_event() {
            if let Event::TimedOut(_) = e {
                given_up.get_or_insert(ms);
            }
        }
    }
    assert!(given_up.is_some_and(|ms| ms <= 30_000), "{given_up:?}");
}

/// K8: what a new configuration makes due at once is asked once more: shorter interval, then fewer attempts.
#[test]
fn k8_a_shorter_interval_then_a_lower_count_between_polls() {
    let mut t = Lan::new();
    let id = t.open(config(100, 10, 9), 1000);
    for ms in [101_000, 111_000, 121_000] {
        assert!(!t.poll(ms).is_empty());
    }
    t.poll(121_500);
    // Eight seconds after the third probe.
    assert!(t.run_to(121_600, 129_000).is_empty());
    t.link.set_config(id, config(100, 5, 9));
    t.link.set_config(id, config(100, 5, 3));
    t.poll(129_000);
    assert_ne!(
        t.link.state(id),
        Some(State::TimedOut),
        "no question under the new configuration"
    );
}

/// K20: "the next hop answered none of our questions": it answered one of the stack's, from a new address, and died.
#[test]
fn k20_a_next_hop_that_answered_the_stack_and_died() {
    for new in [M1, M2] {
        let mut t = Lan::new();
        let id = t.open(config(10, 5, 4), 1000);
        t.poll(11_000); // the first probe
        t.link
            .handle_sent(at(12_000), &arp(1, [0xff; 6], OURS, US, PEER));
        t.link
            .handle_received(at(12_000), &arp(2, OURS, new, PEER, US));
        t.poll(12_000);
        let log = t.run_to(12_100, 60_000); // three questions of ours, and no answer
        let questions = log.iter().filter(|(_, f)| f[12..14] == [8, 6]).count();
        assert_eq!(questions, 3);
        let Some(CloseReason::KeepAlive(v)) = t.link.close_reason(id) else {
            panic!()
        };
        assert_eq!(v.failed_at, tcp_keepalive::FailedAt::NextHop, "to {new:?}");
    }
}
/// K17: a question that leaves while the repeat still waits for room is a question: its answer corrects.
#[test]
fn k17_a_question_beside_a_waiting_repeat_is_one() {
    let mut t = Lan::new();
    t.open(config(10, 5, 9), 1000);
    let mut out = [0; MAX_FRAME_LEN];
    t.poll(11_000);
    // The second probe leaves; the question of ours finds no room.
    t.link.handle_timeout(at(16_000));
    assert!(t.link.poll_transmit(at(16_000), &mut out).is_some());
    t.link.handle_transmitted(at(16_000));
    assert!(t.link.poll_transmit(at(16_000), &mut out).is_some());
    t.link.handle_blocked(at(16_000));
    // The stack's own question is answered from M2.
    t.link
        .handle_sent(at(16_200), &arp(1, [0xff; 6], OURS, US, PEER));
    t.link
        .handle_received(at(16_200), &arp(2, OURS, M2, PEER, US));
    // Now there is room: our question, and the repeat to M2.
    t.serve(16_300);
    // The answer to our question: M3.
    t.link
        .handle_received(at(16_400), &arp(2, OURS, M3, PEER, US));
    let sent = t.poll(16_400);
    assert_eq!(shown(&sent), ["to 3 seq 99 flags 10"]);
}
