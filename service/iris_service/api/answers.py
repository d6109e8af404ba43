"""How answers look in JSON, as types: they render, and they say in the OpenAPI document what they are.

The shapes are a promise: successes carry what the article's API carried, and no more; an error at least this much.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType
from starlette.responses import Response

from iris_service.schemas import Answered, FailureCode

_encode = msgspec.json.Encoder().encode


class _Promised(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """No field will be added."""


class Accepted(_Promised, frozen=True):
    """The job is committed: it will have an answer, under this id."""

    job_id: str


class ReadyStatus(_Promised, frozen=True):
    """The job has its answer."""

    code: Literal["READY"] = "READY"
    status: Literal["success"] = "success"


class RunningStatus(_Promised, frozen=True):
    """The job waits or runs."""

    code: Literal["NOT_READY"] = "NOT_READY"
    status: Literal["running"] = "running"


class CancelledStatus(_Promised, frozen=True):
    """The job is cancelled."""

    code: Literal["CANCELLED"] = "CANCELLED"
    status: Literal["success"] = "success"


class ClassProbability(_Promised, frozen=True):
    """One class, and its probability as a text with three decimals."""

    name: str = msgspec.field(name="class")
    probability: Annotated[str, Meta(pattern=r"^[01]\.\d{3}$")]


class Result(_Promised, frozen=True):
    """The answer for one flower: every class, in the model's order."""

    result: list[ClassProbability]


class Results(_Promised, frozen=True):
    """The answers for many flowers: such a list for each, in their order."""

    result: list[list[ClassProbability]]


class Problem(msgspec.Struct, frozen=True, kw_only=True):
    """What every error says: a stable `code`, a sentence, the request; and who is to blame, where one is."""

    code: str
    status: Literal["error"] = "error"
    error: str
    request_id: str
    field: str | UnsetType = UNSET
    row: Annotated[int, Meta(ge=0)] | UnsetType = UNSET
    """Which of several rows, from 0."""


class FailedJob(Problem, frozen=True, kw_only=True):
    """The job has failed, for good, and why."""

    reason: FailureCode


READY = ReadyStatus()
CANCELLED = CancelledStatus()
NOT_READY = RunningStatus()

_PLAIN_NAMES = re.compile(r"[A-Za-z0-9._-]+ [A-Za-z0-9._-]+")


def json_response(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    return Response(_encode(body), status, headers, media_type="application/json")


def result_body(answer: Answered, classes: Sequence[str]) -> Result | Results:
    """One list of class and probability text in class order, or a list of such lists when several rows were sent."""
    lists = [
        [ClassProbability(name, f"{share:.3f}") for name, share in zip(classes, row, strict=True)]
        for row in answer.rows
    ]
    return Results(lists) if answer.many else Result(lists[0])


def server_timing(answer: Answered) -> str:
    """The answer's times, in milliseconds, as a `Server-Timing` header; `task` is described by model and version."""
    times = f"queued;dur={answer.queued_seconds * 1000:.3f}, task;dur={answer.task_seconds * 1000:.3f}"
    # whoever can write Redis must not be able to write headers
    version = f"{answer.model} {answer.version}"
    return f'{times};desc="{version}"' if _PLAIN_NAMES.fullmatch(version) else times
