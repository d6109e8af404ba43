"""What the API measures. Call sites only count."""

from __future__ import annotations

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from iris_service.config import JobSettings
from iris_service.telemetry.registry import LATENCY_BUCKETS, Totals

REFUSED = (
    "BAD_REQUEST", "REQUEST_TIMEOUT", "HEADERS_TOO_LARGE", "TOO_MANY_CONNECTIONS", "TOO_MANY_BODIES",
    "UNAUTHENTICATED", "AUTHENTICATION_UNAVAILABLE", "TOO_MANY_REQUESTS",
    "MALFORMED_BODY", "UNSUPPORTED_MEDIA_TYPE", "INVALID_INPUT", "INVALID_TENSORS", "BODY_TOO_LARGE", "TOO_MANY_ROWS",
    "QUERY_TOO_LONG", "IDEMPOTENCY_CONFLICT",
    "UNKNOWN_MODEL", "QUEUE_FULL", "OVERLOADED", "QUEUE_UNAVAILABLE", "MODEL_NOT_READY",
)  # fmt: skip
"""Why a connection, a caller or a prediction may be refused, in the order in which they are looked at. All are shown
from the start: to Prometheus, an increase from nothing is none."""


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
