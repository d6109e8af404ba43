"""`python -m iris_service.worker`: load the model and let it prove itself, then answer jobs until SIGTERM."""

from __future__ import annotations

import os
import sys
import time
from functools import partial

import structlog
from prometheus_client import generate_latest

from iris_service.config import Settings
from iris_service.entry import OnReady, run, tell_nobody
from iris_service.errors import ModelRejected
from iris_service.metrics_server import Heartbeat, start_metrics_server
from iris_service.telemetry.answers import WorkerMetrics
from iris_service.telemetry.logs import configure_logging
from iris_service.telemetry.registry import new_registry
from iris_service.tracing.opening import open_spans

STUCK_GRACE_SECONDS = 15.0
"""A worker is silent during a prediction, for which it has its job's time limit, and says something every 2 s else."""

_log = structlog.get_logger(__name__)


def serve(settings: Settings, on_ready: OnReady = tell_nobody) -> int:
    """Answer jobs until SIGTERM or SIGINT and return the exit code: 0, or `os.EX_DATAERR` when the model is rejected.

    `on_ready` is called at each turn of its loop: from the first on, it takes jobs. Raises `SettingsError` when the
    metrics port is taken.
    """
    # imported here: they take most of a second, and a wrong setting should be said before that
    from iris_service.jobs.serving import report_rejection, run_worker
    from iris_service.model.card import card_to_json
    from iris_service.model.drift import Drift
    from iris_service.model.runtime import load_model

    configure_logging(settings.log, "worker")
    started_at = time.monotonic()
    try:
        model = load_model(settings.model)
    except ModelRejected as exc:
        _log.error("model rejected", code=exc.code, reason=str(exc))
        report_rejection(settings, str(exc))
        return os.EX_DATAERR
    seconds = round(time.monotonic() - started_at, 3)
    _log.info("model ready", model=model.name, version=model.version, digest=model.digest, seconds=seconds)
    metrics = WorkerMetrics(new_registry("worker"), model=model.name, version=model.version, digest=model.digest)
    drift = Drift(model.card, settings.drift)
    metrics.show_drift(drift.figures)
    heart = Heartbeat(settings.jobs.timeout_seconds + STUCK_GRACE_SECONDS)
    if settings.metrics.port is not None:
        start_metrics_server(settings.metrics, partial(generate_latest, metrics.registry), heart.alive)

    def on_progress() -> None:
        heart.beat()
        on_ready()

    return run_worker(
        settings,
        model,
        metrics,
        on_progress,
        card_to_json(model.card.served_as(settings.model.artifact_format)),
        drift.observe,
        open_spans(settings.tracing, "worker"),
    )


if __name__ == "__main__":
    sys.exit(run(serve))
