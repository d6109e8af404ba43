"""What a caller may send, as tables: every row is a request that somebody will try."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from iris_service.errors import InvalidInput, MalformedBody
from iris_service.schemas import (
    MAX_DEPTH,
    MAX_OBJECTS,
    Answered,
    Failed,
    Feature,
    Signature,
    envelope_from_json,
    envelope_to_json,
    is_deeper_than,
    parse_json,
)

IRIS = Signature(
    features=tuple(
        Feature(name, "cm", 0.0, 10.0) for name in ("sepal_length", "sepal_width", "petal_length", "petal_width")
    ),
    classes=("setosa", "versicolor", "virginica"),
)
FLOWER = {"sepal_length": 5.1, "sepal_width": 3.5, "petal_length": 1.4, "petal_width": 0.2}
TEXTS = {name: str(value) for name, value in FLOWER.items()}


def test_a_flower_is_read_in_the_order_of_the_features() -> None:
    shuffled = dict(reversed(FLOWER.items()))
    assert IRIS.row_from_mapping(shuffled) == (5.1, 3.5, 1.4, 0.2)


@pytest.mark.parametrize("value", [0, 10, 0.0, 10.0, 1, 5e-324])
def test_the_bounds_and_whole_numbers_are_accepted(value: float) -> None:
    row = IRIS.row([value, 1.0, 1.0, 1.0])
    assert row[0] == value
    assert type(row[0]) is float


@pytest.mark.parametrize(
    "value",
    [
        float("nan"), float("inf"), float("-inf"), -0.001, 10.001, 1e308, 10**400, -(10**400),
        True, False, "1", "5.1", None, [], {}, [5.1], b"5",
    ],
)  # fmt: skip
def test_a_value_that_is_no_number_in_range_is_refused_by_name(value: Any) -> None:
    with pytest.raises(InvalidInput) as caught:
        IRIS.row_from_mapping({**FLOWER, "petal_width": value})
    assert caught.value.field == "petal_width"
    assert "petal_width" in str(caught.value)


@pytest.mark.parametrize(
    "text",
    ["", " ", " 5", "5 ", "nan", "NaN", "inf", "-inf", "infinity", "1e999", "-1e999", "1_0", "0x5", "5,1", "٥", "5.1.2",
     "--5", "5e", "e5", ".", "1" * 400, "\u2028", "5\n", "\ud800"],
)  # fmt: skip
def test_a_text_that_is_no_decimal_in_range_is_refused_by_name(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        IRIS.row_from_text({**TEXTS, "sepal_width": text})
    assert caught.value.field == "sepal_width"


@pytest.mark.parametrize(
    ("text", "value"), [("5", 5.0), ("+5.1", 5.1), (".5", 0.5), ("5.", 5.0), ("51e-1", 5.1), ("-0", 0)]
)
def test_every_usual_way_to_write_a_decimal_is_read(text: str, value: float) -> None:
    assert IRIS.row_from_text({**TEXTS, "sepal_width": text})[1] == value


@pytest.mark.parametrize("name", list(FLOWER))
def test_a_missing_feature_is_named(name: str) -> None:
    without = {key: value for key, value in FLOWER.items() if key != name}
    with pytest.raises(InvalidInput, match="missing") as caught:
        IRIS.row_from_mapping(without)
    assert caught.value.field == name


def test_an_unknown_name_is_repeated_short_and_printable() -> None:
    with pytest.raises(InvalidInput) as caught:
        IRIS.row_from_mapping({**FLOWER, "\ud800" + "x" * 1000: 1.0})
    assert caught.value.field == "?" + "x" * 63


@pytest.mark.parametrize("row", [[], [1.0], [1.0] * 3, [1.0] * 5, "1234", b"1234", None, 4, {"a": 1}, {1, 2, 3, 4}])
def test_a_row_of_another_shape_is_refused(row: Any) -> None:
    with pytest.raises(InvalidInput, match="4 numbers"):
        IRIS.row(row)


@pytest.mark.parametrize(
    "body",
    [
        b"", b" ", b"{", b"[1,2", b'{"a":1}x', b"{} {}", b"{'a':1}", b"[1,]", b"[01]", b"nul",
        b"NaN", b"[NaN]", b"[Infinity]", b"[-Infinity]",
        b'{"a":1,"a":1}', b'[{"a":{"b":1,"b":2}}]',
        b"\xef\xbb\xbf{}", "{}".encode("utf-16"), "{}".encode("utf-32"), b"\xff", b'"\xed\xa0\x80"', b'"\xc0\xaf"',
        b'"a\nb"', b"[" + b"9" * 5000 + b"]",
        b"[" * 100_000, b"[" * 100_000 + b"]" * 100_000, b'{"a":' * 100_000 + b"1" + b"}" * 100_000,
    ],
    ids=lambda body: repr(body[:16]),
)  # fmt: skip
def test_what_is_not_strict_json_is_refused(body: bytes) -> None:
    with pytest.raises(MalformedBody):
        parse_json(body)


@pytest.mark.parametrize(
    "tail",
    [b'"' + b'\\"' * 500_000, b'["' * 300_000, b"\\" * 1_000_000, b"1" * 1_000_000],
    ids=["quotes", "brackets", "backslashes", "digits"],
)
def test_a_body_made_to_be_slow_is_refused_at_once(tail: bytes) -> None:
    began = time.perf_counter()
    with pytest.raises(MalformedBody):
        parse_json(b"[" * 33 + tail)
    assert time.perf_counter() - began < 1


@pytest.mark.parametrize("opened", ["[", '{"a":'])
def test_nesting_is_allowed_to_its_limit_and_not_one_level_deeper(opened: str) -> None:
    closed = "]" if opened == "[" else "}"

    def nested(levels: int) -> bytes:
        return (opened * levels + "1" + closed * levels).encode()

    assert parse_json(nested(MAX_DEPTH))
    for levels in (MAX_DEPTH + 1, 999, 100_000):
        with pytest.raises(MalformedBody, match="32 levels"):
            parse_json(nested(levels))
    assert parse_json(nested(5), 5)
    with pytest.raises(MalformedBody, match="5 levels"):
        parse_json(nested(6), 5)


def test_brackets_in_strings_are_no_nesting() -> None:
    for text in ("[" * 100, '"[' * 100, "\\[" * 50 + '"' * 50 + "]" * 99, "{[" * 40):
        assert parse_json(json.dumps([text, {text: text}]).encode()) == [text, {text: text}]


TEXT = st.text('[]{}"\\ü', max_size=5)
JSON = st.recursive(
    st.none() | TEXT,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=20,
)


def depth(value: Any) -> int:
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    return isinstance(value, (list, dict)) + max((depth(item) for item in inner), default=0)


@given(JSON, st.integers(0, 6), st.booleans())
@settings(max_examples=150)
def test_depth_is_what_a_walk_through_the_value_finds(value: Any, most: int, ascii_only: bool) -> None:
    body = json.dumps(value, ensure_ascii=ascii_only).encode()
    assert is_deeper_than(most, body) == (depth(value) > most)


@pytest.mark.parametrize(
    ("body", "value"),
    [
        (b'{"data":[[5.1,3.5,1.4,0.2]]}', {"data": [[5.1, 3.5, 1.4, 0.2]]}),
        (b' \r\n{"a" : 1}\t', {"a": 1}),
        ('"\u00e9"'.encode(), "\u00e9"),
        (b'"\\ud800"', "\ud800"),  # half a pair is legal JSON; `shown` keeps it out of answers
    ],
)
def test_strict_json_is_read(body: bytes, value: Any) -> None:
    assert parse_json(body) == value


def test_no_more_objects_are_looked_through_than_a_moment_allows() -> None:
    assert len(parse_json(b"[" + b"{}," * (MAX_OBJECTS - 1) + b"{}]")) == MAX_OBJECTS
    with pytest.raises(MalformedBody, match="more than 10000 objects"):
        parse_json(b"[" + b"{}," * MAX_OBJECTS + b"{}]")


@pytest.mark.parametrize("number", [b"1e999", b"-1e999", b"9" * 400])
def test_a_number_beyond_every_float_is_refused_as_a_value(number: bytes) -> None:
    values = parse_json(b"[" + number + b",1,1,1]")
    with pytest.raises(InvalidInput) as caught:
        IRIS.row(values)
    assert caught.value.field == "sepal_length"


def test_a_thousand_rows_are_read_well_within_a_request() -> None:
    body = json.dumps({"data": [[5.1, 3.5, 1.4, 0.2]] * 1000}).encode()
    best = min(_seconds_to_read(body) for _ in range(10))
    assert best < 0.010  # 2 ms measured


def _seconds_to_read(body: bytes) -> float:
    began = time.perf_counter()
    for row in parse_json(body)["data"]:
        IRIS.row(row)
    return time.perf_counter() - began


@pytest.mark.parametrize(
    "envelope",
    [
        Answered("iris", "1", "sha256:0", 1.0, 2.0, 3.0, ((1.0, 0.0, 0.0),)),
        Answered("iris", "1", "sha256:0", 1.0, 2.0, 3.0, ((1.0, 0.0, 0.0),), attempt=2, many=True),
        Failed("iris", "1", 2, "TIMEOUT", "it ran too long", 3.0),
    ],
)
def test_an_envelope_comes_back_as_it_was_written(envelope: Answered | Failed) -> None:
    assert envelope_from_json(envelope_to_json(envelope)) == envelope
