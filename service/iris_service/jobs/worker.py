"""The worker: our batches on RQ's loop, bound to exactly one queue.

What of RQ 3.0 is relied on here and in `jobs.quiet_worker`, and held by `tests/integration/test_rq_contract.py`:
- overridden: `Worker.execute_job`, `.dequeue_job_and_maintain_ttl`, `.request_stop`, `.heartbeat`, `.set_state`,
  `.run_maintenance_tasks`, `.check_for_suspension`, `.register_birth`,
  `.register_death`, `.teardown`, `.subscribe`, `.unsubscribe`, `.connection_timeout`; `Job.restore`, `Job.func`
- used though private: `Worker._stop_requested`, `Worker._shutdown_requested_date`, `Worker._state`,
  `Worker._install_signal_handlers` (overridden)
- key names and job fields: `jobs.keys` and `lua/`
"""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any
from uuid import uuid4

import structlog
from redis import Redis
from redis.exceptions import OutOfMemoryError, RedisError
from rq import Queue
from rq.exceptions import NoSuchJobError, StopRequested
from rq.job import Job
from rq.utils import now as rq_now
from rq.utils import utcformat
from rq.worker.base import WorkerStatus

from iris_service.config import JobSettings
from iris_service.jobs import scripts
from iris_service.jobs.batch import Claim, Outcome, Predictor, answer
from iris_service.jobs.client import BLOCK_SECONDS
from iris_service.jobs.keys import LATENCY_BOUNDS, TASK, Target, queue_keys
from iris_service.jobs.quiet_worker import QuietWorker
from iris_service.jobs.task_job import FixedTaskJob
from iris_service.jobs.watchdog import Watchdog
from iris_service.schemas import Failed, envelope_to_json

LEASE_SECONDS = 5
"""A worker that shows no sign of life for so long loses its jobs to others."""
_OUR_JOB = b'["' + TASK.encode() + b'",'
_log = structlog.get_logger(__name__)


@dataclass
class _Batch:
    """What the watchdog's thread may see of the work in hand."""

    execution: str
    claims: list[Claim]


class IrisWorker(QuietWorker):
    """Takes a job with RQ's blocking move, then as many more as wait, and answers them with one prediction."""

    def __init__(
        self, client: Redis, model: Predictor, jobs: JobSettings, batch_size: int, tasks: frozenset[str]
    ) -> None:
        target = Target(model.name, model.version)
        job_class = type("TaskJob", (FixedTaskJob,), {"allowed_tasks": tasks | {TASK}})
        super().__init__(client, target.queue, job_class)
        self.model = model
        self.jobs = jobs
        self.batch_size = batch_size
        self.keys = queue_keys(target.queue)
        self.on_outcomes: Callable[[list[Outcome], set[str]], None] = lambda _outcomes, _refused: None
        self.on_progress: Callable[[], None] = lambda: None
        self.watchdog: Watchdog | None = None
        self.in_hand: _Batch | None = None
        self._publish_seconds = 0.0
        self._claim = client.register_script(scripts.source("claim"))
        self._finish = client.register_script(scripts.source("finish"))
        self._renew = client.register_script(scripts.source("renew"))
        self._move = client.register_script(scripts.source("move"))
        self._set_aside = client.register_script(scripts.source("set_aside"))

    def dequeue_job_and_maintain_ttl(self, timeout: int | None, max_idle_time: int | None = None) -> Any:
        """Return the next job and its queue; None when `timeout` is None (burst) and none waits.

        Raises `StopRequested` between two blocking moves, never inside one: a signal cannot strand a job.
        """
        idle_since = time.monotonic()
        self.set_state(WorkerStatus.IDLE)
        while True:
            self.on_progress()
            if self._stop_requested:
                raise StopRequested
            self.check_for_suspension(burst=timeout is None)
            self.heartbeat()
            job = self.patiently(lambda: self._next_job(block=timeout is not None))
            if job is not None:
                return job, self.queues[0]
            if timeout is None or (max_idle_time and time.monotonic() - idle_since > max_idle_time):
                return None

    def _next_job(self, *, block: bool) -> Job | None:
        waiting, intermediate = self.keys.waiting, self.keys.intermediate
        try:
            if block:
                found = self._redis.blmove(waiting, intermediate, BLOCK_SECONDS, "LEFT", "RIGHT")
            else:
                found = self._redis.lmove(waiting, intermediate, "LEFT", "RIGHT")
        except OutOfMemoryError:
            found = self._move(keys=(waiting, intermediate))
            if found is None:
                time.sleep(BLOCK_SECONDS)
        if found is None:
            return None
        job_id = found.decode(errors="replace")
        try:
            job = self.job_class.fetch(job_id, connection=self.connection, serializer=self.serializer)
            _ = job.func_name  # unpacks the job's data
        except NoSuchJobError:  # answered by somebody else, cancelled, or lost
            self._put_aside(found)
            return None
        except Exception as exc:  # whatever somebody wrote there must not stop us
            if isinstance(exc, RedisError) and not str(exc).startswith("WRONGTYPE"):
                raise  # busy, loading, read-only: the job is not to blame
            _log.error("job set aside: it cannot be read", job_id=job_id, reason=f"{type(exc).__name__}: {exc}"[:200])
            self._put_aside(found)
            return None
        return job

    def _put_aside(self, job_id: bytes) -> None:
        self._set_aside(
            keys=(self.keys.intermediate, self.keys.counts),
            args=(job_id, self._unreadable(), self.jobs.result_ttl_seconds),
        )

    def execute_job(self, job: Job, queue: Queue) -> None:
        """Answer the batch that begins with `job`; functions other than ours take RQ's own path."""
        if job.func_name != TASK:
            super().execute_job(job, queue)
            return
        execution = uuid4().hex
        began = time.perf_counter()
        claims = self.patiently(lambda: self._take(job, execution))
        if not claims:
            return
        assert self.watchdog is not None
        self.in_hand = _Batch(execution, claims)
        started = time.perf_counter()
        try:
            outcomes = answer(self.model, claims, self.watchdog.limit)
            answered = time.perf_counter()
            # worker time is what scaling divides by, so it holds the bookkeeping too: this claim and the last publish
            busy_us = round((answered - began + self._publish_seconds) * 1e6)
            refused = self.patiently(lambda: self._publish(execution, outcomes, busy_us, answered - started))
        finally:
            self.in_hand = None
        self._publish_seconds = time.perf_counter() - answered
        self._state = WorkerStatus.IDLE
        self.on_outcomes(outcomes, refused)

    def _take(self, job: Job, execution: str) -> list[Claim]:
        taken = self._claim(
            keys=(self.keys.waiting, self.keys.intermediate, self.keys.running, self.keys.counts, self.key),
            args=(
                job.id, self.batch_size, _OUR_JOB, self.jobs.attempts - 1, execution, self.name, LEASE_SECONDS,
                utcformat(rq_now()), self._unreadable(), self.jobs.result_ttl_seconds,
            ),
        )  # fmt: skip
        return [
            Claim(
                job_id=taken[at].decode(),
                # the first may have been enqueued by RQ's own API, which compresses
                arguments=job.data if at == 0 else taken[at + 1],
                timeout_seconds=self._time_limit(taken[at + 2]),
                attempt=min(max(1, self.jobs.attempts - taken[at + 3]), self.jobs.attempts),
            )
            for at in range(0, len(taken), 4)
        ]

    def _time_limit(self, asked_seconds: int) -> int:
        """Return the shorter of the job's own limit and this worker's; RQ writes -1 for none."""
        return min(asked_seconds, self.jobs.timeout_seconds) if asked_seconds > 0 else self.jobs.timeout_seconds

    def _publish(self, execution: str, outcomes: list[Outcome], busy_us: int, task_seconds: float) -> set[str]:
        bucket = bisect_left(LATENCY_BOUNDS, task_seconds)
        arguments: list[Any] = [execution, self.jobs.result_ttl_seconds, busy_us, bucket]
        for outcome in outcomes:
            arguments += (outcome.claim.job_id, envelope_to_json(outcome.envelope))
        refused = self._finish(keys=(self.keys.running, self.keys.counts, self.key), args=arguments)
        return {job_id.decode() for job_id in refused}

    def _unreadable(self) -> bytes:
        return envelope_to_json(
            Failed(
                model=self.model.name,
                version=self.model.version,
                attempt=0,
                code="UNREADABLE",
                error="what Redis held for this job could not be read",
                finished_at=round(time.time(), 6),
            )
        )

    # --- called by the watchdog's thread --------------------------------------------------------------------------

    def renew_leases(self) -> None:
        batch = self.in_hand
        if batch is None:
            return
        members = [f"{claim.job_id}:{batch.execution}" for claim in batch.claims]
        try:
            self._renew(keys=(self.keys.running,), args=(LEASE_SECONDS, *members))
        except RedisError as exc:
            _log.warning("lease not renewed", reason=str(exc)[:200])

    def answer_hung(self) -> None:
        """Say TIMEOUT for a job that hangs alone; of a batch nobody knows which one, so each gets its own run."""
        batch = self.in_hand
        if batch is None or len(batch.claims) != 1:
            return
        claim = batch.claims[0]
        envelope = Failed(
            model=self.model.name,
            version=self.model.version,
            attempt=claim.attempt,
            code="TIMEOUT",
            error="the prediction ran longer than its time limit",
            finished_at=round(time.time(), 6),
        )
        try:
            self._publish(batch.execution, [Outcome(claim, envelope, None)], 0, 0.0)
        except RedisError as exc:
            _log.warning("timeout not published", reason=str(exc)[:200])
