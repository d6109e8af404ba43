"""Builds the images once and runs compose.yaml on them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from engine import ROOT, TAG, Compose, Images, docker_answers, output
from servers import free_port

NO_ENGINE = 69  # .ci/images: nothing here can build an image


@pytest.fixture(scope="session")
def images() -> Iterator[Images]:
    built = subprocess.run([".ci/images"], cwd=ROOT, env={**os.environ, "TAG": TAG}, capture_output=True, text=True)
    if built.returncode == NO_ENGINE:
        (pytest.fail if os.environ.get("CI") else pytest.skip)(f"IMAGES NOT TESTED: {built.stderr.strip()}")
    assert built.returncode == 0, built.stdout[-4000:] + built.stderr[-4000:]
    images = Images("docker" if docker_answers() else "podman")
    yield images
    output(
        images.engine, "image", "rm", *(images.name(target) for target in ("api", "api-inline", "worker", "operator"))
    )


@pytest.fixture(scope="session")
def compose(images: Images) -> Iterator[Compose]:
    """API, worker and recovery of compose.yaml, and the Valkey they had to wait for. Prometheus stays out."""
    tools = Path.home() / ".cache" / "iris-images" / "compose" / "bin" / "podman-compose"
    command = ["docker", "compose"] if images.engine == "docker" else [str(tools)]
    port = free_port()
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=15) as client:
        compose = Compose(images.engine, command, {"TAG": TAG, "PORT": str(port)}, client)
        try:
            compose("up", "-d", "--no-build", "--no-deps", "api", "worker", "recovery")
            compose.readiness_without_valkey = compose.wait_for("/readyz", 503)
            compose("up", "-d", "--no-build", "valkey")
            compose.wait_for("/readyz", 200)
            compose.wait_for_worker()
            yield compose
        finally:
            compose("down", "-v", "-t", "2")
