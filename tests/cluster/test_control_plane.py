"""What the other cluster tests rely on: the control plane does what a cluster does, and goes away without a trace."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from cluster import choice
from cluster.control_plane import GUEST_NODES, NODES, ControlPlane, KindCluster
from cluster.kube import Kube
from cluster.processes import Processes
from cluster.workloads import custom_resource, deployment, pod

HERE = Path(__file__).parent
GROUP = "test.iris.dev"
DOOMED = """
import time
from cluster.processes import Processes
processes = Processes()
processes.start("sleeper", ["sleep", "600"])
print(processes.folder, *processes.pids(), flush=True)
time.sleep(600)
"""


def test_the_pods_of_a_deployment_become_ready(kube: Kube, namespace: str) -> None:
    kube.apply(deployment("healthy", 3), "-n", namespace)
    kube("rollout", "status", "deployment/healthy", "-n", namespace, "--timeout=60s")
    assert kube.get("deployment/healthy", "-n", namespace)["status"]["readyReplicas"] == 3


@pytest.mark.parametrize(("outcome", "state"), [("crash", "waiting"), ("never-ready", "running")])
def test_a_pod_that_is_told_to_fail_ends_the_rollout_at_its_deadline(
    kube: Kube, namespace: str, outcome: str, state: str
) -> None:
    kube.apply(deployment("bad", 1, {"iris.test/outcome": outcome}, progressDeadlineSeconds=2), "-n", namespace)
    said = kube.refused("rollout", "status", "deployment/bad", "-n", namespace, "--timeout=60s")
    assert "exceeded its progress deadline" in said
    (bad,) = kube.get("pods", "-n", namespace)["items"]
    assert list(bad["status"]["containerStatuses"][0]["state"]) == [state]


def test_a_service_account_may_do_what_its_role_says_and_nothing_else(kube: Kube, namespace: str) -> None:
    kube("create", "serviceaccount", "reader", "-n", namespace)
    reader = kube.as_service_account(namespace, "reader")
    assert "Forbidden" in reader.refused("get", "pods")
    kube("create", "role", "reader", "-n", namespace, "--verb=get,list", "--resource=pods")
    kube("create", "rolebinding", "reader", "-n", namespace, "--role=reader", f"--serviceaccount={namespace}:reader")
    reader("get", "pods")
    assert "Forbidden" in reader.refused("get", "secrets")
    assert "Forbidden" in reader.refused("get", "pods", "-n", "default")


def test_a_privileged_pod_is_refused(kube: Kube, namespace: str) -> None:
    privileged = pod("privileged", privileged=True, allowPrivilegeEscalation=True)
    said = kube.refused("create", "-n", namespace, "-f", "-", stdin=json.dumps(privileged))
    assert 'violates PodSecurity "restricted' in said
    kube.create(pod("ordinary"), "-n", namespace)


def test_a_rule_in_a_custom_resource_definition_is_enforced(kube: Kube, namespace: str) -> None:
    kube.apply(custom_resource(GROUP, "self.low <= self.high", "low must not be above high"))
    kube("wait", "--for=condition=Established", f"crd/flowers.{GROUP}", "--timeout=60s")
    flower = {"apiVersion": f"{GROUP}/v1", "kind": "Flower", "metadata": {"name": "iris"}}
    said = kube.refused(
        "create", "-n", namespace, "-f", "-", stdin=json.dumps(flower | {"spec": {"low": 2, "high": 1}})
    )
    assert "low must not be above high" in said
    kube.create(flower | {"spec": {"low": 1, "high": 2}}, "-n", namespace)
    kube("delete", f"crd/flowers.{GROUP}")


def test_deleting_a_deployment_deletes_what_it_owns(kube: Kube, namespace: str) -> None:
    kube.apply(deployment("short-lived", 2), "-n", namespace)
    kube("rollout", "status", "deployment/short-lived", "-n", namespace, "--timeout=60s")
    kube("delete", "deployment/short-lived", "-n", namespace)
    kube("wait", "--for=delete", "replicasets,pods", "--all", "-n", namespace, "--timeout=60s")
    assert kube.get("replicasets,pods", "-n", namespace)["items"] == []


def test_two_owners_of_one_field_are_told_of_each_other(kube: Kube, namespace: str) -> None:
    kube.apply(deployment("shared", 1), "-n", namespace, "--field-manager=operator")
    other = json.dumps(deployment("shared", 2))
    somebody = ("--server-side", "--field-manager=somebody")
    said = kube.refused("apply", *somebody, "-n", namespace, "-f", "-", stdin=other)
    assert 'conflict with "operator": .spec.replicas' in said


def test_an_api_server_that_died_comes_back_with_what_it_held(
    cluster: ControlPlane | KindCluster, namespace: str
) -> None:
    if isinstance(cluster, KindCluster):
        pytest.skip("the API server of a kind cluster is not ours to kill")
    cluster.kube.apply(deployment("kept", 1), "-n", namespace)
    cluster.kill_api_server()
    assert not cluster.kube.answers("get", "--raw=/readyz")
    cluster.bring_api_server_back()
    cluster.kube("rollout", "status", "deployment/kept", "-n", namespace, "--timeout=60s")


def test_a_control_plane_starts_beside_another_and_leaves_nothing(kube_programs: Path) -> None:
    plane = ControlPlane(kube_programs)
    try:
        plane.start()
        pids = plane.processes.pids()
        assert len(pids) == 5
    finally:
        plane.stop()
    assert not plane.processes.folder.exists()
    assert not any(psutil.pid_exists(pid) for pid in pids)


@pytest.mark.skipif(not shutil.which("setpriv"), reason="only Linux ends the children of a killed process")
def test_a_test_run_that_is_killed_leaves_nothing_for_long() -> None:
    doomed = subprocess.Popen([sys.executable, "-c", DOOMED], cwd=HERE.parent, stdout=subprocess.PIPE, text=True)
    assert doomed.stdout
    folder, pid = doomed.stdout.readline().split()
    child = psutil.Process(int(pid))
    while child.name() != "sleep":  # setpriv has not yet asked the kernel to end it with us
        time.sleep(0.05)
    assert Path(folder).exists()
    doomed.kill()
    doomed.communicate()
    child.wait(timeout=10)
    Processes().stop()  # what any later run does first
    assert not Path(folder).exists()


def test_a_cluster_with_nodes_of_its_own_is_used_and_given_back_as_it_was(
    cluster: ControlPlane | KindCluster, kube_programs: Path, namespace: str
) -> None:
    if isinstance(cluster, KindCluster):
        pytest.skip("a kind cluster is in use already")
    guest = KindCluster(kube_programs, cluster.kube.kubeconfig)
    try:
        guest.start()
        guest.kube.apply(deployment("guest", 2), "-n", namespace)
        guest.kube("rollout", "status", "deployment/guest", "-n", namespace, "--timeout=60s")
        pods = guest.kube.get("pods", "-n", namespace)["items"]
        assert {pod["spec"]["nodeName"] for pod in pods} <= set(GUEST_NODES)
    finally:
        guest.stop()
    nodes = cluster.kube.get("nodes")["items"]
    assert {node["metadata"]["name"]: node["spec"].get("unschedulable") for node in nodes} == dict.fromkeys(NODES)


@pytest.mark.parametrize("context", ["kind-production", "gke_company_eu_shop", "", "my-kind-iris"])
def test_a_cluster_that_was_not_made_for_the_tests_is_never_touched(context: str) -> None:
    with pytest.raises(choice.ForeignCluster, match="unset KUBECONFIG"):
        choice.kind_kubeconfig({"KUBECONFIG": "shop.yaml"}, context)


def test_a_kind_cluster_made_for_the_tests_is_used() -> None:
    assert choice.kind_kubeconfig({"KUBECONFIG": "iris.yaml"}, "kind-iris-test") == Path("iris.yaml")


def test_without_kubeconfig_no_cluster_of_the_user_is_looked_for() -> None:
    assert choice.kind_kubeconfig({}, "") is None


def test_missing_programs_are_reported_with_the_command_that_brings_them(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KUBE_BIN_DIR", raising=False)
    monkeypatch.setenv("XDG_CACHE_HOME", "/nowhere")
    with pytest.raises(choice.NoCluster, match="make kube-tools"):
        choice.find_programs()
