"""What a connection may say below HTTP's pages, in their shape; it ends with it. Knows no connection."""

from __future__ import annotations

from typing import NamedTuple

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from iris_service.api.answers import Problem
from iris_service.config import ApiSettings


class Refusal(NamedTuple):
    """An answer given below HTTP's pages; the connection ends with it."""

    status: int
    code: str
    error: str
    """A sentence; {0} are the settings."""

    def answer(self, limits: ApiSettings, request_id: str) -> bytes:
        """Return head and body."""
        error = self.error.format(limits)
        body = msgspec.json.encode(Problem(code=self.code, error=error, request_id=request_id))
        retry = b"retry-after: 1\r\n" if self.status == 503 else b""
        head = b"content-type: application/json\r\n%sconnection: close\r\ncontent-length: %d\r\n\r\n"
        return STATUS_LINE[self.status] + head % (retry, len(body)) + body


BAD = Refusal(400, "BAD_REQUEST", "this is not an HTTP request")
SLOW = Refusal(408, "REQUEST_TIMEOUT", "the request did not arrive within {0.receive_seconds:g} seconds")
LARGE_HEAD = Refusal(
    431,
    "HEADERS_TOO_LARGE",
    "the request line and headers have more than {0.max_head_bytes} bytes, or what is around a body",
)
CROWDED = Refusal(503, "TOO_MANY_CONNECTIONS", "{0.max_connections} connections are being answered already")
FULL = Refusal(503, "TOO_MANY_BODIES", "{0.max_bodies_bytes} bytes of request bodies are in hand already")
REFUSALS = (BAD, SLOW, LARGE_HEAD, CROWDED, FULL)
