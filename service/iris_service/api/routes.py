"""The article's pages: each reads its request, calls one thing and renders the answer."""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from iris_service.api.answers import (
    CANCELLED,
    NOT_READY,
    READY,
    Accepted,
    FailedJob,
    json_response,
    result_body,
    server_timing,
)
from iris_service.api.cards import Cards
from iris_service.api.csv_bodies import result_csv
from iris_service.api.inputs import flower_from_query, read_body, wait_from_query
from iris_service.api.intake import Intake
from iris_service.api.negotiation import prefers_csv, reader_of
from iris_service.config import ApiSettings
from iris_service.errors import IrisError
from iris_service.jobs.keys import Target
from iris_service.schemas import Envelope, Failed

PREFIX = "/iris/api/v1.0"


class Predictions:
    """Submit, status, result and cancel, for the versions that the route of the default model names."""

    def __init__(self, intake: Intake, cards: Cards, limits: ApiSettings) -> None:
        self._intake = intake
        self._cards = cards
        self._limits = limits

    @property
    def routes(self) -> Sequence[BaseRoute]:
        getpred = Route(f"{PREFIX}/getpred", self.getpred)
        getpred.methods = {"GET", "POST"}  # without the HEAD that Starlette adds: it must not create a job
        return (
            getpred,
            Route(f"{PREFIX}/status/{{job_id}}", self.status),
            Route(f"{PREFIX}/result/{{job_id}}", self.result),
            Route(f"{PREFIX}/jobs/{{job_id}}", self.cancel, methods=["DELETE"]),
        )

    async def getpred(self, request: Request) -> Response:
        """Submit: GET a flower in the query (200), POST flowers as JSON or CSV (202, or with ?wait= the result)."""
        with self._intake.refusals_counted():
            return await (self._submit_body(request) if request.method == "POST" else self._submit_query(request))

    async def _submit_query(self, request: Request) -> Response:
        target, card = self._intake.draw()
        flowers = flower_from_query(request.scope["query_string"], self._limits.max_query_bytes, card.signature)
        return json_response(Accepted(await self._intake.submit(request, flowers, target)))

    async def _submit_body(self, request: Request) -> Response:
        limits = self._limits
        wait_seconds = wait_from_query(request.scope["query_string"], limits.max_query_bytes, limits.max_wait_seconds)
        read = reader_of(request.headers)
        body = await read_body(request, limits.max_body_bytes)
        target, card = self._intake.draw()
        flowers = read(body, limits, card.signature)
        envelope = None
        if wait_seconds:
            job_id, envelope = await self._intake.ask(request, flowers, target, wait_seconds)
        else:
            job_id = await self._intake.submit(request, flowers, target)
        if envelope is not None:
            return self._answer(request, envelope)
        return json_response(Accepted(job_id), 202, {"Location": f"{PREFIX}/result/{job_id}"})

    async def status(self, request: Request) -> Response:
        envelope = await self._fetch(request)
        if envelope is None:
            return json_response(NOT_READY, 202)
        return _failure(request, envelope) if isinstance(envelope, Failed) else json_response(READY)

    async def result(self, request: Request) -> Response:
        envelope = await self._fetch(request)
        return json_response(NOT_READY, 202) if envelope is None else self._answer(request, envelope)

    def _answer(self, request: Request, envelope: Envelope) -> Response:
        if isinstance(envelope, Failed):
            return _failure(request, envelope)
        width = len(envelope.rows[0]) if envelope.rows else 0
        classes = self._cards.classes(Target(envelope.model, envelope.version), width)
        times = {"Server-Timing": server_timing(envelope)}
        if prefers_csv(request.headers):
            return Response(result_csv(envelope, classes), headers=times, media_type="text/csv")
        return json_response(result_body(envelope, classes), headers=times)

    async def cancel(self, request: Request) -> Response:
        await self._intake.cancel(request, request.path_params["job_id"])
        return json_response(CANCELLED)

    async def _fetch(self, request: Request) -> Envelope | None:
        limits = self._limits
        seconds = wait_from_query(request.scope["query_string"], limits.max_query_bytes, limits.max_wait_seconds)
        return await self._intake.answer(request, request.path_params["job_id"], seconds)


def _failure(request: Request, envelope: Failed) -> Response:
    request_id = request.scope["request_id"]
    failed = FailedJob(code=IrisError.code, error=envelope.error, request_id=request_id, reason=envelope.code)
    return json_response(failed, 500)
