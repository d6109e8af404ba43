"""Recovery, sweep by sweep, against a real Valkey. Deaths of real workers are in tests/faults."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field

import pytest
import redis
from rq import Queue
from rq.serializers import JSONSerializer

from iris_service.config import JobSettings
from iris_service.jobs import recovery as recovery_module
from iris_service.jobs.keys import (
    KNOWN_QUEUES,
    PENDING,
    RECOVERY_LOCK,
    REDIRECT_PREFIX,
    TASK,
    Target,
    job_key,
    queue_keys,
    result_key,
)
from iris_service.jobs.recovery import AUDIT_EVERY_SWEEPS, STRANDED_SECONDS, Recovery
from iris_service.schemas import Answered, Failed, envelope_from_json, envelope_to_json

QUEUE = Target("stub", "1").queue
KEYS = queue_keys(QUEUE)
JOB = "a" * 32
ANSWER = Answered("stub", "1", "d", 1.0, 0.1, 0.1, ((1.0,),))


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Rig:
    """One recovery and the few writes that bring a job into a state."""

    client: redis.Redis
    clock: Clock = field(default_factory=Clock)

    def __post_init__(self) -> None:
        self.recovery = Recovery(self.client, JobSettings(attempts=3), self.clock)
        self.client.sadd(KNOWN_QUEUES, QUEUE)

    def accept(self, retries_left: object = 2, deadline_in: float = 100, job_id: str = JOB) -> None:
        fields = {"data": json.dumps([TASK, None, [{}], {}]), "origin": QUEUE, "status": "queued"}
        self.client.hset(job_key(job_id), mapping={**fields, "retries_left": str(retries_left)})
        self.client.zadd(PENDING, {job_id: time.time() + deadline_in})

    def run_on(self, execution: str, lease_in: float) -> None:
        self.client.hset(job_key(JOB), mapping={"status": "started", "execution": execution})
        self.client.zadd(KEYS.running, {f"{JOB}:{execution}": time.time() + lease_in})

    def audit(self) -> None:
        for _ in range(AUDIT_EVERY_SWEEPS * 2):
            assert self.recovery.sweep()

    @property
    def waiting(self) -> list[bytes]:
        return self.client.lrange(KEYS.waiting, 0, -1)  # type: ignore[return-value]

    @property
    def envelope(self) -> Answered | Failed | None:
        found = self.client.get(result_key(JOB))
        return envelope_from_json(found) if found else None  # type: ignore[arg-type]


@pytest.fixture
def rig(valkey: redis.Redis) -> Rig:
    return Rig(valkey)


def test_a_job_whose_lease_has_ended_goes_back_to_the_front_with_one_attempt_less(rig: Rig) -> None:
    rig.accept()
    rig.client.rpush(KEYS.waiting, "other")
    rig.run_on("e1", lease_in=-1)
    rig.recovery.sweep()
    assert rig.waiting == [JOB.encode(), b"other"]
    assert rig.client.hget(job_key(JOB), "retries_left") == b"1"
    assert rig.client.zcard(KEYS.running) == 0


def test_what_has_been_lost_twice_goes_to_the_back(rig: Rig) -> None:
    rig.accept(retries_left=1)
    rig.client.rpush(KEYS.waiting, "other")
    rig.run_on("e1", lease_in=-1)
    rig.recovery.sweep()
    assert rig.waiting == [b"other", JOB.encode()]


def test_a_job_under_a_lease_is_left_alone(rig: Rig) -> None:
    rig.accept()
    rig.run_on("e1", lease_in=30)
    rig.audit()
    assert rig.waiting == []
    assert rig.client.zcard(KEYS.running) == 1


def test_used_up_attempts_are_answered_worker_lost(rig: Rig) -> None:
    rig.accept(retries_left=0)
    rig.run_on("e1", lease_in=-1)
    rig.recovery.sweep()
    assert isinstance(rig.envelope, Failed)
    assert (rig.envelope.code, rig.envelope.attempt, rig.envelope.model) == ("WORKER_LOST", 3, "stub")
    assert not rig.client.exists(job_key(JOB))
    assert rig.client.zcard(PENDING) == rig.client.zcard(KEYS.running) == 0


def test_the_lease_of_an_earlier_run_does_not_take_the_job_from_a_later_one(rig: Rig) -> None:
    rig.accept()
    rig.run_on("e1", lease_in=-1)
    rig.run_on("e2", lease_in=30)
    rig.recovery.sweep()
    assert rig.waiting == []
    assert rig.client.zrange(KEYS.running, 0, -1) == [f"{JOB}:e2".encode()]


def test_a_job_stranded_between_move_and_claim_goes_back(rig: Rig) -> None:
    rig.accept()
    rig.client.rpush(KEYS.intermediate, JOB)
    rig.recovery.sweep()
    assert rig.waiting == [], "a claim may be on its way"
    rig.clock.now += STRANDED_SECONDS
    rig.recovery.sweep()
    assert rig.waiting == [JOB.encode()]
    assert rig.client.llen(KEYS.intermediate) == 0


def test_an_accepted_job_that_is_nowhere_is_put_back_after_two_audits(rig: Rig) -> None:
    rig.accept()
    for _ in range(AUDIT_EVERY_SWEEPS * 2 - 1):
        rig.recovery.sweep()
    assert rig.waiting == []
    rig.recovery.sweep()
    assert rig.waiting == [JOB.encode()]
    rig.audit()
    assert rig.waiting == [JOB.encode()], "and only once"


def test_a_job_nobody_took_before_its_deadline_is_answered_expired(rig: Rig) -> None:
    rig.accept(deadline_in=-1)
    rig.client.rpush(KEYS.waiting, JOB)
    rig.recovery.sweep()
    assert isinstance(rig.envelope, Failed)
    assert rig.envelope.code == "EXPIRED"
    assert rig.client.hget(KEYS.counts, "expired") == b"1"


def test_a_job_that_is_running_at_its_deadline_may_finish(rig: Rig) -> None:
    rig.accept(deadline_in=-1)
    rig.run_on("e1", lease_in=30)
    rig.recovery.sweep()
    assert rig.envelope is None


def test_an_answer_that_is_there_already_is_never_replaced(rig: Rig) -> None:
    rig.accept(retries_left=0)
    rig.run_on("e1", lease_in=-1)
    rig.client.set(result_key(JOB), envelope_to_json(ANSWER))
    rig.recovery.sweep()
    assert rig.envelope == ANSWER
    assert rig.client.zcard(PENDING) == rig.client.zcard(KEYS.running) == 0


@pytest.mark.parametrize("spoil", ["retries", "type", "gone"])
def test_what_cannot_be_read_is_set_aside_and_its_caller_answered(rig: Rig, spoil: str) -> None:
    rig.accept(retries_left="many" if spoil == "retries" else 2)
    if spoil != "retries":
        rig.client.delete(job_key(JOB))
    if spoil == "type":
        rig.client.set(job_key(JOB), "not a hash")
    rig.client.zadd(KEYS.running, {f"{JOB}:e1": time.time() - 1})
    rig.audit()
    assert isinstance(rig.envelope, Failed)
    assert rig.envelope.code == "UNREADABLE"
    assert rig.client.zcard(PENDING) == 0
    assert rig.client.hget(KEYS.counts, "quarantined") == b"1"


def test_an_id_without_a_job_or_an_answer_is_taken_off_and_not_held_for_unreadable(
    rig: Rig,
) -> None:
    rig.client.rpush(KEYS.intermediate, JOB)
    for _ in range(2):
        rig.recovery.sweep()
        rig.clock.now += STRANDED_SECONDS
    assert rig.client.llen(KEYS.intermediate) == 0
    assert rig.waiting == []
    assert rig.client.hget(KEYS.counts, "quarantined") is None


def test_one_unreadable_job_does_not_stop_the_recovery_of_others(rig: Rig) -> None:
    for number in range(5):
        job_id = f"{number}" * 32
        rig.accept(job_id=job_id, retries_left="junk" if number % 2 else 2)
        rig.client.hset(job_key(job_id), "execution", "e")
        rig.client.zadd(KEYS.running, {f"{job_id}:e": time.time() - 10 + number})
    rig.recovery.sweep()
    assert sorted(rig.waiting) == [b"0" * 32, b"2" * 32, b"4" * 32]


def test_a_foreign_job_is_left_to_rqs_own_cleanup(rig: Rig) -> None:
    queue = Queue(QUEUE, connection=rig.client, serializer=JSONSerializer)
    job = queue.enqueue("time.sleep", 1)
    rig.client.lpop(KEYS.waiting)
    rig.client.hset(job_key(job.id), "status", "started")
    rig.client.zadd(KEYS.running, {f"{job.id}:e1": time.time() - 1})
    rig.recovery.sweep()
    assert queue.failed_job_registry.get_job_ids() == [job.id]
    assert rig.client.zcard(KEYS.running) == 0


def test_only_one_recovery_works_at_a_time_and_a_dead_one_holds_nobody_up(
    rig: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig.client.set(RECOVERY_LOCK, "another", px=200)
    assert not rig.recovery.sweep()
    ends = time.monotonic() + 5
    while not rig.recovery.sweep():
        assert time.monotonic() < ends
        time.sleep(0.05)
    assert not rig.client.exists(RECOVERY_LOCK)
    assert recovery_module._LOCK_MS <= 10_000


@pytest.mark.parametrize(("redirect", "taken_by"), [("other@2", "other@2"), (["junk"], QUEUE)])
def test_a_lost_job_of_a_closed_queue_goes_where_its_jobs_go_now(rig: Rig, redirect: object, taken_by: str) -> None:
    rig.accept()
    rig.run_on("e1", lease_in=-1)
    if isinstance(redirect, str):
        rig.client.set(REDIRECT_PREFIX + QUEUE, redirect)
    else:
        rig.client.rpush(REDIRECT_PREFIX + QUEUE, "not a name")
    rig.recovery.sweep()
    assert rig.client.lrange(queue_keys(taken_by).waiting, 0, -1) == [JOB.encode()]
    assert rig.client.hget(job_key(JOB), "origin") == taken_by.encode()


def test_what_became_of_each_job_is_told(rig: Rig) -> None:
    told: list[str] = []
    rig.recovery.on_recovered = told.append
    for retries_left in (1, 0, "garbled"):
        rig.accept(retries_left)
        rig.run_on("e1", lease_in=-1)
        rig.recovery.sweep()
    rig.accept(deadline_in=-1)
    rig.client.delete(result_key(JOB))
    rig.recovery.sweep()
    assert told == ["requeued", "lost", "quarantined", "expired"]


def test_the_ledger_says_how_many_jobs_are_open_and_how_old_the_oldest_is(rig: Rig) -> None:
    assert rig.recovery.ledger() == (0, 0.0)
    accepted_within = JobSettings().deadline_seconds
    rig.accept(job_id="a" * 32, deadline_in=accepted_within - 5)
    rig.accept(job_id="b" * 32, deadline_in=accepted_within - 70)
    pending, oldest_seconds = rig.recovery.ledger()
    assert pending == 2
    assert 70 <= oldest_seconds < 100
