"""Between the request to stop and the stop: everything is still served, but callers are sent elsewhere."""

from __future__ import annotations


class Draining:
    """Whether this process is about to stop. Shared by the server, which begins it, and by what answers requests."""

    def __init__(self) -> None:
        self.begun = False

    def begin(self) -> None:
        """Safe in a signal handler."""
        self.begun = True
