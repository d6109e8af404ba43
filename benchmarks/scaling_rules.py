"""The rules under comparison: ours as the operator calls it, and KEDA's redis list scaler with the HPA behind it.

KEDA and HPA follow their documentation and source: `pollingInterval`, `cooldownPeriod` and activation from KEDA's
executor; the 15 s sync, 10 % tolerance, default policies and down-stabilisation from the HPA controller.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from math import ceil
from typing import Protocol

from iris_operator.scaling import Load, Memory, Policy, decide
from scaling_traces import Trace


@dataclass(frozen=True)
class Seen:
    """The cluster at one instant: the Deployment's spec and live pods, and the queue."""

    replicas: int
    pods: int
    load: Load


class Rule(Protocol):
    name: str
    period: float
    """Seconds between two calls."""
    idle_first: bool
    """Whether idle pods are marked as the first to go."""

    def replicas(self, seen: Seen, now: float) -> int: ...


class Iris:
    """Our rule, called every two seconds as the operator's reconcile does."""

    period = 2.0
    idle_first = True

    def __init__(self, trace: Trace, *, by_wait: bool) -> None:
        self.name = "iris, by wait" if by_wait else "iris, by length"
        wait = trace.max_wait if by_wait else None
        self._policy = Policy(trace.minimum, trace.maximum, trace.target, wait, window_seconds=60.0)
        self._memory = Memory()

    def replicas(self, seen: Seen, now: float) -> int:
        decision = decide(self._policy, seen.replicas, seen.load, self._memory, now)
        self._memory = decision.memory
        return decision.replicas


@dataclass
class Keda:
    """KEDA wakes and puts to sleep; between one and `maximum` the HPA decides."""

    name: str
    trace: Trace
    polling: float = 30.0
    cooldown: float = 300.0
    stabilisation: float = 300.0
    counts_running: bool = False
    period: float = field(default=5.0, init=False)
    idle_first: bool = field(default=False, init=False)
    _active_at: float = field(default=0.0, init=False)
    _wants: list[tuple[float, int]] = field(default_factory=list, init=False)
    _added: list[tuple[float, int]] = field(default_factory=list, init=False)

    def replicas(self, seen: Seen, now: float) -> int:
        value = seen.load.waiting + (seen.load.running if self.counts_running else 0)
        replicas = seen.replicas
        if now % self.polling == 0:
            replicas = self._poll(value, replicas, now)
        if now % 15 == 0 and replicas > 0:
            replicas = self._sync(value, replicas, max(1, seen.pods), now)
        return replicas

    def _poll(self, value: int, replicas: int, now: float) -> int:
        if value > 0:
            self._active_at = now
            return max(replicas, 1)
        if self.trace.minimum == 0 and self._active_at + self.cooldown < now:
            return 0
        return replicas

    def _sync(self, value: int, replicas: int, pods: int, now: float) -> int:
        ratio = value / (self.trace.target * pods)
        want = pods if abs(1 - ratio) <= 0.1 else ceil(value / self.trace.target)
        self._wants = [(at, n) for at, n in self._wants if at >= now - self.stabilisation] + [(now, want)]
        if want < replicas:
            want = min(replicas, max(n for _, n in self._wants))
        self._added = [(at, n) for at, n in self._added if at > now - 15]
        start = replicas - sum(n for _, n in self._added)
        want = min(want, max(start + 4, start * 2))
        want = max(1, self.trace.minimum, min(self.trace.maximum, want))
        if want > replicas:
            self._added.append((now, want - replicas))
        return want


def rules(trace: Trace) -> list[Rule]:
    """Return fresh rules; the tuned KEDA has every knob a user can turn set to what our rule does."""
    tuned = Keda("KEDA + HPA, tuned", trace, polling=5.0, cooldown=60.0, stabilisation=60.0, counts_running=True)
    return [Iris(trace, by_wait=False), Iris(trace, by_wait=True), Keda("KEDA + HPA", trace), tuned]
