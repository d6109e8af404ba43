"""Whoever can write Redis can put anything on the queue, but can run no code and make nobody call anywhere."""

from __future__ import annotations

import json
import os
import pickle
import random
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any

import pytest

from faults.caller import flowers
from faults.conftest import MakeRig
from faults.rig import KEYS, Rig, wait_until
from iris_service.jobs.keys import QUEUES, TASK, job_key

pytestmark = pytest.mark.faults


@pytest.fixture
def listener() -> Iterator[HTTPServer]:
    """An HTTP server that must not be called; `RequestHandlerClass.calls` counts."""

    class Counting(BaseHTTPRequestHandler):
        calls = 0

        def do_GET(self) -> None:
            type(self).calls += 1
            self.send_response(200)
            self.end_headers()

        do_POST = do_GET  # noqa: N815  http.server's name

    server = HTTPServer(("127.0.0.1", 0), Counting)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    yield server
    server.shutdown()
    thread.join()
    server.server_close()


class Trap:
    """Runs a command when unpickled."""

    def __init__(self, command: str) -> None:
        self.command = command

    def __reduce__(self) -> tuple[Any, ...]:
        return (os.system, (self.command,))


def call(function: str, *arguments: object, instance: object = None) -> bytes:
    return json.dumps([function, instance, arguments, {}]).encode()


def test_forged_jobs_run_nothing_call_nobody_and_stop_no_worker(
    make_rig: MakeRig, listener: HTTPServer, tmp_path: Path
) -> None:
    rig = make_rig()
    rig.start_recovery()
    worker = rig.start_worker()
    marker = tmp_path / "ran"
    touch = f"touch {marker}"
    url = f"http://127.0.0.1:{listener.server_address[1]}/"
    hooks = json.dumps(
        [{"url": url, "job_status": status, "method": "POST", "timeout": 2} for status in ("finished", "failed")]
    )
    callbacks = dict.fromkeys(("success_callback_name", "failure_callback_name", "stopped_callback_name"), "os.system")
    good_row = {"rows": [[1.0, 2.0, 3.0, 4.0]], "many": False, "request_id": "forged", "accepted_at": 0.0}
    forged: list[dict[str, Any]] = [
        {"data": call("os.system", touch)},
        {"data": call("builtins.eval", f"__import__('os').system({touch!r})")},
        {"data": call("iris_service.jobs.tasks.os.system", touch)},
        {"data": call("time.sleep", 0), "webhooks": hooks, **callbacks},
        {"data": call("system", touch, instance="os")},
        {"data": call(TASK, good_row, instance=touch)},
        {"data": call(TASK, good_row), "webhooks": hooks, **callbacks},
        {"data": call(TASK, touch), "webhooks": hooks, **callbacks},
        {"data": pickle.dumps(Trap(touch))},
        {"data": pickle.dumps(("os.system", None, (touch,), {}))},
        {"data": call(TASK, good_row), "meta": pickle.dumps(Trap(touch)), "dependency_id": "x", "group_id": "y"},
        {"data": call("os.system", touch), "retries_left": "3", "retry_intervals": "[0]", "repeats_left": "5"},
    ]
    with rig.caller.load(flowers(random.Random(4))):
        for number, fields in enumerate(forged):
            _put(rig, f"forged{number}", fields)
            answered = rig.counts().get("done", 0)
            wait_until(lambda so_far=answered: rig.counts().get("done", 0) > so_far, 30, "good jobs go on")
    wait_until(lambda: not any(rig.open_work().values()), 30, "forged jobs are out of the way")
    assert worker.poll() is None
    assert not marker.exists()
    assert listener.RequestHandlerClass.calls == 0  # type: ignore[attr-defined]
    for job_id in rig.caller.accepted:
        assert rig.code_of(job_id) == "done"


def _put(rig: Rig, job_id: str, fields: dict[str, Any]) -> None:
    """Write a job into Redis as somebody would who knows RQ's keys."""
    stamp = "2026-01-01T00:00:00.000000Z"
    usual = {"status": "queued", "origin": "stub@1", "created_at": stamp, "enqueued_at": stamp, "timeout": 5}
    rig.redis.hset(job_key(job_id), mapping={**usual, **fields})
    rig.redis.sadd(QUEUES, KEYS.waiting)
    rig.redis.lpush(KEYS.waiting, job_id)
