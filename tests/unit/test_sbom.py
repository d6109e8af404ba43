"""The bills of materials: valid, the same every time, and of what an image's lock installs there and nowhere else."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

ROOT = Path(__file__).parents[2]
IMAGES = ("api", "worker", "operator")


def written(folder: Path) -> dict[str, str]:
    """Image to bill, made anew."""
    subprocess.run([sys.executable, "-W", "error", ROOT / "requirements" / "sbom.py", folder], check=True)
    return {path.name.split("-")[1]: path.read_text() for path in folder.iterdir()}


@pytest.fixture(scope="module")
def bills(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return written(tmp_path_factory.mktemp("dist"))


def versions(bill: str) -> dict[str, str]:
    return {component["name"]: component["version"] for component in json.loads(bill)["components"]}


def test_there_is_one_for_each_image(bills: dict[str, str]) -> None:
    assert sorted(bills) == sorted(IMAGES)


@pytest.mark.parametrize("image", IMAGES)
def test_it_is_strictly_cyclonedx(bills: dict[str, str], image: str) -> None:
    assert JsonStrictValidator(SchemaVersion.V1_6).validate_str(bills[image]) is None


def test_the_same_input_gives_the_same_bytes(bills: dict[str, str], tmp_path: Path) -> None:
    assert written(tmp_path) == bills
    assert all("timestamp" not in json.loads(bill)["metadata"] for bill in bills.values())
    assert len({json.loads(bill)["serialNumber"] for bill in bills.values()}) == len(IMAGES)


@pytest.mark.parametrize("image", IMAGES)
def test_it_lists_the_lock_s_packages_with_the_files_that_may_be_installed(bills: dict[str, str], image: str) -> None:
    lock = (ROOT / "requirements" / f"{image}.txt").read_text()
    names = set(re.findall(r"^([a-z0-9.-]+)==", lock, re.MULTILINE))
    left_out = names - versions(bills[image]).keys()
    assert left_out <= {"async-timeout", "httpx2-jsfetch"}  # for old Pythons, and for browsers
    assert versions(bills[image]).keys() - names == {"iris-serving"}
    for component in json.loads(bills[image])["components"]:
        if component["name"] != "iris-serving":
            assert all(entry["value"] in lock for entry in component["properties"])
            assert component["properties"]


def test_of_two_versions_the_image_s_python_decides(bills: dict[str, str]) -> None:
    lock = (ROOT / "requirements" / "worker.txt").read_text()
    (newer,) = re.findall(r"^numpy==(\S+) ; python_full_version >= '3.12'", lock, re.MULTILINE)
    assert versions(bills["worker"])["numpy"] == newer


@pytest.mark.parametrize("image", IMAGES)
def test_every_package_has_a_licence_and_is_there_for_a_reason(bills: dict[str, str], image: str) -> None:
    bill: dict[str, Any] = json.loads(bills[image])
    assert [component["name"] for component in bill["components"] if not component.get("licenses")] == []
    needed = {need for entry in bill["dependencies"] for need in entry.get("dependsOn", ())}
    assert needed == {component["bom-ref"] for component in bill["components"]}
