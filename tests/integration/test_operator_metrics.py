"""What the operator's metrics say of a rollout, on the reconcile's own rig: real jobs, real workers, a real Valkey."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import redis
from prometheus_client import CollectorRegistry

from iris_operator.loop import Loop
from iris_operator.reconcile import Reconciler
from iris_operator.resync import Resync
from iris_operator.store import Key
from iris_operator.telemetry import OperatorMetrics
from memory_cluster import Faults, MemoryCluster, iris_model
from operator_rig import PODS, FlakyQueues, Rig
from servers import Valkey

CANARY = {
    "steps": [{"weight": 10, "pauseSeconds": 0}, {"weight": 50, "pauseSeconds": 0}],
    "analysis": {"minimumJobs": 3, "maxWaitSeconds": 5, "maxP95Seconds": 10},
}
IRIS = {"namespace": "ns", "model": "iris"}


def told(server: Valkey, client: redis.Redis, story: Callable[[Rig], Awaitable[None]]) -> None:
    async def run() -> None:
        rig = Rig(server, client)
        try:
            await story(rig)
        finally:
            await rig.close()

    asyncio.run(run())


def states(rig: Rig, name: str, **labels: str) -> list[Mapping[str, str]]:
    """The labels of the series of a metric that are 1."""
    found = [sample for metric in rig.metrics.registry.collect() for sample in metric.samples if sample.name == name]
    return [s.labels for s in found if s.value == 1 and labels.items() <= s.labels.items()]


def value(rig: Rig, name: str, **labels: str) -> float | None:
    return rig.metrics.registry.get_sample_value(f"iris_operator_{name}", {**IRIS, **labels})


def versions(rig: Rig) -> dict[str, str]:
    (shown,) = states(rig, "iris_operator_version_info")
    return {name: shown[name] for name in ("stable", "target", "failed")}


def condition(rig: Rig, kind: str) -> tuple[str, str]:
    (shown,) = states(rig, "iris_operator_condition", type=kind)
    return shown["status"], shown["reason"]


async def serve(rig: Rig, version: str, **spec: Any) -> None:
    rig.cluster.put(iris_model(version, rollout=CANARY, **spec))
    await rig.rounds(6, jobs=0)


def test_they_follow_a_rollout_from_its_first_step_to_its_promotion(valkey: redis.Redis, valkey_server: Valkey) -> None:
    async def story(rig: Rig) -> None:
        await serve(rig, "1", worker={"autoscaling": {"minReplicas": 1, "maxReplicas": 4}})
        assert versions(rig) == {"stable": "1", "target": "", "failed": ""}
        assert condition(rig, "Ready") == ("True", "Ready")
        assert condition(rig, "ScalingActive") == ("True", "Steady")
        assert [value(rig, name) for name in ("workers_desired", "workers_ready", "workers_max")] == [1, 1, 4]
        await rig.submit(2)
        rig.cluster.put(iris_model("2", rollout=CANARY, worker={"autoscaling": {"minReplicas": 1, "maxReplicas": 4}}))
        steps: set[tuple[float | None, float | None]] = set()
        for _ in range(12):
            await rig.rounds(1)
            steps.add((value(rig, "rollout_step"), value(rig, "target_weight")))
            assert len(states(rig, "iris_operator_rollout_phase")) == 1
        assert steps == {(0, 0), (1, 10), (2, 50)}
        assert versions(rig) == {"stable": "2", "target": "", "failed": ""}
        happened = {
            r: value(rig, "rollout_events_total", reason=r) for r in ("RolloutStarted", "StepPassed", "Promoted")
        }
        assert happened == {"RolloutStarted": 2, "StepPassed": 1, "Promoted": 2}
        assert value(rig, "rollout_events_total", reason="RolledBack") == 0
        assert value(rig, "backlog_jobs") == 0

    told(valkey_server, valkey, story)


def test_they_name_the_version_that_was_given_up_and_say_why(valkey: redis.Redis, valkey_server: Valkey) -> None:
    async def story(rig: Rig) -> None:
        await serve(rig, "1")
        rig.bad["2"] = {"wrong": True}
        await serve(rig, "2")
        assert versions(rig) == {"stable": "1", "target": "", "failed": "2"}
        assert condition(rig, "Stalled") == ("True", "RolledBack")
        assert value(rig, "rollout_events_total", reason="RolledBack") == 1
        assert value(rig, "workers_max") == 1

    told(valkey_server, valkey, story)


def test_a_spec_that_cannot_be_honoured_is_a_condition_too(valkey: redis.Redis, valkey_server: Valkey) -> None:
    async def story(rig: Rig) -> None:
        body = iris_model("1")
        body["spec"]["unheardOf"] = True
        rig.cluster.put(body)
        await rig.look()
        assert condition(rig, "Stalled") == ("True", "InvalidSpec")
        assert condition(rig, "Ready") == ("False", "InvalidSpec")

    told(valkey_server, valkey, story)


def test_a_model_that_is_gone_leaves_no_series_behind(valkey: redis.Redis, valkey_server: Valkey) -> None:
    async def story(rig: Rig) -> None:
        rig.cluster.put(iris_model("1", "iris-2"))
        await serve(rig, "1")
        rig.metrics.conditions.show(("ns", "iris-2", "Ready"), "True", "Ready")
        rig.cluster.delete_model("iris")
        await rig.look()
        left = [s.labels for metric in rig.metrics.registry.collect() for s in metric.samples if "model" in s.labels]
        assert left
        assert {labels["model"] for labels in left} == {"iris-2"}

    told(valkey_server, valkey, story)


class OneBadModel(MemoryCluster):
    async def apply(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        if manifest["metadata"]["name"].startswith("bad-"):
            raise ZeroDivisionError("nobody thought of this")
        return await super().apply(manifest)


def test_the_loop_says_how_many_models_there_are_how_many_fail_and_when_it_last_listed(
    valkey: redis.Redis, valkey_server: Valkey
) -> None:
    async def story() -> None:
        faults = Faults()
        cluster, queues = OneBadModel(faults), FlakyQueues(valkey_server.url, faults)
        metrics = OperatorMetrics(CollectorRegistry())
        reconciler = Reconciler(cluster, queues, cluster.store, PODS, metrics)
        loop = Loop(reconciler, queues, cluster.store, Resync(cluster, cluster.store), metrics, 0.05)
        value = metrics.registry.get_sample_value
        for name in ("bad", "good"):
            cluster.put(iris_model("1", name))
        faults.fail_at = 1
        await loop.resync.when_due()
        assert value("iris_operator_last_listing_timestamp_seconds") == 0, "the first listing failed"
        loop.resync._due_at = 0.0
        await loop.resync.when_due()
        assert (value("iris_operator_last_listing_timestamp_seconds") or 0) > 0
        await loop.round()
        assert [value("iris_operator_models"), value("iris_operator_failing")] == [2, 1]
        cluster.delete_model("bad")
        loop.wake(Key("ns", "bad"))
        await loop.round()
        assert [value("iris_operator_models"), value("iris_operator_failing")] == [1, 0]
        assert value("iris_operator_watch_behind_seconds", {"kind": "deployments"}) == 0
        assert value("iris_operator_reconciles_total", {"result": "error"}) == 1
        await queues.aclose()

    asyncio.run(story())
