"""Stands in for `JobQueue` where a test is about HTTP alone: what was submitted, and what will be answered."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from iris_service.errors import AlreadyAnswered, IdempotencyConflict, IrisError, JobNotFound
from iris_service.jobs.keys import Target
from iris_service.jobs.pressure import QueueReading, ServerReading
from iris_service.jobs.route import Route
from iris_service.jobs.watch import Observation
from iris_service.schemas import Answered, Envelope, Failed, Payload
from stub_model import answer_of

CANCELLED = Failed("iris", "1", 0, "CANCELLED", "its caller has cancelled the job", 1.0)


class MemoryQueue:
    """The methods of `JobQueue`, over a dict. `trouble` is raised by every call that would use Redis."""

    def __init__(self) -> None:
        self.submitted: dict[str, Payload] = {}
        self.fingerprints: dict[str, str] = {}
        self.envelopes: dict[str, Envelope] = {}
        self.trouble: IrisError | None = None
        self.fetched = 0
        self.waiters = 0
        self.running = False
        self.deaf = False
        self.redis_up = True
        self.target = Target("iris", "1")
        self.cards: dict[Target, bytes] = {}

    async def start(self) -> None:
        self.running = True

    async def close(self) -> None:
        self.running = False

    def pick(self, model: str = "") -> Target:
        return self.observe().route(model or self.target.model).pick(0)

    async def commit(self, job_id: str, payload: Payload, target: Target, fingerprint: str = "") -> bool:
        assert target == self.target
        self._check()
        known = job_id in self.submitted
        if known and self.fingerprints[job_id] != fingerprint:
            raise IdempotencyConflict("another request")
        self.submitted.setdefault(job_id, payload)
        self.fingerprints[job_id] = fingerprint
        return not known

    @contextmanager
    def listening(self, job_id: str) -> Iterator[str]:
        yield job_id

    async def hear(self, announced: str, seconds: float) -> Envelope | None:
        """Hear nothing while `deaf`: the answer must be fetched."""
        return None if self.deaf else self.envelopes.get(announced)

    async def fetch(self, job_id: str, wait_seconds: float = 0.0) -> Envelope | None:
        self._check()
        self.fetched += 1
        if job_id not in self.submitted:
            raise JobNotFound
        self.waiters += 1
        try:
            async with asyncio.timeout(wait_seconds):
                while job_id not in self.envelopes:  # noqa: ASYNC110  tests put answers in as they like
                    await asyncio.sleep(0.01)
        except TimeoutError:
            return None
        finally:
            self.waiters -= 1
        return self.envelopes[job_id]

    async def cancel(self, job_id: str) -> None:
        self._check()
        if job_id not in self.submitted:
            raise JobNotFound
        envelope = self.envelopes.setdefault(job_id, CANCELLED)
        if envelope is not CANCELLED:
            raise AlreadyAnswered("the job has its answer already")

    async def ping(self) -> None:
        self._check()

    def observe(self) -> Observation:
        waiting = len(self.submitted)
        reading = QueueReading(waiting=waiting, outcomes={"done": 3}, busy_seconds=0.25, oldest_seconds=7.5 * waiting)
        return Observation(
            routes={self.target.model: Route.only(self.target)},
            redis_up=self.redis_up,
            server=ServerReading(used_bytes=800, max_bytes=1000, is_persisting=False, may_evict=True),
            queues={self.target: reading},
            cards=self.cards,
            waiters=self.waiters,
        )

    def card(self, target: Target) -> bytes | None:
        return self.cards.get(target)

    def _check(self) -> None:
        if self.trouble is not None:
            raise self.trouble


class AnsweringQueue(MemoryQueue):
    """Answers every job at once, as the stub model does."""

    async def commit(self, job_id: str, payload: Payload, target: Target, fingerprint: str = "") -> bool:
        is_new = await super().commit(job_id, payload, target, fingerprint)
        self.envelopes.setdefault(job_id, answer_to(payload, target))
        return is_new


def answer_to(payload: Payload, target: Target) -> Answered:
    rows = tuple(map(answer_of, payload.rows))
    return Answered(*target, "sha256:0", payload.accepted_at, 0.0, 0.0, rows, many=payload.many)
