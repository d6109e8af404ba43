"""Loads a version for the API, or says why its requests go on taking the queue.

It must be what the workers serve, to the byte, and so quick that it holds up nobody. Runs in a thread.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import Any

from iris_service.errors import ModelRejected
from iris_service.model.card import Card, Format
from iris_service.model.runtime import Model, load_artifact
from iris_service.model.store import ModelRepository
from iris_service.schemas import Row

FORMAT: Format = "onnx"
"""Loading it runs nobody's code, and a row takes microseconds."""
MOST_HOLD_SECONDS = 0.01
"""The event loop serves nobody else while the model works: as long as that is too long."""


def load_as_served(repository: ModelRepository, published: Card, rows: int) -> Model:
    """Load and prove the version whose workers have published this card; `rows` are the most of one call.

    Raises `ModelRejected` when it is not here, is another artifact than theirs, or is slow.
    """
    own = repository.card(published.model, published.version)
    if own.served_as(FORMAT) != published:
        raise ModelRejected("the repository of this API has another card or artifact than the workers")
    model = load_artifact(repository, own, FORMAT, allow_pickle=False)
    seconds = held_seconds(model.predict, own.golden_rows, rows)
    if seconds > MOST_HOLD_SECONDS:
        raise ModelRejected(f"{rows} rows take {seconds * 1e3:.1f} ms; {MOST_HOLD_SECONDS * 1e3:g} ms are allowed")
    return model


def held_seconds(predict: Callable[[Sequence[Row]], Any], golden: Sequence[Row], rows: int) -> float:
    """Return how long so many rows take: the best of three, for other work on this machine is not the model's fault."""
    request = [golden[number % len(golden)] for number in range(rows)]
    best = float("inf")
    for _ in range(3):
        began = time.perf_counter()
        predict(request)
        best = min(best, time.perf_counter() - began)
    return best
