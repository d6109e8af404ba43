"""The workflows of .github: valid, pinned, with no right too many, and doing nothing that a developer cannot type."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
import yaml

ROOT = Path(__file__).parents[2]
FOLDER = ROOT / ".github" / "workflows"
WORKFLOWS: dict[str, Any] = {path.name: yaml.safe_load(path.read_text()) for path in sorted(FOLDER.iterdir())}
TARGETS = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
STEPS = [
    pytest.param(step, id=f"{name}-{job}-{number}")
    for name, workflow in WORKFLOWS.items()
    for job, body in workflow["jobs"].items()
    for number, step in enumerate(body.get("steps", [body]))
]
OURS = "uses: ./.github/workflows/ci.yml"  # this repository's, at the commit that runs

# What only a runner has to do, word for word: everything else is a make target.
BESIDE_MAKE = {
    'printenv TOKEN | docker login "${REGISTRY%%/*}" --username "$LOGIN" --password-stdin',
    'gh release create "$GITHUB_REF_NAME" --verify-tag --notes-file dist/notes.md dist/iris* dist/SHA256SUMS',
}


DEPENDABOT = ROOT / ".github" / "dependabot.yml"


def zizmor(*places: Path) -> subprocess.CompletedProcess[str]:
    command = [ROOT / ".venv" / "bin" / "zizmor", "--offline", "--persona=auditor", "--no-progress", *places]
    return subprocess.run(command, capture_output=True, text=True)


def test_there_are_three() -> None:
    assert list(WORKFLOWS) == ["ci.yml", "release.yml", "weekly.yml"]


def test_the_long_tests_are_run_by_somebody() -> None:
    weekly = WORKFLOWS["weekly.yml"]
    assert weekly[True]["schedule"]  # YAML's word for "on"
    assert any("IRIS_LONG_TESTS=1" in step.get("run", "") for step in weekly["jobs"]["long"]["steps"])
    assert 'os.environ.get("IRIS_LONG_TESTS") == "1"' in (ROOT / "tests" / "cluster" / "operated.py").read_text()


@pytest.mark.parametrize(
    ("schema", "files"), [("github-workflows", sorted(FOLDER.iterdir())), ("dependabot", [DEPENDABOT])]
)
def test_they_are_what_github_s_schema_allows(schema: str, files: list[Path]) -> None:
    command = [ROOT / ".venv" / "bin" / "check-jsonschema", "--builtin-schema", f"vendor.{schema}"]
    done = subprocess.run([*command, *files], capture_output=True, text=True)
    assert done.returncode == 0, done.stdout


def test_zizmor_finds_nothing() -> None:
    done = zizmor(FOLDER, DEPENDABOT)
    assert done.returncode == 0, done.stdout


def test_zizmor_finds_what_it_is_for(tmp_path: Path) -> None:
    workflow = FOLDER.joinpath("ci.yml").read_text().replace("make check", 'echo "${{ github.head_ref }}"')
    (tmp_path / ".github" / "workflows").mkdir(parents=True)
    (tmp_path / ".github" / "workflows" / "ci.yml").write_text(workflow)
    done = zizmor(tmp_path)
    assert done.returncode != 0
    assert "template-injection" in done.stdout


@pytest.mark.parametrize("path", sorted(FOLDER.iterdir()), ids=lambda path: path.name)
def test_every_action_is_pinned_by_its_commit_and_says_its_version(path: Path) -> None:
    lines = re.findall(r"^.*\buses: .*$", path.read_text(), re.MULTILINE)
    assert lines
    for line in lines:
        pinned = re.search(r"uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$", line)
        assert pinned or OURS in line, line


@pytest.mark.parametrize("step", STEPS)
def test_a_step_uses_an_action_or_runs_a_make_target_that_exists(step: dict[str, Any]) -> None:
    if "uses" in step:
        assert "run" not in step
        return
    if step["run"] in BESIDE_MAKE:
        return
    program, *words = step["run"].removeprefix("sudo ").split()
    targets = {word for word in words if "=" not in word}
    assert program == "make"
    assert targets
    assert targets <= TARGETS


def test_ci_here_and_on_github_run_the_same() -> None:
    here = set(re.findall(r"^make ([a-z0-9-]+)", (ROOT / ".ci" / "run").read_text(), re.MULTILINE))
    there = set(re.findall(r"\bmake ([a-z0-9-]+)", (FOLDER / "ci.yml").read_text()))
    assert here <= there
    assert there - here == {"e2e"}  # needs Docker and kind


def test_nobody_has_a_right_that_the_job_does_not_name_and_only_the_release_may_write() -> None:
    for name, workflow in WORKFLOWS.items():
        assert workflow["permissions"] == {}
        for job, body in workflow["jobs"].items():
            granted = body["permissions"]
            assert granted == {"contents": "read"} or (name, job) == ("release.yml", "publish"), (name, job)
    publish = WORKFLOWS["release.yml"]["jobs"]["publish"]
    assert publish["permissions"] == {"contents": "write", "id-token": "write", "attestations": "write"}
    assert publish["needs"] == "ci"
    assert publish["environment"] == "release"


def test_no_checkout_leaves_its_token_behind() -> None:
    checkouts = [step.values[0] for step in STEPS if "actions/checkout" in str(step.values[0].get("uses"))]  # type: ignore[union-attr]
    assert len(checkouts) >= 4
    assert all(checkout["with"] == {"persist-credentials": False} for checkout in checkouts)


@pytest.mark.parametrize(
    ("env", "told"),
    [
        ({"REGISTRY": ""}, "REGISTRY names no registry"),
        ({"REGISTRY": "registry.example.com/team", "GITHUB_REF_NAME": "v99.0.0"}, "The tag is v99.0.0"),
    ],
)
def test_nothing_is_published_nowhere_or_under_another_version(env: dict[str, str], told: str) -> None:
    done = subprocess.run([ROOT / ".ci" / "publish"], env={**os.environ, **env}, capture_output=True, text=True)
    assert done.returncode == 1
    assert told in done.stderr
