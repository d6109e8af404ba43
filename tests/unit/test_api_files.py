"""How many connections the system allows, asked of a process that may open only so many files."""

from __future__ import annotations

import subprocess
import sys

import pytest

from iris_service.api.server import FILES_BESIDE_CONNECTIONS

ASKED = """
import resource, sys
from iris_service.api.server import _possible_connections
soft, hard, wanted = map(int, sys.argv[1:])
resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
print(_possible_connections(wanted), resource.getrlimit(resource.RLIMIT_NOFILE)[0])
"""
BESIDE = FILES_BESIDE_CONNECTIONS


@pytest.mark.parametrize(
    ("soft", "hard", "possible", "opened"),
    [(100, 900, 500, 500 + BESIDE), (900, 900, 500, 900), (100, 200, 200 - BESIDE, 200), (200, 200, 200 - BESIDE, 200)],
)
def test_the_system_is_asked_for_as_many_files_as_it_takes(soft: int, hard: int, possible: int, opened: int) -> None:
    command = [sys.executable, "-c", ASKED, str(soft), str(hard), "500"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines()[-1].split() == [str(possible), str(opened)]
    assert ("IRIS_MAX_CONNECTIONS" in done.stdout) == (possible < 500)
