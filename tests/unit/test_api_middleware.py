"""Request ids, log lines and metrics: what operators see, whatever callers send."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry, generate_latest
from starlette.testclient import TestClient

from api_client import FLOWER, GETPRED, STATUS
from iris_service.api.probes import show
from iris_service.telemetry.api import ApiMetrics
from memory_queue import MemoryQueue


@pytest.mark.parametrize("request_id", ["a", "3f.A_b-9", "x" * 64])
def test_a_sane_request_id_is_kept(client: TestClient, request_id: str) -> None:
    for path in ("/healthz", "/nope"):
        assert client.get(path, headers={"X-Request-Id": request_id}).headers["x-request-id"] == request_id


@pytest.mark.parametrize("request_id", ["", "x" * 65, "a b", "a\tb", "{}", "é", "a;b", "a/b", '"'])
def test_any_other_request_id_is_replaced(client: TestClient, request_id: str) -> None:
    answer = client.get("/nope", headers={"X-Request-Id": request_id.encode()})
    assert re.fullmatch("[0-9a-f]{32}", answer.headers["x-request-id"])
    assert answer.json()["request_id"] == answer.headers["x-request-id"]


def test_labels_never_come_from_a_caller(client: TestClient) -> None:
    for n in range(20):
        client.get(f"/page{n}")
        client.get(f"{STATUS}/{n:032x}")
        client.request(f"METHOD{n}", "/healthz")
    lines = client.get("/metrics").text.splitlines()
    assert [line for line in lines if line.startswith("iris_http_requests_total{")] == [
        'iris_http_requests_total{method="GET",route="unmatched",status="404"} 20.0',
        f'iris_http_requests_total{{method="GET",route="{STATUS}/{{job_id}}",status="404"}} 20.0',
        'iris_http_requests_total{method="OTHER",route="/healthz",status="405"} 20.0',
    ]


def test_metrics_tell_what_was_accepted_refused_and_is_queued(client: TestClient) -> None:
    client.get(GETPRED, params=FLOWER)
    client.get(GETPRED)
    text = client.get("/metrics").text
    for line in (
        'iris_jobs_accepted_total{model="iris",version="1"} 1.0',
        'iris_requests_refused_total{code="INVALID_INPUT"} 1.0',
        'iris_requests_refused_total{code="QUEUE_FULL"} 0.0',
        'iris_queue_waiting_jobs{model="iris",version="1"} 1.0',
        'iris_queue_oldest_job_age_seconds{model="iris",version="1"} 7.5',
        'iris_queue_jobs_total{model="iris",outcome="done",version="1"} 3.0',
        'iris_queue_busy_seconds_total{model="iris",version="1"} 0.25',
        "iris_queue_limit_jobs 100000.0",
        "iris_redis_up 1.0",
        "iris_redis_memory_used_bytes 800.0",
        "iris_redis_memory_max_bytes 1000.0",
        "iris_redis_memory_limit_ratio 0.8",
        "iris_redis_persisting 0.0",
        "iris_redis_may_evict 1.0",
        "iris_api_waiters 0.0",
        'iris_route_weight{model="iris",version="1"} 100.0',
    ):
        assert line in text.splitlines()


def test_nothing_is_said_of_queues_that_cannot_be_seen() -> None:
    seen = MemoryQueue().observe()
    metrics = ApiMetrics(CollectorRegistry())
    for redis_up, shown in ((True, True), (False, False), (True, True)):
        show(metrics, replace(seen, redis_up=redis_up))
        text = generate_latest(metrics.registry).decode()
        for name in ("waiting_jobs", "running_jobs", "oldest_job_age_seconds", "jobs_total", "busy_seconds_total"):
            assert (f"iris_queue_{name}{{" in text) is shown, name
        assert "iris_route_weight{" in text, "the last route goes on being followed"


LOGGED = """
import logging, sys
from api_client import FLOWER, GETPRED, api_client
from iris_service.config import LogSettings
from iris_service.telemetry.logs import configure_logging
from memory_queue import MemoryQueue

class Surprise(MemoryQueue):
    async def commit(self, *_):
        raise RuntimeError("nobody expected this")

configure_logging(LogSettings(format="json"), "api")
logging.getLogger("httpx2").setLevel("ERROR")
with api_client({queue}()) as client:
    client.get(GETPRED, params=FLOWER, headers={{"X-Request-Id": "r1"}})
    client.get("/healthz")
"""


def logged(queue: str) -> list[dict[str, Any]]:
    """The log lines of one flower, from a process of its own: logging is set up once a process."""
    env = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[1])}
    code = LOGGED.format(queue=queue)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True, timeout=60, env=env)
    return [json.loads(line) for line in done.stderr.splitlines()]


def test_a_request_is_one_log_line_without_its_values() -> None:
    [line] = logged("MemoryQueue")
    assert re.fullmatch("[0-9a-f]{32}", line.pop("job_id"))
    assert 0 <= line.pop("seconds") < 60
    assert line.pop("time")
    assert line == {
        "event": "request answered", "level": "info", "component": "api", "request_id": "r1",
        "model": "iris", "version": "1", "method": "GET", "route": GETPRED, "status": 200,
    }  # fmt: skip


def test_a_fault_is_logged_once_with_its_traceback() -> None:
    fault, answered = logged("Surprise")
    assert fault["event"] == "request failed"
    assert "nobody expected this" in fault["exception"]
    assert fault["request_id"] == answered["request_id"] == "r1"
    assert answered["status"] == 500
