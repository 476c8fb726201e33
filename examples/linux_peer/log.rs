//! What the user gets to read.

use std::io::{self, Write};
use std::process;

use smoltcp::time::Instant;
use tcp_keepalive::smoltcp::CloseReason;
use tcp_keepalive::{Config, Event, Stats, Verdict};

/// Tells of what keep-alive does.
pub(crate) struct Log {
    count: u8,
    /// What was counted until the last poll.
    stats: Stats,
    /// Probes that have left since the peer was last heard.
    unanswered: u8,
    /// The peer that was heard had left more than one probe unanswered.
    has_recovered: bool,
}

impl Log {
    pub(crate) fn new(config: Config) -> Self {
        let (idle, interval, count) = (config.idle(), config.interval(), config.count());
        let detection_time = config.detection_time();
        print_line(&format!(
            "keep-alive: idle {idle:?}, interval {interval:?}, count {count}: \
             a verdict after {detection_time:?} of silence"
        ));
        Self {
            count,
            stats: Stats::default(),
            unanswered: 0,
            has_recovered: false,
        }
    }

    /// Tells of an attempt that has failed at this end.
    pub(crate) fn unsent(&self, now: Instant, stats: Stats) {
        if stats.unsent_attempts > self.stats.unsent_attempts {
            say(now, "no probe could leave");
        }
    }

    pub(crate) fn event(&mut self, now: Instant, event: Event) {
        match event {
            Event::Suspect { .. } => say(now, "suspect: the first attempt has failed"),
            Event::Recovered { unanswered } => {
                self.has_recovered = true;
                say(
                    now,
                    &format!("recovered, with {unanswered} probes unanswered"),
                );
            }
            Event::TimedOut(verdict) => say(now, &format!("verdict: {verdict}")),
            _ => {}
        }
    }

    /// Tells of probes and answers by what was counted since the last poll.
    pub(crate) fn probes(&mut self, now: Instant, stats: Stats) {
        let before = self.stats;
        if self.has_recovered || stats.probes_answered > before.probes_answered {
            if let Some(rtt) = stats.last_rtt.filter(|_| !self.has_recovered) {
                say(now, &format!("answer after {rtt:?}"));
            }
            self.unanswered = 0;
            self.has_recovered = false;
        }
        if stats.probes_sent > before.probes_sent {
            self.unanswered = self.unanswered.saturating_add(1);
            say(now, &format!("probe {} of {}", self.unanswered, self.count));
        }
        self.stats = stats;
    }

    pub(crate) fn end(&self, now: Instant, reason: CloseReason) {
        let Stats {
            probes_sent,
            probes_answered,
            ..
        } = self.stats;
        let reason = match reason {
            CloseReason::KeepAlive(Verdict { unanswered: 0, .. }) => {
                "no probe could leave: suspect this end, not the peer"
            }
            CloseReason::KeepAlive(_) => "the peer did not answer our probes",
            CloseReason::UserTimeout(_) => "the peer did not acknowledge what we sent",
            CloseReason::PeerReset {
                while_probing: true,
            } => "the peer reset the connection when probed: it has restarted, or forgotten us",
            CloseReason::PeerReset { .. } => "the peer reset the connection",
            CloseReason::Closed => "both sides closed the connection",
            CloseReason::LocalAbort => "we aborted the connection",
            _ => "the connection ended",
        };
        let counts = format!("{probes_sent} probes, {probes_answered} answered");
        say(now, &format!("closed: {reason} ({counts})"));
    }
}

/// Prints what happens, with the time since the start at which it does.
pub(crate) fn say(now: Instant, text: &str) {
    let micros = now.total_micros();
    let (secs, micros) = (micros / 1_000_000, micros % 1_000_000);
    print_line(&format!("{secs:>5}.{micros:06} s  {text}"));
}

/// As `println!`, but the reader may go away, as `head` does.
pub(crate) fn print_line(text: &str) {
    if writeln!(io::stdout(), "{text}").is_err() {
        process::exit(1);
    }
}
