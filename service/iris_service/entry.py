"""How a process begins: its settings are read, or one line says which cannot be used; then it is ready. Knows none."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from contextlib import suppress

from iris_service.config import Settings
from iris_service.errors import SettingsError

OnReady = Callable[[], None]


def tell_nobody() -> None:
    """Who starts a process by hand reads its log."""


def tell_once(handle: int | None) -> OnReady:
    """Return what writes one byte to a descriptor and closes it, the first time it is called: `iris up` listens."""
    left = [] if handle is None else [handle]

    def tell() -> None:
        while left:
            ready = left.pop()
            with suppress(OSError):  # who listened is gone
                os.write(ready, b"1")
            os.close(ready)

    return tell


def run(serve: Callable[[Settings], int]) -> int:
    """Return what `serve` returns, or `os.EX_CONFIG` (78) after a line on stderr that names the setting to blame."""
    try:
        return serve(Settings.from_env())
    except SettingsError as exc:
        sys.stderr.write(f"{exc}\n")
        return os.EX_CONFIG
