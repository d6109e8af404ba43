"""The API over a queue in memory; a module that wants another queue has a `queue` of its own."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from starlette.testclient import TestClient

from api_client import api_client
from memory_queue import MemoryQueue


@pytest.fixture
def queue() -> MemoryQueue:
    return MemoryQueue()


@pytest.fixture
def client(queue: MemoryQueue) -> Iterator[TestClient]:
    with api_client(queue) as client:
        yield client
