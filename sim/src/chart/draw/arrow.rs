//! Frames.

use svg::node::element::{Group, Line, Path, Polygon, Text, Title};

use super::super::super::label::Labels;
use super::super::super::phrase;
use super::super::super::trace::{Fate, Lost, Sent};
use super::super::super::wire::Kind;
use super::super::super::{Label, Trace};
use super::super::layout::{Layout, Placed, is_lost_at_its_end};
use super::super::style::{self, Role};
use super::{Room, fitting, letters, line, text};

/// The lines of frames that do not arrive, and of copies.
pub(super) const DASHED: &str = "6 4";
pub(super) const DOTTED: &str = "2 3";
/// From a lane to an arrow's end.
const GAP: i32 = 3;
/// Where along its way an arrow ends that does not arrive, in percent.
const LOST_AT: i32 = 46;
const WAITS_AT: i32 = 60;
/// How much room there is for words beyond a lane.
const BESIDE_A_LANE: i32 = 126;
/// How much lower that would have been by then.
const DROP: i32 = 12;

/// A frame, as an arrow.
pub(super) struct Arrow<'a> {
    sent: &'a Sent,
    role: Role,
    words: String,
    tip: String,
    start: (i32, i32),
    end: (i32, i32),
    /// To the right 1, to the left -1.
    towards: i32,
    /// How long it could be.
    length: i32,
    /// Above it there is no room: it is short, and another arrow ends where it begins.
    has_words_below: bool,
}

impl<'a> Arrow<'a> {
    pub(super) fn new(
        sent: &'a Sent,
        placed: &Placed<'_>,
        trace: &Trace,
        labels: &Labels,
        layout: &Layout<'_>,
    ) -> Self {
        let label = labels.of(sent.id).unwrap_or(Label::Other);
        let (from, to) = (layout.lane(sent.from), layout.lane(sent.to));
        let towards = if to >= from { 1 } else { -1 };
        let start = (from + towards * GAP, placed.y);
        let length = (to - from).abs() - 2 * GAP;
        let part = |percent: i32| {
            let x = from + towards * (GAP + length * percent / 100);
            (x, placed.y + DROP * percent / 100)
        };
        let end = match (placed.arrival, sent.fate) {
            (Some(arrival), _) => (to - towards * GAP, arrival),
            (None, Fate::Arrived { .. }) => (to - towards * GAP, placed.y),
            (None, Fate::Lost { how, .. }) if is_lost_at_its_end(how) => {
                (to - towards * GAP, placed.y)
            }
            (None, Fate::Lost { .. }) => part(LOST_AT),
            (None, Fate::Held | Fate::OnItsWay { .. }) => part(WAITS_AT),
        };
        Self {
            sent,
            role: Role::of(label),
            words: words(sent, label, labels),
            tip: tip(sent, label, trace, labels),
            start,
            end,
            towards,
            length,
            has_words_below: end.0 != to - towards * GAP && placed.is_below_heads,
        }
    }

    /// The arrow itself.
    pub(super) fn line(&self) -> Group {
        let ((x1, y1), (x2, y2)) = (self.start, self.end);
        let colour = self.role.colour();
        let is_lost = matches!(self.sent.fate, Fate::Lost { .. });
        let mut shaft: Line = line(x1, y1, x2, y2)
            .set("stroke", colour)
            .set("stroke-width", 1.8);
        if is_lost || matches!(self.sent.fate, Fate::Held) {
            shaft = shaft.set("stroke-dasharray", DASHED);
        } else if self.sent.copy_of.is_some() {
            shaft = shaft.set("stroke-dasharray", DOTTED);
        }
        let group = Group::new().add(Title::new(self.tip.as_str())).add(shaft);
        if is_lost {
            group.add(cross(x2, y2))
        } else {
            group.add(head(self.start, self.end).set("fill", colour))
        }
    }

    /// What stands beside it: what it is, and why it was lost.
    pub(super) fn words(&self, room: &mut Room) -> Group {
        let ((x1, y1), (x2, y2)) = (self.start, self.end);
        // In its middle, where it is farthest from others that begin or end where it does; if
        // others were there first, before or after it.
        let words = fitting(&self.words, self.length);
        let width = letters(&words);
        // Above the arrow, which slopes: wide words have to be higher.
        let rise = (y2 - y1) * width / 2 / (x2 - x1).abs().max(1);
        let offset = if self.has_words_below {
            14
        } else {
            -4 - rise.clamp(1, 8)
        };
        let places = [50, 36, 64, 24, 76].map(|percent| {
            let along = |from: i32, to: i32| from + (to - from) * percent / 100;
            (along(x1, x2), along(y1, y2) + offset)
        });
        let mut group = Group::new();
        if let Some((x, y)) = room.find(&places, width) {
            group = group.add(
                text(&words, x, y)
                    .set("class", "halo")
                    .set("text-anchor", "middle")
                    .set("fill", self.role.colour()),
            );
        }
        match self.sent.fate {
            Fate::Lost { how, .. } => group.add(self.remark(how.phrase(), how)),
            Fate::Held => group.add(self.after("held", "#9a6700")),
            Fate::OnItsWay { .. } => group.add(self.after("still on its way", style::FAINT)),
            Fate::Arrived { .. } => group,
        }
    }

    fn remark(&self, why: &str, how: Lost) -> Text {
        if is_lost_at_its_end(how) {
            self.after(&fitting(why, BESIDE_A_LANE), style::LOSS)
        } else {
            self.after(&fitting(why, self.length / 2), style::LOSS)
        }
    }

    /// Words beyond the arrow's end.
    fn after(&self, words: &str, colour: &'static str) -> Text {
        let (x, y) = self.end;
        let anchor = if self.towards > 0 { "start" } else { "end" };
        text(words, x + self.towards * 13, y + 4)
            .set("class", "small halo")
            .set("text-anchor", anchor)
            .set("fill", colour)
    }
}

fn words(sent: &Sent, label: Label, labels: &Labels) -> String {
    let mut words = match &sent.kind {
        Kind::NeighborQuery(query) => format!("who has {}?", query.target),
        _ => label.to_string(),
    };
    if let (true, Some(segment)) = (labels.conversations() > 1, sent.kind.tcp()) {
        let ports = format!(" ({} to {})", segment.src_port, segment.dst_port);
        words.push_str(&ports);
    }
    if sent.damaged.is_some() {
        words.push_str(", damaged");
    }
    if sent.copy_of.is_some() {
        words.push_str(", a copy");
    }
    words
}

/// What is shown of a frame when the reader points at it.
fn tip(sent: &Sent, label: Label, trace: &Trace, labels: &Labels) -> String {
    let mut tip = vec![
        label.to_string(),
        format!("{} to {}", trace.name(sent.from), trace.name(sent.to)),
        format!("sent at {} s", phrase::seconds(sent.at, 6)),
    ];
    if let (Some(segment), Some(reading)) = (sent.kind.tcp(), labels.reading(sent.id)) {
        tip.push(format!("port {} to {}", segment.src_port, segment.dst_port));
        tip.push(format!("seq {}", reading.seq));
        tip.extend(reading.ack.map(|ack| format!("ack {ack}")));
        tip.push(format!("win {}", segment.window));
        tip.push(format!("len {}", segment.payload.len()));
    }
    tip.push(match sent.fate {
        Fate::Arrived { at } => format!("arrives at {} s", phrase::seconds(at, 6)),
        Fate::Lost { how, .. } => format!("lost: {}", how.phrase()),
        Fate::Held => "held".to_owned(),
        Fate::OnItsWay { .. } => "still on its way".to_owned(),
    });
    tip.join(", ")
}

pub(super) fn cross(x: i32, y: i32) -> Path {
    Path::new()
        .set("d", format!("M{},{} l10,10 m0,-10 l-10,10", x - 5, y - 5))
        .set("fill", "none")
        .set("stroke", style::LOSS)
        .set("stroke-width", 2.4)
        .set("stroke-linecap", "round")
}

/// A head at `end` for an arrow from `start`.
fn head(start: (i32, i32), end: (i32, i32)) -> Polygon {
    let (x, y) = (f64::from(end.0), f64::from(end.1));
    let (dx, dy) = (x - f64::from(start.0), y - f64::from(start.1));
    let length = (dx * dx + dy * dy).sqrt().max(1.0);
    let (ux, uy) = (dx / length, dy / length);
    let point = |back: f64, aside: f64| {
        format!(
            "{:.1},{:.1}",
            x - back * ux - aside * uy,
            y - back * uy + aside * ux
        )
    };
    let points = [point(0.0, 0.0), point(10.0, 4.0), point(10.0, -4.0)];
    Polygon::new().set("points", points.join(" "))
}
