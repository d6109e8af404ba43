"""uvicorn as this service wants it: connections within limits, and a stop that keeps nobody waiting."""

from __future__ import annotations

import contextlib
import gc
import resource
import signal
import socket
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from types import FrameType

import structlog
import uvicorn
from starlette.types import ASGIApp

from iris_service.api.connection import Config
from iris_service.api.draining import Draining
from iris_service.config import ApiSettings

FILES_BESIDE_CONNECTIONS = 64
"""Open files kept for Redis, logs and modules."""

_log = structlog.get_logger(__name__)


class Server(uvicorn.Server):
    """Drains before it stops, calls `on_stop` when the stop begins, and leaves the exit code to its caller."""

    def __init__(
        self, config: uvicorn.Config, draining: Draining, drain_seconds: float, on_stop: Callable[[], None]
    ) -> None:
        super().__init__(config)
        self._draining = draining
        self._drain_seconds = drain_seconds
        self._drained_at: float | None = None
        self._on_stop = on_stop

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """Begin to drain; a second signal ends that at once."""
        if self._draining.begun or not self._drain_seconds:
            super().handle_exit(sig, frame)
        self._draining.begin()

    async def on_tick(self, counter: int) -> bool:
        """Called ten times a second while it serves."""
        if self._draining.begun and self._drained_at is None and not self.should_exit:
            self._drained_at = time.monotonic() + self._drain_seconds
            _log.info("api draining", seconds=self._drain_seconds)
        if self._drained_at is not None and time.monotonic() >= self._drained_at:
            self.should_exit = True
        return await super().on_tick(counter)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self._on_stop()
        await super().shutdown(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, but a graceful stop does not end by raising its signal again."""
        stops = (signal.SIGINT, signal.SIGTERM)
        before = {number: signal.signal(number, self.handle_exit) for number in stops}
        try:
            yield
        finally:
            for number, handler in before.items():
                signal.signal(number, handler)


def run(
    app: ASGIApp,
    listener: socket.socket,
    limits: ApiSettings,
    draining: Draining,
    on_refused: Callable[[str], None],
    on_stop: Callable[[], None],
) -> None:
    """Serve on a listening socket until SIGTERM or SIGINT, and `limits.drain_seconds` longer."""
    config = Config(
        app,
        replace(limits, max_connections=_possible_connections(limits.max_connections)),
        on_refused,
        loop="uvloop",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_graceful_shutdown=limits.stop_seconds,
    )
    # what has been imported stays: looking through it again and again took a tenth of every request
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)
    Server(config, draining, limits.drain_seconds, on_stop).run(sockets=[listener])


def _possible_connections(wanted: int) -> int:
    """Let this process open as many files as that takes; return how many connections the system allows."""
    needed = wanted + FILES_BESIDE_CONNECTIONS
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != resource.RLIM_INFINITY and soft < needed:
        soft = needed if hard == resource.RLIM_INFINITY else min(needed, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    if soft == resource.RLIM_INFINITY or soft >= needed:
        return wanted
    possible = max(1, soft - FILES_BESIDE_CONNECTIONS)
    _log.warning("fewer connections than IRIS_MAX_CONNECTIONS: the system allows no more files", connections=possible)
    return possible
