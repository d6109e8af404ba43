"""What API and worker say about a request and its job while it is under way. By itself makes no span: what a caller
sent is passed on and named in logs. Knows no OpenTelemetry; `export` does, and is imported only if it is to be used.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from types import TracebackType
from typing import Protocol

from iris_service.tracing.context import TraceContext


class Sending(AbstractContextManager["Sending"], Protocol):
    """A job on its way to the queue; an exception inside is what came of it."""

    @property
    def context(self) -> TraceContext | None:
        """What the job carries to the worker."""

    def accepted(self, job_id: str) -> None: ...


class RequestSpan(Protocol):
    """One HTTP request; call `end` once."""

    @property
    def context(self) -> TraceContext | None:
        """What log lines name; None when the request belongs to no trace."""

    def sending(self, queue: str) -> Sending: ...

    def predicted(self, queue: str, began_at: float, ended_at: float, error: str) -> None:
        """Tell of a prediction that was answered without a job; times are Unix seconds, no error is empty."""

    def end(self, route: str, status: int) -> None:
        """`status` 0: the caller was gone before it got one."""


@dataclass(frozen=True)
class AnsweredJob:
    """One job that a worker is done with; times are Unix seconds."""

    job_id: str
    sent: TraceContext | None
    accepted_at: float
    began_at: float
    ended_at: float
    """When its model had answered, or had not."""
    attempt: int
    error: str
    """The code of its failure; empty when it was answered."""


class Spans(Protocol):
    """Where a process tells of its work."""

    def request(self, caller: TraceContext | None, method: str, path: str, scheme: str) -> RequestSpan: ...

    def batch(self, queue: str, jobs: Sequence[AnsweredJob], published_at: float) -> list[TraceContext | None]:
        """Tell of a batch once its answers are published; returns what log lines name, in the order of the jobs."""

    def close(self) -> None:
        """Send what is left, for a moment at the most."""


class Passing:
    """A request that is in the span of its caller, or in none; and its job, too."""

    def __init__(self, context: TraceContext | None) -> None:
        self.context = context

    def sending(self, _queue: str) -> Passing:
        return self

    def accepted(self, _job_id: str) -> None:
        pass

    def predicted(self, _queue: str, _began_at: float, _ended_at: float, _error: str) -> None:
        pass

    def end(self, _route: str, _status: int) -> None:
        pass

    def __enter__(self) -> Passing:
        return self

    def __exit__(
        self, _type: type[BaseException] | None, _exc: BaseException | None, _tb: TracebackType | None
    ) -> None:
        pass


class NoSpans:
    """Makes none."""

    def request(self, caller: TraceContext | None, _method: str, _path: str, _scheme: str) -> RequestSpan:
        return Passing(caller)

    def batch(self, _queue: str, jobs: Sequence[AnsweredJob], _published_at: float) -> list[TraceContext | None]:
        return [job.sent for job in jobs]

    def close(self) -> None:
        pass
