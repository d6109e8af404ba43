"""The service less recovery: an API process, and a worker process that answers what it accepts."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from api_process import ApiProcess
from worker_process import WorkerProcess


@contextmanager
def answering_api(redis_url: str, **settings: str) -> Iterator[ApiProcess]:
    """Yield the API once its worker is ready; stop both in order."""
    api, worker = ApiProcess(redis_url, **settings), WorkerProcess(redis_url)
    try:
        yield api
    finally:
        assert (api.stop(), worker.stop()) == (0, 0)
