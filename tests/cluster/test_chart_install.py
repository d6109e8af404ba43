"""The chart and a real API server: what it accepts, what an upgrade changes, what an uninstall leaves behind."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chart.combinations import COMBINATIONS
from chart.rendering import Chart
from cluster.conftest import RESTRICTED_NAMESPACE
from cluster.helm import CHART, CRD, Release
from cluster.kube import Kube
from cluster.operated import wait_until
from cluster.previous_chart import previous_chart

PLURAL = "irismodels.serving.iris.dev"
KINDS = "all,im,sa,role,rolebinding,secret,cm,pvc,pdb,hpa,ingress,networkpolicy"
OF_THE_CLUSTER = {"serviceaccount/default", "configmap/kube-root-ca.crt"}
WITH_FLOWERS = {"image": {"registry": "example.invalid"}}


@pytest.fixture
def release(kube_programs: Path, kube: Kube, namespace: str) -> Release:
    return Release(kube_programs / "helm", kube, namespace)


def names(kube: Kube, namespace: str) -> set[str]:
    """Everything in a namespace, but for what the cluster itself has there, and Events."""
    found = set(kube("get", KINDS, "-n", namespace, "-o", "name").split())
    return found - OF_THE_CLUSTER


def test_the_api_server_accepts_every_combination_without_a_warning(kube_programs: Path, kube: Kube) -> None:
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    meta = {**RESTRICTED_NAMESPACE["metadata"], "labels": labels}
    namespace = kube.create({**RESTRICTED_NAMESPACE, "metadata": meta})
    kube("apply", "--server-side", "-f", str(CRD))
    kube("wait", "--for=condition=Established", f"crd/{PLURAL}", "--timeout=20s")
    chart = Chart(kube_programs / "helm", CHART)
    rendered = {
        json.dumps(found, sort_keys=True): found
        for values in COMBINATIONS.values()
        for found in chart.render(values)
        if found["kind"] != "HTTPRoute"  # no kind of Kubernetes' own
    }
    assert len(rendered) > 100
    accounts = [found for found in rendered.values() if found["kind"] == "ServiceAccount"]
    for items, how in (
        (accounts, ()),
        (list(rendered.values()), ("--dry-run=server",)),
    ):  # the test's pod looks for one
        done = kube.run(
            "apply", "--server-side", "--force-conflicts", "--validate=strict", *how, "-n", namespace, "-f", "-",
            stdin=json.dumps({"apiVersion": "v1", "kind": "List", "items": items}),
        )  # fmt: skip
        assert (done.returncode, done.stderr) == (0, "")
    kube("delete", "namespace", namespace, "--wait=false")


def test_one_command_installs_a_model_together_with_its_kind_and_another_leaves_nothing_but_data(
    release: Release, kube: Kube, namespace: str
) -> None:
    kube("delete", f"crd/{PLURAL}", "--ignore-not-found")
    release.install(WITH_FLOWERS)
    assert kube.get("im/iris", "-n", namespace)["spec"]["model"]["version"] == "1"
    wait_for_claim(kube, namespace)
    release.uninstall("--wait", "--timeout", "1m")
    kube("wait", "--for=delete", "pods", "--all", "-n", namespace, "--timeout=30s")
    assert names(kube, namespace) == {"persistentvolumeclaim/data-iris-valkey-0"}, "accepted jobs are in there"
    assert kube.answers("get", f"crd/{PLURAL}"), "Helm leaves a CRD, and with it the IrisModels of other namespaces"


def wait_for_claim(kube: Kube, namespace: str) -> None:
    kube("wait", "--for=create", "pvc/data-iris-valkey-0", "-n", namespace, "--timeout=20s")


@pytest.fixture
def previous(tmp_path: Path, kube: Kube) -> Iterator[Path]:
    """The previous chart; the cluster has no CRD yet, and afterwards the present one."""
    kube("delete", f"crd/{PLURAL}", "--ignore-not-found")
    yield previous_chart(tmp_path)
    kube("apply", "--server-side", "--force-conflicts", "-f", str(CRD))


def test_an_upgrade_from_the_previous_chart_brings_what_is_new_and_takes_back_nothing_of_others(
    release: Release, previous: Path, kube: Kube, namespace: str
) -> None:
    release.install(WITH_FLOWERS, chart=previous)
    kube("scale", "im/iris", "--replicas=3", "-n", namespace)
    before = kube.get("secret/iris-redis", "-n", namespace)["data"]
    assert "does not exist" in kube.refused("explain", "im.spec.worker.batchSize")
    values = {**WITH_FLOWERS, "model": {"worker": {"batchSize": 128}}}
    assert ".spec.worker.batchSize: field not declared in schema" in release.refused_upgrade(values), "nothing is lost"

    release.upgrade_crd()
    release.upgrade(values)

    worker = kube.get("im/iris", "-n", namespace)["spec"]["worker"]
    assert (worker["replicas"], worker["batchSize"]) == (3, 128)
    after = kube.get("secret/iris-redis", "-n", namespace)["data"]
    assert {key: after[key] for key in ("api-url", "worker-url", "operator-url")} == {
        key: before[key] for key in ("api-url", "worker-url", "operator-url")
    }
    assert b"iris-health" in base64.b64decode(after["users.acl"])
    assert "networkpolicy.networking.k8s.io/iris-default-deny" in names(kube, namespace)
    assert "configmap/iris-old" not in names(kube, namespace)


def test_upgrading_to_the_same_changes_nothing(release: Release, kube: Kube, namespace: str) -> None:
    release.install(WITH_FLOWERS)
    before = generations(kube, namespace)
    release.upgrade(WITH_FLOWERS)
    assert generations(kube, namespace) == before


def test_an_api_that_begins_to_scale_by_itself_is_never_fewer_than_before(
    release: Release, kube: Kube, namespace: str
) -> None:
    def replicas() -> int:
        return int(kube.get("deploy/iris-api", "-n", namespace)["spec"]["replicas"])

    scaling = {"enabled": True, "minReplicas": 2, "maxReplicas": 9}
    release.install({**WITH_FLOWERS, "api": {"replicas": 3}})
    release.upgrade({**WITH_FLOWERS, "api": {"autoscaling": scaling}})
    assert replicas() == 3, "there are no metrics here: the autoscaler leaves it so"
    release.upgrade({**WITH_FLOWERS, "api": {"autoscaling": {**scaling, "minReplicas": 5}}})
    wait_until(lambda: replicas() == 5, 60, "the autoscaler's least")
    release.upgrade({**WITH_FLOWERS, "api": {"autoscaling": scaling, "podAnnotations": {"a": "b"}}})
    assert replicas() == 5


def test_helm_3_installs_upgrades_and_uninstalls_it_too(helm3: Path, kube: Kube, namespace: str) -> None:
    release = Release(helm3, kube, namespace)
    release.install(WITH_FLOWERS)
    kube("scale", "im/iris", "--replicas=3", "-n", namespace)
    before = generations(kube, namespace)
    secret = kube.get("secret/iris-redis", "-n", namespace)["data"]
    release.upgrade({**WITH_FLOWERS, "api": {"replicas": 3}})
    after = generations(kube, namespace)
    assert {name for name in after if after[name] != before[name]} == {"Deployment/iris-api"}
    assert kube.get("im/iris", "-n", namespace)["spec"]["worker"]["replicas"] == 3
    assert kube.get("secret/iris-redis", "-n", namespace)["data"] == secret
    wait_for_claim(kube, namespace)
    release.uninstall("--wait", "--timeout", "1m")
    kube("wait", "--for=delete", "pods", "--all", "-n", namespace, "--timeout=30s")
    assert names(kube, namespace) == {"persistentvolumeclaim/data-iris-valkey-0"}


def test_a_release_of_helm_3_goes_on_with_helm_4(helm3: Path, release: Release, kube: Kube, namespace: str) -> None:
    Release(helm3, kube, namespace).install(WITH_FLOWERS)
    release.upgrade({**WITH_FLOWERS, "api": {"replicas": 3}})
    assert kube.get("deploy/iris-api", "-n", namespace)["spec"]["replicas"] == 3


def generations(kube: Kube, namespace: str) -> dict[str, Any]:
    """What every object looks like, but for what moves by itself."""
    kinds = "deploy,sts,svc,sa,role,rolebinding,im,pdb,networkpolicy"
    items = kube.get(kinds, "-n", namespace)["items"]
    return {
        f"{item['kind']}/{item['metadata']['name']}": (item["metadata"].get("generation"), item.get("spec"))
        for item in items
    }
