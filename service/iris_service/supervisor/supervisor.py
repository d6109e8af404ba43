"""Keeps children running until told to stop, then stops them in reverse. Does not know what they are."""

from __future__ import annotations

import time
from collections.abc import Sequence
from itertools import groupby

import structlog

from iris_service.supervisor.child import Child, ChildSpec
from iris_service.supervisor.policy import GiveUp, after_death, cause_of_death
from iris_service.supervisor.wakeup import Wakeup

_START_FAILED = 71  # EX_OSERR: the system could not start it
_log = structlog.get_logger(__name__)


class Stopping(Exception):
    """It is time to stop everything and end with `exit_code`."""

    def __init__(self, exit_code: int) -> None:
        super().__init__(exit_code)
        self.exit_code = exit_code


class Supervisor:
    """The children, in the order of their start and rank."""

    def __init__(self, wakeup: Wakeup) -> None:
        self._wakeup = wakeup
        self._children: list[Child] = []

    def start(self, spec: ChildSpec) -> Child:
        """Start a child and keep it running from now on."""
        child = Child(spec)
        self._children.append(child)
        self._start(child)
        return child

    def tend(self, seconds: float) -> None:
        """Look after the children once, at the next event or after so many seconds.

        Raises `Stopping` when a signal asks for it, or when a child ended in a way that no restart can mend.
        """
        delays = [child.due_at - time.monotonic() for child in self._children if child.due_at is not None]
        if self._wakeup.wait(min([seconds, *delays])):
            raise Stopping(0)
        for child in self._children:
            if child.due_at is None and (exit_code := child.exit_code()) is not None:
                self._bury(child, exit_code)
            elif child.due_at is not None and child.due_at <= time.monotonic():
                self._start(child)

    def stop(self) -> None:
        """Stop all children, rank by rank; a second signal kills the rest at once."""
        patient = True
        _log.info("stopping", children=[child.spec.name for child in self._children])
        for _, group in groupby(reversed(self._children), key=lambda child: child.spec.rank):
            patient = self._stop_together(list(group), patient)

    def _start(self, child: Child) -> None:
        try:
            child.start()
        except OSError as exc:  # out of processes or memory: that may pass
            _log.error("child cannot start", child=child.spec.name, reason=str(exc))
            self._bury(child, _START_FAILED)
        else:
            _log.info("child started", child=child.spec.name, pid=child.pid)

    def _bury(self, child: Child, exit_code: int) -> None:
        died = cause_of_death(exit_code)
        verdict = after_death(exit_code, child.lived_seconds, child.last_delay_seconds)
        if isinstance(verdict, GiveUp):
            _log.error("child ended for good", child=child.spec.name, died=died, reason=verdict.reason)
            raise Stopping(verdict.exit_code)
        child.last_delay_seconds = verdict.delay_seconds
        child.due_at = time.monotonic() + verdict.delay_seconds
        _log.warning(
            "child ended", child=child.spec.name, pid=child.pid, died=died, restart_in_seconds=verdict.delay_seconds
        )

    def _stop_together(self, children: Sequence[Child], patient: bool) -> bool:
        for child in children:
            child.terminate()
        deadline = time.monotonic() + max(child.spec.stop_seconds for child in children)
        while any(child.is_running() for child in children):
            left = deadline - time.monotonic()
            if not patient or left <= 0:
                break
            patient = not self._wakeup.wait(left)
        for child in children:
            if child.is_running():
                _log.warning("child killed", child=child.spec.name, pid=child.pid, patient=patient)
            child.kill()
        return patient
