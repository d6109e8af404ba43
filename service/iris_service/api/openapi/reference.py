"""Serves the description of this API: `/openapi.json` for tools, `/docs` for people. Asks Redis for nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import NamedTuple

import msgspec
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from iris_service.api.cards import Cards
from iris_service.api.openapi.document import document_of
from iris_service.api.openapi.machines import DOCUMENT, READABLE
from iris_service.api.openapi.parts import JSON, Subject
from iris_service.api.openapi.readable.page import page_of
from iris_service.api.playground import File, send
from iris_service.config import Settings
from iris_service.jobs.job_queue import JobQueue
from iris_service.model.card import Card

_HERE = "http://address.invalid"
"""Stands in a page that is kept for where it will have been asked for."""
_ROOT = "root.invalid/"
"""Stands in it for what leads from the page to its neighbours."""
_HOST = re.compile(r"[A-Za-z0-9._:\[\]-]{1,255}")
_PREFIX = re.compile(r"(/[A-Za-z0-9._~-]+){0,16}/?")


class _Built(NamedTuple):
    """What describes one version of the model, by its card."""

    card: Card
    document: File
    page: str


class Reference:
    """The description of the default model's pages, made anew when another of its versions takes most jobs."""

    def __init__(self, queue: JobQueue, cards: Cards, settings: Settings, version: str) -> None:
        """`version` is that of this service."""
        self._queue = queue
        self._cards = cards
        self._settings = settings
        self._version = version
        self._built: _Built | None = None

    @property
    def routes(self) -> Sequence[BaseRoute]:
        return (Route(DOCUMENT, self.document), Route(READABLE, self.page))

    async def document(self, request: Request) -> Response:
        """Raises `ModelNotReady` when no version of the route has a card that can be used."""
        return send(request, self._current().document)

    async def page(self, request: Request) -> Response:
        """Raises as `document` does."""
        page = self._current().page.replace(_HERE, address_of(request.headers))
        # /docs/ answers as /docs does, only that its neighbours are a step up
        slashes = len(request.scope["raw_path"]) - len(request.scope["raw_path"].rstrip(b"/"))
        return send(request, File.of(page.replace(_ROOT, "../" * slashes).encode(), "text/html"))

    def _current(self) -> _Built:
        card = self._heaviest()
        if self._built is None or self._built.card is not card:  # each is read once
            self._built = self._build(card)
        return self._built

    def _heaviest(self) -> Card:
        """Return the card of the version that takes most jobs, of those whose card is at hand."""
        shares = self._queue.observe().route(self._settings.model.name).shares
        targets = [target for target, _ in sorted(shares, key=lambda share: -share[1])]
        target = next((target for target in targets if not self._cards.trouble(target)), targets[0])
        return self._cards.of(target)

    def _build(self, card: Card) -> _Built:
        settings = self._settings
        has_metrics = settings.metrics.port is None
        document = document_of(Subject(card, settings.api, settings.access, self._version, has_metrics))
        page = page_of(document, _HERE, _ROOT)
        return _Built(card, File.of(msgspec.json.encode(document), JSON), page)


def address_of(headers: Headers) -> str:
    """Return where a caller has found this API, as he or the proxy before us says; only ever shown to himself."""
    host = headers.get("host", "")
    prefix = headers.get("x-forwarded-prefix", "")
    return "".join(
        (
            "https://" if headers.get("x-forwarded-proto") == "https" else "http://",
            host if _HOST.fullmatch(host) else "127.0.0.1:8000",
            prefix.rstrip("/") if _PREFIX.fullmatch(prefix) else "",
        )
    )
