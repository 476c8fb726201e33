//! The machine and its model side by side: the same is done to both, and both have to say the same.

use std::time::Duration;

use tcp_keepalive::{Config, KeepAlive, Probe, SeqNumber, Stats, Tcb};

use super::operation::{Leaves, Move, Operation, with_count};
use super::rules::{Counts, Model, Segment, instant};

const START: u64 = 1_000_000_000;
const START_CONFIG: Config = match Config::new(Duration::from_secs(10), Duration::from_secs(2), 3) {
    Ok(config) => config,
    Err(_) => panic!("no such configuration"),
};

#[derive(Debug)]
pub(crate) struct Pair {
    machine: KeepAlive,
    model: Model,
    now: u64,
    tcb: Tcb,
    /// A probe that was offered and is neither sent nor dropped.
    kept: Option<Probe>,
}

impl Pair {
    pub(crate) fn new() -> Self {
        Self {
            machine: KeepAlive::new(START_CONFIG),
            model: Model::new(START_CONFIG),
            now: START,
            tcb: Tcb {
                snd_una: SeqNumber(0),
                snd_nxt: SeqNumber(0),
                rcv_nxt: SeqNumber(7),
                rcv_wnd: 512,
                timestamps: None,
                unsent: false,
            },
            kept: None,
        }
    }

    /// Does it to both, and compares all there is to see.
    ///
    /// # Panics
    ///
    /// If they differ.
    pub(crate) fn apply(&mut self, operation: &Operation) {
        let now = self.now;
        let at = instant(now);
        match operation {
            Operation::Enable => {
                self.machine.enable(at);
                self.model.enable(now);
            }
            Operation::Disable => {
                self.machine.disable();
                self.model.disable();
            }
            Operation::Reset => {
                self.machine.reset();
                self.model.reset();
            }
            Operation::Configure(settings) => self.configure(settings.config()),
            Operation::ConfigureAgain => self.configure(Some(self.model.config)),
            Operation::ConfigureCount(count) => {
                self.configure(with_count(self.model.config, *count));
            }
            Operation::Segment => {
                self.machine.handle_segment(at);
                self.model.segment(now);
            }
            Operation::Sent => {
                self.machine.handle_sent(at);
                self.model.sent(now);
            }
            Operation::Blocked => {
                self.machine.handle_blocked(at);
                self.model.blocked(now);
            }
            Operation::Connection(connection) => self.tcb = connection.tcb(),
            Operation::Timeout => self.timeout(),
            Operation::Transmit(leaves) => self.transmit(*leaves),
            Operation::LeavesLate => {
                if let Some(probe) = self.kept.take() {
                    self.transmitted(probe);
                }
            }
            Operation::Event => {
                self.event();
            }
            Operation::Poll(leaves) => self.poll(*leaves),
            Operation::Clock(to) => self.now = self.moved(to),
        }
        self.compare();
    }

    fn configure(&mut self, config: Option<Config>) {
        if let Some(config) = config {
            self.machine.set_config(instant(self.now), config);
            self.model.set_config(self.now, config);
        }
    }

    fn timeout(&mut self) {
        self.machine.handle_timeout(instant(self.now), &self.tcb);
        self.model.timeout(self.now, &self.tcb);
    }

    fn transmit(&mut self, leaves: Leaves) {
        let offered = self.machine.poll_transmit(instant(self.now), &self.tcb);
        let expected = self.model.transmit(self.now, &self.tcb);
        assert_eq!(offered.as_ref().map(segment), expected);
        match (offered, leaves) {
            (None, _) | (Some(_), Leaves::Never) => {}
            (Some(probe), Leaves::Now) => self.transmitted(probe),
            (Some(probe), Leaves::Later) => self.kept = Some(probe),
        }
    }

    fn transmitted(&mut self, probe: Probe) {
        self.machine.handle_transmitted(instant(self.now), probe);
        self.model.transmitted(self.now);
    }

    /// Whether there was one.
    fn event(&mut self) -> bool {
        let event = self.machine.poll_event();
        assert_eq!(event, self.model.event());
        event.is_some()
    }

    fn poll(&mut self, leaves: Leaves) {
        self.timeout();
        self.transmit(leaves);
        while self.event() {}
        // K13; at the end of time there is no future.
        let next = self.machine.poll_timeout();
        assert!(
            next.is_none_or(|next| next > instant(self.now) || self.now == u64::MAX),
            "K13: {next:?} at {}",
            self.now
        );
    }

    fn moved(&self, to: &Move) -> u64 {
        let due = self.model.poll_timeout().unwrap_or(self.now);
        match *to {
            Move::ToDue(micros) => due.saturating_add_signed(i64::from(micros)),
            Move::PastDue(intervals, micros) => {
                let interval = self.model.config.interval() * u32::from(intervals);
                let past = u64::try_from(interval.as_micros()).unwrap_or(u64::MAX);
                due.saturating_add(past)
                    .saturating_add_signed(i64::from(micros))
            }
            Move::Forward(by) => self.now.saturating_add(by.micros()),
            Move::Back(by) => self.now.saturating_sub(by.micros()),
            Move::To(moment) => moment,
            Move::NearTheEnd(micros) => u64::MAX - u64::from(micros),
        }
    }

    fn compare(&self) {
        let Self { machine, model, .. } = self;
        assert_eq!(machine.state(), model.state());
        assert_eq!(machine.poll_timeout(), model.poll_timeout().map(instant));
        assert_eq!(machine.verdict(), model.verdict());
        assert_eq!(machine.last_heard(), model.heard.map(instant));
        assert_eq!(machine.config(), model.config);
        compare_counts(machine.stats(), model.counts);
    }
}

fn compare_counts(stats: Stats, counts: Counts) {
    let Stats {
        probes_sent,
        probes_answered,
        unsent_attempts,
        verdicts,
        late_polls,
        last_rtt,
        ..
    } = stats;
    assert_eq!(
        [
            probes_sent,
            probes_answered,
            unsent_attempts,
            verdicts,
            late_polls
        ],
        counts.saturated()
    );
    assert_eq!(last_rtt, counts.last_rtt.map(Duration::from_micros));
}

fn segment(probe: &Probe) -> Segment {
    Segment {
        seq: probe.seq().0,
        ack: probe.ack().0,
        window: probe.window(),
        timestamps: probe.timestamps(),
        payload: probe.payload().to_vec(),
    }
}
