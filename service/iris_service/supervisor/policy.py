"""What to do about a child that has ended. Pure: knows neither processes nor clocks."""

from __future__ import annotations

import os
import signal
from dataclasses import dataclass

FIRST_DELAY_SECONDS = 0.2
LONGEST_DELAY_SECONDS = 10.0
HEALTHY_AFTER_SECONDS = 30.0
"""A child that has lived so long was started well; its next death is a new story."""

HOPELESS = {
    os.EX_CONFIG: "a setting cannot be used",
    os.EX_DATAERR: "the model was rejected",
}
"""Exit codes that the next start would give again."""


@dataclass(frozen=True)
class Restart:
    """Start it again after so many seconds."""

    delay_seconds: float


@dataclass(frozen=True)
class GiveUp:
    """Stop everything and end with this exit code."""

    exit_code: int
    reason: str


def after_death(exit_code: int, lived_seconds: float, last_delay_seconds: float) -> Restart | GiveUp:
    """Decide by the exit code (minus the signal's number when a signal ended it), the child's life and the last delay,
    0 when there was none."""
    if exit_code in HOPELESS:
        return GiveUp(exit_code, HOPELESS[exit_code])
    if lived_seconds >= HEALTHY_AFTER_SECONDS or last_delay_seconds == 0:
        return Restart(FIRST_DELAY_SECONDS)
    return Restart(min(2 * last_delay_seconds, LONGEST_DELAY_SECONDS))


def cause_of_death(exit_code: int) -> str:
    """`exit code 3`, or `SIGKILL` when a signal ended the child."""
    if exit_code >= 0:
        return f"exit code {exit_code}"
    try:
        return signal.Signals(-exit_code).name
    except ValueError:  # a real-time signal has no name
        return f"signal {-exit_code}"
