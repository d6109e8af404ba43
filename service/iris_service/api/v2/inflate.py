"""Undoes the compression of a request body, and stops when what comes out is too large. Pure."""

from __future__ import annotations

import zlib

from iris_service.errors import BodyTooLarge, MalformedBody, UnsupportedBody

_WINDOW_BITS = {"gzip": 31, "deflate": 15}
"""By content encoding, how zlib is told of the format; deflate is zlib's own, as HTTP has it."""


def inflated(body: bytes, encoding: str, max_bytes: int) -> bytes:
    """Return the body without its compression.

    Raises `UnsupportedBody` for another encoding, `MalformedBody`, or `BodyTooLarge` before more than that is inflated.
    """
    if encoding == "identity":
        return body
    if encoding not in _WINDOW_BITS:
        raise UnsupportedBody("Content-Encoding must be gzip or deflate")
    inflater = zlib.decompressobj(_WINDOW_BITS[encoding])
    try:
        found = inflater.decompress(body, max_bytes + 1)
    except zlib.error as exc:
        raise MalformedBody(f"the body is not {encoding}") from exc
    if len(found) > max_bytes:
        raise BodyTooLarge(f"the body has more than {max_bytes} bytes when inflated")
    if not inflater.eof or inflater.unused_data:
        raise MalformedBody(f"the body is not one whole {encoding} stream")
    return found
