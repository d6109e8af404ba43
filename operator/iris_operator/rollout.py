"""Decides what shall be true of a model: versions, routes, workers and queues. Pure: no I/O, clock or Kubernetes.

`phases` leads a version on trial; here is what begins, holds and ends that, and what follows from it.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from iris_operator.phases import Decided, absent_seconds, advance, less, without_target
from iris_operator.plan import Event, Plan, Seen
from iris_operator.spec import Failure, IrisModelSpec, ModelVersion, RolloutState

UNREADY_SECONDS = 5.0
"""A version on trial without a ready worker for so long leaves its jobs to the stable one until it has one again."""


def plan(spec: IrisModelSpec, state: RolloutState, seen: Mapping[str, Seen] | None, now: float) -> Plan:
    """Return what shall be true at `now`, given what was remembered and what is seen (None: Redis cannot be read)."""
    if spec.paused:
        return _hold(spec, state, "Paused", "paused by its spec", now)
    if seen is None:
        return _hold(spec, state, "RedisUnavailable", "holding everything until Redis can be read again", now)
    drained = _drained(state, seen)
    state, events = _follow_spec(spec, _resume(state, now), now)
    decided = advance(spec, state, seen, now)
    return _finish(spec, decided, drained, tuple(events), now)


def _follow_spec(spec: IrisModelSpec, state: RolloutState, now: float) -> tuple[RolloutState, list[Event]]:
    """Begin, change or abandon a rollout when the spec names another version than is under way."""
    wanted = spec.model
    events: list[Event] = []
    if state.failed and not state.failed.stands(wanted, spec.generation):
        state = replace(state, failed=None)
    if state.target is not None and state.target != wanted:
        message = f"version {state.target.version} was given up: the spec names {wanted.version} now"
        state, events = without_target(state), [Event("Normal", "RolloutAbandoned", message)]
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
        retiring=less(state.retiring, wanted.version),
        abandoned=less(state.abandoned, wanted.version),
    )
    return state, [*events, Event("Normal", "RolloutStarted", f"rolling out version {wanted.version}")]


def _is_taken(state: RolloutState, wanted: ModelVersion) -> bool:
    """Tell whether workers and a queue of this name belong to another artifact: versions share both by name."""
    known = (*state.retiring, *state.abandoned, *((state.stable,) if state.stable else ()))
    return any(item.version == wanted.version and item != wanted for item in known)


def _drained(state: RolloutState, seen: Mapping[str, Seen]) -> tuple[ModelVersion, ...]:
    """Return what has left the route in an earlier look and has no job since: only then is the reading after it."""
    if state.stable is None:  # nobody else could answer, and nobody was promised an answer: only golden rows wait
        return state.abandoned
    return tuple(
        item for item in (*state.retiring, *state.abandoned) if item.version in seen and not seen[item.version].backlog
    )


def _finish(
    spec: IrisModelSpec, decided: Decided, drained: tuple[ModelVersion, ...], events: tuple[Event, ...], now: float
) -> Plan:
    """Derive routes, workers and drains from the state alone, so that a restart derives the same."""
    state = decided.state
    drained = tuple(item for item in drained if item in (*state.retiring, *state.abandoned))  # or wanted again
    away = (state.target,) if state.target is not None and _is_away(state, now) else ()
    closed = (*state.abandoned, *drained, *away)
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


def _is_away(state: RolloutState, now: float) -> bool:
    return state.phase == "Stepping" and absent_seconds(state, now) > UNREADY_SECONDS


def weights(spec: IrisModelSpec, state: RolloutState, now: float) -> dict[str, int]:
    """Return the share of new jobs each version takes, in percent."""
    if state.stable is None:
        return {}
    if state.phase != "Stepping" or state.target is None or _is_away(state, now):
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
