"""Makes the worker Deployments of an IrisModel what was decided, and says what they are. Decides nothing itself."""

from __future__ import annotations

from collections.abc import Iterable

import structlog

from iris_operator.cluster import Cluster
from iris_operator.drift import covers
from iris_operator.manifests import Pods, deployment_name, queue_name, worker_deployment
from iris_operator.queues import Queues
from iris_operator.spec import IrisModelSpec, ModelVersion
from iris_operator.store import Body, Key, Store, version_of
from iris_operator.telemetry import OperatorMetrics

_log = structlog.get_logger(__name__)


class Deployments:
    """The Deployments of all IrisModels: one a version, as the watch tells of them and as we apply them."""

    def __init__(self, cluster: Cluster, queues: Queues, store: Store, pods: Pods, metrics: OperatorMetrics) -> None:
        self._cluster = cluster
        self._queues = queues
        self._store = store
        self._pods = pods
        self._metrics = metrics

    def ready(self, spec: IrisModelSpec, version: str) -> int:
        """Return how many workers of the newest template are ready."""
        found = (self._of(spec, version) or {}).get("status") or {}
        return min(int(found.get("readyReplicas") or 0), int(found.get("updatedReplicas") or 0))

    def current(self, spec: IrisModelSpec, version: str) -> int:
        """Return how many workers there shall be by now."""
        found = self._of(spec, version)
        return int(found["spec"].get("replicas") or 0) if found else 0

    async def look_again(self) -> None:
        """Before a version is given up: a watch that tells nothing may be blind, and its workers ready long since."""
        for body in await self._cluster.list_deployments():
            self._store.deployments.see(body)

    async def apply(self, spec: IrisModelSpec, version: ModelVersion, replicas: int, *, may_shrink: bool) -> None:
        """Create a version's workers or change them; nothing is written where nothing differs."""
        manifest = worker_deployment(spec, version, replicas, self._pods)
        there = self._of(spec, version.version)
        if there is not None and covers(there, manifest):
            return
        if there is not None and replicas < int(there["spec"].get("replicas") or 0) and may_shrink:
            busy = await self._queues.busy_hosts(queue_name(spec.name, version.version))
            labels = manifest["spec"]["selector"]["matchLabels"]
            await self._cluster.mark_idle_first(spec.namespace, labels, busy)
        self._store.deployments.see(await self._cluster.apply(manifest))
        self._metrics.writes.labels("apply").inc()
        _log.info("workers applied", version=version.version, replicas=replicas)

    async def remove_all_but(self, spec: IrisModelSpec, needed: Iterable[ModelVersion]) -> None:
        """Delete the workers of versions that are drained, and of any that nobody knows of."""
        kept = {version.version for version in needed}
        for deployment in self._store.deployments_of(Key(spec.namespace, spec.name)):
            if version_of(deployment) in kept or deployment["metadata"].get("deletionTimestamp"):
                continue
            await self._cluster.delete(spec.namespace, deployment["metadata"]["name"])
            self._metrics.writes.labels("delete").inc()
            self._store.deployments.see(deployment, deleted=True)
            _log.info("workers removed", version=version_of(deployment))

    def _of(self, spec: IrisModelSpec, version: str) -> Body | None:
        return self._store.deployment(Key(spec.namespace, deployment_name(spec.name, version)))
