"""Idempotency keys against a real Valkey: one job a key, whatever is sent again, by whom and when."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
import redis

from iris_service.config import JobSettings, RedisSettings
from iris_service.errors import IdempotencyConflict, QueueFull
from iris_service.jobs.job_id import id_of_key, new_id
from iris_service.jobs.job_queue import JobQueue
from iris_service.jobs.keys import FINGERPRINT_PREFIX, PENDING, Target, job_key, queue_keys, result_key
from iris_service.schemas import Payload
from servers import Valkey

ONE, TWO = Target("stub", "1"), Target("stub", "2")
JOB = id_of_key(b"order-7", "shop")
MARK, OTHER = "a" * 32, "b" * 32
PAYLOAD = Payload(rows=((5.1, 3.5, 1.4, 0.2),), many=False, request_id="r", accepted_at=1.0)
SETTINGS = JobSettings()


@asynccontextmanager
async def opened(server: Valkey, **settings: Any) -> AsyncIterator[JobQueue]:
    queue = JobQueue(RedisSettings(url=server.url, timeout_seconds=5), JobSettings(**settings), ONE)
    try:
        yield queue
    finally:
        await queue.close()


def run(story: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(story())  # type: ignore[arg-type]


def test_fifty_tries_at_once_are_one_job(valkey: redis.Redis, valkey_server: Valkey) -> None:
    async def story() -> None:
        async with opened(valkey_server) as api, opened(valkey_server) as another:
            tries = [queue.commit(JOB, PAYLOAD, ONE, MARK) for queue in (api, another) for _ in range(25)]
            assert Counter(await asyncio.gather(*tries)) == {True: 1, False: 49}

    run(story)
    assert valkey.lrange(queue_keys(ONE.queue).waiting, 0, -1) == [JOB.encode()]
    assert valkey.hget(queue_keys(ONE.queue).counts, "accepted") == b"1"


def test_a_retry_that_draws_another_version_is_the_same_job(valkey: redis.Redis, valkey_server: Valkey) -> None:
    async def story() -> None:
        async with opened(valkey_server) as queue:
            assert await queue.commit(JOB, PAYLOAD, ONE, MARK)
            assert not await queue.commit(JOB, PAYLOAD, TWO, MARK)
            with pytest.raises(IdempotencyConflict):
                await queue.commit(JOB, PAYLOAD, TWO, OTHER)

    run(story)
    assert valkey.llen(queue_keys(TWO.queue).waiting) == 0


def test_another_request_under_the_key_is_refused_before_and_after_the_answer(
    valkey: redis.Redis, valkey_server: Valkey
) -> None:
    async def story() -> None:
        async with opened(valkey_server) as queue:
            both = [queue.commit(JOB, PAYLOAD, ONE, mark) for mark in (MARK, OTHER)]  # in one flush
            first, refused = await asyncio.gather(*both, return_exceptions=True)
            assert first is True
            assert isinstance(refused, IdempotencyConflict)
            valkey.set(result_key(JOB), "{}")
            valkey.delete(job_key(JOB))
            valkey.zrem(PENDING, JOB)
            assert not await queue.commit(JOB, PAYLOAD, ONE, MARK)
            with pytest.raises(IdempotencyConflict):
                await queue.commit(JOB, PAYLOAD, ONE, OTHER)

    run(story)


def test_a_key_is_remembered_longer_than_any_answer_can_be(valkey: redis.Redis, valkey_server: Valkey) -> None:
    async def story() -> None:
        async with opened(valkey_server) as queue:
            await queue.commit(JOB, PAYLOAD, ONE, MARK)

    run(story)
    longest = SETTINGS.deadline_seconds + SETTINGS.timeout_seconds + SETTINGS.result_ttl_seconds
    assert longest < valkey.ttl(FINGERPRINT_PREFIX + JOB) <= longest + 60


def test_once_the_answer_has_expired_the_same_request_is_answered_anew_and_another_one_refused(
    valkey: redis.Redis, valkey_server: Valkey
) -> None:
    async def story() -> None:
        async with opened(valkey_server) as queue:
            valkey.set(FINGERPRINT_PREFIX + JOB, MARK)
            with pytest.raises(IdempotencyConflict):
                await queue.commit(JOB, PAYLOAD, ONE, OTHER)
            assert await queue.commit(JOB, PAYLOAD, ONE, MARK)

    run(story)


@pytest.mark.parametrize("spoil", ["gone", "another type"])
def test_a_job_whose_fingerprint_is_lost_is_given_to_nobody(
    valkey: redis.Redis, valkey_server: Valkey, spoil: str
) -> None:
    async def story() -> None:
        async with opened(valkey_server) as queue:
            await queue.commit(JOB, PAYLOAD, ONE, MARK)
            valkey.delete(FINGERPRINT_PREFIX + JOB)
            if spoil == "another type":
                valkey.rpush(FINGERPRINT_PREFIX + JOB, MARK)
            innocent = queue.commit(new_id(None), PAYLOAD, ONE)
            taken, other = await asyncio.gather(queue.commit(JOB, PAYLOAD, ONE, MARK), innocent, return_exceptions=True)
            assert isinstance(taken, IdempotencyConflict)
            assert other is True

    run(story)


def test_a_known_job_is_found_though_the_queue_is_full_and_a_refused_one_uses_no_key_up(
    valkey: redis.Redis, valkey_server: Valkey
) -> None:
    async def story() -> None:
        async with opened(valkey_server, queue_limit=1) as queue:
            assert await queue.commit(JOB, PAYLOAD, ONE, MARK)
            assert not await queue.commit(JOB, PAYLOAD, ONE, MARK)
            late = id_of_key(b"order-8", "shop")
            with pytest.raises(QueueFull):
                await queue.commit(late, PAYLOAD, ONE, MARK)
            valkey.lpop(queue_keys(ONE.queue).waiting)
            assert await queue.commit(late, PAYLOAD, ONE, OTHER)

    run(story)


def test_a_key_costs_two_commands_and_none_costs_nothing(valkey: redis.Redis, valkey_server: Valkey) -> None:
    jobs = 100

    def commands(mark: str) -> Counter[str]:
        async def story() -> None:
            async with opened(valkey_server) as queue:
                await queue.commit(new_id(None), PAYLOAD, ONE)  # the script is loaded
                valkey.config_resetstat()
                await asyncio.gather(*(queue.commit(new_id("shop"), PAYLOAD, ONE, mark) for _ in range(jobs)))

        run(story)
        stats = valkey.info("commandstats")
        ours = {"exists", "hset", "get", "set", "del", "expire", "zadd", "rpush", "hget"}
        return Counter({name: stats[f"cmdstat_{name}"]["calls"] for name in ours if f"cmdstat_{name}" in stats})

    plain, keyed = commands(""), commands(MARK)
    flushes = plain["zadd"]
    assert flushes <= 3
    assert plain == {"exists": jobs, "hset": jobs, "zadd": flushes, "rpush": flushes, "get": flushes}
    flushes = keyed["zadd"]
    assert keyed == {
        "exists": jobs, "hset": jobs, "zadd": flushes, "rpush": flushes, "get": flushes + jobs, "set": jobs
    }  # fmt: skip
