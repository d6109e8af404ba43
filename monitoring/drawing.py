"""What every panel is drawn with: its words, colours and axes, and what a legend needs. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from html import escape
from typing import NamedTuple

STYLE = """
text{font:11px system-ui,sans-serif;fill:#24292f}.t{font-weight:600}.s{font-size:10px;fill:#57606a}.h{font-size:14px;
font-weight:600}.p{fill:#f6f8fa;stroke:#d0d7de}.g{stroke:#d0d7de}.l{fill:none;stroke-width:1.5}.a{fill-opacity:.3}
.b{font-size:24px;font-weight:600}.good{fill:#1a7f37}.watch{fill:#9a6700}.bad{fill:#cf222e}
@media(prefers-color-scheme:dark){text{fill:#e6edf3}.s{fill:#9198a1}.p{fill:#161b22;stroke:#3d444d}.g{stroke:#3d444d}
.good{fill:#3fb950}.watch{fill:#d29922}.bad{fill:#f85149}}
"""
COLOURS = ("#218bff", "#bf8700", "#2da44e", "#e5534b", "#a475f9", "#339d9b", "#e0723a", "#8c959f")
LETTER, CAPITAL = 6.4, 7.2
"""Pixels of a letter, about."""
LEGEND_ROWS = 3
LEGEND_ROW = 13


class Line(NamedTuple):
    """One series of a panel, with its name in the legend: (Unix seconds, value), and for areas what lies below each."""

    name: str
    labels: Mapping[str, str]
    points: Sequence[tuple[float, float]]
    below: Sequence[float] = ()


class Span(NamedTuple):
    """The time on the horizontal axis, in Unix seconds, and the pace of its points."""

    start: float
    end: float
    step: float


class Box(NamedTuple):
    """Pixels inside a panel, below its title."""

    x: float
    y: float
    width: float
    height: float


def text(x: float, y: float, words: str, style: str = "", anchor: str = "") -> str:
    attributes = (f' class="{style.strip()}"' if style.strip() else "") + (f' text-anchor="{anchor}"' if anchor else "")
    return f'<text x="{x:.1f}" y="{y:.1f}"{attributes}>{escape(words)}</text>'


def reach(words: str) -> float:
    """Return about how many pixels wide words are."""
    return sum(CAPITAL if letter.isupper() else LETTER for letter in words)


def colour(number: int) -> str:
    return COLOURS[number % len(COLOURS)]


def time_axis(span: Span, left: float, right: float, y: float) -> list[str]:
    """Return minutes since the beginning, as many as there is room for."""
    minutes = (span.end - span.start) / 60
    room = (right - left) / 50
    every = next(pace for pace in (0.25, 0.5, 1, 2, 5, 10, 30, 60, 1e9) if minutes / pace <= room)
    marks = [every * at for at in range(1, int(minutes / every) + 1)]
    return [text(left + (right - left) * mark / minutes, y, f"{mark:g} min", "s", "end") for mark in marks]


class Legend(NamedTuple):
    rows: int
    parts: list[str]


def legend(lines: Sequence[Line], box: Box) -> Legend:
    """Return the names of the lines for the bottom of a box, the highest first, as many as go into its rows."""
    if not any(line.name for line in lines):
        return Legend(0, [])
    places: list[tuple[int, float, int]] = []
    x, row = 0.0, 0
    for number in sorted(range(len(lines)), key=lambda number: -_highest(lines[number])):
        width = 20 + reach(lines[number].name)
        if x and x + width > box.width:
            x, row = 0.0, row + 1
        if row == LEGEND_ROWS:
            break
        places.append((number, x, row))
        x += width
    rows = 1 + max(row for _, _, row in places)
    top, parts = box.y + box.height - LEGEND_ROW * rows + 10, []
    for number, x, row in places:
        y = top + LEGEND_ROW * row
        parts.append(f'<rect x="{box.x + x:.1f}" y="{y - 4:.1f}" width="9" height="3" fill="{colour(number)}"/>')
        parts.append(text(box.x + x + 12, y, lines[number].name, "s"))
    return Legend(rows, parts)


def _highest(line: Line) -> float:
    return max((value for _, value in line.points if not math.isnan(value)), default=0.0)
