"""Renders the status of an IrisModel from what was decided and seen. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from iris_operator import conditions
from iris_operator.conditions import Condition
from iris_operator.manifests import model_selector
from iris_operator.rollout import Plan
from iris_operator.spec import IrisModelSpec

BACKLOG_EVERY_SECONDS = 30.0
"""A figure that moves all the time is written this often, or along with something else."""


@dataclass(frozen=True)
class Workers:
    """Replicas of all versions of a model together."""

    replicas: int
    ready: int


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
            ready=workers.ready >= workers.replicas,
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
        "queue": old.get("queue") or _queue(backlog, now),
        "conditions": conditions.merge(old.get("conditions", ()), statements, spec.generation, now),
    }
    if without_nulls(status) != without_nulls(old) or _backlog_is_due(old, backlog, now):
        status["queue"] = _queue(backlog, now)
    return status


_STANDS_STILL = frozenset(
    {"AnalysisFailed", "ArtifactRejected", "GoldenSetDisagrees", "GoldenSetFailed", "ProgressDeadlineExceeded",
     "WorkersLost", "InvalidSpec"}
)  # fmt: skip


def _reason(plan: Plan, workers: Workers) -> str:
    if plan.reason == "Stable":
        return "Ready" if workers.ready >= workers.replicas else "WaitingForWorkers"
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


def _backlog_is_due(old: Mapping[str, Any], backlog: int, now: float) -> bool:
    queue = old.get("queue") or {}
    if queue.get("backlog") == backlog or "observedAt" not in queue:
        return False
    written = datetime.strptime(queue["observedAt"], "%Y-%m-%dT%H:%M:%SZ").replace(tzinfo=UTC).timestamp()
    return now - written >= BACKLOG_EVERY_SECONDS


def without_nulls(value: Any) -> Any:
    """Return a status as the API server keeps it after a merge patch: null is absent."""
    if isinstance(value, Mapping):
        return {name: without_nulls(item) for name, item in value.items() if item is not None}
    if isinstance(value, list):
        return [without_nulls(item) for item in value]
    return value
