"""CSV in and out, as the API reads and writes it: tables, without HTTP."""

from __future__ import annotations

import csv
import io
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.datastructures import Headers

from iris_service.api.csv_bodies import flowers_from_csv, result_csv
from iris_service.api.negotiation import prefers_csv
from iris_service.errors import InvalidInput, IrisError, MalformedBody, TooManyRows
from iris_service.schemas import Answered
from stub_model import StubModel

SIGNATURE = StubModel.signature
HEADER = "sepal_length,sepal_width,petal_length,petal_width\n"
ROW = (5.1, 3.5, 1.4, 0.2)


def rows_of(text: str | bytes, max_rows: int = 3) -> tuple[tuple[float, ...], ...]:
    flowers = flowers_from_csv(text.encode() if isinstance(text, str) else text, max_rows, SIGNATURE)
    assert flowers.many
    return flowers.rows


@pytest.mark.parametrize(
    "text",
    [
        HEADER + "5.1,3.5,1.4,0.2",
        HEADER + "5.1,3.5,1.4,0.2\n",
        HEADER.replace("\n", "\r\n") + "5.1,3.5,1.4,0.2\r\n\r\n",
        HEADER.replace("\n", "\r") + "5.1,3.5,1.4,0.2\r",
        "\ufeff" + HEADER + "5.1,3.5,1.4,0.2\n",
        "petal_width,sepal_length,petal_length,sepal_width\n0.2,5.1,1.4,3.5\n",
        'petal_width,"sepal_length",petal_length,sepal_width\n"0.2",5.1,"1.4",3.5\n',
        "petal_width, sepal_length ,petal_length,sepal_width\n .2 , 51e-1, +1.40,3.5\n",
        "species,sepal_length,sepal_width,petal_length,petal_width\nsetosa,5.1,3.5,1.4,0.2\n",
        'note,sepal_length,sepal_width,petal_length,petal_width,note\n"a ""b"",\nc",5.1,3.5,1.4,0.2,\n',
    ],
)
def test_every_usual_way_to_write_a_flower_is_understood(text: str) -> None:
    assert rows_of(text) == (ROW,)


@pytest.mark.parametrize(
    ("text", "words", "field", "row"),
    [
        ("", "sepal_length is missing in the first line", "sepal_length", None),
        ("\n\n", "sepal_length is missing", "sepal_length", None),
        (HEADER, "no line below the header", None, None),
        ("5.1,3.5,1.4,0.2\n", "sepal_length is missing", "sepal_length", None),
        ("Sepal_Length,sepal_width,petal_length,petal_width\n1,1,1,1\n", "is missing", "sepal_length", None),
        (HEADER.replace(",", ";") + "1;1;1;1\n", "is missing", "sepal_length", None),
        ("petal_width," + HEADER + "1,1,1,1,1\n", "petal_width is named more than once", "petal_width", None),
        (HEADER + "1,1,1,1\n1,1,x,1\n", "line 3: petal_length must be a decimal number", "petal_length", 1),
        (HEADER + "1,1,1,1\n1,1,1,\n", "line 3: petal_width must be a decimal number", "petal_width", 1),
        (HEADER.replace(",", ";") + "1,0;1;1;1\n", "it is parted by semicolons, not commas", "sepal_length", None),
        (HEADER + "1,1,1,31\n", "line 2: petal_width must be a number from 0 to 30 cm", "petal_width", 0),
        (HEADER + "1,1,1,NaN\n", "line 2: petal_width", "petal_width", 0),
        (HEADER + "1,1,1,1e999\n", "line 2: petal_width", "petal_width", 0),
        (HEADER + "1,1,1,1_0\n", "line 2: petal_width", "petal_width", 0),
        (HEADER + "1,1,1\n", "line 2: there must be 4 values", None, 0),
        (HEADER + "1,1,1,1,1\n", "line 2: there must be 4 values", None, 0),
        (HEADER + "1,1,1,1\n\n1,1,1,1\n", "line 3: there must be 4 values", None, 1),
        ("note," + HEADER + '"a\nb",1,1,1,1\n"c\n\nd",1,1,1,x\n', "line 4: petal_width", "petal_width", 1),
    ],
)
def test_what_is_no_flower_is_named_by_line_and_column(
    text: str, words: str, field: str | None, row: int | None
) -> None:
    with pytest.raises(InvalidInput, match=words) as refused:
        rows_of(text)
    assert (refused.value.field, refused.value.row) == (field, row)


@pytest.mark.parametrize(
    "body",
    [
        b"\xff\xfe" + HEADER.encode("utf-16-le"),
        HEADER.encode() + b"1,1,1,\xe9",
        HEADER.encode() + b'"1,1,1,1\n',
        HEADER.encode() + b'"1"x,1,1,1\n',
        HEADER.encode() + b'"' + b"x" * 200_000 + b'",1,1,1\n',
    ],
)
def test_what_is_not_csv_is_malformed(body: bytes) -> None:
    with pytest.raises(MalformedBody):
        rows_of(body)


def test_the_limit_of_rows_is_exact() -> None:
    assert len(rows_of(HEADER + "1,1,1,1\n" * 3)) == 3
    with pytest.raises(TooManyRows, match="more rows than the 3"):
        rows_of(HEADER + "1,1,1,1\n" * 4)


@given(st.lists(st.tuples(*[st.floats(0, 30)] * 4), min_size=1, max_size=20))
def test_what_pythons_own_writer_writes_is_read_back_to_the_last_digit(rows: list[tuple[float, ...]]) -> None:
    text = io.StringIO()
    csv.writer(text).writerows([SIGNATURE.feature_names, *rows])
    assert list(rows_of(text.getvalue(), max_rows=20)) == rows


@given(st.binary(max_size=200))
def test_no_bytes_make_the_reader_fail_in_another_way(body: bytes) -> None:
    for start in (b"", HEADER.encode(), HEADER.encode() + b"1,1,1,1\n"):
        try:
            rows_of(start + body)
        except IrisError:
            pass


def test_a_damaged_file_is_read_or_refused() -> None:
    noise = random.Random(1)
    whole = (HEADER + "1.5,2,3,4\n" * 3).encode()
    for _ in range(500):
        body = bytearray(whole)
        for _ in range(noise.randrange(1, 4)):
            body[noise.randrange(len(body))] = noise.choice(b'",\r\n;\x00\xff1x')
        try:
            assert 1 <= len(rows_of(bytes(body))) <= 3
        except IrisError:
            pass


def test_an_answer_is_a_table_with_all_the_digits_there_are() -> None:
    rows = ((0.9995107, 0.0004892, 1e-07), (0.2, 0.4, 0.4))
    text = result_csv(Answered("iris", "1", "sha256:0", 1.0, 0.0, 0.0, rows), SIGNATURE.classes)
    assert text == (
        "label,probability_setosa,probability_versicolor,probability_virginica\n"
        "setosa,0.9995107,0.0004892,1e-07\n"
        "versicolor,0.2,0.4,0.4\n"
    )


@pytest.mark.parametrize(
    ("accept", "expected"),
    [
        (None, False), ("*/*", False), ("", False), ("application/json", False), ("text/html", False),
        ("text/csv", True), ("Text/CSV", True), ("text/csv; header=present", True), ("text/*", False),
        ("text/csv, */*", True), ("text/csv;q=0.5, */*", False), ("text/csv, */*;q=0.8", True),
        ("text/csv, application/json", False), ("text/csv, application/json;q=0.9", True),
        ("text/csv;q=0.9, application/json", False), ("text/csv;q=0", False), ("text/csv;q=0.000, text/html", False),
        ("text/csv;q=2", True), ("text/csv;q=x", True), (",,;=,text/csv;;", True), ("text/csvx", False),
        ("text/html, application/xhtml+xml, application/xml;q=0.9, */*;q=0.8", False),
    ],
)  # fmt: skip
def test_csv_is_for_those_who_would_rather_have_it(accept: str | None, expected: bool) -> None:
    assert prefers_csv(Headers({} if accept is None else {"accept": accept})) is expected
