//! Stretches of time in which a node is not there, or a link does not pass everything.

use std::collections::BTreeMap;

use svg::node::element::{Group, Rectangle};

use super::super::super::fold::Row;
use super::super::super::trace::{Happening, Note};
use super::super::super::{LinkId, NodeId, Trace};
use super::super::layout::Layout;
use super::super::style;
use super::rectangle;

/// How wide the shade of a node is.
const WIDTH: i32 = 14;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Place {
    Node(NodeId),
    Link(LinkId),
}

/// The shades of all nodes and links.
pub(super) fn shades(trace: &Trace, layout: &Layout<'_>) -> Group {
    let mut open: BTreeMap<Place, (i32, &'static str)> = BTreeMap::new();
    let mut group = Group::new();
    for placed in &layout.rows {
        let notes = match &placed.row {
            Row::Note(note) => core::slice::from_ref(note),
            Row::Cut(cut) => &cut.notes,
            Row::Frame(_) | Row::Fold(_) => &[],
        };
        for note in notes {
            let Some((place, shade)) = change(note) else {
                continue;
            };
            if let Some((top, colour)) = open.remove(&place) {
                group = group.add(stretch(place, top, placed.y, trace, layout).set("fill", colour));
            }
            if let Some(colour) = shade {
                open.insert(place, (placed.y, colour));
            }
        }
    }
    for (place, (top, colour)) in open {
        let end = layout.height;
        group = group.add(stretch(place, top, end, trace, layout).set("fill", colour));
    }
    group
}

/// Which place a note changes, and to what.
fn change(note: &Note) -> Option<(Place, Option<&'static str>)> {
    let shade = match note.what {
        Happening::Crashed => Some(style::OFF),
        Happening::Sleeps { .. } => Some(style::ASLEEP),
        Happening::Partitioned { .. } | Happening::Unplugged => Some(style::SHUT),
        Happening::Held { .. } => Some(style::HELD),
        Happening::Rebooted { .. }
        | Happening::Woke
        | Happening::Repaired
        | Happening::Released => None,
        _ => return None,
    };
    let on_lane = note.node.map(Place::Node);
    let place = on_lane.or(note.link.map(Place::Link))?;
    Some((place, shade))
}

fn stretch(place: Place, top: i32, end: i32, trace: &Trace, layout: &Layout<'_>) -> Rectangle {
    let height = (end - top).max(0);
    match place {
        Place::Node(node) => {
            let x = layout.lane(node) - WIDTH / 2;
            rectangle(x, top, WIDTH, height).set("fill-opacity", 0.25)
        }
        Place::Link(link) => {
            let [a, b] = trace.ends(link).unwrap_or([NodeId(0); 2]);
            let (a, b) = (layout.lane(a), layout.lane(b));
            rectangle(a.min(b), top, (a - b).abs(), height).set("fill-opacity", 0.08)
        }
    }
}
