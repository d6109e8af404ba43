"""Clients of other servers against ours, as they come: NVIDIA's tritonclient and KServe's InferenceRESTClient."""

from __future__ import annotations

import json
import os
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from answering_api import answering_api
from api_process import MODELS, ApiProcess
from iris_service.config import ModelSettings
from iris_service.model.runtime import load_model
from servers import Valkey

ROOT = Path(__file__).parents[2]
ENVIRONMENT = ROOT / ".venv-clients"
ROWS = ((5.1, 3.5, 1.4, 0.2), (6.7, 3.0, 5.2, 2.3))

pytestmark = [pytest.mark.slow, pytest.mark.xdist_group("v2 clients")]


@pytest.fixture(scope="module")
def api(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ApiProcess]:
    server = Valkey(tmp_path_factory.mktemp("valkey"))
    try:
        with answering_api(server.url) as api:
            yield api
    finally:
        server.stop()


def session(name: str, address: str) -> dict[str, Any]:
    """Run one of tests/clients in its own environment and return what it saw."""
    if not (ENVIRONMENT / "clients.stamp").exists():
        reason = "the clients are not installed: make .venv-clients/clients.stamp"
        if os.environ.get("CI") == "true":
            pytest.fail(reason, pytrace=False)
        pytest.skip(reason)
    done = subprocess.run(
        [str(ENVIRONMENT / "bin" / "python"), str(ROOT / "tests" / "clients" / f"{name}.py"), address],
        capture_output=True, text=True, timeout=100,
    )  # fmt: skip
    if "No module named 'kserve'" in done.stderr and "3.14" in (ENVIRONMENT / "pyvenv.cfg").read_text():
        pytest.skip("KServe's client is not made for this Python")
    assert done.returncode == 0, done.stderr[-3000:]
    seen: dict[str, Any] = json.loads(done.stdout)
    return seen


def expected() -> dict[str, Any]:
    model = load_model(ModelSettings(repository=MODELS))
    shares = [list(row) for row in model.predict(ROWS)]
    best = [row.index(max(row)) for row in shares]
    rounded = [[round(share, 6) for share in row] for row in shares]
    return {"predict": best, "predict_proba": rounded, "label": [model.signature.classes[at] for at in best]}


@pytest.fixture(scope="module")
def triton(api: ApiProcess) -> dict[str, Any]:
    return session("triton_session", f"127.0.0.1:{api.port}")


@pytest.fixture(scope="module")
def kserve(api: ApiProcess) -> dict[str, Any]:
    return session("kserve_session", api.url)


@pytest.mark.parametrize("way", ["defaults", "json", "FP32", "FP16", "columns", "gzip", "deflate"])
def test_tritonclient_gets_the_models_answers_whatever_it_sends(triton: dict[str, Any], way: str) -> None:
    assert triton[way] == expected()


def test_tritonclient_with_its_defaults_gets_binary_tensors_and_its_id_back(triton: dict[str, Any]) -> None:
    assert triton["binary"]
    assert triton["id"] == "mine"


def test_tritonclient_may_ask_without_waiting_and_choose_outputs(triton: dict[str, Any]) -> None:
    assert triton["async"] == [expected()] * 3
    assert triton["picked"] == ["label", "predict"]
    assert triton["INT64"]["label"] == ["setosa", "virginica"]


def test_tritonclient_reads_health_metadata_configuration_index_and_statistics(triton: dict[str, Any]) -> None:
    assert (triton["live"], triton["ready"], triton["model_ready"]) == (True, True, [True, True])
    assert triton["other_ready"] == [False, False]
    assert "binary_tensor_data" in triton["server"]["extensions"]
    assert triton["model"]["inputs"][0]["shape"] == [-1, 4]
    assert triton["config"]["max_batch_size"] == 1000
    assert triton["index"] == [{"name": "iris", "version": "1", "state": "READY", "reason": ""}]
    for statistics in (triton["statistics"], triton["all_statistics"]):
        assert statistics["model_stats"][0]["inference_stats"]["fail"] == {"count": 0}


def test_tritonclient_understands_every_refusal(triton: dict[str, Any]) -> None:
    assert triton["wide"] == ["400", "input must have shape [rows, 4], not [1, 5]"]
    assert [triton[what][0] for what in ("unknown", "version", "load", "unload", "logging")] == [
        "404", "404", "400", "400", "404",
    ]  # fmt: skip
    assert all("while decoding" not in triton[what][1] for what in ("unknown", "load", "logging"))


@pytest.mark.parametrize("way", ["plain", "binary", "frame"])
def test_kserves_client_gets_the_models_answers_whatever_it_sends(kserve: dict[str, Any], way: str) -> None:
    assert kserve[way] == expected()


def test_kserves_client_finds_the_prediction_first_and_its_id(kserve: dict[str, Any]) -> None:
    assert kserve["first"] == expected()["predict"]
    assert kserve["id"] == "mine"
    assert kserve["picked"] == {"label": expected()["label"]}


def test_kserves_client_reads_health_and_refusals(kserve: dict[str, Any]) -> None:
    assert (kserve["live"], kserve["ready"], kserve["model_ready"]) == (True, True, True)
    assert kserve["unknown_ready"] is False
    assert kserve["narrow"].startswith("input-0 must have shape [rows, 4], not [1, 3]")
    assert kserve["unknown"].startswith("there is no such model")


def test_what_the_clients_asked_for_has_been_counted(api: ApiProcess, triton: dict[str, Any]) -> None:
    ends = time.monotonic() + 15  # the queue is looked at once a second
    while True:
        [entry] = httpx.get(f"{api.url}/v2/models/iris/stats").json()["model_stats"]
        if entry["inference_stats"]["success"]["count"] >= 12:
            return
        assert time.monotonic() < ends, entry
        time.sleep(0.1)
