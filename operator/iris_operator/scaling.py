"""Decides how many workers a model version needs. Pure: the caller reads Redis, passes the clock, applies the answer.

Up at once but not beyond a doubling, down only after a quiet window, never under the busy workers, and no change at
all while the queue cannot be seen. `docs/scaling.md` explains the rule; `benchmarks/scaling.py` measures it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import ceil, exp
from typing import Literal

STALE_SECONDS = 10.0
"""A reading older than this says nothing of now, and a longer gap between two readings begins a new window."""
UP_PERIOD_SECONDS = 10.0
UP_PODS = 4
UP_FACTOR = 2
"""In one period at most so many more, or so many times as many, whichever is more: one glitch cannot ask for 1000."""
TOLERANCE_TENTHS = 1
"""Fewer workers are not worth a change when it would take away no more than a tenth; more workers always are."""
WAKE_SECONDS = 8.0
"""To notice a backlog and start workers; what is left of `max_wait_seconds`, at least half, is for draining it."""
ARRIVALS_HORIZON_SECONDS = 30.0
MEASURED_AFTER_JOBS = 10
REMEMBERED_JOBS = 200
"""Seconds per job count as measured after so many answers, and forget what lies further back than so many."""

Reason = Literal[
    "Steady", "ScaledUp", "UpRateLimited", "AtMaximum", "ScaledDown", "DownStabilized", "WorkersBusy",
    "RedisUnavailable", "ReadingStale",
]  # fmt: skip


@dataclass(frozen=True)
class Load:
    """One version's queue, read in one transaction. Totals count since the queue began; both may begin anew."""

    waiting: int
    """Jobs that no worker has claimed: the list and the intermediate list."""
    running: int
    """Jobs in workers' hands; one worker may hold a whole batch."""
    busy_workers: int
    """Workers that hold them: the distinct executions among the running jobs."""
    answered_total: int
    busy_seconds_total: float
    observed_at: float

    @property
    def backlog(self) -> int:
        return self.waiting + self.running

    @property
    def in_hand(self) -> int:
        """What running jobs weigh: as many as workers hold them, for no other worker can take a share of a batch.

        Jobs that nobody seems to hold are about to be recovered, and need a worker then.
        """
        return min(self.running, max(1, self.busy_workers))


@dataclass(frozen=True)
class Policy:
    """What the author of the IrisModel asked for: `spec.worker.autoscaling`."""

    minimum: int
    maximum: int
    target_per_replica: int
    max_wait_seconds: float | None
    window_seconds: float


@dataclass(frozen=True)
class Pace:
    """Arrivals and cost of jobs, as sums in which the past fades, so that a constant load reads constant at once."""

    seconds: float = 0.0
    arrived: float = 0.0
    answered: float = 0.0
    busy_seconds: float = 0.0

    @property
    def arrivals_per_second(self) -> float:
        return self.arrived / self.seconds if self.seconds > 0 else 0.0

    @property
    def seconds_per_job(self) -> float | None:
        """Worker time for one job, shared out over its batch; None before enough was answered."""
        return self.busy_seconds / self.answered if self.answered >= MEASURED_AFTER_JOBS else None

    def after(self, earlier: Load, later: Load) -> Pace:
        """Return the pace with what happened between two readings; totals that went back teach nothing."""
        seconds = later.observed_at - earlier.observed_at
        answered = later.answered_total - earlier.answered_total
        busy_seconds = later.busy_seconds_total - earlier.busy_seconds_total
        if seconds <= 0 or answered < 0 or busy_seconds < 0:
            return self
        fade = exp(-seconds / ARRIVALS_HORIZON_SECONDS)
        keep = min(1.0, REMEMBERED_JOBS / (self.answered + answered)) if answered else 1.0
        return Pace(
            seconds=self.seconds * fade + seconds,
            arrived=self.arrived * fade + max(0, later.backlog - earlier.backlog + answered),
            answered=(self.answered + answered) * keep,
            busy_seconds=(self.busy_seconds + busy_seconds) * keep,
        )


@dataclass(frozen=True)
class Memory:
    """What one decision leaves for the next. The empty one, as after a restart, begins a new window."""

    window_began: float | None = None
    wanted: tuple[tuple[float, int], ...] = ()
    """(time, workers) within the window, newest last; only what a later, larger wish does not cover."""
    sizes: tuple[tuple[float, int], ...] = ()
    """(time, workers) that there were within the last period, newest last; only what no later, smaller size covers."""
    last: Load | None = None
    pace: Pace = Pace()


@dataclass(frozen=True)
class Decision:
    """How many workers there should be, and why: `reason` and `message` are for a Kubernetes condition.

    The message of a lasting state carries no figure that moves, so that a steady state writes nothing.
    """

    replicas: int
    reason: Reason
    message: str
    memory: Memory

    @property
    def active(self) -> bool:
        """Whether the queue was seen: the status of the condition `ScalingActive`."""
        return self.reason not in ("RedisUnavailable", "ReadingStale")


def decide(policy: Policy, current: int, load: Load | None, memory: Memory, now: float) -> Decision:
    """Return the replicas for a Deployment whose spec has `current`; `load` is None when Redis cannot be read.

    `now` and `load.observed_at` are seconds of one clock. Call it every second or two, with the last call's memory.
    """
    current = _clamp(current, policy)
    if load is None:
        return Decision(current, "RedisUnavailable", "held: the queue cannot be read", memory)
    if now - load.observed_at > STALE_SECONDS:
        message = f"held: the last reading of the queue is more than {STALE_SECONDS:g} s old"
        return Decision(current, "ReadingStale", message, memory)
    pace = memory.pace if memory.last is None else memory.pace.after(memory.last, load)
    wanted = _wanted(policy, load, pace)
    memory = replace(_remember(policy, current, load, memory, now, wanted), pace=pace)
    if wanted > current:
        return _up(policy, current, load, memory, wanted)
    return _down(policy, current, load, memory, now)


def _wanted(policy: Policy, load: Load, pace: Pace) -> int:
    """Return how many workers this one reading asks for, before any limit; 0 only for an empty queue."""
    if load.backlog == 0:
        return 0
    jobs = load.waiting + load.in_hand
    seconds_per_job = pace.seconds_per_job
    if seconds_per_job is None:
        return ceil(jobs / policy.target_per_replica)
    keeping_up = _whole(pace.arrivals_per_second * seconds_per_job)
    # more workers than pieces of work would only watch
    return max(1, min(jobs, max(keeping_up, _draining(policy, load, seconds_per_job))))


def _draining(policy: Policy, load: Load, seconds_per_job: float) -> int:
    if policy.max_wait_seconds is None:
        return ceil((load.waiting + load.in_hand) / policy.target_per_replica)
    work_seconds = (load.waiting + load.running / 2) * seconds_per_job  # a running job is on average half done
    return _whole(work_seconds / max(policy.max_wait_seconds / 2, policy.max_wait_seconds - WAKE_SECONDS))


def _whole(workers: float) -> int:
    return ceil(workers - 1e-9)  # sums of fractions must not ask for one more


def _remember(policy: Policy, current: int, load: Load, memory: Memory, now: float, wanted: int) -> Memory:
    began = memory.window_began
    if began is None or memory.last is None or load.observed_at - memory.last.observed_at > STALE_SECONDS:
        began = now
    window, period = now - policy.window_seconds, now - UP_PERIOD_SECONDS
    return replace(
        memory,
        window_began=began,
        wanted=(*((at, n) for at, n in memory.wanted if at >= window and n > wanted), (now, wanted)),
        sizes=(*((at, n) for at, n in memory.sizes if at > period and n < current), (now, current)),
        last=load,
    )


def _up(policy: Policy, current: int, load: Load, memory: Memory, wanted: int) -> Decision:
    smallest = memory.sizes[0][1]
    allowed = max(current, smallest * UP_FACTOR, smallest + UP_PODS)
    replicas = _clamp(min(wanted, allowed), policy)
    if wanted > policy.maximum and replicas == policy.maximum:
        return Decision(replicas, "AtMaximum", f"more than the {policy.maximum} allowed workers are wanted", memory)
    if wanted > allowed:
        message = f"{allowed} for now: at most {UP_PODS} more or a doubling in {UP_PERIOD_SECONDS:g} s"
        return Decision(replicas, "UpRateLimited", message, memory)
    message = f"{load.waiting} waiting and {load.running} running jobs ask for {wanted} workers"
    return Decision(replicas, "ScaledUp", message, memory)


def _down(policy: Policy, current: int, load: Load, memory: Memory, now: float) -> Decision:
    assert memory.window_began is not None
    most, latest = _clamp(memory.wanted[0][1], policy), _clamp(memory.wanted[-1][1], policy)
    if not _worth_leaving(current, latest):
        return Decision(current, "Steady", f"as many workers as the queue needs: {current}", memory)
    if now - memory.window_began < policy.window_seconds or not _worth_leaving(current, most):
        message = f"fewer workers would do, but not yet for {policy.window_seconds:g} s"
        return Decision(current, "DownStabilized", message, memory)
    replicas = max(most, min(load.busy_workers, current))
    if replicas == current:
        return Decision(current, "WorkersBusy", "fewer workers would do, but all of them are busy", memory)
    message = f"{replicas} workers were enough for {policy.window_seconds:g} s"
    return Decision(replicas, "ScaledDown", message, memory)


def _worth_leaving(current: int, fewer: int) -> bool:
    return 10 * fewer < (10 - TOLERANCE_TENTHS) * current


def _clamp(replicas: int, policy: Policy) -> int:
    return max(policy.minimum, min(policy.maximum, replicas))
