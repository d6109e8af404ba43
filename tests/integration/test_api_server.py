"""The API process against a real Valkey: what the wire, the queue and the signals do to it."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator

import httpx
import pytest
import redis

from api_client import FLOWER, GETPRED, RESULT, STATUS
from api_process import ApiProcess, api_env, read_all
from iris_service.jobs.keys import ANSWERED_CHANNEL, PENDING, result_key
from iris_service.schemas import Answered, envelope_to_json
from servers import Valkey, free_port

ANSWER = Answered("iris", "1", "sha256:0", 1.0, 0.1, 0.1, ((0.98, 0.02, 0.0),))


@pytest.fixture(scope="module")
def shared_api(valkey_server: Valkey) -> Iterator[ApiProcess]:
    api = ApiProcess(valkey_server.url)
    yield api
    assert api.stop() == 0


@pytest.fixture
def api(shared_api: ApiProcess, valkey: redis.Redis) -> ApiProcess:
    """The shared process, over an empty Valkey."""
    return shared_api


@pytest.fixture
def http(api: ApiProcess) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=api.url, timeout=20) as client:
        yield client


def submitted(http: httpx.Client) -> str:
    return str(http.get(GETPRED, params=FLOWER).json()["job_id"])


def publish(valkey: redis.Redis, job_id: str) -> None:
    """As a worker does."""
    valkey.set(result_key(job_id), envelope_to_json(ANSWER))
    valkey.zrem(PENDING, job_id)
    valkey.publish(ANSWERED_CHANNEL, job_id)


def until(condition: Callable[[], bool], seconds: float = 15) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "the condition never came true"
        time.sleep(0.02)


def waiters(http: httpx.Client) -> float:
    found = re.search(r"^iris_api_waiters (.*)$", http.get("/metrics").text, re.MULTILINE)
    assert found is not None
    return float(found[1])


def test_a_flower_goes_onto_the_queue_and_its_answer_comes_back(http: httpx.Client, valkey: redis.Redis) -> None:
    job_id = submitted(http)
    assert valkey.zscore(PENDING, job_id) is not None
    assert http.get(f"{STATUS}/{job_id}").status_code == 202
    publish(valkey, job_id)
    assert http.get(f"{STATUS}/{job_id}").json() == {"code": "READY", "status": "success"}
    result = http.get(f"{RESULT}/{job_id}/").json()["result"]
    assert result[0] == {"class": "setosa", "probability": "0.980"}


def test_a_result_waits_for_its_answer(http: httpx.Client, valkey: redis.Redis) -> None:
    job_id = submitted(http)
    worker = threading.Timer(0.3, publish, (valkey, job_id))
    worker.start()
    began = time.monotonic()
    assert http.get(f"{RESULT}/{job_id}?wait=20").status_code == 200
    assert time.monotonic() - began < 10
    worker.join()


def test_unknown_jobs_look_like_impossible_ones(http: httpx.Client) -> None:
    bodies = [http.get(f"{RESULT}/{job_id}", headers={"X-Request-Id": "r"}).json() for job_id in ("0" * 32, "nonsense")]
    assert bodies[0] == bodies[1]


def test_a_caller_who_hangs_up_leaves_no_waiter_behind(api: ApiProcess, http: httpx.Client) -> None:
    job_id = submitted(http)
    with api.connect() as connection:
        connection.sendall(f"GET {RESULT}/{job_id}?wait=30 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        until(lambda: waiters(http) == 1)
    until(lambda: waiters(http) == 0)


def test_readiness_and_health_are_plain(http: httpx.Client) -> None:
    assert http.get("/healthz").json() == {"status": "ok"}
    until(lambda: http.get("/readyz").json() == {"ready": True, "model": "iris", "version": "1"})
    assert "server" not in http.get("/healthz").headers


def test_a_stop_answers_those_who_wait_and_exits_cleanly(valkey_server: Valkey, valkey: redis.Redis) -> None:
    api = ApiProcess(valkey_server.url)
    with httpx.Client(base_url=api.url) as http, api.connect() as connection:
        job_id = submitted(http)
        connection.sendall(f"GET {RESULT}/{job_id}?wait=30 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        until(lambda: waiters(http) == 1)
        began = time.monotonic()
        assert api.stop() == 0
        assert read_all(connection).startswith(b"HTTP/1.1 202 ")
    assert time.monotonic() - began < 5  # 0.5 s measured
    assert api.lines[-1]["event"] == "api stopped"
    complaints = [line["event"] for line in api.lines if line["level"] in ("warning", "error")]
    assert complaints == ["no authentication: whoever reaches this address may use it"]


def test_a_stop_that_was_announced_serves_on_until_proxies_have_heard(
    valkey_server: Valkey, valkey: redis.Redis
) -> None:
    api = ApiProcess(valkey_server.url, IRIS_DRAIN_SECONDS="300")
    with httpx.Client(base_url=api.url, timeout=20) as http:
        until(lambda: http.get("/readyz").status_code == 200)
        assert http.get("/readyz").headers.get("connection") is None
        api.process.send_signal(signal.SIGTERM)
        until(lambda: http.get("/readyz").status_code == 503)
        unready = http.get("/readyz")
        assert [reason.partition(":")[0] for reason in unready.json()["reasons"]] == ["stopping"]
        assert unready.headers["connection"] == "close"
        publish(valkey, job_id := submitted(http))
        answer = http.get(f"{RESULT}/{job_id}")
        assert (answer.status_code, answer.headers["connection"]) == (200, "close")
        assert http.get("/healthz").status_code == 200, "it is alive: nobody shall start it anew"
    assert api.process.poll() is None
    assert api.stop() == 0, "a second signal is not kept waiting"


def test_a_drain_ends_by_itself(valkey_server: Valkey, valkey: redis.Redis) -> None:
    api = ApiProcess(valkey_server.url, IRIS_DRAIN_SECONDS="0.5")
    assert httpx.get(f"{api.url}/healthz").status_code == 200, "it serves: from now on it hears signals"
    assert api.stop() == 0
    events = [line["event"] for line in api.lines]
    assert [event for event in events if event.startswith("api ")] == ["api listening", "api draining", "api stopped"]


def test_metrics_with_a_port_of_their_own_are_not_among_the_pages_for_callers(
    valkey_server: Valkey, valkey: redis.Redis
) -> None:
    api = ApiProcess(valkey_server.url, IRIS_METRICS_PORT="0")
    try:
        port = next(line["port"] for line in api.lines if line["event"] == "metrics served")
        assert httpx.get(f"{api.url}/metrics").json()["code"] == "PAGE_NOT_FOUND"
        until(lambda: "iris_redis_up 1.0" in httpx.get(f"http://127.0.0.1:{port}/metrics").text)
        assert httpx.get(f"http://127.0.0.1:{port}/healthz").status_code == 404
    finally:
        assert api.stop() == 0


def test_without_redis_requests_fail_fast_and_recover_by_themselves(own_valkey: Valkey) -> None:
    api = ApiProcess(own_valkey.url)
    try:
        with httpx.Client(base_url=api.url, timeout=20) as http:
            job_id = submitted(http)
            for take_away, give_back, limit in (
                (own_valkey.kill, own_valkey.start, 2),
                (own_valkey.pause, own_valkey.resume, 5),  # 1.8 s, and this machine may be busy
            ):
                take_away()
                for path in (
                    f"{GETPRED}?{httpx.QueryParams(FLOWER)}",
                    f"{RESULT}/{job_id}",
                    f"{RESULT}/{job_id}?wait=9",
                ):
                    began = time.monotonic()
                    answer = http.get(path)
                    assert time.monotonic() - began < limit
                    assert (answer.status_code, answer.json()["code"]) == (503, "QUEUE_UNAVAILABLE")
                    assert int(answer.headers["retry-after"]) >= 1
                assert http.get("/healthz").status_code == 200
                ready = http.get("/readyz")
                assert ready.status_code == 503
                assert ready.json()["reasons"][0].startswith("redis: ")
                give_back()
                until(lambda: http.get("/readyz").status_code == 200)
                assert submitted(http)
    finally:
        assert api.stop() == 0


def test_an_api_without_redis_or_model_starts_and_says_why() -> None:
    api = ApiProcess(f"redis://127.0.0.1:{free_port()}/0", IRIS_MODEL_VERSION="77")
    try:
        with httpx.Client(base_url=api.url) as http:
            assert http.get("/healthz").status_code == 200
            model, queue = http.get("/readyz").json()["reasons"]
            assert "77" in model
            assert queue.startswith("redis: ")
            assert http.get(GETPRED, params=FLOWER).json()["code"] == "MODEL_NOT_READY"
    finally:
        assert api.stop() == 0


@pytest.mark.parametrize(
    "header",
    [b"X: " + b"x" * 20_000, b"X: " + b"x" * 1_000_000, b"X: y\r\n" * 4_000],
    ids=["one that is long", "one that is very long", "many"],
)
def test_a_head_too_large_is_refused(api: ApiProcess, header: bytes) -> None:
    with api.connect() as connection:
        connection.sendall(b"GET /healthz HTTP/1.1\r\nHost: x\r\n")
        received = bytearray()
        try:  # the server may close while the rest is still on its way
            connection.sendall(header + b"\r\n\r\n")
        except OSError:
            pass
        try:
            received += read_all(connection)
        except ConnectionError:
            return
    assert received.startswith(b"HTTP/1.1 431 ")
    assert b'"HEADERS_TOO_LARGE"' in received


def test_a_large_but_legal_head_is_served(api: ApiProcess, http: httpx.Client) -> None:
    assert http.get("/healthz", headers={"X-Long": "x" * 16_000}).status_code == 200


def test_a_body_in_chunks_is_limited_while_it_arrives(http: httpx.Client) -> None:
    answer = http.post(GETPRED, content=(b" " * 65_536 for _ in range(17)))
    assert (answer.status_code, answer.json()["code"]) == (413, "BODY_TOO_LARGE")


def test_a_client_that_asks_first_is_refused_before_it_sends(api: ApiProcess) -> None:
    with api.connect() as connection:
        connection.sendall(
            f"POST {GETPRED} HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2000000\r\n\r\n".encode()
        )
        assert connection.recv(65_536).startswith(b"HTTP/1.1 413 ")


def test_pipelined_requests_keep_their_own_ids(api: ApiProcess) -> None:
    def request(number: int, more: str = "") -> bytes:
        return f"GET /nope HTTP/1.1\r\nHost: x\r\nX-Request-Id: r{number}\r\n{more}\r\n".encode()

    with api.connect() as connection:
        connection.sendall(request(1) + request(2) + request(3, "Connection: close\r\n"))
        received = read_all(connection)
    assert re.findall(rb'"request_id":"(r.)"', received) == [b"r1", b"r2", b"r3"]


def refused(**settings: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "iris_service.api"],
        env=api_env("redis://127.0.0.1:1/0", **settings),
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("IRIS_PORT", "eighty"),
        ("IRIS_REDIS_URL", "http://x"),
        ("IRIS_MAX_ROW", "5"),
        ("IRIS_HOST", "no.such.host.invalid"),
    ],
)
def test_a_setting_that_cannot_be_used_is_named_in_one_line(name: str, value: str) -> None:
    done = refused(**{name: value})
    assert done.returncode == 78
    [line] = done.stderr.splitlines()
    assert name in line


def test_a_port_in_use_is_named() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        done = refused(IRIS_PORT=str(taken.getsockname()[1]))
    assert done.returncode == 78
    assert "IRIS_PORT" in done.stderr.splitlines()[-1]
    assert "Traceback" not in done.stderr
