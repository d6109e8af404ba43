"""Objects that the cluster tests create: the smallest that the restricted Pod Security standard lets through."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

CONTAINER = {
    "name": "main",
    "image": "example.invalid/main:1",  # never pulled: kwok runs nothing
    "securityContext": {
        "allowPrivilegeEscalation": False,
        "capabilities": {"drop": ["ALL"]},
        "runAsNonRoot": True,
        "seccompProfile": {"type": "RuntimeDefault"},
    },
}


def deployment(name: str, replicas: int, annotations: Mapping[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    """A Deployment whose pods carry `annotations`; `spec` is merged over its own."""
    labels = {"app": name}
    metadata = {"labels": labels} | ({"annotations": dict(annotations)} if annotations else {})
    template = {"metadata": metadata, "spec": {"containers": [CONTAINER]}}
    own = {"replicas": replicas, "selector": {"matchLabels": labels}, "template": template}
    return {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": name}, "spec": own | spec}


def pod(name: str, **security: Any) -> dict[str, Any]:
    """A pod whose container has `security` merged over the settings that are allowed."""
    container = CONTAINER | {"securityContext": {**CONTAINER["securityContext"], **security}}  # type: ignore[dict-item]
    return {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": name}, "spec": {"containers": [container]}}


def custom_resource(group: str, rule: str, message: str) -> dict[str, Any]:
    """A CustomResourceDefinition `Flower` whose spec has integers `low` and `high` and one CEL rule."""
    numbers = {"low": {"type": "integer"}, "high": {"type": "integer"}}
    rules = [{"rule": rule, "message": message}]
    spec = {"type": "object", "required": list(numbers), "properties": numbers, "x-kubernetes-validations": rules}
    schema = {"openAPIV3Schema": {"type": "object", "required": ["spec"], "properties": {"spec": spec}}}
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"flowers.{group}"},
        "spec": {
            "group": group,
            "scope": "Namespaced",
            "names": {"kind": "Flower", "plural": "flowers", "singular": "flower"},
            "versions": [{"name": "v1", "served": True, "storage": True, "schema": schema}],
        },
    }
