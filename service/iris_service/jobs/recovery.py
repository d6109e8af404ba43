"""Recovery: the loop outside the workers that lets no accepted job stay without an answer.

Several may run; a short lock lets one work at a time, and every step is an atomic script that looks again first.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import structlog
from redis import Redis
from redis.exceptions import RedisError
from rq.exceptions import NoSuchJobError
from rq.job import JobStatus
from rq.job_lifecycle import record_job_failure
from rq.queue import Queue
from rq.serializers import JSONSerializer

from iris_service.config import JobSettings
from iris_service.jobs import scripts
from iris_service.jobs.keys import KNOWN_QUEUES, PENDING, RECOVERY_LOCK, QueueKeys, Target, job_key, queue_keys
from iris_service.jobs.pressure import age_seconds
from iris_service.jobs.task_job import FixedTaskJob
from iris_service.schemas import Failed, FailureCode, envelope_to_json
from iris_service.telemetry.recovery import RECOVERED

AUDIT_EVERY_SWEEPS = 5
"""The ledger is held against the lists this often; an id must be missing twice in a row."""
STRANDED_SECONDS = 2.0
"""A claim follows RQ's move within milliseconds: what lies there longer was left by a dead worker."""
_LOCK_MS = 10_000
_PAGE = 1000

_log = structlog.get_logger(__name__)

_RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0"
_SENTENCES: dict[FailureCode, str] = {
    "WORKER_LOST": "every worker that tried this job died",
    "EXPIRED": "no worker took this job before its deadline",
    "UNREADABLE": "what Redis held for this job could not be read",
}


class Recovery:
    """One sweep at a time over every known queue. Keeps only what it has seen twice in mind."""

    def __init__(self, client: Redis, jobs: JobSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._client: Any = client  # redis-py's types cannot say that replies are bytes
        self._jobs = jobs
        self._clock = clock
        self.on_recovered: Callable[[str], None] = lambda _outcome: None
        """Told of every job that was taken care of, and how."""
        self._token = uuid4().hex
        self._sweeps = 0
        self._on_intermediate: dict[tuple[str, str], float] = {}
        self._missing: set[str] = set()
        self._recover, self._restore, self._expire, self._set_aside = (
            client.register_script(scripts.source(name)) for name in ("recover", "restore", "expire", "set_aside")
        )
        self._release = client.register_script(_RELEASE)

    def sweep(self) -> bool:
        """Look at everything once; False when another recovery is at it."""
        if not self._lock():
            return False
        try:
            self._sweeps += 1
            queues = sorted(name.decode() for name in self._client.smembers(KNOWN_QUEUES))
            for queue in queues:
                self._return_lost(queue)
                self._return_stranded(queue)
            self._answer_overdue()
            if self._sweeps % AUDIT_EVERY_SWEEPS == 0:
                self._audit(queues)
        finally:
            self._release(keys=(RECOVERY_LOCK,), args=(self._token,))
        return True

    def ledger(self) -> tuple[int, float]:
        """Return how many accepted jobs have no answer, and how many seconds ago the oldest was accepted."""
        pipeline = self._client.pipeline(transaction=True)
        pipeline.zcard(PENDING)
        pipeline.zrange(PENDING, 0, 0, withscores=True)
        pending, first = pipeline.execute()
        deadline = first[0][1] if first else None
        return pending, age_seconds(deadline, self._jobs.deadline_seconds, self._redis_now())

    def _lock(self) -> bool:
        # a full Redis refuses the lock, but recovery is what empties it: every step is safe without
        try:
            return bool(self._client.set(RECOVERY_LOCK, self._token, nx=True, px=_LOCK_MS))
        except RedisError as exc:
            if "OOM" in str(exc) or "maxmemory" in str(exc):
                return True
            raise

    def _return_lost(self, queue: str) -> None:
        keys = queue_keys(queue)
        expired = self._client.zrangebyscore(keys.running, "-inf", self._redis_now(), 0, _PAGE)
        for member in expired:
            done = self._step(
                "recover", member, self._recover, (keys.running, keys.counts),
                (member, self._jobs.attempts - 1, self._jobs.result_ttl_seconds,
                 self._envelope("WORKER_LOST", queue), self._envelope("UNREADABLE", queue), queue),
            )  # fmt: skip
            if done == "foreign":
                self._end_foreign(queue, keys, member)

    def _end_foreign(self, queue: str, keys: QueueKeys, member: bytes) -> None:
        """Let RQ retry or fail a job of another function.

        Not RQ's own cleanup of the queue: by this process' clock, that would take our live jobs along.
        """
        job_id = member.partition(b":")[0]
        try:
            self._retry_or_fail(queue, job_id.decode())
        except NoSuchJobError:
            pass
        except Exception as exc:
            if isinstance(exc, RedisError) and not str(exc).startswith("WRONGTYPE"):
                raise
            _log.error("foreign job set aside", queue=queue, reason=f"{type(exc).__name__}: {exc}"[:200])
            self._set_aside(
                keys=(keys.intermediate, keys.counts),
                args=(job_id, self._envelope("UNREADABLE", queue), self._jobs.result_ttl_seconds),
            )
        self._client.zrem(keys.running, member)

    def _retry_or_fail(self, queue: str, job_id: str) -> None:
        job = FixedTaskJob.fetch(job_id, connection=self._client, serializer=JSONSerializer)
        if job.get_status(refresh=False) != JobStatus.STARTED:
            return
        rq_queue = Queue(queue, connection=self._client, job_class=FixedTaskJob, serializer=JSONSerializer)
        with self._client.pipeline() as pipeline:
            if job.retries_left and job.retries_left > 0:
                job.retry(rq_queue, pipeline)
            else:
                record_job_failure(job, "its worker died", pipeline)
                rq_queue.enqueue_dependents(job, refresh_job_status=False)
            pipeline.execute()

    def _return_stranded(self, queue: str) -> None:
        keys = queue_keys(queue)
        now = self._clock()
        there = {(queue, raw.decode(errors="replace")): raw for raw in self._client.lrange(keys.intermediate, 0, _PAGE)}
        for known in [known for known in self._on_intermediate if known[0] == queue and known not in there]:
            del self._on_intermediate[known]
        for seen, raw in there.items():
            if now - self._on_intermediate.setdefault(seen, now) >= STRANDED_SECONDS:
                self._restore_job(raw, queue, keys, stranded=True)

    def _answer_overdue(self) -> None:
        for raw in self._client.zrangebyscore(PENDING, "-inf", self._redis_now(), 0, _PAGE):
            queue = self._queue_of(raw)
            keys = queue_keys(queue)
            self._step(
                "expire", raw, self._expire, (keys.running, keys.counts),
                (raw, self._jobs.result_ttl_seconds, self._envelope("EXPIRED", queue)),
            )  # fmt: skip

    def _audit(self, queues: list[str]) -> None:
        """Put back what the ledger knows and no list does, seen so in two audits."""
        pending = {raw for raw, _score in self._client.zscan_iter(PENDING, count=_PAGE)}
        if not pending:
            self._missing = set()
            return
        held: set[bytes] = set()
        for queue in queues:
            held |= self._held(queue_keys(queue))
        missing = pending - held
        for raw in missing & self._missing:
            queue = self._queue_of(raw)
            self._restore_job(raw, queue, queue_keys(queue), stranded=False)
        self._missing = missing

    def _held(self, keys: QueueKeys) -> set[bytes]:
        pipeline = self._client.pipeline(transaction=True)
        pipeline.lrange(keys.waiting, 0, -1)
        pipeline.lrange(keys.intermediate, 0, -1)
        pipeline.zrange(keys.running, 0, -1)
        waiting, intermediate, running = pipeline.execute()
        return {*waiting, *intermediate, *(member.partition(b":")[0] for member in running)}

    def _restore_job(self, raw: bytes, queue: str, keys: QueueKeys, *, stranded: bool) -> None:
        self._step(
            "restore", raw, self._restore, (keys.waiting, keys.intermediate, keys.running, keys.counts),
            (raw, self._jobs.result_ttl_seconds, self._envelope("UNREADABLE", queue), int(stranded), queue),
        )  # fmt: skip

    def _step(self, name: str, job: bytes, script: Any, keys: tuple[str, ...], arguments: tuple[Any, ...]) -> str:
        done = str(script(keys=keys, args=arguments).decode())
        if done in RECOVERED:
            self.on_recovered(done)
            _log.warning(
                "job recovered", step=name, outcome=done, job_id=job.partition(b":")[0].decode("utf-8", "replace")
            )
        return done

    def _queue_of(self, raw: bytes) -> str:
        try:
            origin = self._client.hget(job_key(raw.decode(errors="replace")), "origin")
        except RedisError:  # not a hash: somebody overwrote it
            origin = None
        return origin.decode(errors="replace") if origin else "unknown@unknown"

    def _redis_now(self) -> float:
        seconds, micros = self._client.time()
        return float(seconds) + float(micros) / 1e6

    def _envelope(self, code: FailureCode, queue: str) -> bytes:
        target = Target.of_queue(queue)
        return envelope_to_json(
            Failed(
                model=target.model,
                version=target.version,
                attempt=self._jobs.attempts if code == "WORKER_LOST" else 0,
                code=code,
                error=_SENTENCES[code],
                finished_at=round(time.time(), 6),
            )
        )
