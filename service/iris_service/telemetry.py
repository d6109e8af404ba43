"""Logs and metrics: how a line looks and which metrics exist. Call sites only bind, log and count."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from math import nan
from typing import Any, TextIO, cast

import msgspec
import structlog
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    Info,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.registry import Collector

from iris_service.config import JobSettings, LogSettings

LATENCY_BUCKETS = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0)
"""Seconds; from one local prediction to the longest ?wait=."""
REFUSED = (
    "BAD_REQUEST", "REQUEST_TIMEOUT", "HEADERS_TOO_LARGE", "TOO_MANY_CONNECTIONS", "TOO_MANY_BODIES",
    "UNAUTHENTICATED", "AUTHENTICATION_UNAVAILABLE", "TOO_MANY_REQUESTS",
    "MALFORMED_BODY", "UNSUPPORTED_MEDIA_TYPE", "INVALID_INPUT", "INVALID_TENSORS", "BODY_TOO_LARGE", "TOO_MANY_ROWS",
    "QUERY_TOO_LONG", "IDEMPOTENCY_CONFLICT",
    "UNKNOWN_MODEL", "QUEUE_FULL", "OVERLOADED", "QUEUE_UNAVAILABLE", "MODEL_NOT_READY",
)  # fmt: skip
"""Why a connection, a caller or a prediction may be refused, in the order in which they are looked at. All are shown
from the start: to Prometheus, an increase from nothing is none."""
FAILED = ("BAD_INPUT", "PREDICTION_FAILED", "TIMEOUT")
"""How a worker may fail a job; the other codes are recovery's, and CANCELLED is its caller's."""
RECOVERED = ("requeued", "lost", "quarantined", "expired")
"""How a job may come out of recovery."""

_CHATTY_LOGGERS = (
    "rq.worker",
    "rq.job",
    "rq.queue",
    "rq.scripts",
    "uvicorn",
    "uvicorn.error",
    "uvicorn.access",
)


def configure_logging(settings: LogSettings, component: str) -> None:
    """Send every line of this process, ours and the libraries', to stderr in one shape.

    JSON unless stderr is a terminal. Lines carry what `structlog.contextvars` holds (request id, job id).
    """
    console = settings.format == "console" or (settings.format == "auto" and sys.stderr.isatty())
    complete = _complete(component)
    renderers: list[Any] = (
        [
            structlog.dev.ConsoleRenderer(
                timestamp_key="time",
                sort_keys=False,
                exception_formatter=structlog.dev.plain_traceback,  # the pretty one prints locals: feature values
            )
        ]
        if console
        else [structlog.processors.format_exc_info, _render_json]
    )
    # our own lines skip the logging module and the usual chain of processors: a third of the cost,
    # and the API writes one a request
    structlog.configure(
        processors=[complete, *renderers],
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, _stderr)),
        wrapper_class=structlog.make_filtering_bound_logger(settings.level),
        cache_logger_on_first_use=True,
    )
    _adopt_foreign_lines(settings.level, [structlog.stdlib.add_logger_name, complete], renderers)


class _Stderr:
    """Whatever stderr is when a line is written: loggers live as long as the process, streams need not."""

    def __init__(self) -> None:
        self._held: list[str] | None = None

    def write(self, text: str) -> int:
        if self._held is None:
            return sys.stderr.write(text)
        self._held.append(text)
        return len(text)

    def flush(self) -> None:
        if self._held is None:
            sys.stderr.flush()

    @contextmanager
    def held(self) -> Iterator[None]:
        self._held = []
        try:
            yield
        finally:
            lines, self._held = self._held, None
            sys.stderr.write("".join(lines))


_stderr = _Stderr()


def lines_together() -> AbstractContextManager[None]:
    """Write the lines logged inside in one go: a worker that has answered a batch has one for each job."""
    return _stderr.held()


def _complete(component: str) -> Any:
    """Return the processor that adds what every line has: time, level, component and the bound context."""

    def complete(_logger: Any, level: str, event: dict[str, Any]) -> dict[str, Any]:
        return {
            "time": datetime.now(UTC).isoformat(),
            "level": "error" if level == "exception" else level,
            "event": event.pop("event", ""),
            "component": component,
            **structlog.contextvars.get_contextvars(),
            **event,
        }

    return complete


def _adopt_foreign_lines(level: str, shared: list[Any], renderers: list[Any]) -> None:
    handler = logging.StreamHandler(_stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
            foreign_pre_chain=shared,
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _CHATTY_LOGGERS:  # they bring handlers of their own, which would print each line twice
        logger = logging.getLogger(name)
        logger.handlers[:] = []
        logger.propagate = True


_log_encoder = msgspec.json.Encoder(enc_hook=repr)


def _render_json(_logger: Any, _method: str, event: dict[str, Any]) -> str:
    try:
        return _log_encoder.encode(event).decode()
    except UnicodeEncodeError:  # half a surrogate pair, from a file name or an argument
        return json.dumps(event, default=repr)


def new_registry(component: str) -> CollectorRegistry:
    """Return a registry that says which process this is, and what it costs.

    Without `_created` series, for the whole process: nobody asks for them, and they are a third of a page.
    """
    disable_created_metrics()  # type: ignore[no-untyped-call]
    registry = CollectorRegistry()
    ProcessCollector(registry=registry)
    info = Info("iris_build", "The component this process is, and the release it is of.", registry=registry)
    info.info({"component": component, "release": _release()})
    return registry


def _release() -> str:
    from importlib.metadata import PackageNotFoundError, version

    try:
        return version("iris-serving")
    except PackageNotFoundError:  # run from a checkout that was never installed
        return "unknown"


class Totals(Collector):
    """A counter whose values are kept elsewhere, and survive this process."""

    def __init__(self, name: str, documentation: str, labelnames: tuple[str, ...], registry: CollectorRegistry) -> None:
        self._name, self._documentation, self._labelnames = name, documentation, labelnames
        self._values: Mapping[tuple[str, ...], float] = {}
        registry.register(self)

    def show(self, values: Mapping[tuple[str, ...], float]) -> None:
        """Show these totals, by their labels, and no others."""
        self._values = values

    def describe(self) -> Iterable[CounterMetricFamily]:
        return [CounterMetricFamily(self._name, self._documentation, labels=self._labelnames)]

    def collect(self) -> Iterable[CounterMetricFamily]:
        family = CounterMetricFamily(self._name, self._documentation, labels=self._labelnames)
        for labels, value in self._values.items():
            family.add_metric(labels, value)
        return [family]


class ApiMetrics:
    """What the API counts. Labels come from route templates and known models, never from a caller's text."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        one = ("model", "version")
        self.requests = Counter(
            "iris_http_requests_total",
            "HTTP requests answered.",
            ("method", "route", "status"),
            registry=registry,
        )
        self.seconds = Histogram(
            "iris_http_request_seconds",
            "Seconds from the first byte read to the last byte written.",
            ("method", "route"),
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.accepted = Counter(
            "iris_jobs_accepted_total",
            "Jobs this process has committed to the queue.",
            one,
            registry=registry,
        )
        self._refused = Counter(
            "iris_requests_refused_total",
            "Connections, callers and predictions that were refused, by error code.",
            ("code",),
            registry=registry,
        )
        self.waiting = Gauge(
            "iris_queue_waiting_jobs", "Jobs on the queue no worker has taken.", one, registry=registry
        )
        self.running = Gauge("iris_queue_running_jobs", "Jobs a worker has taken.", one, registry=registry)
        self.oldest = Gauge(
            "iris_queue_oldest_job_age_seconds",
            "Seconds since the next job in line was accepted; 0 when none waits.",
            one,
            registry=registry,
        )
        self.outcomes = Totals(
            "iris_queue_jobs",
            "Jobs since the queue began, as counted in Redis: accepted; done, error, expired, cancelled; recovered, "
            "quarantined; refused are answers that came second.",
            (*one, "outcome"),
            registry,
        )
        self.busy_seconds = Totals(
            "iris_queue_busy_seconds",
            "Worker time spent on answers since the queue began, as counted in Redis.",
            one,
            registry,
        )
        self.queue_limit = Gauge(
            "iris_queue_limit_jobs", "Waiting jobs of a version beyond which predictions get 429.", registry=registry
        )
        self.redis_up = Gauge("iris_redis_up", "1 while this process can use Redis.", registry=registry)
        self.redis_used = Gauge("iris_redis_memory_used_bytes", "Memory that Redis uses.", registry=registry)
        self.redis_max = Gauge(
            "iris_redis_memory_max_bytes",
            "Memory that Redis may use (maxmemory); 0 without a limit.",
            registry=registry,
        )
        self.memory_limit = Gauge(
            "iris_redis_memory_limit_ratio",
            "Share of maxmemory beyond which predictions get 503.",
            registry=registry,
        )
        self.redis_persisting = Gauge(
            "iris_redis_persisting",
            "1 while the last write of Redis to disk, of each kind it is set up for, went well.",
            registry=registry,
        )
        self.redis_evicts = Gauge(
            "iris_redis_may_evict",
            "1 when Redis throws keys away when its memory is full (maxmemory-policy other than noeviction).",
            registry=registry,
        )
        self.waiters = Gauge("iris_api_waiters", "Requests that are held until there is an answer.", registry=registry)
        self.share = Gauge("iris_route_weight", "Percent of new jobs that a version takes.", one, registry=registry)
        for code in REFUSED:
            self._refused.labels(code)

    def refused(self, code: str) -> None:
        self._refused.labels(code).inc()

    def show_limits(self, jobs: JobSettings) -> None:
        """Show what the gauges beside them are to be held against."""
        self.queue_limit.set(jobs.queue_limit)
        self.memory_limit.set(jobs.memory_limit_ratio)


class AnswerMetrics:
    """The families that say what a version has answered, whoever has: workers, and APIs that answer inline."""

    def __init__(self, registry: CollectorRegistry) -> None:
        one = ("model", "version")
        self.finished = Counter("iris_jobs_finished_total", "Jobs answered well.", one, registry=registry)
        self.failed = Counter(
            "iris_jobs_failed_total", "Jobs that ended with an error, by its code.", (*one, "code"), registry=registry
        )
        self.task_seconds = Histogram(
            "iris_job_task_seconds",
            "Seconds from start to answer; one batch counts once per job in it.",
            one,
            buckets=LATENCY_BUCKETS,
            registry=registry,
        )
        self.batch_jobs = Histogram(
            "iris_batch_jobs",
            "Jobs answered by one call of the model.",
            one,
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024),
            registry=registry,
        )


class WorkerMetrics:
    """What a worker counts, for the one model version it serves."""

    def __init__(self, registry: CollectorRegistry, *, model: str, version: str, digest: str) -> None:
        self.registry = registry
        labels = {"model": model, "version": version}
        answers = AnswerMetrics(registry)
        self.finished = answers.finished.labels(**labels)
        self._failed = answers.failed
        self.queue_seconds = Histogram(
            "iris_job_queue_seconds",
            "Seconds from acceptance to start.",
            tuple(labels),
            buckets=LATENCY_BUCKETS,
            registry=registry,
        ).labels(**labels)
        self.task_seconds = answers.task_seconds.labels(**labels)
        self.batch_jobs = answers.batch_jobs.labels(**labels)
        self.duplicates = Counter(
            "iris_answers_refused_total",
            "Answers that came second and were not published.",
            tuple(labels),
            registry=registry,
        ).labels(**labels)
        self._labels = labels
        Info("iris_model", "The model version this worker serves.", registry=registry).info(
            {**labels, "digest": digest}
        )
        for code in FAILED:
            self._failed.labels(**labels, code=code)

    def failed(self, code: str) -> None:
        self._failed.labels(**self._labels, code=code).inc()

    def show_drift(self, read: Callable[[], DriftFigures]) -> None:
        """Export what `read` returns at each scrape; it is called from the thread that answers them."""
        of_version = tuple(self._labels.values())
        self.registry.register(_DriftCollector(lambda: [(of_version, read())]))


class InlineMetrics(AnswerMetrics):
    """What an API counts of the predictions that it answers itself. Who sums the families over all processes misses
    nothing."""

    def __init__(self, registry: CollectorRegistry) -> None:
        super().__init__(registry)
        self.registry = registry
        self.versions = Gauge(
            "iris_inline_versions",
            "1 for a version that this process answers itself, 0 for one that it could not load.",
            ("model", "version"),
            registry=registry,
        )

    def show_drift(self, read: Callable[[], Sequence[tuple[tuple[str, ...], DriftFigures]]]) -> None:
        """Export what `read` returns at each scrape: (model, version) and figures, one a version."""
        self.registry.register(_DriftCollector(read))


@dataclass(frozen=True)
class DriftFigures:
    """How far a worker's window is from the training data; names are those of the card."""

    rows: int
    training_shares: Mapping[str, float]
    """By class; so are the answers' shares."""
    feature_psi: Mapping[str, float] = field(default_factory=dict)
    """Population stability index by feature; empty, as all below, when there are too few rows."""
    answer_psi: float | None = None
    answer_shares: Mapping[str, float] = field(default_factory=dict)


class _DriftCollector(Collector):
    """Too few rows give no series at all: NaN would spoil every average over processes."""

    def __init__(self, read: Callable[[], Sequence[tuple[tuple[str, ...], DriftFigures]]]) -> None:
        """`read` returns (model, version) and the figures of each version that this process answers."""
        self._read = read

    def collect(self) -> Iterator[GaugeMetricFamily]:
        seen = self._read()

        def gauge(name: str, text: str, values: Callable[[DriftFigures], Mapping[str, float]], label: str = "") -> Any:
            names = ("model", "version", label) if label else ("model", "version")
            family = GaugeMetricFamily(f"iris_drift_{name}", text, labels=names)
            for of_version, figures in seen:
                for key, value in values(figures).items():
                    family.add_metric((*of_version, key) if label else of_version, value)
            return family

        yield gauge("rows", "Answered rows that are compared with the training data.", lambda f: {"": f.rows})
        yield gauge("feature_psi", "Population stability index of what is asked.", lambda f: f.feature_psi, "feature")
        yield gauge(
            "answer_psi",
            "Population stability index of the classes answered.",
            lambda f: {} if f.answer_psi is None else {"": f.answer_psi},
        )
        yield gauge("answer_share", "Share of the rows answered with a class.", lambda f: f.answer_shares, "class")
        yield gauge("training_share", "Share of a class in the training data.", lambda f: f.training_shares, "class")


class RecoveryMetrics:
    """What recovery counts, and what the ledger holds: every accepted job without an answer, on any queue.

    Every outcome is there from the start, so that a first one is seen as an increase.
    """

    def __init__(self, registry: CollectorRegistry) -> None:
        self.registry = registry
        self.sweeps = Counter(
            "iris_recovery_sweeps_total",
            "Looks at every queue: done, left (another recovery was at it) or failed (Redis).",
            ("result",),
            registry=registry,
        )
        self.seconds = Histogram(
            "iris_recovery_sweep_seconds", "Seconds a sweep took.", buckets=LATENCY_BUCKETS, registry=registry
        )
        self.last_sweep = Gauge(
            "iris_recovery_last_sweep_timestamp_seconds",
            "Unix time of this process' last sweep; 0 before the first.",
            registry=registry,
        )
        self.jobs = Counter(
            "iris_recovery_jobs_total",
            "Jobs recovery took care of: requeued, lost (attempts used up), quarantined or expired.",
            ("outcome",),
            registry=registry,
        )
        self.pending = Gauge("iris_ledger_jobs", "Accepted jobs without an answer, of all queues.", registry=registry)
        self.oldest = Gauge(
            "iris_ledger_oldest_job_age_seconds",
            "Seconds since the oldest job without an answer was accepted; 0 when there is none.",
            registry=registry,
        )
        for result in ("done", "left", "failed"):
            self.sweeps.labels(result)
        for outcome in RECOVERED:
            self.jobs.labels(outcome)

    def swept(self, seconds: float | None, pending: int, oldest_seconds: float) -> None:
        """Count a sweep, or None for one that was left to another recovery, and show what the ledger holds after it."""
        self.sweeps.labels("left" if seconds is None else "done").inc()
        if seconds is not None:
            self.seconds.observe(seconds)
            self.last_sweep.set_to_current_time()
        self.pending.set(pending)
        self.oldest.set(oldest_seconds)

    def failed(self) -> None:
        """Count a sweep that Redis did not let happen; what the ledger holds is not known then."""
        self.sweeps.labels("failed").inc()
        self.pending.set(nan)
        self.oldest.set(nan)
