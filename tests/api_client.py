"""The API without a socket, over a queue in memory."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from prometheus_client import CollectorRegistry
from starlette.testclient import TestClient

from cards import card_of
from iris_service.api.app import create_app
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


@contextmanager
def api_client(
    queue: MemoryQueue, card: Card | ModelRejected | None = None, settings: Settings | None = None
) -> Iterator[TestClient]:
    metrics = ApiMetrics(CollectorRegistry())
    app = create_app(queue, card or card_of(), settings or Settings(), metrics)  # type: ignore[arg-type]
    with TestClient(app) as client:
        yield client
