"""The words of a dashboard: queries, panels, sections, and where a panel lies. Knows neither Grafana nor how to draw.

A panel's title is the question it answers. `$namespace`, `$model`, `$version` and `$__rate_interval` in a query are
filled in by whoever asks.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Literal, NamedTuple

COLUMNS = 24
"""Of Grafana's grid; a section's panels fill it row by row."""

Kind = Literal["lines", "areas", "figure", "table", "states"]
"""lines: over time · areas: the same, stacked · figure: the last value alone · table: labels of what is there now ·
states: when each series was there."""
Unit = Literal[
    "seconds", "jobs/s", "requests/s", "looks/s", "/s", "ratio", "percent", "bytes", "cores", "count", "yes/no"
]
Level = Literal["good", "watch", "bad"]


@dataclass(frozen=True)
class Query:
    expr: str
    legend: str = ""
    """May name labels: `{{version}}`."""

    def name(self, labels: Mapping[str, str]) -> str:
        """Return the legend of the series that has these labels."""
        return re.sub(r"{{(\w+)}}", lambda found: labels.get(found[1], ""), self.legend)


@dataclass(frozen=True)
class Panel:
    title: str
    description: str
    queries: tuple[Query, ...]
    unit: Unit = "count"
    kind: Kind = "lines"
    width: int = 8
    levels: Mapping[float, Level] = field(default_factory=dict)
    """From which value on a figure is good, to be watched, or bad."""
    columns: tuple[str, ...] = ()
    """Labels that a table shows; `Value` is the value."""


@dataclass(frozen=True)
class Section:
    title: str
    panels: tuple[Panel, ...]
    height: int = 8


@dataclass(frozen=True)
class Variable:
    """A choice at the top of the dashboard: the values of one label of one metric; everything by default."""

    name: str
    metric: str


@dataclass(frozen=True)
class Dashboard:
    uid: str
    title: str
    description: str
    variables: tuple[Variable, ...]
    sections: tuple[Section, ...]

    @property
    def panels(self) -> tuple[Panel, ...]:
        return tuple(panel for section in self.sections for panel in section.panels)


class Place(NamedTuple):
    """In Grafana's grid units, from the top left."""

    x: int
    y: int
    width: int
    height: int


def placed(dashboard: Dashboard) -> Iterator[tuple[Place, Section | Panel]]:
    """Yield every section's headline and panel with its place, in reading order."""
    y = 0
    for section in dashboard.sections:
        yield Place(0, y, COLUMNS, 1), section
        y, x = y + 1, 0
        for panel in section.panels:
            if x + panel.width > COLUMNS:
                y, x = y + section.height, 0
            yield Place(x, y, panel.width, section.height), panel
            x += panel.width
        y += section.height


# The choices, and the label matchers that follow them.
NAMESPACE = Variable("namespace", "iris_build_info")
MODEL = Variable("model", 'iris_route_weight{namespace=~"$namespace"}')
VERSION = Variable("version", 'iris_queue_jobs_total{namespace=~"$namespace",model=~"$model"}')
IN_NAMESPACE = 'namespace=~"$namespace"'
OF_MODEL = f'{IN_NAMESPACE},model=~"$model"'
OF_VERSION = f'{OF_MODEL},version=~"$version"'
BY_VERSION = "by (namespace, model, version)"


def rate(metric: str, matchers: str) -> str:
    """Return the query of how fast a counter grows, a second."""
    return f"rate({metric}{{{matchers}}}[$__rate_interval])"


def quantile(share: float, histogram: str, matchers: str, by: str = "") -> str:
    """Return the query of a quantile over all processes, by the labels in `by`."""
    labels = f"le, {by}" if by else "le"
    return f"histogram_quantile({share}, sum by ({labels}) ({rate(histogram + '_bucket', matchers)}))"


def total(outcomes: str, matchers: str, by: str = "") -> str:
    """Return the query of jobs a second by outcome.

    Totals in Redis are the same from every API process: the largest is the answer, not their sum.
    """
    jobs = rate("iris_queue_jobs_total", f'{matchers},outcome=~"{outcomes}"')
    each = f"max by (namespace, model, version, outcome) ({jobs})"
    return f"sum by ({by}) ({each})" if by else f"sum({each})"
