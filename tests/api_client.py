"""The API without a socket, over a queue in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient

from cards import card_of
from iris_service.api.app import create_app
from iris_service.api.cards import Cards
from iris_service.config import Settings
from iris_service.errors import ModelRejected
from iris_service.model.card import Card
from iris_service.telemetry import ApiMetrics
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


@contextmanager
def api_client(
    queue: MemoryQueue, card: Card | ModelRejected | None = None, settings: Settings | None = None
) -> Iterator[TestClient]:
    metrics = ApiMetrics(CollectorRegistry())
    cards = Cards(queue, OneCard(card or card_of()))  # type: ignore[arg-type]
    app = create_app(queue, cards, settings or Settings(), metrics)  # type: ignore[arg-type]
    with TestClient(app) as client:
        yield client
