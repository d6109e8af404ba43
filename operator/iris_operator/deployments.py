"""Makes the worker Deployments of an IrisModel what was decided, and says what they are. Decides nothing itself."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import structlog

from iris_operator.cluster import Cluster
from iris_operator.drift import covers
from iris_operator.errors import Refused
from iris_operator.manifests import Pods, deployment_name, queue_name, worker_deployment
from iris_operator.queues import Queues
from iris_operator.spec import IrisModelSpec, ModelVersion
from iris_operator.store import Body, Key, Store, version_of
from iris_operator.telemetry import OperatorMetrics

_log = structlog.get_logger(__name__)


ASK_AGAIN_SECONDS = 60.0
"""What was refused is asked for again this often, for what refuses may change without the spec; a new spec at once."""


@dataclass(frozen=True)
class Refusal:
    """What the API server said to a Deployment that follows from a spec."""

    generation: int
    message: str
    again_at: float

    def stands(self, spec: IrisModelSpec, now: float) -> bool:
        """Return whether to take it as still said."""
        return self.generation == spec.generation and now < self.again_at


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

    async def apply(
        self,
        spec: IrisModelSpec,
        versions: Iterable[ModelVersion],
        replicas: Mapping[str, int],
        known: Mapping[str, Refusal],
        now: float,
        *,
        may_shrink: bool,
    ) -> dict[str, Refusal]:
        """Create these versions' workers or change them; returns what the API server refuses of that, by version.

        Nothing is written where nothing differs, and what is `known` to be refused is not asked for at every look.
        """
        refused: dict[str, Refusal] = {}
        for version in versions:
            name = version.version
            refusal = await self._apply(spec, version, replicas[name], known.get(name), now, may_shrink=may_shrink)
            if refusal is not None:
                refused[name] = refusal
        return refused

    async def _apply(
        self,
        spec: IrisModelSpec,
        version: ModelVersion,
        replicas: int,
        known: Refusal | None,
        now: float,
        *,
        may_shrink: bool,
    ) -> Refusal | None:
        manifest = worker_deployment(spec, version, replicas, self._pods)
        there = self._of(spec, version.version)
        if there is not None and covers(there, manifest):
            return None
        shown = int(there["spec"].get("replicas") or 0) if there is not None else 0
        if replicas < shown and may_shrink:
            busy = await self._queues.busy_hosts(queue_name(spec.name, version.version))
            labels = manifest["spec"]["selector"]["matchLabels"]
            await self._cluster.mark_idle_first(spec.namespace, labels, busy)
        if known is None or not known.stands(spec, now):
            try:
                applied = await self._cluster.apply(manifest)
            except Refused as exc:
                known = Refusal(spec.generation, str(exc), now + ASK_AGAIN_SECONDS)
                _log.warning("workers refused", version=version.version, reason=known.message)
            else:
                self._applied(applied, version, replicas)
                return None
        if there is not None and replicas != shown:  # whatever is wrong with the rest, the queue is to be followed
            self._applied(
                await self._cluster.scale(spec.namespace, manifest["metadata"]["name"], replicas), version, replicas
            )
        return known

    def _applied(self, body: Body, version: ModelVersion, replicas: int) -> None:
        self._store.deployments.see(body)
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
