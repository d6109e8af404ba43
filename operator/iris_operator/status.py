"""Renders the status of an IrisModel from what was decided and seen. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from iris_operator import conditions
from iris_operator.conditions import Condition
from iris_operator.manifests import model_selector
from iris_operator.plan import Event, Plan
from iris_operator.spec import IrisModelSpec

FIGURES_EVERY_SECONDS = 30.0
"""What moves all the time, figures and wordings, is written this often, or along with something else."""


@dataclass(frozen=True)
class Workers:
    """Replicas of all versions of a model together, and whether the stable version has as many as it needs."""

    replicas: int
    ready: int
    enough: bool


def render(
    spec: IrisModelSpec,
    plan: Plan,
    workers: Workers,
    scaling: Condition,
    backlog: int,
    old: Mapping[str, Any],
    now: float,
) -> dict[str, Any]:
    """Return the whole status; equal to `old` when nothing has changed that is worth a write."""
    state = plan.state
    stable = state.stable
    gave_up = state.failed is not None or plan.reason in _STANDS_STILL
    statements = (
        *conditions.of_rollout(
            serving=stable is not None,
            ready=workers.enough,
            seen=plan.reason != "RedisUnavailable",
            under_way=state.target is not None,
            gave_up=gave_up,
            paused=spec.paused,
            reason=_reason(plan, workers),
            message=plan.message,
        ),
        scaling,
    )
    status: dict[str, Any] = {
        "observedGeneration": spec.generation,
        "stable": {"version": stable.version, "digest": stable.digest} if stable else None,
        "target": _target(spec, plan),
        "rollout": state.to_status(),
        "workers": {
            "replicas": workers.replicas,
            "readyReplicas": workers.ready,
            "summary": f"{workers.ready}/{workers.replicas}",
            "selector": model_selector(spec.name),
        },
        "queue": _queue(backlog, now),
        "conditions": conditions.merge(old.get("conditions", ()), statements, spec.generation, now),
    }
    if _without_figures(status) == _without_figures(old) and not _figures_are_due(status, old, now):
        return dict(old)
    return status


def patch(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, Any]:
    """Return the JSON merge patch that makes `old` into `new`; {} when they are the same. Null is absent."""
    changed: dict[str, Any] = {name: None for name, value in old.items() if value is not None and name not in new}
    for name, value in new.items():
        before = old.get(name)
        if isinstance(value, Mapping) and isinstance(before, Mapping):
            if inner := patch(before, value):
                changed[name] = inner
        elif value != before:
            changed[name] = _without_nulls(value)
    return changed


_STANDS_STILL = frozenset(
    {"AnalysisFailed", "ArtifactRejected", "DeploymentRefused", "GoldenSetDisagrees", "GoldenSetFailed",
     "ProgressDeadlineExceeded", "WorkersLost", "InvalidSpec"}
)  # fmt: skip


def newly_stalled(plan: Plan, old: Mapping[str, Any]) -> tuple[Event, ...]:
    """Return what to tell when a model begins to stand still without a rollback, which is told of by itself."""
    before = next((item.get("reason") for item in old.get("conditions", ()) if item.get("type") == "Stalled"), "")
    if plan.reason not in _STANDS_STILL or plan.reason == before:
        return ()
    reason = "DeploymentRefused" if plan.reason == "DeploymentRefused" else "RolloutFailed"
    return (Event("Warning", reason, plan.message),)


def _reason(plan: Plan, workers: Workers) -> str:
    if plan.reason == "Stable":
        return "Ready" if workers.enough else "WaitingForWorkers"
    return plan.reason


def _target(spec: IrisModelSpec, plan: Plan) -> dict[str, Any] | None:
    state = plan.state
    if state.target is None:
        return None
    steps = len(spec.rollout.steps)
    step = f"{min(state.step, steps - 1) + 1}/{steps}" if state.phase == "Stepping" else state.phase
    return {
        "version": state.target.version,
        "digest": state.target.digest,
        "weight": plan.weights.get(state.target.version, 0),
        "step": step,
    }


def _queue(backlog: int, now: float) -> dict[str, Any]:
    return {"backlog": backlog, "observedAt": datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")}


def _without_figures(status: Mapping[str, Any]) -> Any:
    """What of a status is worth a write at once: not the queue's length, and no wording of a condition."""
    rest = {name: value for name, value in status.items() if name not in ("queue", "conditions")}
    stated = [(item.get("type"), item.get("status"), item.get("reason")) for item in status.get("conditions", ())]
    return _without_nulls(rest), stated


def _figures_are_due(status: Mapping[str, Any], old: Mapping[str, Any], now: float) -> bool:
    before = old.get("queue") or {}
    same_queue = before.get("backlog") == status["queue"]["backlog"]
    if same_queue and status["conditions"] == list(old.get("conditions", ())):
        return False
    if "observedAt" not in before:
        return True
    written = datetime.strptime(before["observedAt"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
    return now - written >= FIGURES_EVERY_SECONDS


def _without_nulls(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {name: _without_nulls(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [_without_nulls(item) for item in value]
    return value
