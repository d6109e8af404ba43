"""CSV in and out: the bodies of those who have a file rather than JSON. Pure; knows nothing of HTTP."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterator, Sequence
from typing import Any

from iris_service.api.inputs import Flowers
from iris_service.errors import InvalidInput, MalformedBody, TooManyRows
from iris_service.schemas import Answered, Row, Signature, answer_columns, answer_texts, decimal_from_text, places_of


def flowers_from_csv(body: bytes, max_rows: int, signature: Signature) -> Flowers:
    """Read a header line that names the columns, in any order, and one flower a line. Other columns are ignored.

    Raises `MalformedBody`, `TooManyRows`, or `InvalidInput` naming line and column.
    """
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as exc:
        raise MalformedBody("the body is not UTF-8") from exc
    # spare line ends at the end are nobody's mistake; an empty line between others is
    reader = csv.reader(io.StringIO(text.rstrip("\r\n"), newline=""), strict=True)
    try:
        header = next(reader, [])
        rows = tuple(_rows(reader, header, max_rows, signature))
    except csv.Error as exc:
        raise MalformedBody(f"the body is not CSV: line {reader.line_num}: {exc}") from exc
    if not rows:
        raise InvalidInput("there is no line below the header")
    return Flowers(rows, many=True)


def _rows(reader: Any, header: Sequence[str], max_rows: int, signature: Signature) -> Iterator[Row]:
    columns = _columns(header, signature)
    line = reader.line_num + 1
    for number, values in enumerate(reader):
        if number == max_rows:
            raise TooManyRows(f"there are more rows than the {max_rows} that one request may have")
        try:
            yield _row(values, columns, len(header), signature)
        except InvalidInput as exc:
            raise InvalidInput(f"line {line}: {exc}", field=exc.field, row=number) from exc
        line = reader.line_num + 1


def _columns(header: Sequence[str], signature: Signature) -> list[tuple[str, int]]:
    """Return the place of each feature; raises `InvalidInput`."""
    names = signature.feature_names
    return list(zip(names, places_of(names, header), strict=True))


def _row(values: Sequence[str], columns: Sequence[tuple[str, int]], width: int, signature: Signature) -> Row:
    if len(values) != width:
        raise InvalidInput(f"there must be {width} values, as in the first line, not {len(values)}")
    return signature.row([decimal_from_text(name, values[at].strip()) for name, at in columns])


def result_csv(answer: Answered, classes: Sequence[str]) -> str:
    """Return a header line and one line a row: the most probable class and the probability of each."""
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")  # what the shell's tools expect; readers of CSV take either
    writer.writerow(answer_columns(classes))
    writer.writerows(answer_texts(row, classes) for row in answer.rows)
    return text.getvalue()
