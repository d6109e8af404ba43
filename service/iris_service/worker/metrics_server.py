"""A small HTTP server in a thread of a worker: /metrics and /healthz, for machines, never more than a few at once."""

from __future__ import annotations

import json
import socket
import socketserver
import threading
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from typing import Any

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest

from iris_service.config import WorkerSettings
from iris_service.errors import SettingsError

MAX_CONNECTIONS = 8
"""A scraper and two probes need three; more are closed at once."""
READ_SECONDS = 5.0

Answer = tuple[int, str, bytes]
"""Status, content type, body."""


def start_metrics_server(settings: WorkerSettings, registry: CollectorRegistry, healthy: Callable[[], bool]) -> int:
    """Serve from a thread until the process ends; returns the port, and raises `SettingsError` when it is taken.

    /healthz is 200 while `healthy()`, else 503.
    """
    address = (settings.metrics_host, settings.metrics_port or 0)
    try:
        server = _Server(address, lambda path: _answer(path, registry, healthy))
    except OSError as exc:
        reason = exc.strerror or exc
        raise SettingsError(f"IRIS_METRICS_PORT: cannot listen on {address[0]}:{address[1]}: {reason}") from exc
    threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
    return int(server.server_address[1])


def _answer(path: str, registry: CollectorRegistry, healthy: Callable[[], bool]) -> Answer:
    match path.partition("?")[0]:
        case "/metrics":
            return 200, CONTENT_TYPE_LATEST, generate_latest(registry)
        case "/healthz" if healthy():
            return _json(200, {"status": "ok"})
        case "/healthz":
            return _json(503, {"status": "error", "code": "STUCK", "error": "the worker has stopped taking jobs"})
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
