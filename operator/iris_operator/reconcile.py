"""The whole story of one look at an IrisModel: read, decide, do what differs. Deciding lives elsewhere.

Every step may be done again without harm, and the order is such that a crash between two of them loses no job: workers
come before weight, weight goes before workers, and what was decided is remembered only after it was done.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import structlog

from iris_operator import conditions, status
from iris_operator.cluster import Cluster
from iris_operator.conditions import Condition
from iris_operator.deployments import Deployments, Refusal
from iris_operator.errors import InvalidSpec, NoCard
from iris_operator.manifests import Pods, queue_name
from iris_operator.plan import Golden, Plan, Seen
from iris_operator.queues import Queues, QueueSeen, Reading, route_text
from iris_operator.rollout import plan
from iris_operator.scaling import Load, Memory
from iris_operator.sizing import Sizes, size
from iris_operator.spec import IrisModelSpec, RolloutState
from iris_operator.store import Body, Key, Store, key_of
from iris_operator.telemetry import EVENTS, OperatorMetrics

_log = structlog.get_logger(__name__)


@dataclass
class _Remembered:
    """What is only in memory: after a restart it begins anew, and nothing is lost but a scaling window."""

    scaling: dict[str, Memory] = field(default_factory=dict)
    refusals: dict[str, Refusal] = field(default_factory=dict)
    """By version."""
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
        self._deployments = Deployments(cluster, queues, store, pods, metrics)
        self._metrics = metrics
        self._clock = clock
        self._remembered: dict[Key, _Remembered] = {}
        self._leaving: set[Key] = set()

    def queues_of(self, key: Key) -> list[str]:
        """Return the queues whose readings a look at `key` needs."""
        body = self._store.model(key)
        if body is None:
            return []
        state = RolloutState.from_status(body.get("status") or {})
        wanted = (body.get("spec") or {}).get("model", {}).get("version")
        known = (state.stable, state.target, *state.retiring, *state.abandoned)
        versions = {item.version for item in known if item} | ({wanted} if wanted else set())
        return [queue_name(key.name, version) for version in sorted(versions)]

    async def reconcile(self, key: Key, reading: Reading | None) -> None:
        """Look at one IrisModel; raises `NotYet` when something could not be done now and is to be tried again."""
        body = self._store.model(key)
        if body is None or body["metadata"].get("deletionTimestamp"):
            await self._forget(key, is_gone=body is None)
            return
        self._leaving.discard(key)
        try:
            spec = IrisModelSpec.from_body(body)
        except InvalidSpec as exc:
            await self._refuse(body, str(exc))
            return
        state = RolloutState.from_status(body.get("status") or {})
        now = self._clock()
        remembered = self._remembered.setdefault(key, _Remembered())
        reading = await self._completed(key, reading)
        decided = await self._decide(spec, state, reading, remembered, now)
        if any(event.reason == "RolledBack" for event in decided.events):
            await self._deployments.look_again()
            decided = await self._decide(spec, state, reading, remembered, now)
        sizes = self._size(spec, decided, reading, remembered, now)
        if await self._staff(spec, decided, sizes.replicas, reading, remembered, now):
            decided = await self._decide(spec, state, reading, remembered, now)
            sizes = self._size(spec, decided, reading, remembered, now)
        await self._do(spec, decided, reading)
        await self._tell(spec, decided, remembered, body.get("status") or {})
        await self._write_status(body, spec, decided, sizes, reading, now)

    async def _decide(
        self, spec: IrisModelSpec, state: RolloutState, reading: Reading | None, remembered: _Remembered, now: float
    ) -> Plan:
        """Plan by what is seen now; again after something was learnt on the way."""
        return plan(spec, state, await self._see(spec, state, reading, remembered), now)

    # --- reading ----------------------------------------------------------------------------------------------------

    async def _completed(self, key: Key, reading: Reading | None) -> Reading | None:
        """Read what the round could not know it would need, for the object has changed since."""
        if reading is None or (reading.queues.keys() >= set(self.queues_of(key)) and key.name in reading.routes):
            return reading
        return await self._queues.observe(self.queues_of(key), [key.name])

    async def _see(
        self, spec: IrisModelSpec, state: RolloutState, reading: Reading | None, remembered: _Remembered
    ) -> dict[str, Seen] | None:
        if reading is None:
            return None
        seen: dict[str, Seen] = {}
        for queue in self.queues_of(Key(spec.namespace, spec.name)):
            version, there = queue.partition("@")[2], reading.queues[queue]
            refusal = remembered.refusals.get(version)
            seen[version] = Seen(
                ready_workers=self._deployments.ready(spec, version),
                backlog=there.backlog,
                counters=there.counters,
                rejected=there.rejected,
                refused=refusal.message if refusal and refusal.generation == spec.generation else "",
                golden=await self._golden(spec, state) if _is_proving(state, version) else None,
            )
        return seen

    async def _golden(self, spec: IrisModelSpec, state: RolloutState) -> Golden | None:
        assert state.target is not None
        try:
            rows = await self._queues.golden_rows(spec.name, _golden_sources(state))
        except NoCard:
            return Golden()  # the worker is up but has not published its card: wait, do not send yet
        return await self._queues.golden_result(spec, state.target, state.started_at, [label for _, label in rows])

    def _size(
        self, spec: IrisModelSpec, decided: Plan, reading: Reading | None, remembered: _Remembered, now: float
    ) -> Sizes:
        names = [version.version for version in decided.workers]
        loads = {name: _load(reading.queues[queue_name(spec.name, name)]) for name in names} if reading else None
        current = {name: self._deployments.current(spec, name) for name in names}
        sizes = size(spec, decided, current, loads, remembered.scaling, now)
        remembered.scaling = sizes.memories
        return sizes

    # --- doing ------------------------------------------------------------------------------------------------------

    async def _staff(
        self,
        spec: IrisModelSpec,
        decided: Plan,
        replicas: Mapping[str, int],
        reading: Reading | None,
        remembered: _Remembered,
        now: float,
    ) -> bool:
        """Bring workers to their sizes; returns whether other Deployments are refused now than the plan knew of."""
        if spec.paused:
            return False
        if any(event.reason == "RolloutStarted" for event in decided.events) and decided.state.target:
            # before its first worker starts, clear what an earlier try of the same version left behind
            await self._queues.open(queue_name(spec.name, decided.state.target.version))
        before = remembered.refusals
        remembered.refusals = await self._deployments.apply(
            spec, decided.workers, replicas, before, now, may_shrink=reading is not None
        )
        return remembered.refusals != before

    async def _do(self, spec: IrisModelSpec, decided: Plan, reading: Reading | None) -> None:
        if spec.paused or reading is None:
            return
        if decided.weights and reading.routes[spec.name] != route_text(decided.weights):
            await self._queues.write_route(spec, decided.weights)
            _log.info("route written", weights=decided.weights)
        for version_name, other in decided.redirect.items():
            moved = await self._queues.close(queue_name(spec.name, version_name), queue_name(spec.name, other))
            if moved:
                _log.info("waiting jobs moved", version=version_name, to=other, jobs=moved)
        if decided.send_golden and decided.state.target:
            rows = await self._queues.golden_rows(spec.name, _golden_sources(decided.state))
            target = decided.state.target
            await self._queues.send_golden(spec, target, [row for row, _ in rows], decided.state.started_at)
        await self._deployments.remove_all_but(spec, (*decided.workers, *decided.state.abandoned))

    async def _tell(self, spec: IrisModelSpec, decided: Plan, remembered: _Remembered, old: Mapping[str, Any]) -> None:
        if decided.reason != remembered.last_reason:
            _log.info("rollout", reason=decided.reason, message=decided.message, weights=decided.weights)
            remembered.last_reason = decided.reason
        for happening in (*decided.events, *status.newly_stalled(decided, old)):
            await self._cluster.tell(spec, happening)
            self._metrics.writes.labels("event").inc()
            self._metrics.events.labels(spec.namespace, spec.name, happening.reason).inc()

    async def _write_status(
        self,
        body: Body,
        spec: IrisModelSpec,
        decided: Plan,
        sizes: Sizes,
        reading: Reading | None,
        now: float,
    ) -> None:
        old = body.get("status") or {}
        backlog = (
            sum(queue.backlog for name, queue in reading.queues.items() if name.partition("@")[0] == spec.name)
            if reading
            else (old.get("queue") or {}).get("backlog", 0)
        )
        workers = self._workers(spec, decided, sizes.replicas)
        self._show(spec, decided, workers, backlog)
        await self._patch_status(body, status.render(spec, decided, workers, sizes.condition, backlog, old, now))

    async def _patch_status(self, body: Body, new: Mapping[str, Any]) -> None:
        for item in new["conditions"]:
            self._metrics.conditions.show((*key_of(body), item["type"]), item["status"], item["reason"])
        changes = status.patch(body.get("status") or {}, new)
        if not changes:
            return
        changed = await self._cluster.patch_status(body, changes)
        self._metrics.writes.labels("status").inc()
        if changed:
            self._store.models.see(changed)

    def _workers(self, spec: IrisModelSpec, decided: Plan, replicas: Mapping[str, int]) -> status.Workers:
        stable = decided.state.stable
        wanted = replicas.get(stable.version, 0) if stable else 0
        if spec.worker.autoscaling:
            wanted = min(wanted, max(1, spec.worker.autoscaling.min_replicas))
        return status.Workers(
            replicas=sum(replicas.values()),
            ready=sum(self._deployments.ready(spec, version) for version in replicas),
            enough=stable is not None and self._deployments.ready(spec, stable.version) >= wanted,
        )

    def _show(self, spec: IrisModelSpec, decided: Plan, workers: status.Workers, backlog: int) -> None:
        metrics, one, state = self._metrics, (spec.namespace, spec.name), decided.state
        metrics.desired.labels(*one).set(workers.replicas)
        metrics.ready.labels(*one).set(workers.ready)
        metrics.most.labels(*one).set(spec.worker.most)
        metrics.backlog.labels(*one).set(backlog)
        metrics.weight.labels(*one).set(decided.weights.get(state.target.version, 0) if state.target else 0)
        metrics.step.labels(*one).set(state.step + 1 if state.phase == "Stepping" else 0)
        for phase in ("Idle", "Starting", "Proving", "Stepping"):
            metrics.phase.labels(*one, phase).set(phase == state.phase)
        for reason in EVENTS:
            metrics.events.labels(*one, reason)
        known = (state.stable, state.target, state.failed)
        metrics.versions.show(one, *(item.version if item else "" for item in known))

    async def _refuse(self, body: Body, why: str) -> None:
        """Say in status that the spec cannot be honoured, and leave everything else as it is."""
        statements = (
            Condition("Ready", "False", "InvalidSpec", why),
            Condition("Reconciling", "False", "InvalidSpec", why),
            Condition("Stalled", "True", "InvalidSpec", why),
        )
        generation, old = int(body["metadata"].get("generation", 0)), body.get("status") or {}
        merged = conditions.merge(old.get("conditions", ()), statements, generation, self._clock())
        await self._patch_status(body, {**old, "observedGeneration": generation, "conditions": merged})

    async def _forget(self, key: Key, *, is_gone: bool) -> None:
        """The garbage collector takes the workers; what was written to Redis is ours to take back."""
        if key not in self._leaving:
            await self._queues.forget(key.name)
            self._metrics.forget(*key)
            self._remembered.pop(key, None)
        self._leaving.add(key)
        if is_gone:
            self._leaving.discard(key)


def _is_proving(state: RolloutState, version: str) -> bool:
    return state.phase == "Proving" and state.target is not None and state.target.version == version


def _golden_sources(state: RolloutState) -> list[str]:
    """Judge a new version by what the serving one knows; the first version can only be asked for its own."""
    return [item.version for item in (state.stable, state.target) if item is not None]


def _load(reading: QueueSeen) -> Load:
    return Load(
        waiting=reading.waiting,
        running=reading.running,
        busy_workers=reading.busy_workers,
        answered_total=reading.answered_jobs,
        busy_seconds_total=reading.busy_seconds,
        observed_at=reading.seen_at,
    )
