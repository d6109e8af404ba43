"""Starts a worker and stops it gracefully, again and again. Forks, so that it pays for the imports once."""

from __future__ import annotations

import argparse
import json
import os
import random
import signal
import sys
import time

from prometheus_client import CollectorRegistry

from iris_service.config import Settings
from iris_service.jobs.serving import run_worker
from iris_service.telemetry.answers import WorkerMetrics
from iris_service.telemetry.logs import configure_logging
from stub_model import StubModel


def start(settings: Settings) -> int:
    """Return the process id of a worker whose loop runs."""
    listening, tell = os.pipe()
    pid = os.fork()
    if pid == 0:
        model = StubModel()
        metrics = WorkerMetrics(CollectorRegistry(), model=model.name, version=model.version, digest=model.digest)
        os._exit(run_worker(settings, model, metrics, on_progress=lambda: os.write(tell, b".") and None))
    os.close(tell)
    os.read(listening, 1)
    return pid


def stop(pid: int) -> dict[str, float]:
    asked_at = time.monotonic()
    os.kill(pid, signal.SIGTERM)
    _, status = os.waitpid(pid, 0)
    return {"exit_code": os.waitstatus_to_exitcode(status), "stopped_in": time.monotonic() - asked_at}


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--times", type=int, required=True)
    parser.add_argument("--seed", type=int, required=True)
    arguments = parser.parse_args()
    rng = random.Random(arguments.seed)
    settings = Settings.from_env()
    configure_logging(settings.log, "worker")
    for _ in range(arguments.times):
        worker = start(settings)
        time.sleep(rng.uniform(0, 0.3))
        sys.stderr.write(json.dumps(stop(worker)) + "\n")


if __name__ == "__main__":
    main()
