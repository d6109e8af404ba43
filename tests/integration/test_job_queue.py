"""The API's side of the queue, against a real Valkey."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis

from iris_operator.queues import Queues
from iris_service.config import JobSettings, RedisSettings
from iris_service.errors import AlreadyAnswered, JobNotFound, QueueFull, QueueUnavailable, TryLater
from iris_service.jobs.answers import LOOK_AGAIN_SECONDS
from iris_service.jobs.job_queue import JobQueue
from iris_service.jobs.keys import ANSWERED_CHANNEL, DRAFT_PREFIX, PENDING, Target, job_key, queue_keys, result_key
from iris_service.schemas import Answered, Failed, Payload, envelope_to_json
from servers import Valkey

TARGET = Target("stub", "1")
KEYS = queue_keys(TARGET.queue)
ANSWER = Answered(
    model="stub", version="1", digest="d", accepted_at=1.0, queued_seconds=0.1, task_seconds=0.1, rows=((1.0,),)
)


def payload() -> Payload:
    return Payload(rows=((5.1, 3.5, 1.4, 0.2),), many=False, request_id="r", accepted_at=time.time())


@asynccontextmanager
async def opened(server: Valkey, **settings: Any) -> AsyncIterator[JobQueue]:
    queue = JobQueue(RedisSettings(url=server.url), JobSettings(**settings), TARGET)
    await queue.start()
    try:
        yield queue
    finally:
        await queue.close()


async def until(condition: Callable[[], bool], seconds: float = 10) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "the condition never came true"
        await asyncio.sleep(0.02)


def run(story: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(story())  # type: ignore[arg-type]


def publish(client: redis.Redis, job_id: str, *, announce: bool = True) -> None:
    client.set(result_key(job_id), envelope_to_json(ANSWER))
    client.zrem(PENDING, job_id)
    if announce:
        client.publish(ANSWERED_CHANNEL, job_id)


def test_a_job_waits_then_is_answered_then_is_forgotten(valkey: redis.Redis, valkey_server: Valkey) -> None:
    async def story() -> None:
        async with opened(valkey_server) as queue:
            job_id = await queue.submit(payload())
            assert await queue.fetch(job_id) is None
            publish(valkey, job_id)
            assert await queue.fetch(job_id) == ANSWER
            valkey.delete(result_key(job_id))
            with pytest.raises(JobNotFound):
                await queue.fetch(job_id)

    run(story)


def test_who_listens_before_submitting_hears_a_small_answer_without_looking(
    valkey: redis.Redis, valkey_server: Valkey
) -> None:
    async def story() -> None:
        async with opened(valkey_server) as queue:
            other, mine = "0" * 32, "1" * 32
            with queue.listening(mine) as announced:
                await until(lambda: bool(valkey.pubsub_numsub(ANSWERED_CHANNEL)[0][1]))
                await queue.commit(mine, payload(), TARGET)
                valkey.publish(ANSWERED_CHANNEL, f"{other}\n{mine} ".encode() + envelope_to_json(ANSWER))
                assert await queue.hear(announced, 20) == ANSWER
            assert "cmdstat_zmscore" not in valkey.info("commandstats"), "nobody has looked"
            assert queue.observe().waiters == 0

    valkey.config_resetstat()
    run(story)


@pytest.mark.parametrize("announced_first", [True, False])
def test_who_hears_of_an_answer_alone_or_of_nothing_has_to_look(
    valkey: redis.Redis, valkey_server: Valkey, announced_first: bool
) -> None:
    async def story() -> None:
        async with opened(valkey_server) as queue:
            with queue.listening("1" * 32) as announced:
                await until(lambda: bool(valkey.pubsub_numsub(ANSWERED_CHANNEL)[0][1]))
                await queue.commit("1" * 32, payload(), TARGET)
                publish(valkey, "1" * 32, announce=announced_first)
                assert await queue.hear(announced, 20 if announced_first else 0.05) is None
            assert await queue.fetch("1" * 32) == ANSWER

    run(story)


def test_concurrent_submissions_share_round_trips(valkey: redis.Redis, valkey_server: Valkey) -> None:
    async def story() -> None:
        async with opened(valkey_server) as queue:
            await queue.submit(payload())
            before = valkey.info("commandstats")["cmdstat_evalsha"]["calls"]
            await asyncio.gather(*(queue.submit(payload()) for _ in range(500)))
            assert valkey.info("commandstats")["cmdstat_evalsha"]["calls"] - before <= 3
            assert valkey.llen(KEYS.waiting) == valkey.zcard(PENDING) == 501

    run(story)


def test_the_queue_takes_jobs_up_to_its_limit_and_not_one_more(valkey: redis.Redis, valkey_server: Valkey) -> None:
    async def story() -> None:
        async with opened(valkey_server, queue_limit=10) as queue:
            results = await asyncio.gather(*(queue.submit(payload()) for _ in range(11)), return_exceptions=True)
            refused = [result for result in results if isinstance(result, QueueFull)]
            assert len(refused) == 1
            assert 1 <= (refused[0].retry_after_seconds or 0) <= 60
            assert valkey.llen(KEYS.waiting) == valkey.zcard(PENDING) == 10
            valkey.lpop(KEYS.waiting)
            await queue.submit(payload())

    run(story)


def test_a_reply_that_was_lost_does_not_make_a_second_job(valkey: redis.Redis, valkey_server: Valkey) -> None:
    async def story() -> None:
        async with opened(valkey_server) as queue:
            item = ("f" * 32, b"data", "")
            assert await queue._flush_submissions(TARGET.queue, [item]) == [1]
            assert await queue._flush_submissions(TARGET.queue, [item]) == [2]
            assert valkey.lrange(KEYS.waiting, 0, -1) == [b"f" * 32]
            assert valkey.hget(KEYS.counts, "accepted") == b"1"

    run(story)


def test_the_next_job_in_line_is_as_old_as_redis_clock_says(valkey: redis.Redis, valkey_server: Valkey) -> None:
    async def story() -> None:
        async with opened(valkey_server) as queue:
            await until(lambda: queue.observe().redis_up)
            assert queue.observe().queue(TARGET).oldest_seconds == 0
            job_id = await queue.submit(payload())
            await queue.submit(payload())
            valkey.zadd(PENDING, {job_id: time.time() + JobSettings().deadline_seconds - 90})
            await until(lambda: 90 <= queue.observe().queue(TARGET).oldest_seconds < 120)
            valkey.lpop(KEYS.waiting)
            await until(lambda: queue.observe().queue(TARGET).oldest_seconds < 30)
            valkey.lpush(KEYS.waiting, "a job of somebody else's, which no ledger knows")
            await until(lambda: queue.observe().queue(TARGET).oldest_seconds == 0)

    run(story)


def test_what_is_answered_lately_dies_away_and_how_fast_workers_are_does_not(
    valkey: redis.Redis, valkey_server: Valkey
) -> None:
    async def story() -> None:
        async with opened(valkey_server) as queue:
            await until(lambda: queue.observe().redis_up)
            valkey.hincrby(KEYS.counts, "done", 1000)
            await until(lambda: queue.observe().queue(TARGET).lately_per_second > 0, 30)
            fast = queue.observe().queue(TARGET).answered_per_second
            await until(lambda: queue.observe().queue(TARGET).lately_per_second < fast / 3, 30)
            assert queue.observe().queue(TARGET).answered_per_second == fast

    run(story)


def fill(client: redis.Redis, name: str, kilobytes: int) -> None:
    """Fill memory in small pieces, for a large one leaves a large buffer behind it."""
    for number in range(kilobytes // 10):
        client.set(f"{name}:{number}", "x" * 10_000)


def test_memory_beyond_the_limit_refuses_new_jobs_and_lets_them_in_again(own_valkey: Valkey) -> None:
    client = own_valkey.client()

    async def story() -> None:
        async with opened(own_valkey) as queue:
            await until(lambda: queue.observe().redis_up)
            fill(client, "base", 20_000)
            client.config_set("maxmemory", int(client.info("memory")["used_memory"] / 0.75))
            client.config_set("maxmemory-policy", "noeviction")
            await until(lambda: queue.observe().memory_ratio > 0.5)
            await queue.submit(payload())
            fill(client, "ballast", 2_500)
            await until(lambda: queue.observe().memory_ratio >= 0.8)
            with pytest.raises(TryLater) as refusal:
                await queue.submit(payload())
            assert (refusal.value.retry_after_seconds or 0) >= 1
            client.delete(*client.keys("ballast:*"))
            await until(lambda: queue.observe().memory_ratio < 0.8)
            await queue.submit(payload())

    run(story)


def test_waiting_ends_with_the_announcement(valkey: redis.Redis, valkey_server: Valkey) -> None:
    async def story() -> None:
        async with opened(valkey_server) as queue:
            job_id = await queue.submit(payload())
            waiting = [asyncio.create_task(queue.fetch(job_id, 20)) for _ in range(50)]
            await until(lambda: queue.observe().waiters == 50)
            await until(lambda: bool(valkey.pubsub_numsub(ANSWERED_CHANNEL)[0][1]))
            assert valkey.pubsub_numsub(ANSWERED_CHANNEL)[0][1] == 1, "one subscription a process"
            publish(valkey, job_id)
            assert await asyncio.wait_for(asyncio.gather(*waiting), LOOK_AGAIN_SECONDS * 4) == [ANSWER] * 50
            assert queue.observe().waiters == 0

    run(story)


def test_a_lost_announcement_costs_time_and_not_the_answer(valkey: redis.Redis, valkey_server: Valkey) -> None:
    async def story() -> None:
        async with opened(valkey_server) as queue:
            job_id = await queue.submit(payload())
            waiting = asyncio.create_task(queue.fetch(job_id, 20))
            await until(lambda: queue.observe().waiters == 1)
            publish(valkey, job_id, announce=False)
            assert await asyncio.wait_for(waiting, LOOK_AGAIN_SECONDS * 4) == ANSWER

    run(story)


def test_waiting_in_vain_ends_in_time_and_leaves_no_waiter(valkey: redis.Redis, valkey_server: Valkey) -> None:
    async def story() -> None:
        async with opened(valkey_server) as queue:
            job_id = await queue.submit(payload())
            assert await asyncio.wait_for(queue.fetch(job_id, 0.3), 5) is None
            leaves = asyncio.create_task(queue.fetch(job_id, 20))
            await until(lambda: queue.observe().waiters == 1)
            leaves.cancel()
            await asyncio.gather(leaves, return_exceptions=True)
            assert queue.observe().waiters == 0

    run(story)


def test_a_waiting_job_that_is_cancelled_is_gone_at_once_and_only_its_envelope_stays(
    valkey: redis.Redis, valkey_server: Valkey
) -> None:
    async def story() -> None:
        async with opened(valkey_server) as queue:
            ids = [await queue.submit(payload()) for _ in range(3)]
            await asyncio.gather(*(queue.cancel(ids[1]) for _ in range(3)))
            assert valkey.lrange(KEYS.waiting, 0, -1) == [ids[0].encode(), ids[2].encode()]
            assert valkey.zscore(PENDING, ids[1]) is None
            assert not valkey.exists(job_key(ids[1]), DRAFT_PREFIX + ids[1])
            assert 3000 < valkey.ttl(result_key(ids[1])) <= 3600
            envelope = await queue.fetch(ids[1])
            assert isinstance(envelope, Failed)
            assert (envelope.code, envelope.model, envelope.version) == ("CANCELLED", "stub", "1")
            assert abs(envelope.finished_at - time.time()) < 60
            assert valkey.hget(KEYS.counts, "cancelled") == b"1"
            await until(lambda: queue.observe().queue(TARGET).outcomes.get("cancelled") == 1)

    run(story)


def test_what_is_answered_or_unknown_is_not_cancelled(valkey: redis.Redis, valkey_server: Valkey) -> None:
    async def story() -> None:
        async with opened(valkey_server) as queue:
            job_id = await queue.submit(payload())
            publish(valkey, job_id)
            with pytest.raises(AlreadyAnswered):
                await queue.cancel(job_id)
            assert await queue.fetch(job_id) == ANSWER
            with pytest.raises(JobNotFound):
                await queue.cancel("f" * 32)
            assert not valkey.exists(result_key("f" * 32))
            assert valkey.hget(KEYS.counts, "cancelled") is None

    run(story)


def test_a_job_is_cancelled_where_a_closed_queue_has_sent_it(valkey: redis.Redis, valkey_server: Valkey) -> None:
    async def story() -> None:
        operator = Queues(valkey_server.url, "test")
        async with opened(valkey_server) as queue:
            job_id = await queue.submit(payload())
            assert await operator.close(TARGET.queue, "stub@2") == 1
            await queue.cancel(job_id)
            assert valkey.llen(queue_keys("stub@2").waiting) == 0
            assert valkey.hget(queue_keys("stub@2").counts, "cancelled") == b"1"
        await operator.aclose()

    run(story)


@pytest.mark.parametrize("spoil", ["gone", "type", "origin"])
def test_a_job_that_cannot_be_read_can_be_cancelled(valkey: redis.Redis, valkey_server: Valkey, spoil: str) -> None:
    async def story() -> None:
        async with opened(valkey_server) as queue:
            job_id = await queue.submit(payload())
            if spoil == "origin":
                valkey.hset(job_key(job_id), "origin", "nowhere")
            else:
                valkey.delete(job_key(job_id))
            if spoil == "type":
                valkey.set(job_key(job_id), "not a hash")
            await queue.cancel(job_id)
            assert isinstance(await queue.fetch(job_id), Failed)
            assert not valkey.exists(job_key(job_id))

    run(story)


def test_who_waits_for_a_job_hears_that_it_was_cancelled(valkey: redis.Redis, valkey_server: Valkey) -> None:
    async def story() -> None:
        async with opened(valkey_server) as queue, opened(valkey_server) as another:
            job_id = await queue.submit(payload())
            here, there = (asyncio.create_task(api.fetch(job_id, 20)) for api in (queue, another))
            await until(lambda: queue.observe().waiters == another.observe().waiters == 1)
            await queue.cancel(job_id)
            assert isinstance(await asyncio.wait_for(here, LOOK_AGAIN_SECONDS * 4), Failed)
            assert isinstance(await asyncio.wait_for(there, LOOK_AGAIN_SECONDS * 4), Failed)

    run(story)


def test_closing_wakes_those_who_wait(valkey: redis.Redis, valkey_server: Valkey) -> None:
    async def story() -> None:
        async with opened(valkey_server) as queue:
            job_id = await queue.submit(payload())
            waiting = asyncio.create_task(queue.fetch(job_id, 20))
            await until(lambda: queue.observe().waiters == 1)
            await queue._answers.close()
            assert await asyncio.wait_for(waiting, 5) is None

    run(story)


def test_without_redis_callers_know_within_two_seconds_and_service_resumes_by_itself(own_valkey: Valkey) -> None:
    async def story() -> None:
        async with opened(own_valkey) as queue:
            await until(lambda: queue.observe().redis_up)
            job_id = await queue.submit(payload())
            own_valkey.kill()
            started = time.monotonic()
            refusals = await asyncio.gather(
                *(queue.submit(payload()) for _ in range(20)), queue.fetch(job_id), queue.ping(), return_exceptions=True
            )
            assert time.monotonic() - started < 3
            assert all(isinstance(refusal, QueueUnavailable) for refusal in refusals)
            assert all(refusal.retry_after_seconds for refusal in refusals if isinstance(refusal, TryLater))
            await until(lambda: not queue.observe().redis_up)
            own_valkey.start()
            await until(lambda: queue.observe().redis_up)
            assert await queue.fetch(job_id) is None
            await queue.submit(payload())

    run(story)


def test_a_redis_that_hangs_is_told_from_one_that_answers_within_two_seconds(own_valkey: Valkey) -> None:
    async def story() -> None:
        async with opened(own_valkey) as queue:
            await queue.submit(payload())
            own_valkey.pause()
            started = time.monotonic()
            refusals = await asyncio.gather(*(queue.submit(payload()) for _ in range(20)), return_exceptions=True)
            assert time.monotonic() - started < 3
            assert all(isinstance(refusal, QueueUnavailable) for refusal in refusals)
            own_valkey.resume()
            await until(lambda: queue.observe().redis_up)
            await queue.submit(payload())

    run(story)
