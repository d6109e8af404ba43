"""Ends this process when a job hangs or memory runs away. Knows processes, not jobs.

Python signals cannot interrupt C code, so two guards stand behind the time limit: a thread, which needs the
interpreter lock, and `faulthandler`'s timer, which needs nothing.
"""

from __future__ import annotations

import faulthandler
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType

import structlog

from iris_service.jobs.batch import TookTooLong

EXIT_HUNG = 70
EXIT_MEMORY = 71
HUNG_GRACE_SECONDS = 1.0
"""Past its time limit, a call that still has not returned is stuck in C code."""
_LOCKED_GRACE_SECONDS = 3.0
"""And by then it holds the interpreter lock, or the thread would have ended the process."""
_TICK_SECONDS = 0.5

_log = structlog.get_logger(__name__)


class Watchdog:
    """Guards calls of the model in the main thread; ticks `on_tick` all the while, for leases.

    `on_hung` is called, if Python still runs, just before a hung process ends: the last chance to say so.
    """

    def __init__(self, max_rss_bytes: int, on_tick: Callable[[], None], on_hung: Callable[[], None]) -> None:
        self._max_rss_bytes = max_rss_bytes
        self._on_tick = on_tick
        self._on_hung = on_hung
        self._hung_at = float("inf")
        self._thread = threading.Thread(target=self._run, name="watchdog", daemon=True)

    def start(self) -> None:
        self._thread.start()

    @contextmanager
    def limit(self, seconds: float) -> Iterator[None]:
        """Raise `TookTooLong` inside after `seconds`; end the process if that does not help. Main thread only."""
        try:
            self._hung_at = time.monotonic() + seconds + HUNG_GRACE_SECONDS
            faulthandler.dump_traceback_later(seconds + _LOCKED_GRACE_SECONDS, exit=True)
            signal.signal(signal.SIGALRM, _too_long)  # RQ's own time limit takes the handler away
            signal.setitimer(signal.ITIMER_REAL, seconds)
            yield
        finally:
            try:
                signal.setitimer(signal.ITIMER_REAL, 0)
            finally:  # the alarm may go off on the line above
                faulthandler.cancel_dump_traceback_later()
                self._hung_at = float("inf")

    def _run(self) -> None:
        while True:
            time.sleep(_TICK_SECONDS)
            if time.monotonic() > self._hung_at:
                _log.critical("job hangs in native code: worker ends itself")
                self._on_hung()
                os._exit(EXIT_HUNG)
            if self._max_rss_bytes and (rss := rss_bytes()) > self._max_rss_bytes:
                _log.critical("memory limit passed: worker ends itself", rss_bytes=rss, limit=self._max_rss_bytes)
                os._exit(EXIT_MEMORY)
            self._on_tick()


def _too_long(_signum: int, _frame: FrameType | None) -> None:
    raise TookTooLong


def rss_bytes() -> int:
    """Return the resident memory of this process; 0 where the system does not say."""
    try:
        with open("/proc/self/statm", "rb") as statm:  # noqa: PTH123  twice a second: the plain call is enough
            return int(statm.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    except OSError:
        return 0
