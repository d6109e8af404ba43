"""Parameters and headers that operations share, by the names under which they refer to them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from iris_service.api.idempotency import KEY_PATTERN
from iris_service.api.inputs import wait_within
from iris_service.api.openapi.components import anchored, number
from iris_service.api.openapi.examples import JOB_ID
from iris_service.api.openapi.parts import Subject
from iris_service.api.v2.reading import JSON_LENGTH_HEADER
from iris_service.jobs.job_id import ID_PATTERN
from iris_service.model.card import MODEL_NAME, VERSION_NAME

EVERYWHERE = ("RequestId", "TraceParent", "TraceState")
"""The parameters that every operation has."""
JSON_LENGTH = JSON_LENGTH_HEADER.title()
_TEXT = {"type": "string"}


def parameters(subject: Subject) -> dict[str, Any]:
    card, limits = subject.card, subject.limits
    return {
        "JobId": _of_path("job_id", ID_PATTERN, JOB_ID, "The id that a submission has answered."),
        "Model": _of_path("model", MODEL_NAME, card.model, "A model that has a route."),
        "Version": _of_path("version", VERSION_NAME, card.version, "One of its versions that takes jobs."),
        "Wait": {
            "name": "wait",
            "in": "query",
            "description": "Seconds to wait for the answer, if it is not there yet.",
            "schema": number(wait_within(limits.max_wait_seconds)),
            "example": min(10, limits.max_wait_seconds),
        },
        "IdempotencyKey": _of_header(
            "Idempotency-Key",
            "The same key with the same request is the same job, however often it is sent; with another request, 409.",
            {**_TEXT, "minLength": 1, "maxLength": 255, "pattern": anchored(KEY_PATTERN)},
        ),
        "Prefer": _of_header("Prefer", "`respond-async` is answered at once, with 202 and the address of the job."),
        "JsonLength": _of_header(
            JSON_LENGTH,
            "The bytes of JSON in front, where tensors follow; 0 where all of the body is one row, in bytes.",
            {"type": "integer", "minimum": 0, "maximum": limits.max_body_bytes},
        ),
        "IfNoneMatch": _of_header("If-None-Match", "The `ETag` of what you have."),
        "RequestId": _of_header(
            "X-Request-Id",
            "Names the request in logs and in the answer: 1 to 64 of `A-Z a-z 0-9 . _ -`. Another text is replaced.",
        ),
        "TraceParent": _of_header("traceparent", "W3C Trace Context; ignored when it is malformed."),
        "TraceState": _of_header("tracestate", "W3C Trace Context, beside `traceparent`."),
    }


def _of_path(name: str, pattern: str, value: str, says: str) -> dict[str, Any]:
    schema = {**_TEXT, "pattern": anchored(pattern)}
    return {"name": name, "in": "path", "required": True, "description": says, "schema": schema, "example": value}


def _of_header(name: str, says: str, schema: Mapping[str, Any] = _TEXT) -> dict[str, Any]:
    return {"name": name, "in": "header", "description": says, "schema": schema}


def _header(says: str, schema: Mapping[str, Any] = _TEXT) -> dict[str, Any]:
    return {"description": says, "schema": schema}


HEADERS: Mapping[str, Any] = {
    "X-Request-Id": _header("The request's own id, or the one it was given."),
    "Location": _header("Where the answer will be.", {**_TEXT, "format": "uri-reference"}),
    "Retry-After": _header("Seconds after which to repeat the request.", {"type": "integer", "minimum": 1}),
    "Server-Timing": _header("How long the job waited and ran, in milliseconds, and which version has answered."),
    "Preference-Applied": _header("`respond-async`."),
    "WWW-Authenticate": _header("`Bearer`."),
    "ETag": _header("Names this version of it, for `If-None-Match`."),
    "Allow": _header("The methods that the page knows."),
    JSON_LENGTH: _header("The bytes of JSON in front, where tensors follow.", {"type": "integer", "minimum": 0}),
}
