"""uvicorn as this service wants it: limits below HTTP, errors in JSON, and a stop that keeps nobody waiting."""

from __future__ import annotations

import contextlib
import gc
import json
import signal
import socket
import time
from asyncio import TimerHandle
from collections.abc import Callable, Iterator
from secrets import token_hex
from types import FrameType
from typing import Any

import structlog
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from iris_service.api.draining import Draining

RECEIVE_SECONDS = 10.0
"""A request, or the first one of a connection, that has not arrived by then gets 408."""
MAX_HEAD_BYTES = 16_384
"""Request line and headers beyond it get 431."""
KEEP_ALIVE_SECONDS = 65
"""Longer than the 60 s for which common proxies keep an idle connection, so that they are the ones to close it."""
GRACEFUL_STOP_SECONDS = 10

_BAD = (400, "BAD_REQUEST", "this is not an HTTP request")
_SLOW = (408, "REQUEST_TIMEOUT", f"the request did not arrive within {RECEIVE_SECONDS:g} seconds")
_LARGE_HEAD = (431, "HEADERS_TOO_LARGE", f"the request line and headers have more than {MAX_HEAD_BYTES} bytes")
REFUSALS = (_BAD, _SLOW, _LARGE_HEAD)

_log = structlog.get_logger(__name__)


class Protocol(HttpToolsProtocol):
    """One connection; refuses what arrives too slowly, has too large a head, or is not HTTP."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._refusal = _BAD
        self._head_bytes = 0
        self._in_head = False
        self._deadline: TimerHandle | None = None

    def connection_made(self, transport: Any) -> None:
        super().connection_made(transport)
        self._expect_request()

    def connection_lost(self, exc: Exception | None) -> None:
        self._request_arrived()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        was_in_head = self._in_head
        super().data_received(data)
        if was_in_head and self._in_head:  # a head that began in an earlier chunk and goes on beyond this one
            self._head_bytes += len(data)
            if self._head_bytes > MAX_HEAD_BYTES:
                self._refuse(_LARGE_HEAD)

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._in_head, self._head_bytes = True, 0
        self._expect_request()

    def on_headers_complete(self) -> None:
        self._in_head = False
        if sum(len(name) + len(value) + 4 for name, value in self.headers) + len(self.url) > MAX_HEAD_BYTES:
            self._refusal = _LARGE_HEAD
            raise ValueError  # the parser stops, and uvicorn calls send_400_response
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        self._request_arrived()
        super().on_message_complete()

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  uvicorn's text is replaced by ours
        self._refuse(self._refusal)

    def _expect_request(self) -> None:
        if self._deadline is None:
            self._deadline = self.loop.call_later(RECEIVE_SECONDS, self._refuse, _SLOW)

    def _request_arrived(self) -> None:
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None

    def _refuse(self, refusal: tuple[int, str, str]) -> None:
        status, code, error = refusal
        if self.transport.is_closing():
            return
        if self.cycle is None or self.cycle.response_complete or not self.cycle.response_started:
            body = {"code": code, "status": "error", "error": error, "request_id": token_hex(16)}
            self.transport.write(_response(status, json.dumps(body).encode()))
            _log.info("request refused", status=status, request_id=body["request_id"])
        self.transport.close()


def _response(status: int, body: bytes) -> bytes:
    head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
    return STATUS_LINE[status] + head + body


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
    draining: Draining,
    drain_seconds: float,
    on_stop: Callable[[], None],
) -> None:
    """Serve on a listening socket until SIGTERM or SIGINT, and `drain_seconds` longer."""
    config = uvicorn.Config(
        app,
        http=Protocol,
        loop="uvloop",
        ws="none",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        proxy_headers=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACEFUL_STOP_SECONDS,
    )
    # what has been imported stays: looking through it again and again took a tenth of every request
    gc.collect()
    gc.freeze()
    gc.set_threshold(20_000, 10, 10)
    Server(config, draining, drain_seconds, on_stop).run(sockets=[listener])
