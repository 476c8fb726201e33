//! Detection delay against loss, as a picture.

use std::fs::File;
use std::io::{self, Write as _};

use plotters::prelude::{
    BLACK, ChartBuilder, Circle, IntoDrawingArea, IntoTextStyle as _, LineSeries, PathElement,
    RGBColor, SVGBackend, SeriesLabelPosition, Text, WHITE,
};
use plotters::style::Color as _;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use tcp_keepalive::Cause;

use crate::trial::Delay;

const SIZE: (u32, u32) = (900, 560);
const DOTS: RGBColor = RGBColor(31, 119, 180);
const MEDIAN: RGBColor = RGBColor(214, 39, 40);
const LONGEST: RGBColor = RGBColor(255, 127, 14);

/// Networks whose loss, in percent, lies in `first..=last`. Each band of a sweep of some thousand seeds
/// has hundreds of verdicts.
struct Band {
    first: u32,
    last: u32,
    /// The delays, in order.
    parts: Vec<f64>,
}

/// A dot for each quiet connection: how long after the peer's death the verdict fell, in parts of
/// `idle + count * interval`, over the loss of the network at that time. A line over each band of
/// losses shows the median, another one the longest; below it stands how many verdicts the band
/// has.
pub(crate) fn delay_against_loss(mut file: File, delays: &[Delay]) -> io::Result<()> {
    let mut picture = String::new();
    draw(&mut picture, delays).map_err(io::Error::other)?;
    file.write_all(picture.as_bytes())
}

fn draw(
    picture: &mut String,
    delays: &[Delay],
) -> Result<(), Box<dyn std::error::Error + Send + Sync>> {
    let delays = delays
        .iter()
        .filter(|delay| delay.cause == Cause::KeepAlive);
    let points: Vec<(u32, f64)> = delays
        .map(|delay| (delay.loss_percent, delay.part()))
        .collect();
    let bands = bands(&points);
    let highest = points.iter().map(|(_, part)| *part).fold(1.0, f64::max) * 1.25;
    let widest = bands.last().map_or(10.0, |band| f64::from(band.last)) + 1.0;
    let area = SVGBackend::with_string(picture, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let caption = format!(
        "From the death of a peer to the verdict: {} verdicts",
        points.len()
    );
    let mut chart = ChartBuilder::on(&area)
        .caption(caption, ("sans-serif", 22))
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(56)
        .build_cartesian_2d(-2.0..widest, 0.0..highest)?;
    chart
        .configure_mesh()
        .x_desc("loss, percent in each direction")
        .y_desc("delay / (idle + count * interval)")
        .light_line_style(WHITE)
        .draw()?;
    let dot = |at| Circle::new(at, 2, DOTS.mix(0.15).filled());
    let at = |(loss, part): &(u32, f64)| dot((f64::from(*loss), *part));
    chart
        .draw_series(points.iter().map(at))?
        .label("a verdict")
        .legend(move |(x, y)| Circle::new((x + 10, y), 3, DOTS.filled()));
    for (rank, name, colour) in [
        (0.5, "median of a band", MEDIAN),
        (1.0, "longest of a band", LONGEST),
    ] {
        for (index, band) in bands.iter().enumerate() {
            let Some(part) = band.ranked(rank) else {
                continue;
            };
            let [left, right] = band.edges();
            let line = LineSeries::new([(left, part), (right, part)], colour.stroke_width(3));
            let series = chart.draw_series(line)?;
            if index == 0 {
                series.label(name).legend(move |(x, y)| {
                    PathElement::new([(x, y), (x + 20, y)], colour.stroke_width(3))
                });
            }
        }
    }
    let counts = bands.iter().map(|band| {
        let [left, right] = band.edges();
        let middle = f64::midpoint(left, right);
        let style = ("sans-serif", 13)
            .into_text_style(&area)
            .pos(Pos::new(HPos::Center, VPos::Bottom));
        Text::new(format!("n={}", band.parts.len()), (middle, 0.0), style)
    });
    chart.draw_series(counts)?;
    // What there is to see at a glance: no verdict takes longer than that.
    chart
        .draw_series(LineSeries::new(
            [(-2.0, 1.0), (widest, 1.0)],
            BLACK.mix(0.5),
        ))?
        .label("idle + count * interval")
        .legend(|(x, y)| PathElement::new([(x, y), (x + 20, y)], BLACK.mix(0.5)));
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperRight)
        .background_style(WHITE.mix(0.9))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    area.present()?;
    Ok(())
}

/// The last loss of each band, in percent.
const BANDS: [u32; 7] = [0, 5, 10, 15, 20, 30, 100];

/// The bands in which there is anything.
fn bands(points: &[(u32, f64)]) -> Vec<Band> {
    let most = points.iter().map(|(loss, _)| *loss).max().unwrap_or(0);
    let mut first = 0;
    let mut bands = Vec::new();
    for last in BANDS {
        let inside = points
            .iter()
            .filter(|(loss, _)| (first..=last).contains(loss));
        let mut parts: Vec<f64> = inside.map(|(_, part)| *part).collect();
        parts.sort_by(f64::total_cmp);
        if !parts.is_empty() {
            bands.push(Band {
                first,
                last: last.min(most),
                parts,
            });
        }
        first = last + 1;
    }
    bands
}

impl Band {
    fn edges(&self) -> [f64; 2] {
        [f64::from(self.first) - 0.45, f64::from(self.last) + 0.45]
    }

    /// The delay that so many, of one, do not exceed.
    fn ranked(&self, rank: f64) -> Option<f64> {
        let last = self.parts.len().saturating_sub(1);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "a rank of one at most, of a handful"
        )]
        let index = (last as f64 * rank) as usize;
        self.parts.get(index).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Each verdict is in one band, at either edge too.
    #[test]
    fn bands_hold_all_verdicts() {
        let points: Vec<(u32, f64)> = (0..=100).map(|loss| (loss, f64::from(loss))).collect();
        let bands = bands(&points);
        let counts: Vec<usize> = bands.iter().map(|band| band.parts.len()).collect();
        assert_eq!(counts, [1, 5, 5, 5, 5, 10, 70]);
        let ends: Vec<_> = bands.iter().map(|band| (band.first, band.last)).collect();
        assert_eq!(ends[1], (1, 5));
        assert_eq!(bands[1].ranked(0.5), Some(3.0));
        assert_eq!(bands[1].ranked(1.0), Some(5.0));
    }

    /// The picture says what its lines are, and how many verdicts are behind them.
    #[test]
    fn picture_has_a_legend_and_counts() {
        let delay = |loss_percent| Delay {
            loss_percent,
            after_death: std::time::Duration::from_secs(8),
            limit: std::time::Duration::from_secs(16),
            cause: Cause::KeepAlive,
        };
        let mut picture = String::new();
        draw(&mut picture, &[delay(0), delay(3), delay(5)]).unwrap();
        for words in [
            "median of a band",
            "longest of a band",
            "n=1",
            "n=2",
            ": 3 verdicts",
        ] {
            assert!(picture.contains(words), "{words}");
        }
        // Nothing at all is a picture too.
        draw(&mut String::new(), &[]).unwrap();
    }
}
