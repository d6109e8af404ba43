"""Obtains the programs of a control plane for tests: from KUBE_BIN_DIR, the cache, their releases, or built with Go.

    python k8s/tools/kube_tools.py                  obtain what is missing, say where it is
    python k8s/tools/kube_tools.py --where          print the folder, or fail at once when the set is not complete
    python k8s/tools/kube_tools.py --where helm3    the same for a program beside the set

Knows in which order to look; the versions are toolset's, the work is releases' and go_build's.
"""

# ruff: noqa: T201, TID251 -- a command: it prints its answer, and the environment is its input

from __future__ import annotations

import argparse
import fcntl
import os
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from progress import Failed, step
from toolset import MORE, TOOLS, Tool, name_of_more, set_name

RECORD = "versions.txt"  # written last: a folder that holds it is complete
SET = "set"


def main(arguments: list[str], env: Mapping[str, str]) -> int:
    options = parse(arguments)
    try:
        if options.where:
            print(where(options.where, env))
            return 0
        given = given_folder(env)
        folders = {given: TOOLS} if given else {cached_folder(env): TOOLS} | {more(tool, env): (tool,) for tool in MORE}
        for folder, tools in folders.items():
            obtain(folder, tools, options.source, env)
    except Failed as exc:
        print(exc, file=sys.stderr)
        return 1
    for folder in folders:
        print(f"{folder}\n{(folder / RECORD).read_text() if (folder / RECORD).exists() else ''}", end="")
    return 0


def where(what: str, env: Mapping[str, str]) -> Path:
    """The folder that holds the set, or one program beside it; raises Failed when it is not there."""
    given = given_folder(env)
    if what == SET:
        folder, tools = given or cached_folder(env), TOOLS
    else:
        tools = tuple(tool for tool in MORE if tool.name == what)
        folder = given or more(tools[0], env)
    if not complete(folder, tools):
        raise Failed(f"{'the control-plane programs are' if what == SET else f'{what} is'} not here", "make kube-tools")
    return folder


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description="Obtain the programs of a Kubernetes control plane for tests.")
    names = [SET, *(tool.name for tool in MORE)]
    parser.add_argument(
        "--where", nargs="?", const=SET, choices=names, help="print the folder that holds them; obtain nothing"
    )
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


def more(tool: Tool, env: Mapping[str, str]) -> Path:
    return cache(env) / name_of_more(tool)


def cache(env: Mapping[str, str]) -> Path:
    return Path(env.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "iris-kube-tools"


def complete(folder: Path, tools: Sequence[Tool]) -> bool:
    return (folder / RECORD).exists() or all(os.access(folder / tool.name, os.X_OK) for tool in tools)


def obtain(folder: Path, tools: Sequence[Tool], source: str | None, env: Mapping[str, str]) -> None:
    """Fill `folder`; a second call beside this one waits for it instead of doing the same work."""
    if complete(folder, tools):
        return
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / ".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if complete(folder, tools):
            return
        make = maker(source, cache(env), env)
        for number, tool in enumerate(tools, 1):
            place(tool, folder, f"[{number}/{len(tools)}] {tool.name} {tool.version}", make)
        (folder / RECORD).write_text("".join(f"{tool.name} {tool.version}\n" for tool in tools))


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
    print(f"building with {go} at low priority: half an hour for all on two cores, once", file=sys.stderr)
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
