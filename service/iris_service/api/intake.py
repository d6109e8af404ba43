"""Where every page hands its rows in and asks for answers: the version is drawn, the job committed, counted and logged.

Knows nothing of paths or shapes; pages read requests and render answers, and do no more.
"""

from __future__ import annotations

import time
from contextlib import AbstractContextManager, suppress
from typing import TYPE_CHECKING

from starlette.requests import Request

from iris_service.api.cards import Cards
from iris_service.api.idempotency import fingerprint, has_key, key_from_headers
from iris_service.api.inputs import Flowers
from iris_service.api.waiting import Waiting
from iris_service.errors import IrisError, JobCancelled, JobNotFound, TryLater
from iris_service.jobs.job_id import belongs_to, id_of_key, new_id
from iris_service.jobs.job_queue import JobQueue
from iris_service.jobs.keys import Target
from iris_service.model.card import Card
from iris_service.schemas import Envelope, Failed, Payload
from iris_service.telemetry.api import ApiMetrics

if TYPE_CHECKING:  # imported by who asks for it: it brings the model libraries along
    from iris_service.api.inline.inline import Inline

QUICK_SECONDS = 0.1
"""Most answers come sooner; only who waits longer is watched for hanging up, which costs as much as the answer."""


class _Refusals(AbstractContextManager[None]):
    """Made once: a generator for every request would cost as much as reading its JSON."""

    def __init__(self, metrics: ApiMetrics) -> None:
        self._metrics = metrics

    def __exit__(self, _kind: object, exc: BaseException | None, _where: object) -> None:
        # a job that is gone while its caller waited had been accepted
        if isinstance(exc, IrisError) and not isinstance(exc, JobCancelled | JobNotFound):
            self._metrics.refused(exc.code)


class Intake:
    """The one way from a request to a job and back."""

    def __init__(
        self, queue: JobQueue, cards: Cards, metrics: ApiMetrics, waiting: Waiting, inline: Inline | None = None
    ) -> None:
        """With `inline`, what it has loaded is answered without a job where `answer_at_once` is asked."""
        self._inline = inline
        self._queue = queue
        self._cards = cards
        self._metrics = metrics
        self._waiting = waiting
        self._refusals = _Refusals(metrics)

    def draw(self, model: str = "", version: str = "") -> tuple[Target, Card]:
        """Return the version that takes this request, and its card: the named one, or one drawn by the route's shares.

        Raises `UnknownModel` or `ModelNotReady`.
        """
        target = self._queue.observe().target(model, version) if version else self._queue.pick(model)
        return target, self._cards.of(target)

    def refusals_counted(self) -> AbstractContextManager[None]:
        """Count what is refused inside, whether the caller or the queue is to blame."""
        return self._refusals

    async def submit(self, request: Request, flowers: Flowers, target: Target) -> str:
        """Commit a job for `target` and return its id; an idempotency key that is known leads to the job it stands for.

        Raises `TryLater`, or `InvalidInput` or `IdempotencyConflict` because of that key.
        """
        key = key_from_headers(request.scope["headers"])
        job_id = _job_id(request, key)
        await self._commit(request, flowers, target, job_id, key)
        return job_id

    async def _commit(self, request: Request, flowers: Flowers, target: Target, job_id: str, key: bytes | None) -> bool:
        """Return whether the job is new: one that is known has been announced already, if it has its answer."""
        with request.scope["span"].sending(target.queue) as sending:
            trace = sending.context
            traced = (trace.parent, trace.state) if trace else ()
            payload = Payload(flowers.rows, flowers.many, request.scope["request_id"], time.time(), *traced)
            asked_for = "" if key is None else fingerprint(target.model, payload)
            is_new = await self._queue.commit(job_id, payload, target, asked_for)
            sending.accepted(job_id)
        request.scope["log"].update(job_id=job_id, model=target.model, version=target.version)
        is_new = is_new or key is None  # known though it has no key: its first reply was lost
        if is_new:
            self._metrics.accepted.labels(*target).inc()
        return is_new

    async def answer_at_once(self, request: Request, flowers: Flowers, target: Target) -> Envelope | None:
        """Return an answer of this process, counted and logged; None where it takes a job.

        That is when the version is not at hand, the rows are too many, or the answer must be kept for a key.
        """
        version = self._inline.of(target) if self._inline else None
        if version is None or self._inline is None or len(flowers.rows) > self._inline.rows:
            return None
        if has_key(request.scope["headers"]):
            return None
        request.scope["log"].update(model=target.model, version=target.version, inline=True)
        asked_at = time.time()
        envelope = await version.answer(Payload(flowers.rows, flowers.many, request.scope["request_id"], asked_at))
        error = envelope.code if isinstance(envelope, Failed) else ""
        if error:
            request.scope["log"]["reason"] = error
        request.scope["span"].predicted(target.queue, asked_at, time.time(), error)
        return envelope

    async def ask(
        self, request: Request, flowers: Flowers, target: Target, wait_seconds: float
    ) -> tuple[str, Envelope | None]:
        """Commit a job and wait for its envelope, None when there is none in time; return its id and that.

        Raises what `submit` raises, and `JobCancelled`; once the job is committed, its id is worth more than news of
        our troubles.
        """
        key = key_from_headers(request.scope["headers"])
        job_id = _job_id(request, key)
        envelope, left_seconds = None, wait_seconds
        with self._queue.listening(job_id) as announced:
            if await self._commit(request, flowers, target, job_id, key):
                quick_seconds = min(QUICK_SECONDS, wait_seconds)
                envelope = await self._queue.hear(announced, quick_seconds)
                left_seconds -= quick_seconds
        if envelope is None:
            with suppress(TryLater):
                envelope = await self.answer(request, job_id, left_seconds)
        return job_id, envelope

    async def answer(self, request: Request, job_id: str, wait_seconds: float) -> Envelope | None:
        """Return the envelope of a job, or None while it has none; waits for it, but not for a caller that hangs up.

        Raises `JobNotFound`, for a job of somebody else too, `JobCancelled` or `QueueUnavailable`.
        """
        self._require_own(request, job_id)
        if wait_seconds == 0 or self._waiting.stopped:
            envelope = await self._queue.fetch(job_id)
        else:
            envelope = await self._waiting.wait(self._queue.fetch(job_id, wait_seconds), request.receive)
        if isinstance(envelope, Failed) and envelope.code == "CANCELLED":
            raise JobCancelled(envelope.error)
        return envelope

    async def cancel(self, request: Request, job_id: str) -> None:
        """End a job without an answer; again is fine.

        Raises `JobNotFound`, for a job of somebody else too, `AlreadyAnswered` or `QueueUnavailable`.
        """
        self._require_own(request, job_id)
        await self._queue.cancel(job_id)

    @staticmethod
    def _require_own(request: Request, job_id: str) -> None:
        if not belongs_to(job_id, caller_of(request)):
            raise JobNotFound
        request.scope["log"]["job_id"] = job_id


def _job_id(request: Request, key: bytes | None) -> str:
    caller = caller_of(request)
    return new_id(caller) if key is None else id_of_key(key, caller)


def caller_of(request: Request) -> str | None:
    """Return the name a caller has proved to be his; None while callers are not asked for any."""
    name: str | None = request.scope.get("caller")
    return name
