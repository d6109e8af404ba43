"""Every Redis name in use: ours, and those of RQ 3.0 that our scripts and worker rely on.

`tests/integration/test_rq_contract.py` holds this page against the installed RQ. Names of RQ that the Python side
overrides or calls are listed at the top of `worker.py`.
"""

from __future__ import annotations

from typing import NamedTuple

TASK = "iris_service.jobs.tasks.predict"
"""Dotted name of the one function our jobs run, as written into the job."""

# RQ's names
QUEUES = "rq:queues"
JOB_PREFIX = "rq:job:"

# ours
PENDING = "iris:pending"
"""The ledger: sorted set of every accepted and not yet answered job id, scored by its deadline in Unix seconds."""
RESULT_PREFIX = "iris:result:"
"""+ job id: the envelope, written once."""
FINGERPRINT_PREFIX = "iris:fingerprint:"
"""+ job id: what was asked for under an idempotency key, in short; kept for no less time than the answer."""
DRAFT_PREFIX = "iris:draft:"
"""+ job id: the envelope of a job that is being cancelled, for the length of one script."""
DEAD_PREFIX = "iris:dead:"
"""+ job id: what could not be read, kept for a day to be looked at."""
KNOWN_QUEUES = "iris:queues"
"""Set of the queue names that recovery looks after."""
ANSWERED_CHANNEL = "iris:answered"
"""Messages are lines: the id of a job whose envelope has just been written, and, if it is small, a space and that."""
RECOVERY_LOCK = "iris:recovery:lock"
MODELS = "iris:models"
"""Set of the models that have a route, written by the operator."""
ROUTE_PREFIX = "iris:route:"
"""+ model: JSON of {version: percent of new jobs}, written by the operator."""
CARD_PREFIX = "iris:card:"
"""+ queue name: the card of the version its workers serve, written by them; an API need not have the artifact."""
REJECTED_PREFIX = "iris:rejected:"
"""+ queue name: why a worker has refused the version's artifact, written by it and read by the operator."""
REDIRECT_PREFIX = "iris:redirect:"
"""+ queue name: the queue that takes its jobs since the operator has closed it."""

OUTCOMES = ("accepted", "done", "error", "expired", "cancelled", "refused", "recovered", "quarantined")
"""What is counted of a queue's jobs. `refused` are answers that came second."""
INLINE = "inline_"
"""Before `done`, `error` and `latency:<bucket>`: what API processes have answered without a job, counted about a second
late. Never mixed with the counts of jobs, of which every accepted one has exactly one outcome."""
LATENCY_BOUNDS = (
    0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 25.0, 50.0, 100.0, 250.0, 500.0,
    1000.0, 2500.0, 5000.0, 10_000.0, 25_000.0, 50_000.0, 86_400.0,
)  # fmt: skip
"""Upper bounds, in seconds, of the buckets in which workers count task times; the last bucket has none.
From the least to the most that an IrisModel may allow its jobs, so that the operator can tell."""


class Target(NamedTuple):
    """One version of one model, and so one queue: a worker serves exactly one."""

    model: str
    version: str

    @property
    def queue(self) -> str:
        return f"{self.model}@{self.version}"

    @classmethod
    def of_queue(cls, queue: str) -> Target:
        model, _, version = queue.partition("@")
        return cls(model, version)


class QueueKeys(NamedTuple):
    """The keys of one queue."""

    waiting: str
    """List of job ids, taken from the left."""
    intermediate: str
    """List of ids between RQ's blocking move and the claim; anything that stays was stranded by a dying worker."""
    running: str
    """Sorted set of `<job id>:<execution id>`, scored by the Unix second its lease ends."""
    counts: str
    """Totals since it began: `OUTCOMES`, busy_us (microseconds of work), latency:<bucket> (jobs by task time); and
    those of `INLINE`."""


def queue_keys(queue: str) -> QueueKeys:
    waiting = f"rq:queue:{queue}"
    return QueueKeys(waiting, f"{waiting}:intermediate", f"rq:wip:{queue}", f"iris:counts:{queue}")


def job_key(job_id: str) -> str:
    return JOB_PREFIX + job_id


def result_key(job_id: str) -> str:
    return RESULT_PREFIX + job_id
