"""One model version in the API process: requests that arrive together are answered by one call of the model.

Knows no HTTP and no Redis; what comes of it is counted where it is told to.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterator, Sequence

from iris_service.jobs.batch import answer_at_once
from iris_service.jobs.coalescer import Coalescer
from iris_service.jobs.keys import Target
from iris_service.model.drift import Drift
from iris_service.model.runtime import Model
from iris_service.schemas import Answered, Envelope, Payload, Row
from iris_service.telemetry.answers import InlineMetrics

BATCH_ROWS = 256
"""Rows of one call of the model, 0.5 ms with the bundled forest; in between, the event loop has its turn."""
DRIFT_ROWS = 1024
"""Rows are compared with the training data so many at a time, or once a second: one by one would cost too much."""


class InlineVersion:
    """A loaded version and its queue, which is only in memory and as long as one turn of the event loop."""

    def __init__(
        self, model: Model, drift: Drift, metrics: InlineMetrics, count: Callable[[Target, Sequence[Envelope]], None]
    ) -> None:
        self.target = Target(model.name, model.version)
        self.digest = model.digest
        self.drift = drift
        self._model = model
        self._count = count
        self._coalescer: Coalescer[Payload, Envelope] = Coalescer(self._answer)
        self._rows: list[Row] = []
        self._answers: list[tuple[float, ...]] = []
        self._finished = metrics.finished.labels(*self.target)
        self._failed = metrics.failed.labels(*self.target, "PREDICTION_FAILED")  # nothing else can happen here
        self._seconds = metrics.task_seconds.labels(*self.target)
        self._batch_jobs = metrics.batch_jobs.labels(*self.target)

    async def answer(self, payload: Payload) -> Envelope:
        """Return what a worker would answer; rows must have passed the signature."""
        return await self._coalescer.submit(payload)

    def observe_drift(self) -> None:
        """Compare what was answered since the last time with the training data."""
        if self._rows:
            self.drift.observe(self._rows, self._answers)
            self._rows, self._answers = [], []

    async def _answer(self, payloads: Sequence[Payload]) -> Sequence[Envelope]:
        envelopes: list[Envelope] = []
        for portion in portions(payloads, BATCH_ROWS):
            if envelopes:
                await asyncio.sleep(0)  # others' turn
            answered = answer_at_once(self._model, portion)
            self._report(portion, answered)
            envelopes += answered
        return envelopes

    def _report(self, payloads: Sequence[Payload], envelopes: Sequence[Envelope]) -> None:
        self._count(self.target, envelopes)
        self._batch_jobs.observe(len(envelopes))
        finished = 0
        for payload, envelope in zip(payloads, envelopes, strict=True):
            if isinstance(envelope, Answered):
                finished += 1
                self._seconds.observe(envelope.task_seconds)
                self._rows += payload.rows
                self._answers += envelope.rows
            else:
                self._failed.inc()
        self._finished.inc(finished)
        if len(self._rows) >= DRIFT_ROWS:
            self.observe_drift()


def portions(payloads: Sequence[Payload], most_rows: int) -> Iterator[Sequence[Payload]]:
    """Cut into runs of at most so many rows; a payload with more is a run of its own."""
    begin, rows = 0, 0
    for at, payload in enumerate(payloads):
        if at > begin and rows + len(payload.rows) > most_rows:
            yield payloads[begin:at]
            begin, rows = at, 0
        rows += len(payload.rows)
    if begin < len(payloads):
        yield payloads[begin:]
