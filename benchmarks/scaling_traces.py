"""Arrival traces for the scaling simulation: when jobs come, how long each takes, and the bounds every rule gets."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from math import log, pi, sin
from random import Random

QUIET_SECONDS = 600.0
"""Nothing arrives in the last ten minutes, so that the cost of letting workers go is counted."""


@dataclass(frozen=True)
class Trace:
    """`arrivals` and `services` in seconds, of equal length; `arrivals` ascend from 0."""

    name: str
    arrivals: list[float]
    services: list[float]
    seconds: float
    minimum: int
    target: int
    max_wait: float
    maximum: int = 30


def steady(random: Random) -> Trace:
    """Four jobs a second for an hour, about eight workers' worth."""
    return _trace(random, "steady", 3600, lambda _at: 4.0, minimum=1)


def burst(random: Random) -> Trace:
    """A job every two seconds, and 200 at once every ten minutes or so."""
    arrivals = _poisson(random, 3600, lambda _at: 0.5)
    for start in range(300, 3600, 600):
        moment = start + random.uniform(-100, 100)
        arrivals += [moment] * 200
    return _trace(random, "burst", 3600, None, arrivals=sorted(arrivals), minimum=1)


def daily_wave(random: Random) -> Trace:
    """A day whose rate swings between 0.2 and 3.8 jobs a second."""
    day = 86_400
    return _trace(random, "daily wave", day, lambda at: 2.0 - 1.8 * sin(2 * pi * at / day + pi / 2), minimum=1)


def on_off(random: Random) -> Trace:
    """Three minutes of five jobs a second, twelve minutes of nothing, for three hours; may scale to zero."""
    return _trace(random, "on/off", 10_800, lambda at: 5.0 if at % 900 < 180 else 0.0, minimum=0)


def long_jobs(random: Random) -> Trace:
    """Jobs of about a minute each, three workers' worth, every other 20 minutes; may scale to zero."""
    rate = lambda at: 0.05 if at % 2400 < 1200 else 0.0  # noqa: E731
    return _trace(random, "long jobs", 14_400, rate, minimum=0, mean=60.0, target=1, max_wait=60.0)


TRACES: tuple[Callable[[Random], Trace], ...] = (steady, burst, daily_wave, on_off, long_jobs)


def _trace(
    random: Random,
    name: str,
    seconds: float,
    rate: Callable[[float], float] | None,
    *,
    minimum: int,
    arrivals: list[float] | None = None,
    mean: float = 2.0,
    target: int = 5,
    max_wait: float = 10.0,
) -> Trace:
    if arrivals is None:
        assert rate is not None
        arrivals = _poisson(random, seconds, rate)
    spread = 0.6
    services = [random.lognormvariate(log(mean) - spread**2 / 2, spread) for _ in arrivals]
    return Trace(name, arrivals, services, seconds + QUIET_SECONDS, minimum, target, max_wait)


def _poisson(random: Random, seconds: float, rate: Callable[[float], float]) -> list[float]:
    """Return arrivals of a Poisson process whose rate changes, by thinning one that is always at its peak."""
    peak = max(rate(float(at)) for at in range(0, int(seconds), 10))
    arrivals, at = [], 0.0
    while (at := at + random.expovariate(peak)) < seconds:
        if random.random() * peak < rate(at):
            arrivals.append(at)
    return arrivals
