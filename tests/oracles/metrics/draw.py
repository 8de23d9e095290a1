"""Draws the dashboard's panels with what Prometheus answers to their queries: draw.py URL DASHBOARD SECONDS >SVG.

It is not Grafana's rendering: the places, titles, units and legends are those of the dashboard, the lines those of Prometheus.
"""

import json
import math
import re
import sys
import time
import urllib.parse
import urllib.request
from html import escape

# A panel's cell, a row's bar, and the inner edges, in pixels.
COLUMN, PANEL, ROW = 400, 230, 26
LEFT, RIGHT, TOP, LEGEND = 62, 12, 38, 14
COLOURS = ["#1f77b4", "#d9730d", "#2a9d3a", "#c4302b", "#7b52ab", "#8c6d31", "#d152a5", "#5f6b76"]
POINTS = 90


def series(url, expression, end, seconds):
    """The labels and points of each line; points without a value are left out."""
    text = expression.replace("$__rate_interval", "1m").replace("$job", ".*").replace("$instance", ".*")
    query = {"query": text, "start": end - seconds, "end": end, "step": max(seconds // POINTS, 1)}
    with urllib.request.urlopen(f"{url}/api/v1/query_range?{urllib.parse.urlencode(query)}", timeout=30) as response:
        result = json.load(response)["data"]["result"]
    for each in result:
        points = [(at, float(value)) for at, value in each["values"]]
        points = [(at, value) for at, value in points if math.isfinite(value)]
        if points:
            yield each["metric"], points


def name(legend, labels):
    return re.sub(r"{{(\w+)}}", lambda found: labels.get(found[1], ""), legend).strip() or "all"


def amount(value, unit):
    """The value as the dashboard's units have it."""
    if unit == "s":
        return f"{value * 1e3:.3g} ms" if 0 < value < 1 else f"{value:.3g} s"
    if unit == "percentunit":
        return f"{value * 100:.3g} %"
    for factor, prefix in ((1 << 20, "Mi"), (1 << 10, "ki")) if unit in ("bytes", "Bps") else ((1e6, "M"), (1e3, "k")):
        if value >= factor:
            value, unit = value / factor, f"{prefix}{unit}"
            break
    shown = {"ops": "/s", "short": "", "bytes": "B", "Bps": "B/s"}
    for plain, written in shown.items():
        unit = unit.replace(plain, written)
    return f"{value:.3g} {unit}".strip()


def panel(described, lines, place, begin, seconds):
    """A panel whose upper left corner is at `place`."""
    title, unit = described["title"], described["fieldConfig"]["defaults"].get("unit", "short")
    x, y = place
    width, height = COLUMN - LEFT - RIGHT, PANEL - TOP - 2 * LEGEND - 24
    yield f'<g transform="translate({x},{y})"><rect class="p" x="4" y="4" width="{COLUMN - 8}" height="{PANEL - 8}"/>'
    yield f'<text class="t" x="14" y="20">{escape(title)}</text>'
    top = max((value for _, points in lines for _, value in points), default=0) or 1
    for share in (0, 0.5, 1):
        at = round(TOP + height * (1 - share))
        yield f'<path class="g" d="M{LEFT} {at}h{width}"/><text class="a" x="{LEFT - 4}" y="{at + 3}">{amount(top * share, unit)}</text>'
    for index, (label, points) in enumerate(lines[: len(COLOURS)]):
        colour = COLOURS[index % len(COLOURS)]
        path = " ".join(
            f"{LEFT + width * (at - begin) / seconds:.0f},{TOP + height * (1 - value / top):.0f}" for at, value in points
        )
        yield f'<polyline stroke="{colour}" points="{path}"/>'
        left, below = LEFT - 44 + (index % 2) * 190, TOP + height + 16 + (index // 2) * LEGEND
        if index < 6:
            yield f'<text x="{left}" y="{below}" fill="{colour}">{escape(label)}</text>'
    if not lines:
        yield f'<text x="{LEFT + width // 2 - 20}" y="{TOP + height // 2}">no data</text>'
    yield "</g>"


def main():
    url, dashboard, seconds = sys.argv[1], sys.argv[2], int(sys.argv[3])
    with open(dashboard, encoding="utf-8") as file:
        panels = json.load(file)["panels"]
    end = int(time.time())
    drawn, y, row = [], 0, None
    for each in panels:
        if each["type"] == "row":
            y += PANEL if row is not None else 0
            drawn.append(f'<text class="r" x="6" y="{y + 18}">{escape(each["title"])}</text>')
            y, row = y + ROW, None
            continue
        grid = each["gridPos"]
        if row is not None and grid["y"] != row:
            y += PANEL
        row = grid["y"]
        lines = [
            (name(target["legendFormat"], labels), points)
            for target in each["targets"]
            for labels, points in series(url, target["expr"], end, seconds)
        ]
        drawn += panel(each, lines, (grid["x"] // 8 * COLUMN, y), end - seconds, seconds)
    note = "Drawn from the answers of Prometheus to the dashboard's queries, by tests/oracles/metrics/draw.py; Grafana draws them in its own way."
    height = y + PANEL + 24
    print(f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {3 * COLUMN} {height}" font-family="sans-serif" font-size="10">')
    print("<style>.p{fill:#fff;stroke:#ddd}.t{font-size:12px;font-weight:bold}.r{font-size:14px;font-weight:bold}.g{stroke:#eee}")
    print(".a{text-anchor:end;fill:#666}polyline{fill:none;stroke-width:1.3}</style>")
    print('<rect width="100%" height="100%" fill="#f6f7f8"/>')
    print("\n".join(drawn))
    print(f'<text x="6" y="{height - 8}" fill="#666">{note}</text></svg>')


if __name__ == "__main__":
    main()
