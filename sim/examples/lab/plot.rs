//! Detection delay against loss, as a picture.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Write as _};

use plotters::prelude::{
    BLACK, ChartBuilder, Circle, IntoDrawingArea, LineSeries, RGBColor, SVGBackend, WHITE,
};
use plotters::style::Color as _;

use tcp_keepalive::Cause;

use crate::trial::Delay;

const SIZE: (u32, u32) = (900, 540);
const DOTS: RGBColor = RGBColor(31, 119, 180);
const MEDIAN: RGBColor = RGBColor(214, 39, 40);

/// A dot for each quiet connection: how long after the peer's death the verdict fell, in parts of
/// `idle + count * interval`, over the loss of the network at that time. Lines through the medians,
/// and through the longest.
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
    let points: Vec<(f64, f64)> = delays
        .map(|delay| (f64::from(delay.loss_percent), delay.part()))
        .collect();
    let highest = points.iter().map(|(_, part)| *part).fold(1.0, f64::max) * 1.1;
    let widest = points.iter().map(|(loss, _)| *loss).fold(10.0, f64::max) + 1.0;
    let area = SVGBackend::with_string(picture, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(
            "From the death of a peer to the verdict",
            ("sans-serif", 22),
        )
        .margin(16)
        .x_label_area_size(44)
        .y_label_area_size(56)
        .build_cartesian_2d(-1.0..widest, 0.0..highest)?;
    chart
        .configure_mesh()
        .x_desc("loss, percent in each direction")
        .y_desc("delay / (idle + count * interval)")
        .light_line_style(WHITE)
        .draw()?;
    chart.draw_series(
        points
            .iter()
            .map(|point| Circle::new(*point, 2, DOTS.mix(0.15).filled())),
    )?;
    let line = |rank| ranked(&points, rank);
    chart
        .draw_series(LineSeries::new(line(0.5), MEDIAN.stroke_width(2)))?
        .label("median");
    chart
        .draw_series(LineSeries::new(line(1.0), MEDIAN.mix(0.5)))?
        .label("longest");
    // What there is to see at a glance: nobody takes longer than that.
    chart.draw_series(LineSeries::new(
        [(-1.0, 1.0), (widest, 1.0)],
        BLACK.mix(0.5),
    ))?;
    area.present()?;
    Ok(())
}

/// For each loss the delay that so many, of one, do not exceed.
fn ranked(points: &[(f64, f64)], rank: f64) -> Vec<(f64, f64)> {
    let mut columns: BTreeMap<u64, Vec<(f64, f64)>> = BTreeMap::new();
    for (loss, part) in points {
        columns
            .entry(loss.to_bits())
            .or_default()
            .push((*loss, *part));
    }
    let columns = columns.into_values().filter_map(|mut column| {
        column.sort_by(|a, b| a.1.total_cmp(&b.1));
        let last = column.len().saturating_sub(1);
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_precision_loss,
            clippy::cast_sign_loss,
            reason = "a rank of one at most, of a handful"
        )]
        let index = (last as f64 * rank) as usize;
        column.get(index).copied()
    });
    columns.collect()
}
