"""What machines ask: is it alive, can it serve, how much did it do."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from iris_service.api.answers import json_response
from iris_service.api.problems import problem
from iris_service.errors import ModelRejected, QueueUnavailable
from iris_service.jobs.job_queue import JobQueue
from iris_service.jobs.keys import Target
from iris_service.jobs.pressure import QueueReading
from iris_service.model.card import Card
from iris_service.telemetry import ApiMetrics


class Probes:
    """Health, readiness and metrics of this process."""

    def __init__(self, queue: JobQueue, card: Card | ModelRejected, target: Target, metrics: ApiMetrics) -> None:
        self._queue = queue
        self._card = card
        self._target = target
        self._metrics = metrics

    @property
    def routes(self) -> Sequence[BaseRoute]:
        return (Route("/healthz", self.healthz), Route("/readyz", self.readyz), Route("/metrics", self.metrics))

    async def healthz(self, _request: Request) -> Response:
        return json_response({"status": "ok"})

    async def readyz(self, request: Request) -> Response:
        reasons = [f"model: {self._card}"] if isinstance(self._card, ModelRejected) else []
        try:
            await self._queue.ping()
        except QueueUnavailable as exc:
            reasons.append(f"redis: {exc}")
        if not reasons:
            return json_response({"ready": True, "model": self._target.model, "version": self._target.version})
        request_id = request.scope["request_id"]
        error = "predictions cannot be accepted; reasons lists why"
        return problem(request_id, 503, "SERVICE_NOT_READY", error, ready=False, reasons=reasons)

    async def metrics(self, _request: Request) -> Response:
        show_reading(self._metrics, self._queue.observe(), self._target)
        return Response(generate_latest(self._metrics.registry), media_type=CONTENT_TYPE_LATEST)


def show_reading(metrics: ApiMetrics, reading: QueueReading, target: Target) -> None:
    """Set the gauges to the last reading of the queue."""
    metrics.redis_up.set(reading.redis_up)
    metrics.waiters.set(reading.waiters)
    metrics.waiting.labels(*target).set(reading.waiting)
    metrics.running.labels(*target).set(reading.running)
    for outcome, jobs in reading.outcomes.items():
        metrics.outcomes.labels(*target, outcome).set(jobs)
