"""RQ's SimpleWorker without what it would write for every job, and with patience: nothing Redis does may end its loop.

Knows nothing of predictions. What of RQ is relied on here stands in `jobs.worker`.
"""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Sequence
from contextlib import suppress
from itertools import count
from types import FrameType
from typing import Any, TypeVar

import structlog
from redis import Redis
from redis.exceptions import OutOfMemoryError, RedisError, ResponseError
from rq import SimpleWorker
from rq.exceptions import StopRequested
from rq.job import Job
from rq.serializers import JSONSerializer
from rq.suspension import WORKERS_SUSPENDED
from rq.utils import now as rq_now

from iris_service.jobs.keys import CARD_PREFIX, KNOWN_QUEUES

_HEARTBEAT_SECONDS = 1.0
SUSPENSION_SECONDS = 0.1
"""How late `rq suspend` is heeded at the most."""
_LONGEST_PAUSE_SECONDS = 1.0
_COMPLAIN_EVERY = 30

T = TypeVar("T")
_log = structlog.get_logger(__name__)


class QuietWorker(SimpleWorker):
    """Beats and registers no more often than somebody looks, and stops only between two jobs."""

    def __init__(self, client: Redis, queue: str, job_class: type[Job]) -> None:
        super().__init__([queue], connection=client, serializer=JSONSerializer, job_class=job_class, worker_ttl=20)
        self.card = b""
        """Published when this worker starts, so that the API knows its version without the artifact."""
        self.early_signals: Sequence[int] = ()
        """What arrived before this worker had its own signal handlers."""
        self._beaten_at = float("-inf")
        self._suspension_asked_at = float("-inf")
        self._redis_lost = False
        self._redis: Any = client  # redis-py's types cannot say that replies are bytes

    def patiently(self, ask: Callable[[], T]) -> T:
        """Ask Redis until it answers; gives up only when this worker is to stop. Every step is safe to repeat."""
        for tries in count():
            try:
                return ask()
            except RedisError as exc:
                if self._stop_requested or self.early_signals:
                    self._redis_lost = True
                    raise StopRequested from exc
                if tries % _COMPLAIN_EVERY == 0:
                    _log.warning("redis cannot be used: trying on", reason=f"{type(exc).__name__}: {exc}"[:200])
                time.sleep(min(_LONGEST_PAUSE_SECONDS, 0.05 * 2 ** min(tries, 10)))
        raise AssertionError("unreachable")

    def request_stop(self, _signum: int, _frame: FrameType | None) -> None:
        """Only note the wish: RQ's own handler may raise between taking a job and holding it."""
        self._shutdown_requested_date = rq_now()
        signal.signal(signal.SIGINT, self.request_force_stop)
        signal.signal(signal.SIGTERM, self.request_force_stop)
        self._stop_requested = True

    def _install_signal_handlers(self) -> None:
        super()._install_signal_handlers()  # type: ignore[no-untyped-call]
        self._stop_requested = self._stop_requested or bool(self.early_signals)

    def heartbeat(self, timeout: int | None = None, pipeline: Any = None) -> None:
        """Beat once a second at the most, and never die of a missed beat."""
        if pipeline is not None:
            super().heartbeat(timeout, pipeline)
        elif time.monotonic() - self._beaten_at >= _HEARTBEAT_SECONDS:
            self._tolerantly(lambda: super(QuietWorker, self).heartbeat(timeout))
            self._beaten_at = time.monotonic()

    def set_state(self, state: str, pipeline: Any = None) -> None:
        if pipeline is not None:
            super().set_state(state, pipeline)
        elif state != self._state:
            self._tolerantly(lambda: super(QuietWorker, self).set_state(state))
            self._state = state

    def register_birth(self) -> None:
        """Register, or go without: a Redis whose memory or disk is full refuses the entry, but work empties it."""
        with suppress(StopRequested):  # the loop, which comes next, heeds it
            self.patiently(self._register)

    def subscribe(self) -> None:
        with suppress(StopRequested):
            self.patiently(super().subscribe)

    def _register(self) -> None:
        try:
            self._redis.delete(self.key)  # a name drawn by chance: only a try whose reply was lost can have used it
            super().register_birth()  # type: ignore[no-untyped-call]
            self._redis.sadd(KNOWN_QUEUES, self.queues[0].name)
            if self.card:
                self._redis.set(CARD_PREFIX + self.queues[0].name, self.card)
        except ResponseError as exc:
            _log.warning("worker not registered", reason=str(exc)[:200])
            self.birth_date = self.last_heartbeat = rq_now()

    def register_death(self) -> None:
        self._tolerantly(super().register_death)

    def teardown(self) -> None:
        """Sign off, unless Redis has just failed a worker that is to stop: what it left there expires by itself."""
        if not self._redis_lost:
            super().teardown()  # type: ignore[no-untyped-call]

    def unsubscribe(self) -> None:
        self._tolerantly(super().unsubscribe)

    def check_for_suspension(self, burst: bool) -> None:
        """Ask ten times a second at the most: RQ's loop and ours would ask twice for every batch."""
        if time.monotonic() - self._suspension_asked_at >= SUSPENSION_SECONDS:
            self.patiently(lambda: self._check_for_suspension(burst))
            self._suspension_asked_at = time.monotonic()

    def _check_for_suspension(self, burst: bool) -> None:
        if not self._redis.exists(WORKERS_SUSPENDED):
            return  # RQ asks the same in a transaction that holds a heartbeat
        try:
            super().check_for_suspension(burst)
        except OutOfMemoryError:  # RQ sends a heartbeat along, which a full Redis refuses; the question it answers
            if self._redis.exists(WORKERS_SUSPENDED):
                raise

    def run_maintenance_tasks(self) -> None:
        """Leave that to recovery, which runs without workers too."""

    @property
    def connection_timeout(self) -> int:
        return 5

    def _tolerantly(self, write: Callable[[], None]) -> None:
        try:
            write()
        except RedisError as exc:
            _log.debug("bookkeeping skipped", reason=str(exc)[:200])
