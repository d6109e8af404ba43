"""What a worker tells machines about itself."""

from __future__ import annotations

import http.client
import json
import socket
from dataclasses import replace

import pytest
from prometheus_client import CollectorRegistry, Counter

from iris_service.config import WorkerSettings
from iris_service.errors import SettingsError
from iris_service.worker.__main__ import Progress
from iris_service.worker.metrics_server import MAX_CONNECTIONS, start_metrics_server

ANY_PORT = WorkerSettings(metrics_port=0)


@pytest.mark.parametrize(
    ("made_at", "now", "healthy"),
    [(None, 1e9, True), (100.0, 100.0, True), (100.0, 109.9, True), (100.0, 110.0, False)],
)
def test_a_worker_is_healthy_until_it_makes_no_progress_for_long(
    made_at: float | None, now: float, healthy: bool
) -> None:
    clock = iter([now] if made_at is None else [made_at, now])
    progress = Progress(10.0, lambda: next(clock))
    if made_at is not None:
        progress.made()
    assert progress.healthy() is healthy


def _get(port: int, path: str) -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, response.headers["Content-Type"], body


def test_metrics_and_health_are_served() -> None:
    registry = CollectorRegistry()
    Counter("flowers", "Flowers seen.", registry=registry).inc(3)
    healthy = [True]
    port = start_metrics_server(ANY_PORT, registry, lambda: healthy[0])

    status, content_type, body = _get(port, "/metrics?x=1")
    assert (status, content_type.split(";")[0]) == (200, "text/plain")
    assert b"flowers_total 3.0" in body
    assert _get(port, "/healthz")[::2] == (200, b'{"status": "ok"}')
    healthy[0] = False
    status, _, body = _get(port, "/healthz")
    assert (status, json.loads(body)["code"]) == (503, "STUCK")
    assert _get(port, "/elsewhere")[0] == 404


def test_a_taken_metrics_port_is_a_setting_that_cannot_be_used() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = replace(ANY_PORT, metrics_port=taken.getsockname()[1])
        with pytest.raises(SettingsError, match="IRIS_METRICS_PORT"):
            start_metrics_server(settings, CollectorRegistry(), lambda: True)


def test_callers_that_only_connect_do_not_pile_up() -> None:
    port = start_metrics_server(ANY_PORT, CollectorRegistry(), lambda: True)
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(MAX_CONNECTIONS)]
    with socket.create_connection(("127.0.0.1", port), timeout=10) as one_too_many:
        assert one_too_many.recv(1) == b""
    for connection in silent:
        connection.close()
