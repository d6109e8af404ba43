"""Decides what a rollout does next. Pure: every rule of a canary is here, and no I/O, clock or Kubernetes.

Idle → Starting (workers come up) → Proving (golden set) → Stepping (growing share, judged) → Idle, promoted.
Any failure leads back to Idle with the stable version at full weight and the failed one remembered.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from iris_operator.spec import (
    LATENCY_BOUNDS,
    Analysis,
    Counters,
    Failure,
    IrisModelSpec,
    ModelVersion,
    Phase,
    RolloutState,
)

KEEP_RECENT = 3
"""Versions one can go back to at once."""


@dataclass(frozen=True)
class Golden:
    """How far the golden set has come through the new version's own queue."""

    answered: bool = False
    agreement: float = 0.0
    """Share of the golden rows whose class came out as labelled."""
    error: str = ""


@dataclass(frozen=True)
class Seen:
    """One version as it is now: its Deployment and its queue."""

    ready_workers: int = 0
    backlog: int = 0
    """Waiting, running and in between; 0 is drained."""
    counters: Counters = field(default_factory=Counters)
    rejected: str = ""
    """What a worker said when it refused the artifact."""
    golden: Golden | None = None
    """None until the golden set has been sent."""


@dataclass(frozen=True)
class Event:
    """Something worth telling people, once."""

    kind: Literal["Normal", "Warning"]
    reason: str
    message: str


@dataclass(frozen=True)
class Plan:
    """What shall be true now. Doing it twice changes nothing."""

    state: RolloutState
    weights: dict[str, int]
    """Share of new jobs by version, in percent; empty before the first version is proven."""
    workers: tuple[ModelVersion, ...]
    """Versions that need their workers, the stable one first."""
    redirect: dict[str, str]
    """Queues that take no more jobs: what waits and comes there goes to the other version."""
    remove: tuple[str, ...]
    """Versions whose queue is empty and whose workers go."""
    send_golden: bool = False
    reason: str = "Stable"
    message: str = ""
    events: tuple[Event, ...] = ()


Verdict = Literal["Pass", "Fail", "Wait", "Inconclusive"]


def judge(analysis: Analysis, seen: Counters, pause_over: bool) -> tuple[Verdict, str]:
    """Judge what a version has done since its step began; returns the verdict and why.

    Failure needs evidence, not time: as soon as more jobs have failed than `minimumJobs` may contain. Success needs
    both. Too few jobs is Inconclusive, never success.
    """
    jobs = seen.done + seen.failed
    allowed = analysis.max_failure_ratio * max(jobs, analysis.minimum_jobs)
    if seen.failed > allowed:
        return "Fail", f"{seen.failed} of {jobs} jobs failed; at most {analysis.max_failure_ratio:.1%} may"
    if jobs >= analysis.minimum_jobs and (p95 := p95_seconds(seen.latency)) > analysis.max_p95_seconds:
        return "Fail", f"95% of the jobs took up to {p95:g} s; {analysis.max_p95_seconds:g} s are allowed"
    if not pause_over:
        return "Wait", f"{jobs} jobs judged so far"
    if jobs < analysis.minimum_jobs:
        return "Inconclusive", f"{jobs} of at least {analysis.minimum_jobs} jobs seen"
    return "Pass", f"{jobs} jobs, {seen.failed} failed"


def p95_seconds(latency: tuple[int, ...]) -> float:
    """Return the upper bound of the bucket that holds the 95th percentile; infinite beyond the last bound."""
    rank, total = 0, sum(latency)
    for bound, jobs in zip((*LATENCY_BOUNDS, float("inf")), latency, strict=False):
        rank += jobs
        if total and rank >= 0.95 * total:
            return bound
    return 0.0


def plan(spec: IrisModelSpec, state: RolloutState, seen: Mapping[str, Seen] | None, now: float) -> Plan:
    """Return what shall be true at `now`, given what was remembered and what is seen (None: Redis cannot be read)."""
    if spec.paused:
        return _as_it_is(spec, state, "Paused", "paused by its spec")
    if seen is None:
        return _as_it_is(spec, state, "RedisUnavailable", "holding everything until Redis can be read again")
    state, events = _follow_spec(spec, state, now)
    decided = _advance(spec, state, seen, now)
    return _finish(spec, decided, seen, tuple(events))


@dataclass(frozen=True)
class _Decided:
    state: RolloutState
    reason: str
    message: str
    events: tuple[Event, ...] = field(default=())
    send_golden: bool = False


def _follow_spec(spec: IrisModelSpec, state: RolloutState, now: float) -> tuple[RolloutState, list[Event]]:
    """Begin, change or abandon a rollout when the spec names another version than is under way."""
    wanted = spec.model
    if state.failed and (state.failed.version, state.failed.digest) != (wanted.version, wanted.digest):
        state = replace(state, failed=None)
    if state.target is not None and state.target != wanted:
        state = replace(_without_target(state), failed=None)
    if wanted == state.stable or wanted == state.target or state.failed:
        return state, []
    state = replace(
        state,
        target=wanted,
        phase="Starting",
        step=0,
        started_at=now,
        phase_started_at=now,
        unready_since=None,
        retiring=_less(state.retiring, wanted.version),
        abandoned=_less(state.abandoned, wanted.version),
    )
    return state, [Event("Normal", "RolloutStarted", f"rolling out version {wanted.version}")]


def _less(versions: tuple[str, ...], gone: str) -> tuple[str, ...]:
    return tuple(version for version in versions if version != gone)


def _without_target(state: RolloutState) -> RolloutState:
    """Give up the version under way."""
    abandoned = state.abandoned
    if state.target and (state.stable is None or state.target.version != state.stable.version):
        abandoned = (*_less(abandoned, state.target.version), state.target.version)
    return replace(state, target=None, phase="Idle", step=0, unready_since=None, abandoned=abandoned)


def _advance(spec: IrisModelSpec, state: RolloutState, seen: Mapping[str, Seen], now: float) -> _Decided:
    if state.target is None:
        if state.failed:
            return _Decided(state, "RolledBack", f"version {state.failed.version}: {state.failed.message}")
        return _Decided(state, "Stable", f"version {state.stable.version} serves" if state.stable else "nothing to do")
    there = seen.get(state.target.version, Seen())
    if there.rejected:
        return _fail(spec, state, "ArtifactRejected", there.rejected)
    if state.phase == "Starting":
        return _start(spec, state, there, now)
    if state.phase == "Proving":
        return _prove(spec, state, there, now)
    return _step(spec, state, there, now)


def _start(spec: IrisModelSpec, state: RolloutState, there: Seen, now: float) -> _Decided:
    if there.ready_workers:
        return _prove(spec, _enter(state, "Proving", now), there, now)
    if now - state.started_at > spec.rollout.progress_deadline_seconds:
        message = f"no worker became ready within {spec.rollout.progress_deadline_seconds} s"
        return _fail(spec, state, "ProgressDeadlineExceeded", message)
    return _Decided(state, "WaitingForWorkers", "the new version's workers are starting")


def _prove(spec: IrisModelSpec, state: RolloutState, there: Seen, now: float) -> _Decided:
    gate = spec.rollout.gate
    if not gate.golden_set or state.target in state.recent:
        return _begin_steps(spec, state, there, now)
    if there.golden is None:
        return _Decided(state, "ProvingGoldenSet", "sending the golden set through the new queue", send_golden=True)
    if not there.golden.answered:
        if now - state.phase_started_at > spec.rollout.progress_deadline_seconds:
            return _fail(spec, state, "ProgressDeadlineExceeded", "the golden set was not answered in time")
        return _Decided(state, "ProvingGoldenSet", "waiting for the golden set's answers")
    if there.golden.error:
        return _fail(spec, state, "GoldenSetFailed", there.golden.error)
    if there.golden.agreement < gate.min_agreement:
        message = f"{there.golden.agreement:.1%} of the golden set agree; {gate.min_agreement:.1%} must"
        return _fail(spec, state, "GoldenSetDisagrees", message)
    return _begin_steps(spec, state, there, now)


def _begin_steps(spec: IrisModelSpec, state: RolloutState, there: Seen, now: float) -> _Decided:
    at_once = state.stable is None or spec.rollout.strategy == "Replace" or state.target in state.recent
    if at_once:
        return _promote(state)
    state = replace(_enter(state, "Stepping", now), step=0, baseline=there.counters)
    return _step(spec, state, there, now)


def _step(spec: IrisModelSpec, state: RolloutState, there: Seen, now: float) -> _Decided:
    rollout = spec.rollout
    if lost := _lost_workers(state, there, now, rollout.progress_deadline_seconds):
        return _fail(spec, state, "WorkersLost", lost)
    state = replace(state, unready_since=None if there.ready_workers else (state.unready_since or now))
    index = min(state.step, len(rollout.steps) - 1)  # the spec may have fewer steps by now
    elapsed = now - state.phase_started_at
    verdict, why = judge(
        rollout.analysis, there.counters.since(state.baseline), elapsed >= rollout.steps[index].pause_seconds
    )
    where = f"step {index + 1} of {len(rollout.steps)} at {rollout.steps[index].weight}%"
    if verdict == "Inconclusive" and elapsed >= rollout.analysis.max_wait_seconds:
        if rollout.analysis.on_inconclusive == "Rollback":
            return _fail(spec, state, "Inconclusive", f"{why} within {rollout.analysis.max_wait_seconds} s")
        verdict = "Pass" if rollout.analysis.on_inconclusive == "Promote" else verdict
    if verdict == "Fail":
        return _fail(spec, state, "AnalysisFailed", why)
    if verdict == "Pass":
        if index + 1 == len(rollout.steps):
            return _promote(state)
        state = replace(_enter(state, "Stepping", now), step=index + 1, baseline=there.counters)
        message = f"version {_target(state).version} takes {rollout.steps[index + 1].weight}% after {why}"
        return _Decided(state, "Stepping", message, (Event("Normal", "StepPassed", message),))
    return _Decided(state, "Inconclusive" if verdict == "Inconclusive" else "Stepping", f"{where}: {why}")


def _lost_workers(state: RolloutState, there: Seen, now: float, deadline: int) -> str:
    if there.ready_workers or state.unready_since is None or now - state.unready_since <= deadline:
        return ""
    return f"no worker has been ready for {deadline} s"


def _promote(state: RolloutState) -> _Decided:
    target, old = _target(state), state.stable
    recent, retiring = state.recent, state.retiring
    if old is not None and old.version != target.version:
        recent = tuple(item for item in (old, *recent) if item != target)[:KEEP_RECENT]
        retiring = (*_less(retiring, old.version), old.version)
    state = replace(
        state, stable=target, target=None, phase="Idle", step=0, unready_since=None, recent=recent, retiring=retiring
    )
    message = f"version {target.version} serves"
    return _Decided(state, "Stable", message, (Event("Normal", "Promoted", message),))


def _fail(spec: IrisModelSpec, state: RolloutState, reason: str, message: str) -> _Decided:
    target = _target(state)
    if not spec.rollout.auto_rollback:
        return _Decided(state, reason, f"{message}; rollout.autoRollback is off, so it stays as it is")
    failed = Failure(target.version, target.digest, reason, message)
    state = replace(_without_target(state), failed=failed)
    event = Event("Warning", "RolledBack", f"version {target.version} was given up: {message}")
    return _Decided(state, "RolledBack", f"version {target.version}: {message}", (event,))


def _enter(state: RolloutState, phase: Phase, now: float) -> RolloutState:
    return replace(state, phase=phase, phase_started_at=now, unready_since=None)


def _target(state: RolloutState) -> ModelVersion:
    assert state.target is not None
    return state.target


def _finish(spec: IrisModelSpec, decided: _Decided, seen: Mapping[str, Seen], events: tuple[Event, ...]) -> Plan:
    """Derive routes, workers and drains from the state alone, so that a restart derives the same."""
    state = decided.state
    drained = {version for version in (*state.retiring, *state.abandoned) if not seen.get(version, Seen()).backlog}
    if state.stable is None:  # nobody else could answer, and nobody was promised an answer: only golden rows wait
        drained |= set(state.abandoned)
    redirect = dict.fromkeys((*state.abandoned, *drained), state.stable.version) if state.stable else {}
    state = replace(
        state,
        retiring=tuple(version for version in state.retiring if version not in drained),
        abandoned=tuple(version for version in state.abandoned if version not in drained),
    )
    return Plan(
        state=state,
        weights=weights(spec, state),
        workers=tuple(version for version in (state.stable, state.target) if version is not None),
        redirect=redirect,
        remove=tuple(sorted(drained)),
        send_golden=decided.send_golden,
        reason=decided.reason,
        message=decided.message,
        events=(*events, *decided.events),
    )


def weights(spec: IrisModelSpec, state: RolloutState) -> dict[str, int]:
    """Return the share of new jobs each version takes, in percent."""
    if state.stable is None:
        return {}
    if state.phase != "Stepping" or state.target is None:
        return {state.stable.version: 100}
    steps = spec.rollout.steps
    share = steps[min(state.step, len(steps) - 1)].weight
    return {state.stable.version: 100 - share, state.target.version: share}


def _as_it_is(spec: IrisModelSpec, state: RolloutState, reason: str, message: str) -> Plan:
    return Plan(
        state=state,
        weights=weights(spec, state),
        workers=tuple(version for version in (state.stable, state.target) if version is not None),
        redirect={},
        remove=(),
        reason=reason,
        message=message,
    )
