"""Every error of the domain, named by what to do next. HTTP codes are given by `api.problems`, nowhere else."""

from __future__ import annotations

from typing import ClassVar


class IrisError(Exception):
    """An expected failure; `code` is stable and documented, the message is one sentence for a person."""

    code: ClassVar[str] = "INTERNAL_SERVER_ERROR"

    def __init__(
        self,
        message: str,
        *,
        field: str | None = None,
        row: int | None = None,
        retry_after_seconds: int | None = None,
    ) -> None:
        super().__init__(message)
        self.field = field
        self.row = row
        """Which of several rows is to blame, from 0."""
        self.retry_after_seconds = retry_after_seconds


class SettingsError(IrisError):
    """A setting cannot be used: correct the named variable and start again."""

    code = "BAD_SETTINGS"


class CannotStart(IrisError):
    """Something on this machine is in the way: do what the message says and start again."""

    code = "CANNOT_START"


class Unauthenticated(IrisError):
    """The caller has not shown who he is: send a key or token that is known here."""

    code = "UNAUTHENTICATED"


class MalformedBody(IrisError):
    """The bytes are not what their content type says: mend the encoder."""

    code = "MALFORMED_BODY"


class UnsupportedBody(IrisError):
    """The content type is not one we read: send JSON."""

    code = "UNSUPPORTED_MEDIA_TYPE"


class InvalidInput(IrisError):
    """The request is readable but describes no flower: correct the named field."""

    code = "INVALID_INPUT"


class InvalidTensors(IrisError):
    """The tensors of a V2 request do not fit together, or not the model: compare them with the model's metadata."""

    code = "INVALID_TENSORS"


class BodyTooLarge(IrisError):
    """The body is beyond the published limit: send less at a time."""

    code = "BODY_TOO_LARGE"


class TooManyRows(IrisError):
    """More rows than one request may carry: send them in several."""

    code = "TOO_MANY_ROWS"


class QueryTooLong(IrisError):
    """The query string is beyond the published limit: use POST."""

    code = "QUERY_TOO_LONG"


class JobNotFound(IrisError):
    """No such job, none of this caller's, or its answer has expired: submit again."""

    code = "NOT_FOUND"

    def __init__(self) -> None:
        super().__init__("no such job, or its answer has expired")  # the one sentence, whatever the reason


class JobCancelled(IrisError):
    """Its caller has cancelled the job: there will be no answer."""

    code = "CANCELLED"


class AlreadyAnswered(IrisError):
    """The job has its answer, so there is nothing to cancel: fetch it, or let it expire."""

    code = "ALREADY_ANSWERED"


class IdempotencyConflict(IrisError):
    """The key was used for another request: make a new key for a new request."""

    code = "IDEMPOTENCY_CONFLICT"


class UnknownModel(IrisError):
    """No such model, or none of its versions that takes jobs has this name: ask which there are."""

    code = "UNKNOWN_MODEL"


class NotLoadedHere(IrisError):
    """Models are loaded by their workers, not by a request: start a worker, or apply an IrisModel."""

    code = "NOT_LOADED_HERE"


class TryLater(IrisError):
    """Nothing is wrong with the request: repeat it after `retry_after_seconds`."""

    code = "OVERLOADED"


class QueueFull(TryLater):
    """The queue is at its limit: repeat the request later."""

    code = "QUEUE_FULL"


class QueueUnavailable(TryLater):
    """Redis cannot be reached or refuses writes: repeat the request later."""

    code = "QUEUE_UNAVAILABLE"


class TooManyRequests(TryLater):
    """This caller asks for more than one caller may: repeat the request later, or ask less."""

    code = "TOO_MANY_REQUESTS"


class AuthenticationUnavailable(TryLater):
    """Nobody can be asked right now whether a token is good: repeat the request later."""

    code = "AUTHENTICATION_UNAVAILABLE"


class ModelNotReady(TryLater):
    """This process has no usable card of its model: publish the version, or point to another, and start again."""

    code = "MODEL_NOT_READY"


class ModelRejected(IrisError):
    """An artifact cannot be trusted or understood: publish it again, or point to another version."""

    code = "MODEL_REJECTED"


class ModelNotFound(ModelRejected):
    """No such model version in the repository: check the name, the version and IRIS_MODELS."""

    code = "MODEL_NOT_FOUND"


class VersionExists(ModelRejected):
    """A published version never changes: publish under another version."""

    code = "VERSION_EXISTS"


class ExportRefused(ModelRejected):
    """The served artifact would not answer like the trained model: change the recipe."""

    code = "EXPORT_REFUSED"


class PredictionFailed(IrisError):
    """The model raised, or answered with something that is not a probability: look at the model, not at the caller."""

    code = "PREDICTION_FAILED"
