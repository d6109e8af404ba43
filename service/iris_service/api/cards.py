"""Finds the card of a version: in the repository, or as its workers have published it. Reads each once, and when it
changes."""

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
        self._read: dict[Target, tuple[bytes | None, Card]] = {}
        """What was published, and what it says; without that, the repository's."""

    def of(self, target: Target) -> Card:
        """Return a version's card; raises `ModelNotReady` when there is none that can be used."""
        try:
            return self._find(target)
        except ModelRejected as exc:
            message = "the model is not ready; /readyz says why"
            raise ModelNotReady(message, retry_after_seconds=NOT_READY_RETRY_SECONDS) from exc

    def published(self, target: Target) -> Card | None:
        """Return the card that a version's workers have published; None without one that can be used."""
        return self._find(target) if self._queue.card(target) is not None and not self.trouble(target) else None

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
            for _, card in self._read.values():  # versions of one model answer the same classes
                if card.model == target.model and len(card.signature.classes) == width:
                    return card.signature.classes
            raise ModelNotReady(
                "the card of this answer's version is not at hand", retry_after_seconds=NOT_READY_RETRY_SECONDS
            ) from None

    def _find(self, target: Target) -> Card:
        published = self._queue.card(target)
        read = self._read.get(target)
        if read is None or (published is not None and published is not read[0]):
            if published is not None:
                card = card_from_json(published)
            else:
                card = self._repository.card(target.model, target.version)
            read = self._read[target] = published, card
        return read[1]
