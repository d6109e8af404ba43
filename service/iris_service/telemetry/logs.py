"""How a log line looks, whoever writes it: ours, RQ's and uvicorn's alike. Call sites only bind and log."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, datetime
from typing import Any, TextIO, cast

import msgspec
import structlog

from iris_service.config import LogSettings

_CHATTY_LOGGERS = (
    "rq.worker",
    "rq.job",
    "rq.queue",
    "rq.scripts",
    "uvicorn",
    "uvicorn.error",
    "uvicorn.access",
)


def configure_logging(settings: LogSettings, component: str) -> None:
    """Send every line of this process, ours and the libraries', to stderr in one shape.

    JSON unless stderr is a terminal. Lines carry what `structlog.contextvars` holds (request id, job id).
    """
    console = settings.format == "console" or (settings.format == "auto" and sys.stderr.isatty())
    complete = _complete(component)
    renderers: list[Any] = (
        [
            structlog.dev.ConsoleRenderer(
                timestamp_key="time",
                sort_keys=False,
                exception_formatter=structlog.dev.plain_traceback,  # the pretty one prints locals: feature values
            )
        ]
        if console
        else [structlog.processors.format_exc_info, _render_json]
    )
    # our own lines skip the logging module and the usual chain of processors: a third of the cost,
    # and the API writes one a request
    structlog.configure(
        processors=[complete, *renderers],
        logger_factory=structlog.WriteLoggerFactory(cast(TextIO, _stderr)),
        wrapper_class=structlog.make_filtering_bound_logger(settings.level),
        cache_logger_on_first_use=True,
    )
    _adopt_foreign_lines(settings.level, [structlog.stdlib.add_logger_name, complete], renderers)


class _Stderr:
    """Whatever stderr is when a line is written: loggers live as long as the process, streams need not."""

    def __init__(self) -> None:
        self._held: list[str] | None = None

    def write(self, text: str) -> int:
        if self._held is None:
            return sys.stderr.write(text)
        self._held.append(text)
        return len(text)

    def flush(self) -> None:
        if self._held is None:
            sys.stderr.flush()

    @contextmanager
    def held(self) -> Iterator[None]:
        self._held = []
        try:
            yield
        finally:
            lines, self._held = self._held, None
            sys.stderr.write("".join(lines))


_stderr = _Stderr()


def lines_together() -> AbstractContextManager[None]:
    """Write the lines logged inside in one go: a worker that has answered a batch has one for each job."""
    return _stderr.held()


def _complete(component: str) -> Any:
    """Return the processor that adds what every line has: time, level, component and the bound context."""

    def complete(_logger: Any, level: str, event: dict[str, Any]) -> dict[str, Any]:
        return {
            "time": datetime.now(UTC).isoformat(),
            "level": "error" if level == "exception" else level,
            "event": event.pop("event", ""),
            "component": component,
            **structlog.contextvars.get_contextvars(),
            **event,
        }

    return complete


def _adopt_foreign_lines(level: str, shared: list[Any], renderers: list[Any]) -> None:
    handler = logging.StreamHandler(_stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderers],
            foreign_pre_chain=shared,
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level)
    for name in _CHATTY_LOGGERS:  # they bring handlers of their own, which would print each line twice
        logger = logging.getLogger(name)
        logger.handlers[:] = []
        logger.propagate = True


_log_encoder = msgspec.json.Encoder(enc_hook=repr)


def _render_json(_logger: Any, _method: str, event: dict[str, Any]) -> str:
    try:
        return _log_encoder.encode(event).decode()
    except UnicodeEncodeError:  # half a surrogate pair, from a file name or an argument
        return json.dumps(event, default=repr)
