"""schemathesis, which knows only the OpenAPI document, finds nothing: in good times, while jobs wait, without Redis."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from string import Template

import httpx
import pytest

from answering_api import answering_api
from api_client import FLOWER, GETPRED
from api_process import ApiProcess
from iris_service.api.api_keys import new_key
from servers import Valkey

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("openapi"), pytest.mark.timeout(300)]

HERE = Path(__file__).parent


def ask(api: ApiProcess, folder: Path, *options: str, provoked: str = "", key: str = "") -> str:
    """Run schemathesis, which does the same each time; return what it has found, nothing when all is well.

    `provoked` is the status of 500 or more that the service was brought to.
    """
    headers = {"Authorization": f"Bearer {key}"} if key else {}
    job = httpx.get(f"{api.url}{GETPRED}", params=FLOWER, headers=headers).json()
    config = folder / "schemathesis.toml"
    template = Template((HERE / "schemathesis.toml").read_text())
    config.write_text(
        template.substitute(
            AUTHENTICATION=f'auth.openapi.bearer.bearer = "{key}"' if key else "",
            PROVOKED=provoked,
            JOB_ID=job.get("job_id", "0" * 32),
        )
    )
    command = [sys.executable, "-m", "schemathesis.cli", "--config-file", str(config), "--no-color"]
    done = subprocess.run(
        [*command, "run", f"{api.url}/openapi.json", "--generation-deterministic", *options],
        env={**os.environ, "SCHEMATHESIS_HOOKS": str(HERE / "media.py")},
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    )  # fmt: skip
    assert done.returncode in (0, 1), done.stdout
    return done.stdout[-8000:] if done.returncode else ""


def answered(api: ApiProcess) -> set[tuple[str, str, int]]:
    """Method, route and status of all answers, as its metrics have them."""
    text = httpx.get(f"{api.url}/metrics").text
    series = re.findall(r'iris_http_requests_total\{method="(\w+)",route="([^"]+)",status="(\d+)"\}', text)
    return {(method, route, int(status)) for method, route, status in series}


def faults(api: ApiProcess) -> list[object]:
    return [line for line in api.lines if line["level"] in ("error", "critical")]


def operations(api: ApiProcess) -> set[tuple[str, str]]:
    paths = httpx.get(f"{api.url}/openapi.json").json()["paths"]
    return {(method.upper(), path) for path, item in paths.items() for method in item.keys() - {"parameters"}}


def test_every_operation_does_what_its_description_says(own_valkey: Valkey, tmp_path: Path) -> None:
    with answering_api(own_valkey.url) as api:
        found = ask(api, tmp_path, "--max-examples", "10")
        assert not found, found
        seen = answered(api)
        assert {status for *_, status in seen if status >= 500} == set()
        succeeded = {(method, route) for method, route, status in seen if status < 300}
        never = {operation for operation in operations(api) if operation[1].endswith("load")}
        late = {("DELETE", "/iris/api/v1.0/jobs/{job_id}"), ("DELETE", "/v2/jobs/{job_id}")}
        assert operations(api) - succeeded <= never | late
        assert faults(api) == []


def test_jobs_that_wait_are_described_too_and_nobody_without_a_key_is_served(
    own_valkey: Valkey, tmp_path: Path
) -> None:
    made = new_key("somebody")
    keys = tmp_path / "keys"
    keys.write_text(made.line)
    waits = {"IRIS_MAX_WAIT_SECONDS": "0.02", "IRIS_SYNC_WAIT_SECONDS": "0.05"}
    api = ApiProcess(own_valkey.url, IRIS_AUTH="api-key", IRIS_API_KEYS_FILE=str(keys), **waits)
    try:
        options = ("--phases", "fuzzing,stateful", "--max-examples", "5")
        found = ask(api, tmp_path, *options, provoked="504", key=made.key)
        assert not found, found
        seen = answered(api)
        assert {("GET", "unmatched", 401), ("POST", "unmatched", 401)} <= seen, "refused before a page is asked"
        assert {("GET", "/iris/api/v1.0/result/{job_id}", 202), ("DELETE", "/v2/jobs/{job_id}", 200)} <= seen
        assert {status for *_, status in seen if status >= 500} == {504}
        assert faults(api) == []
    finally:
        assert api.stop() == 0


def test_without_redis_the_503_is_the_one_described(own_valkey: Valkey, tmp_path: Path) -> None:
    api = ApiProcess(own_valkey.url)
    try:
        own_valkey.kill()
        assert "[503] Service Unavailable" in ask(api, tmp_path, "--phases", "examples"), "it notices what is wrong"
        found = ask(api, tmp_path, "--phases", "examples", provoked="503")
        assert not found, found
        unavailable = {route for _, route, status in answered(api) if status == 503}
        assert {"/iris/api/v1.0/getpred", "/v2/models/{model}/infer"} <= unavailable
        assert faults(api) == []
    finally:
        assert api.stop() == 0
