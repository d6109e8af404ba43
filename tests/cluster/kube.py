"""kubectl as one identity: what the cluster tests do and look at, they do and see as a user of the cluster would."""

from __future__ import annotations

import json
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any


@dataclass(frozen=True)
class Kube:
    """Runs kubectl with one kubeconfig; that file also serves any other client that acts as the same identity."""

    kubectl: Path
    kubeconfig: Path

    def __call__(self, *arguments: str, stdin: str | None = None) -> str:
        """What kubectl prints; fails the test when kubectl fails."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode == 0, f"kubectl {' '.join(arguments)}: {done.stderr}"
        return done.stdout

    def refused(self, *arguments: str, stdin: str | None = None) -> str:
        """Why kubectl refuses; fails the test when it does not."""
        done = self.run(*arguments, stdin=stdin)
        assert done.returncode != 0, f"kubectl {' '.join(arguments)} was not refused: {done.stdout}"
        return done.stderr

    def answers(self, *arguments: str) -> bool:
        return self.run(*arguments).returncode == 0

    def get(self, *arguments: str) -> dict[str, Any]:
        """The object, or the list of objects under `items`, that `kubectl get` finds."""
        found: dict[str, Any] = json.loads(self("get", "-o", "json", *arguments))
        return found

    def apply(self, manifest: Mapping[str, Any], *arguments: str) -> str:
        """Server-side apply of one object."""
        return self("apply", "--server-side", *arguments, "-f", "-", stdin=json.dumps(manifest))

    def create(self, manifest: Mapping[str, Any], *arguments: str) -> str:
        """Create one object, return its name (which the server may have made up)."""
        return self("create", "-f", "-", "-o", "name", *arguments, stdin=json.dumps(manifest)).strip().partition("/")[2]

    def as_service_account(self, namespace: str, name: str) -> Kube:
        """The same cluster seen by a ServiceAccount, with a token of one hour and nothing else."""
        token = self("create", "token", name, "-n", namespace, "--duration=1h").strip()
        config = json.loads(self("config", "view", "--minify", "--flatten", "--raw", "-o", "json"))
        config["users"] = [{"name": name, "user": {"token": token}}]
        config["contexts"][0]["context"] |= {"user": name, "namespace": namespace}
        return Kube(self.kubectl, write_kubeconfig(self.kubeconfig.parent / f"{namespace}.{name}.kubeconfig", config))

    def run(self, *arguments: str, stdin: str | None = None) -> subprocess.CompletedProcess[str]:
        """All that kubectl says, judged by nobody."""
        command = [str(self.kubectl), "--kubeconfig", str(self.kubeconfig), *arguments]
        return subprocess.run(command, input=stdin, capture_output=True, text=True, timeout=60, check=False)


def write_kubeconfig(path: Path, config: Mapping[str, Any]) -> Path:
    """Write a kubeconfig that only its owner can read; JSON is YAML too."""
    path.touch(mode=0o600)
    path.write_text(json.dumps(config))
    return path


def client_kubeconfig(path: Path, server: str, certificates: Path, client: str) -> Path:
    """A kubeconfig for `client`, who has a certificate in the folder `certificates`."""
    user = {"client-certificate": f"{certificates}/{client}.crt", "client-key": f"{certificates}/{client}.key"}
    config = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [
            {"name": "iris", "cluster": {"server": server, "certificate-authority": f"{certificates}/ca.crt"}}
        ],
        "users": [{"name": client, "user": user}],
        "contexts": [{"name": "iris", "context": {"cluster": "iris", "user": client}}],
        "current-context": "iris",
    }
    return write_kubeconfig(path, config)
