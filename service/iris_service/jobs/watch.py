"""Watches what every request must know without asking: the routes, how full the queues are, whether Redis is there."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Container, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import redis.asyncio
import structlog
from redis.exceptions import RedisError

from iris_service.errors import UnknownModel
from iris_service.jobs.client import stop_if_cancelled
from iris_service.jobs.keys import CARD_PREFIX, INLINE, MODELS, OUTCOMES, PENDING, ROUTE_PREFIX, Target, queue_keys
from iris_service.jobs.pressure import QueueReading, ServerReading, age_seconds, recent_rate, smoothed_rate
from iris_service.jobs.route import Route

LOOK_SECONDS = 1.0
"""Pause between two looks: how late a new route is followed at the most."""
MOST_MODELS = 500
"""Models one API follows; the first of them by name if there are more."""

_log = structlog.get_logger(__name__)


@dataclass(frozen=True)
class Observation:
    """What was seen at the last look, about a second ago at the most."""

    routes: Mapping[str, Route]
    """By model; never without the default one."""
    redis_up: bool = False
    server: ServerReading = field(default_factory=ServerReading)
    queues: Mapping[Target, QueueReading] = field(default_factory=dict)
    cards: Mapping[Target, bytes] = field(default_factory=dict)
    """The cards that workers have published for the versions of the routes; each names the one artifact they serve."""
    waiters: int = 0
    """Requests of this process that wait for an answer."""

    @property
    def memory_ratio(self) -> float:
        return self.server.memory_ratio

    def route(self, model: str) -> Route:
        """Return the route of a model; raises `UnknownModel`."""
        route = self.routes.get(model)
        if route is None:
            raise UnknownModel("there is no such model")
        return route

    def target(self, model: str, version: str) -> Target:
        """Return a version that takes jobs now; raises `UnknownModel`."""
        target = Target(model, version)
        if target not in self.route(model).targets:
            raise UnknownModel("no such version of this model takes jobs")
        return target

    def queue(self, target: Target) -> QueueReading:
        return self.queues.get(target) or QueueReading()

    @property
    def targets(self) -> tuple[Target, ...]:
        """Every version of every model that takes new jobs."""
        return tuple(target for route in self.routes.values() for target in route.targets)


class Watch:
    """Looks once a second, for as long as it runs. `default` takes the jobs of its model until that has a route."""

    def __init__(self, client: redis.asyncio.Redis, default: Target, deadline_seconds: int) -> None:
        self._client = client
        self._default = default
        self._deadline_seconds = deadline_seconds
        self._task: asyncio.Task[None] | None = None
        self._looked_at = time.monotonic()
        self._looks = 0
        self.seen = Observation({default.model: Route.only(default)})
        self._lost = False

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
                self._lost = False
                self.seen = replace(seen, queues=_with_rates(self.seen.queues, seen.queues, seconds))
            except (RedisError, OSError) as exc:
                if not self._lost:
                    _log.warning("queue lost", reason=str(exc)[:200])
                self._lost = True
                self.seen = replace(self.seen, redis_up=False)
            stop_if_cancelled()
            await asyncio.sleep(LOOK_SECONDS)

    async def _look(self) -> Observation:
        seen = Observation(await self._routes(), redis_up=True)
        known = {target: card for target, card in self.seen.cards.items() if target in seen.targets}
        self._looks += 1
        asked = cards_to_ask_for(seen.targets, known, self._looks)
        pipeline: Any = self._client.pipeline(transaction=False)
        for target in seen.targets:
            keys = queue_keys(target.queue)
            pipeline.llen(keys.waiting)
            pipeline.lindex(keys.waiting, 0)
            pipeline.zcard(keys.running)
            pipeline.hgetall(keys.counts)
        for target in asked:
            pipeline.get(CARD_PREFIX + target.queue)
        pipeline.info("memory", "persistence")
        *found, info = await pipeline.execute()
        queues = [found[at * 4 : at * 4 + 4] for at in range(len(seen.targets))]
        ages = await self._ages([next_in_line for _waiting, next_in_line, *_ in queues])
        readings = (_reading(age, *queue) for queue, age in zip(queues, ages, strict=True))
        cards = dict(zip(asked, found[4 * len(seen.targets) :], strict=True))
        return replace(
            seen,
            server=ServerReading.from_info(info),
            queues=dict(zip(seen.targets, readings, strict=True)),
            cards=merged_cards(known, cards),
        )

    async def _ages(self, job_ids: Sequence[bytes | None]) -> list[float]:
        """Return how long ago each of these jobs was accepted, in seconds; 0 where there is none."""
        if not any(job_ids):
            return [0.0] * len(job_ids)
        pipeline: Any = self._client.pipeline(transaction=False)
        pipeline.time()
        pipeline.zmscore(PENDING, [job_id or b"" for job_id in job_ids])
        (seconds, micros), deadlines = await pipeline.execute()
        now = seconds + micros / 1e6
        return [age_seconds(deadline, self._deadline_seconds, now) for deadline in deadlines]

    async def _routes(self) -> dict[str, Route]:
        members: Any = await self._client.smembers(MODELS)
        models = _models(members, self._default.model)
        found: Any = await self._client.mget([ROUTE_PREFIX + model for model in models])
        routes = {model: self._route(model, data) for model, data in zip(models, found, strict=True)}
        return {model: route for model, route in routes.items() if route is not None}

    def _route(self, model: str, data: bytes | None) -> Route | None:
        """Return what the operator wrote, or wrote before if that cannot be followed; None: there is no such model."""
        try:
            if data is not None:
                return Route.from_json(data, model)
        except ValueError as exc:
            _log.error("route ignored: it cannot be followed", model=model, reason=str(exc)[:200])
            if (before := self.seen.routes.get(model)) is not None:
                return before
        return Route.only(self._default) if model == self._default.model else None


def cards_to_ask_for(targets: Sequence[Target], known: Container[Target], looks: int) -> list[Target]:
    """Return the versions whose card is not known, and one of those that are, in turn.

    A card has 12 KB and should never change; that its workers serve something else by now is noticed all the same.
    """
    again = targets[looks % len(targets)]
    return [target for target in targets if target not in known or target == again]


def merged_cards(known: Mapping[Target, bytes], found: Mapping[Target, bytes | None]) -> dict[Target, bytes]:
    """Return what is known now; a card that has not changed stays the same object, so that nobody reads it again."""
    changed = {target: card for target, card in found.items() if card and card != known.get(target)}
    return {**known, **changed}


def _models(members: Iterable[bytes], default: str) -> list[str]:
    """Return the names to look at, the default first: it stays when there are too many."""
    others = sorted({name.decode(errors="replace") for name in members} - {default})
    return [default, *others][:MOST_MODELS]


def _reading(
    oldest_seconds: float, waiting: int, _next_in_line: bytes | None, running: int, counts: Mapping[bytes, bytes]
) -> QueueReading:
    def count(name: str) -> int:
        return int(counts.get(name.encode(), 0))

    return QueueReading(
        waiting=waiting,
        running=running,
        outcomes={name: count(name) for name in OUTCOMES},
        inline_done=count(f"{INLINE}done"),
        inline_error=count(f"{INLINE}error"),
        busy_seconds=count("busy_us") / 1e6,
        oldest_seconds=oldest_seconds,
    )


def _with_rates(
    before: Mapping[Target, QueueReading], now: Mapping[Target, QueueReading], seconds: float
) -> dict[Target, QueueReading]:
    rated = {}
    for target, reading in now.items():
        earlier = before.get(target) or reading
        answered = reading.answered - earlier.answered
        rate = smoothed_rate(earlier.answered_per_second, answered, reading.waiting, seconds)
        lately = recent_rate(earlier.lately_per_second, answered, seconds)
        rated[target] = replace(reading, answered_per_second=rate, lately_per_second=lately)
    return rated
