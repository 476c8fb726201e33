//! One machine, its host, the network and the peer, and all that can happen to them next.

use std::time::Duration;

use tcp_keepalive::{Cause, Config, Event, ProbePayload, SeqNumber, State, Tcb, Verdict};

use super::both::Both;
use super::ledger::Ledger;
use super::rules::{Counts, Learned, Model};

/// Half a second: the period in which a probe that could not leave is offered again.
pub(crate) const TICK_MICROS: u64 = 500_000;
/// Far from the beginning of time, so that what is long past is.
pub(crate) const START: u64 = 1_000;
const MAX_ON_THE_WAY: usize = 2;

/// In ticks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Options {
    pub(crate) idle: u64,
    pub(crate) interval: u64,
    pub(crate) count: u8,
    pub(crate) user_timeout: Option<u64>,
}

/// How often each of these can still happen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct Budget {
    /// `None` if there is no end to it.
    pub(crate) losses: Option<u8>,
    pub(crate) sleeps: u8,
    pub(crate) steps_back: u8,
    pub(crate) writes: u8,
    pub(crate) device_failures: u8,
    pub(crate) switches: u8,
    pub(crate) reconfigurations: u8,
    /// Pieces of evidence of the way to the peer.
    pub(crate) evidence: u8,
}

/// Where the exploration begins, and what it is made of.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Setting {
    pub(crate) options: Options,
    /// What the application may replace them by.
    pub(crate) others: &'static [Options],
    pub(crate) budget: Budget,
    /// What has happened before.
    pub(crate) lead: &'static [Step],
    /// The peer lives, and answers in time; what is lost or slept over is all that is missing.
    pub(crate) live: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
enum Peer {
    Alive,
    Dead,
    /// Knows nothing of the connection, and answers with a RST.
    Rebooted,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// A tick passes on a host that is awake.
    Tick,
    /// The host polls.
    Serve,
    /// The host only asks whether there is a probe to send.
    AskForProbe,
    /// The host is asleep for so many ticks.
    Sleep(u64),
    /// The clock steps back by so many ticks.
    ClockBack(u64),
    /// An answer to a probe arrives, and perhaps it is late.
    Answered,
    /// A probe or the answer to it is lost.
    Lost,
    /// The peer says something of its own.
    PeerSpeaks,
    PeerDies,
    PeerReboots,
    /// Data is written, and leaves if it can.
    Write,
    Retransmit,
    Acknowledged,
    DeviceFails,
    DeviceWorks,
    Disable,
    Enable,
    /// The application sets these options.
    Reconfigure(&'static Options),
    /// Something is learned of the way to the peer.
    Learn(Learned),
}

#[derive(Debug)]
pub(crate) struct World {
    setting: Setting,
    both: Both,
    now: u64,
    /// The latest that the clock has shown.
    top: u64,
    peer: Peer,
    /// When the probes left to which an answer may still come.
    on_the_way: Vec<u64>,
    outstanding: bool,
    device_works: bool,
    budget: Budget,
    ledger: Ledger,
    /// A RST has ended the connection.
    ended: bool,
}

impl Options {
    pub(crate) fn config(self) -> Config {
        let config = Config::new(ticks(self.idle), ticks(self.interval), self.count).unwrap();
        match self.user_timeout {
            Some(timeout) => config.with_user_timeout(ticks(timeout)).unwrap(),
            None => config,
        }
    }

    pub(crate) fn probing(self) -> u64 {
        self.interval * u64::from(self.count)
    }

    pub(crate) fn detection(self) -> u64 {
        self.idle + self.probing()
    }

    /// The least number of steps to a verdict that no sleep makes shorter: each tick of the silence,
    /// a look for each attempt, and one more.
    pub(crate) fn steps_to_verdict(self) -> usize {
        usize::try_from(self.detection()).unwrap() + usize::from(self.count) + 1
    }

    /// What is longer ago than this might as well be this long ago.
    fn horizon(self) -> u64 {
        self.detection() + self.user_timeout.unwrap_or(0) + 2 * self.interval + 1
    }
}

fn ticks(number: u64) -> Duration {
    Duration::from_micros(number * TICK_MICROS)
}

fn micros(tick: u64) -> u64 {
    tick * TICK_MICROS
}

impl World {
    /// An established connection, on which the peer was just heard.
    pub(crate) fn new(setting: Setting) -> Self {
        Self::starting_at(START, setting)
    }

    pub(crate) fn starting_at(start: u64, setting: Setting) -> Self {
        let mut both = Both::new(setting.options.config());
        both.enable(micros(start));
        both.segment(micros(start));
        Self {
            setting,
            both,
            now: start,
            top: start,
            peer: Peer::Alive,
            on_the_way: Vec::new(),
            outstanding: false,
            device_works: true,
            budget: setting.budget,
            ledger: Ledger::new(setting.options, start),
            ended: false,
        }
    }

    /// What can happen next.
    pub(crate) fn steps(&self) -> Vec<Step> {
        if self.is_over() {
            return Vec::new();
        }
        let mut steps = vec![Step::Serve];
        let mut may = |condition: bool, step: Step| {
            if condition {
                steps.push(step);
            }
        };
        let Options { interval, .. } = self.ledger.options;
        let live = self.setting.live;
        let answer_is_urgent = self
            .on_the_way
            .iter()
            .any(|left| self.now + 1 >= left + interval);
        let must_act = self.is_due() || (live && answer_is_urgent);
        may(!must_act, Step::Tick);
        may(self.budget.sleeps > 0, Step::Sleep(4 * interval + 1));
        may(self.budget.sleeps > 0 && !live, Step::Sleep(interval + 1));
        may(self.budget.steps_back > 0, Step::ClockBack(3));
        may(!self.on_the_way.is_empty(), Step::Answered);
        let may_lose = !self.on_the_way.is_empty() && self.budget.losses != Some(0);
        may(may_lose, Step::Lost);
        let alive = self.peer == Peer::Alive;
        may(alive && !live, Step::PeerSpeaks);
        may(alive && !live, Step::PeerDies);
        may(alive && !live, Step::PeerReboots);
        may(self.budget.writes > 0 && !self.outstanding, Step::Write);
        may(self.outstanding, Step::AskForProbe);
        may(self.outstanding, Step::Retransmit);
        may(alive && self.outstanding, Step::Acknowledged);
        let may_fail = self.device_works && self.budget.device_failures > 0;
        may(may_fail, Step::DeviceFails);
        may(!self.device_works, Step::DeviceWorks);
        let off = self.state() == State::Disabled;
        may(!off && self.budget.switches > 0, Step::Disable);
        may(off, Step::Enable);
        if self.budget.reconfigurations > 0 {
            let others = self.setting.others.iter();
            steps.extend(others.map(Step::Reconfigure));
        }
        if self.budget.evidence > 0 {
            let all = [
                Learned::HopAsked,
                Learned::HopAnswered,
                Learned::Unreachable,
            ];
            steps.extend(all.map(Step::Learn));
        }
        steps
    }

    /// Lets it happen, and holds what the machine does against what it may do.
    pub(crate) fn step(&mut self, step: Step) {
        let now = micros(self.now);
        // K8: an application may set the same options over and over.
        self.both.set_config(now, self.both.config());
        match step {
            Step::Tick => self.now += 1,
            Step::Serve => self.serve(),
            Step::AskForProbe => self.ask_for_probe(),
            Step::Sleep(by) => {
                self.budget.sleeps -= 1;
                self.now += by;
                if self.setting.live {
                    self.on_the_way.clear();
                }
            }
            Step::ClockBack(by) => {
                self.budget.steps_back -= 1;
                self.now -= by;
            }
            Step::Answered if self.peer == Peer::Rebooted => self.reset(),
            Step::Answered => {
                self.on_the_way.remove(0);
                self.heard();
            }
            Step::Lost => {
                self.budget.losses = self.budget.losses.map(|losses| losses - 1);
                self.on_the_way.remove(0);
            }
            Step::PeerSpeaks => self.heard(),
            Step::PeerDies => self.peer = Peer::Dead,
            Step::PeerReboots => self.peer = Peer::Rebooted,
            Step::Write => {
                // A lead may write without being allowed to.
                self.budget.writes = self.budget.writes.saturating_sub(1);
                self.outstanding = true;
                self.send();
            }
            Step::Retransmit => self.send(),
            Step::Acknowledged => {
                self.outstanding = false;
                self.heard();
            }
            Step::DeviceFails => {
                self.budget.device_failures -= 1;
                self.device_works = false;
            }
            Step::DeviceWorks => self.device_works = true,
            Step::Disable => {
                self.budget.switches -= 1;
                self.both.disable();
                self.ledger.switched_off();
                assert_eq!(self.both.poll_timeout(), None, "K1");
            }
            Step::Enable => self.both.enable(now),
            Step::Reconfigure(options) => {
                self.budget.reconfigurations -= 1;
                self.reconfigure(*options);
            }
            Step::Learn(learned) => {
                self.budget.evidence -= 1;
                let due = self.both.poll_timeout();
                self.both.learn(learned);
                self.ledger.learned(learned);
                assert_eq!(self.both.poll_timeout(), due, "K20: a deadline moved");
            }
        }
        self.top = self.top.max(self.now);
    }

    pub(crate) fn is_over(&self) -> bool {
        self.ended || self.ledger.verdict.is_some()
    }

    pub(crate) fn verdict(&self) -> Option<Verdict> {
        self.ledger.verdict
    }

    /// All that decides what can follow, with times relative to now.
    ///
    /// Times so long past that nothing can depend on how long are one. The counters decide nothing.
    pub(crate) fn key(&self) -> String {
        let Self {
            setting,
            both,
            now,
            top,
            peer,
            on_the_way,
            outstanding,
            device_works,
            budget,
            ledger,
            ended,
        } = self;
        let still_to_come = 3 * u64::from(budget.steps_back);
        let possible = setting.others.iter().chain([&setting.options]);
        let longest = possible.map(|options| options.horizon()).max();
        let long_past = longest.unwrap() + still_to_come;
        let oldest = now - long_past;
        let on_the_way: Vec<_> = on_the_way
            .iter()
            .map(|left| left.saturating_sub(oldest))
            .collect();
        let Both { machine, model } = both;
        let mut deciding = format!("{machine:?}");
        for counter in COUNTERS {
            deciding = without(&deciding, counter);
        }
        let mut model: Model = model.clone();
        model.counts = Counts::default();
        format!(
            "{} {} {} {peer:?} {on_the_way:?} {outstanding} {device_works} {budget:?} {ended} {}",
            relative(&deciding, oldest),
            relative(&format!("{model:?}"), oldest),
            top - now,
            ledger.key(oldest),
        )
    }

    fn is_due(&self) -> bool {
        let due = self.both.poll_timeout();
        due.is_some_and(|due| due <= micros(self.now))
    }

    fn tcb(&self) -> Tcb {
        Tcb {
            snd_una: SeqNumber(100),
            snd_nxt: SeqNumber(100 + u32::from(self.outstanding)),
            rcv_nxt: SeqNumber(200),
            rcv_wnd: 512,
            timestamps: None,
            unsent: false,
        }
    }

    fn heard(&mut self) {
        self.both.segment(micros(self.now));
        self.ledger.heard(self.now);
    }

    fn send(&mut self) {
        let now = micros(self.now);
        if self.device_works {
            self.both.sent(now);
        } else {
            self.both.blocked(now);
        }
        if self.state() != State::Disabled {
            self.ledger.sent(self.now, self.device_works);
        }
    }

    fn reset(&mut self) {
        self.both.reset();
        self.ended = true;
        assert_eq!(self.state(), State::Disabled);
        self.comes_to_rest();
    }

    fn serve(&mut self) {
        let now = micros(self.now);
        let before = (self.state(), self.both.poll_timeout());
        let unsent_before = self.unsent_attempts();
        let is_spurious = !self.outstanding && before.1.is_none_or(|due| now < due);

        let is_off = before.0 == State::Disabled;
        self.ledger.seen(self.now, self.outstanding && !is_off);
        self.both.timeout(now, &self.tcb());
        if self.unsent_attempts() != unsent_before {
            self.ledger.unsent_attempt(self.now);
        }
        let probe = self.both.transmit(now, &self.tcb());
        let is_offered = probe.is_some();
        if let Some(probe) = probe {
            self.ledger.offered(self.now, self.outstanding);
            if self.device_works {
                self.both.transmitted(now, probe);
                self.ledger.left(self.now);
                if self.peer != Peer::Dead && self.on_the_way.len() < MAX_ON_THE_WAY {
                    self.on_the_way.push(self.now);
                }
            }
        } else {
            self.ledger.not_offered();
        }
        self.note_events();
        let next = self.both.poll_timeout();
        assert!(next.is_none_or(|next| next > now), "K13: {next:?} at {now}");
        if is_spurious && !is_offered {
            let after = self.state();
            assert_eq!(after, before.0, "K13: nothing was due");
            // K10: a clock that is behind brings forward what was remembered of the future.
            let is_brought_forward = next < before.1 && self.now == self.top;
            assert!(!is_brought_forward, "from {before:?} to {next:?}");
        }
    }

    fn unsent_attempts(&self) -> u64 {
        self.both.model.counts.unsent_attempts
    }

    fn ask_for_probe(&mut self) {
        let probe = self.both.transmit(micros(self.now), &self.tcb());
        if probe.is_some() {
            // Offered, and it does not leave.
            self.ledger.offered(self.now, self.outstanding);
        } else {
            self.ledger.not_offered();
        }
        self.note_events();
    }

    /// New options decide nothing; the next look does. They keep the count.
    fn reconfigure(&mut self, options: Options) {
        let unanswered = self.unanswered();
        let was_off = self.state() == State::Disabled;
        self.both.set_config(micros(self.now), options.config());
        assert_eq!(self.both.config(), options.config(), "K8");
        assert_eq!(self.verdict(), None, "K8: it was not polled");
        assert_eq!(self.unanswered(), unanswered, "K8: the count is kept");
        let is_off = self.state() == State::Disabled;
        assert_eq!(is_off, was_off, "K8");
        assert_eq!(self.both.poll_timeout().is_none(), is_off, "K8");
        self.ledger.reconfigured(self.now, options);
    }

    fn state(&self) -> State {
        self.both.machine.state()
    }

    fn unanswered(&self) -> u8 {
        match self.state() {
            State::Probing { unanswered } => unanswered,
            _ => 0,
        }
    }

    fn note_events(&mut self) {
        let mut is_given_up = false;
        while let Some(event) = self.both.event() {
            if let Event::TimedOut(verdict) = event {
                self.ledger.given_up(self.now, self.outstanding, verdict);
                is_given_up = true;
            }
        }
        if is_given_up {
            assert_eq!(self.state(), State::TimedOut);
            self.comes_to_rest();
        }
    }

    /// K14, K1: nothing comes any more.
    fn comes_to_rest(&mut self) {
        self.outstanding = false;
        for later in [0, 1, self.ledger.options.detection(), 100] {
            let now = micros(self.now + later);
            for options in self.setting.others {
                self.both.set_config(now, options.config());
            }
            self.both.segment(now);
            self.both.timeout(now, &self.tcb());
            assert!(self.both.transmit(now, &self.tcb()).is_none(), "K14");
            assert_eq!(self.both.event(), None, "K14: two verdicts");
            assert_eq!(self.both.poll_timeout(), None, "K14");
        }
    }
}

/// What has to come of a state in the end. Each of these uses the world up.
impl World {
    /// Nothing of the peer's arrives any more, nothing is outstanding, and the host is awake: the
    /// peer is given up within the detection time, whether probes can leave or not.
    pub(crate) fn gives_up_a_dead_peer(mut self, device_works: bool) {
        if self.is_over() || self.outstanding || self.state() == State::Disabled {
            return;
        }
        self.peer = Peer::Dead;
        self.device_works = device_works;
        let limit = self.top + self.ledger.options.detection();
        while !self.is_over() {
            assert!(self.now <= limit, "a dead peer is not given up: {self:?}");
            self.serve_if_due();
            self.now += 1;
        }
    }

    /// The same while the application sets its options again and again, whenever anything is due and
    /// whenever nothing is. Other options that are as long put nothing off; longer ones, and then these
    /// again, put the verdict off by one question at the most.
    pub(crate) fn gives_up_whatever_is_set(mut self, longer: u64) {
        let options = self.ledger.options;
        if self.is_over() || self.state() == State::Disabled {
            return;
        }
        self.peer = Peer::Dead;
        self.device_works = true;
        let once_more = if longer > 0 { options.interval } else { 0 };
        let takes = match options.user_timeout {
            None if self.outstanding => return,
            Some(timeout) if self.outstanding => timeout + 2 * options.interval,
            _ => options.detection(),
        };
        let limit = self.top + takes + once_more;
        let others = Options {
            interval: options.interval + longer,
            ..options
        };
        let other = others.config().with_payload(ProbePayload::GarbageOctet);
        while !self.is_over() {
            assert!(self.now <= limit, "a dead peer is not given up: {self:?}");
            for (options, config) in [(others, other), (options, options.config())] {
                self.both.set_config(micros(self.now), config);
                self.ledger.reconfigured(self.now, options);
            }
            if self.outstanding {
                self.send();
            }
            self.serve_if_due();
            self.now += 1;
        }
    }

    /// Something is outstanding and sent again and again: the user timeout decides, and nothing
    /// else does.
    pub(crate) fn gives_up_by_the_user_timeout_alone(mut self) {
        if self.is_over() || !self.outstanding || self.state() == State::Disabled {
            return;
        }
        self.peer = Peer::Dead;
        self.device_works = true;
        let Options {
            user_timeout,
            interval,
            ..
        } = self.ledger.options;
        let limit = match user_timeout {
            // What asks when it strikes has an interval, and so has one more question after a late
            // poll.
            Some(timeout) => self.top + timeout + 2 * interval,
            None => self.top + 3 * self.ledger.options.detection(),
        };
        while self.now <= limit && !self.is_over() {
            self.send();
            self.serve_if_due();
            self.now += 1;
        }
        let cause = self.verdict().map(|verdict| verdict.cause);
        let expected = user_timeout.map(|_| Cause::UserTimeout);
        assert_eq!(cause, expected, "{self:?}");
    }

    /// The peer is alive and from now on everything arrives: once a probe has left, it is never
    /// given up.
    pub(crate) fn keeps_a_live_peer(mut self) {
        if self.is_over() || self.outstanding {
            return;
        }
        self.peer = Peer::Alive;
        self.device_works = true;
        self.on_the_way.clear();
        let end = self.top + 3 * self.ledger.options.detection();
        let mut asked = false;
        while self.now <= end {
            self.serve_if_due();
            if self.is_over() {
                assert!(!asked, "a live peer is given up: {self:?}");
                return;
            }
            while !self.on_the_way.is_empty() {
                asked = true;
                self.step(Step::Answered);
            }
            self.now += 1;
        }
    }

    fn serve_if_due(&mut self) {
        if self.is_due() {
            self.serve();
        }
    }
}

/// What decides nothing, as the machine writes it.
const COUNTERS: [&str; 6] = [
    "late_polls: ",
    "probes_sent: ",
    "probes_answered: ",
    "last_rtt: ",
    "unsent_attempts: ",
    "verdicts: ",
];

/// `text`, without the value of `field`.
fn without(text: &str, field: &str) -> String {
    let (before, value) = text.split_once(field).expect(field);
    let end = value.find([',', '}']).unwrap();
    format!("{before}{}", &value[end..])
}

/// `text`, with moments counted from `oldest`; what is older is as old. Nothing but a moment is as
/// large a number as the beginning.
fn relative(text: &str, oldest: u64) -> String {
    let is_digit = |c: char| c.is_ascii_digit();
    let mut relative = String::new();
    let mut rest = text;
    while let Some(start) = rest.find(is_digit) {
        let (before, number) = rest.split_at(start);
        let end = number.find(|c| !is_digit(c)).unwrap_or(number.len());
        let (number, after) = number.split_at(end);
        relative.push_str(before);
        match number.parse::<u64>() {
            Ok(micros) if micros >= START / 2 * TICK_MICROS => {
                let since = micros.saturating_sub(oldest * TICK_MICROS);
                relative.push_str(&since.to_string());
            }
            _ => relative.push_str(number),
        }
        rest = after;
    }
    relative + rest
}
