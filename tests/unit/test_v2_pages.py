"""The pages of the V2 protocol as their callers see them: a queue in memory, no socket."""

from __future__ import annotations

import gzip
import json
import re
from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from api_client import FLOWER, GETPRED, RESULT, ROW, api_client
from iris_service.api.v2.inference import FAILURES
from iris_service.api.v2.tensors import to_bytes
from iris_service.config import ApiSettings, Settings
from iris_service.errors import IrisError, ModelRejected, QueueFull, QueueUnavailable
from iris_service.jobs.keys import Target
from iris_service.jobs.route import Route
from iris_service.jobs.watch import Observation
from iris_service.schemas import Envelope, Failed
from memory_queue import AnsweringQueue, MemoryQueue, answer_to
from stub_model import answer_of

MODEL = "/v2/models/iris"
INFER = f"{MODEL}/infer"
INPUT = {"name": "input", "shape": [2, 4], "datatype": "FP64", "data": [ROW, [6.0, 3.0, 5.0, 2.0]]}
SHARES = [answer_of(tuple(row)) for row in INPUT["data"]]
JSON_LENGTH = "Inference-Header-Content-Length"
IMPATIENT = Settings(api=replace(ApiSettings(), sync_wait_seconds=0.05))


class TwoVersions(AnsweringQueue):
    """Half of the jobs for each of two versions, and another model beside them."""

    def pick(self, model: str = "") -> Target:
        return self.target

    def observe(self) -> Observation:
        seen = super().observe()
        one, two, wine = self.target, Target("iris", "2"), Target("wine", "7")
        return replace(seen, routes={"iris": Route(((one, 30), (two, 70))), "wine": Route.only(wine)})


@pytest.fixture
def queue() -> AnsweringQueue:
    return AnsweringQueue()


def assert_error(answer: Any, status: int, code: str) -> dict[str, Any]:
    """As every V2 client needs it: `error` is a text, and the content type nothing but JSON."""
    assert answer.headers["content-type"] == "application/json"
    body: dict[str, Any] = answer.json()
    assert (answer.status_code, body["code"]) == (status, code), body
    assert isinstance(body["error"], str)
    assert body["error"]
    assert body["request_id"] == answer.headers["x-request-id"]
    return body


def infer(client: TestClient, path: str = INFER, **more: Any) -> Any:
    return client.post(path, json={"inputs": [INPUT], **more})


@pytest.mark.parametrize("path", [INFER, f"{MODEL}/versions/1/infer", f"{INFER}/"])
def test_rows_are_answered_in_the_same_request(client: TestClient, queue: MemoryQueue, path: str) -> None:
    answer = infer(client, path, id="mine")
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "application/json"
    assert answer.json() == {
        "model_name": "iris",
        "model_version": "1",
        "id": "mine",
        "outputs": [
            {"name": "predict", "shape": [2], "datatype": "INT64", "data": [0, 2]},
            {"name": "predict_proba", "shape": [2, 3], "datatype": "FP64", "data": [*SHARES[0], *SHARES[1]]},
            {"name": "label", "shape": [2], "datatype": "BYTES", "data": ["setosa", "virginica"]},
        ],
    }
    [payload] = queue.submitted.values()
    assert [list(row) for row in payload.rows] == INPUT["data"]


def test_a_request_without_an_id_gets_that_of_the_request(client: TestClient) -> None:
    for id_ in ({}, {"id": ""}, {"id": None}):
        answer = infer(client, **id_)
        assert answer.json()["id"] == answer.headers["x-request-id"]


@pytest.mark.parametrize("kind", [None, "application/octet-stream", "application/x-www-form-urlencoded", "nonsense"])
def test_no_content_type_is_asked_for(client: TestClient, kind: str | None) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    assert client.post(INFER, content=json.dumps({"inputs": [INPUT]}), headers=headers).status_code == 200


def test_binary_tensors_go_in_and_come_out(client: TestClient) -> None:
    rows = [value for row in INPUT["data"] for value in row]
    tensor = {**INPUT, "data": None, "parameters": {"binary_data_size": 64}}
    head = json.dumps({"inputs": [tensor], "parameters": {"binary_data_output": True}}).encode()
    sent = head + to_bytes("FP64", rows)
    for headers, content in (({}, sent), ({"Content-Encoding": "gzip"}, gzip.compress(sent))):
        answer = client.post(INFER, content=content, headers={JSON_LENGTH: str(len(head)), **headers})
        assert answer.status_code == 200
        assert answer.headers["content-type"] == "application/octet-stream"
        length = int(answer.headers[JSON_LENGTH])
        assert [tensor["name"] for tensor in json.loads(answer.content[:length])["outputs"]] == [
            "predict", "predict_proba", "label",
        ]  # fmt: skip
        assert answer.content[length:] == to_bytes("INT64", [0, 2]) + to_bytes("FP64", [*SHARES[0], *SHARES[1]]) + (
            to_bytes("BYTES", ["setosa", "virginica"])
        )


def test_a_raw_request_is_one_row_and_its_answer_all_binary(client: TestClient) -> None:
    answer = client.post(INFER, content=to_bytes("FP64", ROW), headers={JSON_LENGTH: "0"})
    assert answer.status_code == 200
    outputs = json.loads(answer.content[: int(answer.headers[JSON_LENGTH])])["outputs"]
    assert [(output["shape"], set(output["parameters"])) for output in outputs] == [
        ([1], {"binary_data_size"}), ([1, 3], {"binary_data_size"}), ([1], {"binary_data_size"}),
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        ({"content": b""}, 400, "MALFORMED_BODY"),
        ({"content": b"{"}, 400, "MALFORMED_BODY"),
        ({"content": b"[" * 100_000}, 400, "MALFORMED_BODY"),
        ({"content": b'{"inputs":[],"inputs":[]}'}, 400, "MALFORMED_BODY"),
        ({"json": []}, 400, "INVALID_TENSORS"),
        ({"json": {"inputs": [{**INPUT, "shape": [2, 5]}]}}, 400, "INVALID_TENSORS"),
        ({"json": {"inputs": [INPUT], "outputs": [{"name": "species"}]}}, 400, "INVALID_TENSORS"),
        ({"json": {"inputs": [{**INPUT, "data": [ROW, [6.0, 3.0, 5.0, 31]]}]}}, 422, "INVALID_INPUT"),
        ({"content": b"{}", "headers": {"Content-Encoding": "br"}}, 415, "UNSUPPORTED_MEDIA_TYPE"),
        ({"content": b"{}", "headers": {"Content-Encoding": "gzip"}}, 400, "MALFORMED_BODY"),
        ({"content": b"{}", "headers": {JSON_LENGTH: "3"}}, 400, "INVALID_TENSORS"),
    ],
)
def test_what_cannot_be_answered_is_refused(
    client: TestClient, queue: MemoryQueue, sent: dict[str, Any], status: int, code: str
) -> None:
    assert_error(client.post(INFER, **sent), status, code)
    assert not queue.submitted


def test_limits_are_exact(queue: MemoryQueue) -> None:
    sent = json.dumps({"inputs": [INPUT]}).encode()
    small = Settings(api=replace(ApiSettings(), max_body_bytes=len(sent) + 100, max_rows=2))
    with api_client(queue, settings=small) as client:
        assert client.post(INFER, content=sent.ljust(len(sent) + 100)).status_code == 200
        assert_error(client.post(INFER, content=sent.ljust(len(sent) + 101)), 413, "BODY_TOO_LARGE")
        compressed = {"headers": {"Content-Encoding": "gzip"}}
        assert client.post(INFER, content=gzip.compress(sent.ljust(len(sent) + 100)), **compressed).status_code == 200
        bomb = gzip.compress(sent.ljust(len(sent) + 101))
        assert_error(client.post(INFER, content=bomb, **compressed), 413, "BODY_TOO_LARGE")
        three = {**INPUT, "shape": [3, 4], "data": [ROW] * 3}
        assert_error(client.post(INFER, json={"inputs": [three]}), 413, "TOO_MANY_ROWS")


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v2/nope"), ("GET", "/v2/models/rose"), ("GET", "/v2/models/rose/ready"),
        ("GET", f"{MODEL}/versions/9"),
        ("GET", f"{MODEL}/versions/9/ready"), ("POST", "/v2/models/rose/infer"), ("POST", f"{MODEL}/versions/9/infer"),
        ("GET", "/v2/models/rose/config"), ("GET", "/v2/models/rose/stats"), ("GET", f"{MODEL}/docs"),
        ("GET", "/v2/docs/dataplane.json"), ("POST", f"{MODEL}/generate"), ("GET", f"{MODEL}/versions//infer"),
        ("GET", "/v2/models/%00"), ("GET", "/v2/models/iris%2F..%2Firis"), ("GET", f"/v2/jobs/{'0' * 32}"),
        ("GET", "/v2/jobs/nonsense"),
    ],
)  # fmt: skip
def test_what_is_not_there_is_not_found(client: TestClient, method: str, path: str) -> None:
    answer = client.request(method, path, json={"inputs": [INPUT]} if method == "POST" else None)
    assert answer.json()["code"] in ("PAGE_NOT_FOUND", "UNKNOWN_MODEL", "NOT_FOUND")
    assert_error(answer, 404, answer.json()["code"])


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("GET", INFER, "POST"), ("POST", "/v2", "GET, HEAD"), ("GET", "/v2/repository/index", "POST"),
        ("PUT", MODEL, "GET, HEAD"),
    ],
)  # fmt: skip
def test_a_wrong_method_is_told_the_right_ones(client: TestClient, method: str, path: str, allow: str) -> None:
    answer = client.request(method, path)
    assert_error(answer, 405, "METHOD_NOT_ALLOWED")
    assert answer.headers["allow"] == allow


@pytest.mark.parametrize("trouble", [QueueFull("full", retry_after_seconds=7), QueueUnavailable("away")])
def test_who_comes_at_a_bad_time_is_told_when_to_come_back(
    client: TestClient, queue: MemoryQueue, trouble: IrisError
) -> None:
    queue.trouble = trouble
    answer = infer(client)
    assert_error(answer, 429 if isinstance(trouble, QueueFull) else 503, trouble.code)
    assert int(answer.headers["retry-after"]) >= 1
    if isinstance(trouble, QueueUnavailable):  # a full queue is ready: it will take jobs again
        assert_error(client.get("/v2/health/ready"), answer.status_code, trouble.code)
        assert_error(client.get(f"{MODEL}/ready"), answer.status_code, trouble.code)
    assert client.get("/v2/health/live").json() == {"live": True}


class Surprise(AnsweringQueue):
    async def commit(self, *_: object) -> bool:
        raise RuntimeError("secret detail")


def test_a_fault_of_ours_tells_no_details() -> None:
    with api_client(Surprise()) as client:
        answer = infer(client)
    assert_error(answer, 500, "INTERNAL_SERVER_ERROR")
    assert "secret" not in answer.text


class FailingQueue(MemoryQueue):
    """Every job fails, for one and the same reason."""

    def __init__(self, reason: Any) -> None:
        super().__init__()
        self.reason = reason

    async def commit(self, job_id: str, *arguments: Any) -> bool:
        self.envelopes[job_id] = Failed("iris", "1", 5, self.reason, "its workers died 5 times", 3.0)
        return await super().commit(job_id, *arguments)


@pytest.mark.parametrize(("reason", "status"), FAILURES.items())
def test_a_failed_job_is_an_error_whose_code_is_its_reason(reason: Any, status: int) -> None:
    with api_client(FailingQueue(reason)) as client:
        body = assert_error(infer(client), status, reason)
        assert body["error"] == "its workers died 5 times"
        job = client.post(INFER, json={"inputs": [INPUT]}, headers={"Prefer": "respond-async"}).headers["location"]
        assert_error(client.get(job), status, reason)


def test_what_takes_too_long_is_not_lost() -> None:
    queue = MemoryQueue()
    with api_client(queue, settings=IMPATIENT) as client:
        answer = infer(client, id="mine", outputs=[{"name": "label"}])
        body = assert_error(answer, 504, "NOT_READY")
        [(job_id, payload)] = queue.submitted.items()
        location = answer.headers["location"]
        assert location == f"/v2/jobs/{job_id}?id=mine&outputs=label"
        assert location in body["error"]
        assert client.get(location).status_code == 202
        queue.envelopes[job_id] = answer_to(payload, queue.target)
        found = client.get(location).json()
        assert (found["id"], found["outputs"][0]["data"]) == ("mine", ["setosa", "virginica"])


def test_a_request_sent_again_under_its_key_is_the_same_job_and_another_under_it_is_refused(
    client: TestClient, queue: MemoryQueue
) -> None:
    key = {"Idempotency-Key": "7f1c"}
    first = client.post(INFER, json={"inputs": [INPUT], "id": "mine"}, headers=key)
    again = client.post(INFER, json={"inputs": [INPUT], "id": "mine"}, headers=key)
    assert first.json() == again.json()
    assert len(queue.submitted) == 1
    assert queue.fetched == 1, "what is known will not be announced once more"
    other = {**INPUT, "data": [9.0] * 8}
    assert_error(client.post(INFER, json={"inputs": [other]}, headers=key), 409, "IDEMPOTENCY_CONFLICT")


def test_a_job_can_be_cancelled_at_its_address() -> None:
    with api_client(MemoryQueue()) as client:
        location = client.post(INFER, json={"inputs": [INPUT]}, headers={"Prefer": "respond-async"}).headers["location"]
        assert client.delete(location).json() == {"code": "CANCELLED", "status": "success"}
        assert_error(client.get(location), 410, "CANCELLED")
        assert_error(client.delete(f"/v2/jobs/{'0' * 32}"), 404, "NOT_FOUND")


def test_an_answer_that_is_not_heard_is_fetched(client: TestClient, queue: MemoryQueue) -> None:
    queue.deaf = True
    assert infer(client).status_code == 200
    assert queue.fetched == 1


def test_trouble_after_a_job_is_accepted_costs_its_caller_nothing() -> None:
    class BreaksDown(MemoryQueue):
        async def fetch(self, job_id: str, wait_seconds: float = 0.0) -> Envelope | None:
            raise QueueUnavailable("away")

    with api_client(BreaksDown()) as client:
        answer = infer(client)
    assert_error(answer, 504, "NOT_READY")
    assert answer.headers["location"].startswith("/v2/jobs/")


@pytest.mark.parametrize("prefer", ["respond-async", "Respond-Async", "wait=5, respond-async", "respond-async;x=1"])
def test_who_prefers_it_gets_the_address_of_a_job_at_once(client: TestClient, queue: MemoryQueue, prefer: str) -> None:
    answer = client.post(INFER, json={"inputs": [INPUT]}, headers={"Prefer": prefer})
    assert answer.status_code == 202
    [job_id] = queue.submitted
    assert answer.json() == {"job_id": job_id}
    assert answer.headers["preference-applied"] == "respond-async"
    assert answer.headers["location"] == f"/v2/jobs/{job_id}"
    found = client.get(f"/v2/jobs/{job_id}?wait=5")
    assert found.status_code == 200
    assert found.headers["content-type"] == "application/json"
    assert found.json() == {**infer(client).json(), "id": job_id}


@pytest.mark.parametrize("prefer", ["", "wait=5", "respond-asynchronously", "return=minimal"])
def test_other_preferences_change_nothing(client: TestClient, prefer: str) -> None:
    answer = client.post(INFER, json={"inputs": [INPUT]}, headers={"Prefer": prefer})
    assert answer.status_code == 200
    assert "preference-applied" not in answer.headers


def test_the_address_of_a_job_knows_how_its_answer_was_wished_for(client: TestClient) -> None:
    wished = {"inputs": [INPUT], "id": "ä b&c", "outputs": [{"name": "label"}, {"name": "predict"}]}
    location = client.post(INFER, json=wished, headers={"Prefer": "respond-async"}).headers["location"]
    assert re.fullmatch(r"/v2/jobs/[0-9a-f]{32}\?id=%C3%A4\+b%26c&outputs=label,predict", location)
    found = client.get(location).json()
    assert found["id"] == "ä b&c"
    assert [output["name"] for output in found["outputs"]] == ["label", "predict"]


def test_the_longest_id_fits_into_an_address(client: TestClient) -> None:
    wished = {"inputs": [INPUT], "id": "🌺" * 256, "outputs": [{"name": "label"}]}
    location = client.post(INFER, json=wished, headers={"Prefer": "respond-async"}).headers["location"]
    assert client.get(location).json()["id"] == "🌺" * 256


def test_a_job_that_runs_is_not_ready_yet() -> None:
    queue = MemoryQueue()
    with api_client(queue) as client:
        location = client.post(INFER, json={"inputs": [INPUT]}, headers={"Prefer": "respond-async"}).headers["location"]
        for query in ("", "?wait=0.05"):
            answer = client.get(location + query)
            assert (answer.status_code, answer.json()) == (202, {"code": "NOT_READY", "status": "running"})


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("wait=31", 422), ("wait=x", 422), ("colour=1", 422), ("outputs=species", 400), ("outputs=", 400),
        ("x" * 4097, 414),
    ],
)  # fmt: skip
def test_a_query_that_a_job_does_not_know_is_refused(client: TestClient, query: str, status: int) -> None:
    assert client.get(f"/v2/jobs/{'0' * 32}?{query}").status_code == status


def test_a_job_can_be_read_on_either_page(client: TestClient, queue: MemoryQueue) -> None:
    infer(client)
    job_id = client.get(GETPRED, params=FLOWER).json()["job_id"]
    assert client.get(f"/v2/jobs/{job_id}").json()["outputs"][2]["data"] == ["setosa"]
    first = next(iter(queue.submitted))
    assert len(client.get(f"{RESULT}/{first}").json()["result"]) == 2


def test_the_server_says_what_it_can_do(client: TestClient) -> None:
    for path in ("/v2", "/v2/"):
        found = client.get(path).json()
        assert found["name"] == "iris"
        assert re.fullmatch(r"\d+\.\d+\.\d+", found["version"])
        assert {"binary_tensor_data", "model_repository"} <= set(found["extensions"])


def test_health_has_bodies(client: TestClient) -> None:
    assert client.get("/v2/health/live").json() == {"live": True}
    assert client.get("/v2/health/ready").json() == {"ready": True}
    for path in (MODEL, f"{MODEL}/versions/1"):
        assert client.get(f"{path}/ready").json() == {"name": "iris", "ready": True}


def test_without_a_usable_card_nothing_of_it_is_ready() -> None:
    with api_client(MemoryQueue(), card=ModelRejected("the card is a novel")) as client:
        for path in ("/v2/health/ready", f"{MODEL}/ready", MODEL, f"{MODEL}/config"):
            assert_error(client.get(path), 503, "MODEL_NOT_READY")
        assert_error(infer(client), 503, "MODEL_NOT_READY")
        assert client.get("/v2/health/live").status_code == 200
        assert client.post("/v2/repository/index").json() == [
            {"name": "iris", "version": "1", "state": "UNAVAILABLE", "reason": "the card is a novel"}
        ]
        assert client.post("/v2/repository/index", json={"ready": True}).json() == []


def test_metadata_comes_from_the_card(client: TestClient) -> None:
    found = client.get(MODEL).json()
    assert (found["name"], found["versions"], found["platform"]) == ("iris", ["1"], "onnxruntime_onnx")
    [tensor] = found["inputs"]
    assert (tensor["name"], tensor["datatype"], tensor["shape"]) == ("input", "FP64", [-1, 4])
    assert tensor["parameters"]["features"] == "sepal_length,sepal_width,petal_length,petal_width"
    assert "one tensor" in tensor["parameters"]["per_column"]
    assert [(output["name"], output["datatype"], output["shape"]) for output in found["outputs"]] == [
        ("predict", "INT64", [-1]), ("predict_proba", "FP64", [-1, 3]), ("label", "BYTES", [-1]),
    ]  # fmt: skip
    assert found["outputs"][0]["parameters"] == {"classes": "setosa,versicolor,virginica"}
    assert client.get(f"{MODEL}/versions/1").json() == found
    for value in (value for tensor in found["inputs"] for value in tensor["parameters"].values()):
        assert isinstance(value, str | int | bool)


def test_the_configuration_is_as_triton_has_it(client: TestClient) -> None:
    found = client.get(f"{MODEL}/config").json()
    assert (found["name"], found["max_batch_size"]) == ("iris", 1000)
    assert found["input"] == [{"name": "input", "data_type": "TYPE_FP64", "dims": [4]}]
    assert [(tensor["data_type"], tensor["dims"]) for tensor in found["output"]] == [
        ("TYPE_INT64", [1]), ("TYPE_FP64", [3]), ("TYPE_STRING", [1]),
    ]  # fmt: skip


def test_statistics_count_what_was_answered_and_nothing_that_is_not_counted(client: TestClient) -> None:
    entry = {"name": "iris", "version": "1", "inference_stats": {"success": {"count": 3}, "fail": {"count": 0}}}
    for path in (f"{MODEL}/stats", f"{MODEL}/versions/1/stats", "/v2/models/stats"):
        assert client.get(path).json() == {"model_stats": [entry]}


@pytest.mark.parametrize("body", [b"", b"{}", b'{"ready": true}', b'{"ready": false, "repository_name": "x"}'])
def test_the_repository_index_lists_the_versions(client: TestClient, body: bytes) -> None:
    answer = client.post("/v2/repository/index", content=body)
    assert answer.json() == [{"name": "iris", "version": "1", "state": "READY", "reason": ""}]


@pytest.mark.parametrize(
    ("body", "code"), [(b"[]", "INVALID_TENSORS"), (b'{"ready": 1}', "INVALID_TENSORS"), (b"x", "MALFORMED_BODY")]
)
def test_an_index_is_not_asked_for_in_another_way(client: TestClient, body: bytes, code: str) -> None:
    assert_error(client.post("/v2/repository/index", content=body), 400, code)


@pytest.mark.parametrize("verb", ["load", "unload"])
def test_models_are_not_loaded_by_request(client: TestClient, verb: str) -> None:
    body = assert_error(client.post(f"/v2/repository/models/iris/{verb}"), 400, "NOT_LOADED_HERE")
    assert "IrisModel" in body["error"]


def test_every_version_that_takes_jobs_can_be_named_and_no_other() -> None:
    with api_client(TwoVersions()) as client:
        assert client.get("/v2/models").json() == {"models": ["iris", "wine"]}
        assert client.get(MODEL).json()["versions"] == ["1", "2"]
        assert client.get(f"{MODEL}/versions/2/ready").status_code == 200
        assert client.get(f"{MODEL}/versions/3/ready").status_code == 404
        assert client.get("/v2/models/wine/versions/1").status_code == 404
        index = client.post("/v2/repository/index").json()
        assert [(entry["name"], entry["version"]) for entry in index] == [("iris", "1"), ("iris", "2"), ("wine", "7")]
        assert len(client.get("/v2/models/stats").json()["model_stats"]) == 3


def test_a_named_version_gets_its_own_jobs() -> None:
    class Second(TwoVersions):
        async def commit(self, job_id: str, payload: Any, target: Target, fingerprint: str = "") -> bool:
            self.target = target
            return await super().commit(job_id, payload, target, fingerprint)

    queue = Second()
    with api_client(queue) as client:
        assert infer(client, f"{MODEL}/versions/2/infer").json()["model_version"] == "2"
    assert queue.target == Target("iris", "2")
