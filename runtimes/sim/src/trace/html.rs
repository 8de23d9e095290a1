//! A trace as one page of HTML.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt::Write;
use std::time::Duration;

use super::{End, Event, FrameEvent, Trace, What};

/// The number of events that are shown.
const SHOWN: usize = 2000;

/// Distances in pixels.
const ROW: u64 = 22;
const LANE: u64 = 120;
const LEFT: u64 = 170;
const TOP: u64 = 70;

pub(super) fn page(trace: &Trace) -> String {
    let mut page = Page::new(trace);
    let skipped = trace.events.len().saturating_sub(SHOWN);
    for (index, (number, event)) in trace.numbered().enumerate() {
        page.is_shown = index >= skipped;
        page.event(number, event);
    }
    page.finish(trace, skipped as u64 + trace.first)
}

/// A column: a task, or an end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Lane {
    Task(u64),
    End(u64, End),
}

struct Page {
    /// The columns from left to right, with their machine and their name.
    lanes: Vec<(Lane, String, String)>,
    columns: BTreeMap<Lane, usize>,
    /// The elements of the drawing.
    drawing: String,
    row: u64,
    last_time: Option<u64>,
    is_shown: bool,
    /// True if the bytes are known from the first one on.
    is_whole: bool,
    /// The frames that have not been read, by the end that wrote them.
    under_way: BTreeMap<(u64, End), VecDeque<UnderWay>>,
    /// The number of bytes that each end has read.
    read: BTreeMap<(u64, End), u64>,
    failure: String,
}

struct UnderWay {
    end: u64,
    /// Where it was written, unless that is not shown.
    row: Option<u64>,
    text: String,
    class: &'static str,
}

impl Page {
    fn new(trace: &Trace) -> Self {
        let lanes = lanes(trace);
        let columns = lanes.iter().enumerate().map(|(at, (lane, ..))| (*lane, at)).collect();
        Self {
            lanes,
            columns,
            drawing: String::new(),
            row: 0,
            last_time: None,
            is_shown: true,
            is_whole: trace.first == 0,
            under_way: BTreeMap::new(),
            read: BTreeMap::new(),
            failure: String::new(),
        }
    }

    fn event(&mut self, number: u64, event: &Event) {
        match &event.what {
            What::Poll { task, .. } => self.tick(Lane::Task(*task), number, event),
            What::Write { .. } => {}
            What::Frame(frame) => self.frame(number, event, frame),
            What::Read { connection, by, len } => {
                self.read(number, event, (*connection, *by), *len);
            }
            What::Head { connection, from, line } => {
                self.next_row(number, event);
                self.label(Lane::End(*connection, *from), "head", line, event);
            }
            What::Note { connection, from, text } => {
                self.next_row(number, event);
                self.label(Lane::End(*connection, *from), "note", text, event);
            }
            What::Opened { connection, .. } => {
                self.next_row(number, event);
                self.label(Lane::End(*connection, End::Client), "head", "opens", event);
            }
            What::Failure { text } => {
                self.next_row(number, event);
                self.failure.clone_from(text);
                let (y, right) = (self.y(), self.width());
                let line = text.lines().next().unwrap_or_default();
                self.draw(&format!(
                    "<line class=\"failure\" x1=\"0\" x2=\"{right}\" y1=\"{y}\" y2=\"{y}\"/>\
                     <text class=\"failure\" x=\"{LEFT}\" y=\"{}\">{}</text>",
                    y + 16,
                    escaped(line)
                ));
                self.row += 1;
            }
        }
    }

    /// Begins a row, with its time if that has changed.
    fn next_row(&mut self, number: u64, event: &Event) {
        if !self.is_shown {
            return;
        }
        self.row += 1;
        let y = self.y() + 4;
        let time = if self.last_time == Some(event.time) {
            String::new()
        } else {
            format!("+{:?}", Duration::from_nanos(event.time))
        };
        self.last_time = Some(event.time);
        self.draw(&format!(
            "<text class=\"number\" x=\"4\" y=\"{y}\">{number}</text>\
             <text class=\"time\" x=\"60\" y=\"{y}\">{time}</text>"
        ));
    }

    /// Marks the poll of a task on the present row.
    fn tick(&mut self, lane: Lane, number: u64, event: &Event) {
        let (Some(x), y) = (self.x(lane), self.y()) else { return };
        self.draw(&format!(
            "<circle class=\"poll\" cx=\"{x}\" cy=\"{y}\" r=\"3\"><title>{number}: {}</title></circle>",
            escaped(&event.to_string())
        ));
    }

    fn label(&mut self, lane: Lane, class: &str, text: &str, event: &Event) {
        let (Some(x), y) = (self.x(lane), self.y()) else { return };
        self.draw(&format!(
            "<text class=\"{class}\" x=\"{}\" y=\"{}\">{}<title>{}</title></text>",
            x + 6,
            y - 3,
            escaped(&shortened(text)),
            escaped(&event.to_string())
        ));
    }

    fn frame(&mut self, number: u64, event: &Event, frame: &FrameEvent) {
        self.next_row(number, event);
        let lane = Lane::End(frame.connection, frame.from);
        let class = if frame.opcode & 8 == 0 { "data" } else { "control" };
        self.label(lane, class, &frame.to_string(), event);
        let text = format!("{number}: {event}");
        if !self.is_whole {
            let (row, to) = (self.row, frame.from.other());
            self.arrow(frame.connection, to, row, row, class, &text);
            return;
        }
        let row = self.is_shown.then_some(self.row);
        let under_way = UnderWay { end: frame.end, row, text, class };
        self.under_way.entry((frame.connection, frame.from)).or_default().push_back(under_way);
    }

    /// Draws the arrows of the frames that are read with these bytes.
    fn read(&mut self, number: u64, event: &Event, reader: (u64, End), len: u64) {
        let (connection, by) = reader;
        let read = self.read.entry(reader).or_default();
        *read += len;
        let read = *read;
        let Some(frames) = self.under_way.get_mut(&(connection, by.other())) else { return };
        let count = frames.iter().take_while(|frame| frame.end <= read).count();
        let arrived: Vec<_> = frames.drain(..count).filter(|frame| frame.row.is_some()).collect();
        if arrived.is_empty() || !self.is_whole {
            return;
        }
        self.next_row(number, event);
        let to = self.row;
        for UnderWay { row, text, class, .. } in arrived {
            self.arrow(connection, by, row.unwrap_or(to), to, class, &text);
        }
    }

    fn arrow(&mut self, connection: u64, by: End, from: u64, to: u64, class: &str, text: &str) {
        let ends = [by.other(), by].map(|end| self.x(Lane::End(connection, end)));
        let [Some(x1), Some(x2)] = ends else { return };
        let (y1, y2) = (TOP + from * ROW, TOP + to * ROW);
        self.draw(&format!(
            "<line class=\"arrow {class}\" x1=\"{x1}\" y1=\"{y1}\" x2=\"{x2}\" y2=\"{y2}\" \
             marker-end=\"url(#head)\"><title>{}</title></line>",
            escaped(text)
        ));
    }

    /// Draws the frames that were never read: a dashed line half the way.
    fn draw_lost(&mut self) {
        for ((connection, from), frames) in std::mem::take(&mut self.under_way) {
            let ends = [from, from.other()].map(|end| self.x(Lane::End(connection, end)));
            let [Some(x1), Some(x2)] = ends else { continue };
            for UnderWay { row, text, .. } in frames {
                let Some(row) = row else { continue };
                let y = TOP + row * ROW;
                let _ = write!(
                    self.drawing,
                    "<line class=\"lost\" x1=\"{x1}\" y1=\"{y}\" x2=\"{}\" y2=\"{}\">\
                     <title>{} (not read)</title></line>",
                    u64::midpoint(x1, x2),
                    y + ROW / 2,
                    escaped(&text)
                );
            }
        }
    }

    fn draw(&mut self, element: &str) {
        if self.is_shown {
            self.drawing.push_str(element);
            self.drawing.push('\n');
        }
    }

    fn x(&self, lane: Lane) -> Option<u64> {
        self.columns.get(&lane).map(|column| LEFT + *column as u64 * LANE + LANE / 2)
    }

    fn y(&self) -> u64 {
        TOP + self.row * ROW
    }

    fn width(&self) -> u64 {
        LEFT + (self.lanes.len() as u64 + 2) * LANE
    }

    fn finish(mut self, trace: &Trace, skipped: u64) -> String {
        self.draw_lost();
        let (width, height) = (self.width(), self.y() + 2 * ROW);
        let mut heads = String::new();
        let mut last_machine = None;
        for (column, (lane, machine, name)) in self.lanes.iter().enumerate() {
            let x = LEFT + column as u64 * LANE + LANE / 2;
            let class = if matches!(lane, Lane::Task(_)) { "task" } else { "end" };
            let _ = write!(
                heads,
                "<line class=\"lane {class}\" x1=\"{x}\" x2=\"{x}\" y1=\"{TOP}\" y2=\"{height}\"/>\
                 <text class=\"lane\" x=\"{x}\" y=\"50\">{}<title>{}</title></text>",
                // Without its place and its machine.
                escaped(
                    name.split(" (")
                        .next()
                        .and_then(|name| name.split(" of ").next())
                        .unwrap_or(name)
                ),
                escaped(name)
            );
            if last_machine != Some(machine) {
                let _ = write!(
                    heads,
                    "<text class=\"machine\" x=\"{}\" y=\"24\">{}</text>",
                    x - LANE / 2 + 8,
                    escaped(machine)
                );
            }
            last_machine = Some(machine);
        }
        let note = match skipped {
            0 => String::new(),
            _ => format!(" The first {skipped} are left out."),
        };
        let failure = match self.failure.is_empty() {
            true => String::new(),
            false => format!("<pre class=\"failure\">{}</pre>\n", escaped(&self.failure)),
        };
        let (title, legend) = match trace.seed {
            Some(seed) => (
                format!("Seed {seed}"),
                "Dots are polls of tasks, arrows are frames from where they are written to where they are read.",
            ),
            None => (
                "Recorded connections".to_owned(),
                "Arrows are frames, at the times at which they were recorded.",
            ),
        };
        format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <title>{title}</title>\n<style>{STYLE}</style>\n</head>\n<body>\n\
             <h1>{title}</h1>\n<p>{len} events.{note} {legend}</p>\n\
             <svg width=\"{width}\" height=\"{height}\" xmlns=\"http://www.w3.org/2000/svg\">\n{HEAD}\n\
             {heads}\n{drawing}</svg>\n{failure}</body>\n</html>\n",
            len = trace.len(),
            drawing = self.drawing,
        )
    }
}

/// Returns the columns: for each machine its tasks, and then its ends of connections.
fn lanes(trace: &Trace) -> Vec<(Lane, String, String)> {
    let mut lanes = Vec::new();
    let name = |machine: &Option<String>| match machine {
        Some(name) => (1, name.clone()),
        None => (0, "the test".to_owned()),
    };
    for event in &trace.events {
        match &event.what {
            What::Poll { task, named: Some(named) } => {
                lanes.push((name(&named.machine), Lane::Task(*task), named.name.clone()));
            }
            What::Opened { connection, client, server } => {
                for (end, machine) in [(End::Client, client), (End::Server, server)] {
                    let end_name = format!("#{connection} {}", &end.to_string()[4..]);
                    lanes.push((name(machine), Lane::End(*connection, end), end_name));
                }
            }
            _ => {}
        }
    }
    // What began before the trace has no name in it.
    let mut known: BTreeSet<_> = lanes.iter().map(|(_, lane, _)| *lane).collect();
    for lane in trace.events.iter().flat_map(mentioned) {
        if known.insert(lane) {
            let name = match lane {
                Lane::Task(0) => "main".to_owned(),
                Lane::Task(task) => format!("task {task}"),
                Lane::End(connection, end) => format!("#{connection} {}", &end.to_string()[4..]),
            };
            lanes.push(((0, "the test".to_owned()), lane, name));
        }
    }
    lanes.sort();
    lanes.into_iter().map(|((_, machine), lane, name)| (lane, machine, name)).collect()
}

/// Returns the columns that an event belongs to.
fn mentioned(event: &Event) -> Vec<Lane> {
    match &event.what {
        What::Poll { task, .. } => vec![Lane::Task(*task)],
        What::Frame(FrameEvent { connection, .. })
        | What::Opened { connection, .. }
        | What::Head { connection, .. }
        | What::Write { connection, .. }
        | What::Read { connection, .. }
        | What::Note { connection, .. } => {
            [End::Client, End::Server].map(|end| Lane::End(*connection, end)).into()
        }
        What::Failure { .. } => Vec::new(),
    }
}

fn shortened(text: &str) -> String {
    match text.char_indices().nth(LABEL) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

/// The characters of a label.
const LABEL: usize = 40;

/// Replaces what has a meaning in HTML, and control characters.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '&' => escaped.push_str("&amp;"),
            '<' => escaped.push_str("&lt;"),
            '>' => escaped.push_str("&gt;"),
            '"' => escaped.push_str("&quot;"),
            '\'' => escaped.push_str("&#39;"),
            '\n' => escaped.push('\n'),
            c if c.is_control() => escaped.push('\u{FFFD}'),
            c => escaped.push(c),
        }
    }
    escaped
}

const STYLE: &str = "
body { font: 13px sans-serif; margin: 1em; color: #222; background: #fff }
text { font: 11px monospace; fill: #222 }
text.machine { font-weight: bold; font-size: 13px }
text.lane { text-anchor: middle }
text.number { fill: #999 }
text.head { fill: #555 }
text.control { fill: #06c }
text.note, text.failure { fill: #b00 }
line.lane { stroke: #ddd }
line.lane.end { stroke: #999 }
line.arrow { stroke: #393; stroke-width: 1.5 }
line.arrow.control { stroke: #06c }
line.lost { stroke: #b00; stroke-dasharray: 4 3 }
line.failure { stroke: #b00; stroke-width: 2 }
circle.poll { fill: #bbb }
pre.failure { border-left: 4px solid #b00; padding-left: 1em; white-space: pre-wrap }
";

const HEAD: &str = "<defs><marker id=\"head\" viewBox=\"0 0 8 8\" refX=\"8\" refY=\"4\" \
    markerWidth=\"7\" markerHeight=\"7\" orient=\"auto\"><path d=\"M0 0L8 4L0 8z\"/></marker></defs>";
