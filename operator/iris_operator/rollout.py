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
UNREADY_SECONDS = 5.0
"""A version on trial without a ready worker for so long takes no new jobs until it has one again."""


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
    """Versions that need their workers: the stable one, the one on trial, those that still have jobs to answer."""
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
        return "Fail", f"95% of the jobs took up to {p95:.3g} s; {analysis.max_p95_seconds:g} s are allowed"
    if not pause_over:
        return "Wait", "watching its jobs"
    if jobs < analysis.minimum_jobs:
        return "Inconclusive", f"{jobs} of at least {analysis.minimum_jobs} jobs seen"
    return "Pass", f"{jobs} jobs, {seen.failed} failed"


def p95_seconds(latency: tuple[int, ...]) -> float:
    """Return the 95th percentile, as if jobs were spread evenly within a bucket; infinite beyond the last bound."""
    wanted, rank, lower = 0.95 * sum(latency), 0, 0.0
    for bound, jobs in zip((*LATENCY_BOUNDS, float("inf")), latency, strict=False):
        if jobs and rank + jobs >= wanted:
            return bound if bound == float("inf") else lower + (bound - lower) * (wanted - rank) / jobs
        rank, lower = rank + jobs, bound
    return 0.0


def plan(spec: IrisModelSpec, state: RolloutState, seen: Mapping[str, Seen] | None, now: float) -> Plan:
    """Return what shall be true at `now`, given what was remembered and what is seen (None: Redis cannot be read)."""
    if spec.paused:
        return _hold(spec, state, "Paused", "paused by its spec", now)
    if seen is None:
        return _hold(spec, state, "RedisUnavailable", "holding everything until Redis can be read again", now)
    drained = _drained(state, seen)
    state, events = _follow_spec(spec, _resume(state, now), now)
    decided = _advance(spec, state, seen, now)
    return _finish(spec, decided, drained, tuple(events), now)


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
    events: list[Event] = []
    if state.failed and (state.failed.version, state.failed.digest) != (wanted.version, wanted.digest):
        state = replace(state, failed=None)
    if state.target is not None and state.target != wanted:
        message = f"version {state.target.version} was given up: the spec names {wanted.version} now"
        state, events = _without_target(state), [Event("Normal", "RolloutAbandoned", message)]
    if wanted == state.stable or wanted == state.target or state.failed:
        return state, events
    if _is_taken(state, wanted):
        message = "it is in use with another digest or format; publish the new one as a new version"
        state = replace(state, failed=Failure(wanted.version, wanted.digest, "VersionReused", message))
        return state, [*events, Event("Warning", "VersionReused", f"version {wanted.version}: {message}")]
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
    return state, [*events, Event("Normal", "RolloutStarted", f"rolling out version {wanted.version}")]


def _is_taken(state: RolloutState, wanted: ModelVersion) -> bool:
    """Tell whether workers and a queue of this name belong to another artifact: versions share both by name."""
    known = (*state.retiring, *state.abandoned, *((state.stable,) if state.stable else ()))
    return any(item.version == wanted.version and item != wanted for item in known)


def _less(versions: tuple[ModelVersion, ...], gone: str) -> tuple[ModelVersion, ...]:
    return tuple(item for item in versions if item.version != gone)


def _without_target(state: RolloutState) -> RolloutState:
    """Give up the version under way."""
    target = _target(state)
    abandoned = (*_less(state.abandoned, target.version), target)
    return replace(state, target=None, phase="Idle", step=0, unready_since=None, abandoned=abandoned)


def _advance(spec: IrisModelSpec, state: RolloutState, seen: Mapping[str, Seen], now: float) -> _Decided:
    if state.target is None:
        if state.failed:
            return _Decided(state, "RolledBack", f"version {state.failed.version}: {state.failed.message}")
        return _Decided(state, "Stable", f"version {state.stable.version} serves" if state.stable else "nothing to do")
    begins_now = state.phase == "Starting" and state.started_at == now
    # what is seen at the beginning is what an earlier try of the same version has left
    there = Seen() if begins_now else seen.get(state.target.version, Seen())
    if there.rejected:
        return _fail(spec, state, "ArtifactRejected", there.rejected)
    if state.phase == "Starting":
        return _start(spec, state, there, now)
    if state.phase == "Proving":
        return _prove(spec, state, there, now)
    return _step(spec, state, there, now)


def _start(spec: IrisModelSpec, state: RolloutState, there: Seen, now: float) -> _Decided:
    if there.ready_workers:
        state = _enter(state, "Proving", now)
        if _needs_proof(spec, state):
            return _Decided(state, "ProvingGoldenSet", "the new version's workers are ready")
        return _begin_steps(spec, state, there, now)
    if now - state.phase_started_at > spec.rollout.progress_deadline_seconds:
        message = f"no worker became ready within {spec.rollout.progress_deadline_seconds} s"
        return _fail(spec, state, "ProgressDeadlineExceeded", message)
    return _Decided(state, "WaitingForWorkers", "the new version's workers are starting")


def _prove(spec: IrisModelSpec, state: RolloutState, there: Seen, now: float) -> _Decided:
    gate = spec.rollout.gate
    if not _needs_proof(spec, state):
        return _begin_steps(spec, state, there, now)
    if there.golden is None:
        state = replace(state, phase_started_at=now)  # its time runs from here
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


def _needs_proof(spec: IrisModelSpec, state: RolloutState) -> bool:
    return spec.rollout.gate.golden_set and state.target not in state.recent


def _begin_steps(spec: IrisModelSpec, state: RolloutState, there: Seen, now: float) -> _Decided:
    if takes_all_at_once(spec, state):
        return _promote(state)
    state = replace(_enter(state, "Stepping", now), step=0, baseline=there.counters)
    return _step(spec, state, there, now)


def takes_all_at_once(spec: IrisModelSpec, state: RolloutState) -> bool:
    """Return whether the version on trial goes from the gate to full weight, and so needs as many workers before."""
    return state.stable is None or spec.rollout.strategy == "Replace" or state.target in state.recent


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
        retiring = (*_less(retiring, old.version), old)
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


def _drained(state: RolloutState, seen: Mapping[str, Seen]) -> tuple[ModelVersion, ...]:
    """Return what has left the route in an earlier look and has no job since: only then is the reading after it."""
    if state.stable is None:  # nobody else could answer, and nobody was promised an answer: only golden rows wait
        return state.abandoned
    return tuple(
        item for item in (*state.retiring, *state.abandoned) if item.version in seen and not seen[item.version].backlog
    )


def _finish(
    spec: IrisModelSpec, decided: _Decided, drained: tuple[ModelVersion, ...], events: tuple[Event, ...], now: float
) -> Plan:
    """Derive routes, workers and drains from the state alone, so that a restart derives the same."""
    state = decided.state
    drained = tuple(item for item in drained if item in (*state.retiring, *state.abandoned))  # or wanted again
    closed = (*state.abandoned, *drained)
    state = replace(
        state,
        retiring=tuple(item for item in state.retiring if item not in drained),
        abandoned=tuple(item for item in state.abandoned if item not in drained),
    )
    return Plan(
        state=state,
        weights=weights(spec, state, now),
        workers=_workers(state),
        redirect={item.version: state.stable.version for item in closed} if state.stable else {},
        remove=tuple(sorted(item.version for item in drained)),
        send_golden=decided.send_golden,
        reason=decided.reason,
        message=decided.message,
        events=(*events, *decided.events),
    )


def _workers(state: RolloutState) -> tuple[ModelVersion, ...]:
    return (*(item for item in (state.stable, state.target) if item is not None), *state.retiring)


def weights(spec: IrisModelSpec, state: RolloutState, now: float) -> dict[str, int]:
    """Return the share of new jobs each version takes, in percent."""
    if state.stable is None:
        return {}
    is_away = state.unready_since is not None and now - state.unready_since > UNREADY_SECONDS
    if state.phase != "Stepping" or state.target is None or is_away:
        return {state.stable.version: 100}
    steps = spec.rollout.steps
    share = steps[min(state.step, len(steps) - 1)].weight
    return {state.stable.version: 100 - share, state.target.version: share}


def _hold(spec: IrisModelSpec, state: RolloutState, reason: str, message: str, now: float) -> Plan:
    """Leave everything as it is, and take note since when."""
    if state.target is not None and state.held_since is None:
        state = replace(state, held_since=now)
    return Plan(
        state=state,
        weights=weights(spec, state, state.held_since or now),
        workers=_workers(state),
        redirect={},
        remove=(),
        reason=reason,
        message=message,
    )


def _resume(state: RolloutState, now: float) -> RolloutState:
    """Go on as if no time had passed since everything was held."""
    if state.held_since is None:
        return state
    held = now - state.held_since
    return replace(
        state,
        phase_started_at=state.phase_started_at + held,
        unready_since=None if state.unready_since is None else state.unready_since + held,
        held_since=None,
    )
