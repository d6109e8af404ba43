"""What recovery measures, and what the ledger holds. Call sites only count."""

from __future__ import annotations

from math import nan

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from iris_service.telemetry.registry import LATENCY_BUCKETS

RECOVERED = ("requeued", "lost", "quarantined", "expired")
"""How a job may come out of recovery."""


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
