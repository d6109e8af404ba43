"""One release for the whole story, on the cluster that somebody has named."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from cluster import choice
from cluster.control_plane import ControlPlane
from cluster.kube import Kube, write_kubeconfig
from e2e.permission import OWN, NotAsked, ground
from e2e.sites import OwnSite, Site


def program(name: str) -> Path:
    """kubectl and helm: those of `make kube-tools`, else the user's own."""
    try:
        return choice.find_programs() / name
    except choice.NoCluster as exc:
        found = shutil.which(name)
        if found is None:
            raise pytest.fail.Exception(f"there is no {name} on the PATH, and {exc}", pytrace=False) from None
        return Path(found)


def current_context() -> str:
    if not os.environ.get("KUBECONFIG"):
        return ""
    return Kube(program("kubectl"), Path(os.environ["KUBECONFIG"]))("config", "current-context").strip()


@pytest.fixture(scope="session")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Site]:
    folder = tmp_path_factory.mktemp("e2e")
    try:
        where = ground(os.environ, current_context())
    except (NotAsked, choice.ForeignCluster) as exc:
        raise pytest.fail.Exception(str(exc), pytrace=False) from None
    yield from own_site(folder) if where == OWN else their_site(folder)


def own_site(folder: Path) -> Iterator[Site]:
    programs = program("kubectl").parent
    plane = ControlPlane(programs)
    site: Site | None = None
    try:
        plane.start()
        site = OwnSite.started(programs, plane, folder)
        yield site
    finally:
        if site is not None:
            site.close()
        plane.stop()


def their_site(folder: Path) -> Iterator[Site]:
    env = os.environ
    theirs = Kube(program("kubectl"), Path(env["KUBECONFIG"]))
    flat = json.loads(theirs("config", "view", "--minify", "--flatten", "--raw", "-o", "json"))
    kube = Kube(theirs.kubectl, write_kubeconfig(folder / "kubeconfig", flat))  # helm keeps its files beside it
    image = {"registry": env.get("IRIS_E2E_REGISTRY", ""), "tag": env.get("IRIS_E2E_TAG", "dev")}
    site = Site.new(program("helm"), kube, {"image": image})
    try:
        yield site
    finally:
        site.close()
