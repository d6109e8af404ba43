"""Describes the served model to people and to the page: its card, and the last look at its queues.

Costs no round trip, so an open page may ask every other second. Says nothing that the card does not.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from iris_service.api.answers import json_response
from iris_service.api.cards import Cards
from iris_service.api.routes import PREFIX
from iris_service.jobs.job_queue import JobQueue
from iris_service.jobs.keys import Target
from iris_service.jobs.watch import Observation
from iris_service.model.card import Card, GoldenRow


class Observed(msgspec.Struct, frozen=True):
    """Where the training data lay, in the feature's unit: what makes a good slider."""

    minimum: float
    maximum: float
    mean: float


class FeatureDescription(msgspec.Struct, frozen=True):
    """One input; `minimum` and `maximum` are what is accepted, bounds included."""

    name: str
    unit: str
    minimum: float
    maximum: float
    training: Observed


class VersionDescription(msgspec.Struct, frozen=True):
    """One version that takes new jobs, `weight` percent of them."""

    version: str
    weight: int
    artifacts: Mapping[str, str]
    """Digest by format; empty while the card is not at hand."""
    waiting: int
    running: int
    answered_per_second: float
    """Lately; 0 when nothing is asked, and while Redis is away."""


class ModelDescription(msgspec.Struct, frozen=True):
    """What a model takes and answers, by the card of its heaviest version, and what it is doing."""

    model: str
    features: tuple[FeatureDescription, ...]
    classes: tuple[str, ...]
    examples: tuple[GoldenRow, ...]
    versions: tuple[VersionDescription, ...]
    redis_up: bool


class Descriptions:
    """The page that describes the default model, the one that the article's pages serve."""

    def __init__(self, queue: JobQueue, cards: Cards, model: str) -> None:
        self._queue = queue
        self._cards = cards
        self._model = model

    @property
    def routes(self) -> Sequence[BaseRoute]:
        return (Route(f"{PREFIX}/model", self.model),)

    async def model(self, _request: Request) -> Response:
        """Raises `ModelNotReady` when no version of the route has a card that can be used."""
        seen = self._queue.observe()
        targets = seen.route(self._model).targets
        cards = {target: self._cards.of(target) for target in targets if not self._cards.trouble(target)}
        if not cards:
            self._cards.of(targets[0])
        return json_response(describe(self._model, seen, cards), headers={"Cache-Control": "no-store"})


def describe(model: str, seen: Observation, cards: Mapping[Target, Card]) -> ModelDescription:
    """Put together what is known; `cards` holds at least one of the route's versions."""
    shares = sorted(seen.route(model).shares, key=lambda share: -share[1])
    card = next(cards[target] for target, _ in shares if target in cards)
    features = zip(card.signature.features, card.training.features, strict=True)
    return ModelDescription(
        model=model,
        features=tuple(
            FeatureDescription(
                feature.name,
                feature.unit,
                feature.minimum,
                feature.maximum,
                Observed(profile.minimum, profile.maximum, profile.mean),
            )
            for feature, profile in features
        ),
        classes=card.signature.classes,
        examples=card.golden,
        versions=tuple(_version(seen, target, weight, cards.get(target)) for target, weight in shares),
        redis_up=seen.redis_up,
    )


def _version(seen: Observation, target: Target, weight: int, card: Card | None) -> VersionDescription:
    reading = seen.queue(target)
    return VersionDescription(
        version=target.version,
        weight=weight,
        artifacts={name: artifact.digest for name, artifact in card.artifacts.items()} if card else {},
        waiting=reading.waiting,
        running=reading.running,
        answered_per_second=round(reading.lately_per_second, 2) if seen.redis_up else 0.0,
    )
