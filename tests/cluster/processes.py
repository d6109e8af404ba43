"""Child processes with a data folder that leave nothing behind, however the tests end; knows nothing of Kubernetes."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import Sequence
from pathlib import Path

import psutil

TMPFS = Path("/dev/shm")
NEEDED_BYTES = 512_000_000  # etcd writes its log ahead in pieces of 64 MB; a container's /dev/shm often has no more
FOLDER_PREFIX = "iris-cluster-"


class Processes:
    """Programs by name, each with its log in `folder`, which `stop` deletes."""

    def __init__(self) -> None:
        remove_abandoned_folders(data_folder())
        self.folder = Path(tempfile.mkdtemp(prefix=f"{FOLDER_PREFIX}{os.getpid()}-", dir=data_folder()))
        self._running: dict[str, subprocess.Popen[bytes]] = {}

    def start(self, name: str, command: Sequence[str]) -> None:
        with (self.folder / f"{name}.log").open("ab") as log:
            self._running[name] = subprocess.Popen(dying_with_us(command), stdout=log, stderr=log)

    def kill(self, name: str) -> None:
        """End one program at once, as a lost machine would."""
        process = self._running.pop(name)
        process.kill()
        process.wait()

    def stop(self) -> None:
        """Nothing here is worth an orderly end: kill every program, then delete the data."""
        for name in list(self._running):
            self.kill(name)
        shutil.rmtree(self.folder)

    def pids(self) -> list[int]:
        return [process.pid for process in self._running.values()]

    def check(self) -> None:
        """Fail with the last words of a program that ended by itself."""
        for name, process in self._running.items():
            assert process.poll() is None, f"{name} ended: {self.last_words(name)}"

    def last_words(self, name: str) -> str:
        return "\n".join((self.folder / f"{name}.log").read_text(errors="replace").splitlines()[-20:])


def dying_with_us(command: Sequence[str]) -> list[str]:
    """`command`, killed by the kernel when the test process ends in a way that skips `stop` (where setpriv exists)."""
    wrapper = ["setpriv", "--pdeathsig", "KILL", "--"] if shutil.which("setpriv") else []
    return [*wrapper, *command]


def data_folder() -> Path:
    """Memory where there is enough of it, so that etcd never waits for a disk."""
    if TMPFS.is_dir() and shutil.disk_usage(TMPFS).free > NEEDED_BYTES:
        return TMPFS
    return Path(tempfile.gettempdir())


def remove_abandoned_folders(parent: Path) -> None:
    """Delete the data of test processes that were killed before they could do it."""
    for folder in parent.glob(f"{FOLDER_PREFIX}*"):
        owner = folder.name.removeprefix(FOLDER_PREFIX).partition("-")[0]
        if not psutil.pid_exists(int(owner)):
            shutil.rmtree(folder, ignore_errors=True)
