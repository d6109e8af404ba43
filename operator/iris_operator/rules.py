"""The rules that span fields or that a type cannot hold, in the words of the CRD. Pure.

The API server has applied them already, but not to an object older than a rule: that one cannot be honoured either.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from itertools import pairwise
from typing import Any

from iris_operator.quantity import amount

RESOURCES = ("cpu", "memory", "ephemeral-storage")
QUALIFIED = r"^[a-z0-9]([-a-z0-9.]*[a-z0-9])?/[A-Za-z0-9]([-A-Za-z0-9_.]*[A-Za-z0-9])?$"
QUANTITY = r"^([0-9]+\.?[0-9]*|\.[0-9]+)([eE][+-]?[0-9]{1,3}|[numkMGTPE]|[KMGTPE]i)?$"
"""What `quantity` reads, without a sign."""


def broken(spec: Mapping[str, Any]) -> Iterator[str]:
    """Yield each rule that a spec, as people write it, does not keep."""
    worker, rollout = spec.get("worker", {}), spec.get("rollout", {})
    if "replicas" in worker and "autoscaling" in worker:
        yield "set either replicas or autoscaling, not both"
    sizes = worker.get("autoscaling", {})
    if sizes.get("minReplicas", 1) > sizes.get("maxReplicas", 10):
        yield "minReplicas must be at most maxReplicas"
    yield from _of_resources(worker.get("resources", {}))
    yield from _of_rollout(rollout)


def _of_rollout(rollout: Mapping[str, Any]) -> Iterator[str]:
    if rollout.get("strategy", "Canary") != "Canary":
        if "steps" in rollout:
            yield "steps belong to strategy Canary"
        if "analysis" in rollout:
            yield "analysis belongs to strategy Canary"
    weights = [step["weight"] for step in rollout.get("steps", ())]
    if any(later <= earlier for earlier, later in pairwise(weights)):
        yield "each step must have more weight than the one before"


def _of_resources(resources: Mapping[str, Any]) -> Iterator[str]:
    requests, limits = resources.get("requests", {}), resources.get("limits", {})
    if not all(name in RESOURCES or re.fullmatch(QUALIFIED, name) for name in (*requests, *limits)):
        yield "a resource is cpu, memory, ephemeral-storage or named domain/name"
    if not all(re.fullmatch(QUANTITY, str(value)) for value in (*requests.values(), *limits.values())):
        yield "a quantity is a number without a sign, and its unit"
    elif any(_less(limits[name], requests[name]) for name in requests.keys() & limits.keys()):
        yield "requests must be at most limits"


def _less(one: Any, other: Any) -> bool:
    left, right = amount(one), amount(other)
    return left is not None and right is not None and left < right
