"""Says how many workers every version of a model gets: what its rollout needs, and within that what its queue asks for.

Pure; the rule for one queue is in `scaling`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import ceil

from iris_operator import scaling
from iris_operator.conditions import Condition, Status
from iris_operator.phases import takes_all_at_once
from iris_operator.plan import Plan
from iris_operator.scaling import Load, Memory, Policy
from iris_operator.spec import Autoscaling, IrisModelSpec, ModelVersion

_FIXED = Condition("ScalingActive", "False", "FixedReplicas", "spec.worker.autoscaling is not set")


@dataclass(frozen=True)
class Sizes:
    """Replicas by version, the condition ScalingActive, and what the next decision must remember."""

    replicas: dict[str, int]
    condition: Condition
    memories: dict[str, Memory]


def size(
    spec: IrisModelSpec,
    plan: Plan,
    current: Mapping[str, int],
    loads: Mapping[str, Load] | None,
    memories: Mapping[str, Memory],
    now: float,
) -> Sizes:
    """Return the sizes for a plan; `current` is what Deployments have, `loads` is None when Redis cannot be read."""
    state, condition = plan.state, _FIXED
    replicas: dict[str, int] = {}
    kept: dict[str, Memory] = {}
    for version in plan.workers:
        name, asked = version.version, spec.worker.autoscaling
        if version in state.retiring:  # it keeps its workers until its last job is answered
            replicas[name] = max(1, current.get(name, 0))
        elif asked is None:
            replicas[name] = _floor(spec, plan, version, current)
        else:
            policy = _policy(asked, _floor(spec, plan, version, current))
            load = loads.get(name) if loads is not None else None
            decision = scaling.decide(policy, current.get(name, 0), load, memories.get(name, Memory()), now)
            replicas[name], kept[name] = decision.replicas, decision.memory
            if version == state.stable or state.stable is None:
                active: Status = "True" if decision.active else "False"
                condition = Condition("ScalingActive", active, decision.reason, decision.message)
    return Sizes(replicas, condition, kept)


def _floor(spec: IrisModelSpec, plan: Plan, version: ModelVersion, current: Mapping[str, int]) -> int:
    """Return the replicas a version has at least, whatever its queue says; without autoscaling exactly these."""
    state, asked = plan.state, spec.worker.autoscaling
    usual = asked.min_replicas if asked else spec.worker.most
    if version != state.target:
        return usual
    if state.stable is not None and takes_all_at_once(spec, state):
        return max(1, usual, current.get(state.stable.version, 0) if asked else 0)
    share = 0 if asked else ceil(usual * plan.weights.get(version.version, 0) / 100)
    return max(1, share)  # what is to be proven must run


def _policy(asked: Autoscaling, floor: int) -> Policy:
    return Policy(
        minimum=min(floor, asked.max_replicas),
        maximum=asked.max_replicas,
        target_per_replica=asked.target_queue_length_per_replica,
        max_wait_seconds=asked.max_queue_wait_seconds,
        window_seconds=asked.scale_down_stabilization_seconds,
    )
