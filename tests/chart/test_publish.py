"""`make publish`: the chart that is pushed names the images that were pushed, and was made after them.

Real: .ci/publish, git, helm but for its push. Docker and the registry are a script that writes down what it is asked.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tarfile
from dataclasses import dataclass
from hashlib import sha256
from pathlib import Path

import pytest
import yaml

from chart.rendering import Chart, environment, one, pods

ROOT = Path(__file__).parents[2]
REGISTRY = "registry.example.com/team"
OURS = ("iris-api", "iris-api-inline", "iris-worker", "iris-operator")
DOCKER = """#!/usr/bin/env bash
# Knows images by their names: an image's digest is that of its name.
echo "docker $*" >>"$ASKED"
digest() { printf %s "$1" | sha256sum | cut -c 1-64; }
case "$1 $2" in
    "image inspect")
        name=${!#}
        case "$*" in
            *RepoDigests*) printf '%s\n' "a.example.com/x@sha256:$(digest x)" "${name%:*}@sha256:$(digest "$name")" ;;
            *revision*) git rev-parse HEAD ;;
        esac ;;
    "pull --quiet") [ "${UNREACHABLE:-}" != "$3" ] ;;
esac
"""
HELM = """#!/usr/bin/env bash
echo "helm $1 ${3:-}" >>"$ASKED"
[ "$1" = push ] || exec {helm} "$@"
cp "$2" "$PUSHED"
"""


@dataclass(frozen=True)
class Publisher:
    """A repository with a released changelog, and what stands in for Docker and the registry."""

    folder: Path
    env: dict[str, str]

    def publish(self, **env: str) -> subprocess.CompletedProcess[str]:
        command = [self.folder / "repository" / ".ci" / "publish"]
        return subprocess.run(
            command, env={**self.env, **env}, capture_output=True, text=True, timeout=120, check=False
        )

    def asked(self) -> list[str]:
        return (self.folder / "asked").read_text().splitlines()


@pytest.fixture
def publisher(chart: Chart, tmp_path: Path) -> Publisher:
    repository, programs = tmp_path / "repository", tmp_path / "programs"
    for name in (".ci", "charts/iris", "k8s/tools"):
        shutil.copytree(ROOT / name, repository / name, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "pyproject.toml", repository)
    (repository / "CHANGELOG.md").write_text(f"# Changelog\n\n## {version()} (2026-01-01)\n\n- It can be had.\n")
    (repository / ".gitignore").write_text("dist/\n.venv\n__pycache__/\n")
    git(repository, "init", "--quiet")
    git(repository, "add", "--all")
    git(repository, "commit", "--quiet", "--message", "all")
    (repository / ".venv").symlink_to(ROOT / ".venv")

    programs.mkdir()
    for program in chart.helm.parent.iterdir():
        (programs / program.name).symlink_to(program)
    (programs / "helm").unlink()
    for name, text in (("helm", HELM.replace("{helm}", str(chart.helm))), ("docker", DOCKER)):
        (programs / name).write_text(text)
        (programs / name).chmod(0o755)
    env = {
        "PATH": f"{programs}:{os.environ['PATH']}", "HOME": str(tmp_path), "KUBE_BIN_DIR": str(programs),
        "REGISTRY": REGISTRY, "ASKED": str(tmp_path / "asked"), "PUSHED": str(tmp_path / "pushed.tgz"),
    }  # fmt: skip
    return Publisher(tmp_path, env)


def git(folder: Path, *arguments: str) -> None:
    who = ("-c", "user.name=test", "-c", "user.email=test@example.com")
    subprocess.run(["git", *who, *arguments], cwd=folder, check=True)


def version() -> str:
    return str(yaml.safe_load((ROOT / "charts" / "iris" / "Chart.yaml").read_text())["version"])


def digest(name: str) -> str:
    """As the stand-in has it."""
    return f"sha256:{sha256(name.encode()).hexdigest()}"


def test_the_chart_that_is_pushed_names_each_image_by_the_digest_under_which_it_was_pushed(
    chart: Chart, publisher: Publisher
) -> None:
    done = publisher.publish()
    assert done.returncode == 0, done.stderr
    theirs, usual = {"image": {"registry": REGISTRY}}, yaml.safe_load((chart.folder / "values.yaml").read_text())
    valkey = usual["valkey"]["image"]
    pushed = {f"{REGISTRY}/{name}": f"{REGISTRY}/{name}:{version()}" for name in OURS}
    names = {
        f"{image}@{digest(name)}"
        for image, name in (pushed | {valkey["repository"]: f"{valkey['repository']}:{valkey['tag']}"}).items()
    }

    published, images = Chart(chart.helm, publisher.folder / "pushed.tgz"), set()
    for values in ({}, {"operator": {"enabled": False}}, {"api": {"sync": "inline"}}):
        objects = published.render({**values, **theirs})
        images |= {pod["spec"]["containers"][0]["image"] for _, pod in pods(objects)}
        if "operator" not in values:
            operator = one(objects, "Deployment", "iris-operator")
            images.add(environment(operator["spec"]["template"])["IRIS_WORKER_IMAGE"])
    assert images == names
    listed = (publisher.folder / "repository" / "dist" / f"iris-images-{version()}.txt").read_text().split()
    assert set(listed) == names


def test_nothing_else_is_changed_and_the_sums_are_of_what_was_pushed(chart: Chart, publisher: Publisher) -> None:
    assert publisher.publish().returncode == 0
    pushed, dist = publisher.folder / "pushed.tgz", publisher.folder / "repository" / "dist"
    with tarfile.open(pushed) as archive:
        for member in archive.getmembers():
            there = archive.extractfile(member)
            assert there is not None
            text, usual = there.read().decode(), (chart.folder.parent / member.name).read_text()
            if member.name == "iris/values.yaml":
                changed = [
                    (ours, theirs)
                    for ours, theirs in zip(usual.splitlines(), text.splitlines(), strict=True)
                    if ours != theirs
                ]
                assert len(changed) == len(OURS) + 1
                assert all(re.match(r'    (d|inlineD)igest: ""', ours) for ours, _ in changed)
                assert all(re.match(r"    (d|inlineD)igest: sha256:", theirs) for _, theirs in changed)
            elif member.name != "iris/Chart.yaml":  # which helm writes anew
                assert text == usual, member.name
    assert f"{sha256(pushed.read_bytes()).hexdigest()}  iris-{version()}.tgz" in (dist / "SHA256SUMS").read_text()

    command = [
        publisher.folder / "repository" / ".ci" / "chart",
        publisher.folder / "again",
        dist / f"iris-images-{version()}.txt",
    ]
    subprocess.run(command, env=publisher.env, check=True, capture_output=True)
    (again,) = (publisher.folder / "again").iterdir()
    assert again.read_bytes() == pushed.read_bytes(), "whoever has commit and digests can make it himself"


def test_the_chart_is_pushed_last(publisher: Publisher) -> None:
    assert publisher.publish().returncode == 0
    pushes = [line for line in publisher.asked() if " push " in line]
    assert pushes == [
        *(f"docker push --quiet {REGISTRY}/{name}:{version()}" for name in OURS),
        f"helm push oci://{REGISTRY}/charts",
    ]


def test_nothing_is_pushed_when_valkey_s_digest_cannot_be_known(publisher: Publisher) -> None:
    values = yaml.safe_load((ROOT / "charts" / "iris" / "values.yaml").read_text())["valkey"]["image"]
    assert publisher.publish(UNREACHABLE=f"{values['repository']}:{values['tag']}").returncode != 0
    assert not [line for line in publisher.asked() if " push " in line]


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (("repository: iris-worker", "repository: iris-workers"), "no digest is known of iris-workers"),
        (('    digest: ""', "    digest: sha256:1"), "the values have no place for the digest of"),
        (("    inlineDigest", "    digestInline"), "the values have no place for the digest of"),
    ],
)
def test_a_chart_that_would_be_pinned_in_part_is_not_made(tmp_path: Path, change: tuple[str, str], said: str) -> None:
    values, images = tmp_path / "values.yaml", tmp_path / "images.txt"
    values.write_text(before := (ROOT / "charts" / "iris" / "values.yaml").read_text().replace(*change, 1))
    images.write_text(
        "".join(f"{name}@{digest(name)}\n" for name in ("valkey/valkey", *(f"{REGISTRY}/{name}" for name in OURS)))
    )
    command = [ROOT / ".venv" / "bin" / "python", ROOT / ".ci" / "pin.py", values, images]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert said in done.stderr
    assert values.read_text() == before
