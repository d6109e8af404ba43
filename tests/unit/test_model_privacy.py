"""What a model library does beside answering: nothing that leaves a trace."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from versions import COMMITTED

LOAD = """
import sys
from pathlib import Path
from iris_service.config import ModelSettings
from iris_service.model.runtime import load_model
load_model(ModelSettings(repository=Path(sys.argv[1]))).predict([(5.1, 3.5, 1.4, 0.2)])
"""


def test_loading_a_model_writes_nothing_beside_it(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir()
    environment = {"HOME": str(home), "TMPDIR": str(home), "PATH": "/usr/bin:/bin"}
    subprocess.run([sys.executable, "-c", LOAD, str(COMMITTED)], env=environment, cwd=home, check=True, timeout=60)
    assert list(home.rglob("*")) == []
