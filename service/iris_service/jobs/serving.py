"""Runs one worker process from start to stop: waits for Redis, guards the loop, has it told what comes of it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import structlog
from redis.exceptions import RedisError

from iris_service.config import Settings
from iris_service.jobs.batch import Predictor
from iris_service.jobs.client import connect
from iris_service.jobs.keys import REJECTED_PREFIX, Target
from iris_service.jobs.reporting import Observe, Reporter, observe_nothing
from iris_service.jobs.watchdog import Watchdog
from iris_service.jobs.worker import IrisWorker
from iris_service.telemetry.answers import WorkerMetrics
from iris_service.tracing.spans import NoSpans, Spans

REJECTION_SECONDS = 3600
"""How long a refusal is remembered for the operator; a worker that is started again refuses again."""

T = TypeVar("T")
_log = structlog.get_logger(__name__)


def run_worker(
    settings: Settings,
    model: Predictor,
    metrics: WorkerMetrics,
    on_progress: Callable[[], None] = lambda: None,
    card: bytes = b"",
    observe: Observe = observe_nothing,
    spans: Spans | None = None,
) -> int:
    """Answer the jobs of `model`'s queue until SIGTERM or SIGINT; returns the exit code, 0 after a clean stop.

    `on_progress` is called at least every two seconds while the loop lives, but not during a prediction. `card` is
    published for API processes that have no copy of the version. `observe` gets what callers asked and were answered,
    batch by batch, once the answers are safe in Redis; `spans` are told of them then, and closed at the end.
    """
    spans = spans or NoSpans()
    early_signals = _note_signals()
    client = connect(settings.redis)
    tasks = frozenset(settings.worker.extra_tasks)
    worker = _once_redis_answers(
        lambda: IrisWorker(client, model, settings.jobs, settings.worker.batch_size, tasks), early_signals
    )
    if worker is None:
        return 0
    worker.on_outcomes = Reporter(metrics, observe, spans)
    worker.on_progress = on_progress
    worker.early_signals = early_signals
    worker.card = card
    worker.watchdog = Watchdog(settings.worker.max_rss_bytes, worker.renew_leases, worker.answer_hung)
    worker.watchdog.start()
    _log.info("worker ready", queue=worker.queues[0].name, digest=model.digest, batch_size=settings.worker.batch_size)
    worker.work(logging_level=None)
    spans.close()
    stopped = worker._stop_requested
    _log.info("worker stopped", asked=stopped)
    return 0 if stopped else 1


def report_rejection(settings: Settings, reason: str) -> None:
    """Tell the operator, if Redis is there, why this worker refuses its artifact: it need not wait for a deadline."""
    target = Target(settings.model.name, settings.model.version)
    try:
        connect(settings.redis).set(REJECTED_PREFIX + target.queue, reason[:500], ex=REJECTION_SECONDS)
    except RedisError as exc:
        _log.warning("rejection not reported", reason=str(exc)[:200])


def _note_signals() -> list[int]:
    """Return a list that grows with each request to stop, until the worker's loop has handlers of its own."""
    received: list[int] = []
    for signum in (signal.SIGTERM, signal.SIGINT):
        signal.signal(signum, lambda number, _frame: received.append(number))
    return received


def _once_redis_answers(make: Callable[[], T], stopping: Sequence[int]) -> T | None:
    """Return what can only be made with Redis; None when asked to stop before that."""
    complained = False
    while not stopping:
        try:
            return make()
        except RedisError as exc:
            if not complained:
                _log.warning("waiting for redis", reason=str(exc)[:200])
                complained = True
            time.sleep(0.2)
    return None
