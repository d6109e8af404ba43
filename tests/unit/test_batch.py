"""Batches: one call of the model for all, and what spoils it is found and fails alone."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager

import msgspec
import pytest

from iris_service.jobs.batch import Claim, TookTooLong, answer
from iris_service.jobs.keys import TASK
from iris_service.schemas import Answered, Failed, Payload, Row
from stub_model import RAISES, StubModel, answer_of

GOOD: Row = (5.1, 3.5, 1.4, 0.2)
SLOW: Row = (16.0, 1.0, 1.0, 1.0)


class CountingModel(StubModel):
    """Counts its calls; takes too long on a row of SLOW."""

    def __init__(self) -> None:
        self.calls: list[int] = []

    def predict(self, rows: Sequence[Row]) -> list[tuple[float, ...]]:
        self.calls.append(len(rows))
        if SLOW in rows:
            raise TookTooLong
        return super().predict(rows)


@contextmanager
def unlimited(_seconds: float) -> Iterator[None]:
    yield


def claim(name: str, *rows: Row, attempt: int = 1) -> Claim:
    payload = Payload(rows=rows, many=len(rows) > 1, request_id="r", accepted_at=1.0)
    return Claim(name, msgspec.json.encode((TASK, None, (payload,), {})), 10, attempt)


def test_a_batch_is_one_call_of_the_model_and_each_job_gets_its_own_rows() -> None:
    model = CountingModel()
    jobs = [claim("a", GOOD), claim("b", (1.0, 2.0, 3.0, 4.0), (4.0, 3.0, 2.0, 1.0)), claim("c", GOOD, attempt=2)]
    outcomes = {outcome.claim.job_id: outcome.envelope for outcome in answer(model, jobs, unlimited)}
    assert model.calls == [4]
    assert isinstance(a := outcomes["a"], Answered)
    assert isinstance(b := outcomes["b"], Answered)
    assert isinstance(c := outcomes["c"], Answered)
    assert a.rows == (answer_of(GOOD),)
    assert b.rows == (answer_of((1.0, 2.0, 3.0, 4.0)), answer_of((4.0, 3.0, 2.0, 1.0)))
    assert (a.many, b.many, c.attempt, a.digest) == (False, True, 2, StubModel.digest)


@pytest.mark.parametrize(
    ("row", "code"), [((RAISES, 1.0, 1.0, 1.0), "PREDICTION_FAILED"), (SLOW, "TIMEOUT"), ((99.0, 1, 1, 1), "BAD_INPUT")]
)
def test_the_job_that_spoils_a_batch_fails_alone(row: Row, code: str) -> None:
    jobs = [claim("a", GOOD), claim("spoiler", row), claim("b", GOOD)]
    outcomes = {outcome.claim.job_id: outcome.envelope for outcome in answer(CountingModel(), jobs, unlimited)}
    assert isinstance(spoiler := outcomes.pop("spoiler"), Failed)
    assert spoiler.code == code
    assert all(isinstance(envelope, Answered) for envelope in outcomes.values())
    assert set(outcomes) == {"a", "b"}


def test_a_job_whose_rows_do_not_fit_still_says_whose_it_was() -> None:
    (outcome,) = answer(CountingModel(), [claim("a", (99.0, 1.0, 1.0, 1.0))], unlimited)
    assert isinstance(outcome.envelope, Failed)
    assert outcome.payload is not None
    assert outcome.payload.request_id == "r"


@pytest.mark.parametrize(
    "arguments",
    [
        b"",
        b"\xff\xfe",
        b"null",
        b'["x",null,[],{}]',
        b'["x",null,[{"rows":[[1,2,3]],"many":false,"request_id":"r","accepted_at":1}],{}]',
        b'["x",null,[{"rows":[["1",2,3,4]],"many":false,"request_id":"r","accepted_at":1}],{}]',
        b'["x",null,[{"rows":[[NaN,2,3,4]],"many":false,"request_id":"r","accepted_at":1}],{}]',
    ],
)
def test_a_job_that_holds_no_rows_of_this_model_is_bad_input(arguments: bytes) -> None:
    (outcome,) = answer(CountingModel(), [Claim("a", arguments, 10, 1)], unlimited)
    assert isinstance(outcome.envelope, Failed)
    assert outcome.envelope.code == "BAD_INPUT"


def test_the_shortest_time_limit_of_a_batch_holds_for_it() -> None:
    limits: list[float] = []

    @contextmanager
    def recording(seconds: float) -> Iterator[None]:
        limits.append(seconds)
        yield

    jobs = [claim("a", GOOD), Claim("b", claim("b", GOOD).arguments, 3, 1)]
    answer(CountingModel(), jobs, recording)
    assert limits == [3]
