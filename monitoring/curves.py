"""Draws lines, and areas on top of each other, over time. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from drawing import LEGEND_ROW, Box, Line, Span, colour, legend, text, time_axis
from panels import Panel
from scale import ticks, written


def curves(panel: Panel, lines: Sequence[Line], span: Span, box: Box) -> list[str]:
    """Return the parts of a panel's inside: axes, lines and legend."""
    below, names = legend(lines, box)
    if panel.kind == "areas":
        lines = stacked(lines)
    left, right = box.x + 50, box.x + box.width
    top, bottom = box.y + 4, box.y + box.height - 14 - LEGEND_ROW * below
    values = [0.0, *(value for line in lines for _, value in line.points if math.isfinite(value))]
    marks = ticks(max(values), min(values))

    def y(value: float) -> float:
        return bottom - (bottom - top) * (value - marks[0]) / (marks[-1] - marks[0])

    def x(at: float) -> float:
        return left + (right - left) * (at - span.start) / (span.end - span.start)

    parts = []
    for mark in marks:
        parts.append(f'<line class="g" x1="{left:.1f}" y1="{y(mark):.1f}" x2="{right:.1f}" y2="{y(mark):.1f}"/>')
        parts.append(text(left - 4, y(mark) + 3, written(mark, panel.unit).replace(f" {panel.unit}", ""), "s", "end"))
    for number, line in reversed(list(enumerate(lines))):
        for stretch in _unbroken(line, span.step):
            points = " ".join(f"{x(at):.1f},{y(value):.1f}" for at, value, _ in stretch)
            if panel.kind == "areas":
                floor = " ".join(f"{x(at):.1f},{y(base):.1f}" for at, _, base in reversed(stretch))
                parts.append(f'<polygon class="a" fill="{colour(number)}" points="{points} {floor}"/>')
            parts.append(f'<polyline class="l" stroke="{colour(number)}" points="{points}"/>')
    return [*parts, *time_axis(span, left, right, bottom + 12), *names]


def stacked(lines: Sequence[Line]) -> list[Line]:
    """Put each series on top of those before it."""
    height: dict[float, float] = {}
    found = []
    for line in lines:
        points, below = [], []
        for at, value in line.points:
            below.append(height.get(at, 0.0))
            height[at] = below[-1] + (0.0 if math.isnan(value) else value)
            points.append((at, height[at]))
        found.append(line._replace(points=points, below=below))
    return found


Point = tuple[float, float, float]
"""Time, value, and what lies below."""


def _unbroken(line: Line, step: float) -> list[list[Point]]:
    """Cut a line where a value is missing or no number."""
    stretches: list[list[Point]] = []
    last = -math.inf
    below = line.below or [0.0] * len(line.points)
    for (at, value), base in zip(line.points, below, strict=True):
        if math.isfinite(value):
            if at - last > step * 1.01:
                stretches.append([])
            stretches[-1].append((at, value, base))
            last = at
    return [_thinned(stretch) for stretch in stretches]


def _thinned(points: Sequence[Point]) -> list[Point]:
    """Leave out what lies between two equal points: most of a picture's bytes."""
    ahead = zip(points, points[1:], points[2:], strict=False)
    kept = [point for before, point, after in ahead if not before[1:] == point[1:] == after[1:]]
    return [points[0], *kept, points[-1]]
