"""Obtains the programs of a control plane for tests: from KUBE_BIN_DIR, the cache, their releases, or built with Go.

    python k8s/tools/kube_tools.py            obtain what is missing, say where it is
    python k8s/tools/kube_tools.py --where    print the folder, or fail at once when the set is not complete

Knows in which order to look; the versions are toolset's, the work is releases' and go_build's.
"""

# ruff: noqa: T201, TID251 -- a command: it prints its answer, and the environment is its input

from __future__ import annotations

import argparse
import fcntl
import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

from progress import Failed, step
from toolset import TOOLS, Tool, set_name

RECORD = "versions.txt"  # written last: a folder that holds it is complete


def main(arguments: list[str], env: Mapping[str, str]) -> int:
    options = parse(arguments)
    try:
        folder = given_folder(env) or cached_folder(env)
        if not complete(folder):
            if options.where:
                raise Failed("the control-plane programs are not here", "make kube-tools")
            obtain(folder, options.source, env)
    except Failed as exc:
        print(exc, file=sys.stderr)
        return 1
    print(
        folder if options.where else f"{folder}\n{(folder / RECORD).read_text() if (folder / RECORD).exists() else ''}"
    )
    return 0


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Obtain the programs of a Kubernetes control plane for tests.")
    parser.add_argument("--where", action="store_true", help="print the folder that holds them; obtain nothing")
    parser.add_argument(
        "--from", dest="source", choices=("download", "build"), help="do not choose by what is reachable"
    )
    return parser.parse_args(arguments)


def given_folder(env: Mapping[str, str]) -> Path | None:
    """The folder that the user names; raises Failed when a program is missing there."""
    if not env.get("KUBE_BIN_DIR"):
        return None
    folder = Path(env["KUBE_BIN_DIR"]).expanduser()
    missing = [tool.name for tool in TOOLS if not os.access(folder / tool.name, os.X_OK)]
    if missing:
        raise Failed(f"KUBE_BIN_DIR={folder} has no {', '.join(missing)}", "add them, or unset KUBE_BIN_DIR")
    return folder


def cached_folder(env: Mapping[str, str]) -> Path:
    return cache(env) / set_name()


def cache(env: Mapping[str, str]) -> Path:
    return Path(env.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "iris-kube-tools"


def complete(folder: Path) -> bool:
    return (folder / RECORD).exists() or all(os.access(folder / tool.name, os.X_OK) for tool in TOOLS)


def obtain(folder: Path, source: str | None, env: Mapping[str, str]) -> None:
    """Fill `folder`; a second call beside this one waits for it instead of doing the same work."""
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if complete(folder):
            return
        make = maker(source, cache(env), env)
        for number, tool in enumerate(TOOLS, 1):
            place(tool, folder, f"[{number}/{len(TOOLS)}] {tool.name} {tool.version}", make)
        (folder / RECORD).write_text("".join(f"{tool.name} {tool.version}\n" for tool in TOOLS))


def maker(source: str | None, cache_folder: Path, env: Mapping[str, str]) -> Callable[[Tool, Path], None]:
    """How a program is made here: downloaded where the releases are reachable, else built."""
    # Here because importing them takes longer than all the rest when nothing is to be done.
    import go_build
    import releases

    if source == "download" or (source is None and releases.reachable()):
        print("downloading released programs", file=sys.stderr)
        return releases.download
    go_build.check_space(cache_folder)
    with step("finding Go"):
        go = go_build.find_go(cache_folder)
    print(f"building with {go} at low priority: half an hour on two cores, once", file=sys.stderr)
    return lambda tool, target: go_build.build(tool, target, go, env)


def place(tool: Tool, folder: Path, title: str, make: Callable[[Tool, Path], None]) -> None:
    """Make one program unless it is there; under its own name it is always whole."""
    target, partial = folder / tool.name, folder / f".{tool.name}.partial"
    if target.exists():
        return
    with step(title):
        make(tool, partial)
        partial.chmod(0o755)
        partial.rename(target)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:], os.environ))
