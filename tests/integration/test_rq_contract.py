"""What our scripts leave in Redis, held against what the installed RQ writes and reads itself."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import redis
from prometheus_client import CollectorRegistry
from rq import Queue, SimpleWorker
from rq import version as rq_version
from rq.exceptions import StopRequested
from rq.intermediate_queue import IntermediateQueue
from rq.job import Job, JobStatus, Retry
from rq.registry import StartedJobRegistry
from rq.serializers import JSONSerializer
from rq.worker.base import BaseWorker

import iris_service.jobs.worker as worker_module
from iris_service.config import JobSettings, RedisSettings
from iris_service.jobs.client import connect
from iris_service.jobs.job_queue import JobQueue
from iris_service.jobs.keys import QUEUES, TASK, Target, job_key, queue_keys, result_key
from iris_service.jobs.quiet_worker import SUSPENSION_SECONDS, QuietWorker
from iris_service.jobs.reporting import Reporter
from iris_service.jobs.task_job import FixedTaskJob
from iris_service.jobs.watchdog import Watchdog
from iris_service.jobs.worker import IrisWorker
from iris_service.schemas import Answered, Payload, envelope_from_json
from iris_service.telemetry.answers import WorkerMetrics
from servers import Valkey
from stub_model import StubModel, answer_of

TARGET = Target(StubModel.name, StubModel.version)
KEYS = queue_keys(TARGET.queue)
ROW = (5.1, 3.5, 1.4, 0.2)


def payload(row: tuple[float, ...] = ROW) -> Payload:
    return Payload(rows=(row,), many=False, request_id="r" * 32, accepted_at=time.time())


def submit(server: Valkey, count: int, **settings: Any) -> list[str]:
    async def run() -> list[str]:
        queue = JobQueue(RedisSettings(url=server.url, timeout_seconds=5), JobSettings(**settings), TARGET)
        try:
            return list(await asyncio.gather(*(queue.submit(payload()) for _ in range(count))))
        finally:
            await queue.close()

    return asyncio.run(run())


@contextmanager
def worker_here(client: redis.Redis) -> Iterator[IrisWorker]:
    """A worker in this process, to be run in burst mode; the signal handlers of the test stay."""
    kept = [(signum, signal.getsignal(signum)) for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGALRM)]
    made = IrisWorker(client, StubModel(), JobSettings(), 256, frozenset({"time.sleep"}))
    made.watchdog = Watchdog(0, made.renew_leases, made.answer_hung)
    made.on_outcomes = Reporter(WorkerMetrics(CollectorRegistry(), model="stub", version="1", digest="d"))
    yield made
    for signum, handler in kept:
        signal.signal(signum, handler)


@pytest.fixture
def worker(valkey: redis.Redis) -> Iterator[IrisWorker]:
    with worker_here(valkey) as made:
        yield made


def test_the_installed_rq_is_the_pinned_one() -> None:
    assert rq_version.VERSION.startswith("3.0.")


def test_the_page_of_overrides_names_what_rq_has() -> None:
    page = (worker_module.__doc__ or "").split("used though private")
    overridden = re.findall(r"`(?:Worker)?\.(\w+)`", page[0])
    assert len(overridden) >= 10
    for name in overridden:
        assert hasattr(BaseWorker, name), name
        assert name in {**vars(QuietWorker), **vars(IrisWorker)}, name
    ours = {
        name
        for name in {**vars(QuietWorker), **vars(IrisWorker)}
        if not name.startswith("_") and hasattr(SimpleWorker, name) and name not in ("log", "death_penalty_class")
    }
    assert ours == set(overridden)


def test_key_names_are_rqs() -> None:
    queue = Queue(TARGET.queue, connection=redis.Redis())
    assert KEYS.waiting == queue.key
    assert KEYS.intermediate == IntermediateQueue.get_intermediate_queue_key(queue.key)
    assert KEYS.running == StartedJobRegistry(queue=queue).key
    assert job_key("x") == Job.key_for("x")
    assert Queue.redis_queues_keys == QUEUES


def test_a_submitted_job_is_what_rq_itself_would_have_enqueued(valkey: redis.Redis, valkey_server: Valkey) -> None:
    (job_id,) = submit(valkey_server, 1)
    queue = Queue(TARGET.queue, connection=valkey, serializer=JSONSerializer)
    ours = Job.fetch(job_id, connection=valkey, serializer=JSONSerializer)
    theirs = Queue("other", connection=valkey, serializer=JSONSerializer).enqueue(
        TASK,
        args=(ours.args[0],),
        description="predict",
        job_timeout=10,
        result_ttl=0,
        failure_ttl=3600,
        retry=Retry(max=4),
    )
    theirs = Job.fetch(theirs.id, connection=valkey, serializer=JSONSerializer)
    for name in ("func_name", "args", "kwargs", "instance", "timeout", "result_ttl", "failure_ttl", "retries_left",
                 "description", "ttl", "meta", "webhooks", "dependency_ids", "enqueue_at_front_on_retry"):  # fmt: skip
        assert getattr(ours, name) == getattr(theirs, name), name
    assert ours.get_status() == theirs.get_status() == JobStatus.QUEUED
    assert abs((ours.enqueued_at - theirs.enqueued_at).total_seconds()) < 60
    assert queue.job_ids == [job_id]
    assert {q.name for q in Queue.all(connection=valkey)} == {TARGET.queue, "other"}


def test_an_answered_job_leaves_nothing_but_its_answer(
    valkey: redis.Redis, valkey_server: Valkey, worker: IrisWorker
) -> None:
    ids = submit(valkey_server, 3)
    worker.work(burst=True)
    for job_id in ids:
        envelope = envelope_from_json(valkey.get(result_key(job_id)))  # type: ignore[arg-type]
        assert isinstance(envelope, Answered)
        assert envelope.rows == (answer_of(ROW),)
        assert 3000 < valkey.ttl(result_key(job_id)) <= 3600
    queue = Queue(TARGET.queue, connection=valkey, serializer=JSONSerializer)
    assert queue.count == 0
    for registry in (queue.started_job_registry, queue.failed_job_registry, queue.finished_job_registry):
        assert registry.count == 0
    left = {key.decode().split(":")[0] + ":" + key.decode().split(":")[1] for key in valkey.keys("*")}
    assert left <= {"iris:result", "iris:counts", "iris:queues", "rq:queues", "rq:worker", "rq:workers"}
    assert valkey.hgetall(KEYS.counts)[b"done"] == b"3"


def test_rq_sees_a_running_batch_as_started(valkey: redis.Redis, valkey_server: Valkey, worker: IrisWorker) -> None:
    ids = submit(valkey_server, 3)
    seen: dict[str, Any] = {}

    class Spy(StubModel):
        def predict(self, rows: Any) -> Any:
            queue = Queue(TARGET.queue, connection=valkey, serializer=JSONSerializer)
            seen["started"] = queue.started_job_registry.get_job_ids()
            seen["status"] = [queue.fetch_job(job_id).get_status() for job_id in ids]
            seen["worker"] = [found.get_state() for found in SimpleWorker.all(connection=valkey)]
            return super().predict(rows)

    worker.model = Spy()
    worker.work(burst=True)
    assert sorted(seen["started"]) == sorted(ids)
    assert seen["status"] == [JobStatus.STARTED] * 3
    assert seen["worker"] == ["busy"]


def test_a_prediction_enqueued_through_rqs_own_api_is_answered(valkey: redis.Redis, worker: IrisWorker) -> None:
    queue = Queue(TARGET.queue, connection=valkey, serializer=JSONSerializer)
    body = {"rows": [list(ROW)], "many": False, "request_id": "r", "accepted_at": time.time()}
    job = queue.enqueue(TASK, body, job_id="a" * 32)
    worker.work(burst=True)
    assert isinstance(envelope_from_json(valkey.get(result_key(job.id))), Answered)  # type: ignore[arg-type]


def test_a_function_the_worker_was_told_of_takes_rqs_stock_path(valkey: redis.Redis, worker: IrisWorker) -> None:
    queue = Queue(TARGET.queue, connection=valkey, serializer=JSONSerializer)
    job = queue.enqueue("time.sleep", 0)
    worker.work(burst=True)
    assert queue.fetch_job(job.id).get_status() == JobStatus.FINISHED
    assert queue.finished_job_registry.get_job_ids() == [job.id]


def test_rqs_suspension_holds_our_worker(valkey: redis.Redis, valkey_server: Valkey, worker: IrisWorker) -> None:
    valkey.set("rq:suspended", 1)
    submit(valkey_server, 1)
    worker.work(burst=True)
    assert valkey.llen(KEYS.waiting) == 1


def test_suspension_is_asked_for_now_and_then_and_not_for_every_batch(valkey: redis.Redis, worker: IrisWorker) -> None:
    worker.check_for_suspension(burst=True)
    valkey.set("rq:suspended", 1)
    worker._suspension_asked_at = time.monotonic() + 60
    worker.check_for_suspension(burst=True)
    worker._suspension_asked_at = time.monotonic() - SUSPENSION_SECONDS
    with pytest.raises(StopRequested):
        worker.check_for_suspension(burst=True)


def test_callbacks_and_webhooks_of_a_hash_are_not_read(valkey: redis.Redis, valkey_server: Valkey) -> None:
    (job_id,) = submit(valkey_server, 1)
    forged = {"success_callback_name": "os.getpid", "failure_callback_name": "os.getpid", "webhooks": "[{}]"}
    valkey.hset(job_key(job_id), mapping=forged)
    job = FixedTaskJob.fetch(job_id, connection=valkey, serializer=JSONSerializer)
    assert job.success_callback is None
    assert job.failure_callback is None
    assert not job.webhooks


def test_a_full_batch_costs_few_commands_and_hardly_a_network_read(
    valkey: redis.Redis, valkey_server: Valkey, worker: IrisWorker
) -> None:
    jobs = 256
    submit(valkey_server, jobs)
    before = valkey.info("commandstats")
    reads = _total_reads(valkey)
    worker.work(burst=True)
    after = valkey.info("commandstats")
    commands = sum(
        value["calls"] - before.get(name, {"calls": 0})["calls"]
        for name, value in after.items()
        if name not in ("cmdstat_info", "cmdstat_evalsha")
    )
    assert valkey.hgetall(KEYS.counts)[b"done"] == b"%d" % jobs
    assert commands / jobs <= 5
    assert (_total_reads(valkey) - reads) / jobs <= 0.3


def _total_reads(client: redis.Redis) -> int:
    return int(client.info("stats")["total_reads_processed"])


def test_a_finished_job_takes_a_few_hundred_bytes(
    valkey: redis.Redis, valkey_server: Valkey, worker: IrisWorker
) -> None:
    jobs = 2000
    before = _used(valkey)
    submit(valkey_server, jobs)
    worker.work(burst=True)
    per_job = (_used(valkey) - before) / jobs
    assert per_job < 600, per_job


def _used(client: redis.Redis) -> int:
    client.memory_purge()
    return int(client.info("memory")["used_memory_dataset"])


def test_a_stop_asked_for_while_the_worker_waits_is_heard_between_two_moves(
    valkey: redis.Redis, worker: IrisWorker
) -> None:
    threading.Timer(0.3, lambda: os.kill(os.getpid(), signal.SIGTERM)).start()
    started = time.monotonic()
    worker.work()
    assert worker._stop_requested
    assert time.monotonic() - started < 10


def test_a_queue_that_goes_away_before_the_worker_has_registered_is_waited_for(own_valkey: Valkey) -> None:
    back = threading.Timer(0.5, own_valkey.start)
    with connect(RedisSettings(url=own_valkey.url)) as client, worker_here(client) as worker:
        worker.card = b"{}"
        own_valkey.kill()
        back.start()
        worker.work(burst=True)
        back.join()
        assert client.exists("iris:card:stub@1"), "it has registered"


def test_a_stop_asked_for_before_the_worker_could_register_is_heeded(own_valkey: Valkey) -> None:
    with connect(RedisSettings(url=own_valkey.url)) as client, worker_here(client) as worker:
        own_valkey.kill()
        worker.early_signals = [signal.SIGTERM]
        worker.work()
        assert worker._stop_requested


def test_the_lua_files_name_no_key_the_page_of_keys_does_not() -> None:
    page = (Path(worker_module.__file__).parent / "keys.py").read_text()
    for lua in (Path(worker_module.__file__).parent / "lua").glob("*.lua"):
        for name in re.findall(r"'((?:iris|rq):[a-z:]+?:?)'", lua.read_text()):
            assert name.rstrip(":") in page, f"{lua.name}: {name}"
