"""Ask a running server for one prediction, patiently and without an HTTP library: `iris predict --url`."""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from http import HTTPStatus
from urllib.parse import quote, urlsplit

import msgspec

from iris_service.errors import InvalidInput, IrisError, MalformedBody, QueueUnavailable

PATH = "/iris/api/v1.0"
PATIENCE_SECONDS = 60.0
"""Longest wait for an answer, pauses that the server asks for included."""
_WAIT_SECONDS = 10
_TIMEOUT_SECONDS = 30.0
_SHORTEST_PAUSE_SECONDS = 1.0
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


class Remote:
    """One server, by the URL of its root."""

    def __init__(self, url: str, tell: Tell, api_key: str = "", patience_seconds: float = PATIENCE_SECONDS) -> None:
        if urlsplit(url).scheme not in ("http", "https") or not urlsplit(url).netloc:
            raise InvalidInput(f"--url must start with http:// or https://, not {url!r}", field="url")
        self._root = url.rstrip("/") + PATH
        self._tell = tell
        self._headers = {"Content-Type": "application/json"} | (
            {"Authorization": f"Bearer {api_key}"} if api_key else {}
        )
        self._deadline = time.monotonic() + patience_seconds

    def predict(self, row: Sequence[float]) -> list[Share]:
        """The server's answer for one flower; raises `IrisError`."""
        body = json.dumps({"data": [list(row)]}).encode()
        job_id = self._ask(f"{self._root}/getpred", body).job_id
        if not job_id:
            raise _not_ours()
        while True:
            answer = self._ask(f"{self._root}/result/{quote(job_id, safe='')}?wait={_WAIT_SECONDS}")
            if answer.result:
                return answer.result[0]
            self._pause(_SHORTEST_PAUSE_SECONDS, "the prediction still waits for a worker")

    def _ask(self, url: str, body: bytes | None = None) -> _Answer:
        while True:
            status, retry_after, answer = _exchange(url, body, self._headers)
            if status in (HTTPStatus.OK, HTTPStatus.ACCEPTED):
                return answer
            reason = answer.error or answer.code or f"HTTP {status}"
            if status not in _BUSY:
                raise _refusal(status, reason)
            self._pause(retry_after, f"the server is busy ({reason})")

    def _pause(self, seconds: float, reason: str) -> None:
        if time.monotonic() + seconds > self._deadline:
            raise QueueUnavailable(f"{reason}: giving up")
        self._tell(f"{reason}: trying again in {seconds:g} s")
        time.sleep(seconds)


def _exchange(url: str, body: bytes | None, headers: Mapping[str, str]) -> tuple[int, float, _Answer]:
    """Status, seconds of Retry-After, and what the body says."""
    request = urllib.request.Request(url, body, dict(headers))  # noqa: S310  checked above
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_SECONDS) as response:  # noqa: S310
            return response.status, 0.0, _parse(response.read())
    except urllib.error.HTTPError as exc:
        with exc:
            return exc.code, _retry_after(exc.headers.get("Retry-After")), _parse(exc.read())
    except (OSError, ValueError) as exc:
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


def _refusal(status: int, reason: str) -> IrisError:
    return InvalidInput(reason) if status < HTTPStatus.INTERNAL_SERVER_ERROR else IrisError(reason)
