"""Environment variables as values: one at a time, bounded, and refused by name. Knows no setting.

A value that may hold a secret, or a piece of one, is never repeated.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TypeVar
from urllib.parse import urlsplit

from iris_service.errors import SettingsError

N = TypeVar("N", int, float)

_REDIS_SCHEMES = ("redis", "rediss", "unix", "sentinel", "sentinels")


class Variables:
    """Reads one variable at a time and remembers which names exist."""

    def __init__(self, env: Mapping[str, str]) -> None:
        self.env = env
        self.known: set[str] = set()

    def text(self, name: str, default: str) -> str:
        self.known.add(name)
        return self.env.get(name, "").strip() or default

    def number(self, name: str, default: float, low: float, high: float) -> float:
        return self._bounded(name, default, low, high, float)

    def whole(self, name: str, default: int, low: int, high: int) -> int:
        return self._bounded(name, default, low, high, int)

    def _bounded(self, name: str, default: N, low: float, high: float, kind: Callable[[str], N]) -> N:
        text = self.text(name, str(default))
        try:
            value = kind(text)
        except ValueError as exc:
            number = "a whole number" if kind is int else "a number"
            raise SettingsError(f"{name} must be {number}, not {text!r}", field=name) from exc
        if not low <= value <= high:
            raise SettingsError(f"{name} must be from {low:.16g} to {high:.16g}, not {text}", field=name)
        return value

    def choice(self, name: str, choices: tuple[str, ...]) -> str:
        """The first choice is the default."""
        value = self.text(name, choices[0])
        if value not in choices:
            raise SettingsError(f"{name} must be one of {', '.join(choices)}, not {value!r}", field=name)
        return value

    def switch(self, name: str) -> bool:
        return self.choice(name, ("0", "1", "false", "true")) in ("1", "true")

    def digest(self, name: str) -> str:
        value = self.text(name, "")
        if value and not re.fullmatch(r"sha256:[0-9a-f]{64}", value):
            raise SettingsError(f"{name} must be sha256: and 64 hexadecimal digits", field=name)
        return value

    def names(self, name: str) -> tuple[str, ...]:
        return tuple(part.strip() for part in self.text(name, "").split(",") if part.strip())

    def optional_port(self, name: str) -> int | None:
        return self.whole(name, 0, 0, 65_535) if self.text(name, "") else None

    def redis_url(self, name: str, default: str) -> str:
        url = self.text(name, default)
        # the value may hold a password, and what is wrong with it may be a piece of one: neither is repeated
        if not url.startswith(tuple(f"{scheme}://" for scheme in _REDIS_SCHEMES)):
            schemes = ", ".join(f"{scheme}://" for scheme in _REDIS_SCHEMES)
            raise SettingsError(f"{name} must start with one of {schemes}", field=name)
        try:
            _ = None if url.startswith("sentinel") else urlsplit(url).port  # several hosts: jobs.address reads them
        except ValueError:
            raise SettingsError(
                f"{name} is not host:port after the user; a password must be percent-encoded", field=name
            ) from None
        return url

    def file(self, name: str) -> str:
        path = self.text(name, "")
        if path and not Path(path).is_file():
            raise SettingsError(f"{name}: there is no file {path}", field=name)
        return path

    def optional_path(self, name: str) -> Path | None:
        text = self.text(name, "")
        return Path(text) if text else None

    def header(self, name: str) -> str:
        """A secret that travels in an HTTP header; it is not repeated."""
        value = self.text(name, "")
        if not re.fullmatch("[!-~]*", value):
            raise SettingsError(f"{name} must be printable ASCII without spaces", field=name)
        return value

    def host_and_port(self, host: str, port: str) -> str:
        """Empty without a host."""
        found = self.text(host, "")
        return f"{f'[{found}]' if ':' in found else found}:{self.whole(port, 443, 1, 65_535)}" if found else ""

    def refuse_unknown(self) -> None:
        for name in sorted(self.env):
            if name.startswith("IRIS_") and name not in self.known:
                raise SettingsError(f"{name} is not a setting of this version", field=name)
