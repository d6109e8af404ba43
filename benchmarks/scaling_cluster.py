"""A simulated Deployment of workers on one queue: discrete events, seeded, no waiting for real seconds.

Each pod takes one job at a time, so that cost and wait are easy to follow; the price of a pod runs from the decision
to its end. All rules share the same cluster: 5 s to start a pod, 0.5 s from a decision to its effect, 30 s of grace.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass, field
from heapq import heappop, heappush
from random import Random
from typing import Any

from iris_operator.scaling import Load
from scaling_rules import Rule, Seen
from scaling_traces import Trace

START_SECONDS = 5.0
LAG_SECONDS = 0.5
GRACE_SECONDS = 30.0
"""Kubernetes' default: a pod still busy then is killed, and its job runs again once its lease has ended."""
LEASE_SECONDS = 5.0


@dataclass(frozen=True)
class Outcome:
    rule: str
    waits: list[float]
    """Of each job, what it took beyond its own service time, in seconds."""
    interrupted: int
    worker_seconds: float


@dataclass(eq=False)
class _Pod:
    created: float
    ready: bool = False
    job: int | None = None
    job_began: float = 0.0
    leaving: bool = False
    gone: bool = False


@dataclass
class Cluster:
    """One run of one rule over one trace; `run` once."""

    trace: Trace
    rule: Rule
    random: Random
    _now: float = 0.0
    _replicas: int = 0
    _pods: list[_Pod] = field(default_factory=list)
    _idle: deque[_Pod] = field(default_factory=deque)
    _waiting: deque[int] = field(default_factory=deque)
    _events: list[tuple[float, int, str, Any]] = field(default_factory=list)
    _sequence: int = 0
    _waits: list[float] = field(default_factory=list)
    _interrupted: int = 0
    _worker_seconds: float = 0.0
    _busy_seconds: float = 0.0

    def run(self) -> Outcome:
        self._scale((self.trace.minimum, None))
        for pod in self._pods:
            self._ready(pod)
        self._at(0.0, "tick", None)
        if self.trace.arrivals:
            self._at(self.trace.arrivals[0], "arrive", 0)
        while self._now < self.trace.seconds or len(self._waits) < len(self.trace.arrivals):
            self._now, _, kind, subject = heappop(self._events)
            getattr(self, f"_{kind}")(subject)
        for pod in list(self._pods):
            self._end(pod)
        return Outcome(self.rule.name, self._waits, self._interrupted, self._worker_seconds)

    def _at(self, time: float, kind: str, subject: Any) -> None:
        self._sequence += 1
        heappush(self._events, (time, self._sequence, kind, subject))

    def _tick(self, _subject: None) -> None:
        busy = [pod for pod in self._pods if pod.job is not None]
        load = Load(len(self._waiting), len(busy), len(busy), len(self._waits), self._busy_seconds, self._now)
        live = sum(not pod.leaving for pod in self._pods)
        wanted = self.rule.replicas(Seen(self._replicas, live, load), self._now)
        if wanted != self._replicas:
            self._replicas = wanted
            self._at(self._now + LAG_SECONDS, "scale", (wanted, busy if self.rule.idle_first else None))
        self._at(self._now + self.rule.period, "tick", None)

    def _scale(self, subject: tuple[int, list[_Pod] | None]) -> None:
        wanted, busy = subject
        live = [pod for pod in self._pods if not pod.leaving]
        for _ in range(wanted - len(live)):
            pod = _Pod(self._now - LAG_SECONDS)
            self._pods.append(pod)
            self._at(self._now + START_SECONDS, "ready", pod)
        if wanted < len(live):
            self.random.shuffle(live)
            live.sort(key=lambda pod: (pod.ready, busy is not None and pod in busy))
            for pod in live[: len(live) - wanted]:
                self._terminate(pod)

    def _terminate(self, pod: _Pod) -> None:
        pod.leaving = True
        if pod.job is None:
            self._end(pod)
        else:
            self._at(self._now + GRACE_SECONDS, "kill", pod)

    def _kill(self, pod: _Pod) -> None:
        if pod.gone:
            return
        self._interrupted += 1
        self._at(self._now + LEASE_SECONDS, "again", pod.job)
        pod.job = None
        self._end(pod)

    def _end(self, pod: _Pod) -> None:
        pod.gone = True
        self._pods.remove(pod)
        if pod in self._idle:
            self._idle.remove(pod)
        self._worker_seconds += self._now - pod.created

    def _ready(self, pod: _Pod) -> None:
        if not (pod.gone or pod.ready):
            pod.ready = True
            self._take(pod)

    def _arrive(self, job: int) -> None:
        if job + 1 < len(self.trace.arrivals):
            self._at(self.trace.arrivals[job + 1], "arrive", job + 1)
        self._waiting.append(job)
        self._offer()

    def _again(self, job: int) -> None:
        self._waiting.appendleft(job)
        self._offer()

    def _offer(self) -> None:
        if self._idle:
            self._take(self._idle.popleft())

    def _take(self, pod: _Pod) -> None:
        if not self._waiting:
            self._idle.append(pod)
            return
        pod.job, pod.job_began = self._waiting.popleft(), self._now
        self._at(self._now + self.trace.services[pod.job], "done", (pod, pod.job))

    def _done(self, subject: tuple[_Pod, int]) -> None:
        pod, job = subject
        if pod.job != job:
            return  # killed meanwhile
        self._waits.append(self._now - self.trace.arrivals[job] - self.trace.services[job])
        self._busy_seconds += self.trace.services[job]
        pod.job = None
        if pod.leaving:
            self._end(pod)
        else:
            self._take(pod)


def oracle(trace: Trace) -> Outcome:
    """Return what knowing the future gives: no wait but for the maximum, each worker there just in time.

    Jobs go to the worker that became free last; one that has nothing to do for longer than a start takes is let go.
    """
    free: list[float] = []  # when each worker ends its last job, ascending
    waits, worker_seconds = [], 0.0
    for arrival, service in zip(trace.arrivals, trace.services, strict=True):
        idle = [at for at in free if at <= arrival]
        if idle:
            began = arrival
            worker_seconds += min(arrival - idle[-1], START_SECONDS)
            free.remove(idle[-1])
        elif len(free) < trace.maximum:
            began = arrival
            worker_seconds += START_SECONDS
        else:
            began = free.pop(0)
        waits.append(began - arrival)
        worker_seconds += service
        free.append(began + service)
        free.sort()
    return Outcome("oracle (no wait)", waits, 0, worker_seconds)
