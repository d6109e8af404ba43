"""Back-pressure: the number in Retry-After follows from backlog and rate."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from iris_service.jobs.pressure import (
    LONGEST_RETRY_SECONDS,
    UNMEASURED_RETRY_SECONDS,
    QueueReading,
    ServerReading,
    age_seconds,
    memory_retry_seconds,
    outage_retry_seconds,
    recent_rate,
    retry_after_seconds,
    smoothed_rate,
)


@pytest.mark.parametrize(
    ("waiting", "running", "rate", "chance", "seconds"),
    [
        (0, 0, 0.0, 0.0, UNMEASURED_RETRY_SECONDS),
        (900, 100, 100.0, 0.0, 10),
        (900, 100, 100.0, 1.0, 12),
        (1, 0, 1000.0, 0.5, 1),
        (1_000_000, 0, 10.0, 0.0, LONGEST_RETRY_SECONDS),
    ],
)
def test_a_refused_caller_comes_back_when_the_backlog_is_gone(
    waiting: int, running: int, rate: float, chance: float, seconds: int
) -> None:
    reading = QueueReading(waiting=waiting, running=running, answered_per_second=rate)
    assert retry_after_seconds(reading, chance) == seconds


@pytest.mark.parametrize(
    ("waiting", "chance", "seconds"), [(0, 0.0, LONGEST_RETRY_SECONDS), (0, 1.0, 45), (1000, 0.0, 10)]
)
def test_where_only_answers_fill_redis_nobody_is_told_to_come_back_at_once(
    waiting: int, chance: float, seconds: int
) -> None:
    reading = QueueReading(waiting=waiting, answered_per_second=100.0)
    assert memory_retry_seconds(reading, chance) == seconds


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 5), (0.5, 8), (1.0, 10)])
def test_after_an_outage_refused_callers_do_not_all_come_back_at_once(chance: float, seconds: int) -> None:
    assert outage_retry_seconds(chance) == seconds


@given(st.integers(0, 10**9), st.floats(0, 1e6), st.floats(0, 1))
def test_retry_after_is_always_a_usable_number(waiting: int, rate: float, chance: float) -> None:
    reading = QueueReading(waiting=waiting, answered_per_second=rate)
    assert 1 <= retry_after_seconds(reading, chance) <= LONGEST_RETRY_SECONDS


@pytest.mark.parametrize(
    ("previous", "answered", "backlog", "seconds", "rate"),
    [
        (0.0, 100, 0, 1.0, 50),
        (100.0, 0, 7, 1.0, 50),
        (100.0, 0, 0, 1.0, 100),
        (100.0, -5, 7, 1.0, 50),  # a flushed Redis counts from nothing again
        (100.0, 10, 0, 0.0, 100),
    ],
)
def test_the_rate_follows_what_is_answered_and_ignores_idle_times(
    previous: float, answered: int, backlog: int, seconds: float, rate: float
) -> None:
    assert smoothed_rate(previous, answered, backlog, seconds) == rate


@pytest.mark.parametrize(
    ("previous", "answered", "seconds", "rate"),
    [(0.0, 100, 1.0, 50), (100.0, 0, 1.0, 50), (100.0, -5, 1.0, 50), (100.0, 10, 0.0, 100)],
)
def test_what_is_shown_dies_away_when_nothing_is_asked(
    previous: float, answered: int, seconds: float, rate: float
) -> None:
    assert recent_rate(previous, answered, seconds) == rate


@pytest.mark.parametrize(
    ("deadline", "deadline_seconds", "now", "age"),
    [
        (None, 60, 1000.0, 0.0),
        (1060.0, 60, 1000.0, 0.0),
        (1060.0, 60, 1042.5, 42.5),
        (1060.0, 60, 1100.0, 100.0),
        (5000.0, 60, 1000.0, 0.0),  # accepted under a longer deadline than ours
    ],
)
def test_a_job_is_as_old_as_its_deadline_says(
    deadline: float | None, deadline_seconds: float, now: float, age: float
) -> None:
    assert age_seconds(deadline, deadline_seconds, now) == age


@pytest.mark.parametrize(
    ("info", "reading", "ratio"),
    [
        ({}, ServerReading(), 0.0),
        ({"used_memory": 10, "maxmemory": 0}, ServerReading(used_bytes=10), 0.0),
        ({"used_memory": 10, "maxmemory": 40}, ServerReading(used_bytes=10, max_bytes=40), 0.25),
        ({"maxmemory_policy": "noeviction"}, ServerReading(), 0.0),
        ({"maxmemory_policy": "allkeys-lru"}, ServerReading(may_evict=True), 0.0),
        ({"aof_last_write_status": "ok", "rdb_last_bgsave_status": "ok"}, ServerReading(), 0.0),
        ({"aof_last_write_status": "err"}, ServerReading(is_persisting=False), 0.0),
        ({"aof_last_bgrewrite_status": "err"}, ServerReading(is_persisting=False), 0.0),
        ({"rdb_last_bgsave_status": "err"}, ServerReading(is_persisting=False), 0.0),
    ],
)
def test_what_redis_says_of_itself_is_read(info: dict[str, object], reading: ServerReading, ratio: float) -> None:
    assert ServerReading.from_info(info) == reading
    assert reading.memory_ratio == ratio
