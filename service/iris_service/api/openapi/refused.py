"""The errors an operation may answer: their statuses from `problems`, their sentences from the errors themselves."""

from __future__ import annotations

from collections.abc import Mapping
from typing import get_args

from iris_service import errors
from iris_service.api import problems, refusals
from iris_service.api.answers import FailedJob
from iris_service.api.openapi.parts import Refusal
from iris_service.api.probes import NOT_SERVING, NotServing
from iris_service.api.v2.inference import FAILURES, NOT_YET
from iris_service.config import ApiSettings
from iris_service.schemas import FailureCode

REASONS: Mapping[str, str] = {
    "BAD_INPUT": "carries rows that do not fit the worker's model",
    "PREDICTION_FAILED": "made the model raise, or answer something that is no probability",
    "TIMEOUT": "ran longer than `IRIS_JOB_TIMEOUT_SECONDS`",
    "WORKER_LOST": "used up its attempts because workers died under it",
    "EXPIRED": "was not answered within `IRIS_JOB_DEADLINE_SECONDS`",
    "UNREADABLE": "could not be read back from Redis",
}
"""How a job fails, by reason; the sentences begin with the job."""
_BELOW_PAGES: Mapping[str, str] = {
    "BAD_REQUEST": "This is no HTTP request, or its body breaks off: mend the client.",
    "REQUEST_TIMEOUT": "The request did not arrive within {0.receive_seconds:g} seconds: send faster, or less.",
    "HEADERS_TOO_LARGE": "Request line and headers have more than {0.max_head_bytes:,} bytes: send fewer headers.",
    "TOO_MANY_CONNECTIONS": "As many connections as there may be are being answered: repeat it later.",
    "TOO_MANY_BODIES": "Too many request bodies are in hand: repeat it later.",
}
_INSTEAD: Mapping[type[errors.IrisError], str] = {
    errors.TryLater: "Redis is short of memory: repeat the request later.",
    errors.UnsupportedBody: "The body is of another type or compressed in another way than this page reads.",
    errors.ModelNotReady: "The card of the model cannot be used; `/readyz` says why.",
}
"""Where the error's own sentence is for programmers."""


def refused(*kinds: type[errors.IrisError]) -> tuple[Refusal, ...]:
    """Return how errors of the domain are answered."""
    return tuple(_refusal(kind) for kind in kinds)


def _refusal(kind: type[errors.IrisError]) -> Refusal:
    headers: tuple[str, ...] = ()
    if issubclass(kind, errors.TryLater):
        headers = ("Retry-After",)
    elif issubclass(kind, errors.Unauthenticated):
        headers = ("WWW-Authenticate",)
    says = _INSTEAD.get(kind) or " ".join((kind.__doc__ or "").split())
    return Refusal(problems.status_of(kind), kind.code, says, headers)


def below_pages(limits: ApiSettings) -> tuple[Refusal, ...]:
    """Return what any request may be answered before a page sees it; the connection ends with it."""
    return tuple(
        Refusal(
            refusal.status,
            refusal.code,
            _BELOW_PAGES[refusal.code].format(limits),
            ("Retry-After",) if refusal.status == 503 else (),
        )
        for refusal in refusals.REFUSALS
    )


FAULT = Refusal(500, errors.IrisError.code, "A fault of ours: report the `request_id`.")
NO_PAGE = Refusal(404, problems.PAGES[404][0], "There is no such page.")
NO_METHOD = Refusal(405, problems.PAGES[405][0], "The page does not know this method.", ("Allow",))
UNREADY = Refusal(*NOT_SERVING[:2], "Predictions are not accepted; `reasons` says why.", schema=NotServing)
FAILED = Refusal(
    500,
    errors.IrisError.code,
    "With a `reason`, the job has failed, for good: it "
    + "; ".join(f"{says} (`{reason}`)" for reason, says in REASONS.items())
    + ".",
    schema=FailedJob,
)
FAILED_V2 = tuple(
    Refusal(FAILURES[reason], reason, f"The job has failed, for good: it {REASONS[reason]}.")
    for reason in get_args(FailureCode)
    if reason in FAILURES
)
LATE = Refusal(*NOT_YET, "Accepted, and not answered in time: the answer will be at `Location`.", ("Location",))
