"""Faults of Redis: killed, loading, out of memory, disk full, overloaded. Numbers are those of docs/no-loss.md."""

from __future__ import annotations

import random
import resource
import time
from pathlib import Path
from uuid import uuid4

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry

from faults.caller import flowers
from faults.conftest import MakeRig
from faults.rig import Rig, wait_until
from iris_service.errors import QueueUnavailable, TryLater

pytestmark = pytest.mark.faults

GIVEN_UP_WITHIN_SECONDS = 2.0
MEGABYTE = 1 << 20


def test_f07_redis_killed_under_load_forgets_nothing_it_has_accepted(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.start_recovery()
    with rig.supervised(workers=2), rig.caller.load(flowers(random.Random(7), slow_share=0.005)):
        wait_until(lambda: rig.counts().get("done", 0) > 100, 20, "some load")
        rig.valkey.kill()
        time.sleep(1)
        rig.valkey.start()
        again = len(rig.caller.accepted)
        back = wait_until(lambda: len(rig.caller.accepted) > again, 30, "jobs are accepted again")
        done = rig.counts()["done"]
        back += wait_until(lambda: rig.counts()["done"] > done, 30, "workers answer again")
    assert back < 10
    rig.settle()
    assert set(rig.caller.refused) == {QueueUnavailable.__name__}
    assert rig.caller.slowest_refusal_seconds < GIVEN_UP_WITHIN_SECONDS
    rig.assert_invariants()


def test_f08_while_redis_loads_its_data_callers_are_told_to_come_back(make_rig: MakeRig) -> None:
    rig = make_rig()
    accepted = rig.caller.submit(*(row for row, _ in zip(flowers(random.Random(8)), range(20), strict=False)))
    with rig.redis.pipeline(transaction=False) as pipeline:
        for number in range(20_000):
            pipeline.set(f"ballast:{number}", "x")
        pipeline.execute()
    rig.valkey.kill()
    rig.valkey.options = ("--key-load-delay", "100", "--loading-process-events-interval-bytes", "1024")
    rig.valkey.start(wait=False)
    wait_until(lambda: _is_loading(rig), 30, "the server loads")
    worker = rig.start_worker(wait=False)
    assert not rig.caller.try_submit((1.0, 2.0, 3.0, 4.0))
    assert _is_loading(rig), "the refusal was given while the server loads"
    assert set(rig.caller.refused) == {QueueUnavailable.__name__}
    rig.valkey.wait_until_up()
    rig.settle()
    assert worker.poll() is None, "the worker waited"
    assert set(rig.results()) == set(accepted)
    rig.assert_invariants()


def _is_loading(rig: Rig) -> bool:
    with redis.Redis(port=rig.valkey.port, retry=Retry(NoBackoff(), 0)) as impatient:
        try:
            impatient.ping()
        except redis.exceptions.BusyLoadingError:
            return True
        except redis.RedisError:
            pass
    return False


def test_f12_a_full_redis_refuses_new_jobs_and_drains_the_accepted_ones_by_itself(make_rig: MakeRig) -> None:
    rng = random.Random(12)
    rig = make_rig("--maxmemory", "24mb", "--maxmemory-policy", "noeviction")
    rig.caller.submit(*(row for row, _ in zip(flowers(rng, slow_share=0.03), range(200), strict=False)))
    wait_until(lambda: _is_seen_filled_to(rig, 0.85), 30, "the API sees it")
    assert not rig.caller.try_submit((1.0, 2.0, 3.0, 4.0))
    assert set(rig.caller.refused) == {TryLater.__name__}, "refused before Redis is full: workers keep their room"
    _fill_to(rig, 1.0)
    rig.redis.config_set("maxmemory", 22 * MEGABYTE)  # what the drain frees must not end the fault
    rig.start_recovery()
    with rig.supervised(workers=1):  # even these start on a full Redis
        wait_until(lambda: rig.open_work()["running"], 20, "a worker has jobs")
        rig.workers[0].kill()
        rig.settle()
        assert _is_full(rig)
    rig.redis.config_set("maxmemory", 24 * MEGABYTE)
    rig.redis.delete(*rig.redis.scan_iter("ballast:*", count=1000))
    wait_until(lambda: rig.caller.try_submit((1.0, 2.0, 3.0, 4.0)), 30, "jobs are accepted again")
    rig.start_worker()
    rig.settle()
    rig.assert_invariants()


def test_f12_a_redis_found_full_only_on_commit_is_unavailable(make_rig: MakeRig) -> None:
    rig = make_rig("--maxmemory", "24mb", "--maxmemory-policy", "noeviction", memory_limit_ratio=1.0)
    wait_until(lambda: rig.caller.reading().redis_up, 30, "the API has read the memory")
    rig.redis.config_set("maxmemory", 1 * MEGABYTE)  # fuller than full within one look of the API
    assert not rig.caller.try_submit((1.0, 2.0, 3.0, 4.0))
    assert rig.caller.refused.total() == 1
    assert rig.results() == {}


def _is_seen_filled_to(rig: Rig, share: float) -> bool:
    """Fill again what was only a buffer's when it was counted."""
    _fill_to(rig, share)
    return rig.caller.reading().memory_ratio >= 0.8


def _fill_to(rig: Rig, share: float) -> None:
    """Put strings of other people into Redis; 1.0 is where it refuses the smallest."""
    for _ in range(100_000):
        memory = rig.redis.info("memory")
        left = memory["maxmemory"] * share - memory["used_memory"]
        if left <= 0 and share < 1:
            return
        try:
            rig.redis.set(f"ballast:{uuid4().hex}", b"x" * max(1, min(64 * 1024, int(left / 2))))
        except redis.exceptions.OutOfMemoryError:
            return
    raise AssertionError("Redis never was full")


def _is_full(rig: Rig) -> bool:
    try:
        rig.redis.set("ballast:probe", "x")
    except redis.exceptions.OutOfMemoryError:
        return True
    return False


def test_f23_a_full_disk_refuses_new_jobs_and_loses_none(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.start_recovery()
    rig.caller.submit(*(row for row, _ in zip(flowers(random.Random(23)), range(50), strict=False)))
    _limit_files(rig, _append_only_bytes(rig) + 100)
    wait_until(lambda: not rig.caller.try_submit((1.0, 2.0, 3.0, 4.0)), 30, "writes are refused")
    with rig.supervised(workers=1):
        time.sleep(2)  # a worker that starts on a full disk, and one that ends, change nothing
        rig.workers[0].kill()
        assert not rig.caller.try_submit((1.0, 2.0, 3.0, 4.0))
        assert set(rig.caller.refused) == {QueueUnavailable.__name__}
        assert rig.caller.slowest_refusal_seconds < GIVEN_UP_WITHIN_SECONDS
        _limit_files(rig, resource.RLIM_INFINITY)
        wait_until(lambda: rig.caller.try_submit((1.0, 2.0, 3.0, 4.0)), 30, "jobs are accepted again")
        rig.settle()
    rig.assert_invariants()


def _append_only_bytes(rig: Rig) -> int:
    return max(path.stat().st_size for path in Path(rig.folder, "appendonlydir").iterdir())


def _limit_files(rig: Rig, size: int) -> None:
    """Let the server's files grow to `size` bytes and no further: to it, a full disk."""
    assert rig.valkey.process is not None
    resource.prlimit(rig.valkey.process.pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))


def test_f24_ten_times_the_load_is_refused_in_time_and_what_is_accepted_is_answered(make_rig: MakeRig) -> None:
    limit = 200
    rig = make_rig(queue_limit=limit, batch_size=16)
    rig.start_recovery()
    rig.start_worker()
    memory: list[int] = []
    with rig.caller.load(flowers(random.Random(24), slow_share=0.06), callers=64):
        wait_until(lambda: rig.caller.refused, 20, "the queue is full")
        for _ in range(20):
            time.sleep(0.2)
            memory.append(rig.redis.info("memory")["used_memory"])
            assert rig.open_work()["waiting"] <= limit
    assert set(rig.caller.refused) == {"QueueFull"}
    assert rig.caller.refused.total() > 5 * len(rig.caller.accepted) / 2, "most of it was too much"
    assert max(memory) - min(memory) < 4 * MEGABYTE
    rig.settle()
    rig.assert_invariants()
