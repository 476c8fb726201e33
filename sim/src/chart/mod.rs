//! A trace as a sequence chart, in SVG.
//!
//! Time runs down, though not to scale: all that happened has a row, and what did not happen for
//! long, or happened again and again, is folded.

mod draw;
mod layout;
mod style;

use core::fmt;
use std::io;

use super::Trace;
use super::fold;

/// How many rows a chart has by default: about four screens.
const ROWS: usize = 120;
/// And at most. A chart of more is no chart.
const MOST_ROWS: usize = 5_000;

impl Trace {
    /// Returns the trace as a sequence chart.
    ///
    /// ```
    /// # use tcp_keepalive_sim::World;
    /// let mut world = World::new(1);
    /// world.remark("nothing yet");
    /// let svg = world.trace().chart().title("an empty world").to_string();
    /// assert!(svg.starts_with("<svg"));
    /// ```
    pub fn chart(&self) -> Chart<'_> {
        Chart {
            trace: self,
            title: String::new(),
            rows: ROWS,
            has_neighbors: true,
        }
    }
}

/// A sequence chart: one lane for each node, an arrow for each frame, from its sending to its
/// arrival, and a badge for all else. [`Display`](fmt::Display) makes an SVG document of it.
///
/// An arrow is labelled with what the frame [means](super::Label), and ends in a cross where the
/// frame was lost. Hovering over it shows its numbers.
#[derive(Clone, Debug)]
#[must_use = "it is for being displayed or written"]
pub struct Chart<'t> {
    trace: &'t Trace,
    title: String,
    rows: usize,
    has_neighbors: bool,
}

impl Chart<'_> {
    /// Writes that above the chart.
    pub fn title(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// Draws no more than about so many rows, the first and the last ones, and says how many are
    /// left out; verdicts are drawn whatever is. Without it 120; never more than 5000.
    pub fn rows(mut self, rows: usize) -> Self {
        self.rows = rows.min(MOST_ROWS);
        self
    }

    /// Leaves out ARP and neighbour discovery.
    pub const fn without_arp(mut self) -> Self {
        self.has_neighbors = false;
        self
    }

    /// Writes the SVG document.
    ///
    /// # Errors
    ///
    /// Those of `out`.
    pub fn write(&self, mut out: impl io::Write) -> io::Result<()> {
        writeln!(out, "{self}")
    }
}

impl fmt::Display for Chart<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let labels = self.trace.labels();
        let rows = fold::rows(self.trace, &labels, self.rows, self.has_neighbors);
        let layout = layout::Layout::new(self.trace, rows);
        draw::document(self.trace, &labels, &self.title, &layout).fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use core::time::Duration;

    use super::super::World;
    use super::super::label::tests::{brisk, connected};

    /// How many lines say that and nothing else.
    fn count(svg: &str, what: &str) -> usize {
        svg.lines().filter(|line| *line == what).count()
    }

    /// A run of many hours, of thousands of frames, is a chart of readable height, and says what
    /// is left out.
    #[test]
    fn height_is_bounded() {
        let mut scene = connected(brisk(), false);
        scene.world.run_for(Duration::from_secs(25_000)).unwrap();
        assert!(scene.world.trace().entries().len() > 4_000);
        let svg = scene.world.trace().chart().to_string();
        assert_eq!(count(&svg, "probe 1"), 4);
        assert!(svg.contains("more times"));
    }

    /// What does not repeat itself is cut in the middle.
    #[test]
    fn rows_are_capped() {
        let mut world = World::new(1);
        for number in 0..1_000 {
            world.remark(format!("remark {number}"));
        }
        let svg = world.trace().chart().rows(50).to_string();
        let drawn = svg.lines().filter(|line| line.starts_with("remark "));
        assert_eq!(drawn.count(), 49);
        assert_eq!((count(&svg, "remark 0"), count(&svg, "remark 999")), (1, 1));
        assert!(svg.contains("not drawn"));
    }

    /// A chart without room for anything still shows the verdict.
    #[test]
    fn verdicts_are_never_cut() {
        let mut scene = connected(brisk(), false);
        scene.world.crash(scene.peer).unwrap();
        scene.world.run_for(Duration::from_secs(100)).unwrap();
        let svg = scene.world.trace().chart().rows(0).to_string();
        assert_eq!(count(&svg, "probe 1"), 0);
        assert_eq!(
            count(
                &svg,
                "given up: 3 unanswered, failed at the peer, silent for 16 s"
            ),
            1
        );
    }

    /// A chart can leave out ARP, and nothing else.
    #[test]
    fn arp_can_be_left_out() {
        let mut scene = connected(brisk(), true);
        scene.world.run_for(Duration::from_secs(11)).unwrap();
        let trace = scene.world.trace();
        let all = trace.chart().to_string();
        let without = trace.chart().without_arp().to_string();
        assert!(all.contains("who has") && !without.contains("who has"));
        assert_eq!(count(&without, "I have"), 0);
        assert_eq!(count(&without, "probe 1"), count(&all, "probe 1"));
        assert_eq!(count(&without, "probe 1"), 1);
    }

    /// Of a world in which there is nothing there is a chart too.
    #[test]
    fn empty_world_has_a_chart() {
        assert!(World::new(1).trace().chart().to_string().contains("<svg"));
    }

    /// Nine probes and the RST are lost; the verdict is marked, with its evidence; the idle time
    /// before it is folded.
    #[test]
    fn verdict_and_idle_time_are_marked() {
        let mut scene = connected(crate::Config::LINUX, false);
        scene.world.crash(scene.peer).unwrap();
        scene.world.run_for(Duration::from_secs(10_000)).unwrap();
        let svg = scene.world.trace().chart().to_string();
        assert_eq!(
            count(
                &svg,
                "given up: 9 unanswered, failed at the peer, silent for 7875 s"
            ),
            1
        );
        assert_eq!(count(&svg, "2 h idle"), 1);
        assert_eq!(count(&svg, "no receiver"), 10);
    }

    /// Text in the trace cannot break the document.
    #[test]
    fn text_is_escaped() {
        let mut world = World::new(1);
        world.remark("a < b & \"c\"");
        let svg = world.trace().chart().title("</svg>").to_string();
        assert!(svg.contains("a &lt; b &amp; \"c\""));
        assert_eq!(svg.matches("</svg>").count(), 1);
    }

    /// The same run gives the same octets.
    #[test]
    fn same_run_same_octets() {
        let [one, other] =
            [(); 2].map(|()| connected(brisk(), true).world.trace().chart().to_string());
        assert_eq!(one, other);
    }
}
