"""k8s/reload.py as `skaffold dev` uses it: a read-only installation, changed files put under /tmp by tar, SIGTERM."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import subprocess
import sys
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

RELOAD = Path(__file__).parents[2] / "k8s" / "reload.py"
PROGRAM = """
import importlib.util, signal, sys
import iris_service
print("from", iris_service.__file__, flush=True)
if importlib.util.find_spec("iris_service.fresh"):
    from iris_service import fresh
    print("fresh", fresh.WORD, flush=True)
signal.signal(signal.SIGTERM, lambda *_: sys.exit(7))
print("up", flush=True)
signal.pause()
"""

Start = Callable[[], subprocess.Popen[str]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    started: list[subprocess.Popen[str]] = []

    def begin() -> subprocess.Popen[str]:
        command = [sys.executable, str(RELOAD), sys.executable, "-c", PROGRAM]
        env = {**os.environ, "IRIS_DEV_SOURCE": str(tmp_path / "source"), "PYTHONSAFEPATH": "1"}
        output = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
        started.append(subprocess.Popen(command, env=env, text=True, start_new_session=True, **output))  # type: ignore[call-overload]
        return started[-1]

    yield begin
    for process in started:
        end(process)


def end(process: subprocess.Popen[str]) -> None:
    """As a container ends: with all that runs in it."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.communicate(timeout=30)


def until(process: subprocess.Popen[str], wanted: str) -> list[str]:
    """The lines up to the one that begins so; pytest's own timeout ends a wait in vain."""
    assert process.stdout is not None
    lines: list[str] = []
    for line in process.stdout:
        lines.append(line.strip())
        if line.startswith(wanted):
            return lines
    raise AssertionError(f"it ended without {wanted!r}: {lines}")


def put(folder: Path, name: str, text: str) -> None:
    """As skaffold's file sync does: a tar unpacked at the root with these very options, by the container's user."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as files:
        member = tarfile.TarInfo(str(folder / name).lstrip("/"))
        member.size = len(text)
        files.addfile(member, io.BytesIO(text.encode()))
    subprocess.run(["tar", "xmf", "-", "-C", "/", "--no-same-owner"], input=archive.getvalue(), check=True)


def test_a_change_starts_the_program_anew_from_the_copy(start: Start, tmp_path: Path) -> None:
    process = start()
    assert until(process, "up") == [f"from {tmp_path}/source/iris_service/__init__.py", "up"]
    put(tmp_path / "source" / "iris_service", "fresh.py", "WORD = 'one'")
    assert until(process, "up")[-2:] == ["fresh one", "up"]
    put(tmp_path / "source" / "iris_service", "fresh.py", "WORD = 'another'")
    assert until(process, "up")[-2:] == ["fresh another", "up"]


def test_source_that_does_not_run_is_waited_for_until_it_does(start: Start, tmp_path: Path) -> None:
    process = start()
    until(process, "up")
    put(tmp_path / "source" / "iris_service", "fresh.py", "WORD =")
    assert until(process, "reload: it ended")[-1] == "reload: it ended with 1; waiting for a change"
    put(tmp_path / "source" / "iris_service", "fresh.py", "WORD = 'mended'")
    assert until(process, "up")[-2:] == ["fresh mended", "up"]


def test_sigterm_reaches_the_program_and_its_exit_code_is_the_container_s(start: Start) -> None:
    process = start()
    until(process, "up")
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 7


def test_a_container_that_is_started_anew_keeps_what_was_put_there(start: Start, tmp_path: Path) -> None:
    first = start()
    until(first, "up")
    put(tmp_path / "source" / "iris_service", "fresh.py", "WORD = 'kept'")
    end(first)
    assert "fresh kept" in until(start(), "up")
