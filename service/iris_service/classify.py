"""Classifies a table's rows, here or on a server, in order, and puts the answers beside them: all of it, or nothing."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from iris_service.config import ModelSettings
from iris_service.errors import BodyTooLarge, InvalidInput, TooManyRows
from iris_service.model.runtime import load_model
from iris_service.remote import Remote
from iris_service.schemas import Row, answer_columns, answer_texts, decimal_from_text, places_of
from iris_service.tables import Table, csv_text


class Answers(NamedTuple):
    """The columns of some answers, and their texts, one list a row."""

    columns: Sequence[str]
    rows: Sequence[Sequence[str]]


class Classifier(Protocol):
    """Answers the rows of a table from `start` to `stop`; raises `InvalidInput` naming line and column."""

    def __call__(self, start: int, stop: int) -> Answers: ...


def classified(table: Table, classify: Classifier, at_a_time: int, progress: Callable[[str, int, int], None]) -> str:
    """Return the table with the answers beside each row, as CSV; raises what `classify` raises."""
    total = len(table.rows)
    lines: list[Sequence[str]] = []
    for start in range(0, total, at_a_time):
        stop = min(start + at_a_time, total)
        answers = classify(start, stop)
        if not lines:
            lines.append(_header(table, answers.columns))
        lines += [[*row, *texts] for row, texts in zip(table.rows[start:stop], answers.rows, strict=True)]
        progress(table.name, stop, total)
    return csv_text(lines)


def _header(table: Table, columns: Sequence[str]) -> list[str]:
    for name in columns:
        if name in table.header:
            raise InvalidInput(f"{table.name} has a column {name} already: rename it, the answers need the name")
    return [*table.header, *columns]


@contextmanager
def _lines_named(table: Table) -> Iterator[None]:
    """Turn the number of a row, where an error has one, into the line of the file."""
    try:
        yield
    except InvalidInput as exc:
        if exc.row is None:
            raise
        raise InvalidInput(f"{table.name}, line {table.line(exc.row)}: {exc}", field=exc.field) from exc


class LocalClassifier:
    """The model that the settings name; checks every row before it answers one."""

    def __init__(self, table: Table, settings: ModelSettings) -> None:
        self._model = load_model(settings)
        self._names = self._model.signature.feature_names
        try:
            places = places_of(self._names, table.header)
        except InvalidInput as exc:
            raise InvalidInput(f"{table.name}: {exc}", field=exc.field) from exc
        with _lines_named(table):
            self._rows = [self._row(at, [row[place] for place in places]) for at, row in enumerate(table.rows)]

    def _row(self, number: int, texts: Sequence[str]) -> Row:
        try:
            return self._model.signature.row(
                [decimal_from_text(name, text.strip()) for name, text in zip(self._names, texts, strict=True)]
            )
        except InvalidInput as exc:
            raise InvalidInput(str(exc), field=exc.field, row=number) from exc

    def __call__(self, start: int, stop: int) -> Answers:
        classes = self._model.signature.classes
        answers = self._model.predict(self._rows[start:stop])
        return Answers(answer_columns(classes), [answer_texts(answer, classes) for answer in answers])


class RemoteClassifier:
    """A server; what it finds too much for one request is sent in halves."""

    def __init__(self, table: Table, remote: Remote) -> None:
        self._table = table
        self._remote = remote

    def __call__(self, start: int, stop: int) -> Answers:
        try:
            with _lines_named(self._table):
                return self._ask(start, stop)
        except (TooManyRows, BodyTooLarge):
            if stop - start == 1:
                raise
        middle = (start + stop) // 2
        first, second = self(start, middle), self(middle, stop)
        return Answers(first.columns, [*first.rows, *second.rows])

    def _ask(self, start: int, stop: int) -> Answers:
        try:
            columns, *rows = self._remote.predict_csv([self._table.header, *self._table.rows[start:stop]])
        except InvalidInput as exc:
            # the server counts from the first row that it was sent, and so do the lines of its sentence
            row = None if exc.row is None else start + exc.row
            raise InvalidInput(re.sub(r"^line \d+: ", "", str(exc)), field=exc.field, row=row) from exc
        return Answers(columns, rows)
