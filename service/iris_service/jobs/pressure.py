"""Decides whether another job may be accepted, and when a refused caller should come back. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

UNMEASURED_RETRY_SECONDS = 5
LONGEST_RETRY_SECONDS = 60


@dataclass(frozen=True)
class QueueReading:
    """One version's queue, as the API last saw it."""

    waiting: int = 0
    running: int = 0
    outcomes: Mapping[str, int] = field(default_factory=dict)
    """Totals since the queue began, by the names in `jobs.keys.OUTCOMES`."""
    answered_per_second: float = 0.0
    """Measured over the last looks; 0 when nothing was answered yet."""

    @property
    def answered(self) -> int:
        return sum(self.outcomes.get(name, 0) for name in ("done", "error", "expired"))


def retry_after_seconds(reading: QueueReading, chance: float) -> int:
    """Return the whole seconds until the present backlog should be gone, at the measured rate.

    `chance` from 0 to 1 adds up to a quarter, so that refused callers do not all come back at once.
    """
    backlog = reading.waiting + reading.running
    rate = reading.answered_per_second
    seconds = backlog / rate if rate > 0 else UNMEASURED_RETRY_SECONDS
    return max(1, round(min(LONGEST_RETRY_SECONDS, seconds * (1 + chance / 4))))


def smoothed_rate(previous: float, answered: int, backlog: int, seconds: float) -> float:
    """Return the moving average of answers a second: half of it is the last interval.

    An idle interval says nothing of how fast the workers are, so it leaves the average as it was.
    """
    if seconds <= 0 or (answered <= 0 and backlog == 0):
        return previous
    return previous / 2 + max(0, answered) / seconds / 2
