"""One child process: start it tethered to this process, ask it to stop, end it. Decides nothing."""

from __future__ import annotations

import os
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO

_TETHER = Path(__file__).with_name("tether.py")
_LAST_WORDS_SECONDS = 1.0


@dataclass(frozen=True)
class ChildSpec:
    """What to run."""

    name: str
    rank: int
    """Higher ranks stop before lower ones, those of one rank together."""
    command: tuple[str, ...]
    env: Mapping[str, str]
    """The whole environment: settings, with their passwords, never travel on a command line."""
    stop_seconds: float
    """How long it may take to stop before it is killed."""
    pass_fds: tuple[int, ...] = ()
    says_ready: bool = False
    """It takes `--ready-fd` and writes there, once, when it can be used."""
    read_output: Callable[[IO[bytes]], None] | None = None
    """Called in a thread with the child's output; without it the child shares ours."""


class Child:
    """A process to be started again and again. Start only from the main thread: the tether holds to a thread."""

    def __init__(self, spec: ChildSpec) -> None:
        self.spec = spec
        self.starts = 0
        self.last_delay_seconds = 0.0
        self.due_at: float | None = None
        """On the monotonic clock; None while it runs."""
        self._started_at = 0.0
        self._process: subprocess.Popen[bytes] | None = None
        self._reader: threading.Thread | None = None
        self._ready_fd: int | None = None
        self._ready = False

    def start(self) -> None:
        """Start the process; raises `OSError` when the system cannot."""
        spec = self.spec
        self.starts += 1
        self._started_at = time.monotonic()
        with self._ears() as listening:
            option = [f"--ready-fd={handle}" for handle in listening]
            self._process = process = subprocess.Popen(
                [sys.executable, "-I", "-S", str(_TETHER), str(os.getpid()), *spec.command, *option],
                env=spec.env,
                pass_fds=(*spec.pass_fds, *listening),
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if spec.read_output else None,
                stderr=subprocess.STDOUT if spec.read_output else None,
                start_new_session=True,  # Ctrl-C is for the supervisor, which then stops everyone in order
            )
        self.due_at = None
        if spec.read_output and process.stdout:
            self._reader = threading.Thread(target=spec.read_output, args=(process.stdout,), daemon=True)
            self._reader.start()

    @contextmanager
    def _ears(self) -> Iterator[Sequence[int]]:
        """Yield the descriptors on which the next process may say that it is ready: one, or none."""
        self._deafen()
        self._ready = False
        if not self.spec.says_ready:
            yield ()
            return
        self._ready_fd, theirs = os.pipe()
        os.set_blocking(self._ready_fd, False)
        try:
            yield (theirs,)
        finally:
            os.close(theirs)

    def _deafen(self) -> None:
        if self._ready_fd is not None:
            os.close(self._ready_fd)
            self._ready_fd = None

    def is_ready(self) -> bool:
        """Whether the process of the last start runs and, where it says so, has said that it can be used."""
        if self._ready_fd is not None:
            with suppress(BlockingIOError):
                self._ready = bool(os.read(self._ready_fd, 1))  # nothing is read when it ends without a word
                self._deafen()
        return self.is_running() and (self._ready or not self.spec.says_ready)

    @property
    def pid(self) -> int | None:
        return self._process.pid if self._process else None

    @property
    def lived_seconds(self) -> float:
        return time.monotonic() - self._started_at

    def exit_code(self) -> int | None:
        """None while it runs, and before it was ever started. Its last words have been read by then."""
        exit_code = self._process.poll() if self._process else None
        if exit_code is not None and self._reader:
            self._reader.join(_LAST_WORDS_SECONDS)
        return exit_code

    def is_running(self) -> bool:
        return self._process is not None and self._process.poll() is None

    def terminate(self) -> None:
        if self._process:
            self._process.terminate()

    def kill(self) -> None:
        if self._process:
            self._process.kill()
            self._process.wait()
