"""What machines ask: is it alive, can it serve, how much did it do."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from iris_service.api.answers import Problem, json_response
from iris_service.api.cards import Cards
from iris_service.api.draining import Draining
from iris_service.errors import QueueUnavailable
from iris_service.jobs.job_queue import JobQueue
from iris_service.jobs.keys import Target
from iris_service.jobs.watch import Observation
from iris_service.telemetry.api import ApiMetrics

NOT_SERVING = (503, "SERVICE_NOT_READY", "predictions cannot be accepted; reasons lists why")


class Alive(msgspec.Struct, frozen=True):
    """The process can answer."""

    status: Literal["ok"] = "ok"


class Serving(msgspec.Struct, frozen=True, kw_only=True):
    """Predictions are accepted; of the versions that take new jobs this is the first."""

    ready: Annotated[bool, Meta(extra_json_schema={"const": True})] = True
    model: str
    version: str


class NotServing(Problem, frozen=True, kw_only=True):
    """Predictions are not accepted, and why."""

    ready: Annotated[bool, Meta(extra_json_schema={"const": False})] = False
    reasons: list[str]


class MetricsPage:
    """The text of /metrics. Any thread may ask for it, one at a time: it first sets the gauges."""

    def __init__(self, queue: JobQueue, metrics: ApiMetrics) -> None:
        self._queue = queue
        self._metrics = metrics
        self._lock = threading.Lock()

    def __call__(self) -> bytes:
        with self._lock:
            show(self._metrics, self._queue.observe())
            return generate_latest(self._metrics.registry)


class Probes:
    """Health and readiness of this process; its metrics too, where they have no port of their own (`page`)."""

    def __init__(self, queue: JobQueue, cards: Cards, model: str, draining: Draining, page: MetricsPage | None) -> None:
        self._queue = queue
        self._cards = cards
        self._model = model
        self._draining = draining
        self._page = page

    @property
    def routes(self) -> Sequence[BaseRoute]:
        probes = [Route("/healthz", self.healthz), Route("/readyz", self.readyz)]
        return [*probes, Route("/metrics", self.metrics)] if self._page else probes

    async def healthz(self, _request: Request) -> Response:
        return json_response(Alive())

    async def readyz(self, request: Request) -> Response:
        """Ready: not stopping, routes read, Redis there, every version of the default model that takes new jobs known.

        Another model that is not ready says so itself; it does not take this one down.
        """
        targets = self._queue.observe().route(self._model).targets
        reasons = await self._reasons(targets)
        if not reasons:
            return json_response(Serving(model=targets[0].model, version=targets[0].version))
        status, code, error = NOT_SERVING
        request_id = request.scope["request_id"]
        return json_response(NotServing(code=code, error=error, request_id=request_id, reasons=reasons), status)

    async def _reasons(self, targets: Sequence[Target]) -> list[str]:
        if self._draining.begun:
            return ["stopping: this process was asked to stop and serves only a little longer"]
        troubles = [self._cards.trouble(target) for target in targets]
        reasons = [f"model: {trouble}" for trouble in troubles if trouble]
        try:
            await self._queue.ping()
        except QueueUnavailable as exc:
            return [*reasons, f"redis: {exc}"]
        # until then jobs would go where the settings say, whatever the operator has decided
        if not self._queue.observe().redis_up:
            reasons.append("redis: the routes have not been read yet")
        return reasons

    async def metrics(self, _request: Request) -> Response:
        assert self._page is not None
        return Response(self._page(), media_type=CONTENT_TYPE_LATEST)


def show(metrics: ApiMetrics, seen: Observation) -> None:
    """Set the gauges to the last look at the queues.

    Versions that left the route leave the page, and so does what is on the queues while Redis cannot be read: an old
    figure would look like a quiet night.
    """
    metrics.redis_up.set(seen.redis_up)
    metrics.waiters.set(seen.waiters)
    metrics.redis_used.set(seen.server.used_bytes)
    metrics.redis_max.set(seen.server.max_bytes)
    metrics.redis_persisting.set(seen.server.is_persisting)
    metrics.redis_evicts.set(seen.server.may_evict)
    for gauge in (metrics.waiting, metrics.running, metrics.oldest, metrics.share):
        gauge.clear()
    for route in seen.routes.values():
        for target, share in route.shares:
            metrics.share.labels(*target).set(share)
    queues = seen.queues if seen.redis_up else {}
    for target, reading in queues.items():
        metrics.waiting.labels(*target).set(reading.waiting)
        metrics.running.labels(*target).set(reading.running)
        metrics.oldest.labels(*target).set(reading.oldest_seconds)
    metrics.busy_seconds.show({target: reading.busy_seconds for target, reading in queues.items()})
    metrics.outcomes.show(
        {(*target, outcome): jobs for target, reading in queues.items() for outcome, jobs in reading.outcomes.items()}
    )
