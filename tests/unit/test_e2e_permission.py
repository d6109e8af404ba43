"""The end-to-end tests touch a cluster only when somebody has said which, and are not part of the default run."""

from __future__ import annotations

import tomllib
from pathlib import Path

import pytest

from cluster.choice import ForeignCluster
from e2e.permission import OWN, THEIRS, NotAsked, ground

ROOT = Path(__file__).parents[2]
SET = {"IRIS_E2E": "1", "KUBECONFIG": "some/config"}


@pytest.mark.parametrize(
    ("env", "context", "expected"),
    [
        ({"IRIS_E2E": "control-plane"}, "", OWN),
        ({"IRIS_E2E": "control-plane", "KUBECONFIG": "some/config"}, "production", OWN),
        (SET, "kind-iris", THEIRS),
        (SET, "kind-iris-e2e", THEIRS),
        (SET | {"IRIS_E2E_CONTEXT": "staging"}, "staging", THEIRS),
    ],
)
def test_a_cluster_that_was_named_is_used(env: dict[str, str], context: str, expected: str) -> None:
    assert ground(env, context) == expected


@pytest.mark.parametrize(
    ("env", "context", "refusal"),
    [
        ({}, "", NotAsked),
        ({"KUBECONFIG": "some/config"}, "kind-iris", NotAsked),
        ({"IRIS_E2E": "yes", "KUBECONFIG": "some/config"}, "kind-iris", NotAsked),
        ({"IRIS_E2E": "1"}, "", NotAsked),
        (SET, "production", ForeignCluster),
        (SET, "", ForeignCluster),
        (SET | {"IRIS_E2E_CONTEXT": "staging"}, "production", ForeignCluster),
        (SET | {"IRIS_E2E_CONTEXT": "staging"}, "kind-iris", ForeignCluster),
    ],
)
def test_any_other_is_refused_with_what_to_say(env: dict[str, str], context: str, refusal: type[Exception]) -> None:
    with pytest.raises(refusal, match="IRIS_E2E="):
        ground(env, context)


def test_the_default_run_deselects_them_and_says_so() -> None:
    # deselected tests are counted in pytest's last line; a skip would be a claim that they might have run
    options = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["pytest"]["ini_options"]
    assert options["addopts"][-2:] == ["-m", "not e2e"]
    assert "pytest.mark.e2e" in (ROOT / "tests" / "e2e" / "test_story.py").read_text()
