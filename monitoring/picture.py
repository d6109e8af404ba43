"""Draws a dashboard with what Prometheus has measured, laid out as in Grafana, for light and dark pages. Pure."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from html import escape

from curves import curves
from drawing import LETTER, STYLE, Box, Line, Span, colour, text, time_axis
from panels import COLUMNS, Dashboard, Panel, Place, Section, placed
from scale import written

CELL, UNIT, GAP = 42, 22, 6
"""Pixels of a column and of a unit of height, and between two panels."""
MOST_ROWS = 6


def draw(dashboard: Dashboard, measured: Mapping[str, Sequence[Line]], span: Span) -> str:
    """Return the SVG; `measured` has the lines of each panel by its title."""
    parts, bottom = [], 0
    for place, item in placed(dashboard):
        bottom = max(bottom, (place.y + place.height) * UNIT)
        if isinstance(item, Section):
            parts.append(text(4, place.y * UNIT + 16, item.title, "h"))
        else:
            parts.append(_panel(place, item, measured[item.title], span))
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {COLUMNS * CELL} {bottom}" role="img">'
        f"<title>{escape(dashboard.title)}</title><style>{STYLE}</style>"
    )
    return "\n".join([head, *parts, "</svg>"]) + "\n"


def _panel(place: Place, panel: Panel, lines: Sequence[Line], span: Span) -> str:
    x, y = place.x * CELL + GAP / 2, place.y * UNIT + GAP / 2
    width, height = place.width * CELL - GAP, place.height * UNIT - GAP
    box = Box(x + 8, y + 24, width - 16, height - 30)
    inside: dict[str, Callable[[], list[str]]] = {
        "lines": lambda: curves(panel, lines, span, box),
        "areas": lambda: curves(panel, lines, span, box),
        "figure": lambda: _figure(panel, lines, box),
        "table": lambda: _table(panel, lines, box),
        "states": lambda: _states(lines, span, box),
    }
    frame = f'<rect class="p" x="{x}" y="{y}" width="{width}" height="{height}" rx="3"/>'
    return "".join([frame, text(x + 8, y + 16, panel.title, "t"), *inside[panel.kind]()])


def _figure(panel: Panel, lines: Sequence[Line], box: Box) -> list[str]:
    value = lines[0].points[-1][1] if lines else math.nan
    level = next((level for bound, level in reversed(panel.levels.items()) if value >= bound), "")
    middle = box.x + box.width / 2
    return [text(middle, box.y + box.height / 2 + 8, written(value, panel.unit), f"b {level}", "middle")]


def _table(panel: Panel, lines: Sequence[Line], box: Box) -> list[str]:
    rows = [["how many" if name == "Value" else name for name in panel.columns]]
    for line in lines[:MOST_ROWS]:
        values = {**line.labels, "Value": written(line.points[-1][1], panel.unit)}
        rows.append([values.get(name, "") for name in panel.columns])
    widest = [2 + min(24, max(len(row[at]) for row in rows)) for at in range(len(panel.columns))]
    parts, x = [], box.x
    for at, letters in enumerate(widest):
        room = box.width * letters / sum(widest)
        for number, row in enumerate(rows):
            shown = row[at] if len(row[at]) * LETTER < room else row[at][: int(room / LETTER) - 4] + "…"
            parts.append(text(x, box.y + 12 + number * 19, shown, "" if number else "s"))
        x += room
    return parts if len(lines) <= MOST_ROWS else [*parts, text(box.x, box.y + box.height, "and more", "s")]


def _states(lines: Sequence[Line], span: Span, box: Box) -> list[str]:
    """A row for each series, filled where it was there and not 0."""
    left = box.x + min(box.width / 2, 10 + LETTER * max((len(line.name) for line in lines), default=0))
    right, parts = box.x + box.width, []
    room = min(24.0, (box.height - 16) / max(1, len(lines)))
    scale = (right - left) / (span.end - span.start)
    for row, line in enumerate(lines):
        y = box.y + row * room
        parts.append(text(box.x, y + room / 2 + 4, line.name))
        for began, ended in _stretches([at for at, value in line.points if value], span.step):
            at, width = left + (began - span.start) * scale, max(2.0, (ended - began) * scale)
            size = f'width="{width:.1f}" height="{room - 6:.1f}"'
            parts.append(f'<rect x="{at:.1f}" y="{y + 3:.1f}" {size} fill="{colour(row)}"/>')
    return [*parts, *time_axis(span, left, right, box.y + box.height)]


def _stretches(times: Sequence[float], step: float) -> list[tuple[float, float]]:
    """Join what lies no more than a step apart."""
    found: list[tuple[float, float]] = []
    for at in times:
        if found and at - found[-1][1] <= step * 0.01:
            found[-1] = (found[-1][0], at + step)
        else:
            found.append((at, at + step))
    return found
