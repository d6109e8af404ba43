"""The Lua scripts: each is one atomic step in a job's life. Loads them; knows nothing of when they are run."""

from __future__ import annotations

from importlib.resources import files

_NO_COMMON_PART = {"cancel", "finish", "move"}
_REFUSED_WITHOUT_MEMORY = {"enqueue"}


def source(name: str) -> str:
    """Return the text of script `name` as Redis runs it.

    All but `enqueue` run even when Redis is out of memory: only what finishes work can free any.
    """
    lua = files("iris_service.jobs") / "lua"
    common = "" if name in _NO_COMMON_PART else (lua / "common.lua").read_text()
    flags = "" if name in _REFUSED_WITHOUT_MEMORY else " flags=allow-oom"
    return f"#!lua{flags}\n{common}{(lua / f'{name}.lua').read_text()}"
