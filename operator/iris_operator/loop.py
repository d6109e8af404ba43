"""The level-triggered loop: once a second it reads every queue in one round trip and looks at every IrisModel.

What a watch has seen change is looked at at once, and no object twice at a time. A look that fails is repeated with a
growing, jittered pause; a change seen by a watch clears the pause.
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
from iris_operator.queues import Queues, Reading
from iris_operator.reconcile import Reconciler
from iris_operator.resync import Resync
from iris_operator.store import Key, Store
from iris_operator.telemetry import OperatorMetrics

LONGEST_PAUSE_SECONDS = 30.0
AT_ONCE = 16
"""IrisModels looked at side by side."""
FLOCK_SECONDS = 0.05
"""Changes come in flocks: wait for the rest of one before looking."""

_log = structlog.get_logger(__name__)


@dataclass
class _Pause:
    """How often in a row a look has failed, and when the next is due."""

    failures: int = 0
    until: float = 0.0


def pause_seconds(failures: int, chance: float) -> float:
    """Return the pause after so many failures in a row: doubling from one second, less up to half of it as jitter."""
    return float(min(LONGEST_PAUSE_SECONDS, 2.0 ** min(failures - 1, 10))) * (1 - chance / 2)


class Loop:
    """Looks at everything again and again. `beaten_at` is the monotonic time of the last complete round."""

    def __init__(
        self,
        reconciler: Reconciler,
        queues: Queues,
        store: Store,
        resync: Resync,
        metrics: OperatorMetrics,
        tick_seconds: float,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.resync = resync
        self._reconciler = reconciler
        self._queues = queues
        self._store = store
        self._metrics = metrics
        resync.on_listed = metrics.last_listing.set_to_current_time
        self._tick_seconds = tick_seconds
        self._clock = clock
        self._pauses: dict[Key, _Pause] = {}
        self._woken: set[Key] = set()
        self._known: set[Key] = set()
        self._changed = asyncio.Event()
        self._redis_up = True
        self._tidied = False
        self.beaten_at = clock()

    def wake(self, key: Key) -> None:
        """Look at `key` at once: something about it has changed."""
        self._pauses.pop(key, None)
        self._woken.add(key)
        self._changed.set()

    async def run(self) -> None:
        """Go round until cancelled: everything once a tick, and between two ticks what was woken."""
        task, full_at = asyncio.current_task(), 0.0
        while task is None or not task.cancelling():  # redis-py now and then swallows a cancellation
            self._changed.clear()
            woken, self._woken = self._woken, set()
            self._known |= woken
            for key in await self.resync.when_due():
                self.wake(key)
            if self._clock() >= full_at:
                full_at = self._clock() + self._tick_seconds
                await self.round()
            elif woken:
                await self._look_at(woken)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._changed.wait(), max(0.0, full_at - self._clock()))
                await asyncio.sleep(FLOCK_SECONDS)

    async def round(self) -> None:
        """Look at every IrisModel once, those that have gone included."""
        if self.resync.done:
            self._known |= self._store.models.bodies.keys()
            if not self._tidied:
                await self._tidy()
            gone = self._known - self._store.models.bodies.keys()
            await self._look_at(self._known)
            # not what went meanwhile: its look knew nothing of that yet, and the next one takes back what it wrote
            self._known -= gone - self._pauses.keys()
        self.beaten_at = self._clock()
        self._metrics.last_success.set_to_current_time()
        self._metrics.models.set(len(self._store.models.bodies))
        self._metrics.failing.set(len(self._pauses))
        for kind, seconds in self.resync.behind_seconds().items():
            self._metrics.behind.labels(kind).set(seconds)

    async def _look_at(self, keys: set[Key]) -> None:
        if not self.resync.done:
            return
        reading = await self._read(keys)
        now = self._clock()
        due = [key for key in sorted(keys) if self._pauses.get(key, _Pause()).until <= now]
        self._metrics.due.set(len(due))
        gate = asyncio.Semaphore(AT_ONCE)
        await asyncio.gather(*(self._look(key, reading, gate) for key in due))

    async def _read(self, keys: set[Key]) -> Reading | None:
        names = sorted({queue for key in keys for queue in self._reconciler.queues_of(key)})
        try:
            reading = await self._queues.observe(names, sorted({key.name for key in keys}))
        except NotYet as exc:
            self._redis_up = False
            self._metrics.redis_up.set(0)
            _log.warning("queues cannot be read", reason=str(exc))
            return None
        if not self._redis_up:
            self._pauses.clear()  # what failed because of it need not wait any longer
        self._redis_up = True
        self._metrics.redis_up.set(1)
        return reading

    async def _tidy(self) -> None:
        """Once: without a finalizer, nobody else tells of what was deleted while this process was not there."""
        with contextlib.suppress(NotYet):
            await self._queues.forget_all_but({key.name for key in self._known})
            self._tidied = True

    async def _look(self, key: Key, reading: Reading | None, gate: asyncio.Semaphore) -> None:
        async with gate:
            structlog.contextvars.bind_contextvars(namespace=key.namespace, name=key.name)
            began = time.perf_counter()
            try:
                await self._reconciler.reconcile(key, reading)
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
