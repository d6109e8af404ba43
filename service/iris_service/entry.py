"""How a process begins: its settings are read, or one line says which of them cannot be used. Knows no process."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable

from iris_service.config import Settings
from iris_service.errors import SettingsError


def run(serve: Callable[[Settings], int]) -> int:
    """Return what `serve` returns, or `os.EX_CONFIG` (78) after a line on stderr that names the setting to blame."""
    try:
        return serve(Settings.from_env())
    except SettingsError as exc:
        sys.stderr.write(f"{exc}\n")
        return os.EX_CONFIG
