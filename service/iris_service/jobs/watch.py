"""Watches what every request must know without asking: the route, how full the queues are, whether Redis is there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import redis.asyncio
import structlog
from redis.exceptions import RedisError

from iris_service.jobs.client import stop_if_cancelled
from iris_service.jobs.keys import CARD_PREFIX, OUTCOMES, ROUTE_PREFIX, Target, queue_keys
from iris_service.jobs.pressure import QueueReading, smoothed_rate
from iris_service.jobs.route import Route

LOOK_SECONDS = 1.0
"""Pause between two looks: how late a new route is followed at the most."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Observation:
    """What was seen at the last look, about a second ago at the most."""

    route: Route
    redis_up: bool = False
    memory_ratio: float = 0.0
    """Used share of Redis' maxmemory; 0 when it has none."""
    queues: Mapping[Target, QueueReading] = field(default_factory=dict)
    cards: Mapping[Target, bytes] = field(default_factory=dict)
    """The cards that workers have published for the versions of the route."""
    waiters: int = 0
    """Requests of this process that wait for an answer."""

    def queue(self, target: Target) -> QueueReading:
        return self.queues.get(target) or QueueReading()


class Watch:
    """Looks once a second, for as long as it runs. Without a route of the operator's, all jobs go to `default`."""

    def __init__(self, client: redis.asyncio.Redis, default: Target) -> None:
        self._client = client
        self._default = default
        self._task: asyncio.Task[None] | None = None
        self._looked_at = time.monotonic()
        self.seen = Observation(Route.only(default))

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        while True:
            try:
                seen = await self._look()
                seconds, self._looked_at = time.monotonic() - self._looked_at, time.monotonic()
                self.seen = replace(seen, queues=_with_rates(self.seen.queues, seen.queues, seconds))
            except (RedisError, OSError) as exc:
                if self.seen.redis_up:
                    _log.warning("queue lost", reason=str(exc)[:200])
                self.seen = replace(self.seen, redis_up=False)
            stop_if_cancelled()
            await asyncio.sleep(LOOK_SECONDS)

    async def _look(self) -> Observation:
        found: Any = await self._client.get(ROUTE_PREFIX + self._default.model)
        route = self._route(found)
        pipeline: Any = self._client.pipeline(transaction=False)
        for target in route.targets:
            keys = queue_keys(target.queue)
            pipeline.llen(keys.waiting)
            pipeline.zcard(keys.running)
            pipeline.hgetall(keys.counts)
        pipeline.mget([CARD_PREFIX + target.queue for target in route.targets])
        pipeline.info("memory")
        *queues, cards, memory = await pipeline.execute()
        limit = memory.get("maxmemory", 0)
        return Observation(
            route=route,
            redis_up=True,
            memory_ratio=memory["used_memory"] / limit if limit else 0.0,
            queues={target: _reading(*queues[at * 3 : at * 3 + 3]) for at, target in enumerate(route.targets)},
            cards={target: card for target, card in zip(route.targets, cards, strict=True) if card},
        )

    def _route(self, data: bytes | None) -> Route:
        if data is None:
            return Route.only(self._default)
        try:
            return Route.from_json(data, self._default.model)
        except ValueError as exc:
            _log.error("route ignored: it cannot be followed", reason=str(exc)[:200])
            return self.seen.route


def _reading(waiting: int, running: int, counts: Mapping[bytes, bytes]) -> QueueReading:
    return QueueReading(
        waiting=waiting, running=running, outcomes={name: int(counts.get(name.encode(), 0)) for name in OUTCOMES}
    )


def _with_rates(
    before: Mapping[Target, QueueReading], now: Mapping[Target, QueueReading], seconds: float
) -> dict[Target, QueueReading]:
    rated = {}
    for target, reading in now.items():
        earlier = before.get(target) or reading
        answered = reading.answered - earlier.answered
        rate = smoothed_rate(earlier.answered_per_second, answered, reading.waiting, seconds)
        rated[target] = replace(reading, answered_per_second=rate)
    return rated
