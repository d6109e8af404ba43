"""Puts the application together: routes, middleware and error handlers are data; only the lifespan does anything."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from importlib.metadata import version
from typing import TYPE_CHECKING

import structlog
from starlette.applications import Starlette
from starlette.middleware import Middleware

from iris_service.api.access import Access, check_of
from iris_service.api.cards import Cards
from iris_service.api.description import Descriptions
from iris_service.api.draining import Draining
from iris_service.api.inline.opening import open_inline
from iris_service.api.intake import Intake
from iris_service.api.middleware import RequestContext
from iris_service.api.openapi.reference import Reference
from iris_service.api.playground import Playground
from iris_service.api.probes import MetricsPage, Probes
from iris_service.api.problems import HANDLERS
from iris_service.api.quota import Quota
from iris_service.api.routes import Predictions
from iris_service.api.v2.catalogue import Catalogue
from iris_service.api.v2.inference import Inference
from iris_service.api.waiting import Waiting
from iris_service.config import Settings
from iris_service.jobs.job_queue import JobQueue
from iris_service.jobs.keys import Target
from iris_service.model.store import ModelRepository
from iris_service.telemetry.api import ApiMetrics
from iris_service.telemetry.registry import new_registry
from iris_service.tracing.opening import open_spans
from iris_service.tracing.spans import NoSpans, Spans

if TYPE_CHECKING:
    from iris_service.api.inline.inline import Inline

_log = structlog.get_logger(__name__)


def create_app(
    queue: JobQueue,
    cards: Cards,
    settings: Settings,
    metrics: ApiMetrics,
    spans: Spans | None = None,
    inline: Inline | None = None,
) -> Starlette:
    """Build the application around a queue and inline versions, which it starts and closes, and spans it closes.

    Without a usable card it serves all the same: /readyz gives the reason and predictions are answered 503.
    `app.state` has what the server needs: `draining` to begin, `waiting` requests to end when it stops, and the
    `metrics_page` for a port of its own, if the settings ask for one. Raises `SettingsError` when it cannot check who
    callers are as it should.
    """
    metrics.show_limits(settings.jobs)
    waiting, draining, metrics_page = Waiting(), Draining(), MetricsPage(queue, metrics)
    own_page = metrics_page if settings.metrics.port is None else None
    access, check = settings.access, check_of(settings.access)
    spans = spans or NoSpans()
    intake = Intake(queue, cards, metrics, waiting, inline)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Starlette) -> AsyncIterator[None]:
        await queue.start()
        if inline is not None:
            inline.start()
        try:
            yield
        finally:
            if inline is not None:
                await inline.close()
            await queue.close()
            if check is not None:
                await check.close()
            await asyncio.to_thread(spans.close)

    app = Starlette(
        routes=[
            # in this order they are looked at: first those that are asked for most
            *Inference(intake, cards, settings.api).routes,
            *Predictions(intake, cards, settings.api).routes,
            *Catalogue(queue, cards, settings.api, version("iris-serving")).routes,
            *Probes(queue, cards, settings.model.name, draining, own_page).routes,
            *Descriptions(queue, cards, settings.model.name).routes,
            *Reference(queue, cards, settings, version("iris-serving")).routes,
            *Playground().routes,
        ],
        middleware=[
            Middleware(RequestContext, metrics=metrics, draining=draining, spans=spans),
            Middleware(Access, check=check, quota=Quota(access.caller_rate, access.caller_in_flight), metrics=metrics),
        ],
        exception_handlers=HANDLERS,
        lifespan=lifespan,
    )
    app.state.waiting, app.state.draining, app.state.metrics_page = waiting, draining, metrics_page
    app.state.refused = metrics.refused
    return app


def build(settings: Settings) -> Starlette:
    """Build the application from settings alone; connects to nothing yet. Raises `SettingsError` as `create_app`."""
    registry = new_registry("api")
    target = Target(settings.model.name, settings.model.version)
    queue = JobQueue(settings.redis, settings.jobs, target)
    repository = ModelRepository(settings.model.repository)
    cards = Cards(queue, repository)
    inline = open_inline(queue, cards, repository, settings, registry) if settings.inline.is_on else None
    if trouble := cards.trouble(target):
        _log.error("model not ready", model=target.model, version=target.version, reason=trouble)
    return create_app(queue, cards, settings, ApiMetrics(registry), open_spans(settings.tracing, "api"), inline)
