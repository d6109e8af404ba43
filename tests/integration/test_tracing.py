"""One trace from the request to the worker, through real processes, a real queue and the real exporter."""

from __future__ import annotations

import contextlib
import re
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
import redis

from api_process import ApiProcess
from collector import Collector, SeenSpan, collecting
from iris_service.jobs.keys import job_key
from servers import Valkey
from worker_process import WorkerProcess

GETPRED = "/iris/api/v1.0/getpred"
FLOWER = {"sepal_length": "5.1", "sepal_width": "3.5", "petal_length": "1.4", "petal_width": "0.2"}
TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"
Line = dict[str, Any]


@pytest.fixture
def api(valkey: redis.Redis, valkey_server: Valkey, request: pytest.FixtureRequest) -> Iterator[ApiProcess]:
    process = ApiProcess(valkey_server.url, **getattr(request, "param", {}))
    yield process
    process.stop()


@pytest.fixture
def collector() -> Iterator[Collector]:
    with collecting() as found:
        yield found


def submit(api: ApiProcess, **headers: str) -> str:
    return str(httpx.get(api.url + GETPRED, params=FLOWER, headers=headers, timeout=30).json()["job_id"])


def result(api: ApiProcess, job_id: str) -> Any:
    answer = httpx.get(f"{api.url}/iris/api/v1.0/result/{job_id}", params={"wait": "25"}, timeout=40)
    assert answer.status_code == 200
    return answer.json()["result"]


def line_of(process: ApiProcess | WorkerProcess, job_id: str, event: str) -> Line:
    """The line of that event and job, once it is written: a worker publishes answers first and logs then."""
    ends = time.monotonic() + 30
    while True:
        for line in list(process.lines):
            if line.get("job_id") == job_id and line["event"] == event:
                return line
        assert time.monotonic() < ends, process.lines
        time.sleep(0.02)


def trace_of(line: Line) -> tuple[str | None, str | None]:
    return line.get("trace_id"), line.get("span_id")


def test_the_lines_of_a_request_and_its_job_name_the_caller_s_trace(
    api: ApiProcess, valkey: redis.Redis, valkey_server: Valkey
) -> None:
    plain = submit(api)
    jobs = {plain: len(waiting(valkey, plain))}
    traced = submit(api, traceparent=PARENT, tracestate="a=1")
    jobs[traced] = len(waiting(valkey, traced))
    assert jobs[traced] - jobs[plain] == len(f',"traceparent":"{PARENT}","tracestate":"a=1"')

    worker = WorkerProcess(valkey_server.url)
    try:
        result(api, plain)
        result(api, traced)
        for process, event in ((api, "request answered"), (worker, "job answered")):
            assert trace_of(line_of(process, traced, event)) == (TRACE, SPAN)
            assert trace_of(line_of(process, plain, event)) == (None, None)
    finally:
        worker.stop()


def waiting(client: redis.Redis, job_id: str) -> bytes:
    """The data of a job, its request id and time of one length."""
    data: Any = client.hget(job_key(job_id), "data")
    return re.sub(rb'"accepted_at":[\d.e+]+', b'"accepted_at":0', data)


def test_requests_on_one_connection_keep_their_traces_apart(api: ApiProcess) -> None:
    """The second one is sent before the first is answered, and begins where the first one ends."""
    head = "GET /iris/api/v1.0/status/{} HTTP/1.1\r\nHost: iris\r\n{}\r\n"
    first, second = "1" * 32, "2" * 32
    with api.connect() as connection:
        connection.sendall((head.format(first, f"traceparent: {PARENT}\r\n") + head.format(second, "")).encode())
        assert trace_of(line_of(api, first, "request answered")) == (TRACE, SPAN)
        assert trace_of(line_of(api, second, "request answered")) == (None, None)


def named(spans: list[SeenSpan], name: str) -> list[SeenSpan]:
    return [span for span in spans if span.name == name]


def test_one_trace_leads_from_the_request_to_the_worker_and_its_batch(
    valkey: redis.Redis, valkey_server: Valkey, collector: Collector
) -> None:
    endpoint = collector.url.replace("//", "//user:hidden@")
    exported = {"OTEL_EXPORTER_OTLP_ENDPOINT": endpoint, "OTEL_BSP_SCHEDULE_DELAY": "50"}
    api = ApiProcess(valkey_server.url, **exported)
    jobs = [
        submit(api, traceparent=PARENT, tracestate="a=1"),
        submit(api),
        submit(api, traceparent=f"00-{'b' * 32}-{SPAN}-00"),  # its caller does not want it recorded
    ]
    worker = WorkerProcess(valkey_server.url, **exported, OTEL_SERVICE_NAME="flowers")
    try:
        for job_id in jobs:
            assert result(api, job_id)[0] == {"class": "setosa", "probability": "1.000"}
        answered, worked = line_of(api, jobs[0], "request answered"), line_of(worker, jobs[0], "job answered")
        unsampled = line_of(worker, jobs[2], "job answered")
        assert httpx.get(f"{api.url}/healthz").status_code == 200
        spans = collector.wait_for(
            lambda seen: sum(span.trace_id == TRACE for span in seen) == 5 and len(named(seen, "process iris@1")) == 2
        )
    finally:
        assert worker.stop() == 0
        assert api.stop() == 0
    told = [line for line in api.lines + worker.lines if line["event"] == "spans exported"]
    assert [line["endpoint"] for line in told] == [endpoint.replace("hidden", "***")] * 2
    assert collector.paths == {"/v1/traces"}

    trace = {span.name: span for span in spans if span.trace_id == TRACE}
    request, send, wait, process, predict = (
        trace[name] for name in (f"GET {GETPRED}", "send iris@1", "wait iris@1", "process iris@1", "predict iris@1")
    )
    assert len(trace) == 5
    assert [span.parent_id for span in (request, send, wait, process, predict)] == [
        SPAN, request.span_id, send.span_id, send.span_id, process.span_id,
    ]  # fmt: skip
    assert [span.kind for span in (request, send, wait, process, predict)] == [
        "server", "producer", "internal", "consumer", "internal",
    ]  # fmt: skip
    assert [span.service for span in (request, send, wait, process, predict)] == ["iris-api"] * 2 + ["flowers"] * 3
    assert {span.state for span in trace.values()} == {"a=1"}
    assert not any(span.failed for span in spans)

    assert request.began <= send.began <= send.ended <= request.ended
    assert request.began <= wait.began <= wait.ended == process.began == predict.began
    assert predict.began < predict.ended <= process.ended

    assert request.attributes == {
        "http.request.method": "GET", "http.route": GETPRED, "http.response.status_code": 200, "url.path": GETPRED,
        "url.scheme": "http",
    }  # fmt: skip
    message = {
        "messaging.system": "rq", "messaging.destination.name": "iris@1", "messaging.message.id": jobs[0],
    }  # fmt: skip
    assert send.attributes == {**message, "messaging.operation.name": "send", "messaging.operation.type": "send"}
    processing = {"messaging.operation.name": "process", "messaging.operation.type": "process"}
    assert wait.attributes == {**message, **processing}
    assert process.attributes == {**message, **processing, "iris.attempt": 1}
    assert predict.attributes["messaging.batch.message_count"] == 3

    assert trace_of(answered) == (TRACE, request.span_id)
    assert trace_of(worked) == (TRACE, process.span_id)

    # the other recorded job has a trace of its own; both know the batch, and the batch knows both
    other = next(span for span in named(spans, "process iris@1") if span.attributes["messaging.message.id"] == jobs[1])
    assert other.trace_id not in (TRACE, "b" * 32)
    assert set(predict.links) == {(span.trace_id, span.span_id) for span in (process, other)}
    assert process.links == other.links == ((predict.trace_id, predict.span_id),)

    assert not [span for span in collector.spans if span.trace_id == "b" * 32], (
        "what a caller does not sample is not sent"
    )
    assert unsampled["trace_id"] == "b" * 32
    assert not [span for span in collector.spans if "healthz" in span.name]


def test_a_collector_that_is_away_or_silent_changes_nothing(valkey: redis.Redis, valkey_server: Valkey) -> None:
    with contextlib.closing(socket.create_server(("127.0.0.1", 0), backlog=1)) as silent:
        port = silent.getsockname()[1]
        waits_for_ever = {"OTEL_EXPORTER_OTLP_ENDPOINT": f"http://127.0.0.1:{port}", "OTEL_BSP_SCHEDULE_DELAY": "10"}
        refuses = {"OTEL_EXPORTER_OTLP_ENDPOINT": "http://127.0.0.1:9", "OTEL_BSP_SCHEDULE_DELAY": "10"}
        api = ApiProcess(valkey_server.url, **waits_for_ever)
        worker = WorkerProcess(valkey_server.url, **refuses)
        try:
            for _ in range(5):
                assert result(api, submit(api))[0]["class"] == "setosa"
        finally:
            assert worker.stop() == 0
            assert api.stop() == 0
