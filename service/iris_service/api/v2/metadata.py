"""What a model says of itself, all of it taken from its card, its route and its queue's counts. Pure."""

from __future__ import annotations

from collections.abc import Sequence

from iris_service.api.v2.outputs import OUTPUTS
from iris_service.api.v2.reading import INPUT, INPUT_DATATYPE
from iris_service.api.v2.shapes import (
    ConfigTensor,
    Count,
    Datatype,
    IndexEntry,
    InferenceStatistics,
    ModelConfig,
    ModelMetadata,
    ModelStatistics,
    Reshape,
    TensorMetadata,
)
from iris_service.jobs.keys import Target
from iris_service.jobs.pressure import QueueReading
from iris_service.model.card import Card

_PLATFORMS = {
    "onnx": "onnxruntime_onnx",
    "skops": "sklearn_skops",
    "joblib": "sklearn_joblib",
    "pickle": "sklearn_pickle",
}
"""By format, in the order in which one is preferred; the first is Triton's name for it."""


def model_metadata(card: Card, versions: Sequence[str]) -> ModelMetadata:
    signature = card.signature
    features = TensorMetadata(
        INPUT,
        INPUT_DATATYPE,
        (-1, len(signature.features)),
        {
            "features": ",".join(signature.feature_names),
            "per_column": "or one tensor of shape [rows] or [rows, 1] for each feature, named like it",
            "datatypes": "any numeric datatype",
        },
    )
    outputs = [
        TensorMetadata(
            name,
            output.datatype,
            (-1, len(signature.classes)) if output.per_class else (-1,),
            {"classes": ",".join(signature.classes)},
        )
        for name, output in OUTPUTS.items()
    ]
    return ModelMetadata(card.model, tuple(versions), _platform(card), (features,), tuple(outputs))


def model_config(card: Card, max_rows: int) -> ModelConfig:
    platform = _platform(card)
    outputs = [
        ConfigTensor(name, _config_type(output.datatype), (len(card.signature.classes),))
        if output.per_class
        else ConfigTensor(name, _config_type(output.datatype), (1,), Reshape(()))
        for name, output in OUTPUTS.items()
    ]
    return ModelConfig(
        name=card.model,
        platform=platform,
        backend=platform.partition("_")[0],
        max_batch_size=max_rows,
        input=(ConfigTensor(INPUT, _config_type(INPUT_DATATYPE), (len(card.signature.features),)),),
        output=tuple(outputs),
    )


def statistics(target: Target, reading: QueueReading) -> ModelStatistics:
    """Return how many requests a version has answered, in jobs and without, as Redis has counted them."""
    done = reading.outcomes.get("done", 0)
    success, fail = done + reading.inline_done, reading.answered - done + reading.inline_error
    return ModelStatistics(target.model, target.version, InferenceStatistics(Count(success), Count(fail)))


def index_entry(target: Target, trouble: str) -> IndexEntry:
    return IndexEntry(target.model, target.version, "UNAVAILABLE" if trouble else "READY", trouble)


def _platform(card: Card) -> str:
    return next(platform for known, platform in _PLATFORMS.items() if known in card.artifacts)


def _config_type(datatype: Datatype) -> str:
    return "TYPE_STRING" if datatype == "BYTES" else f"TYPE_{datatype}"
