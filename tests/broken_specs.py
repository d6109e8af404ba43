"""Specs that break a rule spanning fields: the API server and the operator refuse each, in the same words."""

from __future__ import annotations

NAMES = "a resource is cpu, memory, ephemeral-storage or named domain/name"
SIGNS = "a quantity is a number without a sign, and its unit"
EITHER = "set either replicas or autoscaling, not both"
ORDER = "minReplicas must be at most maxReplicas"
STEPS = "steps belong to strategy Canary"
ANALYSIS = "analysis belongs to strategy Canary"
GROWING = "each step must have more weight than the one before"
SIZES = "requests must be at most limits"

BROKEN: list[tuple[str, object, str, str]] = [
    # field, its value, what the operator says, and the API server where a pattern or a bound says it for it
    ("worker.resources", {"limits": {"nonsense": "1"}}, NAMES, NAMES),
    ("worker.resources", {"requests": {"hugepages-2Mi": "1Gi"}}, NAMES, NAMES),
    ("worker.resources", {"limits": {"Example.com/gpu": 1}}, NAMES, NAMES),
    ("worker.resources", {"limits": {"cpu": "lots"}}, SIGNS, "should match"),
    ("worker.resources", {"limits": {"memory": "-1Gi"}}, SIGNS, "should match"),
    ("worker.resources", {"limits": {"memory": "+1Gi"}}, SIGNS, "should match"),
    ("worker.resources", {"requests": {"cpu": -1}}, SIGNS, "should be greater than or equal to 0"),
    ("worker.resources", {"requests": {"cpu": "1e1.5"}}, SIGNS, "should match"),
    ("worker.resources", {"requests": {"cpu": 2}, "limits": {"cpu": 1}}, SIZES, SIZES),
    ("worker.resources", {"requests": {"cpu": "1001m"}, "limits": {"cpu": 1}}, SIZES, SIZES),
    ("worker.resources", {"requests": {"memory": "1Gi"}, "limits": {"memory": "1G"}}, SIZES, SIZES),
    ("worker", {"replicas": 1, "autoscaling": {}}, EITHER, EITHER),
    ("worker.autoscaling", {"minReplicas": 5, "maxReplicas": 2}, ORDER, ORDER),
    ("worker.autoscaling", {"minReplicas": 11}, ORDER, ORDER),
    ("rollout", {"strategy": "Replace", "steps": [{"weight": 5}]}, STEPS, STEPS),
    ("rollout", {"strategy": "Replace", "analysis": {}}, ANALYSIS, ANALYSIS),
    ("rollout", {"strategy": "Replace", "analysis": {"maxP95Seconds": 1}}, ANALYSIS, ANALYSIS),
    ("rollout.steps", [{"weight": 90}, {"weight": 10}], GROWING, GROWING),
    ("rollout.steps", [{"weight": 10}, {"weight": 50}, {"weight": 50}], GROWING, GROWING),
    ("rollout.steps", [{"weight": 1}, {"weight": 3}, {"weight": 2}, {"weight": 4}], GROWING, GROWING),
]

KEPT: list[tuple[str, object]] = [
    ("worker.resources", {"requests": {"cpu": "1000m"}, "limits": {"cpu": 1}}),
    ("worker.resources", {"requests": {"cpu": 0, "memory": "1G"}, "limits": {"memory": "1e9"}}),
    ("worker.resources", {"limits": {"ephemeral-storage": "1.5Gi", "example.com/gpu": 1}}),
    ("worker.autoscaling", {"minReplicas": 10}),
    ("rollout", {"strategy": "Replace", "gate": {"minAgreement": 0.5}}),
    ("rollout.steps", [{"weight": 99}]),
    ("rollout.steps", [{"weight": weight} for weight in (1, *range(81, 99), 99)]),
]
"""As close to a rule as can be."""
