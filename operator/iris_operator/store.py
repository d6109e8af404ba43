"""What the watches have told: the newest IrisModels and worker Deployments. Holds, and decides nothing."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple

from iris_operator.manifests import MODEL_LABEL, VERSION_LABEL

Body = Mapping[str, Any]


class Key(NamedTuple):
    """An object's place."""

    namespace: str
    name: str


class Kind:
    """The objects of one kind. An older body never replaces a newer one: our own writes come back late in the watch."""

    def __init__(self) -> None:
        self.bodies: dict[Key, Body] = {}
        self._gone: dict[Key, int] = {}
        """Resource versions of deletions since the last listing: the reply to a write of ours may come after them."""
        self.behind_since: float | None = None
        """When a listing brought what the watch had not told; None again with the watch's next word."""

    def see(self, body: Body, *, deleted: bool = False) -> bool:
        """Take note of a body; returns whether it is news."""
        key = key_of(body)
        held = self.bodies.get(key)
        version = _resource_version(body)
        if version <= self._gone.get(key, -1) or (held is not None and version < _resource_version(held)):
            return False
        if deleted:
            self._gone[key] = version
            return self.bodies.pop(key, None) is not None
        # nothing here asks who owns which field, and the lists of that are half of what there is to hold
        meta = {name: value for name, value in body["metadata"].items() if name != "managedFields"}
        self.bodies[key] = {**body, "metadata": meta}
        return held is None or version > _resource_version(held)

    def see_all(self, listed: Iterable[Body], before: Mapping[Key, Body], now: float) -> set[Key]:
        """Take note of a complete listing, begun when `before` was held; returns what the watch had not told."""
        self._gone.clear()
        bodies = {key_of(body): body for body in listed}
        news = {key for key, body in bodies.items() if self.see(body)}
        for key, body in before.items():
            if key not in bodies and self.bodies.get(key) is body:
                del self.bodies[key]
                news.add(key)
        if news and self.behind_since is None:
            self.behind_since = now
        return news


class Store:
    """What is known of the namespace."""

    def __init__(self) -> None:
        self.models = Kind()
        self.deployments = Kind()

    def model(self, key: Key) -> Body | None:
        return self.models.bodies.get(key)

    def deployment(self, key: Key) -> Body | None:
        return self.deployments.bodies.get(key)

    def deployments_of(self, model: Key) -> list[Body]:
        return [body for body in self.deployments.bodies.values() if model_of(body) == model]


def key_of(body: Body) -> Key:
    return Key(body["metadata"]["namespace"], body["metadata"]["name"])


def model_of(deployment: Body) -> Key | None:
    """The IrisModel a worker Deployment belongs to; None when it is not one of ours."""
    meta = deployment["metadata"]
    owners = (owner["name"] for owner in meta.get("ownerReferences") or () if owner.get("kind") == "IrisModel")
    name = next(owners, None) or (meta.get("labels") or {}).get(MODEL_LABEL)
    return Key(meta["namespace"], name) if name else None


def version_of(deployment: Body) -> str:
    """The model version a worker Deployment runs."""
    return str((deployment["metadata"].get("labels") or {}).get(VERSION_LABEL, ""))


def _resource_version(body: Body) -> int:
    # decimal numbers that grow, also from one object of a name to the next: Kubernetes guarantees it since 1.35
    return int(body["metadata"]["resourceVersion"])
