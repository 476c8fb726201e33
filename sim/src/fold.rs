//! Which rows a chart has, and which lines a text: what repeats itself is folded.

use super::label::{Label, Labels};
use super::trace::{Entry, Fate, Happening, Lost, Note, Sent};
use super::{LinkId, NodeId, Trace, phrase};
use crate::{Event, Instant};

/// The longest pattern that is looked for.
const LONGEST_PERIOD: usize = 12;
/// How often a pattern is shown before its repetitions are folded, and after.
const SHOWN_BEFORE: usize = 3;
const SHOWN_AFTER: usize = 1;
/// Less is not worth the reader's trouble. A verdict after nine probes shows all of them.
const LEAST_FOLDED: usize = 8;
/// How many verdicts are drawn although all around them is not.
const MOST_VERDICTS: usize = 10;

/// A row of a chart.
#[derive(Clone, Debug)]
pub(crate) enum Row<'t> {
    Frame(&'t Sent),
    Note(&'t Note),
    /// What happened again and again.
    Fold(Fold),
    /// What there was no room for.
    Cut(Cut<'t>),
}

#[derive(Clone, Debug)]
pub(crate) struct Fold {
    pub(crate) times: usize,
    /// What is repeated.
    pub(crate) what: Vec<String>,
    pub(crate) from: Instant,
    pub(crate) to: Instant,
}

#[derive(Clone, Debug)]
pub(crate) struct Cut<'t> {
    pub(crate) rows: usize,
    pub(crate) from: Instant,
    pub(crate) to: Instant,
    /// What is not drawn may still matter for what is drawn below.
    pub(crate) notes: Vec<&'t Note>,
}

impl Fold {
    /// How often, for how long, and what.
    pub(crate) fn words(&self) -> String {
        let length = phrase::length(self.to.saturating_duration_since(self.from));
        let what = self.what.join(", ");
        format!("{} more times in {length}: {what}", self.times)
    }
}

impl Row<'_> {
    /// One row for many; one for itself, and none for none.
    fn cut(rows: &[Self]) -> Option<Self> {
        if let [only] = rows {
            return Some(only.clone());
        }
        let (first, last) = rows.first().zip(rows.last())?;
        let notes = rows.iter().filter_map(|row| match row {
            Self::Note(note) => Some(*note),
            _ => None,
        });
        Some(Self::Cut(Cut {
            rows: rows.len(),
            from: first.from(),
            to: last.to(),
            notes: notes.collect(),
        }))
    }

    const fn is_verdict(&self) -> bool {
        matches!(
            self,
            Self::Note(Note {
                what: Happening::KeepAlive {
                    event: Event::TimedOut(_),
                    ..
                },
                ..
            })
        )
    }

    pub(crate) const fn from(&self) -> Instant {
        match self {
            Self::Frame(sent) => sent.at,
            Self::Note(note) => note.at,
            Self::Fold(fold) => fold.from,
            Self::Cut(cut) => cut.from,
        }
    }

    pub(crate) const fn to(&self) -> Instant {
        match self {
            Self::Frame(_) | Self::Note(_) => self.from(),
            Self::Fold(fold) => fold.to,
            Self::Cut(cut) => cut.to,
        }
    }
}

/// The rows of a chart of `trace`, with frames that look for neighbours or without: about `most` at
/// most.
pub(crate) fn rows<'t>(
    trace: &'t Trace,
    labels: &Labels,
    most: usize,
    has_neighbors: bool,
) -> Vec<Row<'t>> {
    let is_shown = |entry: &&Entry| {
        has_neighbors || !matches!(entry, Entry::Sent(sent) if sent.kind.is_about_neighbors())
    };
    let entries: Vec<&Entry> = trace.entries().iter().filter(is_shown).collect();
    let rows = folded(&entries, trace, labels);
    if rows.len() <= most {
        return rows;
    }
    let head = most.saturating_mul(2) / 3;
    let tail = rows.len() - most.saturating_sub(head + 1);
    let (Some(before), Some(cut), Some(after)) =
        (rows.get(..head), rows.get(head..tail), rows.get(tail..))
    else {
        return rows;
    };
    let (before, after) = (before.iter().cloned(), after.iter().cloned());
    before.chain(middle(cut)).chain(after).collect()
}

/// The rows that stand for `cut`: only its verdicts are drawn, because they are what charts are
/// looked at for.
fn middle<'t>(cut: &[Row<'t>]) -> Vec<Row<'t>> {
    let is_verdict = |row: &Row<'_>| row.is_verdict();
    let verdicts = cut.iter().enumerate().filter(|(_, row)| is_verdict(row));
    let last = verdicts.map(|(index, _)| index).nth(MOST_VERDICTS - 1);
    let end = last.map_or(cut.len(), |last| last + 1);
    let (marked, rest) = cut.split_at(end.min(cut.len()));
    let mut rows = Vec::new();
    for piece in marked.split_inclusive(is_verdict).chain([rest]) {
        match piece.split_last() {
            Some((verdict, hidden)) if is_verdict(verdict) => {
                rows.extend(Row::cut(hidden));
                rows.push(verdict.clone());
            }
            _ => rows.extend(Row::cut(piece)),
        }
    }
    rows
}

/// The entries, with repeats folded.
pub(crate) fn folded<'t>(entries: &[&'t Entry], trace: &Trace, labels: &Labels) -> Vec<Row<'t>> {
    let likes: Vec<_> = entries
        .iter()
        .map(|entry| Like::of(entry, labels))
        .collect();
    let mut rows = Vec::new();
    let mut next = 0;
    while let Some(&entry) = entries.get(next) {
        let Some(Pattern { period, times }) = Pattern::at(likes.get(next..).unwrap_or_default())
        else {
            rows.push(row(entry));
            next += 1;
            continue;
        };
        let first = next + SHOWN_BEFORE * period;
        let last = next + (times - SHOWN_AFTER) * period;
        let end = next + times * period;
        let shown = |from: usize, to: usize| entries.get(from..to).unwrap_or_default();
        rows.extend(shown(next, first).iter().copied().map(row));
        if let Some((from, to)) = shown(first, last).first().zip(shown(first, last).last()) {
            rows.push(Row::Fold(Fold {
                times: times - SHOWN_BEFORE - SHOWN_AFTER,
                what: shown(next, next + period)
                    .iter()
                    .filter_map(|entry| name(entry, trace, labels))
                    .collect(),
                from: from.at(),
                to: to.at(),
            }));
        }
        rows.extend(shown(last, end).iter().copied().map(row));
        next = end;
    }
    rows
}

/// A row of its own.
pub(crate) const fn row(entry: &Entry) -> Row<'_> {
    match entry {
        Entry::Sent(sent) => Row::Frame(sent),
        Entry::Note(note) => Row::Note(note),
    }
}

fn name(entry: &Entry, trace: &Trace, labels: &Labels) -> Option<String> {
    Some(match entry {
        Entry::Sent(sent) => match labels.of(sent.id)? {
            Label::Probe { .. } => "probe".to_owned(),
            label => label.to_string(),
        },
        Entry::Note(note) => note.phrase(trace),
    })
}

/// As much of an entry as has to be the same for it to be the same thing again.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Like {
    Frame {
        from: NodeId,
        link: LinkId,
        label: Option<Label>,
        lost: Option<Lost>,
        is_changed: bool,
    },
    Event {
        node: Option<NodeId>,
        is_suspect: bool,
    },
    /// Like nothing else: whatever happens to nodes and links, and each verdict, has its row.
    Nothing,
}

impl Like {
    fn of(entry: &Entry, labels: &Labels) -> Self {
        match entry {
            Entry::Sent(sent) => Self::Frame {
                from: sent.from,
                link: sent.link,
                label: labels.of(sent.id).map(|label| match label {
                    Label::Probe { .. } => Label::Probe { number: 0 },
                    label => label,
                }),
                lost: match sent.fate {
                    Fate::Lost { how, .. } => Some(how),
                    _ => None,
                },
                is_changed: sent.damaged.is_some() || sent.copy_of.is_some(),
            },
            Entry::Note(note) => match note.what {
                Happening::KeepAlive {
                    event: event @ (Event::Suspect { .. } | Event::Recovered { .. }),
                    ..
                } => Self::Event {
                    node: note.node,
                    is_suspect: matches!(event, Event::Suspect { .. }),
                },
                _ => Self::Nothing,
            },
        }
    }
}

/// So many entries, so often in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Pattern {
    period: usize,
    times: usize,
}

impl Pattern {
    /// The shortest pattern that `likes` begins with and that is worth folding.
    fn at(likes: &[Like]) -> Option<Self> {
        (1..=LONGEST_PERIOD).find_map(|period| {
            let mut times = 1;
            let first = likes.get(..period)?;
            if first.contains(&Like::Nothing) {
                return None;
            }
            while likes.get(times * period..(times + 1) * period) == Some(first) {
                times += 1;
            }
            let folded = times.saturating_sub(SHOWN_BEFORE + SHOWN_AFTER);
            (folded * period >= LEAST_FOLDED).then_some(Self { period, times })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn like(number: u32) -> Like {
        Like::Frame {
            from: NodeId(0),
            link: LinkId(0),
            label: Some(Label::Probe { number }),
            lost: None,
            is_changed: false,
        }
    }

    /// Eleven of a kind are all shown, twelve are folded.
    #[test]
    fn few_repetitions_are_shown() {
        assert_eq!(Pattern::at(&[like(0); 11]), None);
        let (period, times) = (1, 12);
        assert_eq!(Pattern::at(&[like(0); 12]), Some(Pattern { period, times }));
    }

    /// A pattern may be of several entries, and ends where it is broken.
    #[test]
    fn patterns_have_a_period() {
        let mut likes: Vec<_> = (0..60).map(|number| like(number % 3)).collect();
        likes.push(like(7));
        let (period, times) = (3, 20);
        assert_eq!(Pattern::at(&likes), Some(Pattern { period, times }));
        assert_eq!(Pattern::at(&[Like::Nothing; 60]), None);
    }
}
