"""Tensors of the V2 protocol, held against what numpy writes and reads."""

from __future__ import annotations

import gzip
import random
import struct
import zlib
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from iris_service.api.v2.inflate import inflated
from iris_service.api.v2.tensors import item_size, numbers_from_bytes, numbers_from_json, to_bytes
from iris_service.errors import BodyTooLarge, InvalidTensors, IrisError, MalformedBody, UnsupportedBody

NUMPY: dict[Any, str] = {
    "UINT8": "<u1", "UINT16": "<u2", "UINT32": "<u4", "UINT64": "<u8",
    "INT8": "<i1", "INT16": "<i2", "INT32": "<i4", "INT64": "<i8",
    "FP16": "<f2", "FP32": "<f4", "FP64": "<f8",
}  # fmt: skip
INTEGERS = [name for name in NUMPY if "INT" in name]
shapes = st.tuples(st.integers(1, 6), st.integers(1, 5))


@st.composite
def arrays(draw: st.DrawFn) -> tuple[Any, np.ndarray]:
    """A datatype, and an array of it from any bytes at all: NaN, infinities and denormals are among them."""
    datatype, shape = draw(st.sampled_from(list(NUMPY))), draw(shapes)
    size = shape[0] * shape[1] * np.dtype(NUMPY[datatype]).itemsize
    return datatype, np.frombuffer(draw(st.binary(min_size=size, max_size=size)), NUMPY[datatype]).reshape(shape)


@given(arrays())
def test_bytes_are_read_as_numpy_reads_them_and_written_as_it_writes_them(tensor: tuple[Any, np.ndarray]) -> None:
    datatype, array = tensor
    numbers = numbers_from_bytes(datatype, array.shape, array.tobytes())
    np.testing.assert_array_equal(np.array(numbers, NUMPY[datatype]).reshape(array.shape), array)
    # a NaN may lose its payload on the way through a Python float of another size
    if not np.isnan(array.astype(float)).any():
        assert to_bytes(datatype, numbers) == array.tobytes()


@given(arrays())
def test_json_is_read_flat_and_nested_alike(tensor: tuple[Any, np.ndarray]) -> None:
    datatype, array = tensor
    if datatype == "FP16":
        return
    nested, flat = array.tolist(), array.ravel().tolist()
    found = [numbers_from_json(datatype, array.shape, data) for data in (nested, flat)]
    np.testing.assert_array_equal(np.array(found, float), np.array([flat, flat], float))


@pytest.mark.parametrize("name", INTEGERS)
def test_an_integer_ends_where_its_datatype_ends(name: Any) -> None:
    low, high = int(np.iinfo(NUMPY[name]).min), int(np.iinfo(NUMPY[name]).max)
    assert numbers_from_json(name, (2,), [low, high]) == [low, high]
    for outside in (low - 1, high + 1, 1.5, 1.0, True, None, "1", [1]):
        with pytest.raises(InvalidTensors, match=name):
            numbers_from_json(name, (1,), [outside])


def test_a_row_of_another_length_is_named() -> None:
    with pytest.raises(InvalidTensors, match=r"^row 1 of data has 3 values, shape \[2, 4\] has 4$"):
        numbers_from_json("FP64", (2, 4), [[1.0] * 4, [1.0] * 3])


@pytest.mark.parametrize("value", [True, None, "1", [1.0], {}])
def test_what_is_no_number_is_no_float(value: Any) -> None:
    with pytest.raises(InvalidTensors):
        numbers_from_json("FP64", (1,), [value])


@pytest.mark.parametrize(
    ("shape", "data"),
    [
        ((2, 2), [1, 2, 3]),
        ((2, 2), [[1, 2], [3]]),
        ((2, 2), [[1, 2], 3, 4]),
        ((2, 2), [[[1, 2], [3, 4]]]),
        ((4,), [[1, 2], [3, 4]]),
        ((1, 2), [[[1, 2]]]),
        ((2, 2), []),
        ((0,), [1]),
        ((1 << 31, 1 << 31), [1]),
    ],
)
def test_data_of_another_form_than_its_shape_is_refused(shape: tuple[int, ...], data: list[Any]) -> None:
    with pytest.raises(InvalidTensors):
        numbers_from_json("FP64", shape, data)


@pytest.mark.parametrize("datatype", ["BOOL", "BYTES"])
def test_what_is_not_numeric_cannot_be_an_input(datatype: Any) -> None:
    for read in (lambda: numbers_from_bytes(datatype, (1,), b"\1"), lambda: numbers_from_json(datatype, (1,), [1])):
        with pytest.raises(InvalidTensors, match="no numeric datatype"):
            read()


def test_half_precision_is_binary_only() -> None:
    with pytest.raises(InvalidTensors, match="binary"):
        numbers_from_json("FP16", (1,), [1.0])
    assert numbers_from_bytes("FP16", (2,), np.array([5.1, 0.2], "<f2").tobytes()) == pytest.approx(
        [5.1, 0.2], abs=2e-3
    )


@pytest.mark.parametrize("change", [-1, 1])
def test_the_size_of_the_bytes_is_exact(change: int) -> None:
    for datatype in NUMPY:
        size = 6 * item_size(datatype)
        with pytest.raises(InvalidTensors, match=f"takes {size} bytes"):
            numbers_from_bytes(datatype, (2, 3), bytes(size + change))


@given(st.lists(st.text(st.characters(exclude_categories=["Cs"]))))
def test_texts_are_written_with_their_length_before_them(texts: list[str]) -> None:
    data, found = to_bytes("BYTES", texts), []
    while data:
        (length,) = struct.unpack_from("<I", data)
        found.append(data[4 : 4 + length].decode())
        data = data[4 + length :]
    assert found == texts


BODY = b'{"inputs": []}' * 20
ZIPPED = gzip.compress(BODY, mtime=0)  # it names tests, in every process alike


@pytest.mark.parametrize(
    ("encoding", "compressed"), [("identity", BODY), ("gzip", ZIPPED), ("deflate", zlib.compress(BODY))]
)
def test_compression_is_undone_up_to_the_limit(encoding: str, compressed: bytes) -> None:
    assert inflated(compressed, encoding, len(BODY)) == BODY
    if encoding != "identity":
        with pytest.raises(BodyTooLarge):
            inflated(compressed, encoding, len(BODY) - 1)


@pytest.mark.parametrize(
    ("encoding", "body"),
    [
        ("gzip", b""),
        ("gzip", BODY),
        ("gzip", ZIPPED[:-1]),
        ("gzip", ZIPPED * 2),
        ("gzip", ZIPPED + b"x"),
        ("gzip", zlib.compress(BODY)),
        ("deflate", zlib.compress(BODY)[:-1]),
        ("deflate", ZIPPED),
    ],
)
def test_a_stream_that_is_not_whole_is_malformed(encoding: str, body: bytes) -> None:
    with pytest.raises(MalformedBody):
        inflated(body, encoding, 1 << 20)


def test_an_unknown_compression_is_unsupported() -> None:
    with pytest.raises(UnsupportedBody):
        inflated(BODY, "br", 1 << 20)


def test_a_bomb_is_put_out_after_what_the_limit_allows() -> None:
    bomb = zlib.compress(bytes(100 << 20), 9)  # a thousandth of what it becomes
    with pytest.raises(BodyTooLarge):
        inflated(bomb, "deflate", 1 << 20)


def test_no_bytes_make_the_inflater_fail_in_another_way() -> None:
    noise = random.Random(1)
    for _ in range(300):
        body = bytearray(ZIPPED)
        body[noise.randrange(len(body))] = noise.randrange(256)
        try:
            assert len(inflated(bytes(body), "gzip", 1 << 20)) <= 1 << 20
        except IrisError:
            pass
