"""The fault rig: a real Valkey, workers and recovery as real processes, a caller that keeps account, a verdict."""

from __future__ import annotations

import itertools
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from faults.caller import TARGET, Caller
from iris_service.config import Settings
from iris_service.jobs.keys import PENDING, RESULT_PREFIX, queue_keys, result_key
from iris_service.schemas import Answered, envelope_from_json
from servers import Valkey
from stub_model import answer_of

HERE = Path(__file__).parent
KEYS = queue_keys(TARGET.queue)
ENDINGS = ("done", "error", "expired", "cancelled")


def wait_until(condition: Callable[[], object], seconds: float, what: str) -> float:
    """Return the seconds it took; fails with `what` when it took longer than allowed."""
    started = time.monotonic()
    while not condition():
        assert time.monotonic() - started < seconds, f"not within {seconds} s: {what}"
        time.sleep(0.05)
    return time.monotonic() - started


class Rig:
    """Settings are given as the product's own, in lower case without prefix: `job_timeout_seconds=1`."""

    def __init__(self, folder: Path, *valkey_options: str, **settings: object) -> None:
        self.folder = folder
        self.valkey = Valkey(folder, *valkey_options)
        self.redis: Any = self.valkey.client()
        self.env = {f"IRIS_{name.upper()}": str(value) for name, value in settings.items()}
        self.env["IRIS_REDIS_URL"] = self.valkey.url
        self.caller = Caller(Settings.from_env(self.env))
        self.workers: list[subprocess.Popen[bytes]] = []
        self.recovery: subprocess.Popen[bytes] | None = None
        self._started: dict[subprocess.Popen[bytes], Path] = {}
        self._numbers = itertools.count()
        self._others: list[Caller] = []

    # --- processes ----------------------------------------------------------------------------------------------

    def start_worker(self, *arguments: str, wait: bool = True, url: str | None = None) -> subprocess.Popen[bytes]:
        """Start a worker; with `wait`, return when it listens. `url` is how it reaches Redis."""
        worker = self._spawn("worker_main.py", *arguments, url=url)
        self.workers.append(worker)
        if wait:
            wait_until(lambda: "Listening on" in self.log_of(worker), 60, "a worker that listens")
        return worker

    def start_recovery(self, *arguments: str, url: str | None = None) -> None:
        self.recovery = self._spawn("recovery_main.py", *arguments, url=url)

    def start_stopping(self, *arguments: str) -> subprocess.Popen[bytes]:
        return self._spawn("stopping_main.py", *arguments, url=None)

    def start_api(self, *arguments: str) -> subprocess.Popen[bytes]:
        return self._spawn("api_main.py", *arguments, url=None)

    def caller_at(self, url: str) -> Caller:
        """Return another caller, whose account is that of `self.caller`."""
        caller = Caller(Settings.from_env(self.env | {"IRIS_REDIS_URL": url}))
        for name in ("accepted", "refused", "surprises", "cancelled", "too_late", "perhaps_cancelled"):
            setattr(caller, name, getattr(self.caller, name))
        self._others.append(caller)
        return caller

    def log_of(self, process: subprocess.Popen[bytes]) -> str:
        return self._started[process].read_text(errors="replace")

    def last_words(self) -> str:
        """Return what the processes have logged, but for the jobs that went well."""
        return "\n".join(
            f"--- {path.name}\n" + "".join(line for line in path.open(errors="replace") if '"job answered"' not in line)
            for path in self._started.values()
        )

    def exit_code(self, process: subprocess.Popen[bytes], seconds: float = 30) -> int:
        return process.wait(seconds)

    @contextmanager
    def supervised(self, workers: int, *, recovery: bool = False) -> Iterator[None]:
        """Keep `workers` alive, as the product's supervisor and Kubernetes do: whoever ends is started again."""
        stop = threading.Event()

        def watch() -> None:
            while not stop.wait(0.05):
                self.workers = [worker for worker in self.workers if worker.poll() is None]
                while len(self.workers) < workers:
                    self.start_worker(wait=False)
                if recovery and self.recovery is not None and self.recovery.poll() is not None:
                    self.start_recovery()

        watcher = threading.Thread(target=watch, name="supervisor")
        watcher.start()
        try:
            yield
        finally:
            stop.set()
            watcher.join()

    def stop(self) -> None:
        for process in self._started:
            if process.poll() is None:
                process.send_signal(signal.SIGCONT)
                process.kill()
            process.wait()
        for caller in (*self._others, self.caller):
            caller.close()
        self.redis.close()
        self.valkey.stop()

    def _spawn(self, script: str, *arguments: str, url: str | None) -> subprocess.Popen[bytes]:
        env = dict(self.env, PYTHONPATH=str(HERE.parent))
        if url is not None:
            env["IRIS_REDIS_URL"] = url
        path = self.folder / f"{script.removesuffix('_main.py')}-{next(self._numbers)}.log"
        with path.open("wb") as log:
            process = subprocess.Popen([sys.executable, str(HERE / script), *arguments], env=env, stderr=log)
        self._started[process] = path
        return process

    # --- the verdict --------------------------------------------------------------------------------------------

    def open_work(self) -> dict[str, int]:
        """Return how many jobs are where; all zero once everything is answered."""
        return {
            "pending": self.redis.zcard(PENDING),
            "waiting": self.redis.llen(KEYS.waiting),
            "intermediate": self.redis.llen(KEYS.intermediate),
            "running": self.redis.zcard(KEYS.running),
        }

    def settle(self, seconds: float = 30) -> float:
        """Wait until nothing is open (I4); return the seconds it took."""
        try:
            return wait_until(lambda: not any(self.open_work().values()), seconds, "everything is answered")
        except AssertionError as exc:
            raise AssertionError(f"still open after {seconds} s: {self.open_work()}") from exc

    def counts(self) -> dict[str, int]:
        return {name.decode(): int(value) for name, value in self.redis.hgetall(KEYS.counts).items()}

    def results(self) -> dict[str, Any]:
        """Return every published envelope by job id."""
        keys = [key.decode() for key in self.redis.scan_iter(f"{RESULT_PREFIX}*", count=1000)]
        found: dict[str, Any] = {}
        for at in range(0, len(keys), 1000):
            page = keys[at : at + 1000]
            for key, raw in zip(page, self.redis.mget(page), strict=True):
                found[key.removeprefix(RESULT_PREFIX)] = envelope_from_json(raw)
        return found

    def code_of(self, job_id: str) -> str | None:
        """Return how a job ended: `done`, an error code, or None when it has no answer yet."""
        raw = self.redis.get(result_key(job_id))
        if raw is None:
            return None
        envelope = envelope_from_json(raw)
        return "done" if isinstance(envelope, Answered) else envelope.code

    def assert_invariants(self, errors: Mapping[str, str] | None = None) -> None:
        """Hold I1 to I5 against Redis after `settle`. `errors` names the jobs that had to end with an error code."""
        expected, caller = dict(errors or {}), self.caller
        results, counts = self.results(), self.counts()
        assert self.recovery is None or self.recovery.poll() is None, "recovery lives on"
        assert not caller.surprises, f"submit raises only what it promises, not {caller.surprises[:3]}"
        missing = caller.accepted.keys() - results.keys()
        assert not missing, f"I1: {len(missing)} of {len(caller.accepted)} accepted jobs have no answer"
        uninvited = results.keys() - caller.accepted.keys()
        assert len(uninvited) <= caller.of_unknown_fate, f"I2: {len(uninvited)} answers nobody was promised"
        for job_id, row in caller.accepted.items():
            envelope = results[job_id]
            if isinstance(envelope, Answered):
                assert envelope.rows == (answer_of(row),), f"I3: {job_id} was given another job's answer"
            assert self._outcome(envelope) in self._allowed(job_id, expected), f"I1: {job_id} ended as {envelope}"
        assert not any(self.open_work().values()), f"I4: {self.open_work()}"
        self._assert_counts(results, counts)

    def _allowed(self, job_id: str, expected: Mapping[str, str]) -> set[str]:
        if job_id in self.caller.cancelled:
            return {"CANCELLED"}
        ending = expected.get(job_id, "done")
        return {ending, "CANCELLED"} if job_id in self.caller.perhaps_cancelled else {ending}

    def _assert_counts(self, results: Mapping[str, Any], counts: Mapping[str, int]) -> None:
        """I5; and as every publication counts once, so many results are so many single publications (I1)."""
        accepted, published = counts["accepted"], sum(counts.get(name, 0) for name in ENDINGS)
        assert accepted == published == len(results), f"I5: {counts}, {len(results)} results"
        assert len(self.caller.accepted) <= accepted <= len(self.caller.accepted) + self.caller.of_unknown_fate
        outcomes = Counter(map(self._outcome, results.values()))
        assert counts.get("done", 0) == outcomes["done"], f"I5: {counts}, {outcomes}"
        assert counts.get("expired", 0) == outcomes["EXPIRED"], f"I5: {counts}, {outcomes}"
        assert counts.get("cancelled", 0) == outcomes["CANCELLED"], f"I5: {counts}, {outcomes}"
        wait_until(lambda: self._reported() == self._of_interest(counts), 30, "I5: the API reports the same counts")

    def _reported(self) -> dict[str, int]:
        return self._of_interest(self.caller.reading().queue(TARGET).outcomes)

    @staticmethod
    def _of_interest(counts: Mapping[str, int]) -> dict[str, int]:
        return {name: counts.get(name, 0) for name in ("accepted", *ENDINGS, "refused")}

    @staticmethod
    def _outcome(envelope: Any) -> str:
        return "done" if isinstance(envelope, Answered) else str(envelope.code)
