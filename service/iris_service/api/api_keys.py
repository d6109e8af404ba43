"""API keys: who has which, by their hashes in a file that may change at any time. Knows no HTTP.

A key is random, so its plain SHA-256 gives nothing away; a word that somebody made up would be found by trying.
"""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Callable
from hashlib import sha256
from hmac import compare_digest
from pathlib import Path
from typing import NamedTuple

import structlog

from iris_service.errors import InvalidInput, SettingsError

LOOK_SECONDS = 1.0
"""A changed file is noticed so late at the most, when the next request comes."""
MOST_KEYS = 1000
"""Each request is compared with every one."""
MOST_BYTES = 1 << 20

_NAME = r"[A-Za-z0-9._-]{1,64}"
_LINE = re.compile(rf"({_NAME}):sha256:([0-9a-f]{{64}})")
_log = structlog.get_logger(__name__)


class NewKey(NamedTuple):
    """A key to give away, and the line that lets it in."""

    key: str
    line: str


def new_key(name: str) -> NewKey:
    """Make a key for a caller; raises `InvalidInput` when that is no name."""
    if not re.fullmatch(_NAME, name):
        raise InvalidInput("a name has 1 to 64 letters, digits and . _ -", field="name")
    key = f"iris_{secrets.token_urlsafe(32)}"
    return NewKey(key, f"{name}:sha256:{sha256(key.encode()).hexdigest()}")


def parse_keys(text: str) -> dict[bytes, str]:
    """Return names by digest; raises `ValueError` that says which line is wrong and repeats nothing of it.

    A name may have several keys, so that one can take over from another.
    """
    found: dict[bytes, str] = {}
    for number, line in enumerate(text.splitlines(), 1):
        line = line.strip()
        if not line or line.startswith("#"):
            continue
        parts = _LINE.fullmatch(line)
        if parts is None:
            raise ValueError(f"line {number} is not name:sha256:<64 hexadecimal digits>")
        if found.setdefault(bytes.fromhex(parts[2]), parts[1]) != parts[1]:
            raise ValueError(f"line {number} gives another name to a key")
    if len(found) > MOST_KEYS:
        raise ValueError(f"there are {len(found)} keys; one file may have {MOST_KEYS}")
    return found


class ApiKeys:
    """The keys of one file."""

    def __init__(self, path: Path, clock: Callable[[], float] = time.monotonic) -> None:
        """Read the file; raises `SettingsError` when that cannot be done, or it holds no key."""
        self._path = path
        self._clock = clock
        self._looked_at = clock()
        try:
            self._seen = _identity(path)
            self._keys = self._read()
        except (OSError, ValueError) as exc:
            raise SettingsError(f"IRIS_API_KEYS_FILE: {_reason(exc)}", field="IRIS_API_KEYS_FILE") from exc
        if not self._keys:
            raise SettingsError(
                "IRIS_API_KEYS_FILE holds no key; `iris key NAME` makes one", field="IRIS_API_KEYS_FILE"
            )

    async def name_of(self, secret: bytes) -> str | None:
        """Return whose key this is; takes the same time for every key, known or not."""
        self._follow()
        digest, found = sha256(secret).digest(), None
        for known, name in self._keys:
            if compare_digest(known, digest):
                found = name
        return found

    async def close(self) -> None:
        """Nothing is open."""

    def _follow(self) -> None:
        """Read the file again when it is another one; keep what is known when that is unusable."""
        if self._clock() - self._looked_at < LOOK_SECONDS:
            return
        self._looked_at = self._clock()
        try:
            identity = _identity(self._path)
            if identity == self._seen:
                return
            self._seen = identity  # taken before reading: what changes meanwhile is read again
            self._keys = self._read()
        except (OSError, ValueError) as exc:
            _log.error("api keys not read again: the former ones hold", reason=_reason(exc))
        else:
            _log.info("api keys read again", keys=len(self._keys))

    def _read(self) -> list[tuple[bytes, str]]:
        with self._path.open("rb") as file:
            content = file.read(MOST_BYTES + 1)
        if len(content) > MOST_BYTES:
            raise ValueError(f"the file has more than {MOST_BYTES} bytes")
        return list(parse_keys(content.decode()).items())


def _identity(path: Path) -> tuple[int, ...]:
    """What differs between two files, and between one before and after it was written; symbolic links are followed."""
    seen = path.stat()
    return seen.st_dev, seen.st_ino, seen.st_mtime_ns, seen.st_size


def _reason(exc: Exception) -> str:
    if isinstance(exc, UnicodeDecodeError):
        return "it is not UTF-8"
    return exc.strerror or "it cannot be read" if isinstance(exc, OSError) else str(exc)
