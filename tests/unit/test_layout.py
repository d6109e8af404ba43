"""What no linter sees: names that would shadow the standard library, and addresses that belong to one machine."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PACKAGES = [ROOT / "service" / "iris_service", ROOT / "operator" / "iris_operator"]

OF_ONE_MACHINE = re.compile(
    r"(?<![\w.~-])/(work|root|home|Users)/"
    r"|/tmp/(?!iris-)\w"  # README shows where `iris up` puts its socket
    r"|\b(extra[-_])?index[-_]url\b"
    r"|pypi[.]org|python[h]osted"
    r"|\b(docker|quay|ghcr|gcr|registry[.]k8s|azurecr)[.]io\b"
    r"|\bproxy[.]golang"
)


def tracked_files() -> list[Path]:
    names = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=True, text=True).stdout
    return [path for name in names.split("\0") if name and (path := ROOT / name).is_file()]


def texts() -> Iterator[tuple[Path, str]]:
    for path in tracked_files():
        try:
            yield path, path.read_text()
        except UnicodeDecodeError:
            continue


@pytest.mark.parametrize("shelf", ["operator", "service"])
def test_a_shelf_is_never_a_package(shelf: str) -> None:
    # with operator/__init__.py, `python -c` from the root dies inside collections, while plain pytest still passes
    assert not (ROOT / shelf / "__init__.py").exists()


def test_no_test_folder_is_a_package() -> None:
    # one named like a package of ours would be imported in its place
    assert list((ROOT / "tests").rglob("__init__.py")) == []


def test_the_standard_library_wins_at_the_root() -> None:
    subprocess.run([sys.executable, "-c", "import operator; operator.eq"], cwd=ROOT, check=True)


def test_no_module_is_named_like_one_of_the_standard_library() -> None:
    modules = {path.stem for package in PACKAGES for path in package.rglob("*.py")}
    assert len(modules) > 10
    assert modules & sys.stdlib_module_names == set()


@pytest.mark.parametrize("package", PACKAGES, ids=lambda path: path.name)
def test_a_package_says_that_it_is_typed(package: Path) -> None:
    assert (package / "py.typed").exists()


def test_no_file_names_a_package_index_a_registry_or_a_path_of_one_machine() -> None:
    found = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()[:100]}"
        for path, text in texts()
        for number, line in enumerate(text.splitlines(), 1)
        if OF_ONE_MACHINE.search(line)
    ]
    assert found == []


# In two pieces each, or the search would find its own test.
@pytest.mark.parametrize(
    "line",
    [
        "cd /work" + "/main",
        "--index" + "-url https://example.org",
        "FROM docker" + ".io/library/python",
        "cache=/root" + "/.cache",
        "out = '/tmp" + "/report'",
    ],
)
def test_the_search_finds_what_it_is_for(line: str) -> None:
    assert OF_ONE_MACHINE.search(line)
