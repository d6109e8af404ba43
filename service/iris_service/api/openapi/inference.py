"""The operations of the Open Inference Protocol V2 that make, fetch and cancel jobs."""

from __future__ import annotations

from iris_service import errors
from iris_service.api.answers import CANCELLED, NOT_READY, Accepted, CancelledStatus, RunningStatus
from iris_service.api.openapi.article import FOLLOWED_BY
from iris_service.api.openapi.examples import JOB_ID, Examples, example
from iris_service.api.openapi.parts import BYTES, JSON, Answer, Body, Content, Example, Operation, Subject
from iris_service.api.openapi.refused import FAILED_V2, LATE, NO_PAGE, refused
from iris_service.api.v2.inference import JOB, MODEL, VERSION
from iris_service.api.v2.outputs import OUTPUTS
from iris_service.api.v2.shapes import InferRequest, InferResponse

TAG = "Open Inference Protocol V2"
_TENSORS = "JSON, and behind it the bytes of the tensors that have a `binary_data_size`."


def operations(subject: Subject) -> tuple[Operation, ...]:
    return (*_inferring(subject), *_jobs(subject))


def _inferring(subject: Subject) -> tuple[Operation, ...]:
    examples = Examples(subject.card)
    asked = {
        "table": example(examples.table, "One tensor for all features"),
        "columns": example(examples.columns, "One tensor for each feature; the label only"),
    }
    inferred = {
        "table": Example(examples.inferred(), "of one tensor for all features"),
        "columns": Example(examples.inferred(["label"], JOB_ID), "the label only; without an id it is the request's"),
    }
    answers = (
        Answer(
            200,
            "The outputs that were asked for, or all.",
            {JSON: Content(InferResponse, inferred), BYTES: Content({"type": "string", "description": _TENSORS})},
            ("Inference-Header-Content-Length",),
        ),
        Answer(
            202,
            "For who prefers `respond-async`: the job is committed.",
            {JSON: Content(Accepted, {"accepted": example(Accepted(JOB_ID))})},
            ("Location", "Preference-Applied"),
            FOLLOWED_BY,
        ),
    )
    body = Body(
        f"At most {subject.limits.max_rows:,} rows, and {subject.limits.max_body_bytes:,} bytes, also after `gzip` or "
        "`deflate` is undone. No content type is asked for.",
        {JSON: Content(InferRequest, asked), BYTES: Content({"type": "string", "description": _TENSORS})},
    )
    kinds = (
        errors.MalformedBody, errors.InvalidTensors, errors.UnknownModel, errors.JobNotFound, errors.JobCancelled,
        errors.IdempotencyConflict, errors.BodyTooLarge, errors.TooManyRows, errors.UnsupportedBody,
        errors.InvalidInput, errors.QueueFull, errors.TryLater, errors.QueueUnavailable, errors.ModelNotReady,
    )  # fmt: skip
    refusals = (*refused(*kinds), *FAILED_V2, LATE, NO_PAGE)
    says = (
        f"Waits up to {subject.limits.sync_wait_seconds:g} s for the answer. Takes one tensor of shape "
        "[rows, features], or one for each feature, named like it; tensors may be binary, both ways."
    )
    parameters = ("IdempotencyKey", "Prefer", "JsonLength")
    one = "A version that takes jobs now; without one the model's route draws."
    return (
        Operation(
            "infer", "post", f"{MODEL}/infer", TAG, "Infer", says, answers, refusals, ("Model", *parameters), body
        ),
        Operation(
            "inferVersion", "post", f"{VERSION}/infer", TAG, "Infer by one version", f"{says} {one}", answers,
            refusals, ("Model", "Version", *parameters), body,
        ),
    )  # fmt: skip


def _jobs(subject: Subject) -> tuple[Operation, ...]:
    inferred = {"answer": Example(Examples(subject.card).inferred(id_=JOB_ID), "with the job's id")}
    kinds = (
        errors.JobNotFound, errors.JobCancelled, errors.InvalidTensors, errors.InvalidInput, errors.QueryTooLong,
        errors.QueueUnavailable, errors.ModelNotReady,
    )  # fmt: skip
    outputs = {
        "name": "outputs",
        "in": "query",
        "description": "Which outputs to answer, separated by commas; all without it.",
        "explode": False,
        "schema": {"type": "array", "items": {"enum": list(OUTPUTS)}, "minItems": 1, "uniqueItems": True},
    }
    id_ = {
        "name": "id",
        "in": "query",
        "description": "The `id` of the answer; the job's without it.",
        "schema": {"type": "string"},
    }
    return (
        Operation(
            "job", "get", JOB, TAG, "Fetch the answer of a job", "As `infer` would have answered it, in JSON.",
            (
                Answer(200, "The answer.", {JSON: Content(InferResponse, inferred)}),
                Answer(202, "The job waits or runs.", {JSON: Content(RunningStatus, {"running": example(NOT_READY)})}),
            ),
            (*refused(*kinds), *FAILED_V2, NO_PAGE),
            ("JobId", "Wait", id_, outputs),
        ),
        Operation(
            "cancelJob", "delete", JOB, TAG, "Cancel a job", "As the article's API does.",
            (Answer(200, "There will be no answer.", {JSON: Content(CancelledStatus, {"gone": example(CANCELLED)})}),),
            (*refused(errors.JobNotFound, errors.AlreadyAnswered, errors.QueueUnavailable), NO_PAGE),
            ("JobId",),
        ),
    )  # fmt: skip
