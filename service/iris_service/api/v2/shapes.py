"""The JSON of the Open Inference Protocol V2, as types: they check requests, render answers, and say what they are."""

from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

MAX_ID_CHARACTERS = 256
"""Of the `id` that a request may bring: it is echoed, in a header too."""
MAX_TENSORS = 256
"""In one request; no model has more features."""

Datatype = Literal[
    "BOOL", "UINT8", "UINT16", "UINT32", "UINT64", "INT8", "INT16", "INT32", "INT64", "FP16", "FP32", "FP64", "BYTES"
]
Parameters = dict[str, str | bool | int | float]
Size = Annotated[int, Meta(ge=0, lt=1 << 31)]


class InputTensor(msgspec.Struct, frozen=True):
    """One input. Its values are in `data`, flat or nested, or follow the JSON as `binary_data_size` bytes."""

    name: Annotated[str, Meta(min_length=1)]
    shape: Annotated[tuple[Size, ...], Meta(min_length=1, max_length=8)]
    datatype: Datatype
    parameters: Parameters | None = None
    data: list[Any] | None = None


class RequestedOutput(msgspec.Struct, frozen=True):
    """An output the caller wants."""

    name: str
    parameters: Parameters | None = None


class InferRequest(msgspec.Struct, frozen=True):
    """What is asked. Fields of no meaning here are ignored, as the protocol allows; null is as good as absent."""

    inputs: Annotated[tuple[InputTensor, ...], Meta(min_length=1, max_length=MAX_TENSORS)]
    id: Annotated[str, Meta(max_length=MAX_ID_CHARACTERS)] | None = None
    parameters: Parameters | None = None
    outputs: Annotated[tuple[RequestedOutput, ...], Meta(max_length=MAX_TENSORS)] | None = None


class OutputTensor(msgspec.Struct, frozen=True):
    """One output: `data`, flat, or `binary_data_size` bytes after the JSON."""

    name: str
    shape: tuple[int, ...]
    datatype: Datatype
    parameters: Parameters | UnsetType = UNSET
    data: list[Any] | UnsetType = UNSET


class InferResponse(msgspec.Struct, frozen=True):
    """What is answered; `model_version` is the version that has answered."""

    model_name: str
    model_version: str
    id: str
    outputs: list[OutputTensor]


class Live(msgspec.Struct, frozen=True):
    live: bool = True


class Ready(msgspec.Struct, frozen=True):
    ready: bool = True


class ModelReady(msgspec.Struct, frozen=True):
    name: str
    ready: bool = True


class ServerMetadata(msgspec.Struct, frozen=True):
    name: str
    version: str
    extensions: tuple[str, ...]


class Models(msgspec.Struct, frozen=True):
    """Every model that takes jobs, by name."""

    models: list[str]


class TensorMetadata(msgspec.Struct, frozen=True):
    """-1 in a shape is as many as there are rows."""

    name: str
    datatype: Datatype
    shape: tuple[int, ...]
    parameters: Parameters | UnsetType = UNSET


class ModelMetadata(msgspec.Struct, frozen=True):
    """What a model takes and answers; `versions` are those that take jobs now."""

    name: str
    versions: tuple[str, ...]
    platform: str
    inputs: tuple[TensorMetadata, ...]
    outputs: tuple[TensorMetadata, ...]


class Reshape(msgspec.Struct, frozen=True):
    shape: tuple[int, ...]


class ConfigTensor(msgspec.Struct, frozen=True):
    """A tensor as Triton's model configuration names it: without the dimension of the rows."""

    name: str
    data_type: str
    dims: tuple[int, ...]
    reshape: Reshape | UnsetType = UNSET


class ModelConfig(msgspec.Struct, frozen=True):
    """Triton's model configuration, as far as it has a meaning here; `max_batch_size` is the limit of rows."""

    name: str
    platform: str
    backend: str
    max_batch_size: int
    input: tuple[ConfigTensor, ...]
    output: tuple[ConfigTensor, ...]


class Count(msgspec.Struct, frozen=True):
    count: int


class InferenceStatistics(msgspec.Struct, frozen=True):
    """Requests since the queue began, by how they ended. Times and rows are not counted, and so are not here."""

    success: Count
    fail: Count


class ModelStatistics(msgspec.Struct, frozen=True):
    name: str
    version: str
    inference_stats: InferenceStatistics


class Statistics(msgspec.Struct, frozen=True):
    model_stats: list[ModelStatistics]


class IndexRequest(msgspec.Struct, frozen=True):
    """Which versions to list: all, or those that are ready."""

    ready: bool = False


class IndexEntry(msgspec.Struct, frozen=True):
    """One version in the repository index."""

    name: str
    version: str
    state: Literal["READY", "UNAVAILABLE"]
    reason: str = ""
