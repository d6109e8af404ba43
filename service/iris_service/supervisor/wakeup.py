"""Sleep until a signal arrives. Turns signals into values, so that nothing ever runs inside a handler."""

from __future__ import annotations

import os
import select
import signal
from types import FrameType, TracebackType
from typing import Any

STOPS = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
_HEARD = STOPS | {signal.SIGCHLD}


class Wakeup:
    """While entered, a signal of `STOPS` or the death of a child ends `wait`, and does no more. Main thread only."""

    def __enter__(self) -> Wakeup:
        self._reader, self._writer = os.pipe()
        os.set_blocking(self._reader, False)
        os.set_blocking(self._writer, False)
        # nohup ignores SIGHUP for its program, and means it
        hushed = {signal.SIGHUP} if signal.getsignal(signal.SIGHUP) is signal.SIG_IGN else set()
        self._handlers: dict[int, Any] = {number: signal.signal(number, _heard) for number in _HEARD - hushed}
        # a full pipe means that there is plenty to wake up for already
        self._descriptor = signal.set_wakeup_fd(self._writer, warn_on_full_buffer=False)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        signal.set_wakeup_fd(self._descriptor)
        for number, handler in self._handlers.items():
            signal.signal(number, handler)
        os.close(self._reader)
        os.close(self._writer)

    def wait(self, seconds: float) -> bool:
        """Sleep at most so long, less when a signal comes; True when it was one of `STOPS`."""
        ready, _, _ = select.select([self._reader], [], [], max(0.0, seconds))
        return bool(ready) and not STOPS.isdisjoint(os.read(self._reader, 65_536))


def _heard(_signum: int, _frame: FrameType | None) -> None:
    """Having a handler is what makes Python write to the wakeup descriptor."""
