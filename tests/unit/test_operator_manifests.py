"""What the operator puts into the cluster, field by field."""

from __future__ import annotations

import json
import re
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iris_operator.drift import covers
from iris_operator.manifests import (
    METRICS_PORT,
    Pods,
    deployment_name,
    labels,
    max_rss_bytes,
    model_selector,
    worker_deployment,
)
from iris_operator.quantity import amount
from iris_operator.spec import IrisModelSpec, ModelVersion, Worker
from iris_service.config import Settings

VERSION = ModelVersion("1", "sha256:" + "a" * 64)
SPEC = IrisModelSpec(name="iris", namespace="ns", generation=1, uid="u-1", model=VERSION)
PODS = Pods(image="iris-worker:1", redis_secret="iris-redis")
_VERSIONS = st.from_regex(r"\A[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?\Z")
_MODELS = st.from_regex(r"\A[a-z0-9]([-a-z0-9]{0,38}[a-z0-9])?\Z")


def rendered(spec: IrisModelSpec = SPEC, replicas: int = 2, pods: Pods = PODS) -> dict[str, Any]:
    return worker_deployment(spec, VERSION, replicas, pods)


def container(manifest: dict[str, Any]) -> dict[str, Any]:
    (found,) = manifest["spec"]["template"]["spec"]["containers"]
    return dict(found)


def test_a_pod_may_do_nothing_that_the_restricted_standard_forbids() -> None:
    pod = rendered()["spec"]["template"]["spec"]
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container(rendered())["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert not {"hostNetwork", "hostPID", "hostIPC"} & set(pod)
    assert pod["automountServiceAccountToken"] is False
    assert {next(iter(set(volume) - {"name"})) for volume in pod["volumes"]} <= {"emptyDir", "persistentVolumeClaim"}


def test_no_secret_is_written_into_the_environment() -> None:
    env = {item["name"]: item for item in container(rendered())["env"]}
    assert env["IRIS_REDIS_URL"] == {
        "name": "IRIS_REDIS_URL",
        "valueFrom": {"secretKeyRef": {"name": "iris-redis", "key": "worker-url"}},
    }
    assert [name for name, item in env.items() if "valueFrom" in item] == ["IRIS_REDIS_URL"]
    assert "redis://" not in json.dumps(rendered())


def test_a_worker_takes_its_environment_as_it_is_given() -> None:
    env = {item["name"]: item.get("value", "redis://elsewhere") for item in container(rendered())["env"]}
    settings = Settings.from_env(env)
    assert (settings.model.name, settings.model.version, settings.model.digest) == ("iris", "1", VERSION.digest)
    assert settings.model.artifact_format == VERSION.format
    assert (settings.jobs.timeout_seconds, settings.worker.batch_size) == (60, 256)
    assert settings.metrics.port == container(rendered())["ports"][0]["containerPort"] == METRICS_PORT


def test_a_worker_compares_and_traces_as_the_operator_was_told() -> None:
    pods = replace(PODS, passed_on=(("IRIS_DRIFT_MIN_ROWS", "200"), ("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318")))
    env = {item["name"]: item.get("value", "redis://r") for item in container(rendered(pods=pods))["env"]}
    settings = Settings.from_env(env)
    assert (settings.drift.minimum_rows, settings.tracing.endpoint) == (200, "http://c:4318")


def test_the_deployment_belongs_to_its_model_and_selects_only_its_own_pods() -> None:
    manifest = rendered()
    (owner,) = manifest["metadata"]["ownerReferences"]
    assert (owner["kind"], owner["uid"], owner["controller"]) == ("IrisModel", "u-1", True)
    selector = manifest["spec"]["selector"]["matchLabels"]
    assert selector == manifest["spec"]["template"]["metadata"]["labels"] == labels("iris", "1")
    assert dict(part.split("=") for part in model_selector("iris").split(",")).items() <= selector.items()


def test_what_the_chart_gives_every_pod_is_there_only_when_given() -> None:
    plain = rendered()["spec"]["template"]["spec"]
    assert not {"priorityClassName", "imagePullSecrets"} & set(plain)
    pods = replace(PODS, priority_class="high", image_pull_secrets=("a", "b"), models_claim="models")
    full = rendered(pods=pods)["spec"]["template"]["spec"]
    assert (full["priorityClassName"], full["imagePullSecrets"]) == ("high", [{"name": "a"}, {"name": "b"}])
    mount = next(mount for mount in full["containers"][0]["volumeMounts"] if mount["name"] == "models")
    assert (mount["mountPath"], mount["readOnly"]) == ("/app/models", True)


def test_a_ca_reaches_the_worker_and_its_settings() -> None:
    full = rendered(pods=replace(PODS, redis_ca_secret="ca"))["spec"]["template"]["spec"]
    (volume,) = [volume for volume in full["volumes"] if volume["name"] == "redis-ca"]
    assert volume["secret"] == {"secretName": "ca", "items": [{"key": "ca.crt", "path": "ca.crt"}]}
    (mount,) = [mount for mount in full["containers"][0]["volumeMounts"] if mount["name"] == "redis-ca"]
    (path,) = [item["value"] for item in full["containers"][0]["env"] if item["name"] == "IRIS_REDIS_CA_FILE"]
    assert path == f"{mount['mountPath']}/ca.crt"


def test_resources_of_the_chart_are_for_models_that_ask_for_none() -> None:
    pods = replace(PODS, resources={"limits": {"memory": "1Gi"}})
    assert container(rendered(pods=pods))["resources"] == pods.resources
    asking = replace(SPEC, worker=Worker(resources={"limits": {"cpu": "1"}}))
    assert container(rendered(asking, pods=pods))["resources"] == {"limits": {"cpu": "1"}}


@pytest.mark.parametrize(
    ("limit", "mebibytes"),
    [("512Mi", 384), ("1Gi", 768), ("1.5Gi", 1152), ("16Gi", 12288), (1 << 30, 768), ("0.5Gi", 384), (None, 0)],
)
def test_a_worker_ends_itself_before_the_kernel_does(limit: str | int | None, mebibytes: int) -> None:
    """Whoever sets the limit: the IrisModel, or the chart for those that set none."""
    resources = {"limits": {"memory": limit}} if limit else {"requests": {"memory": "1Gi"}}
    asking = replace(SPEC, worker=Worker(resources=resources))
    for manifest in (rendered(asking), rendered(pods=replace(PODS, resources=resources))):
        env = {item["name"]: item.get("value", "redis://r") for item in container(manifest)["env"]}
        assert Settings.from_env(env).worker.max_rss_bytes == mebibytes << 20


@pytest.mark.parametrize(
    ("resources", "expected"),
    [
        ({}, 0),
        ({"limits": None}, 0),
        ({"limits": {"cpu": "1"}}, 0),
        ({"limits": {"memory": "0"}}, 0),
        ({"limits": {"memory": "-1Gi"}}, 0),
        ({"limits": {"memory": "lots"}}, 0),
        ({"limits": {"memory": "1"}}, 1),
        ({"limits": {"memory": "100m"}}, 1),
        ({"limits": {"memory": "1E"}}, 1 << 50),
        ({"limits": {"memory": "1e999"}}, 1 << 50),
    ],
)
def test_no_limit_is_no_end_and_any_limit_is_one_that_the_worker_understands(
    resources: dict[str, Any], expected: int
) -> None:
    assert max_rss_bytes(resources) == expected
    assert Settings.from_env({"IRIS_WORKER_MAX_RSS_BYTES": str(expected)}).worker.max_rss_bytes == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1", 1), (1, 1), (0.5, 0.5), ("1.5", 1.5), ("1.", 1), (".5", 0.5), ("+2", 2), ("-2", -2),
        ("1k", 1000), ("1M", 10**6), ("1.5G", 15 * 10**8), ("1T", 10**12), ("1P", 10**15), ("1E", 10**18),
        ("1Ki", 1024), ("512Mi", 512 << 20), ("1.5Gi", 3 << 29), ("1Ti", 1 << 40), ("1Pi", 1 << 50), ("1Ei", 1 << 60),
        ("1e3", 1000), ("1E3", 1000), ("12E+2", 1200), ("12e-1", 1.2), ("1500m", 1.5), ("1u", 1e-6), ("1n", 1e-9),
        ("", None), ("x", None), ("Mi", None), ("1K", None), ("1ki", None), ("1e3Mi", None), ("1 Gi", None),
        ("1e", None), ("1MB", None), ("1_0", None), ("NaN", None), ("Infinity", None), ("1\n", None), (True, None),
        (None, None),
    ],
)  # fmt: skip
def test_a_quantity_is_read_as_kubernetes_reads_it(text: Any, expected: float | None) -> None:
    found = amount(text)
    assert found == expected if expected is None or isinstance(expected, int) else float(found or 0) == expected


def test_workers_are_put_where_the_chart_says_and_apart_from_each_other() -> None:
    pod = rendered(pods=replace(PODS, placement={"nodeSelector": {"disk": "fast"}}))["spec"]["template"]["spec"]
    assert pod["nodeSelector"] == {"disk": "fast"}
    spread = {item["topologyKey"]: item for item in pod["topologySpreadConstraints"]}
    assert spread.keys() == {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}
    assert {item["whenUnsatisfiable"] for item in spread.values()} == {"ScheduleAnyway"}, "one node is enough"
    assert all(item["labelSelector"]["matchLabels"] == labels("iris", "1") for item in spread.values())


def test_a_job_in_hand_can_end_before_its_worker_is_killed() -> None:
    spec = replace(SPEC, worker=Worker(job_timeout_seconds=100))
    assert rendered(spec)["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] > 100


@given(_MODELS, _VERSIONS, _VERSIONS)
def test_names_are_valid_short_and_differ_for_any_two_versions(model: str, one: str, other: str) -> None:
    name = deployment_name(model, one)
    assert re.fullmatch(r"[a-z0-9]([-a-z0-9]*[a-z0-9])?", name)
    assert len(name) <= 46, "with what ReplicaSet (11) and pod (6) append, a host name of at most 63"
    assert (name == deployment_name(model, other)) == (one == other)


def test_anything_that_is_no_longer_rendered_is_noticed() -> None:
    limited = replace(SPEC, worker=Worker(resources={"limits": {"cpu": "1"}}))
    assert covers(rendered(limited), rendered(limited))
    assert not covers(rendered(limited), rendered(SPEC))
    assert not covers(rendered(pods=replace(PODS, priority_class="high")), rendered())
    assert not covers(rendered(replicas=3), rendered(replicas=2))
    assert rendered(replicas=3)["metadata"] == rendered(replicas=2)["metadata"], "scaling is no new rendering"


@pytest.mark.parametrize(
    ("observed", "wanted", "held"),
    [
        ({"a": 1, "b": 2}, {"a": 1}, True),
        ({"a": 1}, {"a": 2}, False),
        ({}, {"a": 1}, False),
        (None, {"a": {}}, True),
        ({"cpu": "500m"}, {"cpu": "0.5"}, True),
        ({"memory": "1Gi"}, {"memory": 1073741824}, True),
        ({"cpu": "501m"}, {"cpu": "0.5"}, False),
        ({"a": None}, {"a": False}, True),
        ({"a": True}, {"a": 1}, True),
        ({"a": "x"}, {"a": 1}, False),
        ({"drop": ["ALL"]}, {"drop": ["ALL"]}, True),
        ({"drop": ["ALL", "X"]}, {"drop": ["ALL"]}, False),
        ({"args": ["b", "a"]}, {"args": ["a", "b"]}, False),
        ({"env": [{"name": "X"}, {"name": "A", "value": "1"}]}, {"env": [{"name": "A", "value": "1"}]}, True),
        ({"env": [{"name": "A", "value": "2"}]}, {"env": [{"name": "A", "value": "1"}]}, False),
        ({"env": []}, {"env": [{"name": "A"}]}, False),
        ({"owners": [{"uid": "2", "name": "n"}]}, {"owners": [{"uid": "1", "name": "n"}]}, False),
    ],
)
def test_an_object_covers_what_is_wanted_whatever_others_add(observed: Any, wanted: Any, held: bool) -> None:
    assert covers(observed, wanted) is held
