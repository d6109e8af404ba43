"""Fault 17: API processes are replaced one by one behind a proxy that asks /readyz, as a Deployment does it."""

from __future__ import annotations

import subprocess
import sys
import threading
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest

from api_client import FLOWER, GETPRED, RESULT
from api_process import ApiProcess, api_env
from debian import program
from faults.rig import wait_until
from iris_service.jobs.keys import PENDING
from servers import Valkey, free_port

pytestmark = pytest.mark.faults

RESTARTS = 2
CALLERS = 3
# Nothing hides a failure: no retries of the proxy's own, and an unready server is known after one question.
CONFIG = """
defaults
    mode http
    retries 0
    timeout connect 5s
    timeout client 60s
    timeout server 60s
    timeout check 10s
frontend callers
    bind 127.0.0.1:{proxy}
    default_backend api
frontend state
    bind 127.0.0.1:{state}
    stats enable
    stats uri /
backend api
    option httpchk GET /readyz
    default-server check inter 100ms fall 1 rise 1
    server one 127.0.0.1:{one}
    server two 127.0.0.1:{two}
"""


class Proxy:
    """Debian's haproxy before two ports."""

    def __init__(self, folder: Path, one: int, two: int) -> None:
        proxy, self._state = free_port(), free_port()
        self.url = f"http://127.0.0.1:{proxy}"
        config = folder / "haproxy.cfg"
        config.write_text(CONFIG.format(proxy=proxy, state=self._state, one=one, two=two))
        self._process = subprocess.Popen([program("haproxy"), "-q", "-f", config])

    def serving(self) -> int:
        """How many servers it takes for ready."""
        try:
            rows = httpx.get(f"http://127.0.0.1:{self._state}/;csv").text.splitlines()
        except httpx.TransportError:
            return 0
        return sum(row.startswith("api,") and not row.startswith("api,BACKEND") and ",UP," in row for row in rows)

    def stop(self) -> None:
        self._process.kill()
        self._process.wait()


class Callers:
    """Submit and wait for the answer, again and again, each on a connection of its own that is kept open."""

    def __init__(self, url: str) -> None:
        self.classes: Counter[str] = Counter()
        self.failures: list[str] = []
        self._url = url
        self._stop = threading.Event()
        self._threads = [threading.Thread(target=self._call, daemon=True) for _ in range(CALLERS)]

    def __enter__(self) -> Callers:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(60)

    def _call(self) -> None:
        with httpx.Client(base_url=self._url, timeout=30) as http:
            while not self._stop.wait(0.05):
                try:
                    self.classes[self._predict(http)] += 1
                except Exception as exc:  # judged at the end
                    self.failures.append(f"{type(exc).__name__}: {exc}")

    def _predict(self, http: httpx.Client) -> str:
        accepted = http.get(GETPRED, params=FLOWER).raise_for_status()
        while (answer := http.get(f"{RESULT}/{accepted.json()['job_id']}", params={"wait": 10})).status_code == 202:
            pass  # the process that waited for us is stopping: the next one waits on
        return str(answer.raise_for_status().json()["result"][0]["class"])


@contextmanager
def worker(redis_url: str, folder: Path) -> Iterator[None]:
    with (folder / "worker.log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", "iris_service.cli", "worker"], env=api_env(redis_url), stderr=log
        )
    try:
        yield
    finally:
        process.kill()
        process.wait()


def test_f17_a_rolling_restart_fails_no_request_and_loses_no_job(own_valkey: Valkey, tmp_path: Path) -> None:
    ports = [free_port(), free_port()]

    def start(port: int) -> ApiProcess:
        return ApiProcess(own_valkey.url, IRIS_PORT=str(port), IRIS_DRAIN_SECONDS="2")

    proxy = Proxy(tmp_path, *ports)
    apis = [start(port) for port in ports]
    try:
        with worker(own_valkey.url, tmp_path), Callers(proxy.url) as callers:
            wait_until(lambda: proxy.serving() == 2, 30, "two servers that are ready")
            wait_until(lambda: callers.classes.total() > 20, 60, "some load")
            callers.failures.clear()  # before the first server was there
            for number in range(RESTARTS):
                before = callers.classes.total()
                assert apis[number % 2].stop() == 0
                apis[number % 2] = start(ports[number % 2])
                wait_until(lambda: proxy.serving() == 2, 30, "the new server")
                wait_until(lambda: callers.classes.total() > before + 20, 60, "load on it")  # noqa: B023  called here
        assert callers.failures == []
        assert set(callers.classes) == {"setosa"}, "every job that was accepted has been answered"
        assert own_valkey.client().zcard(PENDING) == 0
    finally:
        for api in apis:
            api.process.kill()
            api.stop()
        proxy.stop()
