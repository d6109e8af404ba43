"""The level-triggered loop: once a second it reads every queue in one round trip and looks at every IrisModel.

A look that fails is repeated with a growing, jittered pause; a change seen by a watch clears the pause.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from iris_operator.errors import NotYet
from iris_operator.queues import Queues, QueueSeen
from iris_operator.reconcile import Reconciler
from iris_operator.store import Key, Store
from iris_operator.telemetry import OperatorMetrics

LONGEST_PAUSE_SECONDS = 30.0
AT_ONCE = 16
"""IrisModels looked at side by side."""

_log = structlog.get_logger(__name__)


@dataclass
class _Pause:
    """How often in a row a look has failed, and when the next is due."""

    failures: int = 0
    until: float = 0.0


def pause_seconds(failures: int, chance: float) -> float:
    """Return the pause after so many failures in a row: doubling from one second, with up to half of it as jitter."""
    return float(min(LONGEST_PAUSE_SECONDS, 2.0 ** min(failures - 1, 10))) * (1 + chance / 2)


class Loop:
    """Looks at everything again and again. `beaten_at` is the monotonic time of the last complete round."""

    def __init__(
        self,
        reconciler: Reconciler,
        queues: Queues,
        store: Store,
        metrics: OperatorMetrics,
        tick_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._reconciler = reconciler
        self._queues = queues
        self._store = store
        self._metrics = metrics
        self._tick_seconds = tick_seconds
        self._clock = clock
        self._pauses: dict[Key, _Pause] = {}
        self._known: set[Key] = set()
        self._changed = asyncio.Event()
        self.beaten_at = clock()

    def wake(self, key: Key) -> None:
        """Look at `key` at once: something about it has changed."""
        self._pauses.pop(key, None)
        self._changed.set()

    async def run(self) -> None:
        """Go round until cancelled."""
        while True:
            self._changed.clear()
            await self.round()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), self._tick_seconds)
                await asyncio.sleep(self._tick_seconds / 20)  # changes come in flocks

    async def round(self) -> None:
        """Look at every IrisModel once, those that have gone included."""
        self._known |= self._store.models.keys()
        readings = await self._read()
        now = self._clock()
        due = [key for key in sorted(self._known) if self._pauses.get(key, _Pause()).until <= now]
        self._metrics.due.set(len(due))
        gate = asyncio.Semaphore(AT_ONCE)
        await asyncio.gather(*(self._look(key, readings, gate) for key in due))
        self._known &= self._store.models.keys() | self._pauses.keys()
        self.beaten_at = self._clock()
        self._metrics.last_success.set_to_current_time()

    async def _read(self) -> dict[str, QueueSeen] | None:
        names = sorted({queue for key in self._known for queue in self._reconciler.queues_of(key)})
        try:
            readings = await self._queues.observe(names)
        except NotYet as exc:
            self._metrics.redis_up.set(0)
            _log.warning("queues cannot be read", reason=str(exc))
            return None
        self._metrics.redis_up.set(1)
        return readings

    async def _look(self, key: Key, readings: dict[str, QueueSeen] | None, gate: asyncio.Semaphore) -> None:
        async with gate:
            structlog.contextvars.bind_contextvars(namespace=key.namespace, name=key.name)
            began = time.perf_counter()
            try:
                await self._reconciler.reconcile(key, readings)
            except NotYet as exc:
                self._put_off(key, "not_yet", str(exc))
            except Exception as exc:  # one IrisModel must not take the others down
                _log.exception("reconcile failed")
                self._put_off(key, "error", f"{type(exc).__name__}: {exc}")
            else:
                self._pauses.pop(key, None)
                self._metrics.reconciles.labels("ok").inc()
            self._metrics.seconds.observe(time.perf_counter() - began)

    def _put_off(self, key: Key, result: str, reason: str) -> None:
        self._metrics.reconciles.labels(result).inc()
        pause = self._pauses.setdefault(key, _Pause())
        pause.failures += 1
        seconds = pause_seconds(pause.failures, random.random())  # noqa: S311  jitter, not a secret
        pause.until = self._clock() + seconds
        _log.warning("will try again", reason=reason[:300], seconds=round(seconds, 1))
