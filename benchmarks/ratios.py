"""What is compared with what, and how rounds become one figure. Pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

Round = Mapping[str, Any]
"""One round: measurement -> system -> figure -> number, as `run.py` writes it to JSON."""


@dataclass(frozen=True)
class Spread:
    """A figure over the rounds; each round gives one value, taken inside that round."""

    median: float
    lowest: float
    highest: float


def spread(values: Sequence[float]) -> Spread:
    ordered = sorted(values)
    middle = len(ordered) // 2
    median = ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2
    return Spread(median, ordered[0], ordered[-1])


@dataclass(frozen=True)
class Goal:
    """One line of the table of figures: ours against theirs, or a count of ours that needs no opponent."""

    title: str
    at_least: float
    stretch: float
    ours: tuple[str, ...]
    theirs: tuple[str, ...] = ()
    unit: str = "x"
    is_share: bool = False
    """Theirs does next to nothing, and cannot be surpassed: how much of it is left, and no gain."""

    @property
    def more_is_better(self) -> bool:
        return self.stretch > self.at_least

    def value(self, measured: Round) -> float:
        """The figure of one round."""
        return look_up(measured, self.ours) / (look_up(measured, self.theirs) if self.theirs else 1.0)

    def verdict(self, median: float) -> str:
        reaches: Callable[[float], bool] = lambda goal: median >= goal if self.more_is_better else median <= goal  # noqa: E731
        return "stretch" if reaches(self.stretch) else "reached" if reaches(self.at_least) else "missed"


def look_up(measured: Round, path: Sequence[str]) -> float:
    found: Any = measured
    for name in path:
        found = found[name]
    return float(found)


def _inline_goals(opponent: str, name: str) -> Iterator[Goal]:
    for connections in (16, 64):
        measured = f"inference {connections}"
        for figure, words, at_least, stretch in (
            ("requests_per_second", "", 0.5, 0.75),
            ("p50_ms", ", p50", 2.0, 1.5),
        ):
            title = f"V2 infer inline at {connections} connections{words}, against {name}"
            yield Goal(
                title, at_least, stretch, (measured, "inline", figure), (measured, opponent, figure), is_share=True
            )


GOALS = (
    Goal(
        "async throughput, against article + preload", 70, 140,
        ("async", "iris", "jobs_per_second"), ("async", "preload", "jobs_per_second"),
    ),
    Goal(
        "async throughput, against the article as written", 1500, 4000,
        ("async", "iris", "jobs_per_second"), ("async", "article", "jobs_per_second"),
    ),
    Goal(
        "p50 at low load, polling, against article + preload", 0.15, 0.08,
        ("latency", "iris", "p50_ms"), ("latency", "preload", "p50_ms"),
    ),
    Goal(
        "p50 at low load, `?wait=`, against article + preload", 0.15, 0.08,
        ("latency", "iris waiting", "p50_ms"), ("latency", "preload", "p50_ms"),
    ),
    Goal(
        "enqueue endpoint at 64 connections, requests per second", 2.5, 4,
        ("enqueue 64", "iris", "requests_per_second"), ("enqueue 64", "article", "requests_per_second"),
    ),
    Goal(
        "enqueue endpoint at 64 connections, p99", 0.6, 0.4,
        ("enqueue 64", "iris", "p99_ms"), ("enqueue 64", "article", "p99_ms"),
    ),
    Goal(
        "V2 infer through the queue at 16 connections, against bare Starlette", 0.25, 0.5,
        ("inference 16", "iris", "requests_per_second"), ("inference 16", "bare", "requests_per_second"),
        is_share=True,
    ),
    Goal(
        "V2 infer through the queue at 64 connections, against bare Starlette", 0.25, 0.5,
        ("inference 64", "iris", "requests_per_second"), ("inference 64", "bare", "requests_per_second"),
        is_share=True,
    ),
    *_inline_goals("bare", "bare Starlette"),
    *_inline_goals("asking", "bare Starlette that asks the model"),
    Goal(
        "worker drain, against stock SimpleWorker on a no-op", 8, 50,
        ("drain", "iris", "jobs_per_second"), ("drain", "simple", "jobs_per_second"),
    ),
    Goal("Redis commands per job in full batches", 30, 15, ("drain", "iris", "commands_per_job"), unit=""),
    Goal("network reads of Redis per job in full batches", 1, 0.1, ("drain", "iris", "reads_per_job"), unit=""),
    Goal("Redis memory per finished job", 600, 350, ("async", "iris", "bytes_per_job"), unit=" bytes"),
)  # fmt: skip
"""The figures to reach, all with the no-loss design on."""


def over_rounds(rounds: Sequence[Round], goal: Goal) -> Spread:
    return spread([goal.value(measured) for measured in rounds])
