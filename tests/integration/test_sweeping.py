"""Recovery as a process: what it tells machines about itself. What a sweep does is in test_recovery.py."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from api_process import api_env
from iris_service.jobs.keys import PENDING
from servers import Valkey


class RecoveryProcess:
    """`iris recovery` with a metrics port from the system."""

    def __init__(self, redis_url: str, folder: Path) -> None:
        self.log = folder / "recovery.log"
        command = [sys.executable, "-m", "iris_service.cli", "recovery"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(command, env=api_env(redis_url, IRIS_METRICS_PORT="0"), stderr=log)
        until(lambda: "recovery ready" in self.log.read_text())
        lines = map(json.loads, self.log.read_text().splitlines())
        self.url = f"http://127.0.0.1:{next(line['port'] for line in lines if line['event'] == 'metrics served')}"

    def counted(self, series: str) -> float:
        found = re.search(rf"^{re.escape(series)} (.*)$", httpx.get(f"{self.url}/metrics").text, re.MULTILINE)
        assert found, series
        return float(found[1])

    def stop(self) -> int:
        self.process.terminate()
        return self.process.wait(30)


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "the condition never came true"
        time.sleep(0.05)


@pytest.fixture
def recovery(own_valkey: Valkey, tmp_path: Path) -> Iterator[RecoveryProcess]:
    started = RecoveryProcess(own_valkey.url, tmp_path)
    try:
        yield started
        assert started.stop() == 0
    finally:
        started.process.kill()
        started.process.wait()


def test_recovery_counts_what_it_does_and_is_alive_while_redis_is_not(
    recovery: RecoveryProcess, own_valkey: Valkey
) -> None:
    assert recovery.counted('iris_recovery_jobs_total{outcome="expired"}') == 0
    with own_valkey.client() as client:
        client.zadd(PENDING, {"a" * 32: 1})  # whose deadline was long ago
    until(lambda: recovery.counted('iris_recovery_jobs_total{outcome="expired"}') == 1)
    assert recovery.counted('iris_recovery_sweeps_total{result="done"}') >= 1

    own_valkey.kill()
    until(lambda: recovery.counted('iris_recovery_sweeps_total{result="failed"}') >= 1)
    assert httpx.get(f"{recovery.url}/healthz").status_code == 200, "a new process would find no more"
    own_valkey.start()
    done = recovery.counted('iris_recovery_sweeps_total{result="done"}')
    until(lambda: recovery.counted('iris_recovery_sweeps_total{result="done"}') > done)
