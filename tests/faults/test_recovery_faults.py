"""Faults recovery has to stand: corrupt hashes, a wrong clock, its own death, nobody to take a job."""

from __future__ import annotations

import json
import random
import signal
import time

import pytest
from rq.queue import Queue
from rq.serializers import JSONSerializer

from faults.caller import TARGET, flowers
from faults.conftest import MakeRig
from faults.rig import KEYS, Rig, wait_until
from iris_service.jobs.keys import DEAD_PREFIX, TASK, job_key

pytestmark = pytest.mark.faults

CORRUPT_FIELDS = {
    "status": b"enchanted",
    "created_at": b"yesterday",
    "timeout": b"a while",
    "retries_left": b"many",
    "data": b"\x80\x04\x95not json",
}
ODD_BUT_USABLE_FIELDS = {"timeout": (b"-1", b"inf", b"1e300"), "retries_left": (b"nan", b"-7")}


def rows(count: int) -> list[tuple[float, ...]]:
    return [row for row, _ in zip(flowers(random.Random(15)), range(count), strict=False)]


def test_f15_corrupt_jobs_are_set_aside_and_answered_and_stop_nobody(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.start_recovery()
    ids = iter(rig.caller.submit(*rows(40)))
    unreadable = [_overwrite(rig, next(ids)), _vanish(rig, next(ids))]
    unreadable += [_write(rig, next(ids), "data", CORRUPT_FIELDS["data"])]
    either = [_write(rig, next(ids), field, value) for field, value in CORRUPT_FIELDS.items() if field != "data"]
    for field, values in ODD_BUT_USABLE_FIELDS.items():
        for value in values:
            _write(rig, next(ids), field, value)
    wrong_call = _write(rig, next(ids), "data", json.dumps([TASK, None, [{"rows": "many"}], {}]).encode())
    uninvited = ("nobody", "no:body", "\xff\x00")
    rig.redis.rpush(KEYS.waiting, *uninvited)
    worker = rig.start_worker()
    rig.settle()
    assert worker.poll() is None
    errors = dict.fromkeys(unreadable, "UNREADABLE") | {wrong_call: "BAD_INPUT"}
    # what nobody needed to read does no harm: it depends on a job's place in its batch
    errors |= {job_id: "UNREADABLE" for job_id in either if rig.code_of(job_id) == "UNREADABLE"}
    rig.assert_invariants(errors)
    assert rig.counts()["quarantined"] >= len(unreadable)
    assert rig.redis.exists(DEAD_PREFIX + unreadable[0]), "kept to be looked at"


def test_f15_jobs_that_turn_corrupt_in_a_dying_workers_hands_are_answered(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.start_recovery()
    victim = rig.start_worker("--at", "answered", "--do", "hang")
    ids = rig.caller.submit(*rows(8))
    wait_until(lambda: rig.open_work()["running"] == 8, 30, "the victim has them all")
    victim.kill()
    gone = [_overwrite(rig, ids[0]), _vanish(rig, ids[1]), _write(rig, ids[2], "retries_left", b"many")]
    _abandon_foreign_job(rig, status=b"enchanted")
    rig.start_worker()
    rig.settle()
    rig.assert_invariants(errors=dict.fromkeys(gone, "UNREADABLE"))


def _write(rig: Rig, job_id: str, field: str, value: bytes) -> str:
    rig.redis.hset(job_key(job_id), field, value)
    return job_id


def _overwrite(rig: Rig, job_id: str) -> str:
    rig.redis.set(job_key(job_id), "not a hash")
    return job_id


def _vanish(rig: Rig, job_id: str) -> str:
    rig.redis.delete(job_key(job_id))
    return job_id


def _abandon_foreign_job(rig: Rig, status: bytes = b"started") -> str:
    """Leave a job of another function as a stock worker that died would."""
    queue = Queue(TARGET.queue, connection=rig.redis, serializer=JSONSerializer)
    job_id = queue.enqueue("time.sleep", 1).id
    rig.redis.lrem(KEYS.waiting, 1, job_id)
    rig.redis.hset(job_key(job_id), "status", status)
    rig.redis.zadd(KEYS.running, {f"{job_id}:e1": time.time() - 1})
    return job_id


@pytest.mark.parametrize("shift_seconds", [300, -300])
def test_f16_a_recovery_whose_clock_is_wrong_takes_no_running_job_away(make_rig: MakeRig, shift_seconds: int) -> None:
    rig = make_rig()
    rig.start_recovery("--clock-shift", str(shift_seconds))
    rig.start_worker()
    with rig.caller.load(flowers(random.Random(16), slow_share=0.05), callers=4, pause_seconds=0.05):
        wait_until(lambda: rig.open_work()["running"], 30, "jobs are running")
        foreign = _abandon_foreign_job(rig)  # RQ's own cleanup of the queue would go by that clock
        time.sleep(3)
    rig.settle()
    assert {"recovered", "refused", "quarantined"}.isdisjoint(rig.counts())
    assert rig.redis.hget(job_key(foreign), "status") == b"failed"
    rig.assert_invariants()


def test_recovery_killed_at_work_is_followed_by_another_that_finishes(make_rig: MakeRig) -> None:
    rig = make_rig()
    rig.start_recovery()
    victim = rig.start_worker("--at", "answered", "--do", "hang")
    rig.caller.submit(*rows(5))
    wait_until(lambda: rig.open_work()["running"], 30, "the victim has jobs")
    victim.kill()
    assert rig.recovery is not None
    rig.recovery.send_signal(signal.SIGKILL)
    rig.start_recovery()
    rig.start_worker()
    rig.settle()
    rig.assert_invariants()


def test_a_job_nobody_takes_is_answered_expired_without_any_worker(make_rig: MakeRig) -> None:
    rig = make_rig(job_deadline_seconds=1)
    rig.start_recovery()
    ids = rig.caller.submit(*rows(5))
    wait_until(lambda: all(rig.code_of(job_id) == "EXPIRED" for job_id in ids), 30, "all are answered")
    rig.start_worker()  # passes over what is left of them on the queue
    rig.settle()
    rig.assert_invariants(errors=dict.fromkeys(ids, "EXPIRED"))
