//! Each invariant is seen to be broken, and the nearest case in which it holds is let pass.
//!
//! The connection and its keep-alive are real, and honest. What breaks an invariant is a lie about
//! what one poll has received, sent and reported, and when.

use core::time::Duration;

use ::smoltcp::wire::{IpAddress, IpCidr};

use super::super::trace::FrameId;
use super::super::{Frame, Port, Room};
use super::*;
use crate::{Config, ProbePayload, Verdict};

const HOST: IpAddress = IpAddress::v4(192, 0, 2, 1);
const PEER: IpAddress = IpAddress::v4(192, 0, 2, 2);
const HOST_PORT: u16 = 49_152;
const PEER_PORT: u16 = 7;
const PEER_SEQ: u32 = 7_000_000;

const fn s(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

const fn just_before(after: Duration) -> Duration {
    after.saturating_sub(Duration::from_micros(1))
}

/// So long after the peer was first heard.
const fn at(after: Duration) -> Instant {
    Instant::from_millis(100_000).saturating_add(after)
}

/// Idle 10 s, interval 2 s, three probes.
fn config() -> Config {
    Config::new(s(10), s(2), 3).unwrap()
}

type Change = fn(&mut Segment);

/// One connection, and a watch that has seen all of it.
struct Stage {
    host: Host,
    port: Port,
    checksums: ChecksumCapabilities,
    watch: Watch,
    handle: SocketHandle,
    /// The peer's SND.NXT and RCV.NXT.
    seq: u32,
    ack: u32,
}

/// What is said of one poll.
#[derive(Clone)]
struct Said {
    now: Instant,
    received: Vec<Vec<u8>>,
    sent: Vec<Vec<u8>>,
    events: Vec<(SocketHandle, Event)>,
}

impl Said {
    /// The same at another time.
    fn now(self, now: Instant) -> Self {
        Self { now, ..self }
    }

    /// The same with another verdict.
    fn verdict(mut self, change: impl Fn(&mut Verdict)) -> Self {
        for (_, event) in &mut self.events {
            if let Event::TimedOut(verdict) = event {
                change(verdict);
            }
        }
        self
    }
}

impl Stage {
    /// Just established.
    fn new(config: Config) -> Self {
        let mut host = Host::ip(IpCidr::new(HOST, 24));
        let handle = host.add_tcp_socket(1024, 1024);
        host.keep_alive.enable(handle, config).unwrap();
        let mut stage = Self {
            host,
            port: Port::new(Medium::Ip),
            checksums: ChecksumCapabilities::default(),
            watch: Watch::default(),
            handle,
            seq: PEER_SEQ,
            ack: 0,
        };
        stage.open(s(0));
        stage
    }

    /// Connects the socket, from the same port each time.
    fn open(&mut self, after: Duration) {
        let (iface, sockets) = (&mut self.host.iface, &mut self.host.sockets);
        let socket = sockets.get_mut::<tcp::Socket<'_>>(self.handle);
        let remote = (PEER, PEER_PORT);
        socket.connect(iface.context(), remote, HOST_PORT).unwrap();
        let opening = self.poll(after, &[]);
        let Kind::Tcp(syn) = wire::parse(Medium::Ip, &opening.sent[0]) else {
            panic!("the first frame is a SYN");
        };
        assert_eq!(self.look(&opening), Ok(0));
        self.ack = syn.end();
        let mut answer = self.segment();
        answer.syn = true;
        self.seq = answer.end();
        self.honest(after, &[answer]);
    }

    /// The peer's acknowledgement.
    fn segment(&self) -> Segment {
        Segment {
            src_addr: PEER,
            dst_addr: HOST,
            src_port: PEER_PORT,
            dst_port: HOST_PORT,
            seq: self.seq,
            ack: Some(self.ack),
            window: 4096,
            syn: false,
            fin: false,
            rst: false,
            psh: false,
            payload: Vec::new(),
            timestamps: None,
            window_scale: None,
            hop_limit: 64,
            checksum_ok: true,
            ip_checksum_ok: true,
        }
    }

    /// A frame such as the host's next probe is.
    fn probe(&self) -> Vec<u8> {
        let mut probe = self.segment();
        (probe.src_addr, probe.dst_addr) = (HOST, PEER);
        (probe.src_port, probe.dst_port) = (HOST_PORT, PEER_PORT);
        (probe.seq, probe.ack) = (self.ack.wrapping_sub(1), Some(self.seq));
        probe.emit(None)
    }

    fn socket(&mut self) -> &mut tcp::Socket<'static> {
        self.host.tcp(self.handle)
    }

    /// Polls, and tells what there was, which is the truth.
    fn poll(&mut self, after: Duration, received: &[Segment]) -> Said {
        for segment in received {
            let bytes = segment.emit(None).into();
            let id = FrameId(0);
            assert!(self.port.accept(Frame { id, bytes }));
        }
        let now = time::Instant::from(at(after));
        let host = &mut self.host;
        let (iface, sockets) = (&mut host.iface, &mut host.sockets);
        host.keep_alive.poll(now, iface, &mut self.port, sockets);
        let mut events = Vec::new();
        while let Some(event) = host.keep_alive.poll_event() {
            events.push(event);
        }
        let received = self.port.take_taken();
        let received = received.iter().map(|frame| frame.bytes.to_vec());
        Said {
            now: at(after),
            received: received.collect(),
            sent: self.port.take_outbox(),
            events,
        }
    }

    /// What the watch makes of that: how many probes, or what is wrong.
    fn look(&mut self, said: &Said) -> Result<usize, Invariant> {
        let mut view = View {
            now: said.now,
            medium: Medium::Ip,
            checksums: self.checksums.clone(),
            iface: &mut self.host.iface,
            sockets: &self.host.sockets,
            keep_alive: &mut self.host.keep_alive,
            events: &said.events,
        };
        let found = self
            .watch
            .look(&mut view, said.received.iter(), said.sent.iter());
        match found {
            Ok(probes) => Ok(probes.len()),
            Err((handle, invariant)) => {
                assert_eq!(handle, self.handle);
                Err(invariant)
            }
        }
    }

    /// Polls, and tells the truth, in which there is nothing wrong. How many probes there were.
    fn honest(&mut self, after: Duration, received: &[Segment]) -> usize {
        let said = self.poll(after, received);
        self.look(&said).expect("nothing is wrong")
    }
}

/// Nothing was received, sent or reported.
const fn nothing(after: Duration) -> Said {
    Said {
        now: at(after),
        received: Vec::new(),
        sent: Vec::new(),
        events: Vec::new(),
    }
}

/// The first probe has just left.
fn first_probe() -> (Stage, Said) {
    let mut stage = Stage::new(config());
    let said = stage.poll(s(10), &[]);
    assert_eq!(said.sent.len(), 1);
    (stage, said)
}

/// The second has.
fn second_probe() -> (Stage, Said) {
    let (mut stage, said) = first_probe();
    assert_eq!(stage.look(&said), Ok(1));
    let said = stage.poll(s(12), &[]);
    assert_eq!(said.sent.len(), 1);
    (stage, said)
}

/// The verdict has just fallen.
fn verdict() -> (Stage, Said) {
    let (mut stage, said) = second_probe();
    assert_eq!(stage.look(&said), Ok(1));
    assert_eq!(stage.honest(s(14), &[]), 1);
    let said = stage.poll(s(16), &[]);
    let is_verdict = |event: &(_, Event)| matches!(event.1, Event::TimedOut(_));
    assert!(said.events.iter().any(is_verdict));
    (stage, said)
}

/// In a life with data, probes, answers and a verdict nothing is wrong.
#[test]
fn honest_life_breaks_nothing() {
    let mut stage = Stage::new(config());
    assert_eq!(stage.honest(s(10), &[]), 1);
    let answer = stage.segment();
    assert_eq!(stage.honest(s(11), &[answer]), 0);
    stage.socket().send_slice(b"data").unwrap();
    assert_eq!(stage.honest(s(12), &[]), 0);
    stage.ack = stage.ack.wrapping_add(4);
    let answer = stage.segment();
    assert_eq!(stage.honest(s(13), &[answer]), 0);
    for after in [23, 25, 27] {
        assert_eq!(stage.honest(s(after), &[]), 1);
    }
    assert_eq!(stage.honest(s(29), &[]), 0);
    assert_eq!(stage.honest(s(100), &[]), 0);
    assert!(!stage.socket().is_open());
}

/// A probe beside data that is queued, or not acknowledged as far as the wire knows, is wrong.
#[test]
fn probe_while_busy() {
    let (mut stage, said) = first_probe();
    stage.socket().send_slice(b"data").unwrap();
    assert_eq!(stage.look(&said), Err(Invariant::ProbeWhileBusy));

    for is_hidden in [false, true] {
        let mut stage = Stage::new(config());
        stage.socket().send_slice(b"data").unwrap();
        stage.honest(s(1), &[]);
        stage.ack = stage.ack.wrapping_add(4);
        let answer = stage.segment();
        let mut said = stage.poll(s(1), &[answer]);
        if is_hidden {
            let mut old = stage.segment();
            old.ack = old.ack.map(|ack| ack.wrapping_sub(4));
            said.received = vec![old.emit(None)];
        }
        assert_eq!(stage.look(&said), Ok(0));
        let said = stage.poll(s(11), &[]);
        let right = if is_hidden {
            Err(Invariant::ProbeWhileBusy)
        } else {
            Ok(1)
        };
        assert_eq!(stage.look(&said), right);
    }
}

/// A probe at the end of the idle time is right, and one a moment before is not.
#[test]
fn probe_before_idle() {
    let (mut stage, said) = first_probe();
    assert_eq!(stage.look(&said), Ok(1));

    let (mut stage, said) = first_probe();
    let (due, at) = (at(s(10)), at(just_before(s(10))));
    let early = Err(Invariant::ProbeBeforeIdle { due, at });
    assert_eq!(stage.look(&said.now(at)), early);
}

/// A probe at the end of the interval is right, and one a moment before is not.
#[test]
fn probe_before_interval() {
    let (mut stage, said) = second_probe();
    assert_eq!(stage.look(&said), Ok(1));

    let (mut stage, said) = second_probe();
    let (due, at) = (at(s(12)), at(just_before(s(12))));
    let early = Err(Invariant::ProbeBeforeInterval { due, at });
    let mut said = said.now(at);
    said.events.clear();
    assert_eq!(stage.look(&said), early);
}

/// What looks like a probe, and was not counted, is wrong; an acknowledgement is not.
#[test]
fn probe_that_was_not_counted() {
    for is_probe in [true, false] {
        let mut stage = Stage::new(config());
        let mut said = stage.poll(s(1), &[]);
        stage.ack = stage.ack.wrapping_add(u32::from(!is_probe));
        said.sent.push(stage.probe());
        let right = if is_probe {
            Err(Invariant::ProbeUnbidden)
        } else {
            Ok(0)
        };
        assert_eq!(stage.look(&said), right);
    }
}

/// Of two frames that look like probes, one was not counted.
#[test]
fn second_probe_beside_one_that_was_counted() {
    let (mut stage, mut said) = first_probe();
    said.sent.push(stage.probe());
    assert_eq!(stage.look(&said), Err(Invariant::ProbeUnbidden));
}

/// A probe of a connection that is disabled is wrong, unless smoltcp's own keep-alive is set.
#[test]
fn probe_of_a_connection_that_is_disabled() {
    for is_smoltcps in [false, true] {
        let mut stage = Stage::new(config());
        stage.host.keep_alive.disable(stage.handle);
        stage.honest(s(1), &[]);
        let own = is_smoltcps.then_some(::smoltcp::time::Duration::from_secs(60));
        stage.socket().set_keep_alive(own);
        let mut said = nothing(s(2));
        said.sent.push(stage.probe());
        let right = if is_smoltcps {
            Ok(0)
        } else {
            Err(Invariant::ProbeUnbidden)
        };
        assert_eq!(stage.look(&said), right);
    }
}

/// A probe that is counted after the verdict is wrong.
#[test]
fn probe_after_the_verdict() {
    let (mut stage, said) = verdict();
    assert_eq!(stage.look(&said), Ok(0));
    let stats = stage.watch.accounts[0].stats.as_mut().unwrap();
    stats.probes_sent -= 1;
    let mut said = nothing(s(16));
    said.sent.push(stage.probe());
    assert_eq!(stage.look(&said), Err(Invariant::ProbeUnbidden));
}

/// A probe that is not counted is wrong as well, long after the verdict.
#[test]
fn probe_after_the_verdict_that_was_not_counted() {
    let (mut stage, said) = verdict();
    assert_eq!(stage.look(&said), Ok(0));
    assert_eq!(stage.honest(s(50), &[]), 0);
    let mut said = nothing(s(100));
    said.sent.push(stage.probe());
    assert_eq!(stage.look(&said), Err(Invariant::ProbeUnbidden));
}

/// A probe for a connection that the application has aborted is wrong.
#[test]
fn probe_after_the_end() {
    let mut stage = Stage::new(config());
    stage.socket().abort();
    stage.honest(s(1), &[]);
    stage.honest(s(2), &[]);
    let mut said = nothing(s(11));
    said.sent.push(stage.probe());
    assert_eq!(stage.look(&said), Err(Invariant::ProbeUnbidden));
}

/// A connection with the ends of one that another socket had before is watched like any other.
#[test]
fn connection_with_the_ends_of_an_earlier_one_is_watched() {
    let mut stage = Stage::new(config());
    stage.socket().abort();
    stage.honest(s(1), &[]);
    stage.honest(s(2), &[]);
    stage.handle = stage.host.add_tcp_socket(1024, 1024);
    stage.open(s(3));
    let mut said = nothing(s(4));
    said.sent.push(stage.probe());
    assert_eq!(stage.look(&said), Err(Invariant::ProbeUnbidden));
}

/// A probe that was counted and did not leave is wrong; and so is one with another number.
#[test]
fn probe_that_did_not_leave() {
    let (mut stage, mut said) = first_probe();
    said.sent.clear();
    assert_eq!(stage.look(&said), Err(Invariant::ProbeNotSent));

    let (mut stage, mut said) = first_probe();
    stage.ack = stage.ack.wrapping_sub(1);
    said.sent = vec![stage.probe()];
    assert_eq!(stage.look(&said), Err(Invariant::ProbeNotSent));
}

/// What the peer said in order, and the keep-alive does not know of, is forgotten.
#[test]
fn heard_forgotten() {
    let mut stage = Stage::new(config());
    let mut said = stage.poll(s(1), &[]);
    said.received.push(stage.segment().emit(None));
    let (heard, believed) = (at(s(1)), Some(at(s(0))));
    let forgotten = Err(Invariant::HeardForgotten { heard, believed });
    assert_eq!(stage.look(&said), forgotten);
}

/// A segment that is not the peer's, or that leaves a doubt, is not forgotten.
#[test]
fn what_may_be_anybodys_is_not_forgotten() {
    let changes: [Change; 7] = [
        |segment| segment.rst = true,
        |segment| segment.checksum_ok = false,
        |segment| segment.ip_checksum_ok = false,
        |segment| segment.ack = None,
        |segment| segment.seq = segment.seq.wrapping_add(1),
        |segment| segment.ack = segment.ack.map(|ack| ack.wrapping_add(1)),
        |segment| segment.src_port += 1,
    ];
    for (number, change) in changes.into_iter().enumerate() {
        let mut stage = Stage::new(config());
        let mut said = stage.poll(s(1), &[]);
        let mut segment = stage.segment();
        change(&mut segment);
        said.received.push(segment.emit(None));
        assert_eq!(stage.look(&said), Ok(0), "change {number}");
    }
}

/// What was heard while the application polled past the keep-alive is not forgotten.
#[test]
fn what_was_overheard_is_not_forgotten() {
    let mut stage = Stage::new(config());
    let said = nothing(s(1));
    let received = stage.segment().emit(None);
    let view = View {
        now: said.now,
        medium: Medium::Ip,
        checksums: ChecksumCapabilities::default(),
        iface: &mut stage.host.iface,
        sockets: &stage.host.sockets,
        keep_alive: &mut stage.host.keep_alive,
        events: &[],
    };
    stage
        .watch
        .overhear(&view, [received].iter(), said.sent.iter());
    assert_eq!(stage.honest(s(2), &[]), 0);
}

/// A verdict after `count` attempts, unanswered or unsent, is right, and one after fewer is not.
#[test]
fn verdict_without_attempts() {
    for unsent in [1, 0] {
        let (mut stage, said) = verdict();
        let said = said.verdict(|verdict| (verdict.unanswered, verdict.unsent) = (2, unsent));
        let (attempts, count) = (2, 3);
        let right = if unsent == 1 {
            Ok(0)
        } else {
            Err(Invariant::VerdictWithoutAttempts { attempts, count })
        };
        assert_eq!(stage.look(&said), right);
    }
}

/// A verdict that is an interval late was not missed, and one that is later was: it is right only if
/// another probe was sent first.
#[test]
fn verdict_after_a_gap() {
    let due = at(s(16));
    for (late, right) in [
        (s(2), Ok(0)),
        (s(2) + Duration::from_micros(1), Err(())),
        (s(3600), Err(())),
    ] {
        let (mut stage, said) = verdict();
        let now = due.saturating_add(late);
        let right = right.map_err(|()| Invariant::VerdictAfterGap { due, at: now });
        let said = said.now(now);
        let said = said.verdict(|verdict| verdict.silent_for = s(16).saturating_add(late));
        assert_eq!(stage.look(&said), right);
    }
}

/// A verdict tells of as many probes as have left, and not of one more.
#[test]
fn verdict_miscounts() {
    let (mut stage, said) = verdict();
    assert_eq!(stage.look(&said), Ok(0));

    let (mut stage, said) = verdict();
    let said = said.verdict(|verdict| verdict.unanswered = 4);
    let (told, sent) = (4, 3);
    let miscounts = Err(Invariant::VerdictMiscounts { told, sent });
    assert_eq!(stage.look(&said), miscounts);
}

/// A verdict that tells of less silence than there has to be is too early.
#[test]
fn verdict_that_tells_too_little_silence() {
    let (mut stage, said) = verdict();
    let (silent_for, least) = (just_before(s(16)), s(16));
    let said = said.verdict(|verdict| verdict.silent_for = silent_for);
    let early = Err(Invariant::VerdictTooEarly { silent_for, least });
    assert_eq!(stage.look(&said), early);
}

/// A verdict before the silence lasted long enough, as the wire knows, is too early, whatever it
/// tells.
#[test]
fn verdict_before_its_time() {
    let mut stage = Stage::new(config());
    let answer = stage.segment();
    stage.honest(s(5), &[answer]);
    for after in [15, 17, 19] {
        assert_eq!(stage.honest(s(after), &[]), 1);
    }
    let said = stage.poll(s(21), &[]);
    let (silent_for, least) = (just_before(s(16)), s(16));
    let early = Err(Invariant::VerdictTooEarly { silent_for, least });
    assert_eq!(stage.look(&said.now(at(just_before(s(21))))), early);
}

/// The user timeout's verdict falls after the user timeout, and not before; it needs no attempts.
#[test]
fn verdict_of_the_user_timeout() {
    for early in [false, true] {
        let mut stage = Stage::new(config().with_user_timeout(s(5)).unwrap());
        let answer = stage.segment();
        stage.honest(s(1), &[answer]);
        stage.socket().send_slice(b"data").unwrap();
        stage.honest(s(1), &[]);
        stage.honest(s(6), &[]);
        let said = stage.poll(s(8), &[]);
        let is_verdict = |event: &(_, Event)| matches!(event.1, Event::TimedOut(_));
        assert!(said.events.iter().any(is_verdict));
        let (silent_for, least) = (just_before(s(5)), s(5));
        let right = if early {
            Err(Invariant::VerdictTooEarly { silent_for, least })
        } else {
            Ok(0)
        };
        let said = said.verdict(|verdict| {
            if early {
                verdict.silent_for = silent_for;
            }
        });
        assert_eq!(stage.look(&said), right);
    }
}

/// One verdict is right, and a second is not: in the same poll, or later.
#[test]
fn second_verdict() {
    let (mut stage, mut said) = verdict();
    said.events.extend(said.events.clone());
    assert_eq!(stage.look(&said), Err(Invariant::SecondVerdict));

    let (mut stage, said) = verdict();
    assert_eq!(stage.look(&said), Ok(0));
    let again = Said {
        events: said.events,
        ..nothing(s(20))
    };
    assert_eq!(stage.look(&again), Err(Invariant::SecondVerdict));
}

/// A second verdict is not right either while the RST of the first waits for the device.
#[test]
fn second_verdict_before_the_reset_has_left() {
    let mut stage = Stage::new(config());
    stage.port.set_room(Room::NoneToTransmit);
    for after in [10, 12, 14] {
        stage.honest(s(after), &[]);
    }
    let said = stage.poll(s(16), &[]);
    assert_eq!(stage.look(&said), Ok(0));
    assert!(!stage.socket().is_open());
    let again = Said {
        events: said.events,
        ..nothing(s(20))
    };
    assert_eq!(stage.look(&again), Err(Invariant::SecondVerdict));
}

/// A handle has its verdict on each of its connections, with the same ends too.
#[test]
fn another_connection_has_its_own_verdict() {
    let (mut stage, said) = verdict();
    assert_eq!(stage.look(&said), Ok(0));
    stage.open(s(20));
    for after in [30, 32, 34] {
        assert_eq!(stage.honest(s(after), &[]), 1);
    }
    let said = stage.poll(s(36), &[]);
    assert!(!said.events.is_empty());
    assert_eq!(stage.look(&said), Ok(0));
}

/// A deadline of ours may be past once, and not twice in a row.
#[test]
fn deadline_in_the_past() {
    for after in [s(10), s(11)] {
        let mut stage = Stage::new(config());
        let (deadline, now) = (at(s(10)), at(after));
        let late = nothing(after);
        assert_eq!(stage.look(&late), Ok(0));
        let past = Err(Invariant::DeadlineInThePast { deadline, now });
        assert_eq!(stage.look(&late), past);
    }

    let mut stage = Stage::new(config());
    let late = nothing(s(11));
    assert_eq!(stage.look(&late), Ok(0));
    stage.honest(s(11), &[]);
    let late = nothing(s(13));
    assert_eq!(stage.look(&late), Ok(0));
}

/// A deadline that is still to come is not past.
#[test]
fn deadline_to_come() {
    let mut stage = Stage::new(config());
    for _ in 0..3 {
        let early = nothing(just_before(s(10)));
        assert_eq!(stage.look(&early), Ok(0));
    }
}

/// After the clock was set back, no probe counts as early.
#[test]
fn clock_set_back() {
    let (mut stage, said) = first_probe();
    assert!(stage.look(&said.now(at(s(8)))).is_err());

    let mut stage = Stage::new(config());
    let before = nothing(s(9));
    assert_eq!(stage.look(&before), Ok(0));
    let said = stage.poll(s(10), &[]).now(at(s(8)));
    assert_eq!(stage.look(&said), Ok(1));
}

/// A clock that is set back, to before the peer was heard, while the first probe is unanswered: the
/// peer was not heard for that, and the probe fails after an interval.
#[test]
fn clock_set_back_answers_no_probe() {
    for is_answered in [false, true] {
        let mut stage = Stage::new(config());
        let answer = stage.segment();
        assert_eq!(stage.honest(s(5), std::slice::from_ref(&answer)), 0);
        assert_eq!(stage.honest(s(15), &[]), 1);
        let received: &[Segment] = if is_answered { &[answer] } else { &[] };
        assert_eq!(stage.honest(s(1), received), 0);
        let said = stage.poll(s(3), &[]);
        assert_eq!(said.events.is_empty(), is_answered);
        assert_eq!(stage.look(&said), Ok(usize::from(!is_answered)));
        assert_eq!(stage.honest(s(11), &[]), 1);
        assert_eq!(stage.honest(s(13), &[]), usize::from(is_answered));
    }
}

/// Of two sockets with the same ends nothing is held against either.
#[test]
fn two_with_the_same_ends_are_let_be() {
    let mut stage = Stage::new(config());
    let other = stage.host.add_tcp_socket(64, 64);
    let (iface, sockets) = (&mut stage.host.iface, &mut stage.host.sockets);
    let socket = sockets.get_mut::<tcp::Socket<'_>>(other);
    let remote = (PEER, PEER_PORT);
    socket.connect(iface.context(), remote, HOST_PORT).unwrap();
    let mut said = nothing(s(1));
    said.sent.push(stage.probe());
    assert_eq!(stage.look(&said), Ok(0));
    // Nor after a SYN, which may be the other's.
    let mut syn = stage.segment();
    (syn.src_addr, syn.dst_addr) = (HOST, PEER);
    (syn.src_port, syn.dst_port) = (HOST_PORT, PEER_PORT);
    syn.syn = true;
    let mut said = stage.poll(s(10), &[]);
    said.sent = vec![syn.emit(None)];
    assert_eq!(stage.look(&said), Ok(0));
}

impl Stage {
    /// Looks at the probe that was just sent, after a change to it.
    fn look_at(&mut self, said: &Said, change: fn(&mut Segment)) -> Result<usize, Invariant> {
        let Kind::Tcp(mut probe) = wire::parse(Medium::Ip, &said.sent[0]) else {
            panic!("the probe is a segment");
        };
        change(&mut probe);
        let mut said = said.clone();
        said.sent = vec![probe.emit(None)];
        self.look(&said)
    }

    /// The same with data.
    fn data(&self, octets: usize) -> Segment {
        Segment {
            payload: vec![b'd'; octets],
            ..self.segment()
        }
    }
}

/// Data that was acknowledged was heard when it came, whatever its length; what was not acknowledged
/// may never have been received.
#[test]
fn data_is_heard_when_it_is_acknowledged() {
    for is_acknowledged in [true, false] {
        let mut stage = Stage::new(config());
        let mut said = stage.poll(s(1), &[]);
        let data = stage.data(500);
        said.received.push(data.emit(None));
        assert_eq!(stage.look(&said), Ok(0));
        let mut said = stage.poll(s(2), &[]);
        if is_acknowledged {
            stage.seq = data.end();
            stage.ack = stage.ack.wrapping_add(1);
            said.sent.push(stage.probe());
        }
        let (heard, believed) = (at(s(1)), Some(at(s(0))));
        let right = if is_acknowledged {
            Err(Invariant::HeardForgotten { heard, believed })
        } else {
            Ok(0)
        };
        assert_eq!(stage.look(&said), right);
    }
}

/// A peer that sent data is not probed before the idle time is over since then, even if the
/// keep-alive, enabled only now, does not know of it.
#[test]
fn probe_before_idle_after_data() {
    for early in [false, true] {
        let mut stage = Stage::new(config());
        let data = stage.data(500);
        stage.seq = data.end();
        stage.honest(s(5), &[data]);
        stage.honest(s(6), &[]);
        stage.watch.accounts[0].believed = None;
        stage.watch.accounts[0].is_new = true;
        let said = stage.poll(s(15), &[]);
        assert_eq!(said.sent.len(), 1);
        let (due, at) = (at(s(15)), at(just_before(s(15))));
        let right = if early {
            Err(Invariant::ProbeBeforeIdle { due, at })
        } else {
            Ok(1)
        };
        let said = if early { said.now(at) } else { said };
        assert_eq!(stage.look(&said), right);
    }
}

/// What the keep-alive heard has come, intact and with numbers that could be the peer's. It is not
/// an RST.
#[test]
fn heard_nobody() {
    let changes: [(bool, Change); 7] = [
        (true, |_| {}),
        (true, |segment| segment.seq = segment.seq.wrapping_sub(1)),
        (false, |segment| segment.rst = true),
        (false, |segment| segment.checksum_ok = false),
        (false, |segment| segment.ack = None),
        (false, |segment| {
            segment.seq = segment.seq.wrapping_add(1 << 20);
        }),
        (false, |segment| {
            segment.ack = segment.ack.map(|ack| ack.wrapping_add(1));
        }),
    ];
    for (number, (is_peers, change)) in changes.into_iter().enumerate() {
        let mut stage = Stage::new(config());
        let answer = stage.segment();
        let mut said = stage.poll(s(1), &[answer]);
        let mut segment = stage.segment();
        change(&mut segment);
        said.received = vec![segment.emit(None)];
        let believed = at(s(1));
        let right = if is_peers {
            Ok(0)
        } else {
            Err(Invariant::HeardNobody { believed })
        };
        assert_eq!(stage.look(&said), right, "change {number}");
    }
}

/// What a device did not check is believed, if the stack leaves checking to it.
#[test]
fn device_that_checks_is_believed() {
    let mut stage = Stage::new(config());
    let answer = stage.segment();
    let mut said = stage.poll(s(1), &[answer]);
    let mut segment = stage.segment();
    segment.checksum_ok = false;
    said.received = vec![segment.emit(None)];
    stage.checksums = ChecksumCapabilities::ignored();
    assert_eq!(stage.look(&said), Ok(0));
}

/// K18: a long segment is believed on its numbers when it arrives, damaged or not.
#[test]
fn long_segment_is_believed_when_it_arrives() {
    for is_damaged in [false, true] {
        let mut stage = Stage::new(config());
        let mut data = stage.data(500);
        data.checksum_ok = !is_damaged;
        stage.seq = if is_damaged { stage.seq } else { data.end() };
        stage.honest(s(1), &[data]);
        let heard = stage.host.keep_alive.last_heard(stage.handle);
        assert_eq!(heard, Some(time::Instant::from(at(s(1)))));
    }
}

/// A probe has the octet that was asked for, and no other.
#[test]
fn probe_payload() {
    let octet = config().with_payload(ProbePayload::GarbageOctet);
    let (none, one, other): (Change, Change, Change) = (
        |probe| probe.payload.clear(),
        |probe| probe.payload = vec![0],
        |probe| probe.payload = vec![1],
    );
    let wrong = |found, right| Err(Invariant::ProbePayload { found, right });
    for (config, change, right) in [
        (config(), none, Ok(1)),
        (config(), one, wrong(1, 0)),
        (octet, none, wrong(0, 1)),
        (octet, one, Ok(1)),
        (octet, other, wrong(1, 1)),
    ] {
        let mut stage = Stage::new(config);
        let said = stage.poll(s(10), &[]);
        assert_eq!(stage.look_at(&said, change), right);
    }
}

/// A probe offers the window that its host has, and the timestamps and hop limit that its
/// connection has.
#[test]
fn probe_form() {
    let wrong_window = |found| Invariant::ProbeWindow { found, told: 1024 };
    let (found, right) = (63, 64);
    let changes: [(Change, Result<usize, Invariant>); 5] = [
        (|_| {}, Ok(1)),
        (|probe| probe.window = 0, Err(wrong_window(0))),
        (|probe| probe.window = 1025, Err(wrong_window(1025))),
        (
            |probe| probe.timestamps = Some((1, 1)),
            Err(Invariant::ProbeTimestamps { negotiated: false }),
        ),
        (
            |probe| probe.hop_limit = 63,
            Err(Invariant::ProbeHopLimit { found, right }),
        ),
    ];
    for (change, right) in changes {
        let (mut stage, said) = first_probe();
        assert_eq!(stage.look_at(&said, change), right);
    }
}

/// The suspicion that the first attempt has failed is told of, and not before it has, and once.
#[test]
fn suspicion_is_told_once_and_in_time() {
    let (mut stage, mut said) = second_probe();
    assert!(matches!(said.events[..], [(_, Event::Suspect { .. })]));
    said.events.clear();
    assert_eq!(stage.look(&said), Err(Invariant::SuspectUnreported));

    let (mut stage, said) = second_probe();
    assert_eq!(stage.look(&said), Ok(1));
    let again = Said {
        events: said.events,
        ..nothing(s(13))
    };
    assert_eq!(stage.look(&again), Err(Invariant::SuspectUnfounded));

    let (mut stage, mut first) = first_probe();
    let (_, second) = second_probe();
    first.events = second.events;
    assert_eq!(stage.look(&first), Err(Invariant::SuspectUnfounded));
}

/// What the stack sends again it does not hold for acknowledged: the question of a user timeout lies
/// below that, and is no probe beside data.
#[test]
fn question_lies_below_what_is_sent_again() {
    let mut stage = Stage::new(config().with_user_timeout(s(5)).unwrap());
    stage.socket().send_slice(b"data").unwrap();
    stage.honest(s(1), &[]);
    let below = stage.ack.wrapping_sub(1);
    // smoltcp takes nothing from a keep-alive, not even what it acknowledges.
    stage.ack = stage.ack.wrapping_add(4);
    let mut keep_alive = stage.segment();
    keep_alive.seq = keep_alive.seq.wrapping_sub(1);
    keep_alive.payload = vec![0];
    stage.honest(s(1), &[keep_alive]);
    let mut questions = 0;
    for tenths in 11..75 {
        let said = stage.poll(Duration::from_millis(tenths * 100), &[]);
        let sent = said.sent.iter();
        let segments = sent.map(|bytes| wire::parse(Medium::Ip, bytes));
        questions += segments
            .filter(|kind| matches!(kind, Kind::Tcp(segment) if segment.seq == below))
            .count();
        assert_eq!(stage.look(&said), Ok(0), "at {tenths}");
    }
    assert_eq!(questions, 1);
}

/// What lies beyond the window the stack does not take, nor what it acknowledges: the question of a
/// user timeout lies below all that is outstanding.
#[test]
fn nothing_beyond_the_window_is_acknowledged() {
    let mut stage = Stage::new(config().with_user_timeout(s(5)).unwrap());
    stage.socket().send_slice(b"data").unwrap();
    // The last one before the timeout strikes leaves at 4 s.
    for tenths in 10..50 {
        stage.honest(Duration::from_millis(tenths * 100), &[]);
    }
    let mut stranger = stage.segment();
    stranger.seq = stranger.seq.wrapping_add(5000);
    stranger.ack = stranger.ack.map(|ack| ack.wrapping_add(4));
    stage.honest(s(5), &[stranger]);
    let said = stage.poll(s(6), &[]);
    let below = stage.ack.wrapping_sub(1);
    let is_question = |bytes: &Vec<u8>| matches!(wire::parse(Medium::Ip, bytes), Kind::Tcp(segment) if segment.seq == below);
    assert!(said.sent.iter().any(is_question));
    assert_eq!(stage.look(&said), Ok(0));
}

/// Only a suspect that is heard has recovered.
#[test]
fn recovery_is_told_of_suspects() {
    for is_told in [true, false] {
        let (mut stage, said) = second_probe();
        assert_eq!(stage.look(&said), Ok(1));
        let answer = stage.segment();
        let mut said = stage.poll(s(13), &[answer]);
        assert!(matches!(said.events[..], [(_, Event::Recovered { .. })]));
        if !is_told {
            said.events.clear();
        }
        let right = if is_told {
            Ok(0)
        } else {
            Err(Invariant::RecoveredUnreported)
        };
        assert_eq!(stage.look(&said), right);
    }

    let mut stage = Stage::new(config());
    let mut said = nothing(s(1));
    said.events
        .push((stage.handle, Event::Recovered { unanswered: 1 }));
    assert_eq!(stage.look(&said), Err(Invariant::RecoveredUnfounded));
}

/// A verdict tells for how long the peer has been silent, to the microsecond.
#[test]
fn verdict_tells_the_silence() {
    let (mut stage, said) = verdict();
    let told = s(16) + Duration::from_micros(1);
    let said = said.verdict(|verdict| verdict.silent_for = told);
    let silent_for = s(16);
    let wrong = Err(Invariant::VerdictMisjudges { told, silent_for });
    assert_eq!(stage.look(&said), wrong);
}

/// A verdict that is counted is told of.
#[test]
fn verdict_that_is_not_told_of() {
    let (mut stage, mut said) = verdict();
    said.events.clear();
    let (counted, told) = (1, 0);
    let silent = Err(Invariant::VerdictUnreported { counted, told });
    assert_eq!(stage.look(&said), silent);
}

/// After a verdict the socket is closed.
#[test]
fn verdict_that_is_not_carried_out() {
    let (mut stage, said) = verdict();
    let (iface, sockets) = (&mut stage.host.iface, &mut stage.host.sockets);
    let socket = sockets.get_mut::<tcp::Socket<'_>>(stage.handle);
    let remote = (PEER, PEER_PORT);
    socket.connect(iface.context(), remote, HOST_PORT).unwrap();
    assert_eq!(stage.look(&said), Err(Invariant::VerdictNotCarriedOut));
}

/// While the peer is being probed another idle time does not delay the next probe (K8).
#[test]
fn longer_idle_time_while_probing() {
    let (mut stage, said) = first_probe();
    assert_eq!(stage.look(&said), Ok(1));
    let longer = Config::new(s(1000), s(2), 3).unwrap();
    stage.host.keep_alive.enable(stage.handle, longer).unwrap();
    assert_eq!(stage.honest(s(12), &[]), 1);
}

/// A keep-alive that is disabled and enabled in one turn begins anew (K1).
#[test]
fn disabled_and_enabled_in_one_turn() {
    let (mut stage, said) = second_probe();
    assert_eq!(stage.look(&said), Ok(1));
    let quick = Config::new(Duration::from_millis(100), s(2), 3).unwrap();
    stage.host.keep_alive.disable(stage.handle);
    stage.host.keep_alive.enable(stage.handle, quick).unwrap();
    let after = |millis| s(12) + Duration::from_millis(millis);
    stage.honest(after(100), &[]);
    assert_eq!(stage.honest(after(200), &[]), 1);
    let answer = stage.segment();
    assert_eq!(stage.honest(after(250), &[answer]), 0);
    assert_eq!(stage.honest(after(350), &[]), 1);
    assert_eq!(stage.honest(after(2350), &[]), 1);
}
