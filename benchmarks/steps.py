"""The steps of a round: which system is started with which parts, and what is measured on it. Knows no report."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import measurements as measure
from callers import hammer
from measurements import Flowers
from systems import Article, Bare, Iris

CONNECTIONS = (1, 16, 64)
INFERENCE_CONNECTIONS = (16, 64)


@dataclass(frozen=True)
class Plan:
    """How much of each: enough to tell ratios, and a round in about two minutes."""

    article_jobs: int = 8
    preload_jobs: int = 120
    iris_jobs: int = 8000
    article_samples: int = 4
    preload_samples: int = 25
    iris_samples: int = 300
    endpoint_seconds: float = 3
    simple_backlog: int = 600
    forking_backlog: int = 200
    iris_backlog: int = 30_000


QUICK = Plan(2, 12, 1000, 1, 5, 30, 1, 100, 20, 5000)


@dataclass(frozen=True)
class Bench:
    """What every measurement needs."""

    plan: Plan
    flowers: Flowers
    environment: Path
    folder: Path

    def article(self, worker: str) -> Article:
        return Article(self.folder / f"article-{worker}-{time.monotonic_ns()}", self.environment, worker)

    def bare(self, **switches: bool) -> Bare:
        return Bare(self.folder / f"bare-{time.monotonic_ns()}", **switches)

    def iris(self, **switches: bool) -> Iris:
        return Iris(self.folder / f"iris-{time.monotonic_ns()}", **switches)


Step = tuple[str, Callable[[Bench, dict[str, Any]], None]]


@contextmanager
def running(system: Any, *, api: bool = True, worker: bool = True) -> Iterator[Any]:
    try:
        if api:
            system.start_api()
        if worker:
            system.start_worker()
        yield system
        system.children.check()
    finally:
        system.children.stop()


def article_end_to_end(worker: str, name: str) -> Step:
    def step(bench: Bench, found: dict[str, Any]) -> None:
        plan, flowers = bench.plan, bench.flowers
        jobs = plan.article_jobs if name == "article" else plan.preload_jobs
        samples = plan.article_samples if name == "article" else plan.preload_samples
        with running(bench.article(worker)) as system:
            measure.warm_up(system, flowers)
            found["async"][name] = measure.throughput(system, flowers, jobs, connections=4)
            found["latency"][name] = measure.latency(system, flowers, samples)

    return f"{worker}: end to end", step


def iris_end_to_end(bench: Bench, found: dict[str, Any]) -> None:
    plan, flowers = bench.plan, bench.flowers
    with running(bench.iris()) as system:
        measure.warm_up(system, flowers)
        found["latency"]["iris"] = measure.latency(system, flowers, plan.iris_samples)
        found["latency"]["iris waiting"] = measure.latency(system, flowers, plan.iris_samples, wait=True)
        found["async"]["iris"] = measure.throughput(system, flowers, plan.iris_jobs, connections=64)


def endpoints(bench: Bench, found: dict[str, Any]) -> None:
    """Both stand ready and are asked in turn."""
    article, iris = bench.article("as written"), bench.iris()
    with running(article, worker=False), running(iris, worker=False):
        for system in (article, iris):
            hammer(system.port, bench.flowers.paths, 16, 1)
            system.redis.flushall()
        for connections in CONNECTIONS:
            for name, system in (("article", article), ("iris", iris)):
                seconds = bench.plan.endpoint_seconds
                found[f"enqueue {connections}"][name] = measure.enqueue_endpoint(
                    system, bench.flowers, connections, seconds
                )


def inference(bench: Bench, found: dict[str, Any]) -> None:
    """Bare Starlette, and ours both ways with their workers, stand ready and are asked in turn."""
    bare, asking = bench.bare(), bench.bare(asks_model=True)
    inline, iris = bench.iris(inline=True), bench.iris()
    systems: dict[str, Any] = {"bare": bare, "asking": asking, "inline": inline, "iris": iris}
    with running(bare, worker=False), running(asking, worker=False), running(inline), running(iris):
        for system in systems.values():
            measure.inference(system.port, bench.flowers, 16, 1)
        for connections in INFERENCE_CONNECTIONS:
            for name, system in systems.items():
                found[f"inference {connections}"][name] = measure.inference(
                    system.port, bench.flowers, connections, bench.plan.endpoint_seconds
                )


def stock_drain(worker: str, name: str) -> Step:
    def step(bench: Bench, found: dict[str, Any]) -> None:
        jobs = bench.plan.simple_backlog if name == "simple" else bench.plan.forking_backlog
        with running(bench.article(worker), api=False, worker=False) as system:
            found["drain"][name] = measure.drain(system, bench.flowers, jobs, measure.backlog_of_nothing)

    return f"stock RQ, {name}: drain", step


def iris_drain(bench: Bench, found: dict[str, Any]) -> None:
    with running(bench.iris(), api=False, worker=False) as system:
        jobs = bench.plan.iris_backlog
        found["drain"]["iris"] = measure.drain(system, bench.flowers, jobs, measure.backlog_of_predictions)


def cost(name: str, **switches: bool) -> Step:
    def step(bench: Bench, found: dict[str, Any]) -> None:
        plan, flowers = bench.plan, bench.flowers
        with running(bench.iris(**switches), worker=False) as system:
            drained = measure.drain(system, flowers, plan.iris_backlog // 2, measure.backlog_of_predictions)
            seen = measure.throughput(system, flowers, plan.iris_jobs // 2, connections=64)
        found["cost"][name] = {"drain": drained["jobs_per_second"], "throughput": seen["jobs_per_second"]}

    return f"ours, {name}: cost", step


STEPS: tuple[Step, ...] = (
    article_end_to_end("as written", "article"),
    article_end_to_end("preload", "preload"),
    ("ours: end to end", iris_end_to_end),
    ("enqueue endpoint", endpoints),
    ("V2 inference", inference),
    stock_drain("simple", "simple"),
    stock_drain("as written", "forking"),
    ("ours: drain", iris_drain),
    cost("promises"),
    cost("no disk", append_only=False),
    cost("no disk, no promises", append_only=False, promises=False),
)
KEYS = (
    "async",
    "latency",
    *(f"enqueue {connections}" for connections in CONNECTIONS),
    *(f"inference {connections}" for connections in INFERENCE_CONNECTIONS),
    "drain",
    "cost",
)
