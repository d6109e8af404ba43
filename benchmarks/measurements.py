"""What is measured, each on a running system, from outside: over HTTP, and by what Valkey itself has counted."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import rq

from callers import Caller, drive, get, hammer
from iris_service.config import JobSettings, RedisSettings
from iris_service.jobs.job_queue import JobQueue
from iris_service.jobs.keys import Target
from iris_service.schemas import Payload, Row
from processes import wait_until
from systems import MODEL, VERSION, Article, Iris, System

PREFIX = "/iris/api/v1.0"
INFER = f"/v2/models/{MODEL}/infer"
_POLL_STATUS_SECONDS = 0.002
_DRAIN_SECONDS = 90.0
Figures = dict[str, float]


@dataclass(frozen=True)
class Flowers:
    """Rows to ask for, and the answer each must get from either service, to the letter."""

    paths: list[str]
    answers: list[Any]
    rows: list[Row]

    def path(self, number: int) -> str:
        return self.paths[number % len(self.paths)]

    def answer(self, number: int) -> Any:
        return self.answers[number % len(self.answers)]


def warm_up(system: System, flowers: Flowers) -> None:
    """See one prediction through, so that nothing is timed that is still starting."""
    caller = Caller(system.port)
    _one_prediction(caller, flowers.path(0), wait=False)
    caller.close()


def throughput(system: System, flowers: Flowers, predictions: int, connections: int) -> Figures:
    """Time from the first request until the last answer stands in Redis; then fetch and compare every answer.

    `bytes_per_job` is what Valkey's used memory has grown by, once all are answered.
    """
    memory, before = _used_memory(system.redis), system.finished()
    began = time.perf_counter()
    accepted = drive(system.port, (get(flowers.path(number)) for number in range(predictions)), connections)
    submitted = time.perf_counter()
    wait_until(lambda: system.finished() - before >= predictions, "the last answer", _DRAIN_SECONDS, pause=0.005)
    seconds = time.perf_counter() - began
    ids = [json.loads(reply.body)["job_id"] for reply in accepted]
    answers = drive(system.port, (get(f"{PREFIX}/result/{job_id}") for job_id in ids), connections)
    wrong = sum(
        reply.status != 200 or json.loads(reply.body)["result"] != flowers.answer(number)
        for number, reply in enumerate(answers)
    )
    if wrong:
        raise AssertionError(f"{wrong} of {predictions} answers are wrong")
    return {
        "jobs_per_second": predictions / seconds,
        "submitted_per_second": predictions / (submitted - began),
        "bytes_per_job": (_used_memory(system.redis) - memory) / predictions,
        "verified": predictions,
    }


def latency(system: System, flowers: Flowers, samples: int, *, wait: bool = False) -> Figures:
    """One client: getpred, then status every 2 ms, or one waiting result, until the answer is there."""
    caller = Caller(system.port)
    seconds = sorted(_one_prediction(caller, flowers.path(number), wait=wait) for number in range(samples))
    caller.close()
    return {
        "p50_ms": seconds[samples // 2] * 1000,
        "p99_ms": seconds[min(samples - 1, int(samples * 0.99))] * 1000,
        "samples": samples,
    }


def _one_prediction(caller: Caller, path: str, *, wait: bool) -> float:
    began = time.perf_counter()
    job_id = json.loads(caller.get(path)[1])["job_id"]
    if wait:
        status, body = caller.get(f"{PREFIX}/result/{job_id}?wait=10")
    else:
        while caller.get(f"{PREFIX}/status/{job_id}")[0] == 202:
            time.sleep(_POLL_STATUS_SECONDS)
        status, body = caller.get(f"{PREFIX}/result/{job_id}")
    seconds = time.perf_counter() - began
    if status != 200 or "result" not in json.loads(body):
        raise AssertionError(f"no answer: {status} {body[:200]!r}")
    return seconds


def inferences(flowers: Flowers) -> list[str]:
    """An inference request for each flower, as `callers.asked` has it."""
    tensor = {"name": "input", "shape": [1, len(flowers.rows[0])], "datatype": "FP64"}
    return [f"{INFER}\n{json.dumps({'inputs': [{**tensor, 'data': row}]})}" for row in flowers.rows]


def inference(port: int, flowers: Flowers, connections: int, seconds: float) -> Figures:
    """One V2 infer request after the other on each connection; every answer must be a 200."""
    seen = hammer(port, inferences(flowers), connections, seconds)
    if seen.errors:
        raise AssertionError(f"{seen.errors} requests failed")
    return {name: float(value) for name, value in seen._asdict().items()}


def enqueue_endpoint(system: System, flowers: Flowers, connections: int, seconds: float) -> Figures:
    """The endpoint that accepts predictions, while no worker runs; the queue is emptied afterwards."""
    seen = hammer(system.port, flowers.paths, connections, seconds)
    system.redis.flushall()
    if seen.errors:
        raise AssertionError(f"{seen.errors} requests failed")
    return {name: float(value) for name, value in seen._asdict().items()}


def backlog_of_predictions(system: Iris, flowers: Flowers, jobs: int) -> None:
    """Put predictions on our queue through the product's own `JobQueue`."""

    async def submit() -> None:
        queue = JobQueue(RedisSettings(system.url, timeout_seconds=5), JobSettings(), Target(MODEL, VERSION))
        try:
            for start in range(0, jobs, 500):
                batch = [flowers.rows[number % len(flowers.rows)] for number in range(start, min(jobs, start + 500))]
                await asyncio.gather(*(queue.submit(Payload((row,), False, "bench", time.time())) for row in batch))
        finally:
            await queue.close()

    asyncio.run(submit())


def backlog_of_nothing(system: Article, _flowers: Flowers, jobs: int) -> None:
    """Put jobs that do nothing on a stock RQ queue."""
    queue = rq.Queue("default", connection=system.redis)
    queue.enqueue_many([rq.Queue.prepare_data("nothing.do_nothing") for _ in range(jobs)])


def drain(system: Any, flowers: Flowers, jobs: int, fill: Callable[[Any, Flowers, int], None]) -> Figures:
    """Fill the queue, start the worker, and time from its first finished job to its last."""
    fill(system, flowers, jobs)
    system.redis.config_resetstat()
    polls = 0

    def finished() -> int:
        nonlocal polls
        polls += 1
        return int(system.finished())

    system.start_worker()
    wait_until(lambda: finished() > 0, "the first job", pause=0.001)
    first, began = finished(), time.perf_counter()
    wait_until(lambda: finished() >= jobs, "the last job", _DRAIN_SECONDS, pause=0.002)
    seconds = time.perf_counter() - began
    commands, reads = _counted(system.redis)
    return {
        "jobs_per_second": (jobs - first) / seconds,
        "commands_per_job": (commands - polls) / jobs,
        "reads_per_job": (reads - polls) / jobs,
    }


def _counted(redis: Any) -> tuple[int, int]:
    """Commands that Valkey has run, those inside scripts included, and times it has read from a socket."""
    commands = sum(entry["calls"] for entry in redis.info("commandstats").values())
    return commands, int(redis.info("stats")["total_reads_processed"])


def _used_memory(redis: Any) -> int:
    time.sleep(1.0)  # buffers of the burst before are given back
    redis.memory_purge()
    return int(redis.info("memory")["used_memory"])
