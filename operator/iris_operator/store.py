"""What the watches have told: the newest IrisModels and worker Deployments. Holds, and decides nothing."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from iris_operator.manifests import MODEL_LABEL, VERSION_LABEL


class Key(NamedTuple):
    """An IrisModel's place."""

    namespace: str
    name: str


@dataclass
class Store:
    """Bodies by key. An older body never replaces a newer one: our own writes come back late through the watch."""

    models: dict[Key, Mapping[str, Any]] = field(default_factory=dict)
    _deployments: dict[Key, dict[str, Mapping[str, Any]]] = field(default_factory=dict)

    def see_model(self, body: Mapping[str, Any], *, deleted: bool = False) -> Key:
        key = _key(body)
        if deleted:
            if key in self.models and self.models[key]["metadata"]["uid"] == body["metadata"]["uid"]:
                del self.models[key]
        elif key not in self.models or _is_newer(body, self.models[key]):
            self.models[key] = body
        return key

    def see_deployment(self, body: Mapping[str, Any], *, deleted: bool = False) -> Key | None:
        """Take note of a worker Deployment; returns the IrisModel it belongs to, None when it is not one of ours."""
        own_labels = body["metadata"].get("labels") or {}
        model = own_labels.get(MODEL_LABEL) or _owner(body)
        if not model:
            return None
        key, name = Key(body["metadata"]["namespace"], model), body["metadata"]["name"]
        held = self._deployments.setdefault(key, {})
        if deleted:
            held.pop(name, None)
        elif name not in held or _is_newer(body, held[name]):
            held[name] = body
        return key

    def deployments(self, key: Key) -> Iterator[Mapping[str, Any]]:
        return iter(list(self._deployments.get(key, {}).values()))

    def deployment(self, key: Key, name: str) -> Mapping[str, Any] | None:
        return self._deployments.get(key, {}).get(name)


def version_of(deployment: Mapping[str, Any]) -> str:
    """The model version a worker Deployment runs."""
    return str((deployment["metadata"].get("labels") or {}).get(VERSION_LABEL, ""))


def _key(body: Mapping[str, Any]) -> Key:
    return Key(body["metadata"]["namespace"], body["metadata"]["name"])


def _owner(body: Mapping[str, Any]) -> str:
    owners = body["metadata"].get("ownerReferences") or ()
    return next((owner["name"] for owner in owners if owner.get("kind") == "IrisModel"), "")


def _is_newer(body: Mapping[str, Any], held: Mapping[str, Any]) -> bool:
    if body["metadata"]["uid"] != held["metadata"]["uid"]:
        return True
    # resource versions are decimal numbers that grow: Kubernetes guarantees it since 1.35
    return int(body["metadata"]["resourceVersion"]) >= int(held["metadata"]["resourceVersion"])
