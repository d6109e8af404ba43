"""Finds the programs that tests need beyond Python; `requirements/programs.sh` installs them where it can."""

from __future__ import annotations

import os
import shutil

import pytest


def program(name: str) -> str:
    """Return the path of a program. Without it the test is skipped and says why; in CI it fails."""
    found = shutil.which(name, path=f"{os.environ['PATH']}:/usr/sbin")
    if found:
        return found
    reason = f"{name} is not installed: requirements/programs.sh says how"
    if os.environ.get("CI") == "true":
        raise pytest.fail.Exception(reason, pytrace=False)
    raise pytest.skip.Exception(reason)
