"""Takes an inference request apart: JSON, and the bytes of the tensors that follow it. Pure; knows no rows."""

from __future__ import annotations

from typing import Any, NamedTuple

import msgspec

from iris_service.api.v2.shapes import Datatype, InferRequest, InputTensor
from iris_service.errors import InvalidTensors
from iris_service.schemas import MAX_DEPTH, Signature, parse_json, shown

JSON_LENGTH_HEADER = "inference-header-content-length"
"""Bytes of JSON at the start of a body with binary tensors; 0 when there is no JSON but one tensor's bytes."""


INPUT = "input"
"""The tensor for all features at once, as the metadata calls it; callers may call it what they like."""
INPUT_DATATYPE: Datatype = "FP64"


class Asked(NamedTuple):
    """A request, and the bytes of each of its inputs: None for those in JSON."""

    request: InferRequest
    raw: tuple[bytes | None, ...]


def read_request(body: bytes, json_length: bytes | None, signature: Signature, max_depth: int = MAX_DEPTH) -> Asked:
    """Read a body; `json_length` is what the header says, if it is there.

    Raises `MalformedBody`, or `InvalidTensors` when it is JSON but no request, or the sizes do not add up.
    """
    if json_length is None:
        return _with_bytes(_parse(body, max_depth), b"")
    length = _length(json_length, len(body))
    if length == 0:
        return Asked(_raw_request(signature), (body,))
    return _with_bytes(_parse(body[:length], max_depth), body[length:])


def _parse(body: bytes, max_depth: int) -> InferRequest:
    try:
        request = msgspec.convert(parse_json(body, max_depth), InferRequest)
        (request.id or "").encode()
    except msgspec.ValidationError as exc:
        raise InvalidTensors(f"this is no inference request: {shown(str(exc), 200)}") from exc
    except UnicodeEncodeError as exc:
        raise InvalidTensors("id cannot be written as UTF-8", field="id") from exc
    return request


def _length(text: bytes, largest: int) -> int:
    if not (text.isdigit() and len(text) <= 10 and int(text) <= largest):
        raise InvalidTensors(f"Inference-Header-Content-Length must be a number of bytes, {largest} at the most")
    return int(text)


def _raw_request(signature: Signature) -> InferRequest:
    """Return what a body without JSON stands for: one row as the metadata describes it, everything binary."""
    row = InputTensor(INPUT, (1, len(signature.features)), INPUT_DATATYPE)
    return InferRequest((row,), parameters={"binary_data_output": True})


def _with_bytes(request: InferRequest, rest: bytes) -> Asked:
    raw: list[bytes | None] = []
    at = 0
    for tensor in request.inputs:
        size = _binary_size(tensor)
        raw.append(None if size is None else rest[at : at + size])
        at += size or 0
    if at != len(rest):
        raise InvalidTensors(f"binary_data_size of all inputs is {at} in sum, and {len(rest)} bytes follow the JSON")
    return Asked(request, tuple(raw))


def _binary_size(tensor: InputTensor) -> int | None:
    size: Any = (tensor.parameters or {}).get("binary_data_size")
    name = shown(tensor.name)
    if (size is None) == (tensor.data is None):
        raise InvalidTensors(f"{name} must have either data or binary_data_size", field=name)
    if size is not None and (type(size) is not int or size < 0):
        raise InvalidTensors(f"binary_data_size of {name} must be a number of bytes", field=name)
    return size
