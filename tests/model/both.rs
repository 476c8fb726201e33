//! The machine and its model: the same is done to both, and both have to say the same.

use std::time::Duration;

use tcp_keepalive::{Config, Event, KeepAlive, Probe, Stats, Tcb};

use super::rules::{Counts, Learned, Model, Segment, instant};

/// Each of its methods panics if the two differ.
#[derive(Debug)]
pub(crate) struct Both {
    pub(crate) machine: KeepAlive,
    pub(crate) model: Model,
}

impl Both {
    pub(crate) fn new(config: Config) -> Self {
        Self {
            machine: KeepAlive::new(config),
            model: Model::new(config),
        }
    }

    pub(crate) fn enable(&mut self, now: u64) {
        self.machine.enable(instant(now));
        self.model.enable(now);
        self.compare();
    }

    pub(crate) fn disable(&mut self) {
        self.machine.disable();
        self.model.disable();
        self.compare();
    }

    pub(crate) fn reset(&mut self) {
        self.machine.reset();
        self.model.reset();
        self.compare();
    }

    pub(crate) fn set_config(&mut self, now: u64, config: Config) {
        self.machine.set_config(instant(now), config);
        self.model.set_config(now, config);
        self.compare();
    }

    pub(crate) fn segment(&mut self, now: u64) {
        self.machine.handle_segment(instant(now));
        self.model.segment(now);
        self.compare();
    }

    pub(crate) fn sent(&mut self, now: u64) {
        self.machine.handle_sent(instant(now));
        self.model.sent(now);
        self.compare();
    }

    pub(crate) fn blocked(&mut self, now: u64) {
        self.machine.handle_blocked(instant(now));
        self.model.blocked(now);
        self.compare();
    }

    pub(crate) fn learn(&mut self, learned: Learned) {
        match learned {
            Learned::HopAsked => self.machine.handle_hop_asked(),
            Learned::HopAnswered => self.machine.handle_hop_answered(),
            Learned::Unreachable => self.machine.handle_unreachable(),
        }
        self.model.learn(learned);
        self.compare();
    }

    pub(crate) fn timeout(&mut self, now: u64, tcb: &Tcb) {
        self.machine.handle_timeout(instant(now), tcb);
        self.model.timeout(now, tcb);
        self.compare();
    }

    pub(crate) fn transmit(&mut self, now: u64, tcb: &Tcb) -> Option<Probe> {
        let offered = self.machine.poll_transmit(instant(now), tcb);
        let expected = self.model.transmit(now, tcb);
        assert_eq!(offered.as_ref().map(segment), expected);
        self.compare();
        offered
    }

    pub(crate) fn transmitted(&mut self, now: u64, probe: Probe) {
        self.machine.handle_transmitted(instant(now), probe);
        self.model.transmitted(now);
        self.compare();
    }

    pub(crate) fn event(&mut self) -> Option<Event> {
        let event = self.machine.poll_event();
        assert_eq!(event, self.model.event());
        self.compare();
        event
    }

    /// In microseconds.
    pub(crate) fn poll_timeout(&self) -> Option<u64> {
        self.model.poll_timeout()
    }

    pub(crate) fn config(&self) -> Config {
        self.model.config
    }

    fn compare(&self) {
        let Self { machine, model } = self;
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
