"""docs/client.py, as it stands there: prints what docs/api.md shows, with a key too, and outlasts an outage."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from answering_api import answering_api
from api_process import ApiProcess
from iris_service.api.api_keys import new_key
from servers import Valkey

DOCS = Path(__file__).parents[2] / "docs"

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("openapi")]


SESSION = re.compile(r"^\$ python docs/client\.py http://127\.0\.0\.1:8000\n(.+?)```", re.MULTILINE | re.DOTALL)


def shown() -> str:
    """What the session of docs/api.md prints."""
    [printed] = SESSION.findall((DOCS / "api.md").read_text())
    return printed


def until(condition: Callable[[], bool], seconds: float = 30) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.05)


def run(api: ApiProcess, key: str = "") -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(DOCS / "client.py"), api.url],
        env={**os.environ, "IRIS_API_KEY": key}, capture_output=True, text=True, timeout=110,
    )  # fmt: skip


def test_it_sends_the_key_and_says_when_there_is_none(own_valkey: Valkey, tmp_path: Path) -> None:
    made = new_key("somebody")
    keys = tmp_path / "keys"
    keys.write_text(made.line)
    with answering_api(own_valkey.url, IRIS_AUTH="api-key", IRIS_API_KEYS_FILE=str(keys)) as api:
        assert run(api, made.key).stdout == shown()
        assert "Refused: send a key or token" in run(api).stderr


def test_it_prints_what_is_shown_also_when_redis_is_away_at_first(own_valkey: Valkey) -> None:
    with answering_api(own_valkey.url) as api:
        done = run(api)
        assert (done.stdout, done.stderr) == (shown(), "")
        own_valkey.kill()
        found: list[str] = []
        client = threading.Thread(target=lambda: found.append(run(api).stdout))
        client.start()
        until(lambda: any(line.get("status") == 503 for line in api.lines))
        own_valkey.start()
        client.join()
    assert found == [shown()]
