//! What matters of a trace, as seen by one host: its probes, what became of them, and all that is
//! no frame.

use std::fmt::Write;

use smoltcp::wire::IpEndpoint;
use tcp_keepalive::smoltcp::CloseReason;
use tcp_keepalive::{Event, Instant};
use tcp_keepalive_sim::trace::{Entry, Fate, Happening, Lost, Note, Sent};
use tcp_keepalive_sim::wire::Segment;
use tcp_keepalive_sim::{Label, Labels, NodeId, Room, Trace};

/// A run of lines that all say much the same is cut in its middle.
const LONGEST_ROUTINE: usize = 8;
/// So much is left of it at either end.
const HEAD: usize = 4;
const TAIL: usize = 2;

/// What matters, a line each, timed from `beginning`.
pub(crate) fn digest(trace: &Trace, host: NodeId, beginning: Instant) -> String {
    let mut digest = Digest {
        trace,
        host,
        labels: trace.labels(),
        lines: Vec::new(),
    };
    for entry in trace.entries() {
        match entry {
            Entry::Sent(sent) => digest.frame(sent),
            Entry::Note(note) => digest.note(note),
        }
    }
    digest.text(beginning)
}

struct Digest<'t> {
    trace: &'t Trace,
    host: NodeId,
    labels: Labels,
    lines: Vec<Line>,
}

struct Line {
    at: Instant,
    words: String,
    /// How often that happened at that very moment.
    times: usize,
    /// What it says is said often.
    is_routine: bool,
    /// It is about a probe of that connection, whose answer may come.
    asks: Option<[IpEndpoint; 2]>,
}

impl Digest<'_> {
    fn frame(&mut self, sent: &Sent) {
        let (Some(segment), Some(label)) = (sent.kind.tcp(), self.labels.of(sent.id)) else {
            return;
        };
        if sent.from == self.host {
            self.departure(sent, segment, label);
        } else if let (true, Fate::Arrived { at }) = (sent.to == self.host, sent.fate) {
            self.arrival(segment, label, at);
        }
    }

    fn departure(&mut self, sent: &Sent, segment: &Segment, label: Label) {
        let mut words = match label {
            Label::SynAck => "accepts a connection".to_owned(),
            Label::Rst => "sends RST".to_owned(),
            Label::Probe { .. }
            | Label::WindowProbe
            | Label::Retransmission { .. }
            | Label::Data { .. } => label.to_string(),
            _ => return,
        };
        let is_lost = match sent.fate {
            Fate::Lost { how, .. } => {
                let by = self.trace.name(sent.to);
                match how {
                    Lost::Refused(_) => {
                        let _ = write!(words, ", dropped by the {by}");
                    }
                    _ => words.push_str(", lost"),
                }
                true
            }
            _ => false,
        };
        let is_probe = matches!(label, Label::Probe { .. }) && !is_lost;
        let asks = is_probe.then(|| connection(segment));
        let is_routine = matches!(
            label,
            Label::Probe { .. } | Label::WindowProbe | Label::Retransmission { .. } | Label::Rst
        );
        self.lines.push(Line {
            at: sent.at,
            words,
            times: 1,
            is_routine,
            asks,
        });
    }

    fn arrival(&mut self, segment: &Segment, label: Label, at: Instant) {
        match label {
            Label::SynAck => self.say(at, "is connected", false),
            Label::Rst => {
                self.answer(segment, at, "reset");
                self.say(at, "receives RST", true);
            }
            Label::Answer => self.answer(segment, at, "answered"),
            _ => {}
        }
    }

    /// Enters the answer into the line of its probe.
    fn answer(&mut self, segment: &Segment, at: Instant, how: &str) {
        let [from, to] = connection(segment);
        let mut lines = self.lines.iter_mut().rev();
        if let Some(line) = lines.find(|line| line.asks == Some([to, from])) {
            let after = at.saturating_duration_since(line.at);
            let _ = write!(line.words, ", {how} after {after:?}");
            line.asks = None;
        }
    }

    fn note(&mut self, note: &Note) {
        let is_own = note.node == Some(self.host);
        let name = match (note.node, note.link.and_then(|link| self.trace.ends(link))) {
            (Some(other), _) if !is_own => format!("the {} ", self.trace.name(other)),
            (None, Some([a, b])) => {
                format!("{}-{}: ", self.trace.name(a), self.trace.name(b))
            }
            _ => String::new(),
        };
        let is_routine = matches!(
            note.what,
            Happening::KeepAlive {
                event: Event::Suspect { .. } | Event::Recovered { .. },
                ..
            }
        );
        if let Some(words) = happening(&note.what) {
            self.say(note.at, &format!("{name}{words}"), is_routine);
        }
    }

    fn say(&mut self, at: Instant, words: &str, is_routine: bool) {
        self.lines.push(Line {
            at,
            words: words.to_owned(),
            times: 1,
            is_routine,
            asks: None,
        });
    }

    fn text(&mut self, beginning: Instant) -> String {
        // An arrival stands where its frame was sent.
        self.lines.sort_by_key(|line| line.at);
        for line in &mut self.lines {
            if line.asks.is_some() {
                line.words.push_str(", not answered");
            }
        }
        self.lines.dedup_by(|line, before| {
            let is_same = (line.at, &line.words) == (before.at, &before.words);
            before.times += usize::from(is_same);
            is_same
        });
        let mut text = String::new();
        for part in self.lines.chunk_by(|a, b| a.is_routine == b.is_routine) {
            let is_long = part.len() > LONGEST_ROUTINE && part.iter().all(|line| line.is_routine);
            let left_out = if is_long { part.len() - HEAD - TAIL } else { 0 };
            for (index, line) in part.iter().enumerate() {
                if left_out == 0 || index < HEAD || index >= HEAD + left_out {
                    line.write(beginning, &mut text);
                } else if index == HEAD {
                    let _ = writeln!(text, "{:>17}  ... and so on, {left_out} times", "");
                }
            }
        }
        text
    }
}

impl Line {
    fn write(&self, beginning: Instant, text: &mut String) {
        let time = self.at.saturating_duration_since(beginning);
        let (whole, micros) = (time.as_secs(), time.subsec_micros());
        let times = match self.times {
            1 => String::new(),
            times => format!(", {times} times"),
        };
        let words = &self.words;
        let _ = writeln!(text, "{whole:>8}.{micros:06} s  {words}{times}");
    }
}

fn connection(segment: &Segment) -> [IpEndpoint; 2] {
    [
        IpEndpoint::new(segment.src_addr, segment.src_port),
        IpEndpoint::new(segment.dst_addr, segment.dst_port),
    ]
}

/// What happened, in words; `None` for what was told before.
fn happening(what: &Happening) -> Option<String> {
    Some(match what {
        Happening::KeepAlive { handle, event } => match event {
            Event::Suspect { unanswered } => {
                format!("{handle} is suspected, {unanswered} unanswered")
            }
            Event::Recovered { unanswered } => {
                format!("{handle} is back, after {unanswered} unanswered")
            }
            Event::TimedOut(verdict) => format!("{handle} is given up: {verdict}"),
            other => format!("{handle}: {other:?}"),
        },
        Happening::Ended { handle, reason } => match reason {
            CloseReason::KeepAlive(_) | CloseReason::UserTimeout(_) => return None,
            CloseReason::PeerReset { while_probing } => {
                let when = if *while_probing {
                    ", while probing"
                } else {
                    ""
                };
                format!("{handle} was reset by the peer{when}")
            }
            CloseReason::Closed => format!("{handle} was closed"),
            other => format!("{handle} has ended: {other:?}"),
        },
        Happening::Crashed => "is switched off".to_owned(),
        Happening::Rebooted { .. } => "is switched on again".to_owned(),
        Happening::Sleeps { .. } => "sleeps".to_owned(),
        Happening::Woke => "wakes".to_owned(),
        Happening::Room(Room::Plenty) => "transmits again".to_owned(),
        Happening::Room(_) => "can transmit no more".to_owned(),
        Happening::ClockJumped(by) => format!("the clock is set forward by {by:?}"),
        Happening::ClockSteppedBack(by) => format!("the clock is set back by {by:?}"),
        Happening::Unplugged => "the cable is pulled".to_owned(),
        Happening::ConditionsChanged { .. } => "other conditions".to_owned(),
        Happening::MappingExpired { .. } | Happening::MappingEvicted { .. } => {
            "forgets a connection".to_owned()
        }
        Happening::Text(text) => text.clone(),
        other => format!("{other:?}"),
    })
}
