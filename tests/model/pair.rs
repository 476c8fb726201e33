//! The machine and its model side by side, with a clock, a connection, and probes that leave or not.

use std::time::Duration;

use tcp_keepalive::{Config, Probe, SeqNumber, Tcb};

use super::both::Both;
use super::operation::{Leaves, Move, Operation, with_count};
use super::rules::Learned;

const START: u64 = 1_000_000_000;
const START_CONFIG: Config = match Config::new(Duration::from_secs(10), Duration::from_secs(2), 3) {
    Ok(config) => config,
    Err(_) => panic!("no such configuration"),
};

#[derive(Debug)]
pub(crate) struct Pair {
    both: Both,
    now: u64,
    tcb: Tcb,
    /// A probe that was offered and is neither sent nor dropped.
    kept: Option<Probe>,
}

impl Pair {
    pub(crate) fn new() -> Self {
        Self {
            both: Both::new(START_CONFIG),
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
        let Self { both, now, .. } = self;
        let now = *now;
        match operation {
            Operation::Enable => both.enable(now),
            Operation::Disable => both.disable(),
            Operation::Reset => both.reset(),
            Operation::Configure(settings) => self.configure(settings.config()),
            Operation::ConfigureAgain => self.configure(Some(self.both.config())),
            Operation::ConfigureCount(count) => {
                self.configure(with_count(self.both.config(), *count));
            }
            Operation::Segment => both.segment(now),
            Operation::Sent => both.sent(now),
            Operation::Blocked => both.blocked(now),
            Operation::HopAsked => both.learn(Learned::HopAsked),
            Operation::HopAnswered => both.learn(Learned::HopAnswered),
            Operation::Unreachable => both.learn(Learned::Unreachable),
            Operation::Connection(connection) => self.tcb = connection.tcb(),
            Operation::Timeout => both.timeout(now, &self.tcb),
            Operation::Transmit(leaves) => self.transmit(*leaves),
            Operation::LeavesLate => {
                if let Some(probe) = self.kept.take() {
                    both.transmitted(now, probe);
                }
            }
            Operation::Event => {
                both.event();
            }
            Operation::Poll(leaves) => self.poll(*leaves),
            Operation::Clock(to) => self.now = self.moved(to),
        }
    }

    fn configure(&mut self, config: Option<Config>) {
        if let Some(config) = config {
            self.both.set_config(self.now, config);
        }
    }

    fn transmit(&mut self, leaves: Leaves) {
        match (self.both.transmit(self.now, &self.tcb), leaves) {
            (None, _) | (Some(_), Leaves::Never) => {}
            (Some(probe), Leaves::Now) => self.both.transmitted(self.now, probe),
            (Some(probe), Leaves::Later) => self.kept = Some(probe),
        }
    }

    fn poll(&mut self, leaves: Leaves) {
        self.both.timeout(self.now, &self.tcb);
        self.transmit(leaves);
        while self.both.event().is_some() {}
        // K13; at the end of time there is no future.
        let next = self.both.poll_timeout();
        assert!(
            next.is_none_or(|next| next > self.now || self.now == u64::MAX),
            "K13: {next:?} at {}",
            self.now
        );
    }

    fn moved(&self, to: &Move) -> u64 {
        let due = self.both.poll_timeout().unwrap_or(self.now);
        match *to {
            Move::ToDue(micros) => due.saturating_add_signed(i64::from(micros)),
            Move::PastDue(intervals, micros) => {
                let interval = self.both.config().interval() * u32::from(intervals);
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
}
