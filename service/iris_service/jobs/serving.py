"""Runs one worker process from start to stop: waits for Redis, guards the loop, counts and logs what comes of it."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from typing import Any

import structlog
from redis import Redis
from redis.exceptions import RedisError

from iris_service.config import Settings
from iris_service.jobs.batch import Outcome, Predictor
from iris_service.jobs.client import connect
from iris_service.jobs.keys import REJECTED_PREFIX, Target
from iris_service.jobs.watchdog import Watchdog
from iris_service.jobs.worker import IrisWorker
from iris_service.schemas import GOLDEN_SET, Answered, Envelope, Row
from iris_service.telemetry import WorkerMetrics, lines_together

REJECTION_SECONDS = 3600
"""How long a refusal is remembered for the operator; a worker that is started again refuses again."""

Observe = Callable[[Sequence[Row], Sequence[tuple[float, ...]]], None]
"""Gets rows, at least one, and the answer to each."""

_log = structlog.get_logger(__name__)


def run_worker(
    settings: Settings,
    model: Predictor,
    metrics: WorkerMetrics,
    on_progress: Callable[[], None] = lambda: None,
    card: bytes = b"",
    observe: Observe = lambda _rows, _answers: None,
) -> int:
    """Answer the jobs of `model`'s queue until SIGTERM or SIGINT; returns the exit code, 0 after a clean stop.

    `on_progress` is called at least every two seconds while the loop lives, but not during a prediction. `card` is
    published for API processes that have no copy of the version. `observe` gets what callers asked and were answered,
    batch by batch, once the answers are safe in Redis.
    """
    early_signals = _note_signals()
    client = connect(settings.redis)
    if not _wait_for(client, early_signals):
        return 0
    worker = IrisWorker(
        client, model, settings.jobs, settings.worker.batch_size, frozenset(settings.worker.extra_tasks)
    )
    worker.on_outcomes = _Reporter(metrics, observe)
    worker.on_progress = on_progress
    worker.early_signals = early_signals
    worker.card = card
    worker.watchdog = Watchdog(settings.worker.max_rss_bytes, worker.renew_leases, worker.answer_hung)
    worker.watchdog.start()
    _log.info("worker ready", queue=worker.queues[0].name, digest=model.digest, batch_size=settings.worker.batch_size)
    worker.work(logging_level=None)
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


def _wait_for(client: Redis, stopping: Sequence[int]) -> bool:
    """Wait until Redis answers; False when asked to stop before that."""
    complained = False
    while not stopping:
        try:
            client.ping()
            return True
        except RedisError as exc:
            if not complained:
                _log.warning("waiting for redis", reason=str(exc)[:200])
                complained = True
            time.sleep(0.2)
    return False


class _Reporter:
    """Counts and logs outcomes, after they are safe in Redis."""

    def __init__(self, metrics: WorkerMetrics, observe: Observe = lambda _rows, _answers: None) -> None:
        self._metrics = metrics
        self._observe = observe

    def __call__(self, outcomes: list[Outcome], refused: set[str]) -> None:
        self._metrics.batch_jobs.observe(len(outcomes))
        with lines_together():
            for outcome in outcomes:
                is_refused = outcome.claim.job_id in refused
                self._count(outcome.envelope, is_refused)
                self._log(outcome, is_refused)
        rows, answers = _asked_and_answered(outcomes, refused)
        if rows:
            self._observe(rows, answers)

    def _count(self, envelope: Envelope, refused: bool) -> None:
        metrics = self._metrics
        if refused:
            metrics.duplicates.inc()
        elif isinstance(envelope, Answered):
            metrics.finished.inc()
            metrics.queue_seconds.observe(envelope.queued_seconds)
            metrics.task_seconds.observe(envelope.task_seconds)
        else:
            metrics.failed(envelope.code)

    def _log(self, outcome: Outcome, refused: bool) -> None:
        envelope, payload = outcome.envelope, outcome.payload
        fields: dict[str, Any] = {
            "job_id": outcome.claim.job_id,
            "request_id": payload.request_id if payload else None,
            "model": envelope.model,
            "version": envelope.version,
            "attempt": envelope.attempt,
            "published": not refused,
        }
        if isinstance(envelope, Answered):
            _log.info("job answered", seconds=round(envelope.queued_seconds + envelope.task_seconds, 6), **fields)
        else:
            _log.warning("job failed", code=envelope.code, reason=envelope.error, **fields)


def _asked_and_answered(outcomes: Sequence[Outcome], refused: set[str]) -> tuple[list[Row], list[tuple[float, ...]]]:
    """Return the rows of callers and their answers: not the golden set, and not what another worker answered first."""
    rows: list[Row] = []
    answers: list[tuple[float, ...]] = []
    for outcome in outcomes:
        envelope, payload = outcome.envelope, outcome.payload
        if payload is None or payload.request_id == GOLDEN_SET or outcome.claim.job_id in refused:
            continue
        if isinstance(envelope, Answered):
            rows += payload.rows
            answers += envelope.rows
    return rows, answers
