"""What was read of queues and of Redis itself, and what follows: how old, how full, when to come back. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

UNMEASURED_RETRY_SECONDS = 5
LONGEST_RETRY_SECONDS = 60

_LAST_WRITES = ("aof_last_write_status", "aof_last_bgrewrite_status", "rdb_last_bgsave_status")
_KEEPS_EVERYTHING = "noeviction"


@dataclass(frozen=True)
class QueueReading:
    """One version's queue, as the API last saw it."""

    waiting: int = 0
    running: int = 0
    outcomes: Mapping[str, int] = field(default_factory=dict)
    """Totals since the queue began, by the names in `jobs.keys.OUTCOMES`."""
    answered_per_second: float = 0.0
    """Measured over the last looks at which there was work: how fast workers are; 0 when nothing was answered yet."""
    lately_per_second: float = 0.0
    """Measured over the last looks, idle ones too."""
    busy_seconds: float = 0.0
    """Worker time spent on answers since the queue began."""
    oldest_seconds: float = 0.0
    """How long ago the next job in line was accepted; 0 when none waits."""
    inline_done: int = 0
    inline_error: int = 0
    """Predictions that were answered, or failed, in API processes: no jobs, and in no other figure here."""

    @property
    def answered(self) -> int:
        return sum(self.outcomes.get(name, 0) for name in ("done", "error", "expired"))


@dataclass(frozen=True)
class ServerReading:
    """Redis itself, as it describes itself."""

    used_bytes: int = 0
    max_bytes: int = 0
    """`maxmemory`; 0 when there is none."""
    is_persisting: bool = True
    """Whether the last write to disk, of each kind it is set up for, went well."""
    may_evict: bool = False
    """Whether it throws keys away when its memory is full, accepted jobs among them."""

    @classmethod
    def from_info(cls, info: Mapping[str, Any]) -> ServerReading:
        """Read what INFO says; what a managed server leaves out is taken to be well."""
        return cls(
            used_bytes=info.get("used_memory", 0),
            max_bytes=info.get("maxmemory", 0),
            is_persisting=all(info.get(name, "ok") == "ok" for name in _LAST_WRITES),
            may_evict=info.get("maxmemory_policy", _KEEPS_EVERYTHING) != _KEEPS_EVERYTHING,
        )

    @property
    def memory_ratio(self) -> float:
        """Used share of `maxmemory`; 0 when there is none."""
        return self.used_bytes / self.max_bytes if self.max_bytes else 0.0


def age_seconds(deadline: float | None, deadline_seconds: float, now: float) -> float:
    """Return how long ago a job was accepted that the ledger knows by its deadline; 0 for one it does not know.

    All by Redis' clock. Exact for jobs accepted under the same `deadline_seconds`.
    """
    return 0.0 if deadline is None else max(0.0, now - (deadline - deadline_seconds))


def retry_after_seconds(reading: QueueReading, chance: float) -> int:
    """Return the whole seconds until the present backlog should be gone, at the measured rate.

    `chance` from 0 to 1 adds up to a quarter, so that refused callers do not all come back at once.
    """
    backlog = reading.waiting + reading.running
    rate = reading.answered_per_second
    seconds = backlog / rate if rate > 0 else UNMEASURED_RETRY_SECONDS
    return max(1, round(min(LONGEST_RETRY_SECONDS, seconds * (1 + chance / 4))))


def memory_retry_seconds(reading: QueueReading, chance: float) -> int:
    """Return when to come back to a Redis without room: with the backlog, which takes some of it along.

    Where nothing waits it is answers that fill it, and they go when they expire: 45 to 60 s by `chance`.
    """
    if reading.waiting + reading.running:
        return retry_after_seconds(reading, chance)
    return round(LONGEST_RETRY_SECONDS * (1 - chance / 4))


def outage_retry_seconds(chance: float) -> int:
    """Return 5 to 10 whole seconds by `chance` from 0 to 1: nobody knows how long, but all were refused at once."""
    return round(UNMEASURED_RETRY_SECONDS * (1 + chance))


def recent_rate(previous: float, answered: int, seconds: float) -> float:
    """Return the moving average of answers a second, half of it the last interval: it dies away when none come."""
    return previous if seconds <= 0 else previous / 2 + max(0, answered) / seconds / 2


def smoothed_rate(previous: float, answered: int, backlog: int, seconds: float) -> float:
    """Return the moving average of answers a second: half of it is the last interval.

    An idle interval says nothing of how fast the workers are, so it leaves the average as it was.
    """
    if seconds <= 0 or (answered <= 0 and backlog == 0):
        return previous
    return recent_rate(previous, answered, seconds)
