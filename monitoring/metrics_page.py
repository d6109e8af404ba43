"""Renders docs/metrics.md from the registries themselves: every metric that can be scraped, and nothing else."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, NamedTuple

from prometheus_client import CollectorRegistry, ProcessCollector

import iris_operator.telemetry
import iris_service.telemetry.registry
from iris_operator.telemetry import OperatorMetrics
from iris_service.telemetry.answers import WorkerMetrics
from iris_service.telemetry.api import ApiMetrics
from iris_service.telemetry.drift import DriftFigures
from iris_service.telemetry.recovery import RecoveryMetrics

HEAD = """# Metrics

What each process shows at `/metrics`, for Prometheus. Made from the registries by `python monitoring/write.py`; a test
holds it against them, and against what real processes are scraped for. What to do about a figure is in
[operations.md](operations.md).

Names follow Prometheus' rules: base units, `_total` for what only grows, and a histogram `x_seconds` is scraped as
`x_seconds_bucket`, `_sum` and `_count`. Labels are bounded: routes are templates (`unmatched` for any other path),
codes and outcomes are fixed lists, models and versions are those that the operator has routed (at most 500 models in
one API process; versions grow with releases, never with requests). No label holds what a caller sent.
"""
BEFORE = {
    "api": "At `IRIS_METRICS_PORT` of each API process, or among its other pages where that is not set, and always so "
    "with `iris up`. Figures of queues and totals are read from Redis once a second, so every process shows the same: "
    "take the largest, never the sum. They leave the page while Redis cannot be read. With `IRIS_SYNC=inline` the page "
    "also has a worker's families of answers and drift (`iris_jobs_finished_total`, `iris_jobs_failed_total`, "
    "`iris_job_task_seconds`, `iris_batch_jobs`, `iris_drift_…`) for what this process has answered itself, without a "
    "job, and `iris_inline_versions`: 1 for a version that it answers, 0 for one that it could not load and leaves to "
    "the queue.",
    "worker": "At `IRIS_METRICS_PORT` of each worker, which serves one version. Buckets of times: 0.5 ms to 30 s.",
    "recovery": "At `IRIS_METRICS_PORT` of the recovery process.",
    "operator": "At `IRIS_METRICS_PORT` of the operator, 9000 by default and 9100 in the chart. `model` is the name of "
    "an IrisModel.",
    "all": "In each of them, by prometheus-client's collector of processes, and the first by us.",
}
_UNITS = (
    ("_timestamp_seconds", "Unix seconds"), ("_start_time_seconds", "Unix seconds"), ("_seconds", "seconds"),
    ("_bytes", "bytes"), ("_ratio", "ratio"), ("_weight", "percent"), ("_fds", "descriptors"),
    ("_psi", "index"), ("_share", "ratio"), ("_drift_rows", "rows"),
    ("_up", "0 or 1"), ("_persisting", "0 or 1"), ("_evict", "0 or 1"), ("_phase", "0 or 1"),
    ("_condition", "1"), ("_version_info", "1"), ("iris_build", "1"), ("iris_model", "1"),
    ("_jobs", "jobs"), ("_requests", "requests"), ("_waiters", "requests"), ("_writes", "requests"),
    ("_answers", "answers"), ("_sweeps", "sweeps"), ("_reconciles", "looks"), ("_workers", "workers"),
    ("_models", "models"), ("_due", "models"), ("_failing", "models"), ("_step", "number"), ("_events", "events"),
)  # fmt: skip
"""The first part of a name that fits."""


class Row(NamedTuple):
    """One metric, as a line of the page."""

    name: str
    """As queries name it; a histogram without its suffixes."""
    type: str
    labels: tuple[str, ...]
    unit: str
    meaning: str


def page() -> str:
    """Return the whole page."""
    parts = [HEAD]
    for exporter, rows in tables().items():
        parts += [
            f"\n## {exporter.capitalize()}\n\n{BEFORE[exporter]}\n",
            "\n| metric | type | labels | unit | meaning |\n",
        ]
        parts += ["|---|---|---|---|---|\n", *(_line(row) for row in rows)]
    return "".join(parts)


def _line(row: Row) -> str:
    labels = ", ".join(f"`{label}`" for label in row.labels)
    return f"| `{row.name}` | {row.type} | {labels} | {row.unit} | {row.meaning} |\n"


def tables() -> Mapping[str, tuple[Row, ...]]:
    """Return the metrics by who exports them; `all` is what every process has."""
    return {exporter: tuple(_rows(registry)) for exporter, registry in _registries().items()}


def _registries() -> Mapping[str, CollectorRegistry]:
    api, worker, recovery, operator = (CollectorRegistry() for _ in range(4))
    ApiMetrics(api)
    one = WorkerMetrics(worker, model="iris", version="1", digest="sha256:0")
    one.show_drift(lambda: DriftFigures(1, {"setosa": 1.0}, {"petal_width": 0.0}, 0.0, {"setosa": 1.0}))
    RecoveryMetrics(recovery)
    OperatorMetrics(operator)
    everybody = iris_service.telemetry.registry.new_registry("api")
    theirs, ours = (list(_rows(one)) for one in (iris_operator.telemetry.new_registry(), everybody))
    assert theirs == ours, "both packages say alike what a process is"
    return {"api": api, "worker": worker, "recovery": recovery, "operator": operator, "all": everybody}


def _rows(registry: CollectorRegistry) -> Iterator[Row]:
    for collector in _collectors(registry):
        labels: tuple[str, ...] = tuple(getattr(collector, "_labelnames", ()))
        for metric in collector.collect():
            samples = {label for sample in metric.samples for label in sample.labels} - {"le"}
            name = metric.name + {"counter": "_total", "info": "_info"}.get(metric.type, "")
            known = labels or tuple(sorted(samples))
            yield Row(name, metric.type, known, _unit(metric.name), metric.documentation)


def _collectors(registry: CollectorRegistry) -> list[Any]:
    """Return them as they were registered, those of the library last. There is no public way to list them."""
    return sorted(registry._collector_to_names, key=lambda collector: isinstance(collector, ProcessCollector))


def _unit(name: str) -> str:
    return next((unit for part, unit in _UNITS if part in name), "")
