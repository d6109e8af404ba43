"""`python -m iris_service.api`: read the settings, listen, serve until SIGTERM."""

from __future__ import annotations

import os
import socket
import sys

import structlog

from iris_service.api import server
from iris_service.api.app import build
from iris_service.config import ApiSettings, Settings
from iris_service.entry import OnReady, run, tell_nobody
from iris_service.errors import SettingsError
from iris_service.metrics_server import start_metrics_server
from iris_service.telemetry.logs import configure_logging

_log = structlog.get_logger(__name__)


def serve(settings: Settings, on_ready: OnReady = tell_nobody) -> int:
    """Serve until SIGTERM or SIGINT and return the exit code; raises `SettingsError` when it cannot listen.

    `on_ready` is called once it listens.
    """
    configure_logging(settings.log, "api")
    app = build(settings)
    if settings.metrics.port is not None:
        start_metrics_server(settings.metrics, app.state.metrics_page)
    with _listen(settings.api) as listener:
        host, port = listener.getsockname()[:2]
        url = f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"
        if settings.access.mode == "none":
            _log.warning("no authentication: whoever reaches this address may use it", setting="IRIS_AUTH")
        _log.info("api listening", url=url, model=settings.model.name, version=settings.model.version)
        on_ready()
        state = app.state
        server.run(app, listener, settings.api, state.draining, state.refused, state.waiting.stop)
    _log.info("api stopped")
    return os.EX_OK


def _listen(api: ApiSettings) -> socket.socket:
    try:
        family = socket.getaddrinfo(api.host, api.port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((api.host, api.port), family=family, backlog=2048)
    except OSError as exc:
        reason = exc.strerror or exc
        raise SettingsError(f"IRIS_HOST, IRIS_PORT: cannot listen on {api.host}:{api.port}: {reason}") from exc


if __name__ == "__main__":
    sys.exit(run(serve))
