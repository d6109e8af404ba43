"""The commands of /docs do what they show: each is pasted into a shell, and its answer is the one beside it."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from answering_api import answering_api
from iris_service.api.api_keys import new_key
from iris_service.api.openapi.readable.curl import KEY_VARIABLE, Call, Caller
from servers import Valkey

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("openapi"), pytest.mark.timeout(300)]

WITH_STATUS = "curl() { command curl -w '\\n%{http_code}' \"$@\"; }\n"
REFUSED = {"load": 400, "unload": 400, "cancel": 409, "cancelJob": 409}
"""What may be answered instead: a worker may have been faster than who cancels."""
AS_SHOWN = frozenset({"alive", "servingPredictions", "submit", "infer", "inferVersion", "models", "serverReady"})


def calls(document: dict[str, Any], url: str) -> Iterator[tuple[str, Call]]:
    caller = Caller(document, url)
    for path, item in document["paths"].items():
        for method in item.keys() - {"parameters"}:
            for call in caller.calls(path, method):
                yield item[method]["operationId"], call


def paste(call: Call, key: str) -> tuple[int, str]:
    """Return status and body."""
    done = subprocess.run(
        ["bash", "-c", WITH_STATUS + "\n".join(call.lines)],
        env={**os.environ, KEY_VARIABLE: key}, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    body, _, status = done.stdout.rpartition("\n")
    assert status, (call.lines, done.stderr)
    return int(status), body


def without_id(answer: Any) -> Any:
    """An inference without an `id` is answered with the request's own."""
    return {name: value for name, value in answer.items() if name != "id"} if isinstance(answer, dict) else answer


def test_every_command_can_be_pasted_and_answers_as_it_shows(own_valkey: Valkey, tmp_path: Path) -> None:
    made = new_key("somebody")
    keys = tmp_path / "keys"
    keys.write_text(made.line)
    shown = set()
    with answering_api(own_valkey.url, IRIS_AUTH="api-key", IRIS_API_KEYS_FILE=str(keys)) as api:
        document = httpx.get(f"{api.url}/openapi.json").json()
        for id_, call in calls(document, api.url):
            status, body = paste(call, made.key)
            assert status < 300 or status == REFUSED.get(id_), (call.lines, body)
            if id_ in AS_SHOWN:
                answer = body if isinstance(call.answer, str) else json.loads(body)
                assert without_id(answer) == without_id(call.answer), call.lines
                shown.add(id_)
    assert shown == AS_SHOWN
