"""The article's own virtual environment, made once from hash-pinned requirements and kept under .iris/bench."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

ARTICLE = Path(__file__).parent / "article"


def article_environment(cache: Path, say: Callable[[str], None]) -> Path:
    """Return the folder of the environment with the trained forest in it, making both when they are missing."""
    requirements = ARTICLE / "requirements.txt"
    inputs = requirements.read_bytes() + (ARTICLE / "train.py").read_bytes() + sys.version.encode()
    folder = cache / f"article-{hashlib.sha256(inputs).hexdigest()[:12]}"
    forest = folder / "forest.pickle"
    if forest.exists():
        return folder
    say("article: making its environment")
    _run(sys.executable, "-m", "venv", "--clear", folder)
    say("article: installing Flask, gunicorn, RQ, pandas and scikit-learn")
    python = folder / "bin" / "python"
    _run(
        python, "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--require-hashes", "-r", requirements
    )
    say("article: training its forest")
    # named last: a folder with a forest is a whole one
    _run(python, ARTICLE / "train.py", folder / "forest.tmp")
    (folder / "forest.tmp").rename(forest)
    return folder


def versions(environment: Path) -> dict[str, str]:
    """Return the versions that decide the article's speed."""
    names = ("flask", "gunicorn", "rq", "redis", "scikit-learn", "pandas")
    code = f"from importlib.metadata import version\nfor name in {names}: print(name, version(name))"
    listed = subprocess.run([environment / "bin" / "python", "-c", code], capture_output=True, text=True, check=True)
    return dict(line.split() for line in listed.stdout.splitlines())


def _run(*command: str | Path) -> None:
    ended = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if ended.returncode:
        raise RuntimeError(f"{command[0]} {command[1]} failed:\n{ended.stderr[-2000:]}")
