"""The V2 protocol, and files, from a real socket to a real worker and back."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from answering_api import answering_api
from api_client import GETPRED, RESULT
from api_process import MODELS, ApiProcess, read_all
from iris_service.config import ModelSettings
from iris_service.jobs.keys import ANSWERED_CHANNEL
from iris_service.model.irises import SPECIES, features_of, fisher_irises
from iris_service.model.runtime import load_model
from servers import Valkey
from worker_process import WorkerProcess

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("v2 server")]

INFER = "/v2/models/iris/infer"
ROWS = [tuple(map(float, row)) for row in features_of(fisher_irises()).to_numpy()]
TABLE = {"name": "input", "shape": [150, 4], "datatype": "FP64", "data": ROWS}
FILE = fisher_irises().to_csv(index=False)
CSV = {"Content-Type": "text/csv", "Accept": "text/csv"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    server = Valkey(tmp_path_factory.mktemp("valkey"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def api(server: Valkey) -> Iterator[ApiProcess]:
    with answering_api(server.url) as api:
        yield api


@pytest.fixture
def http(api: ApiProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=api.url, timeout=60) as client:
        yield client


@pytest.fixture(scope="module")
def shares() -> list[tuple[float, ...]]:
    """What the model itself says of all 150."""
    return load_model(ModelSettings(repository=MODELS)).predict(ROWS)


def test_all_irises_are_answered_as_the_model_answers_them(http: httpx.Client, shares: list[tuple[float, ...]]) -> None:
    found = {output["name"]: output["data"] for output in http.post(INFER, json={"inputs": [TABLE]}).json()["outputs"]}
    assert found["predict_proba"] == [share for row in shares for share in row]
    assert found["label"] == fisher_irises()[SPECIES].tolist()


def test_a_file_of_all_irises_comes_back_as_a_file(http: httpx.Client, shares: list[tuple[float, ...]]) -> None:
    answer = http.post(f"{GETPRED}?wait=30", content=FILE, headers=CSV)
    assert answer.headers["content-type"].startswith("text/csv")
    header, *rows = csv.reader(io.StringIO(answer.text))
    assert header == ["label", "probability_setosa", "probability_versicolor", "probability_virginica"]
    assert [row[0] for row in rows] == fisher_irises()[SPECIES].tolist()
    assert [tuple(map(float, row[1:])) for row in rows] == shares


def test_the_command_line_says_the_same_here_and_through_a_server(api: ApiProcess, tmp_path: Path) -> None:
    (tmp_path / "in.csv").write_text(FILE)
    iris = str(Path(sys.executable).with_name("iris"))
    env = {**os.environ, "IRIS_MODELS": str(MODELS), "IRIS_MAX_ROWS": "40"}
    here, there = (
        subprocess.run(
            [iris, "predict", "--csv", "in.csv", *more],
            cwd=tmp_path, env=env, capture_output=True, text=True, check=True, timeout=100,
        ).stdout
        for more in ([], ["--url", api.url])
    )  # fmt: skip
    assert here == there
    assert len(here.splitlines()) == 151


def test_who_does_not_wait_finds_the_answer_at_the_address(http: httpx.Client) -> None:
    row = {"name": "input", "shape": [1, 4], "datatype": "FP64", "data": ROWS[0]}
    sent = {"inputs": [row], "id": "mine", "outputs": [{"name": "label"}]}
    accepted = http.post(INFER, json=sent, headers={"Prefer": "respond-async"})
    assert (accepted.status_code, accepted.headers["preference-applied"]) == (202, "respond-async")
    answer = http.get(f"{accepted.headers['location']}&wait=30")
    assert answer.status_code == 200
    assert answer.json() == {
        "model_name": "iris", "model_version": "1", "id": "mine",
        "outputs": [{"name": "label", "shape": [1], "datatype": "BYTES", "data": ["setosa"]}],
    }  # fmt: skip


def test_small_answers_come_along_with_their_announcement_and_large_ones_do_not(
    http: httpx.Client, server: Valkey
) -> None:
    with server.client() as client, client.pubsub(ignore_subscribe_messages=True) as news:
        news.subscribe(ANSWERED_CHANNEL)
        news.get_message(timeout=5)
        for rows, comes_along in ((ROWS[:1], True), (ROWS, False)):
            job_id = http.post(GETPRED, json={"data": rows}).json()["job_id"]
            answer = http.get(f"{RESULT}/{job_id}?wait=30").json()
            assert len(answer["result"]) == len(rows)
            line = news.get_message(timeout=20)["data"]
            assert line.startswith(job_id.encode())
            envelope = line[32:].strip()
            assert bool(envelope) is comes_along
            assert not envelope or json.loads(envelope)["model"] == "iris"


def test_without_a_worker_the_job_outlives_the_request(server: Valkey) -> None:
    api = ApiProcess(server.url, IRIS_MODEL_VERSION="2", IRIS_SYNC_WAIT_SECONDS="0.3")
    try:
        with httpx.Client(base_url=api.url, timeout=60) as http:
            answer = http.post(INFER, json={"inputs": [TABLE], "id": "mine"})
            assert (answer.status_code, answer.json()["code"]) == (504, "NOT_READY")
            location = answer.headers["location"]
            assert http.get(location).status_code == 202
            worker = WorkerProcess(server.url, IRIS_MODEL_VERSION="2")
            try:
                found = http.get(f"{location}&wait=30")
            finally:
                assert worker.stop() == 0
            assert (found.status_code, found.json()["model_version"]) == (200, "2")
            assert found.json()["id"] == "mine"
    finally:
        assert api.stop() == 0


def test_a_stop_ends_those_who_wait_with_the_address_of_their_job(server: Valkey) -> None:
    api = ApiProcess(server.url, IRIS_MODEL_VERSION="2")
    answers: list[httpx.Response] = []
    asks = threading.Thread(
        target=lambda: answers.append(httpx.post(api.url + INFER, json={"inputs": [TABLE]}, timeout=60))
    )
    asks.start()
    with httpx.Client(base_url=api.url) as http:
        while "iris_api_waiters 1.0" not in http.get("/metrics").text:
            assert asks.is_alive()
    assert api.stop() == 0
    asks.join(30)
    [answer] = answers
    assert (answer.status_code, answer.json()["code"]) == (504, "NOT_READY")
    assert answer.headers["location"].startswith("/v2/jobs/")


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        (b"GET /v2 HTTP/1.1\r\nContent-Length: -1\r\n\r\n", 400),
        (b"GET /v2 HTTP/1.1\r\nHost: x\r\nX: " + b"x" * 20_000 + b"\r\n\r\n", 431),
        (b"GET /v2/nope HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", 404),
        (
            b"POST " + INFER.encode() + b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 9999999\r\n\r\n",
            413,
        ),
    ],
)
def test_every_error_on_the_wire_is_one_a_client_can_read(api: ApiProcess, sent: bytes, status: int) -> None:
    with api.connect() as connection:
        connection.sendall(sent)
        head, _, body = read_all(connection).partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 %d " % status)
    assert b"content-type: application/json" in head.lower().split(b"\r\n")
    assert isinstance(json.loads(body)["error"], str)
