"""How answers look in JSON. The shapes are a promise: successes carry what the article's API carried, and no more."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
from starlette.responses import Response

from iris_service.schemas import Answered

_encode = msgspec.json.Encoder().encode

READY = {"code": "READY", "status": "success"}
NOT_READY = {"code": "NOT_READY", "status": "running"}


def json_response(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(_encode(body), status, headers, media_type="application/json")


def result_body(answer: Answered, classes: Sequence[str]) -> dict[str, Any]:
    """One list of class and probability text in class order, or a list of such lists when several rows were sent."""
    lists = [
        [{"class": name, "probability": f"{share:.3f}"} for name, share in zip(classes, row, strict=True)]
        for row in answer.rows
    ]
    return {"result": lists if answer.many else lists[0]}
