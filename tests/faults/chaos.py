"""Chaos: load without end while workers, recovery and Redis are killed, stopped and frozen at random; then an account.

    python tests/faults/chaos.py --seconds 60 --seed 1

Exits with 1 when one accepted job has no answer, a wrong one, or more than one.
"""

from __future__ import annotations

import argparse
import contextlib
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from faults.caller import flowers
from faults.rig import Rig
from iris_service.config import LogSettings
from iris_service.schemas import Answered, Envelope
from iris_service.telemetry.logs import configure_logging
from servers import short_folder

SLOW_SHARE = 0.005
CANCEL_SHARE = 0.05
ATTEMPTS = 20
"""More than any job can lose workers here: an error in the account is then a finding."""
FAULTS = {"kill worker": 10, "stop worker": 6, "freeze worker": 2, "kill recovery": 2, "kill redis": 1}
"""What happens, and how often relative to each other."""


@dataclass
class Chaos:
    """Does one fault after the other and keeps count."""

    rig: Rig
    rng: random.Random
    longest_outage_seconds: float
    done: Counter[str] = field(default_factory=Counter)
    slowest_return_seconds: float = 0.0
    """Longest time from Redis' death to the next accepted job."""
    settled_seconds: float = 0.0
    """From the end of load and faults to the last answer."""
    frozen: list[tuple[float, subprocess.Popen[bytes]]] = field(default_factory=list)

    def step(self) -> None:
        fault = self.rng.choices(list(FAULTS), list(FAULTS.values()))[0]
        worker = self.rng.choice(self.rig.workers)
        if fault == "kill worker":
            worker.kill()
        elif fault == "stop worker":
            worker.terminate()
        elif fault == "freeze worker":
            worker.send_signal(signal.SIGSTOP)
            self.frozen.append((time.monotonic() + self.rng.uniform(1, 9), worker))
        elif fault == "kill recovery" and self.rig.recovery is not None:
            self.rig.recovery.kill()
        elif fault == "kill redis":
            self._kill_redis()
        self.done[fault] += 1

    def thaw(self, *, all_of_them: bool = False) -> None:
        for due in list(self.frozen):
            if all_of_them or time.monotonic() > due[0]:
                due[1].send_signal(signal.SIGCONT)
                self.frozen.remove(due)

    def _kill_redis(self) -> None:
        accepted, killed_at = len(self.rig.caller.accepted), time.monotonic()
        self.rig.valkey.kill()
        time.sleep(self.rng.uniform(0.2, self.longest_outage_seconds))
        self.rig.valkey.start()
        while (
            len(self.rig.caller.accepted) == accepted
            and time.monotonic() < killed_at + self.longest_outage_seconds + 30
        ):
            time.sleep(0.05)
        self.slowest_return_seconds = max(self.slowest_return_seconds, time.monotonic() - killed_at)


@contextlib.contextmanager
def rigged(appendfsync: str) -> Iterator[Rig]:
    rig = Rig(short_folder(), "--appendfsync", appendfsync, job_attempts=ATTEMPTS)
    try:
        yield rig
    finally:
        rig.stop()
        shutil.rmtree(rig.folder)


def run(chaos: Chaos, seconds: float, workers: int, console: Console) -> None:
    """Do faults under load for so long, then let everything be answered."""
    rig, rng = chaos.rig, chaos.rng
    rig.start_recovery()
    with rig.supervised(workers, recovery=True):
        with (
            rig.caller.load(flowers(rng, SLOW_SHARE), callers=16, pause_seconds=0.03, cancel_share=CANCEL_SHARE),
            progress(console) as bar,
        ):
            task = bar.add_task("chaos", total=seconds, note="")
            ends = time.monotonic() + seconds
            while (left := ends - time.monotonic()) > 0:
                time.sleep(min(left, rng.uniform(0.1, 0.8)))
                chaos.thaw()
                if rig.workers:
                    chaos.step()
                note = f"{len(rig.caller.accepted)} accepted, {chaos.done.total()} faults"
                bar.update(task, completed=seconds - max(0.0, ends - time.monotonic()), note=note)
        chaos.thaw(all_of_them=True)
        console.print("settling ...")
        with contextlib.suppress(AssertionError):  # what is still open then is counted as lost
            chaos.settled_seconds = rig.settle(seconds=60)


def progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}"), BarColumn(), TimeRemainingColumn(), TextColumn("{task.fields[note]}"),
        console=console,
    )  # fmt: skip


def account(rig: Rig, chaos: Chaos) -> tuple[Table, int]:
    """Return the account as a table, and how many accepted jobs are lost."""
    results, counts, caller = rig.results(), rig.counts(), rig.caller
    lost = len(caller.accepted.keys() - results.keys())
    codes = Counter(rig.code_of(job_id) or "lost" for job_id in caller.accepted)
    table = Table("what", "count", title="account")
    table.add_row("accepted", str(len(caller.accepted)))
    table.add_row("answered", str(codes["done"]))
    table.add_row("cancelled by their callers", str(codes["CANCELLED"]))
    for code in sorted(codes.keys() - {"done", "lost", "CANCELLED"}):
        table.add_row(f"errors: {code}", str(codes[code]))
    table.add_row("refused while Redis was away", str(caller.refused.total()))
    table.add_row("  of these taken all the same", str(len(results.keys() - caller.accepted.keys())))
    table.add_row("given back to the queue", str(counts.get("recovered", 0)))
    table.add_row("duplicates refused", str(counts.get("refused", 0)))
    for fault, times in sorted(chaos.done.items()):
        table.add_row(f"fault: {fault}", str(times))
    table.add_row("slowest recovery: answer of a job that lost a worker", f"{slowest_retry_seconds(results):.1f} s")
    table.add_row("slowest recovery: next job after Redis' death", f"{chaos.slowest_return_seconds:.1f} s")
    table.add_row("last answer after load and faults ended", f"{chaos.settled_seconds:.1f} s")
    table.add_row("lost", str(lost), style="bold green" if not lost else "bold red")
    return table, lost


def slowest_retry_seconds(results: Mapping[str, Envelope]) -> float:
    """Return the longest time from acceptance to answer among the jobs that were taken more than once."""
    retried = (answer for answer in results.values() if isinstance(answer, Answered) and answer.attempt > 1)
    return max((answer.queued_seconds + answer.task_seconds for answer in retried), default=0.0)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--workers", type=int, default=3)
    parser.add_argument("--appendfsync", choices=("everysec", "always"), default="everysec")
    parser.add_argument("--longest-outage", type=float, default=1.5, help="seconds Redis stays dead at the most")
    arguments = parser.parse_args()
    console = Console()
    configure_logging(LogSettings(level="ERROR"), "chaos")
    with rigged(arguments.appendfsync) as rig:
        chaos = Chaos(rig, random.Random(arguments.seed), arguments.longest_outage)
        run(chaos, arguments.seconds, arguments.workers, console)
        table, lost = account(rig, chaos)
        console.print(table)
        if not lost:
            rig.assert_invariants()
        return 1 if lost else 0


if __name__ == "__main__":
    sys.exit(main())
