"""IRIS_SYNC=inline on real processes: the same answers without a job, and every doubt leads to the queue."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import redis

from api_process import MODELS, ApiProcess
from collector import collecting
from iris_service.config import ModelSettings
from iris_service.jobs.keys import CARD_PREFIX, LATENCY_BOUNDS, ROUTE_PREFIX, queue_keys
from iris_service.jobs.keys import MODELS as ROUTED
from iris_service.model.irises import features_of, fisher_irises
from iris_service.model.runtime import load_model
from servers import Valkey
from worker_process import WorkerProcess

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("inline server")]

INFER = "/v2/models/iris/infer"
ROWS = [tuple(map(float, row)) for row in features_of(fisher_irises()).to_numpy()]
TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


def tensor(rows: int = 1, **changes: Any) -> dict[str, Any]:
    return {"inputs": [{"name": "input", "shape": [rows, 4], "datatype": "FP64", "data": ROWS[:rows], **changes}]}


class Inline:
    """An API that answers inline, as its callers and its metrics page see it."""

    def __init__(self, api: ApiProcess, client: redis.Redis) -> None:
        self.api = api
        self.http = httpx.Client(base_url=api.url, timeout=60)
        self._client = client

    def infer(self, body: Any, path: str = INFER, **headers: str) -> httpx.Response:
        return self.http.post(path, json=body, headers=headers)

    def jobs(self, version: str = "1") -> int:
        """Jobs that were ever accepted for a version."""
        return self.count("accepted", version)

    def count(self, name: str, version: str = "1") -> int:
        return int(self._client.hget(queue_keys(f"iris@{version}").counts, name) or 0)  # type: ignore[arg-type]

    def metric(self, name: str, version: str = "1", labels: str = "") -> float | None:
        series = f'{name}{{{labels}model="iris",version="{version}"}} '
        lines = self.http.get("/metrics").text.splitlines()
        return next((float(line[len(series) :]) for line in lines if line.startswith(series)), None)

    def until(self, holds: Callable[[], bool], what: str) -> None:
        ends = time.monotonic() + 30
        while not holds():
            assert time.monotonic() < ends, f"waited for {what}; {self.api.lines[-5:]}"
            time.sleep(0.02)

    def until_answered_here(self, version: str = "1", shown: float | None = 1) -> None:
        self.until(lambda: self.metric("iris_inline_versions", version) == shown, f"version {version}: {shown}")


@contextmanager
def inline_api(server: Valkey, **settings: str) -> Iterator[Inline]:
    api = ApiProcess(server.url, IRIS_SYNC="inline", **settings)
    try:
        with server.client() as client:
            yield Inline(api, client)
    finally:
        assert api.stop() == 0


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Valkey]:
    server = Valkey(tmp_path_factory.mktemp("valkey"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def workers(server: Valkey) -> Iterator[None]:
    """Both versions have a worker; only the first has a route."""
    both = [WorkerProcess(server.url, IRIS_MODEL_VERSION=version) for version in ("1", "2")]
    yield
    for worker in both:
        assert worker.stop() == 0


@pytest.fixture(scope="module")
def inline(server: Valkey, workers: None) -> Iterator[Inline]:
    with inline_api(server, IRIS_DRIFT_MIN_ROWS="100", IRIS_DRIFT_WINDOW_ROWS="1000") as inline:
        inline.until_answered_here()
        yield inline


def test_an_answer_of_the_api_is_the_answer_of_a_worker_and_no_job(inline: Inline) -> None:
    jobs = inline.jobs()
    here = inline.infer({**tensor(64), "id": "mine"})
    assert inline.jobs() == jobs
    with_key = inline.infer({**tensor(64), "id": "mine"}, **{"Idempotency-Key": "by-a-worker"})
    assert inline.jobs() == jobs + 1
    assert here.status_code == with_key.status_code == 200
    assert here.json() == with_key.json()
    shares = load_model(ModelSettings(repository=MODELS)).predict(ROWS[:64])
    assert next(output["data"] for output in here.json()["outputs"] if output["name"] == "predict_proba") == [
        share for row in shares for share in row
    ]


@pytest.mark.parametrize(
    ("body", "headers", "as_job"),
    [
        (tensor(64), {}, False),
        (tensor(65), {}, True),
        (tensor(), {"Prefer": "respond-async"}, True),
        (tensor(), {"Prefer": "return=minimal"}, False),
        (tensor(), {"Idempotency-Key": "a-key-of-its-own"}, True),
    ],
)
def test_what_is_larger_later_or_kept_takes_the_queue(
    inline: Inline, body: Any, headers: dict[str, str], as_job: bool
) -> None:
    jobs = inline.jobs()
    answer = inline.infer(body, **headers)
    assert answer.status_code == (202 if headers.get("Prefer") == "respond-async" else 200)
    assert inline.jobs() - jobs == as_job


@pytest.mark.parametrize(
    ("body", "status", "code"),
    [
        ({"inputs": []}, 400, "INVALID_TENSORS"),
        (tensor(1, data=[[5.1, 3.5, 1.4, "wide"]]), 400, "INVALID_TENSORS"),
        (tensor(1, shape=[1, 3]), 400, "INVALID_TENSORS"),
        (tensor(1, data=[[5.1, 3.5, 1.4, -7.0]]), 422, "INVALID_INPUT"),
    ],
)
def test_what_is_wrong_is_refused_and_counted_as_ever(inline: Inline, body: Any, status: int, code: str) -> None:
    refused = refusals(inline, code)
    answer = inline.infer(body)
    assert (answer.status_code, answer.json()["code"]) == (status, code), answer.text
    assert refusals(inline, code) == refused + 1


def refusals(inline: Inline, code: str) -> float:
    line = f'iris_requests_refused_total{{code="{code}"}} '
    return next(float(text[len(line) :]) for text in inline.http.get("/metrics").text.splitlines() if line in text)


def test_answers_are_counted_where_a_worker_s_are_and_where_the_operator_looks(inline: Inline) -> None:
    before = inline.metric("iris_jobs_finished_total") or 0
    in_redis = inline.count("inline_done")
    for _ in range(10):
        assert inline.infer(tensor(50)).status_code == 200
    assert inline.metric("iris_jobs_finished_total") == before + 10
    assert inline.metric("iris_jobs_failed_total", labels='code="PREDICTION_FAILED",') == 0
    inline.until(lambda: inline.count("inline_done") >= in_redis + 10, "the counts in Redis")
    times = sum(inline.count(f"inline_latency:{bucket}") for bucket in range(len(LATENCY_BOUNDS) + 1))
    assert times == inline.count("inline_done")
    inline.until(lambda: (inline.metric("iris_drift_rows") or 0) >= 500, "drift")
    assert inline.metric("iris_drift_answer_share", labels='class="setosa",') == pytest.approx(1.0, abs=0.05)
    inline.until(lambda: statistics(inline) >= in_redis + 10, "the statistics")


def statistics(inline: Inline) -> int:
    found = inline.http.get("/v2/models/iris/stats").json()["model_stats"][0]["inference_stats"]
    return int(found["success"]["count"])


def test_the_request_s_line_says_who_answered_and_names_the_trace(inline: Inline) -> None:
    inline.infer(tensor(), traceparent=f"00-{TRACE}-00f067aa0ba902b7-01", **{"X-Request-Id": "the-one"})
    lines = lambda: [line for line in inline.api.lines if line.get("request_id") == "the-one"]  # noqa: E731
    inline.until(lambda: bool(lines()), "the log line")
    (line,) = lines()
    assert (line["event"], line["status"], line["inline"]) == ("request answered", 200, True)
    assert (line["model"], line["version"], line["trace_id"]) == ("iris", "1", TRACE)
    assert "job_id" not in line


def test_the_route_decides_who_answers_each_request_and_who_has_left_answers_none(
    inline: Inline, server: Valkey
) -> None:
    with server.client() as client:
        client.sadd(ROUTED, "iris")
        try:
            client.set(ROUTE_PREFIX + "iris", json.dumps({"1": 50, "2": 50}))
            inline.until_answered_here("2")
            jobs = inline.jobs() + inline.jobs("2")
            drawn = [inline.infer(tensor()).json()["model_version"] for _ in range(60)]
            assert set(drawn) == {"1", "2"}
            assert inline.infer(tensor(), "/v2/models/iris/versions/2/infer").json()["model_version"] == "2"
            assert inline.jobs() + inline.jobs("2") == jobs, "both are answered here"
            inline.until(lambda: inline.count("inline_done", "2") == drawn.count("2") + 1, "version 2's counts")

            client.set(ROUTE_PREFIX + "iris", json.dumps({"1": 100}))
            inline.until_answered_here("2", None)
            assert {inline.infer(tensor()).json()["model_version"] for _ in range(20)} == {"1"}
        finally:
            client.delete(ROUTE_PREFIX + "iris", ROUTED)


def test_a_worker_publishes_the_artifact_that_it_serves_and_no_other(inline: Inline, server: Valkey) -> None:
    with server.client() as client:
        card = json.loads(client.get(CARD_PREFIX + "iris@1"))  # type: ignore[arg-type]
    assert list(card["artifacts"]) == ["onnx"]


def test_a_version_that_is_not_what_its_workers_serve_is_answered_by_them(
    server: Valkey, workers: None, tmp_path: Path
) -> None:
    shutil.copytree(MODELS, tmp_path / "models")
    card = tmp_path / "models" / "iris" / "1" / "card.json"
    card.write_text(card.read_text().replace('"libraries": {', '"libraries": {"another": "1", '))
    with inline_api(server, IRIS_MODELS=str(tmp_path / "models")) as inline:
        inline.until_answered_here(shown=0)
        jobs = inline.jobs()
        assert inline.infer(tensor()).status_code == 200
        assert inline.jobs() == jobs + 1
        reasons = [line["reason"] for line in inline.api.lines if line["event"] == "version not answered here"]
        assert reasons == ["the repository of this API has another card or artifact than the workers"]


def test_without_a_repository_all_is_answered_by_workers(server: Valkey, workers: None, tmp_path: Path) -> None:
    with inline_api(server, IRIS_MODELS=str(tmp_path)) as inline:
        inline.until_answered_here(shown=0)
        jobs = inline.jobs()
        assert inline.infer(tensor()).status_code == 200
        assert inline.jobs() == jobs + 1


def test_a_collector_is_told_of_the_call_of_the_model(server: Valkey, workers: None) -> None:
    with collecting() as collector:
        settings = {"OTEL_EXPORTER_OTLP_ENDPOINT": collector.url, "OTEL_BSP_SCHEDULE_DELAY": "100"}
        with inline_api(server, **settings) as inline:
            inline.until_answered_here()
            inline.infer(tensor(), traceparent=f"00-{TRACE}-00f067aa0ba902b7-01")
            inline.until(lambda: len(of_trace(collector.spans)) == 2, "both spans")
        names = sorted(span.name for span in of_trace(collector.spans))
        assert names == ["POST /v2/models/{model}/infer", "predict iris@1"]


def of_trace(spans: list[Any]) -> list[Any]:
    return [span for span in spans if span.trace_id == TRACE]


def test_it_goes_on_without_redis_and_tells_it_later_what_was_answered(own_valkey: Valkey) -> None:
    worker = WorkerProcess(own_valkey.url)
    with inline_api(own_valkey) as inline:
        inline.until_answered_here()
        assert worker.stop() == 0
        assert inline.infer(tensor()).status_code == 200, "no worker is needed"
        own_valkey.pause()
        try:
            assert [inline.infer(tensor()).status_code for _ in range(20)] == [200] * 20
        finally:
            own_valkey.resume()
        inline.until(lambda: inline.count("inline_done") >= 21, "the counts")
        assert inline.infer(tensor()).status_code == 200
    # stopped: what was not counted yet has been counted on the way out
    with own_valkey.client() as client:
        assert int(client.hget(queue_keys("iris@1").counts, "inline_done")) >= 22  # type: ignore[arg-type]
