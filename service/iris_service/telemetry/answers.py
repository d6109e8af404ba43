"""What is measured of answers, in a worker or in an API process that answers itself. Call sites only count."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, Info

from iris_service.telemetry.drift import DriftCollector, DriftFigures
from iris_service.telemetry.registry import LATENCY_BUCKETS

FAILED = ("BAD_INPUT", "PREDICTION_FAILED", "TIMEOUT")
"""How a worker may fail a job; the other codes are recovery's, and CANCELLED is its caller's."""


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
        self.registry.register(DriftCollector(lambda: [(of_version, read())]))


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
        self.registry.register(DriftCollector(read))
