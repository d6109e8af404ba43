"""The packaged chart is what is committed, under the one version, and the same bytes every time."""

from __future__ import annotations

import hashlib
import subprocess
import tarfile
import time
import tomllib
from pathlib import Path

import pytest
import yaml

from chart.rendering import Chart

ROOT = Path(__file__).parents[2]
VERSION = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["version"]


@pytest.fixture(scope="module")
def package(chart: Chart, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return packaged(tmp_path_factory.mktemp("dist"))


def packaged(folder: Path) -> Path:
    subprocess.run([ROOT / ".ci" / "chart", folder], check=True, capture_output=True)
    (found,) = folder.iterdir()
    return found


def committed() -> set[str]:
    listed = subprocess.run(
        ["git", "ls-tree", "-r", "--name-only", "HEAD", "charts/iris"], cwd=ROOT, capture_output=True
    )
    return {name.removeprefix("charts/") for name in listed.stdout.decode().split()}


def test_it_has_the_project_s_version_everywhere(package: Path) -> None:
    assert package.name == f"iris-{VERSION}.tgz"
    with tarfile.open(package) as archive:
        about = archive.extractfile("iris/Chart.yaml")
        assert about is not None
        assert (found := yaml.safe_load(about))["version"] == VERSION
        assert found["appVersion"] == VERSION


def test_it_holds_what_is_committed_and_nothing_else(package: Path) -> None:
    with tarfile.open(package) as archive:
        assert set(archive.getnames()) == committed()


def test_the_same_commit_gives_the_same_bytes(package: Path, tmp_path: Path) -> None:
    time.sleep(1.1)  # a clock that went into the archive would show: its times are whole seconds
    again = packaged(tmp_path)
    assert hashlib.sha256(again.read_bytes()).digest() == hashlib.sha256(package.read_bytes()).digest()
