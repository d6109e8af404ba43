"""What people do to a rollout besides letting it run: change their mind, go back, skip the steps, ask for too few jobs.

As in `test_operator_rollouts` everything is real. The routes that the operator says it wrote are the whole story.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

from cluster.control_plane import ControlPlane, KindCluster
from cluster.load import Load
from cluster.operated import FAST_CANARY, wait_until
from cluster.stage import Stage, deployments_of, reason, replicas_of
from iris_service.jobs.keys import Target, queue_keys

ENDLESS_CANARY = {**FAST_CANARY, "steps": [{"weight": 50, "pauseSeconds": 600}], "analysis": {"minimumJobs": 100_000}}
"""Half of the jobs go to the new version until somebody does something about it."""
ONE_BY_ONE = {"batchSize": 1}
"""The version called slow then takes 1.5 s for every job, so that jobs wait for it."""


def test_a_version_named_in_mid_rollout_replaces_the_one_under_way_and_no_job_is_lost(stage: Stage) -> None:
    with half_way_to_slow(stage, "changed", "3") as load:
        stage.apply("changed", "3", worker=ONE_BY_ONE)
        wait_until(lambda: stage.operated.route("changed") == {"3": 100}, 30, "version 3", stage.operated.last_words)
    assert routes(stage, "changed") == [
        {"1": 100}, {"1": 50, "slow": 50}, {"1": 100}, {"1": 50, "3": 50}, {"3": 100},
    ]  # fmt: skip
    assert events(stage, "changed") == {"RolloutStarted": 3, "Promoted": 2, "RolloutAbandoned": 1}
    assert_all_answered(stage, load, "changed")


def test_a_rollout_that_is_taken_back_leaves_the_version_that_served(stage: Stage) -> None:
    with half_way_to_slow(stage, "undone") as load:
        stage.apply("undone", "1", worker=ONE_BY_ONE)
        stage.operated.wait_ready("undone")
    assert routes(stage, "undone") == [{"1": 100}, {"1": 50, "slow": 50}, {"1": 100}]
    assert events(stage, "undone") == {"RolloutStarted": 2, "Promoted": 1, "RolloutAbandoned": 1}
    assert_all_answered(stage, load, "undone")
    wait_until(lambda: len(deployments_of(stage, "undone")) == 1, 20, "the workers of the other version are gone")


def test_going_back_to_a_recent_version_takes_neither_steps_nor_proof(stage: Stage) -> None:
    stage.publish("back", "2")
    stage.apply("back", "1")
    stage.operated.wait_ready("back")
    with Load(stage.valkey.url, ["back"], per_second=40) as load:
        stage.apply("back", "2")
        wait_until(lambda: stage.operated.route("back") == {"2": 100}, 30, "version 2", stage.operated.last_words)
        proofs = proven(stage, "back")
        stage.apply("back", "1", rollout=ENDLESS_CANARY)
        wait_until(lambda: stage.operated.route("back") == {"1": 100}, 30, "version 1", stage.operated.last_words)
        stage.operated.wait_ready("back")
    assert routes(stage, "back") == [{"1": 100}, {"1": 50, "2": 50}, {"2": 100}, {"1": 100}]
    assert proven(stage, "back") == proofs == 2
    assert load.verdict(stage.valkey.client())["back"]["unanswered"] == 0


def test_too_few_jobs_hold_a_rollout_until_its_author_decides(stage: Stage) -> None:
    analysis = {"minimumJobs": 1000, "maxWaitSeconds": 1}
    canary = {**FAST_CANARY, "analysis": analysis}
    stage.publish("quiet", "2")
    stage.apply("quiet", "1")
    stage.operated.wait_ready("quiet")
    stage.apply("quiet", "2", rollout=canary)
    stage.operated.wait_for("quiet", lambda status: reason(status, "Ready") == "Inconclusive", 20, "too few jobs")
    began = stage.operated.status("quiet")["rollout"]["phaseStartedAt"]
    wait_until(lambda: time.time() > began + 3, 5, "three times as long as it waits for jobs")
    held = stage.operated.status("quiet")
    assert (held["target"]["weight"], reason(held, "Reconciling")) == (50, "Inconclusive")
    assert stage.operated.route("quiet") == {"1": 50, "2": 50}
    stage.apply("quiet", "2", rollout={**canary, "analysis": {**analysis, "onInconclusive": "Promote"}})
    stage.operated.wait_ready("quiet")
    assert routes(stage, "quiet") == [{"1": 100}, {"1": 50, "2": 50}, {"2": 100}]


def test_replace_skips_the_steps_but_not_the_golden_set(stage: Stage) -> None:
    replace = {"strategy": "Replace"}
    stage.publish("replaced", "wrong-answers", "2")
    stage.apply("replaced", "1", rollout=replace)
    stage.operated.wait_ready("replaced")
    stage.apply("replaced", "wrong-answers", rollout=replace)
    stage.operated.wait_for("replaced", lambda status: reason(status, "Ready") == "RolledBack", 20, "a refusal")
    assert stage.operated.status("replaced")["rollout"]["failed"]["reason"] == "GoldenSetDisagrees"
    stage.apply("replaced", "2", rollout=replace)
    stage.operated.wait_ready("replaced")
    assert routes(stage, "replaced") == [{"1": 100}, {"2": 100}]
    assert proven(stage, "replaced") == 3


def test_a_watch_whose_place_the_api_server_has_forgotten_begins_again(
    stage: Stage, cluster: ControlPlane | KindCluster
) -> None:
    if isinstance(cluster, KindCluster):
        pytest.skip("the API server of a kind cluster is not ours to kill")
    stage.publish("forgotten")
    stage.apply("forgotten", "1")
    stage.operated.wait_ready("forgotten")
    assert stage.operated.stop() == 0
    stage.operated.start(IRIS_LOG_LEVEL="DEBUG")

    def follows(replicas: int) -> None:
        """Sooner than the next listing, which comes once a minute: it is the watch that has told of it."""
        stage.apply("forgotten", "1", worker={"replicas": replicas})
        (deployment,) = deployments_of(stage, "forgotten")
        wait_until(lambda: replicas_of(stage, deployment) == replicas, 20, "an apply", stage.operated.last_words)

    wait_until(lambda: watch_says(stage, "Starting"), 30, "the first watch", stage.operated.last_words)
    follows(2)
    stage.operated.wait_ready("forgotten")
    stage.operated("create", "configmap", "a-change-the-operator-does-not-hear-of")
    cluster.kill_api_server()  # the next one remembers no change from before its start: 410 Gone
    cluster.bring_api_server_back()
    # what kopf says after a 410, and only then
    wait_until(lambda: watch_says(stage, "Restarting"), 30, "a new watch", stage.operated.last_words)
    follows(3)
    assert stage.operated.process is not None
    assert stage.operated.process.poll() is None, "it is the same process"


def test_a_deployment_that_the_api_server_refuses_is_said_and_holds_nobody_up(stage: Stage) -> None:
    only_asked_for = {"resources": {"requests": {"example.com/gpu": 1}}}  # nothing wrong with that, says the CRD
    stage.publish("refused", "2")
    stage.apply("refused", "1")
    stage.operated.wait_ready("refused")
    stage.apply("refused", "2", worker=only_asked_for)
    stage.operated.wait_for("refused", lambda status: reason(status, "Stalled") == "RolledBack", 20, "a rollback")
    failed = stage.operated.status("refused")["rollout"]["failed"]
    assert (failed["version"], failed["reason"]) == ("2", "DeploymentRefused")
    assert "Limit must be set for non overcommitable resources" in failed["message"]
    stage.apply("refused", "1", worker=only_asked_for)
    stage.operated.wait_for("refused", lambda status: reason(status, "Stalled") == "DeploymentRefused", 20, "the truth")
    model = stage.operated.kube.get("im/refused", "-n", stage.operated.namespace)
    assert model["status"]["observedGeneration"] == model["metadata"]["generation"]
    assert model["status"]["stable"]["version"] == "1"
    stage.apply("refused", "2", rollout={"strategy": "Replace"})  # there are no jobs to judge it by
    stage.operated.wait_ready("refused")
    assert events(stage, "refused") == {
        "RolloutStarted": 3, "RolledBack": 1, "DeploymentRefused": 1, "Promoted": 2,
    }  # fmt: skip


@contextmanager
def half_way_to_slow(stage: Stage, name: str, *others: str) -> Iterator[Load]:
    """Under load: version 1 serves, half of the jobs go to version slow, and some of them wait for it."""
    stage.publish(name, "slow", *others)
    stage.apply(name, "1", worker=ONE_BY_ONE)
    stage.operated.wait_ready(name)
    with Load(stage.valkey.url, [name], per_second=40) as load:
        stage.apply(name, "slow", rollout=ENDLESS_CANARY, worker=ONE_BY_ONE)
        waiting = queue_keys(Target(name, "slow").queue).waiting
        wait_until(lambda: stage.valkey.client().llen(waiting) >= 5, 30, "waiting jobs", stage.operated.last_words)
        yield load


def assert_all_answered(stage: Stage, load: Load, name: str) -> None:
    """Also those that waited for version slow, and had to move for it."""
    outcomes = load.verdict(stage.valkey.client())[name]
    assert outcomes.pop("unanswered", 0) == 0, outcomes
    assert all(outcome.startswith("answered by") for outcome in outcomes), outcomes
    assert "slow" in [line["version"] for line in stage.operated.said(name, "waiting jobs moved")]


def routes(stage: Stage, name: str) -> list[dict[str, int]]:
    return [line["weights"] for line in stage.operated.said(name, "route written")]


def proven(stage: Stage, name: str) -> int:
    """How many versions have been asked for the golden set."""
    return sum(line["reason"] == "ProvingGoldenSet" for line in stage.operated.said(name, "rollout"))


def events(stage: Stage, name: str) -> Counter[str]:
    about = f"--field-selector=involvedObject.kind=IrisModel,involvedObject.name={name}"
    return Counter(stage.operated("get", "events", about, "-o", "jsonpath={.items[*].reason}").split())


def watch_says(stage: Stage, what: str) -> bool:
    return f"{what} the watch-stream for irismodels" in stage.operated.log.read_text()
