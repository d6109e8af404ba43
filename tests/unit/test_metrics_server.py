"""What a process tells machines about itself, on a port of its own."""

from __future__ import annotations

import http.client
import json
import socket

import pytest

from iris_service.config import MetricsSettings
from iris_service.errors import SettingsError
from iris_service.metrics_server import MAX_CONNECTIONS, Heartbeat, start_metrics_server

ANY_PORT = MetricsSettings(port=0)


def page() -> bytes:
    return b"flowers_total 3.0\n"


@pytest.mark.parametrize(
    ("beat_at", "now", "alive"),
    [(None, 1e9, True), (100.0, 100.0, True), (100.0, 109.9, True), (100.0, 110.0, False)],
)
def test_a_loop_is_alive_until_it_has_not_turned_for_long(beat_at: float | None, now: float, alive: bool) -> None:
    clock = iter([now] if beat_at is None else [beat_at, now])
    heart = Heartbeat(10.0, lambda: next(clock))
    if beat_at is not None:
        heart.beat()
    assert heart.alive() is alive


def _get(port: int, path: str) -> tuple[int, str, bytes]:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    connection.request("GET", path)
    response = connection.getresponse()
    body = response.read()
    connection.close()
    return response.status, response.headers["Content-Type"], body


def test_metrics_and_health_are_served() -> None:
    alive = [True]
    port = start_metrics_server(ANY_PORT, page, lambda: alive[0])

    status, content_type, body = _get(port, "/metrics?x=1")
    assert (status, content_type.split(";")[0]) == (200, "text/plain")
    assert b"flowers_total 3.0" in body
    assert _get(port, "/healthz")[::2] == (200, b'{"status": "ok"}')
    alive[0] = False
    status, _, body = _get(port, "/healthz")
    assert (status, json.loads(body)["code"]) == (503, "STUCK")
    assert _get(port, "/elsewhere")[0] == 404


def test_a_process_whose_loop_the_thread_cannot_see_has_no_health_there() -> None:
    port = start_metrics_server(ANY_PORT, page)
    assert _get(port, "/metrics")[0] == 200
    assert _get(port, "/healthz")[0] == 404


def test_a_taken_metrics_port_is_a_setting_that_cannot_be_used() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        settings = MetricsSettings(port=taken.getsockname()[1])
        with pytest.raises(SettingsError, match="IRIS_METRICS_PORT"):
            start_metrics_server(settings, page)


def test_callers_that_only_connect_do_not_pile_up() -> None:
    port = start_metrics_server(ANY_PORT, page)
    silent = [socket.create_connection(("127.0.0.1", port)) for _ in range(MAX_CONNECTIONS)]
    with socket.create_connection(("127.0.0.1", port), timeout=10) as one_too_many:
        assert one_too_many.recv(1) == b""
    for connection in silent:
        connection.close()
