"""Cards for tests that are not about cards."""

from __future__ import annotations

from iris_service.model.card import Artifact, Card, FeatureProfile, GoldenRow, Metrics, Recipe, Training
from iris_service.schemas import Signature
from stub_model import StubModel


def card_of(signature: Signature = StubModel.signature, model: str = "iris", version: str = "1") -> Card:
    """A complete card of a model with three classes that nobody trained."""
    profiles = tuple(FeatureProfile(name, 0.0, 1.0, 0.5, 0.1, (0.5,) * 9) for name in signature.feature_names)
    return Card(
        model=model,
        version=version,
        signature=signature,
        artifacts={"onnx": Artifact("model.onnx", 1, "sha256:" + "0" * 64)},
        training=Training("none", 0, "sha256:" + "0" * 64, profiles, (1.0, 0.0, 0.0)),
        recipe=Recipe("Stub", {}, 0, "for tests"),
        metrics=Metrics(0, 1.0, 0.0, ((0, 0, 0),) * 3, 2, 1.0, 0.0, 0.0, 0.0),
        libraries={},
        golden=(GoldenRow((1.0,) * len(signature.features), (1.0, 0.0, 0.0)),),
    )
