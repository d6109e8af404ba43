"""The door to answering in the API process: brings the model libraries in only where that is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from prometheus_client import CollectorRegistry

from iris_service.api.cards import Cards
from iris_service.config import Settings
from iris_service.errors import SettingsError
from iris_service.jobs.job_queue import JobQueue
from iris_service.model.store import ModelRepository
from iris_service.telemetry.answers import InlineMetrics

if TYPE_CHECKING:
    from iris_service.api.inline.inline import Inline


def open_inline(
    queue: JobQueue, cards: Cards, repository: ModelRepository, settings: Settings, registry: CollectorRegistry
) -> Inline:
    """Return what answers inline, with nothing loaded yet; raises `SettingsError` without the libraries."""
    try:
        from iris_service.api.inline.inline import Inline
        from iris_service.model.onnx_format import import_onnxruntime

        import_onnxruntime()  # now, while nobody waits: it takes a third of a second
    except ModuleNotFoundError as exc:
        message = f"IRIS_SYNC=inline needs {exc.name}, which is not here: install iris-serving with the extra inline"
        raise SettingsError(message, field="IRIS_SYNC") from exc
    return Inline(queue, cards, repository, settings.inline, settings.drift, InlineMetrics(registry))
