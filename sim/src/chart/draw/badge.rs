//! What is no frame.

use svg::node::element::{Circle, Group};

use super::super::super::Trace;
use super::super::super::trace::Note;
use super::super::layout::{AXIS, Layout};
use super::super::style::{self, Badge};
use super::{EDGE, Room, fitting, letters, line, rectangle, text};

const HEIGHT: i32 = 22;
/// What is left of the words, and right of them.
const PADDING: i32 = 10;

/// A note, as words in a box: on its node's lane, between the lanes of its link, or, without a
/// box, across all of them.
pub(super) struct Marker<'n> {
    note: &'n Note,
    words: String,
    place: Place,
    y: i32,
    left: i32,
    width: i32,
}

#[derive(Clone, Copy)]
enum Place {
    Lane(i32),
    Between(i32, i32),
    Across,
}

impl<'n> Marker<'n> {
    pub(super) fn new(note: &'n Note, y: i32, trace: &Trace, layout: &Layout<'_>) -> Self {
        let ends = note.link.and_then(|link| trace.ends(link));
        let (left, right) = (AXIS, layout.width - EDGE);
        let (place, middle) = match (note.node, ends) {
            (Some(at), _) => {
                let lane = layout.lane(at);
                (Place::Lane(lane), lane)
            }
            (None, Some([a, b])) => {
                let (a, b) = (layout.lane(a), layout.lane(b));
                (Place::Between(a, b), i32::midpoint(a, b))
            }
            (None, None) => (Place::Across, i32::midpoint(left, right)),
        };
        let words = fitting(&note.phrase(trace), right - left - 2 * PADDING);
        let width = letters(&words) + 2 * PADDING;
        Self {
            note,
            words,
            place,
            y,
            // Around the middle, or as near to it as there is room.
            left: (middle - width / 2).min(right - width).max(left),
            width,
        }
    }

    /// Takes its room, so that nothing else is written there.
    pub(super) fn reserve(&self, room: &mut Room) {
        let (top, bottom) = (self.y - HEIGHT / 2, self.y + HEIGHT / 2);
        room.take([self.left, top, self.left + self.width, bottom]);
    }

    pub(super) fn draw(&self, layout: &Layout<'_>) -> Group {
        let y = self.y;
        let Badge { edge, .. } = Badge::of(self.note);
        match self.place {
            Place::Lane(x) => {
                let dot = Circle::new().set("cx", x).set("cy", y).set("r", 4);
                Group::new().add(dot.set("fill", edge)).add(self.boxed())
            }
            Place::Between(a, b) => {
                let bar = line(a, y, b, y).set("stroke", edge);
                let bar = bar.set("stroke-dasharray", "2 4");
                Group::new().add(bar).add(self.boxed())
            }
            Place::Across => {
                let bar = line(AXIS, y, layout.width - EDGE, y).set("stroke", style::LANE);
                let bar = bar.set("stroke-dasharray", "1 3");
                let words = self
                    .text()
                    .set("class", "fold halo")
                    .set("fill", style::INK);
                Group::new().add(bar).add(words)
            }
        }
    }

    fn boxed(&self) -> Group {
        let Badge {
            fill,
            edge,
            text: ink,
        } = Badge::of(self.note);
        let area = rectangle(self.left, self.y - HEIGHT / 2, self.width, HEIGHT)
            .set("rx", HEIGHT / 2)
            .set("fill", fill)
            .set("stroke", edge);
        Group::new().add(area).add(self.text().set("fill", ink))
    }

    fn text(&self) -> svg::node::element::Text {
        let middle = self.left + self.width / 2;
        text(&self.words, middle, self.y + 4).set("text-anchor", "middle")
    }
}
