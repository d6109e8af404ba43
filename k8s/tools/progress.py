"""Says on standard error what is being done and for how long, and what helps when it fails; knows no step itself."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from threading import Event, Thread

TICK_SECONDS = 1.0
LOG_TICK_SECONDS = 60.0  # in a log, where a line cannot be overwritten


class Failed(Exception):
    """A step could not be done; `remedy` says what the reader can do about it."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem}\n  remedy: {remedy}")


@contextmanager
def step(title: str) -> Iterator[None]:
    """Show `title` with the elapsed seconds until the block ends."""
    started, over = time.monotonic(), Event()
    ticker = Thread(target=_tick, args=(title, started, over), daemon=True)
    ticker.start()
    outcome = "failed after"
    try:
        yield
        outcome = "done in"
    finally:
        over.set()
        ticker.join()
        _write(f"{title} {outcome} {time.monotonic() - started:.1f} s", last=True)


def _tick(title: str, started: float, over: Event) -> None:
    while not over.wait(TICK_SECONDS if sys.stderr.isatty() else LOG_TICK_SECONDS):
        _write(f"{title} {time.monotonic() - started:.0f} s", last=not sys.stderr.isatty())


def _write(line: str, *, last: bool) -> None:
    start = "\r\033[K" if sys.stderr.isatty() else ""
    sys.stderr.write(start + line + ("\n" if last else ""))
    sys.stderr.flush()
