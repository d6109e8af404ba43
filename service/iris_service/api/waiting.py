"""Requests that wait for an answer: each ends at once when its caller hangs up or this process stops."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

from starlette.types import Receive

from iris_service.schemas import Envelope


class Waiting:
    """The waiting requests of this process."""

    def __init__(self) -> None:
        self._tasks: set[asyncio.Task[Any]] = set()
        self.stopped = False

    def stop(self) -> None:
        """End every wait, and let none begin."""
        self.stopped = True
        for task in self._tasks:
            task.cancel()

    async def wait(self, fetch: Coroutine[Any, Any, Envelope | None], receive: Receive) -> Envelope | None:
        """Return what `fetch` returns or raises, or None when the wait was ended; leaves no task behind."""
        answer = asyncio.create_task(fetch)
        hang_up = asyncio.create_task(_hang_up(receive))
        self._tasks.add(answer)
        try:
            await asyncio.wait((answer, hang_up), return_when=asyncio.FIRST_COMPLETED)
            return answer.result() if answer.done() and not answer.cancelled() else None
        finally:
            self._tasks.discard(answer)
            answer.cancel()
            hang_up.cancel()
            await asyncio.gather(answer, hang_up, return_exceptions=True)


async def _hang_up(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
