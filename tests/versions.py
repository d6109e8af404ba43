"""Model versions for tests: the committed ones, and real folders made of whatever bytes a test puts into them."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from iris_service.config import ModelSettings
from iris_service.model.card import Artifact, Card, Format
from iris_service.model.store import ModelRepository, digest_of

COMMITTED = Path(__file__).parent.parent / "models"


def committed_card(version: str = "1") -> Card:
    return ModelRepository(COMMITTED).card("iris", version)


def publish(root: Path, artifact_format: Format, data: bytes, **changes: Any) -> ModelSettings:
    """Publish `data` under the card of iris 1, honestly described; returns the settings that would serve it."""
    artifact = Artifact(f"model.{artifact_format}", len(data), digest_of(data))
    card = msgspec.structs.replace(committed_card(), **{"artifacts": {artifact_format: artifact}, **changes})
    ModelRepository(root).publish(card, {artifact.file: data})
    return ModelSettings(root, card.model, card.version, artifact_format)
