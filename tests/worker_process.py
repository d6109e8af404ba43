"""A worker as its users start it: a process of its own, with its metrics on a port from the system."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
from typing import Any

import httpx

from api_process import api_env


class WorkerProcess:
    """`python -m iris_service.worker`, ready to take jobs when the constructor returns."""

    def __init__(self, redis_url: str, **settings: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "iris_service.worker"],
            env={**api_env(redis_url), "IRIS_METRICS_PORT": "0", **settings},
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[dict[str, Any]] = []
        self._ready = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._ready.wait(60), f"the worker did not start: {self.lines}"
        self.port = int(next(line["port"] for line in self.lines if line["event"] == "metrics served"))

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(json.loads(line))
            if self.lines[-1]["event"] == "worker ready":
                self._ready.set()

    def metrics(self) -> dict[str, float]:
        """Series, as they are written, to value."""
        text = httpx.get(f"http://127.0.0.1:{self.port}/metrics").text
        pairs = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {series: float(value) for series, _, value in pairs}

    def stop(self, seconds: float = 20) -> int:
        """SIGTERM, and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(seconds)
        finally:
            self.process.kill()
            self._reader.join(5)
