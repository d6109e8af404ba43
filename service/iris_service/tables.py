"""CSV files on a person's machine, read whole with pandas. Knows no models and no servers."""

from __future__ import annotations

import csv
import io
import re
import sys
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from iris_service.errors import InvalidInput
from iris_service.schemas import not_by_commas

STDIN = Path("-")


class Table(NamedTuple):
    """The texts of a file: its first line, and the rows below."""

    name: str
    header: list[str]
    rows: list[list[str]]
    data: bytes

    def line(self, row: int) -> int:
        """Return the number of the line where a row begins: it may be off by quoted line ends and empty lines."""
        reader = csv.reader(io.StringIO(self.data.decode("utf-8-sig"), newline=""))
        starts = ((before, values) for before, values in _with_starts(reader) if values)
        return next(islice(starts, row + 1, None))[0]  # the first is the header


def _with_starts(reader: Iterable[list[str]]) -> Iterable[tuple[int, list[str]]]:
    start = 1
    for values in reader:
        yield start, values
        start = reader.line_num + 1  # type: ignore[attr-defined]


def read_table(path: Path) -> Table:
    """Read a file, `-` for standard input; raises `InvalidInput` when it is not CSV with a first line of names."""
    name = "standard input" if path == STDIN else str(path)
    try:
        data = sys.stdin.buffer.read() if path == STDIN else path.read_bytes()
        # without a header, pandas takes no column for an index and renames none
        frame = pd.read_csv(io.BytesIO(data), header=None, dtype=str, na_filter=False, encoding="utf-8-sig")
    except OSError as exc:
        raise InvalidInput(f"cannot read {name}: {exc.strerror}") from exc
    except pd.errors.EmptyDataError as exc:
        raise InvalidInput(f"{name} is empty") from exc
    except UnicodeDecodeError as exc:
        raise InvalidInput(f"{name} is not CSV: it is not UTF-8") from exc
    except pd.errors.ParserError as exc:
        raise InvalidInput(f"{name} is not CSV: {_plainly(str(exc), data)}") from exc
    header, *rows = frame.to_numpy().tolist()
    if not rows:
        raise InvalidInput(f"{name} has no line below the first, which names the columns")
    return Table(name, [column.strip() for column in header], rows, data)


def _plainly(complaint: str, data: bytes) -> str:
    """Say what pandas found in words of the file."""
    if parted := not_by_commas(data.splitlines()[0].decode(errors="replace")):
        return parted
    if found := re.search(r"Expected (\d+) fields in line (\d+), saw (\d+)", complaint):
        return "line {1} has {2} values, the first has {0}".format(*found.groups())
    if "EOF inside string" in complaint:
        return "a quotation mark is never closed"
    return complaint.strip()


def csv_text(lines: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()
