"""Decides which cluster the tests may use, and says what to do when there is none; starts nothing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

KUBE_TOOLS = Path(__file__).parents[2] / "k8s" / "tools" / "kube_tools.py"
OUR_CONTEXTS = "kind-iris"  # `kind create cluster --name iris` or `iris-...` calls its context so


class NoCluster(Exception):
    """There is nothing to run the cluster tests on; the text says what to do."""


class ForeignCluster(Exception):
    """KUBECONFIG names a cluster that was not made for these tests; the text says what to do."""


def find_programs() -> Path:
    """The folder with kube-apiserver and its kind; raises NoCluster with the remedy when it is not there."""
    return _where()


def find_helm3() -> Path:
    """Helm 3, which is not among them; raises NoCluster too."""
    return _where("helm3") / "helm3"


def _where(*what: str) -> Path:
    asked = subprocess.run([sys.executable, KUBE_TOOLS, "--where", *what], capture_output=True, text=True, check=False)
    if asked.returncode:
        raise NoCluster(asked.stderr.strip())
    return Path(asked.stdout.strip())


def kind_kubeconfig(env: Mapping[str, str], current_context: str) -> Path | None:
    """The kubeconfig of a kind cluster made for these tests, None when the user names no cluster at all."""
    if not env.get("KUBECONFIG"):
        return None
    if not current_context.startswith(OUR_CONTEXTS):
        raise ForeignCluster(
            f"KUBECONFIG={env['KUBECONFIG']} has the context {current_context!r}: these tests create and delete, "
            f"so they touch only contexts named {OUR_CONTEXTS}...\n"
            "  remedy: unset KUBECONFIG (the tests then start their own cluster), or kind create cluster --name iris"
        )
    return Path(env["KUBECONFIG"])
