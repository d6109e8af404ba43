"""Every way to be refused: one shape, one status a kind, never a 500 for what a caller sent."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from api_client import FLOWER, GETPRED, RESULT, ROW, STATUS, api_client
from iris_service.config import ApiSettings, Settings
from iris_service.errors import IrisError, ModelRejected, QueueFull, QueueUnavailable, TryLater
from memory_queue import MemoryQueue

SMALL = Settings(api=replace(ApiSettings(), max_body_bytes=400, max_rows=3, max_query_bytes=100))


def assert_problem(answer: Any, status: int, code: str, field: str | None = None) -> None:
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert (answer.status_code, body["code"], body.get("field")) == (status, code, field), body
    assert body["status"] == "error"
    assert body["error"]
    assert body["request_id"] == answer.headers["x-request-id"]
    assert set(body) <= {"code", "status", "error", "request_id", "field", "row"}


def query(**changes: str | None) -> str:
    values = {name: str(value) for name, value in FLOWER.items()} | changes
    return "&".join(f"{name}={value}" for name, value in values.items() if value is not None)


@pytest.mark.parametrize(
    ("query_string", "field"),
    [
        ("", "sepal_length"),
        (query(petal_width=None), "petal_width"),
        (query() + "&petal_width=0.2", "petal_width"),
        (query() + "&colour=blue", "colour"),
        (query() + "&colour", "colour"),
        (query(sepal_width="wide"), "sepal_width"),
        (query(sepal_width=""), "sepal_width"),
        (query(sepal_width="nan"), "sepal_width"),
        (query(sepal_width="inf"), "sepal_width"),
        (query(sepal_width="-1"), "sepal_width"),
        (query(sepal_width="30.001"), "sepal_width"),
        (query(sepal_width="1e999"), "sepal_width"),
        (query(sepal_width="%"), "sepal_width"),
        (query(sepal_width="%zz"), "sepal_width"),
        (query(sepal_width="%00"), "sepal_width"),
        (query(sepal_width="+5"), "sepal_width"),
        (query(sepal_width="5;3"), "sepal_width"),
        (query(sepal_width="%ff"), None),
        (query() + "&%ff=1", None),
        (query() + "&%f0%9f%8c%ba=1", "🌺"),
    ],
)
def test_a_query_that_is_no_flower_is_refused_by_name(
    client: TestClient, queue: MemoryQueue, query_string: str, field: str | None
) -> None:
    assert_problem(client.get(f"{GETPRED}?{query_string}"), 422, "INVALID_INPUT", field)
    assert not queue.submitted


@pytest.mark.parametrize(
    ("body", "field"),
    [
        ({}, "sepal_length"),
        ({**FLOWER, "petal_width": None}, "petal_width"),
        ({**FLOWER, "petal_width": "0.2"}, "petal_width"),
        ({**FLOWER, "petal_width": True}, "petal_width"),
        ({**FLOWER, "petal_width": 31}, "petal_width"),
        ({**FLOWER, "petal_width": 10**400}, "petal_width"),
        ({**FLOWER, "petal_width": [0.2]}, "petal_width"),
        ({**FLOWER, "\ud800": 1}, "?"),
        ({**FLOWER, "data": [ROW]}, "sepal_length"),
        ({"data": []}, "data"),
        ({"data": {}}, "data"),
        ({"data": None}, "data"),
        ({"data": [ROW, "5134"]}, "data"),
        ({"data": [ROW, [5.1, 3.5, 1.4]]}, "data"),
        ({"data": [ROW, [5.1, 3.5, 1.4, -1]]}, "petal_width"),
        ({"data": ROW}, "data"),
        ([ROW], None),
        ("flower", None),
        (None, None),
        (5, None),
    ],
)
def test_a_body_that_is_no_flower_is_refused_by_name(
    client: TestClient, queue: MemoryQueue, body: Any, field: str | None
) -> None:
    sent = json.dumps(body).encode()
    assert_problem(client.post(GETPRED, content=sent), 422, "INVALID_INPUT", field)
    assert not queue.submitted


def test_a_bad_row_among_good_ones_is_numbered(client: TestClient) -> None:
    body = client.post(GETPRED, json={"data": [ROW, ROW, [5.1, 3.5, 1.4, "x"]]}).json()
    assert (body["error"], body["row"]) == ("data[2]: petal_width must be a number", 2)


@pytest.mark.parametrize("body", [b"", b"{", b'{"a":NaN}', b'{"a":1,"a":1}', b"\xff", b"{}x", b"[" * 100_000])
def test_a_body_that_is_no_json_is_malformed(client: TestClient, body: bytes) -> None:
    assert_problem(client.post(GETPRED, content=body), 400, "MALFORMED_BODY")


@pytest.mark.parametrize(
    "headers",
    [
        {"Content-Type": "text/csv; charset=latin-1"},
        {"Content-Type": "text/csv; header=absent"},
        {"Content-Type": "text/plain"},
        {"Content-Type": "application/x-www-form-urlencoded"},
        {"Content-Type": "multipart/form-data; boundary=x"},
        {"Content-Type": "application/jsonp"},
        {"Content-Type": ""},
        {"Content-Type": "application/json; charset=utf-16"},
        {"Content-Type": "application/json; charset=latin-1"},
        {"Content-Encoding": "gzip"},
    ],
)
def test_a_body_of_another_type_is_unsupported(client: TestClient, headers: dict[str, str]) -> None:
    assert_problem(client.post(GETPRED, content=b"{}", headers=headers), 415, "UNSUPPORTED_MEDIA_TYPE")


def test_limits_are_exact(queue: MemoryQueue) -> None:
    fits = json.dumps(FLOWER).encode()
    with api_client(queue, settings=SMALL) as client:
        assert client.post(GETPRED, json={"data": [ROW] * 3}).status_code == 202
        assert_problem(client.post(GETPRED, json={"data": [ROW] * 4}), 413, "TOO_MANY_ROWS", "data")
        assert client.post(GETPRED, content=fits.ljust(400)).status_code == 202
        assert_problem(client.post(GETPRED, content=fits.ljust(401)), 413, "BODY_TOO_LARGE")
        assert client.get(f"{GETPRED}?{query().ljust(100, '&')}").status_code == 200
        assert_problem(client.get(f"{GETPRED}?{query().ljust(101, '&')}"), 414, "QUERY_TOO_LONG")
        assert_problem(client.get(f"{RESULT}/{'0' * 32}?wait={'0' * 100}"), 414, "QUERY_TOO_LONG")


def test_a_body_without_a_length_is_limited_too(queue: MemoryQueue) -> None:
    with api_client(queue, settings=SMALL) as client:
        chunks = (b" " * 100 for _ in range(5))
        assert_problem(client.post(GETPRED, content=chunks), 413, "BODY_TOO_LARGE")


@pytest.mark.parametrize("name", ["colour", "callback_url"])
def test_a_field_of_the_query_that_is_no_feature_is_called_that_whatever_its_value(
    client: TestClient, name: str
) -> None:
    answer = client.get(GETPRED, params={**FLOWER, name: "http://example.org"})
    assert_problem(answer, 422, "INVALID_INPUT", name)
    assert answer.json()["error"] == f"{name} is not a feature of this model"


@pytest.mark.parametrize(
    "path", ["/nope", "/iris/api/v1.0", "/iris/api/v2.0/getpred", "/iris/api/v1.0/status", "http://testserver//"]
)
def test_an_unknown_page_says_so(client: TestClient, path: str) -> None:
    assert_problem(client.get(path), 404, "PAGE_NOT_FOUND")


@pytest.mark.parametrize(
    ("method", "path", "allow"),
    [
        ("PUT", GETPRED, "GET, POST"),
        ("DELETE", GETPRED, "GET, POST"),
        ("POST", f"{STATUS}/{'0' * 32}", "GET, HEAD"),
        ("POST", "/healthz", "GET, HEAD"),
        ("BREW", "/healthz", "GET, HEAD"),
    ],
)
def test_a_wrong_method_is_told_the_right_ones(client: TestClient, method: str, path: str, allow: str) -> None:
    answer = client.request(method, path)
    assert_problem(answer, 405, "METHOD_NOT_ALLOWED")
    assert answer.headers["allow"] == allow


@pytest.mark.parametrize(
    ("trouble", "status"),
    [
        (QueueFull("full", retry_after_seconds=7), 429),
        (QueueUnavailable("away", retry_after_seconds=3), 503),
        (TryLater("short of memory", retry_after_seconds=60), 503),
        (TryLater("busy"), 503),
    ],
)
def test_who_comes_at_a_bad_time_is_told_when_to_come_back(
    client: TestClient, queue: MemoryQueue, trouble: IrisError, status: int
) -> None:
    queue.trouble = trouble
    answers = [client.get(GETPRED, params=FLOWER), client.post(GETPRED, json=FLOWER)]
    if isinstance(trouble, QueueUnavailable):  # the others are about new jobs only
        answers += [client.get(f"{STATUS}/{'0' * 32}"), client.get(f"{RESULT}/{'0' * 32}?wait=5")]
    for answer in answers:
        assert_problem(answer, status, trouble.code)
        assert answer.headers["retry-after"] == str(trouble.retry_after_seconds or 1)


class Surprise(MemoryQueue):
    async def commit(self, *_: object) -> bool:
        raise RuntimeError("secret detail")


def test_a_fault_of_ours_tells_no_details() -> None:
    with api_client(Surprise()) as client:
        answer = client.get(GETPRED, params=FLOWER)
    assert_problem(answer, 500, "INTERNAL_SERVER_ERROR")
    assert "secret" not in answer.text


def test_without_a_model_the_api_runs_and_says_why() -> None:
    with api_client(MemoryQueue(), card=ModelRejected("the card is a novel")) as client:
        assert client.get("/healthz").status_code == 200
        for answer in (client.get(GETPRED, params=FLOWER), client.post(GETPRED, json=FLOWER)):
            assert_problem(answer, 503, "MODEL_NOT_READY")
            assert int(answer.headers["retry-after"]) > 0
        ready = client.get("/readyz")
    assert (ready.status_code, ready.json()["ready"]) == (503, False)
    assert ready.json()["reasons"] == ["model: the card is a novel"]


def test_without_redis_the_api_runs_and_says_why(client: TestClient, queue: MemoryQueue) -> None:
    queue.trouble = QueueUnavailable("the queue cannot be used right now", retry_after_seconds=2)
    assert client.get("/healthz").json() == {"status": "ok"}
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["code"]) == (503, "SERVICE_NOT_READY")
    assert answer.json()["reasons"] == ["redis: the queue cannot be used right now"]
    queue.trouble = None
    assert client.get("/readyz").json() == {"ready": True, "model": "iris", "version": "1"}


def test_an_api_that_has_not_read_the_routes_yet_is_not_ready(client: TestClient, queue: MemoryQueue) -> None:
    queue.redis_up = False
    answer = client.get("/readyz")
    assert (answer.status_code, answer.json()["reasons"]) == (503, ["redis: the routes have not been read yet"])
