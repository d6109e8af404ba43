"""What an installation tells its user to type. That it works is tried in tests/cluster, on a real API server."""

from __future__ import annotations

from typing import Any

import pytest

from chart.combinations import COMBINATIONS
from chart.rendering import Chart, commands

WAIT = ["kubectl rollout", "kubectl wait", "helm test"]
SEND = ["kubectl port-forward", "curl getpred", "curl result"]
CRDS = ["helm show"]


def told(chart: Chart, name: str) -> list[str]:
    """Of each command the program, and what it is to do."""
    found = []
    for command in commands(chart.notes(COMBINATIONS[name])):
        program, *words = [word for word in command.split() if word not in ("-n", "flowers")]
        what = "result" if "/result/" in command else "getpred" if "/getpred?" in command else words[0]
        found.append(f"{program} {what}")
    return found


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("defaults", [*WAIT, *SEND, "kubectl get", "kubectl scale", *CRDS]),
        ("workers that follow the queue", [*WAIT, *SEND, "kubectl get", *CRDS]),
        ("fixed workers", ["kubectl rollout", "kubectl wait", "kubectl get", *CRDS]),
        ("without operator, in detail", ["kubectl rollout", "helm test", *SEND]),
        ("without a model", ["kubectl rollout", "kubectl get", *CRDS]),
        ("another model", ["kubectl rollout", "kubectl wait", "kubectl get", "kubectl scale", *CRDS]),
        ("without operator", ["kubectl rollout", "helm test", *SEND]),
        ("without operator and model", ["kubectl rollout"]),
        ("callers with tokens", ["kubectl rollout", "kubectl wait", "kubectl get", "kubectl scale", *CRDS]),
    ],
)
def test_only_what_works_with_these_values_is_told(chart: Chart, name: str, expected: list[str]) -> None:
    assert told(chart, name) == expected


def test_where_callers_need_a_key_the_commands_send_one(chart: Chart) -> None:
    notes = chart.notes(COMBINATIONS["callers with keys"])
    sent = [command for command in commands(notes) if command.startswith("curl")]
    assert len(sent) == 2
    assert all(command.startswith('curl -H "Authorization: Bearer $IRIS_API_KEY" ') for command in sent)
    assert 'under "test" in the Secret my-keys' in notes
    assert "IRIS_API_KEY" not in chart.notes({})


@pytest.mark.parametrize(
    ("values", "warned"),
    [
        ({}, ""),
        (COMBINATIONS["a queue without a volume"], "valkey.persistence.enabled=false"),
        ({"api": {"service": {"type": "NodePort"}}}, "asks nobody who they are"),
        (COMBINATIONS["an API in the open"], "asks nobody who they are"),
    ],
)
def test_what_is_unsafe_is_said(chart: Chart, values: dict[str, Any], warned: str) -> None:
    notes = chart.notes(values)
    assert ("WARNING" in notes) is bool(warned)
    assert warned in notes
