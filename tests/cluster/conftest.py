"""The cluster of the tests in this folder: one for the whole run, a namespace of its own for every test that asks."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from cluster import choice
from cluster.control_plane import ControlPlane, KindCluster
from cluster.kube import Kube
from cluster.kubelet import Kubelet
from cluster.operated import Operated
from cluster.stage import COMMANDS, Stage
from servers import Valkey

HERE = Path(__file__).parent
RESTRICTED_NAMESPACE = {
    "apiVersion": "v1",
    "kind": "Namespace",
    "metadata": {"generateName": "iris-", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
}


def pytest_configure(config: pytest.Config) -> None:
    config.addinivalue_line("markers", "cluster: needs a Kubernetes control plane (make kube-tools)")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """With `pytest -n N --dist loadgroup` two workers get all of them, so that only two control planes are started."""
    ours = [item for item in items if HERE in item.path.parents]
    missing = missing_programs() if ours and not in_ci() else ""
    for item in ours:
        item.add_marker("cluster")
        item.add_marker(pytest.mark.xdist_group(group_of(item.path.name)))
        if missing and "kube_programs" in item.fixturenames:  # type: ignore[attr-defined]
            item.add_marker(pytest.mark.skip(reason=missing))


def group_of(module: str) -> str:
    """Rollouts take as long as all the rest; but a kind cluster there is only one of."""
    return "rollouts" if module == "test_operator_rollouts.py" and not os.environ.get("KUBECONFIG") else "cluster"


def in_ci() -> bool:
    return os.environ.get("CI") == "true"


def missing_programs() -> str:
    """What to do about the programs of a control plane that are not here; empty when they are."""
    try:
        choice.find_programs()
    except choice.NoCluster as exc:
        return str(exc)
    return ""


@pytest.fixture(scope="session")
def kube_programs() -> Path:
    """The folder of the control plane's programs. Without them its tests are skipped, in CI they fail."""
    try:
        return choice.find_programs()
    except choice.NoCluster as exc:
        raise pytest.fail.Exception(str(exc), pytrace=False) from None


@pytest.fixture(scope="session")
def helm3() -> Path:
    """Helm 3. Without it its tests are skipped, in CI they fail."""
    try:
        return choice.find_helm3()
    except choice.NoCluster as exc:
        if in_ci():
            raise pytest.fail.Exception(str(exc), pytrace=False) from None
        raise pytest.skip.Exception(str(exc)) from None


@pytest.fixture(scope="session")
def cluster(kube_programs: Path) -> Iterator[ControlPlane | KindCluster]:
    """The running cluster: our own, or the kind cluster that KUBECONFIG names."""
    running = choose(kube_programs)
    try:
        running.start()
        yield running
    finally:
        running.stop()


def choose(kube_programs: Path) -> ControlPlane | KindCluster:
    env = os.environ
    context = ""
    if env.get("KUBECONFIG"):
        context = Kube(kube_programs / "kubectl", Path(env["KUBECONFIG"]))("config", "current-context").strip()
    try:
        kubeconfig = choice.kind_kubeconfig(env, context)
    except choice.ForeignCluster as exc:
        raise pytest.fail.Exception(str(exc), pytrace=False) from None
    return KindCluster(kube_programs, kubeconfig) if kubeconfig else ControlPlane(kube_programs)


@pytest.fixture(scope="session")
def kube(cluster: ControlPlane | KindCluster) -> Kube:
    """kubectl as the cluster's administrator."""
    return cluster.kube


@pytest.fixture(scope="module")
def stage(
    kube_programs: Path, cluster: ControlPlane | KindCluster, kube: Kube, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Stage]:
    """One for all tests of a module: each uses models of its own."""
    folder = tmp_path_factory.mktemp("operated")
    namespace = kube.create(RESTRICTED_NAMESPACE)
    kube("wait", "--for=create", "serviceaccount/default", "-n", namespace, "--timeout=60s")
    valkey = Valkey(tmp_path_factory.mktemp("valkey"))
    (folder / "models").mkdir()
    kubelet = Kubelet(kube, folder / "models", folder, COMMANDS)
    kubelet.start()
    operated = Operated(kube_programs / "helm", kube, namespace, valkey, folder, recovery={"replicas": 1})
    try:
        operated.start()
        yield Stage(operated, kubelet, valkey, folder / "models")
    finally:
        operated.close()
        kube("delete", "namespace", namespace, "--wait=false")
        kubelet.stop()
        valkey.stop()


@pytest.fixture
def new_namespace(kube: Kube) -> Iterator[Callable[[], str]]:
    """Makes namespaces that enforce the restricted Pod Security standard; deleted after the test."""
    made: list[str] = []

    def make() -> str:
        made.append(kube.create(RESTRICTED_NAMESPACE))
        # A pod created before the controller-manager has made its ServiceAccount would be refused.
        kube("wait", "--for=create", "serviceaccount/default", "-n", made[-1], "--timeout=60s")
        return made[-1]

    yield make
    if made:
        kube("delete", "namespace", "--wait=false", *made)


@pytest.fixture
def namespace(new_namespace: Callable[[], str]) -> str:
    return new_namespace()
