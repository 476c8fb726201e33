//! The chart's SVG elements.

mod arrow;
mod badge;
mod legend;
mod shade;

use svg::node::element::{Group, Line, Path, Rectangle, SVG, Style, Text};

use super::super::fold::{Cut, Fold, Row};
use super::super::label::Labels;
use super::super::{Trace, phrase};
use super::layout::{AXIS, Layout, Pause, Placed};
use super::style;

/// Heights of what is above and below the rows.
const TITLE: i32 = 40;
const NAMES: i32 = 40;
const EDGE: i32 = 10;
/// How wide a letter is, rather too much than too little.
const LETTER: i32 = 7;

/// The whole document.
pub(super) fn document(trace: &Trace, labels: &Labels, title: &str, layout: &Layout<'_>) -> SVG {
    let (legend, legend_height) = legend::legend(labels, layout);
    let title_height = if title.is_empty() { EDGE } else { TITLE };
    let names_at = title_height + legend_height;
    let rows_at = names_at + NAMES;
    let height = rows_at + layout.height + NAMES;
    SVG::new()
        .set("width", layout.width)
        .set("height", height)
        .set("viewBox", (0, 0, layout.width, height))
        .add(Style::new(style::SHEET))
        .add(rectangle(0, 0, layout.width, height).set("fill", style::PAPER))
        .add(
            text(&fitting(title, layout.width * 7 / 10), EDGE + 6, 27)
                .set("class", "title")
                .set("fill", style::INK),
        )
        .add(moved(legend, title_height))
        .add(moved(rows(trace, labels, layout), rows_at))
        .add(moved(names(trace, layout), names_at))
        .add(moved(names(trace, layout), rows_at + layout.height))
}

fn rows(trace: &Trace, labels: &Labels, layout: &Layout<'_>) -> Group {
    let mut group = Group::new()
        .add(shade::shades(trace, layout))
        .add(lanes(trace, layout));
    for pause in &layout.pauses {
        group = group.add(pause_mark(pause, layout));
    }
    let mut arrows = Group::new();
    let mut front = Group::new();
    let mut room = Room::default();
    for placed in &layout.rows {
        if let Row::Note(note) = &placed.row {
            badge::Marker::new(note, placed.y, trace, layout).reserve(&mut room);
        }
    }
    for placed in &layout.rows {
        if placed.has_time {
            front = front.add(time(placed, layout));
        }
        match &placed.row {
            Row::Frame(sent) => {
                let arrow = arrow::Arrow::new(sent, placed, trace, labels, layout);
                arrows = arrows.add(arrow.line());
                front = front.add(arrow.words(&mut room));
            }
            Row::Note(note) => {
                let marker = badge::Marker::new(note, placed.y, trace, layout);
                front = front.add(marker.draw(layout));
            }
            Row::Fold(fold) => front = front.add(banner(&fold_text(fold), placed.y, layout)),
            Row::Cut(cut) => front = front.add(banner(&cut_text(cut), placed.y, layout)),
        }
    }
    group.add(arrows).add(front)
}

/// The nodes' names, above or below their lanes.
fn names(trace: &Trace, layout: &Layout<'_>) -> Group {
    let mut group = Group::new();
    for (name, x) in nodes(trace, layout) {
        let width = letters(name) * 5 / 4 + 24;
        group = group
            .add(
                rectangle(x - width / 2, 6, width, 26)
                    .set("rx", 5)
                    .set("fill", "#f6f8fa")
                    .set("stroke", style::LANE),
            )
            .add(
                text(name, x, 24)
                    .set("class", "name")
                    .set("text-anchor", "middle")
                    .set("fill", style::INK),
            );
    }
    group
}

fn lanes(trace: &Trace, layout: &Layout<'_>) -> Group {
    let lanes = nodes(trace, layout).map(|(_, x)| {
        line(x, -8, x, layout.height + 8)
            .set("stroke", style::LANE)
            .set("stroke-width", 2)
    });
    lanes.fold(Group::new(), Group::add)
}

fn nodes(trace: &Trace, layout: &Layout<'_>) -> impl Iterator<Item = (&'static str, i32)> {
    let names = trace.node_names().iter().enumerate();
    names.map(|(index, name)| (*name, layout.lane(super::super::NodeId(index))))
}

fn time(placed: &Placed<'_>, layout: &Layout<'_>) -> Text {
    text(
        &format!("{} s", phrase::seconds(placed.row.from(), layout.decimals)),
        AXIS - 12,
        placed.y + 4,
    )
    .set("class", "time")
    .set("text-anchor", "end")
    .set("fill", style::FAINT)
}

/// A pause: how long it was at the axis, or, if it was long, across all lanes, which are broken.
fn pause_mark(pause: &Pause, layout: &Layout<'_>) -> Group {
    let Pause {
        y,
        height,
        is_long,
        text: words,
    } = pause;
    let middle = y + height / 2;
    if !is_long {
        let words = text(words, AXIS - 12, middle)
            .set("class", "small")
            .set("text-anchor", "end")
            .set("font-style", "italic")
            .set("fill", style::FAINT);
        return Group::new().add(words);
    }
    let (left, right) = (AXIS, layout.width - EDGE);
    let zigzag = |y: i32| zigzag(left, right, y);
    let (upper, lower) = (middle - 11, middle + 11);
    Group::new()
        .add(rectangle(left, upper, right - left, 22).set("fill", style::PAPER))
        .add(zigzag(upper))
        .add(zigzag(lower))
        .add(
            text(words, i32::midpoint(left, right), middle + 4)
                .set("class", "fold")
                .set("text-anchor", "middle")
                .set("fill", style::FAINT),
        )
}

fn zigzag(left: i32, right: i32, y: i32) -> Path {
    let mut path = format!("M{left},{y}");
    let mut x = left;
    let mut is_up = true;
    while x + 8 <= right {
        x += 8;
        path.push_str(if is_up { " l8,-4" } else { " l8,4" });
        is_up = !is_up;
    }
    Path::new()
        .set("d", path)
        .set("fill", "none")
        .set("stroke", style::LANE)
}

fn fold_text(fold: &Fold) -> String {
    format!("… {} …", fold.words())
}

fn cut_text(cut: &Cut<'_>) -> String {
    let length = phrase::length(cut.to.saturating_duration_since(cut.from));
    format!("… {} more rows, {length}, are not drawn …", cut.rows)
}

/// Words across all lanes.
fn banner(words: &str, y: i32, layout: &Layout<'_>) -> Group {
    let (left, right) = (AXIS, layout.width - EDGE);
    let words = fitting(words, right - left);
    Group::new()
        .add(
            rectangle(left, y - 12, right - left, 24)
                .set("rx", 4)
                .set("fill", "#f6f8fa")
                .set("stroke", style::LANE)
                .set("stroke-dasharray", "4 3"),
        )
        .add(
            text(&words, i32::midpoint(left, right), y + 4)
                .set("class", "fold")
                .set("text-anchor", "middle")
                .set("fill", style::FAINT),
        )
}

/// Where words stand already.
#[derive(Debug, Default)]
struct Room {
    /// Left, top, right, bottom.
    taken: Vec<[i32; 4]>,
}

impl Room {
    fn take(&mut self, area: [i32; 4]) {
        self.taken.push(area);
    }

    /// The first of `places` (middle and baseline) that words of that width have room at, or the
    /// first of all.
    fn find(&mut self, places: &[(i32, i32)], width: i32) -> Option<(i32, i32)> {
        // The height of a line, and a little air.
        let area = |(x, y): (i32, i32)| [x - width / 2, y - 12, x + width / 2, y + 3];
        let is_free = |place: &&(i32, i32)| {
            let [left, top, right, bottom] = area(**place);
            let mut taken = self.taken.iter();
            !taken.any(|[l, t, r, b]| left < *r && *l < right && top < *b && *t < bottom)
        };
        let place = places.iter().find(is_free).or(places.first()).copied()?;
        self.take(area(place));
        Some(place)
    }
}

fn moved(group: Group, y: i32) -> Group {
    group.set("transform", format!("translate(0 {y})"))
}

fn rectangle(x: i32, y: i32, width: i32, height: i32) -> Rectangle {
    Rectangle::new()
        .set("x", x)
        .set("y", y)
        .set("width", width)
        .set("height", height)
}

fn line(x1: i32, y1: i32, x2: i32, y2: i32) -> Line {
    Line::new()
        .set("x1", x1)
        .set("y1", y1)
        .set("x2", x2)
        .set("y2", y2)
}

fn text(words: &str, x: i32, y: i32) -> Text {
    Text::new(words).set("x", x).set("y", y)
}

/// How wide words are, about.
fn letters(words: &str) -> i32 {
    i32::try_from(words.chars().count())
        .unwrap_or(i32::MAX)
        .saturating_mul(LETTER)
}

/// As many of the words as fit.
fn fitting(words: &str, width: i32) -> String {
    if letters(words) <= width {
        return words.to_owned();
    }
    let room = usize::try_from(width / LETTER - 1).unwrap_or_default();
    words.chars().take(room).chain(['…']).collect()
}
