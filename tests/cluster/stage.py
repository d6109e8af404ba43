"""What a rollout is watched on: an operator, real workers behind their pods, and the questions that tests ask."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from cluster.kubelet import Kubelet
from cluster.operated import FAST_CANARY, Operated, misbehaving, publish
from servers import Valkey

BAD = {
    "crash": "ProgressDeadlineExceeded",
    "never-ready": "ProgressDeadlineExceeded",
    "wrong-digest": "ArtifactRejected",
    "wrong-answers": "GoldenSetDisagrees",
    "failing": "AnalysisFailed",
    "slow": "AnalysisFailed",
}
"""Versions that misbehave, and why each is given up."""
MORTAL = "crash-on-jobs"
"""Passes its proof and dies of every job of a caller; given up only after the progress deadline."""
COMMANDS = {how: misbehaving(how) for how in (*BAD, MORTAL) if how != "wrong-digest"}
"""What runs in place of `iris` in the pods of those versions."""


@dataclass
class Stage:
    """A namespace in which worker pods are processes."""

    operated: Operated
    kubelet: Kubelet
    valkey: Valkey
    models: Path
    digests: dict[tuple[str, str], str] = field(default_factory=dict)

    def publish(self, name: str, *versions: str) -> None:
        """Version 1 and the others of a model; all but version 2 are version 1 under another name."""
        for version in ("1", *versions):
            source = "2" if version == "2" else "1"
            self.digests[name, version] = publish(self.models, name, version, source)

    def apply(self, name: str, version: str, **spec: Any) -> None:
        spec.setdefault("rollout", FAST_CANARY)
        self.operated.apply(name, version, self.digests[name, version], **spec)


def deployments_of(stage: Stage, model: str) -> list[str]:
    return stage.operated("get", "deploy", "-o", "name", "-l", f"serving.iris.dev/model={model}").split()


def replicas_of(stage: Stage, deployment: str) -> int:
    return int(stage.operated("get", deployment, "-o", "jsonpath={.spec.replicas}"))


def reason(status: dict[str, Any], kind: str) -> str:
    return next((str(item["reason"]) for item in status.get("conditions", ()) if item["type"] == kind), "")
