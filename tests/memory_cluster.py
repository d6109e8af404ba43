"""Stands in for the API server where a test is about the reconcile alone: objects in dicts, writes counted, faults."""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from typing import Any

from iris_operator.cluster import Cluster
from iris_operator.errors import NotYet, Refused
from iris_operator.manifests import VERSION_LABEL
from iris_operator.plan import Event
from iris_operator.spec import IrisModelSpec
from iris_operator.store import Store

DIGESTS = {version: f"sha256:{version[:1] * 64}" for version in "123456789"}


def iris_model(version: str = "1", name: str = "iris", **spec: Any) -> dict[str, Any]:
    """An IrisModel as a person writes it."""
    model = {"version": version, "uri": f"models://{name}/{version}", "digest": DIGESTS[version]}
    return {
        "apiVersion": "serving.iris.dev/v1alpha1",
        "kind": "IrisModel",
        "metadata": {"name": name, "namespace": "ns"},
        "spec": {"model": model, **spec},
    }


class Faults:
    """Counts calls that reach the other side; one of them takes effect, but its caller never learns of it."""

    def __init__(self) -> None:
        self.calls = 0
        self.fail_at: int | None = None

    def after(self) -> None:
        self.calls += 1
        if self.calls == self.fail_at:
            raise NotYet("injected")


class MemoryCluster(Cluster):
    """Plays API server, Deployment controller and, at once, the watches that fill the store."""

    def __init__(self, faults: Faults) -> None:
        self.faults = faults
        self.store = Store()
        self.models: dict[str, dict[str, Any]] = {}
        self.deployments: dict[str, dict[str, Any]] = {}
        self.events: dict[str, Event] = {}
        self.never_ready: set[str] = set()
        """Versions whose pods do not become ready."""
        self.refuses: Callable[[Mapping[str, Any]], bool] = lambda _resources: False
        """Whether the API server finds fault with a container's resources."""
        self.asked = 0
        """Deployments applied, the refused ones too."""
        self.marked: list[Mapping[str, bool]] = []
        self.writes = 0
        self._version = 0

    # --- what people do ---------------------------------------------------------------------------------------------

    def put(self, body: Mapping[str, Any]) -> None:
        """Create an IrisModel or change its spec."""
        name = body["metadata"]["name"]
        held = self.models.get(name) or {"metadata": {"generation": 0, "uid": f"uid-{self._version}"}}
        meta = {**held["metadata"], **body["metadata"], "generation": held["metadata"]["generation"] + 1}
        self.models[name] = {**held, **copy.deepcopy(dict(body)), "metadata": meta}
        self._tell_model(name)

    def delete_model(self, name: str) -> None:
        """And what it owns, as the garbage collector does."""
        body = self._changed(self.models.pop(name))
        self.store.models.see(body, deleted=True)
        for deployment in list(self.deployments.values()):
            if deployment["metadata"]["ownerReferences"][0]["name"] == name:
                self._delete_deployment(deployment["metadata"]["name"])

    def restart_watches(self) -> Store:
        """What a new operator process finds."""
        self.store = Store()
        for body in self.models.values():
            self.store.models.see(copy.deepcopy(body))
        for body in self.deployments.values():
            self.store.deployments.see(copy.deepcopy(body))
        return self.store

    # --- Cluster ----------------------------------------------------------------------------------------------------

    async def list_models(self) -> list[dict[str, Any]]:
        self.faults.after()
        return copy.deepcopy(list(self.models.values()))

    async def list_deployments(self) -> list[dict[str, Any]]:
        self.faults.after()
        return copy.deepcopy(list(self.deployments.values()))

    async def apply(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        self.asked += 1
        (container,) = manifest["spec"]["template"]["spec"]["containers"]
        if self.refuses(container["resources"]):
            self.faults.after()
            raise Refused("422: Limit must be set for non overcommitable resources")
        self.writes += 1
        name = manifest["metadata"]["name"]
        held = self.deployments.get(name) or {"metadata": {"uid": f"uid-{self._version}"}}
        body = copy.deepcopy(dict(manifest))
        body["metadata"] = {**held["metadata"], **body["metadata"]}
        self.deployments[name] = body
        self.settle(name)
        self.faults.after()
        return copy.deepcopy(self.deployments[name])

    def settle(self, name: str) -> None:
        """Let a Deployment's pods become ready, or not, and tell the watch."""
        body = self.deployments[name]
        replicas = body["spec"]["replicas"]
        ready = 0 if body["metadata"]["labels"][VERSION_LABEL] in self.never_ready else replicas
        body["status"] = {"replicas": replicas, "updatedReplicas": replicas, "readyReplicas": ready}
        self.store.deployments.see(copy.deepcopy(self._changed(body)))

    async def scale(self, namespace: str, name: str, replicas: int) -> dict[str, Any]:
        self.writes += 1
        self.deployments[name]["spec"]["replicas"] = replicas
        self.settle(name)
        self.faults.after()
        return copy.deepcopy(self.deployments[name])

    async def delete(self, namespace: str, name: str) -> None:
        self.writes += 1
        self._delete_deployment(name)
        self.faults.after()

    async def patch_status(self, body: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
        self.writes += 1
        name = body["metadata"]["name"]
        held = self.models.get(name)
        if held is None:
            return {}
        if held["metadata"]["resourceVersion"] != body["metadata"]["resourceVersion"]:
            raise NotYet("409: it has changed")
        held["status"] = merged(held.get("status") or {}, changes)
        self._tell_model(name)
        self.faults.after()
        return copy.deepcopy(held)

    async def tell(self, spec: IrisModelSpec, happening: Event) -> None:
        self.writes += 1
        self.events[f"{spec.name}/{spec.generation}/{happening.reason}/{happening.message}"] = happening
        self.faults.after()

    async def mark_idle_first(self, namespace: str, labels: Mapping[str, str], busy: Mapping[str, bool]) -> None:
        self.marked.append(dict(busy))
        self.faults.after()

    # --- within -----------------------------------------------------------------------------------------------------

    def _changed(self, body: dict[str, Any]) -> dict[str, Any]:
        self._version += 1
        body["metadata"]["resourceVersion"] = str(self._version)
        return body

    def _tell_model(self, name: str) -> None:
        self.store.models.see(copy.deepcopy(self._changed(self.models[name])))

    def _delete_deployment(self, name: str) -> None:
        if body := self.deployments.pop(name, None):
            self.store.deployments.see(self._changed(body), deleted=True)


def merged(old: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
    """A JSON merge patch, RFC 7396."""
    result = dict(old)
    for name, value in changes.items():
        if value is None:
            result.pop(name, None)
        elif isinstance(value, Mapping):
            before = result.get(name)
            result[name] = merged(before if isinstance(before, Mapping) else {}, value)
        else:
            result[name] = copy.deepcopy(value)
    return result
