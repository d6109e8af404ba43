"""The reconcile, step by step: a cluster in memory that counts writes, a real Valkey, real jobs and workers."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest
import redis
from prometheus_client import CollectorRegistry

from iris_operator.loop import Loop
from iris_operator.queues import Queues
from iris_operator.reconcile import Reconciler
from iris_operator.resync import Resync
from iris_operator.store import Key
from iris_operator.telemetry import OperatorMetrics
from iris_service.jobs.keys import Target
from iris_service.schemas import Answered, Failed
from memory_cluster import DIGESTS, Faults, MemoryCluster, iris_model
from operator_rig import KEY, PODS, Rig
from servers import Valkey

CANARY = {
    "steps": [{"weight": 50, "pauseSeconds": 0}],
    "analysis": {"minimumJobs": 3, "maxWaitSeconds": 5, "maxP95Seconds": 10},
    "progressDeadlineSeconds": 10,
}
Story = Callable[[Rig], Awaitable[None]]


@pytest.fixture
def play(valkey_server: Valkey, valkey: redis.Redis) -> Callable[[Story], Rig]:
    """Runs a story on a rig of its own, and returns the rig to look at."""

    def run(story: Story) -> Rig:
        valkey.flushall()

        async def told() -> Rig:
            rig = Rig(valkey_server, valkey)
            try:
                await story(rig)
            finally:
                await rig.close()
            return rig

        return asyncio.run(told())

    return run


async def serve_first_version(rig: Rig, **spec: Any) -> None:
    rig.cluster.put(iris_model("1", rollout=CANARY, **spec))
    await rig.rounds(6, jobs=0)
    assert rig.condition("Ready")["status"] == "True", rig.status


def test_the_first_version_is_proven_and_then_serves(play: Callable[[Story], Rig]) -> None:
    rig = play(serve_first_version)
    assert rig.route == {"1": 100}
    assert rig.versions_running() == {"1": 1}
    assert [event.reason for event in rig.cluster.events.values()] == ["RolloutStarted", "Promoted"]
    assert rig.status["stable"] == {"version": "1", "digest": DIGESTS["1"]}


def test_a_second_look_writes_nothing(play: Callable[[Story], Rig]) -> None:
    async def story(rig: Rig) -> None:
        await serve_first_version(rig)
        writes, commands = rig.cluster.writes, rig.client.info("commandstats")["cmdstat_set"]["calls"]
        for _ in range(40):
            await rig.look()
        rig.restart()
        for _ in range(40):
            await rig.look()
        assert rig.cluster.writes == writes
        assert rig.client.info("commandstats")["cmdstat_set"]["calls"] == commands

    play(story)


def test_a_good_version_takes_over_and_every_job_is_answered(play: Callable[[Story], Rig]) -> None:
    async def story(rig: Rig) -> None:
        await serve_first_version(rig)
        rig.cluster.put(iris_model("2", rollout=CANARY))
        await rig.rounds(12)

    rig = play(story)
    assert (rig.route, rig.versions_running()) == ({"2": 100}, {"2": 1})
    answers = rig.answers().values()
    assert {answer.version for answer in answers if answer} == {"1", "2"}
    assert None not in answers


@pytest.mark.parametrize(
    ("bad", "reason"),
    [
        ({"wrong": True}, "GoldenSetDisagrees"),
        ({"fails": True}, "AnalysisFailed"),
        ("rejected", "ArtifactRejected"),
        ("never ready", "ProgressDeadlineExceeded"),
    ],
)
def test_a_bad_version_is_rolled_back_and_every_job_is_answered(
    play: Callable[[Story], Rig], bad: Any, reason: str
) -> None:
    async def story(rig: Rig) -> None:
        await serve_first_version(rig)
        if isinstance(bad, dict):
            rig.bad["2"] = bad
        else:
            rig.cluster.never_ready.add("2")
        rig.cluster.put(iris_model("2", rollout=CANARY))
        await rig.look()
        if bad == "rejected":
            rig.client.set("iris:rejected:iris@2", "the digest is another")
        await rig.rounds(20)

    rig = play(story)
    assert rig.status["rollout"]["failed"]["reason"] == reason
    assert (rig.route, rig.versions_running()) == ({"1": 100}, {"1": 1})
    assert rig.condition("Stalled")["status"] == "True"
    assert None not in rig.answers().values()
    assert rig.client.get("iris:redirect:iris@2") == b"iris@1"


@pytest.mark.parametrize(
    ("failures", "seconds", "reason"),
    [(0, 0.001, None), (5, 0.001, "AnalysisFailed"), (0, 30.0, "AnalysisFailed")],
)
def test_a_version_is_judged_by_what_apis_answer_inline_too(
    play: Callable[[Story], Rig], failures: int, seconds: float, reason: str | None
) -> None:
    """No job goes to the new version: all there is to see are the counts of an API that answers by itself."""
    good = Answered("iris", "2", "sha256:2", 1.5, 0.0, seconds, ((1.0, 0.0, 0.0),))
    bad = Failed("iris", "2", 1, "PREDICTION_FAILED", "no", 1.5)

    async def story(rig: Rig) -> None:
        await serve_first_version(rig)
        rig.cluster.put(iris_model("2", rollout=CANARY))
        for _ in range(12):
            await rig.look()
            rig.work()  # the golden set
            if (rig.route or {}).get("2"):
                rig.jobs.tally.add(Target("iris", "2"), [good] * 5 + [bad] * failures)
                await rig.jobs.tally.flush()

    rig = play(story)
    if reason is None:
        assert (rig.route, rig.versions_running()) == ({"2": 100}, {"2": 1})
    else:
        assert rig.status["rollout"]["failed"]["reason"] == reason
        assert (rig.route, rig.versions_running()) == ({"1": 100}, {"1": 1})


def test_without_auto_rollback_a_failing_version_stays_and_an_event_says_so_once(play: Callable[[Story], Rig]) -> None:
    async def story(rig: Rig) -> None:
        await serve_first_version(rig)
        rig.bad["2"] = {"fails": True}
        rig.cluster.put(iris_model("2", rollout={**CANARY, "autoRollback": False}))
        await rig.rounds(10)
        rig.restart()
        await rig.rounds(3)
        assert rig.route == {"1": 50, "2": 50}
        assert rig.condition("Stalled")["reason"] == "AnalysisFailed"

    rig = play(story)
    (told,) = (event for event in rig.cluster.events.values() if event.kind == "Warning")
    assert told.reason == "RolloutFailed"
    assert told.message.startswith("version 2 fails: ")
    assert told.message.endswith("rollout.autoRollback is off, so it stays as it is")


def test_a_version_that_was_rejected_is_tried_anew_when_it_is_asked_for_again(play: Callable[[Story], Rig]) -> None:
    async def story(rig: Rig) -> None:
        await serve_first_version(rig)
        rig.cluster.put(iris_model("2", rollout=CANARY))
        await rig.look()
        rig.client.set("iris:rejected:iris@2", "the repository was not there")
        await rig.rounds(4)
        assert rig.status["rollout"]["failed"]["version"] == "2"
        rig.cluster.put(iris_model("1", rollout=CANARY))
        await rig.rounds(2)
        assert rig.condition("Ready")["status"] == "True"
        rig.cluster.put(iris_model("2", rollout=CANARY))
        await rig.rounds(12)
        assert rig.route == {"2": 100}

    play(story)


def end_of(rig: Rig) -> dict[str, Any]:
    """What must be the same however often the operator died on the way."""
    rollout = rig.status["rollout"]
    return {
        "stable": rollout.get("stable"),
        "failed": (rollout.get("failed") or {}).get("version"),
        "left over": [rollout.get("target"), rollout.get("retiring"), rollout.get("abandoned")],
        "route": rig.route,
        "running": rig.versions_running(),
        "ready": rig.condition("Ready")["status"],
        "unanswered": [job_id for job_id, answer in rig.answers().items() if answer is None],
        "events": sorted(event.reason for event in rig.cluster.events.values() if event.reason != "RolloutStarted"),
    }


@pytest.mark.parametrize("bad", [{}, {"fails": True}], ids=["good version", "failing version"])
def test_dying_between_any_two_steps_leads_to_the_same_end(play: Callable[[Story], Rig], bad: Any) -> None:
    def rollout(fail_at: int | None) -> Story:
        async def story(rig: Rig) -> None:
            await serve_first_version(rig)
            rig.bad["2"] = bad
            rig.faults.calls, rig.faults.fail_at = 0, fail_at
            rig.cluster.put(iris_model("2", rollout=CANARY))
            await rig.rounds(12)

        return story

    undisturbed = play(rollout(None))
    wanted, calls = end_of(undisturbed), undisturbed.faults.calls
    assert calls > 20
    assert wanted["unanswered"] == []
    for fail_at in range(1, calls + 1):
        assert end_of(play(rollout(fail_at))) == wanted, f"died after call {fail_at}"


def absence(fail_at: int | None = None) -> Story:
    """Version 2 loses its workers in mid-step, jobs waiting for it, and has them again ten seconds later."""

    async def story(rig: Rig) -> None:
        await serve_first_version(rig)
        canary = {**CANARY, "analysis": {**CANARY["analysis"], "minimumJobs": 12}, "progressDeadlineSeconds": 60}  # type: ignore[dict-item]
        rig.cluster.put(iris_model("2", rollout=canary))
        await rig.rounds(5)
        assert rig.route == {"1": 50, "2": 50}
        rig.faults.calls, rig.faults.fail_at = 0, fail_at
        set_ready(rig, "2", ready=False)
        await rig.rounds(10)
        assert rig.client.get("iris:redirect:iris@2") == b"iris@1"
        assert None not in rig.answers().values(), "long before its deadline"
        assert rig.status["rollout"]["target"]["version"] == "2"
        set_ready(rig, "2", ready=True)
        await rig.rounds(9, jobs=6)

    return story


def set_ready(rig: Rig, version: str, *, ready: bool) -> None:
    (rig.cluster.never_ready.discard if ready else rig.cluster.never_ready.add)(version)
    for name, body in rig.cluster.deployments.items():
        if body["metadata"]["labels"]["serving.iris.dev/version"] == version:
            rig.cluster.settle(name)


def test_jobs_of_a_version_that_has_lost_its_workers_are_answered_by_the_one_that_serves_until_it_has_them_again(
    play: Callable[[Story], Rig],
) -> None:
    undisturbed = play(absence())
    wanted, calls = end_of(undisturbed), undisturbed.faults.calls
    assert (wanted["route"], wanted["unanswered"]) == ({"2": 100}, [])
    assert undisturbed.client.get("iris:redirect:iris@2") is None
    for fail_at in range(1, calls + 1):
        assert end_of(play(absence(fail_at))) == wanted, f"died after call {fail_at}"


def test_a_paused_model_is_left_as_it_is(play: Callable[[Story], Rig]) -> None:
    async def story(rig: Rig) -> None:
        await serve_first_version(rig)
        rig.cluster.put(iris_model("2", rollout=CANARY, paused=True))
        await rig.rounds(1)
        assert rig.condition("Ready")["message"] == "paused by its spec"
        writes = rig.cluster.writes
        next(iter(rig.cluster.deployments.values()))["spec"]["replicas"] = 7
        await rig.rounds(30, jobs=0)
        assert rig.cluster.writes == writes
        assert rig.versions_running() == {"1": 7}
        rig.cluster.put(iris_model("2", rollout=CANARY))
        await rig.rounds(12)
        assert rig.route == {"2": 100}

    play(story)


def test_time_on_hold_counts_towards_no_deadline(play: Callable[[Story], Rig]) -> None:
    async def story(rig: Rig) -> None:
        await serve_first_version(rig)
        rig.cluster.never_ready.add("2")
        rig.cluster.put(iris_model("2", rollout=CANARY))
        await rig.rounds(5)
        await rig.look(redis_up=False)
        rig.now += 1000
        await rig.rounds(2)
        assert rig.condition("Ready")["reason"] == "WaitingForWorkers"
        await rig.rounds(6)
        assert rig.status["rollout"]["failed"]["reason"] == "ProgressDeadlineExceeded"

    play(story)


def test_while_redis_is_away_nothing_is_decided_and_workers_are_kept(play: Callable[[Story], Rig]) -> None:
    async def story(rig: Rig) -> None:
        await serve_first_version(rig, worker={"autoscaling": {"minReplicas": 0, "scaleDownStabilizationSeconds": 0}})
        await rig.submit(30)
        await rig.look()
        replicas = rig.versions_running()
        assert replicas == {"1": 2}
        rig.cluster.put(iris_model("2", rollout=CANARY, worker={"autoscaling": {"minReplicas": 0}}))
        for _ in range(5):
            await rig.look(redis_up=False)
        assert rig.versions_running() == replicas
        assert [rig.condition(kind)["reason"] for kind in ("Ready", "ScalingActive")] == ["RedisUnavailable"] * 2
        assert rig.condition("Ready")["status"] == "Unknown"
        del rig.cluster.deployments[next(iter(rig.cluster.deployments))]
        rig.restart()
        await rig.look(redis_up=False)
        assert rig.versions_running() == {"1": 0}, "what was deleted comes back, as small as the spec allows"

    play(story)


def test_a_deletion_takes_the_route_back_whenever_it_is_noticed(play: Callable[[Story], Rig]) -> None:
    async def story(rig: Rig) -> None:
        await serve_first_version(rig)
        rig.client.set("iris:redirect:iris@1", "iris@0")
        rig.cluster.delete_model("iris")
        await rig.look()
        assert rig.client.keys("iris:route*") == rig.client.keys("iris:redirect:*") == []
        await serve_first_version(rig)
        rig.cluster.delete_model("iris")
        rig.restart()
        await rig.queues.forget_all_but(set())
        assert rig.client.keys("iris:route*") == []

    play(story)


def test_a_deletion_that_fails_halfway_is_tried_again(play: Callable[[Story], Rig]) -> None:
    async def story(rig: Rig) -> None:
        await serve_first_version(rig)
        rig.cluster.delete_model("iris")
        rig.faults.calls, rig.faults.fail_at = 0, 3
        with pytest.raises(Exception, match="injected"):
            await rig.look()
        await rig.look()
        assert rig.route is None

    play(story)


def test_a_spec_that_cannot_be_honoured_is_said_once_and_changes_nothing(play: Callable[[Story], Rig]) -> None:
    async def story(rig: Rig) -> None:
        await serve_first_version(rig)
        body = iris_model("2", rollout=CANARY)
        body["spec"]["model"]["uri"] = "models://other/2"
        rig.cluster.put(body)
        await rig.look()
        writes = rig.cluster.writes
        assert (rig.condition("Stalled")["reason"], rig.route) == ("InvalidSpec", {"1": 100})
        for _ in range(40):
            await rig.look()
        assert rig.cluster.writes == writes
        rig.cluster.put(iris_model("1", rollout=CANARY))
        await rig.look()
        assert rig.condition("Ready")["status"] == "True"

    play(story)


BAD_RESOURCES = {"requests": {"example.com/gpu": 1}}


def test_a_version_whose_deployment_is_refused_is_given_up_at_once_and_tried_again_when_the_spec_is_mended(
    play: Callable[[Story], Rig],
) -> None:
    async def story(rig: Rig) -> None:
        await serve_first_version(rig)
        rig.cluster.refuses = lambda resources: resources == BAD_RESOURCES
        rig.cluster.put(iris_model("2", rollout=CANARY, worker={"resources": BAD_RESOURCES}))
        await rig.look()
        assert rig.status["rollout"]["failed"]["reason"] == "DeploymentRefused"
        assert "Limit must be set" in rig.condition("Stalled")["message"]
        assert rig.status["observedGeneration"] == 2
        assert (rig.route, rig.versions_running()) == ({"1": 100}, {"1": 1})
        await rig.rounds(2)
        assert None not in rig.answers().values()
        rig.cluster.put(iris_model("2", rollout=CANARY))
        await rig.rounds(12)
        assert (rig.route, rig.condition("Ready")["status"]) == ({"2": 100}, "True")

    rig = play(story)
    assert [event.reason for event in rig.cluster.events.values()].count("RolledBack") == 1


def test_a_refused_deployment_of_the_version_that_serves_is_said_asked_again_now_and_then_and_still_scaled(
    play: Callable[[Story], Rig],
) -> None:
    async def story(rig: Rig) -> None:
        scaling = {"minReplicas": 0, "scaleDownStabilizationSeconds": 0, "targetQueueLengthPerReplica": 10}
        await serve_first_version(rig, worker={"autoscaling": scaling})
        rig.cluster.refuses = lambda resources: resources == BAD_RESOURCES
        worker = {"autoscaling": scaling, "resources": BAD_RESOURCES}
        rig.cluster.put(iris_model("1", rollout=CANARY, worker=worker))
        await rig.look()
        assert rig.status["observedGeneration"] == 2
        assert {rig.condition(kind)["reason"] for kind in ("Ready", "Stalled")} == {"DeploymentRefused"}
        await rig.look()
        asked, writes = rig.cluster.asked, rig.cluster.writes
        for _ in range(40):
            await rig.look()
        assert (rig.cluster.asked, rig.cluster.writes) == (asked, writes), "a steady state, however bad, writes nothing"
        for _ in range(40):
            await rig.look()
        assert (rig.cluster.asked, rig.cluster.writes) == (asked + 1, writes)
        assert rig.versions_running() == {"1": 0}
        await rig.submit(25)
        await rig.rounds(2, jobs=0)
        assert None not in rig.answers().values(), "the queue is followed all the same"
        rig.restart()
        await rig.rounds(2, jobs=0)
        assert rig.condition("Stalled")["reason"] == "DeploymentRefused"
        rig.cluster.refuses = lambda _resources: False
        for _ in range(60):
            await rig.look()
        assert rig.condition("Ready")["status"] == "True"

    rig = play(story)
    assert [event.reason for event in rig.cluster.events.values()].count("DeploymentRefused") == 1


def test_hand_edited_workers_are_repaired_and_foreign_ones_of_no_version_removed(play: Callable[[Story], Rig]) -> None:
    async def story(rig: Rig) -> None:
        await serve_first_version(rig)
        (name,) = rig.cluster.deployments
        container = rig.cluster.deployments[name]["spec"]["template"]["spec"]["containers"][0]
        container["image"] = "example.invalid/other:1"
        container["env"].append({"name": "ADDED", "value": "by somebody else's controller"})
        rig.cluster.settle(name)
        await rig.look()
        assert rig.cluster.deployments[name]["spec"]["template"]["spec"]["containers"][0]["image"] == "iris-worker:1"
        rig.cluster.deployments["old"] = {
            "metadata": {
                "name": "old",
                "namespace": "ns",
                "uid": "u",
                "labels": {"serving.iris.dev/model": "iris", "serving.iris.dev/version": "0"},
            },
            "spec": {"replicas": 1},
        }
        rig.cluster.settle("old")
        await rig.look()
        assert list(rig.cluster.deployments) == [name]

    play(story)


def test_the_workers_follow_the_queue_and_idle_ones_go_first(play: Callable[[Story], Rig]) -> None:
    async def story(rig: Rig) -> None:
        scaling = {"minReplicas": 0, "maxReplicas": 5, "scaleDownStabilizationSeconds": 3}
        await serve_first_version(rig, worker={"autoscaling": {**scaling, "targetQueueLengthPerReplica": 10}})
        await rig.rounds(10, jobs=0)
        assert rig.versions_running() == {"1": 0}
        assert rig.condition("Ready")["status"] == "True", "scaled to zero is as wanted"
        await rig.submit(1)
        await rig.look()
        assert rig.versions_running() == {"1": 1}
        await rig.submit(39)
        await rig.look()
        assert rig.versions_running() == {"1": 4}
        rig.work()
        await rig.rounds(6, jobs=0)
        assert rig.versions_running() == {"1": 0}
        assert len(rig.cluster.marked) >= 1

    play(story)


def test_an_unknown_key_is_no_trouble(play: Callable[[Story], Rig]) -> None:
    async def story(rig: Rig) -> None:
        assert rig.reconciler.queues_of(KEY) == []
        await rig.look()

    play(story)


class OneBadModel(MemoryCluster):
    """Answers one model's Deployments in a way nobody thought of."""

    async def apply(self, manifest: Mapping[str, Any]) -> dict[str, Any]:
        if manifest["metadata"]["name"].startswith("bad-"):
            raise ZeroDivisionError("nobody thought of this")
        return await super().apply(manifest)


def test_the_loop_serves_all_but_the_one_that_fails_and_ends_at_once_when_told(
    valkey_server: Valkey, valkey: redis.Redis
) -> None:
    async def story() -> None:
        cluster, queues = OneBadModel(Faults()), Queues(valkey_server.url, "ns")
        metrics = OperatorMetrics(CollectorRegistry())
        reconciler = Reconciler(cluster, queues, cluster.store, PODS, metrics)
        loop = Loop(reconciler, queues, cluster.store, Resync(cluster, cluster.store), metrics, 0.05)
        no_proof = {"gate": {"goldenSet": False}}
        for name in ("bad", "good"):
            cluster.put(iris_model("1", name, rollout=no_proof))
        task = asyncio.create_task(loop.run())
        await eventually(lambda: valkey.get("iris:route:good") is not None)
        cluster.put(iris_model("2", "good", rollout={**no_proof, "strategy": "Replace"}))
        loop.wake(Key("ns", "good"))
        await eventually(lambda: valkey.get("iris:route:good") == b'{"2": 100}')
        assert valkey.get("iris:route:bad") is None
        assert metrics.reconciles.labels("error")._value.get() >= 1
        valkey.set("iris:route:good", "overwritten by somebody")
        await eventually(lambda: valkey.get("iris:route:good") == b'{"2": 100}')
        cluster.delete_model("good")
        await eventually(lambda: valkey.get("iris:route:good") is None)
        task.cancel()
        await asyncio.wait([task], timeout=5)
        assert task.done()
        await queues.aclose()

    asyncio.run(story())


async def eventually(condition: Callable[[], object]) -> None:
    ends = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < ends, "it did not happen"
        await asyncio.sleep(0.02)


class GoneMeanwhile(MemoryCluster):
    """The model is deleted while the look that has just written its route is still under way."""

    async def tell(self, *arguments: Any, **named: Any) -> None:
        await super().tell(*arguments, **named)
        if "good" in self.models and arguments[-1].reason == "Promoted":
            self.delete_model("good")


def test_what_goes_while_it_is_looked_at_is_looked_at_once_more(valkey_server: Valkey, valkey: redis.Redis) -> None:
    async def story() -> None:
        cluster, queues = GoneMeanwhile(Faults()), Queues(valkey_server.url, "ns")
        metrics = OperatorMetrics(CollectorRegistry())
        reconciler = Reconciler(cluster, queues, cluster.store, PODS, metrics)
        loop = Loop(reconciler, queues, cluster.store, Resync(cluster, cluster.store), metrics, 0.05)
        cluster.put(iris_model("1", "good", rollout={"gate": {"goldenSet": False}}))
        await loop.resync.when_due()
        for _ in range(20):
            await loop.round()
        assert "good" not in cluster.models
        assert valkey.get("iris:route:good") is None
        await queues.aclose()

    asyncio.run(story())
