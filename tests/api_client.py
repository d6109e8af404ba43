"""The API without a socket, over a queue in memory. Every answer is held against the OpenAPI document."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from functools import lru_cache
from typing import Any

from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient

from cards import card_of
from conformance import Conformance
from iris_service.api.app import create_app
from iris_service.api.cards import Cards
from iris_service.api.openapi.document import document_of
from iris_service.api.openapi.parts import Subject
from iris_service.config import Settings
from iris_service.errors import ModelRejected
from iris_service.model.card import Card, card_from_json, card_to_json
from iris_service.telemetry.api import ApiMetrics
from memory_queue import MemoryQueue

GETPRED = "/iris/api/v1.0/getpred"
STATUS = "/iris/api/v1.0/status"
RESULT = "/iris/api/v1.0/result"

FLOWER = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}
ROW = list(FLOWER.values())


class OneCard:
    """A repository with one version, or with none that can be used."""

    def __init__(self, card: Card | ModelRejected) -> None:
        self._card = card

    def card(self, _model: str, _version: str) -> Card:
        if isinstance(self._card, ModelRejected):
            raise self._card
        return self._card


class CheckedClient(TestClient):
    """Fails when an answer is not documented: status, code, headers, media type or shape."""

    conformance: Conformance

    def request(self, method: str, url: Any, **options: Any) -> Any:
        answer = super().request(method, url, **options)
        self.conformance.check(method, answer.request.url.path, answer)
        return answer


@lru_cache
def conformance(card: bytes, settings: Settings) -> Conformance:
    has_metrics = settings.metrics.port is None
    subject = Subject(card_from_json(card), settings.api, settings.access, "0", has_metrics)
    return Conformance(document_of(subject))


@contextmanager
def api_client(
    queue: MemoryQueue, card: Card | ModelRejected | None = None, settings: Settings | None = None
) -> Iterator[TestClient]:
    metrics = ApiMetrics(CollectorRegistry())
    cards = Cards(queue, OneCard(card or card_of()))  # type: ignore[arg-type]
    app = create_app(queue, cards, settings or Settings(), metrics)  # type: ignore[arg-type]
    with CheckedClient(app) as client:
        described = card_of() if card is None or isinstance(card, ModelRejected) else card
        client.conformance = conformance(card_to_json(described), settings or Settings())
        yield client
