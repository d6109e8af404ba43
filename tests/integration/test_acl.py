"""The shipped ACL users: enough for everything we do, and not enough for anything else."""

from __future__ import annotations

import asyncio
import random
import re
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from rq.queue import Queue
from rq.serializers import JSONSerializer

from faults.caller import TARGET, flowers
from faults.rig import Rig, wait_until
from iris_operator.errors import NoCard
from iris_operator.queues import Queues
from iris_operator.spec import IrisModelSpec, ModelVersion
from iris_service.errors import SettingsError
from iris_service.jobs.acl import USERS, render
from iris_service.jobs.keys import PENDING, job_key, queue_keys, result_key
from iris_service.schemas import Answered
from servers import short_folder
from stub_model import KILLS

KEYS = queue_keys(TARGET.queue)
PASSWORDS = {name: f"{name}'s password" for name in USERS}
EVERYTHING = "user default on nopass ~* &* +@all"


@pytest.fixture
def rig() -> Iterator[Rig]:
    folder = short_folder()
    acl_file = Path(folder, "users.acl")
    acl_file.write_text(render(PASSWORDS).replace("user default off", EVERYTHING))  # the test itself looks on
    rig = Rig(folder, "--aclfile", str(acl_file), job_attempts=2, extra_tasks="operator.add")
    yield rig
    rig.stop()
    shutil.rmtree(folder)


def url(rig: Rig, user: str) -> str:
    return f"redis://{user}:{PASSWORDS[user].replace(' ', '%20')}@127.0.0.1:{rig.valkey.port}/0"


def test_the_file_holds_no_password_and_switches_the_default_user_off() -> None:
    text = render(PASSWORDS)
    assert "password" not in text
    assert text.splitlines()[0] == "user default off"
    assert [line.split()[1] for line in text.splitlines()[1:]] == [*USERS, "iris-health"]
    assert len(re.findall(r"#[0-9a-f]{64}\b", text)) == 3


def test_a_probe_learns_that_the_server_answers_and_can_do_nothing_else(rig: Rig) -> None:
    with redis.Redis.from_url(f"redis://iris-health:any@127.0.0.1:{rig.valkey.port}/0") as probe:
        assert probe.ping()
        for command in (("GET", "iris:models"), ("INFO",), ("SUBSCRIBE", "iris:answered"), ("ACL", "WHOAMI")):
            with pytest.raises(redis.exceptions.NoPermissionError):
                probe.execute_command(*command)


@pytest.mark.parametrize(
    "passwords",
    [{}, dict(PASSWORDS, stranger="x"), dict.fromkeys(USERS, ""), dict.fromkeys(USERS[:2], "x")],
)
def test_every_user_and_nobody_else_has_a_password(passwords: dict[str, str]) -> None:
    with pytest.raises(SettingsError):
        render(passwords)


def test_api_worker_and_recovery_need_no_more_than_their_users_may(rig: Rig) -> None:
    worker_url = url(rig, "iris-worker")
    rig.start_recovery(url=worker_url)
    caller = rig.caller_at(url(rig, "iris-api"))
    wait_until(lambda: caller.reading().redis_up, 30, "the API reads lengths, counts and memory")
    rows = [row for row, _ in zip(flowers(random.Random(1)), range(50), strict=False)]
    assert caller.submit_keyed(b"order-7", rows[0])
    poison = caller.submit(*rows, (KILLS, 1.0, 1.0, 1.0))[-1]
    lost, unwanted = caller.submit(rows[0], rows[1])
    assert caller.cancel(unwanted)
    rig.redis.set(job_key(lost), "not a hash")
    foreign = Queue(TARGET.queue, connection=rig.redis, serializer=JSONSerializer).enqueue("operator.add", 1, 2)
    first = rig.start_worker(url=worker_url)
    rig.exit_code(first)
    second = rig.start_worker(url=worker_url)
    wait_until(lambda: foreign.get_status() == "finished", 20, "the job of another function is done")
    rig.exit_code(second)
    third = rig.start_worker(url=worker_url)
    rig.settle()
    third.terminate()
    assert rig.exit_code(third) == 0
    assert rig.redis.acl_log() == []
    assert caller.run(caller._queue.fetch(poison, 1.0)) is not None  # looks and listens as the API user
    answer = Answered("stub", "1", "sha256:0", 1.5, 0.0, 0.001, ((1.0, 0.0, 0.0),))
    caller._queue.tally.add(TARGET, [answer])
    caller.run(caller._queue.tally.flush())
    assert rig.redis.hget(KEYS.counts, "inline_done") == b"1"
    rig.assert_invariants(errors={poison: "WORKER_LOST", lost: "UNREADABLE"})
    assert rig.redis.acl_log() == []


FOREIGN = ("SET", "someone:else", "1")
DENIED = {
    "iris-api": [
        ("FLUSHALL",), ("KEYS", "*"), ("CONFIG", "GET", "*"), ("EVAL", "return 1", "0"), ("ACL", "LIST"),
        ("GET", "someone:else"), ("HGETALL", job_key("x")), ("LPOP", KEYS.waiting), ("DEL", result_key("x")),
        ("SET", result_key("x"), "forged"), ("PUBLISH", "iris:answered", "x"), ("SUBSCRIBE", "elsewhere"),
        ("HSET", "iris:route:iris", "a", "b"),
        ("SET", KEYS.waiting, "x"), ("SET", job_key("x"), "x"), ("SET", PENDING, "x"),
        ("RENAMENX", result_key("x"), result_key("y")), ("RENAMENX", job_key("x"), result_key("y")),
        ("DEL", KEYS.waiting), ("DEL", PENDING), ("LREM", "elsewhere", "1", "x"), ("ZREM", KEYS.running, "x"),
        ("LRANGE", KEYS.waiting, "0", "-1"), ("ZRANGE", PENDING, "0", "-1"), ("EXPIRE", result_key("x"), "0"),
    ],
    "iris-worker": [
        ("FLUSHALL",), ("KEYS", "*"), ("CONFIG", "SET", "maxmemory", "1"), ("EVAL", "return 1", "0"), FOREIGN,
        ("MODULE", "LIST"), ("SHUTDOWN",), ("SET", "iris:route:iris", "x"),
        ("PUBLISH", "elsewhere", "x"), ("SET", "iris:redirect:stub@1", "x"),
    ],
    "iris-operator": [
        ("FLUSHDB",), ("KEYS", "*"), ("CONFIG", "GET", "*"), ("EVAL", "return 1", "0"), FOREIGN,
        ("GET", "someone:else"), ("SET", result_key("x"), "forged"), ("PUBLISH", "iris:answered", "x"),
        ("ZADD", KEYS.running, "1", "x"), ("LPOP", KEYS.waiting), ("HGETALL", job_key("x")),
    ],
}  # fmt: skip


@pytest.mark.parametrize("user", USERS)
def test_a_user_is_denied_what_it_has_no_need_for(rig: Rig, user: str) -> None:
    with redis.Redis.from_url(url(rig, user)) as client:
        assert client.ping()
        for command in DENIED[user]:
            with pytest.raises(redis.exceptions.NoPermissionError):
                client.execute_command(*command)


def test_the_api_may_put_an_answer_where_there_is_none_and_change_none(rig: Rig) -> None:
    rig.redis.set(result_key("x"), "the answer")
    with redis.Redis.from_url(url(rig, "iris-api")) as client:
        client.set("iris:draft:x", "forged")
        assert not client.renamenx("iris:draft:x", result_key("x"))
        assert client.renamenx("iris:draft:x", result_key("y"))
    assert rig.redis.get(result_key("x")) == b"the answer"


@pytest.mark.parametrize("user", USERS)
def test_a_script_of_ones_own_can_do_no_more_than_its_user(rig: Rig, user: str) -> None:
    with redis.Redis.from_url(url(rig, user)) as client:
        script = client.script_load("return redis.call('SET', 'someone:else', 'x')")
        with pytest.raises(redis.exceptions.ResponseError, match="ACL"):
            client.evalsha(script, 0)
    assert not rig.redis.exists("someone:else")


def test_the_operator_needs_no_more_than_its_user_may(rig: Rig) -> None:
    version = ModelVersion(version="1", digest="sha256:" + "0" * 64)
    spec = IrisModelSpec(name="stub", namespace="test", generation=1, uid="u", model=version)

    async def operate() -> None:
        queues = Queues(url(rig, "iris-operator"), "test")
        await queues.observe([TARGET.queue], ["stub"])
        await queues.write_route(spec, {"1": 90, "2": 10})
        assert await queues.close(TARGET.queue, "stub@2") >= 1
        await queues.open("stub@2")
        await queues.send_golden(spec, version, [[1.0, 2.0, 3.0, 4.0]], begun=1.0)
        assert await queues.golden_result(spec, version, begun=1.0, expected=[0]) is not None
        assert len(await queues.busy_hosts(TARGET.queue)) == 1
        with pytest.raises(NoCard):
            await queues.golden_rows("stub", ["2"])
        await queues.forget_all_but([])
        await queues.aclose()

    rig.start_worker().send_signal(signal.SIGSTOP)
    rig.caller.submit((1.0, 2.0, 3.0, 4.0), (2.0, 2.0, 3.0, 4.0))  # the server hands the first to the frozen worker
    asyncio.run(operate())
    assert rig.redis.acl_log() == []


def test_without_a_password_nobody_gets_in(rig: Rig) -> None:
    rig.redis.execute_command("ACL", "SETUSER", "default", "off")
    with redis.Redis(port=rig.valkey.port) as client, pytest.raises(redis.exceptions.AuthenticationError):
        client.ping()
    rig.redis.execute_command("ACL", "SETUSER", "default", "on")
