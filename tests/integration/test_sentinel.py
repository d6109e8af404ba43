"""Redis behind Sentinels: every process finds the primary, and the next one when that dies."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from api_client import FLOWER, GETPRED, RESULT
from api_process import ApiProcess, api_env
from faults.rig import wait_until
from iris_operator.errors import NotYet
from iris_operator.queues import Queues
from sentinels import Watched


@pytest.fixture
def watched(tmp_path: Path) -> Iterator[Watched]:
    started = Watched(tmp_path)
    yield started
    started.stop()


@pytest.fixture
def others(watched: Watched, tmp_path: Path) -> Iterator[list[subprocess.Popen[bytes]]]:
    """A worker and recovery."""
    with (tmp_path / "others.log").open("wb") as log:
        processes = [
            subprocess.Popen([sys.executable, "-m", "iris_service.cli", name], env=api_env(watched.url), stderr=log)
            for name in ("worker", "recovery")
        ]
    yield processes
    for process in processes:
        process.kill()
        process.wait()


def answered(http: httpx.Client) -> bool:
    accepted = http.get(GETPRED, params=FLOWER)
    if accepted.status_code == 503:
        return False
    answer = http.get(f"{RESULT}/{accepted.raise_for_status().json()['job_id']}", params={"wait": 10})
    return answer.status_code == 200 and answer.json()["result"][0]["class"] == "setosa"


def test_a_new_primary_is_found_by_all(watched: Watched, others: list[subprocess.Popen[bytes]]) -> None:
    api = ApiProcess(watched.url)
    try:
        with httpx.Client(base_url=api.url, timeout=30) as http:
            wait_until(lambda: answered(http), 60, "an answer through the first primary")
            with watched.primary.client() as primary:
                assert primary.wait(1, 10_000) == 1, "what was written is on the replica"
            watched.primary.kill()
            wait_until(lambda: answered(http), 60, "an answer through the second")
            assert http.get("/readyz").status_code == 200
        assert [process.poll() for process in others] == [None, None], "nobody had to be started anew"
        with watched.replica.client() as replica:
            assert replica.info("replication")["role"] == "master"
            assert replica.hget("iris:counts:iris@1", "done") is not None
    finally:
        assert api.stop() == 0


def test_the_operator_finds_the_new_primary_too(watched: Watched) -> None:
    async def story() -> None:
        queues = Queues(watched.url, "ns")
        try:
            await queues.observe(["iris@1"], ["iris"])
            watched.primary.kill()
            with pytest.raises(NotYet):
                await queues.observe(["iris@1"], ["iris"])
            for _ in range(200):
                try:
                    await queues.observe(["iris@1"], ["iris"])
                    await queues.open("iris@1")  # a write: a replica would refuse it
                    return
                except NotYet:
                    await asyncio.sleep(0.2)
            pytest.fail("the operator did not find the new primary")
        finally:
            await queues.aclose()

    asyncio.run(story())
