"""Turns an answer into the tensors a caller has chosen, in JSON or in bytes. Pure; knows nothing of HTTP."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

import msgspec

from iris_service.api.v2.rows import refuse_parameters
from iris_service.api.v2.shapes import Datatype, InferRequest, InferResponse, OutputTensor, Parameters
from iris_service.api.v2.tensors import to_bytes
from iris_service.errors import InvalidTensors
from iris_service.schemas import Answered, Row, likeliest, shown

_encode = msgspec.json.Encoder().encode


class Choice(NamedTuple):
    """An output to answer, and whether in bytes."""

    name: str
    binary: bool = False


class Output(NamedTuple):
    """One thing an answer can be asked for; `width` values a row, of the shape [rows] or [rows, classes]."""

    datatype: Datatype
    per_class: bool
    values: Callable[[Sequence[Row], Sequence[str]], list[Any]]


OUTPUTS: Mapping[str, Output] = {
    "predict": Output("INT64", False, lambda rows, _: [likeliest(row) for row in rows]),
    "predict_proba": Output("FP64", True, lambda rows, _: [share for row in rows for share in row]),
    "label": Output("BYTES", False, lambda rows, classes: [classes[likeliest(row)] for row in rows]),
}
"""In this order where none are chosen: many clients look at the first output only."""


ALL_IN_JSON = tuple(map(Choice, OUTPUTS))
"""The choice of who makes none: most."""


def choices_of(request: InferRequest) -> tuple[Choice, ...]:
    """Return the chosen outputs in the caller's order; raises `InvalidTensors`."""
    if not request.outputs and not request.parameters:
        return ALL_IN_JSON
    binary = _switch(request.parameters, "binary_data_output", default=False)
    if not request.outputs:
        return tuple(Choice(name, binary) for name in OUTPUTS)
    for output in request.outputs:
        refuse_parameters(output.parameters or {})
    names = chosen_names([output.name for output in request.outputs])
    switches = [_switch(output.parameters, "binary_data", default=binary) for output in request.outputs]
    return tuple(map(Choice, names, switches))


def chosen_names(names: Sequence[str]) -> Sequence[str]:
    """Return the names when each is an output, once; raises `InvalidTensors`."""
    for name in names:
        if name not in OUTPUTS:
            raise InvalidTensors(f"{shown(name)} is not an output; there are {', '.join(OUTPUTS)}", field="outputs")
    if len(set(names)) != len(names):
        raise InvalidTensors("an output is asked for more than once", field="outputs")
    return names


def _switch(parameters: Parameters | None, name: str, *, default: bool) -> bool:
    value = (parameters or {}).get(name, default)
    if not isinstance(value, bool):
        raise InvalidTensors(f"the parameter {name} must be true or false", field=name)
    return value


def render(answer: Answered, classes: Sequence[str], choices: Sequence[Choice], id_: str) -> tuple[bytes, int | None]:
    """Return the body of a response, and the length of its JSON if bytes follow that."""
    tensors, tails = [], []
    for choice in choices:
        output = OUTPUTS[choice.name]
        shape = (len(answer.rows), len(classes)) if output.per_class else (len(answer.rows),)
        values = output.values(answer.rows, classes)
        if choice.binary:
            tails.append(to_bytes(output.datatype, values))
            parameters: Parameters = {"binary_data_size": len(tails[-1])}
            tensors.append(OutputTensor(choice.name, shape, output.datatype, parameters))
        else:
            tensors.append(OutputTensor(choice.name, shape, output.datatype, data=values))
    head = _encode(InferResponse(answer.model, answer.version, id_, tensors))
    return (head + b"".join(tails), len(head)) if tails else (head, None)
