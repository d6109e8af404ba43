"""The API's side of a queue: accept a job, look at it, wait for it. Knows Redis; knows nothing of HTTP."""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any
from uuid import uuid4

import msgspec
import structlog
from redis.exceptions import RedisError

from iris_service.config import JobSettings, RedisSettings
from iris_service.errors import JobNotFound, QueueFull, QueueUnavailable, TryLater
from iris_service.jobs import scripts
from iris_service.jobs.answers import LOOK_AGAIN_SECONDS, Answers
from iris_service.jobs.client import connect_async, stop_if_cancelled
from iris_service.jobs.coalescer import Coalescer
from iris_service.jobs.keys import OUTCOMES, PENDING, TASK, Target, queue_keys, result_key
from iris_service.jobs.pressure import QueueReading, retry_after_seconds, smoothed_rate
from iris_service.schemas import Envelope, Payload, envelope_from_json

GIVE_UP_SECONDS = 1.8
"""A request that Redis has not answered by then gets its 503."""
LOOK_SECONDS = 1.0
"""Pause between two looks at queue length and memory."""

_FULL = 0
_log = structlog.get_logger(__name__)


class JobQueue:
    """Jobs of one model version, as the API process sees them. Call `start` in the event loop, `close` at the end."""

    def __init__(self, redis: RedisSettings, jobs: JobSettings, target: Target) -> None:
        self._jobs = jobs
        self._target = target
        self._keys = queue_keys(target.queue)
        self._client = connect_async(redis)
        self._enqueue = self._client.register_script(scripts.source("enqueue"))
        self._submissions: Coalescer[tuple[str, bytes], int] = Coalescer(self._flush_submissions)
        self._looks: Coalescer[str, bytes | bool] = Coalescer(self._flush_looks)
        self._answers = Answers(self._client)
        self._reading = QueueReading()
        self._watcher: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin to watch the queue; works, and keeps trying, while Redis is away."""
        self._watcher = asyncio.create_task(self._watch())

    async def close(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
            await asyncio.gather(self._watcher, return_exceptions=True)
        await self._answers.close()
        await self._client.aclose()

    async def submit(self, payload: Payload) -> str:
        """Commit a job and return its id: from here on it will have an answer.

        Raises `QueueFull`, `TryLater` (Redis is short of memory) or `QueueUnavailable` within two seconds.
        """
        if self._reading.memory_ratio >= self._jobs.memory_limit_ratio:
            raise TryLater("the queue is short of memory", retry_after_seconds=self._retry_after())
        job_id = uuid4().hex
        data = msgspec.json.encode((TASK, None, (payload,), {}))
        if await self._ask(self._submissions, (job_id, data)) == _FULL:
            raise QueueFull(
                f"{self._jobs.queue_limit} jobs are waiting already", retry_after_seconds=self._retry_after()
            )
        return job_id

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

    async def ping(self) -> None:
        """Return when Redis answers; raises `QueueUnavailable`."""
        try:
            async with asyncio.timeout(GIVE_UP_SECONDS):
                await self._client.ping()
        except (RedisError, OSError, TimeoutError) as exc:
            raise self._unavailable(exc) from exc

    def observe(self) -> QueueReading:
        """Return the last reading of the queue; costs nothing."""
        return replace(self._reading, waiters=self._answers.waiters)

    async def _look(self, job_id: str) -> Envelope | None:
        found = await self._ask(self._looks, job_id)
        if isinstance(found, bytes):
            return envelope_from_json(found)
        if not found:
            raise JobNotFound("no such job, or its answer has expired")
        return None

    async def _ask(self, coalescer: Coalescer[Any, Any], item: Any) -> Any:
        try:
            async with asyncio.timeout(GIVE_UP_SECONDS):
                return await coalescer.submit(item)
        except (RedisError, OSError, TimeoutError) as exc:
            raise self._unavailable(exc) from exc

    def _unavailable(self, exc: Exception) -> QueueUnavailable:
        _log.warning("queue unavailable", reason=f"{type(exc).__name__}: {exc}"[:200])
        return QueueUnavailable("the queue cannot be used right now", retry_after_seconds=self._retry_after())

    def _retry_after(self) -> int:
        return retry_after_seconds(self._reading, random.random())  # noqa: S311  jitter, not a secret

    async def _flush_submissions(self, items: Sequence[tuple[str, bytes]]) -> Sequence[int]:
        jobs = self._jobs
        stamp = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        arguments: list[Any] = [
            self._target.queue, jobs.queue_limit, jobs.deadline_seconds, stamp,
            jobs.timeout_seconds, jobs.attempts - 1, jobs.result_ttl_seconds,
        ]  # fmt: skip
        for item in items:
            arguments += item
        replies: list[int] = await self._enqueue(args=arguments)
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

    async def _watch(self) -> None:
        seen_at = time.monotonic()
        while True:
            try:
                reading = await self._read()
                now = time.monotonic()
                answered = reading.answered - self._reading.answered
                rate = smoothed_rate(self._reading.answered_per_second, answered, reading.waiting, now - seen_at)
                self._reading, seen_at = replace(reading, answered_per_second=rate), now
            except (RedisError, OSError) as exc:
                if self._reading.redis_up:
                    _log.warning("queue lost", reason=str(exc)[:200])
                self._reading = replace(self._reading, redis_up=False)
            stop_if_cancelled()
            await asyncio.sleep(LOOK_SECONDS)

    async def _read(self) -> QueueReading:
        pipeline = self._client.pipeline(transaction=False)
        pipeline.llen(self._keys.waiting)
        pipeline.zcard(self._keys.running)
        pipeline.hgetall(self._keys.counts)
        pipeline.info("memory")
        waiting, running, counts, memory = await pipeline.execute()
        limit = memory.get("maxmemory", 0)
        return QueueReading(
            redis_up=True,
            waiting=waiting,
            running=running,
            outcomes={name: int(counts.get(name.encode(), 0)) for name in OUTCOMES},
            memory_ratio=memory["used_memory"] / limit if limit else 0.0,
            answered_per_second=0.0,
        )
