"""The API as its users start it: a process of its own on a port from the system."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
from pathlib import Path
from typing import Any

MODELS = Path(__file__).parents[1] / "models"


def api_env(redis_url: str, **settings: str) -> dict[str, str]:
    ours = {name: value for name, value in os.environ.items() if not name.startswith("IRIS_")}
    return {
        **ours, "IRIS_REDIS_URL": redis_url, "IRIS_MODELS": str(MODELS), "IRIS_PORT": "0", "IRIS_LOG_FORMAT": "json",
        **settings,
    }  # fmt: skip


class ApiProcess:
    """`python -m iris_service.api`, listening when the constructor returns."""

    def __init__(self, redis_url: str, **settings: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-m", "iris_service.api"],
            env=api_env(redis_url, **settings),
            stderr=subprocess.PIPE,
            text=True,
        )
        self.lines: list[dict[str, Any]] = []
        self._listening = threading.Event()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        assert self._listening.wait(30), "the API did not start"
        self.url = str(next(line["url"] for line in self.lines if line["event"] == "api listening"))
        self.port = int(self.url.rpartition(":")[2])

    def _read(self) -> None:
        assert self.process.stderr is not None
        for line in self.process.stderr:
            self.lines.append(json.loads(line))
            if self.lines[-1]["event"] == "api listening":
                self._listening.set()

    def connect(self, *, timeout: float = 15) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def stop(self) -> int:
        """SIGTERM, and return the exit code."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGTERM)
        try:
            return self.process.wait(20)
        finally:
            self.process.kill()
            self._reader.join(5)


def read_all(connection: socket.socket) -> bytes:
    """What arrives until the other side closes."""
    received = b""
    while chunk := connection.recv(65_536):
        received += chunk
    return received
