"""helm as its users type it: one release in one namespace, with nothing of theirs but the cluster."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from cluster.kube import Kube

CHART = Path(__file__).parents[2] / "charts" / "iris"
CRD = CHART / "crds" / "irismodels.yaml"


@dataclass(frozen=True)
class Release:
    """A release called `name`; values are given as a mapping."""

    helm: Path
    kube: Kube
    namespace: str
    name: str = "iris"

    def install(self, values: Mapping[str, Any] | None = None, *more: str, chart: Path = CHART) -> str:
        return self._run("install", self.name, str(chart), "--values", "-", *more, values=values)

    def upgrade(self, values: Mapping[str, Any] | None = None, *more: str, chart: Path = CHART) -> str:
        return self._run("upgrade", self.name, str(chart), "--values", "-", *more, values=values)

    def refused_upgrade(self, values: Mapping[str, Any], *more: str) -> str:
        """Why helm refuses; fails the test when it does not."""
        done = self._ask("upgrade", self.name, str(CHART), "--values", "-", *more, values=values)
        assert done.returncode != 0, "helm did not refuse"
        return done.stderr

    def rollback(self, revision: str) -> str:
        return self._run("rollback", self.name, revision)

    def test(self) -> str:
        return self._run("test", self.name, "--logs=false", "--timeout", "2m")

    def uninstall(self, *more: str) -> str:
        return self._run("uninstall", self.name, *more)

    def upgrade_crd(self, chart: Path = CHART) -> None:
        """The command of docs/upgrade.md."""
        shown = self._run("show", "crds", str(chart))
        self.kube("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=shown)

    def paste(self, command: str) -> str:
        """What a line of the notes prints in a shell that has helm and kubectl; fails the test when it fails."""
        home, config = self.kube.kubeconfig.parent / "helm", self.kube.kubeconfig
        env = {"HOME": str(home), "KUBECONFIG": str(config), "PATH": f"{self.helm.parent}:{os.environ['PATH']}"}
        done = subprocess.run(
            ["bash", "-o", "pipefail", "-c", command.replace(" CHART ", f" {CHART} ")],
            env=env, capture_output=True, text=True, timeout=240, check=False,
        )  # fmt: skip
        assert done.returncode == 0, f"{command}: {done.stderr}"
        return done.stdout

    def _run(self, *arguments: str, values: Mapping[str, Any] | None = None) -> str:
        done = self._ask(*arguments, values=values)
        assert done.returncode == 0, f"helm {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def _ask(self, *arguments: str, values: Mapping[str, Any] | None) -> subprocess.CompletedProcess[str]:
        home = self.kube.kubeconfig.parent / "helm"
        command = [str(self.helm), *arguments, "--namespace", self.namespace, "--kubeconfig", str(self.kube.kubeconfig)]
        return subprocess.run(
            command,
            input=json.dumps(values or {}),
            env={"HOME": str(home)},
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
        )
