"""Single spans, as a collector gets them from the real exporter."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable, Iterator

import pytest

from collector import Collector, SeenSpan, collecting
from iris_service.config import TracingSettings
from iris_service.errors import QueueFull
from iris_service.tracing import export
from iris_service.tracing.context import TraceContext
from iris_service.tracing.export import MOST_LINKS
from iris_service.tracing.opening import open_spans
from iris_service.tracing.spans import AnsweredJob, Spans

SENT = TraceContext("a" * 32, "b" * 16, 1)
NOW = 1_800_000_000.0
Told = Callable[[Callable[[Spans], object]], list[SeenSpan]]


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


@pytest.fixture
def told(collector: Collector, monkeypatch: pytest.MonkeyPatch) -> Told:
    """Returns the spans that a story has told, in the order of their ends."""

    def tell(story: Callable[[Spans], object]) -> list[SeenSpan]:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", collector.url)
        monkeypatch.setattr(export, "CLOSE_SECONDS", 60)  # all must arrive, however busy the machine is
        spans = open_spans(TracingSettings(collector.url), "api")
        story(spans)
        spans.close()
        return sorted(collector.spans, key=lambda span: span.ended)

    return tell


def job(
    number: int = 0, *, sent: TraceContext | None = SENT, accepted_at: float = NOW - 2, error: str = ""
) -> AnsweredJob:
    return AnsweredJob(f"{number:032x}", sent, accepted_at, NOW, NOW + 1, 1, error)


def test_a_batch_is_linked_with_all_its_jobs_however_many(told: Told) -> None:
    jobs = [job(number, sent=TraceContext(f"{number + 1:032x}", "b" * 16, 1)) for number in range(300)]
    spans = told(lambda spans: spans.batch("iris@1", jobs, NOW + 2))
    (predict,) = (span for span in spans if span.name == "predict iris@1")
    assert {trace for trace, _ in predict.links} == {one.sent.trace_id for one in jobs if one.sent}
    assert len(spans) == 601
    assert MOST_LINKS >= 300


def test_a_batch_of_no_trace_is_not_told_of(told: Told) -> None:
    contexts: list[TraceContext | None] = []
    unrecorded = SENT._replace(flags=0)
    jobs = [job(sent=None), job(sent=unrecorded)]
    assert told(lambda spans: contexts.extend(spans.batch("iris@1", jobs, NOW + 2))) == []
    assert contexts[0] is None
    assert contexts[1] is not None
    assert (contexts[1].trace_id, contexts[1].flags) == (SENT.trace_id, 0)


def test_a_wait_is_never_negative_whatever_two_clocks_say(told: Told) -> None:
    spans = told(lambda spans: spans.batch("iris@1", [job(accepted_at=NOW + 60)], NOW + 2))
    (wait,) = (span for span in spans if span.name == "wait iris@1")
    assert wait.began == wait.ended == int(NOW * 1e9)


def test_a_job_that_failed_says_why(told: Told) -> None:
    spans = told(lambda spans: spans.batch("iris@1", [job(error="TIMEOUT"), job(1)], NOW + 2))
    failed = [span for span in spans if span.failed]
    assert [(span.name, span.attributes["error.type"]) for span in failed] == [("process iris@1", "TIMEOUT")]


def test_a_job_that_was_refused_says_why(told: Told) -> None:
    def story(spans: Spans) -> None:
        request = spans.request(SENT, "POST", "/x", "http")
        with contextlib.suppress(QueueFull), request.sending("iris@1"):
            raise QueueFull("full", retry_after_seconds=1)
        request.end("/x", 429)

    send, request = told(story)
    assert (send.failed, send.attributes["error.type"]) == (True, "QUEUE_FULL")
    assert (request.failed, request.name, request.attributes["http.response.status_code"]) == (False, "POST /x", 429)


@pytest.mark.parametrize(
    ("method", "route", "status", "name", "failed"),
    [
        ("GET", "/x/{id}", 200, "GET /x/{id}", False),
        ("GET", "/x/{id}", 503, "GET /x/{id}", True),
        ("GET", "", 404, "GET", False),
        ("OTHER", "", 405, "HTTP", False),
        ("GET", "/x/{id}", 0, "GET /x/{id}", False),
    ],
)
def test_a_request_is_named_by_its_route(
    told: Told, method: str, route: str, status: int, name: str, failed: bool
) -> None:
    (span,) = told(lambda spans: spans.request(None, method, "/x/1", "http").end(route, status))
    assert (span.name, span.failed) == (name, failed)
    assert span.attributes.get("http.route", "") == route
    assert span.attributes["http.request.method"] == ("_OTHER" if method == "OTHER" else method)
    assert span.attributes.get("http.response.status_code", 0) == status
    assert span.attributes.get("error.type") == (str(status) if failed else None)


def test_a_silent_collector_is_given_up_at_the_end(monkeypatch: pytest.MonkeyPatch) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as silent:
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", f"http://127.0.0.1:{silent.getsockname()[1]}")
        monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "4")
        spans = open_spans(TracingSettings("set"), "api")
        spans.request(None, "GET", "/x", "http").end("/x", 200)
        spans.close()
        (last,) = (thread for thread in threading.enumerate() if thread.name == "last-spans")
        assert last.is_alive(), "the end has waited for the collector"
        last.join(30)
