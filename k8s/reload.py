"""Starts a program anew whenever its Python source changes: the entry point of the images that `skaffold dev` builds.

    python k8s/reload.py iris api

An image's root is read-only and stays so. The packages are copied once to a folder under /tmp, which comes first on the
path, and skaffold puts changed files there. Knows nothing of skaffold or Kubernetes; no released image has this file.
"""

# ruff: noqa: T201, TID251, S108 -- a command for developers, in a container where /tmp is its own

from __future__ import annotations

import importlib.util
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

FOLDER = Path(os.environ.get("IRIS_DEV_SOURCE", "/tmp/iris-source"))  # skaffold.yaml names it as the destination
PACKAGES = ("iris_service", "iris_operator")
LOOK_SECONDS = 0.5
SETTLE_SECONDS = 0.3  # files of one change arrive one after another
STOP_SECONDS = 20  # a worker may end the job in hand


def copy_packages() -> None:
    """Unless they are there: after a container's restart the files that were put there since must stay."""
    for package in PACKAGES:
        spec = importlib.util.find_spec(package)
        if spec is not None and spec.origin is not None and not (FOLDER / package).exists():
            shutil.copytree(Path(spec.origin).parent, FOLDER / package, ignore=shutil.ignore_patterns("__pycache__"))


def state() -> dict[Path, tuple[int, int]]:
    """What a change of any file changes."""
    found = {}
    for path in FOLDER.rglob("*"):
        try:
            about = path.stat()
        except FileNotFoundError:  # deleted while we looked
            continue
        if path.is_file():
            found[path] = (about.st_mtime_ns, about.st_size)
    return found


def settled(before: dict[Path, tuple[int, int]]) -> dict[Path, tuple[int, int]]:
    """The state once it has stopped changing."""
    while (after := state()) != before:
        before = after
        time.sleep(SETTLE_SECONDS)
    return after


class Program:
    """The child under way, and the wish to stop it."""

    def __init__(self, command: list[str]) -> None:
        self.command = command
        self.stopping: int | None = None
        self.child: subprocess.Popen[bytes] | None = None
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self.stop)

    def start(self) -> None:
        env = {**os.environ, "PYTHONPATH": str(FOLDER)}
        self.child = subprocess.Popen(self.command, env=env)

    def stop(self, number: int, _frame: object) -> None:
        self.stopping = number
        if self.child is not None:
            self.child.send_signal(number)

    def restart(self) -> None:
        if self.child is not None:
            self.child.terminate()
            try:
                self.child.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.child.kill()
                self.child.wait()
        if self.stopping is None:
            self.start()


def main(command: list[str]) -> int:
    copy_packages()
    seen, program = state(), Program(command)
    program.start()
    ended = False
    while True:
        code = program.child.poll() if program.child else None
        if program.stopping is not None and code is not None:
            return code if code >= 0 else 128 - code
        if code is not None and not ended:
            ended = True
            print(f"reload: it ended with {code}; waiting for a change", file=sys.stderr, flush=True)
        if state() != seen and program.stopping is None:
            seen, ended = settled(seen), False
            print("reload: starting it anew", file=sys.stderr, flush=True)
            program.restart()
        time.sleep(LOOK_SECONDS)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
