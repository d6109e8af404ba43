"""The pages of the V2 protocol that predict: each reads its request, calls one thing and renders the answer."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import NamedTuple
from urllib.parse import urlencode

from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from iris_service.api.answers import CANCELLED, NOT_READY, Accepted, json_response
from iris_service.api.cards import Cards
from iris_service.api.inputs import parameters_from_query, read_body, seconds_from
from iris_service.api.intake import Intake
from iris_service.api.problems import problem
from iris_service.api.v2.inflate import inflated
from iris_service.api.v2.outputs import OUTPUTS, Choice, choices_of, chosen_names, render
from iris_service.api.v2.reading import JSON_LENGTH_HEADER, read_request
from iris_service.api.v2.rows import flowers_of
from iris_service.config import ApiSettings
from iris_service.jobs.keys import Target
from iris_service.schemas import Envelope, Failed, FailureCode

MODEL = "/v2/models/{model}"
VERSION = MODEL + "/versions/{version}"
JOB = "/v2/jobs/{job_id}"

FAILURES: Mapping[FailureCode, int] = {
    "BAD_INPUT": 422,
    "PREDICTION_FAILED": 500,
    "WORKER_LOST": 500,
    "UNREADABLE": 500,
    "TIMEOUT": 504,
    "EXPIRED": 504,
}
"""The status of a failed job, whose reason is the code of the error here."""
_JSON_LENGTH = JSON_LENGTH_HEADER.encode()
NOT_YET = (504, "NOT_READY")
"""Accepted, and not answered as long as a request may wait."""


class Wish(NamedTuple):
    """How an answer is to look. A job does not know it, so the job's address carries it."""

    id: str
    choices: Sequence[Choice]

    @classmethod
    def from_query(cls, parameters: Mapping[str, str]) -> Wish:
        """Read it from a job's address; raises `InvalidTensors` for an unknown output."""
        names = parameters["outputs"].split(",") if "outputs" in parameters else list(OUTPUTS)
        return cls(parameters.get("id", ""), [Choice(name) for name in chosen_names(names)])

    def address(self, job_id: str) -> str:
        parameters = {"id": self.id} if self.id else {}
        names = [choice.name for choice in self.choices]
        if names != list(OUTPUTS):
            parameters["outputs"] = ",".join(names)
        query = f"?{urlencode(parameters, safe=',')}" if parameters else ""
        return JOB.format(job_id=job_id) + query


class Inference:
    """Infer, at once or later, for every model that has a route."""

    def __init__(self, intake: Intake, cards: Cards, limits: ApiSettings) -> None:
        self._intake = intake
        self._cards = cards
        self._limits = limits

    @property
    def routes(self) -> Sequence[BaseRoute]:
        return (
            Route(f"{MODEL}/infer", self.infer, methods=["POST"]),
            Route(f"{VERSION}/infer", self.infer, methods=["POST"]),
            Route(JOB, self.job, methods=["GET", "DELETE"]),  # two routes would tell OPTIONS of the first one only
        )

    async def infer(self, request: Request) -> Response:
        """Answer 200, or 504 with the job's address when that takes too long, or 202 at once for who prefers it."""
        headers = dict(request.scope["headers"])  # looked at often; request.headers goes through all of them each time
        with self._intake.refusals_counted():
            body = await self._body(request, headers.get(b"content-encoding"))
            target, card = self._intake.draw(request.path_params["model"], request.path_params.get("version", ""))
            asked = read_request(body, headers.get(_JSON_LENGTH), card.signature, self._limits.max_json_depth)
            wish = Wish(asked.request.id or "", choices_of(asked.request))
            flowers = flowers_of(asked, self._limits.max_rows, card.signature)
            if b"prefer" in headers and _prefers_later(request.headers):
                return _accepted(await self._intake.submit(request, flowers, target), wish)
            envelope = await self._intake.answer_at_once(request, flowers, target)
            if envelope is None:
                job_id, envelope = await self._intake.ask(request, flowers, target, self._limits.sync_wait_seconds)
        if envelope is None:
            return _not_yet(request, wish.address(job_id))
        return self._answer(request, envelope, wish.choices, wish.id or request.scope["request_id"])

    async def job(self, request: Request) -> Response:
        """Answer a job as `infer` would have, in JSON; 202 while it has no answer. DELETE cancels it."""
        limits, job_id = self._limits, request.path_params["job_id"]
        if request.method == "DELETE":
            return await self._cancel(request, job_id)
        query = request.scope["query_string"]
        parameters = parameters_from_query(query, limits.max_query_bytes, ("wait", "id", "outputs"))
        wish = Wish.from_query(parameters)
        envelope = await self._intake.answer(request, job_id, seconds_from(parameters, limits.max_wait_seconds))
        if envelope is None:
            return json_response(NOT_READY, 202)
        return self._answer(request, envelope, wish.choices, wish.id or job_id)

    async def _cancel(self, request: Request, job_id: str) -> Response:
        await self._intake.cancel(request, job_id)
        return json_response(CANCELLED)

    async def _body(self, request: Request, encoding: bytes | None) -> bytes:
        """Read a body whatever its content type: tritonclient names none, and curl one of its own."""
        most = self._limits.max_body_bytes
        body = await read_body(request, most)
        return body if encoding is None else inflated(body, encoding.decode("latin-1").strip().lower(), most)

    def _answer(self, request: Request, envelope: Envelope, choices: Sequence[Choice], id_: str) -> Response:
        if isinstance(envelope, Failed):
            return problem(request.scope["request_id"], FAILURES[envelope.code], envelope.code, envelope.error)
        classes = self._cards.classes(Target(envelope.model, envelope.version), len(envelope.rows[0]))
        body, json_length = render(envelope, classes, choices, id_)
        if json_length is None:
            return Response(body, media_type="application/json")
        return Response(body, headers={JSON_LENGTH_HEADER: str(json_length)}, media_type="application/octet-stream")


def _prefers_later(headers: Headers) -> bool:
    preferences = ",".join(headers.getlist("prefer")).split(",")
    return any(preference.partition(";")[0].strip().lower() == "respond-async" for preference in preferences)


def _accepted(job_id: str, wish: Wish) -> Response:
    headers = {"Location": wish.address(job_id), "Preference-Applied": "respond-async"}
    return json_response(Accepted(job_id), 202, headers)


def _not_yet(request: Request, address: str) -> Response:
    status, code = NOT_YET
    error = f"the job is accepted and goes on, but is not answered yet: its answer will be at {address}"
    return problem(request.scope["request_id"], status, code, error, headers={"Location": address})
