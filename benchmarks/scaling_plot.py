"""Draws wait against cost as a small SVG, one panel a trace, readable on light and dark pages."""

from __future__ import annotations

from itertools import groupby
from math import log10
from typing import NamedTuple

PANEL, GAP, TOP, LEFT = 180, 46, 58, 46
COLUMNS = 3
LONGEST_WAIT, HIGHEST_COST = 200.0, 8.0
STYLE = """
text { font: 11px system-ui, sans-serif; fill: #333 } .name { font-weight: 600; font-size: 12px }
.frame { fill: none; stroke: #999 } .grid { stroke: #9994 }
.r0 { fill: #777 } .r1 { fill: #0a7d4f } .r2 { fill: #1f6feb } .r3 { fill: #d1242f } .r4 { fill: #d97706 }
@media (prefers-color-scheme: dark) { text { fill: #ddd } .r0 { fill: #aaa } .r1 { fill: #3fce8e } .r2 { fill: #6cb0ff }
.r3 { fill: #ff7b72 } .r4 { fill: #f5b041 } }
"""


class Point(NamedTuple):
    trace: str
    rule: str
    cost: float
    """Worker-seconds per second of work."""
    wait: float
    """Seconds, 95th percentile."""


def draw(points: list[Point]) -> str:
    """Return the SVG; nearer to the lower left corner is better. `points` come grouped by trace."""
    names = list(dict.fromkeys(point.rule for point in points))
    panels = [list(panel) for _, panel in groupby(points, key=lambda point: point.trace)]
    width = LEFT + COLUMNS * (PANEL + GAP)
    height = TOP + -(-len(panels) // COLUMNS) * (PANEL + 2 * GAP)
    parts = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">']
    parts.append("<title>p95 wait against worker-seconds, by scaling rule</title>")
    parts.append(f"<style>{STYLE}</style>")
    parts += [_legend(index, name) for index, name in enumerate(names)]
    for index, panel in enumerate(panels):
        x, y = LEFT + index % COLUMNS * (PANEL + GAP), TOP + index // COLUMNS * (PANEL + 2 * GAP)
        parts.append(f'<g transform="translate({x} {y})">{_panel(panel, names)}</g>')
    return "\n".join([*parts, "</svg>"]) + "\n"


def _legend(index: int, name: str) -> str:
    x = LEFT - 30 + index * 124
    return f'{_mark(index, x, 14, name)}<text x="{x + 10}" y="18">{name}</text>'


def _panel(panel: list[Point], names: list[str]) -> str:
    parts = [f'<text class="name" y="-7">{panel[0].trace}</text>']
    parts += [_line(f"{wait:g} s", 0, _y(wait), PANEL, _y(wait), -5, _y(wait) + 4, "end") for wait in (0, 1, 10, 100)]
    parts += [_line(f"×{cost}", _x(cost), 0, _x(cost), PANEL, _x(cost), PANEL + 14, "middle") for cost in (1, 2, 4, 8)]
    parts.append(f'<rect class="frame" width="{PANEL}" height="{PANEL}"/>')
    parts.append(f'<text x="{PANEL / 2}" y="{PANEL + 28}" text-anchor="middle">cost → · ↑ p95 wait</text>')
    for point in panel:
        label = f"{point.rule}: p95 wait {point.wait:.1f} s, cost ×{point.cost:.2f}"
        parts.append(_mark(names.index(point.rule), _x(point.cost), _y(point.wait), label))
    return "".join(parts)


def _mark(rule: int, x: float, y: float, label: str) -> str:
    """A diamond for the oracle, circles for ours, squares for KEDA: shape says what colour may not."""
    turned = f' transform="rotate(45 {x:.1f} {y:.1f})"' if rule == 0 else ""
    radius = 5 if rule in (1, 2) else 0
    box = f'x="{x - 5:.1f}" y="{y - 5:.1f}" width="10" height="10" rx="{radius}"'
    return f'<rect class="r{rule}" {box}{turned}><title>{label}</title></rect>'


def _line(label: str, x1: float, y1: float, x2: float, y2: float, at_x: float, at_y: float, anchor: str) -> str:
    line = f'<path class="grid" d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}"/>'
    return f'{line}<text x="{at_x:.1f}" y="{at_y:.1f}" text-anchor="{anchor}">{label}</text>'


def _x(cost: float) -> float:
    return PANEL * (0.06 + 0.9 * log10(max(cost, 1.0)) / log10(HIGHEST_COST))


def _y(wait: float) -> float:
    return PANEL * (1 - 0.04 - 0.92 * log10(1 + wait) / log10(1 + LONGEST_WAIT))
