//! A trace as text: one line for all that happened, in columns.

use core::fmt;

use super::fold::{Row, folded, row};
use super::label::{Labels, Reading};
use super::phrase;
use super::trace::{Fate, Sent};
use super::wire::Kind;
use super::world::START;
use super::{FrameId, Trace};
use crate::Instant;

impl Trace {
    /// Returns the trace as text, under a legend that says what the columns are.
    ///
    /// ```
    /// # use tcp_keepalive_sim::World;
    /// let mut world = World::new(1);
    /// world.remark("nothing yet");
    /// println!("{}", world.trace().text().last(20));
    /// ```
    pub const fn text(&self) -> Text<'_> {
        Text {
            trace: self,
            last: usize::MAX,
            is_folded: false,
        }
    }
}

/// A trace, to be shown as text: [`Trace::text`].
#[derive(Clone, Copy, Debug)]
#[must_use = "it is for being displayed"]
pub struct Text<'t> {
    trace: &'t Trace,
    last: usize,
    is_folded: bool,
}

impl Text<'_> {
    /// Shows one line for what happens again and again, as in a chart.
    pub const fn folded(mut self) -> Self {
        self.is_folded = true;
        self
    }

    /// Shows only the last so many lines. What they mean still follows from all that was before.
    pub const fn last(mut self, lines: usize) -> Self {
        self.last = lines;
        self
    }
}

impl<'t> Text<'t> {
    fn rows(&self, labels: &Labels) -> Vec<Row<'t>> {
        let entries: Vec<_> = self.trace.entries().iter().collect();
        if self.is_folded {
            folded(&entries, self.trace, labels)
        } else {
            entries.into_iter().map(row).collect()
        }
    }
}

const LEGEND: &str = "\
time: seconds since the world began, when the frame was sent    +: seconds since the line above
seq, ack: counted from the initial number of the side they number    fate: what became of the frame
=== marks what is no frame";

impl fmt::Display for Text<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels = self.trace.labels();
        let rows = self.rows(&labels);
        let skipped = rows.len().saturating_sub(self.last);
        let mut before = match skipped.checked_sub(1).and_then(|last| rows.get(last)) {
            Some(row) => row.to(),
            None => START,
        };
        let mut lines = Vec::new();
        for row in rows.iter().skip(skipped) {
            lines.push(match row {
                Row::Frame(sent) => frame_line(self.trace, &labels, sent, before),
                Row::Note(note) => note_line(note.at, note.sentence(self.trace), before),
                Row::Fold(fold) => note_line(fold.from, fold.words(), before),
                // There is room for all.
                Row::Cut(_) => continue,
            });
            before = row.to();
        }
        writeln!(f, "{LEGEND}")?;
        match skipped + self.trace.forgotten() {
            0 => {}
            1 => writeln!(f, "(1 line before is not shown)")?,
            lines => writeln!(f, "({lines} lines before are not shown)")?,
        }
        Columns::of(&lines).write(f, &lines)
    }
}

/// A line, cell by cell.
struct Line {
    time: String,
    since: String,
    rest: Rest,
}

enum Rest {
    /// A frame's cells, in the order of the columns.
    Frame([String; CELLS]),
    /// What fills the rest of the line.
    Note(String),
}

const CELLS: usize = 9;
const HEADINGS: [&str; CELLS] = [
    "frame", "from", "to", "what", "seq", "ack", "win", "len", "fate",
];
/// Numbers are aligned at their right.
const IS_NUMBER: [bool; CELLS] = [true, false, false, false, true, true, true, true, false];

fn frame_line(trace: &Trace, labels: &Labels, sent: &Sent, before: Instant) -> Line {
    let reading = labels.reading(sent.id);
    let [seq, ack, window, len] = numbers(sent, reading);
    Line {
        time: phrase::seconds(sent.at, 6),
        since: since(sent.at, before),
        rest: Rest::Frame([
            number(sent.id),
            trace.name(sent.from).to_owned(),
            trace.name(sent.to).to_owned(),
            what(sent, reading),
            seq,
            ack,
            window,
            len,
            fate(sent),
        ]),
    }
}

fn note_line(at: Instant, words: String, before: Instant) -> Line {
    Line {
        time: phrase::seconds(at, 6),
        since: since(at, before),
        rest: Rest::Note(words),
    }
}

fn since(at: Instant, before: Instant) -> String {
    format!(
        "+{}",
        phrase::in_seconds(at.saturating_duration_since(before), 6)
    )
}

fn number(frame: FrameId) -> String {
    format!("#{}", frame.0)
}

fn what(sent: &Sent, reading: Option<Reading>) -> String {
    let label = reading.map_or_else(String::new, |reading| reading.label.to_string());
    match &sent.kind {
        Kind::NeighborQuery(query) => format!("who has {}?", query.target),
        _ => label,
    }
}

fn numbers(sent: &Sent, reading: Option<Reading>) -> [String; 4] {
    let (Some(segment), Some(reading)) = (sent.kind.tcp(), reading) else {
        return [const { String::new() }; 4];
    };
    [
        reading.seq.to_string(),
        reading.ack.map_or_else(String::new, |ack| ack.to_string()),
        segment.window.to_string(),
        segment.payload.len().to_string(),
    ]
}

fn fate(sent: &Sent) -> String {
    let after = |at: Instant| phrase::in_seconds(at.saturating_duration_since(sent.at), 6);
    let mut text = match sent.fate {
        Fate::Held => "held".to_owned(),
        Fate::OnItsWay { arrives } => format!("on its way, to arrive after {}", after(arrives)),
        Fate::Arrived { at } => format!("arrives after {}", after(at)),
        Fate::Lost { how, .. } => format!("LOST: {}", how.phrase()),
    };
    if sent.damaged.is_some() {
        text.push_str(", DAMAGED");
    }
    if let Some(original) = sent.copy_of {
        text.push_str(", copy of ");
        text.push_str(&number(original));
    }
    text
}

/// How wide the columns are.
struct Columns {
    time: usize,
    since: usize,
    cells: [usize; CELLS],
}

impl Columns {
    fn of(lines: &[Line]) -> Self {
        let mut columns = Self {
            time: "time".len(),
            since: "+".len(),
            cells: HEADINGS.map(str::len),
        };
        for line in lines {
            columns.time = columns.time.max(line.time.len());
            columns.since = columns.since.max(line.since.len());
            if let Rest::Frame(cells) = &line.rest {
                for (width, cell) in columns.cells.iter_mut().zip(cells) {
                    *width = (*width).max(cell.chars().count());
                }
            }
        }
        columns
    }

    fn line(&self, line: &Line) -> String {
        let Line { time, since, rest } = line;
        let (times, sinces) = (self.time, self.since);
        let mut cells = vec![format!("{time:>times$}"), format!("{since:>sinces$}")];
        match rest {
            Rest::Note(note) => cells.push(format!("=== {note}")),
            Rest::Frame(frame) => {
                let columns = frame.iter().zip(self.cells).zip(IS_NUMBER);
                cells.extend(columns.map(|((cell, width), is_number)| {
                    if is_number {
                        format!("{cell:>width$}")
                    } else {
                        format!("{cell:<width$}")
                    }
                }));
            }
        }
        cells.join("  ")
    }

    fn write(&self, f: &mut fmt::Formatter<'_>, lines: &[Line]) -> fmt::Result {
        let heading = Line {
            time: "time".to_owned(),
            since: "+".to_owned(),
            rest: Rest::Frame(HEADINGS.map(str::to_owned)),
        };
        for line in core::iter::once(&heading).chain(lines) {
            let text = self.line(line);
            writeln!(f, "{}", text.trim_end())?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::super::label::tests::{brisk, connected};

    /// Each frame is a line in columns, whatever else happened is a line that no one mistakes for
    /// a frame's, and the legend is above.
    #[test]
    fn text_is_aligned() {
        let mut scene = connected(brisk(), false);
        scene.world.crash(scene.peer).unwrap();
        scene.world.run_for(Duration::from_secs(10)).unwrap();
        let text = scene.world.trace().text().to_string();
        let lines: Vec<_> = text.lines().skip(3).collect();
        let expected = [
            "     time          +  frame  from    to      what     seq  ack   win  len  fate",
            " 0.000000  +0.000000     #0  device  peer    SYN        0       1024    0  arrives after 0.010000",
            " 0.010000  +0.010000     #1  peer    device  SYN-ACK    0    1  4096    0  arrives after 0.010000",
            " 0.020000  +0.010000     #2  device  peer    ack        1    1  1024    0  arrives after 0.010000",
            " 1.000000  +0.980000  === peer: crashed",
            "10.020000  +9.020000     #4  device  peer    probe 1    0    1  1024    0  LOST: no receiver",
        ];
        assert_eq!(lines, expected);
    }

    /// What repeats itself is one line, and what is told of it is how often it did.
    #[test]
    fn repeats_are_folded() {
        let mut scene = connected(brisk(), false);
        scene.world.run_for(Duration::from_secs(1_000)).unwrap();
        let text = scene.world.trace().text();
        let (all, folded) = (text.to_string(), text.folded().to_string());
        let count = |text: &str, what| text.lines().filter(|line| line.contains(what)).count();
        let probes = count(&all, "probe 1");
        assert!(probes > 90);
        assert_eq!(count(&folded, "  probe 1  "), 4);
        let left = format!("{} more times in", probes - 4);
        assert_eq!(count(&folded, left.as_str()), 1);
        assert!(text.folded().last(2).to_string().lines().count() < 8);
    }

    /// The last lines are the same lines, and it is said that there were others.
    #[test]
    fn last_lines() {
        let scene = connected(brisk(), false);
        let text = scene.world.trace().text();
        let (all, last) = (text.to_string(), text.last(2).to_string());
        let lines = |text: &str| {
            text.lines()
                .rev()
                .take(2)
                .map(str::to_owned)
                .collect::<Vec<_>>()
        };
        assert_eq!(lines(&last), lines(&all));
        assert!(last.contains("(1 line before is not shown)"));
        assert!(text.last(0).to_string().contains("(3 lines before are"));
    }
}
