"""The images hold what their process needs and no more, and serve under the limits of production."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from engine import ROOT, Compose, Images

pytestmark = [pytest.mark.containers, pytest.mark.xdist_group("containers"), pytest.mark.timeout(1200)]

SETOSA = {"sepal_length": "5.1", "sepal_width": "3.5", "petal_length": "1.4", "petal_width": "0.2"}

IMPORTABLE = """
import importlib.util, json, shutil
names = "iris_service iris_operator kopf numpy onnxruntime pandas pytest rq sklearn skops starlette uvicorn".split()
found = [name for name in names if importlib.util.find_spec(name)]
print(json.dumps(found + [tool for tool in ("cc", "gcc", "git") if shutil.which(tool)]))
"""

INSTALLED = """
import importlib.metadata, json, re
found = {re.sub("[-_.]+", "-", dist.name).lower(): dist.version for dist in importlib.metadata.distributions()}
print(json.dumps(found))
"""
OF_THE_BASE = {"pip", "setuptools", "wheel"}

LIMITS = """
import json, pathlib
status = dict(line.split(":\\t", 1) for line in open("/proc/1/status").read().splitlines())
limits = map(pathlib.Path, ("/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"))
writable = []
for folder in ("/", "/app", "/app/models", "/usr/local", "/tmp"):
    try:
        (pathlib.Path(folder) / "probe").write_text("")
        writable.append(folder)
    except OSError:
        pass
print(json.dumps({
    "user": status["Uid"].split()[0],
    "capabilities": int(status["CapBnd"], 16) | int(status["CapEff"], 16),
    "new privileges": status["NoNewPrivs"] == "0",
    "memory": next(path.read_text().strip() for path in limits if path.exists()),
    "writable": writable,
}))
"""


@pytest.mark.parametrize(
    ("target", "content"),
    [
        ("api", ["iris_service", "iris_operator", "starlette", "uvicorn"]),
        ("api-inline", ["iris_service", "iris_operator", "numpy", "onnxruntime", "starlette", "uvicorn"]),
        ("worker", ["iris_service", "iris_operator", "numpy", "onnxruntime", "rq"]),
        ("operator", ["iris_service", "iris_operator", "kopf"]),
    ],
)
def test_an_image_holds_the_wheel_and_what_its_process_needs(images: Images, target: str, content: list[str]) -> None:
    assert sorted(json.loads(images.python(target, IMPORTABLE))) == sorted(content)


@pytest.mark.parametrize("target", ["api", "api-inline", "worker", "operator"])
def test_an_image_holds_what_its_bill_of_materials_lists(images: Images, target: str, tmp_path: Path) -> None:
    subprocess.run([sys.executable, ROOT / "requirements" / "sbom.py", tmp_path], check=True)
    (bill,) = tmp_path.glob(f"iris-{target}-[0-9]*.json")
    listed = {component["name"]: component["version"] for component in json.loads(bill.read_text())["components"]}
    found = json.loads(images.python(target, INSTALLED))
    assert {name: version for name, version in found.items() if name not in OF_THE_BASE} == listed


@pytest.mark.parametrize("target", ["api", "api-inline", "worker", "operator"])
def test_an_image_says_what_it_is_and_runs_as_a_number(images: Images, target: str) -> None:
    config = images.inspect(target)["Config"]
    assert config["User"] == "10001:10001"
    assert "PYTHONSAFEPATH=1" in config["Env"]
    labels = config["Labels"]
    assert labels["org.opencontainers.image.title"] == f"iris-{target}"
    assert labels["org.opencontainers.image.version"] != "unknown"
    assert labels["org.opencontainers.image.base.name"].startswith("python:")


@pytest.mark.parametrize("target", ["api-inline", "worker"])
def test_onnx_runtime_reports_to_nobody(images: Images, target: str) -> None:
    # where its telemetry is on, ONNX Runtime leaves a device id behind in the home folder
    code = "import os; os.environ['HOME'] = '/tmp'; import onnxruntime; print(os.listdir('/tmp'))"
    assert images.python(target, code) == "[]"


@pytest.mark.parametrize(
    ("target", "most_megabytes"), [("api", 180), ("api-inline", 320), ("worker", 320), ("operator", 200)]
)
def test_an_image_stays_small(
    images: Images, target: str, most_megabytes: int, capfd: pytest.CaptureFixture[str]
) -> None:
    megabytes = images.inspect(target)["Size"] / 1e6
    with capfd.disabled():
        sys.stderr.write(f"\niris-{target}: {megabytes:.0f} MB\n")
    assert megabytes < most_megabytes


def test_the_operator_image_can_import_all_that_it_starts(images: Images) -> None:
    images.python("operator", "import iris_operator.__main__")


def test_the_service_starts_without_valkey_and_says_what_it_waits_for(compose: Compose) -> None:
    assert compose.readiness_without_valkey is not None
    assert "redis" in compose.readiness_without_valkey.text.lower()


def test_one_flower_goes_through(compose: Compose) -> None:
    assert predicted(compose, submitted(compose))[0]["class"] == "setosa"


@pytest.mark.parametrize(("service", "megabytes"), [("api", 256), ("worker", 512), ("recovery", 128)])
def test_a_container_may_do_nothing_but_its_work(compose: Compose, service: str, megabytes: int) -> None:
    assert json.loads(compose.python(service, LIMITS)) == {
        "user": "10001",
        "capabilities": 0,
        "new privileges": False,
        "memory": str(megabytes << 20),
        "writable": ["/tmp"],
    }


def test_sigterm_ends_every_process_with_0_and_the_answer_survives_the_restart(compose: Compose) -> None:
    job_id = submitted(compose)
    answer = predicted(compose, job_id)
    compose("stop", "api", "worker", "recovery")  # Docker would order this by depends_on; podman-compose does not
    compose("stop", "valkey")
    assert [compose.exit_code(service) for service in ("api", "worker", "recovery", "valkey")] == [0, 0, 0, 0]
    compose("start")
    compose.wait_for("/readyz", 200)
    compose.wait_for_worker(starts=2)
    assert predicted(compose, job_id) == answer
    assert predicted(compose, submitted(compose)) == answer


def submitted(compose: Compose) -> str:
    response = compose.client.get("/iris/api/v1.0/getpred", params=SETOSA)
    assert response.status_code == 200, response.text
    return str(response.json()["job_id"])


def predicted(compose: Compose, job_id: str) -> list[dict[str, str]]:
    response = compose.client.get(f"/iris/api/v1.0/result/{job_id}", params={"wait": "10"})
    assert response.status_code == 200, response.text
    result: list[dict[str, str]] = response.json()["result"]
    return result
