"""Check a published version the way a careful reader would: every file, every digest, every golden row."""

from __future__ import annotations

from collections.abc import Callable
from importlib.util import find_spec
from pathlib import Path

from iris_service.errors import ModelNotFound, ModelRejected
from iris_service.model.card import CARD_FILE, Card, Format
from iris_service.model.store import ModelRepository

Tell = Callable[[str], None]
"""Gets one sentence for each check that held, or that could not be made here."""


def card_at(path: Path) -> Card:
    """The card of the version folder `path`, .../<model>/<version>; raises `ModelNotFound` or `ModelRejected`."""
    if not path.is_dir():
        raise ModelNotFound(f"there is no folder {path}")
    if not (path / CARD_FILE).is_file():
        raise ModelNotFound(f"{path} has no {CARD_FILE}: it is not the folder of a version")
    return _repository_of(path).card(path.absolute().parent.name, path.absolute().name)


def verify(path: Path, tell: Tell) -> Card:
    """Check the version folder `path` and return its card; raises `ModelRejected` at the first check that fails.

    A pickle is checked by size and digest but never loaded.
    """
    repository, card = _repository_of(path), card_at(path)
    tell(f"the card describes {card.model} {card.version} and is consistent")
    for name in card.artifacts:
        _verify_artifact(repository, card, name, tell)
    expected = {CARD_FILE, *(artifact.file for artifact in card.artifacts.values())}
    if strangers := sorted(entry.name for entry in path.iterdir() if entry.name not in expected):
        raise ModelRejected(f"{strangers[0]} is not named by the card")
    tell("there is no file that the card does not name")
    return card


def _verify_artifact(repository: ModelRepository, card: Card, name: Format, tell: Tell) -> None:
    data = repository.artifact_bytes(card, name)
    tell(f"{name}: {len(data)} bytes with the digest of the card")
    if name in ("joblib", "pickle"):
        tell(f"{name}: not loaded, because that would run its author's code")
        return
    if name == "skops" and find_spec("skops") is None:
        tell("skops: not loaded, because skops is not installed here")
        return
    # imported late: `card_at` is for processes without model libraries too
    from iris_service.model.runtime import load_artifact

    load_artifact(repository, card, name, allow_pickle=False)
    tell(f"{name}: answers the {len(card.golden)} golden rows as the card says")


def _repository_of(path: Path) -> ModelRepository:
    return ModelRepository(path.absolute().parent.parent)
