"""A caller that keeps account: submits through the real `JobQueue` and remembers every id it was given."""

from __future__ import annotations

import asyncio
import random
import threading
import time
from collections import Counter
from collections.abc import Coroutine, Iterator, Sequence
from contextlib import contextmanager
from typing import Any, TypeVar

from iris_service.api.idempotency import fingerprint
from iris_service.config import Settings
from iris_service.errors import AlreadyAnswered, QueueUnavailable, TryLater
from iris_service.jobs.job_id import id_of_key
from iris_service.jobs.job_queue import JobQueue
from iris_service.jobs.keys import Target
from iris_service.jobs.watch import Observation
from iris_service.schemas import Payload, Row
from stub_model import IS_SLOW, StubModel

TARGET = Target(StubModel.name, StubModel.version)
T = TypeVar("T")


def flowers(rng: random.Random, slow_share: float = 0.0) -> Iterator[Row]:
    """Rows that all differ, so that an answer given to the wrong job is seen; some take 0.2 s to answer."""
    while True:
        first = IS_SLOW if rng.random() < slow_share else rng.uniform(0.1, 10)
        yield (first, *(rng.uniform(0.1, 10) for _ in range(3)))


class Caller:
    """Drives one `JobQueue` in an event loop of its own, from ordinary code."""

    def __init__(self, settings: Settings) -> None:
        self.accepted: dict[str, Row] = {}
        self.refused: Counter[str] = Counter()
        """Refusals by the name of their error."""
        self.slowest_refusal_seconds = 0.0
        self.cancelled: set[str] = set()
        self.too_late: set[str] = set()
        """Jobs that could not be cancelled, for they had been answered."""
        self.perhaps_cancelled: set[str] = set()
        """Cancelled while Redis did not answer: it may have been done all the same."""
        self.surprises: list[BaseException] = []
        """What `submit` raised that it does not promise: other errors, and refusals without a time to come back."""
        self._settings = settings
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="caller", daemon=True)
        self._thread.start()
        self._queue = self.run(self._open())

    def run(self, work: Coroutine[Any, Any, T], seconds: float = 60) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result(seconds)

    @property
    def of_unknown_fate(self) -> int:
        """Submissions refused because Redis did not answer: it may have taken them all the same."""
        return self.refused[QueueUnavailable.__name__]

    def submit(self, *rows: Row) -> list[str]:
        """Return the id of each row; raises what `JobQueue.submit` raises for the first refused one."""
        return self.run(self._submit_all(rows))

    def submit_keyed(self, key: bytes, row: Row) -> bool:
        """Submit under an idempotency key; returns whether that made a new job. Raises what `JobQueue.commit` does."""
        return self.run(self._submit_keyed(key, row))

    def try_submit(self, row: Row) -> bool:
        """Return whether it was accepted; a refusal is counted."""
        return self.run(self._try(row))

    def cancel(self, job_id: str) -> bool:
        """Return whether it was cancelled: False when it had its answer."""
        self.run(self._cancel(job_id))
        return job_id in self.cancelled

    @contextmanager
    def load(
        self, rows: Iterator[Row], *, callers: int = 8, pause_seconds: float = 0.01, cancel_share: float = 0.0
    ) -> Iterator[None]:
        """Submit without end from `callers` at once while the block runs, and cancel a share of it."""
        stop = asyncio.Event()
        at_work = asyncio.run_coroutine_threadsafe(
            self._keep_on(rows, callers, pause_seconds, cancel_share, stop), self._loop
        )
        try:
            yield
        finally:
            self._loop.call_soon_threadsafe(stop.set)
            at_work.result(30)

    def reading(self) -> Observation:
        return self._queue.observe()

    def close(self) -> None:
        self.run(self._queue.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    async def _open(self) -> JobQueue:
        queue = JobQueue(self._settings.redis, self._settings.jobs, TARGET)
        await queue.start()
        return queue

    async def _submit(self, row: Row) -> str:
        payload = Payload(rows=(row,), many=False, request_id="fault", accepted_at=time.time())
        job_id = await self._queue.submit(payload)
        self.accepted[job_id] = row
        return job_id

    async def _submit_keyed(self, key: bytes, row: Row) -> bool:
        payload = Payload(rows=(row,), many=False, request_id="fault", accepted_at=time.time())
        job_id = id_of_key(key, None)
        is_new = await self._queue.commit(job_id, payload, TARGET, fingerprint(TARGET.model, payload))
        self.accepted[job_id] = row
        return is_new

    async def _submit_all(self, rows: Sequence[Row]) -> list[str]:
        return await asyncio.gather(*(self._submit(row) for row in rows))

    async def _cancel(self, job_id: str) -> None:
        try:
            await self._queue.cancel(job_id)
            self.cancelled.add(job_id)
        except AlreadyAnswered:
            self.too_late.add(job_id)
        except QueueUnavailable:
            self.perhaps_cancelled.add(job_id)

    async def _try(self, row: Row) -> bool:
        started = time.monotonic()
        try:
            await self._submit(row)
        except TryLater as exc:
            self.refused[type(exc).__name__] += 1
            self.slowest_refusal_seconds = max(self.slowest_refusal_seconds, time.monotonic() - started)
            if not exc.retry_after_seconds:
                self.surprises.append(exc)
            return False
        return True

    async def _keep_on(
        self, rows: Iterator[Row], callers: int, pause_seconds: float, cancel_share: float, stop: asyncio.Event
    ) -> None:
        rng = random.Random(callers)

        async def one() -> None:
            while not stop.is_set():
                accepted = False
                try:
                    accepted = await self._try(next(rows))
                except Exception as exc:  # judged at the end, by the invariants
                    self.surprises.append(exc)
                await asyncio.sleep(pause_seconds if accepted else max(pause_seconds, 0.1))
                if accepted and rng.random() < cancel_share:
                    known = list(self.accepted)  # a new one mostly waits, an old one is mostly answered
                    await self._cancel(rng.choice(known[-20:] if rng.random() < 0.7 else known))

        await asyncio.gather(*(one() for _ in range(callers)))
