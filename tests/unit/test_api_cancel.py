"""Cancelling as callers see it."""

from __future__ import annotations

import pytest
from starlette.testclient import TestClient

from api_client import FLOWER, GETPRED, RESULT, STATUS
from iris_service.errors import QueueUnavailable
from iris_service.schemas import Answered
from memory_queue import MemoryQueue

JOBS = "/iris/api/v1.0/jobs"
ANSWER = Answered("iris", "1", "sha256:0", 1.0, 2.0, 3.0, ((1.0, 0.0, 0.0),))


def submitted(client: TestClient) -> str:
    return str(client.get(GETPRED, params=FLOWER).json()["job_id"])


def test_a_job_is_cancelled_as_often_as_one_likes(client: TestClient) -> None:
    job_id = submitted(client)
    for path in (f"{JOBS}/{job_id}", f"{JOBS}/{job_id}/"):
        answer = client.delete(path)
        assert (answer.status_code, answer.json()) == (200, {"code": "CANCELLED", "status": "success"})


@pytest.mark.parametrize("page", [STATUS, RESULT])
@pytest.mark.parametrize("query", ["", "?wait=5"])
def test_a_cancelled_job_is_gone(client: TestClient, page: str, query: str) -> None:
    job_id = submitted(client)
    client.delete(f"{JOBS}/{job_id}")
    answer = client.get(f"{page}/{job_id}{query}")
    assert answer.status_code == 410
    assert (answer.json()["code"], answer.json()["status"]) == ("CANCELLED", "error")


def test_what_is_answered_is_not_cancelled(client: TestClient, queue: MemoryQueue) -> None:
    job_id = submitted(client)
    queue.envelopes[job_id] = ANSWER
    refused = client.delete(f"{JOBS}/{job_id}")
    assert (refused.status_code, refused.json()["code"]) == (409, "ALREADY_ANSWERED")
    assert client.get(f"{RESULT}/{job_id}").status_code == 200


def test_no_job_is_cancelled_under_an_unknown_or_impossible_id(client: TestClient) -> None:
    headers = {"X-Request-Id": "r"}
    answers = [client.delete(f"{JOBS}/{job_id}", headers=headers) for job_id in ("0" * 32, "nonsense", "%00", "x" * 99)]
    assert {(answer.status_code, answer.content) for answer in answers} == {(404, answers[0].content)}
    assert answers[0].json()["code"] == "NOT_FOUND"


def test_without_redis_a_cancel_is_asked_to_come_back(client: TestClient, queue: MemoryQueue) -> None:
    queue.trouble = QueueUnavailable("away", retry_after_seconds=3)
    answer = client.delete(f"{JOBS}/{'0' * 32}")
    assert (answer.status_code, answer.headers["retry-after"]) == (503, "3")


def test_the_same_key_after_a_cancel_is_the_cancelled_job(client: TestClient) -> None:
    headers = {"Idempotency-Key": "order-7"}
    job_id = client.post(GETPRED, json=FLOWER, headers=headers).json()["job_id"]
    client.delete(f"{JOBS}/{job_id}")
    assert client.post(GETPRED, json=FLOWER, headers=headers).json()["job_id"] == job_id
    assert client.get(f"{RESULT}/{job_id}").status_code == 410
