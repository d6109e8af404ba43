"""The chart and a real API server: what it accepts, what an upgrade changes, what an uninstall leaves behind."""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from chart.combinations import COMBINATIONS
from chart.other_kinds import CRDS as OF_OTHERS
from chart.rendering import Chart, commands
from cluster.conftest import RESTRICTED_NAMESPACE
from cluster.helm import CHART, CRD, Release
from cluster.kube import Kube
from cluster.operated import wait_until
from cluster.previous_chart import previous_chart

PLURAL = "irismodels.serving.iris.dev"
OTHER_PLURALS = (
    "podmonitors.monitoring.coreos.com",
    "prometheusrules.monitoring.coreos.com",
    "httproutes.gateway.networking.k8s.io",
)
KINDS = "all,im,sa,role,rolebinding,secret,cm,pvc,pdb,hpa,ingress,networkpolicy"
OF_THE_CLUSTER = {"serviceaccount/default", "configmap/kube-root-ca.crt"}
FEW_PODS: dict[str, Any] = {"image": {"registry": "example.invalid"}, "recovery": {"replicas": 0}}
RICH = [
    "defaults", "workers that follow the queue", "a queue of one's own, no operator", "a larger queue",
    "an API in the open", "an API that scales", "callers with keys", "callers with tokens", "placed", "narrow policies",
    "monitored", "monitored, in detail",
]  # fmt: skip
"""Combinations in which every template has its say; all of them are read in tests/chart."""


def with_api(replicas: int = 0, **values: Any) -> dict[str, Any]:
    return {**FEW_PODS, "api": {"replicas": replicas}, **values}


@pytest.fixture
def release(kube_programs: Path, kube: Kube, namespace: str) -> Release:
    return Release(kube_programs / "helm", kube, namespace)


def names(kube: Kube, namespace: str) -> set[str]:
    """Everything in a namespace, but for what the cluster itself has there, and Events."""
    found = set(kube("get", KINDS, "-n", namespace, "-o", "name").split())
    return found - OF_THE_CLUSTER


def test_the_api_server_accepts_it_all_without_a_warning(kube_programs: Path, kube: Kube) -> None:
    labels = {f"pod-security.kubernetes.io/{mode}": "restricted" for mode in ("enforce", "warn")}
    meta = {**RESTRICTED_NAMESPACE["metadata"], "labels": labels}
    namespace = kube.create({**RESTRICTED_NAMESPACE, "metadata": meta})
    kube("apply", "--server-side", *(f"--filename={path}" for path in (CRD, *OF_OTHERS)))
    for plural in (PLURAL, *OTHER_PLURALS):
        kube("wait", "--for=condition=Established", f"crd/{plural}", "--timeout=60s")
    chart = Chart(kube_programs / "helm", CHART)
    rendered = {json.dumps(found, sort_keys=True): found for name in RICH for found in chart.render(COMBINATIONS[name])}
    assert "HTTPRoute" in {found["kind"] for found in rendered.values()}
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
    release.install(with_api())
    assert kube.get("im/iris", "-n", namespace)["spec"]["model"]["version"] == "1"
    before = generations(kube, namespace)
    release.upgrade(with_api())
    assert generations(kube, namespace) == before, "an upgrade to the same changes nothing"
    wait_for_claim(kube, namespace)
    release.uninstall("--wait", "--timeout", "1m")
    kube("wait", "--for=delete", "pods", "--all", "-n", namespace, "--timeout=60s")
    assert names(kube, namespace) == {"persistentvolumeclaim/data-iris-valkey-0"}, "accepted jobs are in there"
    assert kube.answers("get", f"crd/{PLURAL}"), "Helm leaves a CRD, and with it the IrisModels of other namespaces"


@pytest.mark.parametrize(
    ("worker", "told", "replicas"),
    [({}, 3, 3), ({"autoscaling": {"maxReplicas": 3}}, 2, None), ({"replicas": 2}, 2, 2)],
    ids=["nothing said", "autoscaling", "fixed"],
)
def test_what_the_notes_say_about_workers_works_and_so_does_the_next_upgrade(
    release: Release, kube: Kube, namespace: str, worker: dict[str, Any], told: int, replicas: int | None
) -> None:
    values = with_api(model={"worker": worker})
    printed = commands(release.install(values))
    tried = [command for command in printed if re.search(r" (get|scale|show crds) ", command)]
    assert len(tried) == told
    for command in tried:
        release.paste(command)
    release.upgrade(values)
    assert kube.get("im/iris", "-n", namespace)["spec"]["worker"].get("replicas") == replicas


def wait_for_claim(kube: Kube, namespace: str) -> None:
    kube("wait", "--for=create", "pvc/data-iris-valkey-0", "-n", namespace, "--timeout=60s")


@pytest.fixture
def previous(tmp_path: Path, kube: Kube) -> Iterator[Path]:
    """The previous chart; the cluster has no CRD yet, and afterwards the present one."""
    kube("delete", f"crd/{PLURAL}", "--ignore-not-found")
    yield previous_chart(tmp_path)
    kube("apply", "--server-side", "--force-conflicts", "-f", str(CRD))


def test_an_upgrade_from_the_previous_chart_brings_what_is_new_and_takes_back_nothing_of_others(
    release: Release, previous: Path, kube: Kube, namespace: str
) -> None:
    release.install(with_api(), chart=previous)
    kube("scale", "im/iris", "--replicas=3", "-n", namespace)
    before = kube.get("secret/iris-redis", "-n", namespace)["data"]
    assert "batchSize" not in kube("get", f"crd/{PLURAL}", "-o", "json")
    values = with_api(model={"worker": {"batchSize": 128}})
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


def test_what_is_in_the_values_is_helms_and_not_taken_from_others_without_a_word(
    release: Release, kube: Kube, namespace: str
) -> None:
    release.install(with_api())
    release.upgrade(with_api(1, model={"worker": {"replicas": 2}}))
    assert workers(kube, namespace) == 2
    kube("scale", "im/iris", "--replicas=4", "-n", namespace)
    said = release.refused_upgrade(with_api(1, model={"worker": {"replicas": 2}}))
    assert 'conflict with "kubectl"' in said
    assert ".spec.worker.replicas" in said
    release.rollback("1")
    assert kube.get("deploy/iris-api", "-n", namespace)["spec"]["replicas"] == 0
    assert workers(kube, namespace) == 4, "the way back takes nothing either"


def workers(kube: Kube, namespace: str) -> int:
    return int(kube.get("im/iris", "-n", namespace)["spec"]["worker"]["replicas"])


def test_an_api_that_begins_to_scale_by_itself_is_never_fewer_than_before(
    release: Release, kube: Kube, namespace: str
) -> None:
    def replicas() -> int:
        return int(kube.get("deploy/iris-api", "-n", namespace)["spec"]["replicas"])

    scaling = {"enabled": True, "minReplicas": 5, "maxReplicas": 9}
    release.install(with_api(3))
    release.upgrade({**FEW_PODS, "api": {"autoscaling": scaling}})
    assert replicas() >= 3
    wait_until(lambda: replicas() == 5, 60, "the autoscaler's least")
    release.upgrade({**FEW_PODS, "api": {"autoscaling": {**scaling, "minReplicas": 2}}})
    assert replicas() == 5


def test_helm_3_installs_and_upgrades_it_too_and_helm_4_goes_on(
    helm3: Path, release: Release, kube: Kube, namespace: str
) -> None:
    of_helm3 = Release(helm3, kube, namespace)
    of_helm3.install(with_api())
    kube("scale", "im/iris", "--replicas=3", "-n", namespace)
    before = generations(kube, namespace)
    secret = kube.get("secret/iris-redis", "-n", namespace)["data"]
    for replicas, by in ((1, of_helm3), (2, release)):
        by.upgrade(with_api(replicas))
        after = generations(kube, namespace)
        assert {name for name in after if after[name] != before[name]} == {"Deployment/iris-api"}
        assert kube.get("deploy/iris-api", "-n", namespace)["spec"]["replicas"] == replicas
        assert workers(kube, namespace) == 3
        assert kube.get("secret/iris-redis", "-n", namespace)["data"] == secret
    wait_for_claim(kube, namespace)
    of_helm3.uninstall("--wait", "--timeout", "1m")
    kube("wait", "--for=delete", "pods", "--all", "-n", namespace, "--timeout=60s")
    assert names(kube, namespace) == {"persistentvolumeclaim/data-iris-valkey-0"}


def generations(kube: Kube, namespace: str) -> dict[str, Any]:
    """What every object looks like, but for what moves by itself."""
    kinds = "deploy,sts,svc,sa,role,rolebinding,im,pdb,networkpolicy"
    items = kube.get(kinds, "-n", namespace)["items"]
    return {
        f"{item['kind']}/{item['metadata']['name']}": (item["metadata"].get("generation"), item.get("spec"))
        for item in items
    }
