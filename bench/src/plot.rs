//! The plot: for each load a bar for each server, with CPU time for each message as a multiple of `limit`, or of the
//! best peer where there is no limit.

use std::path::Path;

use plotters::coord::Shift;
use plotters::prelude::*;
use plotters::style::text_anchor::{HPos, Pos, VPos};

use crate::Result;
use crate::table::Row;

const WIDTH: u32 = 870;
const LINE: i32 = 16;
const NAMES: i32 = 190;
const FIGURES: i32 = 120;
const FONT: (&str, i32) = ("sans-serif", 12);
/// Bars end here, with their figure beside them: a peer that is ten times as slow would flatten all others.
const MOST: f64 = 8.0;

type Area<'a> = DrawingArea<SVGBackend<'a>, Shift>;

/// Writes an SVG of all loads, one below the other.
pub fn draw(file: &Path, loads: &[(String, Vec<Row>)]) -> Result<()> {
    let height_of = |rows: &[Row]| LINE * (rows.len() as i32 + 3);
    let height = loads.iter().map(|(_, rows)| height_of(rows)).sum::<i32>() + 2 * LINE;
    let is_limited = loads.iter().all(|(_, rows)| rows.iter().all(|row| row.to_limit.is_some()));
    let one = if is_limited { "limit" } else { "the best peer" };
    let title = format!("CPU time of the server for each message; {one} is 1");
    let all = SVGBackend::new(file, (WIDTH, height.unsigned_abs())).into_drawing_area();
    all.fill(&WHITE)?;
    let mut below = all.titled(&title, FONT)?;
    for (title, rows) in loads {
        let (area, rest) = below.split_vertically(height_of(rows));
        let ratio = |row: &Row| if is_limited { row.to_limit } else { row.to_best_peer };
        draw_load(&area, title, rows, ratio)?;
        below = rest;
    }
    Ok(all.present()?)
}

fn draw_load(
    area: &Area<'_>,
    title: &str,
    rows: &[Row],
    ratio: impl Fn(&Row) -> Option<f64>,
) -> Result<()> {
    // From the bottom upwards, as the coordinates go.
    let rows: Vec<_> = rows.iter().rev().collect();
    // Up to the last line, and two lines at least, without which there is no scale.
    let lines = (0..rows.len().saturating_sub(1).max(1)).into_segmented();
    let mut chart = ChartBuilder::on(area)
        .caption(title, FONT)
        .set_label_area_size(LabelAreaPosition::Left, NAMES)
        .margin_right(FIGURES)
        .build_cartesian_2d(0.0..MOST, lines)?;
    let name = |line: &SegmentValue<usize>| match line {
        SegmentValue::CenterOf(line) => rows.get(*line).map(|row| row.figures.server.name()),
        _ => None,
    };
    let mut mesh = chart.configure_mesh();
    mesh.disable_mesh()
        .disable_x_axis()
        .y_labels(rows.len())
        .y_label_formatter(&|line| name(line).unwrap_or_default())
        .draw()?;
    let ratios = rows.iter().map(|row| ratio(row).unwrap_or(f64::NAN));
    let bars: Vec<_> = rows.iter().zip(ratios).enumerate().collect();
    let length = |ratio: f64| if ratio.is_finite() { ratio.min(MOST) } else { 0.0 };
    chart.draw_series(bars.iter().map(|&(line, (row, ratio))| {
        let corners =
            [(0.0, SegmentValue::Exact(line)), (length(ratio), SegmentValue::Exact(line + 1))];
        let mut bar = Rectangle::new(corners, colour(row).filled());
        bar.set_margin(1, 2, 0, 0);
        bar
    }))?;
    let style = FONT.into_text_style(area).pos(Pos::new(HPos::Left, VPos::Center));
    chart.draw_series(bars.iter().map(|&(line, (row, ratio))| {
        let figures = format!("{ratio:.2} ({:.0} ns)", row.figures.cpu);
        let end = EmptyElement::at((length(ratio), SegmentValue::CenterOf(line)));
        end + Text::new(figures, (4, 0), style.clone())
    }))?;
    let one = [(1.0, SegmentValue::Exact(0)), (1.0, SegmentValue::Last)];
    chart.draw_series([PathElement::new(one, BLACK)])?;
    Ok(())
}

fn colour(row: &Row) -> RGBColor {
    match row.figures.server {
        server if server.is_ours() => RGBColor(0xC2, 0x41, 0x0C),
        server if server.is_peer() => RGBColor(0x64, 0x74, 0x8B),
        _ => RGBColor(0xA3, 0xA3, 0xA3),
    }
}
