"""Downloads a program from its project's own release page and checks it against the SHA-256 published beside it.

That checksum guards against a broken or swapped file, not against a taken-over release page; `go_build` pins by hash.
"""

# ruff: noqa: S310 -- every address is one of the https ones in toolset

from __future__ import annotations

import hashlib
import io
import re
import sys
import tarfile
import urllib.request
from pathlib import Path

from progress import Failed
from toolset import TOOLS, Tool

PROBE_SECONDS = 3  # long enough for a slow handshake, short enough not to be noticed before a build
READ_SECONDS = 60
RETRY = "run it again, or build instead: python k8s/tools/kube_tools.py --from build"


def reachable() -> bool:
    """Whether releases for this machine can be had from here."""
    kubectl = next(tool for tool in TOOLS if tool.name == "kubectl")
    probe = urllib.request.Request(kubectl.address(kubectl.checksum), method="HEAD")
    try:
        with urllib.request.urlopen(probe, timeout=PROBE_SECONDS):
            return sys.platform == "linux"
    except OSError:
        return False


def download(tool: Tool, target: Path) -> None:
    """Write the released program to `target`; raises Failed when it cannot be had or is not what was published."""
    address = tool.address(tool.release)
    content = fetch(address)
    expected = published_digest(fetch(tool.address(tool.checksum)).decode(), address.rpartition("/")[2])
    if hashlib.sha256(content).hexdigest() != expected:
        raise Failed(f"{address} is not the file whose SHA-256 was published ({expected})", RETRY)
    target.write_bytes(unpacked(content, tool.released_as or tool.name) if address.endswith(".tar.gz") else content)


def fetch(address: str) -> bytes:
    try:
        with urllib.request.urlopen(address, timeout=READ_SECONDS) as response:
            return bytes(response.read())
    except OSError as exc:
        raise Failed(f"{address}: {exc}", RETRY) from exc


def published_digest(text: str, file_name: str) -> str:
    """The SHA-256 of `file_name` in a bare checksum file, a list of checksums, or GitHub's JSON of a release."""
    bare = re.fullmatch(r"\s*([0-9a-f]{64})\s*", text)
    listed = re.search(rf"^([0-9a-f]{{64}})\s+\*?{re.escape(file_name)}$", text, re.MULTILINE)
    in_json = re.search(rf'"name":\s*"{re.escape(file_name)}".*?"digest":\s*"sha256:([0-9a-f]{{64}})"', text, re.DOTALL)
    found = bare or listed or in_json
    if not found:
        raise Failed(f"no SHA-256 is published for {file_name}", RETRY)
    return found[1]


def unpacked(archive: bytes, name: str) -> bytes:
    """The program `name` in a release archive, which holds it one folder deep."""
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        for member in files:
            content = files.extractfile(member) if member.name.rpartition("/")[2] == name else None
            if content:
                return content.read()
    raise Failed(f"the archive holds no {name}", RETRY)
