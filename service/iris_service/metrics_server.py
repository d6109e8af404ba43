"""What a process tells machines on a port of its own: /metrics, and /healthz by the heartbeat of its main loop.

A small HTTP server in a thread, for never more than a few callers at once. Knows nothing of what is counted.
"""

from __future__ import annotations

import json
import socket
import socketserver
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

import structlog
from prometheus_client.exposition import CONTENT_TYPE_LATEST

from iris_service.config import MetricsSettings
from iris_service.errors import SettingsError

MAX_CONNECTIONS = 8
"""A scraper and two probes need three; more are closed at once."""
READ_SECONDS = 5.0

_log = structlog.get_logger(__name__)

Answer = tuple[int, str, bytes]
"""Status, content type, body."""


class Heartbeat:
    """Whether a main loop still turns. Before its first turn it may wait for Redis for ever: that is healthy."""

    def __init__(self, patience_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._patience_seconds = patience_seconds
        self._clock = clock
        self._beat_at: float | None = None

    def beat(self) -> None:
        self._beat_at = self._clock()

    def alive(self) -> bool:
        return self._beat_at is None or self._clock() - self._beat_at < self._patience_seconds


def start_metrics_server(
    settings: MetricsSettings, page: Callable[[], bytes], alive: Callable[[], bool] | None = None
) -> int:
    """Serve from a thread until the process ends; returns the port, and raises `SettingsError` when it is taken.

    `page` makes the text of /metrics, in any thread. /healthz is 200 while `alive()`, else 503; without `alive` there
    is none: a thread cannot vouch for an event loop, which has pages of its own.
    """
    address = (settings.host, settings.port or 0)
    try:
        server = _Server(address, lambda path: _answer(path, page, alive))
    except OSError as exc:
        reason = exc.strerror or exc
        raise SettingsError(f"IRIS_METRICS_PORT: cannot listen on {address[0]}:{address[1]}: {reason}") from exc
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    port = int(server.server_address[1])
    _log.info("metrics served", host=settings.host, port=port)
    return port


def _answer(path: str, page: Callable[[], bytes], alive: Callable[[], bool] | None) -> Answer:
    match path.partition("?")[0]:
        case "/metrics":
            return 200, CONTENT_TYPE_LATEST, page()
        case "/healthz" if alive and alive():
            return _json(200, {"status": "ok"})
        case "/healthz" if alive:
            return _json(503, {"status": "error", "code": "STUCK", "error": "the main loop has stopped turning"})
        case _:
            return _json(404, {"status": "error", "code": "PAGE_NOT_FOUND", "error": "there is no such page"})


def _json(status: int, body: dict[str, str]) -> Answer:
    return status, "application/json", json.dumps(body).encode()


class _Server(socketserver.ThreadingTCPServer):
    """Not `http.server.HTTPServer`, which asks DNS for its own name before it listens."""

    allow_reuse_address = True
    daemon_threads = True

    def __init__(self, address: tuple[str, int], answer: Callable[[str], Answer]) -> None:
        self.address_family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
        self.answer = answer
        self._free = threading.BoundedSemaphore(MAX_CONNECTIONS)
        super().__init__(address, _Handler)

    def process_request(self, request: Any, client_address: Any) -> None:
        if self._free.acquire(blocking=False):
            super().process_request(request, client_address)
        else:
            self.shutdown_request(request)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._free.release()

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A caller that hung up is no event."""


class _Handler(BaseHTTPRequestHandler):
    """One request per connection."""

    timeout = READ_SECONDS

    def do_GET(self) -> None:  # the name is http.server's
        assert isinstance(self.server, _Server)
        status, content_type, body = self.server.answer(self.path)
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def version_string(self) -> str:
        return "iris"

    def log_message(self, *args: Any) -> None:
        """Probes every few seconds are no news."""
