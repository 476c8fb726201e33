//! Where everything is.

use core::time::Duration;

use super::super::fold::Row;
use super::super::trace::{Fate, Lost, Sent};
use super::super::{NodeId, Trace, phrase};
use crate::Instant;

/// The axis of time is left of that.
pub(super) const AXIS: i32 = 100;
/// Between the axis or the edge and a lane, and between two lanes.
const MARGIN: i32 = 120;
const LANE_DISTANCE: i32 = 290;
/// From one sending to the next, and to an arrival that nothing was sent after.
const ROW: i32 = 32;
const ARRIVAL: i32 = 16;
/// Between the heads of arrows that arrive at one moment.
const HEADS: i32 = 7;
/// Below an arrow's head, where a badge follows.
const BADGE_BELOW_HEAD: i32 = 20;
/// What stands for a pause, and for a long one.
const PAUSE: i32 = 22;
const IDLE: i32 = 44;
/// From when on a pause is noted, and is long.
const NOTED: Duration = Duration::from_secs(1);
const LONG: Duration = Duration::from_secs(300);

/// A chart's geometry. Lengths are in pixels.
#[derive(Debug)]
pub(super) struct Layout<'t> {
    /// By the numbers of the nodes.
    lanes: Vec<i32>,
    pub(super) width: i32,
    /// Without what is above and below the rows.
    pub(super) height: i32,
    pub(super) rows: Vec<Placed<'t>>,
    pub(super) pauses: Vec<Pause>,
    /// How many decimals of a second tell all times apart.
    pub(super) decimals: usize,
}

/// A row in its place.
#[derive(Debug)]
pub(super) struct Placed<'t> {
    pub(super) row: Row<'t>,
    pub(super) y: i32,
    /// Where a frame arrives.
    pub(super) arrival: Option<i32>,
    /// It is the first at its time.
    pub(super) has_time: bool,
    /// Arrows end where it begins.
    pub(super) is_below_heads: bool,
}

/// A time in which nothing happened.
#[derive(Debug)]
pub(super) struct Pause {
    pub(super) y: i32,
    pub(super) height: i32,
    pub(super) is_long: bool,
    pub(super) text: String,
}

impl<'t> Layout<'t> {
    pub(super) fn new(trace: &Trace, rows: Vec<Row<'t>>) -> Self {
        let lanes = lanes(trace);
        let last = lanes.iter().copied().max().unwrap_or(AXIS);
        let has_micros = rows.iter().any(|row| row.from().as_micros() % 1_000 > 0);
        let mut layout = Self {
            width: (last + MARGIN).max(2 * MARGIN + LANE_DISTANCE),
            lanes,
            height: 0,
            rows: Vec::new(),
            pauses: Vec::new(),
            decimals: if has_micros { 6 } else { 3 },
        };
        let moments = Moment::all(&rows);
        layout.rows.extend(rows.into_iter().map(Placed::nowhere));
        layout.place(moments);
        layout
    }

    /// Where a node's lane is.
    pub(super) fn lane(&self, node: NodeId) -> i32 {
        self.lanes.get(node.0).copied().unwrap_or(AXIS)
    }

    fn place(&mut self, moments: Vec<Moment>) {
        let mut y = ROW;
        let mut last_head = 0;
        let mut until = None;
        for Moment { at, arrivals, rows } in moments {
            let idle = until.map(|until| at.saturating_duration_since(until));
            y += self.pause(y, idle.unwrap_or_default());
            let begins = y;
            let mut heads = y;
            for index in &arrivals {
                if let Some(placed) = self.rows.get_mut(*index) {
                    placed.arrival = Some(heads);
                    last_head = heads;
                    heads += HEADS;
                }
            }
            until = until.max(Some(at));
            for (number, index) in rows.iter().enumerate() {
                let Some(placed) = self.rows.get_mut(*index) else {
                    continue;
                };
                let is_frame = matches!(placed.row, Row::Frame(_));
                if number == 0 && !is_frame {
                    y = y.max(last_head + BADGE_BELOW_HEAD);
                }
                placed.y = y;
                placed.has_time = number == 0;
                placed.is_below_heads = number == 0 && !arrivals.is_empty();
                until = until.max(Some(placed.row.to()));
                y += ROW;
            }
            y = y.max(heads).max(begins + ARRIVAL);
        }
        self.height = y + ARRIVAL;
    }

    /// Makes room for a pause, and tells how much.
    fn pause(&mut self, y: i32, idle: Duration) -> i32 {
        if idle < NOTED {
            return 0;
        }
        let is_long = idle >= LONG;
        let height = if is_long { IDLE } else { PAUSE };
        let length = phrase::length(idle);
        self.pauses.push(Pause {
            y,
            height,
            is_long,
            text: if is_long {
                format!("{length} idle")
            } else {
                length
            },
        });
        // A label stands above its arrow.
        height + if is_long { ARRIVAL } else { 0 }
    }
}

impl<'t> Placed<'t> {
    const fn nowhere(row: Row<'t>) -> Self {
        Self {
            row,
            y: 0,
            arrival: None,
            has_time: false,
            is_below_heads: false,
        }
    }
}

/// What happens at one time: rows, by their numbers, that something arrives of, and that begin.
#[derive(Debug)]
struct Moment {
    at: Instant,
    arrivals: Vec<usize>,
    rows: Vec<usize>,
}

impl Moment {
    fn all(rows: &[Row<'_>]) -> Vec<Self> {
        let mut points = Vec::new();
        for (index, row) in rows.iter().enumerate() {
            points.push((row.from(), true, index));
            if let Row::Frame(sent) = row
                && let Some(at) = arrival(sent).filter(|at| *at > sent.at)
            {
                points.push((at, false, index));
            }
        }
        points.sort_by_key(|(at, is_beginning, _)| (*at, *is_beginning));
        let mut moments: Vec<Self> = Vec::new();
        for (at, is_beginning, index) in points {
            if moments.last().is_none_or(|moment| moment.at != at) {
                moments.push(Self {
                    at,
                    arrivals: Vec::new(),
                    rows: Vec::new(),
                });
            }
            if let Some(moment) = moments.last_mut() {
                let list = if is_beginning {
                    &mut moment.rows
                } else {
                    &mut moment.arrivals
                };
                list.push(index);
            }
        }
        moments
    }
}

/// When a frame comes to the node at the other end, whether that takes it or not.
fn arrival(sent: &Sent) -> Option<Instant> {
    match sent.fate {
        Fate::Arrived { at } => Some(at),
        Fate::Lost { at, how } if is_lost_at_its_end(how) => Some(at),
        _ => None,
    }
}

/// Whether a frame that is lost so has passed the link.
pub(super) const fn is_lost_at_its_end(how: Lost) -> bool {
    matches!(how, Lost::NobodyThere | Lost::RingFull | Lost::Refused(_))
}

/// Lanes in an order that has linked nodes beside each other, as far as possible: along the links,
/// from a node at the edge.
fn lanes(trace: &Trace) -> Vec<i32> {
    let count = trace.node_names().len();
    let links: Vec<_> = trace.links().map(|(_, ends, _)| ends).collect();
    let degree = |node: NodeId| links.iter().filter(|ends| ends.contains(&node)).count();
    let mut nodes: Vec<_> = (0..count).map(NodeId).collect();
    nodes.sort_by_key(|node| degree(*node) > 1);
    let mut order: Vec<NodeId> = Vec::new();
    for start in nodes {
        let mut next = vec![start];
        while let Some(node) = next.pop() {
            if order.contains(&node) {
                continue;
            }
            order.push(node);
            let neighbors = links.iter().rev().filter_map(|[a, b]| match node {
                _ if node == *a => Some(*b),
                _ if node == *b => Some(*a),
                _ => None,
            });
            next.extend(neighbors);
        }
    }
    let mut lanes = vec![AXIS; count];
    let mut x = AXIS + MARGIN;
    for node in order {
        if let Some(lane) = lanes.get_mut(node.0) {
            *lane = x;
            x += LANE_DISTANCE;
        }
    }
    lanes
}
