"""The images of this project and a running compose.yaml, for tests: on Docker, or on podman."""

from __future__ import annotations

import json
import os
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx

ROOT = Path(__file__).parents[1]
TAG = f"test-{os.getpid()}"
PROJECT = f"iris-{TAG}"


def output(*command: str | Path, env: dict[str, str] | None = None) -> str:
    """What the command prints; podman's remarks about systemd on stderr are left out."""
    done = subprocess.run(command, cwd=ROOT, env={**os.environ, **(env or {})}, capture_output=True, text=True)
    assert done.returncode == 0, f"{command}: {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-4000:]}"
    return done.stdout.strip()


@dataclass(frozen=True)
class Images:
    """The images iris-api, iris-api-inline, iris-worker and iris-operator of this run, and the engine that has them."""

    engine: str

    def name(self, target: str) -> str:
        return f"iris-{target}:{TAG}"

    def inspect(self, target: str) -> dict[str, Any]:
        described: list[dict[str, Any]] = json.loads(output(self.engine, "image", "inspect", self.name(target)))
        return described[0]

    def python(self, target: str, code: str) -> str:
        return output(self.engine, "run", "--rm", "--entrypoint", "python", self.name(target), "-c", code)


@dataclass
class Compose:
    """One project of compose.yaml: its own network, volume and port, beside any other."""

    engine: str
    command: list[str]
    env: dict[str, str]
    client: httpx.Client
    readiness_without_valkey: httpx.Response | None = None

    def __call__(self, *arguments: str) -> str:
        return output(*self.command, "-p", PROJECT, *arguments, env=self.env)

    def container(self, service: str) -> str:
        labels = {"project": PROJECT, "service": service}
        filters = [f"--filter=label=com.docker.compose.{name}={value}" for name, value in labels.items()]
        return output(self.engine, "ps", "--all", "--quiet", *filters)

    def exit_code(self, service: str) -> int:
        return int(output(self.engine, "inspect", "--format", "{{.State.ExitCode}}", self.container(service)))

    def python(self, service: str, code: str) -> str:
        return output(self.engine, "exec", self.container(service), "python", "-c", code)

    def wait_for(self, path: str, status: int, seconds: float = 60) -> httpx.Response:
        """The first answer with this status."""
        ends = time.monotonic() + seconds
        seen: httpx.Response | httpx.TransportError | None = None
        while time.monotonic() < ends:
            try:
                seen = self.client.get(path)
                if seen.status_code == status:
                    return seen
            except httpx.TransportError as exc:
                seen = exc
            time.sleep(0.1)
        raise AssertionError(f"{path} did not answer {status}: {getattr(seen, 'text', seen)}\n{self.logs()}")

    def wait_for_worker(self, starts: int = 1, seconds: float = 90) -> None:
        """Return once it has been ready so many times: /readyz speaks of the API, and on a busy machine it is later."""
        ends = time.monotonic() + seconds
        while self._said("worker").count('"worker ready"') < starts:
            assert time.monotonic() < ends, f"the worker was not ready {starts} times\n{self.logs()}"
            time.sleep(0.2)

    def _said(self, service: str) -> str:
        command = [self.engine, "logs", self.container(service)]
        return subprocess.run(command, capture_output=True, text=True).stderr

    def logs(self) -> str:
        return "\n".join(
            subprocess.run([self.engine, "logs", "--tail", "30", name], capture_output=True, text=True).stderr
            for name in map(self.container, ("api", "worker", "recovery", "valkey"))
            if name
        )


def docker_answers() -> bool:
    try:
        return subprocess.run(["docker", "info"], capture_output=True, timeout=30).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
