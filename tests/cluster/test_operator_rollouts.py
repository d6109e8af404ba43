"""Rollouts on a real control plane: the operator, the API and every worker are real processes, and so are the jobs."""

from __future__ import annotations

import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from api_process import ApiProcess
from cluster.control_plane import ControlPlane, KindCluster
from cluster.kube import Kube
from cluster.kubelet import Kubelet
from cluster.load import Callers, Load
from cluster.operated import FAST_CANARY, Operated, misbehaving, publish, wait_until
from servers import Valkey

BAD = {
    "crash": "ProgressDeadlineExceeded",
    "never-ready": "ProgressDeadlineExceeded",
    "wrong-digest": "ArtifactRejected",
    "wrong-answers": "GoldenSetDisagrees",
    "failing": "AnalysisFailed",
    "slow": "AnalysisFailed",
}


@dataclass
class Stage:
    """A namespace in which worker pods are processes."""

    operated: Operated
    kubelet: Kubelet
    valkey: Valkey
    models: Path

    def publish(self, name: str, *versions: str) -> None:
        """Version 1 and the others of a model; all but version 2 are version 1 under another name."""
        self.digests = getattr(self, "digests", {})
        for version in ("1", *versions):
            source = "2" if version == "2" else "1"
            self.digests[name, version] = publish(self.models, name, version, source)

    def apply(self, name: str, version: str, **spec: Any) -> None:
        spec.setdefault("rollout", FAST_CANARY)
        self.operated.apply(name, version, self.digests[name, version], **spec)


@pytest.fixture(scope="module")
def stage(cluster: ControlPlane | KindCluster, kube: Kube, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """One for all tests here: each uses models of its own."""
    folder = tmp_path_factory.mktemp("operated")
    meta = {"generateName": "iris-", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}}
    namespace = kube.create({"apiVersion": "v1", "kind": "Namespace", "metadata": meta})
    kube("wait", "--for=create", "serviceaccount/default", "-n", namespace, "--timeout=20s")
    valkey = Valkey(tmp_path_factory.mktemp("valkey"))
    commands = {how: misbehaving(how) for how in (*BAD, "crash-on-jobs") if how != "wrong-digest"}
    kubelet = Kubelet(kube, folder / "models", folder / "workers.log", commands)
    operated = Operated(kube, namespace, valkey, folder)
    (folder / "models").mkdir()
    kubelet.start()
    try:
        operated.start()
        yield Stage(operated, kubelet, valkey, folder / "models")
    finally:
        operated.close()
        kube("delete", "namespace", namespace, "--wait=false")
        kubelet.stop()
        valkey.stop()


def test_a_good_version_takes_over_under_load_without_losing_a_job(stage: Stage) -> None:
    stage.publish("iris", "2")
    stage.apply("iris", "1", worker={"replicas": 2})
    stage.operated.wait_ready("iris")
    api = ApiProcess(stage.valkey.url, IRIS_MODELS=str(stage.models))
    try:
        with Callers(api.url, per_second=60) as callers:
            stage.apply("iris", "2", worker={"replicas": 2})
            stage.operated.wait_for("iris", lambda status: stage.operated.route("iris") == {"2": 100}, 40, "version 2")
            stage.operated.wait_ready("iris")
            time.sleep(1)
        assert callers.verdict() == {"setosa": len(callers.accepted)}
        assert not callers.refused
        assert len(callers.accepted) > 100
    finally:
        api.stop()
    wait_until(lambda: len(stage.operated("get", "deploy", "-o", "name").split()) == 1, 20, "version 1 is removed")
    events = stage.operated(
        "get", "events", "--field-selector=involvedObject.kind=IrisModel", "-o", "jsonpath={..reason}"
    )
    assert sorted(events.split()) == ["Promoted", "Promoted", "RolloutStarted", "RolloutStarted"]


def test_every_kind_of_bad_version_is_rolled_back_by_itself_with_every_job_answered(stage: Stage) -> None:
    for how in BAD:
        stage.publish(how, how)
        stage.apply(how, "1")
    stage.digests["wrong-digest", "wrong-digest"] = f"sha256:{'0' * 64}"
    stage.operated.wait_ready(*BAD)
    with Load(stage.valkey.url, list(BAD), per_second=25) as load:
        for how in BAD:
            stage.apply(how, how)

        def all_given_up() -> bool:
            statuses = stage.operated.statuses()
            return all((statuses[how].get("rollout") or {}).get("failed") for how in BAD)

        wait_until(
            all_given_up, 60, "six rollbacks", lambda: f"{stage.operated.statuses()}{stage.operated.last_words()}"
        )
        time.sleep(1)
    statuses = stage.operated.statuses()
    assert {how: statuses[how]["rollout"]["failed"]["reason"] for how in BAD} == BAD
    assert {how: stage.operated.route(how) for how in BAD} == {how: {"1": 100} for how in BAD}
    verdicts = load.verdict(stage.valkey.client())
    for how, outcomes in verdicts.items():
        lost = outcomes.pop("unanswered", 0)
        failed = outcomes.pop("PREDICTION_FAILED from failing", 0)
        assert (how, lost) == (how, 0)
        assert failed == 0 or how == "failing"
        assert all(outcome.startswith("answered by") for outcome in outcomes), (how, outcomes)
    wait_until(
        lambda: all(len(deployments_of(stage, how)) == 1 for how in BAD), 30, "no workers of bad versions are left"
    )


def deployments_of(stage: Stage, model: str) -> list[str]:
    return stage.operated("get", "deploy", "-o", "name", "-l", f"serving.iris.dev/model={model}").split()
