"""Chooses whether this process exports spans. OpenTelemetry is imported only if it is to be used."""

from __future__ import annotations

import structlog

from iris_service.config import TracingSettings, without_password
from iris_service.tracing.spans import NoSpans, Spans

_log = structlog.get_logger(__name__)


def open_spans(settings: TracingSettings, component: str) -> Spans:
    """Export spans if the settings ask for it; where that cannot be done it is said, and the service runs without."""
    if not settings.endpoint:
        return NoSpans()
    if settings.protocol != "http/protobuf":
        return _without(f"OTEL_EXPORTER_OTLP_PROTOCOL: {settings.protocol!r} is not spoken here, only http/protobuf is")
    try:
        from iris_service.tracing.export import ExportedSpans

        spans = ExportedSpans(component)
    except ModuleNotFoundError as exc:
        return _without(f"{exc.name} is not installed: install iris-serving with the extra otel")
    except Exception as exc:  # one of OpenTelemetry's many variables is not as it should be
        return _without(f"{type(exc).__name__}: {exc}"[:200])
    _log.info("spans exported", endpoint=without_password(settings.endpoint))
    return spans


def _without(reason: str) -> Spans:
    _log.warning("spans not exported", reason=reason)
    return NoSpans()
