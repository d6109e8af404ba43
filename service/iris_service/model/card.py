"""The card of a model version: what it takes and answers, its artifacts and their digests, and where it comes from.

Knows nothing of files, and needs no model library: the API reads cards too.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from iris_service.errors import InvalidInput, MalformedBody, ModelRejected
from iris_service.schemas import Row, Signature, parse_json

CARD_FILE = "card.json"
MAX_CARD_BYTES = 262_144
"""The committed cards are about 12 KB."""
MAX_ARTIFACT_BYTES = 67_108_864
"""A forest of 100 trees is about 80 KB as ONNX."""

PROBABILITIES = "probabilities"
"""The output of an ONNX artifact that is served; skl2onnx names it so."""

MODEL_NAME = r"\A[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?\Z"
VERSION_NAME = r"\A[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?\Z"

Format = Literal["onnx", "skops", "joblib", "pickle"]
Name = Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][-A-Za-z0-9_. ]{0,62}\Z")]
Digest = Annotated[str, Meta(pattern=r"\Asha256:[0-9a-f]{64}\Z")]
Text = Annotated[str, Meta(max_length=1000, pattern=r"\A[^\x00-\x1f\x7f-\x9f]*\Z")]
"""One line that is safe to print on a terminal."""
Finite = Annotated[float, Meta(ge=-1e300, le=1e300)]
Share = Annotated[float, Meta(ge=0, le=1)]
Count = Annotated[int, Meta(ge=0, le=1 << 50)]


class _Strict(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A misspelt field must not be silently ignored."""


class Artifact(_Strict, frozen=True):
    """One file of a version; `size` in bytes."""

    file: Annotated[str, Meta(pattern=r"\A[A-Za-z0-9][-A-Za-z0-9_.]{0,63}\Z")]
    size: Annotated[int, Meta(ge=1, le=MAX_ARTIFACT_BYTES)]
    digest: Digest


class FeatureProfile(_Strict, frozen=True):
    """How one feature was distributed in the training data, in the feature's unit."""

    name: Name
    minimum: Finite
    maximum: Finite
    mean: Finite
    standard_deviation: Annotated[float, Meta(ge=0, le=1e300)]
    deciles: Annotated[tuple[Finite, ...], Meta(min_length=9, max_length=9)]
    """The nine inner edges: 10 %, 20 % ... 90 % of the rows lie at or below."""


class Training(_Strict, frozen=True):
    """The data a version was trained on; class shares in class order."""

    data: Text
    rows: Count
    digest: Digest
    features: tuple[FeatureProfile, ...]
    class_shares: tuple[Share, ...]


class Recipe(_Strict, frozen=True):
    """How to train the same model again: the estimator, its parameters and the one seed of everything random."""

    estimator: Name
    parameters: Annotated[dict[Name, bool | int | Finite | Text | None], Meta(max_length=64)]
    seed: Annotated[int, Meta(ge=0, lt=1 << 32)]
    reason: Text


class Metrics(_Strict, frozen=True):
    """How well the recipe does on rows it was not fitted on."""

    holdout_rows: Count
    accuracy: Share
    log_loss: Annotated[float, Meta(ge=0, le=1e300)]
    confusion: tuple[tuple[Count, ...], ...]
    """Hold-out rows by true class (outer) and answered class (inner), in class order."""
    folds: Annotated[int, Meta(ge=2, le=1000)]
    """Folds of the cross-validation over all rows, behind the next four."""
    fold_accuracy_mean: Share
    fold_accuracy_deviation: Share
    fold_log_loss_mean: Annotated[float, Meta(ge=0, le=1e300)]
    fold_log_loss_deviation: Annotated[float, Meta(ge=0, le=1e300)]


class GoldenRow(_Strict, frozen=True):
    """A row and the answer the trained model gave for it; every load proves itself on these."""

    row: Annotated[tuple[Finite, ...], Meta(max_length=256)]
    probabilities: Annotated[tuple[Share, ...], Meta(max_length=256)]
    note: Text = ""


class Card(_Strict, frozen=True):
    """One immutable version of one model. Says nothing of when or where it was made, so that two runs agree."""

    model: Annotated[str, Meta(pattern=MODEL_NAME)]
    version: Annotated[str, Meta(pattern=VERSION_NAME)]
    signature: Signature
    artifacts: Annotated[dict[Format, Artifact], Meta(min_length=1)]
    training: Training
    recipe: Recipe
    metrics: Metrics
    libraries: Annotated[dict[Name, Text], Meta(max_length=32)]
    golden: Annotated[tuple[GoldenRow, ...], Meta(min_length=1, max_length=256)]

    def __post_init__(self) -> None:
        """Raise `ValueError` when the parts contradict each other."""
        _check_signature(self.signature)
        features, classes = len(self.signature.features), len(self.signature.classes)
        if tuple(profile.name for profile in self.training.features) != self.signature.feature_names:
            raise ValueError("training and signature name different features")
        if len(self.training.class_shares) != classes:
            raise ValueError("training has another number of classes than the signature")
        if [len(row) for row in self.metrics.confusion] != [classes] * classes:
            raise ValueError("the confusion matrix has another number of classes than the signature")
        if any((len(gold.row), len(gold.probabilities)) != (features, classes) for gold in self.golden):
            raise ValueError("a golden row does not have the signature's features and classes")
        for row in self.golden_rows:
            _check_accepted(self.signature, row)
        files = [CARD_FILE, *(artifact.file for artifact in self.artifacts.values())]
        if len(set(files)) != len(files):
            raise ValueError("two formats name the same file, or one names the card")

    def artifact(self, artifact_format: str) -> Artifact:
        """The artifact in this format; raises `ModelRejected` when the version was not published in it."""
        for known, artifact in self.artifacts.items():
            if known == artifact_format:
                return artifact
        raise ModelRejected(f"{self.model} {self.version} has no {artifact_format} artifact")

    def served_as(self, artifact_format: str) -> Card:
        """The card with no other artifact than the one that is served: what a worker publishes."""
        served = {known: artifact for known, artifact in self.artifacts.items() if known == artifact_format}
        return msgspec.structs.replace(self, artifacts=served)

    @property
    def golden_rows(self) -> tuple[Row, ...]:
        return tuple(gold.row for gold in self.golden)


def _check_signature(signature: Signature) -> None:
    _check_names(signature.feature_names, "feature", fewest=1)
    _check_names(signature.classes, "class", fewest=2)
    for feature in signature.features:
        if len(feature.unit) > 16 or not feature.unit.isprintable():
            raise ValueError(f"the unit of {feature.name} must be at most 16 printable characters")
        if not (math.isfinite(feature.minimum) and math.isfinite(feature.maximum)):
            raise ValueError(f"the range of {feature.name} must be finite")
        if feature.minimum >= feature.maximum:
            raise ValueError(f"the range of {feature.name} is empty")


def _check_accepted(signature: Signature, row: Row) -> None:
    try:
        signature.row(row)
    except InvalidInput as exc:
        raise ValueError(f"a golden row is not one that callers may send: {exc}") from exc


def _check_names(names: Sequence[str], kind: str, *, fewest: int) -> None:
    if not fewest <= len(names) <= 256:
        raise ValueError(f"{kind} names must be from {fewest} to 256")
    if len(set(names)) != len(names):
        raise ValueError(f"a {kind} is named twice")
    for name in names:
        msgspec.convert(name, Name)


def card_from_json(data: bytes) -> Card:
    """Read a card; raises `ModelRejected` for anything but a complete, consistent card without extras."""
    if len(data) > MAX_CARD_BYTES:
        raise ModelRejected(f"the card is larger than {MAX_CARD_BYTES} bytes")
    try:
        return msgspec.convert(parse_json(data), Card)
    except (MalformedBody, msgspec.ValidationError) as exc:
        reason = str(exc).replace("the body", CARD_FILE, 1)[:300]
        raise ModelRejected(f"the card cannot be used: {reason}") from exc


def card_to_json(card: Card) -> bytes:
    """The bytes of `card.json`: the same card gives the same bytes."""
    return msgspec.json.format(msgspec.json.encode(card), indent=2) + b"\n"
