"""Leads a version on trial through its phases. Pure: every rule of a canary is here.

Idle → Starting (workers come up) → Proving (golden set) → Stepping (growing share, judged) → Idle, promoted.
Any failure leads back to Idle with the stable version at full weight and the failed one remembered.
`rollout` says what that means for routes, workers and queues.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from iris_operator.analysis import judge
from iris_operator.plan import Event, Seen
from iris_operator.spec import Failure, IrisModelSpec, ModelVersion, Phase, RolloutState

KEEP_RECENT = 3
"""Versions one can go back to at once."""


@dataclass(frozen=True)
class Decided:
    state: RolloutState
    reason: str
    message: str
    events: tuple[Event, ...] = field(default=())
    send_golden: bool = False


def advance(spec: IrisModelSpec, state: RolloutState, seen: Mapping[str, Seen], now: float) -> Decided:
    if state.target is None:
        if state.failed:
            return Decided(state, "RolledBack", f"version {state.failed.version}: {state.failed.message}")
        return _serve(state, seen)
    begins_now = state.phase == "Starting" and state.started_at == now
    # what is seen at the beginning is what an earlier try of the same version has left
    there = seen.get(state.target.version, Seen())
    there = Seen(refused=there.refused) if begins_now else there
    if there.refused:
        return _fail(spec, state, "DeploymentRefused", there.refused)
    if there.rejected:
        return _fail(spec, state, "ArtifactRejected", there.rejected)
    if state.phase == "Starting":
        return _start(spec, state, there, now)
    if state.phase == "Proving":
        return _prove(spec, state, there, now)
    return _step(spec, state, there, now)


def _serve(state: RolloutState, seen: Mapping[str, Seen]) -> Decided:
    if state.stable is None:
        return Decided(state, "Stable", "nothing to do")
    if refused := seen.get(state.stable.version, Seen()).refused:
        message = f"version {state.stable.version} serves with the workers it has: {refused}"
        return Decided(state, "DeploymentRefused", message)
    return Decided(state, "Stable", f"version {state.stable.version} serves")


def _start(spec: IrisModelSpec, state: RolloutState, there: Seen, now: float) -> Decided:
    if there.ready_workers:
        state = _enter(state, "Proving", now)
        if _needs_proof(spec, state):
            return Decided(state, "ProvingGoldenSet", "the new version's workers are ready")
        return _begin_steps(spec, state, there, now)
    if now - state.phase_started_at > spec.rollout.progress_deadline_seconds:
        message = f"no worker became ready within {spec.rollout.progress_deadline_seconds} s"
        return _fail(spec, state, "ProgressDeadlineExceeded", message)
    return Decided(state, "WaitingForWorkers", "the new version's workers are starting")


def _prove(spec: IrisModelSpec, state: RolloutState, there: Seen, now: float) -> Decided:
    gate = spec.rollout.gate
    if not _needs_proof(spec, state):
        return _begin_steps(spec, state, there, now)
    if there.golden is None:
        state = replace(state, phase_started_at=now)  # its time runs from here
        return Decided(state, "ProvingGoldenSet", "sending the golden set through the new queue", send_golden=True)
    if not there.golden.answered:
        if now - state.phase_started_at > spec.rollout.progress_deadline_seconds:
            return _fail(spec, state, "ProgressDeadlineExceeded", "the golden set was not answered in time")
        return Decided(state, "ProvingGoldenSet", "waiting for the golden set's answers")
    if there.golden.error:
        return _fail(spec, state, "GoldenSetFailed", there.golden.error)
    if there.golden.agreement < gate.min_agreement:
        message = f"{there.golden.agreement:.1%} of the golden set agree; {gate.min_agreement:.1%} must"
        return _fail(spec, state, "GoldenSetDisagrees", message)
    return _begin_steps(spec, state, there, now)


def _needs_proof(spec: IrisModelSpec, state: RolloutState) -> bool:
    return spec.rollout.gate.golden_set and state.target not in state.recent


def _begin_steps(spec: IrisModelSpec, state: RolloutState, there: Seen, now: float) -> Decided:
    if takes_all_at_once(spec, state):
        return _promote(state)
    state = replace(_enter(state, "Stepping", now), step=0, baseline=there.counters)
    return _step(spec, state, there, now)


def takes_all_at_once(spec: IrisModelSpec, state: RolloutState) -> bool:
    """Return whether the version on trial goes from the gate to full weight, and so needs as many workers before."""
    return state.stable is None or spec.rollout.strategy == "Replace" or state.target in state.recent


def _step(spec: IrisModelSpec, state: RolloutState, there: Seen, now: float) -> Decided:
    rollout = spec.rollout
    state = _with_absence(state, there, now)
    # all absences together: what dies of its jobs is up again for a moment each time it is started
    if state.unready_since is not None and (
        state.unready_seconds + absent_seconds(state, now) > rollout.progress_deadline_seconds
    ):
        message = f"no worker was ready for {rollout.progress_deadline_seconds} s of the step"
        return _fail(spec, state, "WorkersLost", message)
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
    if not there.ready_workers:
        return Decided(state, "WaitingForWorkers", f"{where}: none of its workers is ready")
    if verdict == "Pass":
        if index + 1 == len(rollout.steps):
            return _promote(state)
        state = replace(_enter(state, "Stepping", now), step=index + 1, baseline=there.counters)
        message = f"version {_target(state).version} takes {rollout.steps[index + 1].weight}% after {why}"
        return Decided(state, "Stepping", message, (Event("Normal", "StepPassed", message),))
    return Decided(state, "Inconclusive" if verdict == "Inconclusive" else "Stepping", f"{where}: {why}")


def _with_absence(state: RolloutState, there: Seen, now: float) -> RolloutState:
    """Take note since when no worker is ready, or, when one is again, of how long that was."""
    if not there.ready_workers:
        return state if state.unready_since is not None else replace(state, unready_since=now)
    return replace(state, unready_since=None, unready_seconds=state.unready_seconds + absent_seconds(state, now))


def absent_seconds(state: RolloutState, now: float) -> float:
    """Return for how long now the version on trial has had no ready worker."""
    return 0.0 if state.unready_since is None else now - state.unready_since


def _promote(state: RolloutState) -> Decided:
    target, old = _target(state), state.stable
    recent, retiring = state.recent, state.retiring
    if old is not None and old.version != target.version:
        recent = tuple(item for item in (old, *recent) if item != target)[:KEEP_RECENT]
        retiring = (*less(retiring, old.version), old)
    state = _without_trial(replace(state, stable=target, recent=recent, retiring=retiring))
    message = f"version {target.version} serves"
    return Decided(state, "Stable", message, (Event("Normal", "Promoted", message),))


def _fail(spec: IrisModelSpec, state: RolloutState, reason: str, message: str) -> Decided:
    target = _target(state)
    if not spec.rollout.auto_rollback:
        message = f"version {target.version} fails: {message}; rollout.autoRollback is off, so it stays as it is"
        return Decided(state, reason, message)
    failed = Failure(target.version, target.digest, reason, message, spec.generation)
    state = replace(without_target(state), failed=failed)
    event = Event("Warning", "RolledBack", f"version {target.version} was given up: {message}")
    return Decided(state, "RolledBack", f"version {target.version}: {message}", (event,))


def _enter(state: RolloutState, phase: Phase, now: float) -> RolloutState:
    return replace(state, phase=phase, phase_started_at=now, unready_since=None, unready_seconds=0.0)


def _target(state: RolloutState) -> ModelVersion:
    assert state.target is not None
    return state.target


def without_target(state: RolloutState) -> RolloutState:
    """Give up the version under way."""
    target = _target(state)
    abandoned = (*less(state.abandoned, target.version), target)
    return _without_trial(replace(state, abandoned=abandoned))


def _without_trial(state: RolloutState) -> RolloutState:
    return replace(state, target=None, phase="Idle", step=0, unready_since=None, unready_seconds=0.0)


def less(versions: tuple[ModelVersion, ...], gone: str) -> tuple[ModelVersion, ...]:
    return tuple(item for item in versions if item.version != gone)
