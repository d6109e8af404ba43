"""The CRD on a real API server: what it refuses, what it fills in, and what the operator's Role lets it do."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from broken_specs import BROKEN, KEPT
from cluster.helm import Release
from cluster.kube import Kube
from cluster.operated import ACCOUNT, AROUND_THE_OPERATOR
from memory_cluster import DIGESTS, iris_model


@pytest.fixture(scope="module")
def installed(kube_programs: Path, kube: Kube) -> Iterator[str]:
    """A namespace with everything but the operator's pod; each test has a model of its own."""
    namespace = kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": {"generateName": "iris-"}})
    Release(kube_programs / "helm", kube, namespace).install(AROUND_THE_OPERATOR)
    yield namespace
    kube("delete", "namespace", namespace, "--wait=false")


def model(name: str = "iris", version: str = "1", **spec: Any) -> dict[str, Any]:
    found = iris_model(version, name, **spec)
    del found["metadata"]["namespace"]
    return found


def changed(path: str, value: object) -> dict[str, Any]:
    """An IrisModel with one field of its spec set; None removes it."""
    found = model()
    *parents, last = path.split(".")
    place = found["spec"]
    for name in parents:
        place = place.setdefault(name, {})
    if value is None:
        del place[last]
    else:
        place[last] = value
    return found


REFUSED = [
    ("model.uri", "models://iris/2", "must be models://<metadata.name>/<spec.model.version>"),
    ("model.uri", "https://elsewhere/iris/1", "should match"),
    ("model.digest", "sha256:short", "should match"),
    ("model.digest", None, "Required value"),
    ("model.format", "pickle", "Unsupported value"),
    ("model.version", "../1", "should match"),
    ("worker.replicas", -1, "should be greater than or equal to 0"),
    ("worker.batchSize", 4096, "should be less than or equal to 2048"),
    ("worker.image", "evil:1", 'unknown field "spec.worker.image"'),
    ("rollout.steps", [], "should have at least 1 items"),
    ("rollout.steps", [{"weight": 100}], "should be less than or equal to 99"),
    ("rollout.gate", {"minAgreement": 1.5}, "should be less than or equal to 1"),
    ("rollout.analysis", {"maxP99Seconds": 1}, 'unknown field "spec.rollout.analysis.maxP99Seconds"'),
    *((path, value, why) for path, value, _, why in BROKEN),
]


@pytest.mark.parametrize(("path", "value", "why"), REFUSED, ids=lambda item: str(item)[:40])
def test_what_cannot_be_honoured_is_refused_with_a_sentence(
    kube: Kube, installed: str, path: str, value: object, why: str
) -> None:
    said = kube.refused(
        "create", "--dry-run=server", "-n", installed, "-f", "-", stdin=json.dumps(changed(path, value))
    )
    assert why in said


def test_what_just_keeps_the_rules_is_taken(kube: Kube, installed: str) -> None:
    for path, value in KEPT:
        kube("create", "--dry-run=server", "-n", installed, "-f", "-", stdin=json.dumps(changed(path, value)))


@pytest.mark.parametrize("name", ["a" * 41, "1.0"])
def test_a_name_that_cannot_be_part_of_others_is_refused(kube: Kube, installed: str, name: str) -> None:
    kube.refused("create", "--dry-run=server", "-n", installed, "-f", "-", stdin=json.dumps(model(name)))


def test_a_published_version_stays_what_it_is(kube: Kube, installed: str) -> None:
    kube.create(model("immutable"), "-n", installed)
    for field, value in (("digest", DIGESTS["2"]), ("format", "skops")):
        patch = json.dumps({"spec": {"model": {field: value}}})
        said = kube.refused("patch", "im/immutable", "-n", installed, "--type=merge", "-p", patch)
        assert "a published version is immutable" in said
    other = {"version": "2", "uri": "models://immutable/2", "digest": DIGESTS["2"], "format": "skops"}
    kube("patch", "im/immutable", "-n", installed, "--type=merge", "-p", json.dumps({"spec": {"model": other}}))


def test_defaults_are_filled_in_down_to_the_last_field(kube: Kube, installed: str) -> None:
    kube.create(model("defaulted", worker={"autoscaling": {}}, rollout={"steps": [{"weight": 5}]}), "-n", installed)
    spec = kube.get("im/defaulted", "-n", installed)["spec"]
    assert spec["worker"]["autoscaling"] == {
        "minReplicas": 1,
        "maxReplicas": 10,
        "targetQueueLengthPerReplica": 20,
        "scaleDownStabilizationSeconds": 60,
    }
    assert spec["rollout"]["steps"] == [{"weight": 5, "pauseSeconds": 60}]
    assert "analysis" not in spec["rollout"], "a strategy that does not honour it would have to refuse it"
    kube.create(model("judged", rollout={"analysis": {}}), "-n", installed)
    assert kube.get("im/judged", "-n", installed)["spec"]["rollout"]["analysis"] == {
        "maxFailureRatio": 0.02,
        "maxP95Seconds": 0.5,
        "minimumJobs": 50,
        "maxWaitSeconds": 900,
        "onInconclusive": "Hold",
    }


def test_the_role_holds_what_the_operator_does_and_nothing_more(kube: Kube, installed: str) -> None:
    kube.create(model("watched"), "-n", installed)
    operator = kube.as_service_account(installed, ACCOUNT)
    operator("get", "im,deployments")
    for forbidden in (
        ("patch", "im/watched", "--type=merge", "-p", '{"spec": {"paused": true}}'),
        ("delete", "im/watched"),
        ("get", "secrets"),
        ("get", "configmaps"),
        ("get", "pods/any"),
        ("delete", "pod/any"),
        ("get", "im", "-n", "default"),
        ("get", "nodes"),
    ):
        assert "orbidden" in operator.refused(*forbidden), forbidden
