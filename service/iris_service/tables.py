"""CSV files on a person's machine, read whole with pandas. Knows no models and no servers."""

from __future__ import annotations

import csv
import io
import sys
from collections.abc import Iterable, Sequence
from itertools import islice
from pathlib import Path
from typing import NamedTuple

import pandas as pd

from iris_service.errors import InvalidInput

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
    except (pd.errors.EmptyDataError, pd.errors.ParserError, UnicodeDecodeError) as exc:
        reason = "it is not UTF-8" if isinstance(exc, UnicodeDecodeError) else str(exc).strip()
        raise InvalidInput(f"{name} is not CSV: {reason}") from exc
    header, *rows = frame.to_numpy().tolist()
    if not rows:
        raise InvalidInput(f"{name} has no line below the first, which names the columns")
    return Table(name, [column.strip() for column in header], rows, data)


def csv_text(lines: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(lines)
    return text.getvalue()
