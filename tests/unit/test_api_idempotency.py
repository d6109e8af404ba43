"""`Idempotency-Key` as callers see it: the same request again is the same job, another one is refused."""

from __future__ import annotations

from typing import Any

import pytest
from starlette.testclient import TestClient

from api_client import FLOWER, GETPRED, ROW
from iris_service.api.idempotency import fingerprint, key_from_headers
from iris_service.errors import InvalidInput
from iris_service.schemas import Payload
from memory_queue import MemoryQueue

OTHER = {**FLOWER, "petal_width": 0.3}


def keyed(key: str = "order-7") -> dict[str, str]:
    return {"Idempotency-Key": key}


def test_the_same_request_again_is_the_same_job_and_the_same_answer(client: TestClient, queue: MemoryQueue) -> None:
    first, again = (client.post(GETPRED, json=FLOWER, headers=keyed()) for _ in range(2))
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert again.headers["location"] == first.headers["location"]
    assert len(queue.submitted) == 1
    assert 'iris_jobs_accepted_total{model="iris",version="1"} 1.0' in client.get("/metrics").text


def test_how_the_request_is_written_does_not_matter_and_what_it_says_does(client: TestClient) -> None:
    job = client.get(GETPRED, params=FLOWER, headers=keyed()).json()
    spaced = b'{"petal_width":0.20, "petal_length":14e-1, "sepal_width":3.5, "sepal_length":5.1 }'
    assert client.post(GETPRED, content=spaced, headers=keyed()).json() == job
    for other in (OTHER, {"data": [ROW]}, {"data": [ROW, ROW]}):
        refused = client.post(GETPRED, json=other, headers=keyed())
        assert (refused.status_code, refused.json()["code"]) == (409, "IDEMPOTENCY_CONFLICT")


def test_zero_has_no_sign(client: TestClient) -> None:
    jobs = [
        client.post(GETPRED, json={**FLOWER, "petal_width": zero}, headers=keyed()).json() for zero in (0.0, -0.0, 0)
    ]
    assert jobs[0] == jobs[1] == jobs[2]


def test_another_key_or_none_is_another_job(client: TestClient, queue: MemoryQueue) -> None:
    for headers in (keyed("1"), keyed('"1"'), keyed("1;a=b"), keyed("1; a=b"), {}, {}):
        assert client.get(GETPRED, params=FLOWER, headers=headers).status_code == 200
    assert len(queue.submitted) == 6


@pytest.mark.parametrize("key", ["a", "~", "x" * 255, 'k;"v", q=0.5', "a b"])
def test_a_key_of_printable_ascii_is_taken(client: TestClient, key: str) -> None:
    assert client.get(GETPRED, params=FLOWER, headers=keyed(key)).status_code == 200


@pytest.mark.parametrize("key", [b"", b"x" * 256, b"a\tb", b"\x7f", b"a\xff", "ü".encode()])
def test_what_is_no_key_is_refused_by_name(client: TestClient, queue: MemoryQueue, key: bytes) -> None:
    refused = client.get(GETPRED, params=FLOWER, headers={"Idempotency-Key": key})
    assert (refused.status_code, refused.json()["field"]) == (422, "Idempotency-Key")
    assert not queue.submitted


def test_two_keys_are_none() -> None:
    with pytest.raises(InvalidInput):
        key_from_headers([(b"idempotency-key", b"a"), (b"idempotency-key", b"a")])


def test_a_request_that_is_refused_uses_no_key_up(client: TestClient) -> None:
    assert client.get(GETPRED, params={**FLOWER, "petal_width": "wide"}, headers=keyed()).status_code == 422
    assert client.get(GETPRED, params=FLOWER, headers=keyed()).status_code == 200


def payload(**changes: Any) -> Payload:
    return Payload(**{"rows": ((1.0, 2.0),), "many": False, "request_id": "r", "accepted_at": 1.0, **changes})


def test_a_fingerprint_knows_the_model_and_the_rows_and_not_when_or_by_whom_they_were_sent() -> None:
    same = [payload(), payload(request_id="s"), payload(accepted_at=2.0)]
    other = [payload(rows=((1.0, 3.0),)), payload(rows=((1.0,), (2.0,))), payload(many=True)]
    assert len({fingerprint("iris", sent) for sent in same}) == 1
    assert len({fingerprint("iris", sent) for sent in [payload(), *other]} | {fingerprint("wine", payload())}) == 5
