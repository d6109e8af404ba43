"""What the operator reads and writes in Redis, held against the service that reads and writes the other side."""

from __future__ import annotations

import asyncio
import json
import time
from bisect import bisect_left
from collections.abc import Awaitable, Callable
from typing import Any

import pytest
import redis

from iris_operator.errors import NoCard, NotYet
from iris_operator.manifests import queue_name
from iris_operator.plan import Golden
from iris_operator.queues import Queues, golden_id, route_text
from iris_operator.spec import LATENCY_BOUNDS, IrisModelSpec, ModelVersion
from iris_service.config import JobSettings, RedisSettings
from iris_service.jobs import keys
from iris_service.jobs.acl import USERS, render
from iris_service.jobs.batch import Claim, Outcome
from iris_service.jobs.job_queue import JobQueue
from iris_service.jobs.keys import PENDING, Target, job_key, queue_keys, result_key
from iris_service.jobs.route import Route
from iris_service.jobs.worker import IrisWorker
from iris_service.schemas import GOLDEN_SET, Answered, Failed, Payload, envelope_from_json
from operator_rig import ROW, VersionModel, golden_card, started_worker, work_off
from servers import Valkey

V1, V2 = ModelVersion("1", "sha256:1"), ModelVersion("2", "sha256:2")
SPEC = IrisModelSpec(name="iris", namespace="ns", generation=1, uid="u", model=V1)
ONE, TWO = Target("iris", "1"), Target("iris", "2")


@pytest.fixture
def ask(valkey: redis.Redis, valkey_server: Valkey) -> Callable[[Callable[[Queues, JobQueue], Awaitable[Any]]], Any]:
    """Runs a story with the operator's and the API's connection."""

    def run(story: Callable[[Queues, JobQueue], Awaitable[Any]]) -> Any:
        async def told() -> Any:
            queues = Queues(valkey_server.url, "ns")
            jobs = JobQueue(RedisSettings(url=valkey_server.url, timeout_seconds=5), JobSettings(), ONE)
            try:
                return await story(queues, jobs)
            finally:
                await queues.aclose()
                await jobs.close()

        return asyncio.run(told())

    return run


def payload() -> Payload:
    return Payload(rows=(ROW,), many=False, request_id="r" * 32, accepted_at=time.time())


async def submit(jobs: JobQueue, count: int, target: Target = ONE) -> list[str]:
    return [await jobs.submit(payload(), target) for _ in range(count)]


def taken(client: redis.Redis, version: str = "1") -> IrisWorker:
    """A worker with a batch in hand, as RQ's move and our claim leave it."""
    worker = started_worker(client, VersionModel(version))
    found = worker.dequeue_job_and_maintain_ttl(None)
    assert found is not None
    assert worker._take(found[0], "e" * 32)
    return worker


def test_names_and_bounds_are_those_of_the_service() -> None:
    assert LATENCY_BOUNDS == keys.LATENCY_BOUNDS
    assert queue_name("iris", "1") == ONE.queue
    assert Route.from_json(route_text({"1": 90, "2": 10}), "iris").shares == ((ONE, 90), (TWO, 10))


def test_what_is_observed_is_what_queues_and_workers_hold(ask: Any, valkey: redis.Redis) -> None:
    async def story(queues: Queues, jobs: JobQueue) -> None:
        await submit(jobs, 300)
        taken(valkey)
        await submit(jobs, 5)
        valkey.lpush(queue_keys(ONE.queue).intermediate, "stranded")
        seen = (await queues.observe([ONE.queue, TWO.queue], ["iris"])).queues
        assert (seen[ONE.queue].waiting, seen[ONE.queue].running, seen[ONE.queue].backlog) == (50, 256, 306)
        assert seen[ONE.queue].busy_workers == 1, "a batch is in one worker's hands"
        assert (seen[TWO.queue].backlog, seen[TWO.queue].counters.done) == (0, 0)

    ask(story)


def test_outcomes_and_times_are_those_the_workers_count(ask: Any, valkey: redis.Redis) -> None:
    async def story(queues: Queues, jobs: JobQueue) -> None:
        await submit(jobs, 30)
        work_off(started_worker(valkey, VersionModel("1")))
        await submit(jobs, 2)
        work_off(started_worker(valkey, VersionModel("1", fails=True)))
        seen = (await queues.observe([ONE.queue], [])).queues[ONE.queue]
        assert (seen.counters.done, seen.counters.failed, sum(seen.counters.latency)) == (30, 2, 30)
        assert 0 < seen.busy_seconds < 5

    ask(story)


def test_what_apis_answer_inline_counts_for_judging_a_version_and_not_for_sizing_it(ask: Any) -> None:
    good = Answered("iris", "1", "sha256:1", 1.5, 0.0, 0.02, ((1.0, 0.0, 0.0),))
    bad = Failed("iris", "1", 1, "PREDICTION_FAILED", "no", 1.5)

    async def story(queues: Queues, jobs: JobQueue) -> None:
        jobs.tally.add(ONE, [good] * 40 + [bad] * 3)
        await jobs.tally.flush()
        seen = (await queues.observe([ONE.queue], [])).queues[ONE.queue]
        assert (seen.counters.done, seen.counters.failed) == (40, 3)
        assert seen.counters.latency[bisect_left(LATENCY_BOUNDS, 0.02)] == sum(seen.counters.latency) == 40
        assert (seen.answered_jobs, seen.busy_seconds, seen.backlog) == (0, 0.0, 0)

    ask(story)


def test_each_task_time_is_seen_in_the_bucket_the_worker_has_counted_it_in(ask: Any, valkey: redis.Redis) -> None:
    async def story(queues: Queues, jobs: JobQueue) -> None:
        worker = started_worker(valkey, VersionModel("1"))
        answer = Answered(*ONE, "sha256:1", 0.0, 0.0, 0.0, ((1.0, 0.0, 0.0),), many=False)
        for seconds in (*LATENCY_BOUNDS, 86_401.0):  # a bucket holds its bound
            (job_id,) = await submit(jobs, 1)
            worker._publish("e" * 32, [Outcome(Claim(job_id, b"", 10, 1), answer, None)], 1, seconds)
        seen = (await queues.observe([ONE.queue], [])).queues[ONE.queue]
        assert seen.counters.latency == (1,) * (len(LATENCY_BOUNDS) + 1)

    ask(story)


def test_a_refusal_is_seen_until_the_queue_is_opened_again(ask: Any, valkey: redis.Redis) -> None:
    async def story(queues: Queues, _jobs: JobQueue) -> None:
        valkey.set(keys.REJECTED_PREFIX + TWO.queue, "the digest is another")
        assert (await queues.observe([TWO.queue], [])).queues[TWO.queue].rejected == "the digest is another"
        await queues.close(TWO.queue, ONE.queue)
        await queues.open(TWO.queue)
        assert (await queues.observe([TWO.queue], [])).queues[TWO.queue].rejected == ""
        assert valkey.get(keys.REDIRECT_PREFIX + TWO.queue) is None

    ask(story)


def test_closing_a_queue_moves_what_waits_and_whatever_still_comes(ask: Any, valkey: redis.Redis) -> None:
    async def story(queues: Queues, jobs: JobQueue) -> None:
        waiting = await submit(jobs, 50, TWO)
        assert await queues.close(TWO.queue, ONE.queue) == 50
        assert await queues.close(TWO.queue, ONE.queue) == 0
        late = await submit(jobs, 3, TWO)
        assert valkey.llen(queue_keys(TWO.queue).waiting) == 0
        assert [name.decode() for name in valkey.lrange(queue_keys(ONE.queue).waiting, 0, -1)] == waiting + late
        work_off(started_worker(valkey, VersionModel("1")))
        for job_id in waiting + late:
            answer = envelope_from_json(valkey.get(result_key(job_id)))  # type: ignore[arg-type]
            assert isinstance(answer, Answered)
            assert answer.version == "1"
        assert valkey.zcard(PENDING) == 0

    ask(story)


def test_closing_writes_nothing_about_a_job_that_is_gone(ask: Any, valkey: redis.Redis) -> None:
    async def story(queues: Queues, jobs: JobQueue) -> None:
        [gone] = await submit(jobs, 1, TWO)
        valkey.delete(job_key(gone))  # as an expired job's is, whose id is still on the list
        assert await queues.close(TWO.queue, ONE.queue) == 1
        assert not valkey.exists(job_key(gone))

    ask(story)


def test_closing_under_fire_loses_and_doubles_nothing(ask: Any, valkey: redis.Redis) -> None:
    async def story(queues: Queues, jobs: JobQueue) -> list[str]:
        job_ids: list[str] = []

        async def fire() -> None:
            for _ in range(20):
                job_ids.extend(await submit(jobs, 10, TWO))

        async def close() -> None:
            await asyncio.sleep(0.02)
            await queues.close(TWO.queue, ONE.queue)

        await asyncio.gather(fire(), fire(), close())
        return job_ids

    job_ids = ask(story)
    held = valkey.lrange(queue_keys(ONE.queue).waiting, 0, -1)
    assert sorted(name.decode() for name in held) == sorted(job_ids)


def test_going_there_and_back_never_makes_a_circle(ask: Any, valkey: redis.Redis) -> None:
    async def story(queues: Queues, jobs: JobQueue) -> None:
        await queues.close(ONE.queue, TWO.queue)
        await queues.close(TWO.queue, ONE.queue)
        await submit(jobs, 1, TWO)
        assert valkey.llen(queue_keys(ONE.queue).waiting) == 1
        await queues.write_route(SPEC, {"1": 50, "2": 50})
        await submit(jobs, 1, TWO)
        assert valkey.llen(queue_keys(TWO.queue).waiting) == 1, "what takes jobs again passes none on"

    ask(story)


def test_a_route_is_heard_by_the_api(ask: Any, valkey: redis.Redis) -> None:
    async def story(queues: Queues, jobs: JobQueue) -> None:
        await jobs.start()
        await queues.write_route(SPEC, {"1": 0, "2": 100})
        ends = time.monotonic() + 10
        while jobs.pick() != TWO:
            assert time.monotonic() < ends, "the API did not follow the route"
            await asyncio.sleep(0.02)
        reading = await queues.observe([], ["iris", "other"])
        assert reading.routes == {"iris": route_text({"1": 0, "2": 100}), "other": None}
        await queues.forget("iris")
        while jobs.pick() != ONE:
            assert time.monotonic() < ends, "the API did not see that the route is gone"
            await asyncio.sleep(0.02)

    ask(story)


def test_a_golden_job_is_the_job_the_api_would_have_made(ask: Any, valkey: redis.Redis) -> None:
    """Field by field: what differs is meant to."""

    async def story(queues: Queues, jobs: JobQueue) -> None:
        (job_id,) = await submit(jobs, 1)
        await queues.send_golden(SPEC, V1, [list(ROW)], 5.0)
        theirs = valkey.hgetall(job_key(job_id))
        ours = valkey.hgetall(job_key(golden_id(SPEC, V1, 5.0)))
        task, instance, (sent,), named = json.loads(ours.pop(b"data"))
        task_, instance_, (asked,), named_ = json.loads(theirs.pop(b"data"))
        assert (task, instance, named, set(sent)) == (task_, instance_, named_, set(asked))
        assert sent["request_id"] == GOLDEN_SET, "workers would take it for what callers ask"
        # nobody watches when it was made; how often it is tried and how long it may run is its own affair
        free = {b"created_at", b"enqueued_at", b"retries_left", b"timeout", b"failure_ttl"}
        assert {name: value for name, value in ours.items() if name not in free} == {
            name: value for name, value in theirs.items() if name not in free
        }

    ask(story)


def test_the_golden_set_goes_once_through_a_real_worker_and_is_judged(ask: Any, valkey: redis.Redis) -> None:
    async def story(queues: Queues, _jobs: JobQueue) -> None:
        with pytest.raises(NoCard):
            await queues.golden_rows("iris", ["2", "1"])
        worker = started_worker(valkey, VersionModel("1"))
        valkey.set(keys.CARD_PREFIX + ONE.queue, golden_card("1"))
        rows = await queues.golden_rows("iris", ["2", "1"])
        assert [label for _, label in rows] == [0, 1, 2], "the row nobody is sure of is left out"
        labels = [label for _, label in rows]
        assert await queues.golden_result(SPEC, V1, 5.0, labels) is None
        for _ in range(3):
            await queues.send_golden(SPEC, V1, [row for row, _ in rows], 5.0)
        assert valkey.llen(queue_keys(ONE.queue).waiting) == 1
        assert await queues.golden_result(SPEC, V1, 5.0, labels) == Golden()
        work_off(worker)
        assert await queues.golden_result(SPEC, V1, 5.0, labels) == Golden(answered=True, agreement=1.0)
        await queues.send_golden(SPEC, V1, [row for row, _ in rows], 5.0)
        assert valkey.llen(queue_keys(ONE.queue).waiting) == 0, "what was answered is not sent again"
        assert await queues.golden_result(SPEC, V1, 6.0, labels) is None, "another rollout proves anew"
        assert (await queues.golden_result(SPEC, V1, 5.0, [0])) == Golden(True, 0.0, "3 answers to 1 golden rows")
        assert (await queues.golden_result(SPEC, V1, 5.0, [0, 0, 0])) == Golden(True, pytest.approx(1 / 3))

    ask(story)


def test_a_golden_set_that_fails_says_why(ask: Any, valkey: redis.Redis) -> None:
    async def story(queues: Queues, _jobs: JobQueue) -> None:
        await queues.send_golden(SPEC, V1, [[1.0, 2.0]], 5.0)
        work_off(started_worker(valkey, VersionModel("1")))
        golden = await queues.golden_result(SPEC, V1, 5.0, [0])
        assert golden is not None
        assert golden.error.startswith("BAD_INPUT: ")

    ask(story)


def test_busy_hosts_are_those_with_jobs_in_hand(ask: Any, valkey: redis.Redis) -> None:
    async def story(queues: Queues, jobs: JobQueue) -> None:
        assert await queues.busy_hosts(ONE.queue) == {}
        worker = started_worker(valkey, VersionModel("1"))
        assert list((await queues.busy_hosts(ONE.queue)).values()) == [False]
        await submit(jobs, 1)
        busy = taken(valkey)
        valkey.hset(worker.key, "hostname", "idle-pod")
        valkey.hset(busy.key, "hostname", "busy-pod")
        assert await queues.busy_hosts(ONE.queue) == {"idle-pod": False, "busy-pod": True}

    ask(story)


def test_models_that_went_unseen_are_forgotten_and_others_kept(ask: Any, valkey: redis.Redis) -> None:
    async def story(queues: Queues, jobs: JobQueue) -> None:
        other = IrisModelSpec(name="iris2", namespace="ns", generation=1, uid="u", model=V1)
        for spec in (SPEC, other):
            await queues.write_route(spec, {"1": 100})
            await submit(jobs, 1, Target(spec.name, "1"))
            valkey.set(f"iris:redirect:{spec.name}@1", "x@1")
        await queues.forget_all_but({"iris2"})
        assert sorted(valkey.keys("iris:route:*")) == [b"iris:route:iris2"]
        assert sorted(valkey.keys("iris:redirect:*")) == [b"iris:redirect:iris2@1"]
        assert valkey.smembers(keys.MODELS) == {b"iris2"}
        assert valkey.zcard(PENDING) == 2, "recovery answers what waits"

    ask(story)


def test_a_redis_that_is_away_is_said_quickly(own_valkey: Valkey) -> None:
    async def story() -> None:
        queues = Queues(own_valkey.url, "ns")
        await queues.observe([], [])
        for make_it_leave in (own_valkey.pause, own_valkey.stop):
            make_it_leave()
            began = time.monotonic()
            with pytest.raises(NotYet, match="redis"):
                await queues.observe([], [])
            assert time.monotonic() - began < 10
        await queues.aclose()

    asyncio.run(story())


def test_the_operator_needs_no_more_of_redis_than_its_own_user_may(own_valkey: Valkey) -> None:
    admin = own_valkey.client()
    (line,) = (line for line in render(dict.fromkeys(USERS, "secret")).splitlines() if "user iris-operator " in line)
    admin.execute_command("ACL", "SETUSER", *line.split()[1:])
    admin.set(keys.CARD_PREFIX + ONE.queue, golden_card("1"))

    async def story() -> None:
        queues = Queues(own_valkey.url.replace("//", "//iris-operator:secret@"), "ns")
        rows = await queues.golden_rows("iris", ["1"])
        await queues.open(TWO.queue)
        await queues.send_golden(SPEC, V2, [row for row, _ in rows], 5.0)
        assert await queues.golden_result(SPEC, V2, 5.0, [0, 1, 2]) == Golden()
        await queues.write_route(SPEC, {"1": 90, "2": 10})
        assert (await queues.observe([TWO.queue], ["iris"])).queues[TWO.queue].waiting == 1
        assert await queues.close(TWO.queue, ONE.queue) == 1
        await asyncio.to_thread(started_worker, admin, VersionModel("1"))
        assert list((await queues.busy_hosts(ONE.queue)).values()) == [False]
        await queues.forget_all_but(set())
        await queues.aclose()

    asyncio.run(story())
    assert admin.keys("iris:route*") == []
