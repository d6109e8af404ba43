"""Reads `Idempotency-Key`, with which a caller may repeat a request, and says in short what the request asked for."""

from __future__ import annotations

import re
from collections.abc import Iterable
from hashlib import sha256

import msgspec

from iris_service.errors import InvalidInput
from iris_service.schemas import Payload

_HEADER = b"idempotency-key"
KEY_PATTERN = "[!-~]([ -~]{0,253}[!-~])?"
"""Printable ASCII, 255 at the most; spaces around the value of a header are not part of it."""
_KEY = re.compile(KEY_PATTERN.encode())


def key_from_headers(headers: Iterable[tuple[bytes, bytes]]) -> bytes | None:
    """Return the key as it was sent, None without one; raises `InvalidInput` when it is no key.

    Byte for byte: the draft standard writes it in quotes, most clients do not, and both are keys.
    """
    found = [value for name, value in headers if name == _HEADER]
    if not found:
        return None
    if len(found) > 1 or not _KEY.fullmatch(found[0]):
        raise InvalidInput(
            "Idempotency-Key must be given once, as 1 to 255 printable ASCII characters", field="Idempotency-Key"
        )
    return found[0]


def has_key(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Return whether there is one, a key or not."""
    return any(name == _HEADER for name, _ in headers)


def fingerprint(model: str, payload: Payload) -> str:
    """Return the same text for the same model and rows, whichever version takes them and however they were written."""
    rows = [[value + 0.0 for value in row] for row in payload.rows]  # -0.0 is 0.0
    return sha256(msgspec.json.encode((model, payload.many, rows))).hexdigest()[:32]
