"""docs/api.md is a promise, so it is held against the code."""

from __future__ import annotations

import re
from pathlib import Path
from typing import get_args

import pytest

from iris_service.api import problems, refusals
from iris_service.api.openapi.document import document_of
from iris_service.api.openapi.parts import Subject
from iris_service.api.openapi.refused import REASONS
from iris_service.api.v2.inference import FAILURES, NOT_YET
from iris_service.api.v2.shapes import MAX_ID_CHARACTERS, MAX_TENSORS
from iris_service.config import AccessSettings, ApiSettings, JobSettings
from iris_service.errors import IrisError
from iris_service.jobs.job_queue import _fingerprint_seconds
from iris_service.schemas import MAX_OBJECTS, FailureCode
from versions import committed_card

ROOT = Path(__file__).parents[2]
DOCS = (ROOT / "docs" / "api.md").read_text()
ROWS = {
    (int(status), code)
    for status, codes in re.findall(r"^\| (\d{3}) \| (`[A-Z_`, ]+)", DOCS, re.MULTILINE)
    for code in re.findall(r"[A-Z_]+", codes)
}


def with_subclasses(kind: type[IrisError]) -> set[type[IrisError]]:
    return {kind}.union(*(with_subclasses(child) for child in kind.__subclasses__()))


def test_every_error_is_documented_with_its_status_and_no_other_is() -> None:
    known = {(problems.status_of(kind), kind.code) for mapped in problems.STATUSES for kind in with_subclasses(mapped)}
    known |= {(status, code) for status, (code, _) in problems.PAGES.items()}
    known |= {refusal[:2] for refusal in refusals.REFUSALS}
    known |= {(500, "INTERNAL_SERVER_ERROR"), (503, "SERVICE_NOT_READY")}
    known |= {NOT_YET, *((status, code) for code, status in FAILURES.items())}
    assert known == ROWS


def test_the_openapi_document_has_these_errors_and_no_others() -> None:
    documented = set()
    for mode in ("none", "api-key", "tokenreview"):
        subject = Subject(committed_card(), ApiSettings(), AccessSettings(mode=mode), "0", has_metrics=True)
        for name, response in document_of(subject)["components"]["responses"].items():
            codes = response["content"]["application/json"]["schema"]["properties"]["code"]["enum"]
            documented |= {(int(name[:3]), code) for code in codes}
    assert documented == ROWS


def test_every_reason_of_a_failed_job_has_a_status_of_its_own_under_v2() -> None:
    assert set(FAILURES) == {*get_args(FailureCode)} - {"CANCELLED"}, "that one is no fault: 410"


@pytest.mark.parametrize("reason", sorted({*get_args(FailureCode)} - {"CANCELLED"}))
def test_every_reason_of_a_failed_job_is_documented_in_the_words_of_the_openapi_document(reason: str) -> None:
    assert f"| `{reason}` | {REASONS[reason]} |" in DOCS


def test_how_long_an_idempotency_key_is_remembered_is_documented_for_both_ways_to_run() -> None:
    """The chart's API lets a job run for as long as any IrisModel may."""
    text = " ".join(DOCS.split())
    usual, in_the_chart = (_fingerprint_seconds(jobs) for jobs in (JobSettings(), JobSettings(timeout_seconds=86_400)))
    assert f"{usual:,} s by default, two hours, and {in_the_chart:,} s in the chart, 26 hours" in text
    assert (usual // 3600, in_the_chart // 3600) == (2, 26)
    backup = " ".join((ROOT / "docs" / "backup.md").read_text().split())
    assert f"idempotency keys](api.md#submitting) stand for ({in_the_chart // 3600} hours at most)" in backup


def test_the_limits_are_documented_with_their_defaults() -> None:
    api, access = ApiSettings(), AccessSettings()
    for row in (
        f"| {api.max_body_bytes >> 20} MiB | `IRIS_MAX_BODY_BYTES` |",
        f"| {api.sync_wait_seconds:g} s | `IRIS_SYNC_WAIT_SECONDS` |",
        f"| {MAX_ID_CHARACTERS} characters | fixed |",
        f"| tensors in a V2 request | {MAX_TENSORS} | fixed |",
        f"| objects in JSON | {MAX_OBJECTS} | fixed |",
        f"| {api.max_rows} | `IRIS_MAX_ROWS` |",
        f"| {api.max_query_bytes} bytes | `IRIS_MAX_QUERY_BYTES` |",
        f"| {api.max_wait_seconds:g} s | `IRIS_MAX_WAIT_SECONDS` |",
        f"| {api.max_json_depth} levels | `IRIS_MAX_JSON_DEPTH` |",
        f"| {api.max_head_bytes >> 10} KiB | `IRIS_MAX_HEAD_BYTES` |",
        f"| {api.receive_seconds:g} s | `IRIS_RECEIVE_SECONDS` |",
        f"| {api.send_seconds:g} s | `IRIS_SEND_SECONDS` |",
        f"| {api.keep_alive_seconds} s | `IRIS_KEEP_ALIVE_SECONDS` |",
        f"| {api.max_connections} | `IRIS_MAX_CONNECTIONS` |",
        f"| {api.max_bodies_bytes >> 20} MiB | `IRIS_MAX_BODIES_BYTES` |",
        f"| {access.caller_in_flight} | `IRIS_CALLER_IN_FLIGHT` |",
        f"| {access.caller_rate or 'no limit'} | `IRIS_CALLER_RATE` |",
        f"| {api.stop_seconds} s | `IRIS_STOP_SECONDS` |",
    ):
        assert row in DOCS
