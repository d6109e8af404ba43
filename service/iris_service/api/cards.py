"""Finds the card of a version: in the repository, or as its workers have published it. Reads each once."""

from __future__ import annotations

from iris_service.errors import ModelNotReady, ModelRejected
from iris_service.jobs.job_queue import JobQueue
from iris_service.jobs.keys import Target
from iris_service.model.card import Card, card_from_json
from iris_service.model.store import ModelRepository

NOT_READY_RETRY_SECONDS = 30


class Cards:
    """The cards of the versions that take jobs. A worker's copy comes first: it proved the artifact it belongs to."""

    def __init__(self, queue: JobQueue, repository: ModelRepository) -> None:
        self._queue = queue
        self._repository = repository
        self._read: dict[Target, Card] = {}

    def of(self, target: Target) -> Card:
        """Return a version's card; raises `ModelNotReady` when there is none that can be used."""
        try:
            return self._find(target)
        except ModelRejected as exc:
            message = "the model is not ready; /readyz says why"
            raise ModelNotReady(message, retry_after_seconds=NOT_READY_RETRY_SECONDS) from exc

    def trouble(self, target: Target) -> str:
        """Return why a version's card cannot be used; empty when it can."""
        try:
            self._find(target)
        except ModelRejected as exc:
            return str(exc)
        return ""

    def classes(self, target: Target, width: int) -> tuple[str, ...]:
        """Return the class names of an answer of `width` classes, also of a version that takes no jobs any more."""
        try:
            return self._find(target).signature.classes
        except ModelRejected:
            for card in self._read.values():  # versions of one model answer the same classes
                if card.model == target.model and len(card.signature.classes) == width:
                    return card.signature.classes
            raise ModelNotReady(
                "the card of this answer's version is not at hand", retry_after_seconds=NOT_READY_RETRY_SECONDS
            ) from None

    def _find(self, target: Target) -> Card:
        card = self._read.get(target)
        if card is None:
            published = self._queue.observe().cards.get(target)
            if published is not None:
                card = card_from_json(published)
            else:
                card = self._repository.card(target.model, target.version)
            self._read[target] = card
        return card
