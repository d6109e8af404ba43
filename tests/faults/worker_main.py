"""A real worker process for the fault tests: the product's loop around the stub model.

The hooks place a fault where no signal from outside could hit; they exist here and not in the product.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys
import time
from typing import Any

from prometheus_client import CollectorRegistry

from iris_service.config import Settings
from iris_service.jobs import serving, worker
from iris_service.telemetry.answers import WorkerMetrics
from iris_service.telemetry.logs import configure_logging
from stub_model import StubModel


def _die() -> None:
    os.kill(os.getpid(), signal.SIGKILL)


def _hang() -> None:
    time.sleep(3600)


def _ask_to_stop() -> None:
    os.kill(os.getpid(), signal.SIGTERM)


FAULTS = {"die": _die, "hang": _hang, "stop": _ask_to_stop}
PLACES = {
    "starting": "register_birth",  # before the loop, with Redis already answering
    "dequeued": "execute_job",  # after RQ's blocking move, before the claim
    "answered": "_publish",  # the model has answered, nothing is written yet
}


def place(place_name: str, fault: str) -> None:
    """Make the worker's method do `fault` just before its own work."""
    name = PLACES[place_name]
    method = getattr(worker.IrisWorker, name)

    def faulty(self: worker.IrisWorker, *arguments: Any) -> Any:
        FAULTS[fault]()
        return method(self, *arguments)

    setattr(worker.IrisWorker, name, faulty)


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--at", choices=PLACES)
    parser.add_argument("--do", choices=FAULTS)
    arguments = parser.parse_args()
    if arguments.at:
        place(arguments.at, arguments.do)
    settings = Settings.from_env()
    configure_logging(settings.log, "worker")
    model = StubModel()
    metrics = WorkerMetrics(CollectorRegistry(), model=model.name, version=model.version, digest=model.digest)
    return serving.run_worker(settings, model, metrics)


if __name__ == "__main__":
    sys.exit(main())
