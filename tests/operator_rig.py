"""The operator's reconcile on a cluster in memory and a real Valkey, with real jobs and workers in this process."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec
import redis
from prometheus_client import CollectorRegistry

from cards import card_of
from iris_operator.errors import NotYet
from iris_operator.manifests import Pods
from iris_operator.queues import Queues
from iris_operator.reconcile import Reconciler
from iris_operator.store import Key
from iris_operator.telemetry import OperatorMetrics
from iris_service.config import JobSettings, RedisSettings
from iris_service.jobs.job_queue import JobQueue
from iris_service.jobs.keys import Target, result_key
from iris_service.jobs.watchdog import Watchdog
from iris_service.jobs.worker import IrisWorker
from iris_service.model.card import GoldenRow, card_to_json
from iris_service.schemas import Envelope, Payload, Row, envelope_from_json
from memory_cluster import Faults, MemoryCluster
from servers import Valkey
from stub_model import StubModel

KEY = Key("ns", "iris")
ROW = (5.1, 3.5, 1.4, 0.2)
PODS = Pods(image="iris-worker:1", redis_secret="iris-redis")


class VersionModel(StubModel):
    """Answers as its flower says: the class is the number of the largest of the first three values."""

    name = "iris"

    def __init__(self, version: str, *, wrong: bool = False, fails: bool = False) -> None:
        self.version = version
        self._wrong, self._fails = wrong, fails

    def predict(self, rows: Sequence[Row]) -> list[tuple[float, ...]]:
        if self._fails and len(rows) < 3:  # not the golden set, which is proven with
            raise ArithmeticError("this version fails")
        right = [tuple(float(value == max(row[:3])) for value in row[:3]) for row in rows]
        return [tuple(reversed(chances)) for chances in right] if self._wrong else right


def golden_card(version: str) -> bytes:
    """A card with three golden rows, one a class, and one that no version need agree on."""
    rows = [(9.0, 1.0, 1.0, 1.0), (1.0, 9.0, 1.0, 1.0), (1.0, 1.0, 9.0, 1.0)]
    golden = [GoldenRow(row, tuple(float(value == 9.0) for value in row[:3])) for row in rows]
    unsure = GoldenRow((5.0, 5.1, 1.0, 1.0), (0.5, 0.5, 0.0))
    return card_to_json(msgspec.structs.replace(card_of(version=version), golden=(*golden, unsure)))


class FlakyQueues(Queues):
    """Fails when it is told to, after a command took effect."""

    def __init__(self, url: str, faults: Faults) -> None:
        super().__init__(url, "ns")
        self.faults = faults

    async def _ask(self, command: Any) -> Any:
        answer = await super()._ask(command)
        self.faults.after()
        return answer


class Rig:
    """One namespace: `look` is one look of the operator at the model `iris`, a second after the last."""

    def __init__(self, server: Valkey, client: redis.Redis) -> None:
        self.client = client
        self.server = server
        self.faults = Faults()
        self.cluster = MemoryCluster(self.faults)
        self.now = 1_000_000.0
        self.submitted: list[str] = []
        self.bad: dict[str, Mapping[str, Any]] = {}
        """Options of `VersionModel` by version."""
        self._workers: dict[str, IrisWorker] = {}
        self.queues = FlakyQueues(server.url, self.faults)
        self.jobs = JobQueue(RedisSettings(url=server.url, timeout_seconds=5), JobSettings(), Target("iris", "1"))
        self.restart()

    def restart(self) -> None:
        """A new operator process: what was only in memory is gone."""
        store = self.cluster.restart_watches()
        self.metrics = OperatorMetrics(CollectorRegistry())
        self.reconciler = Reconciler(self.cluster, self.queues, store, PODS, self.metrics, lambda: self.now)

    async def close(self) -> None:
        await self.queues.aclose()
        await self.jobs.close()

    async def look(self, *, redis_up: bool = True) -> None:
        """Read everything and reconcile once."""
        self.now += 1
        reading = await self.queues.observe(self.reconciler.queues_of(KEY), ["iris"]) if redis_up else None
        await self.reconciler.reconcile(KEY, reading)

    async def rounds(self, count: int, jobs: int = 3) -> None:
        """Look, submit and work in turns; a look that fails is taken up again by a new process."""
        for _ in range(count):
            try:
                await self.look()
            except NotYet:
                self.restart()
            await self.submit(jobs)
            self.work()

    async def submit(self, count: int) -> None:
        """Submit jobs as the API does, to where the route of this moment says."""
        payload = Payload(rows=(ROW,), many=False, request_id="r" * 32, accepted_at=time.time())
        for _ in range(count):
            self.submitted.append(await self.jobs.submit(payload, self.pick()))

    def pick(self) -> Target:
        """Draw versions in turn, so that each gets its share of few jobs."""
        route = self.route or {"1": 100}
        names = sorted(name for name, weight in route.items() if weight)
        return Target("iris", names[len(self.submitted) % len(names)])

    @property
    def route(self) -> dict[str, int] | None:
        text = self.client.get("iris:route:iris")
        return None if text is None else msgspec.json.decode(text, type=dict[str, int])  # type: ignore[arg-type]

    def work(self) -> None:
        """One worker of every version the cluster runs answers what it finds."""
        for deployment in self.cluster.deployments.values():
            version = deployment["metadata"]["labels"]["serving.iris.dev/version"]
            if deployment["status"]["readyReplicas"]:
                if version not in self._workers:
                    model = VersionModel(version, **self.bad.get(version, {}))
                    self._workers[version] = started_worker(self.client, model)
                work_off(self._workers[version])

    def answers(self) -> dict[str, Envelope | None]:
        """The envelopes of all that was submitted; None for a job without one."""
        found = {job_id: self.client.get(result_key(job_id)) for job_id in self.submitted}
        return {job_id: envelope_from_json(text) if text else None for job_id, text in found.items()}  # type: ignore[arg-type]

    @property
    def status(self) -> dict[str, Any]:
        return dict(self.cluster.models["iris"].get("status") or {})

    def condition(self, kind: str) -> dict[str, Any]:
        return next(item for item in self.status["conditions"] if item["type"] == kind)

    def versions_running(self) -> dict[str, int]:
        """Replicas by version."""
        return {
            body["metadata"]["labels"]["serving.iris.dev/version"]: body["spec"]["replicas"]
            for body in self.cluster.deployments.values()
        }


def started_worker(client: redis.Redis, model: VersionModel) -> IrisWorker:
    """A real worker in this process, without the loop and the signal handlers of its own process."""
    worker = IrisWorker(client, model, JobSettings(), 256, frozenset())
    worker.watchdog = Watchdog(0, worker.renew_leases, worker.answer_hung)
    worker.card = golden_card(model.version)
    worker.register_birth()
    return worker


def work_off(worker: IrisWorker) -> None:
    """Answer what waits on the worker's queue."""
    while found := worker.dequeue_job_and_maintain_ttl(None):
        worker.execute_job(*found)
