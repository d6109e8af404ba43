"""The article's pages as their callers see them: a queue in memory, no socket."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from api_client import FLOWER, GETPRED, RESULT, ROW, STATUS
from iris_service.schemas import Answered, Envelope, Failed
from memory_queue import MemoryQueue

SETOSA = (0.99951, 0.00049, 0.0)
SETOSA_TEXT = [
    {"class": "setosa", "probability": "1.000"},
    {"class": "versicolor", "probability": "0.000"},
    {"class": "virginica", "probability": "0.000"},
]
FAILED = Failed("iris", "1", 5, "WORKER_LOST", "its workers died 5 times", 3.0)


def answered(*rows: tuple[float, ...], many: bool = False) -> Envelope:
    return Answered("iris", "1", "sha256:0", 1.0, 2.0, 3.0, rows, many=many)


def submitted(client: TestClient, queue: MemoryQueue, envelope: Envelope | None = None) -> str:
    job_id = str(client.get(GETPRED, params=FLOWER).json()["job_id"])
    if envelope is not None:
        queue.envelopes[job_id] = envelope
    return job_id


def test_a_flower_in_the_query_becomes_a_job(client: TestClient, queue: MemoryQueue) -> None:
    answer = client.get(GETPRED, params=FLOWER, headers={"X-Request-Id": "mine-1"})
    assert answer.status_code == 200
    [(job_id, payload)] = queue.submitted.items()
    assert answer.json() == {"job_id": job_id}
    assert (payload.rows, payload.many, payload.request_id) == ((tuple(ROW),), False, "mine-1")


def test_a_flower_posted_as_json_becomes_a_job_with_a_location(client: TestClient, queue: MemoryQueue) -> None:
    answer = client.post(GETPRED, json=FLOWER)
    assert answer.status_code == 202
    [(job_id, payload)] = queue.submitted.items()
    assert answer.json() == {"job_id": job_id}
    assert answer.headers["location"] == f"{RESULT}/{job_id}"
    assert not payload.many


def test_rows_posted_as_data_become_one_job(client: TestClient, queue: MemoryQueue) -> None:
    answer = client.post(GETPRED, json={"data": [ROW, [6, 3, 5, 2]]})
    assert answer.status_code == 202
    [payload] = queue.submitted.values()
    assert (payload.rows, payload.many) == ((tuple(ROW), (6.0, 3.0, 5.0, 2.0)), True)


@pytest.mark.parametrize("kind", ["application/json", 'Application/JSON; charset="UTF-8"', None])
def test_the_usual_ways_to_say_json_are_understood(client: TestClient, kind: str | None) -> None:
    headers = {} if kind is None else {"Content-Type": kind}
    assert client.post(GETPRED, content=b'{"data":[[1,1,1,1]]}', headers=headers).status_code == 202


@pytest.mark.parametrize(
    "query",
    ["sepal_length=5%2E1&sepal_width=3.5&petal_length=1.4&petal_width=.2",
     "&petal_width=0.2&petal_length=1.4&&sepal_width=3.5&sepal_length=51e-1&",
     "sepal_length=%2B5.1&sepal_width=3.5&petal_length=1.4&petal_width=0.2"],
)  # fmt: skip
def test_the_usual_ways_to_write_a_query_are_understood(client: TestClient, queue: MemoryQueue, query: str) -> None:
    assert client.get(f"{GETPRED}?{query}").status_code == 200
    [payload] = queue.submitted.values()
    assert payload.rows == (tuple(ROW),)


def test_a_job_that_runs_is_not_ready(client: TestClient, queue: MemoryQueue) -> None:
    job_id = submitted(client, queue)
    for page in (STATUS, RESULT):
        answer = client.get(f"{page}/{job_id}")
        assert (answer.status_code, answer.json()) == (202, {"code": "NOT_READY", "status": "running"})


def test_an_answered_job_is_ready(client: TestClient, queue: MemoryQueue) -> None:
    answer = client.get(f"{STATUS}/{submitted(client, queue, answered(SETOSA))}")
    assert (answer.status_code, answer.json()) == (200, {"code": "READY", "status": "success"})


def test_the_result_of_one_flower_is_a_list_of_classes(client: TestClient, queue: MemoryQueue) -> None:
    answer = client.get(f"{RESULT}/{submitted(client, queue, answered(SETOSA))}")
    assert (answer.status_code, answer.json()) == (200, {"result": SETOSA_TEXT})
    assert answer.headers["content-type"] == "application/json"


@pytest.mark.parametrize("rows", [1, 3])
def test_the_result_of_data_is_a_list_of_such_lists(client: TestClient, queue: MemoryQueue, rows: int) -> None:
    answer = client.get(f"{RESULT}/{submitted(client, queue, answered(*[SETOSA] * rows, many=True))}")
    assert answer.json() == {"result": [SETOSA_TEXT] * rows}


@pytest.mark.parametrize("page", [STATUS, RESULT])
def test_a_failed_job_is_an_error_that_names_its_reason(client: TestClient, queue: MemoryQueue, page: str) -> None:
    answer = client.get(f"{page}/{submitted(client, queue, FAILED)}")
    assert answer.status_code == 500
    assert answer.json() == {
        "code": "INTERNAL_SERVER_ERROR",
        "status": "error",
        "error": "its workers died 5 times",
        "reason": "WORKER_LOST",
        "request_id": answer.headers["x-request-id"],
    }


@pytest.mark.parametrize("page", [STATUS, RESULT])
def test_unknown_and_impossible_ids_cannot_be_told_apart(client: TestClient, queue: MemoryQueue, page: str) -> None:
    bodies = []
    for job_id in ("0" * 32, "A" * 32, "0" * 31, "0" * 33, "x", "%00", "..%2f", "0" * 31 + "٠", "é", "rq:job:1"):
        answer = client.get(f"{page}/{job_id}", headers={"X-Request-Id": "same"})
        assert answer.status_code == 404, job_id
        bodies.append(answer.json())
    assert bodies[0] == {
        "code": "NOT_FOUND",
        "status": "error",
        "error": "no such job, or its answer has expired",
        "request_id": "same",
    }
    unmatched = {"code": "PAGE_NOT_FOUND"}  # an encoded slash makes it another page
    assert all(body == bodies[0] or body["code"] == unmatched["code"] for body in bodies)
    assert queue.fetched == 1  # only the one that could be ours was asked for


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", f"{GETPRED}", f"{STATUS}/{'0' * 32}"])
def test_a_trailing_slash_answers_like_the_plain_path(client: TestClient, path: str) -> None:
    plain, slashed = (client.get(path + end, params=FLOWER if path == GETPRED else None) for end in ("", "/"))
    assert plain.status_code == slashed.status_code
    assert plain.headers["content-type"] == slashed.headers["content-type"]
    assert slashed.history == []


def test_wait_returns_as_soon_as_there_is_an_answer(client: TestClient, queue: MemoryQueue) -> None:
    job_id = submitted(client, queue, answered(SETOSA))
    assert client.get(f"{RESULT}/{job_id}?wait=30").json() == {"result": SETOSA_TEXT}
    assert client.get(f"{STATUS}/{job_id}?wait=30").json() == {"code": "READY", "status": "success"}


def test_wait_ends_with_not_ready(client: TestClient, queue: MemoryQueue) -> None:
    assert client.get(f"{RESULT}/{submitted(client, queue)}?wait=0.05").status_code == 202


@pytest.mark.parametrize("query", ["wait=-1", "wait=30.1", "wait=nan", "wait=", "wait=1e9", "wait=x", "wait=1&wait=2"])
def test_a_wait_out_of_bounds_is_refused_by_name(client: TestClient, queue: MemoryQueue, query: str) -> None:
    answer = client.get(f"{RESULT}/{submitted(client, queue)}?{query}")
    assert (answer.status_code, answer.json()["field"]) == (422, "wait")


def test_head_asks_but_never_submits(client: TestClient, queue: MemoryQueue) -> None:
    refused = client.head(GETPRED, params=FLOWER)
    assert (refused.status_code, refused.headers["allow"]) == (405, "GET, POST")
    assert not queue.submitted
    assert client.head(f"{STATUS}/{submitted(client, queue)}").status_code == 202


@pytest.mark.parametrize(
    ("path", "allow"),
    [(GETPRED, "GET, POST"), ("/healthz", "GET, HEAD"), (f"/v2/jobs/{'0' * 32}", "DELETE, GET, HEAD")],
)
def test_options_lists_the_methods(client: TestClient, path: str, allow: str) -> None:
    answer = client.options(path)
    assert (answer.status_code, answer.headers["allow"], answer.content) == (204, allow, b"")


def test_a_result_names_its_version_and_times_in_a_header(client: TestClient, queue: MemoryQueue) -> None:
    answer = client.get(f"{RESULT}/{submitted(client, queue, answered(SETOSA))}")
    assert answer.headers["server-timing"] == 'queued;dur=2000.000, task;dur=3000.000;desc="iris 1"'


@pytest.mark.parametrize("version", ['1"', "1\r\nSet-Cookie: a=b", "é", "1 2", ""])
def test_who_can_write_redis_cannot_write_headers(client: TestClient, queue: MemoryQueue, version: str) -> None:
    forged = Answered("iris", version, "sha256:0", 1.0, 2.0, 3.0, (SETOSA,))
    answer = client.get(f"{RESULT}/{submitted(client, queue, forged)}")
    assert (answer.status_code, answer.json()) == (200, {"result": SETOSA_TEXT})
    assert answer.headers["server-timing"] == "queued;dur=2000.000, task;dur=3000.000"
    assert "set-cookie" not in answer.headers
