"""The Kubernetes API, six verbs of it. The only door to it; everything else works on plain dicts."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Protocol

import httpx2
from lightkube import ApiError, AsyncClient
from lightkube.codecs import from_dict
from lightkube.generic_resource import create_namespaced_resource
from lightkube.resources.apps_v1 import Deployment
from lightkube.resources.core_v1 import Event, Pod
from lightkube.types import CascadeType, PatchType

from iris_operator.errors import NotYet
from iris_operator.manifests import DELETION_COST, MANAGER
from iris_operator.rollout import Event as Happening
from iris_operator.spec import GROUP, PLURAL, VERSION, IrisModelSpec

IrisModel: Any = create_namespaced_resource(GROUP, VERSION, "IrisModel", PLURAL)


class Cluster(Protocol):
    """What a reconcile does to the cluster; each raises `NotYet` when the API server cannot do it now."""

    async def apply(self, manifest: Mapping[str, Any]) -> dict[str, Any]: ...

    async def delete(self, namespace: str, name: str) -> None: ...

    async def write_status(self, namespace: str, name: str, status: Mapping[str, Any]) -> dict[str, Any]: ...

    async def tell(self, spec: IrisModelSpec, happening: Happening) -> None: ...

    async def mark_idle_first(self, namespace: str, selector: str, busy: Mapping[str, bool]) -> None: ...


class KubernetesCluster:
    """`Cluster` by lightkube: server-side apply under our own field manager, so that others' fields stay theirs."""

    def __init__(self, client: AsyncClient) -> None:
        self._client = client

    async def apply(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        """Create or change a Deployment; returns it as it is now."""
        applied = await _try(self._client.apply(from_dict(dict(manifest)), field_manager=MANAGER, force=True))
        return dict(applied.to_dict())

    async def delete(self, namespace: str, name: str) -> None:
        """Delete a Deployment and then its pods; one that is gone is fine."""
        try:
            await _try(self._client.delete(Deployment, name, namespace=namespace, cascade=CascadeType.BACKGROUND))
        except _Gone:
            pass

    async def write_status(self, namespace: str, name: str, status: Mapping[str, Any]) -> dict[str, Any]:
        """Merge into an IrisModel's status; returns the whole object, or {} when it is gone."""
        try:
            patched = await _try(
                self._client.patch(
                    IrisModel.Status, name, {"status": dict(status)}, namespace=namespace, patch_type=PatchType.MERGE
                )
            )
        except _Gone:
            return {}
        return dict(patched.to_dict())

    async def tell(self, spec: IrisModelSpec, happening: Happening) -> None:
        """Create an Event about an IrisModel, for `kubectl describe`."""
        now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
        event = {
            "apiVersion": "v1",
            "kind": "Event",
            "metadata": {"generateName": f"{spec.name}-", "namespace": spec.namespace},
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
        await _try(self._client.create(Event.from_dict(event)))

    async def mark_idle_first(self, namespace: str, selector: str, busy: Mapping[str, bool]) -> None:
        """Give idle pods the lower deletion cost, so that a smaller Deployment loses them and not the busy ones."""
        wanted_labels: dict[str, Any] = dict(part.split("=", 1) for part in selector.split(","))
        async for pod in self._client.list(Pod, namespace=namespace, labels=wanted_labels):
            meta: Any = pod.metadata
            cost = "1000" if busy.get(meta.name) else "0"
            if (meta.annotations or {}).get(DELETION_COST, "0") != cost:
                patch = {"metadata": {"annotations": {DELETION_COST: cost}}}
                try:
                    await _try(
                        self._client.patch(Pod, meta.name, patch, namespace=namespace, patch_type=PatchType.MERGE)
                    )
                except _Gone:
                    continue


class _Gone(NotYet):
    """404: what was to be changed is not there."""


async def _try(call: Any) -> Any:
    """Await a request; the client's own exceptions end here."""
    try:
        return await call
    except ApiError as exc:
        kind = _Gone if exc.status.code == 404 else NotYet
        raise kind(f"the API server answered {exc.status.code}: {exc.status.message}"[:300]) from exc
    except (httpx2.HTTPError, OSError) as exc:
        raise NotYet(f"the API server cannot be reached: {type(exc).__name__}") from exc
