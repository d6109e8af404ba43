"""Turns tensors into a model's rows: one tensor for all features, or one for each, named like it. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from iris_service.api.inputs import Flowers, checked_rows
from iris_service.api.v2.reading import Asked
from iris_service.api.v2.shapes import InputTensor
from iris_service.api.v2.tensors import numbers_from_bytes, numbers_from_json
from iris_service.errors import InvalidTensors, TooManyRows
from iris_service.schemas import Signature, shown

_REFUSED = ("shared_memory_region", "classification")
"""Parameters that would change what is read or answered, and mean nothing here."""


def flowers_of(asked: Asked, max_rows: int, signature: Signature) -> Flowers:
    """Return the rows of a request, checked.

    Raises `InvalidTensors`, `TooManyRows`, or `InvalidInput` naming the row and the feature.
    """
    inputs = list(zip(asked.request.inputs, asked.raw, strict=True))
    for tensor, _ in inputs:
        if tensor.parameters:
            refuse_parameters(tensor.parameters)
    rows: Iterable[Sequence[Any]]
    if len(inputs) == 1 and inputs[0][0].name not in signature.feature_names:
        rows = _table(*inputs[0], max_rows, len(signature.features))
    else:
        rows = _columns(inputs, max_rows, signature)
    return Flowers(checked_rows(rows, signature, lambda number: f"row {number}"), many=True)


def refuse_parameters(parameters: Iterable[str]) -> None:
    """Raise `InvalidTensors` for what cannot be done; other parameters may mean something to somebody else."""
    for name in parameters:
        if name in _REFUSED:
            raise InvalidTensors(f"the parameter {name} is not supported", field=name)


def _table(tensor: InputTensor, raw: bytes | None, max_rows: int, width: int) -> list[Sequence[Any]]:
    if len(tensor.shape) != 2 or tensor.shape[1] != width:
        name = shown(tensor.name)
        raise InvalidTensors(f"{name} must have shape [rows, {width}], not {list(tensor.shape)}", field=name)
    numbers = _numbers(tensor, raw, max_rows)
    return [numbers[at : at + width] for at in range(0, len(numbers), width)]


def _columns(
    inputs: Sequence[tuple[InputTensor, bytes | None]], max_rows: int, signature: Signature
) -> Iterable[Sequence[Any]]:
    found: dict[str, list[Any]] = {}
    for tensor, raw in inputs:
        name = shown(tensor.name)
        if tensor.name not in signature.feature_names:
            raise InvalidTensors(f"{name} is not a feature of this model", field=name)
        if name in found:
            raise InvalidTensors(f"{name} is given more than once", field=name)
        if len(tensor.shape) > 2 or tensor.shape[1:] not in ((), (1,)):
            raise InvalidTensors(f"{name} must have shape [rows] or [rows, 1], not {list(tensor.shape)}", field=name)
        if tensor.shape[0] != inputs[0][0].shape[0]:
            raise InvalidTensors("the tensors have different numbers of rows", field=name)
        found[name] = _numbers(tensor, raw, max_rows)
    for name in signature.feature_names:
        if name not in found:
            raise InvalidTensors(f"{name} is missing", field=name)
    return zip(*(found[name] for name in signature.feature_names), strict=True)


def _numbers(tensor: InputTensor, raw: bytes | None, max_rows: int) -> list[Any]:
    """Read a tensor whose shape suits the model, and not before it is known to be small enough."""
    rows, name = tensor.shape[0], shown(tensor.name)
    if rows == 0:
        raise InvalidTensors(f"{name} has no rows", field=name)
    if rows > max_rows:
        raise TooManyRows(f"{name} has {rows} rows; one request may have {max_rows}", field=name)
    try:
        if raw is not None:
            return numbers_from_bytes(tensor.datatype, tensor.shape, raw)
        return numbers_from_json(tensor.datatype, tensor.shape, tensor.data or [])
    except InvalidTensors as exc:
        raise InvalidTensors(f"{name}: {exc}", field=name) from exc
