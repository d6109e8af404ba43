"""The door to the Kubernetes API: what is sent, and what each answer means. The API server is a function here."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable
from typing import Any

import httpx2
import pytest
from lightkube import AsyncClient, KubeConfig
from lightkube.config.models import Cluster, User

from iris_operator.cluster import KubernetesCluster
from iris_operator.errors import NotYet, Refused
from iris_operator.manifests import DELETION_COST, MANAGER, Pods, worker_deployment
from iris_operator.plan import Event
from iris_operator.spec import IrisModelSpec, ModelVersion
from memory_cluster import iris_model

SPEC = IrisModelSpec(name="iris", namespace="ns", generation=2, uid="u", model=ModelVersion("1", "sha256:1"))
MANIFEST = worker_deployment(SPEC, SPEC.model, 0, Pods("image", "secret"))
BODY = iris_model() | {"metadata": {"name": "iris", "namespace": "ns", "resourceVersion": "7", "uid": "u"}}
HAPPENED = Event("Normal", "Promoted", "version 1 serves")

CALLS: dict[str, Callable[[KubernetesCluster], Awaitable[Any]]] = {
    "list models": lambda cluster: cluster.list_models(),
    "list deployments": lambda cluster: cluster.list_deployments(),
    "apply": lambda cluster: cluster.apply(MANIFEST),
    "scale": lambda cluster: cluster.scale("ns", "d", 3),
    "delete": lambda cluster: cluster.delete("ns", "d"),
    "status": lambda cluster: cluster.patch_status(BODY, {"observedGeneration": 2}),
    "tell": lambda cluster: cluster.tell(SPEC, HAPPENED),
    "mark": lambda cluster: cluster.mark_idle_first("ns", {"a": "b"}, {}),
}


def call(name: str, answer: Callable[[httpx2.Request], httpx2.Response]) -> Any:
    async def told() -> Any:
        config = KubeConfig.from_one(cluster=Cluster(server="http://api.invalid"), user=User())
        client = AsyncClient(config, namespace="ns", transport=httpx2.MockTransport(answer), trust_env=False)
        try:
            return await CALLS[name](KubernetesCluster(client))
        finally:
            await client.close()

    return asyncio.run(told())


def refusal(code: int) -> httpx2.Response:
    return httpx2.Response(code, json={"kind": "Status", "code": code, "message": "no", "reason": "R"})


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("code", [400, 401, 403, 422, 429, 500, 503])
def test_whatever_the_api_server_refuses_is_tried_again_but_what_people_must_edit(name: str, code: int) -> None:
    to_be_edited = name == "apply" and code in (400, 422)
    with pytest.raises(Refused if to_be_edited else NotYet, match=f"{code}: no"):
        call(name, lambda _request: refusal(code))


@pytest.mark.parametrize("name", CALLS)
@pytest.mark.parametrize("failure", [httpx2.ConnectError, httpx2.ReadTimeout, httpx2.RemoteProtocolError])
def test_an_api_server_that_is_away_is_tried_again(name: str, failure: type[Exception]) -> None:
    def away(_request: httpx2.Request) -> httpx2.Response:
        raise failure("away")

    with pytest.raises(NotYet, match="cannot be reached"):
        call(name, away)


def test_what_is_gone_need_not_be_deleted_and_what_was_told_not_told_again() -> None:
    assert call("delete", lambda _request: refusal(404)) is None
    assert call("status", lambda _request: refusal(404)) == {}
    assert call("tell", lambda _request: refusal(409)) is None
    with pytest.raises(NotYet, match="409"):
        call("status", lambda _request: refusal(409))


def sent(name: str, answer: dict[str, Any]) -> httpx2.Request:
    requests: list[httpx2.Request] = []

    def keep(request: httpx2.Request) -> httpx2.Response:
        requests.append(request)
        return httpx2.Response(200, json=answer)

    call(name, keep)
    return requests[-1]


def test_workers_are_applied_under_our_own_name_and_by_force() -> None:
    request = sent("apply", {**MANIFEST, "apiVersion": "apps/v1", "kind": "Deployment"})
    assert request.headers["content-type"].startswith("application/apply-patch+")
    assert (request.url.params["fieldManager"], request.url.params["force"]) == (MANAGER, "true")
    assert json.loads(request.content) == MANIFEST, "nothing is added, and a zero is not left out"


def test_a_deployment_is_scaled_without_a_word_on_anything_else() -> None:
    request = sent("scale", {**MANIFEST, "apiVersion": "apps/v1", "kind": "Deployment"})
    assert (request.method, request.url.path) == ("PATCH", "/apis/apps/v1/namespaces/ns/deployments/d")
    assert request.url.params["fieldManager"] == MANAGER
    assert json.loads(request.content) == {"spec": {"replicas": 3}}


def test_a_status_is_written_only_to_the_object_it_was_decided_on() -> None:
    request = sent("status", BODY)
    assert request.url.path.endswith("/namespaces/ns/irismodels/iris/status")
    assert json.loads(request.content) == {
        "metadata": {"resourceVersion": "7", "uid": "u"},
        "status": {"observedGeneration": 2},
    }


def test_only_our_own_deployments_are_listed() -> None:
    request = sent("list deployments", {"kind": "DeploymentList", "items": [], "metadata": {}})
    assert request.url.params["labelSelector"] == f"app.kubernetes.io/managed-by={MANAGER}"


def test_the_same_event_has_the_same_name() -> None:
    first, second = (
        json.loads(sent("tell", {"kind": "Event", "metadata": {}, "involvedObject": {}}).content) for _ in range(2)
    )
    assert first["metadata"]["name"] == second["metadata"]["name"]
    assert (first["involvedObject"]["uid"], first["reason"]) == ("u", "Promoted")


def test_only_pods_whose_cost_is_another_are_marked() -> None:
    pods = [
        {"metadata": {"name": name, "namespace": "ns", "annotations": {DELETION_COST: cost} if cost else {}}}
        for name, cost in (("busy", "0"), ("busy-and-marked", "1000"), ("idle", ""), ("idle-again", "1000"))
    ]
    patched: dict[str, Any] = {}

    def answer(request: httpx2.Request) -> httpx2.Response:
        if request.method == "PATCH":
            patched[request.url.path.rpartition("/")[2]] = json.loads(request.content)["metadata"]["annotations"]
            return httpx2.Response(200, json=pods[0])
        return httpx2.Response(200, json={"kind": "PodList", "items": pods, "metadata": {}})

    CALLS["mark two"] = lambda cluster: cluster.mark_idle_first("ns", {}, {"busy": True, "busy-and-marked": True})
    try:
        call("mark two", answer)
    finally:
        del CALLS["mark two"]
    assert patched == {"busy": {DELETION_COST: "1000"}, "idle-again": {DELETION_COST: "0"}}
