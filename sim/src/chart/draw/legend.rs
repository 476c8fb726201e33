//! What the chart's lines mean.

use svg::node::element::Group;

use super::super::super::fold::Row;
use super::super::super::label::Labels;
use super::super::super::trace::{Fate, Sent};
use super::super::layout::Layout;
use super::super::style::{self, Role};
use super::{EDGE, arrow, letters, line, text};

const HEIGHT: i32 = 24;
const LEFT: i32 = EDGE + 6;
/// How long a line is, as an example.
const SAMPLE: i32 = 22;

/// An example of each kind of line that is used, and their height together.
pub(super) fn legend(labels: &Labels, layout: &Layout<'_>) -> (Group, i32) {
    let items = items(labels, layout);
    let mut group = Group::new();
    let (mut x, mut y) = (LEFT, 0);
    for item in &items {
        let width = SAMPLE + 6 + letters(item.name()) + 16;
        if x + width > layout.width && x > LEFT {
            x = LEFT;
            y += HEIGHT;
        }
        let words = text(item.name(), x + SAMPLE + 6, y + 16);
        let words = words.set("class", "small").set("fill", style::INK);
        group = group.add(item.sample(x, y + 12)).add(words);
        x += width;
    }
    (group, if items.is_empty() { 0 } else { y + HEIGHT })
}

enum Item {
    Role(Role),
    Lost,
    Copy,
}

fn items(labels: &Labels, layout: &Layout<'_>) -> Vec<Item> {
    let frames: Vec<&Sent> = layout
        .rows
        .iter()
        .filter_map(|placed| match placed.row {
            Row::Frame(sent) => Some(sent),
            _ => None,
        })
        .collect();
    let is_used = |role: &Role| {
        let mut roles = frames.iter().filter_map(|sent| labels.of(sent.id));
        roles.any(|label| Role::of(label) == *role)
    };
    let mut items: Vec<_> = Role::ALL
        .into_iter()
        .filter(is_used)
        .map(Item::Role)
        .collect();
    if frames
        .iter()
        .any(|sent| matches!(sent.fate, Fate::Lost { .. }))
    {
        items.push(Item::Lost);
    }
    if frames.iter().any(|sent| sent.copy_of.is_some()) {
        items.push(Item::Copy);
    }
    items
}

impl Item {
    const fn name(&self) -> &'static str {
        match self {
            Self::Role(role) => role.name(),
            Self::Lost => "lost",
            Self::Copy => "copy made by a link",
        }
    }

    fn sample(&self, x: i32, y: i32) -> Group {
        let colour = match self {
            Self::Role(role) => role.colour(),
            Self::Lost | Self::Copy => style::FAINT,
        };
        let sample = line(x, y, x + SAMPLE, y)
            .set("stroke", colour)
            .set("stroke-width", 2.2);
        let group = Group::new();
        match self {
            Self::Role(_) => group.add(sample),
            Self::Lost => group
                .add(sample.set("stroke-dasharray", arrow::DASHED))
                .add(arrow::cross(x + SAMPLE - 3, y)),
            Self::Copy => group.add(sample.set("stroke-dasharray", arrow::DOTTED)),
        }
    }
}
