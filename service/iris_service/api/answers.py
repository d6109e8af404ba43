"""How answers look in JSON. The shapes are a promise: successes carry what the article's API carried, and no more."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from starlette.responses import Response

from iris_service.schemas import Answered

_encode = msgspec.json.Encoder().encode

READY = {"code": "READY", "status": "success"}
CANCELLED = {"code": "CANCELLED", "status": "success"}
NOT_READY = {"code": "NOT_READY", "status": "running"}

_PLAIN_NAMES = re.compile(r"[A-Za-z0-9._-]+ [A-Za-z0-9._-]+")


def json_response(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(_encode(body), status, headers, media_type="application/json")


def result_body(answer: Answered, classes: Sequence[str]) -> dict[str, Any]:
    """One list of class and probability text in class order, or a list of such lists when several rows were sent."""
    lists = [
        [{"class": name, "probability": f"{share:.3f}"} for name, share in zip(classes, row, strict=True)]
        for row in answer.rows
    ]
    return {"result": lists if answer.many else lists[0]}


def server_timing(answer: Answered) -> str:
    """The answer's times, in milliseconds, as a `Server-Timing` header; `task` is described by model and version."""
    times = f"queued;dur={answer.queued_seconds * 1000:.3f}, task;dur={answer.task_seconds * 1000:.3f}"
    # whoever can write Redis must not be able to write headers
    version = f"{answer.model} {answer.version}"
    return f'{times};desc="{version}"' if _PLAIN_NAMES.fullmatch(version) else times
