"""Run as a script: become another program that cannot outlive the supervisor, however that ends.

`python tether.py SUPERVISOR_PID PROGRAM [ARGUMENT...]`. Linux only; elsewhere the program just runs. A program of its
own, because between fork and exec a process with threads may only do what is safe in a signal handler.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys

PR_SET_PDEATHSIG = 1  # from <linux/prctl.h>


def main(supervisor: int, program: list[str]) -> None:
    """Replace this process; returns only by raising."""
    if sys.platform == "linux":
        ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, ctypes.c_ulong(signal.SIGKILL))
        if os.getppid() != supervisor:  # it ended before the line above, which then came too late
            sys.exit(f"{program[0]} not started: its supervisor is gone")
    for number in (signal.SIGPIPE, signal.SIGXFSZ):  # ignored by Python, and that would be inherited
        signal.signal(number, signal.SIG_DFL)
    os.execv(program[0], program)  # noqa: S606  no shell is the point


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])
