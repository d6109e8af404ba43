"""Which versions this process answers itself: follows the routes, loads what may be answered here, drops what left.

Never in the way: a version that is not here, or not yet, takes the queue as if there were no such thing.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Mapping

import structlog

from iris_service.api.cards import Cards
from iris_service.api.inline.loading import FORMAT, load_as_served
from iris_service.api.inline.version import BATCH_ROWS, InlineVersion
from iris_service.config import DriftSettings, InlineSettings
from iris_service.errors import ModelRejected
from iris_service.jobs.job_queue import JobQueue
from iris_service.jobs.keys import Target
from iris_service.model.card import Card
from iris_service.model.drift import Drift
from iris_service.model.store import ModelRepository
from iris_service.telemetry.answers import InlineMetrics
from iris_service.telemetry.drift import DriftFigures

LOOK_SECONDS = 1.0
"""Pause between two looks at the routes, and how much of its counts a killed process takes along."""
TRY_AGAIN_SECONDS = 30.0
"""Pause before a version that could not be loaded is tried again: it may be there by then."""

_log = structlog.get_logger(__name__)


class Inline:
    """The versions at hand. Call `start` in the event loop, `close` at the end."""

    def __init__(
        self,
        queue: JobQueue,
        cards: Cards,
        repository: ModelRepository,
        settings: InlineSettings,
        drift: DriftSettings,
        metrics: InlineMetrics,
    ) -> None:
        self.rows = settings.rows
        self._queue = queue
        self._cards = cards
        self._repository = repository
        self._settings = settings
        self._drift = drift
        self._metrics = metrics
        self._versions: dict[Target, InlineVersion] = {}
        self._refused: dict[tuple[Target, str], float] = {}
        """By version and digest, when to try again."""
        self._shown: set[Target] = set()
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        metrics.show_drift(self._drift_figures)

    def of(self, target: Target) -> InlineVersion | None:
        """Return the version if it is answered here."""
        return self._versions.get(target)

    def start(self) -> None:
        self._task = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Stop looking, and count in Redis what has not been counted yet."""
        self._stopping.set()
        if self._task is not None:
            await self._task
        await self._queue.tally.flush()

    async def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                await self.look()
            except Exception:
                _log.exception("look at inline versions failed")
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LOOK_SECONDS):
                    await self._stopping.wait()

    async def look(self) -> None:
        """Follow the routes, and hand on what was counted."""
        for version in self._versions.values():
            version.observe_drift()
        await self._queue.tally.flush()
        served = self._served()
        for target, version in list(self._versions.items()):
            if digest_of(served.get(target)) != version.digest:
                del self._versions[target]
                _log.info("version no longer answered here", model=target.model, version=target.version)
        self._forget_all_but(served)
        for target, card in served.items():
            if target not in self._versions and self._is_due(target, card):
                await self._load(target, card)

    def _served(self) -> Mapping[Target, Card]:
        """Return the cards of the versions that may be answered here, as their workers have published them."""
        found: dict[Target, Card] = {}
        for target in self._queue.observe().targets:
            card = self._cards.published(target)
            if card is not None and list(card.artifacts) == [FORMAT]:
                found[target] = card
        return within(found, self._settings)

    def _is_due(self, target: Target, card: Card) -> bool:
        return time.monotonic() >= self._refused.get((target, digest_of(card)), 0.0)

    async def _load(self, target: Target, card: Card) -> None:
        began = time.monotonic()
        try:
            model = await asyncio.to_thread(load_as_served, self._repository, card, max(BATCH_ROWS, self.rows))
        except ModelRejected as exc:
            self._refused[target, digest_of(card)] = time.monotonic() + TRY_AGAIN_SECONDS
            self._show(target, answered=False)
            _log.warning("version not answered here", model=target.model, version=target.version, reason=str(exc))
            return
        version = InlineVersion(model, Drift(model.card, self._drift), self._metrics, self._queue.tally.add)
        self._versions[target] = version
        self._show(target, answered=True)
        seconds = round(time.monotonic() - began, 3)
        _log.info(
            "version answered here", model=model.name, version=model.version, digest=model.digest, seconds=seconds
        )

    def _show(self, target: Target, *, answered: bool) -> None:
        self._metrics.versions.labels(*target).set(answered)
        self._shown.add(target)

    def _forget_all_but(self, served: Mapping[Target, Card]) -> None:
        self._refused = {known: at for known, at in self._refused.items() if known[0] in served}
        for target in self._shown - served.keys():
            self._metrics.versions.remove(*target)
        self._shown &= served.keys()

    def _drift_figures(self) -> list[tuple[tuple[str, ...], DriftFigures]]:
        return [(tuple(target), version.drift.figures()) for target, version in list(self._versions.items())]


def digest_of(card: Card | None) -> str:
    return card.artifacts[FORMAT].digest if card else ""


def within(served: Mapping[Target, Card], limits: InlineSettings) -> Mapping[Target, Card]:
    """Return the first versions, in the order of the routes, that the limits allow."""
    allowed: dict[Target, Card] = {}
    size = 0
    for target, card in served.items():
        larger = size + card.artifacts[FORMAT].size
        if len(allowed) < limits.versions and larger <= limits.artifact_bytes:
            allowed[target], size = card, larger
    return allowed
