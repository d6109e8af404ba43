"""Runs one recovery process from start to stop: a sweep a second, its heartbeat, and what came of it.

What a sweep does is `recovery`'s. Redis may come and go: this loop turns all the same, and that is what liveness means.
"""

from __future__ import annotations

import signal
import time
from functools import partial

import structlog
from prometheus_client import generate_latest
from redis.exceptions import RedisError

from iris_service.config import Settings
from iris_service.jobs.client import connect
from iris_service.jobs.recovery import Recovery
from iris_service.metrics_server import Heartbeat, start_metrics_server
from iris_service.telemetry.recovery import RecoveryMetrics
from iris_service.telemetry.registry import new_registry

SWEEP_SECONDS = 1.0
STUCK_SECONDS = 120.0
"""A sweep that waits for a silent Redis gives up after half a minute; one over a very long ledger takes seconds."""

_log = structlog.get_logger(__name__)


def run_recovery(settings: Settings) -> int:
    """Sweep once a second until SIGTERM or SIGINT; returns the exit code.

    Raises `SettingsError` when the metrics port is taken.
    """
    stopping: list[int] = []
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda received, _frame: stopping.append(received))
    metrics, heart = RecoveryMetrics(new_registry("recovery")), Heartbeat(STUCK_SECONDS)
    if settings.metrics.port is not None:
        start_metrics_server(settings.metrics, partial(generate_latest, metrics.registry), heart.alive)
    recovery = Recovery(connect(settings.redis), settings.jobs)
    recovery.on_recovered = lambda outcome: metrics.jobs.labels(outcome).inc()
    _log.info("recovery ready")
    away = False
    while not stopping:
        heart.beat()
        try:
            began = time.perf_counter()
            swept = recovery.sweep()
            metrics.swept(time.perf_counter() - began if swept else None, *recovery.ledger())
            away = False
        except RedisError as exc:
            metrics.failed()
            if not away:
                _log.warning("redis cannot be used: trying on", reason=f"{type(exc).__name__}: {exc}"[:200])
            away = True
        time.sleep(SWEEP_SECONDS)
    _log.info("recovery stopped")
    return 0
