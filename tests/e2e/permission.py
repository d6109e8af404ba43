"""Decides which cluster the end-to-end tests may use. They are never started by chance: somebody has to say so."""

from __future__ import annotations

from collections.abc import Mapping

from cluster.choice import OUR_CONTEXTS, ForeignCluster

OWN = "control-plane"
"""A control plane of the tests' own, whose pods are processes: nothing is pulled."""
THEIRS = "1"
"""The cluster of KUBECONFIG."""
HOW = (
    "tests/e2e install a chart, so they want to be told where. Say one of\n"
    f"  IRIS_E2E={OWN}   a control plane of their own (make kube-tools), with processes for pods\n"
    f"  IRIS_E2E={THEIRS}               the cluster of KUBECONFIG: {OUR_CONTEXTS}..., or what IRIS_E2E_CONTEXT says"
)


class NotAsked(Exception):
    """Nobody has said that the tests may use a cluster; the text says how."""


def ground(env: Mapping[str, str], current_context: str) -> str:
    """OWN or THEIRS; raises NotAsked, or ForeignCluster when KUBECONFIG leads to another cluster than was named."""
    asked = env.get("IRIS_E2E", "")
    if asked == OWN:
        return OWN
    if asked != THEIRS:
        raise NotAsked(HOW)
    if not env.get("KUBECONFIG"):
        raise NotAsked(f"KUBECONFIG is not set.\n{HOW}")
    named = env.get("IRIS_E2E_CONTEXT", "")
    if named != current_context if named else not current_context.startswith(OUR_CONTEXTS):
        wanted = named or f"{OUR_CONTEXTS}..."
        raise ForeignCluster(
            f"KUBECONFIG has the context {current_context!r}, and {wanted!r} is what may be used.\n{HOW}"
        )
    return THEIRS
