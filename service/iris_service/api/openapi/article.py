"""The operations of the article's API: submit, status, result, cancel, and the model."""

from __future__ import annotations

from iris_service import errors
from iris_service.api.answers import (
    CANCELLED,
    NOT_READY,
    READY,
    Accepted,
    CancelledStatus,
    ReadyStatus,
    Result,
    Results,
    RunningStatus,
)
from iris_service.api.description import ModelDescription, describe
from iris_service.api.openapi.components import numbers, reference
from iris_service.api.openapi.examples import JOB_ID, Examples, example
from iris_service.api.openapi.parts import CSV, JSON, Answer, Body, Content, Example, Operation, Subject
from iris_service.api.openapi.refused import FAILED, NO_PAGE, refused
from iris_service.api.routes import PREFIX
from iris_service.jobs.keys import Target
from iris_service.jobs.route import Route
from iris_service.jobs.watch import Observation

TAG = "Predictions"
FOLLOWED_BY = ("status", "result", "cancel", "job", "cancelJob")
"""What can be done with the id of a job."""
_GETPRED = f"{PREFIX}/getpred"
_SUBMITTING = (
    errors.InvalidInput,
    errors.QueryTooLong,
    errors.IdempotencyConflict,
    errors.QueueFull,
    errors.TryLater,
    errors.QueueUnavailable,
    errors.ModelNotReady,
)
_LOOKING = (
    errors.JobNotFound,
    errors.JobCancelled,
    errors.InvalidInput,
    errors.QueryTooLong,
    errors.QueueUnavailable,
)


def operations(subject: Subject) -> tuple[Operation, ...]:
    examples = Examples(subject.card)
    return (
        _submit_one(subject, examples),
        _submit(subject, examples),
        Operation(
            "status", "get", f"{PREFIX}/status/{{job_id}}", TAG, "Ask whether a job is done",
            "With `wait` it is answered as soon as the job is done, or when that time is up.",
            (
                Answer(200, "The job has its answer.", {JSON: Content(ReadyStatus, {"ready": example(READY)})}),
                _running(),
            ),
            (*refused(*_LOOKING), FAILED, NO_PAGE),
            ("JobId", "Wait"),
        ),
        Operation(
            "result", "get", f"{PREFIX}/result/{{job_id}}", TAG, "Fetch the answer of a job",
            "Any number of times, until it expires. `Accept: text/csv` answers a file.",
            (_result(examples), _running()),
            (*refused(*_LOOKING, errors.ModelNotReady), FAILED, NO_PAGE),
            ("JobId", "Wait"),
        ),
        Operation(
            "cancel", "delete", f"{PREFIX}/jobs/{{job_id}}", TAG, "Cancel a job",
            "One that waits is gone at once; one that runs is answered in vain. Again is fine.",
            (Answer(200, "There will be no answer.", {JSON: Content(CancelledStatus, {"gone": example(CANCELLED)})}),),
            (*refused(errors.JobNotFound, errors.AlreadyAnswered, errors.QueueUnavailable), NO_PAGE),
            ("JobId",),
        ),
        Operation(
            "model", "get", f"{PREFIX}/model", TAG, "Describe the model",
            "What it takes and answers, by its card, and what its queues were doing about a second ago.",
            (Answer(200, "The model.", {JSON: Content(ModelDescription, {"model": example(_description(subject))})}),),
            refused(errors.ModelNotReady),
        ),
    )  # fmt: skip


def _submit_one(subject: Subject, examples: Examples) -> Operation:
    features = tuple(
        {
            "name": name,
            "in": "query",
            "required": True,
            "description": schema.pop("description"),
            "schema": schema,
            "example": examples.flower[name],
        }
        for name, schema in numbers(subject.card).items()
    )
    accepted = Content(Accepted, {"accepted": example(Accepted(JOB_ID))})
    return Operation(
        "submitOne", "get", _GETPRED, TAG, "Submit one flower",
        "Every feature once, as a plain decimal, and nothing else. Each request makes a job, so `HEAD` is refused.",
        (Answer(200, "The job is committed: it will have an answer.", {JSON: accepted}, (), FOLLOWED_BY),),
        refused(*_SUBMITTING),
        (*features, "IdempotencyKey"),
    )  # fmt: skip


def _submit(subject: Subject, examples: Examples) -> Operation:
    limits = subject.limits
    json = {
        "one": example(examples.flower, f"One flower: {examples.note}" if examples.note else "One flower"),
        "many": example({"data": examples.rows}, "Many, in the order of the features"),
    }
    body = Body(
        f"One flower, or up to {limits.max_rows:,} of them as one job, as JSON or as a file of comma-separated values "
        f"whose first line names the columns; not compressed, and {limits.max_body_bytes:,} bytes at the most.",
        {
            JSON: Content((reference("Flower"), reference("Flowers")), json),
            CSV: Content({"type": "string"}, {"file": Example(examples.file, "A file; other columns are ignored")}),
        },
    )
    accepted = Content(Accepted, {"accepted": example(Accepted(JOB_ID))})
    more = (errors.MalformedBody, errors.BodyTooLarge, errors.TooManyRows, errors.UnsupportedBody)
    waited = (errors.JobNotFound, errors.JobCancelled)
    return Operation(
        "submit", "post", _GETPRED, TAG, "Submit one flower or many",
        "With `wait` the answer comes in the same reply, if it is there in time.",
        (
            _result(examples, "With `wait`: the answer, as `result` gives it."),
            Answer(202, "The job is committed: it will have an answer.", {JSON: accepted}, ("Location",), FOLLOWED_BY),
        ),
        (*refused(*_SUBMITTING, *more, *waited), FAILED),
        ("Wait", "IdempotencyKey"),
        body,
    )  # fmt: skip


def _running() -> Answer:
    running = Content(RunningStatus, {"running": example(NOT_READY)})
    return Answer(202, "The job waits or runs.", {JSON: running})


def _result(examples: Examples, says: str = "The answer.") -> Answer:
    shown = {
        "one": example(examples.result(many=False), "of one flower"),
        "many": example(examples.result(many=True), "of many: also where there was one row in a list"),
    }
    file = {"file": Example(examples.result_file, "with all the digits there are")}
    contents = {JSON: Content((Result, Results), shown), CSV: Content({"type": "string"}, file)}
    return Answer(200, says, contents, ("Server-Timing",))


def _description(subject: Subject) -> ModelDescription:
    card = subject.card
    target = Target(card.model, card.version)
    return describe(card.model, Observation({card.model: Route.only(target)}, redis_up=True), {target: card})
