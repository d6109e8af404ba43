"""What every request gets: an id, one log line, a place in metrics and traces, and an answer whatever happens.

Pure ASGI and outermost, on the path of every request: nothing here may cost more than a few microseconds.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from secrets import token_hex
from time import perf_counter

import structlog
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from structlog.contextvars import bind_contextvars, clear_contextvars

from iris_service.api.draining import Draining
from iris_service.api.problems import fault
from iris_service.telemetry.api import ApiMetrics
from iris_service.tracing.context import trace_context_of_request
from iris_service.tracing.spans import Passing, RequestSpan, Spans

QUIET_ROUTES = frozenset(
    {"/healthz", "/readyz", "/metrics", "/v2/health/live", "/v2/health/ready", "/iris/api/v1.0/model"}
)
"""Asked every few seconds by machines and open pages: their log lines are for DEBUG."""

_METHODS = frozenset({"DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT"})
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")

_log = structlog.get_logger(__name__)


class RequestContext:
    """Wraps the whole application; puts `request_id`, `span` and `log` into the scope: what pages add to the line."""

    def __init__(self, app: ASGIApp, metrics: ApiMetrics, draining: Draining, spans: Spans) -> None:
        self._app = app
        self._metrics = metrics
        self._draining = draining
        self._spans = spans
        self._meters: dict[tuple[str, str, int], Callable[[float], None]] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        began = perf_counter()
        request_id = scope["request_id"] = _request_id(scope["headers"])
        scope["log"] = {}
        _ignore_trailing_slashes(scope)
        span = scope["span"] = self._span(scope)
        clear_contextvars()  # a request that was pipelined behind another one begins in its context
        bind_contextvars(request_id=request_id, **(span.context.log_fields if span.context else {}))
        status = 0

        async def send_with_id(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message["headers"], (b"x-request-id", request_id.encode())]
                if self._draining.begun:  # the next request of this caller finds another process
                    message["headers"].append((b"connection", b"close"))
            await send(message)

        try:
            await self._app(scope, receive, send_with_id)
        except Exception:
            _log.exception("request failed")
            if not status:
                await fault(request_id)(scope, receive, send_with_id)
        self._record(scope, status, perf_counter() - began)

    def _span(self, scope: Scope) -> RequestSpan:
        caller = trace_context_of_request(scope["headers"])
        if scope["path"] in QUIET_ROUTES:
            return Passing(caller)
        return self._spans.request(caller, _method(scope), scope["path"], scope["scheme"])

    def _record(self, scope: Scope, status: int, seconds: float) -> None:
        method = _method(scope)
        route = scope["route"].path if "route" in scope else "unmatched"
        scope["span"].end(route if "route" in scope else "", status)
        meter = self._meters.get((method, route, status))
        if meter is None:
            meter = self._meters[method, route, status] = self._meter(method, route, status)
        meter(seconds)
        log = _log.debug if route in QUIET_ROUTES else _log.info
        log("request answered", method=method, route=route, status=status, seconds=round(seconds, 6), **scope["log"])

    def _meter(self, method: str, route: str, status: int) -> Callable[[float], None]:
        """Look the labels up once; the kinds of them are few."""
        count = self._metrics.requests.labels(method, route, str(status)).inc
        observe = self._metrics.seconds.labels(method, route).observe

        def meter(seconds: float) -> None:
            count()
            observe(seconds)

        return meter


def _method(scope: Scope) -> str:
    return scope["method"] if scope["method"] in _METHODS else "OTHER"


def _request_id(headers: Iterable[tuple[bytes, bytes]]) -> str:
    for name, value in headers:
        if name == b"x-request-id" and _REQUEST_ID.fullmatch(value):
            return value.decode()
    return token_hex(16)


def _ignore_trailing_slashes(scope: Scope) -> None:
    if scope["path"][-1:] == "/":
        scope["path"] = scope["path"].rstrip("/") or scope["path"]
