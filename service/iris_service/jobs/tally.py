"""Counts what the API has answered without a job, and adds it to the totals in Redis, where a rollout's analysis looks.

In fields of their own: what is derived from jobs (who is owed an answer, how many workers it takes) stays as it is.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import Counter
from collections.abc import Sequence

import redis.asyncio
import structlog
from redis.exceptions import RedisError

from iris_service.jobs.keys import INLINE, LATENCY_BOUNDS, Target, queue_keys
from iris_service.schemas import Answered, Envelope

_log = structlog.get_logger(__name__)


class Tally:
    """What was answered since the last `flush`. A process that is killed takes that along: call it once a second."""

    def __init__(self, client: redis.asyncio.Redis) -> None:
        self._client = client
        self._counts: Counter[tuple[str, str]] = Counter()

    def add(self, target: Target, envelopes: Sequence[Envelope]) -> None:
        """Count the outcomes of one call of the model."""
        key = queue_keys(target.queue).counts
        times = [envelope.task_seconds for envelope in envelopes if isinstance(envelope, Answered)]
        if len(times) < len(envelopes):
            self._counts[key, f"{INLINE}error"] += len(envelopes) - len(times)
        if times:
            self._counts[key, f"{INLINE}done"] += len(times)
        for seconds, answers in Counter(times).items():  # those of one call took equally long
            self._counts[key, f"{INLINE}latency:{bisect_left(LATENCY_BOUNDS, seconds)}"] += answers

    async def flush(self) -> None:
        """Add it all to Redis in one round trip. What cannot be added now is kept for the next time.

        A reply that is lost after Redis has taken the counts doubles them: a second's worth, seldom, of both outcomes.
        """
        counts, self._counts = self._counts, Counter()
        if not counts:
            return
        pipeline = self._client.pipeline(transaction=True)
        for (key, field), answers in counts.items():
            pipeline.hincrby(key, field, answers)
        try:
            await pipeline.execute()
        except (RedisError, OSError, TimeoutError) as exc:
            _log.debug("answers not counted in redis yet", reason=str(exc)[:200])
            self._counts.update(counts)
