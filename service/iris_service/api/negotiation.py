"""What a body is, and what an answer should be, by the headers of a request. Pure."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

from starlette.datastructures import Headers

from iris_service.api.csv_bodies import flowers_from_csv
from iris_service.api.inputs import Flowers, flowers_from_json
from iris_service.config import ApiSettings
from iris_service.errors import UnsupportedBody
from iris_service.schemas import Signature

Reader = Callable[[bytes, ApiSettings, Signature], Flowers]
"""Takes a body, its limits and a signature."""


def _read_json(body: bytes, limits: ApiSettings, signature: Signature) -> Flowers:
    return flowers_from_json(body, limits.max_rows, limits.max_json_depth, signature)


def _read_csv(body: bytes, limits: ApiSettings, signature: Signature) -> Flowers:
    return flowers_from_csv(body, limits.max_rows, signature)


_READERS: Mapping[str, tuple[Reader, tuple[str, ...]]] = {
    "application/json": (_read_json, ("charset=utf-8",)),
    "text/csv": (_read_csv, ("charset=utf-8", "header=present")),
}
"""By content type: who reads it, and the parameters that change nothing."""
_QUALITY = re.compile(r"q=(0(\.\d{0,3})?|1(\.0{0,3})?)", re.ASCII)


def reader_of(headers: Headers) -> Reader:
    """Return who reads a body; without a content type it is taken for JSON. Raises `UnsupportedBody`."""
    kind, *parameters = _parts(headers.get("content-type", "application/json"))
    reader, harmless = _READERS.get(kind, (None, ()))
    if reader is None or any(parameter not in ("", *harmless) for parameter in parameters):
        raise UnsupportedBody("the body must be JSON or CSV: send Content-Type: application/json, or text/csv")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedBody("the body must not be compressed")
    return reader


def prefers_csv(headers: Headers) -> bool:
    """Return whether a caller would rather have CSV than JSON, which is what those get who do not name CSV."""
    accept = headers.get("accept", "*/*").lower()
    return "csv" in accept and _wish(accept, "text/csv") > _wish(accept, "application/json")


def _wish(accept: str, kind: str) -> tuple[float, int]:
    """Return the quality that `accept` gives a type, and how closely it names it; (0, 0) if it does not."""
    wishes = {f"{kind.partition('/')[0]}/*": 1, kind: 2, "*/*": 0}
    found = (0.0, 0)
    closest = -1
    for entry in accept.split(","):
        name, *parameters = _parts(entry)
        if wishes.get(name, -1) > closest:
            closest = wishes[name]
            found = (_quality(parameters), closest)
    return found if found[0] else (0.0, 0)


def _quality(parameters: list[str]) -> float:
    qualities = [float(match[1]) for parameter in parameters if (match := _QUALITY.fullmatch(parameter))]
    return qualities[0] if qualities else 1.0


def _parts(value: str) -> list[str]:
    return [part.strip().replace('"', "").lower() for part in value.split(";")]
