"""The article's pages: each reads its request, calls one thing and renders the answer."""

from __future__ import annotations

import re
import time
from collections.abc import Sequence

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from iris_service.api.answers import NOT_READY, READY, json_response, result_body
from iris_service.api.cards import Cards
from iris_service.api.inputs import Flowers, flower_from_query, flowers_from_json, read_body, wait_from_query
from iris_service.api.problems import problem
from iris_service.api.waiting import Waiting
from iris_service.config import ApiSettings
from iris_service.errors import IrisError, JobNotFound
from iris_service.jobs.job_queue import JobQueue
from iris_service.jobs.keys import Target
from iris_service.schemas import Envelope, Failed, Payload
from iris_service.telemetry import ApiMetrics

PREFIX = "/iris/api/v1.0"

_JOB_ID = re.compile(r"[0-9a-f]{32}")


class Predictions:
    """Submit, status and result, for the versions that the route names."""

    def __init__(
        self,
        queue: JobQueue,
        cards: Cards,
        limits: ApiSettings,
        metrics: ApiMetrics,
        waiting: Waiting,
    ) -> None:
        self._queue = queue
        self._cards = cards
        self._limits = limits
        self._metrics = metrics
        self._waiting = waiting

    @property
    def routes(self) -> Sequence[BaseRoute]:
        getpred = Route(f"{PREFIX}/getpred", self.getpred)
        getpred.methods = {"GET", "POST"}  # without the HEAD that Starlette adds: it must not create a job
        return (
            getpred,
            Route(f"{PREFIX}/status/{{job_id}}", self.status),
            Route(f"{PREFIX}/result/{{job_id}}", self.result),
        )

    async def getpred(self, request: Request) -> Response:
        """Submit: GET a flower in the query (200), POST flowers as JSON (202)."""
        try:
            if request.method == "POST":
                return await self._submit_body(request)
            return await self._submit_query(request)
        except IrisError as exc:
            self._metrics.refused.labels(exc.code).inc()
            raise

    async def _submit_query(self, request: Request) -> Response:
        target = self._queue.pick()
        signature = self._cards.of(target).signature
        flowers = flower_from_query(request.scope["query_string"], self._limits.max_query_bytes, signature)
        return json_response({"job_id": await self._submit(request, flowers, target)})

    async def _submit_body(self, request: Request) -> Response:
        body = await read_body(request, self._limits.max_body_bytes)
        target = self._queue.pick()
        flowers = flowers_from_json(body, self._limits.max_rows, self._cards.of(target).signature)
        job_id = await self._submit(request, flowers, target)
        return json_response({"job_id": job_id}, 202, {"Location": f"{PREFIX}/result/{job_id}"})

    async def _submit(self, request: Request, flowers: Flowers, target: Target) -> str:
        payload = Payload(flowers.rows, flowers.many, request.scope["request_id"], time.time())
        job_id = await self._queue.submit(payload, target)
        request.scope["log"].update(job_id=job_id, model=target.model, version=target.version)
        self._metrics.accepted.labels(*target).inc()
        return job_id

    async def status(self, request: Request) -> Response:
        envelope = await self._fetch(request)
        if envelope is None:
            return json_response(NOT_READY, 202)
        return _failure(request, envelope) if isinstance(envelope, Failed) else json_response(READY)

    async def result(self, request: Request) -> Response:
        envelope = await self._fetch(request)
        if envelope is None:
            return json_response(NOT_READY, 202)
        if isinstance(envelope, Failed):
            return _failure(request, envelope)
        width = len(envelope.rows[0]) if envelope.rows else 0
        classes = self._cards.classes(Target(envelope.model, envelope.version), width)
        return json_response(result_body(envelope, classes))

    async def _fetch(self, request: Request) -> Envelope | None:
        job_id = request.path_params["job_id"]
        limits = self._limits
        seconds = wait_from_query(request.scope["query_string"], limits.max_query_bytes, limits.max_wait_seconds)
        if not _JOB_ID.fullmatch(job_id):
            raise JobNotFound("no such job, or its answer has expired")
        request.scope["log"]["job_id"] = job_id
        if seconds == 0 or self._waiting.stopped:
            return await self._queue.fetch(job_id)
        return await self._waiting.wait(self._queue.fetch(job_id, seconds), request.receive)


def _failure(request: Request, envelope: Failed) -> Response:
    request_id = request.scope["request_id"]
    return problem(request_id, 500, "INTERNAL_SERVER_ERROR", envelope.error, reason=envelope.code)
