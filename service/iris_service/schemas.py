"""What crosses a process boundary: one frozen type each, with one parser. Knows nothing of HTTP, Redis or models."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import Any, Literal

import msgspec

from iris_service.errors import InvalidInput, MalformedBody

Row = tuple[float, ...]
"""One flower: a value for each feature, in the order of the signature, in the feature's unit."""

MAX_DEPTH = 32
"""Levels of lists and objects in JSON, where no setting says otherwise."""
MAX_OBJECTS = 10_000
"""In JSON, braces inside texts included. Python looks at each for duplicate keys: 1 MiB of {} would take a tenth of a
second, and rows are lists."""

_DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)


class Feature(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """One input of a model and the values it accepts, bounds included."""

    name: str
    unit: str
    minimum: float
    maximum: float

    def check(self, value: Any) -> float:
        """Return `value` as a float when it is a number in range; raises `InvalidInput` naming the feature."""
        if isinstance(value, bool) or not isinstance(value, (int, float)):
            raise InvalidInput(f"{self.name} must be a number", field=self.name)
        # compared before it is converted: float() of an integer of 400 digits raises; NaN compares as false
        if not self.minimum <= value <= self.maximum:
            raise InvalidInput(
                f"{self.name} must be a number from {self.minimum:g} to {self.maximum:g} {self.unit}",
                field=self.name,
            )
        return float(value)


class Signature(msgspec.Struct, frozen=True, dict=True, forbid_unknown_fields=True):
    """What a model takes and what it answers: features and classes, both in order."""

    features: tuple[Feature, ...]
    classes: tuple[str, ...]

    @cached_property
    def feature_names(self) -> tuple[str, ...]:
        return tuple(feature.name for feature in self.features)

    def row_from_text(self, values: Mapping[str, str]) -> Row:
        """Read one flower from decimal texts by feature name, as a query string or CSV line gives them."""
        self._refuse_strangers(values)
        return self.row_from_mapping({name: decimal_from_text(name, text) for name, text in values.items()})

    def row_from_mapping(self, values: Mapping[str, Any]) -> Row:
        """Read one flower from numbers by feature name; every feature must be there and nothing else."""
        names = self.feature_names
        self._refuse_strangers(values)
        for name in names:
            if name not in values:
                raise InvalidInput(f"{name} is missing", field=name)
        return self.row([values[name] for name in names])

    def _refuse_strangers(self, names: Iterable[str]) -> None:
        for name in names:
            if name not in self.feature_names:
                raise InvalidInput(f"{shown(name)} is not a feature of this model", field=shown(name))

    def row(self, values: Any) -> Row:
        """Read one flower from numbers in the order of the features."""
        if not isinstance(values, (list, tuple)) or len(values) != len(self.features):
            raise InvalidInput(f"a row must have {len(self.features)} numbers: {', '.join(self.feature_names)}")
        return tuple(
            [
                # the usual case without a call: a request may bring thousands of values
                value if type(value) is float and feature.minimum <= value <= feature.maximum else feature.check(value)
                for feature, value in zip(self.features, values, strict=True)
            ]
        )


_NOT_COMMAS = {";": "semicolons", "\t": "tabs"}


def places_of(names: Sequence[str], header: Sequence[str]) -> list[int]:
    """Return the column of each name in the first line of a table; raises `InvalidInput`."""
    columns = [column.strip() for column in header]
    for name in names:
        if (times := columns.count(name)) != 1:
            hint = f": {parted}" if (parted := not_by_commas(",".join(columns))) else ""
            often = "is named more than once" if times else "is missing"
            raise InvalidInput(f"{name} {often} in the first line, which must name the columns{hint}", field=name)
    return [columns.index(name) for name in names]


def not_by_commas(first_line: str) -> str:
    """Return a sentence when a table's first line parts its columns otherwise, else nothing."""
    signs = [sign for sign in _NOT_COMMAS if sign in first_line]
    return f"it is parted by {_NOT_COMMAS[signs[0]]}, not commas" if signs and "," not in first_line else ""


def shown(name: str, most: int = 64) -> str:
    """A caller's name for something as it may be repeated in an answer: short, and valid as UTF-8."""
    return name[:most].encode(errors="replace").decode()


def decimal_from_text(name: str, text: str) -> float:
    """Read a plain decimal; raises `InvalidInput` naming what it was for."""
    # float() would also take "1_0", " 5 ", "infinity" and other alphabets' digits
    if not _DECIMAL.fullmatch(text):
        raise InvalidInput(f"{shown(name)} must be a decimal number", field=shown(name))
    return float(text)


_ESCAPED = re.compile(rb"\\.", re.DOTALL)
_STRING = re.compile(rb'"[^"]*"')
_ONE_KIND = bytes.maketrans(b"{}", b"[]")
_ALL_ELSE = bytes(set(range(256)) - set(b'[]{}"'))


def is_deeper_than(most: int, body: bytes) -> bool:
    """Return whether JSON opens more than `most` lists and objects inside each other.

    Before it is parsed, and without a step of Python a byte: of the body only the brackets are left, and then, once for
    each level, the innermost pairs are taken out. What is no JSON may be called either; the parser will refuse it.
    """
    if body.count(b"[") + body.count(b"{") <= most:
        return False  # the usual case
    body = _ESCAPED.sub(b"", body) if b"\\" in body else body
    brackets = _STRING.sub(b"", body.translate(_ONE_KIND, _ALL_ELSE))
    too_many = b"[" * (most + 1)
    for _ in range(most):
        if too_many in brackets:
            return True
        rest = brackets.replace(b"[]", b"")
        if len(rest) == len(brackets):
            return False
        brackets = rest
    return b"[]" in brackets


def _object_without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        raise ValueError("an object names a key twice")
    return found


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"{name} is not a JSON number")


# made once: json.loads would make one for every call
_json = json.JSONDecoder(object_pairs_hook=_object_without_duplicates, parse_constant=_refuse_constant)


def parse_json(body: bytes, max_depth: int = MAX_DEPTH) -> Any:
    """Parse strict JSON: UTF-8 without a mark, no NaN or Infinity, no duplicate keys, not deeper than allowed, nor
    of too many objects."""
    if is_deeper_than(max_depth, body):
        raise MalformedBody(f"the body is nested more than {max_depth} levels deep")
    if body.count(b"{") > MAX_OBJECTS:
        raise MalformedBody(f"the body has more than {MAX_OBJECTS} objects")
    try:
        return _json.decode(body.decode("utf-8"))
    except (UnicodeDecodeError, ValueError, RecursionError) as exc:
        raise MalformedBody(f"the body is not valid JSON: {_short_reason(exc)}") from exc


def _short_reason(exc: Exception) -> str:
    if isinstance(exc, UnicodeDecodeError):
        return "it is not UTF-8"
    if isinstance(exc, RecursionError):
        return "it is nested too deeply"
    if "integer string conversion" in str(exc):
        return "a number has too many digits"
    return str(exc)[:120]


GOLDEN_SET = "golden set"
"""Request id of the jobs by which the operator proves a version; with a space, which no caller's `X-Request-Id` has."""


class Payload(msgspec.Struct, frozen=True, omit_defaults=True):
    """What a job carries to the worker. `many` says how the caller sent it and so how the answer is shaped."""

    rows: tuple[Row, ...]
    many: bool
    request_id: str
    accepted_at: float
    """Unix time in seconds, by the clock of the API process."""
    traceparent: str = ""
    """W3C Trace Context, and `tracestate` too; a waiting job without them is not a byte longer for it."""
    tracestate: str = ""


class Answered(msgspec.Struct, frozen=True, tag="done", tag_field="state", omit_defaults=True):
    """A finished prediction: one list of probabilities a row, in class order. Kept small: Redis holds many."""

    model: str
    version: str
    digest: str
    accepted_at: float
    """Unix time in seconds, by the clock of the API process."""
    queued_seconds: float
    """From acceptance to the start of the batch; two machines' clocks, so only as good as they agree."""
    task_seconds: float
    """From the start of the batch to its answers."""
    rows: tuple[tuple[float, ...], ...]
    attempt: int = 1
    many: bool = False


def likeliest(row: Row) -> int:
    """Return the index of the most probable class, the first of equals."""
    return row.index(max(row))


def answer_columns(classes: Sequence[str]) -> list[str]:
    """Return the columns of an answer in a table."""
    return ["label", *(f"probability_{name}" for name in classes)]


def answer_texts(row: Row, classes: Sequence[str]) -> list[str]:
    """Return the values of one answer in a table: all the digits there are."""
    return [classes[likeliest(row)], *map(repr, row)]


class Failed(msgspec.Struct, frozen=True, tag="error", tag_field="state"):
    """A job that ended without an answer, and why; as final as an answer."""

    model: str
    version: str
    attempt: int
    code: FailureCode
    error: str
    finished_at: float


FailureCode = Literal["BAD_INPUT", "PREDICTION_FAILED", "TIMEOUT", "WORKER_LOST", "EXPIRED", "UNREADABLE", "CANCELLED"]
"""BAD_INPUT: the rows do not fit the model · PREDICTION_FAILED: the model raised or answered nonsense ·
TIMEOUT: it ran too long · WORKER_LOST: its workers died, attempts used up · EXPIRED: nobody took it before its
deadline · UNREADABLE: what Redis held for it could not be read back · CANCELLED: its caller said so."""

Envelope = Answered | Failed
"""What is written once under a job's result key."""

_envelope_decoder: msgspec.json.Decoder[Envelope] = msgspec.json.Decoder(Envelope)


def envelope_to_json(envelope: Envelope) -> bytes:
    return msgspec.json.encode(envelope)


def envelope_from_json(data: bytes) -> Envelope:
    """Read an envelope back; raises `msgspec.ValidationError` when it is not one."""
    return _envelope_decoder.decode(data)
