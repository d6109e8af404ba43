"""Writes what each image holds beyond its base image, as a CycloneDX bill of materials: `sbom.py FOLDER`.

Made from the hash-locked requirements that the image is installed from, so it needs no image and comes out the same
every time; tests/containers hold it against what the images really hold. Licences are those that the packages declare.
It says nothing of the base image's own content (Python, Debian's packages): that is for the base image's makers to say.
"""

# ruff: noqa: T201 -- a command: it prints what it wrote

from __future__ import annotations

import importlib.metadata
import re
import sys
import tomllib
import uuid
from dataclasses import dataclass
from pathlib import Path

from cyclonedx.contrib.license.factories import LicenseFactory
from cyclonedx.model import Property
from cyclonedx.model.bom import Bom
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.model.license import License
from cyclonedx.output.json import JsonV1Dot6
from packageurl import PackageURL
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[1]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
IMAGES = ("api", "api-inline", "worker", "operator")
HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")


@dataclass(frozen=True)
class Pinned:
    """One line of a lock that holds for the image: the package, and the files of it that may be installed."""

    name: str
    version: str
    sha256: tuple[str, ...]


def base_image() -> str:
    """What the Dockerfile builds on when nobody pins it."""
    found = re.search(r"^ARG BASE=(\S+)", (ROOT / "Dockerfile").read_text(), re.MULTILINE)
    assert found, "the Dockerfile no longer has an ARG BASE"
    return found[1]


def image_environment() -> dict[str, str]:
    """The values that markers see inside an image: they, not this machine's, decide what is installed there."""
    found = re.search(r":(\d+\.\d+)", base_image())
    assert found, "the base image's tag names no Python version"
    return {
        "implementation_name": "cpython",
        "os_name": "posix",
        "platform_python_implementation": "CPython",
        "platform_system": "Linux",
        "python_full_version": f"{found[1]}.99",
        "python_version": found[1],
        "sys_platform": "linux",
        "extra": "",
    }


def locked(image: str) -> list[Pinned]:
    """What is installed into an image from its lock, by name."""
    entries = (ROOT / "requirements" / f"{image}.txt").read_text().replace("\\\n", " ").splitlines()
    return [pinned for entry in entries if (pinned := installed(entry)) is not None]


def installed(entry: str) -> Pinned | None:
    """One entry of a lock; None when its marker keeps it out of the images."""
    requirement = Requirement(entry.partition(" --hash=")[0].strip())
    if requirement.marker and not requirement.marker.evaluate(image_environment()):
        return None
    (version,) = requirement.specifier
    return Pinned(canonicalize_name(requirement.name), version.version, tuple(HASH.findall(entry)))


def our_extras(image: str) -> set[str]:
    """Those of ours that an image is installed with: all that they ask for is in its lock (requirements/lock.sh)."""
    there = {pinned.name for pinned in locked(image)}
    found = set()
    for extra, lines in PROJECT["optional-dependencies"].items():
        needs = [
            need for need in map(Requirement, lines) if not need.marker or need.marker.evaluate(image_environment())
        ]
        if {canonicalize_name(need.name) for need in needs} <= there:
            found.add(extra)
    return found


def asked(image: str) -> dict[str, set[str]]:
    """What each package asks for inside an image, found by walking from ours: package to names.

    The developer's environment has them all. An extra counts for its package once anybody on the way asks for it.
    """
    extras: dict[str, set[str]] = {PROJECT["name"]: {"", *our_extras(image)}}
    names: dict[str, set[str]] = {}
    todo = [PROJECT["name"]]
    while todo:
        name = todo.pop()
        names[name] = set()
        for requirement in map(Requirement, importlib.metadata.requires(name) or ()):
            environments = [{**image_environment(), "extra": extra} for extra in extras[name]]
            if requirement.marker and not any(requirement.marker.evaluate(env) for env in environments):
                continue
            need = canonicalize_name(requirement.name)
            names[name].add(need)
            wanted = {"", *requirement.extras}
            if not wanted <= extras.get(need, set()):
                extras[need] = extras.get(need, set()) | wanted
                todo.append(need)
    return names


def licenses(name: str) -> list[License]:
    """What the package declares: an SPDX expression where it is new enough, else its own words."""
    about = importlib.metadata.metadata(name).json
    text = str(about.get("license_expression") or about.get("license") or "")
    classified = [line.rpartition(" :: ")[2] for line in about.get("classifier", ()) if line.startswith("License ::")]
    if not text or "\n" in text:
        text = " AND ".join(classified)
    return [LicenseFactory().make_from_string(text)] if text else []


def library(name: str, version: str, sha256: tuple[str, ...] = ()) -> Component:
    purl = PackageURL("pypi", name=name, version=version)
    return Component(
        type=ComponentType.LIBRARY,
        name=name,
        version=version,
        purl=purl,
        bom_ref=str(purl),
        licenses=licenses(name),
        properties=[Property(name="iris:installable-sha256", value=value) for value in sha256],
    )


def bill(image: str) -> Bom:
    """The whole bill of one image."""
    name, version = PROJECT["name"], PROJECT["version"]
    root = Component(
        type=ComponentType.CONTAINER,
        name=f"iris-{image}",
        version=version,
        bom_ref=f"iris-{image}@{version}",
        licenses=[LicenseFactory().make_from_string(PROJECT["license"])],
        properties=[Property(name="iris:base-image", value=base_image())],
    )
    ours = library(name, version)
    components = {pinned.name: library(pinned.name, pinned.version, pinned.sha256) for pinned in locked(image)}
    made = Bom(components=[ours, *components.values()])
    made.metadata.component = root
    made.metadata.timestamp = None  # type: ignore[assignment]  # the same input gives the same bytes
    made.register_dependency(root, [ours])
    components[name] = ours
    for package, needs in asked(image).items():
        made.register_dependency(components[package], [components[need] for need in sorted(needs)])
    return made


def text(image: str) -> str:
    made = bill(image)
    made.serial_number = uuid.UUID(int=0)
    first = JsonV1Dot6(made).output_as_string(indent=2)
    made.serial_number = uuid.uuid5(uuid.NAMESPACE_OID, first)  # of the content: another content, another number
    return JsonV1Dot6(made).output_as_string(indent=2) + "\n"


def main(folder: Path) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for image in IMAGES:
        path = folder / f"iris-{image}-{PROJECT['version']}.cdx.json"
        path.write_text(text(image))
        print(path)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
