"""Ask a running server for predictions, patiently and without an HTTP library: `iris predict --url`."""

from __future__ import annotations

import csv
import io
import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from http.client import HTTPException
from typing import NamedTuple
from urllib.parse import quote, urlsplit

import msgspec

from iris_service.errors import (
    BodyTooLarge,
    InvalidInput,
    IrisError,
    MalformedBody,
    QueueUnavailable,
    TooManyRows,
    Unauthenticated,
)

PATH = "/iris/api/v1.0"
PATIENCE_SECONDS = 60.0
"""Longest wait for an answer, pauses that the server asks for included."""
LONGEST_WAIT_SECONDS = 10
"""For an answer, in one request; halved for a server that allows no such wait, and in the end no wait is asked for."""
_TIMEOUT_SECONDS = 30.0
_SHORTEST_PAUSE_SECONDS = 1.0
_ACCEPT_CSV = {"Accept": "text/csv"}
_BUSY = (HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE)

Tell = Callable[[str], None]
"""Gets a sentence each time the caller has to wait."""


class Share(msgspec.Struct, frozen=True):
    """One class of an answer and its probability, as text."""

    name: str = msgspec.field(name="class")
    probability: str


class _Answer(msgspec.Struct, frozen=True):
    """Any answer of the API; what it does not say is empty."""

    job_id: str = ""
    result: list[list[Share]] = []
    code: str = ""
    error: str = ""
    field: str | None = None
    row: int | None = None


class _Reply(NamedTuple):
    """What a server says, before it is understood."""

    status: int
    retry_after_seconds: float
    kind: str
    body: bytes


class Remote:
    """One server, by the URL of its root."""

    def __init__(self, url: str, tell: Tell, api_key: str = "", patience_seconds: float = PATIENCE_SECONDS) -> None:
        if not _is_http(url):
            raise InvalidInput(f"--url must be http:// or https:// and a host, not {url!r}", field="url")
        self._root = url.rstrip("/") + PATH
        self._tell = tell
        self._patience_seconds = patience_seconds
        self._credentials = {"Authorization": f"Bearer {api_key}"} if api_key else {}
        self._deadline = 0.0
        self._wait_seconds = LONGEST_WAIT_SECONDS

    def predict(self, row: Sequence[float]) -> list[Share]:
        """The server's answer for one flower; raises `IrisError`."""
        self._be_patient()
        body = json.dumps({"data": [list(row)]}).encode()
        try:
            accepted = self._ask("/getpred", {"Content-Type": "application/json"}, body)
        except InvalidInput as exc:
            raise InvalidInput(str(exc).removeprefix("data[0]: "), field=exc.field) from exc
        result = _parse(self._result(accepted, {}).body).result
        if not result:
            raise _not_ours()
        return result[0]

    def predict_csv(self, lines: Sequence[Sequence[str]]) -> list[list[str]]:
        """The server's answers for some lines, of which the first names the columns, as it does in what is returned.

        Raises `TooManyRows` or `BodyTooLarge` when they are too many for one request, and other `IrisError`.
        """
        self._be_patient()
        text = io.StringIO()
        csv.writer(text).writerows(lines)
        kind = {"Content-Type": "text/csv", **_ACCEPT_CSV}
        reply = self._ask_waiting("/getpred", kind, text.getvalue().encode())
        if reply.status == HTTPStatus.ACCEPTED:
            reply = self._result(reply, _ACCEPT_CSV)
        found = list(csv.reader(io.StringIO(reply.body.decode(errors="replace"))))
        if not reply.kind.startswith("text/csv") or len(found) != len(lines):
            raise _not_ours()
        return found

    def _be_patient(self) -> None:
        self._deadline = time.monotonic() + self._patience_seconds

    def _result(self, accepted: _Reply, headers: Mapping[str, str]) -> _Reply:
        """Wait for the result of an accepted job."""
        job_id = _parse(accepted.body).job_id
        if not job_id:
            raise _not_ours()
        while True:
            reply = self._ask_waiting(f"/result/{quote(job_id, safe='')}", headers)
            if reply.status == HTTPStatus.OK:
                return reply
            self._pause(_SHORTEST_PAUSE_SECONDS, "the prediction still waits for a worker")

    def _ask_waiting(self, page: str, headers: Mapping[str, str], body: bytes | None = None) -> _Reply:
        """Ask for the answer, waiting for it as long as the server allows."""
        while self._wait_seconds:
            try:
                return self._ask(f"{page}?wait={self._wait_seconds}", headers, body)
            except InvalidInput as exc:
                if exc.field != "wait":
                    raise
                self._wait_seconds //= 2  # how long it may be is in a sentence only
        return self._ask(page, headers, body)

    def _ask(self, page: str, headers: Mapping[str, str], body: bytes | None = None) -> _Reply:
        """Ask until the server is not busy; raises what its refusal says."""
        while True:
            reply = _exchange(self._root + page, {**headers, **self._credentials}, body)
            if reply.status in (HTTPStatus.OK, HTTPStatus.ACCEPTED):
                return reply
            answer = _parse(reply.body)
            reason = answer.error or answer.code or f"HTTP {reply.status}"
            if reply.status == HTTPStatus.UNAUTHORIZED:
                known = "it does not know the one in IRIS_API_KEY" if self._credentials else "set IRIS_API_KEY"
                raise Unauthenticated(f"{reason}: {known}")
            if reply.status not in _BUSY:
                raise _refusal(reply.status, reason, answer)
            self._pause(reply.retry_after_seconds, f"the server is busy ({reason})")

    def _pause(self, seconds: float, reason: str) -> None:
        if time.monotonic() + seconds > self._deadline:
            raise QueueUnavailable(f"{reason}: giving up")
        self._tell(f"{reason}: trying again in {seconds:g} s")
        time.sleep(seconds)


def _is_http(url: str) -> bool:
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:  # half a bracket, or a port that is none
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname)


def _exchange(url: str, headers: Mapping[str, str], body: bytes | None) -> _Reply:
    request = urllib.request.Request(url, body, dict(headers))  # noqa: S310  checked above
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310
            return _Reply(response.status, 0.0, response.headers.get("Content-Type", ""), response.read())
    except urllib.error.HTTPError as exc:
        with exc:
            return _Reply(exc.code, _retry_after(exc.headers.get("Retry-After")), "", exc.read())
    except (OSError, ValueError, HTTPException) as exc:
        reason = getattr(exc, "reason", exc)
        raise QueueUnavailable(f"no answer from {url.partition('/iris/')[0]}: {reason}") from exc


def _parse(body: bytes) -> _Answer:
    try:
        return msgspec.json.decode(body, type=_Answer)
    except (msgspec.MsgspecError, UnicodeDecodeError) as exc:
        raise _not_ours() from exc


def _not_ours() -> MalformedBody:
    return MalformedBody("the server does not answer like ours: is this the URL of an iris API?")


def _retry_after(text: str | None) -> float:
    return max(_SHORTEST_PAUSE_SECONDS, float(text)) if text and text.isdigit() else _SHORTEST_PAUSE_SECONDS


def _refusal(status: int, reason: str, answer: _Answer) -> IrisError:
    too_much = {kind.code: kind for kind in (TooManyRows, BodyTooLarge)}
    if answer.code in too_much:
        return too_much[answer.code](reason)
    if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
        return IrisError(reason)
    return InvalidInput(reason, field=answer.field, row=answer.row)
