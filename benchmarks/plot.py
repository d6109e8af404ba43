"""Draws the ratios as an SVG: a line a figure, on one logarithmic axis, better to the right. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from ratios import GOALS, Goal, Round, Spread, over_rounds
from report import number

WIDTH, LEFT, RIGHT, ROW, TOP = 900, 400, 120, 34, 40
_STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#24292f}.small{font-size:11px;fill:#57606a}"
    ".grid{stroke:#d0d7de}.bar{fill:#54aeff}.whisker{stroke:#0a3069;stroke-width:2}.goal{stroke:#cf222e;stroke-width:2}"
    "@media(prefers-color-scheme:dark){text{fill:#e6edf3}.small{fill:#9198a1}.grid{stroke:#3d444d}.whisker{stroke:#b6e3ff}}"
)


def svg(rounds: Sequence[Round]) -> str:
    """How many times better we are, per figure that has an opponent; the red mark is what was to be reached."""
    goals = [goal for goal in GOALS if goal.theirs and not goal.is_share]
    gains = [_gain(goal, over_rounds(rounds, goal)) for goal in goals]
    decades = max(1, math.ceil(math.log10(max(gain.highest for gain in gains))))
    bottom = TOP + ROW * len(goals)

    def x(value: float) -> float:
        return round(LEFT + (WIDTH - LEFT - RIGHT) * max(0.0, math.log10(value)) / decades, 1)

    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {bottom + 40}" role="img">',
        f"<title>How many times better than the article's service</title><style>{_STYLE}</style>",
    ]
    for decade in range(decades + 1):
        at = x(10**decade)
        parts.append(f'<line class="grid" x1="{at}" y1="{TOP - 10}" x2="{at}" y2="{bottom}"/>')
        parts.append(f'<text class="small" x="{at}" y="{bottom + 16}" text-anchor="middle">{10**decade}x</text>')
    for line, (goal, gain) in enumerate(zip(goals, gains, strict=True)):
        parts += _line(goal, gain, TOP + ROW * line, x)
    parts.append(
        f'<text class="small" x="{LEFT}" y="{bottom + 34}">times better, logarithmic: bar median, '
        "line lowest to highest round, red the figure to reach</text></svg>"
    )
    return "\n".join(parts) + "\n"


def _line(goal: Goal, gain: Spread, top: int, x: object) -> list[str]:
    assert callable(x)
    middle = top + ROW // 2 - 5
    wanted = x(goal.at_least if goal.more_is_better else 1 / goal.at_least)
    return [
        f'<text x="{LEFT - 10}" y="{middle + 4}" text-anchor="end">{escape(goal.title.replace("`", ""))}</text>',
        f'<rect class="bar" x="{LEFT}" y="{middle - 8}" width="{x(gain.median) - LEFT:.1f}" height="16" rx="2"/>',
        f'<line class="whisker" x1="{x(gain.lowest)}" y1="{middle}" x2="{x(gain.highest)}" y2="{middle}"/>',
        f'<line class="goal" x1="{wanted}" y1="{middle - 11}" x2="{wanted}" y2="{middle + 11}"/>',
        f'<text x="{max(x(gain.highest), wanted) + 8}" y="{middle + 4}">{number(gain.median)}x</text>',
    ]


def _gain(goal: Goal, value: Spread) -> Spread:
    """A latency of a tenth is ten times better."""
    if goal.more_is_better:
        return value
    return Spread(1 / value.median, 1 / value.highest, 1 / value.lowest)
