"""CSV at the article's pages: in, out, and in one request."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from starlette.testclient import TestClient

from api_client import FLOWER, GETPRED, RESULT, ROW, STATUS, api_client
from iris_service.config import ApiSettings, Settings
from memory_queue import AnsweringQueue, MemoryQueue

FILE = "species,petal_width,petal_length,sepal_width,sepal_length\nsetosa,0.2,1.4,3.5,5.1\nvirginica,2,5,3,6\n"
ANSWER = (
    "label,probability_setosa,probability_versicolor,probability_virginica\n"
    "setosa,0.5,0.3431373,0.1568627\n"
    "virginica,0.375,0.1875,0.4375\n"
)
SEND = {"Content-Type": "text/csv"}
ACCEPT = {"Accept": "text/csv"}


@pytest.fixture
def queue() -> AnsweringQueue:
    return AnsweringQueue()


def assert_table(answer: Any) -> None:
    assert answer.status_code == 200, answer.text
    assert answer.headers["content-type"] == "text/csv; charset=utf-8"
    assert answer.text == ANSWER


@pytest.mark.parametrize("kind", ["text/csv", "text/csv; charset=utf-8", 'Text/CSV; charset="UTF-8"; header=present'])
def test_a_file_becomes_one_job(client: TestClient, queue: MemoryQueue, kind: str) -> None:
    answer = client.post(GETPRED, content=FILE, headers={"Content-Type": kind})
    assert answer.status_code == 202
    [(job_id, payload)] = queue.submitted.items()
    assert answer.json() == {"job_id": job_id}
    assert answer.headers["location"] == f"{RESULT}/{job_id}"
    assert (payload.rows, payload.many) == ((tuple(ROW), (6.0, 3.0, 5.0, 2.0)), True)


def test_a_file_posted_with_wait_comes_back_as_a_file(client: TestClient) -> None:
    assert_table(client.post(f"{GETPRED}?wait=10", content=FILE, headers=SEND | ACCEPT))


def test_a_result_is_csv_for_who_would_rather_have_that(client: TestClient) -> None:
    location = client.post(GETPRED, content=FILE, headers=SEND).headers["location"]
    assert_table(client.get(location, headers=ACCEPT))
    assert_table(client.get(f"{location}?wait=5", headers=ACCEPT))
    assert len(client.get(location).json()["result"]) == 2
    job_id = client.get(GETPRED, params=FLOWER, headers=ACCEPT).json()["job_id"]
    lines = client.get(f"{RESULT}/{job_id}", headers=ACCEPT).text.splitlines()
    assert lines == ANSWER.splitlines()[:2]


def test_with_wait_the_body_is_what_the_result_page_answers(client: TestClient, queue: MemoryQueue) -> None:
    for sent in ({"json": FLOWER}, {"json": {"data": [ROW, ROW]}}, {"content": FILE, "headers": SEND}):
        answer = client.post(f"{GETPRED}?wait=10", **sent)
        job_id = list(queue.submitted)[-1]
        assert (answer.status_code, answer.json()) == (200, client.get(f"{RESULT}/{job_id}").json())


@pytest.mark.parametrize("query", ["", "?wait=0", "?"])
def test_without_wait_nothing_is_waited_for(client: TestClient, query: str) -> None:
    answer = client.post(GETPRED + query, content=FILE, headers=SEND | ACCEPT)
    assert answer.status_code == 202
    assert set(answer.json()) == {"job_id"}


def test_what_takes_longer_than_wait_is_accepted_as_usual() -> None:
    queue = MemoryQueue()
    with api_client(queue) as client:
        answer = client.post(f"{GETPRED}?wait=0.05", content=FILE, headers=SEND | ACCEPT)
        assert (answer.status_code, list(answer.json())) == (202, ["job_id"])
        running = client.get(answer.headers["location"], headers=ACCEPT)
        assert (running.status_code, running.json()["code"]) == (202, "NOT_READY")
        assert client.get(f"{STATUS}/{answer.json()['job_id']}").status_code == 202


@pytest.mark.parametrize("query", ["wait=31", "wait=-1", "wait=x", "wait=1&wait=2", "colour=blue", "sepal_length=5.1"])
def test_a_query_that_means_nothing_here_is_refused(client: TestClient, queue: MemoryQueue, query: str) -> None:
    answer = client.post(f"{GETPRED}?{query}", content=FILE, headers=SEND)
    assert (answer.status_code, answer.json()["field"]) == (422, query.partition("=")[0])
    assert not queue.submitted


@pytest.mark.parametrize(
    ("content", "status", "code", "row"),
    [
        (FILE.replace("2,5,3,6", "2,5,3,x"), 422, "INVALID_INPUT", 1),
        ('"a",b', 422, "INVALID_INPUT", None),
        ('"a,b', 400, "MALFORMED_BODY", None),
        (b"\xff", 400, "MALFORMED_BODY", None),
    ],
)
def test_a_bad_file_is_refused_in_json_whatever_was_to_come_back(
    client: TestClient, content: Any, status: int, code: str, row: int | None
) -> None:
    answer = client.post(f"{GETPRED}?wait=5", content=content, headers=SEND | ACCEPT)
    assert answer.headers["content-type"] == "application/json"
    body = answer.json()
    assert (answer.status_code, body["code"], body.get("row")) == (status, code, row)
    if row is not None:
        assert body["error"] == "line 3: sepal_length must be a decimal number"


def test_limits_are_exact_for_files_too() -> None:
    small = Settings(api=replace(ApiSettings(), max_body_bytes=len(FILE), max_rows=2))
    with api_client(MemoryQueue(), settings=small) as client:
        assert client.post(GETPRED, content=FILE, headers=SEND).status_code == 202
        assert client.post(GETPRED, content=FILE + "\n", headers=SEND).json()["code"] == "BODY_TOO_LARGE"
    three = FILE + "setosa,0.2,1.4,3.5,5.1\n"
    with api_client(MemoryQueue(), settings=Settings(api=replace(ApiSettings(), max_rows=2))) as client:
        assert client.post(GETPRED, content=three, headers=SEND).json()["code"] == "TOO_MANY_ROWS"
