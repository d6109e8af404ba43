"""Waits for answers: one subscription a process, and a slow second look so that a lost message costs only time."""

from __future__ import annotations

import asyncio
import contextlib
from collections import defaultdict
from collections.abc import AsyncIterator, Iterator, Sequence

import redis.asyncio
from redis.exceptions import RedisError

from iris_service.jobs.client import stop_if_cancelled
from iris_service.jobs.keys import ANSWERED_CHANNEL

LOOK_AGAIN_SECONDS = 2.0
"""How long a lost message can delay an answer."""
_RECONNECT_SECONDS = 0.5
_PORTION = 16
"""Of those whose answers came together, so many are woken at a time: what the first ask next reaches the worker while
the others are still served. With 64 callers that makes a fifth more answers a second."""

Heard = asyncio.Future[bytes | None]
"""Done when a job is announced; holds its envelope if that came along."""


class Answers:
    """Wakes those who wait for a job. Subscribes with the first of them and keeps listening until closed."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client
        self._waiting: dict[str, set[Heard]] = defaultdict(set)
        self._listener: asyncio.Task[None] | None = None
        self._subscribed = asyncio.Event()

    @property
    def waiters(self) -> int:
        return sum(len(futures) for futures in self._waiting.values())

    @contextlib.asynccontextmanager
    async def expect(self, job_id: str) -> AsyncIterator[Heard]:
        """Yield a future that is done when `job_id` is announced; look once yourself after entering."""
        with self.listening(job_id) as future:
            if not self._subscribed.is_set():
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._subscribed.wait(), LOOK_AGAIN_SECONDS)
            yield future

    @contextlib.contextmanager
    def listening(self, job_id: str) -> Iterator[Heard]:
        """As `expect`, at once: until the subscription stands, which takes a moment, nothing is heard."""
        if self._listener is None:
            self._listener = asyncio.create_task(self._listen())
        future: Heard = asyncio.get_running_loop().create_future()
        self._waiting[job_id].add(future)
        try:
            yield future
        finally:
            self._waiting[job_id].discard(future)
            if not self._waiting[job_id]:
                del self._waiting[job_id]

    def look_again(self, job_id: str) -> None:
        """Wake those who wait for a job, as if it had been announced."""
        self._wake(job_id, None)

    async def close(self) -> None:
        """Stop listening and wake everybody, so that no request outlives the process."""
        if self._listener is not None:
            self._listener.cancel()
            await asyncio.gather(self._listener, return_exceptions=True)
        for job_id in list(self._waiting):
            self._wake(job_id, None)

    def _wake(self, job_id: str, envelope: bytes | None) -> None:
        for future in self._waiting.get(job_id, ()):
            if not future.done():
                future.set_result(envelope)

    def _hear(self, lines: Sequence[bytes]) -> None:
        for line in lines[:_PORTION]:
            job_id, _, envelope = line.partition(b" ")
            self._wake(job_id.decode(), envelope or None)
        if rest := lines[_PORTION:]:
            asyncio.get_running_loop().call_soon(self._hear, rest)

    async def _listen(self) -> None:
        while True:
            try:
                async with self._client.pubsub(ignore_subscribe_messages=True) as subscription:
                    await subscription.subscribe(ANSWERED_CHANNEL)
                    self._subscribed.set()
                    while True:
                        message = await subscription.get_message(timeout=None)
                        stop_if_cancelled()
                        if message is not None:
                            self._hear(message["data"].split(b"\n"))
            except (RedisError, OSError):
                stop_if_cancelled()
                self._subscribed.clear()
                await asyncio.sleep(_RECONNECT_SECONDS)
