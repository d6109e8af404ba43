"""The pages of the V2 protocol that tell: which models there are, what they take, whether they are ready."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NoReturn

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from iris_service.api.answers import json_response
from iris_service.api.cards import Cards
from iris_service.api.inputs import read_body
from iris_service.api.v2.inference import MODEL, VERSION
from iris_service.api.v2.metadata import index_entry, model_config, model_metadata, statistics
from iris_service.api.v2.shapes import IndexRequest, Live, ModelReady, Models, Ready, ServerMetadata, Statistics
from iris_service.config import ApiSettings
from iris_service.errors import InvalidTensors, NotLoadedHere
from iris_service.jobs.job_queue import JobQueue
from iris_service.jobs.keys import Target
from iris_service.model.card import Card
from iris_service.schemas import parse_json, shown

NAME = "iris"
EXTENSIONS = ("binary_tensor_data", "model_repository", "model_configuration", "statistics")
REPOSITORY = "/v2/repository"


class Catalogue:
    """Server and model metadata, health, the repository index and the counts."""

    def __init__(self, queue: JobQueue, cards: Cards, limits: ApiSettings, version: str) -> None:
        """`version` is that of this service."""
        self._queue = queue
        self._cards = cards
        self._limits = limits
        self._version = version

    @property
    def routes(self) -> Sequence[BaseRoute]:
        pages = ((self.metadata, ""), (self.model_ready, "/ready"), (self.config, "/config"), (self.stats, "/stats"))
        return (
            Route("/v2", self.server),
            Route("/v2/health/live", self.live),
            Route("/v2/health/ready", self.ready),
            Route("/v2/models", self.models),
            Route("/v2/models/stats", self.all_stats),  # Triton's page, so no model should be called stats
            *(Route(path + end, page) for page, end in pages for path in (MODEL, VERSION)),
            Route(f"{REPOSITORY}/index", self.index, methods=["POST"]),
            *(
                Route(f"{REPOSITORY}/models/{{model}}/{verb}", self.load, methods=["POST"])
                for verb in ("load", "unload")
            ),
        )

    async def server(self, _request: Request) -> Response:
        return json_response(ServerMetadata(NAME, self._version, EXTENSIONS))

    async def live(self, _request: Request) -> Response:
        return json_response(Live())

    async def ready(self, _request: Request) -> Response:
        """Ready: Redis answers, and the card of every version of every model is known."""
        await self._check_ready(self._queue.observe().targets)
        return json_response(Ready())

    async def models(self, _request: Request) -> Response:
        return json_response(Models(sorted(self._queue.observe().routes)))

    async def model_ready(self, request: Request) -> Response:
        targets = self._targets(request)
        await self._check_ready(targets)
        return json_response(ModelReady(targets[0].model))

    async def metadata(self, request: Request) -> Response:
        card = self._card(request)
        versions = [target.version for target in self._queue.observe().route(card.model).targets]
        return json_response(model_metadata(card, versions))

    async def config(self, request: Request) -> Response:
        return json_response(model_config(self._card(request), self._limits.max_rows))

    async def stats(self, request: Request) -> Response:
        return self._counts(self._targets(request))

    async def all_stats(self, _request: Request) -> Response:
        return self._counts(self._queue.observe().targets)

    async def index(self, request: Request) -> Response:
        """List every version of every model; an empty body asks for all."""
        body = await read_body(request, self._limits.max_body_bytes)
        try:
            wanted = msgspec.convert(parse_json(body or b"{}", self._limits.max_json_depth), IndexRequest)
        except msgspec.ValidationError as exc:
            raise InvalidTensors(f"this does not ask for the index: {shown(str(exc), 200)}") from exc
        entries = [index_entry(target, self._cards.trouble(target)) for target in self._queue.observe().targets]
        return json_response([entry for entry in entries if entry.state == "READY" or not wanted.ready])

    async def load(self, _request: Request) -> NoReturn:
        raise NotLoadedHere("models are not loaded by request here: start a worker for one, or apply an IrisModel")

    async def _check_ready(self, targets: Sequence[Target]) -> None:
        """Raise `QueueUnavailable` or `ModelNotReady` when jobs of these versions cannot be taken."""
        await self._queue.ping()
        for target in targets:
            self._cards.of(target)

    def _targets(self, request: Request) -> Sequence[Target]:
        """Return the version that the page is about, or all that take jobs; raises `UnknownModel`."""
        seen, model, version = self._queue.observe(), request.path_params["model"], request.path_params.get("version")
        return (seen.target(model, version),) if version else seen.route(model).targets

    def _card(self, request: Request) -> Card:
        """Return the card of the version that the page is about, or of the one that takes most jobs."""
        targets = self._targets(request)
        if len(targets) == 1:
            return self._cards.of(targets[0])
        shares = self._queue.observe().route(targets[0].model).shares
        return self._cards.of(max(shares, key=lambda share: share[1])[0])

    def _counts(self, targets: Sequence[Target]) -> Response:
        seen = self._queue.observe()
        return json_response(Statistics([statistics(target, seen.queue(target)) for target in targets]))
