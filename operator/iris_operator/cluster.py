"""The Kubernetes API, as few verbs of it as we need. The only door to it; everything else works on plain dicts."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Mapping
from datetime import UTC, datetime
from typing import Any, Protocol, TypeVar

import httpx2
from lightkube import ApiError, AsyncClient
from lightkube.codecs import from_dict
from lightkube.generic_resource import create_namespaced_resource
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import Event, Pod
from lightkube.types import CascadeType, PatchType

from iris_operator.errors import NotYet, Refused
from iris_operator.manifests import DELETION_COST, MANAGED, MANAGER
from iris_operator.plan import Event as Happening
from iris_operator.spec import GROUP, PLURAL, VERSION, IrisModelSpec

IrisModel: Any = create_namespaced_resource(GROUP, VERSION, "IrisModel", PLURAL)
T = TypeVar("T")


class Cluster(Protocol):
    """What a reconcile does to the cluster; each raises `NotYet` when the API server cannot do it now.

    Only `apply` carries what people wrote; it raises `Refused` when the API server finds fault with that.
    """

    async def list_models(self) -> list[dict[str, Any]]: ...

    async def list_deployments(self) -> list[dict[str, Any]]: ...

    async def apply(self, manifest: Mapping[str, Any]) -> dict[str, Any]: ...

    async def scale(self, namespace: str, name: str, replicas: int) -> dict[str, Any]: ...

    async def delete(self, namespace: str, name: str) -> None: ...

    async def patch_status(self, body: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]: ...

    async def tell(self, spec: IrisModelSpec, happening: Happening) -> None: ...

    async def mark_idle_first(self, namespace: str, labels: Mapping[str, str], busy: Mapping[str, bool]) -> None: ...


class KubernetesCluster:
    """`Cluster` by lightkube: server-side apply under our own field manager, so that others' fields stay theirs."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def list_models(self) -> list[dict[str, Any]]:
        """Return every IrisModel of the namespace."""
        return await _try(self._list(IrisModel, {}))

    async def list_deployments(self) -> list[dict[str, Any]]:
        """Return every Deployment of ours in the namespace."""
        return await _try(self._list(Deployment, dict([MANAGED.split("=")])))

    async def apply(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Create or change a Deployment; returns it as it is now."""
        try:
            applied = await _try(self._client.apply(from_dict(dict(manifest)), field_manager=MANAGER, force=True))
        except _Invalid as exc:
            raise Refused(str(exc)) from exc
        return _plain(applied)

    async def scale(self, namespace: str, name: str, replicas: int) -> dict[str, Any]:
        """Change nothing of a Deployment but its size; returns it as it is now."""
        patch = {"spec": {"replicas": replicas}}
        scaled = await _try(
            self._client.patch(
                Deployment, name, patch, namespace=namespace, patch_type=PatchType.MERGE, field_manager=MANAGER
            )
        )
        return _plain(scaled)

    async def delete(self, namespace: str, name: str) -> None:
        """Delete a Deployment and then its pods; one that is gone is fine."""
        try:
            await _try(self._client.delete(Deployment, name, namespace=namespace, cascade=CascadeType.BACKGROUND))
        except _Gone:
            pass

    async def patch_status(self, body: Mapping[str, Any], changes: Mapping[str, Any]) -> dict[str, Any]:
        """Merge into the status of an IrisModel that still is as `body`; returns it whole, or {} when it is gone."""
        meta = body["metadata"]
        patch = {"metadata": {"resourceVersion": meta["resourceVersion"], "uid": meta["uid"]}, "status": dict(changes)}
        try:
            patched = await _try(
                self._client.patch(
                    IrisModel.Status, meta["name"], patch, namespace=meta["namespace"], patch_type=PatchType.MERGE
                )
            )
        except _Gone:
            return {}
        return _plain(patched)

    async def tell(self, spec: IrisModelSpec, happening: Happening) -> None:
        """Create an Event about an IrisModel, for `kubectl describe`; the same one again is no second one."""
        try:
            await _try(self._client.create(Event.from_dict(_event(spec, happening))))
        except _There:
            pass

    async def mark_idle_first(self, namespace: str, labels: Mapping[str, str], busy: Mapping[str, bool]) -> None:
        """Give idle pods the lower deletion cost, so that a smaller Deployment loses them and not the busy ones."""
        for pod in await _try(self._list(Pod, labels, namespace)):
            meta = pod["metadata"]
            cost = "1000" if busy.get(meta["name"]) else "0"
            if (meta.get("annotations") or {}).get(DELETION_COST, "0") != cost:
                await self._annotate_pod(namespace, meta["name"], {DELETION_COST: cost})

    async def _annotate_pod(self, namespace: str, name: str, annotations: Mapping[str, str]) -> None:
        patch = {"metadata": {"annotations": dict(annotations)}}
        try:
            await _try(self._client.patch(Pod, name, patch, namespace=namespace, patch_type=PatchType.MERGE))
        except _Gone:
            pass

    async def _list(self, kind: Any, labels: Mapping[str, Any], namespace: str | None = None) -> list[dict[str, Any]]:
        found = self._client.list(kind, namespace=namespace, labels=dict(labels), chunk_size=500)
        return [_plain(item) async for item in found]


def _plain(found: Any) -> dict[str, Any]:
    return dict(found.to_dict())


def _event(spec: IrisModelSpec, happening: Happening) -> dict[str, Any]:
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    text = f"{spec.uid}/{spec.generation}/{happening.reason}/{happening.message}"
    return {
        "apiVersion": "v1",
        "kind": "Event",
        "metadata": {
            "name": f"{spec.name}.{hashlib.sha256(text.encode()).hexdigest()[:16]}",
            "namespace": spec.namespace,
        },
        "involvedObject": {
            "apiVersion": f"{GROUP}/{VERSION}",
            "kind": "IrisModel",
            "name": spec.name,
            "namespace": spec.namespace,
            "uid": spec.uid,
        },
        "type": happening.kind,
        "reason": happening.reason,
        "message": happening.message[:1024],
        "source": {"component": MANAGER},
        "firstTimestamp": now,
        "lastTimestamp": now,
        "count": 1,
    }


class _Gone(NotYet):
    """404: what was to be changed is not there."""


class _There(NotYet):
    """409 to a create: it is there already; to anything else: it has changed since we looked."""


class _Invalid(NotYet):
    """422, and 400 where it could not even be read or an admission webhook said no: the same again is refused again."""


async def _try(call: Awaitable[T]) -> T:
    """Await a request; the client's own exceptions end here."""
    try:
        return await call
    except ApiError as exc:
        kind = {400: _Invalid, 404: _Gone, 409: _There, 422: _Invalid}.get(exc.status.code or 0, NotYet)
        raise kind(f"the API server answered {exc.status.code}: {exc.status.message}"[:300]) from exc
    except (httpx2.HTTPError, OSError) as exc:
        raise NotYet(f"the API server cannot be reached: {type(exc).__name__}") from exc
