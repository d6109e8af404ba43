"""Reads query strings and bodies, within limits, into rows. The only module that sees them raw."""

from __future__ import annotations

from typing import Any, NamedTuple
from urllib.parse import parse_qsl

from starlette.datastructures import Headers
from starlette.requests import Request

from iris_service.errors import BodyTooLarge, InvalidInput, QueryTooLong, TooManyRows, UnsupportedBody
from iris_service.schemas import Feature, Row, Signature, decimal_from_text, parse_json, shown


class Flowers(NamedTuple):
    """What a caller sent; `many` when it came as a list, which decides the shape of the answer."""

    rows: tuple[Row, ...]
    many: bool


def flower_from_query(query: bytes, max_bytes: int, signature: Signature) -> Flowers:
    """Read one flower; raises `QueryTooLong` or `InvalidInput`."""
    return Flowers((signature.row_from_text(_query_values(query, max_bytes)),), many=False)


def wait_from_query(query: bytes, max_bytes: int, max_seconds: float) -> float:
    """Read `wait` in seconds, 0 when it is absent; raises `QueryTooLong` or `InvalidInput`."""
    if not query:
        return 0.0
    values = _query_values(query, max_bytes)
    for name in values:
        if name != "wait":
            raise InvalidInput(f"{shown(name)} is not a parameter of this page", field=shown(name))
    return Feature("wait", "seconds", 0.0, max_seconds).check(decimal_from_text("wait", values["wait"]))


def _query_values(query: bytes, max_bytes: int) -> dict[str, str]:
    if len(query) > max_bytes:
        raise QueryTooLong(f"the query string has more than {max_bytes} bytes")
    try:
        pairs = _pairs(query.decode())
    except UnicodeDecodeError as exc:
        raise InvalidInput("the query string is not UTF-8") from exc
    values = dict(pairs)
    if len(values) != len(pairs):
        names = [name for name, _ in pairs]
        repeated = shown(next(name for name in names if names.count(name) > 1))
        raise InvalidInput(f"{repeated} is given more than once", field=repeated)
    return values


def _pairs(query: str) -> list[tuple[str, str]]:
    if "%" in query or "+" in query:
        return parse_qsl(query, keep_blank_values=True, errors="strict")
    parts = (part.partition("=") for part in query.split("&") if part)  # the same, five times as fast
    return [(name, value) for name, _, value in parts]


async def read_body(request: Request, max_bytes: int) -> bytes:
    """Read the body of a request; raises `UnsupportedBody`, or `BodyTooLarge` as soon as that is known."""
    _check_content(request.headers)
    too_large = BodyTooLarge(f"the body has more than {max_bytes} bytes")
    # refused by its length before a client that sent Expect: 100-continue sends any of it
    if int(request.headers.get("content-length", "0")) > max_bytes:
        raise too_large
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > max_bytes:
            raise too_large
    return bytes(body)


def _check_content(headers: Headers) -> None:
    """A body without a content type is taken for JSON."""
    kind, _, parameters = headers.get("content-type", "application/json").partition(";")
    charset = parameters.replace('"', "").strip().lower()
    if kind.strip().lower() != "application/json" or charset not in ("", "charset=utf-8"):
        raise UnsupportedBody("the body must be JSON: send Content-Type: application/json")
    if headers.get("content-encoding", "identity").lower() != "identity":
        raise UnsupportedBody("the body must not be compressed")


def flowers_from_json(body: bytes, max_rows: int, max_depth: int, signature: Signature) -> Flowers:
    """Read one flower by feature names, or the rows under `data`.

    Raises `MalformedBody`, `TooManyRows`, or `InvalidInput` naming the field and, in `data`, the row.
    """
    sent = parse_json(body, max_depth)
    if not isinstance(sent, dict):
        raise InvalidInput('the body must be an object: one flower, or {"data": [[...], ...]}')
    if "data" not in sent:
        return Flowers((signature.row_from_mapping(sent),), many=False)
    for name in sent:
        if name != "data":
            raise InvalidInput(f"{shown(name)} cannot stand beside data", field=shown(name))
    return Flowers(_rows(sent["data"], max_rows, signature), many=True)


def _rows(data: Any, max_rows: int, signature: Signature) -> tuple[Row, ...]:
    if not isinstance(data, list) or not data:
        raise InvalidInput("data must be a list of at least one row", field="data")
    if len(data) > max_rows:
        raise TooManyRows(f"data has {len(data)} rows; one request may have {max_rows}", field="data")
    rows = []
    for number, values in enumerate(data):
        try:
            rows.append(signature.row(values))
        except InvalidInput as exc:
            raise InvalidInput(f"data[{number}]: {exc}", field=exc.field or "data") from exc
    return tuple(rows)
