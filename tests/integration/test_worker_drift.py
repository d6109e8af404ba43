"""A real worker tells how far it is asked other things than it was trained on."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator, Sequence

import pytest
import redis
from sklearn.datasets import load_iris

from iris_operator.queues import Queues
from iris_operator.spec import IrisModelSpec, ModelVersion
from iris_service.config import JobSettings, RedisSettings
from iris_service.jobs.job_queue import JobQueue
from iris_service.jobs.keys import Target
from iris_service.schemas import Payload, Row
from servers import Valkey
from versions import committed_card
from worker_process import WorkerProcess

FLOWERS: list[Row] = [tuple(row) for row in load_iris().data.tolist()]
ROWS = 'iris_drift_rows{model="iris",version="1"}'
PETALS = 'iris_drift_feature_psi{feature="petal_length",model="iris",version="1"}'


@pytest.fixture
def worker(valkey: redis.Redis, valkey_server: Valkey) -> Iterator[WorkerProcess]:
    process = WorkerProcess(valkey_server.url, IRIS_DRIFT_WINDOW_ROWS="1000")
    yield process
    process.stop()


def answer(server: Valkey, *jobs: Sequence[Row]) -> None:
    """Submit jobs as the API does, and see them answered."""

    async def story() -> None:
        queue = JobQueue(RedisSettings(url=server.url, timeout_seconds=5), JobSettings(), Target("iris", "1"))
        payloads = [Payload(tuple(rows), True, "golden-set", time.time()) for rows in jobs]
        for job_id in await asyncio.gather(*(queue.submit(payload) for payload in payloads)):
            assert await queue.fetch(job_id, wait_seconds=30) is not None
        await queue.close()

    asyncio.run(story())


def prove(server: Valkey) -> None:
    """Have the golden set answered, as the operator does."""

    async def story() -> None:
        queues = Queues(server.url, "ns")
        version = ModelVersion("1", "sha256:1")
        spec = IrisModelSpec(name="iris", namespace="ns", generation=1, uid="u", model=version)
        golden = [list(row) for row in committed_card().golden_rows]
        await queues.send_golden(spec, version, golden, 5.0)
        ends = time.monotonic() + 30
        while (result := await queues.golden_result(spec, version, 5.0, [0] * len(golden))) and not result.answered:
            assert time.monotonic() < ends, "the golden set was not answered"
            await asyncio.sleep(0.02)
        await queues.aclose()

    asyncio.run(story())


def metrics_once(worker: WorkerProcess, series: str, value: float) -> dict[str, float]:
    """The metrics once `series` has reached `value`: a worker publishes answers first and counts then."""
    ends = time.monotonic() + 30
    while (found := worker.metrics()).get(series, 0) < value:
        assert time.monotonic() < ends, found
        time.sleep(0.02)
    return found


def test_a_worker_compares_what_it_answered_to_callers_and_nothing_else(
    worker: WorkerProcess, valkey_server: Valkey
) -> None:
    assert worker.metrics()[ROWS] == 0, "the golden rows it has loaded with do not count"
    prove(valkey_server)
    answer(valkey_server, [(99.0, 1.0, 1.0, 1.0)])
    metrics_once(worker, 'iris_jobs_failed_total{code="BAD_INPUT",model="iris",version="1"}', 1)

    answer(valkey_server, FLOWERS, FLOWERS, FLOWERS)
    seen = metrics_once(worker, ROWS, 450)
    assert seen['iris_jobs_finished_total{model="iris",version="1"}'] == 4
    assert seen[ROWS] == 450, "neither the golden set nor the job that failed"
    assert PETALS not in seen, "450 rows are too few"

    answer(valkey_server, FLOWERS)
    seen = metrics_once(worker, ROWS, 600)
    assert seen[PETALS] < 0.01
    assert seen['iris_drift_answer_share{class="setosa",model="iris",version="1"}'] == pytest.approx(1 / 3)
    assert seen['iris_drift_answer_psi{model="iris",version="1"}'] < 0.01

    answer(valkey_server, *[FLOWERS[:50]] * 20)
    seen = metrics_once(worker, 'iris_drift_answer_share{class="setosa",model="iris",version="1"}', 0.95)
    assert seen[PETALS] > 0.25
    assert seen['iris_drift_answer_psi{model="iris",version="1"}'] > 0.25
