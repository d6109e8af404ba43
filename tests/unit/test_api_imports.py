"""The API process stays small: it starts fast because it imports none of the model libraries."""

from __future__ import annotations

import json
import subprocess
import sys

CODE = """
import json, sys
import iris_service.api.__main__
from iris_service.api.app import build
from iris_service.config import Settings
build(Settings.from_env({}))
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def test_the_api_imports_no_model_library_and_no_rq() -> None:
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, check=True, timeout=60)
    imported = set(json.loads(done.stdout))
    assert not imported & {"joblib", "numpy", "onnx", "onnxruntime", "pandas", "rq", "scipy", "sklearn", "skops"}
    assert {"starlette", "uvicorn"} <= imported
