"""`iris up` as a user meets it: real processes, a real queue, and nothing left behind."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import pytest
import redis

from iris_service.config import ModelSettings
from iris_service.model.runtime import load_model
from servers import free_port
from versions import COMMITTED

pytestmark = pytest.mark.slow

IRIS = str(Path(sys.executable).with_name("iris"))
API = "/iris/api/v1.0"
SETOSA = "sepal_length=5.1&sepal_width=3.5&petal_length=1.4&petal_width=0.2"
FEATURES = ("sepal_length", "sepal_width", "petal_length", "petal_width")


@dataclass
class Up:
    """One `iris up` that is ready."""

    process: subprocess.Popen[str]
    data: Path
    said: str
    log: Path

    @property
    def url(self) -> str:
        return self._said(r"api +(\S+)")

    @property
    def redis_url(self) -> str:
        return self._said(r"rq info --url '(.+)'")

    def children(self, word: str = "") -> list[psutil.Process]:
        """The child processes whose last argument, or program, contains the word."""
        family = psutil.Process(self.process.pid).children(recursive=True)
        return [child for child in family if word in _command_line(child)]

    def client(self) -> httpx.Client:
        return httpx.Client(base_url=self.url + API, timeout=30)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> int:
        self.process.send_signal(number)
        return self.process.wait(60)

    def _said(self, pattern: str) -> str:
        found = re.search(pattern, self.said)
        assert found, self.said
        return found[1]


def _command_line(process: psutil.Process) -> str:
    try:
        return " ".join(process.cmdline())
    except psutil.NoSuchProcess:  # it ended while we looked
        return ""


def _start(data: Path, *arguments: str, env: dict[str, str] | None = None) -> subprocess.Popen[str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("IRIS_")}
    data.parent.mkdir(parents=True, exist_ok=True)
    with (data.parent / "log").open("a") as log:
        return subprocess.Popen(
            [IRIS, "up", "--data", str(data), *arguments],
            env={**clean, "IRIS_MODELS": str(COMMITTED), "IRIS_LOG_FORMAT": "json", **(env or {})},
            cwd=data.parent,
            stdout=subprocess.PIPE,
            stderr=log,
            text=True,
            start_new_session=True,
        )


@contextmanager
def _up(data: Path, *arguments: str, env: dict[str, str] | None = None) -> Iterator[Up]:
    """Start `iris up` on a free port and wait until it says how to use it; kill it in the end if the test did not."""
    process = _start(data, "--port", "0", *arguments, env=env)
    family: list[psutil.Process] = []
    try:
        assert process.stdout is not None
        lines = []
        for line in process.stdout:
            lines.append(line)
            if line.startswith("  then"):
                break
        log = data.parent / "log"
        assert lines, log.read_text()
        family = psutil.Process(process.pid).children(recursive=True)
        yield Up(process, data, "".join(lines), log)
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        for child in family:
            with suppress(psutil.NoSuchProcess):
                child.kill()


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    """Two workers, for the tests that leave service as they found it."""
    with _up(tmp_path_factory.mktemp("up") / ".iris", "--workers", "2") as up:
        yield up
        assert up.stop() == 0


def _wait_for(condition: Callable[[], bool], seconds: float = 30) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it did not happen"
        time.sleep(0.05)


def _answer(client: httpx.Client, job_id: str) -> list[dict[str, str]]:
    for _ in range(4):
        response = client.get(f"/result/{job_id}", params={"wait": 10})
        if response.status_code == 200:
            result: list[dict[str, str]] = response.json()["result"]
            return result
    raise AssertionError(response.text)


def _predict(client: httpx.Client, row: tuple[float, ...]) -> list[dict[str, str]]:
    response = client.get("/getpred", params=dict(zip(FEATURES, row, strict=True)))
    assert response.status_code == 200, response.text
    return _answer(client, response.json()["job_id"])


def _likeliest(answer: list[dict[str, str]]) -> str:
    return max(answer, key=lambda share: float(share["probability"]))["class"]


def test_all_150_flowers_are_answered_as_scikit_learn_answers_them(running: Up) -> None:
    from sklearn.datasets import load_iris

    bunch = load_iris()
    rows = [tuple(float(value) for value in row) for row in bunch.data]
    labels = [str(bunch.target_names[target]) for target in bunch.target]
    trained = load_model(ModelSettings(COMMITTED, artifact_format="skops"))  # scikit-learn's own predict_proba
    expected = [
        [{"class": name, "probability": f"{share:.3f}"} for name, share in zip(bunch.target_names, shares, strict=True)]
        for shares in trained.predict(rows)
    ]
    with running.client() as client, ThreadPoolExecutor(8) as callers:
        answers = list(callers.map(lambda row: _predict(client, row), rows))
        at_once = client.post("/getpred", json={"data": rows})
        assert answers == expected
        assert _answer(client, at_once.json()["job_id"]) == expected
    assert [_likeliest(answer) for answer in answers] == labels


def test_the_command_line_asks_the_server_and_agrees_with_it(running: Up) -> None:
    arguments = [IRIS, "predict", "6.7", "3.0", "5.2", "2.3", "--json"]
    env = {**os.environ, "IRIS_MODELS": str(COMMITTED)}
    here = subprocess.run(arguments, env=env, capture_output=True, text=True, check=True)
    there = subprocess.run([*arguments, "--url", running.url], capture_output=True, text=True, check=True)
    assert json.loads(here.stdout) == json.loads(there.stdout)
    assert _likeliest(json.loads(there.stdout)["result"]) == "virginica"


def test_what_is_printed_can_be_pasted(running: Up) -> None:
    assert "iris version 1, 2 workers" in running.said
    [line] = [line for line in running.said.splitlines() if line.startswith("  try")]
    done = subprocess.run(line.removeprefix("  try"), shell=True, capture_output=True, text=True, check=True)
    with running.client() as client:
        assert _likeliest(_answer(client, json.loads(done.stdout)["job_id"])) == "setosa"
    assert redis.Redis.from_url(running.redis_url).ping()


def test_a_killed_worker_costs_no_answer_and_is_replaced(running: Up) -> None:
    before = {worker.pid for worker in running.children("cli worker")}
    victim = min(before)
    with running.client() as client, ThreadPoolExecutor(8) as callers:
        answers = callers.map(lambda _: _predict(client, (5.1, 3.5, 1.4, 0.2)), range(200))
        os.kill(victim, signal.SIGKILL)
        assert {_likeliest(answer) for answer in answers} == {"setosa"}
    _wait_for(lambda: len({worker.pid for worker in running.children("cli worker")} - before) == 1)
    assert victim not in {worker.pid for worker in running.children("cli worker")}
    deaths = [line for line in map(json.loads, running.log.read_text().splitlines()) if line["event"] == "child ended"]
    assert [(line["died"], line["pid"]) for line in deaths] == [("SIGKILL", victim)]


def test_children_hold_no_terminal_and_no_secret_in_sight(running: Up) -> None:
    assert len(running.children()) == 5
    assert all("redis" not in " ".join(child.cmdline()) for child in running.children("iris_service"))


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_stop_leaves_no_process_no_port_and_no_socket(tmp_path: Path, number: signal.Signals) -> None:
    with _up(tmp_path / ".iris") as up:
        family = up.children()
        with up.client() as client:
            assert _likeliest(_predict(client, (5.1, 3.5, 1.4, 0.2))) == "setosa"
        # a Ctrl-C goes to the whole group of the terminal
        os.killpg(up.process.pid, number)
        assert up.process.wait(60) == 0, up.log.read_text()
        assert len(family) == 4
        assert not any(child.is_running() for child in family)
        assert "child killed" not in up.log.read_text()
        assert not Path(up.redis_url.removeprefix("unix://")).parent.exists()
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", int(up.url.rpartition(":")[2])))
        assert [path.name for path in (up.data / "valkey").iterdir()] == ["appendonlydir"]


def test_jobs_and_answers_survive_a_restart(tmp_path: Path) -> None:
    data = tmp_path / ".iris"
    with _up(data) as up, up.client() as client:
        answered = client.get(f"/getpred?{SETOSA}").json()["job_id"]
        assert _likeliest(_answer(client, answered)) == "setosa"
        assert up.stop() == 0
    with _up(data, "--workers", "0") as up, up.client() as client:
        waiting = client.get(f"/getpred?{SETOSA}").json()["job_id"]
        assert client.get(f"/status/{waiting}").status_code == 202
        assert up.stop() == 0
    with _up(data) as up, up.client() as client:
        assert _likeliest(_answer(client, answered)) == "setosa"
        assert _likeliest(_answer(client, waiting)) == "setosa"


def test_nothing_outlives_a_supervisor_that_is_killed_and_its_data_can_be_used_again(tmp_path: Path) -> None:
    data = tmp_path / ".iris"
    with _up(data, "--workers", "0") as up, up.client() as client:
        waiting = client.get(f"/getpred?{SETOSA}").json()["job_id"]
        family = up.children()
        left = Path(up.redis_url.removeprefix("unix://"))
        up.process.kill()
        up.process.wait()
        psutil.wait_procs(family, timeout=20)
        assert not any(child.is_running() for child in family)
        assert left.parent.exists()
    # a machine that lost power may have written half of its last entry
    [log] = (data / "valkey" / "appendonlydir").glob("*.incr.aof")
    with log.open("ab") as file:
        file.write(b"*3\r\n$3\r\nSET\r\n$4\r\nha")
    with _up(data) as up, up.client() as client:
        assert not left.parent.exists()
        assert _likeliest(_answer(client, waiting)) == "setosa"


@pytest.mark.parametrize("word", ["valkey-server", "cli api", "cli recovery"])
def test_service_comes_back_after_any_child_was_killed(tmp_path: Path, word: str) -> None:
    with _up(tmp_path / ".iris") as up, up.client() as client:
        [victim] = up.children(word)
        victim.kill()
        _wait_for(lambda: bool(up.children(word)) and victim not in up.children(word))
        _wait_for(lambda: _accepts(client))
        assert _likeliest(_predict(client, (5.1, 3.5, 1.4, 0.2))) == "setosa"
        assert up.stop() == 0


def _accepts(client: httpx.Client) -> bool:
    try:
        return client.get(f"/getpred?{SETOSA}").status_code == 200
    except httpx.TransportError:
        return False


def test_a_second_up_on_the_same_data_is_refused_in_one_line(running: Up) -> None:
    second = _refused("--port", "0", "--data", str(running.data), cwd=running.data.parent)
    assert second.returncode == 1
    [line] = second.stderr.splitlines()
    assert "is in use by another `iris up`" in line


def test_a_taken_port_is_said_before_anything_starts(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        done = _refused("--port", str(port), cwd=tmp_path)
    assert done.returncode == 1
    assert done.stderr == (
        f"iris up: cannot listen on 127.0.0.1, port {port}: Address already in use; "
        "--port takes another (make run: PORT=)\n"
    )
    assert list(tmp_path.iterdir()) == []


def _refused(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [IRIS, "up", *arguments],
        env={**os.environ, "IRIS_MODELS": str(COMMITTED)},
        cwd=cwd,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


def test_a_rejected_model_stops_everything_with_its_own_exit_code_and_is_never_ready(tmp_path: Path) -> None:
    shutil.copytree(COMMITTED / "iris" / "1", tmp_path / "models" / "iris" / "1")
    (tmp_path / "models" / "iris" / "1" / "model.onnx").write_bytes(b"not what the card says")
    process = _start(tmp_path / ".iris", "--port", "0", env={"IRIS_MODELS": "models"})
    said, _ = process.communicate(timeout=60)
    assert (process.returncode, said) == (os.EX_DATAERR, "")
    events = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    [why] = [event for event in events if event["event"] == "child ended for good"]
    assert (why["child"], why["reason"]) == ("worker-1", "the model was rejected")
    pids = [event["pid"] for event in events if event["event"] == "child started"]
    assert len(pids) == 4
    assert not any(psutil.pid_exists(pid) for pid in pids)


def test_a_redis_that_is_not_there_is_said_at_once_and_not_again_and_again(tmp_path: Path) -> None:
    process = _start(tmp_path / ".iris", env={"IRIS_REDIS_URL": f"redis://127.0.0.1:{free_port()}/0", "IRIS_PORT": "0"})
    try:
        _wait_for(lambda: '"not ready yet: trying on"' in (tmp_path / "log").read_text())
        time.sleep(2)  # nothing is to happen in it
        process.terminate()
        said, _ = process.communicate(timeout=60)
    finally:
        process.kill()
    assert (process.returncode, said) == (0, "")
    events = [json.loads(line) for line in (tmp_path / "log").read_text().splitlines()]
    [line] = [event for event in events if event["event"] == "not ready yet: trying on"]
    assert "redis: the queue cannot be used right now" in line["reason"]
    warnings = [
        event["event"] for event in events if event["level"] == "warning" and "authentication" not in event["event"]
    ]
    assert len(warnings) == len(set(warnings)) <= 4, "one line of each process"


def test_data_that_valkey_cannot_read_is_said_and_kept(tmp_path: Path) -> None:
    folder = tmp_path / ".iris" / "valkey" / "appendonlydir"
    folder.mkdir(parents=True)
    (folder / "appendonly.aof.manifest").write_text("this is no manifest\n")
    process = _start(tmp_path / ".iris", "--port", "0")
    process.communicate(timeout=60)
    assert process.returncode == 1
    last = (tmp_path / "log").read_text().splitlines()[-1]
    assert "the embedded Valkey does not start" in last
    assert "manifest" in last
    assert (folder / "appendonly.aof.manifest").read_text() == "this is no manifest\n"


def test_a_server_of_the_users_own_is_used_instead(tmp_path: Path, valkey: redis.Redis) -> None:
    port = valkey.connection_pool.connection_kwargs["port"]
    url = f"redis://:hidden@127.0.0.1:{port}/0"
    valkey.config_set("requirepass", "hidden")
    try:
        with _up(tmp_path / ".iris", env={"IRIS_REDIS_URL": url}) as up, up.client() as client:
            assert _likeliest(_predict(client, (5.1, 3.5, 1.4, 0.2))) == "setosa"
            assert "hidden" not in up.said + up.log.read_text()
            assert not up.children("valkey-server")
            assert not up.data.exists()
            assert up.stop() == 0
    finally:
        redis.Redis.from_url(url).config_set("requirepass", "")


def test_each_worker_serves_metrics_on_a_port_of_its_own(tmp_path: Path) -> None:
    port = free_port()
    with _up(tmp_path / ".iris", env={"IRIS_METRICS_PORT": str(port)}) as up, up.client() as client:
        _predict(client, (5.1, 3.5, 1.4, 0.2))
        assert httpx.get(f"http://127.0.0.1:{port}/healthz").json() == {"status": "ok"}
        _wait_for(lambda: "iris_jobs_finished_total{" in httpx.get(f"http://127.0.0.1:{port}/metrics").text)
        assert 'iris_jobs_finished_total{model="iris",version="1"} 1.0' in (
            httpx.get(f"http://127.0.0.1:{port}/metrics").text
        )
        assert up.stop() == 0
