"""The one map from what went wrong to HTTP: a status, headers and the JSON body that every error has."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import UNSET
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response

from iris_service import errors
from iris_service.api.answers import Problem, json_response

STATUSES: Mapping[type[errors.IrisError], int] = {
    errors.InvalidTensors: 400,
    errors.MalformedBody: 400,
    errors.NotLoadedHere: 400,
    errors.Unauthenticated: 401,
    errors.JobNotFound: 404,
    errors.UnknownModel: 404,
    errors.AlreadyAnswered: 409,
    errors.IdempotencyConflict: 409,
    errors.JobCancelled: 410,
    errors.BodyTooLarge: 413,
    errors.TooManyRows: 413,
    errors.QueryTooLong: 414,
    errors.UnsupportedBody: 415,
    errors.InvalidInput: 422,
    errors.QueueFull: 429,
    errors.TooManyRequests: 429,
    errors.TryLater: 503,
}
"""A class stands for its subclasses too. What is not listed is a fault of ours: 500, logged, not explained."""

PAGES = {
    404: ("PAGE_NOT_FOUND", "there is no such page"),
    405: ("METHOD_NOT_ALLOWED", "this page does not know that method; Allow lists those it knows"),
}


def problem(
    request_id: str,
    status: int,
    code: str,
    error: str,
    *,
    headers: Mapping[str, str] | None = None,
    field: str | None = None,
    row: int | None = None,
) -> Response:
    """Render an error; it names `field` and `row` when they are not None."""
    body = Problem(
        code=code,
        error=error,
        request_id=request_id,
        field=UNSET if field is None else field,
        row=UNSET if row is None else row,
    )
    return json_response(body, status, headers)


def fault(request_id: str) -> Response:
    """Render what nobody expected; the log has the rest."""
    return problem(request_id, 500, "INTERNAL_SERVER_ERROR", "an internal error; the log has it under this request id")


def status_of(kind: type[errors.IrisError]) -> int:
    """Return the status of the nearest class in `STATUSES`."""
    return next(STATUSES[known] for known in kind.__mro__ if known in STATUSES)


def answer_to(exc: errors.IrisError, request_id: str) -> Response:
    """Render an error of the domain."""
    headers = None
    if isinstance(exc, errors.TryLater):
        headers = {"Retry-After": str(exc.retry_after_seconds or 1)}
    elif isinstance(exc, errors.Unauthenticated):
        headers = {"WWW-Authenticate": 'Bearer realm="iris"'}
    status = status_of(type(exc))
    return problem(request_id, status, exc.code, str(exc), headers=headers, field=exc.field, row=exc.row)


async def on_iris_error(request: Request, exc: Exception) -> Response:
    assert isinstance(exc, errors.IrisError)
    return answer_to(exc, request.scope["request_id"])


async def on_http_error(request: Request, exc: Exception) -> Response:
    """Answer for the router: unknown pages and methods. OPTIONS asks for `Allow` and gets it."""
    assert isinstance(exc, HTTPException)
    headers = {name: ", ".join(sorted(value.split(", "))) for name, value in (exc.headers or {}).items()}
    if request.method == "OPTIONS" and exc.status_code == 405:
        return Response(status_code=204, headers=headers)
    code, error = PAGES[exc.status_code]
    return problem(request.scope["request_id"], exc.status_code, code, error, headers=headers)


async def on_disconnect(request: Request, _exc: Exception) -> Response:
    """Nobody is left to read it; the status is for the log and the metrics."""
    return problem(request.scope["request_id"], 400, errors.MalformedBody.code, "the body ended early")


HANDLERS: Mapping[Any, Any] = {
    **dict.fromkeys(STATUSES, on_iris_error),
    HTTPException: on_http_error,
    ClientDisconnect: on_disconnect,
}
