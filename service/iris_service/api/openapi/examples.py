"""Examples that are true: what the golden rows of the card are answered, made by what answers requests."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import msgspec

from iris_service.api.answers import Result, Results, result_body
from iris_service.api.csv_bodies import result_csv
from iris_service.api.openapi.parts import Example
from iris_service.api.problems import answer_to
from iris_service.api.v2.outputs import OUTPUTS, Choice, render
from iris_service.api.v2.reading import INPUT, INPUT_DATATYPE
from iris_service.api.v2.shapes import InferRequest, InputTensor, RequestedOutput
from iris_service.errors import InvalidInput
from iris_service.jobs.job_id import id_of_key
from iris_service.model.card import Card
from iris_service.schemas import Answered

JOB_ID = id_of_key(b"an example", None)
REQUEST_ID = id_of_key(b"the example of a request", None)
MANY = 2
"""Flowers in an example of many."""


class Examples:
    """Of one model."""

    def __init__(self, card: Card) -> None:
        self.card = card
        self.names = card.signature.feature_names
        self.rows = [list(row) for row in card.golden_rows[:MANY]]
        self.note = card.golden[0].note

    @property
    def flower(self) -> dict[str, float]:
        return dict(zip(self.names, self.rows[0], strict=True))

    @property
    def file(self) -> str:
        lines = [self.names, *(map(repr, row) for row in self.rows)]
        return "".join(",".join(line) + "\n" for line in lines)

    def answered(self, *, many: bool) -> Answered:
        card = self.card
        probabilities = tuple(gold.probabilities for gold in card.golden[: MANY if many else 1])
        digest = next(iter(card.artifacts.values())).digest
        return Answered(card.model, card.version, digest, 0.0, 0.001842, 0.000401, probabilities, many=many)

    def result(self, *, many: bool) -> Result | Results:
        return result_body(self.answered(many=many), self.card.signature.classes)

    @property
    def result_file(self) -> str:
        return result_csv(self.answered(many=True), self.card.signature.classes)

    @property
    def table(self) -> InferRequest:
        """One tensor for all features, and all outputs."""
        shape = (len(self.rows), len(self.names))
        return InferRequest((InputTensor(INPUT, shape, INPUT_DATATYPE, data=self.rows),), id="42")

    @property
    def columns(self) -> InferRequest:
        """One tensor for each feature, and one output."""
        columns = zip(self.names, zip(*self.rows, strict=True), strict=True)
        shape = (len(self.rows),)
        tensors = tuple(InputTensor(name, shape, INPUT_DATATYPE, data=list(values)) for name, values in columns)
        return InferRequest(tensors, outputs=(RequestedOutput("label"),))

    def inferred(self, names: Sequence[str] = tuple(OUTPUTS), id_: str = "42") -> Any:
        answer, classes = self.answered(many=True), self.card.signature.classes
        return msgspec.json.decode(render(answer, classes, [Choice(name) for name in names], id_)[0])

    @property
    def refusal(self) -> Any:
        """What is said of a value that is out of range."""
        try:
            self.card.signature.features[-1].check(math.inf)
        except InvalidInput as exc:
            refused = exc
        return msgspec.json.decode(answer_to(refused, REQUEST_ID).body)


def plain(value: Any) -> Any:
    """Return a value of ours as JSON has it, without what is only there by default."""
    found = msgspec.to_builtins(value)
    return _without_none(found)


def _without_none(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _without_none(inner) for name, inner in value.items() if inner is not None}
    return [_without_none(inner) for inner in value] if isinstance(value, list | tuple) else value


def example(value: Any, shows: str = "") -> Example:
    return Example(plain(value), shows)
