"""The operator's side of Redis: reads what queues hold, writes routes, closes queues. The only door to it.

Names and shapes here are those of `iris_service.jobs`; `tests/integration/test_operator_queues.py` holds them together.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from importlib.resources import files
from typing import Any

import redis.asyncio
from redis.asyncio.retry import Retry
from redis.asyncio.sentinel import Sentinel
from redis.backoff import ConstantBackoff, NoBackoff
from redis.exceptions import RedisError

from iris_operator.address import SentinelAddress, sentinel_address
from iris_operator.errors import InvalidSpec, NoCard, NotYet
from iris_operator.manifests import queue_name
from iris_operator.plan import Golden
from iris_operator.spec import LATENCY_BOUNDS, Counters, IrisModelSpec, ModelVersion

SURE = 2 / 3
"""A golden row counts when its own version gives its class more than this: border cases may well move."""
GOLDEN_REQUEST = "golden set"
"""Request id of the golden job. Workers do not take it for what callers ask; with its space no caller can send it."""
_TIMEOUT_SECONDS = 1.0
_GOLDEN_DEADLINE_SECONDS = 3600


@dataclass(frozen=True)
class QueueSeen:
    """One queue at one moment."""

    waiting: int
    running: int
    """Jobs under a lease, the dead workers' included until recovery has them."""
    busy_workers: int
    counters: Counters
    """What a version has answered, its workers and API processes alike: for judging it."""
    answered_jobs: int
    """What its workers have answered, for sizing them."""
    busy_seconds: float
    """Worker time spent on answers since the queue began."""
    rejected: str
    """Why a worker refused the version's artifact; empty when none did."""
    seen_at: float

    @property
    def backlog(self) -> int:
        return self.waiting + self.running


@dataclass(frozen=True)
class Reading:
    """All queues and routes at one moment."""

    queues: Mapping[str, QueueSeen]
    routes: Mapping[str, bytes | None]
    """By model, as they are written; None when there is none."""


class Queues:
    """A connection that answers quickly or raises `NotYet`."""

    def __init__(self, url: str, namespace: str, ca_file: str = "") -> None:
        self._routed = f"iris:routed:{namespace}"
        self._client = _connect(url, ca_file)
        lua = files("iris_operator") / "lua"
        self._close = self._client.register_script((lua / "close.lua").read_text())
        self._send = self._client.register_script((lua / "golden.lua").read_text())

    async def aclose(self) -> None:
        await self._client.aclose()

    async def observe(self, queues: Sequence[str], models: Sequence[str]) -> Reading:
        """Read everything in one transaction, so that no job is between two counts."""
        pipeline = self._client.pipeline(transaction=True)
        for queue in queues:
            pipeline.llen(f"rq:queue:{queue}")
            pipeline.llen(f"rq:queue:{queue}:intermediate")
            pipeline.zrange(f"rq:wip:{queue}", 0, -1)
            pipeline.hgetall(f"iris:counts:{queue}")
            pipeline.get(f"iris:rejected:{queue}")
        for model in models:
            pipeline.get(f"iris:route:{model}")
        if not queues and not models:
            pipeline.exists("iris:pending")  # says whether Redis is there
        found, now = await self._ask(pipeline.execute()), time.time()
        routes = found[len(queues) * 5 :]
        return Reading(
            queues={queue: _seen(found[at * 5 : at * 5 + 5], now) for at, queue in enumerate(queues)},
            routes=dict(zip(models, routes, strict=False)),
        )

    async def write_route(self, spec: IrisModelSpec, weights: Mapping[str, int]) -> None:
        """Write which versions take new jobs; the API looks once a second."""
        pipeline = self._client.pipeline(transaction=True)
        pipeline.sadd(self._routed, spec.name)
        pipeline.sadd("iris:models", spec.name)
        pipeline.set(f"iris:route:{spec.name}", route_text(weights))
        for version in weights:  # what takes jobs again passes none on
            pipeline.delete(f"iris:redirect:{queue_name(spec.name, version)}")
        await self._ask(pipeline.execute())

    async def forget(self, model: str) -> None:
        """Take back what was written about a model that is gone; recovery answers the jobs that still wait for it."""
        known = await self._ask(self._client.smembers("iris:queues"))
        own = [name.decode() for name in known if name.decode().partition("@")[0] == model]
        pipeline = self._client.pipeline(transaction=True)
        pipeline.delete(f"iris:route:{model}")
        pipeline.srem(self._routed, model)
        pipeline.srem("iris:models", model)
        for queue in own:
            pipeline.delete(f"iris:redirect:{queue}", f"iris:rejected:{queue}")
        await self._ask(pipeline.execute())

    async def forget_all_but(self, models: Collection[str]) -> None:
        """Take back what was written about models that went while no operator was there to see it."""
        for name in await self._ask(self._client.smembers(self._routed)):
            if name.decode() not in models:
                await self.forget(name.decode())

    async def close(self, queue: str, to: str) -> int:
        """Send what waits, and whatever still comes, to another queue, in one step; returns how many jobs moved."""
        return int(await self._ask(self._close(args=(queue, to))))

    async def open(self, queue: str) -> None:
        """Let a queue take jobs itself again, and forget why its version was refused before."""
        await self._ask(self._client.delete(f"iris:redirect:{queue}", f"iris:rejected:{queue}"))

    async def send_golden(self, spec: IrisModelSpec, version: ModelVersion, rows: Sequence[Any], begun: float) -> None:
        """Put the golden rows on the version's own queue as one job; again is the same job."""
        payload = {"rows": rows, "many": True, "request_id": GOLDEN_REQUEST, "accepted_at": time.time()}
        data = json.dumps(["iris_service.jobs.tasks.predict", None, [payload], {}])
        job_id = golden_id(spec, version, begun)
        queue = queue_name(spec.name, version.version)
        await self._ask(
            self._send(args=(queue, job_id, data, spec.worker.job_timeout_seconds, _GOLDEN_DEADLINE_SECONDS))
        )

    async def golden_rows(self, model: str, versions: Sequence[str]) -> list[tuple[list[float], int]]:
        """Return rows and the index of their class, from the first of these versions' cards that is known."""
        for version in versions:
            card = await self._ask(self._client.get(f"iris:card:{queue_name(model, version)}"))
            if card:
                return _sure_rows(json.loads(card)["golden"])
        raise NoCard("no worker has published a card yet")

    async def golden_result(
        self, spec: IrisModelSpec, version: ModelVersion, begun: float, expected: Sequence[int]
    ) -> Golden | None:
        """Return how the golden set came out; None when it was not sent."""
        job_id = golden_id(spec, version, begun)
        pipeline = self._client.pipeline(transaction=True)
        pipeline.get(f"iris:result:{job_id}")
        pipeline.zscore("iris:pending", job_id)
        answer, pending = await self._ask(pipeline.execute())
        if answer is None:
            return None if pending is None else Golden()
        envelope = json.loads(answer)
        if envelope["state"] != "done":
            return Golden(answered=True, error=f"{envelope['code']}: {envelope['error']}")
        classes = [row.index(max(row)) for row in envelope["rows"]]
        if not expected or len(classes) != len(expected):
            return Golden(answered=True, error=f"{len(classes)} answers to {len(expected)} golden rows")
        agreeing = sum(got == label for got, label in zip(classes, expected, strict=True))
        return Golden(answered=True, agreement=agreeing / len(expected))

    async def busy_hosts(self, queue: str) -> dict[str, bool]:
        """Return which hosts (pods) of this queue's workers are busy."""
        members = await self._ask(self._client.smembers(f"rq:workers:{queue}"))
        if not members:
            return {}
        pipeline = self._client.pipeline(transaction=False)
        for member in members:
            pipeline.hmget(member, "hostname", "state")
        found = await self._ask(pipeline.execute())
        return {host.decode(): state == b"busy" for host, state in found if host}

    async def _ask(self, command: Any) -> Any:
        try:
            return await command
        except (RedisError, OSError, TimeoutError) as exc:
            raise NotYet(f"redis: {type(exc).__name__}: {exc}"[:200]) from exc


def _connect(url: str, ca_file: str) -> redis.asyncio.Redis:
    """Return a client, not connected yet; raises `InvalidSpec` for an address that cannot be used."""
    scheme = url.partition(":")[0]
    options: dict[str, Any] = {
        "socket_timeout": _TIMEOUT_SECONDS,
        "socket_connect_timeout": _TIMEOUT_SECONDS,
        "retry": Retry(ConstantBackoff(0.05), 1),
        "health_check_interval": 15,
    }
    if ca_file:
        if scheme not in ("rediss", "sentinels"):
            raise InvalidSpec("IRIS_REDIS_CA_FILE is for rediss:// and sentinels://")
        options["ssl_ca_certs"] = ca_file
    if at := sentinel_address(url):
        return _through(at, options | {"ssl": True} if at.tls else options)
    try:
        return redis.asyncio.Redis.from_url(url, **options)
    except ValueError as exc:  # says which schemes there are, and not what was given
        raise InvalidSpec(f"IRIS_REDIS_URL: {exc}") from exc


def _through(at: SentinelAddress, options: Mapping[str, Any]) -> redis.asyncio.Redis:
    """Return a client of whichever server the Sentinels call master; one that is silent is passed over at once."""
    asking = {"username": at.sentinel_username, "password": at.sentinel_password, "retry": Retry(NoBackoff(), 0)}
    kind: Any = Sentinel  # untyped
    found: redis.asyncio.Redis = kind(at.hosts, sentinel_kwargs={**options, **asking}).master_for(
        at.service, **options, db=at.db, username=at.username, password=at.password
    )
    return found


def route_text(weights: Mapping[str, int]) -> bytes:
    """A route as it is written."""
    return json.dumps(dict(sorted(weights.items()))).encode()


def golden_id(spec: IrisModelSpec, version: ModelVersion, begun: float) -> str:
    """Return the golden job's id: the same for one rollout however often it is asked, another for the next."""
    text = f"{spec.uid}/{version.version}/{version.digest}/{begun}"
    return hashlib.sha256(text.encode()).hexdigest()[:32]


def _seen(replies: Sequence[Any], now: float) -> QueueSeen:
    waiting, intermediate, members, counts, rejected = replies

    def count(name: str) -> int:
        return int(counts.get(name.encode(), 0))

    def with_inline(name: str) -> int:
        return count(name) + count(f"inline_{name}")

    return QueueSeen(
        waiting=waiting + intermediate,
        running=len(members),
        busy_workers=len({member.partition(b":")[2] for member in members}),  # a batch shares one execution
        counters=Counters(
            done=with_inline("done"),
            failed=with_inline("error") + count("expired"),
            latency=tuple(with_inline(f"latency:{bucket}") for bucket in range(len(LATENCY_BOUNDS) + 1)),
        ),
        answered_jobs=count("done") + count("error") + count("expired"),
        busy_seconds=count("busy_us") / 1e6,
        rejected=rejected.decode(errors="replace") if rejected else "",
        seen_at=now,
    )


def _sure_rows(golden: Sequence[Mapping[str, Any]]) -> list[tuple[list[float], int]]:
    rows = [(list(item["row"]), list(item["probabilities"])) for item in golden]
    return [(row, chances.index(max(chances))) for row, chances in rows if max(chances) > SURE]
