//! The plot: for each load, a bar for each server, CPU for each message as a multiple of `limit`, or of the best
//! peer where there is no limit.

use std::fmt::Write;

use crate::table::Row;

const BAR: usize = 16;
const NAMES: usize = 190;
const BARS: f64 = 560.0;
/// Bars end here and say their figure: a peer that is ten times as slow would flatten all others.
const MOST: f64 = 8.0;

/// An SVG of all loads, one below the other.
pub fn svg(loads: &[(String, Vec<Row>)]) -> String {
    let lines: usize = loads.iter().map(|(_, rows)| rows.len() + 3).sum();
    let (width, height) = (NAMES + BARS as usize + 120, lines * BAR + 40);
    let is_limited = loads.iter().all(|(_, rows)| rows.iter().all(|row| row.to_limit.is_some()));
    let one = if is_limited { "limit" } else { "the best peer" };
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{width}\" height=\"{height}\" \
         font-family=\"sans-serif\" font-size=\"11\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"white\"/>\n\
         <text x=\"8\" y=\"20\" font-size=\"13\">CPU time of the server for each message, {one} being 1</text>\n"
    );
    let mut y = 40;
    for (title, rows) in loads {
        y += 2 * BAR;
        let _ = writeln!(svg, "<text x=\"8\" y=\"{}\" font-weight=\"bold\">{title}</text>", y - 6);
        let bottom = y + rows.len() * BAR;
        for row in rows {
            bar(&mut svg, y, row, if is_limited { row.to_limit } else { row.to_best_peer });
            y += BAR;
        }
        let one = NAMES as f64 + BARS / MOST;
        let _ = writeln!(
            svg,
            "<line x1=\"{one}\" y1=\"{}\" x2=\"{one}\" y2=\"{bottom}\" stroke=\"black\" stroke-dasharray=\"2\"/>",
            bottom - rows.len() * BAR
        );
        y += BAR;
    }
    svg.push_str("</svg>\n");
    svg
}

fn bar(svg: &mut String, y: usize, row: &Row, ratio: Option<f64>) {
    let server = row.figures.server;
    let colour = match server {
        server if server.is_ours() => "#c2410c",
        server if server.is_peer() => "#64748b",
        _ => "#a3a3a3",
    };
    let ratio = ratio.unwrap_or(f64::NAN);
    let length = if ratio.is_finite() { BARS * ratio.min(MOST) / MOST } else { 0.0 };
    let baseline = y + BAR - 5;
    // Writing to a string cannot fail.
    let _ = writeln!(
        svg,
        "<text x=\"{}\" y=\"{baseline}\" text-anchor=\"end\">{}</text>\
         <rect x=\"{NAMES}\" y=\"{}\" width=\"{length:.1}\" height=\"{}\" fill=\"{colour}\"/>\
         <text x=\"{:.1}\" y=\"{baseline}\">{ratio:.2} ({:.0} ns)</text>",
        NAMES - 6,
        server.name(),
        y + 1,
        BAR - 3,
        NAMES as f64 + length + 4.0,
        row.figures.cpu,
    );
}
