"""How the control plane's programs are obtained: what is downloaded is checked, what is there is not fetched again."""

from __future__ import annotations

import hashlib
import importlib
import io
import re
import subprocess
import sys
import tarfile
import threading
from collections.abc import Callable, Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

from cluster import choice

PROGRAM = b"#!/bin/sh\necho a program\n"
DIGEST = hashlib.sha256(PROGRAM).hexdigest()
NAMES = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "kwok", "helm")


@pytest.fixture
def module(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], Any]:
    """Imports from k8s/tools, which is a script's folder and no package."""
    monkeypatch.syspath_prepend(str(choice.KUBE_TOOLS.parent))
    return importlib.import_module


@pytest.fixture
def pages(tmp_path: Path) -> Iterator[tuple[Path, str]]:
    """A release page: the folder to put files in, and its address."""
    folder = tmp_path / "pages"
    folder.mkdir()
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=str(folder))) as server:
        threading.Thread(target=server.serve_forever).start()
        yield folder, f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def run(*arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, choice.KUBE_TOOLS, *arguments], env=env, capture_output=True, text=True)


def fill(folder: Path, names: tuple[str, ...]) -> None:
    for name in names:
        (folder / name).write_bytes(PROGRAM)
        (folder / name).chmod(0o755)


@pytest.mark.parametrize(
    "published",
    [
        DIGEST + "\n",
        f"{'0' * 64}  other-linux-amd64\n{DIGEST}  kwok-linux-amd64\n",
        f"{DIGEST} *kwok-linux-amd64\n",
        f'[{{"name": "kwokctl-linux-amd64", "digest": "sha256:{"0" * 64}"}},'
        f'{{"name": "kwok-linux-amd64", "size": 1, "digest": "sha256:{DIGEST}"}}]',
    ],
)
def test_a_checksum_is_read_in_the_shape_that_each_project_publishes(
    module: Callable[[str], Any], published: str
) -> None:
    assert module("releases").published_digest(published, "kwok-linux-amd64") == DIGEST


@pytest.mark.parametrize("published", ["", "<html>not found</html>", f"{DIGEST}  kwokctl-linux-amd64\n"])
def test_a_file_without_a_published_checksum_is_not_used(module: Callable[[str], Any], published: str) -> None:
    with pytest.raises(module("progress").Failed, match="no SHA-256 is published"):
        module("releases").published_digest(published, "kwok-linux-amd64")


def test_a_released_program_is_written_when_it_is_the_published_one(
    module: Callable[[str], Any], pages: tuple[Path, str], tmp_path: Path
) -> None:
    folder, address = pages
    (folder / "tool").write_bytes(PROGRAM)
    (folder / "tool.sha256").write_text(DIGEST)
    tool = module("toolset").Tool("tool", "kwok", "package", address + "tool", address + "tool.sha256")
    module("releases").download(tool, tmp_path / "tool")
    assert (tmp_path / "tool").read_bytes() == PROGRAM


def test_a_program_is_taken_out_of_a_released_archive(
    module: Callable[[str], Any], pages: tuple[Path, str], tmp_path: Path
) -> None:
    folder, address = pages
    with tarfile.open(folder / "helm.tar.gz", "w:gz") as archive:
        member = tarfile.TarInfo("linux-amd64/helm")
        member.size = len(PROGRAM)
        archive.addfile(member, io.BytesIO(PROGRAM))
    packed = hashlib.sha256((folder / "helm.tar.gz").read_bytes()).hexdigest()
    (folder / "sums").write_text(f"{packed}  helm.tar.gz\n")
    tool = module("toolset").Tool("helm", "helm", "package", address + "helm.tar.gz", address + "sums")
    module("releases").download(tool, tmp_path / "helm")
    assert (tmp_path / "helm").read_bytes() == PROGRAM


def test_a_swapped_program_is_refused_and_not_kept(
    module: Callable[[str], Any], pages: tuple[Path, str], tmp_path: Path
) -> None:
    folder, address = pages
    (folder / "tool").write_bytes(PROGRAM + b"and more")
    (folder / "tool.sha256").write_text(DIGEST)
    tool = module("toolset").Tool("tool", "kwok", "package", address + "tool", address + "tool.sha256")
    with pytest.raises(module("progress").Failed, match="is not the file whose SHA-256"):
        module("releases").download(tool, tmp_path / "tool")
    assert not (tmp_path / "tool").exists()


def test_the_folder_that_the_user_names_is_used(tmp_path: Path) -> None:
    fill(tmp_path, NAMES)
    assert run("--where", KUBE_BIN_DIR=str(tmp_path)).stdout.strip() == str(tmp_path)


def test_a_program_that_the_named_folder_lacks_is_named(tmp_path: Path) -> None:
    fill(tmp_path, NAMES[:-1])
    done = run(KUBE_BIN_DIR=str(tmp_path))
    assert done.returncode == 1
    assert "has no helm" in done.stderr
    assert "remedy:" in done.stderr


def test_a_complete_cache_is_left_alone(module: Callable[[str], Any], tmp_path: Path) -> None:
    toolset, cache = module("toolset"), tmp_path / "iris-kube-tools"
    folders = {cache / toolset.set_name(): NAMES}
    folders |= {cache / toolset.name_of_more(tool): (tool.name,) for tool in toolset.MORE}
    for folder, names in folders.items():
        folder.mkdir(parents=True)
        fill(folder, names)
    assert run(XDG_CACHE_HOME=str(tmp_path)).returncode == 0
    for folder, names in folders.items():
        assert sorted(path.name for path in folder.iterdir()) == sorted(names)
        assert str(folder) in run("--where", "helm3", XDG_CACHE_HOME=str(tmp_path)).stdout or names == NAMES


def test_a_program_beside_the_set_that_is_not_there_is_named(tmp_path: Path) -> None:
    done = run("--where", "helm3", XDG_CACHE_HOME=str(tmp_path))
    assert (done.returncode, done.stderr.splitlines()) == (1, ["helm3 is not here", "  remedy: make kube-tools"])


def test_what_is_beside_the_set_does_not_change_its_name(module: Callable[[str], Any]) -> None:
    toolset = module("toolset")
    assert {path.parent.name for path in toolset.MODULES.glob("*/go.*")} == {tool.wrapper for tool in toolset.TOOLS}


def test_every_module_of_kubernetes_is_pinned_to_the_same_release(module: Callable[[str], Any]) -> None:
    release = module("toolset").required_version("kubernetes")
    go_mod = (module("toolset").MODULES / "kubernetes" / "go.mod").read_text()
    pinned = re.findall(r"^replace (k8s\.io/\S+) => \1 (\S+)$", go_mod, re.MULTILINE)
    assert len(pinned) > 30
    assert {version for _, version in pinned} == {release.replace("v1.", "v0.", 1)}


def test_the_programs_are_of_a_supported_kubernetes(module: Callable[[str], Any]) -> None:
    assert module("toolset").required_version("kubernetes") >= "v1.36"


@pytest.mark.parametrize(
    ("errors", "advice"),
    [
        ("link: no space left on device", "free 8 GB"),
        ("link: signal: killed", "3 GB of memory"),
        ("verifying module: checksum mismatch", "do not use it"),
        ("dial tcp: i/o timeout", "GOPROXY"),
    ],
)
def test_a_failed_build_names_its_remedy(module: Callable[[str], Any], errors: str, advice: str) -> None:
    assert advice in module("go_build").remedy(errors)
