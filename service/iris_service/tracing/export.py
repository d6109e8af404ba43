"""The only door to OpenTelemetry: makes spans and sends them over OTLP/HTTP, from a thread of its own.

Everything about where and how they are sent is in OpenTelemetry's own variables (OTEL_*), which its SDK reads itself.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from types import TracebackType

from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits, TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.trace import (
    Link,
    NonRecordingSpan,
    Span,
    SpanContext,
    SpanKind,
    StatusCode,
    TraceFlags,
    Tracer,
    TraceState,
    set_span_in_context,
)

from iris_service.tracing.context import TraceContext
from iris_service.tracing.spans import AnsweredJob

CLOSE_SECONDS = 2.0
"""How long the last spans may take; a collector that is away must not hold up the end of a process."""
MOST_LINKS = 2048
"""The largest IRIS_BATCH_SIZE: a batch names all its jobs, and OpenTelemetry would stop at 128."""


class ExportedSpans:
    """Makes spans and hands them to the thread that sends them; what does not fit into its queue is dropped."""

    def __init__(self, component: str) -> None:
        release = version("iris-serving")
        self._provider = TracerProvider(
            resource=_resource(component, release),
            shutdown_on_exit=False,  # it would wait 30 s for a collector that is away
            span_limits=SpanLimits(max_links=MOST_LINKS),
        )
        self._provider.add_span_processor(BatchSpanProcessor(OTLPSpanExporter()))
        self._tracer = self._provider.get_tracer("iris_service", release)

    def request(self, caller: TraceContext | None, method: str, path: str, scheme: str) -> _Request:
        return _Request(self._tracer, caller, method, path, scheme)

    def batch(self, queue: str, jobs: Sequence[AnsweredJob], published_at: float) -> list[TraceContext | None]:
        """One span for the wait and one for the work of each job, in its own trace, and one for the call of the model.

        That one hangs below the first job of the batch that is sampled, and is linked with all of them.
        """
        spans = [self._job(queue, job) if job.sent else None for job in jobs]
        recorded = [(job, span) for job, span in zip(jobs, spans, strict=True) if span and span.is_recording()]
        if recorded:
            self._predict(queue, recorded, len(jobs))
        for _, span in recorded:
            span.end(_nanoseconds(published_at))
        return [_seen(span) if span else None for span in spans]

    def close(self) -> None:
        last = threading.Thread(target=self._provider.shutdown, name="last-spans", daemon=True)
        last.start()
        last.join(CLOSE_SECONDS)

    def _job(self, queue: str, job: AnsweredJob) -> Span:
        within = _remote(job.sent)
        began = _nanoseconds(job.began_at)
        message = {**_messaging(queue, "process"), "messaging.message.id": job.job_id}
        span = self._tracer.start_span(f"process {queue}", within, SpanKind.CONSUMER, message, start_time=began)
        if not span.is_recording():
            return span
        accepted = min(_nanoseconds(job.accepted_at), began)  # two machines' clocks may disagree
        self._tracer.start_span(f"wait {queue}", within, attributes=message, start_time=accepted).end(began)
        span.set_attribute("iris.attempt", job.attempt)
        if job.error:
            span.set_attribute("error.type", job.error)
            span.set_status(StatusCode.ERROR)
        return span

    def _predict(self, queue: str, recorded: Sequence[tuple[AnsweredJob, Span]], jobs: int) -> None:
        span = self._tracer.start_span(
            f"predict {queue}",
            set_span_in_context(recorded[0][1]),
            attributes={**_messaging(queue, "process"), "messaging.batch.message_count": jobs},
            links=[Link(of_job.get_span_context(), {"messaging.message.id": job.job_id}) for job, of_job in recorded],
            start_time=_nanoseconds(min(job.began_at for job, _ in recorded)),
        )
        for _, of_job in recorded:
            of_job.add_link(span.get_span_context())
        span.end(_nanoseconds(max(job.ended_at for job, _ in recorded)))


class _Request:
    """The span of an HTTP request. Its query holds feature values and is no attribute."""

    def __init__(self, tracer: Tracer, caller: TraceContext | None, method: str, path: str, scheme: str) -> None:
        self._tracer = tracer
        self._method = method
        known = method != "OTHER"
        self._span = tracer.start_span(
            method if known else "HTTP",
            _remote(caller),
            SpanKind.SERVER,
            {"http.request.method": method if known else "_OTHER", "url.path": path, "url.scheme": scheme},
        )
        self.context = _seen(self._span)

    def sending(self, queue: str) -> _Sending:
        return _Sending(self._tracer, self._span, queue)

    def predicted(self, queue: str, began_at: float, ended_at: float, error: str) -> None:
        if not self._span.is_recording():
            return
        within, began = set_span_in_context(self._span), _nanoseconds(began_at)
        span = self._tracer.start_span(f"predict {queue}", within, attributes={"iris.inline": True}, start_time=began)
        if error:
            span.set_attribute("error.type", error)
            span.set_status(StatusCode.ERROR)
        span.end(_nanoseconds(ended_at))

    def end(self, route: str, status: int) -> None:
        span = self._span
        if route:
            span.update_name(f"{self._method} {route}")
            span.set_attribute("http.route", route)
        if status:
            span.set_attribute("http.response.status_code", status)
        if status >= 500:
            span.set_attribute("error.type", str(status))
            span.set_status(StatusCode.ERROR)
        span.end()


class _Sending:
    """The span of a job's way to the queue."""

    def __init__(self, tracer: Tracer, within: Span, queue: str) -> None:
        self._span = tracer.start_span(
            f"send {queue}", set_span_in_context(within), SpanKind.PRODUCER, _messaging(queue, "send")
        )
        self.context = _seen(self._span)

    def accepted(self, job_id: str) -> None:
        self._span.set_attribute("messaging.message.id", job_id)

    def __enter__(self) -> _Sending:
        return self

    def __exit__(self, _type: type[BaseException] | None, exc: BaseException | None, _tb: TracebackType | None) -> None:
        if exc is not None:
            self._span.set_attribute("error.type", getattr(exc, "code", type(exc).__name__))
            self._span.set_status(StatusCode.ERROR)
        self._span.end()


def _messaging(queue: str, operation: str) -> Mapping[str, str]:
    return {
        "messaging.system": "rq",
        "messaging.destination.name": queue,
        "messaging.operation.name": operation,
        "messaging.operation.type": operation,
    }


def _resource(component: str, release: str) -> Resource:
    """Who sends: OTEL_SERVICE_NAME and OTEL_RESOURCE_ATTRIBUTES, and where they say nothing iris-api or iris-worker."""
    resource = Resource.create({"service.version": release})
    if str(resource.attributes["service.name"]).startswith("unknown_service"):
        resource = resource.merge(Resource({"service.name": f"iris-{component}"}))
    return resource


def _remote(context: TraceContext | None) -> Context:
    if context is None:
        return Context()
    span = SpanContext(
        int(context.trace_id, 16),
        int(context.span_id, 16),
        is_remote=True,
        trace_flags=TraceFlags(context.flags),
        trace_state=TraceState.from_header([context.state]) if context.state else None,
    )
    return set_span_in_context(NonRecordingSpan(span), Context())


def _seen(span: Span) -> TraceContext:
    context = span.get_span_context()
    return TraceContext(
        f"{context.trace_id:032x}", f"{context.span_id:016x}", context.trace_flags, context.trace_state.to_header()
    )


def _nanoseconds(unix_seconds: float) -> int:
    return int(unix_seconds * 1e9)
