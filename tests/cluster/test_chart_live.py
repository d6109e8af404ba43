"""The whole chart at work: helm installs it, every pod is a real process, a flower is answered, before and after."""

from __future__ import annotations

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from api_process import MODELS
from chart.rendering import commands
from cluster.conftest import RESTRICTED_NAMESPACE
from cluster.control_plane import ControlPlane, KindCluster
from cluster.helm import Release
from cluster.kube import Kube
from cluster.kubelet import Kubelet
from cluster.operated import wait_until
from debian import program
from versions import committed_card

VALUES: dict[str, Any] = {
    "image": {"registry": "example.invalid"},
    "api": {"replicas": 1, "preStopSeconds": 1, "drainSeconds": 1},
}


@dataclass
class Live:
    """A release with default values, but for one API pod less and the pauses of a stop."""

    release: Release
    notes: str
    """What helm printed when it was installed."""
    kubelet: Kubelet

    def address(self) -> str:
        """Where `kubectl port-forward` would lead to."""
        return self.kubelet.containers.address(self.release.namespace, "iris-api", 8000)

    def get(self, *arguments: str) -> dict[str, Any]:
        return self.release.kube.get(*arguments, "-n", self.release.namespace)

    def pods(self) -> dict[str, dict[str, Any]]:
        """Those that stay, by name."""
        items = self.get("pods")["items"]
        return {pod["metadata"]["name"]: pod for pod in items if "deletionTimestamp" not in pod["metadata"]}

    def replicas(self) -> int:
        """Of the workers, as the operator has set it."""
        (workers,) = self.get("deploy", "-l", "serving.iris.dev/model=iris")["items"]
        return int(workers["spec"]["replicas"])


@pytest.fixture(scope="module")
def live(
    kube_programs: Path, cluster: ControlPlane | KindCluster, kube: Kube, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Live]:
    program("redis-cli")  # for the queue's probe; said here, where a test can be skipped
    folder = tmp_path_factory.mktemp("live")
    namespace = kube.create(RESTRICTED_NAMESPACE)
    kube("wait", "--for=create", "serviceaccount/default", "-n", namespace, "--timeout=60s")
    kube.apply(volume(namespace))
    kubelet = Kubelet(kube, MODELS, folder)
    kubelet.start()
    release = Release(kube_programs / "helm", kube, namespace)
    try:
        yield Live(release, release.install(VALUES, "--wait", "--timeout", "2m"), kubelet)
    finally:
        kube("delete", "namespace", namespace, "--wait=false")
        kube("delete", f"pv/{namespace}", "--wait=false")
        kubelet.stop()


def volume(namespace: str) -> dict[str, Any]:
    """What a provisioner would make for the queue's claim."""
    spec = {
        "capacity": {"storage": "2Gi"}, "accessModes": ["ReadWriteOnce"], "hostPath": {"path": f"/nowhere/{namespace}"},
        "claimRef": {"namespace": namespace, "name": "data-iris-valkey-0"},
    }  # fmt: skip
    return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": namespace}, "spec": spec}


def part_of(pod: dict[str, Any]) -> str:
    return str(pod["metadata"]["labels"]["app.kubernetes.io/component"])


def test_helm_test_sends_a_flower_through_api_queue_and_worker(live: Live) -> None:
    assert "Phase:          Succeeded" in live.release.test()
    assert "iris-test" not in live.pods(), "it cleans up after itself"


def test_every_command_in_the_notes_works(live: Live) -> None:
    printed, said = commands(live.notes), ""
    assert len(printed) == 9
    for command in printed:
        if " port-forward " in command:
            continue  # a kubelet's stream, which ours has not
        here = command.replace("127.0.0.1:8000", live.address())
        if "JOB_ID" in here:
            here = here.replace("JOB_ID", json.loads(said)["job_id"])
        said = live.release.paste(here)
        if "/result/" in here:
            assert json.loads(said)["result"][0] == {"class": "setosa", "probability": "1.000"}
    wait_until(lambda: live.replicas() == 3, 20, "kubectl scale")
    live.release.kube("scale", "im/iris", "--replicas=1", "-n", live.release.namespace)
    wait_until(lambda: sorted(map(part_of, live.pods().values())).count("worker") == 1, 60, "fewer workers")


def test_every_part_runs_and_none_had_to_be_started_again(live: Live) -> None:
    assert sorted(map(part_of, live.pods().values())) == ["api", "operator", "recovery", "valkey", "worker"]
    for name, pod in live.pods().items():
        (status,) = pod["status"]["containerStatuses"]
        assert (name, status["ready"], status["restartCount"]) == (name, True, 0)


def test_only_the_operator_holds_a_token(live: Live) -> None:
    for name, pod in live.pods().items():
        projected = [volume for volume in pod["spec"]["volumes"] if "projected" in volume]
        assert bool(projected) is name.startswith("iris-operator"), name


def test_an_upgrade_keeps_what_others_have_decided_and_what_clients_hold(live: Live) -> None:
    kube, namespace = live.release.kube, live.release.namespace
    kube("scale", "im/iris", "--replicas=2", "-n", namespace)
    wait_until(lambda: live.replicas() == 2, 20, "kubectl scale")
    kube("wait", "--for=condition=Ready", "im/iris", "-n", namespace, "--timeout=60s")
    secret, before = live.get("secret/iris-redis")["data"], live.pods()

    env = [{"name": "IRIS_MAX_ROWS", "value": "10"}]
    live.release.upgrade({**VALUES, "api": {**VALUES["api"], "env": env}}, "--wait", "--timeout", "2m")

    assert live.get("im/iris")["spec"]["worker"]["replicas"] == 2
    assert live.replicas() == 2
    assert live.get("secret/iris-redis")["data"] == secret, "passwords are kept"
    changed = {part_of(pod) for name, pod in live.pods().items() if name not in before}
    assert changed == {"api"}, "nobody else was told anything new"


def test_another_version_in_the_values_is_a_rollout_and_helm_says_how_it_ended(live: Live) -> None:
    def version(name: str, digest: str) -> dict[str, Any]:
        return {**VALUES, "model": {"version": name, "digest": digest, "rollout": {"strategy": "Replace"}}}

    live.release.upgrade(version("2", committed_card("2").artifacts["onnx"].digest), "--wait", "--timeout", "2m")
    assert live.get("im/iris")["status"]["stable"]["version"] == "2"
    said = live.release.refused_upgrade(version("3", f"sha256:{'0' * 64}"), "--wait", "--timeout", "2m")
    assert "status: Failed, message: version 3: there is no version 3 of iris in" in said
    assert live.get("im/iris")["status"]["stable"]["version"] == "2"
