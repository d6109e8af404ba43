"""Tells of a batch once its answers are safe in Redis: metrics, log lines, spans, and what was asked and answered.

Decides nothing and touches no job.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

import structlog

from iris_service.jobs.batch import Outcome
from iris_service.jobs.keys import Target
from iris_service.schemas import GOLDEN_SET, Answered, Envelope, Row
from iris_service.telemetry.answers import WorkerMetrics
from iris_service.telemetry.logs import lines_together
from iris_service.tracing.context import TraceContext, trace_context
from iris_service.tracing.spans import AnsweredJob, NoSpans, Spans

Observe = Callable[[Sequence[Row], Sequence[tuple[float, ...]]], None]
"""Gets rows, at least one, and the answer to each."""

_log = structlog.get_logger(__name__)


def observe_nothing(_rows: Sequence[Row], _answers: Sequence[tuple[float, ...]]) -> None:
    pass


class Reporter:
    """Counts, logs and traces outcomes, after they are safe in Redis."""

    def __init__(self, metrics: WorkerMetrics, observe: Observe = observe_nothing, spans: Spans | None = None) -> None:
        self._metrics = metrics
        self._observe = observe
        self._spans = spans or NoSpans()

    def __call__(self, outcomes: list[Outcome], refused: set[str]) -> None:
        self._metrics.batch_jobs.observe(len(outcomes))
        queue = Target(outcomes[0].envelope.model, outcomes[0].envelope.version).queue
        traces = self._spans.batch(queue, [_traced(outcome) for outcome in outcomes], time.time())
        with lines_together():
            for outcome, trace in zip(outcomes, traces, strict=True):
                is_refused = outcome.claim.job_id in refused
                self._count(outcome.envelope, is_refused)
                self._log(outcome, is_refused, trace)
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

    def _log(self, outcome: Outcome, refused: bool, trace: TraceContext | None) -> None:
        envelope, payload = outcome.envelope, outcome.payload
        fields: dict[str, Any] = {
            "job_id": outcome.claim.job_id,
            "request_id": payload.request_id if payload else None,
            "model": envelope.model,
            "version": envelope.version,
            "attempt": envelope.attempt,
            "published": not refused,
            **(trace.log_fields if trace else {}),
        }
        if isinstance(envelope, Answered):
            _log.info("job answered", seconds=round(envelope.queued_seconds + envelope.task_seconds, 6), **fields)
        else:
            _log.warning("job failed", code=envelope.code, reason=envelope.error, **fields)


def _traced(outcome: Outcome) -> AnsweredJob:
    envelope, payload = outcome.envelope, outcome.payload
    return AnsweredJob(
        job_id=outcome.claim.job_id,
        sent=trace_context(payload.traceparent, payload.tracestate) if payload and payload.traceparent else None,
        accepted_at=payload.accepted_at if payload else outcome.began_at,
        began_at=outcome.began_at,
        ended_at=outcome.ended_at,
        attempt=outcome.claim.attempt,
        error="" if isinstance(envelope, Answered) else envelope.code,
    )


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
