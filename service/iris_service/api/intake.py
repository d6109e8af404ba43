"""Where every page hands its rows in and asks for answers: the version is drawn, the job committed, counted and logged.

Knows nothing of paths or shapes; pages read requests and render answers, and do no more.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from uuid import uuid4

from starlette.requests import Request

from iris_service.api.cards import Cards
from iris_service.api.inputs import Flowers
from iris_service.api.waiting import Waiting
from iris_service.errors import IrisError, JobNotFound, TryLater
from iris_service.jobs.job_queue import JobQueue
from iris_service.jobs.keys import Target
from iris_service.model.card import Card
from iris_service.schemas import Envelope, Payload
from iris_service.telemetry import ApiMetrics

QUICK_SECONDS = 0.1
"""Most answers come sooner; only who waits longer is watched for hanging up, which costs as much as the answer."""
_JOB_ID = re.compile(r"[0-9a-f]{32}")


class Intake:
    """The one way from a request to a job and back."""

    def __init__(self, queue: JobQueue, cards: Cards, metrics: ApiMetrics, waiting: Waiting) -> None:
        self._queue = queue
        self._cards = cards
        self._metrics = metrics
        self._waiting = waiting

    def draw(self, model: str = "", version: str = "") -> tuple[Target, Card]:
        """Return the version that takes this request, and its card: the named one, or one drawn by the route's shares.

        Raises `UnknownModel` or `ModelNotReady`.
        """
        target = self._queue.observe().target(model, version) if version else self._queue.pick(model)
        return target, self._cards.of(target)

    @contextmanager
    def refusals_counted(self) -> Iterator[None]:
        """Count what is refused inside, whether the caller or the queue is to blame."""
        try:
            yield
        except IrisError as exc:
            self._metrics.refused.labels(exc.code).inc()
            raise

    async def submit(self, request: Request, flowers: Flowers, target: Target) -> str:
        """Commit a job for `target` and return its id; raises `TryLater`."""
        return await self._commit(request, flowers, target, uuid4().hex)

    async def _commit(self, request: Request, flowers: Flowers, target: Target, job_id: str) -> str:
        with request.scope["span"].sending(target.queue) as sending:
            trace = sending.context
            traced = (trace.parent, trace.state) if trace else ()
            payload = Payload(flowers.rows, flowers.many, request.scope["request_id"], time.time(), *traced)
            await self._queue.submit(payload, target, job_id)
            sending.accepted(job_id)
        request.scope["log"].update(job_id=job_id, model=target.model, version=target.version)
        self._metrics.accepted.labels(*target).inc()
        return job_id

    async def ask(
        self, request: Request, flowers: Flowers, target: Target, wait_seconds: float
    ) -> tuple[str, Envelope | None]:
        """Commit a job and wait for its envelope, None when there is none in time; return its id and that.

        Raises `TryLater` before the job is committed; afterwards its id is worth more than news of our troubles.
        """
        job_id = uuid4().hex
        with self._queue.listening(job_id) as announced:
            await self._commit(request, flowers, target, job_id)
            quick_seconds = min(QUICK_SECONDS, wait_seconds)
            envelope = await self._queue.hear(announced, quick_seconds)
        if envelope is None:
            with suppress(TryLater):
                envelope = await self.answer(request, job_id, wait_seconds - quick_seconds)
        return job_id, envelope

    async def answer(self, request: Request, job_id: str, wait_seconds: float) -> Envelope | None:
        """Return the envelope of a job, or None while it has none; waits for it, but not for a caller that hangs up.

        Raises `JobNotFound` or `QueueUnavailable`.
        """
        if not _JOB_ID.fullmatch(job_id):
            raise JobNotFound("no such job, or its answer has expired")
        request.scope["log"]["job_id"] = job_id
        if wait_seconds == 0 or self._waiting.stopped:
            return await self._queue.fetch(job_id)
        return await self._waiting.wait(self._queue.fetch(job_id, wait_seconds), request.receive)
