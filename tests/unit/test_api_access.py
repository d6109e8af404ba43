"""Who is let in, and to what: API keys over HTTP, ownership of jobs, limits of a caller."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient

from api_client import FLOWER, GETPRED, RESULT, STATUS, OneCard, api_client
from cards import card_of
from iris_service.api.api_keys import new_key
from iris_service.api.app import create_app
from iris_service.api.cards import Cards
from iris_service.config import AccessSettings, Settings
from iris_service.schemas import Answered
from iris_service.telemetry.api import ApiMetrics
from memory_queue import MemoryQueue

JOBS = "/iris/api/v1.0/jobs"
SHOP, LAB = new_key("shop"), new_key("lab")
ANSWER = Answered("iris", "1", "sha256:0", 1.0, 2.0, 3.0, ((1.0, 0.0, 0.0),))


def bearer(key: str, scheme: str = "Bearer") -> dict[str, str]:
    return {"Authorization": f"{scheme} {key}"}


@pytest.fixture
def client(queue: MemoryQueue, tmp_path: Path) -> Iterator[TestClient]:
    (tmp_path / "keys").write_text(f"{SHOP.line}\n{LAB.line}\n")
    settings = Settings(access=AccessSettings(mode="api-key", keys_file=tmp_path / "keys"))
    with api_client(queue, settings=settings) as client:
        yield client


@pytest.mark.parametrize(
    "headers",
    [
        bearer(SHOP.key),
        bearer(SHOP.key, "bearer"),
        {"X-API-Key": SHOP.key},
        {**bearer(SHOP.key), "X-API-Key": SHOP.key},
    ],
)
def test_a_key_is_taken_from_either_header(client: TestClient, headers: dict[str, str]) -> None:
    assert client.get(GETPRED, params=FLOWER, headers=headers).status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {},
        bearer(""),
        bearer("nonsense"),
        bearer(SHOP.key + "x"),
        bearer(SHOP.key, "Basic"),
        bearer(SHOP.key, "BearerX"),
        {"Authorization": SHOP.key},
        {"X-API-Key": ""},
        {"X-API-Key": SHOP.line},
        {**bearer(SHOP.key), "X-API-Key": LAB.key},
        {"Cookie": f"key={SHOP.key}"},
    ],
)
@pytest.mark.parametrize("path", [f"{GETPRED}?x", f"{RESULT}/{'0' * 32}", "/nope", f"{GETPRED}/", "/docs/x", "/v2"])
def test_without_a_known_key_every_page_says_401_and_nothing_else(
    client: TestClient, queue: MemoryQueue, headers: dict[str, str], path: str
) -> None:
    answer = client.get(path, headers=headers)
    assert (answer.status_code, answer.json()["code"]) == (401, "UNAUTHENTICATED")
    assert answer.headers["www-authenticate"] == 'Bearer realm="iris"'
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert SHOP.key not in answer.text
    assert queue.fetched == len(queue.submitted) == 0


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics", "/healthz/"])
def test_machines_without_a_name_may_ask_how_we_are(client: TestClient, path: str) -> None:
    assert client.get(path).status_code == 200


@pytest.mark.parametrize("path", ["/", "/page/app.js", "/docs", "/openapi.json", "/v2/health/live", "/v2/health/ready"])
def test_what_is_for_everybody_is_not_asked_for_a_key(client: TestClient, path: str) -> None:
    assert client.get(path).status_code != 401


@pytest.mark.parametrize(
    "path", ["/page/../iris/api/v1.0/getpred", "/page/%2e%2e/iris/api/v1.0/getpred", "//healthz/../x"]
)
def test_no_detour_leads_past_the_question(client: TestClient, queue: MemoryQueue, path: str) -> None:
    assert client.get(path, params=FLOWER).status_code in (401, 404)
    assert not queue.submitted


def test_refusals_are_counted(client: TestClient) -> None:
    client.get(GETPRED)
    assert 'iris_requests_refused_total{code="UNAUTHENTICATED"} 1.0' in client.get("/metrics").text


@pytest.mark.parametrize(("method", "page"), [("GET", STATUS), ("GET", RESULT), ("DELETE", JOBS)])
@pytest.mark.parametrize("query", ["", "?wait=1"])
def test_a_job_of_somebody_else_is_no_different_from_one_that_never_was(
    client: TestClient, queue: MemoryQueue, method: str, page: str, query: str
) -> None:
    theirs = client.post(GETPRED, json=FLOWER, headers=bearer(LAB.key)).json()["job_id"]
    queue.envelopes[theirs] = ANSWER
    never = client.post(GETPRED, json=FLOWER, headers=bearer(SHOP.key)).json()["job_id"]
    del queue.submitted[never]
    answers = {}
    for job_id in (theirs, never, "0" * 32, "nonsense", "x" * 500, "%00", "%ed%a0%80", theirs.upper(), theirs + "%0a"):
        headers = {**bearer(SHOP.key), "X-Request-Id": "r"}
        answer = client.request(method, f"{page}/{job_id}{'' if method == 'DELETE' else query}", headers=headers)
        answers[job_id] = (answer.status_code, answer.content, sorted(answer.headers.items()))
    assert len(set(map(str, answers.values()))) == 1, answers
    assert answers[theirs][0] == 404
    assert queue.envelopes[theirs] is ANSWER
    assert client.get(f"{RESULT}/{theirs}", headers=bearer(LAB.key)).status_code == 200


def test_the_same_idempotency_key_of_two_callers_is_two_jobs(client: TestClient, queue: MemoryQueue) -> None:
    for key, flower in ((SHOP.key, FLOWER), (LAB.key, {**FLOWER, "petal_width": 0.3}), (SHOP.key, FLOWER)):
        headers = {**bearer(key), "Idempotency-Key": "order-7"}
        assert client.post(GETPRED, json=flower, headers=headers).status_code == 202
    assert len(queue.submitted) == 2


def test_one_caller_who_asks_too_much_does_not_slow_another(queue: MemoryQueue, tmp_path: Path) -> None:
    (tmp_path / "keys").write_text(f"{SHOP.line}\n{LAB.line}\n")
    access = AccessSettings(mode="api-key", keys_file=tmp_path / "keys", caller_rate=3)
    with api_client(queue, settings=Settings(access=access)) as client:
        statuses = [client.get(GETPRED, params=FLOWER, headers=bearer(SHOP.key)).status_code for _ in range(20)]
        assert statuses[:3] == [200, 200, 200]
        assert statuses.count(429) >= 10
        refused = client.get(f"{STATUS}/{'0' * 32}", headers=bearer(SHOP.key))
        assert (refused.status_code, refused.json()["code"]) == (429, "TOO_MANY_REQUESTS")
        assert int(refused.headers["retry-after"]) >= 1
        assert client.get(GETPRED, params=FLOWER, headers=bearer(LAB.key)).status_code == 200
        assert [client.get("/healthz").status_code for _ in range(20)] == [200] * 20


def test_the_pages_files_are_not_counted_and_not_refused(queue: MemoryQueue) -> None:
    files = ("/", "/page/page.js", "/page/page.css", "/docs", "/openapi.json")
    with api_client(queue, settings=Settings(access=AccessSettings(caller_rate=5))) as client:
        assert [client.get(path).status_code for path in files * 3] == [200] * 15
        statuses = [client.get(GETPRED, params=FLOWER).status_code for _ in range(20)]
        assert statuses[:5] == [200] * 5
        assert 429 in statuses
        assert [client.get(path).status_code for path in files] == [200] * 5


def test_requests_that_wait_for_an_answer_are_in_hand_up_to_the_limit_and_not_one_more(queue: MemoryQueue) -> None:
    settings = Settings(access=replace(AccessSettings(), caller_in_flight=3))
    metrics = ApiMetrics(CollectorRegistry())
    app = create_app(queue, Cards(queue, OneCard(card_of())), settings, metrics)  # type: ignore[arg-type]

    async def story() -> None:
        async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://api") as http:
            job_id = (await http.get(GETPRED, params=FLOWER)).json()["job_id"]
            waiting = [asyncio.create_task(http.get(f"{RESULT}/{job_id}?wait=20")) for _ in range(3)]
            while queue.waiters < 3:  # noqa: ASYNC110  counted by the stand-in
                await asyncio.sleep(0.01)
            refused = await http.get(GETPRED, params=FLOWER)
            assert (refused.status_code, refused.headers["retry-after"]) == (429, "1")
            assert (await http.get("/healthz")).status_code == 200
            queue.envelopes[job_id] = ANSWER
            assert [answer.status_code for answer in await asyncio.gather(*waiting)] == [200] * 3
            assert (await http.get(GETPRED, params=FLOWER)).status_code == 200

    asyncio.run(story())


def test_callers_without_a_name_are_told_apart_by_address(queue: MemoryQueue) -> None:
    settings = Settings(access=replace(AccessSettings(), caller_rate=2))
    with api_client(queue, settings=settings) as client:
        here = [client.get(GETPRED, params=FLOWER).status_code for _ in range(3)]
        there = TestClient(client.app, client=("10.9.8.7", 1)).get(GETPRED, params=FLOWER).status_code
    assert (here, there) == ([200, 200, 429], 200)
