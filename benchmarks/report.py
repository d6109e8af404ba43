"""Turns rounds into the measured part of docs/performance.md. Pure: text in, text out."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ratios import GOALS, Goal, Round, Spread, look_up, over_rounds, spread

BEGIN, END = "<!-- measured: begin -->", "<!-- measured: end -->"

SYSTEMS = {
    "article": "article as written",
    "preload": "article + preload",
    "iris": "ours",
    "iris waiting": "ours, `?wait=`",
    "simple": "stock SimpleWorker, no-op",
    "forking": "stock `rq worker`, no-op",
    "bare": "bare Starlette",
    "asking": "bare Starlette that asks the model",
    "inline": "ours, inline",
    "promises": "ours, as shipped",
    "no disk": "ours, Valkey writes nothing to disk",
    "no disk, no promises": "ours, nothing on disk, no ledger, no unique enqueue, answers overwritten",
}
_MEASURED = (
    ("async", "Async throughput, end to end", ("jobs_per_second", "submitted_per_second", "bytes_per_job")),
    ("latency", "One client at low load", ("p50_ms", "p99_ms")),
    ("enqueue 1", "Enqueue endpoint, 1 connection", ("requests_per_second", "p50_ms", "p99_ms")),
    ("enqueue 16", "Enqueue endpoint, 16 connections", ("requests_per_second", "p50_ms", "p99_ms")),
    ("enqueue 64", "Enqueue endpoint, 64 connections", ("requests_per_second", "p50_ms", "p99_ms")),
    ("inference 16", "V2 infer, 16 connections", ("requests_per_second", "p50_ms", "p99_ms")),
    ("inference 64", "V2 infer, 64 connections", ("requests_per_second", "p50_ms", "p99_ms")),
    ("drain", "Worker alone, a ready backlog", ("jobs_per_second", "commands_per_job", "reads_per_job")),
)
_UNITS = {
    "jobs_per_second": "jobs/s",
    "submitted_per_second": "submitted/s",
    "requests_per_second": "requests/s",
    "bytes_per_job": "bytes of Redis a job",
    "p50_ms": "p50 ms",
    "p99_ms": "p99 ms",
    "commands_per_job": "commands a job",
    "reads_per_job": "network reads a job",
}


def number(value: float) -> str:
    """Three digits that mean something."""
    if value >= 100:
        return f"{value:,.0f}".replace(",", " ")
    return f"{value:.1f}" if value >= 10 else f"{value:.2f}" if value >= 0.1 else f"{value:.3f}"


def shown(value: Spread, unit: str = "") -> str:
    return f"{number(value.median)}{unit} [{number(value.lowest)}..{number(value.highest)}]"


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    lines = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def goals_table(rounds: Sequence[Round]) -> str:
    return table(
        ["figure", "measured [lowest..highest round]", "at least", "stretch", ""], map(_goal_row(rounds), GOALS)
    )


def _goal_row(rounds: Sequence[Round]) -> Any:
    def row(goal: Goal) -> list[str]:
        value = over_rounds(rounds, goal)
        bound = "" if goal.more_is_better else "at most "
        goals = [f"{bound}{goal_value:g}{goal.unit}" for goal_value in (goal.at_least, goal.stretch)]
        return [goal.title, f"**{shown(value, goal.unit)}**", *goals, goal.verdict(value.median)]

    return row


def cost_table(rounds: Sequence[Round]) -> str:
    """What the no-loss design costs: everything as a share of the last line, which has none of it."""
    bare = "no disk, no promises"
    rows = []
    for name in ("promises", "no disk", bare):
        cells = [SYSTEMS[name]]
        for figure in ("throughput", "drain"):
            ratios = [
                look_up(measured, ("cost", name, figure)) / look_up(measured, ("cost", bare, figure))
                for measured in rounds
            ]
            cells.append("1" if name == bare else shown(spread(ratios), "x"))
        rows.append(cells)
    return table(["", "async throughput", "worker drain"], rows)


def absolute_tables(rounds: Sequence[Round]) -> str:
    parts = []
    for key, title, figures in _MEASURED:
        rows = [
            [SYSTEMS[system], *(shown(spread([look_up(r, (key, system, f)) for r in rounds])) for f in figures)]
            for system in rounds[0][key]
        ]
        parts.append(f"**{title}**\n\n{table(['', *(_UNITS[figure] for figure in figures)], rows)}")
    return "\n\n".join(parts)


def measured_part(run: Mapping[str, Any], plot: str) -> str:
    """The text between the markers; `run` is what the JSON file holds, `plot` the picture's path."""
    machine, rounds = run["machine"], run["rounds"]
    before, after = run["load_average"]
    # what the benchmark itself adds to the load is not in the first figure
    company = " **Other programs used the machine meanwhile.**" if before > machine["cores"] / 4 else ""
    versions = ", ".join(f"{name} {version}" for name, version in run["versions"].items())
    return "\n\n".join(
        [
            f"{len(rounds)} rounds on {run['day']}, commit `{run['commit']}`, {run['seconds']:.0f} s in all.\n"
            f"Machine: {machine['cpu']}, {machine['cores']} cores, {machine['memory_gb']} GB, {machine['system']}.\n"
            f"Load average {before:.1f} before the first round, {after:.1f} after the last; "
            f"requests to the endpoint by {run['endpoint_load']}.{company}\n"
            f"Versions: {versions}.",
            f"![Ratios against the article, one bar a figure, whiskers from the lowest to the highest round]({plot})",
            goals_table(rounds),
            "### What the promise that nothing is lost costs",
            cost_table(rounds),
            "### The numbers under the ratios",
            "They move by a factor of two with the hour and the machine: compare only what one round measured.",
            absolute_tables(rounds),
        ]
    )


def replaced(document: str, measured: str) -> str:
    """Return the document with what stands between the markers replaced; raises `ValueError` without them."""
    head, begin, rest = document.partition(BEGIN)
    _, end, tail = rest.partition(END)
    if not begin or not end:
        raise ValueError(f"the document must hold {BEGIN} and {END}")
    return f"{head}{BEGIN}\n{measured}\n{END}{tail}"
