"""Where the story is told: a release in a namespace, a way to its API; on a real cluster or a control plane of ours."""

from __future__ import annotations

import re
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from api_process import MODELS
from cluster.control_plane import ControlPlane
from cluster.helm import Release
from cluster.kube import Kube
from cluster.kubelet import Kubelet
from cluster.processes import dying_with_us
from versions import committed_card

MODEL = "iris"
NAMESPACE = {
    "apiVersion": "v1",
    "kind": "Namespace",
    "metadata": {"generateName": "iris-e2e-", "labels": {"pod-security.kubernetes.io/enforce": "restricted"}},
}
CANARY = {
    "steps": [{"weight": 50, "pauseSeconds": 3}],
    "analysis": {"minimumJobs": 10, "maxP95Seconds": 5.0, "maxWaitSeconds": 120},
    "progressDeadlineSeconds": 120,
}
"""Quick, with room for a machine that pulls images or is busy."""


@dataclass
class Site:
    """A cluster where images can be pulled or were loaded."""

    release: Release
    values: dict[str, Any]

    @classmethod
    def new(cls, helm: Path, kube: Kube, values: dict[str, Any]) -> Site:
        namespace = kube.create(NAMESPACE)
        kube("wait", "--for=create", "serviceaccount/default", "-n", namespace, "--timeout=30s")
        return cls(Release(helm, kube, namespace), values)

    def __call__(self, *arguments: str) -> str:
        """kubectl in the namespace."""
        return self.release.kube(*arguments, "-n", self.release.namespace)

    def get(self, *arguments: str) -> dict[str, Any]:
        return self.release.kube.get(*arguments, "-n", self.release.namespace)

    @contextmanager
    def api(self) -> Iterator[str]:
        """The API's address on this machine, through `kubectl port-forward`."""
        kube = self.release.kube
        command = [str(kube.kubectl), "--kubeconfig", str(kube.kubeconfig), "-n", self.release.namespace]
        with subprocess.Popen(
            dying_with_us([*command, "port-forward", "svc/iris-api", ":8000"]), stdout=subprocess.PIPE, text=True
        ) as forward:
            assert forward.stdout is not None
            found = re.search(r"127\.0\.0\.1:(\d+)", forward.stdout.readline())
            assert found, "kubectl port-forward did not say where"
            try:
                yield f"http://127.0.0.1:{found[1]}"
            finally:
                forward.terminate()

    def apply(self, version: str, digest: str = "", **spec: Any) -> None:
        """As `kubectl apply` of an IrisModel; the digest is the published one unless another is given."""
        digest = digest or committed_card(version).artifacts["onnx"].digest
        model = {"version": version, "uri": f"models://{MODEL}/{version}", "digest": digest}
        body = {"apiVersion": "serving.iris.dev/v1alpha1", "kind": "IrisModel", "metadata": {"name": MODEL}}
        spec.setdefault("rollout", CANARY)
        manifest = {**body, "spec": {"model": model, **spec}}
        self.release.kube.apply(manifest, "-n", self.release.namespace, "--force-conflicts")

    def status(self) -> dict[str, Any]:
        return dict(self.get(f"im/{MODEL}").get("status") or {})

    def reason(self, kind: str) -> str:
        found = [item for item in self.status().get("conditions", ()) if item["type"] == kind]
        return str(found[0]["reason"]) if found else ""

    def wait_ready(self, seconds: int = 240) -> None:
        # in pieces shorter than what Kube allows one kubectl
        for _ in range(max(1, seconds // 30)):
            if self.release.kube.answers(
                "wait", "--for=condition=Ready", f"im/{MODEL}", "-n", self.release.namespace, "--timeout=30s"
            ):
                return
        raise AssertionError(f"not ready within {seconds} s: {self.status()}")

    def workers(self) -> int:
        """How many the operator asks for, all versions together."""
        items = self.get("deploy", "-l", f"serving.iris.dev/model={MODEL}")["items"]
        return sum(int(item["spec"]["replicas"]) for item in items)

    def left(self) -> set[str]:
        """Every object of the namespace but for what the cluster puts into each, and Events."""
        kinds = self.release.kube("api-resources", "--verbs=list", "--namespaced", "-o", "name").split()
        kinds = [kind for kind in kinds if not kind.startswith(("events", "pods.metrics"))]
        found = set(self("get", ",".join(kinds), "-o", "name", "--ignore-not-found").split())
        return found - {"serviceaccount/default", "configmap/kube-root-ca.crt"}

    def close(self) -> None:
        self.release.kube("delete", "namespace", self.release.namespace, "--wait=false")


@dataclass
class OwnSite(Site):
    """Our own control plane: a process behind every pod, and no network between them to forward."""

    kubelet: Kubelet | None = None

    @classmethod
    def started(cls, programs: Path, plane: ControlPlane, folder: Path) -> OwnSite:
        site = cls(Site.new(programs / "helm", plane.kube, {}).release, {"image": {"registry": "example.invalid"}})
        plane.kube.apply(site.volume())
        site.kubelet = Kubelet(plane.kube, MODELS, folder)
        site.kubelet.start()
        return site

    def volume(self) -> dict[str, Any]:
        """What a provisioner would make for the queue's claim."""
        namespace = self.release.namespace
        claim = {"namespace": namespace, "name": "data-iris-valkey-0"}
        spec = {
            "capacity": {"storage": "2Gi"}, "accessModes": ["ReadWriteOnce"],
            "hostPath": {"path": f"/nowhere/{namespace}"}, "claimRef": claim,
        }  # fmt: skip
        return {"apiVersion": "v1", "kind": "PersistentVolume", "metadata": {"name": namespace}, "spec": spec}

    @contextmanager
    def api(self) -> Iterator[str]:
        assert self.kubelet is not None
        ports = [pod.ports["http"] for pod in self.kubelet.pods.values() if pod.part == "api" and pod.ready]
        yield f"http://127.0.0.1:{ports[0]}"

    def close(self) -> None:
        super().close()
        if self.kubelet is not None:
            self.kubelet.stop()
