"""Jobs cancelled at every moment of their life, while workers die: each ends once, cancelled or answered, not both."""

from __future__ import annotations

import random
import signal
import time
from collections.abc import Callable

import pytest

from faults.caller import flowers
from faults.conftest import MakeRig
from faults.proxy import FaultProxy
from faults.rig import Rig, wait_until
from faults.test_network_faults import script_call
from iris_service.jobs.keys import job_key, result_key
from stub_model import IS_SLOW

pytestmark = pytest.mark.faults

ROW = (1.0, 2.0, 3.0, 4.0)
SLOW = (IS_SLOW, 1.0, 2.0, 3.0)


def test_f25_a_storm_of_cancels_under_load_with_workers_killed_ends_every_job_once(make_rig: MakeRig) -> None:
    rng = random.Random(25)
    rig = make_rig(batch_size=8)
    rig.start_recovery()
    with rig.supervised(workers=2):
        with rig.caller.load(flowers(rng, slow_share=0.01), callers=16, pause_seconds=0.03, cancel_share=0.5):
            for _ in range(6):
                wait_until(lambda: rig.open_work()["running"], 20, "a worker has jobs")
                rng.choice(rig.workers).kill()
                time.sleep(rng.uniform(0.3, 0.8))
        rig.settle(seconds=25)
    assert min(len(rig.caller.cancelled), len(rig.caller.too_late)) > 10, "in time and too late"
    rig.assert_invariants()


def test_f25_a_running_job_is_answered_in_vain_and_its_batch_is_not(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.start_worker()
    ids = rig.caller.submit(SLOW, *[SLOW] * 5)
    wait_until(lambda: rig.open_work()["running"] >= 5, 30, "a batch is running")
    assert rig.caller.cancel(ids[-1])
    assert rig.caller.cancel(ids[-1]), "again is fine"
    assert rig.code_of(ids[-1]) == "CANCELLED"
    rig.settle()
    assert rig.counts()["refused"] == 1
    rig.assert_invariants()


def test_f25_a_cancelled_job_whose_worker_dies_is_given_to_nobody(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.start_recovery()
    victim = rig.start_worker()
    job_id = rig.caller.submit(*[SLOW] * 3)[-1]
    wait_until(lambda: rig.redis.hexists(job_key(job_id), "execution"), 30, "the victim has it")
    victim.send_signal(signal.SIGSTOP)
    assert rig.caller.cancel(job_id)
    victim.kill()
    rig.start_worker()
    rig.settle(seconds=25)
    assert rig.counts().get("quarantined", 0) == rig.counts().get("refused", 0) == 0
    rig.assert_invariants()


def test_f25_a_job_cancelled_between_list_and_claim_is_passed_over(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.start_recovery()
    victim = rig.start_worker("--at", "dequeued", "--do", "hang")
    [job_id] = rig.caller.submit(ROW)
    wait_until(lambda: rig.open_work()["intermediate"], 30, "the victim has taken it")
    assert rig.caller.cancel(job_id)
    victim.kill()
    rig.settle(seconds=15)
    assert rig.counts().get("quarantined", 0) == 0
    rig.assert_invariants()


def test_f25_a_lost_reply_to_a_cancel_is_asked_for_again(
    make_rig: MakeRig, make_proxy: Callable[[Rig], FaultProxy]
) -> None:
    rig = make_rig()
    proxy = make_proxy(rig)
    caller = rig.caller_at(proxy.url)
    first, second = caller.submit(ROW, ROW)
    assert caller.cancel(first)  # the script is known to the server from here on
    proxy.lose_reply_to(script_call("cancel"))
    assert caller.cancel(second)
    assert proxy.lost_replies == 1
    rig.settle()
    rig.assert_invariants()


def test_f25_a_full_redis_lets_jobs_be_cancelled(make_rig: MakeRig) -> None:
    rig = make_rig("--maxmemory", "24mb", "--maxmemory-policy", "noeviction")
    ids = rig.caller.submit(*[ROW] * 20)
    rig.redis.config_set("maxmemory", 1 << 20)  # fuller than full
    assert all(rig.caller.cancel(job_id) for job_id in ids)
    rig.redis.config_set("maxmemory", 24 << 20)
    assert not any(rig.open_work().values())
    assert not rig.redis.exists(*map(job_key, ids))
    assert rig.redis.exists(*map(result_key, ids)) == 20
    rig.assert_invariants()
