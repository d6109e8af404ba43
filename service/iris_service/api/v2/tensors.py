"""Tensors as JSON and as bytes. Pure, and without numpy: the API has none.

Bytes are little-endian, row-major and without padding; BYTES elements are a length of four bytes and the text.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping, Sequence
from math import prod
from typing import Any

from iris_service.api.v2.shapes import Datatype
from iris_service.errors import InvalidTensors

_CODES: Mapping[str, str] = {
    "UINT8": "B", "UINT16": "H", "UINT32": "I", "UINT64": "Q", "INT8": "b", "INT16": "h", "INT32": "i", "INT64": "q",
    "FP16": "e", "FP32": "f", "FP64": "d",
}  # fmt: skip
"""The numeric datatypes, by the letter that `struct` has for them."""


_REAL = frozenset({float, int})
"""What JSON numbers become; bool, which is an int too, is another type."""


def item_size(datatype: Datatype) -> int:
    """Return the bytes of one number; raises `InvalidTensors` for a datatype that is none."""
    return struct.calcsize("<" + _code(datatype))


def numbers_from_bytes(datatype: Datatype, shape: Sequence[int], data: bytes) -> list[Any]:
    """Read as many numbers as the shape has; raises `InvalidTensors`."""
    count = prod(shape)
    size = count * item_size(datatype)
    if len(data) != size:
        raise InvalidTensors(f"{datatype} of shape {list(shape)} takes {size} bytes, not {len(data)}")
    return list(struct.unpack(f"<{count}{_code(datatype)}", data))


def numbers_from_json(datatype: Datatype, shape: Sequence[int], data: Sequence[Any]) -> list[Any]:
    """Read as many numbers as the shape has, from a flat or nested list; raises `InvalidTensors`."""
    code = _code(datatype)
    if datatype == "FP16":
        raise InvalidTensors("FP16 can only be sent as binary data")
    numbers = _flat(data, shape)
    if code in "fd":
        suits = _REAL.issuperset(map(type, numbers))
    else:
        low, high = _bounds(code)
        suits = all(type(value) is int and low <= value <= high for value in numbers)
    if not suits:
        raise InvalidTensors(f"data holds something that is not {datatype}")
    return numbers


def to_bytes(datatype: Datatype, values: Sequence[Any]) -> bytes:
    """Write numbers, or texts for BYTES."""
    if datatype == "BYTES":
        texts = [text.encode() for text in values]
        return b"".join(struct.pack("<I", len(text)) + text for text in texts)
    return struct.pack(f"<{len(values)}{_code(datatype)}", *values)


def _code(datatype: Datatype) -> str:
    code = _CODES.get(datatype)
    if code is None:
        raise InvalidTensors(f"{datatype} is no numeric datatype")
    return code


def _bounds(code: str) -> tuple[int, int]:
    bits = 8 * struct.calcsize("<" + code)
    return (0, (1 << bits) - 1) if code.isupper() else (-(1 << bits - 1), (1 << bits - 1) - 1)


def _flat(data: Sequence[Any], shape: Sequence[int]) -> list[Any]:
    """Return the values of a list that is flat, or nested as the shape says."""
    if len(shape) > 1 and len(data) == shape[0] and all(type(part) is list for part in data):
        size = prod(shape[1:])
        for number, part in enumerate(data):
            if len(shape) == 2 and len(part) != size:
                raise InvalidTensors(f"row {number} of data has {len(part)} values, shape {list(shape)} has {size}")
        return [value for part in data for value in _flat(part, shape[1:])]
    if len(data) != prod(shape):
        raise InvalidTensors(f"data has not as many values as shape {list(shape)}, or is nested in another way")
    return list(data)
