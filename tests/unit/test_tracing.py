"""Traces through API and worker: who is named where, what a job carries, and what is done when spans cannot be sent."""

from __future__ import annotations

import sys
from dataclasses import replace

import msgspec
import pytest
from starlette.testclient import TestClient

from api_client import FLOWER, GETPRED
from iris_service.config import Settings, TracingSettings
from iris_service.errors import QueueFull
from iris_service.schemas import Payload
from iris_service.tracing.opening import open_spans
from iris_service.tracing.spans import NoSpans
from memory_queue import MemoryQueue

TRACE, SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"
PARENT = f"00-{TRACE}-{SPAN}-01"
ENDPOINT = "OTEL_EXPORTER_OTLP_ENDPOINT"


def submitted(client: TestClient, queue: MemoryQueue, **headers: str) -> Payload:
    job_id = client.get(GETPRED, params=FLOWER, headers=headers).json()["job_id"]
    return queue.submitted[job_id]


def test_a_job_carries_the_trace_of_its_request(client: TestClient, queue: MemoryQueue) -> None:
    payload = submitted(client, queue, traceparent=PARENT, tracestate="a=1")
    assert (payload.traceparent, payload.tracestate) == (PARENT, "a=1")


@pytest.mark.parametrize("headers", [{}, {"traceparent": "00-what"}, {"tracestate": "a=1"}])
def test_a_job_of_no_trace_is_not_a_byte_longer(
    client: TestClient, queue: MemoryQueue, headers: dict[str, str]
) -> None:
    encoded = msgspec.json.encode(submitted(client, queue, **headers))
    assert set(msgspec.json.decode(encoded)) == {"rows", "many", "request_id", "accepted_at"}


def test_a_trace_costs_a_waiting_job_its_traceparent_and_no_more() -> None:
    payload = Payload(((5.1, 3.5, 1.4, 0.2),), False, "r" * 32, 1.5)
    traced = msgspec.structs.replace(payload, traceparent=PARENT)
    assert len(msgspec.json.encode(traced)) - len(msgspec.json.encode(payload)) == len(f',"traceparent":"{PARENT}"')


def test_an_answer_does_not_name_the_trace(client: TestClient) -> None:
    headers = client.get(GETPRED, params=FLOWER, headers={"traceparent": PARENT}).headers
    assert not {name for name in headers if name.startswith("trace")}


def test_a_refused_job_is_still_a_refusal(client: TestClient, queue: MemoryQueue) -> None:
    queue.trouble = QueueFull("full", retry_after_seconds=1)
    assert client.get(GETPRED, params=FLOWER, headers={"traceparent": PARENT}).status_code == 429


@pytest.mark.parametrize(
    ("env", "endpoint"),
    [
        ({}, ""),
        ({ENDPOINT: "http://c:4318"}, "http://c:4318"),
        ({ENDPOINT: " "}, ""),
        ({ENDPOINT: "http://c:4318", "OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://t:1/x"}, "http://t:1/x"),
        ({ENDPOINT: "http://c:4318", "OTEL_SDK_DISABLED": "TRUE"}, ""),
        ({ENDPOINT: "http://c:4318", "OTEL_SDK_DISABLED": "no"}, "http://c:4318"),
        ({ENDPOINT: "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, ""),
        ({ENDPOINT: "http://c:4318", "OTEL_TRACES_EXPORTER": "console,otlp"}, "http://c:4318"),
    ],
)
def test_spans_are_exported_where_opentelemetry_s_variables_ask_for_it(env: dict[str, str], endpoint: str) -> None:
    assert Settings.from_env({**env, "OTEL_ANYTHING": "else"}).tracing.endpoint == endpoint


@pytest.mark.parametrize(
    ("env", "protocol"),
    [
        ({}, "http/protobuf"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, "grpc"),
        ({"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/json"}, "http/json"),
    ],
)
def test_the_protocol_for_traces_goes_before_the_common_one(env: dict[str, str], protocol: str) -> None:
    assert Settings.from_env(env).tracing.protocol == protocol


WANTED = TracingSettings(endpoint="http://127.0.0.1:9")


def why_not(settings: TracingSettings, capsys: pytest.CaptureFixture[str]) -> str:
    assert isinstance(open_spans(settings, "api"), NoSpans)
    said = "".join(capsys.readouterr())  # where lines go depends on who configured logging before
    assert "spans not exported" in said
    return said


def test_without_the_extra_the_service_says_so_and_runs(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delitem(sys.modules, "iris_service.tracing.export", raising=False)
    monkeypatch.setitem(sys.modules, "opentelemetry.context", None)
    assert "install iris-serving with the extra otel" in why_not(WANTED, capsys)


def test_a_protocol_that_is_not_spoken_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    assert "'grpc' is not spoken here" in why_not(replace(WANTED, protocol="grpc"), capsys)


@pytest.mark.parametrize(("name", "value"), [("OTEL_BSP_MAX_QUEUE_SIZE", "0"), ("OTEL_SPAN_EVENT_COUNT_LIMIT", "many")])
def test_a_variable_that_opentelemetry_cannot_use_does_not_stop_the_service(
    name: str, value: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv(name, value)
    assert "ValueError" in why_not(WANTED, capsys)
