"""One call in the future, or none."""

from __future__ import annotations

from asyncio import AbstractEventLoop, TimerHandle
from collections.abc import Callable


class Timer:
    """Of one event loop."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._handle: TimerHandle | None = None

    @property
    def runs(self) -> bool:
        return self._handle is not None

    def start(self, seconds: float, call: Callable[..., object], *arguments: object) -> None:
        """Call after `seconds`, unless it runs already."""
        if self._handle is None:
            self._handle = self._loop.call_later(seconds, call, *arguments)

    def cancel(self) -> None:
        if self._handle is not None:
            self._handle.cancel()
            self._handle = None
