"""What a user does with the chart on a cluster, from helm install to uninstall, one chapter a test and in this order.

IRIS_E2E=control-plane make test ARGS="-m e2e tests/e2e"        # or a cluster of yours: docs/develop-on-kind.md
"""

from __future__ import annotations

import pytest

from cluster.load import QUERY, Callers, get
from cluster.operated import wait_until
from e2e.sites import Site
from versions import committed_card

pytestmark = [pytest.mark.e2e, pytest.mark.xdist_group("e2e"), pytest.mark.timeout(600)]

SECONDS = 240
"""For what a cluster may have to pull an image, or a busy machine to start a process."""
FOLLOWING = {"autoscaling": {"minReplicas": 0, "maxReplicas": 3, "targetQueueLengthPerReplica": 10,
                             "scaleDownStabilizationSeconds": 2}}  # fmt: skip


def predicted(url: str) -> str:
    """The class of one flower, submitted and asked for as people do."""
    status, body = get(f"{url}/iris/api/v1.0/getpred?{QUERY}")
    assert status == 200, body
    status, body = get(f"{url}/iris/api/v1.0/result/{body['job_id']}?wait=30")
    assert status == 200, body
    return str(body["result"][0]["class"])


def test_one_command_installs_it_and_helm_test_gets_an_answer(site: Site) -> None:
    site.release.install(site.values, "--wait", "--timeout", "150s")
    site.wait_ready(SECONDS)
    assert "Phase:          Succeeded" in site.release.test()
    assert site.status()["stable"]["version"] == "1"


def test_a_flower_is_classified(site: Site) -> None:
    with site.api() as url:
        assert predicted(url) == "setosa"


def test_version_2_is_tried_on_a_share_of_the_jobs_and_promoted_without_losing_one(site: Site) -> None:
    with site.api() as url, Callers(url, per_second=20) as callers:
        site.apply("2")
        wait_until(lambda: site.status().get("stable", {}).get("version") == "2", SECONDS, "version 2 serves")
    with site.api() as url:
        callers.url = f"{url}/iris/api/v1.0"
        assert callers.verdict().keys() == {"setosa"}
    assert not callers.refused
    site.wait_ready(SECONDS)
    assert site.status()["stable"]["digest"] == committed_card("2").artifacts["onnx"].digest


@pytest.mark.parametrize(
    ("version", "digest"),
    [("3", f"sha256:{'0' * 64}"), ("1", f"sha256:{'0' * 64}")],
    ids=["which nobody published", "whose artifact is another"],
)
def test_a_version_is_given_up_while_the_good_one_answers_everything(site: Site, version: str, digest: str) -> None:
    with site.api() as url, Callers(url, per_second=20) as callers:
        site.apply(version, digest)
        wait_until(lambda: site.reason("Stalled") == "RolledBack", SECONDS, f"version {version} is given up")
    assert site.status()["stable"]["version"] == "2"
    with site.api() as url:
        callers.url = f"{url}/iris/api/v1.0"
        assert callers.verdict().keys() == {"setosa"}
        assert predicted(url) == "setosa"
    assert not callers.refused


def test_a_burst_wakes_workers_and_they_go_again(site: Site) -> None:
    site.apply("2", worker=FOLLOWING)
    wait_until(lambda: site.workers() == 0, SECONDS, "no worker without a job")
    with site.api() as url:
        burst = [get(f"{url}/iris/api/v1.0/getpred?{QUERY}") for _ in range(60)]
        assert {status for status, _ in burst} == {200}
        wait_until(lambda: site.workers() >= 2, SECONDS, "several workers for a burst")
        for _, body in burst:
            assert get(f"{url}/iris/api/v1.0/result/{body['job_id']}?wait=30")[0] == 200
        wait_until(lambda: site.workers() == 0, SECONDS, "no worker without a job")
        assert predicted(url) == "setosa"


def test_another_command_takes_it_away_and_leaves_the_queue_s_volume_alone(site: Site) -> None:
    site.release.uninstall("--wait", "--timeout", "150s")
    kept = {"persistentvolumeclaim/data-iris-valkey-0"}  # accepted jobs are in there
    wait_until(lambda: site.left() == kept, SECONDS, "nothing else is left", lambda: str(site.left()))
    assert site.release.kube.answers("get", "crd/irismodels.serving.iris.dev"), "other namespaces may have models"
