"""Faults of workers: killed, stopped, frozen, absent, poisoned, hung. Numbers are those of docs/no-loss.md."""

from __future__ import annotations

import json
import random
import signal
import time

import pytest

from faults.caller import flowers
from faults.conftest import MakeRig
from faults.rig import Rig, wait_until
from stub_model import HANGS, HANGS_IN_C, HANGS_WITH_THE_LOCK, IS_SLOW, KILLS

pytestmark = pytest.mark.faults


def slow_rows(count: int) -> list[tuple[float, ...]]:
    return [(IS_SLOW, 1.0, 2.0, 3.0 + number / 100) for number in range(count)]


def test_f01_workers_killed_in_the_middle_of_jobs_lose_none(make_rig: MakeRig) -> None:
    rng = random.Random(1)
    rig = make_rig(batch_size=16)
    rig.start_recovery()
    with rig.supervised(workers=2):
        with rig.caller.load(flowers(rng, slow_share=0.02), pause_seconds=0.05):
            for _ in range(20):
                wait_until(lambda: rig.open_work()["running"], 20, "a worker has jobs")
                rng.choice(rig.workers).kill()
                time.sleep(rng.uniform(0.05, 0.2))
        rig.settle(seconds=10 + 15)
    assert rig.counts().get("recovered", 0) > 0, "the kills hit jobs"
    rig.assert_invariants()


@pytest.mark.parametrize("fault", ["die", "hang"])
def test_f02_a_worker_lost_between_dequeue_and_claim_strands_nothing(make_rig: MakeRig, fault: str) -> None:
    rig = make_rig()
    rig.start_recovery()
    victim = rig.start_worker("--at", "dequeued", "--do", fault)
    rig.caller.submit(*slow_rows(3))
    if fault == "hang":
        wait_until(lambda: rig.open_work()["intermediate"], 30, "the victim holds a job")
        victim.kill()
    assert rig.exit_code(victim) == -signal.SIGKILL
    rig.start_worker()
    rig.settle(seconds=15)
    assert rig.counts()["recovered"] == 1
    rig.assert_invariants()


def test_f03_forty_graceful_stops_under_load_strand_nothing_and_need_no_recovery(make_rig: MakeRig) -> None:
    rig = make_rig()
    with rig.caller.load(flowers(random.Random(3))):
        stoppers = [rig.start_stopping("--times", "10", "--seed", str(seed)) for seed in range(4)]
        assert [rig.exit_code(stopper, seconds=100) for stopper in stoppers] == [0] * 4
    stops = [
        json.loads(line) for stopper in stoppers for line in rig.log_of(stopper).splitlines() if "stopped_in" in line
    ]
    assert len(stops) == 40
    assert {stop["exit_code"] for stop in stops} == {0}
    assert max(stop["stopped_in"] for stop in stops) < 10 + 2
    rig.start_worker()
    rig.settle()  # no recovery runs: whatever was stranded would stay
    rig.assert_invariants()


def test_f03_a_stop_that_comes_while_a_worker_starts_is_not_lost(make_rig: MakeRig) -> None:
    rig = make_rig()
    worker = rig.start_worker("--at", "starting", "--do", "stop", wait=False)
    assert rig.exit_code(worker, seconds=10) == 0


def test_f03_a_worker_stops_cleanly_while_redis_is_away(make_rig: MakeRig) -> None:
    rig = make_rig()
    worker = rig.start_worker()
    rig.valkey.kill()
    worker.terminate()
    assert rig.exit_code(worker, seconds=15) == 0


def test_f04_a_second_sigterm_ends_the_job_and_another_worker_answers_it_once(make_rig: MakeRig) -> None:
    rig = make_rig(job_timeout_seconds=20)
    rig.start_recovery()
    worker = rig.start_worker()
    rig.caller.submit(*slow_rows(10))
    wait_until(lambda: rig.open_work()["running"], 30, "the worker has jobs")
    in_hand = rig.open_work()["running"]
    worker.terminate()
    time.sleep(1.2)  # the second signal of a pair within a second is ignored: a pool may send it twice
    worker.terminate()
    assert rig.exit_code(worker, seconds=5) == 0
    rig.start_worker()
    rig.settle(seconds=35)
    assert rig.counts()["recovered"] <= in_hand + 1, "one extra execution at the most"
    rig.assert_invariants()


def test_f05_a_worker_that_wakes_up_after_its_lease_changes_no_answer(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.start_recovery()
    sleeper = rig.start_worker()
    rig.caller.submit(*slow_rows(5))
    wait_until(lambda: rig.open_work()["running"], 30, "the sleeper has jobs")
    sleeper.send_signal(signal.SIGSTOP)
    rig.start_worker()
    rig.settle(seconds=25)
    before = rig.results()
    sleeper.send_signal(signal.SIGCONT)
    wait_until(lambda: rig.counts().get("refused"), 30, "the late answers are refused")
    assert rig.results() == before
    rig.assert_invariants()


def test_f06_jobs_wait_while_there_is_no_worker_at_all(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.start_recovery()
    with rig.caller.load(flowers(random.Random(6))):
        time.sleep(3)  # several sweeps: recovery must leave waiting jobs alone
    assert rig.caller.refused.total() == 0
    assert rig.open_work()["waiting"] == len(rig.caller.accepted)
    assert "recovered" not in rig.counts()
    rig.start_worker()
    rig.settle()
    rig.assert_invariants()


def test_f13_a_job_that_kills_its_workers_takes_no_other_job_down(make_rig: MakeRig) -> None:
    rig = make_rig(job_attempts=3)
    rig.start_recovery()
    good = [row for row, _ in zip(flowers(random.Random(13)), range(100), strict=False)]
    poison = rig.caller.submit(*good[:50], (KILLS, 1.0, 1.0, 1.0), *good[50:])[50]
    with rig.supervised(workers=2):
        rig.settle(seconds=3 * 15)
    rig.assert_invariants(errors={poison: "WORKER_LOST"})


@pytest.mark.parametrize(
    ("how", "code"), [(HANGS, "TIMEOUT"), (HANGS_IN_C, "TIMEOUT"), (HANGS_WITH_THE_LOCK, "WORKER_LOST")]
)
def test_f14_a_job_that_hangs_ends_alone_however_it_hangs(make_rig: MakeRig, how: float, code: str) -> None:
    rig = make_rig(job_timeout_seconds=1, job_attempts=2)
    rig.start_recovery()
    good = [row for row, _ in zip(flowers(random.Random(14)), range(20), strict=False)]
    hung = rig.caller.submit(*good[:10], (how, 1.0, 1.0, 1.0), *good[10:])[10]
    with rig.supervised(workers=1):
        rig.settle(seconds=40)
    rig.assert_invariants(errors={hung: code})


def test_a_worker_past_its_memory_limit_is_replaced_and_loses_nothing(make_rig: MakeRig) -> None:
    rig = make_rig(worker_max_rss_bytes=1024 * 1024)
    worker = rig.start_worker()
    rig.caller.submit(*slow_rows(3))
    assert rig.exit_code(worker) == 71
    _raise_memory_limit(rig)
    rig.start_recovery()
    rig.start_worker()
    rig.settle(seconds=25)
    rig.assert_invariants()


def _raise_memory_limit(rig: Rig) -> None:
    rig.env["IRIS_WORKER_MAX_RSS_BYTES"] = str(1 << 30)
