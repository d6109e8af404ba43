"""The supervisor with real processes that are not ours: restarts, order, patience, and no survivors."""

from __future__ import annotations

import os
import signal
import socketserver
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import psutil
import pytest

from iris_service.supervisor import child
from iris_service.supervisor.child import ChildSpec
from iris_service.supervisor.readiness import why_not_all
from iris_service.supervisor.supervisor import Stopping, Supervisor
from iris_service.supervisor.wakeup import Wakeup

SLEEPS = "import time; time.sleep(600)"
OBEYS = "import signal, sys, time; signal.signal(signal.SIGTERM, lambda *_: sys.exit(0)); print(flush=True); " + SLEEPS
IGNORES = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); print(flush=True); " + SLEEPS
TETHER = Path(child.__file__).with_name("tether.py")


@pytest.fixture
def supervisor() -> Iterator[Supervisor]:
    with Wakeup() as wakeup:
        supervisor = Supervisor(wakeup)
        yield supervisor
        supervisor.stop()


def _python(code: str, name: str = "child", rank: int = 0, stop_seconds: float = 10, **more: object) -> ChildSpec:
    return ChildSpec(name, rank, (sys.executable, "-I", "-S", "-c", code), dict(os.environ), stop_seconds, **more)  # type: ignore[arg-type]


def _tend_until(supervisor: Supervisor, condition: Callable[[], bool], seconds: float = 20) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it did not happen"
        supervisor.tend(0.05)


class _Output:
    """Reads a child's output; `spoke` is set at its first line."""

    def __init__(self) -> None:
        self.spoke = threading.Event()
        self.lines: list[bytes] = []

    def __call__(self, output: object) -> None:
        for line in output:  # type: ignore[attr-defined]
            self.lines.append(line)
            self.spoke.set()


def test_a_child_that_dies_is_started_again_and_later_each_time(supervisor: Supervisor) -> None:
    started = time.monotonic()
    child = supervisor.start(_python("raise SystemExit(3)"))
    _tend_until(supervisor, lambda: child.starts == 3)
    assert time.monotonic() - started >= 0.2 + 0.4
    assert child.last_delay_seconds >= 0.4


def test_a_killed_child_is_started_again_under_another_pid(supervisor: Supervisor) -> None:
    child = supervisor.start(_python(SLEEPS))
    first = child.pid
    assert first is not None
    os.kill(first, signal.SIGKILL)
    _tend_until(supervisor, lambda: child.starts == 2)
    assert child.pid != first
    assert child.is_running()


@pytest.mark.parametrize("exit_code", [os.EX_CONFIG, os.EX_DATAERR])
def test_a_hopeless_child_stops_everything_with_its_exit_code(supervisor: Supervisor, exit_code: int) -> None:
    supervisor.start(_python(SLEEPS))
    supervisor.start(_python(f"raise SystemExit({exit_code})"))
    with pytest.raises(Stopping) as stopping:
        _tend_until(supervisor, lambda: False)
    assert stopping.value.exit_code == exit_code


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_ends_the_tending_at_once(supervisor: Supervisor, number: signal.Signals) -> None:
    supervisor.start(_python(SLEEPS))
    threading.Timer(0.3, os.kill, (os.getpid(), number)).start()
    started = time.monotonic()
    with pytest.raises(Stopping) as stopping:
        supervisor.tend(60)
    assert time.monotonic() - started < 30
    assert stopping.value.exit_code == 0


def test_higher_ranks_stop_first() -> None:
    last_words = (
        "import signal, sys, time; "
        "signal.signal(signal.SIGTERM, lambda *_: (time.sleep(0.3), print(time.monotonic()), sys.exit())); "
        "print(flush=True); time.sleep(600)"
    )
    outputs = {rank: _Output() for rank in (0, 1, 2)}
    with Wakeup() as wakeup:
        supervisor = Supervisor(wakeup)
        for rank, output in outputs.items():
            supervisor.start(_python(last_words, rank=rank, read_output=output))
        assert all(output.spoke.wait(20) for output in outputs.values())
        supervisor.stop()
    _wait_for(lambda: all(len(output.lines) == 2 for output in outputs.values()))
    ended = [float(outputs[rank].lines[1]) for rank in (2, 1, 0)]
    assert ended[0] + 0.25 < ended[1] < ended[2] - 0.25


def _wait_for(condition: Callable[[], bool], seconds: float = 20) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends, "it did not happen"
        time.sleep(0.02)


def test_a_child_that_does_not_stop_in_time_is_killed() -> None:
    output = _Output()
    with Wakeup() as wakeup:
        supervisor = Supervisor(wakeup)
        child = supervisor.start(_python(IGNORES, stop_seconds=0.5, read_output=output))
        assert output.spoke.wait(20)
        supervisor.stop()
    assert child.exit_code() == -signal.SIGKILL


def test_a_second_signal_kills_what_still_runs() -> None:
    output = _Output()
    with Wakeup() as wakeup:
        supervisor = Supervisor(wakeup)
        child = supervisor.start(_python(IGNORES, stop_seconds=600, read_output=output))
        assert output.spoke.wait(20)
        threading.Timer(0.3, os.kill, (os.getpid(), signal.SIGINT)).start()
        supervisor.stop()
    assert child.exit_code() == -signal.SIGKILL


SAYS_READY = "import os, sys, time; os.write(int(sys.argv[-1].partition('=')[2]), b'1'); time.sleep(600)"


def test_a_child_is_ready_once_it_says_so_and_after_a_restart_not_before_it_says_so_again(
    supervisor: Supervisor,
) -> None:
    child = supervisor.start(_python(SAYS_READY, says_ready=True))
    _wait_for(child.is_ready)
    assert child.pid is not None
    os.kill(child.pid, signal.SIGKILL)
    _tend_until(supervisor, lambda: child.starts == 2)
    _wait_for(child.is_ready)


@pytest.mark.parametrize("code", ["pass", SLEEPS])
def test_a_child_that_says_nothing_is_not_ready(supervisor: Supervisor, code: str) -> None:
    child = supervisor.start(_python(code, says_ready=True))
    if code == "pass":
        _wait_for(lambda: not child.is_running())
    assert not child.is_ready()


@pytest.mark.parametrize(
    ("api", "worker", "why"),
    [
        (SLEEPS, SAYS_READY, "the API does not listen yet"),
        (SAYS_READY, SLEEPS, "worker-1 cannot answer jobs yet"),
        (SAYS_READY, SAYS_READY, None),
    ],
)
def test_an_answer_on_the_port_counts_when_our_api_listens_there_and_all_workers_are_ready(
    supervisor: Supervisor, api: str, worker: str, why: str | None
) -> None:
    with socketserver.TCPServer(("127.0.0.1", 0), _AnotherApi) as another:
        threading.Thread(target=another.serve_forever, daemon=True).start()
        specs = [_python(code, name, says_ready=True) for name, code in (("worker-1", worker), ("api", api))]
        children = [supervisor.start(spec) for spec in specs]
        port = another.server_address[1]
        _wait_for(lambda: why_not_all(children, "127.0.0.1", port) == why)
        another.shutdown()


class _AnotherApi(BaseHTTPRequestHandler):
    """Ready, and not ours."""

    def do_GET(self) -> None:
        self.send_response(200)
        self.end_headers()


def test_a_program_that_cannot_be_run_is_tried_again(supervisor: Supervisor) -> None:
    child = supervisor.start(ChildSpec("none", 0, ("/nonexistent/program",), {}, 1))
    _tend_until(supervisor, lambda: child.starts == 2)


def test_a_terminal_reaches_the_supervisor_alone(supervisor: Supervisor) -> None:
    child = supervisor.start(_python(SLEEPS))
    assert child.pid is not None
    assert os.getpgid(child.pid) == child.pid != os.getpgid(0)


@pytest.mark.skipif(sys.platform != "linux", reason="the tether is Linux's")
def test_children_die_with_a_supervisor_that_is_killed() -> None:
    code = (
        "import os, sys, time\n"
        "from iris_service.supervisor.child import Child, ChildSpec\n"
        f"spec = ChildSpec('c', 0, (sys.executable, '-I', '-S', '-c', {SLEEPS!r}), dict(os.environ), 1)\n"
        "child = Child(spec); child.start(); print(child.pid, flush=True); time.sleep(600)\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE) as parent:
        assert parent.stdout is not None
        tethered = psutil.Process(int(parent.stdout.readline()))
        _wait_for(lambda: "tether.py" not in " ".join(tethered.cmdline()))
        parent.kill()
    tethered.wait(20)


@pytest.mark.skipif(sys.platform != "linux", reason="the tether is Linux's")
def test_a_program_whose_supervisor_is_gone_already_is_not_run() -> None:
    stranger = 1 if os.getpid() != 1 else 2
    done = subprocess.run(
        [sys.executable, "-I", "-S", str(TETHER), str(stranger), sys.executable, "-c", "print('ran')"],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 1
    assert done.stdout == ""
    assert "its supervisor is gone" in done.stderr
