//! What is no frame.

use svg::node::element::{Circle, Group};

use super::super::super::trace::{Happening, Note};
use super::super::super::{NodeId, Trace};
use super::super::layout::{AXIS, Layout};
use super::super::style::{self, Badge};
use super::{EDGE, fitting, letters, line, rectangle, text};

/// A note: on its node's lane, between the lanes of its link, or across all of them.
pub(super) fn badge(note: &Note, y: i32, trace: &Trace, layout: &Layout<'_>) -> Group {
    let words = words(note, trace);
    let ends = note.link.and_then(|link| trace.ends(link));
    match (note.node, ends) {
        (Some(node), _) => on_lane(note, &words, node, y, layout),
        (None, Some([a, b])) => {
            let (a, b) = (layout.lane(a), layout.lane(b));
            let bar = line(a, y, b, y)
                .set("stroke", Badge::of(note).edge)
                .set("stroke-dasharray", "2 4");
            let place = boxed(note, &words, i32::midpoint(a, b), y, layout);
            Group::new().add(bar).add(place)
        }
        (None, None) => remark(&words, y, layout),
    }
}

/// The words, with the socket's number if it is not the first one.
fn words(note: &Note, trace: &Trace) -> String {
    let words = note.phrase(trace);
    let socket = match note.what {
        Happening::KeepAlive { handle, .. } | Happening::Ended { handle, .. } => handle.to_string(),
        _ => return words,
    };
    if socket == "#0" {
        words
    } else {
        format!("{socket} {words}")
    }
}

fn on_lane(note: &Note, words: &str, node: NodeId, y: i32, layout: &Layout<'_>) -> Group {
    let x = layout.lane(node);
    let dot = Circle::new()
        .set("cx", x)
        .set("cy", y)
        .set("r", 4)
        .set("fill", Badge::of(note).edge);
    Group::new().add(dot).add(boxed(note, words, x, y, layout))
}

/// Words in a box around (x, y), or as near to it as there is room.
fn boxed(note: &Note, words: &str, x: i32, y: i32, layout: &Layout<'_>) -> Group {
    let Badge {
        fill,
        edge,
        text: ink,
    } = Badge::of(note);
    let (left, right) = (AXIS, layout.width - EDGE);
    let words = fitting(words, right - left - 20);
    let width = letters(&words) + 20;
    let x = (x - width / 2).min(right - width).max(left);
    Group::new()
        .add(
            rectangle(x, y - 11, width, 22)
                .set("rx", 11)
                .set("fill", fill)
                .set("stroke", edge),
        )
        .add(
            text(&words, x + width / 2, y + 4)
                .set("text-anchor", "middle")
                .set("fill", ink),
        )
}

fn remark(words: &str, y: i32, layout: &Layout<'_>) -> Group {
    let (left, right) = (AXIS, layout.width - EDGE);
    let words = fitting(words, right - left);
    Group::new()
        .add(
            line(left, y, right, y)
                .set("stroke", style::LANE)
                .set("stroke-dasharray", "1 3"),
        )
        .add(
            text(&words, i32::midpoint(left, right), y + 4)
                .set("class", "fold halo")
                .set("text-anchor", "middle")
                .set("fill", style::INK),
        )
}
