"""Faults between us and Redis: lost replies, cuts, stalls, and an API that dies before it can answer its caller."""

from __future__ import annotations

import hashlib
import random
import signal
import time
from collections.abc import Callable

import pytest

from faults.caller import flowers
from faults.conftest import MakeRig
from faults.proxy import FaultProxy
from faults.rig import Rig, wait_until
from iris_service.errors import QueueUnavailable
from iris_service.jobs import scripts
from stub_model import IS_SLOW

pytestmark = pytest.mark.faults

MakeProxy = Callable[[Rig], FaultProxy]
ROW = (1.0, 2.0, 3.0, 4.0)


def script_call(name: str) -> bytes:
    """What a call of script `name` looks like on the wire."""
    return hashlib.sha1(scripts.source(name).encode(), usedforsecurity=False).hexdigest().encode()


def rows(count: int) -> list[tuple[float, ...]]:
    return [row for row, _ in zip(flowers(random.Random(9)), range(count), strict=False)]


def test_f09_a_lost_reply_to_a_commit_is_asked_for_again_and_commits_once(
    make_rig: MakeRig, make_proxy: MakeProxy
) -> None:
    rig = make_rig()
    proxy = make_proxy(rig)
    caller = rig.caller_at(proxy.url)
    caller.submit(ROW)  # the script is known to the server from here on
    for row in rows(10):
        proxy.lose_reply_to(script_call("enqueue"))
        caller.submit(row)
    assert proxy.lost_replies == 10
    assert rig.counts()["accepted"] == len(rig.caller.accepted) == 11
    rig.start_worker()
    rig.settle()
    rig.assert_invariants()


def test_f09_a_commit_that_never_gets_its_reply_is_unavailable_and_done_at_most_once(
    make_rig: MakeRig, make_proxy: MakeProxy
) -> None:
    rig = make_rig()
    proxy = make_proxy(rig)
    caller = rig.caller_at(proxy.url)
    caller.submit(ROW)
    proxy.lose_reply_to(script_call("enqueue"), times=100)
    assert not caller.try_submit(ROW)
    assert caller.slowest_refusal_seconds < 2
    assert dict(caller.refused) == {QueueUnavailable.__name__: 1}
    rig.start_worker()
    rig.settle()
    rig.assert_invariants()


def test_f09_a_caller_who_was_told_unavailable_finds_his_job_again_by_its_key(
    make_rig: MakeRig, make_proxy: MakeProxy
) -> None:
    rig = make_rig()
    proxy = make_proxy(rig)
    caller = rig.caller_at(proxy.url)
    assert caller.submit_keyed(b"first", ROW)
    proxy.lose_reply_to(script_call("enqueue"), times=100)
    with pytest.raises(QueueUnavailable):
        caller.submit_keyed(b"order-7", ROW)
    proxy.lose_reply_to(script_call("enqueue"), times=0)
    assert not caller.submit_keyed(b"order-7", ROW), "it was committed, and is the same job"
    assert rig.counts()["accepted"] == 2
    rig.start_worker()
    rig.settle()
    rig.assert_invariants()


@pytest.mark.parametrize("lost", ["BLMOVE", "claim", "finish", "renew"])
def test_f10_a_worker_that_misses_replies_answers_every_job_once(
    make_rig: MakeRig, make_proxy: MakeProxy, lost: str
) -> None:
    rig = make_rig(batch_size=4)
    proxy = make_proxy(rig)
    rig.start_recovery()
    worker = rig.start_worker(url=proxy.url)
    rig.caller.submit((IS_SLOW, 1.0, 2.0, 3.0))
    rig.settle()  # every script is known to the server
    proxy.lose_reply_to(b"BLMOVE" if lost == "BLMOVE" else script_call(lost))
    rig.caller.submit(*rows(20), *[(IS_SLOW, 1.0, 2.0, 3.0)] * 8)
    rig.settle(seconds=40)
    assert proxy.lost_replies == 1
    assert worker.poll() is None
    assert rig.counts().get("refused", 0) == 0, "a worker knows its own answer again"
    rig.assert_invariants()


def test_f11_behind_a_dead_router_callers_hear_within_two_seconds_and_workers_come_back(
    make_rig: MakeRig, make_proxy: MakeProxy
) -> None:
    rig = make_rig()
    proxy = make_proxy(rig)
    rig.start_recovery()
    worker = rig.start_worker(url=proxy.url)
    caller = rig.caller_at(proxy.url)
    with caller.load(flowers(random.Random(11)), callers=4):
        wait_until(lambda: len(rig.caller.accepted) > 50, 20, "some load")
        proxy.holed = True
        time.sleep(4)
        proxy.holed = False
        again = len(rig.caller.accepted)
        wait_until(lambda: len(rig.caller.accepted) > again, 30, "jobs are accepted again")
    assert set(rig.caller.refused) == {QueueUnavailable.__name__}
    assert caller.slowest_refusal_seconds < 3
    rig.settle(seconds=35)
    assert worker.poll() is None
    rig.assert_invariants()


def test_f11_a_slow_line_that_delivers_byte_by_byte_changes_nothing(make_rig: MakeRig, make_proxy: MakeProxy) -> None:
    rig = make_rig()
    proxy = make_proxy(rig)
    proxy.latency_seconds, proxy.slice_bytes = 0.05, 1
    rig.start_worker(url=proxy.url)
    rig.caller_at(proxy.url).submit(*rows(10))
    rig.settle()
    rig.assert_invariants()


def test_f18_callers_of_an_api_that_dies_after_the_commit_find_their_jobs_again_by_their_keys(
    make_rig: MakeRig,
) -> None:
    rig = make_rig()
    api = rig.start_api("--jobs", "20")
    assert rig.exit_code(api) == -signal.SIGKILL
    assert rig.counts()["accepted"] == 20
    rig.start_worker()
    for number in range(20):  # some are answered by now, some are not
        assert not rig.caller.submit_keyed(b"%d" % number, ROW)
    rig.settle()
    assert rig.counts()["done"] == len(rig.results()) == 20
    for number in range(20):
        assert not rig.caller.submit_keyed(b"%d" % number, ROW)
    rig.assert_invariants()
