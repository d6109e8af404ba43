"""Routes in Redis, as the operator writes them, followed by a real JobQueue."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

import pytest
import redis

from iris_service.config import JobSettings, RedisSettings
from iris_service.errors import UnknownModel
from iris_service.jobs.job_queue import JobQueue
from iris_service.jobs.keys import CARD_PREFIX, MODELS, REDIRECT_PREFIX, ROUTE_PREFIX, Target, job_key, queue_keys
from iris_service.jobs.watch import MOST_MODELS
from iris_service.schemas import Payload
from servers import Valkey

ONE, TWO = Target("iris", "1"), Target("iris", "2")
WINE = Target("wine", "7")


def payload() -> Payload:
    return Payload(rows=((5.1, 3.5, 1.4, 0.2),), many=False, request_id="r", accepted_at=time.time())


async def until(condition: Callable[[], bool]) -> None:
    ends = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < ends, "the condition never came true"
        await asyncio.sleep(0.02)


def waiting(client: redis.Redis, target: Target) -> int:
    return int(client.llen(queue_keys(target.queue).waiting))  # type: ignore[arg-type]


def test_new_jobs_follow_the_route_within_a_look(valkey: redis.Redis, valkey_server: Valkey) -> None:
    async def story() -> None:
        queue = JobQueue(RedisSettings(url=valkey_server.url), JobSettings(), ONE)
        await queue.start()
        try:
            await asyncio.gather(*(queue.submit(payload()) for _ in range(10)))
            assert (waiting(valkey, ONE), waiting(valkey, TWO)) == (10, 0)
            valkey.set(CARD_PREFIX + TWO.queue, b"card of two")
            valkey.set(ROUTE_PREFIX + "iris", '{"1": 50, "2": 50}')
            await until(lambda: set(queue.observe().targets) == {ONE, TWO})
            assert queue.observe().cards == {TWO: b"card of two"}
            await asyncio.gather(*(queue.submit(payload()) for _ in range(400)))
            assert waiting(valkey, ONE) + waiting(valkey, TWO) == 410
            assert 120 <= waiting(valkey, TWO) <= 280, "half of 400, by chance"
            valkey.set(ROUTE_PREFIX + "iris", "nonsense")
            await asyncio.sleep(1.2)
            assert set(queue.observe().targets) == {ONE, TWO}, "the last good route is kept"
        finally:
            await queue.close()

    asyncio.run(story())


def test_every_model_that_has_a_route_is_followed_and_no_other(valkey: redis.Redis, valkey_server: Valkey) -> None:
    async def story() -> None:
        queue = JobQueue(RedisSettings(url=valkey_server.url), JobSettings(), ONE)
        await queue.start()
        try:
            valkey.set(ROUTE_PREFIX + "wine", '{"7": 100}')
            valkey.set(CARD_PREFIX + WINE.queue, b"card of wine")
            valkey.sadd(MODELS, "wine", "gone", b"\xff")
            await until(lambda: "wine" in queue.observe().routes)
            assert set(queue.observe().routes) == {"iris", "wine"}
            assert queue.observe().cards == {WINE: b"card of wine"}
            assert (queue.pick(), queue.pick("wine")) == (ONE, WINE)
            await queue.submit(payload(), queue.pick("wine"))
            assert waiting(valkey, WINE) == 1
            await until(lambda: queue.observe().queue(WINE).waiting == 1)
            with pytest.raises(UnknownModel):
                queue.pick("gone")
            valkey.srem(MODELS, "wine")
            await until(lambda: set(queue.observe().routes) == {"iris"})
        finally:
            await queue.close()

    asyncio.run(story())


@pytest.mark.parametrize(("others", "followed"), [(MOST_MODELS - 1, MOST_MODELS), (MOST_MODELS, MOST_MODELS)])
def test_no_more_models_are_followed_than_an_api_can_look_at_and_the_default_is_among_them(
    valkey: redis.Redis, valkey_server: Valkey, others: int, followed: int
) -> None:
    names = [f"a{number}" for number in range(others)]
    valkey.mset({ROUTE_PREFIX + name: '{"1": 100}' for name in names})
    valkey.sadd(MODELS, *names)

    async def story() -> None:
        queue = JobQueue(RedisSettings(url=valkey_server.url, timeout_seconds=5), JobSettings(), ONE)
        await queue.start()
        try:
            await until(lambda: len(queue.observe().routes) == followed)
            assert "iris" in queue.observe().routes
        finally:
            await queue.close()

    asyncio.run(story())


def test_a_closed_queue_passes_its_jobs_on_whoever_still_sends_there(
    valkey: redis.Redis, valkey_server: Valkey
) -> None:
    async def story() -> None:
        queue = JobQueue(RedisSettings(url=valkey_server.url), JobSettings(), TWO)
        try:
            valkey.set(REDIRECT_PREFIX + TWO.queue, ONE.queue)
            job_id = await queue.submit(payload())
            assert (waiting(valkey, ONE), waiting(valkey, TWO)) == (1, 0)
            assert valkey.hget(job_key(job_id), "origin") == ONE.queue.encode()
        finally:
            await queue.close()

    asyncio.run(story())
