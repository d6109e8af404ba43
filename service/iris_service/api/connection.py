"""One connection: whoever sends too slowly, too much or no HTTP, or does not read, is told so and hung up on."""

from __future__ import annotations

import logging
import socket
import struct
from collections.abc import Callable
from secrets import token_hex
from typing import Any

import structlog
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

from iris_service.api.crowd import Crowd
from iris_service.api.refusals import BAD, CROWDED, FULL, LARGE_HEAD, SLOW, Refusal
from iris_service.api.timer import Timer
from iris_service.api.together import Together
from iris_service.config import ApiSettings

_UVICORN = "uvicorn.error.connection"
_VERSIONS = ("1.1", "1.0")
_log = structlog.get_logger(__name__)


class Config(uvicorn.Config):
    """uvicorn's, and what every connection must know beside it."""

    def __init__(self, app: ASGIApp, limits: ApiSettings, on_refused: Callable[[str], None], **options: Any) -> None:
        super().__init__(app, http=Connection, timeout_keep_alive=limits.keep_alive_seconds, **options)
        logging.getLogger(_UVICORN).setLevel(logging.ERROR)  # what a client does wrong is one line, and ours
        self.limits = limits
        self.crowd = Crowd(limits.max_connections, limits.max_bodies_bytes)
        self.on_refused = on_refused
        """Called with the code of every connection that is told why it ends."""


class Connection(HttpToolsProtocol):
    """At any time it is being answered, or one of its timers runs: none can be held for nothing.

    Receiving: from its first moment, and from the first byte of every request until the last. Idle: uvicorn's
    keep-alive. Sending: while the client does not take what is there for it.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        assert isinstance(self.config, Config)
        self.logger = logging.getLogger(_UVICORN)
        self._limits = self.config.limits
        self._crowd = self.config.crowd
        self._on_refused = self.config.on_refused
        self._refusal = BAD
        self._refused = False
        self._awaited = True
        """Whether a request, or the rest of one, is still to come."""
        self._in_head = self._in_body = False
        self._head_bytes = 0
        self._body_bytes = 0
        self._body_grew = False
        self._running: RequestResponseCycle | None = None
        self._receiving = Timer(self.loop)
        self._sending = Timer(self.loop)

    # --- the life of a connection -------------------------------------------------------------------------------

    def connection_made(self, transport: Any) -> None:
        self._together = Together(transport, self.loop)
        super().connection_made(self._together)  # type: ignore[arg-type]
        if self._crowd.join(self):
            self._receiving.start(self._limits.receive_seconds, self._refuse, SLOW)
        else:
            self._refuse(CROWDED)

    def connection_lost(self, exc: Exception | None) -> None:
        self._crowd.leave(self)
        self._release_body()
        self._abandon()
        self._receiving.cancel()
        self._sending.cancel()
        super().connection_lost(exc)

    def make_room(self) -> None:
        if self.transport.get_write_buffer_size():
            self._hang_up()
        else:
            self._abandon()
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if self._refused:
            return
        was_in_head, self._body_grew = self._in_head, False
        super().data_received(data)
        if self._awaited:
            self._wait_on(len(data), grew=self._body_grew or was_in_head != self._in_head)
        elif not (self._is_answering or self.timeout_keep_alive_task or self.transport.is_closing()):
            # uvicorn's timer was stopped by bytes that begin no request, or end one that was answered before
            keep, end = self.timeout_keep_alive, self.timeout_keep_alive_handler
            self.timeout_keep_alive_task = self.loop.call_later(keep, end)

    def _wait_on(self, arrived: int, *, grew: bool) -> None:
        """The request is not whole; `grew`: its head came to its end, or its body got longer.

        The clock starts here and not with the first byte: most requests come in one piece and need none.
        """
        self._receiving.start(self._limits.receive_seconds, self._refuse, SLOW)
        if not grew:  # a long head, or what can be put around chunks
            self._head_bytes += arrived
            if self._head_bytes > self._limits.max_head_bytes:
                self._refuse(LARGE_HEAD)

    @property
    def _is_answering(self) -> bool:
        return self.cycle is not None and not self.cycle.response_complete

    # --- the parser's calls -------------------------------------------------------------------------------------

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._awaited, self._in_head, self._head_bytes = True, True, 0

    def on_headers_complete(self) -> None:
        self._in_head, self._head_bytes = False, 0
        if self.parser.get_http_version() not in _VERSIONS:
            raise ValueError  # the parser stops, and uvicorn calls send_400_response
        most = self._limits.max_head_bytes
        if sum(len(name) + len(value) + 4 for name, value in self.headers) + len(self.url) > most:
            self._refusal = LARGE_HEAD
            raise ValueError
        super().on_headers_complete()
        self._in_body = True
        self.headers = []  # what comes after a body would pass for headers that a proxy has let through

    def on_body(self, body: bytes) -> None:
        self._body_grew = True
        if self._is_answering:
            if not self._crowd.hold(len(body)):
                self._refusal = FULL
                raise ValueError
            self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        self._awaited = self._in_body = False
        self._receiving.cancel()
        if self._is_answering:
            self._crowd.is_served(self)
        super().on_message_complete()

    def on_response_complete(self) -> None:
        self._together.flush()
        super().on_response_complete()
        if self._body_bytes:
            self._release_body()
        if not self._is_answering:
            self._crowd.is_done(self)

    def send_400_response(self, msg: str) -> None:  # noqa: ARG002  uvicorn's text is replaced by ours
        self._refuse(self._refusal)

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle
        super()._start_asgi_task(cycle, app)

    # --- timers and ends ----------------------------------------------------------------------------------------

    def pause_writing(self) -> None:
        super().pause_writing()
        self._sending.start(self._limits.send_seconds, self._hang_up)

    def resume_writing(self) -> None:
        super().resume_writing()
        self._sending.cancel()

    def timeout_keep_alive_handler(self) -> None:
        super().timeout_keep_alive_handler()
        self._end()

    def _release_body(self) -> None:
        self._crowd.release(self._body_bytes)
        self._body_bytes = 0

    def _refuse(self, refusal: Refusal) -> None:
        """Answer and hang up; a whole request before this one gets its answer first."""
        if self.transport.is_closing():
            return
        self._refused, self._awaited = True, False
        self._receiving.cancel()
        if self._is_answering and not self._in_body:
            self.cycle.keep_alive = False
            return
        if not self._in_body or not (self.pipeline or self.cycle.response_started):
            request_id = token_hex(16)
            self.transport.write(refusal.answer(self._limits, request_id))
            self._on_refused(refusal.code)
            _log.info("request refused", status=refusal.status, code=refusal.code, request_id=request_id)
        self._end()

    def _end(self) -> None:
        """Close, also when the client does not read what is left for it."""
        self._abandon()
        self.transport.close()
        self._sending.start(self._limits.send_seconds, self._hang_up)

    def _abandon(self) -> None:
        """Let the request in hand know that nobody waits for it: uvicorn tells only the last one of a pipeline."""
        for cycle in (self._running, self.cycle):
            if cycle is not None and not cycle.response_complete:
                cycle.disconnected = True
                cycle.message_event.set()

    def _hang_up(self) -> None:
        """Forget what the client does not read; the system would try to deliver it for minutes."""
        self._abandon()
        connected = self.transport.get_extra_info("socket")
        connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.transport.abort()
