"""The whole story of one look at an IrisModel: read, decide, do what differs. Deciding lives elsewhere.

Every step may be done again without harm, and the order is such that a crash between two of them loses no job: workers
come before weight, weight goes before workers, and what was decided is remembered only after it was done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from math import ceil
from typing import Any

import structlog

from iris_operator import conditions, scaling, status
from iris_operator.cluster import Cluster
from iris_operator.conditions import Condition
from iris_operator.drift import covers
from iris_operator.errors import InvalidSpec, NotYet
from iris_operator.manifests import Pods, deployment_name, queue_name, worker_deployment
from iris_operator.queues import Queues, QueueSeen
from iris_operator.rollout import Golden, Plan, Seen, plan
from iris_operator.scaling import Decision, Load, Memory, Policy
from iris_operator.spec import IrisModelSpec, ModelVersion, RolloutState
from iris_operator.store import Key, Store, version_of
from iris_operator.telemetry import OperatorMetrics

_log = structlog.get_logger(__name__)


@dataclass
class _Remembered:
    """What is only in memory: after a restart it begins anew, and nothing is lost but a scaling window."""

    scaling: dict[str, Memory] = field(default_factory=dict)
    opened: set[str] = field(default_factory=set)
    last_reason: str = ""


class Reconciler:
    """Brings IrisModels to what their specs say. One object is looked at by one task at a time."""

    def __init__(
        self,
        cluster: Cluster,
        queues: Queues,
        store: Store,
        pods: Pods,
        metrics: OperatorMetrics,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._cluster = cluster
        self._queues = queues
        self._store = store
        self._pods = pods
        self._metrics = metrics
        self._clock = clock
        self._remembered: dict[Key, _Remembered] = {}

    def queues_of(self, key: Key) -> list[str]:
        """Return the queues whose readings a look at `key` needs."""
        body = self._store.models.get(key)
        if body is None:
            return []
        state = RolloutState.from_status(body.get("status") or {})
        wanted = (body["spec"].get("model") or {}).get("version")
        versions = {item.version for item in (state.stable, state.target) if item} | {*state.retiring, *state.abandoned}
        return [queue_name(key.name, version) for version in sorted(versions | ({wanted} if wanted else set()))]

    async def reconcile(self, key: Key, readings: Mapping[str, QueueSeen] | None) -> None:
        """Look at one IrisModel; raises `NotYet` when something could not be done now and is to be tried again."""
        body = self._store.models.get(key)
        if body is None or body["metadata"].get("deletionTimestamp"):
            await self._forget(key)
            return
        old = body.get("status") or {}
        try:
            spec = IrisModelSpec.from_body(body)
        except InvalidSpec as exc:
            await self._refuse(key, body, old, str(exc))
            return
        state = RolloutState.from_status(old)
        now = self._clock()
        remembered = self._remembered.setdefault(key, _Remembered())
        seen = await self._see(spec, state, readings)
        decided = plan(spec, state, seen, now)
        replicas, scaling_condition = self._scale(spec, decided, readings, remembered, now)
        await self._do(spec, decided, replicas, readings, remembered)
        await self._tell(spec, decided, remembered)
        await self._write_status(spec, decided, replicas, readings, scaling_condition, old, now)

    # --- reading ----------------------------------------------------------------------------------------------------

    async def _see(
        self, spec: IrisModelSpec, state: RolloutState, readings: Mapping[str, QueueSeen] | None
    ) -> dict[str, Seen] | None:
        if readings is None:
            return None
        seen: dict[str, Seen] = {}
        for queue in self.queues_of(Key(spec.namespace, spec.name)):
            version = queue.partition("@")[2]
            reading = readings.get(queue)
            if reading is None:
                return None
            seen[version] = Seen(
                ready_workers=self._ready(spec, version),
                backlog=reading.backlog,
                counters=reading.counters,
                rejected=reading.rejected,
                golden=await self._golden(spec, state) if _is_proving(state, version) else None,
            )
        return seen

    async def _golden(self, spec: IrisModelSpec, state: RolloutState) -> Golden | None:
        assert state.target is not None
        try:
            rows = await self._queues.golden_rows(spec.name, _golden_sources(state))
        except NotYet:
            return Golden()  # the worker is up but has not published its card: wait, do not send yet
        return await self._queues.golden_result(spec, state.target, state.started_at, [label for _, label in rows])

    def _ready(self, spec: IrisModelSpec, version: str) -> int:
        found = self._store.deployment(Key(spec.namespace, spec.name), deployment_name(spec.name, version))
        if found is None:
            return 0
        # replicas of an older template do not speak for this one
        status_ = found.get("status") or {}
        if status_.get("observedGeneration", 0) < found["metadata"].get("generation", 0):
            return 0
        return min(int(status_.get("readyReplicas") or 0), int(status_.get("updatedReplicas") or 0))

    # --- scaling ----------------------------------------------------------------------------------------------------

    def _scale(
        self,
        spec: IrisModelSpec,
        decided: Plan,
        readings: Mapping[str, QueueSeen] | None,
        remembered: _Remembered,
        now: float,
    ) -> tuple[dict[str, int], Condition]:
        """Return the replicas of every version that has workers, and the condition ScalingActive."""
        wanted: dict[str, int] = {}
        condition = Condition("ScalingActive", "False", "FixedReplicas", "spec.worker.autoscaling is not set")
        for version in decided.workers:
            is_target = version == decided.state.target
            if spec.worker.autoscaling is None:
                wanted[version.version] = _fixed(spec, decided, version)
                continue
            current = self._current(spec, version.version)
            decision = self._decide(spec, version.version, current, readings, remembered, now, is_target)
            wanted[version.version] = decision.replicas
            if not is_target:
                condition = Condition(
                    "ScalingActive", "True" if decision.active else "False", decision.reason, decision.message
                )
        for leaving in (*decided.state.retiring, *decided.state.abandoned):
            wanted.setdefault(leaving, max(1, self._current(spec, leaving)))
        return wanted, condition

    def _decide(
        self,
        spec: IrisModelSpec,
        version: str,
        current: int,
        readings: Mapping[str, QueueSeen] | None,
        remembered: _Remembered,
        now: float,
        is_target: bool,
    ) -> Decision:
        asked = spec.worker.autoscaling
        assert asked is not None
        policy = Policy(
            minimum=max(1, asked.min_replicas) if is_target else asked.min_replicas,  # what is to be proven must run
            maximum=asked.max_replicas,
            target_per_replica=asked.target_queue_length_per_replica,
            max_wait_seconds=asked.max_queue_wait_seconds,
            window_seconds=asked.scale_down_stabilization_seconds,
        )
        reading = (readings or {}).get(queue_name(spec.name, version))
        decision = scaling.decide(
            policy, current, _load(reading) if reading else None, remembered.scaling.get(version, Memory()), now
        )
        remembered.scaling[version] = decision.memory
        return decision

    def _current(self, spec: IrisModelSpec, version: str) -> int:
        found = self._store.deployment(Key(spec.namespace, spec.name), deployment_name(spec.name, version))
        return int(found["spec"].get("replicas") or 0) if found else 0

    # --- doing ------------------------------------------------------------------------------------------------------

    async def _do(
        self,
        spec: IrisModelSpec,
        decided: Plan,
        replicas: Mapping[str, int],
        readings: Mapping[str, QueueSeen] | None,
        remembered: _Remembered,
    ) -> None:
        if spec.paused:
            return
        await self._open_target(spec, decided, readings, remembered)
        for version in decided.workers:
            await self._apply_workers(spec, version, replicas[version.version], readings)
        if readings is None:
            return
        if decided.weights:
            await self._queues.write_route(spec.name, decided.weights)
        for version_name, other in decided.redirect.items():
            moved = await self._queues.close(queue_name(spec.name, version_name), queue_name(spec.name, other))
            if moved:
                _log.info("waiting jobs moved", version=version_name, to=other, jobs=moved)
        if decided.send_golden and decided.state.target:
            rows = await self._queues.golden_rows(spec.name, _golden_sources(decided.state))
            target = decided.state.target
            await self._queues.send_golden(spec, target, [row for row, _ in rows], decided.state.started_at)
        await self._remove(spec, decided)

    async def _open_target(
        self,
        spec: IrisModelSpec,
        decided: Plan,
        readings: Mapping[str, QueueSeen] | None,
        remembered: _Remembered,
    ) -> None:
        """Before a version's first worker starts, clear what an earlier try of the same version left behind."""
        target = decided.state.target
        begun = f"{target.version}/{decided.state.started_at}" if target else ""
        if target is None or readings is None or begun in remembered.opened:
            return
        if any(event.reason == "RolloutStarted" for event in decided.events):
            await self._queues.open(queue_name(spec.name, target.version))
        remembered.opened = {begun}

    async def _apply_workers(
        self, spec: IrisModelSpec, version: ModelVersion, replicas: int, readings: Mapping[str, QueueSeen] | None
    ) -> None:
        manifest = worker_deployment(spec, version, replicas, self._pods)
        key, name = Key(spec.namespace, spec.name), manifest["metadata"]["name"]
        there = self._store.deployment(key, name)
        if there is not None and covers(there, manifest):
            return
        if there is not None and replicas < int(there["spec"].get("replicas") or 0) and readings is not None:
            busy = await self._queues.busy_hosts(queue_name(spec.name, version.version))
            labels = manifest["spec"]["selector"]["matchLabels"]
            selector = ",".join(f"{label}={value}" for label, value in labels.items())
            await self._cluster.mark_idle_first(spec.namespace, selector, busy)
        self._store.see_deployment(await self._cluster.apply(manifest))
        self._metrics.writes.labels("apply").inc()
        _log.info("workers applied", version=version.version, replicas=replicas)

    async def _remove(self, spec: IrisModelSpec, decided: Plan) -> None:
        """Delete the workers of versions that are drained, and of any that nobody knows of."""
        state = decided.state
        needed = {version.version for version in decided.workers} | {*state.retiring, *state.abandoned}
        for deployment in self._store.deployments(Key(spec.namespace, spec.name)):
            if version_of(deployment) in needed or deployment["metadata"].get("deletionTimestamp"):
                continue
            await self._cluster.delete(spec.namespace, deployment["metadata"]["name"])
            self._metrics.writes.labels("delete").inc()
            self._store.see_deployment(deployment, deleted=True)
            _log.info("workers removed", version=version_of(deployment))

    async def _tell(self, spec: IrisModelSpec, decided: Plan, remembered: _Remembered) -> None:
        if decided.reason != remembered.last_reason:
            _log.info("rollout", reason=decided.reason, message=decided.message, weights=decided.weights)
            remembered.last_reason = decided.reason
        for happening in decided.events:
            await self._cluster.tell(spec, happening)
            self._metrics.writes.labels("event").inc()

    async def _write_status(
        self,
        spec: IrisModelSpec,
        decided: Plan,
        replicas: Mapping[str, int],
        readings: Mapping[str, QueueSeen] | None,
        scaling_condition: Condition,
        old: Mapping[str, Any],
        now: float,
    ) -> None:
        ready = sum(self._ready(spec, version) for version in replicas)
        workers = status.Workers(replicas=sum(replicas.values()), ready=ready)
        backlog = sum(reading.backlog for reading in (readings or {}).values())
        new = status.render(spec, decided, workers, scaling_condition, backlog, old, now)
        self._show(spec, decided, workers)
        if status.without_nulls(new) == status.without_nulls(old):
            return
        changed = await self._cluster.write_status(spec.namespace, spec.name, new)
        self._metrics.writes.labels("status").inc()
        if changed:
            self._store.see_model(changed)

    def _show(self, spec: IrisModelSpec, decided: Plan, workers: status.Workers) -> None:
        one = (spec.namespace, spec.name)
        self._metrics.desired.labels(*one).set(workers.replicas)
        self._metrics.ready.labels(*one).set(workers.ready)
        target = decided.state.target
        self._metrics.weight.labels(*one).set(decided.weights.get(target.version, 0) if target else 0)
        for phase in ("Idle", "Starting", "Proving", "Stepping"):
            self._metrics.phase.labels(*one, phase).set(phase == decided.state.phase)

    async def _refuse(self, key: Key, body: Mapping[str, Any], old: Mapping[str, Any], why: str) -> None:
        """Say in status that the spec cannot be honoured, and leave everything else as it is."""
        if any(
            item.get("reason") == "InvalidSpec" and item.get("message") == why for item in old.get("conditions", ())
        ):
            return
        statements = (
            Condition("Ready", "False", "InvalidSpec", why),
            Condition("Reconciling", "False", "InvalidSpec", why),
            Condition("Stalled", "True", "InvalidSpec", why),
        )
        generation = int(body["metadata"].get("generation", 0))
        statements_ = conditions.merge(old.get("conditions", ()), statements, generation, self._clock())
        changed = await self._cluster.write_status(
            key.namespace, key.name, {"observedGeneration": generation, "conditions": statements_}
        )
        if changed:
            self._store.see_model(changed)

    async def _forget(self, key: Key) -> None:
        """The garbage collector takes the workers; the route is ours to take back."""
        if self._remembered.pop(key, None) is not None:
            await self._queues.delete_route(key.name)
            self._metrics.forget(*key)


def _is_proving(state: RolloutState, version: str) -> bool:
    return state.phase == "Proving" and state.target is not None and state.target.version == version


def _golden_sources(state: RolloutState) -> list[str]:
    """Judge a new version by what the serving one knows; the first version can only be asked for its own."""
    return [item.version for item in (state.stable, state.target) if item is not None]


def _fixed(spec: IrisModelSpec, decided: Plan, version: ModelVersion) -> int:
    """Return the replicas without autoscaling: all for the stable version, its share of them for the one under way."""
    replicas = 1 if spec.worker.replicas is None else spec.worker.replicas
    if version != decided.state.target:
        return replicas
    return max(1, ceil(replicas * decided.weights.get(version.version, 0) / 100))


def _load(reading: QueueSeen) -> Load:
    return Load(
        waiting=reading.waiting,
        running=reading.running,
        busy_workers=reading.busy_workers,
        answered_total=reading.counters.done + reading.counters.failed,
        busy_seconds_total=reading.busy_seconds,
        observed_at=reading.seen_at,
    )
