//! The plot of a load: the time of each share of the replies, a line for each server.

use std::error::Error;
use std::path::Path;
use std::time::Duration;

use plotters::prelude::*;

use super::report::Outcome;

const SIZE: (u32, u32) = (870, 420);
const FONT: (&str, i32) = ("sans-serif", 13);
const COLOURS: [RGBColor; 2] = [RGBColor(0xC2, 0x41, 0x0C), RGBColor(0x1D, 0x4E, 0xD8)];

/// The slowest share that is drawn is one in 100,000: the scale has a step for each tenfold.
const MOST: f64 = 5.0;
const STEPS_OF_ONE: u32 = 40;

/// Draws the results as SVG in `file`.
pub(crate) fn draw(file: &Path, unit: &str, results: &[Outcome]) -> Result<(), Box<dyn Error>> {
    let lines: Vec<_> = results.iter().map(line).collect();
    let nanoseconds = || lines.iter().flatten().map(|(_, time)| *time);
    let least = nanoseconds().fold(f64::INFINITY, f64::min).max(1.0);
    let most = nanoseconds().fold(1.0, f64::max);
    // Whole powers of ten.
    let range = 10_f64.powf(least.min(most).log10().floor())..10_f64.powf(most.log10().ceil());
    let area = SVGBackend::new(file, SIZE).into_drawing_area();
    area.fill(&WHITE)?;
    let mut chart = ChartBuilder::on(&area)
        .caption(format!("Times of {unit}, by percentile"), FONT)
        .set_label_area_size(LabelAreaPosition::Left, 70)
        .set_label_area_size(LabelAreaPosition::Bottom, 40)
        .margin(10)
        .build_cartesian_2d(0.0..MOST, range.log_scale())?;
    chart
        .configure_mesh()
        .x_desc("percentile")
        .x_labels(6)
        .x_label_formatter(&|at| format!("{} %", percentile(*at)))
        .y_label_formatter(&|time| format!("{:?}", Duration::from_nanos(*time as u64)))
        .light_line_style(WHITE)
        .draw()?;
    for ((points, outcome), colour) in lines.into_iter().zip(results).zip(COLOURS) {
        chart
            .draw_series(LineSeries::new(points, colour.stroke_width(2)))?
            .label(outcome.url())
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 16, y)], colour.stroke_width(2)));
    }
    chart
        .configure_series_labels()
        .position(SeriesLabelPosition::UpperLeft)
        .background_style(WHITE.mix(0.8))
        .border_style(BLACK.mix(0.3))
        .draw()?;
    Ok(area.present()?)
}

/// The percentile at a place of the scale: 0, 90, 99, 99.9 and so on.
fn percentile(at: f64) -> f64 {
    // Of 99.999…, what a number of three digits behind the point can show.
    (100_000.0 * (1.0 - 10_f64.powf(-at))).round() / 1000.0
}

/// The points of a server, up to the share that was measured: of 1,000 replies, one in 1,000.
fn line(outcome: &Outcome) -> Vec<(f64, f64)> {
    let count = outcome.count().max(1) as f64;
    let end = (count.log10().min(MOST) * f64::from(STEPS_OF_ONE)).floor() as u32;
    let places = (0..=end).map(|step| f64::from(step) / f64::from(STEPS_OF_ONE));
    places.map(|at| (at, outcome.time_at(100.0 * (1.0 - 10_f64.powf(-at))))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_scale_has_a_step_for_each_nine() {
        let percentiles = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0].map(percentile);
        assert_eq!(percentiles, [0.0, 90.0, 99.0, 99.9, 99.99, 99.999]);
    }
}
