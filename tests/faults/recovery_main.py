"""A real recovery process for the fault tests, whose clock can be wrong."""

from __future__ import annotations

import argparse
import datetime
import sys
import time


def shift_clock(seconds: float) -> None:
    """Make this process believe it is `seconds` later; must run before anybody imports a clock by name."""
    true_time, true_datetime = time.time, datetime.datetime

    class ShiftedDatetime(true_datetime):
        @classmethod
        def now(cls, tz: datetime.tzinfo | None = None) -> ShiftedDatetime:
            return cls.fromtimestamp(true_time() + seconds, tz)

    time.time = lambda: true_time() + seconds
    datetime.datetime = ShiftedDatetime  # type: ignore[misc]


def main() -> int:
    parser = argparse.ArgumentParser()
    parser.add_argument("--clock-shift", type=float, default=0.0)
    shift = parser.parse_args().clock_shift
    if shift:
        shift_clock(shift)

    from iris_service.config import Settings
    from iris_service.jobs.sweeping import run_recovery
    from iris_service.telemetry.logs import configure_logging

    settings = Settings.from_env()
    configure_logging(settings.log, "recovery")
    return run_recovery(settings)


if __name__ == "__main__":
    sys.exit(main())
