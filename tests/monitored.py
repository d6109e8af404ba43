"""The whole system as real processes, under load and scraped by a real Prometheus; only the cluster is in memory."""

from __future__ import annotations

import contextlib
import json
import random
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import httpx

from api_process import ApiProcess, api_env
from debian import program
from iris_service.errors import ModelNotFound
from prometheus import Prometheus
from servers import Valkey, free_port
from versions import committed_card

HERE = Path(__file__).parent
RULES = HERE.parent / "charts" / "iris" / "rules" / "iris.yaml"
PREFIX = "/iris/api/v1.0"
FLOWER = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}
SPECIES = ((5.0, 3.4, 1.5, 0.25), (5.9, 2.8, 4.3, 1.3), (6.6, 3.0, 5.5, 2.0))
"""The means of setosa, versicolor and virginica."""


def iris_model(version: str, **spec: Any) -> dict[str, Any]:
    """An IrisModel of a committed version; of another, one that no worker can load."""
    try:
        digest = committed_card(version).artifacts["onnx"].digest
    except ModelNotFound:
        digest = "sha256:" + "0" * 64
    model = {"version": version, "uri": f"models://iris/{version}", "digest": digest}
    return {"metadata": {"name": "iris", "namespace": "ns"}, "spec": {"model": model, **spec}}


class Load(threading.Thread):
    """Submits flowers, waits for every fifth answer, now and then sends what is no flower or thinks better of it."""

    def __init__(self, url: str, per_second: float) -> None:
        super().__init__(daemon=True)
        self._url = url + PREFIX
        self._per_second = per_second
        self._sent = 0
        self.all_alike = False
        self.surprises: list[str] = []
        self._random = random.Random(1)
        self._stopping = threading.Event()

    def run(self) -> None:
        with httpx.Client(timeout=30) as http, ThreadPoolExecutor(8) as waiting:
            next_at = time.monotonic()
            while not self._stopping.wait(max(0.0, next_at - time.monotonic())):
                next_at = max(next_at + 1 / self._per_second, time.monotonic() - 1)
                self._one(http, waiting)

    def _one(self, http: httpx.Client, waiting: ThreadPoolExecutor) -> None:
        self._sent += 1
        if self._sent % 20 == 0:
            http.post(f"{self._url}/getpred", json={**FLOWER, "petal_width": -1})
            return
        rows = [self._flower() for _ in range(25 if self._sent % 4 == 0 else 1)]
        answer = http.post(f"{self._url}/getpred", json={"data": rows})
        if answer.status_code != 202:
            self.surprises.append(answer.text)
        elif self._sent % 5 == 0:
            waiting.submit(http.get, f"{self._url}/result/{answer.json()['job_id']}?wait=10")
        elif self._sent % 70 == 14:
            http.delete(f"{self._url}/jobs/{answer.json()['job_id']}")  # often too late: it has its answer

    def _flower(self) -> list[float]:
        """An iris like those the model was trained on; of one species while they are `all_alike`."""
        middle = SPECIES[-1] if self.all_alike else self._random.choice(SPECIES)
        return [round(max(0.1, self._random.gauss(value, 0.07 * value)), 1) for value in middle]

    def stop(self) -> None:
        self._stopping.set()
        if self.is_alive():
            self.join(30)


class Monitored:
    """Starts everything; `apply` is what a person does with kubectl. `scrape_seconds` is Prometheus' pace."""

    def __init__(self, folder: Path, *, scrape_seconds: float, per_second: float) -> None:
        program("prometheus")  # before anything runs
        self._folder = folder
        port, api, recovery, operator = (free_port() for _ in range(4))
        with ExitStack() as stack:
            self.api = ApiProcess(f"redis://127.0.0.1:{port}/0", IRIS_METRICS_PORT=str(api))  # its own, as in the chart
            stack.callback(self.api.stop)
            # before there is a Redis: a caller gets 503, and it is counted
            refusal = httpx.post(f"{self.api.url}{PREFIX}/getpred", json=FLOWER, timeout=10)
            assert refusal.status_code == 503, refusal.text
            self.valkey = Valkey(folder, "--maxmemory", "64mb", "--maxmemory-policy", "noeviction", port=port)
            stack.callback(self.valkey.stop)
            addresses = {
                "api": [f"127.0.0.1:{api}"],
                "recovery": [f"127.0.0.1:{recovery}"],
                "operator": [f"127.0.0.1:{operator}"],
            }
            self.prometheus = Prometheus(folder / "prometheus", addresses, RULES, scrape_seconds, {"namespace": "ns"})
            stack.callback(self.prometheus.stop)
            child = self._start("recovery", "-m", "iris_service.cli", "recovery", IRIS_METRICS_PORT=str(recovery))
            stack.callback(_end, child, child.terminate)
            script = str(HERE / "monitored_operator.py")
            found = str(self.prometheus.found)
            self._operator = self._start("operator", script, self.valkey.url, str(operator), found)
            assert self._operator.stdin is not None
            stack.callback(_end, self._operator, self._operator.stdin.close)  # it takes its workers along
            self.load = Load(self.api.url, per_second)
            stack.callback(self.load.stop)
            self._running = stack.pop_all()

    def _start(self, name: str, *arguments: str, **settings: str) -> subprocess.Popen[str]:
        env = {**api_env(self.valkey.url, IRIS_LOG_LEVEL="WARNING", **settings), "PYTHONPATH": str(HERE)}
        del env["IRIS_PORT"]
        with (self._folder / f"{name}.log").open("wb") as log:
            return subprocess.Popen([sys.executable, *arguments], env=env, stdin=subprocess.PIPE, stderr=log, text=True)

    def apply(self, version: str, **spec: Any) -> None:
        self._tell(json.dumps(iris_model(version, **spec)))

    def freeze_a_worker(self) -> None:
        self._tell("STOP")

    def kill_it(self) -> None:
        self._tell("KILL")

    def _tell(self, line: str) -> None:
        assert self._operator.stdin is not None
        self._operator.stdin.write(line + "\n")
        self._operator.stdin.flush()

    def eventually(self, expr: str, seconds: float = 60) -> None:
        """Wait until Prometheus finds something for an expression."""
        try:
            self.prometheus.eventually(lambda: self.prometheus.now(expr), seconds, expr)
        except AssertionError as exc:
            logs = {path.name: path.read_text()[-2000:] for path in self._folder.glob("**/*.log")}
            raise AssertionError(f"{exc}\n{logs}") from exc

    def stop(self) -> None:
        self._running.close()


def _end(child: subprocess.Popen[str], ask: Callable[[], object]) -> None:
    """Ask it to stop, and end it when it does not."""
    ask()
    with contextlib.suppress(subprocess.TimeoutExpired):
        child.wait(20)
    child.kill()
    child.wait()
