"""Renders a chart with the real helm, and finds things in what comes out. Judges nothing."""

from __future__ import annotations

import copy
import json
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

Object = dict[str, Any]
NAMESPACE = "flowers"


@dataclass(frozen=True)
class Chart:
    """One chart and the helm that renders it; values are given as a mapping."""

    helm: Path
    folder: Path
    _rendered: dict[tuple[str, str], list[Object]] = field(default_factory=dict)

    def render(self, values: Mapping[str, Any] | None = None, release: str = "iris") -> list[Object]:
        """Every object, the test's too; fails the test when helm refuses. The same values are rendered once."""
        key = (release, json.dumps(values or {}, sort_keys=True))
        if key not in self._rendered:
            done = self._template(values or {}, release)
            assert done.returncode == 0, done.stderr
            self._rendered[key] = [found for found in yaml.load_all(done.stdout, yaml.CSafeLoader) if found]
        return copy.deepcopy(self._rendered[key])

    def notes(self, values: Mapping[str, Any]) -> str:
        """What an installation with these values tells its user."""
        command: Sequence[str | Path] = [
            self.helm, "install", "iris", self.folder, "--namespace", NAMESPACE, "--values", "-", "--dry-run=client",
        ]  # fmt: skip
        done = subprocess.run(
            command, input=json.dumps(values), capture_output=True, text=True, timeout=60, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout.partition("\nNOTES:\n")[2]

    def lint(self, values: Mapping[str, Any]) -> str:
        """What helm has to say against the chart itself, with these values."""
        command: Sequence[str | Path] = [self.helm, "lint", "--strict", self.folder, "--values", "-"]
        done = subprocess.run(
            command, input=json.dumps(values), capture_output=True, text=True, timeout=60, check=False
        )
        return done.stdout if done.returncode else ""

    def refusal(self, values: Mapping[str, Any]) -> str:
        """Why helm refuses these values; fails the test when it does not."""
        done = self._template(values, "iris")
        assert done.returncode != 0, "helm did not refuse"
        return done.stderr

    def _template(self, values: Mapping[str, Any], release: str) -> subprocess.CompletedProcess[str]:
        command: Sequence[str | Path] = [
            self.helm, "template", release, self.folder, "--namespace", NAMESPACE, "--values", "-",
            "--kube-version", "1.36.0",  # else of the cluster that helm was built for, which ours may not know
        ]  # fmt: skip
        return subprocess.run(
            command, input=json.dumps(values), capture_output=True, text=True, timeout=60, check=False
        )


def commands(notes: str) -> list[str]:
    """The lines of notes that are there to be pasted."""
    return [line.strip() for line in notes.splitlines() if line.startswith(("  kubectl ", "  helm ", "  curl "))]


def of_kind(objects: Sequence[Object], kind: str) -> list[Object]:
    return [found for found in objects if found["kind"] == kind]


def one(objects: Sequence[Object], kind: str, name: str) -> Object:
    (found,) = [found for found in of_kind(objects, kind) if found["metadata"]["name"] == name]
    return found


def pods(objects: Sequence[Object]) -> Iterator[tuple[str, Object]]:
    """Every pod that may come to be: the name of who makes it, its metadata and spec."""
    for found in objects:
        if found["kind"] == "Pod":
            yield found["metadata"]["name"], {"metadata": found["metadata"], "spec": found["spec"]}
        elif found["kind"] in ("Deployment", "StatefulSet"):
            yield found["metadata"]["name"], found["spec"]["template"]


def environment(pod: Object) -> dict[str, str]:
    """Of a pod's one container; what comes from elsewhere is made up."""
    (container,) = pod["spec"]["containers"]
    return {item["name"]: item.get("value", "redis://from-elsewhere:6379/0") for item in container.get("env", ())}
