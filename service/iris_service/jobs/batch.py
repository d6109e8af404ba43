"""Answers a batch with one call of the model, and finds the one that spoils it. Knows no Redis and no RQ."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Protocol

import msgspec

from iris_service.errors import InvalidInput, IrisError
from iris_service.schemas import Answered, Envelope, Failed, FailureCode, Payload, Row, Signature


class Predictor(Protocol):
    """A loaded model version, as far as the queue is concerned."""

    name: str
    version: str
    digest: str
    signature: Signature

    def predict(self, rows: Sequence[Row]) -> list[tuple[float, ...]]:
        """Return the probabilities of each row in class order; raises when it cannot."""
        ...


class TookTooLong(Exception):
    """The time limit has ended a call of the model."""


TimeLimit = Callable[[float], AbstractContextManager[object]]
"""Given seconds, a context that raises `TookTooLong` inside when they are over."""


@dataclass(frozen=True)
class Claim:
    """One job a worker has taken."""

    job_id: str
    arguments: bytes
    """The job's data: JSON of [task, null, [payload], {}]."""
    timeout_seconds: float
    attempt: int
    """1 on the first run."""


@dataclass(frozen=True)
class Outcome:
    """What came of one claim."""

    claim: Claim
    envelope: Envelope
    payload: Payload | None
    """None when the job could not be read."""
    began_at: float = 0.0
    ended_at: float = 0.0
    """Unix seconds: of the call of the model that settled it."""


_arguments = msgspec.json.Decoder(tuple[str, None, tuple[Payload], dict[str, None]])


def answer(
    predictor: Predictor, claims: Sequence[Claim], limit: TimeLimit, now: Callable[[], float] = time.time
) -> list[Outcome]:
    """Return one outcome a claim, in no particular order. A job that cannot be answered ends as `Failed`, alone."""
    started_at = now()
    readable: list[tuple[Claim, Payload]] = []
    outcomes: list[Outcome] = []
    for claim in claims:
        payload: Payload | None = None
        try:
            payload = _arguments.decode(claim.arguments)[2][0]
            for row in payload.rows:
                predictor.signature.row(row)
            readable.append((claim, payload))
        except (InvalidInput, msgspec.DecodeError) as exc:
            failed = _failed(predictor, claim, "BAD_INPUT", str(exc), now())
            outcomes.append(Outcome(claim, failed, payload, started_at, failed.finished_at))
    outcomes += _predict(predictor, readable, limit, started_at, now)
    return outcomes


_NO_JOB = Claim("", b"", 0.0, 1)


def answer_at_once(
    predictor: Predictor, payloads: Sequence[Payload], now: Callable[[], float] = time.time
) -> list[Envelope]:
    """Return one envelope a payload, in their order: what a worker would answer, for rows that have been checked.

    There are no jobs, so nothing is claimed, tried again or ended by a time limit.
    """
    jobs = [(_NO_JOB, payload) for payload in payloads]
    return [outcome.envelope for outcome in _predict(predictor, jobs, nullcontext, now(), now)]


def _predict(
    predictor: Predictor,
    jobs: Sequence[tuple[Claim, Payload]],
    limit: TimeLimit,
    started_at: float,
    now: Callable[[], float],
) -> list[Outcome]:
    if not jobs:
        return []
    try:
        with limit(min(claim.timeout_seconds for claim, _ in jobs)):
            answers = predictor.predict([row for _, payload in jobs for row in payload.rows])
    except Exception as exc:
        if len(jobs) > 1:  # one of them spoils it for all: each runs alone, under its own limit
            return [outcome for job in jobs for outcome in _predict(predictor, [job], limit, now(), now)]
        claim, payload = jobs[0]
        code: FailureCode = "TIMEOUT" if isinstance(exc, TookTooLong) else "PREDICTION_FAILED"
        failed = _failed(predictor, claim, code, _sentence(exc), now())
        return [Outcome(claim, failed, payload, started_at, failed.finished_at)]
    finished_at = now()
    outcomes, at = [], 0
    for claim, payload in jobs:
        rows = tuple(answers[at : at + len(payload.rows)])
        at += len(payload.rows)
        envelope = Answered(
            model=predictor.name,
            version=predictor.version,
            digest=predictor.digest,
            accepted_at=round(payload.accepted_at, 6),
            queued_seconds=round(max(0.0, started_at - payload.accepted_at), 6),
            task_seconds=round(finished_at - started_at, 6),
            rows=rows,
            attempt=claim.attempt,
            many=payload.many,
        )
        outcomes.append(Outcome(claim, envelope, payload, started_at, finished_at))
    return outcomes


def _sentence(exc: Exception) -> str:
    if isinstance(exc, TookTooLong):
        return "the prediction ran longer than its time limit"
    if isinstance(exc, IrisError):
        return str(exc)
    return f"the model raised {type(exc).__name__}"


def _failed(predictor: Predictor, claim: Claim, code: FailureCode, error: str, finished_at: float) -> Failed:
    return Failed(
        model=predictor.name,
        version=predictor.version,
        attempt=claim.attempt,
        code=code,
        error=error[:200],
        finished_at=round(finished_at, 6),
    )
