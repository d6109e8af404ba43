"""What the other tests are held by must itself notice: an answer that is not documented does not pass."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import httpx
import pytest

from conformance import Conformance
from iris_service.api.openapi.document import document_of
from iris_service.api.openapi.parts import Subject
from iris_service.config import AccessSettings, ApiSettings
from versions import committed_card

HOLD = Conformance(document_of(Subject(committed_card(), ApiSettings(), AccessSettings(), "0", has_metrics=True)))
RESULT = f"/iris/api/v1.0/result/{'0' * 32}"
GONE = {"code": "NOT_FOUND", "status": "error", "error": "no such job", "request_id": "r"}
GOOD = {"result": [{"class": "setosa", "probability": "1.000"}]}


def answer(status: int, body: Any, headers: Mapping[str, str] | None = None, kind: str = "application/json") -> Any:
    given = {"content-type": kind, "x-request-id": "r", **(headers or {})}
    return httpx.Response(status, headers=given, content=json.dumps(body).encode())


@pytest.mark.parametrize(
    "told", [answer(200, GOOD, {"server-timing": "x"}), answer(404, GONE), answer(404, {**GONE, "new": 1})]
)
def test_a_documented_answer_passes(told: Any) -> None:
    HOLD.check("GET", RESULT, told)


@pytest.mark.parametrize(
    "told",
    [
        answer(418, GONE),
        answer(404, {**GONE, "code": "BAD_LUCK"}),
        answer(404, {**GONE, "status": "success"}),
        answer(404, {"error": "no such job"}),
        answer(404, GONE, kind="text/plain"),
        answer(404, GONE, {"Location": "/elsewhere"}),
        answer(200, {**GOOD, "more": 1}),
        answer(200, {"result": [{"class": "setosa", "probability": 1.0}]}),
        answer(200, GOOD["result"]),
    ],
)
def test_any_other_answer_is_noticed(told: Any) -> None:
    with pytest.raises(AssertionError):
        HOLD.check("GET", RESULT, told)


@pytest.mark.parametrize(
    ("method", "path", "operation"),
    [
        ("GET", RESULT + "/", ("/iris/api/v1.0/result/{job_id}", "get")),
        ("GET", "/v2/models/stats", ("/v2/models/stats", "get")),
        ("GET", "/v2/models/iris", ("/v2/models/{model}", "get")),
        ("GET", "/", ("/", "get")),
        ("GET", "//", None),
        ("GET", "/nowhere", None),
        ("HEAD", "/healthz", None),
        ("PUT", RESULT, None),
    ],
)
def test_a_request_finds_its_operation(method: str, path: str, operation: tuple[str, str] | None) -> None:
    assert HOLD.operation(method, path) == operation
