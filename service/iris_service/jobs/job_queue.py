"""The API's side of a queue: accept a job, look at it, wait for it. Knows Redis; knows nothing of HTTP."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from typing import Any

import msgspec
import structlog
from redis.exceptions import RedisError

from iris_service.config import JobSettings, RedisSettings
from iris_service.errors import AlreadyAnswered, IdempotencyConflict, JobNotFound, QueueFull, QueueUnavailable, TryLater
from iris_service.jobs import scripts
from iris_service.jobs.answers import LOOK_AGAIN_SECONDS, Answers, Heard
from iris_service.jobs.client import connect_async, stop_if_cancelled
from iris_service.jobs.coalescer import Coalescer
from iris_service.jobs.job_id import new_id
from iris_service.jobs.keys import PENDING, TASK, Target, result_key
from iris_service.jobs.pressure import memory_retry_seconds, outage_retry_seconds, retry_after_seconds
from iris_service.jobs.tally import Tally
from iris_service.jobs.watch import Observation, Watch
from iris_service.schemas import Envelope, Failed, Payload, envelope_from_json, envelope_to_json

GIVE_UP_SECONDS = 1.8
"""A request that Redis has not answered by then gets its 503."""
MOST_CANCELS = 16
"""Jobs one script cancels: it looks for each in a list that may be long (0.8 ms through one of 100,000)."""
_FULL, _ACCEPTED, _TAKEN = 0, 1, 3
"""Replies of `enqueue.lua`; the one that is missing says that the job is known."""
_ENDING_SECONDS = 60
"""More than recovery needs to answer a job whose worker died at the deadline: lease, sweep, and some patience."""
_log = structlog.get_logger(__name__)


Submission = tuple[str, bytes, str]
"""A job's id, its data and its fingerprint."""


class JobQueue:
    """Jobs of all models, as the API process sees them. Call `start` in the event loop, `close` at the end.

    `default` takes the jobs of its model while no operator has written a route for it.
    """

    def __init__(self, redis: RedisSettings, jobs: JobSettings, default: Target) -> None:
        self._jobs = jobs
        self._default = default
        self._client = connect_async(redis)
        self._enqueue = self._client.register_script(scripts.source("enqueue"))
        self._cancel = self._client.register_script(scripts.source("cancel"))
        self._submissions: dict[Target, Coalescer[Submission, int]] = {}
        self._looks: Coalescer[str, bytes | bool] = Coalescer(self._flush_looks)
        self._cancels: Coalescer[str, bytes | int] = Coalescer(self._flush_cancels, largest=MOST_CANCELS)
        self._answers = Answers(self._client)
        self._watch = Watch(self._client, default, jobs.deadline_seconds)
        self.tally = Tally(self._client)
        """For what is answered without a job."""

    async def start(self) -> None:
        """Begin to watch the queue; works, and keeps trying, while Redis is away."""
        self._watch.start()

    async def close(self) -> None:
        await self._watch.close()
        await self._answers.close()
        await self._client.aclose()

    def pick(self, model: str = "") -> Target:
        """Return the version that takes the next job of a model (the default one's if none is named).

        It is drawn by the shares of the model's route; raises `UnknownModel`.
        """
        route = self._watch.seen.route(model or self._default.model)
        return route.pick(random.random())  # noqa: S311  a share, not a secret

    async def submit(self, payload: Payload, target: Target | None = None) -> str:
        """Commit a job under a new id and return that; without a `target`, for the version that `pick` returns.

        Raises what `commit` raises.
        """
        job_id = new_id(None)
        await self.commit(job_id, payload, target or self.pick())
        return job_id

    async def commit(self, job_id: str, payload: Payload, target: Target, fingerprint: str = "") -> bool:
        """Commit a job: from here on it will have an answer. Returns whether it is new, and not known under its id.

        The fingerprint of an id that may come again says what it stands for. Raises `IdempotencyConflict` when that is
        something else; `QueueFull`, `TryLater` (Redis is short of memory) or `QueueUnavailable` within two seconds.
        """
        if self._watch.seen.memory_ratio >= self._jobs.memory_limit_ratio:
            seconds = memory_retry_seconds(self._watch.seen.queue(target), random.random())  # noqa: S311  jitter
            raise TryLater("the queue is short of memory", retry_after_seconds=seconds)
        coalescer = self._submissions.get(target)
        if coalescer is None:
            coalescer = self._submissions[target] = Coalescer(partial(self._flush_submissions, target.queue))
        data = msgspec.json.encode((TASK, None, (payload,), {}))
        reply = await self._ask(coalescer, (job_id, data, fingerprint))
        if reply == _FULL:
            raise QueueFull(
                f"{self._jobs.queue_limit} jobs are waiting already", retry_after_seconds=self._retry_after(target)
            )
        if reply == _TAKEN:
            raise IdempotencyConflict("this Idempotency-Key stands for another request; a new request needs a new key")
        return bool(reply == _ACCEPTED)

    async def fetch(self, job_id: str, wait_seconds: float = 0.0) -> Envelope | None:
        """Return a job's envelope, or None while it waits or runs; waits up to `wait_seconds` for it.

        Raises `JobNotFound` (never accepted, or its answer has expired) or `QueueUnavailable`.
        """
        envelope = await self._look(job_id)
        if envelope is not None or wait_seconds <= 0:
            return envelope
        ends = time.monotonic() + wait_seconds
        async with self._answers.expect(job_id) as announced:
            while (envelope := await self._look(job_id)) is None and not announced.done():
                stop_if_cancelled()
                left = ends - time.monotonic()
                if left <= 0:
                    return None
                await asyncio.wait((announced,), timeout=min(left, LOOK_AGAIN_SECONDS))
        return envelope if envelope is not None else await self._look(job_id)

    def listening(self, job_id: str) -> AbstractContextManager[Heard]:
        """Return a context to submit `job_id` in, and then to `hear` of its answer without looking for it."""
        return self._answers.listening(job_id)

    async def hear(self, announced: Heard, seconds: float) -> Envelope | None:
        """Return the envelope that is heard of within some seconds; after None, `fetch` knows whether there is one."""
        timer = asyncio.get_running_loop().call_later(seconds, _give_up, announced)  # cheaper than asyncio.wait
        try:
            envelope = await announced
        finally:
            timer.cancel()
        return envelope_from_json(envelope) if envelope is not None else None

    async def cancel(self, job_id: str) -> None:
        """End a job that has no answer: one that waits is gone at once, one that runs will be answered in vain.

        Who waits for it in this process hears of it, elsewhere within `LOOK_AGAIN_SECONDS`. Twice is fine.

        Raises `AlreadyAnswered`, `JobNotFound` or `QueueUnavailable`.
        """
        reply = await self._ask(self._cancels, job_id)
        if isinstance(reply, bytes):
            envelope = envelope_from_json(reply)
            if not isinstance(envelope, Failed) or envelope.code != "CANCELLED":
                raise AlreadyAnswered("the job has its answer already")
        elif not reply:
            raise JobNotFound
        self._answers.look_again(job_id)

    async def ping(self) -> None:
        """Return when Redis answers; raises `QueueUnavailable`, and logs nothing: who asks, asks every few seconds."""
        try:
            async with asyncio.timeout(GIVE_UP_SECONDS):
                await self._client.ping()
        except (RedisError, OSError, TimeoutError) as exc:
            raise _unavailable() from exc

    def observe(self) -> Observation:
        """Return what was seen at the last look; costs nothing."""
        return replace(self._watch.seen, waiters=self._answers.waiters)

    def card(self, target: Target) -> bytes | None:
        """Return the card that a version's workers have published; the same object until it changes."""
        return self._watch.seen.cards.get(target)

    async def _look(self, job_id: str) -> Envelope | None:
        found = await self._ask(self._looks, job_id)
        if isinstance(found, bytes):
            return envelope_from_json(found)
        if not found:
            raise JobNotFound
        return None

    async def _ask(self, coalescer: Coalescer[Any, Any], item: Any) -> Any:
        try:
            async with asyncio.timeout(GIVE_UP_SECONDS):
                return await coalescer.submit(item)
        except (RedisError, OSError, TimeoutError) as exc:
            _log.warning("queue unavailable", reason=f"{type(exc).__name__}: {exc}"[:200])
            raise _unavailable() from exc

    def _retry_after(self, target: Target) -> int:
        return retry_after_seconds(self._watch.seen.queue(target), random.random())  # noqa: S311  jitter, not a secret

    async def _flush_submissions(self, queue: str, items: Sequence[Submission]) -> Sequence[int]:
        jobs = self._jobs
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        arguments: list[Any] = [
            queue, jobs.queue_limit, jobs.deadline_seconds, stamp,
            jobs.timeout_seconds, jobs.attempts - 1, jobs.result_ttl_seconds, _fingerprint_seconds(jobs),
        ]  # fmt: skip
        for item in items:
            arguments += item
        replies: list[int] = await self._enqueue(args=arguments)
        return replies

    async def _flush_cancels(self, job_ids: Sequence[str]) -> Sequence[bytes | int]:
        envelope = Failed(
            model="", version="", attempt=0, code="CANCELLED", error="its caller has cancelled the job",
            finished_at=round(time.time(), 6),
        )  # fmt: skip
        arguments: list[Any] = [self._jobs.result_ttl_seconds, envelope_to_json(envelope), *job_ids]
        replies: list[bytes | int] = await self._cancel(args=arguments)
        return replies

    async def _flush_looks(self, job_ids: Sequence[str]) -> Sequence[bytes | bool]:
        pipeline = self._client.pipeline(transaction=True)
        pipeline.mget([result_key(job_id) for job_id in job_ids])
        pipeline.zmscore(PENDING, list(job_ids))
        envelopes, deadlines = await pipeline.execute()
        return [
            envelope if envelope is not None else deadline is not None
            for envelope, deadline in zip(envelopes, deadlines, strict=True)
        ]


def _unavailable() -> QueueUnavailable:
    seconds = outage_retry_seconds(random.random())  # noqa: S311  jitter, not a secret
    return QueueUnavailable("the queue cannot be used right now", retry_after_seconds=seconds)


def _give_up(announced: Heard) -> None:
    if not announced.done():
        announced.set_result(None)


def _fingerprint_seconds(jobs: JobSettings) -> int:
    """Return how long a key is remembered: until the answer of a job that ran at its deadline has expired."""
    return jobs.deadline_seconds + jobs.timeout_seconds + _ENDING_SECONDS + jobs.result_ttl_seconds
